"""A body as a TensorFlow graph, of which parts are run: the forward pass, the way back, the tail of a layer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence

import keras
import tensorflow as tf

from gradsight.backends.keras.engines.protocol import Body
from gradsight.backends.keras.engines.traced_tail import Part, TailGraph, TracedTail
from gradsight.backends.keras.engines.way_back import WayBack
from gradsight.backends.keras.outputs import floating_in, tensors_in
from gradsight.backends.keras.trees import Form
from gradsight.foreign import Array, Inputs, Outputs


class Traced:
    """One body for one kind of inputs."""

    def __init__(self, body: Body, inputs: Inputs, variables: Sequence[Array], *, rows_free: bool = False) -> None:
        """Trace ``body(inputs, start)``, which uses variables; with ``rows_free``, for any number of rows."""
        self._marked: dict[str, Array] = {}
        self._outputs: Outputs = None

        def start(name: str, output: Array) -> Array:
            self._marked[name] = tf.identity(output)  # a layer that hands its argument through shares it with others
            return self._marked[name]

        # What is no tensor among the inputs is fixed in the graph; `TensorFlow._traced` keeps one for each.
        form = Form(inputs)

        def run(*tensors: Array) -> None:
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
            ends = list(self._marked.values())
            slopes = tf.gradients(self._floating, ends, self._cotangents) if ends else []
            self._gradients = {
                name: tf.convert_to_tensor(g) for name, g in zip(self._marked, slopes, strict=True) if g is not None
            }
        self._definition = self._wrapped.graph.as_graph_def()
        self._nodes = {node.name: node for node in self._definition.node}
        self._from_inputs = _made_from(self._inputs, self._wrapped.graph)
        self._needed = self._crossing(self._gradients.values(), self._cotangents)
        self._results = tensors_in(self._outputs)
        self._forward = self._part(self._inputs, [*self._results, *self._marked.values(), *self._needed])
        self._plain = _differentiable(self._forward, -1)
        self._back = WayBack(self._gradients_of, self._cotangents, self._needed)
        self._tails: dict[str, TailGraph] = {}

    def plain(self, inputs: Inputs) -> Outputs:
        """The outputs, of no leaf; a tape can take derivatives by the last input, the output of a replayed layer."""
        return self._packed(list(self._plain(tensors_in(inputs))))

    def forward(self, inputs: Inputs) -> tuple[Outputs, dict[str, Array], list[Array]]:
        """The outputs, the leaves, and what the way back needs to know."""
        values = iter(self._forward(tensors_in(inputs)))
        results = [next(values) for _ in self._results]
        return self._packed(results), {name: next(values) for name in self._marked}, list(values)

    def backward(self, cotangents: Sequence[Array], leaves: dict[str, Array], needed: list[Array]) -> dict[str, Array]:
        """Cotangents (k, ...) of each floating-point output to gradients (k, ...) by name."""
        k = len(cotangents[0])
        gradients = self._back(list(cotangents), needed) if k and self._gradients else []
        found = dict(zip(self._gradients, gradients, strict=False))
        return {  # nothing of the outputs depends on the others
            name: found[name] if name in found else tf.zeros((k, *leaf.shape), leaf.dtype)
            for name, leaf in leaves.items()
        }

    def _gradients_of(self, cotangents: list[Array], needed: Sequence[Array]) -> Sequence[Array]:
        """The way back of one target, in the current graph."""
        feeds = [*self._cotangents, *self._needed]
        return self._computed(feeds, [*cotangents, *needed], list(self._gradients.values()))

    def tail(self, name: str, inputs: Inputs) -> TracedTail:
        """What the model computes from a leaf on in the pass of such inputs."""
        if name not in self._tails:
            self._tails[name] = self._tail(name)
        graph = self._tails[name]
        return TracedTail(graph, graph.stem(tensors_in(inputs)) if graph.crossing else [])

    def _tail(self, name: str) -> TailGraph:
        leaf = self._marked[name]
        crossing = self._crossing(self._results, [leaf])
        behind = self._part([leaf, *crossing], self._results)
        return TailGraph(
            leaf,
            crossing,
            self._part(self._inputs, crossing),
            behind,
            _differentiable(behind, 0),
            self._computed,
            self._results,
            self._packed,
        )

    def _crossing(self, ends: Iterable[Array], starts: Sequence[Array]) -> list[Array]:
        """The tensors made from the inputs that what lies between ``starts`` and ``ends`` takes in."""
        behind = _made_from(starts, self._wrapped.graph)
        crossing: dict[int, Array] = {}
        stack, seen = list(ends), {start.op for start in starts}
        while stack:
            tensor = stack.pop()
            if tensor.op not in behind:
                if tensor.op in self._from_inputs:
                    crossing[id(tensor)] = tensor
            elif tensor.op not in seen:
                seen.add(tensor.op)
                stack.extend(tensor.op.inputs)
        return list(crossing.values())

    def _part(self, feeds: Sequence[Array], fetches: Sequence[Array]) -> Part:
        """The part of the graph between tensors, as a function; what is fed and fetched is handed through."""
        made = _made(feeds, fetches)
        specs = [tf.TensorSpec(x.shape, x.dtype) for x in feeds]
        function = _wrapped(lambda *values: self._imported(feeds, values, made), specs) if made else None

        def run(values: Sequence[Array]) -> Sequence[Array]:
            return _handed(feeds, values, fetches, function(*values) if function is not None else ())

        return run

    def _computed(self, feeds: Sequence[Array], values: Sequence[Array], fetches: Sequence[Array]) -> list[Array]:
        """The same in the current graph."""
        made = _made(feeds, fetches)
        return _handed(feeds, values, fetches, self._imported(feeds, values, made) if made else ())

    def _imported(self, feeds: Sequence[Array], values: Sequence[Array], fetches: Sequence[Array]) -> list[Array]:
        """Copy what lies between tensors into the current graph, with values in the place of what is fed.

        TensorFlow's own pruning copies what comes before the feeds as well, and fails there at a loop: each of its
        many outputs has to be fed or none.
        """
        nodes, used = self._between(feeds, fetches)
        part = tf.compat.v1.GraphDef(node=nodes, library=self._definition.library, versions=self._definition.versions)
        capture, captures = tf.compat.v1.get_default_graph().capture, self._wrapped.graph.captures
        mapped = {inside.name: capture(outside) for outside, inside in captures if inside.name in used}
        mapped |= {feed.name: value for feed, value in zip(feeds, values, strict=True) if feed.name in used}
        made: list[Array] = tf.graph_util.import_graph_def(part, mapped, [x.name for x in fetches], name="")
        return made

    def _between(self, feeds: Sequence[Array], fetches: Sequence[Array]) -> tuple[list[tf.compat.v1.NodeDef], set[str]]:
        """The nodes that tensors are made by from others that are fed, and the names of all tensors that they use."""
        fed = {x.name for x in feeds} | {inside.name for _, inside in self._wrapped.graph.captures}
        behind = _made_from(feeds, self._wrapped.graph)
        nodes: dict[tf.Operation, tf.compat.v1.NodeDef] = {}
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

    def _packed(self, results: list[Array]) -> Outputs:
        return Form(self._outputs).filled(results)


class _Constant(keras.StatelessScope):  # type: ignore[misc, unused-ignore]
    """Variables without a gradient, read outside of loops.

    Of a loop TensorFlow takes the gradient by all that goes in, wanted or not, and no second one if variables do.
    """

    def __init__(self, variables: Sequence[Array]) -> None:
        super().__init__([(variable, tf.identity(variable.value)) for variable in variables])

    def get_current_value(self, variable: Array) -> Array | None:
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
    def slope(values: Sequence[Array], cotangents: Sequence[Array]) -> Array:
        return _by(values[which], lambda: floating_in(list(run(values))), list(cotangents))

    @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def curve(values: Sequence[Array], cotangents: Sequence[Array], direction: Array) -> list[Array]:
        slopes: list[Array] = _by([values[which], *cotangents], lambda: slope(values, cotangents), direction)
        return slopes

    def differentiated(values: Sequence[Array]) -> Sequence[Array]:
        values = list(values)
        start, values[which] = values[which], tf.stop_gradient(values[which])
        outputs = list(run(values))

        def back(*cotangents: Array) -> Array:
            floating = [c for c, y in zip(cotangents, outputs, strict=True) if y.dtype.is_floating]
            known = [tf.stop_gradient(c) for c in floating]
            slopes = slope(values, known)
            return _with_gradient(slopes, lambda v: curve(values, known, tf.stop_gradient(v)), start, *floating)

        results: Sequence[Array] = _with_gradient(outputs, back, start)
        return results

    return differentiated


def _by(tensors: Array, function: Callable[[], Array], cotangents: Array) -> Array:
    """The gradients of what a function gives by tensors that it uses."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(tensors)
        results = function()
    slopes = tape.gradient(results, tensors, cotangents, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return tf.nest.map_structure(tf.convert_to_tensor, slopes)  # of a lookup it may be rows with their numbers


def _with_gradient(results: Array, back: Callable[..., Array], *tensors: Array) -> Array:
    """What was computed of tensors without a tape's seeing it, with the way back to them."""
    return tf.custom_gradient(lambda *_: (results, back))(*tensors)


def _made(feeds: Sequence[Array], fetches: Sequence[Array]) -> list[Array]:
    """Of tensors that are fetched those that are not fed."""
    return [x for x in fetches if all(x is not feed for feed in feeds)]


def _handed(
    feeds: Sequence[Array], values: Sequence[Array], fetches: Sequence[Array], results: Iterable[Array]
) -> list[Array]:
    """What was made, and what was fed, for all that is fetched."""
    left, fed = iter(results), {id(feed): value for feed, value in zip(feeds, values, strict=True)}
    return [fed[id(x)] if id(x) in fed else next(left) for x in fetches]


def _wrapped(
    function: Callable[..., Array | None], specs: Sequence[tf.TensorSpec]
) -> tf.types.experimental.ConcreteFunction:
    """A graph of a function, of which nothing runs but what its results need."""
    return tf.compat.v1.wrap_function(function, specs)


def _made_from(tensors: Iterable[Array], graph: tf.Graph) -> set[tf.Operation]:
    """The operations that made tensors, and every one that comes after them: by what it takes in, or by order alone."""
    made = {tensor.op for tensor in tensors}
    for op in graph.get_operations():  # in an order in which each comes after what it needs
        if any(x.op in made for x in op.inputs) or any(x in made for x in op.control_inputs):
            made.add(op)
    return made
