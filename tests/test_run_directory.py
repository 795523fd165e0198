"""The run directory: nothing in it is lost or overwritten, and a torn line is owed again."""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest

import oversight
from oversight.errors import RunDirectoryError
from oversight.models.openai_compatible import ModelOptions
from oversight.runs.directory import RunDirectory, differences, read_episodes

HERE = Path(__file__).parent
TINY = HERE / "tiny.py"
KEY = "sk-canary-5e3f0c1d9b7a"


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


endpoints, tiny = _load("endpoint"), _load("tiny")


def play(folder, **changes):
    """A small debate in a folder."""
    settings = {"limit": 4, "log_dir": folder, "debater": tiny.Thinker(), "judge": tiny.Second(), **changes}
    return oversight.run("debate(rounds=1)", tiny.Sums(), **settings)


def records(folder):
    """Finished episodes by id, without what the clock says."""
    return {
        record["id"]: {name: value for name, value in record.items() if name not in ("seconds", "finished")}
        for record in read_episodes(folder)
    }


def contents(folder):
    """The digest of every file in a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    play(folder)
    return folder


def copy_of(folder, tmp_path):
    return Path(shutil.copytree(folder, tmp_path / "copy"))


# ---- torn and strange lines ---------------------------------------------------------------------


def cuts(data):
    """Places to tear a file of lines: nothing left, inside lines, around line ends, one byte missing."""
    ends = [place + 1 for place, byte in enumerate(data) if byte == 10]
    return [0, 1, 17, ends[0] - 1, ends[0], ends[0] + 1, ends[1] + 40, ends[2], len(data) - 30, len(data) - 1]


@pytest.mark.parametrize(("number", "journal"), [*((number, "kept") for number in range(10)), (2, "lost"), (4, "lost")])
def test_a_torn_line_is_owed_again(whole, tmp_path, number, journal):
    """Torn anywhere, the file ends up with every episode once, equal to the uninterrupted run's."""
    folder = copy_of(whole, tmp_path)
    path = folder / "episodes.jsonl"
    data = path.read_bytes()
    cut = cuts(data)[number]
    path.write_bytes(data[:cut])
    if journal == "lost":
        for one in folder.glob("journal.sqlite*"):
            one.unlink()
    play(folder)
    assert records(folder) == records(whole)
    after = path.read_bytes()
    assert after.startswith(data[:cut])  # appended to, never rewritten
    ids = [json.loads(line)["id"] for line in after.splitlines() if line.strip() and _is_json(line)]
    assert sorted(ids) == sorted(records(whole))


def _is_json(line):
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "garbage",
    [b"garbage\n", b"\xff\xfe\x00\n", b"[]\n", b"{}\n", b"null\n", b'{"id": "x"}\n', b'{"id": "half\n', b"\n\n"],
)
def test_a_line_of_garbage_in_the_middle_costs_nothing(whole, tmp_path, garbage):
    """What is around it counts; it is neither an episode nor an error, and it stays where it is."""
    folder = copy_of(whole, tmp_path)
    path = folder / "episodes.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], garbage, *lines[2:]]))
    before = path.read_bytes()
    result = play(folder)
    assert path.read_bytes() == before
    assert {record["id"] for record in result.episodes()} == set(records(whole))
    assert result.gap().cells[0].n == 8


def test_what_is_finished_is_not_played_again(whole, tmp_path, monkeypatch):
    """Repeated, a finished run makes no turn and changes no episode."""
    folder = copy_of(whole, tmp_path)
    before = (folder / "episodes.jsonl").read_bytes()
    calls = tmp_path / "calls"
    monkeypatch.setenv("OVERSIGHT_TEST_CALLS", str(calls))
    play(folder)
    assert (folder / "episodes.jsonl").read_bytes() == before
    assert not calls.exists()


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"seed": 7}, "seed: 0 there, 7 here"),
        ({"limit": 3}, "limit: 4 there, 3 here"),
        ({"epochs": 2}, "epochs: 1 there, 2 here"),
        ({"swap": False}, "swap: true there, false here"),
        ({"judge": tiny.Third()}, '"tiny/third"'),
    ],
)
def test_another_configuration_is_refused_with_the_difference(whole, tmp_path, changes, shown):
    """The message shows what differs, and not one byte of the folder changes."""
    folder = copy_of(whole, tmp_path)
    before = contents(folder)
    with pytest.raises(RunDirectoryError) as caught:
        play(folder, **changes)
    message = str(caught.value)
    assert shown in message
    assert str(folder) in message
    assert "--log-dir" in message
    assert "\n" not in message
    assert contents(folder) == before


