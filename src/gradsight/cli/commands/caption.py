"""``gradsight caption``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

from gradsight.cli.groups import command
from gradsight.cli.options import (
    MODEL,
    AxesOptions,
    DrawingOptions,
    FileOptions,
    FolderOptions,
    Images,
    LookOptions,
    ModelOptions,
    PhotosOptions,
    PictureOptions,
    ReplyOptions,
)

if TYPE_CHECKING:
    from gradsight.photos import Explained, Failed, Photo


@command("gradsight caption photo.jpg --model hf:NAME")
def caption(
    images: Images,
    look: LookOptions,
    axes: AxesOptions,
    model: ModelOptions,
    picture: PictureOptions,
    folder: FolderOptions,
    photos: PhotosOptions,
    drawing: DrawingOptions,
    files: FileOptions,
    reply: ReplyOptions,
    text: Annotated[str | None, MODEL.option(metavar="TEXT", help="The caption's beginning.")] = None,
) -> int:
    """Let a model write captions of photos, and show what it looked at for every word.

    Into DIR go PHOTO.METHOD.caption.jpg, or .png where the photo is no JPEG: it and one map for each word; and
    PHOTO.caption.json.
    """
    import gradsight as gs
    from gradsight.cli import making
    from gradsight.cli.each import each_photo
    from gradsight.cli.outcomes import streamed
    from gradsight.cli.output import Output

    asked = making.asked(model, look, axes, picture, drawing, files, text=text)
    form = making.form_of(files)
    output = Output(folder.out, drawing.look(), form, "caption", strip=True, overwrite=folder.overwrite, asked=asked)
    settings = making.writing(model, look, axes)
    # Only to see whether its options can be read, before the model is loaded.
    picture.loading()

    def stream(found: Sequence[Photo]) -> Iterable[Explained[Photo] | Failed[Photo]]:
        loaded = making.loaded(model, picture)
        # One photo at a time: a caption has as many words as the model writes, so that photos cannot share a pass.
        return streamed(found, lambda photo: gs.caption(photo.source, model=loaded, text=text, **settings))

    return each_photo(images, stream, output, reply, photos)
