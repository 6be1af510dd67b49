"""What metrics share: facts that anybody can check by hand, passes that are counted, rows that are bounded."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
from cases_of import OURS, asked, case_of, images, network
from gradsight.cases import BASELINES, Case, Scoring, ends
from gradsight.cases.imputing import imputed
from gradsight.cases.removal import emptied, removing
from gradsight.cases.subsets import pearson, spearman
from gradsight.errors import GradsightError, InvalidArgument, InvalidType, UnknownName
from gradsight.metric_registry import METRICS, as_metric
from metric_oracles import ORACLES, bell, filled
from plain import Plain
from toys import curved

pytestmark = pytest.mark.pytorch

P = np.array([[0.4, 0.3], [0.2, 0.1]])


class Summed(nn.Module):
    """The sum of the picture, and 1 less it: two scores that are their own probabilities."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = x.flatten(1).sum(1)
        return torch.stack([total, 1 - total], dim=1)


def summed(image: Any, maps: Any, target: int = 0) -> Case:
    """A case of one picture and one map; black is 0."""
    model = gs.Model(Summed(), scores=gs.Scores(lambda out: out, activation=""))
    batch = torch.tensor(np.asarray(image), dtype=torch.float64)[None, None]
    return case_of(model, batch, [target], maps=np.asarray(maps)[None, None], ends=(0.0, 1.0))


def value(text: str, *case: Any) -> float:
    return float(as_metric(text)(summed(*case))[0, 0])


@pytest.mark.parametrize(("steps", "deletion"), [(1, 0.5), (2, 0.4), (3, 0.3875), (4, 0.375), (9, 0.375)])
def test_deletion_and_insertion_of_four_pixels(steps: int, deletion: float) -> None:
    assert value(f"deletion(steps={steps}, baseline=black)", P, P) == pytest.approx(deletion)
    assert value(f"insertion(steps={steps}, baseline=black)", P, P) == pytest.approx(1 - deletion)


def test_steps_that_do_not_divide_the_positions_are_as_wide_as_they_are() -> None:
    row = [[0.3, 0.25, 0.2, 0.15, 0.1]]
    # 0, 2, 3 and 5 of 5 positions are gone: 1, .45, .25 and 0 are left.
    assert value("deletion(steps=3, baseline=black)", row, row) == pytest.approx(0.41)
    assert value("insertion(steps=3, baseline=black)", row, row) == pytest.approx(0.59)


def test_of_equal_values_the_first_position_goes_first() -> None:
    # 1, .6, .3, .1 and 0 are left.
    assert value("deletion(steps=4, baseline=black)", P, np.full((2, 2), 7)) == pytest.approx(0.375)
    assert summed(P, np.full((1, 1), 0.1)).ranks.tolist() == [[[[0, 1], [2, 3]]]]


@pytest.mark.parametrize(
    ("image", "maps", "target", "drop", "increase", "gain"),
    [
        (P, [[1, 0], [0, 0]], 0, 0.6, 0, np.nan),
        (2 * P, [[5, 0], [-9, 0]], 0, 0.6, 0, np.nan),
        (P / 2, [[1, 0], [0, 0]], 1, 0, 1, 0.6),
        (P, [[2, 2], [2, 2]], 0, 0, 0, np.nan),  # shown whole
        (P / 2, [[0, 0], [0, -1]], 0, 1, 0, 0),  # shown nothing
        (np.full((4, 4), 1 / 16), [[1, 0], [0, 0]], 0, 0.75, 0, np.nan),
    ],
)
def test_average_drop_increase_and_gain(
    image: Any, maps: Any, target: int, drop: float, increase: float, gain: float
) -> None:
    found = [value(name, image, maps, target) for name in ("averagedrop", "increase", "averagegain")]
    np.testing.assert_allclose(found, [drop, increase, gain], atol=1e-6)


def test_a_score_that_is_not_positive_has_no_share_to_lose() -> None:
    # A division by it would make a drop of 0 of any loss.
    assert np.isnan(value("averagedrop", -P, P))


@pytest.mark.parametrize(
    ("missing", "values"),
    [
        ([4], [4]),
        ([0], [2.4]),
        ([1], [2.5]),
        ([0, 1, 2], [3.6, 4, 4.4]),
        ([0, 4], [2.440678, 4.203390]),
        ([4, 5], [3.913043, 4.478261]),
        (range(8), [8] * 8),
        (range(9), [4] * 9),
        ([], []),
    ],
)
def test_linear_imputation_of_nine_pixels(missing: Any, values: Any) -> None:
    image, gone = np.arange(9.0).reshape(1, 3, 3), np.isin(np.arange(9), list(missing)).reshape(3, 3)
    found = imputed(image, gone)
    np.testing.assert_allclose(found[0][gone], values, atol=1e-6)
    np.testing.assert_array_equal(found[0][~gone], image[0][~gone])


