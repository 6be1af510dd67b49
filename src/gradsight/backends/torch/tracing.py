"""Graphs traced of functions of tensors, by `torch.fx`, and what is done to them."""

from __future__ import annotations

import contextlib
import copy
import gc
import logging
import operator
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from importlib import import_module

import torch
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import _disable_current_modes

from gradsight.foreign import Outputs
from gradsight.locks import Lock

# Tracing patches process-wide state of torch.fx; running a traced graph does not.
_tracing = Lock()


def traced(function: Callable[[torch.Tensor], Outputs], example: torch.Tensor) -> GraphModule:
    """The graph of a function, for any sizes in the place of those of the example."""
    # What tracing leaves behind refers to itself, and would keep the function with the arrays of this call.
    borrowed = [function]
    with _tracing, _uncollected(), torch.no_grad(), _uncached(), _untold():
        try:
            # The weights are real tensors among traced ones, as `_allow_non_fake_inputs` lets them be: the graph then
            # holds them themselves, and reads what they are when it runs.
            make = make_fx(lambda z: borrowed[0](z), tracing_mode="symbolic", _allow_non_fake_inputs=True)
            graph: GraphModule = make(example)
        finally:
            borrowed.clear()
    return graph


@contextlib.contextmanager
def suspended() -> Iterator[Callable[[], None]]:
    """Compute plainly within a trace, until what is given is called or this ends."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_disable_current_modes())
        stack.enter_context(torch._C._DisablePythonDispatcher())
        yield stack.close


def constants(graph: GraphModule) -> list[object]:
    """The tensors that a graph holds itself."""
    names = [str(node.target) for node in graph.graph.nodes if node.op == "get_attr"]
    return [operator.attrgetter(name)(graph) for name in names]


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


@contextlib.contextmanager
def _untold() -> Iterator[None]:
    """Keep PyTorch from printing the error of a function that cannot be traced: whoever traces takes another way."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    was, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was


def _uncached() -> AbstractContextManager[None]:
    """Keep a trace out of PyTorch's cache of what operators give, which never forgets."""
    if "torch._dynamo" not in sys.modules:
        # In a thread of its own: what PyTorch leaves behind when it loads this holds all frames that led to it.
        loading = threading.Thread(target=import_module, args=("torch._inductor",))
        loading.start()
        loading.join()
    patch: AbstractContextManager[None] = import_module("torch._dynamo").config.patch(fake_tensor_cache_enabled=False)
    return patch


def copied(traced: GraphModule) -> GraphModule:
    """Another graph of the same tensors: a copy of the weights would not follow when they change."""
    return GraphModule(traced, copy.deepcopy(traced.graph))


def bare(traced: GraphModule) -> GraphModule:
    """The graph alone: what tracing knew of sizes, and the nodes that were erased from it, are larger than itself."""
    for node in traced.graph.nodes:
        node.meta.clear()
    return copied(traced)


def made_from(starts: Iterable[Node], graph: Graph) -> set[Node]:
    """Every node that computes with tensors made from ``starts``; sizes do not count."""
    made = set(starts)
    for node in graph.nodes:
        if node.op != "output" and _holds_tensors(node) and any(x in made for x in node.all_input_nodes):
            made.add(node)
    return made


def _holds_tensors(node: Node) -> bool:
    return isinstance(node.meta.get("val"), torch.Tensor | tuple | list)


def as_arguments(graph: Graph, nodes: Sequence[Node | None]) -> None:
    """Replace nodes by further arguments of the graph, in this order; None is an argument that is not used."""
    last = next(node for node in graph.nodes if node.op == "placeholder")
    for i, node in enumerate(nodes):
        with graph.inserting_after(last):
            last = graph.placeholder(f"argument_{i}")
        if node is not None:
            last.meta = node.meta
            node.replace_all_uses_with(last)
            graph.erase_node(node)


def clean(traced: GraphModule) -> GraphModule:
    """Erase every node that the output does not need. Of writes, those on values made from the activations stay."""
    made = made_from((node for node in traced.graph.nodes if node.op == "placeholder"), traced.graph)
    # A write has no user, and would be erased as dead by PyTorch's own rule, though it changes what others read.
    traced.graph.eliminate_dead_code(
        lambda node: node.op in ("placeholder", "output") or (writes(node) and node in made)
    )
    traced.recompile()
    return traced


def writes(node: Node) -> bool:
    """Whether a node writes into one of its arguments."""
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable
