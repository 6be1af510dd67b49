"""Read what a ``.keras`` or ``.h5`` file is made of, before Keras makes anything of it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple, TypeAlias

from gradsight.files import opened
from gradsight.models.claims.packed import Arrays, check_h5, parsed

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_WEIGHTS = "model.weights.h5"


class Stored(NamedTuple):
    """The description of a model in a file.

    Attributes:
        config: as JSON gives it; None where the file has weights alone.
        version: of the Keras that saved it, such as ``"2.15.0"``; empty where the file does not say.
        arrays: what is stored beside it.
        rewritten: the config is not the file's any more, but says the same in the words of Keras 3.
    """

    config: Json
    version: str
    arrays: Arrays = Arrays()
    rewritten: bool = False


def read_keras(path: Path) -> Stored:
    """Read the description in a ``.keras`` archive.

    Raises:
        Exception: of some kind, where the file is damaged or no such archive.
    """
    with opened(path, "a model") as file, zipfile.ZipFile(file) as archive:
        about = parsed(archive.read("metadata.json")) if "metadata.json" in archive.namelist() else {}
        config = parsed(archive.read("config.json"))
        return Stored(config, str(about.get("keras_version", "")), _weights(archive, path))


def _weights(archive: zipfile.ZipFile, path: Path) -> Arrays:
    """The arrays of the file inside that has the weights."""
    import h5py

    if _WEIGHTS not in archive.namelist():  # nothing, or arrays that Keras looks through by itself
        return Arrays(sum(member.file_size for member in archive.infolist()))
    with archive.open(_WEIGHTS) as inside, h5py.File(inside) as content:
        return check_h5(content, archive.getinfo(_WEIGHTS).file_size, path)


def read_h5(path: Path) -> Stored:
    """Read the description in an HDF5 file; its config is None where the file holds weights alone.

    Raises:
        LookupError: nothing in the file is Keras's.
        Exception: of some other kind, where the file is damaged or no HDF5.
    """
    import h5py

    with h5py.File(path) as file:
        arrays = check_h5(file, path.stat().st_size, path)
        text, version = (_text(file.attrs.get(name, "")) for name in ("model_config", "keras_version"))
        if text:
            return Stored(parsed(text), version, arrays)
        if any(name in file for name in ("layers", "_layer_checkpoint_dependencies")) or "layer_names" in file.attrs:
            return Stored(None, version, arrays)
        raise LookupError("it holds neither a Keras model nor weights")


def _text(value: str | bytes) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