@pytest.mark.parametrize(
    ("maps", "entropy", "gini"),
    [
        ([1, -2, 3, -4], 1.279854, 0.25),
        ([1, 1, 1, 1], 1.386294, 0),
        ([0, 0, 1, 0], 0, 0.75),
        ([0, 0, 0, -5, 0, 0, 0, 0], 0, 0.875),
        ([0, 0, 0, 0], np.nan, np.nan),
    ],
)
def test_complexity_of_a_few_positions(maps: Any, entropy: float, gini: float) -> None:
    case = Case(np.asarray(maps, np.float32).reshape(1, 1, 1, -1))
    np.testing.assert_allclose(as_metric("entropy")(case), [[entropy]], atol=1e-6)
    np.testing.assert_allclose(as_metric("gini")(case), [[gini]], atol=1e-6)


@pytest.mark.parametrize("name", ["faithfulnesscorrelation(samples=20, share=0.4)", "mufidelity(samples=40, cells=4)"])
def test_what_a_linear_model_loses_goes_with_its_own_map(name: str) -> None:
    image = np.random.default_rng(3).random((4, 5))
    assert value(name, image, image) == pytest.approx(1)
    assert value(name, image, -image) == pytest.approx(-1)
    assert value("infidelity(factor=one)", image, image) == pytest.approx(0, abs=1e-10)
    assert value("infidelity(factor=one)", image, 2 * image) > 1e-2
    # With the best factor it makes no difference how large a map is.
    assert value("infidelity", image, 2 * image) == pytest.approx(0, abs=1e-10)


def test_a_constant_map_correlates_with_nothing() -> None:
    level = np.full((4, 5), 0.1)
    assert np.isnan(value("faithfulnesscorrelation(samples=20)", np.random.default_rng(3).random((4, 5)), level))
    assert np.isnan(value("occlusioncorrelation", np.random.default_rng(3).random((4, 5)), level))


def test_correlations_of_a_few_numbers() -> None:
    assert spearman(np.array([1, 2, 3, 4]), np.array([1, 2, 4, 3])) == pytest.approx(0.8)
    assert spearman(np.array([1, 1, 2, 2]), np.array([1, 2, 3, 4])) == pytest.approx(0.894427)
    assert pearson(np.array([-1, 1, 1]), np.array([0, 0, 2])) == pytest.approx(0.5)
    assert np.isnan(pearson(np.ones(3), np.arange(3)))


def counted(n: int = 2, batch_size: int = 32, targets: Any = 1, method: str = "gradcam") -> tuple[Case, list[int]]:
    """A case, and the rows of each pass from now on; two of them have the same network and images."""
    torch.manual_seed(0)
    rows: list[int] = []

    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = network().float()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows.append(len(x))
            return self.body(x)

    case = case_of(Counted(), images(n).float(), targets, layer="body.4", method=method, batch_size=batch_size)
    assert case.scoring.probe.batch_size == batch_size  # how the model takes its rows is asked once, by a pass
    rows.clear()
    return case, rows


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("targets", [1, [[0, 3]]])
def test_a_metric_takes_as_many_passes_as_it_says(name: str, targets: Any) -> None:
    case, rows = counted(n=1, targets=targets)
    metric = as_metric(name)
    metric(case)
    k = case.shape[1]
    said = metric.cost(k, 1)
    if name == "occlusioncorrelation":  # which says how many windows the usual size has
        assert 0 < sum(rows) <= said
    else:
        assert sum(rows) == said
    assert metric.passes == metric.cost(1, 1)


def test_deletion_in_28_steps_is_28_passes_and_what_maps_share_is_scored_once() -> None:
    case, rows = counted(n=1)
    as_metric("deletion(baseline=black)")(case)
    assert sum(rows) == 28
    # The picture as it is, and the one without anything, are there already.
    for seed in range(2):
        other = Case(np.random.default_rng(seed).random(case.maps.shape).astype(np.float32), case.scoring)
        rows.clear()
        as_metric("deletion(baseline=black)")(other)
        assert sum(rows) == 27
        rows.clear()
        as_metric("insertion(baseline=black)")(other)
        assert sum(rows) == 27


