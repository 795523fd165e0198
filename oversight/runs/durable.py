"""Writes that are on disk before anyone relies on them, many to one flush.

Every write waits for its own durability; the thread that writes takes all that are waiting, writes them
together and flushes once, so a busy run pays for one flush and not for hundreds.
"""

from __future__ import annotations

import asyncio
import queue
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

__all__ = ["GroupCommit", "refused_because"]

_GATHERING = 0.005
"""Seconds in which items gather for one commit: a commit for each would take more processor time than all else."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class GroupCommit(Generic[Item, Result]):
    """A thread that works off waiting items together.

    Parameters
    ----------
    write : called in the thread with the items of one commit; returns when they are durable, with a result for each.
    name : the thread's name.
    """

    def __init__(self, write: Callable[[Sequence[Item]], Sequence[Result]], name: str) -> None:
        self._write = write
        self._waiting: queue.SimpleQueue[tuple[Item, asyncio.Future[Result], asyncio.AbstractEventLoop] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def put(self, item: Item) -> Result:
        """Store an item; returns its result when it is durable, raises what the write raised."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()
        self._waiting.put((item, done, loop))
        return await done  # a waiter that is cancelled takes nothing back: the item is in the queue

    def close(self) -> None:
        """Write what is waiting and end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        batch: list[Any] = []
        while True:
            entry = self._waiting.get()
            if len(batch) > 1:  # more are on their way; one that comes alone is not kept waiting
                time.sleep(_GATHERING)
            batch = [entry]
            while not self._waiting.empty():
                batch.append(self._waiting.get())
            last = None in batch
            taken = [one for one in batch if one is not None]
            if taken:
                error: Exception | None = None
                results: Sequence[Result] = ()
                try:
                    results = self._write([item for item, _, _ in taken])
                except Exception as caught:  # handed to every waiter: it is theirs to report
                    error = caught
                by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Result], Result | None]]] = {}
                for place, (_, done, loop) in enumerate(taken):
                    by_loop.setdefault(loop, []).append((done, None if error else results[place]))
                for loop, futures in by_loop.items():
                    if not loop.is_closed():
                        loop.call_soon_threadsafe(_finish, futures, error)
            if last:
                return


def _finish(futures: list[tuple[asyncio.Future[Any], Any]], error: Any) -> None:
    for future, result in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
            future.exception()  # a waiter that was cancelled will not come for it


def refused_because(error: sqlite3.Error, file: Path) -> str:
    """Why SQLite could not use a file: its own words, and that the disk is full where it says ``disk I/O error``."""
    words = str(error)
    try:
        full = "full" not in words and shutil.disk_usage(file.parent).free == 0
    except OSError:
        full = False
    return f"{words}: the disk is full" if full else words
