"""Who plays the episodes: this process, worker processes on this machine, or the actors of a Ray cluster.

A pool of workers holds the run directory alone: it deals out episodes, appends the records that come back, and tells
the progress of all workers together.  Episodes of one question and sample share calls, so they are at one worker at a
time, and no call is made by two; everything else goes to whoever has least to do.  A worker that dies loses nothing
but the calls that it was making: what it had been dealt goes to the others, and another takes its place.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, Literal, get_args

from filelock import FileLock, Timeout

from ..agents import CascadeAgent, LanguageModelAgent
from ..agents.composite import everybody_asked
from ..errors import ConfigurationError, UnknownName, WorkersLost
from ..transcript import Usage
from .allowance import Allowance
from .directory import RunDirectory
from .job import Job, Numbering, pack
from .plan import Episode, Plan
from .progress import Progress
from .spending import Spend, Spending, in_all, summed
from .worker import LOCK, Message, raised

__all__ = [
    "Executor",
    "ExecutorName",
    "Gone",
    "Heard",
    "Link",
    "Pool",
    "Start",
    "WorkerOptions",
    "earlier_workers_end",
    "make_pool",
]

ExecutorName = Literal["processes", "ray"]

Heard = Callable[[Mapping[str, Any]], None]
"""Told each record when it is durable."""

_FIRST, _GROWTH = 16, 4
"""Episodes that a worker is given at first, and by how many more it may have with each that it finishes.

