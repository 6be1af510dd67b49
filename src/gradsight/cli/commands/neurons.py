"""``gradsight neurons``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from gradsight.cli import parsing
from gradsight.cli.groups import command
from gradsight.cli.options import (
    RESULT,
    WHAT,
    AxesOptions,
    ClassifierOptions,
    Image,
    PictureOptions,
    ReplyOptions,
    TargetOptions,
    ViewOptions,
)


@command("gradsight neurons photo.jpg --concepts concepts --images holiday-photos")
def neurons(
    image: Image,
    *,
    concepts: Annotated[
        Path | None,
        WHAT.option(
            metavar="DIR|FILE",
            parser=parsing.path,
            help="Photos of concepts to name channels by, NAME/photo.jpg or CATEGORY/NAME/photo.jpg, each with "
            "photo.mask.png beside it; or the dissection.npz of an earlier call.",
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        WHAT.option(
            metavar="IMAGE|DIR",
            parser=parsing.path,
            help="Photos to search for what excites the channels; those of the concepts if not given. Can be repeated.",
        ),
    ] = None,
    count: Annotated[
        int, WHAT.option(metavar="K", min=1, help="How many channels for the class, and how many against it.")
    ] = 5,
    by: Annotated[
        str,
        WHAT.option(
            metavar="WORD",
            help="Rank channels by alpha, what more of them would do, as the paper does, or by contribution, what they "
            "did in this photo.",
        ),
    ] = "alpha",
    least: Annotated[
        float, WHAT.option(metavar="IOU", min=0, max=1, help="How well a channel must detect a concept to be named.")
    ] = 0.04,
    quantile: Annotated[
        float,
        WHAT.option(metavar="SHARE", help="Of all positions, those that a channel counts as active at: its strongest."),
    ] = 0.005,
    layer: Annotated[
        str | None,
        WHAT.option(metavar="LAYER", help="Chosen by itself if not given; `gradsight layers` lists them."),
    ] = None,
    out: Annotated[
        Path, RESULT.option("--out", "-o", metavar="DIR", parser=parsing.path, help="The folder to write to.")
    ] = Path("gradsight-out"),
    examples: Annotated[int, RESULT.option(metavar="K", min=1, help="How many photos to draw for each channel.")] = 4,
    target: TargetOptions,
    axes: AxesOptions,
    model: ClassifierOptions,
    picture: PictureOptions,
    view: ViewOptions,
    reply: ReplyOptions,
) -> int:
    """Say which channels a decision rested on, name them by concepts, and draw the photos that excite them.

    Into DIR go PHOTO.neurons.CLASS.png for each class, and dissection.npz, which names channels without the photos.
    """
    # What they show is known by what is written (`viewing`).
    del view
    from gradsight.cli import making
    from gradsight.cli.given import one_photo
    from gradsight.cli.neurons import Asked, tell_neurons
    from gradsight.cli.output import Output
    from gradsight.cli.targets import targets_of

    wanted = targets_of(target)
    asked = Asked(one_photo(image, "neurons"), concepts, images or [], count, examples, least, by, quantile)
    # Made before the model is loaded: it sees whether the folder can be written to.
    output = Output(out)
    explainer = making.explainer_of(model, picture, layer=layer, **axes.axes())
    return 1 if tell_neurons(explainer, wanted, asked, output, reply) else 0
