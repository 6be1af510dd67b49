"""What a model of transformers says of itself, looked through before transformers makes anything of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gradsight.errors import InvalidArgument, ModelError, received
from gradsight.files import is_file, is_folder, opened, read_text
from gradsight.foreign import Module
from gradsight.models.claims.bounds import check_counts, check_input
from gradsight.models.claims.packed import check_file, parsed
from gradsight.models.weights import misfits

_WEIGHTS = re.compile(r"(pytorch_)?model\S*\.(safetensors|bin)")  # others are a trainer's
_SIDE = re.compile(r".*(size|height|width|edge|divisor|multiple|crop|pad).*")
_KERNELS = re.compile(r"_?(attn|experts)_implementation\w*")
_LEAST_SHARE = 0.05
_MOST = 10**18
_ODD = ("torch.bool", "torch.complex64", "torch.complex128")
_KINDS = {"BOOL": "bool", "C64": "complex64", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8"}


def check_config(name: str, fetched: Callable[[], Any]) -> None:
    """See that a folder holds files alone, and that a configuration claims nothing that nobody has.

    Args:
        name: of a model, or the path of its folder.
        fetched: gives the configuration of a model that is in no folder, as JSON gives it.

    Raises:
        ModelError: it does, or the configuration would have transformers fetch code and run it.
    """
    if is_folder(name):
        _check_files(name)
        config = parsed(read_text(Path(name, "config.json"), "a configuration", ModelError))
    elif is_file(name):
        raise InvalidArgument(
            f"an hf model must be a name or a folder. {received(name)} Name the folder that it is in."
        )
    else:
        config = fetched()
    check_counts(config, name)
    for key, value in _entries(config):
        if _KERNELS.fullmatch(key) and isinstance(value, str) and "/" in value:
            raise ModelError(
                f"hf model {name[:200]!r} would run code that is fetched from the Hub: its {key[:60]} is "
                f"{value[:100]!r}. Nothing of it was run. Take that out of its config.json."
            )


def _check_files(folder: str) -> None:
    """See that reading the folder's files comes to an end, and that none is a bomb."""
    for path in Path(folder).iterdir():
        if not is_folder(path):
            check_file(path, "model")


def check_sides(config: dict[str, Any], name: str) -> None:
    """See that the pictures that an image processor makes are not larger than models take.

    Args:
        config: what it says of itself.
        name: of the model.

    Raises:
        ModelError: they are.
    """
    sides = [value for key, value in _entries(config) if _SIDE.fullmatch(key) and isinstance(value, int | float)]
    for side in sides:
        if not side <= 1:  # a share is below
            check_input([3, *[_MOST if side != side or side > _MOST else int(side)] * 2], name)
    share = config.get("crop_pct")
    if isinstance(share, int | float) and not share > _LEAST_SHARE:
        raise ModelError(
            f"hf model {name[:200]!r}: its image processor says crop_pct={share}, which is no share to cut."
        )


def _entries(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    """What is in JSON, each with the key above it; what is in a list or a dict also under that one's key."""
    if isinstance(value, dict):
        for inner, item in value.items():
            yield from _entries(item, f"{key}.{inner}" if isinstance(item, int | float) and key else str(inner))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _entries(item, key)
    else:
        yield key, value


def stored_parameters(name: str, weights: str | None) -> float:
    """How many parameters there may be weights for, a byte or more each; infinite where that is known on the Hub."""
    if weights is not None:
        return Path(weights).stat().st_size if is_file(weights) else 0
    return sum(path.stat().st_size for path in _files(name)) if is_folder(name) else float("inf")


def check_kinds(name: str, model: Module) -> None:
    """See that the weights in a folder are of the kind of numbers that the model has.

    Raises:
        ModelError: transformers turned some into others in silence: truth values, complex numbers, integers.
    """
    if not is_folder(name):
        return
    wanted = model.state_dict()
    own = {str(value.dtype) for value in wanted.values()}
    for path in _files(name):
        stored = _without_values(path)
        odd = {key: str(value.dtype) for key, value in stored.items() if hasattr(value, "dtype")}
        # transformers gives some another name when it reads them: of those the kinds that no model has are told
        found = misfits(wanted, stored) or [f"{k} {x[6:]}" for k, x in odd.items() if x in _ODD and x not in own]
        if found:
            raise ModelError(
                f"hf model {name[:200]!r}: its weights must be of the model's kind of numbers, and {len(found)} are "
                f"not ({', '.join(found[:3])}). {received(str(path))} Save them again from the trained model."
            )


def _files(folder: str) -> list[Path]:
    return [path for path in Path(folder).iterdir() if _WEIGHTS.fullmatch(path.name) and is_file(path)]


def _without_values(path: Path) -> dict[str, Any]:
    """The tensors of a file, of no size and of their type."""
    import torch

    # on the meta device no values are read: kinds and names are all that is asked
    if path.suffix != ".safetensors":
        with opened(path, "weights") as file:
            content = torch.load(file, map_location="meta", weights_only=True)
        return dict(content) if isinstance(content, dict) else {}
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        kinds = {key: _KINDS.get(file.get_slice(key).get_dtype(), "float32") for key in file.keys()}  # noqa: SIM118
    return {key: torch.empty(0, dtype=getattr(torch, kind)) for key, kind in kinds.items()}
