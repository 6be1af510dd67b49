"""What can be asked for, and what is said when it does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import gradsight as gs
import toys
from gradsight.errors import InvalidArgument, InvalidType, ModelError, UnknownName
from gradsight.targets import class_index, resolve

LABELS = ("tabby, tabby cat", "tiger cat", "crane (bird), crane", "crane (machine), crane", "bull mastiff")
LOGITS = np.array([[0.1, 0.5, 0.3, 0.2, 0.4], [5.0, 1.0, 2.0, 3.0, 4.0]])


def indices(targets: object, labels: object = LABELS) -> list[list[int]]:
    return [[t.index for t in row] for row in resolve(targets, 2, LOGITS, labels, "").names]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (None, [[1], [0]]),
        (gs.Top(), [[1], [0]]),
        (gs.Top(3), [[1, 4, 2], [0, 4, 3]]),
        (4, [[4], [4]]),
        (np.int64(4), [[4], [4]]),
        ("4", [[4], [4]]),
        ("tabby", [[0], [0]]),
        ("Bull_Mastiff", [[4], [4]]),
        (gs.Classes("tiger-cat", 0), [[1, 0], [1, 0]]),
        ([3, "tabby cat"], [[3], [0]]),
        ([[0, 1], ["tiger cat", 3]], [[0, 1], [1, 3]]),
        (np.array([2, 3]), [[2], [3]]),
        (np.array([[2, 3], [0, 1]]), [[2, 3], [0, 1]]),
        ([gs.Classes(0, 1), [2, 3]], [[0, 1], [2, 3]]),
    ],
)
def test_targets_are_settled(targets: object, expected: list[list[int]]) -> None:
    assert indices(targets) == expected


def test_names_are_the_first_of_their_synonyms() -> None:
    assert [t.label for t in resolve(gs.Classes(0, 2), 1, LOGITS[:1], LABELS, "").names[0]] == ["tabby", "crane (bird)"]
    assert resolve(3, 2, LOGITS, None, "").names[0][0].label == "class 3"


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        ([1], InvalidArgument, r"one entry for each of the 2 image\(s\).*Received: 1 entries.*gs\.Classes"),
        ([1, 2, 3], InvalidArgument, "Received: 3 entries"),
        ([[1], [1, 2]], InvalidArgument, "equally many classes.*Received: 1, 2"),
        ([[], []], InvalidArgument, "at least one"),
        (5, InvalidArgument, "between 0 and 4. Received: 5"),
        (-1, InvalidArgument, "between 0 and 4"),
        (gs.Top(6), InvalidArgument, "more classes than the model's 5"),
        ("crane", InvalidArgument, r"fits several classes: 2 .*3 .*Give the index"),
        ("tabyb", UnknownName, "no class 'tabyb'. Did you mean 'tabby'"),
        (True, InvalidType, "True"),
        (1.5, InvalidType, r"Received: 1.5 \(float\)"),
        ([1.5, 2], InvalidType, "entry of `targets`"),
        (gs.Top, InvalidType, "`targets` must be"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(targets: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        indices(targets)
    assert "\n" not in str(caught.value)


def test_a_shown_name_comes_before_the_synonym_of_another_class() -> None:
    labels = ("spiny lobster, crayfish", "crayfish, crawfish")
    assert class_index("crayfish", labels, 2) == 1
    assert class_index("crawfish", labels, 2) == 1


def test_labels_that_are_not_known() -> None:
    with pytest.raises(UnknownName, match="labels of this model are not known"):
        indices("tabby", None)


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "3"])
def test_top_wants_a_whole_number(k: object) -> None:
    with pytest.raises(InvalidArgument, match="whole number"):
        gs.Top(k)  # type: ignore[arg-type]


def test_classes_wants_one_at_least() -> None:
    with pytest.raises(InvalidArgument, match="at least one"):
        gs.Classes()


def test_a_function_of_the_output_is_a_target() -> None:
    model, inputs = toys.convolutional(), torch.randn(2, 3, 16, 12)

    def difference(outputs: torch.Tensor) -> torch.Tensor:
        return outputs[:, 0] - outputs[:, 3]

    explainer = gs.Explainer(model, layer="4")
    both = explainer(inputs, targets=gs.Classes(0, 3)).maps
    explanation = explainer(inputs, targets=difference)
    np.testing.assert_allclose(explanation.maps[:, 0], both[:, 0] - both[:, 1], atol=1e-7)
    assert explanation.labels == (("difference",), ("difference",))
    assert explanation.targets[0][0].index is None


def test_a_class_of_a_segmentation_says_what_the_output_is_and_a_function_explains_it() -> None:
    model = toys.convolutional()[:5]
    inputs = torch.randn(2, 3, 16, 12)
    with pytest.raises(ModelError, match=r"it gives a tensor of shape \(2, 6, 8, 6\).*function"):
        gs.Explainer(model, layer="3")(inputs, targets=1)
    maps = gs.Explainer(model, layer="3")(inputs, targets=lambda outputs: outputs[:, 1].sum((1, 2))).maps
    assert maps.shape == (2, 1, 8, 6)
    assert np.abs(maps).max() > 0
