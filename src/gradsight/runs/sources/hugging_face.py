"""Data sets of Hugging Face's `datasets`, told by what they can do: the package is not imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass, replace
from typing import Protocol, Self, TypeGuard

from gradsight.errors import InvalidArgument
from gradsight.runs.sources.columns import KEY, LABEL, PICTURE, name_in
from gradsight.runs.sources.labels import Names
from gradsight.runs.sources.photos import described, length_of, of_elements
from gradsight.runs.sources.source import Given, Source
from gradsight.values import has


class _Set(Iterable[object], Protocol):
    features: Mapping[str, object] | None

    def cast_column(self, column: str, feature: object) -> Self: ...

    def select_columns(self, columns: list[str]) -> Self: ...

    def with_format(self, kind: str | None) -> Self: ...


def found(given: Given) -> Source | None:
    """A `Dataset` or an `IterableDataset`.

    Pictures are taken as their files' bytes, so that they are decoded where those of other sources are; what the set
    does to them for a model, its format or its transform, is left out. Labels are the names of its classes.

    Raises:
        InvalidArgument: it is a mapping of several, such as ``{"train", "test"}``.
    """
    value = given.value
    if not _is_set(value):
        return None
    if isinstance(value, Mapping):
        raise InvalidArgument(
            f"`source` must be one data set, and is several. Received: {sorted(map(str, value))}. Pass one of them, "
            f"such as source[{next(iter(value), 'train')!r}]."
        )
    length = length_of(value)
    if not value.features:  # of a stream they may not be known
        return Source(described(value, length), lambda: of_elements(value), length)
    features = value.features
    # Only a feature of classes has names.
    names: Names = getattr(features.get(name_in(list(features), LABEL) or ""), "names", None)
    plain = _undecoded(value, features)
    return Source(described(value, length), lambda: of_elements(plain, names), length)


def _is_set(value: object) -> TypeGuard[_Set]:
    return has(value, "cast_column", "select_columns", "with_format") and not isinstance(value, type)


def _undecoded(value: _Set, features: Mapping[str, object]) -> Iterable[object]:
    """The set with the columns that are read alone, its pictures as bytes."""
    pictures = [name for name, feature in features.items() if type(feature).__name__ == "Image"]
    picture = name_in(pictures, PICTURE) or next(iter(pictures), None)
    if picture is None:
        return value
    # Other columns might hold pictures too, each of which would be decoded.
    columns = [picture, *filter(None, (name_in(list(features), LABEL), name_in(list(features), KEY)))]
    plain = value.with_format(None).select_columns(list(dict.fromkeys(columns)))
    feature = features[picture]
    if is_dataclass(feature) and not isinstance(feature, type) and has(feature, "decode"):
        plain = plain.cast_column(picture, replace(feature, decode=False))
    return plain
