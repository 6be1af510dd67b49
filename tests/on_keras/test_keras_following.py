"""Functions of a photo as ``preprocess`` of Keras models, and what was assumed, on the engine of this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L
from PIL import Image

import gradsight as gs
from gradsight.errors import InvalidArgument
from gradsight.imaging import PARTS, Preprocess
from gradsight.models.keras.inputs import preprocess_of

# Keras's own convert_to_numpy on PyTorch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIDES = (201, 277)
BOX = (79, 125, 112, 166)


def bright(shape: tuple[Any, ...] = (96, 80, 3)) -> Any:
    """Its layer "grey" is how bright the picture is, and its score the mean of that."""
    model = keras.Sequential([keras.Input(shape), L.Conv2D(1, 1, name="grey"), L.GlobalAveragePooling2D()])
    model.layers[0].set_weights([np.ones((1, 1, shape[-1], 1)), np.full(1, 500.0)])
    return model


def marked() -> Image.Image:
    pixels = np.full((*SIDES, 3), 60, np.uint8)
    pixels[BOX[0] : BOX[2], BOX[1] : BOX[3]] = 240
    return Image.fromarray(pixels)


def whole(picture: Image.Image) -> Any:
    """Makes the whole input, with a batch axis."""
    values = keras.ops.image.resize(np.asarray(picture, dtype="float32"), (96, 80))
    return keras.applications.mobilenet_v2.preprocess_input(keras.ops.convert_to_numpy(values)[None])


FUNCTIONS = {
    "resnet50": keras.applications.resnet50.preprocess_input,  # BGR less its means
    "mobilenet_v2": keras.applications.mobilenet_v2.preprocess_input,  # which writes into what it is given
    "efficientnet": keras.applications.efficientnet.preprocess_input,  # which does nothing
    "whole": whole,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_map_lies_on_the_square(name: str) -> None:
    explanation = gs.Explainer(bright(), preprocess=FUNCTIONS[name], layer="grey", method="hirescam", targets=0)(
        marked()
    )
    assert explanation.input_size == (96, 80)
    heat = explanation.on_photo()
    heat = heat - np.median(heat)
    inside = heat >= heat.max() / 2
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    off = np.abs(np.subtract((rows[0], columns[0], rows[-1] + 1, columns[-1] + 1), BOX))
    assert (off <= np.array([201 / 96, 277 / 80] * 2)).all()
    record = explanation.record().preprocess
    # how the photo comes to the model's size is said by ``whole`` alone
    parts = [] if name == "whole" else ["fit", "crop", "interpolation"]
    assert (record["assumed"], record["assumed_parts"]) == (bool(parts), parts)
    assert len([note for note in explanation.notes if "this was assumed" in note]) == bool(parts)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_model_gets_the_function_s_own_pixels(name: str) -> None:
    explainer = gs.Explainer(bright(), preprocess=FUNCTIONS[name])
    fitted = marked() if name == "whole" else marked().resize((80, 96), Image.Resampling.BILINEAR)
    given = fitted if name == "whole" else np.asarray(fitted, dtype=np.float32)
    own = np.asarray(FUNCTIONS[name](given)).reshape(96, 80, 3)
    np.testing.assert_allclose(explainer.preprocess.laid_out(True)(marked()), own, atol=1e-5)


def test_a_grey_model_s_function_gets_a_grey_picture() -> None:
    explainer = gs.Explainer(bright((32, 24, 1)), preprocess=lambda pixels: pixels / 255)
    assert explainer.preprocess(marked()).shape == (32, 24, 1)


def test_a_random_layer_is_refused() -> None:
    cut = L.RandomCrop(48, 48)
    with pytest.raises(InvalidArgument, match="two runs of this one differ"):
        gs.Explainer(bright(), preprocess=lambda picture: cut(np.asarray(picture, dtype="float32"), training=True))


def test_what_a_file_does_not_say_is_assumed(tmp_path: Path) -> None:
    model = bright()
    model.save(tmp_path / "model.keras")
    loaded = gs.load_model(tmp_path / "model.keras")
    assert loaded.preprocess.assumed == PARTS[1:]
    assert preprocess_of(bright((None, None, 3))).assumed == PARTS
    (note,) = [note for note in gs.explain(marked(), loaded).notes if "this was assumed" in note]
    assert "fit squash" in note
    assert "--size" not in note
    own = Preprocess((96, 80), fit="squash", channels_last=True)
    assert gs.load_model(tmp_path / "model.keras", preprocess=own).preprocess.assumed == ()


def test_keras_says_which_values_its_own_weights_take() -> None:
    from gradsight.models.sources.keras import _preprocess

    builder = keras.applications.MobileNetV2
    model = bright((224, 224, 3))
    assert _preprocess(model, builder, pretrained=True).assumed == ("fit", "crop", "interpolation")
    assert _preprocess(model, builder, pretrained=False).assumed == PARTS[1:]
