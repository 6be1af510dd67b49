"""What a run is of, written down before it begins."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

import gradsight
from gradsight.errors import GradsightError
from gradsight.explaining.explainer import Explainer
from gradsight.explaining.spec import ExplainSpec
from gradsight.models.digest import digest_of
from gradsight.runs.items import Items
from gradsight.runs.manifest import Manifest, plain

_PACKAGES = ("numpy", "pillow", "pyarrow")


def described(
    explainer: Explainer, items: Items, *, features: bool, engine: str, shard: tuple[int, ...] | None
) -> Manifest:
    """The manifest of a run that is about to begin.

    Args:
        explainer: what explains.
        items: what is explained.
        features: rows have features.
        engine: which one.
        shard: of which part of the photos it is, (i, n); None for all.

    Raises:
        InvalidArgument: the explainer takes no photos.
    """
    return Manifest(
        name=explainer.name,
        model=plain(explainer.model.spec),
        weights=digest_of(explainer.model.model),
        explain=plain(_spec_of(explainer)),
        preprocess=explainer._passes.preprocess_record(),
        source=items.described,
        features=features,
        engine=engine,
        shard=shard,
        versions=_versions(explainer),
    )


def _spec_of(explainer: Explainer) -> ExplainSpec | None:
    try:
        return explainer.spec
    except GradsightError:  # what no value says, such as a function of the user's
        return None


def _versions(explainer: Explainer) -> dict[str, str]:
    found = {"gradsight": gradsight.__version__, "python": platform.python_version()}
    for name in (*_frameworks(explainer), *_PACKAGES):
        version = _version(name)
        if version:
            found[name] = version
    return found


def _frameworks(explainer: Explainer) -> list[str]:
    # What is imported by now: a model of Keras runs on one of three engines, and no framework is imported for a name.
    if hasattr(explainer.model.model, "state_dict"):
        return ["torch"]
    keras = sys.modules.get("keras")
    return ["keras"] if keras is None else ["keras", keras.backend.backend()]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # it may be installed under another name, as tensorflow-cpu
        return str(getattr(sys.modules.get(name), "__version__", ""))
