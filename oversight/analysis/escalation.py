"""Which verdicts a cascade of judges may keep, and what it bought to hand the others on.

A judge is calibrated on items with known answers: among those that it is surest of, how many does it get wrong?  An
exact upper bound on its risk there says from which confidence on it may decide; where no confidence will do, it
decides nothing.

References
----------
Jung, Brahman and Choi 2024, Trust or Escalate: LLM Judges with Provable Guarantees for Human Agreement
(arXiv:2407.18370).  The published code returns the highest threshold where none is feasible, and with it loses the
guarantee; here there is none then, and the cascade hands on or abstains.
Bauer 1991, Multiple testing in clinical trials: hypotheses in an order fixed beforehand are each tested at the whole
level, up to the first that is not rejected.
"""

from __future__ import annotations

import csv
import io
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfigurationError, DataError, nearest
from ..identity import seed_from
from ..transcript import Verdict
from .accuracy import Estimate, clustered_mean
from .records import outcome
from .score_difference import clustered_score

__all__ = [
    "LEAST",
    "Calibration",
    "CalibrationItem",
    "Escalation",
    "JudgeCalibration",
    "MemberShare",
    "Threshold",
    "calibrate",
    "calibration_items",
    "escalation",
    "escalations",
    "fewest_items",
    "one_per_source",
    "read_calibration",
    "risk_bound",
    "threshold",
]

LEAST = 30
"""Fewest calibration items that a threshold rests on."""


# ---- the bound and the threshold ----------------------------------------------------------------------


def risk_bound(errors: int, n: int, delta: float) -> float:
    """The largest risk at which so few errors still have probability ``delta``: an exact upper bound.

    Parameters
    ----------
    errors : wrong verdicts among ``n`` independent ones.
    n : verdicts; none at all bound nothing, so that the result is 1.
    delta : chance that the bound lies below the true risk, in (0, 1).

    Returns
    -------
    float
        sup {r : BinomCDF(errors; n, r) >= delta}, Clopper and Pearson's upper limit at level 1 - delta.

    Examples
    --------
    >>> round(risk_bound(0, 30, 0.1), 4), risk_bound(0, 0, 0.1)
    (0.0739, 1.0)
    """
    _require_level("delta", delta)
    if not 0 <= errors <= n:
        raise ConfigurationError(
            f"{errors} errors of {n}: errors are at least 0 and at most as many as there are items"
        )
    if errors == n:
        return 1.0
    from scipy.special import betainccinv  # scipy takes longer to import than the rest of the package

    return float(betainccinv(errors + 1, n - errors, delta))


def fewest_items(risk: float, delta: float, least: int = LEAST) -> int:
    """How many items a threshold needs at least: ``least``, or as many as could do without a single error."""
    _require_level("risk", risk)
    _require_level("delta", delta)
    if least < 1:
        raise ConfigurationError(f"least {least}: a threshold needs at least one item")
    needed = max(1, math.ceil(math.log(delta) / math.log1p(-risk) - 1e-9))
    while risk_bound(0, needed, delta) > risk:  # rounding only
        needed += 1
    return max(least, needed)


@dataclass(frozen=True)
class Threshold:
    """A confidence, and what is known of the verdicts from it on.

    Parameters
    ----------
    value : the confidence, in [0, 1].
    bound : upper bound on the risk of a verdict from it on.
    n : calibration items from it on.
    errors : how many of them are wrong.
    """

    value: float
    bound: float
    n: int
    errors: int


