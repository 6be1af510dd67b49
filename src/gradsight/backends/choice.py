"""Which of the tensors that a model gives are its class scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.backends.outputs import SCORE_NAMES, Entry, spelled
from gradsight.errors import InvalidArgument
from gradsight.foreign import Array, Outputs
from gradsight.targets import is_fit, misfit
from gradsight.targets.predictions import sigmoid, softmax

Values: TypeAlias = Callable[[Array], NDArray[np.float64]]
"""From a tensor of scores to its numbers, one row for each image."""


class Choice:
    """The rows of scores among the floating-point tensors of one output, and the choice of one of them.

    With labels it is the one that they fit; without them what is called so, or else the only one. Of logits and their
    own probabilities it is the logits. What stays open is told, and not guessed.
    """

    def __init__(
        self,
        found: Sequence[Entry],
        count: Callable[[Array], int | None],
        labels: tuple[str, ...] | None,
        values: Values | None,
    ) -> None:
        """Sort them.

        Args:
            found: the tensors, in the output's own order.
            count: of a tensor how many classes it scores; None where it is no row of scores.
            labels: the classes' names, or None.
            values: of a tensor its numbers; None where they cannot be looked at.
        """
        self._found, self._count, self._labels, self._values = found, count, labels, values
        once = {id(entry.tensor): entry for entry in reversed(found)}
        rows = [x for x in found if once[id(x.tensor)] is x and not x.is_other and count(x.tensor) is not None]
        self._rows = sorted(rows, key=lambda entry: entry.rank)

    def made(self, outputs: Outputs) -> tuple[Entry | None, str]:
        """The entry, or None; and where no class can be explained for a reason of its own, that in words.

        Args:
            outputs: the output, for the words.

        Raises:
            InvalidArgument: the output is nothing but rows of scores, and the labels fit none.
        """
        rows = [entry for entry in self._rows if entry.rank == 0][:1] or self._rows
        if self._labels is not None:
            return self._by_labels(rows, self._labels, outputs)
        if rows and rows[0].rank < len(SCORE_NAMES):
            return self._of_named(rows), ""
        if any(len(entry.path) == 1 and entry.rank < len(SCORE_NAMES) for entry in self._found):
            return None, ""  # a map that is called so is not passed over
        left = self._logits(rows)
        if len(left) == 1:
            return left[0], ""
        return None, _open(left, outputs) if left else ""

    def map(self, channels: Callable[[Array], int | None], outputs: Outputs) -> tuple[Entry | None, str]:
        """The map of class scores that the output is, or None; and where several may be meant, that in words.

        An output that holds something else beside maps is no segmentation, whatever its maps are of, unless one of
        them is called scores.

        Args:
            channels: of a tensor how many classes it scores at positions; None where it has none.
            outputs: the output, for the words.

        Raises:
            InvalidArgument: the output is nothing but one map, and the labels do not fit it.
        """
        once = {id(entry.tensor): entry for entry in reversed(self._found) if not entry.is_other}
        found = list(once.values())[::-1]
        found.sort(key=lambda entry: entry.rank)
        if found and found[0].rank < len(SCORE_NAMES):
            found = found[:1]
        counts = [channels(entry.tensor) for entry in found]
        if not found or None in counts or self._rows:
            return None, ""
        labels = self._labels
        left = [x for x, count in zip(found, counts, strict=True) if labels is None or is_fit(labels, count or 0)]
        if len(found) == 1 and not left:
            raise InvalidArgument(misfit(labels or (), counts[0] or 0))
        if len(left) == 1:
            return left[0], ""
        return None, _open(left, outputs, ", averaged over its positions") if left else ""

    def _by_labels(self, rows: Sequence[Entry], labels: tuple[str, ...], outputs: Outputs) -> tuple[Entry | None, str]:
        for wanted in (len(labels), 1) if len(labels) == 2 else (len(labels),):  # one score is that of two classes
            fitting = [entry for entry in rows if self._count(entry.tensor) == wanted]
            left = self._logits(fitting)
            if len(left) > 1 and left[0].rank == left[1].rank:  # nothing tells which of them is meant
                return None, _open(left, outputs)
            if left:
                return left[0], ""
        told = [misfit(labels, self._count(entry.tensor) or 0) for entry in rows]
        if told and all(map(self._is_certain, self._found)):
            raise InvalidArgument(told[0])
        return None, told[0] if told else ""

    def _is_certain(self, entry: Entry) -> bool:
        """Nothing but class scores: with one axis between, they may also be those of words or boxes."""
        tensor = entry.tensor
        return tensor.ndim == 0 or (tensor.ndim != 3 and self._count(tensor) is not None)

    def _of_named(self, rows: Sequence[Entry]) -> Entry:
        first = rows[0]
        others = rows[1:] if first.rank else ()  # what is called logits is nothing else
        return next((other for other in others if self._are_probabilities(first, other)), first)

    def _logits(self, rows: Sequence[Entry]) -> Sequence[Entry]:
        """Those whose softmax or sigmoid is there too, which shows that they are logits; all of them if none is."""
        proven = [b for b in rows if any(a is not b and self._are_probabilities(a, b) for a in rows)]
        return proven or rows

    def _are_probabilities(self, entry: Entry, logits: Entry) -> bool:
        """Whether an entry is the softmax or the sigmoid of another."""
        if self._values is None or self._count(entry.tensor) != self._count(logits.tensor):
            return False
        one, other = self._values(entry.tensor), self._values(logits.tensor)
        if one.shape != other.shape:
            return False
        finite = np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1)
        half = "16" in f"{entry.tensor.dtype} {logits.tensor.dtype}"
        relative, absolute = (2e-2, 1e-3) if half else (1e-4, 1e-6)
        near = (np.allclose(f(other[finite]), one[finite], rtol=relative, atol=absolute) for f in (softmax, sigmoid))
        return bool(finite.any()) and any(near)


def _open(rows: Sequence[Entry], outputs: Outputs, reduced: str = "") -> str:
    ways = [spelled(outputs, entry.path) for entry in rows]
    shapes = ", ".join(f"{way} {tuple(x.tensor.shape)}" for way, x in zip(ways, rows, strict=True))
    return (
        f"the model gives several outputs that may be its class scores: {shapes}. Pass `scores=` to Explainer, a "
        f"function that takes the right one, such as lambda outputs: {ways[-1]}{reduced}; or `labels=`, whose number "
        "tells it; or `targets=` as a function from the output to one score for each image, (n,)."
    )