@pytest.mark.parametrize("name", ["mufidelity", "infidelity", "faithfulnesscorrelation", "occlusioncorrelation"])
def test_what_does_not_depend_on_a_map_passes_once_for_all_methods(name: str) -> None:
    case, rows = counted()
    as_metric(asked(name))(case)
    assert rows
    rows.clear()
    other = Case(-case.maps, case.scoring)
    values = as_metric(asked(name))(other)
    assert not rows
    assert np.isfinite(values).all()


def test_metrics_of_the_picture_seen_through_its_map_share_its_pass() -> None:
    case, rows = counted()
    for name in ("averagedrop", "increase", "averagegain"):
        as_metric(name)(case)
    assert sum(rows) == 2
    as_metric("roadmorf")(case)
    rows.clear()
    as_metric("road")(case)
    assert sum(rows) == 2 * 9


@pytest.mark.parametrize("name", OURS)
def test_the_batch_size_bounds_the_rows_that_pass_at_once_and_changes_no_figure(name: str) -> None:
    few, rows = counted(n=3, batch_size=7, targets=[[0, 1], [2, 3], [4, 0]])
    values = as_metric(asked(name))(few)
    assert max(rows, default=0) <= 6  # two versions of three images
    many, _ = counted(n=3, batch_size=1000, targets=[[0, 1], [2, 3], [4, 0]])
    np.testing.assert_allclose(values, as_metric(asked(name))(many), atol=1e-5)


