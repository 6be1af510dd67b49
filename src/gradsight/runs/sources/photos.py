"""Photos that Python gives one after the other, in whatever form data sets have them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

from gradsight.errors import InvalidArgument, InvalidType, received
from gradsight.runs.item import Item, Unreadable
from gradsight.runs.sources.elements import Elements, array_of, parts_of
from gradsight.runs.sources.labels import Names
from gradsight.runs.sources.source import Given, Source
from gradsight.values import has

_LOOKED_AT = 16
"""So many photos tell whether a set has its floats in [0, 1] or 0..255: one alone may be black."""


def found(given: Given) -> Source | None:
    """Any iterable: of photos, of (key, photo), (key, photo, label) or (photo, label), or of mappings with these.

    So is a mapping from keys to photos, an array of photos, (n, ...), and a `tf.data.Dataset`. Batches are taken apart.

    Raises:
        InvalidType: it is a single photo.
        InvalidArgument: a data set has no end.
    """
    value = given.value
    if isinstance(value, str | bytes | bytearray | os.PathLike) or not isinstance(value, Iterable):
        return None
    if has(value, "shape", "dtype") and len(getattr(value, "shape", ())) < 4:
        raise InvalidType(f"`source` must be photos one after the other. {received(value)} Pass a list, [photo].")
    begin = _begin(value)
    length = length_of(value)
    again = not isinstance(value, Iterator)
    if again and length is not None and _is_batched(value, begin):
        length = None  # of batches, of which the last one may be smaller
    return Source(described(value, length), lambda: of_elements(begin()), length, again)


def of_elements(elements: Iterable[object], names: Names = None) -> Iterator[Item]:
    """The photos in elements, as `Elements` reads them.

    Args:
        elements: one after the other; an error instead of one is that photo's.
        names: of the classes that labels are numbers of.
    """
    coming = iter(elements)
    first = list(islice(coming, 1))
    # Only of floats it must be known in what range they are, and only of these are several taken at once.
    if any(_range(element) is not None for element in first):
        first += islice(coming, _LOOKED_AT - 1)
    read, number = Elements(names, _scale(first)), 0
    for element in chain(first, coming):
        if isinstance(element, Exception):
            yield Item(str(number), Unreadable(str(element)))
            number += 1
            continue
        for item in read.items(element, number):
            yield item
            number += 1


def described(value: object, length: int | None) -> str:
    """What a value of Python is, in words that are the same in the next process."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return kind if length is None else f"{kind} of {length}"


def length_of(value: object) -> int | None:
    """How many there are, if a value says so.

    Raises:
        InvalidArgument: it says that it has no end.
    """
    if has(value, "cardinality", "element_spec") and int(value.cardinality()) == -1:  # type: ignore[attr-defined]
        raise InvalidArgument(f"`source` must have an end. {received(value)} Leave out its repeat(), or take(n) of it.")
    try:
        return len(value)  # type: ignore[arg-type]
    except Exception:  # it has none, or does not know it
        return None


def is_batch(element: object) -> bool:
    """Whether an element holds several photos."""
    array = array_of(parts_of(element).photo)
    return array is not None and array.ndim == 4


def _begin(value: Iterable[object]) -> Callable[[], Iterator[object]]:
    if isinstance(value, Mapping):
        return lambda: iter(value.items())
    # TensorFlow's own tensors are slower to look at than the arrays that it gives in their place.
    plain: Callable[[], Iterator[object]] | None = getattr(value, "as_numpy_iterator", None)
    return plain if callable(plain) else lambda: iter(value)


def _is_batched(value: object, begin: Callable[[], Iterator[object]]) -> bool:
    if has(value, "element_spec"):
        shapes = [getattr(spec, "shape", None) for spec in _leaves(value.element_spec)]  # type: ignore[attr-defined]
        return any(shape is not None and shape.rank == 4 for shape in shapes)
    try:
        return is_batch(next(begin(), None))
    except Exception:  # of the user's code; it is told when it comes again
        return False


def _leaves(spec: object) -> Iterator[object]:
    if isinstance(spec, Mapping):
        spec = tuple(spec.values())
    if isinstance(spec, tuple | list):
        for each in spec:
            yield from _leaves(each)
    else:
        yield spec


def _scale(first: Sequence[object]) -> float:
    """What floats of a set are divided by to lie in [0, 1].

    Args:
        first: its first elements.

    Raises:
        InvalidArgument: its floats are made for a model already.
    """
    ranges = [found for element in first if (found := _range(element)) is not None]
    if ranges and all(lowest < 0 or highest > 255 for lowest, highest in ranges):
        raise InvalidArgument(
            "`source` must hold photos, whose floats lie in [0, 1] or in 0..255. Received: values from "
            f"{min(ranges)[0]:.4g} to {max(highest for _, highest in ranges):.4g}. Leave out what normalises them: the "
            "model's own preprocessing is used."
        )
    return 255 if any(highest > 1 for _, highest in ranges) else 1


def _range(element: object) -> tuple[float, float] | None:
    """The lowest and the highest value of a photo of floats; None for any other."""
    array = array_of(parts_of(element).photo)
    if array is None or array.dtype.kind != "f":
        return None
    return float(array.min(initial=0)), float(array.max(initial=0))
