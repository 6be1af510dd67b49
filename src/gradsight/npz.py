"""Arrays, and JSON that describes them, in one ``.npz`` file. Nothing in it is executed."""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from gradsight.archives import content, unpacking
from gradsight.errors import GradsightError, InvalidArgument, one_line
from gradsight.files import written

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}

Made = TypeVar("Made")
Arrays = Mapping[str, NDArray[Any]]


def pack(path: str | Path, about: Mapping[str, object], arrays: Arrays) -> None:
    """Write arrays and what is said about them.

    Raises:
        InvalidArgument: it cannot be written, and what was there before is left as it was; or it holds what JSON does
            not, such as what a ``preprocess`` of the user's own says of itself.
    """
    try:
        # As an array of text, so that the file holds arrays alone and is read without pickle.
        told = np.array(json.dumps(about))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(
            f"what is saved must be plain values, and `preprocess.record()` may give others: {one_line(error)}. Let it "
            "return numbers, texts, lists and dicts of them."
        ) from error
    with written(path) as file:
        np.savez_compressed(file, about=told, **arrays)  # type: ignore[arg-type]


def unpack(path: str | Path, made: Callable[[object, Arrays], Made], what: str, writer: str) -> Made:
    """Read what `pack` wrote, and make something of it: ``made(about, arrays)``.

    Raises:
        InvalidArgument: there is no such file, or it holds something else than ``what``, which ``writer`` writes.
    """
    with unpacking(path, f"{what} that {writer} wrote") as archive:
        arrays = {name.removesuffix(".npy"): _array(archive, name) for name in archive.namelist()}
        about = json.loads(str(arrays.pop("about").item()))
        try:
            return made(about, arrays)
        except GradsightError as error:
            raise InvalidArgument(f"{os.fspath(path)!r} is not {what} that {writer} wrote: {error}") from None


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """One array, after a check that its file is as large as it claims: NumPy would allocate what it claims."""
    file = io.BytesIO(content(archive, name))
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"{name!r} is of version {version}")
    shape, _, dtype = _HEADERS[version](file)
    held = len(file.getbuffer()) - file.tell()
    if dtype.kind not in "iufU" or min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize != held:
        raise ValueError(f"{name!r} claims to hold {dtype} of shape {shape}, and has {held:,} bytes")
    file.seek(0)
    array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return array