def test_changed_questions_are_another_run(whole, tmp_path):
    """The questions' content is part of the configuration, not their number alone."""
    folder = copy_of(whole, tmp_path)
    before = contents(folder)
    with pytest.raises(RunDirectoryError, match=r"questions\.digest|arena\.remark"):
        oversight.run(
            "debate(rounds=1)",
            tiny.Sums(remark=" Think."),
            limit=4,
            log_dir=folder,
            debater=tiny.Thinker(),
            judge=tiny.Second(),
        )
    assert contents(folder) == before


def test_a_folder_of_something_else_is_refused_untouched(tmp_path):
    """A folder with files and no run.json is not a run directory, and nothing is added to it."""
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(RunDirectoryError, match=r"not empty and has no run\.json"):
        play(folder)
    assert list(folder.iterdir()) == [folder / "thesis.tex"]


@pytest.mark.parametrize("format", [0, 2, "1", None])
def test_a_folder_of_another_version_is_refused_untouched(whole, tmp_path, format):
    """What another version wrote in another form is not guessed at."""
    folder = copy_of(whole, tmp_path)
    kept = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**kept, "format": format}))
    before = contents(folder)
    with pytest.raises(RunDirectoryError, match=f"was written in format {format!r}, and this version of oversight"):
        play(folder)
    assert contents(folder) == before


def test_records_of_an_earlier_version_are_gone_on_with(whole, tmp_path):
    """Fields that records and turns did not have once are taken to be empty."""
    folder = copy_of(whole, tmp_path)
    lines = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    for line in lines:
        for turn in line["turns"]:
            for name in ("seconds", "consulted", "beliefs", "stops", "tree", "readings", "private"):
                turn.pop(name, None)
    (folder / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:-1]))
    play(folder)
    assert records(folder).keys() == records(whole).keys()
    assert records(folder)[lines[-1]["id"]] == records(whole)[lines[-1]["id"]]


def test_a_folder_that_may_not_be_written_is_one_line_and_stays(whole):
    """Tried by a process without capabilities: everything is allowed to the superuser."""
    with tempfile.TemporaryDirectory() as outside:
        folder = Path(shutil.copytree(whole, Path(outside) / "run"))
        os.chmod(outside, 0o755)
        for path in (folder, *folder.iterdir()):
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = contents(folder)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            # Without capabilities the superuser's own files are closed to it where their modes say so.
            nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
            if os.getuid() == 0 and ctypes.CDLL(None).capset(*nothing):
                os._exit(1)
            try:
                play(folder)
                said = "played"
            except RunDirectoryError as error:
                said = str(error)
            except BaseException as error:
                said = f"not ours: {error!r}"
            os.write(write, said.encode())
            os._exit(0)
        os.close(write)
        os.waitpid(child, 0)
        said = os.read(read, 65536).decode()
        os.close(read)
        assert str(folder) in said
        assert "Permission denied" in said
        assert "\n" not in said
        assert contents(folder) == before
        folder.chmod(0o755)


