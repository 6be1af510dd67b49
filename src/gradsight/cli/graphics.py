"""Terminals that draw pictures: which way this one has, and pictures in it (kitty's protocol, sixels)."""

from __future__ import annotations

import base64
import os
import re
import select
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal, TextIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight import imaging

Way = Literal["kitty", "sixel"]

_WAIT = 0.3
"""Seconds that a terminal has to say what it can; over a slow line it then counts as one that cannot."""

_PIECE = 4096
"""Letters in one piece of kitty's protocol."""

_MOST_SIDE = 1600
"""Pixels of the longer side that are sent: more takes time over a line, and no terminal shows it."""

_CELL = (10, 20)
"""Pixels of a cell, (width, height), where the terminal does not say."""

_COLOURS = 255
"""Of a picture in sixels; terminals have 256 registers."""

_SIXELS = "4"
"""What a terminal with sixels has in its answer to "what are you?" (DA1)."""


def way(stream: TextIO) -> Way | None:
    """How the terminal draws pictures; None where it does not, or cannot be asked."""
    # Within tmux and screen the terminal behind them is not spoken to.
    if os.environ.get("TMUX") or os.environ.get("STY"):
        return None
    if _is_kitty():
        return "kitty"
    return "sixel" if _SIXELS in _attributes(stream) else None


def _is_kitty() -> bool:
    environ = os.environ
    known = environ.get("TERM", "") in ("xterm-kitty", "xterm-ghostty")
    return known or bool(environ.get("KITTY_WINDOW_ID")) or environ.get("TERM_PROGRAM") in ("WezTerm", "ghostty")


def _attributes(stream: TextIO) -> list[str]:
    """What the terminal answers to DA1; empty where it says nothing."""
    try:
        import termios
        import tty
    except ImportError:  # Windows
        return []
    try:
        keys, screen = sys.stdin.fileno(), stream.fileno()
        # A process in the background that touches the terminal's settings is stopped.
        if not (os.isatty(keys) and os.isatty(screen) and os.tcgetpgrp(keys) == os.getpgrp()):
            return []
        before = termios.tcgetattr(keys)
    except (AttributeError, OSError, ValueError, termios.error):
        return []
    try:
        # Without an echo, and without waiting for Enter.
        tty.setcbreak(keys)
        os.write(screen, b"\x1b[c")
        answer = _read(keys)
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
    found = re.search(rb"\x1b\[\?([0-9;]*)c", answer)
    return found[1].decode("ascii").split(";") if found else []


def _read(keys: int) -> bytes:
    answer, end = b"", time.monotonic() + _WAIT
    while not answer.endswith(b"c"):
        ready, _, _ = select.select([keys], [], [], max(0.0, end - time.monotonic()))
        piece = os.read(keys, 64) if ready else b""
        if not piece:
            break
        answer += piece
    return answer


def cell(stream: TextIO) -> tuple[int, int]:
    """Width and height of a terminal's cell in pixels."""
    with suppress(ImportError, AttributeError, OSError, ValueError):
        import fcntl
        import termios

        asked = fcntl.ioctl(stream.fileno(), termios.TIOCGWINSZ, b"\0" * 8)
        rows, columns, width, height = struct.unpack("HHHH", asked)
        if rows and columns and width >= columns and height >= rows:
            return width // columns, height // rows
    return _CELL


def kitty(picture: Image.Image, columns: int) -> str:
    """A picture in kitty's protocol, ``columns`` cells wide."""
    # As PNG, which it decodes itself: raw pixels would be ten times as many bytes over the line.
    content = imaging.encoded(imaging.shrunk(picture.convert("RGB"), _MOST_SIDE), "PNG")
    text = base64.b64encode(content).decode("ascii")
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    # a=T: send and show; f=100: PNG; q=2: say nothing about it; m: whether more comes.
    heads = [f"a=T,f=100,q=2,c={columns},", *[""] * (len(pieces) - 1)]
    return "".join(
        f"\x1b_G{head}m={int(number < len(pieces) - 1)};{piece}\x1b\\"
        for number, (head, piece) in enumerate(zip(heads, pieces, strict=True))
    )


def sixel(picture: Image.Image) -> str:
    """A picture in sixels, pixel by pixel."""
    # Dithered: a smooth heat in so few colours would show edges that are not there.
    small = imaging.shrunk(picture.convert("RGB"), _MOST_SIDE).quantize(_COLOURS, dither=Image.Dither.FLOYDSTEINBERG)
    indices = np.asarray(small)
    palette = np.asarray(small.getpalette() or [], np.int64).reshape(-1, 3)
    # In per cent, as the form wants it.
    colours = "".join(f"#{i};2;{r};{g};{b}" for i, (r, g, b) in enumerate((palette * 100 + 127) // 255))
    head = f'\x1bPq"1;1;{small.width};{small.height}'
    return head + colours + "-".join(_band(indices[top : top + 6]) for top in range(0, small.height, 6)) + "\x1b\\"


def _band(indices: NDArray[np.uint8]) -> str:
    """Six rows: of each colour in them a line, one over the other."""
    bits = 1 << np.arange(len(indices))[:, None]
    return "$".join(
        f"#{colour}" + "".join(_runs(((indices == colour) * bits).sum(axis=0))) for colour in np.unique(indices)
    )


def _runs(values: NDArray[np.int64]) -> Iterator[str]:
    """Sixels, where one repeats as its number and it."""
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(values)], strict=True):
        letter, count = chr(63 + int(values[start])), int(end - start)
        yield f"!{count}{letter}" if count > 3 else letter * count
