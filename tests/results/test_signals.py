"""Explanations of signals, volumes and videos: where the heat is, in numbers and in pictures."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import gradsight as gs
from gradsight import imaging
from gradsight.cli.output import Output
from gradsight.cli.showing import show
from gradsight.errors import InvalidArgument, InvalidType
from gradsight.imaging.signal import PAPER
from gradsight.photos import Photo
from gradsight.targets import TargetInfo

HOT = (240, 249, 33)  # the bright end of the colour map


class First(nn.Module):
    """Scores of what the first channel holds: for class 0, and as much against class 1."""

    def __init__(self, channels: int, axes: int, stride: int, frames_first: bool = False) -> None:
        super().__init__()
        self.frames_first = frames_first
        conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        self.features = nn.Sequential(conv(channels, 1, stride, stride=stride, bias=False), nn.ReLU())
        self.head = nn.Linear(1, 2, bias=False)
        with torch.no_grad():
            self.features[0].weight.zero_()
            self.features[0].weight[:, 0] = 1
            self.head.weight.copy_(torch.tensor([[1.0], [-1.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.transpose(1, 2) if self.frames_first else x
        return self.head(self.features(x).flatten(2).mean(2))


def ecg(samples: int = 400, peak: int = 310, leads: int = 2) -> np.ndarray:
    """(1, leads, samples): a slow wave, and one spike."""
    t = np.arange(samples)
    spike = np.exp(-(((t - peak) / 3) ** 2))
    return np.stack([0.05 + 0.04 * np.sin(t / 30 + lead) + spike for lead in range(leads)])[None].astype(np.float32)


def blob(shape: tuple[int, ...], at: tuple[int, int, int]) -> np.ndarray:
    """(1, channels, d, h, w): dark, with a bright box of 4 x 4 x 4 from ``at`` on."""
    volume = np.full((1, *shape), 0.1, np.float32)
    d, r, c = at
    volume[:, :, d : d + 4, r : r + 4, c : c + 4] = 1
    return volume


def made(maps: Any, size: tuple[int, ...], **fields: Any) -> gs.Explanation:
    maps = np.asarray(maps, np.float32)[None, None]
    targets = fields.pop("targets", ((TargetInfo(0, "beat"),),))
    return gs.Explanation(
        maps, np.ones((1, 1), np.float32), targets, ("layer",), "layer", "gradcam", "toy", size, **fields
    )


def columns(picture: Image.Image, samples: int, tall: int = 10) -> np.ndarray:
    """How near to the hottest colour each sample's columns are, (samples,): its row of pixels ``tall``."""
    pixels = np.asarray(picture).astype(float)[tall]
    near = -np.abs(pixels - HOT).sum(1)
    place = ((np.arange(samples) + 0.5) * picture.width / samples).astype(int)
    return near[place]


# Where the heat is.


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "occlusion(window=0.05, stride=0.02)"])
def test_the_region_of_a_signal_is_an_interval_of_samples_around_its_peak(method: str) -> None:
    explanation = gs.Explainer(First(2, 1, 4).eval())(ecg(), targets=0, method=method)
    found = explanation.region()
    assert found is not None
    ((peak,), (start, stop)) = found.peak, found.box
    assert abs(peak - 310) <= 6
    assert start <= 310 < stop
    assert 0 < found.area < 0.15
    assert explanation.heatmaps().shape == (1, 1, 400)


def test_the_region_of_a_volume_is_a_box_of_voxels_around_its_peak() -> None:
    explanation = gs.Explainer(First(1, 3, 2).eval())(blob((1, 16, 20, 24), (10, 4, 16)), targets=0, method="hirescam")
    found = explanation.region()
    assert found is not None
    assert all(at <= place < at + 4 for at, place in zip((10, 4, 16), found.peak, strict=True))
    assert np.abs(np.subtract(found.box, (10, 4, 16, 14, 8, 20))).max() <= 1
    assert explanation.heatmaps().shape == (1, 1, 16, 20, 24)
    assert explanation.heatmaps(size=(8, 10, 12))[0, 0].argmax() == np.ravel_multi_index((5, 2, 8), (8, 10, 12))


