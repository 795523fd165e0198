"""What a journal is kept in: finding what is stored, and storing several writes at once."""

from __future__ import annotations

import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from ..errors import RunDirectoryError
from .durable import refused_because
from .journal_address import JournalAddress

__all__ = [
    "Add",
    "Refuse",
    "Row",
    "SQLiteStore",
    "Store",
    "open_store",
    "read_accounts",
    "read_dollars",
    "require_journal",
]


Row = tuple[str, bool]
"""A stored call: the JSON text of its result, and whether that was of no use."""


class Add(NamedTuple):
    """To be stored: the result of a call.

    Where the key has a result already, that one stays, unless it was of no use; what both cost adds up.

    Parameters
    ----------
    key : digest of everything that determines the call.
    what : who was called, for a reader.
    value : the result, as JSON text.
    dollars : what it cost; None where unknown.
    refused : 1 where the result is of no use, so that a retry makes the call again; else 0.
    """

    key: str
    what: str
    value: str
    dollars: float | None
    refused: int


class Refuse(NamedTuple):
    """To be stored: that a result was of no use."""

    key: str


Write = Add | Refuse


def dollars_of(writes: Sequence[Write]) -> float:
    """What the calls cost that are stored."""
    return sum(write.dollars or 0.0 for write in writes if isinstance(write, Add))


class Store(ABC):
    """Where the results of calls are, open to this process; other processes may have it open too.

    ``write`` is called by one thread; everything else by the thread of the event loop, ``find_all`` also by a thread
    of its own where ``at_once`` is False.  What cannot be done is a RunDirectoryError.
    """

    at_once: bool
    """Whether a result is found so fast that nothing else need go on meanwhile."""

    @abstractmethod
    def find(self, key: str) -> Row | None:
        """A stored call, or None."""

    def find_all(self, keys: Sequence[str]) -> list[Row | None]:
        """What is stored under each of the keys."""
        return [self.find(key) for key in keys]

    @abstractmethod
    def write(self, writes: Sequence[Write], account: str | None) -> list[str | None]:
        """Store writes together; returns when they are durable.

        Parameters
        ----------
        writes : in their order.
        account : what this process has spent in this start so far, as JSON text; None where it is not due.

        Returns
        -------
        list of str or None
            for each write, the value that was stored already and stays, where it is another one.
        """

    @abstractmethod
    def spent(self) -> float:
        """Dollars of all stored calls with a known price."""

    @abstractmethod
    def promise(self, holder: str, dollars: float, limit: float) -> int | None:
        """A promise of so many dollars, or None where all calls and promises together would cross the limit."""

    @abstractmethod
    def holders(self) -> list[str]:
        """Whose promises stand."""

    @abstractmethod
    def take_back(self, promises: Sequence[int], holder: str | None) -> None:
        """Delete promises, and with a holder all of its own."""

    @abstractmethod
    def close(self) -> None:
        """Let it go."""


def open_store(address: JournalAddress, start: str) -> Store:
    """The store at an address, made if missing.

    Parameters
    ----------
    address : where it is.
    start : the start of the run that this process belongs to.

    Raises
    ------
    RunDirectoryError
        if it cannot be opened; MissingExtra without the extra ``postgresql`` where it is needed.
    """
    if address.path is not None:
        return SQLiteStore(address.path, start)
    from .journal_postgresql import PostgreSQLStore  # its library is an extra

    return PostgreSQLStore(address, start)


def require_journal(url: str) -> None:
    """Raise ConfigurationError unless ``url`` can be that of a journal; MissingExtra without what it needs."""
    JournalAddress(url=url, run="any")
    from . import journal_postgresql  # noqa: F401


def read_accounts(address: JournalAddress) -> list[tuple[str, str]]:
    """What each process has spent in each start, oldest first: the start, and the account as JSON text."""
    if address.path is not None:
        return _read_sqlite_accounts(address.path)
    from .journal_postgresql import read_postgresql_accounts

    return read_postgresql_accounts(address)


def read_dollars(address: JournalAddress) -> float:
    """Dollars of all stored calls with a known price."""
    if address.path is not None:
        return _read_sqlite_dollars(address.path)
    from .journal_postgresql import read_postgresql_dollars

    return read_postgresql_dollars(address)


