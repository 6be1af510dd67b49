"""Runs to make reports of: photos in files, maps that are known, and classes that are right or wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import stores
from gradsight.auditing.audit import Audit
from gradsight.auditing.finding import Finding
from gradsight.imaging import Placement
from gradsight.results.explanation import Explanation
from gradsight.results.note import Note
from gradsight.runs.schema import RunRow
from gradsight.significance import Interval
from gradsight.targets import Prediction, TargetInfo

NAMES = ("cat", "dog", "bird")

SIZE = (90, 60)
"""Width and height of photos in pixels."""

NASTY = (
    '<script>window.hit = 1</script><img src=x onerror="window.hit = 1">',
    "\"quoted\" 'and' \u202eright to left\u202c שלום \u200f",
    "two\nlines</script></style>--> {{ 7 * 7 }} {% raw %} ${x}",
)
"""Texts that a page must show and not obey."""


def photo(path: Path, number: int, size: tuple[int, int] = SIZE) -> Path:
    """A photo of patches, another one for each number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).integers(0, 256, (size[1] // 6, size[0] // 6, 3), np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def explanation(
    path: Path,
    number: int,
    targets: Sequence[int] = (0,),
    names: Sequence[str] = NAMES,
    note: str = "",
    **about: object,
) -> Explanation:
    """The maps of a photo, 5 x 5: hot at another place for each number and target."""
    with Image.open(path) as picture:
        shown = picture.convert("RGB")
    random = np.random.default_rng(1000 + number)
    maps = random.random((1, len(targets), 5, 5)).astype(np.float32) - 0.3
    for j in range(len(targets)):
        maps[0, j, (number + j) % 5, (2 * number + j) % 5] = 3
    # The model saw the middle of the photo alone: a square of 50 pixels.
    wide = (shown.width - 50) / 2
    values: dict[str, object] = {
        "maps": maps,
        "scores": np.full((1, len(targets)), 2.5, np.float32),
        "targets": (tuple(TargetInfo(i, names[i]) for i in targets),),
        "layers": ("layer4",),
        "at": "layer",
        "method": "gradcam",
        "model": "model",
        "input_size": (40, 40),
        "predictions": ((Prediction(targets[0], names[targets[0]], 0.9), Prediction(2, names[2], 0.05)),),
        "target_notes": (tuple((Note("weak_map", note),) if note else () for _ in targets),),
        "photos": (shown,),
        "placements": (Placement((shown.height, shown.width), (40, 40), (5.0, wide, 55.0, wide + 50)),),
        "title": "Grad-CAM",
    }
    return Explanation(**(values | about))  # type: ignore[arg-type]


def rows(
    key: str, explanations: Sequence[Explanation], path: Path | None, label: int | None, names: Sequence[str] = NAMES
) -> list[RunRow]:
    """The rows of a photo, with its class."""
    best = explanations[0].predictions[0][0]
    return [
        replace(
            row,
            probability=best.probability,
            label=None if label is None else names[label],
            label_index=label,
        )
        for row in stores.rows_of(key, explanations, path)
    ]


def run(
    folder: Path,
    count: int = 12,
    *,
    names: Sequence[str] = NAMES,
    keys: Mapping[int, str] | None = None,
    labels: bool = True,
    targets: int = 1,
    note: str = "",
    size: tuple[int, int] = SIZE,
    failed: Sequence[tuple[str, str]] = (),
    **about: object,
) -> Path:
    """A run of so many photos in turn of each class; each fifth was taken for the next one."""
    parts = []
    for i in range(count):
        label = i % len(names)
        guess = (label + (i % 5 == 4)) % len(names)
        path = photo(folder / "photos" / f"{i}.png", i, size)
        asked = [(guess + j) % len(names) for j in range(targets)]
        one = explanation(path, i, asked, names, note)
        parts.append(
            rows((keys or {}).get(i, f"{names[label]}/{i}.png"), [one], path, label if labels else None, names)
        )
    parts.append([RunRow.failed(key, why) for key, why in failed])
    return stores.write(folder / "run", [part for part in parts if part], **about)


def audit(count: int, keys: Sequence[str], label: str = "cat") -> Audit:
    """An audit with a finding of each kind, made up."""
    figure = Interval(mean=0.4, low=0.3, high=0.5, n=20, missing=0)
    few = Interval(mean=-0.1, low=float("nan"), high=float("nan"), n=3, missing=0)
    about = {"label": label, "photos": tuple(keys)}
    box = (0.5, 0.25, 1.0, 0.75)
    findings = (
        Finding(
            kind="suspect", sentence="it is taken", confirmed=True, box=box, removal=figure, transplant=few, **about
        ),
        Finding(kind="change", sentence="it moved", **about),
        Finding(kind="background", sentence="it is the branch", removal=figure, **about),
        Finding(kind="error", sentence="it is wrong", box=box, **about),
        Finding(kind="confusion", sentence="they are mixed up", **about),
        Finding(kind="look", sentence="it looks at the middle", **about),
        Finding(kind="suspect", sentence="it was tried", confirmed=False, box=box, removal=few, **about),
        Finding(kind="suspect", sentence="nobody tried", box=box, **about),
    )
    return Audit("model", count, findings, (), (), None, (), (), (), tried=True, passes=9, notes=("a note",))
