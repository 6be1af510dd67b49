"""Times Grad-CAM beside its peers, as ratios to one plain forward pass of the same model in the same process.

    make bench
    make bench ARGS="--nets resnet50 vgg16 --rounds 40 --json bench.json"

In each round every contestant runs once, in turn, the first one another each time; a plain forward pass right before
and one right after it are its unit. Shown are the median and the quartiles over the rounds.
"""

# ruff: noqa: E402 - the imports below need the path and the shim
from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))  # the networks, the counters, the shim

import torchvision_shim

torchvision_shim.install()

import torch
from contestants import CONTESTANTS, CannotDo, Ready, Task, plain_forward, ready, shell
from rich.console import Console
from rich.table import Table

from costs import MIB, peak_bytes
from networks import NETWORKS, build

NETS = ("resnet50", "mobilenet_v3_large", "convnext_tiny", "vit_b_16", "vgg16")
CLASSES = {1: (281,), 10: (281, 0, 7, 99, 243, 340, 409, 530, 817, 999)}
GOALS = {1: 1.05, 10: 1.15}
VGG_GOALS = {1: 1.15, 10: 1.25}  # its dense tail is bound by reading 500 MB of weights once more
MEMORY_GOAL = 1.2


class Row(NamedTuple):
    """One measurement; ``ratio`` is None where the contestant does not do it, and ``reason`` says why."""

    net: str
    classes: int
    contestant: str
    ratio: float | None
    quartiles: tuple[float, float] = (0.0, 0.0)
    forward: float = 0.0  # seconds, the median
    goal: float | None = None
    reason: str = ""


def seconds(call: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def race(runners: dict[str, Ready], rounds: int) -> tuple[dict[str, list[float]], float]:
    """Ratios of every round by contestant, and the median time of a plain forward pass."""
    for runner in runners.values():
        for _ in range(2):
            runner.plain()
            runner.call()
    ratios: dict[str, list[float]] = {name: [] for name in runners}
    forwards: list[float] = []
    names = list(runners)
    gc.collect()
    gc.disable()
    try:
        for i in range(rounds):
            shift = i % len(names)
            for name in names[shift:] + names[:shift]:
                before, taken, after = (
                    seconds(f) for f in (runners[name].plain, runners[name].call, runners[name].plain)
                )
                ratios[name].append(2 * taken / (before + after))
                forwards += [before, after]
            gc.collect()
    finally:
        gc.enable()
    return ratios, statistics.median(forwards)


def start(net: str, task: Task, chosen: Sequence[str]) -> tuple[dict[str, Ready], list[Row]]:
    """The contestants that can do a task, and a row for each that cannot."""
    runners: dict[str, Ready] = {}
    cannot: list[Row] = []
    for name in chosen:
        try:
            runners[name] = ready(name, task)
        except CannotDo as reason:
            cannot.append(Row(net, len(task.classes), name, None, reason=str(reason)))
    return runners, cannot


def timed(net: str, classes: int, chosen: Sequence[str], rounds: int) -> list[Row]:
    """Time all contestants on one network."""
    network = NETWORKS[net]
    task = Task(
        build(net), network.layer, network.images(1), CLASSES[classes], network.grid if network.tokens else None
    )
    runners, rows = start(net, task, chosen)
    goal = (VGG_GOALS if net == "vgg16" else GOALS)[classes]
    ratios, forward = race(runners, rounds)
    for name, values in ratios.items():
        low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
        own = goal if name == "gradsight" else None
        rows.append(Row(net, classes, name, middle, (low, high), forward, own))
    return rows


def memory(chosen: Sequence[str], size: int) -> dict[str, float]:
    """Peak MiB above the start of each contestant, and of a plain forward pass, on ResNet-50."""
    network = NETWORKS["resnet50"]
    task = Task(build("resnet50"), network.layer, network.images(size), CLASSES[1])
    peaks = {"plain forward": peak_bytes(plain_forward(shell(task.model), task.batch)) / MIB}
    for name in chosen:
        call = ready(name, task).call
        call()  # what stays from the first call on, such as peers' filled .grad, is not of this call
        peaks[name] = peak_bytes(call) / MIB
    return peaks


def cell(row: Row | None) -> str:
    if row is None or row.ratio is None:
        return "–"
    return f"{row.ratio:.2f}  ({row.quartiles[0]:.2f}–{row.quartiles[1]:.2f})"


def verdict(value: float, goal: float) -> str:
    return f"≤ {goal:.2f} {'met' if value <= goal else 'MISSED'}"


def show_times(rows: list[Row], chosen: Sequence[str], console: Console) -> None:
    table = Table("network", "classes", "forward", *chosen, "goal", title="Time, in plain forward passes")
    for key in dict.fromkeys((row.net, row.classes) for row in rows):
        own = {row.contestant: row for row in rows if (row.net, row.classes) == key}
        forward = max(row.forward for row in own.values())
        goals = [verdict(r.ratio, r.goal) for r in own.values() if r.ratio is not None and r.goal is not None]
        cells = (cell(own.get(name)) for name in chosen)
        table.add_row(key[0], str(key[1]), f"{1000 * forward:.0f} ms", *cells, *(goals or [""]))
    console.print(table)
    for note in dict.fromkeys(f"– {row.net}, {row.contestant}: {row.reason}" for row in rows if row.reason):
        console.print(note)


def show_memory(peaks: dict[str, float], size: int, console: Console) -> None:
    alone = peaks["plain forward"]
    table = Table("", "MiB", "ratio", "goal", title=f"Peak extra memory, ResNet-50, batch {size}, one class")
    for name, peak in peaks.items():
        goal = verdict(peak / alone, MEMORY_GOAL) if name == "gradsight" else ""
        table.add_row(name, f"{peak:.0f}", f"{peak / alone:.2f}", goal)
    console.print(table)


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS, metavar="NET", help=", ".join(NETS))
    parser.add_argument("--classes", nargs="+", type=int, choices=CLASSES, default=list(CLASSES), help="1, 10 or both")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=20, help="with ten classes a third of them")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="all cores unless told")
    parser.add_argument("--quick", action="store_true", help="5 rounds, and memory at batch 8")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(arguments)


def main() -> None:
    asked, console = parsed(), Console(width=None if sys.stdout.isatty() else 160)
    torch.set_num_threads(asked.threads)
    rounds, size = (5, 8) if asked.quick else (asked.rounds, 32)
    rows: list[Row] = []
    for net in asked.nets:
        for classes in asked.classes:
            few = max(3, rounds // 3) if classes > 1 else rounds
            Console(stderr=True).print(f"{net}, {classes} class(es), {few} rounds ...")
            rows += timed(net, classes, asked.only, few)
    show_times(rows, asked.only, console)
    peaks = {} if asked.no_memory else memory(asked.only, size)
    if peaks:
        show_memory(peaks, size, console)
    about = {"torch": torch.__version__, "python": platform.python_version(), "threads": asked.threads}
    console.print(", ".join(f"{key} {value}" for key, value in about.items()))
    if asked.json:
        found = {"about": about, "times": [row._asdict() for row in rows], "memory_mib": peaks, "memory_batch": size}
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
