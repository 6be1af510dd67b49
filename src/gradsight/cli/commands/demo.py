"""The demo: the bundled photo, explained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from gradsight.cli import parsing
from gradsight.cli.groups import command
from gradsight.cli.options import RESULT, ReplyOptions, ViewOptions

_CREDIT = "Photos: Stéfan van der Walt (cat), Rachel Michetti and Pikolo Espresso Bar (coffee); CC0 1.0."


@command("gradsight demo --out pictures")
def demo(
    out: Annotated[
        Path, RESULT.option("--out", "-o", metavar="DIR", parser=parsing.path, help="The folder to write to.")
    ] = Path("gradsight-out"),
    *,
    view: ViewOptions,
    reply: ReplyOptions,
) -> None:
    """Explain a bundled photo with the embedded model."""
    # What `--open` and `--preview` show is known by what is written (`viewing`).
    del view
    import gradsight as gs
    from gradsight.cli.output import Output
    from gradsight.cli.showing import show
    from gradsight.cli.terminal import say, say_json
    from gradsight.photos import bundled_photo

    photo = bundled_photo()
    output = Output(out, figure=True)
    # The demo may be run again, but must not replace results of the user's own.
    output.check([photo])
    explanation = gs.Explainer(gs.load_model("demo"), name="demo")([photo.source], targets=gs.Top(2))
    records = output.write(photo, [explanation])
    if reply.as_json:
        say_json(records[0])
        return
    show(records, output.path_of)
    say()
    say("Look at ", (str(out / records[0]["figure"]), "bold cyan"), ": the photo, and on it what spoke for each class.")
    say("Bright yellow is where most of it was; what is grey, the model was not shown.")
    say("Now a photo of yours: ", ("gradsight explain photo.jpg --top 3", "bold"))
    say((_CREDIT, "dim"))
