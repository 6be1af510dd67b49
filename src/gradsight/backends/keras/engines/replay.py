"""Running the whole model where its tail does not run alone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from gradsight.backends.keras.outputs import numpy_of, tensors_in


def replayed(body: Any, name: str) -> Any:
    """A body of ``[inputs, raw]``, with ``raw`` in the place of what the other held by a name."""

    def whole(given: Any, _start: Any) -> Any:
        inputs, raw = given
        return body(inputs, lambda at, output: raw if at == name else output)

    return whole


def replay(engine: Any, key: Any, body: Any, name: str, raw: Any, inputs: Any, times: int) -> Any:
    """The outputs of the whole model with ``raw`` in the place of what was held by a name."""
    return engine.plain(("replay", key, name), replayed(body, name), [tiled(inputs, times), raw])


def tiled(tree: Any, times: int) -> Any:
    """Every tensor in inputs or outputs, its rows repeated as a whole: row j is row j % n."""

    def more(x: Any) -> Any:
        return keras.ops.concatenate([x] * times) if times > 1 and keras.ops.is_tensor(x) and x.ndim else x

    return keras.tree.map_structure(more, tree)


def same(outputs: Any, expected: Any) -> bool:
    """Whether outputs are equal up to the rounding of another order of operations."""
    one, two = ([numpy_of(x) for x in tensors_in(y)] for y in (outputs, expected))
    return len(one) == len(two) and all(_close(a, b) for a, b in zip(one, two, strict=True))


def _close(a: Any, b: Any) -> bool:
    if a.shape != b.shape:
        return False
    scale = float(np.abs(b).max(initial=0))
    return bool((np.abs(a - b) <= 64 * np.finfo(a.dtype).eps * scale).all())
