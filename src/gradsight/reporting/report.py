"""`gs.report`: a run or an evaluation as one file that opens in any browser, without a network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gradsight
from gradsight.auditing.audit import Audit
from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument, received
from gradsight.explaining.explainer import Explainer
from gradsight.files import write_bytes
from gradsight.models.as_model import ModelLike
from gradsight.reporting.given import Reported, opened
from gradsight.reporting.of_evaluation import OfEvaluation, of_evaluation
from gradsight.reporting.of_run import Beside, Looked, OfRun, looked_at, of_run
from gradsight.reporting.page import need_jinja, rendered
from gradsight.reporting.pictures import ramp_of
from gradsight.rules import Instance, Name, Number, Text, Whole
from gradsight.runs.opened import Run

_MEGABYTE = 1_000_000

_TRIES = 3
"""So often the page is made anew, with fewer photos, where it is too large."""

_FRAME = 300_000
"""Bytes kept for what is no photo: the page's own style, script and words."""

_SHARE = 0.93
"""Photos take at most so much of the file: words beside them are counted, but not to the last byte."""


@dataclass(frozen=True)
class Report:
    """A report that was written.

    >>> Report(Path("report.html"), 1_204_331, 264, 264)
    Report(path=PosixPath('report.html'), size=1204331, shown=264, photos=264, notes=())

    Attributes:
        path: the file.
        size: of it, in bytes.
        shown: how many photos are in it.
        photos: how many the runs explained; all figures are of them.
        notes: what is not in it, in words.
    """

    path: Path
    size: int
    shown: int
    photos: int
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(taken("path", self.path, Name())))
        for name in ("size", "shown", "photos"):
            object.__setattr__(self, name, taken(name, getattr(self, name), Whole(0)))


def report(
    *of: Reported,
    out: str | os.PathLike[str],
    model: ModelLike | Explainer | None = None,
    audit: Audit | None = None,
    title: str = "",
    suspects: int = 24,
    shown: int = 400,
    megabytes: float = 20,
) -> Report:
    """Write runs and evaluations as one HTML file: no network, no other files, for people who have no gradsight.

    Of a run it has a summary in words, what `gs.audit` found, each class with where the model looks, the table of
    confusions, and photos with their heat, to search and to filter. Of an evaluation it has the tables with intervals,
    and what they say. Whatever is foreign in it, such as names and labels, is shown as text.

    >>> import tempfile, gradsight as gs
    >>> from gradsight.runs.example import example
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = gs.report(example(folder), out=f"{folder}/report.html")
    ...     print(made.shown, made.photos, made.path.read_text(encoding="utf-8")[:15])
    2 2 <!doctype html>

    Args:
        *of: runs and evaluations, or their folders.
        out: the file; what was there before is replaced.
        model: the run's model, to try suspects out, as in `gs.audit`; if not given, the one that the run names.
        audit: of the run, such as ``gs.audit(run, boxes=...)``; it is made where it is not given.
        title: of the page.
        suspects: at most so many suspects are tested, which takes minutes; 0: none, and no model is needed.
        shown: at most so many photos are shown; examples of what was found come first.
        megabytes: the file is no larger; photos are made smaller until they fit, and then there are fewer of them.

    Returns:
        Where it is, how large, and what was left out.

    Raises:
        GradsightError: with what was wrong, what was received and what to do.
    """
    path = Path(taken("out", out, Name(), "Pass out='report.html'."))
    title = taken("title", title, Text())
    suspects, shown = taken("suspects", suspects, Whole(0)), taken("shown", shown, Whole(0))
    room = int(taken("megabytes", megabytes, Number(0.5, 1000), "Pass 20.") * _MEGABYTE)
    optional("audit", audit, Instance(Audit, "a gs.Audit, as gs.audit gives it"))
    # Before minutes of work.
    need_jinja()
    found = opened(of)
    # A photo that was named by mistake is not written over, and no browser opens what has another ending.
    if path.suffix.lower() not in (".html", ".htm"):
        raise InvalidArgument(f"`out` must end in .html. {received(str(path))} Pass out='report.html'.")
    runs = [one for one in found if isinstance(one, Run)]
    if audit is not None and len(runs) != 1:
        raise InvalidArgument(
            f"`audit` is of one run, and {len(runs)} are reported. Received: {audit!r}. Leave it out, or report one."
        )
    beside = Beside(audit, model, suspects)
    looked = [looked_at(one, beside) if isinstance(one, Run) else of_evaluation(one) for one in found]
    content, parts = _fitting(looked, title, shown, room)
    write_bytes(path, content)
    return Report(path, len(content), *_counts(parts), _notes(parts))


def _fitting(
    looked: Sequence[Looked | OfEvaluation], title: str, shown: int, room: int
) -> tuple[bytes, list[OfRun | OfEvaluation]]:
    """The page, no larger than it may be, and what it tells."""
    each = int((room - _FRAME) * _SHARE) // max(1, sum(isinstance(one, Looked) for one in looked))
    for _ in range(_TRIES):
        parts = [of_run(one, shown, each) if isinstance(one, Looked) else one for one in looked]
        content = _page(title or _titled(parts), parts)
        if len(content) <= room:
            return content, parts
        # Names of classes and files may be longer than anybody reckons with.
        each = max(0, each - 2 * (len(content) - room))
    raise InvalidArgument(
        f"`megabytes` must be enough for what is told beside photos. Received: {room / _MEGABYTE:g} (float). Pass "
        f"{len(content) / _MEGABYTE + 1:.0f}."
    )


def _page(title: str, parts: Sequence[OfRun | OfEvaluation]) -> bytes:
    values = {
        "title": title,
        "parts": [(f"p{i}", "run" if isinstance(part, OfRun) else "evaluation", part) for i, part in enumerate(parts)],
        "version": gradsight.__version__,
        "ramps": (ramp_of(signed=False), ramp_of(signed=True)),
    }
    return b"".join(piece.encode("utf-8", "backslashreplace") for piece in rendered(values))


def _titled(parts: Sequence[OfRun | OfEvaluation]) -> str:
    names = dict.fromkeys(part.name for part in parts)
    model = ", ".join(filter(None, names)) or "a model"
    if any(isinstance(part, OfRun) for part in parts):
        return f"What {model} looks at"
    return f"How far maps of {model} can be trusted"


def _counts(parts: Sequence[OfRun | OfEvaluation]) -> tuple[int, int]:
    runs = [part for part in parts if isinstance(part, OfRun)]
    return sum(len(part.gallery.photos) for part in runs), sum(len(part.run) for part in runs)


def _notes(parts: Sequence[OfRun | OfEvaluation]) -> tuple[str, ...]:
    return tuple(note for part in parts if isinstance(part, OfRun) for note in part.left_out)
