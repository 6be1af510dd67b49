"""Files of weights. Only tensors are read from them: a file that would run code is refused, and nothing of it runs."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from gradsight.errors import MissingDependency, ModelError, one_line, received
from gradsight.files import exists, opened
from gradsight.foreign import Module
from gradsight.models.claims.packed import check_filled

if TYPE_CHECKING:
    import torch


SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)|for unrecognized function <?(?:built-in )?(?:function |class )?'?([\w.]+)")
_SAME = "Build the very architecture that the file was saved from: --model package.module:function --weights FILE."
_TRUST = (
    "If you trust where it comes from, load it yourself with torch.load(path, weights_only=False) and hand the module "
    "to gs.Explainer."
)


def load_weights(model: Module, path: str | PathLike[str]) -> None:
    """Put the weights of a file into a torch module: all of them, or an error.

    A dict around them (``{"state_dict": ...}``) and what wrappers put before all names (``module.``, ``_orig_mod.``,
    a LightningModule's ``model.`` or ``net.``) are taken off where the rest then fits.

    Args:
        model: a ``torch.nn.Module``; half loaded after an error.
        path: a state dict saved by PyTorch or as safetensors.

    Raises:
        InvalidArgument: there is no such file.
        MissingDependency: it is a safetensors file and that package is not installed.
        ModelError: the file would run code, holds no weights, or does not fit the model.
    """
    state = read_weights(path)
    expected = set(model.state_dict())
    # which prefix is a wrapper's is not known: the one under which most names fit is taken
    best = max(_without_prefixes(state), key=lambda names: len(expected & names.keys()))
    problems = [*_differing(model, best), *_few("of another kind of numbers", misfits(model.state_dict(), best))]
    if not problems:
        problems = _put_into(model, best)
    if problems:
        raise ModelError(
            f"weights must fit {type(model).__name__}: {'; '.join(problems)}. {received(str(path))} {_SAME}"
        )


def check_torch(path: Path) -> None:
    """See that PyTorch is installed, which a file needs.

    Raises:
        MissingDependency: it is not.
    """
    if find_spec("torch") is None:
        raise MissingDependency(
            f"A {path.suffix.lower()} file needs PyTorch, which is not installed. Run: pip install 'gradsight[torch]'"
        )


def names_file(weights: str) -> bool:
    """Whether ``weights`` is meant as a file, which need not be there, rather than as a name that a source knows."""
    return exists(weights) or Path(weights).suffix.lower() in SUFFIXES


def read_weights(path: str | PathLike[str]) -> dict[str, torch.Tensor]:
    """Read a file's tensors by name, whatever dict they are wrapped in; nothing in the file is executed.

    Raises:
        InvalidArgument: there is no such file.
        MissingDependency: it is a safetensors file and that package is not installed.
        ModelError: the file would run code, is damaged, or holds no weights.
    """
    return _unwrapped(_content(path), Path(path))


def hyperparameters(path: str | PathLike[str]) -> dict[str, Any]:
    """What a LightningModule was made with, as its checkpoint says (``save_hyperparameters``); empty if it does not.

    Raises:
        InvalidArgument, MissingDependency, ModelError: as `read_weights`.
    """
    content = _content(path)
    found = content.get("hyper_parameters") if isinstance(content, Mapping) else None
    return {str(k): v for k, v in found.items() if k != "_instantiator"} if isinstance(found, Mapping) else {}


def _content(path: str | PathLike[str]) -> object:
    file = Path(path)
    check_filled(file, "weights")
    return _safetensors(file) if file.suffix.lower() == ".safetensors" else _torch(file)


def _safetensors(file: Path) -> dict[str, torch.Tensor]:
    try:
        import safetensors.torch
    except ImportError as error:
        raise MissingDependency(
            f"weights in a .safetensors file need safetensors: {error}. Run: pip install safetensors"
        ) from error
    try:
        return safetensors.torch.load_file(file)
    except Exception as error:  # a SafetensorError, or what it is not prepared for: a type that PyTorch lacks ...
        raise _damaged(file, error) from error


def _torch(file: Path) -> object:
    import pickle

    import torch

    try:
        # Asked first: the error of torch.load would not say what to do with such a file.
        if _is_torchscript(file):
            raise ModelError(
                f"weights must be a state dict, and this is a TorchScript archive, whose layers cannot be seen. "
                f"{received(str(file))} Save model.state_dict() of the source module, or export it: "
                "torch.export.save(...)."
            )
        # On the CPU: a file from a machine with a GPU names that, and this machine may have none.
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch says only in the text of its error what the file asked for.
        found = _GLOBAL.search(str(error))
        if found is None:
            raise _damaged(file, RuntimeError("PyTorch cannot read it")) from error
        raise ModelError(
            f"weights must hold tensors alone, and this file would run code: it asks for {found[1] or found[2]!r} when "
            f"it is read. Nothing of it was run. {received(str(file))} {_TRUST}"
        ) from error
    except ModelError:
        raise
    except Exception as error:  # damaged bytes end in almost any exception: EOFError, KeyError, RuntimeError ...
        raise _damaged(file, error) from error


def _is_torchscript(file: Path) -> bool:
    with opened(file, "weights") as content:
        # a zip file, as PyTorch has written since 1.6; older ones are a bare pickle
        if content.read(2) != b"PK":
            return False
        with zipfile.ZipFile(content) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _damaged(file: Path, error: Exception) -> ModelError:
    return ModelError(
        f"weights cannot be read, the file is damaged or of another kind: {one_line(error)}. {received(str(file))} "
        "Give a state dict saved by torch.save or as .safetensors."
    )


def _unwrapped(content: object, file: Path) -> dict[str, torch.Tensor]:
    import torch

    def weights(value: object) -> TypeGuard[Mapping[str, torch.Tensor]]:
        return isinstance(value, Mapping) and any(isinstance(item, torch.Tensor) for item in value.values())

    if not weights(content) and isinstance(content, Mapping):
        content = next((content[key] for key in _WRAPPERS if weights(content.get(key))), content)
    if not weights(content) or not all(isinstance(name, str) for name in content):
        raise ModelError(
            f"weights must be tensors by name. {received(content)} From {str(file)!r}. Save model.state_dict()."
        )
    return dict(content)


def _without_prefixes(state: dict[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
    """The weights as they are, then with one wrapper's prefix after the other taken off."""
    yield state
    while len(first := {name.partition(".")[0] for name in state}) == 1 and all("." in name for name in state):
        prefix = first.pop() + "."
        state = {name.removeprefix(prefix): value for name, value in state.items()}
        yield state


def _put_into(model: Module, state: dict[str, torch.Tensor]) -> list[str]:
    """Load the tensors into the module; return what does not fit, in words."""
    try:
        # strict=False only because the lists it returns read better than its exception
        result = model.load_state_dict(state, strict=False)
    except Exception as error:  # tensors that cannot be copied from: sparse, quantised, without values ...
        return [one_line(error)]
    return [*_few("missing", result.missing_keys), *_few("unexpected", result.unexpected_keys)]


def _differing(model: Module, state: dict[str, torch.Tensor]) -> list[str]:
    have = {name: tuple(getattr(value, "shape", ())) for name, value in state.items()}
    want = {name: tuple(getattr(value, "shape", ())) for name, value in model.state_dict().items()}
    return list(
        _few(
            "of another shape",
            [f"{name} {have[name]} for {want[name]}" for name in want if name in have and have[name] != want[name]],
        )
    )


def misfits(wanted: Mapping[str, torch.Tensor], stored: Mapping[str, torch.Tensor]) -> list[str]:
    """Stored tensors that PyTorch would turn into another kind of numbers in silence, as "name int8 for float32".

    Args:
        wanted: a module's tensors by name.
        stored: those that are to be put into it; those of other names do not count.
    """

    def kind(tensor: torch.Tensor) -> str:
        if tensor.is_complex():
            return "c"
        if str(tensor.dtype) == "torch.bool":
            return "b"
        return "f" if tensor.is_floating_point() else "i"

    # Counts are stored as floats by some converters, and a mask as 0 and 1; the rest would lose what it says.
    fitting = {"f": "f", "c": "cf", "i": "if", "b": "bi"}
    return [
        f"{name} {str(stored[name].dtype).removeprefix('torch.')} for {str(wanted[name].dtype).removeprefix('torch.')}"
        for name in wanted
        if name in stored and hasattr(stored[name], "dtype") and kind(stored[name]) not in fitting[kind(wanted[name])]
    ]


def _few(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    return [f"{len(names)} {what} ({', '.join(name[:100] for name in names[:3])}{', ...' if len(names) > 3 else ''})"]
