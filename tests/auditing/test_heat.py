"""Heat on one grid, groups of it, and places that a class shares."""

from __future__ import annotations

import numpy as np
import pytest

from gradsight.auditing import facts
from gradsight.auditing.candidates import candidates
from gradsight.auditing.heat import averaged, border_share, centre_share, corner_shares, grid_of, scatter, shares
from gradsight.auditing.places import (
    around,
    at_border,
    elsewhere,
    halves,
    hot_boxes,
    named,
    overlap,
    pixels,
    shared,
    strips,
)
from gradsight.auditing.seen import Seen
from gradsight.auditing.spectral import clusters, joined
from gradsight.errors import InvalidArgument
from gradsight.imaging import Placement

EVEN = shares([np.ones((8, 8))], (8, 8))


def seen(heat: np.ndarray, targets: np.ndarray, labels: np.ndarray | None = None) -> Seen:
    n = len(heat)
    return Seen(
        keys=tuple(f"{i}.jpg" for i in range(n)),
        labels=targets if labels is None else labels,
        predictions=targets,
        probabilities=np.linspace(0.5, 1, n),
        targets=targets,
        heat=heat.astype(np.float32),
        features=None,
        photos=(None,) * n,
        placements=(Placement((40, 80), (8, 8), (0, 20, 40, 60)),) * n,
        names={0: "cat", 1: "dog", 2: "hen"},
    )


def noise(rng: np.random.Generator, n: int, corner: np.ndarray | None = None) -> np.ndarray:
    """Maps of noise; those of ``corner`` are hot in the lower right one."""
    maps = rng.random((n, 8, 8))
    if corner is not None:
        maps[corner, 6:, 6:] += 20
    return shares(maps, (8, 8))


def test_a_grid_keeps_the_mean_of_what_it_covers() -> None:
    image = np.random.default_rng(0).random((7, 10))
    small = averaged(image, (3, 4))
    assert small.mean() == pytest.approx(image.mean())
    # Rows 0 and 1, and a third of row 2; columns 0 and 1, and half of column 2.
    by_hand = (np.array([1, 1, 1 / 3]) @ image[:3, :3] @ np.array([1, 1, 0.5])) / (7 / 3 * 2.5)
    assert small[0, 0] == pytest.approx(by_hand)


def test_shares_add_up_to_one_and_nothing_stays_nothing() -> None:
    maps = [np.array([[1.0, -5], [np.nan, 3]]), np.full((2, 2), -1.0), np.ones((6, 6))]
    found = shares(maps, grid_of([m.shape for m in maps]))
    assert found.tolist() == [[[0.25, 0], [0, 0.75]], [[0, 0], [0, 0]], [[0.25] * 2] * 2]


def test_heat_that_is_even_has_the_share_of_the_area() -> None:
    assert border_share(EVEN) == pytest.approx(0.36)
    assert centre_share(EVEN) == pytest.approx(0.25)
    assert corner_shares(EVEN)[0] == pytest.approx([1 / 16] * 4)
    assert scatter(EVEN) == pytest.approx(1)


def test_heat_in_one_corner_is_told_so() -> None:
    heat = np.zeros((1, 8, 8), np.float32)
    heat[0, 7, 0] = 1
    assert corner_shares(heat)[0].tolist() == [0, 0, 1, 0]
    assert (border_share(heat), centre_share(heat), scatter(heat)) == (pytest.approx(0.96), 0, 0)
    (look, _) = facts.looks(seen(np.repeat(heat, 3, axis=0), np.zeros(3, np.intp)))
    assert look.place == "the lower left corner"


def test_groups_that_are_apart_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.normal(at, 0.3, (20, 5)) for at in (0, 3, -3)])
    found = clusters(rows)
    assert [len(set(found[i : i + 20])) for i in (0, 20, 40)] == [1, 1, 1]
    assert len(set(found[[0, 20, 40]])) == 3
    assert (clusters(rows) == found).all()


def test_where_and_what_count_alike() -> None:
    rng = np.random.default_rng(2)
    heat, features = rng.random((30, 16)), 1000 * rng.random((30, 9))
    rows = joined(heat, features)
    assert [np.square(rows[:, part]).sum() for part in (slice(16), slice(16, None))] == pytest.approx([30, 30])


def test_a_place_that_a_class_shares_is_the_first_candidate() -> None:
    targets = np.repeat([0, 1, 2], 30)
    found = candidates(seen(noise(np.random.default_rng(3), 90, targets == 1), targets))
    assert (found[0].target, found[0].p, found[0].boxes) == (1, 0.01, ((0.75, 0.75, 1.0, 1.0),))
    assert not any(one.p <= 0.05 and one.strength > 1 for one in found if one.target != 1)


