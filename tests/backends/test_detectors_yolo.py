"""Detectors that give a table of predictions: what is what in it is told by values. YOLO and its kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import gradsight as gs
from gradsight.errors import InvalidArgument, ModelError
from tolerances import rounding

pytestmark = pytest.mark.pytorch

CLASSES = 5
NAMES = {0: "ant", 1: "bee", 2: "cat", 3: "dog", 4: "eel"}
IMAGES = torch.rand(3, 3, 48, 64, generator=torch.Generator().manual_seed(2))


class Detector(nn.Module):
    """Two scales, of each cell a box and the logits of classes; ``table`` makes of them what a model gives.

    As YOLO's head does, it keeps where its cells are, for as long as its input has the same size.
    """

    def __init__(self, table: Callable[..., Any], heads: int = 1) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Tanh())
        self.coarser = nn.Sequential(nn.Conv2d(8, 8, 2, 2), nn.Tanh())
        self.boxes = nn.ModuleList(nn.Conv2d(8, 4, 1) for _ in range(2 * heads))
        self.classes = nn.ModuleList(nn.Conv2d(8, CLASSES, 1) for _ in range(2 * heads))
        self.table, self.heads, self.shape, self.cells = table, heads, None, torch.empty(0)
        self.names = NAMES

    def raw(self, x: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        feats = [self.features(x)]
        feats.append(self.coarser(feats[0]))
        if self.shape != x.shape:
            self.shape, self.cells = x.shape, torch.cat([cells_of(*f.shape[2:], 4 * 2**i) for i, f in enumerate(feats)])
        found = []
        for head in range(self.heads):
            ways = ((self.boxes[2 * head + i], self.classes[2 * head + i]) for i in range(2))
            pairs = [(box(f).flatten(2), classes(f).flatten(2)) for f, (box, classes) in zip(feats, ways, strict=True)]
            boxes, scores = (torch.cat(parts, -1) for parts in zip(*pairs, strict=True))
            found.append({"boxes": boxes, "scores": scores, "feats": feats})
        return found

    def corners(self, raw: dict[str, torch.Tensor]) -> torch.Tensor:
        sides = raw["boxes"].mT.sigmoid() * 2 * self.cells[:, 2:3]
        return torch.cat([self.cells[:, :2] - sides[..., :2], self.cells[:, :2] + sides[..., 2:]], -1)

    def forward(self, x: torch.Tensor) -> Any:
        raw = self.raw(x)
        return self.table(self, raw, self.corners(raw[-1]), raw[-1]["scores"])


def cells_of(rows: int, columns: int, stride: int) -> torch.Tensor:
    down, across = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
    return torch.stack([across, down, torch.ones_like(down)], -1).flatten(0, 1) * stride


def centred(corners: torch.Tensor) -> torch.Tensor:
    return torch.cat([(corners[..., :2] + corners[..., 2:]) / 2, corners[..., 2:] - corners[..., :2]], -1)


def best_of(boxes: torch.Tensor, scores: torch.Tensor, k: int, sigmoid: bool = True) -> torch.Tensor:
    """The k best of all pairs of a prediction and a class, as a head without suppression gives them."""
    values, index = (scores.sigmoid() if sigmoid else scores).flatten(1).topk(k)  # of (n, classes, q)
    which, row = index // scores.shape[2], index % scores.shape[2]
    return torch.cat([boxes.gather(1, row[..., None].expand(-1, -1, 4)), values[..., None], which[..., None]], -1)


SIZE = torch.tensor([64.0, 48.0, 64.0, 48.0])
MASKS = torch.ones(1, 3, 12, 16)
TABLES: dict[str, Callable[..., Any]] = {
    "centred": lambda m, raw, b, s: (torch.cat([centred(b).mT, s.sigmoid()], 1), raw[-1]),
    "corners": lambda m, raw, b, s: (torch.cat([b.mT, s.sigmoid()], 1), raw[-1]),
    "rows": lambda m, raw, b, s: {"table": torch.cat([centred(b), s.mT.sigmoid()], 2), "raw": s.mT},
    "softmax": lambda m, raw, b, s: (torch.cat([centred(b).mT, s.softmax(1)], 1), s),
    "shares": lambda m, raw, b, s: (torch.cat([centred(b / SIZE), s.mT.sigmoid()], 2), s),
    "masks": lambda m, raw, b, s: (
        (torch.cat([centred(b).mT, s.sigmoid(), s[:, :3] - 1], 1), MASKS.expand(len(s), -1, -1, -1)),
        raw[-1],
    ),
    "two heads": lambda m, raw, b, s: (
        torch.cat([centred(b).mT, s.sigmoid()], 1),
        {"many": raw[0], "one": raw[-1]},
    ),
    "chosen": lambda m, raw, b, s: (best_of(b, s, 40), {"one": raw[-1], "many": raw[0]}),
    "chosen, with keypoints": lambda m, raw, b, s: (torch.cat([best_of(b, s, 40), b[:, :40] * 3], -1), raw[-1]),
    "chosen, in shares, of stages": lambda m, raw, b, s: (
        best_of(centred(b / SIZE), s, 300),
        (raw[-1]["boxes"].mT[None], s.mT[None], None),
    ),
}


def detector(kind: str) -> Detector:
    return Detector(TABLES[kind], heads=2 if "two" in kind or kind == "chosen" else 1).eval()


def judged(model: Detector, image: torch.Tensor, q: int, which: int) -> tuple[float, np.ndarray[Any, Any]]:
    """The logit of a class in a prediction, and Grad-CAM's map of it, from PyTorch alone."""
    held: list[torch.Tensor] = []
    handle = model.features.register_forward_hook(lambda *a: held.append(a[2]))
    score = model.raw(image[None])[-1]["scores"][0, which, q]
    handle.remove()
    weights = torch.autograd.grad(score, held[0])[0].mean((2, 3))
    return float(score.detach()), (weights[0, :, None, None] * held[0][0].detach()).sum(0).numpy()


