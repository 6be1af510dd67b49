"""What can be asked for, and what is said when it does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
import toys
from gradsight.errors import InvalidArgument, InvalidType, ModelError, UnknownName
from gradsight.targets import OutputContext, class_index, resolve

LABELS = ("tabby, tabby cat", "tiger cat", "crane (bird), crane", "crane (machine), crane", "bull mastiff")
LOGITS = np.array([[0.1, 0.5, 0.3, 0.2, 0.4], [5.0, 1.0, 2.0, 3.0, 4.0]])


def indices(targets: object, labels: object = LABELS) -> list[list[int]]:
    return [[t.index for t in row] for row in resolve(targets, OutputContext(2, LOGITS, labels)).names]


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
        (np.array(4), [[4], [4]]),
        (np.array("tabby"), [[0], [0]]),
        (np.array(["tabby", "4"]), [[0], [4]]),
        (torch.tensor(4), [[4], [4]]),
        (torch.tensor([2, 3], requires_grad=False), [[2], [3]]),
        (torch.tensor([[2], [3]]), [[2], [3]]),
        (torch.tensor([[2, 3], [0, 1]], dtype=torch.uint8), [[2, 3], [0, 1]]),
        ([torch.tensor(2), torch.tensor(3)], [[2], [3]]),
        ((np.int64(2), torch.tensor(3)), [[2], [3]]),
        ([torch.tensor([2, 3]), np.array([0, 1])], [[2, 3], [0, 1]]),
        (gs.Classes(torch.tensor(1), np.array(2)), [[1, 2], [1, 2]]),
        (gs.Several(torch.tensor(1), np.int64(2)), [[1, 2], [1, 2]]),
    ],
)
def test_targets_are_settled(targets: object, expected: list[list[int]]) -> None:
    assert indices(targets) == expected


def test_names_are_the_first_of_their_synonyms() -> None:
    assert [t.label for t in resolve(gs.Classes(0, 2), OutputContext(1, LOGITS[:1], LABELS)).names[0]] == [
        "tabby",
        "crane (bird)",
    ]
    assert resolve(3, OutputContext(2, LOGITS)).names[0][0].label == "class 3"


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
        (torch.tensor([1.0, 2.0]), InvalidType, "entry of `targets`.*1.0"),
        (torch.tensor(True), InvalidType, "True"),
        (np.eye(2), InvalidType, "index or a label"),
        (torch.tensor([1]), InvalidArgument, "Received: 1 entries"),
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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gs.Classes(torch.tensor([1, 2])), "index or a label"),
        (lambda: gs.Against(1.5), "`targets` must be"),
        (lambda: gs.Several(0, gs.Top), "`targets` must be"),
        (lambda: gs.Contrast(0, {1}), "`targets` must be"),
    ],
)
def test_what_can_be_no_target_is_refused_where_it_is_made(make: Any, message: str) -> None:
    with pytest.raises(InvalidType, match=message):
        make()


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


def test_a_class_of_words_says_what_the_output_is_and_a_function_explains_it() -> None:
    model = nn.Sequential(*toys.convolutional()[:5], nn.Flatten(2))
    inputs = torch.randn(2, 3, 16, 12)
    with pytest.raises(ModelError, match=r"it gives a tensor of shape \(2, 6, 48\).*function"):
        gs.Explainer(model, layer="3")(inputs, targets=1)
    maps = gs.Explainer(model, layer="3")(inputs, targets=lambda outputs: outputs[:, 1].sum(1)).maps
    assert maps.shape == (2, 1, 8, 6)
    assert np.abs(maps).max() > 0


def explained(inputs: torch.Tensor, targets: object, method: str = "gradcam") -> gs.Explanation:
    torch.manual_seed(3)
    return gs.Explainer(toys.curved().double(), layer="4", method=method)(inputs, targets=targets)


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "finercam"])
def test_against_is_the_negated_map_and_score(method: str) -> None:
    inputs = torch.randn(2, 3, 12, 10, dtype=torch.float64)
    plain = explained(inputs, gs.Classes(2, 0), "gradcam" if method == "finercam" else method)
    if method == "finercam":
        with pytest.raises(ModelError, match="not classes"):
            explained(inputs, gs.Against(gs.Classes(2, 0)), method)
        return
    against = explained(inputs, gs.Against(gs.Classes(2, 0)), method)
    np.testing.assert_allclose(against.maps, -plain.maps, atol=1e-7 * np.abs(plain.maps).max())
    np.testing.assert_allclose(against.scores, -plain.scores)
    assert against.labels == (("against class 2", "against class 0"),) * 2
    assert [target.index for target in against.targets[0]] == [None, None]
    assert not against.targets[0][0].signed


def test_against_changes_where_gradients_are_cut_and_not_only_the_sign() -> None:
    inputs = torch.randn(2, 3, 12, 10, dtype=torch.float64)
    positive, negative = explained(inputs, 1, "layercam").maps, explained(inputs, gs.Against(1), "layercam").maps
    both = explained(inputs, 1, "hirescam").maps
    np.testing.assert_allclose(positive - negative, both, atol=1e-6 * np.abs(both).max())
    assert positive.min() >= 0
    assert negative.min() >= 0


def test_against_takes_whatever_is_a_target_and_undoes_itself() -> None:
    inputs = torch.randn(2, 3, 12, 10, dtype=torch.float64)
    top = explained(inputs, None).maps
    np.testing.assert_allclose(explained(inputs, gs.Against()).maps, -top, atol=1e-9)
    np.testing.assert_allclose(explained(inputs, gs.Against(gs.Against())).maps, top, atol=1e-9)
    np.testing.assert_allclose(
        explained(inputs, gs.Against([[1, 2], [3, 4]])).maps, -explained(inputs, [[1, 2], [3, 4]]).maps, atol=1e-9
    )

    def first(outputs: torch.Tensor) -> torch.Tensor:
        return outputs[:, 0]

    found = explained(inputs, gs.Against(first))
    np.testing.assert_allclose(found.maps, -explained(inputs, 0).maps, atol=1e-9)
    assert found.labels == (("against first",),) * 2


@pytest.mark.parametrize(
    ("target", "rather_than", "pairs"),
    [
        (0, 3, [(0, 3)]),
        (gs.Classes(0, 1), gs.Classes(3, 4), [(0, 3), (1, 4)]),
        (0, gs.Classes(3, 4), [(0, 3), (0, 4)]),
        (gs.Classes(3, 4), 0, [(3, 0), (4, 0)]),
    ],
)
def test_contrast_is_the_difference_of_maps_and_scores(target: object, rather_than: object, pairs: object) -> None:
    inputs = torch.randn(2, 3, 12, 10, dtype=torch.float64)
    found = explained(inputs, gs.Contrast(target, rather_than))
    each = explained(inputs, gs.Classes(*range(5)))
    maps = np.stack([each.maps[:, a] - each.maps[:, b] for a, b in pairs], axis=1)  # type: ignore[attr-defined]
    scores = np.stack([each.scores[:, a] - each.scores[:, b] for a, b in pairs], axis=1)  # type: ignore[attr-defined]
    np.testing.assert_allclose(found.maps, maps, atol=1e-6 * np.abs(maps).max())
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    assert found.labels[0] == tuple(f"class {a} rather than class {b}" for a, b in pairs)  # type: ignore[attr-defined]
    assert all(named.signed and named.index is None for named in found.targets[1])


def test_contrast_of_lists_is_settled_image_by_image_and_with_functions() -> None:
    inputs = torch.randn(2, 3, 12, 10, dtype=torch.float64)
    each = explained(inputs, gs.Classes(*range(5))).maps
    found = explained(inputs, gs.Contrast([1, 4], [2, 0])).maps
    np.testing.assert_allclose(found[0, 0], each[0, 1] - each[0, 2], atol=1e-7)
    np.testing.assert_allclose(found[1, 0], each[1, 4] - each[1, 0], atol=1e-7)
    beside = explained(inputs, gs.Contrast(lambda outputs: outputs[:, 2], gs.Classes(0, 3))).maps
    np.testing.assert_allclose(beside, each[:, [2, 2]] - each[:, [0, 3]], atol=1e-7)
    turned = explained(inputs, gs.Contrast(gs.Classes(0, 3), lambda outputs: outputs[:, 2])).maps
    np.testing.assert_allclose(turned, -beside, atol=1e-7)
    nested = explained(inputs, gs.Contrast(gs.Against(1), gs.Contrast(2, 3))).maps
    np.testing.assert_allclose(nested[:, 0], -each[:, 1] - each[:, 2] + each[:, 3], atol=1e-7)


def test_contrast_of_an_image_with_its_top_classes() -> None:
    found = resolve(gs.Contrast(gs.Top(1), gs.Top(3)), OutputContext(2, LOGITS, LABELS))
    assert [named.label for named in found.names[0]] == [
        "tiger cat rather than tiger cat",
        "tiger cat rather than bull mastiff",
        "tiger cat rather than crane (bird)",
    ]


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (gs.Contrast(gs.Classes(0, 1), gs.Classes(2, 3, 4)), InvalidArgument, "equally many.*Received: 2 and 3"),
        (gs.Contrast(0, 5), InvalidArgument, "between 0 and 4. Received: 5"),
        (gs.Contrast(0, "tabyb"), UnknownName, "no class 'tabyb'"),
        (gs.Against(9), InvalidArgument, "between 0 and 4. Received: 9"),
        (gs.Against([0]), InvalidArgument, "one entry for each of the 2"),
        (gs.Contrast, InvalidType, "`targets` must be"),
    ],
)
def test_sides_that_do_not_fit_are_said_in_one_line(targets: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        resolve(targets, OutputContext(2, LOGITS, LABELS))
    assert "\n" not in str(caught.value)


def test_parts_keep_their_factors_when_targets_are_repeated_for_more_rows() -> None:
    settled = resolve(gs.Contrast([1, 2], gs.Against([3, 0])), OutputContext(2, LOGITS, LABELS)).tiled(3)
    assert len(settled.names) == 6
    assert [[term.factor for term in column] for column in settled.columns] == [[1, 1]]
    assert [term.classes.tolist() for term in settled.columns[0]] == [[1, 2] * 3, [3, 0] * 3]
    assert settled.classes is None
    assert resolve(gs.Against(1), OutputContext(2, LOGITS, LABELS)).classes is None
    assert resolve([1, 2], OutputContext(2, LOGITS, LABELS)).classes.tolist() == [[1], [2]]


def test_a_class_may_be_asked_for_twice() -> None:
    inputs = torch.randn(2, 3, 12, 10, dtype=torch.float64)
    once, twice = explained(inputs, gs.Classes(2, 0)), explained(inputs, gs.Classes(2, 0, 2))
    np.testing.assert_array_equal(twice.maps, once.maps[:, [0, 1, 0]])
    np.testing.assert_array_equal(twice.scores, once.scores[:, [0, 1, 0]])
