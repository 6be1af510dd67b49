"""`gs.watch`: what a model looks at in a video, frame by frame."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import Literal, Unpack

from gradsight.checks import taken
from gradsight.closing import Closing
from gradsight.errors import InvalidArgument, received
from gradsight.explaining.asked import asked_of
from gradsight.explaining.explainer import Explainer, as_explainer
from gradsight.explaining.layer_choice import LayerLike
from gradsight.explaining.stream import BATCH_SIZE
from gradsight.files import check_apart
from gradsight.models.as_model import ModelLike
from gradsight.photos import Explained, Failed
from gradsight.rules import Name, Whole
from gradsight.targets import TargetLike
from gradsight.variants import MethodLike
from gradsight.watching.ahead import let_go
from gradsight.watching.frame import Frame, Shot
from gradsight.watching.saving import Drawing, Saved, Saving
from gradsight.watching.scale import SCALE, Explaining, Scale, scale_of
from gradsight.watching.source import Film, Folder, Source, Watched, source_of


class Watching(Closing[Frame | Failed[Shot]]):
    """The frames of a video, each a `Frame` or a `Failed`, made as they are asked for; see `watch`.

    Attributes:
        source: what is watched.
        scale: by what frames are drawn; None before the first frame.
    """

    def __init__(self, source: Source, explain: Explaining, scale: str | float, every: int) -> None:
        self.source = source
        self.scale: Scale | None = None
        self._explain, self._asked, self._every = explain, scale, every
        self._shots: Iterator[Shot | Failed[Shot]] | None = None
        super().__init__(self._run())

    @property
    def dropped(self) -> int:
        """How many frames of a camera were left out, since the model was busy with earlier ones."""
        return int(getattr(self._shots, "dropped", 0))

    def save(self, path: str | os.PathLike[str], **drawing: Unpack[Drawing]) -> Saved:
        """Write all frames with their heat, as a video, an animated WebP, or a folder of pictures.

        Args:
            path: ``"x.mp4"``, ``"x.mkv"`` or ``"x.mov"``; ``"x.webp"``; or a folder. Videos are silent.
            **drawing: see `Drawing`.

        Returns:
            How many frames were written, and what failed.

        Raises:
            InvalidArgument: it cannot be written there, or is what is watched.
            MissingDependency: PyAV is not installed.
        """
        read = [self.source.name] if isinstance(self.source, Film | Folder) else []
        check_apart(taken("path", path, Name()), read, what="what is watched")
        saving = Saving(self, path, **drawing)
        for _ in saving:
            pass
        return saving.done

    def _run(self) -> Generator[Frame | Failed[Shot], None, None]:
        scale = self.scale = scale_of(self._asked, self.source, self._explain)
        # Read ahead: failures of frames that come after the one that is explained wait for their turn.
        failures: deque[Failed[Shot]] = deque()
        shots = self._shots = self.source.shots()
        try:
            with closing(self._explain(_whole(shots, failures, self._every))) as explained:
                for done in explained:
                    while failures and failures[0].photo.index < done.photo.index:
                        yield failures.popleft()
                    yield done if isinstance(done, Failed) else _frame(done, scale)
            yield from failures
        finally:
            let_go(shots)


def watch(
    source: Watched,
    model: ModelLike | Explainer = "demo",
    *,
    targets: TargetLike | None = None,
    method: MethodLike | None = None,
    layer: LayerLike | None = None,
    scale: float | str = "video",
    every: int = 1,
    batch_size: int | Literal["auto"] | None = None,
) -> Watching:
    """What a model looks at in a video, frame by frame, in the memory of a few batches.

    >>> import numpy as np, torch, gradsight as gs
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> explainer = gs.Explainer(net, preprocess=gs.Preprocess(8))
    >>> frames = [np.full((9, 9, 3), value, np.uint8) for value in (50, 100, 150)]
    >>> for frame in gs.watch(frames, explainer, targets=2):
    ...     print(frame.index, frame.explanation.maps.shape)
    0 (1, 1, 6, 6)
    1 (1, 1, 6, 6)
    2 (1, 1, 6, 6)

    Args:
        source: the path of a video, or of a folder, whose pictures are frames in the order of their names; the number
            of a camera; or pictures one after the other: a list, a generator.
        model: an explainer, or whatever `Explainer` takes.
        targets: as in a call of an explainer, the same for all frames; by default the top class of each frame.
        method: a method; the explainer's own if None.
        layer: a layer; the explainer's own if None.
        scale: the raw value that is drawn as hot as can be, one for all frames, so that heat can be compared over time.
            ``"video"``: that of the strongest of 16 frames that lie evenly over the video, which are explained first;
            a frame that is stronger yet is drawn as hot as that. Of cameras and generators, and by ``"running"``: the
            strongest frame so far, so that the scale may rise, and never falls. ``"own"``: each frame by its own
            strength, which flickers, and shows no difference in strength. Or a number.
        every: take each frame, every second, every third ...
        batch_size: how many frames pass the model at once; the quickest number is found if None, and of a camera
            frames go one by one, so that none waits.

    Returns:
        An iterator over a `Frame` for each frame, or a `Failed` for one that is damaged or cannot be explained, in
        their order. Its `save` writes all of them. Its `close`, or the end of a ``with``, ends its threads.

    Raises:
        GradsightError: there is no such video, folder or camera; several methods or layers are asked for.
        MissingDependency: PyAV is not installed (``gradsight[video]``), and no folder or pictures are given.
    """
    scale, every = taken("scale", scale, SCALE), taken("every", every, Whole(1), "Pass 2 for every second frame.")
    if batch_size is not None:
        taken("batch_size", batch_size, BATCH_SIZE, "Pass 32.")
    # Before the model, which may take seconds to load.
    found = source_of(source)
    explainer = as_explainer(model)
    if asked_of(explainer, targets, method, layer).several:
        raise InvalidArgument(
            f"`method` and `layer` must be one for a video. {received((method, layer))} Pass method='gradcam'."
        )
    # A camera's frames would wait for others to fill a batch.
    size = batch_size or (1 if found.is_live else "auto")

    def explain(shots: Iterable[Shot]) -> Generator[Explained[Shot] | Failed[Shot], None, None]:
        # Closed with the generator: its threads hold frames.
        with explainer.stream(shots, batch_size=size, targets=targets, method=method, layer=layer) as stream:
            yield from stream

    # Before the first frame is asked for, so that an error comes from the call.
    explainer.stream([], targets=targets, method=method, layer=layer).close()
    return Watching(found, explain, scale, every)


def _whole(shots: Iterable[Shot | Failed[Shot]], failures: deque[Failed[Shot]], every: int) -> Iterator[Shot]:
    """The frames that could be read; the others are put aside."""
    for shot in shots:
        if isinstance(shot, Failed):
            failures.append(shot)
        elif shot.index % every == 0:
            yield shot


def _frame(done: Explained[Shot], scale: Scale) -> Frame:
    explanation = done.explanation
    return Frame(done.photo.index, done.photo.time, explanation, scale.of(explanation))
