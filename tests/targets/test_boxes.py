"""The prediction of a detector that a box asks for."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import gradsight as gs
import oracles
import plain
import tiny_transformers
from gradsight.cli.app import app
from gradsight.errors import InvalidArgument, InvalidType, ModelError, UnknownName
from gradsight.models.sources.torchvision.detectors import keep_all
from gradsight.targets import OutputContext, detections_in, resolve
from tolerances import rounding

PLAIN = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
LABELS = ["ant", "bee", "cat"]


def overlap(one: Any, other: Any) -> float:
    """Intersection over union of two boxes, (left, top, right, bottom), with plain numbers."""
    (a, b, c, d), (e, f, g, h) = (map(float, box) for box in (one, other))
    common = max(0.0, min(c, g) - max(a, e)) * max(0.0, min(d, h) - max(b, f))
    either = (c - a) * (d - b) + (g - e) * (h - f) - common
    return common / either if either else 0.0


class Local(nn.Module):
    """A prediction for each 8 x 8 cell by the colours in it and nothing else; its box is the cell."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 6, 8, stride=8, bias=False)
        self.head = nn.Conv2d(6, len(LABELS), 1, bias=False)
        with torch.no_grad():
            self.features.weight.abs_()
            self.head.weight.abs_()

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        scores = self.head(self.features(x))
        rows, columns = scores.shape[2:]
        top, left = torch.meshgrid(torch.arange(rows) * 8.0, torch.arange(columns) * 8.0, indexing="ij")
        boxes = torch.stack([left, top, left + 8, top + 8], dim=-1).flatten(0, 1)
        return {"scores": scores.flatten(2).mT, "boxes": boxes.expand(len(x), -1, -1)}


