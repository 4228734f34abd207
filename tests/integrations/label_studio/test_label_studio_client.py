"""The client: the token stays where it is, and every failure is an error with the remedy."""

from __future__ import annotations

import io
import pickle
import sys
import traceback

import httpx
import pytest

from integrations.label_studio.fake_label_studio import (
    LEGACY,
    PERSONAL,
    URL,
    FakeLabelStudio,
    Trouble,
)
from keepers.errors import KeepersError, MissingExtraError, ParameterError
from keepers.integrations.label_studio import Client, LabelStudioError, Token, connect


def answering(response: httpx.Response) -> Trouble:
    def answer(_: httpx.Request) -> httpx.Response:
        return response

    return answer


def failing(error: type[httpx.TransportError], message: str = "") -> Trouble:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error(message, request=request)

    return fail


# The address


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8080/", "http://localhost:8080"),
        ("https://labels.example.org/studio/", "https://labels.example.org/studio"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_address(url: str, expected: str) -> None:
    assert Client(url, Token(LEGACY)).url == expected


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("localhost:8080", "no http address"),
        ("ftp://localhost", "no http address"),
        ("http://", "no http address"),
        ("http://host:port", "not an address"),
        ("http://[::1", "not an address"),
        ("http://a b", "no http address"),
        ("http://localhost:8080/projects/3/data", "the address of a page"),
        ("http://localhost:8080/?token=x", "the address of a page"),
    ],
)
def test_bad_address(url: str, problem: str) -> None:
    with pytest.raises(ParameterError, match=problem):
        Client(url, Token(LEGACY))


@pytest.mark.parametrize("url", [f"http://me:{LEGACY}@host", f"http://{LEGACY}@host:80/x"])
def test_an_address_with_credentials_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ParameterError, match="user name or password") as caught:
        connect(url)
    assert LEGACY not in str(caught.value)


def test_without_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtraError, match=r"keepers\[label-studio\]"):
        Client(URL, Token(LEGACY))


# The token


def test_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABEL_STUDIO_TOKEN", raising=False)
    with pytest.raises(ParameterError, match="LABEL_STUDIO_TOKEN: the environment variable is not"):
        connect(URL)
    monkeypatch.setenv("OTHER", " ")
    with pytest.raises(ParameterError, match="OTHER: got an empty one"):
        connect(URL, variable="OTHER")


@pytest.mark.parametrize("secret", ["with a space in it", "line\nbreak-in-it", "ünïcödé-tökén"])
def test_what_is_no_token_is_not_repeated(secret: str) -> None:
    with pytest.raises(ParameterError, match="not a token") as caught:
        connect(URL, secret)
    assert secret not in str(caught.value)


def test_the_token_cannot_be_printed_or_pickled() -> None:
    token = Token(LEGACY)
    client = Client(URL, token)
    assert LEGACY not in f"{token} {token!r} {client} {client!r} {vars(client)}"
    with pytest.raises(TypeError, match="not be stored"):
        pickle.dumps(token)


def test_legacy_token(client: Client, server: FakeLabelStudio) -> None:
    assert {r.headers["authorization"] for r in server.requests} == {f"Token {LEGACY}"}


def test_personal_token_is_exchanged_and_renewed(server: FakeLabelStudio) -> None:
    client = connect(URL, PERSONAL, transport=server.transport)
    server.access += 1  # what was given has expired
    client.post("/api/projects/", {"title": "x"})
    paths = [request.url.path for request in server.requests]
    assert paths == [
        "/api/token/refresh",
        "/api/current-user/whoami",
        "/api/projects/",
        "/api/token/refresh",
        "/api/projects/",
    ]
    assert len(server.projects) == 1
    assert "authorization" not in server.requests[0].headers


def test_personal_token_that_is_refused(server: FakeLabelStudio) -> None:
    with pytest.raises(LabelStudioError, match=r"refuses the personal token \(401\)") as caught:
        connect(URL, "aaaa.bbbb.cccc", transport=server.transport)
    assert "aaaa.bbbb.cccc" not in str(caught.value)


def test_personal_token_that_is_granted_in_vain(server: FakeLabelStudio) -> None:
    def refuse(request: httpx.Request) -> httpx.Response | None:
        return None if "token" in request.url.path else httpx.Response(401, json={})

    server.trouble = refuse
    with pytest.raises(LabelStudioError, match="refuses the personal token"):
        connect(URL, PERSONAL, transport=server.transport)
    assert len(server.requests) == 2


def test_legacy_token_that_is_refused(server: FakeLabelStudio) -> None:
    with pytest.raises(LabelStudioError, match=r"refuses the legacy token \(401\).*Organization"):
        connect(URL, "f" * 40, transport=server.transport)
    assert len(server.requests) == 1


def test_the_token_is_in_no_error_and_no_log(
    client: Client, server: FakeLabelStudio, logged: io.StringIO
) -> None:
    texts: list[str] = []
    troubles = [
        answering(httpx.Response(400, json={"detail": f"no good: Token {LEGACY}"})),
        answering(httpx.Response(500, json={"detail": "x", "exc_info": f"header {LEGACY}"})),
        answering(httpx.Response(302, headers={"location": f"http://{LEGACY}.test/{LEGACY}"})),
        answering(httpx.Response(200, text=f"<html>{LEGACY}")),
        failing(httpx.ConnectError, f"cannot reach with {LEGACY}"),
        failing(httpx.LocalProtocolError, f"Illegal header value b'Token {LEGACY}'"),
    ]
    for trouble in troubles:
        server.trouble = trouble
        with pytest.raises(LabelStudioError) as caught:
            client.get("/api/projects/")
        texts += traceback.format_exception(caught.value)
        texts.append(repr(caught.value))
    assert LEGACY not in "".join(texts)
    assert LEGACY not in logged.getvalue()


