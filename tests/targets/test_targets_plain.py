"""Targets as plain values and back: the same scores, and words for what cannot be written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import gradsight as gs
from gradsight.errors import InvalidArgument, InvalidType
from gradsight.targets.plain import from_plain, to_plain

SAME = [
    None,
    3,
    "tabby",
    ["a", 2],
    [[1, 2], [3, 4]],
    gs.Top(5),
    gs.Classes("tabby", 243),
    gs.Pixels(3),
    gs.Box("dog", (1, 2, 30, 40.5)),
    gs.Box(),
    gs.Token("cat", at=3),
    gs.Token(),
    gs.Against("tabby"),
    gs.Against(),
    gs.Contrast("tabby", gs.Sum("lynx", 3)),
    gs.Sum("a", gs.Against(2), name="both"),
    gs.Several(gs.Top(2), gs.Against("tabby"), gs.Several(1)),
    [gs.Top(2), gs.Classes(1, 2)],
]


@pytest.mark.parametrize("target", SAME, ids=repr)
def test_targets_come_back_through_json(target: Any) -> None:
    back = from_plain(json.loads(json.dumps(to_plain(target))))
    assert repr(back) == repr(target)
    assert type(back) is type(target)


def test_arrays_come_back() -> None:
    assert from_plain(to_plain(np.array([3, 1]))) == [3, 1]
    assert from_plain(to_plain(torch.tensor(2))) == 2
    mask = np.random.default_rng(0).random((4, 5)).astype(np.float32)
    back = from_plain(json.loads(json.dumps(to_plain(gs.Pixels("cat", mask=mask)))))
    assert isinstance(back, gs.Pixels)
    np.testing.assert_array_equal(np.asarray(back.mask, np.float64), np.asarray(mask, np.float64))
    bits = from_plain(to_plain(gs.Pixels(0, mask=mask > 0.5)))
    np.testing.assert_array_equal(bits.mask, mask > 0.5)  # type: ignore[attr-defined]
    for embedding in (mask[0], torch.tensor(mask[0]), [1, 2]):
        like = from_plain(to_plain(gs.Similarity(embedding=embedding)))
        np.testing.assert_array_equal(like.embedding, np.asarray(embedding))  # type: ignore[attr-defined]
    for image in ("cat.jpg", Path("photos/cat.jpg")):
        assert from_plain(to_plain(gs.Similarity(image=image))).image == str(image)  # type: ignore[attr-defined]
    assert from_plain(to_plain(gs.Similarity(text="a cat"))).text == "a cat"  # type: ignore[attr-defined]


class Own:
    """A target of the user's."""

    def resolved(self, setting: Any) -> Any: ...


@pytest.mark.parametrize(
    "target",
    [
        lambda outputs: outputs[:, 0],
        Own(),
        gs.Several(1, len),
        gs.Against(Own()),
        gs.Similarity(image=Image.new("RGB", (4, 4))),
        gs.Similarity(image=b"bytes"),
        {1: 2},
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_no_plain_value_says_is_told(target: Any) -> None:
    with pytest.raises(InvalidType, match="a target is written as plain values where"):
        to_plain(target)


@pytest.mark.parametrize("value", [{}, {"kind": "Nothing"}, {"kind": "Top", "n": 3}, {"kind": ["Top"]}, {"k": 3}])
def test_other_values_are_told(value: Any) -> None:
    with pytest.raises(InvalidArgument, match="must be what to_plain gives"):
        from_plain(value)
    with pytest.raises(InvalidArgument, match="`k` of Top"):
        from_plain({"kind": "Top", "k": 0})
