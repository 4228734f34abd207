"""Ray: started on this machine, or the cluster at an address; who answers, and with what."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

from keepers.errors import MissingExtraError, RunError

PACKAGE = "keepers"
ANSWERS_WITHIN = 5.0
"""Seconds in which an address has to answer."""
_ATTEMPTS = ("RAY_gcs_server_port_wait_time_s", "3")
"""Ray's limit of attempts to join a cluster, and what it is here: an address answers already."""
_SETTINGS = 4
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0))
"""How a client of HTTP/2 begins, and so one of gRPC: its settings are those by default."""
OBJECT_STORE = 256 * 1024**2
"""Bytes of shared memory of a cluster that is started here: weights travel through it."""
_users = 0
"""How many use the Ray that was started here."""


@contextmanager
def connected(
    workers: int | None,
    address: str | None,
    asked: str,
    store: int = OBJECT_STORE,
    *,
    awaited: bool = False,
) -> Generator[Any]:
    """The module `ray`, connected to the cluster at an address, or to one of `workers` here.

    A Ray that this program started already is used as it is, and stays. One that is started here
    serves all who ask for it until the last of them is done. `asked` is the option that needs it,
    `store` the bytes of shared memory of what is started here. Workers that are `awaited` have the
    priority of this process: those of Ray come last otherwise.

    Raises:
        MissingExtraError: Ray is not installed.
        RunError: the address does not answer, or the cluster has no keepers, or another version.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtraError(asked, "ray") from None
    global _users
    if not ray.is_initialized():
        _start(ray, workers, address, store, awaited)
        _users = 1
    elif _users:
        _users += 1
    ours = _users > 0
    try:
        check_cluster(ray)
        yield ray
    finally:
        if ours:
            _users -= 1
            if not _users:
                ray.shutdown()


def is_running() -> bool:
    """Whether this program has a Ray already."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def is_shared() -> bool:
    """Whether that Ray was started here, for whoever asks: nobody has its CPUs to himself."""
    return _users > 0


def _start(ray: Any, workers: int | None, address: str | None, store: int, awaited: bool) -> None:
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        config = {"worker_niceness": 0} if awaited else None
        ray.init(
            address="local",
            num_cpus=workers,
            object_store_memory=store,
            _system_config=config,
            **quiet,
        )
        return
    if address != "auto":
        check_answers(address)
    try:
        del quiet["include_dashboard"]
        with _variable(*_ATTEMPTS):
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RunError(
            f"ray: no cluster at '{address}' ({first_line(error)}). Start one with 'ray start "
            "--head', or leave --ray out: then --workers start on this machine"
        ) from None


@contextmanager
def _variable(name: str, value: str) -> Generator[None]:
    """Set an environment variable inside the block, unless the user has set it."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


def check_answers(address: str) -> None:
    """Refuse an address where nobody answers, or no server of gRPC: Ray would try for minutes.

    Raises:
        RunError: nobody does, something else does, or it is no address.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    remedy = (
        "Give HOST:PORT as 'ray start --head' prints it, or auto for the cluster on this machine"
    )
    if not colon or not port.isdigit():
        raise RunError(f"ray: got '{address}', which is not an address. {remedy}")
    try:
        with socket.create_connection((host, int(port)), timeout=ANSWERS_WITHIN) as connection:
            known = _is_encrypted() or _speaks_http2(connection)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or f"{error}" or type(error).__name__
        raise RunError(f"ray: {address} does not answer ({reason}). {remedy}") from None
    if not known:
        raise RunError(f"ray: the server at {address} is not Ray. {remedy}")


def _is_encrypted() -> bool:
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def _speaks_http2(connection: socket.socket) -> bool:
    """Whether a server begins as HTTP/2 has it (RFC 9113, 3.4), with a frame of settings."""
    head = b""
    try:
        connection.sendall(_HTTP2)
        while len(head) < 4 and (more := connection.recv(4 - len(head))):
            head += more
    except ConnectionError:
        return False
    return len(head) == 4 and head[3] == _SETTINGS


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


def first_line(error: BaseException) -> str:
    """The first line of what an error says, for a message of ours."""
    return str(error).strip().split(os.linesep)[0].rstrip(".")[:200]
