"""Explain photos one after the other, print each result when it is there, and say what failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gradsight.cli.given import photos_at
from gradsight.cli.options import JsonOptions, PhotosOptions
from gradsight.cli.outcomes import judged, written
from gradsight.cli.output import Output, Record, Results
from gradsight.cli.showing import show
from gradsight.cli.terminal import complain, progress, say, say_json
from gradsight.errors import InvalidArgument
from gradsight.photos import Explained, Failed, Photo

Stream = Callable[[Sequence[Photo]], Iterable[Explained[Photo] | Failed[Photo]]]
"""From photos to what comes of each, in their order; the model is loaded when it is called."""

# Frozen, so that one value can be the default of every call.
_EVERYTHING = PhotosOptions()


def each_photo(
    paths: Sequence[Path],
    stream: Stream,
    results: Results,
    reply: JsonOptions,
    which: PhotosOptions = _EVERYTHING,
) -> int:
    """Explain photos one after the other, print each result when it is there, and say what failed.

    Args:
        paths: photos, or folders of photos.
        stream: what explains photos; called if there is one.
        results: where results go.
        reply: records, or words for people.
        which: of the photos.

    Returns:
        The exit status: 1 if a photo failed, else 0.

    Raises:
        GradsightError: the request fits no photo, such as a class that the model does not have.
    """
    # Not the results of an earlier call, which may lie in a folder of photos.
    leave_out = [results.folder] if isinstance(results, Output) else []
    photos, errors = photos_at(paths, recursive=which.recursive, leave_out=leave_out)
    # Before the model is loaded, which takes seconds.
    results.check(photos)
    for error in errors:
        complain(str(error), "Failed")
    # After the check: results of another photo or model are no reason to leave a photo out.
    if which.resume:
        photos = _undone(photos, results)
    failed, total = len(errors), len(photos) + len(errors)
    if photos:
        failed += _explained(photos, stream, results, reply)
    # With --json, stdout holds JSON alone: a program reads it.
    if failed < total and not reply.as_json:
        kind = "The pictures and their JSON are in " if isinstance(results, Output) else "Look at "
        say(kind, (results.place, "bold cyan"))
    # Of one photo the line above says it all.
    if failed and total > 1:
        complain(
            f"{failed} of {total} images; the others are done." if failed < total else f"all {total} images.", "Failed"
        )
    return 1 if failed else 0


def _explained(photos: Sequence[Photo], stream: Stream, results: Results, reply: JsonOptions) -> int:
    """Explain and print; how many failed."""
    failed = done = 0
    outcomes = judged(written(stream(photos), results.write), len(photos))
    try:
        for outcome in progress(outcomes, len(photos)):
            failed += outcome.complain()
            if outcome.result is not None:
                tell(outcome.result, results, reply)
                done += 1
    # Told here, where the counts are; `mistakes` then ends the process with the signal's status.
    except KeyboardInterrupt:
        if len(photos) > 1:  # of one photo there is nothing to go on with
            way_out = "; the same command with --resume goes on" if isinstance(results, Output) else ""
            complain(f"{done} of {len(photos)} photos are done{way_out}.", "Ended")
        raise
    return failed


def _undone(photos: Sequence[Photo], results: Results) -> list[Photo]:
    if not isinstance(results, Output):
        raise InvalidArgument(f"--resume goes on in a folder, and --out is a picture, {results.place!r}. Leave it out.")
    left = results.undone(photos)
    if len(left) < len(photos):
        complain(f"{len(photos) - len(left)} of {len(photos)} photos were done before and are left out.", "Note")
    return left


def tell(records: Sequence[Record], results: Results, reply: JsonOptions) -> None:
    """Print what came of a photo."""
    if reply.as_json:
        for record in records:
            say_json(record)
    else:
        show(records, results.path_of)
        say()
