"""Data sets that give their photos by number, as a `torch.utils.data.Dataset` of map style does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeGuard

from gradsight.errors import one_line
from gradsight.runs.sources.labels import Names
from gradsight.runs.sources.photos import described, is_batch, length_of, of_elements
from gradsight.runs.sources.source import Given, Source
from gradsight.values import has


class _ByNumber(Protocol):
    def __getitem__(self, number: int, /) -> object: ...


def found(given: Given) -> Source | None:
    """A data set that has ``__getitem__`` and cannot be gone through in another way.

    Its elements are those of any iterable. One that fails costs no other: its error is that photo's. The names of its
    classes are those in ``classes``, if it has them.
    """
    value = given.value
    if isinstance(value, type | str | Iterable) or not _is_by_number(value):
        return None
    length = length_of(value)
    # A `keras.utils.PyDataset` gives batches by number, too.
    batched = bool(length) and is_batch(next(_elements(value, 1)))
    count = None if batched else length  # the last batch may be smaller
    return Source(described(value, count), lambda: of_elements(_elements(value, length), classes_of(value)), count)


def classes_of(value: object) -> Names:
    """The names of a data set's classes, if it says them."""
    names = getattr(value, "classes", None)
    if not isinstance(names, Sequence) or isinstance(names, str | Mapping):
        return None
    return names if names and all(isinstance(name, str) for name in names) else None


def _is_by_number(value: object) -> TypeGuard[_ByNumber]:
    return has(value, "__getitem__")


def _elements(value: _ByNumber, length: int | None) -> Iterator[object]:
    number = 0
    while length is None or number < length:
        try:
            yield value[number]
        except Exception as error:  # whatever the user's code raises
            # Without a length the first number that is too large is the end, as where Python goes through such a value.
            if length is None and isinstance(error, IndexError):
                return
            yield ValueError(f"Photo {number} cannot be had: {type(error).__name__}: {one_line(error)}.")
        number += 1
