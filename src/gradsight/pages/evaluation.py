"""An evaluation to look at: what was measured of each method, metric by metric."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradsight.evaluating.evaluation import Evaluation
from gradsight.evaluating.summary import Summary, told

HEADINGS = ("Method", "Place", "Mean", "95% interval", "Photos", "Chance of random doing as well")


@dataclass(frozen=True, eq=False)
class Table:
    """The figures of one metric.

    Attributes:
        words: which is better, and what the last column says.
        rows: texts, a row for each method and layer, the best first.
    """

    words: str
    rows: tuple[tuple[str, ...], ...]


def table_of(evaluation: Evaluation, metric: str) -> Table:
    """The figures of a metric, the best method first."""
    found = [one for one in evaluation.summary if one.metric == metric]
    ordered = sorted(found, key=lambda one: (one.rank is None, one.rank or 0))
    better = f"A {found[0].better} value is better." if found else ""
    return Table(f"{better} Controls know nothing of the model.", tuple(map(_row, ordered)))


def words_of(evaluation: Evaluation) -> tuple[str, ...]:
    """What was evaluated, and what must be known of it."""
    failed = tuple(f"{one.image} could not be measured: {one.reason}" for one in evaluation.failed[:5])
    left_out = tuple(f"{name} was left out: {why}" for name, why in evaluation.left_out)
    about = f"Model {evaluation.model}, {len(evaluation.images)} photos, by {', '.join(evaluation.metrics)}."
    return (about, *evaluation.notes, *left_out, *failed)


def _row(one: Summary) -> tuple[str, ...]:
    name = told(one.layer, one.method)
    return (
        f"{name} (control)" if one.control else name,
        "" if one.rank is None else str(one.rank),
        _number(one.mean),
        "too few photos" if math.isnan(one.low) else f"{_number(one.low)} to {_number(one.high)}",
        str(one.n),
        "" if one.beats_random_p is None else _number(one.beats_random_p),
    )


def _number(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.3g}"
