"""Episodes and turns as flat tables: what is in them, that others can load them, that nothing is half-written."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import re
from pathlib import Path

import pytest

from oversight import run, tournament
from oversight.cli import main
from oversight.report import export as module
from oversight.report.export import EPISODE_COLUMNS, TURN_COLUMNS, columns_document, export_run
from oversight.runs.directory import read_episodes

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pytest.importorskip("pyarrow")

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "columns.md"
TINY = HERE / "tiny.py"
_specification = importlib.util.spec_from_file_location("oversight_test_tiny", TINY)
tiny = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(tiny)
FORMATS = ("csv", "parquet", "jsonl")
HOSTILE = (
    'say "hi", he said;\r\nthen\nleft, "so"',
    "=HYPERLINK(\"http://x\",'y')",
    "+1 -2 @SUM(A1) \t tab",
    "naïve 日本語 🙂 \u202e \u2028 \x85 end",
    "  blanks around  ",
    "\\n \\\\ back'slash",
    '"',
    "a,b\n",
    "NaN",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The run directory of a small tournament, capability measured alone."""
    path = tmp_path_factory.mktemp("logs") / "run"
    tournament(
        tiny.Sums(),
        [tiny.Thinker(), tiny.Second()],
        ["direct", "debate(rounds=2)"],
        limit=3,
        log_dir=path,
    )
    return path


