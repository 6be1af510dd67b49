"""What Ray Data reads the parts of a run from. Imported with Ray alone: it is a class of Ray's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import ray
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from gradsight.runs.engines.sending import Home, loaded
from gradsight.runs.engines.spread import numbered

if TYPE_CHECKING:
    import pyarrow


class PartSource(Datasource):  # type: ignore[misc]
    """The parts, one row each, read by one task while they are asked for.

    Args:
        parts: where Ray keeps the function that gives them.
        home: where its modules are found.
    """

    def __init__(self, parts: ray.ObjectRef, home: Home) -> None:
        super().__init__()
        self._parts, self._home = parts, home

    def get_name(self) -> str:
        """What Ray calls it."""
        return "Parts"

    def estimate_inmemory_data_size(self) -> None:
        """Not known: they are found as the run goes on."""

    def get_read_tasks(self, *_: object, **__: object) -> list[ReadTask]:
        """One task: keys are told apart in the order of the photos."""
        parts, home = self._parts, self._home

        def read() -> Iterator[pyarrow.Table]:
            home.find_modules()
            return numbered(lambda: cast("Iterator[object]", loaded(ray.get(parts), "source")))

        return [ReadTask(read, BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None))]