def test_a_clock_that_goes_back_changes_nothing(whole, tmp_path, monkeypatch):
    """Times are kept for a reader, and nothing follows from them."""
    clock = count(2_000_000_000, -86_400)

    class Backwards(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(next(clock), tz)

    monkeypatch.setattr("oversight.runs.moderator.datetime", Backwards)
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    folder = tmp_path / "run"
    play(folder)
    lines = (folder / "episodes.jsonl").read_text().splitlines(keepends=True)
    assert json.loads(lines[0])["finished"] > json.loads(lines[-1])["finished"]
    (folder / "episodes.jsonl").write_text("".join(lines[:2]))
    play(folder)
    assert records(folder) == records(whole)


@pytest.mark.parametrize("left", [[".lock"], [".run.json.part"], [".lock", ".run.json.part"]])
def test_a_start_that_was_ended_at_once_can_be_repeated(tmp_path, whole, left):
    """What a start leaves that did not come as far as run.json is no reason to refuse."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in left:
        (folder / name).write_text("{")
    play(folder)
    assert records(folder) == records(whole)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"run"', '{"format": 1}', "\x00\xff"])
def test_a_broken_run_json_is_one_line(whole, tmp_path, text):
    """A configuration that cannot be read is refused by name, never overwritten."""
    folder = copy_of(whole, tmp_path)
    (folder / "run.json").write_text(text)
    before = contents(folder)
    with pytest.raises(RunDirectoryError) as caught:
        play(folder)
    assert "run.json" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert contents(folder) == before


@pytest.mark.parametrize("place", ["file", "file/run", "file/deep/run"])
def test_a_path_that_cannot_be_a_folder_is_one_line(tmp_path, place):
    """A file in the way is said in one line, with the path."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunDirectoryError) as caught:
        play(tmp_path / place)
    assert str(tmp_path / place) in str(caught.value)
    assert "a file stands in its way" in str(caught.value)
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("name", ["episodes.jsonl", "journal.sqlite"])
def test_a_folder_where_a_file_belongs_is_one_line(whole, tmp_path, name):
    """The lock is given back, so that the mended folder can be used by the same process."""
    folder = copy_of(whole, tmp_path)
    kept = (folder / name).read_bytes()
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(RunDirectoryError) as caught:
        play(folder)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    (folder / name).rmdir()
    (folder / name).write_bytes(kept)
    play(folder)
    assert records(folder) == records(whole)


HOLDER = """
import asyncio, json, sys
from oversight.runs.directory import RunDirectory

configuration = json.load(open(sys.argv[1] + "/run.json"))["configuration"]
directory = RunDirectory(sys.argv[1], configuration, {})
print("held", flush=True)
sys.stdin.readline()
asyncio.run(directory.close())
"""


def test_two_processes_do_not_share_a_directory(whole, tmp_path):
    """The second is refused while the first runs, and may when the first has been killed."""
    folder = copy_of(whole, tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "held\n"
            before = contents(folder)
            with pytest.raises(RunDirectoryError, match="another process") as caught:
                play(folder)
            assert "\n" not in str(caught.value)
            assert contents(folder) == before
        finally:
            process.kill()
    play(folder)
    assert records(folder) == records(whole)


def test_differences_name_the_place():
    """Nested configurations are compared part by part, and long values are shortened."""
    old = {"a": {"b": [1, {"c": 2}]}, "same": [1], "gone": True, "long": "x" * 500}
    new = {"a": {"b": [1, {"c": 3}]}, "same": [1], "come": 1.5, "long": "y" * 500}
    found = differences(old, new)
    assert found[:3] == ["a.b.1.c: 2 there, 3 here", "come: null there, 1.5 here", "gone: true there, null here"]
    assert len(found) == 4
    assert len(found[3]) < 200
    assert differences({"a": [1]}, {"a": [1, 2]}) == ["a: [1] there, [1, 2] here"]
    assert differences(old, old) == []


def test_a_record_with_any_text_comes_back(tmp_path):
    """Halves of surrogate pairs and line separators in a speech do not break the file of lines."""
    text = "a\u2028b\x85c\ud800d\ne\r\x00"

    async def main():
        directory = RunDirectory(tmp_path / "run", {}, {})
        await directory.add({"id": "one", "purpose": "comparison", "status": "scored", "text": text})
        await directory.close()

    asyncio.run(main())
    assert [record["text"] for record in read_episodes(tmp_path / "run")] == [text]


def test_a_full_disk_is_one_line(tmp_path):
    """An append that fails is an error of the run directory; nothing hangs on it."""
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")

    async def main():
        directory = RunDirectory(tmp_path / "run", {}, {})
        real = directory._file
        directory._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115  # closed below
        with pytest.raises(RunDirectoryError, match="cannot be written: No space left"):
            await directory.add({"id": "one", "status": "scored"})
        directory._file.close()
        directory._file = real
        await directory.close()
        return directory.finished

    assert asyncio.run(main()) == {}


# ---- failed episodes ----------------------------------------------------------------------------


def test_failed_episodes_are_owed_again_only_when_asked_for(tmp_path, monkeypatch):
    """Unscored is a recorded row; --retry-failed plays it again, and its last record counts."""
    folder = tmp_path / "run"
    result = play(folder, debater=tiny.Silent())
    first = list(result.episodes())
    assert {record["status"] for record in first} == {"unscored"}
    assert all("said nothing" in record["reason"] and record["credit"] is None for record in first)
    lines = (folder / "episodes.jsonl").read_bytes()

    play(folder, debater=tiny.Silent())
    assert (folder / "episodes.jsonl").read_bytes() == lines

    monkeypatch.setenv("OVERSIGHT_TEST_MENDED", "1")
    for one in folder.glob("journal.sqlite*"):  # the script's reply was journaled
        one.unlink()
    result = play(folder, debater=tiny.Silent(), retry_failed=True)
    assert (folder / "episodes.jsonl").read_bytes().startswith(lines)
    again = list(result.episodes())
    assert len(again) == len(first)
    assert {record["status"] for record in again} == {"scored"}


def test_a_failure_is_not_retried_within_one_start(tmp_path):
    """--retry-failed plays each failed episode once, not for ever."""
    folder = tmp_path / "run"
    play(folder, debater=tiny.Silent(), retry_failed=True)
    play(folder, debater=tiny.Silent(), retry_failed=True)
    assert len((folder / "episodes.jsonl").read_bytes().splitlines()) == 2 * 8


# ---- secrets ------------------------------------------------------------------------------------


def test_no_key_enters_the_run_directory(tmp_path, monkeypatch):
    """With a key in use, even echoed in the endpoint's errors and replies, no file of the run holds it."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    folder = tmp_path / "run"
    with endpoints.running() as endpoint:
        options = {"openai/gpt-test": ModelOptions(base_url=endpoint.base_url, max_retries=0)}
        refused = {"status": 400, "json": {"error": {"message": f"bad key {KEY} in the request"}}}
        endpoint.answer(refused, then={"text": "Answer: A"})
        oversight.run(
            "debate(rounds=1)",
            tiny.Sums(),
            limit=2,
            log_dir=folder,
            debater="openai/gpt-test",
            judge="openai/gpt-test",
            options=options,
        )
        sent = [request["headers"].get("authorization") for request in endpoint.requests()]
    assert set(sent) == {f"Bearer {KEY}"}  # the key was in use
    assert "unscored" in {record["status"] for record in read_episodes(folder)}  # and echoed
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"run.json", "episodes.jsonl", "questions.jsonl", "journal.sqlite"}
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path.name


# ---- folders of trainings -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["train", "weak_to_strong", "--data", "my words.csv"], "oversight train weak_to_strong --data 'my words.csv'"),
        (["train", "amplification", "--log-dir", "here"], "oversight train amplification --log-dir here"),
        ([], "was made by a Python program"),
    ],
)
@pytest.mark.parametrize(
    "words", [["show"], ["show", "abc"], ["show", "--json"], ["gap"], ["export"], ["judge"], ["compare"], ["rerun"]]
)
def test_a_folder_of_a_training_says_what_it_is_and_which_command_goes_on(tmp_path, capsys, command, said, words):
    """Whatever is asked of it that is asked of runs: one line, and nothing is made."""
    from oversight.cli import main
    from oversight.training.folder import TrainingFolder

    folder = tmp_path / "trained"
    with TrainingFolder(folder, {"training": "something"}, {}, command):
        pass
    before = contents(folder)
    more = ["--log-dir", str(tmp_path / "other")] if words == ["rerun"] else []
    assert main([words[0], str(folder), *words[1:], *more]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"oversight: error: {folder}: holds a training, not a run")
    assert printed.count("\n") == 1
    assert said in printed
    assert printed.count("--log-dir") == bool(command)
    assert contents(folder) == before
    assert [one.name for one in tmp_path.iterdir()] == ["trained"]
