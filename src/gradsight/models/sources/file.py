"""Models from files, by suffix."""

from __future__ import annotations

from pathlib import Path

from gradsight.errors import GradsightError, InvalidArgument, received
from gradsight.files import is_file
from gradsight.models.claims.packed import check_file, no_file
from gradsight.models.formats import check_no_weights, known_suffixes, reader_of
from gradsight.models.model import Model
from gradsight.models.weights import SUFFIXES, check_torch, read_weights
from gradsight.registry import source

_PT2 = "torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2')"


def is_model_file(path: str) -> bool:
    """Whether a path's suffix is one of a model's or of weights, whether or not the file exists."""
    return Path(path).suffix.lower() in (*known_suffixes(), *SUFFIXES)


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
        MissingDependency: what the file needs is not installed: PyTorch, Keras 3 and its backend, or onnx2pytorch.
        ModelError: the file is damaged, would run code, or cannot be converted.
    """
    path = Path(name)
    if not is_file(path):
        raise _no_file(path)
    check_file(path, "model")
    read = reader_of(path)
    if read is None:
        raise _no_architecture(path)
    check_no_weights(path, weights)
    return read(path)


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
            f"model must be a file of a known kind: {', '.join(known_suffixes())}. {received(str(path))} "
            f"Export the model: {_PT2}"
        )
    check_torch(path)
    number = len(read_weights(path))
    return InvalidArgument(
        f"model: this file holds {number} tensors and no architecture. {received(str(path))} "
        f"Name both: --model package.module:function --weights {path}"
    )
