"""The frameworks, one package each: with model sources and callbacks the only importers of a framework."""

from gradsight.backends.choosing import user_model

__all__ = ["user_model"]
