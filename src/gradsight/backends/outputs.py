"""What a model gives, on any framework: a tensor, a dict, a tuple, an object with named parts, or nests of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np

from gradsight.foreign import Array, Outputs

Path: TypeAlias = tuple[str | int, ...]
"""The keys, names and numbers that lead to a tensor in an output."""

SCORE_NAMES = ("logits", "logits_per_image", "out", "scores", "output", "predictions")
"""What class scores are called, the likeliest first."""

# What is called by one of these is no score of a class.
_OTHERS = ("embed", "feat", "pool", "hidden", "state", "aux", "attention", "attn", "key_value", "loss")


class Entry(NamedTuple):
    """One tensor in an output.

    Attributes:
        path: the keys, names and numbers that lead to it.
        tensor: it.
    """

    path: Path
    tensor: Array

    @property
    def rank(self) -> int:
        """Its place among the names of class scores; those with other names come after them."""
        name = self.path[-1] if self.path else ""
        return SCORE_NAMES.index(name) if name in SCORE_NAMES else len(SCORE_NAMES)

    @property
    def is_other(self) -> bool:
        """Its name says that it is no score of a class."""
        names = [part.lower() for part in self.path if isinstance(part, str)]
        return any(word in name for name in names for word in _OTHERS)

    @property
    def is_floating(self) -> bool:
        """It holds floating-point numbers."""
        return "float" in str(self.tensor.dtype)


def entries(outputs: Outputs, path: Path = ()) -> Iterator[Entry]:
    """The tensors in an output, in its own order; but the predictions that a detector has chosen."""
    if is_tensor(outputs):
        yield Entry(path, outputs)
    elif isinstance(outputs, Mapping):  # as outputs of transformers are
        for key, value in outputs.items():
            yield from entries(value, (*path, key))
    elif isinstance(outputs, list | tuple):
        for name, value in zip(getattr(outputs, "_fields", range(len(outputs))), outputs, strict=True):
            if not _is_chosen(value):
                yield from entries(value, (*path, name))
    elif not path:
        for name in _attributes(outputs):
            yield from entries(getattr(outputs, name, None), (name,))


def _is_chosen(value: Outputs) -> bool:
    """Whether a value holds the predictions that a detector has chosen in one image, boxes (q, 4) among them."""
    return isinstance(value, Mapping) and getattr(value.get("boxes"), "ndim", None) == 2


def at(outputs: Outputs, path: Path) -> Outputs:
    """What a path leads to."""
    for part in path:
        by_name = isinstance(part, str) and not isinstance(outputs, Mapping)
        outputs = getattr(outputs, str(part)) if by_name else outputs[part]
    return outputs


def spelled(outputs: Outputs, path: Path) -> str:
    """A path as it is written in Python: ``outputs["head"][1]``."""
    text = "outputs"
    for part in path:
        by_name = isinstance(part, str) and not isinstance(outputs, Mapping)
        text, outputs = f"{text}.{part}" if by_name else f"{text}[{part!r}]", at(outputs, (part,))
    return text


_LIKE_TENSORS = ("ndim", "shape", "dtype")


def is_tensor(value: object) -> bool:
    """Whether a value is a framework's array; NumPy's own carry no gradient."""
    told = _are_tensors(type(value))  # type: ignore[arg-type]  # mypy takes a class for one of its objects
    return all(hasattr(value, name) for name in _LIKE_TENSORS) if told is None else told


@lru_cache(maxsize=64)
def _are_tensors(kind: type) -> bool | None:
    """Whether all values of a class are tensors; None where only a value itself tells, by attributes of its own."""
    if issubclass(kind, Mapping | np.ndarray | np.generic):
        return False
    return all(hasattr(kind, name) for name in _LIKE_TENSORS) or None


def describe(outputs: Outputs) -> str:
    """An output in words: its type, and shapes where it has any."""
    if is_tensor(outputs):
        dtype = getattr(outputs.dtype, "name", None) or str(outputs.dtype)
        return f"a tensor of shape {tuple(outputs.shape)}, dtype {dtype}"
    if isinstance(outputs, Mapping):
        return f"{type(outputs).__name__} with {', '.join(f'{k}: {describe(v)}' for k, v in outputs.items())}"
    if isinstance(outputs, list | tuple):
        return f"{type(outputs).__name__} of {', '.join(map(describe, outputs)) or 'nothing'}"
    return type(outputs).__name__


def _attributes(value: Outputs) -> Sequence[str]:
    own = [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
    return [*own, *(name for name in SCORE_NAMES if name not in own)]
