"""Exports are often fixed to one image at a time: their graphs are mended where a batch of more does not fit.

Two images are run by themselves and as one batch, operator by operator. What has to be in the batch is known from the
two, so that every repair is checked where it is made, on values. Loaded with the first ``.onnx`` file only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch

from gradsight.foreign import Module
from gradsight.models.sources.onnx.network import Network, Step
from gradsight.models.sources.onnx.operators import GIVEN, Operator, named, reshaping

_TOLERANCE = 1e-3  # of a value's scale: another batch size is summed in another order
_CONSTANT = -1


Values: TypeAlias = tuple[torch.Tensor, ...]


class Misfit(Exception):
    """An operator that cannot take a larger batch."""


@dataclass
class _Value:
    """What a value was for the first images, for the second, and for both as one batch.

    Attributes:
        axis: where the batch is; `_CONSTANT` where the value is the same for all images, None where neither holds.
        minor: the batch's axis is shared, and it is the images that change fastest along it.
    """

    first: torch.Tensor
    second: torch.Tensor
    both: torch.Tensor
    axis: int | None = field(init=False)
    minor: bool = field(init=False)

    def __post_init__(self) -> None:
        self.axis, self.minor = _batch_axis(self.first, self.second, self.both)

    def before(self) -> int:
        """How many numbers there are before the batch's axis; those that share it, too, where the batch is minor."""
        return math.prod(self.first.shape[: (self.axis or 0) + self.minor])


def free_batch(model: Network, first: torch.Tensor, second: torch.Tensor, *, fixed_size: bool) -> None:
    """Mend a network, in place, so that it takes any number of images.

    Args:
        model: the network; half mended after an error.
        first: images of the network's input, as many as it was exported with.
        second: others.
        fixed_size: the graph takes images of one size only: what it computes from shapes alone is constant then, but
            for the batch.

    Raises:
        Misfit: an operator cannot be mended.
        Exception: whatever an operator raises that fails on the first images alone.
    """
    images = (first, second, torch.cat([first, second]))
    values = {
        name: _Value(*of) for name, *of in zip(model.inputs, *(model.as_in_graph([x]) for x in images), strict=True)
    }
    image, constants = model.inputs[0], dict[str, torch.Tensor]()
    for i, ended in enumerate(model.ends()):
        step = model.steps[i] = _bound(model, model.steps[i], constants)
        found = _fitted(model, i, [values[name] for name in step.inputs], values[image], fixed_size=fixed_size)
        for name, value in zip(step.outputs, found, strict=False):
            values[name] = value
            if value.axis == _CONSTANT and (fixed_size or not step.inputs):
                constants[name] = value.first
        for name in ended:
            if name != image:
                values.pop(name, None)
    if any(values[name].axis != 0 or values[name].minor for name in model.outputs):
        raise Misfit("the output")
    model.prune()


def _fitted(model: Network, i: int, taken: list[_Value], image: _Value, *, fixed_size: bool) -> list[_Value]:
    """Run one operator, and mend it where it has to be."""
    step, module = model.steps[i], model.get_submodule(model.steps[i].module)
    first, second = (_run(module, inputs) for inputs in ([v.first for v in taken], [v.second for v in taken]))
    found = _joint(module, taken, first, second)
    if _suspect(module, taken, found, fixed_size=fixed_size):
        mended = _mended(module, step, taken, image, first[0], second[0])
        if mended is not None:
            function, names, value = mended
            model.put(step.module, named(type(module).__name__, function, [GIVEN] * len(names)))
            model.steps[i] = step._replace(inputs=tuple(model.inputs[0] if n is None else n for n in names))
            return [value]
    if found is None:
        raise Misfit(step.module)
    return found


def _bound(model: Network, step: Step, constants: dict[str, torch.Tensor]) -> Step:
    """Put what turned out to be constant into the operator that takes it."""
    module = model.get_submodule(step.module)
    if not isinstance(module, Operator):
        return step
    inputs = list(step.inputs)
    for name in [n for n in inputs if n in constants]:
        module.bind(inputs.index(name), constants[name])
        inputs.remove(name)
    return step._replace(inputs=tuple(inputs))


