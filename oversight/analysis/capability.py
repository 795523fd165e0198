"""Capability of each agent, from any of its three sources: measured with the run, its answers alone, or a file."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, DataError, nearest
from ..specification import parse_specification
from .accuracy import clustered_mean
from .ratings import PairResult, fit_ratings, solo_log_odds

__all__ = [
    "Capability",
    "capability_from_answers",
    "capability_from_file",
    "find_capability",
    "kept_capability",
    "solo_capability",
]


@dataclass(frozen=True)
class Capability:
    """What each agent is capable of, on one scale.

    Parameters
    ----------
    unit : what it is measured in: ``Elo``, ``log-odds``, or what a file's ratings are said to be.
    how : where it comes from, in words.
    values : capability of each agent, higher is stronger; only finite numbers.
    intervals : ends of the interval of those that have one.
    reasons : why an agent that was looked at has no value.
    """

    unit: str
    how: str
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


def find_capability(
    source: str, kept: Mapping[str, Any] | None, records: Iterable[Mapping[str, Any]], unit: str | None = None
) -> Capability:
    """Capability from the source that was asked for.

    Parameters
    ----------
    source : ``measured`` for what the run kept, ``solo`` for log-odds of accuracy alone, ``answers`` for Elo
        from who answers right alone, else the path of a file.
    kept : the run's ``capability.json``; None where there is none.
    records : every line of the run's ``episodes.jsonl``; read for ``solo`` and ``answers`` only.
    unit : what a file's ratings are measured in, ``points`` by default; None for the other sources.

    Raises
    ------
    ConfigurationError
        if nobody answers alone in this run, or a unit is given for what is no file.
    DataError
        if the file cannot be read.
    """
    if unit is not None and source in ("measured", "solo", "answers"):
        raise ConfigurationError(f"--unit {unit}: only a file's ratings need a unit, {source} has its own")
    if source == "measured":
        return kept_capability(kept)
    if source == "solo":
        return solo_capability(records)
    if source == "answers":
        return capability_from_answers(records)
    if not Path(source).exists():
        close = nearest(source, ("measured", "solo", "answers"))
        hint = f"did you mean {close!r}?" if close else "give measured, solo, answers or a file"
        raise ConfigurationError(f"--capability {source}: there is no such file; {hint}")
    return capability_from_file(source, unit or "points")


def kept_capability(kept: Mapping[str, Any] | None) -> Capability:
    """What the run measured and kept in ``capability.json``."""
    if kept is None:
        return Capability("capability", "", {})
    agents = kept["agents"]
    known = {name: float(one["value"]) for name, one in agents.items() if one["value"] is not None}
    return Capability(
        kept["unit"],
        kept["how"],
        known,
        {
            name: (float(agents[name]["low"]), float(agents[name]["high"]))
            for name in known
            if agents[name]["low"] is not None and agents[name]["high"] is not None
        },
        {name: str(one["reason"]) for name, one in agents.items() if one["value"] is None},
    )


def solo_capability(records: Iterable[Mapping[str, Any]]) -> Capability:
    """Log-odds of each agent's accuracy alone, in the same arena.

    From the run's capability episodes where it has some; else from its ``direct`` episodes, by judge, those of
    the expert (who sees the hidden material) before those of the naive judge.  See :func:`solo_log_odds`; the
    interval is that of the accuracy, clustered by source, on the scale of log-odds.

    Raises
    ------
    ConfigurationError
        if nobody answers alone in this run.
    """
    answers, how = _alone(records)
    values, intervals, reasons = {}, {}, {}
    for name, asked in answers.items():
        credits = [credit for credit in asked.values() if not math.isnan(credit)]
        if not credits:
            reasons[name] = "no question that it answered alone is scored"
            continue
        values[name] = solo_log_odds(math.fsum(credits), len(credits)).value
        accuracy = clustered_mean(list(asked.values()), [source for _, source, *_ in asked])
        intervals[name] = (
            solo_log_odds(accuracy.low * len(credits), len(credits)).value,
            solo_log_odds(accuracy.high * len(credits), len(credits)).value,
        )
    return Capability("log-odds", f"log-odds of accuracy alone, from {how}", values, intervals, reasons)


def capability_from_answers(records: Iterable[Mapping[str, Any]]) -> Capability:
    """Elo from answers: whoever is right alone where another is wrong has won against it.

    The episodes are those of :func:`solo_capability`.  Questions that both get right, or both wrong, say
    nothing: under the Rasch model the odds of the two ways to differ are those of the two abilities, whatever
    the question's difficulty (Choppin 1968; Zwinderman 1995), so Bradley–Terry ratings of the differing pairs are
    abilities, with 400 points for odds of ten to one.  They have no interval: one answer counts in many pairs.

    Raises
    ------
    ConfigurationError
        if nobody answers alone in this run.
    """
    answers, how = _alone(records)
    results = []
    for first, second in combinations(sorted(answers), 2):
        wins = losses = 0.0
        for asked, credit in answers[first].items():
            other = answers[second].get(asked, math.nan)
            if math.isnan(credit) or math.isnan(other):
                continue
            wins += max(0.0, credit - other)
            losses += max(0.0, other - credit)
        results.append(PairResult(first, second, wins, 0.0, losses))
    ratings = fit_ratings(results)
    return Capability(
        "Elo",
        f"Elo from answers alone: who is right where another is wrong, from {how}",
        {rating.player: rating.rating for rating in ratings.rated},
        {},
        {rating.player: rating.reason for rating in ratings.unidentified}
        | ({name: "nobody to compare it with" for name in answers} if not results else {}),
    )


def capability_from_file(path: str | Path, unit: str = "points") -> Capability:
    """An index from elsewhere: CSV or JSON lines with ``player`` and ``rating``, and ``low`` and ``high`` if known.

    Other columns are left aside.  Lines of a ``.jsonl`` or ``.ndjson`` file are JSON objects; everything else is
    read as CSV.

    Parameters
    ----------
    path : the file, UTF-8.
    unit : what its ratings are measured in.

    Raises
    ------
    DataError
        with file, line and rule, if it cannot be read, is empty, names a column or a player twice, lacks a
        column, or has a rating that is no finite number or not between its low and high.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(path, "not UTF-8 text", line) from None
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror or error})") from None
    rows = _json_rows(path, text) if path.suffix.lower() in (".jsonl", ".ndjson") else _csv_rows(path, text)
    values: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    lines: dict[str, int] = {}
    for line, row in rows:
        player = row["player"]
        if not isinstance(player, str) or not player.strip():
            raise DataError(path, f"player {player!r} is no name", line)
        player = player.strip()
        if player in lines:
            raise DataError(path, f"player {player!r} is on line {lines[player]} too: a player has one rating", line)
        lines[player] = line
        values[player] = _number(path, line, "rating", row["rating"])
        ends = [None if row.get(name) in (None, "") else _number(path, line, name, row[name]) for name in _OPTIONAL]
        low, high = ends
        if (low is None) != (high is None):
            raise DataError(path, f"player {player!r} has one end of an interval: give low and high, or neither", line)
        if low is not None and high is not None:
            if not low <= values[player] <= high:
                raise DataError(path, f"rating {values[player]:g} is not between low {low:g} and high {high:g}", line)
            intervals[player] = (low, high)
    if not values:
        raise DataError(path, "no player: give a line with player and rating for each")
    return Capability(unit, f"ratings in {path.name}, {unit}", values, intervals)


