"""Times gradsight beside its peers, as ratios to one plain forward pass of the same model in the same process.

    make bench                                                     three tables, about a quarter of an hour
    make bench ARGS="--quick"                                      fewer networks and rounds, about four minutes
    make bench ARGS="--tables times --nets resnet50 vgg16 --rounds 40 --json bench.json"
    make bench ARGS="--tables methods --methods ablationcam eigencam --method-nets resnet50"
    make bench ARGS="--tables times --device cuda --dtype bfloat16 --batch 64"

Tables: ``times`` of Grad-CAM, one class and ten; peak ``memory``; all ``methods`` on two networks.

In each round every contestant runs once, in turn, the first one another each time; a plain forward pass right before
and one right after it are its unit. Shown are the median and the quartiles over the rounds. A contestant whose calls
are long runs in fewer rounds; one whose single call takes more than its share is timed once.
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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

os.environ["TQDM_DISABLE"] = "1"  # a peer draws a bar for each call

# The networks, the counters, the shim.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/support"))

import torchvision_shim

torchvision_shim.install()

import torch
from contestants import CONTESTANTS, CannotDo, Ready, Task, plain_forward, ready, shell
from rich.console import Console
from rich.table import Table

from costs import MIB, peak_bytes
from gradsight.registry import METHODS
from networks import NETWORKS, build

NETS = ("resnet50", "mobilenet_v3_large", "convnext_tiny", "vit_b_16", "vgg16")
QUICK_NETS = ("resnet50", "mobilenet_v3_large")
CLASSES = {1: (281,), 10: (281, 0, 7, 99, 243, 340, 409, 530, 817, 999)}
GOALS = {1: 1.05, 10: 1.15}
VGG_GOALS = {1: 1.15, 10: 1.25}  # its dense tail is bound by reading 500 MB of weights once more
MEMORY_GOAL = 1.2
METHOD_NETS = ("resnet18", "resnet50")
METHOD_GOALS = {("resnet50", "ablationcam"): 4.0, ("resnet50", "eigencam"): 1.05}
TABLES = ("times", "memory", "methods")


class OutputContext(NamedTuple):
    """How a method is run by everybody in the table of methods; by default as it is, at layer4."""

    options: Mapping[str, Any] = MappingProxyType({})
    layer: str = "layer4"
    layers: tuple[str, ...] = ()

    def __str__(self) -> str:
        layers = " + ".join(self.layers) or ("" if self.layer == "layer4" else f"at {self.layer}")
        return ", ".join(filter(None, [layers, *(f"{name} {value}" for name, value in self.options.items())]))


# Reduced, so that a call ends, and equally for everybody: maxpool has 64 channels, layer4 of ResNet-50 has 2048.
SETTINGS = {
    "integratedgradients": OutputContext({"steps": 8}),
    "iscam": OutputContext({"samples": 2}, layer="maxpool"),
    "occlusion": OutputContext({"window": 0.25, "stride": 0.25}),
    "refinecam": OutputContext(layers=("layer2", "layer3", "layer4")),
    "rise": OutputContext({"masks": 32}),
    "scorecam": OutputContext(layer="maxpool"),
    "smoothgrad": OutputContext({"samples": 8}),
    "smoothgradcampp": OutputContext({"samples": 4}),
    "sscam": OutputContext({"samples": 2}, layer="maxpool"),
}


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
    method: str = "gradcam"
    setting: str = ""
    rounds: int = 0


class Where(NamedTuple):
    """What everybody is given a network as: where, in which precision, how many images, compiled or not."""

    device: str = "cpu"
    dtype: str = "float32"
    batch: int = 1
    compiled: str = ""

    def task(self, net: str, classes: Sequence[int], layer: str = "") -> Task:
        network, dtype = NETWORKS[net], getattr(torch, self.dtype)
        grid = network.grid if network.tokens else None
        images = network.images(self.batch).to(self.device, dtype)
        model = build(net).to(self.device, dtype)
        if self.compiled:
            model.compile(backend=self.compiled)
        return Task(model, layer or network.layer, images, classes, grid)


class Lap(NamedTuple):
    """Seconds of one call, and of the plain forward passes before and after it."""

    before: float
    taken: float
    after: float

    @property
    def ratio(self) -> float:
        return 2 * self.taken / (self.before + self.after)


def seconds(call: Callable[[], Any]) -> float:
    """Wall time of one call, with all that it asked of a GPU."""
    wait()
    start = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - start


def wait() -> None:
    """Until a GPU has done what it was asked for."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def lap(runner: Ready) -> Lap:
    return Lap(*(seconds(f) for f in (runner.plain, runner.call, runner.plain)))


