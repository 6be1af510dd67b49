"""What goes from the process of a run to others and back: functions, parts, and errors, as bytes of pickle.

Read are only bytes that processes of one run have sent each other, as all of Ray's are.
"""

from __future__ import annotations

import os
import pickle
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradsight.errors import InvalidType, ModelError, one_line
from gradsight.photos import without_frames

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Raised:
    """An error, as a value: Ray would begin the part again, and tell it in its own words."""

    error: BaseException


@dataclass(frozen=True)
class Home:
    """Where the process of a run looks for modules; other machines have the same folders, or the modules installed.

    Attributes:
        folder: the current one.
        paths: those of `sys.path`.
    """

    folder: str
    paths: tuple[str, ...]

    @classmethod
    def of_this_process(cls) -> Home:
        """That of the run."""
        return cls(os.getcwd(), tuple(path for path in sys.path if path))

    def find_modules(self) -> None:
        """Let modules be found here that the run's process finds."""
        # Behind those of this process: on another machine its own packages come first.
        sys.path += [path for path in self.paths if path not in sys.path]

    def enter(self) -> None:
        """As `find_modules`, in the same current folder; for a process that nobody else uses."""
        self.find_modules()
        with suppress(OSError):  # another machine may have no such folder
            os.chdir(self.folder)


def loaded(function: bytes, argument: str) -> object:
    """Call what `sendable` packed, in another process.

    Raises:
        InvalidType: its modules are not there.
    """
    try:
        called = pickle.loads(function)  # noqa: S301 - of this run's own process
    except (ImportError, AttributeError) as error:
        raise InvalidType(
            f"`{argument}` must be made of code that is installed where the workers are: {one_line(error)}. Install it "
            "there, or put it into the folder that the run is started in."
        ) from error
    return called()


def sendable(value: object, argument: str) -> bytes:
    """A function as bytes, for `loaded` in another process.

    Raises:
        InvalidType: it holds what no other process can have.
    """
    from ray import cloudpickle

    try:
        # Not Python's own: classes of a script and of a notebook go along with what is made of them.
        packed: bytes = cloudpickle.dumps(value)
    except Exception as error:  # whatever the objects of users raise
        raise InvalidType(
            f"`{argument}` must be something that can be sent to other processes, and that cannot: {one_line(error)}. "
            "Name what it is read from, such as a folder, a list or a file, or use engine='local'."
        ) from error
    return packed


def packed(number: int, value: object) -> pyarrow.Table:
    """A numbered value as a table of one row, which is how Ray Data hands it on."""
    import pyarrow

    content = pickle.dumps(value, protocol=5)
    return pyarrow.table({"number": [number], "content": pyarrow.array([content], pyarrow.large_binary())})


def unpacked(table: pyarrow.Table) -> tuple[int, object]:
    """The number and the value of `packed`."""
    content = table["content"][0].as_py()
    return table["number"][0].as_py(), pickle.loads(content)  # noqa: S301 - of this run's own processes


def sent(error: BaseException) -> BaseException:
    """An error that goes to another process; where it came from stays in a note of it."""
    without_frames(error)
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - what was just written
    except Exception:  # classes of users may be made in ways that pickle does not know
        return ModelError(f"{type(error).__name__}: {one_line(error)}")
    return error
