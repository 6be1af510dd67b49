"""Writes docs/targets/*.png: maps of answers, words, segments, boxes, classes and similarities of small networks.

The networks are those of the tests, trained on scenes of coloured shapes. Takes some minutes.

.venv/bin/python scripts/make_target_pictures.py
.venv/bin/python scripts/make_target_pictures.py answers caption
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image

import gradsight as gs
from gradsight import imaging
from gradsight.cli.neurons import Asked, tell_neurons
from gradsight.cli.options import ReplyOptions
from gradsight.cli.output import Output
from gradsight.photos import photo_at

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))

import torchvision_shim  # noqa: E402

torchvision_shim.install()

import worlds  # noqa: E402
import worlds_neurons  # noqa: E402
import worlds_places  # noqa: E402
import worlds_words  # noqa: E402
from scenes import COLOURS, SHAPES, SIZE, Scene  # noqa: E402

ENLARGED = 3
HEIGHT = ENLARGED * SIZE
PREPROCESS = gs.Preprocess((SIZE, SIZE), fit="squash", mean=(0.5,) * 3, std=(0.5,) * 3)

Panel = tuple[Image.Image, str]


def photo(scene: Scene) -> Image.Image:
    return Image.fromarray(scene.image).resize((ENLARGED * SIZE,) * 2, Image.Resampling.NEAREST)


def explainer(net: Any, **settings: Any) -> gs.Explainer:
    return gs.Explainer(net, preprocess=PREPROCESS, **settings)


def answers() -> list[list[Panel]]:
    net, rows = worlds_words.answers(), []
    for scene in worlds.drawn(worlds_words.asked_scene, 2):
        row = [(photo(scene), "photo")]
        for shape in worlds_words.ASKED:
            question = torch.tensor([worlds_words.question(shape)])
            feed = with_words("question", question)
            explanation = explainer(net, labels=list(COLOURS), feed=feed)([photo(scene)])
            row.append((explanation.overlay(), f"colour of the {shape}: {explanation.labels[0][0]}"))
        rows.append(row)
    return rows


def with_words(name: str, words: torch.Tensor) -> Callable[[Any], Any]:
    """The inputs of a network that takes words beside the picture."""
    return lambda pixels: {"pixels": pixels, name: words.numpy().repeat(len(pixels), 0)}


def caption() -> list[list[Panel]]:
    net, rows = worlds_words.captions(), []
    for scene in worlds.drawn(worlds_words.described_scene, 1):
        words = net.greedy(worlds.scenes.tensor([scene]))
        shown = explainer(net, feed=with_words("tokens", words[:, :-1]), labels=list(worlds.WORDS))
        written = [worlds.WORDS[word] for word in words[0, 1:].tolist()]
        named = [(word, at) for at, word in enumerate(written) if word in (*COLOURS, *SHAPES)]
        explanation = shown([photo(scene)], targets=gs.Several(*(gs.Token(word, at) for word, at in named)))
        rows.append([(explanation.overlay(0, j), word) for j, (word, _) in enumerate(named)])
    return rows


def segmentation() -> list[list[Panel]]:
    net, rows = worlds_places.segments(), []
    shown = explainer(net, labels=["background", *SHAPES])
    for scene in worlds.drawn(worlds.pair, 2):
        row = [(photo(scene), "photo")]
        for thing in scene.things:
            box = [ENLARGED * side for side in thing.box]
            explanation = shown([photo(scene)], targets=gs.Pixels(thing.shape, box=box))
            row.append((explanation.overlay(), f"{thing.shape} in the box"))
        rows.append(row)
    return rows


def detection() -> list[list[Panel]]:
    nets = {"gradcam": worlds_places.yolo(), "hirescam": worlds_places.detr()}
    rows = []
    for (method, net), scene in zip(nets.items(), worlds.drawn(worlds.pair, 2), strict=True):
        row = [(photo(scene), f"{type(net).__name__}, {method}")]
        for thing in scene.things:
            target = gs.Box(thing.shape, [ENLARGED * side for side in thing.box])
            explanation = explainer(net, method=method, labels=list(SHAPES))([photo(scene)], targets=target)
            row.append((explanation.overlay(), f"{thing.shape} in the box"))
        rows.append(row)
    return rows


def two_classes() -> list[list[Panel]]:
    shown, rows = explainer(worlds_places.rivals(), labels=SHAPES), []
    for scene in worlds.drawn(worlds.pair, 2):
        one, other = (thing.shape for thing in scene.things)
        row = [(photo(scene), "photo")]
        for target, words in ((one, one), (other, other), (gs.Against(one), f"against {one}")):
            row.append((shown([photo(scene)], targets=target).overlay(), words))
        rows.append(row)
    return rows


def similarity() -> list[list[Panel]]:
    net, rows = worlds_words.similarity(), []
    for scene in worlds.drawn(worlds.pair, 2):
        row = [(photo(scene), "photo")]
        for text in map(worlds_words.noun_phrase, scene.things):
            shown = explainer(net, embed_text=partial(worlds_words.embed_text, net))
            row.append((shown([photo(scene)], targets=gs.Similarity(text=text)).overlay(), text))
        rows.append(row)
    return rows


def neurons(folder: Path) -> None:
    """Write what ``gradsight neurons`` draws, of the network whose channels the tests check one by one."""
    net = worlds_neurons.trained()
    with TemporaryDirectory() as scratch:
        concepts = Path(scratch) / "concepts"
        worlds_neurons.write_concepts(concepts, worlds_neurons.scenes_of(2, worlds_neurons.SEEN))
        asked = Path(scratch) / "scene.png"
        photo(worlds.drawn(worlds.pair, 1)[0]).save(asked)
        shown = explainer(net, labels=worlds_neurons.CLASSES, layer="11", name="shapes and colours")
        question = Asked(photo_at(asked), concepts, [], count=3, examples=4, least=0.04, by="alpha", quantile=0.005)
        tell_neurons(shown, gs.Classes("square"), question, Output(Path(scratch)), ReplyOptions())
        drawn = Image.open(Path(scratch) / "scene.neurons.square.png").convert("RGB")
        small = drawn.resize((1200, round(1200 * drawn.height / drawn.width)), Image.Resampling.LANCZOS)
        small.save(folder / "neurons.jpg", quality=80, optimize=True)


PICTURES = (answers, caption, segmentation, detection, two_classes, similarity)


def main() -> None:
    torch.set_num_threads(1)
    folder = ROOT / "docs/targets"
    folder.mkdir(exist_ok=True)
    if len(sys.argv) == 1 or "neurons" in sys.argv[1:]:
        neurons(folder)
    for draw in PICTURES:
        if len(sys.argv) > 1 and draw.__name__ not in sys.argv[1:]:
            continue
        strips = [imaging.strip(row, height=HEIGHT) for row in draw()]
        page = Image.new("RGB", (max(x.width for x in strips), sum(x.height for x in strips)), "white")
        for i, strip in enumerate(strips):
            page.paste(strip, (0, sum(x.height for x in strips[:i])))
        page.save(folder / f"{draw.__name__}.png", optimize=True)


if __name__ == "__main__":
    main()
