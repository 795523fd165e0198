"""Runs and tournaments in Python, with what comes out of them."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..agents import Agent, LanguageModelAgent
from ..agents.composite import everybody_asked
from ..errors import ConfigurationError, OversightError, RunDirectoryError, UnknownName
from ..identity import digest
from ..presets import OF_ONE, find_preset
from ..protocol import Protocol
from ..questions import Arena, Question, take_answers
from ..registry import find_agent, find_arena, find_protocol
from ..transcript import Usage
from .cascades import held_out, require_one_verdict, require_verdicts
from .directory import journal_of, read_episodes, read_json, read_lines
from .journal import JournalAddress, read_spending, read_uncounted
from .plan import Cast, PeopleOptions, Plan, Scheduling, require_cast, tournament_casts
from .progress import Progress

if TYPE_CHECKING:
    from ..analysis.gap import GapAnalysis
    from ..models.openai_compatible import ModelOptions
    from .executor import ExecutorName
    from .session import SessionOptions
    from .spending import Spend

__all__ = ["RunResult", "plan_run", "plan_tournament", "run", "tournament"]

LogDirectory = str | Path | None

_LOGS = Path("logs")
ScheduleName = Literal["everything", "round-robin", "swiss", "adaptive"]


@dataclass(frozen=True)
class RunResult:
    """What came out of a run: its directory, read when it is asked.

    Parameters
    ----------
    log_dir : the run directory.
    journal : the URL of the database that its calls are in; None where they are in a file of the directory.
    """

    log_dir: Path
    journal: str | None = field(default=None, repr=False, compare=False)

    def episodes(self) -> Iterator[dict[str, Any]]:
        """Records of the finished episodes, one dictionary each, capability measurements left out."""
        return (record for record in read_episodes(self.log_dir) if record["purpose"] == "comparison")

    @cached_property
    def capability(self) -> dict[str, Any] | None:
        """Capability of each agent alone (``unit``, ``agents``), or None where it was not measured."""
        path = self.log_dir / "capability.json"
        found: dict[str, Any] | None = read_json(path) if path.exists() else None
        return found

    @cached_property
    def schedule(self) -> dict[str, Any] | None:
        """How a tournament with a schedule came to its end, or None where everything was played.

        ``kind``, ``target``, ``batch`` as asked for; ``looks``, each with ``episodes``, ``sources``, ``width``
        (None where the target was not identified) and ``reason``; ``ended``, why no more was played; ``byes`` of
        Swiss rounds; ``unconnected`` debaters, each with the reason; ``remarks``.
        """
        path = self.log_dir / "schedule.json"
        found: dict[str, Any] | None = read_json(path) if path.exists() else None
        return found

    def spending(self) -> list[list[Spend]]:
        """What each start of the run has spent by role and model, oldest first; starts without a call left out.

        Raises
        ------
        RunDirectoryError
            if the journal cannot be read, or is in a database that nobody has named: a folder may come from anybody,
            and does not decide which server is given a password.
        """
        return read_spending(self._calls)

    def uncounted(self) -> float:
        """Dollars of stored calls that :meth:`spending` lacks, as their process was killed within a second of them.

        Raises
        ------
        RunDirectoryError
            as :meth:`spending`.
        """
        return read_uncounted(self._calls)

    @property
    def _calls(self) -> JournalAddress:
        where = journal_of(self.log_dir, self.journal)
        if where.path is None and self.journal is None:
            raise RunDirectoryError(
                f"{self.log_dir}: its calls are kept in {where}: give that address as --journal, or journal=, to read "
                "what they cost"
            )
        return where

    def gap(
        self,
        capability: str = "measured",
        *,
        unit: str | None = None,
        thresholds: Sequence[float] = (),
        hold_out: float = 1 / 3,
    ) -> GapAnalysis:
        """Judge accuracy against the capability gap: cells with intervals, and a fitted curve a protocol.

        Parameters
        ----------
        capability : ``measured`` with the run, ``solo``, ``answers``, or a file; see :func:`find_capability`.
        unit : what a file's ratings are measured in.
        thresholds, hold_out : see :func:`analyse_gap`.
        """
        from ..analysis.capability import find_capability
        from ..analysis.gap import analyse_gap
        from ..analysis.records import outcome

        found = find_capability(capability, self.capability, read_episodes(self.log_dir), unit)
        configuration = read_json(self.log_dir / "run.json").get("configuration", {})
        asked = configuration.get("schedule", {})
        analysis = analyse_gap(
            [outcome(record) for record in self.episodes()],
            found.values,
            found.unit,
            how=found.how,
            unmeasured=found.reasons,
            thresholds=thresholds,
            hold_out=hold_out,
            # Swiss and adaptive schedules, and corpora by others, ask different cells different questions, chosen
            # before they are asked.
            on_shared_items=asked.get("kind") not in ("swiss", "adaptive")
            and not configuration.get("recordings", {}).get("corpus"),
        )
        return replace(analysis, remarks=(*analysis.remarks, *(self.schedule or {}).get("remarks", ())))


def find_agents(
    names: Sequence[str | Agent], arena: Arena, options: Mapping[str, ModelOptions] | None
) -> tuple[list[str], dict[str, Agent]]:
    """Names of agents in their order, and the agents by name; raises where one name stands for two of them."""
    found: dict[str, Agent] = {}
    for name in names:
        if isinstance(name, Agent):
            _join(found, {name.name: name})
        elif name not in found:
            found[name] = find_agent(name, arena, options)
    return [name.name if isinstance(name, Agent) else name for name in names], found


def _join(found: dict[str, Agent], more: Mapping[str, Agent]) -> None:
    """Add agents by name; one name cannot stand for two different agents."""
    for name, agent in more.items():
        other = found.setdefault(name, agent)
        if other is not agent and other.describe() != agent.describe():
            raise ConfigurationError(f"two different agents are called {name!r}: give each a name of its own")


def _questions(arena: Arena, limit: int | None, seed: int, answers: int | None, log_dir: Path | None) -> list[Question]:
    if limit is not None and limit < 1:
        raise ConfigurationError(f"--limit {limit}: ask at least one question")
    if arena.generated:  # the same questions need not be made twice
        wanted = {"arena": arena.describe(), "limit": limit, "answers": answers, "seed": seed}
        for folder in [log_dir] if log_dir is not None else sorted(_LOGS.glob(f"{arena.name}-*")):
            kept = _kept_questions(folder, wanted)
            if kept is not None:
                return kept
    questions = list(arena.questions(limit, seed))
    if answers is not None:
        questions = [take_answers(question, answers, seed) for question in questions]
    if not questions:
        raise ConfigurationError(f"arena {arena.name!r} has no questions under these options")
    return questions


def _kept_questions(folder: Path, wanted: Mapping[str, Any]) -> list[Question] | None:
    """The questions that a run directory keeps, if they are those that would be made."""
    try:
        asked = read_json(folder / "run.json")["configuration"]
        if any(asked.get(name) != value for name, value in wanted.items()):
            return None
        kept = [Question.from_dict(line) for line in read_lines(folder / "questions.jsonl")]
    except (OversightError, KeyError, TypeError, AttributeError):  # no run, or one that cannot be read
        return None
    return kept if digest([question.fingerprint for question in kept]) == asked["questions"]["digest"] else None


def _arena(arena: str | Arena) -> Arena:
    return arena if isinstance(arena, Arena) else find_arena(arena)


def _protocol(protocol: str | Protocol) -> Protocol:
    return protocol if isinstance(protocol, Protocol) else find_protocol(protocol)


def preset_protocols(name: str, changes: Mapping[str, Any]) -> list[Protocol]:
    """The protocols of a preset, with options given to each that has them; raises UnknownName where none has one."""
    preset = find_preset(name)
    options_of = {one: set(type(find_protocol(one)).model_fields) - {*OF_ONE} for one, _, _ in preset.protocols}
    every = set().union(*options_of.values())
    for option in changes:
        if option not in every:
            raise UnknownName(f"option of --preset {name}", option, every)
    chosen = []
    for one, form, options in preset.protocols:
        taken = {key: value for key, value in changes.items() if key in options_of[one]}
        label = ", ".join(filter(None, [name, form, *(f"{key}={value}" for key, value in taken.items())]))
        chosen.append(find_protocol(one, **{**options, "label": label, **taken}))
    return chosen


def plan_run(
    protocol: str | Protocol,
    arena: str | Arena,
    cast: Mapping[str, str | Agent | Sequence[str | Agent]],
    *,
    limit: int | None = None,
    epochs: int = 1,
    seed: int = 0,
    answers: int | None = None,
    swap: bool | None = None,
    options: Mapping[str, ModelOptions] | None = None,
    people: PeopleOptions | None = None,
    log_dir: LogDirectory = None,
) -> Plan:
    """The plan of :func:`run`, with the same parameters."""
    protocol, arena = _protocol(protocol), _arena(arena)
    listed = {role: [who] if isinstance(who, str | Agent) else list(who) for role, who in cast.items()}
    named = {role: tuple(find_agents(who, arena, options)[0]) for role, who in listed.items()}
    require_cast(protocol, {role: names[:1] for role, names in named.items()})
    agents = find_agents([one for who in listed.values() for one in who], arena, options)[1]
    limit = arena.default_limit if limit is None else limit
    questions = _questions(arena, limit, seed, answers, Path(log_dir) if log_dir else None)
    for count in {len(question.answers) for question in questions}:
        require_cast(protocol, named, count)
    return _checked(
        Plan(
            arena,
            ((protocol, (named,)),),
            questions,
            agents,
            epochs,
            seed,
            _swaps(swap, agents),
            limit=limit,
            answers=answers,
            people=people or PeopleOptions(),
            held_out=held_out(agents.values(), questions, seed),
        )
    )


def _swaps(asked: bool | None, agents: Mapping[str, Agent]) -> bool:
    """Whether every ordering is swapped: by default, but for people, none of whom is given a question twice."""
    return not any(agent.asks_people for agent in agents.values()) if asked is None else asked


def plan_tournament(
    arena: str | Arena,
    agents: Sequence[str | Agent] | None = None,
    protocols: Sequence[str | Protocol] | None = None,
    *,
    debaters: Sequence[str | Agent] | None = None,
    judges: Sequence[str | Agent] | None = None,
    pairs: Literal["same", "all"] = "same",
    limit: int | None = None,
    epochs: int = 1,
    seed: int = 0,
    answers: int | None = None,
    swap: bool | None = None,
    options: Mapping[str, ModelOptions] | None = None,
    people: PeopleOptions | None = None,
    log_dir: LogDirectory = None,
    schedule: ScheduleName = "everything",
    target: str | None = None,
    until_width: float | None = None,
    batch: int = 64,
    preset: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of :func:`tournament`, with the same parameters."""
    arena = _arena(arena)
    if preset is not None:
        if protocols:
            raise ConfigurationError(f"--preset {preset} brings its protocols: leave out --protocols")
        protocols = preset_protocols(preset, changes or {})
        answers = find_preset(preset).answers if answers is None else answers
    elif changes:
        raise ConfigurationError("options for all protocols of a preset need a preset: write them as debate(rounds=2)")
    debaters = list(debaters or agents or arena.default_debaters)
    judges = list(judges or agents or arena.default_judges)
    if not debaters or not judges:
        raise ConfigurationError(f"arena {arena.name!r} has no agents of its own: give --agents A,B,...")
    chosen = [_protocol(one) for one in (protocols or arena.default_protocols)]
    titles: dict[str, str] = {}
    for one in chosen:
        title = titles.setdefault(one.key, one.title)
        if title != one.title:  # their episodes would be each other's
            raise ConfigurationError(
                f"{title} and {one.title} differ in nothing but their labels: leave one of them out"
            )
    debater_names, found = find_agents(debaters, arena, options)
    judge_names, others = find_agents(judges, arena, options)
    _join(found, others)
    entries = tuple(
        (protocol, tuple(tournament_casts(protocol, debater_names, judge_names, pairs))) for protocol in chosen
    )
    limit = arena.default_limit if limit is None else limit
    questions = _questions(arena, limit, seed, answers, Path(log_dir) if log_dir else None)
    # A person is not measured alone, which would show them the hidden material; nor is what stands for one.
    machines = sorted(name for name, agent in found.items() if not agent.asks_people and not agent.is_composite)
    by_play = arena.pairings(machines, seed) is not None
    alone: tuple[tuple[Protocol, tuple[Cast, ...]], ...] = ()
    if not by_play and machines:
        alone = ((find_protocol("direct", expert=True), tuple({"judge": (name,)} for name in machines)),)
    return _checked(
        Plan(
            arena,
            entries,
            questions,
            found,
            epochs,
            seed,
            _swaps(swap, found),
            alone,
            by_play,
            limit=limit,
            answers=answers,
            scheduling=_scheduling(schedule, target, until_width, batch, entries),
            people=people or PeopleOptions(),
            held_out=held_out(found.values(), questions, seed),
        )
    )


