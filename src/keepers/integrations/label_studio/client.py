"""A Label Studio server over plain REST (extra `label-studio`)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

from keepers.errors import MissingExtraError
from keepers.integrations.label_studio.address import server_address
from keepers.integrations.label_studio.answers import FailedError, LabelStudioError, Reader
from keepers.integrations.label_studio.secret import VARIABLE, Token, token_of

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 4
"""How often a request that changes nothing is made before its failure is an error."""

_LONGEST_WAIT = 30.0


class Client:
    """Requests to one server, with the token, and answers as JSON or an error with the remedy.

    Requests that change nothing are repeated, with growing waits, while the server is away or
    overloaded; `post` is sent again only if it cannot have arrived. No redirect is followed, so
    the token never leaves for another address, and no cookie is kept.

    Args:
        url: the server's address, with the path under which it is mounted, if any.
        token: as `connect` finds it.
        timeout: seconds without a byte after which a request has failed.
        transport, sleep: stand-ins for the network and the clock.

    Raises:
        MissingExtraError: httpx is not installed.
        ParameterError: an address that is none, or that holds a password.
    """

    def __init__(
        self,
        url: str,
        token: Token,
        *,
        timeout: float = 60.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        try:
            import httpx
        except ImportError:
            raise MissingExtraError("Label Studio", "label-studio") from None
        self.url = server_address(url)
        self._token, self._timeout, self._sleep = token, timeout, sleep
        self._reader = Reader(url=self.url, token=token)
        self._http = httpx.Client(
            base_url=self.url,
            timeout=timeout,
            transport=transport,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"Accept": "application/json", "User-Agent": "keepers"},
        )

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """What stands there."""
        return self._repeated("GET", path, params=params)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Change fields to these values; once or twice is the same."""
        return self._repeated("PATCH", path, json=body)

    def delete(self, path: str) -> None:
        """Remove what stands there, if it still does."""
        try:
            self._repeated("DELETE", path)
        except LabelStudioError as error:
            if error.status != 404:
                raise

    def post(self, path: str, body: Any, timeout: float | None = None, **params: Any) -> Any:
        """Make something new, at most once: after a failure it may be there or not."""
        limit = {} if timeout is None else {"timeout": max(timeout, self._timeout)}
        return self._repeated("POST", path, json=body, params=params, **limit)

    def _repeated(self, method: str, path: str, **content: Any) -> Any:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._once(method, path, **content)
            except FailedError as failure:
                again = failure.unsent or (method != "POST" and failure.error.transient)
                if not again or attempt == ATTEMPTS:
                    raise failure.error from None
                wait = failure.wait
            self._sleep(min(_LONGEST_WAIT, 2.0 ** (attempt - 2) if wait is None else wait))
        raise AssertionError("unreachable")

    def _once(self, method: str, path: str, **content: Any) -> Any:
        authorization = self._token.header()
        fresh = authorization is None
        if authorization is None:
            authorization = self._exchange()
        answer = self._answer(method, path, authorization, **content)
        if answer.status_code == 401 and self._token.personal and not fresh:
            self._token.grant(None)
            answer = self._answer(method, path, self._exchange(), **content)
        return self._reader.content(answer, path)

    def _exchange(self) -> str:
        answer = self._answer("POST", "/api/token/refresh", None, json=self._token.exchange)
        if answer.status_code in (400, 401, 403):
            raise self._reader.refused(answer.status_code)
        granted = self._reader.content(answer, "/api/token/refresh")
        access: object = granted.get("access") if isinstance(granted, dict) else None
        if not isinstance(access, str) or not re.fullmatch(r"[\x21-\x7e]+", access):
            raise FailedError(
                LabelStudioError(f"{self.url}: gave no access for the personal token")
            )
        self._token.grant(access)
        return f"Bearer {access}"

    def _answer(
        self, method: str, path: str, authorization: str | None, **content: Any
    ) -> httpx.Response:
        import httpx

        headers = {} if authorization is None else {"Authorization": authorization}
        try:
            return self._http.request(method, path, headers=headers, **content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._reader.unanswered(error, f"{method} {path}") from None


def connect(
    url: str,
    token: str | None = None,
    *,
    variable: str = VARIABLE,
    timeout: float = 60.0,
    transport: httpx.BaseTransport | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Client:
    """A client whose address and token the server has accepted.

    The token is a legacy one or a personal one, told apart by their form. It is best left to the
    environment variable: what is given here may end in a notebook.

    Args:
        url: the server's address.
        token: in place of the environment variable.
        variable: the environment variable that holds the token.
        timeout: seconds without a byte after which a request has failed.
        transport, sleep: stand-ins for the network and the clock.

    Raises:
        MissingExtraError: httpx is not installed.
        ParameterError: an address that is none or holds a password; no token.
        LabelStudioError: no Label Studio answers there, or it refuses the token.
    """
    address = server_address(url)
    secret = token_of(variable) if token is None else Token(token)
    client = Client(address, secret, timeout=timeout, transport=transport, sleep=sleep)
    try:
        user = client.get("/api/current-user/whoami")
        if not isinstance(user, dict) or "id" not in user:
            raise LabelStudioError(
                f"{address}: is not Label Studio. Give the address of Label Studio"
            )
    except BaseException:
        client.close()
        raise
    return client
