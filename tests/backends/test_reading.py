"""What class scores are read from an output, whether labels fit them, and whether they are probabilities."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
from gradsight.backends.torch import TorchBackend
from gradsight.errors import InvalidArgument, ModelError

LABELS = ["no", "yes"]
Named = namedtuple("Named", ["features", "logits"])


@dataclasses.dataclass
class Held:
    vectors: torch.Tensor
    scores: torch.Tensor


class Net(nn.Module):
    """Channels last; ``finish`` makes the output of features (n, 8, h, w), vectors (n, 8) and scores."""

    def __init__(self, classes: int, finish: Callable[..., Any] = lambda features, vectors, scores: scores) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.head, self.finish = nn.Linear(8, classes), finish

    def forward(self, x: torch.Tensor) -> Any:
        features = self.body(x)
        vectors = features.mean((2, 3))
        return self.finish(features, vectors, self.head(vectors))


def net(classes: int, finish: Callable[..., Any] | None = None) -> Net:
    return (Net(classes) if finish is None else Net(classes, finish)).eval()


def images(n: int = 2) -> torch.Tensor:
    return torch.randn(n, 3, 12, 12)


# --- one score and two labels


@pytest.mark.parametrize(
    "finish",
    [
        None,
        lambda features, vectors, scores: scores[:, 0],
        lambda features, vectors, scores: scores[:, :, None, None],
        lambda features, vectors, scores: (vectors, scores),
        lambda features, vectors, scores: {"pooled": vectors, "score of yes": scores[:, 0]},
    ],
    ids=["(n, 1)", "(n,)", "(n, 1, 1, 1)", "beside an embedding", "in a dict"],
)
def test_one_score_is_the_second_labels_and_its_negation_the_firsts(finish: Any) -> None:
    model, batch = net(1, finish), images(4)
    with torch.no_grad():
        model.head.bias -= model.head(model.body(batch).mean((2, 3))).mean()
        logits = model.head(model.body(batch).mean((2, 3)))[:, 0]
    assert (logits > 0).any()
    assert (logits < 0).any()
    explain = gs.Explainer(model, labels=LABELS, layer="body")
    found = explain(batch)
    assert [row[0] for row in found.labels] == ["yes" if value > 0 else "no" for value in logits]
    np.testing.assert_allclose(found.scores[:, 0], logits.abs(), rtol=1e-5)
    both = explain(batch, targets=gs.Classes("no", "yes"))
    np.testing.assert_allclose(both.scores, torch.stack([-logits, logits], 1), rtol=1e-5)
    np.testing.assert_array_equal(both.maps[:, 0], -both.maps[:, 1])
    for prediction, value in zip(found.predictions, logits, strict=True):
        shares = {p.label: p.probability for p in prediction}
        assert shares == pytest.approx({"yes": float(value.sigmoid()), "no": float((-value).sigmoid())}, rel=1e-5)
    assert any("speaks for yes, and a low one for no" in note for note in found.notes)
    np.testing.assert_array_equal(explain(batch, targets=gs.Against("no")).maps, explain(batch, targets="yes").maps)
    np.testing.assert_allclose(
        explain(batch, targets=gs.Contrast("yes", "no")).maps, 2 * explain(batch, targets="yes").maps, rtol=1e-5
    )


@pytest.mark.parametrize("end", [nn.Sigmoid(), nn.Sequential(nn.Tanh(), nn.Hardsigmoid())], ids=["sigmoid", "hard"])
def test_one_probability_is_that_of_the_second_label_and_leaves_the_rest_to_the_first(end: nn.Module) -> None:
    model, batch = nn.Sequential(net(1), end).eval(), images(3)
    with torch.no_grad():
        p = model(batch)[:, 0]
    found = gs.Explainer(model, labels=LABELS, layer="0.body")(batch, targets=gs.Classes(0, 1))
    np.testing.assert_allclose(found.scores, torch.stack([1 - p, p], 1), rtol=1e-5)
    assert [{q.label: q.probability for q in row}["yes"] for row in found.predictions] == pytest.approx(p.tolist())
    np.testing.assert_allclose(found.maps[:, 0], -found.maps[:, 1], rtol=1e-5)
    assert any("probabilities (sigmoid)" in note for note in found.notes)


def test_a_logit_between_0_and_1_is_no_probability() -> None:
    for seed in range(8):
        torch.manual_seed(seed)
        model, batch = net(1), images(1)
        model.head.weight.data.mul_(0.01)
        model.head.bias.data.fill_(0.4)
        found = gs.Explainer(model, labels=LABELS, layer="body")(batch)
        logit = float(model(batch).detach())
        assert 0 < logit < 1
        assert found.labels == (("yes",),)
        assert found.predictions[0][0].probability == pytest.approx(1 / (1 + np.exp(-logit)))
        assert not any("probabilities" in note for note in found.notes)


def test_one_map_of_two_labels_is_a_segmentation_of_both() -> None:
    model, batch = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 1, 3, padding=1)).eval(), images()
    explain = gs.Explainer(model, labels=["lung", "nodule"], layer="1")
    one, other = (explain(batch, targets=gs.Pixels(name, box=(2, 2, 9, 9))) for name in ("lung", "nodule"))
    np.testing.assert_allclose(one.maps, -other.maps, rtol=1e-5)
    mean = gs.Explainer(model, layer="1")(batch, targets=gs.Pixels(0, box=(2, 2, 9, 9)))
    np.testing.assert_array_equal(other.maps, mean.maps)
    shares = nn.Sequential(*model, nn.Sigmoid()).eval()
    found = gs.Explainer(shares, labels=["lung", "nodule"], layer="1")(
        batch, targets=gs.Several(*(gs.Pixels(i) for i in (0, 1)))
    )
    np.testing.assert_allclose(found.scores.sum(1), 1, rtol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(found.scores[:, 1], shares(batch).mean((1, 2, 3)), rtol=1e-5)


def test_a_function_that_reads_one_score_is_of_two_labels_too() -> None:
    model, batch = net(4), images()
    read = lambda outputs: outputs[:, 2:3]  # noqa: E731
    found = gs.Explainer(model, labels=LABELS, scores=read, layer="body")(batch, targets=gs.Classes(0, 1))
    np.testing.assert_allclose(found.scores[:, 1], model(batch)[:, 2].detach(), rtol=1e-5)
    np.testing.assert_allclose(found.scores[:, 0], -found.scores[:, 1])
    assert sum(p.probability for p in found.predictions[0]) == pytest.approx(1)
    unscaled = gs.Explainer(model, labels=LABELS, scores=gs.Scores(read, ""), layer="body")(batch)
    assert unscaled.predictions == ()


# --- labels that do not fit


@pytest.mark.parametrize(
    ("model", "labels", "words"),
    [
        (net(6), ["a", "b"], "2 labels for 6 scores"),
        (net(3), list("abcde"), "5 labels for 3 scores.*'a', 'b', 'c', 'd' and 1 more. Give 3"),
        (net(1), list("abc"), "3 labels for 1 score."),
        (net(4, lambda f, v, s: (v, s)), list("abcde"), "5 labels for 8 scores"),
        (net(4, lambda f, v, s: {"logits": s, "other": v[:, :2]}), ["a", "b"], "2 labels for 4 scores"),
        (net(4, lambda f, v, s: (f, s)), ["a", "b"], "2 labels for 4 scores"),
        (net(4, lambda f, v, s: s[:, :, None]), ["a", "b"], "2 labels for 4 scores"),
    ],
)
@pytest.mark.parametrize("target", [None, 1, "a", gs.Top(2), gs.Contrast(0, 1)])
def test_labels_that_fit_no_scores_are_refused(model: nn.Module, labels: list[str], words: str, target: Any) -> None:
    with pytest.raises(InvalidArgument, match=words) as caught:
        gs.Explainer(model, labels=labels)(images(), targets=target)
    assert "\n" not in str(caught.value)
    assert "`scores=`" in str(caught.value)


def test_labels_that_fit_no_scores_are_refused_wherever_they_come_from() -> None:
    for explain in (
        gs.Explainer(gs.Model(net(6), labels=LABELS)),
        gs.Explainer(net(6), labels=LABELS, scores=lambda outputs: outputs[:, :3]),
        gs.Explainer(net(6), labels=dict(enumerate(LABELS))),
    ):
        for targets in (None, lambda outputs: outputs[:, 0]):
            with pytest.raises(InvalidArgument, match=r"2 labels for [63] scores"):
                explain(images(), targets=targets)
        with pytest.raises(InvalidArgument, match=r"2 labels for [63] scores"):
            explain.layers(images())
    segmenting = gs.Explainer(net(3, lambda f, v, s: f), labels=LABELS, layer="body")
    with pytest.raises(InvalidArgument, match="2 labels for 8 scores"):
        segmenting(images(), targets=gs.Pixels(1))


def test_what_scores_no_classes_may_have_any_labels() -> None:
    assert gs.Explainer(net(4, lambda f, v, s: (f, s)), labels=LABELS, layer="body")(
        images(), targets=lambda outputs: outputs[1][:, 3]
    ).maps.any()
    faces = net(4, lambda f, v, s: {"scores": f.flatten(2).mT[..., :1], "boxes": f.flatten(2).mT[..., 1:5]})
    boxes = gs.Explainer(faces, labels=["face"], layer="body")(images(), targets=gs.Box())
    assert boxes.labels == (("face",), ("face",))


def test_labels_of_detections_and_what_may_be_missing() -> None:
    found = net(4, lambda f, v, s: {"scores": f.flatten(2).mT[..., :3], "boxes": f.flatten(2).mT[..., 3:7]})
    with pytest.raises(InvalidArgument, match=r"2 labels for 3 scores.*Give 3, that of the background too, or"):
        gs.Explainer(found, labels=LABELS, layer="body")(images(), targets=gs.Box("yes"))
    assert gs.Explainer(found, labels=list("abc"), layer="body")(images(), targets=gs.Box("c")).labels[0] == ("c",)


# --- which of several outputs

TAKEN: dict[str, tuple[Any, Any]] = {
    "the one that the labels fit": (lambda f, v, s: (v, s), list("abcde")),
    "of nested ones too": (lambda f, v, s: {"a": [f, (v, {"b": s})]}, list("abcde")),
    "not what is called an embedding": (lambda f, v, s: {"embedding": v[:, :5], "other": s}, list("abcde")),
    "logits before a softmax": (lambda f, v, s: (s.softmax(1), s), None),
    "and after it": (lambda f, v, s: [s, s.softmax(1)], None),
    "logits before a softmax, with labels": (lambda f, v, s: (v, s.softmax(1), s), list("abcde")),
    "logits before a sigmoid, and others": (lambda f, v, s: (v, s.sigmoid(), s), None),
    "logits before their logarithm": (lambda f, v, s: {"scores": s.softmax(1), "raw": s}, None),
    "what is called logits": (lambda f, v, s: Named(v, s), None),
    "what is called scores": (lambda f, v, s: Held(v, s), None),
    "beside maps": (lambda f, v, s: (f, f.mean(1, keepdim=True), s), None),
    "beside one number and whole numbers": (lambda f, v, s: (s.sum(), s.argmax(1), s), None),
    "the same one twice": (lambda f, v, s: (s, s), None),
    "not what is called features": (lambda f, v, s: {"feature_vector": v, "diagnosis": s, "aux": v}, None),
}


@pytest.mark.parametrize("how", TAKEN)
def test_of_several_outputs_the_class_scores_are_taken(how: str) -> None:
    finish, labels = TAKEN[how]
    model, batch = net(5, finish), images()
    plain = Net(5).eval()
    plain.load_state_dict(model.state_dict())
    found = gs.Explainer(model, labels=labels, layer="body")(batch, targets=3)
    expected = gs.Explainer(plain, layer="body")(batch, targets=3)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_allclose(found.maps, expected.maps, atol=1e-6 * np.abs(expected.maps).max())
    assert [[p.probability for p in row] for row in found.predictions] == [
        [p.probability for p in row] for row in expected.predictions
    ]


@pytest.mark.parametrize(
    ("finish", "words"),
    [
        (lambda f, v, s: (v, s), r"outputs\[0\] \(\d, 8\), outputs\[1\] \(\d, 5\)"),
        (lambda f, v, s: {"species": s, "fur": {"a": v}}, r"outputs\['species'\] \(\d, 5\), outputs\['fur'\]\['a'\]"),
        (lambda f, v, s: namedtuple("Two", "a b")(s, s + 1), r"outputs\.a \(\d, 5\), outputs\.b \(\d, 5\)"),
    ],
)
def test_what_stays_open_is_told_with_what_settles_it(finish: Any, words: str) -> None:
    model, batch = net(5, finish), images()
    with pytest.raises(InvalidArgument, match=f"several outputs.*{words}.*`scores=`.*`labels=`.*`targets=`") as caught:
        gs.Explainer(model)(batch)
    assert "\n" not in str(caught.value)
    first = lambda outputs: outputs[0] if isinstance(outputs, tuple) else outputs["species"]  # noqa: E731
    assert gs.Explainer(model, scores=first, layer="body")(batch).maps.shape == (2, 1, 6, 6)
    by_hand = gs.Explainer(model, layer="body")(batch, targets=lambda outputs: first(outputs)[:, 1])
    assert by_hand.predictions == ()
    np.testing.assert_array_equal(
        by_hand.scores, gs.Explainer(model, scores=first, layer="body")(batch, targets=1).scores
    )


def test_what_is_called_out_is_not_passed_over_and_embeddings_are_no_classes() -> None:
    scores_in = TorchBackend(net(5)).scores_in
    features, vectors = torch.randn(2, 12, 4, 4), torch.randn(2, 12)
    assert scores_in({"out": features, "classes": vectors}) is None
    assert scores_in({"last_hidden_state": features.flatten(2), "pooler_output": vectors}) is None
    assert scores_in({"logits": vectors, "classes": torch.randn(2, 5)}) is vectors
    assert scores_in("nothing") is None
    with pytest.raises(ModelError, match=r"dict with embedding.*`scores=`"):
        gs.Explainer(net(5, lambda f, v, s: {"embedding": v}))(images())


# --- probabilities


class Normalised(nn.Module):
    """Of its features no more is left than their direction, so that no input makes its logits large."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.LayerNorm(8), nn.Linear(8, 2)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.constant_(self.head.bias, 0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.body(x).mean((2, 3))))


