"""Workers that are actors of a Ray cluster: ``ray start`` on each machine, and a journal that all of them reach.

Ray is asked for processes on other machines and for messages to and from them, and for nothing else: which episodes
are played where, and what happens when a worker is lost, is the pool's to decide as for processes on one machine.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from typing import Any

from ..errors import ConfigurationError, MissingExtra
from .executor import Gone, Link
from .worker import Message, work

__all__ = ["Cluster"]

_QUOTED = 200
"""Characters that are quoted of what Ray says of an actor that is lost."""


class Cluster:
    """A Ray cluster that runs already; this process joins it.

    Raises
    ------
    ConfigurationError
        if none runs; MissingExtra without Ray.
    """

    def __init__(self) -> None:
        # Nothing that we start tells anybody that it was started.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError:
            raise MissingExtra("--executor ray", "ray") from None
        self._ray: Any = ray
        self._joined = not self._ray.is_initialized()
        if self._joined:
            _require_somebody_there(os.environ.get("RAY_ADDRESS", ""))
            try:
                self._ray.init(address="auto", namespace="oversight", log_to_driver=False, logging_level=logging.ERROR)
            except ConnectionError:
                raise ConfigurationError(
                    "--executor ray: no Ray cluster is found: start one with 'ray start --head "
                    "--disable-usage-stats', or name one in RAY_ADDRESS"
                ) from None
            except (RuntimeError, ValueError) as error:  # another version, or an address that is none
                raise ConfigurationError(f"--executor ray: the cluster cannot be joined: {error}") from None
        self._actor = self._ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(_OversightWorker)
        self._job: Any = None

    @property
    def processors(self) -> int:
        """How many processors the machines have together."""
        return max(int(self._ray.cluster_resources().get("CPU", 0)), 1)

    async def start(self, packed: bytes, holder: str, connections: int | None) -> Link:
        """Start a worker; it runs as soon as a processor of the cluster is free."""
        if self._job is None:
            self._job = self._ray.put(packed)  # sent once to each machine
        actor = self._actor.remote()
        return _ActorLink(self._ray, actor, actor.begin.remote(self._job, holder, connections))

    def close(self) -> None:
        """Leave the cluster, which runs on."""
        self._job = None
        if self._joined:
            self._ray.shutdown()


def _require_somebody_there(address: str) -> None:
    """Raise ConfigurationError where nobody listens at HOST:PORT; Ray would try for two minutes, and exit."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")  # of IPv6
    if not (host and port.isdecimal()) or "/" in address:  # found by Ray itself, or through its own client
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError, UnicodeError) as error:  # the last of a name that can be none
        raise ConfigurationError(
            f"--executor ray: no Ray cluster answers at RAY_ADDRESS={address}: {error}; start it there, or name another"
        ) from None


class _ActorLink(Link):
    """An actor as its coordinator sees it."""

    def __init__(self, ray: Any, actor: Any, begun: Any) -> None:
        self._ray, self._actor, self._begun = ray, actor, begun
        self._heard: deque[Message] = deque()

    async def send(self, message: Message) -> None:
        self._actor.tell.remote(message)  # what comes of it is found by whoever listens

    async def receive(self) -> Message:
        while not self._heard:
            try:
                if self._begun is not None:
                    await self._begun
                    self._begun = None
                self._heard.extend(await self._actor.hear.remote())
            except self._ray.exceptions.RayError as error:
                words = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
                raise Gone(f"{type(error).__name__}: {words[:_QUOTED]}") from None
        return self._heard.popleft()

    async def end(self, *, kill: bool) -> None:
        self._ray.kill(self._actor, no_restart=True)


class _OversightWorker:
    """A worker in a process of the cluster."""

    def __init__(self) -> None:
        os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")  # engines of its agents have the processor that it has
        self._orders: asyncio.Queue[Message] = asyncio.Queue()
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._working: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return "oversight worker"

    async def begin(self, packed: bytes, holder: str, connections: int | None) -> None:
        """Begin to play what is ordered."""
        self._working = asyncio.create_task(work(packed, holder, connections, self._orders, self._said.put_nowait))

    async def tell(self, message: Message) -> None:
        """Take an order."""
        self._orders.put_nowait(message)

    async def hear(self) -> list[Message]:
        """What the worker has said since the last time, as soon as there is something."""
        said = [await self._said.get()]
        while not self._said.empty():
            said.append(self._said.get_nowait())
        return said
