"""ONNX graphs, as they are in a file: what is changed before PyTorch gets one, and what a graph says of its photos."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from gradsight.models.sources.onnx.protos import File, Node, Tensor

_DOMAINS = ("", "ai.onnx")
# Operators that onnx2pytorch has a conversion for and classifiers are made of. What it does not know it would look up
# by name among PyTorch's functions, and it ignores domains; the rest (loops, strings, sequences) is not read here.
_OPERATORS = frozenset(
    """Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Celu Clip Concat Constant
    ConstantOfShape Conv ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp
    Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater
    GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization
    LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LRN MatMul Max MaxPool Mean Min Mish
    Mod Mul Neg NonZero Not Or Pad Pow PRelu Range Reciprocal ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize RMSNormalization Round ScatterElements ScatterND
    Selu Shape Shrink Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum
    Swish Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where""".split()  # noqa: SIM905 - it is read, not indexed
)
_QUANTISED = ("QuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")
_ARITHMETIC = ("Sub", "Add", "Mul", "Div", "BatchNormalization")
_PASSING = (*_ARITHMETIC, "Cast", "Identity", "Transpose", "Pad", "DequantizeLinear", "Reshape")
_TO_CHANNELS_FIRST = [0, 3, 1, 2]


class Input(NamedTuple):
    """A graph's image.

    Attributes:
        name: as the graph calls it.
        shape: its sizes, None where they may vary.
        channels_last: whether they are (n, height, width, channels).
        integer: whether it is of integers, which the network gets as floats instead.
        highest: the value that white has: 255 where it is of integers or the graph scales such values itself, 1 where
            the graph scales values in [0, 1] itself, None where nothing tells.
    """

    name: str
    shape: tuple[int | None, ...]
    channels_last: bool
    integer: bool
    highest: int | None


def unreadable(model: File) -> tuple[str, str]:
    """The operators of a graph that cannot be read, and why; two empty strings if there are none."""
    nodes = list(_all_nodes(model))
    quantised = sorted({n.op_type for n in nodes if n.op_type in _QUANTISED})
    if quantised:
        return ", ".join(quantised), "it is quantised, and rounding passes no gradient"
    random = sorted({n.op_type for n in nodes if n.op_type.startswith("Random") or n.op_type == "Bernoulli"})
    if random:
        return ", ".join(random), "it draws random numbers, as a model does that was exported in training mode"
    other = sorted({n.op_type for n in nodes if n.domain in _DOMAINS and n.op_type not in _OPERATORS})
    foreign = sorted({f"{n.domain}.{n.op_type}" for n in nodes if n.domain not in _DOMAINS})
    return ", ".join([*foreign, *other]), "it has operators that are not read" if foreign or other else ""


def trains(model: File) -> bool:
    """Whether batch norm or dropout is in training mode."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "BatchNormalization" and _attribute(node, "training_mode", 0):
            return True
        if node.op_type == "Dropout" and len(node.input) > 2 and any(constant_values(constants, node.input[2])):
            return True
    return False


def constant_values(constants: dict[str, Tensor], name: str) -> list[Any]:
    """The values of a constant as a flat list, the first thousand; empty where ``name`` is none."""
    from onnx import numpy_helper

    return numpy_helper.to_array(constants[name]).ravel()[:1000].tolist() if name in constants else []


def input_of(model: File) -> Input | None:
    """The image that the graph takes; None where it takes something else, or more than one thing."""
    import onnx

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in constants]
    if len(given) != 1:
        return None
    kind = given[0].type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in kind.shape.dim)
    integer = kind.elem_type in (onnx.TensorProto.UINT8, onnx.TensorProto.INT8, onnx.TensorProto.INT32)
    passed, channels = _beginning(model, given[0].name, constants)
    last = False
    if len(shape) == 4:
        turned = any(_attribute(node, "perm", None) == _TO_CHANNELS_FIRST for node in passed)
        last = shape[3] in (1, 3) and shape[1] not in (1, 3)
        if shape[1] is None and shape[3] is None and channels in (1, 3):
            last = turned
            shape = (*shape[:3], channels) if last else (shape[0], channels, *shape[2:])
    return Input(given[0].name, shape, last, integer, 255 if integer else _highest(passed, constants))


