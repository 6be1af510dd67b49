"""What a backend does to show a model with other weights in some of its layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from gradsight.backends.randomising import Groups, groups
from gradsight.cached import cached_property
from gradsight.contracts import Kind
from gradsight.foreign import Inputs
from gradsight.recent import Recent

if TYPE_CHECKING:
    from gradsight.backends.backend import ModelBackend
    from gradsight.backends.trial import See


class Unlearning(ABC):
    """A part of `backend.ModelBackend`.

    Attributes:
        mark: what divides a layer's name from those around it.
    """

    mark: str

    @abstractmethod
    def kind(self, inputs: Inputs) -> Kind:
        """What tells inputs apart, whatever the number of rows."""

    @abstractmethod
    def row(self, inputs: Inputs, i: int) -> Inputs:
        """A batch of image ``i`` alone, with what belongs to it."""

    @abstractmethod
    def watch(self, several: Sequence[Inputs], see: See) -> None:
        """Run several inputs one after the other; ``see(number, call, output)`` sees what each call of layers gave."""

    @abstractmethod
    def holders(self) -> Sequence[str]:
        """The names of the layers that hold weights of their own; ``""`` for the model itself."""

    @abstractmethod
    def randomised(self, layers: Collection[str], seed: int) -> ModelBackend[Any]:
        """The same model with other weights in some layers; see `contracts.Probe.randomised`."""

    def weighted(self, inputs: Inputs) -> Groups:
        """By layer, as they run, the names of all whose weights it uses; found out once for each kind of inputs."""

        def made() -> Groups:
            calls: list[str] = []
            self.watch([self.row(inputs, 0)], lambda _number, call, _output: calls.append(call))
            return groups(calls, self.holders(), self.mark)

        return self._weighted.of(self.kind(inputs), made)

    @cached_property
    def _weighted(self) -> Recent[Kind, Groups]:
        return Recent()
