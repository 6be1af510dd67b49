"""What the reader of a map must know before trusting it: a code for machines, a sentence for people."""

from __future__ import annotations

from dataclasses import dataclass, field

from gradsight.checks import taken
from gradsight.rules import Text


@dataclass(frozen=True)
class Note:
    """One thing to know about a map.

    Attributes:
        code: a stable snake_case word, the same in every version, such as ``"zero_map"``; programs read it.
        text: a sentence for people. An option in it is named as it is typed in Python.
        in_shell: the same sentence where options are named as they are typed on the command line; ``text`` by default.

    Raises:
        InvalidType: one of them is no text.

    >>> note = Note("zero_map", "the map is zero everywhere")
    >>> print(note)
    the map is zero everywhere
    >>> note.code, note.in_shell == note.text
    ('zero_map', True)
    """

    code: str
    text: str
    in_shell: str = field(default="", repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("code", "text", "in_shell"):
            taken(name, getattr(self, name), Text())
        if not self.in_shell:
            # Set past the frozen dataclass, as the default of one field by another has to be.
            object.__setattr__(self, "in_shell", self.text)

    def __str__(self) -> str:
        return self.text


OLDER = "text"
"""The code of a note from a file that was written when notes had no codes."""
