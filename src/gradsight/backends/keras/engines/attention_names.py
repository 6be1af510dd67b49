"""Attention on TensorFlow and JAX: two names of modules ask the thread that runs them whether it looks.

All of Keras's layers and operations come down to them: the engine's own softmax, which code written for the engine
calls as well, and fused attention, which is computed step by step where a thread looks. The names stand for something
of ours only while some thread looks, and for other threads they do what they always do.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, TypeAlias

from keras.src import backend

from gradsight.backends.keras.attention import Looking
from gradsight.backends.keras.engines.attention_fused import Fused
from gradsight.backends.patch import Patch, Replacement
from gradsight.foreign import Array

Function: TypeAlias = Callable[..., Array]

_thread = threading.local()


@contextlib.contextmanager
def gate(looking: Looking, activations: ModuleType) -> Iterator[None]:
    """Within it, and in this thread, ``looking`` sees the weights of every attention.

    Args:
        looking: sees them.
        activations: the module of the engine's softmax.
    """
    before = dict(vars(_thread))
    vars(_thread).update(looking=looking, activations=activations)
    try:
        with _patched():
            yield
    finally:
        vars(_thread).clear()
        vars(_thread).update(before)


def _looking() -> Looking | None:
    """What looks in this thread now."""
    looking: Looking | None = getattr(_thread, "looking", None)
    return looking if looking is not None and looking.is_here() else None


@contextlib.contextmanager
def _asleep() -> Iterator[None]:
    """Within it nothing is seen: one function may be written in terms of another."""
    looking, _thread.looking = _thread.looking, None
    try:
        yield
    finally:
        _thread.looking = looking


def _shown(function: Function) -> Function:
    """A softmax whose result this thread sees, if it looks."""

    @functools.wraps(function)
    def softmax(x: Array, *arguments: Any, **keywords: Any) -> Array:
        axis = arguments[0] if arguments else keywords.get("axis", -1)
        axes = getattr(x, "ndim", None)
        is_last = axes in (3, 4) and axis in (None, -1, axes - 1)
        looking = _looking() if is_last else None
        if looking is None:
            return function(x, *arguments, **keywords)
        with _asleep():
            return looking.see(function(x, *arguments, **keywords))

    return softmax


def _opened(function: Function) -> Function:
    """A fused attention, whose weights this thread sees, if it looks: it is computed step by step then."""

    @functools.wraps(function)
    def attention(query: Array, key: Array, value: Array, *arguments: Any, **keywords: Any) -> Array:
        looking = _looking()
        if looking is None:
            return function(query, key, value, *arguments, **keywords)
        with _asleep():
            fused = Fused.of(query, key, value, *arguments, **keywords)
            return fused.applied(looking.see(fused.weights()))

    return attention


def _gates() -> list[Replacement]:
    """The functions that are to ask; asked for when the first thread looks."""
    engine: ModuleType = _thread.activations
    fused = [module for module in (backend.nn, engine) if hasattr(module, "dot_product_attention")]
    return [
        (engine, "softmax", _shown(engine.softmax)),
        *((module, "dot_product_attention", _opened(module.dot_product_attention)) for module in fused),
    ]


_patched = Patch(_gates)