def _scheduling(
    schedule: ScheduleName,
    target: str | None,
    until_width: float | None,
    batch: int,
    entries: Sequence[tuple[Protocol, Sequence[Cast]]],
) -> Scheduling | None:
    """The schedule that was asked for, checked against who plays; None where everything is played."""
    if batch < 1:
        raise ConfigurationError(f"--batch {batch}: play at least one episode between looks")
    if until_width is not None and not (math.isfinite(until_width) and until_width > 0.0):
        raise ConfigurationError(f"--until-width {until_width}: the width of an interval is a positive number")
    if schedule == "everything":
        for option, value in (("--target", target), ("--until-width", until_width)):
            if value is not None:
                raise ConfigurationError(f"{option} needs a schedule that stops to look: give --schedule adaptive")
        return None
    if schedule not in get_args(ScheduleName):
        raise UnknownName("schedule", schedule, get_args(ScheduleName))
    meeting: dict[str, None] = {}
    argues = False
    for protocol, casts in entries:
        arguing = [name for name, role in protocol.roles().items() if role.is_supervised]
        argues = argues or bool(arguing)
        for cast in casts:
            names = dict.fromkeys(name for role in arguing for name in cast[role])
            meeting.update(names if len(names) > 1 else {})
    if target is None:
        target = "rating-gap" if schedule == "swiss" else "slope"
    kind, _, players = target.strip().partition(" ")
    if kind not in ("slope", "rating-gap"):
        raise UnknownName("target", kind, ("slope", "rating-gap"))
    if not meeting and (schedule == "swiss" or kind == "rating-gap"):
        what = "--schedule swiss" if schedule == "swiss" else "--target rating-gap"
        raise ConfigurationError(
            f"{what} needs debaters that meet each other: give --pairs all, two debaters or more and a protocol in "
            "which several argue"
        )
    if kind == "slope":
        if players:
            raise ConfigurationError(f"--target {target}: a slope is not of players; write slope, or rating-gap A:B")
        if not argues:
            raise ConfigurationError("--target slope needs a protocol in which somebody argues")
        return Scheduling(schedule, "slope", None, batch, until_width)
    return Scheduling(schedule, "rating-gap", _pair(players.strip(), list(meeting)), batch, until_width)


