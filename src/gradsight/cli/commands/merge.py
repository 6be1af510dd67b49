"""``gradsight merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradsight.cli import parsing
from gradsight.cli.groups import command
from gradsight.cli.options import RESULT, JsonOptions

Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN", parser=parsing.path, help="Folders of runs that differ in their shard.")
]


@command("gradsight merge run-1 run-2 run-3 --out run")
def merge(
    runs: Runs,
    *,
    out: Annotated[
        Path, RESULT.option("--out", "-o", metavar="RUN", parser=parsing.path, help="The folder of the new run.")
    ] = Path("gradsight-run"),
    reply: JsonOptions,
) -> int:
    """Make one run of several, such as those of `gradsight run --shard`.

    They must be of one model, with the same weights and settings. What is missing is said, and the status is 1.
    """
    import gradsight as gs
    from gradsight.cli.terminal import complain, say, say_json, waiting

    with waiting("merging"):
        made = gs.merge_runs(runs, out)
    count, failed = len(made), len(made.failed)
    for text in made.manifest.missing:
        complain(text, "Missing")
    if reply.as_json:
        complete = made.manifest.complete
        say_json({"run": str(out), "images": count + failed, "failed": failed, "complete": complete})
    else:
        say(
            f"{count:,} photo{'s' * (count != 1)} by {made.manifest.name} {'is' if count == 1 else 'are'} in ",
            (str(out), "bold cyan"),
        )
    return 0 if made.manifest.complete else 1
