"""Episodes and turns as flat tables: one row an episode, one row a turn.

A cell is text, an integer or a number; what has parts (probabilities, a cast) is JSON text.  What there is none of
is empty: an unscored episode has no credit, not 0.  No cell of CSV is a formula to a spreadsheet.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ..analysis.records import outcome
from ..errors import ConfigurationError, DataError, MissingExtra
from ..identity import digest
from ..runs.directory import read_episodes, read_json

__all__ = ["EPISODE_COLUMNS", "TURN_COLUMNS", "Column", "Export", "Format", "columns_document", "export_run"]

Format = Literal["csv", "parquet", "jsonl"]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name : as it stands in the file.
    kind : what its cells are.
    about : what they say, with the unit and when they are empty.
    """

    name: str
    kind: Literal["text", "integer", "number"]
    about: str


EPISODE_COLUMNS = (
    Column("episode", "text", "id of the episode, made from its content"),
    Column(
        "purpose",
        "text",
        "`comparison`; `capability` where an agent answers alone to be measured, `calibration` where a cascade's "
        "judges are, `attention` where a person is",
    ),
    Column("protocol", "text", "name of the protocol, with the options that are not its defaults"),
    Column("protocol_key", "text", "digest of the protocol's whole configuration, 12 hexadecimal digits"),
    Column("protocol_options", "text", "all options of the protocol, as a JSON object; empty where not recorded"),
    Column("arena", "text", "name of the arena"),
    Column("question", "text", "id of the question"),
    Column("source", "text", "what the question was made from; cluster standard errors on it"),
    Column("answers", "integer", "number of answers of the question"),
    Column("correct", "integer", "index of the correct answer, from 0"),
    Column("debater", "text", "who argues, whatever the role is called; `a + b` where sides differ; else empty"),
    Column("judge", "text", "who decides; `a + b` for a panel of different agents"),
    Column("cast", "text", "agents of every role, as a JSON object of lists"),
    Column("sample", "integer", "index of the sample, from 0"),
    Column("sitting", "integer", "which of the people who were given the same item it was for, from 0"),
    Column("labels", "text", "order of the answers under the labels A, B, ...: `1 0` is answer 1 as A, answer 0 as B"),
    Column("speaking", "text", "answer defended by the seat that speaks first, second, ..."),
    Column("defends", "text", "answer defended by the first, second, ... agent of an arguing role"),
    Column("options", "text", "order in which a choice is offered"),
    Column("status", "text", "`scored` or `unscored`"),
    Column("reason", "text", "why it is unscored; empty otherwise"),
    Column("probabilities", "text", "verdict: a JSON list, a probability for each answer; empty when unscored"),
    Column("p_correct", "number", "probability of the correct answer, in [0, 1]; empty when unscored"),
    Column("credit", "number", "1 correct, 0 wrong, 1/k for a tie of k answers; empty when unscored"),
    Column("elicitation", "text", "where the probabilities come from; empty when unscored"),
    Column("turns", "integer", "turns taken; rows of this episode in the other table"),
    Column("calls", "integer", "model calls; a turn shared by several episodes counts in each"),
    Column("input_tokens", "integer", "tokens read, as the endpoint counted them"),
    Column("output_tokens", "integer", "tokens written"),
    Column("dollars", "number", "price in US dollars; empty where a price is not known"),
    Column("seconds", "number", "time from the first turn to the verdict, in seconds"),
    Column("finished", "text", "when it ended: ISO 8601, UTC"),
)
"""Columns of the table of episodes, in order."""

