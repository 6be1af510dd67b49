"""Photos that Python gives: iterables, and data sets of Hugging Face, PyTorch, Keras and TensorFlow."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from gradsight.errors import GradsightError, InvalidArgument, InvalidType
from gradsight.imaging import read_image
from gradsight.runs.items import items_of
from gradsight.runs.sources.labels import label_of
from runs_of import found, grey, photo, png

torch = pytest.importorskip("torch")


def picture(value: int) -> np.ndarray:
    return np.full((4, 5, 3), value, np.uint8)


def floats(value: float) -> np.ndarray:
    return np.full((4, 5, 3), value, np.float32)


TWO = np.stack([picture(1), picture(2)])

ELEMENTS: list[tuple[object, list[tuple[str, int, object]]]] = [
    ([("a", picture(1)), ("b", png(2), "cat")], [("a", 1, None), ("b", 2, "cat")]),
    ([(7, picture(1)), (np.int64(8), picture(2), np.int64(3))], [("7", 1, None), ("8", 2, 3)]),
    ([(picture(1), 3), (Image.fromarray(picture(2)), "cat")], [("0", 1, 3), ("1", 2, "cat")]),
    ([picture(1), png(2), Image.fromarray(picture(3))], [("0", 1, None), ("1", 2, None), ("2", 3, None)]),
    ([[picture(1), [0, 0, 1]], (torch.full((3, 4, 5), 2).byte(), torch.tensor(5))], [("0", 1, 2), ("1", 2, 5)]),
    ({"a": picture(1), "b": png(2)}, [("a", 1, None), ("b", 2, None)]),
    ([{"image": png(1), "label": 3}, {"__key__": "k", "jpg": png(2), "cls": "x"}], [("0", 1, 3), ("k", 2, "x")]),
    ([{"odd": png(1), "class": 2}], [("0", 1, 2)]),
    ([{"image": {"bytes": png(1), "path": "x.png"}}], [("x.png", 1, None)]),
    ([(TWO, np.array([3, 4])), (picture(5)[None], [6])], [("0", 1, 3), ("1", 2, 4), ("2", 5, 6)]),
    (TWO, [("0", 1, None), ("1", 2, None)]),
    (torch.tensor(TWO).permute(0, 3, 1, 2), [("0", 1, None), ("1", 2, None)]),
    ([{"key": ["a", "b"], "image": TWO}], [("a", 1, None), ("b", 2, None)]),
]


@pytest.mark.parametrize(("elements", "expected"), ELEMENTS, ids=range(len(ELEMENTS)))
def test_elements_of_every_form(elements: object, expected: list[tuple[str, int, object]]) -> None:
    assert found(items_of(elements)) == expected
    assert found(items_of(iter(elements.items() if isinstance(elements, dict) else elements))) == expected  # type: ignore[call-overload]


def test_paths_with_keys_and_labels(tmp_path: Path) -> None:
    first, second = photo(tmp_path / "a.png", 1), photo(tmp_path / "b.png", 2)
    rows = [
        ("k", first),
        (first, "cat"),
        (str(second), "cat"),
        ("dog.png", str(second)),
        (str(first), 3),
        bytes(second),
    ]
    items = items_of(rows)
    names = [str(path) for path in (first, second)]
    expected = [
        ("k", 1, None),
        (names[0], 1, "cat"),
        (names[1], 2, "cat"),
        ("dog.png", 2, None),
        (f"{names[0]}#2", 1, 3),
    ]
    assert found(items) == [*expected, (f"{names[1]}#2", 2, None)]
    assert {item.path for item in items} == set(names)


def test_what_is_no_photo_fails_alone() -> None:
    first, second, third, last = items_of([png(1), object(), (1, 2, 3, 4), {"image": None}])
    assert grey(first) == 1
    for item in (second, third, last):
        with pytest.raises(GradsightError, match=r"Neither a photo nor the path of one\. Received: "):
            grey(item)


@pytest.mark.parametrize("one", [picture(1), picture(1)[..., 0], torch.zeros(3, 4, 5)])
def test_a_single_photo_is_told(one: object) -> None:
    with pytest.raises(InvalidType, match=r"must be photos one after the other\. .* Pass a list"):
        items_of(one)


def test_floats_are_in_the_range_of_their_set() -> None:
    assert [grey(item) for item in items_of([floats(0), floats(0.2), floats(1)])] == [0, 51, 255]
    # Black photos alone do not say it, and those after them do.
    assert [grey(item) for item in items_of([floats(0), floats(1), floats(77.4), floats(1)])] == [0, 1, 77, 1]
    items = list(items_of([*[floats(0.5)] * 16, floats(200), floats(-0.5), floats(np.nan)]))
    for item, words in zip(items[16:], ("to 200", "from -0.5", "from nan"), strict=True):
        with pytest.raises(GradsightError, match=rf"must lie in \[0, 1\], as the first ones .* {words}"):
            grey(item)
    assert [item.source.dtype for item in items_of([floats(9)])] == [np.uint8]  # type: ignore[union-attr]


def test_floats_that_were_made_for_a_model_are_refused_as_a_whole() -> None:
    items = items_of([floats(-1), floats(-2)])
    with pytest.raises(InvalidArgument, match=r"floats lie in \[0, 1\] or in 0\.\.255\. Received: values from -2 to 0"):
        list(items)


def test_an_error_of_an_iterable_is_the_users() -> None:
    def photos() -> Iterator[bytes]:
        yield png(1)
        raise RuntimeError("of the user")

    coming = iter(items_of(photos()))
    assert grey(next(coming)) == 1
    with pytest.raises(RuntimeError, match="of the user"):
        next(coming)


class Numbers(torch.utils.data.Dataset):
    """Of map style, as torchvision's are; the second photo is broken."""

    classes = ("cat", "dog")

    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int):
        if number == 1:
            raise OSError("broken")
        return torch.full((3, 4, 5), number / 255), number % 2


