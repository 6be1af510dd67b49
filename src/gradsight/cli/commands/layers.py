"""``gradsight layers``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradsight.cli import parsing
from gradsight.cli.groups import command
from gradsight.cli.options import RESULT, ClassifierOptions, JsonOptions, PictureOptions, TargetOptions

if TYPE_CHECKING:
    import gradsight as gs

# A network may have hundreds of layers that can be explained.
_FIRST = 10


@command("gradsight layers --model torchvision:resnet50 --weights none")
def layers(
    target: TargetOptions,
    model: ClassifierOptions,
    picture: PictureOptions,
    reply: JsonOptions,
    image: Annotated[
        Path | None,
        typer.Argument(metavar="IMAGE", parser=parsing.path, help="A photo; the bundled one if not given."),
    ] = None,
    everything: Annotated[bool, RESULT.option("--all", help="Not only the best ten.")] = False,
) -> None:
    """List the layers of a model that can be explained, the best first.

    A model without one row of class scores, such as a segmentation, needs what is to be explained, as `explain` does.
    """
    from gradsight.cli import making
    from gradsight.cli.given import one_photo
    from gradsight.cli.streams import need_stdout
    from gradsight.cli.targets import targets_of
    from gradsight.cli.terminal import say_json
    from gradsight.photos import bundled_photo

    need_stdout("the list")
    wanted = targets_of(target)
    explainer = making.explainer_of(model, picture)
    photo = bundled_photo() if image is None else one_photo(image, "layers")
    ranked = explainer.layers([photo.source], wanted)
    shown = ranked if everything else ranked[:_FIRST]
    if reply.as_json:
        for layer in shown:
            say_json(_record(layer))
    else:
        _say(shown, ranked)


def _record(layer: gs.Candidate) -> dict[str, object]:
    return {
        "name": layer.name,
        "kind": layer.kind,
        "grid": list(layer.layout.grid),
        "channels": layer.channels,
        "cut": layer.cut,
        "chosen": layer.chosen,
        "remark": layer.remark,
    }


def _say(shown: Sequence[gs.Candidate], ranked: Sequence[gs.Candidate]) -> None:
    from gradsight.cli.terminal import say

    _say_rows(shown)
    if len(shown) < len(ranked):
        say((f"... and {len(ranked) - len(shown)} more: gradsight layers --all", "dim"))
    best = ranked[0]
    say()
    say((best.name, "bold"), f" is explained unless you name another: it is {best.remark}.")
    say("A cut is a layer that nothing bypasses: all that the model knows about the photo passes through it.")
    if len(ranked) > 1:
        say("Another layer: ", (f"gradsight explain photo.jpg --layer {ranked[1].name}", "cyan"))


def _say_rows(shown: Sequence[gs.Candidate]) -> None:
    """One line a layer, under what is said of it: remarks are long, and the same for many."""
    from gradsight.cli.terminal import say
    from gradsight.errors import printable

    # By what is shown: control characters of a name are written out, and take more room.
    widest = max(len(printable(layer.name)) for layer in shown)
    say((f"  {'layer':<{widest}}  {'grid':<9}  {'channels':<8}  kind", "dim"))
    for (chosen, remark), group in groupby(shown, key=lambda layer: (layer.chosen, layer.remark)):
        say((f"{'* chosen: ' if chosen else ''}{remark}", "bold green" if chosen else "bold"))
        for layer in group:
            grid = " x ".join(map(str, layer.layout.grid))
            say(f"  {printable(layer.name):<{widest}}  {grid:<9}  {layer.channels:<8}  {layer.kind}")
