"""Where models, methods, layers and photos meet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gradsight import notes
from gradsight.backends import user_model
from gradsight.backends.outputs import describe
from gradsight.contracts import Backend, LoadedModel, Pass, Scores
from gradsight.errors import InvalidArgument, InvalidType, ModelError, received
from gradsight.explanation import Explanation
from gradsight.given import Given, given_by
from gradsight.layers import INPUT, Candidate, Layer, known_grids, rank, stages
from gradsight.layouts import AmbiguousLayout
from gradsight.models.load import load_model
from gradsight.neurons import Activations, Concepts, Dissection, Exciting, Look, dissect, exciting
from gradsight.registry import PLACES, Method
from gradsight.targets import (
    Labels,
    Prediction,
    Resolved,
    Setting,
    Top,
    as_labels,
    detections_in,
    embedding_in,
    plain,
    predicted,
    resolve,
)
from gradsight.variants import as_method


class _Study(NamedTuple):
    """What one look at the layers of a model gave."""

    names: set[str]
    ranked: list[Candidate]
    known: frozenset[tuple[int, ...]]


class Explainer:
    """Explains one model. Threads may share it, and the model stays as it is.

    Args:
        model: a `torch.nn.Module`, or what `load_model` gave.
        layer: the layer's name; a list for several; None to choose (see `layers`). Of a layer that runs several times,
            ``name`` is the last call and ``name#0`` the first.
        method: the method's name, with options or variants if need be (``"scorecam(top=64)"``, ``"smooth(gradcam)"``),
            or a function ``(probe, ops) -> maps``; a list for several.
        targets: what to explain by default, as in a call.
        preprocess: turns a photo into the model's input; with it, photos can be given. A `Preprocess` is laid out as
            the model's images are.
        labels: the class names, one for each score: a list, an array, an index or a column of a table, or a dict of
            index to name (``id2label``) or of name to index (``class_to_idx``). With two of them, a model that gives
            one score is one of two classes: a high score speaks for the second, and its negation for the first.
        layout: ``"channels_first"``, ``"channels_last"`` or ``"tokens"``, where the layer's shape leaves it open.
        grid: the positions that tokens fold to, such as ``(14, 14)``, where their number leaves it open.
        scores: where the model gives no row of class scores, or several, a function from its output to one,
            (n, classes), or a `Scores` that also says how they become probabilities (a softmax, if not said).
        feed: where the model takes more than the photo, a function from the batch that ``preprocess`` makes of photos,
            (n, channels, height, width), to the model's inputs: ``lambda x: {"pixel_values": x, "input_ids": ids}``.
        detections: for `Box`, a function from the output to scores (n, q, classes), best before a softmax or sigmoid,
            and boxes (n, q, 4), each (left, top, right, bottom) in pixels of the model's input, or (n, q, classes, 4);
            those of DETR, of torchvision and, with ``labels``, of YOLO are known.
        embedding: for `Similarity`, a function from the output to embeddings (n, d), where it is not the output itself.
        embed_text: for `Similarity`, a function from a text to its embedding, (1, d).
        name: what to call the model.
        batch_size: how many rows go through the model at once in the further passes of methods that need some.
        probabilities: explain what a Keras model gives, its last softmax or sigmoid included, whose gradients
            saturate; without it, scores are the logits before that.

    Raises:
        InvalidArgument: ``batch_size`` is not positive, ``probabilities`` are asked of a PyTorch model, or the labels
            lack an index.
        InvalidType: the model belongs to no framework that gradsight knows, ``scores`` or ``feed`` is no function, or
            ``labels`` are none.
        UnknownName: there is no such method.
    """

    def __init__(
        self,
        model: Any,
        *,
        layer: str | Sequence[str] | None = None,
        method: Any = "gradcam",
        targets: Any = None,
        preprocess: Any = None,
        labels: Labels | None = None,
        layout: str | None = None,
        grid: Sequence[int] | None = None,
        scores: Scores | Callable[[Any], Any] | None = None,
        feed: Callable[[Any], Any] | None = None,
        detections: Callable[[Any], Any] | None = None,
        embedding: Callable[[Any], Any] | None = None,
        embed_text: Callable[[str], Any] | None = None,
        name: str | None = None,
        batch_size: int = 32,
        probabilities: bool = False,
    ) -> None:
        left_out = ""
        if isinstance(model, LoadedModel):
            preprocess, left_out = preprocess or model.preprocess, model.left_out
            labels = model.labels if labels is None else labels
            scores, feed = scores or model.scores, feed or model.feed
            detections, embedding = detections or model.detections, embedding or model.embedding
            embed_text = embed_text or model.embed_text
            model = model.model
        self._scores = scores if scores is None or isinstance(scores, Scores) else Scores(scores)
        for what, value, way in (
            ("feed", feed, "a batch of photos to the model's inputs"),
            ("detections", detections, "the output to scores (n, q, classes) and boxes (n, q, 4)"),
            ("embedding", embedding, "the output to embeddings (n, d)"),
            ("embed_text", embed_text, "a text to its embedding, (1, d)"),
        ):
            if value is not None and not callable(value):
                raise InvalidType(f"`{what}` must be a function from {way}. {received(value)}")
        self._detections, self._embedding, self._embed_text = detections, embedding, embed_text
        self.labels = None if labels is None else as_labels(labels)
        self._model = user_model(
            model, probabilities=probabilities, scores=self._scores, labels=self.labels, left_out=left_out
        )
        self.name = name or type(model).__name__
        self.layer, self.method, self.targets = layer, method, targets
        self.preprocess, self._feed = preprocess, feed
        self._layout, self._grid = layout, None if grid is None else tuple(grid)
        self._studies: dict[Any, _Study] = {}
        self._elsewhere: dict[Any, bool] = {}
        self._looking = threading.Lock()
        if not isinstance(batch_size, Integral) or isinstance(batch_size, bool) or batch_size < 1:
            raise InvalidArgument(f"`batch_size` must be a whole number of at least 1. {received(batch_size)}")
        self._batch_size: int = int(batch_size)
        for chosen in _several(method):
            as_method(chosen)

    def __call__(
        self,
        inputs: Any,
        *,
        targets: Any = None,
        method: Any = None,
        layer: str | Sequence[str] | None = None,
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
            layer: a layer's name, or a list of names, instead of the explainer's own.

        Returns:
            An `Explanation`; for a list of methods or layers a tuple of them: each layer with each method in turn, then
            the methods that look at several layers at once, then those that look at the input alone. Where the former
            are given fewer than two layers, they take the last good one of each resolution.

        Raises:
            GradsightError: with what was wrong, what was received and what to do.
        """
        given = self._given(inputs)
        targets = self.targets if targets is None else targets
        method = self.method if method is None else method
        layer = self.layer if layer is None else layer
        methods = [as_method(chosen) for chosen in _several(method)]
        ways = self._run(given, _several(layer), methods, targets)
        # Of the same batch, whatever is explained in it.
        predictions = self._predicted(given, ways[0][1]) if ways else ()
        found = [self._explanation(given, predictions, *way) for way in ways]
        return tuple(found) if isinstance(method, list | tuple) or isinstance(layer, list | tuple) else found[0]

    def layers(self, inputs: Any) -> list[Candidate]:
        """The layers that can be explained, the best first, each with the reason; the first is chosen by itself.

        Args:
            inputs: as in a call; the first image is run through the model once.
        """
        return list(self._study(self._given(inputs), self.targets).ranked)

    def dissect(
        self, concepts: Concepts | str | Path, *, layer: str | None = None, quantile: float = 0.005
    ) -> Dissection:
        """Name the channels of a layer by the concepts that they detect (Network Dissection, arXiv:1704.05796).

        Args:
            concepts: labelled photos, `Concepts.read`, or their folder. They pass the model ``batch_size`` at a time.
            layer: the layer's name, instead of the explainer's own.
            quantile: the share of positions that a channel is taken to be active at, in (0, 1).

        Raises:
            GradsightError: with what was wrong, what was received and what to do.
        """
        look = self._looking_at(layer)
        return dissect(look, concepts, model=self.name, batch_size=self._batch_size, quantile=quantile)

    def exciting(
        self, photos: Sequence[str | Path], channels: Sequence[int], *, layer: str | None = None, k: int = 4
    ) -> Exciting:
        """Find the photos that excite channels of a layer most.

        Args:
            photos: their paths. They pass the model ``batch_size`` at a time; those that cannot be read are left out
                and told by the result's ``failed``.
            channels: which channels, from 0.
            layer: the layer's name, instead of the explainer's own.
            k: how many photos for each channel.

        Raises:
            GradsightError: with what was wrong, what was received and what to do; none of the photos can be read.
        """
        return exciting(self._looking_at(layer), photos, channels, k=k, batch_size=self._batch_size)

    def _looking_at(self, layer: str | None) -> Look:
        """What passes photos through the model to one layer."""
        names = _several(self.layer if layer is None else layer)
        if len(names) != 1:
            raise InvalidArgument(f"`layer` must be one layer here. {received(names)} Name one of them.")
        # One entry for each image of another batch says nothing about these.
        wanted = Top() if isinstance(plain(self.targets), list | tuple) else self.targets

        def look(photos: Sequence[Image.Image]) -> Activations:
            given = self._given(list(photos))
            (probe,) = self._passed(given, [self._layer(given, names[0], wanted)], wanted).probes
            values = given.backend.numpy(probe.activations).astype(np.float32)
            return Activations(probe.name, values, given.placements)

        return look

    def _given(self, inputs: Any) -> Given:
        return given_by(inputs, self._model.backend(), self.preprocess, self._feed)

    def _run(
        self, given: Given, names: Sequence[Any], methods: Sequence[Method], wanted: Any
    ) -> list[tuple[Method, Pass, Any, str]]:
        """Each method with its pass, its probe, and what to call its layer. One pass serves all that it can."""
        at = {place: [m for m in methods if m.at == place] for place in PLACES}
        single = [self._layer(given, name, wanted) for name in names] if at["layer"] else []
        joint = self._several_layers(given, names, wanted) if at["layers"] else []
        needs_graph = any(m.gradient for m in at["input"])
        shared = self._passed(given, single or joint or [INPUT] * needs_graph, wanted)
        found = [(m, shared, probe, probe.name) for probe in shared.probes for m in at["layer"]]
        if joint:
            together = self._passed(given, joint, wanted) if single and single != joint else shared
            names = " + ".join(probe.name for probe in together.probes)
            found += [(m, together, together.probes[0], names) for m in at["layers"]]
        return [*found, *((m, shared, shared.image, "input") for m in at["input"])]

    def _passed(self, given: Given, layers: Sequence[Layer], wanted: Any) -> Pass:
        settle = self._settling(given, wanted, given.backend.count(given.batch))
        try:
            return given.backend.run(given.batch, layers, settle, self._batch_size)
        except AmbiguousLayout:
            # Worth a look at the other layers: a grid that they leave no doubt about settles it.
            known = self._study(given, wanted).known
            return given.backend.run(given.batch, [replace(x, known=known) for x in layers], settle, self._batch_size)

    def _several_layers(self, given: Given, names: Sequence[Any], wanted: Any) -> list[Layer]:
        if len(names) > 1:
            return [self._layer(given, name, wanted) for name in names]
        study = self._study(given, wanted)
        return [self._candidate(x, study) for x in stages(study.ranked)]

    def _settling(self, given: Given, wanted: Any, n: int) -> Callable[[Any, Any], Resolved]:
        def settle(logits: Any, outputs: Any) -> Resolved:
            if logits is not None and len(logits) != n:
                raise ModelError(
                    f"the model gave {len(logits)} rows of scores for {n} input(s). Does the batch have a batch axis? "
                    "A single image is passed as inputs[None]."
                )
            return resolve(wanted, self._setting(given, n, logits, outputs))

        return settle

    def _predicted(self, given: Given, shared: Pass) -> tuple[tuple[Prediction, ...], ...]:
        return predicted(shared.logits, given.backend.reading(shared.outputs), self.labels)

    def _setting(self, given: Given, n: int, logits: Any, outputs: Any) -> Setting:
        """What targets are settled by, for the first ``n`` images."""
        backend = given.backend
        size = backend.size(given.batch)
        return Setting(
            n,
            logits=logits,
            labels=self.labels,
            missing=backend.reading(outputs).missing,
            outputs=outputs,
            described=describe(outputs),
            total=backend.count(given.batch),
            ops=backend.ops,
            numpy=backend.numpy,
            size=size,
            placements=given.placements,
            dense=backend.dense_in,
            sequence=backend.sequence_in,
            detections=lambda outputs: detections_in(self._detected(outputs), size, self.labels, backend.ops),
            embedding=self._embedding_in(backend),
            embed=self._embed,
            embed_text=self._embed_text,
        )

    def _detected(self, outputs: Any) -> Any:
        return outputs if self._detections is None else self._detections(outputs)

    def _embedding_in(self, backend: Backend) -> Callable[[Any], Any]:
        return self._embedding or (lambda outputs: embedding_in(outputs, backend.scores_in(outputs)))

    def _embed(self, image: Any) -> Any:
        """The embeddings of a photo, or of a batch."""
        given = self._given(image)
        return self._embedding_in(given.backend)(given.backend.outputs(given.batch))

    def _layer(self, given: Given, name: Any, wanted: Any) -> Layer:
        """The layer of a name, or the best one."""
        if name is None:
            study = self._study(given, wanted)
            return self._candidate(study.ranked[0], study)
        if not isinstance(name, str):
            raise InvalidType(f"`layer` must be a layer's name or a list of names. {received(name)}")
        return Layer(name, self._layout, self._grid)

    def _candidate(self, candidate: Candidate, study: _Study) -> Layer:
        layout = None if candidate.ambiguous or self._layout or self._grid else candidate.layout
        return Layer(candidate.name, self._layout, self._grid, layout, study.known)

    def _study(self, given: Given, wanted: Any) -> _Study:
        """Look at the layers, once for each input size, order of inputs and architecture."""
        backend = given.backend
        size, names = backend.size(given.batch), set(backend.names())
        key = _kind(given)
        with self._looking:
            study = self._studies.get(key)
            if study is None or study.names != names:
                seen = backend.trace(given.batch, self._settling(given, wanted, 1))
                study = self._studies[key] = _Study(names, rank(seen, size), known_grids(seen, size))
            return study

    def _explanation(
        self, given: Given, predictions: Any, method: Method, shared: Pass, probe: Any, layer: str
    ) -> Explanation:
        backend, placements = given.backend, given.placements
        maps = method.function(probe, backend.ops)
        n, k = shared.scores.shape
        if tuple(getattr(maps, "shape", ()))[:2] != (n, k) or maps.ndim < 3:
            raise InvalidType(f"method {method.name!r} must return maps of shape (n={n}, k={k}, *s). {received(maps)}")
        raw = backend.numpy(maps).astype(np.float32)
        explanation = Explanation(
            maps=raw,
            scores=backend.numpy(shared.scores).astype(np.float32),
            targets=shared.targets.names,
            layer=layer,
            method=method.name,
            model=self.name,
            input_size=backend.size(given.batch),
            predictions=predictions,
            photos=given.photos,
            placements=placements,
            title=method.title,
            **_of_channels(method, probe, backend),
        )
        reading = backend.reading(shared.outputs)
        general = notes.of_model(backend.was_training, backend.left_out, backend.draws)
        if method.at == "layer" and self._is_elsewhere(given, probe):
            general.append(notes.ELSEWHERE)
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

    def _is_elsewhere(self, given: Given, probe: Any) -> bool:
        """Whether nothing of the image reaches a layer, such as the call of a shared encoder for another image."""
        batch = given.batch.values() if isinstance(given.batch, dict) else given.batch
        if not isinstance(given.batch, dict | list | tuple) or len(batch) < 2:
            return False
        image = probe.image.activations
        if sum(getattr(x, "ndim", 0) == image.ndim for x in batch) < 2:
            return False
        key = (*_kind(given), probe.name)
        if key not in self._elsewhere:
            before, after = (given.backend.numpy(x.activations) for x in (probe, probe.at(1 - 3 * image)))
            self._elsewhere[key] = np.array_equal(before, after)
        return self._elsewhere[key]


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