_NEEDED, _OPTIONAL = ("player", "rating"), ("low", "high")


def _alone(records: Iterable[Mapping[str, Any]]) -> tuple[dict[str, dict[Any, float]], str]:
    """Credit of each agent that answers alone, by what it was asked, and which episodes those are."""
    found: dict[int, dict[str, dict[Any, float]]] = defaultdict(lambda: defaultdict(dict))
    for record in records:
        kind = _kind(record)
        names = dict.fromkeys(name for role in record["deciding"] for name in record["cast"][role])
        if kind is None or len(names) != 1:
            continue
        credit = record["credit"]
        asked = (record["question"], record["source"], json.dumps(record["seating"], sort_keys=True), record["sample"])
        found[kind][next(iter(names))][asked] = math.nan if credit is None else float(credit)
    if not found:
        raise ConfigurationError(
            "nobody answers alone in this run: it has neither capability nor direct episodes; run direct too, or give "
            "--capability FILE"
        )
    best = min(found)
    return {name: dict(found[best][name]) for name in sorted(found[best])}, _KINDS[best]


_KINDS = (
    "its capability episodes, hidden material seen",
    "its direct episodes of the expert judge, hidden material seen",
    "its direct episodes of the naive judge, hidden material not seen",
)


def _kind(record: Mapping[str, Any]) -> int | None:
    """Which of the kinds an episode is, 0 the best for capability; None where somebody argues or is checked."""
    if record["purpose"] == "capability":
        return 0
    if record["purpose"] != "comparison" or record["arguing"]:
        return None
    try:
        protocol = parse_specification(record["protocol"])
    except ConfigurationError:  # a title from elsewhere
        return None
    if protocol.name != "direct":
        return None
    return 1 if protocol.options.get("expert") is True else 2


def _number(path: Path, line: int, name: str, value: Any) -> float:
    try:
        written = isinstance(value, int | float) or (isinstance(value, str) and "_" not in value)
        number = float(value) if written and not isinstance(value, bool) else math.nan
    except (OverflowError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(path, f"{name} {value!r} is not a finite number", line)
    return number


def _columns(path: Path, line: int, names: Sequence[str]) -> None:
    for name in dict.fromkeys(names):
        if list(names).count(name) > 1:
            raise DataError(path, f"column {name!r} is named twice", line)
    for name in _NEEDED:
        if name not in names:
            close = nearest(name, [one for one in names if one not in (*_NEEDED, *_OPTIONAL)])
            hint = f"is {close!r} meant?" if close else f"it has {', '.join(map(repr, names)) or 'none'}"
            raise DataError(path, f"no column {name!r}: {hint}", line)


def _csv_rows(path: Path, text: str) -> Iterable[tuple[int, dict[str, Any]]]:
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
                _columns(path, start, header)
                continue
            if len(cells) != len(header):
                raise DataError(path, f"{len(cells)} values under {len(header)} columns", start)
            yield start, dict(zip(header, (cell.strip() for cell in cells), strict=True))
    except csv.Error as error:
        raise DataError(path, f"not CSV: {error}", line) from None
    if header is None:
        raise DataError(path, "empty: give a header with player and rating", 1)


def _json_rows(path: Path, text: str) -> Iterable[tuple[int, dict[str, Any]]]:
    pairs: list[str] = []

    def remember(items: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs[:] = [name for name, _ in items]
        return dict(items)

    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            row = json.loads(content, object_pairs_hook=remember)
        except (ValueError, RecursionError) as error:
            raise DataError(path, f"not a line of JSON: {error}", line) from None
        if not isinstance(row, dict):
            raise DataError(path, f"a line is an object with player and rating, not {type(row).__name__}", line)
        _columns(path, line, pairs)
        yield line, row
