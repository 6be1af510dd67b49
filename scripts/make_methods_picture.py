"""Writes docs/methods.jpg: every method on the bundled photo, by `gradsight compare`. Takes some minutes.

.venv/bin/python scripts/make_methods_picture.py
.venv/bin/python scripts/make_methods_picture.py --photo dog_cat.jpg --class "bull mastiff" --class boxer --out x.jpg
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from gradsight.registry import METHODS

ROOT = Path(__file__).parents[1]

# With fewer samples than their default, which are tens of thousands of passes.
FEWER = {"sscam": "sscam(samples=2)", "iscam": "iscam(samples=2)"}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, default=ROOT / "src/gradsight/data/cat_and_coffee.jpg")
    parser.add_argument("--class", dest="classes", action="append", help="Egyptian cat and espresso if not given")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/methods.jpg")
    return parser.parse_args()


def main() -> None:
    asked = parsed()
    methods = [part for name in METHODS for part in ("--method", FEWER.get(name, name))]
    classes = [part for name in asked.classes or ["Egyptian cat", "espresso"] for part in ("--class", name)]
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "methods.png"
        command = ["-c", "from gradsight.cli import main; main()", "compare", str(asked.photo), *methods, *classes]
        subprocess.run([sys.executable, *command, "--out", str(picture)], check=True)
        grid = Image.open(picture).convert("RGB")
        grid.thumbnail((1800, 1800), Image.Resampling.LANCZOS)
        grid.save(asked.out, quality=82, optimize=True)


if __name__ == "__main__":
    main()
