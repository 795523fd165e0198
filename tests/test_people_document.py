"""Every command of docs/people.md is carried out; who sits at the terminal reads from a pipe."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from oversight.runs.directory import read_episodes

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "people.md").read_text(encoding="utf-8")
COMMANDS = [
    line.partition("  #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
    if line
]


def oversight(words, cwd, typed=""):
    done = subprocess.run(
        [sys.executable, "-m", "oversight.cli", *words],
        cwd=cwd,
        input=typed,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, f"{shlex.join(words)}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def data():
    folder = os.environ.get("OVERSIGHT_TEST_DATA")
    if not folder:
        pytest.skip("OVERSIGHT_TEST_DATA does not name a folder with the corpora")
    return Path(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the commands are given, one after another, with a run of machines in it."""
    made = tmp_path_factory.mktemp("people")
    machines = ["run", "debate", "--arena", "connect_four", "--debater", "mcts/4", "--judge", "mcts/8", "--limit", "2"]
    oversight([*machines, "--log-dir", "machines"], made)
    return made


def test_there_are_commands():
    assert len(COMMANDS) >= 10
    assert all(line.startswith("oversight ") for line in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_carried_out(command, data, folder):
    words = shlex.split(command)[1:]
    words = [{"nyu-debate-2023/pub": str(data / words[2]), "LOGDIR": "machines"}.get(word, word) for word in words]
    # A credence after each turn, verdicts that are kept, and the end of what is typed, which stops.
    printed = oversight(words, folder, "70\n" * 9 + "\n" * 4)
    assert printed
    if "--log-dir" in words and "--judge" in words:
        (folder / words[words.index("--log-dir") + 1]).stat()
    if "--status" in words:
        assert "human/bob" in printed
    if "--release" in words:
        assert "free again" in printed
    if "cascade" in command:
        assert "calibration" in printed


def test_the_python_runs(folder):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    command = [sys.executable, "-c", code.replace("limit=12", "limit=2")]
    done = subprocess.run(command, cwd=folder, input="60\n\n", capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(list(read_episodes(folder / "logs" / "python"))) == 1


def test_what_was_typed_became_a_verdict(data, folder):
    """The last of the tests, on what the commands before it have left."""
    records = [record for name in ("ada", "two") for record in read_episodes(folder / "logs" / name)]
    assert records
    assert all(record["turns"][-1]["elicitation"] == "person" for record in records)