@pytest.mark.parametrize("frames_first", [False, True])
def test_a_video_is_a_volume_of_frames(frames_first: bool) -> None:
    video = blob((3, 12, 16, 20), (6, 8, 2))
    video = video.transpose(0, 2, 1, 3, 4) if frames_first else video
    explanation = gs.Explainer(First(3, 3, 2, frames_first).eval())(video, targets=0, method="hirescam")
    assert explanation.channel_axis == int(frames_first)
    frame, row, column = explanation.region().peak  # type: ignore[union-attr]
    assert (6 <= frame < 10, 8 <= row < 12, 2 <= column < 6) == (True, True, True)
    middle = np.asarray(explanation.overlay(photo=video[0])).astype(int)
    assert middle.shape == np.asarray(explanation.overlay()).shape


def test_records_of_all_kinds_have_one_schema() -> None:
    signal = gs.Explainer(First(2, 1, 4).eval())(ecg(), targets=0).record().to_dict()
    volume = gs.Explainer(First(1, 3, 2).eval())(blob((1, 16, 20, 24), (10, 4, 16)), targets=0).record().to_dict()
    picture = (
        gs.Explainer(First(1, 2, 2).eval())(blob((1, 16, 20, 24), (10, 4, 16))[:, :, 11], targets=0).record().to_dict()
    )
    for axes, record in ((1, signal), (2, picture), (3, volume)):
        (target,) = record["targets"]
        assert (len(record["size"]), len(target["peak"]), len(target["box"])) == (axes, axes, 2 * axes)
        assert json.loads(json.dumps(record)) == record
        assert all(0 <= at < length for at, length in zip(target["peak"], record["size"], strict=True))
        assert list(record) == list(signal)
        assert list(target) == list(signal["targets"][0])
    assert (signal["size"], signal["width"], signal["height"]) == ([400], None, None)
    assert (picture["size"], picture["width"], picture["height"]) == ([20, 24], 24, 20)
    assert (volume["size"], volume["width"], volume["height"]) == ([16, 20, 24], 24, 20)


def test_a_signed_signal_has_a_region_for_each_side() -> None:
    named = ((TargetInfo(None, "a rather than b", ("a", "b")),),)
    maps = np.zeros(50)
    maps[10], maps[40] = -4, 2
    explanation = made(maps, (100,), targets=named)
    (target,) = explanation.record().to_dict()["targets"]
    assert abs(target["peak"][0] - 80) <= 1
    assert abs(target["against"]["peak"][0] - 20) <= 1
    assert target["against"]["box"][0] <= 20 < target["against"]["box"][1]
    assert not made(-np.ones(50), (100,)).record().targets[0].area


def test_a_fine_map_is_averaged_over_the_same_share_of_positions_whatever_its_axes() -> None:
    """A stray voxel is no peak; and a spike of a long signal keeps its sample."""
    wide = np.zeros((24, 24, 24))
    wide[2, 3, 4] = 1
    wide[14:20, 14:20, 14:20] = 0.5
    assert all(14 <= at < 20 for at in np.unravel_index(imaging.smoothed(wide).argmax(), wide.shape))
    ramp = np.maximum(0, 1 - np.arange(5000) / 40)  # it begins at once, and ends slowly
    signal = np.roll(ramp, 3000)
    assert abs(int(imaging.smoothed(signal).argmax()) - 3000) <= 12
    assert abs(made(signal, (5000,)).region().peak[0] - 3000) <= 12  # type: ignore[union-attr]


