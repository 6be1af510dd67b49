"""Maps look at the right thing where the right thing is known: small trained networks, and scenes they never saw."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import gradsight as gs
import scenes
import worlds
import worlds_places
import worlds_words
from scenes import COLOURS, SHAPES, SIZE, Scene, Thing

pytestmark = [pytest.mark.slow, pytest.mark.pytorch, pytest.mark.timeout(600)]
HOW_MANY = 200


def detected(outputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, q, shapes, with one more for nothing if there is one) and boxes (n, q, 4), cx, cy, w, h in shares."""
    if isinstance(outputs, dict):
        return outputs["logits"], outputs["pred_boxes"]
    return outputs[:, 4:].transpose(1, 2), outputs[:, :4].transpose(1, 2) / SIZE


def overlaps(boxes: torch.Tensor, wanted: Sequence[int]) -> torch.Tensor:
    """Intersection over union (n, q) with a (top, left, bottom, right) in pixels."""
    other = torch.tensor(worlds_places.centre_box(wanted))
    low = torch.maximum(boxes[..., :2] - boxes[..., 2:] / 2, other[:2] - other[2:] / 2)
    high = torch.minimum(boxes[..., :2] + boxes[..., 2:] / 2, other[:2] + other[2:] / 2)
    shared = (high - low).clamp(min=0).prod(-1)
    return shared / (boxes[..., 2:].prod(-1) + other[2:].prod() - shared)


def on(thing: Thing, explanation: gs.Explanation, image: int = 0, target: int = 0) -> bool:
    """Whether the map peaks on the thing."""
    region = explanation.region(image, target)
    return region is not None and bool(thing.mask[region.peak])


def share(what: str, found: Sequence[bool], at_least: float, fewest: int = 150) -> None:
    """Print and hold how often something is so."""
    print(f"{what}: {np.mean(found):.3f} of {len(found)}")
    assert len(found) >= fewest
    assert np.mean(found) >= at_least, what


@pytest.fixture(scope="module")
def answering() -> Any:
    return worlds_words.answers()


def test_the_map_of_an_answer_is_on_the_thing_that_the_question_asks_for(answering: Any) -> None:
    held_out = worlds.drawn(worlds_words.asked_scene, HOW_MANY)
    hits = []
    for place, shape in enumerate(worlds_words.ASKED):
        questions = torch.tensor([worlds_words.question(shape)] * HOW_MANY)
        explanation = gs.Explainer(answering, labels=list(COLOURS))(
            {"pixels": scenes.tensor(held_out), "question": questions}
        )
        right = [row[0] == scene.things[place].colour for row, scene in zip(explanation.labels, held_out, strict=True)]
        share(f"questions about the {shape} answered right", right, 0.95)
        hits.append(
            [r and on(x.things[place], explanation, i) for i, (r, x) in enumerate(zip(right, held_out, strict=True))]
        )
        share(
            f"answers about the {shape} that peak on it",
            [hit for hit, r in zip(hits[-1], right, strict=True) if r],
            0.9,
        )
    share("scenes where the peak moves with the question", np.logical_and(*hits).tolist(), 0.9)


@pytest.fixture(scope="module")
def captioning() -> Any:
    return worlds_words.captions()


@pytest.mark.parametrize(("place", "at"), [(0, 2), (1, 6)])
def test_the_map_of_a_word_is_on_what_it_names(place: int, at: int, captioning: Any) -> None:
    """Step ``at`` gives the noun, the step before it its colour."""
    held_out = worlds.drawn(worlds_words.described_scene, HOW_MANY)
    pixels = scenes.tensor(held_out)
    written = captioning.greedy(pixels)
    described = [in_order(scene, words) for scene, words in zip(held_out, written.tolist(), strict=True)]
    share("captions written right", [bool(things) for things in described], 0.9)
    explainer = gs.Explainer(captioning, labels=list(worlds.WORDS))
    inputs = {"pixels": pixels, "tokens": written[:, :-1]}
    for kind, step in (("noun", at), ("colour", at - 1)):
        explanation = explainer(inputs, targets=[gs.Token(word, step) for word in written[:, step + 1].tolist()])
        found = [on(things[place], explanation, i) for i, things in enumerate(described) if things]
        share(f"maps of {kind} {place + 1} that peak on its thing", found, 0.85)


