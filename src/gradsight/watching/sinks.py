"""Where frames are written: a video, an animated WebP, a folder of pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from PIL import Image

from gradsight import imaging
from gradsight.errors import InvalidArgument, received
from gradsight.files import entries, is_file, is_folder, written
from gradsight.watching.decoded import needed

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

VIDEOS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""What the names of videos end in that are written, and FFmpeg's name of each form."""

ANIMATED = ".webp"

_OTHERS = (*imaging.NOT_WRITTEN, ".jpg", ".jpeg", ".png", ".avi", ".webm", ".ts", ".mpg", ".wmv", ".flv", ".apng")
"""Endings of what is no folder either."""

_CLOCK = Fraction(1, 90_000)
"""In this unit the times of all usual rates are whole numbers, 29.97 frames a second too."""

_MOST_SIDE = {"libx264": 16_384, "libwebp_anim": 16_383}

_BT709 = 1
"""FFmpeg's number of the colours that players take where nothing is said."""

Add: TypeAlias = "Callable[[Image.Image, float], None]"
"""Write a picture that is shown from a time on, in seconds."""


@dataclass(frozen=True)
class Form:
    """How it is written.

    Attributes:
        rate: frames a second, about; each has a time of its own.
        quality: from 1 to 100.
    """

    rate: float
    quality: int


class Opener(Protocol):
    """What opens a sink: nothing is there before the first picture, and it is whole when the block ends."""

    def __call__(self) -> AbstractContextManager[Add]:
        """Open it."""


def opener_of(path: Path, form: Form, name: str = "`path`") -> Opener:
    """What writes to a path, by its ending; ``name`` is what the path is called where it is given.

    Raises:
        InvalidArgument: nothing is written under such a name.
        MissingDependency: PyAV is not installed.
    """
    ending = path.suffix.lower()
    if not is_folder(path):
        if ending in VIDEOS:
            needed()
            # The quality that x264 counts downwards: 90 is what nobody tells from the original.
            # A quick one: the processors are needed by the model.
            options = {"crf": str(round(51 - 0.37 * form.quality)), "preset": "superfast"}
            return partial(_encoded, path, _Codec("libx264", VIDEOS[ending], options), form)
        if ending == ANIMATED:
            needed()
            return partial(_encoded, path, _Codec("libwebp_anim", "webp", {"quality": str(form.quality)}), form)
        if ending in _OTHERS:
            raise InvalidArgument(
                f"{name} must end in {', '.join(VIDEOS)} or {ANIMATED}, or name a folder. {received(str(path))}"
            )
        if is_file(path):
            raise InvalidArgument(f"{name} must be a folder, and {str(path)!r} is a file. Name a video: 'x.mp4'.")
    # Fewer frames than before would leave the rest of those behind them; frames that FFmpeg wrote begin at 1.
    if is_folder(path) and any(re.fullmatch(_PICTURE, one.name) for one in entries(path, name)):
        raise InvalidArgument(
            f"{name} has numbered pictures already, {str(path)!r}. Name another folder, or remove it."
        )
    return partial(_folder, path, form)


_PICTURE = r"\d{6,}\.jpg"
"""What is written in folders."""


def _picture(number: int) -> str:
    # By their number, so that every tool finds their order.
    return f"{number:06d}.jpg"


@contextmanager
def _folder(path: Path, form: Form) -> Iterator[Add]:
    count = 0

    def add(picture: Image.Image, time: float) -> None:
        nonlocal count
        del time
        imaging.save(picture, path / _picture(count), quality=form.quality)
        count += 1

    yield add


@dataclass(frozen=True)
class _Codec:
    """What encodes.

    Attributes:
        name: FFmpeg's.
        form: that it is put into.
        options: of the encoder.
    """

    name: str
    form: str
    options: dict[str, str]


@contextmanager
def _encoded(path: Path, codec: _Codec, form: Form) -> Iterator[Add]:
    av = needed()
    # The muxer's: an animation begins again.
    options = {"loop": "0"} if codec.form == "webp" else {}
    with written(path) as file, av.open(file, "w", format=codec.form, options=options) as container:
        encoder = _Encoder(container, codec, form)
        yield encoder.add
        encoder.end()


class _Encoder:
    """Pictures into a container, all as large as the first one."""

    def __init__(self, container: OutputContainer, codec: _Codec, form: Form) -> None:
        self._container, self._codec, self._form = container, codec, form
        self._stream: VideoStream | None = None
        self._last = -1

    def add(self, picture: Image.Image, time: float) -> None:
        """Encode one more, shown from a time on, in seconds.

        Raises:
            InvalidArgument: it is too large, or cannot be encoded.
        """
        av = needed()
        # With the first picture, whose size is that of all.
        stream = self._stream = self._stream or self._begun(picture)
        frame = av.VideoFrame.from_image(_on_canvas(picture, (stream.width, stream.height)))
        frame = frame.reformat(format="yuv420p", dst_colorspace=_BT709)
        # Later than the one before it, whatever a broken source says.
        self._last = max(self._last + 1, round(time / _CLOCK))
        frame.pts, frame.time_base = self._last, _CLOCK
        self._container.mux(stream.encode(frame))

    def end(self) -> None:
        """Write what the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode())

    def _begun(self, first: Image.Image) -> VideoStream:
        # Encoders take even sides: a line is added, and nothing is moved.
        width, height = (side + side % 2 for side in first.size)
        if max(width, height) > _MOST_SIDE[self._codec.name]:
            raise InvalidArgument(
                f"a video must have at most {_MOST_SIDE[self._codec.name]:,} pixels a side. Received: {width} x "
                f"{height}. Make it smaller, by max_side (--max-side)."
            )
        rate = Fraction(self._form.rate).limit_denominator(1001)
        # PyAV's types know an encoder of pictures by a list of names.
        made = self._container.add_stream(self._codec.name, rate=rate, options=self._codec.options)
        stream = cast("VideoStream", made)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = _CLOCK
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        # The processors are the model's.
        context.thread_count = 1
        return stream


def _on_canvas(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A picture of another size, as large as fits, on black; a line that is missing is the one beside it again."""
    if picture.size == size:
        return picture
    # Black, as players show what is beside a picture of another shape.
    width, height = picture.size
    canvas = Image.new("RGB", size)
    if size[0] - width in (0, 1) and size[1] - height in (0, 1):
        canvas.paste(picture, (size[0] - width, size[1] - height))
        canvas.paste(picture, (0, 0))
        return canvas
    times = min(size[0] / width, size[1] / height)
    fitted = picture.resize((max(1, int(width * times)), max(1, int(height * times))), Image.Resampling.LANCZOS)
    canvas.paste(fitted, ((size[0] - fitted.width) // 2, (size[1] - fitted.height) // 2))
    return canvas
