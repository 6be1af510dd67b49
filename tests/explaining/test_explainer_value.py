"""An explainer is a value: it does not change, says how it explains, and is the same again from that."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gradsight as gs
import toys
from conftest import ROOT
from gradsight.errors import GradsightError, InvalidArgument, InvalidType, UnknownName
from gradsight.explaining.spec import ExplainSpec
from gradsight.models.spec import ModelSpec

PHOTO = ROOT / "src" / "gradsight" / "data" / "cat_and_coffee.jpg"


@pytest.mark.parametrize("name", ["layer", "method", "targets", "batch_size", "model", "labels", "colour"])
def test_it_does_not_change(name: str) -> None:
    explainer = gs.Explainer(toys.convolutional())
    with pytest.raises(InvalidArgument, match=rf"`{name}` of an Explainer cannot be set.*{name}=\.\.\."):
        setattr(explainer, name, 1)
    with pytest.raises(InvalidArgument, match="does not change"):
        del explainer.layer
    for other in (copy.copy(explainer), copy.deepcopy(explainer), pickle.loads(pickle.dumps(explainer))):
        assert other.method == "gradcam"
        with pytest.raises(InvalidArgument, match="cannot be set"):
            other.layer = "0"


def test_a_list_of_the_user_s_may_go_on_changing() -> None:
    methods, targets = ["gradcam"], [1, 2]
    explainer = gs.Explainer(toys.convolutional(), method=methods, targets=targets)
    methods.append("layercam")
    targets.append(3)
    made = explainer(torch.rand(2, 3, 16, 12))
    assert isinstance(made, tuple)
    assert len(made) == 1
    assert "method=('gradcam',)" in repr(explainer)
    assert "\n" not in repr(explainer)


def test_what_is_said_of_a_model_replaces_what_it_says() -> None:
    model = gs.Model(toys.convolutional(), labels=list("abcde"), name="mine")
    explainer = gs.Explainer(model, labels=np.array(list("vwxyz")))
    assert (explainer.labels, explainer.name) == (tuple("vwxyz"), "mine")
    assert gs.Explainer(model, labels=None, name=None).labels == tuple("abcde")
    assert gs.Explainer(toys.convolutional()).name == "Sequential"
    assert gs.Explainer(model, name="other")(torch.rand(1, 3, 16, 12)).model == "other"
    doubled = gs.Explainer(model, scores=lambda outputs: outputs * 2)
    x = torch.rand(1, 3, 16, 12)
    np.testing.assert_allclose(doubled(x).scores, 2 * gs.Explainer(model)(x).scores, rtol=1e-5)
    assert repr(model) == "Model('mine', class Sequential, 5 labels)"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gs.Explainer(toys.convolutional(), metod="gradcam"), "argument of Explainer 'metod'.*'method'"),
        (lambda: gs.Explainer(toys.convolutional(), label=["a"]), "argument of Explainer 'label'.*'labels'"),
        (lambda: gs.explain(PHOTO, toys.convolutional(), interpolate="box"), "argument of explain.*'interpolation'"),
        (lambda: gs.explain(PHOTO, toys.convolutional(), topp=3), "argument of explain 'topp'.*'top'"),
        (lambda: gs.load_model("demo", sise=3), "argument of load_model 'sise'.*'size'"),
        (lambda: gs.load_model("demo", device="cud"), "`device` must be one that PyTorch has here"),
        (lambda: gs.explain(PHOTO, top=2, targets=1), "`top` and `targets` exclude each other"),
    ],
)
def test_unknown_words_have_the_nearest_ones(call: Any, message: str) -> None:
    with pytest.raises(GradsightError, match=message):
        call()


SPECS = [
    ExplainSpec(targets=gs.Top(2)),
    ExplainSpec(method=("gradcam", "smooth(layercam)"), layer=("_blocks.14", "_blocks.15"), targets="tabby"),
    ExplainSpec("occlusion(stride=0.5, window=0.5)", targets=gs.Contrast("tabby", gs.Against(285)), batch_size=4),
]

FRESH = """
import pickle, sys
import numpy as np
import gradsight as gs
from gradsight.explaining.spec import ExplainSpec
from gradsight.models.spec import ModelSpec
spec, specs, spec_text, texts, photo, out = pickle.loads(bytes.fromhex(sys.argv[1]))
assert "torch" not in sys.modules
assert ModelSpec.from_json(spec_text) == spec
assert [ExplainSpec.from_json(text) for text in texts] == specs
model = spec.load()
found = []
for each in specs:
    made = each.explainer(model)(photo)
    found += [x.maps for x in (made if isinstance(made, tuple) else (made,))]
