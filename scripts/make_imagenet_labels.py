"""Writes src/gradsight/data/imagenet_labels.json from the WordNet names that timm carries (Apache-2.0).

One row for each ImageNet class, in the order of its index: the display name, then its synonyms. Display names differ
from each other, whatever their case; a synonym may be shared ("crane" is a bird and a machine).

    .venv/bin/python scripts/make_imagenet_labels.py
"""

import json
from importlib.util import find_spec
from pathlib import Path

OUT = Path(__file__).parents[1] / "src/gradsight/data/imagenet_labels.json"

# WordNet gives these pairs one name, or names that differ only in case.
DISPLAY = {
    "n02012849": "crane (bird)",
    "n03126707": "crane (machine)",
    "n02113186": "Cardigan Welsh corgi",
    "n03710637": "maillot (tights)",
    "n03710721": "maillot (bathing suit)",
}


def names() -> list[list[str]]:
    """Read the 1000 rows of names, in the order of the class index."""
    timm = find_spec("timm")  # found, not imported: importing it would load torch and torchvision
    if timm is None or not timm.submodule_search_locations:
        raise SystemExit("timm is not installed: `make test` installs it.")
    info = Path(timm.submodule_search_locations[0]) / "data/_info"
    synsets = (info / "imagenet_synsets.txt").read_text().split()
    lemmas = dict(line.split("\t") for line in (info / "imagenet_synset_to_lemma.txt").read_text().splitlines())
    rows = []
    for synset in synsets:
        words = lemmas[synset].split(", ")
        display = DISPLAY.get(synset, words[0])
        rows.append([display, *(word for word in words if word != display)])
    if len(rows) != 1000 or len({row[0].lower() for row in rows}) != 1000:
        raise SystemExit("expected 1000 classes with 1000 different display names")
    return rows


if __name__ == "__main__":
    OUT.write_text("[\n" + ",\n".join(json.dumps(row) for row in names()) + "\n]\n")
