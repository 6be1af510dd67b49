"""From what a method made to an explanation, with the notes that its reader needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradsight.contracts import Backend, Pass, Probe
from gradsight.errors import InvalidType, received
from gradsight.explaining import notes
from gradsight.explaining.inputs import Batch
from gradsight.explaining.layer_choice import kind_of
from gradsight.explaining.method_runs import Finish, MethodRun, method_runs
from gradsight.explaining.noting import Noting, Told
from gradsight.explaining.passes import Passes
from gradsight.explaining.strength import BYPASSED
from gradsight.foreign import Array
from gradsight.registry import Method
from gradsight.results.consistency import check_maps
from gradsight.results.explanation import Explanation, joined
from gradsight.results.later import Makers
from gradsight.results.note import Note
from gradsight.targets import TargetLike


def explanations(
    passes: Passes,
    batch: Batch,
    names: Sequence[str | None],
    methods: Sequence[Method],
    targets: TargetLike | None,
    finish: Finish,
) -> list[Explanation]:
    """One explanation for each layer and method.

    Args:
        passes: of the model.
        batch: what is explained.
        names: the layers; None for the best one.
        methods: which are run.
        targets: what is explained of it.
        finish: what is done with each explanation while its pass is there.
    """
    # Asked of the whole batch first: only a pass shows whether its images influence each other.
    runs = method_runs(passes, batch, names, methods, targets)
    if not runs:
        return []
    shared = runs[0].shared
    if batch.size > 1 and shared.rows.apart:  # what is beside an image would be part of its explanation
        alone = [explanations(passes, batch.alone(i), names, methods, targets, finish) for i in range(batch.size)]
        return [_noted(joined(parts), notes.ALONE) for parts in zip(*alone, strict=True)]
    told = Told(batch.backend.reading(shared.outputs), passes.model.labels, shared.logits)
    return [finish(_explanation(passes, batch, told, run), passes, batch, run) for run in runs]


def _explanation(passes: Passes, batch: Batch, told: Told, run: MethodRun) -> Explanation:
    backend, shared, method = batch.backend, run.shared, run.method
    maps = maps_of(method, run.probe, shared, backend)
    channels = _channels(method, run.probe, backend)
    held: dict[str, object] = {
        "maps": maps,
        "scores": _scores(shared, backend),
        "targets": shared.targets.names,
        "layers": run.layers,
        "at": method.at,
        "method": method.name,
        "model": passes.model.name,
        "input_size": backend.size(batch.inputs),
        "photos": batch.photos,
        "placements": batch.placements,
        "title": method.title,
        "preprocess": batch.preprocess,
        "channel_axis": backend.channel_axis(batch.inputs),
    }
    makers = channels.makers if method.alphas and channels else {}
    makers["predictions"] = lambda: told.predictions
    is_elsewhere = method.at == "layer" and _is_elsewhere(passes, batch, run.probe)
    general = _general_notes(batch, run, is_elsewhere=is_elsewhere)
    by_position = _by_position(channels, run.probe, backend) if method.averaged and channels else None
    # What class tokens hold is in no map by nature, which is then no weak one.
    in_scores = method.averaged and not run.probe.attending.extra
    noting = Noting(told, general, _of_tokens(run, backend), shared.targets.of_classes, by_position, in_scores)
    return noting.explanation(held, makers)


def maps_of(method: Method, probe: Probe, shared: Pass, backend: Backend) -> NDArray[np.float32]:
    """What a method makes of a probe, (n, k, *s), as NumPy, raw and signed.

    Raises:
        InvalidType: maps of another shape.
    """
    return _numbers(_made(method, probe, shared, backend), backend)


def _made(method: Method, probe: Probe, shared: Pass, backend: Backend) -> Array:
    maps = method.function(probe, backend.ops)
    n, k = shared.scores.shape
    # A method may be a function of the user's, which may return anything.
    if tuple(getattr(maps, "shape", ()))[:2] != (n, k) or maps.ndim < 3:
        raise InvalidType(f"method {method.name!r} must return maps of shape (n={n}, k={k}, *s). {received(maps)}")
    if maps.ndim > 5 or 0 in maps.shape:
        check_maps(_numbers(maps, backend))  # which says what is wrong
    return maps


def _numbers(maps: Array, backend: Backend) -> NDArray[np.float32]:
    # A method may compute in the model's own precision; an explanation has one for all.
    # A user's function may go over to NumPy in between, which no framework's own way to there takes.
    values = maps if isinstance(maps, np.ndarray) else backend.numpy(maps)
    raw: NDArray[np.float32] = values.astype(np.float32)
    return raw


def _scores(shared: Pass, backend: Backend) -> NDArray[np.float32]:
    """The explained scores, (n, k)."""
    classes = shared.targets.classes
    # Those of classes have been copied from the device already: one more copy would wait for it once more.
    if classes is not None and shared.logits is not None:
        return shared.logits[np.arange(len(classes))[:, None], classes].astype(np.float32)
    return backend.numpy(shared.scores).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Channels:
    """What is kept of the channels of a layer, small arrays in the place of gradients and activations.

    Attributes:
        alphas: the mean gradients over positions, (n, k, c).
        highest: the highest gradients over positions, (n, k, c); None where nobody asks for them.
        means: the mean activations, (n, c).
    """

    alphas: NDArray[np.floating]
    highest: NDArray[np.floating] | None
    means: NDArray[np.floating]

    @property
    def makers(self) -> Makers:
        """The fields of an explanation that are made of them."""
        return {
            "alphas": lambda: self.alphas.astype(np.float32),
            "channel_means": lambda: self.means.astype(np.float32),
        }

    @property
    def even(self) -> NDArray[np.bool_]:
        """Of each map, (n, k), whether its gradients are the same at all positions: there a mean misleads nobody."""
        # Where nothing is higher than the mean, nothing is lower.
        highest = self.alphas if self.highest is None else self.highest
        largest = np.maximum(np.abs(self.alphas), np.abs(highest)).max(axis=-1)
        return np.asarray((highest - self.alphas).max(axis=-1) <= _EVEN * largest)


_EVEN = 1e-4
"""Gradients whose highest and whose mean differ by less of the largest one are the same."""


def _channels(method: Method, probe: Probe, backend: Backend) -> _Channels | None:
    """What is kept of the channels, where the method takes gradients of them."""
    if not method.alphas and not method.averaged:
        return None
    # Eq. 1 of Grad-CAM: the plain mean over positions, whatever weights the method itself makes of the gradients. Now,
    # since gradients and activations are too large to be kept; and copied, since an explanation that is kept must not
    # fill a GPU's memory. The maps were copied before, so that there is nothing left to wait for.
    ops, highest = backend.ops, None
    if method.averaged:
        alphas, highest = backend.numpy(ops.stack([probe.alphas, probe.highest]))
    else:
        alphas = backend.numpy(probe.alphas)
    return _Channels(alphas, highest, backend.numpy(ops.mean(probe.activations, axis=probe.spatial)))


def _by_position(channels: _Channels, probe: Probe, backend: Backend) -> NDArray[np.float32] | None:
    """The maps of the same gradients, each at its own position, in the place of a mean; 0 where both are one.

    Behind an average over positions, as in most networks, all are one, and None stands for them. It is looked at in
    each batch: whether gradients are even may depend on the image, as behind a maximum or a gate.
    """
    even = channels.even
    if even.all():
        return None
    # Now: gradients are too large to be kept until somebody asks for notes.
    other = backend.numpy(backend.ops.sum(probe.gradients * probe.activations[:, None], axis=2)).astype(np.float32)
    # What stands beside an image must not matter: of one whose gradients are even there is nothing to say.
    other[even] = 0
    return np.asarray(other)


def _general_notes(batch: Batch, run: MethodRun, *, is_elsewhere: bool) -> list[Note]:
    """Notes on every map of a run."""
    backend = batch.backend
    general = notes.of_model(backend.was_training, backend.left_out, backend.draws)
    if is_elsewhere:
        general.append(notes.ELSEWHERE)
    if run.method.at == "layer":
        general += notes.of_part(run.layers[0], backend.part(run.layers[0]))
    # Of a layer that the user named nobody knows it before the model runs once more, which `diagnosing` does.
    if run.bypassed:
        general.append(BYPASSED)
    return general + notes.of_preprocess(batch.preprocess)


def _of_tokens(run: MethodRun, backend: Backend) -> Callable[[int], list[Note]]:
    """By image, notes on the tokens of the layer, where it gives some."""
    probe = run.probe
    if run.method.at != "layer" or not probe.attending.is_sequence:
        return lambda _: []
    ops, extra = backend.ops, len(probe.attending.extra)
    # Now, so that what is looked at later is small: a norm for each token, not what the layer gave.
    norms = backend.numpy(ops.sqrt(ops.sum(probe.activations**2, axis=1))).reshape(len(run.shared.scores), -1)
    return lambda i: notes.of_tokens(norms[i], extra)


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
