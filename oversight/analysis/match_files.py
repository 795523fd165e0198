"""Matches and ratings from files and run directories.

A file of matches is CSV or JSON lines, and each of its rows is one of

``player_a, player_b, wins_a, games``   games of a pair, with ``ties`` where there are any; what is neither the
                                        first's win nor a tie is the second's win;
``player_a, player_b, winner``          one match, won by ``player_a``, ``player_b`` or the name; or a ``tie``.

Other columns are passed over, as are blank lines and blanks around names.  Equal rows are counted before they
are read, so that a million matches cost little more than reading the file.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, DataError, nearest
from .ratings import PairResult

__all__ = [
    "MatchSource",
    "RunMatches",
    "debates_between_agents",
    "read_general_ratings",
    "read_matches",
    "read_run_matches",
]

MatchSource = Literal["games", "debates"]
"""What in a run directory counts as a match."""

_PLAYERS = ("player_a", "player_b")
_ONE_MATCH = (*_PLAYERS, "winner")
_COUNTS = (*_PLAYERS, "wins_a", "games")
_MOST = 10**15
"""Counts above it are no counts of games, and sums of them would lose digits."""

_MARK = b"\xef\xbb\xbf"
"""May stand before the text of a file that a spreadsheet wrote."""
_CHUNK = 512
"""Rows taken apart at a time: few enough that Python's garbage collector sees none of them grow old."""

_Row = tuple[Any, ...]
_ColumnsOf = Callable[[Sequence[str]], tuple[str, ...]]

MEASURING = ("capability", "calibration", "attention")
"""Purposes of episodes that measure somebody: what is decided in them is no match."""


@dataclass(frozen=True)
class RunMatches:
    """Matches found in a run directory.

    Parameters
    ----------
    results : the matches; equal ones of one cluster need not be added up.
    clusters : the source of each result's question; None where the matches are games without a question.
    source : ``games``, those played to measure capability; ``debates``, between two different agents.
    """

    results: tuple[PairResult, ...]
    clusters: tuple[str, ...] | None
    source: MatchSource


class _Rule(ValueError):
    """A row breaks a rule; the text says which."""


class _Irregular(Exception):
    """The rows cannot be read all at once: they have to be read one by one."""


def read_matches(path: Path | str, *, two_role: bool = False) -> tuple[PairResult, ...]:
    """The matches of a file, added up for each ordered pair of players.

    Parameters
    ----------
    path : a CSV file, or one JSON object a line; told apart by their first character.
    two_role : whether the columns are different roles, so that a player may meet itself.

    Raises
    ------
    DataError
        with file, line and rule: no such file, not UTF-8, empty, malformed, a missing or repeated column, a row
        of another length, a count that is negative or no whole number, wins above games, an unknown winner, a
        player without a name or against itself.
    """
    path = Path(path)
    try:
        tally = _quick_tally(path, two_role=two_role)
    except (_Rule, _Irregular, DataError):
        # Read again line by line, which tells where the fault is, or that there is none.
        tally = {}
        for number, columns, row in _rows(path, _match_columns, "matches"):
            try:
                first, second, *counts = _match(columns, row, two_role=two_role)
            except _Rule as rule:
                raise DataError(path, str(rule), number) from None
            total = tally.setdefault((first, second), [0, 0, 0])
            for place, count in enumerate(counts):
                total[place] += count
    return tuple(PairResult(*pair, *counts) for pair, counts in sorted(tally.items()))


def read_general_ratings(path: Path | str) -> tuple[tuple[str, float], ...]:
    """The rows of a file with columns ``player, rating``, in order.

    Parameters
    ----------
    path : a CSV file, or one JSON object a line.

    Raises
    ------
    DataError
        with file, line and rule, as for :func:`read_matches`; a rating is a finite number.
    """
    path = Path(path)
    found = []
    for number, _, row in _rows(path, lambda names: _require(("player", "rating"), names), "ratings"):
        try:
            found.append((_name("player", row[0]), _number("rating", row[1])))
        except _Rule as rule:
            raise DataError(path, str(rule), number) from None
    return tuple(found)