def _beginning(model: File, name: str, constants: dict[str, Tensor]) -> tuple[list[Node], int | None]:
    """The nodes before the first convolution, and how many channels that takes (None where there is none)."""
    passed: list[Node] = []
    for node in model.graph.node:
        if name not in node.input:
            continue
        if node.op_type == "Conv" and node.input[1] in constants:
            return passed, constants[node.input[1]].dims[1] * _attribute(node, "group", 1)
        if node.op_type not in _PASSING:
            break
        passed.append(node)
        name = node.output[0]
    return passed, None


def _highest(nodes: list[Node], constants: dict[str, Tensor]) -> int | None:
    """255 where the graph's own arithmetic brings such values down, 1 where it begins with other arithmetic."""
    values: list[tuple[str, float]] = []
    for node in nodes:
        if node.op_type in _ARITHMETIC:
            names = node.input[3:4] if node.op_type == "BatchNormalization" else node.input[:2]
            values += [(node.op_type, abs(v)) for name in names for v in constant_values(constants, name)]
    if not values:
        return None
    large = any(
        value < 0.04 if kind == "Mul" and value else value > 1.5 and kind != "Mul" for kind, value in values[:8]
    )
    # a standard deviation of 0.2 is a division by it, or a multiplication by 5
    return 255 if large else 1


def without_activation(model: File) -> str:
    """Leave a softmax, its logarithm, or a sigmoid at the graph's end out, in place; its name, or nothing.

    The first output is then of logits, as long as it is (n, classes).
    """
    output = model.graph.output[0]
    version = next((entry.version for entry in model.opset_import if entry.domain in _DOMAINS), 0)
    makers = {name: node for node in model.graph.node for name in node.output}
    last = makers.get(output.name)
    while last is not None and last.op_type in ("Identity", "Cast"):
        last = makers.get(last.input[0])
    ends = {"Softmax": "softmax", "LogSoftmax": "softmax", "Sigmoid": "sigmoid"}
    if last is None or last.op_type not in ends or len(output.type.tensor_type.shape.dim) != 2:
        return ""
    activation = ends[last.op_type]
    axis = _attribute(last, "axis", -1 if version >= 13 or activation == "sigmoid" else 1)
    if axis not in (1, -1) or sum(last.output[0] in node.input for node in model.graph.node) > 1:
        return ""
    last.op_type = "Identity"
    del last.attribute[:]
    return activation


def in_single_precision(model: File) -> bool:
    """Make float32 of whatever is of half precision, in place; whether there was any."""
    from onnx import AttributeProto, TensorProto, numpy_helper

    half = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    found = False

    def widen(tensor: Any) -> None:
        nonlocal found
        if tensor.data_type in half:
            found = True
            array = numpy_helper.to_array(tensor).astype("float32")
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    for tensor in model.graph.initializer:
        widen(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                widen(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in half:
                attribute.i, found = TensorProto.FLOAT, True
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type in half:
            value.type.tensor_type.elem_type, found = TensorProto.FLOAT, True
    if found:
        del model.graph.value_info[:]
    return found


def drop_modes(model: File) -> None:
    """Drop the attribute that says whether batch norm trains, in place: onnx2pytorch does not know it."""
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            kept = [attribute for attribute in node.attribute if attribute.name != "training_mode"]
            del node.attribute[:]
            node.attribute.extend(kept)


def hide_constants(model: File) -> None:
    """Keep from onnx2pytorch the constants that it would take for the weights and biases of a linear layer.

    It makes one of every product with a constant, whichever side that is on and whatever its shape, and takes a
    constant that is added next for its bias.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    hidden: dict[str, str] = {}
    nodes = list(model.graph.node)
    for i, node in enumerate(nodes):
        after_product = node.op_type == "Add" and i and nodes[i - 1].op_type == "MatMul"
        for place, name in enumerate(node.input):
            if name not in constants:
                continue
            rank = len(constants[name].dims)
            if (node.op_type == "MatMul" and (place == 0 or rank != 2)) or (after_product and rank != 1):
                node.input[place] = hidden.setdefault(name, f"{name}/hidden")
    del model.graph.node[:]
    from onnx import helper

    model.graph.node.extend(helper.make_node("Identity", [name], [other]) for name, other in hidden.items())
    model.graph.node.extend(nodes)


def _all_nodes(model: File) -> Iterator[Node]:
    for graph in (model.graph, *model.functions):
        yield from graph.node


def _attribute(node: Node, name: str, default: Any) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
