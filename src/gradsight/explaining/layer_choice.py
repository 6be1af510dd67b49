"""What is known of a model's layers: looked at once for each kind of input, and for what targets read of the output."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gradsight.contracts import Backend, Reads
from gradsight.errors import InvalidArgument, InvalidType, ModelError, received
from gradsight.explaining.inputs import Batch
from gradsight.foreign import Module, Outputs
from gradsight.layers import Candidate, rank
from gradsight.locks import Lock
from gradsight.recent import Recent
from gradsight.targets import ScoreSpec

Resolve = Callable[[NDArray[np.float64] | None, Outputs], ScoreSpec]
"""``(logits, outputs) -> targets``."""

LayerLike = str | Module
"""A layer's name, or the module itself."""

Layers = LayerLike | Sequence[LayerLike | None] | None
"""One or several of them; None for the one to choose."""

Kind = tuple[Hashable, ...]
"""What the layers of a model depend on."""

_T = TypeVar("_T")

_MOST = 8
"""How many studies are kept for inputs of one kind."""


class Study(NamedTuple):
    """What one look at the layers of a model gave.

    Attributes:
        reads: what the targets read of the output that it was made for.
        ranked: the layers that can be explained, the best first.
    """

    reads: Reads
    ranked: list[Candidate]


class ReadsOther(Exception):
    """Targets read something else of the output than those that a study was made for."""

    def __init__(self, reads: Reads) -> None:
        super().__init__(reads)
        self.reads = reads


class Studies:
    """The studies of one model. Threads may share them."""

    def __init__(self) -> None:
        self._kept: Recent[Kind, list[Study]] = Recent()
        self._architecture: dict[str, str] = {}
        # One look at a time: two threads would trace the same model twice.
        self._looking = Lock()

    def __reduce__(self) -> tuple[type[Studies], tuple[()]]:
        return Studies, ()  # a copy looks itself

    def of(self, batch: Batch, resolve: Resolve, best: Resolve, reads: Reads | None = None) -> Study:
        """Look at the layers, once for each input size, order of inputs, architecture, and what targets read.

        Args:
            batch: the batch, of which the first image is looked at.
            resolve: the targets of that image.
            best: its best class, which speaks for all where the targets are classes, so that the layers do not depend
                on which was asked for first; the one that was asked for only where the best has no gradient.
            reads: what the targets read, which only a pass can tell; without it, what the last ones read.
        """
        with self._looking:
            # Layers may be replaced between two calls; what was known is then of another model.
            architecture = dict(batch.backend.names())
            if architecture != self._architecture:
                self._architecture, self._kept = architecture, Recent()
            known = self._kept.of(kind_of(batch), list)
            found = next((study for study in known if reads in (None, study.reads)), None)
            if found is None:
                with batch.backend.unchanged():  # else what is remembered would be of no model
                    found = _looked(batch, resolve, best)
            # The last one used first: without a pass nothing tells what targets read, and most calls ask for the same.
            known[:] = [found, *(study for study in known if study.reads != found.reads)][:_MOST]
            return found


def retried(go: Callable[[Study | None], _T], study: Callable[[Reads], Study]) -> _T:
    """Try ``go(None)``, which takes the last study; where the targets read another part of the output, take theirs."""
    try:
        return go(None)
    except ReadsOther as other:
        return go(study(other.reads))


def checked(resolve: Resolve, batch: Batch, study: Study | None) -> Resolve:
    """``resolve``, which also checks that the targets read the part of the output that ``study`` was made for.

    Args:
        resolve: the targets.
        batch: what passes the model.
        study: by which the layers were chosen; None where it was made for these very targets.

    Raises:
        ReadsOther: they do not.
    """

    def resolved_here(logits: NDArray[np.float64] | None, outputs: Outputs) -> ScoreSpec:
        resolved = resolve(logits, outputs)
        if study is not None and (reads := batch.backend.reads(outputs, resolved)) != study.reads:
            raise ReadsOther(reads)
        return resolved

    return resolved_here


def kind_of(batch: Batch) -> Kind:
    """What the layers of a model depend on: the image's size, and which input is the image."""
    structure, _ = batch.backend.kind(batch.inputs)
    return batch.backend.size(batch.inputs), structure


def _looked(batch: Batch, resolve: Resolve, best: Resolve) -> Study:
    backend = batch.backend
    reads: Reads = ()

    def canonical(logits: NDArray[np.float64] | None, outputs: Outputs) -> ScoreSpec:
        nonlocal reads
        resolved = resolve(logits, outputs)
        reads = backend.reads(outputs, resolved)
        # Which layers are good does not depend on the class, so that the choice is the same for all of them.
        return best(logits, outputs) if resolved.of_classes else resolved

    size = backend.size(batch.inputs)
    try:
        ranked = rank(backend.trace(batch.inputs, canonical), size)
    # The best class has no gradient here; the one that was asked for may have one.
    except ModelError:
        ranked = rank(backend.trace(batch.inputs, resolve), size)
    return Study(reads, ranked)


def several(value: _T | Sequence[_T], argument: str) -> list[_T]:
    """A value, or the values in a list or a tuple.

    Raises:
        InvalidArgument: the list is empty.
    """
    if not isinstance(value, list | tuple):
        return [value]  # type: ignore[list-item]
    if not value:
        raise InvalidArgument(f"`{argument}` must name at least one. Received: an empty {type(value).__name__}.")
    return list(value)


def names_of(
    layer: LayerLike | list[LayerLike | None] | tuple[LayerLike | None, ...] | None, backend: Backend
) -> list[str | None]:
    """The names of layers that were given by their names or as modules of the model; None for the one to choose.

    Raises:
        InvalidArgument: a module is none of the model's.
        InvalidType: neither a name nor a module.
    """
    return [None if one is None else _name_of(one, backend) for one in several(layer, "layer")]


def _name_of(layer: LayerLike, backend: Backend) -> str:
    # Only the backend knows which objects are modules, and where they are in the model.
    name = backend.name_of(layer)
    if name is not None:
        return name
    if callable(layer):
        raise InvalidArgument(
            f"`layer` must be a module inside of the explained model. {received(layer)} It is the model itself, a "
            "copy, or part of another model: take it from the model that Explainer was given, as model.layer4, or "
            "give its name; explainer.layers(batch) lists the good ones."
        )
    raise InvalidType(f"`layer` must be a layer's name, a module of the model, or a list of them. {received(layer)}")
