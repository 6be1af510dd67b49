"""Keras's fused attention, computed step by step: its weights first, then what they add up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from gradsight.errors import ModelError
from gradsight.foreign import Array

HIDDEN = (
    "an attention of the model runs within a loop, within a function that is compiled by itself, or with options that "
    "are not known here, so that its weights cannot be seen. Use a method that does not look at attention, such as "
    "'gradcam'."
)


@dataclass(frozen=True)
class Fused:
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
    ) -> Fused:
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
