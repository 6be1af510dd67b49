"""``gradsight explain``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from gradsight.cli.groups import command
from gradsight.cli.options import (
    RESULT,
    WHAT,
    AxesOptions,
    ClassifierOptions,
    DrawingOptions,
    FileOptions,
    FolderOptions,
    Images,
    LookOptions,
    PhotosOptions,
    PictureOptions,
    ReplyOptions,
    TargetOptions,
)
from gradsight.cli.parsing import PICTURES
from gradsight.errors import InvalidArgument, received
from gradsight.files import is_folder

if TYPE_CHECKING:
    from gradsight.photos import Explained, Failed, Photo


@command("gradsight explain photo.jpg --class tabby --class 243 --out pictures")
def explain(
    images: Images,
    look: LookOptions,
    target: TargetOptions,
    axes: AxesOptions,
    model: ClassifierOptions,
    picture: PictureOptions,
    folder: FolderOptions,
    *,
    figure: Annotated[
        bool,
        RESULT.option("--figure", help="One more picture of each photo: it and all its maps, with a legend."),
    ] = False,
    diagnose: Annotated[
        bool,
        WHAT.option(
            "--diagnose",
            help="Check each map too, by running the model again, some thirty times a class for Grad-CAM: does it beat "
            "chance, does it depend on the weights, is it steady? Notes tell.",
        ),
    ] = False,
    photos: PhotosOptions,
    drawing: DrawingOptions,
    files: FileOptions,
    reply: ReplyOptions,
) -> int:
    """Show what the model looked at in photos.

    Into DIR go PHOTO.METHOD.CLASS.jpg for each photo and class, or .png where the photo is no JPEG, and PHOTO.json with
    predictions and positions. For one photo --out may also name a picture, which shows it and all its maps.
    """
    # Imported in the function, here and in all commands: `--help` then loads neither NumPy nor Pillow, nor a framework.
    from gradsight.cli import making
    from gradsight.cli.each import each_photo
    from gradsight.cli.output import OneFile, Output, Results
    from gradsight.cli.targets import targets_of

    wanted = targets_of(target)
    form = making.form_of(files)
    # One picture has no record beside it, so that there is nothing to resume or to overwrite.
    results: Results
    if is_picture(folder.out, images, form.suffix):
        results = OneFile(folder.out, drawing.look(), form)
    else:
        asked = making.asked(model, look, target, axes, picture, drawing, files, figure=figure, diagnose=diagnose)
        results = Output(folder.out, drawing.look(), form, figure=figure, overwrite=folder.overwrite, asked=asked)
    methods = look.methods()
    # Whatever else can be wrong with the options is told before the model is loaded.
    picture.loading(), model.loading(), axes.axes()

    def stream(found: Sequence[Photo]) -> Iterator[Explained[Photo] | Failed[Photo]]:
        # In the generator: the model is loaded when the first result is asked for, after all checks.
        explainer = making.explainer_of(model, picture, layer=look.layers(), method=methods, **axes.axes())
        # Closed where the command is ended: photos are read ahead by threads.
        made = explainer.stream(found, targets=wanted, batch_size=model.batch_size or "auto", diagnose=diagnose)
        with made as done:
            yield from done

    return each_photo(images, stream, results, reply, photos)


def is_picture(out: Path, images: Sequence[Path], suffix: str | None) -> bool:
    """Whether ``--out`` names a picture, and no folder.

    Raises:
        InvalidArgument: it does, and there are several photos, or it has the ending of another format than is asked, or
            of one that pictures are not written in.
    """
    # A folder may be called like a picture, results.png, if it is there already.
    ending = PICTURES.get(out.suffix.lower())
    if is_folder(out):
        return False
    if ending is None:
        from gradsight.imaging import NOT_WRITTEN

        if out.suffix.lower() in NOT_WRITTEN:
            raise InvalidArgument(f"--out must be a folder, or a picture: {', '.join(PICTURES)}. {received(str(out))}")
        return False
    if len(images) > 1 or is_folder(images[0]):
        raise InvalidArgument(f"--out must be a folder where there are several photos. {received(str(out))}")
    if suffix not in (None, ending):
        raise InvalidArgument(f"--format must be that of --out. {received(str(out))} Leave --format out.")
    return True
