"""What an engine that Keras runs on offers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.foreign import Array, Inputs, Outputs

if TYPE_CHECKING:
    from gradsight.backends.ablation import Ablation
    from gradsight.backends.keras.forward import KerasForward

Start: TypeAlias = Callable[[str, Array], Array]
"""``(name, output) -> output``: makes an output a leaf, where differentiation starts, and gives what goes on."""

Body: TypeAlias = Callable[[Inputs, Start], Outputs]
"""``(inputs, start) -> outputs``: a pass of a view."""

Pull: TypeAlias = Callable[[list[Array]], dict[str, Array]]
"""Cotangents (k, ...), one for each floating-point output, to gradients (k, ...) by leaf."""


class Linearized(NamedTuple):
    """A pass that can be differentiated.

    Attributes:
        outputs: what the body gave.
        leaves: the outputs of layers that were started at, by name.
        pull: the way back to them.
    """

    outputs: Outputs
    leaves: dict[str, Array]
    pull: Pull


class Engine(Protocol):
    """TensorFlow, JAX or PyTorch, at work on one view of a Keras model.

    ``key`` names a body, for engines that compile; None for one that runs once.
    """

    @property
    def serves_any_rows(self) -> bool:
        """Whether what is traced for a key serves further numbers of rows."""

    @property
    def activations(self) -> ModuleType:
        """The module of the engine's own activations."""

    def aside(self) -> AbstractContextManager[object]:
        """Within it, numbers are computed at once, whatever is traced at the moment."""

    def trace_level(self) -> object:
        """What is traced at the moment; another within a loop, where tensors are those of one step."""

    def unchanged(self) -> AbstractContextManager[None]:
        """See that nobody changes the model's weights within it, as far as the engine can tell."""

    def plain(self, key: Hashable | None, body: Body, inputs: Inputs) -> Outputs:
        """The outputs, without a gradient."""

    def each(self, key: Hashable, body: Body, several: Sequence[Inputs]) -> Iterator[Outputs]:
        """The outputs of a body that runs a few times, for several inputs of one kind, one after the other."""

    def linearize(self, key: Hashable, body: Body, inputs: Inputs) -> Linearized:
        """The outputs, the leaves, and the way back."""

    def gradients(self, body: Body, inputs: Inputs, leaves: Mapping[str, Array]) -> dict[str, Array]:
        """Of a body that gives one number its gradients at some of the tensors that it starts at; nothing is kept.

        Args:
            body: it.
            inputs: what it takes.
            leaves: those tensors by name, as they are for any inputs of these shapes.
        """

    def tail(self, name: str, raw: Array, forward: KerasForward, more: Callable[[], Inputs], times: int) -> Outputs:
        """The outputs where ``raw`` stands in the place of a leaf; what does not depend on ``raw`` is not run again.

        Args:
            name: of the leaf.
            raw: ``times`` rows for each row of the pass's inputs; row j belongs to row j % n.
            forward: the pass.
            more: gives the inputs of the pass as often, for an engine whose whole model has to run.
            times: how often.
        """

    def ablated(self, name: str, ablation: Ablation, forward: KerasForward) -> Outputs | None:
        """The outputs where channels of a leaf are off, by a tail that switches them off; None where it has none.

        Rows are images; otherwise as in `tail`.
        """

    def rounds_at_once(self, name: str, ablation: Ablation, forward: KerasForward) -> int:
        """How many rounds like an ablation, whose rows are images, take no more memory together than one may take."""

    def like(self, values: NDArray[np.bool_], tensor: Array) -> Array:
        """Ones and zeros as an array of the engine, in the precision and on the device of another."""

    def slopes(self, function: Callable[[list[Array]], Array], tensors: list[Array]) -> tuple[Array, list[Array]]:
        """Values (n, k) of tensors, and each column's sum differentiated by each tensor: (k, ...)."""

    def along(self, function: Callable[..., Array], tensors: list[Array]) -> Array:
        """The derivative of ``function(*tensors)`` in the direction of the tensors themselves, within a body."""

    def curvature(self, function: Callable[[Array], Array], leaf: Array, direction: Array) -> list[Array]:
        """The Hessian of each column's sum of ``function(leaf)`` (n, k), times ``direction``."""

    def cuts(self, body: Body, inputs: Sequence[Array]) -> set[str]:
        """Of all leaves, the names that every path from ``inputs[0]`` to the output, one scalar, passes."""
