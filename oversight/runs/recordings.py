"""Recorded debates and consultancies, whatever their origin, and how they are put before a new judge.

A recording is played back through the graph of its own protocol: every seat but the judge's says what it said
then, and the judge's verdicts are asked for anew.  So a new judge sees what any judge of that protocol sees, by
the same projection, and nothing else of the recording.  What the recorded judge thought is kept apart
(:class:`Judged`) and has no way into a view.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..errors import ConfigurationError, DataError, OversightError, TurnFailed
from ..graph import CompiledProtocol, Instance, unroll
from ..graph.compile import Moderator, StateCompiled, Thread
from ..identity import digest
from ..protocol import Protocol, Seat
from ..questions import Arena, Question
from ..registry import find_arena, find_protocol, load_class, names
from ..specification import parse_specification, split_list
from ..transcript import Turn, Usage
from ..views import VisibleTurn
from .directory import read_episodes, read_json, read_lines
from .moderator import EpisodeModerator
from .plan import Cast
from .seating import Seating
from .stepped import STEPPED, Stepped, judging_roles, relabelled

__all__ = [
    "Credence",
    "Judged",
    "Origin",
    "Recording",
    "Recordings",
    "Round",
    "arena_of",
    "arena_of_run",
    "protocol_of",
    "read_recordings",
]


# ---- what was recorded -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Origin:
    """Where a recording comes from.

    Parameters
    ----------
    id : of the episode in its run, or name of the debate in its corpus.
    source : the run directory or corpus, as it was named.
    agents : by seat, who took its turns; for the record, never shown to a judge.
    seconds : from the first turn to the last.
    finished : when it ended: ISO 8601, UTC; empty where that is not known.
    """

    id: str
    source: str
    agents: Mapping[str, str]
    seconds: float = 0.0
    finished: str = ""


@dataclass(frozen=True)
class Credence:
    """What the recorded judge believed at one moment.

    Parameters
    ----------
    after : how many of the recording's turns had been taken by then.
    probabilities : one for each answer, in the question's order.
    judge : who it was.
    """

    after: int
    probabilities: tuple[float, ...]
    judge: str = ""


@dataclass(frozen=True)
class Judged:
    """What the recorded judge thought.  No new judge is ever shown any of it.

    Parameters
    ----------
    credences : its probabilities, each time that it gave them; the first may be from before anything was said.
    verdict : the last of them, where it was the verdict; None where nobody decided.
    reasons : what it said with the verdict.
    """

    credences: tuple[Credence, ...] = ()
    verdict: tuple[float, ...] | None = None
    reasons: str = ""


@dataclass(frozen=True)
class Round:
    """Public turns that belong together: each speaker's once, or what the recorded judge said.

    Parameters
    ----------
    turns : the turns, in the order in which they were spoken.
    simultaneous : whether they were spoken at the same time, blind to each other.
    by_judge : whether it is what the recorded judge said to the speakers.
    """

    turns: tuple[Turn, ...]
    simultaneous: bool = False
    by_judge: bool = False


@dataclass(frozen=True)
class Recording:
    """One recorded debate or consultancy.

    Parameters
    ----------
    origin : where it comes from.
    question : what was asked, with the correct answer and the hidden material.
    protocol : the protocol it was played by, whose graph it is played back through.
    cast : who played each role, the recorded judge included.
    seating : which answer bears which label, and who argued for what.
    turns : every turn but the judge's verdicts, in the order of the graph, without private reasoning.
    judged : what the recorded judge thought; kept apart.
    """

    origin: Origin
    question: Question
    protocol: Protocol
    cast: Cast
    seating: Seating
    turns: tuple[Turn, ...]
    judged: Judged = field(default_factory=Judged)

    @cached_property
    def digest(self) -> str:
        """Digest of all that a new judge's verdict can depend on: the same transcript has the same one."""
        seating = self.seating.to_dict()
        del seating["options"]
        argue = {role: list(who) for role, who in self.cast.items() if role not in self.judges}
        said = [[turn.step, turn.seat, turn.kind, turn.text, turn.answer] for turn in self.turns]
        return digest([self.protocol.describe(), self.course, self.question.fingerprint, seating, argue, said], 20)

    @property
    def course(self) -> Any:
        """What tells this recording's graph from those of others under the same protocol; None for most."""
        return getattr(self.protocol, "course", None)

    @cached_property
    def judges(self) -> frozenset[str]:
        """Names of the roles that decide without being overseen themselves."""
        return judging_roles(self.protocol, len(self.question.answers))

    @cached_property
    def rounds(self) -> tuple[Round, ...]:
        """The public turns in rounds: a new one begins when a seat speaks again, or the judge in between."""
        unrolled = unroll(self.protocol.graph(len(self.question.answers)))
        before = {turn.step: set(unrolled.before(turn.step)) for turn in self.turns}
        grouped: list[list[Turn]] = []
        for turn in self.turns:
            if turn.private or turn.kind == "verdict":
                continue
            last = grouped[-1] if grouped else []
            same_kind = bool(last) and (last[-1].role in self.judges) == (turn.role in self.judges)
            if same_kind and turn.kind == last[-1].kind and all(turn.seat != other.seat for other in last):
                last.append(turn)
            else:
                grouped.append([turn])
        return tuple(
            Round(
                tuple(one),
                len(one) > 1 and not any(a.step in before[b.step] for a in one for b in one),
                one[0].role in self.judges,
            )
            for one in grouped
        )

    def mark(self) -> dict[str, Any]:
        """What a record says of the recording it is made from, so that it can be read again."""
        course = self.course
        return {
            "origin": self.origin.id,
            "source": self.origin.source,
            **({} if course is None else {"course": list(course)}),
        }

    def replay(self, compiled: CompiledProtocol, messages: bool) -> Replay:
        """The compiled protocol with every turn but the judge's verdicts as recorded.

        ``messages``: whether the new judge sees what the recorded one said to the speakers.
        """
        return Replay(compiled.protocol, compiled.answers, compiled.unrolled, self, messages, compiled)


