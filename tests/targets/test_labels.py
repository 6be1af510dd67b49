"""Class names: what is taken for them, which are shown, and which class a name means."""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import gradsight as gs
from gradsight.errors import GradsightError, InvalidArgument, InvalidType, UnknownName
from gradsight.targets import as_labels, class_index, class_name

# --- what is taken for class names


class Animal(enum.Enum):
    CAT = 0


class Index:
    """What pandas' has that counts."""

    def __init__(self, values: Any) -> None:
        self._values = np.array(values)
        self.dtype, self.shape = self._values.dtype, self._values.shape

    def __iter__(self) -> Any:
        return iter(self._values)

    def tolist(self) -> list[Any]:
        return self._values.tolist()


class Series(Index):
    """As pandas', with the names of its rows."""

    def __init__(self, values: Any, index: Any = None) -> None:
        super().__init__(values)
        self.index = Index(range(len(values)) if index is None else index)

    def to_dict(self) -> dict[Any, Any]:
        return dict(zip(self.index, self, strict=True))


class DataFrame:
    """Of pandas' what looks like names."""

    columns = ("a", "b")
    index = Index([0])

    def __iter__(self) -> Any:
        return iter(self.columns)

    def to_dict(self) -> dict[str, Any]:
        return {"a": {0: 0}, "b": {0: 1}}


@pytest.mark.parametrize(
    "labels",
    [
        ["a", "b", "c"],
        ("a", "b", "c"),
        {0: "a", 1: "b", 2: "c"},
        {2: "c", 0: "a", 1: "b"},
        {"0": "a", "1": "b", "2": "c"},
        {np.int64(0): "a", np.int64(1): np.str_("b"), np.int64(2): "c"},
        {"a": 0, "b": 1, "c": 2},
        OrderedDict(c=2, a=0, b=1),
        {"a": np.int64(0), "c": torch.tensor(2), "b": np.array(1)},
        {"a": "0", "b": "1", "c": "2"},
        np.array(["a", "b", "c"]),
        np.array(["a", "b", "c"], dtype=object),
        Index(["a", "b", "c"]),
        Series(["a", "b", "c"]),
        Series(["c", "a", "b"], index=[2, 0, 1]),
        Series([0, 2, 1], index=["a", "c", "b"]),
        {"a": 1, "b": 1, "c": 1}.keys(),
        (letter for letter in "abc"),
    ],
    ids=lambda labels: f"{type(labels).__name__}",
)
def test_class_names_are_taken_as_other_libraries_hand_them_over(labels: Any) -> None:
    assert as_labels(labels) == ("a", "b", "c")


