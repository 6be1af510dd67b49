"""`gs.run`: from photos, however many, to the rows of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Literal, TypedDict, Unpack

from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument, received
from gradsight.explaining.asked import check_for_all, check_words
from gradsight.explaining.explainer import Explainer
from gradsight.explaining.layer_choice import LayerLike
from gradsight.explaining.stream import BATCH_SIZE
from gradsight.models.as_model import ModelLike
from gradsight.rules import Each, Flag, Name, Whole
from gradsight.runs.described import described
from gradsight.runs.engines.engine import Engine, Extent, Work, engine_of
from gradsight.runs.items import Items, Label, items_of
from gradsight.runs.making import Making
from gradsight.runs.manifest import Manifest
from gradsight.runs.opened import Run, open_run
from gradsight.runs.plan import Numbered, Plan, left, numbered
from gradsight.runs.progress import Count, Progress, Tell
from gradsight.runs.store import Store
from gradsight.runs.trial import FIRST, tried
from gradsight.targets import TargetLike
from gradsight.variants import MethodLike

_SHARD = Each(Whole(1, 1 << 20), (2,), "which part, and of how many, such as (3, 16)")


class How(TypedDict, total=False):
    """Keyword arguments of `run` about how it is done; see there."""

    labels: Iterable[Label | None] | None
    batch_size: int | Literal["auto"]
    features: bool
    engine: str | Engine
    shard: tuple[int, int] | None
    progress: Tell | None


def run(
    source: object,
    model: ModelLike | Explainer = "demo",
    *,
    out: str | os.PathLike[str],
    methods: MethodLike | Sequence[MethodLike] | None = None,
    layers: LayerLike | Sequence[LayerLike | None] | None = None,
    targets: TargetLike | None = None,
    **how: Unpack[How],
) -> Run:
    """Explain photos, however many, and keep what comes of them in a folder: Parquet that any tool for tables opens.

    Asked for again in the same words, it goes on where it was ended, even by a crash; what is done stays as it is. A
    photo that fails is a row with its error, and ends nothing.

    >>> import tempfile
    >>> import gradsight as gs
    >>> from gradsight.photos import bundled_photo
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = gs.run([("cat", bundled_photo().source), ("broken", b"?")], "demo", out=f"{folder}/run")
    ...     print(run["cat"].labels, [key for key, error in run.failed])
    (('Egyptian cat',),) ['broken']

    Args:
        source: a folder (the folders in it give labels), a list of photos in a file, tars, a data set, or anything that
            gives photos one after the other; see `runs.items.items_of`.
        model: a model source such as ``"demo"``, a path, what `load_model` gave, a module, or an `Explainer`.
        out: the folder of the run; it is made if need be.
        methods: their names; the explainer's own if not given, which is Grad-CAM.
        layers: their names; if not given, the one that is chosen by itself.
        targets: what to explain, as in `Explainer`, the same for each photo.
        **how: ``labels``: one for each photo, in place of those that the source says. ``batch_size``: how many photos
            pass the model at once; ``"auto"``, the default, finds the quickest number before the first photo, by one
            photo in sixteen at most, by fewer where several processes explain them, and a run keeps it when it is gone
            on with. ``features=True`` keeps the layer's activations under each hot area, to compare what a model looked
            at (`RunRow`). ``engine``: ``"local"`` or a `Local`, this machine, or ``"ray"`` or a `Ray`, the workers of a
            cluster. ``shard``: (i, n) for the i-th of n parts of the photos, counted from 1, each in a run of its own;
            `merge_runs` makes one of them. ``progress`` is called with a `runs.progress.Progress` a few times a second,
            and with each part that is written.

    Returns:
        The run, as `open_run` opens it.

    Raises:
        GradsightError: with what was wrong, what was received and what to do; ``out`` holds a run of something else, or
            is written by another process; no photo can be explained so.
    """
    about = "What is known of the model, such as preprocess=, goes with it: gs.run(photos, gs.Explainer(model, ...))."
    check_words(how, [*How.__annotations__], "run", about)
    explainer = _explainer(model, methods, layers, targets)
    check_for_all(explainer.targets)
    size = taken("batch_size", how.get("batch_size", "auto"), BATCH_SIZE, "Pass 32, or 'auto'.")
    features, shard = taken("features", how.get("features", False), Flag()), _shard(how.get("shard"))
    folder = Path(taken("out", out, Name()))
    # Not the pictures of an earlier look at the run, where it lies among the photos.
    items = items_of(source, labels=how.get("labels"), leave_out=[folder])
    engine = engine_of(how.get("engine", "local"))
    engine.check(explainer, items)
    manifest = described(explainer, items, features=features, engine=engine.name, shard=shard)
    with Store.open(folder, replace(manifest, batch_size=None if size == "auto" else int(size))) as store:
        _explain(explainer, items, engine, store, how.get("progress"))
        # Counted on the disk: earlier calls, and workers elsewhere, have written there too.
        found = open_run(folder)
        failed = len(found.failed)
        store.finish(len(found) + failed, failed)
        found.manifest = store.manifest
    # Not opened again: its keys are gone through already.
    return found


def _explain(explainer: Explainer, items: Items, engine: Engine, store: Store, tell: Tell | None) -> None:
    """Explain what is not done."""
    manifest = store.manifest
    photos = left(numbered(items, manifest.shard), store.done)
    # Photos that may be endless, or given once: those that are tried out here are explained below.
    first = list(islice(photos, FIRST))
    if not first:
        return
    total = _total(items, manifest)
    extent = Extent(total, in_memory=first[0].item.is_in_memory)
    # Of this process: photos that cannot be explained are told before any engine begins.
    with (
        engine.trying(explainer, extent) as worth,
        Making(explainer, Plan(1), features=manifest.features) as making,
    ):
        trial = tried(making, first, manifest.batch_size, _left(first, total, store), worth)
    plan, layers = _planned(manifest, trial.batch_size), _same_layers(manifest, trial.layers)
    # Before the first part: a call that goes on must cut the photos in the same way.
    store.save(replace(manifest, batch_size=plan.batch_size, part_size=plan.part_size, layers=layers))
    told, ahead = Count(Progress(total=total, before=len(store.done)), tell), chain(first, photos)
    engine.explain(Work(explainer, ahead, items, plan, store, manifest.features, told, extent, trial.begun))


def _left(first: Sequence[Numbered], total: int | None, store: Store) -> int | None:
    """How many photos are not done; None where nobody knows."""
    if len(first) < FIRST:
        return len(first)
    return None if total is None else max(len(first), total - len(store.done))


def _planned(manifest: Manifest, batch_size: int) -> Plan:
    return Plan(batch_size) if manifest.part_size is None else Plan(batch_size, manifest.part_size)


def _same_layers(manifest: Manifest, layers: tuple[str, ...]) -> tuple[str, ...]:
    # Where nobody names a layer it is chosen by the first photo: of another photo it could be another one.
    if manifest.layers and layers and manifest.layers != layers:
        raise InvalidArgument(
            f"the maps of this run are of {', '.join(manifest.layers)}, and those of the photos that are left would be "
            f"of {', '.join(layers)}. Name a layer, `layers={manifest.layers[0]!r}`, and begin again in another folder."
        )
    return manifest.layers or layers


def _total(items: Items, manifest: Manifest) -> int | None:
    if items.length is None or manifest.shard is None:
        return items.length
    number, count = manifest.shard
    return max(0, -(-(items.length - number + 1) // count))


def _explainer(
    model: ModelLike | Explainer,
    methods: MethodLike | Sequence[MethodLike] | None,
    layers: LayerLike | Sequence[LayerLike | None] | None,
    targets: TargetLike | None,
) -> Explainer:
    if not isinstance(model, Explainer):
        return Explainer(model, method="gradcam" if methods is None else methods, layer=layers, targets=targets)
    if methods is None and layers is None and targets is None:
        return model
    return Explainer(
        model.model,
        method=model.method if methods is None else methods,
        layer=model.layer if layers is None else layers,
        targets=model.targets if targets is None else targets,
        layout=model.layout,
        grid=model.grid,
        batch_size=model.batch_size,
    )


def _shard(shard: tuple[int, int] | None) -> tuple[int, ...] | None:
    found = optional("shard", shard, _SHARD, "Pass (1, 2) for the first of two.")
    if found is not None and found[0] > found[1]:
        raise InvalidArgument(f"`shard` must be one of its parts. {received(shard)} Pass ({found[1]}, {found[1]}).")
    return None if found is None else tuple(found)
