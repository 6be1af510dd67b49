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
    "Failed": "photos",
    "GradsightError": "errors",
    "Model": "models.model",
    "ModelSpec": "models.spec",
    "Neurons": "neurons",
    "Pixels": "targets",
    "Placement": "imaging",
    "Preprocess": "imaging",
    "Scores": "targets.scores",
    "Several": "targets",
    "Similarity": "targets",
    "Sum": "targets",
    "Token": "targets",
    "Top": "targets",
    "Writing": "models.model",
    "ask": "captioning",
    "caption": "captioning",
    "contrast": "variants",
    "eigen_smooth": "variants",
    "explain": "explaining.explain",
    "fuse": "variants",
    "load_model": "models.load",
    "method": "registry",
    "refine": "variants",
    "smooth": "variants",
    "source": "registry",
}

if TYPE_CHECKING:
    from gradsight.captioning import ask, caption
    from gradsight.errors import GradsightError
    from gradsight.explaining.explain import explain
    from gradsight.explaining.explainer import Explainer
    from gradsight.explaining.spec import ExplainSpec
    from gradsight.imaging import Placement, Preprocess
    from gradsight.layers import Candidate
    from gradsight.models.load import load_model
    from gradsight.models.model import Model, Writing
    from gradsight.models.spec import ModelSpec
    from gradsight.neurons import Concepts, Dissection, Neurons, TopActivating
    from gradsight.photos import Explained, Failed
    from gradsight.registry import method, source
    from gradsight.results.explanation import Explanation
    from gradsight.targets import Against, Box, Classes, Contrast, Pixels, Several, Similarity, Sum, Token, Top
    from gradsight.targets.scores import Scores
    from gradsight.variants import contrast, eigen_smooth, fuse, refine, smooth

__all__ = [
    "Against",
    "Box",
    "Candidate",
    "Classes",
    "Concepts",
    "Contrast",
    "Dissection",
    "ExplainSpec",
    "Explained",
    "Explainer",
    "Explanation",
    "Failed",
    "GradsightError",
    "Model",
    "ModelSpec",
    "Neurons",
    "Pixels",
    "Placement",
    "Preprocess",
    "Scores",
    "Several",
    "Similarity",
    "Sum",
    "Token",
    "Top",
    "TopActivating",
    "Writing",
    "ask",
    "caption",
    "contrast",
    "eigen_smooth",
    "explain",
    "fuse",
    "load_model",
    "method",
    "refine",
    "smooth",
    "source",
]


__getattr__, __dir__ = lazy(__name__, _HOMES)