@dataclass(frozen=True)
class Recordings:
    """What a run directory or a corpus holds.

    Parameters
    ----------
    recordings : each transcript once.
    skipped : what cannot be put before a judge, each with the reason.
    arena : where the questions come from; what a judge is told about them is its.
    corpus : name of the corpus; empty for a run of ours.
    repeated : episodes left out because another has the same transcript (one debate before several judges).
    capability : what the run measured of the agents alone; None where it did not.
    """

    recordings: tuple[Recording, ...]
    skipped: tuple[str, ...]
    arena: Arena
    corpus: str = ""
    repeated: int = 0
    capability: Mapping[str, Any] | None = None


# ---- playing it back ---------------------------------------------------------------------------------


class RecordingEnds(TurnFailed):
    """The recording holds no such turn: the new judge would have gone on where the recorded one stopped."""


@dataclass(frozen=True)
class Replay(CompiledProtocol):
    """A compiled protocol in which only the judge's verdicts are asked for.

    Parameters
    ----------
    recording : what the other turns were.
    messages : whether the new judge sees what the recorded judge said to the speakers.
    original : what it is a replay of, whose graph serves all of them.
    """

    recording: Recording
    messages: bool
    original: CompiledProtocol

    @cached_property
    def graph(self) -> StateCompiled:
        return self.original.graph

    @cached_property
    def chained(self) -> StateCompiled:
        return self.original.chained

    async def play(
        self, moderator: Moderator, thread: Thread | None = None, replies: Mapping[str, Any] | None = None
    ) -> list[Turn]:
        assert isinstance(moderator, EpisodeModerator)
        replaying = ReplayModerator(moderator, self.recording, self.messages)
        try:
            return await super().play(replaying, thread, replies)
        except RecordingEnds:
            if any(turn.kind == "verdict" and turn.role in self.recording.judges for turn in replaying.taken):
                return self.ordered(replaying.taken)
            raise


