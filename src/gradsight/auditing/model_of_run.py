"""The model of a run, to try things out with."""

from __future__ import annotations

import json
from collections.abc import Mapping

from gradsight.errors import InvalidArgument
from gradsight.explaining.explainer import Explainer, as_explainer
from gradsight.files import is_file
from gradsight.models.as_model import ModelLike
from gradsight.models.digest import digest_of
from gradsight.models.load import load_model
from gradsight.models.spec import ModelSpec
from gradsight.runs.manifest import Manifest


def explainer_of(manifest: Manifest, model: ModelLike | Explainer | None) -> tuple[Explainer | None, tuple[str, ...]]:
    """What things are tested with, and notes; None where nobody says what the model is.

    Raises:
        InvalidArgument: the model has other weights than that of the run.
    """
    if model is None and manifest.model is None:
        return None, ("the run does not say how its model is loaded: pass it, and suspects are tested.",)
    if model is None and _runs_code(manifest.model or {}):
        # A run may come from anyone, and such a model is made by running code that it names.
        return None, ("the run's model is made by a function of somebody's: pass it, and suspects are tested.",)
    explainer = as_explainer(load_model(ModelSpec.from_json(json.dumps(manifest.model))) if model is None else model)
    # The maps say where this model looked; what another one does without a place says nothing of them.
    digest = digest_of(explainer.model.model)
    if None not in (digest, manifest.weights) and digest != manifest.weights:
        raise InvalidArgument(
            f"`model` must be the run's, {manifest.name!r}: its weights are others than those of the run's maps. "
            f"Received: {explainer.name!r}. Pass the model that the run was made with, or run it again."
        )
    return explainer, ()


def _runs_code(spec: Mapping[str, object]) -> bool:
    source, preprocess = str(spec.get("source", "")), spec.get("preprocess")
    # What is loaded by name, or from a file whose claims are looked at, runs nothing of a stranger's.
    known = source.partition(":")[0] in ("demo", "timm", "torchvision", "keras", "hf")
    return isinstance(preprocess, str) or not (known or is_file(source))
