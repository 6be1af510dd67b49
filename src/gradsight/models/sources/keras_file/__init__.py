"""Keras models in files."""

from gradsight.models.sources.keras_file.files import load

__all__ = ["load"]
