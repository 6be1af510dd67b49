"""A small run without a model, for examples and for trying things out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from gradsight import imaging
from gradsight.results.example import example as explanation
from gradsight.runs import fingerprint
from gradsight.runs.manifest import Manifest
from gradsight.runs.maps import packed
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
    # Written out, column by column: what a run keeps of an explanation can be read here.
    made = explanation()
    target = made.record().targets[0]
    content, scale = packed(made.maps[0, 0])
    return RunRow(
        key=photo.name,
        path=str(photo.absolute()),
        fingerprint=fingerprint.of(photo),
        width=60,
        height=40,
        target=0,
        index=target.index,
        target_label=target.label,
        score=target.score,
        layers=made.layers,
        at=made.at,
        method=made.method,
        title=made.title,
        map=content,
        scale=scale,
        shape=(2, 2),
        input_size=(20, 20),
        seen=(0.0, 0.0, 40.0, 60.0),
        signed=target.signed,
        peak=target.peak,
        box=target.box,
        area=target.area,
    )
