"""Where results go: pictures and a record for each photo in a folder, or one picture in one file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from gradsight import imaging
from gradsight.cli import earlier
from gradsight.cli.options import Look
from gradsight.cli.terminal import to_json
from gradsight.cli.viewing import made
from gradsight.errors import InvalidArgument
from gradsight.files import check_apart, is_folder, write_bytes
from gradsight.photos import Photo
from gradsight.results.explanation import Explanation
from gradsight.results.files import figure_names, overlay_names
from gradsight.results.sheet import sheet

Record = dict[str, Any]
"""What is written of a photo by one method at one layer, as JSON has it."""

# What the options stand at where nothing is typed: `demo` has none of them.
_PLAIN: Look = {"colormap": None, "opacity": "value"}


class Results(Protocol):
    """Where the results of photos go."""

    @property
    def place(self) -> str:
        """What a person opens to see them."""

    def check(self, photos: Sequence[Photo]) -> None:
        """See that nothing is replaced that is another's, before anything is explained."""

    def write(self, photo: Photo, explanations: Sequence[Explanation]) -> list[Record]:
        """Write what came of one photo; a record for each explanation."""

    def path_of(self, file: str) -> Path:
        """Where a file lies that a record names."""


@dataclass(frozen=True)
class Form:
    """The form of the pictures that are written.

    Attributes:
        suffix: what their names end in; None to follow the photo.
        quality: of JPEG and WebP, 1 to 100.
        max_side: the longest side in pixels; None for that of the photo.
    """

    suffix: str | None = None
    quality: int = 90
    max_side: int | None = None

    def suffix_for(self, photo: Photo) -> str:
        """What the names of a photo's pictures end in."""
        # A JPEG is a fifth of the size of a PNG of the same photo.
        return self.suffix or {"JPEG": ".jpg"}.get(imaging.format_of(photo.source), ".png")


@dataclass(frozen=True)
class Output:
    """A folder for overlays and records, laid out as the folders of the photos are.

    Attributes:
        folder: may not be there yet.
        look: how overlays are drawn.
        form: how pictures are written.
        kind: part of the names of records, such as ``"caption"``; empty for none.
        strip: draw one picture of each explanation, the photo and all its overlays side by side, named by its kind.
        figure: draw one more picture of each photo: it and all its overlays, with what the colours mean.
        overwrite: replace what is another photo's or model's.
        asked: what was asked for, as plain values; goes into the records.

    Raises:
        InvalidArgument: the folder is a file or cannot be written to.
    """

    folder: Path
    look: Look = field(default_factory=lambda: _PLAIN)
    form: Form = field(default_factory=Form)
    kind: str = ""
    strip: bool = False
    figure: bool = False
    overwrite: bool = False
    asked: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Before the model is loaded, which takes seconds.
        nearest = nearest_of(self.folder)
        if not is_folder(nearest):
            raise InvalidArgument(f"--out must be a folder, and {str(nearest)!r} is a file. Name another folder.")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise InvalidArgument(f"--out must be writable, and {str(nearest)!r} is not. Name another folder.")

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.folder)

    def path_of(self, file: str) -> Path:
        """Where a file lies that a record names. Its name begins at this folder, and has the folders of the photo."""
        return self.folder / file

    def record_of(self, photo: Photo) -> Path:
        """The file of a photo's record."""
        return self.folder / ".".join(filter(None, (photo.stem, self.kind, "json")))

    def check(self, photos: Sequence[Photo]) -> None:
        """See that no earlier result is replaced that is of another photo or model.

        Raises:
            InvalidArgument: one would be.
        """
        # Only the records are looked at: they are named by the photo, and say which model it was.
        if not self.overwrite:
            earlier.check([(self.record_of(photo), photo.name) for photo in photos], self.asked.get("model"))

    def undone(self, photos: Sequence[Photo]) -> list[Photo]:
        """The photos for which this was not done before."""
        return [photo for photo in photos if not earlier.is_done(self.record_of(photo), photo.name, self.asked)]

    def write(self, photo: Photo, explanations: Sequence[Explanation]) -> list[Record]:
        """Write the overlays and the record of one photo.

        Args:
            photo: which one.
            explanations: of this photo alone, one for each layer and method.

        Returns:
            A record for each explanation.

        Raises:
            InvalidArgument: the folder cannot be written to.
        """
        suffix = self.form.suffix_for(photo)
        drawn = self._strips if self.strip else self._overlays
        records = drawn(photo, explanations, suffix)
        if self.figure:
            file = f"{photo.stem}.figure{suffix}"
            # Not made smaller as a picture is: its words would go with it.
            drawn_sheet = sheet(explanations, **self.look, max_side=self.form.max_side)
            imaging.save(drawn_sheet, self.folder / file, quality=self.form.quality)
            made(self.folder / file, whole=True)
            records = [{**record, "figure": file} for record in records]
        # `demo` has none: it has nothing to resume.
        if self.asked:
            records = [{**record, "asked": dict(self.asked)} for record in records]
        # Last: where there is a record, all that it names is there.
        content = to_json(records[0] if len(records) == 1 else records, indent=2)
        write_bytes(self.record_of(photo), f"{content}\n".encode())
        return records

    def _strips(self, photo: Photo, explanations: Sequence[Explanation], suffix: str) -> list[Record]:
        records = []
        names = figure_names(photo.stem, explanations, self.kind, suffix)
        for explanation, file in zip(explanations, names, strict=True):
            self._save(explanation.figure(0, **self.look), file)
            records.append(_plain(explanation, photo, file=file))
        return records

    def _overlays(self, photo: Photo, explanations: Sequence[Explanation], suffix: str) -> list[Record]:
        records = []
        for explanation, files in zip(explanations, overlay_names(photo.stem, explanations, suffix), strict=True):
            # `max_side` here too, and not only in `_save`: what is small from the start is drawn in less time.
            for j, file in enumerate(files):
                self._save(explanation.overlay(0, j, **self.look, max_side=self.form.max_side), file)
            records.append(_plain(explanation, photo, files))
        return records

    def _save(self, picture: Image.Image, file: str) -> None:
        imaging.save(picture, self.folder / file, quality=self.form.quality, max_side=self.form.max_side)
        made(self.folder / file)


