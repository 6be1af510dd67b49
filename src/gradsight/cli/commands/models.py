"""``gradsight models``."""

from __future__ import annotations

from gradsight.cli.groups import command
from gradsight.cli.options import JsonOptions


@command("gradsight models --json")
def models(reply: JsonOptions) -> None:
    """List where models can come from, and whether what each needs is installed and works."""
    from gradsight.cli.importable import failures
    from gradsight.cli.streams import need_stdout
    from gradsight.cli.terminal import say, say_json, say_table, waiting
    from gradsight.registry import SOURCES

    need_stdout("the list")
    sources = list(SOURCES.values())
    # Frameworks take seconds to import, during which nothing else would be seen.
    with waiting("importing what the sources need"):
        failed = failures([package for source in sources for package in source.needs()])
    why = [next((failed[package] for package in source.needs() if package in failed), "") for source in sources]
    # JSON has the reasons in every row; for people each is said once, below the table.
    if reply.as_json:
        for source, reason in zip(sources, why, strict=True):
            ready = {"installed": not reason, "install": source.install, "problem": reason or None}
            say_json({"scheme": source.name, "title": source.title, "example": source.example, **ready})
        return
    states = [f"no: {source.install}" if reason else "yes" for source, reason in zip(sources, why, strict=True)]
    say_table(
        ("--model", "ready", "what it loads"),
        [(source.example, state, source.title) for source, state in zip(sources, states, strict=True)],
    )
    for reason in dict.fromkeys(filter(None, why)):
        say(("Not ready: ", "yellow"), reason)
    say()
    say("Use one: ", (f"gradsight explain photo.jpg --model {sources[-1].example}", "cyan"))
