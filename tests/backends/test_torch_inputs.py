"""Whatever goes in, whatever comes out and whatever the model is wrapped in: the maps are the plain ones."""

from __future__ import annotations

import copy
import dataclasses
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import accelerate
import lightning
import numpy as np
import peft
import pytest
import torch
import transformers
from torch import nn
from torch.ao import quantization
from torch.ao.quantization import quantize_fx

import gradsight as gs
import toys
from gradsight.errors import InvalidArgument, InvalidType, ModelError
from gradsight.registry import METHODS, without_gradient
from oracles import ORACLES
from states import state

CLASSES = [[0, 3], [4, 1]]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
Function = Callable[[torch.Tensor], torch.Tensor]

# PyTorch moves quantization to torchao; what is there is still what people have on their disks.
old_quantization = [
    pytest.mark.filterwarnings("ignore:.*torch.ao.quantization is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.quantize_per_tensor:UserWarning"),
    # Its observers reduce the range of eight bits on processors without VNNI, and say that they do.
    pytest.mark.filterwarnings("ignore:Please use quant_min and quant_max:UserWarning"),
]


def old(test: Any) -> Any:
    for mark in old_quantization:
        test = mark(test)
    return test


def batch(n: int = 2, *size: int) -> torch.Tensor:
    return torch.randn(n, 3, *(size or (16, 12)))


class Halves:
    """A model as two functions, for the oracles: what makes the layer's output of the images, and scores of that."""

    def __init__(self, features: Function, head: Function, images: torch.Tensor, classes: Any = CLASSES) -> None:
        self._features, self._head, self._images, self.classes = features, head, images, classes
        self.n, self.k = len(images), len(classes[0])

    def _scores(self, outputs: torch.Tensor) -> torch.Tensor:
        return torch.stack([outputs[i, self.classes[i % self.n]] for i in range(len(outputs))])

    def _slopes(self, function: Function, at: torch.Tensor) -> np.ndarray:
        leaf = at.detach().clone().requires_grad_()
        scores = self._scores(function(leaf))
        columns = [torch.autograd.grad(scores[:, j].sum(), leaf, retain_graph=True)[0] for j in range(self.k)]
        return torch.stack(columns, dim=1).double().numpy()

    def _numpy(self, function: Function, array: Any) -> np.ndarray:
        with torch.no_grad():
            return function(torch.as_tensor(array).to(self._images)).double().numpy()

    @cached_property
    def images(self) -> np.ndarray:
        return self._images.double().numpy()

    @cached_property
    def activations(self) -> np.ndarray:
        return self._numpy(self._features, self._images)

    @cached_property
    def gradients(self) -> np.ndarray:
        return self._slopes(self._head, self._features(self._images))

    @cached_property
    def image_gradients(self) -> np.ndarray:
        return self._slopes(lambda images: self._head(self._features(images)), self._images)

    @cached_property
    def scores(self) -> np.ndarray:
        return self.score(self.images)

    def score(self, images: np.ndarray) -> np.ndarray:
        return self._numpy(lambda x: self._scores(self._head(self._features(x))), images)

    def tail(self, activations: np.ndarray) -> np.ndarray:
        return self._numpy(lambda x: self._scores(self._head(x)), activations)


def assert_same(maps: Any, expected: Any, tolerance: float = 1e-5) -> None:
    assert maps.shape == expected.shape
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(maps, expected, atol=tolerance * np.abs(expected).max(), rtol=0)


def assert_explained(
    model: nn.Module, inputs: Any, plain: Halves, layer: str, *methods: str, tolerance: float = 1e-5, **options: Any
) -> None:
    """The layer is chosen by itself, and the maps of each method are the oracle's; nothing of the model changes."""
    before = state(model)
    explainer = gs.Explainer(model, targets=plain.classes, **options)
    for method in ("gradcam", *methods):
        found = explainer(inputs, method=method)
        assert found.layers == (() if METHODS[method].at == "input" else (layer,))
        # Differences of scores are as inexact as the scores, which may be much larger.
        exact = METHODS[method].gradient or method in ("eigencam", "scorecam")
        assert_same(found.maps, ORACLES[method](plain), tolerance if exact else max(tolerance, 1e-3))
        assert state(model) == before


def mean(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2).mean(2)


# --- several inputs