def threshold(
    confidences: ArrayLike, wrong: ArrayLike, risk: float, delta: float, least: int = LEAST
) -> Threshold | None:
    """The lowest confidence from which verdicts are wrong at most at ``risk``; None where there is no such.

    Parameters
    ----------
    confidences : of each item, in [0, 1]; shape (n,).
    wrong : whether its verdict is wrong, a tie included; shape (n,).
    risk : the largest share of wrong verdicts, in (0, 1).
    delta : chance, over the items, that the verdicts kept are wrong more often after all, in (0, 1).
    least : fewest items that a threshold rests on.

    Raises
    ------
    ConfigurationError
        if the lengths differ, a confidence is not in [0, 1], or a level is not in (0, 1).

    Notes
    -----
    Fixed sequence testing: from the highest confidence down, each is tested at the whole ``delta``, up to the first
    whose bound exceeds ``risk``; going on after it would be choosing the luckiest of many.  Confidences with too
    few items from them on are passed over.  How many are too few (:func:`fewest_items`) is fixed beforehand: with
    fewer the bound exceeds ``risk`` even without an error, so nothing is learned from testing them.

    The items are to be independent of each other; see :func:`one_per_source`.  Given the confidences the number of
    errors is a sum of unequal chances, which is no more spread out than the binomial of their mean (Hoeffding 1956).
    """
    return _scan(confidences, wrong, risk, delta, least)[0]


def _scan(
    confidences: ArrayLike, wrong: ArrayLike, risk: float, delta: float, least: int
) -> tuple[Threshold | None, Threshold | None]:
    """The threshold, and the confidence that was tested in vain; None for either that there is not."""
    values, errors = np.asarray(confidences, dtype=float), np.asarray(wrong, dtype=bool)
    if values.ndim != 1 or values.shape != errors.shape:
        raise ConfigurationError(f"{values.size} confidences with {errors.size} outcomes: each item has one of both")
    if values.size and not (values.min() >= 0.0 and values.max() <= 1.0 + 1e-6):  # never true of a NaN
        raise ConfigurationError("a confidence is a probability: give numbers from 0 to 1")
    needed = fewest_items(risk, delta, least)
    order = np.argsort(-values, kind="stable")
    values, wrong_from = values[order], np.cumsum(errors[order])
    found: Threshold | None = None
    # The last of each run of equal confidences: whoever decides from a confidence on decides all that have it.
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True)) if values.size else np.array([], dtype=int)
    for place in last[last + 1 >= needed]:
        count, mistakes = int(place) + 1, int(wrong_from[place])
        tested = Threshold(float(values[place]), risk_bound(mistakes, count, delta), count, mistakes)
        if tested.bound > risk:
            return found, tested
        found = tested
    return found, None


# ---- items ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CalibrationItem:
    """A question with a known answer that every judge of a cascade was asked.

    Parameters
    ----------
    question : its id.
    source : what it was made from: items of one source are not independent.
    confidence : by judge, the largest of its mean probabilities, in [0, 1].
    right : by judge, whether the correct answer alone had it; a tie is not right.
    """

    question: str
    source: str
    confidence: Mapping[str, float]
    right: Mapping[str, bool]


def calibration_items(records: Iterable[Mapping[str, Any]]) -> list[CalibrationItem]:
    """What every judge of a cascade gave in episodes that were played for calibration.

    Parameters
    ----------
    records : lines of ``episodes.jsonl`` whose verdict holds what the judges were ``consulted`` for; others, and
        episodes without a verdict, are passed over.  All are to be of one protocol and cast, as a judge's
        reliability after a debate says nothing of it after another.

    Raises
    ------
    DataError
        if a record lacks a part.
    """
    items = []
    for record in records:
        turn = _consulting(record)
        if turn is None or record.get("status") != "scored":
            continue
        asked = {one["agent"]: one["probabilities"] for one in turn["consulted"]}
        items.append(
            CalibrationItem(
                str(record["question"]),
                str(record["source"]),
                {agent: max(map(float, shares)) for agent, shares in asked.items()},
                {agent: _credit(record, shares) == 1.0 for agent, shares in asked.items()},
            )
        )
    return items


