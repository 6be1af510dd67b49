"""Concepts that channels are named by: folders of photos, and where in each photo the concept is."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradsight.checks import taken
from gradsight.errors import ImageError, InvalidArgument
from gradsight.files import entries, is_folder, opened, read_bytes
from gradsight.imaging import SUFFIXES, Placement, read_image, read_opacity
from gradsight.rules import Each, Instance, Name, Text

_MASK = ".mask.png"
_LAYOUT = "A folder of concepts holds NAME/photo.jpg or CATEGORY/NAME/photo.jpg, with photo.mask.png beside each photo."


class Label(NamedTuple):
    """A concept that is in a photo, and where it is.

    Attributes:
        concept: its number.
        photo: the file; its transparency is the region where it has some and ``mask`` is None.
        mask: a picture of the region; None for the photo's transparency, or all of it.
    """

    concept: int
    photo: Path
    mask: Path | None

    def region(self, placement: Placement, cells: tuple[int, int]) -> NDArray[np.bool_]:
        """Where the concept is in the model's input, at the centres of ``cells`` (rows, columns) that cover it.

        Raises:
            ImageError: the mask cannot be read, or has another shape than the photo.
        """
        # Padding shows nothing, so it belongs to no concept.
        inside = on_photo(placement, cells)
        mask = self._pixels(placement.image_size)
        if mask is None:
            return inside
        nearest = []
        for i in range(2):
            share = _centres(placement, cells, i) / placement.image_size[i]
            nearest.append((share * mask.shape[i]).astype(np.intp).clip(0, mask.shape[i] - 1))
        region: NDArray[np.bool_] = mask[np.ix_(*nearest)] & inside
        return region

    def _pixels(self, size: tuple[int, int]) -> NDArray[np.bool_] | None:
        """The region in the photo's pixels, or in those of a mask of another resolution; None for all of it."""
        if self.mask is None:
            opacity = read_opacity(self.photo)
            return None if opacity is None else opacity > 127
        grey = np.asarray(read_image(self.mask).convert("L"))
        # Of one shape: no side is farther off than rounding it to a whole pixel explains.
        scale = math.sqrt(grey.shape[0] * grey.shape[1] / (size[0] * size[1]))
        if any(abs(have - scale * want) > 1 + 0.01 * have for have, want in zip(grey.shape, size, strict=True)):
            raise ImageError(
                f"{str(self.mask)!r} has {grey.shape[1]} x {grey.shape[0]} pixels, its photo {size[1]} x {size[0]}: "
                "a mask must have the shape of its photo. Draw it on the photo as it is shown, turned upright."
            )
        bright: NDArray[np.bool_] = grey > grey.max() / 2  # files of 0 and 255, and of 0 and 1
        return bright


class LabelledPhoto(NamedTuple):
    """A photo and the concepts that are known to be in it."""

    path: Path
    labels: tuple[Label, ...]


@dataclass(frozen=True)
class Concepts:
    """Photos labelled with concepts.

    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> import gradsight as gs
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for colour in ("red", "blue"):
    ...         (pathlib.Path(folder) / colour).mkdir()
    ...         Image.new("RGB", (8, 8), colour).save(f"{folder}/{colour}/1.png")
    ...     print(gs.Concepts.read(folder))
    Concepts(2 photos of blue, red)

    Attributes:
        names: the concepts.
        categories: of each concept; ``""`` where the folder has none.
        photos: each once, with its labels.
    """

    names: tuple[str, ...]
    categories: tuple[str, ...]
    photos: tuple[LabelledPhoto, ...]

    def __post_init__(self) -> None:
        names = taken("names", self.names, Each(Text(), words="names of concepts"))
        taken("categories", self.categories, Each(Text(), (len(names),), f"the categories of {len(names)} concept(s)"))
        taken(
            "photos", self.photos, Each(Instance(LabelledPhoto, "a photo with its labels")), "Concepts.read makes them."
        )

    @classmethod
    def read(cls, folder: str | Path) -> Concepts:
        """Read which photos show which concepts; the photos themselves are read when they are needed.

        The folder holds ``NAME/photo.jpg``, or ``CATEGORY/NAME/photo.jpg`` where not every photo is labelled for all
        concepts: a photo in ``colour/red`` says nothing about what is in it of the category ``shape``, and is compared
        with the concepts of its own category alone, as in the paper. Where in a photo its concept is, is told by
        ``photo.mask.png`` beside it (bright where the concept is, in the photo's shape, at any resolution), or else by
        the photo's transparency, or else it is all of it, as the paper's textures and scenes are.

        The same file in several folders is one photo with several labels, and within a category what is not labelled
        counts as not there: a photo with a square and a circle belongs into both folders, each with its own mask.
        Files count as the same by their content, not by their name, since every folder may have its ``001.jpg``.

        Masks are the better way: transparency is laid over white, so that the model sees a cut-out on white.

        Raises:
            InvalidType: ``folder`` is no path.
            InvalidArgument: the folder is missing, empty or laid out in another way.
        """
        folders = list(_concept_folders(Path(taken("folder", folder, Name()))))
        names = _distinct([(category, path.name) for category, path in folders])
        # By size first: a file whose size is its own has no double, and need not be read.
        labels = [label for i, (_, path) in enumerate(folders) for label in _labels(i, path)]
        sizes = [_size(label.photo) for label in labels]
        count = Counter(sizes)
        photos: dict[object, list[Label]] = {}
        for label, size in zip(labels, sizes, strict=True):
            photos.setdefault(label.photo if count[size] == 1 else _digest(label.photo), []).append(label)
        return cls(
            names,
            tuple(category for category, _ in folders),
            tuple(LabelledPhoto(group[0].photo, tuple(group)) for group in photos.values()),
        )

    def __repr__(self) -> str:
        return f"Concepts({len(self.photos)} photos of {', '.join(self.names)})"


