"""Whether packages work, which only their import tells: one may be installed and broken, or of the wrong version."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

_LONGEST = 120
"""Seconds that the import of one family of packages may take."""

_FAMILIES = ({"keras", "tensorflow", "jax"},)
"""Packages that are imported beside the others in a process of their own: each family takes seconds."""

# A line for each package that fails: its name, and why. What they print themselves goes elsewhere.
_CODE = """
import importlib, os, sys
told = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        words = " ".join(str(error).split()) or type(error).__name__
        told.write(f"{name}\\t{name}: {type(error).__name__}: {words[:300]}\\n")
    else:
        told.write(f"{name}\\t\\n")
    told.flush()
"""


def failures(packages: Sequence[str]) -> dict[str, str]:
    """Why packages cannot be used, by name; those that can be are not in it.

    They are imported in other processes: this one stays light, and lives if one of them crashes.
    """
    names = list(dict.fromkeys(packages))
    # What is not there needs no process to tell it.
    missing = {name: f"{name} is not installed." for name in names if find_spec(name) is None}
    there = [name for name in names if name not in missing]
    families = [[name for name in there if name in family] for family in _FAMILIES]
    rest = [name for name in there if not any(name in family for family in _FAMILIES)]
    # Threads only wait here: the imports run side by side in processes.
    with ThreadPoolExecutor(len(families) + 1) as threads:
        tried = list(threads.map(_tried, [rest, *families]))
    return {**missing, **{name: why for found in tried for name, why in found.items()}}


def _tried(names: Sequence[str]) -> dict[str, str]:
    """Why each of some packages cannot be imported, one after the other in one process."""
    if not names:
        return {}
    # The same Python, so that it looks for packages where this one does.
    command = [sys.executable, "-c", _CODE, *names]
    # The current folder is not searched: a file of the user's named torch.py is no package.
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        # errors="replace": packages may print bytes that are no UTF-8. timeout: one that hangs must not hang the list.
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=_LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        return dict.fromkeys(names, f"the import of {', '.join(names)} takes over {_LONGEST} seconds.")
    told = dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
    # One that ends the process says nothing any more, and those after it were not tried: each by itself tells.
    silent = [name for name in names if name not in told]
    if len(names) == 1:
        told |= dict.fromkeys(silent, f"{names[0]}: the process that imports it ends with status {done.returncode}.")
    else:
        for name in silent:
            told[name] = _tried([name]).get(name, "")
    return {name: why for name, why in told.items() if why and name in names}