def _of_channels(method: Method, probe: Any, backend: Backend) -> dict[str, Any]:
    """The alphas and mean activations of an explanation, where the method took the gradient of the one layer."""
    gradients = probe.known_gradients if method.gradient and method.at == "layer" else None
    if gradients is None:
        return {}
    means = (backend.ops.mean(values, axis=probe.spatial) for values in (gradients, probe.activations))
    alphas, channel_means = (backend.numpy(values).astype(np.float32) for values in means)
    return {"alphas": alphas, "channel_means": channel_means}


def _of_place(explanation: Explanation, i: int, j: int) -> list[str]:
    """Notes on a map whose target is a class in a place."""
    target = explanation.targets[i][j]
    if target.index is None or not target.place or explanation.maps.ndim != 4:
        return []
    found = explanation.region(i, j)
    seen = explanation.placements[i].box if explanation.placements else (0, 0, *explanation.input_size)
    cell = [(seen[axis + 2] - seen[axis]) / explanation.maps.shape[axis + 2] for axis in range(2)]
    return notes.of_place(None if found is None else found.peak, target.place, cell)


def _kind(given: Given) -> tuple[Any, ...]:
    """What the layers of a model depend on: the image's size, and which input is the image."""
    return (given.backend.size(given.batch), *(given.batch if isinstance(given.batch, dict) else ()))


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