class Siamese(nn.Module):
    """Two images through one encoder; the first one first, or last."""

    def __init__(self, order: str = "first first") -> None:
        super().__init__()
        self.encoder, self.head, self.order = toys.convolutional()[:5], nn.Linear(12, 5), order

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        if self.order == "in one batch":
            return self.joined(*self.encoder(torch.cat((left, right))).chunk(2))
        if self.order == "first first":
            features = self.encoder(left)
            return self.joined(features, self.encoder(right))
        features = self.encoder(right)
        return self.joined(self.encoder(left), features)

    def joined(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        a, b = mean(left), mean(right)
        return self.head(torch.cat((a * b, (a - b).abs()), dim=1))


@pytest.mark.parametrize("order", ["first first", "first last"])
def test_of_two_images_the_first_is_explained_whichever_the_shared_encoder_sees_last(order: str) -> None:
    model, left, right = Siamese(order).eval(), batch(), batch()
    plain = copy.deepcopy(model).double()
    other = plain.encoder(right.double()).detach()
    halves = Halves(plain.encoder, lambda x: plain.joined(x, other), left.double())
    layer = "encoder#0" if order == "first first" else "encoder"
    methods = ("gradient", "occlusion", "ablationcam", "scorecam", "eigencam", "layercam")
    assert_explained(model, (left, right), halves, layer, *methods)
    assert_explained(model, {"left": left, "right": right}, halves, layer, "gradient", "occlusion")


class OfAPair(nn.Module):
    """Takes both images in one argument."""

    def __init__(self, siamese: nn.Module) -> None:
        super().__init__()
        self.siamese = siamese

    def forward(self, pair: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.siamese(**pair)


@pytest.mark.parametrize("nested", [False, True])
def test_the_image_that_a_dict_names_first_is_explained_by_one_explainer_after_the_other(nested: bool) -> None:
    model, left, right = Siamese().eval(), batch(), batch()
    plain = copy.deepcopy(model).double()
    within = "siamese." if nested else ""
    model = OfAPair(model) if nested else model
    seen = {"left": plain.encoder(left.double()).detach(), "right": plain.encoder(right.double()).detach()}
    first = Halves(plain.encoder, lambda x: plain.joined(x, seen["right"]), left.double())
    second = Halves(plain.encoder, lambda x: plain.joined(seen["left"], x), right.double())
    explainer = gs.Explainer(model, targets=CLASSES)
    for inputs, halves, layer in (
        ({"left": left, "right": right}, first, "encoder#0"),
        ({"right": right, "left": left}, second, "encoder"),
    ):
        given = {"pair": inputs} if nested else inputs
        found = explainer(given)
        assert found.layer == within + layer
        assert_same(found.maps, ORACLES["gradcam"](halves))
        assert not any("another input" in note for note in found.notes)
        assert_same(explainer(given, method="gradient").maps, ORACLES["gradient"](halves))


def test_a_layer_that_sees_the_other_image_has_a_note_that_says_so() -> None:
    model, left, right = Siamese().eval(), batch(), batch()
    plain = copy.deepcopy(model).double()
    seen = plain.encoder(left.double()).detach()
    other = Halves(plain.encoder, lambda x: plain.joined(seen, x), right.double())
    explainer = gs.Explainer(model, targets=CLASSES)
    for layer in ("encoder", "encoder#1"):
        found = explainer((left, right), layer=layer)
        assert_same(found.maps, ORACLES["gradcam"](other))
        assert all(any(note.code == "another_input" for note in notes) for row in found.target_notes for notes in row)
    assert not any("another input" in note for note in explainer((left, right), layer="encoder#0").notes)


def test_two_images_in_one_batch_inside_of_the_model_are_an_error_in_words() -> None:
    model, left, right = Siamese("in one batch").eval(), batch(), batch()
    for layer in (None, "encoder"):
        with pytest.raises(ModelError, match=r"several inputs into one batch.*'gradient'"):
            gs.Explainer(model, layer=layer)((left, right))
    plain = copy.deepcopy(model).double()
    halves = Halves(lambda x: x, lambda x: plain(x, right.double()), left.double())
    maps = gs.Explainer(model, method="gradient", targets=CLASSES)((left, right)).maps
    assert_same(maps, ORACLES["gradient"](halves))
    with pytest.raises(ModelError, match="4 rows for 2 image"):
        gs.Explainer(model, method="fullgrad")((left, right))


class Beside(nn.Module):
    """An image beside a table or a series."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.table, self.head = toys.convolutional()[:5], nn.Linear(4, 6), nn.Linear(6, 5)

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        table, image = sorted(given, key=lambda x: x.ndim)
        return self.behind(self.encoder(image), table)

    def behind(self, features: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        rows = torch.tanh(self.table(table))
        return self.head(mean(features) * (rows.mean(1) if rows.ndim == 3 else rows))


@pytest.mark.parametrize("shape", [(2, 4), (2, 7, 4)])
@pytest.mark.parametrize("image_first", [True, False])
def test_a_table_or_a_series_may_come_before_or_behind_the_image(shape: tuple[int, ...], image_first: bool) -> None:
    model, images, table = Beside().eval(), batch(), torch.randn(shape)
    plain = copy.deepcopy(model).double()
    halves = Halves(plain.encoder, lambda x: plain.behind(x, table.double()), images.double())
    inputs = (images, table) if image_first else (table, images)
    assert_explained(model, inputs, halves, "encoder", "gradient", "ablationcam", "scorecam")


class Captioned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.words, self.head = toys.convolutional()[:5], nn.Embedding(11, 6), nn.Linear(6, 5)

    def forward(
        self, *, input_ids: Any, attention_mask: Any, pixel_values: Any, temperature: Any = 1.0, labels: Any = None
    ) -> Any:
        scores = self.behind(self.encoder(pixel_values), input_ids, attention_mask)
        return transformers.modeling_outputs.ImageClassifierOutput(loss=labels, logits=scores / temperature)

    def behind(self, features: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        words = torch.where(mask[..., None].bool(), self.words(ids), 0).sum(1)
        return self.head(mean(features) * torch.tanh(words))


@pytest.mark.parametrize(("kind", "wrap"), [(torch.bool, dict), (torch.int64, transformers.BatchEncoding)])
def test_an_image_beside_text_is_found_in_any_order(kind: torch.dtype, wrap: Any) -> None:
    model, images = Captioned().eval(), batch()
    ids, mask = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).to(kind)
    plain = copy.deepcopy(model).double()
    halves = Halves(plain.encoder, lambda x: plain.behind(x, ids, mask) / 2, images.double())
    named = {"temperature": torch.tensor(2.0), "input_ids": ids, "attention_mask": mask, "pixel_values": images}
    for inputs in (named, dict(reversed(named.items()))):
        assert_explained(model, wrap(inputs), halves, "encoder", "gradient", "scorecam")


def test_a_list_as_one_argument_and_arguments_without_a_position() -> None:
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Siamese()

        def forward(self, images: list[torch.Tensor]) -> torch.Tensor:
            return self.pair(*images)

    model, left, right = Listed().eval(), batch(), batch()
    plain = copy.deepcopy(model.pair).double()
    other = plain.encoder(right.double()).detach()
    halves = Halves(plain.encoder, lambda x: plain.joined(x, other), left.double())
    for inputs in (([left, right],), {"images": [left, right]}):
        assert_explained(model, inputs, halves, "pair.encoder#0", "gradient", "scorecam")
    with pytest.raises(InvalidType, match=r"that list in a tuple: \(\[a, b\],\)"):
        gs.Explainer(model)([left, right])
    with pytest.raises(ModelError, match="arguments by their names as a dict"):
        gs.Explainer(Captioned())(left)


# --- signals, volumes, video


@pytest.mark.parametrize("size", [(16,), (16, 12), (6, 8, 8)])
def test_one_two_and_three_axes(size: tuple[int, ...]) -> None:
    model, images = toys.curved(dimensions=len(size)), batch(2, *size)
    plain = copy.deepcopy(model).double()
    layer = gs.Explainer(model).layers(images)[0].name
    cut = int(layer) + 1
    assert_explained(
        model, images, Halves(plain[:cut], plain[cut:], images.double()), layer, "gradient", "occlusion", "ablationcam"
    )


def test_the_pooled_channels_of_a_signal_are_no_positions() -> None:
    model, signals = toys.convolutional(dimensions=1), batch(2, 16)
    plain = copy.deepcopy(model).double()
    halves = Halves(plain[:5], plain[5:], signals.double())
    assert_explained(model, signals, halves, "4", "gradient", "scorecam")


class ByFrame(nn.Module):
    """A video through a network of pictures, frame by frame, and a recurrent one over the frames."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.over_time, self.head = encoder, nn.GRU(6, 6, batch_first=True), nn.Linear(6, 5)

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return self.behind(self.encoder(video.flatten(0, 1)), len(video))

    def behind(self, frames: torch.Tensor, n: int) -> torch.Tensor:
        frames = frames.flatten(2).mean(2) if frames.ndim == 4 else frames.mean(1)[:, :6]
        return self.head(self.over_time(frames.unflatten(0, (n, -1)))[0].mean(1))


def by_video(frames: torch.Tensor) -> torch.Tensor:
    """(n * 4, c, h, w) -> (n, c, 4, h, w)."""
    return torch.stack([frames[i : i + 4].transpose(0, 1) for i in range(0, len(frames), 4)])


def by_frame(videos: torch.Tensor) -> torch.Tensor:
    """(n, c, 4, h, w) -> (n * 4, c, h, w)."""
    return torch.cat([video.transpose(0, 1) for video in videos])


@pytest.mark.parametrize("targets", [CLASSES, gs.Contrast(CLASSES, [[3], [2]])])
def test_a_video_that_goes_through_frame_by_frame_has_a_map_for_each_frame(targets: Any) -> None:
    model, video = ByFrame(toys.convolutional()[:5]).eval(), torch.randn(2, 4, 3, 16, 12)
    plain = copy.deepcopy(model).double()
    halves = Halves(
        lambda x: by_video(plain.encoder(by_frame(x))),
        lambda x: plain.behind(by_frame(x), len(x)),
        video.double().transpose(1, 2),
    )
    if targets is CLASSES:
        methods = ("gradient", "occlusion", "ablationcam", "scorecam", "layercam")
        assert_explained(model, video, halves, "encoder", *methods)
        assert gs.Explainer(model)(video).heatmaps().shape == (2, 1, 4, 16, 12)
        return
    slopes = [Halves(halves._features, halves._head, halves._images, c).gradients for c in (CLASSES, [[3, 3], [2, 2]])]
    found = gs.Explainer(model, targets=targets)(video)
    assert_same(found.maps, ORACLES["gradcam"](halves.activations, slopes[0] - slopes[1]))


def test_the_tokens_of_frames_fold_to_frames_and_their_grids() -> None:
    vision = toys.Tokens()
    vision.head = nn.Identity()
    encoder = nn.Sequential(vision.patches, nn.Flatten(2), _Transposed(), vision.blocks[0])
    model, video = ByFrame(encoder).eval(), torch.randn(2, 4, 3, 16, 12)
    plain = copy.deepcopy(model).double()

    def features(x: torch.Tensor) -> torch.Tensor:
        return by_video(plain.encoder(by_frame(x)).transpose(1, 2).unflatten(2, (4, 3)))

    def head(x: torch.Tensor) -> torch.Tensor:
        return plain.behind(by_frame(x).flatten(2).transpose(1, 2), len(x))

    halves = Halves(features, head, video.double().transpose(1, 2))
    assert_explained(model, video, halves, "encoder", "ablationcam", "scorecam")


class _Transposed(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(1, 2)


class VideoTransformer(nn.Module):
    """Patches of two frames, a class token, two blocks."""

    def __init__(self, *, frames_first: bool) -> None:
        super().__init__()
        self.patches, self.frames_first = nn.Conv3d(3, 12, (2, 4, 4), stride=(2, 4, 4)), frames_first
        self.first = nn.Parameter(torch.randn(1, 1, 12))
        self.blocks, self.head = nn.ModuleList(toys._Block(False) for _ in range(2)), nn.Linear(12, 5)

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return self.behind(self.before(video.transpose(1, 2) if self.frames_first else video))

    def before(self, video: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(video).flatten(2).transpose(1, 2)
        return self.blocks[0](torch.cat((self.first.expand(len(tokens), -1, -1), tokens), dim=1))

    def behind(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks[1](tokens)[:, 0])


@pytest.mark.parametrize("frames_first", [True, False])
def test_the_tokens_of_a_video_fold_to_time_rows_and_columns(frames_first: bool) -> None:
    # In float64: what Ablation-CAM weighs by are small differences of scores.
    model, video = VideoTransformer(frames_first=frames_first).eval().double(), batch(2, 8, 16, 12).double()
    plain = copy.deepcopy(model)
    tokens = plain.before(video).detach()
    halves = Halves(
        lambda x: plain.before(x)[:, 1:].transpose(1, 2).unflatten(2, (4, 4, 3)),
        lambda x: plain.behind(torch.cat((tokens[:, :1], x.flatten(2).transpose(1, 2)), dim=1)),
        video.double(),
    )
    given = video.transpose(1, 2) if frames_first else video
    before = gs.Explainer(model, targets=CLASSES)(given)
    assert before.layer == "blocks.0"
    for method in ("gradcam", "ablationcam"):  # Score-CAM's images have class tokens of their own
        assert_same(gs.Explainer(model, targets=CLASSES, method=method)(given).maps, ORACLES[method](halves))
    whole = Halves(lambda x: x, lambda x: plain.behind(plain.before(x)), video.double())
    assert_same(gs.Explainer(model, targets=CLASSES, method="gradient")(given).maps, ORACLES["gradient"](whole))


# --- precisions and devices


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-6), (torch.float32, 1e-5), (torch.bfloat16, 3e-2), (torch.float16, 4e-3)],
)
def test_any_precision_on_any_device(device: str, dtype: torch.dtype, tolerance: float) -> None:
    model, images = toys.convolutional(), batch()
    plain = copy.deepcopy(model).double()
    halves = Halves(plain[:5], plain[5:], images.double())
    model = model.to(device, dtype)
    for given in (images, images.double().numpy(), images.to(device, dtype)):
        found = gs.Explainer(model, targets=CLASSES, method=["gradcam", "layercam"])(given)
        for explanation in found:
            assert explanation.layer == "4"
            assert explanation.maps.dtype == np.float32
            assert_same(explanation.maps, ORACLES[explanation.method](halves), tolerance)


def test_numbers_that_have_no_gradient_are_an_error_that_says_what_to_pass() -> None:
    class Casting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = toys.convolutional()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x.float() / 255)

    model, images = Casting().eval(), torch.randint(0, 256, (2, 3, 16, 12), dtype=torch.uint8)
    with pytest.raises(ModelError, match=r"dtype torch\.uint8.*inputs\.float\(\)"):
        gs.Explainer(model)(images)
    with pytest.raises(ModelError, match=r"dtype torch\.uint8"):  # and no series beside it is taken for the image
        gs.Explainer(Beside())((images, torch.randn(2, 7, 4)))
    with pytest.raises(ModelError, match=r"dtype torch\.complex64"):
        gs.Explainer(model)(batch().cfloat())
    plain = copy.deepcopy(model.body).double()
    halves = Halves(lambda x: plain[:5](x / 255), plain[5:], images.double())
    assert_explained(model, images.float(), halves, "body.4", "gradient")


