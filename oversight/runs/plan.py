"""What a run will do: its questions, casts and episodes, and what they will cost at most."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, Literal

from ..agents import Agent, LanguageModelAgent
from ..agents.composite import everybody_asked
from ..errors import ConfigurationError
from ..graph import CompiledProtocol, compile_protocol
from ..identity import digest
from ..numbered import TRIES
from ..protocol import Protocol, Seat, Step
from ..questions import Arena, Question
from .seating import Seating, seatings

if TYPE_CHECKING:
    from .recordings import Recording

__all__ = [
    "Cast",
    "Episode",
    "PeopleOptions",
    "Plan",
    "Purpose",
    "RoleCost",
    "Scheduling",
    "label_names",
    "player",
    "require_cast",
    "size",
    "tournament_casts",
]

Cast = Mapping[str, tuple[str, ...]]
"""Names of the agents that play each role; one name plays every seat of its role."""


Entries = tuple[tuple[Protocol, tuple[Cast, ...]], ...]
"""Protocols, each with its casts."""

Purpose = Literal["comparison", "capability", "calibration", "attention"]
"""What an episode is for: to be analysed, to measure an agent alone, to set a cascade's thresholds, or to see whether a
person reads."""


def label_names(count: int) -> tuple[str, ...]:
    """The labels of ``count`` answers: A, B, ... Z, then A1, B1, ..."""
    letters = string.ascii_uppercase
    return tuple(letters[i % 26] + (str(i // 26) if i >= 26 else "") for i in range(count))


@dataclass(frozen=True, slots=True)
class Episode:
    """One protocol × question × cast × seating × sample, and the id that its content gives it."""

    id: str
    protocol: Protocol
    question: Question
    cast: Cast
    seating: Seating
    sample: int
    purpose: Purpose = "comparison"
    recording: Recording | None = None
    """What everybody but the judge said before; None where it is played."""
    sitting: int = 0
    """Which of the people who are given the same item it is for; what the others say is the same for all."""


@dataclass(frozen=True)
class RoleCost:
    """What a role is expected to cost at most.

    Parameters
    ----------
    role : the role's name.
    agent : who plays it.
    calls : calls that are made, or turns for agents that are no models; a turn that several episodes share counts
        once, and asking again for what cannot be read does not.
    most_calls : calls that the tokens are for: with every try, each asked for once more.
    input_tokens, output_tokens : worst case, for language models; None for agents that make no tokens.
    dollars : worst case; None where a price is unknown.
    """

    role: str
    agent: str
    calls: int
    most_calls: int
    input_tokens: int | None
    output_tokens: int | None
    dollars: float | None


@dataclass(frozen=True)
class Scheduling:
    """Which of the planned episodes are played, and when to stop; see :mod:`oversight.runs.schedule`.

    Parameters
    ----------
    kind : how the next batch is chosen.
    target : the interval that is looked at: the slope of accuracy against the capability gap (the widest over
        the protocols), or the rating difference of debaters.
    pair : the two debaters of a rating difference; None for the widest of all pairs.
    batch : episodes between looks, at least.
    until_width : stop when the 95 % interval is no wider, in log-odds per unit of capability or in rating
        points; None plays all that the schedule has.  It is no part of the run's configuration, so that the
        same command with a narrower width goes on where the wider one stopped.
    """

    kind: Literal["round-robin", "swiss", "adaptive"]
    target: Literal["slope", "rating-gap"] = "slope"
    pair: tuple[str, str] | None = None
    batch: int = 64
    until_width: float | None = None

    def describe(self) -> dict[str, Any]:
        """What decides the order of the episodes, as JSON values."""
        target = self.target if self.pair is None else f"{self.target} {self.pair[0]}:{self.pair[1]}"
        return {"kind": self.kind, "target": target, "batch": self.batch}


@dataclass(frozen=True)
class PeopleOptions:
    """How a run puts its items to people.

    Parameters
    ----------
    judges : how many people are given each item.
    reading : ``stepped`` shows a person one turn after another, with a credence after each; ``whole`` all at once.
    minutes : how long a transcript may be read; None for no limit.
    attention_every : one item in so many is a check that somebody reads, with a known answer; 0 for none.
    once : what nobody is given twice: a ``story`` (the question's source), or a ``question`` of it.
    """

    judges: int = 1
    reading: Literal["stepped", "whole"] = "stepped"
    minutes: float | None = None
    attention_every: int = 0
    once: Literal["story", "question"] = "story"

    def __post_init__(self) -> None:
        if self.judges < 1:
            raise ConfigurationError(f"--judges-per-item {self.judges}: give each item to one person at least")
        if self.minutes is not None and not self.minutes > 0:
            raise ConfigurationError(f"--minutes {self.minutes:g}: give a time above 0")
        if self.attention_every < 0 or self.attention_every == 1:
            raise ConfigurationError(
                f"--attention-every {self.attention_every}: one item in 2 or more is a check; 0 for none"
            )

    def source(self, question: Question) -> str:
        """What stands for the question where nobody is to be given the same twice."""
        return question.source if self.once == "story" else question.id


_AROUND, _AROUND_A_TURN = 1200, 120
"""Bytes that a prompt holds at most beside what the episode fills in: once, and for each turn shown."""


def size(*texts: str) -> int:
    """Bytes of texts together: the most tokens that they can be."""
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


def player(cast: Cast, seating: Seating, seat: Seat) -> str:
    """The name of the agent in a seat."""
    names = cast[seat.role.name]
    if seat.role.argues_for_an_answer and len(names) > 1:
        # By the answer that the seat is given, not by when it speaks: the two are drawn separately.
        return names[seating.defends.index(seating.speaking[seat.index]) % len(names)]
    return names[seat.index % len(names)]


def tournament_casts(
    protocol: Protocol, debaters: Sequence[str], judges: Sequence[str], pairs: Literal["same", "all"]
) -> list[Cast]:
    """Every cast of a tournament: the roles of the supervised side are played by debaters, all others by judges.

    ``pairs="same"`` puts one agent in every arguing seat; ``"all"`` also each two different ones.
    """
    roles = protocol.roles()
    arguing = [name for name, role in roles.items() if role.is_supervised]
    others = [name for name in roles if name not in arguing]
    seats = {step.seat for step in protocol.graph(2).steps() if step.seat.role.argues_for_an_answer}
    sides: list[tuple[str, ...]] = [(name,) for name in debaters]
    if pairs == "all" and len(seats) > 1:
        sides = list(combinations_with_replacement(debaters, 2))
    return [
        {**{role: side for role in arguing}, **{role: (judge,) for role in others}}
        for side in (sides if arguing else [()])
        for judge in judges
    ]


@dataclass(frozen=True)
class Plan:
    """Everything that a run will do, worked out before it starts.

    Parameters
    ----------
    arena : where the questions come from.
    entries : protocols, each with its casts.
    questions : the questions, in order.
    agents : every agent of a cast, by name.
    epochs : how often each episode is sampled.
    seed : seed of orderings, questions and agents.
    swap : whether every ordering is swapped within a question.
    capability : episodes in which each agent answers alone, where that is how capability is measured.
    measures_by_play : whether capability is measured by the arena's own games instead.
    limit, answers : what was asked for, for the record.
    scheduling : which of the episodes are played, in which order; None plays all.
    measured : capability of agents alone that is known beforehand, as ``capability.json`` keeps it.
    people : how items are put to people, where some take part.
    held_out : ids of the questions that cascades are calibrated on; everything else is played on the others.
    """

    arena: Arena
    entries: Entries
    questions: Sequence[Question]
    agents: Mapping[str, Agent]
    epochs: int = 1
    seed: int = 0
    swap: bool = True
    capability: Entries = field(default=())
    measures_by_play: bool = False
    limit: int | None = None
    answers: int | None = None
    scheduling: Scheduling | None = None
    measured: Mapping[str, Any] | None = None
    people: PeopleOptions = field(default=PeopleOptions())
    held_out: frozenset[str] = frozenset()

    @property
    def asks_people(self) -> bool:
        """Whether somebody at the terminal takes part."""
        return any(agent.asks_people for agent in self.agents.values())

    def people_in(self, episode: Episode) -> frozenset[str]:
        """Names of the seats of an episode in which a person may be asked; what was recorded is asked of nobody."""
        if episode.purpose == "calibration":
            return frozenset()
        recorded = episode.recording
        instances = self.compiled(episode.protocol, len(episode.question.answers)).unrolled.instances.values()
        asked = {step.seat for one in instances for step in one.step.steps()}
        seats = {seat for seat in asked if recorded is None or seat.role.name in recorded.judges}
        return frozenset(
            seat.name for seat in seats if self.agents[player(episode.cast, episode.seating, seat)].asks_people
        )

    def compiled_for(self, episode: Episode) -> CompiledProtocol:
        """The graph that an episode is played through."""
        return self.compiled(episode.protocol, len(episode.question.answers))

    def compiled(self, protocol: Protocol, answers: int) -> CompiledProtocol:
        """The protocol's graph for this many answers, compiled once."""
        key = (protocol.key, answers)
        if key not in self._compiled:
            self._compiled[key] = compile_protocol(protocol, answers)
        return self._compiled[key]

    def __getstate__(self) -> dict[str, Any]:
        """What another process is given; it compiles the graphs that it plays."""
        return {name: value for name, value in vars(self).items() if name != "_compiled"}

    @cached_property
    def _compiled(self) -> dict[tuple[str, int], CompiledProtocol]:
        return {}

    @cached_property
    def _described(self) -> dict[str, dict[str, Any]]:
        return {name: agent.describe() for name, agent in self.agents.items()}

    def episodes(self) -> Iterator[Episode]:
        """Every episode, those that share turns next to each other, and each for as many people as are to be asked."""
        yield from self._items()
        for sitting in range(1, self.people.judges if self.asks_people else 1):
            for episode in self._items():
                if self.people_in(episode):
                    yield replace(episode, id=digest([episode.id, "sitting", sitting], 20), sitting=sitting)

    def _items(self) -> Iterator[Episode]:
        phases: tuple[tuple[Purpose, Entries], ...] = (
            ("calibration", self._calibrating()),
            ("capability", self.capability),
            ("comparison", self.entries),
        )
        for purpose, entries in phases:
            for protocol, casts in entries:
                described = protocol.describe()
                arguing: dict[int, int] = {}
                for index, question in enumerate(self.questions):
                    if (question.id in self.held_out) != (purpose == "calibration"):
                        continue
                    answers = len(question.answers)
                    if answers not in arguing:
                        steps = list(protocol.graph(answers).steps())
                        named = {step.seat for step in steps} | {seat for step in steps for seat in step.told}
                        arguing[answers] = sum(seat.role.argues_for_an_answer for seat in named)
                    orders = seatings(index, answers, arguing[answers], self.seed, swap=self.swap)
                    for sample in range(self.epochs):
                        for seating in orders:
                            for cast in casts:
                                yield self._episode(protocol, described, question, cast, seating, sample, purpose)

    def _calibrating(self) -> Entries:
        """The protocols and casts in which a cascade is calibrated on questions of the run."""
        return tuple((protocol, tuple(filter(self.calibrates, casts))) for protocol, casts in self.entries)

    def calibrates(self, cast: Cast) -> bool:
        """Whether somebody in a cast is calibrated on questions of the run."""
        from ..agents.cascade import CascadeAgent

        agents = [self.agents.get(name) for names in cast.values() for name in names]
        return any(isinstance(agent, CascadeAgent) and agent.calibrates_in_a_run for agent in agents)

    def _episode(
        self,
        protocol: Protocol,
        described: dict[str, Any],
        question: Question,
        cast: Cast,
        seating: Seating,
        sample: int,
        purpose: Purpose,
    ) -> Episode:
        players = {role: [self._described[name] for name in names] for role, names in cast.items()}
        content = [described, question.fingerprint, players, seating.to_dict(), sample, self.seed, purpose]
        return Episode(digest(content, 20), protocol, question, cast, seating, sample, purpose)

    def costs(self, episodes: Iterable[Episode] | None = None) -> list[RoleCost]:
        """Calls and worst-case tokens by role and agent, of some episodes or of all.

        Each call of a model is at most two, as a reply that cannot be read is asked for once more.  A speech takes
        as many as it has candidates and tries within limits; a choice as many as its elicitation may need; ranking
        candidates is a choice for each.  A reply has at most the agent's longest length; a prompt at most a token for
        each byte of what the seat can see, every speech before it at full length, and what the prompt says around
        them.  Boards and the like that an arena shows with speeches are not counted.  Of an agent that asks models,
        as a cascade does, each of them is asked in each of its turns.
        """
        totals: dict[tuple[str, str], list[float]] = {}
        rules = size(self.arena.rules(), self.arena.speech_rules())
        seen: set[str] = set()
        for episode in self.episodes() if episodes is None else episodes:
            compiled = self.compiled(episode.protocol, len(episode.question.answers))
            question = episode.question
            # Answers stand in the list of answers and in that of options.
            public = rules + size(question.text, *question.answers, *question.answers)
            hidden = size(*question.hidden.values())
            makers: dict[str, tuple[str, ...]] = {}
            for instance in compiled.unrolled.instances.values():
                seat = instance.step.seat
                name = player(episode.cast, episode.seating, seat)
                involved = {f"{seat.name}={name}"}
                if (ranks := instance.step.preferred_by) is not None:  # what is said depends on who ranks it
                    involved.add(f"{ranks.name}={player(episode.cast, episode.seating, ranks)}")
                heard_makers = {maker for heard in instance.hears for maker in makers[heard]}
                makers[instance.name] = tuple(sorted(heard_makers | involved))
                mark = digest(
                    [
                        episode.protocol.key,
                        question.fingerprint,
                        episode.seating.to_dict(),
                        episode.sample,
                        instance.name,
                        makers[instance.name],
                        episode.sitting if self.agents[name].asks_people else 0,
                    ],
                    16,
                )
                if mark in seen:
                    continue
                seen.add(mark)
                heard = len(instance.hears)
                around = public, hidden
                step, longest = instance.step, self._longest(name)
                spoken = [compiled.unrolled.instances[one].step.seat for one in instance.hears]
                said = sum(self._longest(player(episode.cast, episode.seating, one)) for one in spoken)
                if step.recursion is not None:
                    self._add_recursion(totals, step, episode, around)
                elif step.checks is not None:
                    usual, most = self._choice_calls(name, step.votes, step.thinks)
                    count = step.checks.most_requests
                    self._add(totals, seat, name, usual * count, most * count, self._prompt(seat, around, said, heard))
                elif step.kind == "speech":
                    tries = max(step.limits.tries if step.limits is not None else 1, TRIES if step.most_steps else 1)
                    # A try after the first is shown the one before it.
                    prompt = self._prompt(seat, around, said, heard) + (longest if tries > 1 else 0)
                    each = self._speech_calls(name, step.thinks)
                    self._add(totals, seat, name, each * step.candidates, each * step.candidates * tries, prompt)
                    if step.critic is not None:  # what is criticised is written once more
                        who = player(episode.cast, episode.seating, step.critic)
                        times = self._speech_calls(who, step.thinks) * step.candidates
                        shown = self._prompt(step.critic, around, said + longest, heard + 1)
                        self._add(totals, step.critic, who, times, times, shown)
                        longer = prompt + longest + self._longest(who)
                        self._add(totals, seat, name, each * step.candidates, each * step.candidates * tries, longer)
                    if step.candidates > 1 and step.preferred_by is not None:
                        ranking = step.preferred_by
                        who, own = player(episode.cast, episode.seating, ranking), ranking == seat
                        usual, most = self._choice_calls(who, thinks=False)
                        once = own or bool(step.most_steps)
                        times = 1 if once else step.candidates
                        shown = said + (2 * step.candidates if once else 1) * longest
                        prompt = self._prompt(ranking, around, shown, heard + 3)
                        self._add(totals, ranking, who, usual * times, most * times, prompt)
                else:
                    usual, most = self._choice_calls(name, step.votes, step.thinks)
                    self._add(totals, seat, name, usual, most, self._prompt(seat, around, said, heard))
        return self._role_costs(totals)

    def _add_recursion(
        self, totals: dict[tuple[str, str], list[float]], step: Step, episode: Episode, around: tuple[int, int]
    ) -> None:
        """Count the requests of the widest tree that depth and budget allow."""
        how = step.recursion
        assert how is not None
        assert how.depth is not None
        assert how.budget is not None
        if how.checker is not None and how.most_splits:
            name = player(episode.cast, episode.seating, how.checker)
            usual, most = self._choice_calls(name, step.votes, step.thinks)
            said = how.most_parts * self._longest(player(episode.cast, episode.seating, step.seat))
            prompt = self._prompt(how.checker, around, said, how.most_parts + 2)
            self._add(totals, how.checker, name, usual * how.most_splits, most * how.most_splits, prompt)
        leaves = min(how.most_parts**how.depth, how.budget)
        inner = min(sum(how.most_parts**level for level in range(how.depth)), how.budget // 2)
        for seat, calls in ((how.decomposer, inner), (step.seat, leaves), (how.combiner, inner)):
            if not calls:  # nothing is split, so nobody is cast for it
                continue
            name = player(episode.cast, episode.seating, seat)
            said = (1 + how.most_parts) * self._longest(name)
            self._add(totals, seat, name, calls, 2 * calls, self._prompt(seat, around, said, how.most_parts))

    @cached_property
    def _models(self) -> dict[str, list[LanguageModelAgent]]:
        """By agent: itself if it is a model, or the models that it asks."""
        return {
            name: [one for one in everybody_asked([agent]) if isinstance(one, LanguageModelAgent)]
            for name, agent in self.agents.items()
        }

    def _longest(self, name: str) -> int:
        """Most tokens of a reply of an agent; 0 for one that makes no tokens."""
        return max((model.max_tokens for model in self._models[name]), default=0)

    def _choice_calls(self, name: str, votes: int = 0, thinks: bool | None = None) -> tuple[int, int]:
        each = [model.calls_of_a_choice(votes, thinks) for model in self._models[name]]
        return max((usual for usual, _ in each), default=1), max((most for _, most in each), default=1)

    def _speech_calls(self, name: str, thinks: bool | None) -> int:
        return max((model.calls_of_a_speech(thinks) for model in self._models[name]), default=1)

    @staticmethod
    def _prompt(seat: Seat, around: tuple[int, int], said: int, turns: int) -> int:
        """Bytes of a prompt at most: what stands around the turns, and the turns."""
        public, hidden = around
        told = size(*seat.role.texts().values())
        return _AROUND + public + (hidden if seat.role.sees_material else 0) + told + said + turns * _AROUND_A_TURN

    def _add(
        self, totals: dict[tuple[str, str], list[float]], seat: Seat, name: str, calls: int, most: int, prompt: int
    ) -> None:
        """Count calls that are made, and the tokens of as many as there can be, each asked once more."""
        models = self._models[name]
        for model in models:
            entry = totals.setdefault((seat.role.name, model.name), [0, 0, 0, 0])
            entry[0] += calls
            entry[1] += 2 * most
            entry[2] += most * (2 * prompt + model.max_tokens + _AROUND)
            entry[3] += most * 2 * model.max_tokens
        if not models:
            entry = totals.setdefault((seat.role.name, name), [0, 0, 0, 0])
            entry[0] += calls
            entry[1] += calls

    def _role_costs(self, totals: Mapping[tuple[str, str], Sequence[float]]) -> list[RoleCost]:
        from ..transcript import Usage

        models = {model.name: model.model for asked in self._models.values() for model in asked}
        found = []
        for (role, name), entry in totals.items():
            calls, most, inputs, outputs = map(int, entry)
            if name in models:
                dollars = models[name].price(Usage(calls, inputs, outputs))
                found.append(RoleCost(role, name, calls, most, inputs, outputs, dollars))
            else:
                found.append(RoleCost(role, name, calls, most, None, None, 0.0))
        return found

    def configuration(self) -> dict[str, Any]:
        """The run as JSON values: what ``run.json`` holds and what a repeated command must equal."""
        return {
            "arena": self.arena.describe(),
            "protocols": [
                {
                    **protocol.describe(),
                    "casts": [{role: list(names) for role, names in cast.items()} for cast in casts],
                }
                for protocol, casts in self.entries
            ],
            "capability": "direct play" if self.measures_by_play else "solo accuracy" if self.capability else None,
            "agents": self._described,
            "questions": {
                "count": len(self.questions),
                "digest": digest([question.fingerprint for question in self.questions]),
            },
            "limit": self.limit,
            "answers": self.answers,
            "epochs": self.epochs,
            "seed": self.seed,
            "swap": self.swap,
            # Only where there is one: a run of everything is the run that it was before there were schedules.
            **({} if self.scheduling is None else {"schedule": self.scheduling.describe()}),
            **({"people": asdict(self.people)} if self.asks_people else {}),
            **({"held_out": sorted(self.held_out)} if self.held_out else {}),
        }


def require_cast(protocol: Protocol, cast: Cast, answers: int = 2) -> None:
    """Raise ConfigurationError unless the cast fills exactly the protocol's roles: one agent a role, or one a seat."""
    roles = protocol.roles(answers)
    missing = [name for name in roles if not cast.get(name)]
    if missing:
        raise ConfigurationError(f"protocol {protocol.name!r} needs a {missing[0]}: give --{missing[0]} AGENT")
    for name in cast:
        if name not in roles:
            known = ", ".join(roles)
            raise ConfigurationError(f"protocol {protocol.name!r} has no role {name!r}: its roles are {known}")
    seats = Counter(seat.role.name for seat in {step.seat for step in protocol.graph(answers).steps()})
    for name, players in cast.items():
        if len(players) not in (1, seats[name]):
            raise ConfigurationError(
                f"protocol {protocol.name!r} has {seats[name]} seat{'s' * (seats[name] > 1)} for its {name}: "
                f"{len(players)} agents were given"
            )