Workers do not start at the same moment: the first one is not to be given everything.
"""

_DEATHS = 2
"""How many times as many workers as there are die in a row, with no episode finished between, before the run stops."""

_LOOK_AGAIN = 0.2
"""Seconds between looks whether workers of an earlier start have ended."""

_SLOW_START = 20.0
"""Seconds without a worker after which it is said what is waited for."""


@dataclass(frozen=True)
class WorkerOptions:
    """Who plays the episodes of a run, where that is not the process that holds it.

    Parameters
    ----------
    count : how many workers, at least 1; None for one a processor.
    executor : ``processes`` on this machine, or actors of a ``ray`` cluster that runs already.
    """

    count: int | None = None
    executor: ExecutorName = "processes"

    def require(self, plan: Plan, journal: str | None) -> None:
        """Raise ConfigurationError where workers cannot play a plan.

        Parameters
        ----------
        journal : the URL of the database that the journal is kept in; None for a file in the run directory.
        """
        option = f"--executor {self.executor}" if self.count is None else f"--workers {self.count}"
        if self.executor not in get_args(ExecutorName):
            raise UnknownName("executor", self.executor, get_args(ExecutorName))
        if self.count is not None and self.count < 1:
            raise ConfigurationError(f"{option}: give 1 or more")
        if self.executor == "ray" and journal is None:
            raise ConfigurationError(
                "--executor ray: the machines of a cluster share no file: give --journal postgresql://USER@HOST/DATABASE"
            )
        for agent in everybody_asked(plan.agents.values()):
            why = ""
            if agent.asks_people:
                why = "is asked at this terminal"
            elif isinstance(agent, CascadeAgent):
                why = "is calibrated on what has come out so far"
            elif isinstance(agent, LanguageModelAgent) and agent.model.computes_here:
                why = (
                    "would be loaded by every worker, where one process runs all its calls as one batch, and uses the "
                    "whole machine"
                )
            if why:
                raise ConfigurationError(f"{option}: {agent.name} {why}: leave {option.split()[0]} out")


class Executor(ABC):
    """Plays episodes and records them."""

    @abstractmethod
    async def play(self, episodes: Iterable[Episode], heard: Heard | None = None) -> None:
        """Play all of them; returns when their records are durable, and raises the first error."""

    async def close(self) -> None:
        """Let calls under way finish; no more is played."""


class Gone(Exception):
    """A worker is there no more; the text says how it ended."""


class Link(ABC):
    """A worker as its coordinator sees it."""

    @abstractmethod
    async def send(self, message: Message) -> None:
        """Tell it something; nothing happens if it is gone."""

    @abstractmethod
    async def receive(self) -> Message:
        """What it says next; raises Gone."""

    @abstractmethod
    async def end(self, *, kill: bool) -> None:
        """Let go of a worker that has ended, or has to now."""


Start = Callable[[str, int | None], Awaitable[Link]]
"""Starts a worker, given its name where promises stand and its share of the calls in flight."""


class _Together(Spending):
    """What several processes spend.

    Parameters
    ----------
    lines : gives it, by role and model.
    """

    def __init__(self, lines: Callable[[], list[Spend]]) -> None:
        super().__init__()
        self._of_all = lines

    @property
    def lines(self) -> list[Spend]:
        return self._of_all()


@dataclass(eq=False)
class _Group:
    """Episodes that may share calls, and the worker that they are at."""

    owner: _Worker
    playing: int = 0
    waiting: deque[Episode] = field(default_factory=deque)
    stays: bool = False
    """Whether calls of it may still be under way though no episode is."""


@dataclass(eq=False)
class _Worker:
    """A worker and what it has been dealt."""

    holder: str
    connections: int | None
    link: Link | None = None
    listening: asyncio.Task[None] | None = None
    ready: bool = False
    ended: bool = False
    playing: dict[str, Episode] = field(default_factory=dict)
    waiting: dict[_Group, None] = field(default_factory=dict)
    """Groups of which episodes wait for it."""
    most: int = _FIRST
    spent: list[Spend] = field(default_factory=list)
    without_room: int = 0
    """How often it has found no room under the cost limit since anything else happened."""


class Pool(Executor):
    """Workers that play the episodes of a plan.

    Parameters
    ----------
    plan : what is run.
    directory : where records are added.
    start : starts a worker.
    workers : how many, at least 1.
    connections : calls in flight to one endpoint, shared out over the workers; None where each finds its own number.
    at_once : most episodes that one worker plays at a time.
    cost_limit : dollars, which they share; None for no limit.
    what : what a worker is called in messages.
    left : called when the last worker has ended.
    progress : told what happens.
    """

    def __init__(
        self,
        plan: Plan,
        directory: RunDirectory,
        start: Start,
        *,
        workers: int,
        connections: int | None,
        at_once: int,
        cost_limit: float | None,
        what: str,
        left: Callable[[], None],
        progress: Progress,
    ) -> None:
        self.directory, self.progress, self.what, self.left = directory, progress, what, left
        self.at_once, self.limited = at_once, cost_limit is not None
        self._all = f"{what}es" if what.endswith("s") else f"{what}s"
        self._numbering = Numbering(plan)
        self._start = start
        # Not more of them than calls that may be in flight.
        self._shares = _shares(workers, connections)
        self._workers: list[_Worker] = []
        self._first = _FIRST
        """Episodes that a new worker may have."""
        self._started = 0
        """Of how many shares there has been a worker."""
        self._names = (f"worker {number} of {directory.journal.start}" for number in count(1))
        self._groups: dict[tuple[str, int], _Group] = {}
        self._left: Iterator[Episode] = iter(())
        self._exhausted = True
        self._heard: Heard | None = None
        self._done: asyncio.Future[None] | None = None
        self._keeping: set[asyncio.Task[None]] = set()
        self._before = directory.journal.spent()
        self._allowance = Allowance(
            plan, cost_limit, lambda: self._before + in_all(self._spent()).dollars, progress.note
        )
        self._spent_by_gone: list[list[Spend]] = []
        progress.account(_Together(self._spent))
        self._deaths = self._in_a_row = 0
        self._closing = False
        self._listening: set[asyncio.Task[None]] = set()
        self._dead: list[_Worker] = []

    # ---- what is asked of it --------------------------------------------------------------------

    async def play(self, episodes: Iterable[Episode], heard: Heard | None = None) -> None:
        waiting = iter(episodes)
        ahead = list(islice(waiting, _FIRST * len(self._shares)))
        if not ahead:
            return
        wanted = len(self._shares)
        if len(ahead) < _FIRST * wanted:  # that is all: no worker without work, and what shares calls is one's
            wanted = min(wanted, len({_shares_calls(episode) for episode in ahead}))
            self._first = -(-len(ahead) // wanted)
        else:
            self._first = _FIRST
        self._left, self._exhausted, self._heard = chain(ahead, waiting), False, heard
        self._done = asyncio.get_running_loop().create_future()
        slow = asyncio.get_running_loop().call_later(_SLOW_START, self._say_what_is_waited_for)
        try:
            while self._started < wanted:
                self._started += 1
                await self._add_worker(self._shares[self._started - 1])
            self._deal()
            await self._done
        finally:
            slow.cancel()
            self._done = None

    async def close(self) -> None:
        self._closing = True
        if any(worker.playing for worker in self._workers):
            self.progress.note("waiting for the calls under way: they are paid for, and their replies are kept")
        try:
            for worker in self._workers:
                if worker.link is not None and worker.ready:
                    await worker.link.send(("stop",))
                elif worker.listening is not None:  # it has begun nothing
                    worker.listening.cancel()
            while self._listening:  # one of them may be at replacing a worker that has died
                await asyncio.gather(*self._listening, return_exceptions=True)
            await asyncio.gather(*self._keeping, return_exceptions=True)
        finally:
            for worker in self._workers:
                if worker.link is not None:
                    await worker.link.end(kill=not worker.ended)
            # What a dead worker had sent may be billed: it counts to the end.
            for worker in (*self._workers, *self._dead):
                self._take_back(worker)
            self.left()
            if self._deaths > 1:
                self.progress.note(f"{self._deaths} {self._all} died in all, and were replaced")

    # ---- workers --------------------------------------------------------------------------------

    async def _add_worker(self, connections: int | None) -> None:
        worker = _Worker(next(self._names), connections, most=self._first)
        self._workers.append(worker)
        worker.link = await self._start(worker.holder, connections)
        worker.listening = asyncio.create_task(self._listen(worker, worker.link))
        self._listening.add(worker.listening)
        worker.listening.add_done_callback(self._listening.discard)

    async def _listen(self, worker: _Worker, link: Link) -> None:
        """Take what a worker says until it has ended; an error ends the play."""
        try:
            while True:
                message = await link.receive()
                if await self._take(worker, message):
                    return
        except Gone as gone:
            if not self._closing:
                try:
                    await self._replace(worker, str(gone))
                except Exception as error:
                    self._fail(error)
        except Exception as error:
            self._fail(error)

    async def _take(self, worker: _Worker, message: Message) -> bool:
        """Act on a message; whether it is the last one."""
        match message:
            case ("ready",):
                worker.ready = True
                self._deal()
            case ("finished", record, spent):
                worker.spent = spent
                self._nobody_is_without_room()
                self._finished(worker, record)
            case ("retried", spent):
                worker.spent = spent
                self.progress.retried(in_all(self._spent()).retries)
            case ("room",):
                self._nobody_is_without_room()
            case ("no room",):
                worker.without_room += 1
                # Twice each: since the first time another's call may have landed.
                if all(one.without_room > 1 for one in self._workers if one.playing):
                    self._nobody_is_without_room()
                    assert worker.link is not None
                    await worker.link.send(("give up",))
            case ("failed", names, text, trace):
                self._fail(raised(names, text, trace))
            case ("ended", spent):
                worker.spent, worker.ended = spent, True
                return True
        return False

    async def _replace(self, worker: _Worker, how: str) -> None:
        """Deal out again what a dead worker had, and start another in its place."""
        self._workers.remove(worker)
        assert worker.link is not None
        self._dead.append(worker)
        await worker.link.end(kill=True)
        self._spent_by_gone.append(worker.spent)
        self._deaths += 1
        self._in_a_row += 1
        if self._deaths == 1:
            self.progress.note(f"a {self.what} died ({how}): its episodes go to the others, and another is started")
        owed = list(worker.playing.values())
        for episode in owed:
            self._allowance.ended(episode.id, None)
        for key, group in list(self._groups.items()):
            if group.owner is worker:
                owed += group.waiting
                del self._groups[key]
        self._left, self._exhausted = chain(owed, self._left), False
        if self._in_a_row > _DEATHS * self._started:
            raise WorkersLost(
                f"{self._in_a_row} {self._all} died with no episode finished between (the last: {how}): what is "
                "finished is kept; look at the machine's memory, or repeat the command with fewer --workers"
            )
        failed = self._done is not None and self._done.done() and self._done.exception() is not None
        if self._closing or failed:
            return
        await self._add_worker(worker.connections)
        if self._closing:  # while it was started
            added = self._workers[-1]
            assert added.listening is not None
            added.listening.cancel()
            return
        self._deal()

    def _take_back(self, worker: _Worker) -> None:
        if self.limited:
            self.directory.journal.take_back(holder=worker.holder)

    def _say_what_is_waited_for(self) -> None:
        if not any(worker.ready for worker in self._workers):
            self.progress.note(f"waiting for a {self.what} to start: none has in {_SLOW_START:.0f} s")

    def _nobody_is_without_room(self) -> None:
        for worker in self._workers:
            worker.without_room = 0

    # ---- dealing --------------------------------------------------------------------------------

    def _deal(self) -> None:
        """Give every worker that has started what it can play, evenly."""
        if self._done is None or self._done.done() or self._closing:
            return
        dealt: dict[_Worker, list[Episode]] = {}
        open_to = {one for one in self._workers if one.ready}
        while open_to := {one for one in open_to if len(one.playing) < min(one.most, self.at_once)}:
            worker = min(open_to, key=lambda one: (len(one.playing), one.holder))
            episode = self._next_for(worker)
            if episode is None:
                open_to.discard(worker)
                continue
            if not self._allowance.begins(episode):
                self._put_back(worker, episode)
                break
            worker.playing[episode.id] = episode
            dealt.setdefault(worker, []).append(episode)
        for worker, episodes in dealt.items():
            assert worker.link is not None
            message = ("play", [self._numbering.reference(episode) for episode in episodes])
            self._in_background(worker.link.send(message))
        self._look_for_the_end()

    def _next_for(self, worker: _Worker) -> Episode | None:
        """The next episode that this worker may play; those that belong to another are put aside for it."""
        for group in worker.waiting:
            return self._from(group)
        for episode in self._left:
            key = _shares_calls(episode)
            group = self._groups.setdefault(key, _Group(worker))
            if group.owner is worker:
                group.playing += 1
                return episode
            group.waiting.append(episode)
            group.owner.waiting[group] = None
        self._exhausted = True
        for other in self._workers:
            for group in other.waiting:
                if not group.playing and not group.stays:
                    del other.waiting[group]
                    group.owner = worker
                    worker.waiting[group] = None
                    return self._from(group)
        return None

    def _put_back(self, worker: _Worker, episode: Episode) -> None:
        """It is the worker's to play all the same, later."""
        group = self._groups[_shares_calls(episode)]
        group.playing -= 1
        group.waiting.appendleft(episode)
        worker.waiting = {group: None, **worker.waiting}

    def _from(self, group: _Group) -> Episode:
        episode = group.waiting.popleft()
        group.playing += 1
        if not group.waiting:
            del group.owner.waiting[group]
        return episode

    def _finished(self, worker: _Worker, record: Mapping[str, Any]) -> None:
        episode = worker.playing.pop(record["id"], None)
        if episode is None:
            return
        self._in_a_row = 0
        self._allowance.ended(episode.id, record)
        worker.most += _GROWTH
        key = _shares_calls(episode)
        group = self._groups[key]
        group.playing -= 1
        # One that failed or ran out of time may have left a call under way, which its worker alone waits for.
        group.stays = group.stays or record["status"] != "scored"
        if not group.playing and not group.waiting and not group.stays:
            del self._groups[key]
        self._in_background(self._keep(record))
        self._deal()

    async def _keep(self, record: Mapping[str, Any]) -> None:
        await self.directory.add(record)
        if self._heard is not None:
            self._heard(record)
        spent = in_all(self._spent())
        usage = Usage(0, spent.input_tokens, spent.output_tokens, spent.dollars)
        self.progress.finished(record, self._before + spent.dollars, usage, spent.unknown)

    def _spent(self) -> list[Spend]:
        """What all workers of this start have spent, by role and model."""
        return summed([*self._spent_by_gone, *(worker.spent for worker in self._workers)])

    def _in_background(self, work: Awaitable[None]) -> None:
        async def do() -> None:
            await work

        def done(task: asyncio.Task[None]) -> None:
            self._keeping.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self._fail(error)
            self._look_for_the_end()

        task = asyncio.create_task(do())
        self._keeping.add(task)
        task.add_done_callback(done)

    def _look_for_the_end(self) -> None:
        if self._done is None or self._done.done() or self._keeping or not self._exhausted:
            return
        if not any(worker.playing or worker.waiting for worker in self._workers):
            self._done.set_result(None)

    def _fail(self, error: BaseException) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)


