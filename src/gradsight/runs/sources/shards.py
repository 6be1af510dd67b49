"""Tars of photos, as WebDataset lays them out: files of a sample lie side by side and share the name before a dot."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gradsight.errors import ImageError
from gradsight.files import is_file
from gradsight.imaging import SUFFIXES
from gradsight.runs import tars
from gradsight.runs.item import Content, Item, Label, Unreadable
from gradsight.runs.keys import Keys
from gradsight.runs.places import place_of, readable
from gradsight.runs.sources.labels import label_in
from gradsight.runs.sources.source import Given, Source

_LABELS = ("cls", "json", "txt", "text")
"""The endings of files with a label, the surest first: a text may be a caption."""

_LONGEST = 1 << 16
"""Of a file with a label, in bytes; longer ones are not read."""

_MOST = 1000
"""Pictures of a sample: one of more is given in parts, so that a tar of one name does not fill the memory."""


def found(given: Given) -> Source | None:
    """The photos in a tar, if one is given."""
    if not isinstance(given.value, str | os.PathLike):
        return None
    path = os.path.abspath(os.fsdecode(given.value))
    if not path.lower().endswith(tars.SUFFIXES) or not is_file(path):
        return None
    return Source(path, lambda: shard(Path(path)))


@dataclass(frozen=True)
class Part:
    """A picture in a tar that is not compressed: read when it is its turn, by the thread that decodes it.

    Attributes:
        path: of the tar.
        member: which one it is.
    """

    path: Path
    member: tars.Member

    def read(self) -> bytes:
        """The bytes.

        Raises:
            ImageError: the tar is not there any more, or was cut off.
        """
        with tars.reading(self.path) as tar:
            return tar.content(self.member)


def shard(path: Path) -> Iterator[Item]:
    """The photos of a tar, in its order; a damaged one ends with a photo that tells so."""
    name = readable(_stem(path))
    try:
        empty = True
        for item in _of_tar(path, name):
            empty = False
            yield item
        if empty:
            raise ImageError(f"{str(path)!r} is a tar without pictures ({', '.join(SUFFIXES)}).")
    except ImageError as error:
        # Told as a photo that cannot be read is: the other tars go on.
        yield Item(f"{name}: where it ends", Unreadable(str(error)))


def members_of(path: Path) -> Iterator[tuple[str, tars.Member]]:
    """The pictures of a tar by the names that `place_of` was given.

    Raises:
        ImageError: there is no such tar, or it is damaged.
    """
    names = Keys()
    with tars.reading(path) as tar:
        for member in tar.members():
            if _is_picture(member.name):
                yield names.own(member.name), member


@dataclass
class _Sample:
    """The files that share a name.

    Attributes:
        stem: the name before the first dot, with its folders.
        pictures: the name, the own name and the content of each.
        labels: by the ending of their names.
    """

    stem: str
    pictures: list[tuple[str, str, Content]] = field(default_factory=list)
    labels: dict[str, Label] = field(default_factory=dict)

    def label(self) -> Label | None:
        """The surest of them."""
        return next((self.labels[kind] for kind in _LABELS if kind in self.labels), None)

    def meant(self) -> Sequence[tuple[str, str, Content]]:
        """The photos: beside ``1.jpg`` a ``1.mask.png`` is none."""
        plain = [picture for picture in self.pictures if "." not in _parted(picture[0])[1]]
        return plain or self.pictures


def _of_tar(path: Path, shard_name: str) -> Iterator[Item]:
    with tars.reading(path) as tar:
        for sample in _samples(tar, path):
            label, meant = sample.label(), sample.meant()
            for name, own, content in meant:
                # By its own name where it is not alone: so it is where dots are parts of names.
                key = sample.stem if len(meant) == 1 else name
                yield Item(f"{shard_name}/{readable(key)}", content, place_of(str(path), own), label)


def _samples(tar: tars.Tar, path: Path) -> Iterator[_Sample]:
    # A tar may hold two files of one name, which are two photos.
    names, sample = Keys(), _Sample("")
    try:
        for member in tar.members():
            stem, ending = _parted(member.name)
            if stem != sample.stem or len(sample.pictures) >= _MOST:
                yield sample
                sample = _Sample(stem)
            if _is_picture(member.name):
                sample.pictures.append((member.name, names.own(member.name), _content(tar, path, member)))
            elif ending.lower() in _LABELS and not member.kind and member.size <= _LONGEST:
                label = label_in(tar.content(member), ending.lower())
                if label is not None:
                    sample.labels[ending.lower()] = label
    except Exception:  # damaged bytes end in almost any; what came before them is whole
        yield sample
        raise
    yield sample


def _content(tar: tars.Tar, path: Path, member: tars.Member) -> Content:
    if member.kind:
        return Unreadable(f"{member.name!r} in {str(path)!r} is {member.kind}, and only files in a tar are read.")
    try:
        tars.check_size(member, str(path))
    except ImageError as error:
        return Unreadable(str(error))
    # Of a compressed one, what lies ahead can only be had by unpacking all that is before it.
    return tar.content(member) if tar.packed else Part(path, member)


def _is_picture(name: str) -> bool:
    # Such as `._1.jpg`, which macOS puts beside each file.
    return name.lower().endswith(SUFFIXES) and not name.rpartition("/")[2].startswith(".")


def _parted(name: str) -> tuple[str, str]:
    """What is before the first dot of a name behind its folders, and what is after it."""
    folder, parted, last = name.rpartition("/")
    stem, _, ending = last.partition(".")
    return f"{folder}{parted}{stem}", ending


def _stem(path: Path) -> str:
    return next(path.name[: -len(ending)] for ending in tars.SUFFIXES if path.name.lower().endswith(ending))


def chain(paths: Iterable[Path]) -> Iterator[Item]:
    """The photos of several tars, one after the other."""
    for path in paths:
        yield from shard(path)
