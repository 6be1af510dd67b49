"""Photos with what is known of each: what is explained of it, and where the things are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gradsight.annotations import Annotations, Marks, classes_of, matched, read_boxes, read_class_map, read_masks
from gradsight.annotations.labels import ClassMap
from gradsight.errors import InvalidArgument, InvalidType, received
from gradsight.evaluating.targets import Choices
from gradsight.files import is_folder
from gradsight.photos import Photo, find_photos
from gradsight.targets import TargetLike, class_index

Label: TypeAlias = int | str

Classes: TypeAlias = Mapping[str, tuple[int, ...]]
"""For each label of a box the classes that it means."""


@dataclass(frozen=True, eq=False)
class Item:
    """A photo, and what is known of it.

    Attributes:
        name: what it is called.
        source: what is read.
        choices: the classes of its targets; empty where targets are the same for all.
        target: its own target, where a list of them was given.
        marks: where its things are; None where nothing is known.
        labels: for each of ``choices`` the label of its boxes; empty where all boxes of the target's class are meant.
    """

    name: str
    source: object
    choices: Choices = ()
    target: TargetLike | None = None
    marks: Marks | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of photos beside themselves.

    Attributes:
        annotations: boxes or masks; None where there are none.
        classes: what the labels of boxes mean.
        by_boxes: the targets are the classes of the boxes.
        problems: what is wrong, in words.
    """

    annotations: Annotations | None = None
    classes: Classes | None = None
    by_boxes: bool = False
    problems: tuple[str, ...] = ()

    @property
    def masks(self) -> bool:
        """Masks are known, and no boxes."""
        return self.annotations is not None and any(marks.mask for marks in self.annotations.of.values())


def known_of(
    boxes: Annotations | str | os.PathLike[str] | None,
    masks: Annotations | str | os.PathLike[str] | None,
    class_map: ClassMap | str | os.PathLike[str] | None,
    names: Sequence[str] | None,
    *,
    by_boxes: bool,
) -> Known:
    """Read what people drew.

    Args:
        boxes: see `evaluate`.
        masks: see `evaluate`.
        class_map: see `evaluate`.
        names: of the model's classes.
        by_boxes: nothing else says the targets.
    """
    if boxes is not None and masks is not None:
        raise InvalidArgument("`boxes` and `masks` exclude each other. Received: both. Evaluate once with each.")
    if masks is not None:
        found = masks if isinstance(masks, Annotations) else read_masks(masks)
        return Known(found, None, by_boxes=False, problems=found.problems)
    if boxes is None:
        return Known()
    found = boxes if isinstance(boxes, Annotations) else read_boxes(boxes)
    given = read_class_map(class_map) if isinstance(class_map, str | os.PathLike) else class_map
    classes, without = classes_of(found.labels, names or (), given)
    told = (f"{len(without)} of {len(found.labels)} labels mean no class of the model",) if without else ()
    # A detector's label file for a model with other classes: to measure nothing at all would help nobody.
    if not classes:
        told = ("no label of the boxes means a class of the model: all boxes of a photo are taken for its target's",)
    return Known(found, classes, by_boxes=by_boxes and bool(classes), problems=(*found.problems, *told))


def listed(photos: Iterable[object]) -> Iterable[object]:
    """The photos that are meant: those of a folder where one is named.

    Raises:
        InvalidType: they are no photos one after the other.
        ImageError: a folder has none.
    """
    if isinstance(photos, str | os.PathLike) and is_folder(photos):
        return find_photos([photos])[0]
    if isinstance(photos, str | bytes | os.PathLike) or not isinstance(photos, Iterable):
        raise InvalidType(
            f"`photos` must be photos one after the other, or a folder of them. {received(photos)} One photo goes into "
            "a list, [photo]."
        )
    return photos


def name_of(photo: object, number: int) -> str:
    """What a photo is called; its number where it has no name."""
    if isinstance(photo, Photo):
        return photo.name
    return os.fspath(photo) if isinstance(photo, str | os.PathLike) else f"photo {number}"


def _source(photo: object) -> object:
    """What is read of a photo: a `photos.Photo` has a source; a path, a picture or an array is its own."""
    return photo.source if isinstance(photo, Photo) else photo


def items_of(
    photos: Iterable[object],
    known: Known,
    labels: Iterable[Label | None] | None,
    each: Sequence[TargetLike] | None,
    names: Sequence[str] | None,
) -> tuple[Iterable[Item], tuple[str, ...]]:
    """Photos with what is known of each, in their order, and what is wrong, in words.

    Without boxes, masks and lists nothing is looked at before it is asked for, so that there may be any number.
    """
    if known.annotations is None and labels is None and each is None:
        return (Item(name_of(photo, i), _source(photo)) for i, photo in enumerate(photos)), known.problems
    # All names must be known to tell which of two photos of one name a box is of.
    given = list(photos)
    called = [name_of(photo, i) for i, photo in enumerate(given)]
    choices = _of_labels(labels, len(given), names)
    own = _as_many("targets", each, len(given)) or [None] * len(given)
    if known.annotations is None:
        rows = zip(called, given, choices, own, strict=True)
        return [Item(name, _source(photo), choice, target) for name, photo, choice, target in rows], known.problems
    found = matched(known.annotations, called)
    made = [
        _marked(Item(name, _source(photo), choice, target, marks), known)
        for name, photo, choice, target, marks in zip(called, given, choices, own, found.marks, strict=True)
    ]
    # A photo without a target, where the boxes say the targets, is no failure: nothing is asked of it.
    kept = [item for item in made if not known.by_boxes or item.choices]
    told = (*known.problems, *found.problems)
    if len(kept) < len(made):
        told += (f"{len(made) - len(kept)} of {len(made)} photos have no box whose label means a class: left out",)
    return kept, told


def _marked(item: Item, known: Known) -> Item:
    """A photo whose boxes say what is explained of it."""
    # Of a mask there is no label, and a target that somebody gave is not replaced.
    if not known.by_boxes or item.marks is None:
        return item
    meant = known.classes or {}
    labels = tuple(sorted({box.label for box in item.marks.boxes} & set(meant)))
    return Item(item.name, item.source, tuple(meant[label] for label in labels), None, item.marks, labels)


def _of_labels(labels: Iterable[Label | None] | None, count: int, names: Sequence[str] | None) -> list[Choices]:
    given = _as_many("labels", labels, count)
    if given is None:
        return [()] * count
    index: dict[Label | None, Choices] = {}
    for label in given:
        if label not in index:
            # Looked up once for each class: a label of a thousand is compared with all synonyms.
            index[label] = () if label is None else ((_index(label, names),),)
    if () in index.values() and len(index) > 1:
        raise InvalidArgument("`labels` must be one class for each photo. Received: None among them. Leave those out.")
    return [index[label] for label in given]


def _index(label: Label, names: Sequence[str] | None) -> int:
    return label if isinstance(label, int) else class_index(label, names, len(names or ()))


def _as_many(argument: str, values: Iterable[object] | None, count: int) -> list | None:  # type: ignore[type-arg]
    if values is None:
        return None
    given = list(values)
    if len(given) != count:
        raise InvalidArgument(
            f"`{argument}` must have one entry for each of the {count} photos. Received: {len(given)}. Pass as many."
        )
    return given
