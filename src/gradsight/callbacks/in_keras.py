"""A callback of Keras 3, on any engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradsight.callbacks import moments

if TYPE_CHECKING:
    import keras

    from gradsight.callbacks.snapshots import Snapshots


def for_keras(snapshots: Snapshots, when: str = "epoch") -> keras.callbacks.Callback:
    """A callback for ``model.fit(..., callbacks=[...])``.

    Args:
        snapshots: what is explained, and how often.
        when: ``"epoch"`` counts epochs, ``"step"`` batches.

    Raises:
        InvalidType: ``snapshots`` is none.
        UnknownName: ``when`` is neither.

    Example: ``model.fit(x, y, callbacks=[for_keras(Snapshots(photos, to=to_folder("maps")))])``.
    """
    import keras

    by_step = moments.by_step(snapshots, when)

    class Callback(keras.callbacks.Callback):  # type: ignore[misc]
        """Takes snapshots while Keras trains."""

        def __init__(self) -> None:
            super().__init__()
            self.steps = 0

        def on_train_begin(self, logs: Any = None) -> None:
            snapshots(self.model, 0)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps += 1
            # The model is asked for where it is needed alone: on JAX that brings its weights back from the loop.
            if by_step and snapshots.due(self.steps):
                snapshots.take(self.model, self.steps)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if not by_step:
                snapshots(self.model, epoch + 1)

        def on_train_end(self, logs: Any = None) -> None:
            snapshots.end()

    return Callback()
