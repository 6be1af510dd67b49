"""The trial that tells how positions of the input reach positions of every layer; see `gradsight.positions`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.cached import cached_property
from gradsight.contracts import Floats, Kind
from gradsight.errors import GradsightError
from gradsight.foreign import Array, Inputs
from gradsight.layers import call_name
from gradsight.locks import Lock
from gradsight.positions import Call, Locations, Positions, resolve_layouts
from gradsight.recent import Recent

if TYPE_CHECKING:
    from gradsight.backends.backend import ModelBackend

See: TypeAlias = Callable[[int, str, Array | None], None]
"""``(number, call, output)``: sees what a call of a layer gave in a pass; None where it holds no real numbers."""

_ROUNDINGS = 2
"""Of how many units of rounding a change says nothing."""

_BLANK = 1e-3
"""An image that varies by less of its largest value is blank."""

_STRENGTH, _COARSE_STRENGTH = 0.1, 0.5
"""The noise, as a share of how much the image varies: models answer it nearly linearly; coarse numbers need more."""

_CHANNELS = 24
_SAMPLES = {1: 768, 2: 28, 3: 10}
"""Of so many channels, and so many positions along an axis where there are so many axes, elements are looked at."""


class Trials:
    """The trials of one model as it is. Threads may share them."""

    def __init__(self) -> None:
        self._done: Recent[Kind, Positions] = Recent()
        self._trying = Lock()

    def of(self, backend: ModelBackend[Any], inputs: Inputs) -> Positions:
        """What the trial of such inputs gave; it is made once for each kind of them."""

        def made() -> Positions:
            with backend.unchanged():  # else what is remembered would be of no model
                return positions_of(backend, inputs)

        kind = backend.kind(inputs)
        known = self._done.get(kind)
        if known is not None:
            return known
        # One at a time: threads that explain images of one new kind would each make the same trial.
        with self._trying:
            return self._done.of(kind, made)


def positions_of(backend: ModelBackend[Any], inputs: Inputs) -> Positions:
    """Push the first image through, once as it is with a pattern, once with noise, and once for each of its axes.

    Args:
        backend: of the model.
        inputs: a batch.
    """
    first, size = backend.row(inputs, 0), backend.size(inputs)
    seen = _looked_at(backend, first)
    names, told = _named(seen), seen.calls
    calls = {name: told[key] for name, key in names.items()}
    usual = {name: backend.usual(key, told[key].shape, first) for name, key in names.items()}
    return resolve_layouts(calls, usual, size)


def _looked_at(backend: ModelBackend[Any], first: Inputs) -> _Seen:
    """What calls gave for images of the first kind that tells anything.

    A model may refuse values that no image has, or make no numbers of them; and a blank image leaves nothing between
    its least value and its greatest.
    """
    seen = None
    # The likeliest first: a pattern upon the image itself, which is of values that the model takes.
    for made in (_around, _from_0_to_1, _within):
        tried = _watched(backend, first, made(backend, first))
        if tried is not None and tried.tells:
            return tried
        seen = seen or tried
    # Of the image alone nothing but shapes can be told; of a model that takes no image alone, not even those.
    return seen or _watched(backend, first, [backend.batches.image(first)]) or _Seen(backend)


def _watched(backend: ModelBackend[Any], first: Inputs, images: Iterable[Array]) -> _Seen | None:
    """What calls gave for images in the place of the first; None where the model fails on them."""
    seen = _Seen(backend)
    try:
        backend.watch([backend.batches.with_image(first, image) for image in images], seen)
    except GradsightError:
        return None
    return seen


def _around(backend: ModelBackend[Any], first: Inputs) -> Iterator[Array]:
    """The image under a pattern, and further noise upon it: even, then growing along each axis.

    The pattern leaves no part blank, where normalisation makes all noise alike.
    """
    values = _values(backend, first)
    largest = float(np.abs(values).max()) or 1.0
    spread = float(values.std(dtype=np.float64))
    return _noisy(backend, first, values, spread if spread > _BLANK * largest else largest)


def _within(backend: ModelBackend[Any], first: Inputs) -> Iterator[Array]:
    """The same, within the values of the image."""
    values = _values(backend, first)
    for image in _noisy(backend, first, values, float(values.std(dtype=np.float64))):
        yield backend.ops.clip(image, float(values.min()), float(values.max()))


def _from_0_to_1(backend: ModelBackend[Any], first: Inputs) -> Iterator[Array]:
    """Noise from 0 to 1 in the place of the image."""
    grey = np.full_like(_values(backend, first), 0.5)
    for image in _noisy(backend, first, grey, 0.15):
        yield backend.ops.clip(image, 0.0, 1.0)


def _values(backend: ModelBackend[Any], first: Inputs) -> NDArray[np.float32]:
    values = np.asarray(backend.numpy(backend.batches.image(first)), np.float32)
    return np.nan_to_num(values, posinf=0.0, neginf=0.0)


def _noisy(backend: ModelBackend[Any], first: Inputs, values: NDArray[np.float32], spread: float) -> Iterator[Array]:
    """Values under a pattern, with no noise upon it, with even noise, and with noise that grows along each axis."""
    image, layout = backend.batches.image(first), backend.batches.image_layout(first)
    generator = np.random.default_rng(0)
    pattern, noise = (generator.standard_normal(values.shape, np.float32) * spread for _ in range(2))
    noise *= _COARSE_STRENGTH if backend.is_coarse(image) else _STRENGTH
    strengths: list[float | NDArray[np.floating]] = [0.0, 1.0]
    for axis, side in zip(layout.axes[2:], layout.grid, strict=True):
        ramp = (np.arange(side, dtype=np.float32) + 0.5) / side
        strengths.append(ramp.reshape([-1 if i == axis else 1 for i in range(values.ndim)]))
    for strength in strengths:
        noisy = values + pattern + strength * noise
        yield backend.ops.asarray(noisy, dtype=image.dtype, device=getattr(image, "device", None))


def _named(seen: _Seen) -> dict[str, str]:
    """The calls by their names."""
    parts = {key: key.partition("#") for key in seen.shapes}
    calls = Counter(module for module, _, _ in parts.values())
    return {call_name(module, int(number), calls): key for key, (module, _, number) in parts.items()}


class _Seen:
    """What the calls of all layers gave in the passes so far.

    Attributes:
        shapes: by call, the shape of its output.
    """

    def __init__(self, backend: ModelBackend[Any]) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._numpy, self._is_coarse = backend.numpy, backend.is_coarse
        self._picked: dict[tuple[str, int], _Picked] = {}

    def __call__(self, number: int, key: str, output: Array | None) -> None:
        """See the output of a call in pass ``number``; None where it holds no numbers."""
        shape = () if output is None else tuple(int(side) for side in output.shape)
        if number == 0:
            self.shapes[key] = shape
        # A call whose shape depends on the image's values cannot be compared over passes.
        if output is not None and self.shapes.get(key) == shape:
            coarse = self._is_coarse(output)
            for axis in _channel_axes(shape):
                if number == 0:
                    self._picked[key, axis] = _Picked(shape, axis)
                self._picked[key, axis].add(output, self._numpy, coarse)

    @cached_property
    def calls(self) -> dict[str, Call]:
        """What each call gave, all passes done."""
        return {key: self._call(key) for key in self.shapes}

    @property
    def tells(self) -> bool:
        """Whether elements of any call look at different places."""
        return any(any(locations.differ) for call in self.calls.values() for locations in call.locations.values())

    def _call(self, key: str) -> Call:
        shape = self.shapes[key]
        looks = {axis: self._picked[key, axis].locations() for axis in _channel_axes(shape)}
        return Call(shape, {axis: locations for axis, locations in looks.items() if locations is not None})


def _channel_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes that could hold channels: the first behind the batch, or the last; none where there are no positions."""
    if len(shape) < 3 or 0 in shape:
        return ()
    return tuple(dict.fromkeys((0 if shape[0] > 1 == shape[1] else 1, len(shape) - 1)))