def _shares_calls(episode: Episode) -> tuple[str, int]:
    """What episodes have in common that may make the same call: their seeds are of the question and the sample."""
    return episode.question.id, episode.sample


def _shares(workers: int, connections: int | None) -> list[int | None]:
    """The share of each worker in the calls in flight; no more workers than calls."""
    if connections is None:
        return [None] * workers
    count = min(workers, connections)
    return [connections // count + (number < connections % count) for number in range(count)]


def make_pool(
    options: WorkerOptions,
    plan: Plan,
    directory: RunDirectory,
    *,
    connections: int | None,
    at_once: int,
    cost_limit: float | None,
    episode_timeout: float | None,
    retry_failed: bool,
    progress: Progress,
) -> Pool:
    """The workers that a run asks for; none is started before there is something to play."""
    on_ray = options.executor == "ray"
    job = Job(
        plan,
        directory.journal.address,
        directory.journal.start,
        locks=None if on_ray else _locks(directory.path),
        retry_refused=retry_failed,
        cost_limit=cost_limit,
        episode_timeout=episode_timeout,
    )
    packed = pack(job)
    start: Start
    if on_ray:
        from .ray_cluster import Cluster

        cluster = Cluster()
        workers, what, left = options.count or cluster.processors, "Ray actor", cluster.close

        async def start(holder: str, share: int | None) -> Link:
            return await cluster.start(packed, holder, share)
    else:
        from .worker_processes import ProcessLink

        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers, what, left = options.count or processors, "worker process", _nothing

        async def start(holder: str, share: int | None) -> Link:
            return await ProcessLink.start(packed, holder, share, max(processors // workers, 1))

    return Pool(
        plan,
        directory,
        start,
        workers=workers,
        connections=connections,
        at_once=at_once,
        cost_limit=cost_limit,
        what=what,
        left=left,
        progress=progress,
    )


def _nothing() -> None:
    pass


def _locks(folder: Path) -> Path:
    """Where workers of this machine hold a lock as long as they live."""
    locks = folder.resolve() / ".working"
    locks.mkdir(exist_ok=True)
    return locks


async def earlier_workers_end(directory: RunDirectory, progress: Progress) -> None:
    """Wait for workers whose coordinator was killed: they let their calls finish, which are not to be made again."""
    folder, told = directory.path / ".working", False
    while living := [lock for lock in folder.glob(f"{LOCK}*") if not _released(lock)]:
        if not told:
            told = True
            progress.note(f"waiting for {len(living)} workers of an earlier start to store what they have paid for")
        await asyncio.sleep(_LOOK_AGAIN)
    for holder in directory.journal.holders():
        if holder.startswith("worker "):
            directory.journal.take_back(holder=holder)


def _released(lock: Path) -> bool:
    """Whether nobody holds a worker's lock; the file is removed then."""
    try:
        with FileLock(lock).acquire(timeout=0):
            lock.unlink(missing_ok=True)
    except Timeout:
        return False
    return True
