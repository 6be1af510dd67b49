"""Figures of captum, grad-cam and torchcam on the same maps: the same where they mean the same, derived where not."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from captum.metrics import infidelity, infidelity_perturb_func_decorator, sensitivity_max
from torch import nn

from cases_of import CLASSES, case_of, images, network
from gradsight.cases import Case
from gradsight.cases.curves import area, scores_without
from gradsight.cases.perturbing import noisy
from gradsight.cases.subsets import Subsets
from gradsight.metric_registry import as_metric
from oracles import ORACLES as METHODS
from plain import Plain

pytestmark = [pytest.mark.peers, pytest.mark.pytorch]

TOLERANCE = 1e-5
"""Peers keep their figures in float32."""


IN_NUMPY = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning")
"""Of NumPy's functions on tensors, as grad-cam's imputation calls them."""


def black_is_zero(dtype: torch.dtype = torch.float64) -> tuple[nn.Module, torch.Tensor, Case]:
    """A case in which black is 0, which is what peers fill with."""
    model, batch = network().to(dtype), images().to(dtype)
    return model, batch, case_of(model, batch, [row[:1] for row in CLASSES], layer="4", ends=(0.0, 1.0))


def softmax_target(number: int) -> Any:
    return lambda output: output.softmax(dim=-1)[number]


TARGETS = [softmax_target(row[0]) for row in CLASSES]


@pytest.mark.parametrize("factor", ["best", "one"])
def test_infidelity_equals_captums(factor: str) -> None:
    model, batch, case = black_is_zero()
    masks = torch.from_numpy(Subsets("squares", 9).masks(case.scoring))
    values = as_metric(f"infidelity(samples=9, factor={factor})")(case)

    @infidelity_perturb_func_decorator(multiply_by_inputs=True)
    def perturbed(inputs: Any, _baselines: Any) -> Any:
        return torch.where(masks[:, None], torch.zeros_like(inputs), inputs)

    for i in range(2):
        # One value for each position: a channel gets its share of it.
        shares = torch.from_numpy(case.heat[i, 0].astype(np.float64) / 3).expand(1, 3, -1, -1)
        found = infidelity(
            model,
            perturbed,
            batch[i : i + 1],
            shares,
            baselines=0,
            target=CLASSES[i][0],
            n_perturb_samples=9,
            normalize=factor == "best",
        )
        np.testing.assert_allclose(values[i, 0], found.item(), rtol=TOLERANCE)


def test_max_sensitivity_equals_captums_on_the_same_noise() -> None:
    model, batch, case = black_is_zero()
    values = as_metric("maxsensitivity(samples=5, radius=0.3)")(case)
    noise = [torch.from_numpy(noisy(case.scoring, i, 0.3)[1]) for i in range(5)]
    for i in range(2):
        left = iter(noise)

        def explained(inputs: Any, target: int = CLASSES[i][0]) -> Any:
            view = Plain(model, "4", inputs[0] if isinstance(inputs, tuple) else inputs, [[target]])
            # In a tuple: of a tensor alone captum divides by the length of each row.
            return (torch.from_numpy(METHODS["gradcam"](view)[0]),)

        def perturbed(inputs: Any, _radius: float, *, left: Any = left) -> Any:
            return (inputs[0] if isinstance(inputs, tuple) else inputs) + next(left)

        found = sensitivity_max(
            explained, (batch[i : i + 1],), perturbed, n_perturb_samples=5, max_examples_per_batch=1
        )
        np.testing.assert_allclose(values[i, 0], found.item(), rtol=TOLERANCE)


def test_grad_cams_drop_is_ours_times_the_probability() -> None:
    from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence, IncreaseInConfidence

    model, batch, case = black_is_zero()
    shown = case.shown[:, 0].astype(np.float64)
    before = case.scoring.unchanged("probability")[:, 0]
    drop = as_metric("averagedrop")(case)[:, 0]
    np.testing.assert_allclose(drop * before, DropInConfidence()(batch, shown, TARGETS, model), atol=TOLERANCE)
    increase = as_metric("increase")(case)[:, 0]
    np.testing.assert_array_equal(increase, IncreaseInConfidence()(batch, shown, TARGETS, model))


@IN_NUMPY
def test_road_equals_grad_cams_where_its_percentiles_cut_as_many_positions() -> None:
    from pytorch_grad_cam.metrics.perturbation_confidence import (
        PerturbationConfidenceMetric,
        RemoveLeastRelevantFirst,
        RemoveMostRelevantFirst,
    )
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    model, batch, case = black_is_zero(torch.float32)  # which its imputer makes of everything
    heat = case.heat[:, 0]
    assert all(len(np.unique(one)) == one.size for one in heat)
    for name, order in (("roadmorf", RemoveMostRelevantFirst), ("roadlerf", RemoveLeastRelevantFirst)):
        found = [
            PerturbationConfidenceMetric(order(percentile, NoisyLinearImputer(noise=0)))(batch, heat, TARGETS, model)
            for percentile in (25, 50, 75)  # of 72 positions 54, 36 and 18 are removed
        ]
        values = as_metric(f"{name}(steps=3, noise=0)")(case)[:, 0]
        np.testing.assert_allclose(values, np.mean(found, axis=0), atol=TOLERANCE)


@IN_NUMPY
def test_grad_cams_road_ignores_its_weighting_and_removes_all_of_a_level_map() -> None:
    from pytorch_grad_cam.metrics.perturbation_confidence import RemoveMostRelevantFirst
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    image, kept = torch.arange(9.0).reshape(1, 3, 3), torch.ones(3, 3)
    kept[0, 0] = 0
    found = [NoisyLinearImputer(noise=0, weighting=w)(image, kept) for w in ([((0, 1), 1.0)], [((1, 0), 1.0)])]
    assert torch.equal(*found)
    left: list[float] = []
    RemoveMostRelevantFirst(50, lambda _image, mask: left.append(float(mask.sum())))(image, torch.full((3, 3), 0.5))
    assert left == [0.0]


class Given:
    """What torchcam takes for a method: maps that are there already."""

    def __init__(self, model: nn.Module, maps: np.ndarray) -> None:
        self.model, self.maps = model, torch.from_numpy(maps.astype(np.float64))

    def __call__(self, *_: Any, **__: Any) -> list[torch.Tensor]:
        return [self.maps]

    def fuse_cams(self, cams: list[torch.Tensor]) -> torch.Tensor:
        return cams[0]

    def _hooks_off(self) -> Any:
        return contextlib.nullcontext()


def softmax(logits: torch.Tensor) -> torch.Tensor:
    return logits.softmax(dim=-1)


@pytest.mark.parametrize("steps", [4, 5, 8])
def test_deletion_and_insertion_equal_torchcams_by_its_steps(steps: int) -> None:
    from torchcam.metrics import DeletionInsertionMetric

    model, batch, case = black_is_zero()
    metric = DeletionInsertionMetric(Given(model, case.heat[:, 0]), softmax, steps=steps)
    metric.update(batch, [row[0] for row in CLASSES])
    found = metric.summary()
    # It rounds its step up, so that the last one is shorter.
    step = -(-72 // steps)
    counts = [*range(0, 72, step), 72]
    curves = {
        "deletion": scores_without(case, counts, "black", "probability"),
        "insertion": scores_without(case, [72 - c for c in counts], "black", "probability", hottest=False),
    }
    for name, curve in curves.items():
        np.testing.assert_allclose(found[f"{name}_auc"], area(curve, counts).mean(), atol=TOLERANCE)
        ours = as_metric(f"{name}(steps={steps}, baseline=black)")(case).mean()
        same = abs(ours - found[f"{name}_auc"]) < TOLERANCE
        assert same == (72 % steps == 0)


def test_average_drop_and_increase_equal_torchcams() -> None:
    from torchcam.metrics import ClassificationMetric

    model, batch, case = black_is_zero()
    metric = ClassificationMetric(Given(model, case.shown[:, 0]), softmax)
    metric.update(batch, [row[0] for row in CLASSES])
    values = {name: as_metric(name)(case).mean() for name in ("averagedrop", "increase")}
    found = metric.summary()
    assert found["avg_drop"] == pytest.approx(values["averagedrop"], abs=TOLERANCE)
    assert found["conf_increase"] == values["increase"]
