"""Running a plan: many episodes at once, each recorded as it finishes, resumed by starting again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..agents.cascade import CascadeAgent
from ..errors import ConfigurationError, RunDirectoryError
from .allowance import Allowance
from .calls import Budget, connected
from .capability import capability_from_episodes, measure_by_play
from .cascades import Cascades
from .directory import RunDirectory, read_episodes, versions_of, write_json
from .durable import refused_because
from .executor import Executor, Heard, WorkerOptions, earlier_workers_end, make_pool
from .moderator import play_one
from .people import People
from .places import next_in_turn
from .plan import Episode, Plan, Scheduling
from .progress import Progress, Silent
from .session import SessionOptions, Sitting, alone, checkpointer

if TYPE_CHECKING:
    from ..terminal.front import Front
    from .schedule import Bye, Look, Planned, Result

__all__ = ["execute", "versions"]


def versions() -> dict[str, str]:
    """Versions of what a run's results depend on."""
    return versions_of("scalable-oversight", "langgraph", "openai", "open_spiel", "pydantic", "numpy", "scipy")


async def execute(
    plan: Plan,
    log_dir: Path,
    *,
    connections: int | None = None,
    cost_limit: float | None = None,
    episode_timeout: float | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] = (),
    session: SessionOptions | None = None,
    workers: WorkerOptions | None = None,
    journal: str | None = None,
) -> None:
    """Carry out a plan in a run directory; what is finished there already is not done again.

    Parameters
    ----------
    plan : what to do.
    log_dir : the run directory; made if missing.
    connections : most calls in flight to one endpoint; None for as many as it keeps up with.
    cost_limit : dollars, over all starts of the run.
    episode_timeout : seconds after which an episode is given up as unscored; None for no limit.
    retry_failed : whether unscored episodes are owed again.
    progress : told what happens; silent by default.
    command : the words of the command line, kept with the run.
    session : who sits at the terminal, where people take part.
    workers : who plays the episodes; None for this process.
    journal : the URL of the PostgreSQL database that the journal is kept in; None for a file in ``log_dir``.

    Raises
    ------
    RunDirectoryError
        if the folder is in use or holds another run.
    BudgetExceeded
        when the next call could cross ``cost_limit``; everything finished is kept.
    """
    progress = progress or Silent()
    session = session or SessionOptions()
    directory = RunDirectory(
        log_dir,
        plan.configuration(),
        versions(),
        retry_refused=retry_failed,
        command=command,
        person=session.person if plan.asks_people else None,
        journal=journal,
    )
    progress.account(directory.journal.spending)
    try:
        await earlier_workers_end(directory, progress)
        if directory.questions() is None:
            directory.keep_questions(plan.questions)
        together = plan.asks_people and cost_limit is not None
        if together:
            directory.journal.take_back(holder=session.person)  # what a session of this name left that was killed
        budget = Budget(
            cost_limit,
            directory.journal.spent(),
            shared=directory.journal if together else None,
            holder=session.person,
        )
        agents, at_once = connected(plan.agents, directory.journal, budget, connections, progress)
        cast = {name for _, casts in plan.entries for cast in casts for one in cast.values() for name in one}
        measured = {name for name, agent in plan.agents.items() if not agent.asks_people and not agent.is_composite}
        names = sorted(cast & measured)
        executor: Executor | None = None
        try:
            if workers is not None:
                executor = make_pool(
                    workers,
                    plan,
                    directory,
                    connections=connections,
                    at_once=at_once,
                    cost_limit=cost_limit,
                    episode_timeout=episode_timeout,
                    retry_failed=retry_failed,
                    progress=progress,
                )
            async with alone(directory, "capability"):
                if plan.capability == () and directory.capability() is None:
                    pairings = plan.arena.pairings(names, plan.seed) if plan.measures_by_play else None
                    if pairings:
                        progress.note(f"measuring {len(names)} agents alone: {sum(p.games for p in pairings)} games")
                        described = {name: agents[name].describe() for name in names}
                        directory.keep_capability(
                            await measure_by_play(plan.arena, pairings, described, directory.journal, progress)
                        )
                if plan.measured is not None and directory.capability() is None:
                    directory.keep_capability(plan.measured)
            # Taken before anything is added: an episode that fails now is not owed again in the same start.
            before = dict(directory.finished)

            def owed(episodes: Iterable[Episode]) -> Iterator[Episode]:
                for episode in episodes:
                    status = before.get(episode.id)
                    if status is None or (status != "scored" and retry_failed):
                        yield episode

            async def play(episodes: Iterable[Episode], heard: Heard | None = None) -> None:
                assert executor is not None
                await executor.play(owed(episodes), heard)

            human_budget = _human_budget(plan, directory.path, session)
            held = plan.asks_people or human_budget is not None
            cascades = Cascades(plan, agents, directory.path, held)
            if held:
                await _play_with_people(plan, cascades, directory, owed, session, human_budget, at_once, progress)
                _keep_solo(plan, directory)
                return
            if executor is None:
                allowance = Allowance(plan, cost_limit, lambda: budget.spent + budget.lost, progress.note)
                executor = _Here(plan, cascades, directory, budget, allowance, at_once, episode_timeout, progress)
            progress.start(sum(1 for _ in owed(plan.episodes())), len(before))
            if cascades.names:
                await play(cascades.episodes())
                cascades.calibrate()
            if plan.scheduling is None:
                await play(episode for episode in plan.episodes() if episode.purpose != "calibration")
                _keep_solo(plan, directory)
            else:
                await play(episode for episode in plan.episodes() if episode.purpose == "capability")
                _keep_solo(plan, directory)
                await _play_scheduled(plan, plan.scheduling, directory, play, owed, progress)
        finally:
            try:
                if executor is not None:
                    await executor.close()
            finally:
                progress.stop()
            # A call under way needs its connection, so it is waited for before any is closed.
            if directory.journal.under_way:
                progress.note("waiting for the calls under way: they are paid for, and their replies are kept")
            await directory.journal.drain()
            if together:
                directory.journal.take_back(holder=session.person)
            for agent in agents.values():
                await agent.close()
    finally:
        await directory.close()


