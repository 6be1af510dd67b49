"""gradsight shows what a vision model looked at when it decided.

>>> import gradsight as gs
>>> gs.Top(3)
Top(k=3)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradsight.lazy import lazy

__version__ = "0.1.0"

# The public names and where they live; a module is loaded when one of its names is first asked for.
_HOMES = {
    "Against": "targets",
    "Audit": "auditing.audit",
    "Box": "targets",
    "Candidate": "layers",
    "Classes": "targets",
    "Concepts": "neurons",
    "Contrast": "targets",
    "Dissection": "neurons",
    "TopActivating": "neurons",
    "ExplainSpec": "explaining.spec",
    "Explained": "photos",
    "Explainer": "explaining.explainer",
    "Explanation": "results.explanation",
    "Explanations": "results.explanations",
    "Failed": "photos",
    "Frame": "watching.frame",
    "Finding": "auditing.finding",
    "GradsightError": "errors",
    "ImageRecord": "results.records",
    "Model": "models.model",
    "ModelSpec": "models.spec",
    "Neurons": "neurons",
    "Note": "results.note",
    "Pixels": "targets",
    "Placement": "imaging",
    "Preprocess": "imaging",
    "Scores": "targets.scores",
    "Several": "targets",
    "Similarity": "targets",
    "Report": "reporting.report",
    "Run": "runs.opened",
    "Sum": "targets",
    "Token": "targets",
    "Top": "targets",
    "Within": "targets",
    "Writing": "models.model",
    "ask": "captioning",
    "audit": "auditing.audit",
    "caption": "captioning",
    "contrastive": "variants",
    "compare": "comparing",
    "Comparison": "results.comparison",
    "eigen_smooth": "variants",
    "evaluate": "evaluating.evaluate",
    "Evaluation": "evaluating.evaluation",
    "explain": "explaining.explain",
    "fuse": "variants",
    "load_model": "models.load",
    "merge_runs": "runs.merge",
    "method": "registry",
    "metric": "metric_registry",
    "open_run": "runs.opened",
    "recommend": "evaluating.recommend",
    "Local": "runs.engines.local",
    "Ray": "runs.engines.ray",
    "Recommendation": "evaluating.recommendation",
    "refine": "variants",
    "report": "reporting.report",
    "run": "runs.run",
    "smooth": "variants",
    "source": "registry",
    "watch": "watching.watch",
}

if TYPE_CHECKING:
    from gradsight.auditing.audit import Audit, audit
    from gradsight.auditing.finding import Finding
    from gradsight.captioning import ask, caption
    from gradsight.comparing import compare
    from gradsight.errors import GradsightError
    from gradsight.evaluating.evaluate import evaluate
    from gradsight.evaluating.evaluation import Evaluation
    from gradsight.evaluating.recommend import recommend
    from gradsight.evaluating.recommendation import Recommendation
    from gradsight.explaining.explain import explain
    from gradsight.explaining.explainer import Explainer
    from gradsight.explaining.spec import ExplainSpec
    from gradsight.imaging import Placement, Preprocess
    from gradsight.layers import Candidate
    from gradsight.metric_registry import metric
    from gradsight.models.load import load_model
    from gradsight.models.model import Model, Writing
    from gradsight.models.spec import ModelSpec
    from gradsight.neurons import Concepts, Dissection, Neurons, TopActivating
    from gradsight.photos import Explained, Failed
    from gradsight.registry import method, source
    from gradsight.reporting.report import Report, report
    from gradsight.results.comparison import Comparison
    from gradsight.results.explanation import Explanation
    from gradsight.results.explanations import Explanations
    from gradsight.results.note import Note
    from gradsight.results.records import ImageRecord
    from gradsight.runs.engines.local import Local
    from gradsight.runs.engines.ray import Ray
    from gradsight.runs.merge import merge_runs
    from gradsight.runs.opened import Run, open_run
    from gradsight.runs.run import run
    from gradsight.targets import Against, Box, Classes, Contrast, Pixels, Several, Similarity, Sum, Token, Top, Within
    from gradsight.targets.scores import Scores
    from gradsight.variants import contrastive, eigen_smooth, fuse, refine, smooth
    from gradsight.watching.frame import Frame
    from gradsight.watching.watch import watch

__all__ = [
    "Against",
    "Audit",
    "Box",
    "Candidate",
    "Classes",
    "Comparison",
    "Concepts",
    "Contrast",
    "Dissection",
    "Evaluation",
    "ExplainSpec",
    "Explained",
    "Explainer",
    "Explanation",
    "Explanations",
    "Failed",
    "Finding",
    "Frame",
    "GradsightError",
    "ImageRecord",
    "Local",
    "Model",
    "ModelSpec",
    "Neurons",
    "Note",
    "Pixels",
    "Placement",
    "Preprocess",
    "Ray",
    "Recommendation",
    "Report",
    "Run",
    "Scores",
    "Several",
    "Similarity",
    "Sum",
    "Token",
    "Top",
    "TopActivating",
    "Within",
    "Writing",
    "ask",
    "audit",
    "caption",
    "compare",
    "contrastive",
    "eigen_smooth",
    "evaluate",
    "explain",
    "fuse",
    "load_model",
    "merge_runs",
    "method",
    "metric",
    "open_run",
    "recommend",
    "refine",
    "report",
    "run",
    "smooth",
    "source",
    "watch",
]


__getattr__, __dir__ = lazy(__name__, _HOMES)
