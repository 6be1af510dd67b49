"""Arguments are checked where they enter, by one small vocabulary: its rules, and each public entry by at least one."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import fuzz_api
import gradsight as gs
import toys
from gradsight import imaging
from gradsight.checks import index, optional, taken
from gradsight.cli.parsing import numbers, sides
from gradsight.errors import GradsightError, ImageError, InvalidArgument, InvalidType, UnknownName
from gradsight.models.load import load_model
from gradsight.rules import Array, Box, Choice, Each, Either, Flag, Function, Instance, Name, Number, Sides, Text, Whole

pytestmark = pytest.mark.pytorch

BAD = [fuzz_api.hostile(f"__{name}__")() for name in fuzz_api.SPECIAL]
NO_NUMBERS = ["3", b"3", True, np.bool_(True), math.nan, -math.inf, np.float32(math.nan), None, [3], 1j, {}]

RULES: list[tuple[Any, list[tuple[Any, Any]], list[Any]]] = [
    (
        Whole(1, 5),
        [(1, 1), (np.uint8(5), 5), (np.array(2), 2), (torch.tensor(3), 3), (np.int64(4), 4)],
        [0, 6, 2.0, np.float32(2), 10**400, -(10**400), np.array([2]), *NO_NUMBERS],
    ),
    (Whole(), [(-3, -3), ((1 << 63) - 1, (1 << 63) - 1)], [1 << 63, 10**5000]),
    (
        Number(0, 2),
        [
            (0, 0),
            (1.5, 1.5),
            (np.float16(0.5), 0.5),
            (Fraction(1, 4), 0.25),
            (np.array(2.0), 2.0),
            (torch.tensor(1), 1),
        ],
        [-1e-9, 2.1, 10**400, *NO_NUMBERS],
    ),
    (Number(), [(-1e308, -1e308)], [10**400, Fraction(10**400), *NO_NUMBERS]),
    (Number(above=0), [(1e-9, 1e-9)], [0, -1]),
    (Choice(("a", "b"), "letter"), [("a", "a"), (np.str_("b"), "b")], [3, None, ["a"], b"a"]),
    (Either((Whole(1, 5), Text())), [(3, 3), ("x", "x")], [0, None, 2.5]),
    (
        Each(Whole(0), (2, 3)),
        [([1, 2], (1, 2)), (np.array([1, 2, 3]), (1, 2, 3)), (range(2), (0, 1)), ((x for x in (4, 5)), (4, 5))],
        [[1], [1, 2, 3, 4], "12", b"12", {1, 2}, {1: 2, 3: 4}, [1, None], itertools.count(), range(10**9), 5, [1, -1]],
    ),
    (Each(Number()), [([0.5], (0.5,))], [[], (), [math.nan], itertools.count()]),
    # A range is not walked through, and a generator without end is not read to the end of such a one.
    (Each(Whole(), range(1 << 62)), [([], ()), ([1], (1,))], [itertools.count(), [None]]),
    (Each(Text(), range(2, 4)), [(["a", "b"], ("a", "b"))], [["a"], list("abcd")]),
    (
        Sides(),
        [(7, (7, 7)), ((3, 4), (3, 4)), (np.array([3, 4]), (3, 4)), (np.int32(5), (5, 5)), ([1, 2], (1, 2))],
        [0, "7x7", "77", (3,), (3, 4, 5), (3, 0), (3, 2.5), (True, 2), 10**20, *NO_NUMBERS],
    ),
    (Sides(1), [(7, (7,)), ([5], (5,))], [(3, 4), "7"]),
    (
        Box(),
        [((1, 2, 3, 4), (1, 2, 3, 4)), (np.array([0.5, 0, 1, 1]), (0.5, 0, 1, 1))],
        [(3, 2, 1, 4), (1, 1, 1, 1), (0, 0, math.nan, 1), ("a",) * 4, (1, 2, 3), 5, "1,2,3,4", (0, 0, 1e300, 1)],
    ),
    (Text(), [("", ""), (np.str_("a"), "a")], [None, b"a", 3, ["a"]]),
    (Flag(), [(True, True), (np.bool_(False), False), (np.array(True), True)], [0, 1, None, "yes", np.array([True])]),
    (Name(), [("a/b", "a/b"), (Path("a"), "a")], [None, 3, b"a", ["a"]]),
    (Function(), [(len, len)], [None, 3, "len"]),
    (Instance(Path, "a pathlib.Path"), [(Path("a"), Path("a"))], [None, "a", Path]),
]


@pytest.mark.parametrize(("rule", "good", "wrong"), RULES, ids=[str(rule) for rule, *_ in RULES])
def test_a_rule_takes_what_it_says_and_refuses_the_rest_in_one_form(
    rule: Any, good: list[tuple[Any, Any]], wrong: list[Any]
) -> None:
    for value, read in good:
        found = taken("x", value, rule)
        assert found == read
        assert type(found) in (type(read), float, int), value
    for value in [*wrong, *BAD]:
        if isinstance(rule, Function) and callable(value):
            continue
        with pytest.raises(rule.error) as caught:
            taken("x", value, rule, "Pass another.")
        text = str(caught.value)
        assert text.startswith(f"`x` must be {rule.rule}. Received: ")
        assert text.endswith(". Pass another.")
        assert "\n" not in text


def test_the_words() -> None:
    def said(name: str, value: Any, rule: Any, way_out: str = "") -> str:
        with pytest.raises(GradsightError) as caught:
            taken(name, value, rule, way_out)
        return str(caught.value)

    assert said("height", 0, Whole(1), "Pass 320.") == (
        "`height` must be a whole number of at least 1. Received: 0 (int). Pass 320."
    )
    assert said("--size", "a", Sides()).startswith("--size must be 2 positive whole numbers, (height, width), or one")
    assert said("`at` of Token", np.float32(0.5), Whole()) == (
        "`at` of Token must be a whole number. Received: 0.5 (float)."
    )
    assert said("mask", np.zeros(3), Array((2,), "(h, w)")) == (
        "`mask` must be (h, w). Received: ndarray of shape (3,), dtype float64."
    )
    assert said("by", "max", Either((Choice(("alpha",), "order", "Or pass 3."), Number()))) == (
        "There is no order 'max'. Choose from: alpha. Or pass 3."
    )
    with pytest.raises(InvalidArgument, match="`image` must be a whole number from 0 to 2"):
        index("image", -1, 3)
    assert said("x", "ab", Each(Text(), range(2, 5))).startswith("`x` must be a sequence of 2 to 4, each a text.")
    assert said("x", "ab", Each(Text(), range(5))).startswith("`x` must be a sequence of at most 4, each a text.")
    assert optional("x", None, Whole()) is None


@pytest.mark.parametrize(
    "values", [np.ones((2, 2), np.uint8), torch.ones(2, 2, dtype=torch.bfloat16), [[1, 2], [3, 4]]]
)
def test_arrays_of_any_framework_are_arrays(values: Any) -> None:
    assert taken("x", values, Array((2,), "(h, w)")).shape == (2, 2)


@pytest.mark.parametrize(
    "values",
    ["ab", None, [[1], [1, 2]], np.array(["a"]), np.ones((2, 2), complex), np.zeros((0, 2)), np.array([[None]]),
     torch.empty(2, 2, device="meta"), fuzz_api.recursive(), fuzz_api.Shaped(), *BAD],
)  # fmt: skip
def test_what_is_no_array_is_none(values: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"`x` must be \(h, w\)"):
        taken("x", values, Array((2,), "(h, w)"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> fuzz_api.World:
    return fuzz_api.World(tmp_path_factory.mktemp("world"))


Call = Callable[[fuzz_api.World], Any]

ENTRIES: dict[str, list[tuple[Call, type[GradsightError], str]]] = {
    "Against": [(lambda w: gs.Against(2.5), InvalidType, "`targets` must be")],
    "Audit": [(lambda w: gs.Audit(5, 0, (), (), (), None, (), (), (), False, 0), InvalidType, "`model` must be")],
    "Box": [
        (lambda w: gs.Box(0, ("a",) * 4), InvalidArgument, "`box` of Box must be 4 numbers"),
        (lambda w: gs.Box(1.5), InvalidType, "`which` of Box must be a class"),
        (lambda w: gs.Box(0, (0, 0, math.inf, 1)), InvalidArgument, "`box` of Box must be 4 numbers"),
    ],
    "Candidate": [(lambda w: gs.Candidate("a", "b", 1, 2, None, 3), InvalidType, "`cut` must be True or False")],
    "Classes": [(lambda w: gs.Classes(0, None), InvalidType, "`which` of Classes must be a class")],
    "Comparison": [
        (lambda w: gs.Comparison(()), InvalidArgument, "a comparison needs a method at least"),
        (
            lambda w: gs.compare(w.photo, w.explainer, methods=["gradcam"]).save("x.tiff"),
            InvalidArgument,
            "`path` must",
        ),
    ],
    "Concepts": [
        (lambda w: gs.Concepts.read(3), InvalidType, "`folder` must be a path"),
        (lambda w: gs.Concepts(("a",), ("", ""), ()), InvalidType, "`categories` must be"),
    ],
    "Contrast": [(lambda w: gs.Contrast(0, {0}), InvalidType, "`targets` must be")],
    "Dissection": [
        (lambda w: w.dissection.best(-1), InvalidArgument, "`channel` must be a whole number from 0 to"),
        (lambda w: w.dissection.name(0, math.nan), InvalidArgument, "`least` must be a number from 0 to 1"),
        (lambda w: w.dissection.save(5), InvalidType, "`path` must be a path"),
        (lambda w: gs.Dissection.load(None), InvalidType, "`path` must be a path"),
    ],
    "TopActivating": [
        (lambda w: w.exciting[7], UnknownName, r"no such channel.*Received: 7 \(int\). Choose from: 0, 1"),
        (lambda w: w.exciting.figure(height="a"), InvalidArgument, "`height` must be a whole number"),
        (lambda w: w.exciting.figure(channels=0), InvalidArgument, "`channels` must be numbers of channels"),
        (lambda w: w.exciting.figure(remarks=["a"]), InvalidType, "`remarks` must be a dict"),
        (lambda w: w.explainer.top_activating([w.path], [0], k=0), InvalidArgument, "`k` must be a whole number"),
        (lambda w: w.explainer.top_activating(5, [0]), InvalidType, "`photos` must be a list of paths"),
    ],
    "Explainer": [
        (lambda w: gs.Explainer(w.model, grid="7x7"), InvalidArgument, "`grid` must be"),
        (lambda w: gs.Explainer(w.model, layout="tokenz"), UnknownName, "no layout 'tokenz'. Did you mean 'tokens'"),
        (lambda w: gs.Explainer(w.model, labels=5), InvalidType, "`labels` must be the names"),
        (lambda w: gs.Explainer(w.model, labels=itertools.count()), InvalidType, "`labels` must be the names"),
        (lambda w: gs.Explainer(w.model, name=5), InvalidType, "`name` must be a text"),
        (lambda w: gs.Explainer(w.model, batch_size=True), InvalidArgument, "`batch_size` must be a whole number"),
        (lambda w: gs.Explainer(w.model, probabilities=1), InvalidType, "`probabilities` must be True or False"),
        (lambda w: gs.Explainer(w.model, targets=2.5), InvalidType, "`targets` must be"),
        (lambda w: gs.Explainer(w.model, feed=3), InvalidType, "`feed` must be a function from"),
        (lambda w: gs.Explainer(w.loaded, preprocess=np.ones(2)), InvalidType, "`preprocess` must be"),
        (lambda w: gs.Explainer(w.model, method=[]), InvalidArgument, "`method` must name at least one"),
        (lambda w: w.explainer(w.batch, layer=[]), InvalidArgument, "`layer` must name at least one"),
        (lambda w: w.explainer.layers(None), InvalidType, "`inputs` must be a batch"),
        (lambda w: w.explainer(np.array(["a", "b"])), InvalidType, "`inputs` must be a batch"),
        (lambda w: w.explainer.dissect(w.concepts, quantile=math.nan), InvalidArgument, "`quantile` must be a number"),
    ],
    "Explanations": [(lambda w: gs.Explanations([w.explanation, 5]), InvalidType, "`explanations` must be")],
    "Frame": [
        (lambda w: gs.Frame(0, None, 5), InvalidType, "`explanation` must be a gs.Explanation"),
        (lambda w: gs.Frame(0, None, w.explanation, scale=0), InvalidArgument, "`scale` must be a number above 0"),
        (lambda w: gs.Frame(0, None, w.explanation).overlay(alpha=1), InvalidType, "It is called `opacity` here"),
    ],
    "Finding": [
        (lambda w: gs.Finding(kind="bug", sentence="a"), UnknownName, "no kind 'bug'"),
        (lambda w: gs.Finding(kind="look", sentence=5), InvalidType, "`sentence` must be a text"),
    ],
    "ImageRecord": [
        (lambda w: gs.ImageRecord.from_dict(5), InvalidArgument, "a record must be an object"),
        (lambda w: gs.ImageRecord.from_dict({}), InvalidArgument, "a record must have 'width', which is missing"),
        (lambda w: gs.ImageRecord.from_dict({"version": 9}), InvalidArgument, "a record must be of version 1 or older"),
    ],
    "Note": [
        (lambda w: gs.Note(5, "x"), InvalidType, "`code` must be a text"),
        (lambda w: gs.Note("x", None), InvalidType, "`text` must be a text"),
    ],
    "ExplainSpec": [(lambda w: gs.ExplainSpec(layer=5), InvalidType, "`layer` must be a layer's name")],
    "Explained": [(lambda w: next(w.explainer.stream(["", w.photo], batch_size=0)), InvalidArgument, "`batch_size`")],
    "Failed": [
        (lambda w: w.explainer.stream([w.photo], targets=[1]), InvalidArgument, "`targets` must be one for all")
    ],
    "Evaluation": [(lambda w: gs.Evaluation.load("nowhere"), GradsightError, "nowhere")],
    "Recommendation": [
        (lambda w: gs.Recommendation("a", 1, 1, 0.1, 0.1, 1, (), "1", (1, 1), 1), InvalidType, "`best` must be"),
    ],
    "Explanation": [
        (lambda w: w.explanation.overlay(alpha=0.5), InvalidType, "no argument `alpha`. It is called `opacity` here"),
        (lambda w: w.explanation.figure(cmap="jet"), InvalidType, "no argument `cmap`. It is called `colormap` here"),
        (lambda w: w.explanation.overlay(max_side=0), InvalidArgument, "`max_side` must be a whole number"),
        (lambda w: w.explanation.boxes(threshold=0), InvalidArgument, "`threshold` must be a number above 0"),
        (lambda w: w.explanation.mask(threshold=2), InvalidArgument, "`threshold` must be a number above 0"),
        (lambda w: w.explanation.heat_image(5), InvalidArgument, "`image` must be a whole number from 0 to 1"),
        (lambda w: w.explanation.overlay(-1), InvalidArgument, "`image` must be a whole number from 0 to 1"),
        (lambda w: w.explanation.overlay(0, 2), InvalidArgument, "`target` must be a whole number from 0 to 1"),
        (lambda w: w.explanation.region(7), InvalidArgument, "`image` must be a whole number from 0 to 1"),
        (lambda w: w.explanation.region(target=-1), InvalidArgument, "`target` must be a whole number from 0 to 1"),
        (lambda w: w.explanation.region(against=5), InvalidType, "`against` must be True or False"),
        (lambda w: w.explanation.on_photo(True), InvalidArgument, "`image` must be a whole number"),
        (lambda w: w.explanation.figure(-1), InvalidArgument, "`image` must be a whole number from 0 to 1"),
        (lambda w: w.explanation.figure(height=math.nan), InvalidArgument, "`height` must be a whole number"),
        (lambda w: w.explanation.figure(height=10**6), InvalidArgument, "`height` is too large.*limits.PIXELS"),
        (lambda w: w.explanation.figure(signed=2), InvalidType, "`signed` must be True or False"),
        (lambda w: w.explanation.record(2), InvalidArgument, "`image` must be a whole number from 0 to 1"),
        (lambda w: w.explanation.record(0, ["a"]), InvalidArgument, r"`files` must be the names of 2 file\(s\)"),
        (lambda w: w.explanation.record(0, "ab"), InvalidArgument, r"`files` must be the names of 2 file\(s\)"),
        (lambda w: w.explanation.heatmaps(size="7x7"), InvalidArgument, "`size` must be 2 positive whole numbers"),
        (lambda w: w.explanation.heatmaps(size=10**6), InvalidArgument, "`size` is too large.*limits.PIXELS"),
        (lambda w: w.explanation.heatmaps(scale=math.nan), InvalidArgument, "`scale` must be"),
        (lambda w: w.explanation.heatmaps(signed="no"), InvalidType, "`signed` must be True or False"),
        (lambda w: w.explanation.overlay(opacity=None), InvalidArgument, "`opacity` must be 'value' or a number"),
        (lambda w: w.explanation.overlay(colormap=[]), InvalidType, "`colormap` must be the name"),
        (lambda w: w.explanation.neurons(0), InvalidArgument, "`k` must be a whole number"),
        (lambda w: w.explanation.neurons(image=-1), InvalidArgument, "`image` must be a whole number from 0 to 1"),
        (lambda w: w.explanation.neurons(by="size"), UnknownName, "no order of channels 'size'"),
        (lambda w: w.explanation.save(None), InvalidType, "`path` must be a path"),
        (lambda w: w.explanation.save(w.path / "a.npz"), InvalidArgument, "cannot be written"),
        (lambda w: gs.Explanation.load(5), InvalidType, "`path` must be a path"),
    ],
    "Local": [(lambda w: gs.Local(workers=0), InvalidArgument, "`workers` must be a whole number")],
    "Model": [
        (lambda w: gs.Model(w.model, feed=5), InvalidType, "`feed` must be a function"),
        (lambda w: gs.Model(w.model, scores="a"), InvalidType, "`scores` must be a gs.Scores"),
        (lambda w: w.loaded.about(5), InvalidType, "`text` must be a text"),
    ],
    "ModelSpec": [
        (lambda w: gs.ModelSpec(5), InvalidType, "`model` must be a name or a path"),
        (lambda w: gs.ModelSpec("demo", picture={"sise": 3}), UnknownName, "no argument of load_model 'sise'"),
    ],
    "Neurons": [(lambda w: gs.Neurons((1,), (), "a", "b"), InvalidType, "`positive` must be")],
    "Pixels": [
        (lambda w: gs.Pixels(0, box=("a",) * 4), InvalidArgument, "`box` of Pixels must be 4 numbers"),
        (lambda w: gs.Pixels(0, point=(1, math.nan)), InvalidArgument, "`point` of Pixels must be 2 numbers"),
        (lambda w: gs.Pixels(0, mask=[[math.nan]]), InvalidArgument, "`mask` of Pixels must be"),
        (lambda w: gs.Pixels(0, mask="a"), InvalidArgument, "`mask` of Pixels must be"),
        (lambda w: gs.Pixels(None), InvalidType, "`which` of Pixels must be a class"),
    ],
    "Placement": [
        (lambda w: gs.Placement("ab", (1, 1), (0, 0, 1, 1)), InvalidArgument, "`image_size` must be 2 positive"),
        (lambda w: gs.Placement(5, 5, (0, 0, math.nan, 1)), InvalidArgument, "`box` must be 4 numbers"),
        (lambda w: gs.Placement.whole(10**6, 5), InvalidArgument, "`image_size` is too large.*limits.PIXELS"),
        (lambda w: gs.Placement((5, 5), (2, 2), (0, 0, 1e-12, 5)), InvalidArgument, "`box` must be 4 .*with an area"),
        (lambda w: w.placement.to_image("heat"), InvalidArgument, "`heat` must be maps"),
        (lambda w: w.placement.to_pixel("a", 0), InvalidArgument, "`row` must be a number"),
        (lambda w: w.placement.to_input(0, math.inf), InvalidArgument, "`column` must be a number"),
    ],
    "Preprocess": [
        (lambda w: gs.Preprocess("224"), InvalidArgument, "`size` must be 2 positive whole numbers"),
        (lambda w: gs.Preprocess(20_000), InvalidArgument, "`size` is too large.*limits.INPUT_PIXELS"),
        (lambda w: gs.Preprocess(mean="grey"), InvalidArgument, "`mean` must be a number"),
        (lambda w: gs.Preprocess(std=0), InvalidArgument, "`std` must be a number"),
        (lambda w: gs.Preprocess(std=math.nan), InvalidArgument, "`std` must be a number"),
        (lambda w: gs.Preprocess(resize=2.5), InvalidArgument, "`resize` must be a whole number"),
        (lambda w: gs.Preprocess(channels_last="no"), InvalidType, "`channels_last` must be True or False"),
        (lambda w: gs.Preprocess(assumed=("sise",)), UnknownName, "no part of a preprocessing 'sise'"),
        (lambda w: gs.Preprocess(fit=5), InvalidArgument, "`fit` must be one of 'crop'"),
        (lambda w: w.preprocess(5), InvalidType, "image must be a path"),
        (lambda w: w.preprocess.place(np.full((4, 4), math.nan)), ImageError, "finite"),
    ],
    "Scores": [
        (lambda w: gs.Scores(5), InvalidType, "`function` of Scores must be outputs -> "),
        (lambda w: gs.Scores(len, "tanh"), UnknownName, "no activation 'tanh'"),
    ],
    "Several": [
        (lambda w: gs.Several(0, 2.5), InvalidType, "`targets` must be"),
        (lambda w: w.explainer(w.batch, targets=fuzz_api.nested_targets(2000)), InvalidArgument, "nested so deeply"),
    ],
    "Similarity": [
        (lambda w: gs.Similarity(text=5), InvalidType, "`text` of Similarity must be a text"),
        (lambda w: gs.Similarity(embedding="abc"), InvalidArgument, "`embedding` of Similarity must be"),
    ],
    "Ray": [(lambda w: gs.Ray(workers=0), InvalidArgument, "`workers` must be a whole number")],
    "Report": [(lambda w: gs.Report(5, 0, 0, 0), InvalidType, "`path` must be")],
    "Run": [
        (lambda w: gs.Run("nowhere"), InvalidArgument, "`run` must be the folder of a run"),
        (lambda w: w.run[2.5], InvalidArgument, "`image` must be a whole number"),
        (lambda w: w.run.filter("scor > 3"), UnknownName, "no column 'scor'"),
    ],
    "Sum": [(lambda w: gs.Sum(0, 1, name=5), InvalidType, "`name` of Sum must be a text")],
    "Token": [
        (lambda w: gs.Token(at=1.5), InvalidArgument, "`at` of Token must be a whole number"),
        (lambda w: gs.Token([1]), InvalidType, "`which` of Token must be a class"),
    ],
    "Top": [(lambda w: gs.Top(10**400), InvalidArgument, "`k` of Top must be a whole number")],
    "Writing": [(lambda w: gs.Writing(len, 5, len), InvalidType, "`feed` of Writing must be a function")],
    "audit": [
        (lambda w: gs.audit(5), InvalidType, "`run` must be"),
        (lambda w: gs.audit("nowhere", most=-1), InvalidArgument, "`most` must be"),
        (lambda w: gs.audit("nowhere"), InvalidArgument, "`run` must be the folder of a run"),
    ],
    "ask": [
        (lambda w: gs.ask(w.photo, 5, model=w.answering), InvalidType, "`question` must be a text"),
        (lambda w: gs.ask([w.photo], "a", model=w.answering), InvalidType, "`photo` must be one photo"),
    ],
    "caption": [(lambda w: gs.caption(w.photo, model=5), InvalidType, "`model` must be the name of a model source")],
    "watch": [
        (lambda w: gs.watch([w.photo], w.explainer, scale="best"), UnknownName, "no scale 'best'"),
        (lambda w: gs.watch([w.photo], w.explainer, every=0), InvalidArgument, "`every` must be a whole number"),
        (lambda w: gs.watch([w.photo], w.explainer, targets=[0]), InvalidArgument, "`targets` must be one for all"),
        (lambda w: gs.watch([w.photo], w.explainer, method=["edge"]), InvalidArgument, "must be one for a video"),
        (lambda w: gs.watch(5.5, w.explainer), InvalidType, "`source` must be the path of a video"),
        (lambda w: gs.watch(-1, w.explainer), InvalidArgument, "`source` must be the number of a camera"),
        (lambda w: gs.watch("none.mp4", w.explainer), ImageError, "There is no file 'none.mp4'"),
        (lambda w: gs.watch([w.photo], w.explainer).save("x.gif"), InvalidArgument, "`path` must end in .mp4"),
        (lambda w: gs.watch([w.photo], w.explainer).save("x.mp4", alpha=1), InvalidType, "no argument `alpha`"),
    ],
    "Within": [
        (lambda w: gs.Within("cat", box=(1, 2, 3)), InvalidArgument, "`box`"),
        (lambda w: gs.Within(None, box=(1, 2, 3, 4)), InvalidType, "`which`"),
    ],
    "compare": [
        (lambda w: gs.compare(w.photo, w.explainer, methods=["gradcam"], scale="most"), UnknownName, "no scale 'most'"),
        (lambda w: gs.compare(5, w.explainer), InvalidType, "image must be a path, bytes"),
    ],
    "contrastive": [
        (lambda w: gs.contrastive("gradcam", rivals=0), InvalidArgument, "`rivals` must be a whole number")
    ],
    "eigen_smooth": [(lambda w: gs.eigen_smooth(5), InvalidType, "`method` must be")],
    "evaluate": [
        (lambda w: gs.evaluate(w.explainer, [w.photo], metrics=["delete"]), UnknownName, "no metric 'delete'"),
        (lambda w: gs.evaluate(w.explainer, []), InvalidArgument, "`photos` must"),
        (lambda w: gs.evaluate(0.5, [w.photo]), InvalidType, "`explainer` must be an Explainer"),
    ],
    "explain": [(lambda w: gs.explain(5, w.loaded), InvalidType, "`inputs` must be")],
    "fuse": [(lambda w: gs.fuse("gradcam", by="sum"), UnknownName, "no fusion 'sum'")],
    "load_model": [
        (lambda w: load_model(5), InvalidType, "`model` must be a name or a path"),
        (lambda w: load_model("demo", size="7x7"), InvalidArgument, "`size` must be 2 positive"),
        (lambda w: load_model("demo", arguments=[1]), InvalidType, "`arguments` must be a dict"),
        (lambda w: load_model("demo", crop=math.nan), InvalidArgument, "`crop` must be a number"),
        (lambda w: load_model("demo", mean=math.nan), InvalidArgument, "`mean` must be a number"),
        (lambda w: load_model("a" * 10_000), UnknownName, "no model source"),
    ],
    "merge_runs": [
        (lambda w: gs.merge_runs(w.run.folder, "x"), InvalidType, "`runs` must be a list of folders"),
        (lambda w: gs.merge_runs([w.run.folder], w.run.folder), InvalidArgument, "`out` must be a new folder"),
    ],
    "method": [
        (lambda w: gs.method(5, title="A", source="B")(len), InvalidType, "`name` must be a text"),
        (lambda w: gs.method("no name", title="A", source="B")(len), InvalidArgument, "`name` must be a word"),
        (lambda w: gs.method("mine", title="A", source="B", at="top"), UnknownName, "no scope 'top'"),
        (lambda w: gs.method("mine", title="A", source="B")(5), InvalidType, "`function` must be a function"),
        (lambda w: gs.method("mine", title=5, source="B"), InvalidType, "`title` must be a text"),
    ],
    "metric": [
        (
            lambda w: gs.metric("mine", title="A", source="B", measures="luck", better="higher"),
            UnknownName,
            "no aspect 'luck'",
        ),
        (
            lambda w: gs.metric("mine", title="A", source="B", measures="sanity", better="higher", range=(1, 0)),
            InvalidArgument,
            "`range` must be",
        ),
    ],
    "open_run": [
        (lambda w: gs.open_run(5), InvalidType, "`run` must be"),
        (lambda w: gs.open_run(w.run.folder, photos=5), InvalidType, "`photos` must be a folder"),
    ],
    "recommend": [
        (lambda w: gs.recommend(w.explainer, [], by="deletion"), GradsightError, "`by` must be one of"),
        (lambda w: gs.recommend(0.5, [w.photo]), InvalidType, "`explainer` must be an Explainer"),
    ],
    "run": [
        (lambda w: gs.run([], preprocess=5, out="x"), UnknownName, r"goes with it: gs\.run\(photos, gs\.Explainer"),
        (lambda w: gs.run([w.photo], w.explainer, out=5), InvalidType, "`out` must be"),
        (lambda w: gs.run([w.photo], w.explainer, out="x", batch_size=0), InvalidArgument, "`batch_size` must be"),
        (lambda w: gs.run([w.photo], w.explainer, out="x", shard=(3, 2)), InvalidArgument, "`shard` must be one of"),
        (lambda w: gs.run([w.photo], w.explainer, out="x", engine="slurm"), UnknownName, "no engine 'slurm'"),
        (lambda w: gs.run([w.photo], w.explainer, out="x", targets=[1]), InvalidArgument, "`targets` must be one for"),
        (lambda w: gs.run(5, w.explainer, out="x"), InvalidType, "`source` must be"),
    ],
    "report": [
        (lambda w: gs.report(out="x"), InvalidArgument, "a report must be of a run or an evaluation"),
        (lambda w: gs.report(5, out="x"), InvalidType, "a report must be of runs and evaluations"),
        (lambda w: gs.report("nowhere", out="x"), InvalidArgument, "a report must be of the folder of a run"),
        (lambda w: gs.report("nowhere", out=5), InvalidType, "`out` must be"),
        (lambda w: gs.report("nowhere", out="x", shown=-1), InvalidArgument, "`shown` must be"),
        (lambda w: gs.report("nowhere", out="x", megabytes=0), InvalidArgument, "`megabytes` must be"),
        (lambda w: gs.report("nowhere", out="x", audit="nowhere"), InvalidType, "`audit` must be"),
        (lambda w: gs.report("nowhere", out="x", title=5), InvalidType, "`title` must be"),
    ],
    "refine": [(lambda w: gs.refine(b"gradcam"), InvalidType, "`method` must be")],
    "smooth": [(lambda w: gs.smooth(None), InvalidType, "`method` must be")],
    "source": [
        (lambda w: gs.source("timm", title="A", example="B")(len), InvalidArgument, "no other model source has"),
        (lambda w: gs.source("mine", title="A", example="B", packages=5), InvalidType, "`packages` must be"),
    ],
}


def test_every_public_callable_is_here() -> None:
    assert sorted(ENTRIES) == sorted(set(gs.__all__) - {"GradsightError"})


@pytest.mark.parametrize("name", list(ENTRIES))
def test_each_public_entry_says_what_it_does_not_take(name: str, world: fuzz_api.World) -> None:
    for call, error, message in ENTRIES[name]:
        with pytest.raises(error, match=message) as caught:
            call(world)
        assert "\n" not in str(caught.value)
    assert not world.changed()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: imaging.overlay(5, np.ones((2, 2))), InvalidArgument, "`image` must be an RGB picture"),
        (lambda: imaging.overlay(np.ones((2, 2, 3)), 5), InvalidArgument, "`heatmap` must be an array of shape"),
        (lambda: imaging.overlay(np.ones((2, 2, 3)), np.ones((2, 2)), signed=2), InvalidType, "`signed` must be True"),
        (lambda: imaging.region(7), InvalidArgument, "`heatmap` must be an array of one to three axes"),
        (lambda: imaging.region(np.ones((2, 2)), math.nan), InvalidArgument, "`threshold` must be a number above 0"),
        (lambda: imaging.resize(np.ones((2, 2)), "77"), InvalidArgument, "`size` must be one, two or three positive"),
        (lambda: imaging.colormap([]), InvalidType, "`colormap` must be the name of a colour map"),
        (lambda: imaging.colormap("a:b:c"), UnknownName, "no colour map 'a:b:c'"),
        (lambda: imaging.strip([], height=5), InvalidArgument, "needs a panel"),
        (lambda: imaging.strip([(Image.new("RGB", (9, 1)), "")], height=10**5), InvalidArgument, "limits.PIXELS"),
        (lambda: imaging.strip([(Image.new("RGB", (9, 9)), "")], height=2.5), InvalidArgument, "`height` must be"),
    ],
)
def test_pictures_are_drawn_of_what_they_can_be(call: Any, error: type[GradsightError], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_number_stands_for_a_square_and_for_all_channels(world: fuzz_api.World) -> None:
    made = gs.Preprocess(size=224, mean=0.5)
    assert made == gs.Preprocess((224, 224), mean=(0.5, 0.5, 0.5))
    assert gs.Preprocess(np.int64(8), mean=0.5, std=np.float32(0.25)).std == (0.25,) * 3
    assert gs.Preprocess(8, mean=(0.5,), std=0.25) == gs.Preprocess((8, 8), mean=(0.5,), std=(0.25,))
    grey = gs.Preprocess(4, fit="squash", mean=0.5, std=0.5)(np.full((5, 5, 3), 255, np.uint8))
    np.testing.assert_array_equal(grey, np.ones((3, 4, 4)))
    assert hash(gs.Preprocess([8, 8], mean=[0, 0, 0], std=np.ones(3), fill=np.full(3, 0.5)))
    explanation, volume = world.explanation, world.volume
    np.testing.assert_array_equal(explanation.heatmaps(size=8), explanation.heatmaps(size=(8, 8)))
    assert world.signal.heatmaps(size=50).shape == (1, 1, 50)
    assert volume.heatmaps(size=np.int64(4)).shape == (1, 1, 4, 4, 4)
    assert gs.Placement(20, 16, (0, 0, 20, 20)) == gs.Placement((20, 20), (16, 16), (0.0, 0.0, 20.0, 20.0))


def test_one_number_folds_tokens_to_a_square() -> None:
    torch.manual_seed(0)
    model, batch = toys.Tokens(extra=0).eval(), torch.randn(1, 3, 16, 16)
    layer = gs.Explainer(model).layers(batch)[0].name
    maps = [gs.Explainer(model, layer=layer, layout="tokens", grid=grid)(batch).maps for grid in (4, (4, 4))]
    np.testing.assert_array_equal(*maps)
    with pytest.raises(InvalidArgument, match="`grid` must hold at most"):
        gs.Explainer(model, layer=layer, layout="tokens", grid=7)(batch)


def test_a_mean_alone_is_for_all_channels_of_a_loaded_model() -> None:
    found = load_model("torchvision:squeezenet1_1", weights="none", mean=0.5).preprocess
    assert (found.mean, found.std) == ((0.5,) * 3, (0.229, 0.224, 0.225))


@pytest.mark.parametrize("count", [1, 3])
def test_masks_are_one_for_all_or_one_for_each_image(count: int, world: fuzz_api.World) -> None:
    def explained(mask: Any, n: int = 2) -> Any:
        return world.segmenter(world.batch[:n], targets=gs.Pixels(1, mask=mask))

    with pytest.raises(InvalidArgument, match=r"one for all or one for each of the 2 image\(s\)"):
        explained(np.ones((count, 16, 16)))
    with pytest.raises(InvalidArgument, match=r"the 1 image\(s\)"):
        explained(np.ones((count + 1, 16, 16)), 1)
    assert explained(np.ones((2, 16, 16))).maps.shape[0] == explained(np.ones((16, 16))).maps.shape[0] == 2


def test_files_of_a_record_are_one_for_each_target(world: fuzz_api.World) -> None:
    record = world.explanation.record
    assert [x.file for x in record(0, ["a.png", None]).targets] == ["a.png", None]
    assert [x.file for x in record(0).targets] == [None, None]
    for files in (["a"], ["a", "b", "c"], [1, 2], "ab", {"a", "b"}, itertools.repeat("a")):
        with pytest.raises(InvalidArgument, match="`files` must be"):
            record(0, files)


def test_saving_makes_the_folder(world: fuzz_api.World, tmp_path: Path) -> None:
    for value, kind in ((world.explanation, gs.Explanation), (world.dissection, gs.Dissection)):
        path = tmp_path / kind.__name__ / "deep" / "a.npz"
        value.save(path)
        assert kind.load(str(path)).layer == value.layer


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": np.ones((1, 2))}, "`scores` must be an array of shape"),
        ({"targets": ()}, "`targets` must be"),
        ({"maps": np.ones((2, 2))}, "`maps` must be"),
        ({"photos": (Image.new("RGB", (4, 4)),)}, "`photos` must be"),
        ({"placements": ()}, "`placements` must be"),
        ({"alphas": np.ones((2, 2, 5))}, "`channel_means` must be an array of shape"),
        ({"target_notes": (("a",), ("b",))}, "`target_notes` must be"),
        ({"layers": 5}, "`layers` must be a sequence"),
        ({"layers": ("a", "b")}, r"`layers` must have 1 name\(s\) where `at` is 'layer'"),
        ({"at": "nowhere"}, "There is no place of maps 'nowhere'"),
        ({"written": ("a",)}, "`written` must be"),
    ],
)
def test_fields_of_an_explanation_fit_each_other(changes: dict[str, Any], message: str, world: fuzz_api.World) -> None:
    import dataclasses

    with pytest.raises(GradsightError, match=message):
        dataclasses.replace(world.explanation, **changes)


FIRST = """
import gradsight as gs
from gradsight.errors import InvalidArgument
for decorator in (gs.method({method!r}, title="Mine", source="me"), gs.source("timm", title="Mine", example="timm:x")):
    try:
        decorator(lambda *arguments: None)
    except InvalidArgument as error:
        print(error)