@pytest.mark.parametrize(
    "labels",
    [
        [10, 11, 12],
        np.array([10, 11, 12]),
        torch.tensor([10, 11, 12]),
        Index([10, 11, 12]),
        range(10, 13),
        {0: 10, 1: 11, 2: 12},
        {10: 0, 12: 2, 11: 1},
        {"10": 0, "11": 1, "12": 2},
    ],
    ids=lambda labels: f"{type(labels).__name__}",
)
def test_whole_numbers_are_names_too(labels: Any) -> None:
    assert as_labels(labels) == ("10", "11", "12")
    assert as_labels({"0": "1", "1": "2", "2": "0"}) == ("1", "2", "0")  # as JSON has an id2label


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        ("ab", InvalidType, r"names of the classes. Received: 'ab' \(str\)"),
        ({"a", "b"}, InvalidType, "A set has no order"),
        (7, InvalidType, r"Received: 7 \(int\)"),
        (np.array(7), InvalidType, "names of the classes"),
        (lambda index: "a", InvalidType, "names of the classes"),
        (Animal, InvalidType, "names of the classes"),
        (DataFrame(), InvalidType, "DataFrame"),
        ([1.5, 2], InvalidType, "class 0 is 1.5"),
        (["a", None], InvalidType, "class 1 is None"),
        (["a", True], InvalidType, "class 1 is True"),
        (np.array([10.0, 11.0]), InvalidType, "class 0 is 10.0"),
        ([["a", "b"], ["c", "d"]], InvalidType, r"class 0 is \['a', 'b'\]"),
        (np.array([["a", "b"]]), InvalidType, "class 0 is"),
        ({0: ["a", "b"], 1: "c"}, InvalidType, r"class 0 is \['a', 'b'\]"),
        ({0: "a", 1: {"b": 2}}, InvalidType, "class 1 is"),
        ([b"a", b"b"], InvalidType, "class 0 is b'a'"),
        ([], InvalidArgument, "at least one"),
        ({}, InvalidArgument, "at least one"),
        (np.array([]), InvalidArgument, "at least one"),
        ({0: "a", 2: "c"}, InvalidArgument, "indices 0, 1, 2 ... once each.*1 is missing"),
        ({1: "a", 2: "b"}, InvalidArgument, "0 is missing"),
        ({0: "a", "0": "b"}, InvalidArgument, "0 is there twice"),
        ({"a": 0, "b": 0}, InvalidArgument, "0 is there twice"),
        ({"a": 0, "b": 1.0}, InvalidArgument, "indices 0, 1, 2"),
        ({"a": "x", "b": "y"}, InvalidArgument, "indices 0, 1, 2"),
        ({-1: "a", 0: "b"}, InvalidArgument, "indices 0, 1, 2"),
        (Series(["a", "b"], index=[0, 0]), InvalidArgument, "0 is there twice"),
        ({"0": 1, "1": 2, "2": 0}, InvalidArgument, "read in two ways"),
        ({0: 1, 1: 2, 2: 0}, InvalidArgument, "read in two ways"),
    ],
)
def test_what_are_no_class_names_is_said(labels: Any, error: type[GradsightError], words: str) -> None:
    for make in (
        lambda: as_labels(labels),
        lambda: gs.Explainer(nn.Conv2d(3, 2, 1), labels=labels),
        lambda: gs.Model(None, labels=labels),
    ):
        with pytest.raises(error, match=words) as caught:
            make()
        assert str(caught.value).startswith("`labels` must ") or "can be read" in str(caught.value)
        assert "Pass " in str(caught.value)


def test_every_way_in_takes_them(folder: Any) -> None:
    folder.write(
        "gradsight_labelled_net",
        """
        import gradsight as gs
        from torch import nn

        def net():
            return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

        def three():
            return net(), gs.Preprocess(), {"cat": 0, "dog": 1}

        def loaded():
            return gs.Model(net(), labels={1: "dog", 0: "cat"})

        def wrong():
            return net(), gs.Preprocess(), {"cat": 0, "dog": 2}
        """,
    )
    for name in ("three", "loaded"):
        assert gs.load_model(f"gradsight_labelled_net:{name}").labels == ("cat", "dog")
    assert gs.load_model("gradsight_labelled_net:net", labels={"cat": 0, "dog": 1}).labels == ("cat", "dog")
    with pytest.raises(InvalidArgument, match=r"its labels must have the indices.*1 is missing"):
        gs.load_model("gradsight_labelled_net:wrong")
    loaded = gs.load_model("gradsight_labelled_net:three")
    batch = torch.randn(1, 3, 8, 8)
    assert gs.Explainer(loaded)(batch, targets="dog").targets[0][0].index == 1
    assert gs.Explainer(loaded, labels=np.array(["dog", "cat"]))(batch, targets="dog").targets[0][0].index == 0
    assert gs.Explainer(loaded.model, labels={"dog": 0, "cat": 1}).labels == ("dog", "cat")


