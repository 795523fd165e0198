"""A worker: plays the episodes that it is given, with its own connections to endpoints and to the journal.

What it does not know of is how it was started and how messages come and go: :mod:`oversight.runs.worker_processes`
and :mod:`oversight.runs.ray_cluster` do that.  The same messages go over both:

to the worker    ``("play", [reference, ...])``, ``("give up",)`` (no room is left under the cost limit anywhere),
                 ``("stop",)``
from the worker  ``("ready",)``, ``("finished", record, spent)``, ``("retried", spent)``, ``("no room",)``,
                 ``("room",)``, ``("failed", names, text, trace)``, ``("ended", spent)``
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors
from ..identity import digest
from .calls import Budget, connected
from .job import Job, Numbering, Reference, unpack
from .journal import Journal
from .moderator import play_one
from .places import next_in_turn
from .progress import Progress
from .spending import Spend

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = ["LOCK", "Message", "Report", "failure", "lock_of", "raised", "work"]

Message = tuple[Any, ...]
Report = Callable[[Message], None]

LOCK = ".worker-"
"""How the names of the files begin that workers of this machine hold as long as they live."""

_ASK_AGAIN = 0.2
"""Seconds until it is looked again whether other workers have left room under the cost limit."""


class _SharedBudget(Budget):
    """A budget that waits for other workers' calls before it says that there is no room for another.

    Parameters
    ----------
    limit : dollars, over all workers; None for no limit.
    journal : where all workers' promises stand.
    holder : who this worker is there.
    report : tells the coordinator.
    """

    def __init__(self, limit: float | None, journal: Journal, holder: str, report: Report) -> None:
        super().__init__(limit, shared=journal if limit is not None else None, holder=holder)
        self.given_up = False
        self._report, self._stuck, self._asking = report, False, asyncio.Lock()

    def reserve(self, dollars: float | None, what: str, shared: list[int]) -> float:
        promised = super().reserve(dollars, what, shared)
        if self._stuck:
            self._stuck = False
            self._report(("room",))
        return promised

    @property
    def others_may_land(self) -> bool:
        return self.limit is not None and not self.given_up

    async def others_have_moved(self) -> None:
        async with self._asking:  # one call asks for all that wait
            if not self.in_flight and not self.given_up:
                self._stuck = True
                self._report(("no room",))
                await asyncio.sleep(_ASK_AGAIN)


class _Relay(Progress):
    """Tells the coordinator of tries that are made again."""

    def __init__(self, report: Callable[[], None]) -> None:
        self._tell = report

    def retried(self, tries: int) -> None:
        self._tell()


async def work(
    packed: bytes, holder: str, connections: int | None, orders: asyncio.Queue[Message], report: Report
) -> None:
    """Play what is ordered until it is told to stop; calls that are then under way are waited for, and stored.

    Parameters
    ----------
    packed : the job.
    holder : who this worker is where promises stand.
    connections : its share of the calls in flight to one endpoint; None to find out.
    orders : messages to the worker.
    report : takes messages from the worker.
    """
    try:
        await _work(unpack(packed), holder, connections, orders, report)
    except Exception as error:  # the coordinator's to raise
        report(failure(error))


def lock_of(folder: Path, holder: str) -> FileLock:
    """What a worker of this machine holds as long as it lives, and what it has promised counts."""
    from filelock import FileLock

    return FileLock(folder / f"{LOCK}{digest(holder, 12)}")


async def _work(job: Job, holder: str, connections: int | None, orders: asyncio.Queue[Message], report: Report) -> None:
    with lock_of(job.locks, holder) if job.locks is not None else nullcontext():
        await _play(job, holder, connections, orders, report)


async def _play(job: Job, holder: str, connections: int | None, orders: asyncio.Queue[Message], report: Report) -> None:
    plan, numbering = job.plan, Numbering(job.plan)
    journal = Journal(job.journal, retry_refused=job.retry_refused, start=job.start)

    def spent() -> list[Spend]:
        return [Spend.from_dict(line.to_dict()) for line in journal.spending.lines]

    try:
        budget = _SharedBudget(job.cost_limit, journal, holder, report)
        progress = _Relay(lambda: report(("retried", spent())))
        agents, _ = connected(plan.agents, journal, budget, connections, progress)

        async def play(reference: Reference) -> None:
            next_in_turn()
            try:
                record = await play_one(plan, numbering.episode(reference), agents, journal, job.episode_timeout)
            except Exception as error:
                report(failure(error))
            else:
                report(("finished", record, spent()))

        playing: set[asyncio.Task[None]] = set()
        report(("ready",))
        try:
            while (order := await orders.get()) != ("stop",):
                if order == ("give up",):
                    budget.given_up = True
                    continue
                for reference in order[1]:
                    task = asyncio.create_task(play(reference))
                    playing.add(task)
                    task.add_done_callback(playing.discard)
        finally:
            journal.stopping = True
            for task in playing:
                task.cancel()
            await asyncio.gather(*playing, return_exceptions=True)
            # A call under way needs its connection, so it is waited for before any is closed.
            await journal.drain()
            if job.cost_limit is not None:
                journal.take_back(holder=holder)
            for agent in agents.values():
                await agent.close()
    finally:
        await journal.close()
    report(("ended", spent()))


def failure(error: Exception) -> Message:
    """The message that something failed: what kind of error it is, nearest first, its text, and where it came up."""
    names = [kind.__name__ for kind in type(error).__mro__]
    return ("failed", names, str(error), "".join(traceback.format_exception(error)))


def raised(names: list[str], text: str, trace: str) -> Exception:
    """The error that a worker told of; one that is no error of ours comes as a RuntimeError with its traceback."""
    for name in names:
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, errors.OversightError):
            error = kind.__new__(kind)  # several take other arguments than their text
            error.args = (text,)
            return error
    unknown = RuntimeError(f"{names[0]} in a worker: {text}")
    unknown.add_note(trace)
    return unknown