@pytest.fixture
def hostile(folder, tmp_path):
    """The same with speeches that break careless files, an unscored episode, and an unknown price."""
    copy = tmp_path / "hostile"
    copy.mkdir()
    (copy / "run.json").write_bytes((folder / "run.json").read_bytes())
    texts, lines = iter(HOSTILE), []
    for record in read_episodes(folder):
        for turn in record["turns"]:
            if turn["kind"] == "speech" and (text := next(texts, None)) is not None:
                turn["text"] = turn["reasoning"] = text
        lines.append(record)
    lines[-1].update(
        status="unscored", reason='no "verdict",\nat all', probabilities=None, credit=None, elicitation=None
    )
    lines[-1]["usage"]["dollars"] = None
    (copy / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return copy


def as_exported(text, format):
    """What stands in the file for a text: an apostrophe stands before what would be a formula, in CSV."""
    return f"'{text}" if format == "csv" and (text or "").startswith(("=", "+")) else text


def load(library, path):
    """The table with all its text as text, in one line of the library."""
    texts = {c.name for c in (*EPISODE_COLUMNS, *TURN_COLUMNS) if c.kind == "text"}
    if path.suffix == ".parquet":
        return library.read_parquet(path)
    if library is pandas:
        if path.suffix == ".csv":
            return pandas.read_csv(path, dtype=dict.fromkeys(texts, str), keep_default_na=False, na_values=[""])
        return pandas.read_json(path, lines=True, dtype=False)
    if path.suffix == ".csv":
        return polars.read_csv(path, infer_schema_length=None)
    return polars.read_ndjson(path, infer_schema_length=None)


def rows(library, frame):
    """The rows as dictionaries; what is missing is None."""
    found = frame.to_dicts() if library is polars else frame.to_dict("records")
    return [{name: None if isinstance(v, float) and math.isnan(v) else v for name, v in row.items()} for row in found]


# ---- what is in them ----------------------------------------------------------------------------


def test_an_episode_is_a_row_and_a_turn_is_a_row(folder, tmp_path):
    done = export_run(folder, "jsonl", tmp_path)
    records = list(read_episodes(folder))
    episodes = [json.loads(line) for line in done.paths["episodes"].read_text().splitlines()]
    turns = [json.loads(line) for line in done.paths["turns"].read_text().splitlines()]
    assert done.rows == {"episodes": len(records), "turns": sum(len(one["turns"]) for one in records)}
    assert [row["episode"] for row in episodes] == [record["id"] for record in records]
    assert sum(row["turns"] for row in episodes) == len(turns)
    assert {row["purpose"] for row in episodes} == {"comparison", "capability"}
    for row, record in zip(episodes, records, strict=True):
        assert row["p_correct"] == record["probabilities"][record["correct"]]
        assert row["credit"] == record["credit"]
        assert json.loads(row["probabilities"]) == record["probabilities"]
        assert json.loads(row["cast"]) == record["cast"]
        assert [int(one) for one in row["labels"].split()] == record["seating"]["labels"]
        mine = [turn for turn in turns if turn["episode"] == record["id"]]
        assert [turn["turn"] for turn in mine] == list(range(1, len(record["turns"]) + 1))
        assert [turn["text"] for turn in mine] == [turn.get("text") for turn in record["turns"]]
    debate = next(row for row in episodes if row["protocol"].startswith("debate"))
    assert json.loads(debate["protocol_options"])["rounds"] == 2
    assert debate["debater"] in ("tiny/thinker", "tiny/second")
    assert next(row for row in episodes if row["protocol"] == "direct")["debater"] is None
    speech = next(turn for turn in turns if turn["kind"] == "speech")
    assert (speech["quotes"], speech["quotes_verified"]) == (2, 1)
    assert speech["probabilities"] is None
    verdict = next(turn for turn in turns if turn["kind"] == "verdict")
    assert verdict["text"] is None
    assert 0.0 <= verdict["p_correct"] <= 1.0


def test_unscored_is_empty_and_never_zero(hostile, tmp_path):
    for library in (pandas, polars):
        for format in FORMATS:
            last = rows(library, load(library, export_run(hostile, format, tmp_path).paths["episodes"]))[-1]
            assert last["status"] == "unscored"
            assert last["reason"] == 'no "verdict",\nat all'
            for name in ("credit", "p_correct", "probabilities", "elicitation", "dollars"):
                assert last[name] is None, (library.__name__, format, name)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("library", [pandas, polars], ids=["pandas", "polars"])
def test_hostile_text_comes_back_as_it_was(hostile, tmp_path, library, format):
    done = export_run(hostile, format, tmp_path)
    turns = rows(library, load(library, done.paths["turns"]))
    expected = [turn for record in read_episodes(hostile) for turn in record["turns"]]
    assert len(turns) == len(expected)
    for row, turn in zip(turns, expected, strict=True):
        assert row["text"] == as_exported(turn.get("text"), format)
        assert row["reasoning"] == as_exported(turn.get("reasoning"), format)
    assert {as_exported(text, format) for text in HOSTILE} <= {row["text"] for row in turns}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("library", [pandas, polars], ids=["pandas", "polars"])
def test_every_table_loads_with_its_rows_columns_and_kinds(folder, tmp_path, library, format):
    done = export_run(folder, format, tmp_path)
    for name, columns in module.TABLES.items():
        frame = load(library, done.paths[name])
        assert list(frame.columns) == [column.name for column in columns]
        assert len(frame) == done.rows[name]
        for column in columns:
            series = frame[column.name]
            empty = bool(series.isna().all()) if library is pandas else series.null_count() == len(series)
            missing = bool(series.isna().any()) if library is pandas else False  # pandas has floats for those
            if empty and format != "parquet":
                continue
            if library is polars:
                known = {"text": polars.String, "integer": polars.Int64, "number": polars.Float64}
                assert series.dtype == known[column.kind], column.name
            elif column.kind == "integer":
                assert pandas.api.types.is_float_dtype(series) if missing else pandas.api.types.is_integer_dtype(series)
            elif column.kind == "number":
                assert pandas.api.types.is_numeric_dtype(series), column.name
            else:
                assert not pandas.api.types.is_numeric_dtype(series), column.name


def test_the_documents_lines_load(folder, tmp_path, monkeypatch):
    """What docs/columns.md says is run as it stands."""
    for format in FORMATS:
        export_run(folder, format, tmp_path)
    monkeypatch.chdir(tmp_path)
    block = re.search(r"<!-- loads.*?```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)[1]
    names, episodes = {}, sum(1 for _ in read_episodes(folder))
    exec("\n".join(line for line in block.splitlines() if line.startswith("import")), names)
    calls = [line for line in block.splitlines() if line.startswith(("pandas.", "polars."))]
    assert len(calls) == 6
    for call in calls:
        assert len(eval(call, names)) == episodes, call


def test_the_document_and_the_code_agree():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.endswith(columns_document().rstrip() + "\n")
    for columns in (EPISODE_COLUMNS, TURN_COLUMNS):
        assert len({column.name for column in columns}) == len(columns)


def test_csv_is_that_of_the_rfc(hostile, tmp_path):
    """CRLF ends a record, UTF-8 without a mark, and the plain reader gives the cells back."""
    path = export_run(hostile, "csv", tmp_path).paths["turns"]
    content = path.read_bytes()
    assert content.startswith(b"episode,turn,")
    assert content.endswith(b"\r\n")
    with path.open(encoding="utf-8", newline="") as file:
        first, *read = csv.reader(file, strict=True)
    assert {len(row) for row in read} == {len(first)}
    assert {as_exported(text, "csv") for text in HOSTILE} <= {row[first.index("text")] for row in read}


def test_half_a_character_is_replaced(hostile, tmp_path):
    path = hostile / "episodes.jsonl"
    path.write_text(path.read_text().replace("clock", "\\ud83dclock"))
    for format in FORMATS:
        texts = load(polars, export_run(hostile, format, tmp_path).paths["turns"])["text"].drop_nulls()
        assert any("\ufffdclock" in text for text in texts)


def test_a_large_run_goes_through_in_parts(folder, tmp_path, monkeypatch):
    """Parquet in many row groups holds the same table as CSV in one."""
    monkeypatch.setattr(module, "ROW_GROUP", 7)
    many = polars.read_parquet(export_run(folder, "parquet", tmp_path).paths["turns"])
    plain = polars.read_csv(export_run(folder, "csv", tmp_path).paths["turns"], infer_schema_length=None)
    assert many.select("episode", "turn", "text").equals(plain.select("episode", "turn", "text"))


# ---- where it goes, and what is refused -----------------------------------------------------------


def test_the_command_writes_into_the_run_directory_which_still_resumes(tmp_path, capsys):
    path = tmp_path / "run"

    def play():
        return run("direct", tiny.Sums(), judge=tiny.Thinker(), limit=2, log_dir=path)

    play()
    for _ in range(2):  # exporting again replaces the first
        assert main(["export", str(path)]) == 0
        assert sorted(one.name for one in (path / "export").iterdir()) == ["episodes.csv", "turns.csv"]
    assert "4 episodes" in capsys.readouterr().out
    assert len(list(play().episodes())) == 4


def refused(capsys, *words):
    assert main(["export", *map(str, words)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_of_something_else_is_left_alone(folder, tmp_path, capsys, format):
    mine = tmp_path / f"turns.{format}"
    mine.write_text("my own notes\n")
    assert "--force replaces it" in refused(capsys, folder, "--format", format, "--output", tmp_path)
    assert mine.read_text() == "my own notes\n"
    assert [one.name for one in tmp_path.iterdir()] == [mine.name]
    assert main(["export", str(folder), "--format", format, "--output", str(tmp_path), "--force"]) == 0
    assert len(load(polars, mine)) > 0


def test_what_cannot_be_exported_is_said_in_a_line(folder, tmp_path, capsys):
    assert "not a run directory" in refused(capsys, tmp_path / "nothing")
    assert "invalid choice: 'xlsx'" in refused(capsys, folder, "--format", "xlsx")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "run.json").write_text("{}")
    assert "nothing to export" in refused(capsys, empty)
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(capsys, folder, "--output", tmp_path / "file")
    (tmp_path / "out" / "turns.csv").mkdir(parents=True)
    assert "is a folder" in refused(capsys, folder, "--output", tmp_path / "out", "--force")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda record: record.pop("credit"), "lacks 'credit'"),
        (lambda record: record["turns"][0].pop("agent"), "lacks 'agent'"),
        (lambda record: record.update(seconds="long"), "cannot be read"),
        (lambda record: record.update(correct=9), "cannot be read"),
        (lambda record: record.update(credit=2.0), "not in [0, 1]"),
        (lambda record: record.update(sample="x"), "cannot be read"),
    ],
)
def test_a_broken_record_leaves_the_last_export_and_no_part(hostile, tmp_path, capsys, format, change, said):
    out = tmp_path / "out" / "deep"
    records = list(read_episodes(hostile))
    change(records[3])
    broken = "".join(json.dumps(record) + "\n" for record in records)
    whole = (hostile / "episodes.jsonl").read_text()
    words = (hostile, "--format", format, "--output", out)
    (hostile / "episodes.jsonl").write_text(broken)
    line = refused(capsys, *words)
    assert said in line
    assert str(hostile / "episodes.jsonl") in line
    assert not (tmp_path / "out").exists()
    (hostile / "episodes.jsonl").write_text(whole)
    assert main(["export", *map(str, words)]) == 0
    before = {one.name: one.read_bytes() for one in out.iterdir()}
    (hostile / "episodes.jsonl").write_text(broken)
    capsys.readouterr()
    refused(capsys, *words)
    assert {one.name: one.read_bytes() for one in out.iterdir()} == before


def test_without_pyarrow_the_extra_is_named(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    line = refused(capsys, folder, "--format", "parquet", "--output", tmp_path / "out")
    assert "pip install 'scalable-oversight[tables]'" in line
    assert not (tmp_path / "out").exists()
    assert main(["export", str(folder), "--output", str(tmp_path / "out")]) == 0
