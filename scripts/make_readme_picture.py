"""Writes docs/cat_and_coffee.jpg, the picture in the README: what the embedded model saw in the bundled photo.

.venv/bin/python scripts/make_readme_picture.py
"""

from pathlib import Path

import gradsight as gs

ROOT = Path(__file__).parents[1]

if __name__ == "__main__":
    explanation = gs.explain(ROOT / "src/gradsight/data/cat_and_coffee.jpg", targets=gs.Top(2))
    explanation.figure(height=300).save(ROOT / "docs/cat_and_coffee.jpg", quality=88, optimize=True)
