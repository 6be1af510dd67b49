"""Models in ONNX files."""

from gradsight.models.sources.onnx.source import onnx

__all__ = ["onnx"]