def _pair(text: str, debaters: Sequence[str]) -> tuple[str, str] | None:
    """The two debaters of ``A:B``, whose names may hold colons themselves; None for all pairs."""
    if text in ("", "all"):
        return None
    splits = [(text[:place], text[place + 1 :]) for place, sign in enumerate(text) if sign == ":"]
    for first, second in splits:
        if first in debaters and second in debaters and first != second:
            return first, second
    for first, second in splits:  # name the one that is wrong, where only one is
        for right, wrong in ((first, second), (second, first)):
            if right in debaters and wrong != right:
                raise UnknownName("debater in --target", wrong, debaters)
    if splits:
        raise UnknownName("debaters in --target", text, [f"{a}:{b}" for a in debaters for b in debaters if a != b])
    raise ConfigurationError(f"--target rating-gap {text}: write two debaters as A:B, or all")


def _checked(plan: Plan) -> Plan:
    if plan.epochs < 1:
        raise ConfigurationError(f"--epochs {plan.epochs}: play each episode at least once")
    if plan.asks_people and plan.scheduling is not None:
        raise ConfigurationError(
            f"--schedule {plan.scheduling.kind} decides by what has come out, and cannot wait for people: leave it out"
        )
    for agent in plan.agents.values():
        agent.learn(plan.questions)
    for protocol, _ in (*plan.entries, *plan.capability):
        for count in {len(question.answers) for question in plan.questions}:
            plan.compiled(protocol, count)
    require_able(plan)
    require_one_verdict(plan)
    require_verdicts(plan)
    return plan