class Coming(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter([(torch.full((3, 4, 5), i, dtype=torch.uint8), torch.tensor(i)) for i in range(3)])


def loader(data: torch.utils.data.Dataset) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(data, batch_size=2, shuffle=isinstance(data, Numbers))


@pytest.mark.parametrize("wrap", [lambda data: data, loader])
def test_a_data_set_of_map_style(wrap) -> None:
    items = items_of(wrap(Numbers()))
    assert items.length == 3
    assert items.described.endswith("Numbers of 3")
    for _ in range(2):
        first, second, third = items
        assert [(item.key, grey(item), item.label) for item in (first, third)] == [("0", 0, "cat"), ("2", 2, "cat")]
        with pytest.raises(GradsightError, match=r"Photo 1 cannot be had: OSError: broken\."):
            grey(second)


@pytest.mark.parametrize("wrap", [lambda data: data, loader])
def test_a_data_set_that_is_gone_through(wrap) -> None:
    assert found(items_of(wrap(Coming()))) == [(str(i), i, i) for i in range(3)]


def test_batches_by_number_are_taken_apart() -> None:
    class Batches:
        def __len__(self) -> int:
            return 2

        def __getitem__(self, number: int):
            if number > 1:
                raise IndexError
            return np.stack([picture(number), picture(number + 10)]), np.array([1, 2])

    items = items_of(Batches())
    assert items.length is None  # the last batch may be smaller
    assert found(items) == [("0", 0, 1), ("1", 10, 2), ("2", 1, 1), ("3", 11, 2)]
    del Batches.__len__
    assert len(found(items_of(Batches()))) == 4


class Folder:
    """As torchvision's ImageFolder, which tells its files; what it makes of them for a model is not asked for."""

    def __init__(self, root: Path) -> None:
        self.classes = ["cat", "dog"]
        self.samples = [(str(photo(root / self.classes[i % 2] / f"{i}.png", i)), i % 2) for i in range(4)]

    def __len__(self) -> int:
        return 4

    def __getitem__(self, number: int) -> object:
        raise AssertionError("the files are read, and not this")


def test_files_of_a_data_set_are_read_themselves(tmp_path: Path) -> None:
    data = Folder(tmp_path)
    names = [path for path, _ in data.samples]
    expected = [(names[i], i, ("cat", "dog")[i % 2]) for i in range(4)]
    for given in (data, torch.utils.data.DataLoader(data, shuffle=True)):  # type: ignore[arg-type]
        items = items_of(given)
        assert (found(items), items.length) == (expected, 4)
    part = items_of(torch.utils.data.Subset(data, [3, 0]))  # type: ignore[arg-type]
    assert (found(part), part.length) == ([expected[3], expected[0]], 2)
    assert [item.path for item in part] == [names[3], names[0]]


def test_files_of_a_folder_of_keras(tmp_path: Path) -> None:
    class Made:
        file_paths = [str(photo(tmp_path / name, i)) for i, name in enumerate(("cat/1.png", "dog/2.png"))]  # noqa: RUF012
        class_names = ["cat", "dog"]  # noqa: RUF012

        def __iter__(self) -> Iterator[object]:
            raise AssertionError("the files are read, and not this, which may be shuffled")

    assert found(items_of(Made())) == [(Made.file_paths[0], 0, "cat"), (Made.file_paths[1], 1, "dog")]


@dataclasses.dataclass
class Image_:
    decode: bool = True


Image_.__name__ = "Image"


@dataclasses.dataclass
class ClassLabel:
    names: tuple[str, ...] = ("cat", "dog")


class HuggingFace:
    """Does what a `datasets.IterableDataset` does, which is not installed where these tests run."""

    def __init__(self, decode: bool = True, columns: tuple[str, ...] = ("photo", "label", "id", "other")) -> None:
        self.features: dict[str, object] | None = {"photo": Image_(decode), "label": ClassLabel(), "id": None}
        self.columns, self.formatted = columns, True

    def _like(self, **changes: object):
        copy = type(self)()
        copy.__dict__ |= self.__dict__ | changes
        return copy

    def with_format(self, kind: str | None):
        assert kind is None
        return self._like(formatted=False)

    def select_columns(self, columns: list[str]):
        return self._like(columns=tuple(columns))

    def cast_column(self, column: str, feature: Image_):
        return self._like(features={**(self.features or {}), column: feature})

    def __iter__(self) -> Iterator[dict[str, object]]:
        for i in range(3):
            row = {"photo": Image.open(io.BytesIO(png(i))), "label": i % 2, "id": f"id{i}", "other": object()}
            if self.features and not self.features["photo"].decode:  # type: ignore[attr-defined]
                row["photo"] = {"bytes": png(i), "path": None}
            yield {name: row[name] for name in self.columns}


class WithLength(HuggingFace):
    def __len__(self) -> int:
        return 3


@pytest.mark.parametrize("kind", [HuggingFace, WithLength])
def test_a_data_set_of_hugging_face(kind: type[HuggingFace]) -> None:
    items = items_of(kind())
    assert found(items) == found(items) == [("id0", 0, "cat"), ("id1", 1, "dog"), ("id2", 2, "cat")]
    # As bytes, which threads decode.
    assert all(isinstance(item.source, bytes) for item in items)
    assert items.length == (3 if kind is WithLength else None)
    stream = kind()
    stream.features = None
    assert found(items_of(stream)) == [("id0", 0, 0), ("id1", 1, 1), ("id2", 2, 0)]


def test_several_data_sets_of_hugging_face_are_told() -> None:
    class Several(dict):
        cast_column = select_columns = with_format = None

    with pytest.raises(InvalidArgument, match=r"and is several\. Received: \['test', 'train'\]\. .*'train'"):
        items_of(Several(train=HuggingFace(), test=HuggingFace()))


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("cat", "cat"),
        (" 17\n", 17),
        (b"cat", "cat"),
        ("", None),
        ("x" * 201, None),
        ("12345678901", "12345678901"),
        (3, 3),
        (3.0, 3),
        (3.5, None),
        (-1, None),
        (True, None),
        (None, None),
        (np.array(3), 3),
        (torch.tensor(3), 3),
        (np.array([0, 1.0, 0]), 1),
        (np.array([1, 1, 0]), None),
        (np.array([0.2, 0.8]), None),
        ([], None),
        ({}, None),
        (float("nan"), None),
    ],
    ids=range(20),
)
def test_labels_of_every_form(value: object, label: object) -> None:
    assert label_of(value) == label
    assert type(label_of(value)) is type(label)


