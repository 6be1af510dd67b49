"""PyTorch: any `torch.nn.Module`, and nothing of it is touched (see `view`)."""

from gradsight.backends.torch.backend import TorchBackend
from gradsight.backends.torch.model import TorchModel

__all__ = ["TorchBackend", "TorchModel"]
