"""How surely an audit finds planted shortcuts: ``python benchmarks/audit_trials.py FOLDER --seeds 20 --kept DIR``.

FOLDER is that of the data sets (``scenes``, ``beans``, ``imagenet``). In each trial every photo of one class gets a
plant (`audit_worlds.PLANTS`); a network (``--network``) is trained on three fifths of the photos, explains the rest by
Grad-CAM, and is audited. Found is a plant whose class and place are those of the first suspect; what the audit knows is
the maps, the photos and the model, and not the plant. Clean trials have no plant: there no suspect should be confirmed.

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
from typing import Any

import audit_worlds as worlds
import numpy as np
import torch
from audit_networks import Recipe, learned

import gradsight as gs
from gradsight.auditing.audit import Audit, audited
from gradsight.auditing.places import pixels
from gradsight.auditing.seen import seen_of
from gradsight.auditing.suspects import Suspect

SETS = ("scenes", "beans", "scenes", "imagenet")
"""Which data a seed takes."""

LEARNED = 0.05
"""A network in which the plant raises its class by less, in photos of other classes, has hardly learned it."""


def audit_of(made: worlds.World, explainer: gs.Explainer, seed: int) -> Audit:
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


def trial(data: Path, kept: Path, name: str, seed: int, recipe: Recipe) -> dict[str, Any]:
    made = worlds.world(data, set_of(seed, recipe), worlds.PLANTS.get(name), seed, recipe.side)
    explainer = recipe.explainer(made, kept, name, seed)
    start = time.process_time()
    audit = audit_of(made, explainer, seed)
    first = audit.suspects[0] if audit.suspects else None
    return {
        "plant": name,
        "data": made.data,
        "seed": seed,
        "network": recipe.kind,
        "cells": recipe.positions,
        "epochs": recipe.epochs,
        **learned(made, explainer),
        "first": bool(first and is_found(made, first)),
        "confirmed": [one.label for one in audit.confirmed],
        "first_confirmed": bool(first and first.confirmed),
        "wrong": sum(one.confirmed and one.target != made.planted for one in audit.suspects),
        "beside": sum(
            one.confirmed and one.target == made.planted and not is_found(made, one) for one in audit.suspects
        ),
        "passes": audit.passes,
        "seconds": round(time.process_time() - start, 1),
        "sentence": next((one.sentence for one in audit.findings if one.kind == "suspect"), ""),
    }


def set_of(seed: int, recipe: Recipe) -> str:
    """The data of a trial: of the large network always those of two classes, whose audits take the fewest passes."""
    return "imagenet" if recipe.kind == "lite0" else SETS[seed % len(SETS)]


def told(rows: list[dict[str, Any]]) -> None:
    by_plant: dict[tuple[object, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_plant[row["plant"], row["network"], row["cells"]].append(row)
    print(
        "plant           network cells  trials  ranked first  and confirmed  of those learned  others confirmed  "
        "s a trial"
    )
    for (name, network, cells), own in by_plant.items():
        known = [row for row in own if row.get("raised", 1) >= LEARNED]
        first, sure = sum(row["first"] for row in own), _sure(own)
        wrong = sum(row["wrong"] > 0 for row in own)
        seconds = np.mean([row["seconds"] for row in own])
        print(
            f"{name:15} {network:7} {cells:5}  {len(own):6}  {first:12}  {sure:13}  "
            f"{_sure(known):9} of {len(known):2}  {wrong:16}  {seconds:9.1f}"
        )


def _sure(rows: list[dict[str, Any]]) -> int:
    return sum(bool(row["first"] and row["first_confirmed"]) for row in rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[20], help="how many, or from and to")
    parser.add_argument("--kept", type=Path, default=Path("audit-networks"))
    parser.add_argument("--plants", nargs="+", default=[*worlds.PLANTS, "clean"])
    parser.add_argument("--cells", type=int, default=12, help="positions along a side of the explained layer: 12 or 6")
    parser.add_argument("--network", default="small", choices=("small", "lite0", "keras"))
    parser.add_argument("--epochs", type=int, default=10, help="how long networks learn")
    parser.add_argument("--out", type=Path, help="a file for a line of JSON for each trial")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked_for = Recipe(asked.network, asked.cells, asked.epochs)
    rows: list[dict[str, Any]] = []
    for seed in range(*asked.seeds):
        for plant in asked.plants:
            rows.append(trial(asked.data, asked.kept, plant, seed, asked_for))
            if asked.out:
                with asked.out.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    told(rows)
