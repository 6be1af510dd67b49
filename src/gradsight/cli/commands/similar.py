"""``gradsight similar``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradsight.cli.groups import command
from gradsight.cli.options import (
    AxesOptions,
    DrawingOptions,
    FileOptions,
    FolderOptions,
    Image,
    LookOptions,
    ModelOptions,
    PictureOptions,
    ReplyOptions,
)

if TYPE_CHECKING:
    import gradsight as gs
    from gradsight.cli.output import Output, Record
    from gradsight.errors import ImageError
    from gradsight.photos import Photo


@command("gradsight similar photo.jpg other.jpg --out pictures")
def similar(
    image: Image,
    others: Annotated[list[str], typer.Argument(metavar="OTHER", help="Photos, folders of photos, or texts.")],
    look: LookOptions,
    axes: AxesOptions,
    model: ModelOptions,
    picture: PictureOptions,
    folder: FolderOptions,
    drawing: DrawingOptions,
    files: FileOptions,
    reply: ReplyOptions,
) -> int:
    """Show what makes a photo like others, and these like it; or like texts, for models that read them (CLIP).

    The score is the cosine of what the model gives of the two: embeddings, or else its class scores. Into DIR go
    PHOTO.METHOD.like_OTHER.jpg for both sides of each pair, or .png where the photo is no JPEG, and PHOTO.similar.json
    for each photo.
    """
    from gradsight.cli import making
    from gradsight.cli.given import not_a_folder
    from gradsight.cli.output import Output
    from gradsight.cli.terminal import complain
    from gradsight.photos import is_photo

    not_a_folder(image)
    asked = making.asked(model, look, axes, picture, drawing, files)
    form = making.form_of(files)
    output = Output(folder.out, drawing.look(), form, "similar", overwrite=folder.overwrite, asked=asked)
    methods = look.methods()
    picture.loading()
    # Whatever is no photo is a text; a text that looks like the name of a missing photo counts as a photo, and fails.
    texts = list(dict.fromkeys(x for x in others if not is_photo(x)))
    photos, errors = _readable([image, *(Path(x) for x in dict.fromkeys(others) if is_photo(x))])
    output.check(photos)
    for error in errors:
        complain(str(error), "Failed")
    # The first photo cannot be read: there is nothing left to compare the others with.
    if not photos or photos[0].name != _name(image) or not (texts or photos[1:]):
        return 1
    explainer = making.explainer_of(model, picture, layer=look.layers(), method=methods, **axes.axes())
    return 1 if _compared(explainer, photos, texts, output, reply) or errors else 0


def _name(image: Path) -> str:
    from gradsight.cli.earlier import STDIN_NAME
    from gradsight.cli.given import STDIN

    return STDIN_NAME if image == STDIN else str(image)


def _readable(paths: Sequence[Path]) -> tuple[list[Photo], list[ImageError]]:
    """The photos that can be read, and an error for each that cannot."""
    from gradsight.cli.given import photos_at
    from gradsight.errors import ImageError
    from gradsight.imaging import read_image

    photos, errors = photos_at(paths)
    readable = []
    for photo in photos:
        try:
            # Here too, and not only in the pass: what cannot be read must be known before anything is compared with it.
            read_image(photo.source)
        except ImageError as error:
            errors.append(error)
        else:
            readable.append(photo)
    return readable, errors


def _compared(
    explainer: gs.Explainer, photos: Sequence[Photo], texts: Sequence[str], output: Output, reply: ReplyOptions
) -> int:
    """Explain both sides of each pair; how many photos failed."""
    import gradsight as gs
    from gradsight.cli.outcomes import each
    from gradsight.cli.terminal import say

    photo, *rest = photos

    def like_photo(other: Photo) -> list[Record]:
        return _written(other, explainer([other.source], targets=gs.Similarity(image=photo.source)), output)

    outcomes = list(each(rest, like_photo))  # first, since what they are like is explained beside those that work alone
    alike = _alike([outcome.photo for outcome in outcomes if outcome.error is None], texts)
    if alike:
        _tell(_written(photo, explainer([photo.source], targets=gs.Several(*alike)), output), output, reply)
    failed = 0
    for outcome in outcomes:
        failed += outcome.complain()
        if outcome.result is not None:
            _tell(outcome.result, output, reply)
    if alike and not reply.as_json:
        say("The pictures and their JSON are in ", (output.place, "bold cyan"))
    return failed


def _alike(photos: Sequence[Photo], texts: Sequence[str]) -> list[Any]:
    """A target for each photo and each text that another photo is compared with."""
    import gradsight as gs

    files = [Path(photo.name).name for photo in photos]
    return [
        # files of one name, in several folders, are told apart
        gs.Sum(gs.Similarity(image=photo.source), name=f"like {photo.name if files.count(file) > 1 else file}")
        for photo, file in zip(photos, files, strict=True)
    ] + [gs.Similarity(text=text) for text in texts]


def _written(photo: Photo, found: gs.Explanation | tuple[gs.Explanation, ...], output: Output) -> list[Record]:
    return output.write(photo, found if isinstance(found, tuple) else (found,))


def _tell(records: Sequence[Record], output: Output, reply: ReplyOptions) -> None:
    from gradsight.cli.each import tell
    from gradsight.cli.showing import show
    from gradsight.cli.terminal import say, short

    if reply.as_json:
        tell(records, output, reply)
        return
    show(records, output.path_of)
    for target in records[0]["targets"]:
        say("  ", (short(target["label"]), "bold"), f": cosine {target['score']:.4f}")
    say()