def warmed(runner: Ready, share: float) -> Lap:
    """A lap that is not the first; or the first, where it alone takes the share several times over."""
    runner.plain()
    first = lap(runner)
    return first if first.ratio > 3 * share else lap(runner)


def race(runners: dict[str, Ready], rounds: int, share: float) -> dict[str, list[Lap]]:
    """The laps of each contestant: ``rounds`` of them, or as many as take it ``share`` plain forward passes."""
    first = {name: warmed(runner, share) for name, runner in runners.items()}
    shares = {name: min(rounds, int(share / lap.ratio)) for name, lap in first.items()}
    laps: dict[str, list[Lap]] = {name: [] if shares[name] else [first[name]] for name in runners}
    names = list(runners)
    gc.collect()
    gc.disable()
    try:
        for i in range(max(shares.values(), default=0)):
            shift = i % len(names)
            for name in names[shift:] + names[:shift]:
                if i < shares[name]:
                    laps[name].append(lap(runners[name]))
            gc.collect()
    finally:
        gc.enable()
    return laps


def start(net: str, task: Task, chosen: Sequence[str]) -> tuple[dict[str, Ready], list[Row]]:
    """The contestants that can do a task, and a row for each that cannot."""
    runners: dict[str, Ready] = {}
    cannot: list[Row] = []
    for name in chosen:
        try:
            runners[name] = ready(name, task)
        except CannotDo as reason:
            cannot.append(Row(net, len(task.classes), name, None, reason=str(reason), method=task.method))
    return runners, cannot


def measured(
    net: str, task: Task, chosen: Sequence[str], rounds: int, share: float, goal: float | None = None
) -> list[Row]:
    """Time all contestants at one task."""
    runners, rows = start(net, task, chosen)
    laps = race(runners, rounds, share)
    forward = statistics.median([t for own in laps.values() for lap in own for t in (lap.before, lap.after)] or [0.0])
    for name, own in laps.items():
        values = [lap.ratio for lap in own]
        low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
        target = goal if name == "gradsight" else None
        row = Row(net, len(task.classes), name, middle, (low, high), forward, target)
        rows.append(row._replace(method=task.method, rounds=len(own)))
    return rows


def timed(net: str, classes: int, chosen: Sequence[str], rounds: int, where: Where) -> list[Row]:
    """Time Grad-CAM of all contestants on one network."""
    task = where.task(net, CLASSES[classes])
    return measured(net, task, chosen, rounds, 500, (VGG_GOALS if net == "vgg16" else GOALS)[classes])


def timed_methods(
    net: str, methods: Sequence[str], chosen: Sequence[str], rounds: int, share: float, where: Where
) -> list[Row]:
    """Time methods of all contestants on one network, one class."""
    rows: list[Row] = []
    of_net = where.task(net, CLASSES[1])
    for method in methods:
        say(f"{net}, {method}")
        setting = SETTINGS.get(method, OutputContext())
        task = of_net._replace(layer=setting.layer, method=method, options=setting.options, layers=setting.layers)
        found = measured(net, task, chosen, rounds, share, METHOD_GOALS.get((net, method)))
        rows += [row._replace(setting=str(setting)) for row in found]
    return rows


def memory(chosen: Sequence[str], size: int) -> dict[str, float]:
    """Peak MiB above the start of each contestant, and of a plain forward pass, on ResNet-50."""
    network = NETWORKS["resnet50"]
    task = Task(build("resnet50"), network.layer, network.images(size), CLASSES[1])
    peaks = {"plain forward": peak_bytes(plain_forward(shell(task.model), task.batch)) / MIB}
    for name in chosen:
        say(f"memory, {name}")
        call = ready(name, task).call
        call()  # what stays from the first call on, such as peers' filled .grad, is not of this call
        peaks[name] = peak_bytes(call) / MIB
    return peaks


def say(what: str) -> None:
    """What is going on, for the one who waits."""
    Console(stderr=True).print(f"{what} ...", highlight=False)


def cell(row: Row | None) -> str:
    if row is None or row.ratio is None:
        return "–"
    digits = 2 if row.ratio < 10 else 1
    spread = f"  ({row.quartiles[0]:.{digits}f}–{row.quartiles[1]:.{digits}f})" if row.rounds > 1 else "  (once)"
    return f"{row.ratio:.{digits}f}{spread}"


def verdict(value: float, goal: float) -> str:
    return f"≤ {goal:.2f} {'met' if value <= goal else 'MISSED'}"


def verdicts(rows: Sequence[Row]) -> str:
    return " ".join(verdict(r.ratio, r.goal) for r in rows if r.ratio is not None and r.goal is not None)


