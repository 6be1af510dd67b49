"""An explanation to play with in a notebook: another class, another method, more or less of the photo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from gradsight.errors import GradsightError, one_line, printable
from gradsight.registry import METHODS
from gradsight.results.again import Again, Explains
from gradsight.results.canvas import canvas_of, tables
from gradsight.results.explanation import Explanation
from gradsight.results.wording import share

_HERE = Path(__file__).parent

_MOST = 3000
"""Classes that are listed by name; of more only the best few are, since a list of all would be megabytes."""

_OF = "class "
"""What the key of a class begins with; that of the explanation's own targets is their number."""


class Widget(anywidget.AnyWidget):
    """One image of an explanation, with its controls; see `Explanation.widget`.

    What the browser sets is checked as anybody's: a class or method that there is not is told in ``message``.

    Args:
        explanation: what is shown first.
        image: which of its images.
        explainer: of the model; by default what made the explanation.
    """

    _esm = _HERE / "widget.js"
    _css = _HERE / "widget.css"

    photo = traitlets.Bytes().tag(sync=True)
    heat = traitlets.Bytes().tag(sync=True)
    signed = traitlets.Bool().tag(sync=True)
    colormaps = traitlets.Dict().tag(sync=True)
    colormap = traitlets.Unicode().tag(sync=True)
    opacity = traitlets.Float(0.5).tag(sync=True)
    by_value = traitlets.Bool(True).tag(sync=True)
    choices: traitlets.List[Any] = traitlets.List().tag(sync=True)
    choice = traitlets.Unicode("0").tag(sync=True)
    methods: traitlets.List[Any] = traitlets.List().tag(sync=True)
    method = traitlets.Unicode().tag(sync=True)
    caption = traitlets.Unicode().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)
    # The last that changes of an answer, so that the browser draws once.
    answer = traitlets.Int(0).tag(sync=True)

    def __init__(self, explanation: Explanation, image: int, explainer: Explains | None = None) -> None:
        super().__init__()
        self._explanation, self._image = explanation, image
        self._again = Again(explanation, image, explainer)
        self.methods = list(dict.fromkeys([explanation.method, *_cheap()]))
        self.method = explanation.method
        self.choices = self._groups()
        self._show()
        # Last: what is set above is no wish of the browser's.
        self.observe(self._asked, ["choice", "method"])

    def _groups(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """What can be chosen: the explanation's own targets, what the model thinks of, all classes."""
        own = self._explanation.targets[self._image]
        groups = [("Explained", [(str(j), printable(target.label)) for j, target in enumerate(own)])]
        if self._explanation.predictions:
            best = self._explanation.predictions[self._image]
            said = [(f"{_OF}{p.index}", f"{printable(p.label)} {share(p.probability)}") for p in best]
            groups.append(("What the model says", said))
        labels = self._again.labels
        if 0 < len(labels) <= _MOST:
            groups.append(("All classes", [(f"{_OF}{i}", printable(label)) for i, label in enumerate(labels)]))
        return groups

    def _asked(self, change: Any) -> None:
        del change
        try:
            self._show()
        except GradsightError as error:
            self._said(str(error))
        except Exception as error:  # of the user's model: a traceback in a cell of another time helps nobody
            self._said(f"{type(error).__name__}: {one_line(error)}.")

    def _said(self, message: str) -> None:
        self.message = message
        self.answer += 1

    def _show(self) -> None:
        """Draw what is chosen."""
        # Asked each time: the model may have been trained since this class was looked at.
        explanation, image, target = self._explained(self.choice, self.method)
        drawn = canvas_of(explanation, image, target)
        # Of another sign other colour maps fit; else the one that was chosen stays.
        if not self.colormaps or drawn.signed != self.signed:
            self.colormaps = tables(drawn.signed)
            self.colormap = next(iter(self.colormaps))
        self.photo, self.heat, self.signed = drawn.photo, drawn.heat, drawn.signed
        score = float(explanation.scores[image, target])
        self.caption = (
            f"{printable(explanation.targets[image][target].label)}, score {score:.2f}. {explanation.heading}"
        )
        self._said(" ".join(self._notes(explanation, image, target)))

    def _notes(self, explanation: Explanation, image: int, target: int) -> list[str]:
        notes = [printable(str(note)) for note in explanation.target_notes[image][target]]
        if self._again.changed:
            notes.append("The model has changed since this explanation was made: other classes show it as it is now.")
        return notes

    def _explained(self, choice: str, method: str) -> tuple[Explanation, int, int]:
        """The explanation of a choice, with the numbers of the image and of the target in it.

        Raises:
            GradsightError: there is no such choice, or the model cannot be asked.
        """
        own = {str(j): target.index for j, target in enumerate(self._explanation.targets[self._image])}
        if choice in own and method == self._explanation.method:
            return self._explanation, self._image, int(choice)
        index = own.get(choice) if choice in own else _index(choice)
        if index is None:
            raise GradsightError("Only classes can be explained again here: this target is another thing.")
        return self._again.of(index, method), 0, 0


def _index(choice: str) -> int | None:
    digits = choice.removeprefix(_OF)
    return int(digits) if choice.startswith(_OF) and digits.isdecimal() and len(digits) < 10 else None


def _cheap() -> list[str]:
    """Methods of few passes, without those that say nothing of the model."""
    return [name for name, method in METHODS.items() if not method.costly and not method.control]
