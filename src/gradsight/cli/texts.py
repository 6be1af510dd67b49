"""The commands about what a model writes, answers and finds alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import gradsight as gs
from gradsight.cli import options
from gradsight.cli.terminal import mistakes
from gradsight.errors import InvalidArgument, received
from gradsight.files import is_folder

Beginning = Annotated[
    str | None, typer.Option(metavar="TEXT", help="The caption's beginning.", rich_help_panel=options.MODEL_PANEL)
]
Best = Annotated[
    int | None,
    typer.Option(metavar="K", min=1, help="Explain the K best of the answers that the model chooses from."),
]


def caption(
    images: options.Photos,
    model: options.Model = "demo",
    weights: options.Weights = None,
    text: Beginning = None,
    arg: options.Arg = None,
    layer: options.Layer = None,
    method: options.Method = None,
    layout: options.Layout = None,
    grid: options.Grid = None,
    batch_size: options.BatchSize = 32,
    fit: options.Fit = None,
    interpolation: options.Interpolation = None,
    size: options.Size = None,
    mean: options.Mean = None,
    std: options.Std = None,
    crop: options.Crop = None,
    preprocess: options.Preprocess = None,
    out: options.Out = Path("gradsight-out"),
    colormap: options.Colormap = None,
    opacity: options.Opacity = "value",
    as_json: options.Json = False,
) -> None:
    """Let a model write captions of photos, and show what it looked at for every word.

    Into DIR go PHOTO.METHOD.caption.png, the photo and one map for each word, and PHOTO.caption.json.
    """
    from gradsight.cli.explain import Output, each_photo

    with mistakes():
        output = Output(out, colormap, options.number(opacity), "caption", strip=True)
        picture = options.picture(fit, interpolation, size, mean, std, crop, preprocess)
        loading = {**options.loading(weights, None, None, arg), **picture}
        settings = _settings(model, layer, method, layout, grid, batch_size)

        def explained() -> Any:
            loaded = gs.load_model(model, **loading)
            return lambda photo: gs.caption(photo.source, model=loaded, text=text, **settings)

        status = each_photo(images, explained, output, as_json=as_json)
    raise typer.Exit(status)


def ask(
    image: options.Photo,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="In quotation marks.")],
    model: options.Model = "demo",
    weights: options.Weights = None,
    labels: options.Labels = None,
    arg: options.Arg = None,
    layer: options.Layer = None,
    method: options.Method = None,
    top: Best = None,
    layout: options.Layout = None,
    grid: options.Grid = None,
    batch_size: options.BatchSize = 32,
    fit: options.Fit = None,
    interpolation: options.Interpolation = None,
    size: options.Size = None,
    mean: options.Mean = None,
    std: options.Std = None,
    crop: options.Crop = None,
    preprocess: options.Preprocess = None,
    out: options.Out = Path("gradsight-out"),
    colormap: options.Colormap = None,
    opacity: options.Opacity = "value",
    as_json: options.Json = False,
) -> None:
    """Ask a model about a photo, and show what it looked at for its answer.

    Into DIR go PHOTO.METHOD.answer.png, the photo and one map for each answer or word of it, and PHOTO.answer.json.
    """
    from gradsight.cli.explain import Output, each_photo

    with mistakes():
        _one_photo(image)
        output = Output(out, colormap, options.number(opacity), "answer", strip=True)
        picture = options.picture(fit, interpolation, size, mean, std, crop, preprocess)
        loading = {**options.loading(weights, labels, None, arg), **picture}
        settings = _settings(model, layer, method, layout, grid, batch_size)
        if top is not None:
            settings["targets"] = gs.Top(top)

        def explained() -> Any:
            loaded = gs.load_model(model, **loading)
            return lambda photo: gs.ask(photo.source, question, model=loaded, **settings)

        status = each_photo([image], explained, output, as_json=as_json)
    raise typer.Exit(status)


def similar(
    image: options.Photo,
    others: Annotated[list[str], typer.Argument(metavar="OTHER", help="Photos, folders of photos, or texts.")],
    model: options.Model = "demo",
    weights: options.Weights = None,
    arg: options.Arg = None,
    layer: options.Layer = None,
    method: options.Method = None,
    layout: options.Layout = None,
    grid: options.Grid = None,
    batch_size: options.BatchSize = 32,
    fit: options.Fit = None,
    interpolation: options.Interpolation = None,
    size: options.Size = None,
    mean: options.Mean = None,
    std: options.Std = None,
    crop: options.Crop = None,
    preprocess: options.Preprocess = None,
    out: options.Out = Path("gradsight-out"),
    colormap: options.Colormap = None,
    opacity: options.Opacity = "value",
    as_json: options.Json = False,
) -> None:
    """Show what makes a photo like others, and these like it; or like texts, for models that read them (CLIP).

    The score is the cosine of what the model gives of the two: embeddings, or else its class scores. Into DIR go
    PHOTO.METHOD.like_OTHER.png for both sides of each pair, and PHOTO.similar.json for each photo.
    """
    from gradsight.cli.explain import Output
    from gradsight.cli.similar import compare_photos

    with mistakes():
        _one_photo(image)
        output = Output(out, colormap, options.number(opacity), "similar")
        picture = options.picture(fit, interpolation, size, mean, std, crop, preprocess)
        loading = {**options.loading(weights, None, None, arg), **picture}
        settings = _settings(model, layer, method, layout, grid, batch_size)

        def explainer() -> gs.Explainer:
            return gs.Explainer(gs.load_model(model, **loading), **settings)

        status = compare_photos(image, others, explainer, output, as_json=as_json)
    raise typer.Exit(status)


def _settings(
    model: str, layer: list[str] | None, method: list[str] | None, layout: str | None, grid: str | None, batch_size: int
) -> dict[str, Any]:
    looking = options.looking(layer or [], layout, grid, batch_size, probabilities=False)
    return {**looking, "name": model, "method": options.methods(method or ["gradcam"])}


def _one_photo(image: Path) -> None:
    if is_folder(image):
        raise InvalidArgument(f"IMAGE must be one photo. {received(str(image))} It is a folder: name a file in it.")
