"""The model from a layer on, as a graph of its own: no stem, no hook, any batch size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch.fx import GraphModule
from torch.utils import _pytree as pytree

from gradsight.backends.rounding import is_close
from gradsight.backends.torch.ops import numpy_of
from gradsight.backends.torch.precision import is_coarse
from gradsight.backends.torch.tracing import bare, writes
from gradsight.foreign import Inputs, Outputs


class Tail:
    """What the model computes from a layer's output on.

    Where nothing bypasses the layer it is a function of that output alone; where something does (a skip connection,
    another input), what does is computed once from the inputs and fed to every run.
    """

    def __init__(self, graph: GraphModule, stem: GraphModule | None = None, axes: Sequence[int | None] = ()) -> None:
        """Take traced graphs.

        Args:
            graph: ``(activations, *bypasses) -> outputs``.
            stem: ``(activations, *inputs) -> bypasses``; None where there are none.
            axes: of each bypass, the axis that counts images; None where it is the same for all of them.
        """
        self._graph, self._stem, self._axes = bare(graph), None if stem is None else bare(stem), axes
        self._writes = any(writes(node) for node in graph.graph.nodes)

    @property
    def is_cut(self) -> bool:
        """Nothing bypasses the layer."""
        return self._stem is None

    def bypasses(self, inputs: Inputs, activations: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What bypasses the layer in the pass that gave ``activations`` for ``inputs``."""
        if self._stem is None:
            return ()
        return tuple(self._stem(activations, *(x for x in pytree.tree_leaves(inputs) if has_rows(x))))

    def gives(self, outputs: Outputs, activations: torch.Tensor, bypasses: Sequence[torch.Tensor]) -> bool:
        """Whether it gives a pass's ``outputs`` again.

        Numbers that the model read while it was traced, such as a weight's ``item()``, are fixed in the graph. What it
        gives shows whether they still hold, at the price of one run of the tail.
        """
        try:
            return agree(self(activations.contiguous(), bypasses, 1), outputs)
        except Exception:  # the model gives something else now than when it was traced
            return False

    def __call__(self, activations: torch.Tensor, bypasses: Sequence[torch.Tensor], times: int) -> Outputs:
        """The model's output for other, contiguous activations: ``times`` rows for each image; row j is image j % n."""
        repeated = [
            x if axis is None or times == 1 else torch.cat([x] * times, dim=axis)
            for x, axis in zip(bypasses, self._axes, strict=True)
        ]
        # The activations are the caller's, and may be asked for again: a graph that writes into them gets its own.
        return self._graph(activations.clone() if self._writes else activations, *repeated)


def repeated(outputs: Outputs, times: int) -> Outputs:
    """Every tensor in outputs, its rows repeated as a whole: row j is row j % n."""
    return pytree.tree_map(lambda x: torch.cat([x] * times) if has_rows(x) else x, outputs)


def has_rows(value: object) -> TypeGuard[torch.Tensor]:
    """Whether something is a tensor with rows."""
    return isinstance(value, torch.Tensor) and value.ndim > 0


def agree(outputs: Outputs, expected: Outputs) -> bool:
    """Whether outputs are equal up to the rounding of another order of operations."""
    ours, theirs = ([x for x in pytree.tree_leaves(y) if isinstance(x, torch.Tensor)] for y in (outputs, expected))
    # Of an output that hides its tensors nothing can be told.
    return len(ours) == len(theirs) > 0 and all(_agrees(a, b) for a, b in zip(ours, theirs, strict=True))


def _agrees(tensor: torch.Tensor, expected: torch.Tensor) -> bool:
    if not tensor.is_floating_point():
        return torch.equal(tensor, expected)
    return is_close(numpy_of(tensor), numpy_of(expected), _unit(tensor))


def _unit(tensor: torch.Tensor) -> float:
    """The unit of rounding that a tensor was computed with."""
    stored = torch.finfo(tensor.dtype).eps
    # TF32 and the float16 of autocast have ten bits behind the point.
    return max(stored, 2.0**-10) if is_coarse(tensor) else stored
