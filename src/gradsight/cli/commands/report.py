"""``gradsight report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradsight.cli import parsing
from gradsight.cli.groups import command
from gradsight.cli.options import RESULT, JsonOptions
from gradsight.cli.options.measuring import AuditOptions
from gradsight.errors import InvalidArgument, received

if TYPE_CHECKING:
    from gradsight.auditing.audit import Audit
    from gradsight.evaluating.evaluation import Evaluation
    from gradsight.runs.opened import Run

Folders = Annotated[
    list[Path],
    typer.Argument(metavar="RUN|EVALUATION", parser=parsing.path, help="Folders of runs and of evaluations."),
]


@command("gradsight report run --out report.html")
def report(
    of: Folders,
    about: AuditOptions,
    *,
    title: Annotated[str | None, RESULT.option(metavar="TEXT", help="Of the page.")] = None,
    shown: Annotated[int, RESULT.option(metavar="N", min=0, help="How many photos are shown at most.")] = 400,
    megabytes: Annotated[
        float, RESULT.option(metavar="N", min=0.5, help="The file is no larger: photos are made smaller, or fewer.")
    ] = 20,
    out: Annotated[
        Path, RESULT.option("--out", "-o", metavar="FILE", parser=parsing.path, help="The file that is written.")
    ] = Path("report.html"),
    reply: JsonOptions,
) -> int:
    """Write runs and evaluations as one HTML file, which opens anywhere without a network.

    A summary in words, what the audit found, each class, confusions, and photos with their heat to search and filter;
    of an evaluation its tables with intervals, and what they say.
    """
    import gradsight as gs
    from gradsight.cli.output import check_file
    from gradsight.cli.running import audits_told
    from gradsight.cli.terminal import complain, say, say_json

    check_file(out)
    # Before shortcuts are tested, which takes minutes.
    if out.suffix.lower() not in (".html", ".htm"):
        raise InvalidArgument(f"--out must end in .html. {received(str(out))} Name report.html.")
    opened = _opened(of, about.photos)
    with audits_told():
        audit = _audit(opened, about)
        made = gs.report(
            *opened,
            out=out,
            model=about.model,
            audit=audit,
            title=title or "",
            suspects=about.most,
            shown=shown,
            megabytes=megabytes,
        )
    for note in made.notes:
        complain(note, "Note")
    if reply.as_json:
        say_json({"file": str(made.path), "bytes": made.size, "shown": made.shown, "photos": made.photos})
    else:
        say("Open ", (str(made.path), "bold cyan"), f", {made.size / 1e6:.1f} MB")
    return 0


def _opened(of: list[Path], photos: Path | None) -> list[Run | Evaluation]:
    from gradsight.reporting.given import opened
    from gradsight.runs.opened import Run, open_run

    found = opened(of)
    # Opened again, where the photos are elsewhere: an evaluation has none.
    return [open_run(one.folder, photos=photos) if photos and isinstance(one, Run) else one for one in found]


def _audit(opened: list[Run | Evaluation], about: AuditOptions) -> Audit | None:
    """The audit where something is known beside the run; None where the report makes its own."""
    from gradsight.runs.opened import Run

    if not (about.boxes or about.masks or about.against):
        return None
    runs = [one for one in opened if isinstance(one, Run)]
    if len(runs) != 1:
        raise InvalidArgument(
            f"--boxes, --masks and --against are for one run, and {len(runs)} are reported. "
            f"{received([str(one.folder) for one in runs])} Report each by itself."
        )
    return about.audit(runs[0])
