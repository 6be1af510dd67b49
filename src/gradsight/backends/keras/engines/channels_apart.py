"""How far behind a layer each of its channels goes a way of its own, in a TensorFlow graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from gradsight.backends.dominators import topological
from gradsight.foreign import Array

_ONE_BY_ONE = {
    *("Cast", "Elu", "Identity", "LeakyRelu", "Relu", "Relu6", "Selu", "Sigmoid", "Softplus", "Tanh"),
}
"""Operations that make each number of one number."""

_OVER_AXES = {"Max", "Mean", "Min", "Sum"}
"""Operations that make one number of all those along axes."""

_BY_ROW = {
    *_ONE_BY_ONE,
    *("AddV2", "BiasAdd", "LogSoftmax", "MatMul", "Maximum", "Minimum", "Mul", "RealDiv", "Softmax", "Sub"),
}
"""Operations that make one row of one row."""


class Point(NamedTuple):
    """A tensor whose channels are made of the same channels of a layer each, and of nothing else.

    Attributes:
        tensor: it.
        channels: which of its axes counts them.
    """

    tensor: Array
    channels: int


def last_apart(leaf: Point, results: Sequence[Array]) -> Point:
    """The last such tensor on the only way from a layer's output to results; the output itself where there is none.

    What is not known to leave channels and images apart ends the way.
    """
    needed, point = _needed(results), leaf
    names = {x.name for x in results}
    while True:
        takers = [op for op in point.tensor.consumers() if op in needed]
        if len(takers) != 1 or point.tensor.name in names:
            return point
        after = _after(takers[0], point)
        if after is None:
            return point
        point = after


def _after(op: tf.Operation, point: Point) -> Point | None:
    """What an operation makes of a point; None where it may put channels or images together."""
    if op.control_inputs or op.inputs[0] is not point.tensor:
        return None
    if op.type in _ONE_BY_ONE:
        return Point(op.outputs[0], point.channels)
    axes = tf.get_static_value(op.inputs[1]) if op.type in _OVER_AXES else None
    if axes is None or point.tensor.shape.rank is None:
        return None
    gone = {int(axis) % point.tensor.shape.rank for axis in axes.reshape(-1)}
    if gone & {0, point.channels}:
        return None
    before = 0 if op.get_attr("keep_dims") else sum(axis < point.channels for axis in gone)
    return Point(op.outputs[0], point.channels - before)


def size_behind(point: Point, results: Sequence[Array]) -> int | None:
    """How many numbers the largest tensor from a point to results holds for each row of the point.

    None if that is not known, or rows might have to do with each other.
    """
    needed, behind = _needed(results), [point.tensor]
    for tensor in behind:
        if tensor.shape.rank is None or tensor.shape[0] is not None or None in tensor.shape[1:]:
            return None
        takers = [op for op in tensor.consumers() if op in needed]
        if not _BY_ROW.issuperset(op.type for op in takers):
            return None
        behind += [op.outputs[0] for op in takers if all(op is not x.op for x in behind)]
    sizes: list[int] = [math.prod(tensor.shape[1:]) for tensor in behind]
    return max(sizes)


def _needed(results: Sequence[Array]) -> set[tf.Operation]:
    """The operations that results wait for."""
    return {op for result in results for op in topological(result.op, _before)}


def _before(op: tf.Operation) -> list[tf.Operation]:
    return [*(x.op for x in op.inputs), *op.control_inputs]
