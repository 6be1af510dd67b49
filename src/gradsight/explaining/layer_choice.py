"""What is known of a model's layers: looked at once for each kind of input, and for what targets read of the output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from gradsight.contracts import Reads
from gradsight.errors import ModelError
from gradsight.explaining.inputs import Batch
from gradsight.foreign import Outputs
from gradsight.layers import Candidate, rank
from gradsight.locks import Lock
from gradsight.recent import Recent
from gradsight.targets import ScoreSpec

Settle = Callable[[Any, Any], ScoreSpec]
"""``(logits, outputs) -> targets``."""

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
        self._kept: Recent[Any, list[Study]] = Recent()
        self._architecture: dict[str, str] = {}
        self._looking = Lock()

    def __reduce__(self) -> tuple[type[Studies], tuple[()]]:
        return Studies, ()  # a copy looks itself

    def of(self, given: Batch, settle: Settle, best: Settle, reads: Reads | None = None) -> Study:
        """Look at the layers, once for each input size, order of inputs, architecture, and what targets read.

        Args:
            given: the batch, of which the first image is looked at.
            settle: the targets of that image.
            best: its best class, which speaks for all where the targets are classes, so that the layers do not depend
                on which was asked for first; the one that was asked for only where the best has no gradient.
            reads: what the targets read, which only a pass can tell; without it, what the last ones read.
        """
        with self._looking:
            architecture = dict(given.backend.names())
            if architecture != self._architecture:
                self._architecture, self._kept = architecture, Recent()
            known = self._kept.of(kind_of(given), list)
            found = next((study for study in known if reads in (None, study.reads)), None)
            if found is None:
                with given.backend.unchanged():  # else what is remembered would be of no model
                    found = _looked(given, settle, best)
            known[:] = [found, *(study for study in known if study.reads != found.reads)][:_MOST]
            return found


def retried(go: Callable[[Study | None], _T], study: Callable[[Reads], Study]) -> _T:
    """``go(None)``, which takes the last study; or, where the targets read something else, with their own."""
    try:
        return go(None)
    except ReadsOther as other:
        return go(study(other.reads))


def checked(settle: Settle, given: Batch, thought: Study | None) -> Settle:
    """``settle``, which sees that targets read what a study was made for; None where there is no doubt.

    Raises:
        ReadsOther: they do not.
    """

    def settled(logits: Any, outputs: Outputs) -> ScoreSpec:
        resolved = settle(logits, outputs)
        if thought is not None and (reads := given.backend.reads(outputs, resolved)) != thought.reads:
            raise ReadsOther(reads)
        return resolved

    return settled


def kind_of(given: Batch) -> tuple[Any, ...]:
    """What the layers of a model depend on: the image's size, and which input is the image."""
    structure, _ = given.backend.kind(given.batch)
    return given.backend.size(given.batch), structure


def _looked(given: Batch, settle: Settle, best: Settle) -> Study:
    backend = given.backend
    reads: Reads = ()

    def canonical(logits: Any, outputs: Outputs) -> ScoreSpec:
        nonlocal reads
        resolved = settle(logits, outputs)
        reads = backend.reads(outputs, resolved)
        return best(logits, outputs) if resolved.of_classes else resolved

    size = backend.size(given.batch)
    try:
        ranked = rank(backend.trace(given.batch, canonical), size)
    except ModelError:
        ranked = rank(backend.trace(given.batch, settle), size)
    return Study(reads, ranked)