class ReplayModerator(EpisodeModerator):
    """Takes the judge's verdicts live and every other turn from a recording.

    Parameters
    ----------
    live : the moderator of the episode.
    recording : what the others said.
    messages : whether the judge sees what the recorded judge said to the speakers.
    """

    def __init__(self, live: EpisodeModerator, recording: Recording, messages: bool) -> None:
        super().__init__(live.episode, live.compiled, live.arena, live.agents, live.journal, live.seed)
        self.taken = live.taken
        self.recording, self.messages = recording, messages
        self.recorded = {turn.step: turn for turn in recording.turns}

    async def take(self, instance: Instance, heard: list[Turn], claims: list[Turn]) -> Turn:
        if instance.step.kind == "verdict" and instance.step.seat.role.name in self.recording.judges:
            # What a judge says between rounds tells how it leans, and by and by its verdict.
            shown = [turn for turn in heard if self.messages or not self.is_message(turn)]
            return await super().take(instance, shown, claims)
        turn = self.recorded.get(instance.name)
        if turn is None:
            raise RecordingEnds(f"recording {self.recording.origin.id} ends before the turn {instance.name!r}")
        self.taken.append(turn)
        return turn

    def is_message(self, turn: Turn) -> bool:
        """Whether a turn is what the recorded judge said to the speakers."""
        return turn.kind == "speech" and turn.role in self.recording.judges

    def visible(
        self, turn: Turn, instance: Instance, by: Seat | None, viewer: Seat, positions: Mapping[Seat, int]
    ) -> VisibleTurn:
        shown = super().visible(turn, instance, by, viewer, positions)
        return replace(shown, speaker="First judge", own=False, reasoning="") if self.is_message(turn) else shown


# ---- reading -----------------------------------------------------------------------------------------


def read_recordings(
    path: str | Path,
    *,
    arena: str | Arena | None = None,
    protocols: Sequence[str | Protocol] = (),
    everything: bool = False,
) -> Recordings:
    """The recorded transcripts of a run directory of ours, or of the NYU human debate corpus.

    Parameters
    ----------
    path : a run directory, or the corpus's folder (it holds debates-metadata.jsonl and debates/official/).
    arena : of a run, where it is no registered one and the run's command does not name its file.
    protocols : of a run, in the same case.
    everything : of the corpus, also the debates that the paper leaves out.

    Raises
    ------
    DataError
        if it is neither, or a transcript cannot be read.
    ConfigurationError
        if the run's arena or a protocol cannot be found.
    """
    path = Path(path).expanduser()
    if (path / "run.json").is_file():
        if everything:
            raise ConfigurationError(f"--all is for the NYU corpus: {path} is a run directory, which is read whole")
        return _read_run(path, arena, protocols)
    from .human_corpus import corpus_folder, read_corpus

    folder = corpus_folder(path)
    if folder is None:
        found = "neither a run directory (run.json) nor" if path.is_dir() else "no such folder; give a run directory or"
        raise DataError(path, f"{found} the NYU human debate corpus (debates-metadata.jsonl and debates/official/)")
    return read_corpus(folder, everything=everything)


