"""``gradsight audit``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from gradsight.cli import parsing
from gradsight.cli.commands.show import RunFolder
from gradsight.cli.groups import command
from gradsight.cli.options import RESULT, WHAT, JsonOptions
from gradsight.cli.options.measuring import AuditOptions

if TYPE_CHECKING:
    from gradsight.auditing.audit import Audit

_SHOWN = 8
"""So many findings of each kind are printed; --json and findings.jsonl have all of them."""


@command("gradsight audit run")
def audit(
    run: RunFolder,
    about: AuditOptions,
    *,
    seed: Annotated[int, WHAT.option(metavar="N", min=0, help="Of the photos that are drawn.")] = 0,
    out: Annotated[
        Path | None,
        RESULT.option("--out", "-o", metavar="DIR", parser=parsing.path, help="A folder for findings.jsonl."),
    ] = None,
    fail_on: Annotated[
        str | None,
        RESULT.option("--fail-on", metavar="suspects", help="Exit with 1 where a shortcut is confirmed."),
    ] = None,
    reply: JsonOptions,
) -> int:
    """Say what the maps of a run tell about its model: shortcuts, what it looks at, and what it confuses.

    Places that the maps of a class share are suspects. Each is tested: without it the class's probability should
    fall, and put into photos of other classes it should raise it. Only what does both is called a confirmed shortcut.
    """
    import gradsight as gs
    from gradsight.checks import optional
    from gradsight.cli.running import audits_told
    from gradsight.cli.terminal import complain, say_json
    from gradsight.rules import Choice

    optional("--fail-on", fail_on, Choice(("suspects",), "reason"))
    opened = gs.open_run(run, photos=about.photos)
    with audits_told():
        found = about.audit(opened, seed=seed)
    if out is not None:
        found.save(out)
    if reply.as_json:
        for one in found.to_dicts():
            say_json(one)
    else:
        _say(found)
    for note in found.notes:
        complain(note, "Note")
    return 1 if fail_on and found.confirmed else 0


def _say(found: Audit) -> None:
    from gradsight.cli.terminal import say

    say((found.verdict, "bold"))
    told = Counter[str]()
    for one in found.findings:
        told[one.kind] += 1
        # Of each kind the strongest: fifty confident errors would hide where the classes look.
        if told[one.kind] <= _SHOWN:
            say(f"  {one.kind}: ", one.sentence)
    hidden = {kind: count - _SHOWN for kind, count in told.items() if count > _SHOWN}
    if hidden:
        say(
            f"  and {', '.join(f'{count} more of kind {kind}' for kind, count in hidden.items())}, which --json prints."
        )
