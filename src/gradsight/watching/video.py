"""Videos and cameras, read by PyAV."""

from __future__ import annotations

import math
import os
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradsight.errors import ImageError, InvalidArgument
from gradsight.files import opened
from gradsight.photos import Failed
from gradsight.watching.decoded import aspect, check_size, decoded, needed, reason, upright
from gradsight.watching.frame import Shot

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")
"""What the names of videos end in, for messages; a file is known by what it holds."""

# A playlist names other files and addresses, which would be read: only formats that hold their pictures themselves.
_FORMATS = "asf,avi,flv,gif,matroska,mov,mp4,mpeg,mpegts,mpegvideo,ogg,webm,webp"
_HARDENED = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}

_CAMERAS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}"), "win32": ("vfwcap", "{}")}
"""By system, how FFmpeg reaches a camera, and what it calls the one of a number."""


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
            yield from decoded(container, stream, self.name, is_live=self.is_live)

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
                    yield Shot(number, None, upright(frame, aspect(stream)))

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
    # The cover of a piece of music is a stream of one picture, and no video.
    found = [one for one in container.streams.video if not one.disposition & one.disposition.attached_pic]
    if not found:
        raise ImageError(f"{name!r} has no pictures in it, only sound or text. Pass a video.")
    stream = found[0]
    check_size(stream.codec_context.width, stream.codec_context.height, name)
    return stream


def _unreadable(video: Video, error: Exception) -> str:
    if video.form is not None:
        return (
            f"There is no {video.name}, or it is in use: {reason(error)} ({video.url}). Look which cameras there are, "
            "close what uses it, or pass a video's file."
        )
    return (
        f"{video.name!r} cannot be read as a video: {reason(error)}. Where it was cut off while it was written, "
        f"record it again; other formats become MP4 by ffmpeg -i {os.path.basename(video.name)} video.mp4."
    )