# ---- one file --------------------------------------------------------------------------------------------

_CALLS = """
CREATE TABLE IF NOT EXISTS calls (
    key TEXT PRIMARY KEY,   -- digest of everything that determines the call
    what TEXT NOT NULL,     -- who was called, for a reader
    value TEXT NOT NULL,    -- the result, JSON
    dollars REAL,           -- what it cost; NULL where unknown
    refused INTEGER NOT NULL DEFAULT 0  -- 1: its result could not be used, so a retry makes it again
) WITHOUT ROWID
"""
_PROMISES = """
CREATE TABLE IF NOT EXISTS promises (   -- what calls in flight could cost, where several processes share a limit
    id INTEGER PRIMARY KEY, holder TEXT NOT NULL, dollars REAL NOT NULL
)
"""
_STARTS = """
CREATE TABLE IF NOT EXISTS starts (     -- what each process has spent in each start of the run that called models
    id INTEGER PRIMARY KEY, spending TEXT NOT NULL, start TEXT
)
"""
_SPENT = """
CREATE TABLE IF NOT EXISTS spent (      -- the sum over all calls: with a limit, it is asked for before every call
    id INTEGER PRIMARY KEY CHECK (id = 1), dollars REAL NOT NULL
)
"""

_ADD = """
INSERT INTO calls (key, what, value, dollars, refused) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING
"""
# What it gives back is the value that stays, where that is another one.
_ADD_AGAIN = """
UPDATE calls
SET value = CASE WHEN refused THEN ?1 ELSE value END, refused = CASE WHEN refused THEN ?3 ELSE 0 END,
    dollars = CASE WHEN dollars IS NULL THEN ?2 ELSE dollars + COALESCE(?2, 0) END
WHERE key = ?4
RETURNING NULLIF(value, ?1)
"""
_REFUSE = "UPDATE calls SET refused = 1 WHERE key = ?"

_SECONDS_WAITED = 30
"""How long a process waits for others that write."""


