"""What a model of transformers is explained by, by the class that it was saved as."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gradsight.errors import InvalidArgument
from gradsight.foreign import Array, Outputs
from gradsight.models.model import Model
from gradsight.models.sources.hf.comparing import comparison
from gradsight.models.sources.hf.loading import Loading, class_names
from gradsight.models.sources.hf.texts import answers, caption, decoded_caption, written_answer
from gradsight.models.sources.hf.theirs import Config
from gradsight.targets.scores import Scores


@dataclass(frozen=True)
class Task:
    """What models of one kind do.

    Attributes:
        architecture: the class in transformers.
        make: makes the model ready.
        reads_text: it takes ``text``.
    """

    architecture: str
    make: Callable[[Loading], Model]
    reads_text: bool = False


def task_of(config: Config, name: str) -> Task:
    """What a model was made for, by the class that it was saved as.

    Raises:
        InvalidArgument: none of the tasks that can be explained.
    """
    saved_as = getattr(config, "architectures", None)
    architecture = saved_as[0] if isinstance(saved_as, list) and saved_as and isinstance(saved_as[0], str) else ""
    for pattern, make, reads_text in _TASKS:
        if re.fullmatch(pattern, architecture):
            return Task(architecture, make, reads_text)
    raise InvalidArgument(
        f"hf model {name!r} must classify, segment or detect, compare pictures with texts, answer questions or write "
        f"captions. Received: its class is {architecture[:100] or 'not named'}. Another model that gives scores can be "
        "built in a function: --model package.module:function."
    )


def _classification(loading: Loading) -> Model:
    several = getattr(loading.config, "problem_type", None) == "multi_label_classification"
    scores = Scores(_logits, "sigmoid") if several else None
    return Model(loading.model, labels=class_names(loading.config), scores=scores)


def _segmentation(loading: Loading) -> Model:
    return Model(loading.model, labels=class_names(loading.config), scores=Scores(_mean_logits, ""))


def _detection(loading: Loading) -> Model:
    detections = partial(_detections, classes=loading.config.num_labels)
    scores = Scores(lambda outputs: detections(outputs)["logits"].amax(1), "")
    return Model(loading.model, labels=class_names(loading.config), scores=scores, detections=detections)


# Of the classes of transformers: what is made of them, and whether they read a text.
_TASKS: tuple[tuple[str, Callable[[Loading], Model], bool], ...] = (
    (r"\w+ForImageClassification(WithTeacher)?", _classification, False),
    (r"\w+ForSemanticSegmentation", _segmentation, False),
    (r"\w+ForObjectDetection", _detection, False),
    (r"(\w*CLIP|Siglip|Align|MetaClip2)Model", comparison, False),
    (r"ViltForQuestionAnswering", answers, True),
    (r"BlipForQuestionAnswering", written_answer, True),
    (r"BlipForConditionalGeneration", caption, True),
    (r"VisionEncoderDecoderModel", decoded_caption, True),
)


def _logits(outputs: Outputs) -> Array:
    return outputs.logits


def _mean_logits(outputs: Outputs) -> Array:
    return outputs.logits.flatten(2).mean(-1)


def _detections(outputs: Outputs, classes: int) -> dict[str, Array]:
    # DETR's class after the last is "nothing"
    return {"logits": outputs.logits[..., :classes], "pred_boxes": outputs.pred_boxes}