def test_a_place_of_some_photos_of_a_class_is_found_in_its_cluster() -> None:
    targets, hot = np.repeat([0, 1, 2], 30), np.zeros(90, bool)
    hot[30:40] = True
    found = candidates(seen(noise(np.random.default_rng(4), 90, hot), targets))
    best = max(found, key=lambda one: one.strength)
    assert (best.target, best.p, set(best.rows)) == (1, 0.01, set(range(30, 40)))


def test_classes_that_look_alike_have_no_strong_candidate() -> None:
    # All photos look at the corner: that is the data's, and no class's.
    targets = np.repeat([0, 1, 2], 30)
    found = candidates(seen(noise(np.random.default_rng(5), 90, np.ones(90, bool)), targets))
    assert max(one.strength for one in found if one.apart) < 1
    # Each class by itself looks there all the same: it is tested, since of two classes neither stands out.
    assert all(one.strength > 1 for one in found if not one.apart)
    assert sorted(one.target for one in found if not one.apart) == [0, 1, 2]


def test_hot_areas_have_boxes_and_a_ring_has_its_edges() -> None:
    heat = np.zeros((8, 8))
    heat[0, :2], heat[6:, 5:] = 1, 2
    assert hot_boxes(heat) == [(0.75, 0.625, 1.0, 1.0), (0.0, 0.0, 0.125, 0.25)]
    heat[:] = 0
    heat[[0, -1]] = heat[:, [0, -1]] = 1
    assert set(hot_boxes(heat)) == {(0, 0, 0.25, 1), (0, 0.75, 1, 1), (0.75, 0, 1, 1), (0, 0, 1, 0.25)}
    assert hot_boxes(np.zeros((4, 4))) == []


def test_halves_lie_inside_and_boxes_elsewhere_do_not_overlap() -> None:
    box = (0.5, 0.5, 1.0, 0.75)
    assert all(around([half, box]) == box and shared(half, box) == pytest.approx(1 / 16) for half in halves(box))
    others = elsewhere(box, 6, np.random.default_rng(0))
    assert all(shared(box, other) == 0 and around([other, (0, 0, 1, 1)]) == (0, 0, 1, 1) for other in others)
    assert {round(other[2] - other[0], 9) for other in others} == {0.5}


def test_boxes_have_pixels_and_words() -> None:
    assert pixels((0.999, 0.0, 1.0, 0.5), (10, 10)) == (slice(9, 10), slice(0, 5))
    assert named((0.9, 0.0, 1.0, 1.0)) == "the lower edge"
    assert at_border((0.9, 0.0, 1.0, 1.0))
    assert not at_border((0.3, 0.3, 0.9, 0.9))


def test_boxes_are_told_on_the_photo() -> None:
    # The model saw the middle of a photo that is twice as wide as high.
    whole = seen(EVEN, np.zeros(1, np.intp))
    assert whole.on_photos([0], (0.5, 0.5, 1.0, 1.0)) == (0.5, 0.5, 1.0, 0.75)


def test_confusions_and_confident_errors() -> None:
    labels = np.array([0, 0, 1, 1, -1, 2])
    found = seen(np.repeat(EVEN, 6, axis=0), np.array([0, 1, 1, 0, 1, 0]), labels)
    confused = facts.confusion(found)
    assert confused is not None
    assert (confused.classes, confused.counts.tolist()) == ((0, 1, 2), [[1, 1, 0], [1, 1, 0], [1, 0, 0]])
    assert confused.accuracy == pytest.approx(0.4)
    assert set(confused.pairs) == {(0, 1, 1), (1, 0, 1), (2, 0, 1)}
    # The probabilities are 0.5, 0.6 ... 1.0; of what is wrong 0.8 and 1.0 are confident.
    assert [(one.key, one.label, one.prediction) for one in facts.mistakes(found)] == [("5.jpg", 2, 0), ("3.jpg", 1, 0)]


def test_columns_of_other_lengths_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="`predictions` must have one entry for each of the 2 photos"):
        seen(np.repeat(EVEN, 2, axis=0), np.zeros(3, np.intp), np.zeros(2, np.intp))


def test_edges_that_boxes_touch_are_tried_whole_and_each_once() -> None:
    corner, middle = (0.0, 0.75, 0.25, 1.0), (0.3, 0.3, 0.6, 0.6)
    upper, right = (0.0, 0.0, 0.125, 1.0), (0.0, 0.875, 1.0, 1.0)
    assert strips([middle]) == []
    assert strips([corner, middle, corner]) == [upper, right]
    assert upper not in strips([corner, upper])
    assert strips([(0.5, 0.0, 1.0, 0.4)]) == [(0.0, 0.0, 1.0, 0.125), (0.875, 0.0, 1.0, 1.0)]


def test_how_far_boxes_overlap_is_told_of_the_smaller_one() -> None:
    assert overlap((0.0, 0.0, 0.5, 1.0), (0.25, 0.0, 0.5, 0.5)) == 1
    assert overlap((0.25, 0.0, 0.5, 0.5), (0.0, 0.25, 0.5, 1.0)) == pytest.approx(0.5)
    assert overlap((0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)) == 0