def test_the_meta_device_is_an_error_in_words() -> None:
    with torch.device("meta"):
        model = toys.convolutional()
    with pytest.raises(ModelError, match=r"meta device.*load_state_dict"):
        gs.Explainer(model)(batch())
    with pytest.raises(InvalidArgument, match=r"`inputs` must not be on the meta device"):
        gs.Explainer(toys.convolutional())(batch().to("meta"))


# --- outputs

Named = namedtuple("Named", ["features", "logits"])


@dataclasses.dataclass
class Held:
    features: torch.Tensor
    logits: torch.Tensor


OUTPUTS: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "features first": lambda features, scores: (features, scores),
    "loss first": lambda features, scores: (scores.sum(), scores),
    "nested": lambda features, scores: [(features, (scores, features.mean()))],
    "named, and vectors first": lambda features, scores: Named(mean(features), scores),
    "dataclass, and vectors first": lambda features, scores: Held(mean(features), scores),
    "dict, and vectors first": lambda features, scores: {"pooled": mean(features), "logits": scores},
    "dict without names of ours": lambda features, scores: {"diagnosis": scores, "pooled": mean(features)},
    "model output": lambda features, scores: transformers.modeling_outputs.ImageClassifierOutput(
        loss=scores.sum(), logits=scores, hidden_states=(features,)
    ),
}


