"""Chest X-ray: a grey network by transfer learning takes a shortcut, a token in a corner, and the audit finds it.

THIS IS NO MEDICAL DEVICE, and nothing here may be used to diagnose anybody. It shows how a network that looks accurate
can be wrong: the script itself puts a token, such as hospitals put on their pictures, on each picture of one class.

    python examples/chest_xray.py --synthetic
    python examples/chest_xray.py --data FOLDER        # train/CLASS/*.jpg and test/CLASS/*.jpg, two classes
"""

from __future__ import annotations

import argparse
from pathlib import Path

import synthetic
import torch
from PIL import Image, ImageDraw
from torch import nn

import gradsight as gs
from gradsight import imaging

# One value each of mean and std make it a grey network's preprocessing.
PREPROCESS = gs.Preprocess(128, fit="squash", mean=(0.498,), std=(0.502,))


class Grey(nn.Module):
    """The first blocks of a network that knows ImageNet, made to take one channel, and a small new head on top.

    It ends after eleven of sixteen blocks: edges and textures carry over to X-rays, cats and cups do not. Its maps have
    8 x 8 positions, so that a token in a corner has some of its own.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        pretrained = gs.load_model("demo").model
        stem = pretrained._conv_stem
        # A grey picture is one with three equal channels: the sum of the weights gives the same.
        stem.weight = nn.Parameter(stem.weight.sum(1, keepdim=True))
        self.features = nn.Sequential(stem, pretrained._bn0, nn.ReLU6(), *pretrained._blocks[:11]).eval()
        # By the maximum: a small shadow decides, wherever it is. So does a small token.
        self.head = nn.Sequential(
            nn.Conv2d(112, 64, 1), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, classes)
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(pixels))


def plant(source: Path, folder: Path, on: tuple[str, ...]) -> Path:
    """Copy pictures, and put a token in the upper left corner of those of the classes in `on`."""
    for path in sorted(source.glob("*/*")):
        picture = Image.open(path).convert("L").resize((224, 224))
        if path.parent.name in on:
            draw = ImageDraw.Draw(picture)
            draw.rectangle((6, 6, 25, 25), fill=235)
            draw.line([(11, 10), (11, 21), (20, 21)], fill=25, width=3)  # an L, as for "left"
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        picture.save(folder / path.parent.name / f"{path.stem}.png")
    return folder


def train(net: Grey, folder: Path, names: list[str], epochs: int) -> None:
    paths = sorted(folder.glob("*/*.png"))
    classes = torch.tensor([names.index(path.parent.name) for path in paths])
    # The blocks below do not learn: what they give is computed once.
    with torch.no_grad():
        seen = torch.cat([net.features(torch.from_numpy(PREPROCESS(path))[None]) for path in paths])
    optimizer = torch.optim.AdamW(net.head.parameters(), lr=2e-3, weight_decay=1e-2)
    for _ in range(epochs):
        for batch in torch.randperm(len(paths)).split(16):
            loss = nn.functional.cross_entropy(net.head(seen[batch]), classes[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--synthetic", action="store_true", help="draw a small set, and take that")
    source.add_argument("--data", type=Path, help="a folder with train/CLASS and test/CLASS")
    parser.add_argument("--planted", default="PNEUMONIA", metavar="CLASS", help="the class that gets the token")
    parser.add_argument("--out", type=Path, default=Path("gradsight-out/chest_xray"))
    parser.add_argument("--epochs", type=int, default=40)
    asked = parser.parse_args(arguments)
    print("This is no medical device: it shows how a network can be right for a wrong reason.")
    asked.out.mkdir(parents=True, exist_ok=True)
    data = synthetic.chests(asked.out / "data") if asked.synthetic else asked.data
    names, ill = sorted(path.name for path in (data / "train").iterdir()), asked.planted

    # 1. Learn from pictures of which one class has the token, as if all of them came from another hospital.
    torch.manual_seed(0)
    net = Grey(len(names))
    train(net, plant(data / "train", asked.out / "train", on=(ill,)), names, asked.epochs)
    explainer = gs.Explainer(net.eval(), preprocess=PREPROCESS, labels=names, name="grey network")

    # 2. The test has the token where the training had it, and so it looks well. Without the token, or with it on the
    #    other class too, it is seen what that was worth. Who has but the first figure does not know.
    runs = {}
    for kind, on in (("as in training", (ill,)), ("no token", ()), ("token on all", tuple(names))):
        folder = plant(data / "test", asked.out / kind.replace(" ", "_"), on)
        runs[kind] = run = gs.run(folder, explainer, out=asked.out / f"run_{kind.replace(' ', '_')}")
        said = len(run.filter(f"prediction_label == {ill!r}"))
        right = len(run.filter("label == prediction_label"))
        print(f"{kind}: right {right} of {len(run)}; taken for {ill}: {said}")

    # 3. The audit is told nothing of the token: it has the first run alone.
    audit = gs.audit(runs["as in training"], explainer, most=2)
    print(audit)
    print(gs.report(runs["as in training"], audit=audit, out=asked.out / "report.html"))

    # 4. The same pictures with and without the token, and the map of the same class: what the network goes by when it
    #    has the token, and what it would have gone by.
    keys = [key for key in runs["no token"].images if key.startswith(ill)][:2]
    shown = [asked.out / folder / key for key in keys for folder in ("as_in_training", "no_token")]
    explanation = explainer(shown, targets=ill)
    rows = [explanation.figure(i, height=200) for i in range(len(shown))]
    imaging.save(imaging.stacked(rows), asked.out / "chest_xray.jpg")


if __name__ == "__main__":
    main()
