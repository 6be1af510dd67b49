"""Metrics of localisation: the slow oracle, the cases of other packages, and what cannot be told."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

from gradsight.cases import Case
from gradsight.errors import InvalidArgument
from gradsight.metric_registry import METRICS, as_metric, metric
from gradsight.metric_sets import figures, of_sets
from gradsight.metrics.maxboxacc import maxboxacc
from localisation_oracles import ORACLES, areas, box_of

NAMES = sorted(name for name, entry in METRICS.items() if entry.measures == "localisation")
P = [[0.4, 0.3], [0.2, 0.1]]
NAN = math.nan


def case(maps: Any, regions: Any, boxes: Any = None) -> Case:
    """One of n images with one target each, or with the given (n, k)."""
    maps, regions = np.asarray(maps, np.float32), np.asarray(regions, bool)
    if maps.ndim == 2:
        maps = maps[None]
    if maps.ndim == 3:
        maps = maps[:, None]
    regions = regions.reshape(*maps.shape[:2], *regions.shape[-2:])
    if boxes is None:
        boxes = [[np.array([box_of(area) for area in areas(one)]).reshape(-1, 4) for one in row] for row in regions]
    return Case(maps=maps, regions=regions, boxes=boxes)


def value(name: str, heat: Any, mask: Any) -> float:
    return float(as_metric(name)(case(heat, mask))[0, 0])


@pytest.fixture(scope="module")
def many() -> Case:
    """Maps with negative values and many ties, things of all sizes."""
    rng = np.random.default_rng(0)
    maps = rng.integers(-3, 5, (8, 2, 7, 8)) / 4
    maps[3], maps[4, 0] = rng.normal(size=(2, 7, 8)), -1
    regions = rng.random((8, 2, 7, 8)) < rng.random((8, 2, 1, 1))
    regions[5], regions[..., 2, 3] = True, True
    return case(maps, regions)


def test_every_metric_of_localisation_has_an_oracle() -> None:
    assert set(ORACLES) == set(NAMES)
    assert len(NAMES) >= 9


@pytest.mark.parametrize(
    "text",
    [
        *NAMES,
        "pointing(tolerance=1)",
        "pointing(tolerance=1.5)",
        "relevancemass(values=positive)",
        "topk(k=5)",
        "topk(k=56)",
        "iou(threshold=0.15)",
        "iou(threshold=1)",
        "maxboxacc(thresholds=7)",
        "maxboxaccv2(thresholds=7)",
    ],
)
def test_a_metric_equals_the_oracle(many: Case, text: str) -> None:
    asked = as_metric(text)
    name, options = text.partition("(")[0], {key: asked.options[key] for key in asked.options}
    found = asked(many)
    assert many.boxes is not None
    assert many.regions is not None
    for i, j in many.pairs():
        expected = ORACLES[name](
            many.heat[i, j].astype(float), many.regions[i, j], np.asarray(many.boxes[i][j], float), **options
        )
        np.testing.assert_allclose(found[i, j], expected, rtol=1e-6, atol=1e-12, err_msg=str((i, j)))
    low, high = asked.range
    assert np.nanmin(found) >= low
    assert np.nanmax(found) <= high
    assert len(np.unique(found[np.isfinite(found)])) > 1


@pytest.mark.parametrize(
    ("heat", "mask", "expected"),
    [
        (P, [[1, 0], [1, 0]], (1, 0.6, 0.6, 0.5, 0.75, 1, 0.5)),
        # Of two that are tied Quantus takes the first: rank and top-1 are 0, and the mean of both orders is 1/2.
        ([[0.4, 0.4], [0.2, 0.1]], [[0, 1], [0, 0]], (1, 4 / 11, 4 / 11, 0.5, 5 / 6, 0.5, 0.5)),
        # Quantus divides signed sums (0.1 / 0.2 = 0.5) or magnitudes (0.7); the positive values alone give 2/3.
        ([[0.4, -0.3], [0.2, -0.1]], [[1, 1], [0, 0]], (1, 2 / 3, 0.7, 0.5, 0.5, 1, 0.5)),
        (P, [[1, 1], [1, 1]], (1, 1, 1, 1, NAN, 1, 1)),
        # Quantus calls a pointing game without a thing True, since NaN is true in Python.
        (P, [[0, 0], [0, 0]], (NAN,) * 7),
    ],
)
def test_cases_of_quantus(heat: Any, mask: Any, expected: tuple[float, ...]) -> None:
    names = ("pointing", "energypointing", "relevancemass", "relevancerank", "maskauc", "topk(k=1)", "topk(k=2)")
    np.testing.assert_allclose([value(name, heat, mask) for name in names], expected, rtol=1e-6)


def square(*places: tuple[int, int, int, int]) -> np.ndarray:
    made = np.zeros((224, 224))
    for top, left, bottom, right in places:
        made[top:bottom, left:right] = 1
    return made


def test_cases_of_quantus_on_large_squares() -> None:
    thing, whole = square((50, 50, 150, 150)), square((0, 0, 224, 224))
    for name in ("pointing", "energypointing", "relevancemass", "relevancerank", "maskauc", "iou"):
        assert value(name, thing, thing) == 1
    assert value("topk(k=40000)", thing, thing) == 0.25
    assert value("energypointing", square((0, 0, 224, 224)), square((0, 0, 112, 224))) == 0.5
    quarters = square((0, 0, 112, 112)), square((112, 112, 224, 224))
    assert value("maskauc", *quarters) == pytest.approx(1 / 3)
    assert value("relevancemass", *quarters) == 0
    assert value("energypointing", *quarters) == 0
    assert value("iou", *quarters) == 0
    assert value("iou", whole, quarters[0]) == 0.25


def test_the_paper_of_the_pointing_game_forgives_fifteen_pixels() -> None:
    heat, thing = np.zeros((64, 64)), np.zeros((64, 64))
    heat[10, 10], thing[40:50, 22:30] = 1, 1
    away = math.hypot(30, 12)
    assert value("pointing(tolerance=15)", heat, thing) == 0
    assert value(f"pointing(tolerance={away + 0.01})", heat, thing) == 1
    assert value(f"pointing(tolerance={away - 0.01})", heat, thing) == 0


@pytest.mark.parametrize("level", [0.0, 2.0, -1.0])
def test_a_map_of_one_value_points_nowhere_and_is_worth_what_chance_is(level: float) -> None:
    heat, mask = np.full((4, 5), level), np.zeros((4, 5))
    mask[:2, :3] = 1
    assert value("pointing", heat, mask) == 0
    assert value("pointing(tolerance=3)", heat, mask) == 0
    assert value("maskauc", heat, mask) == 0.5
    assert value("relevancerank", heat, mask) == pytest.approx(0.3)
    assert value("topk(k=1)", heat, mask) == pytest.approx(0.3)
    assert value("energypointing", heat, mask) == pytest.approx(0.3 if level > 0 else 0)
    assert value("iou", heat, mask) == pytest.approx(0.3 if level > 0 else 0)
    assert as_metric("maxboxacc")(case(heat, mask)).max() == pytest.approx(0.3 if level > 0 else 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_the_same_in_a_mirror_alone_and_at_any_scale(many: Case, name: str) -> None:
    assert many.regions is not None
    found = METRICS[name](many)
    mirrored = METRICS[name](case(many.maps[..., ::-1], many.regions[..., ::-1]))
    np.testing.assert_allclose(mirrored, found, atol=1e-12)
    alone = METRICS[name](case(many.maps[3:4, 1:], many.regions[3:4, 1:]))
    np.testing.assert_array_equal(alone[0, 0], found[3, 1])
    np.testing.assert_allclose(METRICS[name](case(8 * many.maps, many.regions)), found, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_known_is_no_figure(name: str) -> None:
    maps, regions = np.ones((3, 1, 4, 4)), np.zeros((3, 1, 4, 4), bool)
    maps[..., 0, 0], regions[:2, 0, 0, 0] = 2, True
    maps[1, 0, 3, 3] = NAN
    found = METRICS[name](case(maps, regions))
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1:]).all()
    with pytest.raises(InvalidArgument, match="boxes"):
        METRICS[name](Case(maps=maps))


@pytest.mark.parametrize("name", [name if name != "topk" else "topk(k=2)" for name in NAMES if "box" not in name])
@pytest.mark.parametrize("size", [(9,), (3, 4, 5)])
def test_signals_and_volumes_are_measured_too(name: str, size: tuple[int, ...]) -> None:
    regions = np.zeros((1, 1, *size), bool)
    regions[..., 1:3] = True
    right = as_metric(name)(Case(maps=regions.astype(np.float32), regions=regions))
    wrong = as_metric(name)(Case(maps=(~regions).astype(np.float32), regions=regions))
    assert right > wrong
    assert wrong == 0


def test_the_threshold_of_max_box_acc_is_the_one_that_is_best_for_the_set() -> None:
    # The first image needs a threshold over 1/4, the second one under 3/4, the third fits nowhere.
    first, second, third = np.zeros((3, 8, 8))
    first[:], first[:4, :4] = 0.25, 1
    second[2:8, 2:8], second[2:4, 2:4] = 0.75, 1
    third[0, 0] = 1
    masks = np.zeros((3, 8, 8))
    masks[0, :4, :4] = masks[1, 2:8, 2:8] = masks[2, 4:, 4:] = 1
    found = as_metric("maxboxacc")(case(np.stack([first, second, third]), masks))
    assert found.shape == (3, 1, 100)
    of_images = figures(METRICS["maxboxacc"], found[:, 0])
    assert of_images.tolist() == [1, 1, 0]
    # Without the second image nothing changes for the others, and with NaN in its place neither.
    found[1] = NAN
    np.testing.assert_array_equal(figures(METRICS["maxboxacc"], found[:, 0]), [1, NAN, 0])
    assert np.isnan(figures(METRICS["maxboxacc"], np.full((2, 100), NAN))).all()


def test_max_box_acc_pays_for_one_threshold_that_cannot_serve_all() -> None:
    fits = np.array([[0.9, 0, 0.4], [0, 0.6, 0.4], [0, 0.8, 0.2]])
    assert figures(METRICS["maxboxacc"], fits).tolist() == [0, 1, 1]
    # At 0.3 the first or the second threshold serves two; at 0.7 one each, and the lower one counts.
    np.testing.assert_allclose(figures(METRICS["maxboxaccv2"], fits), [1 / 3, 2 / 3, 2 / 3])
    assert figures(METRICS["maxboxaccv2"], fits).mean() == pytest.approx((2 + 2 + 1) / 9)


def test_the_second_version_takes_any_area_and_several_boxes() -> None:
    heat = np.zeros((10, 10))
    heat[:6, :6], heat[7:, 7:] = 1, 1
    mask = np.zeros((10, 10))
    mask[7:, 7:] = 1
    assert as_metric("maxboxacc")(case(heat, mask))[0, 0, 50] == 0
    assert as_metric("maxboxaccv2")(case(heat, mask))[0, 0, 50] == 1
    both = [[np.array([[0, 0, 6, 6], [7, 7, 10, 10]])]]
    assert as_metric("maxboxacc")(case(heat, mask, both))[0, 0, 50] == 1


def test_both_versions_share_one_sweep(many: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = Case(maps=many.maps[:1], regions=many.regions[:1], boxes=many.boxes[:1])  # type: ignore[index]
    METRICS["maxboxacc"](fresh)
    monkeypatch.setattr("gradsight.imaging.swept", None)
    METRICS["maxboxaccv2"](fresh)
    assert maxboxacc(fresh).shape[2] == 100


def test_a_metric_of_the_user_may_be_of_sets_too() -> None:
    @metric("spread", title="Spread", source="a test", measures="complexity", better="lower")
    @of_sets(lambda values: np.abs(values[:, 0] - values[:, 0].mean()))
    def spread(asked: Case) -> np.ndarray:
        return np.stack([asked.flat.max(axis=-1)] * 3, axis=-1)

    found = METRICS["spread"](case(np.arange(8).reshape(2, 2, 2), np.ones((2, 2, 2))))
    assert figures(METRICS["spread"], found[:, 0]).tolist() == [2, 2]
    assert figures(METRICS["pointing"], np.array([1, NAN]))[0] == 1
    kept = pickle.loads(pickle.dumps(METRICS["maxboxaccv2"]))
    assert kept.together is METRICS["maxboxaccv2"].together


def scene(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A thing, and maps of a layer: one that is right but for some noise, and three that are wrong."""
    (height, width), mask = rng.integers(8, 24, 2), np.zeros((32, 32), bool)
    top, left = rng.integers(0, 32 - height), rng.integers(0, 32 - width)
    mask[top : top + height, left : left + width] = True
    right = mask.reshape(8, 4, 8, 4).mean(axis=(1, 3)) + 0.05 * rng.random((8, 8))
    wrong = {"shifted": np.roll(right, (4, 4), (0, 1)), "inverted": right.max() - right, "random": rng.random((8, 8))}
    return mask, {"right": right, **wrong}


FEW = {"topk": "topk(k=50)", "maxboxacc": "maxboxacc(thresholds=20)", "maxboxaccv2": "maxboxaccv2(thresholds=20)"}


@pytest.mark.parametrize("name", [FEW.get(name, name) for name in NAMES])
@pytest.mark.parametrize("wrong", ["shifted", "inverted", "random"])
def test_the_right_map_is_better_than_a_wrong_one_in_nearly_every_image(name: str, wrong: str) -> None:
    rng = np.random.default_rng(0)
    masks, maps = zip(*(scene(rng) for _ in range(40)), strict=True)
    right, other = (
        as_metric(name)(case([one[kind] for one in maps], masks))[:, 0].reshape(40, -1).mean(axis=1)
        for kind in ("right", wrong)
    )
    assert (right >= other).all()
    # One position tells little of one image: the peak of a random map hits a large thing by chance.
    least = 0.7 if (name, wrong) == ("pointing", "random") else 0.95
    assert (right > other).mean() >= least