TURN_COLUMNS = (
    Column("episode", "text", "id of the episode, as in the other table"),
    Column("turn", "integer", "place in the episode, from 1"),
    Column("step", "text", "step of the protocol's graph that made it"),
    Column("seat", "text", "who took it: the role and, where there are several, its number"),
    Column("role", "text", "name of the role"),
    Column("kind", "text", "`speech`, `claim`, `verdict`, or `solution`: the tree of a question that was split"),
    Column("agent", "text", "agent that took it"),
    Column("answer", "integer", "index of the answer argued for or claimed, from 0; empty where there is none"),
    Column("text", "text", "what was said in public; empty for a verdict"),
    Column("reasoning", "text", "private reasoning; empty where there is none"),
    Column("quotes", "integer", "quotations in the text"),
    Column("quotes_verified", "integer", "those among them that stand in the hidden material"),
    Column("probabilities", "text", "of a claim or verdict: a JSON list, a probability for each answer; else empty"),
    Column("p_correct", "number", "probability of the correct answer, in [0, 1]; empty for a speech"),
    Column("elicitation", "text", "where the probabilities come from; empty for a speech"),
    Column("calls", "integer", "model calls"),
    Column("input_tokens", "integer", "tokens read, as the endpoint counted them"),
    Column("output_tokens", "integer", "tokens written"),
    Column("dollars", "number", "price in US dollars; empty where a price is not known"),
    Column(
        "tree",
        "text",
        "of a solution, its tree: a JSON object with `question`, `answer`, `parts`, `failed`; else empty",
    ),
    Column("seconds", "number", "how long a person took, in seconds; empty for everybody else"),
    Column(
        "beliefs",
        "text",
        "of a person's verdict, what was believed on the way: a JSON list of objects with `after` (turns shown by "
        "then), `probabilities` and `seconds`; else empty",
    ),
    Column(
        "consulted",
        "text",
        "of a cascade's verdict, who was asked: a JSON list of objects with `agent`, `probabilities`, `threshold` and "
        "`decided`; else empty",
    ),
    Column("notes", "text", "what a reader should know, as a JSON list of texts; empty where there is nothing"),
)
"""Columns of the table of turns, in order."""

TABLES: Mapping[str, Sequence[Column]] = {"episodes": EPISODE_COLUMNS, "turns": TURN_COLUMNS}

ROW_GROUP = 10_000
"""Rows that are held back and written together, in Parquet."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Export:
    """What was written.

    Parameters
    ----------
    paths : by table (``episodes``, ``turns``), the file.
    rows : by table, its rows.
    """

    paths: Mapping[str, Path]
    rows: Mapping[str, int]


def export_run(
    log_dir: str | Path, format: Format = "csv", output: str | Path | None = None, *, force: bool = False
) -> Export:
    """Write the finished episodes of a run directory, and their turns, as two flat tables.

    Both files are written whole before either takes its place, and an earlier export is replaced.

    Parameters
    ----------
    log_dir : the run directory.
    format : ``csv``, ``parquet`` or ``jsonl``.
    output : the folder to write ``episodes`` and ``turns`` in; ``export`` in the run directory where None.
    force : replace files of these names that are no export.

    Raises
    ------
    ConfigurationError
        if there is nothing to export, or a file cannot be written or is no export; MissingExtra without pyarrow.
    RunDirectoryError
        if the folder is not a run directory.
    DataError
        if an episode cannot be read.
    """
    log_dir = Path(log_dir)
    if format not in get_args(Format):
        raise ConfigurationError(f"--format {format}: choose one of {', '.join(get_args(Format))}")
    write = {"csv": _Csv, "jsonl": _Jsonl, "parquet": _Parquet}[format]
    folder = log_dir / "export" if output is None else Path(output)
    if next(read_episodes(log_dir), None) is None:
        raise ConfigurationError(f"{log_dir}: no episode is finished yet, so there is nothing to export")
    paths = {name: folder / f"{name}.{format}" for name in TABLES}
    if not force:
        for name, path in paths.items():
            if path.exists() and not _is_export(path, format, TABLES[name]):
                raise ConfigurationError(f"{path} is no export with these columns: --force replaces it")
    for path in paths.values():
        if path.is_dir():
            raise ConfigurationError(f"{path} is a folder: choose another --output")
    parts = {name: folder / f".{name}.{format}.{os.getpid()}.part" for name in TABLES}
    rows = dict.fromkeys(TABLES, 0)
    made = _missing_folders(folder)
    done = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        options = _options_by_key(log_dir)
        with ExitStack() as opened:
            writers = {name: opened.enter_context(write(parts[name], columns)) for name, columns in TABLES.items()}
            for record in read_episodes(log_dir):
                for name, row in _rows(record, options, log_dir / "episodes.jsonl"):
                    writers[name].add(row)
                    rows[name] += 1
        for name, path in paths.items():
            os.replace(parts[name], path)
        done = True
    except OSError as error:
        place = error.filename or folder
        raise ConfigurationError(f"{place}: cannot be written: {error.strerror or error}") from None
    finally:
        for part in parts.values():
            with suppress(OSError):  # it was never made
                part.unlink()
        if not done:
            for empty in made:
                if empty.is_dir() and not any(empty.iterdir()):
                    empty.rmdir()
    return Export(paths, rows)


def columns_document() -> str:
    """The tables of ``docs/columns.md``: every column, its kind and what it says."""
    lines = []
    for name, columns in TABLES.items():
        lines += [f"## {name}", "", "| column | kind | meaning |", "|---|---|---|"]
        lines += [f"| `{column.name}` | {column.kind} | {column.about} |" for column in columns]
        lines.append("")
    return "\n".join(lines)


# ---- rows -------------------------------------------------------------------------------------------


def _options_by_key(log_dir: Path) -> dict[str, str]:
    """By the key of a protocol's configuration, its options as JSON text."""
    found = {}
    kept = read_json(log_dir / "run.json")
    if not isinstance(kept, dict):
        raise DataError(log_dir / "run.json", "is not a run's configuration")
    configuration = kept.get("configuration", {})
    for entry in configuration.get("protocols", ()):
        described = {name: value for name, value in entry.items() if name != "casts"}
        options = {
            name: value for name, value in described.items() if name not in ("protocol", "instructions", "source")
        }
        found[digest(described)[:12]] = _json(options)
    return found


