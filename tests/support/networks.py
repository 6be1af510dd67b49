"""Torchvision networks with seeded random weights, and the layer that is right for each (DESIGN, section 2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn


class Network(NamedTuple):
    """One network of the table.

    Attributes:
        layer: the last cut of its graph whose positions have gradients.
        grid: that layer's positions for an input of ``size``.
        size: height and width of its input.
        tokens: the layer gives (n, 1 + positions, channels), a class token first.
    """

    layer: str
    grid: tuple[int, int]
    size: tuple[int, int] = (224, 224)
    tokens: bool = False

    def images(self, n: int = 2, seed: int = 0) -> torch.Tensor:
        """A batch of noise with some large shapes in it, so that positions differ: (n, 3, *size)."""
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.randn(n, 3, 7, 7, generator=generator)
        smooth = nn.functional.interpolate(coarse, self.size, mode="bilinear", align_corners=False)
        return smooth + 0.3 * torch.randn(n, 3, *self.size, generator=generator)


NETWORKS = {
    "resnet18": Network("layer4", (7, 7)),
    "resnet50": Network("layer4", (7, 7)),
    "vgg16": Network("avgpool", (7, 7)),
    "mobilenet_v3_large": Network("features", (7, 7)),
    "densenet121": Network("features", (7, 7)),
    "convnext_tiny": Network("features", (7, 7)),
    "vit_b_16": Network("encoder.layers.encoder_layer_10", (14, 14), tokens=True),
    "swin_t": Network("permute", (7, 7)),
}


def build(name: str, seed: int = 0) -> nn.Module:
    """A torchvision network in evaluation mode, its random weights fixed by ``seed``; the caller's random state stays.

    What torchvision initialises to constants becomes random too, as training would leave it: biases, ViT's head and
    class token, ConvNeXt's layer scales, the weights and statistics of normalisation layers. Otherwise gradients
    would be zero, and an error in any of them invisible.
    """
    import torchvision

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        own = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}  # their own takes minutes
        model: nn.Module = torchvision.models.get_model(name, weights=None, **own)
        for parameter in model.parameters():
            if (parameter == parameter.flatten()[0]).all():
                _unlike(parameter)
        for key, buffer in model.named_buffers():
            if key.endswith(("running_mean", "running_var")):
                _unlike(buffer)
    return model.eval()


def _unlike(constant: torch.Tensor) -> None:
    """Spread a constant tensor around its value: 0 and ConvNeXt's 1e-6 get a standard deviation of their own."""
    value = float(constant.flatten()[0])
    if abs(value) < 1e-3:
        constant.normal_(0, 0.05)
    else:
        constant.mul_(torch.empty_like(constant).uniform_(0.7, 1.3))
