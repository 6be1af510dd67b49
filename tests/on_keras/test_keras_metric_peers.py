"""Figures of Xplique on the same maps of a Keras model: the same where it means the same, derived where not."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest
import torch

import frameworks
from cases_of import CLASSES, case_of, images, network
from gradsight.cases import Case
from gradsight.cases.curves import area, scores_without
from gradsight.cases.subsets import Subsets
from gradsight.metric_registry import as_metric

if keras.backend.backend() != "tensorflow":
    pytest.skip("Xplique knows TensorFlow only", allow_module_level=True)

import tensorflow as tf

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:The structure of `inputs` doesn't match:UserWarning"),
]

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def xplique() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old names in TensorFlow Probability
        return pytest.importorskip("xplique.metrics", exc_type=ImportError)


@pytest.fixture(scope="module")
def measured() -> tuple[tuple[Any, Any, Any], Case]:
    """(model, batch, one-hot targets) for Xplique, and the case in which black is 0, as there."""
    torch.manual_seed(0)  # before the test's own seed: what is made here must not depend on the tests before
    net, batch = network(), images()
    case = case_of(net, batch, [row[:1] for row in CLASSES], layer="4", ends=(0.0, 1.0))
    model = frameworks.explainer(net, batch).model.model
    return (model, np.asarray(frameworks.given(batch), np.float32), np.eye(5)[[0, 4]].astype(np.float32)), case


@pytest.mark.parametrize("steps", [4, 5])
@pytest.mark.parametrize("name", ["deletion", "insertion"])
def test_deletion_and_insertion_equal_xpliques_where_its_steps_are_equal(
    xplique: Any, measured: Any, name: str, steps: int
) -> None:
    given, case = measured
    metric = getattr(xplique, name.capitalize())(*given, steps=steps, baseline_mode=0.0, activation="softmax")
    found = metric(case.heat[:, 0])
    ours = float(as_metric(f"{name}(steps={steps}, baseline=black)")(case).mean())
    assert (abs(ours - found) < TOLERANCE) == (72 % steps == 0)
    # It rounds shares down, and takes all steps for equally wide.
    counts = np.linspace(0, 72, steps + 1, dtype=int).tolist()
    gone = counts if name == "deletion" else [72 - count for count in counts]
    curve = scores_without(case, gone, "black", "probability", hottest=name == "deletion")
    assert found == pytest.approx(area(curve, list(range(steps + 1))).mean(), abs=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("averagedrop", "AverageDropMetric"), ("increase", "AverageIncreaseMetric"), ("averagegain", "AverageGainMetric")],
)
def test_drop_increase_and_gain_equal_xpliques_of_maps_that_begin_at_0(
    xplique: Any, measured: Any, name: str, theirs: str
) -> None:
    given, case = measured
    # It takes magnitudes, and shifts the least to 0: of maps that have no sign and begin at 0 neither changes anything.
    low = np.abs(case.heat)
    low -= low.min(axis=(2, 3), keepdims=True)
    found = getattr(xplique, theirs)(*given, activation="softmax")(low[:, 0])
    assert found == pytest.approx(float(as_metric(name)(Case(low, case.model)).mean()), abs=TOLERANCE)


def test_mufidelity_is_the_rank_correlation_that_xplique_makes_of_the_same_patches(
    xplique: Any, measured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, case = measured
    masks = Subsets("cells", 12, 0.2, 4).masks(case.scoring)
    kept = tf.constant(1 - masks[None, ..., None].astype(np.float32))

    def perturbed(_self: Any, inputs: Any, _count: Any) -> Any:
        shown = tf.repeat(kept, len(inputs), axis=0)
        return tf.reshape(inputs[:, None] * shown, (-1, *inputs.shape[1:])), shown

    monkeypatch.setattr(xplique.MuFidelity, "_perturb_samples", perturbed)
    found = xplique.MuFidelity(*given, grid_size=4, nb_samples=12, baseline_mode=0.0)(case.heat[:, 0])
    values = as_metric("mufidelity(samples=12, cells=4)")(case)
    assert found == pytest.approx(float(values.mean()), abs=TOLERANCE)
