"""Serving: where it listens, what it tells, and what stops it from starting."""

from __future__ import annotations

import importlib.util
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import uvicorn

from integrations.labelling.labelling_campaigns import TOKEN, MakeDesk
from keepers.errors import MissingExtraError, ParameterError
from keepers.integrations.labelling import create_app, serve
from keepers.integrations.labelling.server import address_for, bind

SERVE = """
import sys
from pathlib import Path
from keepers.campaign import Desk, Journal
from keepers.data import open_source
from keepers.integrations.labelling import serve

serve(Desk(Journal.open(Path(sys.argv[1])), open_source("digits")), port=0,
      tell=lambda address: print(address, flush=True))
"""


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_port_in_use(make_desk: MakeDesk, taken: int) -> None:
    with pytest.raises(ParameterError, match=f"port: {taken} on 127.0.0.1 is in use. Give another"):
        serve(make_desk(), port=taken)


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", 70000, "port: got 70000. Give a number from 1 to 65535, or 0 for any"),
        ("127.0.0.1", -1, "port: got -1"),
        ("no-such-host.invalid", 0, "host: got 'no-such-host.invalid', which is no address"),
        ("a" * 80, 0, "which is no address. Give one of this machine: 127.0.0.1"),
        ("192.0.2.7", 0, "host: cannot listen on 192.0.2.7"),
    ],
)
def test_hosts_and_ports_that_are_none(host: str, port: int, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        bind(host, port)


def test_a_port_that_is_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ParameterError, match=r"port: 80 on 127\.0\.0\.1 is not allowed to you"):
        bind("127.0.0.1", 80)


def test_a_short_token_never_listens(make_desk: MakeDesk, taken: int) -> None:
    with pytest.raises(ParameterError, match="token: got 3 characters"):
        serve(make_desk(), port=taken, token="abc")


def test_addresses_for_people() -> None:
    for host, shown in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", socket.gethostname())):
        with bind(host, 0) as listening:
            port = listening.getsockname()[1]
            assert address_for(listening, TOKEN) == f"http://{shown}:{port}/?token={TOKEN}"


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn"])
def test_without_the_extra(
    make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    desk = make_desk()
    start = {"fastapi": lambda: create_app(desk, TOKEN), "uvicorn": lambda: serve(desk)}[missing]
    with pytest.raises(MissingExtraError, match=r"pip install 'keepers\[ui\]'"):
        start()


def test_the_page_is_in_the_package() -> None:
    found = importlib.util.find_spec("keepers.integrations.labelling")
    assert found is not None
    assert found.origin is not None
    assert (Path(found.origin).parent / "page.html").is_file()


def test_a_new_token_each_time(make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        return

    monkeypatch.setattr(uvicorn.Server, "run", run)
    desk = make_desk()
    addresses: list[str] = []
    for token in (None, None, TOKEN):
        serve(desk, port=0, token=token, tell=addresses.append)
    first, second, given = (address.partition("?token=")[2] for address in addresses)
    assert first != second
    assert (len(first), given) == (43, TOKEN)


def test_it_serves_until_control_c(make_desk: MakeDesk) -> None:
    command = [sys.executable, "-c", SERVE, str(make_desk(items=()).journal.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        late = threading.Timer(100, serving.kill)
        late.start()
        assert serving.stdout is not None
        address = serving.stdout.readline().strip()
        with pytest.raises(HTTPError, match="401"):
            urlopen(address.partition("?")[0])
        serving.send_signal(signal.SIGINT)
        status = serving.wait()
        late.cancel()
    assert status == 0
