"""Where tasks run: one after the other in this process, or on the workers of Ray."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from keepers.cluster import connected, first_line
from keepers.errors import KeepersError, ParameterError, RunError

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")
S = TypeVar("S")

_NO_MODULE = re.compile(r"No module named '([^']+)'")
RETRIES = 20
"""How often a task is begun again whose worker dies; what does not end then kills its workers."""


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
                f"workers: the worker of a task died {RETRIES + 1} times ({first_line(error)}). "
                "Give it more memory: smaller shards, or fewer --workers. Finished shards are kept"
            ) from None
        except errors.RayTaskError as error:
            if missing := _NO_MODULE.search(str(error)):
                raise RunError(
                    f"ray: a worker has no module '{missing[1]}', which it needs. Install it on "
                    "every machine of the cluster"
                ) from None
            raise
        except errors.RayError as error:
            raise RunError(
                f"ray: {first_line(error)}. Run the same command again: finished shards are kept"
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

    Raises:
        MissingExtraError, RunError: as `cluster.connected`.
    """
    if address is None and workers in (None, 1):
        yield InProcess()
        return
    with connected(workers, address, "--workers" if address is None else "--ray") as ray:
        most = int(ray.cluster_resources().get("CPU", 1))
        yield OnRay(ray, min(workers or most, most), gpus)
