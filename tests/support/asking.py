"""How tests ask for methods: with few passes where a method takes many."""

from __future__ import annotations

from gradsight.registry import METHODS

# Options where a method's own would take many passes, or show nothing; everything else runs as it is.
FEW = {
    "fem": "deviations=1.0",  # of the 6 positions of one axis none can be two deviations over the mean
    "rise": "masks=20",
    "sscam": "samples=2",
    "iscam": "samples=3",
    "smoothgrad": "samples=3",
    "smoothgradcampp": "samples=3",
    "integratedgradients": "steps=5",
    "occlusion": "window=0.4, stride=0.3",
}


ANYWHERE = [name for name in METHODS if not METHODS[name].attends]
"""The methods that need no attention, for models without it."""


def asked(name: str, options: str = "") -> str:
    options = options or FEW.get(name, "")
    return f"{name}({options})" if options else name


FEWER_PASSES = {
    "integratedgradients": "steps=2",
    "iscam": "samples=2",
    "occlusion": "window=0.5, stride=0.5",
    "rise": "masks=4",
    "smoothgrad": "samples=2",
    "smoothgradcampp": "samples=2",
    "sscam": "samples=2",
}


METHODS_AND_VARIANTS = [
    *(f"{name}({FEWER_PASSES[name]})" if name in FEWER_PASSES else name for name in ANYWHERE),
    *("smooth(gradcam)", "contrastive(layercam)", "eigen_smooth(gradcam)"),
]
