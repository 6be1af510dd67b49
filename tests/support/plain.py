"""What a model gives, the plain way, to judge probe and methods by: a copy of the model, one target at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn


def activations_and_gradients(
    model: nn.Module, layer: str, inputs: Any, classes: Any, call: int = -1
) -> tuple[torch.Tensor, torch.Tensor]:
    """The layer's output (n, ...) and d score[n, k] / d output (n, k, ...), in the layer's own layout, float64.

    ``classes`` is (n, k). One whole forward and backward pass for each target; a hook keeps the output of each call.
    """
    model = copy.deepcopy(model).eval().double()
    leaves = [x.double().requires_grad_() for x in (inputs if isinstance(inputs, tuple) else (inputs,))]
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    kept: list[torch.Tensor] = []
    model.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    columns = []
    for j in range(len(classes[0])):
        kept.clear()
        with torch.enable_grad():
            scores = model(*leaves)
            total = sum(scores[i, row[j]] for i, row in enumerate(classes))
            columns.append(torch.autograd.grad(total, kept[call])[0])
    return kept[call].detach(), torch.stack(columns, dim=1)


class Plain:
    """All that an oracle needs of a model, in NumPy float64: a copy of the model, one target of one image at a time.

    n images, k targets, c channels, positions ``*s``. Rows in excess of n belong to image j % n.
    """

    def __init__(self, model: nn.Module, layers: str | Sequence[str], inputs: Any, targets: Any) -> None:
        """See one layer, or several; ``targets`` are (n, k) classes, or k functions ``(outputs, image) -> number``."""
        self._model = _own(model)
        self._names = [layers] if isinstance(layers, str) else list(layers)
        self._images = torch.as_tensor(np.asarray(inputs)).double()
        self._targets = targets

    def _score(self, outputs: torch.Tensor, image: int, target: int) -> torch.Tensor:
        """The score of one target, of the output (1, ...) of one image."""
        if callable(self._targets[0]):
            return self._targets[target](outputs, image)
        return outputs[0, self._targets[image][target]]

    @property
    def n(self) -> int:
        return len(self._images)

    @property
    def k(self) -> int:
        return len(self._targets) if callable(self._targets[0]) else len(self._targets[0])

    def with_targets(self, targets: Any) -> Plain:
        return Plain(self._model, self._names, self._images, targets)

    @property
    def classes(self) -> np.ndarray:
        return np.asarray(self._targets)

    @property
    def layers(self) -> list[Plain]:
        return [Plain(self._model, name, self._images, self._targets) for name in self._names]

    @property
    def images(self) -> np.ndarray:
        return self._images.numpy()

    @cached_property
    def logits(self) -> np.ndarray:
        with torch.no_grad():
            return self._model(self._images).numpy()

    @cached_property
    def scores(self) -> np.ndarray:
        return self.score(self.images)

    @cached_property
    def activations(self) -> np.ndarray:
        return self.activations_at(self.images)

    @cached_property
    def gradients(self) -> np.ndarray:
        return self.gradients_at(self.images)

    @cached_property
    def image_gradients(self) -> np.ndarray:
        return self.image_gradients_at(self.images)

    def score(self, images: np.ndarray) -> np.ndarray:
        """The whole model: (m, channels, *positions) -> (m, k)."""
        with torch.no_grad():
            return self._table(len(images), lambda row: self._model(torch.from_numpy(images[row : row + 1])))

    def tail(self, activations: np.ndarray) -> np.ndarray:
        """The scores (m, k) where the layer gives (m, c, *s) instead."""
        with torch.no_grad():
            return self._table(len(activations), lambda row: self._replaced(row, activations[row : row + 1]))

    def _table(self, rows: int, outputs: Callable[[int], torch.Tensor]) -> np.ndarray:
        table = np.zeros((rows, self.k))
        for row in range(rows):
            out = outputs(row)
            for j in range(self.k):
                table[row, j] = float(self._score(out, row % self.n, j))
        return table

    def _replaced(self, row: int, value: Any) -> torch.Tensor:
        """The model's output of one image with its layer's output replaced."""
        value = torch.as_tensor(value)
        layer = self._model.get_submodule(self._names[0])
        handle = layer.register_forward_hook(lambda _m, _i, _o: value)
        try:
            return self._model(self._images[row % self.n][None])
        finally:
            handle.remove()

    def activations_at(self, images: np.ndarray) -> np.ndarray:
        """The layer's output for other images: (m, c, *s)."""
        kept: list[torch.Tensor] = []
        handle = self._model.get_submodule(self._names[0]).register_forward_hook(lambda _m, _i, out: kept.append(out))
        with torch.no_grad():
            for image in images:
                self._model(torch.from_numpy(image)[None])
        handle.remove()
        return torch.cat(kept).numpy()

    def gradients_at(self, images: np.ndarray) -> np.ndarray:
        """d score / d activations, for other images: (m, k, c, *s)."""
        activations = self.activations_at(images)
        return np.stack([[self._gradient(i, activations[i], j) for j in range(self.k)] for i in range(len(images))])

    def _gradient(self, row: int, activation: np.ndarray, target: int) -> np.ndarray:
        leaf = torch.from_numpy(activation)[None].clone().requires_grad_()
        with torch.enable_grad():
            score = self._score(self._replaced(row, leaf), row % self.n, target)
        return torch.autograd.grad(score, leaf)[0][0].numpy()

    def image_gradients_at(self, images: np.ndarray) -> np.ndarray:
        """d score / d image, for other images: (m, k, channels, *positions)."""
        rows = np.zeros((len(images), self.k, *images.shape[1:]))
        for i, j in np.ndindex(*rows.shape[:2]):
            leaf = torch.from_numpy(images[i : i + 1]).clone().requires_grad_()
            with torch.enable_grad():
                score = self._score(self._model(leaf), i % self.n, j)
            rows[i, j] = torch.autograd.grad(score, leaf)[0][0].numpy()
        return rows

    def hessian(self, direction: np.ndarray, step: float = 1e-3) -> np.ndarray:
        """The Hessian by the activations times (n, c, *s), from gradients around it: (n, k, c, *s)."""
        rows = np.zeros((self.n, self.k, *direction.shape[1:]))
        for i, j in np.ndindex(self.n, self.k):

            def slope(times: float, i: int = i, j: int = j) -> np.ndarray:
                return self._gradient(i, self.activations[i] + times * step * direction[i], j)

            rows[i, j] = (8 * (slope(1) - slope(-1)) - (slope(2) - slope(-2))) / (12 * step)
        return rows

    @property
    def head_weights(self) -> np.ndarray:
        """The weights (classes, c) of the last linear layer."""
        linear = [module for module in self._model.modules() if isinstance(module, nn.Linear)]
        return linear[-1].weight.detach().numpy()

    def rectified_gradients(self, rule: str) -> np.ndarray:
        """d score / d image with another rule at every `nn.ReLU` of a sequential model, module by module backwards."""
        rows = np.zeros((self.n, self.k, *self.images.shape[1:]))
        for i, j in np.ndindex(self.n, self.k):
            steps, g = self._backwards_from_score(i, j)
            for module, x in reversed(steps):
                if isinstance(module, nn.ReLU):
                    g = np.where(g > 0, g, 0.0)
                    g = np.where(x > 0, g, 0.0) if rule == "guided" else g
                else:
                    g = _pulled_back(module, x, g)
            rows[i, j] = g[0]
        return rows

    def bias_terms(self, target: int) -> list[np.ndarray]:
        """Gradient at its output times bias, of each module of a sequential model, by hand: (n, c, *s) or (n, c)."""
        by_image = []
        for i in range(self.n):
            steps, g = self._backwards_from_score(i, target)
            terms = []
            for module, x in reversed(steps):
                bias = _bias(module, x)
                if bias is not None:
                    terms.append(g * bias)
                g = _pulled_back(module, x, g)
            by_image.append(terms)
        return [np.concatenate(rows) for rows in zip(*by_image, strict=True)]

    def _backwards_from_score(self, image: int, target: int) -> tuple[list[tuple[nn.Module, np.ndarray]], np.ndarray]:
        """Each module with its input, and d score / d the last one's output."""
        assert isinstance(self._model, nn.Sequential)
        x, steps = self._images[image][None], []
        for module in self._model:
            steps.append((module, x.numpy()))
            with torch.no_grad():
                x = module(x)
        out = x.clone().requires_grad_()
        with torch.enable_grad():
            score = self._score(out, image, target)
        return steps, torch.autograd.grad(score, out)[0].numpy()


def _own(model: nn.Module) -> nn.Module:
    model = copy.deepcopy(model).eval().double()
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return model.requires_grad_(False)


def _pulled_back(module: nn.Module, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """A gradient at a module's output as one at its input."""
    leaf = torch.from_numpy(x).clone().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(module(leaf), leaf, torch.from_numpy(gradient))[0].numpy()


def _bias(module: nn.Module, x: np.ndarray) -> np.ndarray | None:
    """What a module adds to a linear function of its input, from its own numbers; None where it adds nothing."""
    along = (1, -1, *[1] * (x.ndim - 2))
    if isinstance(module, nn.Tanh):
        return np.tanh(x) - (1 - np.tanh(x) ** 2) * x
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        scale = 1 / np.sqrt(module.running_var.numpy() + module.eps)
        scale = scale if module.weight is None else scale * module.weight.numpy()
        shift = 0.0 if module.bias is None else module.bias.numpy()
        return (shift - module.running_mean.numpy() * scale).reshape(along)
    bias = getattr(module, "bias", None)
    return None if bias is None else bias.detach().numpy().reshape(along)
