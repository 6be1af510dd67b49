"""The demo: the bundled photo, explained."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import gradsight as gs
from gradsight import imaging
from gradsight.cli.explain import Output, show
from gradsight.cli.naming import Photo
from gradsight.cli.terminal import say, say_json

_PHOTO = "cat_and_coffee"
_CREDIT = "Photos: Stéfan van der Walt (cat), Rachel Michetti and Pikolo Espresso Bar (coffee); CC0 1.0."


def bundled_photo() -> Photo:
    """The photo of a cat and a cup of coffee that comes with gradsight."""
    content = resources.files("gradsight").joinpath(f"data/{_PHOTO}.jpg").read_bytes()
    return Photo(f"{_PHOTO}.jpg", _PHOTO, content)


def run_demo(folder: Path, *, as_json: bool) -> None:
    """Explain the bundled photo's two best classes, draw them side by side, and say what there is to see.

    Raises:
        GradsightError: the demo model is not installed, or the folder cannot be written to.
    """
    output = Output(folder)
    photo = bundled_photo()
    explanation = gs.Explainer(gs.load_model("demo"), name="demo")([photo.source], targets=gs.Top(2))
    records = output.write(photo, [explanation])
    path = folder / f"{_PHOTO}.figure.png"
    imaging.save(explanation.figure(), path)
    if as_json:
        say_json(records[0])
        return
    show(records, folder)
    say()
    say("Look at ", (str(path), "bold cyan"), ": the photo, and on it what spoke for each class.")
    say("Bright yellow is where most of it was; what is grey, the model was not shown.")
    say("Now a photo of yours: ", ("gradsight explain photo.jpg --top 3", "bold"))
    say((_CREDIT, "dim"))
