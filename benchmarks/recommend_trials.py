"""Whether what `gs.recommend` says holds on photos that it never saw: ``python benchmarks/recommend_trials.py DATA``.

DATA holds ``coco/images`` and ``scenes/{train,test}/CLASS``, photos of six classes. Four models are tried: ``demo``,
and a small convolutional network, a small vision transformer and a Keras network, trained on the scenes for a minute.

Each is recommended a way by default criteria on some photos. What is chosen, and who won the race, then meet plain
Grad-CAM on others: a recommendation was right if the interval of the difference there is not below 0. With a metric
that is noise nothing may be recommended; how often it is, of ``--seeds``, is counted.
"""

# ruff: noqa: E402 - the imports below need the path, the shim and the variables
from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/support"))  # the shim

import torchvision_shim

torchvision_shim.install()

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import nn

import gradsight as gs
from gradsight.evaluating.racing import Criteria
from gradsight.evaluating.recommend import BY, criteria_of
from gradsight.evaluating.recommendation import Recommendation, Way
from gradsight.evaluating.summary import images_of, per_image
from gradsight.significance import Interval, beats, interval

SIDE = 64
CLASSES = ("buildings", "forest", "glacier", "mountain", "sea", "street")
PREPROCESS = gs.Preprocess(size=(SIDE, SIDE), fit="squash", mean=(0.45,) * 3, std=(0.25,) * 3)


def scenes(folder: Path, part: str) -> tuple[list[Path], np.ndarray]:
    """The photos of a part in a drawn order, and their classes."""
    photos = [(photo, i) for i, name in enumerate(CLASSES) for photo in sorted((folder / part / name).iterdir())]
    order = np.random.default_rng(0).permutation(len(photos))
    return [photos[i][0] for i in order], np.array([photos[i][1] for i in order])


def inputs_of(photos: list[Path]) -> np.ndarray:
    """(n, 3, SIDE, SIDE) float32, as the model gets them."""
    return np.stack([PREPROCESS(Image.open(photo).convert("RGB")) for photo in photos]).astype(np.float32)


def block(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2))


def cnn() -> nn.Module:
    # A head of two layers: with one, behind an average, half of the methods would be Grad-CAM itself.
    head = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 6))
    return nn.Sequential(block(3, 16), block(16, 32), block(32, 64), head)


def vit() -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(img_size=SIDE, patch_size=8, embed_dim=64, depth=4, num_heads=4, num_classes=6)


def trained(build: Callable[[], nn.Module], folder: Path, epochs: int, rate: float) -> nn.Module:
    photos, classes = scenes(folder, "train")
    images, targets = torch.from_numpy(inputs_of(photos)), torch.from_numpy(classes)
    torch.manual_seed(0)
    net = build().train()
    optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=0.01)
    steps = epochs * -(-len(images) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(32):
            batch = images[rows].flip(-1) if torch.rand(()) < 0.5 else images[rows]
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(batch), targets[rows]).backward()
            optimiser.step()
            schedule.step()
    return net.eval()


def keras_net(folder: Path, epochs: int) -> object:
    import keras

    photos, classes = scenes(folder, "train")
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Input((SIDE, SIDE, 3))]
    for width in (16, 32, 64):
        layers += [keras.layers.Conv2D(width, 3, padding="same", activation="relu"), keras.layers.MaxPooling2D()]
    head = [keras.layers.Flatten(), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(6)]
    net = keras.Sequential([*layers, *head])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.Adam(2e-3), loss)
    net.fit(inputs_of(photos).transpose(0, 2, 3, 1), classes, 32, epochs, verbose=0)
    return net


def accuracy(explainer: gs.Explainer, photos: list[Path], classes: np.ndarray) -> float:
    found = [explainer(photo).predictions[0][0].index for photo in photos[:100]]
    return float(np.mean(np.array(found) == classes[:100]))


