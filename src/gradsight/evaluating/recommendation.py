"""What is recommended for a model, as a value."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from gradsight.checks import taken
from gradsight.evaluating.racing import LEVEL
from gradsight.rules import Each, Instance, Rule, Text, Whole
from gradsight.significance import Interval

PLAIN = "gradcam"
"""What everything else is compared with, at the layer that is chosen by itself."""


@dataclass(frozen=True)
class Way:
    """A way to explain.

    Attributes:
        layer: its name; empty where the method looks at the image itself, or chooses layers by itself.
        method: the method's name, with its options.
    """

    layer: str
    method: str


@dataclass(frozen=True)
class Compared:
    """One metric of a way and of plain Grad-CAM, on the held-out images.

    Attributes:
        metric: its name.
        better: ``"higher"`` or ``"lower"``.
        own: the mean of the way.
        plain: the mean of plain Grad-CAM.
        difference: own minus plain, with its interval over images.
    """

    metric: str
    better: str
    own: float
    plain: float
    difference: Interval


_WAY = Instance(Way, "a way to explain")

_FIELDS: dict[str, Rule[object]] = {
    "model": Text(),
    "best": _WAY,
    "plain": _WAY,
    "p": Instance(float, "a number"),
    "random_p": Instance(float, "a number"),
    "advantage": Instance(Interval, "an interval"),
    "compared": Each(Instance(Compared, "a metric of both"), range(1000)),
    "passes": Text(),
    "raced": Each(Whole(0), (2,)),
    "held_out": Whole(0),
    "notes": Each(Text(), range(1000)),
}


@dataclass(frozen=True)
class Recommendation:
    """Which layer, method and options to use on a model.

    >>> from gradsight.significance import interval
    >>> gain = interval([0.4, 0.6, 0.5, 0.3, 0.7, 0.5])
    >>> best, plain = Way("layer3", "layercam"), Way("layer4", "gradcam")
    >>> found = Recommendation("resnet", best, plain, 0.016, 0.016, gain, (), "1", (40, 16), 6)
    >>> found.is_better, found.command
    (True, 'gradsight explain photo.jpg --model resnet --method layercam --layer layer3')

    Attributes:
        model: the model's name.
        best: the winner of the race; plain Grad-CAM where that won.
        plain: plain Grad-CAM at the layer that is chosen by itself.
        p: how often a way that is no better than plain Grad-CAM would do as well on the held-out images; one-sided.
            There is one winner, so that there is nothing to correct. NaN where plain Grad-CAM won.
        random_p: the same beside random maps.
        advantage: how much better than plain Grad-CAM, in spreads of the criteria over ways and images.
        compared: each metric by itself.
        passes: about how many forward passes one of its maps takes.
        raced: how many ways began, and on how many images they raced.
        held_out: how many images the race has not seen.
        notes: what else its reader must know.
        failed: (name, reason) of the photos that could not be measured.
    """

    model: str
    best: Way
    plain: Way
    p: float
    random_p: float
    advantage: Interval
    compared: tuple[Compared, ...]
    passes: str
    raced: tuple[int, int]
    held_out: int
    notes: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        # It is read back from files, which may hold anything.
        for name, rule in _FIELDS.items():
            taken(name, getattr(self, name), rule)

    @property
    def is_better(self) -> bool:
        """The winner beats plain Grad-CAM, and random maps, beyond chance. False where either p is NaN."""
        # Both: where plain Grad-CAM is worse than chance, it is no feat to beat it.
        return self.p < LEVEL and self.random_p < LEVEL

    @property
    def chosen(self) -> Way:
        """What to use: the winner where it is better, else plain Grad-CAM."""
        return self.best if self.is_better else self.plain

    @property
    def code(self) -> str:
        """The line of Python that uses it."""
        layer = f", layer={self.chosen.layer!r}" if self.chosen.layer else ""
        return f"explainer(photo, method={self.chosen.method!r}{layer})"

    @property
    def command(self) -> str:
        """The command that uses it."""
        words = ["gradsight", "explain", "photo.jpg", "--model", self.model, "--method", self.chosen.method]
        # Methods have brackets, which a shell would read.
        return shlex.join([*words, *(["--layer", self.chosen.layer] if self.chosen.layer else [])])

    def __str__(self) -> str:
        return "\n".join(self.lines)

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it in words."""
        began, images = self.raced
        first = f"{began} ways raced on {images} photos; {self.held_out} other photos were held out."
        named = _told(self.best)
        if self.best == self.plain:
            verdict = "Nothing beats plain Grad-CAM: it won the race itself."
        elif not self.is_better:
            verdict = (
                f"Nothing beats plain Grad-CAM beyond chance: the winner, {named}, has p = {self.p:.3g} beside it and "
                f"p = {self.random_p:.3g} beside random maps."
            )
        else:
            gain = self.advantage
            verdict = (
                f"{named} beats plain Grad-CAM at {self.plain.layer}: better by {gain.mean:.2f} spreads "
                f"[{gain.low:.2f} {gain.high:.2f}], p = {self.p:.3g}."
            )
        return (
            first,
            verdict,
            *map(_compared, self.compared),
            f"Passes of the model for a map: {self.passes}.",
            *self.notes,
        )


def _told(way: Way) -> str:
    return f"{way.method} at {way.layer}" if way.layer else way.method


def _compared(one: Compared) -> str:
    ends = f"[{one.difference.low:+.3f} {one.difference.high:+.3f}]"
    return (
        f"{one.metric} ({one.better} is better): {one.own:.3f}, plain Grad-CAM {one.plain:.3f}, "
        f"difference {one.difference.mean:+.3f} {ends}"
    )
