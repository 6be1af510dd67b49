"""Writes docs/metrics.md: what the registry knows of the metrics.

.venv/bin/python scripts/make_metrics_page.py
"""

from __future__ import annotations

import math
from pathlib import Path

import make_methods_page as methods

from gradsight.metric_registry import METRICS, Metric

PAGE = Path(__file__).parents[1] / "docs/metrics.md"

_TOP = """# What metrics measure

`gs.evaluate` and `gradsight evaluate` take any of these metrics. [How far can a map be trusted?](evaluate.md) says how,
and [which of them recognise a right map](evaluate.md#which-metrics-recognise-a-right-map). `gradsight metrics` prints
the same list; the page is made from the same registry, by `scripts/make_metrics_page.py`.

*Passes* are those of the model for one photo, one target and one map, for a method of one pass. Options are given as
`metrics=["deletion(steps=14)"]`, on the command line `--metric "deletion(steps=14)"`.
"""

_OF = {
    "faithfulness": "## Faithfulness\n\nDoes the score of the model depend on what is hot?",
    "localisation": "## Localisation\n\nDoes the heat lie where people say the thing is? They need boxes or masks.",
    "sanity": "## Sanity\n\nDoes the map change if the model or the class changes?",
    "stability": "## Stability\n\nDoes the map stay the same if the photo hardly changes?",
    "complexity": "## Complexity\n\nHow much of the photo does the map take? This does not say whether it is right.",
}


def values(metric: Metric) -> str:
    """Which values it has, and which of them are good."""
    low, high = metric.range
    said = f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"
    return f"{metric.better.capitalize()} is better, {said if math.isfinite(low) else 'any number'}."


def row(metric: Metric) -> str:
    scored = f" Scores the {metric.scores}." if metric.scores else ""
    cells = (
        f"`{metric.name}`",
        methods.titled(metric.title, metric.source, f"{metric.summary}{scored} {values(metric)}"),
        str(metric.passes),
        methods.options(metric.function),
    )
    return f"| {' | '.join(cells)} |"


def page() -> str:
    """The text of docs/metrics.md."""
    head = "| name | what | passes | options |\n|---|---|---|---|"
    parts = [_TOP]
    for measures, words in _OF.items():
        rows = [row(metric) for metric in METRICS.values() if metric.measures == measures]
        parts.append("\n".join((words, "", '<div class="methods" markdown>', "", head, *rows, "", "</div>\n")))
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
