"""What there is: methods, model sources, and the layers of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import gradsight as gs
from gradsight.cli.terminal import say, say_json, say_table
from gradsight.errors import printable
from gradsight.ranges import options_of, rules_of
from gradsight.registry import METHODS, SCOPES, SOURCES, Method, Source
from gradsight.variants import VARIANTS

_FIRST = 10


_OF = {
    "layer": "Of one layer: as coarse as the layer, and about what the model made of a place",
    "layers": "Of several layers at once: --layer twice or more, or the last good one of each resolution",
    "input": "Of the image itself: each pixel, or what is covered of it",
}


def list_methods(*, as_json: bool) -> None:
    """Print every method, and the variants that can be made of them."""
    methods = list(METHODS.values())
    if as_json:
        for method in methods:
            say_json(_method_row(method))
        for name in VARIANTS:
            say_json(_variant_row(name))
        return
    for at in SCOPES:
        say((_OF[at], "bold"))
        for method in methods:
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
    return {"options": options_of(function), "takes": {name: rule.rule for name, rule in rules_of(function).items()}}


def _variant_row(name: str) -> dict[str, Any]:
    function = VARIANTS[name]
    summary = (function.__doc__ or "").strip().partition("\n")[0]
    options = options_of(function)
    given = "".join(f", {key}={value!r}" for key, value in options.items())
    return {
        "kind": "variant",
        "name": name,
        "example": f"{name}(gradcam{given})",
        "summary": summary,
        **_options(function),
    }


def _say_method(row: dict[str, Any]) -> None:
    title = f"{row['title']}, {row['source']}" if "title" in row else row["example"]
    say("  ", (f"{row['name']:<20}", "cyan"), (title, "bold"))
    say(" " * 22, row["summary"])
    facts = [f"passes: {row['passes']}"] if "passes" in row else []
    if row["options"] and "title" in row:
        facts.append("options: " + ", ".join(f"{key}={value!r}" for key, value in row["options"].items()))
    if row.get("needs"):
        facts.append(f"needs: {row['needs']}")
    if facts:
        say(" " * 22, ("; ".join(facts), "dim"))
    if row["takes"]:
        say(" " * 22, ("; ".join(f"{key}: {rule}" for key, rule in row["takes"].items()), "dim"))


def list_models(*, as_json: bool) -> None:
    """Print every source of models, and whether what it needs is installed."""
    sources = list(SOURCES.values())
    if as_json:
        for source in sources:
            ready = {"installed": _installed(source), "install": source.install}
            say_json({"scheme": source.name, "title": source.title, "example": source.example, **ready})
        return
    states = ["yes" if _installed(source) else f"no: {source.install}" for source in sources]
    say_table(
        ("--model", "ready", "what it loads"),
        [(source.example, state, source.title) for source, state in zip(sources, states, strict=True)],
    )
    say()
    say("Use one: ", (f"gradsight explain photo.jpg --model {sources[-1].example}", "cyan"))


def _installed(source: Source) -> bool:
    return all(find_spec(package) is not None for package in source.needs())


def list_layers(explainer: gs.Explainer, photo: Path | bytes, targets: Any, *, everything: bool, as_json: bool) -> None:
    """Print the layers that can be explained, the best first.

    Raises:
        GradsightError: the photo cannot be read, or the model cannot be explained.
    """
    ranked = explainer.layers([photo], targets)
    found = ranked if everything else ranked[:_FIRST]
    if as_json:
        for layer in found:
            say_json(
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "grid": list(layer.layout.grid),
                    "channels": layer.channels,
                    "cut": layer.cut,
                    "chosen": layer.chosen,
                    "remark": layer.remark,
                }
            )
        return
    _say_layers(found)
    if len(found) < len(ranked):
        say((f"... and {len(ranked) - len(found)} more: gradsight layers --all", "dim"))
    best = ranked[0]
    say()
    say((best.name, "bold"), f" is explained unless you name another: it is {best.remark}.")
    say("A cut is a layer that nothing bypasses: all that the model knows about the photo passes through it.")
    if len(ranked) > 1:
        say("Another layer: ", (f"gradsight explain photo.jpg --layer {ranked[1].name}", "cyan"))


def _say_layers(found: Sequence[gs.Candidate]) -> None:
    """One line a layer, under what is said of it: remarks are long, and the same for many."""
    widest = max(len(printable(layer.name)) for layer in found)
    say((f"  {'layer':<{widest}}  {'grid':<9}  {'channels':<8}  kind", "dim"))
    for (chosen, remark), layers in groupby(found, key=lambda layer: (layer.chosen, layer.remark)):
        say((f"{'* chosen: ' if chosen else ''}{remark}", "bold green" if chosen else "bold"))
        for layer in layers:
            grid = " x ".join(map(str, layer.layout.grid))
            say(f"  {printable(layer.name):<{widest}}  {grid:<9}  {layer.channels:<8}  {layer.kind}")
