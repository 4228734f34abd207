"""The server's address, as somebody typed it."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from keepers.errors import ParameterError
from keepers.integrations.label_studio.secret import VARIABLE


def server_address(url: str) -> str:
    """The address without the slash at its end.

    Raises:
        ParameterError: no http address, one with a user name or password (which is not repeated),
            or that of a page.

    >>> server_address("http://localhost:8080/")
    'http://localhost:8080'
    """
    remedy = "Give the server's address, such as http://localhost:8080"
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
        if parts.netloc.startswith("["):
            ipaddress.ip_address(host or "")
    except ValueError:
        raise ParameterError("url", "got something that is not an address", remedy) from None
    if "@" in parts.netloc or parts.username is not None or parts.password is not None:
        raise ParameterError(
            "url",
            "got an address with a user name or password in it (it is not repeated here)",
            f"{remedy}, and the token in the environment variable {VARIABLE}",
        )
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\\]", url.strip()):
        raise ParameterError("url", "got something that is no http address", remedy)
    if parts.query or parts.fragment or re.search(r"/(projects|user|api|tasks)(/|$)", parts.path):
        raise ParameterError("url", "got the address of a page", remedy)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
