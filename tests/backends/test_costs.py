"""What a call costs in operations and bytes, as a ratio to one plain forward pass (DESIGN, section 2)."""

from __future__ import annotations

import copy
import dataclasses
import math
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import gradsight as gs
from asking import ANYWHERE
from costs import MIB, flops, peak_bytes, python_calls
from gradsight import targets
from gradsight.backends.torch import TorchBackend
from gradsight.layers import Layer
from gradsight.registry import METHODS
from gradsight.variants import as_method
from networks import NETWORKS, build

RESNET = "resnet50"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return build(RESNET)


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    return NETWORKS[RESNET].images(2)


def plain(model: nn.Module, batch: torch.Tensor) -> Callable[[], Any]:
    def forward() -> Any:
        with torch.no_grad():
            return model(batch)

    return forward


@pytest.fixture(scope="module")
def forward(model: nn.Module, batch: torch.Tensor) -> int:
    return flops(plain(model, batch)).total()


# Whether the counters count.


def test_flops_are_those_of_the_textbook() -> None:
    convolution, image = nn.Conv2d(3, 5, 3, bias=False), torch.zeros(2, 3, 10, 10, requires_grad=True)
    once = 2 * (2 * 5 * 8 * 8) * (3 * 3 * 3)  # a product and a sum for every output and weight
    assert flops(lambda: convolution(image)) == {"convolution": once}
    both = flops(lambda: convolution(image).sum().backward())
    assert both == {"convolution": once, "convolution_backward": 2 * once}  # of the image and of the weights


def test_bytes_are_those_that_live_at_once() -> None:
    def call() -> Any:
        first, second = torch.empty(1000), torch.empty(500)
        del first
        return second, torch.empty(100)

    assert peak_bytes(call) == 6000
    assert peak_bytes(lambda: None) == 0


# Operations.


@pytest.mark.parametrize(("asked", "limit"), [(None, 1.01), (gs.Top(10), 1.02)])
@pytest.mark.parametrize("layer", ["layer4", None])
def test_grad_cam_is_one_forward_pass(
    model: nn.Module, batch: torch.Tensor, forward: int, layer: str | None, asked: Any, limit: float
) -> None:
    explainer = gs.Explainer(model, layer=layer)
    explainer(batch)  # chooses the layer, and sees whether images influence each other
    counted = flops(lambda: explainer(batch, targets=asked))
    assert forward <= counted.total() <= limit * forward
    assert "convolution_backward" not in counted  # neither the stem is differentiated nor any weight
    assert counted["convolution"] == flops(plain(model, batch))["convolution"]


@pytest.mark.parametrize("asked", [None, gs.Top(10)])
def test_several_layers_share_the_passes(model: nn.Module, batch: torch.Tensor, forward: int, asked: Any) -> None:
    explainer = gs.Explainer(model)
    explainer(batch)
    alone = flops(lambda: explainer(batch, layer="layer3", targets=asked))
    both = flops(lambda: explainer(batch, layer=["layer3", "layer4"], targets=asked))
    weighing = flops(lambda: torch.rand(2, 1 if asked is None else 10, 2048) @ torch.rand(2, 2048, 49))
    assert both == alone + weighing  # the channels of the other layer
    # Of the convolutions behind layer3, the gradient of what goes in, for each class, and not that of the weights.
    behind = sum(
        flops(lambda m=m, x=x: m(x))["convolution"]
        for m, x in inputs_of(model.layer4, model, batch)  # type: ignore[misc]
    )
    assert alone["convolution_backward"] == behind * (1 if asked is None else 10)
    assert alone["convolution"] == flops(plain(model, batch))["convolution"]