def in_order(scene: Scene, words: Sequence[int]) -> tuple[Thing, ...]:
    """The things of a scene as a right caption names them; none if it is wrong."""
    orders = (scene.things, scene.things[::-1])
    return next((things for things in orders if worlds.tokens(worlds_words.caption(things)) == list(words)), ())


@pytest.fixture(scope="module")
def matching() -> Any:
    return worlds_words.similarity()


@pytest.mark.parametrize("place", [0, 1])
def test_the_map_of_a_similarity_is_on_what_the_text_names(place: int, matching: Any) -> None:
    held_out = worlds.drawn(worlds.pair, HOW_MANY)
    pixels, phrases = scenes.tensor(held_out), [f"a {colour} {shape}" for colour in COLOURS for shape in SHAPES]
    with torch.no_grad():
        embedded = torch.cat([worlds_words.embed_text(matching, phrase) for phrase in phrases])
        nearest = (matching(pixels) @ embedded.T).topk(2, 1).indices.tolist()
    own = [[phrases.index(worlds_words.noun_phrase(thing)) for thing in scene.things] for scene in held_out]
    right = [sorted(a) == sorted(b) for a, b in zip(nearest, own, strict=True)]
    share("pictures whose own two texts are the nearest of 16", right, 0.9)
    explainer = gs.Explainer(matching, embed_text=partial(worlds_words.embed_text, matching))
    texts = [worlds_words.noun_phrase(scene.things[place]) for scene in held_out]
    explanation = explainer(pixels, targets=[gs.Similarity(text=text) for text in texts])
    cosines = (matching(pixels).detach() * embedded[[row[place] for row in own]]).sum(1)
    np.testing.assert_allclose(explanation.scores[:, 0], cosines, rtol=1e-4)
    found = [on(x.things[place], explanation, i) for i, x in enumerate(held_out) if right[i]]
    share(f"similarities to thing {place + 1} that peak on it", found, 0.85)


@pytest.fixture(scope="module")
def naming() -> Any:
    return worlds_places.shapes()


def test_of_two_classes_each_map_is_on_its_own_thing(naming: Any) -> None:
    held_out, right = named_right(naming)
    own = [[thing.shape for thing in scene.things] for scene in held_out]
    explanation = gs.Explainer(naming, labels=SHAPES)(scenes.tensor(held_out), targets=own)
    for place in range(2):
        found = [on(x.things[place], explanation, i, place) for i, x in enumerate(held_out) if right[i]]
        share(f"maps of class {place + 1} of two that peak on its thing", found, 0.95)


def test_what_speaks_against_a_class_is_not_the_thing_itself(naming: Any) -> None:
    """Nor need it be the other thing: where labels do not exclude each other, one says nothing about another."""
    held_out, right = named_right(naming)
    for place in range(2):
        elsewhere, _ = against(naming, [x for x, r in zip(held_out, right, strict=True) if r], place)
        share(f"maps against class {place + 1} of two that peak elsewhere", elsewhere, 0.95)


def test_where_classes_exclude_each_other_the_other_thing_speaks_against_one() -> None:
    """As in the paper's section 3.3; trained on scenes of one thing, the network names those of two less surely."""
    net, held_out = worlds_places.rivals(), worlds.drawn(worlds.pair, HOW_MANY)
    with torch.no_grad():
        best = net(scenes.tensor(held_out)).topk(2, 1).indices
    right = [
        {SHAPES[i] for i in row} == {x.shape for x in scene.things} for row, scene in zip(best, held_out, strict=True)
    ]
    share("scenes whose two shapes are the best two classes", right, 0.7)
    for place in range(2):
        elsewhere, other = against(net, [x for x, r in zip(held_out, right, strict=True) if r], place)
        share(f"maps against class {place + 1} of two that peak elsewhere", elsewhere, 0.95, fewest=120)
        share("of these on the other thing", other, 0.75, fewest=120)


def against(net: Any, held_out: Sequence[Scene], place: int) -> tuple[list[bool], list[bool]]:
    """Whether what speaks against one thing's class peaks off this thing, and whether on the other one."""
    target = gs.Against([scene.things[place].shape for scene in held_out])
    explanation = gs.Explainer(net, labels=SHAPES)(scenes.tensor(held_out), targets=target)
    spoken = [i for i in range(len(held_out)) if explanation.region(i) is not None]
    elsewhere = [not on(held_out[i].things[place], explanation, i) for i in spoken]
    return elsewhere, [on(held_out[i].things[1 - place], explanation, i) for i in spoken]


