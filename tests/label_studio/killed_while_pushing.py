"""A process that pushes a campaign and kills itself on the way.

`killed_while_pushing.py FOLDER COUNT URL after|during`: after the server has answered the import
and before the journal is written, or while the import is under way.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from keepers.campaign import Desk, Journal
from keepers.integrations.label_studio import Client, connect, push
from label_studio_desk import text_source


def main(folder: str, count: str, url: str, when: str) -> None:
    desk = Desk(Journal.open(Path(folder)), text_source(range(int(count))))
    post = Client.post

    def killed(client: Client, path: str, body: Any, **others: Any) -> Any:
        if not path.endswith("/import"):
            return post(client, path, body, **others)
        if when == "during":
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGKILL)).start()
        post(client, path, body, **others)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    Client.post = killed  # type: ignore[method-assign]
    push(desk, connect(url))


if __name__ == "__main__":
    main(*sys.argv[1:])
