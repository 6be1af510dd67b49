"""Which photos a run is of, and what explains them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from gradsight.cli.options.panels import MODEL, RESULT
from gradsight.errors import InvalidArgument, received

if TYPE_CHECKING:
    from gradsight.runs.engines.engine import Engine


@dataclass(frozen=True)
class EngineOptions:
    """What explains the photos: this process, or the workers of a cluster."""

    engine: Annotated[str, MODEL.option(metavar="local|ray", help="This process, or the workers of a Ray cluster.")] = (
        "local"
    )
    address: Annotated[
        str | None,
        MODEL.option(metavar="HOST:PORT", help="Of the Ray cluster; auto for the one that is running here."),
    ] = None
    gpus_per_worker: Annotated[
        float | None, MODEL.option(metavar="N", min=0, help="GPUs of each Ray worker; 0.5 where two share one.")
    ] = None
    workers: Annotated[
        int | None,
        MODEL.option(
            metavar="N", min=1, help="How many processes explain photos, or Ray workers; as many as fit if not given."
        ),
    ] = None

    def chosen(self) -> str | Engine:
        """The engine, as `gs.run` takes it.

        Raises:
            InvalidArgument: an option of Ray's, and another engine.
        """
        given = {"--address": self.address, "--gpus-per-worker": self.gpus_per_worker}
        if self.engine != "ray":
            for name, value in given.items():
                if value is not None:
                    raise InvalidArgument(f"{name} is for --engine ray. {received(value)} Add --engine ray.")
            return self._local()
        # Here, since it imports NumPy, which `--help` does not wait for.
        from gradsight.runs.engines.ray import Ray

        return Ray(address=self.address, gpus_per_worker=self.gpus_per_worker or 0, workers=self.workers)

    def _local(self) -> str | Engine:
        if self.engine != "local" or self.workers is None:
            return self.engine
        from gradsight.runs.engines.local import Local

        return Local(self.workers)


@dataclass(frozen=True)
class ShardOptions:
    """Which part of the photos a run is of."""

    shard: Annotated[
        str | None,
        RESULT.option(
            metavar="I/N",
            help="Only the I-th of N parts of the photos, counted from 1, as for an array of jobs; "
            "`gradsight merge` makes one run of all.",
        ),
    ] = None

    def part(self) -> tuple[int, int] | None:
        """It as numbers; None for all photos.

        Raises:
            InvalidArgument: it is none.
        """
        if self.shard is None:
            return None
        match = re.fullmatch(r"\s*(\d{1,7})\s*/\s*(\d{1,7})\s*", self.shard, re.ASCII)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise InvalidArgument(f"--shard must be I/N, with I from 1 to N. {received(self.shard)} Pass --shard 3/16.")
        return int(match[1]), int(match[2])
