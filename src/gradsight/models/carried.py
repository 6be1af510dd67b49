"""The preprocessing that a bare module carries, where it says what pictures it was trained on; else the usual one."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from gradsight.foreign import Module
from gradsight.imaging import PARTS, Preprocess
from gradsight.models.keras.backend import is_keras
from gradsight.models.keras.inputs import preprocess_of as preprocess_of_keras
from gradsight.models.preprocess import GREY
from gradsight.models.sources.timm import preprocess_of as preprocess_of_timm
from gradsight.rules import Sides

if TYPE_CHECKING:
    from torch import nn

_WRAPPED = ("module", "model", "base_model", "_orig_mod")
"""Where modules that wrap one of the user's have it: DataParallel, LightningModules, PEFT, torch.compile."""

_LAYERS_WITH_SIZE = ("", "patch_embed", "trunk", "visual")
"""Where a module may say the size of its pictures: itself, and the parts that cut them into patches."""


def preprocess_carried(model: Module) -> Preprocess | None:
    """A preprocessing for a bare module, as far as the module itself says one.

    ========================  ==========================================================================================
    timm                      what its ``pretrained_cfg`` says
    transformers              what the image processor does that is in the local cache under the model's name; nothing
                              is downloaded
    Keras                     the size of its input, and what its name says; see `keras.inputs.preprocess_of`
    any other of PyTorch      ImageNet's usual one, at the size that it was built for if it has one (``image_size``);
                              grey for a first convolution with one channel
    ========================  ==========================================================================================

    torchvision's modules do not say it: their weights do, as ``gs.Model(module, preprocess=weights.transforms())``.

    Returns:
        A preprocessing, whose guessed parts are marked as assumed, which a note tells. None where the model takes no
        photos.
    """
    if is_keras(model):
        return preprocess_of_keras(model)
    # Not imported: where nobody has imported it, no module is of PyTorch.
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(model, torch.nn.Module):
        return None
    inner = list(_inner(model))
    for module in inner:
        # A wrapper may be around either of them, so each module is asked, from the outside in.
        found = _of_timm(module) or _of_transformers(module)
        if found is not None:
            return found
    return _usual(inner)


def _inner(model: nn.Module) -> Iterator[nn.Module]:
    """The module, and what it is wrapped around."""
    modules: list[nn.Module] = [model]
    while modules:
        module = modules.pop()
        yield module
        children = dict(module.named_children())
        # A wrapper has little beside it, such as a loss; with more children it is a network of its own.
        modules += [children[name] for name in _WRAPPED if name in children and len(children) <= 2]


def _of_timm(module: nn.Module) -> Preprocess | None:
    config = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    library = sys.modules.get("timm")  # whoever made such a module has imported it
    if not isinstance(config, Mapping) or library is None or not {"input_size", "mean", "std"} <= set(config):
        return None
    try:
        found = preprocess_of_timm(library.data.resolve_model_data_config(module))
    except Exception:  # a configuration of the user's own, which is none of timm's after all
        return None
    # timm's configuration is that of the pretrained network, whatever ``in_chans`` this one was made with.
    if found is not None and _channels(module) == 1 and len(found.mean or (0.0,)) == 3:
        return replace(found, mean=GREY[0], std=GREY[1], fill=0.5, assumed=("mean", "std"))
    return found


def _of_transformers(module: nn.Module) -> Preprocess | None:
    library = sys.modules.get("transformers")
    config = getattr(module, "config", None)
    name = getattr(config, "name_or_path", "")
    if library is None or not isinstance(config, library.PretrainedConfig) or not isinstance(name, str) or not name:
        return None
    from gradsight.models.sources.hf.processor import preprocess_of
    from gradsight.models.sources.hf.quiet import quiet

    try:
        with quiet(library):
            processor = library.AutoImageProcessor.from_pretrained(
                name, backend="pil", trust_remote_code=False, local_files_only=True
            )
        return preprocess_of(processor)
    except Exception:  # it is not in the cache, is damaged, or needs code of its author's
        return None


def _usual(modules: list[nn.Module]) -> Preprocess | None:
    """ImageNet's preprocessing, with the size and the channels that the modules say."""
    channels = next((found for module in modules if (found := _channels(module))), 3)
    # It takes signals, volumes or pictures of other channels: no photo can be made for it.
    if channels not in (1, 3):
        return None
    # ImageNet's, since most networks for photos are trained on it, or from one that was.
    usual = Preprocess(assumed=PARTS)
    if channels == 1:
        usual = replace(usual, mean=GREY[0], std=GREY[1])
    size = next((side for module in modules if (side := _size(module)) is not None), None)
    if size is None:
        return usual
    return replace(usual, size=size, assumed=tuple(part for part in PARTS if part != "size"))


def _channels(module: nn.Module) -> int:
    """How many channels the first convolution takes; -1 where it is of signals or volumes, 0 where there is none."""
    for part in module.modules():
        channels, kernel = getattr(part, "in_channels", None), getattr(part, "kernel_size", None)
        if isinstance(channels, int) and isinstance(kernel, tuple):
            return channels if len(kernel) == 2 else -1
    return 0


def _size(module: nn.Module) -> tuple[int, int] | None:
    """The size of pictures that a module says it was built for."""
    holders = [module if name == "" else getattr(module, name, None) for name in _LAYERS_WITH_SIZE]
    holders.append(getattr(module, "config", None))
    vision = getattr(getattr(module, "config", None), "vision_config", None)
    for holder in [*holders, vision]:
        for name in ("image_size", "img_size"):
            found = Sides().read(getattr(holder, name, None))
            if found is not None and min(found) > 1:
                return found[0], found[1]
    return None
