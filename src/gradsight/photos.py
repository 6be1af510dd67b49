"""Which photos are meant, and what came of each: a photo that fails is a value, so that it ends no folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from traceback import format_exception
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from gradsight.errors import ImageError
from gradsight.folders import in_folders
from gradsight.imaging import SUFFIXES, read_image
from gradsight.names import distinct

if TYPE_CHECKING:
    from gradsight.results.explanation import Explanation

_LONGEST_STEM = 94
"""In bytes: with the method, the layer and the label a name stays under the 255 of most file systems."""

_BUNDLED = "cat_and_coffee"


class Photo(NamedTuple):
    """A picture to explain.

    Attributes:
        name: what the user called it.
        stem: how the names of its files begin, such as ``"cats/1"`` for the photo ``cats/1.jpg`` of a folder.
        source: what is read: a path, or the bytes of a file.
    """

    name: str
    stem: str
    source: Path | bytes


P = TypeVar("P")
"""A photo as it was given: a path, bytes, a picture, a `Photo`."""


@dataclass(frozen=True, eq=False)
class Explained(Generic[P]):
    """A photo that was explained.

    Attributes:
        photo: as it was given.
        explanations: one for each layer and method, each of this photo alone.

    >>> from gradsight.results.example import example
    >>> Explained("cat.jpg", (example(),)).explanation.labels
    (('tabby cat',),)
    """

    photo: P
    explanations: tuple[Explanation, ...]

    @property
    def explanation(self) -> Explanation:
        """The first of them, which is the only one where one layer and one method were asked for."""
        return self.explanations[0]


@dataclass(frozen=True, eq=False)
class Failed(Generic[P]):
    """A photo that could not be read or explained.

    Attributes:
        photo: as it was given.
        error: why; without the frames that it went through, which hold memory.

    >>> for outcome in (Failed("cat.jpg", ImageError("There is no file 'cat.jpg'.")),):
    ...     if isinstance(outcome, Failed):
    ...         print(f"{outcome.photo}: {outcome.error}")
    cat.jpg: There is no file 'cat.jpg'.
    """

    photo: P
    error: BaseException


Outcome = Explained[P] | Failed[P]
"""What came of a photo."""

_MEMORY = ("OutOfMemoryError", "ResourceExhaustedError")
"""PyTorch's and TensorFlow's errors, which are no MemoryError."""

_MEMORY_WORDS = ("RESOURCE_EXHAUSTED", "can't allocate memory", "out of memory")


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an error is for want of memory, also where another one tells of it."""
    if error is None:
        return False
    # By names, since no framework may be imported only to ask for its errors.
    known = isinstance(error, MemoryError) or type(error).__name__ in _MEMORY
    return known or any(word in str(error) for word in _MEMORY_WORDS) or out_of_memory(error.__cause__)


E = TypeVar("E", bound=BaseException)


def without_frames(error: E) -> E:
    """An error without the frames that it and its causes went through: they hold the pass that failed, and its memory.

    Where it came from stays as text, in a note that Python shows with it (`BaseException.add_note`).
    """
    if error.__traceback__ is not None:
        error.add_note("".join(format_exception(error)))
    for each in _chain(error):
        # Of the causes too: a framework's error is often the cause of ours, and its frames hold the tensors.
        each.__traceback__ = None
    return error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    # Errors can be chained in a circle, by code that raises one again.
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def find_photos(
    given: Iterable[str | os.PathLike[str]],
    recursive: bool = True,
    leave_out: Iterable[str | os.PathLike[str]] = (),
) -> tuple[list[Photo], list[ImageError]]:
    """Replace folders by the pictures in them, and sort out what is not there.

    Stems follow the tree: those of a folder are the paths in it, and where several folders are given, each begins with
    its folder's own name. Photos that would get one stem are numbered.

    Args:
        given: paths of photos and folders.
        recursive: look into the folders of a folder too. What is hidden is left out, and of links to folders those
            that lead to one which was looked into before, as a link to a folder above it does.
        leave_out: folders that are not looked into, such as that of the results.

    Returns:
        The photos, each with a stem of its own, and an error for each path that leads to none.

    >>> photos, errors = find_photos(["nothing.jpg"])
    >>> photos, [str(error).partition(".")[0] for error in errors]
    ([], ["There is no file 'nothing"])
    """
    paths = [Path(path) for path in given]
    skipped = list(leave_out)  # gone through for each folder
    # One folder alone needs no name of its own: all stems would begin with it.
    several = sum(path.is_dir() for path in paths if _is_taken(path)) > 1
    found: list[tuple[Path, str]] = []
    errors: list[ImageError] = []
    for path in paths:
        try:
            pictures = _pictures(path, recursive, skipped, errors)
        except ImageError as error:
            errors.append(error)
        else:
            found += [(picture, _stem(picture, path, several)) for picture in pictures]
    stems = distinct([stem for _, stem in found])
    return [Photo(str(path), stem, path) for (path, _), stem in zip(found, stems, strict=True)], errors


def photo_at(path: str | os.PathLike[str]) -> Photo:
    """The one photo at a path, which may not be there.

    >>> photo_at("photos/cat.jpg").stem
    'cat'
    """
    return Photo(str(path), cut(Path(path).stem), Path(path))


def bundled_photo() -> Photo:
    """The photo of a cat and a cup of coffee that comes with gradsight.

    >>> bundled_photo().name
    'cat_and_coffee.jpg'
    """
    content = resources.files("gradsight").joinpath(f"data/{_BUNDLED}.jpg").read_bytes()
    return Photo(f"{_BUNDLED}.jpg", _BUNDLED, content)


def is_photo(text: str) -> bool:
    """Whether a text means a photo, or a folder of them: there is one, or its ending is that of a picture's file.

    >>> is_photo("cat.JPG"), is_photo("a photo of a cat")
    (True, False)
    """
    return os.path.exists(text) or text.lower().endswith(SUFFIXES)


def cut(stem: str) -> str:
    """The beginning of a name that leaves room for what is put behind it."""
    # By letters, though bytes are counted: half a letter is no name.
    while len(os.fsencode(stem)) > _LONGEST_STEM:
        stem = stem[:-1]
    return stem


def _is_taken(path: Path) -> bool:
    """Whether the system takes such a name; `Path.is_dir` raises for one that is too long."""
    return os.path.exists(path)


def _pictures(
    path: Path, recursive: bool, leave_out: Sequence[str | os.PathLike[str]], errors: list[ImageError]
) -> list[Path]:
    if not _is_taken(path):
        read_image(path)  # raises, and says why
    if not os.path.isdir(path):
        return [path]
    # Sorted, since each file system has an order of its own.
    found = sorted(folder / name for folder, names in in_folders(path, recursive, leave_out, errors) for name in names)
    if not found:
        raise ImageError(f"{str(path)!r} is a folder without pictures ({', '.join(SUFFIXES)}).")
    return found


def _stem(picture: Path, given: Path, several: bool) -> str:
    """The stem of a picture that was found at a given path."""
    if picture == given:
        return cut(picture.stem)
    parts = list(picture.relative_to(given).parent.parts)
    # `..` and `.` have no name; their own one is that of the folder that they lead to.
    first = [Path(os.path.realpath(given)).name] if several else []
    return "/".join([*filter(None, first), *parts, cut(picture.stem)])