class Saying(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.body, self.how = toys.convolutional(), how

    def forward(self, x: torch.Tensor) -> Any:
        features = self.body[:5](x)
        return OUTPUTS[self.how](features, self.body[5:](features))


@pytest.mark.parametrize("how", OUTPUTS)
def test_the_class_scores_are_found_in_what_a_model_gives(how: str) -> None:
    model, images = Saying(how).eval(), batch()
    plain = copy.deepcopy(model.body).double()
    halves = Halves(plain[:5], plain[5:], images.double())
    assert_explained(model, images, halves, "body.4", "gradient")
    assert len(gs.Explainer(model)(images).predictions[0]) == 5
    names = {int(row.argmax()) for row in plain(images.double())}
    assert {target.index for row in gs.Explainer(model)(images).targets for target in row} == names


# --- wrapped


def test_a_compiled_part_and_the_wrapper_of_several_processes(tmp_path: Path) -> None:
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = toys.convolutional()[:5], toys.convolutional()[5:]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.backbone(x))

    model, images = Parts().eval(), batch()
    plain = copy.deepcopy(model).double()
    halves = Halves(plain.backbone, plain.head, images.double())
    model.backbone = torch.compile(model.backbone, backend="eager")
    model(images)
    assert_explained(model, images, halves, "backbone", "gradient", "scorecam")
    assert_same(gs.Explainer(model, layer="backbone.4", targets=CLASSES)(images).maps, ORACLES["gradcam"](halves))
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(copy.deepcopy(plain).float())
        assert_explained(wrapped, images, halves, "backbone", "gradient", "scorecam")
    finally:
        torch.distributed.destroy_process_group()


