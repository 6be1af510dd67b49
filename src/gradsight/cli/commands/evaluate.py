"""``gradsight evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradsight.cli import parsing
from gradsight.cli.groups import command
from gradsight.cli.options import RESULT, AxesOptions, ClassifierOptions, JsonOptions, PictureOptions, ViewOptions
from gradsight.cli.options.measuring import MeasureOptions, PlaceOptions

if TYPE_CHECKING:
    from gradsight.evaluating.evaluation import Evaluation
    from gradsight.evaluating.rows import Unmeasured
    from gradsight.evaluating.summary import Summary

Source = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE", parser=parsing.path, help="A folder of photos, or of folders called like the model's classes."
    ),
]


@command("gradsight evaluate photos --method gradcam --method layercam --metric deletion --out evaluation")
def evaluate(
    source: Source,
    measure: MeasureOptions,
    places: PlaceOptions,
    axes: AxesOptions,
    model: ClassifierOptions,
    picture: PictureOptions,
    *,
    out: Annotated[
        Path,
        RESULT.option("--out", "-o", metavar="DIR", parser=parsing.path, help="The folder to write to."),
    ] = Path("gradsight-evaluation"),
    resume: Annotated[
        bool, RESULT.option("--resume", help="Keep the photos that are done, and go on where an earlier call ended.")
    ] = False,
    overwrite: Annotated[
        bool, RESULT.option("--overwrite", help="Replace what was measured by other settings in DIR.")
    ] = False,
    view: ViewOptions,
    reply: JsonOptions,
) -> int:
    """Measure how far the maps of methods can be trusted, on a folder of photos.

    Into DIR go results.json, results.parquet and the plot results.png. The target of a photo is the class that its
    folder is called like, or else, with --boxes, the classes that their labels mean, or else the model's best class.
    """
    # What they show is known by what is written (`viewing`).
    del view
    from gradsight.cli import making
    from gradsight.cli.measuring import Keeping, labels_of, measured
    from gradsight.cli.terminal import complain, told
    from gradsight.evaluating.evaluate import More, asked_of
    from gradsight.evaluating.rows import Unmeasured
    from gradsight.metric_registry import as_metric
    from gradsight.photos import find_photos

    # All that can be wrong with names is told before photos are looked for and the model is loaded.
    methods = parsing.methods(measure.method or [])
    metrics = [as_metric(name) for name in measure.metric or []]
    photos, errors = find_photos([source], True, [out])
    settings = making.asked(model, measure, places, axes, picture, source=str(source))
    keeping = Keeping.at(out, settings, resume=resume, overwrite=overwrite)
    explainer = making.explainer_of(model, picture, **axes.axes())
    labels, why = labels_of(photos, source, explainer.labels)
    more = More(
        boxes=places.boxes,
        masks=places.masks,
        class_map=places.class_map,
        labels=labels,
        seed=measure.seed,
        batch_size=model.batch_size,
    )
    asked = asked_of(explainer, photos, methods or None, metrics or None, measure.layer or None, more)
    # Where boxes say the targets nobody asks for the folders' names.
    for note in filter(None, (why * (places.boxes is None), *asked.notes)):
        complain(note, "Note")
    passes = f"about {asked.plan.passes:,} passes of the model for each photo and target."
    complain(f"{passes} Fewer --method and --metric take fewer.", "Note")
    # What could not be found counts too: the status must not say that all is well.
    failed = [Unmeasured("", str(error)) for error in errors]
    if keeping.done:
        complain(f"{len(keeping.done)} of {len(photos)} photos were done before.", "Note")
    for outcome in measured(asked, keeping):
        if outcome.complain() and outcome.error is not None:
            failed.append(Unmeasured(outcome.photo.name, told(outcome.error)))
    for error in errors:
        complain(str(error), "Failed")
    if not keeping.done:
        complain("all photos.", "Failed")
        return 1
    # In the order of the photos: figures must not depend on which call measured them.
    done = [keeping.done[photo.name] for photo in photos if photo.name in keeping.done]
    return _finish(asked.evaluation(done, failed, keeping.left_out), out, reply, failed)


def _finish(evaluation: Evaluation, out: Path, reply: JsonOptions, failed: list[Unmeasured]) -> int:
    from gradsight.cli.terminal import complain, say, say_json
    from gradsight.cli.viewing import made
    from gradsight.evaluating.files import record

    evaluation.save(out)
    made(out / "results.png", whole=True)
    for name, reason in evaluation.left_out:
        complain(f"{name} is left out: {reason}", "Note")
    if reply.as_json:
        for one in evaluation.summary:
            say_json(record(one))
    else:
        _say(evaluation)
        say()
        say("The figures and their plot are in ", (str(out), "bold cyan"))
    if failed:
        complain(f"{len(failed)} of {len(failed) + len(evaluation.images)} photos; the others are done.", "Failed")
    return 1 if failed else 0


def _say(evaluation: Evaluation) -> None:
    """A row for each method, a column for each metric."""
    from gradsight.cli.terminal import say, say_bands
    from gradsight.evaluating.figure import layers_of, names_of, order_of

    known, order = {one.key: one for one in evaluation.summary}, order_of(evaluation.summary)
    rows = [
        [name, *(_cell(known.get((*key, metric))) for metric in evaluation.metrics)]
        for key, name in zip(order, names_of(order), strict=True)
    ]
    arrows = {one.metric: "high" if one.better == "higher" else "low" for one in evaluation.summary}
    say((f"{len(evaluation.images)} photos, model {evaluation.model}", "bold"), f"  {', '.join(layers_of(order))}")
    say_bands(["", *(f"{metric} ({arrows[metric]} is good)" for metric in evaluation.metrics)], rows)
    say("The mean over photos with its 95% interval; * better than random maps, p < 0.05, one-sided, not corrected.")


def _cell(one: Summary | None) -> str:
    import math

    if one is None or math.isnan(one.mean):
        return "-"
    star = "*" if one.beats_random_p is not None and one.beats_random_p < 0.05 else ""
    return f"{one.mean:.3f}{star}" if math.isnan(one.low) else f"{one.mean:.3f} [{one.low:.2f} {one.high:.2f}]{star}"
