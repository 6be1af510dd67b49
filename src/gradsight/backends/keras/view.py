"""A private view of the user's model: new layer objects around the same variables.

The user's layers are never run, patched or switched. Their copies are: each shows its output to the tap of the thread
that runs it, and a softmax or sigmoid at the very end is left out, so that scores are logits.
"""

from __future__ import annotations

import types
from collections.abc import Collection, Hashable
from typing import Any, TypeVar, cast

import keras
from keras.src.ops.node import Node

from gradsight.backends.keras.rectify import rectifiable
from gradsight.backends.keras.state import GRAPH, State
from gradsight.backends.keras.tap import listening, path_of
from gradsight.contracts import Part
from gradsight.errors import ModelError, unknown
from gradsight.foreign import Module
from gradsight.recent import Recent

Value = TypeVar("Value")

_GRAPHS = (keras.Sequential, keras.Function)
_ENDS = (
    *(keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Activation),
    *(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D),
)
_SQUASHING = ("softmax", "sigmoid")


class View:
    """The copy, and what tells that the original has changed since.

    Attributes:
        root: the copied model.
        layers: the copied layers by name: their own names, after those of the layers that they are in. The operations
            of a graph that are no layers, such as the addition in ``x + y``, are among them.
        variables: the model's variables, shared with it.
        data_format: ``"channels_last"`` or ``"channels_first"``, of the first layer that has one.
        is_graph: the model is made of layers alone, functional or in sequence.
        end_is_known: the layer that gives the output has been looked for.
        left_out: the activation at the end that the view leaves out, such as ``"softmax"``; empty where there is none.
        calls: how often layers ran in a pass, as far as known.
        parts: which of its tensors a layer is explained at, if several could be maps.
        kept: what engines keep for this view, such as compiled passes.
    """

    def __init__(self, model: Module, *, probabilities: bool = False) -> None:
        """Copy the shells of ``model`` and of the layers inside; nothing is run.

        Args:
            model: the user's.
            probabilities: leave nothing out.

        Raises:
            ModelError: the model has no weights yet.
        """
        if not model.built:
            raise ModelError("the model has not been built: it has no weights yet. Run it once on a real batch.")
        self._copies: dict[int, Module] = {}
        self._originals: list[Module] = []  # keeps every id in _copies taken
        self.root = self._copy(model)
        self._then = State(self._originals)
        self.variables = list(model.variables)
        self.layers: dict[str, Module] = {}
        self._name(self.root, "")
        own = (getattr(layer, "data_format", None) for layer in (*self.layers.values(), self.root))
        self.data_format: str = next((x for x in own if x), None) or keras.config.image_data_format()
        self.calls: dict[str, int] = {}
        self.parts: dict[str, Part] = {}
        self.kept: Recent[Hashable, Recent[Hashable, Any]] = Recent()
        self.left_out = ""
        self.is_graph = isinstance(model, _GRAPHS)
        self.end_is_known = self.is_graph or probabilities
        if self.is_graph and not probabilities:
            self.leave_out(_end(self.root))

    def is_current(self) -> bool:
        """Whether the original still has the layers, variables and attributes that were copied."""
        return self._then.holds()

    def path(self, name: str) -> str:
        """The name of a layer in `layers`; its own name will do where no other layer has it.

        Raises:
            UnknownName: no layer, or more than one, has that name.
        """
        path, mark, call = name.partition("#")
        if path not in self.layers:
            fitting = [known for known in self.layers if known.rpartition("/")[2] == path]
            if len(fitting) != 1:
                raise unknown("layer", name, fitting or self.layers, "`gradsight layers` lists the good ones.")
            path = fitting[0]
        return path + mark + call

    def name_of(self, layer: Module) -> str | None:
        """What one of the user's own layers is called; None for the model itself and for what is not in it."""
        copy = self._copies.get(id(layer)) if isinstance(layer, keras.Operation) else None
        return next((name for name, known in self.layers.items() if known is copy), None)

    def leave_out(self, layer: Module) -> None:
        """Leave out the softmax or sigmoid of the last layer, if it has one."""
        activation = getattr(getattr(layer, "activation", None), "__name__", "")
        if isinstance(layer, keras.layers.Softmax):
            self.left_out = "softmax"
            layer.__dict__["call"] = listening(layer, lambda inputs, *_, **__: inputs)
        elif activation in _SQUASHING and isinstance(layer, _ENDS):
            self.left_out = activation
            layer.__dict__["activation"] = keras.activations.linear

    def children(self, layer: Module) -> Collection[Module]:
        """The layers inside of a copied layer, and the operations of its graph that are no layers."""
        inside = [x for x in vars(layer).get("_layers", ()) if isinstance(x, keras.Layer) and x is not layer]
        return inside + [x for x in vars(layer).get("_operations", ()) if not isinstance(x, keras.Layer)]

    def _name(self, layer: Module, within: str) -> None:
        for child in self.children(layer):
            if path_of(child) is not None or isinstance(child, keras.layers.InputLayer) or child is self.root:
                continue
            path = base = within + child.name
            number = 1
            while path in self.layers:
                number += 1
                path = f"{base}_{number}"
            self.layers[path] = child
            child.__dict__["_gradsight_path"] = path
            self._name(child, path + "/")

    def _copy(self, layer: Module) -> Module:
        if id(layer) in self._copies:
            return self._copies[id(layer)]
        copy = object.__new__(type(layer))
        self._copies[id(layer)] = copy
        self._originals.append(layer)
        own = dict(vars(layer))
        copy.__dict__.update(own)
        for name, value in own.items():
            if name not in GRAPH:
                copy.__dict__[name] = self._swap(value)
        if isinstance(layer, keras.Layer):
            # It would be added up as a loss of the model, whose list the user reads.
            copy.__dict__["activity_regularizer"] = None
        copy.__dict__["call"] = listening(copy, rectifiable(copy, copy.call))
        return copy

    def _swap(self, value: Value) -> Value:
        """``value`` with every reference to an original layer led to its copy; lists and dicts are the copy's own."""
        return cast(Value, self._swapped(value))

    def _swapped(self, value: object) -> object:
        if isinstance(value, keras.Operation):  # a layer, or what a graph has in the place of one
            return self._copy(value)
        if isinstance(value, Node):
            return self._swap_node(value)
        if isinstance(value, types.MethodType) and isinstance(value.__self__, keras.Operation):
            return types.MethodType(value.__func__, self._copy(value.__self__))
        if isinstance(value, dict):
            items = {key: self._swap(item) for key, item in value.items()}
            if type(value) is dict or any(items[key] is not value[key] for key in value):
                return items
            return value
        if isinstance(value, tuple):
            swapped = [self._swap(item) for item in value]
            return tuple(swapped) if type(value) is tuple else value
        if isinstance(value, list):
            return [self._swap(item) for item in value]
        if isinstance(value, set):
            return {self._swap(item) for item in value}
        return value

    def _swap_node(self, node: Module) -> Module:
        if id(node) not in self._copies:
            copy = object.__new__(Node)
            self._copies[id(node)] = copy
            self._originals.append(node)
            copy.__dict__.update(vars(node))
            copy.operation = self._swap(node.operation)
        return self._copies[id(node)]


def _end(model: Module) -> Module | None:
    """The layer that gives a Sequential's or functional model's only output, once; None where it is no layer."""
    if isinstance(model, keras.Sequential):
        layers = [x for x in vars(model)["_layers"] if not isinstance(x, keras.layers.InputLayer)]
        last = layers[-1] if layers else None
        return None if layers.count(last) != 1 else _end(last)
    if not isinstance(model, keras.Function):
        return model
    nodes = [node for depth in vars(model)["_nodes_by_depth"].values() for node in depth]
    giving = [node for node in nodes if any(out is model.outputs[0] for out in node.outputs)]
    if len(model.outputs) != 1 or len(giving) != 1:
        return None
    last = giving[0].operation
    return _end(last) if sum(node.operation is last for node in nodes) == 1 else None
