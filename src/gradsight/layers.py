"""Layers: which one to explain when the user names none.

The rule, which knows no class names: *the last cut of the graph whose gradients at spatial positions are not all
zero*. A layer is a cut when nothing bypasses it. Two kinds of cut are passed over while another is left, because they
read features rather than being features: a class-score map, and what lies inside a pool (see `_passed_over`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradsight.checks import optional, taken
from gradsight.errors import ModelError
from gradsight.layouts import MIXED_ROWS, Layout, layouts
from gradsight.rules import Flag, Instance, Text, Whole


@dataclass(frozen=True)
class Layer:
    """The layer that is explained, and all that is known of how its output is laid out.

    Attributes:
        name: the module's name; ``name#0`` for a call that is not its last.
        order: one of `ORDERS`, as the user says; None to find out.
        grid: the positions that tokens fold to, as the user says; None to find out.
        layout: the layout, where it is known already.
    """

    name: str
    order: str | None = None
    grid: tuple[int, ...] | None = None
    layout: Layout | None = None


INPUT = Layer("(input)")
"""The model's input, seen as a layer."""


def call_name(module: str, number: int, calls: Mapping[str, int]) -> str:
    """The name of one call of a module: the module's name for its last call, ``module#0`` for the first of several."""
    return module if number == calls[module] - 1 else f"{module}#{number}"