def check(model: Detector, explanation: gs.Explanation, i: int, q: int, which: int) -> None:
    score, expected = judged(model, IMAGES[i], q, which)
    assert explanation.scores[i, 0] == pytest.approx(score, rel=1e-4, abs=1e-5)
    assert explanation.targets[i][0].index == which
    tolerance = rounding(terms=64, layers=4) * np.abs(expected).max()
    np.testing.assert_allclose(explanation.maps[i, 0], expected, atol=tolerance)


@pytest.mark.parametrize("kind", TABLES)
def test_the_best_detection_is_explained_by_its_logit_with_its_box(kind: str) -> None:
    model = detector(kind)
    explainer = gs.Explainer(model, layer="features")
    with torch.no_grad():
        raw = model.raw(IMAGES)[-1]
        scores, corners = raw["scores"], model.corners(raw)
    explanation = explainer(IMAGES)
    for i in range(len(IMAGES)):
        which, q = divmod(int(scores[i].argmax()), scores.shape[2])
        check(model, explanation, i, q, which)
        left, top, right, bottom = corners[i, q].tolist()
        assert explanation.targets[i][0].place == pytest.approx((top, left, bottom, right), abs=1e-3)
        assert explanation.labels[i] == (NAMES[which],)
    np.testing.assert_array_equal(explainer(IMAGES, targets=gs.Box()).maps, explanation.maps)
    of_classes = explainer(IMAGES, targets=["bee", 3, gs.Box("cat")])
    for i, which in enumerate((1, 3, 2)):
        check(model, of_classes, i, int(scores[i, which].argmax()), which)


@pytest.mark.parametrize("kind", TABLES)
def test_the_prediction_in_a_box_is_found_in_pixels(kind: str) -> None:
    model = detector(kind)
    with torch.no_grad():
        raw = model.raw(IMAGES)[-1]
        corners = model.corners(raw)
    order = raw["scores"].flatten(1).argsort(descending=True)[:, 5] % corners.shape[1]
    wanted = []
    for i, q in enumerate(order.tolist()):
        left, top, right, bottom = corners[i, q].tolist()
        wanted.append(gs.Box("dog", (top, left, bottom, right)))
    explanation = gs.Explainer(model, layer="features")(IMAGES, targets=wanted)
    for i, q in enumerate(order.tolist()):
        check(model, explanation, i, q, 3)
        assert "overlap" not in explanation.labels[i][0]


