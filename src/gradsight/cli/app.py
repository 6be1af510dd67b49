"""The commands and their options. Each parses, makes one call, and ends with its status."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

import gradsight as gs
from gradsight.cli.terminal import complain, mistakes, say
from gradsight.errors import ImageError, InvalidArgument, received

app = typer.Typer(
    name="gradsight",
    help="Shows what a vision model looked at when it decided.",
    epilog="Start with: gradsight demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_MODEL, _PICTURE, _RESULT = "The model", "The picture as the model gets it", "The result"

Model = Annotated[
    str, typer.Option("--model", "-m", metavar="MODEL", help="`gradsight models` lists them.", rich_help_panel=_MODEL)
]
Weights = Annotated[
    str | None,
    typer.Option(metavar="FILE|NAME", help="Weights to put into the model.", rich_help_panel=_MODEL),
]
Labels = Annotated[
    str | None,
    typer.Option(metavar="FILE|FOLDER|imagenet", help="The names of the classes.", rich_help_panel=_MODEL),
]
Fit = Annotated[
    str | None,
    typer.Option(metavar="crop|squash|letterbox", help="How it is brought to its size.", rich_help_panel=_PICTURE),
]
Size = Annotated[
    str | None,
    typer.Option(metavar="N|HxW", help="Its size in pixels, such as 224 or 240x320.", rich_help_panel=_PICTURE),
]
Mean = Annotated[
    str | None,
    typer.Option(metavar="A,B,C", help="Subtracted from pixels in 0..1; one number: grey.", rich_help_panel=_PICTURE),
]
Std = Annotated[
    str | None,
    typer.Option(metavar="A,B,C", help="Divides them after that.", rich_help_panel=_PICTURE),
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="The folder to write to.", rich_help_panel=_RESULT)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.", rich_help_panel=_RESULT)]


def _version(wanted: bool) -> None:
    if wanted:
        say(f"gradsight {gs.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    del version


@app.command(epilog="Example: gradsight demo --out pictures")
def demo(out: Out = Path("gradsight-out"), as_json: Json = False) -> None:
    """Explain a bundled photo with the embedded model."""
    from gradsight.cli.demo import run_demo

    with mistakes():
        run_demo(out, as_json=as_json)


@app.command(
    epilog="Example: gradsight explain photo.jpg --class tabby --class 243 --out pictures", no_args_is_help=True
)
def explain(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Photos, or folders of photos.")],
    model: Model = "demo",
    weights: Weights = None,
    labels: Labels = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER", help="Chosen by itself if not given; `gradsight layers` lists them. Can be repeated."
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="METHOD", help="gradcam if not given; `gradsight methods` lists them. Can be repeated."),
    ] = None,
    class_: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="CLASS", help="A class to explain, by label or index. Can be repeated."),
    ] = None,
    top: Annotated[
        int | None, typer.Option(metavar="K", min=1, help="Explain the model's K best classes. 1 if not given.")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="channels_first|channels_last|tokens", help="The layer's axes, if its shape leaves them open."
        ),
    ] = None,
    grid: Annotated[
        str | None, typer.Option(metavar="HxW", help="What tokens fold to, if their number leaves it open.")
    ] = None,
    fit: Fit = None,
    size: Size = None,
    mean: Mean = None,
    std: Std = None,
    out: Out = Path("gradsight-out"),
    colormap: Annotated[
        str,
        typer.Option(metavar="NAME", help="plasma, viridis, turbo, or any name of cmap.", rich_help_panel=_RESULT),
    ] = "plasma",
    opacity: Annotated[
        str,
        typer.Option(
            metavar="value|0..1", help="Of the colours: by value, or everywhere the same.", rich_help_panel=_RESULT
        ),
    ] = "value",
    as_json: Json = False,
) -> None:
    """Show what the model looked at in photos.

    Into DIR go PHOTO.METHOD.CLASS.png for each photo and class, and PHOTO.json with predictions and positions.
    """
    from gradsight.cli.explain import Output, explain_photos
    from gradsight.cli.naming import find_photos
    from gradsight.registry import METHODS

    with mistakes():
        targets = _targets(class_, top)
        methods = [METHODS[name].name for name in dict.fromkeys(method or ["gradcam"])]
        output = Output(out, colormap, _number(opacity))
        loading = _loading(weights=weights, labels=labels, fit=fit, size=size, mean=mean, std=std)
        options: dict[str, Any] = {"layer": list(dict.fromkeys(layer or [])) or None, "layout": layout}
        options["grid"] = _sides(grid, "--grid")
        photos, errors = find_photos(images)
        for error in errors:
            complain(str(error), "Failed")
        failed = len(errors)
        if photos:
            explainer = gs.Explainer(gs.load_model(model, **loading), name=model, method=methods, **options)
            failed += explain_photos(explainer, photos, targets, output, as_json=as_json)
    total = len(photos) + len(errors)
    if failed < total and not as_json:
        say("The pictures and their JSON are in ", (str(out), "bold cyan"))
    if failed and total > 1:
        complain(
            f"{failed} of {total} images; the others are done." if failed < total else f"all {total} images.", "Failed"
        )
    raise typer.Exit(1 if failed else 0)


@app.command(epilog="Example: gradsight layers --model torchvision:resnet50 --weights none")
def layers(
    image: Annotated[Path | None, typer.Argument(metavar="IMAGE", help="The bundled photo if not given.")] = None,
    model: Model = "demo",
    weights: Weights = None,
    fit: Fit = None,
    size: Size = None,
    mean: Mean = None,
    std: Std = None,
    everything: Annotated[bool, typer.Option("--all", help="Not only the best ten.", rich_help_panel=_RESULT)] = False,
    as_json: Json = False,
) -> None:
    """List the layers of a model that can be explained, the best first."""
    from gradsight.cli.demo import bundled_photo
    from gradsight.cli.listing import list_layers

    with mistakes():
        loading = _loading(weights=weights, fit=fit, size=size, mean=mean, std=std)
        explainer = gs.Explainer(gs.load_model(model, **loading), name=model)
        try:
            list_layers(explainer, image or bundled_photo().source, everything=everything, as_json=as_json)
        except ImageError as error:
            complain(str(error), "Failed")
            raise typer.Exit(1) from error


@app.command(epilog="Example: gradsight methods --json")
def methods(as_json: Json = False) -> None:
    """List the methods."""
    from gradsight.cli.listing import list_methods

    with mistakes():
        list_methods(as_json=as_json)


@app.command(epilog="Example: gradsight models --json")
def models(as_json: Json = False) -> None:
    """List where models can come from, and what is installed."""
    from gradsight.cli.listing import list_models

    with mistakes():
        list_models(as_json=as_json)


def _targets(classes: list[str] | None, top: int | None) -> Any:
    if classes and top is not None:
        raise InvalidArgument("--class and --top exclude each other: name the classes, or ask for the best ones.")
    return gs.Classes(*dict.fromkeys(classes)) if classes else gs.Top(top or 1)


def _loading(
    *, size: str | None = None, mean: str | None = None, std: str | None = None, **texts: str | None
) -> dict[str, Any]:
    """The keyword arguments of `load_model`."""
    return {
        **texts,
        "size": _sides(size, "--size", one=True),
        "mean": _numbers(mean, "--mean"),
        "std": _numbers(std, "--std"),
    }


def _sides(text: str | None, option: str, *, one: bool = False) -> tuple[int, int] | None:
    """``"240x320"`` to (240, 320); with ``one``, ``"224"`` to (224, 224)."""
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,5})(?:[xX×]([1-9]\d{0,5}))?", text.strip())
    if found is None or (found[2] is None and not one):
        raise InvalidArgument(
            f"{option} must be {'N or ' if one else ''}HxW. {received(text)} Pass {option} {'224' if one else '14x14'}."
        )
    return int(found[1]), int(found[2] or found[1])


def _numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        way_out = f"Pass {option} 0.5 or {option} 0.5,0.5,0.5."
        raise InvalidArgument(f"{option} must be one number or three. {received(text)} {way_out}") from None


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
