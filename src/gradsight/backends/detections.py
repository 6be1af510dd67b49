"""Detections in what a model gives: how they are read, its first output settles, by values where names say nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized

import numpy as np

from gradsight.backends.tables import Table, find_table
from gradsight.cached import cached_property
from gradsight.contracts import Backend
from gradsight.foreign import Array, Outputs
from gradsight.targets import detections_in


class Detections:
    """From an output of one model to scores (n, q, classes) and boxes of predictions; None where it has none.

    Boxes are (n, q, 4), or (n, q, classes, 4) where each class has its own, each (left, top, right, bottom) in pixels
    of the model's input. Known are outputs whose parts have the names of scores and boxes (see `detections_in`), and
    tables that hold boxes beside scores, as those of YOLO's heads (see `tables`).
    """

    def __init__(
        self,
        own: Callable[[Outputs], Outputs] | None,
        outputs: Outputs,
        size: tuple[int, ...],
        labels: Sequence[str] | None,
        backend: Backend,
    ) -> None:
        """Read outputs like this one.

        Args:
            own: the user's function from an output to scores and boxes, or to a part of it that holds them; None to
                look for them in all of it.
            outputs: one with values. It is looked at when one is read.
            size: (height, width) of the model's input.
            labels: class names, or None.
            backend: of the model, for its array functions.
        """
        self._own, self._first, self._size, self._labels = own, outputs, size, labels
        self._ops, self._numpy = backend.ops, backend.numpy

    def __call__(self, outputs: Outputs) -> tuple[Array, Array] | None:
        """The scores and boxes in an output, or None."""
        part = self._part(outputs)
        named: tuple[Array, Array] | None = detections_in(part, self._size, self._classes, self._ops)
        if named is not None or self._table is None:
            return named
        return self._table.read(part, self._size, self._ops)

    def _part(self, outputs: Outputs) -> Outputs:
        return outputs if self._own is None else self._own(outputs)

    @cached_property
    def _classes(self) -> Sized | None:
        """As many items as there are classes, where that is known or seen.

        A detector that is for "nothing" in most of its predictions, as DETR is, has a class for that after the others.
        """
        if self._labels is not None:
            return self._labels
        found = detections_in(self._part(self._first), self._size, None, self._ops)
        if found is None or found[0].shape[-1] < 2:
            return None
        last = found[0].shape[-1] - 1
        return range(last) if float(np.mean(self._numpy(found[0]).argmax(-1) == last)) > 0.5 else None

    @cached_property
    def _table(self) -> Table | None:
        return find_table(self._part(self._first), self._labels, self._numpy)
