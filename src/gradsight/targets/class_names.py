"""Class names in the forms that users have them, turned into one form: a tuple of texts by index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, KeysView, Mapping, Sequence, Set

import numpy as np
from numpy.typing import NDArray

from gradsight.errors import InvalidArgument, InvalidType, received
from gradsight.foreign import Array
from gradsight.targets.labels import is_class, number_of, plain
from gradsight.values import has, items_in

Labels = Sequence[str | int] | Mapping[int, str] | Mapping[str, int] | Mapping[str, str] | NDArray[np.generic]
"""Class names as a user gives them, see `as_labels`. Columns and indices of tables are taken too."""

_FORMS = "a list or an array of names, or a dict: {0: 'cat', 1: 'dog'} or {'cat': 0, 'dog': 1}"


def as_labels(labels: Labels, what: str = "`labels`") -> tuple[str, ...]:
    """Class names by index.

    Args:
        labels: names in the order of the model's scores, as a list, a tuple, an array, an index or a column of a table
            (pandas); or a dict of index to name (``id2label``) or of name to index (``class_to_idx``). Whole numbers
            are names too, such as scikit-learn's ``classes_``: they are read as texts.
        what: what to call them in an error.

    Raises:
        InvalidType: they are something else, or one of them is neither a text nor a whole number.
        InvalidArgument: there is none, or a dict has not each index from 0 on once.
    """
    names = _listed(labels, what)
    if not names:
        raise InvalidArgument(f"{what} must name at least one class. {received(labels)} Pass {_FORMS}.")
    for index, name in enumerate(names):
        if not is_class(name):
            raise InvalidType(
                f"{what} must be texts or whole numbers, one for each class; that of class {index} is "
                f"{received(name).removeprefix('Received: ')} Pass {_FORMS}."
            )
    return tuple(str(name) for name in names)


def _listed(labels: object, what: str) -> list[object]:
    """The labels by index, from any of the forms."""
    pairs = labels.items() if isinstance(labels, Mapping) else _column(labels)
    if pairs is not None:
        return in_order([(plain(a), plain(b)) for a, b in pairs], what, f"{received(labels)} Pass {_FORMS}.")
    values = plain(labels)
    unordered = isinstance(values, Set) and not isinstance(values, KeysView)
    ordered = list(values) if isinstance(values, KeysView) else values
    table = has(values, "columns")  # its names are those of several things
    items = None if table else items_in(ordered)
    if items is None:
        hint = " A set has no order." if unordered else ""
        raise InvalidType(f"{what} must be the names of the classes. {received(labels)}{hint} Pass {_FORMS}.")
    return [plain(value) for value in items]


def in_order(pairs: Sequence[tuple[object, object]], what: str, way_out: str) -> list[object]:
    """The names of (index, name) or (name, index) pairs, by index.

    Args:
        pairs: the pairs. The side with the values 0, 1, 2 ..., also as texts, is the index.
        what: what to call them in an error.
        way_out: the end of an error.

    Raises:
        InvalidArgument: neither side has each index from 0 on once, or both have and say different things.
    """
    # Both directions are common: id2label in transformers, class_to_idx in torchvision.
    sides = [side for side in (0, 1) if _indices([pair[side] for pair in pairs]) == list(range(len(pairs)))]
    readings = [{int(str(pair[side])): pair[1 - side] for pair in pairs} for side in sides]
    named = [[names[index] for index in range(len(pairs))] for names in readings]
    if not named:
        raise InvalidArgument(
            f"{what} must have the indices 0, 1, 2 ... once each, beside the names{_fault(pairs)}. {way_out}"
        )
    texts = all(isinstance(pair[1], str) for pair in pairs)  # as in JSON, whose keys are texts whatever they mean
    if len(named) == 2 and not texts and [str(x) for x in named[0]] != [str(x) for x in named[1]]:
        raise InvalidArgument(
            f"{what} can be read in two ways, since the names and the indices are the same numbers. {way_out}"
        )
    return named[0]


def _indices(values: Sequence[object]) -> list[int]:
    """The values as sorted whole numbers; empty if one of them is no whole number."""
    numbers = [number_of(str(value)) if is_class(value) else None for value in values]
    return sorted(number for number in numbers if number is not None) if None not in numbers else []


def _fault(pairs: Sequence[tuple[object, object]]) -> str:
    """What is wrong with the indices, in words; empty if there are no indices."""
    indices = _indices([pair[0] for pair in pairs]) or _indices([pair[1] for pair in pairs])
    have = set(indices)
    missing = next(index for index in range(len(indices) + 1) if index not in have)
    twice = sorted(index for index, count in Counter(indices).items() if count > 1)
    if twice:
        return f"; {twice[0]} is there twice"
    return f"; {missing} is missing" if indices and missing < indices[-1] else ""


def _column(labels: Array) -> Iterable[tuple[object, object]] | None:
    """The (row name, value) pairs of a column of a table; None for anything else."""
    if not has(labels, "to_dict", "index") or has(labels, "columns"):
        return None
    return zip(plain(labels.index), plain(labels), strict=True)  # a dict would lose names that are there twice


def is_fit(labels: Sequence[str], count: int) -> bool:
    """Whether labels fit a number of scores. Two labels fit one score, see `Reading.binary`."""
    return len(labels) == count or (len(labels) == 2 and count == 1)


def misfit(labels: Sequence[str], count: int) -> str:
    """The text of the error for labels that do not fit so many scores."""
    named = f"{', '.join(map(repr, labels[:4]))}{f' and {len(labels) - 4} more' if len(labels) > 4 else ''}"
    # Off by one is nearly always a class for the background, as detectors and segmentations have.
    background = ", that of the background too" if count == len(labels) + 1 else ""
    return (
        f"`labels` must be one for each of the model's scores, in their order, and there are {len(labels)} labels for "
        f"{count} score{'s' * (count != 1)}. Received: {named}. Give {count}{background}, or leave the labels out; "
        "where other scores are meant, pass `scores=` to Explainer, a function that takes them."
    )


def check_fit(labels: Sequence[str] | None, count: int) -> None:
    """Check that labels, if there are any, fit a number of scores.

    Raises:
        InvalidArgument: they do not.
    """
    if labels is not None and not is_fit(labels, count):
        raise InvalidArgument(misfit(labels, count))
