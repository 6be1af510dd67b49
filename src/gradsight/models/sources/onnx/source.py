"""ONNX files, named as such whatever their names end in."""

from __future__ import annotations

from pathlib import Path

from gradsight.models.formats import check_no_weights
from gradsight.models.model import Model
from gradsight.models.sources.onnx.files import INSTALL, load
from gradsight.registry import source


@source(
    "onnx",
    title="a graph in an ONNX file, as a PyTorch module",
    example="model.onnx",
    packages=("torch", "torchvision", "onnx", "onnx2pytorch"),
    install=INSTALL,
)
def onnx(name: str, *, weights: str | None = None) -> Model:
    """Load an ONNX file, see `onnx.files.load`.

    Args:
        name: the path.
        weights: not taken, a model's file holds its weights.

    Raises:
        InvalidArgument: there is no such file, or weights were given.
        MissingDependency: a package is missing.
        ModelError: the file is damaged, or cannot be converted.
    """
    path = Path(name)
    check_no_weights(path, weights)
    return load(path)
