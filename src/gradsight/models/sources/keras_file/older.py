"""Models in ``.h5`` files of Keras 2 and 1, some of whose descriptions Keras 3 cannot read as they are."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradsight.models.sources.keras_file.description import Json, Stored

# Keys that Keras 3 does not take any more, and that do not change what a model computes: they are about training, and
# these layers have kernels by depth and by point, not this one.
_DROPPED = ("rng_type", "kernel_initializer", "kernel_regularizer", "kernel_constraint")
_BY_DEPTH = ("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D")
_UNGROUPED = (*_BY_DEPTH, "Conv1DTranspose", "Conv2DTranspose")


def in_words_of_keras_3(stored: Stored) -> Stored:
    """The description in a file, rewritten where an older Keras wrote it and Keras 3 would not understand it."""
    if stored.version and not stored.version.startswith(("1.", "2.")):
        return stored
    config = in_new_words(stored.config)
    return stored._replace(config=config, rewritten=config != stored.config)


@contextmanager
def readable(path: Path, stored: Stored) -> Iterator[Path]:
    """A file that Keras 3 can read: this one, or for the time being a copy of it with the rewritten description."""
    if not stored.rewritten:
        yield path
        return
    import h5py

    # the file is the user's and stays as it is; and Keras reads h5 files by path alone
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "model.h5")
        shutil.copyfile(path, copy)
        with h5py.File(copy, "r+") as file:
            file.attrs["model_config"] = json.dumps(stored.config).encode()
        yield copy


def in_new_words(value: Json) -> Json:
    """A description in JSON as Keras 3 would write it."""
    if isinstance(value, list):
        return [in_new_words(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind == "Policy" and isinstance(config, dict):  # a precision: "mixed_float16"
        return config.get("name")
    changed = {key: in_new_words(item) for key, item in value.items()}
    inner = changed.get("config")
    if isinstance(kind, str) and isinstance(inner, dict):
        changed["config"] = _layer(kind, inner)
    return changed


def _layer(kind: str, config: dict[str, Json]) -> dict[str, Json]:
    dropped = _DROPPED if kind in _BY_DEPTH else _DROPPED[:1]
    kept = {key: value for key, value in config.items() if key not in dropped}
    if kind in _UNGROUPED and kept.get("groups") == 1:
        del kept["groups"]
    if kind == "BatchNormalization":
        kept["axis"] = _single(kept.get("axis", -1))
    if kind in ("Functional", "Model"):
        # A list of one is a list to Keras 3, and the layer behind a model inside of the model would get that.
        for key in ("input_layers", "output_layers"):
            one = _single(kept.get(key))
            if isinstance(kept.get(key), list) and isinstance(one, list) and one != kept[key]:
                kept[key] = one
    return kept


def _single(value: Json) -> Json:
    return value[0] if isinstance(value, list) and len(value) == 1 else value
