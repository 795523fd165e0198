"""The journal: every paid call, stored before its result is used, found again by its content.

A call that two episodes share is made once: the second waits for the first.  A call that an interrupted run
had made is served from the journal when the run is resumed.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import RunDirectoryError
from .durable import GroupCommit, refused_because
from .spending import Spend, Spending

__all__ = ["Journal", "read_spending"]

Produce = Callable[[], Awaitable[dict[str, Any]]]

_SCHEMA = """
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

_SURROGATE = re.compile("[\ud800-\udfff]")

_STARTS = """
CREATE TABLE IF NOT EXISTS starts (     -- what each start of the run that called models has spent
    id INTEGER PRIMARY KEY, spending TEXT NOT NULL
)
"""

_SECONDS_LATE = 1.0
"""How old the account of a start may be: writing it with every call would cost more than the call's own row."""

Write = tuple[str, tuple[Any, ...]]
"""A statement and its values."""

# A result that was of no use gives way to a new one; what both cost adds up.
_ADD = """
INSERT INTO calls (key, what, value, dollars, refused) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE
SET value = excluded.value, refused = excluded.refused,
    dollars = CASE WHEN calls.dollars IS NULL THEN excluded.dollars
                   ELSE calls.dollars + COALESCE(excluded.dollars, 0) END
WHERE calls.refused = 1
"""
_REFUSE = "UPDATE calls SET refused = 1 WHERE key = ?"


@dataclass(eq=False)
class _UnderWay:
    """A call that is being made.

    Parameters
    ----------
    task : makes it.
    wanted : how many wait for it.
    given_up_freely : whether nothing is lost if it is not made.
    """

    task: asyncio.Task[dict[str, Any]]
    wanted: int = 0
    given_up_freely: bool = False


