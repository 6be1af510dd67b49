"""Other rules for the gradient of rectifiers, put in place for one forward pass of one thread."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

from keras import ops
from keras.src import backend

from gradsight.errors import ModelError, unknown

RULES = ("guided", "deconvnet")

# Keras's activations end in these functions of its engine, whether a layer, an argument or `keras.ops` names them.
_RECTIFIERS = ("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "silu", "gelu", "hard_silu")

_thread = threading.local()
_patching = threading.Lock()
_originals: dict[str, Any] = {}
_users = 0


@contextlib.contextmanager
def rectified(rule: str | None) -> Iterator[None]:
    """Within it, and in this thread, the gradient that passes a rectifier is cut at 0 first; None changes nothing.

    ``"guided"`` (guided backpropagation, arXiv:1412.6806): the positive part, times the true derivative.
    ``"deconvnet"`` (arXiv:1311.2901): the positive part, whatever went forward.
    Activations that are written out by hand, or call the engine itself (``tf.nn.relu``), keep their true derivative.

    Raises:
        UnknownName: there is no such rule.
        ModelError: no rectifier ran.
    """
    if rule is None:
        yield
        return
    if rule not in RULES:
        raise unknown("rule", rule, RULES)
    _thread.met = 0
    with _patched(), _ruled(rule):
        yield
    if not _thread.met:
        raise ModelError(
            "the model ran no rectifier (ReLU, GELU, SiLU ...) that is known, so guided backpropagation and "
            "deconvnet would be plain gradients under another name. Use the method 'gradient'."
        )


def rectifiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """A rectifier that obeys the rule of the thread that runs it; there is none inside of another."""

    @functools.wraps(function)
    def obeying(x: Any, *rest: Any, **keywords: Any) -> Any:
        rule = getattr(_thread, "rule", None)
        if rule is None:
            return function(x, *rest, **keywords)
        _thread.met += 1
        with _ruled(None):
            if rule == "guided":
                return _positive_only(lambda y: y)(function(x, *rest, **keywords))
            return _positive_only(lambda y: function(y, *rest, **keywords))(ops.convert_to_tensor(x))

    return obeying


def _positive_only(function: Callable[[Any], Any]) -> Any:
    """A function whose gradient is the positive part of what comes back."""

    @ops.custom_gradient  # type: ignore[untyped-decorator, unused-ignore]
    def passing(x: Any) -> Any:
        def back(*given: Any, upstream: Any = None) -> Any:
            gradient = given[0] if upstream is None else upstream
            return ops.maximum(gradient, 0)

        return function(x), back

    return passing


@contextlib.contextmanager
def _ruled(rule: str | None) -> Iterator[None]:
    before = getattr(_thread, "rule", None)
    _thread.rule = rule
    try:
        yield
    finally:
        _thread.rule = before


@contextlib.contextmanager
def _patched() -> Iterator[None]:
    """Let Keras's own rectifiers ask for a rule; other threads have none."""
    global _users
    with _patching:
        if not _users:
            _originals.update({name: getattr(backend.nn, name) for name in _RECTIFIERS if hasattr(backend.nn, name)})
            for name, function in _originals.items():
                setattr(backend.nn, name, rectifiable(function))
        _users += 1
    try:
        yield
    finally:
        with _patching:
            _users -= 1
            if not _users:
                for name, function in _originals.items():
                    setattr(backend.nn, name, function)
                _originals.clear()
