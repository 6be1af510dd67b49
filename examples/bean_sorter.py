"""Bean sorter: a small Keras network of your own learns three kinds of bean leaves, is saved, and is explained.

python examples/bean_sorter.py --synthetic
python examples/bean_sorter.py --data FOLDER        # FOLDER/CLASS/*.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import numpy as np
import synthetic
from keras import layers
from PIL import Image

import gradsight as gs
from gradsight import imaging

SIZE = 128


def read(paths: list[Path]) -> np.ndarray:
    """Photos as the network takes them: (n, SIZE, SIZE, 3) in 0..255."""
    return np.stack([np.asarray(Image.open(path).convert("RGB").resize((SIZE, SIZE))) for path in paths])


def network(classes: int) -> keras.Model:
    """Four convolutions; maps of the last one have 16 x 16 positions, enough to tell a spot from the leaf."""
    steps = [layers.Input((SIZE, SIZE, 3))]
    # In the model, so that the saved file takes plain photos, whoever loads it.
    steps += [layers.Rescaling(1 / 127.5, offset=-1), layers.RandomFlip("horizontal_and_vertical")]
    for channels in (16, 32, 48, 64):
        # With few photos there are few steps: means over the last hundred of them would come too late.
        steps += [layers.Conv2D(channels, 3, padding="same", use_bias=False), layers.BatchNormalization(momentum=0.9)]
        steps += [layers.ReLU(), layers.MaxPooling2D()]
    # The last pooling would halve the map, and nothing needs it.
    steps[-1:] = [layers.GlobalAveragePooling2D(), layers.Dropout(0.2), layers.Dense(classes, activation="softmax")]
    return keras.Sequential(steps)


def train(photos: np.ndarray, classes: np.ndarray, epochs: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = network(int(classes.max()) + 1)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * -(-len(photos) // 16))
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(photos, classes, batch_size=16, epochs=epochs, verbose=2)
    return model


def split(data: Path, held_out: float = 0.3) -> tuple[list[Path], list[Path]]:
    """Photos to train on, and photos that the network never sees."""
    rng = np.random.default_rng(0)
    trained, held = [], []
    for folder in sorted(path for path in data.iterdir() if path.is_dir()):
        paths = sorted(folder.iterdir())
        rng.shuffle(paths)
        count = round(held_out * len(paths))
        held += paths[:count]
        trained += paths[count:]
    return trained, held


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--synthetic", action="store_true", help="draw a small set, and take that")
    source.add_argument("--data", type=Path, help="a folder with a folder of photos for each class")
    parser.add_argument("--out", type=Path, default=Path("gradsight-out/bean_sorter"))
    parser.add_argument("--epochs", type=int, default=30, help="times that each photo is seen")
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    data = synthetic.beans(asked.out / "data") if asked.synthetic else asked.data

    # 1. Train and save, as in any Keras project.
    trained, held = split(data)
    names = sorted({path.parent.name for path in trained})
    model = train(read(trained), np.array([names.index(path.parent.name) for path in trained]), asked.epochs)
    file = asked.out / "bean_sorter.keras"
    model.save(file)

    # 2. Explain from the file alone: its input, and that it scales pixels itself, are read from the model.
    beans = gs.load_model(file, labels=names)

    # 3. Every held-out photo into a run, under a name of its own and with its class: a run can be opened again,
    #    filtered, drawn and audited. The layer is chosen by itself.
    photos = [(f"{path.parent.name}/{path.name}", path, path.parent.name) for path in held]
    run = gs.run(photos, beans, out=asked.out / "run")
    print(f"right: {len(run.filter('label == prediction_label'))} of {len(run)} held-out photos")

    # 4. What a class looks like to the network: one photo of each that it got right, a map for each class.
    right = run.filter("label == prediction_label")
    shown = [path for name in names for path in right.filter(label=name)[:1].table(["path"])["path"].to_pylist()]
    explanation = gs.Explainer(beans)(shown, targets=gs.Classes(*names))
    rows = [explanation.figure(i, height=200) for i in range(len(shown))]
    imaging.save(imaging.stacked(rows), asked.out / "bean_sorter.jpg")

    # 5. What all maps together say: where each class looks, what is confused, and whether there is a shortcut. The
    #    model is found by the run, since it came from a file.
    audit = gs.audit(run, most=6)
    print(audit)
    print(gs.report(run, audit=audit, out=asked.out / "report.html", title="Bean sorter"))


if __name__ == "__main__":
    main()
