"""A callback of fastai."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradsight.callbacks import moments
from gradsight.errors import MissingDependency

if TYPE_CHECKING:
    from fastai.callback.core import Callback as FastaiCallback

    from gradsight.callbacks.snapshots import Snapshots


def for_fastai(snapshots: Snapshots, when: str = "epoch") -> FastaiCallback:
    """A callback for ``Learner(..., cbs=[...])``.

    Args:
        snapshots: what is explained, and how often.
        when: ``"epoch"`` counts epochs, ``"step"`` batches of the training.

    Raises:
        InvalidType: ``snapshots`` is none.
        MissingDependency: fastai is not installed.
        UnknownName: ``when`` is neither.

    Example: ``learner.fit(5, cbs=[for_fastai(Snapshots(photos, to=to_folder("maps")))])``.
    """
    by_step = moments.by_step(snapshots, when)
    try:
        from fastai.callback.core import Callback as Base
    except ImportError as error:
        raise MissingDependency("`for_fastai` needs fastai. Install it: pip install fastai.") from error

    class Callback(Base):  # type: ignore[misc]
        """Takes snapshots while fastai trains."""

        def before_fit(self) -> None:
            snapshots(self.learn.model, 0)

        def after_batch(self) -> None:
            # ``train_iter`` counts the batches of the training; those of the validation are not counted.
            if by_step and self.learn.training:
                snapshots(self.learn.model, self.learn.train_iter)

        def after_epoch(self) -> None:
            if not by_step:
                snapshots(self.learn.model, self.learn.epoch + 1)

        # fastai calls it also where the training was cancelled.
        def after_fit(self) -> None:
            snapshots.end()

    return Callback()
