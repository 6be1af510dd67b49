"""What an evaluation found, as a value."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PIL import Image

from gradsight import imaging
from gradsight.cached import cached_property
from gradsight.checks import taken
from gradsight.errors import MissingDependency
from gradsight.evaluating.figure import figure_of
from gradsight.evaluating.page import page_of
from gradsight.evaluating.rows import Measured, Row, Unmeasured, every_of, with_figures
from gradsight.evaluating.summary import Summary, images_of, pairs_of, summary_of
from gradsight.rules import Text, Whole
from gradsight.significance import Pair

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Evaluation:
    """How far the maps of several methods can be trusted on a set of photos.

    Attributes:
        rows: a figure for each image, target, layer, method and metric.
        model: the model's name.
        seed: of whatever was drawn.
        failed: the photos that could not be measured, and why.
        left_out: the methods that fit the model not, each with why.
        notes: what else its reader must know, in words: what is explained, boxes that fit no photo.

    >>> from gradsight.evaluating.example import example
    >>> evaluation = example()
    >>> best = min(evaluation.summary, key=lambda one: one.rank)
    >>> best.method, best.metric, best.n
    ('gradcam', 'pointing', 8)
    """

    rows: tuple[Row, ...]
    model: str = ""
    seed: int = 0
    failed: tuple[Unmeasured, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        # Here, and not where they are first used: a figure is drawn long after the mistake.
        every_of("rows", self.rows, Row, "rows of an evaluation")
        every_of("failed", self.failed, Unmeasured, "photos that could not be measured")
        every_of("notes", self.notes, str, "texts")
        every_of("left_out", self.left_out, tuple, "pairs of a method's name and a reason")
        taken("model", self.model, Text())
        taken("seed", self.seed, Whole(0))

    @classmethod
    def of(
        cls,
        measured: tuple[Measured, ...],
        model: str = "",
        seed: int = 0,
        failed: tuple[Unmeasured, ...] = (),
        left_out: tuple[tuple[str, str], ...] = (),
        notes: tuple[str, ...] = (),
    ) -> Evaluation:
        """Of photos that were measured, with the figures of metrics of sets."""
        every_of("measured", measured, Measured, "photos that were measured")
        every_of("notes", notes, str, "texts")
        problems = tuple(f"{one.image}: {problem}" for one in measured for problem in one.problems)
        rows = with_figures([row for one in measured for row in one.rows])
        return cls(rows, model, seed, failed, left_out, (*notes, *problems))

    @property
    def images(self) -> tuple[str, ...]:
        """The names of the photos that were measured."""
        return images_of(self.rows)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics, which tell their options where these are not the defaults."""
        return tuple(dict.fromkeys(row.metric for row in self.rows))

    @cached_property
    def summary(self) -> tuple[Summary, ...]:
        """The figure of each layer, method and metric, with its interval over images, its rank and p against random."""
        return summary_of(self.rows, self.seed)

    @cached_property
    def pairs(self) -> dict[str, tuple[Pair, ...]]:
        """By metric, each two methods tested on the same images, p corrected by Holm; the controls are left out."""
        return pairs_of(self.rows, self.seed)

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a table with the columns image, target, index, layer, method, metric and value.

        Raises:
            MissingDependency: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingDependency("a table of pandas needs pandas. Install it: pip install pandas.") from error
        names = ("image", "target", "index", "layer", "method", "metric", "value")
        made = pandas.DataFrame({name: [getattr(row, name) for row in self.rows] for name in names})
        # Classes are whole numbers, and a target may have none: NumPy's own would become floats.
        return made.astype({"index": "Int64"})

    def figure(self) -> Image.Image:
        """A picture: a row for each method and layer, a panel for each metric, a dot and its interval in each."""
        return figure_of(self.summary, self._about)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``results.json``, ``results.png`` and, where pyarrow is installed, ``results.parquet`` into a folder.

        Raises:
            InvalidArgument: it cannot be written there.
        """
        from gradsight.evaluating.files import write

        write(self, folder)
        imaging.save(self.figure(), os.path.join(folder, "results.png"))

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Evaluation:
        """What `save` wrote.

        Raises:
            InvalidArgument: there is none, or it cannot be read.
        """
        from gradsight.evaluating.files import read

        return cls(**read(folder))

    @property
    def _about(self) -> tuple[str, ...]:
        failed = f", {len(self.failed)} failed" if self.failed else ""
        images = len(self.images)
        return (
            f"model {self.model}, {images} photo{'s' * (images != 1)}{failed}",
            "Dots are means over photos, lines 95% intervals; grey: controls, which say nothing of the model.",
        )

    def __repr__(self) -> str:
        methods = len({(row.layer, row.method) for row in self.rows})
        return f"Evaluation({len(self.images)} images, {methods} methods, metrics: {', '.join(self.metrics)})"

    def _repr_html_(self) -> str:
        return page_of(self.figure(), self.notes, self.failed)