def test_the_best_classes_are_those_of_the_best_detections() -> None:
    model = detector("centred")
    explanation = gs.Explainer(model, layer="features")(IMAGES, targets=gs.Top(3))
    best = model.raw(IMAGES)[-1]["scores"].amax(2).detach()
    np.testing.assert_allclose(explanation.scores, best.topk(3).values, rtol=1e-5)
    assert [[t.index for t in row] for row in explanation.targets] == best.topk(3).indices.tolist()
    assert all(t.place for row in explanation.targets for t in row)
    with pytest.raises(InvalidArgument, match="Top\\(6\\) asks for more"):
        gs.Explainer(model, layer="features")(IMAGES, targets=gs.Top(6))


def test_a_class_that_the_head_did_not_choose_has_its_best_score_and_no_box() -> None:
    model = Detector(lambda m, raw, b, s: (best_of(b, s, 1), raw[-1])).eval()
    best = model.raw(IMAGES)[-1]["scores"].detach().max(2)
    found = gs.Explainer(model, layer="features")(IMAGES, targets=gs.Top(CLASSES))
    np.testing.assert_allclose(found.scores, best.values.sort(descending=True).values, rtol=1e-5)
    for row, where in zip(found.targets, best.indices.tolist(), strict=True):
        told = [bool(target.place) for target in row]
        assert told == [where[target.index] == where[row[0].index] for target in row]
        assert not all(told)


