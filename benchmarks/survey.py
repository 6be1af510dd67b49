"""Surveys whole libraries: which layer gradsight chooses in each family of models, and whether its map lies right.

    python benchmarks/survey.py timm --out timm.csv                one small member of every module, about ten minutes
    python benchmarks/survey.py transformers --only hiera clip
    KERAS_BACKEND=tensorflow python benchmarks/survey.py keras

Models have random weights and few classes; nothing is downloaded. Each runs in a process of its own, one after another.

Where a map lies is found out by a trial that shares nothing with gradsight's own: patches of a noise image are changed,
one at a time, and the position where the layer changes most, beside what every patch changes there, must be the
patch's. Of ``right`` maps rows, columns and frames correlate with those of the patches, and as a rule nothing is a cell
off. Where noise images agree on another place the map is ``WRONG``, where they do not agree it is ``unclear``. A map
that differs when the layer is named is ``WRONG`` too.
"""

# ruff: noqa: E402 - the imports below need the path and the shim
from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/support"))  # the shim

import torchvision_shim

torchvision_shim.install()

import numpy as np
from rich.console import Console
from rich.table import Table
from survey_models import CannotBuild, Case, Member, keras_members, prepare, timm_members
from survey_transformers import transformers_members
from survey_trial import tried

import gradsight as gs

SOURCES = {"timm": timm_members, "transformers": transformers_members, "keras": keras_members}


class Row(NamedTuple):
    """What was found of one model. ``shift`` is in cells, and ``swapped`` the correlation across axes."""

    source: str
    family: str
    model: str
    input: str = ""
    layer: str = ""
    grid: str = ""
    extra: str = ""
    rows: str = ""
    columns: str = ""
    frames: str = ""
    swapped: str = ""
    shift: str = ""
    steady: str = ""
    named: str = ""
    verdict: str = ""
    remark: str = ""
    seconds: str = ""


def named_alike(case: Case, inputs: Any, chosen: gs.Explanation) -> str:
    """Whether the map is the same when the layer is named, by an explainer that has seen nothing."""
    try:
        named = gs.Explainer(case.model, layer=chosen.layer)(inputs, targets=case.target)
    except gs.GradsightError as error:
        return f"refused: {line(error)}"
    if named.maps.shape != chosen.maps.shape:
        return f"no: {named.maps.shape[2:]}"
    close = np.allclose(named.maps, chosen.maps, rtol=0, atol=1e-5 * np.abs(chosen.maps).max())
    return "yes" if close else "no: other values"


def surveyed(row: Row, member: Member, stages: bool) -> list[Row]:
    """Build a model, explain it, and look where the map lies; ``stages``: those of `of_stages` too."""
    try:
        case = member.build()
        inputs = case.feed(np.random.default_rng(9).standard_normal(case.shape, np.float32))
        case.run(inputs)
    except CannotBuild as reason:
        return [row._replace(verdict="skipped", remark=str(reason))]
    except Exception as error:  # whatever a library raises; the row says what
        return [row._replace(verdict="skipped", remark=f"cannot be built or run here: {line(error)}")]
    row = row._replace(input="x".join(map(str, case.shape[1:])))
    explainer = gs.Explainer(case.model)
    try:
        found = explainer(inputs, targets=case.target)
    except gs.GradsightError as error:
        return [row._replace(verdict="refused", remark=line(error))]
    layout = explainer.layers(inputs, targets=case.target)[0].layout
    chosen = row._replace(extra=str(getattr(layout, "extra", "")), named=named_alike(case, inputs, found))
    chosen = looked_at(case, explainer, found, chosen)
    chosen = chosen if chosen.named == "yes" else chosen._replace(verdict="WRONG")
    return [chosen, *(of_stages(case, explainer, inputs, row, found.layer or "") if stages else [])]


