"""Attention seen by hand: on a copy of the model in float64, image by image and target by target, by plain autograd.

Models of transformers, timm and torchvision run their own code with its attention spelled out (no fused kernel), where
every softmax is a call of `torch.Tensor.softmax`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn


class Attended:
    """What the oracles of attention need; see `oracles`.

    Attributes:
        n, k: images and targets.
        grid: the cells, such as (4, 4); ``positions``: of each, row by row, the number of its token.
        read: for each image and target the tokens of the last call's queries that the score reads.
        calls: (asking sequence, asked sequence, weights (n, heads, q, keys)) in the order they ran.
        call_gradients: of each (n, k, heads, q, keys).
        formation_gradients: of each block d s^l / d weights: (n, k, heads, t, t).
    """

    def __init__(
        self,
        model: nn.Module,
        rows: Sequence[Any],
        scores: Callable[[Any, int], Sequence[torch.Tensor]],
        *,
        blocks: Sequence[str],
        kinds: Sequence[tuple[int, int] | None],
        grid: tuple[int, ...],
        extra: int = 0,
        read: Sequence[int] | Sequence[Sequence[Sequence[int]]] = (0,),
        token_axis: int = 1,
    ) -> None:
        """Look at a model.

        Args:
            model: it.
            rows: for each image, the arguments of the model.
            scores: of an output of one image, and its number, the score of each target.
            blocks: the modules that give the blocks' output tokens.
            kinds: of each softmax the asking and the asked sequence, 0 that of the image; None to leave it out.
            grid: the cells of the image.
            extra: how many tokens come before those of the image.
            read: which tokens of the last call's queries scores read.
            token_axis: of blocks' outputs.
        """
        self._model = copy.deepcopy(model).eval()
        self._scores, self._axis = scores, token_axis
        self.grid, self.positions = grid, range(extra, extra + int(np.prod(grid)))
        seen = [self._of_image(i, row, blocks, kinds) for i, row in enumerate(rows)]
        self.n, self.k = len(rows), len(seen[0][1])
        self.read = [[list(read)] * self.k] * self.n if isinstance(read[0], int) else read
        used = [kind for kind in kinds if kind is not None]
        self.sequences = 1 + max(max(kind) for kind in used)
        self.calls = [(*kind, np.concatenate([weights[c] for weights, _, _ in seen])) for c, kind in enumerate(used)]
        self.call_gradients, self.formation_gradients = (
            [np.stack([np.stack([target[c] for target in image[part]]) for image in seen]) for c in range(count)]
            for part, count in ((1, len(used)), (2, len(blocks)))
        )

    def _of_image(self, i: int, row: Any, blocks: Sequence[str], kinds: Sequence[Any]) -> tuple[Any, Any, Any]:
        tokens: dict[str, torch.Tensor] = {}

        def kept(name: str) -> Callable[..., None]:
            return lambda _m, _i, out: tokens.__setitem__(name, out[0] if isinstance(out, tuple) else out)

        handles = [self._model.get_submodule(name).register_forward_hook(kept(name)) for name in blocks]
        weights, outputs = softmaxes(self._model, row)
        for handle in handles:
            handle.remove()
        assert len(weights) == len(kinds), [tuple(w.shape) for w in weights]
        chosen = [w for w, kind in zip(weights, kinds, strict=True) if kind is not None]
        own = [w for w, kind in zip(weights, kinds, strict=True) if kind == (0, 0)]
        assert len(own) == len(blocks)
        slopes, formation = [], []
        for score in self._scores(outputs, i):
            found = torch.autograd.grad(score, chosen, retain_graph=True)
            slopes.append([g.numpy().reshape(-1, *g.shape[-2:]) for g in found])
        by_block = [self._of_block(i, row, blocks[-1], tokens[name], w) for name, w in zip(blocks, own, strict=True)]
        formation = [list(target) for target in zip(*by_block, strict=True)]
        images = [w.detach().numpy().reshape(1, -1, *w.shape[-2:]) for w in chosen]
        return images, slopes, formation

    def _of_block(self, i: int, row: Any, last: str, z: torch.Tensor, weights: torch.Tensor) -> list[Any]:
        """d s^l / d weights for each target: the last block gives the mean of this block's tokens."""
        mean = z.mean(self._axis, keepdim=True).expand_as(z)

        def replaced(_module: nn.Module, _inputs: Any, out: Any) -> Any:
            return (mean, *out[1:]) if isinstance(out, tuple) else mean

        handle = self._model.get_submodule(last).register_forward_hook(replaced)
        outputs = called(self._model, row)
        handle.remove()
        found = [torch.autograd.grad(score, weights, retain_graph=True)[0] for score in self._scores(outputs, i)]
        return [g.numpy().reshape(-1, *g.shape[-2:]) for g in found]


def called(model: nn.Module, row: Any) -> Any:
    return model(**row) if isinstance(row, dict) else model(row)


def softmaxes(model: nn.Module, row: Any) -> tuple[list[torch.Tensor], Any]:
    """What every softmax over the last of three or four axes gave in one call of a model, and its output."""
    kept: list[torch.Tensor] = []
    original = torch.Tensor.softmax

    def softmax(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        out = original(x, *args, **kwargs)
        if out.ndim in (3, 4):
            kept.append(out)
        return out

    torch.Tensor.softmax = softmax  # type: ignore[method-assign]
    try:
        return kept, called(model, row)
    finally:
        torch.Tensor.softmax = original  # type: ignore[method-assign]


def spelled_out(model: nn.Module) -> nn.Module:
    """A copy whose attention has no fused kernel: torch's own asked for its weights, timm's told so."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.register_forward_pre_hook(
                lambda _m, args, kwargs: (args[:3], {**kwargs, "need_weights": True}), with_kwargs=True
            )
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    return model
