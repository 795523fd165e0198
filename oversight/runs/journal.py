"""The journal: every paid call, stored before its result is used, found again by its content.

A call that two episodes share is made once: the second waits for the first.  A call that an interrupted run
had made is served from the journal when the run is resumed.  Several processes may have one journal open: each
makes its own calls, and where two make the same one at the same time, both use the result that was stored first.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .durable import GroupCommit
from .journal_address import JournalAddress
from .journal_stores import Add, Refuse, Row, Write, open_store, read_accounts, read_dollars
from .spending import Spend, Spending

__all__ = ["Journal", "JournalAddress", "read_spending", "read_uncounted"]

Produce = Callable[[], Awaitable[dict[str, Any]]]

_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")

_SECONDS_LATE = 1.0
"""How old the account of a start may be: writing it with every call would cost more than the call's own row."""


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
    """Results of calls by key, in a SQLite file or in PostgreSQL.

    Parameters
    ----------
    address : where it is kept, made if missing; a path is that of a SQLite file.
    retry_refused : whether calls whose result was of no use are made again.
    start : the start of the run that this process belongs to, where it is not the only one of it: what all of them
        spend is one account.

    Raises
    ------
    RunDirectoryError
        if it cannot be opened or is not a journal; MissingExtra without the extra ``postgresql`` where it is needed.
    """

    def __init__(
        self, address: Path | JournalAddress, *, retry_refused: bool = False, start: str | None = None
    ) -> None:
        self.address = address if isinstance(address, JournalAddress) else JournalAddress(address)
        self.retry_refused = retry_refused
        self.start = start or secrets.token_hex(8)
        self._store = open_store(self.address, self.start)
        self._find = self._store.find
        self._writer: GroupCommit[Write, str | None] = GroupCommit(self._write, "journal")
        # Where looking takes a round trip to a server, all that are looked for meanwhile share the next one.
        self._finder: GroupCommit[str, Row | None] | None = None
        if not self._store.at_once:
            self._finder = GroupCommit(self._store.find_all, "journal, reading")
        self._under_way: dict[str, _UnderWay] = {}
        self.spending = Spending()
        """What this process spends in this start of the run; kept with the calls, at most a second late."""
        self._spending_kept = -math.inf
        self.stopping = False
        """Whether the run is ending, so that no call is to be begun."""
        self.made = 0
        """Calls made, as against served from the journal."""
        self.served = 0
        """Calls served from the journal or shared with one under way."""

    def get(self, key: str) -> dict[str, Any] | None:
        """The stored result of a call, or None."""
        return self._usable(self._find(key))

    def _usable(self, row: Row | None) -> dict[str, Any] | None:
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
            if self._finder is None:
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
        if self._finder is not None:
            # In the task that makes the call: whoever asks for the same meanwhile waits for both.
            with self.given_up_freely(key):
                stored = self._usable(await self._finder.put(key))
            if stored is not None:
                self.served += 1
                return stored
        value = await produce()
        self.made += 1
        failed = int("failure" in value)
        stays = await self._writer.put(Add(key, _storable(what), _to_json(value), value.get("dollars", 0.0), failed))
        # What is used is what is stored, and another process may have stored it first.
        return value if stays is None else json.loads(stays)

    async def keep_paid(self, key: str, what: str, dollars: float | None) -> None:
        """Count what a call has cost that is not made to its end; when it is made again, that comes on top."""
        value = json.dumps({"failure": "given up before it was answered"})
        await self._writer.put(Add(f"{key} given up", _storable(what), value, dollars, 1))

    async def refuse(self, key: str) -> None:
        """Mark a stored result as of no use; returns when that is durable."""
        await self._writer.put(Refuse(key))

    def _write(self, writes: Sequence[Write]) -> list[str | None]:
        due = time.monotonic() > self._spending_kept + _SECONDS_LATE or not writes
        account = self.spending.to_json() if due and self.spending.lines else None
        stayed = self._store.write(writes, account)
        if account is not None:
            self._spending_kept = time.monotonic()
        return stayed

    def spent(self) -> float:
        """Dollars of all stored calls with a known price."""
        return self._store.spent()

    def promise(self, holder: str, dollars: float, limit: float) -> int | None:
        """Count the worst case of a call against a limit that processes share; None where it could cross it.

        Counted are all stored calls, and every promise that is not taken back.
        """
        return self._store.promise(holder, dollars, limit)

    def holders(self) -> list[str]:
        """Whose promises stand."""
        return self._store.holders()

    def take_back(self, promises: Sequence[int] = (), holder: str | None = None) -> None:
        """Promises are kept or broken; with a holder, all that it has left, as after a process that was killed."""
        self._store.take_back(promises, holder)

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
        """Let calls under way finish and be stored, then let the store go."""
        await self.drain()
        self._writer.close()
        if self._finder is not None:
            self._finder.close()
        try:
            if self.spending.lines:
                self._write(())
        finally:
            self._store.close()


def _to_json(value: dict[str, Any]) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if _SURROGATE.search(text):  # half a character, which UTF-8 cannot hold
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text


def _storable(name: str) -> str:
    """A name for a reader, with what a database refuses written out."""
    return _UNSTORABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", name)


def read_uncounted(address: JournalAddress) -> float:
    """Dollars of stored calls that stand in no account, as a process was killed before it had written down whose.

    Raises
    ------
    RunDirectoryError
        if the journal is there and cannot be read.
    """
    counted = sum(line.dollars for start in read_spending(address) for line in start)
    uncounted = read_dollars(address) - counted
    return uncounted if uncounted > 1e-6 * max(counted, 1.0) else 0.0


def read_spending(address: Path | JournalAddress) -> list[list[Spend]]:
    """What each start of a run has spent by role and model, oldest first; starts that called no model left out.

    What the processes of one start have spent is added up.

    Raises
    ------
    RunDirectoryError
        if the journal is there and cannot be read.
    """
    starts: dict[str, dict[tuple[str, str], Spend]] = {}
    for start, account in read_accounts(address if isinstance(address, JournalAddress) else JournalAddress(address)):
        lines = starts.setdefault(start, {})
        for line in map(Spend.from_dict, json.loads(account)):
            lines.setdefault((line.role, line.model), Spend(line.role, line.model)).add(line)
    return [list(lines.values()) for lines in starts.values() if lines]
