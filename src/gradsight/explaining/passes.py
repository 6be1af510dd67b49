"""What sends inputs through a model: to explain them, to look at its layers, to embed a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from gradsight.backends.detections import Detections
from gradsight.backends.outputs import describe
from gradsight.contracts import Backend, Pass, Probe, Reads, UserModel
from gradsight.errors import ModelError
from gradsight.explaining.inputs import (
    Batch,
    Prepared,
    are_photos,
    batch_of,
    batch_of_prepared,
    for_backend,
    prepared_of,
    record_of,
)
from gradsight.explaining.layer_choice import Kind, Resolve, Studies, Study, checked, retried
from gradsight.explaining.read_ahead import one_at_a_time
from gradsight.foreign import Array, Inputs, Outputs
from gradsight.imaging import Preprocess
from gradsight.layers import Candidate, Layer
from gradsight.models.carried import preprocess_carried
from gradsight.models.model import Model, PlacesPhotos
from gradsight.recent import Recent
from gradsight.targets import OutputContext, Prediction, ScoreSpec, TargetLike, Top, embedding_in, predicted, resolve

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Passes:
    """One model, and all that is known about how inputs go through it.

    Attributes:
        model: it, with what is known of it.
        user_model: it in the hands of its framework's backend.
        layout, grid: how a layer's output is laid out, where the user says so.
        batch_size: how many rows go through at once, beyond a batch that the user made.
        studies: what is known of the layers.
        is_bare: no source made the model, which would know its preprocessing, or that there is none.
        carried: the preprocessing that a bare module carries, found when photos are first given.
        elsewhere: of kinds of inputs and layers, whether nothing of the image reaches the layer.
    """

    model: Model
    user_model: UserModel
    layout: str | None
    grid: tuple[int, ...] | None
    batch_size: int
    studies: Studies
    is_bare: bool = True
    carried: Recent[str, PlacesPhotos | None] = field(default_factory=Recent)
    elsewhere: Recent[tuple[Kind, str], bool] = field(default_factory=Recent)

    @property
    def preprocess(self) -> PlacesPhotos | None:
        """What makes photos the model's input."""
        given = self._given_preprocess
        if given is not None or not self.is_bare:
            return given
        # Not before it is needed: to ask a processor of transformers takes a second, and batches need none.
        return self.carried.of("preprocess", lambda: preprocess_carried(self.model.model))

    @property
    def _given_preprocess(self) -> PlacesPhotos | None:
        """The preprocess that the model came with; `Explainer` has made it one that can place its inputs on photos."""
        return cast("PlacesPhotos | None", self.model.preprocess)

    def batch(self, inputs: Inputs, backend: Backend | None = None) -> Batch:
        """A batch of what the user gave, for the model as it is now or as ``backend`` has it; see `batch_of`."""
        # A batch needs none, and to look for what a bare module carries takes time.
        preprocess = self.preprocess if are_photos(inputs) else self._given_preprocess
        return batch_of(inputs, backend or self.user_model.backend(), preprocess, self.model.feed)

    def preparing(self) -> Callable[[object], Prepared]:
        """What reads a photo, or that of a `photos.Photo`, and makes the model's input of it; threads may share it.

        Raises:
            InvalidArgument: there is no preprocess.
        """
        # Before the first photo is read: without a preprocess all of them would fail alike.
        preprocess = for_backend(self.preprocess, self.user_model.backend(), "photos")

        def prepare(photo: object) -> Prepared:
            # A `photos.Photo` has a source; a path, a picture or an array is its own.
            return prepared_of(getattr(photo, "source", photo), preprocess)  # type: ignore[arg-type]

        # Code of the user's was not written for several threads.
        return prepare if _is_ours(preprocess) else one_at_a_time(prepare)

    def preprocess_record(self) -> Mapping[str, object]:
        """How photos are made the model's input, as plain values.

        Raises:
            InvalidArgument: there is no preprocess.
        """
        return record_of(for_backend(self.preprocess, self.user_model.backend(), "photos"))

    def batch_of_prepared(self, prepared: Sequence[Prepared], backend: Backend) -> Batch:
        """A batch of photos that became inputs of one size."""
        return batch_of_prepared(prepared, backend, for_backend(self.preprocess, backend, "photos"), self.model.feed)

    def layer(self, name: str | None, study: Study | None) -> Layer:
        """The layer of a name; without one the best."""
        if name is None and study is not None:
            name = study.ranked[0].name
        return Layer(name, self.layout, self.grid)  # type: ignore[arg-type]

    def run(
        self,
        batch: Batch,
        layers: Sequence[Layer],
        targets: TargetLike | None,
        study: Study | None,
        rule: str | None = None,
    ) -> Pass:
        """One pass of the model.

        Args:
            batch: what passes it.
            layers: where to look.
            targets: what is explained.
            study: by which the layers were chosen, if it may have been made for other targets; else None.
            rule: how gradients pass rectifiers; see `contracts.Backend.run`.

        Raises:
            ReadsOther: it was made for targets that read another part of the output.
        """
        resolved = checked(self._resolving(batch, targets, batch.size), batch, study)
        return batch.backend.run(batch.inputs, layers, resolved, self.batch_size, rule=rule)

    def study(self, batch: Batch, targets: TargetLike | None, reads: Reads | None = None) -> Study:
        """What is known of the layers for targets that read this of the output; see `Studies.of`."""
        own, best = (self._resolving(batch, target, 1) for target in (targets, Top()))
        return self.studies.of(batch, own, best, reads)

    def retried(self, batch: Batch, targets: TargetLike | None, go: Callable[[Study | None], _T]) -> _T:
        """``go(None)``; once more with the targets' own study, where the layers were chosen by another's."""
        return retried(go, lambda reads: self.study(batch, targets, reads))

    def probes_at(self, batch: Batch, name: str | None, targets: TargetLike | None) -> list[Probe]:
        """The probe of one layer; one for each image, where images of a batch influence each other."""

        def at_layer(study: Study | None) -> Pass:
            # A layer that has a name needs no study.
            known = study or self.study(batch, targets) if name is None else None
            return self.run(batch, [self.layer(name, known)], targets, None if study else known)

        shared = self.retried(batch, targets, at_layer)
        if batch.size > 1 and shared.rows.apart:
            return [self.probes_at(batch.alone(i), name, targets)[0] for i in range(batch.size)]
        return list(shared.probes)

    def ranked(self, inputs: Inputs, targets: TargetLike | None) -> list[Candidate]:
        """The layers that can be explained, the best first."""
        # One image: layers are ranked by how the model is built, and one pass of one image shows that.
        batch = self.batch(inputs).alone(0)

        def look(study: Study | None) -> list[Candidate]:
            known = study or self.study(batch, targets)
            self.run(batch, [], targets, None if study else known)  # which tells what the targets read
            return list(known.ranked)

        with batch.backend.unchanged():
            return self.retried(batch, targets, look)

    def predictions(self, batch: Batch, shared: Pass) -> tuple[tuple[Prediction, ...], ...]:
        """The best classes of each image."""
        return predicted(shared.logits, batch.backend.reading(shared.outputs), self.model.labels)

    def _resolving(self, batch: Batch, targets: TargetLike | None, n: int) -> Resolve:
        """What settles targets against an output of ``n`` images."""

        def resolved(logits: NDArray[np.float64] | None, outputs: Outputs) -> ScoreSpec:
            if logits is not None and len(logits) != n:
                raise ModelError(
                    f"the model gave {len(logits)} rows of scores for {n} input(s). Does the batch have a batch axis? "
                    "A single image is passed as inputs[None]."
                )
            return resolve(targets, self._context(batch, n, logits, outputs))

        return resolved

    def _context(self, batch: Batch, n: int, logits: NDArray[np.float64] | None, outputs: Outputs) -> OutputContext:
        """What targets are settled by, for the first ``n`` images."""
        backend, labels = batch.backend, self.model.labels
        size = backend.size(batch.inputs)
        return OutputContext(
            n,
            logits=logits,
            labels=labels,
            missing=backend.reading(outputs).missing,
            outputs=outputs,
            described=describe(outputs),
            total=batch.total,
            first=batch.first,
            ops=backend.ops,
            numpy=backend.numpy,
            size=size,
            placements=batch.placements,
            dense=backend.dense_in,
            sequence=backend.sequence_in,
            detections=Detections(self.model.detections, outputs, size, labels, backend),
            embedding=self._embedding_in(backend),
            embed=self._embed,
            embed_text=self.model.embed_text,
            private=backend.ops.private,
        )

    def _embedding_in(self, backend: Backend) -> Callable[[Outputs], Array]:
        return self.model.embedding or (lambda outputs: embedding_in(outputs, backend.scores_in(outputs)))

    def _embed(self, image: Inputs) -> Array:
        """The embeddings of a photo, or of a batch."""
        batch = self.batch(image)
        # In the same way as the photo that is explained: only so do the two embeddings agree.
        return self._embedding_in(batch.backend)(batch.backend.outputs(batch.inputs))


def _is_ours(preprocess: PlacesPhotos) -> bool:
    """Whether nothing of the user's runs in it, which threads might not share."""
    # Not isinstance: a subclass may run anything in `place`.
    return type(preprocess) is Preprocess and preprocess.function is None
