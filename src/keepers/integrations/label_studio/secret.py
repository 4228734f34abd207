"""The token: kept in memory, shown nowhere."""

from __future__ import annotations

import os
import re
from typing import NoReturn

from keepers.errors import ParameterError

VARIABLE = "LABEL_STUDIO_TOKEN"
"""The environment variable that holds the token, unless another is named."""

_HIDDEN = "[hidden]"
_PERSONAL = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")


class Token:
    """A legacy token, or a personal one that is exchanged for short-lived access.

    It cannot be printed, nor pickled; `hide` takes it out of what others wrote.

    Raises:
        ParameterError: no token, or one with characters that no token has; it is not repeated.

    >>> Token("0123456789abcdef"), Token("0123456789abcdef").hide("refused 0123456789abcdef")
    (Token([hidden]), 'refused [hidden]')
    """

    __slots__ = ("_access", "_secret")

    def __init__(self, secret: str, parameter: str = "token") -> None:
        secret = secret.strip()
        if not secret:
            raise ParameterError(parameter, "got an empty one", _WHERE)
        if not re.fullmatch(r"[\x21-\x7e]{8,}", secret):
            raise ParameterError(
                parameter, "got something that is not a token (it is not shown here)", _WHERE
            )
        self._secret = secret
        self._access: str | None = None

    @property
    def personal(self) -> bool:
        """Whether it has to be exchanged for access before use."""
        return _PERSONAL.fullmatch(self._secret) is not None

    @property
    def exchange(self) -> dict[str, str]:
        """What is sent to be given access."""
        return {"refresh": self._secret}

    def header(self) -> str | None:
        """The value of `Authorization`; None where access has to be asked for first."""
        if not self.personal:
            return f"Token {self._secret}"
        return f"Bearer {self._access}" if self._access else None

    def grant(self, access: str | None) -> None:
        """Take the access that was given, or forget what has expired."""
        self._access = access

    def hide(self, text: str) -> str:
        """The text without the token, and without what it was exchanged for."""
        for secret in (self._secret, self._access):
            if secret:
                text = text.replace(secret, _HIDDEN)
        return text

    def __repr__(self) -> str:
        return f"Token({_HIDDEN})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Label Studio token must not be stored")


_WHERE = "Copy yours from Label Studio, under Account & Settings, Access Token"


def token_of(variable: str = VARIABLE) -> Token:
    """The token that an environment variable holds.

    Raises:
        ParameterError: the variable is not set, or holds no token.
    """
    if variable not in os.environ:
        raise ParameterError(
            variable, "the environment variable is not set", f"{_WHERE}, and export it"
        )
    return Token(os.environ[variable], variable)
