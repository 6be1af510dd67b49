"""Every option of every method and variant: what it takes runs, what it does not take is refused in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any

import numpy as np
import pytest
import torch

import gradsight as gs
import toys
from gradsight.errors import GradsightError, InvalidArgument, UnknownName
from gradsight.ranges import checked, options_of, read_options, rules_of
from gradsight.registry import METHODS
from gradsight.rules import Choice, Number, Whole
from gradsight.variants import VARIANTS, as_method, with_options

pytestmark = pytest.mark.pytorch

FUNCTIONS: dict[str, Callable[..., Any]] = {**{name: METHODS[name].function for name in METHODS}, **VARIANTS}
OPTIONS = [(name, option) for name, function in FUNCTIONS.items() for option in options_of(function)]

# What makes a call quick, or what another option needs beside it.
FEW: dict[str, dict[str, Any]] = {
    "rise": {"masks": 2},
    "occlusion": {"window": 1, "stride": 1},
    "sscam": {"samples": 1},
}


def rule_of(name: str, option: str) -> Any:
    return rules_of(FUNCTIONS[name])[option]


def named(name: str, option: str, value: Any) -> str:
    inner = "gradcam, " if name in VARIANTS else ""
    return f"{name}({inner}{option}={value!r})"


def in_python(name: str, option: str, value: Any) -> Any:
    """By a call that Python's users make."""
    if name in VARIANTS:
        return getattr(gs, name)("gradcam", **{option: value})
    return with_options(METHODS[name], **{option: value})


def refused(rule: Any) -> list[Any]:
    """Values next to the bounds and far from them, no numbers, and other types."""
    if isinstance(rule, Choice):
        return [3, True, ["mean"], b"mean", 1.5]
    values: list[Any] = ["3", True, False, [3], math.nan, math.inf, -math.inf, 1j, (), {}]
    if isinstance(rule, Whole):
        values += [1.5, 2.0]
    if rule.least is not None:
        values += [rule.least - 1, rule.least - 1e-9, -(10**400)]
    if rule.most is not None:
        values += [rule.most + 1, rule.most * (1 + 1e-9), 10**400]
    if isinstance(rule, Number) and rule.above is not None:
        values += [rule.above, rule.above - 1]
    return values


