"""Who is let in: token, host, origin, kind of content; and what browsers are told."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from integrations.labelling.labelling_campaigns import ORIGIN, TOKEN, MakeDesk
from keepers.campaign import Desk
from keepers.errors import ParameterError
from keepers.integrations.labelling import create_app

EVERY_ADDRESS = (
    *(("GET", path) for path in ("/", "/api/next?annotator=ann", "/api/item?item=1")),
    *(("GET", path) for path in ("/api/picture?item=1", "/docs", "/openapi.json", "/nowhere")),
    ("POST", "/api/votes"),
)


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    return make_desk()


@pytest.fixture
def stranger(desk: Desk) -> TestClient:
    return TestClient(create_app(desk, TOKEN), base_url=ORIGIN, headers={"origin": ORIGIN})


@pytest.mark.parametrize(("method", "path"), EVERY_ADDRESS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cookie": "keepers=1; token=an-only-too-well-known-token"},
        {"authorization": f"Bearer {TOKEN}"},
    ],
)
def test_nothing_is_answered_without_the_token(
    stranger: TestClient, method: str, path: str, headers: dict[str, str]
) -> None:
    body = {} if method == "POST" else None
    reply = stranger.request(method, path, headers=headers, json=body)
    assert reply.status_code == 401
    assert "Open the whole address that `keepers active label` printed" in reply.text
    assert "item-" not in reply.text


@pytest.mark.parametrize(
    "token", ["", "x", TOKEN[:-1], TOKEN + "x", "é" * 20, "%00", TOKEN.upper()]
)
def test_wrong_tokens_get_no_cookie(stranger: TestClient, token: str) -> None:
    reply = stranger.get("/", params={"token": token}, follow_redirects=False)
    assert (reply.status_code, reply.headers.get("set-cookie")) == (401, None)


def test_two_tokens_in_the_address_are_none(stranger: TestClient) -> None:
    assert stranger.get(f"/?token={TOKEN}&token={TOKEN}").status_code == 401


def test_the_token_opens_no_other_address(stranger: TestClient) -> None:
    assert stranger.get(f"/api/next?annotator=ann&token={TOKEN}").status_code == 401


def test_the_token_becomes_a_cookie_and_leaves_the_address(stranger: TestClient) -> None:
    reply = stranger.get("/", params={"token": TOKEN}, follow_redirects=False)
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    name, _, rest = reply.headers["set-cookie"].partition("=")
    assert re.fullmatch("keepers-[0-9a-f]{12}", name)
    assert rest == f"{TOKEN}; HttpOnly; SameSite=Strict; Path=/"
    assert stranger.get("/").status_code == 200


def test_two_campaigns_in_one_browser_keep_their_cookies(desk: Desk) -> None:
    first = create_app(desk, TOKEN)
    second = create_app(desk, TOKEN + "-of-another")
    assert first.cookie != second.cookie


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8765", "", "a b", "[::1"])
def test_other_host_names_are_refused_on_loopback(stranger: TestClient, host: str) -> None:
    stranger.get("/", params={"token": TOKEN})
    reply = stranger.get("/", headers={"host": host})
    assert (reply.status_code, reply.text) == (
        400,
        "This page is not served under that host name.\n",
    )


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "[::1]:8765", "LOCALHOST"])
def test_names_of_this_machine_are_served(stranger: TestClient, host: str) -> None:
    stranger.get("/", params={"token": TOKEN})
    assert stranger.get("/", headers={"host": host}).status_code == 200


def test_beyond_loopback_any_host_name_needs_the_token(desk: Desk) -> None:
    client = TestClient(create_app(desk, TOKEN, loopback=False), base_url="http://lab.example")
    assert client.get("/").status_code == 401
    assert client.get("/", params={"token": TOKEN}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "file://127.0.0.1:8765"}, 403),
        ({"origin": ORIGIN, "sec-fetch-site": "cross-site"}, 403),
        ({"origin": ORIGIN, "content-type": "text/plain"}, 415),
        ({"origin": ORIGIN, "content-type": "application/x-www-form-urlencoded"}, 415),
        ({"origin": ORIGIN, "content-type": "application/json; charset=utf-8"}, 422),
        ({"origin": ORIGIN, "sec-fetch-site": "same-origin"}, 422),
    ],
)
def test_votes_come_from_the_page_and_as_json(
    desk: Desk, headers: dict[str, str], status: int
) -> None:
    client = TestClient(create_app(desk, TOKEN), base_url=ORIGIN)
    client.get("/", params={"token": TOKEN})
    sent = {"content-type": "application/json", **headers}
    assert client.post("/api/votes", content="[]", headers=sent).status_code == status


def test_a_post_without_an_origin_is_refused(desk: Desk) -> None:
    client = TestClient(create_app(desk, TOKEN), base_url=ORIGIN)
    client.get("/", params={"token": TOKEN})
    assert client.post("/api/votes", json={}).status_code == 403


@pytest.mark.parametrize("path", ["/", "/?token=wrong", "/api/next?annotator=ann", "/nowhere"])
@pytest.mark.parametrize("known", [True, False])
def test_every_answer_has_the_headers(stranger: TestClient, path: str, known: bool) -> None:
    if known:
        stranger.get("/", params={"token": TOKEN})
    headers = stranger.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_the_page_is_one_file_without_handlers_or_addresses(stranger: TestClient) -> None:
    page = stranger.get("/", params={"token": TOKEN})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"<[^>]*\s(on\w+|style|src|href)\s*=", page.text)
    assert not re.search(r"https?://|innerHTML|outerHTML|insertAdjacentHTML|\beval\b", page.text)
    assert (page.text.count("<script>"), page.text.count("<style>")) == (1, 1)


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("short", "token: got 5 characters. Give 16 or more letters, digits, - or _"),
        ("", "token: got 0 characters"),
        ("a token with spaces in it", "token: got 25 characters, some of them not for an address"),
        ("ein-ganz-üblicher-Schlüssel", "token: got 27 characters, some of them not"),
    ],
)
def test_tokens_that_are_none(desk: Desk, token: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        create_app(desk, token)


def test_web_sockets_are_closed(stranger: TestClient) -> None:
    from starlette.websockets import WebSocketDisconnect

    stranger.get("/", params={"token": TOKEN})
    with pytest.raises(WebSocketDisconnect), stranger.websocket_connect("/"):
        pass
