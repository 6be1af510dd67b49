"""Where models, methods, layers and photos meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from gradsight.backends import user_model
from gradsight.backends.detections import Detections
from gradsight.backends.outputs import describe
from gradsight.checks import optional, taken
from gradsight.contracts import Backend, Pass, Probe, Reads
from gradsight.errors import InvalidArgument, InvalidType, ModelError, received
from gradsight.explaining import notes
from gradsight.explaining.inputs import Batch, batch_of, of_one_size, pieces_of
from gradsight.explaining.layer_choice import Studies, Study, checked, kind_of, retried
from gradsight.foreign import Inputs, Module, Outputs
from gradsight.layers import INPUT, Candidate, Layer, last_of_each_resolution
from gradsight.layouts import ORDERS
from gradsight.locks import whole
from gradsight.models.following.usable import usable
from gradsight.models.load import load_model
from gradsight.models.model import Model
from gradsight.models.wrapped import opened
from gradsight.neurons import ActivationFn, Activations, Concepts, Dissection, TopActivating, dissect, top_activating
from gradsight.recent import Recent
from gradsight.registry import PLACES, Method
from gradsight.results.explanation import Explanation, joined
from gradsight.results.explanations import Explanations
from gradsight.results.note import Note
from gradsight.rules import Choice, Each, Either, Flag, Function, Sides, Text, Whole
from gradsight.targets import (
    Labels,
    OutputContext,
    Prediction,
    ScoreSpec,
    Top,
    as_labels,
    check_target,
    embedding_in,
    plain,
    predicted,
    resolve,
)
from gradsight.targets.scores import Scores
from gradsight.variants import as_method

_T = TypeVar("_T")
_Way = tuple[Method, Pass, Any, tuple[str, ...]]
"""A method with its pass, its probe, and the names of its layers."""


class Explainer:
    """Explains one model. Threads may share it, and the model stays as it is.

    Args:
        model: a `torch.nn.Module` or a `keras.Model`; what `load_model` gave; or a ``YOLO(...)`` of ultralytics.
        layer: the layer's name, or the module itself, ``model.layer4``; a list for several; None to choose (see
            `layers`). Of a layer that runs several times, ``name`` is the last call and ``name#0`` the first.
        method: the method's name, with options or variants if need be (``"scorecam(top=64)"``, ``"smooth(gradcam)"``),
            or a function ``(probe, ops) -> maps``; a list for several.
        targets: what to explain by default, as in a call.
        preprocess: turns a photo into the model's input; with it, photos can be given. A `Preprocess`, which is laid
            out as the model's images are; an object with its method ``place``; or any function of a photo, such as a
            ``Compose`` of torchvision's: where it puts pixels is found out by trying it on test pictures, here and now.
        labels: the class names, one for each score: a list, an array, an index or a column of a table, or a dict of
            index to name (``id2label``) or of name to index (``class_to_idx``). With two of them, a model that gives
            one score is one of two classes: a high score speaks for the second, and its negation for the first.
        layout: ``"channels_first"``, ``"channels_last"`` or ``"tokens"``, where the layer's shape leaves it open.
        grid: the positions that tokens fold to, such as ``(14, 14)``, or 14 for such a square, where their number
            leaves it open.
        scores: where the model gives no row of class scores, or several, a function from its output to one,
            (n, classes), or a `Scores` that also says how they become probabilities (a softmax, if not said).
        feed: where the model takes more than the photo, a function from the batch that ``preprocess`` makes of photos,
            (n, channels, height, width), to the model's inputs: ``lambda x: {"pixel_values": x, "input_ids": ids}``.
        detections: for `Box`, a function from the output to scores (n, q, classes), best before a softmax or sigmoid,
            and boxes (n, q, 4), each (left, top, right, bottom) in pixels of the model's input, or (n, q, classes, 4);
            those of DETR, of torchvision and of YOLO are known.
        embedding: for `Similarity`, a function from the output to embeddings (n, d), where it is not the output itself.
        embed_text: for `Similarity`, a function from a text to its embedding, (1, d).
        name: what to call the model.
        batch_size: how many photos of a list go through the model at once, and how many rows in the further passes of
            methods that need some. A batch that you make yourself is one pass, whatever its size.
        probabilities: explain what a Keras model gives, its last softmax or sigmoid included, whose gradients
            saturate; without it, scores are the logits before that.

    Raises:
        InvalidArgument: ``batch_size`` is not positive, ``probabilities`` are asked of a PyTorch model, ``preprocess``
            puts pixels where no `Preprocess` does, the labels lack an index, or ``grid`` is none.
        InvalidType: the model belongs to no framework that gradsight knows, ``scores`` or ``feed`` is no function,
            ``labels``, ``targets``, ``method``, ``name`` or ``probabilities`` are none.
        UnknownName: there is no such method or layout.
    """

    @whole()
    def __init__(
        self,
        model: Module,
        *,
        layer: Any = None,
        method: Any = "gradcam",
        targets: Any = None,
        preprocess: Any = None,
        labels: Labels | None = None,
        layout: str | None = None,
        grid: int | Sequence[int] | None = None,
        scores: Scores | Callable[[Any], Any] | None = None,
        feed: Callable[[Any], Any] | None = None,
        detections: Callable[[Any], Any] | None = None,
        embedding: Callable[[Any], Any] | None = None,
        embed_text: Callable[[str], Any] | None = None,
        name: str | None = None,
        batch_size: int = 32,
        probabilities: bool = False,
    ) -> None:
        source, left_out, model = None, "", opened(model)
        if isinstance(model, Model):
            source, left_out = model.preprocess, model.left_out
            preprocess = model.preprocess if preprocess is None else preprocess
            labels = model.labels if labels is None else labels
            scores, feed = model.scores if scores is None else scores, model.feed if feed is None else feed
            detections = model.detections if detections is None else detections
            embedding = model.embedding if embedding is None else embedding
            embed_text = model.embed_text if embed_text is None else embed_text
            model = model.model
        self._scores = scores if scores is None or isinstance(scores, Scores) else Scores(scores)
        for what, value, way in (
            ("feed", feed, "a batch of photos to the model's inputs"),
            ("detections", detections, "the output to scores (n, q, classes) and boxes (n, q, 4)"),
            ("embedding", embedding, "the output to embeddings (n, d)"),
            ("embed_text", embed_text, "a text to its embedding, (1, d)"),
        ):
            optional(what, value, Function(f"a function from {way}"))
        layout = optional("layout", layout, Choice(ORDERS, "layout"))
        name = optional("name", name, Text())
        batch_size = taken("batch_size", batch_size, Whole(1), "Pass 32.")
        probabilities = taken("probabilities", probabilities, Flag())
        check_target(targets)
        self._detections, self._embedding, self._embed_text = detections, embedding, embed_text
        self.labels = None if labels is None else as_labels(labels)
        self._model = user_model(
            model, probabilities=probabilities, scores=self._scores, labels=self.labels, left_out=left_out
        )
        self.name = name or type(model).__name__
        self.layer, self.method, self.targets = layer, method, targets
        self.preprocess, self._feed = usable(preprocess, source, model), feed
        self._layout, self._grid = layout, optional("grid", grid, _GRID, "Pass 14 or (14, 14).")
        self._studies = Studies()
        self._elsewhere: Recent[Any, bool] = Recent()
        self._batch_size: int = batch_size
        for chosen in _several(method, "method"):
            as_method(chosen)

    @whole()
    def __call__(
        self,
        inputs: Inputs,
        *,
        targets: Any = None,
        method: Any = None,
        layer: Any = None,
    ) -> Any:
        """Explain a batch or photos, several targets, layers and methods in one pass.

        Args:
            inputs: a batch as the model takes it, (n, ...), NumPy or tensor, a tuple or dict for several inputs; or,
                with a ``preprocess``, a photo or a list of photos (paths, bytes, PIL images). Of several inputs, the
                one with most axes is the image that maps are drawn on, of equals the first: in a dict, whichever you
                put first. Maps of a video, (n, channels, frames, h, w) or (n, frames, 1 or 3, h, w), are
                (n, k, frames, h, w).
            targets: what to explain: a class (index or label), ``Top(k)``, ``Classes(...)``; ``Pixels(...)`` of a
                segmentation, ``Box(...)`` of a detector, ``Token(...)`` of a text, ``Similarity(...)``; ``Against``,
                ``Contrast``, ``Sum`` and ``Several`` of any of them; a list with one of them for each image; or a
                function from the model's output to (n,) scores. The top class by default.
            method: a method, or a list of them, instead of the explainer's own.
            layer: a layer's name, a module of the model, or a list of them, instead of the explainer's own.

        Returns:
            An `Explanation`; for a list of methods or layers a tuple of them: each layer with each method in turn, then
            the methods that look at several layers at once, then those that look at the input alone. Where the former
            are given fewer than two layers, they take the last good one of each resolution.

        Raises:
            GradsightError: with what was wrong, what was received and what to do.
        """
        targets = self.targets if targets is None else targets
        method = self.method if method is None else method
        layer = self.layer if layer is None else layer
        methods = [as_method(chosen) for chosen in _several(method, "method")]
        backend, parts, first = self._model.backend(), [], 0
        with backend.unchanged():
            for piece in pieces_of(inputs, self._batch_size):
                given = batch_of(piece, backend, self.preprocess, self._feed)
                if piece is not inputs:
                    given = given._replace(total=len(inputs), first=first)
                parts.append(self._explained(given, _names(layer, backend), methods, targets))
                first += given.size
        of_one_size({part[0].input_size for part in parts if part}, inputs)
        found = [joined(pieces) for pieces in zip(*parts, strict=True)] if len(parts) > 1 else parts[0]
        return Explanations(found) if isinstance(method, list | tuple) or isinstance(layer, list | tuple) else found[0]

    def _explained(
        self, given: Batch, names: Sequence[Any], methods: Sequence[Method], wanted: Any
    ) -> list[Explanation]:
        """One explanation for each layer and method."""
        ways = self._run(given, names, methods, wanted)
        if not ways:
            return []
        shared = ways[0][1]
        if given.size > 1 and shared.rows.apart:
            alone = [self._explained(given.alone(i), names, methods, wanted) for i in range(given.size)]
            return [_noted(joined(parts), notes.ALONE) for parts in zip(*alone, strict=True)]
        # Of the same batch, whatever is explained in it.
        predictions = self._predicted(given, shared)
        return [self._explanation(given, predictions, *way) for way in ways]

    @whole()
    def layers(self, inputs: Inputs, targets: Any = None) -> list[Candidate]:
        """The layers that can be explained, the best first, each with the reason; the first is chosen by itself.

        Args:
            inputs: as in a call; the first image is run through the model once.
            targets: as in a call; a model without a row of class scores needs some.

        Raises:
            GradsightError: with what was wrong, what was received and what to do.
        """
        given, wanted = self._given(inputs).alone(0), self.targets if targets is None else targets

        def look(study: Study | None) -> list[Candidate]:
            found = study or self._study(given, wanted)
            self._passed(given, [], wanted, None if study else found)  # which tells what the targets read
            return list(found.ranked)

        with given.backend.unchanged():
            return self._retried(given, wanted, look)

    def dissect(self, concepts: Concepts | str | Path, *, layer: Any = None, quantile: float = 0.005) -> Dissection:
        """Name the channels of a layer by the concepts that they detect (Network Dissection, arXiv:1704.05796).

        Args:
            concepts: labelled photos, `Concepts.read`, or their folder. They pass the model ``batch_size`` at a time.
            layer: the layer's name or module, instead of the explainer's own.
            quantile: the share of positions that a channel is taken to be active at, in (0, 1).

        Raises:
            GradsightError: with what was wrong, what was received and what to do.
        """
        look = self._looking_at(layer)
        return dissect(look, concepts, model=self.name, batch_size=self._batch_size, quantile=quantile)

    def top_activating(
        self, photos: Sequence[str | Path], channels: Sequence[int], *, layer: Any = None, k: int = 4
    ) -> TopActivating:
        """Find the photos that excite channels of a layer most.

        Args:
            photos: their paths. They pass the model ``batch_size`` at a time; those that cannot be read are left out
                and told by the result's ``failed``.
            channels: which channels, from 0.
            layer: the layer's name or module, instead of the explainer's own.
            k: how many photos for each channel.

        Raises:
            GradsightError: with what was wrong, what was received and what to do; none of the photos can be read.
        """
        return top_activating(self._looking_at(layer), photos, channels, k=k, batch_size=self._batch_size)

    def _looking_at(self, layer: Any) -> ActivationFn:
        """What passes photos through the model to one layer."""
        names = _several(self.layer if layer is None else layer, "layer")
        if len(names) != 1:
            raise InvalidArgument(f"`layer` must be one layer here. {received(names)} Name one of them.")
        # One entry for each image of another batch says nothing about these.
        wanted = Top() if isinstance(plain(self.targets), list | tuple) else self.targets

        @whole()
        def look(photos: Sequence[Image.Image]) -> Activations:
            given = self._given(list(photos))
            with given.backend.unchanged():
                probes = self._probes(given, _names(names, given.backend)[0], wanted)
                values = np.concatenate([given.backend.numpy(probe.activations) for probe in probes])
            return Activations(probes[0].name, values.astype(np.float32), given.placements)

        return look

    def _probes(self, given: Batch, name: Any, wanted: Any) -> list[Probe]:
        """The probe of one layer; one for each image, where images of a batch influence each other."""
        shared = self._retried(given, wanted, lambda study: self._pass_at(given, name, wanted, study))
        if given.size > 1 and shared.rows.apart:
            return [self._probes(given.alone(i), name, wanted)[0] for i in range(given.size)]
        return list(shared.probes)

    def _pass_at(self, given: Batch, name: Any, wanted: Any, study: Study | None) -> Pass:
        found = study or self._study(given, wanted) if name is None else None
        return self._passed(given, [self._layer(name, found)], wanted, None if study else found)

    def _given(self, inputs: Inputs) -> Batch:
        return batch_of(inputs, self._model.backend(), self.preprocess, self._feed)

    def _run(self, given: Batch, names: Sequence[Any], methods: Sequence[Method], wanted: Any) -> list[_Way]:
        return self._retried(given, wanted, lambda study: self._ways(given, names, methods, wanted, study))

    def _retried(self, given: Batch, wanted: Any, go: Callable[[Study | None], _T]) -> _T:
        return retried(go, lambda reads: self._study(given, wanted, reads))

    def _ways(
        self, given: Batch, names: Sequence[Any], methods: Sequence[Method], wanted: Any, study: Study | None
    ) -> list[_Way]:
        """Each method with its pass, its probe, and the names of its layers. One pass serves all that it can."""
        at = {place: [m for m in methods if m.at == place] for place in PLACES}
        stages_wanted = at["layers"] and len(names) < 2
        chosen = None
        if stages_wanted or (at["layer"] and None in names):
            chosen = study or self._study(given, wanted)
        thought = None if study else chosen  # of a study that was made for these very targets there is no doubt
        single = [self._layer(name, chosen) for name in names] if at["layer"] else []
        joint = []
        if chosen is not None and stages_wanted:
            joint = [self._layer(x.name, chosen) for x in last_of_each_resolution(chosen.ranked)]
        elif at["layers"]:
            joint = [self._layer(name, chosen) for name in names]
        needs_graph = any(m.gradient for m in at["input"])
        shared = self._passed(given, single or joint or [INPUT] * needs_graph, wanted, thought)
        found = [(m, shared, probe, (probe.name,)) for probe in shared.probes for m in at["layer"]]
        if joint:
            together = self._passed(given, joint, wanted, thought) if single and single != joint else shared
            names = tuple(probe.name for probe in together.probes)
            found += [(m, together, together.probes[0], names) for m in at["layers"]]
        return [*found, *((m, shared, shared.image, ()) for m in at["input"])]

    def _passed(self, given: Batch, layers: Sequence[Layer], wanted: Any, thought: Study | None) -> Pass:
        """A pass; ``thought`` is the study that the layers were chosen by, where it may be another target's.

        Raises:
            ReadsOther: it is.
        """
        settle = checked(self._settling(given, wanted, given.size), given, thought)
        return given.backend.run(given.batch, layers, settle, self._batch_size)

    def _settling(self, given: Batch, wanted: Any, n: int) -> Callable[[Any, Any], ScoreSpec]:
        def settle(logits: Any, outputs: Outputs) -> ScoreSpec:
            if logits is not None and len(logits) != n:
                raise ModelError(
                    f"the model gave {len(logits)} rows of scores for {n} input(s). Does the batch have a batch axis? "
                    "A single image is passed as inputs[None]."
                )
            return resolve(wanted, self._setting(given, n, logits, outputs))

        return settle

    def _predicted(self, given: Batch, shared: Pass) -> tuple[tuple[Prediction, ...], ...]:
        return predicted(shared.logits, given.backend.reading(shared.outputs), self.labels)

    def _setting(self, given: Batch, n: int, logits: Any, outputs: Outputs) -> OutputContext:
        """What targets are settled by, for the first ``n`` images."""
        backend = given.backend
        size = backend.size(given.batch)
        return OutputContext(
            n,
            logits=logits,
            labels=self.labels,
            missing=backend.reading(outputs).missing,
            outputs=outputs,
            described=describe(outputs),
            total=given.total,
            first=given.first,
            ops=backend.ops,
            numpy=backend.numpy,
            size=size,
            placements=given.placements,
            dense=backend.dense_in,
            sequence=backend.sequence_in,
            detections=Detections(self._detections, outputs, size, self.labels, backend),
            embedding=self._embedding_in(backend),
            embed=self._embed,
            embed_text=self._embed_text,
            private=backend.ops.private,
        )

    def _embedding_in(self, backend: Backend) -> Callable[[Any], Any]:
        return self._embedding or (lambda outputs: embedding_in(outputs, backend.scores_in(outputs)))

    def _embed(self, image: Any) -> Any:
        """The embeddings of a photo, or of a batch."""
        given = self._given(image)
        return self._embedding_in(given.backend)(given.backend.outputs(given.batch))

    def _layer(self, name: Any, study: Study | None) -> Layer:
        """The layer of a name, or the best one."""
        if name is None and study is not None:
            name = study.ranked[0].name
        return Layer(name, self._layout, self._grid)

    def _study(self, given: Batch, wanted: Any, reads: Reads | None = None) -> Study:
        """What is known of the layers for targets that read this of the output; see `Studies.of`."""
        settle, best = (self._settling(given, target, 1) for target in (wanted, Top()))
        return self._studies.of(given, settle, best, reads)

    def _explanation(
        self, given: Batch, predictions: Any, method: Method, shared: Pass, probe: Any, layers: tuple[str, ...]
    ) -> Explanation:
        backend, placements, probe = given.backend, given.placements, probe.anew()  # nobody else has used it
        maps = method.function(probe, backend.ops)
        n, k = shared.scores.shape
        if tuple(getattr(maps, "shape", ()))[:2] != (n, k) or maps.ndim < 3:
            raise InvalidType(f"method {method.name!r} must return maps of shape (n={n}, k={k}, *s). {received(maps)}")
        raw = backend.numpy(maps).astype(np.float32)
        explanation = Explanation(
            maps=raw,
            scores=backend.numpy(shared.scores).astype(np.float32),
            targets=shared.targets.names,
            layers=layers,
            at=method.at,
            method=method.name,
            model=self.name,
            input_size=backend.size(given.batch),
            predictions=predictions,
            photos=given.photos,
            placements=placements,
            title=method.title,
            preprocess=given.preprocess,
            channel_axis=backend.channel_axis(given.batch),
            **_of_channels(method, probe, backend),
        )
        reading = backend.reading(shared.outputs)
        if not shared.targets.of_classes:  # gs.Pixels asks about a place
            reading = replace(reading, positions=False)
        general = notes.of_model(backend.was_training, backend.left_out, backend.draws)
        if method.at == "layer" and self._is_elsewhere(given, probe):
            general.append(notes.ELSEWHERE)
        if method.at == "layer":
            general += notes.of_part(layers[0], backend.part(layers[0]))
        general += notes.of_preprocess(given.preprocess)
        scale = explanation.scale
        rows = []
        for i, maps in enumerate(raw):
            beside = notes.among_targets(maps, scale[i])
            seen = notes.of_placement(placements[i].seen, placements[i].image_size) if placements else []
            named = shared.targets.names[i]
            scored = [] if shared.logits is None else notes.of_scores(shared.logits[i], reading, self.labels)
            rows.append(
                tuple(
                    (*notes.of_map(m, target.signed), *b, *_of_place(explanation, i, j), *seen, *general, *scored)
                    for j, (m, target, b) in enumerate(zip(maps, named, beside, strict=True))
                )
            )
        return replace(explanation, target_notes=tuple(rows))

    def _is_elsewhere(self, given: Batch, probe: Any) -> bool:
        """Whether nothing of the image reaches a layer, such as the call of a shared encoder for another image."""
        batch = given.batch.values() if isinstance(given.batch, dict) else given.batch
        if not isinstance(given.batch, dict | list | tuple) or len(batch) < 2:
            return False
        image = probe.image.activations
        if sum(getattr(x, "ndim", 0) == image.ndim for x in batch) < 2:
            return False
        key = (*kind_of(given), probe.name)

        def is_same() -> bool:
            before, after = (given.backend.numpy(x.activations) for x in (probe, probe.with_images(1 - 3 * image)))
            return np.array_equal(before, after)

        return self._elsewhere.of(key, is_same)


def explain(photos: Any, model: Any = "demo", **options: Any) -> Any:
    """Explain photos in one call.

    Args:
        photos: a photo or a list of photos: paths, bytes or PIL images.
        model: a model source such as ``"demo"`` or ``"torchvision:resnet50"`` (`gradsight models` lists them), or what
            `load_model` gave.
        **options: keyword arguments of `Explainer`.

    Returns:
        An `Explanation`, which notebooks draw; for several methods or layers a tuple of them.
    """
    loaded = load_model(model) if isinstance(model, str) else model
    options.setdefault("name", model if isinstance(model, str) else None)
    return Explainer(loaded, **options)(photos)


def _noted(explanation: Explanation, note: Note) -> Explanation:
    """The same with one note more on every map."""
    rows = tuple(tuple((*found, note) for found in row) for row in explanation.target_notes)
    return replace(explanation, target_notes=rows)


def _of_channels(method: Method, probe: Any, backend: Backend) -> dict[str, Any]:
    """The alphas and mean activations of an explanation, where the method took the gradient of the one layer."""
    gradients = probe.known_gradients if method.gradient and method.at == "layer" else None
    if gradients is None:
        return {}
    means = (backend.ops.mean(values, axis=probe.spatial) for values in (gradients, probe.activations))
    alphas, channel_means = (backend.numpy(values).astype(np.float32) for values in means)
    return {"alphas": alphas, "channel_means": channel_means}


def _of_place(explanation: Explanation, i: int, j: int) -> list[Note]:
    """Notes on a map whose target is a class in a place."""
    target = explanation.targets[i][j]
    if target.index is None or not target.place or explanation.maps.ndim != 4:
        return []
    found = explanation.region(i, j)
    seen = explanation.placements[i].box if explanation.placements else (0, 0, *explanation.input_size)
    cell = [(seen[axis + 2] - seen[axis]) / explanation.maps.shape[axis + 2] for axis in range(2)]
    return notes.of_place(None if found is None else found.peak, target.place, cell)


def _names(layer: Any, backend: Backend) -> list[str | None]:
    """The names of layers that were given by their names or as modules of the model; None for the one to choose.

    Raises:
        InvalidArgument: a module is none of the model's.
        InvalidType: neither a name nor a module.
    """
    found = []
    for one in _several(layer, "layer"):
        name = None if one is None else backend.name_of(one)
        if name is None and callable(one):
            raise InvalidArgument(
                f"`layer` must be a module inside of the explained model. {received(one)} It is the model itself, a "
                "copy, or part of another model: take it from the model that Explainer was given, as model.layer4, or "
                "give its name; explainer.layers(batch) lists the good ones."
            )
        if name is None and one is not None:
            raise InvalidType(
                f"`layer` must be a layer's name, a module of the model, or a list of them. {received(one)}"
            )
        found.append(name)
    return found


_SIDE = Whole(1, 1 << 20)
_GRID = Either[tuple[int, ...]]((Each(_SIDE, (1, 2, 3)), Sides()))


def _several(value: Any, argument: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        return [value]
    if not value:
        raise InvalidArgument(f"`{argument}` must name at least one. Received: an empty {type(value).__name__}.")
    return list(value)
