"""The NYU human debate corpus: 631 debates and consultancies by people and by GPT-4, judged by people.

Michael et al. 2023, Debate Helps Supervise Unreliable Experts (https://arxiv.org/abs/2311.08702), CC-BY 4.0.
Debaters quote by marking spans of the story's tokens, so every quotation stands in the story.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..analysis.comparison import expected_calibration_error
from ..errors import ConfigurationError, DataError
from ..identity import digest
from ..questions import Arena, Question
from ..reading import json_lines, parse_object, read_text, required, required_texts
from ..registry import find_arena
from ..transcript import Quote, Turn, Verdict
from .corpus_protocols import NyuConsultancy, NyuDebate, Part
from .directory import RunDirectory
from .plan import Cast
from .recordings import Credence, Judged, Origin, Recording, Recordings
from .seating import Seating

__all__ = [
    "CORPUS",
    "PUBLISHED",
    "Condition",
    "conditions",
    "corpus_folder",
    "import_corpus",
    "read_corpus",
]

CORPUS = "NYU human debates (Michael et al. 2023)"


def corpus_folder(path: Path) -> Path | None:
    """The folder of the corpus, which may be ``pub`` in the one that was named; None where there is none."""
    for folder in (path, path / "pub"):
        if (folder / "debates-metadata.jsonl").is_file() and (folder / "debates" / "official").is_dir():
            return folder
    return None


# ---- reading -----------------------------------------------------------------------------------------


def read_corpus(folder: Path, *, everything: bool = False, people: bool = False) -> Recordings:
    """The corpus's debates, by name.

    Parameters
    ----------
    folder : holds debates-metadata.jsonl and debates/official/.
    everything : also those that the paper leaves out; what cannot be used is skipped with the reason.
    people : whether each person plays under a name (the corpus's own, invented ones), not all as ``human``.

    Notes
    -----
    The questions are those of the arena ``passage``.  Where a debate had the two answers in the other order, so
    that speakers who say "A" mean the other answer, its question is one of its own, ``.../swapped``.

    Raises
    ------
    DataError
        if a file is missing or malformed.
    """
    arena = find_arena("passage", data=str(folder), subset="all" if everything else "paper")
    questions = {(one.source, one.text, frozenset(one.answers)): one for one in arena.questions(None, 0)}
    metadata = folder / "debates-metadata.jsonl"
    chosen: dict[str, bool] = {}
    for line, entry in json_lines(metadata):
        name = required(entry, "name", str, metadata, line)
        setting = required(entry, "setting", dict, metadata, line)
        if everything or required(entry, "includedInPaper", bool, metadata, line):
            chosen[name] = required(setting, "isDebate", bool, metadata, line, "setting.")
    stories: dict[str, _Story] = {}
    recordings, skipped = [], []
    for name in sorted(chosen):
        found = _read_debate(folder, name, chosen[name], questions, stories, people)
        if isinstance(found, str):
            skipped.append(f"{name}: {found}")
        else:
            recordings.append(found)
    return Recordings(tuple(recordings), tuple(skipped), arena, CORPUS)


Questions = Mapping[tuple[str, str, frozenset[str]], Question]


def _read_debate(
    folder: Path, name: str, is_debate: bool, questions: Questions, stories: dict[str, _Story], people: bool
) -> Recording | str:
    """The recording, or why it cannot be used."""
    path = folder / "debates" / "official" / f"{name}.json"
    content = parse_object(path, read_text(path))
    setup = required(content, "setup", dict, path)
    rounds = required(content, "rounds", list, path)
    answers = required_texts(setup, "answers", path, "setup.")
    roles = required(setup, "roles", dict, path, prefix="setup.")
    material = next(iter(required(setup, "sourceMaterial", dict, path, prefix="setup.").values()), None)
    if not isinstance(material, dict):
        raise DataError(path, "setup.sourceMaterial has no object that describes the text")
    tokens = required_texts(material, "contents", path, "setup.sourceMaterial.")
    story = str(material.get("articleId", f"custom-{digest(tokens, 8)}"))
    text = required(setup, "question", str, path, prefix="setup.")
    asked = questions.get((story, text, frozenset(answers)))
    if asked is None:
        return "its question cannot be used"
    question = asked
    if tuple(answers) != asked.answers:
        correct = answers.index(asked.answers[asked.correct])
        question = replace(asked, id=f"{asked.id}/swapped", answers=tuple(answers), correct=correct)
    debaters = {index: str(roles[seat]) for index, seat in enumerate(("Debater A", "Debater B")) if seat in roles}
    if len(debaters) != (2 if is_debate else 1):
        return f"{len(debaters)} of the {2 if is_debate else 1} who argue are named"
    key = digest(tokens, 16)
    if key not in stories:
        stories[key] = _Story.of(tokens, asked.hidden["passage"])
    reader = _Reader(path, stories[key], answers=len(answers), debaters=tuple(debaters))
    for place, one in enumerate(rounds):
        reader.read(one, f"rounds[{place}].")
    if not reader.course or reader.incomplete or not (reader.ended or _ended_by_debaters(rounds)):
        return "it was never finished"
    argued = tuple(debaters)
    order = (*argued, *(answer for answer in range(len(answers)) if answer not in argued))
    role = "debater" if is_debate else "consultant"
    kind = NyuDebate if is_debate else NyuConsultancy
    who = tuple(dict.fromkeys(_agent(one, people) for one in debaters.values()))
    cast: Cast = {role: who, **({"judge": (_agent(str(roles["Judge"]), people),)} if "Judge" in roles else {})}
    plain = tuple(range(len(answers)))
    return Recording(
        origin=Origin(
            name,
            CORPUS,
            {turn.seat: turn.agent for turn in reader.turns if turn.answer is not None},
            (max(reader.times) - min(reader.times)) / 1000,
            datetime.fromtimestamp(max(reader.times) / 1000, UTC).isoformat(timespec="seconds"),
        ),
        question=question,
        protocol=kind(course=tuple(reader.course)),
        cast=cast,
        seating=Seating(labels=plain, speaking=order, defends=order, options=plain),
        turns=tuple(reader.turns),
        judged=Judged(
            tuple(reader.credences), reader.credences[-1].probabilities if reader.ended else None, reader.reasons
        ),
    )


def _ended_by_debaters(rounds: Sequence[Any]) -> bool:
    """Whether those who argued agreed to end, as they did where no judge was present."""
    ends = [one["NegotiateEnd"] for one in rounds if isinstance(one, dict) and "NegotiateEnd" in one]
    votes = ends[-1].get("votes", {}) if ends and isinstance(ends[-1], dict) else {}
    return bool(votes) and all(votes.values())


def _agent(name: str, people: bool) -> str:
    if name == "GPT-4":
        return name
    return f"human/{name}" if people else "human"


class _Reader:
    """Reads the rounds of one debate into turns and credences."""

    def __init__(self, path: Path, story: _Story, answers: int, debaters: tuple[int, ...]) -> None:
        self.path, self.story, self.answers, self.debaters = path, story, answers, debaters
        self.role = "debater" if len(debaters) > 1 else "consultant"
        self.turns: list[Turn] = []
        self.course: list[Part] = []
        self.credences: list[Credence] = []
        self.ended = False
        self.reasons = ""
        self.incomplete = False
        self.times: list[int] = []
        self._pending: Turn | None = None
        self._spoken: Counter[str] = Counter()

    def read(self, one: Any, prefix: str) -> None:
        """Read one round."""
        if not isinstance(one, dict) or len(one) != 1:
            raise DataError(self.path, f"{prefix[:-1]} is not an object with one kind of round")
        ((kind, content),) = one.items()
        prefix = f"{prefix}{kind}."
        if not isinstance(content, dict):
            raise DataError(self.path, f"field {prefix[:-1]} is not an object")
        if kind == "JudgeFeedback":
            self._feedback(content, prefix)
        elif kind in ("SimultaneousSpeeches", "SequentialSpeeches"):
            self._speeches(content, prefix, "together" if kind == "SimultaneousSpeeches" else "in turn")
        elif kind not in ("OfflineJudgments", "NegotiateEnd"):
            raise DataError(self.path, f"{prefix[:-1]} is no known kind of round")

    def _feedback(self, content: Mapping[str, Any], prefix: str) -> None:
        given = required(content, "distribution", list, self.path, prefix=prefix)
        numbers = [float(p) for p in given if isinstance(p, int | float) and not isinstance(p, bool)]
        total = math.fsum(numbers)
        if len(numbers) != self.answers or min(numbers) < 0 or not math.isclose(total, 1.0, abs_tol=1e-3):
            raise DataError(self.path, f"field {prefix}distribution is {given}, not a distribution over the answers")
        self.ended = required(content, "endDebate", bool, self.path, prefix=prefix)
        speech = required(content, "feedback", dict, self.path, prefix=prefix)
        text, quotes, agent = self._speech(speech, f"{prefix}feedback.")
        self.credences.append(Credence(len(self.turns), tuple(p / total for p in numbers), agent))
        if self.ended:
            self.reasons = text
        elif text.strip():
            self._pending = self._turn("judge", "judge", text, quotes, None, agent)

    def _speeches(self, content: Mapping[str, Any], prefix: str, kind: Part) -> None:
        speeches = required(content, "speeches", dict, self.path, prefix=prefix)
        if set(speeches) != {str(index) for index in self.debaters}:
            self.incomplete = True
            return
        if self._pending is not None:
            self.turns.append(self._pending)
            self.course.append("message")
            self._pending = None
        self.course.append(kind)
        for number, index in enumerate(self.debaters, start=1):
            speech = required(speeches, str(index), dict, self.path, prefix=f"{prefix}speeches.")
            text, quotes, agent = self._speech(speech, f"{prefix}speeches.{index}.")
            self.turns.append(self._turn(f"{self.role} {number}", self.role, text, quotes, index, agent))

    def _turn(self, seat: str, role: str, text: str, quotes: list[Quote], answer: int | None, agent: str) -> Turn:
        self._spoken[seat] += 1
        notes = () if text.strip() else ("nothing was said",)
        step = f"{seat} speech {self._spoken[seat]}"
        return Turn(step, seat, role, "speech", text, "", tuple(quotes), answer, agent=agent, notes=notes)

    def _speech(self, speech: Mapping[str, Any], prefix: str) -> tuple[str, list[Quote], str]:
        """Text with quotations between tags, the quotations, and who spoke."""
        text = ""
        quotes: list[Quote] = []
        for place, segment in enumerate(required(speech, "content", list, self.path, prefix=prefix)):
            here = f"{prefix}content[{place}]"
            if not isinstance(segment, dict):
                raise DataError(self.path, f"field {here} is not an object")
            if "Text" in segment and isinstance(segment["Text"], dict):
                said = segment["Text"].get("text")
                if not isinstance(said, str):
                    raise DataError(self.path, f"field {here}.Text.text is not text")
                if quotes and quotes[-1].end == len(text) and said[:1].isalnum():
                    text += " "
                text += said
            elif "Quote" in segment and isinstance(segment["Quote"], dict):
                words = self._quoted(segment["Quote"].get("span"), f"{here}.Quote.span")
                if text and not text[-1].isspace() and text[-1] not in "([{\"'“‘":
                    text += " "
                tagged = f"<quote>{words}</quote>"
                quotes.append(Quote(len(text), len(text) + len(tagged), words, True))
                text += tagged
            else:
                raise DataError(self.path, f"field {here} is neither a Text nor a Quote")
        self.times.append(required(speech, "timestamp", int, self.path, prefix=prefix))
        return text, quotes, _agent(required(speech, "speaker", str, self.path, prefix=prefix), True)

    def _quoted(self, span: Any, where: str) -> str:
        whole = isinstance(span, list) and len(span) == 2 and all(type(one) is int for one in span)
        if not whole or not 0 <= span[0] < span[1] or span[0] >= len(self.story.tokens):
            raise DataError(self.path, f"field {where} is {span!r}, not two places in the text")
        return self.story.words(span[0], min(span[1], len(self.story.tokens)))


# The corpus writes the marks of the Penn Treebank: brackets and quotation marks by name.
_MARKS = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}
_MARKS |= {"``": '"', "''": '"', "`": "'"}


@dataclass(frozen=True)
class _Story:
    """A story's tokens, and where each stands in its readable text.

    Parameters
    ----------
    tokens : as the corpus cut them.
    text : the passage, as debaters are shown it here.
    places : start and end of each token in ``text``; None where the text was cut otherwise.
    """

    tokens: Sequence[str]
    text: str
    places: Sequence[tuple[int, int]] | None

    @classmethod
    def of(cls, tokens: Sequence[str], text: str) -> _Story:
        """The story, its tokens found in the text one after another."""
        places, at = [], 0
        for token in tokens:
            word = _MARKS.get(token.strip(), token.strip())
            while word and at < len(text) and text[at].isspace():
                at += 1
            # The point that ends an abbreviation and a sentence is two tokens and one sign.
            end = at + len(word) if text.startswith(word, at) else at
            places.append((at, end))
            at = end
        return cls(tokens, text, places if not text[at:].strip() else None)

    def words(self, start: int, end: int) -> str:
        """The words of a span of tokens."""
        if self.places is None:
            return " ".join(" ".join(_MARKS.get(token.strip(), token) for token in self.tokens[start:end]).split())
        return self.text[self.places[start][0] : self.places[end - 1][1]].strip()


# ---- the published figures ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Condition:
    """What is published of one condition, or what comes out of the corpus.

    Parameters
    ----------
    n : judgements.
    accuracy : share of them with a final p(correct) above 1/2; a tie counts as wrong.
    honest, dishonest : the same where the consultant argued for the correct, and for the wrong answer; None in
        a debate.
    rounds : mean number of rounds, which is how often the judge continued.
    judge_score : mean of log2 p(correct) - 0.05 for each continuation.
    calibration_error : expected calibration error of the confidence in the likelier answer, in [0, 1].
    by_our_rule : mean credit where a tie of two counts 1/2, as everywhere else here.
    """

    n: int
    accuracy: float
    honest: float | None
    dishonest: float | None
    rounds: float
    judge_score: float
    calibration_error: float
    by_our_rule: float | None = None


PUBLISHED: Mapping[str, Condition] = {
    "human debate": Condition(154, 0.844, None, None, 2.7, -0.89, 0.11),
    "human consultancy": Condition(96, 0.740, 0.88, 0.60, 4.0, -1.24, 0.17),
    "AI debate": Condition(87, 0.782, None, None, 3.8, -1.20, 0.16),
    "AI consultancy": Condition(76, 0.803, 0.74, 0.87, 4.2, -1.16, 0.17),
}
"""The paper's table, as it is printed."""

BINS = 10
"""Bins of confidence over [0, 1], as in every comparison here; which bins the paper takes is not known to us."""


def condition_of(recording: Recording) -> str:
    """``human debate``, ``AI consultancy``, ..."""
    argue = "AI" if "GPT-4" in recording.origin.agents.values() else "human"  # a judge is none of these
    return f"{argue} {'debate' if recording.protocol.name == NyuDebate.name else 'consultancy'}"


def conditions(recordings: Sequence[Recording]) -> dict[str, Condition]:
    """What comes out of the recordings that a judge decided, by condition, in the order of the paper."""
    groups: dict[str, list[Recording]] = defaultdict(list)
    for recording in recordings:
        if recording.judged.verdict is not None:
            groups[condition_of(recording)].append(recording)
    return {name: _condition(groups[name]) for name in PUBLISHED if groups[name]}


def _condition(recordings: Sequence[Recording]) -> Condition:
    rows = []
    for one in recordings:
        assert one.judged.verdict is not None
        p, rounds = one.judged.verdict[one.question.correct], len(one.judged.credences) - 1
        honest = one.seating.speaking[0] == one.question.correct if one.protocol.name == NyuConsultancy.name else None
        score = math.log2(p) - 0.05 * rounds if p > 0 else -math.inf
        rows.append((p, honest, rounds, score, Verdict(one.judged.verdict).credit(one.question.correct)))

    def right(which: bool | None) -> float | None:
        chosen = [p > 0.5 for p, honest, *_ in rows if which is None or honest is which]
        return sum(chosen) / len(chosen) if chosen else None

    n = len(rows)
    error = expected_calibration_error([max(p, 1 - p) for p, *_ in rows], [float(p > 0.5) for p, *_ in rows], bins=BINS)
    return Condition(
        n=n,
        accuracy=right(None) or 0.0,
        honest=right(True),
        dishonest=right(False),
        rounds=sum(rounds for _, _, rounds, *_ in rows) / n,
        judge_score=math.fsum(score for *_, score, _ in rows) / n,
        calibration_error=error or 0.0,
        by_our_rule=math.fsum(credit for *_, credit in rows) / n,
    )


# ---- as a run ----------------------------------------------------------------------------------------


def import_corpus(
    path: str | Path,
    log_dir: str | Path,
    *,
    everything: bool = False,
    people: bool = False,
    command: Sequence[str] = (),
) -> Recordings:
    """Write the corpus's debates into a run directory, as episodes that are finished.

    Repeated, it adds what is missing.  In the records, ``agent`` of each turn is the person under the corpus's
    invented name; the cast is ``human`` and ``GPT-4``, so that analyses group by condition.

    Parameters
    ----------
    path : the corpus's folder.
    log_dir : the run directory; made if missing.
    everything : also debates that the paper leaves out.
    people : whether the cast names each person too.
    command : the words of the command line, kept with the run.

    Returns
    -------
    Recordings
        what was read; those that no judge decided are in no record.

    Raises
    ------
    DataError
        if there is no corpus at ``path``, or a file of it is malformed.
    RunDirectoryError
        if the run directory holds something else.
    """
    from .api import _wait_for

    folder = corpus_folder(Path(path).expanduser())
    if folder is None:
        raise DataError(path, "not the NYU human debate corpus: expected debates-metadata.jsonl and debates/official/")
    found = read_corpus(folder, everything=everything, people=people)
    records = _records(found)
    if not records:
        raise ConfigurationError(f"{path}: no debate in it was decided by a judge")
    decided = [one for one in found.recordings if one.judged.verdict is not None]
    _wait_for(_write(found.arena, decided, records, Path(log_dir), command))
    return found


async def _write(
    arena: Arena,
    recordings: Sequence[Recording],
    records: Sequence[dict[str, Any]],
    log_dir: Path,
    command: Sequence[str],
) -> None:
    from .execute import versions

    questions = list({one.question.id: one.question for one in recordings}.values())
    casts: dict[str, dict[str, Any]] = {}
    for one in recordings:
        entry = casts.setdefault(one.protocol.name, {**one.protocol.describe(), "casts": []})
        cast = {role: list(who) for role, who in one.cast.items()}
        if cast not in entry["casts"]:
            entry["casts"].append(cast)
    configuration = {
        "arena": arena.describe(),
        "protocols": [casts[name] for name in sorted(casts)],
        "capability": None,
        "agents": {
            name: {"agent": name} for name in sorted({n for r in records for w in r["cast"].values() for n in w})
        },
        "questions": {"count": len(questions), "digest": digest([question.fingerprint for question in questions])},
        "limit": None,
        "answers": None,
        "epochs": 1,
        "seed": 0,
        "swap": False,
        "recordings": {"corpus": CORPUS, "digest": digest(sorted(record["id"] for record in records))},
    }
    directory = RunDirectory(log_dir, configuration, versions(), command=command)
    try:
        if directory.questions() is None:
            directory.keep_questions(questions)
        await asyncio.gather(*(directory.add(one) for one in records if one["id"] not in directory.finished))
    finally:
        await directory.close()


def _records(found: Recordings) -> list[dict[str, Any]]:
    """The records of those that a judge decided, in the form of :func:`oversight.runs.moderator.play_episode`."""
    samples: Counter[str] = Counter()
    records = []
    for one in found.recordings:
        verdict = one.judged.verdict
        if verdict is None:
            continue
        correct, role = one.question.correct, next(role for role in one.cast if role != "judge")
        place = digest([one.question.id, one.protocol.name, one.seating.to_dict()])
        credit = Verdict(verdict).credit(correct)
        turns = _turns_with_credences(one)
        records.append(
            {
                "id": digest([CORPUS, one.digest, one.cast, [turn.to_dict() for turn in turns]], 20),
                "purpose": "comparison",
                "protocol": one.protocol.title,
                "protocol_key": one.protocol.key[:12],
                "arena": found.arena.name,
                "question": one.question.id,
                "source": one.question.source,
                "answers": len(one.question.answers),
                "correct": correct,
                "cast": {name: list(who) for name, who in one.cast.items()},
                "arguing": [role],
                "deciding": ["judge"],
                "seating": one.seating.to_dict(),
                "sample": samples[place],
                "status": "scored",
                "reason": "",
                "probabilities": list(verdict),
                "elicitation": "stated confidence",
                "credit": credit,
                "judge_score": one.protocol.judge_score(one.turns, verdict[correct]),
                "switched": [],
                "turns": [turn.to_dict() for turn in turns],
                "usage": {"calls": 0, "input_tokens": 0, "output_tokens": 0, "dollars": 0.0},
                "seconds": one.origin.seconds,
                "finished": one.origin.finished,
                "recording": one.mark(),
            }
        )
        samples[place] += 1
    return records


def _turns_with_credences(recording: Recording) -> list[Turn]:
    """The turns with the judge's credences where they were given, the reasons with the last."""
    turns: list[Turn] = []
    credences = list(recording.judged.credences)
    for number, credence in enumerate(credences, start=1):
        before = credences[number - 2].after if number > 1 else 0
        turns += recording.turns[before : credence.after]
        last = number == len(credences)
        turns.append(
            Turn(
                step=f"judge verdict {number}",
                seat="judge",
                role="judge",
                kind="verdict",
                text=recording.judged.reasons if last else "",
                probabilities=credence.probabilities,
                elicitation="stated confidence",
                agent=credence.judge,
            )
        )
    return turns
