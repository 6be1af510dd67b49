"""The verdict on a suspect: each of its reasons by itself, and the order of several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradsight.auditing.finding import Finding, in_order
from gradsight.auditing.suspects import Suspect
from gradsight.auditing.suspects import in_order as suspects_in_order
from gradsight.errors import InvalidArgument, UnknownName
from gradsight.significance import Interval


def effect(mean: float, low: float) -> Interval:
    return Interval(mean=mean, low=low, high=2 * mean - low, n=20, missing=0)


SURE = Suspect(
    target=0,
    rows=np.arange(20),
    whole=True,
    box=(0.8, 0.8, 1.0, 1.0),
    size=0.04,
    moving=False,
    score=9.0,
    p=0.01,
    removal=effect(0.4, 0.3),
    transplant=effect(0.5, 0.4),
    removal_beyond=effect(2, 1),
    transplant_beyond=effect(3, 2),
    times=20.0,
    alike=0.9,
)


def test_a_place_that_does_both_and_stands_out_is_confirmed() -> None:
    assert SURE.confirmed
    assert SURE.why_not == ()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"removal_beyond": effect(0.1, -0.1)}, "without it"),
        ({"removal_beyond": effect(1, float("nan"))}, "without it"),
        ({"transplant": effect(0.1, -0.1)}, "does not raise"),
        ({"transplant": effect(0.005, 0.004)}, "too little"),
        ({"transplant": effect(0.045, 0.03), "alike": 0.4}, "too little"),
        ({"transplant_beyond": effect(0.1, -0.1)}, "other regions"),
        ({"times": 2.4}, "other regions"),
        ({"removal": effect(0.1, -0.1)}, "does not fall"),
        ({"chance": 0.06}, "by chance"),
        ({"chance": float("nan")}, "by chance"),
        ({"covers": 1}, "covers what another class relies on"),
        ({"size": 0.2}, "so large"),
        ({"box": (0.4, 0.4, 0.6, 0.6), "alike": 0.4}, "further in than the outer quarter"),
    ],
)
def test_each_reason_alone_is_enough_against_it(changed: dict, reason: str) -> None:
    one = replace(SURE, **changed)
    assert not one.confirmed
    (why,) = one.why_not
    assert reason in why


def test_of_each_kind_of_reason_the_first_is_told() -> None:
    nothing = effect(0.0, -0.1)
    one = replace(SURE, removal=nothing, removal_beyond=nothing, transplant=nothing, times=1.0, size=0.5, covers=1)
    assert one.why_not == (
        "without it the class's probability does not fall",
        "in other photos it does not raise the class",
        "it is so large that it may be what the class is about",
    )


def test_the_same_pixels_in_the_middle_are_a_shortcut() -> None:
    assert replace(SURE, box=(0.4, 0.4, 0.6, 0.6)).confirmed


def test_confirmed_suspects_come_first_and_each_place_once() -> None:
    rejected = replace(SURE, box=(0.0, 0.0, 0.1, 0.1), times=1.0, transplant=effect(0.9, 0.8))
    band = replace(SURE, box=(0.8, 0.0, 1.0, 1.0), size=0.1, alike=0.0, transplant=effect(0.8, 0.7))
    elsewhere = replace(SURE, box=(0.0, 0.9, 0.1, 1.0), transplant=effect(0.3, 0.2))
    # The mark lies in the band, and its pixels say where it ends.
    assert suspects_in_order([rejected, band, elsewhere, SURE]) == [SURE, elsewhere, rejected]
    assert suspects_in_order([SURE, replace(SURE, target=1)])[1].target == 1


def test_findings_are_in_order_and_plain() -> None:
    kinds = [("look", 0.9, None), ("suspect", 0.9, False), ("background", 0.1, None), ("suspect", 0.2, True)]
    made = [Finding(kind=kind, sentence="x", strength=by, confirmed=sure) for kind, by, sure in kinds]
    found = [(one.kind, one.confirmed) for one in in_order(made)]
    assert found == [("suspect", True), ("background", None), ("look", None), ("suspect", False)]
    plain = Finding(
        kind="suspect", label="<b>", sentence="s", removal=effect(0.5, float("nan")), figures={"times": float("inf")}
    ).to_dict()
    assert plain["class"] == "<b>"
    assert plain["removal"] == {"mean": 0.5, "low": None, "high": None}
    assert plain["figures"] == {"times": None}


def test_what_is_no_finding_is_refused() -> None:
    with pytest.raises(UnknownName, match="kind"):
        Finding(kind="guess", sentence="x")
    with pytest.raises(InvalidArgument, match="`box` must be four shares"):
        Finding(kind="look", sentence="x", box=(0, 0, 2, 1))
