"""Classes by their labels: what a class is called, and which one a user means."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, TypeGuard

import numpy as np

from gradsight.checks import taken
from gradsight.errors import GradsightError, InvalidArgument, InvalidType, UnknownName, unknown
from gradsight.foreign import Array
from gradsight.rules import Rule, Whole
from gradsight.values import has


def plain(value: Array) -> Array:
    """An array of any framework as Python's own lists and numbers; any other value as it is."""
    # A text of NumPy has a dtype and a shape too.
    if isinstance(value, str) or not has(value, "dtype", "shape"):
        return value
    try:
        return value.tolist() if hasattr(value, "tolist") else np.asarray(value).tolist()
    except Exception:  # of an object that only looks like an array, or a tensor without values
        return value


def is_class(value: object) -> TypeGuard[int | str]:
    """Whether a value may name a class: an index or a label."""
    return isinstance(value, str) or Whole().read(value) is not None


@dataclass(frozen=True)
class AClass:
    """A class, as a `rules.Rule`: an index or a label, also as an array without axes."""

    error: ClassVar[type[GradsightError]] = InvalidType
    rule: ClassVar[str] = "a class: an index or a label"

    def read(self, value: object) -> int | str | None:
        """Its index or label, or None."""
        return value if isinstance(value, str) else Whole().read(value)


_A_CLASS: Rule[int | str] = AClass()


def number_of(text: str) -> int | None:
    """The whole number, from 0, that a text stands for; None for any other text, and for more than 18 digits."""
    return int(text) if text.isdecimal() and len(text) < 19 else None


def class_name(index: int, labels: Sequence[str] | None) -> str:
    """The name that a class is shown by, which no other class has. Without labels it is ``"class 3"``."""
    return shown_names(tuple(labels))[index] if labels is not None and index < len(labels) else f"class {index}"


@lru_cache(maxsize=16)
def shown_names(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The shortest name of each class that no other class has.

    That is the first of its synonyms, the whole label where several begin alike (``"Pneumonia, viral"``), and the label
    with the index behind it where several are alike.
    """
    known = frozenset(label.strip() for label in labels)
    forms = [_forms(index, label, known) for index, label in enumerate(labels)]
    chosen = [0] * len(forms)
    while True:
        names = [own[i] for own, i in zip(forms, chosen, strict=True)]
        holders = Counter(names)
        # The last forms all differ, so that of several holders of a name one at least has another form left.
        shared = [i for i, name in enumerate(names) if holders[name] > 1 and chosen[i] + 1 < len(forms[i])]
        if not shared:
            return tuple(names)
        for i in shared:
            chosen[i] += 1


def _forms(index: int, label: str, labels: Set[str]) -> list[str]:
    """The names that a class may be shown by, the shortest first; no other class has the last one."""
    first, whole = label.partition(",")[0].strip(), label.strip()
    numbered = f"{whole or 'class'} ({index})"
    while numbered in labels:
        numbered += f" ({index})"
    return [*filter(None, (first, whole) if whole else (f"class {index}",)), numbered]


def class_index(which: object, labels: Sequence[str] | None, count: int) -> int:
    """The index of a class given by index or by label.

    A whole number is an index, and a text is a label; a text that is a number and no label is an index too, unless all
    labels are numbers. A label matches without regard to case, ``_`` and punctuation, unless one matches to the letter;
    of ``"tabby, tabby cat"`` each synonym matches.

    Args:
        which: an index or a label, also as an array without axes.
        labels: class names by index, or None.
        count: how many classes the model has.

    Raises:
        InvalidArgument: the index is outside the model's classes, the label fits several classes, or a number is the
            index of one class and the label of another.
        InvalidType: neither an index nor a label.
        UnknownName: no class has that label, or the model's labels are not known.
    """
    read = taken("`targets`", which, _A_CLASS)
    if isinstance(read, str):
        return _by_label(read, labels, count)
    index, name = int(read), str(int(read))
    # Labels such as "0", "8", "3" in another order: an index and a label look alike, and a guess would be silent.
    if labels is not None and name in labels and labels.index(name) != index:
        raise _two_meanings(index, labels, count)
    return _checked(index, count)


def _by_label(which: str, labels: Sequence[str] | None, count: int) -> int:
    matches = _matches(which, labels or ())
    # Where every label is a number, "3" is meant as a label: as an index it would be another class.
    numbers = labels is not None and all(label.isdecimal() for label in labels)
    if not matches and (number := number_of(which)) is not None and not numbers:
        return _checked(number, count)
    if labels is None:
        raise UnknownName(
            f"class {which!r} was asked for by its label, but the labels of this model are not known. "
            f"Give an index from 0 to {count - 1}, or the labels (`labels=[...]`, `--labels FILE`)."
        )
    if not matches:
        raise unknown("class", which, [name.strip() for label in labels for name in label.split(",")])
    if len(matches) > 1:
        options = ", ".join(f"{index} ({labels[index]})" for index in matches)
        raise InvalidArgument(f"class {which!r} fits several classes: {options}. Give the index.")
    if matches[0] >= count:
        raise InvalidArgument(
            f"class {which!r} must be one of the model's {count} classes, and is number {matches[0]} of {len(labels)} "
            "labels, counted from 0. Give as many labels as the model has classes."
        )
    return matches[0]


def _checked(index: int, count: int) -> int:
    if not 0 <= index < count:
        raise InvalidArgument(f"a class index must be between 0 and {count - 1}. Received: {index}.")
    return index


def _two_meanings(number: int, labels: Sequence[str], count: int) -> InvalidArgument:
    """The error for a number that is the index of one class and the label of another."""
    other = labels.index(str(number))
    if not 0 <= number < count:
        return InvalidArgument(
            f"a class index must be between 0 and {count - 1}. Received: {number}. The class that is called "
            f"{str(number)!r} has the index {other}: pass {other}, or its label as a text, {str(number)!r}."
        )
    return InvalidArgument(
        f"a class must be given without doubt, and {number} is the index of the class that is called "
        f"{labels[number]!r} and the label of class {other}. Received: {number}. Pass the label as a text, "
        f"{labels[number]!r} or {str(number)!r}."
    )


def _key(label: str) -> str:
    return re.sub(r"[\W_]+", " ", label).strip().lower()


def _matches(which: str, labels: Sequence[str]) -> list[int]:
    """The classes that a text fits best: by the whole label, else by the shown name, else by a synonym."""
    shown = shown_names(tuple(labels))
    # To the letter first: "crane" (the bird) and "Crane" (the machine) may both be labels.
    for wanted, as_read in ((which, str), (_key(which), _key)):
        if not wanted:
            continue
        for names in (labels, shown):
            matches = [i for i, name in enumerate(names) if as_read(name) == wanted]
            if matches:
                return matches
    synonyms_of = [[_key(name) for name in text.split(",")] for text in labels]
    # The first synonym comes before a later one of another class ("crayfish" is also called a spiny lobster).
    first = [i for i, synonyms in enumerate(synonyms_of) if synonyms[0] == _key(which)]
    return first or [i for i, synonyms in enumerate(synonyms_of) if _key(which) in synonyms]
