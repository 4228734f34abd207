"""The journal: every event of a campaign in one SQLite file that is only ever added to."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
import threading
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from keepers.campaign.encoding import decode, encode, event_kind, is_known
from keepers.campaign.events import Event, Vote, now
from keepers.errors import RunError
from keepers.files import check_folder

NAME = "campaign.db"
FORMAT = 2

_APPLICATION = 0x6B656570  # "keep", in the header of the file
_PATIENCE = 30.0  # seconds that a writer waits for another
SYNCHRONOUS = "FULL"
"""What has been taken down is on the disk: it outlasts a power cut."""
_TABLE = (
    """CREATE TABLE IF NOT EXISTS events (
        seq INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        time TEXT NOT NULL,
        body TEXT NOT NULL,
        chain TEXT NOT NULL
    )""",
    "CREATE TABLE IF NOT EXISTS head (only INTEGER PRIMARY KEY CHECK (only = 0), chain TEXT)",
    "INSERT OR IGNORE INTO head VALUES (0, '')",
    """CREATE TRIGGER IF NOT EXISTS never_changed BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'the journal is only ever added to'); END""",
    """CREATE TRIGGER IF NOT EXISTS never_removed BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'the journal is only ever added to'); END""",
    # INSERT OR REPLACE would remove the old row without calling the trigger above.
    """CREATE TRIGGER IF NOT EXISTS never_replaced BEFORE INSERT ON events
        WHEN EXISTS (SELECT 1 FROM events WHERE key = NEW.key OR seq = NEW.seq)
        BEGIN SELECT RAISE(IGNORE); END""",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {FORMAT}",
)
_INSERT = "INSERT OR IGNORE INTO events (key, kind, time, body, chain) VALUES (?, ?, ?, ?, ?)"
_HEAD = "SELECT chain FROM head"
_RESTORE = "Restore an earlier copy of the campaign"
_WRITABLE = "Free some space, or make the folder writable"


class Journal:
    """The events of the campaign in `folder`, open for reading and adding.

    Threads and processes may add at the same time. What `append` returned from is on the disk;
    a kill during it leaves all of it or nothing. Each event carries a hash of itself and of the
    event before, and the last of these stands in a table of its own: a changed, missing or
    swapped event is noticed when it is read. `read_only` where the folder cannot be written to.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self.path = folder / NAME
        self._connection = connection
        self.read_only = not os.access(self.path, os.W_OK) or not os.access(folder, os.W_OK)
        self._mutex = threading.RLock()

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Begin a journal; one that holds no event yet, as after a kill, is begun again.

        Raises:
            RunError: the folder holds a campaign, or cannot hold one.
        """
        check_folder(folder, "campaign")
        path = folder / NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"campaign: {folder} cannot be made ({error.strerror})") from None
        with _explained(path):
            connection = _connect(path, "rwc")
            try:
                _check_format(connection, path, new=True)
                with _transaction(connection):
                    for statement in _TABLE:
                        connection.execute(statement)
                    begun = connection.execute("SELECT 1 FROM events LIMIT 1").fetchone()
            except BaseException:
                connection.close()
                raise
        if begun:
            connection.close()
            raise RunError(
                f"campaign: {folder} already holds a campaign. Continue it, or name another "
                "folder with --campaign (campaign=...)"
            )
        return cls(folder, connection)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the journal of a campaign that was begun.

        Raises:
            RunError: there is none, or it is damaged, foreign, or of a newer keepers.
        """
        path = folder / NAME
        if not path.is_file():
            raise RunError(
                f"campaign: {folder} holds no campaign. Start one with keepers active start, or "
                "name its folder with --campaign (campaign=...)"
            )
        with _explained(path):
            writable = os.access(path, os.W_OK) and os.access(folder, os.W_OK)
            connection = _connect(path, "rw" if writable else "ro")
            try:
                _check_format(connection, path, new=False)
            except BaseException:
                connection.close()
                raise
        return cls(folder, connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._mutex:
            self._connection.close()

    def append(self, events: Sequence[Event]) -> list[bool]:
        """Add events, all or none; which of them were new, by their keys.

        A vote without a time gets this moment.

        Raises:
            RunError: the file cannot be written (damaged, locked for long, disk full).
        """
        moment = now()
        rows: list[tuple[str, str, str, str]] = []
        for event in events:
            if isinstance(event, Vote) and event.time is None:
                event = replace(event, time=moment)
            time = event.time if isinstance(event, Vote) and event.time else moment
            rows.append((event.key, event_kind(event), time, encode(event)))
        if not rows:
            return []
        with self._mutex, _explained(self.path), _transaction(self._connection):
            return self._added(rows)

    def _added(self, rows: list[tuple[str, str, str, str]]) -> list[bool]:
        chain, taken = self._head(), list[bool]()
        for row in rows:
            link = _link(chain, row)
            taken.append(self._connection.execute(_INSERT, (*row, link)).rowcount == 1)
            chain = link if taken[-1] else chain
        self._connection.execute("UPDATE head SET chain = ?", (chain,))
        return taken

    def _head(self) -> str:
        found = self._connection.execute(_HEAD).fetchone()
        if found is None:
            raise RunError(f"campaign: {self.path} is damaged: its end is unknown. {_RESTORE}")
        return str(found[0])

    def read(self, after: int = 0) -> list[tuple[int, Event]]:
        """The events whose numbers are over `after`, with their numbers, in order.

        Raises:
            RunError: the file, or an event in it, is damaged.
        """
        query = "SELECT seq, chain, key, kind, time, body FROM events WHERE seq >= ? ORDER BY seq"
        with self._mutex, _explained(self.path), _transaction(self._connection, "DEFERRED"):
            rows = self._connection.execute(query, (after,)).fetchall()
            head = self._head()
        chain = ""
        events: list[tuple[int, Event]] = []
        for seq, link, *row in rows:
            if seq == after:
                chain = link
                continue
            if link != _link(chain, row):
                raise RunError(
                    f"campaign: {self.path} is damaged: event {seq}, or the one before it, was "
                    f"changed. {_RESTORE}"
                )
            chain = link
            if not is_known(row[1]):
                raise RunError(
                    f"campaign: {self.path} holds events of a kind ({row[1]}) that this version "
                    "of keepers does not know: a newer version wrote them. Open it with that "
                    "version"
                )
            try:
                events.append((seq, decode(row[1], row[3])))
            except (ValueError, TypeError, KeyError, AttributeError):
                raise RunError(
                    f"campaign: {self.path} is damaged: event {seq} ({row[1]}) cannot be read. "
                    f"{_RESTORE}"
                ) from None
        if (rows and chain != head) or (not rows and not after and head):
            raise RunError(
                f"campaign: {self.path} is damaged: its last events are missing. {_RESTORE}"
            )
        return events

    @contextlib.contextmanager
    def lock(self, purpose: str) -> Generator[None]:
        """Hold the campaign for `purpose` (planning, sending); voting and reading need no lock.

        Raises:
            RunError: somebody else holds it, and for what.
        """
        path = self.folder / ".lock"
        try:
            handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as error:
            raise RunError(
                f"campaign: {path} cannot be written ({error.strerror}). {_WRITABLE}"
            ) from None
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                theirs = os.pread(handle, 200, 0).decode(errors="replace").strip()
                why = f" ({theirs})" if theirs else ""
                raise RunError(
                    f"campaign: {self.folder} is in use by another process{why}. Wait for it"
                ) from None
            os.ftruncate(handle, 0)
            with contextlib.suppress(OSError):  # a full disk: what has to be written will say so
                os.pwrite(handle, purpose.encode(), 0)
            yield
            os.ftruncate(handle, 0)
        finally:
            os.close(handle)


def _link(chain: object, row: Sequence[object]) -> str:
    """The hash of an event (key, kind, time, body) and of the chain before it."""
    text = "\x1f".join(map(str, (chain, *row)))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}",
        uri=True,
        timeout=_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
    return connection


def _check_format(connection: sqlite3.Connection, path: Path, *, new: bool) -> None:
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables and owner in (0, _APPLICATION):
        if new:
            return
        raise RunError(
            f"campaign: {path} is empty: its start did not finish. Start the campaign again"
        )
    if owner != _APPLICATION:
        raise RunError(f"campaign: {path} is not a journal of keepers. Name another folder")
    if version < FORMAT:
        raise RunError(
            f"campaign: {path} has format {version} of an earlier version of keepers, without "
            f"checksums; this version reads {FORMAT}. Export its labels with the earlier "
            "version, and start again with --labelled"
        )
    if version > FORMAT:
        raise RunError(
            f"campaign: {path} has format {version}, but this version of keepers reads {FORMAT}. "
            "Install a newer version"
        )


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Generator[None]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def _explained(path: Path) -> Generator[None]:
    """Turn what SQLite says into an error that names the file and the remedy."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            remedy = "Another process is writing to it: try again"
        elif "full" in text or "readonly" in text or "unable to open" in text:
            remedy = _WRITABLE
        else:
            remedy = "It may be damaged: restore an earlier copy"
        raise RunError(f"campaign: {path} cannot be used ({text}). {remedy}") from None
