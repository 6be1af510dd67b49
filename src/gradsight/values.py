"""Values of any framework as those of Python and NumPy, also where an object only looks like one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING, Any, cast

from gradsight.foreign import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST = 1 << 20
"""A sequence may have so many items. A generator may never end."""


def array_in(value: object) -> NDArray[Any] | None:
    """An array or tensor of any framework, or nested lists of numbers, as a NumPy array; None for anything else."""
    import numpy as np  # here, since the help of the command line needs none

    try:
        plain: Array = value.detach().cpu() if hasattr(value, "detach") else value
        if "bfloat16" in str(getattr(plain, "dtype", "")):  # NumPy has none
            plain = plain.float() if hasattr(plain, "float") else plain.astype("float32")
        return np.asarray(plain)
    except Exception:  # ragged lists, tensors without values, objects that fail
        return None


def has(value: object, *names: str) -> bool:
    """Whether a value has all these attributes. If asking for one fails, it has not."""
    try:
        return all(hasattr(value, name) for name in names)
    except Exception:  # an object of the user's own, with a ``__getattr__`` of its own
        return False


def number_in(value: object) -> object:
    """The number in an array without axes, of any framework; anything else as it is."""
    if isinstance(value, str | type) or not has(value, "shape"):
        return value
    array = cast(Array, value)
    try:
        return array.item() if tuple(array.shape) == () else value
    except Exception:  # a tensor without values, or an object that only looks like one
        return value


def items_in(value: object, most: int = LONGEST) -> list[Any] | None:
    """The items of a list, a tuple, a range, a generator or an array; None for texts, mappings, sets and what fails.

    So it is for more than ``most`` items.
    """
    if isinstance(value, str | bytes | bytearray | Mapping | Set | type):
        return None
    try:
        items = list(itertools.islice(iter(cast(Iterable[object], value)), most + 1))
    except Exception:  # no iterable, or one that fails
        return None
    return items if len(items) <= most else None
