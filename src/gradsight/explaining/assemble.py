"""From what a method made to an explanation, with the notes that its reader needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gradsight.contracts import Backend, Pass, Probe
from gradsight.errors import InvalidType, received
from gradsight.explaining import notes
from gradsight.explaining.inputs import Batch
from gradsight.explaining.layer_choice import kind_of
from gradsight.explaining.method_runs import MethodRun, method_runs
from gradsight.explaining.passes import Passes
from gradsight.registry import Method
from gradsight.results.explanation import Explanation, joined
from gradsight.results.note import Note
from gradsight.targets import Prediction, Reading, TargetLike


def explanations(
    passes: Passes,
    batch: Batch,
    names: Sequence[str | None],
    methods: Sequence[Method],
    targets: TargetLike | None,
) -> list[Explanation]:
    """One explanation for each layer and method.

    Args:
        passes: of the model.
        batch: what is explained.
        names: the layers; None for the best one.
        methods: which are run.
        targets: what is explained of it.
    """
    # Asked of the whole batch first: only a pass shows whether its images influence each other.
    runs = method_runs(passes, batch, names, methods, targets)
    if not runs:
        return []
    shared = runs[0].shared
    if batch.size > 1 and shared.rows.apart:  # what is beside an image would be part of its explanation
        alone = [explanations(passes, batch.alone(i), names, methods, targets) for i in range(batch.size)]
        return [_noted(joined(parts), notes.ALONE) for parts in zip(*alone, strict=True)]
    predictions = passes.predictions(batch, shared)  # of the same batch, whatever is explained in it
    return [_explanation(passes, batch, predictions, run) for run in runs]


def _explanation(
    passes: Passes,
    batch: Batch,
    predictions: tuple[tuple[Prediction, ...], ...],
    run: MethodRun,
) -> Explanation:
    backend, shared, method = batch.backend, run.shared, run.method
    probe = run.probe
    raw = _maps(method, probe, shared, backend)
    explanation = Explanation(
        maps=raw,
        scores=backend.numpy(shared.scores).astype(np.float32),
        targets=shared.targets.names,
        layers=run.layers,
        at=method.at,
        method=method.name,
        model=passes.model.name,
        input_size=backend.size(batch.inputs),
        predictions=predictions,
        photos=batch.photos,
        placements=batch.placements,
        title=method.title,
        preprocess=batch.preprocess,
        channel_axis=backend.channel_axis(batch.inputs),
    )
    explanation = replace(explanation, **_of_channels(method, probe, backend))  # type: ignore[arg-type]
    general = _general_notes(batch, run, is_elsewhere=method.at == "layer" and _is_elsewhere(passes, batch, probe))
    by_image = [[*general, *own] for own in _of_tokens(run, backend)]
    return replace(explanation, target_notes=_target_notes(explanation, batch, shared, by_image, passes.model.labels))


def _maps(method: Method, probe: Probe, shared: Pass, backend: Backend) -> NDArray[np.float32]:
    maps = method.function(probe, backend.ops)
    n, k = shared.scores.shape
    # A method may be a function of the user's, which may return anything.
    if tuple(getattr(maps, "shape", ()))[:2] != (n, k) or maps.ndim < 3:
        raise InvalidType(f"method {method.name!r} must return maps of shape (n={n}, k={k}, *s). {received(maps)}")
    # A method may compute in the model's own precision; an explanation has one for all.
    # A user's function may go over to NumPy in between, which no framework's own way to there takes.
    values = maps if isinstance(maps, np.ndarray) else backend.numpy(maps)
    raw: NDArray[np.float32] = values.astype(np.float32)
    return raw


def _of_channels(method: Method, probe: Probe, backend: Backend) -> dict[str, NDArray[np.float32]]:
    """The alphas and mean activations of an explanation, where the method says that it has them."""
    if not method.alphas:
        return {}
    # Eq. 1 of Grad-CAM: the plain mean over positions, whatever weights the method itself makes of the gradients.
    means = (backend.ops.mean(values, axis=probe.spatial) for values in (probe.gradients, probe.activations))
    alphas, channel_means = (backend.numpy(values).astype(np.float32) for values in means)
    return {"alphas": alphas, "channel_means": channel_means}


def _general_notes(batch: Batch, run: MethodRun, *, is_elsewhere: bool) -> list[Note]:
    """Notes on every map of a run."""
    backend = batch.backend
    general = notes.of_model(backend.was_training, backend.left_out, backend.draws)
    if is_elsewhere:
        general.append(notes.ELSEWHERE)
    if run.method.at == "layer":
        general += notes.of_part(run.layers[0], backend.part(run.layers[0]))
    return general + notes.of_preprocess(batch.preprocess)


def _of_tokens(run: MethodRun, backend: Backend) -> list[list[Note]]:
    """By image, notes on the tokens of the layer, where it gives some."""
    probe, n = run.probe, len(run.shared.scores)
    if run.method.at != "layer" or not probe.attending.is_sequence:
        return [[] for _ in range(n)]
    ops = backend.ops
    norms = backend.numpy(ops.sqrt(ops.sum(probe.activations**2, axis=1))).reshape(n, -1)
    return [notes.of_tokens(row, len(probe.attending.extra)) for row in norms]


def _target_notes(
    explanation: Explanation,
    batch: Batch,
    shared: Pass,
    general: Sequence[Sequence[Note]],
    labels: Sequence[str] | None,
) -> tuple[tuple[tuple[Note, ...], ...], ...]:
    """The notes on each map: for each image a tuple of targets, each a tuple of notes."""
    reading = batch.backend.reading(shared.outputs)
    if not shared.targets.of_classes:  # gs.Pixels asks about a place
        reading = replace(reading, positions=False)
    return tuple(
        _notes_of_image(explanation, i, scale, general[i], _of_scores(shared, i, reading, labels))
        for i, scale in enumerate(explanation.scale)
    )


def _of_scores(shared: Pass, i: int, reading: Reading, labels: Sequence[str] | None) -> list[Note]:
    return [] if shared.logits is None else notes.of_scores(shared.logits[i], reading, labels)


def _notes_of_image(
    explanation: Explanation, i: int, scale: NDArray[np.float32], general: Sequence[Note], of_scores: Sequence[Note]
) -> tuple[tuple[Note, ...], ...]:
    maps, placements = explanation.maps[i], explanation.placements
    of_beside = notes.among_targets(maps, scale)
    seen = notes.of_placement(placements[i].seen, placements[i].image_size) if placements else []
    return tuple(
        (
            *notes.of_map(values, target.signed),
            *beside,
            *_of_box(explanation, i, j),
            *seen,
            *general,
            *of_scores,
        )
        for j, (values, target, beside) in enumerate(zip(maps, explanation.targets[i], of_beside, strict=True))
    )


def _of_box(explanation: Explanation, i: int, j: int) -> list[Note]:
    """Notes on a map whose target is a class in a box of the picture."""
    target = explanation.targets[i][j]
    # A box has two axes, and so must the maps have: (n, k, h, w).
    if target.index is None or not target.place or explanation.maps.ndim != 4:
        return []
    found = explanation.region(i, j)
    seen = explanation.placements[i].box if explanation.placements else (0, 0, *explanation.input_size)
    # Of the part that the model saw: the map covers that, and not the whole photo.
    cell = [(seen[axis + 2] - seen[axis]) / explanation.maps.shape[axis + 2] for axis in range(2)]
    return notes.of_place(None if found is None else found.peak, target.place, cell)


def _noted(explanation: Explanation, note: Note) -> Explanation:
    """The same with one note more on every map."""
    rows = tuple(tuple((*found, note) for found in row) for row in explanation.target_notes)
    return replace(explanation, target_notes=rows)


def _is_elsewhere(passes: Passes, batch: Batch, probe: Probe) -> bool:
    """Whether nothing of the image reaches a layer: it may be an encoder's call for the other of two images."""
    # This takes another pass, which most models are spared: they have one input that could be an image.
    inputs = batch.inputs.values() if isinstance(batch.inputs, dict) else batch.inputs
    if not isinstance(batch.inputs, dict | list | tuple) or len(inputs) < 2:
        return False
    image = probe.image.activations
    if sum(getattr(x, "ndim", 0) == image.ndim for x in inputs) < 2:
        return False

    def is_same() -> bool:
        # 1 - 3x differs from x everywhere but at a quarter, so that any path from the image to the layer shows.
        before, after = (batch.backend.numpy(x.activations) for x in (probe, probe.with_images(1 - 3 * image)))
        return np.array_equal(before, after)

    # Asked once for each kind of input and layer: the answer lies in how the model is built.
    return passes.elsewhere.of((kind_of(batch), probe.name), is_same)
