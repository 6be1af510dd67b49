"""The store that a run is written into: a folder that one process has, and that a killed one leaves whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, received
from gradsight.files import UNFINISHED, durable, exists
from gradsight.rules import Name
from gradsight.runs.digests import Done, digests
from gradsight.runs.lock import locked
from gradsight.runs.manifest import FILE, Manifest
from gradsight.runs.parts import PartWriter
from gradsight.runs.reading import FOLDER, parquet_module, parts_in
from gradsight.runs.schema import FAILED, RunRow

if TYPE_CHECKING:
    import filelock

_OURS = (FILE, FOLDER)


class Store:
    """A run that is being written.

    Attributes:
        folder: of the run.
        manifest: what it is of. Of a run that goes on it is the one of its beginning, with its batch size.
        done: the keys of the images that it has already, explained or failed.
        failed: how many of these failed.
        told: what is not as at the beginning, in words, such as another version of PyTorch: the last digits may differ.
        parts: what writes parts; it can be pickled and given to other processes.
    """

    def __init__(self, folder: Path, manifest: Manifest, lock: filelock.BaseFileLock, told: tuple[str, ...]) -> None:
        self.folder, self.manifest, self.told = folder, manifest, told
        self.done, self.failed = _done(folder)
        self.parts = PartWriter(folder)
        self._lock = lock

    @classmethod
    def open(cls, out: str | os.PathLike[str], manifest: Manifest) -> Store:
        """Begin a run in a folder, or go on with the one that is there.

        What a killed process left half written is removed.

        Args:
            out: the folder; it is made if need be.
            manifest: what the run is of.

        Raises:
            InvalidArgument: another process writes there; it is a run of something else, or a folder of other things;
                it cannot be written, or a part of it cannot be read.
            MissingDependency: pyarrow or filelock is not installed.
        """
        folder = Path(taken("out", out, Name()))
        # Before a folder is made: without PyArrow there will be no run.
        parquet_module()
        _made(folder)
        lock = locked(folder)
        try:
            # First of all: of a run of something else nothing is touched.
            found = _going_on(folder, manifest)
            _without_torn(folder)
            store = cls(folder, found or manifest.begun(), lock, found.told(manifest) if found else ())
            store.save(store.manifest)
            return store
        except BaseException:
            lock.release()
            raise

    def save(self, manifest: Manifest) -> None:
        """Put another manifest in the place of the one that is there, as when the batch size is found."""
        with durable(self.folder / FILE) as file:
            file.write(f"{manifest.to_json()}\n".encode())
        self.manifest = manifest

    def write(self, rows: Sequence[RunRow], position: int = 0) -> Path:
        """Write one part, whole or not at all; see `PartWriter.write`."""
        return self.parts.write(rows, position)

    def finish(self, images: int, failed: int) -> None:
        """The run came to its end: all images of its source have rows.

        Args:
            images: how many there are, those that failed among them.
            failed: how many failed.
        """
        self.save(replace(self.manifest, images=images, failed=failed, complete=True))
        self.close()

    def close(self) -> None:
        """Let others write there."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _made(folder: Path) -> None:
    """Make the folder of a run, where there is none; one of other things is left as it is."""
    try:
        others = [name for name in os.listdir(folder) if _is_of_others(name)] if folder.exists() else []
        # Beside a manifest anything may lie, such as notes of the user's.
        if others and not exists(folder / FILE):
            raise InvalidArgument(
                f"`out` must be a folder of its own. {received(str(folder))} It holds other things, such as "
                f"{min(others)!r}, and no run. Name one that is not there yet."
            )
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        if isinstance(error, InvalidArgument):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidArgument(f"{str(folder)!r} cannot be written: {reason}. Name another place as `out`.") from error


def _is_of_others(name: str) -> bool:
    # What is hidden is the system's, or left of a run that was killed before it had a manifest.
    return name not in _OURS and not name.startswith(".")


def _going_on(folder: Path, manifest: Manifest) -> Manifest | None:
    """The manifest of the run that is there already; None where there is none."""
    if not exists(folder / FILE):
        if parts_in(folder):
            raise InvalidArgument(
                f"{str(folder)!r} holds rows and no {FILE}: what they are of is not known. Put it back, or name "
                "another folder as `out`."
            )
        return None
    found = Manifest.read(folder)
    differing = found.differs(manifest)
    # Without a row it is a run of nothing yet: what was asked for first may have been a slip.
    if differing and not parts_in(folder):
        return None
    if differing:
        raise InvalidArgument(
            f"{str(folder)!r} is a run of something else. {_listed(differing)} Name another folder as `out`, or ask "
            "for what was asked for there."
        )
    return found.begun()


def _listed(differing: Sequence[str]) -> str:
    return " ".join(f"{each[:1].upper()}{each[1:]}." for each in differing)


def _without_torn(folder: Path) -> None:
    """Remove what a killed process had not written to its end."""
    # Nobody else writes there: the lock is ours.
    for place in (folder, folder / FOLDER):
        for torn in place.glob(f"{UNFINISHED}*.part"):
            torn.unlink(missing_ok=True)


def _done(folder: Path) -> tuple[Done, int]:
    """The keys of the images that have rows, and how many of them failed."""
    from pyarrow import compute

    found, failed = [digests([])], [digests([])]
    for part in parts_in(folder):
        for table in part.tables(["key", "status"]):
            found.append(digests(table["key"].unique().to_pylist()))
            failed.append(digests(table.filter(compute.equal(table["status"], FAILED))["key"].to_pylist()))
    return Done(np.concatenate(found)), len(np.unique(np.concatenate(failed)))
