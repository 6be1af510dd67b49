"""Runs in tests: a small network, photos of noise, and runs that are begun and killed as the command line has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow
from PIL import Image
from pyarrow import parquet

MODEL = "running:build"
SIDE = 64
LABELS = [f"class {i}" for i in range(10)]


def build():
    """A small network with weights that are the same each time, its preprocessing and its labels."""
    import torch
    from torch import nn

    from gradsight.imaging import Preprocess

    state = torch.random.get_rng_state()
    torch.manual_seed(20161007)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, len(LABELS)),
    )  # fmt: skip
    torch.random.set_rng_state(state)
    return net.eval(), Preprocess(size=(SIDE, SIDE)), LABELS


def telling():
    """As `build`; it leaves a file with the number of its process in the current folder."""
    Path(f"process-{os.getpid()}").touch()
    return build()


def random_weights():
    """As `build`, with other weights each time."""
    net, preprocess, labels = build()
    net[-1].reset_parameters()
    return net, preprocess, labels


def photo(folder: Path, name: str, seed: int, size: tuple[int, int] = (80, 72)) -> Path:
    """A photo of coloured blocks."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), np.uint8)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).resize(size).save(path, "PNG")
    return path


def photos(folder: Path, count: int, broken_each: int = 0) -> Path:
    """A folder of photos, of which each so-many-th is cut off."""
    for i in range(count):
        # Two sizes: photos of one batch need not become inputs of one size, and here they do.
        path = photo(folder, f"{i % 3}/{i:04d}.png", i, (80, 72) if i % 5 else (64, 96))
        if broken_each and i % broken_each == broken_each - 1:
            path.write_bytes(path.read_bytes()[:60])
    return folder


NAMES = (
    "plain.png",
    "with space.png",
    'it\'s "quoted".png',
    "new\nline.png",
    "tab\tand\rreturn.png",
    "-o.png",
    "--help.png",
    "$(reboot).png",
    "%s%n{0}.png",
    "semi;colon,comma.png",
    "back\\slash.png",
    "a.tar!b.png",
    "hash#2.png",
    "猫と珈琲.png",
    "кошка.png",
    "قطة.png",
    "בית.png",
    "แมว.png",
    "बिल्ली.png",
    "고양이.png",
    "é.png",
    "e\u0301.png",  # the same letter, written in two
    "\u202egnp.png",  # from here on right to left
    "\U0001f408\u200d\u2b1b.png",
    os.fsdecode(b"no-\xff-text.png"),
    "x" * 240 + ".png",
)
"""Names of files in every script, and what shells, tables and formats trip over."""


def hostile(folder: Path) -> Path:
    """A folder of photos with such names, in folders with such names."""
    for i, name in enumerate(NAMES):
        photo(folder, f"{NAMES[i // 2].removesuffix('.png')}/{name}", i)
    return folder


def rows(run: Path) -> pyarrow.Table:
    """All rows of a run, as any tool for tables finds them, in the order of keys."""
    parts = [parquet.read_table(path) for path in sorted((run / "rows").glob("*.parquet"))]
    return pyarrow.concat_tables(parts).sort_by([(name, "ascending") for name in ("key", "method", "target")])


KEPT = ("manifest.json", ".lock", ".owner")
"""What a run has beside its parts."""


def torn(run: Path) -> list[str]:
    """What lies in a run and is neither a part nor a manifest nor the lock."""
    found = [path for path in run.rglob("*") if path.is_file()]
    return [str(path) for path in found if path.suffix != ".parquet" and path.name not in KEPT]


def forked(body: Callable[[], object]) -> int:
    """Begin something in a child of this process, which ends with it; its number.

    A child that is forked has all imported already: one that is started takes seconds to come as far.
    """
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        body()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        os._exit(status)


def command(source: object, out: Path, *more: object) -> list[str]:
    """The words of ``gradsight run`` behind the program's name."""
    return ["run", str(source), "--model", MODEL, "--out", str(out), "--batch-size", "8", *map(str, more)]


class Zygote:
    """Commands that begin at once; see ``zygote.py``. One at a time."""

    def __init__(self, environment: dict[str, str]) -> None:
        script = Path(__file__).with_name("zygote.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __call__(self, words: Sequence[str], output: Path, **wish: object) -> int:
        """Run a command, disturbed as is wished for; its exit status, negative for the signal that ended it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"words": list(words), "output": str(output), **wish}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def environment() -> dict[str, str]:
    """Of processes that find this module, and compute in one thread as these tests do."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def peaks(words: Sequence[str]) -> tuple[int, int]:
    """The peak memory of a command in KiB: its processes' own peaks, of all that ever were, and of those at one moment.

    Copies of a process end before the last part is written; Ray ends and starts processes that have nothing to do.
    """
    main = "import sys; from gradsight.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", main, *words], env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    at_once, each = 0, dict[int, int]()
    while process.poll() is None:
        now = {one: _high_water(one) for one in _tree(process.pid)}
        at_once = max(at_once, sum(now.values()))
        each |= {one: high for one, high in now.items() if high}
        time.sleep(0.02)  # a copy may live for half a second
    assert process.returncode == 0
    return sum(each.values()), at_once


def _tree(root: int) -> list[int]:
    """A process and all below it."""
    below: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            # Its name comes first, in brackets, and may hold anything.
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            below.setdefault(parent, []).append(int(path.parent.name))
    found = [root]
    for one in found:
        found += below.get(one, [])
    return found


def _high_water(process: int) -> int:
    with suppress(OSError):  # it has ended
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0