class Cosines(nn.Module):
    """Cosines with two directions, all numbers over 0."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.centres = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), nn.Parameter(torch.rand(2, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.body(x).mean((2, 3))) @ nn.functional.normalize(self.centres).T


class Zero(nn.Module):
    """A head that was not trained yet."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 3)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean((2, 3)))


@pytest.mark.parametrize("kind", [Normalised, Cosines, Zero])
def test_logits_that_happen_to_lie_between_0_and_1_are_no_probabilities(kind: type[nn.Module]) -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        model, batch = kind().eval(), images(3)
        with torch.no_grad():
            logits = model(batch)
        assert ((logits >= 0) & (logits <= 1)).all()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        found = gs.Explainer(model, layer="body")(batch, method="random")
        shares = logits.softmax(1).sort(descending=True).values
        np.testing.assert_allclose([[p.probability for p in row] for row in found.predictions], shares, rtol=1e-5)
        assert not any("probabilities" in note for note in found.notes)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


ENDS: dict[str, tuple[Any, str]] = {
    "sigmoid": (torch.sigmoid, "sigmoid"),
    "softmax": (lambda s: s.softmax(1), "softmax"),
    "by hand": (lambda s: 1 / (1 + (-s).exp()), "sigmoid"),
    "mean of two": (lambda s: (s.softmax(1) + (2 * s).softmax(1)) / 2, "softmax"),
    "in half precision": (lambda s: s.bfloat16().softmax(1), "softmax"),
    "product": (lambda s: s.sigmoid() * s[:, :1].sigmoid(), "sigmoid"),
    "sharp": (lambda s: (1e4 * s).softmax(1), "softmax"),
}


