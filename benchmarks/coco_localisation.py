"""How well maps of the demo model lie on COCO's boxes: ``python benchmarks/coco_localisation.py FOLDER``.

FOLDER holds ``images/``, ``instances.json`` and ``coco_to_imagenet.json``, which says the ImageNet classes that a COCO
class means. Of each photo one class is explained: of all that its boxes mean, the one that the model finds most
probable (several of a photo would not be drawn independently, and intervals too narrow). Its boxes are those of the
label that means it, on the original photo, brought to the model's input by the placement.

Figures are means over photos with their 95 % interval, and p against the control `random`, one-sided. Maps of
grad-cam, torchcam and captum of the same inputs are measured beside ours, unless ``--ours`` says no.
``--pictures DIR`` draws heat and boxes on the photos.
"""

# ruff: noqa: E402 - the imports below need the path and the shim

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

# The shim, which peers need.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/support"))

import torchvision_shim

torchvision_shim.install()

import numpy as np
import torch
from peer_maps import Map, peers
from PIL import ImageDraw

import gradsight as gs
from gradsight.annotations import Marks, Placed, classes_of, matched, placed, read_boxes, read_class_map
from gradsight.cases import Case
from gradsight.errors import GradsightError
from gradsight.imaging import Preprocess
from gradsight.metric_registry import as_metric
from gradsight.metric_sets import figures
from gradsight.registry import METHODS
from gradsight.significance import all_pairs, beats, interval

METRICS = ("pointing", "energypointing", "maskauc", "iou", "maxboxacc(thresholds=50)", "maxboxaccv2(thresholds=50)")
CONTROLS = ("centre", "edge", "random")
Values = dict[tuple[str, str], list[np.ndarray]]
"""For each method and metric the values of all cases."""


@dataclass(frozen=True)
class Asked:
    """A photo, the COCO class on it that is asked for, and the ImageNet class that is explained."""

    photo: Path
    label: str
    target: int
    marks: Marks


def cases(folder: Path, names: tuple[str, ...], scores_of: Callable[[Path], np.ndarray]) -> Iterator[Asked]:
    known = read_boxes(folder / "instances.json")
    photos = sorted((folder / "images").iterdir())
    found = matched(known, [str(photo) for photo in photos])
    meant, without = classes_of(known.labels, names, read_class_map(folder / "coco_to_imagenet.json"))
    for problem in (*known.problems, *found.problems):
        print("#", problem)
    print(f"# {len(without)} of {len(known.labels)} labels mean no class of the model")
    for photo, marks in zip(photos, found.marks, strict=True):
        there = {box.label for box in marks.boxes} if marks is not None else set()
        targets = {index: label for label in sorted(there & set(meant)) for index in meant[label]}
        if targets and marks is not None:
            scores = scores_of(photo)
            best = max(targets, key=lambda index: scores[index])
            yield Asked(photo, targets[best], best, marks)


def cheap(explainer: gs.Explainer, photo: Path) -> list[str]:
    """Methods of a few passes that fit the model: it has no attention, and some look at that alone."""
    found = []
    for name, entry in METHODS.items():
        if not entry.costly and name not in CONTROLS:
            try:
                explainer(photo, method=name)
            except GradsightError as reason:
                print(f"# without {name}: {reason}")
            else:
                found.append(name)
    return found


def draw(explanation: gs.Explanation, asked: Asked, where: Placed, path: Path) -> None:
    """The overlay on the photo, its boxes in pixels of the photo (white), and those on the input mapped back (red)."""
    picture = explanation.overlay(0, 0)
    lines = ImageDraw.Draw(picture)
    placement = explanation.placements[0]
    scale = picture.width / placement.image_size[1]
    for box in asked.marks.boxes:
        if box.label == asked.label:
            top, left, bottom, right = (corner * scale for corner in box.on(placement.image_size))
            lines.rectangle((left, top, right, bottom), outline="white", width=2)
    for top, left, bottom, right in where.boxes:
        (a, b), (c, d) = (placement.to_pixel(row - 0.5, column - 0.5) for row, column in ((top, left), (bottom, right)))
        lines.rectangle([(x + 0.5) * scale for x in (b, a, d, c)], outline="red")
    picture.save(path)


def measured(
    explainer: gs.Explainer,
    every: list[Asked],
    methods: list[str],
    others: dict[str, Map],
    preprocess: Preprocess,
    least: float,
    pictures: Path | None,
) -> tuple[Values, list[str]]:
    """The values; and the cases whose things the model hardly saw."""
    values: Values = defaultdict(list)
    unseen = []
    for number, asked in enumerate(every):
        made = explainer(asked.photo, targets=asked.target, method=methods)
        where = placed(asked.marks, made[0].placements[0], {asked.label})
        if where.seen < least:
            unseen.append(f"{asked.photo.name} {asked.label}: {where.seen:.0%} seen")
            continue
        for name, one in zip(methods, sorted_like(made, methods), strict=True):
            note(values, name, one.maps, where)
            if pictures is not None and number % 8 == 0 and name == "gradcam":
                draw(one, asked, where, pictures / f"{asked.photo.stem}_{asked.label}.png")
        if others:
            # The very input that ours saw: whose crop is better is another question.
            image = torch.from_numpy(preprocess(asked.photo))[None]
            for name, made_by in others.items():
                note(values, name, made_by(image, asked.target)[None, None], where)
    return values, unseen


