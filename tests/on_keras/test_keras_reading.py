"""What class scores are read from a Keras model's output, whether labels fit them, and what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L

import gradsight as gs
from gradsight.errors import InvalidArgument

# Keras's own convert_to_numpy on PyTorch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LABELS = ["cats", "dogs"]


def images(n: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((n, 12, 12, 3), dtype=np.float32)


def numpy_of(value: Any) -> np.ndarray:
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


def functional(finish: Callable[..., Any], classes: int) -> Any:
    """``finish`` makes the outputs of features, vectors of 8 and scores."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 12, 3))
    features = L.Conv2D(8, 3, 2, activation="relu", name="body")(inputs)
    vectors = L.GlobalAveragePooling2D()(features)
    return keras.Model(inputs, finish(features, vectors, L.Dense(classes, name="head")(vectors)))


class Own(keras.Model):
    """The user's own code, whose end is no layer."""

    def __init__(self, classes: int, end: Callable[[Any], Any]) -> None:
        super().__init__()
        keras.utils.set_random_seed(0)
        self.body, self.pool = L.Conv2D(8, 3, 2, activation="relu", name="body"), L.GlobalAveragePooling2D()
        self.head, self.end = L.Dense(classes), end

    def call(self, x: Any) -> Any:
        return self.end(self.head(self.pool(self.body(x))))


def own(classes: int, end: Callable[[Any], Any]) -> Any:
    model = Own(classes, end)
    model(images(1))
    return model


BINARY: dict[str, tuple[Callable[[], Any], bool, bool]] = {
    "a logit": (lambda: functional(lambda f, v, s: s, 1), False, False),
    "a sigmoid layer": (lambda: functional(lambda f, v, s: L.Activation("sigmoid")(s), 1), True, False),
    "a sigmoid kept": (lambda: functional(lambda f, v, s: L.Activation("sigmoid")(s), 1), True, True),
    "a sigmoid in code": (lambda: own(1, keras.ops.sigmoid), True, True),
    "beside an embedding": (lambda: functional(lambda f, v, s: [v, s], 1), False, False),
}


@pytest.mark.parametrize("how", BINARY)
def test_one_score_is_the_second_labels_and_the_rest_the_firsts(how: str) -> None:
    make, squashed, kept = BINARY[how]
    model, batch = make(), images()
    explain = gs.Explainer(model, labels=LABELS, layer="body", probabilities=kept and how != "a sigmoid in code")
    found = explain(batch, targets=gs.Classes("cats", "dogs"))
    given = model(batch)
    given = numpy_of(given[-1] if isinstance(given, list) else given)[:, 0].astype(np.float64)
    p = given if squashed else 1 / (1 + np.exp(-given))
    logits = np.log(p / (1 - p))
    expected = np.stack([1 - p, p], 1) if kept else np.stack([-logits, logits], 1)
    np.testing.assert_allclose(found.scores, expected, rtol=1e-3, atol=1e-6)
    assert np.abs(found.maps).max() > 0
    np.testing.assert_allclose(found.maps[:, 0], -found.maps[:, 1], rtol=1e-5, atol=1e-12)
    assert [{q.label: q.probability for q in row}["dogs"] for row in found.predictions] == pytest.approx(p, rel=1e-5)
    best = explain(batch)
    assert [row[0] for row in best.labels] == [LABELS[int(value > 0.5)] for value in p]
    assert any("speaks for dogs" in note for note in best.notes)
    assert any("probabilities (sigmoid)" in note for note in best.notes) == kept


@pytest.mark.parametrize(
    ("finish", "classes", "labels", "words"),
    [
        (lambda f, v, s: s, 6, LABELS, "2 labels for 6 scores"),
        (lambda f, v, s: L.Softmax()(s), 3, list("abcde"), "5 labels for 3 scores"),
        (lambda f, v, s: s, 1, list("abc"), "3 labels for 1 score"),
        (lambda f, v, s: [f, s], 4, LABELS, "2 labels for 4 scores"),
        (lambda f, v, s: {"logits": s, "other": v}, 4, LABELS, "2 labels for 4 scores"),
    ],
)
def test_labels_that_fit_no_scores_are_refused(finish: Any, classes: int, labels: list[str], words: str) -> None:
    explain = gs.Explainer(functional(finish, classes), labels=labels)
    for targets in (None, labels[0], gs.Contrast(0, 1)):
        with pytest.raises(InvalidArgument, match=words):
            explain(images(), targets=targets)


