"""Cat and dog: one photo, a map for each class, by CAM, Grad-CAM and Guided Grad-CAM, and Grad-CAM by hand beside it.

python examples/cat_and_dog.py --synthetic          # the photo that comes with gradsight: a cat above a cup
python examples/cat_and_dog.py --data both.png --classes "bull mastiff" "tiger cat"
python examples/cat_and_dog.py --data both.png --classes "bull mastiff" "tiger cat" --network xception --weights FILE
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import gradsight as gs
from gradsight import imaging
from gradsight.photos import bundled_photo

Steps = dict[str, np.ndarray]
"""What Grad-CAM computes, one after the other."""


def torch_recipe(net: Any, pixels: np.ndarray, index: int) -> Steps:
    """Grad-CAM as it is written by hand for this one network: its code is cut in two behind the last convolution."""
    import torch

    activations = net.extract_features(torch.from_numpy(pixels)[None])
    scores = net._fc(activations.mean((2, 3)))
    (gradients,) = torch.autograd.grad(scores[0, index], activations)
    weights = gradients.mean((2, 3))
    heat = (weights[:, :, None, None] * activations).sum(1)
    return _steps(weights[0].detach().numpy(), heat[0].detach().numpy())


def keras_recipe(model: Any, pixels: np.ndarray, index: int, layer: str = "block14_sepconv2_act") -> Steps:
    """The recipe of keras.io in its own steps: a model with two outputs, a tape, a mean, a product. TensorFlow only."""
    import keras
    import tensorflow as tf

    both = keras.Model(model.inputs[0], [model.get_layer(layer).output, model.outputs[0]])
    with tf.GradientTape() as tape:
        activations, scores = both(pixels[None])
        score = scores[:, index]
    weights = tf.reduce_mean(tape.gradient(score, activations), axis=(0, 1, 2))
    return _steps(weights.numpy(), (activations[0] @ weights[:, None])[..., 0].numpy())


def _steps(weights: np.ndarray, heat: np.ndarray) -> Steps:
    # Both recipes end alike: what speaks against the class is cut off, and the rest is divided by the maximum.
    shown = np.maximum(heat, 0)
    return {"weights": weights, "map": heat, "heatmap": shown / max(shown.max(), 1e-12)}


def gradsight_steps(explainer: gs.Explainer, photo: Path, index: int) -> Steps:
    """The same three things: whatever the network, there is nothing to cut."""
    explanation = explainer(photo, targets=index)
    return {
        "weights": explanation.alphas[0, 0],
        "map": explanation.maps[0, 0],
        "heatmap": explanation.heatmaps(size=explanation.maps.shape[2:])[0, 0],
    }


def torch_network() -> tuple[gs.Explainer, Any]:
    """EfficientNet-Lite0 with its ImageNet weights, which come as a package."""
    model = gs.load_model("demo", fit="letterbox")  # all of the photo, and not its middle alone
    return gs.Explainer(model), torch_recipe


def keras_network(weights: Path | None) -> tuple[gs.Explainer, Any]:
    """The recipe's Xception. The recipe takes its softmax off by hand; gradsight leaves it out by itself."""
    import keras

    if weights is None:
        print("Without --weights this Xception has random weights: the numbers can be compared, the maps mean nothing.")
        keras.utils.set_random_seed(0)
    model = keras.applications.Xception(weights=weights and str(weights), classifier_activation=None)
    made = gs.Preprocess(299, fit="squash", mean=0.5, std=0.5, channels_last=True)
    known = gs.Model(model, made, labels=gs.load_model("demo").labels, name="Xception")
    return gs.Explainer(known, layer="block14_sepconv2_act"), keras_recipe


def side_by_side(explainer: gs.Explainer, recipe: Any, photo: Path, name: str) -> None:
    """Print both, step by step, with the largest difference beside the largest value."""
    index = list(explainer.labels or ()).index(name)
    pixels = explainer.preprocess.place(photo)[0]
    by_hand, ours = recipe(explainer.model.model, pixels, index), gradsight_steps(explainer, photo, index)
    print(f"{name}: by hand | gradsight | largest difference")
    for step, values in by_hand.items():
        at = np.unravel_index(np.abs(values).argmax(), values.shape)
        apart = np.abs(values - ours[step]).max()
        print(f"  {step:8} {values[at]:+.5g} | {ours[step][at]:+.5g} | {apart:.1e}, at position {tuple(map(int, at))}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--synthetic", action="store_true", help="take the photo that comes with gradsight")
    source.add_argument("--data", type=Path, help="a photo, or a folder of photos")
    parser.add_argument(
        "--classes", nargs=2, metavar="NAME", help="two classes of ImageNet; the best two by themselves"
    )
    parser.add_argument("--network", choices=["torch", "xception"], default="torch")
    parser.add_argument("--weights", type=Path, help="Xception's weights, as keras.applications writes them")
    parser.add_argument("--out", type=Path, default=Path("gradsight-out/cat_and_dog"))
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.synthetic:
        photos, asked.classes = [asked.out / bundled_photo().name], asked.classes or ["Egyptian cat", "espresso"]
        photos[0].write_bytes(bundled_photo().source)
    else:
        photos = sorted(asked.data.iterdir()) if asked.data.is_dir() else [asked.data]
    explainer, recipe = torch_network() if asked.network == "torch" else keras_network(asked.weights)
    for name in asked.classes or ():
        if name not in (explainer.labels or ()):
            parser.error(f"--classes: there is no class {name!r}")
    for photo in photos:
        # 1. What does the network say at all? A map of a class that it gives no probability says little.
        best = explainer(photo, targets=gs.Top(2))
        print(f"{photo.name}:", *(f"{one.label} {one.probability:.2f}" for one in best.predictions[0][:5]), sep="  ")
        first, second = asked.classes or best.labels[0]

        # 2. Grad-CAM by hand and by gradsight, the same numbers.
        side_by_side(explainer, recipe, photo, first)

        # 3. Four questions, by three methods: why the one, why the other; what would have to go for the first to be
        #    likelier (the counterfactual); and what tells the two apart (red for the first, blue for the second).
        questions = gs.Several(first, second, gs.Against(first), gs.Contrast(first, second))
        compared = gs.compare(photo, explainer, methods=["cam", "gradcam", "guidedgradcam"], targets=questions)
        imaging.save(compared.figure(), asked.out / f"{photo.stem}_maps.jpg", quality=80, max_side=900)
        for row in compared.rows:
            if row.explanation is None:
                print(f"  {row.method.name}: {row.reason}")
                continue
            peaks = [region and region.peak for region in (row.explanation.region(0, i) for i in range(2))]
            print(f"  {row.method.name}: peaks (row, column) of {first} {peaks[0]}, of {second} {peaks[1]}")


if __name__ == "__main__":
    main()
