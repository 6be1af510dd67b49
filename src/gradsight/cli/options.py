"""The options that commands share, and what their texts mean."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gradsight.checks import optional, taken
from gradsight.cli.streams import need_stdout
from gradsight.cli.terminal import mistakes
from gradsight.errors import InvalidArgument, received
from gradsight.limits import INPUT_PIXELS
from gradsight.rules import Each, Number, Sides


def path(text: str | Path) -> Path:
    """A path as it is given: Typer would end the command for one photo that cannot be read.

    Raises:
        BadParameter: it is empty, as where a variable of the shell is not set; Path takes that for the current folder.
    """
    if not str(text):
        raise typer.BadParameter("a path must not be empty.")
    return Path(text)


MODEL_PANEL, PICTURE_PANEL, RESULT_PANEL = "The model", "The picture as the model gets it", "The result"

Model = Annotated[
    str,
    typer.Option("--model", "-m", metavar="MODEL", help="`gradsight models` lists them.", rich_help_panel=MODEL_PANEL),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|NAME",
        help="A file of weights, or a name that the source knows: imagenet, none.",
        rich_help_panel=MODEL_PANEL,
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(metavar="FILE|FOLDER|imagenet", help="The names of the classes.", rich_help_panel=MODEL_PANEL),
]
Text = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="What a model that reads a text beside the photo is given: a question, or a caption's beginning.",
        rich_help_panel=MODEL_PANEL,
    ),
]
Arg = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="An argument of package.module:function: a number, true, false, none, or a text. Can be repeated.",
        rich_help_panel=MODEL_PANEL,
    ),
]
Fit = Annotated[
    str | None,
    typer.Option(
        metavar="crop|squash|letterbox|keep|none", help="How it is brought to its size.", rich_help_panel=PICTURE_PANEL
    ),
]
Interpolation = Annotated[
    str | None,
    typer.Option(
        metavar="nearest|bilinear|bicubic|lanczos|box", help="How it is resized.", rich_help_panel=PICTURE_PANEL
    ),
]
Size = Annotated[
    str | None,
    typer.Option(metavar="N|HxW", help="Its size in pixels, such as 224 or 240x320.", rich_help_panel=PICTURE_PANEL),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,C", help="Subtracted from pixels in 0..1; one number: grey.", rich_help_panel=PICTURE_PANEL
    ),
]
Std = Annotated[
    str | None,
    typer.Option(metavar="A,B,C", help="Divides them after that.", rich_help_panel=PICTURE_PANEL),
]
Crop = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="How much of its resized shorter side is seen, such as 0.875.",
        rich_help_panel=PICTURE_PANEL,
    ),
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|package.module:function",
        help="In place of mean and std: a family of keras.applications, such as resnet50, or a function of yours that "
        "gets float32 (height, width, 3), RGB in 0..255.",
        rich_help_panel=PICTURE_PANEL,
    ),
]
Layer = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LAYER", help="Chosen by itself if not given; `gradsight layers` lists them. Can be repeated."
    ),
]
Method = Annotated[
    list[str] | None,
    typer.Option(
        metavar="METHOD",
        help="gradcam if not given; `gradsight methods` lists them, and their options. Can be repeated.",
    ),
]
Layout = Annotated[
    str | None,
    typer.Option(
        metavar="channels_first|channels_last|tokens", help="The layer's axes, if its shape leaves them open."
    ),
]
Grid = Annotated[str | None, typer.Option(metavar="N|HxW", help="What tokens fold to, if their number leaves it open.")]
Class = Annotated[
    list[str] | None,
    typer.Option("--class", metavar="CLASS", help="A class to explain, by label or index. Can be repeated."),
]
Top = Annotated[
    int | None, typer.Option(metavar="K", min=1, help="Explain the model's K best classes. 1 if not given.")
]
Against = Annotated[
    list[str] | None, typer.Option(metavar="CLASS", help="What speaks against a class instead. Can be repeated.")
]
RatherThan = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CLASS",
        help="Why the class rather than this one: red speaks for the former, blue for the latter. Can be repeated.",
    ),
]
Like = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT|FILE",
        help="What makes it like another photo, or, for models that read texts, like a text. Can be repeated.",
    ),
]
Together = Annotated[
    bool, typer.Option("--together", help="The classes given are one, the sum of their scores: any of them.")
]
Box = Annotated[
    str | None,
    typer.Option(
        metavar="TOP,LEFT,BOTTOM,RIGHT",
        help="The class in this box, in pixels of the photo: of a detector the prediction that overlaps it best, of a "
        "segmentation its score there.",
    ),
]
Point = Annotated[
    str | None,
    typer.Option(metavar="ROW,COLUMN", help="Of a segmentation: the class at this pixel of the photo."),
]
Mask = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        parser=path,
        help="Of a segmentation: the class where this picture is white, as large as the photo.",
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=1,
        help="How many variations of a photo go through the model at once.",
        rich_help_panel=MODEL_PANEL,
    ),
]
Probabilities = Annotated[
    bool,
    typer.Option(
        "--probabilities",
        help="Explain probabilities of a Keras model that ends in softmax or sigmoid, not the logits before.",
        rich_help_panel=MODEL_PANEL,
    ),
]
Colormap = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="plasma, viridis, turbo, or any name of cmap; bwr where both signs count.",
        rich_help_panel=RESULT_PANEL,
        show_default="plasma",
    ),
]
Opacity = Annotated[
    str,
    typer.Option(
        metavar="value|0..1", help="Of the colours: by value, or everywhere the same.", rich_help_panel=RESULT_PANEL
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out", "-o", metavar="DIR", parser=path, help="The folder to write to.", rich_help_panel=RESULT_PANEL
    ),
]


def _json(wanted: bool) -> bool:
    if wanted:
        with mistakes():
            need_stdout("--json")
    return wanted


Json = Annotated[
    bool,
    typer.Option("--json", callback=_json, help="Print JSON, one object a line.", rich_help_panel=RESULT_PANEL),
]
Photo = Annotated[Path, typer.Argument(metavar="IMAGE", parser=path, help="A photo.")]
Photos = Annotated[list[Path], typer.Argument(metavar="IMAGE", parser=path, help="Photos, or folders of photos.")]


def methods(names: Sequence[str]) -> list[Any]:
    """Methods by name, variants included, each once.

    Raises:
        GradsightError: there is no such method or option, or the name cannot be read.
    """
    from gradsight.variants import as_method

    found = [as_method(name) for name in names]
    return list({method.name: method for method in found}.values())


def split(text: str) -> list[str]:
    """``"gradcam, fuse(layercam, by='max')"`` at the commas outside of brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    found = [part.strip() for part in parts if part.strip()]
    if text and not found:
        raise InvalidArgument(f"a list with commas must hold something. {received(text)} Leave it out.")
    return found