def _keep_solo(plan: Plan, directory: RunDirectory) -> None:
    """Keep the capability that follows from episodes; one that failed may have been played again since."""
    if plan.capability:
        solo = capability_from_episodes(read_episodes(directory.path))
        if solo != directory.capability():
            directory.keep_capability(solo)


def _human_budget(plan: Plan, folder: Path, session: SessionOptions) -> int | None:
    """How many episodes may go to people or what stands for them; where nothing is said, what was said last."""
    cascades = [agent for agent in plan.agents.values() if isinstance(agent, CascadeAgent) and agent.person is not None]
    if not plan.asks_people and not cascades:
        if session.budget is not None:
            raise ConfigurationError(
                f"--human-budget {session.budget}: nobody in this run is a person, and no cascade ends in one"
            )
        return None
    seats = {name for name, agent in plan.agents.items() if agent.asks_people and not agent.is_composite}
    if session.budget is not None and cascades and seats:
        raise ConfigurationError(
            f"--human-budget {session.budget}: one budget cannot be shared out between a cascade and seats that people "
            "have anyway: make two runs of it"
        )
    if session.budget is None and not (folder / "people.sqlite").exists():
        return None
    people = People(folder / "people.sqlite", session.person)
    try:
        if session.budget is not None:
            people.keep_setting("human budget", session.budget)
        found = people.setting("human budget")
        return None if found is None else int(found)
    finally:
        people.close()


async def _play_with_people(
    plan: Plan,
    cascades: Cascades,
    directory: RunDirectory,
    owed: Callable[[Iterable[Episode]], Iterator[Episode]],
    session: SessionOptions,
    budget: int | None,
    at_once: int,
    progress: Progress,
) -> None:
    """Hold a session at the terminal; machines play their episodes, and their turns in the others, behind it."""
    people = People(directory.path / "people.sqlite", session.person)
    episodes = [episode for episode in plan.episodes() if episode.purpose != "calibration"]
    for episode in owed(plan.episodes()):  # what failed before may be owed again
        directory.finished.pop(episode.id, None)
    try:
        async with checkpointer(directory.path) as saver:
            sitting = Sitting(plan, cascades, directory, saver, people, session, budget)
            people.keep_setting("items", sum(bool(plan.people_in(episode)) for episode in episodes))
            try:
                if cascades.names:
                    await _advance_all(sitting, list(cascades.episodes()), at_once, progress)
                    cascades.calibrate()
                if cascades.names and budget is not None:
                    await _advance_all(sitting, episodes, at_once, progress)
                    await sitting.escalate(budget)
                if session.prepare_only:
                    await _advance_all(sitting, episodes, at_once, progress)
                elif plan.asks_people:
                    await _hold(sitting, [one for one in episodes if not plan.people_in(one)], at_once, progress)
            finally:
                await sitting.stop()
    except sqlite3.Error as error:
        file = directory.path / "checkpoints.sqlite"
        why = refused_because(error, file)
        raise RunDirectoryError(
            f"{file}: cannot be written: {why}; what was stored before is kept, make room and repeat the command"
            if "full" in why
            else f"{file}: cannot be used: {why}; it may be deleted: what people stated and what was paid for is kept "
            "elsewhere, and comes back from there"
        ) from None
    finally:
        people.close()


async def _hold(sitting: Sitting, machines: Sequence[Episode], at_once: int, progress: Progress) -> None:
    """The session itself, with the machines' own episodes played behind it and, unless it is stopped, to their end."""
    session = sitting.options
    behind = asyncio.create_task(_advance_all(sitting, machines, at_once, Silent()))
    try:
        async with session.front or _terminal(session.plain) as front:
            ended = await sitting.hold(front)
        if ended and machines and not behind.done():
            progress.note("the machines play their own episodes to the end")
        if ended or behind.done():
            await behind
    finally:
        behind.cancel()
        await asyncio.gather(behind, return_exceptions=True)


