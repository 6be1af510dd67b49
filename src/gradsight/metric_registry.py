"""The registry of metrics, numbers that tell how far a map can be trusted. Each is entered in its own file.

A metric is asked for as a method is: ``"deletion"``, ``"deletion(steps=14, baseline='blur')"``. A word may stand
without its quotes, ``baseline=blur``, as a shell would take them away.
"""

from __future__ import annotations

import ast
import copyreg
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, cast, get_args

import numpy as np
from numpy.typing import NDArray

from gradsight.checks import taken
from gradsight.entries import Registry
from gradsight.errors import InvalidArgument, InvalidType, received
from gradsight.metric_sets import Together, hits_of, together_of
from gradsight.names import as_registered
from gradsight.ranges import checked, options_of, read_options
from gradsight.rules import Choice, Each, Function, Text
from gradsight.written import by_name, options_in, read, written

if TYPE_CHECKING:
    from gradsight.cases import Case

Decorated = TypeVar("Decorated", bound=Callable[..., object])

MetricFunction: TypeAlias = "Callable[[Case], NDArray[np.float64]]"
"""Measures the maps of a case: a number for each image and target, (n, k), NaN where there is none."""

Measured = Literal["faithfulness", "localisation", "sanity", "stability", "complexity"]
"""What a metric is about."""

Better = Literal["higher", "lower"]
"""Which of two values is the better one."""

Need = Literal["logit", "probability", "method", "regions", "boxes"]
"""What a metric asks of its case beside the maps: the model's scores of other images, as logits or as probabilities,
whichever its paper has; the method once more (`Case.explain`); where the things are, as masks or filled boxes
(`Case.regions`); boxes as such (`Case.boxes`)."""


def no_pass(_targets: int, _method: int, **_options: object) -> int:
    """The cost of a metric that looks at the maps alone."""
    return 0


@dataclass(frozen=True)
class Metric:
    """A number that tells how good maps are.

    Attributes:
        name: what users type, such as ``"deletion"`` or ``"deletion(steps=14)"``.
        function: ``(case) -> values`` of shape (n, k), float64; NaN where the metric is undefined.
        title: the name in its paper, such as ``"Deletion"``.
        source: where it comes from, such as ``"arXiv:1806.07421"``.
        measures: what it is about, such as ``"faithfulness"``.
        better: ``"higher"`` or ``"lower"``.
        range: (lowest, highest) of its values; infinite where there is no bound.
        needs: what it asks of a case beside the maps; see `Need`.
        cost: ``(targets, method) -> passes``: how many forward passes of the model one image takes with so many
            targets, beyond the pass that made the map, where one run of the method takes ``method`` passes. What cases
            share (`Scoring`) is counted in full, so that the sum over several metrics may be less.
        together: for a metric of sets of images, `metric_sets.of_sets`; None where each value is a figure.
        hits: each figure is a hit, 1, or a miss, 0, or a mean of some (`metric_sets.of_hits`): a set's is a share.
    """

    name: str
    function: MetricFunction
    title: str
    source: str
    measures: Measured
    better: Better
    range: tuple[float, float]
    needs: tuple[Need, ...] = ()
    cost: Callable[[int, int], int] = no_pass
    together: Together | None = None
    hits: bool = False

    @property
    def options(self) -> dict[str, object]:
        """All its options as they are set, also those that the name leaves out: they belong to every figure."""
        function = self.function
        chosen = function.keywords if isinstance(function, partial) else {}
        return {**options_of(_plain(function)), **chosen}

    @property
    def scores(self) -> str:
        """What it scores, ``"logit"`` or ``"probability"``; empty where it takes no score."""
        return next((need for need in self.needs if need in ("logit", "probability")), "")

    @property
    def passes(self) -> int:
        """The cost for one target, and a method of one pass."""
        return self.cost(1, 1)

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (_plain(self.function).__doc__ or "").strip().partition("\n")[0]

    def __call__(self, case: Case) -> NDArray[np.float64]:
        """Measure the maps of a case: (n, k), float64; (n, k, ...) of a metric of sets.

        Raises:
            InvalidArgument: the case lacks what the metric needs.
            InvalidType: the function gave something else than a number for each image and target.
        """
        for need in self.needs:
            if not case.has(need):
                raise InvalidArgument(
                    f"the metric {self.name!r} needs {_IN_WORDS[need]}, and this case has none. Leave the metric out."
                )
        values = np.asarray(self.function(case))
        axes = values.ndim if self.together is None else 2
        if values.shape[:axes] != case.shape or values.dtype.kind not in "fiub":
            raise InvalidType(
                f"metric {self.name!r} must return numbers of shape (n, k) = {case.shape}. {received(values)}"
            )
        return values.astype(np.float64)


_IN_WORDS: dict[Need, str] = {
    "logit": "the model's scores",
    "probability": "the model's scores",
    "method": "the method that made the maps",
    "regions": "boxes or masks",
    "boxes": "boxes",
}


