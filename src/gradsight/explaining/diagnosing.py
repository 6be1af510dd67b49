"""Costly checks of the maps of a call: each runs the model, or the method, again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case, Scoring
from gradsight.checks import taken
from gradsight.errors import GradsightError
from gradsight.explaining.asked import Asked
from gradsight.explaining.colours import colours
from gradsight.explaining.diagnosis import Check, checks
from gradsight.explaining.inputs import Batch
from gradsight.explaining.method_runs import MethodRun
from gradsight.explaining.passes import Passes
from gradsight.photos import out_of_memory
from gradsight.results.explanation import Explanation
from gradsight.results.note import Note
from gradsight.rules import Flag


def asked_with(diagnose: bool, asked: Asked) -> Asked:
    """What a call asks for; with ``diagnose``, its explanations go through `diagnosed`.

    Raises:
        InvalidType: ``diagnose`` is no truth value.
    """
    return asked._replace(finish=diagnosed) if taken("diagnose", diagnose, Flag()) else asked


def diagnosed(explanation: Explanation, passes: Passes, batch: Batch, run: MethodRun) -> Explanation:
    """An explanation with notes on what the checks of its maps gave.

    Args:
        explanation: of a batch.
        passes: of the model.
        batch: what was explained.
        run: the method that made the maps, and the pass that it looked at.
    """
    case = _case(explanation.maps, passes, batch, run)
    fitting = [check for check in checks() if run.method.at == "layer" or not check.at_layer]
    # All of a batch together, and one after the other: each bounds its rows by the batch size.
    made = [_Made.of(check, case) for check in fitting]
    cost = _cost(fitting, run, explanation.maps.shape[1])
    rows = tuple(
        tuple((*notes, *_notes(made, i, j, cost)) for j, notes in enumerate(row))
        for i, row in enumerate(explanation.target_notes)
    )
    return replace(explanation, target_notes=rows)


@dataclass(frozen=True, eq=False)
class _Made:
    """What came of a check.

    Attributes:
        check: which one.
        values: its figures, (n, k); None where it could not be made.
        why: why not.
    """

    check: Check
    values: NDArray[np.float64] | None
    why: str = ""

    @classmethod
    def of(cls, check: Check, case: Case) -> _Made:
        try:
            return cls(check, check.measure(case))
        # A map is worth having where a check of it is not possible, as of a model that refuses other images.
        except GradsightError as error:
            if out_of_memory(error):
                raise
            return cls(check, None, str(error).partition(". ")[0])

    def words(self, i: int, j: int) -> str:
        """The figure of a map in words."""
        if self.values is None:
            return f"{self.check.title}: not checked, since {self.why}"
        value = float(self.values[i, j])
        return f"{self.check.title}: no figure" if np.isnan(value) else self.check.words(value)

    def fault(self, i: int, j: int) -> Note | None:
        """The note on a map that the reader must have."""
        if self.values is None or np.isnan(self.values[i, j]):
            return None
        return self.check.fault(float(self.values[i, j]))


def _notes(made: Sequence[_Made], i: int, j: int, cost: int) -> Iterator[Note]:
    # What is wrong first: figures that are as they should be are for whoever reads on.
    yield from filter(None, (one.fault(i, j) for one in made))
    said = "; ".join(one.words(i, j) for one in made)
    yield Note("diagnosed", f"checked in at most {cost} further passes of the model: {said}")


def _cost(fitting: Sequence[Check], run: MethodRun, k: int) -> int:
    """How many passes of the model all checks take for an image of ``k`` targets."""
    channels = run.probe.activations.shape[1] if run.method.at != "input" else 1
    method = run.method.cost(channels, k)
    return sum(check.cost(k, method) for check in fitting)


def _case(maps: NDArray[np.float32], passes: Passes, batch: Batch, run: MethodRun) -> Case:
    """The maps of a run as metrics look at them."""
    # Of arrays nobody knows which values are black and white.
    ends = colours(passes, batch) if batch.photos else (0.0, 1.0)
    scoring = Scoring.of(run.shared, batch.backend, ends=ends)
    return Case(maps, scoring, run.probe, run.again(batch.backend))