def trial(name: str, data: Path, count: int) -> tuple[gs.Explainer, list[Path], list[Path]]:
    """A model, ``count`` photos to recommend on, and as many that nothing was chosen by."""
    if name == "demo":
        photos = sorted((data / "coco/images").iterdir())
        order = np.random.default_rng(0).permutation(len(photos))
        # By four: rows of this network are quickest so on a processor.
        return gs.Explainer("demo", batch_size=4), *parted([photos[i] for i in order], count)
    folder = data / "scenes"
    if name == "cnn":
        net = trained(cnn, folder, 12, 3e-3)
    elif name == "vit":
        net = trained(vit, folder, 20, 1e-3)
    else:
        net = keras_net(folder, 10)
    explainer = gs.Explainer(net, preprocess=PREPROCESS, labels=CLASSES, name=name)
    photos, classes = scenes(folder, "test")
    print(f"# {name}: {accuracy(explainer, photos, classes):.2f} of photos of the test part are right", flush=True)
    return explainer, *parted(photos, count)


def parted(photos: list[Path], count: int) -> tuple[list[Path], list[Path]]:
    return photos[:count], photos[count : 2 * count]


def figures(explainer: gs.Explainer, photos: list[Path], way: Way, metrics: tuple[str, ...]) -> np.ndarray:
    """(photos, metrics)."""
    layers = [way.layer] if way.layer else None
    rows = gs.evaluate(explainer, photos, methods=[way.method], metrics=list(metrics), layers=layers).rows
    own = [row for row in rows if row.method == way.method]
    return np.stack([per_image([r for r in own if r.metric == name], images_of(rows)) for name in metrics], axis=1)


def beside_plain(
    explainer: gs.Explainer, photos: list[Path], way: Way, found: Recommendation
) -> tuple[Interval, float]:
    """How much better than plain Grad-CAM a way is, in spreads, on photos that nothing was chosen by."""
    criteria: Criteria = criteria_of(None, known=False)
    measured = {one: figures(explainer, photos, one, BY["faithfulness"]) for one in (way, found.plain)}
    scale = criteria.scaled(measured)
    own, plain = (criteria.utility(measured[one], scale) for one in (way, found.plain))
    return interval(own - plain), beats(own, plain).p


def told(one: Interval) -> str:
    return f"{one.mean:+.2f} [{one.low:+.2f} {one.high:+.2f}]"


def hold(name: str, data: Path, count: int) -> gs.Explainer:
    explainer, photos, fresh = trial(name, data, count)
    start, begun = time.perf_counter(), time.process_time()
    found = gs.recommend(explainer, photos)
    seconds, worked = time.perf_counter() - start, time.process_time() - begun
    print(f"## {name}: {len(photos)} photos, {seconds:.0f} s, {worked:.0f} s of the processor\n{found}")
    for way, which in ((found.best, "winner"), (found.chosen, "chosen")):
        if way == found.plain:
            print(f"fresh: the {which} is plain Grad-CAM at {way.layer}")
            continue
        difference, p = beside_plain(explainer, fresh, way, found)
        right = "right" if difference.high >= 0 else "WRONG"
        print(
            f"fresh: the {which}, {way.method} at {way.layer or 'the image'}: {told(difference)}, p = {p:.3g}, {right}"
        )
    sys.stdout.flush()
    return explainer


def noise(explainer: gs.Explainer, photos: list[Path], seeds: int) -> int:
    """How often a metric that is all noise recommends something."""
    drawn = np.random.default_rng(0)

    @gs.metric("noise", title="Noise", source="a control", measures="faithfulness", better="higher")
    def of_nothing(case):
        return drawn.random(case.shape)

    try:
        runs = [gs.recommend(explainer, photos, by={"noise": 1}, seed=seed) for seed in range(seeds)]
    finally:
        from gradsight.metric_registry import METRICS

        METRICS._entries.pop("noise")
    return sum(found.is_better for found in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", nargs="+", default=["cnn", "vit", "keras", "demo"])
    parser.add_argument("--count", type=int, default=60, help="photos to recommend on, and as many to prove it")
    parser.add_argument("--seeds", type=int, default=20, help="trials of the control for each model")
    asked = parser.parse_args()
    for name in asked.models:
        explainer = hold(name, asked.data, asked.count)
        folder = asked.data / ("coco/images" if name == "demo" else "scenes/test")
        photos = sorted(folder.rglob("*.jpg"))[:: 1 if name == "demo" else 8][:32]
        print(f"noise: {noise(explainer, photos, asked.seeds)} of {asked.seeds} recommended something", flush=True)


if __name__ == "__main__":
    main()