def taken(rule: Any) -> list[Any]:
    """The bounds, or what is next to them."""
    if isinstance(rule, Choice):
        return list(rule.words)
    values = [x for x in (rule.least, rule.most) if x is not None]
    if isinstance(rule, Number) and rule.above is not None:
        values.append(rule.above + 1e-6)
    return values


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_option_declares_a_rule_that_its_default_keeps(name: str, option: str) -> None:
    rule, default = rule_of(name, option), options_of(FUNCTIONS[name])[option]
    assert isinstance(rule, Choice) or rule.least is not None or rule.above is not None
    assert default is None or rule.read(default) == default


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_what_an_option_does_not_take_is_one_line_with_the_rule_and_the_way_out(name: str, option: str) -> None:
    rule, default = rule_of(name, option), options_of(FUNCTIONS[name])[option]
    tried = refused(rule) + ([None] if default is not None else [])
    for value in tried:
        with pytest.raises(InvalidArgument) as caught:
            in_python(name, option, value)
        text = str(caught.value)
        assert text.startswith(f"`{option}` must be {rule.rule}. Received: "), value
        assert text.endswith("Leave it out." if default is None else f"Pass {option}={default!r}, the default.")
        assert "\n" not in text
        if not isinstance(value, float) or math.isfinite(value):  # nan and inf are no constants of Python's
            with pytest.raises(InvalidArgument) as in_text:
                gs.Explainer(toys.convolutional(), method=named(name, option, value))
            assert str(in_text.value) == text
        if name in METHODS:  # the function itself, as other methods and a user's call it
            with pytest.raises(InvalidArgument, match=f"`{option}` must be"):
                METHODS[name].function(None, None, **{option: value})


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_at_the_bounds_a_method_runs(name: str, option: str) -> None:
    torch.manual_seed(0)
    attends = name in METHODS and METHODS[name].attends
    model = (toys.Tokens(patch=2).eval() if attends else toys.convolutional()).double()
    batch, layer = torch.randn(2, 3, 10, 8).double(), "blocks.0" if attends else "4"
    for value in taken(rule_of(name, option)):
        options = {**FEW.get(name, {}), option: value}
        if name == "occlusion":
            options["window"] = max(options["window"], options["stride"])
        method = getattr(gs, name)("gradcam", **options) if name in VARIANTS else with_options(METHODS[name], **options)
        found = gs.Explainer(model, layer=layer, method=method)(batch, targets=[[0, 1], [2, 3]])
        maps = (found[0] if isinstance(found, tuple) else found).maps
        assert np.isfinite(maps).all(), value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("finercam(strength=-0.1)", "`strength` must be a number from 0 to 10. Received: -0.1 (float). Pass"),
        ("fem(deviations=1e20)", "`deviations` must be a number from 0 to 100. Received: 1e+20 (float). Pass"),
        ("fem(deviations=1e999)", "`deviations` must be a number from 0 to 100. Received: inf (float)."),
        ("smoothgrad(noise=-1)", "`noise` must be a number from 0 to 10. Received: -1 (int)."),
        ("rise(masks=0)", "`masks` must be a whole number of at least 1. Received: 0 (int). Pass masks=1000, the"),
        ("rise(share=1.5)", "`share` must be a number above 0 and at most 1. Received: 1.5 (float)."),
        ("scorecam(top=0)", "`top` must be a whole number of at least 1. Received: 0 (int). Leave it out."),
        ("smooth(contrastive(layercam, strength=-2))", "`strength` must be a number from 0 to 10. Received: -2 (int)."),
        ("fuse(finercam(rivals='3'), by='max')", "`rivals` must be a whole number of at least 1. Received: '3' (str)."),
    ],
)
def test_the_words(text: str, message: str) -> None:
    with pytest.raises(GradsightError) as caught:
        as_method(text)
    assert message in str(caught.value)


def test_numbers_of_numpy_and_fractions_are_numbers_and_named_as_such() -> None:
    assert with_options(METHODS["scorecam"], top=np.int64(3)).name == "scorecam(top=3)"
    assert with_options(METHODS["finercam"], strength=np.float32(0.5)).name == "finercam(strength=0.5)"
    assert with_options(METHODS["finercam"], strength=Fraction(1, 4)).name == "finercam(strength=0.25)"
    assert gs.contrastive("gradcam", rivals=np.uint8(2)).name == "contrastive(gradcam, rivals=2)"
    with pytest.raises(InvalidArgument, match="`top` must be a whole number"):
        with_options(METHODS["scorecam"], top=np.bool_(True))
    with pytest.raises(UnknownName, match=r"no kernel 'cubic'\. Choose from: sigmoid, rbf"):
        with_options(METHODS["kpcacam"], kernel="cubic")


def test_a_method_of_one_s_own_is_held_to_what_it_declares() -> None:
    @checked
    def own(
        probe: Any, ops: Any, *, reach: Annotated[int, Whole(2, 4)] = 2, free: Any = None, plain: float = 1.0
    ) -> Any:
        return reach, free, plain

    assert own(None, None, reach=4, free="anything") == (4, "anything", 1.0)
    for options in ({"reach": 5}, {"reach": 2.0}, {"plain": math.nan}, {"plain": "1"}):
        with pytest.raises(InvalidArgument):
            own(None, None, **options)
    with pytest.raises(UnknownName, match="no option of own 'raech'"):
        read_options("own", own, {"raech": 3})

    def told(probe: Any, ops: Any, *, reach: Nowhere = 3) -> Any:  # type: ignore[name-defined]  # noqa: F821
        return reach

    assert rules_of(told) == {}
