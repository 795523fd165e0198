"""Workers that are processes on this machine.

Each is a fresh interpreter, so that a script needs no ``__main__`` guard, in a session of its own, so that Ctrl-C at
the terminal reaches the coordinator alone.  A worker whose coordinator is gone reads the end of its pipe; it lets the
calls under way finish, and ends.
"""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import struct
import sys
import threading
from contextlib import suppress
from typing import BinaryIO

from .executor import Gone, Link
from .garbage import little_garbage_collection
from .job import from_bytes, to_bytes
from .worker import Message, work

__all__ = ["ProcessLink"]

_LENGTH = struct.Struct(">Q")


class ProcessLink(Link):
    """A worker process, started by :meth:`start`."""

    def __init__(self, process: asyncio.subprocess.Process, job: Message) -> None:
        self._process = process
        self._sending = asyncio.Lock()
        # It takes seconds to import what it needs before it reads, and others are started meanwhile.
        self._job = asyncio.create_task(self.send(job))

    @classmethod
    async def start(cls, packed: bytes, holder: str, connections: int | None, processors: int) -> ProcessLink:
        """Start a worker.

        Parameters
        ----------
        packed : its job.
        holder : its name where promises stand.
        connections : its share of the calls in flight to one endpoint.
        processors : processors that the engines of its agents may use.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # what lies in the working folder does not stand for a library's module
            "-m",
            __spec__.name,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"LOKY_MAX_CPU_COUNT": str(processors), **os.environ},  # read by the library that starts engines
            start_new_session=True,
        )
        return cls(process, (packed, holder, connections))

    async def send(self, message: Message) -> None:
        assert self._process.stdin is not None
        data = to_bytes(message)
        with suppress(OSError):  # that it is gone is found by whoever listens
            async with self._sending:
                self._process.stdin.write(_LENGTH.pack(len(data)) + data)
                await self._process.stdin.drain()

    async def receive(self) -> Message:
        assert self._process.stdout is not None
        try:
            (length,) = _LENGTH.unpack(await self._process.stdout.readexactly(_LENGTH.size))
            message = from_bytes(await self._process.stdout.readexactly(length))
        except (asyncio.IncompleteReadError, OSError):
            code = await self._process.wait()
            raise Gone(_how(code)) from None
        return message

    async def end(self, *, kill: bool) -> None:
        assert self._process.stdin is not None
        if kill:
            with suppress(ProcessLookupError):
                self._process.kill()
        self._process.stdin.close()
        with suppress(OSError):
            await self._process.stdin.wait_closed()
        await asyncio.gather(self._job, return_exceptions=True)
        await self._process.wait()


def _how(code: int) -> str:
    """How a process ended, by its exit code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


# ---- the worker's side ----------------------------------------------------------------------------


def _read(stream: BinaryIO) -> Message | None:
    """The next message; None where there is none, as the coordinator is gone."""
    head = _exactly(stream, _LENGTH.size)
    data = None if head is None else _exactly(stream, *_LENGTH.unpack(head))
    return None if data is None else from_bytes(data)


def _exactly(stream: BinaryIO, length: int) -> bytes | None:
    # The stream has no buffer, whose lock a thread that waits here would hold when the interpreter ends.
    read = bytearray()
    while len(read) < length:
        more = stream.read(length - len(read))
        if not more:
            return None
        read += more
    return bytes(read)


def _write(stream: BinaryIO, waiting: queue.SimpleQueue[Message | None]) -> None:
    """Write messages until there are no more; a coordinator that is gone is told nothing."""
    with suppress(OSError):
        while (message := waiting.get()) is not None:
            data = to_bytes(message)
            stream.write(_LENGTH.pack(len(data)) + data)
            if waiting.empty():
                stream.flush()


async def _main(inbound: BinaryIO, outbound: BinaryIO) -> None:
    first = _read(inbound)
    if first is None:
        return
    packed, holder, connections = first
    orders: asyncio.Queue[Message] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def listen() -> None:
        while (message := _read(inbound)) is not None:
            loop.call_soon_threadsafe(orders.put_nowait, message)
        with suppress(RuntimeError):  # the loop has ended before
            loop.call_soon_threadsafe(orders.put_nowait, ("stop",))

    said: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
    speaking = threading.Thread(target=_write, args=(outbound, said), name="reports", daemon=True)
    speaking.start()
    threading.Thread(target=listen, name="orders", daemon=True).start()
    try:
        await work(packed, holder, connections, orders, said.put)
    finally:
        said.put(None)
        speaking.join()


def main() -> None:
    """A worker process: its standard input and output are the coordinator's, and nobody else's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inbound, outbound = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    # What an agent prints goes where errors go, and an agent that reads finds nothing.
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    with little_garbage_collection():
        asyncio.run(_main(inbound, outbound))


if __name__ == "__main__":
    main()