def lora(model: nn.Module, **options: Any) -> nn.Module:
    """Wrapped, in training mode, with adapters that do something."""
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=2, **options))
    for name, parameter in wrapped.named_parameters():
        if "lora" in name or "modules_to_save" in name:
            nn.init.normal_(parameter, std=0.3)
    return wrapped.train()


def tiny_vit() -> nn.Module:
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(
            hidden_size=12,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=16,
            patch_size=4,
            num_labels=5,
        )
    )


@pytest.mark.parametrize(
    ("make", "options", "layer"),
    [
        (tiny_vit, {"target_modules": ["q_proj", "v_proj"], "modules_to_save": ["classifier"]}, "vit.layers.0"),
        (tiny_vit, {"target_modules": "all-linear", "use_dora": True}, "vit.layers.0"),
        (toys.convolutional, {"target_modules": ["0", "3", "8"]}, "4"),
        (toys.convolutional, {"target_modules": ["3"], "modules_to_save": ["8"]}, "4"),
    ],
)
# PEFT asks transformers by a name that transformers has given up.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_adapters_give_the_maps_of_the_merged_model(make: Any, options: Any, layer: str) -> None:
    base, images = make(), batch(2, 16, 16)
    wrapped = lora(copy.deepcopy(base), **options)
    merged = copy.deepcopy(wrapped).merge_and_unload().eval().double()
    kept: list[torch.Tensor] = []
    merged.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    outputs = merged(images.double().requires_grad_())
    scores = outputs if isinstance(outputs, torch.Tensor) else outputs.logits
    slopes = [
        torch.autograd.grad(sum(scores[i, row[j]] for i, row in enumerate(CLASSES)), kept[0], retain_graph=True)[0]
        for j in range(2)
    ]
    activations, gradients = kept[0].detach(), torch.stack(slopes, dim=1)
    if activations.ndim == 3:  # tokens behind a class token
        activations = activations[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
        gradients = gradients[:, :, 1:].transpose(2, 3).unflatten(3, (4, 4))
    before = state(wrapped)
    explainer = gs.Explainer(wrapped, targets=CLASSES)
    found = explainer(images)
    assert found.layer == f"base_model.model.{layer}"
    assert_same(found.maps, ORACLES["gradcam"](activations.numpy(), gradients.numpy()))
    assert_same(explainer(images, layer=found.layer).maps, found.maps)
    merged = merged.float()
    for method in () if options.get("use_dora") else ("gradient", "ablationcam"):
        expected = gs.Explainer(merged, layer=layer, method=method, targets=CLASSES)(images).maps
        assert_same(explainer(images, method=method).maps, expected, 2e-3 if method == "ablationcam" else 1e-5)
    assert state(wrapped) == before
    with wrapped.disable_adapter():
        plain = gs.Explainer(base.eval(), layer=layer, targets=CLASSES)(images).maps
        if "modules_to_save" not in options:
            assert_same(explainer(images).maps, plain)
    assert_same(explainer(images).maps, found.maps)


class Trained(lightning.LightningModule):
    """Explains itself in the middle of its training."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.found = toys.convolutional().train(), []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)

    def training_step(self, given: Any, _index: int) -> torch.Tensor:
        before = state(self)
        plain = copy.deepcopy(self.net).eval().double()
        found = gs.Explainer(self, targets=CLASSES)(given[0][:2])
        self.found.append((found, Halves(plain[:5], plain[5:], given[0][:2].double()), state(self) == before))
        return nn.functional.cross_entropy(self(given[0]), given[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")
@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning")  # Lightning's own
def test_a_lightning_module_in_the_middle_of_its_training_and_afterwards() -> None:
    model = Trained()
    data = torch.utils.data.TensorDataset(batch(4), torch.tensor([0, 1, 2, 3]))
    trainer = lightning.Trainer(barebones=True, max_epochs=1, limit_train_batches=1, accelerator="cpu")
    trainer.fit(model, torch.utils.data.DataLoader(data, batch_size=4))
    ((found, halves, unchanged),) = model.found
    assert found.layer == "net.4"
    assert any("training mode" in note for note in found.notes)
    assert_same(found.maps, ORACLES["gradcam"](halves))
    assert unchanged
    assert model.trainer is trainer
    plain, images = copy.deepcopy(model.net).eval().double(), batch()
    halves = Halves(plain[:5], plain[5:], images.double())
    assert_explained(model, images, halves, "net.4", "gradient", "scorecam", "ablationcam")
    assert model.trainer is trainer


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_model_of_fabric_is_explained_under_its_own_names(precision: str) -> None:
    images = batch()
    fabric = lightning.Fabric(accelerator="cpu", devices=1, precision=precision)
    model = fabric.setup(toys.convolutional())
    plain = copy.deepcopy(model.module).double()
    assert_explained(model, images, Halves(plain[:5], plain[5:], images.double()), "4", "gradient", "scorecam")


@pytest.mark.parametrize(("precision", "tolerance"), [("no", 1e-5), ("bf16", 3e-2)])
def test_a_model_that_accelerate_has_prepared(precision: str, tolerance: float) -> None:
    model, images = toys.convolutional(), batch()
    plain = copy.deepcopy(model).double()
    halves = Halves(plain[:5], plain[5:], images.double())
    try:
        prepared = accelerate.Accelerator(cpu=True, mixed_precision=precision).prepare(model)
        assert_explained(prepared, images, halves, "4", "scorecam", tolerance=tolerance)
    finally:
        accelerate.state.AcceleratorState._reset_state(True)


# --- quantized


class Static(nn.Module):
    """As eager quantization wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = quantization.QuantStub(), quantization.DeQuantStub()
        self.one, self.norm, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        self.two, self.relu_two = nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ReLU()
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.norm(self.one(self.enter(x))))
        x = self.relu_two(self.two(x))
        return self.leave(self.head(self.pool(x).flatten(1)))


