"""What a pass on Keras keeps."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeAlias

from gradsight.backends.keras.engines.protocol import Body, Pull
from gradsight.backends.passes import Forward
from gradsight.foreign import Array, Inputs, Outputs

Tail: TypeAlias = Callable[[Array, int], Outputs]
"""``(raw, times) -> outputs``: what the model gives where its layer gives ``raw``, ``times`` rows for each image."""


def _nothing_ran(_inputs: Inputs, _start: object) -> Outputs:
    raise AssertionError("a pass without layers has no body to run again")


def _nothing_to_pull(_cotangents: list[Array]) -> dict[str, Array]:
    return {}


@dataclass(frozen=True)
class KerasForward(Forward):
    """One forward pass of one batch.

    Attributes:
        key: names the body that ran, for engines that compile.
        body: what ran.
        pull: cotangents of the outputs to gradients by layer name.
        tails: by layer, where one was asked for, the engine's tail with what bypasses it in this pass; None where the
            whole model has to run.
    """

    key: Hashable = None
    body: Body = _nothing_ran
    pull: Pull = _nothing_to_pull
    tails: dict[str, Tail | None] = field(default_factory=dict)
