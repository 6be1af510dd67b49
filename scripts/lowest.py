"""Print the lowest versions that pyproject.toml allows, one requirement a line, for `make test-bounds`.

Left out are the tools that check the code and build site and release, and the peers that maps are compared with,
which are pinned anyway.
Versions given as arguments go before those declared: ``python scripts/lowest.py torch==2.13.0``.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
# tensorflow is declared for users; the tests install tensorflow-cpu, which is the same package with less in it
LEFT_OUT = ("gradsight", "tensorflow", "captum", "grad-cam", "tf-explain", "tf-keras-vis", "torchcam")
LEFT_OUT += ("lightning", "peft", "scikit-image")
DECLARED = re.compile(r"(?P<name>[\w.-]+)(?:\[[^]]*\])?\s*(?:>=|==)\s*(?P<version>[\w.]+)")


def lowest(project: dict[str, object], given: dict[str, str]) -> list[str]:
    """The requirements, in the order of letters."""
    groups = project["optional-dependencies"].items()
    extras = [line for name, lines in groups if name not in ("dev", "docs", "release") for line in lines]
    declared = [DECLARED.match(line) for line in (*project["dependencies"], *extras)]
    versions = {found["name"]: found["version"] for found in declared if found and found["name"] not in LEFT_OUT}
    return sorted(f"{name}=={version}" for name, version in (versions | given).items())


if __name__ == "__main__":
    chosen = dict(argument.split("==") for argument in sys.argv[1:])
    print("\n".join(lowest(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"], chosen)))
