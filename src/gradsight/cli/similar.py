"""Compare a photo with others and with texts, and write both sides of each pair into a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradsight as gs
from gradsight.cli.explain import Output, Record, show
from gradsight.cli.naming import Photo, find_photos, is_photo
from gradsight.cli.outcomes import each
from gradsight.cli.terminal import complain, say, say_json, short
from gradsight.errors import ImageError
from gradsight.imaging import read_image


def compare_photos(
    image: Path, others: Sequence[str], make: Callable[[], gs.Explainer], output: Output, *, as_json: bool
) -> int:
    """Explain what makes a photo like others and like texts, and each other photo like it.

    Args:
        image: the photo.
        others: photos, folders of photos, or texts.
        make: gives the explainer; called if there is something to compare.
        output: where overlays and records go.
        as_json: print records, nothing for people.

    Returns:
        The exit status: 1 if a photo failed, else 0.

    Raises:
        GradsightError: the model cannot compare them.
    """
    texts = list(dict.fromkeys(x for x in others if not is_photo(x)))
    photos, errors = _readable([image, *(Path(x) for x in dict.fromkeys(others) if is_photo(x))])
    for error in errors:
        complain(str(error), "Failed")
    if not photos or photos[0].source != image or not (texts or photos[1:]):
        return 1
    photo, *rest = photos
    explainer = make()

    def like_photo(other: Photo) -> list[Record]:
        return _written(other, explainer([other.source], targets=gs.Similarity(image=photo.source)), output)

    outcomes = list(each(rest, like_photo))  # first, since what they are like is explained beside those that work alone
    working = [outcome.photo for outcome in outcomes if outcome.error is None]
    alike = _alike(working, texts)
    if alike:
        _tell(_written(photo, explainer([photo.source], targets=gs.Several(*alike)), output), output, as_json=as_json)
    failed = len(errors)
    for outcome in outcomes:
        failed += outcome.complain()
        if outcome.result is not None:
            _tell(outcome.result, output, as_json=as_json)
    if alike and not as_json:
        say("The pictures and their JSON are in ", (str(output.folder), "bold cyan"))
    return 1 if failed else 0


def _alike(photos: Sequence[Photo], texts: Sequence[str]) -> list[Any]:
    """A target for each photo and each text that another photo is compared with."""
    files = [Path(photo.name).name for photo in photos]
    return [
        # files of one name, in several folders, are told apart
        gs.Sum(gs.Similarity(image=photo.source), name=f"like {photo.name if files.count(file) > 1 else file}")
        for photo, file in zip(photos, files, strict=True)
    ] + [gs.Similarity(text=text) for text in texts]


def _readable(paths: Sequence[Path]) -> tuple[list[Photo], list[ImageError]]:
    """The photos that can be read, and an error for each that cannot."""
    photos, errors = find_photos(paths)
    readable = []
    for photo in photos:
        try:
            read_image(photo.source)
        except ImageError as error:
            errors.append(error)
        else:
            readable.append(photo)
    return readable, errors


def _written(photo: Photo, found: Any, output: Output) -> list[Record]:
    return output.write(photo, found if isinstance(found, tuple) else (found,))


def _tell(records: Sequence[Record], output: Output, *, as_json: bool) -> None:
    if as_json:
        for record in records:
            say_json(record)
        return
    show(records, output.folder)
    for target in records[0]["targets"]:
        say("  ", (short(target["label"]), "bold"), f": cosine {target['score']:.4f}")
    say()
