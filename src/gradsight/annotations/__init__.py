"""Boxes and masks that people drew on photos: read them, find the photo, bring them to what the model saw.

Files are untrusted: their sizes are bounded and nothing in them is run. What is broken in them is told in words, and
the rest is done.
"""

from gradsight.annotations.labels import classes_of, read_class_map
from gradsight.annotations.marks import Annotations, LabelledBox, Marks
from gradsight.annotations.matching import Matched, matched
from gradsight.annotations.placing import Placed, placed, placed_by_class
from gradsight.annotations.reading import read_boxes, read_masks

__all__ = [
    "Annotations",
    "LabelledBox",
    "Marks",
    "Matched",
    "Placed",
    "classes_of",
    "matched",
    "placed",
    "placed_by_class",
    "read_boxes",
    "read_class_map",
    "read_masks",
]