np.savez(out, *found)
"""


def test_specs_give_the_same_bits_in_another_process(tmp_path: Path) -> None:
    model = gs.load_model("demo", fit="letterbox", size=192)
    assert model.spec == ModelSpec("demo", picture={"fit": "letterbox", "size": (192, 192)})
    explainers = [spec.explainer(model) for spec in SPECS]
    assert [explainer.spec for explainer in explainers] == SPECS
    made = [explainer(str(PHOTO)) for explainer in explainers]
    maps = [x.maps for found in made for x in (found if isinstance(found, tuple) else (found,))]
    texts = model.spec.to_json(), [spec.to_json() for spec in SPECS]
    told = pickle.dumps((model.spec, SPECS, *texts, str(PHOTO), str(tmp_path / "maps.npz")))
    # By as many threads as here: sums that are shared out among others differ in their last bits.
    threads = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run([sys.executable, "-c", FRESH, told.hex()], check=True, env=threads)
    with np.load(tmp_path / "maps.npz") as there:
        assert len(there.files) == len(maps) == 6
        for ours, name in zip(maps, there.files, strict=True):
            np.testing.assert_array_equal(ours, there[name])


def test_a_spec_keeps_the_form_of_what_was_given() -> None:
    net = toys.convolutional()
    assert gs.Explainer(net, method=["gradcam"], layer=net[2], grid=7).spec == ExplainSpec(
        ("gradcam",), "2", grid=(7, 7)
    )
    spec = gs.Explainer(net, layer=[net[0], "2"]).spec
    assert (spec.layer, spec.layers, spec.methods) == (("0", "2"), ("0", "2"), ("gradcam",))


def mine(probe: Any, ops: Any) -> Any:
    return probe.activations[:, None, 0]


def test_what_json_cannot_hold_is_told_and_pickled() -> None:
    spec = gs.Explainer(toys.convolutional(), method=mine).spec
    assert pickle.loads(pickle.dumps(spec)).methods[0].function is mine
    with pytest.raises(InvalidType, match="where its methods have names"):
        spec.to_json()
    with pytest.raises(InvalidType, match="one of gradsight's own"):
        gs.Explainer(toys.convolutional(), targets=lambda outputs: outputs[:, 0]).spec.to_json()


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2}', '{"version": 1, "colour": 3}', None])
def test_json_of_nothing_of_ours_is_told(text: Any) -> None:
    for kind in (ExplainSpec, ModelSpec):
        with pytest.raises(InvalidArgument, match=f"`text` must be what {kind.__name__}.to_json"):
            kind.from_json(text)
    assert json.loads(ExplainSpec().to_json())["version"] == 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"method": "gradcan"}, UnknownName),
        ({"layer": 5}, InvalidType),
        ({"layer": ("a", 5)}, InvalidType),
        ({"targets": 2.5}, InvalidType),
        ({"layout": "tokenz"}, UnknownName),
        ({"grid": "7x7"}, InvalidArgument),
        ({"batch_size": 0}, InvalidArgument),
    ],
)
def test_a_spec_is_checked(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        ExplainSpec(**options)


def test_targets_are_shown_whatever_they_are() -> None:
    for targets, shown in ((32, "targets=32"), (np.array([0, 2]), "targets=array([0, 2])")):
        assert shown in repr(gs.Explainer(toys.convolutional(), targets=targets))
    assert "batch_size" not in repr(gs.Explainer(toys.convolutional()))
    assert "batch_size=8" in repr(gs.Explainer(toys.convolutional(), batch_size=8))


def test_a_class_in_a_region_and_classes_in_an_array_can_be_written() -> None:
    for region in ({"box": (1, 2, 30, 40)}, {"point": (4, 5)}, {"mask": np.eye(3, dtype=bool)}):
        spec = ExplainSpec(targets=gs.Within("dog", **region))
        again = ExplainSpec.from_json(spec.to_json())
        assert isinstance(again.targets, gs.Within)
        assert again.to_json() == spec.to_json()
    spec = ExplainSpec(targets=np.array([0, 2]))
    assert spec == ExplainSpec(targets=np.array([0, 2])) == ExplainSpec.from_json(spec.to_json())
    assert hash(spec) == hash(ExplainSpec(targets=[0, 2]))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (ExplainSpec, {"targets": {"kind": "Sum", "targets": 3}}),
        (ExplainSpec, {"targets": {"kind": "Contrast"}}),
        (ModelSpec, {}),
        (ModelSpec, {"source": "demo", "preprocess": {"colour": 1}}),
    ],
)
def test_json_with_fields_that_are_missing_or_unknown_is_told(kind: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"must be what .*to_.* (wrote|gives)"):
        kind.from_json(json.dumps({"version": 1, **fields}))
    # What a value's own rule says is more than that.
    with pytest.raises(InvalidType, match="`weights` must be"):
        ModelSpec.from_json(json.dumps({"version": 1, "source": "demo", "weights": 3}))