def one_per_source(items: Iterable[CalibrationItem], seed: int) -> list[CalibrationItem]:
    """One item of each source, drawn under ``seed``; the order of the items does not matter.

    The exact bound counts errors as independent trials.  Items of one source are not: the two seatings of one
    question, or several questions on one story, tend to be right or wrong together, and counting each would claim
    more than is known.  One of each source is drawn instead of weighting them, as no weighting keeps the binomial
    exact; what is guaranteed is then the risk on a question drawn from a source drawn like these.
    """
    by_source: dict[str, list[CalibrationItem]] = defaultdict(list)
    for item in items:
        by_source[item.source].append(item)
    drawn = []
    for source in sorted(by_source):
        known = sorted(by_source[source], key=lambda item: (item.question, *_content(item)))
        drawn.append(random.Random(seed_from(seed, "one per source", source)).choice(known))
    return drawn


def _content(item: CalibrationItem) -> tuple[Any, ...]:
    return tuple(sorted(item.confidence.items())), tuple(sorted(item.right.items()))


_COLUMNS = ("judge", "question", "confidence", "right")


def read_calibration(path: str | Path, judges: Sequence[str]) -> list[CalibrationItem]:
    """Calibration items from a CSV file: a line for each judge and question.

    The columns, in any order and among others: ``judge``, the name as in the cascade; ``question``, its id;
    ``confidence``, the largest of the judge's mean probabilities; ``right``, 1 or 0, a tie being 0; and, where
    questions share one, their ``source``.

    Parameters
    ----------
    path : the file, UTF-8.
    judges : the judges of the cascade; lines of others are passed over.

    Raises
    ------
    DataError
        with file, line and what to do, if the file cannot be read, lacks a column, names a judge twice for a question
        or not at all, or holds a value out of its range.
    """
    path = Path(path)
    confidence: dict[str, dict[str, float]] = defaultdict(dict)
    right: dict[str, dict[str, bool]] = defaultdict(dict)
    sources: dict[str, str] = {}
    lines: dict[tuple[str, str], int] = {}
    others: set[str] = set()
    for line, row in _rows(path):
        judge, question = row["judge"], row["question"]
        for name in ("judge", "question"):
            if not row[name]:
                raise DataError(path, f"{name} is empty: give its name", line)
        if judge not in judges:
            others.add(judge)
            continue
        if (judge, question) in lines:
            before = lines[judge, question]
            raise DataError(path, f"judge {judge!r} has question {question!r} on line {before} too: keep one", line)
        lines[judge, question] = line
        source = row.get("source") or question
        if sources.setdefault(question, source) != source:
            raise DataError(path, f"question {question!r} has source {sources[question]!r} before: give it one", line)
        confidence[question][judge] = _probability(path, line, row["confidence"])
        if row["right"] not in ("0", "1"):
            raise DataError(
                path, f"right {row['right']!r}: write 1 for a right verdict, 0 for a wrong one or a tie", line
            )
        right[question][judge] = row["right"] == "1"
    for judge in judges:
        having = [question for question in confidence if judge in confidence[question]]
        if not having:
            close = nearest(judge, others)
            hint = f"is {close!r} meant?" if close else f"give lines of it with {', '.join(_COLUMNS)}"
            raise DataError(path, f"no line of judge {judge!r}: {hint}")
        for question in confidence:
            if judge not in confidence[question]:
                raise DataError(
                    path, f"judge {judge!r} has no line for question {question!r}: every judge needs one for each"
                )
    return [CalibrationItem(one, sources[one], confidence[one], right[one]) for one in confidence]


