"""Which calls of a model's attention a layer's tokens reach its scores by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gradsight.attention import NoAttention


class CallSeen(NamedTuple):
    """What the trial saw of one call of an attention, for one image.

    Attributes:
        shape: of its weights.
        reached: whether they change with the image.
    """

    shape: tuple[int, ...]
    reached: bool


@dataclass(frozen=True)
class Linked:
    """The calls by which the layer's tokens reach the scores.

    Attributes:
        numbers: which calls of the pass they are, ascending.
        sequences: of each, its queries' sequence and its keys'.
    """

    numbers: tuple[int, ...]
    sequences: tuple[tuple[int, int], ...]


def linked(seen: Sequence[CallSeen], tokens: int, layer: str) -> Linked:
    """The calls among those that a trial saw by which a layer's tokens reach the scores.

    A sequence is told by its length: that of the layer's tokens first; then whatever asks a known one.

    Raises:
        NoAttention: none is self-attention over the layer's tokens, or something else changes the tokens on the way.
    """
    reached = [call for call in seen if call.reached and not _is_no_attention(call, tokens)]
    first = next((i for i, call in enumerate(reached) if _is_of(call, tokens)), None)
    if first is None:
        raise NoAttention(_none_of(seen, tokens, layer))
    # Where rows hold heads, nothing else tells windows apart from heads than that there are more of them.
    if len({call.shape[0] for call in reached if _is_of(call, tokens) and len(call.shape) == 3}) > 1:
        raise NoAttention(_mixed(reached[first], tokens, layer))
    lengths = [tokens]
    for number, call in enumerate(reached):
        queries, keys = call.shape[-2:]
        # Windows, merged tokens, keys of a lower resolution: their rows are not the layer's tokens, nor those of a
        # sequence that asks them.
        if number < first or keys not in lengths or _rows(call) != 1:
            raise NoAttention(_mixed(call, tokens, layer))
        if queries not in lengths:
            lengths.append(queries)
    # Words attend to each other before the first of them asks the image: those calls belong to it too.
    own = [
        (i, (lengths.index(call.shape[-2]), lengths.index(call.shape[-1])))
        for i, call in enumerate(seen)
        if set(call.shape[-2:]) <= set(lengths) and _rows(call) == 1 and (call.reached or tokens not in call.shape[-2:])
    ]
    return Linked(tuple(i for i, _ in own), tuple(sequences for _, sequences in own))


WAY_OUT = "Use a method of the layer's activations and gradients, such as 'gradcam'."


def _mixed(call: CallSeen, tokens: int, layer: str) -> str:
    return (
        f"the attention of this model is not over the tokens of layer {layer!r} alone: one call has weights of shape "
        f"{call.shape} for one image, where the layer has {tokens} tokens. In windows, or where tokens are pruned or "
        "merged, rows of different calls are not of the same tokens, so that there is no map to make of them. "
        f"{WAY_OUT}"
    )


def _is_of(call: CallSeen, tokens: int) -> bool:
    return call.shape[-2:] == (tokens, tokens) and _rows(call) == 1


def _is_no_attention(call: CallSeen, tokens: int) -> bool:
    """Whether it is a softmax over something else than keys: each token's classes or words, or which expert it takes.

    Keys of other tokens come with heads, which these do not have.
    """
    rows, queries, keys = call.shape[-3:]
    return len(call.shape) == 3 and rows == 1 and queries != keys != tokens


def _rows(call: CallSeen) -> int:
    """How many rows one image has; of three axes the first holds heads, and nothing tells."""
    return call.shape[0] if len(call.shape) == 4 else 1


def _none_of(seen: Sequence[CallSeen], tokens: int, layer: str) -> str:
    if not seen:
        return (
            "no attention was seen in this model: neither a scaled dot product nor a softmax over (n, heads, queries, "
            f"keys). {WAY_OUT}"
        )
    shapes = ", ".join(map(str, dict.fromkeys(call.shape for call in seen)))
    return (
        f"no attention of this model is over the {tokens} tokens of layer {layer!r}. Received: weights of shape "
        f"{shapes} for one image. Name a layer inside of the blocks (`gradsight layers` or `explainer.layers(batch)` "
        f"lists them). {WAY_OUT}"
    )
