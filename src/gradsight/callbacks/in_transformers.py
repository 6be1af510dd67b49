"""A callback of the Trainer of Hugging Face."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradsight.callbacks import moments

if TYPE_CHECKING:
    from transformers import TrainerCallback

    from gradsight.callbacks.snapshots import Snapshots


def for_transformers(snapshots: Snapshots, when: str = "epoch") -> TrainerCallback:
    """A callback for ``Trainer(callbacks=[...])``; of several processes the first one takes the snapshots.

    Args:
        snapshots: what is explained, and how often.
        when: ``"epoch"`` counts epochs, ``"step"`` steps of the optimizer (``state.global_step``).

    Raises:
        InvalidType: ``snapshots`` is none.
        UnknownName: ``when`` is neither.

    Example: ``Trainer(..., callbacks=[for_transformers(Snapshots(photos, to=to_folder("maps")))])``.
    """
    from transformers import TrainerCallback

    by_step = moments.by_step(snapshots, when)

    class Callback(TrainerCallback):  # type: ignore[misc]
        """Takes snapshots while the Trainer trains."""

        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: object) -> None:
            if state.is_world_process_zero:
                snapshots(model, 0)

        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: object) -> None:
            if by_step and state.is_world_process_zero:
                snapshots(model, state.global_step)

        def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: object) -> None:
            if not by_step and state.is_world_process_zero:
                snapshots(model, round(state.epoch))

        def on_train_end(self, args: Any, state: Any, control: Any, **_: object) -> None:
            if state.is_world_process_zero:
                snapshots.end()

    return Callback()
