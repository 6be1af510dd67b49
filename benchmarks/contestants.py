"""gradsight and its peers, each called as its documentation says.

Same weights, same layer, same classes, and no drawing by any.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import nn

Call = Callable[[], Any]


class Task(NamedTuple):
    """What everyone is asked for: Grad-CAM of some classes of every image of a batch.

    Attributes:
        model: in evaluation mode; each contestant makes a copy of it for itself.
        layer: the module's name.
        batch: (n, 3, height, width).
        classes: the same for each image.
        grid: the positions of a layer that gives tokens behind one class token; None for a layer with maps.
    """

    model: nn.Module
    layer: str
    batch: torch.Tensor
    classes: Sequence[int]
    grid: tuple[int, int] | None = None


class Ready(NamedTuple):
    """One contestant before its start: its call, and a plain forward pass of the very same weights."""

    call: Call
    plain: Call


class CannotDo(Exception):
    """The contestant does not do this task; the message is its reason."""


def ready(contestant: str, task: Task) -> Ready:
    """Prepare a contestant on its own copy of the model.

    Raises:
        CannotDo: it cannot do the task.
    """
    own = copy.deepcopy(task.model)
    plain = plain_forward(shell(own), task.batch)  # taken before any hook is on
    return Ready(CONTESTANTS[contestant](task._replace(model=own)), plain)


def shell(model: nn.Module) -> nn.Module:
    """New modules around the same tensors: free of the model's hooks, and as warm in the caches."""
    shared = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    return copy.deepcopy(model, shared)


def plain_forward(model: nn.Module, batch: torch.Tensor) -> Call:
    """The unit of every ratio."""

    def call() -> Any:
        with torch.no_grad():
            return model(batch)

    return call


def gradsight(task: Task) -> Call:
    import gradsight as gs

    explainer = gs.Explainer(task.model)  # finds the layer in its first call, which warms up
    chosen = explainer(task.batch).layer
    if chosen != task.layer:
        raise CannotDo(f"chose {chosen!r} where the others were given {task.layer!r}")
    return lambda: explainer(task.batch, targets=gs.Classes(*task.classes))


def grad_cam(task: Task) -> Call:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    cam = GradCAM(
        model=task.model, target_layers=[task.model.get_submodule(task.layer)], reshape_transform=_reshape(task)
    )
    each = [[ClassifierOutputTarget(c)] * len(task.batch) for c in task.classes]
    return lambda: [cam(input_tensor=task.batch, targets=targets) for targets in each]


def captum(task: Task) -> Call:
    from captum.attr import LayerGradCam

    if task.grid is not None:
        raise CannotDo("cannot be told how tokens are laid out, and gives no positions")
    method = LayerGradCam(task.model, task.model.get_submodule(task.layer))
    return lambda: [method.attribute(task.batch, target=c, relu_attributions=True) for c in task.classes]


def torchcam(task: Task) -> Call:
    from torchcam.methods import GradCAM

    extractor = GradCAM(task.model, task.layer, reshape_transform=_reshape(task))

    def call() -> Any:
        scores = task.model(task.batch)
        *others, last = task.classes
        maps = [extractor(c, scores, retain_graph=True) for c in others]
        return [*maps, extractor(last, scores)]

    return call


def _reshape(task: Task) -> Callable[[torch.Tensor], torch.Tensor] | None:
    if task.grid is None:
        return None
    height, width = task.grid
    return lambda tokens: tokens[:, 1:].reshape(len(tokens), height, width, -1).permute(0, 3, 1, 2)


CONTESTANTS: dict[str, Callable[[Task], Call]] = {
    "gradsight": gradsight,
    "grad-cam": grad_cam,
    "captum": captum,
    "torchcam": torchcam,
}