class _Picked:
    """Some elements of one call's output, over the passes."""

    def __init__(self, shape: tuple[int, ...], axis: int) -> None:
        rest = [side for i, side in enumerate(shape) if i != axis]
        most = _SAMPLES.get(sum(side > 1 for side in rest), min(_SAMPLES.values()))
        generator = np.random.default_rng(0)
        self._axis, self._step = axis, -(-shape[axis] // _CHANNELS)
        self._indices = tuple(
            np.sort(generator.choice(side, most, replace=False)) if side > most else np.arange(side) for side in rest
        )
        self._base: NDArray[np.float64] | None = None
        self._even: NDArray[np.float64] | None = None
        self._energy: NDArray[np.float64] | None = None
        self._moments: list[NDArray[np.float64]] = []
        self._coarse = False

    def add(self, output: Array, numpy: Callable[[Array], Floats], coarse: bool) -> None:
        """Take in the output of the next pass."""
        self._coarse = coarse
        some = tuple(slice(None, None, self._step) if i == self._axis else slice(None) for i in range(output.ndim))
        # Thinned out before it is copied from the device: the outputs of all layers are larger than the model.
        moved: NDArray[np.floating] = np.moveaxis(numpy(output[some]), self._axis, 0)
        values: NDArray[np.float64] = moved[np.ix_(np.arange(len(moved)), *self._indices)].astype(np.float64)
        if self._base is None:
            self._base = values
        elif self._even is None:
            self._even = values - self._base
            self._energy = _halves(self._even**2)
        else:
            self._moments.append(_halves((values - self._base) * self._even))

    def locations(self) -> Locations | None:
        """Where the elements look; None where nothing tells: it was not asked, or they are no numbers."""
        if self._energy is None or not self._moments or self._is_rounding():
            return None
        moments = np.stack(self._moments)
        if not (np.isfinite(self._energy).all() and np.isfinite(moments).all()):
            return None
        return Locations(self._indices, self._energy, moments)

    def _is_rounding(self) -> bool:
        """Whether elements change no more than rounding changes them, as far behind saturated ones."""
        if self._base is None or self._even is None:
            return True
        unit = 2.0**-8 if self._coarse else 2.0**-23
        return bool(np.abs(self._even).mean() <= _ROUNDINGS * unit * np.abs(self._base).mean())


def _halves(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums over every other channel, (2, ...), channels being the first axis."""
    return np.stack([values[0::2].sum(0), values[1::2].sum(0)])