def inputs_of(block: nn.Module, model: nn.Module, batch: torch.Tensor) -> list[tuple[nn.Module, torch.Tensor]]:
    """The convolutions inside of a block and what goes into them."""
    found: list[tuple[nn.Module, torch.Tensor]] = []
    inner = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    handles = [m.register_forward_hook(lambda m, arguments, output: found.append((m, arguments[0]))) for m in inner]
    with torch.no_grad():
        model(batch)
    for handle in handles:
        handle.remove()
    return [(copy.deepcopy(m).requires_grad_(False), x) for m, x in found]


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v3_large", "vit_b_16"])
def test_the_first_call_costs_a_few_images_more(name: str) -> None:
    network, images = build(name), NETWORKS[name].images(2)
    image = flops(plain(network, images[:1])).total()
    explainer = gs.Explainer(network)
    first = flops(lambda: explainer(images)).total()
    again = flops(lambda: explainer(images)).total()
    # Forward and backward of the first image, whatever the batch; three to see that rows leave each other alone, and
    # four to see where positions of the image lie in the layers: as it is, with noise, and for each of two axes.
    # Of a transformer the gradient of one class is taken in two ways, and compared: a block's way back for two images.
    assert 7 * image < first - again <= (9.2 if name == "vit_b_16" else 9.01) * image


def test_of_the_last_block_of_a_transformer_the_row_that_is_read_is_differentiated() -> None:
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    network = VisionTransformer(224, 16, num_layers=12, num_heads=6, hidden_dim=384, mlp_dim=1536).eval()
    nn.init.normal_(network.heads[0].weight, std=0.1)  # type: ignore[index]
    images = NETWORKS["vit_b_16"].images(1)
    forward = flops(plain(network, images))
    explainer = gs.Explainer(network, layer=NETWORKS["vit_b_16"].layer)
    explainer(images)  # compares the gradient of one class with autograd's
    one, ten = (flops(lambda k=k: explainer(images, targets=gs.Top(k))) for k in (1, 10))  # type: ignore[misc]
    assert one.total() <= 1.002 * forward.total()
    assert ten.total() <= 1.02 * forward.total()
    assert one["addmm"] == forward["addmm"]  # nothing runs again


def test_the_trials_of_rows_and_positions_cost_seven_images_once(model: nn.Module, batch: torch.Tensor) -> None:
    image = flops(plain(model, batch[:1])).total()
    explainer = gs.Explainer(model, layer="layer4")
    first = flops(lambda: explainer(batch)).total()
    again = flops(lambda: explainer(batch)).total()
    assert first - again == (3 + 4) * image
    assert flops(lambda: explainer(batch, layer="layer3", targets=5)).total() == pytest.approx(again, rel=0.2)
    # A single image has nothing beside it, until a method needs more passes.
    explainer = gs.Explainer(model, layer="layer4")
    first = flops(lambda: explainer(batch[:1])).total()
    assert first - flops(lambda: explainer(batch[:1])).total() == 4 * image
    name = "smoothgradcampp(samples=3)"
    first = flops(lambda: explainer(batch[:1], method=name)).total()
    assert first - flops(lambda: explainer(batch[:1], method=name)).total() == 3 * image


def test_the_tail_alone_runs_again(model: nn.Module, batch: torch.Tensor, forward: int) -> None:
    backend = TorchBackend(model)
    shared = backend.run(
        batch,
        [Layer("layer4")],
        lambda logits, outputs: targets.resolve(281, targets.OutputContext(len(batch), logits)),
    )
    probe = shared.probes[0]
    many = torch.cat([probe.activations] * 5)
    assert torch.allclose(probe.tail(many), shared.scores.repeat(5, 1), rtol=1e-5, atol=1e-4)  # traces, once
    counted = flops(lambda: probe.tail(many))
    assert counted == {"addmm": 2 * len(many) * 2048 * 1000}  # the dense layer behind the pooling
    assert counted.total() / 5 < 0.002 * forward


# Bytes.


