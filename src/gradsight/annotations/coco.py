"""COCO's JSON: images, categories, and boxes as (x, y, width, height)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from gradsight.annotations.marks import Annotations, LabelledBox, Marks
from gradsight.annotations.problems import Problems
from gradsight.contents import json_object, number, rows, text, whole
from gradsight.errors import InvalidArgument, one_line
from gradsight.foreign import Json
from gradsight.limits import COUNT

_WAY_OUT = "Give COCO's JSON: an object with the lists images, annotations and categories."


def read_coco(path: Path) -> Annotations:
    """Read the boxes of a COCO file. Segmentations are left aside, and so are crowds, which are boxes of many things.

    Raises:
        InvalidArgument: there is no such file, it is too large, or it is no JSON of that form.
    """
    name, problems = path.name, Problems()
    content = json_object(path, "COCO's JSON", _WAY_OUT)
    try:
        images, categories, things = (rows(content.get(key), key) for key in ("images", "categories", "annotations"))
    except ValueError as error:
        raise InvalidArgument(f"{str(path)!r} must be of COCO's form: {one_line(error)}. {_WAY_OUT}") from None
    COUNT.check(max(len(images), len(things)), f"{name!r} holds too much: {len(images)} photos, {len(things)} boxes")
    labels: dict[int, str] = {}
    for at, entry in enumerate(categories):
        with problems.caught(name, f"categories[{at}]"):
            labels[_id(entry, "id")] = text(entry["name"], "name")
    files: dict[int, tuple[str, tuple[int, int] | None]] = {}
    for at, entry in enumerate(images):
        with problems.caught(name, f"images[{at}]"):
            files[_id(entry, "id")] = text(entry["file_name"], "file_name"), _size(entry)
    boxes: dict[int, list[LabelledBox]] = defaultdict(list)
    for at, entry in enumerate(things):
        with problems.caught(name, f"annotations[{at}]"):
            if not entry.get("iscrowd"):
                image, box = _thing(entry, files, labels)
                boxes[image].append(box)
    of: dict[str, Marks] = {}
    for key, (file, size) in files.items():
        # Of a photo that is there twice all boxes count. One without a thing on it is known to have none.
        before = of[file].boxes if file in of else ()
        of[file] = Marks((*before, *boxes[key]), size)
    return Annotations(of, problems.all())


def _thing(entry: Json, files: Mapping[int, tuple[str, object]], labels: Mapping[int, str]) -> tuple[int, LabelledBox]:
    image, category = _id(entry, "image_id"), _id(entry, "category_id")
    if image not in files:
        raise ValueError(f"there is no image with the id {image}")
    if category not in labels:
        raise ValueError(f"there is no category with the id {category}")
    left, top, width, height = (number(value, "bbox") for value in rows(entry["bbox"], "bbox", 4))
    return image, LabelledBox(labels[category], (top, left, top + height, left + width))


def _id(entry: Json, key: str) -> int:
    return whole(entry[key], key)


def _size(entry: Json) -> tuple[int, int] | None:
    if "height" not in entry or "width" not in entry:
        return None
    return whole(entry["height"], "height", 1), whole(entry["width"], "width", 1)
