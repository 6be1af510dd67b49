"""Which layers a score reacts to, found by changing them: for models whose scores have no gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import array_api_compat.torch as ops
import torch

from gradsight.backends.torch import tap
from gradsight.layers import Seen
from gradsight.layouts import Layout

Run: TypeAlias = Callable[[Mapping[str, tap.Tap], torch.Tensor], torch.Tensor]
"""``(taps, image) -> score``: one forward pass of one image to the score that is explained, a scalar."""


def by_reaction(seen: Sequence[Seen], outputs: Sequence[torch.Tensor], run: Run, image: torch.Tensor) -> list[Seen]:
    """Tell by further passes what the gradient would: which layers are cuts, and whether their positions count.

    A layer is a cut when the score of another image becomes this image's as soon as the layer gives what it gave for
    this one. Looked at from the last layer on, until there is a good one of each resolution; ``cut`` stays None for
    the rest.

    Args:
        seen: every call of every module, in the order they ran.
        outputs: what it gave.
        run: one pass to the score.
        image: the one image that they ran on.
    """
    told = list(seen)
    resolved: set[tuple[int, ...]] = set()
    score, other = float(run({}, image)), _noise(image)
    for i, (module, call) in reversed(list(enumerate(_calls(seen)))):
        layouts = seen[i].layouts
        if seen[i].same or not layouts or layouts[0].grid in resolved:
            continue

        def changes(image: torch.Tensor, value: torch.Tensor, module: str = module, call: int = call) -> bool:
            again = float(run({module: tap.replacing(value, call)}, image))
            return not math.isclose(again, score, rel_tol=1e-5, abs_tol=1e-12)

        own = outputs[i].dequantize() if outputs[i].is_quantized else outputs[i]
        reacts = _channels(own, layouts[0], lambda value: changes(image, value))
        told[i] = replace(seen[i], cut=not changes(other, own), reacts=reacts)
        if told[i].cut and reacts > 1:
            resolved.add(layouts[0].grid)
    return told


def _calls(seen: Sequence[Seen]) -> list[tuple[str, int]]:
    """The module and the number of each call; the last call of a module has the module's plain name."""
    counts: dict[str, int] = {}
    named: list[tuple[str, int]] = []
    for x in seen:
        module = x.name.partition("#")[0]
        named.append((module, counts.get(module, 0)))
        counts[module] = named[-1][1] + 1
    return named


def _channels(output: torch.Tensor, layout: Layout, changes: Callable[[torch.Tensor], bool]) -> int:
    """In how many channels other values at the positions change the score: none, one, or two for several."""
    folded = layout.fold(output, ops)
    noise = _noise(folded)

    def react(first: int, end: int) -> bool:
        mixed = folded.clone()
        mixed[:, first:end] = noise[:, first:end]
        return changes(layout.unfold(mixed, output, ops))

    first, end = 0, folded.shape[1]
    if not react(first, end):
        return 0
    while end - first > 1:
        middle = (first + end) // 2
        low, high = react(first, middle), react(middle, end)
        if low == high:
            return 2
        first, end = (first, middle) if low else (middle, end)
    return 1


def _noise(like: torch.Tensor) -> torch.Tensor:
    """Noise stronger than ``like``, so that what is rounded to eight bits shows it; always the same."""
    drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(0)).to(like)
    spread = like.std(unbiased=False)
    return 4 * drawn * torch.where(spread > 0, spread, 1) + like.mean()
