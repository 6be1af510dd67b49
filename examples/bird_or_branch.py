"""Bird or branch: does a network look at the thing, or at what is behind it? A biased one and a repaired one compared.

python examples/bird_or_branch.py --synthetic
python examples/bird_or_branch.py --data FOLDER   # objects/CLASS/*.png, cut out, and backgrounds/CLASS/*.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import synthetic
import torch
from PIL import Image
from torch import nn

import gradsight as gs
from gradsight import imaging

SIZE = 160
PREPROCESS = gs.Preprocess(SIZE, mean=0.498, std=0.502)


def part(folder: Path, held_out: bool) -> list[Path]:
    return [path for i, path in enumerate(sorted(folder.iterdir())) if (i % 3 == 0) == held_out]


def paste(data: Path, folder: Path, held_out: bool, count: int, typical: float, seed: int) -> Path:
    """Paste each class's objects on backgrounds, `typical` of them its own: FOLDER/photos/CLASS and FOLDER/masks/CLASS.

    Every third object and background is held out for the test, so that no network has seen it.
    """
    rng = np.random.default_rng(seed)
    names = sorted(path.name for path in (data / "objects").iterdir())
    things = {name: part(data / "objects" / name, held_out) for name in names}
    behind = {name: part(data / "backgrounds" / name, held_out) for name in names}
    for name in names:
        others = [other for other in names if other != name]
        for kind in ("photos", "masks"):
            (folder / kind / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            # Exactly the share, in turn, so that a set of 20 with half of them typical has ten.
            own = (i * typical) % 1 + typical >= 1
            kind = name if own else str(rng.choice(others))
            photo = Image.open(rng.choice(behind[kind])).convert("RGB").resize((SIZE, SIZE))
            thing = Image.open(rng.choice(things[name])).convert("RGBA")
            thing = thing.rotate(rng.uniform(-25, 25), Image.Resampling.BICUBIC, expand=True)
            thing.thumbnail([int(SIZE * rng.uniform(0.4, 0.6))] * 2)
            at = tuple(int(rng.integers(0, SIZE - side + 1)) for side in thing.size)
            mask = Image.new("L", photo.size)
            photo.paste(thing, at, thing)
            mask.paste(255, at, thing)
            photo.save(folder / "photos" / name / f"{i}.png")
            mask.point(lambda value: 255 * (value > 127)).save(folder / "masks" / name / f"{i}.png")
    return folder


def train(folder: Path, names: list[str], epochs: int) -> nn.Module:
    """An ImageNet network that stays as it is, EfficientNet-Lite0, and a new last layer for what it sees."""
    torch.manual_seed(0)
    net = gs.load_model("demo").model
    paths = sorted(folder.glob("photos/*/*.png"))
    classes = torch.tensor([names.index(path.parent.name) for path in paths])
    with torch.no_grad():
        batches = (torch.from_numpy(PREPROCESS(path))[None] for path in paths)
        seen = torch.cat([net.extract_features(batch).mean((2, 3)) for batch in batches])
    net._fc = nn.Linear(seen.shape[1], len(names))
    optimizer = torch.optim.AdamW(net._fc.parameters(), lr=2e-3, weight_decay=1e-2)
    for _ in range(epochs):
        for batch in torch.randperm(len(seen)).split(32):
            loss = nn.functional.cross_entropy(net._fc(seen[batch]), classes[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()


def beside(runs: dict[str, gs.Run], keys: list[str]) -> Image.Image:
    """For each photo a row: as it is, then what each network took it for and where it looked."""
    rows = []
    for key in keys:
        shown = {kind: run[key] for kind, run in runs.items()}
        cells = [(next(iter(shown.values())).photos[0], key.partition("/")[0])]
        for kind, explanation in shown.items():
            said = explanation.predictions[0][0]
            cells.append((explanation.overlay(), f"{kind}: {said.label} {said.probability:.0%}"))
        rows.append(imaging.strip(cells, height=SIZE, text=12))
    return imaging.stacked(rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--synthetic", action="store_true", help="draw birds, boats, branches and water, and take these"
    )
    source.add_argument("--data", type=Path, help="a folder with objects/CLASS and backgrounds/CLASS")
    parser.add_argument("--out", type=Path, default=Path("gradsight-out/bird_or_branch"))
    parser.add_argument("--photos", type=int, default=80, help="to train on, of each class; half as many for the test")
    parser.add_argument("--epochs", type=int, default=30)
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    data = synthetic.cutouts(asked.out / "data") if asked.synthetic else asked.data
    names = sorted(path.name for path in (data / "objects").iterdir())

    # 1. The same test photos for both: half of the things lie on a background that goes with another class.
    test = paste(data, asked.out / "test", True, asked.photos // 2, typical=0.5, seed=1)

    # 2. One network learns from typical backgrounds, the other from any: that is the repair.
    runs, explainers = {}, {}
    for kind, typical in (("biased", 1.0), ("repaired", 0.5)):
        made = paste(data, asked.out / kind, False, asked.photos, typical, seed=2)
        net = train(made, names, asked.epochs)
        explainers[kind] = gs.Explainer(net, preprocess=PREPROCESS, labels=names, name=kind)
        runs[kind] = run = gs.run(test / "photos", explainers[kind], out=asked.out / f"run_{kind}")
        print(f"{kind}: right {len(run.filter('label == prediction_label'))} of {len(run)} test photos")

    # 3. How far does each rely on the background? By the heat on the masks, and by what the network says of photos
    #    without the thing, and without all the rest. Of the biased one also: what is other after the repair?
    #    most=0: to look for shortcuts in corners too would take minutes, and is not asked here.
    masks = test / "masks"
    audits = {"biased": gs.audit(runs["biased"], explainers["biased"], masks=masks, against=runs["repaired"], most=0)}
    audits["repaired"] = gs.audit(runs["repaired"], explainers["repaired"], masks=masks, most=0)
    for kind, audit in audits.items():
        print(f"\n{kind}: {audit}")
        gs.report(runs[kind], audit=audit, out=asked.out / f"report_{kind}.html", title=f"Bird or branch, {kind}")

    # 4. The same in two figures a class, to hold two networks against each other.
    for kind, audit in audits.items():
        for one in audit.reliances:
            told = f"{one.on_object.mean:.0%} of the heat on the thing, reliance on the background {one.reliance:.2f}"
            print(f"{kind}, {names[one.target]}: {told}")

    # 5. Seen: photos that the biased network got wrong, by the background, and the repaired one right.
    key = {kind: set(run.filter("label == prediction_label").images) for kind, run in runs.items()}
    mended = sorted(key["repaired"] - key["biased"])
    if mended:
        beside(runs, mended[:: max(1, len(mended) // 4)][:4]).save(asked.out / "bird_or_branch.jpg")


if __name__ == "__main__":
    main()
