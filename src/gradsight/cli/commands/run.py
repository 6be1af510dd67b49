"""``gradsight run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gradsight.cli import parsing
from gradsight.cli.groups import command
from gradsight.cli.options import (
    RESULT,
    AxesOptions,
    ClassifierOptions,
    JsonOptions,
    LookOptions,
    PictureOptions,
    TargetOptions,
)
from gradsight.cli.options.running import EngineOptions, ShardOptions

if TYPE_CHECKING:
    from gradsight.runs.opened import Run

_NAMED = 50
"""So many photos that failed are named: a disk that was not there fails a million."""

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A folder (its folders are labels), a pattern such as 'photos/*.jpg', a list of photos (.txt, .csv, "
        ".parquet), or tars, 'shard-{000..007}.tar'.",
    ),
]


@command("gradsight run photos --method gradcam --method layercam --top 3 --out run")
def run(
    source: Source,
    look: LookOptions,
    target: TargetOptions,
    axes: AxesOptions,
    model: ClassifierOptions,
    engine: EngineOptions,
    picture: PictureOptions,
    *,
    out: Annotated[
        Path, RESULT.option("--out", "-o", metavar="RUN", parser=parsing.path, help="The folder of the run.")
    ] = Path("gradsight-run"),
    features: Annotated[
        bool, RESULT.option("--features", help="Keep the layer's activations under each hot area too.")
    ] = False,
    shard: ShardOptions,
    reply: JsonOptions,
) -> int:
    """Explain any number of photos, and keep maps and figures in a folder that any tool for tables opens.

    The same command goes on where it was ended. Look at it with `gradsight show RUN`, with pandas or DuckDB
    (RUN/rows/*.parquet), or in Python: gs.open_run(RUN). With --json a line is printed for each part that is written.
    """
    import gradsight as gs
    from gradsight.cli import making
    from gradsight.cli.running import told
    from gradsight.cli.targets import targets_of

    # All that can be wrong with options is told before the model is loaded.
    wanted, chosen, part = targets_of(target), engine.chosen(), shard.part()
    methods = look.methods()
    explainer = making.explainer_of(model, picture, method=methods, layer=look.layers(), targets=wanted, **axes.axes())
    size: int | Literal["auto"] = model.batch_size or "auto"
    try:
        with told(as_json=reply.as_json) as tell:
            done = gs.run(
                source, explainer, out=out, batch_size=size, features=features, engine=chosen, shard=part, progress=tell
            )
    except KeyboardInterrupt:
        _ended(out)
        raise
    return _finish(done, reply)


def _finish(done: Run, reply: JsonOptions) -> int:
    from gradsight.cli.terminal import complain, say, say_json

    failed = done.failed
    for key, error in failed[:_NAMED]:
        complain(f"{key}: {error}", "Failed")
    count, left = len(done), len(failed) - _NAMED
    if left > 0:
        complain(f"{left:,} more. gs.open_run({str(done.folder)!r}).failed names all.", "Failed")
    if reply.as_json:
        say_json({"run": str(done.folder), "images": count + len(failed), "failed": len(failed), "complete": True})
    elif count:
        say(
            f"{count:,} photo{'s' * (count != 1)} by {done.manifest.name} {'is' if count == 1 else 'are'} in ",
            (str(done.folder), "bold cyan"),
        )
    if failed:
        others = "; the others are done" if count else ""
        complain(
            f"{len(failed):,} of {count + len(failed):,} photo{'s' * (count + len(failed) != 1)}{others}.", "Failed"
        )
    return 1 if failed else 0


def _ended(out: Path) -> None:
    """Say what is done, and what to type to go on."""
    import shlex
    import sys

    from gradsight.cli.terminal import complain
    from gradsight.errors import GradsightError
    from gradsight.runs.opened import open_run

    try:
        found = open_run(out)
    except GradsightError:  # ended before it began
        return
    command = shlex.join(["gradsight", *sys.argv[1:]])
    complain(f"{len(found) + len(found.failed):,} photos are done. To go on: {command}", "Ended")
