"""Maps of grad-cam, torchcam and captum, each called as its documentation says: of one photo and one class.

The demo model's last activation is one module that runs after the stem too. Peers' hooks would see that first call, so
that they are given the model in two parts, the features and what follows, with the same weights and the same scores.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

Map: TypeAlias = Callable[[torch.Tensor, int], np.ndarray]
"""From an image (1, 3, h, w) and a class to a map of it, as the peer gives it."""

GRAD_CAM = {
    "GradCAM": "gradcam",
    "GradCAMPlusPlus": "gradcampp",
    "HiResCAM": "hirescam",
    "XGradCAM": "xgradcam",
    "LayerCAM": "layercam",
    "EigenCAM": "eigencam",
    "EigenGradCAM": "eigengradcam",
    "KPCA_CAM": "kpcacam",
    "FEM": "fem",
    "FinerCAM": "finercam",
    "ShapleyCAM": "shapleycam",
    "FullGrad": "fullgrad",
    "RandomCAM": "random",
}
"""grad-cam's methods, and ours of the same paper."""

TORCHCAM = {
    "CAM": "cam",
    "GradCAM": "gradcam",
    "GradCAMpp": "gradcampp",
    "XGradCAM": "xgradcam",
    "LayerCAM": "layercam",
    "FinerCAM": "finercam",
}

CAPTUM = {
    "LayerGradCam": "gradcam",
    "GuidedGradCam": "guidedgradcam",
    "Saliency": "gradient",
    "GuidedBackprop": "guidedbackprop",
    "Deconvolution": "deconvnet",
}


class InTwoParts(nn.Module):
    """The demo model, with one module for its features and one for the rest."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.features = _Features(model)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), model._fc

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.fc(self.pool(self.features(x)).flatten(1))
        return scores


class _Features(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        # What follows is in the other part: a peer that walks over all modules must not find it twice.
        self.model._fc = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.model.extract_features(x)
        return found


def peers(model: nn.Module) -> dict[str, tuple[str, Map]]:
    """By the peer's name for a method, our name of it and what makes its maps; each has a copy of the model."""
    net = InTwoParts(model).eval()
    found = {f"grad-cam {name}": (ours, _grad_cam(name, copy.deepcopy(net))) for name, ours in GRAD_CAM.items()}
    found |= {f"torchcam {name}": (ours, _torchcam(name, copy.deepcopy(net))) for name, ours in TORCHCAM.items()}
    return found | {f"captum {name}": (ours, _captum(name, copy.deepcopy(net))) for name, ours in CAPTUM.items()}


def _grad_cam(name: str, net: InTwoParts) -> Map:
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    layers = [] if name == "FullGrad" else [net.features]  # it finds the biases itself
    cam = getattr(pytorch_grad_cam, name)(net, layers)
    if name == "FinerCAM":
        return lambda image, target: np.asarray(cam(input_tensor=image, target_idx=target)[0])
    return lambda image, target: np.asarray(cam(input_tensor=image, targets=[ClassifierOutputTarget(target)])[0])


def _torchcam(name: str, net: InTwoParts) -> Map:
    import torchcam.methods

    options = {"fc_layer": "fc"} if name == "CAM" else {}
    extractor = getattr(torchcam.methods, name)(net, "features", **options)

    def made(image: torch.Tensor, target: int) -> np.ndarray:
        with torch.set_grad_enabled(name != "CAM"):
            scores = net(image)
        return extractor(target, scores)[0][0].detach().numpy()

    return made


def _captum(name: str, net: InTwoParts) -> Map:
    import captum.attr

    method = getattr(captum.attr, name)
    if name == "LayerGradCam":
        layer = method(net, net.features)
        return lambda image, target: _plain(layer.attribute(image, target=target, relu_attributions=True))
    if name == "GuidedGradCam":
        guided = method(net, net.features)
        return lambda image, target: _strongest(guided.attribute(image, target=target, interpolate_mode="bilinear"))
    of_image = method(net)
    return lambda image, target: _strongest(of_image.attribute(image.clone().requires_grad_(), target=target))


def _plain(found: torch.Tensor) -> np.ndarray:
    return found[0, 0].detach().numpy()


def _strongest(found: torch.Tensor) -> np.ndarray:
    # captum gives a value for each colour: of these the strongest, as ours.
    return found[0].abs().amax(dim=0).detach().numpy()
