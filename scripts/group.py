"""Print what a group of pyproject.toml asks for, each in quotes, for an install without the package itself.

python scripts/group.py docs
"""

from __future__ import annotations

import shlex
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"

if __name__ == "__main__":
    groups = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    print(shlex.join(groups[sys.argv[1]]))
