"""The options that commands share, in groups. A new one is a field of a group.

A command asks for a group by a parameter of its type (`groups.grouped`). What the texts mean is in `parsing`.
"""

from gradsight.cli.options.model import ClassifierOptions, LabelledModelOptions, ModelOptions, PictureOptions
from gradsight.cli.options.panels import MODEL, PICTURE, RESULT, WHAT
from gradsight.cli.options.result import (
    DrawingOptions,
    FileOptions,
    FolderOptions,
    Image,
    Images,
    JsonOptions,
    Look,
    PhotosOptions,
    ReplyOptions,
    ViewOptions,
)
from gradsight.cli.options.what import AxesOptions, LookOptions, TargetOptions

__all__ = [
    "MODEL",
    "PICTURE",
    "RESULT",
    "WHAT",
    "AxesOptions",
    "ClassifierOptions",
    "DrawingOptions",
    "FileOptions",
    "FolderOptions",
    "Image",
    "Images",
    "JsonOptions",
    "LabelledModelOptions",
    "Look",
    "LookOptions",
    "ModelOptions",
    "PhotosOptions",
    "PictureOptions",
    "ReplyOptions",
    "TargetOptions",
    "ViewOptions",
]