def require_able(plan: Plan) -> None:
    """Raise ConfigurationError where people are cast for what nobody can ask of them."""
    if plan.people.judges > 1 and any(agent.is_composite and agent.asks_people for agent in plan.agents.values()):
        raise ConfigurationError(
            f"--judges-per-item {plan.people.judges}: what a cascade's judges decide would be counted as often: give 1"
        )
    for protocol, casts in plan.entries:
        for step in protocol.graph(2).steps():
            several = step.kind == "solution" or step.checks is not None
            for name in [one for cast in casts for one in cast[step.seat.role.name]] if several else ():
                if plan.agents[name].is_composite and plan.agents[name].asks_people:
                    raise ConfigurationError(
                        f"{protocol.title}: its {step.seat.role.name} is asked many small questions, and {name} is "
                        "sure or not of whole ones: cast human or one agent there"
                    )
            if step.task == "criticise" and any(
                plan.agents[name].asks_people for cast in casts for name in cast[step.seat.role.name]
            ):
                raise ConfigurationError(
                    f"{protocol.title}: its {step.seat.role.name} criticises every candidate, which is not asked of "
                    "people: cast an agent there, or leave out refine"
                )
        ranking = {step.preferred_by for step in protocol.graph(2).steps() if step.candidates > 1}
        for seat in ranking:
            if seat is None:
                continue
            for cast in casts:
                if any(plan.agents[name].asks_people for name in cast[seat.role.name]):
                    raise ConfigurationError(
                        f"{protocol.title}: its {seat.role.name} ranks candidates of every speech, which is not asked "
                        "of people: leave out --candidates, or give --preference own"
                    )


