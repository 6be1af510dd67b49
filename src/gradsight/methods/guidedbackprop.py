"""Guided backpropagation."""

from __future__ import annotations

from gradsight.contracts import Probe
from gradsight.foreign import Array, Ops
from gradsight.methods.gradient import strongest
from gradsight.registry import method


@method(
    "guidedbackprop",
    title="Guided backpropagation",
    source="arXiv:1412.6806",
    needs="rectifiers (ReLU, GELU, SiLU ...)",
    at="input",
    cost=lambda _channels, targets: 1 + targets,
    gradient="rectified",
)
def guidedbackprop(probe: Probe, ops: Ops) -> Array:
    """Take the gradient by each pixel with only positive gradients passing rectifiers; the strongest colour channel.

    At ReLU this is the paper's rule; at other rectifiers the positive part of the gradient is multiplied with the true
    derivative. A rectifier is what a trial on numbers shows to let positive signals pass and to hold negative ones
    back: ReLU with any slope below 1, threshold or ceiling, PReLU, ELU, CELU, SELU, GELU, SiLU, hard-swish, Mish and
    softplus. What treats both signs alike (tanh, sigmoid, hard-tanh, softsign, the shrinking functions) keeps its true
    derivative, as does what a model writes out by hand. It shows edges more than reasons: it hardly depends on the
    target.
    """
    return strongest(probe.image.rectified("guided").gradients, ops)
