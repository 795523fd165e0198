"""Preference pairs out of a run: which of two things said for the same prompt was preferred.

The columns ``prompt``, ``chosen`` and ``rejected`` are those of TRL's trainers, as text; others stand beside them.
Pairs come from three places:

``candidates``
    a turn of which several candidates were written and ranked: the chosen one against each other one.  Both argue
    for the same answer, and the margin is the difference of what they were ranked by.
``opposed``
    two seats of one role that argued for different answers in one episode, each having heard just what the other
    had: the speeches of a round given at the same time, or of consultants who never hear each other.
``paired``
    the first speeches of two episodes in which one seat of the role argued, for different answers, and nothing else
    differs but the seating: the two arms of a consultancy.

The speech for the answer that the judge preferred is the chosen one of the latter two: that of the greater
probability where both were judged together, and where they were judged apart that which the judge believed more.
What is correct has no part in it, unless it is asked for.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, get_args

from ..agents.prompts import escape, speak_messages
from ..errors import ConfigurationError, DataError, OversightError
from ..graph import CompiledProtocol, compile_protocol
from ..identity import digest
from ..protocol import Protocol
from ..questions import Arena, Question
from ..runs.directory import read_episodes, read_json, read_lines
from ..runs.journal import Journal
from ..runs.moderator import EpisodeModerator
from ..runs.plan import Episode, label_names
from ..runs.recordings import arena_of_run, protocol_of  # rebuilding is theirs; what they keep of a turn is less
from ..runs.seating import Seating
from ..transcript import Turn
from .export import json_line

__all__ = ["PREFERENCE_COLUMNS", "By", "PreferenceExport", "export_preferences", "preference_pairs"]

By = Literal["judge", "truth"]
"""Who prefers: the judge of the run, or the key."""

PREFERENCE_COLUMNS = ("prompt", "chosen", "rejected", "margin", "episode", "question", "source", "how")
"""Columns of the file, in order.

