"""Videos and cameras, read by PyAV."""

from __future__ import annotations

import math
import os
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from PIL import Image

from gradsight.errors import ImageError, InvalidArgument, MissingDependency, one_line
from gradsight.files import opened
from gradsight.limits import PIXELS
from gradsight.photos import Failed
from gradsight.watching.frame import Shot

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")
"""What the names of videos end in, for messages; a file is known by what it holds."""

# A playlist names other files and addresses, which would be read: only formats that hold their pictures themselves.
_FORMATS = "asf,avi,flv,gif,matroska,mov,mp4,mpeg,mpegts,mpegvideo,ogg,webm,webp"
_HARDENED = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}

_CAMERAS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}"), "win32": ("vfwcap", "{}")}
"""By system, how FFmpeg reaches a camera, and what it calls the one of a number."""

_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}

_ASPECTS = (Fraction(1, 4), Fraction(4))
"""Of pixels. What claims more than that is a mistake, and would make a picture of any size."""

_MOST_OF_IT = 0.8
"""Where the last frame is shown before that share of the time that a video claims, the rest is missing."""

_LEAST_PACKETS = 2
"""A video says how many frames it has in its head; one fewer is how some encoders count."""


def needed() -> ModuleType:
    """PyAV.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependency("videos need PyAV. Install it: pip install 'gradsight[video]'.") from error
    return av


@dataclass(frozen=True)
class Index:
    """When the frames of a video are shown, in units of its stream, in order.

    Attributes:
        times: of all frames.
        keys: of those that can be decoded without the ones before them.
    """

    times: Sequence[int]
    keys: Sequence[int]

    def key_of(self, time: int) -> float:
        """The key that a frame is decoded from."""
        before = bisect_right(self.keys, time)
        return self.keys[before - 1] if before else -math.inf


@dataclass(frozen=True)
class Video:
    """A video in a file, or a camera.

    Attributes:
        url: what FFmpeg opens.
        name: for people.
        form: FFmpeg's name of the device; None for a file.
    """

    url: str
    name: str
    form: str | None = None

    @property
    def is_live(self) -> bool:
        """Frames come when they come, and there is no second look at them."""
        return self.form is not None

    def index(self) -> Index:
        """When its frames are shown, read without decoding anything.

        Raises:
            ImageError: it is no video that can be read.
        """
        with self._opened() as container:
            packets = [
                one for one in container.demux(_stream(container, self.name)) if one.size and one.pts is not None
            ]
            times = sorted(one.pts for one in packets if one.pts is not None)
            return Index(times, sorted(one.pts for one in packets if one.is_keyframe and one.pts is not None))

    def shots(self) -> Iterator[Shot | Failed[Shot]]:
        """Its frames in their order, upright and with square pixels; what is damaged is a `Failed`.

        Raises:
            ImageError: it is no video that can be read.
        """
        with self._opened() as container:
            stream = _stream(container, self.name)
            # Frames side by side where the format allows it: the model waits for no decoder.
            stream.thread_type = "AUTO"
            yield from _decoded(container, stream, self.name, is_live=self.is_live)

    def at(self, times: Sequence[int], index: Index) -> Iterator[Shot]:
        """The frames at some times of its index, in ascending order; those that cannot be read are left out."""
        av = needed()
        with self._opened() as container:
            stream = _stream(container, self.name)
            stream.thread_type = "AUTO"
            coming, position = container.decode(stream), -math.inf
            for number, time in enumerate(times):
                try:
                    # Only where that skips something: from one key to the next all frames are decoded anyway.
                    if index.key_of(time) > position:
                        container.seek(time, stream=stream)
                        coming = container.decode(stream)
                    frame = next((one for one in coming if one.pts is not None and one.pts >= time), None)
                except av.error.FFmpegError:
                    continue
                if frame is not None and frame.pts is not None and not frame.is_corrupt:
                    position = frame.pts
                    yield Shot(number, None, upright(frame, _aspect(stream)))

    def _opened(self) -> InputContainer:
        av = needed()
        options = {} if self.form else dict(_HARDENED)
        try:
            return av.open(self.url, format=self.form, options=options)  # type: ignore[no-any-return]
        except (av.error.FFmpegError, ValueError) as error:
            raise ImageError(_unreadable(self, error)) from None


def video_at(path: Path) -> Video:
    """The video of a file.

    Raises:
        ImageError: there is no such file, or it cannot be opened.
    """
    with opened(path, "a video", ImageError):
        # `file:`, since FFmpeg takes a name with a colon for an address.
        return Video(f"file:{os.path.abspath(path)}", str(path))


def camera(number: int) -> Video:
    """The camera of a number, as the system counts them.

    Raises:
        InvalidArgument: this system's cameras cannot be reached, or there is none of that number.
    """
    form, url = _CAMERAS.get(sys.platform, (None, ""))
    needed()
    if form is None:
        raise InvalidArgument(
            f"cameras cannot be reached on this system ({sys.platform}): FFmpeg has no device for them here. Record a "
            "video, and pass its file."
        )
    found = Video(url.format(number), f"camera {number}", form)
    # At once, and not when the first frame is asked for, after the model was loaded.
    with found._opened() as container:
        _stream(container, found.name)
    return found


def _stream(container: InputContainer, name: str) -> VideoStream:
    if not container.streams.video:
        raise ImageError(f"{name!r} has no pictures in it, only sound or text. Pass a video.")
    stream = container.streams.video[0]
    _check_size(stream.codec_context.width, stream.codec_context.height, name)
    return stream


def _check_size(width: int, height: int, name: str) -> None:
    PIXELS.check(width * height, f"{name!r} is too large: {width} x {height} pixels", ImageError)


def _decoded(
    container: InputContainer, stream: VideoStream, name: str, *, is_live: bool
) -> Iterator[Shot | Failed[Shot]]:
    av = needed()
    index, first, base = 0, None, stream.time_base or Fraction(1, 1000)
    aspect, damage, last = _aspect(stream), None, 0.0
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:  # this packet alone: the next may be whole
                damage = _reason(error)
                continue
            for frame in frames:
                first = frame.pts if first is None else first
                time = None if frame.pts is None or first is None else float((frame.pts - first) * base)
                last = time or last
                yield _shot(frame, Shot(index, time, name), aspect)
                index += 1
    except av.error.FFmpegError as error:
        damage = _reason(error)
    claimed = 0.0 if is_live else _seconds(container, stream)
    if damage or (not is_live and index + _LEAST_PACKETS <= stream.frames) or last < _MOST_OF_IT * claimed:
        yield Failed(Shot(index, None, name), ImageError(_cut_off(name, index, stream.frames, damage)))


def _seconds(container: InputContainer, stream: VideoStream) -> float:
    """How long the pictures of a video are, as it says itself; 0 where it does not."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    # Of all that is in it: sound may go on after the last picture.
    alone = len(container.streams) == 1 and container.duration
    return container.duration / 1_000_000 if alone and container.duration else 0.0