def default_log_dir(plan: Plan) -> Path:
    """A folder of its own for every configuration, so that the same command finds its run again."""
    names = "-".join(dict.fromkeys(protocol.name for protocol, _ in plan.entries))
    return _LOGS / f"{plan.arena.name}-{names}-{digest(plan.configuration(), 8)}"


def carry_out(
    plan: Plan,
    log_dir: LogDirectory = None,
    *,
    connections: int | None = None,
    cost_limit: float | None = None,
    episode_timeout: float | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
    session: SessionOptions | None = None,
    command: Sequence[str] = (),
    workers: int | None = None,
    executor: ExecutorName | None = None,
    journal: str | None = None,
) -> RunResult:
    """Carry out a plan, from a script or a notebook alike; see :func:`run` for the parameters."""
    from .calls import require_limit
    from .execute import execute
    from .garbage import little_garbage_collection

    folder = Path(log_dir) if log_dir is not None else default_log_dir(plan)
    require_limit(cost_limit)
    if journal is not None and not journal.strip():
        raise ConfigurationError("--journal '': give postgresql://USER@HOST:PORT/DATABASE, or leave it out")
    playing = None
    if workers is not None or executor is not None:
        from .executor import WorkerOptions

        playing = WorkerOptions(workers, executor or "processes")
        playing.require(plan, journal)
    for agent in plan.agents.values():
        agent.require()
    if connections is not None and connections < 1:
        raise ConfigurationError(f"--max-connections {connections}: give 1 or more")
    if episode_timeout is not None:
        if not (math.isfinite(episode_timeout) and episode_timeout > 0):
            raise ConfigurationError(f"--episode-timeout {episode_timeout:g}: give a number of seconds above 0")
        if plan.asks_people or (session is not None and session.budget is not None):
            raise ConfigurationError(
                f"--episode-timeout {episode_timeout:g}: people take part, and an episode waits for them: leave it out"
            )
    if cost_limit is not None:
        for agent in everybody_asked(plan.agents.values()):
            if isinstance(agent, LanguageModelAgent) and agent.model.price(Usage(1, 1, 1)) is None:
                raise ConfigurationError(
                    f"the price of {agent.name} is unknown, so --cost-limit cannot hold: give --price "
                    f"{agent.name}=IN,OUT in dollars per million tokens"
                )
    work = execute(
        plan,
        folder,
        connections=connections,
        cost_limit=cost_limit,
        episode_timeout=episode_timeout,
        retry_failed=retry_failed,
        progress=progress,
        session=session,
        command=command,
        journal=journal,
        workers=playing,
    )
    with little_garbage_collection():
        _wait_for(work)
    return RunResult(folder, journal)