@pytest.mark.parametrize(
    ("finish", "labels"),
    [
        (lambda f, v, s: [f, s], None),
        (lambda f, v, s: {"features": f, "logits": s, "vectors": v}, None),
        (lambda f, v, s: [v, s], list("abcde")),
        (lambda f, v, s: [L.Softmax()(s), s], None),
        (lambda f, v, s: [v, s, L.Activation("sigmoid")(s)], None),
        (lambda f, v, s: {"b": [v, s], "a": f}, list("abcde")),
    ],
)
def test_of_several_outputs_the_class_scores_are_taken(finish: Any, labels: Any) -> None:
    batch = images()
    plain = functional(lambda f, v, s: s, 5)
    expected = gs.Explainer(plain, layer="body")(batch, targets=3)
    for method in ("gradcam", "ablationcam"):
        found = gs.Explainer(functional(finish, 5), labels=labels, layer="body")(batch, targets=3, method=method)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
        assert [[p.index for p in row] for row in found.predictions] == [
            [p.index for p in row] for row in expected.predictions
        ]
        if method == "gradcam":
            np.testing.assert_allclose(found.maps, expected.maps, atol=1e-5 * np.abs(expected.maps).max())


def test_what_stays_open_is_told_with_what_settles_it() -> None:
    model = functional(lambda f, v, s: [v, s], 5)
    with pytest.raises(InvalidArgument, match=r"outputs\[0\] \(\d, 8\), outputs\[1\] \(\d, 5\).*`scores=`"):
        gs.Explainer(model)(images())
    by_function = gs.Explainer(model, layer="body")(images(), targets=lambda outputs: outputs[1][:, 2])
    read = gs.Explainer(model, scores=lambda outputs: outputs[1], layer="body")(images(), targets=2)
    np.testing.assert_allclose(by_function.maps, read.maps, rtol=1e-5)


@pytest.mark.parametrize(
    ("end", "name"), [(keras.ops.sigmoid, "sigmoid"), (keras.ops.softmax, "softmax"), (lambda s: 0.05 * s + 0.4, "")]
)
def test_probabilities_are_found_out_by_trial(end: Any, name: str) -> None:
    model, batch = own(3, end), images()
    before = [numpy_of(w).copy() for w in model.get_weights()]
    given = numpy_of(model(batch)).astype(np.float64)
    assert ((given > 0) & (given < 1)).all()
    found = gs.Explainer(model, layer="body")(batch)
    shares = given if name else np.exp(given) / np.exp(given).sum(1, keepdims=True)
    np.testing.assert_allclose(
        [[p.probability for p in row] for row in found.predictions], -np.sort(-shares, axis=1), rtol=1e-4
    )
    assert any(f"probabilities ({name})" in note for note in found.notes) == bool(name)
    assert all(np.array_equal(w, old) for w, old in zip(model.get_weights(), before, strict=True))


def test_targets_may_be_tensors_of_the_engine() -> None:
    explain, batch = gs.Explainer(functional(lambda f, v, s: s, 5), layer="body"), images(2)
    tensor = keras.ops.convert_to_tensor
    for targets, expected in (
        (tensor(3), [[3], [3]]),
        (tensor([3, 1]), [[3], [1]]),
        (tensor([[3, 1], [0, 2]]), [[3, 1], [0, 2]]),
        ([tensor(3), np.array(1)], [[3], [1]]),
        (gs.Contrast(tensor(3), np.int64(1)), [[None], [None]]),
    ):
        found = explain(batch, targets=targets)
        assert [[target.index for target in row] for row in found.targets] == expected


def test_one_map_of_two_labels_is_a_segmentation_of_both() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [L.Input((12, 12, 3)), L.Conv2D(6, 3, 2, activation="relu", name="body"), L.Conv2D(1, 3, activation="sigmoid")]
    )
    for kept in (False, True):
        explain = gs.Explainer(model, labels=LABELS, layer="body", probabilities=kept)
        found = explain(images(), targets=gs.Several(gs.Pixels("cats"), gs.Pixels("dogs")))
        np.testing.assert_allclose(found.maps[:, 0], -found.maps[:, 1], rtol=1e-4, atol=1e-9)
        np.testing.assert_allclose(found.scores.sum(1), 1 if kept else 0, atol=1e-5)
