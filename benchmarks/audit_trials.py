"""How surely an audit finds planted shortcuts: ``python benchmarks/audit_trials.py FOLDER --seeds 20 --kept DIR``.

FOLDER is that of the data sets (``scenes``, ``beans``, ``imagenet``). In each trial every photo of one class gets a
plant (`audit_worlds.PLANTS`); a small network is trained on three fifths of the photos, explains the rest by Grad-CAM,
and is audited. Found is a plant whose class and place are those of the first suspect; what the audit knows is the maps,
the photos and the model, and not the plant. Clean trials have no plant: there no suspect should be confirmed.

Networks are kept in DIR, so that a change of the audit can be tried again in minutes.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import audit_worlds as worlds
import numpy as np
import torch

import gradsight as gs
from gradsight.auditing.audit import Audit, audited
from gradsight.auditing.places import pixels
from gradsight.auditing.seen import seen_of
from gradsight.auditing.suspects import Suspect

SETS = ("scenes", "beans", "scenes", "imagenet")
"""Which data a seed takes."""

LEARNED = 0.1
"""A network that the plant turns fewer photos of has hardly learned it."""


def audit_of(made: worlds.World, net: worlds.Small, seed: int) -> Audit:
    preprocess = gs.Preprocess(worlds.SIZE, mean=0.5, std=0.25)
    explainer = gs.Explainer(net, preprocess=preprocess, labels=made.labels, batch_size=64)
    with explainer.stream(made.photos) as stream:
        seen, _ = seen_of(stream, labels=made.classes.tolist(), names=made.labels)
    return audited(seen, explainer, seed=seed)


def is_found(made: worlds.World, suspect: Suspect) -> bool:
    """Whether a suspect is the plant: the class, and a place that is the plant's for the most part."""
    if suspect.target != made.planted:
        return False
    where = made.mask[made.classes == made.planted]
    # Of a plant that moves all places that it may be at: the strip along its edge.
    plant = where.mean(axis=0) > 0
    if suspect.moving:
        plant = where.any(axis=0)
    box = np.zeros(plant.shape, bool)
    box[pixels(suspect.box, plant.shape)] = True
    # Half of the smaller of both lies in the other: a part of a frame, or a mark with a margin around it.
    return bool((box & plant).sum() >= 0.5 * min(box.sum(), plant.sum()))


def trial(data: Path, kept: Path, name: str, seed: int, cells: int) -> dict[str, object]:
    made = worlds.world(data, SETS[seed % len(SETS)], worlds.PLANTS.get(name), seed)
    net = worlds.kept(kept, made, name, seed, cells)
    start = time.thread_time()
    audit = audit_of(made, net, seed)
    first = audit.suspects[0] if audit.suspects else None
    return {
        "plant": name,
        "data": made.data,
        "seed": seed,
        "cells": cells,
        **worlds.learned(made, net),
        "first": bool(first and is_found(made, first)),
        "confirmed": [one.label for one in audit.confirmed],
        "first_confirmed": bool(first and first.confirmed),
        "wrong": sum(one.confirmed and one.target != made.planted for one in audit.suspects),
        "beside": sum(
            one.confirmed and one.target == made.planted and not is_found(made, one) for one in audit.suspects
        ),
        "passes": audit.passes,
        "seconds": round(time.thread_time() - start, 1),
        "sentence": audit.findings[0].sentence if audit.suspects else "",
    }


def told(rows: list[dict[str, object]]) -> None:
    by_plant = defaultdict(list)
    for row in rows:
        by_plant[row["plant"], row["cells"]].append(row)
    print("plant           cells  trials  ranked first  and confirmed  of those learned  others confirmed  s a trial")
    for (name, cells), own in by_plant.items():
        learned = [row for row in own if row.get("turned", 1) >= LEARNED]
        first, sure = sum(row["first"] for row in own), sum(row["first"] and row["first_confirmed"] for row in own)
        known = sum(row["first"] for row in learned)
        wrong = sum(row["wrong"] > 0 for row in own)
        seconds = np.mean([row["seconds"] for row in own])
        print(
            f"{name:15} {cells:5}  {len(own):6}  {first:12}  {sure:13}  {known:7} of {len(learned):2}  {wrong:16}  "
            f"{seconds:9.1f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[20], help="how many, or from and to")
    parser.add_argument("--kept", type=Path, default=Path("audit-networks"))
    parser.add_argument("--plants", nargs="+", default=[*worlds.PLANTS, "clean"])
    parser.add_argument("--cells", type=int, default=12, help="positions along a side of the explained layer: 12 or 6")
    parser.add_argument("--out", type=Path, help="a file for a line of JSON for each trial")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []
    for seed in range(*asked.seeds):
        for plant in asked.plants:
            rows.append(trial(asked.data, asked.kept, plant, seed, asked.cells))
            if asked.out:
                with asked.out.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    told(rows)
