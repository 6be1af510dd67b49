"""``gradsight show``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradsight.cli import parsing
from gradsight.cli.groups import command
from gradsight.cli.options import RESULT, WHAT, DrawingOptions, FileOptions, JsonOptions
from gradsight.errors import InvalidArgument, received

if TYPE_CHECKING:
    from gradsight.cli.options import Look
    from gradsight.runs.drawn import Drawn
    from gradsight.runs.opened import Run

_SHEET = 500
"""So many images are on one sheet at most: a larger picture shows nothing."""

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", parser=parsing.path, help="The folder of a run.")]


@command('gradsight show run --where "label != prediction_label and probability > 0.9" --out sheet.png')
def show(
    run: RunFolder,
    *,
    where: Annotated[
        list[str] | None,
        WHAT.option(
            metavar="EXPRESSION",
            help='Which rows: columns compared with values or columns, joined by and, or, not: "border > 0.5 and '
            "'zero_map' not in notes\". Can be repeated: all must hold.",
        ),
    ] = None,
    limit: Annotated[int, WHAT.option(metavar="N", min=1, help="How many images at most.")] = 24,
    photos: Annotated[
        Path | None,
        WHAT.option(metavar="DIR", parser=parsing.path, help="Where the photos are now, if they were moved."),
    ] = None,
    out: Annotated[
        Path,
        RESULT.option(
            "--out", "-o", metavar="DIR|PICTURE", parser=parsing.path, help="A folder, or one picture: sheet.png."
        ),
    ] = Path("gradsight-out"),
    drawing: DrawingOptions,
    files: FileOptions,
    reply: JsonOptions,
) -> int:
    """Draw images of a run: each map on its photo into a folder, or many on one sheet.

    Columns are those of the run's table: key, label, prediction_label, probability, target_label, score, method, area,
    border, entropy, notes ... The photos are read where the run found them.
    """
    import gradsight as gs

    look = drawing.look()
    files.suffix()
    opened = gs.open_run(run, photos=photos)
    if not len(opened):
        what = f"every photo failed ({len(opened.failed)})" if opened.failed else "it has no photo yet"
        raise InvalidArgument(f"{str(run)!r} has nothing to draw: {what}. Type the command of the run again.")
    for expression in where or []:
        opened = opened.filter(expression)
    chosen, count = opened[:limit], len(opened)
    if not count:
        raise InvalidArgument(f"no row fits. {received(where)} Leave --where out to see all.")
    if out.suffix.lower() in parsing.PICTURES and not out.is_dir():
        if limit > _SHEET:
            raise InvalidArgument(f"--limit must be {_SHEET} at most for a sheet. {received(limit)} Name a folder.")
        _check_photos(chosen, out, photos)
        failed = _sheet(chosen, out, files, look, reply)
    else:
        failed = _folder(chosen, out, files, look, reply)
    if count > limit and not reply.as_json:
        from gradsight.cli.terminal import complain

        complain(f"{limit:,} of {count:,} images that fit are drawn; --limit N draws more.", "Note")
    return 1 if failed else 0


def _check_photos(chosen: Run, out: Path, photos: Path | None) -> None:
    """See that no photo that is drawn is written over.

    Raises:
        InvalidArgument: one would be.
    """
    from gradsight.files import check_apart

    rows = chosen.table(["key", "path"]).to_pylist()
    there = [row["path"] for row in rows if row["path"]] if photos is None else [photos / row["key"] for row in rows]
    check_apart(out, there, "--out", "a photo of the run")


def _sheet(chosen: Run, out: Path, files: FileOptions, look: Look, reply: JsonOptions) -> int:
    """One picture of all; how many images are missing in it."""
    from gradsight import imaging
    from gradsight.cli.output import check_file
    from gradsight.cli.terminal import say, say_json
    from gradsight.cli.viewing import made
    from gradsight.runs.drawn import contact_sheet

    check_file(out)
    picture, missing = contact_sheet(chosen, **look)
    if files.max_side is not None:
        picture = imaging.shrunk(picture, files.max_side)
    imaging.save(picture, out, quality=files.quality)
    made(out, whole=True)
    for one in missing:
        _complain(one)
    if reply.as_json:
        say_json({"file": str(out), "images": len(chosen) - len(missing), "failed": len(missing)})
    else:
        say("Look at ", (str(out), "bold cyan"))
    return len(missing)


def _folder(chosen: Run, out: Path, files: FileOptions, look: Look, reply: JsonOptions) -> int:
    """A picture of each map; how many images could not be drawn."""
    from gradsight.cli.output import Output
    from gradsight.cli.terminal import progress, say, say_json
    from gradsight.cli.viewing import made
    from gradsight.runs.drawn import overlays

    Output(out)  # it sees whether the folder can be written to
    drawn = overlays(chosen, out, suffix=files.suffix(), quality=files.quality, max_side=files.max_side, **look)
    failed = 0
    for one in progress(drawn, len(chosen)):
        failed += one.error is not None
        for file in one.files:
            made(file)
        if one.error is not None:
            _complain(one)
        elif reply.as_json:
            say_json({"key": one.key, "files": [str(file) for file in one.files]})
    if not reply.as_json and failed < len(chosen):
        say("The pictures are in ", (str(out), "bold cyan"))
    return failed


def _complain(one: Drawn) -> None:
    from gradsight.cli.terminal import complain

    complain(f"{one.key}: {one.error}", "Failed")