def note(values: Values, name: str, maps: np.ndarray, where: Placed) -> None:
    """Measure one map."""
    case = Case(maps.astype(np.float32), regions=where.region[None, None], boxes=[[where.boxes]])
    for metric in METRICS:
        values[name, metric].append(as_metric(metric)(case)[0, 0])


def sorted_like(made: tuple[gs.Explanation, ...], methods: list[str]) -> list[gs.Explanation]:
    by_name = {one.method: one for one in made}
    return [by_name[name] for name in methods]


def scores_of(model: torch.nn.Module, preprocess: Preprocess, photo: Path) -> np.ndarray:
    """The model's scores of all classes, of one plain pass."""
    with torch.no_grad():
        return model(torch.from_numpy(preprocess(photo))[None])[0].numpy()


def table(values: Values, methods: list[str], title: str) -> None:
    print(f"\n## {title}\n")
    print(f"| method | {' | '.join(METRICS)} |")
    print(f"| --- |{' --- |' * len(METRICS)}")
    first = {name: figures(as_metric("pointing"), np.array(values[name, "pointing"])).mean() for name in methods}
    for name in sorted(methods, key=lambda name: -first[name]):
        cells = []
        for text in METRICS:
            metric = as_metric(text)
            own, control = (np.stack(values[one, text]) for one in (name, "random"))
            aggregate = None if metric.together is None else lambda rows, m=metric: float(figures(m, rows).mean())
            found = interval(own, aggregate=aggregate, resamples=1999)
            p = beats(figures(metric, own), figures(metric, control)).p
            star = "" if name == "random" or p >= 0.05 else "*"
            cells.append(f"{found.mean:.3f} [{found.low:.2f} {found.high:.2f}]{star}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(f"\nn = {len(values[methods[0], METRICS[0]])}; * over `random` with p < 0.05, one-sided, not corrected.")


def apart(values: Values, of_peers: dict[str, str]) -> None:
    """How far peers' figures are from those of our method of the same paper, and on how many photos they differ."""
    print("\nPeers beside our method of the same paper: difference of the means, photos whose values differ.\n")
    print(f"| peer | ours | {' | '.join(text.partition('(')[0] for text in METRICS)} |")
    print(f"| --- | --- |{' --- |' * len(METRICS)}")
    for peer, own in of_peers.items():
        cells = []
        for text in METRICS:
            metric = as_metric(text)
            theirs, ours = (figures(metric, np.stack(values[name, text])) for name in (peer, own))
            differ = int((~np.isclose(theirs, ours, atol=1e-3, equal_nan=True)).sum())
            cells.append(f"{np.nanmean(theirs - ours):+.3f}, {differ}")
        print(f"| {peer} | {own} | {' | '.join(cells)} |")


def told_apart(values: Values, methods: list[str]) -> None:
    """Which methods differ from Grad-CAM, by paired tests with Holm's correction over all pairs of methods."""
    print("\nPaired tests, corrected over all pairs of methods; different from `gradcam` with p < 0.05:\n")
    for text in METRICS:
        metric = as_metric(text)
        pairs = all_pairs({name: figures(metric, np.stack(values[name, text])) for name in methods})
        apart = [pair for pair in pairs if pair.adjusted < 0.05]
        own = [(pair, pair.first == "gradcam") for pair in apart if "gradcam" in (pair.first, pair.second)]
        named = [
            f"{pair.second if first else pair.first} {-pair.difference if first else pair.difference:+.3f}"
            for pair, first in own
        ]
        print(f"- {text}: {', '.join(named) or 'none'} ({len(apart)} of {len(pairs)} pairs differ)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument(
        "--fit", choices=("own", "squash"), default="own", help="the model's own crop, or the whole photo"
    )
    parser.add_argument("--least", type=float, default=0.25, help="leave out cases of which the model saw less")
    parser.add_argument("--first", type=int, help="so many cases")
    parser.add_argument("--ours", action="store_true", help="without the peers")
    options = parser.parse_args()
    model = gs.load_model("demo")
    preprocess = model.preprocess
    if options.fit == "squash":
        preprocess = Preprocess(
            preprocess.size,
            fit="squash",
            interpolation=preprocess.interpolation,
            mean=preprocess.mean,
            std=preprocess.std,
        )
    explainer = gs.Explainer(model.model, preprocess=preprocess, labels=model.labels)
    scores = partial(scores_of, model.model, preprocess)
    every = list(cases(options.folder, model.labels, scores))[: options.first]
    methods = [*cheap(explainer, every[0].photo), *CONTROLS]
    start = time.process_time()
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
    found = {} if options.ours else peers(model.model)
    others = {name: made_by for name, (_, made_by) in found.items()}
    values, unseen = measured(explainer, every, methods, others, preprocess, options.least, options.pictures)
    print(
        f"# {len(every)} cases; of {len(unseen)} the model saw under {options.least:.0%}: {'; '.join(unseen) or 'none'}"
    )
    table(values, [*methods, *others], f"fit = {options.fit}")
    apart(values, {name: own for name, (own, _) in found.items()})
    told_apart(values, methods)
    print(f"\nProcessor time: {time.process_time() - start:.0f} s")


if __name__ == "__main__":
    main()
