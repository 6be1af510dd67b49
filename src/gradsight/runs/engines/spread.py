"""Parts of a run, spread over the workers of a Ray cluster: Ray Data's ``map_batches``, with the model in actors.

What makes a part is not known here: it is any function of a part that can be sent to another process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from gradsight.errors import ModelError
from gradsight.runs.engines.cluster import Room
from gradsight.runs.engines.sending import Home, Raised, loaded, packed, sendable, sent, unpacked

if TYPE_CHECKING:
    import pyarrow
    from ray.actor import ActorHandle
    from ray.data import Dataset

Part = TypeVar("Part")
Made = TypeVar("Made")

MOST_TRIES = 4
"""So often a part is begun: one that ends each worker that takes it must not go round for ever."""

_AHEAD = 2
"""Parts that a worker has at hand: the next is there when one is done."""

_SETTINGS = {
    "enable_progress_bars": False,
    "print_on_execution_start": False,
    # A block for each part: blocks are cut as soon as they have so many bytes, and never within a row.
    "target_max_block_size": 1,
    "target_min_block_size": 1,
}


@dataclass(frozen=True)
class Returned(Generic[Made]):
    """What came of a part.

    Attributes:
        number: which part, from 0.
        made: what was made of it.
        tries: how often it was begun: more than once where a worker was lost.
    """

    number: int
    made: Made
    tries: int


def spread(
    parts: Callable[[], Iterable[Part]], maker: Callable[[], Callable[[Part], Made]], room: Room
) -> Iterator[Returned[Made]]:
    """Make something of each part, in other processes; each comes back once, in no order.

    A worker that is lost costs nothing: what it was at is made by another.

    Args:
        parts: gives all parts, the same ones whenever it is called. It is called in another process.
        maker: gives what makes something of a part. It is called in each worker.
        room: how many workers there are, and what each has.

    Raises:
        InvalidType: ``parts`` or ``maker`` cannot be sent to another process.
        ModelError: a part ended each worker that took it.
        BaseException: what ``parts`` or ``maker`` raised.
    """
    numbers: set[int] = set()
    last: BaseException | None = None
    with _as_needed():
        returns = _dataset(parts, maker, room)
        for table in returns.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0):
            number, returned = unpacked(table)
            # Ray gives each part once; that no photo is in a run twice must not hang on it.
            if number in numbers:
                continue
            numbers.add(number)
            if isinstance(returned, Returned):
                yield returned
            elif isinstance(returned, Raised) and number != _SOURCE:
                raise returned.error
            elif isinstance(returned, Raised):
                last = returned.error  # what the source gave before it failed is made first
    if last is not None:
        raise last


_SOURCE = -1
"""The number of what is no part: the error of the source."""


def _dataset(parts: Callable[[], Iterable[Part]], maker: Callable[[], Callable[[Part], Made]], room: Room) -> Dataset:
    import ray
    from ray.data import ActorPoolStrategy

    from gradsight.runs.engines.part_source import PartSource

    # Into Ray's store, since names of a million files are some MB: they would go along with each task.
    source = ray.put(sendable(parts, "source"))
    making = ray.put(sendable(maker, "model"))
    tries = ray.remote(num_cpus=0)(_Tries).remote()
    # No processor of its own, since the workers have them all; one task, since keys are told apart in order.
    home = Home.of_this_process()
    read = ray.data.read_datasource(PartSource(source, home), override_num_blocks=1, concurrency=1, num_cpus=0)
    return read.map_batches(
        _Worker,
        fn_constructor_args=(making, tries, home),
        batch_size=1,
        batch_format="pyarrow",
        # One at least, since there may be fewer parts than workers, of which Ray would warn.
        compute=ActorPoolStrategy(
            min_size=1, initial_size=room.workers, max_size=room.workers, max_tasks_in_flight_per_actor=_AHEAD
        ),
        num_cpus=room.processors,
        num_gpus=room.gpus or None,
    )


class _Worker:
    """An actor: what makes parts, made once.

    Args:
        making: what gives it.
        tries: counts how often each part was begun.
        home: where modules are found.
    """

    def __init__(self, making: object, tries: ActorHandle, home: Home) -> None:
        self._making, self._tries = making, tries
        self._make: Callable[[object], object] | None = None
        home.enter()

    def __call__(self, table: pyarrow.Table) -> pyarrow.Table:
        number, part = unpacked(table)
        if isinstance(part, Raised):
            return table
        return packed(number, self._returned(number, part))

    def _returned(self, number: int, part: object) -> Returned[object] | Raised:
        import ray

        begun = ray.get(self._tries.begin.remote(number))
        if begun > MOST_TRIES:
            return Raised(_lost(part, begun))
        try:
            # Here, and not when the actor is made: an error there would be Ray's, and told in its words.
            if self._make is None:
                self._make = cast("Callable[[object], object]", loaded(ray.get(self._making), "model"))
            made = self._make(part)
        except BaseException as error:
            return Raised(sent(error))
        self._tries.end.remote(number)
        return Returned(number, made, begun)


class _Tries:
    """An actor: how often each part that is not done was begun, which a worker that died cannot tell."""

    def __init__(self) -> None:
        self._begun: dict[int, int] = {}

    def begin(self, number: int) -> int:
        self._begun[number] = self._begun.get(number, 0) + 1
        return self._begun[number]

    def end(self, number: int) -> None:
        self._begun.pop(number, None)


def numbered(parts: Callable[[], Iterable[object]]) -> Iterator[pyarrow.Table]:
    """Parts as tables; the error of their source is the last one."""
    try:
        for number, part in enumerate(parts()):
            yield packed(number, part)
    except Exception as error:
        yield packed(_SOURCE, Raised(sent(error)))


def _lost(part: object, begun: int) -> ModelError:
    return ModelError(
        f"a part of the run ended each of {begun - 1} workers that took it, as too little memory does: {part}. Run the "
        "same command again with fewer workers or a smaller batch_size, or leave these photos out."
    )


@contextmanager
def _as_needed() -> Iterator[None]:
    """Ray Data's settings of this process for the time of a run."""
    from ray.data import DataContext

    context, log = DataContext.get_current(), logging.getLogger("ray.data")
    before, level = {name: getattr(context, name) for name in _SETTINGS}, log.level
    for name, value in _SETTINGS.items():
        setattr(context, name, value)
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
        for name, value in before.items():
            setattr(context, name, value)
