"""A callback of Lightning."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from gradsight.callbacks import moments
from gradsight.errors import MissingDependency

if TYPE_CHECKING:
    from lightning.pytorch import Callback as LightningCallback

    from gradsight.callbacks.snapshots import Snapshots

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")
"""Lightning under its two names. A trainer of one takes callbacks of its own alone."""


def for_lightning(snapshots: Snapshots, when: str = "epoch") -> LightningCallback:
    """A callback for ``Trainer(callbacks=[...])``; of several processes the first one takes the snapshots.

    Args:
        snapshots: what is explained, and how often.
        when: ``"epoch"`` counts epochs, ``"step"`` steps of the optimizer (``trainer.global_step``).

    Raises:
        InvalidType: ``snapshots`` is none.
        MissingDependency: Lightning is not installed.
        UnknownName: ``when`` is neither.

    Example: ``Trainer(callbacks=[for_lightning(Snapshots(photos, to=to_folder("maps")))])``.
    """
    by_step = moments.by_step(snapshots, when)

    # Made here: only now it is known which of the two packages is used.
    class Callback(_package().Callback):  # type: ignore[misc]
        """Takes snapshots while Lightning trains."""

        last = -1

        def on_fit_start(self, trainer: Any, module: Any) -> None:
            if trainer.is_global_zero:
                snapshots(module, 0)

        def on_train_batch_end(self, trainer: Any, module: Any, *_: object) -> None:
            # Where gradients are accumulated several batches make one step.
            if by_step and trainer.is_global_zero and trainer.global_step != self.last:
                self.last = trainer.global_step
                snapshots(module, self.last)

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            if not by_step and trainer.is_global_zero:
                snapshots(module, trainer.current_epoch + 1)

        # Not the end of an epoch: a run that is ended in the middle of one has its filmstrip too.
        def on_fit_end(self, trainer: Any, module: Any) -> None:
            if trainer.is_global_zero:
                snapshots.end()

    return cast("LightningCallback", Callback())


def _package() -> Any:
    # The one that the user has imported comes first.
    for name in (*filter(sys.modules.__contains__, _PACKAGES), *_PACKAGES):
        try:
            return import_module(name)
        except ImportError:
            continue
    raise MissingDependency("`for_lightning` needs Lightning. Install it: pip install lightning.")
