"""The engine of a cluster: the model in workers of Ray, from one laptop on; what they make is written by this process.

Only this process writes: workers need to see the photos, and not the folder of the run, and a part that is made twice,
since a worker was lost, is written once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import ClassVar

from gradsight.errors import InvalidArgument, ModelError, received
from gradsight.explaining.explainer import Explainer
from gradsight.explaining.spec import ExplainSpec
from gradsight.models.digest import digest_of
from gradsight.models.keras.backend import is_keras
from gradsight.models.spec import ModelSpec
from gradsight.runs.digests import Done
from gradsight.runs.engines.cluster import Cluster, check_installed, joined
from gradsight.runs.engines.engine import Extent, Work
from gradsight.runs.engines.spread import spread
from gradsight.runs.items import Items
from gradsight.runs.making import Making
from gradsight.runs.parts import Encoded, encoded
from gradsight.runs.plan import Numbered, Plan, in_blocks, left, numbered
from gradsight.runs.schema import FAILED
from gradsight.runs.trial import Worth

_PARTS_EACH = 4
"""A worker gets so many parts at least, where there are not too few photos: the last one must not be waited for."""


@dataclass(frozen=True)
class Ray(Cluster):
    """Explains the photos of a run by the workers of a Ray cluster; see `Cluster`.

    Each worker loads the model by its `ModelSpec`, and says so where its weights are others than here.

    >>> Ray(workers=2).name
    'ray'
    """

    name: ClassVar[str] = "ray"

    def check(self, explainer: Explainer, items: Items) -> None:
        """See that workers can load the model and read the photos.

        Raises:
            InvalidArgument: the model is an object of this process alone; the photos can be gone through once.
            MissingDependency: Ray is not installed.
        """
        check_installed()
        if explainer.model.spec is None:
            raise InvalidArgument(
                "`model` must be something that each worker can load by itself, where the engine is 'ray'. "
                f"{received(explainer.model)} Name what it is loaded from: 'timm:resnet50', a file of weights, or a "
                "function of yours that makes it, 'package.module:function'; or use engine='local'."
            )
        if not items.again:
            raise InvalidArgument(
                "`source` must be photos that can be gone through again, where the engine is 'ray': another process "
                f"reads them. {received(items.described)} Pass a folder, a list, tars or a data set with a length; or "
                "use engine='local'."
            )

    def trying(self, _explainer: Explainer, _extent: Extent) -> AbstractContextManager[Worth]:
        """Another machine may compute otherwise in any case; see `Engine.trying`."""
        return nullcontext(Worth())

    def explain(self, work: Work) -> None:
        """Explain all photos and write their rows; see `Engine.explain`."""
        manifest = work.store.manifest
        model = _model_of(work.explainer, self.gpus_per_worker)
        job = _Job(model, work.explainer.spec, manifest.weights, work.plan, work.features)
        with joined(self) as room:
            blocks = _blocks_of_a_part(work, room.workers)
            parts = partial(_parts, work.items, work.plan, blocks, manifest.shard, work.store.done)
            for returned in spread(parts, partial(_Worker, job), room):
                made = returned.made
                path = work.store.parts.put(made.part)
                work.count.add_part(path.name, made.rows, done=made.photos, failed=made.failed)


@dataclass(frozen=True)
class _Job:
    """What a worker needs, and what can be sent to it.

    Attributes:
        model: what the model is loaded from.
        explain: what is explained of it.
        weights: the digest of its weights here.
        plan: how photos are cut.
        features: whether rows have features.
    """

    model: ModelSpec
    explain: ExplainSpec
    weights: str | None
    plan: Plan
    features: bool


@dataclass(frozen=True)
class _Made:
    """A part as it comes back.

    Attributes:
        part: the bytes of its file.
        rows, photos, failed: how many rows it has, of how many photos, and how many of these failed.
    """

    part: Encoded
    rows: int
    photos: int
    failed: int


@dataclass(frozen=True)
class _Part:
    """Photos that are explained by one worker and written together, in whole blocks."""

    photos: tuple[Numbered, ...]

    def __str__(self) -> str:
        return f"photos {self.photos[0].item.key!r} to {self.photos[-1].item.key!r}"


class _Worker:
    """What a worker has: the model, and what makes rows of photos."""

    def __init__(self, job: _Job) -> None:
        model = job.model.load()
        # A file of the same name may be another one on another machine.
        if digest_of(model.model) != job.weights:
            raise ModelError(
                f"`model` must have the same weights on each machine, and {model.name} has others on a worker than "
                "where the run was started. Name weights that do not change, not random ones, and put the same files "
                "on each machine."
            )
        self._making = Making(job.explain.explainer(model), job.plan, features=job.features)

    def __call__(self, part: _Part) -> _Made:
        found = [made.rows() for made in list(self._making.each(part.photos))]
        rows = [row for own in found for row in own]
        failed = sum(own[0].status == FAILED for own in found)
        return _Made(encoded(rows, part.photos[0].position), len(rows), len(found), failed)


def _model_of(explainer: Explainer, gpus: float) -> ModelSpec:
    """What workers load; on the GPU that each has to itself, unless the user has chosen a device."""
    spec = explainer.model.spec
    assert spec is not None  # as `Ray.check` saw to
    # Keras finds the GPU by itself, and takes no device.
    if not gpus or spec.device is not None or is_keras(explainer.model.model):
        return spec
    return replace(spec, device="cuda")


def _blocks_of_a_part(work: Work, workers: int) -> int:
    """How many blocks a part has: as many as the plan says, and fewer where workers would have none."""
    if work.items.length is None:
        return work.plan.blocks
    count = work.items.length // (work.store.manifest.shard or (1, 1))[1] - len(work.store.done)
    return max(1, min(work.plan.blocks, count // (_PARTS_EACH * workers * work.plan.block)))


def _parts(items: Items, plan: Plan, size: int, shard: tuple[int, ...] | None, done: Done) -> Iterator[_Part]:
    """The parts of what is left, in another process."""
    blocks = in_blocks(left(numbered(items, shard), done), plan)
    while some := list(islice(blocks, size)):
        yield _Part(tuple(photo for block in some for photo in block))
