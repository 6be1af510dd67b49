"""The command line, ``gradsight``."""

from gradsight.cli.process import main

__all__ = ["main"]