class Journal:
    """Results of calls by key, in one SQLite file.

    Parameters
    ----------
    path : the file; made if missing.
    retry_refused : whether calls whose result was of no use are made again.

    Raises
    ------
    RunDirectoryError
        if the file cannot be opened or is not a journal.
    """

    def __init__(self, path: Path, *, retry_refused: bool = False) -> None:
        self.path, self.retry_refused = path, retry_refused
        try:
            self._read = sqlite3.connect(path, isolation_level=None, timeout=30)
            self._read.execute("PRAGMA journal_mode=WAL")
            self._read.execute(_SCHEMA)
            self._read.execute(_PROMISES)
            self._read.execute(_STARTS)
            self._read.execute("SELECT key, what, value, dollars, refused FROM calls LIMIT 1")
        except sqlite3.Error as error:
            raise RunDirectoryError(f"{path}: cannot be used as the journal: {refused_because(error, path)}") from None
        self._write_connection: sqlite3.Connection | None = None
        self._writer: GroupCommit[Write] = GroupCommit(self._store, "journal")
        self._under_way: dict[str, _UnderWay] = {}
        self.spending = Spending()
        """What this start of the run spends; kept with the calls, at most a second late."""
        self._start: int | None = None
        self._spending_kept = -math.inf
        self.stopping = False
        """Whether the run is ending, so that no call is to be begun."""
        self.made = 0
        """Calls made, as against served from the journal."""
        self.served = 0
        """Calls served from the journal or shared with one under way."""

    def get(self, key: str) -> dict[str, Any] | None:
        """The stored result of a call, or None."""
        row = self._read.execute("SELECT value, refused FROM calls WHERE key = ?", (key,)).fetchone()
        return None if row is None or (row[1] and self.retry_refused) else json.loads(row[0])

    async def once(
        self, key: str, what: str, produce: Produce, ended: Callable[[], None] | None = None
    ) -> dict[str, Any]:
        """The result of a call: stored, shared with one under way, or made, stored and then given.

        Parameters
        ----------
        key : digest of everything that determines the call.
        what : who is called, for a reader of the journal.
        produce : makes the call; its result is JSON values, with its cost as ``dollars``, and with ``failure``
            where the call failed for good.
        ended : called when the call that ``produce`` was asked for is stored, or given up.
        """
        while True:
            stored = self.get(key)
            if stored is not None:
                self.served += 1
                return stored
            call = self._under_way.get(key)
            if call is None or call.task.cancelled():
                call = _UnderWay(asyncio.get_running_loop().create_task(self._make(key, what, produce)))
                self._under_way[key] = call
                call.task.add_done_callback(partial(self._ended, key, call))
                if ended is not None:
                    call.task.add_done_callback(lambda _: ended())
            else:
                self.served += 1
            call.wanted += 1
            try:
                # The call belongs to all who wait for it: one that is cancelled leaves it to the others.
                return await asyncio.shield(call.task)
            except asyncio.CancelledError:
                asking = asyncio.current_task()
                if self.stopping or not call.task.cancelled() or (asking is not None and asking.cancelling()):
                    raise
                # Those who came first gave it up at the same moment.
            finally:
                call.wanted -= 1
                if not call.wanted and call.given_up_freely:
                    call.task.cancel()

    def _ended(self, key: str, call: _UnderWay, _: object) -> None:
        if self._under_way.get(key) is call:
            del self._under_way[key]
        if not call.task.cancelled():
            call.task.exception()  # those who waited may have gone, and asyncio would print it as nobody's

    @contextmanager
    def given_up_freely(self, key: str) -> Iterator[None]:
        """What a call is in while it waits and has cost nothing: it is not made if nobody wants it any more."""
        call = self._under_way[key]
        if self.stopping or not call.wanted:
            raise asyncio.CancelledError
        call.given_up_freely = True
        try:
            yield
        finally:
            call.given_up_freely = False

    async def _make(self, key: str, what: str, produce: Produce) -> dict[str, Any]:
        value = await produce()
        self.made += 1
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        if _SURROGATE.search(text):  # half a character, which UTF-8 cannot hold
            text = json.dumps(value, allow_nan=False, separators=(",", ":"))
        failed = int("failure" in value)
        await self._writer.put((_ADD, (key, what, text, value.get("dollars", 0.0), failed)))
        return value

    async def keep_paid(self, key: str, what: str, dollars: float | None) -> None:
        """Count what a call has cost that is not made to its end; when it is made again, that comes on top."""
        value = json.dumps({"failure": "given up before it was answered"})
        await self._writer.put((_ADD, (f"{key} given up", what, value, dollars, 1)))

    async def refuse(self, key: str) -> None:
        """Mark a stored result as of no use; returns when that is durable."""
        await self._writer.put((_REFUSE, (key,)))

    def _store(self, rows: Sequence[Write]) -> None:
        try:
            if self._write_connection is None:
                self._write_connection = sqlite3.connect(
                    self.path, isolation_level=None, timeout=30, check_same_thread=False
                )
                self._write_connection.execute("PRAGMA synchronous=FULL")
            connection = self._write_connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                for statement, values in rows:
                    connection.execute(statement, values)
                if time.monotonic() > self._spending_kept + _SECONDS_LATE or not rows:
                    self._keep_spending(connection)
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

    def _keep_spending(self, connection: sqlite3.Connection) -> None:
        """Write down what this start has spent so far, in the transaction that stores the calls."""
        if not self.spending.lines:
            return
        text = self.spending.to_json()
        if self._start is None:
            self._start = connection.execute("INSERT INTO starts (spending) VALUES (?)", (text,)).lastrowid
        else:
            connection.execute("UPDATE starts SET spending = ? WHERE id = ?", (text, self._start))
        self._spending_kept = time.monotonic()

    def spent(self) -> float:
        """Dollars of all stored calls with a known price."""
        return float(self._read.execute("SELECT COALESCE(SUM(dollars), 0) FROM calls").fetchone()[0])

    def promise(self, holder: str, dollars: float, limit: float) -> int | None:
        """Count the worst case of a call against a limit that processes share; None where it could cross it.

        Counted are all stored calls, and every promise that is not taken back.
        """
        try:
            self._read.execute("BEGIN IMMEDIATE")
            try:
                (promised,) = self._read.execute("SELECT COALESCE(SUM(dollars), 0) FROM promises").fetchone()
                if self.spent() + promised + dollars > limit:
                    return None
                found = self._read.execute("INSERT INTO promises (holder, dollars) VALUES (?, ?)", (holder, dollars))
                return found.lastrowid
            finally:
                self._read.execute("COMMIT")
        except sqlite3.Error as error:
            raise RunDirectoryError(f"{self.path}: cannot be written: {error}; repeat the command to go on") from None

    def take_back(self, promises: Sequence[int] = (), holder: str | None = None) -> None:
        """Promises are kept or broken; with a holder, all that it has left, as after a process that was killed."""
        try:
            self._read.executemany("DELETE FROM promises WHERE id = ?", [(one,) for one in promises])
            if holder is not None:
                self._read.execute("DELETE FROM promises WHERE holder = ?", (holder,))
        except sqlite3.Error as error:
            raise RunDirectoryError(f"{self.path}: cannot be written: {error}; repeat the command to go on") from None

    @property
    def under_way(self) -> int:
        """Calls that are being made or wait for a place."""
        return len(self._under_way)

    async def drain(self) -> None:
        """Let calls under way finish and be stored: they are paid for.  Calls that wait for a place are given up."""
        self.stopping = True
        while self._under_way:
            calls = list(self._under_way.values())
            for call in calls:
                if call.given_up_freely:
                    call.task.cancel()
            await asyncio.gather(*(call.task for call in calls), return_exceptions=True)
            await asyncio.sleep(0)  # until it is noted that they have ended

    async def close(self) -> None:
        """Let calls under way finish and be stored, then close the file."""
        await self.drain()
        self._writer.close()
        if self.spending.lines:
            self._store(())
        self._read.close()
        if self._write_connection is not None:
            self._write_connection.close()
            self._write_connection = None


def read_spending(path: Path) -> list[list[Spend]]:
    """What each start of a run has spent by role and model, oldest first; starts that called no model left out.

    Raises
    ------
    RunDirectoryError
        if the file is there and cannot be read.
    """
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'starts'").fetchone():
                return []  # made by an earlier version
            rows = connection.execute("SELECT spending FROM starts ORDER BY id").fetchall()
    except sqlite3.Error as error:
        raise RunDirectoryError(f"{path}: cannot be read: {error}") from None
    return [[Spend.from_dict(line) for line in json.loads(text)] for (text,) in rows]
