"""The commands and their options. Each parses, makes one call, and ends with its status."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import gradsight as gs
from gradsight.cli import options, texts
from gradsight.cli.streams import need_stdout
from gradsight.cli.terminal import complain, mistakes, say
from gradsight.cli.usage import Command, Commands
from gradsight.errors import ImageError

app = typer.Typer(
    name="gradsight",
    cls=Commands,
    help="Shows what a vision model looked at when it decided.",
    epilog="Start with: gradsight demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        with mistakes():
            need_stdout("--version")
        say(f"gradsight {gs.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    del version


@app.command(cls=Command, epilog="Example: gradsight demo --out pictures")
def demo(out: options.Out = Path("gradsight-out"), as_json: options.Json = False) -> None:
    """Explain a bundled photo with the embedded model."""
    from gradsight.cli.demo import run_demo

    with mistakes():
        run_demo(out, as_json=as_json)


@app.command(
    cls=Command,
    epilog="Example: gradsight explain photo.jpg --class tabby --class 243 --out pictures",
    no_args_is_help=True,
)
def explain(
    images: options.Photos,
    model: options.Model = "demo",
    weights: options.Weights = None,
    labels: options.Labels = None,
    text: options.Text = None,
    arg: options.Arg = None,
    layer: options.Layer = None,
    method: options.Method = None,
    class_: options.Class = None,
    top: options.Top = None,
    against: options.Against = None,
    rather_than: options.RatherThan = None,
    box: options.Box = None,
    point: options.Point = None,
    mask: options.Mask = None,
    like: options.Like = None,
    together: options.Together = False,
    layout: options.Layout = None,
    grid: options.Grid = None,
    batch_size: options.BatchSize = 32,
    probabilities: options.Probabilities = False,
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
    """Show what the model looked at in photos.

    Into DIR go PHOTO.METHOD.CLASS.png for each photo and class, and PHOTO.json with predictions and positions.
    """
    from gradsight.cli.explain import Output, each_photo
    from gradsight.cli.targets import targets_of

    with mistakes():
        targets = targets_of(class_, top, against, rather_than, box, point, mask, like, together)
        output = Output(out, colormap, options.number(opacity))
        picture = options.picture(fit, interpolation, size, mean, std, crop, preprocess)
        loading = {**options.loading(weights, labels, text, arg), **picture}
        settings = options.looking(layer or [], layout, grid, batch_size, probabilities)
        settings["method"] = options.methods(method or ["gradcam"])

        def explained() -> Any:
            explainer = gs.Explainer(gs.load_model(model, **loading), name=model, **settings)
            return lambda photo: explainer([photo.source], targets=targets)

        status = each_photo(images, explained, output, as_json=as_json)
    raise typer.Exit(status)


@app.command(
    cls=Command,
    epilog="Example: gradsight compare photo.jpg --methods gradcam,layercam --top 2 --out grid.png",
    no_args_is_help=True,
)
def compare(
    image: options.Photo,
    model: options.Model = "demo",
    weights: options.Weights = None,
    labels: options.Labels = None,
    text: options.Text = None,
    arg: options.Arg = None,
    methods: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Methods, with commas; if not given, those that take a few passes."),
    ] = None,
    method: Annotated[list[str] | None, typer.Option(metavar="METHOD", help="One more. Can be repeated.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every method; some take minutes to hours.")] = False,
    layers: Annotated[str | None, typer.Option(metavar="A,B,...", help="Layers, with commas.")] = None,
    layer: Annotated[list[str] | None, typer.Option(metavar="LAYER", help="One more. Can be repeated.")] = None,
    class_: options.Class = None,
    top: options.Top = None,
    against: options.Against = None,
    rather_than: options.RatherThan = None,
    box: options.Box = None,
    point: options.Point = None,
    mask: options.Mask = None,
    layout: options.Layout = None,
    grid: options.Grid = None,
    batch_size: options.BatchSize = 32,
    probabilities: options.Probabilities = False,
    fit: options.Fit = None,
    interpolation: options.Interpolation = None,
    size: options.Size = None,
    mean: options.Mean = None,
    std: options.Std = None,
    crop: options.Crop = None,
    preprocess: options.Preprocess = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            parser=options.path,
            help="The picture to write; gradsight-out/PHOTO.compare.png if not given.",
            rich_help_panel=options.RESULT_PANEL,
        ),
    ] = None,
    scale: Annotated[
        str,
        typer.Option(
            metavar="own|shared",
            help="Each map by its own strength, or all maps of a row by the strongest.",
            rich_help_panel=options.RESULT_PANEL,
        ),
    ] = "own",
    colormap: options.Colormap = None,
    opacity: options.Opacity = "value",
    as_json: options.Json = False,
) -> None:
    """Draw one photo as several methods, layers and classes see it: a row each way, a column each class.

    A method that does not fit the model says so in its row. The status is 1 only if it was asked for by name.
    """
    from gradsight.cli.compare import Drawing, chosen_methods, compare_methods
    from gradsight.cli.targets import targets_of

    with mistakes():
        targets = targets_of(class_, top, against, rather_than, box, point, mask)
        drawing = Drawing(image, out, scale, colormap, options.number(opacity))
        named = options.methods([*options.split(methods or ""), *(method or [])])
        chosen = chosen_methods(named, everything=everything)
        picture = options.picture(fit, interpolation, size, mean, std, crop, preprocess)
        loading = {**options.loading(weights, labels, text, arg), **picture}
        settings = options.looking(
            [*options.split(layers or ""), *(layer or [])], layout, grid, batch_size, probabilities
        )
        try:
            photo = drawing.read()
            explainer = gs.Explainer(gs.load_model(model, **loading), name=model, **settings)
            failed = compare_methods(explainer, photo, chosen, targets, drawing, as_json=as_json)
        except ImageError as error:
            complain(str(error), "Failed")
            raise typer.Exit(1) from error
    raise typer.Exit(1 if {method.name for method in failed} & {method.name for method in named} else 0)


@app.command(
    cls=Command,
    epilog="Example: gradsight neurons photo.jpg --concepts concepts --images holiday-photos",
    no_args_is_help=True,
)
def neurons(
    image: options.Photo,
    concepts: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE",
            parser=options.path,
            help="Photos of concepts to name channels by, NAME/photo.jpg or CATEGORY/NAME/photo.jpg, each with "
            "photo.mask.png beside it; or the dissection.npz of an earlier call.",
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="IMAGE|DIR",
            parser=options.path,
            help="Photos to search for what excites the channels; those of the concepts if not given. Can be repeated.",
        ),
    ] = None,
    count: Annotated[
        int, typer.Option(metavar="K", min=1, help="How many channels for the class, and how many against it.")
    ] = 5,
    by: Annotated[
        str,
        typer.Option(
            metavar="alpha|contribution",
            help="Rank channels by what more of them would do, as the paper does, or by what they did in this photo.",
        ),
    ] = "alpha",
    least: Annotated[
        float, typer.Option(metavar="IOU", min=0, max=1, help="How well a channel must detect a concept to be named.")
    ] = 0.04,
    quantile: Annotated[
        float,
        typer.Option(
            metavar="SHARE", help="Of all positions, those that a channel counts as active at: its strongest."
        ),
    ] = 0.005,
    model: options.Model = "demo",
    weights: options.Weights = None,
    labels: options.Labels = None,
    text: options.Text = None,
    arg: options.Arg = None,
    layer: Annotated[
        str | None,
        typer.Option(metavar="LAYER", help="Chosen by itself if not given; `gradsight layers` lists them."),
    ] = None,
    class_: options.Class = None,
    top: options.Top = None,
    rather_than: options.RatherThan = None,
    box: options.Box = None,
    point: options.Point = None,
    mask: options.Mask = None,
    layout: options.Layout = None,
    grid: options.Grid = None,
    batch_size: options.BatchSize = 32,
    probabilities: options.Probabilities = False,
    fit: options.Fit = None,
    interpolation: options.Interpolation = None,
    size: options.Size = None,
    mean: options.Mean = None,
    std: options.Std = None,
    crop: options.Crop = None,
    preprocess: options.Preprocess = None,
    out: options.Out = Path("gradsight-out"),
    examples: Annotated[
        int,
        typer.Option(
            metavar="K", min=1, help="How many photos to draw for each channel.", rich_help_panel=options.RESULT_PANEL
        ),
    ] = 4,
    as_json: options.Json = False,
) -> None:
    """Say which channels a decision rested on, name them by concepts, and draw the photos that excite them.

    Into DIR go PHOTO.neurons.CLASS.png for each class, and dissection.npz, which names channels without the photos.
    """
    from gradsight.cli.neurons import Asked, tell_neurons
    from gradsight.cli.targets import targets_of

    with mistakes():
        targets = targets_of(class_, top, None, rather_than, box, point, mask)
        asked = Asked(image, concepts, images or [], count, examples, least, by, quantile)
        picture = options.picture(fit, interpolation, size, mean, std, crop, preprocess)
        loading = {**options.loading(weights, labels, text, arg), **picture}
        settings = options.looking([layer] if layer else [], layout, grid, batch_size, probabilities)
        settings["layer"] = layer
        try:
            explainer = gs.Explainer(gs.load_model(model, **loading), name=model, **settings)
            failed = tell_neurons(explainer, targets, asked, out, as_json=as_json)
        except ImageError as error:
            complain(str(error), "Failed")
            raise typer.Exit(1) from error
    raise typer.Exit(1 if failed else 0)


app.command(cls=Command, epilog="Example: gradsight caption photo.jpg --model hf:NAME", no_args_is_help=True)(
    texts.caption
)
app.command(cls=Command, epilog="Example: gradsight ask photo.jpg 'what is it?' --model hf:NAME", no_args_is_help=True)(
    texts.ask
)
app.command(cls=Command, epilog="Example: gradsight similar photo.jpg other.jpg --out pictures", no_args_is_help=True)(
    texts.similar
)


@app.command(cls=Command, epilog="Example: gradsight layers --model torchvision:resnet50 --weights none")
def layers(
    image: Annotated[
        Path | None, typer.Argument(metavar="IMAGE", parser=options.path, help="The bundled photo if not given.")
    ] = None,
    model: options.Model = "demo",
    weights: options.Weights = None,
    labels: options.Labels = None,
    text: options.Text = None,
    arg: options.Arg = None,
    class_: options.Class = None,
    top: options.Top = None,
    against: options.Against = None,
    rather_than: options.RatherThan = None,
    box: options.Box = None,
    point: options.Point = None,
    mask: options.Mask = None,
    like: options.Like = None,
    together: options.Together = False,
    fit: options.Fit = None,
    interpolation: options.Interpolation = None,
    size: options.Size = None,
    mean: options.Mean = None,
    std: options.Std = None,
    crop: options.Crop = None,
    preprocess: options.Preprocess = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Not only the best ten.", rich_help_panel=options.RESULT_PANEL)
    ] = False,
    as_json: options.Json = False,
) -> None:
    """List the layers of a model that can be explained, the best first.

    A model without one row of class scores, such as a segmentation, needs what is to be explained, as `explain` does.
    """
    from gradsight.cli.demo import bundled_photo
    from gradsight.cli.listing import list_layers
    from gradsight.cli.targets import targets_of

    with mistakes():
        need_stdout("the list")
        targets = targets_of(class_, top, against, rather_than, box, point, mask, like, together)
        picture = options.picture(fit, interpolation, size, mean, std, crop, preprocess)
        loading = {**options.loading(weights, labels, text, arg), **picture}
        explainer = gs.Explainer(gs.load_model(model, **loading), name=model)
        try:
            photo = image or bundled_photo().source
            list_layers(explainer, photo, targets, everything=everything, as_json=as_json)
        except ImageError as error:
            complain(str(error), "Failed")
            raise typer.Exit(1) from error


@app.command(cls=Command, epilog="Example: gradsight methods --json")
def methods(as_json: options.Json = False) -> None:
    """List the methods."""
    from gradsight.cli.listing import list_methods

    with mistakes():
        need_stdout("the list")
        list_methods(as_json=as_json)


@app.command(cls=Command, epilog="Example: gradsight models --json")
def models(as_json: options.Json = False) -> None:
    """List where models can come from, and what is installed."""
    from gradsight.cli.listing import list_models

    with mistakes():
        need_stdout("the list")
        list_models(as_json=as_json)
