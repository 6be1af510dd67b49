"""On a GPU everything is as on the CPU, and nothing stays in its memory: `make test-gpu` where there is one."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import gradsight as gs
from asking import ANYWHERE, asked
from gradsight.backends.torch.running import Running
from gradsight.registry import METHODS
from networks import NETWORKS, build
from states import state

pytestmark = [pytest.mark.gpu, pytest.mark.pytorch]

CLASSES = [3, 281]


@pytest.fixture(autouse=True)
def gpu() -> None:
    """Fail where there is none: these tests are run only where they are asked for."""
    assert torch.cuda.is_available(), "there is no GPU here"


def one_layer(name: str) -> bool:
    return METHODS[name].at != "layers"


QUICK = [asked(name) for name, method in METHODS.items() if not method.costly and one_layer(name) and name != "cam"]
OF_ATTENTION = [name for name in QUICK if METHODS[name.partition("(")[0]].attends]
# In double precision a difference is a mistake, and not the GPU's order of sums.
EXACT = 1e-6


def explanations(net: str, device: str, methods: list[str], dtype: torch.dtype = torch.float64) -> Any:
    model = build(net).to(device, dtype)
    images = NETWORKS[net].images(2).to(dtype)
    return gs.Explainer(model, method=methods)(images, targets=gs.Classes(*CLASSES))


def differences(ours: Any, theirs: Any) -> dict[str, float]:
    pairs = zip(ours, theirs, strict=True)
    return {a.method: float(np.abs(a.maps - b.maps).max() / max(np.abs(b.maps).max(), 1e-12)) for a, b in pairs}


@pytest.mark.parametrize("net", [name for name in NETWORKS if name != "resnet18"])
def test_maps_are_those_of_the_cpu(net: str) -> None:
    methods = [name for name in QUICK if net == "vit_b_16" or name not in OF_ATTENTION]
    here, there = explanations(net, "cuda", methods), explanations(net, "cpu", methods)
    assert [e.layers for e in here] == [e.layers for e in there]
    far = {name: x for name, x in differences(here, there).items() if x > EXACT}
    assert not far


@pytest.mark.parametrize("asked_for", ANYWHERE)
def test_each_method_gives_the_maps_of_the_cpu(asked_for: str) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Softplus(), nn.Conv2d(8, 6, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5),
    ).double()  # fmt: skip
    images = torch.randn(2, 3, 24, 20, dtype=torch.float64)
    layer = ["1", "3"] if METHODS.get(asked_for.partition("(")[0], METHODS["gradcam"]).at == "layers" else "3"

    def maps(device: str) -> np.ndarray[Any, Any]:
        own = nn.Sequential(*model).to(device)
        found = gs.Explainer(own, method=asked_for, layer=layer)(images, targets=gs.Classes(0, 2))
        own.to("cpu")
        return (found[0] if isinstance(found, tuple) else found).maps

    assert np.abs(maps("cuda") - maps("cpu")).max() <= EXACT * np.abs(maps("cpu")).max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_images_of_a_batch_go_through_together(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("resnet50").to("cuda", dtype)
    explainer, images = gs.Explainer(model), NETWORKS["resnet50"].images(32).to(dtype)
    explainer(images)
    rows: list[int] = []
    run = Running.execute

    def counted(self: Running, inputs: Any, taps: Any) -> Any:
        rows.append(len(inputs))
        return run(self, inputs, taps)

    monkeypatch.setattr(Running, "execute", counted)
    explainer(images)
    # Convolutions in TF32 give an image other digits in another batch.
    assert rows == [32]


@pytest.mark.parametrize("net", ["resnet50", "mobilenet_v3_large", "convnext_tiny", "vit_b_16", "swin_t"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_layer_is_that_of_full_precision(net: str, dtype: torch.dtype) -> None:
    model = build(net).to("cuda", dtype)
    for images in NETWORKS[net].images(64)[:3]:
        found = gs.Explainer(model).layers(images[None].to(dtype))
        assert found[0].name == NETWORKS[net].layer, [c.name for c in found]


METHODS_OF_TRANSFORMERS = ["gradcam", "layercam", *OF_ATTENTION]


def test_transformers_with_fused_attention_are_as_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    # A GPU takes other kernels for float32 and for halves than for float64, and their graphs have other nodes.
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    exact = explanations("vit_b_16", "cpu", METHODS_OF_TRANSFORMERS)
    single = explanations("vit_b_16", "cuda", METHODS_OF_TRANSFORMERS, torch.float32)
    assert not {name: x for name, x in differences(single, exact).items() if x > 1e-3}
    half = explanations("vit_b_16", "cuda", METHODS_OF_TRANSFORMERS, torch.bfloat16)
    for ours, theirs in zip(half, exact, strict=True):
        alike = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(ours.maps, theirs.maps, strict=True)]
        assert min(alike) > 0.9, (ours.method, alike)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precisions_give_the_maps_of_float32(dtype: torch.dtype, data: Path) -> None:
    photos = sorted((data / "coco").rglob("*.jpg"))[:4]
    whole, half = gs.load_model("demo"), gs.load_model("demo")
    half.model.to("cuda", dtype)
    whole.model.to("cuda")
    a, b = (gs.Explainer(model)(photos, targets=281) for model in (whole, half))
    assert b.maps.dtype == np.float32
    alike = [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a.maps, b.maps, strict=True)]
    assert min(alike) > 0.95


def test_nothing_stays_in_the_memory_of_the_gpu_and_the_model_is_as_it_was() -> None:
    model = build("resnet50").cuda()
    before_all = state(model)
    explainer, images = gs.Explainer(model, method=["gradcam", "layercam"]), NETWORKS["resnet50"].images(8)
    explainer(images)
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        found = explainer(images)  # what is found lies in the computer's own memory
    assert torch.cuda.memory_allocated() == before
    assert found[0].maps.shape == (8, 1, 7, 7)
    assert state(model) == before_all


def test_a_call_waits_for_the_gpu_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    explainer = gs.Explainer(build("resnet18").cuda())
    images = NETWORKS["resnet18"].images(1)
    explainer(images)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            explainer(images)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [str(w.message) for w in caught if "synchronizing" in str(w.message)]
    # Each keeps the GPU from what comes next; the photo goes up, scores and maps come down.
    print(f"waits: {len(waits)}", [f"{w.filename.rpartition('/')[2]}:{w.lineno}" for w in caught])
    assert len(waits) <= 8


def test_the_command_line_explains_on_a_gpu(tmp_path: Path) -> None:
    Image.effect_noise((300, 200), 60).convert("RGB").save(tmp_path / "photo.png")
    lines = {}
    for device in ("cpu", "cuda"):
        command = [sys.executable, "-m", "gradsight", "explain", "photo.png", "--device", device, "--json"]
        command += ["--out", device]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines[device] = json.loads(done.stdout.splitlines()[0])
    tops = [line["targets"][0] for line in lines.values()]
    assert tops[0]["label"] == tops[1]["label"]
    assert abs(tops[0]["score"] - tops[1]["score"]) < 0.05
