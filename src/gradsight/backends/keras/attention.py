"""Seeing the attention weights of a view's pass, and saying what the model computes with instead.

A softmax over the last axis of (n, heads, q, k), or of (n, q, k), is one. On every engine all of Keras's layers and
operations come down to two functions: the engine's own softmax, which code written for the engine calls as well, and
Keras's fused attention, which is written out here. Both ask the thread that runs them whether it looks.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops
from keras.src import backend

from gradsight.backends.keras.engines.protocol import Engine
from gradsight.backends.patch import Patch, Replacement
from gradsight.errors import ModelError
from gradsight.foreign import Array

See: TypeAlias = Callable[[Array], Array]
"""``weights -> weights``: sees the weights of one attention, and gives what the model goes on with."""

Function: TypeAlias = Callable[..., Array]

_thread = threading.local()


@contextlib.contextmanager
def attending(see: See, engine: Engine) -> Iterator[None]:
    """Within it, and in this thread, ``see`` is shown the weights of every attention, in the order in which they run.

    Raises:
        ModelError: one ran within a loop, or within whatever else the engine traces by itself, where none can be seen.
    """
    before = dict(vars(_thread))
    vars(_thread).update(see=see, engine=engine, home=engine.trace_level(), hidden=False)
    try:
        with _patched():
            yield
        if _thread.hidden:
            raise ModelError(HIDDEN)
    finally:
        vars(_thread).clear()
        vars(_thread).update(before)


HIDDEN = (
    "an attention of the model runs within a loop or a function that is compiled by itself, where its weights cannot "
    "be seen. Use a method that does not look at attention, such as 'gradcam'."
)


def _looks() -> bool:
    """Whether this thread is shown what runs now."""
    if getattr(_thread, "see", None) is None:
        return False
    # What is traced within a step of a loop may not leave it; as in `tap.listening`.
    within = _thread.engine.trace_level() != _thread.home
    _thread.hidden = _thread.hidden or within
    return not within


@contextlib.contextmanager
def _asleep() -> Iterator[None]:
    """Within it nothing is seen: one function may be written in terms of another."""
    see, _thread.see = _thread.see, None
    try:
        yield
    finally:
        _thread.see = see


def _shown(function: Function) -> Function:
    """A softmax whose result this thread sees, if it looks."""

    @functools.wraps(function)
    def softmax(x: Array, *arguments: object, **keywords: object) -> Array:
        axis = arguments[0] if arguments else keywords.get("axis", keywords.get("dim", -1))
        axes = len(np.shape(x)) if not hasattr(x, "shape") else len(x.shape)
        if axes not in (3, 4) or axis not in (None, -1, axes - 1, (-1,), (axes - 1,)) or not _looks():
            return function(x, *arguments, **keywords)
        with _asleep():
            weights = function(x, *arguments, **keywords)
        return _thread.see(weights)

    return softmax


def _written_out(function: Function) -> Function:
    """A fused attention, whose weights this thread sees, if it looks: it is computed step by step then."""

    @functools.wraps(function)
    def attention(query: Array, key: Array, value: Array, *arguments: Any, **keywords: Any) -> Array:
        if not _looks():
            return function(query, key, value, *arguments, **keywords)
        fused = _Fused.of(query, key, value, *arguments, **keywords)
        with _asleep():
            weights = fused.weights()
        return fused.applied(_thread.see(weights))

    return attention


@dataclass(frozen=True)
class _Fused:
    """The arguments of `keras.ops.dot_product_attention`, and what it computes.

    Attributes:
        query: (n, q, heads, channels).
        key: (n, k, heads, channels).
        value: (n, k, heads, channels).
        bias: is added to the logits (n, heads, q, k); None for nothing.
        mask: where it is False, nothing is attended to; None for nowhere.
        scale: of the logits.
        is_causal: nothing that comes later is attended to.
        cap: the largest logit, which others come near; None for none.
    """

    query: Array
    key: Array
    value: Array
    bias: Array | None
    mask: Array | None
    scale: float
    is_causal: bool
    cap: float | None

    @classmethod
    def of(
        cls,
        query: Array,
        key: Array,
        value: Array,
        bias: Array | None = None,
        mask: Array | None = None,
        scale: float | None = None,
        is_causal: bool = False,
        **others: Any,
    ) -> _Fused:
        """What a call is given, in one precision, and with as many heads of keys as of queries.

        Raises:
            ModelError: it asks for something that is not known here.
        """
        cap: float | None = others.pop("attn_logits_soft_cap", None)
        # How it is computed is no part of what it is.
        unknown = {name for name, value in others.items() if value is not None} - {"flash_attention", "implementation"}
        if unknown or len(query.shape) != 4:
            raise ModelError(HIDDEN)
        dtype = keras.backend.result_type(query.dtype, key.dtype, value.dtype)
        query, key, value = (ops.cast(x, dtype) for x in (query, key, value))
        groups = query.shape[2] // key.shape[2]
        if groups > 1:
            key, value = (ops.repeat(x, groups, axis=2) for x in (key, value))
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        return cls(query, key, value, bias, mask, scale, is_causal, cap)

    def weights(self) -> Array:
        """The weights: (n, heads, q, k)."""
        # In full precision, as the engines do.
        dtype = keras.backend.result_type(self.query.dtype, "float32")
        logits = ops.cast(ops.einsum("bqhc,bkhc->bhqk", self.query, self.key), dtype) * ops.cast(self.scale, dtype)
        if self.bias is not None:
            logits = logits + ops.cast(self.bias, dtype)
        if self.cap is not None:
            logits = self.cap * ops.tanh(logits / self.cap)
        for allowed in self._allowed(logits):
            logits = ops.where(allowed, logits, -0.7 * float(np.finfo(dtype).max))
        return ops.cast(ops.softmax(logits, axis=-1), self.key.dtype)

    def _allowed(self, logits: Array) -> Iterator[Array]:
        """What may be attended to, as far as something may not."""
        if self.mask is not None:
            yield ops.cast(self.mask, "bool")
        if self.is_causal:
            rows, columns = (ops.arange(ops.shape(logits)[axis]) for axis in (2, 3))
            yield rows[:, None] >= columns

    def applied(self, weights: Array) -> Array:
        """The values, added up by weights: (n, q, heads, channels)."""
        return ops.einsum("bhqk,bkhc->bqhc", weights, self.value)


def _gates() -> list[Replacement]:
    """The functions that are to ask; other threads do not look."""
    engine = _thread.engine.activations
    fused = [module for module in (backend.nn, engine) if hasattr(module, "dot_product_attention")]
    return [
        (engine, "softmax", _shown(engine.softmax)),
        *((module, "dot_product_attention", _written_out(module.dot_product_attention)) for module in fused),
    ]


_patched = Patch(_gates)