def _wait_for(work: Coroutine[Any, Any, None]) -> None:
    if asyncio._get_running_loop() is None:
        asyncio.run(work)
        return
    # A notebook's loop is running already: ours runs beside it.
    caught: list[BaseException] = []

    def target() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=target, name="oversight")
    thread.start()
    thread.join()
    if caught:
        raise caught[0]


def run(
    protocol: str | Protocol,
    arena: str | Arena,
    *,
    limit: int | None = None,
    epochs: int = 1,
    seed: int = 0,
    answers: int | None = None,
    swap: bool | None = None,
    options: Mapping[str, ModelOptions] | None = None,
    people: PeopleOptions | None = None,
    log_dir: LogDirectory = None,
    connections: int | None = None,
    cost_limit: float | None = None,
    episode_timeout: float | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
    session: SessionOptions | None = None,
    workers: int | None = None,
    executor: ExecutorName | None = None,
    journal: str | None = None,
    **cast: str | Agent | Sequence[str | Agent],
) -> RunResult:
    """Play a protocol over an arena's questions with one cast.

    Parameters
    ----------
    protocol : a protocol, its name, or ``file.py:Name``; options as ``debate(rounds=2)``.
    arena : an arena, its name, or ``file.py:Name``.
    limit : how many questions; None for the arena's own number.
    epochs : how often each episode is sampled.
    seed : of questions, orderings and agents.
    answers : keep the correct answer and this many minus one of the others, drawn under the seed.
    swap : play each question with its orderings swapped, or once for each answer that may be argued for.  None
        does so unless people take part, none of whom is given the same question twice.
    options : by model name, its endpoint and price.
    people : how items are put to people, where an agent is ``human``.
    log_dir : the run directory; by default one named after the configuration under ``logs/``.
    connections : most calls in flight to one endpoint; None for as many as it keeps up with.
    cost_limit : dollars that the run may cost, all starts together.
    episode_timeout : seconds after which an episode is given up as unscored; None for no limit.
    retry_failed : play unscored episodes again.
    progress : told what happens.
    session : who sits at the terminal, where an agent is ``human``.
    workers : worker processes that play the episodes; None for this process.
    executor : ``"processes"`` on this machine, or ``"ray"`` for the actors of a Ray cluster that runs already.
    journal : ``postgresql://user@host:port/database`` keeps the paid calls there, for which the extra ``postgresql``
        is needed; by default they are kept in ``journal.sqlite`` of the run directory.
    **cast : an agent, its name, or a list of them for each role (``debater="mcts/64", judge="mcts/8"``).

    Returns
    -------
    RunResult
        the finished run.

    Raises
    ------
    ConfigurationError
        if the request cannot be carried out; UnknownName and CheckFailed are kinds of it.
    RunDirectoryError
        if the run directory is in use or holds another run.
    BudgetExceeded
        if the cost limit was reached; what is finished is kept.

    Examples
    --------
    >>> result = oversight.run("debate", "connect_four", debater="mcts/64", judge="mcts/8", limit=20)  # doctest: +SKIP
    """
    plan = plan_run(
        protocol,
        arena,
        cast,
        limit=limit,
        epochs=epochs,
        seed=seed,
        answers=answers,
        swap=swap,
        options=options,
        people=people,
        log_dir=log_dir,
    )
    return carry_out(
        plan,
        log_dir,
        connections=connections,
        cost_limit=cost_limit,
        episode_timeout=episode_timeout,
        retry_failed=retry_failed,
        progress=progress,
        session=session,
        workers=workers,
        executor=executor,
        journal=journal,
    )


