"""One bad photo ends no folder: what fails is set apart and told, and the others are done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from gradsight.cli.terminal import SHOW_FAULTS, complain, told
from gradsight.errors import GradsightError, ImageError, MissingDependency, UnknownName
from gradsight.photos import Explained, Failed, Photo, out_of_memory, without_frames

if TYPE_CHECKING:
    from gradsight.results.explanation import Explanation

Result = TypeVar("Result")

# So many failures in the same words are waited for before one is told; see `judged`.
_NAMED = 3


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What came of a photo.

    Attributes:
        photo: which one.
        result: None where it failed.
        error: None where it worked.
    """

    photo: Photo
    result: Result | None = None
    error: BaseException | None = None

    def complain(self) -> bool:
        """Print why the photo failed, if it did; return whether it failed."""
        if self.error is None:
            return False
        # Errors of reading name their photo already.
        words = told(self.error)
        complain(words if repr(self.photo.name) in words else f"{self.photo.name!r}: {words}", "Failed")
        return True


def each(photos: Sequence[Photo], make: Callable[[Photo], Result]) -> Iterator[Outcome[Result]]:
    """Make something of each photo, whatever becomes of the others; see `judged`."""
    return judged((_tried(photo, make) for photo in photos), len(photos))


def streamed(
    photos: Sequence[Photo], make: Callable[[Photo], Explanation | tuple[Explanation, ...]]
) -> Iterator[Explained[Photo] | Failed[Photo]]:
    """Explain photos one by one, in their order."""
    for photo in photos:
        outcome = _tried(photo, make)
        if outcome.error is not None:
            yield Failed(photo, outcome.error)
        elif outcome.result is not None:
            found = outcome.result
            yield Explained(photo, found if isinstance(found, tuple) else (found,))


def written(
    stream: Iterable[Explained[Photo] | Failed[Photo]], write: Callable[[Photo, tuple[Explanation, ...]], Result]
) -> Iterator[Outcome[Result]]:
    """Write what comes out of a stream; what cannot be written fails its photo."""
    for done in stream:
        if isinstance(done, Failed):
            yield Outcome(done.photo, error=_freed(done.error))
        else:
            yield _tried(done.photo, partial(_write, write, done.explanations))


def _write(
    write: Callable[[Photo, tuple[Explanation, ...]], Result], explanations: tuple[Explanation, ...], photo: Photo
) -> Result:
    return write(photo, explanations)


def judged(outcomes: Iterable[Outcome[Result]], total: int) -> Iterator[Outcome[Result]]:
    """Tell failures of photos from one of the request.

    A failure is about this photo or about what was asked for of all of them, and its type seldom says which: a class
    number is too large for the model, a point too large for the picture. So the photos are the trial. While none has
    worked, failures in the same words are held back. Where all fail so, it is the request, said once; else each was
    about its photo.

    Args:
        outcomes: as they come.
        total: how many.

    Raises:
        Exception: what was asked for fits no photo.
    """
    held: list[Outcome[Result]] = []
    open_question = True
    for outcome in outcomes:
        if outcome.error is not None and _of_photo(outcome.error):
            yield outcome
        elif open_question and outcome.error is not None and _alike(outcome.error, held):
            held.append(outcome)
            if isinstance(outcome.error, UnknownName | MissingDependency):  # about the model, whatever the photo
                raise outcome.error
            # Once, and only where many photos are left: else the end comes soon and says it.
            if len(held) == _NAMED < total - _NAMED:
                complain(f"the first {_NAMED} photos failed alike, the others are tried. {told(outcome.error)}", "Note")
        else:
            # One photo worked, or failed in other words: so the request is possible, and each failure is a photo's own.
            open_question = False
            yield from held
            held.clear()
            yield outcome
    if held and held[0].error is not None:
        raise held[0].error


def _tried(photo: Photo, make: Callable[[Photo], Result]) -> Outcome[Result]:
    try:
        return Outcome(photo, result=make(photo))
    # The user ends the command, not this photo.
    except KeyboardInterrupt:
        raise
    # Not Exception: a model runs code of the user's, which may call sys.exit.
    except BaseException as error:
        return Outcome(photo, error=_freed(error))


def _freed(error: BaseException) -> BaseException:
    """An error to keep, without its frames: they would hold the memory of the pass that failed.

    Raises:
        BaseException: the error itself, where nobody foresaw it and GRADSIGHT_TRACEBACK asks to see it.
    """
    if SHOW_FAULTS and not isinstance(error, GradsightError):
        raise error
    # The errors of frameworks have types of their own; as this one, it counts as about its photo (`_of_photo`).
    return MemoryError(str(error)) if out_of_memory(error) else without_frames(error)


def _of_photo(error: BaseException) -> bool:
    # Another photo may be smaller, and fit into memory.
    return isinstance(error, ImageError | MemoryError)


def _alike(error: BaseException, held: Sequence[Outcome[Result]]) -> bool:
    return not held or held[0].error is None or told(held[0].error) == told(error)
