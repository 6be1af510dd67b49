"""Pascal VOC's XML: one file for each photo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from gradsight.annotations.marks import Annotations, LabelledBox, Marks
from gradsight.annotations.problems import Problems
from gradsight.contents import text
from gradsight.errors import InvalidArgument
from gradsight.files import read_text

_DEEP = 32
"""How deep elements may lie in each other; those of VOC lie four deep."""


def read_voc(folder: Path, files: Sequence[Path]) -> Annotations:
    """Read the boxes of a folder of Pascal VOC's XML files; each is of the photo with its name.

    VOC counts pixels from 1 and takes the last one in: the box from 1 to 10 spans 0 to 10.

    Args:
        folder: it is named relative to this one.
        files: its XML files, at any depth.
    """
    problems, of = Problems(), {}
    for file in files:
        key = file.relative_to(folder).with_suffix("").as_posix()
        with problems.caught(f"{key}.xml"):
            root = parsed(read_text(file, "Pascal VOC's XML"))
            if root.tag != "annotation":
                raise ValueError(f"it must hold an <annotation>, and holds a <{root.tag[:40]}>")
            boxes = []
            for at, thing in enumerate(root.iterfind("object")):
                with problems.caught(f"{key}.xml", f"object {at + 1}"):
                    boxes.append(_box(thing))
            of[key] = Marks(tuple(boxes), _size(root))
    return Annotations(of, problems.all())


def parsed(content: str) -> Element:
    """The tree of an XML text, without a DOCTYPE: what it declares may grow without end, or name other files.

    Raises:
        ValueError: it is no XML, has a DOCTYPE, or is nested too deep.
    """
    builder, depth = TreeBuilder(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEP:
            raise ValueError(f"its elements lie over {_DEEP} deep in each other")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise ValueError("it has a DOCTYPE, which is not read. Take that line out")

    # What the text says of its encoding is past: it is text already.
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, refuse
    try:
        parser.Parse(content.encode(), True)
    except expat.ExpatError as error:
        raise ValueError(f"it is no XML: {error}") from None
    return builder.close()


def _box(thing: Element) -> LabelledBox:
    label = _said(thing, "name")
    left, top, right, bottom = (float(_said(thing, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax"))
    # Tools that count from 0 write xmin 0, which would be -1.
    return LabelledBox(label, (max(top - 1, 0.0), max(left - 1, 0.0), bottom, right))


def _said(thing: Element, path: str) -> str:
    found = thing.findtext(path)
    if found is None or not found.strip():
        raise InvalidArgument(f"<{path}> must be there, and is missing.")
    return text(found.strip(), path)


def _size(root: Element) -> tuple[int, int] | None:
    height, width = (root.findtext(f"size/{side}", "0").strip() for side in ("height", "width"))
    numbers = [int(side) for side in (height, width) if side.isdecimal() and len(side) < 10]
    # Some tools write 0 x 0 where they do not know.
    return (numbers[0], numbers[1]) if len(numbers) == 2 and all(numbers) else None