class Reading(TorchDispatchMode):
    """Counts how often products read weights of some size, and by which operators."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.by = size, Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).split(".")[1]
        if name in ("addmm", "mm", "bmm", "mv", "_linear_pointwise"):
            self.by[name] += sum(x.numel() == self.size for x in args if isinstance(x, torch.Tensor))
        return func(*args, **(kwargs or {}))


def test_large_dense_weights_are_read_once_for_all_classes() -> None:
    torch.manual_seed(0)
    dense = [nn.Linear(64 * 16, 4096), nn.ReLU(), nn.Linear(4096, 20)]
    net = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), *dense).eval()
    image = torch.rand(1, 3, 10, 10)
    explainer = gs.Explainer(net, layer="2")
    explainer(image)
    with Reading(64 * 16 * 4096) as reading:
        together = explainer(image, targets=gs.Classes(*range(10)))
    assert reading.by.total() == 2  # forward and back
    assert reading.by["_linear_pointwise"] == 1  # the quick one
    one_by_one = [explainer(image, targets=i).maps[0, 0] for i in range(10)]
    np.testing.assert_allclose(together.maps[0], one_by_one, rtol=0, atol=1e-6 * abs(together.maps).max())


def test_no_activation_of_the_stem_is_kept(model: nn.Module) -> None:
    images = NETWORKS[RESNET].images(8)
    alone = peak_bytes(plain(model, images))
    widest = 4 * 8 * 64 * 112 * 112  # the first convolution's output, and its normalisation's
    assert 2 * widest <= alone <= 8 * widest
    explainer = gs.Explainer(model)
    explainer(images)
    for asked in (None, gs.Top(10)):
        assert peak_bytes(lambda asked=asked: explainer(images, targets=asked)) <= 1.2 * alone  # type: ignore[misc]


@pytest.mark.slow
def test_peak_memory_of_a_large_batch_beside_a_peer(model: nn.Module) -> None:
    from captum.attr import LayerGradCam

    images = NETWORKS[RESNET].images(32)
    alone = peak_bytes(plain(model, images))
    explainer = gs.Explainer(model)
    assert peak_bytes(lambda: explainer(images)) <= 1.2 * alone  # choosing the layer included
    own = copy.deepcopy(model)
    peer = peak_bytes(lambda: LayerGradCam(own, own.layer4).attribute(images, target=281))
    assert peer > 5 * alone
    assert peer > 2000 * MIB


# The family.

LAST_BLOCKS = ["layer4.0", "layer4.1", "layer4.2"]


def of_one_pass(*, second_order: bool) -> list[str]:
    """The methods that take the gradient of one layer and one pass."""
    found = [m for m in METHODS.values() if m.gradient and m.at == "layer"]
    return [m.name for m in found if ("second" in m.needs if second_order else m.cost(2048, 1) == 1)]


def test_all_gradient_methods_share_a_forward_and_a_backward_pass(
    model: nn.Module, batch: torch.Tensor, forward: int
) -> None:
    names = of_one_pass(second_order=False)
    assert len(names) >= 7
    explainer = gs.Explainer(model, layer=LAST_BLOCKS)
    explainer(batch)
    alone = flops(lambda: explainer(batch, targets=gs.Top(5), method="gradcam"))
    together = flops(lambda: explainer(batch, targets=gs.Top(5), method=names))
    assert together.total() <= 2 * forward
    assert together["convolution"] == alone["convolution"]
    # Finer-CAM's rivals are further classes; those that are targets themselves are not differentiated again.
    assert alone["convolution_backward"] < together["convolution_backward"] < 2 * alone["convolution_backward"]
    plain = flops(lambda: explainer(batch, targets=gs.Top(5), method=[x for x in names if x != "finercam"]))
    assert plain["convolution_backward"] == alone["convolution_backward"]


def test_second_derivatives_are_taken_of_the_tail_alone(model: nn.Module, batch: torch.Tensor, forward: int) -> None:
    names = of_one_pass(second_order=True)
    explainer = gs.Explainer(model, layer="layer4")
    explainer(batch, method=names)  # traces
    assert names
    assert flops(lambda: explainer(batch, targets=gs.Top(5), method=names)).total() <= 1.01 * forward


def test_second_derivatives_that_are_zero_cost_nothing(model: nn.Module, batch: torch.Tensor) -> None:
    explainer = gs.Explainer(model, layer=LAST_BLOCKS, targets=gs.Top(5))
    explainer(batch, method="gradcam")
    weighing = [flops(lambda name=name: explainer(batch, method=name)) for name in ("gradcam", "shapleycam")]  # type: ignore[misc]
    assert weighing[0] == weighing[1]


def test_refinecam_takes_one_pass_back_to_the_first_of_its_layers(model: nn.Module, batch: torch.Tensor) -> None:
    layers = ["layer3", "layer4"]
    explainer = gs.Explainer(model, layer=layers, targets=gs.Top(2))
    explainer(batch[:1])
    counted = [flops(lambda name=name: explainer(batch[:1], method=name)) for name in ("refinecam", "gradcam")]  # type: ignore[misc]
    for name in ("convolution", "convolution_backward"):
        assert counted[0][name] == counted[1][name] > 0


@pytest.mark.parametrize(
    ("names", "back"),
    [
        (["guidedbackprop"], 1),
        (["guidedgradcam"], 1),
        (["guidedgradcam", "deconvnet", "guidedbackprop", "gradient"], 3),
    ],
)
def test_rules_of_rectifiers_share_one_forward_pass(
    model: nn.Module, batch: torch.Tensor, forward: int, names: list[str], back: int
) -> None:
    explainer = gs.Explainer(model, layer="layer4", method=names)
    explainer(batch[:1])
    counted = flops(lambda: explainer(batch[:1]))
    assert counted["convolution"] == flops(plain(model, batch[:1]))["convolution"]
    # By each rule once, whichever methods ask for it, and by the true derivative for the plain gradient.
    assert counted["convolution_backward"] == back * counted["convolution"]
    assert counted.total() <= (1 + back) * 1.002 * forward / 2


def test_smooth_grad_cam_pp_takes_a_pass_for_each_sample(model: nn.Module, batch: torch.Tensor, forward: int) -> None:
    explainer = gs.Explainer(model, layer="layer4", method="smoothgradcampp(samples=3)")
    explainer(batch, method="gradcam")
    counted = flops(lambda: explainer(batch))
    assert counted.total() <= 4.01 * forward
    assert counted["convolution"] == 4 * flops(plain(model, batch))["convolution"]
    assert "convolution_backward" not in counted


def test_ablation_cam_runs_the_stem_once(model: nn.Module, batch: torch.Tensor, forward: int) -> None:
    explainer = gs.Explainer(model, layer="layer4", method="ablationcam")
    explainer(batch)  # traces
    counted = flops(lambda: explainer(batch, targets=gs.Top(3)))  # the targets share the runs
    tail = 2 * len(batch) * 2048 * 1000
    assert counted["convolution"] == flops(plain(model, batch))["convolution"]
    assert counted.total() <= 1.5 * forward + 2048 * tail


def test_ablation_cam_where_something_bypasses_the_layer(model: nn.Module, batch: torch.Tensor, forward: int) -> None:
    explainer = gs.Explainer(model, layer="layer4.2.conv2", method="ablationcam")
    explainer(batch[:1])  # traces
    counted = flops(lambda: explainer(batch[:1]))
    behind = flops(lambda: model.layer4[2].conv3(torch.zeros(1, 512, 7, 7))).total() + 2 * 2048 * 1000
    assert counted.total() <= forward / 2 * 2.01 + 512 * behind


@pytest.mark.parametrize("name", ["eigencam", "kpcacam", "fem"])
def test_methods_without_gradients_add_next_to_nothing(
    model: nn.Module, batch: torch.Tensor, forward: int, name: str
) -> None:
    explainer = gs.Explainer(model, layer="layer4", method=name)
    explainer(batch)
    counted = flops(lambda: explainer(batch))
    assert counted.total() <= 1.05 * forward
    grams = counted.total() - flops(lambda: explainer(batch, method="random")).total()
    assert grams <= 2 * len(batch) * 49 * 49 * 2048  # 49 x 49 products of positions, not 2048 x 2048


def test_images_and_classes_share_the_passes_of_score_cam(model: nn.Module, batch: torch.Tensor, forward: int) -> None:
    explainer = gs.Explainer(model, layer="layer4", method="scorecam(top=10)")
    explainer(batch, method="gradcam")
    assert flops(lambda: explainer(batch)).total() <= 11.01 * forward
    assert flops(lambda: explainer(batch, targets=gs.Top(4))).total() <= 11.01 * forward


@pytest.mark.parametrize(
    "name",
    [
        "scorecam(top=24)",
        "ablationcam",
        pytest.param("rise(masks=24)", marks=pytest.mark.slow),
        pytest.param("occlusion(window=0.3, stride=0.2)", marks=pytest.mark.slow),
    ],
)
def test_the_batch_size_bounds_the_memory_of_many_passes(model: nn.Module, batch: torch.Tensor, name: str) -> None:
    image = batch[:1]
    few = peak_bytes(plain(model, batch.repeat(2, 1, 1, 1)))
    explainer = gs.Explainer(model, layer="layer4", method=name, batch_size=4)
    explainer(image)
    assert peak_bytes(lambda: explainer(image)) <= 1.5 * few


# What methods declare.

SMALL = {"rise": "rise(masks=5)", "occlusion": "occlusion(window=0.5, stride=0.25)", "sscam": "sscam(samples=3)"}
COUNTED = [SMALL.get(name, name) for name in ANYWHERE] + [
    "scorecam(top=4)",
    "scorecam(groups=2)",
    "integratedgradients(steps=3)",
    "smooth(gradcam)",
    "smooth(gradient)",
    "smooth(iscam(samples=2))",
    "contrastive(ablationcam)",
    "eigen_smooth(layercam)",
    "refine(gradcam)",
]

# A traced part behind the layer is run once more in each call, which shows that it still gives what the model gives.
TRACED = {"ablationcam", "cam", "shapleycam", "contrastive(ablationcam)"}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("text", COUNTED)
def test_the_declared_cost_is_that_of_the_passes_that_run(text: str, count: int) -> None:
    net = small()
    if text == "shapleycam":  # of what is linear behind the layer, no second derivative is taken
        net.append(nn.Softplus())
    image = torch.rand(1, 3, 20, 20)
    method = as_method(text)
    explainer = gs.Explainer(net, layer=["1", "3"] if method.at == "layers" else "3", method=method)

    def call() -> Any:
        return explainer(image, targets=[list(range(count))])

    call()  # tries the layers and the rows of the batch
    assert passes(flops(call), net, image, 0 if method.at == "layers" else count) - (text in TRACED) == method.cost(
        6, count
    )


def test_a_variant_of_several_layers_declares_the_passes_of_four() -> None:
    net = small()
    image = torch.rand(1, 3, 20, 20)
    method = as_method("fuse(scorecam(top=2))")
    explainer = gs.Explainer(net, layer=["0", "1", "2", "3"], method=method)
    explainer(image)
    assert passes(flops(lambda: explainer(image)), net, image, 0) == method.cost(6, 1) == 9


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)),
    ).eval()


def passes(counted: Counter[str], net: nn.Module, image: torch.Tensor, backward: int) -> int:
    """The passes in operations that were counted: forward, and back to the image for so many targets."""
    once = flops(plain(net, image))
    # The head runs in passes of the part behind the layer too, the convolutions in those of single modules.
    forward = max(counted[name] / once[name] for name in ("addmm", "convolution"))
    assert forward == round(forward)
    # Where a bias is explained, the first convolution is not differentiated by the image.
    back = counted["convolution_backward"] / once["convolution"]
    return round(forward) + (backward and backward * math.ceil(back / backward))


def test_alphas_are_there_for_the_methods_that_declare_them_and_cost_nothing() -> None:
    net, image = small(), torch.rand(2, 3, 20, 20)
    explainer = gs.Explainer(net, layer="3")
    names = [SMALL.get(name, name) for name in ANYWHERE if METHODS[name].at == "layer"]
    texts = [*names, "smooth(gradcam)", "contrastive(gradcam)", "eigen_smooth(gradcam)"]
    for method in map(as_method, texts):
        found = explainer(image, method=method, targets=[[0, 1], [1, 2]])
        assert (found.alphas is not None) == method.alphas
        without = dataclasses.replace(method, alphas=False)
        counted = [flops(lambda m=m: explainer(image, method=m, targets=[[0, 1], [1, 2]])) for m in (method, without)]  # type: ignore[misc]
        assert counted[0] == counted[1]
        assert explainer(image, method=without, targets=[[0, 1], [1, 2]]).alphas is None


# What a call costs around the model: Python's calls, and waits for the device.


def modules_and_tensors(m: int) -> nn.Module:
    """A net of ``m`` normalisations, each with five tensors, behind the layer that is explained, and a small head."""
    norms = [nn.BatchNorm2d(4) for _ in range(m)]
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3), *norms, nn.Conv2d(4, 4, 3)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 12)),
    ).eval()


def python_calls_around(m: int, asked: Any = None) -> int:
    """Those of a call of an explainer that are none of the model's own."""
    torch.manual_seed(0)
    net, image = modules_and_tensors(m), torch.rand(1, 3, 12, 12)
    explainer = gs.Explainer(net, layer=str(m + 1))
    for _ in range(2):
        explainer(image, targets=asked)
    return python_calls(lambda: explainer(image, targets=asked)) - python_calls(plain(net, image))


