"""`--open` and `--preview`: what a command has drawn is shown, and nothing fails where it cannot be."""

from __future__ import annotations

import base64
import fcntl
import io
import os
import pty
import re
import select
import struct
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import commands
from commands import MODEL, explain, lines, paint, run
from gradsight.cli import making, viewing
from gradsight.cli.options import DrawingOptions, ModelOptions

pytestmark = pytest.mark.pytorch
here, models = commands.here, commands.models  # fixtures

QUARTERS = np.array([[(250, 10, 10), (10, 250, 10)], [(10, 10, 250), (240, 240, 240)]], np.uint8)

DRAW = """
import numpy as np
from PIL import Image
from gradsight.cli.preview import draw
quarters = np.array([[(250, 10, 10), (10, 250, 10)], [(10, 10, 250), (240, 240, 240)]], np.uint8)
print("said", draw(Image.fromarray(quarters).resize((200, 100), 0)))
"""


def in_terminal(answer: bytes = b"", **environment: str) -> bytes:
    """What a terminal of 60 x 20 cells gets, which answers if it is asked what it is."""
    number, master = pty.fork()
    if number == 0:
        for name in ("NO_COLOR", "KITTY_WINDOW_ID", "TMUX", "STY", "TERM_PROGRAM", "COLUMNS", "LINES"):
            os.environ.pop(name, None)
        os.environ.update({"TERM": "xterm-256color", "COLORTERM": "truecolor", **environment})
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 60, 600, 400))
        # With this environment alone: GNU readline sets COLUMNS behind Python's back.
        os.execve(sys.executable, [sys.executable, "-c", DRAW], dict(os.environ))
    got = b""
    while select.select([master], [], [], 60)[0]:
        try:
            piece = os.read(master, 1 << 16)
        except OSError:  # Linux says so at the end
            break
        if not piece:
            break
        got += piece
        if answer and b"\x1b[c" in piece:
            os.write(master, answer)
    os.waitpid(number, 0)
    os.close(master)
    return got


def of_blocks(got: bytes) -> np.ndarray:
    rows = []
    for line in got.decode().split("\r\n"):
        cells = re.findall(r"38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m(▀+)", line)
        halves = [[tuple(map(int, cell[at : at + 3])) for cell in cells for _ in cell[6]] for at in (0, 3)]
        rows += halves if cells else []
    return np.array(rows)


