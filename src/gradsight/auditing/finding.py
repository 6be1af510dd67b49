"""What an audit found, one thing each: a sentence first, and the figures behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from gradsight.auditing.places import Box
from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument
from gradsight.rules import Choice, Each, Flag, Instance, Text
from gradsight.significance import Interval

KINDS = ("suspect", "change", "background", "error", "confusion", "look")
"""A place that may be a shortcut; what is other in a second run; reliance on the background; a confident error; classes
that are confused; where a class looks."""

PHOTOS = 12
"""So many photos are named as examples."""

_TEXTS = Each(Text(), range(PHOTOS + 1))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that an audit found.

    Attributes:
        kind: one of `KINDS`.
        label: the class it is about; empty where it is about none.
        sentence: what it is, in words.
        strength: how much it matters, in [0, 1], to put findings of a kind in order.
        box: the place, (top, left, bottom, right) as shares of the photo; None where there is none.
        confirmed: a suspect was confirmed by interventions; None of what is no suspect, or was not tried.
        removal: by how much the class's probability falls without the region.
        transplant: by how much it rises in photos of other classes that have the region, beyond that of other photos.
        photos: examples, by their keys.
        figures: other figures, by name.

    >>> Finding(kind="look", label="cat", sentence="cat: it looks at the middle.").to_dict()["class"]
    'cat'
    """

    kind: str
    label: str = ""
    sentence: str
    strength: float = 0.0
    box: Box | None = None
    confirmed: bool | None = None
    removal: Interval | None = None
    transplant: Interval | None = None
    photos: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        taken("kind", self.kind, Choice(KINDS, "kind"))
        for name in ("label", "sentence"):
            taken(name, getattr(self, name), Text())
        optional("confirmed", self.confirmed, Flag())
        for name in ("removal", "transplant"):
            optional(name, getattr(self, name), Instance(Interval, "an interval"))
        object.__setattr__(self, "photos", taken("photos", self.photos, _TEXTS))
        if self.box is not None and not (len(self.box) == 4 and all(0 <= side <= 1 for side in self.box)):
            raise InvalidArgument(
                f"`box` must be four shares of the photo in [0, 1]. Received: {self.box!r}. Divide by its sides."
            )

    def to_dict(self) -> dict[str, object]:
        """The finding as plain values for a line of JSON; what is not known is None."""
        return {
            **line_of(self.kind, self.sentence, confirmed=self.confirmed, figures=self.figures),
            "class": self.label,
            "box": None if self.box is None else [round(side, 4) for side in self.box],
            "removal": _ends(self.removal),
            "transplant": _ends(self.transplant),
            "photos": list(self.photos),
        }


def line_of(
    kind: str, sentence: str, *, confirmed: bool | None = None, figures: Mapping[str, float] | None = None
) -> dict[str, object]:
    """A line of JSON of what is about no class and no photo, with the keys of one that is."""
    return {
        "kind": kind,
        "class": "",
        "box": None,
        "confirmed": confirmed,
        "removal": None,
        "transplant": None,
        "photos": [],
        "figures": {name: _number(value) for name, value in (figures or {}).items()},
        "sentence": sentence,
    }


def in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """The strongest first: confirmed suspects, then what is about whole classes, and last what was not confirmed."""

    def rank(one: Finding) -> tuple[int, float]:
        # A suspect that failed its trial is the least of what there is to tell.
        rejected = one.kind == "suspect" and not one.confirmed
        place = len(KINDS) if rejected else KINDS.index(one.kind)
        return place, -one.strength

    return tuple(sorted(findings, key=rank))


def _ends(one: Interval | None) -> dict[str, float | None] | None:
    return None if one is None else {name: _number(getattr(one, name)) for name in ("mean", "low", "high")}


def _number(value: float) -> float | None:
    # JSON knows no NaN.
    return round(float(value), 6) if math.isfinite(value) else None
