"""Maps of the same photos at chosen moments of a training: what the model looks at while it learns."""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Iterator, Sequence, Set
from pathlib import Path
from typing import Any, Unpack

from PIL import Image

from gradsight import imaging
from gradsight.callbacks.boxes import Boxes, boxes_in, check_inside, share_in
from gradsight.callbacks.film import Film
from gradsight.callbacks.writers import Writer
from gradsight.checks import taken
from gradsight.errors import InvalidArgument, InvalidType, one_line, received
from gradsight.explaining.asked import OPTIONS, check_words
from gradsight.explaining.explainer import Explainer
from gradsight.explaining.layer_choice import LayerLike
from gradsight.foreign import Inputs
from gradsight.models.model import ABOUT, About
from gradsight.names import distinct, safe
from gradsight.results import drawing
from gradsight.results.explanation import Explanation
from gradsight.rules import Each, Whole
from gradsight.targets import TargetLike
from gradsight.values import LONGEST, items_in
from gradsight.variants import MethodLike

_HEIGHT = 160
"""Of each picture, in pixels."""

_HIGHEST = 2048
"""A film keeps some hundred pictures."""

_STEPS = Each(Whole(), range(LONGEST), "whole numbers of steps, in a list or a set")


class Explains(About, total=False):
    """What is known of the model, and how it is explained; as `Explainer` takes it."""

    method: MethodLike
    layer: LayerLike | None
    targets: TargetLike | None
    layout: str | None
    grid: int | Sequence[int] | None
    batch_size: int


class Snapshots:
    """Explains the same photos again and again while a model is trained, with the weights that it has at that moment.

    The training is not disturbed: the model's parameters, its running averages, its mode, its gradients and the state
    of all random generators are as they were. `for_keras`, `for_lightning`, `for_transformers` and `for_fastai` make a
    callback of it; in a loop of your own call it after each epoch or step.

    Args:
        photos: what to explain: photos, as `Explainer` takes them, or a batch as the model takes it.
        to: where pictures go: `to_folder`, `to_tensorboard`, `to_wandb`, `to_mlflow`, or one or several objects with
            ``write`` and ``end`` as `writers.Writer` has them.
        every: a snapshot is taken at steps that this number divides, 0 among them.
        at: and at these steps.
        boxes: for each photo where the thing is that the model should look at, each (top, left, bottom, right) in
            pixels of the photo, or of the input where a batch is explained. The share of the heat that lies in them is
            written as a figure, in [0, 1].
        pictures: what to draw the heat of a batch on, one for each image; without them the heat alone is drawn.
        height: of each picture, in pixels.
        **explains: as `Explainer` takes them: ``method``, ``layer``, ``targets``, ``preprocess``, ``labels`` ...

    Attributes:
        film: the snapshots so far; see `Film`.
        seconds: the time that all of them took.

    Raises:
        InvalidArgument: a value that breaks a rule.
        InvalidType: ``to`` holds no writers.
        UnknownName: there is no such argument.

    >>> import torch, gradsight as gs
    >>> from gradsight.callbacks import Snapshots
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> snapshots = Snapshots(torch.rand(2, 3, 16, 16), targets=1, every=10)
    >>> for step in range(21):
    ...     explanation = snapshots(net, step)
    >>> [moment.step for moment in snapshots.film.moments], explanation.labels
    ([0, 10, 20], (('class 1',), ('class 1',)))
    """

    def __init__(
        self,
        photos: Inputs,
        *,
        to: Writer | Sequence[Writer] = (),
        every: int = 1,
        at: Collection[int] = (),
        boxes: Boxes | None = None,
        pictures: Sequence[Any] | None = None,
        height: int = _HEIGHT,
        **explains: Unpack[Explains],
    ) -> None:
        check_words(explains, [*OPTIONS, *ABOUT], "Snapshots")
        self._photos = photos
        self._writers = _writers(to)
        self._every = taken("every", every, Whole(1), "Pass 10.")
        self._at = frozenset(taken("at", list(at) if isinstance(at, Set) else at, _STEPS, "Pass (1, 2, 5)."))
        self._boxes = boxes_in(boxes)
        self._pictures = _pictures(pictures)
        self._height = taken("height", height, Whole(16, _HIGHEST), "Pass 160.")
        self._explains = explains
        self._explainer: tuple[object, Explainer] | None = None
        self._whole = False
        self.film = Film()
        self.seconds = 0.0

    def __call__(self, model: Any, step: int) -> Explanation | None:
        """Take a snapshot if one is due at this step.

        Args:
            model: the one that is trained, a `torch.nn.Module` or a `keras.Model`.
            step: the number of the epoch or step; 0 is before the first.

        Returns:
            The explanation; None where none is due, or where it failed.

        Raises:
            InvalidArgument: ``step`` is no whole number.
            GradsightError: as `take`.
        """
        return self.take(model, step) if self.due(step) else None

    def due(self, step: int) -> bool:
        """Whether a snapshot is to be taken at this step."""
        step = taken("step", step, Whole(), "Pass the number of the step.")
        return step % self._every == 0 or step in self._at

    def take(self, model: Any, step: int) -> Explanation | None:
        """Take a snapshot now; see `__call__`.

        Raises:
            InvalidArgument: ``step`` is no whole number.
            GradsightError: the first snapshot cannot be taken or written. Of a later one a warning tells, and the
                training goes on.
        """
        step = taken("step", step, Whole(), "Pass the number of the step.")
        start = time.perf_counter()
        try:
            explanation = self._take(model, step)
            self._whole = True
            return explanation
        except Exception as error:
            # The first shows what was asked for wrongly. A training of days must not end by a later one: a full disk.
            if not self._whole:
                raise
            warnings.warn(f"no snapshot of step {step}: {one_line(error)}", stacklevel=2)
            return None
        finally:
            # A snapshot that failed took its time too.
            self.seconds += time.perf_counter() - start

    def end(self) -> None:
        """Tell all writers that the training is over: they get the filmstrip. Callbacks do so by themselves.

        Of a writer that fails a warning tells, as the model is still to be saved.
        """
        for writer in self._writers if self.film.moments else ():
            try:
                writer.end(self.film)
            except Exception as error:  # whatever a writer of others raises
                warnings.warn(f"no filmstrip by {type(writer).__name__}: {one_line(error)}", stacklevel=2)

    def _take(self, model: Any, step: int) -> Explanation:
        explanation = self._explainer_of(model)(self._photos)
        _check_count(self._boxes, "boxes", explanation)
        _check_count(self._pictures, "pictures", explanation)
        names = self._names(explanation)
        drawn = [self._drawn(explanation, i, j) for i, j in _each(explanation)]
        self.film.add(step, names, drawn, [_caption(explanation, i, j) for i, j in _each(explanation)])
        shares = self._shares(explanation)
        scalars = {
            f"{name}/in_box": shares[at] for name, at in zip(names, _each(explanation), strict=True) if at in shares
        }
        for writer in self._writers:
            writer.write(step, dict(zip(names, drawn, strict=True)), scalars)
        return explanation

    def _explainer_of(self, model: Any) -> Explainer:
        # One explainer as long as it is one model: what it has found out of the model, such as the layer, stays true.
        if self._explainer is None or self._explainer[0] is not model:
            self._explainer = model, Explainer(model, **self._explains)
        return self._explainer[1]

    def __getstate__(self) -> dict[str, object]:
        # A copy in another process has a model of its own.
        return {**vars(self), "_explainer": None}

    def _names(self, explanation: Explanation) -> list[str]:
        """A name for each image and target, which is also that of a file."""
        count, targets = explanation.maps.shape[:2]
        photos = items_in(self._photos, count) if isinstance(self._photos, list | tuple) else None
        images = distinct([_name(i, photos[i] if photos and len(photos) == count else None) for i in range(count)])
        # No labels: that of a target which is always the best class changes, and the name of a row must not.
        return [images[i] + (f".{j + 1}" if targets > 1 else "") for i, j in _each(explanation)]

    def _drawn(self, explanation: Explanation, i: int, j: int) -> Image.Image:
        if explanation.photos or self._pictures is not None:
            photo = None if self._pictures is None else self._pictures[i]
            drawn = explanation.overlay(i, j, photo=photo, max_side=4 * self._height)
        elif len(explanation.input_size) == 2:
            heat = explanation.heat_image(i, j)
            drawn = Image.alpha_composite(Image.new("RGBA", heat.size, (*drawing.PAPER, 255)), heat).convert("RGB")
        else:
            drawn = explanation.overlay(i, j)
        # All of one height, whatever the photos: rows of a filmstrip lie beside each other.
        width = max(1, round(drawn.width * self._height / drawn.height))
        return drawn.resize((width, self._height), Image.Resampling.BICUBIC)

    def _shares(self, explanation: Explanation) -> dict[tuple[int, int], float]:
        """For each image and target the share of the heat that lies in the image's boxes."""
        if self._boxes is None:
            return {}
        # All at once where there are no photos: a call of `heatmaps` makes those of all images.
        maps = None if explanation.photos else explanation.heatmaps()
        for i, boxes in enumerate(self._boxes):
            if boxes:
                check_inside(f"boxes[{i}]", boxes, explanation.on_photo(i).shape if maps is None else maps.shape[2:])
        return {
            (i, j): share_in(explanation.on_photo(i, j) if maps is None else maps[i, j], self._boxes[i])
            for i, j in _each(explanation)
            if self._boxes[i]
        }