def read_run_matches(folder: Path | str, source: MatchSource | None = None) -> RunMatches:
    """Matches of a run directory.

    Parameters
    ----------
    folder : the run directory.
    source : ``games`` of ``capability.json``, or ``debates`` between two agents; None: games where there are any.

    Raises
    ------
    RunDirectoryError
        if it is no run directory.
    DataError
        if what it holds is malformed.
    ConfigurationError
        if it holds no such matches.
    """
    # Runs are played with what the analysis knows of ratings, so theirs is imported here.
    from ..runs.directory import read_episodes, read_json

    folder = Path(folder)
    if source is not None and source not in get_args(MatchSource):
        raise ConfigurationError(f"no matches of the kind {source!r}: choose {' or '.join(get_args(MatchSource))}")
    episodes = read_episodes(folder)
    first = next(episodes, None)  # says so where it is no run directory
    if source != "debates":
        path = folder / "capability.json"
        games = _games(path, read_json(path)) if path.is_file() else ()
        if games:
            return RunMatches(games, None, "games")
        if source == "games":
            raise ConfigurationError(f"{folder} keeps no games between agents; try --from debates")
    rest = [] if first is None else [first, *episodes]
    found = debates_between_agents(rest, folder / "episodes.jsonl")
    if not found.results:
        raise ConfigurationError(
            f"{folder} holds no matches: neither games in capability.json nor scored debates between two agents"
        )
    return found


def debates_between_agents(records: Iterable[Mapping[str, Any]], path: Path | str = "episodes.jsonl") -> RunMatches:
    """Scored episodes in which different agents defend different answers, as matches between them.

    The agent whose answer got the higher probability wins; equal probabilities are a tie.  Which answer is
    correct plays no part.  With more than two such agents each two of them make a match.

    Parameters
    ----------
    records : lines of ``episodes.jsonl``.
    path : where they come from, for errors.

    Raises
    ------
    DataError
        if a record lacks a part.
    """
    results: list[PairResult] = []
    clusters: list[str] = []
    for record in records:
        try:
            if record["purpose"] in MEASURING or record["probabilities"] is None:
                continue
            shares = [float(value) for value in record["probabilities"]]
            for role in record["arguing"]:
                if len(set(record["cast"][role])) < 2:
                    continue
                held: dict[str, set[int]] = {}
                for turn in record["turns"]:
                    if turn["role"] == role and turn.get("answer") is not None:
                        held.setdefault(turn["agent"], set()).add(int(turn["answer"]))
                # An agent on both sides, or on the same side as the other, is not matched against it.
                one_sided = sorted((agent, answers.pop()) for agent, answers in held.items() if len(answers) == 1)
                for (first, mine), (second, theirs) in combinations(one_sided, 2):
                    if mine != theirs:
                        wins, losses = shares[mine] > shares[theirs], shares[mine] < shares[theirs]
                        tied = not (wins or losses)
                        results.append(PairResult(first, second, float(wins), float(tied), float(losses)))
                        clusters.append(str(record["source"]))
        except KeyError as error:
            raise DataError(path, f"episode {record.get('id', '?')!r} lacks {error.args[0]!r}") from None
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            raise DataError(path, f"episode {record.get('id', '?')!r} cannot be read: {error}") from None
    return RunMatches(tuple(results), tuple(clusters), "debates")


def _games(path: Path, capability: Any) -> tuple[PairResult, ...]:
    """The games kept in ``capability.json``; none where capability was measured otherwise."""
    kept = capability.get("games") if isinstance(capability, dict) else None
    if kept is None:
        return ()
    if not isinstance(kept, list):
        raise DataError(path, "its games are not a list")
    results = []
    for number, game in enumerate(kept, start=1):
        try:
            if not isinstance(game, dict):
                raise _Rule("is not an object")
            fields = ("player_a", "player_b", "wins_a", "ties", "wins_b")
            missing = [field for field in fields if field not in game]
            if missing:
                raise _Rule(f"lacks {missing[0]!r}")
            first, second = (_name(field, game[field]) for field in _PLAYERS)
            if first == second:
                raise _Rule(f"{_shown(first)} plays against itself")
            results.append(PairResult(first, second, *(_count(field, game[field]) for field in fields[2:])))
        except _Rule as rule:
            raise DataError(path, f"game {number} {rule}") from None
    return tuple(results)


# ---- what a row says -------------------------------------------------------------------------------