@pytest.mark.parametrize("name", OURS)
def test_a_figure_does_not_depend_on_the_company(name: str) -> None:
    model, batch = network(), images(n=3)
    batch[1] = float("nan")
    targets = [[0, 3], [4, 1], [2, 0]]
    together = as_metric(asked(name))(case_of(model, batch, targets, layer="4"))
    assert np.isnan(together[1]).all()
    for i in (0, 2):
        for j in range(2):
            alone = as_metric(asked(name))(case_of(model, batch[i : i + 1], [[targets[i][j]]], layer="4"))
            np.testing.assert_allclose(alone[0, 0], together[i, j], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("baseline", BASELINES)
def test_a_baseline_takes_away_what_it_is_told_and_leaves_the_rest(baseline: str) -> None:
    batch = images()
    scoring = case_of(network(), batch, 0, maps=np.zeros((2, 1, 1, 1))).scoring
    gone = np.random.default_rng(1).random((2, 2, 9, 8)) < 0.3
    if baseline == "inpaint":  # of which one position alone is nearest
        gone[0] = False
        gone[0, 0, 0], gone[0, 1, :, 6:] = True, True
    gone[1, 1] = True
    gone[1, 0] = gone[0, 1]
    found = removing(scoring, baseline)(torch.from_numpy(gone)).numpy().reshape(2, 2, 3, 9, 8)
    for version, i in np.ndindex(2, 2):
        expected = filled(batch[i].numpy(), gone[version, i], baseline)
        np.testing.assert_allclose(found[version, i], expected, atol=1e-9)


def test_the_blur_of_a_larger_picture_goes_on_level_beyond_the_edges() -> None:
    batch = images(n=1, size=(96, 90))  # a bell that reaches two positions
    scoring = case_of(network(), batch, 0, maps=np.zeros((1, 1, 1, 1))).scoring
    np.testing.assert_allclose(emptied(scoring, "blur").numpy()[0], bell(batch[0].numpy()), atol=1e-9)


def test_of_many_equal_values_the_first_position_goes_first() -> None:
    maps = np.zeros((1, 1, 40, 50), np.float32)
    maps[..., 20:, :] = 1  # a sort that is not stable would mix either half
    ranks = Case(maps).ranks[0, 0].ravel()
    np.testing.assert_array_equal(ranks, np.roll(np.arange(2000), 1000))


def test_a_score_of_two_classes_is_a_sigmoid_for_one_and_against_the_other() -> None:
    torch.manual_seed(3)
    net, batch = curved(classes=1).double(), images()
    scoring = case_of(gs.Model(net, labels=("no", "yes")), batch, [[1, 0]] * 2, maps=np.zeros((2, 2, 1, 1))).scoring
    with torch.no_grad():
        yes = torch.sigmoid(net(batch)).numpy()
    np.testing.assert_allclose(scoring.unchanged("probability"), np.hstack([yes, 1 - yes]))
    np.testing.assert_allclose(scoring.scores(batch, "probability")[0], np.hstack([yes, 1 - yes]))


class Centred(nn.Module):
    """What an image scores depends on what is beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.body(x)
        return scores - scores.mean(0)


def test_images_that_influence_each_other_are_measured_one_by_one() -> None:
    with pytest.raises(InvalidArgument, match=r"a pass of one image.*Received: 2 images. Measure them one by one"):
        case_of(Centred(), images(), 1, maps=np.zeros((2, 1, 1, 1)))
    assert case_of(Centred(), images(n=1), 1, maps=np.zeros((1, 1, 1, 1))).scoring.probe.batch_size == 1


def test_black_and_white_are_what_the_preprocessing_makes_of_them() -> None:
    preprocess = gs.Preprocess(8, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.1))
    black, white = ends(preprocess, (8, 8), 0)
    np.testing.assert_allclose(np.ravel(black), [-2.5, -1.6, -3], rtol=1e-6)
    np.testing.assert_allclose(np.ravel(white), [2.5, 2.4, 7], rtol=1e-6)
    last = gs.Preprocess(8, channels_last=True, function=lambda x: x[..., ::-1] / 127.5 - 1)
    assert [np.ravel(level).tolist() for level in ends(last, (8, 8), 2)] == [[-1] * 3, [1] * 3]
    assert ends(None, (8, 8), 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("softmax", lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)),
        ("sigmoid", lambda z: 1 / (1 + np.exp(-z))),
        ("", lambda z: z),
    ],
)
def test_probabilities_are_those_of_the_models_reading(activation: str, expected: Any) -> None:
    net, batch = network(), images()
    model = gs.Model(net, scores=gs.Scores(lambda out: out, activation=activation))
    scoring = case_of(model, batch, [[0, 3], [4, 1]], maps=np.zeros((2, 2, 1, 1))).scoring
    with torch.no_grad():
        logits = [net(x).numpy() for x in (batch, batch.flip(2))]
    rows, classes = np.arange(2)[:, None], np.array([[0, 3], [4, 1]])
    np.testing.assert_allclose(scoring.unchanged("logit"), logits[0][rows, classes])
    np.testing.assert_allclose(scoring.unchanged("probability"), expected(logits[0])[rows, classes])
    both = torch.cat([batch, batch.flip(2)])
    for scale, read in (("logit", lambda z: z), ("probability", expected)):
        found = scoring.scores(both, scale)  # type: ignore[arg-type]
        np.testing.assert_allclose(found, [read(z)[rows, classes] for z in logits])


def test_a_target_that_is_no_class_is_scored_itself_and_leaves_the_others_their_probability() -> None:
    net, batch = network(), images()
    alone = case_of(net, batch, 2, maps=np.zeros((2, 1, 1, 1))).scoring
    mixed = case_of(net, batch, gs.Several(2, gs.Against(2)), maps=np.zeros((2, 2, 1, 1))).scoring
    np.testing.assert_allclose(mixed.unchanged("probability")[:, :1], alone.unchanged("probability"))
    np.testing.assert_allclose(mixed.unchanged("probability")[:, 1], -alone.unchanged("logit")[:, 0])
    np.testing.assert_allclose(mixed.scores(batch, "probability")[0], mixed.unchanged("probability"))


def test_a_model_that_gives_probabilities_is_taken_at_its_word() -> None:
    net, batch = nn.Sequential(*network(), nn.Softmax(dim=1)), images()
    scoring = case_of(net, batch, 2, maps=np.zeros((2, 1, 1, 1))).scoring
    with torch.no_grad():
        expected = net(batch).numpy()[:, 2:3]
    np.testing.assert_allclose(scoring.unchanged("probability"), expected)
    np.testing.assert_allclose(scoring.scores(batch, "probability")[0], expected)


@pytest.mark.parametrize("dimensions", [1, 3])
@pytest.mark.parametrize("name", [name for name in OURS if name != "road"])
def test_signals_and_volumes_are_measured_too(name: str, dimensions: int) -> None:
    model = curved(dimensions=dimensions).double()
    batch, classes = 3 * torch.randn(1, 3, *(11, 5, 4)[:dimensions], dtype=torch.float64), [[0, 3]]
    case = case_of(model, batch, classes, layer="4")
    options = as_metric(asked(name)).options
    expected = ORACLES[name](Plain(model, "4", batch, classes), case.maps, **options)
    np.testing.assert_allclose(as_metric(asked(name))(case), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("deletion", "deletion", {"steps": 28, "baseline": "black"}),
        ("Deletion(baseline=blur, steps=14)", "deletion(baseline='blur', steps=14)", {"steps": 14, "baseline": "blur"}),
        ("deletion(steps=28)", "deletion", {"steps": 28, "baseline": "black"}),
        (" mufidelity ( cells = 5 ) ", "mufidelity(cells=5)", {"samples": 200, "cells": 5, "share": 0.2}),
        ("gini", "gini", {}),
    ],
)
def test_a_metric_is_asked_for_as_methods_are(text: str, name: str, options: dict[str, object]) -> None:
    metric = as_metric(text)
    assert metric.name == name
    assert metric.options.items() >= options.items()
    assert pickle.loads(pickle.dumps(metric)).name == name
    assert as_metric(metric) is metric
    assert as_metric(metric.name).options == metric.options


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("deletoin", UnknownName, "no metric 'deletoin'. Did you mean 'deletion'"),
        ("deletoin(steps=3)", UnknownName, "no metric 'deletoin'"),
        ("deletion(step=3)", UnknownName, "no option of deletion 'step'. Did you mean 'steps'"),
        ("deletion(steps=0)", InvalidArgument, "`steps` must be a whole number of at least 1. Received: 0"),
        ("deletion(baseline=blurr)", UnknownName, "no baseline 'blurr'. Did you mean 'blur'"),
        ("deletion(steps=3, steps=4)", InvalidArgument, "`metric` must be a name"),
        ("deletion(3)", InvalidArgument, "`metric` must be a name"),
        ("deletion(steps=open('x'))", InvalidArgument, "`metric` must be a name"),
        ("deletion(**{'steps': 2})", InvalidArgument, "`metric` must be a name"),
        ("deletion(steps=" + "-" * 50_000 + "1)", InvalidArgument, "`metric` must be a name"),
        ("", InvalidArgument, "`metric` must be a name"),
        (len, InvalidType, r"`metric` must be a metric's name.*@gs.metric"),
    ],
)
def test_a_metric_that_cannot_be_read_is_one_clear_error(text: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        as_metric(text)
    assert isinstance(caught.value, GradsightError)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_metric_of_the_users_is_found_and_held_to_its_facts() -> None:
    facts: Any = {"title": "Mine", "source": "here", "measures": "complexity", "better": "lower"}

    @gs.metric("mine", range=(0, 9), needs=("regions",), **facts)
    def mine(case: Case) -> Any:
        """Say one."""
        return np.ones((case.shape[0], 2))

    metric = as_metric("mine")
    assert (metric.range, metric.summary, metric.passes, metric.scores) == ((0, 9), "Say one.", 0, "")
    bare = Case(np.ones((3, 1, 2, 2), np.float32))
    with pytest.raises(InvalidArgument, match="the metric 'mine' needs boxes or masks, and this case has none"):
        metric(bare)
    with pytest.raises(InvalidType, match=r"must return numbers of shape \(n, k\) = \(3, 1\)"):
        metric(Case(bare.maps, regions=np.ones((3, 1, 2, 2), bool)))
    with pytest.raises(InvalidArgument, match="needs the model's scores"):
        as_metric("deletion")(bare)
    with pytest.raises(InvalidArgument, match="`name` must be one that no other metric has"):
        gs.metric("deletion", **facts)(lambda case: None)
    for wrong, error in (
        ({"better": "more"}, UnknownName),
        ({"measures": "beauty"}, UnknownName),
        ({"range": (1, 0)}, InvalidArgument),
        ({"range": 3}, InvalidArgument),
        ({"needs": ("money",)}, UnknownName),
        ({"cost": 3}, InvalidType),
    ):
        with pytest.raises(error):
            gs.metric("other", **{**facts, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_metric_says_what_it_is(name: str) -> None:
    metric = METRICS[name]
    assert metric.title
    assert metric.source
    assert metric.summary.endswith(".")
    assert metric.range[0] < metric.range[1]
    # Another class is explained by the forward pass that there is.
    free = metric.name in ("logitrandomisation", "classsensitivity")
    assert (metric.passes > 0) == (bool({"logit", "probability", "method"} & set(metric.needs)) and not free)


def test_scoring_keeps_a_map_apart_from_what_is_shared() -> None:
    scoring = case_of(network(), images(), 0, maps=np.zeros((2, 1, 1, 1))).scoring
    assert isinstance(scoring, Scoring)
    made: list[int] = []
    for _ in range(2):
        scoring.kept("key", lambda: made.append(1))
    assert made == [1]