async def _advance_all(sitting: Sitting, episodes: Sequence[Episode], at_once: int, progress: Progress) -> None:
    """Let episodes go on as far as they go without people, so many at a time."""
    owed = [episode for episode in episodes if episode.id not in sitting.directory.finished]
    waiting = iter(owed)

    async def worker() -> None:
        for episode in waiting:
            held = await sitting.begin(episode)
            progress.prepared(held is not None)

    if owed:
        progress.start(len(owed), len(episodes) - len(owed))
        try:
            await _until_one_fails([worker() for _ in range(min(at_once, len(owed)))])
        finally:
            progress.stop()


def _terminal(plain: bool) -> Front:
    from ..terminal.fronts import front_for  # only where somebody sits there

    return front_for(plain)


async def _play_scheduled(
    plan: Plan,
    scheduling: Scheduling,
    directory: RunDirectory,
    play: Callable[[Iterable[Episode], Heard], Awaitable[None]],
    owed: Callable[[Iterable[Episode]], Iterator[Episode]],
    progress: Progress,
) -> None:
    """Play batch after batch as the schedule has it, and keep how it came to its end.

    The schedule is asked for its batches from the first one on: those that an earlier start finished cost
    nothing, and what comes next follows from the same results as it would have without the interruption.
    """
    from .schedule import Schedule, look_to_json, planned_episodes, result_of, unit_of

    known = planned_episodes(plan)
    capability = (directory.capability() or {}).get("agents", {})
    measured = {name: one["value"] for name, one in capability.items() if one["value"] is not None}
    schedule = Schedule((planned for planned, _ in known.values()), scheduling, measured)
    finished = {
        record["id"]: result_of(record, *known[record["id"]])
        for record in read_episodes(directory.path)
        if record["id"] in known
    }

    def heard(record: Mapping[str, Any]) -> None:
        finished[record["id"]] = result_of(record, *known[record["id"]])

    unit, wanted = unit_of(scheduling), scheduling.until_width
    results: dict[str, Result] = {}
    looks: list[Look] = []
    loose: dict[str, str] = {}
    byes: list[Bye] = []

    def keep(ended: str) -> None:
        write_json(
            directory.path / "schedule.json",
            {
                **scheduling.describe(),
                "until_width": wanted,
                "unit": unit,
                "planned": len(known),
                "looks": [look_to_json(look) for look in looks],
                "ended": ended,
                "byes": [asdict(bye) for bye in byes],
                "unconnected": loose,
                "remarks": schedule.remarks(looks[-1], ended, byes, loose),
            },
        )

    def costs(batch: Iterable[Planned]) -> bool:
        return any(True for _ in owed(known[planned.id][1] for planned in batch))

    if wanted is not None:
        progress.note(f"until the interval is {wanted:g} {unit} wide; the plan is the most that is played")
    batch = schedule.next(results)
    while batch:
        new, byes = costs(batch), list(schedule.byes)
        await play([known[planned.id][1] for planned in batch], heard)
        results.update((planned.id, finished[planned.id]) for planned in batch)
        batch = schedule.next(results)
        if batch and looks and len(results) - looks[-1].episodes < scheduling.batch:
            continue
        looks.append(schedule.look(results))
        if new:
            before, loose = loose, schedule.unconnected(results)
            got = looks[-1].reason or f"the interval is {looks[-1].width:.4g} {unit} wide"
            progress.note(f"{looks[-1].episodes} of {len(known)} planned episodes played; {got}")
            if loose and loose != before:
                progress.note(f"not yet connected by debates: {', '.join(loose)}")
            keep("stopped before its end; repeat the command to go on")
        # What an earlier start with a narrower width has played already is taken in as well.
        if looks[-1].enough and costs(batch):
            break
    last = looks[-1]
    loose = schedule.unconnected(results)
    if last.enough and wanted is not None:
        ended = f"the interval is {last.width:.4g} {unit} wide, at most the {wanted:g} asked for"
    else:
        ended = "every episode of the schedule is played"
        if wanted is not None:
            got = last.reason or f"the interval is {last.width:.4g} {unit} wide"
            ended += f", and the width {wanted:g} is not reached: {got}"
    progress.note(f"schedule {scheduling.kind}: {ended}")
    keep(ended)


@dataclass(frozen=True)
class _Here(Executor):
    """This process plays the episodes."""

    plan: Plan
    cascades: Cascades
    directory: RunDirectory
    budget: Budget
    allowance: Allowance
    at_once: int
    timeout: float | None
    progress: Progress

    async def play(self, episodes: Iterable[Episode], heard: Heard | None = None) -> None:
        waiting = iter(episodes)

        async def worker() -> None:
            for episode in waiting:
                await self.allowance.begin(episode)
                next_in_turn()
                journal, budget = self.directory.journal, self.budget
                record = await play_one(self.plan, episode, self.cascades.of(episode), journal, self.timeout)
                self.allowance.ended(episode.id, record)
                await self.directory.add(record)
                if heard is not None:
                    heard(record)
                self.progress.finished(record, budget.spent, budget.usage, budget.unknown)

        await _until_one_fails([worker() for _ in range(self.at_once)])


async def _until_one_fails(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Work at the same time; the first failure ends it all, and is raised."""
    workers = [asyncio.create_task(one) for one in work]
    try:
        done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