def of_sixels(got: bytes) -> np.ndarray:
    text = got[got.index(b"\x1bPq") + 3 :].partition(b"\x1b\\")[0].decode()
    width, height = map(int, re.match(r'"1;1;(\d+);(\d+)', text).groups())  # type: ignore[union-attr]
    pixels, colours = np.zeros((height + 6, width, 3), int), {}
    x = y = colour = 0
    for one in re.finditer(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|(?:!(\d+))?([?-~])|(\$)|(-)", text[text.index("#") :]):
        if one[1]:
            colours[int(one[1])] = [round(2.55 * int(one[i])) for i in (2, 3, 4)]
        elif one[5]:
            colour = int(one[5])
        elif one[7]:
            count = int(one[6] or 1)
            for row in range(6):
                if (ord(one[7]) - 63) >> row & 1:
                    pixels[y + row, x : x + count] = colours[colour]
            x += count
        else:
            x, y = 0, y + (6 if one[9] else 0)
    return pixels[:height]


def corners(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    return pixels[np.ix_([height // 4, height * 3 // 4], [width // 4, width * 3 // 4])]


def test_each_terminal_gets_the_picture_in_its_own_way() -> None:
    blocks = of_blocks(in_terminal())
    # As wide as the terminal, and half as high.
    assert blocks.shape[:2] == (30, 60)
    assert np.abs(corners(blocks) - QUARTERS.astype(int)).max() < 12
    sixels = in_terminal(b"\x1b[?62;4;22c")
    assert np.abs(corners(of_sixels(sixels)) - QUARTERS.astype(int)).max() < 12
    assert b"said None" in sixels
    # One that answers without sixels, and one that is behind another program.
    assert of_blocks(in_terminal(b"\x1b[?62;22c")).size
    assert b"\x1b[c" not in in_terminal(TMUX="/tmp/tmux-0/default,1,0")


def test_kitty_gets_the_picture_itself() -> None:
    got = in_terminal(KITTY_WINDOW_ID="1")
    assert b"\x1b[c" not in got
    pieces = re.findall(rb"\x1b_G([^;]*);([A-Za-z0-9+/=]*)\x1b\\", got)
    picture = Image.open(io.BytesIO(base64.b64decode(b"".join(piece for _, piece in pieces))))
    assert b"a=T,f=100" in pieces[0][0]
    assert np.abs(corners(np.asarray(picture, int)) - QUARTERS.astype(int)).max() < 3


@pytest.mark.parametrize(
    ("environment", "said"),
    [({"NO_COLOR": "1"}, b"NO_COLOR asks for none"), ({"TERM": "dumb"}, b"this terminal has none (TERM='dumb')")],
)
def test_a_terminal_without_colours_gets_a_line(environment: dict[str, str], said: bytes) -> None:
    got = in_terminal(**environment)
    assert said in got
    assert b"\x1b[38" not in got


def test_where_there_is_no_terminal_a_line_says_so(here: Path) -> None:
    result = explain("photo.png", "--preview")
    assert result.exit_code == 0
    assert "Note: --preview draws in a terminal, and stdout is none." in result.stderr
    for option in ("--json", "--quiet"):
        refused = explain("photo.png", "--preview", option)
        assert refused.exit_code == 2
        assert "--preview draws in the terminal, and --json and --quiet leave it to others" in refused.stderr


@pytest.fixture
def viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A viewer that writes down what it is to open, and ends with the status in a file."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "xdg-open"
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/opened\nexit $(cat {tmp_path}/status 2>/dev/null || echo 0)\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setattr(viewing.sys, "platform", "linux")
    return tmp_path


def opened(folder: Path) -> list[str]:
    return (folder / "opened").read_text().splitlines()


def test_the_picture_is_opened_or_the_folder_of_several(here: Path, viewer: Path) -> None:
    assert explain("photo.png", "--open").exit_code == 0
    assert opened(viewer) == [str(here / "out" / "photo.gradcam.red.png")]
    explain("photo.png", "--open", "--top", "2", "--json")
    assert opened(viewer)[1] == str(here / "out")
    # A figure shows all of it.
    explain("photo.png", "--open", "--top", "2", "--figure")
    assert opened(viewer)[2] == str(here / "out" / "photo.figure.png")
    run("explain", "photo.png", "--model", MODEL, "--out", "one.png", "--open")
    assert opened(viewer)[3] == str(here / "one.png")
    run("compare", "photo.png", "--model", MODEL, "--methods", "gradcam", "--out", "grid.png", "--open")
    assert opened(viewer)[4] == str(here / "grid.png")
    # Nothing after an error.
    assert explain("none.png", "--open").exit_code == 1
    assert len(opened(viewer)) == 5


def test_for_want_of_a_viewer_nothing_fails(here: Path, viewer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (viewer / "status").write_text("3")
    result = explain("photo.png", "--open")
    assert result.exit_code == 0
    assert "Note: xdg-open found nothing that opens 'out/photo.gradcam.red.png'. Open it by hand." in result.stderr
    monkeypatch.setattr(viewing.shutil, "which", lambda name: None)
    monkeypatch.setattr(viewing.webbrowser, "open", lambda address: False)
    assert "no viewer is known here" in explain("photo.png", "--open").stderr
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert "there is no screen here to open" in explain("photo.png", "--open").stderr


def test_what_is_shown_is_not_what_was_asked(here: Path) -> None:
    shown = making.asked(ModelOptions(), DrawingOptions(opened=True, preview=True))
    assert shown == making.asked(ModelOptions(), DrawingOptions())


def video(path: Path, count: int = 6) -> Path:
    """A red square that moves to the right."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for i in range(count):
            pixels = np.zeros((96, 160, 3), np.uint8)
            pixels[32:64, 16 * i : 16 * i + 40] = commands.RED
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return path


def test_a_video_is_watched(here: Path, viewer: Path) -> None:
    video(here / "x.mp4")
    result = run("watch", "x.mp4", "--model", MODEL, "--size", "96x160", "--class", "red", "--open")
    assert result.exit_code == 0, result.stderr
    assert re.fullmatch(r"6 frames, [0-9.]+ a second. Look at gradsight-out/x.watch.mp4\n", result.stdout)
    assert opened(viewer) == [str(here / "gradsight-out" / "x.watch.mp4")]
    result = run("watch", "x.mp4", "--model", MODEL, "--size", "96x160", "--json", "--limit", "3", "--out", "y.webp")
    records = lines(result.stdout)
    assert [record["frame"] for record in records] == [0, 1, 2]
    assert [record["time"] for record in records] == pytest.approx([0, 0.1, 0.2])
    columns = [record["targets"][0]["peak"][1] for record in records]
    assert columns == sorted(columns)
    assert len({record["scale_of_video"] for record in records}) == 1
    paint(here / "folder" / "1.png"), paint(here / "folder" / "2.png")
    assert run("watch", "folder", "--model", MODEL, "--out", "seen").exit_code == 0
    assert sorted(path.name for path in Path("seen").iterdir()) == ["000000.jpg", "000001.jpg"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "watch needs a video, a folder, or --camera N, and one of them alone."),
        (["x.mp4", "--camera", "0"], 2, "one of them alone"),
        (["--camera", "97"], None, "There is no camera 97|cannot be reached"),
        (["none.mp4"], 1, "There is no file 'none.mp4'"),
        (["photo.png"], 1, "'photo.png' cannot be read as a video"),
        (["x.mp4", "--out", "x.mp4"], 2, "--out must not be what is watched"),
        (["x.mp4", "--out", "y.gif"], 2, "--out must end in .mp4"),
        (["x.mp4", "--scale", "best"], 2, "There is no scale 'best'. Choose from: video, running, own"),
        (["x.mp4", "--method", "best"], 2, "There is no method 'best'"),
        (["x.mp4", "--fps", "0"], 2, "--fps must be a number above 0"),
    ],
)
def test_what_cannot_be_watched_is_told(arguments: list[str], status: int | None, said: str, here: Path) -> None:
    video(here / "x.mp4", 2)
    result = run("watch", *arguments, "--model", MODEL)
    assert result.exit_code == (status or result.exit_code) > 0
    assert re.search(said, result.stderr)
    assert not result.stdout
