"""A run that is there, looked at: explanations that draw themselves, tables, and what failed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from gradsight.cached import cached_property
from gradsight.checks import optional, taken
from gradsight.errors import ImageError, InvalidArgument, MissingDependency, printable, received, unknown
from gradsight.files import is_file, is_folder
from gradsight.results import html
from gradsight.results.explanation import Explanation
from gradsight.results.explanations import Explanations, each_of
from gradsight.rules import Name, Whole
from gradsight.runs.index import Index, indexed
from gradsight.runs.looking import Looking
from gradsight.runs.manifest import FILE, Manifest
from gradsight.runs.photo import Photos, finder
from gradsight.runs.reading import Table, concatenated, empty, parts_in
from gradsight.runs.schema import EXPLAINED, FAILED, RunRow, columns
from gradsight.runs.stored import explanations_of
from gradsight.runs.table import rows_in
from gradsight.runs.where import HEAVY, Test, Where, checked

if TYPE_CHECKING:
    import pandas

_SHOWN = 5
"""So many images are shown in a notebook."""


def open_run(run: str | os.PathLike[str], *, photos: Photos | None = None) -> Run:
    """Open a run, to look at it; nothing in it is executed, and nothing of it is changed.

    A run that is still being written can be opened: what is there by now is in it.

    >>> from tempfile import TemporaryDirectory
    >>> from gradsight.runs.example import example
    >>> with TemporaryDirectory() as folder:
    ...     run = open_run(example(folder))
    ...     run.images, run["b.png"].labels, run.failed
    (('a.png', 'b.png'), (('tabby cat',),), (('c.png', 'it is empty'),))

    Args:
        run: its folder.
        photos: where photos are now, if they are not where the run found them: a folder in which the images' keys are
            paths, photos by their keys, or a function from a key to a photo.

    Raises:
        InvalidArgument: there is no run, or a newer gradsight wrote it.
        InvalidType: an argument is none of these.
        MissingDependency: pyarrow is not installed.
    """
    return Run(run, photos=photos)


class Run:
    """The images of a run, in the order in which they were explained; see `open_run`.

    ``run[17]`` and ``run["cats/1.jpg"]`` are explanations as an `Explainer` gives them: one, or several where there are
    several layers or methods. Their photos are read when they are drawn. ``run[:100]`` is a run of the first hundred.

    >>> from tempfile import TemporaryDirectory
    >>> from gradsight.runs.example import example
    >>> with TemporaryDirectory() as folder:
    ...     run = Run(example(folder))
    ...     len(run), run[0].overlay().size, run.filter("score > 8").images
    (2, (60, 40), ('b.png',))

    Attributes:
        folder: where it lies.
        manifest: what it is of.
    """

    def __init__(self, run: str | os.PathLike[str], *, photos: Photos | None = None) -> None:
        folder = Path(taken("run", run, Name()))
        if not is_folder(folder) or not is_file(folder / FILE):
            raise InvalidArgument(
                f"`run` must be the folder of a run, in which there is a {FILE}. {received(str(folder))} Begin one: "
                "gradsight run PHOTOS --out RUN."
            )
        self.folder, self.manifest = folder, Manifest.read(folder)
        # As they are now: parts that appear later belong to whoever opens the run then.
        self._parts, self._find = parts_in(folder), finder(photos)
        self._ask(Where(), None)

    def _ask(self, where: Where, among: NDArray[np.bytes_] | None) -> None:
        self._where, self._among = where, among
        self._looking = Looking(self._parts, where)

    def _view(self, where: Where, among: NDArray[np.bytes_] | None) -> Run:
        """The same run with other rows of it."""
        # Not by the folder: what is looked at must stay the same while another process writes there.
        made = object.__new__(Run)
        made.folder, made.manifest = self.folder, self.manifest
        made._parts, made._find = self._parts, self._find
        made._ask(where, among)
        return made

    @cached_property
    def _index(self) -> Index:
        found = indexed(self._parts, self._where)
        if self._among is None:
            return found
        # What failed has no place in the order that a part of the images was cut from.
        return Index(found.places[np.isin(found.places["digest"], self._among)], found.failed[:0])

    def __len__(self) -> int:
        """How many images were explained."""
        return len(self._index.places)

    def __contains__(self, key: object) -> bool:
        """Whether an image of that key was explained."""
        return isinstance(key, str) and self._index.find(key) is not None

    @overload
    def __getitem__(self, image: slice) -> Run: ...

    @overload
    def __getitem__(self, image: int | str) -> Explanation | Explanations: ...

    def __getitem__(self, image: int | str | slice) -> Explanation | Explanations | Run:
        """The explanation of an image by its number or its key, or the explanations by several layers or methods.

        Raises:
            ImageError: it failed.
            UnknownName: there is no image of that key.
            InvalidArgument: there is none of that number.
        """
        if isinstance(image, slice):
            places = self._index.places[_checked(image)]
            made = self._view(self._where, places["digest"])
            # Known already: to look through all keys again would take seconds in a run of a million.
            made._index = Index(places, self._index.failed[:0])
            return made
        return self._explained(self._looking.rows(self._index.places[self._number(image)]))

    def __iter__(self) -> Iterator[Explanation | Explanations]:
        return (explained for _, explained in self.items())

    def items(self) -> Iterator[tuple[str, Explanation | Explanations]]:
        """The key and the explanation of each image, one after the other, in bounded memory."""
        for place in self._index.places:
            rows = self._looking.rows(place)
            yield rows[0].key, self._explained(rows)

    def rows(self) -> Iterator[RunRow]:
        """Every row, those of images that failed too, in bounded memory."""
        for table in self.tables(columns()):
            yield from rows_in(table)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[Table]:
        """`table` in pieces, in bounded memory."""
        names = _default() if columns is None else checked(columns)
        return self._looking.tables(self._index, names)

    @property
    def images(self) -> tuple[str, ...]:
        """The keys of the images that were explained."""
        return tuple(key for key, _ in self._keys(EXPLAINED))

    @property
    def failed(self) -> tuple[tuple[str, str], ...]:
        """The keys of the images that failed, each with why."""
        return tuple(self._keys(FAILED))

    def filter(self, where: Test | None = None, /, **values: Any) -> Run:
        """The same run with some of its rows alone, and with the images that have one of these.

        Args:
            where: a condition in words, such as ``"label != prediction_label and score > 3"`` or ``"'zero_map' in
                notes"``; an expression of PyArrow; or a function from a `RunRow` to a truth value.
            **values: by column, what it must be: ``method="gradcam"``; a list for one of several, None for a value that
                is missing. Of a column of lists, one that it must hold: ``notes="zero_map"``.

        Raises:
            InvalidArgument: a text that is no condition.
            InvalidType: ``where`` is none of these.
            UnknownName: there is no such column.
        """
        return self._view(self._where.also(where, values), self._among)

    def table(self, columns: Sequence[str] | None = None) -> Table:
        """The rows as a table of Arrow, those of images that failed too.

        Args:
            columns: their names; by default all but ``map`` and ``features``, which hold most of the bytes.

        Returns:
            A ``pyarrow.Table``.

        Raises:
            InvalidArgument: ``columns`` is no list of names.
            UnknownName: there is no such column.
        """
        names = _default() if columns is None else checked(columns)
        return concatenated([empty(names), *self.tables(names)])

    def to_pandas(self, columns: Sequence[str] | None = None) -> pandas.DataFrame:
        """`table` as one of pandas.

        Raises:
            MissingDependency: pandas is not installed.
            UnknownName: there is no such column.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingDependency("a table of pandas needs pandas. Install it: pip install pandas.") from error
        # Classes are whole numbers, and a row may have none: NumPy's own would become floats.
        kinds = {"int32": pandas.Int32Dtype(), "int64": pandas.Int64Dtype(), "bool": pandas.BooleanDtype()}
        return self.table(columns).to_pandas(types_mapper=lambda kind: kinds.get(str(kind)))

    def _number(self, image: int | str) -> int:
        if not isinstance(image, str):
            count = len(self)
            found = taken("image", image, Whole(-count, count - 1), f"The run has {count} images.")
            return found % count
        number = self._index.find(image)
        if number is None:
            raise self._missing(image)
        return number

    def _missing(self, key: str) -> Exception:
        failed = self._index.find_failed(key)
        if failed is not None:
            (row, *_) = self._looking.rows(self._index.failed[failed])
            return ImageError(f"{key!r} was not explained: {row.error or 'it failed'}")
        # A few of them: a million names would be compared for a word that was mistyped.
        near = [name for name, _ in zip(self._names(), range(1000), strict=False)]
        return unknown("image", key, near, "`run.images` has all names.")

    def _names(self) -> Iterator[str]:
        return (key for key, _ in self._keys(EXPLAINED))

    def _keys(self, status: str) -> Iterator[tuple[str, str]]:
        """The keys of images, each once, and their errors."""
        last = None
        for table in self.tables(["key", "status", "error"]):
            for key, found, error in zip(*(column.to_pylist() for column in table.columns), strict=True):
                # Rows of one image lie one after the other.
                if found == status and key != last:
                    yield key, error or ""
                    last = key

    def _explained(self, rows: Sequence[RunRow]) -> Explanation | Explanations:
        # By what is there: a filter may have left one method of several.
        found = explanations_of(rows, self.manifest, self._find)
        return found[0] if len(found) == 1 else Explanations(found)

    def __repr__(self) -> str:
        failed = len(self._index.failed)
        rest = f", {failed} failed" if failed else ""
        state = "" if self.manifest.complete else ", not complete"
        model = printable(self.manifest.name)
        return f"Run({str(self.folder)!r}, {len(self)} images{rest}{state}, model {model})"

    def _repr_html_(self) -> str:
        """Shown by notebooks: what it is, and its first images."""
        # A few: a notebook keeps every picture in its file.
        shown: list[Explanation] = []
        for explained in self[:_SHOWN]:
            shown += each_of(explained)
        return f"<p>{html.escaped(repr(self))}</p>{html.of_several(shown)}"


def _default() -> tuple[str, ...]:
    return tuple(name for name in columns() if name not in HEAVY)


def _checked(part: slice) -> slice:
    """A slice of whole numbers."""
    start, stop = (optional("image", end, Whole(), "Pass run[:100].") for end in (part.start, part.stop))
    return slice(start, stop, optional("image", part.step, Whole(1), "Pass run[::2]."))
