"""The batch that a model is given: the image in it, what belongs to each image, and whose each row is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence

from gradsight.contracts import Kind, Rows
from gradsight.foreign import Array, Inputs
from gradsight.layouts import Layout
from gradsight.recent import Recent


class Batches(ABC):
    """What batches of one model hold. How a framework nests and repeats arrays is told by its own class.

    Attributes:
        rows: by `kind` of inputs, how the model takes their rows, where that was asked for.
    """

    def __init__(self) -> None:
        """Nothing is known of any batch."""
        self.rows: Recent[Kind, Rows] = Recent()

    @abstractmethod
    def flat(self, inputs: Inputs) -> list[Array]:
        """All that the inputs are nested of, in the user's own order; what is no tensor too."""

    @abstractmethod
    def filled(self, inputs: Inputs, values: Iterable[object]) -> Inputs:
        """Inputs nested like these, of other values."""

    @abstractmethod
    def form(self, inputs: Inputs) -> Hashable:
        """How inputs are nested, and in which order."""

    @abstractmethod
    def is_tensor(self, value: object) -> bool:
        """Whether something is a tensor of the framework."""

    @abstractmethod
    def image(self, inputs: Inputs) -> Array:
        """The image among the inputs, which maps are drawn on: of those with most axes the first.

        Raises:
            ModelError: there is none.
        """

    @abstractmethod
    def image_layout(self, inputs: Inputs) -> Layout:
        """How the image is laid out."""

    @abstractmethod
    def cast(self, array: Array, like: Array) -> Array:
        """An array in the precision of another."""

    @abstractmethod
    def repeated(self, rows: Array, times: int) -> Array:
        """Rows repeated as a whole: row j is row j % n."""

    def rows_at_once(self, image: Array) -> int:
        """How many rows pass a model quickest, as far as that is known of the device that images are on."""
        return max(1, len(image))

    def count(self, inputs: Inputs) -> int:
        """How many images a batch holds."""
        return len(self.image(inputs))

    def size(self, inputs: Inputs) -> tuple[int, ...]:
        """The image's positions, such as (224, 224).

        Raises:
            ModelError: no input has positions.
        """
        return self.image_layout(inputs).grid

    def channel_axis(self, inputs: Inputs) -> int:
        """Which axis of one image of a batch, without that of the batch, holds its channels."""
        return self.image_layout(inputs).axes[1] - 1

    def kind(self, inputs: Inputs) -> Kind:
        """What tells inputs apart, whatever the number of rows: how they are nested, in which order, and shapes."""
        return self.form(inputs), tuple(map(self._shape, self.flat(inputs)))

    def _shape(self, value: Array) -> tuple[int, ...] | type:
        return tuple(value.shape[1:]) if self.is_tensor(value) else type(value)

    def extras(self, inputs: Inputs) -> tuple[int, ...]:
        """Which tensors beside the image have as many rows, counted in their order."""
        image = self.image(inputs)
        values = enumerate(self.flat(inputs))
        return tuple(i for i, x in values if x is not image and self.has_rows(x, len(image)))

    def by_image(self, inputs: Inputs, shared: frozenset[int] | None = None) -> tuple[bool, ...]:
        """Which values of the inputs have a row for each image, but for those that are the same for every one.

        Args:
            inputs: a batch.
            shared: which tensors, counted in their order, are the same for every image, however many rows they have;
                None for what was found out, see `rows`.
        """
        if shared is None:
            known = self.rows.get(self.kind(inputs))
            shared = frozenset() if known is None else known.shared
        n = self.count(inputs)
        return tuple(i not in shared and self.has_rows(x, n) for i, x in enumerate(self.flat(inputs)))

    def with_image(
        self, inputs: Inputs, image: Array, times: int = 1, *, shared: frozenset[int] | None = None
    ) -> Inputs:
        """The inputs with another image, and ``times`` times as often whatever is by image.

        Args:
            inputs: a batch.
            image: the other image, (times * n, ...).
            times: how often the rest is repeated.
            shared: as in `by_image`.
        """
        old, values = self.image(inputs), self.flat(inputs)
        # The same array may be two of the inputs, of which the first is the image.
        place = next(i for i, x in enumerate(values) if x is old)
        # Where nothing is repeated, rows are not counted: of inputs that are traced their number may not be known.
        marks = (False,) * len(values) if times == 1 else self.by_image(inputs, shared)
        values = [self.repeated(x, times) if by_image else x for x, by_image in zip(values, marks, strict=True)]
        values[place] = self.cast(image, old)
        return self.filled(inputs, values)

    def row(self, inputs: Inputs, i: int, times: int = 1, *, shared: frozenset[int] | None = None) -> Inputs:
        """A batch of image ``i`` and what belongs to it, ``times`` times; ``shared`` as in `by_image`."""
        marks = self.by_image(inputs, shared)
        values = zip(self.flat(inputs), marks, strict=True)
        return self.filled(inputs, [self.repeated(x[i : i + 1], times) if by_image else x for x, by_image in values])

    def some(self, inputs: Inputs, rows: slice, marks: Sequence[bool]) -> Inputs:
        """Some rows of a batch, with what belongs to them; ``marks`` as `by_image` gives them."""
        values = zip(self.flat(inputs), marks, strict=True)
        return self.filled(inputs, [x[rows] if by_image else x for x, by_image in values])

    def more(self, inputs: Inputs, times: int) -> Inputs:
        """The inputs, ``times`` times as often whatever is by image."""
        return self.with_image(inputs, self.repeated(self.image(inputs), times), times)

    def has_rows(self, value: Array, n: int) -> bool:
        """Whether something is a tensor with a row for each of n images."""
        return self.is_tensor(value) and value.ndim > 0 and len(value) == n
