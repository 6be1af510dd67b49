"""Files that are damaged, hostile or in the way: one error in words, or all of it works; and nothing is left torn."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fuzz
import gradsight as gs
from gradsight import imaging, limits
from gradsight.errors import GradsightError, ImageError, InvalidArgument
from gradsight.imaging import Placement, read_image
from gradsight.models.labels import read_labels
from gradsight.results.note import Note
from gradsight.targets import Prediction, TargetInfo

WEAK = Note("weak", "weak")
KINDS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")


def photo(height: int = 30, width: int = 40) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def made(*positions: int, photos: bool = True) -> gs.Explanation:
    """Two images, two targets, with all that an explanation may hold."""
    rng = np.random.default_rng(1)
    size = tuple(4 * length for length in positions)
    return gs.Explanation(
        maps=rng.normal(size=(2, 2, *positions)).astype(np.float32),
        scores=rng.normal(size=(2, 2)).astype(np.float32),
        targets=((TargetInfo(3, "cat"), TargetInfo(None, "cat, not dog", ("cat", "dog"), (2.0, 3.5, 9.0, 12.0))),) * 2,
        layers=("layer4",),
        at="layer",
        method="gradcam",
        model="demo",
        input_size=size,
        predictions=((Prediction(3, "cat", 0.5), Prediction(1, "dog", 0.25)),) * 2,
        target_notes=(((WEAK,), ()), ((), (Note("lot", "drawn by lot", "by --lot"), WEAK))),
        photos=(photo(), photo()) if photos else (),
        placements=(Placement((30, 40), size, (0.0, 5.0, 30.0, 35.0)),) * 2 if photos else (),  # type: ignore[arg-type]
        title="Grad-CAM",
        alphas=rng.normal(size=(2, 2, 6)).astype(np.float32),
        channel_means=rng.normal(size=(2, 6)).astype(np.float32),
        question="what?",
        written=("a cat", "a dog"),
        preprocess={"size": [32, 40], "assumed": False, "assumed_parts": []},
    )


def look_at(found: gs.Explanation) -> None:
    """Everything that shows an explanation."""
    repr(found)
    assert found.notes is not None
    assert found._repr_html_().startswith("<p>")
    if found.maps.ndim - 2 != len(found.input_size):
        with pytest.raises(InvalidArgument, match="as many axes"):
            found.heatmaps()
        return
    assert found.heatmaps().shape[:2] == found.maps.shape[:2]
    for i in range(len(found.maps)):
        json.dumps(found.record(i).to_dict())
        for j in range(found.maps.shape[1]):
            found.region(i, j)
        if found.photos or len(found.input_size) != 2:
            assert found.figure(i).mode == "RGB"
            assert found.overlay(i, 1).mode == "RGB"
    if found.alphas is not None:
        found.neurons(2)


def _outcome(read: Callable[[Any], Any], source: Any) -> Any:
    """What is read, or the error."""
    try:
        return read(source)
    except GradsightError as error:
        return error


# ---- results


@pytest.mark.parametrize("positions", [(6,), (4, 5), (3, 4, 5)])
def test_what_was_saved_is_read_whatever_it_is_of(tmp_path: Path, positions: tuple[int, ...]) -> None:
    explanation = made(*positions, photos=len(positions) == 2)
    explanation.save(tmp_path / "x.npz")
    found = gs.Explanation.load(tmp_path / "x.npz")
    look_at(found)
    for name in ("targets", "predictions", "target_notes", "placements", "preprocess", "written", "question"):
        assert getattr(found, name) == getattr(explanation, name), name
    assert [x.tobytes() for x in found.photos] == [x.tobytes() for x in explanation.photos]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings(
    "ignore::RuntimeWarning"
)  # values such as 3e38 overflow; what is asked is that all is drawn
def test_a_damaged_result_is_an_error_or_can_be_looked_at(tmp_path: Path, seed: int) -> None:
    made(4, 5).save(tmp_path / "whole.npz")
    content, path, draw, loaded = (tmp_path / "whole.npz").read_bytes(), tmp_path / "x.npz", random.Random(seed), 0
    for number in range(60 if seed == 0 else 1000):
        path.write_bytes(fuzz.npz_of(content, draw))
        found = _outcome(gs.Explanation.load, path)
        if isinstance(found, gs.Explanation):
            loaded += 1
            look_at(found)
        else:
            assert isinstance(found, InvalidArgument), number
            assert "\n" not in str(found), number
            assert len(str(found)) < 1000, number
    assert loaded >= 3


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_damaged_dissection_is_an_error_or_can_be_asked(tmp_path: Path, seed: int) -> None:
    whole = gs.Dissection(
        iou=np.linspace(0, 1, 6, dtype=np.float32).reshape(3, 2),
        concepts=("red", "blue"),
        categories=("colour", ""),
        thresholds=np.ones(3, np.float32),
        areas=np.full(2, 0.5, np.float32),
        counts=np.array([4, 5]),
        quantile=0.005,
        photos=9,
        layer="layer4",
        model="demo",
    )
    whole.save(tmp_path / "whole.npz")
    content, path, draw = (tmp_path / "whole.npz").read_bytes(), tmp_path / "x.npz", random.Random(seed)
    assert gs.Dissection.load(tmp_path / "whole.npz").best(2) == whole.best(2)
    for _ in range(40 if seed == 0 else 1000):
        path.write_bytes(fuzz.npz_of(content, draw))
        try:
            found = gs.Dissection.load(path)
        except InvalidArgument:
            continue
        repr(found)
        assert [found.name(channel) for channel in range(len(found.iou))]


def _changed(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    with np.load(path) as file:
        arrays = dict(file.items())
    about = json.loads(str(arrays["about"]))
    change(about, arrays)
    arrays["about"] = np.array(json.dumps(about))
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda about, _: about["targets"][0].pop(), "targets must have 2 items, and has 1"),
        (lambda about, _: about["targets"][1][0].update(index="3"), "index` must be a whole number"),
        (lambda about, _: about["targets"][1][0].update(index=-3), "a whole number from 0 to"),
        (lambda about, _: about["targets"][1][0].update(colour=1), "'colour', which means nothing"),
        (lambda about, _: about["placements"][0].update(box=[0, 0, 0, 9]), "`box` must be 4 numbers.*with an area"),
        (lambda about, _: about["placements"][0].update(box=[0, 0, float("nan"), 9]), "`box` must be 4 numbers"),
        (lambda about, _: about["placements"][0].update(image_size=[30, 41]), "photo 0 has 40 x 30 pixels"),
        (lambda about, _: about.update(input_size=[10**6, 10**6]), "too large"),
        (lambda about, _: about.update(preprocess={}), "preprocess"),
        (lambda about, _: about.update(predictions=[[], []]), "one or more for each image"),
        (lambda about, _: about.pop("names"), "'names', which is missing"),
        (
            lambda about, _: about["targets"][0][1].update(place=[1, 2, 3]),
            "`a target's place` must be 4 numbers of pixels, or none",
        ),
        (lambda about, _: about["notes"][0][0].append(7), "a note must be a list"),
        (lambda _, arrays: arrays.update(scores=arrays["scores"][:1]), r"`scores` must have the shape \(2, 2\)"),
        (lambda _, arrays: arrays.update(maps=arrays["maps"].astype("i4")), "`maps` must hold floats"),
        (lambda _, arrays: arrays.update(maps=arrays["maps"][:, :, 0, 0]), "and has 2 axes"),
        (lambda _, arrays: arrays.pop("channel_means"), "`channel_means` is missing"),
        (lambda _, arrays: arrays.update(photo_1=arrays["photo_1"][:50]), "damaged"),
    ],
)
def test_a_result_says_what_is_wrong_with_it(tmp_path: Path, change: Any, words: str) -> None:
    path = tmp_path / "x.npz"
    made(4, 5).save(path)
    _changed(path, change)
    with pytest.raises(InvalidArgument, match=words) as caught:
        gs.Explanation.load(path)
    assert "Explanation.save" in str(caught.value)


def _npy(shape: tuple[int, ...], data: bytes) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def test_a_claim_is_not_allocated(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("maps.npy", _npy((10**6, 10**6), bytes(16)))
    with pytest.raises(InvalidArgument, match=r"claims to hold float32 of shape \(1000000, 1000000\)"):
        gs.Explanation.load(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("maps.npy", "w") as file:
        file.write(_npy((75 * 10**6,), b""))
        for _ in range(300):
            file.write(bytes(10**6))
    assert path.stat().st_size < 10**6
    with pytest.raises(InvalidArgument, match=r"over the limit of 256,000,000 bytes.*UNPACKED_BYTES"):
        gs.Explanation.load(path)


def test_json_without_end_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    for about in ("[" * 10**5, '{"a":' * 10**5, "9" * 5000, '"'):
        np.savez(path, about=np.array(about))
        with pytest.raises(InvalidArgument, match="is not an explanation") as caught:
            gs.Explanation.load(path)
        assert len(str(caught.value)) < 600


# ---- strangers' letters


def test_notebooks_show_no_letter_that_is_obeyed() -> None:
    name = 'a\x1b[2J\u202ecat\u2066<b>"&\x07\ud800'
    found = made(4, 5)
    html = gs.Explanation(
        **{
            **{field: getattr(found, field) for field in found.__dataclass_fields__},
            "targets": ((TargetInfo(3, name), TargetInfo(4, "dog")),) * 2,
            "target_notes": (((Note("x", name),), ()), ((), ())),
            "model": name,
        }
    )._repr_html_()
    assert html.isprintable()
    assert r"a\x1b[2J\u202ecat\u2066&lt;b&gt;&quot;&amp;\x07\ud800" in html
    assert "<b>" not in html


# ---- paths


@pytest.fixture
def in_the_way(tmp_path: Path) -> Iterator[Path]:
    """What is no file that can be read, under several names; reading it must not wait, so time is short."""
    (tmp_path / "folder.png").mkdir()
    for suffix in ("png", "txt", "json", "csv", "npz"):
        os.mkfifo(tmp_path / f"pipe.{suffix}")
    previous = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waited"))
    signal.alarm(20)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("name", ["none", "pipe", "x" * 300, "nul\0", "pipe.png/below"])
@pytest.mark.parametrize(
    ("suffix", "read"),
    [
        (".png", read_image),
        (".png", imaging.read_opacity),
        (".txt", read_labels),
        (".json", read_labels),
        (".csv", read_labels),
        (".npz", gs.Explanation.load),
        (".npz", gs.Dissection.load),
        ("", gs.Concepts.read),
    ],
)
def test_a_path_that_cannot_be_read_is_one_error(in_the_way: Path, name: str, suffix: str, read: Any) -> None:
    with pytest.raises((InvalidArgument, ImageError)) as caught:
        read(in_the_way / f"{name}{suffix}")
    assert "\n" not in str(caught.value)


def test_devices_are_not_read() -> None:
    for read in (read_image, gs.Explanation.load, gs.Dissection.load):
        with pytest.raises(GradsightError, match="is a device, and only files are read"):
            read("/dev/zero")


def test_a_pipe_among_concepts_is_named_and_not_waited_for(in_the_way: Path) -> None:
    folder = in_the_way / "concepts" / "red"
    folder.mkdir(parents=True)
    photo().save(folder / "a.png")
    os.mkfifo(folder / "b.png")
    with pytest.raises(ImageError, match=r"b\.png' is a pipe"):
        gs.Concepts.read(in_the_way / "concepts")


# ---- labels


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", "[" * 10**5, "valid JSON"),
        ("a.json", '{"a": ' * 10**5, "valid JSON"),
        ("a.json", "[" + "9" * 5000 + "]", "valid JSON"),
        ("a.json", '["a", ' + "[" * 500 + "]" * 500 + "]", "class 1 is "),
        ("a.csv", '0,"' + "x" * 140_000 + '"\n', "field larger than field limit"),
        ("a.csv", "0,cat\n1,dog\n2," + "x" * 140_000, "field larger than field limit"),
        ("a.csv", "0,cat\n999999999999,dog\n", "1 is missing"),
        ("a.json", '{"0": "cat", "999999999999": "dog"}', "1 is missing"),
        ("a.json", '{"cat": 2, "dog": 999999999999}', "0 is missing"),
        ("a.json", '{"0": "cat", "' + "9" * 5000 + '": "dog"}', "must have the indices"),
        ("a.csv", "0,cat\n" + "9" * 5000 + ",dog\n", "must have the indices"),
    ],
)
def test_hostile_labels_are_one_line(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidArgument, match=words) as caught:
        read_labels(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_only_ends_of_lines_end_a_label(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("cat\r\nsea\u2028lion\ndog\x0b\x1cwild\r\u0085bird\n\n".encode())
    assert read_labels(path) == ("cat", "sea\u2028lion", "dog\x0b\x1cwild", "bird")
    table = tmp_path / "a.csv"
    table.write_text('1,"two\nlines"\n0,cat\n')
    assert read_labels(table) == ("cat", "two\nlines")


# ---- pictures


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_damaged_picture_is_an_error_or_a_picture(kind: str, seed: int) -> None:
    stream = io.BytesIO()
    photo(20, 30).save(stream, kind)
    draw = random.Random(seed)
    for number in range(100 if seed == 0 else 3000):
        found = _outcome(read_image, fuzz.bytes_of(stream.getvalue(), draw))
        if isinstance(found, Image.Image):
            assert found.resize((3, 3)).mode == "RGB", number
        else:
            assert isinstance(found, ImageError), number
            assert "\n" not in str(found), number


def test_pillows_own_limit_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    # Of a WebP Pillow asks from version 13 on; before, only `PIL.Image.open` did.
    stream = io.BytesIO()
    photo().save(stream, "TIFF")
    with pytest.raises(ImageError, match=r"is too large: .*1200 pixels.*PIL\.Image\.MAX_IMAGE_PIXELS"):
        read_image(stream.getvalue())


_MEASURED = """
import sys, numpy as np
from PIL import Image
from gradsight.imaging import read_image
read_image(sys.argv[1] + ".small.png")
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
before, picture = peak(), read_image(sys.argv[1])
print((peak() - before) * 1024 / (picture.width * picture.height))
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak of memory cannot be reset")
@pytest.mark.parametrize(
    ("mode", "most"),
    [("L", 5.5), ("P", 5.5), ("RGB", 4.5), ("LA", 6.5), ("RGBA", 9), ("I;16", 6), ("F", 6.5), ("I", 6.5), ("CMYK", 9)],
)
def test_a_picture_takes_little_more_memory_than_itself(tmp_path: Path, mode: str, most: float) -> None:
    side, rng = 3000, np.random.default_rng(0)
    channels = {"RGB": 3, "LA": 2, "RGBA": 4, "CMYK": 4}.get(mode, 1)
    kind = {"I;16": "u2", "F": "f4", "I": "i4"}.get(mode, "u1")
    tile = rng.integers(0, 128, (100, 100, channels)).astype(kind)
    values = np.tile(tile, (side // 100, side // 100, 1))
    picture = Image.fromarray(values if channels > 1 else values[..., 0])
    picture = picture.convert("P") if mode == "P" else picture
    if mode == "CMYK":
        picture = Image.frombytes("CMYK", picture.size, picture.tobytes())
    path = tmp_path / f"x{'.tif' if mode in ('F', 'I', 'CMYK') else '.png'}"
    picture.save(path, **({"transparency": 3} if mode == "P" else {}))
    picture.crop((0, 0, 9, 9)).convert("RGB").save(f"{path}.small.png")
    command = [sys.executable, "-c", _MEASURED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < most


def test_strips_of_a_picture_are_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradsight.imaging import modes

    rng = np.random.default_rng(2)
    bands = rng.integers(0, 256, (53, 41, 4), dtype=np.uint8)
    clear = photo(53, 41).quantize(9)
    clear.info["transparency"] = 2
    pictures = [
        Image.fromarray(bands),
        Image.fromarray(np.ascontiguousarray(bands[..., :2])),
        Image.fromarray(np.ascontiguousarray(bands[..., :2])).convert("La"),
        Image.fromarray(bands[..., 0].astype(np.uint16) * 200),
        Image.fromarray(bands[..., 0].astype(np.float32)),
        clear,
    ]
    whole = [np.asarray(read_image(picture)) for picture in pictures]
    before = [picture.tobytes() for picture in pictures]
    monkeypatch.setattr(modes, "_STRIP", 41 * 7)
    for picture, expected, same in zip(pictures, whole, before, strict=True):
        np.testing.assert_array_equal(np.asarray(read_image(picture)), expected)
        assert picture.tobytes() == same
    rgba = bands.astype(float)
    over_white = rgba[..., :3] * rgba[..., 3:] / 255 + 255 - rgba[..., 3:]
    assert np.abs(whole[0] - over_white).max() <= 1
    np.testing.assert_array_equal(whole[3][..., 1], (bands[..., 0].astype(int) * 200 + 128) // 257)
    indices = np.asarray(clear)
    assert (whole[5][indices == 2] == 255).all()
    assert (whole[5][indices != 2] == np.asarray(clear.convert("RGB"))[indices != 2]).all()


# ---- writing


_WRITER = """
import sys, numpy as np
sys.path[:0] = {tests!r}
from pathlib import Path
import test_hostile_files as here
from gradsight import imaging
from gradsight.files import write_bytes
folder, made = Path(sys.argv[1]), here.made(40, 50)
picture = here.photo(400, 500)
print("ready", flush=True)
for number in range(10**6):
    name = str(number % 7)
    imaging.save(picture, folder / f"{{name}}.png")
    imaging.save(picture, folder / f"{{name}}.jpg")
    write_bytes(folder / f"{{name}}.json", here.json.dumps(list(range(20000))).encode())
    made.save(folder / f"{{name}}.npz")
"""


def _whole(path: Path) -> None:
    if path.suffix == ".json":
        assert json.loads(path.read_text()) == list(range(20000))
    elif path.suffix == ".npz":
        assert gs.Explanation.load(path).maps.shape == (2, 2, 40, 50)
    else:
        assert read_image(path).size == (500, 400)


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_nothing_is_torn_by_a_kill(tmp_path: Path, kills: int) -> None:
    draw, seen = random.Random(7), set[str]()
    code = _WRITER.format(tests=[str(Path(__file__).parent), str(Path(__file__).parent / "support")])
    for number in range(kills):
        how = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[number % 3]
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(draw.uniform(0.01, 0.25))
        process.send_signal(how)
        try:
            process.wait(30)
        finally:
            process.kill()  # one that stays would take a processor from all tests after it
            process.stdout.close()
        parts = [path for path in tmp_path.iterdir() if path.suffix == ".part"]
        assert how != signal.SIGINT or not parts
        for path in parts:
            path.unlink()
        for path in tmp_path.iterdir():
            _whole(path)
            seen.add(path.suffix)
    assert seen == {".png", ".jpg", ".json", ".npz"}


_FULL = """
import sys, resource, signal
sys.path[:0] = {tests!r}
from pathlib import Path
import test_hostile_files as here
from gradsight import imaging
from gradsight.files import write_bytes
folder = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
picture, made = here.photo(200, 300), here.made(40, 50)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
for write in (
    lambda: imaging.save(picture, folder / "a.png"),
    lambda: imaging.save(picture, folder / "a.webp"),
    lambda: write_bytes(folder / "a.json", bytes(9000)),
    lambda: made.save(folder / "a.npz"),
):
    try:
        write()
    except here.InvalidArgument as error:
        print(error)
"""


def test_a_disk_that_is_full_leaves_the_old_files(tmp_path: Path) -> None:
    for suffix in ("png", "webp", "json", "npz"):
        (tmp_path / f"a.{suffix}").write_bytes(b"old")
    code = _FULL.format(tests=[str(Path(__file__).parent), str(Path(__file__).parent / "support")])
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    told = done.stdout.splitlines()
    assert [line.partition("' cannot be written: File too large")[0][-6:] for line in told] == [
        "/a.png", "a.webp", "a.json", "/a.npz",
    ]  # fmt: skip
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"old"}
    assert len(list(tmp_path.iterdir())) == 4


def test_a_command_on_a_full_disk_is_one_line_and_leaves_the_old_picture(tmp_path: Path) -> None:
    photo(300, 300).save(tmp_path / "photo.png")
    (tmp_path / "grid.png").write_bytes(b"old")
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY));"
        "from gradsight.cli import main; main()"
    )
    arguments = ["compare", "photo.png", "--methods", "gradcam", "--out", "grid.png"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode in (1, 2)
    assert done.stderr.count("\n") == 1
    assert "'grid.png' cannot be written: File too large" in done.stderr
    assert (tmp_path / "grid.png").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.png", "photo.png"]


def test_a_picture_that_a_form_does_not_take_is_one_error(tmp_path: Path) -> None:
    wide = Image.new("RGB", (70_000, 1))
    for suffix in ("jpg", "webp"):
        with pytest.raises(InvalidArgument, match=r"cannot be written as .* Write it as PNG"):
            imaging.save(wide, tmp_path / f"x.{suffix}")
    assert not list(tmp_path.iterdir())
    imaging.save(wide, tmp_path / "new" / "x.png")
    assert read_image(tmp_path / "new" / "x.png").size == wide.size


def test_the_limit_of_pictures_is_one_that_can_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.PIXELS, "value", 1199)
    with pytest.raises(ImageError, match=r"40 x 30 pixels, over the limit of 1,199 pixels.*GRADSIGHT_MAX_PIXELS"):
        read_image(photo())
    monkeypatch.setattr(limits.PIXELS, "value", 1200)
    assert read_image(photo()).size == (40, 30)