def looking(
    layers: Sequence[str], layout: str | None, grid: str | None, batch_size: int, probabilities: bool
) -> dict[str, Any]:
    """Keyword arguments of `Explainer`: where to look, how many rows at once, and at what scores."""
    return {
        "layer": list(dict.fromkeys(layers)) or None,
        "layout": layout,
        "grid": sides(grid, "--grid"),
        "batch_size": batch_size,
        "probabilities": probabilities,
    }


def loading(weights: str | None, labels: str | None, text: str | None, arg: list[str] | None) -> dict[str, Any]:
    """Keyword arguments of `load_model`: the model."""
    return {"weights": weights, "labels": labels, "text": text, "arguments": dict(map(argument, arg or []))}


def argument(text: str) -> tuple[str, Any]:
    """``"depth=3"`` to ("depth", 3): what reads as a Python number, truth value, None, list or quoted text is one."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip().isidentifier():
        raise InvalidArgument(f"--arg must be name=value. {received(text)} Pass --arg depth=3.")
    words = {"true": True, "false": False, "none": None}
    try:
        return name.strip(), words[value.lower()] if value.lower() in words else ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # such as {[]: 1}
        return name.strip(), value


def picture(
    fit: str | None,
    interpolation: str | None,
    size: str | None,
    mean: str | None,
    std: str | None,
    crop: float | None,
    preprocess: str | None,
) -> dict[str, Any]:
    """Keyword arguments of `load_model`: the picture as the model gets it."""
    return {
        "crop": crop,
        "fit": fit,
        "interpolation": interpolation,
        "size": sides(size, "--size"),
        "mean": numbers(mean, "--mean"),
        "std": numbers(std, "--std"),
        "preprocess": preprocess,
    }


def sides(text: str | None, option: str) -> tuple[int, ...] | None:
    """``"240x320"`` to (240, 320), and ``"224"`` to (224, 224)."""
    if text is None:
        return None
    parts = [int(part) if part.isdecimal() and len(part) < 10 else text for part in re.split("[xX×]", text.strip())]
    way_out = f"Pass {option} 14 or {option} 12x16."
    height, width = taken(option, parts if len(parts) > 1 else parts[0], Sides(), way_out)
    INPUT_PIXELS.check(height * width, f"{option} {text} is too large: {height * width:,} pixels")
    return height, width


def numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    """``"0.5,0.5,0.5"`` as numbers."""
    found = None if text is None else [number(part) for part in text.split(",")]
    rule = Each(Number(), (1, 3), "one number (grey) or three (RGB)")
    return optional(option, found, rule, f"Pass {option} 0.5 or {option} 0.5,0.5,0.5.")


def number(text: str) -> str | float:
    """A number, or the word that it is not."""
    try:
        return float(text)
    except ValueError:
        return text
