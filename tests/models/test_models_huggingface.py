"""Models of transformers: scores, pictures and words as transformers' own code gives them, and what can go wrong."""

from __future__ import annotations

import json
import logging
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from typer.testing import CliRunner

import gradsight as gs
import tiny_transformers as tiny
from gradsight.cli.app import app
from gradsight.errors import InvalidArgument, MissingDependency, ModelError
from gradsight.models.load import load_model
from gradsight.models.sources.hf.processor import preprocess_of
from pictures import picture
from refusals import refused


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a model that transformers saved."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            tiny.save(name, made[name])
        return made[name]

    return folder


def scores(loaded: gs.Model, photo: Image.Image) -> Any:
    """Class scores (n, classes) of what `load_model` gave."""
    batch = loaded.preprocess(photo)[None]
    given = batch if loaded.feed is None else loaded.feed(batch)
    tensors = {k: torch.as_tensor(v) for k, v in given.items()} if isinstance(given, dict) else None
    with torch.no_grad():
        outputs = loaded.model(torch.as_tensor(given)) if tensors is None else loaded.model(**tensors)
    return (outputs.logits if loaded.scores is None else loaded.scores.function(outputs)).numpy()


def read(folder: Path) -> tuple[Any, Any]:
    """The model and the picture's processor, by transformers' own code."""
    config = transformers.AutoConfig.from_pretrained(folder)
    kind = getattr(transformers, config.architectures[0])
    return kind.from_pretrained(folder).eval(), transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")


def own_classes(folder: Path, photo: Image.Image) -> Any:
    model, processor = read(folder)
    return model(**processor(photo, return_tensors="pt")).logits.numpy()


def own_segmentation(folder: Path, photo: Image.Image) -> Any:
    return own_classes(folder, photo).reshape(1, 5, -1).mean(-1)


def own_detection(folder: Path, photo: Image.Image) -> Any:
    """What post-processing thresholds: the best of the detections' classes, "nothing" left out."""
    return own_classes(folder, photo)[0, :, :5].max(axis=0)[None]


def own_comparison(folder: Path, photo: Image.Image) -> Any:
    model, processor = read(folder)
    padding = "max_length" if model.config.model_type == "siglip" else True
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(list(tiny.TEXTS), padding=padding, return_tensors="pt")
    tokens.pop("token_type_ids", None)
    return model(**tokens, **processor(photo, return_tensors="pt")).logits_per_image.numpy()


def own_answers(folder: Path, photo: Image.Image) -> Any:
    model, processor = read(folder)
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(tiny.QUESTION, return_tensors="pt")
    return model(**tokens, **processor(photo, return_tensors="pt")).logits.numpy()