def _run(module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    result = module(*inputs)
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def _joint(module: torch.nn.Module, taken: Sequence[_Value], first: Values, second: Values) -> list[_Value] | None:
    """The outputs for the batch of both; None where the operator fails on it, or mixes images up."""
    try:
        both = _run(module, [value.both for value in taken])
    except Exception:  # operators fail in as many ways as there are
        return None
    found = [_Value(*parts) for parts in zip(first, second, both, strict=True)]
    wrong = any(value.axis is None and value.both.is_floating_point() for value in found)
    return None if wrong else found


def _suspect(module: Module, taken: list[_Value], found: list[_Value] | None, *, fixed_size: bool) -> bool:
    """Whether an operator may be one to mend: it failed, moved the batch to another axis, or computes its shape."""
    kind = type(module).__name__
    if kind in ("Concat", "Gather") or found is None:
        return kind in ("Concat", "Reshape", "Gather") and (found is None or found[0].axis != 0)
    if kind not in ("Reshape", "Expand") or found[0].axis == _CONSTANT:
        return False
    computed = len(module.arguments) > 1 and module.arguments[1] is GIVEN
    return (computed and fixed_size) or (not computed and kind == "Reshape" and found[0].axis != taken[0].axis)


_Mended = tuple[Callable[..., Any], list[str | None], _Value] | None
"""What to run instead, on which values (None: the image), and what that gives."""


def _mended(
    module: Module, step: Step, taken: list[_Value], image: _Value, one: torch.Tensor, two: torch.Tensor
) -> _Mended:
    kind = type(module).__name__
    if kind == "Reshape":
        return _reshaped(step, taken[0], image, one, two)
    if kind == "Concat":
        return _concatenated(module, step, taken, one, two)
    return _gathered(module, step, taken, image, one, two)


def _reshaped(step: Step, taken: _Value, image: _Value, one: torch.Tensor, two: torch.Tensor) -> _Mended:
    """A shape in words of another batch."""
    for axis in _candidates(taken, one.shape, len(image.first)):
        function = reshaping(_shape_with_batch(taken, one, axis))
        try:
            value = _Value(one, two, function(taken.both))
        except RuntimeError:
            continue
        if value.axis == axis:
            return function, [step.inputs[0]], value
    return None


def _candidates(taken: _Value, shape: Sequence[int], count: int) -> list[int]:
    """Where a new shape may have the batch: on an axis of its own, on the axis where it was, last among features."""

    def rank(i: int) -> tuple[bool, bool, bool, int]:
        own = shape[i] == count and math.prod(shape[:i]) == taken.before()
        return not own, len(shape) > 1 and i == len(shape) - 1, i != taken.axis, i

    return sorted(range(len(shape)), key=rank)


def _shape_with_batch(taken: _Value, result: torch.Tensor, axis: int) -> list[int | None]:
    """The result's shape with a batch of any size: the tensor's own size where that is the same axis, else the rest."""
    shape: list[int | None] = list(result.shape)
    same = axis == taken.axis and not taken.minor and taken.first.shape[axis] == result.shape[axis]
    shape[axis] = None if same else -1
    return shape


def _concatenated(module: Module, step: Step, taken: list[_Value], one: torch.Tensor, two: torch.Tensor) -> _Mended:
    """Parts that are the same for every image, such as a class token, beside parts with a batch."""
    place = next((i for i, value in enumerate(taken) if value.axis not in (None, _CONSTANT)), None)
    if place is None:
        return None
    axis = taken[place].axis or 0
    function, arguments = module.function[0], list(module.arguments)
    fixed = [None if argument is GIVEN else module.constant(i) for i, argument in enumerate(arguments)]

    def concatenate(*given: torch.Tensor) -> torch.Tensor:
        batch, rest = given[place].shape[axis], iter(given)
        parts = [next(rest) if part is None else part for part in fixed]
        wide = [x.expand(*x.shape[:axis], batch, *x.shape[axis + 1 :]) if x.shape[axis] == 1 else x for x in parts]
        joined: torch.Tensor = function(*wide)
        return joined

    try:
        value = _Value(one, two, concatenate(*(v.both for v in taken)))
    except RuntimeError:
        return None
    return (concatenate, list(step.inputs), value) if value.axis == axis else None


def _gathered(
    module: Module, step: Step, taken: list[_Value], image: _Value, one: torch.Tensor, two: torch.Tensor
) -> _Mended:
    """What PyTorch's exporter makes of ``as_strided``: numbers picked from an image that was made flat."""
    indices = module.constant(1)
    if (
        indices is None
        or len(image.first) != 1
        or len(taken) != 1
        or taken[0].first.ndim != 1
        or indices.ndim < 2
        or len(indices) != 1
    ):
        return None
    count = len(taken[0].first)

    def gather(x: torch.Tensor) -> torch.Tensor:
        return x.reshape(-1, count)[:, indices.flatten().long()].reshape(-1, *indices.shape[1:])

    value = _Value(one, two, gather(taken[0].both))
    return (gather, list(step.inputs), value) if value.axis == 0 else None


def _batch_axis(one: torch.Tensor, two: torch.Tensor, both: torch.Tensor) -> tuple[int | None, bool]:
    """The axis along which the batch holds both, see `_Value`, and whether the images change fastest there."""
    if one.shape == both.shape:
        return (_CONSTANT if torch.equal(one, two) and torch.equal(one, both) else None), False
    for axis in range(one.ndim if one.ndim == both.ndim else 0):
        if both.shape[axis] == one.shape[axis] + two.shape[axis]:
            for minor in (False, True):
                parts = (one, two)
                joined = torch.stack(parts, axis + 1).flatten(axis, axis + 1) if minor else torch.cat(parts, axis)
                if joined.shape == both.shape and _close(joined, both):
                    return axis, minor
    return None, False


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    if not a.is_floating_point():
        return torch.equal(a, b)
    scale = float(a.abs().max()) if a.numel() else 0.0
    return bool(((a - b).abs() <= _TOLERANCE * scale + 1e-12).all()) if scale < float("inf") else torch.equal(a, b)
