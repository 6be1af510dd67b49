"""Which layers give the output tokens of the blocks of a transformer, and a pass that goes on with their means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keras import ops

from gradsight.backends.attention import BlockOutput, is_like
from gradsight.backends.keras.engines.protocol import Start
from gradsight.backends.keras.outputs import is_floating
from gradsight.backends.keras.tap import Call, Numbered, Tap
from gradsight.backends.keras.view import View
from gradsight.backends.wanted import Wanted
from gradsight.errors import ModelError
from gradsight.foreign import Array

_WAY_OUT = "Use another method of attention, such as 'gradientrollout'."


class Tokens(Tap):
    """A tap that starts at every call of every layer, and tells how many attentions ran before each ended.

    Attributes:
        outputs: of calls whose output has the tokens of another, by name, in the order in which they ended.
    """

    def __init__(self, start: Start, view: View, like: Sequence[int]) -> None:
        """Look for outputs with the tokens of one of shape ``like``."""
        super().__init__()
        self.outputs: list[tuple[str, BlockOutput]] = []
        self._start, self._view, self._like = start, view, like
        self._numbered, self._attended = Numbered(), 0

    def attended(self, weights: Array) -> Array:
        """Count an attention."""
        self._attended += 1
        return weights

    def __call__(self, call: Call) -> Array:
        """Start at a call's output, if it can be differentiated by it."""
        name = self._numbered.name(call)
        if name is None or not is_floating(call.output):
            return call.output
        # What is handed through is the output of whoever made it.
        if not any(call.output is x for x in call.tensors) and is_like(call.output.shape, self._like):
            composite = bool(self._view.children(call.layer))
            self.outputs.append((name, BlockOutput(type(call.layer).__name__, composite, self._attended)))
        return self._start(name, call.output)


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
        self._blocks = blocks
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
        if len(self._means) < len(self._blocks):
            return output
        if any(tuple(mean.shape) != tuple(self._means[-1].shape) for mean in self._means):
            shapes = ", ".join(str(tuple(mean.shape)) for mean in self._means)
            raise ModelError(
                "the blocks of this model have tokens of different kinds, so that what one forms cannot stand in the "
                f"place of what the last one forms. Received: mean tokens of shape {shapes}. {_WAY_OUT}"
            )
        filled = [ops.broadcast_to(mean, ops.shape(output)) for mean in self._means]
        return ops.concatenate([output, *filled], axis=self._rows)

    def check(self) -> None:
        """Check that every block gave its output.

        Raises:
            ModelError: one did not run.
        """
        if len(self._means) < len(self._blocks):
            raise ModelError(
                f"of the layers that give the tokens of the model's blocks, {', '.join(self._blocks)}, only "
                f"{len(self._means)} ran. {_WAY_OUT}"
            )