def _concept_folders(top: Path) -> Iterator[tuple[str, Path]]:
    """Every concept's category and folder, in order of their names."""
    if not is_folder(top):
        raise InvalidArgument(f"there is no folder {str(top)!r} of concepts. {_LAYOUT}")
    if next(_pictures(top), None) is not None:
        raise InvalidArgument(f"{str(top)!r} holds pictures that belong to no concept. {_LAYOUT}")
    any_concept = False
    for outer in _folders(top):
        inner = _folders(outer)
        direct = next(_pictures(outer), None) is not None
        # A photo beside folders has no concept: it was put there by mistake.
        if direct and inner:
            raise InvalidArgument(
                f"{str(outer)!r} holds pictures and folders: it must be a concept or a category. {_LAYOUT}"
            )
        for path in inner:
            yield outer.name, path
        if not inner:
            yield "", outer
        any_concept = True
    if not any_concept:
        raise InvalidArgument(f"{str(top)!r} holds no folder of a concept. {_LAYOUT}")


def _folders(path: Path) -> list[Path]:
    return [entry for entry in entries(path, "concepts") if is_folder(entry)]


def _pictures(path: Path) -> Iterator[Path]:
    for file in entries(path, "concepts"):
        if file.suffix.lower() in SUFFIXES and not is_folder(file):
            yield file


def _size(photo: Path) -> int:
    with opened(photo, "a picture", ImageError) as file:
        return os.fstat(file.fileno()).st_size


def _digest(photo: Path) -> str:
    return hashlib.sha256(read_bytes(photo, "a picture", ImageError)).hexdigest()


def _labels(concept: int, folder: Path) -> Iterator[Label]:
    """The photos of one concept's folder with their masks."""
    files = list(_pictures(folder))
    masks = {file.name[: -len(_MASK)]: file for file in files if file.name.lower().endswith(_MASK)}
    photos = [file for file in files if file not in masks.values()]
    if not photos:
        raise InvalidArgument(f"{str(folder)!r} holds no photo ({', '.join(SUFFIXES)}). {_LAYOUT}")
    # 1.jpg and 1.png would share one mask.
    stems = Counter(photo.stem for photo in photos)
    for stem, mask in masks.items():
        if stems[stem] != 1:
            way_out = "There is none" if not stems[stem] else f"There are {stems[stem]}; rename all but one"
            raise InvalidArgument(f"{str(mask)!r} must lie beside one photo that is called {stem}. {way_out}.")
    for photo in photos:
        yield Label(concept, photo, masks.get(photo.stem))


def _distinct(concepts: list[tuple[str, str]]) -> tuple[str, ...]:
    """The names of concepts. Where two categories have the same name, the category is added to it."""
    counts = Counter(name for _, name in concepts)
    return tuple(name if counts[name] == 1 else f"{name} ({category})" for category, name in concepts)


def _centres(placement: Placement, cells: tuple[int, int], axis: int) -> NDArray[np.float64]:
    """Where the centres of cells along an axis of the model's input lie in the photo, in pixels from its edge."""
    start, stop = placement.box[axis], placement.box[axis + 2]
    return start + (np.arange(cells[axis]) + 0.5) * (stop - start) / cells[axis]


def on_photo(placement: Placement, cells: tuple[int, int]) -> NDArray[np.bool_]:
    """Which cells of the model's input show the photo, and no padding."""
    inside = []
    for i in range(2):
        centres = _centres(placement, cells, i)
        inside.append((centres >= 0) & (centres < placement.image_size[i]))
    return inside[0][:, None] & inside[1]
