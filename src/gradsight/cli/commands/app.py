"""``gradsight app``."""

from __future__ import annotations

from gradsight.cli.groups import command
from gradsight.cli.options import PictureOptions
from gradsight.cli.options.paging import (
    AddressOptions,
    EvaluationToShow,
    LimitOptions,
    ModelsOptions,
    PhotosNow,
    RunToBrowse,
)


@command("gradsight app --model demo --run run")
def app(
    models: ModelsOptions,
    picture: PictureOptions,
    *,
    run: RunToBrowse = None,
    photos: PhotosNow = None,
    evaluation: EvaluationToShow = None,
    where: AddressOptions,
    most: LimitOptions,
) -> int:
    """Open a page to work with: drop a photo, choose classes and methods, see where models looked.

    It runs until Ctrl-C, and only this machine sees it if --host does not say else. What visitors upload is theirs
    alone, and deleted within an hour.
    """
    import gradsight as gs
    from gradsight.cli import making
    from gradsight.cli.terminal import say, waiting
    from gradsight.pages.serving import Shown, need_gradio, served

    # Whatever can be wrong with the options is told before models are loaded.
    address, limits, wanted = where.address(), most.limits(), models.each()
    picture.loading()
    for one in wanted:
        one.loading()
    need_gradio()
    opened = None if run is None else gs.open_run(run, photos=photos)
    measured = None if evaluation is None else gs.Evaluation.load(evaluation)
    with waiting("loading"):
        explainers = [(one.model, making.explainer_of(one, picture)) for one in wanted]
    with served(Shown(explainers, opened, measured, limits), address) as page:
        say("The page is at ", (page, "bold cyan"), ". Ctrl-C ends it.")
        return _until_ended()


def _until_ended() -> int:
    from threading import Event

    try:
        # In short turns: on Windows a wait without end hears no Ctrl-C.
        forever = Event()
        while True:
            forever.wait(3600)
    except KeyboardInterrupt as ended:
        if getattr(ended, "status", 130) != 130:  # another signal than Ctrl-C, which is how a page is ended
            raise
        return 0
