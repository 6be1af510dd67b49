"""A small run without a model, for examples and for trying things out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from gradsight import imaging
from gradsight.results.example import example as explanation
from gradsight.runs.item import Item
from gradsight.runs.manifest import Manifest
from gradsight.runs.rows import Labelling, rows_of
from gradsight.runs.schema import RunRow
from gradsight.runs.store import Store


def example(folder: str | os.PathLike[str]) -> Path:
    """Write a run of two grey photos, and of one that failed, into a folder.

    Returns:
        The run's own folder in it.
    """
    photos = Path(folder) / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for name in ("a.png", "b.png"):
        imaging.save(explanation().photos[0], photos / name)
    # Two photos that differ by their scores alone, so that a filter can tell them apart.
    first, second = _row(photos / "a.png"), _row(photos / "b.png")
    run = Path(folder) / "run"
    with Store.open(run, Manifest(name="example", weights="0", source=str(photos))) as store:
        store.write([first, replace(second, score=8.5), RunRow.failed("c.png", "it is empty")])
        store.finish(images=3, failed=1)
    return run


def _row(photo: Path) -> RunRow:
    """The one map of an example, of a photo of its own."""
    (row,) = rows_of([explanation()], Item(photo.name, photo, str(photo.absolute())), Labelling())
    return row
