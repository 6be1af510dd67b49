"""`keras.ops` under the names of the Array API standard."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from gradsight.backends.keras.inputs import private
from gradsight.foreign import Array, Ops


def _asarray(values: ArrayLike | Array, dtype: object = None, device: object = None) -> Array:  # noqa: ARG001 - Keras places arrays itself
    return ops.convert_to_tensor(values, dtype=None if dtype is None else keras.backend.standardize_dtype(dtype))


def _eye(rows: int, columns: int | None = None, *, dtype: object = None, device: object = None) -> Array:
    return _asarray(np.eye(rows, columns), dtype or "float32", device)


def _clip(values: Array, low: float | Array | None = None, high: float | Array | None = None) -> Array:
    values = values if low is None else ops.maximum(values, low)
    return values if high is None else ops.minimum(values, high)


_undifferentiated = threading.local()


@contextlib.contextmanager
def _differentiated(*, now: bool) -> Iterator[None]:
    before = is_undifferentiated()
    _undifferentiated.now = not now
    try:
        yield
    finally:
        _undifferentiated.now = before


def no_gradient() -> contextlib.AbstractContextManager[None]:
    """Within it nothing is differentiated in this thread, so that what is slow to differentiate may be taken."""
    return _differentiated(now=False)


def with_gradient() -> contextlib.AbstractContextManager[None]:
    """Within it anything may be differentiated, whatever is around it."""
    return _differentiated(now=True)


def is_undifferentiated() -> bool:
    """Whether this thread is within `no_gradient`."""
    return getattr(_undifferentiated, "now", False)


def pick(logits: Array, indices: NDArray[np.integer]) -> Array:
    """Some classes of each row: (m, classes), (m, k) -> (m, k)."""
    if is_undifferentiated() and keras.backend.backend() == "tensorflow":
        from gradsight.backends.keras import quick

        return quick.pick(logits, indices)
    if is_undifferentiated() and keras.backend.backend() == "jax":
        from gradsight.backends.keras import quick_jax

        if quick_jax.is_quick(logits):
            return quick_jax.pick(logits, indices)
    # TensorFlow's gradient of a gather takes a hundred times as long.
    chosen = np.asarray(indices)[:, :, None] == np.arange(logits.shape[1])
    return ops.sum(ops.where(chosen, logits[:, None], 0), axis=-1)


def _widest() -> str:
    """float64, but JAX has it only where ``jax_enable_x64`` is set."""
    if keras.backend.backend() == "jax":
        import jax

        return "float64" if jax.config.jax_enable_x64 else "float32"
    return "float64"


def _quick() -> Mapping[str, Callable[..., Array]]:
    """What the engine has a quicker way to."""
    if keras.backend.backend() != "tensorflow":
        return {}
    from gradsight.backends.keras.quick import QUICK

    return QUICK


OPS: Ops = SimpleNamespace(
    **{
        **vars(ops),
        "asarray": _asarray,
        "astype": lambda values, dtype: ops.cast(values, keras.backend.standardize_dtype(dtype)),
        "clip": _clip,
        "concat": ops.concatenate,
        "eye": _eye,
        "float64": _widest(),
        "linalg": SimpleNamespace(cholesky=ops.cholesky, eigh=ops.eigh),
        "matrix_transpose": lambda values: ops.swapaxes(values, -1, -2),
        "permute_dims": ops.transpose,
        "pick": pick,
        "private": private,
        **_quick(),
    }
)
"""What methods call: everything of `keras.ops`, and the few verbs that it names otherwise."""
