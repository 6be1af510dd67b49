"""The pictures of a training in their order: side by side, or one after the other."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from gradsight import imaging
from gradsight.checks import taken
from gradsight.errors import InvalidArgument, received
from gradsight.files import written
from gradsight.rules import Name, Number

_COLUMNS = 12
"""Moments in a filmstrip: more pictures beside each other are too small to see anything."""

_MOST = 96
"""Moments that are kept. Where there are more, every second one is let go of."""


@dataclass(frozen=True)
class Moment:
    """What the model looked at after one step.

    Attributes:
        step: which.
        pictures: a JPEG for each row.
        captions: what stands under each.
    """

    step: int
    pictures: tuple[bytes, ...]
    captions: tuple[str, ...]


@dataclass(eq=False)
class Film:
    """Pictures of the same photos at several moments, in bounded memory.

    Attributes:
        rows: what each row is called.
        moments: the first, the last, and what is kept between them.
    """

    rows: tuple[str, ...] = ()
    moments: list[Moment] = field(default_factory=list)
    _apart: int = 1
    _seen: int = 0

    def add(self, step: int, rows: Sequence[str], pictures: Sequence[Image.Image], captions: Sequence[str]) -> None:
        """Add a moment: a picture and a caption for each row."""
        # As JPEG: ninety decoded moments of a few photos would be hundreds of MB.
        self.rows = tuple(rows)
        moment = Moment(step, tuple(imaging.encoded(one, "JPEG", quality=85) for one in pictures), tuple(captions))
        # The last one always stays until the next comes: what the model looks at now is what is asked for most.
        if self.moments and (self._seen - 1) % self._apart:
            self.moments.pop()
        self.moments.append(moment)
        self._seen += 1
        if len(self.moments) > _MOST:
            # Those that stay are still equally far apart.
            self.moments = self.moments[::2]
            self._apart *= 2

    def strip(self, most: int = _COLUMNS) -> Image.Image:
        """The moments side by side, a row for each photo and target.

        Args:
            most: how many moments; the first and the last are among them, and the others lie evenly between.

        Raises:
            InvalidArgument: there is no moment yet.
        """
        chosen = self._chosen(most)
        pictures = [[Image.open(io.BytesIO(data)) for data in moment.pictures] for moment in chosen]
        rows = [
            imaging.Row(
                name, cells=[(made[i], moment.captions[i]) for made, moment in zip(pictures, chosen, strict=True)]
            )
            for i, name in enumerate(self.rows)
        ]
        return imaging.grid(None, [], [[f"step {moment.step}"] for moment in chosen], rows)

    def animate(self, path: str | os.PathLike[str], *, seconds: float = 0.4) -> None:
        """Write the moments one after the other, as an animated WebP.

        Args:
            path: of the file, which ends in ``.webp``.
            seconds: how long each is shown; the last one four times as long.

        Raises:
            InvalidArgument: there is no moment yet, or the file cannot be written.
        """
        path = Path(taken("path", path, Name()))
        if path.suffix.lower() != ".webp":
            raise InvalidArgument(f"`path` must end in .webp. {received(str(path))} Pass 'training.webp'.")
        each = round(1000 * taken("seconds", seconds, Number(least=0.01), "Pass 0.4."))
        frames = [self._frame(moment) for moment in self._chosen(len(self.moments))]
        # The last one is what the model looks at now: there is time to see it before the film begins again.
        times = [*[each] * (len(frames) - 1), 4 * each]
        with written(path) as file:
            frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=times, loop=0, quality=80)

    def _frame(self, moment: Moment) -> Image.Image:
        cells = [
            imaging.Row(name, cells=[(Image.open(io.BytesIO(data)), caption)])
            for name, data, caption in zip(self.rows, moment.pictures, moment.captions, strict=True)
        ]
        return imaging.grid(None, [], [[f"step {moment.step}"]], cells)

    def _chosen(self, most: int) -> list[Moment]:
        if not self.moments:
            raise InvalidArgument("a film needs a moment, and has none yet. Take one first: snapshots.take(model, 0).")
        last, count = len(self.moments) - 1, min(most, len(self.moments))
        return [self.moments[round(i * last / max(1, count - 1))] for i in range(count)]
