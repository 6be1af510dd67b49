"""Captions, answers and likeness: words as the models' own code writes them, maps as plain autograd gives them."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from typer.testing import CliRunner

import gradsight as gs
import tiny_transformers as tiny
from gradsight.cli.app import app
from gradsight.errors import InvalidArgument, InvalidType, ModelError
from gradsight.models.sources.hf.written import text_of, words_of
from pictures import picture
from tolerances import rounding

VOCABULARY = ["[PAD]", "[UNK]", "[START]", "a", "red", "##dish", "dog", "##s", ",", "cat", "of", "photo", "two"]
VOCABULARY += [".", "what", "colour", "?"]
QUESTION, OTHER = "what colour ?", "what colour dog ?"
PHOTO = picture(64, 64)  # as large as the models' input, so that nothing is resized
ENDING = [0.0, -50.0, -50.0, *[0.0] * 14]
# What is added to the scores of the words, so that a random text decoder writes several, and ends.
BIASES = {"blip_captions": {0: 0.3, 13: -0.3, 5: 0.5}, "blip_answers": {15: -1.5, 11: -0.5}}
SEEDS = {"blip_captions": 7, "blip_answers": 8, "encoder_decoder": 10}
LAYERS = {
    "blip_captions": "vision_model.encoder.layers.1",
    "blip_answers": "vision_model.encoder.layers.1",
    "encoder_decoder": "encoder.layers.1",
    "vilt": "vilt.encoder.layer.1",
    "clip": "vision_model.encoder.layers.1",
    "siglip": "vision_model.encoder.layers.1",
}


def tokenizer() -> Any:
    """Words of several tokens, and punctuation."""
    words = Tokenizer(models.WordPiece({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    words.pre_tokenizer, words.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", bos_token="[START]", model_max_length=16
    )


def build(name: str) -> Any:
    model = tiny.build(name)
    decoder = getattr(model, "text_decoder", getattr(model, "decoder", nn.Module()))
    random = torch.Generator().manual_seed(SEEDS.get(name, 0))
    with torch.no_grad():
        for key, parameter in decoder.named_parameters():
            if "position_embeddings" in key or "wpe" in key:
                parameter.normal_(std=1.5 if "wpe" in key else 3.0, generator=random)
            if key.endswith("predictions.bias"):
                bias = {**dict(enumerate(ENDING)), **BIASES[name]}
                parameter.copy_(torch.tensor([bias[i] for i in range(len(VOCABULARY))]))
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def saved(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            build(name).save_pretrained(made[name])
            tiny.TINY[name].processor().save_pretrained(made[name])
            tokenizer().save_pretrained(made[name])
        return made[name]

    return saved


@pytest.fixture(scope="module")
def loaded(folder: Callable[[str], Path]) -> Callable[[str], gs.Model]:
    made: dict[str, gs.Model] = {}

    def model(name: str) -> gs.Model:
        return made.setdefault(name, made.get(name) or gs.load_model(folder(name)))

    return model


def told(name: str, model: Any, **options: Any) -> Any:
    if name == "blip_answers":
        return gs.ask(PHOTO, QUESTION, model=model, **options)
    return gs.caption(PHOTO, model=model, **options)


# The same by transformers' own code, hooks and loops.


class Own:
    """A model as transformers loads it, with its own pictures and texts."""

    def __init__(self, name: str, folder: Path) -> None:
        config = transformers.AutoConfig.from_pretrained(folder)
        self.name = name
        self.model = getattr(transformers, config.architectures[0]).from_pretrained(folder).eval()
        processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
        self.pixels = processor(PHOTO, return_tensors="pt").pixel_values
        tokens = transformers.AutoTokenizer.from_pretrained(folder)(QUESTION, return_tensors="pt")
        self.question = {key: tokens[key] for key in ("input_ids", "attention_mask")}

    def written(self, start: list[int] | None = None) -> list[int]:
        given: dict[str, Any] = self.question if self.name == "blip_answers" else {}
        if start is not None:
            given = {"input_ids": torch.tensor([[*start, 0]])}  # its generate takes off the last one
        if self.name == "encoder_decoder":
            given = {"max_length": 16}  # as many as it has positions for
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using the model-agnostic default")
            found = self.model.generate(pixel_values=self.pixels, **given, num_beams=1, do_sample=False)
        return found[0].tolist()

    def fed(self, tokens: list[int]) -> torch.Tensor:
        """The logits (length, words) of the model's own forward, whose answers its decoder keeps to itself."""
        seen: list[Any] = []
        decoder = self.model.decoder if self.name == "encoder_decoder" else self.model.text_decoder
        handle = decoder.register_forward_hook(lambda *given: seen.append(given[2].logits))
        ids = torch.tensor([tokens[:-1]])
        given = {"input_ids": ids} if self.name == "blip_captions" else {"decoder_input_ids": ids}
        self.model(pixel_values=self.pixels, **(self.question if self.name == "blip_answers" else {}), **given)
        handle.remove()
        return seen[0][0]


