"""Programs that PyTorch exported to files."""

from gradsight.models.sources.pt2.exported import load

__all__ = ["load"]
