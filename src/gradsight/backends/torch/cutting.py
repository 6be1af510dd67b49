"""Cutting a model in two at a layer: what it computes from there on, and what bypasses the layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from torch.fx import Graph, GraphModule, Node
from torch.utils import _pytree as pytree

from gradsight.backends.torch.tail import Tail, agree, has_rows, repeated
from gradsight.backends.torch.tracing import as_arguments, clean, constants, copied, made_from, traced, writes
from gradsight.foreign import Inputs, Outputs

# The stem is traced on inputs filled with this, times 1, 2, 3 ...: a node that makes such an input and is still needed
# in the end shows that something bypasses the layer. No model fills a tensor with it.
_MARK = -7.25e-31

Run: TypeAlias = Callable[[Inputs, torch.Tensor], Outputs]
"""``(inputs, activations) -> outputs``: the model with its layer's output replaced."""

Size: TypeAlias = int | torch.SymInt
"""The length of an axis; a symbol while it is traced."""


def checked_tail(
    run: Run,
    inputs: Inputs,
    outputs: Outputs,
    activations: torch.Tensor,
    batch_axis: int,
    by_image: Sequence[bool] | None = None,
    behind: Behind | None = None,
) -> Tail | None:
    """The traced tail, trusted once it gives a pass's ``outputs`` again; None where it does not.

    Where nothing bypasses the layer what is behind it is traced alone, which takes the least time; so that it is tried
    first, if ``behind`` says how. The other arguments are those of `trace_tail`.
    """
    ways: list[Callable[[], Tail | None]] = [
        partial(
            trace_tail, run, inputs, activations, batch_axis, linked=linked, functional=functional, by_image=by_image
        )
        for linked, functional in ((True, True), (True, False), (False, False))
    ]
    if behind is not None:
        ways.insert(0, partial(trace_behind, behind, inputs, activations, batch_axis))
    for way in ways:
        try:
            tail = way()
            if tail is None:
                continue
            # So many rows that their number is no prime: the example's is one, and a tail may be fixed to it.
            times = 4 if activations.shape[batch_axis] == 1 else 2
            several = torch.cat([activations] * times, dim=batch_axis).contiguous()
            again = tail(several, tail.bypasses(inputs, activations), times)
        except Exception:  # tracing fails in as many ways as models are written; the whole model always runs
            continue
        if agree(again, repeated(outputs, times)):
            return tail
    return None


@dataclass(frozen=True)
class Behind:
    """How to trace what is behind a layer alone.

    Attributes:
        run: the model with its layer's output replaced; what is before the layer is computed plainly.
        is_weight: whether a tensor is the model's own.
    """

    run: Run
    is_weight: Callable[[object], bool]


def trace_behind(behind: Behind, inputs: Inputs, activations: torch.Tensor, batch_axis: int) -> Tail | None:
    """Trace what the model computes from ``activations`` on; None where it takes in anything else but weights.

    The stem runs on one blank row. What it makes comes into the graph as constants, which tell that it is needed.
    """
    blanks = _Blanks(inputs, None)
    blank = blanks.filled(1)
    graph = clean(traced(lambda z: behind.run(blank, z), _example(activations, batch_axis, blanks.values)))
    return Tail(graph) if all(map(behind.is_weight, constants(graph))) else None


def trace_tail(
    run: Run,
    inputs: Inputs,
    activations: torch.Tensor,
    batch_axis: int,
    *,
    linked: bool,
    functional: bool,
    by_image: Sequence[bool] | None = None,
) -> Tail | None:
    """Trace what the model computes from ``activations`` on.

    Args:
        run: the model with its layer's output replaced.
        inputs: a batch, for shapes and types only.
        activations: the layer's output for it.
        batch_axis: the axis of ``activations`` that counts images.
        linked: the stem's batch size is the activations'. The tail may read it there (``x.view(inputs.shape[0], -1)``),
            but a stem that makes a plain number of it (``len(x)``) fixes it for the tail too, unless it is not linked.
        functional: trace it without writes, which is not possible of every model.
        by_image: which values of the inputs have a row for each image; all of them if not said.

    Returns:
        The tail, or None where something bypasses the layer that cannot be repeated for more rows.
    """
    blanks = _Blanks(inputs, by_image)

    def forward(z: torch.Tensor) -> Outputs:
        return run(blanks.filled(z.shape[batch_axis] if linked else 1), z)

    function = torch.func.functionalize(forward, remove="mutations") if functional else forward
    graph = traced(function, _example(activations, batch_axis, blanks.values))
    tail = clean(copied(graph))
    if not blanks.nodes(tail):
        return Tail(tail)
    # A write into what bypasses the layer has to come before or after the cut; without writes there is no question.
    if not linked or (not functional and any(writes(node) for node in graph.graph.nodes)):
        return None
    return _split(graph, blanks, batch_axis)


