"""What was found in a photo, for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gradsight.cli.terminal import say, short
from gradsight.results.wording import place, share, where


def show(records: Sequence[dict[str, Any]], path_of: Callable[[str], Path]) -> None:
    """Print what was found in one photo.

    Args:
        records: one for each method and layer.
        path_of: where a file lies that a record names.
    """
    first = records[0]
    # As people say it, width first; records have the height first.
    size = " x ".join(str(length) for length in reversed(first["size"]))
    say((first["image"], "bold"), (f"  {size} pixels, model {first['model']}", "dim"))
    _say_text(first)
    if first["predictions"]:
        seen = ", ".join(f"{short(p['label'])} {share(p['probability'])}" for p in first["predictions"])
        say("  The model says: ", seen)
    for record in records:
        _say_record(record, path_of)
    # One picture may be of all of them.
    for file in dict.fromkeys(record[key] for record in records for key in ("file", "figure") if key in record):
        say("    ", (str(path_of(file)), "cyan"))


def _say_text(record: dict[str, Any]) -> None:
    """What the model wrote or answered, if it did."""
    if "question" in record:
        say("  Asked: ", record["question"])
        say("  The model answers: ", (short(record["answer"] or ""), "bold"))
    elif "caption" in record:
        say("  The model writes: ", (record["caption"], "bold"))


def _say_record(record: dict[str, Any], path_of: Callable[[str], Path]) -> None:
    say(f"  {record['title']}, {place(record['layers'])}:")
    noted = [[note["text"] for note in target["notes"]] for target in record["targets"]]
    # A note that is true of all targets is said once, below them.
    shared = set[str].intersection(*map(set, noted))
    for target, notes in zip(record["targets"], noted, strict=True):
        say("    ", (short(target["label"]), "bold"), f": {where(target, record['size'])}")
        if target["file"] is not None:
            say("      ", (str(path_of(target["file"])), "cyan"))
        for note in notes:
            if note not in shared:
                say(("      Note: ", "yellow"), note)
    for note in noted[0]:
        if note in shared:
            say(("    Note: ", "yellow"), note)
