"""Targets that are no rows of class scores: similarity, words, and every method on each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import gradsight as gs
import toys
from asking import ANYWHERE
from gradsight.errors import GradsightError, ImageError, InvalidArgument, InvalidType, ModelError, UnknownName

WORDS = ["a", "red", "square", "circle"]


class Everything(nn.Module):
    """One layer with positions, and after it whatever a target may read."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.ReLU())
        self.dense = nn.Sequential(nn.Conv2d(6, 4, 3, padding=1), nn.Tanh())

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        dense = self.dense(self.features(x))
        flat = dense.flatten(2).mT
        edges = torch.arange(4) * 4.0
        top, left = torch.meshgrid(edges, edges, indexing="ij")
        boxes = torch.stack([left, top, left + 4, top + 4], -1).flatten(0, 1).expand(len(x), -1, -1)
        return {"positions": dense, "scores": flat, "boxes": boxes, "embedding": dense.mean((2, 3))}


def everything() -> nn.Module:
    torch.manual_seed(4)
    return Everything().eval()


OTHER = np.array([1.0, -2.0, 0.5, 3.0])
ALIKE: dict[str, tuple[Any, Any]] = {
    "box": (gs.Box(2, (4, 8, 8, 12)), lambda o: o["scores"][:, 6, 2]),
    "token": (gs.Token("red", at=5), lambda o: o["scores"][:, 5, 1]),
    "last word": (gs.Token("square"), lambda o: o["scores"][:, -1, 2]),
    "similarity": (
        gs.Similarity(embedding=OTHER),
        lambda o: torch.cosine_similarity(o["embedding"], torch.tensor(OTHER, dtype=torch.float32)[None]),
    ),
    "pixels": (gs.Pixels("circle", box=(0, 4, 8, 8)), lambda o: o["positions"][:, 3, :2, 1].mean(1)),
    "sum": (gs.Sum(gs.Token(0, at=1), gs.Token(1, at=2)), lambda o: o["scores"][:, 1, 0] + o["scores"][:, 2, 1]),
}


def explainer(**options: Any) -> gs.Explainer:
    return gs.Explainer(everything(), labels=WORDS, layer="features.1", batch_size=64, **options)


def batch(n: int = 2) -> torch.Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(1))


SMALL = {
    "rise": "rise(masks=8)",
    "smoothgrad": "smoothgrad(samples=2)",
    "integratedgradients": "integratedgradients(steps=4)",
}


def outcome(explain: gs.Explainer, method: str, targets: Any) -> Any:
    """An explanation, or the words of the error."""
    torch.manual_seed(0)
    try:
        return explain(batch(), targets=targets, method=method)
    except GradsightError as error:
        return str(error)


@pytest.mark.parametrize("kind", ALIKE)
def test_every_method_gives_the_map_of_the_same_score_as_a_function(kind: str) -> None:
    target, function = ALIKE[kind]
    explain = explainer()
    done = 0
    for name in ANYWHERE:
        method = SMALL.get(name, name)
        expected, found = (outcome(explain, method, wanted) for wanted in (function, target))
        if isinstance(expected, str):  # a method that needs classes says so
            assert found == expected
            continue
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5, atol=1e-7)
        tolerance = 1e-4 * np.abs(expected.maps).max()
        np.testing.assert_allclose(found.maps, expected.maps, atol=tolerance, err_msg=f"{name} {kind}")
        done += bool(expected.maps.any())
    assert done >= len(ANYWHERE) - 3


