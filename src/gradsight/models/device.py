"""Where a model computes: a model that a source loaded is put there, one of the user's own is left where it is."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from gradsight.errors import InvalidArgument, ModelError, one_line, received
from gradsight.foreign import Module
from gradsight.models.keras.backend import is_keras

if TYPE_CHECKING:
    import torch

_KERAS = (
    "`device` cannot be chosen for a Keras model, which computes where its engine does. {} Choose it before Keras is "
    "imported: CUDA_VISIBLE_DEVICES=0 for a GPU and '' for none, JAX_PLATFORMS=cpu on JAX; or build the model within "
    "`with keras.device('gpu:0'):` and pass it."
)


def move(model: Module, device: str) -> None:
    """Put a model that a source has just loaded onto a device.

    Raises:
        InvalidArgument: there is no such device, or it is a model of Keras.
        ModelError: the model does not go there.
    """
    if is_keras(model):
        raise InvalidArgument(_KERAS.format(received(device)))
    known = _known(device)
    try:
        model.to(known)
    except Exception as error:  # no memory, or modules that cannot be moved
        raise ModelError(f"the model cannot be put onto the device {device!r}: {one_line(error)}.") from error


def check_stays(model: Module, device: str) -> None:
    """See that a model of the user's, which is not moved, is on a device already.

    Raises:
        InvalidArgument: it is elsewhere.
    """
    if is_keras(model):
        raise InvalidArgument(_KERAS.format(received(device)))
    known = _known(device)
    # A module may have neither: nothing says where it is then.
    tensors = itertools.chain(getattr(model, "parameters", list)(), getattr(model, "buffers", list)())
    here = {tensor.device for tensor in tensors}
    # "cuda" is any GPU, "cuda:1" is one of them.
    if here and not all(at.type == known.type and known.index in (None, at.index) for at in here):
        at = ", ".join(sorted(map(str, here)))
        raise InvalidArgument(
            f"`device` must be where the model is, {at}: a model that you made is not moved by gradsight. "
            f"{received(device)} Move it yourself, model.to({device!r}), or leave `device` out."
        )


def _known(device: str) -> torch.device:
    """The device of a name.

    Raises:
        InvalidArgument: there is none on this machine.
    """
    import torch

    try:
        known = torch.device(device)
        # A name may be a device that PyTorch knows and this machine lacks: only its use tells.
        torch.empty(0, device=known)
    except Exception as error:  # an unknown word, a PyTorch without CUDA, fewer GPUs than that
        raise InvalidArgument(
            f"`device` must be one that PyTorch has here, such as 'cpu' or 'cuda': {one_line(error)}. "
            f"{received(device)} Leave it out for the CPU."
        ) from error
    return known
