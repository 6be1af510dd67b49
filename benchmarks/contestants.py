"""gradsight and its peers, each called as its documentation says.

Same weights, same layer, same classes, and no drawing by any.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import nn

Call = Callable[[], Any]


class Task(NamedTuple):
    """What everyone is asked for: maps of some classes of every image of a batch.

    Attributes:
        model: in evaluation mode; each contestant makes a copy of it for itself.
        layer: the module's name.
        batch: (n, 3, height, width).
        classes: the same for each image.
        grid: the positions of a layer that gives tokens behind one class token; None for a layer with maps.
        method: by our name.
        options: of the method, by our names; every contestant does as many passes.
        layers: the modules' names, for a method that looks at several.
    """

    model: nn.Module
    layer: str
    batch: torch.Tensor
    classes: Sequence[int]
    grid: tuple[int, int] | None = None
    method: str = "gradcam"
    options: Mapping[str, Any] = MappingProxyType({})
    layers: Sequence[str] = ()


class Ready(NamedTuple):
    """One contestant before its start: its call, and a plain forward pass of the very same weights."""

    call: Call
    plain: Call


class CannotDo(Exception):
    """The contestant does not do this task; the message is its reason, empty where it has no such method."""


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


def by_hand(task: Task) -> Call:
    """Grad-CAM of one layer as one would write it for a single model, with nothing found out, checked or told."""
    if task.method != "gradcam":
        raise CannotDo
    model = shell(task.model).requires_grad_(False)
    leaves: list[torch.Tensor] = []

    def leaf(_module: nn.Module, _arguments: Any, output: torch.Tensor) -> torch.Tensor:
        torch.set_grad_enabled(True)
        leaves.append(output.detach().requires_grad_())
        return leaves[-1].clone()  # what follows may write into it

    model.get_submodule(task.layer).register_forward_hook(leaf)
    fold = _reshape(task) or (lambda maps: maps)

    def call() -> Any:
        leaves.clear()
        with torch.no_grad():
            scores = model(task.batch)[:, list(task.classes)].sum(0)
        each = torch.eye(len(scores), dtype=scores.dtype, device=scores.device)
        several = len(scores) > 1
        (slopes,) = torch.autograd.grad(
            scores if several else scores[0], leaves, each if several else None, is_grads_batched=several
        )
        slopes = slopes if several else slopes[None]
        activations = fold(leaves[0].detach())
        weights = torch.stack([fold(slope).mean((-2, -1)) for slope in slopes], dim=1)
        return torch.einsum("nkc,nchw->nkhw", weights, activations).relu().float().cpu().numpy()

    return call


def gradsight(task: Task) -> Call:
    import gradsight as gs

    if task.method == "gradcam":
        explainer = gs.Explainer(task.model)  # finds the layer in its first call, which warms up
        chosen = explainer(task.batch).layer
        if chosen != task.layer:
            raise CannotDo(f"chose {chosen!r} where the others were given {task.layer!r}")
    else:
        options = ", ".join(f"{name}={value}" for name, value in task.options.items())
        method = f"{task.method}({options})" if options else task.method
        explainer = gs.Explainer(task.model, layer=list(task.layers) or task.layer, method=method)
    return lambda: explainer(task.batch, targets=gs.Classes(*task.classes))


# grad-cam

GRAD_CAM = {
    "ablationcam": "AblationCAM",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
    "fem": "FEM",
    "finercam": "FinerCAM",
    "fullgrad": "FullGrad",
    "gradcam": "GradCAM",
    "gradcampp": "GradCAMPlusPlus",
    "hirescam": "HiResCAM",
    "kpcacam": "KPCA_CAM",
    "layercam": "LayerCAM",
    "random": "RandomCAM",
    "refinecam": "RefineCAM",
    "scorecam": "ScoreCAM",
    "shapleycam": "ShapleyCAM",
    "xgradcam": "XGradCAM",
}


def grad_cam(task: Task) -> Call:
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    if task.method == "guidedbackprop":
        model = pytorch_grad_cam.GuidedBackpropReLUModel(task.model)
        return lambda: [model(task.batch.clone(), target_category=c) for c in task.classes]
    if task.method not in GRAD_CAM:
        raise CannotDo
    names = [] if task.method == "fullgrad" else task.layers or [task.layer]  # FullGrad finds the biases itself
    layers = [task.model.get_submodule(name) for name in names]
    cam = getattr(pytorch_grad_cam, GRAD_CAM[task.method])(task.model, layers, reshape_transform=_reshape(task))
    if task.method == "finercam":
        return lambda: [cam(input_tensor=task.batch, target_idx=c) for c in task.classes]
    each = [[ClassifierOutputTarget(c)] * len(task.batch) for c in task.classes]
    return lambda: [cam(input_tensor=task.batch, targets=targets) for targets in each]


# captum


def captum(task: Task) -> Call:
    if task.method not in CAPTUM:
        raise CannotDo
    if task.grid is not None:
        raise CannotDo("cannot be told how tokens are laid out, and gives no positions")
    warnings.filterwarnings("ignore", "OutputContext backward hooks on ReLU")
    attribute = CAPTUM[task.method](task)
    batch = task.batch.clone().requires_grad_()
    return lambda: [attribute(batch, target=c) for c in task.classes]


def _captum_gradcam(task: Task) -> Call:
    from captum.attr import LayerGradCam

    method = LayerGradCam(task.model, task.model.get_submodule(task.layer))
    return lambda batch, target: method.attribute(batch, target=target, relu_attributions=True)


def _captum_guided_gradcam(task: Task) -> Call:
    from captum.attr import GuidedGradCam

    method = GuidedGradCam(task.model, task.model.get_submodule(task.layer))
    return lambda batch, target: method.attribute(batch, target=target, interpolate_mode="bilinear")


def _captum_occlusion(task: Task) -> Call:
    from captum.attr import Occlusion

    method, side = Occlusion(task.model), task.batch.shape[-1]
    window, stride = (round(task.options[name] * side) for name in ("window", "stride"))
    shapes = {"sliding_window_shapes": (3, window, window), "strides": (3, stride, stride)}
    return lambda batch, target: method.attribute(batch.detach(), target=target, **shapes)


def _captum_smoothgrad(task: Task) -> Call:
    from captum.attr import NoiseTunnel, Saliency

    method, samples = NoiseTunnel(Saliency(task.model)), task.options["samples"]
    return lambda batch, target: method.attribute(batch, target=target, nt_samples=samples, abs=False)


def _captum_plain(name: str) -> Callable[[Task], Call]:
    def factory(task: Task) -> Call:
        import captum.attr

        options = {"n_steps": task.options["steps"]} if "steps" in task.options else {}
        method = getattr(captum.attr, name)(task.model)
        return lambda batch, target: method.attribute(batch, target=target, **options)

    return factory


CAPTUM: dict[str, Callable[[Task], Callable[..., Any]]] = {
    "deconvnet": _captum_plain("Deconvolution"),
    "gradcam": _captum_gradcam,
    "gradient": _captum_plain("Saliency"),
    "guidedbackprop": _captum_plain("GuidedBackprop"),
    "guidedgradcam": _captum_guided_gradcam,
    "integratedgradients": _captum_plain("IntegratedGradients"),
    "occlusion": _captum_occlusion,
    "smoothgrad": _captum_smoothgrad,
}


# torchcam

TORCHCAM = {
    "cam": "CAM",
    "finercam": "FinerCAM",
    "gradcam": "GradCAM",
    "gradcampp": "GradCAMpp",
    "iscam": "ISCAM",
    "layercam": "LayerCAM",
    "refinecam": "RefineCAM",
    "scorecam": "ScoreCAM",
    "smoothgradcampp": "SmoothGradCAMpp",
    "sscam": "SSCAM",
    "xgradcam": "XGradCAM",
}
WITHOUT_GRAPH = ("cam", "iscam", "scorecam", "sscam")


def torchcam(task: Task) -> Call:
    import torchcam.methods

    if task.method not in TORCHCAM:
        raise CannotDo
    options = {"num_samples": task.options["samples"]} if "samples" in task.options else {}
    if task.method == "cam":
        options["fc_layer"] = "fc"
    kind = getattr(torchcam.methods, TORCHCAM[task.method])
    extractor = kind(task.model, list(task.layers) or task.layer, reshape_transform=_reshape(task), **options)

    def call() -> Any:
        with torch.set_grad_enabled(task.method not in WITHOUT_GRAPH):
            scores = task.model(task.batch)
        if task.method in (*WITHOUT_GRAPH, "smoothgradcampp"):  # these take no graph of the scores
            return [extractor(c, scores) for c in task.classes]
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
    "by hand": by_hand,
    "grad-cam": grad_cam,
    "captum": captum,
    "torchcam": torchcam,
}