@dataclass(frozen=True)
class Seen:
    """What a backend saw of one call of one module while the first image ran through the model.

    Attributes:
        name: the module's name; ``name#0`` for a call that is not its last.
        kind: the name of its class, shown to people and used for nothing else.
        shape: its output's shape.
        received: the shape of its first input; None where that is no array.
        composite: it has modules inside.
        same: it handed its argument through, as dropout does; the layer is the one that made it.
        cut: nothing bypasses it; None where nobody looked.
        gradient: d score / d output as a NumPy array of ``shape``; None where it was not asked for.
        layouts: every layout that its output may have, see `positions.Positions`.
        reacts: where the score has no gradient: in how many channels it changes with the positions, at most 2.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    received: tuple[int, ...] | None
    composite: bool
    same: bool
    cut: bool | None
    gradient: NDArray[np.floating] | None = None
    layouts: tuple[Layout, ...] = ()
    reacts: int = 0


@dataclass(frozen=True)
class Candidate:
    """A layer that could be explained, as ``explainer.layers(inputs)`` lists them.

    >>> import torch
    >>> import gradsight as gs
    >>> head = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 4)
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), *head).eval()
    >>> best = gs.Explainer(model).layers(torch.rand(1, 3, 8, 8))[0]
    >>> best.name, best.channels, best.layout.grid, best.remark
    ('1', 8, (6, 6), 'the last cut whose positions have gradients')

    Attributes:
        name, kind, cut: as in `Seen`.
        channels: how many it has.
        layout: how its output is laid out.
        live: how many channels have a gradient that is not zero at every position; where the score has no gradient,
            how many it reacts to, counted up to 2.
        ambiguous: its tokens can be folded in more than one way.
        remark: why it was passed over, or why it was chosen.
        good: it is a cut whose positions have gradients, and nothing speaks against it.
        chosen: it is the one.
    """

    name: str
    kind: str
    cut: bool | None
    channels: int
    layout: Layout
    live: int
    ambiguous: bool = False
    remark: str = ""
    good: bool = False
    chosen: bool = False

    def __post_init__(self) -> None:
        for name in ("name", "kind", "remark"):
            taken(name, getattr(self, name), Text())
        for name in ("channels", "live"):
            taken(name, getattr(self, name), Whole(0))
        for name in ("ambiguous", "good", "chosen"):
            taken(name, getattr(self, name), Flag())
        optional("cut", self.cut, Flag())
        taken("layout", self.layout, Instance(Layout, "the layout of a layer"))


def candidates(seen: Sequence[Seen]) -> list[Candidate]:
    """Turn what a backend saw into the layers that can be explained, in the order they ran."""
    listed = []
    for x in seen:
        # An output that is the argument itself is not listed twice: the module that computed it has the name.
        if not x.layouts or x.same:
            continue
        layout = x.layouts[0]
        channels = layout.channels(x.shape)
        # Channels without any gradient cannot weigh in a map. How many have one tells features from a map of scores.
        live = x.reacts
        if x.gradient is not None:
            folded = layout.fold(x.gradient, np)[0].reshape(channels, -1)
            live = int(np.count_nonzero(np.any(folded != 0, axis=1)))
        listed.append(Candidate(x.name, x.kind, x.cut, channels, layout, live, len(x.layouts) > 1))
    return listed


def _within(name: str, outer: str) -> bool:
    """Whether a layer is inside of another, as PyTorch (``block.conv``) or Keras (``block/conv``) names it."""
    return name.startswith((outer + ".", outer + "/"))


def _pools(seen: Sequence[Seen], size: Sequence[int]) -> dict[str, set[tuple[int, ...]]]:
    """The modules that pool, by name, with the grids that they take.

    A pool takes a map of c channels and gives a vector of c channels: the positions are gone, the channels are not. It
    holds no block of its own that is a cut, or it would be a network, not a pool.
    """
    # The shape alone does not say how tokens fold. The grids of the other layers do.
    known = {layout.grid for x in seen for layout in x.layouts}
    blocks = [x.name for x in seen if x.cut and x.composite and x.layouts]
    pools = {}
    for x in seen:
        if x.received is None or not x.composite or x.layouts:
            continue
        # What came in has a grid and as many channels as what goes out has numbers.
        taken = [m for m in layouts(x.received, 1, size, known) if m.channels(x.received) == math.prod(x.shape)]
        if taken and not any(_within(name, x.name) for name in blocks):
            pools[x.name] = {m.grid for m in taken}
    return pools


def _passed_over(candidate: Candidate, pools: dict[str, set[tuple[int, ...]]]) -> str:
    """Why a usable cut is not the best layer; empty when nothing speaks against it."""
    if candidate.live == 1:
        # Every method shows the same picture there (Grad-CAM is CAM), and its channels are classes, not features. One
        # channel is a class too: the map of scores itself.
        return "a class-score map: the score depends on one channel alone"
    for name, grids in pools.items():
        if _within(candidate.name, name) and candidate.layout.grid in grids:
            return f"part of the pool {name!r}, which reads the features"
    return ""


class _Words(NamedTuple):
    counts: str
    dead: str
    alone: str


_BY_GRADIENT = _Words("whose positions have gradients", "no position has a gradient", "with a gradient")
_BY_REACTION = _Words(
    "that the score, which has no gradient, reacts to", "the score does not react to it", "that the score reacts to"
)


def rank(seen: Sequence[Seen], size: Sequence[int]) -> list[Candidate]:
    """Candidates for the layer, the best first, each with the reason.

    The last cut with a gradient at its positions wins; cuts that read features rather than being features, cuts
    without such a gradient, and layers that something bypasses follow, the later ones first.

    Raises:
        ModelError: no layer has positions, or no position of any layer has a gradient.
    """
    # By how well they serve: 0 good, 1 readers of features, 2 bypassed, 3 without a gradient, 4 not looked at.
    groups: dict[int, list[Candidate]] = {0: [], 1: [], 2: [], 3: [], 4: []}
    pools = _pools(seen, size)
    words = _BY_REACTION if any(x.reacts for x in seen) else _BY_GRADIENT
    # The deepest layers come first: their features say most about the classes.
    for candidate in reversed(candidates(seen)):
        against = _passed_over(candidate, pools) if candidate.cut and candidate.live else ""
        if candidate.cut is None:
            groups[4].append(replace(candidate, remark="not looked at: a later layer of its resolution is good"))
        elif not candidate.cut:
            groups[2].append(replace(candidate, remark="something bypasses it"))
        elif not candidate.live:
            groups[3].append(replace(candidate, remark=f"a cut, but {words.dead}"))
        elif against:
            groups[1].append(replace(candidate, remark=against))
        else:
            groups[0].append(replace(candidate, remark=f"a cut {words.counts}", good=True))
    groups[2].sort(key=lambda x: x.live == 0)  # where nothing is a cut, one of these is chosen
    ranked = list(itertools.chain.from_iterable(groups.values()))
    if not ranked:
        usual = "Grad-CAM needs a convolutional or token layer; pass `layer=`, `layout=` and `grid=` if it has one."
        # A first axis of more than one for one image: the rows are not images, and the advice is another.
        mixed = any(len(x.shape) > 3 and x.shape[0] > 1 for x in seen)
        raise ModelError(
            f"the model has no layer with positions for an input of size {tuple(size)}, so there is no map to draw. "
            f"{MIXED_ROWS if mixed else usual}"
        )
    best = ranked[0]
    # A map of zeros looks like an answer, so it is an error here.
    if not any(x.live for x in ranked):
        raise ModelError(
            "the score has a zero gradient at every position of every layer, so the maps would be empty. Is the last "
            "layer initialised with zeros, or not trained yet? Load the weights, or explain another target."
        )
    reason = f"the last cut {words.counts}" if best.cut else f"no layer is a cut; the last {words.alone}"
    return [replace(best, chosen=True, remark=reason), *ranked[1:]]


STAGES = 4
"""So many layers are taken for a method that looks at several."""


def last_of_each_resolution(ranked: Sequence[Candidate]) -> list[Candidate]:
    """The layers for a method that looks at several: the last good one of each of the last four resolutions.

    A model of one resolution, such as a plain vision transformer, gives blocks evenly spaced over its depth.

    Args:
        ranked: what `rank` gave.

    Returns:
        Layers in the order they ran.
    """
    # Where no layer is good, one alone is taken: the methods then show something all the same.
    good = [x for x in ranked if x.good] or [ranked[0]]
    # Later entries replace earlier ones, so for each resolution the deepest layer stays.
    last = {x.layout.grid: x for x in reversed(good)}
    if len(last) > 1:
        chosen = sorted(last.values(), key=good.index)[:STAGES]
    else:
        # Blocks of one kind are comparable; a layer of another kind between them would be no further stage.
        blocks = [x for x in good if x.kind == good[0].kind]
        count = min(STAGES, len(blocks))
        chosen = [blocks[i * len(blocks) // count] for i in range(count)]
    return chosen[::-1]
