"""Data sets that are files in folders: the files are read, and not what the data sets make of them for a model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from gradsight.runs.item import Item, Label
from gradsight.runs.sources.indexed import classes_of
from gradsight.runs.sources.labels import label_of
from gradsight.runs.sources.paths import item_of
from gradsight.runs.sources.photos import described
from gradsight.runs.sources.source import Given, Source, source_of
from gradsight.values import has, items_in

_Files: TypeAlias = Sequence[tuple[str, Label | None]]


def found(given: Given) -> Source | None:
    """A data set that says its files: torchvision's `ImageFolder`, or Keras's `image_dataset_from_directory`.

    A subset of one is its files too, and of a `torch.utils.data.DataLoader` its data set is read, in that order: a
    loader may shuffle, and a run that goes on needs each photo under the same key.
    """
    value = given.value
    if has(value, "dataset", "batch_size", "collate_fn"):
        return source_of(Given(value.dataset, given.leave_out))  # type: ignore[attr-defined]
    files = _files(value)
    if files is None:
        return None
    # Paths mean what they mean now, wherever the process is when they are read.
    here = os.getcwd()
    return Source(described(value, len(files)), lambda: _items(files, here), len(files))


def _items(files: _Files, here: str) -> Iterator[Item]:
    for path, label in files:
        yield item_of(path, label, here)


def _files(value: object) -> _Files | None:
    if has(value, "dataset", "indices"):
        whole = _files(value.dataset)  # type: ignore[attr-defined]
        chosen = items_in(value.indices, 1 << 32)  # type: ignore[attr-defined]
        return None if whole is None or chosen is None else [whole[int(i)] for i in chosen]
    if has(value, "samples", "classes"):
        return _of_samples(value.samples, value)  # type: ignore[attr-defined]
    if has(value, "file_paths", "class_names"):
        return _of_paths(value.file_paths, value.class_names)  # type: ignore[attr-defined]
    return None


def _of_samples(samples: object, value: object) -> _Files | None:
    """The files of pairs of a path and the number of a class."""
    if not isinstance(samples, list) or not all(isinstance(each, tuple) and len(each) == 2 for each in samples):
        return None
    names = classes_of(value)
    return [(os.fsdecode(path), label_of(number, names)) for path, number in samples if isinstance(path, str)]


def _of_paths(paths: object, names: object) -> _Files | None:
    """The files in folders that are called like classes."""
    if not isinstance(paths, list | tuple) or not isinstance(names, list | tuple):
        return None
    folders = [(path, os.path.basename(os.path.dirname(path))) for path in paths if isinstance(path, str)]
    return [(path, folder if folder in names else None) for path, folder in folders]