def own_words(folder: Path, photo: Image.Image) -> Any:
    """The logits of the first word that ``generate`` writes, as it reports them."""
    model, processor = read(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    pixels = processor(photo, return_tensors="pt").pixel_values
    settings = {"max_new_tokens": 1, "output_logits": True, "return_dict_in_generate": True, "do_sample": False}
    if isinstance(model, transformers.VisionEncoderDecoderModel):
        start = torch.tensor([[2, *tokenizer(tiny.BEGINNING)["input_ids"]]])
        return model.generate(pixels, decoder_input_ids=start, **settings).logits[0].numpy()
    if isinstance(model, transformers.BlipForQuestionAnswering):
        tokens = tokenizer(tiny.QUESTION, return_tensors="pt")
        tokens.pop("token_type_ids", None)
        return model.generate(pixel_values=pixels, **tokens, **settings).logits[0].numpy()
    # its generate sets the start into the first place, and takes off the end of the last
    ids = torch.tensor([[0, *tokenizer(tiny.BEGINNING)["input_ids"], 0]])
    return model.generate(pixel_values=pixels, input_ids=ids, **settings).logits[0].numpy()


OWN = {
    "resnet": own_classes,
    "vit": own_classes,
    "swin": own_classes,
    "convnextv2": own_classes,
    "segformer": own_segmentation,
    "detr": own_detection,
    "clip": own_comparison,
    "siglip": own_comparison,
    "vilt": own_answers,
    "blip_answers": own_words,
    "blip_captions": own_words,
    "encoder_decoder": own_words,
}


@pytest.mark.parametrize("name", OWN)
def test_scores_are_those_of_transformers_own_code(name: str, folders: Callable[[str], Path]) -> None:
    photo = picture(97, 131)
    loaded = load_model(folders(name), **tiny.loading(name))
    with torch.no_grad():
        expected = OWN[name](folders(name), photo)
    np.testing.assert_allclose(scores(loaded, photo), expected, atol=2e-3 * np.abs(expected).max())
    assert not loaded.model.training


LABELS = {
    "vit": ("ant", "bee", "cat", "dog", "elk"),
    "detr": ("ant", "bee", "cat", "dog", "elk"),
    "clip": tiny.TEXTS,
    "vilt": ("ant", "bee", "cat", "dog", "elk"),
    "blip_captions": tuple(tiny.WORDS),
}


@pytest.mark.parametrize("name", LABELS)
def test_classes_have_the_names_that_the_model_knows(name: str, folders: Callable[[str], Path]) -> None:
    assert load_model(folders(name), **tiny.loading(name)).labels == LABELS[name]


@pytest.mark.parametrize("name", OWN)
def test_each_explains_a_photo_through_the_command_line(
    name: str, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    picture(120, 90).save(tmp_path / "photo.png")
    (tmp_path / "texts.txt").write_text("\n".join(tiny.TEXTS))
    beside = {"labels": ["--labels", tmp_path / "texts.txt"], "question": ["--text", tiny.QUESTION]}
    beside["caption"] = ["--text", tiny.BEGINNING]
    options = ["--model", f"hf:{folders(name)}", *beside.get(tiny.TINY[name].needs, [])]
    command = ["explain", tmp_path / "photo.png", *options, "--json", "--out", tmp_path / "out"]
    result = CliRunner().invoke(app, [str(part) for part in command])
    assert (result.exit_code, result.stderr) == (0, "")
    record = json.loads(result.stdout)
    target = record["targets"][0]
    assert (record["width"], record["height"]) == (90, 120)
    assert (tmp_path / "out" / target["file"]).is_file()
    wanted = scores(load_model(folders(name), **tiny.loading(name)), picture(120, 90))[0]
    assert target["index"] == int(wanted.argmax())
    assert target["score"] == pytest.approx(wanted.max(), rel=1e-3)
    assert bool(record["predictions"]) == (name not in ("segformer", "detr"))


def test_probabilities_are_those_that_the_kind_of_model_has(folders: Callable[[str], Path]) -> None:
    photo = picture(97, 131)
    for name, squash in (("clip", "softmax"), ("siglip", "sigmoid"), ("vilt", "sigmoid")):
        loaded = load_model(folders(name), **tiny.loading(name))
        logits = torch.from_numpy(scores(loaded, photo)[0])
        expected = logits.softmax(0) if squash == "softmax" else logits.sigmoid()
        found = {p.index: p.probability for p in gs.Explainer(loaded)([photo]).predictions[0]}
        assert found == pytest.approx({i: float(expected[i]) for i in found}, abs=1e-4)


def test_several_labels_at_once_have_probabilities_of_their_own(tmp_path: Path) -> None:
    model = tiny.save("vit", tmp_path)
    model.config.problem_type = "multi_label_classification"
    model.save_pretrained(tmp_path)
    found = gs.Explainer(load_model(tmp_path))([picture(64, 64)]).predictions[0]
    assert sum(p.probability for p in found) != pytest.approx(1, abs=1e-3)


def test_a_photo_of_each_size_is_one_input(folders: Callable[[str], Path]) -> None:
    """DETR takes every photo in its own proportions; photos of one size may go together."""
    explainer = gs.Explainer(load_model(folders("detr")))
    assert explainer([picture(100, 150)]).input_size == (192, 288)
    assert explainer([picture(100, 150), picture(100, 150)]).maps.shape == (2, 1, 6, 9)
    with pytest.raises(InvalidArgument, match="one photo at a time"):
        explainer([picture(100, 150), picture(150, 100)])


# Pictures

PROCESSORS: dict[str, Callable[[], Any]] = {
    "ViT": lambda: transformers.ViTImageProcessorPil(),
    "DeiT": lambda: transformers.DeiTImageProcessorPil(),
    "BEiT": lambda: transformers.BeitImageProcessorPil(),
    "CLIP": lambda: transformers.CLIPImageProcessorPil(),
    "SigLIP": lambda: transformers.SiglipImageProcessorPil(),
    "ConvNeXt": lambda: transformers.ConvNextImageProcessorPil(size={"shortest_edge": 224}, crop_pct=0.875),
    "ConvNeXt at 384": lambda: transformers.ConvNextImageProcessorPil(),
    "LeViT": lambda: transformers.LevitImageProcessorPil(),
    "MobileNet": lambda: transformers.MobileNetV2ImageProcessorPil(),
    "MobileViT, which turns RGB into BGR": lambda: transformers.MobileViTImageProcessorPil(),
    "EfficientNet, which scales twice": lambda: transformers.EfficientNetImageProcessorPil(),
    "PoolFormer": lambda: transformers.PoolFormerImageProcessorPil(),
    "SegFormer": lambda: transformers.SegformerImageProcessorPil(),
    "DETR": lambda: transformers.DetrImageProcessorPil(size={"shortest_edge": 200, "longest_edge": 333}),
    "ViLT": lambda: transformers.ViltImageProcessorPil(),
    "BLIP": lambda: transformers.BlipImageProcessorPil(),
    "no rescaling": lambda: transformers.ViTImageProcessorPil(do_rescale=False, do_normalize=False),
}


@pytest.mark.parametrize("kind", PROCESSORS)
def test_pictures_are_those_of_the_processor(kind: str) -> None:
    processor = PROCESSORS[kind]()
    preprocess = preprocess_of(processor)
    assert preprocess is not None
    step = _grey(processor)
    for photo in (picture(301, 457), picture(500, 333), picture(97, 131), picture(151, 233).convert("L")):
        expected = processor(photo.convert("RGB"), return_tensors="np")["pixel_values"][0]
        assert np.abs(preprocess(photo) - expected).max() <= 1.01 * step


def _grey(processor: Any) -> float:
    """How much one grey level is in what a processor gives."""
    white, black = (processor(Image.new("RGB", (300, 300), c), return_tensors="np") for c in ("white", "black"))
    return float(np.abs(white["pixel_values"] - black["pixel_values"]).max()) / 255


def test_a_processor_that_cannot_be_followed_leaves_the_choice_to_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.save("vit", tmp_path)
    transformers.ViTImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(tmp_path)
    original = transformers.ViTImageProcessorPil.resize
    monkeypatch.setattr(
        transformers.ViTImageProcessorPil, "resize", lambda self, image, **k: original(self, image[..., ::-1], **k)
    )
    loaded = load_model(tmp_path)
    assert loaded.preprocess is None
    with pytest.raises(InvalidArgument, match=r"preprocess=gs\.Preprocess"):
        gs.Explainer(loaded)([picture(64, 64)])
    own = gs.Preprocess((64, 64), fit="squash")
    assert load_model(tmp_path, preprocess=own).preprocess == own


def test_a_folder_of_a_trainer_without_a_processor_gets_that_of_its_kind(tmp_path: Path) -> None:
    model = tiny.build("vit")
    arguments = transformers.TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True)
    transformers.Trainer(model, arguments).save_model(str(tmp_path / "checkpoint-1"))
    loaded = load_model(tmp_path / "checkpoint-1")
    assert (loaded.preprocess.size, loaded.preprocess.fit) == ((64, 64), "squash")
    with torch.no_grad():
        batch = torch.zeros(1, 3, 64, 64)
        torch.testing.assert_close(loaded.model(batch).logits, model(batch).logits)


def test_a_processor_that_is_there_and_damaged_is_not_replaced(tmp_path: Path) -> None:
    tiny.save("vit", tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{")
    refused(ModelError, "its image processor cannot be read", source=tmp_path)


# What can go wrong


def test_no_such_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    refused(ModelError, "hf model 'nobody/nothing'", "configuration", "save_pretrained", source="hf:nobody/nothing")
    refused(ModelError, "configuration", source=f"hf:{tmp_path / 'nothing'}")


@pytest.mark.parametrize("spec", ["hf:nobody/nothing", "timm:resnet18.a1_in1k"])
def test_without_a_network_nothing_is_tried_again_and_nothing_else_is_said(
    spec: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise OSError("Name or service not known")

    from huggingface_hub import constants

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    started = time.monotonic()
    refused(ModelError, "model", source=spec)
    assert time.monotonic() - started < 20  # 28 to 53 seconds with what the hub's library does by itself
    assert capfd.readouterr() == ("", "")
    assert constants.HF_HUB_OFFLINE is False
    assert logging.getLogger("huggingface_hub").level < logging.CRITICAL


def test_a_task_that_cannot_be_explained(tmp_path: Path) -> None:
    transformers.ViTModel(transformers.ViTConfig(**tiny._PATCHES)).save_pretrained(tmp_path)
    refused(InvalidArgument, "its class is ViTModel", "package.module:function", source=f"hf:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    refused(InvalidArgument, "its class is not named", source=f"hf:{tmp_path}")


def test_a_folder_of_an_adapter_alone(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    refused(InvalidArgument, "an adapter of PEFT", "PeftModel.from_pretrained", source=tmp_path)


def test_texts_that_are_missing_or_too_many(folders: Callable[[str], Path]) -> None:
    for name, message in (("clip", "labels must be given.*--labels FILE"), ("vilt", "text must be given.*--text")):
        with pytest.raises(InvalidArgument, match=message):
            gs.Explainer(load_model(folders(name)))([picture(64, 64)])
    refused(InvalidArgument, "text means nothing", "ViTForImageClassification", source=folders("vit"), text="what?")
    assert load_model(folders("blip_captions")).feed(np.zeros((2, 3, 64, 64)))["input_ids"].tolist() == [[2], [2]]


def test_weights_that_are_missing_damaged_or_another_s(tmp_path: Path, folders: Callable[[str], Path]) -> None:
    model = tiny.save("vit", tmp_path)
    weights = tmp_path / "model.safetensors"
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("classifier")}
    model.save_pretrained(tmp_path, state_dict=state)
    refused(ModelError, "weights lack 2 tensors", "classifier.bias", source=tmp_path)
    weights.write_bytes(weights.read_bytes()[:1000])
    refused(ModelError, "its weights cannot be read", source=tmp_path)
    weights.unlink()
    refused(ModelError, "its weights cannot be read", source=tmp_path)
    assert load_model(tmp_path, weights="none").labels == LABELS["vit"]
    other = folders("resnet") / "model.safetensors"
    refused(ModelError, "must fit ViTForImageClassification", source=tmp_path, weights=other)


def test_half_precision_is_read_as_single(tmp_path: Path) -> None:
    tiny.build("vit").half().save_pretrained(tmp_path)
    transformers.ViTImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(tmp_path)
    assert {p.dtype for p in load_model(tmp_path).model.parameters()} == {torch.float32}


def test_transformers_itself_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = tiny.save("vit", tmp_path)
    model.save_pretrained(tmp_path, state_dict={k: v for k, v in model.state_dict().items() if "classifier" not in k})
    level = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_info()
    try:
        capfd.readouterr()
        refused(ModelError, "weights lack 2 tensors", source=tmp_path)
        assert capfd.readouterr() == ("", "")
        assert transformers.utils.logging.get_verbosity() == transformers.utils.logging.INFO
    finally:
        transformers.utils.logging.set_verbosity(level)


def test_a_pickle_that_would_run_is_not_run(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    tiny.save("vit", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"vit": Runs()}, tmp_path / "pytorch_model.bin")
    refused(ModelError, "its weights cannot be read", source=tmp_path)
    assert not (tmp_path / "ran").exists()


def test_code_of_the_author_is_not_run(tmp_path: Path) -> None:
    tiny.save("vit", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    own = {"AutoConfig": "own.Config", "AutoModelForImageClassification": "own.Model"}
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": own}))
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    refused(ModelError, "configuration cannot be read", source=tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_that_is_missing(tmp_path: Path) -> None:
    tiny.save("clip", tmp_path)
    for file in tmp_path.glob("tokenizer*"):
        file.unlink()
    refused(ModelError, "its tokenizer is missing", source=tmp_path, labels=["a cat"])


def test_transformers_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    refused(MissingDependency, "gradsight[hf]", source="hf:google/vit-base-patch16-224")


def test_a_mistake_is_one_line_and_status_2(folders: Callable[[str], Path], tmp_path: Path) -> None:
    picture(64, 64).save(tmp_path / "photo.png")
    result = CliRunner().invoke(app, ["explain", str(tmp_path / "photo.png"), "--model", str(folders("clip"))])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: labels must be given")
