"""What is measured, and what is known of photos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from gradsight.cli import parsing
from gradsight.cli.options.panels import WHAT


@dataclass(frozen=True)
class MeasureOptions:
    """By which metrics, of which methods, at which layers."""

    method: Annotated[
        list[str] | None,
        WHAT.option(metavar="METHOD", help="Those of a few passes if not given; controls always. Can be repeated."),
    ] = None
    metric: Annotated[
        list[str] | None,
        WHAT.option(metavar="METRIC", help="`gradsight metrics` lists them, and their options. Can be repeated."),
    ] = None
    layer: Annotated[
        list[str] | None,
        WHAT.option(metavar="LAYER", help="Chosen by itself if not given. Can be repeated."),
    ] = None
    seed: Annotated[int, WHAT.option(metavar="N", min=0, help="Of all that is drawn.")] = 0


@dataclass(frozen=True)
class PlaceOptions:
    """Where things are on photos."""

    boxes: Annotated[
        Path | None,
        WHAT.option(
            metavar="FILE|DIR",
            parser=parsing.path,
            help="COCO JSON, a CSV, or a folder of YOLO's or Pascal VOC's files.",
        ),
    ] = None
    masks: Annotated[
        Path | None,
        WHAT.option(
            metavar="DIR", parser=parsing.path, help="Pictures with the photos' names, black beside the thing."
        ),
    ] = None
    class_map: Annotated[
        Path | None,
        WHAT.option(metavar="FILE", parser=parsing.path, help='What labels of boxes mean: {"bird": [7, 8]} as JSON.'),
    ] = None