def tournament(
    arena: str | Arena,
    agents: Sequence[str | Agent] | None = None,
    protocols: Sequence[str | Protocol] | None = None,
    *,
    debaters: Sequence[str | Agent] | None = None,
    judges: Sequence[str | Agent] | None = None,
    pairs: Literal["same", "all"] = "same",
    limit: int | None = None,
    epochs: int = 1,
    seed: int = 0,
    answers: int | None = None,
    swap: bool | None = None,
    options: Mapping[str, ModelOptions] | None = None,
    people: PeopleOptions | None = None,
    log_dir: LogDirectory = None,
    connections: int | None = None,
    cost_limit: float | None = None,
    episode_timeout: float | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
    schedule: ScheduleName = "everything",
    target: str | None = None,
    until_width: float | None = None,
    batch: int = 64,
    session: SessionOptions | None = None,
    workers: int | None = None,
    executor: ExecutorName | None = None,
    preset: str | None = None,
    changes: Mapping[str, Any] | None = None,
    journal: str | None = None,
) -> RunResult:
    """Every debater before every judge under every protocol, over the same questions.

    Capability of each agent alone is measured first, once, and kept.  Turns that do not depend on the judge
    are made once and put before every judge.

    Parameters
    ----------
    arena : an arena, its name, or ``file.py:Name``.
    agents : agents for both sides of the table; the arena's own defaults where None.
    protocols : protocols to compare; the arena's own defaults where None.
    debaters, judges : agents for one side of the table, instead of ``agents``.
    pairs : ``"same"`` puts one agent on every side of a debate; ``"all"`` also each two different ones.
    schedule : ``"everything"`` plays the whole plan.  ``"round-robin"``, ``"swiss"`` and ``"adaptive"`` play it
        in batches, see :mod:`oversight.runs.schedule`; Swiss needs ``pairs="all"``, and without a width plays
        one round for each question.
    target : the 95 % interval that an adaptive schedule narrows and that ``until_width`` is about: ``"slope"``
        of accuracy against the capability gap, the widest over the protocols; ``"rating-gap A:B"``, the rating
        difference of two debaters by their debates against others; ``"rating-gap"``, the widest of all pairs.
        By default the slope, and for Swiss the rating gaps.
    until_width : stop when that interval is at most so wide, in log-odds per unit of capability or in rating
        points.  The same call with a narrower width goes on from there.
    batch : episodes between looks, at least: whole questions and whole Swiss rounds are played.
    preset : a published experiment, whose protocols are compared and whose number of answers is kept; see
        :mod:`oversight.presets`.
    changes : options given to each protocol of the preset that has them.

    The other parameters, what is returned and what is raised are those of :func:`run`.

    Examples
    --------
    >>> result = oversight.tournament("connect_four", agents=["mcts/4", "mcts/64"], limit=20)  # doctest: +SKIP
    >>> result.gap().plot("gap.png")  # doctest: +SKIP
    """
    plan = plan_tournament(
        arena,
        agents,
        protocols,
        debaters=debaters,
        judges=judges,
        pairs=pairs,
        limit=limit,
        epochs=epochs,
        seed=seed,
        answers=answers,
        swap=swap,
        options=options,
        people=people,
        log_dir=log_dir,
        schedule=schedule,
        target=target,
        until_width=until_width,
        batch=batch,
        preset=preset,
        changes=changes,
    )
    return carry_out(
        plan,
        log_dir,
        connections=connections,
        cost_limit=cost_limit,
        episode_timeout=episode_timeout,
        retry_failed=retry_failed,
        progress=progress,
        session=session,
        workers=workers,
        executor=executor,
        journal=journal,
    )
