"""What is measured, and what is known of photos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from gradsight.cli import parsing
from gradsight.cli.options.panels import MODEL, WHAT

if TYPE_CHECKING:
    from gradsight.auditing.audit import Audit
    from gradsight.runs.opened import Run


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


@dataclass(frozen=True)
class AuditOptions(PlaceOptions):
    """What an audit knows beside the run."""

    model: Annotated[
        str | None,
        MODEL.option(
            "--model", "-m", metavar="MODEL", help="The run's model; the one that the run names if not given."
        ),
    ] = None
    against: Annotated[
        Path | None,
        WHAT.option(metavar="RUN2", parser=parsing.path, help="Another run of the photos: what is other there."),
    ] = None
    photos: Annotated[
        Path | None,
        WHAT.option(metavar="DIR", parser=parsing.path, help="Where the photos are now, if they were moved."),
    ] = None
    most: Annotated[
        int, WHAT.option(metavar="N", min=0, help="How many suspects are tested at most; 0 takes no model.")
    ] = 24

    def audit(self, run: Run, *, seed: int = 0) -> Audit:
        """What is found."""
        import gradsight as gs

        return gs.audit(
            run,
            self.model,
            boxes=self.boxes,
            masks=self.masks,
            class_map=self.class_map,
            against=self.against,
            most=self.most,
            seed=seed,
        )
