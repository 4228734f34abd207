"""Serving: where it listens, what it tells, and what stops it from starting."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import SplitResult, urlsplit
from urllib.request import HTTPCookieProcessor, build_opener, urlopen

import pytest
import uvicorn

from integrations.labelling.labelling_campaigns import TOKEN, MakeDesk, texts
from keepers.campaign import Desk, Journal
from keepers.errors import MissingExtraError, ParameterError
from keepers.integrations.labelling import create_app, serve
from keepers.integrations.labelling.server import address_for, bind


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
        ("no-such-host.invalid", 0, "host: got 'no-such-host.invalid', which is not an address"),
        ("a" * 80, 0, "which is not an address. Give one of this machine: 127.0.0.1"),
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


def test_it_serves_until_control_c(make_desk: MakeDesk, tmp_path: Path) -> None:
    """And says nothing of people who hang up, at any moment."""
    desk = make_desk()
    desk.journal.close()
    mine, theirs = multiprocessing.Pipe(duplex=False)
    arguments = (desk.journal.folder, theirs, tmp_path / "said")
    serving = multiprocessing.get_context("fork").Process(target=_serve, args=arguments)
    serving.start()
    try:
        assert mine.poll(60)
        page, _, token = mine.recv().partition("?token=")
        with pytest.raises(HTTPError, match="401"):
            urlopen(page)
        opened = build_opener(HTTPCookieProcessor())
        assert opened.open(f"{page}?token={token}").status == 200
        jar = next(each for each in opened.handlers if isinstance(each, HTTPCookieProcessor))
        (key,) = jar.cookiejar
        asked = (
            f"Host: {urlsplit(page).netloc}\r\nOrigin: {page.rstrip('/')}\r\n"
            f"Cookie: {key.name}={key.value}\r\nContent-Type: application/json\r\n"
        )
        for request in (
            "",
            "POST /api/vo",
            f"POST /api/votes HTTP/1.1\r\n{asked}",
            f"POST /api/votes HTTP/1.1\r\n{asked}Content-Length: 900\r\n\r\n",
            f'POST /api/votes HTTP/1.1\r\n{asked}Content-Length: 900\r\n\r\n{{"votes": [',
            f"GET / HTTP/1.1\r\n{asked}\r\n",
        ):
            _hang_up(urlsplit(page), request)
        assert opened.open(f"{page}api/next?annotator=ann").status == 200
        os.kill(serving.pid or 0, signal.SIGINT)
        serving.join(60)
    finally:
        serving.kill()
        serving.join()
    assert serving.exitcode == 0
    assert (tmp_path / "said").read_text() == ""


def _serve(folder: Path, told: Any, said: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    output = os.open(said, os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = (os.fdopen(each, "w", buffering=1) for each in (1, 2))
    serve(Desk(Journal.open(folder), texts()), port=0, tell=told.send)


def _hang_up(address: SplitResult, request: str) -> None:
    """Send a part of a request, or all of it, and cut the line without reading a word."""
    with socket.create_connection((address.hostname, address.port)) as line:
        line.sendall(request.encode())
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