def test_a_word_that_is_not_named_is_the_one_that_the_model_would_write() -> None:
    found = explainer()(batch(3), targets=gs.Several(gs.Token(at=4), gs.Token(at=-1)))
    scores = everything()(batch(3))["scores"].detach().numpy()[:, [4, -1]]
    assert found.labels == tuple(tuple(WORDS[i] for i in row) for row in scores.argmax(-1))
    np.testing.assert_allclose(found.scores, scores.max(-1), rtol=1e-5)
    different = [i for i in range(16) if len(set(everything()(batch(3))["scores"][:, i].argmax(-1).tolist())) > 1]
    place = gs.Token(at=different[0])  # where the images have different words
    together = explainer()(batch(3), targets=place, method="occlusion").maps
    for i in range(3):
        alone = explainer()(batch(3)[i : i + 1], targets=place, method="occlusion").maps
        np.testing.assert_allclose(together[i], alone[0], atol=1e-4 * np.abs(alone).max())


def embedder() -> tuple[nn.Module, gs.Preprocess]:
    # In float64: near a cosine of 1 its gradient is the small difference of two vectors.
    model = toys.convolutional().double()
    return model, gs.Preprocess((16, 16), mean=(0.5,) * 3, std=(0.5,) * 3)


def test_similarity_to_a_photo_is_the_cosine_of_the_embeddings_and_each_photo_has_a_map(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    photos = [Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)) for _ in range(2)]
    paths = [tmp_path / name for name in ("one.png", "other.png")]
    for photo, path in zip(photos, paths, strict=True):
        photo.save(path)
    model, preprocess = embedder()
    explain = gs.Explainer(model, preprocess=preprocess, layer="4")
    both = explain(photos, targets=[gs.Similarity(image=paths[1]), gs.Similarity(image=photos[0])])
    assert both.labels == (("like other.png",), ("like another image",))
    inputs = torch.from_numpy(np.stack([preprocess(photo) for photo in photos])).double()
    embeddings = model(inputs).detach()
    cosine = float(torch.cosine_similarity(embeddings[0], embeddings[1], dim=0))
    np.testing.assert_allclose(both.scores, cosine, rtol=1e-5)
    for i in range(2):  # of each, with the other's embedding held still
        single = explain([photos[i]], targets=lambda o, i=i: torch.cosine_similarity(o, embeddings[1 - i : 2 - i]))
        np.testing.assert_allclose(both.maps[i, 0], single.maps[0, 0], atol=1e-6 * np.abs(single.maps).max())
    arrays = gs.Explainer(model, layer="4")(inputs[:1], targets=gs.Similarity(image=inputs[1:]))
    np.testing.assert_allclose(arrays.maps[0], both.maps[0], atol=1e-6 * np.abs(both.maps).max())


def test_similarity_to_a_text_and_by_functions() -> None:
    model, _ = embedder()

    def embed_text(text: str) -> np.ndarray[Any, Any]:
        return np.array([[len(text), 1.0, 0.0, 0.0]])

    explain = gs.Explainer(model, layer="4", embedding=lambda o: o[:, :4], embed_text=embed_text)
    inputs = torch.rand(2, 3, 16, 16).double()
    found = explain(inputs, targets=gs.Similarity(text="ab"))
    other = torch.tensor([[2.0, 1.0, 0.0, 0.0]]).double()
    np.testing.assert_allclose(
        found.scores[:, 0], torch.cosine_similarity(model(inputs)[:, :4].detach(), other), rtol=1e-5
    )
    assert found.labels[0] == ("like 'ab'",)


def test_a_target_of_its_own_for_each_image_is_what_it_is_alone() -> None:
    model, inputs = toys.convolutional().double(), torch.rand(3, 3, 16, 16).double()
    explain = gs.Explainer(model, layer="4", labels=["v", "w", "x", "y", "z"])
    wanted = [gs.Against("x"), gs.Sum(0, 1), lambda outputs: outputs[:, 4]]
    found = explain(inputs, targets=wanted)
    for i, target in enumerate(wanted):
        alone = explain(inputs[i : i + 1], targets=target)
        np.testing.assert_allclose(found.maps[i], alone.maps[0], atol=1e-6 * np.abs(alone.maps).max())
        np.testing.assert_allclose(found.scores[i], alone.scores[0], rtol=1e-5)
        assert found.targets[i] == alone.targets[0]
    mixed = explain(inputs, targets=["w", gs.Contrast("w", "x"), [2]])
    assert mixed.labels == (("w",), ("w rather than x",), ("x",))
    assert [row[0].signed for row in mixed.targets] == [False, True, False]
    assert explain(inputs, targets=wanted, method="smooth(gradcam)").maps.any(axis=(1, 2, 3)).all()
    for method in ("ablationcam", "occlusion"):  # which run more rows than there are images
        tried = explain(inputs, targets=wanted, method=method)
        for i, target in enumerate(wanted):
            alone = explain(inputs[i : i + 1], targets=target, method=method).maps[0]
            np.testing.assert_allclose(tried.maps[i], alone, atol=1e-4 * np.abs(alone).max(), err_msg=method)


