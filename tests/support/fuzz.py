"""Damage to files, drawn from a seed."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 2**40, 10**400, 1e308, -1e308, 5e-324, float("nan"), float("inf"), "", "7", "\x1b[2J",
    "\ud800", "x" * 200_000, [], {}, [[]], [None], {"a": 1}, [1, 2, 3, 4, 5],
)  # fmt: skip
"""Values that JSON can hold, and that are hardly ever right."""


def bytes_of(content: bytes, draw: random.Random) -> bytes:
    """A few bytes changed, cut off, doubled, or taken out."""
    made = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        at = draw.randrange(len(made) or 1)
        kind = draw.randrange(5)
        if kind == 0:
            made[at : at + 1] = bytes([draw.randrange(256)])
        elif kind == 1:
            made[at : at + 4] = draw.choice((b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff", b"\0\0\1\0"))
        elif kind == 2:
            del made[at : at + draw.choice((1, 9, 400))]
        elif kind == 3:
            made[at:at] = made[at : at + draw.choice((1, 50))]
        else:
            del made[max(at, 1) :]
    return bytes(made)


def json_of(value: Any, draw: random.Random) -> Any:
    """JSON with one thing in it changed: another value, one more, one less, or two in each other's place."""
    value = json.loads(json.dumps(value))
    places: list[tuple[Any, Any]] = []

    def walk(inner: Any) -> None:
        for key in inner if isinstance(inner, dict) else range(len(inner)):
            places.append((inner, key))
            if isinstance(inner[key], dict | list):
                walk(inner[key])

    walk(value)
    holder, key = draw.choice(places)
    kind = draw.randrange(4)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.append(holder[key])
    elif kind == 2:
        other, its = draw.choice(places)
        holder[key] = json.loads(json.dumps(other[its])) if its in other or isinstance(other, list) else None
    else:
        holder[key] = draw.choice(ODD)
    return value


def array_of(array: Any, draw: random.Random) -> Any:
    """An array of another shape, type, or with odd values."""
    kind = draw.randrange(6)
    if kind == 0 and array.ndim:
        return array[:-1]
    if kind == 1:
        return array[None]
    if kind == 2:
        return array.reshape(-1)
    if kind == 3:
        return array.astype(draw.choice(("f2", ">f4", "f8", "i8", "u1", "c8", "?", "U3", "M8[s]")))
    if kind == 4 and array.dtype.kind == "f" and array.size:
        changed = array.copy()
        changed.flat[draw.randrange(array.size)] = draw.choice((np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45))
        return changed
    return np.moveaxis(array, 0, -1) if array.ndim > 1 else np.concatenate([array, array])


def npz_of(content: bytes, draw: random.Random) -> bytes:
    """A result's file, damaged in its bytes, in the bytes of one array, in its JSON, or in one array."""
    kind = draw.randrange(4)
    if kind == 0:
        return bytes_of(content, draw)
    if kind == 1:
        return _with_entry(content, draw, lambda data: bytes_of(data, draw))
    with np.load(BytesIO(content)) as file:
        arrays = dict(file.items())
    name = draw.choice(sorted(arrays))
    if kind == 2 or name == "about":
        arrays["about"] = np.array(json.dumps(json_of(json.loads(str(arrays["about"])), draw)))
    elif draw.random() < 0.1:
        del arrays[name]
    else:
        arrays[name] = array_of(arrays[name], draw)
    made = BytesIO()
    np.savez_compressed(made, **arrays)
    return made.getvalue()


def _with_entry(content: bytes, draw: random.Random, change: Callable[[bytes], bytes]) -> bytes:
    made = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        chosen = draw.choice(old.namelist())
        for name in old.namelist():
            new.writestr(name, change(old.read(name)) if name == chosen else old.read(name))
    return made.getvalue()
