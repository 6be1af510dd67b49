"""Read a ``.pt2`` archive without running anything that it carries.

``torch.export.load`` must not be given a file of unknown origin (its own documentation says so). In PyTorch 2.13 it

- unpickles the sample inputs, falling back to full unpickling when the safe one fails (``deserialize_torch_artifact``);
- unpickles weights and constants that are marked ``use_pickle``, opaque objects, and TorchBind objects;
- hands the expressions of dynamic shapes to ``sympy.sympify``, which evaluates them as Python;
- imports whatever module a tree spec names (for an enum or a ``defaultdict``);
- loads the shared libraries of an AOTInductor package;
- writes names from the file into Python source, which FX executes;
- resolves operators by name, also those that map or write files (``aten::from_file``).

So the archive is read here first, by the same reader, and loaded only if every record and every string in it is of a
kind that does none of these. What is not known is refused. This guards against code in the file; PyTorch's own
operators are trusted to check their arguments.
"""

from __future__ import annotations

import io
import logging
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from gradsight.errors import GradsightError, MissingDependency, ModelError, one_line, received
from gradsight.files import opened
from gradsight.models.claims.packed import check_file, check_unpacked, parsed
from gradsight.models.sources.pt2.expressions import is_harmless
from gradsight.models.sources.pt2.operators import may_be_called

if TYPE_CHECKING:
    from torch.export import ExportedProgram


_RECORDS = re.compile(
    r"data/weights/(weight_\d+|model_weights_config\.json)|data/constants/(tensor_\d+|model_constants_config\.json)|"
    r"models/model\.json|data/sample_inputs/model\.pt|archive_format|archive_version|byteorder|\.data/\w+|extra/[\w./-]+"
)
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_SAMPLES = "data/sample_inputs/model.pt"
_IDENTIFIER = re.compile(r"(?!__)\w*")
_PLAIN = re.compile(r"[\w.@+ -]*")
_STACK = re.compile(r"[\w.@<>,; -]*")
_TREES = ("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
# text that is stored, compared or shown, and never parsed: metadata, guards (unflatten does not use them), string
# arguments of operators
_FREE = ("stack_trace", "torch_fn", "source_fn_stack", "from_node", "custom", "guards_code", "as_string", "as_strings")
_RULES = {
    "name": _IDENTIFIER,
    "as_name": _IDENTIFIER,
    "forward_arg_names": _IDENTIFIER,
    "nn_module_stack": _STACK,
}
_AGAIN = "Export it again with the installed PyTorch: torch.export.save(torch.export.export(model, (example,)), path)."
_TRUST = (
    "If you trust where it comes from, load it yourself, torch.export.unflatten(torch.export.load(path)), and hand the "
    "module to gs.Explainer."
)


class _Refused(Exception):
    """What in the archive is not known to be harmless."""


def load_program(path: Path) -> ExportedProgram:
    """Load a ``torch.export.ExportedProgram``, once the archive is known to carry nothing that would run.

    Raises:
        MissingDependency: PyTorch is too old to tell what an archive holds.
        ModelError: the file is no such archive, is damaged, or holds what could run code.
    """
    import torch

    check_file(path, "model")
    with opened(path, "a model") as file:
        try:
            _check(file, path)
            file.seek(0)
            with _quiet("torch.export"), _quiet("torch.fx.experimental.symbolic_shapes"):
                return torch.export.load(file)
        except _Refused as refusal:
            raise ModelError(
                f"model: this .pt2 file could run code when it is loaded: {refusal}. Nothing of it was run. "
                f"{received(str(path))} {_TRUST}"
            ) from None
        except GradsightError:
            raise
        except Exception as error:  # damaged bytes end in almost any exception
            raise ModelError(
                f"model: the .pt2 file cannot be read: {one_line(error)}. {received(str(path))} {_AGAIN}"
            ) from error


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep PyTorch from logging the traceback of an error that is reported in one line anyway."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _check(file: BinaryIO, path: Path) -> None:
    try:
        from torch.export.pt2_archive import PT2ArchiveReader
    except ImportError as error:
        raise MissingDependency(
            f"A .pt2 file needs PyTorch 2.9 or newer: {error}. Run: pip install --upgrade torch"
        ) from error

    # what this reader fails on, torch.export.load gives to the loader of an older format, which reads files beside
    # the folder that this reader lists: there must be none
    with zipfile.ZipFile(file) as archive:
        # PyTorch 2.8 and older kept the tensors as torch.save writes them, that is as pickles
        if "version" in archive.namelist():
            raise _Refused("it holds pickles, as PyTorch 2.7 and older saved it")
    file.seek(0)
    reader = PT2ArchiveReader(file)
    for record in reader.get_file_names():
        if not _RECORDS.fullmatch(record):
            compiled = record.startswith("data/aotinductor")
            raise _Refused("it is compiled (AOTInductor)" if compiled else f"it holds {record[:80]!r}")
    for record in _CONFIGS:
        _check_payloads(parsed(reader.read_string(record)))
    _check_strings(parsed(reader.read_string("models/model.json")), "")
    _check_samples(reader.read_bytes(_SAMPLES), path)


def _check_payloads(config: Any) -> None:
    for name, payload in config["config"].items():
        if payload["use_pickle"] is not False or not re.fullmatch(r"(weight|tensor)_\d+", payload["path_name"]):
            raise _Refused(f"the value of {name[:80]!r} is a pickle")
    _check_strings(config, "")


def _check_samples(content: bytes, path: Path) -> None:
    import pickle

    import torch

    check_unpacked(io.BytesIO(content), len(content), path)
    try:
        if content:
            torch.load(io.BytesIO(content), weights_only=True)
    except pickle.UnpicklingError:
        raise _Refused("its sample inputs are a pickle that holds more than tensors") from None


def _check_strings(value: Any, key: str) -> None:
    """Walk JSON; ``key`` is the nearest one above. A rule belongs to a key, and keys without one get the plain rule."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if not _PLAIN.fullmatch(name):
                raise _Refused(f"the name {name[:80]!r}")
            _check_strings(inner, name)
    elif isinstance(value, list):
        for inner in value:
            _check_strings(inner, key)
    elif isinstance(value, str) and key in ("in_spec", "out_spec"):
        _check_tree(parsed(value)[1])
    elif isinstance(value, str) and key in ("target", "as_operator"):
        if not may_be_called(value):
            raise _Refused(f"it calls {value[:80]!r}, which is not among the operators that only compute")
    elif isinstance(value, str) and key == "expr_str":
        if not is_harmless(value):
            raise _Refused(f"the expression {value[:80]!r}")
    elif isinstance(value, str) and key not in _FREE and not _RULES.get(key, _PLAIN).fullmatch(value):
        raise _Refused(f"{key or 'text'} {value[:80]!r}")


def _check_tree(spec: Any) -> None:
    context = parsed(spec["context"] or "null") if spec["type"] else None
    plain = context is None or (isinstance(context, list) and all(isinstance(item, (str, int)) for item in context))
    if spec["type"] not in (None, *_TREES) or not plain:
        raise _Refused(f"an input or output of type {str(spec['type'])[:80]!r}")
    for child in spec["children_spec"]:
        _check_tree(child)
