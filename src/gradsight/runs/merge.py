"""Several runs made one: the shards of a run, or what several machines did of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, InvalidType, received
from gradsight.rules import Name
from gradsight.runs.digests import digests
from gradsight.runs.manifest import Manifest
from gradsight.runs.opened import Run, open_run
from gradsight.runs.reading import Part, Table, parts_in
from gradsight.runs.schema import FAILED
from gradsight.runs.store import Store


def merge_runs(runs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> Run:
    """Make one run of several that are of the same model, weights and settings, such as the shards of one.

    An image that several of them have is taken once, and one that failed in one of them and was explained in another is
    explained. What was killed goes on when it is called again.

    >>> from tempfile import TemporaryDirectory
    >>> from gradsight.runs.example import example
    >>> with TemporaryDirectory() as folder:
    ...     run = merge_runs([example(f"{folder}/1"), example(f"{folder}/1")], f"{folder}/both")
    ...     run.images, run.manifest.complete
    (('a.png', 'b.png'), True)

    Args:
        runs: their folders.
        out: the folder of the new run; it is made if need be.

    Returns:
        The new run. Where shards are missing, or runs did not come to their end, it is not complete, and its
        ``manifest.missing`` says what is missing.

    Raises:
        InvalidArgument: there are no runs; they are of different things; ``out`` is one of them.
        InvalidType: ``runs`` is no list of folders.
        MissingDependency: pyarrow or filelock is not installed.
    """
    opened = _opened(runs)
    place = Path(taken("out", out, Name()))
    for run in opened:
        if os.path.realpath(run.folder) == os.path.realpath(place):
            raise InvalidArgument(f"`out` must be a new folder, and not one of `runs`. {received(str(place))}")
    _check_same([run.manifest for run in opened])
    # Told, and no error: the other shards may still be on their way.
    missing = tuple(_missing(opened))
    with Store.open(place, _of_all(opened[0].manifest)) as store:
        _merge([part for run in opened for part in parts_in(run.folder)], store)
        merged = open_run(place)
        failed = len(merged.failed)
        found = replace(store.manifest, images=len(merged) + failed, failed=failed)
        store.save(replace(found, complete=not missing, missing=missing))
    return open_run(place)


def _opened(runs: Sequence[str | os.PathLike[str]]) -> list[Run]:
    if not isinstance(runs, list | tuple):
        raise InvalidType(f"`runs` must be a list of folders of runs. {received(runs)} Pass ['run-1', 'run-2'].")
    if not runs:
        raise InvalidArgument(f"`runs` must name at least one run. {received(runs)}")
    return [open_run(run) for run in runs]


def _of_all(manifest: Manifest) -> Manifest:
    """The manifest of the whole that a shard is one of."""
    return replace(manifest.begun(), shard=None)


def _check_same(manifests: Sequence[Manifest]) -> None:
    first = _of_all(manifests[0])
    for number, other in enumerate(manifests[1:], start=2):
        differing = first.differs(_of_all(other))
        if differing:
            raise InvalidArgument(
                "`runs` must be of the same model, weights and settings. Of the first and of number "
                f"{number} differ: {'; '.join(differing)}. Merge those that are the same."
            )
    if len({manifest.shard[-1] for manifest in manifests if manifest.shard}) > 1:
        raise InvalidArgument(f"`runs` must be shards of one number. {received([each.shard for each in manifests])}")


def _missing(runs: Sequence[Run]) -> Iterator[str]:
    """What the runs lack of the whole, in words."""
    there = {run.manifest.shard[0]: run.manifest.shard[1] for run in runs if run.manifest.shard}
    whole = any(run.manifest.shard is None for run in runs)
    for count in set(there.values()) if not whole else ():
        yield from (f"shard {i}/{count}" for i in range(1, count + 1) if i not in there)
    for run in runs:
        if not run.manifest.complete:
            yield f"the rest of {str(run.folder)!r}, which did not come to its end"


def _merge(parts: Sequence[Part], store: Store) -> None:
    """Take what is new of each part."""
    # Through all keys once more than the copying needs: what failed here may have been explained in a later run.
    explained = np.unique(np.concatenate([digests([]), *map(_explained, parts)]))
    there = store.done.digests
    for part in parts:
        masks, found = [], [digests([])]
        for table in part.tables(["key", "status"]):
            rows, failed = _rows(table), _failed(table)
            # An image that was explained in another run has not failed.
            masks.append(~np.isin(rows, there) & ~(failed & np.isin(rows, explained)))
            found.append(rows[masks[-1]])
        store.parts.copy(part, masks)
        # Sorted as it was, so that the next part is looked up by halving.
        there = np.union1d(there, np.concatenate(found))


def _explained(part: Part) -> NDArray[np.bytes_]:
    """The digests of the images that a part explains."""
    return np.concatenate([digests([]), *(_rows(table)[~_failed(table)] for table in part.tables(["key", "status"]))])


def _rows(table: Table) -> NDArray[np.bytes_]:
    """The digest of each row's key."""
    keys = table["key"].combine_chunks().dictionary_encode()
    # Once for each key: an image has several rows.
    numbers: NDArray[np.int32] = keys.indices.to_numpy()
    return digests(map(str, keys.dictionary.to_pylist()))[numbers]


def _failed(table: Table) -> NDArray[np.bool_]:
    return np.array([status == FAILED for status in table["status"].to_pylist()], bool)