def test_numbers_of_classes_beyond_the_names_stay_numbers() -> None:
    assert [label_of(i, ("cat", "dog")) for i in (0, 1, 2)] == ["cat", "dog", 2]


def spec(rank: int) -> SimpleNamespace:
    """What TensorFlow says of a tensor."""
    return SimpleNamespace(shape=SimpleNamespace(rank=rank))


class Coming_:
    """Does what a `tf.data.Dataset` does: to import TensorFlow takes many seconds."""

    def __init__(self, elements: list[object], rank: int, count: int) -> None:
        self.elements, self.count = elements, count
        self.element_spec = {"image": spec(rank), "more": (spec(0),)}

    def cardinality(self) -> np.int64:
        return np.int64(self.count)

    def __len__(self) -> int:
        if self.count < 0:
            raise TypeError("The dataset length is unknown.")
        return self.count

    def __iter__(self) -> Iterator[object]:
        raise AssertionError("its tensors are copied at each look")

    def as_numpy_iterator(self) -> Iterator[object]:
        return iter(self.elements)


def test_what_tf_data_gives(tmp_path: Path) -> None:
    rows: list[object] = [{"image": picture(i), "label": np.int64(i)} for i in range(2)]
    expected = [("0", 0, 0), ("1", 1, 1)]
    assert (found(items_of(Coming_(rows, 3, 2))), items_of(Coming_(rows, 3, 2)).length) == (expected, 2)
    assert items_of(Coming_(rows, 3, -2)).length is None
    batches: list[object] = [(np.stack([picture(0), picture(1)]), np.arange(2))]
    assert (found(items_of(Coming_(batches, 4, 1))), items_of(Coming_(batches, 4, 1)).length) == (expected, None)
    path = str(photo(tmp_path / "a.png", 9))
    assert found(items_of(Coming_([path.encode()], 0, 1))) == [(path, 9, None)]
    with pytest.raises(InvalidArgument, match="must have an end"):
        items_of(Coming_(rows, 3, -1))


