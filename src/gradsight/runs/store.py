"""The store that a run is written into: a folder that one process has, and that a killed one leaves whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, MissingDependency
from gradsight.files import UNFINISHED, durable, exists
from gradsight.rules import Name
from gradsight.runs.digests import Done, digests
from gradsight.runs.manifest import FILE, Manifest
from gradsight.runs.parts import PartWriter
from gradsight.runs.reading import FOLDER, Part, parts_in
from gradsight.runs.schema import RunRow

if TYPE_CHECKING:
    import filelock

LOCK = ".lock"


class Store:
    """A run that is being written.

    Attributes:
        folder: of the run.
        manifest: what it is of. Of a run that goes on it is the one of its beginning, with its batch size.
        done: the keys of the images that it has already, explained or failed.
        parts: what writes parts; it can be pickled and given to other processes.
    """

    def __init__(self, folder: Path, manifest: Manifest, done: Done, lock: filelock.BaseFileLock) -> None:
        self.folder, self.manifest, self.done = folder, manifest, done
        self.parts = PartWriter(folder)
        self._lock = lock

    @classmethod
    def open(cls, out: str | os.PathLike[str], manifest: Manifest) -> Store:
        """Begin a run in a folder, or go on with the one that is there.

        Args:
            out: the folder; it is made if need be.
            manifest: what the run is of.

        Raises:
            InvalidArgument: another process writes there; it is a run of something else, or a folder of other things;
                it cannot be written.
            MissingDependency: pyarrow or filelock is not installed.
        """
        folder = Path(taken("out", out, Name()))
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        lock = _locked(folder)
        try:
            found = _going_on(folder, manifest)
            for torn in (folder / FOLDER).glob(f"{UNFINISHED}*.part"):
                torn.unlink(missing_ok=True)
            store = cls(folder, found or manifest.begun(), _done(folder), lock)
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


def _locked(folder: Path) -> filelock.BaseFileLock:
    try:
        import filelock
    except ImportError as error:
        raise MissingDependency("a run is locked by filelock. Install it: pip install 'gradsight[run]'.") from error
    lock = filelock.FileLock(folder / LOCK, blocking=False, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise InvalidArgument(f"another process writes into {str(folder)!r}. Wait for its end, or end it.") from None
    return lock


def _going_on(folder: Path, manifest: Manifest) -> Manifest | None:
    """The manifest of the run that is there already."""
    if not exists(folder / FILE):
        return None
    found = Manifest.read(folder)
    differences = found.differs(manifest)
    if differences:
        raise InvalidArgument(
            f"{str(folder)!r} is a run of something else ({'; '.join(differences)}). Name another folder as `out`, or "
            "ask for the same."
        )
    return found.begun()


def _done(folder: Path) -> Done:
    found = [digests(key) for part in parts_in(folder) for key in _keys(part)]
    return Done(np.concatenate([digests([]), *found]))


def _keys(part: Part) -> Iterator[list[str]]:
    """The keys of each row group, each once."""
    for table in part.tables(["key"]):
        yield table["key"].unique().to_pylist()
