"""What is counted while a model is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradsight.checks import taken
from gradsight.rules import Choice, Instance

if TYPE_CHECKING:
    from gradsight.callbacks.snapshots import Snapshots

WHEN = Choice(("epoch", "step"), "moment")
"""Snapshots are taken after epochs, or after steps of the optimizer."""


def by_step(snapshots: Snapshots, when: str) -> bool:
    """Whether steps are counted, of what a callback is made of.

    Raises:
        InvalidType: these are no snapshots.
        UnknownName: there is no such moment.
    """
    # Who calls with some has imported them.
    from gradsight.callbacks.snapshots import Snapshots

    # When the training begins it would be too late.
    taken("snapshots", snapshots, Instance(Snapshots, "a Snapshots"), "Pass Snapshots(photos, to=to_folder('maps')).")
    return taken("when", when, WHEN) == "step"
