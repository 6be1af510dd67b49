"""How probable a model finds each class, for photos as it gets them and for changed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradsight.auditing.progress import Count
from gradsight.contracts import Backend
from gradsight.errors import ModelError
from gradsight.explaining.inputs import Prepared
from gradsight.targets.predictions import sigmoid, softmax

if TYPE_CHECKING:
    from gradsight.explaining.explainer import Explainer

Pictures = NDArray[np.float32]
"""(n, c, h, w): photos as the model gets them, the channels first whatever the model's own order."""


class Scorer:
    """A model that is asked about photos, a batch at a time.

    Attributes:
        count: how many photos it was asked about so far, and which suspect that is for.
    """

    def __init__(self, explainer: Explainer) -> None:
        self._explainer, self._passes = explainer, explainer._passes
        # Asked once: a model does not change its axes.
        self._channels_last = self._passes.user_model.backend().channels_last
        self._prepare = self._passes.preparing()
        self._size: int | None = None
        self.count = Count()

    @property
    def rows(self) -> int:
        """How many photos it was asked about so far."""
        return self.count.now.passes

    def prepared(self, photo: object) -> Prepared:
        """A photo as the model gets it, read and fitted; the channels are the first axis.

        Raises:
            ImageError: it cannot be read.
        """
        made = self._prepare(photo)
        return made._replace(array=np.moveaxis(made.array, -1, 0)) if self._channels_last else made

    def probabilities(self, pictures: Pictures) -> NDArray[np.float64]:
        """(n, classes): how probable each class is, in [0, 1]; the scores themselves of a model without probabilities.

        Raises:
            ModelError: the model gives no scores of classes, or somebody changes its weights meanwhile.
        """
        # The model as it is now; in one call nobody changes its weights.
        backend = self._passes.user_model.backend()
        return backend.of_one_moment(lambda: self._in_parts(pictures, backend))

    def _in_parts(self, pictures: Pictures, backend: Backend) -> NDArray[np.float64]:
        size = self._batch_size(pictures, backend)
        found = []
        for i in range(0, len(pictures), size):
            found.append(self._of(pictures[i : i + size], backend))
            self.count.asked(len(found[-1]))
        return np.concatenate(found)

    def _batch_size(self, pictures: Pictures, backend: Backend) -> int:
        """The explainer's; 1 where what is beside a photo is part of its scores, which two photos tell."""
        if self._size is None and len(pictures) > 1:
            pair = self._of(pictures[:2], backend)
            alone = np.concatenate([self._of(pictures[i : i + 1], backend) for i in range(2)])
            # Kernels of another batch size round otherwise, by far less than a neighbour changes.
            same = np.allclose(pair, alone, rtol=1e-3, atol=1e-4)
            self._size = self._explainer.batch_size if same else 1
        return self._size or 1

    def _of(self, pictures: Pictures, backend: Backend) -> NDArray[np.float64]:
        given = np.ascontiguousarray(np.moveaxis(pictures, 1, -1)) if self._channels_last else pictures
        feed = self._explainer.model.feed
        outputs = backend.outputs(backend.prepare(given if feed is None else feed(given)))
        # Read as `predicted` reads them, so that an audit and an explanation give one probability.
        found, reading = backend.scores_in(outputs), backend.reading(outputs)
        if found is None:
            raise ModelError(f"an audit compares classes, and the model gives no scores of classes. {reading.missing}")
        scores = backend.numpy(found).astype(np.float64)
        if reading.gives or not reading.activation:
            return scores
        return softmax(scores) if reading.activation == "softmax" else sigmoid(scores)