def plain_maps(model: nn.Module, layer: str, scores: Callable[[], torch.Tensor], rows: Any) -> tuple[Any, Any]:
    """Grad-CAM by a hook and loops: the maps (k, 8, 8) of scores (k,), and these; ``rows`` are the patches' tokens."""
    seen: list[torch.Tensor] = []

    def keep(_: Any, __: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    handle = model.get_submodule(layer).register_forward_hook(keep)
    found = scores()
    handle.remove()
    maps = np.zeros((len(found), 8, 8))
    for j in range(len(found)):
        (gradient,) = torch.autograd.grad(found[j], seen[0], retain_graph=True)
        activation, slope = (
            x.detach()[0].double().numpy()[rows() if callable(rows) else rows] for x in (seen[0], gradient)
        )
        for channel in range(activation.shape[1]):
            weight = sum(slope[:, channel]) / 64
            maps[j] += (weight * activation[:, channel]).reshape(8, 8)
    return maps, found.detach().numpy()


def assert_same(explanation: gs.Explanation, maps: Any, scores: Any) -> None:
    tolerance = rounding(terms=128, layers=24)
    np.testing.assert_allclose(explanation.scores[0], scores, atol=tolerance * np.abs(scores).max())
    for found, expected in zip(explanation.maps[0], maps, strict=True):
        np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


AFTER_THE_CLASS_TOKEN = slice(1, None)
WRITERS = ("blip_captions", "blip_answers", "encoder_decoder")


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_written_and_the_map_of_every_word_are_those_of_the_model_s_own_code(
    name: str, folder: Callable[[str], Path], loaded: Callable[[str], gs.Model]
) -> None:
    own = Own(name, folder(name))
    tokens = own.written()
    words = words_of(tokenizer(), tokens, given=1)
    layer = f"model.{LAYERS[name]}" if name == "blip_answers" else LAYERS[name]
    explanation = told(name, loaded(name), layer=layer)
    assert explanation.written == (" ".join(tokenizer().decode(tokens, skip_special_tokens=True).split()),)
    assert explanation.labels[0] == tuple(word for word, _ in words)
    assert max(len(places) for _, places in words) > 1  # the test is about words of several tokens too
    assert explanation.predictions == ()

    def scores() -> torch.Tensor:
        logits = own.fed(tokens)
        return torch.stack([sum(logits[place - 1, tokens[place]] for place in places) for _, places in words])

    assert_same(explanation, *plain_maps(own.model, LAYERS[name], scores, AFTER_THE_CLASS_TOKEN))


def test_a_text_that_ends_and_one_that_is_cut_off(folder: Callable[[str], Path]) -> None:
    assert Own("blip_captions", folder("blip_captions")).written()[-1] == 0
    assert len(Own("encoder_decoder", folder("encoder_decoder")).written()) == 16


def test_the_beginning_of_a_caption_is_no_word_of_the_model_s(
    folder: Callable[[str], Path], loaded: Callable[[str], gs.Model]
) -> None:
    own = Own("blip_captions", folder("blip_captions"))
    tokens = own.written([2, 10, 9])
    model, words = loaded("blip_captions"), words_of(tokenizer(), tokens, given=3)
    explanation = gs.caption(PHOTO, model=model, text="of cat", layer=LAYERS["blip_captions"])
    assert explanation.written[0] == text_of(tokenizer(), tokens)
    assert explanation.written[0].startswith("of cat")
    assert explanation.labels[0] == tuple(word for word, _ in words)
    logits = own.fed(tokens).detach()
    expected = [sum(float(logits[i - 1, tokens[i]]) for i in places if i > 2) for _, places in words]
    np.testing.assert_allclose(explanation.scores[0], expected, rtol=1e-4)
    assert gs.caption(PHOTO, model=model).written[0] != explanation.written[0]


def test_the_answer_of_vilt_is_the_one_of_its_own_code(
    folder: Callable[[str], Path], loaded: Callable[[str], gs.Model]
) -> None:
    own = Own("vilt", folder("vilt"))
    model, shuffled = own.model, []
    embed = model.vilt.embeddings.visual_embed

    def embedded(*given: Any, **more: Any) -> Any:
        found = embed(*given, **more)
        places = found[2][0][0]
        shuffled.append((places[:, 0] * 8 + places[:, 1]).argsort() + 1)  # after the class token
        return found

    model.vilt.embeddings.visual_embed = embedded
    words = own.question["input_ids"].shape[1]
    maps, logits = plain_maps(
        model,
        LAYERS["vilt"],
        lambda: model(pixel_values=own.pixels, **own.question).logits[0],
        lambda: (shuffled[0] + words).numpy(),
    )
    explanation = gs.ask(PHOTO, QUESTION, model=loaded("vilt"), layer=LAYERS["vilt"], targets=gs.Classes(*range(5)))
    assert_same(explanation, maps, logits)
    best = gs.ask(PHOTO, QUESTION, model=loaded("vilt"))
    answer = best.predictions[0][0]
    assert (best.question, best.written) == (QUESTION, ())
    assert best.targets[0][0].index == answer.index == int(logits.argmax())
    assert answer.probability == pytest.approx(1 / (1 + np.exp(-logits.max())), abs=1e-4)


@pytest.mark.parametrize("name", ["vilt", "blip_answers"])
def test_a_model_is_asked_again_and_stays_as_it_was(name: str, loaded: Callable[[str], gs.Model]) -> None:
    model = loaded(name)
    for module in list(model.model.modules())[::3]:
        module.training = True  # and what mode its parts are in is their own matter
    modes = [module.training for module in model.model.modules()]
    state = {key: value.clone() for key, value in model.model.state_dict().items()}
    random, feed = torch.random.get_rng_state(), model.feed
    found = [gs.ask(PHOTO, question, model=model, layer=None) for question in (QUESTION, OTHER, QUESTION)]
    assert [x.question for x in found] == [QUESTION, OTHER, QUESTION]
    assert not np.array_equal(found[0].scores, found[1].scores)
    np.testing.assert_array_equal(found[0].maps, found[2].maps)
    batch = np.zeros((2, 3, 64, 64), np.float32)
    ids = [model.about(question).feed(batch)["input_ids"] for question in (QUESTION, OTHER)]
    assert [x.shape for x in ids] == [(2, 3), (2, 4)]
    assert model.feed is feed
    assert model.about(OTHER).model is model.model
    assert modes == [module.training for module in model.model.modules()]
    assert all(torch.equal(value, state[key]) for key, value in model.model.state_dict().items())
    assert torch.equal(random, torch.random.get_rng_state())
    assert not any(module._forward_hooks for module in model.model.modules())
    assert all(parameter.grad is None for parameter in model.model.parameters())
    model.model.eval()


def test_a_model_in_training_mode_writes_what_it_writes_else(loaded: Callable[[str], gs.Model]) -> None:
    model = loaded("encoder_decoder")
    expected = gs.caption(PHOTO, model=model)
    model.model.train()
    random = torch.random.get_rng_state()
    found = gs.caption(PHOTO, model=model)
    assert found.written == expected.written
    np.testing.assert_array_equal(found.maps, expected.maps)
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(module.training for module in model.model.modules())
    assert any("training mode" in note for note in found.notes)
    model.model.eval()


def test_several_methods_and_layers_share_the_text(loaded: Callable[[str], gs.Model]) -> None:
    found = told("encoder_decoder", loaded("encoder_decoder"), method=["gradcam", "layercam"])
    assert [x.method for x in found] == ["gradcam", "layercam"]
    assert found[0].written == found[1].written
    assert found[0].figure().height > 2 * 320


def test_what_is_written_is_saved_and_drawn(loaded: Callable[[str], gs.Model], tmp_path: Path) -> None:
    explanation = told("blip_answers", loaded("blip_answers"))
    explanation.save(tmp_path / "answer.npz")
    again = gs.Explanation.load(tmp_path / "answer.npz")
    assert (again.question, again.written) == (QUESTION, explanation.written)
    assert again.record().answer == explanation.written[0]
    assert "caption" not in again.record().to_dict()
    assert np.array_equal(again.figure(), explanation.figure())
    assert not np.array_equal(explanation.figure(), replace(explanation, written=("dog",)).figure())
    heights = [replace(explanation, written=(text,)).figure(height=80).height for text in ("dog", "two red dogs " * 9)]
    assert 0 < heights[1] - heights[0] < 50  # a long text goes on below, in its own row alone


# Words of tokens.


@pytest.mark.parametrize(
    ("tokens", "given", "expected"),
    [
        ([2, 3, 4, 5, 6, 7, 0], 1, [("a", (1,)), ("reddish", (2, 3)), ("dogs", (4, 5))]),
        ([2, 3, 6, 8, 9, 13], 1, [("a", (1,)), ("dog", (2,)), ("cat", (4,))]),
        ([2, 3, 4, 5], 3, [("reddish", (3,))]),  # of the user's "red"
        ([2, 3, 2, 6, 1, 7], 1, [("a", (1,)), ("dogs", (3, 5))]),
        ([99, 3, 99, 7, 99], 1, [("as", (1, 3))]),  # marks that the tokenizer does not know
        ([2, 13, 13], 1, [("..", (1, 2))]),
        ([2, 0], 1, []),
        ([2, 3, 4], 3, []),
    ],
)
def test_words_are_what_stands_between_spaces(tokens: Any, given: int, expected: Any) -> None:
    assert words_of(tokenizer(), np.array(tokens), given) == expected


def test_words_of_bytes() -> None:
    """A tokenizer of bytes, as GPT-2's: a space belongs to the word after it, and a letter may take two tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    bytewise = transformers.PreTrainedTokenizerFast(tokenizer_object=words)
    tokens = bytewise('the "café", red-ish')["input_ids"]
    found = words_of(bytewise, tokens)
    assert found == [
        ("the", (0, 1, 2)),
        ("café", (5, 6, 7, 8, 9)),
        ("red-ish", tuple(range(13, 20))),
    ]
    assert text_of(bytewise, tokens) == 'the "café", red-ish'


# A captioner of one's own.


class Captioner(nn.Module):
    """Writes token t + 1 after t; the score of a token is its column's mean of the features, after 2 other places."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Conv2d(3, 5, 8, 8)
        self.words = nn.Linear(5, 6)

    def forward(self, pictures: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        seen = self.words(torch.tanh(self.features(pictures)).mean((2, 3)))
        steps = torch.arange(tokens.shape[1] + 2.0)[None, :, None]
        return seen[:, None] * torch.cos(steps + torch.arange(6.0))


WRITING = gs.Writing(
    write=lambda pictures: [0, 1, 2, 3],
    feed=lambda pictures, tokens: {"pictures": pictures, "tokens": tokens},
    words=lambda tokens: [("one", (1,)), ("two three", (2, 3)), ("!", ())],
)


def captioner() -> gs.Model:
    plain = gs.Preprocess((64, 64), mean=(0.0,) * 3, std=(1.0,) * 3)
    return gs.Model(Captioner().eval(), plain, writing=WRITING)


def test_a_captioner_of_one_s_own() -> None:
    explanation = gs.caption(PHOTO, model=captioner(), layer="features")
    assert explanation.written == ("one two three !",)
    assert explanation.labels == (("one", "two three"),)
    model = Captioner().eval()
    pixels = torch.from_numpy(np.array(PHOTO)).permute(2, 0, 1)[None] / 255
    seen: list[torch.Tensor] = []
    model.features.register_forward_hook(lambda *given: seen.append(given[2]))
    logits = model(pixels, torch.zeros(1, 3))[0]
    for j, score in enumerate((logits[2, 1], logits[3, 2] + logits[4, 3])):
        (gradient,) = torch.autograd.grad(score, seen[0], retain_graph=True)
        expected = (gradient.mean((2, 3), keepdim=True) * seen[0]).sum(1)[0].detach()
        np.testing.assert_allclose(explanation.maps[0, j], expected, atol=1e-5 * float(expected.abs().max()))
        assert explanation.scores[0, j] == pytest.approx(score.item(), rel=1e-5)


def test_a_model_of_one_s_own_that_writes_answers() -> None:
    def reads(question: str) -> dict[str, Any]:
        text = [0, *(len(word) % 6 for word in question.split())]
        words = replace(WRITING, write=lambda pictures: text, words=lambda x: [(str(x[1]), (1,))], answers=True)
        return {"writing": words}

    model = replace(captioner(), writing=None, reads=reads)
    found = [gs.ask(PHOTO, question, model=model, layer="features") for question in ("how many ?", "which one ?")]
    assert [x.written for x in found] == [("3",), ("5",)]
    assert [x.record().answer for x in found] == ["3", "5"]
    with pytest.raises(InvalidArgument, match=r"must write captions.*answers questions"):
        gs.caption(PHOTO, model=model.about("how many ?"))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"write": lambda x: [0.5, 1.0]}, InvalidType, "whole numbers of shape"),
        ({"write": lambda x: [[0, 1]]}, InvalidType, "whole numbers of shape"),
        ({"write": lambda x: [0]}, InvalidType, "one more at least"),
        ({"words": lambda x: [("one", (0,))]}, InvalidType, "places from 1 to 3"),
        ({"words": lambda x: [("one", (4,))]}, InvalidType, "places from 1 to 3"),
        ({"words": lambda x: [("one", ())]}, ModelError, "wrote no word"),
    ],
)
def test_what_a_captioner_of_one_s_own_must_give(changed: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        gs.caption(PHOTO, model=replace(captioner(), writing=replace(WRITING, **changed)))


def test_what_does_not_fit_is_said(loaded: Callable[[str], gs.Model]) -> None:
    own = captioner()
    with pytest.raises(InvalidType, match="`feed` of Writing must be a function"):
        replace(WRITING, feed=None)
    with pytest.raises(InvalidArgument, match=r"must answer questions.*writes captions \(gradsight caption"):
        gs.ask(PHOTO, QUESTION, model=own)
    with pytest.raises(InvalidArgument, match=r"must write captions.*answers questions \(gradsight ask"):
        gs.caption(PHOTO, model=loaded("blip_answers"))
    with pytest.raises(InvalidArgument, match=r"must write captions.*compares pictures with texts"):
        gs.caption(PHOTO, model=loaded("clip"))
    with pytest.raises(InvalidArgument, match=r"must write captions.*'mine', which gives scores of 3 classes"):
        gs.caption(PHOTO, model=replace(own, writing=None, labels=("a", "b", "c")), name="mine")
    with pytest.raises(InvalidArgument, match="`text` means nothing"):
        gs.caption(PHOTO, model=own, text="a photo")
    with pytest.raises(InvalidArgument, match="`targets` cannot be given"):
        gs.caption(PHOTO, model=own, targets=1)
    with pytest.raises(InvalidType, match="one photo"):
        gs.caption([PHOTO], model=own)
    with pytest.raises(InvalidArgument, match=r"must write captions.*a gs\.Model of yours"):
        gs.caption(PHOTO, model=own.model)
    with pytest.raises(InvalidArgument, match="question must not be empty"):
        gs.ask(PHOTO, " ", model=loaded("vilt"))
    long = "a red dog and " * 5
    for name in ("vilt", "blip_answers"):
        with pytest.raises(InvalidArgument, match=r"too long for this model.* 20 tokens, and 16 are possible"):
            gs.ask(PHOTO, long, model=loaded(name))
    for name in ("blip_captions", "encoder_decoder"):
        with pytest.raises(InvalidArgument, match=r"too long for this model.* 22 tokens, and 16"):
            gs.caption(PHOTO, model=loaded(name), text=long)
    with pytest.raises(InvalidType, match="`question` must be a text"):
        gs.ask(PHOTO, 3, model=loaded("vilt"))
    with pytest.raises(InvalidArgument, match=r"text must be given.*gradsight ask"):
        gs.Explainer(loaded("vilt"))([PHOTO])


# Likeness.


def test_likeness_to_a_text_is_the_model_s_own(folder: Callable[[str], Path]) -> None:
    for name in ("clip", "siglip"):
        own = Own(name, folder(name))
        padding = "max_length" if name == "siglip" else True
        texts = transformers.AutoTokenizer.from_pretrained(folder(name))(
            ["a red dog", "two of cat"], padding=padding, return_tensors="pt"
        )
        texts.pop("token_type_ids", None)

        def cosines() -> torch.Tensor:
            logits = own.model(pixel_values=own.pixels, **texts).logits_per_image[0]  # noqa: B023
            return (logits - getattr(own.model, "logit_bias", 0)) / own.model.logit_scale.exp()  # noqa: B023

        rows = AFTER_THE_CLASS_TOKEN if name == "clip" else slice(None)
        maps, scores = plain_maps(own.model, LAYERS[name], cosines, rows)
        alike = gs.Several(gs.Similarity(text="a red dog"), gs.Similarity(text="two of cat"))
        for labels in (None, ["a red dog", "a cat"]):
            model = gs.load_model(folder(name), labels=labels)
            found = gs.explain(PHOTO, model=model, targets=alike, layer=f"model.{LAYERS[name]}")
            assert_same(found, maps, scores)
            assert bool(found.predictions) == (labels is not None)


def test_likeness_to_a_photo_and_a_class_without_labels(
    folder: Callable[[str], Path], loaded: Callable[[str], gs.Model]
) -> None:
    own = Own("clip", folder("clip"))
    other = picture(64, 64).rotate(90)
    pixels = transformers.AutoImageProcessor.from_pretrained(folder("clip"), backend="pil")(other, return_tensors="pt")
    with torch.no_grad():
        one, two = (own.model.get_image_features(x).pooler_output[0] for x in (own.pixels, pixels.pixel_values))
    expected = float(one @ two / (one.norm() * two.norm()))
    found = gs.explain(PHOTO, model=loaded("clip"), targets=gs.Similarity(image=other))
    assert found.scores[0, 0] == pytest.approx(expected, abs=1e-5)
    for targets in (None, 0, "cat"):
        with pytest.raises(InvalidArgument, match=r"labels must be given.*--labels FILE.*--like"):
            gs.explain(PHOTO, model=loaded("clip"), targets=targets)


# The command line.


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    PHOTO.save("photo.png")
    picture(80, 60).save("other.png")
    return tmp_path


def run(*arguments: object) -> Any:
    result = CliRunner().invoke(app, [str(x) for x in arguments], env={"COLUMNS": "400"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_command_caption(folder: Callable[[str], Path], loaded: Callable[[str], gs.Model], here: Path) -> None:
    name = "blip_captions"
    result = run("caption", "photo.png", "other.png", "none.png", "--model", folder(name), "--out", "out", "--json")
    assert result.exit_code == 1
    assert "none.png" in result.stderr
    one, other = lines(result.stdout)
    expected = gs.caption(here / "photo.png", model=loaded(name))
    assert one["caption"] == expected.written[0]
    assert [target["label"] for target in one["targets"]] == list(expected.labels[0])
    assert [target["score"] for target in one["targets"]] == pytest.approx(expected.scores[0].tolist(), rel=1e-4)
    assert (one["file"], other["file"]) == ("photo.gradcam.caption.png", "other.gradcam.caption.png")
    assert np.array_equal(Image.open(here / "out" / one["file"]), expected.figure())
    assert json.loads((here / "out/photo.caption.json").read_text()) == one


@pytest.mark.parametrize("name", ["vilt", "blip_answers"])
def test_the_command_ask(
    name: str, folder: Callable[[str], Path], loaded: Callable[[str], gs.Model], here: Path
) -> None:
    command = ["ask", "photo.png", QUESTION, "--model", folder(name), "--out", "out"]
    command += ["--top", 2] if name == "vilt" else ["--layer", f"model.{LAYERS[name]}"]
    more = {"targets": gs.Top(2)} if name == "vilt" else {"layer": f"model.{LAYERS[name]}"}
    expected = gs.ask(here / "photo.png", QUESTION, model=loaded(name), **more)
    answer = expected.predictions[0][0].label if name == "vilt" else expected.written[0]
    shown = run(*command)
    assert shown.exit_code == 0
    assert f"Asked: {QUESTION}" in shown.stdout
    assert f"The model answers: {answer}" in shown.stdout
    record = json.loads((here / "out/photo.answer.json").read_text())
    assert (record["question"], record["answer"]) == (QUESTION, answer)
    assert [x["label"] for x in record["targets"]] == list(expected.labels[0])
    assert np.array_equal(Image.open(here / "out" / record["file"]), expected.figure())


def test_the_command_similar(folder: Callable[[str], Path], loaded: Callable[[str], gs.Model], here: Path) -> None:
    (here / "sub").mkdir()
    picture(90, 90).save(here / "sub/other.png")
    others = ["other.png", "sub", "a red dog", "none.png"]
    command = ["similar", "photo.png", *others, "--model", folder("clip"), "--out", "out"]
    result = run(*command, "--json")
    assert result.exit_code == 1
    assert "none.png" in result.stderr
    photo, *rest = lines(result.stdout)
    labels = [target["label"] for target in photo["targets"]]
    assert labels == ["like other.png", f"like {Path('sub/other.png')}", "like 'a red dog'"] or labels == [
        "like other.png",
        "like sub/other.png",
        "like 'a red dog'",
    ]
    assert [x["image"] for x in rest] == ["other.png", "sub/other.png"]
    assert len({target["file"] for x in (photo, *rest) for target in x["targets"]}) == 5
    assert all((here / "out" / target["file"]).is_file() for x in (photo, *rest) for target in x["targets"])
    model = loaded("clip")
    for target, other, back in zip(photo["targets"], ("other.png", "sub/other.png"), rest, strict=False):
        expected = gs.explain(here / "photo.png", model=model, targets=gs.Similarity(image=here / other)).scores[0, 0]
        assert target["score"] == pytest.approx(float(expected), abs=1e-5)
        assert back["targets"][0]["score"] == pytest.approx(float(expected), abs=1e-5)
    shown = run(*command[:-4], "--out", "demo")  # the demo's classes are an embedding too, and it reads no texts
    assert shown.exit_code == 2
    assert "Error: Similarity to a text" in shown.stderr
    shown = run("similar", "photo.png", "photo.png", "--out", "demo")
    assert shown.exit_code == 0
    assert "like photo.png: cosine 1.0000" in shown.stdout


def test_explain_takes_what_a_photo_is_like_and_classes_together(
    folder: Callable[[str], Path], loaded: Callable[[str], gs.Model], here: Path
) -> None:
    command = ["explain", "photo.png", "--out", "out", "--json"]
    alike = [*command, "--model", folder("clip"), "--like", "a red dog", "--like", "other.png"]
    (record,) = lines(run(*alike).stdout)
    assert [x["label"] for x in record["targets"]] == ["like 'a red dog'", "like other.png"]
    scores = [x["score"] for x in record["targets"]]
    (both,) = lines(run(*alike, "--together").stdout)
    assert [x["score"] for x in both["targets"]] == pytest.approx([sum(scores)], abs=1e-5)
    (rather,) = lines(run(*alike, "--rather-than", "two cat").stdout)
    assert [x["signed"] for x in rather["targets"]] == [True, True]
    photo = gs.load_model("demo")
    each = gs.explain(here / "photo.png", model=photo, targets=gs.Classes(5, 7))
    (sum_,) = lines(run(*command, "--class", 5, "--class", 7, "--together", "--overwrite").stdout)
    assert [x["score"] for x in sum_["targets"]] == pytest.approx([float(each.scores.sum())], rel=1e-4)
    assert sum_["targets"][0]["label"] == " + ".join(each.labels[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("caption", "photo.png"), "`model` must write captions. Received: 'demo', which gives scores of 1000 classes"),
        (("ask", "photo.png", "what?"), "`model` must answer questions. Received: 'demo'"),
        (("ask", ".", "what?"), "IMAGE must be one photo"),
        (("similar", ".", "photo.png"), "IMAGE must be one photo"),
        (
            ("explain", "photo.png", "--like", "nothing.jpg"),
            "must be a photo or a text. There is no file 'nothing.jpg'",
        ),
        (("explain", "photo.png", "--like", "a", "--class", "1"), "--class and --like exclude each other"),
        (("explain", "photo.png", "--together"), "--together needs"),
    ],
)
def test_mistakes_are_one_line_and_status_2(arguments: tuple[str, ...], message: str, here: Path) -> None:
    result = run(*arguments, "--out", "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_word_cannot_write_to_the_terminal(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "hostile.py").write_text(
        "from dataclasses import replace\nfrom test_captioning import WRITING, captioner\n\n"
        "def build():\n    words = lambda tokens: [('\\x1b[31m[red]../up', (1,))]\n"
        "    return replace(captioner(), writing=replace(WRITING, words=words))\n"
    )
    monkeypatch.syspath_prepend(str(here))
    result = run("caption", "photo.png", "--model", "hostile:build", "--out", "out")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert re.search(r"The model writes: \\x1b\[31m\[red\]\.\./up", result.stdout)
    assert sorted(x.name for x in (here / "out").iterdir()) == ["photo.caption.json", "photo.gradcam.caption.png"]
