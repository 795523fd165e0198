"""A new judge before recorded transcripts: an ordinary run in which only verdicts are asked for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..agents import Agent
from ..agents.prompts import escape
from ..errors import ConfigurationError
from ..graph import CompiledProtocol, compile_protocol, unroll
from ..identity import digest, seed_from
from ..protocol import Protocol
from ..questions import Arena
from .api import LogDirectory, RunResult, carry_out, find_agents, require_able
from .cascades import held_out, require_one_verdict
from .plan import Episode, PeopleOptions, Plan, Purpose, RoleCost, size
from .progress import Progress
from .recordings import Recording, Recordings, read_recordings
from .stepped import Stepped, relabelled

if TYPE_CHECKING:
    from ..models.openai_compatible import ModelOptions
    from .executor import ExecutorName
    from .session import SessionOptions

__all__ = ["RejudgePlan", "plan_rejudge", "rejudge"]


def step_through(recording: Recording) -> Recording:
    """The recording, to be judged after each round; unchanged where it is so already, or has one round alone.

    Raises
    ------
    ConfigurationError
        if its protocol has rounds, and no verdict that follows them.
    """
    protocol, answers = recording.protocol, len(recording.question.answers)
    stepped = Stepped(original=protocol)
    before, after = _verdicts(recording, protocol), _verdicts(recording, stepped)
    if before != after or stepped.course is not None:  # debates of any length are one protocol there
        turns = relabelled(recording.turns, protocol, stepped, answers)
        return replace(recording, protocol=stepped, turns=turns)
    rounds = [one for one in recording.rounds if not one.by_judge and one.turns[0].kind == "speech"]
    if len(rounds) > 1 and max(before.values()) == 1:
        raise ConfigurationError(
            f"--stepped: {protocol.title} has no verdict right after its rounds to be given after each of them; "
            "leave --stepped out"
        )
    return recording


def _verdicts(recording: Recording, protocol: Protocol) -> Counter[str]:
    """How many verdicts each of the judge's seats gives at most."""
    instances = unroll(protocol.graph(len(recording.question.answers))).instances.values()
    steps = [one.step for one in instances]
    return Counter(
        step.seat.name for step in steps if step.kind == "verdict" and step.seat.role.name in recording.judges
    )


