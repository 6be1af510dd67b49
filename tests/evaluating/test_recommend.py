"""`gs.recommend`: the race finds the better way, held-out images judge it, and noise recommends nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import gradsight as gs
from gradsight.errors import InvalidArgument
from gradsight.evaluating.racing import FIRST, Criteria, race
from gradsight.evaluating.recommend import criteria_of
from gradsight.evaluating.recommendation import Way
from gradsight.metric_registry import METRICS
from gradsight.registry import METHODS
from gradsight.significance import interval

pytestmark = pytest.mark.pytorch
PLAIN = gs.Preprocess(size=(16, 16), fit="squash", mean=(0.0,) * 3, std=(1.0,) * 3)


def explainer() -> gs.Explainer:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(4),
        torch.nn.Flatten(),
        torch.nn.Linear(96, 4),
    )
    return gs.Explainer(net.eval(), preprocess=PLAIN, labels=("a", "b", "c", "d"), name="tiny")


def photos(count: int = 32) -> list[Any]:
    rng = np.random.default_rng(1)
    return [Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)) for _ in range(count)]


@pytest.fixture
def metrics(monkeypatch) -> None:
    """`pure_noise`, which says nothing of a map, and `likes_centre`, which likes those that are warm in the middle."""
    list(METRICS)
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    drawn = np.random.default_rng(7)

    @gs.metric("pure_noise", title="Noise", source="a control", measures="faithfulness", better="higher")
    def pure_noise(case):
        return drawn.random(case.shape)

    @gs.metric("likes_centre", title="Centre", source="here", measures="faithfulness", better="higher")
    def likes_centre(case):
        heat = case.shown.reshape(*case.shape, 16, 16)
        return heat[..., 5:11, 5:11].sum((-1, -2)) / (heat.sum((-1, -2)) + 1e-9)


def test_the_race_keeps_the_best_and_halves_the_rest() -> None:
    rng = np.random.default_rng(0)
    truth = {f"way {i}": i / 8 for i in range(8)}
    asked: list[tuple[int, int]] = []

    def measure(arms, images):
        asked.append((len(arms), len(images)))
        return {arm: truth[arm] + 0.5 * rng.standard_normal((len(images), 1)) for arm in arms}

    rounds = race(list(truth), 64, measure, Criteria(("m",), (1.0,), (1,)))
    assert rounds[-1].left[0] in ("way 7", "way 6")
    assert asked[0] == (8, FIRST)
    assert all(len(one.left) <= 4 / 2**i for i, one in enumerate(rounds[:3]))
    assert [one.images for one in rounds] == [8, 16, 32][: len(rounds)]
    lower = race(list(truth), 64, measure, Criteria(("m",), (1.0,), (-1,)))
    assert lower[-1].left[0] in ("way 0", "way 1")


def test_one_that_has_no_values_never_wins() -> None:
    def measure(arms, images):
        return {arm: np.full((len(images), 1), np.nan if arm == "none" else 0.0) for arm in arms}

    assert race(["none", "some"], 16, measure, Criteria(("m",), (1.0,), (1,)))[-1].left == ("some",)


def test_of_ways_with_the_same_figures_the_first_one_runs_on() -> None:
    rng, asked = np.random.default_rng(0), list[list[str]]()

    def measure(arms, images):
        asked.append(list(arms))
        own = rng.random((len(images), 1))
        # What differs in the seventh digit differs by rounding, and in the second by more.
        return {arm: own + {"twin": 1e-7, "other": 0.05}.get(arm, 0) for arm in arms}

    rounds = race(["plain", "twin", "other"], 32, measure, Criteria(("m",), (1.0,), (1,)))
    assert asked[0] == ["plain", "twin", "other"]
    assert all("twin" not in one.left for one in rounds)
    alone = race(["plain", "twin"], 32, measure, Criteria(("m",), (1.0,), (1,)))
    assert [(one.images, one.left) for one in alone] == [(8, ("plain",))]


def test_it_is_told_what_goes_on() -> None:
    told: list[str] = []
    race(["a", "b"], 16, lambda arms, images: {arm: np.eye(len(images))[:, :1] * (arm == "a") for arm in arms},
         Criteria(("m",), (1.0,), (1,)), told.append)  # fmt: skip
    assert told[0] == "2 ways on 8 photos"


@pytest.mark.parametrize("seed", range(4))
def test_pure_noise_recommends_nothing(metrics, seed) -> None:
    methods = ["gradcam", "hirescam", "layercam", "fem"]
    found = gs.recommend(explainer(), photos(), by={"pure_noise": 1}, methods=methods, layers=["2", "0"], seed=seed)
    assert not found.is_better
    assert found.chosen == found.plain == Way("2", "gradcam")
    assert "Nothing beats plain Grad-CAM" in str(found)
    assert "--method gradcam" in found.command


def test_a_better_way_is_found_and_shown(metrics, monkeypatch) -> None:
    from dataclasses import replace

    list(METHODS)
    # `centre` is a control; the same under another name may race.
    bell = replace(METHODS["centre"], name="bell", control=False)
    monkeypatch.setitem(METHODS._entries, "bell", bell)
    found = gs.recommend(explainer(), photos(), by={"likes_centre": 1}, methods=["gradcam", "fem", "bell"])
    assert found.is_better
    assert found.chosen == Way("", "bell")
    assert found.held_out == 16
    assert found.advantage.low > 0
    assert found.compared[0].difference.mean == pytest.approx(found.compared[0].own - found.compared[0].plain)
    assert found.code == "explainer(photo, method='bell')"
    assert found.command == "gradsight explain photo.jpg --model tiny --method bell"


def test_what_is_recommended_holds_on_photos_that_nothing_was_chosen_by() -> None:
    # The head reads each position by itself, so that averaged weights mislead and HiResCAM is exact.
    own, methods = explainer(), ["gradcam", "fem", "hirescam", "eigencam"]
    found = gs.recommend(own, photos(40), methods=methods, layers=["2"])
    assert found.plain == Way("2", "gradcam")
    assert found.chosen == Way("2", "hirescam")
    assert found.advantage.low > 0
    fresh = photos(64)[40:]
    for metric, sign in (("deletion(steps=14)", -1), ("insertion(steps=14)", 1)):
        rows = gs.evaluate(own, fresh, methods=["hirescam", "gradcam"], metrics=[metric], layers=["2"]).rows
        ours, plain = (np.array([row.value for row in rows if row.method == name]) for name in ("hirescam", "gradcam"))
        assert interval(sign * (ours - plain)).low > 0


def _held_out(count: int) -> set[str]:
    return {f"photo {i}" for i in np.array_split(np.random.default_rng(0).permutation(count), 2)[1]}


def test_plain_grad_cam_beside_itself_differs_by_nothing(metrics) -> None:
    found = gs.recommend(explainer(), photos(), by={"likes_centre": 1}, methods=["gradcam"], layers=["2"])
    assert found.best == found.plain
    differences = [found.advantage, found.compared[0].difference]
    assert [(one.mean, one.low, one.high) for one in differences] == [(0, 0, 0)] * 2
    assert not found.is_better
    assert "it won the race itself" in str(found)


def test_broken_photos_are_named_and_left_out(metrics) -> None:
    given = photos(24)
    for i in (3, 10, 17):
        given[i] = b"none"
    found = gs.recommend(explainer(), given, by={"likes_centre": 1}, methods=["gradcam", "fem"], layers=["1"])
    # A race that is over early reads no more photos, so that one may not have been met.
    names = {name for name, _ in found.failed}
    assert names
    assert names <= {"photo 3", "photo 10", "photo 17"}
    assert found.held_out == 12 - len(names & _held_out(24))


@pytest.mark.parametrize("by", ["speed", {}, {"deletion": 0}, {"maxboxacc": 1}, 3])
def test_criteria_are_checked(by) -> None:
    with pytest.raises(InvalidArgument, match="`by`"):
        criteria_of(by, known=True)


def test_few_photos_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="at least 16"):
        gs.recommend(explainer(), photos(9))
