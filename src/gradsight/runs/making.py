"""What makes rows of photos: the model in one thread, and beside it the rows of the batch before in another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from gradsight.explaining.asked import asked_of
from gradsight.explaining.calls import of_prepared
from gradsight.explaining.explainer import Explainer
from gradsight.explaining.inputs import Prepared
from gradsight.explaining.stream import OF_ALL, Batches
from gradsight.photos import Failed, without_frames
from gradsight.results.explanation import Explanation
from gradsight.runs.begun import Begun, Passed
from gradsight.runs.features import Features, Pooled
from gradsight.runs.plan import Numbered, Plan
from gradsight.runs.rows import Labelling, failed_row, rows_of
from gradsight.runs.schema import RunRow

_WAITING = 2
"""Batches whose rows are not made yet: an explanation holds the pixels of its photos."""


@dataclass(frozen=True, eq=False)
class Made:
    """What came of one photo.

    Attributes:
        photo: which one.
        failed: it could not be read, or not be explained.
        rows: gives its rows, waited for.
    """

    photo: Numbered
    failed: bool
    rows: Callable[[], list[RunRow]]


class Making:
    """Makes rows of photos, wherever they come from and whoever writes the rows. Of one thread; ends its own.

    Args:
        explainer: what explains them.
        plan: how they are cut.
        features: whether rows have features.
        begun: what is done of the first photos, with the same explainer.

    Raises:
        GradsightError: the explainer takes no photos, or targets are a list with one for each.
    """

    def __init__(self, explainer: Explainer, plan: Plan, *, features: bool = False, begun: Begun | None = None) -> None:
        asked = asked_of(explainer, None, None, None)
        # Features are taken of the pass while it is there: of the maps alone they cannot be had.
        self._features = Features(asked.methods, explainer._model.backend().numpy) if features else None
        if self._features is not None:
            asked = asked._replace(methods=self._features.methods)
        self._explain = of_prepared(explainer._passes, asked)
        self._begun = begun or Begun()
        self.prepare = self._begun.preparing(explainer._passes.preparing())
        self._labelling = Labelling(explainer.labels)
        self._plan = plan
        # One thread: rows are made in the order of the batches, beside the model and not beside each other.
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="gradsight-rows")
        self._coming: deque[Future[list[list[RunRow]]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # What is begun is needed: it belongs to photos that were given out.
        self._beside.shutdown(wait=True)

    def each(self, photos: Iterable[Numbered]) -> Iterator[Made]:
        """What comes of each photo, in their order.

        Raises:
            UnknownName, MissingDependency: what was asked for fits no photo.
        """
        batches = Batches(photos, self.of_batch, self.prepare, self._plan.batch_size, self._plan.block_of)
        with batches:
            for outcome in batches:
                # A photo that failed is a row too, in its place, so that a run has each photo once.
                if not isinstance(outcome, Failed):
                    yield outcome
                elif isinstance(outcome.error, OF_ALL):
                    raise outcome.error
                else:
                    row = failed_row(outcome.photo.item, outcome.error, self._labelling)
                    yield Made(outcome.photo, True, partial(list, [row]))

    def of_batch(self, photos: Sequence[Numbered], prepared: Sequence[Prepared]) -> list[Made]:
        """What comes of photos that became inputs of one size, together."""
        explanations, features = self._begun.taken(photos) or self.explained(prepared)
        # Waited for here, before the next pass: else a slow disk would let explanations pile up.
        while len(self._coming) >= _WAITING:
            self._coming.popleft().result()
        coming = self._beside.submit(self._rows, photos, explanations, features)
        self._coming.append(coming)
        return [Made(photo, False, partial(_one, coming, i)) for i, photo in enumerate(photos)]

    def explained(self, prepared: Sequence[Prepared]) -> Passed:
        """Explanations of photos that became inputs of one size, and the features of each where they are asked for."""
        if self._features is None:
            return Passed(self._explain(prepared))
        with self._features:
            explanations = self._explain(prepared)
            return Passed(explanations, self._features.taken(explanations))

    def whole(self, photo: Numbered, passed: Passed) -> list[RunRow]:
        """The rows of one photo that passed alone, made now and here.

        Raises:
            Exception: whatever is wrong.
        """
        return rows_of(passed.explanations, photo.item, self._labelling, 0, passed.features)

    def _rows(
        self, photos: Sequence[Numbered], explanations: Sequence[Explanation], features: Pooled
    ) -> list[list[RunRow]]:
        return [self._rows_of_one(photo, explanations, features, i) for i, photo in enumerate(photos)]

    def _rows_of_one(
        self, photo: Numbered, explanations: Sequence[Explanation], features: Pooled, image: int
    ) -> list[RunRow]:
        try:
            return rows_of(explanations, photo.item, self._labelling, image, features)
        except Exception as error:  # such as of a map that has other axes than the picture
            return [failed_row(photo.item, without_frames(error), self._labelling)]


def _one(coming: Future[list[list[RunRow]]], i: int) -> list[RunRow]:
    return coming.result()[i]