class WithoutGradients(Halves):
    """The oracles of methods without gradient ask for the shape of the gradients alone."""

    @cached_property
    def gradients(self) -> np.ndarray:
        return np.zeros((self.n, self.k, *self.activations.shape[1:]))


def static() -> tuple[nn.Module, Halves, torch.Tensor, str]:
    model, images = Static().eval(), batch()
    model.qconfig = quantization.get_default_qconfig(torch.backends.quantized.engine)
    fused = quantization.fuse_modules(model, [["one", "norm", "relu"], ["two", "relu_two"]])
    prepared = quantization.prepare(fused)
    prepared(batch(16))
    model = quantization.convert(prepared)
    scale, zero = float(model.two.scale), int(model.two.zero_point)

    def head(x: torch.Tensor) -> torch.Tensor:
        again = torch.quantize_per_tensor(x, scale, zero, torch.quint8)
        return model.leave(model.head(model.pool(again).flatten(1)))

    return model, Halves(lambda x: model.two(model.one(model.enter(x))).dequantize(), head, images), images, "two"


def dynamic() -> tuple[nn.Module, Halves, torch.Tensor, str]:
    model = quantization.quantize_dynamic(toys.convolutional(), {nn.Linear}, dtype=torch.qint8)
    return model, Halves(model[:5], _row_by_row(model[5:]), images := batch(), "4"), images, "4"


