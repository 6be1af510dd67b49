"""Videos explained frame by frame: heat that moves with the thing, times that are kept, damage that is told."""

from __future__ import annotations

import itertools
import re
import struct
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import gradsight as gs
from conftest import ROOT
from gradsight.errors import ImageError, InvalidArgument
from gradsight.photos import Failed
from gradsight.watching import video as videos
from gradsight.watching.ahead import Ahead
from gradsight.watching.frame import Frame, Shot
from gradsight.watching.saving import Saving
from gradsight.watching.scale import WORDS
from gradsight.watching.sinks import VIDEOS
from gradsight.watching.source import Live
from gradsight.watching.video import Video, video_at

av = pytest.importorskip("av")
pytestmark = pytest.mark.pytorch

SIDE = 64


def net() -> nn.Module:
    """Its only class is how red the picture is: its map lies where there is red, as strong as that is."""
    made = nn.Sequential(nn.AvgPool2d(8), nn.Conv2d(3, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    made[1].weight.data = torch.tensor([1.0, -0.5, -0.5])[None, :, None, None]
    return made.eval()


@pytest.fixture(scope="module")
def explainer() -> gs.Explainer:
    preprocess = gs.Preprocess((SIDE, SIDE), mean=(0, 0, 0), std=(1, 1, 1), fit="squash")
    return gs.Explainer(net(), preprocess=preprocess, labels=["red"], layer="1", targets=0)


def scene(place: float, size: tuple[int, int] = (96, 64), strength: int = 230) -> Image.Image:
    """A red square whose middle is at ``place`` of the width, in the upper half."""
    width, height = size
    pixels = np.full((height, width, 3), 40, np.uint8)
    left = round(place * width - height / 6)
    pixels[height // 8 : height // 8 + height // 3, max(0, left) : left + height // 3] = (strength, 20, 20)
    return Image.fromarray(pixels)


def record(
    path: Path,
    pictures: Sequence[Image.Image],
    times: Sequence[Fraction] | None = None,
    codec: str = "libx264",
    **settings: Any,
) -> Path:
    """A video of pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "12"} if codec == "libx264" else {})
        stream.width, stream.height = pictures[0].size
        stream.pix_fmt = "yuv444p" if codec == "libx264" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_image(picture)
            frame.time_base = Fraction(1, 1000)
            frame.pts = round((times[i] if times else Fraction(i, 25)) * 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def frames_of(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as container:
        return [(float(f.pts * f.time_base), f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]


def middle(heat: np.ndarray) -> tuple[float, float]:
    """Of the heat, as shares of height and width."""
    rows, columns = np.indices(heat.shape)
    return float((rows * heat).sum() / heat.sum() / heat.shape[0]), float(
        (columns * heat).sum() / heat.sum() / heat.shape[1]
    )


@pytest.fixture(scope="module")
def panned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    places = np.linspace(0.2, 0.8, 30)
    return record(tmp_path_factory.mktemp("videos") / "pan.mp4", [scene(place) for place in places])


def test_heat_moves_with_the_thing(panned: Path, explainer: gs.Explainer, tmp_path: Path) -> None:
    with gs.watch(panned, explainer) as frames:
        found = list(frames)
    assert [frame.index for frame in found] == list(range(30))
    assert [frame.time for frame in found] == pytest.approx([i / 25 for i in range(30)])
    for frame, place in zip(found, np.linspace(0.2, 0.8, 30), strict=True):
        row, column = middle(frame.explanation.on_photo())
        assert abs(column - place) < 0.04
        assert row < 0.42
    done = gs.watch(panned, explainer).save(tmp_path / "out.mp4")
    assert (done.frames, done.failed, done.path) == (30, 0, tmp_path / "out.mp4")
    written = frames_of(tmp_path / "out.mp4")
    assert [time for time, _ in written] == pytest.approx([i / 25 for i in range(30)])
    for (_, picture), frame in zip(written, found, strict=True):
        want = np.asarray(frame.overlay(), int)
        # Heights differ by the line of text below.
        assert np.abs(picture[:64, :96] - want).mean() < 8


def test_one_scale_over_all_frames_is_that_of_the_strongest_of_some(tmp_path: Path, explainer: gs.Explainer) -> None:
    strengths = [60, 120, 240, 120, 60]
    path = record(tmp_path / "x.mp4", [scene(0.5, strength=s) for s in strengths])
    found = list(gs.watch(path, explainer))
    own = [float(frame.explanation.scale.max()) for frame in found]
    assert {frame.scale for frame in found} == {max(own)}
    assert [frame.strength for frame in found] == pytest.approx([one / max(own) for one in own])
    assert found[0].overlay() != found[0].explanation.overlay()
    # So far: it rises, and never falls; the first frame knows nothing of those that come.
    running = [frame.scale for frame in gs.watch(path, explainer, scale="running")]
    assert running == pytest.approx(list(itertools.accumulate(own, max)))
    assert all(frame.scale is None for frame in gs.watch(path, explainer, scale="own"))
    fixed = list(gs.watch(path, explainer, scale=0.1))
    assert [frame.scale for frame in fixed] == [0.1] * 5
    done = gs.watch(path, explainer, scale=max(own) / 1.5).save(tmp_path / "y.mp4")
    assert done.over == 1


def test_frames_do_not_depend_on_batches(panned: Path, explainer: gs.Explainer) -> None:
    one, many = (list(gs.watch(panned, explainer, batch_size=size)) for size in (1, 7))
    for a, b in zip(one, many, strict=True):
        assert np.allclose(a.explanation.maps, b.explanation.maps, atol=1e-5)
        assert a.scale == pytest.approx(b.scale)


def test_the_sampled_frames_are_those_of_their_times(panned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = video_at(panned)
    index = film.index()
    assert len(index.times) == 30
    all_of_it = [shot.source for shot in film.shots()]
    for chosen in ([0, 7, 14, 29], [29], [3, 4]):
        found = list(film.at([index.times[i] for i in chosen], index))
        assert [shot.source.tobytes() for shot in found] == [all_of_it[i].tobytes() for i in chosen]


def test_times_are_kept_where_the_rate_varies(tmp_path: Path, explainer: gs.Explainer) -> None:
    times = [Fraction(x, 100) for x in (0, 4, 9, 40, 41, 120)]
    path = record(tmp_path / "x.mkv", [scene(0.5)] * 6, times)
    # The long wait between two frames is none that is missing.
    assert gs.watch(path, explainer).save(tmp_path / "y.mp4").failed == 0
    assert [time for time, _ in frames_of(tmp_path / "y.mp4")] == pytest.approx([float(t) for t in times], abs=2e-4)


@pytest.mark.parametrize("form", ["mp4", "mov", "mkv", "webp"])
def test_odd_sizes_and_all_forms(form: str, tmp_path: Path, explainer: gs.Explainer) -> None:
    path = record(tmp_path / "x.mkv", [scene(0.3, (75, 53)), scene(0.7, (75, 53))])
    gs.watch(path, explainer).save(tmp_path / f"y.{form}")
    want = [np.asarray(frame.overlay(), int) for frame in gs.watch(path, explainer)]
    if form == "webp":
        with Image.open(tmp_path / "y.webp") as animated:
            assert (animated.n_frames, animated.info["loop"]) == (2, 0)
            found = []
            for i in range(2):
                animated.seek(i)
                found.append(np.asarray(animated.convert("RGB"), int))
    else:
        found = [picture for _, picture in frames_of(tmp_path / f"y.{form}")]
    for picture, one in zip(found, want, strict=True):
        assert picture.shape[0] % 2 == picture.shape[1] % 2 == 0
        assert np.abs(picture[:53, :75] - one).mean() < 9


def turned(path: Path, degrees: int) -> None:
    """Write into a video that it is to be shown turned, as phones do: the matrix of its track's head."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4
    start = at + (40 if data[at] == 0 else 52)
    one = 0x10000
    matrix = {90: (0, one, -one, 0), 180: (-one, 0, 0, -one), 270: (0, -one, one, 0)}[degrees]
    values = (matrix[0], matrix[1], 0, matrix[2], matrix[3], 0, 0, 0, 0x40000000)
    data[start : start + 36] = struct.pack(">9i", *values)
    path.write_bytes(data)


@pytest.mark.parametrize(("degrees", "where"), [(90, "right"), (180, "below"), (270, "left")])
def test_what_a_phone_turned_is_turned_back(degrees: int, where: str, tmp_path: Path, explainer: gs.Explainer) -> None:
    path = record(tmp_path / "x.mp4", [scene(0.5)] * 2)
    turned(path, degrees)
    (frame, _) = gs.watch(path, explainer)
    row, column = middle(frame.explanation.on_photo())
    # Stored, the square is in the upper half; players turn clockwise by so many degrees.
    assert {"right": column > 0.58, "below": row > 0.58, "left": column < 0.42}[where]
    assert frame.overlay().size == ((96, 64) if degrees == 180 else (64, 96))


def test_pixels_that_are_no_squares_become_squares(tmp_path: Path, explainer: gs.Explainer) -> None:
    path = record(tmp_path / "x.mkv", [scene(0.5)] * 2, sample_aspect_ratio=Fraction(2))
    frame = next(gs.watch(path, explainer))
    assert frame.overlay().size == (192, 64)


def test_a_folder_is_a_video_of_its_pictures(tmp_path: Path, explainer: gs.Explainer) -> None:
    (tmp_path / "in").mkdir()
    for i in (1, 2, 10):
        scene(i / 12).save(tmp_path / f"in/{i}.png")
    (tmp_path / "in/9.png").write_bytes(b"no picture")
    found = list(gs.watch(tmp_path / "in", explainer))
    assert [type(one) for one in found] == [Frame, Frame, Failed, Frame]
    assert "9.png" in str(found[2].error)
    columns = [middle(one.explanation.on_photo())[1] for one in found if isinstance(one, Frame)]
    assert columns == sorted(columns)
    done = gs.watch(tmp_path / "in", explainer).save(tmp_path / "out", rate=5)
    assert (done.frames, done.failed) == (3, 1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000000.jpg", "000001.jpg", "000002.jpg"]
    with pytest.raises(InvalidArgument, match="has numbered pictures already"):
        gs.watch(tmp_path / "in", explainer).save(tmp_path / "out")
    gs.watch(tmp_path / "in", explainer).save(tmp_path / "x.mp4", rate=5)
    assert [time for time, _ in frames_of(tmp_path / "x.mp4")] == pytest.approx([0, 0.2, 0.6])


def test_what_is_watched_is_not_written_over(tmp_path: Path, explainer: gs.Explainer) -> None:
    path = record(tmp_path / "x.mp4", [scene(0.5)] * 2)
    before = path.read_bytes()
    (tmp_path / "other.mp4").hardlink_to(path)
    (tmp_path / "link.mp4").symlink_to(path)
    for name in ("x.mp4", "other.mp4", "link.mp4"):
        with pytest.raises(InvalidArgument, match="must not be what is watched"):
            gs.watch(path, explainer).save(tmp_path / name)
    assert path.read_bytes() == before
    # As FFmpeg numbers frames: from 1.
    (tmp_path / "in").mkdir()
    for i in (1, 2):
        scene(i / 12).save(tmp_path / f"in/{i:06d}.jpg")
    with pytest.raises(InvalidArgument, match="must not be what is watched"):
        gs.watch(tmp_path / "in", explainer).save(tmp_path / "in")
    with pytest.raises(InvalidArgument, match="has numbered pictures already"):
        gs.watch(path, explainer).save(tmp_path / "in")


def test_what_is_cut_off_or_damaged_is_told_and_the_rest_is_kept(tmp_path: Path, explainer: gs.Explainer) -> None:
    whole = record(tmp_path / "x.mkv", [scene(i / 40) for i in range(40)], codec="mpeg4").read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: len(whole) // 2])
    found = list(gs.watch(cut, explainer))
    good = [one for one in found if isinstance(one, Frame)]
    assert 5 < len(good) < 40
    assert isinstance(found[-1], Failed)
    assert "damaged or cut off" in str(found[-1].error)
    done = gs.watch(cut, explainer).save(tmp_path / "y.mp4")
    assert (done.frames, done.failed >= 1) == (len(good), True)
    assert len(frames_of(tmp_path / "y.mp4")) == len(good)
    for junk in (b"", b"junk" * 100, whole[:40]):
        cut.write_bytes(junk)
        with pytest.raises(ImageError, match=r"cannot be read as a video|has no pictures"):
            list(gs.watch(cut, explainer))


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {}\n"])
def test_a_list_of_other_files_is_no_video(text: str, panned: Path, tmp_path: Path, explainer: gs.Explainer) -> None:
    (tmp_path / "list.mp4").write_text(text.format(panned))
    with pytest.raises(ImageError, match="cannot be read as a video"):
        next(gs.watch(tmp_path / "list.mp4", explainer))


def test_a_name_is_no_address(tmp_path: Path, explainer: gs.Explainer, panned: Path) -> None:
    odd = tmp_path / "concat:a|b.mp4"
    odd.write_bytes(panned.read_bytes())
    assert isinstance(next(gs.watch(odd, explainer)), Frame)


def lavfi(duration: int = 1) -> Video:
    return Video(f"testsrc=size=64x48:rate=10:duration={duration}", "camera 0", "lavfi")


def test_a_camera_goes_through_the_same_reader(explainer: gs.Explainer, tmp_path: Path, monkeypatch: Any) -> None:
    if "lavfi" not in av.formats_available:
        pytest.skip("this PyAV has no device that makes pictures")
    found = list(gs.watch(Live(lavfi()), explainer))
    assert found
    assert all(isinstance(one, Frame) for one in found)
    # One after another, the newest first: none is explained twice, and the scale never falls.
    assert [one.index for one in found] == sorted({one.index for one in found})
    scales = [one.scale for one in found]
    assert scales == sorted(scales)
    monkeypatch.setattr(videos, "_CAMERAS", {"linux": ("lavfi", "testsrc=size=64x48:rate=10:duration={}")})
    monkeypatch.setattr(videos.sys, "platform", "linux")
    assert gs.watch(1, explainer).save(tmp_path / "x.mp4").frames >= 1


def test_a_camera_that_is_not_there_is_told(explainer: gs.Explainer, monkeypatch: Any) -> None:
    with pytest.raises((ImageError, InvalidArgument), match=r"There is no camera 97|cannot be reached"):
        gs.watch(97, explainer)
    monkeypatch.setattr(videos.sys, "platform", "plan9")
    with pytest.raises(InvalidArgument, match="cameras cannot be reached on this system"):
        gs.watch(0, explainer)


def test_the_newest_frames_of_a_camera_are_taken() -> None:
    given, more = threading.Event(), threading.Event()

    def shots() -> Iterator[Shot]:
        yield Shot(0, 0.0, None)
        more.wait(10)
        for i in range(1, 6):
            yield Shot(i, 0.0, None)
        given.set()

    ahead = Ahead(shots(), newest=True)
    first = next(ahead)
    more.set()
    given.wait(10)
    rest = list(ahead)
    assert (first.index, [shot.index for shot in rest], ahead.dropped) == (0, [5], 4)
    ahead.close()


def test_few_frames_are_held_and_a_thread_ends_with_its_stream(panned: Path, explainer: gs.Explainer) -> None:
    read = itertools.count()
    taken = 0

    def pictures() -> Iterator[Image.Image]:
        for i in range(10_000):
            next(read)
            yield scene(i / 10_000)

    before = threading.active_count()
    with gs.watch(pictures(), explainer, batch_size=4) as frames:
        for _ in range(10):
            next(frames)
            taken += 1
    assert next(read) <= taken + 4 * 4
    ahead = Ahead(Shot(i, 0.0, scene(0.5, (2000, 1500))) for i in range(10_000))
    next(ahead)
    threading.Event().wait(0.1)
    assert len(ahead._waiting) <= 11
    ahead.close()
    frames = gs.watch(panned, explainer)
    next(frames)
    frames.close()
    assert threading.active_count() <= before


def test_however_it_ends_what_is_done_is_kept(panned: Path, explainer: gs.Explainer, tmp_path: Path) -> None:
    def ending(error: BaseException) -> Iterator[Frame | Failed[Shot]]:
        yield from itertools.islice(gs.watch(panned, explainer), 12)
        raise error

    for number, error in enumerate((KeyboardInterrupt(), MemoryError("no room"), InvalidArgument("x"))):
        saving = Saving(ending(error), tmp_path / f"{number}.mp4")
        with pytest.raises(type(error)):
            list(saving)
        assert len(frames_of(tmp_path / f"{number}.mp4")) == saving.done.frames == 12
    saving = Saving(gs.watch(panned, explainer), tmp_path / "closed.mp4")
    next(saving)
    saving.close()
    assert len(frames_of(tmp_path / "closed.mp4")) == saving.done.frames >= 1
    # Nothing at all leaves nothing behind, and what was there stays.
    (tmp_path / "kept.mp4").write_bytes(b"before")
    with pytest.raises(InvalidArgument, match="must get a frame at least"):
        list(Saving([], tmp_path / "kept.mp4"))
    assert (tmp_path / "kept.mp4").read_bytes() == b"before"
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]


def test_several_targets_stand_side_by_side(panned: Path, tmp_path: Path) -> None:
    two = nn.Sequential(nn.AvgPool2d(8), nn.Conv2d(3, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    two[1].weight.data = torch.tensor([[1.0, -0.5, -0.5], [-1.0, 0.5, 0.5]])[:, :, None, None]
    preprocess = gs.Preprocess((SIDE, SIDE), mean=(0, 0, 0), std=(1, 1, 1), fit="squash")
    explainer = gs.Explainer(two.eval(), preprocess=preprocess, layer="1")
    gs.watch(panned, explainer, targets=gs.Classes(0, 1), every=10).save(tmp_path / "x.mp4")
    pictures = frames_of(tmp_path / "x.mp4")
    assert len(pictures) == 3
    assert pictures[0][1].shape[1] == 2 * 96
    assert [time for time, _ in pictures] == pytest.approx([0, 0.4, 0.8])


def test_the_blocks_of_the_page_on_videos_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
    with Image.open(ROOT / "docs" / "cat_and_coffee.jpg") as photo:
        record(tmp_path / "video.mp4", [photo.convert("RGB").resize((320, 240))] * 2)
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(block, "docs/live.md", "exec"), names)
    assert (names["saved"].frames, names["saved"].failed) == (2, 0)
    # What the page says of scales and endings is what there is.
    assert all(f"`{word}`" in text for word in (*WORDS, *list(VIDEOS)[:1], ".webp"))
