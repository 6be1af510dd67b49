"""``--open`` and ``--preview``: what a command has drawn, shown at its end.

Whatever writes a picture says so (`made`); that they are shown is the affair of no command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from gradsight.cli.parsing import PICTURES
from gradsight.errors import InvalidArgument

_MOST = 4
"""Pictures that are drawn in a terminal; the others are counted."""

_SECONDS = 2.0
"""So long is waited for a viewer to say that it cannot."""


@dataclass
class Made:
    """Pictures that a command has written.

    Attributes:
        parts: of a photo each.
        whole: those that show all of something, such as a figure or a sheet.
    """

    parts: list[Path] = field(default_factory=list)
    whole: list[Path] = field(default_factory=list)

    @property
    def best(self) -> list[Path]:
        """Those that show most."""
        return self.whole or self.parts


# Not a parameter: what writes a picture is deep within a command, and need not hand it up.
_made: ContextVar[Made | None] = ContextVar("made", default=None)


def made(path: Path, *, whole: bool = False) -> None:
    """Say that a picture was written.

    Args:
        path: where.
        whole: it shows all of something, such as a figure; then that is what is shown.
    """
    found = _made.get()
    if found is not None:
        (found.whole if whole else found.parts).append(path)


@contextmanager
def viewing(*, opened: bool, preview: bool, alone: bool) -> Iterator[None]:
    """Show what is drawn meanwhile, at the end.

    Args:
        opened: open it in what the system shows pictures with.
        preview: draw it in the terminal.
        alone: stdout is for programs, or for nothing.

    Raises:
        InvalidArgument: the terminal is to be drawn in, and is not for pictures.
    """
    if preview and alone:
        raise InvalidArgument("--preview draws in the terminal, and --json and --quiet leave it to others. Drop one.")
    if not (opened or preview):
        yield
        return
    found = Made()
    token = _made.set(found)
    try:
        yield
    finally:
        _made.reset(token)
    # Nothing after an error, which is what has to be read. Here, for `--help` waits for neither.
    from gradsight.cli.terminal import complain

    if not found.best:
        complain("nothing was drawn, so that there is nothing to show.", "Note")
        return
    if preview:
        # What moves was shown while it was made.
        _previewed([path for path in found.best if path.suffix.lower() in PICTURES])
    if opened:
        why = open_in_viewer(_one(found.best))
        if why is not None:
            complain(why, "Note")


def _one(paths: list[Path]) -> Path:
    """What is opened of several pictures: the only one, or the folder that they are in."""
    if len(paths) == 1:
        return paths[0]
    return Path(os.path.commonpath([path.absolute().parent for path in paths]))


def _previewed(paths: list[Path]) -> None:
    from gradsight.cli.preview import draw
    from gradsight.cli.terminal import complain, say
    from gradsight.imaging import read_image

    for path in paths[:_MOST]:
        why = draw(read_image(path))
        if why is not None:
            complain(why, "Note")
            return
    if len(paths) > _MOST:
        say((f"… and {len(paths) - _MOST} more.", "dim"))


def open_in_viewer(path: Path) -> str | None:
    """Open a picture, a video or a folder in what the system shows it with.

    Returns:
        None, or why it cannot be opened, in words: nothing fails for want of a viewer.
    """
    # Absolute, so that no name is taken for an option.
    target = path.absolute()
    try:
        if sys.platform == "win32":
            os.startfile(target)  # type: ignore[attr-defined, unused-ignore]  # on Windows alone
            return None
        if sys.platform == "darwin":
            return _run(["open", str(target)], path)
        return _opened_on_linux(target, path)
    except OSError as error:
        return f"{str(path)!r} cannot be opened here: {error.strerror or error}. Open it by hand."


def _opened_on_linux(target: Path, path: Path) -> str | None:
    # Without a screen the system would start a browser for text in this terminal, if anything.
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.environ.get("WSL_DISTRO_NAME")):
        return f"there is no screen here to open {str(path)!r} on. Copy it to where there is one, or use --preview."
    for viewer in ("xdg-open", "wslview"):
        if shutil.which(viewer):
            return _run([viewer, str(target)], path)
    if webbrowser.open(target.as_uri()):
        return None
    return f"no viewer is known here for {str(path)!r}: xdg-open is missing. Open it by hand."


def _run(command: list[str], path: Path) -> str | None:
    # On its own: it goes on when the command ends, and its words are not ours.
    nowhere = subprocess.DEVNULL
    started = subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)
    try:
        status = started.wait(_SECONDS)
    except subprocess.TimeoutExpired:  # it shows it
        return None
    return None if status == 0 else f"{command[0]} found nothing that opens {str(path)!r}. Open it by hand."