def _each(explanation: Explanation) -> Iterator[tuple[int, int]]:
    """Each image with each of its targets."""
    return ((i, j) for i in range(explanation.maps.shape[0]) for j in range(explanation.maps.shape[1]))


def _caption(explanation: Explanation, i: int, j: int) -> str:
    # A photo without heat looks like one that was left out.
    nothing = not (explanation.maps[i, j] > 0).any() and not explanation.targets[i][j].signed
    return f"score {explanation.scores[i, j]:.2f}" + ", no heat" * nothing


def _name(i: int, photo: object) -> str:
    return (safe(Path(photo).stem) if isinstance(photo, str | Path) else "") or f"photo-{i}"


def _pictures(pictures: Sequence[Any] | None) -> list[Image.Image] | None:
    if pictures is None:
        return None
    found = None if isinstance(pictures, Path | Image.Image) else items_in(pictures)
    if found is None:
        raise InvalidType(f"`pictures` must be a list with a picture for each image. {received(pictures)}")
    return [imaging.read_image(one) for one in found]


def _check_count(values: Sequence[Any] | None, name: str, explanation: Explanation) -> None:
    if values is not None and len(values) != len(explanation.maps):
        raise InvalidArgument(
            f"`{name}` must have an entry for each of {len(explanation.maps)} photo(s). {received(values)}"
        )


def _writers(to: Writer | Sequence[Writer]) -> tuple[Writer, ...]:
    writers = tuple(to) if isinstance(to, list | tuple) else (to,)
    for writer in writers:
        if not (hasattr(writer, "write") and hasattr(writer, "end")):
            raise InvalidType(
                f"`to` must be a writer, or a list of them. {received(writer)} Pass "
                "gradsight.callbacks.to_folder('maps')."
            )
    return writers
