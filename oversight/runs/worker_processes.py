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
from typing import BinaryIO, TextIO, TypeGuard

from .executor import Gone, Link
from .garbage import little_garbage_collection
from .job import from_bytes, to_bytes
from .worker import Message, failure, work

__all__ = ["ProcessLink"]

_LENGTH = struct.Struct(">Q")


class ProcessLink(Link):
    """A worker process, started by :meth:`start`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        said: asyncio.StreamReader,
        pipe: asyncio.ReadTransport,
        job: Message,
    ) -> None:
        self._process, self._said, self._pipe = process, said, pipe
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
        # A pipe of its own: anything may print to standard output, even while the interpreter starts.
        reading, writing = os.pipe()
        said = asyncio.StreamReader()
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(said), os.fdopen(reading, "rb")
        )
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # what lies in the working folder does not stand for a library's module
                "-m",
                __spec__.name,
                str(writing),
                stdin=asyncio.subprocess.PIPE,
                stdout=sys.__stderr__.fileno() if _has_descriptor(sys.__stderr__) else asyncio.subprocess.DEVNULL,
                env={"LOKY_MAX_CPU_COUNT": str(processors), **os.environ},  # read by the library that starts engines
                start_new_session=True,
                pass_fds=[writing],
            )
        except BaseException:
            pipe.close()
            raise
        finally:
            os.close(writing)
        return cls(process, said, pipe, (packed, holder, connections))

    async def send(self, message: Message) -> None:
        assert self._process.stdin is not None
        data = to_bytes(message)
        with suppress(OSError):  # that it is gone is found by whoever listens
            async with self._sending:
                self._process.stdin.write(_LENGTH.pack(len(data)) + data)
                await self._process.stdin.drain()

    async def receive(self) -> Message:
        try:
            (length,) = _LENGTH.unpack(await self._said.readexactly(_LENGTH.size))
            message = from_bytes(await self._said.readexactly(length))
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
        self._pipe.close()


def _has_descriptor(stream: TextIO | None) -> TypeGuard[TextIO]:
    try:
        return stream is not None and stream.fileno() >= 0
    except (OSError, ValueError):
        return False


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
            try:
                data = to_bytes(message)
            except Exception as error:  # what cannot be copied is told, and not waited for
                data = to_bytes(failure(error))
            stream.write(_LENGTH.pack(len(data)) + data)
            if waiting.empty():
                stream.flush()
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
    """A worker process: it reads the coordinator on standard input, and writes to the pipe that its argument names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inbound, outbound = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(int(sys.argv[1]), "wb")
    # An agent that reads finds nothing.
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    with little_garbage_collection():
        asyncio.run(_main(inbound, outbound))


if __name__ == "__main__":
    main()