@dataclass(frozen=True)
class RejudgePlan(Plan):
    """The plan of a run in which new judges are put before recordings.

    Parameters
    ----------
    recordings : the transcripts, in order; each is one episode for each judge.
    judges : names of the new judges.
    both_orders : whether each is judged a second time with the options in the reverse order.
    messages : whether the judges see what the recorded judge said to the speakers.
    corpus : name of the corpus the recordings are from; empty for a run of ours.
    """

    recordings: tuple[Recording, ...] = ()
    judges: tuple[str, ...] = ()
    both_orders: bool = False
    messages: bool = False
    corpus: str = ""

    def compiled(self, protocol: Protocol, answers: int) -> CompiledProtocol:
        course = getattr(protocol, "course", None)
        key = (digest([protocol.key, course]), answers)
        if key not in self._compiled:
            self._compiled[key] = compile_protocol(protocol, answers)
        return self._compiled[key]

    def compiled_for(self, episode: Episode) -> CompiledProtocol:
        """The recording's graph with its turns in it."""
        if episode.recording is None:  # a check that somebody reads
            return super().compiled_for(episode)
        return episode.recording.replay(super().compiled_for(episode), self.messages)

    def _items(self) -> Iterator[Episode]:
        """Every item: each recording before each judge."""
        yield from self._of("calibration")
        yield from self._of("comparison")

    def _of(self, purpose: Purpose) -> Iterator[Episode]:
        for recording in self.recordings:
            if (recording.question.id in self.held_out) != (purpose == "calibration"):
                continue
            seatings = [recording.seating]
            if self.both_orders:
                seatings.append(replace(recording.seating, options=recording.seating.options[::-1]))
            for sample in range(self.epochs):
                for seating in seatings:
                    for judge in self.judges:
                        cast = {**recording.cast, **{role: (judge,) for role in sorted(recording.judges)}}
                        if purpose == "calibration" and not self.calibrates({"judge": (judge,)}):
                            continue
                        content = [
                            "rejudge",
                            recording.digest,
                            recording.origin.id,
                            self._described[judge],
                            {role: list(names) for role, names in cast.items()},
                            seating.to_dict(),
                            self.messages,
                            sample,
                            self.seed,
                            *([purpose] if purpose == "calibration" else []),
                        ]
                        yield Episode(
                            digest(content, 20),
                            recording.protocol,
                            recording.question,
                            cast,
                            seating,
                            sample,
                            purpose,
                            recording=recording,
                        )

    def costs(self, episodes: Iterable[Episode] | None = None) -> list[RoleCost]:
        """Calls and worst-case tokens of the verdicts; what was recorded costs nothing."""
        totals: dict[tuple[str, str], list[float]] = {}
        rules = size(self.arena.rules())
        for episode in self.episodes() if episodes is None else episodes:
            recording = episode.recording
            assert recording is not None
            question = episode.question
            public = rules + size(question.text, *question.answers, *question.answers)
            said = {
                turn.step: size(escape(turn.text)) + _A_TURN + _A_QUOTE * len(turn.quotes) for turn in recording.turns
            }
            compiled = self.compiled(recording.protocol, len(question.answers))
            for instance in compiled.unrolled.instances.values():
                seat = instance.step.seat
                if instance.step.kind != "verdict" or seat.role.name not in recording.judges:
                    continue
                (name,) = episode.cast[seat.role.name]
                own = 2 * self._longest(name) + _A_TURN  # an earlier verdict, with the reasons for it
                heard = sum(said.get(step, own) for step in instance.hears)
                usual, most = self._choice_calls(name, instance.step.votes)
                self._add(totals, seat, name, usual, most, self._prompt(seat, (public, 0), heard, len(instance.hears)))
        return self._role_costs(totals)

    def configuration(self) -> dict[str, Any]:
        return {
            **super().configuration(),
            "recordings": {
                "corpus": self.corpus,
                "count": len(self.recordings),
                "digest": digest([[one.origin.id, one.digest] for one in self.recordings]),
                "both_orders": self.both_orders,
                "messages": self.messages,
            },
        }


_A_TURN, _A_QUOTE = 100, 20
"""Bytes that a prompt holds at most around a turn, beside what a plan counts, and around a quotation."""


def _in_order(recordings: Sequence[Recording], seed: int) -> list[Recording]:
    """The recordings in rounds over protocols and who argues in them, so that the first ones are of every sort."""
    sorts: dict[str, list[Recording]] = defaultdict(list)
    for recording in sorted(recordings, key=lambda one: (seed_from(seed, "recording", one.origin.id), one.origin.id)):
        argue = [recording.cast[role] for role in sorted(recording.cast) if role not in recording.judges]
        sorts[digest([recording.protocol.name, argue])].append(recording)
    rounds = zip_longest(*(sorts[sort] for sort in sorted(sorts)))
    return [recording for each in rounds for recording in each if recording is not None]


