"""Photos as they go through: what came of each."""

from __future__ import annotations

from dataclasses import dataclass

from gradsight.results.explanation import Explanation


@dataclass(frozen=True, eq=False)
class Explained:
    """A photo of a stream, explained.

    Attributes:
        photo: as it was given.
        explanations: one for each layer and method, each of this photo alone.
    """

    photo: object
    explanations: tuple[Explanation, ...]

    @property
    def explanation(self) -> Explanation:
        """The first of them, which is the only one where one layer and one method were asked for."""
        return self.explanations[0]


@dataclass(frozen=True, eq=False)
class Failed:
    """A photo of a stream that could not be read or explained.

    Attributes:
        photo: as it was given.
        error: why, in words; without the frames that it went through, which hold memory.
    """

    photo: object
    error: Exception


Outcome = Explained | Failed
"""What came of a photo."""


_MEMORY = ("OutOfMemoryError", "ResourceExhaustedError")
"""PyTorch's and TensorFlow's errors, which are no MemoryError."""

_MEMORY_WORDS = ("RESOURCE_EXHAUSTED", "can't allocate memory", "out of memory")


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an error is for want of memory, also where another one tells of it."""
    if error is None:
        return False
    known = isinstance(error, MemoryError) or type(error).__name__ in _MEMORY
    return known or any(word in str(error) for word in _MEMORY_WORDS) or out_of_memory(error.__cause__)
