"""Reading pictures: every orientation, mode and depth comes out as the same 8-bit RGB; what is broken says so."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from gradsight import limits
from gradsight.errors import ImageError, InvalidType
from gradsight.imaging import read_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)

# How an upright picture is stored by a camera that was held so, as array operations that undo the display's turn.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def marked() -> np.ndarray:
    """A picture that is its own under no turn or mirror: 6 high, 10 wide."""
    picture = np.full((6, 10, 3), 200, np.uint8)
    picture[:2, :3], picture[:2, 7:], picture[4:, :3] = RED, GREEN, BLUE
    return picture


def saved(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def pixels(source: object) -> np.ndarray:
    picture = read_image(source)
    assert picture.mode == "RGB"
    return np.asarray(picture)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_pictures_are_turned_upright(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](marked())))
    data = saved(stored, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(pixels(data), marked())
    np.testing.assert_array_equal(pixels(Image.open(io.BytesIO(data))), marked())


def test_orientation_of_a_jpeg() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    big = np.kron(marked(), np.ones((16, 16, 1), np.uint8))
    data = saved(Image.fromarray(np.ascontiguousarray(np.rot90(big))), "JPEG", quality=95, exif=exif)
    assert np.abs(pixels(data)[8::16, 8::16].astype(int) - marked()).max() < 12


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr", "CMYK", "HSV"]
)
def test_eight_bit_modes_keep_black_and_white(mode: str) -> None:
    grey = Image.fromarray(np.uint8([[0, 255], [255, 0]]))
    picture = grey.convert("LA").convert(mode) if mode == "La" else grey
    if mode in ("PA", "RGBa", "HSV", "CMYK", "YCbCr", "RGBX"):
        picture = grey.convert("P" if mode == "PA" else "RGBA" if mode == "RGBa" else "RGB")
    picture = picture.convert(mode)
    assert picture.mode == mode
    expected = np.uint8([[0, 255], [255, 0]])[..., None].repeat(3, 2)
    assert np.abs(pixels(picture).astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "PNG"), ("P", "GIF"), ("CMYK", "TIFF"), ("YCbCr", "TIFF")])
def test_colours_survive_files(mode: str, kind: str) -> None:
    picture = Image.fromarray(marked())
    picture = picture.quantize(8) if mode == "P" else picture.convert(mode)
    # Pillow 12 does not read what it writes as YCbCr without compression.
    options = {"compression": "tiff_lzw"} if mode == "YCbCr" else {}
    assert np.abs(pixels(saved(picture, kind, **options)).astype(int) - marked()).max() <= 3


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_sixteen_bits_are_scaled_not_clipped(mode: str) -> None:
    values = np.array([[0, 257, 128 * 257], [300, 40000, 65535]])
    dtype = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]
    picture = Image.frombytes(mode, (3, 2), values.astype(dtype).tobytes())
    expected = np.rint(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(pixels(picture)[..., 1], expected)
    np.testing.assert_array_equal(pixels(values.astype(np.uint16))[..., 2], expected)
    if mode != "I;16B":
        np.testing.assert_array_equal(pixels(saved(picture, "TIFF"))[..., 0], expected)


def test_sixteen_bit_png() -> None:
    values = np.arange(0, 65536, 4369, dtype=np.uint16).reshape(4, 4)
    np.testing.assert_array_equal(pixels(saved(Image.fromarray(values)))[..., 0], np.rint(values / 257))


def test_integers_beyond_sixteen_bits_are_refused() -> None:
    with pytest.raises(ImageError, match=r"0\.\.65535.*70000"):
        read_image(Image.fromarray(np.int32([[0, 70000]])))


@pytest.mark.parametrize("scale", [1, 255])
def test_float_pictures(scale: int) -> None:
    values = np.float32([[0, 0.25], [0.5, 1]])
    np.testing.assert_array_equal(pixels(Image.fromarray(values * scale))[..., 0], np.rint(values * 255))


def test_transparency_is_laid_over_white() -> None:
    rgba = np.uint8([[[255, 0, 0, 255], [10, 20, 30, 0], [0, 0, 0, 51]]])
    expected = [[RED, WHITE, (204, 204, 204)]]
    np.testing.assert_array_equal(pixels(rgba), expected)
    np.testing.assert_array_equal(pixels(saved(Image.fromarray(rgba))), expected)
    np.testing.assert_array_equal(pixels(rgba / 255), expected)


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 255])])
def test_transparent_palette_entries_are_white(transparency: int | bytes) -> None:
    picture = Image.new("P", (3, 1))
    picture.putpalette([*RED, *GREEN, *BLUE])
    picture.putdata([0, 1, 2])
    data = saved(picture, transparency=transparency)
    np.testing.assert_array_equal(pixels(data), [[RED, WHITE, BLUE]])


def test_transparent_grey_is_white() -> None:
    data = saved(Image.fromarray(np.uint8([[7, 80]])), transparency=7)
    np.testing.assert_array_equal(pixels(data)[0, :, 0], [255, 80])


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_give_their_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in (RED, GREEN, BLUE)]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(pixels(data).astype(int) - RED).max() <= 2


def test_every_kind_of_source_reads_the_same(tmp_path: Path) -> None:
    data = saved(Image.fromarray(marked()))
    path = tmp_path / "a picture.png"
    path.write_bytes(data)

    class Pipe(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return data

    with path.open("rb") as stream:
        sources = [str(path), path, data, bytearray(data), stream, Pipe(), Image.fromarray(marked()), marked()]
        for source in [*sources, marked() / 255, (marked() / 255).astype(np.float32)]:
            np.testing.assert_array_equal(pixels(source), marked())


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1)])
def test_grey_arrays(shape: tuple[int, ...]) -> None:
    values = np.arange(6, dtype=np.uint8).reshape(shape)
    np.testing.assert_array_equal(pixels(values), values.reshape(2, 3, 1).repeat(3, 2))


def test_the_source_is_left_as_it_is() -> None:
    picture = Image.fromarray(marked())
    read_image(picture).putpixel((0, 0), (1, 2, 3))
    np.testing.assert_array_equal(np.asarray(picture), marked())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.8])
def test_truncated_files_say_so(tmp_path: Path, kind: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), kind)
    path = tmp_path / f"cut.{kind.lower()}"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ImageError, match=r"cut\.\w+' cannot be read: .*(\.|again\.|JPEG\.)$"):
        read_image(path)


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises many pixels and whose data hold one byte."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    ends = chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + ends


@pytest.mark.parametrize("limit", [1, None])
def test_giant_files_are_refused_before_they_are_decoded(limit: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ImageError, match=r"too large: 50000 x 40000 pixels, over the limit of 200,000,000"):
        read_image(bomb(50000, 40000))
    assert limit == Image.MAX_IMAGE_PIXELS


def test_only_our_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.fromarray(marked()))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    np.testing.assert_array_equal(pixels(data), marked())
    monkeypatch.setattr(limits.PIXELS, "value", 59)
    with pytest.raises(ImageError, match="10 x 6"):
        read_image(data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"This is a letter, not a picture.\n" * 9, "not a picture"),
        (bytes(64), "not a picture|damaged"),
    ],
)
def test_files_that_are_no_pictures(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "odd.jpg"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(ImageError, match=message) as caught:
            read_image(source)
        assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"There is no file .*nowhere\.png"):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="binary mode"):
        read_image(io.StringIO("text"))


def test_postscript_is_never_run() -> None:
    stream = io.BytesIO()
    Image.fromarray(marked()).save(stream, "EPS")
    with pytest.raises(ImageError, match="not a picture"):
        read_image(stream)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((0, 5, 3), np.uint8), "at least one pixel"),
        (np.zeros((3, 8, 9), np.uint8), r"\(3, 8, 9\).*transpose\(1, 2, 0\)"),
        (np.zeros((8, 9, 2), np.uint8), r"shape \(8, 9, 2\)"),
        (np.zeros((2, 8, 9, 3), np.uint8), "one picture at a time"),
        (np.zeros((8, 9), np.int64), "int64"),
        (np.full((8, 9), np.nan), "72 NaN or infinite"),
        (np.full((8, 9), np.inf), "72 NaN or infinite"),
        (np.full((8, 9), 255.0), r"255.*Divide"),
        (np.full((8, 9), -0.5), r"-0\.5"),
    ],
)
def test_arrays_that_are_no_pictures(values: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(values)


def test_other_types() -> None:
    with pytest.raises(InvalidType, match=r"Received: 7 \(int\)"):
        read_image(7)
    with pytest.raises(ImageError, match="no pixels"):
        read_image(Image.new("RGB", (0, 4)))


def test_a_damaged_exif_block_costs_neither_the_picture_nor_a_warning(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "a camera with a long name"
    data = saved(Image.fromarray(marked()), "JPEG", exif=exif.tobytes()[:-30], quality=95)
    path = tmp_path / "damaged.jpg"
    path.write_bytes(data)
    code = "import sys; from gradsight.imaging import read_image; print(read_image(sys.argv[1]).size)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("(10, 6)", "")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"]), st.data())
def test_damaged_bytes_give_a_picture_or_one_clear_error(kind: str, data: st.DataObject) -> None:
    content = bytearray(saved(Image.fromarray(marked()), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = read_image(bytes(content))
    except ImageError:
        return
    assert picture.mode == "RGB"
