"""Photos as the model gets them, read again for interventions: a few at a time, and those that are gone left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradsight.auditing.interventions import Shown
from gradsight.auditing.scoring import Pictures, Scorer
from gradsight.auditing.seen import Seen
from gradsight.errors import GradsightError

_HELD = 1 << 28
"""At most about so many bytes of pictures are kept."""


class Loader:
    """Reads photos of what was seen, and keeps some.

    Attributes:
        scorer: of the model.
        gone: the photos that could not be read again, with reasons.
    """

    def __init__(self, seen: Seen, scorer: Scorer) -> None:
        self._seen, self.scorer = seen, scorer
        self.gone: dict[str, str] = {}
        self._kept: dict[int, NDArray[np.float32]] = {}
        self._size: tuple[int, ...] | None = None

    def shown(self, target: int, own: NDArray[np.intp], others: NDArray[np.intp], most: int) -> Shown | None:
        """At most so many photos of a class, and of others; None where there are too few of either.

        Args:
            target: the class.
            own: rows of its photos.
            others: rows of photos of other classes.
            most: of each.
        """
        its, theirs = self.pictures(own, most)[0], self.pictures(others, most)[0]
        if len(its) < 3 or len(theirs) < 3:
            return None
        # Each beside another one: half of them away, so that neighbours in a folder are no pair.
        return Shown(self.scorer, target, its, theirs, np.roll(theirs, len(theirs) // 2, axis=0))

    def pictures(self, rows: NDArray[np.intp], most: int) -> tuple[Pictures, NDArray[np.intp]]:
        """The first so many photos that can be read, and that become pictures of the usual size, and which they are.

        Returns:
            (n, c, h, w) and (n,).
        """
        # By row, since a photo that is gone leaves no hole.
        made: dict[int, NDArray[np.float32]] = {}
        for row in rows:
            if len(made) == most:
                break
            picture = self._picture(int(row))
            if picture is not None:
                made[int(row)] = picture
        shown = np.stack(list(made.values())) if made else np.zeros((0, 1, 1, 1), np.float32)
        return shown, np.array(list(made), np.intp)

    def _picture(self, row: int) -> NDArray[np.float32] | None:
        if row in self._kept:
            return self._kept[row]
        photo, key = self._seen.photos[row], self._seen.keys[row]
        # What is gone is told once, however often it is drawn.
        if photo is None or key in self.gone:
            return None
        try:
            prepared = self.scorer.prepared(photo)
        except GradsightError as error:
            self.gone[key] = str(error)
            return None
        # One size for all: what is put from one photo into another has its place in both.
        self._size = self._size or prepared.array.shape
        if prepared.array.shape != self._size:
            return None
        # All at once: which of them is wanted again nobody knows.
        if len(self._kept) * prepared.array.nbytes > _HELD:
            self._kept.clear()
        self._kept[row] = prepared.array
        return prepared.array