def _rows(path: Path) -> Iterable[tuple[int, dict[str, str]]]:
    """Each row by the names of its columns, with the number of the line that it begins on."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(path, "not UTF-8 text", error.object[: error.start].count(b"\n") + 1) from None
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror or error})") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            start, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                _require_columns(path, start, header)
            elif len(cells) != len(header):
                raise DataError(path, f"{len(cells)} values under {len(header)} columns", start)
            else:
                yield start, dict(zip(header, (cell.strip() for cell in cells), strict=True))
    except csv.Error as error:
        raise DataError(path, f"not CSV: {error}", line) from None
    if header is None:
        raise DataError(path, f"empty: give a header with {', '.join(_COLUMNS)}", 1)


def _require_columns(path: Path, line: int, names: Sequence[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise DataError(path, f"column {name!r} is named twice", line)
    for name in _COLUMNS:
        if name not in names:
            close = nearest(name, [one for one in names if one not in (*_COLUMNS, "source")])
            hint = f"is {close!r} meant?" if close else f"it has {', '.join(map(repr, names))}"
            raise DataError(path, f"no column {name!r}: {hint}", line)


def _probability(path: Path, line: int, text: str) -> float:
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= 1.0:
        raise DataError(path, f"confidence {text!r} is not a number from 0 to 1", line)
    return value


# ---- calibration ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JudgeCalibration:
    """From which confidence on a judge of a cascade decides.

    Parameters
    ----------
    judge : its name.
    threshold : the confidence; None where no confidence is feasible.
    bound : upper bound on the risk of its verdicts from the threshold on; without a threshold, of those that were
        tested in vain.
    n : calibration items that the bound is of.
    errors : how many of them are wrong.
    seen : items that reached it: those that no judge before it decides.
    needed : fewest items that a threshold rests on.
    """

    judge: str
    threshold: float | None
    bound: float
    n: int
    errors: int
    seen: int
    needed: int

    @property
    def feasible(self) -> bool:
        """Whether it decides anything."""
        return self.threshold is not None

    def to_json(self) -> dict[str, Any]:
        """The calibration as JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Calibration:
    """The thresholds of a cascade, and what is guaranteed of the verdicts that its judges decide.

    Parameters
    ----------
    judges : each judge, in the order of the cascade.
    risk : the largest share of wrong verdicts, in (0, 1).
    delta : chance, over the calibration items, that one judge's share is larger after all, in (0, 1).
    items : items that the cascade was calibrated on, one of each source.
    given : items that there were before one of each source was drawn.
    source : where they come from, in words.
    """

    judges: tuple[JudgeCalibration, ...]
    risk: float
    delta: float
    items: int
    given: int
    source: str = ""

    @property
    def thresholds(self) -> tuple[float | None, ...]:
        """The confidence from which each judge decides, as the cascade takes them."""
        return tuple(one.threshold for one in self.judges)

    @property
    def holds(self) -> bool:
        """Whether anything is guaranteed: some judge decides, and each that does has a bound within the risk."""
        deciding = [one for one in self.judges if one.feasible]
        return bool(deciding) and all(one.bound <= self.risk for one in deciding)

    @property
    def guarantee(self) -> str:
        """What is guaranteed, in a sentence; or that nothing is, and why."""
        if not self.holds:
            reasons = "; ".join(self.why_not(one) for one in self.judges)
            return f"no guarantee, as no judge can be trusted to decide at a risk of {_percent(self.risk)}: {reasons}"
        deciding = [one.judge for one in self.judges if one.feasible]
        return (
            f"with probability {_chance(1 - self.delta)} over the calibration items, at most {_percent(self.risk)} of "
            f"the verdicts that {_listed(deciding)} {'decide' if deciding[1:] else 'decides'} are wrong, on questions "
            "drawn like those they were calibrated on"
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """Why the judges that decide nothing, where others do, do not."""
        return tuple(self.why_not(one) for one in self.judges if not one.feasible) if self.holds else ()

    def why_not(self, judge: JudgeCalibration) -> str:
        """Why a judge decides nothing."""
        if judge.n < judge.needed:
            return (
                f"{judge.judge} decides nothing: {judge.seen} calibration {'item' if judge.seen == 1 else 'items'} "
                f"reached it, and {judge.needed} are needed"
            )
        return (
            f"{judge.judge} decides nothing: {judge.errors} of the {judge.n} verdicts it is surest of are wrong, so "
            f"that its risk may be {_percent(judge.bound)}"
        )

    def to_json(self) -> dict[str, Any]:
        """The calibration as JSON values; :meth:`from_json` gives it back."""
        return {
            "judges": [one.to_json() for one in self.judges],
            "risk": self.risk,
            "delta": self.delta,
            "items": self.items,
            "given": self.given,
            "source": self.source,
            "guarantee": self.guarantee,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """The calibration that :meth:`to_json` wrote."""
        known = {name: value for name, value in values.items() if name != "guarantee"}
        return cls(**{**known, "judges": tuple(JudgeCalibration(**one) for one in known["judges"])})


def calibrate(
    items: Iterable[CalibrationItem],
    judges: Sequence[str],
    risk: float,
    delta: float,
    *,
    seed: int = 0,
    least: int = LEAST,
    source: str = "",
) -> Calibration:
    """The thresholds of a cascade's judges.

    Parameters
    ----------
    items : questions with known answers that every judge was asked; one of each source is drawn of them.
    judges : their names, in the order of the cascade.
    risk : the largest share of wrong verdicts among those that judges decide, in (0, 1).
    delta : chance, over the items, that the share is larger after all, in (0, 1).
    seed : of the draw.
    least : fewest items that a threshold rests on.
    source : where the items come from, for the record.

    Raises
    ------
    ConfigurationError
        if there is no judge, an item lacks one, or a level is not in (0, 1).

    Notes
    -----
    Each judge is calibrated at ``delta / len(judges)`` on the items that no judge before it decides, which are of
    the kind that will reach it.  With probability ``1 - delta`` the bounds of all hold at once, and then what they
    decide together is wrong at most at ``risk`` too.
    """
    if not judges:
        raise ConfigurationError("no judge to calibrate: a cascade has at least one")
    everything = list(items)
    for item in everything:
        for judge in judges:
            if judge not in item.confidence or judge not in item.right:
                raise ConfigurationError(f"judge {judge!r} was not asked question {item.question!r}: ask every judge")
    left = drawn = one_per_source(everything, seed)
    share = delta / len(judges)
    needed = fewest_items(risk, share, least)
    found = []
    for judge in judges:
        confidences = [item.confidence[judge] for item in left]
        wrong = [not item.right[judge] for item in left]
        kept, tested = _scan(confidences, wrong, risk, share, least)
        shown = kept or tested or Threshold(0.0, risk_bound(sum(wrong), len(left), share), len(left), sum(wrong))
        value = None if kept is None else kept.value
        found.append(JudgeCalibration(judge, value, shown.bound, shown.n, shown.errors, len(left), needed))
        if kept is not None:
            left = [item for item, confidence in zip(left, confidences, strict=True) if confidence < kept.value]
    return Calibration(tuple(found), risk, delta, len(drawn), len(everything), source)


# ---- what came of it ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MemberShare:
    """What one member of a cascade did.

    Parameters
    ----------
    agent : its name.
    is_person : whether it is a person, or stands for one.
    threshold : the confidence from which it decides; None for a person, and where none is feasible.
    asked : episodes in which it was asked, of those with a verdict.
    accuracy : of the verdicts that it decided.
    """

    agent: str
    is_person: bool
    threshold: float | None
    asked: int
    accuracy: Estimate

    @property
    def decided(self) -> int:
        """Verdicts that it decided."""
        return self.accuracy.n


@dataclass(frozen=True)
class Escalation:
    """What came of the episodes of a cascade.

    Parameters
    ----------
    cascade : its name, as in casts.
    protocol : the protocol's title.
    speakers : who argues; None where nobody does.
    members : each member that was asked, in the order of the cascade.
    accuracy : of all verdicts, whoever decided them.
    by_judges : of the verdicts that judges decided: what the guarantee is about.
    escalated : of the verdicts that a person decided, the person's accuracy.
    machine : on the same episodes, the accuracy of the last judge that was asked before.
    bought : the person's accuracy there less the machine's, in [-1, 1].
    abstained : episodes that nobody decided.
    beyond_budget : how many of them the person was not asked for want of budget.
    failed : episodes that failed otherwise.
    handed_on : ids of the episodes that a person decided, sorted.
    """

    cascade: str
    protocol: str
    speakers: str | None
    members: tuple[MemberShare, ...]
    accuracy: Estimate
    by_judges: Estimate
    escalated: Estimate
    machine: Estimate
    bought: Estimate
    abstained: int = 0
    beyond_budget: int = 0
    failed: int = 0
    handed_on: tuple[str, ...] = ()

    @property
    def answered(self) -> int:
        """Episodes with a verdict."""
        return self.accuracy.n

    @property
    def coverage(self) -> float:
        """Share of episodes with a verdict, of those with one or an abstention; NaN without any."""
        whole = self.answered + self.abstained
        return self.answered / whole if whole else math.nan

    def to_json(self) -> dict[str, Any]:
        """The whole as JSON values."""
        return {
            "cascade": self.cascade,
            "protocol": self.protocol,
            "speakers": self.speakers,
            "members": [
                {
                    "agent": one.agent,
                    "is_person": one.is_person,
                    "threshold": one.threshold,
                    "asked": one.asked,
                    "decided": one.decided,
                    "accuracy": _estimate(one.accuracy),
                }
                for one in self.members
            ],
            **{name: _estimate(getattr(self, name)) for name in _ESTIMATES},
            "coverage": None if math.isnan(self.coverage) else self.coverage,
            "abstained": self.abstained,
            "beyond_budget": self.beyond_budget,
            "failed": self.failed,
            "handed_on": list(self.handed_on),
        }


_ESTIMATES = ("accuracy", "by_judges", "escalated", "machine", "bought")


def escalations(records: Iterable[Mapping[str, Any]]) -> list[Escalation]:
    """What came of each cascade in a run, by protocol and cast.

    Parameters
    ----------
    records : lines of ``episodes.jsonl``; those in which no cascade decides are passed over, and so are those that
        were played to measure capability or to calibrate.
    """
    groups: dict[tuple[str, str, str | None], list[Mapping[str, Any]]] = defaultdict(list)
    of_cascades: set[tuple[str, str, str | None]] = set()
    for record in records:
        if record.get("purpose", "comparison") != "comparison":
            continue
        found = outcome(record)
        key = (found.protocol_key, found.judge, found.debater)
        groups[key].append(record)
        if _consulting(record) is not None or _abstained(record):
            of_cascades.add(key)
    return [escalation(groups[key]) for key in groups if key in of_cascades]


class _Row(NamedTuple):
    """A verdict of a cascade."""

    source: str
    credit: float
    consulted: Sequence[Mapping[str, Any]]
    by: int
    """Place in ``consulted`` of who decided."""
    machine: float
    """Credit of the last judge asked before a person decided; NaN elsewhere."""
    episode: str


def escalation(records: Iterable[Mapping[str, Any]]) -> Escalation:
    """What came of the episodes of one cascade, in one protocol and with one cast.

    Parameters
    ----------
    records : lines of ``episodes.jsonl``, of this cascade alone; see :func:`escalations`.

    Raises
    ------
    ConfigurationError
        if no record is of a cascade.
    DataError
        if a record lacks a part.

    Notes
    -----
    A person is known by having decided without a threshold.  Where a cascade gives several verdicts in an episode it
    is the last that counts.  Intervals are at 95 %, clustered by source; what the person bought is paired.
    """
    rows: list[_Row] = []
    abstained = beyond = failed = 0
    asked: Counter[str] = Counter()
    thresholds: dict[str, float | None] = {}
    people: set[str] = set()
    order: list[str] = []
    title: tuple[str, str, str | None] | None = None
    for record in records:
        turn = _consulting(record)
        if turn is None or record["status"] != "scored":
            abstained += _abstained(record)
            beyond += _abstained(record) and "beyond the human budget" in record["reason"]
            failed += record["status"] != "scored" and not _abstained(record)
            if _abstained(record):
                title = title or _title(record)
            continue
        title = title or _title(record)
        consulted = turn["consulted"]
        places = [place for place, one in enumerate(consulted) if one.get("decided")]
        if len(places) != 1:
            raise DataError(
                "episodes.jsonl", f"episode {record.get('id', '?')!r}: {len(places)} members decided, not one"
            )
        (by,) = places
        person = consulted[by].get("threshold") is None
        if person:
            people.add(consulted[by]["agent"])
        for one in consulted:
            asked[one["agent"]] += 1
            thresholds[one["agent"]] = one.get("threshold")
            if one["agent"] not in order:
                order.append(one["agent"])
        machine = _credit(record, consulted[by - 1]["probabilities"]) if person and by else math.nan
        credit = _credit(record, consulted[by]["probabilities"])
        rows.append(_Row(str(record["source"]), credit, consulted, by, machine, str(record.get("id", ""))))
    if title is None:
        raise ConfigurationError("no episode of a cascade here: cast one as a judge, cascade(mcts/8,mcts/32,human)")
    # The person comes last, whatever judges only later episodes have asked.
    order = [one for one in order if one not in people] + [one for one in order if one in people]

    def accuracy(chosen: Sequence[_Row]) -> Estimate:
        return clustered_mean([row.credit for row in chosen], [row.source for row in chosen])

    def of(agent: str) -> list[_Row]:
        return [row for row in rows if row.consulted[row.by]["agent"] == agent]

    escalated = [row for row in rows if row.consulted[row.by]["agent"] in people]
    sources = [row.source for row in escalated]
    cascade, protocol, speakers = title
    return Escalation(
        cascade=cascade,
        protocol=protocol,
        speakers=speakers,
        members=tuple(MemberShare(one, one in people, thresholds[one], asked[one], accuracy(of(one))) for one in order),
        accuracy=accuracy(rows),
        by_judges=accuracy([row for row in rows if row.consulted[row.by]["agent"] not in people]),
        escalated=accuracy(escalated),
        machine=clustered_mean([row.machine for row in escalated], sources),
        bought=clustered_score([row.credit - row.machine for row in escalated], sources, -1.0, 1.0),
        abstained=abstained,
        beyond_budget=beyond,
        failed=failed,
        handed_on=tuple(sorted(row.episode for row in escalated)),
    )


def _title(record: Mapping[str, Any]) -> tuple[str, str, str | None]:
    found = outcome(record)
    return found.judge, found.protocol, found.debater


def _abstained(record: Mapping[str, Any]) -> bool:
    return record.get("status") != "scored" and str(record.get("reason", "")).startswith("abstained")


def _consulting(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The last verdict of an episode, if a cascade gave it."""
    try:
        verdicts = [turn for turn in record["turns"] if turn["kind"] == "verdict"]
    except (KeyError, TypeError) as error:
        raise DataError("episodes.jsonl", f"episode {record.get('id', '?')!r} cannot be read: {error}") from None
    last: Mapping[str, Any] | None = verdicts[-1] if verdicts else None
    return last if last is not None and last.get("consulted") else None


def _credit(record: Mapping[str, Any], probabilities: Sequence[float]) -> float:
    """What a verdict would have been worth."""
    try:
        total = math.fsum(probabilities)
        return Verdict(tuple(float(value) / total for value in probabilities)).credit(int(record["correct"]))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise DataError("episodes.jsonl", f"episode {record.get('id', '?')!r} cannot be read: {error}") from None


def _estimate(one: Estimate) -> dict[str, Any]:
    """An estimate as JSON values: null for what there is not."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value for name, value in vars(one).items()
    }


def _require_level(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        raise ConfigurationError(f"{name} {value:g}: give a number between 0 and 1")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _chance(value: float) -> str:
    """A probability with two digits, or as many as it has."""
    text = f"{value:.6f}".rstrip("0")
    return text if len(text) >= 4 else f"{value:.2f}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