def _plain(function: Callable[..., object]) -> Callable[..., object]:
    """The function that was entered, without the options that are set."""
    return function.func if isinstance(function, partial) else function


METRICS: Registry[Metric] = Registry("metric", "gradsight.metrics", "gradsight metrics")

_METRIC = Function("a function (case) -> values, defined below the decorator")
_COST = Function("a function (targets, method, **options) -> passes")
_UP_TO_ALL = range(len(get_args(Need)) + 1)


def metric(
    name: str,
    *,
    title: str,
    source: str,
    measures: Measured,
    better: Better,
    range: tuple[float, float] = (-math.inf, math.inf),  # noqa: A002 - the word of the field
    needs: Sequence[Need] = (),
    cost: Callable[..., int] = no_pass,
) -> Callable[[Decorated], Decorated]:
    """Enter a function ``(case) -> values`` as a metric; see `Metric` for the arguments.

    The function gets a `Case` and gives float64 of shape (n, k), NaN where it is undefined. Keyword-only arguments are
    the metric's options, ``"deletion(steps=14)"``. What they take is declared with them, ``steps: Annotated[int,
    Whole(1)] = 28`` (`gradsight.rules`), and each call is held to it. ``cost`` gets them too: ``(targets, method,
    **options) -> passes``.

    >>> import gradsight as gs
    >>> @gs.metric("hottest", title="Largest value", source="an example", measures="complexity", better="higher")
    ... def hottest(case):
    ...     return case.flat.max(axis=-1)
    """
    taken("measures", measures, Choice(get_args(Measured), "aspect"))
    taken("better", better, Choice(get_args(Better), "direction"))
    for need in taken("needs", needs, Each(Text(), _UP_TO_ALL)):
        taken("needs", need, Choice(get_args(Need), "need"))
    for argument, text in (("title", title), ("source", source)):
        taken(argument, text, Text())
    taken("cost", cost, _COST)
    low, high = _bounds(range)

    def enter(function: Decorated) -> Decorated:
        taken("function", function, _METRIC)
        # Here, and not in each metric: no metric can forget it.
        function = checked(function)
        bound = partial(cost, **options_of(function))
        made = cast("MetricFunction", function)
        facts = (title, source, measures, better, (low, high), tuple(needs), bound)
        entry = Metric(name, made, *facts, together_of(function), hits_of(function))
        METRICS.add(name, entry)
        return function

    return enter


def _bounds(given: tuple[float, float]) -> tuple[float, float]:
    """The lowest and the highest value of a metric."""
    try:
        low, high = map(float, given)
    except (TypeError, ValueError):
        low = high = math.nan
    if not low < high:
        raise InvalidArgument(f"`range` must be (lowest, highest), two numbers. {received(given)} Pass (0, 1).")
    return low, high


MetricLike: TypeAlias = str | Metric


def as_metric(metric: MetricLike) -> Metric:
    """A metric from its name, such as ``"deletion"`` or ``"deletion(steps=14, baseline=blur)"``.

    Raises:
        UnknownName: there is no metric or option of that name, or an option no such word.
        InvalidArgument: the name cannot be read, or a value breaks its option's rule.
        InvalidType: it is no name.
    """
    if isinstance(metric, Metric):
        return metric
    if not isinstance(metric, str):
        raise InvalidType(
            f"`metric` must be a metric's name, such as 'deletion'. {received(metric)} Enter a function of yours with "
            "@gs.metric(...), and pass its name."
        )
    plain = as_registered(metric, METRICS)
    return METRICS[plain] if plain.isidentifier() else read(plain, "metric", "'deletion(steps=14)'", _built)


def _built(node: ast.expr) -> Metric:
    if isinstance(node, ast.Name):
        return METRICS[node.id]
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
        raise ValueError
    return with_options(METRICS[node.func.id], **options_in(node, _value))


def _value(node: ast.expr) -> object:
    """An option's value; a word may stand without quotes."""
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)


def with_options(metric: Metric, /, **options: object) -> Metric:
    """A metric with some of its options set; its name says those that are not the defaults.

    Raises:
        UnknownName: it has no option of that name, or an option no such word.
        InvalidArgument: a value that its option does not take.
    """
    # Checked here, not at the first call: a name is read long before its metric runs.
    options = read_options(metric.name.partition("(")[0], _plain(metric.function), options)
    function = partial(metric.function, **options)
    defaults = options_of(_plain(function))
    # Only what differs, so that equal metrics have equal names: results are put together by them.
    told = {key: value for key, value in function.keywords.items() if value != defaults[key]}
    name = metric.name.partition("(")[0]
    if told:
        name = written(name, **dict(sorted(told.items())))
    return replace(metric, name=name, function=function, cost=partial(metric.cost, **options))


copyreg.pickle(Metric, by_name(as_metric))
