"""Serving the labelling page to one machine, or to others where that is asked for."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import secrets
import socket
from collections.abc import Callable

from keepers.campaign import Desk
from keepers.errors import KeepersError, MissingExtraError, ParameterError, RunError
from keepers.integrations.labelling.application import create_app
from keepers.integrations.labelling.gate import check_token


def invite(address: str) -> None:
    """Print the address, for the person who labels."""
    print(f"Label here: {address}\nLabels are kept as they come. Ctrl-C ends.", flush=True)


def serve(
    desk: Desk,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    tell: Callable[[str], object] = invite,
) -> None:
    """Serve the labelling page until Ctrl-C.

    Nothing listens beyond this machine unless `host` says so, and nothing is answered without the
    token. Votes are written as they come: the server may be stopped at any moment.

    Args:
        desk: the campaign's items and journal.
        host: the address to listen on.
        port: the port; 0 takes one that is free.
        token: what the address of the page carries; by default a new random one.
        tell: is given the address for the person, once it can be opened; prints it by default.

    Raises:
        MissingExtraError: FastAPI or uvicorn is not installed.
        ParameterError: the port is in use or not allowed, the host is none of this machine, or the
            token is under 16 characters.
        RunError: the campaign cannot be written to.
    """
    if desk.journal.read_only:
        raise RunError(
            f"campaign: {desk.journal.folder} cannot be written to, so no label would be kept. "
            "Make the folder writable"
        )
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError("The labelling page", "ui") from error

    token = secrets.token_urlsafe(32) if token is None else check_token(token)
    listening = bind(host, port)
    try:
        loopback = ipaddress.ip_address(listening.getsockname()[0]).is_loopback
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(desk, token, loopback=loopback),
                access_log=False,  # it would write the token down
                log_level="warning",
                lifespan="off",
                ws="none",
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=3,
            )
        )
        tell(address_for(listening, token))
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
    finally:
        listening.close()


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens on `host` and `port`.

    Raises:
        ParameterError: the port is in use, not allowed or no port; the host is none of this
            machine.
    """
    if not 0 <= port <= 65535:
        raise ParameterError("port", f"got {port}", "Give a number from 1 to 65535, or 0 for any")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise ParameterError(
            "host", f"got '{host}', which is not an address", "Give one of this machine: 127.0.0.1"
        ) from error
    listening = socket.socket(family, kind, protocol)
    try:
        # A server that was stopped a moment ago does not keep its port.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise _not_bound(host, port, error) from error
    return listening


def _not_bound(host: str, port: int, error: OSError) -> KeepersError:
    another = "Give another --port, or 0 for any free port"
    if error.errno == errno.EADDRINUSE:
        return ParameterError("port", f"{port} on {host} is in use", another)
    if error.errno in (errno.EACCES, errno.EPERM):
        return ParameterError("port", f"{port} on {host} is not allowed to you", another)
    remedy = "Give an address of this machine: 127.0.0.1, or 0.0.0.0 for all of them"
    return ParameterError("host", f"cannot listen on {host} ({error.strerror})", remedy)


def address_for(listening: socket.socket, token: str) -> str:
    """The address that a person opens."""
    host, port = listening.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        name = socket.gethostname()
    else:
        name = f"[{host}]" if address.version == 6 else host
    return f"http://{name}:{port}/?token={token}"