def _example(activations: torch.Tensor, batch_axis: int, inputs: Sequence[object]) -> torch.Tensor:
    """Activations to trace with."""
    # Sizes that are equal in the example are taken for one and the same, so the example's batch has a size of its own.
    sizes = {size for x in (activations, *inputs) if isinstance(x, torch.Tensor) for size in x.shape}
    batch = next(size for size in (2, 3, 5, 7, 11, 13, 17, 19, 23) if size not in sizes)
    row = activations.detach().narrow(batch_axis, 0, 1)
    return torch.cat([row] * batch, dim=batch_axis).contiguous()


@dataclass(frozen=True)
class _Blanks:
    """Inputs without values, which are told again in a graph by what they are filled with.

    Attributes:
        inputs: a batch.
        by_image: which of its values have a row for each image; None for all.
    """

    inputs: Inputs
    by_image: Sequence[bool] | None

    @property
    def values(self) -> list[object]:
        """All that the inputs are nested of."""
        return pytree.tree_leaves(self.inputs)

    @property
    def tensors(self) -> Iterator[tuple[int, torch.Tensor]]:
        """The tensors that are blank, with their numbers among the values."""
        return ((i, x) for i, x in enumerate(self.values) if has_rows(x))

    def filled(self, rows: Size) -> Inputs:
        """The inputs, blank, with so many rows."""
        values = self.values
        for i, x in self.tensors:
            fixed = self.by_image is not None and not self.by_image[i]
            fill = _mark(i) if x.is_floating_point() else 0
            shape = (len(x) if fixed else rows, *x.shape[1:])
            values[i] = torch.full(shape, fill, dtype=x.dtype, device=x.device)
        return pytree.tree_unflatten(values, pytree.tree_structure(self.inputs))

    def nodes(self, graph: GraphModule) -> dict[int, Node]:
        """The nodes that make the blank inputs, by input; whole-numbered inputs (token ids) are told by their shape."""
        made: dict[int, Node] = {}
        for node in graph.graph.nodes:
            if node.target is torch.ops.aten.full.default:
                i = next((i for i, x in self.tensors if i not in made and _makes(node, i, x)), None)
                if i is not None:
                    made[i] = node
        return made


def _mark(i: int) -> float:
    return _MARK * (1 + i)


def _makes(node: Node, i: int, x: torch.Tensor) -> bool:
    """Whether a node that fills a tensor makes blank input ``i``."""
    value = node.meta["val"]
    alike = value.shape[1:] == x.shape[1:] and value.dtype == x.dtype
    return bool(node.args[1] == _mark(i) or (alike and not x.is_floating_point()))


def _split(graph: GraphModule, blanks: _Blanks, batch_axis: int) -> Tail | None:
    """Cut a graph in two where values made from the inputs meet those made from the activations."""
    start = next(node for node in graph.graph.nodes if node.op == "placeholder")
    batch: torch.SymInt = start.meta["val"].shape[batch_axis]
    _count_at(start, batch_axis, batch, graph.graph)
    crossing = _crossing(graph, start, blanks)
    axes: list[int | None] = []
    for node in crossing:
        counting = [i for i, size in enumerate(node.meta["val"].shape) if _depends(size, batch)]
        if len(counting) > 1:
            return None
        axes.append(counting[0] if counting else None)
    stem = copied(graph)
    by_name = {node.name: node for node in stem.graph.nodes}
    output = next(node for node in stem.graph.nodes if node.op == "output")
    output.args = (tuple(by_name[node.name] for node in crossing),)
    made = blanks.nodes(stem)
    as_arguments(stem.graph, [made.get(i) for i, _ in blanks.tensors])
    as_arguments(graph.graph, crossing)
    if blanks.nodes(clean(graph)):
        return None
    return Tail(graph, clean(stem), axes)


def _crossing(graph: GraphModule, start: Node, blanks: _Blanks) -> list[Node]:
    """The tensors made from the inputs alone that what is made from the activations, or the output, takes in."""
    below = made_from([start], graph.graph)
    above = made_from(blanks.nodes(graph).values(), graph.graph)
    return [
        node
        for node in graph.graph.nodes
        if node in above
        and node not in below
        and isinstance(node.meta["val"], torch.Tensor)
        and any(user in below or user.op == "output" for user in node.users)
    ]


def _count_at(start: Node, axis: int, batch: torch.SymInt, graph: Graph) -> None:
    """Let every node that reads the batch size off some tensor read it off the activations.

    The blank inputs have it from there too, but where a graph is cut they are arguments of the stem, with the rows of
    the pass, while the activations of a tail may have more.
    """
    size = torch.ops.aten.sym_size.int
    with graph.inserting_after(start):
        count = graph.call_function(size, (start, axis))
    count.meta["val"] = batch
    for node in list(graph.nodes):
        value = node.meta.get("val")
        if node is not count and node.target is size and _is_same(value, batch):
            node.replace_all_uses_with(count)
            graph.erase_node(node)


def _is_same(size: object, batch: torch.SymInt) -> bool:
    return isinstance(size, torch.SymInt) and bool(size.node.expr == batch.node.expr)


def _depends(size: Size, batch: torch.SymInt) -> bool:
    return isinstance(size, torch.SymInt) and batch.node.expr in size.node.expr.free_symbols
