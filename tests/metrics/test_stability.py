"""Metrics of stability: facts by hand, and what they must tell apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cases_of import case_of, images
from gradsight.cases import Case
from gradsight.cases.perturbing import moved
from gradsight.metric_registry import METRICS, as_metric
from gradsight.metrics.maxsensitivity import apart

pytestmark = pytest.mark.pytorch

NAMES = ["maxsensitivity", "averagesensitivity", "lipschitz", "mirroring", "shifting"]


def one(values: list[float]) -> Case:
    return Case(np.array(values, np.float32).reshape(1, 1, -1))


def test_how_far_a_map_goes_is_a_share_of_its_length() -> None:
    phi = [1, 2.5, 3.3]
    found = apart(one(phi), np.array(phi).reshape(1, 1, 1, -1) + 0.1)
    assert found.item() == pytest.approx(0.0407, abs=5e-5)
    # Xplique does not divide: 8 of 64 zeros and ones, and 0 of the same map.
    assert apart(one([1] * 64), np.zeros((1, 1, 1, 64))).item() == 1
    assert apart(one(phi), one(phi).flat[None]).item() == pytest.approx(0, abs=1e-7)
    # captum takes the length of a map of zeros as 1.
    assert np.isnan(apart(one([0, 0]), np.ones((1, 1, 1, 2)))).all()


def test_shifted_values_leave_their_edge_behind() -> None:
    values = np.arange(6).reshape(2, 3)
    assert moved(values, 1, 2).tolist() == [[0, 0, 1], [0, 0, 1]]
    assert moved(values, -1, 2).tolist() == [[4, 5, 5], [4, 5, 5]]
    assert moved(values, 0, 2).tolist() == values.tolist()


def plain_sum() -> nn.Module:
    """A model whose Grad-CAM is its picture's own map, wherever things lie in it."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 6, 1)
    return nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)).double()


def placed() -> nn.Module:
    """The same with a head that reads each position by itself."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 72, 3)).double()


@pytest.mark.parametrize("name", ["mirroring", "shifting"])
def test_a_model_that_has_no_places_has_maps_that_go_with_the_picture(name: str) -> None:
    batch = images()
    assert METRICS[name](case_of(plain_sum(), batch, 1, layer="1")) == pytest.approx(1, abs=1e-6)
    # One map for every picture stays where it is.
    still = case_of(plain_sum(), batch, 1, layer="1", method="random")
    assert METRICS[name](still).max() < 0.6
    assert METRICS[name](case_of(placed(), batch, 1, layer="1", method="hirescam")).max() < 0.9


def test_a_map_that_looks_at_nothing_is_stable_and_one_that_rounds_is_not() -> None:
    batch = images()
    for name in NAMES[:3]:
        level = as_metric(name)(case_of(plain_sum(), batch, 1, layer="1", method="random"))
        np.testing.assert_array_equal(level, 0)
        few, many = (as_metric(f"{name}(samples=6, radius={radius})") for radius in (0.01, 0.1))
        case = case_of(plain_sum(), batch, 1, layer="1")
        if name != "lipschitz":
            assert (many(case) > 3 * few(case)).all()
        # The average is no more than the most.
        assert (few(case) > 0).all()
    most, mean = (as_metric(f"{name}(samples=6)")(case) for name in NAMES[:2])
    assert (most >= mean).all()


def test_a_map_of_any_strength_is_as_stable() -> None:
    case = case_of(plain_sum(), images(), 1, layer="1")
    assert case.explain is not None
    own = case.explain
    strong = Case(case.maps * 8, case.model, case.probe, lambda probe: own(probe) * 8)
    for name in NAMES:
        np.testing.assert_allclose(METRICS[name](strong), METRICS[name](case), rtol=1e-5)