def show_times(rows: list[Row], chosen: Sequence[str], console: Console) -> None:
    table = Table("network", "classes", "forward", *chosen, "goal", title="Time, in plain forward passes")
    for key in dict.fromkeys((row.net, row.classes) for row in rows):
        own = {row.contestant: row for row in rows if (row.net, row.classes) == key}
        forward = max(row.forward for row in own.values())
        cells = (cell(own.get(name)) for name in chosen)
        table.add_row(key[0], str(key[1]), f"{1000 * forward:.1f} ms", *cells, verdicts(list(own.values())))
    console.print(table)
    show_reasons(rows, console)


def show_methods(rows: list[Row], chosen: Sequence[str], console: Console) -> None:
    for net in dict.fromkeys(row.net for row in rows):
        here = [row for row in rows if row.net == net]
        forward = statistics.median(row.forward for row in here if row.ratio is not None)
        title = f"Methods on {net}, batch 1, one class: time in plain forward passes of {1000 * forward:.1f} ms"
        table = Table("method", "setting", *chosen, "goal", title=title)
        for method in dict.fromkeys(row.method for row in here):
            own = {row.contestant: row for row in here if row.method == method}
            cells = (cell(own.get(name)) for name in chosen)
            table.add_row(method, next(iter(own.values())).setting, *cells, verdicts(list(own.values())))
        console.print(table)
    console.print(
        "–: no such method. (once): a single call took more than its share of the time. A setting is everybody's: "
        "passes are reduced, and equally, and methods that run the whole model once a channel or more look at a layer "
        "of 64 channels. Without a setting: layer4 and each library's defaults; Ablation-CAM takes all channels."
    )
    show_reasons(rows, console)


def show_reasons(rows: list[Row], console: Console) -> None:
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
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES, metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--nets", nargs="+", choices=NETS, metavar="NET", help=f"for times: {', '.join(NETS)}")
    parser.add_argument("--classes", nargs="+", type=int, choices=CLASSES, default=list(CLASSES), help="1, 10 or both")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), metavar="METHOD")
    parser.add_argument("--method-nets", nargs="+", choices=METHOD_NETS, metavar="NET", help=", ".join(METHOD_NETS))
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=12, help="12; with ten classes a third, for methods a half")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="all cores unless told")
    parser.add_argument("--device", default="cpu", help="for times and methods: cpu or cuda")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--batch", type=int, default=1, help="images at once; the table of memory has its own")
    parser.add_argument("--compiled", default="", metavar="BACKEND", help="after model.compile(backend=BACKEND)")
    parser.add_argument("--quick", action="store_true", help="4 rounds, fewer networks, and memory at batch 8")
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args(arguments)
    asked.nets = asked.nets or (QUICK_NETS if asked.quick else NETS)
    asked.method_nets = asked.method_nets or METHOD_NETS[: 1 if asked.quick else 2]
    asked.rounds = 4 if asked.quick else asked.rounds
    asked.where = Where(asked.device, asked.dtype, asked.batch, asked.compiled)
    return asked


def all_times(asked: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    for net in asked.nets:
        for classes in asked.classes:
            few = max(3, asked.rounds // 3) if classes > 1 else asked.rounds
            say(f"{net}, {classes} class(es), {few} rounds")
            rows += timed(net, classes, asked.only, few, asked.where)
    return rows


def all_methods(asked: argparse.Namespace) -> list[Row]:
    rounds, share = max(3, asked.rounds // 2), 20 if asked.quick else 60
    rows: list[Row] = []
    for net in asked.method_nets:
        rows += timed_methods(net, asked.methods, asked.only, rounds, share, asked.where)
    # The goals are for ResNet-50; gradsight alone is soon timed.
    goals = [method for net, method in METHOD_GOALS if method in asked.methods and net not in asked.method_nets]
    return rows + timed_methods("resnet50", goals, ["gradsight"], asked.rounds, share, asked.where)


def main() -> None:
    asked, console = parsed(), Console(width=None if sys.stdout.isatty() else 160)
    torch.set_num_threads(asked.threads)
    times, methods, peaks, size = [], [], {}, 8 if asked.quick else 32
    if "times" in asked.tables:
        show_times(times := all_times(asked), asked.only, console)
    if "memory" in asked.tables:
        show_memory(peaks := memory(asked.only, size), size, console)
    if "methods" in asked.tables:
        show_methods(methods := all_methods(asked), asked.only, console)
    about = {"torch": torch.__version__, "python": platform.python_version(), "threads": asked.threads}
    about |= asked.where._asdict()
    console.print(", ".join(f"{key} {value}" for key, value in about.items()))
    if asked.json:
        found = {"about": about, "times": [row._asdict() for row in times], "memory_mib": peaks, "memory_batch": size}
        found["methods"] = [row._asdict() for row in methods]
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