def _match_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Which columns a row is read by: one match, or counts of games."""
    one, several = "winner" in names, [name for name in ("wins_a", "games") if name in names]
    if one and several:
        raise _Rule(f"has the columns 'winner' and {several[0]!r}: a row is one match or counts of games, not both")
    if one:
        return _require(_ONE_MATCH, names)
    if several:
        return _require((*_COUNTS, "ties") if "ties" in names else _COUNTS, names)
    _require(_PLAYERS, names)
    others = [name for name in names if name not in (*_PLAYERS, "ties")]
    for column in ("winner", "wins_a", "games"):
        close = nearest(column, others)
        if close:
            raise _Rule(f"has no column {column!r} (nearest: {close!r})")
    raise _Rule("has neither the column 'winner' nor 'wins_a' and 'games'")


def _require(columns: tuple[str, ...], names: Sequence[str]) -> tuple[str, ...]:
    for column in columns:
        if column not in names:
            close = nearest(column, [name for name in names if name not in columns])
            hint = f"nearest: {close!r}" if close else f"there: {', '.join(map(repr, names))}"
            raise _Rule(f"has no column {column!r} ({hint})")
    return columns


def _match(columns: tuple[str, ...], row: _Row, *, two_role: bool) -> tuple[str, str, int, int, int]:
    """The two players, and the wins, ties and losses of the first."""
    first, second = _name("player_a", row[0]), _name("player_b", row[1])
    if first == second and not two_role:
        raise _Rule(f"{_shown(first)} plays against itself (only --two-role tells its two sides apart)")
    if columns[2] == "winner":
        return first, second, *_winner(first, second, row[2])
    wins, games = _count("wins_a", row[2]), _count("games", row[3])
    ties = _count("ties", row[4]) if len(columns) > 4 else 0
    if wins + ties > games:
        what = f"wins_a {wins} and ties {ties}" if ties else f"wins_a {wins}"
        raise _Rule(f"{what} of {games} games: not more than the games can be won or tied")
    return first, second, wins, ties, games - wins - ties


def _winner(first: str, second: str, given: Any) -> tuple[int, int, int]:
    word = given.strip() if isinstance(given, str) else given
    meanings = {"player_a": (1, 0, 0), "player_b": (0, 0, 1), "tie": (0, 1, 0)}
    found = {meanings[word]} if isinstance(word, str) and word in meanings else set()
    found |= {(1, 0, 0)} if word == first else set()
    found |= {(0, 0, 1)} if word == second else set()
    if len(found) > 1:
        raise _Rule(f"winner {word!r} can mean two things between {first!r} and {second!r}: write player_a or player_b")
    if not found:
        close = nearest(word, [*meanings, first, second]) if isinstance(word, str) else None
        hint = f"did you mean {close!r}?" if close else f"write player_a, player_b, tie, {first!r} or {second!r}"
        raise _Rule(f"unknown winner {_shown(word)}: {hint}")
    return found.pop()


def _name(column: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _Rule(f"{column} {_shown(value)} is not a text")
    name = value.strip()
    if not name:
        raise _Rule(f"{column} is empty")
    if not name.isascii() and any("\ud800" <= one <= "\udfff" for one in name):
        raise _Rule(f"{column} {_shown(value)} is not valid text")
    return name


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _count(column: str, value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    number = _number(column, value)
    if number != math.floor(number):
        raise _Rule(f"{column} {_shown(value)} is not a whole number")
    if number < 0:
        raise _Rule(f"{column} {_shown(value)} is negative")
    if number > _MOST:
        raise _Rule(f"{column} {_shown(value)} is above {_MOST:.0e}, no count of games")
    return int(number)


def _number(column: str, value: Any) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        if isinstance(value, str) and ("_" in value or not value.isascii()):
            raise ValueError
        number = float(value)
    except (ValueError, OverflowError):
        raise _Rule(f"{column} {_shown(value)} is not a number") from None
    if not math.isfinite(number):
        raise _Rule(f"{column} {_shown(value)} is not a finite number")
    return number


# ---- rows of a file, one by one ---------------------------------------------------------------------


def _rows(path: Path, columns_of: _ColumnsOf, what: str) -> Iterator[tuple[int, tuple[str, ...], _Row]]:
    """Line number of each row, the columns it is read by, and their values."""
    rows = _json_rows(path, columns_of) if _is_json(path) else _csv_rows(path, columns_of)
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty:
        raise DataError(path, f"holds no {what}, only names of columns")


def _open(path: Path) -> BinaryIO:
    if path.exists() and not path.is_file():
        # A pipe would be empty at the second look, and its matches lost in silence.
        raise DataError(path, "is a folder" if path.is_dir() else "is not a regular file, which can be read twice")
    try:
        return path.open("rb")
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise DataError(path, reason) from None


def _is_json(path: Path) -> bool:
    with _open(path) as file:
        for line in file:
            text = line.removeprefix(_MARK).strip()
            if text:
                return text[:1] in (b"{", b"[")
    raise DataError(path, "is empty")


def _lines(path: Path) -> Iterator[str]:
    with _open(path) as file:
        for number, raw in enumerate(file, start=1):
            try:
                yield (raw.removeprefix(_MARK) if number == 1 else raw).decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(path, f"is not UTF-8 (byte {error.start + 1} of the line)", number) from None


def _csv_rows(path: Path, columns_of: _ColumnsOf) -> Iterator[tuple[int, tuple[str, ...], _Row]]:
    """As :func:`_rows`; the number is that of the first line of a row whose quoted fields go on over several."""
    reader = csv.reader(_lines(path), strict=True, skipinitialspace=True)
    number, width = 1, 0
    columns: tuple[str, ...] = ()
    places: list[int] = []
    try:
        for record in reader:
            if len(record) > 1 or (record and record[0].strip()):
                if not columns:
                    columns, places = _header(record, columns_of)
                    width = len(record)
                elif len(record) != width:
                    raise _Rule(f"has {len(record)} fields; the header has {width}")
                else:
                    yield number, columns, tuple([record[place] for place in places])
            number = reader.line_num + 1
    except csv.Error as error:
        raise DataError(path, f"is not CSV: {error}", number) from None
    except _Rule as rule:
        raise DataError(path, str(rule), number) from None


def _header(record: Sequence[str], columns_of: _ColumnsOf) -> tuple[tuple[str, ...], list[int]]:
    """The columns that rows are read by, and their places."""
    names = [name.strip() for name in record]
    _require_unique(names)
    columns = columns_of(names)
    return columns, [names.index(column) for column in columns]


def _require_unique(names: Sequence[str]) -> None:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise _Rule(f"has the column {twice[0]!r} twice")


def _json_rows(path: Path, columns_of: _ColumnsOf) -> Iterator[tuple[int, tuple[str, ...], _Row]]:
    decode = _json_decoder()
    for number, text in enumerate(_lines(path), start=1):
        if not text.strip():
            continue
        try:
            row = decode(text.strip())
            if not isinstance(row, dict):
                raise _Rule("is not a JSON object")
            columns = columns_of(tuple(row))
        except json.JSONDecodeError as error:
            raise DataError(path, f"is not JSON: {error.msg}, column {error.colno}", number) from None
        except _Rule as rule:
            raise DataError(path, str(rule), number) from None
        except (ValueError, RecursionError):
            raise DataError(path, "is not JSON: a number or nesting without end", number) from None
        yield number, columns, tuple([row[column] for column in columns])


def _json_decoder() -> Callable[[str], Any]:
    return json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant).decode


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _require_unique([name for name, _ in pairs])
    return found


def _no_constant(name: str) -> Any:
    raise _Rule(f"holds {name}, which is no number")


# ---- rows of a file, all at once --------------------------------------------------------------------


class _Remembered(dict[Any, int]):
    """What a function gave for each value that was looked up."""

    def __init__(self, function: Callable[[Any], int]) -> None:
        super().__init__()
        self.function = function

    def __missing__(self, value: Any) -> int:
        found = self[value] = self.function(value)
        return found


def _quick_tally(path: Path, *, two_role: bool) -> dict[tuple[str, str], list[int]]:
    """Wins, ties and losses of each pair; raises, without telling where, unless every row is plainly right.

    Equal lines are counted before they are taken apart, and equal names and counts are read once.
    """
    is_json = _is_json(path)
    with _open(path) as file:
        header = b""
        while not is_json and not header.strip():
            header = next(file).removeprefix(_MARK)
        counted = Counter(file)
    for blank in (b"\n", b"\r\n"):
        counted.pop(blank, None)
    try:
        text = b"".join(counted).removeprefix(_MARK).decode("utf-8")
        lines = text.removesuffix("\n").split("\n") if text else []
        if len(lines) != len(counted):
            raise _Irregular
        columns, chunks = _json_chunks(lines) if is_json else _csv_chunks(header.decode("utf-8"), lines)
        ids: dict[str, int] = {}
        player = _Remembered(lambda raw: ids.setdefault(_name("player", raw), len(ids)))
        number = _Remembered(lambda raw: _count("count", raw))
        words = {"player_a": -1, "player_b": -2, "tie": -3}

        def word(raw: Any) -> int:
            return words[raw.strip()] if raw.strip() in words else player[raw]

        readers = [player, player] + [_Remembered(word) if name == "winner" else number for name in columns[2:]]
        parts: list[list[NDArray[np.int64]]] = [[] for _ in columns]
        for chunk in chunks:
            for part, reader, values in zip(parts, readers, chunk, strict=True):
                part.append(np.fromiter(map(reader.__getitem__, values), dtype=np.int64, count=len(values)))
    except (csv.Error, ValueError, RecursionError, AttributeError, TypeError):
        raise _Irregular from None
    if not parts[0] or not ids.keys().isdisjoint(words):
        raise _Irregular
    first, second, *rest = map(np.concatenate, parts)
    times = np.fromiter(counted.values(), dtype=np.int64, count=len(counted))
    if columns[2] == "winner":
        wins, losses = (rest[0] == -1) | (rest[0] == first), (rest[0] == -2) | (rest[0] == second)
        outcomes = [wins.astype(np.int64), (rest[0] == -3).astype(np.int64), losses.astype(np.int64)]
        wrong = sum(outcomes) != 1
    else:
        ties = rest[2] if len(rest) > 2 else np.zeros_like(first)
        outcomes = [rest[0], ties, rest[1] - rest[0] - ties]
        wrong = outcomes[2] < 0
    if len(first) != len(times) or bool(np.any(wrong)) or (not two_role and bool((first == second).any())):
        raise _Irregular
    keys, place = np.unique(first * len(ids) + second, return_inverse=True)
    totals = np.zeros((len(keys), 3), dtype=np.int64)
    for column, values in enumerate(outcomes):
        # 64-bit integers could overflow where counts are astronomical; the slow way has no such bound.
        if float(values.max()) * float(times.sum()) > 2.0**62:
            raise _Irregular
        np.add.at(totals[:, column], place, values * times)
    names = list(ids)
    return {
        (names[key // len(ids)], names[key % len(ids)]): total
        for key, total in zip(keys.tolist(), totals.tolist(), strict=True)
    }


def _csv_chunks(header: str, lines: list[str]) -> tuple[tuple[str, ...], Iterator[list[Any]]]:
    """The columns that rows are read by, and their values in chunks of rows."""
    (record,) = csv.reader([header], strict=True, skipinitialspace=True)
    columns, places = _header(record, _match_columns)

    def chunks() -> Iterator[list[Any]]:
        reader, taken = csv.reader(lines, strict=True, skipinitialspace=True), 0
        while chunk := list(islice(reader, _CHUNK)):
            taken += len(chunk)
            if reader.line_num != taken or set(map(len, chunk)) != {len(record)}:
                raise _Irregular  # a quoted field goes on over several lines, or a row is too long or short
            values = list(zip(*chunk, strict=True))
            yield [values[place] for place in places]

    return columns, chunks()


def _json_chunks(lines: list[str]) -> tuple[tuple[str, ...], Iterator[list[Any]]]:
    """The columns that rows are read by, and their values in chunks of rows."""
    decode = _json_decoder()
    names = decode(lines[0].strip()).keys()
    columns = _match_columns(tuple(names))

    def chunks() -> Iterator[list[Any]]:
        for start in range(0, len(lines), _CHUNK):
            rows = [decode(line.strip()) for line in lines[start : start + _CHUNK]]
            if any(row.keys() != names for row in rows):
                raise _Irregular  # which columns there are may decide how a row is read
            values = [[row[column] for row in rows] for column in columns]
            # True is equal to 1, and would be taken for it.
            if not all(set(map(type, column)) <= {str, int, float} for column in values):
                raise _Irregular
            yield values

    return columns, chunks()
