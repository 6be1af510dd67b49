"""Metrics of grad-cam, torchcam, captum and Quantus, each called as its documentation says, on the same maps.

Where a peer's figure is another one, what it gives is brought to ours as far as that is possible; the tests in
`tests/metrics/test_metric_peers.py` say what each peer means.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from captum.attr import LayerGradCam
from captum.metrics import infidelity, infidelity_perturb_func_decorator, sensitivity_max
from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence
from pytorch_grad_cam.metrics.perturbation_confidence import (
    PerturbationConfidenceMetric,
    RemoveLeastRelevantFirst,
    RemoveMostRelevantFirst,
)
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from torch import nn
from torchcam.metrics import DeletionInsertionMetric

from gradsight.cases import Case
from gradsight.cases.perturbing import noisy
from gradsight.cases.subsets import Subsets

STEPS, SAMPLES, SQUARES, RADIUS = 28, 10, 50, 0.02
SHARES = range(10, 100, 10)


class Asked(NamedTuple):
    """What a peer measures: maps that are there already.

    Attributes:
        model: in two parts, ``body.features`` and what follows.
        images: (n, 3, h, w), in which 0 stands for what is taken away.
        classes: one for each image.
        case: the maps, of one target.
    """

    model: Any
    images: torch.Tensor
    classes: np.ndarray
    case: Case

    @property
    def heat(self) -> np.ndarray:
        """(n, h, w)"""
        return self.case.heat[:, 0]

    @property
    def before(self) -> np.ndarray:
        """The probabilities of the images as they are."""
        return self.case.scoring.unchanged("probability")[:, 0]


Peer: TypeAlias = Callable[[Asked], np.ndarray]
"""The figures, (n,) or (n, more); NaN where they are not ours."""


def _targets(asked: Asked) -> list[Any]:
    return [lambda output, number=number: output.softmax(dim=-1)[number] for number in asked.classes]


def grad_cam_drop(asked: Asked) -> np.ndarray:
    # It gives p - q, and the paper (p - q) / p.
    shown = asked.case.shown[:, 0]
    return np.asarray(DropInConfidence()(asked.images, shown, _targets(asked), asked.model)) / asked.before


def grad_cam_road(asked: Asked) -> np.ndarray:
    """As its ROADCombined, without noise."""
    means = []
    for order in (RemoveLeastRelevantFirst, RemoveMostRelevantFirst):
        metrics = (PerturbationConfidenceMetric(order(share, NoisyLinearImputer(noise=0))) for share in SHARES)
        means.append(np.mean([m(asked.images, asked.heat, _targets(asked), asked.model) for m in metrics], axis=0))
    return np.asarray((means[0] - means[1]) / 2)


class _Given:
    """What torchcam takes for a method: maps that are there already."""

    def __init__(self, model: nn.Module, maps: np.ndarray) -> None:
        self.model, self.maps = model, torch.from_numpy(maps)

    def __call__(self, *_: Any, **__: Any) -> list[torch.Tensor]:
        return [self.maps]

    def fuse_cams(self, cams: list[torch.Tensor]) -> torch.Tensor:
        return cams[0]

    def _hooks_off(self) -> Any:
        return contextlib.nullcontext()


def torchcam_curves(asked: Asked) -> np.ndarray:
    """Deletion and insertion; it gives the means over images alone."""
    metric = DeletionInsertionMetric(_Given(asked.model, asked.heat), lambda x: x.softmax(dim=-1), steps=STEPS)
    metric.update(asked.images, [int(number) for number in asked.classes])
    found = metric.summary()
    return np.array([[found["deletion_auc"], found["insertion_auc"]]])


def captum_sensitivity(asked: Asked) -> np.ndarray:
    method = LayerGradCam(asked.model, asked.model.body.features)
    noise = np.stack([noisy(asked.case.scoring, i, RADIUS)[1] for i in range(SAMPLES)])
    noises = torch.from_numpy(noise.astype(np.float32))

    def explained(inputs: Any, target: Any) -> Any:
        # In a tuple: of a tensor alone captum divides by the length of each row.
        return (method.attribute(_one(inputs), target=target),)

    def perturbed(inputs: Any, _radius: float) -> Any:
        # Each image as often as there is noise, one image after the other.
        return _one(inputs) + noises.repeat(len(_one(inputs)) // SAMPLES, 1, 1, 1)

    target = torch.from_numpy(asked.classes)
    options = {"n_perturb_samples": SAMPLES, "target": target}
    return sensitivity_max(explained, (asked.images,), perturbed, **options).numpy()


def _one(inputs: Any) -> torch.Tensor:
    """captum gives a tuple to one function, and its only tensor to another."""
    found: torch.Tensor = inputs[0] if isinstance(inputs, tuple) else inputs
    return found


def captum_infidelity(asked: Asked) -> np.ndarray:
    masks = torch.from_numpy(Subsets("squares", SQUARES).masks(asked.case.scoring))

    @infidelity_perturb_func_decorator(multiply_by_inputs=True)
    def perturbed(inputs: Any, _baselines: Any) -> Any:
        return torch.where(masks[:, None].repeat(len(inputs) // SQUARES, 1, 1, 1), 0.0, inputs)

    found = []
    # One by one: of all images it would hold fifty copies at once.
    for image, number, heat in zip(asked.images, asked.classes, asked.heat, strict=True):
        shares = torch.from_numpy(heat / 3).expand(1, 3, -1, -1)
        options = {"baselines": 0, "target": int(number), "n_perturb_samples": SQUARES, "normalize": True}
        found.append(infidelity(asked.model, perturbed, image[None], shares, **options).item())
    return np.array(found)


def _flipped(asked: Asked, *, softmax: bool) -> np.ndarray:
    """The scores after each step, (n, steps)."""
    import quantus

    # Its steps are of values, three of a position, and must divide the positions: it takes three times as many.
    step = asked.heat[0].size // STEPS
    metric = quantus.PixelFlipping(features_in_step=step, normalise=False, perturb_baseline=0.0, disable_warnings=True)
    return np.array(_quantus(metric, asked, softmax=softmax))[:, 2::3]


def quantus_deletion(asked: Asked) -> np.ndarray:
    curve = np.concatenate([asked.before[:, None], _flipped(asked, softmax=True)], axis=1)
    return np.asarray(np.trapezoid(curve, dx=1 / STEPS, axis=1))


def quantus_flipping(asked: Asked) -> np.ndarray:
    logits = asked.case.scoring.unchanged()[:, :1]
    return logits[:, 0] - np.concatenate([logits, _flipped(asked, softmax=False)], axis=1).mean(axis=1)


def quantus_road(asked: Asked) -> np.ndarray:
    """Whether the model is still right at each share: another figure than ours."""
    import quantus

    metric = quantus.ROAD(percentages=list(SHARES), noise=0, normalise=False, disable_warnings=True)
    _quantus(metric, asked, softmax=True)
    return np.full(len(asked.images), np.nan)


def _explained(model: Any, inputs: np.ndarray, targets: np.ndarray, **_: Any) -> np.ndarray:
    method = LayerGradCam(model, model.body.features)
    found = method.attribute(torch.as_tensor(inputs), target=torch.as_tensor(targets)).detach()
    # It takes no map of another size than the picture's.
    return nn.functional.interpolate(found, size=inputs.shape[-2:], mode="bilinear").numpy()


def quantus_sensitivity(asked: Asked) -> np.ndarray:
    """Of maps at the size of the picture: another figure than ours."""
    import quantus

    noises = (noisy(asked.case.scoring, i, RADIUS)[1].ravel() for i in range(SAMPLES))
    metric = quantus.MaxSensitivity(
        nr_samples=SAMPLES,
        perturb_func=lambda arr, **_: (arr + next(noises)).astype(np.float32),
        disable_warnings=True,
    )
    _quantus(metric, asked, softmax=False, explain_func=_explained)
    return np.full(len(asked.images), np.nan)


def quantus_randomisation(asked: Asked) -> np.ndarray:
    """Layer by layer, with other numbers than ours."""
    import quantus

    metric = quantus.MPRT(disable_warnings=True, return_average_correlation=True)
    _quantus(metric, asked, softmax=False, explain_func=_explained)
    return np.full(len(asked.images), np.nan)


def _quantus(metric: Any, asked: Asked, **options: Any) -> Any:
    images, maps = asked.images.numpy(), asked.heat[:, None]
    if "explain_func" in options:
        maps = _explained(asked.model, images, asked.classes)
    return metric(
        model=asked.model,
        x_batch=images,
        y_batch=asked.classes,
        a_batch=maps,
        device="cpu",
        channel_first=True,
        batch_size=len(images),
        **options,
    )
