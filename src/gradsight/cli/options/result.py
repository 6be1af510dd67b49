"""What becomes of the results: pictures, files, words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypedDict

import typer

from gradsight.cli import parsing
from gradsight.cli.options.panels import RESULT
from gradsight.cli.streams import need_stdout
from gradsight.cli.terminal import mistakes
from gradsight.errors import InvalidArgument

_DEFAULT_OUT = Path("gradsight-out")

Image = Annotated[Path, typer.Argument(metavar="IMAGE", parser=parsing.path, help="A photo; - for stdin.")]
Images = Annotated[
    list[Path], typer.Argument(metavar="IMAGE", parser=parsing.path, help="Photos, or folders of photos; - for stdin.")
]


class Look(TypedDict):
    """Keyword arguments of `Explanation.overlay` and of what else draws maps."""

    colormap: str | None
    opacity: str | float


@dataclass(frozen=True)
class ViewOptions:
    """Whether what was drawn is shown too."""

    opened: Annotated[
        bool, RESULT.option("--open", help="Show the picture in the system's viewer; of several, their folder.")
    ] = False
    preview: Annotated[
        bool, RESULT.option("--preview", help="Draw it in the terminal too, in its own graphics or in coloured blocks.")
    ] = False


@dataclass(frozen=True)
class DrawingOptions(ViewOptions):
    """How maps are drawn on photos."""

    colormap: Annotated[
        str | None,
        RESULT.option(
            metavar="NAME",
            help="plasma if not given, viridis, turbo, or any name of cmap; bwr where both signs count.",
        ),
    ] = None
    # A text, since it is a word or a number; `parsing.number` tells them apart.
    opacity: Annotated[
        str,
        RESULT.option(metavar="value|0..1", help="Of the colours: by value, or everywhere the same."),
    ] = "value"

    def look(self) -> Look:
        """Keyword arguments of what draws.

        Raises:
            GradsightError: there is no such colour map or opacity.
        """
        # Here, since it imports Pillow, which `--help` does not wait for.
        from gradsight.comparing import check_drawing

        opacity = parsing.number(self.opacity)
        check_drawing(self.colormap, opacity)
        return {"colormap": self.colormap, "opacity": opacity}


@dataclass(frozen=True)
class FileOptions:
    """How pictures are written."""

    format: Annotated[
        str | None,
        RESULT.option(
            metavar="png|jpg|webp",
            help="Of pictures; if not given, that of the photo where it is a JPEG, or else png.",
        ),
    ] = None
    quality: Annotated[int, RESULT.option(metavar="1..100", min=1, max=100, help="Of jpg and webp.")] = 90
    max_side: Annotated[
        int | None,
        RESULT.option(metavar="PIXELS", min=1, help="Make pictures smaller whose longer side is over this."),
    ] = None

    def suffix(self) -> str | None:
        """What the names of pictures end in; None to follow the photo.

        Raises:
            InvalidArgument: it is none of the formats that pictures are written in.
        """
        if self.format is None:
            return None
        # ".PNG" and "jpeg" are meant as well.
        suffix = parsing.PICTURES.get(f".{self.format.lower().lstrip('.')}")
        if suffix is None:
            raise InvalidArgument(f"--format must be png, jpg or webp. Received: {self.format!r}. Pass --format png.")
        return suffix


@dataclass(frozen=True)
class FolderOptions:
    """Where the results of several photos go, and what becomes of those that are there."""

    out: Annotated[
        Path,
        RESULT.option(
            "--out",
            "-o",
            metavar="DIR",
            parser=parsing.path,
            help="The folder to write to, laid out as the folders of the photos are.",
        ),
    ] = _DEFAULT_OUT
    overwrite: Annotated[
        bool,
        RESULT.option("--overwrite", help="Replace results of other photos or models in DIR."),
    ] = False


@dataclass(frozen=True)
class PhotosOptions:
    """Which photos of folders are explained."""

    recursive: Annotated[
        bool,
        RESULT.option("--recursive/--no-recursive", help="Look into the folders of a folder too."),
    ] = True
    resume: Annotated[
        bool,
        RESULT.option(
            "--resume",
            help="Leave out photos for which this was done before: go on where an earlier call ended.",
        ),
    ] = False


def _json(wanted: bool) -> bool:
    if wanted:
        with mistakes():
            # Before the model is loaded: nobody could read the result.
            need_stdout("--json")
    return wanted


@dataclass(frozen=True)
class JsonOptions:
    """Whether stdout is for people or for programs."""

    as_json: Annotated[
        bool,
        RESULT.option("--json", callback=_json, help="Print JSON, one object a line."),
    ] = False


@dataclass(frozen=True)
class ReplyOptions(JsonOptions):
    """What goes to stdout."""

    quiet: Annotated[bool, RESULT.option("--quiet", "-q", help="Print nothing but what went wrong.")] = False

    def __post_init__(self) -> None:
        if self.as_json and self.quiet:
            raise InvalidArgument("--quiet and --json exclude each other: one prints nothing, the other JSON.")
