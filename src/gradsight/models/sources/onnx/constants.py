"""What in an ONNX graph does not depend on its input is computed once, operator by operator, while it stays small."""

from __future__ import annotations

from collections import Counter
from typing import Any

from numpy.typing import NDArray

from gradsight.errors import ModelError
from gradsight.limits import COUNT, UNPACKED_BYTES
from gradsight.models.sources.onnx.protos import File, Graph, Node
from gradsight.models.sources.onnx.sizes import bytes_of

_TIMES = 8
"""How many times the file's own constants those that are computed from them may be, whatever the limit."""

_SLOW = frozenset(
    """AveragePool Conv ConvTranspose DepthToSpace Einsum GatherElements GatherND GridSample LRN MaxPool Resize
    ScatterElements ScatterND TopK Upsample""".split()  # noqa: SIM905 - it is read, not indexed
)
"""Operators that onnx's own evaluation goes through value by value."""


def fold_constants(model: File, name: str) -> None:
    """Compute what does not depend on the input, in place: onnx2pytorch takes only initializers for weights.

    Args:
        model: the graph's model.
        name: of the file, for the message.

    Raises:
        ModelError: it would be far more than the file holds.
        Exception: whatever onnx raises of operators that do not fit each other.
    """
    from onnx import numpy_helper

    folded, kept = _parted(model.graph)
    if not folded:
        return
    needed = {name for node in kept for name in node.input} | {value.name for value in model.graph.output}
    uses = Counter(name for node in folded for name in node.input)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    budget = max(UNPACKED_BYTES.value, _TIMES * sum(tensor.ByteSize() for tensor in stored.values()))
    values: dict[str, NDArray[Any]] = {}
    for node in folded:
        taken = {x: values[x] if x in values else numpy_helper.to_array(stored[x]) for x in node.input if x}
        _check(node, taken, model, sum(array.nbytes for array in values.values()), budget, name)
        for made, array in _run(node, taken, model).items():
            if made in needed:
                model.graph.initializer.append(numpy_helper.from_array(array, made))
            if uses[made]:
                values[made] = array
        uses.subtract(node.input)
        # a chain of constants may be long, and only its end is needed
        for past in [x for x in node.input if x in values and not uses[x]]:
            del values[past]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _parted(graph: Graph) -> tuple[list[Node], list[Node]]:
    """The operators that take constants alone, and the others."""
    known, folded, kept = {*(tensor.name for tensor in graph.initializer), ""}, [], []
    for node in graph.node:
        if all(name in known for name in node.input):
            known.update(node.output)
            folded.append(node)
        else:
            kept.append(node)
    return folded, kept


def _check(node: Node, taken: dict[str, NDArray[Any]], model: File, held: float, budget: float, name: str) -> None:
    size = bytes_of(node, taken, model)
    if held + size > budget:
        what = f"{name!r} computes constants of {held + size:,} bytes (in a {node.op_type})"
        UNPACKED_BYTES.check(held + size, what, ModelError)
    if node.op_type in _SLOW:
        what = f"{name!r} computes {size // 4:,} constants one by one (in a {node.op_type})"
        COUNT.check(size // 4, what, ModelError)


def _run(node: Node, taken: dict[str, NDArray[Any]], model: File) -> dict[str, NDArray[Any]]:
    """What an operator gives of constants, by name."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    made = [x for x in node.output if x]
    inputs = [
        helper.make_tensor_value_info(x, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for x, a in taken.items()
    ]
    graph = helper.make_graph([node], "constant", inputs, [helper.make_tensor_value_info(x, 1, None) for x in made])
    part = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return dict(zip(made, ReferenceEvaluator(part).run(None, taken), strict=True))
