"""Which layers a score reacts to, found by changing them: for models whose scores have no gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import array_api_compat.torch as ops
import torch

from gradsight.backends.torch import tap
from gradsight.layers import Seen
from gradsight.layouts import Layout

Run = Callable[[dict[str, tap.Tap], torch.Tensor], torch.Tensor]


def by_reaction(seen: Sequence[Seen], outputs: Sequence[torch.Tensor], run: Run, image: torch.Tensor) -> list[Seen]:
    """Tell by further passes what the gradient would: which layers are cuts, and whether their positions count.

    A layer is a cut when the score of another image becomes this image's as soon as the layer gives what it gave for
    this one. Looked at from the last layer on, until there is a good one of each resolution; ``cut`` stays None for
    the rest.

    Args:
        seen: every call of every module, in the order they ran.
        outputs: what it gave.
        run: ``(taps, image) -> score``, a scalar.
        image: the one image that they ran on.
    """
    found = list(seen)
    settled: set[tuple[int, ...]] = set()
    score, other = float(run({}, image)), _noise(image)
    for i, (module, call) in reversed(list(enumerate(_calls(seen)))):
        ways = seen[i].layouts
        if seen[i].same or not ways or ways[0].grid in settled:
            continue

        def changes(given: torch.Tensor, value: torch.Tensor, module: str = module, call: int = call) -> bool:
            again = float(run({module: tap.replacing(value, call)}, given))
            return not math.isclose(again, score, rel_tol=1e-5, abs_tol=1e-12)

        own = outputs[i].dequantize() if outputs[i].is_quantized else outputs[i]
        reacts = _channels(own, ways[0], lambda value: changes(image, value))
        found[i] = replace(seen[i], cut=not changes(other, own), reacts=reacts)
        if found[i].cut and reacts > 1:
            settled.add(ways[0].grid)
    return found


def _calls(seen: Sequence[Seen]) -> list[tuple[str, int]]:
    """The module and the number of each call; the last call of a module has the module's plain name."""
    counts: dict[str, int] = {}
    found = []
    for x in seen:
        module = x.name.partition("#")[0]
        found.append((module, counts.get(module, 0)))
        counts[module] = found[-1][1] + 1
    return found


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


def _noise(like: Any) -> Any:
    """Noise stronger than ``like``, so that what is rounded to eight bits shows it; always the same."""
    drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(0)).to(like)
    spread = like.std(unbiased=False)
    return 4 * drawn * torch.where(spread > 0, spread, 1) + like.mean()
