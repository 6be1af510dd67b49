"""``gradsight compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from gradsight.cli import parsing
from gradsight.cli.groups import command
from gradsight.cli.options import (
    RESULT,
    WHAT,
    AxesOptions,
    ClassifierOptions,
    DrawingOptions,
    Image,
    PictureOptions,
    ReplyOptions,
    TargetOptions,
)
from gradsight.errors import InvalidArgument, received

if TYPE_CHECKING:
    from gradsight.registry import Method
    from gradsight.results.comparison import Comparison


@command("gradsight compare photo.jpg --methods gradcam,layercam --top 2 --out grid.png")
def compare(
    image: Image,
    *,
    methods: Annotated[
        list[str] | None,
        WHAT.option(metavar="A,B,...", help="Methods, with commas; if not given, those that take a few passes."),
    ] = None,
    method: Annotated[list[str] | None, WHAT.option(metavar="METHOD", help="One more. Can be repeated.")] = None,
    everything: Annotated[bool, WHAT.option("--all", help="Every method; some take minutes to hours.")] = False,
    layers: Annotated[list[str] | None, WHAT.option(metavar="A,B,...", help="Layers, with commas.")] = None,
    layer: Annotated[list[str] | None, WHAT.option(metavar="LAYER", help="One more. Can be repeated.")] = None,
    out: Annotated[
        Path | None,
        RESULT.option(
            "--out",
            "-o",
            metavar="FILE",
            parser=parsing.path,
            help="The picture to write; gradsight-out/PHOTO.compare.png if not given.",
        ),
    ] = None,
    scale: Annotated[
        str,
        RESULT.option(
            metavar="own|shared", help="Each map by its own strength, or all maps of a row by the strongest."
        ),
    ] = "own",
    overwrite: Annotated[
        bool, RESULT.option("--overwrite", help="Replace the picture of another photo or model.")
    ] = False,
    target: TargetOptions,
    axes: AxesOptions,
    model: ClassifierOptions,
    picture: PictureOptions,
    drawing: DrawingOptions,
    reply: ReplyOptions,
) -> int:
    """Draw one photo as several methods, layers and classes see it: a row each way, a column each class.

    A method that does not fit the model says so in its row. The status is 1 only if it was asked for by name. What
    is in the picture stands in PHOTO.compare.json beside it.
    """
    from gradsight import imaging
    from gradsight.checks import taken
    from gradsight.cli import earlier, making
    from gradsight.cli.given import one_photo
    from gradsight.cli.output import check_file
    from gradsight.cli.targets import targets_of
    from gradsight.cli.terminal import progress, to_json
    from gradsight.cli.viewing import made
    from gradsight.comparing import fitting, ordered, rows
    from gradsight.files import check_apart, write_bytes
    from gradsight.results.comparison import SCALE, SUFFIXES

    wanted, look = targets_of(target), drawing.look()
    # All that can be wrong with the options is told before the photo is read and the model loaded.
    taken("scale", scale, SCALE)
    photo = one_photo(image, "compare")
    path = out or Path("gradsight-out") / f"{photo.stem}.compare.png"
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidArgument(f"--out must be a picture, {', '.join(SUFFIXES)}. {received(str(path))}")
    check_apart(path, [photo.source] if isinstance(photo.source, Path) else [], "--out", "the photo itself")
    check_file(path)
    record = path.with_suffix(".json")
    if not overwrite:
        earlier.check([(record, photo.name)], model.model)
    # Kept apart from what is chosen by default: only methods that were named must work.
    named = parsing.methods([*parsing.split(",".join(methods or [])), *(method or [])])
    chosen = chosen_methods(named, everything=everything)
    chosen_layers = [*parsing.split(",".join(layers or [])), *(layer or [])]
    pixels = imaging.read_image(photo.source)
    explainer = making.explainer_of(model, picture, **axes.axes())
    if not named:
        chosen = fitting(explainer, pixels, chosen, chosen_layers, wanted)
    _tell_costs(chosen)
    steps = rows(explainer, pixels, chosen, chosen_layers, wanted)
    # What is cheap is one step together, the others are one each.
    costly = sum(method.costly for method in chosen)
    found = [row for some in progress(steps, costly + (costly < len(chosen))) for row in some]
    comparison = ordered(found, chosen, photo.name, scale, look["colormap"], look["opacity"]).in_shell()
    comparison.save(path)
    made(path, whole=True)
    records = [row if "error" in row else {**row, "file": path.name} for row in comparison.records()]
    write_bytes(record, f"{to_json(records, indent=2)}\n".encode())
    _tell(comparison, path, reply)
    # A method that was not asked for by name may fail: not every one fits every model.
    return 1 if {row.method.name for row in comparison.failed} & {method.name for method in named} else 0


def chosen_methods(named: Sequence[Method], *, everything: bool) -> list[Method]:
    """The methods to compare: those named, or by default the cheap ones, in the order of the picture.

    Raises:
        InvalidArgument: methods are named and all are asked for.
    """
    from gradsight import comparing

    if named and everything:
        raise InvalidArgument("--all and --method exclude each other: name the methods, or ask for all of them.")
    return list(named) or comparing.chosen_methods(everything=everything)


def _tell_costs(methods: Sequence[Method]) -> None:
    from gradsight.cli.terminal import complain

    costly = ", ".join(f"{method.name} ({method.passes})" for method in methods if method.costly)
    if costly:
        complain(f"these take many passes of the model, up to minutes or hours: {costly}", "Note")


def _tell(comparison: Comparison, path: Path, reply: ReplyOptions) -> None:
    from gradsight.cli.terminal import complain, say_json

    if reply.as_json:
        for record in comparison.records():
            say_json(record if "error" in record else {**record, "file": str(path)})
    else:
        _say(comparison, path)
    for row in comparison.failed:
        complain(f"{row.method.name!r}: {row.reason}", "Failed")


def _say(comparison: Comparison, path: Path) -> None:
    """Print where each map is strongest, so that agreement is seen at once."""
    from gradsight.cli.terminal import say, say_table
    from gradsight.results.comparison import said_by
    from gradsight.results.wording import corner, place

    first = comparison.explanations[0]
    say((comparison.name, "bold"), (f"  model {first.model}", "dim"))
    say("  ", said_by(first))
    say()
    lines = []
    for row in comparison.rows:
        if row.explanation is not None:
            record = row.explanation.record(0).to_dict()
            peaks = [target["peak"] for target in record["targets"]]
            where = [corner(peak, record["size"]) if peak else "nothing" for peak in peaks]
            lines.append([row.method.title, *where, place(row.explanation.layers)])
    say_table(["strongest for", *first.labels[0], ""], lines)
    say()
    say("Look at ", (str(path), "bold cyan"))
