"""The model from a layer on, as a graph of its own: no stem, no hook, any batch size."""

from __future__ import annotations

import contextlib
import copy
import gc
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from gradsight.foreign import Inputs, Outputs
from gradsight.locks import Lock

# Tracing patches process-wide state of torch.fx; running a traced graph does not.
_tracing = Lock()

# The stem is traced on inputs filled with this, times 1, 2, 3 ...: a node that makes such an input and is still needed
# in the end shows that something bypasses the layer. No model fills a tensor with it.
_MARK = -7.25e-31

Run = Callable[[Any, torch.Tensor], Any]


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
        self._graph, self._stem, self._axes = _bare(graph), None if stem is None else _bare(stem), axes
        self._writes = any(_writes(node) for node in graph.graph.nodes)

    @property
    def is_cut(self) -> bool:
        """Nothing bypasses the layer."""
        return self._stem is None

    def bypasses(self, inputs: Inputs, activations: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What bypasses the layer in the pass that gave ``activations`` for ``inputs``."""
        if self._stem is None:
            return ()
        return tuple(self._stem(activations, *_tensors(inputs)))

    def gives(self, outputs: Outputs, activations: torch.Tensor, bypasses: Sequence[torch.Tensor]) -> bool:
        """Whether it gives a pass's ``outputs`` again.

        Numbers that the model read while it was traced, such as a weight's ``item()``, are fixed in the graph. What it
        gives shows whether they still hold, at the price of one run of the tail.
        """
        try:
            return _same(self(activations.contiguous(), bypasses, 1), outputs)
        except Exception:  # the model gives something else now than when it was traced
            return False

    def __call__(self, activations: torch.Tensor, bypasses: Sequence[torch.Tensor], times: int) -> Any:
        """The model's output for other, contiguous activations: ``times`` rows for each image; row j is image j % n."""
        tiled = [
            x if axis is None or times == 1 else torch.cat([x] * times, dim=axis)
            for x, axis in zip(bypasses, self._axes, strict=True)
        ]
        return self._graph(activations.clone() if self._writes else activations, *tiled)


def checked_tail(
    run: Run,
    inputs: Inputs,
    outputs: Outputs,
    activations: torch.Tensor,
    batch_axis: int,
    by_image: Sequence[bool] | None = None,
) -> Tail | None:
    """The traced tail, trusted once it gives a pass's ``outputs`` again; None where it does not.

    The other arguments are those of `trace_tail`.
    """
    for linked in (True, False):
        try:
            tail = trace_tail(run, inputs, activations, batch_axis, linked=linked, by_image=by_image)
            if tail is None:
                continue
            # So many rows that their number is no prime: the example's is one, and a tail may be fixed to it.
            times = 4 if activations.shape[batch_axis] == 1 else 2
            several = torch.cat([activations] * times, dim=batch_axis).contiguous()
            again = tail(several, tail.bypasses(inputs, activations), times)
        except Exception:  # tracing fails in as many ways as models are written; the whole model always runs
            continue
        if _same(again, tiled(outputs, times)):
            return tail
    return None


def tiled(tree: Any, times: int) -> Any:
    """Every tensor in inputs or outputs, its rows repeated as a whole: row j is row j % n."""
    return pytree.tree_map(lambda x: torch.cat([x] * times) if has_rows(x) else x, tree)


def has_rows(x: Any, count: int | None = None) -> bool:
    """Whether something is a tensor of ``count`` rows, or of any number."""
    return isinstance(x, torch.Tensor) and x.ndim > 0 and count in (None, len(x))


def _same(outputs: Outputs, expected: Any) -> bool:
    one, two = ([x for x in pytree.tree_leaves(y) if isinstance(x, torch.Tensor)] for y in (outputs, expected))
    # Of an output that hides its tensors nothing can be told.
    return len(one) == len(two) > 0 and all(_close(a, b) for a, b in zip(one, two, strict=True))


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal up to the rounding of another order of operations."""
    if a.shape != b.shape or not a.is_floating_point():
        return torch.equal(a, b)
    scale = float(b.abs().where(b.isfinite(), 0).max()) if b.numel() else 0.0
    return torch.allclose(a, b, rtol=0, atol=64 * torch.finfo(a.dtype).eps * scale, equal_nan=True)


def trace_tail(
    run: Run,
    inputs: Inputs,
    activations: torch.Tensor,
    batch_axis: int,
    *,
    linked: bool,
    by_image: Sequence[bool] | None = None,
) -> Tail | None:
    """Trace what the model computes from ``activations`` on.

    Args:
        run: ``(inputs, activations) -> outputs``: the model with its layer's output replaced.
        inputs: a batch, for shapes and types only.
        activations: the layer's output for it.
        batch_axis: the axis of ``activations`` that counts images.
        linked: the stem's batch size is the activations'. The tail may read it there (``x.view(inputs.shape[0], -1)``),
            but a stem that makes a plain number of it (``len(x)``) fixes it for the tail too, unless it is not linked.
        by_image: which leaves of the inputs have a row for each image; all of them if not said.

    Returns:
        The tail, or None where something bypasses the layer that cannot be repeated for more rows.
    """
    leaves, spec = pytree.tree_flatten(inputs)
    blanks = {i: _MARK * (1 + i) for i, x in enumerate(leaves) if has_rows(x)}
    fixed = {i for i in blanks if by_image is not None and not by_image[i]}

    def forward(z: torch.Tensor) -> Any:
        m = z.shape[batch_axis] if linked else 1
        fed = [_blank(x, len(x) if i in fixed else m, blanks[i]) if i in blanks else x for i, x in enumerate(leaves)]
        return run(pytree.tree_unflatten(fed, spec), z)

    # Sizes that are equal in the example are taken for one and the same, so the example's batch has a size of its own.
    sizes = {size for x in (activations, *leaves) if isinstance(x, torch.Tensor) for size in x.shape}
    batch = next(size for size in (2, 3, 5, 7, 11, 13, 17, 19, 23) if size not in sizes)
    example = activations.detach().narrow(batch_axis, 0, 1)
    example = torch.cat([example] * batch, dim=batch_axis).contiguous()
    traced = _traced(forward, example)
    tail = _clean(_copied(traced))
    if not _blank_nodes(tail, leaves, blanks):
        return Tail(tail)
    if not linked:
        return None
    if any(_writes(node) for node in traced.graph.nodes):
        # A write into what bypasses the layer has to come before or after the cut; without writes there is no question.
        traced = _traced(torch.func.functionalize(forward, remove="mutations"), example)
    return _split(traced, leaves, blanks, batch_axis)


def _traced(function: Callable[[torch.Tensor], Any], example: torch.Tensor) -> GraphModule:
    # What tracing leaves behind refers to itself, and would keep the function with the arrays of this call.
    borrowed = [function]
    with _tracing, _uncollected(), torch.no_grad(), _uncached():
        try:
            make = make_fx(lambda z: borrowed[0](z), tracing_mode="symbolic", _allow_non_fake_inputs=True)
            traced: GraphModule = make(example)
        finally:
            borrowed.clear()
    return traced


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector away: what it destroys may compute as it goes, and would do so in our trace."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _uncached() -> Any:
    """Keep a trace out of PyTorch's cache of what operators give, which never forgets."""
    if "torch._dynamo" not in sys.modules:
        # In a thread of its own: what PyTorch leaves behind when it loads this holds all frames that led to it.
        loading = threading.Thread(target=import_module, args=("torch._inductor",))
        loading.start()
        loading.join()
    return import_module("torch._dynamo").config.patch(fake_tensor_cache_enabled=False)


def _copied(traced: GraphModule) -> GraphModule:
    """Another graph of the same tensors: a copy of the weights would not follow when they change."""
    return GraphModule(traced, copy.deepcopy(traced.graph))


def _bare(traced: GraphModule) -> GraphModule:
    """The graph alone: what tracing knew of sizes, and the nodes that were erased from it, are larger than itself."""
    for node in traced.graph.nodes:
        node.meta.clear()
    return _copied(traced)


def _split(traced: GraphModule, leaves: list[Any], blanks: dict[int, float], batch_axis: int) -> Tail | None:
    """Cut a graph in two where values made from the inputs meet those made from the activations."""
    start = next(node for node in traced.graph.nodes if node.op == "placeholder")
    symbol = start.meta["val"].shape[batch_axis].node.expr
    _count_at(start, batch_axis, symbol, traced.graph)
    below = _made_from([start], traced.graph)
    above = _made_from(list(_blank_nodes(traced, leaves, blanks).values()), traced.graph)
    crossing = [
        node
        for node in traced.graph.nodes
        if node in above
        and node not in below
        and isinstance(node.meta["val"], torch.Tensor)
        and any(user in below or user.op == "output" for user in node.users)
    ]
    axes = []
    for node in crossing:
        counting = [i for i, size in enumerate(node.meta["val"].shape) if _depends(size, symbol)]
        if len(counting) > 1:
            return None
        axes.append(counting[0] if counting else None)
    names = [node.name for node in crossing]
    stem, graph = _copied(traced), traced
    by_name = {node.name: node for node in stem.graph.nodes}
    output = next(node for node in stem.graph.nodes if node.op == "output")
    output.args = (tuple(by_name[name] for name in names),)
    made = _blank_nodes(stem, leaves, blanks)
    _as_arguments(stem.graph, [made.get(i) for i in blanks])
    _as_arguments(graph.graph, crossing)
    if _blank_nodes(_clean(graph), leaves, blanks):
        return None
    return Tail(graph, _clean(stem), axes)


def _count_at(start: Node, axis: int, symbol: Any, graph: Graph) -> None:
    """Let every node that reads the batch size off some tensor read it off the activations."""
    size = torch.ops.aten.sym_size.int
    with graph.inserting_after(start):
        count = graph.call_function(size, (start, axis))
    count.meta["val"] = start.meta["val"].shape[axis]
    for node in list(graph.nodes):
        value = node.meta.get("val")
        if node is not count and node.target is size and isinstance(value, torch.SymInt) and value.node.expr == symbol:
            node.replace_all_uses_with(count)
            graph.erase_node(node)


def _made_from(starts: list[Node], graph: Graph) -> set[Node]:
    """Every node that computes with tensors made from ``starts``; sizes do not count."""
    made = set(starts)
    for node in graph.nodes:
        if node.op != "output" and _holds_tensors(node) and any(x in made for x in node.all_input_nodes):
            made.add(node)
    return made


def _holds_tensors(node: Node) -> bool:
    return isinstance(node.meta.get("val"), torch.Tensor | tuple | list)


def _as_arguments(graph: Graph, nodes: Sequence[Node | None]) -> None:
    """Replace nodes by further arguments of the graph, in this order; None is an argument that is not used."""
    last = next(node for node in graph.nodes if node.op == "placeholder")
    for i, node in enumerate(nodes):
        with graph.inserting_after(last):
            last = graph.placeholder(f"given_{i}")
        if node is not None:
            last.meta = node.meta
            node.replace_all_uses_with(last)
            graph.erase_node(node)


def _clean(traced: GraphModule) -> GraphModule:
    """Erase every node that the output does not need. Of writes, those on values made from the activations stay."""
    made = _made_from([node for node in traced.graph.nodes if node.op == "placeholder"], traced.graph)
    traced.graph.eliminate_dead_code(
        lambda node: node.op in ("placeholder", "output") or (_writes(node) and node in made)
    )
    traced.recompile()
    return traced


def _writes(node: Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _depends(size: Any, symbol: Any) -> bool:
    return isinstance(size, torch.SymInt) and symbol in size.node.expr.free_symbols


def _tensors(inputs: Inputs) -> list[torch.Tensor]:
    return [x for x in pytree.tree_leaves(inputs) if has_rows(x)]


def _blank(x: torch.Tensor, m: Any, mark: float) -> torch.Tensor:
    fill = mark if x.is_floating_point() else 0
    return torch.full((m, *x.shape[1:]), fill, dtype=x.dtype, device=x.device)


def _blank_nodes(traced: GraphModule, leaves: list[Any], blanks: dict[int, float]) -> dict[int, Node]:
    """The nodes that make the blank inputs, by input; whole-numbered inputs (token ids) are told by their shape."""
    found = {}
    for node in traced.graph.nodes:
        if node.target is torch.ops.aten.full.default:
            value = node.meta["val"]
            for i, mark in blanks.items():
                x = leaves[i]
                alike = value.shape[1:] == x.shape[1:] and value.dtype == x.dtype
                if i not in found and (node.args[1] == mark or (alike and not x.is_floating_point())):
                    found[i] = node
                    break
    return found
