"""Where Ray runs: here, or on a cluster that is there already; it is joined without a word."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module

from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument, MissingDependency, one_line, received
from gradsight.rules import Number, Text, Whole

_INSTALL = "pip install 'gradsight[ray]'"

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing of a run is told to anybody
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray would do one day, and warns of today
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # a worker that dies is told by what comes of its photos
}

_OWN_SETTING = b"RAY_BACKEND_LOG_LEVEL"
"""In the line by which Ray tells that it was asked to be quiet."""

_STORE_BYTES = 256 << 20
"""Of the memory that processes of one machine share. What goes through it is paths and finished parts, a MB each; the
default is a third of all memory, which photos given as bytes would fill before they are read."""


@dataclass(frozen=True)
class Cluster:
    """Which machines, and how many workers there.

    >>> Cluster(address="auto", gpus_per_worker=1)
    Cluster(address='auto', gpus_per_worker=1, workers=None)

    Attributes:
        address: of a running cluster, as `ray.init` takes it (``"auto"``, ``"10.0.0.1:6379"``); None for what
            RAY_ADDRESS says, or else for this machine alone.
        gpus_per_worker: how many GPUs each worker has to itself; less than 1 where several share one; 0 for none.
        workers: how many; None for as many as fit, one for each GPU or its share, or for each processor without GPUs.

    Raises:
        InvalidArgument: a value that is none of these.
    """

    address: str | None = None
    gpus_per_worker: float = 0
    workers: int | None = None

    def __post_init__(self) -> None:
        optional("address", self.address, Text("the address of a cluster"), "Pass 'auto', or leave it out.")
        taken("gpus_per_worker", self.gpus_per_worker, Number(0, 64), "Pass 1, or 0 for none.")
        optional("workers", self.workers, Whole(1), "Pass 4, or leave it out for as many as fit.")


@dataclass(frozen=True)
class Room:
    """What workers get.

    Attributes:
        workers: how many there are to be.
        processors: of each; its model computes with as many threads.
        gpus: of each.
    """

    workers: int
    processors: int = 1
    gpus: float = 0


@contextmanager
def joined(cluster: Cluster) -> Iterator[Room]:
    """Join the cluster, or start one of this machine alone, which ends with the block.

    Ray that runs in this process already is used as it is, and left running.

    Yields:
        What workers get there.

    Raises:
        InvalidArgument: the address leads to no cluster, or nothing there has so many GPUs.
        MissingDependency: Ray is not installed.
    """
    check_installed()
    import ray

    mine = not ray.is_initialized()
    if mine:
        _join(cluster)
    elif cluster.address is not None:
        raise InvalidArgument(
            f"`address` is for a process that has not joined a cluster yet, and this one has. "
            f"{received(cluster.address)} Leave it out, or call ray.shutdown() before."
        )
    try:
        workers = cluster.workers or _fitting(cluster.gpus_per_worker)
        yield Room(workers, _processors(workers), cluster.gpus_per_worker)
    finally:
        if mine:
            ray.shutdown()


def check_installed() -> None:
    """See that Ray Data is there, which is more than Ray.

    Raises:
        MissingDependency: it is not.
    """
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", _ENVIRONMENT["RAY_USAGE_STATS_ENABLED"])
        import_module("ray.data")
    except ImportError as error:
        raise MissingDependency(f"engine 'ray' needs Ray Data: {one_line(error)}. Run: {_INSTALL}") from error


def _join(cluster: Cluster) -> None:
    import ray

    address = cluster.address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, object] = {}
    if address == "local":
        options = {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
    # What a Keras model computes on is chosen by these, on every machine as here.
    chosen = {name: os.environ[name] for name in ("KERAS_BACKEND", "JAX_PLATFORMS") if name in os.environ}
    if chosen and address != "local":  # a local worker has all variables of this process anyway
        options["runtime_env"] = {"env_vars": chosen}
    try:
        with _quiet():
            ray.init(address, logging_level=logging.CRITICAL, log_to_driver=False, **options)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise InvalidArgument(
            f"`address` must lead to a running cluster of Ray: {one_line(error)}. {received(cluster.address)} Start "
            "one by `ray start --head`, or leave it out for this machine alone."
        ) from error


def _processors(workers: int) -> int:
    """How many processors each worker has: on one machine all, on several one, since nobody knows who goes where."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    return max(1, int(alive[0]["Resources"].get("CPU", 1)) // workers) if len(alive) == 1 else 1


def _fitting(gpus: float) -> int:
    """How many workers the cluster has room for."""
    import ray

    there = ray.cluster_resources()
    if not gpus:
        return max(1, int(there.get("CPU", 1)))
    found = there.get("GPU", 0.0)
    # By nodes: a worker's GPUs are on one machine.
    fitting = sum(int(node["Resources"].get("GPU", 0) / gpus + 1e-6) for node in ray.nodes() if node["Alive"])
    if not fitting:
        raise InvalidArgument(
            f"`gpus_per_worker` must be what a machine of the cluster has, and there are {found:g} GPUs in all. "
            f"{received(gpus)} Pass less, or 0 to compute on processors."
        )
    return fitting


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what Ray says of its own settings while it starts; whatever else is said comes afterwards."""
    added = {name: value for name, value in _ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(added)
    # On the descriptor itself: it is code in C that speaks.
    given = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(given, 2)
            os.close(given)
            for name in added:
                del os.environ[name]
            kept.seek(0)
            os.write(2, b"".join(line for line in kept if _OWN_SETTING not in line))
