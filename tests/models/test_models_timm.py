"""Models of timm: logits, pictures and classes as timm's own code gives them, and what can go wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from typer.testing import CliRunner

from gradsight.cli.app import app
from gradsight.errors import InvalidArgument, MissingDependency, ModelError, UnknownName
from gradsight.imaging import read_image
from gradsight.models.load import load_model
from gradsight.models.sources.timm import labels_of, preprocess_of
from pictures import picture
from refusals import refused

SMALL = "resnet18.a1_in1k"


def saved(tmp_path: Path, name: str, **options: Any) -> tuple[Any, Path]:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, **options).eval()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    return model, tmp_path / "weights.pt"


def test_logits_and_classes_are_those_of_timm_s_own_code(tmp_path: Path) -> None:
    own, weights = saved(tmp_path, SMALL)
    model, preprocess, labels = load_model(f"timm:{SMALL}", weights=weights)
    photo = picture(301, 457)
    transform = create_transform(**resolve_data_config(model=own), is_training=False)
    with torch.no_grad():
        expected = own(transform(photo)[None])
        found = model(torch.from_numpy(preprocess(photo))[None])
    assert not model.training
    np.testing.assert_allclose(found, expected, atol=1e-4 * float(expected.abs().max()))
    assert len(labels) == 1000
    assert labels[281] == "tabby, tabby cat"


def test_a_photo_is_explained_through_the_command_line(tmp_path: Path) -> None:
    own, weights = saved(tmp_path, SMALL)
    picture(120, 90).save(tmp_path / "photo.png")
    command = ["explain", tmp_path / "photo.png", "--model", f"timm:{SMALL}", "--weights", weights, "--json"]
    result = CliRunner().invoke(app, [*map(str, command), "--out", str(tmp_path / "out")])
    assert (result.exit_code, result.stderr) == (0, "")
    record = json.loads(result.stdout)
    transform = create_transform(**resolve_data_config(model=own), is_training=False)
    with torch.no_grad():
        logits = own(transform(picture(120, 90))[None])[0]
    assert record["targets"][0]["index"] == int(logits.argmax())
    assert record["predictions"][0]["probability"] == pytest.approx(float(logits.softmax(0).max()), abs=1e-4)


# Of all that timm has pretrained, one of each way to crop, filter, scale and shape; pct stands for the share cropped.
CONFIGS = {
    "resnet18.a1_in1k": "bicubic, pct .95",
    "resnet18.tv_in1k": "bilinear, pct .875",
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k": "mean and std of .5",
    "beit_base_patch16_224.in22k_ft_in22k_in1k": "pct .9",
    "efficientnet_lite0.ra_in1k": "bicubic, pct .875",
    "inception_v3.tv_in1k": "299",
    "vit_base_patch16_clip_224.openai": "CLIP's mean and std",
    "vit_so400m_patch14_siglip_384.webli": "squashed",
    "convnext_tiny.in12k_ft_in1k_384": "squashed at 384",
    "mobilevit_s.cvnets_in1k": "mean 0, std 1",
    "caformer_s18.sail_in1k": "pct 1",
    "gcvit_xxtiny.in1k": "another",
}


@pytest.mark.parametrize("name", CONFIGS)
def test_pictures_are_those_of_timm_s_own_transform(name: str) -> None:
    config = resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    preprocess, transform = preprocess_of(config), create_transform(**config, is_training=False)
    std = np.asarray(config["std"])[:, None, None]
    for sides in ((301, 457), (500, 333), (97, 131)):
        expected = transform(picture(*sides)).numpy()
        grey = np.abs(preprocess(picture(*sides)) - expected) * std * 255
        assert grey.max() <= 1


def test_border_and_squash_with_a_share(tmp_path: Path) -> None:
    config = resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(SMALL).to_dict())
    for mode, share in (("border", 1.0), ("border", 0.9), ("squash", 0.8)):
        config = {**config, "crop_mode": mode, "crop_pct": share}
        expected = create_transform(**config, is_training=False)(picture(301, 457)).numpy()
        grey = np.abs(preprocess_of(config)(picture(301, 457)) - expected) * 0.23 * 255
        assert grey.max() <= 1


def test_kinds_of_files_look_the_same_to_both(tmp_path: Path) -> None:
    """Grey, CMYK, transparent and EXIF-rotated photos: read_image makes RGB of them, which timm's transform wants."""
    config = resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(SMALL).to_dict())
    transform, std = create_transform(**config, is_training=False), np.asarray(config["std"])[:, None, None]
    photo = picture(151, 233)
    exif = Image.Exif()
    exif[0x0112] = 6  # its left side is up
    clear = Image.merge("RGBA", (*photo.split(), Image.linear_gradient("L").resize(photo.size)))
    over_white = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), clear).convert("RGB")
    kinds = {
        "grey.png": (photo.convert("L"), photo.convert("L").convert("RGB"), {}),
        "cmyk.tif": (photo.convert("CMYK"), photo.convert("CMYK").convert("RGB"), {}),
        "clear.png": (clear, over_white, {}),
        "turned.png": (photo, photo.transpose(Image.Transpose.ROTATE_270), {"exif": exif}),
    }
    for name, (stored, seen, options) in kinds.items():
        stored.save(tmp_path / name, **options)
        assert read_image(tmp_path / name).size == seen.size
        grey = np.abs(preprocess_of(config)(tmp_path / name) - transform(seen).numpy()) * std * 255
        assert grey.max() <= 1, name


