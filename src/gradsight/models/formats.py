"""The file formats that models come in: each is entered by `file_format` in the one module that reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from gradsight.errors import InvalidArgument, received
from gradsight.models.model import Model
from gradsight.registry import SOURCES

Reader: TypeAlias = Callable[[Path], Model]
"""From a file that is there to its model."""

_READERS: dict[str, Reader] = {}


def file_format(*suffixes: str) -> Callable[[Reader], Reader]:
    """Enter a function as the reader of files whose names end so, ``".pt2"``; in lower case, but any case is read."""

    def enter(reader: Reader) -> Reader:
        # no check for doubles: two readers of one suffix would be a mistake that any test of either shows
        _READERS.update(dict.fromkeys(suffixes, reader))
        return reader

    return enter


def known_suffixes() -> tuple[str, ...]:
    """The suffixes of all formats, in the order of letters."""
    len(SOURCES)  # formats lie among the sources: to count these imports them all, once
    return tuple(sorted(_READERS))


def reader_of(path: Path) -> Reader | None:
    """What reads a file of that suffix; None where nothing does."""
    suffix = path.suffix.lower()
    # By `known_suffixes`, which sees to it that all readers are entered.
    return _READERS[suffix] if suffix in known_suffixes() else None


def check_no_weights(path: Path, weights: str | None) -> None:
    """See that no weights were given for a file that holds its own.

    Raises:
        InvalidArgument: some were.
    """
    if weights is not None:
        raise InvalidArgument(
            f"weights do not go with {_an(path.suffix)} file, it holds its own. {received(weights)} Leave it out."
        )


def _an(suffix: str) -> str:
    return f"an {suffix}" if suffix == ".onnx" else f"a {suffix}"
