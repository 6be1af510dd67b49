"""torchvision's models."""

from gradsight.models.sources.torchvision.networks import torchvision

__all__ = ["torchvision"]