def plan_rejudge(
    transcripts: str | Path | Recordings,
    judge: str | Agent | Sequence[str | Agent],
    *,
    limit: int | None = None,
    epochs: int = 1,
    seed: int = 0,
    stepped: bool = False,
    both_orders: bool = False,
    messages: bool | None = None,
    everything: bool = False,
    arena: str | Arena | None = None,
    protocols: Sequence[str | Protocol] = (),
    options: Mapping[str, ModelOptions] | None = None,
    people: PeopleOptions | None = None,
) -> RejudgePlan:
    """The plan of :func:`rejudge`, with the same parameters."""
    if limit is not None and limit < 1:
        raise ConfigurationError(f"--limit {limit}: judge at least one transcript")
    if epochs < 1:
        raise ConfigurationError(f"--epochs {epochs}: judge each transcript at least once")
    found = transcripts
    if not isinstance(found, Recordings):
        found = read_recordings(found, arena=arena, protocols=protocols, everything=everything)
    if not found.recordings:
        why = f": {len(found.skipped)} skipped, the first {found.skipped[0]}" if found.skipped else ""
        raise ConfigurationError(f"no transcript to put before a judge{why}")
    _, agents = find_agents([judge] if isinstance(judge, str | Agent) else judge, found.arena, options)
    if not agents:
        raise ConfigurationError("nobody is to judge: give --judge AGENT")
    recordings = _in_order(found.recordings, seed)[:limit]
    if stepped:
        recordings = [step_through(one) for one in recordings]
    entries: dict[str, tuple[Protocol, list[dict[str, tuple[str, ...]]]]] = {}
    for recording in recordings:
        _, casts = entries.setdefault(recording.protocol.key, (recording.protocol, []))
        for name in agents:
            cast = {**recording.cast, **{role: (name,) for role in sorted(recording.judges)}}
            if cast not in casts:
                casts.append(cast)
    plan = RejudgePlan(
        found.arena,
        tuple((protocol, tuple(casts)) for protocol, casts in entries.values()),
        list({one.question.fingerprint: one.question for one in recordings}.values()),
        agents,
        epochs,
        seed,
        swap=False,
        limit=limit,
        recordings=tuple(recordings),
        judges=tuple(agents),
        both_orders=both_orders,
        messages=not found.corpus if messages is None else messages,
        corpus=found.corpus,
        measured=found.capability,
        people=people or PeopleOptions(),
        held_out=held_out(agents.values(), [one.question for one in recordings], seed),
    )
    for agent in agents.values():
        agent.learn(plan.questions)
    for recording in recordings:
        plan.compiled(recording.protocol, len(recording.question.answers))
    require_one_verdict(plan)
    require_able(plan)
    return plan


def rejudge(
    transcripts: str | Path | Recordings,
    judge: str | Agent | Sequence[str | Agent],
    *,
    limit: int | None = None,
    epochs: int = 1,
    seed: int = 0,
    stepped: bool = False,
    both_orders: bool = False,
    messages: bool | None = None,
    everything: bool = False,
    arena: str | Arena | None = None,
    protocols: Sequence[str | Protocol] = (),
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
) -> RunResult:
    """Put a new judge before recorded transcripts; nobody speaks anew.

    The judge sees what any judge of the recorded protocol sees: question, answers under the labels they bore,
    who argues for what, and the speeches with their quotations checked.  Records bear the recorded protocol and
    debaters with the new judge, so that analyses put them beside the run they are from.

    Parameters
    ----------
    transcripts : a run directory, the folder of the NYU human debate corpus, or what :func:`read_recordings` gave.
    judge : an agent, its name, or several.
    limit : how many transcripts; None for all.  The first ones are of every protocol and every debater.
    epochs : how often each is judged.
    seed : of the order and of the judges' chance moves.
    stepped : a verdict after every round, each from the turns up to then; the last one counts.
    both_orders : judge each a second time with the options in reverse.  The labels stay as they were, since
        speeches may name them; a language model's verdict takes in both orders anyway.
    messages : show what the recorded judge said to the speakers, as another judge's words.  By default the questions
        of a run of ours are shown, which belong to what was said; what people wrote in the corpus is not, since it
        often tells how they leaned.
    everything : of the corpus, also the debates that the paper leaves out.
    arena, protocols : of a run, where they are no registered ones and the run's command does not name their files.

    The other parameters, what is returned and what is raised are those of :func:`oversight.run`.

    Raises
    ------
    DataError
        if ``transcripts`` are neither, or one cannot be read.

    Examples
    --------
    >>> result = oversight.rejudge("logs/mine", "openai/gpt-4o-mini", limit=20)  # doctest: +SKIP
    """
    plan = plan_rejudge(
        transcripts,
        judge,
        limit=limit,
        epochs=epochs,
        seed=seed,
        stepped=stepped,
        both_orders=both_orders,
        messages=messages,
        everything=everything,
        arena=arena,
        protocols=protocols,
        options=options,
        people=people,
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
