"""A PyTorch module of an ONNX graph: onnx2pytorch converts its operators one by one, and they run from here.

onnx2pytorch's own ``ConvertModel`` looks constants up by names that may collide, keeps every weight three times, and
passes constants as if they came from the input. This module is loaded with the first ``.onnx`` file only.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from onnx import numpy_helper
from onnx2pytorch.convert.operations import convert_operations
from torch import nn

from gradsight.errors import ModelError
from gradsight.foreign import Module
from gradsight.models.sources.onnx.names import layer_names
from gradsight.models.sources.onnx.operators import GIVEN, REDUCTIONS, layer
from gradsight.models.sources.onnx.protos import File, Node, Tensor

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "BatchNormalization")
# Shapes and axes are plain numbers where they are constant: what is computed from tensors cannot be traced.
_NUMBERS = ("Squeeze", "Unsqueeze", "Pad", "Split", "Expand", "Slice", "Tile", "Reshape", "Upsample", "Resize", "Trilu")


class Step(NamedTuple):
    """One operator's run: the module's name, and the names of the values it takes and gives."""

    module: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Network(nn.Module):
    """An ONNX graph as a PyTorch module, its operators as submodules; images are (n, channels, height, width).

    Attributes:
        steps: the operators in their order.
        inputs, outputs: the names of the graph's inputs and outputs.
        channels_last: whether the graph itself takes (n, height, width, channels).
        batch: how many images it takes at once; None for any number.
    """

    def __init__(self, inputs: Sequence[str], outputs: Sequence[str], channels_last: bool) -> None:
        """Make one without operators."""
        super().__init__()
        self.steps: list[Step] = []
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.channels_last = channels_last
        self.batch: int | None = None

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Run the graph.

        Raises:
            ModelError: it is fixed to another number of images.
        """
        if self.batch is not None and len(inputs[0]) != self.batch:
            raise ModelError(
                f"this ONNX file is fixed to batches of {self.batch}, and other numbers of images do not fit its "
                f"operators. Received: {len(inputs[0])} images. Explain {self.batch} at a time (batch_size="
                f"{self.batch}, --batch-size {self.batch}), or export it with a batch of any size: torch.onnx.export("
                "model, (example,), path, dynamo=True, dynamic_shapes=({0: 'batch'},))."
            )
        values = dict(zip(self.inputs, self.as_in_graph(inputs), strict=True))
        for step, ended in zip(self.steps, self.ends(), strict=True):
            result = self.get_submodule(step.module)(*(values[name] for name in step.inputs))
            values.update(zip(step.outputs, result if len(step.outputs) > 1 else (result,), strict=False))
            # what nobody takes any more is let go: all values at once are many times the weights
            for name in ended:
                values.pop(name, None)
        results = tuple(values[name] for name in self.outputs)
        return results if len(results) > 1 else results[0]

    def as_in_graph(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The inputs with their axes in the graph's order."""
        return [x.permute(0, 2, 3, 1) if self.channels_last else x for x in inputs]

    def ends(self) -> list[list[str]]:
        """For each step the values that no later one takes."""
        last = {name: i for i, step in enumerate(self.steps) for name in (*step.outputs, *step.inputs)}
        found: list[list[str]] = [[] for _ in self.steps]
        for name, i in last.items():
            if name not in self.outputs:
                found[i].append(name)
        return found

    def put(self, name: str, module: nn.Module) -> None:
        """Set a submodule at a dotted name."""
        parent: nn.Module = self
        *path, leaf = name.split(".")
        for atom in path:
            if atom not in parent._modules:
                parent.add_module(atom, nn.Module())
            parent = parent.get_submodule(atom)
        parent._modules[leaf] = module.eval()

    def prune(self) -> None:
        """Drop the operators that nothing needs."""
        needed, kept = set(self.outputs), []
        for step in reversed(self.steps):
            if needed.isdisjoint(step.outputs):
                parent, _, leaf = step.module.rpartition(".")
                del self.get_submodule(parent)._modules[leaf]
            else:
                needed.update(step.inputs)
                kept.append(step)
        self.steps = kept[::-1]
        _drop_empty(self)


def _drop_empty(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        _drop_empty(child)
        if type(child) is nn.Module and not child._modules:
            del module._modules[name]


def network(model: File, channels_last: bool) -> Network:
    """Convert a graph whose constants are initializers; the graph is consumed."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    version = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what may differ, which the comparison with onnxruntime finds
        operators = [op for _, _, op in convert_operations(graph, version, 0, False)]
    made = Network(
        [v.name for v in graph.input if v.name not in constants], [v.name for v in graph.output], channels_last
    )
    values: dict[str, torch.Tensor] = {}
    for node, operator, name in zip(graph.node, operators, layer_names(graph.node), strict=True):
        made.put(name, layer(node, operator, _arguments(node, operator, constants, values)))
        made.steps.append(Step(name, tuple(n for n in node.input if n and n not in constants), tuple(node.output)))
    made.prune()
    return made.eval()


def _arguments(
    node: Node, operator: Module, constants: dict[str, Tensor], values: dict[str, torch.Tensor]
) -> list[Any]:
    """What an operator is called with: tensors of the graph's constants, which those that share them share."""
    if node.op_type in _WEIGHTED or (node.op_type == "MatMul" and isinstance(operator, nn.Linear)):
        return [GIVEN]
    found: list[Any] = []
    for place, name in enumerate(node.input):
        if name in constants:
            if name not in values:
                values[name] = torch.tensor(numpy_helper.to_array(constants[name]))
            plain = place and (node.op_type in _NUMBERS or node.op_type in REDUCTIONS) and values[name].numel() < 100
            found.append(values[name].tolist() if plain else values[name])
        else:
            found.append(GIVEN if name else None)
    while found and found[-1] is None:
        found.pop()
    return found