# --- what a class is called


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (["tabby, tabby cat", "lynx"], ["tabby", "lynx"]),
        (["flu, mild", "flu, severe", "none, or else"], ["flu, mild", "flu, severe", "none"]),
        (["crane, bird", "crane", "crane, machine"], ["crane, bird", "crane", "crane, machine"]),
        (["a", "b", "a"], ["a (0)", "b", "a (2)"]),
        (["a, x", "a, x", "a, y"], ["a, x (0)", "a, x (1)", "a, y"]),
        (["a", "a ", " a"], ["a (0)", "a (1)", "a (2)"]),
        (["a", "a", "a (0)"], ["a (0) (0)", "a (1)", "a (0)"]),
        (["", " ", ",", "class 0"], ["class 0", "class 1", ",", "class 0 (3)"]),
    ],
)  # fmt: skip
def test_no_two_classes_share_a_shown_name(labels: list[str], shown: list[str]) -> None:
    names = [class_name(i, labels) for i in range(len(labels))]
    assert len(set(names)) == len(labels)
    if labels[0]:
        assert names == shown
    assert [class_index(name, labels, len(labels)) for name in names] == list(range(len(labels)))


@given(st.lists(st.text(alphabet="aA, (01)", max_size=6), min_size=1, max_size=8))
def test_shown_names_are_distinct_and_lead_back(labels: list[str]) -> None:
    names = [class_name(i, labels) for i in range(len(labels))]
    assert len(set(names)) == len(labels)
    assert all(name.strip() for name in names)


def test_shown_names_are_those_of_targets_predictions_and_records() -> None:
    labels = ["Pneumonia, bacterial", "Pneumonia, viral", "Normal, healthy"]
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    found = gs.Explainer(model, labels=labels, layer="1")(torch.randn(1, 3, 8, 8), targets=gs.Classes(0, 1, 2))
    assert found.labels[0] == ("Pneumonia, bacterial", "Pneumonia, viral", "Normal")
    assert {p.label for p in found.predictions[0]} == set(found.labels[0])
    against = gs.Explainer(model, labels=labels, layer="1")(torch.randn(1, 3, 8, 8), targets=gs.Contrast(0, 1))
    assert against.labels[0] == ("Pneumonia, bacterial rather than Pneumonia, viral",)


# --- which class a name means


def test_a_label_to_the_letter_comes_before_one_that_looks_alike() -> None:
    labels = ["CAT", "cat", "cat."]
    assert [class_index(name, labels, 3) for name in labels] == [0, 1, 2]
    with pytest.raises(InvalidArgument, match=r"fits several classes: 0 \(CAT\), 1 \(cat\), 2"):
        class_index("Cat", labels, 3)
    with pytest.raises(InvalidArgument, match="fits several classes"):
        class_index("Pneumonia", ["Pneumonia, bacterial", "Pneumonia, viral"], 2)


def test_a_number_is_an_index_and_a_text_is_a_label() -> None:
    labels = as_labels([10, 11, 12])
    assert class_index(1, labels, 3) == 1
    assert class_index("11", labels, 3) == 1
    with pytest.raises(
        InvalidArgument, match=r"between 0 and 2. Received: 10. .*'10' has the index 0: pass 0, or.*'10'"
    ):
        class_index(10, labels, 3)
    with pytest.raises(UnknownName, match="no class '1'"):
        class_index("1", labels, 3)
    assert class_index("1", ["a", "b"], 2) == 1
    assert class_index("2", ["a", "2", "c"], 3) == 1
    assert [class_index(i, as_labels(range(3)), 3) for i in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("which", [1, np.int64(1), torch.tensor(1)])
def test_a_number_that_may_mean_two_classes_is_refused(which: Any) -> None:
    labels = as_labels([1, 2, 3])
    with pytest.raises(
        InvalidArgument, match=r"1 is the index of the class that is called '2' and the label of class 0"
    ):
        class_index(which, labels, 3)
    assert class_index("1", labels, 3) == 0
    assert class_index("2", labels, 3) == 1
    assert class_index(0, labels, 3) == 0


def test_a_label_beyond_the_scores_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="one of the model's 2 classes, and is number 2 of 3 labels"):
        class_index("c", ["a", "b", "c"], 2)