def test_of_two_heads_the_one_counts_that_the_table_was_made_of_whatever_was_before() -> None:
    model = detector("two heads")
    explainer = gs.Explainer(model, layer="features")
    with torch.no_grad():
        for one, other in ((0, 2), (1, 3)):  # as where training starts: they are the same
            model.classes[other].load_state_dict(model.classes[one].state_dict())
    same = model.raw(IMAGES)
    assert explainer(IMAGES).scores[0, 0] == pytest.approx(float(same[0]["scores"][0].detach().max()), rel=1e-5)
    with torch.no_grad():
        model.classes[2].bias += torch.linspace(-2, 2, CLASSES)
    expected = model.raw(IMAGES)[-1]["scores"].detach().flatten(1).max(1).values
    np.testing.assert_allclose(explainer(IMAGES).scores[:, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("method", ["scorecam", "ablationcam", "layercam", "shapleycam", "gradcampp"])
@pytest.mark.parametrize("kind", ["centred", "chosen"])
def test_methods_of_further_passes_and_derivatives_give_the_maps_of_the_same_score_as_a_function(
    method: str, kind: str
) -> None:
    def best(outputs: Any) -> torch.Tensor:
        return (outputs[1] if kind == "centred" else outputs[1]["one"])["scores"][:, 2].amax(1)

    explainer = gs.Explainer(detector(kind), layer="features", method=method)
    maps, expected = (explainer(IMAGES, targets=target).maps for target in ("cat", best))
    np.testing.assert_allclose(maps, expected, atol=1e-5 * np.abs(expected).max())


def test_what_the_head_keeps_is_as_it_was() -> None:
    model = detector("centred")
    model(IMAGES[:1, :, :32, :32])
    shape, cells, values = model.shape, model.cells, model.cells.clone()
    gs.Explainer(model)(IMAGES)
    assert model.shape is shape
    assert model.cells is cells
    assert torch.equal(cells, values)


class Given(nn.Module):
    """A network whose output is made of the features by ``make``."""

    def __init__(self, make: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features, self.make = nn.Conv2d(3, 8, 8, 8), make

    def forward(self, x: torch.Tensor) -> Any:
        return self.make(self.features(x))


def test_a_table_of_chosen_detections_alone_is_read_and_a_class_that_it_lacks_is_told() -> None:
    def chosen(features: torch.Tensor) -> torch.Tensor:
        corners = torch.tensor([[2.0, 4, 20, 30], [30, 8, 60, 40]]).expand(len(features), 2, 4)
        scores = features.flatten(2).mean(2)[:, :2].sigmoid().sort(descending=True).values
        return torch.cat([corners, scores[..., None], torch.tensor([3.0, 1.0]).expand(len(features), 2)[..., None]], -1)

    model = Given(chosen).eval()
    explainer = gs.Explainer(model, labels=list(NAMES.values()), layer="features")
    best = explainer(IMAGES)
    assert best.labels[0] == ("dog",)
    assert best.targets[0][0].place == pytest.approx((4, 2, 30, 20))
    np.testing.assert_allclose(best.scores[:, 0], model(IMAGES)[:, 0, 4].detach(), rtol=1e-5)
    there = explainer(IMAGES, targets=gs.Box("bee", (8, 30, 40, 60)))
    np.testing.assert_allclose(there.scores[:, 0], model(IMAGES)[:, 1, 4].detach(), rtol=1e-5)
    for target in (gs.Box("cat"), "cat"):
        with pytest.raises(InvalidArgument, match="predicts no cat in image 0"):
            explainer(IMAGES, targets=target)
    with pytest.raises(InvalidArgument, match="overlap one of the model's predictions of bee"):
        explainer(IMAGES, targets=gs.Box("bee", (4, 2, 30, 20)))  # there is a dog


def test_an_exported_head_with_masks_is_read_where_the_labels_are_known() -> None:
    def made(features: torch.Tensor) -> Any:
        values = features.flatten(2)
        boxes = torch.cat([values[:, :2] * 4 + 24, values[:, :2].exp() * 4], 1)
        return torch.cat([boxes, values[:, :CLASSES].sigmoid(), values[:, :3]], 1), features[:, :3]

    model = Given(made).eval()
    explanation = gs.Explainer(model, labels=list(NAMES.values()), layer="features")(IMAGES)
    table = model(IMAGES)[0].detach()
    np.testing.assert_allclose(explanation.scores[:, 0], table[:, 4:9].flatten(1).max(1).values, rtol=1e-5)
    with pytest.raises(ModelError, match="one row of class scores"):
        gs.Explainer(model, layer="features")(IMAGES)


@pytest.mark.parametrize("classes", [CLASSES, CLASSES + 1])
def test_a_class_for_nothing_is_seen_where_most_queries_are_for_it(classes: int) -> None:
    def queries(features: torch.Tensor) -> dict[str, torch.Tensor]:
        rows = features.flatten(2).mT
        bias = torch.zeros(classes)
        bias[-1] = 5.0 * (classes > CLASSES)
        return {"logits": rows[..., :classes] + bias, "pred_boxes": rows[..., -4:].sigmoid()}

    model = Given(queries).eval()
    best = model(IMAGES)["logits"][..., :CLASSES].detach().flatten(1).max(1).values
    np.testing.assert_allclose(gs.Explainer(model, layer="features")(IMAGES).scores[:, 0], best, rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda f: f.flatten(2).mT,  # words
        lambda f: (f.flatten(2), f.flatten(2).mT.relu()),
        lambda f: torch.cat([f.flatten(2).mT[..., :4], f.flatten(2).mT[..., :2].sigmoid()], -1),
    ],
)
def test_other_outputs_are_no_detections(make: Callable[[torch.Tensor], Any]) -> None:
    with pytest.raises(ModelError, match="scores and boxes of detections"):
        gs.Explainer(Given(make), layer="features")(IMAGES, targets=gs.Box())


def test_an_object_around_a_module_is_opened_and_names_are_labels() -> None:
    class Wrapper:
        def __init__(self, model: nn.Module) -> None:
            self.model, self.names, self.task = model, model.names, "detect"

    model = detector("centred")
    explainer = gs.Explainer(Wrapper(model), layer="features")
    assert explainer.labels == tuple(NAMES.values())
    np.testing.assert_array_equal(explainer(IMAGES).maps, gs.Explainer(model, layer="features")(IMAGES).maps)
    assert gs.Explainer(model, labels=list("abcde")).labels == tuple("abcde")
    for other in (("pixel_values", "ids"), {"a": "b"}, {0: 1.5}):  # a module may call something else so
        model.names = other
        assert gs.Explainer(model).labels is None


# What follows runs ultralytics itself.

YOLOS = ["yolov8n", "yolo26n:e", "yolo11n-seg", "yolov8n-pose"]
MORE = [
    "yolo11n",
    "yolo12n",
    "yolo26n",
    "yolov10n:e",
    "yolov8n-obb",
    "yolo26n-seg:e",
    "yolo26n-pose:e",
    "yolo26n-obb:e",
]


def yolo(kind: str) -> Any:
    """Of random weights, whose scores differ; ``:e`` asks for the head that needs no suppression."""
    ultralytics = pytest.importorskip("ultralytics")
    name, _, end = kind.partition(":")
    torch.manual_seed(0)
    found = ultralytics.YOLO(f"{name}.yaml")
    with torch.no_grad():
        for key, parameter in found.model.named_parameters():
            if parameter.ndim > 1 and ".dfl." not in key:
                parameter.normal_(0, (2 / parameter[0].numel()) ** 0.5)
    if end:
        found.model.model[-1].end2end = True
    found.model.eval()
    return found


def logits(outputs: Any, end: bool) -> torch.Tensor:
    raw = outputs[1]
    return (raw if "scores" in raw else raw["one2one" if end else "one2many"])["scores"]


@pytest.mark.parametrize("kind", [*YOLOS, *(pytest.param(kind, marks=pytest.mark.slow) for kind in MORE)])
def test_yolo_is_explained_by_the_logit_of_its_best_detection(kind: str) -> None:
    found = yolo(kind)
    model, batch = found.model, torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    model.names = {i: f"thing {i}" for i in range(len(model.names))}
    head = model.model[-1]
    model(batch[:, :, :32])  # which the head keeps the cells of
    kept = dict(vars(head))
    values = [x.clone() for x in kept.values() if isinstance(x, torch.Tensor)]
    explanation = gs.Explainer(found, layer="model.4")(batch)
    assert vars(head).keys() == kept.keys()
    assert all(vars(head)[name] is value for name, value in kept.items())
    assert all(map(torch.equal, values, (x for x in kept.values() if isinstance(x, torch.Tensor))))
    held: list[torch.Tensor] = []
    handle = model.model[4].register_forward_hook(lambda *a: held.append(a[2]))
    scores = logits(model(batch), kind.endswith(":e"))
    handle.remove()
    best = scores.flatten(1).max(1)
    np.testing.assert_allclose(explanation.scores[:, 0], best.values.detach(), rtol=1e-4)
    expected = [f"thing {int(i) // scores.shape[2]}" for i in best.indices]
    assert [row[0] for row in explanation.labels] == expected
    (gradient,) = torch.autograd.grad(best.values.sum(), held[0])
    maps = (gradient.mean((2, 3), keepdim=True) * held[0]).sum(1).detach().numpy()
    np.testing.assert_allclose(
        explanation.maps[:, 0], maps, atol=rounding(terms=9 * 256, layers=40) * np.abs(maps).max()
    )


def test_yolo_finds_a_layer_and_explains_its_classifier_by_logits() -> None:
    batch = torch.rand(1, 3, 64, 64)
    assert gs.Explainer(yolo("yolov8n").model)(batch).maps.any()
    found = yolo("yolov8n-cls")
    _, expected = found.model(batch)
    assert gs.Explainer(found)(batch).scores[0, 0] == pytest.approx(float(expected.detach().max()), rel=1e-4)
    assert gs.Explainer(found, targets=7)(batch).scores[0, 0] == pytest.approx(float(expected[0, 7].detach()), rel=1e-4)


@pytest.mark.parametrize("inference", [False, True])
def test_yolo_that_was_fused_after_the_explainer_was_made_gives_the_same_map(inference: bool) -> None:
    found = yolo("yolov8n")
    batch = torch.rand(1, 3, 64, 64)
    explainer = gs.Explainer(found, layer="model.4")
    before = explainer(batch)
    with torch.inference_mode(inference):
        found.model.fuse(verbose=False)
        found.model(batch)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in found.model.modules())
    after = explainer(batch)
    np.testing.assert_allclose(after.scores, before.scores, rtol=1e-3)
    np.testing.assert_allclose(after.maps, before.maps, atol=1e-2 * np.abs(before.maps).max())


def test_photos_are_made_as_yolo_makes_them() -> None:
    pytest.importorskip("ultralytics")
    from ultralytics.data.augment import LetterBox

    found = yolo("yolov8n")
    found.overrides["imgsz"] = [96, 128]
    preprocess = gs.Explainer(found).preprocess
    for size in ((40, 41), (97, 128), (33, 75), (200, 131)):
        photo = Image.new("RGB", size[::-1], (250, 130, 20))
        pixels, _ = preprocess.place(photo)
        expected = LetterBox((96, 128))(image=np.asarray(photo)).transpose(2, 0, 1)
        np.testing.assert_allclose(pixels * 255, expected, atol=1e-3)
    explanation = gs.Explainer(found)(Image.new("RGB", (50, 40), (250, 130, 20)))
    assert explanation.input_size == (96, 128)
    del found.overrides["imgsz"]
    assert gs.Explainer(found).preprocess.size == (640, 640)
    assert gs.Explainer(yolo("yolov8n-cls")).preprocess.fit == "crop"
