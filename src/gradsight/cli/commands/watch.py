"""``gradsight watch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradsight.cli import parsing
from gradsight.cli.groups import command
from gradsight.cli.options import (
    RESULT,
    WHAT,
    AxesOptions,
    ClassifierOptions,
    DrawingOptions,
    PictureOptions,
    ReplyOptions,
    TargetOptions,
)
from gradsight.errors import InvalidArgument

Source = Annotated[
    Path | None,
    typer.Argument(metavar="[SOURCE]", parser=parsing.path, help="A video, or a folder of pictures as frames."),
]


@command("gradsight watch video.mp4 --class tabby --out seen.mp4")
def watch(
    source: Source = None,
    *,
    camera: Annotated[
        int | None, WHAT.option(metavar="N", min=0, help="A camera in place of SOURCE, from 0 on; Ctrl-C ends it.")
    ] = None,
    method: Annotated[str, WHAT.option(metavar="METHOD", help="`gradsight methods` lists them.")] = "gradcam",
    layer: Annotated[str | None, WHAT.option(metavar="LAYER", help="Chosen by itself if not given.")] = None,
    every: Annotated[int, WHAT.option(metavar="N", min=1, help="Take every Nth frame.")] = 1,
    limit: Annotated[int | None, WHAT.option(metavar="N", min=1, help="End after so many frames.")] = None,
    target: TargetOptions,
    axes: AxesOptions,
    model: ClassifierOptions,
    picture: PictureOptions,
    out: Annotated[
        Path | None,
        RESULT.option(
            "--out",
            "-o",
            metavar="FILE|DIR",
            parser=parsing.path,
            help="A video (.mp4, .mkv, .mov), an animated .webp, or a folder; "
            "gradsight-out/SOURCE.watch.mp4 if not given.",
        ),
    ] = None,
    scale: Annotated[
        str,
        RESULT.option(
            metavar="video|running|own|NUMBER",
            help="What is drawn as hot as can be: the strongest of 16 frames, the strongest so far (as of a camera), "
            "each frame's own, or a raw value.",
        ),
    ] = "video",
    rate: Annotated[
        float, RESULT.option("--fps", metavar="N", help="Frames a second where the source says none: folders.")
    ] = 10.0,
    quality: Annotated[int, RESULT.option(metavar="1..100", min=1, max=100, help="Of what is written.")] = 90,
    max_side: Annotated[
        int | None, RESULT.option(metavar="PIXELS", min=1, help="Make frames smaller whose longer side is over this.")
    ] = None,
    drawing: DrawingOptions,
    reply: ReplyOptions,
) -> int:
    """Show what the model looks at in a video, frame by frame, with one scale over all frames.

    A video is written; nothing is shown while it runs, but with --preview in the terminal. --open shows the video at
    the end. With --json a line is printed for each frame. However it ends, what was done until then is kept.
    """
    import gradsight as gs
    from gradsight.checks import taken
    from gradsight.cli import making
    from gradsight.cli.targets import targets_of
    from gradsight.cli.watching import told
    from gradsight.files import check_apart
    from gradsight.watching.saving import RATE, Drawing, Saving
    from gradsight.watching.sinks import Form, opener_of
    from gradsight.watching.source import source_of

    # All that can be wrong with options is told before the model is loaded.
    watched: Path | int | None = source if camera is None else camera
    if watched is None or (source is not None and camera is not None):
        raise InvalidArgument("watch needs a video, a folder, or --camera N, and one of them alone.")
    wanted, look, methods = targets_of(target), drawing.look(), parsing.methods([method])
    path = out or Path("gradsight-out") / f"{_stem(source, camera)}.watch.mp4"
    check_apart(path, [] if source is None else [source], "--out", "what is watched")
    found = source_of(watched)
    taken("--fps", rate, RATE, "Pass --fps 25.")
    how = Drawing(**look, rate=rate, quality=quality, max_side=max_side)
    # Only to see whether it can be written so.
    opener_of(path, Form(rate, quality), "--out")
    Saving([], path, **how)
    explainer = making.explainer_of(model, picture, **axes.axes())
    frames = gs.watch(
        found,
        explainer,
        targets=wanted,
        method=methods[0],
        layer=layer,
        scale=parsing.number(scale),
        every=every,
        batch_size=model.batch_size,
    )
    return told(frames, path, how, limit=limit, preview=drawing.preview, reply=reply)


def _stem(source: Path | None, camera: int | None) -> str:
    return f"camera-{camera}" if source is None else source.resolve().stem
