"""The command line, ``gradsight``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and end the process: status 0 all done, 1 some images failed, 2 wrong usage."""
    try:
        from gradsight.cli.app import app
        from gradsight.cli.streams import own_process
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich", "click"):
            raise
        sys.stderr.write(f"The command line needs {error.name}, which is not installed: pip install 'gradsight[cli]'\n")
        sys.exit(2)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a label must not fail on a terminal without its letters
    with own_process():
        try:
            app(prog_name="gradsight")
        except KeyboardInterrupt:  # outside of a command, which Typer ends with the same status
            sys.exit(130)
