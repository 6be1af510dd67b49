"""Other rules for the gradient of rectifiers, put in place for one forward pass of one thread."""

from __future__ import annotations

import contextlib
import functools
import threading
import types
from collections.abc import Callable, Hashable, Iterator
from typing import TypeAlias

import keras
import numpy as np
from keras import ops
from keras.src import backend
from numpy.typing import NDArray

from gradsight.backends.keras.engines.protocol import Engine
from gradsight.backends.keras.outputs import floating_in, numpy_of
from gradsight.backends.keras.tap import tapped
from gradsight.backends.patch import Patch, Replacement
from gradsight.backends.rectifiers import NONE_RAN, RULES, tried
from gradsight.contracts import Floats
from gradsight.errors import ModelError, unknown
from gradsight.foreign import Array, Inputs, Module, Outputs
from gradsight.recent import Recent

Function: TypeAlias = Callable[..., Outputs]

# Names of activations; under these Keras's functions and the engine's own are asked for a rule where they are called.
_NAMES = {name for name in dir(keras.activations) if callable(getattr(keras.activations, name))}
_NAMES |= {name.replace("_", "") for name in _NAMES} | {"swish", "hard_swish", "hardswish"}
_NAMES -= {"softmax"}  # it rectifies nothing, and `attention` puts a gate of its own there

_thread = threading.local()
_kinds: Recent[Hashable, bool] = Recent(256)


@contextlib.contextmanager
def rectified(rule: str | None, engine: Engine) -> Iterator[None]:
    """Within it, and in this thread, the gradient that passes a rectifier is cut at 0 first; None changes nothing.

    ``"guided"`` (guided backpropagation, arXiv:1412.6806): the positive part, times the true derivative.
    ``"deconvnet"`` (arXiv:1311.2901): the positive part, whatever went forward.
    What a rectifier is, `gradsight.backends.rectifiers` says, of layers, of the functions that they keep, and of the
    activations of Keras and its engine; what is written out by hand among other things keeps its true derivative.

    Raises:
        UnknownName: there is no such rule.
        ModelError: no rectifier ran.
    """
    if rule is None:
        yield
        return
    if rule not in RULES:
        raise unknown("rule", rule, RULES)
    _thread.met, _thread.engine = 0, engine
    with _patched(), _ruled(rule):
        yield
    if not _thread.met:
        raise ModelError(NONE_RAN)


def rectifiable(layer: Module, function: Function) -> Function:
    """The ``call`` of a layer, which obeys the rule of the thread that runs it if `find_rectifiers` found it one."""

    @functools.wraps(function)
    def obeying(*arguments: Inputs, **keywords: Inputs) -> Outputs:
        if getattr(_thread, "rule", None) is None or not vars(layer).get("_gradsight_rectifies"):
            return function(*arguments, **keywords)
        return _obey(function, arguments, keywords)

    return obeying


def find_rectifiers(layers: list[Module], engine: Engine) -> None:
    """Try copied layers without weights, and the functions that layers keep; those that rectify obey from now on."""
    for layer in layers:
        if "_gradsight_rectifies" in vars(layer):
            continue
        weightless = not getattr(layer, "variables", ()) and not getattr(layer, "_layers", ())
        before = dict(vars(layer))
        rectifies = isinstance(layer, keras.layers.PReLU) or (weightless and _tried(layer.call, engine))
        # A layer may count its calls, or keep what it gives: the trial is none of them.
        layer.__dict__.clear()
        layer.__dict__.update(before, _gradsight_rectifies=rectifies)
        for name, value in before.items():
            if _is_function(name, value) and _tried(value, engine):
                layer.__dict__[name] = _asking(value)


def _is_function(name: str, value: object) -> bool:
    """Whether an attribute of a layer is a function that it may apply to numbers."""
    keras_own = name.startswith("_") or name in ("build", "call", "quantize") or hasattr(value, "get_config")
    return not keras_own and callable(value) and not isinstance(value, type | types.MethodType | keras.Operation)


def _asking(function: Function, name: str = "") -> Function:
    """A function that obeys the rule of the thread that runs it where it rectifies.

    Args:
        function: takes an array.
        name: of a function whose kind is asked for at every call, since its arguments decide; empty for a rectifier.
    """

    @functools.wraps(function)
    def asking(*arguments: Inputs, **keywords: Inputs) -> Outputs:
        if getattr(_thread, "rule", None) is None:
            return function(*arguments, **keywords)
        if name and not _kind(name, function, arguments, keywords):
            with _ruled(None):  # an engine may write hard-sigmoid in ReLU6, which does not make it one
                return function(*arguments, **keywords)
        return _obey(function, arguments, keywords)

    return asking


def _kind(name: str, function: Function, arguments: tuple[Inputs, ...], keywords: dict[str, Inputs]) -> bool:
    """Whether a known function rectifies with these further arguments."""
    if not arguments or len(floating_in([arguments, keywords])) != 1:
        return False
    rest = arguments[1:]
    key = (name, repr(rest), repr(keywords))
    return _kinds.of(key, lambda: _tried(lambda x: function(x, *rest, **keywords), _thread.engine))


def _tried(function: Function, engine: Engine) -> bool:
    """Whether a function is a rectifier, for images, sequences or vectors; nothing of the pass sees the trial."""

    def of(row: NDArray[np.float32], axes: int) -> Floats | None:
        x = ops.convert_to_tensor(row.reshape((1,) * (axes - 1) + (-1,)))
        result = function(x)
        return numpy_of(result).reshape(row.shape) if tuple(result.shape) == tuple(x.shape) else None

    with engine.aside(), keras.StatelessScope(), tapped(None), _ruled(None):
        return any(tried(functools.partial(of, axes=axes)) for axes in (4, 3, 2))


def _obey(function: Function, arguments: tuple[Inputs, ...], keywords: dict[str, Inputs]) -> Outputs:
    """Apply a rectifier by the rule; there is none inside of another."""
    rule, _thread.met = _thread.rule, _thread.met + 1
    with _ruled(None):
        result = function(*arguments, **keywords)
    if rule == "guided":
        return _passing(result, result)
    (x,) = floating_in([arguments, keywords])[:1]
    return _passing(x, ops.stop_gradient(result))


@ops.custom_gradient  # type: ignore[untyped-decorator, unused-ignore]
def _passing(_x: Array, result: Array) -> tuple[Array, Callable[..., tuple[Array, Array]]]:
    """``result``, the positive part of whose gradient goes back to the other."""

    def back(*positional: Array, upstream: Array | None = None) -> tuple[Array, Array]:
        gradient = positional[0] if upstream is None else upstream  # engines differ in how they hand it over
        return ops.maximum(gradient, 0), ops.zeros_like(gradient)

    return result, back


@contextlib.contextmanager
def _ruled(rule: str | None) -> Iterator[None]:
    before = getattr(_thread, "rule", None)
    _thread.rule = rule
    try:
        yield
    finally:
        _thread.rule = before


def _activations() -> list[Replacement]:
    """The activations of Keras and its engine, which are to ask for a rule; other threads have none."""
    return [
        (module, name, _asking(getattr(module, name), name))
        for module in (keras.activations, backend.nn, _thread.engine.activations)
        for name in sorted(_NAMES & vars(module).keys())
    ]


_patched = Patch(_activations)
