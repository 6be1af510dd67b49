"""Small runs for tests: rows of explanations, written into a store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from unittest import mock

from gradsight.results.explanation import Explanation
from gradsight.runs import fingerprint, maps
from gradsight.runs.manifest import Manifest
from gradsight.runs.schema import RunRow
from gradsight.runs.store import Store


def manifest(**about: object) -> Manifest:
    """A manifest of a model that is none."""
    return Manifest(**({"name": "model", "weights": "0" * 64, "source": "photos"} | about))


def rows_of(key: str, explanations: Iterable[Explanation], path: Path | None = None) -> list[RunRow]:
    """The rows of explanations of one photo, column by column."""
    rows = []
    for one in explanations:
        record = one.record()
        for j, target in enumerate(record.targets):
            content, scale = maps.packed(one.maps[0, j])
            rows.append(
                RunRow(
                    key=key,
                    path=None if path is None else str(path),
                    fingerprint=None if path is None else fingerprint.of(path),
                    width=record.width,
                    height=record.height,
                    prediction=record.predictions[0].index if record.predictions else None,
                    prediction_label=record.predictions[0].label if record.predictions else None,
                    top=record.predictions,
                    target=j,
                    index=target.index,
                    target_label=target.label,
                    sides=one.targets[0][j].sides,
                    place=target.place,
                    score=target.score,
                    layers=one.layers,
                    at=one.at,
                    method=one.method,
                    title=one.title,
                    map=content,
                    scale=scale,
                    shape=one.maps.shape[2:],
                    input_size=tuple(one.input_size),
                    seen=one.placements[0].box if one.placements else None,
                    signed=target.signed,
                    peak=target.peak,
                    box=target.box,
                    area=target.area,
                    notes=tuple(note.code for note in target.notes),
                    note_texts=tuple(note.text for note in target.notes),
                )
            )
    return rows


def plain_rows(keys: Iterable[str], **values: object) -> list[RunRow]:
    """Rows of one map of 2 x 2 each."""
    content, scale = b"\0\0\0<\0\0\0\0", 4.0
    common: dict[str, object] = {
        "target": 0,
        "target_label": "cat",
        "index": 1,
        "score": 2.5,
        "layers": ("layer4",),
        "at": "layer",
        "method": "gradcam",
        "title": "Grad-CAM",
        "map": content,
        "scale": scale,
        "shape": (2, 2),
        "input_size": (8, 8),
        "width": 8,
        "height": 8,
    }
    return [RunRow(**({"key": key} | common | values)) for key in keys]


def write(folder: Path, parts: Iterable[Sequence[RunRow]], **about: object) -> Path:
    """A run of some parts, complete."""
    # Nobody takes the plug out of a test, and a disk takes its time.
    with mock.patch("os.fsync"), Store.open(folder, manifest(**about)) as store:
        images, failed = set(), set()
        for number, rows in enumerate(parts):
            store.write(rows, number)
            images |= {row.key for row in rows}
            failed |= {row.key for row in rows if row.status == "failed"}
        store.finish(len(images), len(failed))
    return folder