def _read_run(path: Path, arena: str | Arena | None, given: Sequence[str | Protocol]) -> Recordings:
    kept = read_json(path / "run.json")
    configuration = kept.get("configuration") if isinstance(kept, dict) else None
    if not isinstance(configuration, dict) or not isinstance(configuration.get("arena"), dict):
        raise DataError(path / "run.json", "is not a run's configuration")
    words = [str(word) for word in kept.get("command") or ()]
    found_arena = arena_of(configuration["arena"], arena, words, path)
    own = [one if isinstance(one, Protocol) else find_protocol(one) for one in given]
    protocols = {
        digest({name: value for name, value in entry.items() if name != "casts"})[:12]: entry
        for entry in configuration.get("protocols", ())
    }
    questions = {}
    for line, values in enumerate(read_lines(path / "questions.jsonl"), start=1):
        try:
            question = Question.from_dict(values)
        except (KeyError, TypeError, OversightError) as error:
            raise DataError(path / "questions.jsonl", f"is not a question: {error}", line) from None
        questions[question.id] = question

    built: dict[str, Protocol] = {}
    recordings: dict[str, Recording] = {}
    skipped, repeated = _torn(path / "episodes.jsonl"), 0
    for record in _transcripts(path):
        name = str(record["id"])[:8]
        try:
            key = record["protocol_key"]
            question = questions[record["question"]]
            course = (record.get("recording") or {}).get("course")
            mark = json.dumps([key, course, record["protocol"]])
            if mark not in built:
                built[mark] = protocol_of(protocols[key], course, record["protocol"], own, words, path)
            protocol = built[mark]
            recording = _recording(record, question, protocol, path)
            why = _unusable(record, recording)
            if isinstance(protocol, Stepped) and not why:
                # How often the recorded judge was asked is no part of what was said.
                turns = relabelled(recording.turns, protocol, protocol.original, len(question.answers))
                recording = replace(recording, protocol=protocol.original, turns=turns)
        except KeyError as error:
            raise DataError(path / "episodes.jsonl", f"episode {name} lacks, or names nothing by, {error}") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(path / "episodes.jsonl", f"episode {name} cannot be read: {error}") from None
        if why:
            skipped.append(f"{name}: {why}")
        elif recording.digest in recordings:
            repeated += 1
        else:
            recordings[recording.digest] = recording
    corpus = (configuration.get("recordings") or {}).get("corpus", "")
    measured = path / "capability.json"
    capability = read_json(measured) if measured.exists() else None
    return Recordings(tuple(recordings.values()), tuple(skipped), found_arena, corpus, repeated, capability)


def _torn(path: Path) -> list[str]:
    """Lines that hold no record: what a crash leaves, whose episode was played again, or what an editor broke."""
    found = []
    for number, line in enumerate(path.read_bytes().splitlines() if path.exists() else (), start=1):
        try:
            whole = not line.strip() or isinstance(json.loads(line), dict)
        except ValueError:
            whole = False
        if not whole:
            found.append(f"line {number}: it is no whole record")
    return found


def _transcripts(path: Path) -> Iterator[dict[str, Any]]:
    """The episodes of a run that are no measurement of an agent alone."""
    return (record for record in read_episodes(path) if record["purpose"] == "comparison")


def _recording(record: Mapping[str, Any], question: Question, protocol: Protocol, path: Path) -> Recording:
    turns = [Turn.from_dict(turn) for turn in record["turns"]]
    judges = judging_roles(protocol, len(question.answers))
    said: list[Turn] = []
    credences: list[Credence] = []
    reasons = ""
    for turn in turns:
        if turn.kind != "verdict" or turn.role not in judges:
            # What it cost was paid by the run that it is from.
            said.append(replace(turn, reasoning="", usage=Usage(), candidates=(), readings=()))
        elif turn.probabilities is not None:
            credences.append(Credence(len(said), turn.probabilities, turn.agent))
            reasons = turn.text
    final = record["probabilities"]
    return Recording(
        origin=Origin(
            record["id"],
            path.resolve().name,
            {turn.seat: turn.agent for turn in said if turn.role not in judges},
            float(record["seconds"]),
            str(record["finished"]),
        ),
        question=question,
        protocol=protocol,
        cast={role: tuple(who) for role, who in record["cast"].items()},
        seating=Seating(**{name: tuple(order) for name, order in record["seating"].items()}),
        turns=tuple(said),
        judged=Judged(tuple(credences), tuple(final) if final is not None else None, reasons),
    )