def traced() -> tuple[nn.Module, Halves, torch.Tensor, str]:
    plain, images = toys.convolutional(), batch()
    settings = quantization.get_default_qconfig_mapping(torch.backends.quantized.engine)
    prepared = quantize_fx.prepare_fx(plain, settings, (images,))
    prepared(batch(16))
    model = quantize_fx.convert_fx(prepared)
    kept: list[torch.Tensor] = []
    layer = model.get_submodule("3")
    scale, zero = float(layer.scale), int(layer.zero_point)

    def run(x: torch.Tensor, change: Any) -> torch.Tensor:
        handle = layer.register_forward_hook(change)
        try:
            return model(x)
        finally:
            handle.remove()

    def features(x: torch.Tensor) -> torch.Tensor:
        kept.clear()
        run(x, lambda _m, _i, output: kept.append(output.dequantize()))
        return kept[0]

    def head(x: torch.Tensor) -> torch.Tensor:
        again = torch.quantize_per_tensor(x, scale, zero, torch.quint8)
        return run(images, lambda *_: again)

    return model, Halves(features, head, images), images, "3"


def _row_by_row(function: Function) -> Function:
    """The range of dynamically quantized numbers is the whole batch's: rows are not independent of each other."""
    return lambda x: torch.cat([function(row[None]) for row in x])


@pytest.mark.parametrize("make", [static, dynamic, traced])
@old
def test_methods_without_gradient_on_a_quantized_model_and_words_for_the_others(make: Any) -> None:
    model, halves, images, layer = make()
    hooks = [len(module._forward_hooks) for module in model.modules()]
    scores = model(images)
    explainer = gs.Explainer(model, targets=CLASSES, batch_size=1)
    assert explainer.layers(images)[0].name == layer
    assert "the score, which has no gradient, reacts to" in explainer.layers(images)[0].remark
    for i in range(2):  # one by one, see `_row_by_row`
        one = WithoutGradients(halves._features, halves._head, images[i : i + 1], [CLASSES[i]])
        if make is traced:  # its hook replaces a whole batch
            one = WithoutGradients(halves._features, lambda x, i=i: halves._head(x.repeat(2, 1, 1, 1))[:1], *_of(one))
        for method in ("ablationcam", "eigencam", "scorecam", "fem", "occlusion"):
            found = explainer(images[i : i + 1], method=method, targets=[CLASSES[i]])
            assert found.layers == (() if method == "occlusion" else (layer,))
            assert_same(found.maps, ORACLES[method](one), 1e-4)
    for method in METHODS:
        if METHODS[method].gradient and not METHODS[method].attends:
            with pytest.raises(ModelError, match=r"model is quantized.*needs no gradient: .*eigencam.*scorecam"):
                explainer(images, method=method)
    for method in (name for name in without_gradient() if not METHODS[name].attends):
        small = {"rise": "rise(masks=20)", "sscam": "sscam(samples=2)", "iscam": "iscam(samples=2)"}.get(method, method)
        assert np.abs(explainer(images, method=small).maps).max() > 0
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert torch.equal(model(images), scores)


def _of(halves: Halves) -> tuple[torch.Tensor, Any]:
    return halves._images, halves.classes


def test_the_methods_without_gradient_are_those_that_need_none() -> None:
    """Each is run on a model whose scores have none; the others fail there (above)."""
    assert without_gradient() == sorted(
        name for name, found in METHODS.items() if not found.gradient and not found.control
    )
    assert {"ablationcam", "eigencam", "fem", "kpcacam", "occlusion", "rise", "scorecam"} <= set(without_gradient())


@old
def test_a_gradient_that_lacks_what_went_through_quantized_layers_is_not_shown() -> None:
    model, images = toys.Tokens().eval(), batch(2, 16, 12)
    whole = copy.deepcopy(model).double()
    for block in model.blocks:
        block.mlp = quantization.quantize_dynamic(block.mlp, {nn.Linear}, dtype=torch.qint8)
    explainer = gs.Explainer(model, targets=CLASSES)
    with pytest.raises(ModelError, match=r"layer 'blocks.0': the model is quantized \(DynamicQuantizedLinear\)"):
        explainer(images)  # its gradient would be that of the skip connections alone
    assert explainer.layers(images)[0].name == "blocks.0"
    assert np.abs(explainer(images, method="eigencam").maps).max() > 0
    # Behind the quantized layers it is whole.
    model = toys.Tokens().eval()
    model.load_state_dict({k: v.float() for k, v in whole.state_dict().items()})
    model.blocks[0].mlp = quantization.quantize_dynamic(model.blocks[0].mlp, {nn.Linear}, dtype=torch.qint8)
    kept: list[torch.Tensor] = []
    handle = model.blocks[0].register_forward_hook(lambda _m, _i, output: kept.append(output.detach()))
    for image in images:  # alone: the eight bits are laid out over the batch
        model(image[None])
    handle.remove()
    tokens = torch.cat(kept).double()
    halves = Halves(
        lambda x: tokens[:, 1:].transpose(1, 2).unflatten(2, (4, 3)),
        lambda x: whole.head(whole.blocks[1](torch.cat((tokens[:, :1], x.flatten(2).transpose(1, 2)), dim=1))[:, 0]),
        images.double(),
    )
    found = gs.Explainer(model, targets=CLASSES)(images)
    assert found.layer == "blocks.0"
    assert any("influence each other" in note for note in found.notes)
    assert_same(found.maps, ORACLES["gradcam"](halves))