def test_no_cookie_is_kept(client: Client, server: FakeLabelStudio) -> None:
    client.get("/api/current-user/whoami")
    assert all("cookie" not in request.headers for request in server.requests)


# Failures


def test_unreachable(client: Client, server: FakeLabelStudio, waits: list[float]) -> None:
    server.trouble = failing(httpx.ConnectError, "[Errno 111] Connection refused")
    with pytest.raises(LabelStudioError, match=r"cannot be reached.*refused.*Start Label Studio"):
        client.get("/api/projects/")
    assert waits == [0.5, 1.0, 2.0]


def test_what_cannot_have_arrived_is_sent_again(
    client: Client, server: FakeLabelStudio, waits: list[float]
) -> None:
    server.trouble = failing(httpx.ConnectTimeout)
    with pytest.raises(LabelStudioError, match="cannot be reached"):
        client.post("/api/projects/", {})
    assert len(waits) == 3


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (failing(httpx.ReadTimeout), "did not answer POST /api/projects/ in time.*continues"),
        (failing(httpx.ReadError, "reset"), "the connection broke at POST /api/projects/ .reset"),
        (failing(httpx.RemoteProtocolError, "closed"), "the connection broke"),
        (answering(httpx.Response(500, json={"detail": "oh"})), r"failed at .* \(500: oh\)"),
        (answering(httpx.Response(503)), r"failed at /api/projects/ \(503\).*continues"),
    ],
)
def test_what_may_have_arrived_is_sent_once(
    client: Client, server: FakeLabelStudio, waits: list[float], trouble: Trouble, message: str
) -> None:
    server.trouble = trouble
    before = len(server.requests)
    with pytest.raises(LabelStudioError, match=message) as caught:
        client.post("/api/projects/", {})
    assert caught.value.transient
    assert (len(server.requests) - before, waits) == (1, [])


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_looking_is_repeated(
    client: Client, server: FakeLabelStudio, waits: list[float], status: int
) -> None:
    answers = [httpx.Response(status, headers={"retry-after": "7"}), httpx.Response(status)]
    server.trouble = lambda _: answers.pop(0) if answers else None
    assert client.get("/api/current-user/whoami")["id"] == 1
    assert waits == [7.0, 1.0]


def test_an_absurd_wait_is_cut_short(
    client: Client, server: FakeLabelStudio, waits: list[float]
) -> None:
    server.trouble = answering(httpx.Response(503, headers={"retry-after": "999999"}))
    with pytest.raises(LabelStudioError):
        client.get("/api/projects/")
    assert waits == [30.0, 30.0, 30.0]


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (httpx.Response(400, json={"validation_errors": {"title": ["too short"]}}), "too short"),
        (httpx.Response(400, json=["Wrong text"]), r"\(400: \[.Wrong text.\]\)\. Nothing "),
        (httpx.Response(400, text="<h1>Bad Request</h1>"), r"refused /x \(400\)"),
        (httpx.Response(403, json={"detail": "no"}), "refuses the legacy token .403."),
        (httpx.Response(404, json={"detail": "no"}), "has no /x .404.*deleted there"),
        (httpx.Response(413), "too large .*fewer tasks"),
        (httpx.Response(200, text="<!doctype html>"), "with a web page that is not JSON"),
        (httpx.Response(200, text="pong"), "with something that is not JSON"),
        (httpx.Response(302, headers={"location": "/user/login/"}), "redirects to /user/login/"),
        (
            httpx.Response(301, headers={"location": "https://evil.test/api?x=1"}),
            "redirects to https://evil.test, where keepers does not send the token",
        ),
    ],
)
def test_answers_that_are_none(
    client: Client, server: FakeLabelStudio, response: httpx.Response, message: str
) -> None:
    server.trouble = answering(response)
    before = len(server.requests)
    with pytest.raises(LabelStudioError, match=message) as caught:
        client.get("/x")
    assert isinstance(caught.value, KeepersError)
    assert not caught.value.transient
    assert [request.url.host for request in server.requests[before:]] == ["label-studio.test"]


def test_what_the_server_says_is_cut_and_cannot_steer_the_terminal(
    client: Client, server: FakeLabelStudio
) -> None:
    server.trouble = answering(httpx.Response(400, json={"detail": "\x1b[31m" + "long " * 200}))
    with pytest.raises(LabelStudioError) as caught:
        client.get("/x")
    text = str(caught.value)
    assert "\x1b" not in text
    assert len(text) < 500
    assert "...)" in text


def test_another_service_answers(server: FakeLabelStudio) -> None:
    server.trouble = answering(httpx.Response(200, json={"hello": "world"}))
    with pytest.raises(LabelStudioError, match="is not Label Studio"):
        connect(URL, LEGACY, transport=server.transport)