def _shot(frame: VideoFrame, shot: Shot, aspect: Fraction) -> Shot | Failed[Shot]:
    if frame.is_corrupt:
        return Failed(shot, ImageError(f"{shot} of {shot.source!r} is damaged, and left out."))
    # A stream may change its size on the way.
    _check_size(frame.width, frame.height, str(shot.source))
    return Shot(shot.index, shot.time, upright(frame, aspect))


def upright(frame: VideoFrame, aspect: Fraction) -> Image.Image:
    """A frame as it is to be seen: in RGB, with square pixels, turned as the video says.

    Args:
        frame: as it was decoded.
        aspect: how much wider than high its pixels are.
    """
    width = max(1, round(frame.width * aspect))
    picture: Image.Image = frame.to_image(width=width, height=frame.height)  # type: ignore[no-untyped-call]
    # What a phone films upright is stored lying, with a note of how it is to be turned.
    turn = _TURNS.get(round(frame.rotation) % 360)
    return picture if turn is None else picture.transpose(turn)


def _aspect(stream: VideoStream) -> Fraction:
    """How much wider than high the pixels are; a file may say what cannot be."""
    given = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return given if given and _ASPECTS[0] <= given <= _ASPECTS[1] else Fraction(1)


def _unreadable(video: Video, error: Exception) -> str:
    if video.form is not None:
        return (
            f"There is no {video.name}, or it is in use: {_reason(error)} ({video.url}). Look which cameras there are, "
            "close what uses it, or pass a video's file."
        )
    return (
        f"{video.name!r} cannot be read as a video: {_reason(error)}. Where it was cut off while it was written, "
        f"record it again; other formats become MP4 by ffmpeg -i {os.path.basename(video.name)} video.mp4."
    )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or one_line(error)


def _cut_off(name: str, index: int, total: int, damage: str | None) -> str:
    of = f" of {total}" if total > index else ""
    why = f" ({damage})" if damage else ""
    return f"{name!r} is damaged or cut off{why}: {index}{of} frames could be read, which are done."
