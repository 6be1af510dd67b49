"""Which of a model's classes the labels of boxes mean."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gradsight.checks import taken
from gradsight.contents import json_object
from gradsight.errors import InvalidArgument, received
from gradsight.rules import Name

ClassMap = Mapping[str, tuple[int | str, ...]]
"""For a label the classes that it means, by index or by name."""

_WAY_OUT = 'Give {"label": 3}, {"label": [3, 4]} or {"label": "class"}.'


def read_class_map(path: str | os.PathLike[str]) -> ClassMap:
    """Read which classes labels mean, from JSON: ``{"bird": [7, 8, 9], "cat": "tiger cat"}``.

    Raises:
        InvalidType: ``path`` is neither a text nor a path.
        InvalidArgument: there is no such file, or it is none of that form.
    """
    source = Path(taken("path", path, Name()))
    content = json_object(source, "a map of labels to classes", _WAY_OUT)
    return {label: _classes(label, value, source) for label, value in content.items()}


def _classes(label: str, value: object, source: Path) -> tuple[int | str, ...]:
    values = value if isinstance(value, list) else [value]
    classes = tuple(x for x in values if isinstance(x, int | str) and not isinstance(x, bool))
    if len(classes) < len(values) or not classes:
        raise InvalidArgument(f"{str(source)!r} must say the classes of {label[:80]!r}. {received(value)} {_WAY_OUT}")
    return classes


def classes_of(
    labels: Iterable[str], names: Sequence[str], given: ClassMap | None = None
) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """Find the classes of a model that labels mean.

    Names are compared without regard to case, underscores and hyphens. A class may have several names, with commas
    between them, as ImageNet's have; of several classes of one name all are meant.

    Args:
        labels: those of the boxes.
        names: those of the model's classes, in their order.
        given: what labels mean, from `read_class_map`; a label that it has not is looked up by its own name.

    Returns:
        The indices of each label's classes, and a sentence for each label that means none.

    Raises:
        InvalidArgument: a class that is given does not exist.

    >>> classes_of(["Tiger_Cat", "cow"], ["tench, Tinca tinca", "tiger cat"])
    ({'Tiger_Cat': (1,)}, ("no class of the model is called 'cow'",))
    """
    index = defaultdict(set)
    for at, name in enumerate(names):
        for synonym in (name, *name.split(",")):
            index[plain(synonym)].add(at)
    meant = {plain(label): classes for label, classes in (given or {}).items()}
    found: dict[str, tuple[int, ...]] = {}
    for label in labels:
        if plain(label) in meant:
            found[label] = tuple(sorted({_given(x, label, names, index) for x in meant[plain(label)]}))
        elif index.get(plain(label)):
            found[label] = tuple(sorted(index[plain(label)]))
    return found, tuple(f"no class of the model is called {label!r}" for label in labels if label not in found)


def _given(value: int | str, label: str, names: Sequence[str], index: Mapping[str, set[int]]) -> int:
    """The index of a class that a map gives."""
    if isinstance(value, int) and 0 <= value < len(names):
        return value
    found = index.get(plain(value), set()) if isinstance(value, str) else set()
    if len(found) != 1:
        raise InvalidArgument(
            f"the map of labels must give {label!r} one of the model's {len(names)} classes. {received(value)} "
            "Give its index, or its name where no other class has it."
        )
    return min(found)


def plain(name: str) -> str:
    """A name as it is compared.

    >>> plain(" Tiger_Cat")
    'tiger cat'
    """
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
