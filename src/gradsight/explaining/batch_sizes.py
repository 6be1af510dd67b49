"""How many photos pass the model at once, where the quickest number is to be found."""

from __future__ import annotations

_GAIN = 1.05
"""A larger batch is taken only where it is so many times quicker: it needs more memory, and results come later."""

_TRIALS = 2
"""Batches of each size that are timed, the quickest counting: the first one of a size is traced or compiled."""

_MOST = 256


class BatchSize:
    """The number of photos that pass the model at once.

    With ``"auto"`` it is found in the first batches: 1, 2, 4 ... while that makes more photos a second. Which is best
    differs by model and machine: on two processors many small networks are quickest one photo at a time, on a GPU
    hardly any is.

    Args:
        size: the number, or ``"auto"``.

    Attributes:
        now: the number, as far as it is known.
        settled: it will not change any more.
    """

    def __init__(self, size: int | str) -> None:
        self.now = 1 if size == "auto" else int(size)
        self.settled = size != "auto"
        self._best, self._best_rate = 1, 0.0
        self._rates: list[float] = []

    def timed(self, count: int, seconds: float) -> None:
        """Learn how long a batch took.

        Args:
            count: how many photos it had; only full ones tell.
            seconds: how long it took.
        """
        # A batch that is not full, such as the last one, takes its fixed costs for fewer photos.
        if self.settled or count != self.now:
            return
        # A clock may show no time at all for a tiny model.
        self._rates.append(count / max(seconds, 1e-9))
        if len(self._rates) < _TRIALS:
            return
        rate, self._rates = max(self._rates), []
        if rate < _GAIN * self._best_rate:
            self._settle()
            return
        self._best, self._best_rate = self.now, rate
        if 2 * self.now > _MOST:
            self._settle()
        else:
            self.now *= 2

    def too_large(self) -> None:
        """Learn that a batch did not fit into memory: a larger one is not tried."""
        self.end()

    def end(self) -> None:
        """Try no more: the best so far is the number."""
        if not self.settled:
            self._settle()

    def _settle(self) -> None:
        # The best so far, which is not always the last but one: memory may end the search early.
        self.now, self.settled = self._best, True
