"""A real Label Studio on loopback, in a process of its own, with a data folder that is thrown away.

`KEEPERS_LABEL_STUDIO` names its executable, or the interpreter of the environment that has it.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

VARIABLE = "KEEPERS_LABEL_STUDIO"
_START_SECONDS = 240.0


def executable() -> Path | None:
    """Where Label Studio is, None where it is not."""
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    path = Path(named)
    if path.name.startswith("python"):
        path = path.parent / "label-studio"
    return path.absolute() if path.is_file() else None


class RealLabelStudio:
    """The server, and its users' side of the work."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.token = secrets.token_hex(20)
        self.log = folder / "server.log"
        self._program, self._folder = program, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Token {self.token}"},
            timeout=60,
            trust_env=False,
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        quiet = {
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
        }
        command = [
            *(str(self._program), "start", "--no-browser"),
            *("--internal-host", "127.0.0.1", "-p", str(self._port)),
            *("--data-dir", str(self._folder / "data")),
            *("--username", "first@example.org", "--password", secrets.token_hex(8)),
            *("--user-token", self.token, "--enable-legacy-api-token"),
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": os.environ["PATH"], "HOME": str(self._folder), **quiet},
            )
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                if self._http.get("/health").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise AssertionError(f"Label Studio did not start:\n{self.log.read_text()[-3000:]}")

    def stop(self) -> None:
        """End it as a machine that is switched off does."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        self._http.close()

    def ask(self, method: str, path: str, **content: Any) -> Any:
        answer = self._http.request(method, path, **content)
        assert answer.is_success, answer.text[:500]
        return answer.json() if answer.content else None

    @cached_property
    def personal_token(self) -> str:
        """A user has one at a time."""
        return self.ask("POST", "/api/token/")["token"]

    def new_user(self, email: str) -> int:
        user = {"email": email, "username": email, "password": secrets.token_hex(8)}
        return self.ask("POST", "/api/users/", json=user)["id"]

    def tasks(self, project: int | None) -> list[dict[str, Any]]:
        """The project's tasks with all that is in them, in the order in which they are shown."""
        params = {"project": project, "fields": "all", "page_size": 1000}
        return self.ask("GET", "/api/tasks/", params=params)["tasks"]

    def next_item(self, project: int | None) -> str | None:
        """What the page shows the first user next; None where nothing is left to do."""
        answer = self._http.get(f"/api/projects/{project}/next")
        if answer.status_code == 404:
            return None
        return answer.json()["data"]["item_id"]

    def annotate(
        self, task: dict[str, Any], choice: str | None, *, user: int | None = None, **others: Any
    ) -> dict[str, Any]:
        """A label as the page submits it, or a skip (None)."""
        kind = "text" if "text" in task["data"] else "image"
        region = {
            "from_name": "label",
            "to_name": kind,
            "type": "choices",
            "value": {"choices": [choice]},
        }
        body: dict[str, Any] = {"result": [] if choice is None else [region], **others}
        if choice is None:
            body["was_cancelled"] = True
        if user is not None:
            body["completed_by"] = user
        return self.ask("POST", f"/api/tasks/{task['id']}/annotations/", json=body)
