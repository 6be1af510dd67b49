"""What is reported: runs and evaluations, or the folders that they lie in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from gradsight.errors import InvalidArgument, InvalidType, received
from gradsight.evaluating.evaluation import Evaluation
from gradsight.evaluating.files import JSON
from gradsight.files import is_file
from gradsight.runs.manifest import FILE
from gradsight.runs.opened import Run, open_run

Reported: TypeAlias = Run | Evaluation | str | os.PathLike[str]
"""A run, an evaluation, or the folder of one."""


def opened(given: Sequence[Reported]) -> tuple[Run | Evaluation, ...]:
    """Open what is given by its folder.

    Raises:
        InvalidArgument: there is nothing, or a folder holds neither.
        InvalidType: something is none of these.
    """
    if not given:
        raise InvalidArgument("a report must be of a run or an evaluation at least. Received: none. Pass gs.run(...).")
    return tuple(_opened(one) for one in given)


def _opened(given: Reported) -> Run | Evaluation:
    if isinstance(given, Run | Evaluation):
        return given
    if not isinstance(given, str | os.PathLike):
        raise InvalidType(
            f"a report must be of runs and evaluations, or their folders. {received(given)} Pass gs.open_run(folder)."
        )
    folder = Path(given)
    if is_file(folder / FILE):
        return open_run(folder)
    if is_file(folder / JSON):
        return Evaluation.load(folder)
    raise InvalidArgument(
        f"a report must be of the folder of a run, in which there is a {FILE}, or of an evaluation, in which there is "
        f"a {JSON}. {received(str(folder))} Begin a run: gradsight run PHOTOS --out RUN."
    )
