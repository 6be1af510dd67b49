"""Read a picture, wherever it comes from, as 8-bit RGB."""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from PIL.ImageFile import ImageFile

from gradsight.errors import ImageError, InvalidType, one_line, received
from gradsight.files import opened
from gradsight.imaging.modes import array_to_rgb, marked, opacity, to_rgb
from gradsight.limits import PIXELS
from gradsight.values import has

Made = TypeVar("Made")

Readable: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[np.generic]
)
"""What is read as a picture: a path, the bytes of a file, an open binary file, a PIL image or an array."""

SUFFIXES = (".avif", ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""What the names of pictures end in, where a folder is searched for them."""

_LOSSY = (".jfif", ".jpeg", ".jpg", ".webp")

# EPS is a program, which Pillow hands to Ghostscript: nothing untrusted is executed here.
_REFUSED = {"EPS"}

# A damaged EXIF block is common in photos (ImageNet has some) and says nothing about their pixels. Appended, so that
# the process's own filters win; not catch_warnings, which swaps the filters of every thread.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin", append=True)


def read_image(source: Readable) -> Image.Image:
    """Read a picture as 8-bit RGB, upright.

    EXIF orientation is applied, 16-bit values are divided by 257, transparency is laid over white, and of an animation
    the first frame is taken. Colour profiles are not applied: models are trained on pictures read without them.

    Args:
        source: a path, the bytes of a file, an open binary file, a PIL image, or an array of shape (h, w) or
            (h, w, 1 | 3 | 4) holding uint8, uint16 or floats in [0, 1].

    Returns:
        A new image of mode RGB; the source is left as it is.

    Raises:
        ImageError: the picture is missing, empty, damaged, too large, or holds values that are no colours.
        InvalidType: ``source`` is none of these.
    """
    picture = looked_at(source)
    return picture.copy() if picture is source else picture


def looked_at(source: Readable) -> Image.Image:
    """As `read_image`, but an upright RGB picture is given back itself, without a copy: to look at, not to change."""
    if isinstance(source, (str, os.PathLike)):
        return _read_path(Path(source), to_rgb)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return read_content(source, f"These {len(source)} bytes")
    if isinstance(source, Image.Image):
        return _of_picture(source, f"This PIL image ({source.mode})")
    if isinstance(source, np.ndarray):
        return array_to_rgb(source)
    if has(source, "read"):
        return _read_stream(source, f"The open file {getattr(source, 'name', type(source).__name__)!r}", to_rgb)
    raise InvalidType(
        f"image must be a path, bytes, a binary file, a PIL image or a NumPy array. {received(source)} "
        "Convert it first, such as tensor.permute(1, 2, 0).numpy() for a (3, h, w) tensor."
    )


def read_content(content: bytes | bytearray | memoryview, name: str) -> Image.Image:
    """As `read_image`, of the bytes of a file that errors call ``name``."""
    return _read_stream(io.BytesIO(content), name, to_rgb)


def size_of(content: bytes, name: str) -> tuple[int, int]:
    """(width, height) that the header of a picture's file says; nothing is decoded, and it may be turned yet.

    Raises:
        ImageError: as `read_image`, of what the header shows.
    """
    with _damage(name):
        picture = _identify(io.BytesIO(content), content[:16]) if content else None
    # What is wrong with the others, `read_content` has the words for.
    return read_content(content, name).size if picture is None else picture.size


def read_opacity(path: str | Path) -> NDArray[np.uint8] | None:
    """Read how opaque the pixels of a picture are, upright as `read_image` gives them.

    Returns:
        (h, w), 0 for what is transparent to 255; None for a picture without transparency.

    Raises:
        ImageError: as `read_image`.
    """
    return _read_path(Path(path), opacity)


def read_marked(path: str | Path) -> NDArray[np.bool_]:
    """Read a mask: where a picture is neither black nor transparent, upright as `read_image` gives it, (h, w).

    Of a JPEG or a WebP, whose black is seldom 0 beside what is bright, only what is brighter than half counts.

    Raises:
        ImageError: as `read_image`.
    """
    least = 128 if Path(path).suffix.lower() in _LOSSY else 1
    return _read_path(Path(path), lambda picture: marked(picture, least))


def _read_path(path: Path, convert: Callable[[Image.Image], Made]) -> Made:
    with opened(path, "a picture", ImageError) as stream:
        return _read_stream(stream, f"{str(path)!r}", convert)


def _read_stream(stream: BinaryIO, name: str, convert: Callable[[Image.Image], Made]) -> Made:
    try:
        stream.seek(0)
    except (AttributeError, OSError):  # a pipe
        stream = io.BytesIO(stream.read())
    prefix = stream.read(16)
    if not isinstance(prefix, bytes):
        raise ImageError(f"{name} yields text. Open it in binary mode: open(path, 'rb').")
    # Before any plugin is asked: each would call an empty file damaged in words of its own.
    if not prefix:
        raise ImageError(f"{name} cannot be read: it is empty (0 bytes). Get the file again.")
    with _damage(name):
        picture = _identify(stream, prefix)
    if picture is None:
        raise ImageError(
            f"{name} cannot be read: it is not a picture in a format that is known here. "
            f"It begins with {prefix!r}. Save it as PNG or JPEG."
        )
    _check_size(picture, name)
    with _damage(name):
        # In full: an eighth of a JPEG is had sooner, and what a model gets of it differs; docs/sources.md has figures.
        picture.load()
        return convert(_upright(picture))


def _of_picture(picture: Image.Image, name: str) -> Image.Image:
    """A PIL image of the user's as upright RGB; itself if it is that."""
    _check_size(picture, name)
    with _damage(name):
        picture.load()
        upright = _upright(picture)
        if upright.mode == "RGB" and not upright.has_transparency_data:
            return upright
        return to_rgb(upright.copy() if upright is picture else upright)


def _identify(stream: BinaryIO, prefix: bytes) -> ImageFile | None:
    """Find the plugin that reads the file's header, as ``PIL.Image.open`` does.

    ``PIL.Image.open`` itself compares the size to ``PIL.Image.MAX_IMAGE_PIXELS``, which belongs to the whole process,
    and warns or fails by it; here only `limits.PIXELS` counts.
    """
    tried: set[str] = set(_REFUSED)
    # The few usual formats first: to load all of Pillow's plugins takes time.
    for load_plugins in (Image.preinit, Image.init):
        load_plugins()
        for kind in [kind for kind in Image.ID if kind not in tried]:
            tried.add(kind)
            opener, accepts = Image.OPEN[kind]
            verdict = accepts(prefix) if accepts else True
            if not verdict or isinstance(verdict, str):  # a text says which optional library is missing
                continue
            stream.seek(0)
            try:
                return opener(stream, "")
            except (SyntaxError, IndexError, TypeError, struct.error):  # how plugins say "not mine"
                continue
    return None


def _check_size(picture: Image.Image, name: str) -> None:
    """From the file's header, before anything is decoded."""
    width, height = picture.size
    PIXELS.check(width * height, f"{name} is too large: {width} x {height} pixels", ImageError)
    if width * height == 0:
        raise ImageError(f"{name} has no pixels: {width} x {height}. Give a picture with some.")


def _upright(picture: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says; itself where that says nothing: ``exif_transpose`` makes a copy then too."""
    try:
        upright = picture.getexif().get(ExifTags.Base.Orientation, 1) == 1
        return picture if upright else ImageOps.exif_transpose(picture)
    except Exception:  # a damaged EXIF block: the pixels are fine, and nothing says which way up they are
        return picture


@contextmanager
def _damage(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises on a damaged file into one ImageError."""
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"{name} is too large: {one_line(error)}. That is Pillow's own limit, of a few formats; if you trust the "
            "file, raise PIL.Image.MAX_IMAGE_PIXELS, or save it as PNG."
        ) from error
    except MemoryError:
        raise ImageError(f"{name} is too large for this machine's memory. Shrink it.") from None
    except Exception as error:  # OSError, SyntaxError, EOFError, struct.error, zlib.error ...
        why = one_line(error)
        raise ImageError(f"{name} cannot be read: it is damaged or cut off ({why}). Get the file again.") from error
