"""`gs.evaluate`: what is measured is what the metrics give of the explainer's own maps, in one pass, whatever fails."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import gradsight as gs
from costs import flops
from gradsight.annotations import Annotations, LabelledBox, Marks
from gradsight.cases import Case
from gradsight.errors import ImageError, InvalidArgument, MissingDependency, ModelError, UnknownName
from gradsight.evaluating.evaluate import asked_of
from gradsight.evaluating.evaluation import Evaluation
from gradsight.evaluating.example import example
from gradsight.evaluating.figure import names_of
from gradsight.evaluating.rows import Row
from gradsight.metric_registry import as_metric
from gradsight.metric_sets import figures
from gradsight.registry import METHODS, Method
from gradsight.significance import all_pairs, beats, share

pytestmark = pytest.mark.pytorch
SIZE = 16
PLAIN = gs.Preprocess(size=(SIZE, SIZE), fit="squash", mean=(0.0,) * 3, std=(1.0,) * 3)
LABELS = ("cat", "dog", "fox", "owl")


def explainer(**options: Any) -> gs.Explainer:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(4),
        torch.nn.Flatten(),
        torch.nn.Linear(96, len(LABELS)),
    )
    return gs.Explainer(net.eval(), preprocess=PLAIN, labels=LABELS, name="tiny", layer="1", **options)


def photos(count: int = 8) -> list[Image.Image]:
    rng = np.random.default_rng(1)
    return [Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)) for _ in range(count)]


def boxed(count: int = 8) -> Annotations:
    marks = Marks((LabelledBox("cat", (2, 2, 10, 12)), LabelledBox("bird", (8, 4, 18, 20))))
    return Annotations({f"photo {i}": marks for i in range(count)})


BIRDS = {"bird": (3, 1)}


def by_key(evaluation: Evaluation, method: str, metric: str) -> list[Any]:
    return [row for row in evaluation.rows if (row.method, row.metric) == (method, metric)]


def test_figures_are_those_of_the_explainer_s_own_maps() -> None:
    own, pictures = explainer(), photos()
    found = gs.evaluate(
        own, pictures, methods=["gradcam", "gradient"], metrics=["pointing", "maxboxacc(thresholds=7)"],
        boxes=boxed(), class_map=BIRDS, batch_size=3,
    )  # fmt: skip
    logits = [own(photo, targets=gs.Classes(3, 1)).scores[0] for photo in pictures]
    best = [[0, BIRDS["bird"][int(np.argmax(scores))]] for scores in logits]
    regions = np.zeros((8, 2, SIZE, SIZE), bool)
    boxes = [[np.array([corners]) * SIZE / 20 for corners in ((8, 4, 18, 20), (2, 2, 10, 12))]] * 8
    best = [row[::-1] for row in best]  # by the labels' names: bird, then cat
    regions[:, 0, 6:14, 3:16] = True
    regions[:, 1, 2:8, 2:10] = True
    for method in ("gradcam", "gradient", "random", "centre"):
        maps = own(pictures, method=method, targets=best).maps
        case = Case(maps, regions=regions, boxes=boxes)
        hits = as_metric("pointing")(case)
        rows = by_key(found, method, "pointing")
        assert [row.value for row in rows] == list(hits.ravel())
        assert [row.index for row in rows] == list(np.ravel(best))
        overlaps = as_metric("maxboxacc(thresholds=7)")(case).reshape(16, 7)
        one = next(s for s in found.summary if (s.method, s.metric) == (method, "maxboxacc(thresholds=7)"))
        assert one.mean == pytest.approx(figures(as_metric("maxboxacc(thresholds=7)"), overlaps).mean())
        plain = next(s for s in found.summary if (s.method, s.metric) == (method, "pointing"))
        assert (plain.n, plain.mean) == (8, pytest.approx(hits.mean()))
        told = share(hits.mean(axis=1), resamples=1999)
        assert (plain.low, plain.high) == (told.low, told.high)


def test_ranks_and_tests_go_by_image() -> None:
    found = gs.evaluate(explainer(), photos(), methods=["gradcam", "layercam"], metrics=["deletion(steps=4)"])
    values = {name: [row.value for row in by_key(found, name, "deletion(steps=4)")] for name in
              ("gradcam", "layercam", "random", "edge", "centre")}  # fmt: skip
    order = sorted(values, key=lambda name: np.mean(values[name]))
    for one in found.summary:
        assert one.rank == order.index(one.method) + 1
        expected = None if one.method == "random" else beats(values[one.method], values["random"], better="lower").p
        assert one.beats_random_p == expected
        assert (one.better, one.control) == ("lower", one.method in ("random", "edge", "centre"))
    pairs = found.pairs["deletion(steps=4)"]
    assert [vars(pair) for pair in pairs] == [
        vars(pair) for pair in all_pairs({"gradcam at 1": values["gradcam"], "layercam at 1": values["layercam"]})
    ]


def test_figures_do_not_depend_on_the_batch_or_the_company() -> None:
    names = ["deletion(steps=4)", "road(steps=2)", "averagedrop", "faithfulnesscorrelation(samples=5, share=0.3)"]
    together = gs.evaluate(explainer(), photos(5), methods=["gradcam", "fem"], metrics=names, batch_size=5)
    alone = gs.evaluate(explainer(), photos(5), methods=["gradcam"], metrics=names[::-1], batch_size=2)
    values = {(row.image, row.method, row.metric): row.value for row in together.rows}
    assert len(alone.rows) == 5 * 4 * 4
    for row in alone.rows:
        assert row.value == pytest.approx(values[row.image, row.method, row.metric], abs=1e-5)


@pytest.mark.parametrize("count", [1, 6])
def test_passes_are_counted(count: int) -> None:
    own, pictures, methods = explainer(), photos(count), ["gradcam", "hirescam", "layercam"]

    def call() -> None:
        gs.evaluate(own, pictures, methods=methods, metrics=["deletion", "averagedrop"], batch_size=4, targets=1)

    call()  # the first call of a model studies its layers
    one_pass = 2 * SIZE * SIZE * 6 * 27
    maps = len(methods) + 3
    # The pass; for each map 27 steps and one picture through the map; what is left of all of them at the last step.
    assert flops(call)["convolution"] == one_pass * count * (1 + maps * (27 + 1) + 1)


def test_broken_photos_and_boxes_that_fit_none_are_named(tmp_path) -> None:
    given: list[Any] = photos(6)
    given[2] = b"no picture"
    known = Annotations({**boxed(6).of, "photo 77": Marks(), "photo 4": Marks(size=(9, 9), mask=None)})
    found = gs.evaluate(explainer(), given, methods=["gradcam"], metrics=["pointing", "averagedrop"], boxes=known,
                        targets="cat")  # fmt: skip
    assert [(one.image, "no picture" in one.reason or bool(one.reason)) for one in found.failed] == [("photo 2", True)]
    assert any("photo 77" in note for note in found.notes)
    assert any(note.startswith("photo 4: its boxes must be of a photo of 20 x 20") for note in found.notes)
    assert [row.image for row in by_key(found, "gradcam", "averagedrop")] == [f"photo {i}" for i in (0, 1, 3, 4, 5)]
    unknown = [row.image for row in by_key(found, "gradcam", "pointing") if math.isnan(row.value)]
    assert unknown == ["photo 4"]
    with pytest.raises(ImageError):
        gs.evaluate(explainer(), [b"no picture"], methods=["gradcam"], metrics=["averagedrop"])


def test_photos_are_read_a_few_at_a_time() -> None:
    taken: list[int] = []

    def many() -> Any:
        for i, photo in enumerate(photos(9)):
            taken.append(i)
            yield photo

    asked = asked_of(explainer(), many(), ["gradcam"], ["averagedrop"], None, {"batch_size": 2})
    with asked.stream() as stream:
        next(stream)
        assert len(taken) <= 6
        assert len(list(stream)) == 8


def test_a_method_that_does_not_fit_is_left_out_unless_it_was_named(monkeypatch) -> None:
    def refuse(probe, ops):
        raise ModelError("it needs a head of another kind.")

    list(METHODS)
    kept = {name: METHODS[name] for name in ("gradcam", "random", "edge", "centre")}
    monkeypatch.setattr(METHODS, "_entries", {**kept, "misfit": Method("misfit", refuse, "Misfit", "here")})
    found = gs.evaluate(explainer(), photos(3), metrics=["averagedrop"])
    assert found.left_out == (("misfit", "it needs a head of another kind."),)
    assert {one.method for one in found.summary} == set(kept)
    with pytest.raises(ModelError, match="another kind"):
        gs.evaluate(explainer(), photos(3), methods=["gradcam", "misfit"], metrics=["averagedrop"])


def test_targets_are_labels_or_those_given() -> None:
    own, pictures = explainer(), photos(4)
    labels = ["owl", 0, "dog", 2]
    found = gs.evaluate(own, pictures, methods=["gradcam"], metrics=["averagedrop"], labels=labels, batch_size=3)
    rows = by_key(found, "gradcam", "averagedrop")
    assert [row.index for row in rows] == [3, 0, 1, 2]
    assert [row.target for row in rows] == ["owl", "cat", "dog", "fox"]
    listed = gs.evaluate(own, pictures, methods=["gradcam"], metrics=["averagedrop"], targets=[3, 0, 1, 2])
    same = [row.value for row in by_key(listed, "gradcam", "averagedrop")]
    assert same == pytest.approx([row.value for row in rows], rel=1e-4)  # of other batches
    best = gs.evaluate(own, pictures, methods=["gradcam"], metrics=["averagedrop"])
    assert [row.index for row in by_key(best, "gradcam", "averagedrop")] == [
        own(photo).predictions[0][0].index for photo in pictures
    ]
    assert "right or wrong" in best.notes[0]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"metrics": ["pointing"]}, InvalidArgument, "needs to know where things are"),
        ({"metrics": ["deletoin"]}, UnknownName, "deletion"),
        ({"labels": ["cat"]}, InvalidArgument, "one entry for each of the 2 photos"),
        ({"labels": ["cat", "cow"]}, UnknownName, "cow"),
        ({"targets": 1, "labels": [1, 1]}, InvalidArgument, "exclude each other"),
        ({"bboxes": 1}, UnknownName, "boxes"),
        ({"seed": -1}, InvalidArgument, "seed"),
    ],
)
def test_mistakes_are_told_before_anything_runs(options, error, words) -> None:
    with pytest.raises(error, match=words):
        gs.evaluate(explainer(), photos(2), methods=["gradcam"], **options)


def test_it_is_saved_and_loaded(tmp_path) -> None:
    found = gs.evaluate(explainer(), photos(4), methods=["gradcam"], metrics=["maxboxacc(thresholds=3)", "deletion"],
                        boxes=boxed(4), class_map=BIRDS)  # fmt: skip
    found.save(tmp_path)
    again = Evaluation.load(tmp_path)
    assert repr(again.rows) == repr(found.rows)
    assert repr((again.summary, again.notes, again.model)) == repr((found.summary, found.notes, found.model))
    from pyarrow import parquet

    table = parquet.read_table(tmp_path / "results.parquet")
    assert table.num_rows == len(found.rows)
    with Image.open(tmp_path / "results.png") as picture:
        assert picture.size == found.figure().size
    assert "<img" in found._repr_html_()
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(InvalidArgument, match="no evaluation"):
        Evaluation.load(tmp_path)


def test_only_of_hits_the_interval_of_equal_values_is_that_of_a_share() -> None:
    metrics = ["pointing", "increase", "maxboxacc", "maxboxaccv2", "averagedrop", "energypointing"]
    rows = [Row(f"{i}", "cat", 0, "1", "gradcam", name, 1.0, (1.0,) * 3 if "box" in name else ())
            for i in range(8) for name in metrics]  # fmt: skip
    found = {one.metric: (one.mean, one.low, one.high) for one in Evaluation(tuple(rows)).summary}
    exact = pytest.approx((1, 0.025 ** (1 / 8), 1))
    assert found == dict.fromkeys(metrics[:4], exact) | dict.fromkeys(metrics[4:], (1, 1, 1))


def test_photos_are_measured_a_few_at_a_time_where_metrics_fill_the_batch() -> None:
    def at_once(metrics: list[str], **more: Any) -> int:
        own = explainer(batch_size=32)
        return asked_of(own, photos(9), ["gradcam"], metrics, None, more).stream().batch_size  # type: ignore[arg-type]

    assert at_once(["deletion"]) == 1
    assert at_once(["deletion(steps=10)"]) == 3
    assert at_once(["gini"]) == 8
    assert at_once(["deletion"], batch_size=5) == 5
    with pytest.raises(InvalidArgument, match="`batch_size` must be"):
        at_once(["gini"], batch_size=0)


def test_rows_are_a_table_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    found = gs.evaluate(explainer(), photos(2), methods=["gradcam"], metrics=["gini"], targets=lambda out: out.sum(-1))
    table = found.to_pandas()
    assert list(table.columns) == ["image", "target", "index", "layer", "method", "metric", "value"]
    assert list(table["value"]) == [row.value for row in found.rows]
    assert table["index"].isna().all()  # a function is no class
    by_class = example().to_pandas()
    assert list(by_class["index"]) == [7] * 16
    assert isinstance(by_class["index"].dtype, pandas.Int64Dtype)


def test_without_pandas_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependency, match="pip install pandas"):
        example().to_pandas()


def test_rows_of_several_layers_are_told_by_their_number() -> None:
    order = [("a", "gradcam"), ("a, b, c", "refinecam"), ("", "edge")]
    assert names_of(order) == ["gradcam", "refinecam at 3 layers", "edge"]
    assert names_of([*order, ("b", "gradcam")]) == [
        "gradcam at a", "refinecam at 3 layers", "edge", "gradcam at b"
    ]  # fmt: skip


def test_the_figure_has_a_dot_where_the_mean_is() -> None:
    pixels = np.asarray(example().figure()).astype(int)
    blue = (abs(pixels - (38, 84, 155)).sum(axis=-1) < 30).nonzero()
    grey = (abs(pixels - (150, 150, 150)).sum(axis=-1) < 3) & (np.arange(pixels.shape[1]) > 105)
    # Grad-CAM, 7 hits of 8, lies to the right of the control with 2, and above it.
    rows, columns = grey.nonzero()
    below = rows > blue[0].max()
    assert below.any()
    assert np.median(columns[below]) < np.median(blue[1])
