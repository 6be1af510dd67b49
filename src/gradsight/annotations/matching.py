"""Which photo an entry of a file means: the one whose path ends alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import PurePosixPath

from gradsight.annotations.marks import Annotations, Marks

_NAMED = 5
"""How many names a sentence tells; others are counted."""


@dataclass(frozen=True)
class Matched:
    """What is known of each of several photos.

    Attributes:
        marks: for each photo; None where nothing is.
        problems: the photos of which nothing is known, entries that fit no photo, and those that fit several.
    """

    marks: tuple[Marks | None, ...]
    problems: tuple[str, ...] = field(default=())


def matched(annotations: Annotations, photos: Sequence[str]) -> Matched:
    """Find what is known of photos, by their names.

    An entry is of the photo that has its name, with or without its ending; of several, of the one that lies in folders
    of the same names, from the last one up. So ``labels/train/7.txt`` is of ``images/train/7.jpg``, and not of
    ``images/val/7.jpg``. Of two that are equally near neither is taken: boxes of another photo are
    worse than none.

    Args:
        annotations: what was read.
        photos: their paths.

    >>> from gradsight.annotations import LabelledBox
    >>> known = Annotations({"a/1.jpg": Marks(), "2": Marks(), "3": Marks()})
    >>> matched(known, ["a/1.jpg", "b/2.png", "4.jpg"]).problems
    ("nothing is known of 1 photo: '4.jpg'", "1 entry fits no photo: '3'")
    """
    by_stem = defaultdict(list)
    for key in annotations.of:
        by_stem[_stem(key)].append(key)
    best = [_nearest(photo, by_stem.get(_stem(photo), [])) for photo in photos]
    # The other way round too: of two photos of one name, an entry is of the nearer one alone.
    wanted: dict[str, list[int]] = defaultdict(list)
    for at, entry in enumerate(best):
        if entry is not None:
            wanted[entry].append(at)
    taken = {key: _nearest(key, [photos[at] for at in places]) for key, places in wanted.items()}
    # Of one photo that is given twice both are meant.
    keys = [key if key is not None and taken[key] == photo else None for key, photo in zip(best, photos, strict=True)]
    without = [photo for photo, key in zip(photos, keys, strict=True) if key is None]
    unused = sorted(set(annotations.of) - set(keys))
    problems = (
        _told(without, "nothing is known of {} photo{}"),
        _told(unused, "{} entr{} no photo", ("y fits", "ies fit")),
    )
    return Matched(tuple(None if key is None else annotations.of[key] for key in keys), tuple(filter(None, problems)))


def _nearest(name: str, others: Sequence[str]) -> str | None:
    """The one of other names, all of the same stem, that is nearest to a name; None where two are equally near."""
    ranked = sorted(((_alike(name, other), other) for other in set(others)), reverse=True)
    if not ranked or (len(ranked) > 1 and ranked[0][0] == ranked[1][0]):
        return None
    return ranked[0][1]


def _alike(one: str, other: str) -> tuple[int, bool]:
    """How many folders above are called alike, and whether the names are."""
    ours, theirs = (PurePosixPath(_slashed(name)) for name in (one, other))
    pairs = zip(reversed(ours.parts[:-1]), reversed(theirs.parts[:-1]), strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs))), ours.name == theirs.name


def _stem(name: str) -> str:
    return PurePosixPath(_slashed(name)).stem


def _slashed(name: str) -> str:
    return name.replace("\\", "/")


def _told(names: Sequence[str], text: str, endings: tuple[str, str] = ("", "s")) -> str:
    """A sentence that counts names and tells the first ones; empty where there is none."""
    if not names:
        return ""
    first = ", ".join(map(repr, names[:_NAMED]))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{text.format(len(names), endings[len(names) > 1])}: {first}{more}"