def _rows(record: Mapping[str, Any], options: Mapping[str, str], path: Path) -> Iterator[tuple[str, Row]]:
    """The rows of an episode: its own, and one for each of its turns."""
    try:
        about = outcome(record)
        turns, usage = record["turns"], record["usage"]
        yield (
            "episodes",
            {
                "episode": record["id"],
                "purpose": record["purpose"],
                "protocol": about.protocol,
                "protocol_key": about.protocol_key,
                "protocol_options": options.get(about.protocol_key),
                "arena": record["arena"],
                "question": about.question,
                "source": about.source,
                "answers": about.answers,
                "correct": about.correct,
                "debater": about.debater,
                "judge": about.judge,
                "cast": _json(record["cast"]),
                "sample": about.sample,
                "sitting": record.get("sitting", 0),
                **{
                    name: " ".join(map(str, record["seating"][name]))
                    for name in ("labels", "speaking", "defends", "options")
                },
                "status": record["status"],
                "reason": record["reason"],
                **_belief(record["probabilities"], about.correct),
                "credit": about.credit if about.scored else None,
                "elicitation": record["elicitation"],
                "turns": len(turns),
                **_usage(usage),
                "seconds": float(record["seconds"]),
                "finished": record["finished"],
            },
        )
        for number, turn in enumerate(turns, 1):
            quotes = turn.get("quotes", ())
            notes = turn.get("notes")
            yield (
                "turns",
                {
                    "episode": record["id"],
                    "turn": number,
                    **{name: turn[name] for name in ("step", "seat", "role", "kind", "agent")},
                    "answer": turn.get("answer"),
                    "text": turn.get("text"),
                    "reasoning": turn.get("reasoning"),
                    "quotes": len(quotes),
                    "quotes_verified": sum(bool(quote["verified"]) for quote in quotes),
                    **_belief(turn.get("probabilities"), about.correct),
                    "elicitation": turn.get("elicitation"),
                    **_usage(turn.get("usage", {"calls": 0, "input_tokens": 0, "output_tokens": 0, "dollars": 0.0})),
                    "seconds": float(turn["seconds"]) if turn.get("seconds") else None,
                    **{
                        name: _json(turn[name]) if turn.get(name) else None for name in ("tree", "beliefs", "consulted")
                    },
                    "notes": _json(list(notes)) if notes else None,
                },
            )
    except DataError as error:
        raise DataError(path, str(error).partition(": ")[2]) from None
    except KeyError as error:
        raise DataError(path, f"episode {record.get('id')!r} lacks {error.args[0]!r}") from None
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(path, f"episode {record.get('id')!r} cannot be read: {error}") from None


def _belief(probabilities: Sequence[float] | None, correct: int) -> Row:
    if probabilities is None:
        return {"probabilities": None, "p_correct": None}
    return {"probabilities": _json(list(probabilities)), "p_correct": float(probabilities[correct])}


