"""Targets: what is explained. Each gives one score for each image; several are explained in one pass.

A target is whatever has a method ``resolved(context) -> ScoreSpec``, see `Target` and `OutputContext`.
"""

from __future__ import annotations

from gradsight.targets.boxes import Box
from gradsight.targets.class_names import Labels, as_labels, check_fit, is_fit, misfit
from gradsight.targets.classes import Classes, Top
from gradsight.targets.combined import Against, Contrast, Several, Sum, check_target, resolve
from gradsight.targets.context import OutputContext, Prediction, Target, TargetInfo, TargetLike
from gradsight.targets.labels import class_index, class_name
from gradsight.targets.pixels import Pixels
from gradsight.targets.predictions import Reading, predicted
from gradsight.targets.reading import detections_in, embedding_in
from gradsight.targets.resolved import ScoreSpec, Term
from gradsight.targets.similarity import Similarity
from gradsight.targets.tokens import Token
from gradsight.targets.within import Within

__all__ = [
    "Against",
    "Box",
    "Classes",
    "Contrast",
    "Labels",
    "OutputContext",
    "Pixels",
    "Prediction",
    "Reading",
    "ScoreSpec",
    "Several",
    "Similarity",
    "Sum",
    "Target",
    "TargetInfo",
    "TargetLike",
    "Term",
    "Token",
    "Top",
    "Within",
    "as_labels",
    "check_fit",
    "check_target",
    "class_index",
    "class_name",
    "detections_in",
    "embedding_in",
    "is_fit",
    "misfit",
    "predicted",
    "resolve",
]
