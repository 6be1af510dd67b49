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
    is_torch = hasattr(explainer.model.model, "state_dict")
    keras = None if is_torch else sys.modules.get("keras")
    frameworks = ["torch"] if is_torch else ["keras", keras.backend.backend() if keras else ""]
    for name in (*frameworks, *_PACKAGES):
        try:
            found[name] = metadata.version(name)
        except (metadata.PackageNotFoundError, ValueError):
            # Such as tensorflow-cpu: what is imported knows its version too.
            version = getattr(sys.modules.get(name), "__version__", None)
            if version:
                found[name] = str(version)
    return found
