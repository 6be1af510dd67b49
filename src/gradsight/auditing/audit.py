"""`gs.audit`: what the maps of many photos say about a model."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gradsight.annotations import Annotations, matched
from gradsight.auditing.background import Objects, Reliance, objects_of, reliances
from gradsight.auditing.candidates import candidates
from gradsight.auditing.changes import Change, changes, of_changes
from gradsight.auditing.facts import Confusion, Look, Mistake, confusion, looks, mistakes
from gradsight.auditing.finding import Finding, in_order, line_of
from gradsight.auditing.loading import Loader
from gradsight.auditing.model_of_run import explainer_of
from gradsight.auditing.of_run import seen_of_run
from gradsight.auditing.scoring import Scorer
from gradsight.auditing.seen import Seen
from gradsight.auditing.suspects import Suspect
from gradsight.auditing.trying import suspects
from gradsight.auditing.words import (
    of_candidates,
    of_confusion,
    of_limits,
    of_looks,
    of_mistakes,
    of_reliance,
    of_suspects,
    of_untried,
)
from gradsight.checks import taken
from gradsight.evaluating.items import known_of
from gradsight.explaining.explainer import Explainer
from gradsight.files import write_bytes
from gradsight.models.as_model import ModelLike
from gradsight.results import html
from gradsight.rules import Each, Instance, Name, Text, Whole
from gradsight.runs.opened import Run, open_run

Drawn = Annotations | str | os.PathLike[str]
"""Boxes or masks: read already, or where they lie."""

_TRIED = 24
"""So many candidates are tried; each takes about two thousand passes of the model, of some dozen photos."""


@dataclass(frozen=True, eq=False)
class Audit:
    """What the maps of many photos say about a model: `findings` in words, and what is behind them.

    >>> Audit("a net", 2, (), (), (), None, (), (), (), tried=True, passes=60).verdict
    'No shortcut is confirmed: 2 photos, model a net.'

    Attributes:
        model: its name.
        photos: how many were looked at.
        findings: what was found.
        suspects: places and things that may be shortcuts, with what came of trying them out.
        looks: where each class looks, and each pair of class and true class.
        confusion: how often classes were confused; None where no photo has a known class.
        mistakes: the confident errors.
        reliances: how far each class is decided by the background; empty where no object is known.
        changes: what is other in another run of the photos; empty where none was given.
        tried: whether suspects were tested; else there was no model, or nothing stood out that could be tried.
        passes: how many changed photos the model was asked about.
        notes: what else its reader must know.
        failed: (key, reason) of the photos that could not be explained, or not be read again.
    """

    model: str
    photos: int
    findings: tuple[Finding, ...]
    suspects: tuple[Suspect, ...]
    looks: tuple[Look, ...]
    confusion: Confusion | None
    mistakes: tuple[Mistake, ...]
    reliances: tuple[Reliance, ...]
    changes: tuple[Change, ...]
    tried: bool
    passes: int
    notes: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        taken("model", self.model, Text())
        taken("findings", self.findings, Each(Instance(Finding, "a gs.Finding"), range(1 << 20)))

    @property
    def confirmed(self) -> tuple[Finding, ...]:
        """The suspects that were confirmed."""
        return tuple(one for one in self.findings if one.confirmed)

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it in words: the verdict, then a sentence for each finding, then notes."""
        return (self.verdict, *(one.sentence for one in self.findings), *self.notes)

    @property
    def verdict(self) -> str:
        """What matters most, in one sentence."""
        # By class and not by suspect: a frame may be several suspects of one class.
        count = len(self.confirmed)
        about = f"{self.photos} photos, model {self.model}"
        if count:
            classes = ", ".join(dict.fromkeys(one.label for one in self.confirmed))
            return f"{count} confirmed shortcut{'s' * (count > 1)} ({classes}): {about}."
        if not self.tried:
            return f"No suspect was tested, so that no shortcut is confirmed or ruled out: {about}."
        return f"No shortcut is confirmed: {about}."

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def __repr__(self) -> str:
        counts = f"findings: {len(self.findings)}, confirmed: {len(self.confirmed)}"
        return f"Audit({self.model!r}, photos: {self.photos}, {counts})"

    def _repr_html_(self) -> str:
        """Shown by notebooks: the verdict, and a line for each finding."""
        verdict, *others = map(html.escaped, self.lines)
        return f"<p><strong>{verdict}</strong></p><ul>{''.join(f'<li>{line}</li>' for line in others)}</ul>"

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``findings.jsonl``, the lines of `to_dicts`, into a folder, which is made if need be.

        Raises:
            InvalidArgument: it cannot be written.
        """
        # Lines of JSON, so that tools read the strongest without the rest.
        lines = "".join(json.dumps(one) + "\n" for one in self.to_dicts())
        write_bytes(Path(taken("folder", folder, Name())) / "findings.jsonl", lines.encode())

    def to_dicts(self) -> list[dict[str, object]]:
        """All of it as plain values, one for each line of JSON: the findings, the strongest first, the verdict, notes.

        Each has the keys of `Finding.to_dict`; the verdict's and the notes' ``kind`` are ``verdict`` and ``note``. The
        verdict is ``confirmed`` as suspects are: None where nothing was tried.
        """
        counts = {"photos": self.photos, "confirmed": len(self.confirmed), "passes": self.passes}
        sure = bool(self.confirmed) if self.tried else None
        return [
            *(one.to_dict() for one in self.findings),
            line_of("verdict", self.verdict, confirmed=sure, figures=counts),
            *(line_of("note", note) for note in self.notes),
        ]


@dataclass(frozen=True, eq=False)
class Beside:
    """What is known beside a run: where the objects are on photos, as `gs.evaluate` takes it, and another run.

    Attributes:
        boxes: a file or folder of boxes.
        masks: a folder of masks.
        class_map: what the labels of boxes mean.
        against: what another run saw of the photos.
    """

    boxes: Drawn | None = None
    masks: Drawn | None = None
    class_map: str | os.PathLike[str] | None = None
    against: Seen | None = None


def audit(
    run: Run | str | os.PathLike[str],
    model: ModelLike | Explainer | None = None,
    *,
    boxes: Drawn | None = None,
    masks: Drawn | None = None,
    class_map: str | os.PathLike[str] | None = None,
    against: Run | str | os.PathLike[str] | None = None,
    most: int = _TRIED,
    seed: int = 0,
) -> Audit:
    """What the maps of a run say about its model: shortcuts that it takes, where it looks, and what it confuses.

    A place that the maps of a class share, or a thing that its photos share to the pixel, is a suspect. It is
    tested: without it the class's probability should fall, and put into photos of other classes it should raise the
    class, more than what is there in other photos does. Only what does both, and far more than other places of its
    size, is called confirmed.

    >>> import tempfile, gradsight as gs
    >>> from gradsight.runs.example import example
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     print(gs.audit(example(folder)))  # doctest: +ELLIPSIS
    No suspect was tested, so that no shortcut is confirmed or ruled out: 2 photos, model example.
    tabby cat: in 2 photos most of the heat is in no one place: ...

    Args:
        run: a run, or its folder.
        model: the run's model, to try things out: whatever `Explainer` takes, or one. If not given, the one that the
            run was made with is loaded, where its name says all of it.
        boxes: boxes of the objects, a file or folder, see `gs.evaluate`; then the reliance on the background is told.
        masks: masks of the objects, a folder, likewise.
        class_map: what the labels of boxes mean, a file of JSON.
        against: another run of the same photos, by another model, another checkpoint, or after a fix: where its maps
            lie elsewhere, and which predictions are others.
        most: at most so many suspects are tested.
        seed: of the photos that are drawn.

    Raises:
        GradsightError: with what was wrong, what was received and what to do.
    """
    # Before the run is opened: a slip in a number would else be told after minutes.
    most, seed = taken("most", most, Whole(0)), taken("seed", seed, Whole(0))
    opened, other = _opened(run), None if against is None else seen_of_run(_opened(against))[0]
    explainer, why = explainer_of(opened.manifest, model)
    seen, failed = seen_of_run(opened)
    beside = Beside(boxes, masks, class_map, other)
    return audited(seen, explainer, beside, most=most, seed=seed, notes=why, failed=failed, name=opened.manifest.name)


def _opened(run: Run | str | os.PathLike[str]) -> Run:
    return run if isinstance(run, Run) else open_run(run)


def audited(
    seen: Seen,
    explainer: Explainer | None,
    beside: Beside | None = None,
    *,
    most: int = _TRIED,
    seed: int = 0,
    notes: Sequence[str] = (),
    failed: Sequence[tuple[str, str]] = (),
    name: str = "",
) -> Audit:
    """As `audit`, of what was seen, whoever saw it.

    Args:
        seen: the photos.
        explainer: of their model, to try things out; None to tell what the maps say, and no more.
        beside: what else is known.
        most: at most so many suspects are tested.
        seed: of the photos that are drawn.
        notes: what is told beside what is found.
        failed: (key, reason) of the photos that are not among those seen.
        name: of the model.
    """
    loader = None if explainer is None else Loader(seen, Scorer(explainer))
    # Also without a model: what the maps share is told as what it is, and nothing more.
    shared = candidates(seen, seed)
    found = [] if loader is None or not most else suspects(seen, shared, loader, most, seed)
    tried = loader is not None and loader.scorer.rows > 0  # before the background asks the same model
    untried = of_untried(seen, None if loader is None else tried, most)
    beside = beside or Beside()
    known, told = _objects(seen, beside)
    changed = () if beside.against is None else changes(seen, beside.against)
    relied = reliances(seen, known, loader, seed) if known.regions else ()
    confused, wrong, where = confusion(seen), mistakes(seen), looks(seen)
    findings = [
        *(of_suspects(seen, found) if loader and most else of_candidates(seen, shared)),
        *of_changes(seen, changed),
        *of_reliance(seen, relied),
        *of_mistakes(seen, wrong),
        *(of_confusion(seen, confused) if confused else ()),
        *of_looks(seen, where),
    ]
    # A photo that failed in the run and one that is gone since are told alike.
    gone = {} if loader is None else loader.gone
    return Audit(
        model=name or (explainer.name if explainer else ""),
        photos=len(seen),
        findings=in_order(findings),
        suspects=tuple(found),
        looks=where,
        confusion=confused,
        mistakes=wrong,
        reliances=relied,
        changes=changed,
        tried=tried,
        passes=0 if loader is None else loader.scorer.rows,
        notes=(*notes, *told, *known.problems, *untried, *of_limits(failed, gone)),
        failed=(*failed, *gone.items()),
    )


def _objects(seen: Seen, places: Beside) -> tuple[Objects, tuple[str, ...]]:
    if places.boxes is None and places.masks is None:
        return Objects({}), ()
    # Up to the last class that occurs: labels of boxes mean no other here.
    names = [seen.name(i) for i in range(1 + max(seen.names, default=0))]
    known = known_of(places.boxes, places.masks, places.class_map, names, by_boxes=False)
    if known.annotations is None:
        return Objects({}), known.problems
    found = matched(known.annotations, seen.keys)
    return objects_of(seen, found.marks, known.classes or {}), (*known.problems, *found.problems)
