"""Pictures given as arrays: RGB of uint8 is a photo; others are refused with the way that works."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import gradsight as gs
import toys
from gradsight.errors import GradsightError, InvalidType, as_photos

PHOTO = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
PREPROCESS = gs.Preprocess((16, 16), mean=(0.5,) * 3, std=(0.5,) * 3)


def ways(text: str) -> list[str]:
    """What the message says to pass."""
    return re.findall(r"Image\.fromarray\((.+?)\)(?=[,. ]|$)", text)


@pytest.mark.parametrize("preprocess", [None, PREPROCESS])
@pytest.mark.parametrize(
    "array",
    [
        PHOTO[None],
        PHOTO[..., 0],
        PHOTO[..., :1],
        np.dstack([PHOTO, PHOTO[..., :1]]),
        PHOTO.transpose(2, 0, 1),
        PHOTO[..., :1].transpose(2, 0, 1),
        [PHOTO[..., 0], PHOTO[..., 0]],
        torch.tensor(PHOTO),
    ],
    ids=lambda array: f"{type(array).__name__}{np.shape(array)}",
)
def test_a_picture_as_an_array_is_refused_with_ways_that_work(array: Any, preprocess: Any) -> None:
    with pytest.raises(GradsightError, match=r"`inputs` must.*Explainer with a `preprocess`") as caught:
        gs.Explainer(toys.convolutional(), preprocess=preprocess)(array)
    said = ways(str(caught.value))
    one = array[0] if isinstance(array, list) or np.ndim(array) == 4 else array
    assert said
    for way in said:
        picture = eval("Image.fromarray(" + way + ")", {"Image": Image, "array": np.asarray(one)})
        assert picture.size == (64, 48)
        assert gs.Explainer(toys.convolutional(), preprocess=PREPROCESS)(picture).photos[0].size == (64, 48)


@pytest.mark.parametrize("preprocess", [None, PREPROCESS])
def test_an_array_of_rgb_is_a_photo(preprocess: Any) -> None:
    explainer = gs.Explainer(toys.convolutional(), preprocess=preprocess)
    expected = explainer([Image.fromarray(PHOTO), Image.fromarray(PHOTO[::-1])])
    np.testing.assert_array_equal(explainer(PHOTO).maps[0], explainer(Image.fromarray(PHOTO)).maps[0])
    made = explainer([PHOTO, PHOTO[::-1]])
    np.testing.assert_array_equal(made.maps, expected.maps)
    assert made.photos[1].size == (64, 48)


def test_the_way_for_opencv_turns_its_colours() -> None:
    blue = np.zeros((48, 64, 3), np.uint8)
    blue[..., 0] = 255  # as OpenCV has it
    for array in (blue, np.dstack([blue, np.full((48, 64), 255, np.uint8)])):
        (_, way) = ways(as_photos([array]))
        picture = eval("Image.fromarray(" + way + ")", {"Image": Image, "array": array})
        assert picture.convert("RGB").getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.parametrize("array", [PHOTO / 255.0, torch.tensor(PHOTO).float(), torch.tensor(PHOTO[None]).float()])
def test_pictures_of_floats_are_told_so_where_the_model_fails(array: Any) -> None:
    with pytest.raises(GradsightError, match=r"If it is a .*picture.*uint8 in 0\.\.255"):
        gs.Explainer(toys.convolutional())(array)
    with pytest.raises(GradsightError, match=r"If it is a .*picture.*uint8 in 0\.\.255"):
        gs.Explainer(toys.convolutional(), preprocess=PREPROCESS)(array)


def test_batches_and_whole_numbers_are_told_what_they_were() -> None:
    explainer = gs.Explainer(toys.convolutional(), preprocess=PREPROCESS)
    assert explainer(torch.rand(1, 3, 16, 16)).maps.shape[0] == 1
    with pytest.raises(GradsightError, match=r"inputs\.float\(\)") as caught:
        explainer(torch.ones(1, 3, 16, 16, dtype=torch.uint8))
    assert "picture, (" not in str(caught.value)
    signals = gs.Explainer(toys.convolutional(dimensions=1))
    assert signals(torch.rand(2, 3, 16)).maps.shape[0] == 2
    for shape, kind in (((2, 3, 16), "f4"), ((2, 10), "u1"), ((2, 3, 16, 16), "f4"), ((5, 16), "f4"), ((), "u1")):
        assert not as_photos([np.zeros(shape, kind)])
    assert not as_photos(["text", None, 3])


class Counting(torch.nn.Module):
    """It notes how many rows each of its passes had."""

    def __init__(self) -> None:
        super().__init__()
        self.body = toys.convolutional()

    def forward(self, x: torch.Tensor) -> Any:
        ROWS.append(len(x))
        return self.body(x)


ROWS: list[int] = []


@pytest.mark.parametrize("method", ["gradcam", ["layercam", "scorecam(top=2)", "gradient"]])
def test_many_photos_go_through_a_few_at_a_time(method: Any) -> None:
    random = np.random.default_rng(1)
    photos = [Image.fromarray(random.integers(0, 256, (20, 24, 3), np.uint8)) for _ in range(11)]
    targets = [gs.Classes(i % 5, (i + 1) % 5) for i in range(11)]
    explainer = gs.Explainer(Counting().eval(), preprocess=PREPROCESS, layer="body.2", batch_size=4, method=method)
    ROWS.clear()
    found = explainer(photos, targets=targets)
    assert max(ROWS) == 4
    for explanation in found if isinstance(found, tuple) else (found,):
        assert explanation.maps.shape[:2] == (11, 2)
        assert explanation.photos == tuple(photos)
        for i in (0, 3, 4, 10):
            alone = explainer(photos[i], targets=targets[i], method=explanation.method)
            alone = alone[0] if isinstance(alone, tuple) else alone
            np.testing.assert_allclose(explanation.maps[i], alone.maps[0], rtol=1e-4, atol=1e-7)
            assert explanation.targets[i] == alone.targets[0]
            assert explanation.predictions[i][0].index == alone.predictions[0][0].index


def test_photos_of_several_sizes_are_refused_wherever_they_stand() -> None:
    photos = [Image.new("RGB", (24, 20))] * 3 + [Image.new("RGB", (30, 20))]
    for batch_size in (2, 3, 8):
        explainer = gs.Explainer(
            toys.convolutional(), preprocess=gs.Preprocess((20, 24), fit="none"), batch_size=batch_size
        )
        with pytest.raises(GradsightError, match=r"`inputs` become pictures of 2 sizes"):
            explainer(photos)
        assert explainer(photos[:3]).maps.shape[0] == 3


@pytest.mark.parametrize("preprocess", [None, PREPROCESS])
def test_photos_one_after_the_other_are_told_where_they_go(preprocess: Any) -> None:
    explainer = gs.Explainer(toys.convolutional(), preprocess=preprocess)
    with pytest.raises(InvalidType, match=r"go to explainer\.stream\(photos\), or into a list"):
        explainer(photo for photo in [PHOTO])