@pytest.mark.slow
def test_tf_data_itself(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    pictures = np.stack([picture(i) for i in range(5)])
    data = tf.data.Dataset.from_tensor_slices((pictures, np.arange(5)))
    expected = [(str(i), i, i) for i in range(5)]
    assert (found(items_of(data)), items_of(data).length) == (expected, 5)
    assert (found(items_of(data.batch(2))), items_of(data.batch(2)).length) == (expected, None)
    named = data.map(lambda photo, number: {"image": tf.cast(photo, tf.float32), "label": tf.one_hot(number, 5)})
    assert found(items_of(named)) == expected
    path = str(photo(tmp_path / "a.png", 9))
    assert found(items_of(tf.data.Dataset.list_files(path))) == [(path, 9, None)]
    with pytest.raises(InvalidArgument, match="must have an end"):
        items_of(data.repeat())


def test_pictures_of_every_shape_are_read() -> None:
    grey_one, with_axis, alpha = picture(1)[..., 0], picture(2)[..., :1], np.full((4, 5, 4), 255, np.uint8)
    first = torch.full((1, 4, 5), 3, dtype=torch.uint8)
    # Of what could have its colours at either end, the framework decides.
    assert [read_image(item.source).size for item in items_of([np.zeros((3, 9, 3), np.uint8)] * 2)] == [(9, 3)] * 2  # type: ignore[arg-type]
    assert [read_image(item.source).size for item in items_of([torch.zeros(3, 9, 3).byte()])] == [(3, 9)]  # type: ignore[arg-type]
    items = items_of([grey_one, with_axis, alpha, first])
    assert [(grey(item), read_image(item.source).size) for item in items] == [  # type: ignore[arg-type]
        (1, (5, 4)), (2, (5, 4)), (255, (5, 4)), (3, (5, 4)),
    ]  # fmt: skip
