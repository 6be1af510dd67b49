"""A call sees the weights of now; where another thread changes them meanwhile, it has seen those of no moment."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from gradsight.errors import ModelError, cause

Value = TypeVar("Value")

Stamp = Callable[[], Sequence[object]]
"""What tells the weights of now from others: it is the same, one by one, as long as nobody changes them."""


@contextmanager
def unchanged(
    stamp: Stamp, same: Callable[[object, object], bool] = operator.eq, *, before: Sequence[object] | None = None
) -> Iterator[None]:
    """See that the model's weights stay as they are within it.

    Args:
        stamp: tells them from others.
        same: compares what it gives.
        before: what it gave some time ago; None to ask it now.

    Raises:
        ModelError: they did not, and what was made is of no model.
    """
    before = stamp() if before is None else before

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


def of_one_moment(make: Callable[[], Value], stamp: Stamp, known: Sequence[object] | None) -> Value:
    """What ``make()`` gives, of weights that stayed as they are while it ran.

    To look at every tensor of a model takes a while, and is done twice where nothing is known of before. Where the
    weights are at the end as they were after another call, nobody has changed them since. Where they are not, it may
    have been before this call, as by a step of training: it runs once more.

    Args:
        make: runs the model.
        stamp: tells its weights from others.
        known: what it gave some time ago, if that is likely to hold; else None.

    Raises:
        ModelError: they changed meanwhile, and what was made is of no model.
    """
    if known is not None:
        try:
            with unchanged(stamp, before=known):
                return make()
        except ModelError as error:
            if str(error) != _CHANGED:
                raise
    with unchanged(stamp):
        return make()


_CHANGED = (
    "the model changed while it was explained: another thread writes into its weights, as training does. "
    "Explain it between two steps, or explain a copy: gs.Explainer(copy.deepcopy(model))."
)