from gradsight.registry import METHODS, SOURCES
print(METHODS[{method!r}].title, SOURCES["timm"].title, len(METHODS) > 20)
"""


@pytest.mark.parametrize(("method", "title"), [("gradcam", "Grad-CAM"), ("layercam", "LayerCAM")])
def test_a_name_that_is_taken_is_refused_at_once_and_spoils_nothing(method: str, title: str) -> None:
    code = FIRST.format(method=method)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    first, second, third = done.stdout.splitlines()
    assert first.startswith(f"`name` must be one that no other method has. Received: {method!r}, which is {title}.")
    assert second.startswith("`name` must be one that no other model source has. Received: 'timm'")
    assert third.startswith(f"{title} ")
    assert third.endswith(" True")


def test_a_function_of_a_user_s_may_be_entered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradsight.registry import METHODS

    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._fill()))

    def entered(factor: int) -> None:
        @gs.method("mine_again", title=f"Mine {factor}", source="me")
        def mine(probe: Any, ops: Any) -> Any:
            return factor * probe.activations

    entered(1)
    entered(2)  # as where a cell of a notebook runs once more
    assert METHODS["mine_again"].title == "Mine 2"
    with pytest.raises(InvalidArgument, match="`name` must be one that no other method has"):
        gs.method("mine_again", title="Another", source="me")(lambda probe, ops: None)


def test_the_command_line_reads_by_the_same_rules() -> None:
    assert sides("14", "--grid") == sides("14x14", "--grid") == (14, 14)
    assert sides("240×320", "--size") == (240, 320)
    assert numbers("0.5", "--mean") == (0.5,)
    assert numbers("0,1,2.5", "--mean") == (0, 1, 2.5)
    for text in ("a", "0", "7x", "7x7x7", "-3", "1.5", "9" * 5000):
        with pytest.raises(
            InvalidArgument, match=r"--size must be 2 positive whole numbers, \(height, width\), or one"
        ):
            sides(text, "--size")
    for text in ("nan", "1,2", "a,b,c", "inf", ""):
        with pytest.raises(InvalidArgument, match="--mean must be one number"):
            numbers(text, "--mean")
