"""A body as a TensorFlow graph, of which parts are run: the forward pass, the way back, the tail of a layer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from gradsight.backends.keras.outputs import floating_in, tensors_in
from gradsight.backends.keras.trees import Form
from gradsight.foreign import Inputs

Part = Callable[[Sequence[Any]], Sequence[Any]]
"""A part of a graph, from the values that are fed to those that are fetched."""


class Traced:
    """One body for one kind of inputs."""

    def __init__(self, body: Any, inputs: Inputs, variables: Sequence[Any], *, rows_free: bool = False) -> None:
        """Trace ``body(inputs, start)``, which uses variables; with ``rows_free``, for any number of rows."""
        self._held: dict[str, Any] = {}
        self._outputs: Any = None

        def start(name: str, output: Any) -> Any:
            self._held[name] = tf.identity(output)  # a layer that hands its argument through shares it with others
            return self._held[name]

        form = Form(inputs)

        def run(*tensors: Any) -> None:
            with _Constant(variables):
                self._outputs = body(form.filled(tensors), start)

        specs = [
            tf.TensorSpec((None, *x.shape[1:]) if rows_free and x.shape.rank else x.shape, x.dtype)
            for x in tensors_in(inputs)
        ]
        self._wrapped = _wrapped(run, specs)
        self._inputs = list(self._wrapped.inputs[: len(specs)])
        self._floating = floating_in(self._outputs)
        with self._wrapped.graph.as_default():
            self._cotangents = [tf.compat.v1.placeholder(y.dtype, y.shape) for y in self._floating]
            found = tf.gradients(self._floating, list(self._held.values()), self._cotangents) if self._held else []
            self._gradients = {
                name: tf.convert_to_tensor(g) for name, g in zip(self._held, found, strict=True) if g is not None
            }
        self._definition = self._wrapped.graph.as_graph_def()
        self._nodes = {node.name: node for node in self._definition.node}
        self._from_inputs = _made_from(self._inputs, self._wrapped.graph)
        self._needed = self._crossing(self._gradients.values(), self._cotangents)
        self._leaves = tensors_in(self._outputs)
        self._forward = self._part(self._inputs, [*self._leaves, *self._held.values(), *self._needed])
        self._plain = _differentiable(self._forward, -1)
        self._backward = self._part([*self._cotangents, *self._needed], list(self._gradients.values()))
        self._tails: dict[str, Any] = {}

    def plain(self, inputs: Inputs) -> Any:
        """The outputs where nothing is held; a tape can take derivatives by the last input, a replayed layer's."""
        return self._packed(list(self._plain(tensors_in(inputs))))

    def forward(self, inputs: Inputs) -> tuple[Any, dict[str, Any], list[Any]]:
        """The outputs, what was held, and what the way back needs to know."""
        found = iter(self._forward(tensors_in(inputs)))
        leaves = [next(found) for _ in self._leaves]
        return self._packed(leaves), {name: next(found) for name in self._held}, list(found)

    def backward(self, cotangents: Sequence[Any], held: dict[str, Any], needed: list[Any]) -> dict[str, Any]:
        """Cotangents (k, ...) of each floating-point output to gradients (k, ...) by name."""
        k = len(cotangents[0])
        rows = [self._row([c[j] for c in cotangents], needed) for j in range(k)]
        return {
            name: tf.stack([row.get(name, tf.zeros_like(held[name])) for row in rows]) if rows else held[name][None][:0]
            for name in held
        }

    def _row(self, cotangents: list[Any], needed: list[Any]) -> dict[str, Any]:
        return dict(zip(self._gradients, self._backward([*cotangents, *needed]), strict=True))

    def bypasses(self, name: str, inputs: Inputs) -> list[Any]:
        """What the outputs need besides what was held by a name."""
        crossing, stem, _ = self._tail(name)
        return list(stem(tensors_in(inputs))) if crossing else []

    def tail(self, name: str, raw: Any, bypasses: list[Any], times: int) -> Any:
        """The outputs with ``raw`` in the place of what was held by a name."""
        crossing, _, behind = self._tail(name)
        tiled = [
            tf.concat([value] * times, axis=0) if node.shape.rank and node.shape[0] is None else value
            for node, value in zip(crossing, bypasses, strict=True)
        ]
        return self._packed(list(behind([raw, *tiled])))

    def _tail(self, name: str) -> tuple[list[Any], Any, Any]:
        if name not in self._tails:
            held = self._held[name]
            crossing = self._crossing(self._leaves, [held])
            stem = self._part(self._inputs, crossing)
            self._tails[name] = crossing, stem, _differentiable(self._part([held, *crossing], self._leaves), 0)
        return self._tails[name]  # type: ignore[no-any-return]

    def _crossing(self, ends: Iterable[Any], starts: Sequence[Any]) -> list[Any]:
        """The tensors made from the inputs that what lies between ``starts`` and ``ends`` takes in."""
        behind = _made_from(starts, self._wrapped.graph)
        found: dict[int, Any] = {}
        stack, seen = list(ends), {start.op for start in starts}
        while stack:
            tensor = stack.pop()
            if tensor.op not in behind:
                if tensor.op in self._from_inputs:
                    found[id(tensor)] = tensor
            elif tensor.op not in seen:
                seen.add(tensor.op)
                stack.extend(tensor.op.inputs)
        return list(found.values())

    def _part(self, feeds: Sequence[Any], fetches: Sequence[Any]) -> Part:
        """The part of the graph between tensors, as a function; what is fed and fetched is handed through."""
        made = [x for x in fetches if all(x is not feed for feed in feeds)]
        specs = [tf.TensorSpec(x.shape, x.dtype) for x in feeds]
        function = _wrapped(lambda *values: self._imported(feeds, values, made), specs) if made else None

        def run(values: Sequence[Any]) -> Sequence[Any]:
            found = iter(function(*values) if function is not None else ())
            given = {id(feed): value for feed, value in zip(feeds, values, strict=True)}
            return [given[id(x)] if id(x) in given else next(found) for x in fetches]

        return run

    def _imported(self, feeds: Sequence[Any], values: Sequence[Any], fetches: Sequence[Any]) -> list[Any]:
        """Copy what lies between tensors into the current graph, with values in the place of what is fed.

        TensorFlow's own pruning copies what comes before the feeds as well, and fails there at a loop: each of its
        many outputs has to be fed or none.
        """
        nodes, used = self._between(feeds, fetches)
        part = tf.compat.v1.GraphDef(node=nodes, library=self._definition.library, versions=self._definition.versions)
        capture, captures = tf.compat.v1.get_default_graph().capture, self._wrapped.graph.captures
        mapped = {inside.name: capture(outside) for outside, inside in captures if inside.name in used}
        mapped |= {feed.name: value for feed, value in zip(feeds, values, strict=True) if feed.name in used}
        found: list[Any] = tf.graph_util.import_graph_def(part, mapped, [x.name for x in fetches], name="")
        return found

    def _between(self, feeds: Sequence[Any], fetches: Sequence[Any]) -> tuple[list[Any], set[str]]:
        """The nodes that tensors are made by from others that are fed, and the names of all tensors that they use."""
        fed = {x.name for x in feeds} | {inside.name for _, inside in self._wrapped.graph.captures}
        behind = _made_from(feeds, self._wrapped.graph)
        nodes: dict[Any, Any] = {}
        used: set[str] = set()
        stack = [x.op for x in fetches]
        while stack:
            op = stack.pop()
            if op in nodes:
                continue
            # What a part waits for, and is no part of it, has run before.
            waits = [x for x in op.control_inputs if x in behind or x not in self._from_inputs]
            nodes[op] = node = copy.deepcopy(self._nodes[op.name])
            node.attr.pop("_class", None)  # which nodes it is placed beside: they may be no part of this
            del node.input[len(op.inputs) :]
            node.input.extend(f"^{x.name}" for x in waits)
            used |= {x.name for x in op.inputs}
            stack += [*(x.op for x in op.inputs if x.name not in fed), *waits]
        return list(nodes.values()), used

    def _packed(self, leaves: list[Any]) -> Any:
        return Form(self._outputs).filled(leaves)