def _unusable(record: Mapping[str, Any], recording: Recording) -> str:
    """Why a recording cannot be put before a new judge; empty where it can."""
    unrolled = unroll(recording.protocol.graph(len(recording.question.answers)))
    steps = [instance.step for instance in unrolled.instances.values()]
    if not recording.judges:
        return "nobody judges in it but those who are overseen"
    if any(step.seat.role.sees_material for step in steps if step.seat.role.name in recording.judges):
        return "its judge is meant to see the hidden material"
    if not any(turn.kind in ("speech", "solution") for turn in recording.turns):
        return "nobody speaks in it" if record["status"] == "scored" else f"nobody spoke: {record['reason']}"
    strange = [turn.step for turn in recording.turns if turn.step not in unrolled.instances]
    if strange:
        return f"its protocol has no turn {strange[0]!r} any more"
    said = {turn.step for turn in recording.turns}
    missing = [
        name
        for name, one in unrolled.instances.items()
        if name not in said and not (one.step.kind == "verdict" and one.step.seat.role.name in recording.judges)
    ]
    # With conditions in the graph a scored episode may have ended early, as it was meant to.
    if missing and (record["status"] != "scored" or not unrolled.conditions):
        return f"incomplete: {record['reason'] or f'the turn {missing[0]!r} is missing'}"
    return ""


Group = Literal["arena", "protocol"]


def arena_of_run(path: Path, *, registered: bool = False) -> Arena:
    """The arena that a run directory's questions come from; raises ConfigurationError where it cannot be found.

    ``registered``: no file that the run's command names is imported.
    """
    kept = read_json(path / "run.json")
    words = () if registered else kept.get("command") or ()
    return arena_of(kept["configuration"]["arena"], None, [str(word) for word in words], path)


def arena_of(described: Mapping[str, Any], given: str | Arena | None, words: Sequence[str], path: Path) -> Arena:
    if isinstance(given, Arena):
        return given
    if given is not None:
        found = load_class("arenas", parse_specification(given).name)
        stated = {**_options(found, described), **parse_specification(given).options}
        return find_arena(parse_specification(given).name, **stated)
    word = _word("arena", str(described.get("arena")), words, path)
    return find_arena(word, **_options(load_class("arenas", word), described))


def protocol_of(
    entry: Mapping[str, Any], course: Any, title: str, given: Sequence[Protocol], words: Sequence[str], path: Path
) -> Protocol:
    from .corpus_protocols import corpus_protocol

    wanted = str(entry.get("protocol"))
    protocol = corpus_protocol(wanted, course)
    for one in given:
        if one.name == wanted and protocol is None:
            protocol = type(one)(**one.model_dump())  # its texts may be changed below
    if protocol is None:
        word = _word("protocol", wanted, words, path)
        options = _options(load_class("protocols", word), entry)
        protocol = find_protocol(word, **options)
        if protocol.title != title:  # its label, which is no part of a configuration, stands in its title
            protocol = find_protocol(word, **options, label=title.removeprefix(f"{wanted}(").removesuffix(")"))
    instructions = entry.get("instructions")
    if isinstance(instructions, dict) and all(isinstance(texts, dict) for texts in instructions.values()):
        # The judge is told what the recorded one was told, whatever prompt files were used or have changed since.
        told = {name: role.texts() for name, role in protocol.roles().items()}
        changed = {name: texts for name, texts in instructions.items() if told.get(name) != texts}
        protocol._texts.update(changed)
    return Stepped(original=protocol) if STEPPED.items() <= entry.items() else protocol


def _options(found: Any, described: Mapping[str, Any]) -> dict[str, Any]:
    return {name: described[name] for name in getattr(found, "model_fields", ()) if name in described}


def _word(group: Group, wanted: str, words: Sequence[str], path: Path) -> str:
    """What names a class: its registered name, or the ``file.py:Name`` that the run's command gave."""
    if wanted in names(f"{group}s"):
        return wanted
    for word in words:
        for item in split_list(word) if ".py:" in word else ():
            name = parse_specification(item).name
            if Path(name.rpartition(":")[0]).resolve().is_relative_to(path.resolve()):
                continue  # whoever wrote the folder would run code of theirs here
            try:
                found = load_class(f"{group}s", name)
            except ConfigurationError:
                continue
            kind = Arena if group == "arena" else Protocol
            if isinstance(found, type) and issubclass(found, kind) and getattr(found, "name", None) == wanted:
                return name
    raise ConfigurationError(f"{path}: its {group} {wanted!r} is not registered here: give --{group} file.py:Name")
