"""Random command lines, by the grammar of the commands themselves, with plausible values and hostile ones.

``python tests/support/fuzz_cli.py SEED COUNT`` tells what came of them. A seed gives the same lines again, on
the same version.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import typer
from PIL import Image
from typer.testing import CliRunner

import gradsight as gs
from gradsight.cli.app import app

LONGEST = 60
"""Seconds that a command may take."""

MODELS = """
import os, sys, threading, warnings
import torch
from torch import nn
from gradsight.imaging import Preprocess

SMALL = Preprocess((32, 32), mean=(0.5,) * 3, std=(0.5,) * 3)
torch.manual_seed(0)


class Tiny(nn.Module):
    def __init__(self, after=lambda x, y: y):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, 3)
        self.head, self.after = nn.Linear(4, 3), after

    def forward(self, x):
        return self.after(x, self.head(self.second(self.first(x).relu()).relu().mean((2, 3))))


class Map(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return self.head(self.first(x).relu())


def made(after=lambda x, y: y, labels=("cat", "dog", "bird")):
    return Tiny(after).eval(), SMALL, list(labels)


def tiny(depth=1, name="x"):
    return made()


def marked():
    return made(labels=("cat [/b]", "[red]:smile:\\x1b[31m", "a\\n\\u202eb\\x00"))


def segmenting():
    return Map().eval(), SMALL, ["cat", "dog", "bird"]


def nan():
    return made(lambda x, y: y * float("nan"))


def picky():
    def check(x, y):
        if x.mean((1, 2, 3)).min() < -0.9:
            raise ValueError("too dark [/b]\\nfor me")
        return y
    return made(check)


def hungry():
    def check(x, y):
        if x.mean((1, 2, 3)).min() < -0.9:
            raise MemoryError("Unable to allocate 9.9 TiB")
        return y
    return made(check)


def noisy():
    print("print in build")
    warnings.warn("warned in build")
    def say(x, y):
        print("print in forward")
        threading.Thread(target=print, args=("print in a thread",)).start()
        return y
    return made(say)


def leaving():
    sys.exit(0)


def leaving_later():
    return made(lambda x, y: sys.exit("[/b]"))


def failing():
    raise RuntimeError("[/b]\\n\\x1b[31m")


def nothing():
    return None


number = 5
"""

TEXTS = (
    "cat", "[/b]", "[red]x[/red]", ":smile:", "\x1b[31mred", "\u202eevil", "a\nb", "\udcff", "猫", "x" * 5000,
    "--", "-1", "%s{0}", "nan", " ", "", "../../up", "a=b", "'", "\\", "None", "\U0001f600", "é" * 300,
)  # fmt: skip
NUMBERS = (
    "1", "2", "3", "0", "-1", "0.5", "0.875", "1000000000000", "9" * 400, "nan", "inf", "-inf", "1e-308", "1e308",
    "1e400", "٣", "½", "0x10", "1_0", "", "[/b]", "1,5", "true",
)  # fmt: skip
PHOTOS = ("small.png", "grey.png", "clear.png", "palette.gif", "deep.png", "photo.jpg")
ODD = (
    "dark.png", "dot.png", "line.png", "cut.png", "empty.png", "text.png", "folder", "bare", "pipe.png", "missing.png",
    "[bold]x[red].png", "\udcff.png", "\x1b[31m.png", "n" * 300 + ".png", "/dev/null", "/dev/zero", "missing/deep.png",
    "small.png/below.png", ".", "loop.png", "mask.png", "", "-dash.png", "folder/a.png",
)  # fmt: skip
OTHERS = (
    "labels.txt", "labels.json", "marked.json", "binary.bin", "concepts", "broken.npz", "broken.pt", "broken.onnx",
    "broken.pt2", "broken.keras", "mask.png", "large_mask.png", "/dev/null", "pipe.png", "missing.txt", "folder",
)  # fmt: skip
GOOD_MODELS = ("tiny", "tiny", "tiny", "marked", "segmenting", "noisy", "picky", "hungry")
BAD_MODELS = (
    "fuzz_models:nan", "fuzz_models:leaving", "fuzz_models:leaving_later", "fuzz_models:failing", "fuzz_models:nothing",
    "fuzz_models:number", "fuzz_models:", "fuzz_models:tinny", ":tiny", "nothing", "os:getcwd", "broken.pt",
    "broken.onnx", "broken.pt2", "labels.txt", "folder", "torchvision:[/b]", "timm:", "[/b]:x", "small.png", "pipe.png",
)  # fmt: skip
METHODS = ("gradcam", "layercam", "hirescam", "gradient", "smooth(gradcam, samples=2)", "scorecam(top=2)", "eigencam")
BAD_METHODS = ("grad-camm", "gradcam((", "scorecam(top=-1)", "scorecam(top=1e400)", "smooth()", "fuse(gradcam)", "[/b]")
POOLS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "class_": (("cat", "dog", "0", "1"), (*TEXTS, *NUMBERS)),
    "against": (("cat", "1"), (*TEXTS, *NUMBERS)),
    "rather_than": (("bird", "2"), (*TEXTS, *NUMBERS)),
    "like": (PHOTOS, (*TEXTS, *ODD)),
    "others": (PHOTOS, (*TEXTS, *ODD)),
    "question": (("what is it?",), TEXTS),
    "text": (("a photo of",), TEXTS),
    "layer": (("first", "second"), (*TEXTS, "first#0", "first#9", "head")),
    "layers": (("first", "first,second"), (*TEXTS, ",", "first,,second")),
    "method": (METHODS, (*BAD_METHODS, *TEXTS)),
    "methods": (("gradcam", "gradcam,layercam"), (*BAD_METHODS, *TEXTS, ",")),
    "arg": (("depth=3", "name=x"), ("a={[]:1}", "depth", "=3", "depth=" + "[" * 3000, "depth=1e400", *TEXTS)),
    "size": (("32", "48x32", "64"), ("100000x100000", "7x7x7x7x7", "1", "0", "999999", "1x4096", *NUMBERS)),
    "grid": (("14x14",), ("7x7x7x7x7", "0x0", "99999x99999", *NUMBERS)),
    "mean": (("0.5", "0.4,0.5,0.6"), ("1,2", ",", "nan,nan,nan", *NUMBERS)),
    "std": (("0.5", "0.4,0.5,0.6"), ("0", "0,0,0", ",", *NUMBERS)),
    "crop": (("0.9", "1"), NUMBERS),
    "fit": (("crop", "squash", "letterbox", "keep", "none"), TEXTS),
    "interpolation": (("nearest", "bilinear", "box"), TEXTS),
    "preprocess": (("resnet50",), ("fuzz_models:tiny", "fuzz_models:leaving", "fuzz_models:number", *TEXTS)),
    "layout": (("channels_first", "tokens"), TEXTS),
    "box": (("2,2,20,20",), ("5,5,5,5", "1,2,3", "-9,-9,99999,99999", "9" * 400 + ",1,2,3", *NUMBERS)),
    "point": (("5,5", "20,20"), ("99999,99999", "-1,-1", "1", *NUMBERS)),
    "mask": (("mask.png",), (*ODD, *OTHERS)),
    "labels": (("labels.txt", "labels.json", "marked.json"), (*OTHERS, *TEXTS)),
    "weights": (("none",), (*OTHERS, *TEXTS)),
    "colormap": (("viridis", "turbo"), TEXTS),
    "opacity": (("value", "0.5"), (*NUMBERS, *TEXTS)),
    "scale": (("own", "shared"), TEXTS),
    "by": (("alpha", "contribution"), TEXTS),
    "concepts": (("concepts",), (*ODD, *OTHERS)),
    "images": (PHOTOS, ODD),
    "image": (PHOTOS, ODD),
}
OUTS = ("out", "out/deep/er", "small.png", "pipe.png", "n" * 300, "out/[b]\x1b", "/proc/none", "/dev/null", "")
PICTURES = (
    "out/grid.png",
    "out/grid.jpg",
    "out/grid.txt",
    "out",
    "out/" + "n" * 300 + ".png",
    "/dev/full.png",
    "",
    "x",
)


@dataclass
class Line:
    """A command line.

    Attributes:
        arguments: without the program's name.
        as_json: stdout must be JSON.
    """

    arguments: list[str]
    as_json: bool


@dataclass
class Report:
    """What came of command lines.

    Attributes:
        faults: (what is wrong, the command line, what was said).
        statuses: how many ended with each.
        slowest: seconds.
    """

    faults: list[tuple[str, str, str]] = field(default_factory=list)
    statuses: Counter[Any] = field(default_factory=Counter)
    slowest: float = 0.0

    def __str__(self) -> str:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        told = [f"FAULT {what}\n  gradsight {line[:500]}\n  {said[-500:]}" for what, line, said in self.faults]
        about = f"statuses {dict(self.statuses)}, slowest {self.slowest:.1f} s, at most {memory:.2f} GB"
        return "\n".join([*told, f"{len(self.faults)} faults in {self.statuses.total()} command lines; {about}"])


def furnish(folder: Path) -> None:
    """Put there what the command lines name."""
    (folder / "fuzz_models.py").write_text(MODELS)
    rng = np.random.default_rng(0)
    for name, mode, size in (
        ("small.png", "RGB", (40, 30)),
        ("grey.png", "L", (32, 32)),
        ("clear.png", "RGBA", (33, 50)),
        ("palette.gif", "P", (40, 40)),
        ("photo.jpg", "RGB", (64, 48)),
        ("[bold]x[red].png", "RGB", (40, 30)),
        ("\udcff.png", "RGB", (40, 30)),
        ("\x1b[31m.png", "RGB", (40, 30)),
        ("-dash.png", "RGB", (40, 30)),
        ("dot.png", "RGB", (1, 1)),
        ("line.png", "RGB", (1, 400)),
    ):
        pixels = Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))
        pixels.convert(mode).save(folder / name)
    Image.fromarray(rng.integers(0, 65535, (30, 40)).astype(np.uint16)).save(folder / "deep.png")
    Image.new("RGB", (40, 30)).save(folder / "dark.png")
    for name, size in (("mask.png", (40, 30)), ("large_mask.png", (400, 300))):
        Image.new("L", size, 255).save(folder / name)
    whole = (folder / "small.png").read_bytes()
    for name in ("broken.npz", "broken.pt", "broken.onnx", "broken.pt2", "broken.keras", "binary.bin"):
        (folder / name).write_bytes(rng.integers(0, 255, 500, dtype=np.uint8).tobytes())
    (folder / "cut.png").write_bytes(whole[:200])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("Dear diary")
    (folder / "labels.txt").write_text("cat\ndog\nbird\n")
    (folder / "labels.json").write_text(json.dumps(["cat", "dog", "bird"]))
    (folder / "marked.json").write_text(json.dumps(["[/b]", "\x1b[31m:cat:", "\u202e\n"]))
    os.mkfifo(folder / "pipe.png")
    os.symlink("loop.png", folder / "loop.png")
    (folder / "bare").mkdir()
    for name in ("folder/a.png", "folder/b.png", "concepts/red/a.png", "concepts/blue/b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(whole)


def command_lines(seed: int) -> Iterator[Line]:
    """Command lines without end."""
    rng = random.Random(seed)
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    names = [name for name in commands if name not in ("demo", "models")]  # which take seconds, and hardly an option
    while True:
        name = rng.choice([*names, "explain", "explain", "compare"])
        line = [rng.choice(TEXTS) if rng.random() < 0.01 else name]
        arguments = []
        for parameter in commands[name].params:
            line_of = _argument if parameter.param_type_name == "argument" else _option
            (arguments if line_of is _argument else line).extend(line_of(parameter, name, rng))
        if rng.random() < 0.01:
            line.append(rng.choice(("--help", "--nope", "--top", "-x", "--json=1", "--class")))
        as_json = "--json" in line and "--help" not in line
        yield Line([*line, *(["--"] if rng.random() < 0.2 else []), *arguments], as_json)


def _argument(parameter: Any, command: str, rng: random.Random) -> list[str]:
    most = 3 if parameter.nargs == -1 else 1
    return [_value(parameter.name, command, rng) for _ in range(rng.randint(1, most))]


def _option(parameter: Any, command: str, rng: random.Random) -> list[str]:
    if parameter.name == "model":
        good = f"fuzz_models:{rng.choice(GOOD_MODELS)}"
        return [rng.choice(parameter.opts), good if rng.random() < 0.93 else rng.choice((*BAD_MODELS, *TEXTS))]
    if parameter.name == "out":
        good, bad = ("out/grid.png", PICTURES) if command == "compare" else ("out", OUTS)
        return ["--out", good if rng.random() < 0.95 else rng.choice(bad)]
    if parameter.name in ("help", "everything") or rng.random() > (0.3 if parameter.is_flag else 0.06):
        return []
    if parameter.is_flag:
        return [parameter.opts[0]]
    times = rng.randint(1, 3) if parameter.multiple else 1
    return [x for _ in range(times) for x in (parameter.opts[0], _value(parameter.name, command, rng))]


def _value(name: str, command: str, rng: random.Random) -> str:
    good, bad = POOLS.get(name, (("1", "2", "3"), NUMBERS))
    if command == "explain" and name == "images":
        bad = ODD  # of several photos the odd ones must not end the others
    return rng.choice(bad if rng.random() < 0.15 else good)


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Interrupt what takes longer."""

    def late(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


Run = Callable[[Line], tuple[Any, str, str]]
"""From a command line to its status, stdout and stderr."""


@contextmanager
def without_pages() -> Iterator[None]:
    """`gradsight app` does all but to put the page on the network, and ends.

    A server keeps the streams of the runner, and Gradio leaves loops open that the end of a process would close.
    """
    page, command = contextlib.nullcontext("http://127.0.0.1:7860"), import_module("gradsight.cli.commands.app")
    with (
        mock.patch.object(import_module("gradsight.pages.serving"), "served", return_value=page),
        mock.patch.object(command, "_until_ended", return_value=0),
    ):
        yield


def in_process(line: Line) -> tuple[Any, str, str]:
    """Run by Typer's runner, which is quick."""
    with within(LONGEST), without_pages():
        result = CliRunner().invoke(app, line.arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code == 130:
        raise TimeoutError(f"over {LONGEST} s")
    return result.exit_code, result.stdout, result.stderr


def in_a_process(line: Line) -> tuple[Any, str, str]:
    """Run as users do."""
    command = [sys.executable, "-c", "from gradsight.cli import main; main()", *line.arguments]
    done = subprocess.run(command, capture_output=True, timeout=LONGEST, errors="backslashreplace")
    return done.returncode, done.stdout, done.stderr


def _judged(line: Line, run: Run, report: Report) -> Iterator[tuple[str, str]]:
    """Run it and yield what is wrong, with what was said."""
    start = time.monotonic()
    try:
        status, out, err = run(line)
    except Exception as error:
        report.statuses[type(error).__name__] += 1
        yield "it raises", f"{type(error).__name__}: {error}"[:500]
        return
    report.slowest = max(report.slowest, time.monotonic() - start)
    report.statuses[status] += 1
    if status not in (0, 1, 2):
        yield f"status {status}", err
    if "Traceback" in out + err or "Nobody foresaw" in err:
        yield "nobody foresaw it", err[-2000:]
    errors = [x for x in err.splitlines() if x.startswith("Error: ")]
    if len(errors) != (status == 2) and not (status == 1 and "stdout" in err) and line.arguments[-1] != "--help":
        yield f"{len(errors)} lines of errors with status {status}", err
    if status == 1 and "Failed: " not in err:
        yield "it fails without a word", err
    if {"\x1b", "\x00", "\u202e"} & set(out + err):
        yield "control characters", out + err
    if line.as_json:
        try:
            for text in out.splitlines():
                json.loads(text)
        except ValueError:
            yield "stdout is not JSON", out


def _snapshot() -> dict[str, tuple[int, int]]:
    """All that lies in the current folder, but for what is written on purpose."""
    skipped = ("out", "gradsight-out", "x", "n" * 255, "__pycache__")
    names = [name for name in os.listdir() if name not in skipped]
    paths = [Path(name, *rest) for name in names for rest in ([()] if not Path(name).is_dir() else _below(name))]
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths}


def _below(name: str) -> list[tuple[str, ...]]:
    return [path.relative_to(name).parts for path in Path(name).rglob("*")]


def fuzz(seed: int, count: int, run: Run = in_process) -> Report:
    """Run command lines in a new folder, and judge them."""
    report, lines = Report(), command_lines(seed)
    here, path = Path.cwd(), sys.path[:]
    folder = Path(tempfile.mkdtemp(prefix="gradsight-fuzz-"))
    try:
        furnish(folder)
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), str(Path(gs.__file__).parents[1])])
        before = _snapshot()
        for _ in range(count):
            line = next(lines)
            told = shlex.join(line.arguments)
            for what, said in _judged(line, run, report):
                report.faults.append((what, told, said))
            if (after := _snapshot()) != before:
                report.faults.append(("it writes beside --out", told, str(set(after.items()) ^ set(before.items()))))
                before = after
            shutil.rmtree("out", ignore_errors=True)
    finally:
        os.chdir(here)
        sys.path[:] = path
        sys.modules.pop("fuzz_models", None)
        shutil.rmtree(folder, ignore_errors=True)
    return report


if __name__ == "__main__":
    print(fuzz(int(sys.argv[1]), int(sys.argv[2]), in_a_process if "--processes" in sys.argv else in_process))
