"""Running the whole model where its tail does not run alone, and whether a tail does what the whole model did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from gradsight.backends.keras.inputs import count, tiled
from gradsight.backends.keras.outputs import numpy_of, tensors_in
from gradsight.foreign import Inputs, Outputs


def replayed(body: Any, name: str) -> Any:
    """A body of ``[inputs, raw]``, with ``raw`` in the place of what the other held by a name."""

    def whole(given: Any, _start: Any) -> Any:
        inputs, raw = given
        # What follows may write into it.
        return body(inputs, lambda at, output: keras.ops.copy(raw) if at == name else output)

    return whole


def replay(engine: Any, key: Any, body: Any, name: str, raw: Any, inputs: Inputs) -> Any:
    """The outputs of the whole model for as many inputs, with ``raw`` in the place of what was held by a name."""
    return engine.plain(("replay", key, name), replayed(body, name), [inputs, raw])


def gives_again(tail: Callable[[Any], Any], name: str, forward: Any) -> bool:
    """Whether a tail of a layer gives a pass's own outputs again, twice for what was held twice."""
    n = count(forward.inputs)
    return _same(tail(tiled(forward.held[name], 2, n)), tiled(forward.outputs, 2, n))


def _same(outputs: Outputs, expected: Any) -> bool:
    """Whether outputs are equal up to the rounding of another order of operations; what is no number is equal too."""
    one, two = ([numpy_of(x) for x in tensors_in(y)] for y in (outputs, expected))
    return len(one) == len(two) and all(_close(a, b) for a, b in zip(one, two, strict=True))


def _close(a: Any, b: Any) -> bool:
    if a.shape != b.shape:
        return False
    scale = float(np.abs(b).max(initial=0, where=np.isfinite(b)))
    return np.allclose(a, b, rtol=0, atol=64 * np.finfo(a.dtype).eps * scale, equal_nan=True)