@pytest.mark.parametrize(("asked", "limit"), [(None, 420), (3, 480), (gs.Top(10), 630)])
def test_a_call_runs_few_functions_around_the_model(asked: Any, limit: int) -> None:
    assert 50 < python_calls_around(3, asked) <= limit


def test_modules_and_tensors_add_no_calls_of_python() -> None:
    assert python_calls_around(103) == python_calls_around(3)


def waits(monkeypatch: pytest.MonkeyPatch, call: Callable[[], Any]) -> int:
    """How often numbers go from the device to Python: on a GPU each time waits for all that was asked of it."""
    count = 0
    with monkeypatch.context() as patch:
        for name in ("numpy", "item", "tolist", "__bool__", "__float__", "__int__", "__array__"):
            method = getattr(torch.Tensor, name)

            def counted(*arguments: Any, _method: Any = method, **keywords: Any) -> Any:
                nonlocal count
                count += 1
                return _method(*arguments, **keywords)

            patch.setattr(torch.Tensor, name, counted)
        call()
    return count


@pytest.mark.parametrize("asked", [None, 3, gs.Top(10)])
def test_a_call_copies_from_the_device_four_times(monkeypatch: pytest.MonkeyPatch, asked: Any) -> None:
    net, image = modules_and_tensors(2), torch.rand(1, 3, 12, 12)
    explainer = gs.Explainer(net, layer="3")
    found = [explainer(image, targets=asked)]
    # The class scores, which say what is explained, and the maps, each of which waits; then the means of gradients and
    # activations, when there is nothing left to wait for.
    assert waits(monkeypatch, lambda: found.append(explainer(image, targets=asked))) == 4
    assert waits(monkeypatch, lambda: (found[1].notes, found[1].predictions, found[1].scores)) == 0
    assert waits(monkeypatch, lambda: (found[1].alphas, found[1].channel_means)) == 0


def test_what_is_computed_later_keeps_neither_the_model_nor_a_layer() -> None:
    net, image = modules_and_tensors(2), torch.rand(1, 3, 12, 12)
    explainer = gs.Explainer(net, layer="3")
    explainer(image)
    kept: list[weakref.ref[Any]] = []

    def gradcam(probe: Any, ops: Any) -> Any:
        kept.extend(map(weakref.ref, (probe, probe.activations, probe.gradients, probe.logits)))
        return METHODS["gradcam"].function(probe, ops)

    found = explainer(image, method=dataclasses.replace(METHODS["gradcam"], function=gradcam))
    kept.append(weakref.ref(explainer._model.backend()))
    del explainer
    # The class scores are kept, of which predictions and notes are made.
    assert [x() is None for x in kept] == [True, True, True, False, True]
    assert found.alphas is not None
    assert found.notes == ()
    assert len(found.predictions[0]) == 5
    assert kept[3]() is None
