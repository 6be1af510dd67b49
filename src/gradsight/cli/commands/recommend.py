"""``gradsight recommend``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from gradsight.cli import parsing
from gradsight.cli.commands.evaluate import Source
from gradsight.cli.groups import command
from gradsight.cli.options import WHAT, AxesOptions, ClassifierOptions, JsonOptions, PictureOptions
from gradsight.cli.options.measuring import PlaceOptions
from gradsight.errors import InvalidArgument, received

if TYPE_CHECKING:
    from gradsight.evaluating.recommendation import Recommendation


@command("gradsight recommend photos --model demo --by faithfulness")
def recommend(
    source: Source,
    places: PlaceOptions,
    axes: AxesOptions,
    model: ClassifierOptions,
    picture: PictureOptions,
    *,
    by: Annotated[
        list[str] | None,
        WHAT.option(
            metavar="WHAT|METRIC=WEIGHT",
            help="faithfulness, the default; localisation, the default with boxes; or metrics with weights, "
            "deletion=2. Can be repeated.",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        WHAT.option(metavar="METHOD", help="Those of a few passes race if not given. Can be repeated."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        WHAT.option(metavar="LAYER", help="Where; chosen if not given. Can be repeated."),
    ] = None,
    seed: Annotated[int, WHAT.option(metavar="N", min=0, help="Of all that is drawn.")] = 0,
    reply: JsonOptions,
) -> int:
    """Find which layer and method to use on a model, by a race of all of them on a folder of photos.

    Half of the photos are for the race; on the other half the winner must beat plain Grad-CAM. Where nothing does, it
    says so.
    """
    from gradsight.cli import making
    from gradsight.cli.measuring import labels_of
    from gradsight.cli.terminal import complain, say_json, waiting
    from gradsight.evaluating.evaluate import More
    from gradsight.evaluating.recommend import criteria_of, recommended
    from gradsight.photos import find_photos

    criteria, methods = _by(by), parsing.methods(method or [])
    # Before the model is loaded: a slip in a name would else be told at the end.
    criteria_of(criteria, known=places.boxes is not None or places.masks is not None)
    photos, errors = find_photos([source])
    explainer = making.explainer_of(model, picture, **axes.axes())
    labels, why = labels_of(photos, source, explainer.labels)
    if why and places.boxes is None:
        complain(why, "Note")
    more = More(
        boxes=places.boxes,
        masks=places.masks,
        class_map=places.class_map,
        labels=labels,
        seed=seed,
        batch_size=model.batch_size,
    )
    with waiting("racing: this takes minutes to hours, by the photos and the model"):
        found = recommended(explainer, photos, criteria, methods or None, layer or None, more, _tell)
    for error in errors:
        complain(str(error), "Failed")
    for image, reason in found.failed:
        complain(f"{image}: {reason}", "Failed")
    if reply.as_json:
        say_json(_record(found))
    else:
        _say(found)
    return 1 if errors or found.failed else 0


def _tell(words: str) -> None:
    from gradsight.cli.terminal import complain

    # A line each, and no bar: how many ways a round leaves over is not known before it.
    complain(words, "Racing")


def _by(given: list[str] | None) -> str | dict[str, float] | None:
    """``["deletion=2", "pointing"]`` as weights; one word as it is."""
    from gradsight.evaluating.recommend import BY

    if not given:
        return None
    if len(given) == 1 and given[0] in BY:
        return given[0]
    weights: dict[str, float] = {}
    for text in given:
        # The last one: options of a metric have equals signs too.
        name, equals, number = text.rpartition("=")
        if not equals or number.endswith(")"):
            name, number = text, "1"
        weight = parsing.number(number)
        if isinstance(weight, str):
            raise InvalidArgument(f"--by must be a metric and its weight. {received(text)} Pass --by deletion=2.")
        weights[name] = weight
    return weights


def _record(found: Recommendation) -> dict[str, Any]:
    gain = found.advantage
    return {
        "model": found.model,
        "recommended": found.is_better,
        "layer": found.chosen.layer or None,
        "method": found.chosen.method,
        "winner": {"layer": found.best.layer or None, "method": found.best.method},
        "p": found.p,
        "random_p": found.random_p,
        "advantage": {"mean": gain.mean, "low": gain.low, "high": gain.high, "n": gain.n},
        "metrics": [
            {
                "metric": one.metric,
                "better": one.better,
                "mean": one.own,
                "plain": one.plain,
                "difference": one.difference.mean,
                "low": one.difference.low,
                "high": one.difference.high,
            }
            for one in found.compared
        ],
        "passes": found.passes,
        "code": found.code,
        "command": found.command,
    }


def _say(found: Recommendation) -> None:
    from gradsight.cli.terminal import say

    first, verdict, *others = found.lines
    say((verdict, "bold"))
    for line in (first, *others):
        say("  ", line)
    say("In Python: ", (found.code, "cyan"))
    say("Here: ", (found.command, "cyan"))
