"""A call sees the weights of now; where another thread changes them meanwhile, it has seen those of no moment."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from gradsight.errors import ModelError, cause

Stamp = Callable[[], Sequence[object]]
"""What tells the weights of now from others: it is the same, one by one, as long as nobody changes them."""


@contextmanager
def unchanged(stamp: Stamp, same: Callable[[object, object], bool] = operator.eq) -> Iterator[None]:
    """See that the model's weights stay as they are within it.

    Raises:
        ModelError: they did not, and what was made is of no model.
    """
    before = stamp()

    def changed() -> bool:
        now = stamp()
        if same is operator.eq and isinstance(before, list):
            return before != now  # in one go
        return not all(map(same, before, now))

    try:
        yield
    except Exception as error:
        # Autograd fails where a weight was written into between its two passes: the change is why, and is told.
        if changed():
            raise ModelError(_CHANGED) from cause(error)
        raise
    if changed():
        raise ModelError(_CHANGED)


_CHANGED = (
    "the model changed while it was explained: another thread writes into its weights, as training does. "
    "Explain it between two steps, or explain a copy: gs.Explainer(copy.deepcopy(model))."
)
