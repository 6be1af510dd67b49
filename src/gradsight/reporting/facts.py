"""How a run was made: the model, the method and the photos, as terms and what they are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping

from gradsight.runs.manifest import Manifest
from gradsight.runs.opened import Run

_LONGEST = 600
"""So many characters of a setting are shown: labels of a model are a thousand words."""

Fact = tuple[str, str]
"""A term, and what it is."""

_HIDDEN = ("version", "batch_size")
"""Of what is explained: the form of the file, and the explainer's own batch size, which a run does not go by."""


def short(name: str) -> str:
    """A model's name as a heading has it: of a file without its folders, which stand in the facts.

    >>> short("/home/me/models/beans.keras"), short("timm:resnet18")
    ('beans.keras', 'timm:resnet18')
    """
    return (os.path.basename(name) if os.path.isabs(name) else "") or name


def facts_of(run: Run, failed: int) -> tuple[Fact, ...]:
    """What the manifest of a run says; what it does not say is left out.

    Args:
        run: which one.
        failed: how many of its photos failed.
    """
    return tuple((term, told) for term, told in _facts(run, run.manifest, failed) if told)


def _facts(run: Run, manifest: Manifest, failed: int) -> Iterator[Fact]:
    yield "Model", manifest.name
    yield "Loaded as", _told(manifest.model) or "its maker did not say how it is loaded"
    yield "Digest of its weights", manifest.weights or ""
    yield "Layers", ", ".join(manifest.layers)
    yield (
        "What is explained",
        _told({name: value for name, value in (manifest.explain or {}).items() if name not in _HIDDEN}),
    )
    yield "How photos are made the model's input", _told(manifest.preprocess)
    yield "Question", manifest.question
    yield "Photos from", manifest.source
    yield "Photos explained", f"{len(run):,}"
    yield "Photos that failed", f"{failed:,}"
    yield "Part of the photos", "" if manifest.shard is None else "{} of {}".format(*manifest.shard)
    yield "Ended", "yes" if manifest.complete else "no: this is what was explained by now"
    yield "Missing", "; ".join(manifest.missing)
    yield "Batch size", str(manifest.batch_size or "")
    yield "Engine", manifest.engine
    yield "Versions", _told(manifest.versions)
    yield "Folder of the run", str(run.folder)


def _told(values: Mapping[str, object] | None) -> str:
    """Settings as a text; those that are not set are left out."""
    if not values:
        return ""
    told = "; ".join(
        f"{name}: {_value(value)}" for name, value in values.items() if value not in (None, "", [], {}, ())
    )
    return told if len(told) <= _LONGEST else f"{told[:_LONGEST]} …"


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
