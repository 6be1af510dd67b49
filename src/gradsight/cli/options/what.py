"""What is explained: by which methods, at which layers, for which targets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

from gradsight.cli import parsing
from gradsight.cli.options.panels import WHAT

if TYPE_CHECKING:
    from gradsight.registry import Method


class Axes(TypedDict):
    """Keyword arguments of `Explainer` about the axes of layers."""

    layout: str | None
    grid: tuple[int, ...] | None


@dataclass(frozen=True)
class LookOptions:
    """By which methods, and at which layers."""

    layer: Annotated[
        list[str] | None,
        WHAT.option(
            metavar="LAYER",
            help="Chosen by itself if not given; `gradsight layers` lists them. Can be repeated.",
        ),
    ] = None
    method: Annotated[
        list[str] | None,
        WHAT.option(
            metavar="METHOD",
            help="gradcam if not given; `gradsight methods` lists them, and their options. Can be repeated.",
        ),
    ] = None

    def layers(self) -> list[str] | None:
        """The layers, each once; None to choose."""
        # Twice the same layer would write the same files twice.
        return list(dict.fromkeys(self.layer or [])) or None

    def methods(self) -> list[Method]:
        """The methods, each once.

        Raises:
            GradsightError: there is no such method or option, or the name cannot be read.
        """
        return parsing.methods(self.method or ["gradcam"])


@dataclass(frozen=True)
class AxesOptions:
    """How the axes of a layer are read, where its shape leaves that open."""

    layout: Annotated[
        str | None,
        WHAT.option(
            metavar="AXES",
            help="The layer's axes, if its shape leaves them open: channels_first, channels_last or tokens.",
        ),
    ] = None
    grid: Annotated[
        str | None,
        WHAT.option(metavar="N|HxW", help="What tokens fold to, if their number leaves it open."),
    ] = None

    def axes(self) -> Axes:
        """Keyword arguments of `Explainer`."""
        return {"layout": self.layout, "grid": parsing.sides(self.grid, "--grid")}


@dataclass(frozen=True)
class TargetOptions:
    """What is to be explained; `targets.targets_of` makes a target of it."""

    # `class` is a keyword of Python.
    class_: Annotated[
        list[str] | None,
        WHAT.option("--class", metavar="CLASS", help="A class to explain, by label or index. Can be repeated."),
    ] = None
    top: Annotated[
        int | None,
        WHAT.option(metavar="K", min=1, help="Explain the model's K best classes. 1 if not given."),
    ] = None
    against: Annotated[
        list[str] | None,
        WHAT.option(metavar="CLASS", help="What speaks against a class instead. Can be repeated."),
    ] = None
    rather_than: Annotated[
        list[str] | None,
        WHAT.option(
            metavar="CLASS",
            help="Why the class rather than this one: red speaks for the former, blue for the latter. Can be repeated.",
        ),
    ] = None
    box: Annotated[
        str | None,
        WHAT.option(
            metavar="T,L,B,R",
            help="The class in this box, its top, left, bottom and right in pixels of the photo: of a "
            "detector the prediction that overlaps it best, of a segmentation its score there.",
        ),
    ] = None
    point: Annotated[
        str | None,
        WHAT.option(metavar="ROW,COLUMN", help="Of a segmentation: the class at this pixel of the photo."),
    ] = None
    mask: Annotated[
        Path | None,
        WHAT.option(
            metavar="FILE",
            parser=parsing.path,
            help="Of a segmentation: the class where this picture is white, as large as the photo.",
        ),
    ] = None
    like: Annotated[
        list[str] | None,
        WHAT.option(
            metavar="TEXT|FILE",
            help="What makes it like another photo, or, for models that read texts, like a text. Can be repeated.",
        ),
    ] = None
    together: Annotated[
        bool,
        WHAT.option("--together", help="The classes given are one, the sum of their scores: any of them."),
    ] = False
