"""Models of transformers."""

from gradsight.models.sources.hf.models import huggingface

__all__ = ["huggingface"]