@pytest.mark.parametrize("how", ENDS)
def test_probabilities_are_the_models_own_figures_with_a_note(how: str) -> None:
    finish, name = ENDS[how]
    model, batch = net(4, lambda f, v, s: finish(s)), images(3)
    found = gs.Explainer(model, layer="body")(batch)
    with torch.no_grad():
        expected = model(batch).float().sort(descending=True).values
    np.testing.assert_allclose([[p.probability for p in row] for row in found.predictions], expected, rtol=1e-5)
    assert any(f"probabilities ({name})" in note and "saturate" in note for note in found.notes)


def test_the_figures_and_notes_of_an_image_do_not_depend_on_its_company() -> None:
    def finish(features: Any, vectors: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return (scores * torch.tensor([40.0, 1, 1])).softmax(1)

    for model in (net(3), net(3, finish), net(3, lambda f, v, s: s.sigmoid())):
        batch = torch.cat([images(3), 100 * images(1), torch.zeros(1, 3, 12, 12)])
        together = gs.Explainer(model, layer="body")(batch, targets=0)
        for i in range(len(batch)):
            alone = gs.Explainer(model, layer="body")(batch[i : i + 1], targets=0)
            assert alone.target_notes[0] == together.target_notes[i]
            one, other = (
                {p.label: p.probability for p in row} for row in (alone.predictions[0], together.predictions[i])
            )
            assert one == pytest.approx(other, rel=1e-5)
    saturated = [
        any(figure in " ".join(map(str, row[0])) for figure in ("0.99", "1.0000"))
        for row in gs.Explainer(net(3, finish), layer="body")(batch, targets=0).target_notes
    ]
    assert any(saturated)
    assert not all(saturated)


def test_an_image_that_is_not_finite_tells_nothing_about_the_others() -> None:
    model, batch = net(3, lambda f, v, s: s.sigmoid()), images(2)
    batch[0] = torch.nan
    found = gs.Explainer(model, layer="body")(batch, targets=1)
    with torch.no_grad():
        assert found.predictions[1][0].probability == pytest.approx(float(model(batch)[1].max()))


def test_a_change_of_the_model_changes_what_its_scores_are() -> None:
    model, batch = net(3), images()
    explain = gs.Explainer(model, layer="body")
    assert not any("probabilities" in note for note in explain(batch).notes)
    model.head = nn.Sequential(model.head, nn.Sigmoid())
    found = explain(batch)
    assert any("probabilities (sigmoid)" in note for note in found.notes)
    assert found.predictions[0][0].probability == pytest.approx(float(model(batch)[0].max().detach()))


def test_two_outputs_that_the_labels_fit_are_told_and_not_guessed() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
            self.colour, self.shape = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> Any:
            pooled = self.features(x).mean((2, 3))
            return {"colour": self.colour(pooled), "shape": self.shape(pooled)}

    explainer = gs.Explainer(Two().eval(), labels=["x", "y", "z"])
    with pytest.raises(InvalidArgument, match=r"several outputs.*outputs\['colour'\] \(1, 3\), outputs\['shape'\]"):
        explainer(torch.rand(1, 3, 8, 8), targets="y")


def test_scores_in_the_unit_interval_whose_weights_are_buffers_are_no_probabilities() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
            self.register_buffer("weight", 0.01 * torch.rand(3, 4))
            self.register_buffer("bias", torch.tensor([0.2, 0.3, 0.4]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(self.features(x).mean((2, 3)), self.weight, self.bias)

    model, x = Frozen().eval(), torch.rand(1, 3, 8, 8)
    found = gs.Explainer(model)(x)
    best = found.predictions[0][0]
    assert best.probability == pytest.approx(float(model(x).detach().softmax(1)[0, best.index]), rel=1e-5)
    assert not any("probabilities" in note for note in found.notes)
