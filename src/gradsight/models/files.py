"""Models from files, by suffix."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gradsight.errors import GradsightError, InvalidArgument, MissingDependency, ModelError, one_line, received
from gradsight.files import is_file
from gradsight.imaging import PARTS, Preprocess
from gradsight.models import archive
from gradsight.models.claims import check_input
from gradsight.models.keras import files as keras_files
from gradsight.models.model import Model
from gradsight.models.onnx import files as onnx_files
from gradsight.models.packed import check_file, no_file
from gradsight.models.preprocess import GREY
from gradsight.models.weights import SUFFIXES, read_weights
from gradsight.registry import source

_INSTALL = "pip install 'gradsight[torch]'"
_PT2 = "torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2')"


def is_model_file(path: str) -> bool:
    """Whether a path's suffix is one of a model's, whether or not the file exists."""
    return Path(path).suffix.lower() in (".pt2", onnx_files.SUFFIX, *keras_files.SUFFIXES, *SUFFIXES)


@source(
    "file",
    title="a model saved by torch.export (.pt2) or by Keras (.keras, .h5)",
    example="model.pt2",
)
def load(name: str, *, weights: str | None = None) -> Model:
    """Load a model from a file.

    Nothing says how a ``.pt2`` file wants its pictures: the size is that of its example input where it is fixed, the
    rest ImageNet's usual preprocessing (`Preprocess()`), marked as assumed. A Keras file says as little: see
    `preprocess_of` for what it gets. Classes have no names in either. An ``.onnx`` file gets the same as a ``.pt2``
    file, unless its graph scales pixels itself, and has names where Ultralytics wrote them. A model whose input is no
    batch of photos has no preprocessing.

    Args:
        name: the path.
        weights: not taken, a model's file holds its weights.

    Raises:
        InvalidArgument: no such file, a format that is not read, or one that holds weights without an architecture.
        MissingDependency: what the file needs is not installed: PyTorch, Keras 3 and its engine, or onnx2pytorch.
        ModelError: the file is damaged, would run code, or cannot be converted.
    """
    path, suffix = Path(name), Path(name).suffix.lower()
    if not is_file(path):
        raise _no_file(path)
    check_file(path, "model")
    if suffix in keras_files.SUFFIXES:
        return keras_files.load(path, weights)
    if suffix == onnx_files.SUFFIX:
        return onnx_files.load(path, weights)
    if suffix in (".pt2", *SUFFIXES) and find_spec("torch") is None:
        raise MissingDependency(f"A {suffix} file needs PyTorch, which is not installed. Run: {_INSTALL}")
    if suffix == ".pt2":
        if weights is not None:
            raise InvalidArgument(
                f"weights do not go with a .pt2 file, it holds its own. {received(weights)} Leave it out."
            )
        return _exported(path)
    raise _no_architecture(path)


def _no_file(path: Path) -> GradsightError:
    if is_file(path / "saved_model.pb"):
        return InvalidArgument(
            f"model must be a file: it is a folder, a TensorFlow SavedModel, whose layers cannot be seen. "
            f"{received(str(path))} Save the Keras model that it was made from: model.save('model.keras')."
        )
    if is_file(path / "adapter_config.json"):
        return InvalidArgument(
            f"model must be a file: it is a folder, an adapter of PEFT, which needs its base model. "
            f"{received(str(path))} Put them together in a function, PeftModel.from_pretrained(base, folder): "
            "--model package.module:function."
        )
    return no_file(path, "model")


def _no_architecture(path: Path) -> InvalidArgument:
    """The error for a file of weights alone; one that cannot be read, or would run code, has its own."""
    if path.suffix.lower() not in SUFFIXES:
        return InvalidArgument(
            f"model must be a file of a known kind: .pt2, {onnx_files.SUFFIX}, {', '.join(keras_files.SUFFIXES)}. "
            f"{received(str(path))} Export the model: {_PT2}"
        )
    number = len(read_weights(path))
    return InvalidArgument(
        f"model: this file holds {number} tensors and no architecture. {received(str(path))} "
        f"Name both: --model package.module:function --weights {path}"
    )


def _exported(path: Path) -> Model:
    import torch

    program = archive.load_program(path)
    if _trains(program):
        raise ModelError(
            f"model must be exported in evaluation mode, and this one has batch norm or dropout in training mode. "
            f"{received(str(path))} Export it again: {_PT2}"
        )
    try:
        # forward hooks fire in the unflattened modules only, not in program.module()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PyTorch 2.13 warns of what it does itself when it copies
            model = torch.export.unflatten(program)
    except Exception as error:
        raise ModelError(
            f"model: the exported program cannot be rebuilt: {one_line(error)}. "
            f"{received(str(path))} Export it again with the installed PyTorch."
        ) from error
    shape = _input_shape(program)
    check_input(shape[1:], str(path))
    return Model(model, _preprocess(shape), None)


def _trains(program: Any) -> bool:
    for node in program.graph.nodes:
        arguments = getattr(getattr(node.target, "_schema", None), "arguments", ())
        if any(a.name in ("train", "training") and v is True for a, v in zip(arguments, node.args, strict=False)):
            return True
    return False


def _input_shape(program: Any) -> tuple[int | None, ...]:
    """The first input's shape, None for a size that may vary."""
    first = next(iter(program.graph_signature.user_inputs), None)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name == first:
            shape = getattr(node.meta.get("val"), "shape", ())
            return tuple(side if isinstance(side, int) else None for side in shape)
    return ()


def _preprocess(shape: tuple[int | None, ...]) -> Preprocess | None:
    if len(shape) != 4 or shape[1] not in (1, 3):
        return None
    height, width = (side or 224 for side in shape[2:])
    assumed = PARTS if None in shape[2:] else PARTS[1:]
    if shape[1] == 1:
        return Preprocess(size=(height, width), mean=GREY[0], std=GREY[1], assumed=assumed)
    return Preprocess(size=(height, width), assumed=assumed)
