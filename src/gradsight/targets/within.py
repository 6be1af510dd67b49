"""A class in a region, of whatever finds classes in regions: a box of a detector, pixels of a segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gradsight.targets.boxes import Box
from gradsight.targets.combined import resolve
from gradsight.targets.context import OutputContext
from gradsight.targets.pixels import Pixels
from gradsight.targets.resolved import ScoreSpec


@dataclass(frozen=True, eq=False)
class Within:
    """A class in a region: `Box` where the model is a detector and the region is a box, else `Pixels`.

    For who does not know, or does not care, which of them the model is: the command line's ``--box``.

    Attributes:
        which: the class, an index or a label.
        mask: as in `Pixels`.
        box: as in `Pixels`.
        point: as in `Pixels`.

    Raises:
        InvalidArgument: as `Pixels`.
        InvalidType: as `Pixels`.

    >>> Within("dog", box=(20, 60, 52, 100)).box
    (20.0, 60.0, 52.0, 100.0)
    """

    which: int | str
    mask: Any = None
    box: Sequence[float] | None = None
    point: Sequence[float] | None = None

    def __post_init__(self) -> None:
        # Held to the rules at once and not at the first photo; Pixels says what they are.
        pixels = self._pixels()
        for name in ("which", "mask", "box", "point"):
            object.__setattr__(self, name, getattr(pixels, name))

    def _pixels(self) -> Pixels:
        return Pixels(self.which, self.mask, self.box, self.point)

    def resolved(self, context: OutputContext) -> ScoreSpec:
        """See `resolve`."""
        if self.box is not None and context.detections(context.outputs) is not None:
            return resolve(Box(self.which, self.box), context)
        return resolve(self._pixels(), context)
