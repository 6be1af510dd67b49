"""Targets: what is explained. Each gives one score for each image; several are explained in one pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np

from gradsight.errors import InvalidArgument, InvalidType, ModelError, UnknownName, received, unknown

Score = Callable[[Any], Any]


@dataclass(frozen=True)
class Top:
    """The ``k`` classes with the highest scores, of each image its own."""

    k: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.k, Integral) or isinstance(self.k, bool) or self.k < 1:
            raise InvalidArgument(f"`k` of Top must be a whole number of at least 1. {received(self.k)}")


@dataclass(frozen=True, init=False)
class Classes:
    """The same classes for every image, each an index or a label: ``gs.Classes("tabby", 243)``."""

    which: tuple[int | str, ...]

    def __init__(self, *which: int | str) -> None:
        if not which:
            raise InvalidArgument("Classes needs at least one class. Received: nothing.")
        object.__setattr__(self, "which", which)


@dataclass(frozen=True)
class Against:
    """What would have to go for the score to rise: the negated score of ``target`` (Grad-CAM paper, section 3.3).

    The map shows what speaks against the target, such as the dog where ``gs.Against("tabby cat")`` is asked for.
    """

    target: Any = None


@dataclass(frozen=True)
class Contrast:
    """Why ``target`` rather than ``rather_than``: the difference of their scores. Its map is drawn signed.

    Each is anything that can be a target; where one of them is a single target for each image, it is set beside each
    of the other's.
    """

    target: Any
    rather_than: Any


@dataclass(frozen=True)
class Named:
    """One target of one image, for people.

    Attributes:
        index: the class; None where the target is not one class.
        label: what to call it.
        sides: what the two signs of its map speak for, where both mean something: ``("tabby", "lynx")``.
    """

    index: int | None
    label: str
    sides: tuple[str, ...] = ()

    @property
    def signed(self) -> bool:
        """Both signs of its map mean something."""
        return bool(self.sides)


@dataclass(frozen=True)
class Prediction:
    """One of the model's best classes for an image."""

    index: int
    label: str
    probability: float


@dataclass(frozen=True, eq=False)
class Part:
    """One term of a score: some classes or a function of the output, times a factor.

    Attributes:
        factor: what it is multiplied with.
        classes: (n, k) class indices; None where the term is a function.
        function: ``outputs -> (n,)``; None where the term is classes.
    """

    factor: float
    classes: Any = None
    function: Score | None = None

    def scores(self, outputs: Any, logits: Any, ops: Any) -> Any:
        """The term for (m, ...) outputs: (m, k), or (m, 1) for a function; row j belongs to image j % n."""
        if self.function is None:
            times = logits.shape[0] // len(self.classes)
            found = ops.pick(logits, np.tile(self.classes, (times, 1)))
        else:
            found = self._called(outputs)[:, None]
        return found if self.factor == 1 else found * self.factor

    def _called(self, outputs: Any) -> Any:
        assert self.function is not None
        score = self.function(outputs)
        if getattr(score, "ndim", None) != 1:
            raise InvalidType(
                "a target function must return one score for each image, an array of shape (n,). "
                f"{received(score)} Select or sum over the other axes."
            )
        return score


@dataclass(frozen=True, eq=False)
class Resolved:
    """Targets settled against the model's output: the same scores can be taken of any further output.

    Attributes:
        names: for each image its k targets.
        parts: what the scores add up from.
    """

    names: tuple[tuple[Named, ...], ...]
    parts: tuple[Part, ...]

    def scores(self, outputs: Any, logits: Any, ops: Any) -> Any:
        """The scores (m, k) of an output; row j belongs to image j % n.

        Args:
            outputs: the model's own output, for a target that is a function.
            logits: (m, classes), for targets that are classes; None where the output is no row of class scores.
            ops: array functions; ``ops.pick(logits, indices)`` takes k classes of each row, (m, k).

        Raises:
            InvalidType: the function gave something else than one number for each row.
        """
        first, *rest = (part.scores(outputs, logits, ops) for part in self.parts)
        return sum(rest, first)

    @property
    def count(self) -> int:
        """How many targets each image has, k."""
        return len(self.names[0])

    @property
    def classes(self) -> Any:
        """(n, k) class indices where each target is one class and nothing else; None otherwise."""
        part = self.parts[0]
        return part.classes if len(self.parts) == 1 and part.factor == 1 else None

    def tiled(self, times: int) -> Resolved:
        """The same targets for a batch that holds this one ``times`` times: row j is row j % n."""
        if times == 1:
            return self
        tiled = (p if p.classes is None else replace(p, classes=np.tile(p.classes, (times, 1))) for p in self.parts)
        return Resolved(self.names * times, tuple(tiled))

    def scaled(self, factor: float) -> Resolved:
        """The same targets with their scores multiplied."""
        return replace(self, parts=tuple(replace(part, factor=part.factor * factor) for part in self.parts))