def local(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return Local().eval()


def explainer(**settings: Any) -> gs.Explainer:
    preprocess = gs.Preprocess((64, 64), **PLAIN, **settings)
    return gs.Explainer(local(), preprocess=preprocess, labels=LABELS, method="hirescam", layer="features")


@pytest.fixture
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(50, 256, (96, 160, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("settings", "box", "cell"),
    [
        ({"fit": "squash"}, (12, 60, 24, 80), (1, 3)),
        ({"fit": "letterbox"}, (8, 60, 27, 80), (2, 3)),  # 13 of its 64 rows lie above the photo
        ({"fit": "crop"}, (12, 44, 24, 56), (1, 1)),  # 32 columns are cut off on each side
        ({"resize": 80}, (12, 44, 22, 54), (0, 0)),  # and ten of the 96 rows
    ],
)
def test_what_is_looked_at_is_the_prediction_at_the_box_of_the_photo(
    settings: dict[str, Any], box: tuple[int, ...], cell: tuple[int, int], photo: Image.Image
) -> None:
    explanation = explainer(**settings)([photo], targets=gs.Box("cat", box))
    assert np.argwhere(explanation.maps[0, 0] > 0).tolist() == [list(cell)]
    assert explanation.targets[0][0].index == 2
    assert explanation.labels[0][0].startswith("cat in " + ",".join(map(str, box)))


def test_without_a_box_or_a_class_the_best_prediction_is_meant(photo: Image.Image) -> None:
    explain = explainer(fit="squash")
    outputs = local()(torch.from_numpy(explain.preprocess(photo))[None])
    scores = outputs["scores"][0].detach()
    for which in range(3):
        found = explain([photo], targets=gs.Box(which))
        best = int(scores[:, which].argmax())
        assert found.scores[0, 0] == pytest.approx(float(scores[best, which]), rel=1e-5)
        assert np.argwhere(found.maps[0, 0] > 0).tolist() == [[best // 8, best % 8]]
    anything = explain([photo], targets=gs.Box())
    assert anything.targets[0][0].index == int(scores.max(0).values.argmax())
    assert anything.scores[0, 0] == pytest.approx(float(scores.max()), rel=1e-5)
    there = explain([photo], targets=gs.Box(box=(12, 60, 24, 80)))
    assert there.scores[0, 0] == pytest.approx(float(scores[8 + 3].max()), rel=1e-5)


def test_of_overlaps_that_are_alike_the_best_score_counts_and_a_poor_one_is_told() -> None:
    batch = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    scores = local()(batch)["scores"][0, :, 1].detach()
    explain = gs.Explainer(local(), labels=LABELS, layer="features")
    found = explain(batch, targets=gs.Box("bee", (8, 8, 24, 16)))  # two cells, each half of the box
    assert found.scores[0, 0] == pytest.approx(float(max(scores[8 + 1], scores[16 + 1])), rel=1e-5)
    assert found.labels == (("bee in 8,8,24,16",),)
    found = explain(batch, targets=gs.Box("bee", (8, 8, 24, 24)))
    assert found.labels == (("bee in 8,8,24,24 (overlap 0.25)",),)


def test_each_image_may_have_its_own_and_they_combine() -> None:
    batch = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    scores = local()(batch)["scores"].detach().numpy()
    explain = gs.Explainer(local(), labels=LABELS, layer="features", method="hirescam")
    here, there = (0, 8, 8, 16), (56, 0, 64, 8)  # cells 1 and 56
    own = explain(batch, targets=[gs.Box("cat", here), gs.Box("bee", there)])
    np.testing.assert_allclose(own.scores, [[scores[0, 1, 2]], [scores[1, 56, 1]]], rtol=1e-5)
    assert [np.argwhere(m[0] > 0).tolist() for m in own.maps] == [[[0, 1]], [[7, 0]]]
    assert own.labels == (("cat in 0,8,8,16",), ("bee in 56,0,64,8",))
    both = explain(
        batch,
        targets=gs.Several(
            gs.Sum(gs.Box("cat", here), gs.Box("bee", there)),
            gs.Against(gs.Box("ant", there)),
            gs.Contrast(gs.Box("cat", here), gs.Box("cat", there)),
        ),
    )
    expected = [
        [s[1, 2] + s[56, 1], -s[56, 0], s[1, 2] - s[56, 2]]
        for s in scores  # of each image
    ]
    np.testing.assert_allclose(both.scores, expected, rtol=1e-5)
    assert both.labels[0][0] == "cat in 0,8,8,16 + bee in 56,0,64,8"
    assert np.argwhere(both.maps[1, 0] > 0).tolist() == [[0, 1], [7, 0]]
    for method in ("scorecam", "ablationcam", "layercam", "shapleycam"):
        together = explain(batch, targets=[gs.Box("cat", here), gs.Box("bee", there)], method=method).maps
        for i, target in enumerate((gs.Box("cat", here), gs.Box("bee", there))):
            alone = explain(batch[i : i + 1], targets=target, method=method).maps[0]
            np.testing.assert_allclose(together[i], alone, atol=1e-4 * np.abs(alone).max(), err_msg=method)


CORNERS = np.array([[[0, 0, 8, 8], [8, 0, 16, 8]]], np.float32)
ASIDE = np.array([0, 0, 1, 0], np.float32)


@pytest.mark.parametrize(
    ("corners", "expected"), [(CORNERS, 3), (CORNERS[:, ::-1], 4), (CORNERS + 32, 3), (CORNERS + ASIDE, 3)]
)
def test_the_box_is_looked_for_once_more_and_where_nothing_overlaps_it_the_score_is_the_lowest(
    corners: Any, expected: float
) -> None:
    scores = np.array([[[3.0, 1.0], [4.0, 9.0]]])
    setting = OutputContext(1, outputs=(scores, CORNERS), ops=np, detections=lambda outputs: outputs)
    assert resolve(gs.Box(0, (0, 0, 8, 8)), setting).scores((scores, corners), None, np).tolist() == [[expected]]
    own = resolve(gs.Box(box=(0, 0, 8, 8)), setting)  # its best class is not that of the best prediction
    assert own.names[0][0].index == 0
    of_classes = np.stack([CORNERS + 32, CORNERS[:, ::-1]], axis=2)  # each class has boxes of its own
    setting = OutputContext(
        1, outputs=(scores * [[[3, 1], [1, 1]]], of_classes), ops=np, detections=lambda outputs: outputs
    )
    assert resolve(gs.Box(box=(0, 0, 8, 8)), setting).names[0][0].index == 1


def test_a_box_is_in_pixels_of_the_photo_to_a_fraction(photo: Image.Image) -> None:
    """Of 1.5 rows of the photo to one of the input, 6.1 to 18.1 lie a little more in the second row of cells."""
    for top, cell in ((6.1, 1), (5.9, 0)):
        found = explainer(fit="squash")([photo], targets=gs.Box("cat", (top, 0, top + 12, 20)))
        assert np.argwhere(found.maps[0, 0] > 0).tolist() == [[cell, 0]]


def test_detr_is_read_without_its_class_for_nothing() -> None:
    model = tiny_transformers.build("detr")
    with torch.no_grad():
        model.class_labels_classifier.bias[-1] = 9.0  # as of a trained one, most queries are for nothing
    explain = gs.Explainer(model, labels=list(tiny_transformers.CLASSES["id2label"].values()))
    outputs = model(torch.zeros(1, 3, 64, 64))
    found = explain(torch.zeros(1, 3, 64, 64), targets=gs.Box())
    assert found.scores[0, 0] == pytest.approx(float(outputs.logits[0, :, :5].detach().max()), rel=1e-4)


def test_detr_gives_the_map_of_a_plain_computation(tmp_path: Path, photo: Image.Image) -> None:
    model = tiny_transformers.save("detr", tmp_path)
    loaded = gs.load_model(tmp_path)
    layer = "model.backbone.model.encoder.stages.3"
    wanted = gs.Box("dog", (10, 20, 80, 120))
    explanation = gs.Explainer(loaded, layer=layer)([photo], targets=wanted)
    pixels = torch.from_numpy(loaded.preprocess(photo))[None]

    def score(outputs: Any, _: int = 0) -> torch.Tensor:
        height, width = photo.size[::-1]
        corners = []
        for x, y, w, h in outputs.pred_boxes[0].tolist():
            corners.append(((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height))
        best = max(range(len(corners)), key=lambda q: overlap(corners[q], (20, 10, 120, 80)))
        return outputs.logits[0, best, 3]

    expected = oracles.gradcam(plain.Plain(model, layer, pixels, [score]))[0, 0]
    with torch.no_grad():
        assert explanation.scores[0, 0] == pytest.approx(float(score(model(pixel_values=pixels))), rel=1e-4)
    tolerance = rounding(terms=9 * 64, layers=24)
    np.testing.assert_allclose(explanation.maps[0, 0], expected, atol=tolerance * np.abs(expected).max())
    best = gs.Explainer(loaded, layer=layer)([photo], targets=gs.Box())
    assert best.targets[0][0].index in range(5)  # never the class after the last, "nothing"


def small(kind: str) -> nn.Module:
    """A detector of torchvision with a small backbone, four classes and pictures of 64 pixels."""
    from torchvision.models import detection
    from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator

    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 5, 4, 2), nn.ReLU(), nn.Conv2d(8, 32, 3, 2, 1), nn.ReLU())
    body.out_channels = [32] if kind == "ssd" else 32
    small = {"min_size": 96, "max_size": 160}
    if kind == "ssd":
        return detection.ssd.SSD(body, DefaultBoxGenerator([[2]], scales=[0.3, 0.5]), (96, 96), 4).eval()
    anchors = AnchorGenerator(((24.0,),), ((1.0,) if kind == "fcos" else (0.5, 1.0),))
    if kind == "fcos":
        return detection.FCOS(body, 4, anchor_generator=anchors, **small).eval()
    if kind == "retinanet":
        return detection.RetinaNet(body, 4, anchor_generator=anchors, **small).eval()
    from torchvision.ops import MultiScaleRoIAlign

    pool = MultiScaleRoIAlign(["0"], 3, 2)
    return detection.FasterRCNN(
        body, 4, rpn_anchor_generator=anchors, box_roi_pool=pool, rpn_post_nms_top_n_test=20, **small
    ).eval()


def suppressed(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Non-maximum suppression, which torchvision beside another PyTorch lacks."""
    low, high = boxes[:, None, :2].maximum(boxes[:, :2]), boxes[:, None, 2:].minimum(boxes[:, 2:])
    common = (high - low).clamp(min=0).prod(-1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    alike = (common > iou_threshold * (areas[:, None] + areas - common)).numpy(force=True)
    kept: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        if not alike[i, kept].any():
            kept.append(i)
    return torch.tensor(kept, dtype=torch.long)


def without_compiled_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's own in Python, as they are; else it would compile one of them for a minute."""
    align = import_module("torchvision.ops.roi_align")
    monkeypatch.setattr(align, "_roi_align", getattr(align._roi_align, "__wrapped__", align._roi_align))
    monkeypatch.setattr("torchvision.ops.boxes.nms", suppressed)


@pytest.mark.parametrize("kind", ["retinanet", "fcos", "ssd", "fasterrcnn"])
def test_torchvision_detectors_give_the_scores_that_their_own_detections_have(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_compiled_operators(monkeypatch)
    images = torch.rand(2, 3, 80, 112, generator=torch.Generator().manual_seed(1))
    own = small(kind)
    head = getattr(own, "roi_heads", own)
    head.score_thresh = 0.0
    probabilities: list[torch.Tensor] = []
    softmax = torch.nn.functional.softmax
    monkeypatch.setattr(
        "torch.nn.functional.softmax", lambda x, *a, **k: [probabilities.append(x), softmax(x, *a, **k)][1]
    )
    with torch.no_grad():
        found = own(images)
    monkeypatch.undo()
    without_compiled_operators(monkeypatch)
    model = small(kind)
    scores, detections = keep_all(model) or (None, None)
    explain = gs.Explainer(gs.Model(model, scores=scores, detections=detections), layer="backbone.2")
    for place in (0, 3):
        wanted, expected = [], []
        for x in found:
            sides = x["boxes"][:, 2:] - x["boxes"][:, :2]
            j = sides.amin(1).gt(1).nonzero()[place, 0]
            left, top, right, bottom = x["boxes"][j].tolist()
            label, score = int(x["labels"][j]), x["scores"][j]
            wanted.append(gs.Box(label, (top, left, bottom, right)))
            if probabilities:
                rows = softmax(probabilities[0].reshape(-1, 4), dim=-1)[:, label]
                score = probabilities[0].reshape(-1, 4)[(rows - score).abs().argmin(), label]
            elif kind == "retinanet":
                score = torch.logit(score)
            expected.append([float(score)])
        explanation = explain(images, targets=wanted)
        assert all("overlap" not in row[0] for row in explanation.labels)
        if kind == "fcos":  # its scores are roots of a product with another probability
            assert (1 / (1 + np.exp(-explanation.scores)) >= np.square(expected)).all()
        else:
            np.testing.assert_allclose(explanation.scores, expected, atol=2e-4)
        assert explanation.maps.any(axis=(2, 3)).all()
    scores, corners = detections(model(images))
    if corners.ndim == 4:  # each class has boxes of its own: the box of a proposal's best class is for this class
        q = int(scores[0].amax(1).argmax())
        best = int(scores[0, q].argmax())
        left, top, right, bottom = corners[0, q, best].tolist()
        found = explain(images[:1], targets=gs.Box(box=(top, left, bottom, right)))
        assert found.targets[0][0].index == best
        assert found.scores[0, 0] == pytest.approx(float(scores[0, q, best].detach()), rel=1e-4)
    if kind == "retinanet":  # the detector as it was: what it chose, by probability
        plain = gs.Explainer(own, layer="backbone.2")(images, targets=wanted)
        np.testing.assert_allclose(np.log(plain.scores / (1 - plain.scores)), expected, atol=2e-4)
        assert plain.maps.any(axis=(2, 3)).all()


@pytest.mark.parametrize("version", [5, 8])
def test_heads_of_yolo_are_read_where_the_labels_are_known(version: int) -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(3, 4 + (version == 5) + len(LABELS), 8, stride=8)

        def forward(self, x: torch.Tensor) -> Any:
            raw = self.features(x).flatten(2).sigmoid()
            raw = torch.cat([raw[:, :4] * 64, raw[:, 4:]], dim=1)
            return raw if version == 8 else (raw.mT, ["features"])

    torch.manual_seed(0)
    model = Head().eval()
    batch = torch.rand(1, 3, 64, 64)
    raw = model.features(batch).flatten(2).sigmoid()[0].detach()
    x, y, width, height = raw[:4] * 64
    corners = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=1)
    classes = raw[4:] if version == 8 else raw[4] * raw[5:]
    best = max(range(64), key=lambda q: overlap(corners[q], (10, 20, 40, 44)))
    explanation = gs.Explainer(model, labels=LABELS, layer="features")(batch, targets=gs.Box("bee", (20, 10, 44, 40)))
    assert explanation.scores[0, 0] == pytest.approx(float(classes[1, best]), rel=1e-4)
    with pytest.raises(ModelError, match="Pass `detections=`"):
        gs.Explainer(model, layer="features")(batch, targets=gs.Box(1))


def test_detections_may_be_read_by_a_function() -> None:
    def read(outputs: torch.Tensor) -> Any:
        made = local()(outputs.new_zeros(len(outputs), 3, 64, 64))
        return outputs.flatten(2).mT, made["boxes"]

    batch = torch.rand(1, 3, 64, 64)
    model = nn.Sequential(nn.Conv2d(3, 5, 8, stride=8), nn.ReLU())
    found = gs.Explainer(model, detections=read, method="hirescam", layer="1")(batch, targets=gs.Box(3, (8, 0, 16, 8)))
    assert found.scores[0, 0] == pytest.approx(float(model(batch).detach()[0, 3, 1, 0]), rel=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: gs.Box(0, (4, 0, 4, 4)), InvalidArgument, "with an area"),
        (lambda: gs.Box(0, (4, 0, 4)), InvalidArgument, "must be 4 numbers"),
        (
            lambda: explained(gs.Box(0, (0, 200, 8, 208))),
            InvalidArgument,
            "overlap one of the model's predictions of ant",
        ),
        (lambda: explained(gs.Box("antt")), UnknownName, "antt"),
        (lambda: explained(gs.Pixels(0)), ModelError, "class scores at positions.*dict with scores"),
        (lambda: gs.Explainer(local(), detections=3), InvalidType, "`detections` must be a function"),
        (
            lambda: gs.Explainer(nn.Conv2d(3, 2, 3))(torch.rand(1, 3, 8, 8), targets=gs.Box(0)),
            ModelError,
            r"scores and boxes of detections.*a tensor of shape \(1, 2, 6, 6\)",
        ),
    ],
)
def test_what_does_not_fit_is_said_in_words(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def explained(targets: Any) -> Any:
    return gs.Explainer(local(), labels=LABELS, layer="features")(torch.rand(1, 3, 64, 64), targets=targets)


def build() -> gs.Model:
    return gs.Model(local(), gs.Preprocess((64, 64), fit="squash", **PLAIN), LABELS)


def test_the_command_line_asks_a_detector_for_the_prediction_in_a_box(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "photo.png")
    given = ["--model", f"{__name__}:build", "--layer", "features", "--method", "hirescam", "--out", str(tmp_path)]
    asked = ["--class", "cat", "--class", "bee", "--box", "12,60,24,80"]
    result = CliRunner().invoke(app, ["explain", str(tmp_path / "photo.png"), *given, *asked, "--json"])
    assert (result.exit_code, result.stderr) == (0, "")
    targets = json.loads(result.stdout)["targets"]
    expected = explainer(fit="squash")(
        [photo], targets=gs.Several(gs.Box("cat", (12, 60, 24, 80)), gs.Box("bee", (12, 60, 24, 80)))
    )
    np.testing.assert_allclose([target["score"] for target in targets], expected.scores[0], rtol=1e-4)
    for target in targets:
        assert target["place"] == [12, 60, 24, 80]
        assert 12 <= target["peak"][0] < 24
        assert 60 <= target["peak"][1] < 80
        drawn = np.asarray(Image.open(tmp_path / target["file"]).convert("RGB")).astype(int)
        white = np.argwhere((drawn == 255).all(axis=2))  # the photo has no white pixel
        assert (*white.min(axis=0), *white.max(axis=0)) == (11, 59, 24, 80)  # around the box


def test_the_box_of_the_best_prediction_is_told_in_pixels_of_the_photo(photo: Image.Image, tmp_path: Path) -> None:
    explanation = explainer(fit="letterbox")([photo], targets=gs.Several(gs.Box("cat"), gs.Against(gs.Box("cat"))))
    (row, column) = np.argwhere(explanation.maps[0, 0] > 0)[0]
    top, left, bottom, right = explanation.placements[0].box
    down, across = (bottom - top) / 8, (right - left) / 8  # of a cell, in the photo's pixels
    wanted = (top + row * down, left + column * across, top + (row + 1) * down, left + (column + 1) * across)
    for target in explanation.targets[0]:
        np.testing.assert_allclose(target.place, wanted, atol=1e-3)
    explanation.save(tmp_path / "saved.npz")
    assert gs.Explanation.load(tmp_path / "saved.npz").targets == explanation.targets


def test_boxes_in_shares_and_predictions_of_different_number_become_pixels_and_one_array() -> None:
    shares = {"logits": np.zeros((1, 1, 3)), "pred_boxes": np.array([[[0.5, 0.25, 0.2, 0.1]]])}
    _, boxes = detections_in(shares, (100, 200), None, np)
    np.testing.assert_allclose(boxes, [[[80, 20, 120, 30]]])
    two = {
        "boxes": np.array([[0.0, 0, 4, 4], [1, 1, 3, 3]]),
        "scores": np.array([0.5, 0.75]),
        "labels": np.array([2, 0]),
    }
    none = {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "labels": np.zeros(0, int)}
    scores, boxes = detections_in([two, none], (8, 8), None, np)
    np.testing.assert_array_equal(scores, [[[0, 0, 0.5], [0.75, 0, 0]], np.zeros((2, 3))])
    np.testing.assert_array_equal(boxes, [two["boxes"], np.zeros((2, 4))])
    scores, boxes = detections_in([none], (8, 8), LABELS, np)
    assert (scores.shape, boxes.shape) == ((1, 1, 3), (1, 1, 4))
    setting = OutputContext(1, outputs=(scores, boxes), ops=np, detections=lambda outputs: outputs)
    for target in (gs.Box(), gs.Box(0, (0, 0, 4, 4))):
        with pytest.raises(InvalidArgument, match="predicts nothing in image 0"):
            resolve(target, setting)


def test_a_map_that_is_hottest_outside_of_the_box_says_so() -> None:
    """Of two equal things Grad-CAM shows the brighter one, whichever was asked for."""
    batch = torch.full((1, 3, 64, 64), 0.1)
    batch[..., 8:16, 8:16], batch[..., 40:48, 48:56] = 0.8, 1.0
    explain = gs.Explainer(local(), labels=LABELS, layer="features")
    dim, bright = gs.Box("cat", (8, 8, 16, 16)), gs.Box("cat", (40, 48, 48, 56))
    found = explain(batch, targets=gs.Several(dim, bright, gs.Against(dim)))
    assert [any(note.code == "outside_place" for note in notes) for notes in found.target_notes[0]] == [1, 0, 0]
    assert not explain(batch, targets=gs.Several(dim, bright), method="hirescam").notes
    near = explain(batch, targets=gs.Box("cat", (44.1, 48, 48, 56)))  # within half a cell of the map
    assert not near.notes


@pytest.mark.parametrize("kind", ["ssd", "fasterrcnn"])
def test_the_background_is_no_prediction_and_boxes_end_with_the_picture(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_compiled_operators(monkeypatch)
    model = small(kind)
    scores, detections = keep_all(model) or (None, None)
    head = (
        model.roi_heads.box_predictor.cls_score
        if kind == "fasterrcnn"
        else model.head.classification_head.module_list[0]
    )
    with torch.no_grad():
        head.bias[::4] += 50  # the first of four classes, as of a trained detector nearly everywhere
    images = torch.rand(1, 3, 80, 112, generator=torch.Generator().manual_seed(1))
    explain = gs.Explainer(gs.Model(model, scores=scores, detections=detections), layer="backbone.2")
    for targets in (None, gs.Box()):
        assert explain(images, targets=targets).targets[0][0].index in (1, 2, 3)
    _, boxes = detections(model(images))
    assert boxes.amin() >= 0
    assert (boxes.flatten(0, -2).amax(0) <= torch.tensor([112.0, 80, 112, 80]) + 1e-3).all()


def test_the_box_is_drawn_at_its_place_on_a_larger_photo() -> None:
    batch = torch.rand(1, 3, 64, 64)
    found = gs.Explainer(local(), labels=LABELS, layer="features")(batch, targets=gs.Box("cat", (8, 16, 16, 32)))
    drawn = np.asarray(found.overlay(photo=Image.new("RGB", (192, 128), "grey"))).astype(int)
    white = np.argwhere((drawn == 255).all(axis=2))
    assert (*white.min(axis=0), *white.max(axis=0)) == (15, 47, 32, 96)  # 2 pixels down and 3 across for each