def test_weights_of_eight_bits_have_gradients_and_they_are_used() -> None:
    class EightBit(nn.Module):
        def __init__(self, linear: nn.Linear) -> None:
            super().__init__()
            scale = linear.weight.detach().abs().amax(1, keepdim=True) / 127
            self.register_buffer("weight", (linear.weight.detach() / scale).round().to(torch.int8))
            self.register_buffer("scale", scale)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(x, self.weight.to(self.scale.dtype) * self.scale)

    model, images = toys.convolutional(), batch()
    model[8] = EightBit(model[8])
    plain = copy.deepcopy(model).double()
    assert_explained(model, images, Halves(plain[:5], plain[5:], images.double()), "4", "gradient", "ablationcam")
    # A model that holds buffers alone is in their precision.
    bare = nn.Sequential(nn.Unfold(4, stride=4), _Transposed(), EightBit(nn.Linear(48, 7)), nn.Tanh(), _Pooled())
    bare.append(EightBit(nn.Linear(7, 5))).double()
    halves = Halves(
        lambda x: bare[:4](x).transpose(1, 2).unflatten(2, (4, 3)),
        lambda x: bare[4:](x.flatten(2).transpose(1, 2)),
        images.double(),
    )
    assert_explained(bare, images, halves, "3", "gradient")


class _Pooled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.square().mean(1)


def test_the_layer_of_a_model_without_gradients_is_its_last_cut_too() -> None:
    class Shut(nn.Module):
        def __init__(self, body: nn.Module) -> None:
            super().__init__()
            self.body = body

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x).detach()

    images = batch(1, 16, 16)
    inplace = partial(toys.convolutional, inplace=True)
    for make in (
        toys.convolutional,
        inplace,
        toys.Residual,
        toys.Tokens,
        toys.ClassMap,
        toys.Reused,
        toys.ChannelsLast,
    ):
        model = make().eval()
        expected = gs.Explainer(model).layers(images)
        found = gs.Explainer(Shut(model)).layers(images)
        assert found[0].name == f"body.{expected[0].name}"
        cuts = {f"body.{x.name}": x.cut for x in expected}
        assert all(x.cut is None or x.cut == cuts[x.name] for x in found if x.name in cuts)
        if make is toys.convolutional:
            assert [x.name for x in found if x.good] == ["body.4", "body.2"]
    with pytest.raises(ModelError, match="zero gradient at every position"):
        gs.Explainer(Shut(nn.Sequential(nn.Conv2d(3, 2, 1), _Blank())))(images)


class _Blank(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0 * mean(x)


def test_a_frozen_backbone_that_leaves_the_graph_needs_no_name_of_a_layer() -> None:
    model, images = toys.NoGradStem().eval(), batch()
    plain = copy.deepcopy(model.body).double()
    assert_explained(model, images, Halves(plain[:5], plain[5:], images.double()), "body.4", "ablationcam")

    class Overwriting(toys.NoGradStem):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                x = self.body[:4](x)
            return self.body[5:](x.tanh_())

    model = Overwriting().eval()
    plain = copy.deepcopy(model.body).double()
    halves = Halves(plain[:4], lambda x: plain[5:](x.tanh()), images.double())
    assert_explained(model, images, halves, "body.3", "ablationcam")


@dataclass
class Features:
    """What a layer of the user's own gives."""

    pooled: torch.Tensor
    maps: torch.Tensor
    low: torch.Tensor


@pytest.mark.parametrize(
    ("form", "read", "part"),
    [
        (lambda a, b: (a, b), lambda found: found[0], "[0]"),
        (lambda a, b: {"pooled": b.mean((2, 3)), "maps": [a, b]}, lambda found: found["maps"][0], "['maps'][0]"),
        (lambda a, b: Named(a, b), lambda found: found.features, ".features"),
        (lambda a, b: Features(b.mean((2, 3)), a, b), lambda found: found.maps, ".maps"),
        (lambda a, b: (b.mean((2, 3)), a), lambda found: found[1], None),
        (lambda a, b: Features(b.mean((2, 3)), a, b.mean((2, 3))), lambda found: found.maps, None),
        (lambda a, b: a, lambda found: found, None),
    ],
)
def test_of_a_layer_that_gives_several_tensors_a_note_says_which_is_explained(
    form: Any, read: Any, part: str | None
) -> None:
    class Two(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> Any:
            y = super().forward(x)
            return form(y.relu(), y.tanh())

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.two, self.fc = Two(3, 4, 3), nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(read(self.two(x)).mean((2, 3)))

    net, image = Net().eval(), torch.randn(1, 3, 12, 12)
    found = gs.Explainer(net, layer="two")(image, targets=1)
    (said,) = [note.text for note in found.target_notes[0][0] if note.code == "first_of_several"] or [None]
    text = f"layer 'two' gives 2 tensors that could be maps; explained is the first, output{part}"
    assert said == (None if part is None else text)
    maps = nn.functional.conv2d(image, net.two.weight, net.two.bias).relu()
    right = ((net.fc.weight[1][:, None, None] * maps[0]).sum(0) / 100).detach()
    np.testing.assert_allclose(found.maps[0, 0], right, atol=1e-5 * float(right.abs().max()))
    without = gs.Explainer(net, method="gradient")(image, targets=1)
    assert not any("could be maps" in note for note in without.notes)
