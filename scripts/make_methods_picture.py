"""Writes docs/methods.jpg: every method on the bundled photo, by `gradsight compare`. Takes some minutes.

.venv/bin/python scripts/make_methods_picture.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from gradsight.registry import METHODS

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "src/gradsight/data/cat_and_coffee.jpg"

# With fewer samples than their default, which are tens of thousands of passes.
FEWER = {"sscam": "sscam(samples=2)", "iscam": "iscam(samples=2)"}

if __name__ == "__main__":
    methods = [part for name in METHODS for part in ("--method", FEWER.get(name, name))]
    classes = ["--class", "Egyptian cat", "--class", "espresso"]
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "methods.png"
        command = ["-c", "from gradsight.cli import main; main()", "compare", str(PHOTO), *methods, *classes]
        subprocess.run([sys.executable, *command, "--out", str(picture)], check=True)
        Image.open(picture).convert("RGB").save(ROOT / "docs/methods.jpg", quality=82, optimize=True)
