"""A process that has imported all that a run needs, and forks a ``gradsight`` command for each line that it reads.

So a command begins at once, and can be killed at whatever it does. Each line is JSON: ``words`` of the command, where
its ``output`` goes, and how it is disturbed: ``after`` seconds, or ``at`` a place ``[name, n]``, the n-th time that it
is about to do that; ``bytes`` that a file may have at most. The answer is its exit status.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

import torch  # noqa: F401 - what a command would import

import gradsight.cli.app
import gradsight.runs.engines.local as local
import running
from gradsight.runs import parts


def killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def counted(owner: object, name: str, n: int) -> None:
    """Be killed at the n-th call of a function."""
    real, calls = getattr(owner, name), iter(range(n - 1, -1, -1))

    def calling(*arguments: object, **options: object) -> object:
        if not next(calls, 1):
            killed()
        return real(*arguments, **options)

    setattr(owner, name, calling)


def half_written(n: int) -> None:
    """Be killed when half of the n-th part is written."""
    real, calls = parts._write, iter(range(n - 1, -1, -1))

    def writing(rows: object, file: io.BufferedWriter) -> None:
        if not next(calls, 1):
            whole = io.BytesIO()
            real(rows, whole)
            file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
            file.flush()
            killed()
        real(rows, file)

    parts._write = writing


def disturb(wish: dict) -> None:
    """Let what is wished for happen to this process."""
    local._SECONDS = 0.0  # a part for each block: many writes in a short run
    place, n = wish.get("at") or ("", 0)
    if place == "write":
        half_written(n)
    elif place:
        counted({"fsync": os, "replace": Path}[place], place, n)
    if wish.get("bytes") is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python has it: an error, and no death
        resource.setrlimit(resource.RLIMIT_FSIZE, (wish["bytes"], resource.RLIM_INFINITY))


def command(wish: dict) -> None:
    """Be the command, to its end."""
    output = os.open(wish["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.setsid()
    disturb(wish)
    sys.argv = ["gradsight", *wish["words"]]
    gradsight.cli.main()


for line in sys.stdin:
    wish = json.loads(line)
    child = running.forked(lambda wish=wish: command(wish))
    if wish.get("after") is not None:
        time.sleep(wish["after"])
        os.kill(child, signal.SIGKILL)  # it is ours until it is waited for
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
