"""Running the whole model where its tail does not run alone, and whether a tail does what the whole model did."""

from __future__ import annotations

import keras
import numpy as np

from gradsight.backends.keras.engines.protocol import Body, Engine, Start
from gradsight.backends.keras.forward import KerasForward, Tail
from gradsight.backends.keras.inputs import image_in
from gradsight.backends.keras.outputs import numpy_of, repeated, tensors_in
from gradsight.backends.rounding import is_close
from gradsight.foreign import Array, Inputs, Outputs


def replayed(body: Body, name: str) -> Body:
    """A body of ``[inputs, raw]``, with ``raw`` in the place of what the other makes a leaf by a name."""

    def whole(pair: Inputs, _start: Start) -> Outputs:
        inputs, raw = pair
        # What follows may write into it.
        return body(inputs, lambda at, output: keras.ops.copy(raw) if at == name else output)

    return whole


def replay(engine: Engine, forward: KerasForward, name: str, raw: Array, inputs: Inputs) -> Outputs:
    """The outputs of the whole model for as many inputs, with ``raw`` in the place of a leaf."""
    return engine.plain(("replay", forward.key, name), replayed(forward.body, name), [inputs, raw])


def gives_again(tail: Tail, name: str, forward: KerasForward) -> bool:
    """Whether a tail of a layer gives a pass's own outputs again, twice for what it is given twice.

    A graph may be fixed to the number of rows that it was traced with; and what bypasses the layer may be another's.
    """
    n = len(image_in(forward.inputs))
    ours = tail(repeated(forward.leaves[name], 2, n), 2)
    return _agree(ours, repeated(forward.outputs, 2, n))


def _agree(outputs: Outputs, expected: Outputs) -> bool:
    """Whether outputs are equal up to the rounding of another order of operations."""
    ours, theirs = ([numpy_of(x) for x in tensors_in(y)] for y in (outputs, expected))
    return len(ours) == len(theirs) and all(
        is_close(a, b, float(np.finfo(a.dtype).eps)) for a, b in zip(ours, theirs, strict=True)
    )
