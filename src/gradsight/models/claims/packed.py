"""What a file says that it unpacks to, before any of it is unpacked: archives of 5 MB can hold 5 GB of zeros."""

from __future__ import annotations

import json
import os
import zipfile
from typing import Any, BinaryIO, NamedTuple

from gradsight.archives import check_claim
from gradsight.errors import InvalidArgument, ModelError, received
from gradsight.files import exists, is_file, is_folder, opened
from gradsight.foreign import Json

_DEPTH = 100
"""How many levels the JSON of a model's file may have."""

_TOO_DEEP = f"its JSON is nested in more than {_DEPTH} levels"


def check_file(path: str | os.PathLike[str], argument: str) -> int:
    """See that a path is that of a file which can be opened, and that an archive does not claim far more than it is.

    Args:
        path: which one.
        argument: what it was given for, ``"model"`` or ``"weights"``.

    Returns:
        Its size in bytes.

    Raises:
        InvalidArgument: there is no such file, it is a folder, a pipe or a device, or it cannot be opened.
        ModelError: it claims to unpack to far more than it is.
    """
    if not is_file(path):
        raise no_file(path, argument)
    with opened(path, "a model's file") as file:
        size = os.fstat(file.fileno()).st_size
        check_unpacked(file, size, path)
    return size


def no_file(path: str | os.PathLike[str], argument: str) -> InvalidArgument:
    """The error for a path where there is no file."""
    reason = "it is a folder" if is_folder(path) else "there is no such file"
    if exists(path) and not is_folder(path):
        reason = "it is a pipe, a socket or a device"
    return InvalidArgument(f"{argument} must be a file: {reason}. {received(str(path))} Check the path.")


def check_filled(path: str | os.PathLike[str], argument: str) -> int:
    """As `check_file`, and that the file is not empty, which is a ModelError."""
    size = check_file(path, argument)
    if size == 0:
        raise ModelError(f"{argument} must not be an empty file. {received(str(path))} Download or save it again.")
    return size


def check_unpacked(file: BinaryIO, size: int, path: str | os.PathLike[str]) -> None:
    """See that a zip archive does not claim to unpack to far more than it is; other files pass.

    Readers unpack no more of a member than the archive claims for it.

    Args:
        file: the archive; it is read from the start on.
        size: of the archive, in bytes.
        path: where it is, for the message.

    Raises:
        ModelError: it does.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
    except Exception:  # whoever reads it says what it is instead
        return
    finally:
        file.seek(0)
    check_claim(claimed, size, repr(os.fspath(path)), ModelError)


def parsed(text: str | bytes) -> Json:
    """JSON of a model's file.

    Raises:
        ValueError: it is no JSON, or nested more deeply than a model is.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    # level by level and not by calls: a deep value must not end in a RecursionError here
    level, depth = [value], 0
    # Level by level, without recursion, which would fail on just what is looked for.
    while level:
        depth += 1
        if depth > _DEPTH:
            raise ValueError(_TOO_DEEP)
        inside = [x.values() if isinstance(x, dict) else x for x in level if isinstance(x, dict | list)]
        level = [item for items in inside for item in items if isinstance(item, dict | list)]
    return value


class Arrays(NamedTuple):
    """What arrays a file has: how many values in all, and of what kinds, in NumPy's letters for them."""

    values: int = 0
    kinds: frozenset[str] = frozenset()


def check_h5(content: Any, size: int, path: str | os.PathLike[str]) -> Arrays:
    """See that an open HDF5 file has its arrays in itself, and that they are not far more than it is.

    An array of any size takes no room in the file while nothing was written into it.

    Args:
        content: the ``h5py.File``.
        size: of the file, in bytes.
        path: where it is, for the message.

    Raises:
        ModelError: it has other arrays, or reads them from other files.
    """
    import h5py

    claimed, values, kinds = 0, 0, set[str]()
    seen, groups = set[int](), [content]
    while groups:
        group = groups.pop()
        for name in group:
            # The link itself, before what it leads to: to follow it would open the other file.
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                raise _elsewhere(name, path)
            item = group.get(name)
            # links may go in circles, and would be walked for ever
            address = -1 if item is None else h5py.h5o.get_info(item.id).addr  # one thing may have many names
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise _elsewhere(name, path)
                claimed, values = claimed + item.nbytes, values + item.size
                kinds.add(item.dtype.kind)
    check_claim(claimed, size, repr(os.fspath(path)), ModelError)
    return Arrays(values, frozenset(kinds))


def _elsewhere(name: str, path: str | os.PathLike[str]) -> ModelError:
    return ModelError(
        f"the file would read other files when it is loaded: its {name[:80]!r} lies in one. {received(str(path))} "
        "Save the model again, into one file."
    )
