"""What is counted while a model is trained."""

from __future__ import annotations

from gradsight.rules import Choice

WHEN = Choice(("epoch", "step"), "moment")
"""Snapshots are taken after epochs, or after steps of the optimizer."""
