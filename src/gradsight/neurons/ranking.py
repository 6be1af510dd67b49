"""Which channels a decision rested on, by number and by name, and in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight.checks import optional, taken
from gradsight.imaging import nan_to_zero
from gradsight.neurons.dissection import LEAST, Dissection
from gradsight.rules import Choice, Each, Instance, Text, Whole

ORDERS = ("alpha", "contribution")


@dataclass(frozen=True)
class Neuron:
    """One channel of a layer, in one image and for one target.

    Attributes:
        channel: its number, from 0.
        alpha: the mean of d score / d activation over positions (Grad-CAM, eq. 1): what more of it would do.
        activation: its mean over positions in this image; 0 for a channel that is silent here.
        name: the concept that it detects; None where no dissection was given, or no concept fits.
        iou: how well it detects that concept, in [0, 1].
    """

    channel: int
    alpha: float
    activation: float
    name: str | None = None
    iou: float | None = None

    @property
    def contribution(self) -> float:
        """Alpha times activation: its part in the mean of the Grad-CAM map (eq. 2, before its ReLU)."""
        return self.alpha * self.activation + 0.0  # no -0.0


@dataclass(frozen=True)
class Neurons:
    """The channels of a layer that matter most for one target in one image, as ``explanation.neurons()`` finds them.

    >>> import gradsight as gs
    >>> from gradsight.neurons.ranking import Neuron
    >>> found = gs.Neurons((Neuron(12, 0.5, 2.0, "fur"),), (Neuron(7, -0.1, 1.0),), label="tabby", layer="layer4")
    >>> found.sentence
    'tabby rested on fur (channel 12); channel 7 spoke against it.'

    Attributes:
        positive: those for it, the strongest first.
        negative: those against it, the strongest first.
        label: what is explained.
        layer: whose channels they are.
    """

    positive: tuple[Neuron, ...]
    negative: tuple[Neuron, ...]
    label: str
    layer: str

    def __post_init__(self) -> None:
        for name in ("positive", "negative"):
            taken(name, getattr(self, name), Each(Instance(Neuron, "a channel"), range(1 << 20)))
        taken("label", self.label, Text())
        taken("layer", self.layer, Text())

    @property
    def channels(self) -> tuple[int, ...]:
        """The numbers of all channels, those that speak for the target first."""
        return tuple(neuron.channel for neuron in (*self.positive, *self.negative))

    @property
    def sentence(self) -> str:
        """What the decision rested on, and what spoke against it.

        Alpha says what more of a channel would do, not what it did: a channel that is silent in this image (its
        contribution is 0, or of the other sign) is ranked, and left out here.
        """
        # A silent channel had no part in the decision, though more of it would have.
        for_it = _listed([x for x in self.positive if x.contribution > 0])
        against = _listed([x for x in self.negative if x.contribution < 0])
        first = f"{self.label} rested on {for_it}" if for_it else f"nothing among these channels spoke for {self.label}"
        return f"{first}; {against} spoke against it." if against else f"{first}."

    def record(self) -> dict[str, object]:
        """Plain values for JSON."""
        sides = {"positive": self.positive, "negative": self.negative}
        rows = {
            side: [asdict(x) | {"contribution": x.contribution} for x in neurons] for side, neurons in sides.items()
        }
        return {"label": self.label, "layer": self.layer, "sentence": self.sentence, **rows}


def ranked(
    alphas: NDArray[np.floating],
    means: NDArray[np.floating],
    *,
    k: int,
    label: str,
    layer: str,
    dissection: Dissection | None = None,
    least: float = 0.04,
    by: str = "alpha",
) -> Neurons:
    """The k channels most for and the k most against a target.

    Args:
        alphas: (c,), of one image and target; what is not finite counts as 0.
        means: (c,), the mean activation of each channel in that image.
        k: how many of each; fewer where fewer are over 0 (under 0).
        label: what is explained.
        layer: whose channels they are.
        dissection: names them.
        least: the IoU from which on a channel has a name, in [0, 1].
        by: ``"alpha"`` as in the paper, or ``"contribution"``, alpha times mean activation.

    Raises:
        InvalidArgument: ``k`` or ``least`` out of range.
        UnknownName: there is no such order.
    """
    k = taken("k", k, Whole(1), "Pass k=5.")
    by = taken("by", by, Choice(ORDERS, "order of channels"))
    least = taken("least", least, LEAST, "It is an IoU; pass 0.04.")
    optional("dissection", dissection, Instance(Dissection, "what explainer.dissect(concepts) gives"))
    alphas, means = nan_to_zero(alphas), nan_to_zero(means)
    weights = alphas if by == "alpha" else alphas * means

    def chosen(sign: int) -> tuple[Neuron, ...]:
        # Stable: of equal channels the first comes first.
        order = np.argsort(-sign * weights, kind="stable")[:k]
        return tuple(neuron(int(c)) for c in order if sign * weights[c] > 0)

    def neuron(channel: int) -> Neuron:
        name = None if dissection is None else dissection.name(channel, least)
        iou = dissection.best(channel)[1] if dissection is not None and name is not None else None
        return Neuron(channel, float(alphas[channel]), float(means[channel]), name, iou)

    return Neurons(chosen(1), chosen(-1), label, layer)


def _listed(neurons: Sequence[Neuron]) -> str:
    """``"fur (channel 12), stripes (channels 40 and 7) and channel 3"``: channels with names, then those without."""
    by_name: dict[str | None, list[int]] = {}
    for neuron in neurons:
        by_name.setdefault(neuron.name, []).append(neuron.channel)
    unnamed = by_name.pop(None, [])
    parts = [f"{name} ({_numbered(channels)})" for name, channels in by_name.items()]
    return _joined([*parts, *([_numbered(unnamed)] if unnamed else [])])


def _numbered(channels: Sequence[int]) -> str:
    return ("channel " if len(channels) == 1 else "channels ") + _joined([str(channel) for channel in channels])


def _joined(parts: Sequence[str]) -> str:
    *first, last = parts or [""]
    return f"{', '.join(first)} and {last}" if first else last
