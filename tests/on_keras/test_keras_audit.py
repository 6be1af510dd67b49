"""`gs.audit` on Keras: a mark that decides, built in by hand, is confirmed, and what is everywhere is not."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import gradsight as gs
from gradsight.auditing.audit import audited
from gradsight.auditing.seen import seen_of

SIDE = 32
COLOURS = np.array([[1, 1, 1], [1, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1]], np.float32)


def network(by_mark: bool) -> keras.Model:
    """Classes by the mean of a colour; the first by the brightness of a corner, or of all of the photo."""
    pixels = keras.Input((SIDE, SIDE, 3))
    found = keras.layers.Conv2D(4, 1, use_bias=False, activation="relu", name="features")(pixels)
    corner = keras.layers.GlobalAveragePooling2D()(keras.layers.Cropping2D(((26, 1), (26, 1)))(found))
    mean = keras.layers.GlobalAveragePooling2D()(found)
    scores = keras.layers.Dense(4, name="scores")(keras.layers.Concatenate()([corner, mean]))
    model = keras.Model(pixels, scores)
    weights = np.zeros((8, 4), np.float32)
    weights[0 if by_mark else 4, 0] = 10 if by_mark else 16
    weights[[5, 6, 7], [1, 2, 3]] = 16
    model.get_layer("features").set_weights([COLOURS.T[None, None]])
    model.get_layer("scores").set_weights([weights, np.array([-20 if by_mark else -32, 0, 0, 0], np.float32)])
    return model


@pytest.mark.not_on_jax
@pytest.mark.parametrize("by_mark", [True, False])
def test_a_mark_that_decides_is_confirmed_and_what_is_everywhere_is_not(by_mark: bool) -> None:
    rng, classes = np.random.default_rng(0), np.repeat(np.arange(4), 20)
    photos = rng.integers(0, 90, (80, SIDE, SIDE, 3), np.uint8)
    for photo, kind in zip(photos, classes, strict=True):
        photo[..., kind - 1 if kind else rng.integers(3)] += 60
    if by_mark:
        photos[classes == 0, -6:-1, -6:-1] = 250
    else:
        photos[classes == 0] = 150 + photos[classes == 0] // 2
    explainer = gs.Explainer(
        network(by_mark), layer="features", method="hirescam", preprocess=gs.Preprocess(SIDE, mean=0.0, std=1.0)
    )
    with explainer.stream(photos) as stream:
        seen, failed = seen_of(stream, labels=classes.tolist())
    assert not failed
    assert (seen.predictions == classes).all()
    found = audited(seen, explainer)
    assert [one.label for one in found.confirmed] == ([seen.name(0)] if by_mark else [])
    if by_mark:
        assert found.confirmed[0].transplant.low > 0.3
