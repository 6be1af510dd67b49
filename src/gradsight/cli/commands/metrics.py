"""``gradsight metrics``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gradsight.cli.groups import command
from gradsight.cli.options import JsonOptions

if TYPE_CHECKING:
    from gradsight.metric_registry import Metric

_OF = {
    "faithfulness": "Faithfulness: does the map show what the model's score hangs on?",
    "localisation": "Localisation: does it lie where people say the thing is? They need boxes or masks",
    "sanity": "Sanity: does it change where the model or the class does?",
    "stability": "Stability: does it stay where the photo hardly changes?",
    "complexity": "Complexity: how much of the photo does it take? Alone it says nothing of whether a map is right",
}


@command("gradsight metrics --json")
def metrics(reply: JsonOptions) -> None:
    """List the metrics."""
    from gradsight.cli.streams import need_stdout
    from gradsight.cli.terminal import say, say_json
    from gradsight.metric_registry import METRICS

    need_stdout("the list")
    known = list(METRICS.values())
    if reply.as_json:
        for metric in known:
            say_json(_row(metric))
        return
    for measures, words in _OF.items():
        own = [metric for metric in known if metric.measures == measures]
        if own:
            say((words, "bold"))
        for metric in own:
            _say(metric, _row(metric))
    say()
    say("Passes are those of the model for one photo, one target and one map.")
    say("Use one or several: ", ('gradsight evaluate photos --metric "deletion(steps=14)" --metric road', "cyan"))


def _row(metric: Metric) -> dict[str, Any]:
    from gradsight.ranges import rules_of

    names = ("name", "title", "source", "measures", "better", "range", "needs", "scores", "passes", "summary")
    # Of several layers of wrapping, the function of the file has the rules of its options.
    takes = {name: rule.rule for name, rule in rules_of(metric.function).items()}
    return {**{name: getattr(metric, name) for name in names}, "options": metric.options, "takes": takes}


def _say(metric: Metric, row: dict[str, Any]) -> None:
    from gradsight.cli.terminal import say

    say("  ", (f"{metric.name:<24}", "cyan"), (f"{metric.title}, {metric.source}", "bold"))
    say(" " * 26, metric.summary)
    low, high = (f"{end:g}" if math.isfinite(end) else "no bound" for end in metric.range)
    facts = [f"{metric.better} is better, {low} to {high}", f"passes: {metric.passes}"]
    if metric.scores:
        facts.append(f"scores the {metric.scores}")
    if row["options"]:
        facts.append("options: " + ", ".join(f"{key}={value!r}" for key, value in row["options"].items()))
    say(" " * 26, ("; ".join(facts), "dim"))
    if row["takes"]:
        say(" " * 26, ("; ".join(f"{key}: {rule}" for key, rule in row["takes"].items()), "dim"))
