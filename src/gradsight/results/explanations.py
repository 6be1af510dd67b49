"""Several explanations, as a call with several layers or methods gives them."""

from __future__ import annotations

from gradsight.results import html
from gradsight.results.explanation import Explanation


class Explanations(tuple[Explanation, ...]):
    """A tuple of explanations, which notebooks show; in all else a plain tuple.

    >>> from gradsight.results.example import example
    >>> one = example()
    >>> Explanations([one]) == (one,)
    True
    """

    __slots__ = ()

    def _repr_html_(self) -> str:
        """Shown by notebooks: the explanations one under the other."""
        return html.of_several(self)
