"""Several explanations, as a call with several layers or methods gives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from gradsight.checks import taken
from gradsight.results import html
from gradsight.results.explanation import Explanation
from gradsight.rules import Each, Instance

_EACH = Each(Instance(Explanation, "a gs.Explanation"), range(1 << 20))


class Explanations(tuple[Explanation, ...]):
    """A tuple of explanations, which notebooks show; in all else a plain tuple.

    Calls with several layers or methods give one. Of explanations of your own, ``gs.Explanations([one, other])`` makes
    one: a plain tuple cannot show what is in it.

    Raises:
        InvalidType: there is something else among them.

    >>> from gradsight.results.example import example
    >>> one = example()
    >>> Explanations([one]) == (one,)
    True
    """

    __slots__ = ()

    def __new__(cls, explanations: Iterable[Explanation] = ()) -> Self:
        """Make one of explanations."""
        return super().__new__(cls, taken("explanations", explanations, _EACH, "Pass [one, other]."))

    def _repr_html_(self) -> str:
        """Shown by notebooks: the explanations one under the other."""
        return html.of_several(self)


def each_of(found: Explanation | Explanations) -> tuple[Explanation, ...]:
    """One explanation or several, as several."""
    return (found,) if isinstance(found, Explanation) else found
