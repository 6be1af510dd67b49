"""Fields of an explanation that are computed when they are asked for: the same whenever that is, and once."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
from gradsight.results.explanation import Explanation
from gradsight.results.later import MAKERS, later

LATER = ("predictions", "target_notes", "alphas", "channel_means")


@dataclass(frozen=True)
class Two:
    one: int
    other: tuple[int, ...] = later(())


def made(make: Callable[[], object]) -> Two:
    value = object.__new__(Two)
    vars(value).update({"one": 1, MAKERS: {"other": make}})
    return value


def test_a_field_is_given_or_its_default() -> None:
    assert Two(1).other == ()
    assert Two(1, (2, 3)).other == (2, 3)
    assert [field.default for field in fields(Two)][1] == ()


def test_a_field_is_computed_once_and_lets_go_of_what_it_was_made_of() -> None:
    calls: list[int] = []

    def make() -> object:
        calls.append(1)
        return (5,)

    value = made(make)
    assert not calls
    assert value.other == (5,) == value.other
    assert len(calls) == 1
    assert vars(value)[MAKERS] == {}
    assert made(lambda: (5,)) == Two(1, (5,))


def test_threads_that_ask_at_once_get_one_value() -> None:
    barrier, seen = threading.Barrier(4), []
    value = made(lambda: (barrier.wait(), object())[1:])
    threads = [threading.Thread(target=lambda: seen.append(value.other)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4
    assert len(set(map(id, seen))) == 1


pytorch = pytest.mark.pytorch


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 7), nn.Softmax(1)
    ).eval()


def explained(model: nn.Module, method: str = "gradcam") -> Explanation:
    image = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    return gs.Explainer(model, layer="1", method=method)(image, targets=gs.Top(2))


def held(explanation: Explanation) -> dict[str, Any]:
    return {name: getattr(explanation, name) for name in (*LATER, "notes")}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    for name, value in one.items():
        np.testing.assert_equal(value, other[name], err_msg=name)


@pytorch
def test_what_is_asked_for_later_is_what_it_was() -> None:
    model = net()
    now = held(explained(model))
    assert {note.code for note in explained(model).target_notes[0][0]} == {"saturated"}
    assert len(now["predictions"]) == 2
    later_on = explained(model)
    assert not set(LATER) & set(vars(later_on))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-3)
    model.train()
    model[0] = nn.Conv2d(3, 6, 3)  # type: ignore[operator]
    later_on.maps[:] = np.nan  # of which a note would tell
    later_on.scores[:] = 7
    assert_same(held(later_on), now)


@pytorch
@pytest.mark.parametrize("copied", [lambda x: pickle.loads(pickle.dumps(x)), copy.copy, copy.deepcopy, replace])
def test_copies_hold_all_fields(copied: Callable[[Explanation], Explanation]) -> None:
    explanation = explained(net())
    assert not set(LATER) & set(vars(explanation))
    other = copied(explanation)
    assert set(LATER) <= set(vars(other))
    assert MAKERS not in vars(other) or not vars(other)[MAKERS]
    assert_same(held(other), held(explanation))


@pytorch
def test_a_method_without_alphas_has_none() -> None:
    explanation = explained(net(), "eigencam")
    assert explanation.alphas is None
    assert explanation.channel_means is None


@pytorch
def test_maps_too_large_to_be_copied_are_looked_at_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradsight.explaining import noting

    expected = held(explained(net()))
    monkeypatch.setattr(noting, "_SMALL", 10)
    explanation = explained(net())
    assert "target_notes" in vars(explanation)
    assert_same(held(explanation), expected)
