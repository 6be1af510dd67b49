"""What is watched: a video, a camera, a folder of pictures, or pictures that come one after the other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from gradsight.errors import InvalidArgument, InvalidType, received
from gradsight.files import is_folder
from gradsight.photos import Failed, find_photos
from gradsight.watching.ahead import Ahead
from gradsight.watching.frame import Shot
from gradsight.watching.video import Video, camera, video_at

Watched: TypeAlias = "str | os.PathLike[str] | int | Iterable[object] | Source"
"""What can be watched: the path of a video or of a folder, the number of a camera, or any iterable of pictures."""

Shots: TypeAlias = "Iterator[Shot | Failed[Shot]]"


class Source(Protocol):
    """Frames in their order."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def is_live(self) -> bool:
        """Frames that are not taken at once are gone."""

    def shots(self) -> Shots:
        """All frames, from the first on."""

    def samples(self, count: int) -> Iterator[Shot] | None:
        """So many frames, evenly over all of it; None where there is only one look at it."""


@dataclass(frozen=True)
class Film:
    """A video in a file.

    Attributes:
        video: which.
    """

    video: Video
    is_live: bool = False

    @property
    def name(self) -> str:
        """Its path."""
        return self.video.name

    def shots(self) -> Shots:
        """All frames, from the first on."""
        return Ahead(self.video.shots())

    def samples(self, count: int) -> Iterator[Shot] | None:
        """So many frames, evenly over all of it; None where no frame says when it is shown."""
        index = self.video.index()
        # By times, not numbers: a video can be opened at a time alone.
        times = [index.times[i] for i in evenly(len(index.times), count)]
        return self.video.at(times, index) if times else None


@dataclass(frozen=True)
class Live:
    """A camera.

    Attributes:
        video: which.
    """

    video: Video
    is_live: bool = True

    @property
    def name(self) -> str:
        """Its number."""
        return self.video.name

    def shots(self) -> Shots:
        """Frames, until somebody ends it."""
        return Ahead(self.video.shots(), newest=True)

    def samples(self, count: int) -> Iterator[Shot] | None:
        """None: what comes later is not there yet."""
        del count
        return None


@dataclass(frozen=True)
class Folder:
    """Pictures as frames, in the order of their names.

    Attributes:
        name: of the folder.
        paths: of the pictures.
    """

    name: str
    paths: Sequence[Path]
    is_live: bool = False

    def shots(self) -> Shots:
        """All pictures, from the first on."""
        return (Shot(i, None, path) for i, path in enumerate(self.paths))

    def samples(self, count: int) -> Iterator[Shot] | None:
        """So many pictures, evenly over all of them."""
        return (Shot(i, None, self.paths[i]) for i in evenly(len(self.paths), count))


@dataclass(frozen=True, eq=False)
class Given:
    """Pictures that come one after the other, from wherever.

    Attributes:
        pictures: paths, bytes, PIL images, or arrays.
    """

    pictures: Iterable[object]
    name: str = "pictures"
    is_live: bool = False

    def shots(self) -> Shots:
        """All pictures, from the first on."""
        return (Shot(i, None, picture) for i, picture in enumerate(self.pictures))

    def samples(self, count: int) -> Iterator[Shot] | None:
        """None: a generator can be gone through once."""
        del count
        return None


def source_of(watched: Watched) -> Source:
    """What is meant.

    Raises:
        GradsightError: there is no such thing, or nothing in it that can be watched.
    """
    if isinstance(watched, Film | Live | Folder | Given):
        return watched
    # True is the number 1 to Python, and no camera to anybody.
    if isinstance(watched, bool):
        raise _none(watched)
    if isinstance(watched, int):
        if watched < 0:
            raise InvalidArgument(f"`source` must be the number of a camera, from 0 on. {received(watched)} Pass 0.")
        return Live(camera(watched))
    if isinstance(watched, str | os.PathLike):
        path = Path(watched)
        return _folder(path) if is_folder(path) else Film(video_at(path))
    # Bytes can be gone through too, one number after the other.
    if isinstance(watched, bytes) or not isinstance(watched, Iterable):
        raise _none(watched)
    return Given(watched)


def _none(watched: object) -> InvalidType:
    return InvalidType(
        "`source` must be the path of a video or of a folder of pictures, the number of a camera, or pictures one "
        f"after the other. {received(watched)} Pass 'video.mp4'."
    )


def _folder(path: Path) -> Folder:
    # As everywhere: what is hidden is left out, and a folder without pictures is told.
    photos, errors = find_photos([path])
    if errors:
        raise errors[0]
    paths = [photo.source for photo in photos if isinstance(photo.source, Path)]
    return Folder(str(path), sorted(paths, key=_by_number))


def _by_number(path: Path) -> list[tuple[bool, int, str]]:
    """What names are ordered by: numbers in them by their value, so that frame 10 comes after frame 9."""
    parts = re.split(r"([0-9]+)", str(path))
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def evenly(total: int, count: int) -> list[int]:
    """Which of ``total`` things to take for ``count`` that lie evenly, the first and the last among them.

    >>> evenly(10, 4), evenly(2, 4), evenly(0, 4)
    ([0, 3, 6, 9], [0, 1], [])
    """
    # All of them: the formula below would take some twice.
    if total <= count:
        return list(range(total))
    return [round(i * (total - 1) / (count - 1)) for i in range(count)]
