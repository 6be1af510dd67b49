"""Networks that answer questions, describe scenes and match them with texts; they are told words and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import scenes
import worlds
from scenes import COLOURS, SHAPES, Scene, Thing
from worlds import FEATURES, WIDTH, WORDS, tokens

ASKED = ("square", "circle")


class Answers(nn.Module):
    """The colour that a question asks for: the question scales the channels of every cell (FiLM, arXiv:1709.07871)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = worlds.pretrained()
        self.embedding = nn.Embedding(len(WORDS), 16)
        self.reader = nn.GRU(16, 32, batch_first=True)
        self.film = nn.Linear(32, 2 * FEATURES)
        self.fused = nn.Sequential(nn.ReLU(), nn.Conv2d(FEATURES, WIDTH, 1), nn.ReLU())
        self.head = nn.Linear(WIDTH, len(COLOURS))

    def forward(self, pixels: torch.Tensor, question: torch.Tensor) -> torch.Tensor:
        scale, shift = self.film(self.reader(self.embedding(question))[0][:, -1])[..., None, None].chunk(2, 1)
        return self.head(self.fused(self.encoder(pixels) * (1 + scale) + shift).amax((2, 3)))


def question(shape: str) -> list[int]:
    return tokens(f"what colour is the {shape} ?")


def asked_scene(rng: np.random.Generator) -> Scene:
    """A square, a circle, and in half of the scenes one thing more."""
    others = [(str(rng.choice(["triangle", "cross"])), None)] * int(rng.integers(2))
    return scenes.scene(rng, [*((shape, None) for shape in ASKED), *others])


def _answer_loss(net: Answers, batch: Sequence[Scene]) -> Any:
    """Of both questions about each picture: what they have in common answers neither."""
    questions = torch.tensor([question(shape) for shape in ASKED for _ in batch])
    colours = [list(COLOURS).index(scene.things[i].colour) for i in range(len(ASKED)) for scene in batch]
    pixels = scenes.tensor(batch).repeat(len(ASKED), 1, 1, 1)
    return F.cross_entropy(net(pixels, questions), torch.tensor(colours))


def answers(steps: int = 250) -> Answers:
    return worlds.trained(Answers, asked_scene, _answer_loss, steps=steps, count=32)


class Captions(nn.Module):
    """The next word at each step: a GRU reads the words so far and attends to the cells."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = worlds.pretrained()
        self.embedding = nn.Embedding(len(WORDS), 32)
        self.reader = nn.GRU(32, 64, batch_first=True)
        self.query, self.key = nn.Linear(64, 32), nn.Linear(64, 32)
        self.head, self.seen = nn.Linear(64, len(WORDS)), nn.Linear(64, len(WORDS))

    def forward(self, pixels: torch.Tensor, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        cells = self.encoder(pixels).flatten(2).transpose(1, 2)
        words, _ = self.reader(self.embedding(tokens))
        attention = (self.query(words) @ self.key(cells).transpose(1, 2) / 32**0.5).softmax(-1)
        return {"logits": self.head(words) + self.seen(attention @ cells)}

    @torch.no_grad()
    def greedy(self, pixels: torch.Tensor, steps: int = 8) -> torch.Tensor:
        """The likeliest word at each step, (n, 1 + steps), the start first."""
        found = torch.full((len(pixels), 1), WORDS.index("<start>"))
        for _ in range(steps):
            found = torch.cat((found, self(pixels, found)["logits"][:, -1:].argmax(-1)), 1)
        return found


def noun_phrase(thing: Thing) -> str:
    return f"a {thing.colour} {thing.shape}"


def caption(things: Sequence[Thing]) -> str:
    """``<start> a red square and a blue circle <end>``."""
    return f"<start> {' and '.join(map(noun_phrase, things))} <end>"


def described_scene(rng: np.random.Generator) -> Scene:
    """Two things of different shapes and colours, neither before the other."""
    chosen = [rng.permutation(list(names))[:2] for names in (SHAPES, COLOURS)]
    return scenes.scene(rng, [(str(shape), str(colour)) for shape, colour in zip(*chosen, strict=True)])


def _caption_loss(net: Captions, batch: Sequence[Scene]) -> Any:
    words = torch.tensor([tokens(caption(scene.things)) for scene in batch])
    return F.cross_entropy(net(scenes.tensor(batch), words[:, :-1])["logits"].flatten(0, 1), words[:, 1:].flatten())


def captions(steps: int = 300) -> Captions:
    return worlds.trained(Captions, described_scene, _caption_loss, steps=steps)


class Similarity(nn.Module):
    """Pictures and texts in one space, as in CLIP (arXiv:2103.00020)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = worlds.gathered(FEATURES)
        self.image_head = nn.Linear(FEATURES, 32)
        self.embedding = nn.Embedding(len(WORDS), 32)
        self.reader = nn.GRU(32, 64, batch_first=True)
        self.text_head = nn.Linear(64, 32)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The embedding of each picture, of length 1."""
        return F.normalize(self.image_head(self.encoder(pixels).amax((2, 3))), dim=-1)

    def embed_text(self, words: torch.Tensor) -> torch.Tensor:
        """The embedding of each text, of length 1."""
        return F.normalize(self.text_head(self.reader(self.embedding(words))[0][:, -1]), dim=-1)


def embed_text(net: Similarity, text: str) -> torch.Tensor:
    """The embedding of one text, (1, 32)."""
    with torch.no_grad():
        return net.embed_text(torch.tensor([tokens(text)]))


def _similarity_loss(net: Similarity, batch: Sequence[Scene]) -> Any:
    """InfoNCE: each picture's own text among the others that are not true of it as well, and each text's picture."""
    texts = [noun_phrase(scene.things[i % 2]) for i, scene in enumerate(batch)]
    true = torch.tensor([[text in map(noun_phrase, scene.things) for text in texts] for scene in batch])
    cosines = net(scenes.tensor(batch)) @ net.embed_text(torch.tensor([tokens(text) for text in texts])).T
    own = torch.arange(len(batch))
    logits = (cosines * net.scale.exp()).masked_fill(true & ~torch.eye(len(batch), dtype=torch.bool), -torch.inf)
    return F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)


def similarity(steps: int = 300) -> Similarity:
    return worlds.trained(Similarity, worlds.pair, _similarity_loss, steps=steps)
