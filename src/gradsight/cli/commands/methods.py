"""``gradsight methods``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gradsight.cli.groups import command
from gradsight.cli.options import JsonOptions

if TYPE_CHECKING:
    from gradsight.registry import Method

_OF = {
    "layer": "Of one layer: as coarse as the layer, and about what the model made of a place",
    "layers": "Of several layers at once: --layer twice or more, or the last good one of each resolution",
    "input": "Of the image itself: each pixel, or what is covered of it",
}


@command("gradsight methods --json")
def methods(reply: JsonOptions) -> None:
    """List the methods."""
    from gradsight.cli.streams import need_stdout
    from gradsight.cli.terminal import say, say_json
    from gradsight.registry import METHODS, SCOPES
    from gradsight.variants import VARIANTS

    need_stdout("the list")
    known = list(METHODS.values())
    if reply.as_json:
        for row in (*map(_method_row, known), *map(_variant_row, VARIANTS)):
            say_json(row)
        return
    for at in SCOPES:
        say((_OF[at], "bold"))
        for method in known:
            if method.at == at:
                _say_method(_method_row(method))
        say()
    say(("Variants, of any method that fits:", "bold"))
    for name in VARIANTS:
        _say_method(_variant_row(name))
    say()
    say("Passes are those of the model for one photo, with c channels of the layer and k targets.")
    say("Use one or several: ", ('gradsight explain photo.jpg --method gradcam --method "scorecam(top=64)"', "cyan"))
    say("See them side by side: ", ("gradsight compare photo.jpg --methods gradcam,layercam", "cyan"))


def _method_row(method: Method) -> dict[str, Any]:
    names = ("name", "title", "source", "needs", "at", "gradient", "passes", "costly", "control", "alphas", "summary")
    return {"kind": "method", **{n: getattr(method, n) for n in names}, **_options(method.function)}


def _options(function: Callable[..., Any]) -> dict[str, Any]:
    """The options with their defaults, and what each takes."""
    from gradsight.ranges import options_of, rules_of

    return {"options": options_of(function), "takes": {name: rule.rule for name, rule in rules_of(function).items()}}


def _variant_row(name: str) -> dict[str, Any]:
    from gradsight.ranges import options_of
    from gradsight.variants import VARIANTS

    function = VARIANTS[name]
    summary = (function.__doc__ or "").strip().partition("\n")[0]
    given = "".join(f", {key}={value!r}" for key, value in options_of(function).items())
    example = f"{name}(gradcam{given})"
    return {"kind": "variant", "name": name, "example": example, "summary": summary, **_options(function)}


def _say_method(row: dict[str, Any]) -> None:
    from gradsight.cli.terminal import say

    title = f"{row['title']}, {row['source']}" if "title" in row else row["example"]
    say("  ", (f"{row['name']:<20}", "cyan"), (title, "bold"))
    say(" " * 22, row["summary"])
    # Those of a variant depend on the method that it is given.
    facts = [f"passes: {row['passes']}"] if "passes" in row else []
    if row["options"] and "title" in row:
        facts.append("options: " + ", ".join(f"{key}={value!r}" for key, value in row["options"].items()))
    if row.get("needs"):
        facts.append(f"needs: {row['needs']}")
    if facts:
        say(" " * 22, ("; ".join(facts), "dim"))
    if row["takes"]:
        say(" " * 22, ("; ".join(f"{key}: {rule}" for key, rule in row["takes"].items()), "dim"))