class SQLiteStore(Store):
    """A journal in one SQLite file.

    Parameters
    ----------
    path : the file; made if missing.
    start : the start of the run that this process belongs to.
    """

    at_once = True

    def __init__(self, path: Path, start: str) -> None:
        self.path, self.start = path, start
        self._reading = sqlite3.connect(":memory:")
        try:
            self._reading = sqlite3.connect(path, isolation_level=None, timeout=_SECONDS_WAITED)
            self._prepare()
        except sqlite3.Error as error:
            self._reading.close()
            raise RunDirectoryError(f"{path}: cannot be used as the journal: {refused_because(error, path)}") from None
        self._writing: sqlite3.Connection | None = None
        self._account: int | None = None

    def _prepare(self) -> None:
        end = time.monotonic() + _SECONDS_WAITED
        while True:
            try:
                self._reading.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError as error:
                # Another process is doing the same; SQLite does not wait for this lock by itself.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
                time.sleep(0.01)
        # Nothing but promises is written here: they are of no use after a power failure, which ends who made them too.
        self._reading.execute("PRAGMA synchronous=NORMAL")
        for table in (_CALLS, _PROMISES, _STARTS, _SPENT):
            self._reading.execute(table)
        self._reading.execute("SELECT key, what, value, dollars, refused FROM calls LIMIT 1")
        if not (self._keeps_starts() and self._reading.execute("SELECT 1 FROM spent").fetchone()):
            with self._changing():  # it is new, or made by an earlier version
                if not self._keeps_starts():
                    self._reading.execute("ALTER TABLE starts ADD COLUMN start TEXT")
                self._reading.execute("INSERT OR IGNORE INTO spent SELECT 1, COALESCE(SUM(dollars), 0) FROM calls")

    def _keeps_starts(self) -> bool:
        return "start" in {name for _, name, *_ in self._reading.execute("PRAGMA table_info(starts)")}

    @contextmanager
    def _changing(self) -> Iterator[None]:
        self._reading.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._reading.execute("COMMIT")
        finally:  # after an error, which SQLite may have answered by rolling back
            if self._reading.in_transaction:
                self._reading.execute("ROLLBACK")

    def find(self, key: str) -> Row | None:
        row: Row | None = self._reading.execute("SELECT value, refused FROM calls WHERE key = ?", (key,)).fetchone()
        return row

    def write(self, writes: Sequence[Write], account: str | None) -> list[str | None]:
        stayed: list[str | None] = []
        try:
            if self._writing is None:
                self._writing = sqlite3.connect(
                    self.path, isolation_level=None, timeout=_SECONDS_WAITED, check_same_thread=False
                )
                self._writing.execute("PRAGMA synchronous=FULL")
            connection = self._writing
            connection.execute("BEGIN IMMEDIATE")
            try:
                for write in writes:
                    if isinstance(write, Add):
                        new = connection.execute(_ADD, write).rowcount
                        stayed.append(None if new else self._add_again(connection, write))
                    else:
                        connection.execute(_REFUSE, write)
                        stayed.append(None)
                if dollars := dollars_of(writes):
                    connection.execute("UPDATE spent SET dollars = dollars + ?", (dollars,))
                if account is not None:
                    self._keep(connection, account)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise RunDirectoryError(
                f"{self.path}: cannot be written: {refused_because(error, self.path)}; what was stored before is kept, "
                "repeat the command to go on"
            ) from None
        return stayed

    def _add_again(self, connection: sqlite3.Connection, write: Add) -> str | None:
        values = (write.value, write.dollars, write.refused, write.key)
        stays: str | None
        ((stays,),) = connection.execute(_ADD_AGAIN, values).fetchall()
        return stays

    def _keep(self, connection: sqlite3.Connection, account: str) -> None:
        if self._account is None:
            found = connection.execute("INSERT INTO starts (spending, start) VALUES (?, ?)", (account, self.start))
            self._account = found.lastrowid
        else:
            connection.execute("UPDATE starts SET spending = ? WHERE id = ?", (account, self._account))

    def spent(self) -> float:
        return float(self._reading.execute("SELECT dollars FROM spent").fetchone()[0])

    def promise(self, holder: str, dollars: float, limit: float) -> int | None:
        try:
            with self._changing():
                (promised,) = self._reading.execute("SELECT COALESCE(SUM(dollars), 0) FROM promises").fetchone()
                if self.spent() + promised + dollars > limit:
                    return None
                into = "INSERT INTO promises (holder, dollars) VALUES (?, ?)"
                return self._reading.execute(into, (holder, dollars)).lastrowid
        except sqlite3.Error as error:
            raise RunDirectoryError(
                f"{self.path}: cannot be written: {refused_because(error, self.path)}; repeat the command to go on"
            ) from None

    def holders(self) -> list[str]:
        return [holder for (holder,) in self._reading.execute("SELECT DISTINCT holder FROM promises")]

    def take_back(self, promises: Sequence[int], holder: str | None) -> None:
        try:
            self._reading.executemany("DELETE FROM promises WHERE id = ?", [(one,) for one in promises])
            if holder is not None:
                self._reading.execute("DELETE FROM promises WHERE holder = ?", (holder,))
        except sqlite3.Error as error:
            raise RunDirectoryError(
                f"{self.path}: cannot be written: {refused_because(error, self.path)}; repeat the command to go on"
            ) from None

    def close(self) -> None:
        self._reading.close()
        if self._writing is not None:
            self._writing.close()
            self._writing = None


def _read_sqlite_accounts(path: Path) -> list[tuple[str, str]]:
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(path, timeout=_SECONDS_WAITED)) as connection:
            columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(starts)")}
            if not columns:  # made by an earlier version, as is one without the name of the start
                return []
            start = "COALESCE(start, id)" if "start" in columns else "id"
            rows = connection.execute(f"SELECT {start}, spending FROM starts ORDER BY id").fetchall()
    except sqlite3.Error as error:
        raise RunDirectoryError(f"{path}: cannot be read: {error}") from None
    return [(str(start), account) for start, account in rows]


def _read_sqlite_dollars(path: Path) -> float:
    if not path.exists():
        return 0.0
    try:
        with closing(sqlite3.connect(path, timeout=_SECONDS_WAITED)) as connection:
            if not connection.execute("PRAGMA table_info(spent)").fetchall():  # made by an earlier version
                return 0.0
            return float(sum(dollars for (dollars,) in connection.execute("SELECT dollars FROM spent")))
    except sqlite3.Error as error:
        raise RunDirectoryError(f"{path}: cannot be read: {error}") from None
