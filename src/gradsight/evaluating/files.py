"""An evaluation as files: JSON always, Parquet where pyarrow is installed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradsight.checks import taken
from gradsight.errors import GradsightError, InvalidArgument, one_line, received
from gradsight.evaluating.rows import Row, Unmeasured
from gradsight.files import read_bytes, write_bytes, written
from gradsight.limits import TEXT_BYTES
from gradsight.metric_registry import as_metric
from gradsight.rules import Name

if TYPE_CHECKING:
    from gradsight.evaluating.evaluation import Evaluation
    from gradsight.evaluating.summary import Summary

VERSION = 1
"""Of what is written. It grows when a field is renamed, removed or means something else."""

JSON, PARQUET = "results.json", "results.parquet"

_COLUMNS = tuple(field.name for field in fields(Row))


def write(evaluation: Evaluation, folder: str | os.PathLike[str]) -> None:
    """Write an evaluation into a folder.

    Raises:
        InvalidArgument: it cannot be written there.
    """
    place = Path(taken("folder", folder, Name()))
    # Columns once and rows as lists: names in every row would make the file three times as large.
    plain = {
        "version": VERSION,
        "model": evaluation.model,
        "seed": evaluation.seed,
        "metrics": [_metric(name) for name in evaluation.metrics],
        "summary": [record(one) for one in evaluation.summary],
        "notes": list(evaluation.notes),
        "left_out": [list(pair) for pair in evaluation.left_out],
        "failed": [vars(one) for one in evaluation.failed],
        "columns": list(_COLUMNS),
        "rows": [_plain(row) for row in evaluation.rows],
    }
    write_bytes(place / JSON, f"{json.dumps(plain, allow_nan=False)}\n".encode())
    _write_parquet(evaluation.rows, place / PARQUET)


def record(one: Summary) -> dict[str, Any]:
    """A summary as plain values for JSON, in which NaN is null."""
    names = ("layer", "method", "metric", "mean", "low", "high", "n", "better", "rank", "beats_random_p")
    found = {name: _finite(getattr(one, name)) for name in names}
    # The image itself is no layer.
    return {**found, "layer": found["layer"] or None, "missing": one.missing, "control": one.control}


def _finite(value: Any) -> Any:
    """A value as JSON has it: NaN and infinity are null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The fields of an evaluation that `write` wrote.

    Raises:
        InvalidArgument: there is none, or it cannot be read.
    """
    path = Path(taken("folder", folder, Name())) / JSON
    content = read_bytes(path, "an evaluation", InvalidArgument, TEXT_BYTES)
    try:
        plain = json.loads(content)
        if plain["version"] > VERSION:
            raise InvalidArgument(f"{str(path)!r} is of a newer gradsight. {received(plain['version'])} Update it.")
        return {
            "rows": tuple(row_of(plain["columns"], values) for values in plain["rows"]),
            "model": str(plain["model"]),
            "seed": int(plain["seed"]),
            "failed": tuple(Unmeasured(str(one["image"]), str(one["reason"])) for one in plain["failed"]),
            "left_out": tuple((str(name), str(reason)) for name, reason in plain["left_out"]),
            "notes": tuple(map(str, plain["notes"])),
        }
    except GradsightError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidArgument(f"{str(path)!r} is no evaluation: {one_line(error)}. Evaluate again.") from error


def row_of(columns: Iterable[str], values: Iterable[Any]) -> Row:
    """A row from its plain values; columns that are not known are left out."""
    found: Mapping[str, Any] = dict(zip(columns, values, strict=True))
    image, target, layer, method, metric = (
        str(found[name]) for name in ("image", "target", "layer", "method", "metric")
    )
    index = None if found["index"] is None else int(found["index"])
    values = tuple(map(_number, found["values"]))
    return Row(image, target, index, layer, method, metric, _number(found["value"]), values)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _plain(row: Row) -> list[Any]:
    values = [_finite(getattr(row, name)) for name in _COLUMNS[:-1]]
    return [*values, [_finite(value) for value in row.values]]


def _metric(name: str) -> dict[str, Any]:
    """A metric with all of its options: they belong to every figure."""
    metric = as_metric(name)
    facts = {key: getattr(metric, key) for key in ("name", "title", "source", "measures", "better", "scores")}
    return {**facts, "range": [_finite(float(end)) for end in metric.range], "options": metric.options}


def _write_parquet(rows: Iterable[Row], path: Path) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        # One of an earlier call would be of other figures than the JSON beside it.
        path.unlink(missing_ok=True)
        return
    kinds = {"index": pyarrow.int64(), "value": pyarrow.float64(), "values": pyarrow.list_(pyarrow.float32())}
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in _COLUMNS])
    held = list(rows)
    columns = {name: [getattr(row, name) for row in held] for name in _COLUMNS}
    columns["values"] = [np.array(values, np.float32) for values in columns["values"]]
    with written(path) as file:
        parquet.write_table(pyarrow.table(columns, schema=schema), file)
