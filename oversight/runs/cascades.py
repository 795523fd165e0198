"""The cascades of a run: which questions they are calibrated on, from where on each judge decides, who is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..agents import Agent
from ..agents.cascade import CascadeAgent
from ..agents.proxies import Proxy
from ..errors import ConfigurationError
from ..identity import digest, seed_from
from ..requests import Choose
from ..transcript import Consulted
from .directory import read_episodes, read_json, write_json

if TYPE_CHECKING:
    from ..analysis.escalation import Calibration, CalibrationItem
    from ..questions import Question
    from .plan import Episode, Plan

__all__ = ["ESCALATION", "Cascades", "held_out", "kept_calibrations", "require_one_verdict", "require_verdicts"]


ESCALATION = "escalation"
"""The kind of an open question that asks whether a person may be given an episode."""


def held_out(agents: Iterable[Agent], questions: Sequence[Question], seed: int) -> frozenset[str]:
    """Ids of the questions that cascades are calibrated on, which are then no part of what they are judged by.

    Whole sources are held out, as questions on one story are not independent; of several cascades, the largest share
    holds for all, so that everybody is compared on the same questions.
    """
    shares = [one.options.held_out for one in agents if isinstance(one, CascadeAgent) and one.calibrates_in_a_run]
    if not shares:
        return frozenset()
    every = {question.source for question in questions}
    sources = sorted(every, key=lambda source: (seed_from(seed, "held out", source), source))
    chosen = set(sources[: ceil(max(shares) * len(sources))])
    if len(chosen) == len(sources):
        raise ConfigurationError(
            f"{len(sources)} sources are too few to hold some out for a cascade's calibration: ask more questions, or "
            "give cascade(..., calibration=FILE)"
        )
    return frozenset(question.id for question in questions if question.source in chosen)


def require_one_verdict(plan: Plan) -> None:
    """Raise ConfigurationError where a cascade is cast for anything but the one verdict that its guarantee is about."""
    for protocol, casts in plan.entries:
        for role, names in ((role, names) for cast in casts for role, names in cast.items()):
            if not any(isinstance(plan.agents.get(name), CascadeAgent) for name in names):
                continue
            for answers in {len(question.answers) for question in plan.questions}:
                instances = plan.compiled(protocol, answers).unrolled.instances.values()
                kinds = [one.step.kind for one in instances if one.step.seat.role.name == role]
                if kinds.count("verdict") != 1 or "claim" in kinds:
                    raise ConfigurationError(
                        f"{protocol.title}: its {role} gives {kinds.count('verdict')} verdicts at most, and the "
                        "guarantee of a cascade is about one: cast it where one verdict ends the episode"
                    )


def require_verdicts(plan: Plan) -> None:
    """Raise ConfigurationError where a stand-in is cast in a role that never decides: its errors are in verdicts."""
    for protocol, casts in plan.entries:
        for role, names in {(role, names) for cast in casts for role, names in cast.items()}:
            proxies = [name for name in names if isinstance(plan.agents.get(name), Proxy)]
            if not proxies:
                continue
            for answers in {len(question.answers) for question in plan.questions}:
                steps = [one.step for one in plan.compiled(protocol, answers).unrolled.instances.values()]
                seats = [step.seat for step in steps if step.kind in ("verdict", "claim")]
                seats += [seat for step in steps for seat in (step.preferred_by, step.critic) if seat is not None]
                seats += [step.recursion.checker for step in steps if step.recursion and step.recursion.checker]
                if role not in {seat.role.name for seat in seats}:
                    raise ConfigurationError(
                        f"{proxies[0]} errs in verdicts, and the {role} of {protocol.title} gives none: cast it where "
                        "somebody decides"
                    )


@dataclass
class Cascades:
    """The cascades of a run, and what is known of when their judges may decide.

    Parameters
    ----------
    plan : what is run.
    agents : its agents, connected.
    folder : the run directory.
    asks_first : whether a person's judgment is asked for before it is taken.
    """

    plan: Plan
    agents: Mapping[str, Agent]
    folder: Path
    asks_first: bool = False
    found: dict[str, Calibration] = field(default_factory=dict)
    """By cell, the calibration of its cascade."""

    @property
    def names(self) -> frozenset[str]:
        """Names of the cascades."""
        return frozenset(name for name, agent in self.plan.agents.items() if isinstance(agent, CascadeAgent))

    def episodes(self) -> Iterator[Episode]:
        """The episodes that calibrate them."""
        return (episode for episode in self.plan.episodes() if episode.purpose == "calibration")

    def of(self, episode: Episode) -> Mapping[str, Agent]:
        """The agents that play an episode: its cascade with the thresholds of its protocol and cast."""
        inside = self.names & {name for names in episode.cast.values() for name in names}
        if not inside:
            return self.agents
        changed = dict(self.agents)
        for name in inside:
            cascade = self.agents[name]
            assert isinstance(cascade, CascadeAgent)
            if episode.purpose == "calibration":
                changed[name] = cascade.for_calibration()
            else:
                if cascade.thresholds is None:
                    cascade = cascade.with_thresholds(self.found[_cell(episode, name)].thresholds)
                changed[name] = cascade.with_permit(_permit) if self.asks_first else cascade
        return changed

    def calibrate(self) -> None:
        """Set every threshold from what was played or given for it, and keep them with the run."""
        if not self.names:
            return
        from ..analysis.escalation import calibrate, calibration_items, read_calibration

        kept = {one["key"]: one for one in read_json(path)} if (path := self._path).exists() else {}
        played: dict[str, list[Mapping[str, Any]]] = {}
        wanted = {episode.id: episode for episode in self.episodes()}
        used = False
        for record in read_episodes(self.folder):
            used = used or record["purpose"] == "comparison"
            if (episode := wanted.get(record["id"])) is not None:
                for name in self.names & {one for names in episode.cast.values() for one in names}:
                    played.setdefault(_cell(episode, name), []).append(record)
        titles: dict[str, str] = {}
        for episode in self.plan.episodes():
            for name in self.names & {one for names in episode.cast.values() for one in names}:
                cell = _cell(episode, name)
                cascade = self.plan.agents[name]
                assert isinstance(cascade, CascadeAgent)
                if cell in self.found or cascade.thresholds is not None:  # set by whoever made it
                    continue
                titles[cell] = _title(episode, name)
                if used and cell in kept:  # verdicts rest on it: it stays what it was
                    self.found[cell] = _read(kept[cell])
                    continue
                options, judges = cascade.options, [judge.name for judge in cascade.judges]
                if options.calibration is not None:
                    items, source = read_calibration(options.calibration, judges), Path(options.calibration).name
                    self._require_apart(options.calibration, items)
                else:
                    items, source = calibration_items(played.get(cell, ())), "questions held out of this run"
                self.found[cell] = calibrate(
                    items,
                    judges,
                    options.risk,
                    options.delta,
                    seed=self.plan.seed,
                    least=options.least,
                    source=source,
                )
        write_json(
            self._path, [{"key": cell, "cell": titles[cell], **one.to_json()} for cell, one in self.found.items()]
        )

    @property
    def _path(self) -> Path:
        return self.folder / "calibration.json"

    def _require_apart(self, path: str, items: Iterable[CalibrationItem]) -> None:
        """Raise ConfigurationError where a cascade is to be judged by questions that it is calibrated on."""
        asked = {question.id for question in self.plan.questions} | {one.source for one in self.plan.questions}
        shared = sorted({item.question for item in items} & asked | {item.source for item in items} & asked)
        if shared:
            raise ConfigurationError(
                f"{path}: it holds {shared[0]!r}, which this run asks: calibrate on other questions, and other sources"
            )


def kept_calibrations(folder: Path) -> dict[str, Calibration]:
    """The calibrations that a run directory keeps, by what they are of; none where no cascade took part."""
    path = folder / "calibration.json"
    if not path.exists():
        return {}
    return {one["cell"]: _read(one) for one in read_json(path)}


def _read(values: Mapping[str, Any]) -> Calibration:
    from ..analysis.escalation import Calibration

    return Calibration.from_json({name: value for name, value in values.items() if name not in ("key", "cell")})


def _cell(episode: Episode, name: str) -> str:
    """What a cascade's thresholds are of: a judge's reliability after one debate says nothing of it after another."""
    return digest([episode.protocol.key, {role: list(names) for role, names in episode.cast.items()}, name])


def _title(episode: Episode, name: str) -> str:
    others = [f"{role} {' and '.join(names)}" for role, names in episode.cast.items() if name not in names]
    return ", ".join([episode.protocol.title, *others, name])


async def _permit(request: Choose, consulted: tuple[Consulted, ...]) -> bool:
    """Wait until it is known whether this episode goes to the person: everything is looked at first."""
    from langgraph.types import interrupt

    return bool(interrupt({"kind": ESCALATION, "confidence": max(consulted[-1].probabilities)}))
