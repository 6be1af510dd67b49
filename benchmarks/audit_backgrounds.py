"""Is reliance on the background told? ``python benchmarks/audit_backgrounds.py FOLDER --seeds 20``.

FOLDER is that of the data sets (``coco``, ``scenes``). Things cut out of photos by their polygons (people, food) are
pasted on scenes of two kinds. In training the background goes with the class in half of the photos (it says nothing) up
to all of them; a small network is trained for each of five such strengths. All of them explain the same held-out
photos, with other things and other scenes, on which the background says nothing, and are audited with the things'
masks.

The true reliance of a network is measured without any map: by how much the probability of the right class falls where
the same thing stands on a scene of the other kind. The audit knows nothing of that: of its figures the share of heat
beside the object and `Reliance.reliance` should be in the same order.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import audit_worlds as worlds
import numpy as np
import torch
from audit_networks import Recipe, Small, fitted, tensor
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.stats import pearsonr, spearmanr

import gradsight as gs
from gradsight.auditing.audit import Audit, Beside, audited
from gradsight.auditing.seen import seen_of

SIDE = 64
"""Of the photos, in pixels: 8 x 8 positions at the network's last layer."""

KINDS = (
    ("person",),
    ("apple", "banana", "bowl", "broccoli", "cake", "carrot", "donut", "hot dog", "orange", "pizza", "sandwich"),
)
"""Of COCO's classes, those of each class of the network."""

STRENGTHS = (0.5, 0.7, 0.85, 0.95, 1.0)
"""In so many photos of training the background is that of the class: half of them say nothing."""

_TRAINED, _HELD = 300, 60
"""Photos of each class."""

_SMALLEST = 32
"""Things of fewer pixels at their shorter side are not pasted."""


@dataclass(frozen=True, eq=False)
class Pasted:
    """Things on scenes.

    Attributes:
        photos: (n, SIDE, SIDE, 3) with the background that was drawn.
        swapped: the same things at the same places, on a scene of the other kind.
        masks: (n, SIDE, SIDE) where the thing is.
        classes: (n,) of the things.
        scenes: (n,) the kind of scene, 0 or 1: that of the class, or of the other class.
    """

    photos: worlds.Photos
    swapped: worlds.Photos
    masks: NDArray[np.bool_]
    classes: NDArray[np.intp]
    scenes: NDArray[np.intp]


def things(data: Path) -> list[list[Image.Image]]:
    """The things of each class, cut out by their polygons: RGBA."""
    known = json.loads((data / "coco" / "instances.json").read_text())
    labels = {one["id"]: one["name"] for one in known["categories"]}
    files = {one["id"]: one["file_name"] for one in known["images"]}
    found: list[list[Image.Image]] = [[] for _ in KINDS]
    for one in known["annotations"]:
        kinds = [i for i, names in enumerate(KINDS) if labels[one["category_id"]] in names]
        if kinds and min(one["bbox"][2:]) >= _SMALLEST and isinstance(one["segmentation"], list):
            (path,) = (data / "coco").rglob(files[one["image_id"]])
            found[kinds[0]].append(_cut(path, one))
    return found


def _cut(path: Path, thing: dict[str, Any]) -> Image.Image:
    left, top, wide, high = thing["bbox"]
    with Image.open(path) as photo:
        mask = Image.new("L", photo.size)
        draw = ImageDraw.Draw(mask)
        for polygon in thing["segmentation"]:
            draw.polygon(polygon, fill=255)
        made = photo.convert("RGB")
        made.putalpha(mask)
        return made.crop((round(left), round(top), round(left + wide), round(top + high)))


def pasted(
    cut: list[list[Image.Image]], scenes: list[worlds.Photos], strength: float, each: int, rng: np.random.Generator
) -> Pasted:
    """So many photos of each class; the scene is that of the class in a share of them."""
    made: list[tuple[worlds.Photos, worlds.Photos, NDArray[np.bool_]]] = []
    drawn = []
    for kind, _ in np.ndindex(len(cut), each):
        scene = kind if rng.random() < strength else 1 - kind
        drawn.append((kind, scene))
        pair = [scenes[i][rng.integers(len(scenes[i]))] for i in (scene, 1 - scene)]
        made.append(_on(_placed(cut[kind], rng), pair))
    photos, swapped, masks = (np.stack(part) for part in zip(*made, strict=True))
    classes, kinds = np.array(drawn).T
    return Pasted(photos, swapped, masks, classes, kinds)


def _placed(cut: list[Image.Image], rng: np.random.Generator) -> Image.Image:
    """One of the things on an empty photo, of a drawn size at a drawn place."""
    thing = cut[rng.integers(len(cut))]
    if rng.random() < 0.5:
        thing = thing.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    scale = rng.uniform(0.55, 0.85) * SIDE / max(thing.size)
    thing = thing.resize((max(4, round(thing.width * scale)), max(4, round(thing.height * scale))))
    empty = Image.new("RGBA", (SIDE, SIDE))
    empty.paste(thing, tuple(int(rng.integers(0, SIDE - length + 1)) for length in thing.size))
    return empty


