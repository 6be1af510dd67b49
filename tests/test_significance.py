"""Intervals and tests over images: SciPy's figures on the same data, cases made by hand, and what they promise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from gradsight.errors import InvalidArgument, UnknownName
from gradsight.significance import all_pairs, beats, holm, interval, paired, share

NAN = math.nan


def figures(seed: int, n: int = 20, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, n)


@pytest.mark.parametrize("n", [6, 9, 13])
@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_few_images_are_tested_by_all_choices_of_signs_as_scipy_does(n: int, alternative: str) -> None:
    first, second = figures(1, n, 0.5), figures(2, n)
    result = stats.permutation_test(
        (first - second,), np.mean, permutation_type="samples", alternative=alternative, n_resamples=np.inf
    )
    found = paired(first, second, alternative=alternative)
    # SciPy doubles the smaller side; that is the same where sums lie evenly around 0, as those of signs do.
    assert found.p == pytest.approx(result.pvalue, abs=1e-12)
    assert found.difference == pytest.approx((first - second).mean())


def test_p_is_counted_over_all_choices_of_signs_by_hand() -> None:
    differences = [3.0, -1.0, 2.0, 5.0, 0.0, 1.0, 4.0]
    sums = [
        sum(a * b for a, b in zip(signs, differences, strict=True)) for signs in itertools.product((1, -1), repeat=7)
    ]
    expected = np.mean([abs(total) >= 14 for total in sums])
    assert paired(differences, [0] * 7).p == expected


def test_many_images_are_tested_by_drawn_choices_near_the_exact_p() -> None:
    # Of figures of 0 and 1 the test is McNemar's: binomial over the images that differ.
    first, second = np.zeros(60), np.zeros(60)
    first[:12], second[12:15] = 1, 1
    assert paired(first, second).p == pytest.approx(stats.binomtest(3, 15).pvalue, abs=0.006)
    assert beats(first, second).p == pytest.approx(stats.binomtest(12, 15, alternative="greater").pvalue, abs=0.004)
    assert beats(first, second, better="lower").p > 0.9
    assert paired(first, first + 10).p == 1e-4  # and never 0


def test_equal_methods_are_called_different_as_seldom_as_was_said() -> None:
    ps = [paired(figures(seed, 12), figures(1000 + seed, 12)).p for seed in range(300)]
    assert 0.02 < np.mean(np.array(ps) <= 0.05) < 0.085


def test_pairs_with_a_missing_value_are_left_out_and_counted() -> None:
    first, second = figures(3, 10), figures(4, 10)
    holed = first.copy()
    holed[[2, 7]] = NAN
    there = ~np.isnan(holed)
    found, expected = paired(holed, second), paired(first[there], second[there])
    assert (found.n, found.missing) == (8, 2)
    assert (found.p, found.difference) == pytest.approx((expected.p, expected.difference))


def test_few_images_are_told() -> None:
    clear = paired([1, 2, 3, 4, 5], [0] * 5)
    assert clear.few
    assert clear.p == 2 / 2**5 > 0.05
    assert not paired([1, 2, 3, 4, 5, 6], [0] * 6).few
    few = interval([1, 2, 3, 4, 5])
    assert few.few
    assert few.mean == 3
    assert math.isnan(few.low)
    assert math.isnan(few.high)


def test_no_image_at_all_is_no_figure_and_no_p() -> None:
    nothing = paired([NAN, 1], [2, NAN])
    assert (nothing.n, nothing.missing) == (0, 2)
    assert math.isnan(nothing.p)
    assert math.isnan(nothing.difference)
    for empty in ([], np.zeros(0), [NAN, NAN]):
        found = interval(empty)
        assert found.n == 0
        assert found.few
        assert math.isnan(found.mean)


def test_the_interval_of_a_mean_is_that_of_scipy() -> None:
    values = figures(5, 30) ** 2
    found = interval(values, confidence=0.9, seed=3)
    expected = stats.bootstrap(
        (values,), np.mean, confidence_level=0.9, method="BCa", rng=np.random.default_rng(3), batch=1000
    ).confidence_interval
    assert (found.low, found.high) == (expected.low, expected.high)
    assert found.low < found.mean < found.high
    assert found == interval(values, confidence=0.9, seed=3)
    assert found != interval(values, confidence=0.9, seed=4)


def test_intervals_hold_the_true_mean_about_as_often_as_they_say() -> None:
    held = [
        found.low <= 0.7 <= found.high
        for found in (
            interval(np.random.default_rng(seed).random(40) < 0.7, seed=seed, resamples=499) for seed in range(150)
        )
    ]
    assert 0.87 < np.mean(held) < 0.995


def test_an_interval_of_a_set_draws_whole_images() -> None:
    # Of two columns the larger mean counts; each draw must take both columns of an image.
    values = np.stack([figures(6, 25), -figures(6, 25)], axis=1)
    found = interval(values, aggregate=lambda images: float(images.mean(axis=0).max()), seed=1, resamples=999)
    assert found.mean == abs(values[:, 0].mean())
    assert 0 <= found.low <= found.mean <= found.high
    values[4, 1] = NAN  # an image with half a value has none
    assert interval(values, aggregate=lambda images: float(images.sum()), resamples=99).missing == 1


def test_where_nothing_varies_the_interval_is_that_value_and_where_one_does_it_is_one() -> None:
    assert interval([1] * 10) == interval([1.0] * 10)
    assert (interval([0.7] * 10).low, interval([0.7] * 10).high) == (0.7, 0.7)
    # Zeros are no misses unless somebody says so: of differences they say that there is none.
    assert (interval([0] * 9).low, interval([0] * 9).high) == (0, 0)
    assert (interval([1] * 9).low, interval([1] * 9).high) == (1, 1)
    one = interval([0] * 9 + [1])
    assert 0 <= one.low <= 0.1 < one.high <= 0.5


def test_the_share_of_hits_alone_or_misses_alone_has_an_exact_interval() -> None:
    # With a share of 0.025 ** (1 / 6) six of six come about in one of 40.
    assert (share([1] * 6).low, share([1] * 6).high) == (pytest.approx(0.025 ** (1 / 6)), 1)
    assert (share([0] * 6).low, share([0] * 6).high) == (0, pytest.approx(1 - 0.025 ** (1 / 6)))
    mixed = [1, 1, 0.5, 1, 0, 1, 1, NAN]
    assert share(mixed, seed=2) == interval(mixed, seed=2)
    assert share([1, 1, NAN]).few
    assert math.isnan(share([1, 1, NAN]).low)


def test_holm_is_right_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.5, 0.6]) == (1, 1)
    assert holm([0.02, NAN, 0.01])[::2] == pytest.approx((0.02, 0.02))
    assert holm([]) == ()


def test_all_pairs_are_the_pairs_one_by_one() -> None:
    values = {"a": figures(1, 40, 0.6), "b": figures(2, 40), "c": figures(3, 40)}
    values["b"][3] = NAN
    pairs = all_pairs(values, seed=2)
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    for pair in pairs:
        alone = paired(values[pair.first], values[pair.second], seed=2)
        assert (pair.p, pair.n, pair.missing) == (alone.p, alone.n, alone.missing)
        assert pair.difference == pytest.approx(alone.difference)
    assert [pair.adjusted for pair in pairs] == list(holm([pair.p for pair in pairs]))
    assert all_pairs({"a": [1.0]}) == ()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: paired([1, 2], [1]), InvalidArgument, "1 figures for 2"),
        (lambda: paired([[1]], [1]), InvalidArgument, "`first` must be"),
        (lambda: paired([1], [1], alternative="larger"), UnknownName, "alternative"),
        (lambda: beats([1], [1], better="up"), UnknownName, "direction"),
        (lambda: interval([[1, 2], [3, 4]]), InvalidArgument, "no `aggregate`"),
        (lambda: interval([1], confidence=95), InvalidArgument, "`confidence` must be"),
        (lambda: interval(["a"]), InvalidArgument, "`values` must be"),
        (lambda: interval([1], seed=-1), InvalidArgument, "`seed` must be"),
        (lambda: share([1, 2]), InvalidArgument, "hits, misses"),
    ],
)
def test_wrong_arguments_are_named(call, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
