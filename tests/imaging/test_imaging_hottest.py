"""Regions that are found between the cells of maps: to the last pixel those of the heatmap's own pixels."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from gradsight.imaging import Placement, region, regions
from gradsight.imaging.spans import Spans, boxes_of

Maps = NDArray[np.float32]


def in_pixels(heat: Maps, placement: Placement) -> list[object]:
    """What is meant, the slow way."""
    return [region(placement.to_image(one)) for one in heat]


def placed(kind: int, size: tuple[int, int]) -> Placement:
    """The whole picture, a part of it, more than it, and the square in its middle."""
    height, width = size
    side = min(size)
    box = (
        (0.0, 0.0, float(height), float(width)),
        (height * 0.1, width * 0.2, height * 0.8, width * 0.9),
        (-height * 0.2, 0.0, height * 1.2, float(width)),
        ((height - side) / 2, (width - side) / 2, (height + side) / 2, (width + side) / 2),
    )[kind]
    return Placement(size, (224, 224), box)


def drawn(seed: int) -> tuple[Maps, Placement]:
    rng = np.random.default_rng(seed)
    cells = (7, 7) if seed % 3 else tuple(rng.integers(1, 15, 2))
    # Also pictures that have fewer pixels than the map has cells.
    size = tuple(map(int, rng.integers(1, 12, 2) if seed % 5 == 0 else rng.integers(20, 300, 2)))
    heat = rng.normal(size=(3, *cells)).astype(np.float32)
    changed = {
        0: np.ones_like,
        1: np.round,  # ties
        2: lambda x: x**3,
        3: lambda x: x * np.array([0, 1, 1e-33], np.float32)[:, None, None],
        4: lambda x: np.where(np.arange(x.shape[-1]) == 0, 9 + x, x),  # the hottest at the edge
    }.get(seed % 7, lambda x: x)
    return changed(heat).clip(0, None).astype(np.float32), placed(seed % 4, (size[0], size[1]))


@pytest.mark.parametrize("block", range(4))
def test_regions_are_those_of_the_pixels(block: int) -> None:
    for seed in range(40 * block, 40 * (block + 1)):
        heat, placement = drawn(seed)
        found = regions(heat, placement)
        assert found == in_pixels(heat, placement), seed
        assert repr(found) == repr(in_pixels(heat, placement))  # plain numbers, not NumPy's


def test_the_pixels_of_usual_maps_are_not_made() -> None:
    rng = np.random.default_rng(5)
    heat = rng.random((6, 7, 7)).astype(np.float32)
    placement = Placement.whole((375, 500), (224, 224))
    with mock.patch.object(Placement, "to_image", autospec=True, side_effect=Placement.to_image) as made:
        found = regions(heat, placement)
    # Of six maps two have a pixel at the very threshold, or less: rounding decides there.
    assert made.call_count <= 2
    assert found == in_pixels(heat, placement)


def test_a_pixel_at_the_threshold_itself_is_as_the_pixels_have_it() -> None:
    # Four pixels a cell: the second of eight is at 0.125, and a map of 1 and 7/9 crosses half of it there.
    for low in np.linspace(-1, 0.5, 61, dtype=np.float32):
        heat = np.array([[[1.0, max(low, 0.0), 0.5, 0.25]]], np.float32)
        for width in (8, 12, 16, 40):
            placement = Placement.whole((3, width), (8, 8))
            assert regions(heat, placement) == in_pixels(heat, placement), (low, width)


def test_nothing_is_hot_where_nothing_is_over_0() -> None:
    assert regions(np.zeros((2, 7, 7), np.float32), Placement.whole((30, 40), (8, 8))) == [None, None]
    assert regions(np.zeros((0, 7, 7), np.float32), Placement.whole((30, 40), (8, 8))) == []


@pytest.mark.parametrize("seed", range(20))
def test_boxes_are_those_of_what_hangs_together(seed: int) -> None:
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    marked = rng.random((3, 20, 30)) < (0.25, 0.4, 0.6)[seed % 3]
    marked[:, 0, 0] = True
    edges = np.diff(np.pad(marked, ((0, 0), (0, 0), (1, 1))).astype(int), axis=2)
    of, row, begin = np.nonzero(edges == 1)
    spans = Spans(of, row, begin, np.nonzero(edges == -1)[2])
    places = np.array([[0, 0], *(np.argwhere(one)[-1] for one in marked[1:])])
    wanted = []
    for one, place in zip(marked, places, strict=True):
        labels, _ = ndimage.label(one, structure=np.ones((3, 3)))
        rows, columns = np.nonzero(labels == labels[tuple(place)])
        wanted.append([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])
    assert boxes_of(spans, places, 30).tolist() == wanted
    assert spans.lengths(3).tolist() == marked.sum(axis=(1, 2)).tolist()