def _key(label: str) -> str:
    return re.sub(r"[\W_]+", " ", label).strip().lower()


def class_index(which: int | str, labels: Sequence[str] | None, count: int) -> int:
    """The index of a class given by index or by label.

    A label matches without regard to case, ``_`` and punctuation; of ``"tabby, tabby cat"`` each synonym matches.

    Raises:
        InvalidArgument: the index is outside the model's classes, or the label fits several classes.
        InvalidType: neither an index nor a label.
        UnknownName: no class has that label, or the model's labels are not known.
    """
    if isinstance(which, bool) or not isinstance(which, Integral | str):
        raise InvalidType(f"a class must be an index or a label. {received(which)}")
    if isinstance(which, Integral) or (which.isdigit() and not _matches(which, labels)):
        index = int(which)
        if not 0 <= index < count:
            raise InvalidArgument(f"a class index must be between 0 and {count - 1}. Received: {index}.")
        return index
    if labels is None:
        raise UnknownName(
            f"class {which!r} was asked for by its label, but the labels of this model are not known. "
            f"Give an index from 0 to {count - 1}, or the labels (`labels=[...]`, `--labels FILE`)."
        )
    found = _matches(which, labels)
    if not found:
        raise unknown("class", which, [name.strip() for label in labels for name in label.split(",")])
    if len(found) > 1:
        ways = ", ".join(f"{index} ({labels[index]})" for index in found)
        raise InvalidArgument(f"class {which!r} fits several classes: {ways}. Give the index.")
    return found[0]


def _matches(which: str, labels: Sequence[str] | None) -> list[int]:
    wanted = _key(which)
    names = [[_key(name) for name in text.split(",")] for text in labels or ()]
    whole = [i for i, text in enumerate(labels or ()) if _key(text) == wanted]
    # The name that is shown comes before a synonym of another class ("crayfish" is also called a spiny lobster).
    first = [i for i, synonyms in enumerate(names) if synonyms[0] == wanted]
    return whole or first or [i for i, synonyms in enumerate(names) if wanted in synonyms]


def _is_class(value: Any) -> bool:
    return isinstance(value, Integral | str) and not isinstance(value, bool)


def _per_image(targets: Sequence[Any], n: int) -> list[list[Any]]:
    """The targets of each image as n lists of one length."""
    if len(targets) != n:
        raise InvalidArgument(
            f"`targets` as a list must have one entry for each of the {n} image(s), a class or a list of classes. "
            f"Received: {len(targets)} entries. For the same classes on every image pass gs.Classes(...)."
        )
    rows = [[x] if _is_class(x) else list(x.which) if isinstance(x, Classes) else x for x in targets]
    for row in rows:
        if not isinstance(row, list | tuple | np.ndarray):
            raise InvalidType(f"an entry of `targets` must be a class or a list of classes. {received(row)}")
    lengths = {len(row) for row in rows}
    if len(lengths) != 1 or 0 in lengths:
        raise InvalidArgument(
            "`targets` must name equally many classes, at least one, for each image. "
            f"Received: {', '.join(str(len(row)) for row in rows)}."
        )
    return [list(row) for row in rows]


