"""What speaks for a class and what against it, and why one class rather than another."""

from __future__ import annotations

import time
from dataclasses import replace

from PIL import Image

from gradsight.errors import InvalidArgument
from gradsight.pages.answer import Answer, explained
from gradsight.pages.asked import Asked
from gradsight.pages.limits import Limits
from gradsight.pages.served import Served
from gradsight.targets import Against, Classes, Contrast, Several, TargetLike
from gradsight.targets.labels import class_index


def sides_of(
    served: Served, photo: Image.Image, asked: Asked, which: str | int, rather_than: str | int | None, limits: Limits
) -> Answer:
    """Maps of what speaks for a class, of what speaks against it, and, with another one, of the one rather than it.

    Args:
        served: the model.
        photo: upright RGB, of its full size.
        asked: by which methods and at which layers.
        which: the class.
        rather_than: another one; None to leave it out.
        limits: what is taken on.

    Raises:
        GradsightError: it asks for too much, or for what the model does not have.
    """
    labels = served.explainer.labels
    count = len(labels or ()) or 1 << 31
    first = class_index(which, labels, count)
    targets: list[TargetLike] = [Classes(first), Against(first)]
    meant = replace(asked, classes=(first, first))
    if rather_than not in (None, ""):
        second = class_index(rather_than, labels, count)
        if second == first:
            raise InvalidArgument("Both classes are the same. Choose another one to compare with.")
        targets.append(Contrast(first, second))
        meant = replace(asked, classes=(first, first, second))
    served.check(meant, limits)
    begun = time.perf_counter()
    made = explained(served, photo, meant, Several(*targets), limits)
    return Answer(served, meant, made, time.perf_counter() - begun, sides=True)
