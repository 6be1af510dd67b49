"""Maps of the same photos at chosen moments of a training; see `Snapshots`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradsight.lazy import lazy

_HOMES = {
    "Film": "film",
    "Snapshots": "snapshots",
    "for_fastai": "in_fastai",
    "for_keras": "in_keras",
    "for_lightning": "in_lightning",
    "for_transformers": "in_transformers",
    "to_folder": "writers",
    "to_mlflow": "writers",
    "to_tensorboard": "writers",
    "to_wandb": "writers",
}

if TYPE_CHECKING:
    from gradsight.callbacks.film import Film
    from gradsight.callbacks.in_fastai import for_fastai
    from gradsight.callbacks.in_keras import for_keras
    from gradsight.callbacks.in_lightning import for_lightning
    from gradsight.callbacks.in_transformers import for_transformers
    from gradsight.callbacks.snapshots import Snapshots
    from gradsight.callbacks.writers import to_folder, to_mlflow, to_tensorboard, to_wandb

__all__ = [
    "Film",
    "Snapshots",
    "for_fastai",
    "for_keras",
    "for_lightning",
    "for_transformers",
    "to_folder",
    "to_mlflow",
    "to_tensorboard",
    "to_wandb",
]

__getattr__, __dir__ = lazy(__name__, _HOMES)