def test_a_transformer_is_built_for_the_size_that_is_asked_for() -> None:
    loaded = load_model("timm:vit_tiny_patch16_224", weights="none", size=96)
    assert loaded.preprocess.size == (96, 96)
    with torch.no_grad():
        assert loaded.model(torch.zeros(1, 3, 96, 96)).shape == (1, 1000)
    assert load_model("timm:test_resnet", weights="none", size=64).preprocess.size == (64, 64)


def test_labels_make_the_head_where_nothing_is_pretrained(tmp_path: Path) -> None:
    _, weights = saved(tmp_path, "test_resnet", num_classes=2)
    loaded = load_model("timm:test_resnet", weights=weights, labels=["cat", "dog"])
    with torch.no_grad():
        assert loaded.model(torch.zeros(1, 3, 64, 64)).shape == (1, 2)
    assert loaded.labels == ("cat", "dog")


def test_classes_of_other_imagenets() -> None:
    """By their number where nothing else is known; some weights name theirs."""
    model = timm.create_model("test_resnet", pretrained=False, num_classes=11821)
    names = labels_of(timm, model)
    assert names is not None
    assert (len(names), names[11820]) == (11821, timm.data.ImageNetInfo("imagenet-12k").index_to_description(11820))
    assert labels_of(timm, timm.create_model("test_resnet", pretrained=False, num_classes=7)) is None
    model = timm.create_model("test_resnet", pretrained=False, num_classes=2)
    model.pretrained_cfg = {**model.pretrained_cfg, "label_names": ["n1", "n2"], "label_descriptions": {"n1": "cat"}}
    assert labels_of(timm, model) == ("cat", "n2")


def test_names_that_are_not_there() -> None:
    refused(UnknownName, "'resnet5'", "'resnet50'", source="timm:resnet5")
    refused(UnknownName, "tag 'a9_in1k'", "'a1_in1k'", source="timm:resnet18.a9_in1k")
    refused(UnknownName, "weights 'imagenet'", "file", source=f"timm:{SMALL}", weights="imagenet")
    bare = next(name for name in timm.list_models() if not timm.list_pretrained(f"{name}.*"))
    refused(InvalidArgument, "no pretrained ones", "--weights none", source=f"timm:{bare}")


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    _, weights = saved(tmp_path, "test_resnet", num_classes=2)
    refused(ModelError, "of another shape", source="timm:test_resnet", weights=weights)
    refused(InvalidArgument, "no such file", source="timm:test_resnet", weights=tmp_path / "none.pt")


def test_a_model_that_cannot_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("no patch\nfits")

    monkeypatch.setattr(timm, "create_model", fails)
    refused(ModelError, "cannot be built: no patch fits", source=f"timm:{SMALL}", weights="none")


def test_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    refused(ModelError, "could not be fetched", "--weights none", source=f"timm:{SMALL}")


def test_timm_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "timm", None)
    refused(MissingDependency, "gradsight[timm]", source=f"timm:{SMALL}")
