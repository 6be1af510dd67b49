"""All that a report tells of an evaluation: its tables, what they say, and what each metric does not say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradsight.auditing.words import photos
from gradsight.evaluating.evaluation import Evaluation
from gradsight.evaluating.figure import layers_of
from gradsight.evaluating.summary import Summary, told
from gradsight.metric_registry import Metric, as_metric
from gradsight.reporting.cards import Bar, bar_of
from gradsight.reporting.facts import Fact, short
from gradsight.significance import FEW, Interval, Pair

_LEVEL = 0.05
"""What comes about less often by chance alone is called beyond chance."""

_FAILED = 500

_SAYS = {
    "faithfulness": (
        "It asks whether the score hangs on what is hot. It changes photos into ones that no model was trained on, and "
        "says nothing of whether the model is right."
    ),
    "localisation": (
        "It asks whether heat lies where people say the thing is. A model that looks at the branch behind the bird has "
        "a faithful map that misses the box."
    ),
    "sanity": (
        "It asks whether the map would be another one for another class, or for a model with other weights. A map that "
        "passes may still be wrong."
    ),
    "stability": "It asks whether the map stays the same where the photo hardly changes. A wrong map may be stable.",
    "complexity": "It says how much of a photo a map takes, and nothing of whether it is the right part.",
}
"""What metrics of a kind ask, and what they do not say."""


@dataclass(frozen=True)
class Line:
    """A method by a metric.

    Attributes:
        name: the method, and its layer where there are several.
        control: it knows nothing of the model.
        rank: its place, in words.
        bar: its figure with its interval.
        chance: beside random maps, in words.
    """

    name: str
    control: bool
    rank: str
    bar: Bar | None
    chance: str


@dataclass(frozen=True)
class Table:
    """A metric.

    Attributes:
        title: what its paper calls it, with its options.
        about: what it says and does not say, in words.
        sentences: what came of it, in words.
        told: so many of them belong into a summary.
        lines: the methods, the best first.
        pairs: each two methods, in words: names, difference, p.
    """

    title: str
    about: tuple[str, ...]
    sentences: tuple[str, ...]
    told: int
    lines: tuple[Line, ...]
    pairs: tuple[tuple[str, str, str, str], ...]


@dataclass(frozen=True, eq=False)
class OfEvaluation:
    """What a report tells of an evaluation."""

    evaluation: Evaluation
    summary: tuple[str, ...]
    tables: tuple[Table, ...]
    facts: tuple[Fact, ...]
    limits: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    failures: int

    @property
    def name(self) -> str:
        """Of the model, as headings have it."""
        return short(self.evaluation.model)


def of_evaluation(evaluation: Evaluation) -> OfEvaluation:
    """Look at an evaluation."""
    several = len(layers_of([(one.layer, one.method) for one in evaluation.summary])) > 1
    by_metric: dict[str, list[Summary]] = {}
    for one in evaluation.summary:
        by_metric.setdefault(one.metric, []).append(one)
    tables = tuple(
        _table(as_metric(name), own, evaluation.pairs.get(name, ()), several=several) for name, own in by_metric.items()
    )
    return OfEvaluation(
        evaluation=evaluation,
        summary=tuple(_summary(evaluation, tables)),
        tables=tables,
        facts=tuple(_facts(evaluation, by_metric)),
        limits=(
            *evaluation.notes,
            *(f"{method} was left out: {reason}" for method, reason in evaluation.left_out),
        ),
        failed=tuple((one.image, one.reason) for one in evaluation.failed[:_FAILED]),
        failures=len(evaluation.failed),
    )


def _summary(evaluation: Evaluation, tables: Sequence[Table]) -> Iterator[str]:
    count, failed = len(evaluation.images), len(evaluation.failed)
    yield (
        f"Methods were measured on {photos(count)}"
        + (f"; {failed:,} could not be: they are listed at the end." if failed else ".")
    )
    if count < FEW:
        yield f"These are fewer than {FEW} photos: there are no intervals, and no difference could be told from chance."
    for table in tables:
        yield f"{table.title}: {' '.join(table.sentences[: table.told])}"
    if len(tables) > 1:
        yield "Metrics do not agree with each other: choose by what you need to know, before you look."


def _facts(evaluation: Evaluation, by_metric: dict[str, list[Summary]]) -> Iterator[Fact]:
    yield "Model", evaluation.model
    yield "Photos measured", f"{len(evaluation.images):,}"
    yield "Photos that failed", f"{len(evaluation.failed):,}"
    methods = dict.fromkeys(told(one.layer, one.method) for own in by_metric.values() for one in own)
    yield "Methods", ", ".join(methods)
    for name in by_metric:
        metric = as_metric(name)
        options = ", ".join(f"{key}={value!r}" for key, value in metric.options.items()) or "none"
        yield metric.name, f"{metric.title}, {metric.source}; options: {options}"
    yield "Seed of what was drawn", str(evaluation.seed)


def _table(metric: Metric, own: Sequence[Summary], pairs: Sequence[Pair], *, several: bool) -> Table:
    # What has no mean has no place, and stands last.
    ordered = sorted(own, key=lambda one: math.inf if one.rank is None else one.rank)
    scale = _scale(ordered)
    options = metric.name.partition("(")
    first, rest = list(_said(ordered, several=several)), [*_controls(ordered, several=several), *_differences(pairs)]
    return Table(
        title=f"{metric.title}{' ' if options[1] else ''}{options[1]}{options[2]}",
        about=(
            f"{metric.summary} It measures {metric.measures}; {metric.better} is better.",
            _SAYS[metric.measures],
        ),
        sentences=(*first, *rest),
        told=len(first),
        lines=tuple(_line(one, scale, several=several) for one in ordered),
        pairs=tuple(_pair(one) for one in sorted(pairs, key=lambda one: one.adjusted)),
    )


def _name(one: Summary, *, several: bool) -> str:
    return told(one.layer if several else "", one.method)


def _said(ordered: Sequence[Summary], *, several: bool) -> Iterator[str]:
    """What came of a metric: which method is first, and whether that says anything."""
    ranked = [one for one in ordered if one.rank is not None and not one.control]
    if not ranked:
        yield "No method has a figure."
        return
    best = ranked[0]
    equal = [one for one in ranked if one.rank == best.rank]
    names = " and ".join(_name(one, several=several) for one in equal)
    yield f"{names} {'is' if len(equal) == 1 else 'are'} first of {len(ranked)}, with {_figure(best)}."
    yield from _beside_chance(ranked, several=several)


def _controls(ordered: Sequence[Summary], *, several: bool) -> Iterator[str]:
    """The controls that did as well as the best method."""
    best = min((one.rank for one in ordered if one.rank is not None and not one.control), default=0)
    found = [one for one in ordered if one.control and one.rank is not None and one.rank <= best]
    if found:
        names = ", ".join(_name(one, several=several) for one in found)
        yield f"{names}, which {'knows' if len(found) == 1 else 'know'} nothing of the model, did as well or better."


def _beside_chance(ranked: Sequence[Summary], *, several: bool) -> Iterator[str]:
    tested = [one for one in ranked if one.beats_random_p is not None and not math.isnan(one.beats_random_p)]
    if not tested:
        yield "Nothing was compared with random maps."
        return
    better = [_name(one, several=several) for one in tested if (one.beats_random_p or 0) < _LEVEL]
    rest = [_name(one, several=several) for one in tested if not (one.beats_random_p or 0) < _LEVEL]
    if better:
        yield f"Better than random maps beyond chance (p < {_LEVEL}): {', '.join(better)}."
    if rest:
        yield f"Not better than random maps beyond chance: {', '.join(rest)}."


def _differences(pairs: Sequence[Pair]) -> Iterator[str]:
    if not pairs:
        return
    apart = sorted((one for one in pairs if one.adjusted < _LEVEL), key=lambda one: one.adjusted)
    if not apart:
        yield "No two methods differ beyond chance: the order of their means may be chance."
        return
    first = apart[0]
    yield (
        f"{len(apart)} of {len(pairs)} pairs of methods differ beyond chance, most surely {first.first} and "
        f"{first.second} (p = {first.adjusted:.2g}, corrected for their number)."
    )


def _line(one: Summary, scale: tuple[float, float], *, several: bool) -> Line:
    if one.beats_random_p is None or math.isnan(one.beats_random_p):
        chance = "not compared"
    else:
        verdict = "better" if one.beats_random_p < _LEVEL else "not better"
        chance = f"{verdict}, p = {one.beats_random_p:.2g}"
    name = _name(one, several=several)
    return Line(
        name=name,
        control=one.control,
        rank="none" if one.rank is None else str(one.rank),
        bar=None if math.isnan(one.mean) else bar_of(name, _interval(one), scale),
        chance=chance,
    )


def _figure(one: Summary) -> str:
    if math.isnan(one.low):
        return f"{one.mean:.3g}"
    return f"{one.mean:.3g} [{one.low:.3g}, {one.high:.3g}]"


def _interval(one: Summary) -> Interval:
    return Interval(mean=one.mean, low=one.low, high=one.high, n=one.n, missing=one.missing)


def _pair(one: Pair) -> tuple[str, str, str, str]:
    return one.first, one.second, f"{one.difference:.3g}", f"{one.adjusted:.2g}"


def _scale(lines: Sequence[Summary]) -> tuple[float, float]:
    """From a little below the least end of all to a little above the most."""
    finite = [value for one in lines for value in (one.mean, one.low, one.high) if math.isfinite(value)] or [0.0, 1.0]
    room = 0.05 * (max(finite) - min(finite)) or 0.1
    return min(finite) - room, max(finite) + room