def looked_at(case: Case, explainer: gs.Explainer, found: gs.Explanation, row: Row) -> Row:
    """The row of a layer that was explained."""
    grid = found.maps.shape[2:]
    notes = " | ".join(dict.fromkeys(map(str, found.target_notes[0][0])))
    row = row._replace(layer=found.layer or "", grid="x".join(map(str, grid)), remark=notes)
    try:
        return row._replace(**tried(case, explainer, grid))
    except gs.GradsightError as error:  # such as too little memory for so many images
        return row._replace(verdict="unclear", remark=line(error))


def of_stages(case: Case, explainer: gs.Explainer, inputs: Any, row: Row, chosen: str) -> list[Row]:
    """The other layers that methods of several layers look at, named one by one."""
    rows = []
    joint = explainer(inputs, targets=case.target, method="refinecam")
    for name in joint.layers:
        alone = gs.Explainer(case.model, layer=name)
        if name != chosen:
            try:
                rows.append(looked_at(case, alone, alone(inputs, targets=case.target), row))
            except gs.GradsightError as error:
                rows.append(row._replace(layer=name, verdict="refused", remark=line(error)))
    return rows


def line(error: BaseException) -> str:
    """An error's first line."""
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"[:400]


def in_child(sender: Connection, row: Row, member: Member, asked: argparse.Namespace) -> None:
    warnings.simplefilter("ignore")
    if asked.gigabytes:
        resource.setrlimit(resource.RLIMIT_DATA, (int(asked.gigabytes * 2**30), resource.RLIM_INFINITY))
    try:
        sender.send(surveyed(row, member, asked.stages))
    except BaseException as error:  # an error that is none of gradsight's own is a finding as well
        sender.send([row._replace(verdict="WRONG", remark=f"raised {line(error)}")])


def apart(row: Row, member: Member, asked: argparse.Namespace) -> list[Row]:
    """Survey one model in a process of its own, for so long at most."""
    start = time.perf_counter()
    context = multiprocessing.get_context("fork")  # what was imported is there at once
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=in_child, args=(sender, row, member, asked))
    child.start()
    sender.close()
    rows = [row._replace(verdict="unclear", remark=f"not done in {asked.seconds:.0f} s")]
    try:
        if receiver.poll(asked.seconds):
            rows = receiver.recv()
    except EOFError:
        rows = [row._replace(verdict="unclear", remark="its process ended")]
    child.kill()
    child.join()
    return [row._replace(seconds=f"{time.perf_counter() - start:.1f}") for row in rows]


def all_rows(asked: argparse.Namespace) -> Iterator[Row]:
    for member in SOURCES[asked.source]():
        if not asked.only or {member.family, member.name} & set(asked.only):
            yield from apart(Row(asked.source, member.family, member.name), member, asked)


def show(rows: Sequence[Row], console: Console) -> None:
    """The counts, and all that is not right."""
    counts = Counter(row.verdict for row in rows)
    console.print(", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()))
    columns = ("model", "layer", "grid", "extra", "rows", "columns", "frames", "shift", "named", "verdict", "remark")
    table = Table(*columns, title="All that is not right")
    for row in sorted(rows, key=lambda row: (row.verdict, row.model)):
        if row.verdict != "right":
            table.add_row(*(getattr(row, column) for column in columns))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", choices=list(SOURCES))
    parser.add_argument("--only", nargs="+", metavar="NAME", help="families or models")
    parser.add_argument("--stages", action="store_true", help="also the layers that refinecam takes")
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="a row for each model, written as it is found")
    parser.add_argument("--seconds", type=float, default=120, help="the most that a model may take")
    parser.add_argument("--gigabytes", type=float, default=8, help="the most memory that it may take; 0 for any")
    asked, console = parser.parse_args(), Console(width=None if sys.stdout.isatty() else 200)
    prepare(asked.source)
    rows = []
    with open(asked.out or os.devnull, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        for row in all_rows(asked):
            rows.append(row)
            writer.writerow(row)
            file.flush()
            console.print(f"{row.model}: {row.verdict} {row.layer} {row.grid} {row.seconds} s", highlight=False)
    show(rows, console)


if __name__ == "__main__":
    main()
