"""Photos, tars or lists by a pattern: ``photos/**/*.jpg``, ``shard-{000..007}.tar``."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from gradsight.errors import ImageError, InvalidArgument
from gradsight.files import exists, is_folder
from gradsight.folders import in_folders
from gradsight.imaging import SUFFIXES
from gradsight.limits import COUNT
from gradsight.runs.item import Item
from gradsight.runs.packed import Packed
from gradsight.runs.sources import folder, parquet, table, text
from gradsight.runs.sources.source import Given, Source, source_of
from gradsight.runs.tars import SUFFIXES as TARS

_MAGIC = re.compile(r"[*?\[]")
_BRACES = re.compile(r"\{([^{}]*(?:,|\.\.)[^{}]*)\}")
_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")

_MEANT = (SUFFIXES, TARS, parquet.SUFFIXES, table.SUFFIXES, text.SUFFIXES)
"""What is meant where a pattern fits several kinds of files: the first of these that it fits."""


def found(given: Given) -> Source | None:
    """What a pattern fits, if one is given.

    ``*``, ``?`` and ``[a-z]`` stand for what is in a name, ``**`` for any folders, ``{a,b}`` and ``{000..007}`` for
    each of these.

    Raises:
        ImageError: it fits nothing.
        InvalidArgument: a file that braces name is not there.
    """
    value = given.value
    if not isinstance(value, str | os.PathLike):
        return None
    # Not made shorter: `..` behind a link to a folder leads elsewhere.
    pattern = os.path.join(os.getcwd(), os.fsdecode(value))
    if not _MAGIC.search(pattern) and not _BRACES.search(pattern):
        return None
    patterns = _expanded(pattern)
    # Keys begin where the choices of all braces part.
    root = os.path.commonpath([_root(each) for each in patterns])
    matches = Packed(path for each in patterns for path in _matches(each, given.leave_out))
    endings = next((kind for kind in _MEANT if any(path.lower().endswith(kind) for path in matches)), None)
    if endings is None:
        raise ImageError(f"{pattern!r} fits no picture ({', '.join(SUFFIXES)}), no tar and no list of photos.")
    if endings == SUFFIXES:
        return _photos(pattern, root, matches)
    return _chained(pattern, [path for path in matches if path.lower().endswith(endings)])


def _photos(pattern: str, root: str, matches: Packed) -> Source:
    """Pictures, called by their paths in the last folder that all have, as those of a folder are."""

    def begin() -> Iterator[Item]:
        # A pattern such as ** fits notes and lists beside the pictures too.
        for path in matches:
            if path.lower().endswith(SUFFIXES):
                yield folder.item_in(Path(root), tuple(_below(path, root)))

    return Source(pattern, begin, sum(path.lower().endswith(SUFFIXES) for path in matches))


def _chained(pattern: str, paths: Sequence[str]) -> Source:
    """The photos of several tars or lists, one after the other."""
    sources = [source for path in paths if (source := source_of(Given(path))) is not None]

    def begin() -> Iterator[Item]:
        for source in sources:
            yield from source.begin()

    lengths = [source.length for source in sources if source.length is not None]
    return Source(pattern, begin, sum(lengths) if len(lengths) == len(sources) else None)


def _expanded(pattern: str) -> list[str]:
    """A pattern without braces for each choice of what is in them, in their order."""
    done, waiting = [], [pattern]
    while waiting:
        each = waiting.pop()
        braces = _BRACES.search(each)
        if braces is None:
            done.append(each)
            continue
        # The first braces without others in them: those around them come when they are gone.
        words = _words(braces[1])
        COUNT.check(len(done) + len(waiting) + len(words), f"{pattern!r} stands for too many names")
        # The last one first, since what waits is taken from its end.
        waiting += [each[: braces.start()] + word + each[braces.end() :] for word in reversed(words)]
    return done


def _words(inside: str) -> Sequence[str]:
    numbers = _RANGE.fullmatch(inside)
    if numbers is None:
        return inside.split(",")
    first, last = int(numbers[1]), int(numbers[2])
    COUNT.check(abs(last - first) + 1, f"'{{{inside}}}' stands for too many names")
    # As many digits as were written: 000, 001 ...
    width = len(numbers[1]) if numbers[1].startswith("0") else 0
    return [f"{n:0{width}}" for n in range(first, last + 1)]


def _root(pattern: str) -> str:
    """The folder above the first name that is a pattern."""
    parts = Path(pattern).parts[:-1]
    fixed = next((i for i, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
    return str(Path(*parts[:fixed]))


def _matches(pattern: str, leave_out: Sequence[str]) -> Iterator[str]:
    """The paths that a pattern without braces fits; of a folder, what is in it."""
    if not _MAGIC.search(pattern):
        if not exists(pattern):
            raise InvalidArgument(f"There is no file {pattern!r}, which the pattern names. Check its braces.")
        yield from _in_folder(pattern, leave_out) if is_folder(pattern) else [pattern]
        return
    root = _root(pattern)
    parts = Path(pattern).parts[len(Path(root).parts) :]
    fixed = parts.index("**") if "**" in parts else len(parts)
    for path in _by_level(root, parts[:fixed]):
        if fixed < len(parts):
            yield from (each for each in _in_folder(path, leave_out, ("",)) if _fits(_below(each, path), parts[fixed:]))
        else:
            yield from _in_folder(path, leave_out) if is_folder(path) else [path]


def _by_level(folder: str, parts: Sequence[str]) -> Iterator[str]:
    """What fits the parts of a pattern, one for each level of folders."""
    if not parts:
        yield folder
        return
    # What is hidden is meant only where the pattern says so.
    names = [name for name in _listed(folder) if not name.startswith(".") or parts[0].startswith(".")]
    for name in names:
        if fnmatch.fnmatchcase(name, parts[0]):
            yield from _by_level(os.path.join(folder, name), parts[1:])


def _listed(folder: str) -> list[str]:
    try:
        # Sorted, since each file system has an order of its own.
        return sorted(os.listdir(folder))
    except OSError:  # a file, where the pattern means a folder; or one that may not be opened
        return []


def _fits(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether the names in a path fit the parts of a pattern, of which ``**`` stands for any number of folders."""
    if not parts or not names:
        return not parts and not names
    if parts[0] == "**":
        return len(parts) == 1 or any(_fits(names[i:], parts[1:]) for i in range(len(names)))
    return fnmatch.fnmatchcase(names[0], parts[0]) and _fits(names[1:], parts[1:])


def _below(path: str, folder: str) -> Sequence[str]:
    return Path(path).relative_to(folder).parts


def _in_folder(path: str, leave_out: Sequence[str], suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[str]:
    if is_folder(path):
        for held, names in in_folders(Path(path), True, leave_out, [], suffixes):
            yield from (str(held / name) for name in names)
