"""Scenes: six classes by transfer learning in PyTorch; what each class looks at, and why some are confused.

python examples/scenes.py --synthetic
python examples/scenes.py --data FOLDER        # seg_train/, seg_test/ and seg_pred/ as the Intel set comes
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import synthetic
import torch
from PIL import Image
from torch import nn

import gradsight as gs
from gradsight import imaging
from gradsight.runs.drawn import contact_sheet


def part(data: Path, name: str) -> Path | None:
    """The folder of a part: the set comes as seg_train/seg_train/CLASS; train/CLASS will do."""
    tried = [data / f"seg_{name}/seg_{name}", data / f"seg_{name}", data / name]
    return next((folder for folder in tried if folder.is_dir()), None)


def photos(folder: Path, names: list[str]) -> tuple[list[Path], torch.Tensor]:
    paths = [path for name in names for path in sorted((folder / name).iterdir())]
    return paths, torch.tensor([names.index(path.parent.name) for path in paths])


@torch.no_grad()
def features(model: gs.Model, paths: list[Path], kept: Path) -> torch.Tensor:
    """What the frozen network sees of each photo, (n, 1280); computed once, and kept in a file."""
    file = kept / f"{hashlib.sha256(repr(paths).encode()).hexdigest()[:16]}.pt"
    if file.exists():
        return torch.load(file)
    found = []
    for path in paths:
        pixels = model.preprocess(path)
        found.append(model.model.extract_features(torch.from_numpy(pixels)[None]).mean((2, 3)))
    torch.save(torch.cat(found), file)
    return torch.cat(found)


def train(seen: torch.Tensor, classes: torch.Tensor, epochs: int = 60) -> nn.Linear:
    """The new last layer; with features that are kept this takes seconds."""
    torch.manual_seed(0)
    head = nn.Linear(seen.shape[1], int(classes.max()) + 1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=1e-2)
    for _ in range(epochs):
        for batch in torch.randperm(len(seen)).split(32):
            loss = nn.functional.cross_entropy(head(seen[batch]), classes[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return head


def row_of(explanation: gs.Explanation, image: int) -> Image.Image:
    """A photo with its class, and the map of each class with its score, in one row."""
    cells = [(explanation.photos[image], explanation.predictions[image][0].label)]
    for j, (label, score) in enumerate(zip(explanation.labels[image], explanation.scores[image], strict=True)):
        cells.append((explanation.overlay(image, j), f"{label} {score:+.1f}"))
    return imaging.strip(cells, height=130, across=len(cells))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--synthetic", action="store_true", help="draw a small set, and take that")
    source.add_argument("--data", type=Path, help="a folder with seg_train, seg_test and, if you like, seg_pred")
    parser.add_argument("--out", type=Path, default=Path("gradsight-out/scenes"))
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    data = synthetic.scenes(asked.out / "data") if asked.synthetic else asked.data

    # 1. Transfer learning: an ImageNet network without its last layer, and a new one on top.
    folder, held = part(data, "train"), part(data, "test")
    if folder is None or held is None:
        raise SystemExit(f"{data} has no seg_train and seg_test, nor train and test")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    paths, classes = photos(folder, names)
    pretrained = gs.load_model("demo", fit="squash")  # EfficientNet-Lite0; all of the photo, and not its middle alone
    net = pretrained.model
    net._fc = train(features(pretrained, paths, asked.out), classes)
    explainer = gs.Explainer(net, preprocess=pretrained.preprocess, labels=names)

    # 2. All test photos into a run. Its folders are the classes, so that right and wrong are known.
    run = gs.run(held, explainer, out=asked.out / "test")
    wrong = run.filter("label != prediction_label")
    print(f"right: {len(run) - len(wrong)} of {len(run)} test photos")

    # 3. What does a class look at? For each the photo that the network is surest of, and a map for each class.
    right = run.filter("label == prediction_label").table(["path", "label", "probability"]).to_pylist()
    surest = {row["label"]: row for row in sorted(right, key=lambda row: row["probability"])}
    shown = [surest[name]["path"] for name in names if name in surest]
    explanation = explainer(shown, targets=gs.Classes(*names))
    imaging.save(imaging.stacked([row_of(explanation, i) for i in range(len(shown))]), asked.out / "classes.jpg")

    # 4. Why was it wrong? What speaks for the class that it took, against the one that it is.
    for row in wrong.table(["key", "path", "label", "prediction_label"]).to_pylist()[:3]:
        taken, truth = row["prediction_label"], row["label"]
        why = explainer(row["path"], targets=gs.Several(taken, truth, gs.Contrast(taken, truth)))
        why.save(asked.out / f"confused_{row['key'].replace('/', '_')}")
        top, left, bottom, right_end = why.region(target=2).box
        print(f"{row['key']} was taken for {taken}: rows {top} to {bottom}, columns {left} to {right_end} speak for it")

    # 5. Photos of which nobody knows the class, on one sheet. `gradsight app --run` browses the same run in a page.
    unknown = part(data, "pred")
    if unknown is not None:
        pred = gs.run(unknown, explainer, out=asked.out / "pred")
        imaging.save(contact_sheet(pred[:24])[0], asked.out / "scenes.jpg", quality=80, max_side=1000)

    # 6. All of it in words, and as one file to hand on.
    #    most=0: to try shortcuts out too takes minutes with a network of this size.
    audit = gs.audit(run, explainer, most=0)
    print(audit)
    print(gs.report(run, audit=audit, out=asked.out / "report.html"))


if __name__ == "__main__":
    main()
