"""What an audit says, word by word: nothing twice, nothing that another word of the sentence denies, and why not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import shortcuts
from gradsight.auditing.audit import audited
from gradsight.auditing.places import at_border, named
from gradsight.auditing.progress import Progress, listening
from gradsight.auditing.words import photos
from gradsight.cli import running

pytestmark = pytest.mark.pytorch


@pytest.fixture(scope="module")
def marked() -> tuple:
    return shortcuts.audited_mark()


def test_what_is_called_an_edge_is_at_the_border_for_the_verdict_too() -> None:
    deep = [round(0.05 * i, 2) for i in range(1, 11)]
    boxes = [(0.0, 0.0, depth, 1.0) for depth in deep] + [(0.0, 1 - depth, 1.0, 1.0) for depth in deep]
    assert [("edge" in named(box)) for box in boxes] == [at_border(box) for box in boxes]
    assert named((0.0, 0.1, 0.3, 0.9)) == "the upper part"


def test_a_place_that_is_found_in_two_ways_is_told_once(marked) -> None:
    seen, explainer, _ = marked
    for found in (audited(seen, None), audited(seen, explainer, most=0)):
        told = [one for one in found.findings if one.kind == "suspect" and one.label == "mark"]
        assert len(told) == 1
        assert "more than other classes do" in told[0].sentence


def test_why_nothing_was_tried_is_told(marked) -> None:
    seen, explainer, _ = marked
    (asked,) = audited(seen, explainer, most=0).notes
    assert asked == "suspects were not tested, as was asked for."
    # Where the heat is even no place stands out.
    even = replace(seen, heat=np.full_like(seen.heat, 1 / seen.heat[0].size))
    found = audited(even, explainer)
    assert found.verdict.startswith("No suspect was tested")
    assert found.notes == ("the maps of no class share a place beyond chance: there was nothing to test.",)
    # Of one class for all photos, by who made the run, and by the model.
    fixed = replace(seen, targets=np.zeros(len(seen), np.intp))
    (note,) = audited(fixed, explainer).notes
    assert note.startswith("all maps are of mark, and")
    assert "without a fixed target" in note
    (note,) = audited(replace(fixed, predictions=fixed.targets), None).notes
    assert note.endswith("the model took every photo for it. Add photos of other classes.")
    assert not audited(seen, None).notes


def test_photos_are_counted_in_words() -> None:
    assert [photos(count) for count in (0, 1, 12000)] == ["0 photos", "1 photo", "12,000 photos"]


def test_who_listens_hears_how_far_an_audit_has_come(marked, monkeypatch) -> None:
    seen, explainer, found = marked
    monkeypatch.setattr("gradsight.auditing.progress._OFTEN", 0.0)
    heard: list[Progress] = []
    with listening(heard.append):
        again = audited(seen, explainer)
    assert [one.sentence for one in again.findings] == [one.sentence for one in found.findings]
    first, last = heard[0], heard[-1]
    assert (first.tried, first.passes) == (0, 0)
    assert last.suspects == last.tried == first.suspects > 0
    assert last.passes == again.passes
    assert [one.passes for one in heard] == sorted(one.passes for one in heard)
    assert Progress(suspects=6, tried=2, seconds=10.0).left == 20
    assert Progress(suspects=6).left is None
    # Who listened is forgotten.
    audited(seen, explainer, most=1)
    assert heard[-1] is last


def test_a_terminal_is_told_how_far_an_audit_has_come(marked, monkeypatch, capsys) -> None:
    seen, explainer, _ = marked
    monkeypatch.setattr(running, "_EVERY", -1.0)
    with running.audits_told():
        audited(seen, explainer, most=1)
    printed = capsys.readouterr()
    assert not printed.out
    assert printed.err.splitlines()[0] == "0 of 1 suspects tested, 0 changed photos shown to the model"
    assert printed.err.splitlines()[-1].startswith("1 of 1 suspects tested, ")
