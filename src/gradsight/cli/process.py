"""A process of the command line, from its start to its status."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line and end the process: status 0 all done, 1 some images failed, 2 wrong usage."""
    # Imports make half a million objects that stay. To look through them again and again for what can be thrown away
    # takes a third of a second; `making.loaded` goes on with it.
    gc.disable()
    try:
        from gradsight.cli.signals import heed

        # First of all: Ctrl-C while the rest is imported ends without a traceback too.
        heed()
        try:
            from gradsight.cli.app import app
            from gradsight.cli.streams import own_process
        except ModuleNotFoundError as error:
            missing = error.name or ""
            # Another module is missing: a fault of ours, which pip install 'gradsight[cli]' would not mend.
            if missing.partition(".")[0] not in ("typer", "rich", "click"):
                raise
            # It is None where the process was started with it closed.
            if sys.stderr is not None:
                sys.stderr.write(
                    f"The command line needs {missing}, which is not installed: pip install 'gradsight[cli]'\n"
                )
            sys.exit(2)
        with own_process():
            app(prog_name="gradsight")
    except KeyboardInterrupt as ended:  # outside of a command, which ends with the same status
        sys.exit(getattr(ended, "status", 130))
