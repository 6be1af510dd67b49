"""How large what an ONNX graph computes will be, told before any of it is computed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from numpy.typing import NDArray

from gradsight.errors import ModelError
from gradsight.limits import ARRAY_BYTES, PARTS
from gradsight.models.sources.onnx.protos import File, Node

_SMALL = 10_000
"""In values, of constants that may be shapes: larger ones are told by their sizes alone."""


def check_calls(model: File, name: str) -> None:
    """See that a graph's functions, which call each other, do not make too many operators when they are written out.

    Raises:
        ModelError: they do, or one calls itself.
    """
    functions = {(f.domain, f.name): f for f in model.functions}
    counts: dict[tuple[str, str], int] = {}
    waiting = list(functions)
    while waiting:
        key = waiting[-1]
        calls = [(node.domain, node.op_type) for node in _nodes(functions[key].node)]
        unknown = [call for call in calls if call in functions and call not in counts]
        if key in counts or not unknown:
            counts.setdefault(key, sum(counts.get(call, 1) for call in calls))
            waiting.pop()
        elif len(waiting) > 2 * len(functions):
            raise ModelError(f"model: a function of the ONNX file {name!r} calls itself. Export it again.")
        else:
            waiting.append(unknown[0])
    total = sum(counts.get((node.domain, node.op_type), 1) for node in _nodes(model.graph.node))
    PARTS.check(total, f"{name!r} has {total:,} operators, those of its functions written out", ModelError)


def _nodes(nodes: Iterable[Node]) -> Iterator[Node]:
    """Operators, and those in graphs that they hold."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nodes(graph.node)


def check_arrays(model: File, sizes: dict[str, list[int]], name: str) -> None:
    """See that no array that a graph computes is larger than a limit, as far as its sizes can be told.

    Args:
        model: the graph's model.
        sizes: the shape of each input.
        name: of the file, for the message.

    Raises:
        ModelError: one is over `limits.ARRAY_BYTES`.
    """
    from onnx import shape_inference

    try:
        inferred = shape_inference.infer_shapes(_without_weights(model, sizes), data_prop=True)
    except Exception:  # what does not fit each other fails where it is computed
        return
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim if dim.HasField("dim_value")]
        size = 4 * math.prod(shape)
        shown = " x ".join(f"{side:,}" for side in shape)
        ARRAY_BYTES.check(size, f"{name!r} computes an array of {shown}: {size:,} bytes", ModelError)


def _without_weights(model: File, sizes: dict[str, list[int]]) -> File:
    """A copy with the shapes of the inputs, and without the values of large constants."""
    copy = type(model)()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    for tensor in copy.graph.initializer:
        if math.prod(tensor.dims) > _SMALL:
            for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                tensor.ClearField(field)
    for value in copy.graph.input:
        if value.name in sizes:
            del value.type.tensor_type.shape.dim[:]
            for side in sizes[value.name]:
                value.type.tensor_type.shape.dim.add().dim_value = side
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    return copy


def bytes_of(node: Node, taken: dict[str, NDArray[Any]], model: File) -> float:
    """How many bytes an operator's results have, told of what it takes and before it runs; 0 where that is not known.

    Args:
        node: the operator.
        taken: the arrays that it takes by name.
        model: which it is of: its versions.
    """
    from onnx import defs, helper, numpy_helper, shape_inference

    version = next((entry.version for entry in model.opset_import if entry.domain == node.domain), 1)
    schema = defs.get_schema(node.op_type, version, node.domain)
    types = {
        name: helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in taken.items()
    }
    small = {name: numpy_helper.from_array(x, name) for name, x in taken.items() if x.size <= _SMALL}
    found = shape_inference.infer_node_outputs(
        schema, node, types, small, opset_imports=list(model.opset_import), ir_version=model.ir_version
    )
    return sum(_bytes(value.tensor_type) for value in found.values())


def _bytes(kind: Any) -> float:
    from onnx import helper

    width: int = helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize if kind.elem_type else 8
    count: int = math.prod(dim.dim_value for dim in kind.shape.dim if dim.HasField("dim_value"))
    return width * count
