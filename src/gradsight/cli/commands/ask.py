"""``gradsight ask``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from gradsight.cli.groups import command
from gradsight.cli.options import (
    WHAT,
    AxesOptions,
    DrawingOptions,
    FileOptions,
    FolderOptions,
    Image,
    LabelledModelOptions,
    LookOptions,
    PictureOptions,
    ReplyOptions,
)

if TYPE_CHECKING:
    from gradsight.photos import Explained, Failed, Photo


@command("gradsight ask photo.jpg 'what is it?' --model hf:NAME")
def ask(
    image: Image,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="In quotation marks.")],
    look: LookOptions,
    axes: AxesOptions,
    model: LabelledModelOptions,
    picture: PictureOptions,
    folder: FolderOptions,
    drawing: DrawingOptions,
    files: FileOptions,
    reply: ReplyOptions,
    top: Annotated[
        int | None,
        WHAT.option(metavar="K", min=1, help="Explain the K best of the answers that the model chooses from."),
    ] = None,
) -> int:
    """Ask a model about a photo, and show what it looked at for its answer.

    Into DIR go PHOTO.METHOD.answer.jpg, or .png where the photo is no JPEG: it and one map for each answer or word of
    it; and PHOTO.answer.json.
    """
    import gradsight as gs
    from gradsight.cli import making
    from gradsight.cli.each import each_photo
    from gradsight.cli.given import not_a_folder
    from gradsight.cli.outcomes import streamed
    from gradsight.cli.output import Output

    not_a_folder(image)
    asked = making.asked(model, look, axes, picture, drawing, files, question=question, top=top)
    form = making.form_of(files)
    output = Output(folder.out, drawing.look(), form, "answer", strip=True, overwrite=folder.overwrite, asked=asked)
    settings = making.writing(model, look, axes)
    # None and not Top(1): a model that writes its answer takes no targets at all.
    targets = None if top is None else gs.Top(top)
    picture.loading()

    def stream(found: Sequence[Photo]) -> Iterable[Explained[Photo] | Failed[Photo]]:
        loaded = making.loaded(model, picture)
        return streamed(found, lambda photo: gs.ask(photo.source, question, model=loaded, targets=targets, **settings))

    return each_photo([image], stream, output, reply)