def _usage(usage: Mapping[str, Any]) -> Row:
    dollars = usage["dollars"]
    return {
        **{name: int(usage[name]) for name in ("calls", "input_tokens", "output_tokens")},
        "dollars": None if dollars is None else float(dollars),
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_line(value: Any) -> str:
    """JSON that is one line to whoever reads it."""
    return _LINE_END.sub(lambda found: f"\\u{ord(found[0]):04x}", _json(value))


_SURROGATE = re.compile("[\ud800-\udfff]")

# JSON may hold them as they are, but readers of lines break a line there.
_LINE_END = re.compile("[\x85\u2028\u2029]")

# Where a spreadsheet would begin to compute; it takes an apostrophe for "this is text".
# One is written before those that a text begins with itself, so that taking one away always gives the text back.
_FORMULA = re.compile("^(?='*[ \t\r\n]*[-=+@\uff0b\uff0d\uff1d\uff20])")


def _cells(row: Row, columns: Sequence[Column]) -> list[Any]:
    """The cells in order: empty text is no text, and half a character is the replacement character."""
    cells = []
    for column in columns:
        value = row[column.name]
        if column.kind == "text" and value is not None:
            value = _SURROGATE.sub("\ufffd", str(value)) or None
        cells.append(value)
    return cells


# ---- files ------------------------------------------------------------------------------------------


class _Writer:
    """A table on its way to a file; as a context, it is complete and on the disk at the end."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self.path, self.columns = path, columns

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *raised: object) -> None:
        raise NotImplementedError

    def add(self, row: Row) -> None:
        """Write a row."""
        raise NotImplementedError


class _Lines(_Writer):
    newline: str | None = "\n"

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        super().__init__(path, columns)
        self.file = path.open("w", encoding="utf-8", newline=self.newline)

    def __exit__(self, *raised: object) -> None:
        with self.file:
            self.file.flush()
            os.fsync(self.file.fileno())


class _Csv(_Lines):
    newline = ""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        super().__init__(path, columns)
        self.rows = csv.writer(self.file)  # its default dialect is that of RFC 4180
        self.rows.writerow([column.name for column in columns])

    def add(self, row: Row) -> None:
        self.rows.writerow(
            [_FORMULA.sub("'", one) if isinstance(one, str) else one for one in _cells(row, self.columns)]
        )


class _Jsonl(_Lines):
    def add(self, row: Row) -> None:
        names = [column.name for column in self.columns]
        self.file.write(json_line(dict(zip(names, _cells(row, self.columns), strict=True))) + "\n")


class _Parquet(_Writer):
    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        super().__init__(path, columns)
        self.arrow, parquet = _pyarrow()
        self.schema = _schema(self.arrow, columns)
        self.writer = parquet.ParquetWriter(path, self.schema)
        self.waiting: list[list[Any]] = []

    def add(self, row: Row) -> None:
        self.waiting.append(_cells(row, self.columns))
        if len(self.waiting) >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self.waiting:
            arrays = [
                self.arrow.array(cells, type=field.type)
                for cells, field in zip(zip(*self.waiting, strict=True), self.schema, strict=True)
            ]
            self.writer.write_table(self.arrow.Table.from_arrays(arrays, schema=self.schema))
            self.waiting = []

    def __exit__(self, *raised: object) -> None:
        try:
            if raised[0] is None:
                self._flush()
        finally:
            self.writer.close()
        with self.path.open("rb") as file:
            os.fsync(file.fileno())


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtra("--format parquet", "tables") from None
    return pyarrow, parquet


def _schema(arrow: Any, columns: Sequence[Column]) -> Any:
    kinds: dict[str, Callable[[], Any]] = {"text": arrow.string, "integer": arrow.int64, "number": arrow.float64}
    return arrow.schema([(column.name, kinds[column.kind]()) for column in columns])


def _is_export(path: Path, format: Format, columns: Sequence[Column]) -> bool:
    """Whether a file holds a table with these columns, and so may be replaced."""
    names = [column.name for column in columns]
    try:
        if format == "parquet":
            arrow, parquet = _pyarrow()
            try:
                return list(parquet.read_schema(path).names) == names
            except arrow.ArrowException:
                return False
        with path.open(encoding="utf-8", newline="") as file:
            line = file.readline(1_000_000)
        return line == ",".join(names) + "\r\n" if format == "csv" else list(json.loads(line or "{}")) == names
    except (OSError, ValueError):
        return False


def _missing_folders(folder: Path) -> list[Path]:
    """Folders that are made on the way, the innermost first."""
    missing = []
    for one in (folder, *folder.parents):
        if one.exists():
            break
        missing.append(one)
    return missing
