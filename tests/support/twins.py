"""Keras models with the weights of a PyTorch twin, made layer by layer by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import torch
from keras import layers as L
from torch import nn

import toys

SIZE = (12, 10, 8)


def curved(dimensions: int = 2) -> nn.Sequential:
    """`toys.curved`, in float64."""
    torch.manual_seed(1)
    return toys.curved(dimensions=dimensions).eval().double()


def plain(dimensions: int = 2) -> nn.Sequential:
    """Only a mean and a linear layer behind the last ReLU: what CAM needs."""
    torch.manual_seed(2)
    return toys.convolutional(dimensions=dimensions).eval().double()


def images(dimensions: int = 2, n: int = 2) -> torch.Tensor:
    return torch.randn(n, 3, *SIZE[:dimensions], generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def turned(batch: torch.Tensor) -> np.ndarray:
    """Channels last, float32."""
    return np.ascontiguousarray(np.moveaxis(batch.numpy(), 1, -1), np.float32)


def counterpart(module: nn.Module, name: str) -> list[Any]:
    """The Keras layers that do what a PyTorch module does; the last one has the name."""
    if isinstance(module, nn.modules.conv._ConvNd):
        d = len(module.kernel_size)
        pads = [getattr(L, f"ZeroPadding{d}D")(module.padding[0])] if module.padding[0] else []
        conv = getattr(L, f"Conv{d}D")
        bias = module.bias is not None
        return [*pads, conv(module.out_channels, module.kernel_size, module.stride, use_bias=bias, name=name)]
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return [L.BatchNormalization(epsilon=module.eps, name=name)]
    if isinstance(module, nn.ReLU):
        return [L.ReLU(name=name)]
    if isinstance(module, nn.Tanh):
        return [L.Activation("tanh", name=name)]
    if isinstance(module, nn.modules.pooling._AdaptiveAvgPoolNd):
        d = {nn.AdaptiveAvgPool1d: 1, nn.AdaptiveAvgPool2d: 2, nn.AdaptiveAvgPool3d: 3}[type(module)]
        if module.output_size in (1, (1,) * d):
            return [getattr(L, f"GlobalAveragePooling{d}D")(name=name)]
        return [getattr(L, f"AdaptiveAveragePooling{d}D")(module.output_size, name=name)]
    if isinstance(module, nn.AvgPool2d):
        return [L.AveragePooling2D(module.kernel_size, name=name)]
    if isinstance(module, nn.AdaptiveMaxPool2d):
        return [L.GlobalMaxPooling2D(name=name)]
    if isinstance(module, nn.LayerNorm):
        return [L.LayerNormalization(epsilon=module.eps, name=name)]
    if isinstance(module, nn.Softmax):
        return [L.Softmax(name=name)]
    if isinstance(module, nn.Identity):
        return [L.Identity(name=name)]
    if isinstance(module, nn.Dropout):
        return [L.Dropout(module.p, name=name)]
    if isinstance(module, nn.Linear):
        return [L.Dense(module.out_features, name=name)]
    assert isinstance(module, nn.Flatten)
    return [ChannelsFirst(), L.Flatten(name=name)]


class ChannelsFirst(L.Layer):
    """PyTorch's order, in which it flattens."""

    def call(self, x: Any) -> Any:
        return keras.ops.moveaxis(x, -1, 1) if x.ndim > 2 else x


def fill(layer: Any, module: nn.Module) -> None:
    """Give a built layer the weights of its twin."""
    weights = {name: value.detach().numpy() for name, value in module.state_dict().items()}
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        layer.set_weights([weights[name] for name in ("weight", "bias", "running_mean", "running_var")])
    elif isinstance(module, nn.LayerNorm):
        layer.set_weights([weights["weight"], weights["bias"]])
    elif weights:
        kernel = np.moveaxis(weights["weight"], (0, 1), (-1, -2))
        layer.set_weights([kernel, weights["bias"]] if "bias" in weights else [kernel])


class Own(keras.Model):
    """A model that is the user's own code."""

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__()
        self.steps = {"first": list(layers[:-1])}
        self.head = layers[-1]

    def call(self, x: Any, training: bool = False) -> Any:
        for step in self.steps["first"]:
            x = step(x)
        return self.head(x)