def test_a_long_signal_needs_no_matrix() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(60_000).astype(np.float32)
    start = time.perf_counter()
    found = imaging.resize(values[None], (200_000,))[0]
    assert time.perf_counter() - start < 5
    at = (np.arange(200_000) + 0.5) * (60_000 / 200_000) - 0.5
    np.testing.assert_allclose(found, np.interp(at, np.arange(60_000), values), atol=60_000 * np.finfo("f4").eps)
    small = rng.random((3, 5, 40))
    short = imaging.resize(small, (7, 90))
    from gradsight.imaging import resample

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resample, "_CELLS", 0)
        np.testing.assert_allclose(imaging.resize(small, (7, 90)), short, atol=1e-12)


# The picture of a signal.


@pytest.mark.parametrize(("samples", "peak"), [(7, 0), (100, 91), (450, 33), (1000, 640), (5000, 4321)])
def test_the_hottest_column_is_that_of_the_sample(samples: int, peak: int) -> None:
    maps = np.exp(-np.abs(np.arange(samples) - peak) / 2.0)
    for photo in (None, np.zeros((3, samples)), np.zeros(samples)):
        drawn = made(maps, (samples,)).overlay(photo=photo, scale=1.0)
        near = columns(drawn, samples)
        assert near[peak] == near.max()
        assert np.abs(np.flatnonzero(near == near.max()) - peak).max() <= samples // drawn.width
        assert near[(peak + samples // 2) % samples] < near[peak] - 50


def test_one_hot_sample_among_many_is_not_lost() -> None:
    maps = np.zeros(30_000)
    maps[12_345], maps[20_000] = 1, -1
    drawn = np.asarray(made(maps, (30_000,)).overlay(scale=1.0)).astype(int)[10]
    away = np.abs(drawn - PAPER).sum(1)
    assert np.flatnonzero(away > 100).tolist() == [int(12_345.5 * 1600 / 30_000)]
    signed = np.asarray(made(maps, (30_000,)).overlay(scale=1.0, signed=True)).astype(int)[10]
    hot = np.flatnonzero(np.abs(signed - PAPER).sum(1) > 100)
    assert hot.tolist() == [int(12_345.5 * 1600 / 30_000), int(20_000.5 * 1600 / 30_000)]
    assert signed[hot[0], 0] > signed[hot[0], 2] + 100
    assert signed[hot[1], 2] > signed[hot[1], 0] + 100


def test_each_channel_is_a_line_in_its_row_with_large_values_at_the_top() -> None:
    samples, peaks = 200, (20, 90, 170)
    signal = np.stack([np.where(np.abs(np.arange(samples) - peak) < 3, 5.0, -1.0) for peak in peaks])
    drawn = np.asarray(made(np.zeros(20), (samples,)).overlay(photo=signal)).astype(int)
    tall = (len(drawn) - 24) // 3
    for row, peak in enumerate(peaks):
        upper = drawn[tall * row + 3 : tall * row + tall // 2, 40:].sum(2) > 500
        across = (np.flatnonzero(upper.any(0)) + 40) * samples / drawn.shape[1]
        assert abs(across.mean() - peak) < 1.5
        assert np.ptp(across) < 9


def test_a_gap_in_a_signal_is_a_gap_in_its_line() -> None:
    signal = np.zeros(100)
    signal[30:60] = np.nan
    signal[45] = np.inf
    drawn = np.asarray(made(np.zeros(20), (100,)).overlay(photo=signal)).astype(int)[:-24]
    inked = (drawn.sum(2) > 400).any(0)
    across = (np.arange(100) + 0.5) * drawn.shape[1] / 100
    assert inked[across.astype(int)].tolist() == [not 30 <= i < 60 for i in range(100)]
    assert made(np.zeros(20), (100,)).overlay(photo=np.full(100, np.nan)).width == drawn.shape[1]


@pytest.mark.parametrize("samples", [1, 9, 100, 1234, 100_000])
def test_the_axis_counts_samples_in_round_steps(samples: int) -> None:
    from gradsight.imaging.signal import _step

    step = _step(samples)
    assert str(step).strip("0") in {"1", "2", "5"}
    assert samples / 12 <= step or step == 1
    assert step <= max(1, samples / 4)


def test_a_signal_is_taken_in_whatever_order_its_axes_are() -> None:
    maps, signal = np.zeros(40), ecg(400, 310, 3)[0]
    drawn = made(maps, (400,)).overlay(photo=signal)
    for other in (signal.T, torch.tensor(signal), torch.tensor(signal, requires_grad=True), signal.astype("f8")):
        assert made(maps, (400,)).overlay(photo=other).tobytes() == drawn.tobytes()
    square = np.random.default_rng(0).random((30, 30))
    first, last = made(np.zeros(10), (30,)), made(np.zeros(10), (30,), channel_axis=1)
    assert first.overlay(photo=square).tobytes() == last.overlay(photo=square.T).tobytes()
    assert first.overlay(photo=square).tobytes() != last.overlay(photo=square).tobytes()
    half = torch.tensor(signal, dtype=torch.bfloat16)
    assert made(maps, (400,)).overlay(photo=half).size == drawn.size


@pytest.mark.parametrize(
    ("photo", "error", "says"),
    [
        (ecg(), InvalidArgument, r"photo=batch\[0\]"),
        (np.zeros((2, 399)), InvalidArgument, r"positions \(400,\).*shape \(2, 399\).*Resample"),
        (np.zeros((300, 400)), InvalidArgument, r"1 to 256 channels.*photo\[:12\]"),
        ("ecg.csv", InvalidType, r"must be an array of the positions \(400,\).*'ecg.csv'"),
        ([[1, 2], [3]], InvalidType, "must be an array"),
        (Image.new("RGB", (20, 20)), InvalidArgument, "with or without an axis of channels"),
    ],
)
def test_what_cannot_be_drawn_on_is_refused_in_words(photo: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        made(np.ones(100), (400,)).overlay(photo=photo)


# The picture of a volume.


def panels_of(explanation: gs.Explanation, **options: Any) -> list[tuple[Image.Image, str]]:
    found: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["gradsight.imaging.slices"], "strip", lambda panels, **_: found.extend(panels))
        explanation.overlay(**options)
    return found


def place_of(picture: Image.Image, size: tuple[int, int]) -> tuple[float, float]:
    """(row, column) of a slice of ``size`` where the picture of it is nearest to the hottest colour."""
    near = -np.abs(np.asarray(picture).astype(float) - HOT).sum(2)
    rows, columns = np.nonzero(near == near.max())
    return rows.mean() * size[0] / picture.height, columns.mean() * size[1] / picture.width


@pytest.mark.parametrize("photo", [False, True])
def test_the_slice_of_the_peak_is_in_the_middle_and_its_heat_at_the_peak(photo: bool) -> None:
    maps = np.zeros((20, 24, 30))
    maps[12:15, 5:8, 20:23] = 0.5
    maps[13, 6, 21] = 1
    explanation = made(maps, (40, 48, 60))
    assert explanation.region().peak[0] in (26, 27)  # type: ignore[union-attr]
    volume = np.random.default_rng(0).random((40, 48, 60))
    volume[0, 0, 0] = 20  # the rest is dark beside it
    found = panels_of(explanation, photo=volume if photo else None)
    first, last, middle = *explanation.region().box[::3], explanation.region().peak[0]  # type: ignore[union-attr]
    shown = [int(text.removeprefix("slice ")) for _, text in found]
    assert shown[2] == middle
    assert len(set(np.diff(shown))) == 1
    assert first - 2 <= shown[0] <= first + 2
    assert last - 3 <= shown[-1] <= last + 2
    row, column = place_of(found[2][0], (48, 60))
    assert abs(row - 13) < 1.5
    assert abs(column - 43) < 1.5
    strengths = [np.asarray(picture).astype(int).max() for picture, _ in found]
    assert strengths[2] == max(strengths) > strengths[0]


def test_slices_are_those_of_the_volume_and_not_turned() -> None:
    volume = np.zeros((6, 20, 40))
    volume[3, 2:5, 30:38] = 1
    volume[4, 15:18, 3:6] = 1
    maps = np.zeros((6, 20, 40))
    maps[3] = 1e-6
    panels = panels_of(made(maps, (6, 20, 40)), photo=volume, opacity=0)
    found = {text: np.asarray(picture) for picture, text in panels}
    assert list(found) == [f"slice {i}" for i in range(1, 6)]
    for index in range(1, 6):
        drawn = found[f"slice {index}"]
        times = drawn.shape[0] // 20
        assert (drawn.shape[1] // 40, drawn.shape[1] >= 160) == (times, True)
        np.testing.assert_array_equal(drawn[::times, ::times, 0] / 255, volume[index])
        assert (drawn[..., 0] == drawn[..., 2]).all()


def test_a_peak_at_the_end_stays_in_the_middle_with_empty_places_beside_it() -> None:
    maps = np.zeros((8, 6, 6))
    maps[7, 2, 2] = 1
    found = panels_of(made(maps, (16, 6, 6)))
    assert [text for _, text in found] == ["slice 13", "slice 14", "slice 15", "", ""]
    assert (np.asarray(found[3][0]) == 255).all()
    assert [text for _, text in panels_of(made(np.zeros((2, 4, 4)), (2, 8, 8)))] == ["slice 0", "slice 1", ""]
    assert [text for _, text in panels_of(made(np.ones((1, 4, 4)), (1, 8, 8)))] == ["slice 0"]


def test_colours_of_a_video_are_its_own() -> None:
    video = np.zeros((3, 4, 10, 10))
    video[0, 1], video[2, 2] = 1, 1
    explanation = made(np.zeros((4, 5, 5)), (4, 10, 10))
    for photo in (video, np.moveaxis(video, 0, 1), np.moveaxis(video, 0, 3), (255 * video).astype("u1")):
        order = 1 if photo.shape[0] == 4 and photo.shape[1] == 3 else 0
        found = panels_of(made(np.zeros((4, 5, 5)), (4, 10, 10), channel_axis=order), photo=photo)
        shown = {text: tuple(np.asarray(picture)[5, 5]) for picture, text in found}
        assert (shown["slice 1"], shown["slice 2"], shown["slice 3"]) == ((255, 0, 0), (0, 0, 255), (0, 0, 0))
    with pytest.raises(InvalidArgument, match=r"one channel, or three.*shape \(2, 4, 10, 10\).*photo\[0\]"):
        explanation.overlay(photo=video[:2])


def test_large_slices_are_made_smaller_and_a_volume_may_be_constant_or_broken() -> None:
    found = panels_of(made(np.ones((3, 4, 4)), (3, 960, 500)), photo=np.full((3, 960, 500), 7.0), opacity=0)
    assert {picture.size for picture, _ in found} == {(250, 480)}
    assert (np.asarray(found[2][0]) == 128).all()
    broken = np.zeros((3, 8, 8))
    broken[1, 0], broken[1, 1], broken[1, 2] = np.nan, np.inf, 1
    drawn = np.asarray(panels_of(made(np.zeros((3, 4, 4)), (3, 8, 8)), photo=broken)[2][0])
    assert drawn.shape == (160, 160, 3)
    assert drawn[::20, 0, 0].tolist() == [0, 255, 255, 0, 0, 0, 0, 0]


# Figures, files, notebooks, the command line.


def test_the_figure_stands_under_one_another_with_and_without_what_was_explained() -> None:
    explainer = gs.Explainer(First(2, 1, 4).eval(), labels=["beat", "none"])
    explanation = explainer(ecg(), targets=gs.Classes(0, 1))
    alone, whole = explanation.figure(), explanation.figure(photo=ecg()[0])
    one = explanation.overlay(photo=ecg()[0])
    assert alone.height > 2 * explanation.overlay().height
    assert whole.height > 3 * one.height
    assert one.width < whole.width < 1.1 * one.width
    assert explanation._repr_html_().count("<img") == 1
    volume = gs.Explainer(First(1, 3, 2).eval())(blob((1, 16, 20, 24), (10, 4, 16)), targets=gs.Contrast(0, 1))
    assert volume.figure(photo=blob((1, 16, 20, 24), (10, 4, 16))[0]).height > 2 * volume.overlay().height
    assert "<img" in volume._repr_html_()


def test_the_figure_of_an_array_is_drawn_on_a_photo_that_is_given() -> None:
    explanation = gs.Explainer(First(3, 2, 2).eval())(np.random.default_rng(0).random((1, 3, 16, 16)), targets=0)
    photo = Image.new("RGB", (32, 32), "grey")
    assert explanation.figure(photo=photo).width > 2 * 320
    assert 320 < explanation.figure().width < 2 * 320  # without one the heat alone


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    explanation = made(np.arange(50), (400,), channel_axis=1)
    explanation.save(tmp_path / "signal.npz")
    loaded = gs.Explanation.load(tmp_path / "signal.npz")
    assert (loaded.channel_axis, loaded.input_size, loaded.record()) == (1, (400,), explanation.record())
    assert loaded.overlay(photo=ecg()[0].T).tobytes() == explanation.overlay(photo=ecg()[0].T).tobytes()


@pytest.mark.parametrize(
    ("positions", "size"), [((9,), (16, 16)), ((4, 4), (100,)), ((4, 4), (8, 16, 16)), ((2, 4, 4), (16, 16))]
)
def test_a_map_of_other_axes_than_the_input_is_told_and_not_stretched(
    positions: tuple[int, ...], size: tuple[int, ...]
) -> None:
    explanation = made(np.ones(positions), size)
    for call in (explanation.region, explanation.record, explanation.overlay, explanation.figure, explanation.heatmaps):
        with pytest.raises(InvalidArgument, match=r"as many axes as the model's input.*`layout=`"):
            call()
    assert explanation.heatmaps(size=positions).shape == (1, 1, *positions)
    with pytest.raises(
        InvalidArgument, match=rf"`size` must be .*positive.* The positions of the maps are \({positions[0]},"
    ):
        explanation.heatmaps(size=size)
    assert "Explanation(" in explanation._repr_html_()


def test_a_signal_lies_on_no_photo() -> None:
    with pytest.raises(InvalidArgument, match=r"of a picture.*heatmaps\(\).*overlay\(\)"):
        made(np.ones(9), (90,)).on_photo()


class OfFrames(nn.Module):
    """A photo shown three times."""

    def __init__(self) -> None:
        super().__init__()
        self.network = First(3, 3, 2)

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return self.network(video)


def test_a_model_that_makes_a_video_of_photos_is_drawn_at_its_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explainer = gs.Explainer(
        OfFrames().eval(),
        preprocess=gs.Preprocess((16, 16), mean=(0,) * 3, std=(1,) * 3),
        feed=lambda photos: np.repeat(photos[:, :, None], 4, 2),
    )
    explanation = explainer(Image.new("RGB", (60, 40), "red"), targets=0)
    record = explanation.record()
    assert (record.size, len(record.targets[0].box or ())) == ((4, 16, 16), 6)
    assert explanation.figure().height > explanation.overlay().height
    photo = Photo("photo.png", "photo", tmp_path / "photo.png")
    explanation.photos[0].save(tmp_path / "photo.png")
    records = Output(tmp_path / "out").write(photo, [explanation])
    show(records, tmp_path.joinpath)
    said = capsys.readouterr().out
    assert "16 x 16 x 4 pixels" in said
    assert "strongest at slice " in said
    with Image.open(tmp_path / "out" / records[0]["targets"][0]["file"]) as drawn:
        assert drawn.size == explanation.overlay().size