class _Constant(keras.StatelessScope):  # type: ignore[misc, unused-ignore]
    """Variables without a gradient, read outside of loops.

    Of a loop TensorFlow takes the gradient by all that goes in, wanted or not, and no second one if variables do.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        super().__init__([(variable, tf.identity(variable.value)) for variable in variables])

    def get_current_value(self, variable: Any) -> Any:
        """A variable's value where it is needed, such as within a loop; None where it has none yet."""
        value = super().get_current_value(variable)
        if value is None:
            value = getattr(variable, "_value", None)
        return None if value is None else tf.stop_gradient(value)


def _differentiable(run: Part, which: int) -> Part:
    """A graph with two derivatives by one of its values alone, for tapes.

    A tape's own way back through a graph takes the gradients of all weights too. Nobody needs them, and that of a 1x1
    convolution with stride 2 aborts the process on some processors. A function leaves out what it does not return.
    """

    @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def slope(values: Sequence[Any], cotangents: Sequence[Any]) -> Any:
        return _by(values[which], lambda: floating_in(list(run(values))), list(cotangents))

    @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def curve(values: Sequence[Any], cotangents: Sequence[Any], direction: Any) -> Any:
        return _by([values[which], *cotangents], lambda: slope(values, cotangents), direction)

    def differentiated(values: Sequence[Any]) -> Sequence[Any]:
        values = list(values)
        start, values[which] = values[which], tf.stop_gradient(values[which])
        outputs = list(run(values))

        def back(*cotangents: Any) -> Any:
            floating = [c for c, y in zip(cotangents, outputs, strict=True) if y.dtype.is_floating]
            known = [tf.stop_gradient(c) for c in floating]
            found = slope(values, known)
            return _with_gradient(found, lambda v: curve(values, known, tf.stop_gradient(v)), start, *floating)

        return _with_gradient(outputs, back, start)  # type: ignore[no-any-return]

    return differentiated


def _by(tensors: Any, function: Callable[[], Any], cotangents: Any) -> Any:
    """The gradients of what a function gives by tensors that it uses."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(tensors)
        found = function()
    slopes = tape.gradient(found, tensors, cotangents, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return tf.nest.map_structure(tf.convert_to_tensor, slopes)  # of a lookup it may be rows with their numbers


def _with_gradient(found: Any, back: Callable[..., Any], *tensors: Any) -> Any:
    """What was computed of tensors without a tape's seeing it, with the way back to them."""
    return tf.custom_gradient(lambda *_: (found, back))(*tensors)


def _wrapped(function: Callable[..., Any], specs: Sequence[Any]) -> Any:
    """A graph of a function, of which nothing runs but what its results need."""
    return tf.compat.v1.wrap_function(function, specs)


def _made_from(tensors: Iterable[Any], graph: Any) -> set[Any]:
    """The operations that made tensors, and every one that comes after them: by what it takes in, or by order alone."""
    found = {tensor.op for tensor in tensors}
    for op in graph.get_operations():  # in an order in which each comes after what it needs
        if any(x.op in found for x in op.inputs) or any(x in found for x in op.control_inputs):
            found.add(op)
    return found
