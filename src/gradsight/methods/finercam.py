"""Finer-CAM."""

from __future__ import annotations

from typing import Annotated

from gradsight.combining import against_rivals
from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.methods.gradcam import gradcam
from gradsight.registry import method
from gradsight.rules import Number, Whole


@method("finercam", title="Finer-CAM", source="arXiv:2501.11309", needs="class scores")
def finercam(
    probe: Probe, ops: Ops, *, rivals: Annotated[int, Whole(1)] = 3, strength: Annotated[float, Number(0, 10)] = 0.6
) -> Array:
    """Grad-CAM of the target's score minus the mean score of the classes that score most like it.

    Args:
        probe: the pass.
        ops: array functions.
        rivals: how many classes it is set against, at most.
        strength: the factor of their mean score.
    """
    # Not a variant of its own: the paper takes Grad-CAM and this strength.
    return gradcam(against_rivals(probe, rivals, strength), ops)