def _class_columns(targets: Any, logits: Any, labels: Sequence[str] | None, outputs: str) -> Any:
    """Class indices (n, k) for targets that are classes."""
    if logits is None:
        raise ModelError(
            f"a class can be explained where the model gives one row of class scores for each image; it gives "
            f"{outputs}. "
            "Pass `targets=` as a function from the model's output to one score for each image, (n,)."
        )
    n, count = logits.shape
    if isinstance(targets, Top):
        if targets.k > count:
            raise InvalidArgument(f"Top({targets.k}) asks for more classes than the model's {count}.")
        return np.argsort(-logits, axis=1, kind="stable")[:, : targets.k]
    rows = [targets.which] * n if isinstance(targets, Classes) else _per_image(targets, n)
    return np.array([[class_index(which, labels, count) for which in row] for row in rows])


def of_first_image(targets: Any) -> Any:
    """The same for the first image alone: lists have one entry for each image."""
    if isinstance(targets, Against):
        return Against(of_first_image(targets.target))
    if isinstance(targets, Contrast):
        return Contrast(of_first_image(targets.target), of_first_image(targets.rather_than))
    return targets[:1] if isinstance(targets, list | tuple | np.ndarray) else targets


def resolve(targets: Any, n: int, logits: Any, labels: Sequence[str] | None, outputs: str) -> Resolved:
    """Settle what the user asked for against the model's output.

    Args:
        targets: None (the top class), `Top`, `Classes`, a class index or label, a list with one entry for each image
            (each a class or a list of equally many), a function ``outputs -> (n,)``, `Against` or `Contrast`.
        n: how many images there are.
        logits: (n, classes) as NumPy, or None where the model gives something else.
        labels: class names by index, or None.
        outputs: the model's output in words, for the message when it does not fit.

    Raises:
        InvalidArgument, InvalidType, UnknownName: the targets do not fit.
        ModelError: classes were asked for and the output is no row of class scores.
    """
    if isinstance(targets, Against):
        found = resolve(targets.target, n, logits, labels, outputs)
        named = tuple(tuple(Named(None, f"against {name.label}") for name in row) for row in found.names)
        return replace(found, names=named).scaled(-1)
    if isinstance(targets, Contrast):
        sides = [resolve(side, n, logits, labels, outputs) for side in (targets.target, targets.rather_than)]
        return _contrast(*sides)
    if callable(targets) and not isinstance(targets, type):
        name = getattr(targets, "label", getattr(targets, "__name__", type(targets).__name__))
        row = (Named(getattr(targets, "index", None), name),)
        return Resolved((row,) * n, (Part(1, function=targets),))
    targets = Top() if targets is None else Classes(targets) if _is_class(targets) else targets
    if not isinstance(targets, Top | Classes | list | tuple | np.ndarray):
        raise InvalidType(
            "`targets` must be a class (index or label), gs.Top(k), gs.Classes(...), gs.Against(target), "
            "gs.Contrast(target, rather_than), a list with one entry for each image, or a function outputs -> (n,). "
            f"{received(targets)}"
        )
    indices = _class_columns(targets, logits, labels, outputs)
    known = {int(i): Named(int(i), class_name(int(i), labels)) for i in np.unique(indices)}
    return Resolved(tuple(tuple(known[int(i)] for i in row) for row in indices), (Part(1, classes=indices),))


def _contrast(one: Resolved, other: Resolved) -> Resolved:
    k, against = len(one.names[0]), len(other.names[0])
    if k != against and 1 not in (k, against):
        raise InvalidArgument(
            "the two sides of Contrast must name equally many targets, or one of them a single one. "
            f"Received: {k} and {against}."
        )
    named = tuple(
        tuple(Named(None, f"{a.label} rather than {b.label}", (a.label, b.label)) for a, b in _beside(row, rivals))
        for row, rivals in zip(one.names, other.names, strict=True)
    )
    return Resolved(named, (*one.parts, *other.scaled(-1).parts))


def _beside(one: Sequence[Named], other: Sequence[Named]) -> Iterator[tuple[Named, Named]]:
    """Pairs of targets; a single one is set beside each of the others."""
    count = max(len(one), len(other))
    return zip([*one] * (count // len(one)), [*other] * (count // len(other)), strict=True)


def class_name(index: int, labels: Sequence[str] | None) -> str:
    """The first name of a class, or its number in words where the labels are not known."""
    return labels[index].partition(",")[0].strip() if labels is not None and index < len(labels) else f"class {index}"