def test_a_sum_is_the_sum_of_maps_and_each_class_is_differentiated_once() -> None:
    model, inputs = toys.convolutional().double(), torch.rand(2, 3, 16, 16).double()
    explain = gs.Explainer(model, layer="4")
    each = explain(inputs, targets=gs.Classes(0, 1, 2)).maps
    found = explain(inputs, targets=gs.Several(gs.Sum(0, gs.Classes(1, 2)), gs.Sum(2, 2)))
    wanted = np.stack([each[:, 0] + each[:, 1], each[:, 0] + each[:, 2], 2 * each[:, 2]], axis=1)
    np.testing.assert_allclose(found.maps, wanted, atol=1e-6 * np.abs(wanted).max())
    assert found.labels[0] == ("class 0 + class 1", "class 0 + class 2", "class 2 + class 2")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (gs.Sum, InvalidArgument, "Sum needs at least one target"),
        (gs.Several, InvalidArgument, "Several needs at least one target"),
        (gs.Similarity, InvalidArgument, "one of image, text and embedding. Received: nothing"),
        (lambda: gs.Similarity(image="a", text="b"), InvalidArgument, "Received: image and text"),
        (lambda: gs.Similarity(text=3), InvalidType, "must be a text"),
        (lambda: gs.Token("a", at="end"), InvalidArgument, "whole number"),
        (lambda: explained(gs.Token("a", at=16)), InvalidArgument, "-16 to 15.*Received: 16"),
        (lambda: explained(gs.Token("dog")), UnknownName, "no class 'dog'"),
        (lambda: explained(gs.Similarity(embedding=[1.0, 2.0])), InvalidArgument, "one embedding of 4 numbers"),
        (lambda: explained(gs.Similarity(embedding=[0.0] * 4)), InvalidArgument, "finite and not zero"),
        (lambda: explained(gs.Similarity(text="a cat")), ModelError, "reads texts"),
        (lambda: explained(gs.Similarity(image="photo.jpg")), ImageError, "There is no file 'photo.jpg'"),
        (lambda: explained("red"), ModelError, "one row of class scores.*dict with positions"),
        (lambda: classifier(gs.Token("red")), ModelError, r"scores of words.*a tensor of shape \(2, 5\)"),
        (lambda: classifier(gs.Sum(gs.Classes(0, 1), gs.Top(3))), InvalidArgument, "targets of Sum.*2 and 3"),
        (lambda: classifier([1, gs.Top(2)]), InvalidArgument, "equally many classes or targets.*Received: 1, 2"),
        (lambda: classifier([1, 1.5]), InvalidType, "entry of `targets`.*1.5"),
        (lambda: gs.Explainer(toys.convolutional(), embedding=3), InvalidType, "`embedding` must be a function"),
        (lambda: gs.Explainer(toys.convolutional(), embed_text=3), InvalidType, "`embed_text` must be a function"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def explained(targets: Any) -> Any:
    return explainer()(batch(), targets=targets)


def classifier(targets: Any) -> Any:
    return gs.Explainer(toys.convolutional(), layer="4")(torch.rand(2, 3, 16, 16), targets=targets)