def _on(thing: Image.Image, scenes: list[worlds.Photos]) -> tuple[worlds.Photos, worlds.Photos, NDArray[np.bool_]]:
    pixels = np.asarray(thing)
    share = pixels[..., 3:] / 255
    one, other = ((pixels[..., :3] * share + scene * (1 - share)).round().astype(np.uint8) for scene in scenes)
    return one, other, pixels[..., 3] >= 128


def trained(made: Pasted, seed: int) -> Small:
    torch.manual_seed(seed)
    net = Small(len(KINDS))
    fitted(net, tensor(made.photos, Recipe()), torch.from_numpy(made.classes), Recipe())
    return net.eval()


@torch.no_grad()
def true_reliance(net: Small, held: Pasted) -> tuple[float, float]:
    """How often the network is right, and what a scene of the other class takes from the right class's probability."""
    given = [net(tensor(photos, Recipe())).softmax(1).numpy() for photos in (held.photos, held.swapped)]
    right = float((given[0].argmax(1) == held.classes).mean())
    own, swapped = (found[np.arange(len(found)), held.classes] for found in given)
    # On the scene of its class less on that of the other, whichever of them was drawn.
    return right, float(np.where(held.scenes == held.classes, own - swapped, swapped - own).mean())


def audit_of(net: Small, held: Pasted, folder: Path) -> Audit:
    explainer = gs.Explainer(
        net, preprocess=gs.Preprocess(SIDE, mean=0.5, std=0.25), labels=("person", "food"), batch_size=64
    )
    with explainer.stream(held.photos) as stream:
        seen, _ = seen_of(stream, keys=[f"{i}.png" for i in range(len(held.photos))], labels=held.classes.tolist())
    return audited(seen, explainer, Beside(masks=folder), most=0)


def rows_of(data: Path, cut: list[list[Image.Image]], seed: int) -> Iterator[dict[str, Any]]:
    """A row for each strength; all networks of a seed explain the same photos."""
    rng = np.random.default_rng(seed)
    _, kinds = worlds.read(data, "scenes", SIDE)
    pair = [kinds[i][rng.permutation(len(kinds[i]))] for i in rng.permutation(len(kinds))[:2]]
    mixed = [[own[i] for i in rng.permutation(len(own))] for own in cut]
    # Neither a thing nor a scene of the held-out photos was in training.
    first, last = ([_part(own, late) for own in mixed] for late in (False, True))
    learned, kept = ([_part(own, late) for own in pair] for late in (False, True))
    held = pasted(last, kept, 0.5, _HELD, rng)
    with tempfile.TemporaryDirectory() as folder:
        for i, mask in enumerate(held.masks):
            Image.fromarray(mask).save(Path(folder) / f"{i}.png")
        for strength in STRENGTHS:
            net = trained(pasted(first, learned, strength, _TRAINED, np.random.default_rng((seed, 1))), seed)
            right, true = true_reliance(net, held)
            found = audit_of(net, held, Path(folder)).reliances
            weights = [one.photos for one in found]
            yield {
                "seed": seed,
                "strength": strength,
                "right": round(right, 3),
                "true": round(true, 4),
                "heat_beside": round(1 - float(np.average([one.on_object.mean for one in found], weights=weights)), 4),
                "reliance": round(
                    float(np.average(np.nan_to_num([one.reliance for one in found]), weights=weights)), 4
                ),
            }


def _part(rows: Any, late: bool) -> Any:
    half = round(0.6 * len(rows))
    return rows[half:] if late else rows[:half]


def told(rows: list[dict[str, Any]]) -> None:
    """The table, and how well each figure puts networks in order."""
    print("strength  networks  right  true reliance  heat beside the object  reliance")
    for strength in STRENGTHS:
        own = [row for row in rows if row["strength"] == strength]
        means = [np.mean([row[name] for row in own]) for name in ("right", "true", "heat_beside", "reliance")]
        print(f"{strength:8}  {len(own):8}  {means[0]:.3f}  {means[1]:13.3f}  {means[2]:22.3f}  {means[3]:8.3f}")
    seeds = sorted({row["seed"] for row in rows})
    for name in ("heat_beside", "reliance"):
        by_seed = [[row for row in rows if row["seed"] == seed] for seed in seeds]
        found = [[(row["true"], row[name]) for row in own] for own in by_seed]
        ranks = [spearmanr(*zip(*own, strict=True)).statistic for own in found]
        lines = [pearsonr(*zip(*own, strict=True)).statistic for own in found]
        apart = sum(own[-1][1] > own[0][1] for own in found)
        means = np.mean(found, axis=0).T
        print(
            f"{name}: biased told from unbiased in {apart} of {len(seeds)}; over five strengths Spearman "
            f"{np.median(ranks):.2f} (median; at least 0.8 in {sum(rank >= 0.799 for rank in ranks)} of {len(seeds)}), "
            f"Pearson {np.median(lines):.2f} ({sum(line >= 0.8 for line in lines)}); of the means of each strength "
            f"Spearman {spearmanr(*means).statistic:.2f}, Pearson {pearsonr(*means).statistic:.2f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[20], help="how many, or from and to")
    parser.add_argument("--out", type=Path, help="a file for a line of JSON for each network")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cut = things(asked.data)
    rows: list[dict[str, Any]] = []
    for seed in range(*asked.seeds):
        for row in rows_of(asked.data, cut, seed):
            rows.append(row)
            if asked.out:
                with asked.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    told(rows)
