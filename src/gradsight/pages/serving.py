"""From models, a run and an evaluation to a page that is there."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gradsight.checks import optional
from gradsight.errors import InvalidArgument, MissingDependency, received
from gradsight.evaluating.evaluation import Evaluation
from gradsight.explaining.explainer import Explainer
from gradsight.pages.browsing import Shelf
from gradsight.pages.limits import Limits
from gradsight.pages.served import ready, together
from gradsight.photos import bundled_photo
from gradsight.rules import Text, Whole
from gradsight.runs.opened import Run

HERE = ("127.0.0.1", "localhost", "::1")
"""Addresses that only this machine reaches."""

_PREFIX = "gradsight-page-"

_SHORTEST = 8
"""Letters of a password at least."""

_PASSES = 2
"""So many photos pass models at once: one is read or drawn while another one is computed."""


@dataclass(frozen=True)
class Address:
    """Where a page is, and who may see it.

    Attributes:
        host: the address that it listens at.
        port: its port; None for a free one from 7860 on.
        password: that visitors need.

    Raises:
        InvalidArgument: others can reach it, and there is no password; one that is too short.

    >>> Address().host
    '127.0.0.1'
    """

    host: str = HERE[0]
    port: int | None = None
    password: str | None = None

    def __post_init__(self) -> None:
        optional("--port", self.port, Whole(1, 65535), "Pass 7860.")
        password = optional("--password", self.password, Text())
        if password is None and self.host not in HERE:
            raise InvalidArgument(
                f"--password must be given where others can reach the page. {received(self.host)} Pass a long one, or "
                "leave --host out: then only this machine sees it."
            )
        if password is not None and len(password) < _SHORTEST:
            raise InvalidArgument(f"--password must have at least {_SHORTEST} letters. Pass a longer one.")


@dataclass(frozen=True, eq=False)
class Shown:
    """What a page shows.

    Attributes:
        explainers: of its models, by their names.
        run: a run to browse; None for none.
        evaluation: an evaluation to look at; None for none.
        limits: what is taken on.
    """

    explainers: Sequence[tuple[str, Explainer]]
    run: Run | None = None
    evaluation: Evaluation | None = None
    limits: Limits = field(default_factory=Limits)


@contextmanager
def served(shown: Shown, address: Address | None = None) -> Iterator[str]:
    """A page, as long as the block is entered; what is given is its address.

    Raises:
        MissingDependency: Gradio is not installed.
        InvalidArgument: a model gives no class scores; the port is taken.
    """
    address, folder = address or Address(), _own_folder()
    try:
        with _environment(folder), _running(shown, address, folder) as where:
            yield where
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(shown: Shown, address: Address, folder: Path) -> Iterator[str]:
    need_gradio()
    from gradsight.pages.web.context import Page
    from gradsight.pages.web.launch import launch
    from gradsight.pages.web.owners import Owners
    from gradsight.pages.workers import Workers

    example, workers = _example(folder), Workers(_PASSES, shown.limits.seconds)
    page = Page(
        models=together([ready(explainer, name) for name, explainer in shown.explainers]),
        folder=folder,
        limits=shown.limits,
        example=example,
        owners=Owners(public=frozenset([os.path.realpath(example)])),
        workers=workers,
        shelf=None if shown.run is None else Shelf(shown.run),
        evaluation=shown.evaluation,
        passes=_PASSES,
    )
    try:
        made = launch(page, address.host, address.port, address.password)
    except OSError as error:
        raise InvalidArgument(f"--port must be free. {received(address.port)} {error}") from error
    try:
        yield str(made.local_url)
    finally:
        made.close(verbose=False)
        workers.close()


def _own_folder() -> Path:
    """A new folder that only this user reads; it is deleted at the end, however the process ends by itself."""
    _sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _sweep(folder: Path) -> None:
    """Delete what pages left that were killed: photos of their visitors."""
    for left in folder.glob(f"{_PREFIX}*-*"):
        number = left.name.removeprefix(_PREFIX).partition("-")[0]
        # Of another user's it cannot be said, and nothing of it could be deleted.
        if number.isdecimal() and left.is_dir() and not left.is_symlink() and not _runs(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def _runs(process: int) -> bool:
    if os.name != "posix":  # elsewhere the question itself may end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _example(folder: Path) -> Path:
    photo = bundled_photo()
    path = folder / "example" / photo.name
    path.parent.mkdir()
    assert isinstance(photo.source, bytes)
    path.write_bytes(photo.source)
    return path


def need_gradio() -> None:
    """See that Gradio is there.

    Raises:
        MissingDependency: it is not, or does not work.
    """
    # Read when it is imported: nothing of a page leaves this machine.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise MissingDependency(
            "the page is shown by Gradio, which is not installed. Install it: pip install 'gradsight[app]'."
        ) from error


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """What Gradio reads of the environment when it makes a page: uploads of one page lie where no other page looks."""
    said = {
        "GRADIO_TEMP_DIR": str(folder),
        "GRADIO_EXAMPLES_CACHE": str(folder / "examples"),
        "GRADIO_SHARE": None,
        "GRADIO_ALLOWED_PATHS": None,
        "GRADIO_NUM_WORKERS": None,
        "GRADIO_ROOT_PATH": None,
    }
    before = {name: os.environ.get(name) for name in said}
    _set(said)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
