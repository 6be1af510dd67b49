"""Objects and backgrounds of classes exchanged: what is put where, and what is beside cutting and pasting itself."""

from __future__ import annotations

import numpy as np
import pytest

from gradsight.auditing.exchanging import Cut, exchanged

SIDE = 8

REGION = np.zeros((SIDE, SIDE), bool)
REGION[2:6, 2:6] = True


class Scorer:
    """Class 0 is as probable as a share of the object's brightness, or of the background's; seams take a fifth."""

    def __init__(self, by_object: float) -> None:
        self.by_object, self.rows = by_object, 0

    def probabilities(self, pictures: np.ndarray) -> np.ndarray:
        self.rows += len(pictures)
        inside, beside = pictures[:, 0][:, REGION].mean(1), pictures[:, 0][:, ~REGION].mean(1)
        found = 0.8 * (self.by_object * inside + (1 - self.by_object) * beside)
        return np.stack([found, 1 - found], axis=1)


def cut(bright: float, count: int) -> Cut:
    return Cut.of(np.full((count, 1, SIDE, SIDE), bright, np.float32), [REGION] * count)


@pytest.mark.parametrize("by_object", [0.0, 0.25, 1.0])
def test_each_half_falls_by_what_the_class_owes_to_it(by_object: float) -> None:
    found = exchanged(Scorer(by_object), 0, cut(1.0, 7), cut(0.0, 4))  # type: ignore[arg-type]
    assert found is not None
    by_background, thing = found
    assert by_background == pytest.approx(np.full(7, 0.8 * (1 - by_object)), abs=1e-6)
    assert thing == pytest.approx(np.full(7, 0.8 * by_object), abs=1e-6)


def test_what_cutting_and_pasting_does_by_itself_does_not_count() -> None:
    class Seams(Scorer):
        """Whatever was put together is less probable, wherever it is from."""

        def probabilities(self, pictures: np.ndarray) -> np.ndarray:
            found = super().probabilities(pictures)
            return found - 0.3 * (np.ptp(pictures[:, :1], axis=(1, 2, 3)) > 0)[:, None]

    rng = np.random.default_rng(0)
    noisy = [Cut.of(rng.random((6, 1, SIDE, SIDE)).astype(np.float32), [REGION] * 6) for _ in range(2)]
    found = exchanged(Seams(0.5), 0, *noisy)  # type: ignore[arg-type]
    assert found is not None
    assert np.abs(np.mean(found, axis=1)).max() < 0.1


def test_an_object_keeps_its_place_on_the_other_background() -> None:
    rng = np.random.default_rng(1)
    one, other = (Cut.of(rng.random((3, 2, SIDE, SIDE)).astype(np.float32), [REGION] * 3) for _ in range(2))
    made = one.onto(np.array([2, 0]), other, np.array([1, 1]))
    assert (made[0][:, REGION] == one.pictures[2][:, REGION]).all()
    assert (made[1][:, REGION] == one.pictures[0][:, REGION]).all()
    assert (made[:, :, ~REGION] == other.pictures[1][:, ~REGION]).all()


def test_of_too_few_photos_nothing_is_exchanged() -> None:
    scorer = Scorer(1.0)
    assert exchanged(scorer, 0, cut(1.0, 2), cut(0.0, 9)) is None  # type: ignore[arg-type]
    assert exchanged(scorer, 0, cut(1.0, 9), cut(0.0, 2)) is None  # type: ignore[arg-type]
    assert scorer.rows == 0
