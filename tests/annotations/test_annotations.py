"""Boxes and masks: every form gives the same boxes, each finds its photo, and lies where the model saw it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gradsight as gs
from fuzz_files import in_bytes
from gradsight.annotations import (
    Annotations,
    LabelledBox,
    Marks,
    classes_of,
    matched,
    placed,
    placed_by_class,
    read_boxes,
    read_class_map,
    read_masks,
)
from gradsight.errors import ImageError, InvalidArgument, InvalidType
from gradsight.imaging import Placement

# Two photos, 40 high and 60 wide; a cat and a dog on the first, a cat on the second.
THINGS = {
    "one": [("cat", (10.0, 6.0, 30.0, 36.0)), ("traffic light", (0.0, 0.0, 4.0, 60.0))],
    "two": [("cat", (20.0, 30.0, 40.0, 60.0))],
}
HEIGHT, WIDTH = 40, 60


def coco(folder: Path) -> Path:
    labels = ["cat", "traffic light"]
    things = [
        {"image_id": i, "category_id": labels.index(label), "bbox": [box[1], box[0], box[3] - box[1], box[2] - box[0]]}
        for i, boxes in enumerate(THINGS.values())
        for label, box in boxes
    ]
    crowd = {"image_id": 0, "category_id": 0, "bbox": [0, 0, 60, 40], "iscrowd": 1}
    content = {
        "info": {"anything": 1},
        "images": [{"id": i, "file_name": f"{n}.jpg", "height": 40, "width": 60} for i, n in enumerate(THINGS)],
        "categories": [{"id": i, "name": label, "supercategory": "thing"} for i, label in enumerate(labels)],
        "annotations": [*things, crowd],
    }
    (folder / "boxes.json").write_text(json.dumps(content))
    return folder / "boxes.json"


def yolo(folder: Path) -> Path:
    (folder / "labels").mkdir()
    (folder / "data.yaml").write_text("path: ../x\nnames:\n  # all\n  0: cat  # a pet\n  1: 'traffic light'\nnc: 2\n")
    for name, boxes in THINGS.items():
        lines = []
        for label, (top, left, bottom, right) in boxes:
            middle = (left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT
            lines.append(
                f"{int(label != 'cat')} {middle[0]} {middle[1]} {(right - left) / WIDTH} {(bottom - top) / HEIGHT}"
            )
        (folder / "labels" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder / "labels"


def voc(folder: Path) -> Path:
    (folder / "xml").mkdir()
    for name, boxes in THINGS.items():
        things = "".join(
            f"<object><name>{label}</name><pose>Left</pose><bndbox><xmin>{b[1] + 1}</xmin><ymin>{b[0] + 1}</ymin>"
            f"<xmax>{b[3]}</xmax><ymax>{b[2]}</ymax></bndbox></object>"
            for label, b in boxes
        )
        (folder / "xml" / f"{name}.xml").write_text(
            f'<?xml version="1.0" encoding="utf-8"?>\n<annotation><filename>{name}.jpg</filename>'
            f"<size><width>60</width><height>40</height><depth>3</depth></size>{things}</annotation>"
        )
    return folder / "xml"


def table(header: str, row: Callable[..., str]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        rows = [row(name, label, *box) for name, boxes in THINGS.items() for label, box in boxes]
        (folder / "boxes.csv").write_text("\n".join([header, *rows, ""]))
        return folder / "boxes.csv"

    return write


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


FORMS = {
    "coco": coco,
    "yolo": yolo,
    "voc": voc,
    "csv": table(
        "path,label,top,left,bottom,right", lambda n, label, *b: f"{n}.jpg,{label},{b[0]},{b[1]},{b[2]},{b[3]}"
    ),
    # As TensorFlow's tools write it: width and height are the photo's.
    "csv with sizes": table(
        "filename,width,height,class,xmin,ymin,xmax,ymax",
        lambda n, label, *b: f"{n}.jpg,60,40,{label},{b[1]},{b[0]},{b[3]},{b[2]}",
    ),
    "csv of corners and sizes": table(
        "image;label;x;y;width;height",
        lambda n, label, *b: f"{n}.jpg;{label};{b[1]};{b[0]};{b[3] - b[1]};{b[2] - b[0]}",
    ),
    # As Open Images has it, in shares.
    "csv in shares": table(
        "ImageID,LabelName,XMin,XMax,YMin,YMax",
        lambda n, label, *b: f"{n},{label},{b[1] / 60},{b[3] / 60},{b[0] / 40},{b[2] / 40}",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_boxes(tmp_path: Path, form: str) -> None:
    found = read_boxes(FORMS[form](tmp_path))
    assert found.problems == ()
    assert found.labels == ("cat", "traffic light")
    marks = matched(found, ["/photos/one.jpg", "/photos/two.jpg"])
    assert marks.problems == ()
    for known, expected in zip(marks.marks, THINGS.values(), strict=True):
        assert known is not None
        assert [box.label for box in known.boxes] == [label for label, _ in expected]
        for box, (_, corners) in zip(known.boxes, expected, strict=True):
            assert box.on((HEIGHT, WIDTH)) == pytest.approx(corners)
        known.check((HEIGHT, WIDTH))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("classes.txt", "cat\ntraffic light\n", ("cat", "light")),
        ("data.yaml", "nc: 2\nnames: ['cat', \"light\"]  # two\n", ("cat", "light")),
        ("data.yaml", "names:\n- cat\n- light\ntrain: x\n", ("cat", "light")),
        ("data.yaml", "names: [\n  cat,\n  light\n]\n", ("cat", "light")),
        ("data.yml", "names: {0: cat, 1: light}\n", ("cat", "light")),
        ("nothing.txt", "", ("0", "1")),
    ],
)
def test_classes_of_yolo_have_the_names_that_a_file_gives_them(
    tmp_path: Path, name: str, content: str, expected: tuple[str, ...]
) -> None:
    folder = yolo(tmp_path)
    (tmp_path / "data.yaml").unlink()
    (tmp_path / name).write_text(content)
    found = read_boxes(folder)
    assert [box.label.split()[-1] for box in found.of["one"].boxes] == list(expected)
    assert bool(found.problems) == (name == "nothing.txt")


def test_yolo_takes_the_box_around_a_polygon_and_leaves_a_confidence_aside(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 0.1 0.2 0.5 0.2 0.3 0.9\n3 0.5 0.5 0.5 0.5 0.87\n")
    polygon, box = read_boxes(tmp_path).of["a"].boxes
    assert polygon.box == pytest.approx((0.2, 0.1, 0.9, 0.5))
    assert (box.label, box.box) == ("3", pytest.approx((0.25, 0.25, 0.75, 0.75)))


def test_what_is_broken_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    for make in (coco, yolo, voc, FORMS["csv"]):
        make(tmp_path)
    content = json.loads((tmp_path / "boxes.json").read_text())
    content["annotations"] += [
        {"image_id": 77, "category_id": 0, "bbox": [0, 0, 1, 1]},
        {"image_id": 0, "category_id": 9, "bbox": [0, 0, 1, 1]},
        {"image_id": 0, "category_id": 0, "bbox": [0, 0, 0, 1]},
        {"image_id": 0, "category_id": 0, "bbox": [0, 0, float("nan"), 1]},
        {"image_id": 0, "category_id": 0, "bbox": "0 0 1 1"},
        {"image_id": [0], "category_id": 0, "bbox": [0, 0, 1, 1]},
        {"image_id": 0},
        5,
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    append(
        tmp_path / "labels" / "one.txt", "0 0.5 0.5 0.1\n7 0.5 0.5 0.1 0.1\n0 0.5 0.5 nan 0.1\n0 3 3 1 1\nx 1 1 1 1\n"
    )
    (tmp_path / "labels" / "bad.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "xml" / "bad.xml").write_text("<annotation><object>")
    (tmp_path / "xml" / "other.xml").write_text("<svg/>")
    (tmp_path / "xml" / "half.xml").write_text(
        "<annotation><object><name>cat</name></object><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
        "<xmax>5</xmax><ymax>4</ymax></bndbox></object></annotation>"
    )
    append(tmp_path / "boxes.csv", "one.jpg,cat,1,2,3\none.jpg,cat,1,2,x,4\none.jpg,cat,5,5,1,9\n,cat,1,1,2,2\n")
    for source, words in {
        "boxes.json": ["[4]: ", "id 77", "id 9", "`box` must be", "[9]", "[11]"],
        "labels": ["bad: ", "UTF-8", "4 words", "is 7", "line 5", "line 6", "'x'"],
        "xml": ["bad.xml: ", "no XML", "<svg>", "half.xml: object 1"],
        "boxes.csv": ["row 5", "row 6", "`box` must be", "row 8"],
    }.items():
        found = read_boxes(tmp_path / source)
        told = "\n".join(found.problems)
        for word in words:
            assert word in told, (source, told)
        marks = matched(found, ["one.jpg", "two.jpg"]).marks
        assert [len(known.boxes) for known in marks if known] == [2, 1], source
    assert len(read_boxes(tmp_path / "xml").of["half"].boxes) == 1


def test_a_file_that_is_all_wrong_is_told_in_a_few_sentences(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("nonsense\n" * 1000)
    problems = read_boxes(tmp_path).problems
    assert len(problems) < 30
    assert "980 more" in problems[-1]


def bomb(depth: int = 9) -> str:
    names = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, depth))
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">{names}]><annotation>&a8;</annotation>'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bomb(), "DOCTYPE"),
        ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation>&a;</annotation>', "DOCTYPE"),
        ('<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd"><annotation/>', "DOCTYPE"),
        ("<a>" * 100_000, "deep"),
        ("<annotation>&unknown;</annotation>", "no XML"),
        ("", "no XML"),
    ],
)
def test_hostile_xml_is_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "a.xml").write_text(content)
    found = read_boxes(tmp_path)
    assert words in found.problems[0]
    assert not found.of
    (tmp_path / "a.xml").write_text(content, encoding="utf-16")
    assert "UTF-8" in read_boxes(tmp_path).problems[0]


def test_files_that_cannot_be_boxes_are_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = {
        "a.json": ["[1, 2]", "{", "[" * 100_000, '{"images": 5}', '{"images": [], "annotations": []}'],
        "a.csv": [
            "",
            "\n",
            "a,b,c\n1,2,3\n",
            "path,label\nx,y\n",
            'path,label,top,left,bottom,right\n"' + "x" * 200_000,
        ],
        "a.doc": ["text"],
    }
    for name, contents in cases.items():
        for content in contents:
            (tmp_path / name).write_text(content)
            with pytest.raises(InvalidArgument, match=r"Give "):
                read_boxes(tmp_path / name)
    for place in (tmp_path / "missing.json", tmp_path / "missing", tmp_path / "a\0b"):
        with pytest.raises(InvalidArgument):
            read_boxes(place)
    (tmp_path / "empty").mkdir()
    for read in (read_boxes, read_masks):
        with pytest.raises(InvalidArgument, match=r"`path` must|^boxes must|^masks must"):
            read(tmp_path / "empty")
        with pytest.raises(InvalidType):
            read(5)  # type: ignore[arg-type]
    monkeypatch.setattr("gradsight.limits.TEXT_BYTES.value", 10)
    with pytest.raises(InvalidArgument, match="limit"):
        read_boxes(coco(tmp_path))
    monkeypatch.setattr("gradsight.limits.COUNT.value", 1)
    with pytest.raises(InvalidArgument, match="limit"):
        read_boxes(yolo(tmp_path))


@pytest.mark.parametrize("form", ["coco", "yolo", "voc", "csv"])
@pytest.mark.parametrize("count", [150, pytest.param(5000, marks=pytest.mark.slow)])
def test_a_damaged_file_is_boxes_and_sentences_or_one_error(tmp_path: Path, form: str, count: int) -> None:
    source, draw = FORMS[form](tmp_path), random.Random(0)
    file = source if source.is_file() else sorted(source.iterdir())[0]
    whole, read = file.read_bytes(), 0
    for number in range(count):
        file.write_bytes(in_bytes(draw, whole))
        try:
            found = read_boxes(source)
        except InvalidArgument:
            continue
        read += 1
        assert not any("\n" in problem or len(problem) > 3000 for problem in found.problems), number
        for marks in found.of.values():
            assert all(np.isfinite(box.box).all() for box in marks.boxes), number
    assert read > count / 30


def test_a_folder_that_leads_to_itself_ends(tmp_path: Path) -> None:
    folder = yolo(tmp_path)
    (folder / "again").symlink_to(folder)
    assert sorted(read_boxes(folder).of) == ["one", "two"]


def test_an_entry_is_of_the_photo_that_lies_alike() -> None:
    known = {key: Marks((LabelledBox(key, (0, 0, 1, 1)),)) for key in ("train/7", "val/7", "a/8.jpg", "b/8.jpg", "9")}
    photos = ["images/train/7.jpg", "images/val/7.png", "b/8.jpg", "x/9.jpg", "y/9.jpg", "10.jpg"]
    found = matched(Annotations(known), photos)
    assert [m and m.boxes[0].label for m in found.marks] == ["train/7", "val/7", "b/8.jpg", None, None, None]
    told = "\n".join(found.problems)
    assert "3 photos: 'x/9.jpg', 'y/9.jpg', '10.jpg'" in told
    assert "2 entries fit no photo: '9', 'a/8.jpg'" in told
    # Of two photos of one name the nearer one has it, and the other none.
    found = matched(Annotations({"cat/1.jpg": Marks()}), ["data/dog/1.jpg", "data/cat/1.jpg"])
    assert [m is None for m in found.marks] == [True, False]
    assert [m is None for m in matched(Annotations({"1": Marks()}), ["1.jpg", "1.jpg"]).marks] == [False, False]
    assert matched(Annotations({}), []).problems == ()


def test_labels_are_found_among_the_classes_of_a_model(tmp_path: Path) -> None:
    names = ["tench, Tinca tinca", "tiger cat", "crane", "crane", "traffic light, stoplight"]
    found, problems = classes_of(["Tiger_Cat", "crane", "tinca-tinca", "stoplight", "cow"], names)
    assert found == {"Tiger_Cat": (1,), "crane": (2, 3), "tinca-tinca": (0,), "stoplight": (4,)}
    assert problems == ("no class of the model is called 'cow'",)
    (tmp_path / "map.json").write_text('{"cow": [0, "tiger cat"], "Crane": 3}')
    found, problems = classes_of(["cow", "crane"], names, read_class_map(tmp_path / "map.json"))
    assert found == {"cow": (0, 1), "crane": (3,)}
    assert not problems
    for given in ({"cow": (5,)}, {"cow": (-1,)}, {"cow": ("crane",)}, {"cow": ("horse",)}):
        with pytest.raises(InvalidArgument, match="the map of labels must give 'cow'"):
            classes_of(["cow"], names, given)
    for text in ("[1]", "{", '{"a": null}', '{"a": []}', '{"a": [true]}', '{"a": {"b": 1}}', "[" * 99_999):
        (tmp_path / "map.json").write_text(text)
        with pytest.raises(InvalidArgument, match="must"):
            read_class_map(tmp_path / "map.json")


PREPROCESSES = {
    "crop": gs.Preprocess(32, resize=40),
    "squash": gs.Preprocess((20, 32), fit="squash"),
    "letterbox": gs.Preprocess((32, 48), fit="letterbox"),
    "keep": gs.Preprocess((40, 60), fit="keep"),
}


def photo_with(box: tuple[int, ...], size: tuple[int, int]) -> Image.Image:
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[box[0] : box[2], box[1] : box[3]] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("fit", PREPROCESSES)
@pytest.mark.parametrize("size", [(80, 130), (150, 70)])
def test_a_box_lies_on_the_input_where_its_thing_is_seen(tmp_path: Path, fit: str, size: tuple[int, int]) -> None:
    # The thing is white on black: what the model gets says where it is.
    box = size[0] // 4, size[1] // 3, size[0] // 4 * 3, size[1] // 3 * 2 + 9
    photo = photo_with(box, size)
    preprocess = PREPROCESSES[fit]
    window = np.asarray(preprocess.window(photo).convert("L"), float)
    # A letterbox is grey where it is padded; there the thing is not.
    seen = window > 150
    _, placement = preprocess.place(photo)
    found = placed(Marks((LabelledBox("thing", box),)), placement)
    assert found.region.shape == window.shape
    # Edges fall between pixels: only these may differ.
    wrong = found.region != seen
    assert wrong.sum() <= 0.5 * 2 * sum(window.shape)
    assert not (wrong & (np.abs(window - 127.5) > 120)).any() or fit == "letterbox"
    assert found.region.any()
    photo.save(tmp_path / "photo.png")
    by_mask = placed(read_masks(tmp_path).of["photo"], placement)
    assert (by_mask.region != found.region).sum() <= sum(window.shape)
    assert by_mask.seen == pytest.approx(found.seen, abs=0.03)
    assert (found.seen < 1) == (fit == "crop" and size == (150, 70))


def test_what_the_model_did_not_see_is_told() -> None:
    crop = Placement((100, 200), (50, 50), (0.0, 50.0, 100.0, 150.0))
    boxes = (
        LabelledBox("half", (10, 40, 20, 60)),
        LabelledBox("out", (10, 0, 20, 20)),
        LabelledBox("in", (0, 60, 10, 70)),
    )
    found = placed(Marks(boxes), crop)
    assert found.things == 3
    assert found.boxes.tolist() == [[5, 0, 10, 5], [0, 5, 5, 10]]
    assert found.seen == pytest.approx((100 + 100) / (200 + 200 + 100))
    assert found.region.sum() == 25 + 25
    only = placed(Marks(boxes), crop, {"out"})
    assert (only.things, only.seen, len(only.boxes), only.region.any()) == (1, 0, 0, False)
    nothing = placed(Marks(), crop)
    assert (nothing.things, nothing.seen, nothing.region.any()) == (0, 0, False)


def test_each_target_has_the_things_of_its_class() -> None:
    placement = Placement.whole((20, 20), (20, 20))
    boxes = [LabelledBox(label, (at, at, at + 2, at + 2)) for at, label in enumerate(("cat", "kitten", "dog"))]
    classes = {"cat": (3, 4), "kitten": (4,), "dog": (7,)}
    found = placed_by_class(Marks(tuple(boxes)), placement, [4, 3, 9, None, 4], classes)
    assert [one.things for one in found] == [2, 1, 0, 0, 2]
    assert found[1].boxes.tolist() == [[0, 0, 2, 2]]
    assert found[0] is found[4]


def test_a_thing_smaller_than_a_pixel_of_the_input_is_there() -> None:
    placement = Placement.whole((100, 100), (10, 10))
    found = placed(Marks((LabelledBox("dot", (1, 98, 3, 99)),)), placement)
    assert np.argwhere(found.region).tolist() == [[0, 9]]
    corner = placed(Marks((LabelledBox("dot", (99, 99, 100, 100)),)), placement)
    assert np.argwhere(corner.region).tolist() == [[9, 9]]


def test_boxes_of_another_photo_are_refused() -> None:
    placement = Placement.whole((100, 200), (10, 10))
    box = LabelledBox("cat", (0, 0, 50, 150))
    placed(Marks((box,), (100, 200)), placement)
    with pytest.raises(InvalidArgument, match="before it is turned upright"):
        placed(Marks((box,), (200, 100)), placement)
    with pytest.raises(InvalidArgument, match="400 x 200"):
        placed(Marks((box,), (200, 400)), placement)
    for corners in ((0, 0, 110, 50), (-5, 0, 10, 10), (0, 150, 10, 230), (-0.9, 0, -0.1, 10)):
        with pytest.raises(InvalidArgument, match="must lie on the photo"):
            placed(Marks((LabelledBox("cat", corners),)), placement)
    assert LabelledBox("cat", (-0.5, 0, 100.5, 50)).on((100, 200)) == (0, 0, 100, 50)


MASK = np.zeros((4, 6), bool)
MASK[1:3, 2:5] = True


def palette(colours: list[int]) -> Image.Image:
    made = Image.fromarray(MASK.astype(np.uint8)).convert("P")
    made.putdata(MASK.astype(np.uint8).ravel().tolist())
    made.putpalette(colours)
    return made


def with_alpha(colour: int) -> Image.Image:
    return Image.fromarray(np.stack([np.full(MASK.shape, colour), MASK * 255], axis=-1).astype(np.uint8), "LA")


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("grey", Image.fromarray(MASK.astype(np.uint8))),  # 1 of 255: a class's number
        ("bits", Image.fromarray(MASK)),
        ("16 bits", Image.fromarray(MASK.astype(np.uint16))),
        ("colour", Image.fromarray(np.stack([MASK * 0, MASK * 0, MASK * 9], axis=-1).astype(np.uint8))),
        ("palette", palette([0, 0, 0, 128, 0, 0])),
        ("alpha", with_alpha(200)),
    ],
)
def test_a_mask_is_where_a_picture_is_not_black(tmp_path: Path, name: str, picture: Image.Image) -> None:
    picture.save(tmp_path / "m.png")
    found = placed(read_masks(tmp_path).of["m"], Placement.whole((4, 6), (4, 6)))
    assert np.array_equal(found.region, MASK)
    assert (found.seen, found.things) == (1, 1)


def test_masks_of_lossy_files_turned_or_of_another_size(tmp_path: Path) -> None:
    large = np.kron(MASK, np.ones((15, 15))).astype(np.uint8)
    Image.fromarray(large * 255).save(tmp_path / "a.jpg", quality=60)
    assert (np.asarray(Image.open(tmp_path / "a.jpg"))[large == 0] > 0).any()
    same = Placement.whole(large.shape, large.shape)
    assert np.array_equal(placed(read_masks(tmp_path).of["a"], same).region, large > 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(large * 255)).save(tmp_path / "b.png", exif=exif)
    assert np.array_equal(placed(read_masks(tmp_path).of["b"], same).region, large > 0)
    with pytest.raises(InvalidArgument, match="as large as its photo"):
        placed(read_masks(tmp_path).of["a"], Placement.whole((4, 6), (4, 6)))
    (tmp_path / "c.png").write_bytes(b"no picture")
    Image.new("L", (6, 4)).save(tmp_path / "a.png")
    found = read_masks(tmp_path)
    assert [problem.partition(":")[0] for problem in found.problems] == ["a.jpg", "a.png"]
    assert sorted(found.of) == ["b", "c"]
    with pytest.raises(ImageError):
        placed(found.of["c"], same)


def test_a_photo_with_exif_and_a_mask_are_seen_through_one_placement(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo_with((10, 20, 30, 50), (40, 60)).save(tmp_path / "p.jpg", exif=exif)
    _, placement = PREPROCESSES["keep"].place(tmp_path / "p.jpg")
    assert placement.image_size == (60, 40)
    # Turned by a quarter to the right, (row, column) is (column, 39 - row).
    found = placed(Marks((LabelledBox("thing", (20, 10, 50, 30)),), (60, 40)), placement)
    seen = np.asarray(PREPROCESSES["keep"].window(tmp_path / "p.jpg").convert("L")) > 128
    assert (found.region != seen).sum() <= 4


def test_the_boxes_of_coco_are_read_and_fit_their_photos(data: Path) -> None:
    found = read_boxes(data / "coco" / "instances.json")
    assert found.problems == ()
    photos = sorted(str(path) for path in (data / "coco" / "images").iterdir())
    marks = matched(found, photos)
    assert sum(known is not None for known in marks.marks) == 128
    given = read_class_map(data / "coco" / "coco_to_imagenet.json")
    known, _ = classes_of(found.labels, ["x"] * 1000, given)
    assert len(known) >= 40
    for photo, one in list(zip(photos, marks.marks, strict=True))[:12]:
        assert one is not None
        placement = gs.Preprocess(224, resize=256).place(photo)[1]
        assert placed(one, placement).region.any() == bool(placed(one, placement).things)
