"""Targets made of other targets, and how what a user asks for becomes scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from gradsight.checks import optional
from gradsight.errors import InvalidArgument, InvalidType, received
from gradsight.rules import Text
from gradsight.targets.classes import Classes, Top, classes_of_each
from gradsight.targets.context import OutputContext, Target, TargetInfo, TargetLike
from gradsight.targets.labels import is_class, plain
from gradsight.targets.resolved import ScoreSpec, of_function
from gradsight.values import has


@dataclass(frozen=True)
class Against:
    """What would have to go for the score to rise: the negated score of ``target`` (Grad-CAM paper, section 3.3).

    The map shows what speaks against the target, such as the dog where ``gs.Against("tabby cat")`` is asked for.

    >>> import torch
    >>> import gradsight as gs
    >>> features = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    >>> head = torch.nn.Sequential(torch.nn.AvgPool2d(6), torch.nn.Flatten(), torch.nn.Linear(8, 4))
    >>> model = torch.nn.Sequential(features, head).eval()
    >>> explainer = gs.Explainer(model, labels=["cat", "dog", "fox", "owl"])
    >>> explainer(torch.rand(1, 3, 8, 8), targets=gs.Against("cat")).labels
    (('against cat',),)
    """

    target: TargetLike | None = None

    def __post_init__(self) -> None:
        check_target(self.target)

    def resolved(self, context: OutputContext) -> ScoreSpec:
        """See `resolve`."""
        spec = resolve(self.target, context)
        names = tuple(
            tuple(TargetInfo(None, f"against {name.label}", place=name.place) for name in row) for row in spec.names
        )
        return replace(spec, names=names).scaled(-1)


@dataclass(frozen=True)
class Contrast:
    """Why ``target`` rather than ``rather_than``: the difference of their scores. Its map is drawn signed.

    Each is anything that can be a target. If one of them is a single target and the other has several, the single one
    is compared with each of them.

    >>> import torch
    >>> import gradsight as gs
    >>> features = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    >>> head = torch.nn.Sequential(torch.nn.AvgPool2d(6), torch.nn.Flatten(), torch.nn.Linear(8, 4))
    >>> model = torch.nn.Sequential(features, head).eval()
    >>> explainer = gs.Explainer(model, labels=["cat", "dog", "fox", "owl"])
    >>> explainer(torch.rand(1, 3, 8, 8), targets=gs.Contrast("cat", "dog")).labels
    (('cat rather than dog',),)
    """

    target: TargetLike
    rather_than: TargetLike

    def __post_init__(self) -> None:
        check_target(self.target, self.rather_than)

    def resolved(self, context: OutputContext) -> ScoreSpec:
        """See `resolve`."""
        sides = [resolve(side, context) for side in (self.target, self.rather_than)]
        # Checked together, so that the error names both sides.
        one, other = _as_many(sides, "the two sides of Contrast")
        names = tuple(
            tuple(
                TargetInfo(None, f"{a.label} rather than {b.label}", (a.label, b.label), a.place)
                for a, b in zip(*rows, strict=True)
            )
            for rows in zip(one.names, other.names, strict=True)
        )
        return ScoreSpec(names, tuple((*a, *b) for a, b in zip(one.columns, other.scaled(-1).columns, strict=True)))


@dataclass(frozen=True, init=False)
class Sum:
    """Several targets as one, the sum of their scores: ``gs.Sum("tabby", "tiger cat", "lynx")`` is any cat.

    Each is anything that can be a target; a single one for each image is added to each of the others'.

    >>> import torch
    >>> import gradsight as gs
    >>> features = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    >>> head = torch.nn.Sequential(torch.nn.AvgPool2d(6), torch.nn.Flatten(), torch.nn.Linear(8, 4))
    >>> model = torch.nn.Sequential(features, head).eval()
    >>> explainer = gs.Explainer(model, labels=["cat", "dog", "fox", "owl"])
    >>> explainer(torch.rand(1, 3, 8, 8), targets=gs.Sum("cat", "dog", name="a pet")).labels
    (('a pet',),)

    Attributes:
        targets: what is added up.
        name: what to call the sum; the names of its targets with plus signs between them if not given.
    """

    targets: tuple[TargetLike, ...]
    name: str | None = None

    def __init__(self, *targets: TargetLike, name: str | None = None) -> None:
        object.__setattr__(self, "targets", _some(targets, "Sum"))
        object.__setattr__(self, "name", optional("`name` of Sum", name, Text()))

    def resolved(self, context: OutputContext) -> ScoreSpec:
        """See `resolve`."""
        sides = _as_many([resolve(target, context) for target in self.targets], "the targets of Sum")
        names = tuple(
            tuple(
                TargetInfo(None, " + ".join(name.label for name in names) if self.name is None else self.name)
                for names in zip(*rows, strict=True)
            )
            for rows in zip(*(side.names for side in sides), strict=True)
        )
        columns = zip(*(side.columns for side in sides), strict=True)
        return ScoreSpec(names, tuple(sum(terms, ()) for terms in columns))


@dataclass(frozen=True, init=False)
class Several:
    """Several targets of each image, explained in one pass: ``gs.Several(gs.Box("dog"), gs.Against("cat"))``.

    >>> import torch
    >>> import gradsight as gs
    >>> features = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    >>> head = torch.nn.Sequential(torch.nn.AvgPool2d(6), torch.nn.Flatten(), torch.nn.Linear(8, 4))
    >>> model = torch.nn.Sequential(features, head).eval()
    >>> explainer = gs.Explainer(model, labels=["cat", "dog", "fox", "owl"])
    >>> explainer(torch.rand(1, 3, 8, 8), targets=gs.Several("cat", gs.Against("dog"))).labels
    (('cat', 'against dog'),)
    """

    targets: tuple[TargetLike, ...]

    def __init__(self, *targets: TargetLike) -> None:
        object.__setattr__(self, "targets", _some(targets, "Several"))

    def resolved(self, context: OutputContext) -> ScoreSpec:
        """See `resolve`."""
        specs = [resolve(target, context) for target in self.targets]
        names = tuple(sum(rows, ()) for rows in zip(*(spec.names for spec in specs), strict=True))
        return ScoreSpec(names, sum((spec.columns for spec in specs), ()))


_BEST = Top()


def resolve(targets: TargetLike | None, context: OutputContext) -> ScoreSpec:
    """Turn what the user asked for into scores of the model's output.

    Args:
        targets: None (the top class), a class index or label, a function ``outputs -> (n,)``, a list with one entry for
            each image (each a target, or a list of equally many classes), an array of any framework in place of an
            index or a list, or a target: whatever has a method ``resolved(context) -> ScoreSpec``, as `Top` does.
        context: the output, and how it is read.

    Raises:
        InvalidArgument, InvalidType, UnknownName: the targets do not fit.
        ModelError: the output holds nothing of the kind that was asked for.
    """
    if targets is None:
        return _BEST.resolved(context)
    check_target(targets)
    asked: TargetLike | None = plain(targets)
    # Checked before functions: a text or a number is never callable, an index of NumPy is made plain above.
    if is_class(asked):
        return Classes(asked).resolved(context)
    if hasattr(asked, "resolved"):
        try:
            return cast(Target, asked).resolved(context)
        except RecursionError:
            raise InvalidArgument(
                "`targets` must not be nested so deeply, one target in another. Put those that belong together side "
                "by side: gs.Several(a, b, c)."
            ) from None
    if callable(asked):
        name = TargetInfo(None, getattr(asked, "__name__", type(asked).__name__))
        # A function of the user may write into what it gets, and the output is read again later.
        return of_function(lambda outputs: asked(context.private(outputs)), [name] * context.n)
    return _of_each(cast(Sequence[TargetLike], asked), context)


def check_target(*targets: object) -> None:
    """Check that values can be targets.

    Raises:
        InvalidType: one is not.
    """
    for target in targets:
        value = plain(target)
        # A class such as gs.Top, without brackets, has `resolved` too: the type is refused, its objects are taken.
        kind = value is None or is_class(value) or has(value, "resolved") or callable(value)
        if isinstance(value, type) or not (kind or isinstance(value, list | tuple)):
            raise _not_a_target(value)


def _not_a_target(value: object) -> InvalidType:
    return InvalidType(
        "`targets` must be a class (index or label), gs.Top(k), gs.Classes(...), gs.Pixels(...), gs.Box(...), "
        "gs.Token(...), gs.Similarity(...), gs.Against(target), gs.Contrast(target, rather_than), gs.Sum(...) or "
        "gs.Several(...) of some, a list with one entry for each image, or a function outputs -> (n,). "
        f"{received(value)}"
    )


def _some(targets: tuple[TargetLike, ...], name: str) -> tuple[TargetLike, ...]:
    if not targets:
        raise InvalidArgument(f"{name} needs at least one target. Received: nothing.")
    check_target(*targets)
    return targets


def _as_many(sides: Sequence[ScoreSpec], what: str) -> list[ScoreSpec]:
    """The sides with equally many targets: a single target is repeated for each of the others."""
    counts = [side.count for side in sides]
    most = max(counts)
    # Anything else would need a rule which of several belongs to which.
    if not {1, most} >= set(counts):
        raise InvalidArgument(
            f"{what} must name equally many targets, or one of them a single one. "
            f"Received: {' and '.join(map(str, counts))}."
        )
    return [x if x.count == most else ScoreSpec(tuple(row * most for row in x.names), x.columns * most) for x in sides]


def _of_each(targets: Sequence[TargetLike], context: OutputContext) -> ScoreSpec:
    """Targets from a list with one entry for each image."""
    if len(targets) != context.total:
        raise InvalidArgument(
            f"`targets` as a list must have one entry for each of the {context.total} image(s), a target or a list of "
            f"classes. Received: {len(targets)} entries. For the same on every image pass gs.Classes(...) or "
            "gs.Several(...)."
        )
    # The output may be of some images alone; what the list holds for the others is looked at all the same.
    entries = [plain(x) for x in targets]
    entries = [[x] if is_class(x) else x for x in entries]
    rows = [list(x.which) if isinstance(x, Classes) else x for x in entries]
    lists = [isinstance(row, list | tuple) for row in rows]
    if all(lists):
        _check_lengths([len(row) for row in rows])
        return classes_of_each(rows[context.first : context.first + context.n], context)
    for row, is_list in zip(rows, lists, strict=True):
        if not is_list and not hasattr(row, "resolved") and not callable(row):
            raise InvalidType(f"an entry of `targets` must be a target or a list of classes. {received(row)}")
    specs = [
        resolve(Classes(*row) if isinstance(row, list | tuple) else row, replace(context, images=(i,)))
        for i, row in enumerate(rows[context.first : context.first + context.n])
        if i in context.images
    ]
    _check_lengths([spec.count for spec in specs])
    return _picked(specs, context)


def _picked(specs: Sequence[ScoreSpec], context: OutputContext) -> ScoreSpec:
    """Targets in which image i has the scores of the i-th of these."""
    # A factor of 0 takes a target out of the other images; the number of targets stays the same for all.
    own = np.eye(context.n)[list(context.images)]
    names = list(specs[0].names)
    for i, spec in zip(context.images, specs, strict=True):
        names[i] = spec.names[i]
    columns = tuple(
        tuple(term.times(own[i]) for i, spec in enumerate(specs) for term in spec.columns[j])
        for j in range(specs[0].count)
    )
    return ScoreSpec(tuple(names), columns)


def _check_lengths(counts: Sequence[int]) -> None:
    if len(set(counts)) != 1 or 0 in counts:
        raise InvalidArgument(
            "`targets` must name equally many classes or targets, at least one, for each image. "
            f"Received: {', '.join(map(str, counts))}."
        )
