"""An event loop whose clock jumps to whatever comes next: hours of simulated waiting take no time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class VirtualTime(asyncio.SelectorEventLoop):
    """Never waits: where nothing is ready, it is at once as late as the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        if not self._ready:
            assert self._scheduled or self._stopping, "everybody waits for somebody else"
            if self._scheduled:
                self._now = max(self._now, self._scheduled[0].when())
        super()._run_once()


def simulate(work: Coroutine[Any, Any, Result]) -> Result:
    """What the work gives, carried out in virtual time; an AssertionError where it could never end."""
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(work)
