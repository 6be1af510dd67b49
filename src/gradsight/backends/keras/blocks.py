"""Which layers give the output tokens of the blocks of a transformer, and a pass that goes on with their means."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from keras import ops

from gradsight.backends.keras.engines.protocol import Start
from gradsight.backends.keras.outputs import is_floating
from gradsight.backends.keras.tap import Call, Numbered, Tap
from gradsight.backends.wanted import Wanted
from gradsight.errors import ModelError
from gradsight.foreign import Array

_WAY_OUT = "Use another method of attention, such as 'attentionrollout', or 'gradcam'."


@dataclass(frozen=True)
class TokensSeen:
    """One call of a layer.

    Attributes:
        name: of the call, ``path#i``.
        kind: of the layer.
        shape: of its output.
        attended: how many attentions had run when it ended.
    """

    name: str
    kind: type
    shape: tuple[int | None, ...]
    attended: int


class Tokens(Tap):
    """A tap that starts at every call of every layer, and tells how many attentions ran before each ended.

    Attributes:
        calls: in the order in which they ended.
    """

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.calls: list[TokensSeen] = []
        self._start, self._numbered, self._attended = start, Numbered(), 0

    def attended(self, weights: Array) -> Array:
        """Count an attention."""
        self._attended += 1
        return weights

    def __call__(self, call: Call) -> Array:
        """Start at a call's output, if it can be differentiated by it."""
        name = self._numbered.name(call)
        if name is None or not is_floating(call.output):
            return call.output
        self.calls.append(TokensSeen(name, type(call.layer), tuple(call.output.shape), self._attended))
        return self._start(name, call.output)


def blocks_between(
    calls: Sequence[TokensSeen], cuts: Collection[str], like: Sequence[int], numbers: Sequence[int]
) -> list[str]:
    """By attention, the layer that gives the output of its block: the last cut between it and the next attention.

    Args:
        calls: of layers, in the order in which they ended.
        cuts: the names of those that are cuts of the graph.
        like: the shape of tokens; others may differ in their channels, the last axis.
        numbers: the attentions, ascending.

    Raises:
        ModelError: a block has no such layer.
    """
    able = [call for call in calls if call.name in cuts and call.shape[:-1] == tuple(like)[:-1]]
    last = len(calls)
    blocks = []
    for number, following in zip(numbers, [*numbers[1:], last], strict=True):
        block = [call for call in able if number < call.attended <= following]
        if not block:
            raise ModelError(
                f"no layer gives the tokens behind attention {number} of this model, from which all that follows is "
                f"computed, so that what its block forms cannot be told. {_WAY_OUT}"
            )
        blocks.append(block)
    # Behind the last one comes what no other block ends with, such as a normalisation: blocks end in layers of a kind.
    kinds = {block[-1].kind for block in blocks[:-1]} or {blocks[-1][0].kind}
    ends = [call for call in blocks[-1] if call.kind in kinds] or blocks[-1]
    return [*(block[-1].name for block in blocks[:-1]), ends[-1].name]


class Averaged(Tap):
    """A tap by which no block depends on those before, and which adds rows that hold the mean token of each block.

    Behind the last block come n rows as they are, and n more for each block, all of whose tokens are its mean.
    """

    def __init__(self, blocks: Sequence[str], known_calls: Mapping[str, int], axes: Sequence[int]) -> None:
        """Take the means of blocks.

        Args:
            blocks: the names of the calls that give their outputs, in order.
            known_calls: how often layers ran before.
            axes: of the outputs, that of the rows, and those of the tokens.
        """
        super().__init__()
        self._wanted = Wanted(blocks, known_calls)
        self._left = len(blocks)
        self._means: list[Array] = []
        self._rows, *tokens = axes
        self._tokens = tuple(tokens)

    def __call__(self, call: Call) -> Array:
        """Take the mean of a block, and stop there; the last block's output goes on with all means."""
        name = self._wanted.called(call.path)
        if name is None:
            return call.output
        self._means.append(ops.mean(call.output, axis=self._tokens, keepdims=True))
        output = ops.stop_gradient(call.output)
        if len(self._means) < self._left:
            return output
        filled = [ops.broadcast_to(mean, ops.shape(output)) for mean in self._means]
        return ops.concatenate([output, *filled], axis=self._rows)