def named_right(net: Any) -> tuple[list[Scene], list[bool]]:
    """Held-out scenes of two shapes, and of which the network knows exactly these."""
    held_out = worlds.drawn(worlds.pair, HOW_MANY)
    with torch.no_grad():
        found = net(scenes.tensor(held_out)) > 0
    true = torch.tensor([[shape in {thing.shape for thing in x.things} for shape in SHAPES] for x in held_out])
    right = (found == true).all(1).tolist()
    share("scenes whose shapes are all named right", right, 0.95)
    return held_out, right


@pytest.fixture(scope="module")
def segmenting() -> Any:
    return worlds_places.segments()


@pytest.mark.parametrize("whole", [False, True], ids=["box", "whole picture"])
def test_the_map_of_a_segment_is_on_the_thing(whole: bool, segmenting: Any) -> None:
    held_out = worlds.drawn(worlds_places.some, HOW_MANY)
    pixels, classes = scenes.tensor(held_out), ["background", *SHAPES]
    with torch.no_grad():
        found = segmenting(pixels).argmax(1)
    right = (found == worlds_places.segments_of(held_out)).float().mean()
    print(f"pixels given their class: {right:.4f}")
    assert right > 0.97
    explainer, hits = gs.Explainer(segmenting, labels=classes), []
    for scene, row, segment in zip(held_out, pixels, found, strict=True):
        for thing in scene.things:
            if (segment[torch.from_numpy(thing.mask)] == classes.index(thing.shape)).float().mean() > 0.5:
                target = gs.Pixels(thing.shape, box=None if whole else thing.box)
                hits.append(on(thing, explainer(row[None], targets=target)))
    share("segments whose map peaks on the thing", hits, 0.9)


@pytest.fixture(scope="module", params=["yolo", "detr"])
def detecting(request: pytest.FixtureRequest) -> Any:
    return getattr(worlds_places, request.param)()


def test_the_map_of_a_box_is_on_the_thing_in_it(detecting: Any) -> None:
    """Where queries attend to cells, HiResCAM's: what a cell says is learned only where a query looks.

    Grad-CAM's weights, the means of all gradients, take it from everywhere.
    """
    by_attention = isinstance(detecting, worlds_places.Detr)
    found = hits_of_boxes(detecting, "hirescam" if by_attention else "gradcam", beside_its_equal=False)
    share("boxes whose map peaks on the thing", found, 0.9)
    if by_attention:
        print(f"with Grad-CAM: {np.mean(hits_of_boxes(detecting, 'gradcam', beside_its_equal=False)):.3f}")


def test_of_two_equal_things_hirescam_is_on_the_one_in_the_box(detecting: Any) -> None:
    """Grad-CAM averages its gradients over the positions, so that it shows each of the two alike."""
    found = hits_of_boxes(detecting, "hirescam", beside_its_equal=True)
    share("boxes whose HiResCAM peaks on the thing, not on its equal", found, 0.9, fewest=100)
    found = hits_of_boxes(detecting, "gradcam", beside_its_equal=True)
    print(f"with Grad-CAM: {np.mean(found):.3f}")


def hits_of_boxes(net: Any, method: str, beside_its_equal: bool) -> list[bool]:
    """Of the things that are found, whether their maps peak on them; those alone of their shape, or those not."""
    explainer, hits, right = gs.Explainer(net, method=method, labels=list(SHAPES)), [], []
    for scene in worlds.drawn(worlds_places.any_things, HOW_MANY):
        pixels, shapes = scenes.tensor([scene]), [thing.shape for thing in scene.things]
        with torch.no_grad():
            outputs = net(pixels)
        for thing in scene.things:
            right.append(is_found(outputs, thing))
            if right[-1] and (shapes.count(thing.shape) > 1) == beside_its_equal:
                hits.append(on(thing, explainer(pixels, targets=gs.Box(thing.shape, thing.box))))
    share("things found in their box", right, 0.9)
    return hits


def is_found(outputs: Any, thing: Thing) -> bool:
    """Whether the detector puts the shape in a box that overlaps the thing's by more than half."""
    logits, boxes = detected(outputs)
    column, inside = SHAPES.index(thing.shape), overlaps(boxes, thing.box)[0] > 0.5
    likely = (logits.argmax(-1) == column)[0]
    if not isinstance(outputs, dict):
        likely &= logits[0, :, column] > 0
    return bool((inside & likely).any())