``margin`` : by how much the chosen one was preferred, a difference of probabilities in (0, 1]; 1 by truth.
``episode`` : id of the episode; of both, the chosen one's first, where the pair is of two.
``how`` : ``candidates by judge``, ``candidates by speaker``, ``opposed`` or ``paired``; with ``, bare prompt`` where
the seat's prompt could not be rebuilt.
"""

BARE = ", bare prompt"


@dataclass(frozen=True)
class PreferenceExport:
    """What was written.

    Parameters
    ----------
    path : the file.
    pairs : its rows.
    by_how : rows by where they come from.
    left_out : by reason, what gave no pair.
    not_rebuilt : why prompts could not be rebuilt, and hold question and answers alone; empty where all could.
    """

    path: Path
    pairs: int
    by_how: Mapping[str, int]
    left_out: Mapping[str, int]
    not_rebuilt: tuple[str, ...] = ()


def export_preferences(
    log_dir: str | Path, output: str | Path | None = None, *, by: By = "judge", force: bool = False
) -> PreferenceExport:
    """Write the preference pairs of a run directory as JSON lines, whole or not at all.

    Parameters
    ----------
    log_dir : the run directory.
    output : the file; ``export/preferences.jsonl`` in the run directory where None.
    by : who prefers; ``truth`` takes opposed and paired speeches alone, as candidates of a turn argue for one answer.
    force : replace a file that is no earlier export of preferences.

    Raises
    ------
    ConfigurationError
        if there is no pair, or the file cannot be written or is something else.
    RunDirectoryError
        if the folder is not a run directory.
    DataError
        if an episode cannot be read.

    Examples
    --------
    The file is loaded in one line::

        datasets.load_dataset("json", data_files="logs/mine/export/preferences.jsonl", split="train")
    """
    log_dir = Path(log_dir)
    path = log_dir / "export" / "preferences.jsonl" if output is None else Path(output)
    if by not in get_args(By):
        raise ConfigurationError(f"--by {by}: choose one of {', '.join(get_args(By))}")
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder: give --output a file")
    if path.exists() and not force and not _is_export(path):
        raise ConfigurationError(f"{path} is no export of preferences: --force replaces it")
    if next(read_episodes(log_dir), None) is None:
        raise ConfigurationError(f"{log_dir}: no episode is finished yet, so there is nothing to export")
    left_out: Counter[str] = Counter()
    not_rebuilt: dict[str, None] = {}
    by_how: Counter[str] = Counter()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    made_folder = not path.parent.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8", errors="replace") as file:
            for row in preference_pairs(log_dir, by=by, left_out=left_out, not_rebuilt=not_rebuilt):
                file.write(json_line(row) + "\n")
                by_how[row["how"]] += 1
            file.flush()
            os.fsync(file.fileno())
        if not by_how:
            counted = [f"{count} {reason}" for reason, count in left_out.most_common(3)]
            reasons = "; ".join([*counted, *not_rebuilt])
            raise ConfigurationError(
                f"{log_dir}: no preference pair in it ({reasons or 'no two speeches to compare'}): play a debate, or "
                "several candidates a turn"
            )
        os.replace(part, path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):  # it has taken its place
            part.unlink()
        if made_folder and path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
    return PreferenceExport(path, by_how.total(), dict(by_how), dict(left_out), tuple(not_rebuilt))


def preference_pairs(
    log_dir: str | Path,
    *,
    by: By = "judge",
    left_out: Counter[str] | None = None,
    not_rebuilt: dict[str, None] | None = None,
) -> Iterator[dict[str, Any]]:
    """The pairs of a run directory, one row each with :data:`PREFERENCE_COLUMNS`.

    Parameters
    ----------
    log_dir : the run directory.
    by : who prefers.
    left_out : filled with what gave no pair, by reason.
    not_rebuilt : filled with the reasons for which prompts hold question and answers alone.

    Raises
    ------
    DataError
        if an episode cannot be read.
    """
    log_dir = Path(log_dir)
    left_out = Counter() if left_out is None else left_out
    prompts = _Prompts(log_dir, {} if not_rebuilt is None else not_rebuilt)
    arms: dict[str, list[_Arm]] = defaultdict(list)
    for record in read_episodes(log_dir):
        if record["purpose"] != "comparison":
            continue  # what measures agents or people stands in no one's training set
        if record["status"] != "scored":
            left_out["episodes unscored"] += 1
            continue
        try:
            played = _Played(record, prompts)
            if by == "judge":
                yield from _candidates(played, left_out)
            else:
                left_out["turns with candidates, which argue for one answer"] += sum(
                    bool(turn.candidates) for turn in played.turns
                )
            yield from _opposed(played, by, left_out)
            if (arm := _arm(played)) is not None:
                arms[arm.key].append(arm)
        except KeyError as error:
            lacks = f"episode {record['id']!r} lacks, or names nothing by, {error}"
            raise DataError(log_dir / "episodes.jsonl", lacks) from None
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            unreadable = f"episode {record['id']!r} cannot be read: {error}"
            raise DataError(log_dir / "episodes.jsonl", unreadable) from None
    for several in arms.values():
        for first, second in combinations(several, 2):
            yield from _paired(first, second, by, left_out)
    for reason in [reason for reason, count in left_out.items() if not count]:
        del left_out[reason]


# ---- where pairs come from ----------------------------------------------------------------------------


def _candidates(played: _Played, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    """The chosen candidate of each turn against each other one."""
    for turn in played.turns:
        chosen = next((one for one in turn.candidates if one.chosen), None)
        if chosen is None:
            continue
        if chosen.score is None:
            left_out["turns with candidates that nothing ranked"] += 1
            continue
        ranked_by = "speaker" if any(note.endswith("chosen by its speaker") for note in turn.notes) else "judge"
        for other in turn.candidates:
            if other is chosen:
                continue
            if other.score is None:
                left_out["candidates not ranked"] += 1
            elif other.text == chosen.text:
                left_out["candidates with the same words"] += 1
            elif chosen.score - other.score <= 1e-9:
                left_out["ties"] += 1
            else:
                prompt, bare = played.prompt_of(turn)
                how = f"candidates by {ranked_by}{bare}"
                yield _row(played, prompt, chosen.text, other.text, chosen.score - other.score, how)


def _opposed(played: _Played, by: By, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    """Speeches for different answers by seats of one role that had heard the same."""
    speeches = played.speeches
    for first, second in combinations(speeches, 2):
        if first.role != second.role or first.seat == second.seat or first.answer == second.answer:
            continue
        if played.compiled is None:
            if played.number_of(first) == played.number_of(second):
                left_out["speeches of which it is not known who heard what"] += 1
            continue
        heard = played.heard_in_public(first)
        if heard != played.heard_in_public(second):
            continue  # one of them answers the other, or knows more: they were asked for different things
        assert first.answer is not None
        assert second.answer is not None
        beliefs = (played.probabilities[first.answer], played.probabilities[second.answer])
        preferred = _preferred((first.answer, second.answer), beliefs, played.correct, by, left_out)
        if preferred is None:
            continue
        place, margin = preferred
        chosen, rejected = (first, second) if place == 0 else (second, first)
        if chosen.text == rejected.text:
            left_out["speeches with the same words"] += 1
            continue
        prompt, bare = played.prompt_without_side(chosen)
        yield _row(played, prompt, chosen.text, rejected.text, margin, f"opposed{bare}")


@dataclass(frozen=True)
class _Arm:
    """An episode in which one seat argued for one answer, and its first speech.

    Parameters
    ----------
    played : the episode.
    turn : the speech.
    key : the same for episodes that differ in nothing but the seating.
    """

    played: _Played
    turn: Turn
    key: str


def _arm(played: _Played) -> _Arm | None:
    speeches = played.speeches
    if len({turn.seat for turn in speeches}) != 1 or len({turn.answer for turn in speeches}) != 1:
        return None
    first = speeches[0]
    if played.compiled is not None and played.heard_in_public(first):
        return None  # it answers something that was said in this episode alone
    record = played.record
    apart = [record[name] for name in ("protocol_key", "question", "cast", "sample")]
    return _Arm(played, first, digest([*apart, record.get("sitting", 0), first.role]))


def _paired(first: _Arm, second: _Arm, by: By, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    assert first.turn.answer is not None
    assert second.turn.answer is not None
    if first.turn.answer == second.turn.answer:
        return
    one, other = first.played, second.played
    labels = one.record["seating"]["labels"], other.record["seating"]["labels"]
    if labels[0] != labels[1] and any(_names_a_label(arm.turn.text, len(labels[0])) for arm in (first, second)):
        left_out["arms whose speeches name labels that stand for different answers"] += 1
        return
    answers = (first.turn.answer, second.turn.answer)
    beliefs = (one.probabilities[answers[0]], other.probabilities[answers[1]])
    preferred = _preferred(answers, beliefs, one.correct, by, left_out)
    if preferred is None:
        return
    chosen, rejected = (first, second) if preferred[0] == 0 else (second, first)
    if chosen.turn.text == rejected.turn.text:
        left_out["speeches with the same words"] += 1
        return
    played = chosen.played
    prompt, bare = played.prompt_without_side(chosen.turn)
    row = _row(played, prompt, chosen.turn.text, rejected.turn.text, preferred[1], f"paired{bare}")
    yield {**row, "episode": f"{played.record['id']} {rejected.played.record['id']}"}


def _preferred(
    answers: tuple[int, int], beliefs: tuple[float, float], correct: int, by: By, left_out: Counter[str]
) -> tuple[int, float] | None:
    """Which of two speeches is preferred and by how much; None where neither is."""
    if by == "truth":
        if correct not in answers:
            left_out["pairs for two wrong answers"] += 1
            return None
        return answers.index(correct), 1.0
    margin = beliefs[0] - beliefs[1]
    if abs(margin) <= 1e-9:
        left_out["ties"] += 1
        return None
    return (0, margin) if margin > 0 else (1, -margin)


def _names_a_label(text: str, answers: int) -> bool:
    """Whether a label stands in the text as a word; an article at the head of a sentence is taken for one, too."""
    return re.search(rf"\b(?:{'|'.join(label_names(answers))})\b", text) is not None


def _row(played: _Played, prompt: str, chosen: str, rejected: str, margin: float, how: str) -> dict[str, Any]:
    record = played.record
    values = (prompt, chosen, rejected, margin, record["id"], record["question"], record["source"], how)
    return dict(zip(PREFERENCE_COLUMNS, values, strict=True))


# ---- what was asked -----------------------------------------------------------------------------------


class _Prompts:
    """What is needed to ask again: the run's arena, protocols and questions, as far as they can be had.

    Parameters
    ----------
    log_dir : the run directory.
    reasons : filled with why something could not be had.
    """

    def __init__(self, log_dir: Path, reasons: dict[str, None]) -> None:
        self.log_dir, self.reasons = log_dir, reasons
        kept = read_json(log_dir / "run.json")
        self.words = [str(word) for word in kept.get("command") or ()]
        self.configuration: Mapping[str, Any] = kept.get("configuration") or {}
        self.entries = {
            digest({name: value for name, value in entry.items() if name != "casts"})[:12]: entry
            for entry in self.configuration.get("protocols", ())
        }
        self.questions = {
            question.id: question for question in map(Question.from_dict, read_lines(log_dir / "questions.jsonl"))
        }
        self.compiled: dict[str, CompiledProtocol | None] = {}
        self.arena = self._arena()

    def _arena(self) -> Arena | None:
        try:
            return arena_of_run(self.log_dir)
        except (OversightError, KeyError, TypeError) as error:
            self.reasons[f"the arena: {error}"] = None
            return None

    def protocol(self, record: Mapping[str, Any], answers: int) -> CompiledProtocol | None:
        """The compiled protocol that an episode was played by; None where it cannot be had."""
        course = (record.get("recording") or {}).get("course")
        mark = json.dumps([record["protocol_key"], course, record["protocol"], answers])
        if mark not in self.compiled:
            try:
                entry = self.entries[record["protocol_key"]]
                found: Protocol = protocol_of(entry, course, record["protocol"], (), self.words, self.log_dir)
                self.compiled[mark] = compile_protocol(found, answers)
            except (OversightError, KeyError, TypeError) as error:
                self.reasons[f"protocol {record['protocol']}: {error}"] = None
                self.compiled[mark] = None
        return self.compiled[mark]


class _Played:
    """An episode from its record, with the prompts that led to its speeches.

    Parameters
    ----------
    record : its line in ``episodes.jsonl``; it is scored.
    prompts : what is needed to ask again.
    """

    def __init__(self, record: Mapping[str, Any], prompts: _Prompts) -> None:
        self.record = record
        self.turns = [Turn.from_dict(turn) for turn in record["turns"]]
        self.probabilities: Sequence[float] = record["probabilities"]
        self.correct = int(record["correct"])
        self.question = prompts.questions[record["question"]]
        self.seating = Seating(**{name: tuple(order) for name, order in record["seating"].items()})
        self.by_step = {turn.step: turn for turn in self.turns}
        self.compiled = prompts.protocol(record, len(self.question.answers))
        if self.compiled is not None and any(turn.step not in self.compiled.unrolled.instances for turn in self.turns):
            prompts.reasons[f"protocol {record['protocol']} has other turns by now"] = None
            self.compiled = None
        self.moderator = self._moderator(prompts.arena)

    def _moderator(self, arena: Arena | None) -> EpisodeModerator | None:
        if self.compiled is None or arena is None:
            return None
        episode = Episode(
            self.record["id"],
            self.compiled.protocol,
            self.question,
            {role: tuple(names) for role, names in self.record["cast"].items()},
            self.seating,
            int(self.record["sample"]),
        )
        # Views alone are made: nobody is asked, so there are no agents and nothing to keep.
        nothing: Any = None
        journal: Journal = nothing
        return EpisodeModerator(episode, self.compiled, arena, {}, journal, 0)

    @property
    def speeches(self) -> list[Turn]:
        """What was said in public for an answer."""
        return [turn for turn in self.turns if turn.kind == "speech" and not turn.private and turn.answer is not None]

    def number_of(self, turn: Turn) -> int:
        """How many public speeches for an answer the seat had given before."""
        return sum(one.seat == turn.seat for one in self.speeches[: self.speeches.index(turn)])

    def _heard(self, turn: Turn) -> list[Turn]:
        assert self.compiled is not None
        instance = self.compiled.unrolled.instances[turn.step]
        return [self.by_step[step] for step in instance.hears if step in self.by_step]

    def heard_in_public(self, turn: Turn) -> list[str]:
        """Steps of what the speaker had heard that is no secret of its own, its own speeches among them."""
        return [one.step for one in self._heard(turn) if not one.private]

    def prompt_of(self, turn: Turn) -> tuple[str, str]:
        """What the seat was asked, as a language model reads it, and what ``how`` is to say of that.

        Reasons are not asked for, whatever was done then: what is chosen from is the speech alone.
        """
        if self.moderator is None:
            return self.bare_prompt(turn.answer), BARE
        return self._asked(self.moderator, turn, without_side=False), ""

    def prompt_without_side(self, turn: Turn) -> tuple[str, str]:
        """The same without the answer that the seat argues for, nor what it was told about arguing for it.

        Two speeches for different answers can only be compared as replies to one prompt, and a prompt that names
        the side would prefer whoever keeps to it.
        """
        if self.moderator is None:
            return self.bare_prompt(None), BARE
        return self._asked(self.moderator, turn, without_side=True), ""

    def _asked(self, moderator: EpisodeModerator, turn: Turn, *, without_side: bool) -> str:
        unrolled = moderator.compiled.unrolled
        instance, before = unrolled.instances[turn.step], set(unrolled.before(turn.step))
        claims = [one for one in self.turns if one.kind == "claim" and one.step in before]
        heard = [one for one in self._heard(turn) if not (without_side and one.private)]
        view = moderator.view(instance, heard, claims)
        if without_side:
            view = replace(
                view,
                speaker=turn.role.replace("_", " ").capitalize(),
                instructions="",
                task="",
                position=None,
                positions=(),
                turns=tuple(replace(one, own=False, reasoning="") for one in view.turns),
            )
        return _text(speak_messages(view, limits=instance.step.limits))

    def bare_prompt(self, answer: int | None) -> str:
        """Question and answers alone, and which answer to speak for: there is no hidden material in it."""
        labels = label_names(len(self.question.answers))
        listed = "\n".join(
            f"{label}: {escape(self.question.answers[index])}"
            for label, index in zip(labels, self.seating.labels, strict=True)
        )
        side = "." if answer is None else f" for answer {labels[self.seating.labels.index(answer)]}."
        return f"Question:\n{escape(self.question.text)}\n\nAnswers:\n{listed}\n\nSpeak now{side}"


def _text(messages: Sequence[Mapping[str, str]]) -> str:
    return "\n\n".join(message["content"] for message in messages)


def _is_export(path: Path) -> bool:
    """Whether a file holds preferences, and so may be replaced."""
    try:
        with path.open(encoding="utf-8") as file:
            return tuple(json.loads(file.readline() or "{}")) == PREFERENCE_COLUMNS
    except (OSError, ValueError, TypeError):
        return False
