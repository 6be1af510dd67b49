"""The backend of a model, by the model's type, among the frameworks that the program has already imported.

gradsight imports none by itself: a user of one framework need not have the other, and importing it would cost seconds.
"""

from __future__ import annotations

import sys

from gradsight.backends.reading import Known
from gradsight.contracts import UserModel
from gradsight.errors import InvalidArgument, InvalidType, received
from gradsight.foreign import Module
from gradsight.targets.scores import Scores


def user_model(
    model: Module,
    *,
    probabilities: bool = False,
    scores: Scores | None = None,
    labels: tuple[str, ...] | None = None,
    left_out: str = "",
) -> UserModel:
    """A model in the hands of its framework's backend.

    Args:
        model: the user's.
        probabilities: keep the softmax or sigmoid that a Keras model ends in.
        scores: how the user reads class scores from its output; None to look for them.
        labels: the classes' names, which tell the scores too; None where they are not known.
        left_out: the activation at its end that its source has left out; empty if none.

    Raises:
        InvalidArgument: ``probabilities`` are asked of a PyTorch model.
        InvalidType: ``model`` belongs to no framework that gradsight knows.
    """
    known = Known(scores, labels, left_out)
    if "keras" in sys.modules and _is_layer(model):  # first: on its torch engine a Keras layer is a module too
        from gradsight.backends.keras.model import KerasModel

        return KerasModel(model, known, probabilities=probabilities)
    if "torch" in sys.modules:
        from gradsight.backends.torch.model import TorchModel, is_torch

        if is_torch(model):
            if probabilities:
                raise InvalidArgument(
                    "`probabilities` is for Keras models, whose last softmax or sigmoid is left out without it; a "
                    f"PyTorch model is explained as it is. {received(model)} Pass nn.Sequential(model, nn.Softmax(1))."
                )
            return TorchModel(model, known)
    hint = ""
    if type(model).__name__ == "ExportedProgram":
        hint = " Pass torch.export.unflatten(program): hooks fire only there."
    elif isinstance(model, str):
        hint = " A name goes to gs.load_model(name), whose `.model` fits here, or to gs.explain(photo, model=name)."
    elif any(base.__module__.startswith("tf_keras") for base in type(model).__mro__):
        hint = " It is a Keras 2 model: save it, and load it with Keras 3."
    raise InvalidType(f"`model` must be a torch.nn.Module or a Keras 3 model. {received(model)}{hint}")


def _is_layer(model: Module) -> bool:
    """Whether a model is Keras 3's; no module is imported to know."""
    bases = ((base.__module__, base.__name__) for base in type(model).__mro__)
    return ("keras.src.layers.layer", "Layer") in bases