@dataclass(frozen=True)
class OneFile:
    """One picture of one photo: it and its overlays side by side, with what the colours mean.

    Attributes:
        path: the picture to write.
        look: how overlays are drawn.
        form: how it is written; its suffix is that of the path.

    Raises:
        InvalidArgument: it cannot be written there.
    """

    path: Path
    look: Look = field(default_factory=lambda: _PLAIN)
    form: Form = field(default_factory=Form)

    def __post_init__(self) -> None:
        check_file(self.path)

    @property
    def place(self) -> str:
        """The picture."""
        return str(self.path)

    def path_of(self, file: str) -> Path:
        """The picture, which every record names."""
        del file
        return self.path

    def check(self, photos: Sequence[Photo]) -> None:
        """See that the photo is not written over.

        Raises:
            InvalidArgument: it is the file to write.
        """
        sources = [photo.source for photo in photos if isinstance(photo.source, Path)]
        check_apart(self.path, sources, "--out", "the photo itself")

    def write(self, photo: Photo, explanations: Sequence[Explanation]) -> list[Record]:
        """Write the picture; a record for each explanation.

        Raises:
            InvalidArgument: it cannot be written.
        """
        picture = sheet(explanations, **self.look, max_side=self.form.max_side)
        imaging.save(picture, self.path, quality=self.form.quality)
        made(self.path, whole=True)
        return [_plain(explanation, photo, file=self.place) for explanation in explanations]


def _plain(explanation: Explanation, photo: Photo, files: Sequence[str] = (), file: str | None = None) -> Record:
    """The record of a photo for people who type options, and for JSON."""
    record = explanation.in_shell().record(0, files)
    # An explanation holds the photo's pixels, and not its name.
    return replace(record, image=photo.name, file=file).to_dict()


def check_file(path: Path) -> None:
    """See that a picture can be written there.

    Raises:
        InvalidArgument: it is a folder, or in none that can be written to.
    """
    if is_folder(path):
        raise InvalidArgument(f"--out must be a file, and {str(path)!r} is a folder. Name a file in it.")
    nearest = nearest_of(path.absolute())
    # The file is there, and is replaced by another one: its folder must allow that.
    if nearest == path.absolute():
        nearest = nearest.parent
    if not is_folder(nearest) or not os.access(nearest, os.W_OK | os.X_OK):
        raise InvalidArgument(f"--out must be in a folder that can be written to, unlike {str(nearest)!r}.")


def nearest_of(path: Path) -> Path:
    """The path itself where it exists, else the nearest folder above it that exists.

    Raises:
        InvalidArgument: the system takes no such name.
    """
    for nearest in (path, *path.parents):
        try:
            # Not `exists`: it hides why a name cannot be used, such as one that is too long.
            nearest.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InvalidArgument(f"--out: {str(path)!r} cannot be written: {reason}. Name another place.") from None
        return nearest
    return Path()
