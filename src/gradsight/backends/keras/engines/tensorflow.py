"""Keras on TensorFlow: a tape that watches the tapped outputs and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from gradsight.backends.keras.engines.graph import cuts_of
from gradsight.backends.keras.outputs import floating_in

_ZERO = tf.UnconnectedGradients.ZERO


def _tape() -> Any:
    return tf.GradientTape(persistent=True, watch_accessed_variables=False)


class TensorFlow:
    """See `gradsight.backends.keras.engines`."""

    def __init__(self, _view: Any) -> None:
        """Nothing of a view is needed: what a pass assigns to a variable stays within the pass."""

    def plain(self, _key: Any, body: Any, inputs: Any) -> Any:
        """The outputs, without a gradient."""
        with keras.StatelessScope():
            return body(inputs, lambda _name, output: output)

    def linearize(self, _key: Any, body: Any, inputs: Any) -> tuple[Any, dict[str, Any], Callable[[Any], Any]]:
        """The outputs, what was held, and the way back."""
        held: dict[str, Any] = {}
        with keras.StatelessScope(), _tape() as tape:

            def start(name: str, output: Any) -> Any:
                held[name] = tf.identity(output)  # a layer that hands its argument through shares it with others
                tape.watch(held[name])
                return held[name]

            outputs = body(inputs, start)
        leaves = floating_in(outputs)

        def pull(cotangents: list[Any]) -> dict[str, Any]:
            rows = [
                tape.gradient(leaves, held, [c[j] for c in cotangents], unconnected_gradients=_ZERO)
                for j in range(len(cotangents[0]))
            ]
            return {name: tf.stack([tf.convert_to_tensor(row[name]) for row in rows]) for name in held}

        return outputs, held, pull

    def slopes(self, function: Any, tensors: list[Any]) -> tuple[Any, list[Any]]:
        """Values (n, k) of tensors, and each column's sum by each tensor."""
        with _tape() as tape:
            tensors = [tf.identity(x) for x in tensors]
            for x in tensors:
                tape.watch(x)
            values = function(tensors)
            columns = [tf.reduce_sum(values[:, j]) for j in range(values.shape[1])]
        rows = [tape.gradient(column, tensors, unconnected_gradients=_ZERO) for column in columns]
        return values, [tf.stack([tf.convert_to_tensor(x) for x in parts]) for parts in zip(*rows, strict=True)]

    def cuts(self, body: Any, inputs: list[Any]) -> set[str]:
        """The started tensors that every path from the first input passes."""
        marked: dict[str, Any] = {}

        def start(name: str, output: Any) -> Any:
            output = tf.identity(output)
            marked[name] = output.op
            return output

        def traced(*given: Any) -> Any:
            with keras.StatelessScope():
                return body(list(given), start)

        signature = [tf.TensorSpec(x.shape, x.dtype) for x in inputs]
        graph = tf.function(traced, autograph=False).get_concrete_function(*signature).graph
        source, end = graph.inputs[0].op, graph.outputs[0].op

        def before(op: Any) -> Any:  # what carries a gradient
            return (x.op for x in op.inputs if x.dtype.is_floating)

        return cuts_of(end, source, before, marked)
