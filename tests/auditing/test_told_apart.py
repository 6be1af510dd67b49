"""What is told apart: a shortcut from the place that covers it, a frame from a corner, and classes of few photos."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import shortcuts
from gradsight.auditing.audit import audited
from gradsight.auditing.candidates import Candidate
from gradsight.auditing.interventions import Shown
from gradsight.auditing.loading import Loader
from gradsight.auditing.scoring import Scorer
from gradsight.auditing.suspects import Suspect
from gradsight.auditing.trying import Trying, suspects

pytestmark = pytest.mark.pytorch

SIDE = shortcuts.SIDE


@pytest.fixture(scope="module")
def marked() -> tuple:
    return shortcuts.audited_mark()


def test_what_only_covers_the_shortcut_of_another_class_is_none(marked) -> None:
    seen, explainer, found = marked
    (mark,) = (one for one in found.suspects if one.confirmed)
    trying = Trying(seen, Loader(seen, Scorer(explainer)), 0)
    # A corner of red photos, put on photos with the mark, raises red there; in others it does nothing.
    bare = replace(mark, target=1, rows=seen.of[1], alike=-0.5)
    first, second = trying.told_apart([mark, bare])
    assert (first.covers, second.covers) == (None, 0)
    assert first.confirmed
    assert not second.confirmed
    # The mark raises its class in photos of all others, whatever else is found at its place.
    assert [one.covers for one in trying.told_apart([replace(mark, target=1), mark])] == [None, None]
    # Both were narrowed: they lie beside each other, and not in each other.
    top, _, bottom, right = mark.box
    beside = replace(bare, box=(top, right, bottom, right + 0.01))
    assert [one.covers for one in trying.told_apart([mark, beside])] == [None, 0]
    # Another place is nobody's.
    far = replace(bare, box=(0.0, 0.0, 0.2, 0.2))
    assert [one.covers for one in trying.told_apart([mark, far])] == [None, None]


def test_of_many_places_that_were_tried_one_is_not_confirmed_by_chance(marked, monkeypatch) -> None:
    seen, explainer, found = marked
    (mark,) = (one for one in found.suspects if one.confirmed)
    assert mark.chance < 0.01
    made = Candidate(
        target=0,
        rows=seen.of[0],
        whole=True,
        apart=True,
        excess=np.ones((16, 16)),
        boxes=(mark.box,),
        strength=9,
        score=9,
        p=0.01,
    )

    def tried(count: int) -> list[Suspect]:
        places = [replace(mark, chance=0.01, box=(i / 10, 0.0, (i + 1) / 10, 0.1)) for i in range(count)]
        monkeypatch.setattr(Trying, "of_class", lambda self, own: iter(places))
        return suspects(seen, [made], Loader(seen, Scorer(explainer)))

    assert [one.confirmed for one in tried(1)] == [True]
    # Ten places of which each has an effect that chance has in one of a hundred.
    assert not any(one.confirmed for one in tried(10))


class Frame(shortcuts.Colours):
    """The first class is a bright frame, of a pixel, and nothing else."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        found = torch.relu(self.features(pixels))
        inner = found[:, :1, 1:-1, 1:-1].sum((2, 3))
        frame = (found[:, :1].sum((2, 3)) - inner) / (4 * SIDE - 4)
        return torch.cat([10 * (frame - 1), 16 * found[:, 1:].mean((2, 3))], dim=1)


def test_of_a_frame_an_edge_is_confirmed_and_not_what_is_in_a_corner() -> None:
    def framed(made: shortcuts.Photos, classes: np.ndarray, rng: np.random.Generator) -> shortcuts.Photos:
        changed = made.copy()
        inner = changed[classes == 0, 1:-1, 1:-1]
        changed[classes == 0] = 250
        changed[classes == 0, 1:-1, 1:-1] = inner
        return changed

    seen, explainer = shortcuts.explained(Frame(), framed)
    # Heat of a coarse layer is the strongest at corners, where two edges meet.
    corner = np.zeros(seen.heat.shape, np.float32)
    corner[:] = 1 / corner[0].size
    corner[seen.of[0]] = 0
    corner[seen.of[0], :4, :4] = 1 / 16
    found = audited(replace(seen, heat=corner), explainer)
    first = found.confirmed[0]
    top, left, bottom, right = first.box
    assert first.label == "mark"
    assert max(bottom - top, right - left) >= 0.7
    assert min(bottom - top, right - left) <= 0.07


def test_pixels_are_alike_from_minus_one_to_one(marked) -> None:
    rng = np.random.default_rng(0)
    varied, same = rng.random((4, 3, 8, 8)).astype(np.float32), np.full((4, 3, 8, 8), 0.5, np.float32)
    scorer, boxes = Scorer(marked[1]), [(0.0, 0.0, 0.5, 0.5)] * 4
    found = [Shown(scorer, 0, own, others, others).alike(boxes) for own, others in ((same, varied), (varied, same))]
    assert found == pytest.approx([1, -1])
    assert Shown(scorer, 0, same, same, same).alike(boxes) == 0


def test_classes_of_few_photos_are_told_in_one_sentence(marked) -> None:
    seen, _, _ = marked
    # Twelve classes of four photos, and one of forty-eight.
    targets = np.where(np.arange(96) < 48, 1 + np.arange(96) // 4, 0)
    looks = [one for one in audited(replace(seen, targets=targets), None).findings if one.kind == "look"]
    assert sorted(one.label for one in looks) == ["", "mark"]
    told = next(one.sentence for one in looks if not one.label)
    assert told.startswith("12 classes have fewer than 6 photos each (red, green, blue and others)")
    assert "in all 48 photos of them" in told
    # Three are told by themselves.
    three = replace(seen, targets=np.where(targets > 3, 0, targets))
    assert sum(one.kind == "look" for one in audited(three, None).findings) == 4
