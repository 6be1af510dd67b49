"""Keras on TensorFlow: each kind of pass is traced once, and only those parts of its graph run that are needed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gradsight.backends.dominators import cuts_of
from gradsight.backends.keras.engines.once import slopes_of, starting_at
from gradsight.backends.keras.engines.protocol import Body, Linearized
from gradsight.backends.keras.engines.replay import gives_again, replay
from gradsight.backends.keras.engines.traced import Traced
from gradsight.backends.keras.engines.traced_tail import TracedTail
from gradsight.backends.keras.forward import KerasForward
from gradsight.backends.keras.ops import with_gradient
from gradsight.backends.keras.outputs import tensors_in
from gradsight.backends.keras.trees import Form
from gradsight.foreign import Array, Inputs, Outputs
from gradsight.locks import Lock
from gradsight.recent import PASSES, Recent

if TYPE_CHECKING:
    from gradsight.backends.ablation import Ablation
    from gradsight.backends.keras.view import View

_ZERO = tf.UnconnectedGradients.ZERO


class TensorFlow:
    """See `protocol.Engine`."""

    def __init__(self, view: View) -> None:
        """Work on a view, which keeps the traced passes."""
        self._variables, self._kept = view.variables, view.kept
        self._tracing = Lock()

    def plain(self, key: Hashable | None, body: Body, inputs: Inputs) -> Outputs:
        """The outputs, without a gradient."""
        if key is None:
            return Traced(body, inputs, self._variables).plain(inputs)
        return self._traced(key, body, inputs).plain(inputs)

    def each(self, key: Hashable, body: Body, several: Sequence[Inputs]) -> Iterator[Outputs]:
        """The outputs for inputs of one kind, one after the other, by a graph of just their shapes."""
        wanted = (key, Form(several[0]), _shapes_of(several[0]))
        with self._tracing:
            traced = self._graphs(several[0]).of(wanted, lambda: Traced(body, several[0], self._variables))
        return map(traced.plain, several)

    def linearize(self, key: Hashable, body: Body, inputs: Inputs) -> Linearized:
        """The outputs, the leaves, and the way back."""
        return _linearized(self._traced(key, body, inputs), inputs)

    def gradients(self, body: Body, inputs: Inputs, leaves: Mapping[str, Array]) -> dict[str, Array]:
        """Of a body that gives one number its gradients at some of the tensors that it starts at."""
        return slopes_of(_linearized(Traced(starting_at(leaves, body), inputs, self._variables), inputs))

    def tail(self, name: str, raw: Array, forward: KerasForward, more: Callable[[], Inputs], times: int) -> Outputs:
        """The outputs with ``raw`` in the place of a leaf; row j of ``raw`` belongs to row j % n."""
        tail = self._tail(name, forward)
        return replay(self, forward, name, raw, more()) if tail is None else tail(raw, times)

    def ablated(self, name: str, ablation: Ablation, forward: KerasForward) -> Outputs | None:
        """The outputs where channels of a leaf are off: made in the graph of the tail, of the leaf and a mask."""
        tail = self._tail(name, forward)
        return None if tail is None else tail.ablated(ablation)

    def rounds_at_once(self, name: str, ablation: Ablation, forward: KerasForward) -> int:
        """So many that what is computed of them holds no more numbers than a round of the leaf."""
        tail = self._tail(name, forward)
        return 1 if tail is None else tail.rounds_at_once(ablation)

    def _tail(self, name: str, forward: KerasForward) -> TracedTail | None:
        if name not in forward.tails:
            traced = self._traced(forward.key, forward.body, forward.inputs)
            forward.tails[name] = self._believed(traced, name, forward)
        tail = forward.tails[name]
        return tail if isinstance(tail, TracedTail) else None

    def _believed(self, traced: Traced, name: str, forward: KerasForward) -> TracedTail | None:
        """A graph whose tail gives this very pass's output again, for more rows, with what bypasses the layer in it."""
        with self._tracing:
            try:
                tail = traced.tail(name, forward.inputs)
                again = gives_again(tail, name, forward)
            except Exception:  # in as many ways as models are written; the whole model always runs
                return None
        return tail if again else None

    serves_any_rows = True
    activations = tf.nn
    aside = staticmethod(tf.init_scope)

    def trace_level(self) -> object:
        """The graph that is traced at the moment; another within a loop."""
        # `tf.vectorized_map` traces its step into the same graph, from where it makes the operations that run.
        mapped = "loop_body" in tf.get_current_name_scope().split("/")
        return tf.compat.v1.get_default_graph(), mapped

    @staticmethod
    def like(values: NDArray[np.bool_], tensor: Array) -> Array:
        """Ones and zeros as a tensor, in the precision of another."""
        return tf.constant(values.astype(tensor.dtype.as_numpy_dtype))

    def slopes(self, function: Callable[[list[Array]], Array], tensors: list[Array]) -> tuple[Array, list[Array]]:
        """Values (n, k) of tensors, and each column's sum by each tensor."""
        with with_gradient(), tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tensors = [tf.identity(x) for x in tensors]
            tape.watch(tensors)
            values = function(tensors)
            columns = [tf.reduce_sum(values[:, j]) for j in range(values.shape[1])]
        rows = [tape.gradient(column, tensors, unconnected_gradients=_ZERO) for column in columns]
        return values, [tf.stack([tf.convert_to_tensor(x) for x in parts]) for parts in zip(*rows, strict=True)]

    def along(self, function: Callable[..., Array], tensors: list[Array]) -> Array:
        """The derivative of a tensor by ``tensors`` in the direction of themselves."""
        # The way back is linear in what goes back, so its own way back is the way there.
        tensors = [tf.identity(x) for x in tensors]
        value = function(*tensors)
        blank = tf.zeros_like(value)
        back = tf.gradients(value, tensors, grad_ys=blank, unconnected_gradients="zero")
        (along,) = tf.gradients(back, blank, grad_ys=tensors, unconnected_gradients="zero")
        return along

    def curvature(self, function: Callable[[Array], Array], leaf: Array, direction: Array) -> list[Array]:
        """The Hessian of each column's sum by ``leaf``, times ``direction``."""
        leaf = tf.identity(leaf)
        with with_gradient(), tf.GradientTape(persistent=True, watch_accessed_variables=False) as outer:
            outer.watch(leaf)
            with tf.GradientTape(persistent=True, watch_accessed_variables=False) as inner:
                inner.watch(leaf)
                values = function(leaf)
                columns = [tf.reduce_sum(values[:, j]) for j in range(values.shape[1])]
            slopes = [inner.gradient(column, leaf, unconnected_gradients=_ZERO) for column in columns]
        return [outer.gradient(slope, leaf, direction, unconnected_gradients=_ZERO) for slope in slopes]

    def cuts(self, body: Body, inputs: Sequence[Array]) -> set[str]:
        """The started tensors that every path from the first input passes."""
        marked: dict[str, tf.Operation] = {}

        def start(name: str, output: Array) -> Array:
            output = tf.identity(output)
            marked[name] = output.op
            return output

        def traced(*tensors: Array) -> Array:
            with keras.StatelessScope():
                return body(list(tensors), start)

        signature = [tf.TensorSpec(x.shape, x.dtype) for x in inputs]
        graph = tf.function(traced, autograph=False).get_concrete_function(*signature).graph
        source, end = graph.inputs[0].op, graph.outputs[0].op

        def before(op: tf.Operation) -> Iterable[tf.Operation]:  # what carries a gradient
            return (x.op for x in op.inputs if x.dtype.is_floating)

        return cuts_of(end, source, before, marked)

    def unchanged(self) -> AbstractContextManager[None]:
        """Nothing is seen: a variable of TensorFlow does not tell when it changes."""
        return nullcontext()

    def _traced(self, key: Hashable, body: Body, inputs: Inputs) -> Traced:
        """A body as a graph, for any number of rows where the model can be traced so."""
        form, shapes = Form(inputs), _shapes_of(inputs)
        free = (key, form, tuple((shape[1:], dtype) for shape, dtype in shapes))
        with self._tracing:
            kept = self._graphs(inputs)
            for wanted, rows_free in ((free, True), ((key, form, shapes), False)):
                traced: Traced | None = kept.of(wanted, partial(self._try, body, inputs, rows_free))
                if traced is not None:
                    return traced
        raise AssertionError("tracing with fixed shapes gives a graph or an error")

    def _graphs(self, inputs: Inputs) -> Recent[Hashable, Any]:
        """The graphs that are kept for inputs of such sizes."""
        sizes = tuple(tuple(x.shape[1:]) for x in tensors_in(inputs))
        kept: Recent[Hashable, Any] = self._kept.of(sizes, partial(Recent, PASSES))
        return kept

    def _try(self, body: Body, inputs: Inputs, rows_free: bool) -> Traced | None:
        try:
            return Traced(body, inputs, self._variables, rows_free=rows_free)
        except Exception:  # a model may fail in any way on a batch whose size is not known
            if rows_free:
                return None
            raise


def _linearized(traced: Traced, inputs: Inputs) -> Linearized:
    outputs, leaves, needed = traced.forward(inputs)
    return Linearized(outputs, leaves, lambda cotangents: traced.backward(cotangents, leaves, needed))


def _shapes_of(inputs: Inputs) -> tuple[tuple[tuple[int, ...], object], ...]:
    return tuple((tuple(x.shape), x.dtype) for x in tensors_in(inputs))
