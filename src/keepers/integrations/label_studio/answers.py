"""What a Label Studio server's answer comes to: its JSON, or an error with the remedy."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from keepers.errors import KeepersError
from keepers.integrations.label_studio.secret import Token

if TYPE_CHECKING:
    import httpx

_TRANSIENT = {429, 500, 502, 503, 504}
_LONGEST_DETAIL = 300


class LabelStudioError(KeepersError):
    """The server could not be asked, or did not do what it was asked.

    `status` is that of HTTP, None where there was no answer; `transient` says whether the same
    request may well succeed in a while.
    """

    def __init__(self, message: str, *, status: int | None = None, transient: bool = False) -> None:
        super().__init__(message)
        self.status, self.transient = status, transient


class FailedError(Exception):
    """An error with what decides on another attempt.

    `unsent`: the request cannot have arrived. `wait`: the seconds that the server asks for.
    """

    def __init__(
        self, error: LabelStudioError, *, unsent: bool = False, wait: float | None = None
    ) -> None:
        self.error, self.unsent, self.wait = error, unsent, wait


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads the answers of the server at `url`; what it says never repeats the token."""

    url: str
    token: Token

    def unanswered(self, error: Exception, request: str) -> FailedError:
        """The failure where `request` (method and path) got no answer."""
        import httpx

        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            message = (
                f"{self.url}: cannot be reached ({self._told(error)}). Start Label Studio, or "
                "correct the address; the same command continues"
            )
        elif isinstance(error, httpx.TimeoutException):
            message = (
                f"{self.url}: did not answer {request} in time. The same command continues, and "
                "first checks what arrived"
            )
        else:
            message = (
                f"{self.url}: the connection broke at {request} ({self._told(error)}). The same "
                "command continues, and first checks what arrived"
            )
        return FailedError(
            LabelStudioError(message, transient=True),
            unsent=isinstance(error, httpx.ConnectError | httpx.ConnectTimeout),
        )

    def content(self, answer: httpx.Response, path: str) -> Any:
        """The JSON that was answered.

        Raises:
            FailedError: the server refused, failed, or answered something else.
        """
        status = answer.status_code
        if answer.is_redirect:
            target = urlsplit(str(answer.headers.get("location", "")))
            where = f"{target.scheme}://{target.hostname}" if target.hostname else target.path
            raise FailedError(
                LabelStudioError(
                    f"{self.url}: redirects to {self._shown(where)}, where keepers does not send "
                    "the token. Give the address of Label Studio itself",
                    status=status,
                )
            )
        if answer.is_success:
            return self._parsed(answer, path)
        if status in (401, 403):
            raise self.refused(status)
        raise FailedError(
            LabelStudioError(
                self._problem(answer, path), status=status, transient=status in _TRANSIENT
            ),
            wait=_seconds(answer.headers.get("retry-after")),
        )

    def refused(self, status: int) -> FailedError:
        """The failure where the token is not taken."""
        kind = "personal" if self.token.personal else "legacy"
        hint = (
            "It may be revoked or expired"
            if self.token.personal
            else "The organisation must also allow legacy tokens (Organization, Access Token "
            "Settings); a personal token works as well"
        )
        return FailedError(
            LabelStudioError(
                f"{self.url}: refuses the {kind} token ({status}). Put a valid token of a user "
                f"who may create projects into the environment variable. {hint}",
                status=status,
            )
        )

    def _problem(self, answer: httpx.Response, path: str) -> str:
        status, detail = answer.status_code, self._detail(answer)
        if status == 404:
            return (
                f"{self.url}: has no {path} (404). If a project or task was deleted there, the "
                "same command creates it again; if not, the address is not Label Studio's"
            )
        if status in _TRANSIENT:
            return (
                f"{self.url}: failed at {path} ({status}{detail}). Look at the server's log; the "
                "same command continues"
            )
        if status == 413:
            return f"{self.url}: the request is too large (413{detail}). Send fewer tasks at a time"
        return f"{self.url}: refused {path} ({status}{detail}). Nothing was changed there"

    def _parsed(self, answer: httpx.Response, path: str) -> Any:
        if answer.status_code == 204 or not answer.content:
            return None
        try:
            return json.loads(answer.content)
        except ValueError:
            page = answer.content.lstrip()[:1] == b"<"
            raise FailedError(
                LabelStudioError(
                    f"{self.url}: answered {path} with {'a web page' if page else 'something'} "
                    "that is not JSON. Give the address of Label Studio itself, without a page",
                    status=answer.status_code,
                )
            ) from None

    def _detail(self, answer: httpx.Response) -> str:
        """What the server says is wrong; never its trace, and never the token, if it echoes it."""
        try:
            body = json.loads(answer.content)
        except ValueError:
            return ""
        said: list[str] = []
        if isinstance(body, dict):
            for name in ("detail", "validation_errors"):
                value: Any = body.get(name)
                if value:
                    said.append(value if isinstance(value, str) else json.dumps(value))
        elif isinstance(body, list):
            said.append(json.dumps(body))
        text = self._shown(" ".join(said))
        return f": {text}" if text else ""

    def _told(self, error: Exception) -> str:
        return self._shown(str(error) or type(error).__name__)

    def _shown(self, text: str) -> str:
        text = " ".join(self.token.hide(text).split())
        printable = "".join(letter if letter.isprintable() else "?" for letter in text)
        return printable[:_LONGEST_DETAIL] + ("..." if len(printable) > _LONGEST_DETAIL else "")


def _seconds(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\d{1,6}", text) else None