def model_like(
    twin: nn.Sequential,
    kind: str = "functional",
    dimensions: int = 2,
    end: str | None = None,
    size: Sequence[int] | None = None,
) -> Any:
    """A Keras model of a kind; layer ``i`` of the twin is called ``m<i>``, and ``i.j`` of a sequence ``m<i>_<j>``."""
    size = SIZE[:dimensions] if size is None else tuple(size)
    modules = {name: module for name, module in twin.named_modules() if not isinstance(module, nn.Sequential)}
    made = {name: counterpart(module, f"m{name}".replace(".", "_")) for name, module in modules.items()}
    layers = [layer for some in made.values() for layer in some]
    layers += (
        [L.Softmax(name="end")] if end == "layer" else [L.Activation("softmax", name="end")] * (end == "activation")
    )
    if end in ("softmax", "sigmoid"):
        layers[-1] = L.Dense(5, activation=end, name=layers[-1].name)
        made[next(reversed(made))] = layers[-1:]
    entry = keras.Input((*size, 3))
    if kind == "functional":
        model = keras.Model(entry, chained(layers, entry))
    elif kind == "sequential":
        model = keras.Sequential([entry, *layers])
    elif kind == "nested":
        cut = layers.index(made["4"][-1]) + 1
        inner = keras.Model(entry, chained(layers[:cut], entry), name="body")
        head = keras.Sequential(layers[cut:], name="head")
        model = keras.Sequential([keras.Input((*size, 3)), inner, head])
    else:
        model = Own(layers)
        model(np.zeros((1, *size, 3), np.float32))
    for name, module in modules.items():
        fill(made[name][-1], module)
    return model


def chained(layers: Sequence[Any], x: Any) -> Any:
    for layer in layers:
        x = layer(x)
    return x


class Residual(nn.Module):
    """Two blocks with a way around them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.one, self.two = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
        self.norm = nn.BatchNorm2d(4)
        self.norm.running_mean.normal_(0, 0.3)
        self.norm.running_var.uniform_(0.5, 1.5)
        self.out1, self.out2, self.act = nn.ReLU(), nn.ReLU(), nn.Tanh()
        self.fc = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.out1(x + self.norm(self.one(x)))
        x = self.out2(x + self.act(self.two(x)))
        return self.fc(x.mean(dim=(2, 3)))


def residual() -> tuple[nn.Module, Any]:
    torch.manual_seed(4)
    twin = Residual().eval().double()
    made = {name: counterpart(module, name) for name, module in twin.named_children()}

    def at(name: str, x: Any) -> Any:
        return chained(made[name], x)

    entry = keras.Input((*SIZE[:2], 3))
    x = at("stem", entry)
    x = at("out1", L.Add(name="add1")([x, at("norm", at("one", x))]))
    x = at("out2", x + at("act", at("two", x)))
    model = keras.Model(entry, at("fc", L.GlobalAveragePooling2D(name="pool")(x)))
    for name, module in twin.named_children():
        fill(made[name][-1], module)
    return twin, model


class Shared(nn.Module):
    """One convolution that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.conv(torch.tanh(self.stem(x))))
        return self.fc(torch.tanh(self.conv(x)).mean(dim=(2, 3)))


def shared() -> tuple[nn.Module, Any]:
    torch.manual_seed(5)
    twin = Shared().eval().double()
    stem, conv, fc = (counterpart(module, name)[0] for name, module in twin.named_children())
    entry = keras.Input((*SIZE[:2], 3))
    x = keras.ops.tanh(conv(keras.ops.tanh(stem(entry))))
    model = keras.Model(entry, fc(keras.ops.mean(keras.ops.tanh(conv(x)), axis=(1, 2))))
    for layer, module in zip((stem, conv, fc), twin.children(), strict=True):
        fill(layer, module)
    return twin, model


class TwoInputs(nn.Module):
    """An image and a vector, which meet behind the convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(6, 5)

    def forward(self, x: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
        pooled = torch.tanh(self.conv(x)).mean(dim=(2, 3))
        return torch.sinh(self.fc(torch.cat([pooled, more], dim=1)))


def two_inputs() -> tuple[nn.Module, Any]:
    torch.manual_seed(6)
    twin = TwoInputs().eval().double()
    conv, fc = (counterpart(module, name)[0] for name, module in twin.named_children())
    image, more = keras.Input((*SIZE[:2], 3), name="image"), keras.Input((2,), name="more")
    pooled = keras.ops.mean(keras.ops.tanh(conv(image)), axis=(1, 2))
    model = keras.Model([image, more], keras.ops.sinh(fc(L.Concatenate()([pooled, more]))))
    for layer, module in zip((conv, fc), twin.children(), strict=True):
        fill(layer, module)
    return twin, model
