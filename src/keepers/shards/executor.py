"""Where tasks run: one after the other in this process, or on the workers of Ray."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any, Protocol, TypeVar

from keepers.errors import KeepersError, MissingExtraError, ParameterError, RunError

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")
S = TypeVar("S")

PACKAGE = "keepers"
_NO_MODULE = re.compile(r"No module named '([^']+)'")
RETRIES = 20
"""How often a task is begun again whose worker dies; what does not end then kills its workers."""
ANSWERS_WITHIN = 5.0
"""Seconds in which an address has to answer."""
OBJECT_STORE = 256 * 1024**2
"""Bytes of shared memory of a cluster that is started here: weights travel through it, data not."""


class Executor(Protocol):
    """Runs `task(shared, item)` for every item; results come as they are ready."""

    @property
    def workers(self) -> int:
        """How many tasks run side by side."""
        ...

    def map(
        self, task: Callable[[S, I], R], shared: S, items: Sequence[I]
    ) -> Iterator[tuple[int, R]]:
        """The place of each item, and what the task gave for it.

        A task is an importable function that may be run again: it writes what it makes whole.
        """
        ...


class InProcess:
    """One task after the other, in this process."""

    workers = 1

    def map(
        self, task: Callable[[S, I], R], shared: S, items: Sequence[I]
    ) -> Iterator[tuple[int, R]]:
        """The results in the order of the items."""
        for place, item in enumerate(items):
            yield place, task(shared, item)


class OnRay:
    """Tasks of one CPU on the workers of Ray, which begins those again whose worker dies.

    What is `shared` is sent to each machine once, through the object store.
    """

    def __init__(self, ray: Any, workers: int, gpus: float = 0) -> None:
        self._ray, self.workers = ray, workers
        self._run = ray.remote(_attempt).options(
            num_cpus=1, num_gpus=gpus, max_retries=RETRIES, retry_exceptions=False
        )

    def map(
        self, task: Callable[[S, I], R], shared: S, items: Sequence[I]
    ) -> Iterator[tuple[int, R]]:
        """The results as they come; at most `workers` tasks are under way."""
        ray = self._ray
        everywhere = ray.put(shared)
        waiting = iter(enumerate(items))
        under_way: dict[Any, int] = {}
        try:
            while True:
                while len(under_way) < self.workers and (found := next(waiting, None)) is not None:
                    under_way[self._run.remote(task, everywhere, found[1])] = found[0]
                if not under_way:
                    return
                for done in ray.wait(list(under_way), num_returns=1)[0]:
                    place = under_way.pop(done)
                    yield place, _result(self._get(done))
        finally:
            for left in under_way:
                ray.cancel(left, force=False)

    def _get(self, done: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(done)
        except (errors.WorkerCrashedError, errors.OutOfMemoryError) as error:
            raise RunError(
                f"workers: the worker of a task died {RETRIES + 1} times ({_first_line(error)}). "
                "Give it more memory: smaller shards, or fewer --workers. Finished shards are kept"
            ) from None
        except errors.RayTaskError as error:
            if missing := _NO_MODULE.search(str(error)):
                raise RunError(
                    f"ray: a worker has no module '{missing[1]}', so what is sent to it cannot be "
                    "made there. Install it on every machine of the cluster"
                ) from None
            raise
        except errors.RayError as error:
            raise RunError(
                f"ray: {_first_line(error)}. Type the same command again: finished shards are kept"
            ) from None


def _attempt(task: Callable[[Any, Any], Any], shared: Any, item: Any) -> tuple[Any, ...]:
    """The result of a task, or what its error says: errors of keepers travel as text."""
    try:
        return True, task(shared, item)
    except KeepersError as error:
        return False, type(error), str(error)


def _result(found: tuple[Any, ...]) -> Any:
    if found[0]:
        return found[1]
    _, kind, text = found
    error = kind.__new__(kind)
    error.args = (text,)
    if isinstance(error, ParameterError):
        error.parameter = text.partition(":")[0]
    raise error


@contextmanager
def executor(workers: int | None, address: str | None, gpus: float = 0) -> Generator[Executor]:
    """What runs tasks: this process, workers of Ray started here, or the cluster at an address.

    A Ray that this program started already is used as it is, and stays.

    Raises:
        MissingExtraError: Ray is asked for, and not installed.
        RunError: the address does not answer, or the cluster has no keepers, or another version.
    """
    if address is None and workers in (None, 1):
        yield InProcess()
        return
    try:
        import ray
    except ImportError:
        asked = "--workers" if address is None else "--ray"
        raise MissingExtraError(asked, "ray") from None
    ours = not ray.is_initialized()
    if ours:
        _start(ray, workers, address)
    try:
        check_cluster(ray)
        most = int(ray.cluster_resources().get("CPU", 1))
        yield OnRay(ray, min(workers or most, most), gpus)
    finally:
        if ours:
            ray.shutdown()


def _start(ray: Any, workers: int | None, address: str | None) -> None:
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        ray.init(address="local", num_cpus=workers, object_store_memory=OBJECT_STORE, **quiet)
        return
    if address != "auto":
        check_answers(address)
    try:
        del quiet["include_dashboard"]
        ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RunError(
            f"ray: no cluster at '{address}' ({_first_line(error)}). Start one with 'ray start "
            "--head', or leave --ray out to have --workers started here"
        ) from None


def check_answers(address: str) -> None:
    """Refuse an address where nobody answers: Ray itself would try for two minutes.

    Raises:
        RunError: nobody does, or it is no address.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    remedy = "Give HOST:PORT as 'ray start --head' says it, or auto for the cluster of this machine"
    if not colon or not port.isdigit():
        raise RunError(f"ray: got '{address}', which is no address. {remedy}")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWERS_WITHIN).close()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RunError(f"ray: {address} does not answer ({reason}). {remedy}") from None


def own_version() -> str:
    """The version of keepers here."""
    return metadata.version("keepers")


def check_cluster(ray: Any) -> None:
    """Refuse a cluster whose machines lack keepers, or have another version of it.

    Raises:
        RunError: the machine, what it has, and what this one has.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

    asked, here = ray.remote(metadata.version), own_version()
    nodes = [node for node in ray.nodes() if node["Alive"]]
    answers = [
        asked.options(num_cpus=0, scheduling_strategy=On(node["NodeID"], soft=False)).remote(
            PACKAGE
        )
        for node in nodes
    ]
    for node, answer in zip(nodes, answers, strict=True):
        name = node.get("NodeManagerHostname") or node["NodeID"][:8]
        try:
            there = ray.get(answer, timeout=120)
        except metadata.PackageNotFoundError:
            raise RunError(
                f"ray: the machine {name} of the cluster has no keepers. Install keepers=={here} "
                "there, in the Python that Ray runs"
            ) from None
        except ray.exceptions.GetTimeoutError:
            raise RunError(
                f"ray: the machine {name} of the cluster starts no worker. See 'ray status'"
            ) from None
        if there != here:
            raise RunError(
                f"ray: the machine {name} of the cluster has keepers {there}, and this one {here}. "
                "Install the same version everywhere"
            )


def _first_line(error: BaseException) -> str:
    return str(error).strip().split(os.linesep)[0].rstrip(".")[:200]
