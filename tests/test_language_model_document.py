"""Every command of docs/language_models.md is carried out, with scripts in the place of models."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "language_models.md").read_text(encoding="utf-8")
LINES = [
    line.partition("  #")[0] for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()
]
COMMANDS = [line for line in LINES if line.startswith("oversight ")]


def oversight(*words, cwd=ROOT):
    done = subprocess.run(
        [sys.executable, "-m", "oversight.cli", *words], cwd=cwd, capture_output=True, text=True, timeout=300
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
def a_run(data, tmp_path_factory):
    """A tournament of scripts, for the commands that need one."""
    folder = tmp_path_factory.mktemp("run") / "logs"
    oversight(
        *("tournament", "passage", "--data", str(data / "nyu-debate-2023/pub"), "--limit", "2"),
        *("--debaters", "scripted/quoter", "--judges", "scripted/longest", "--log-dir", str(folder)),
        *("--protocols", "debate(rounds=1,positions=open)"),
    )
    return folder


def test_there_are_commands():
    assert len(COMMANDS) >= 10
    assert all(line.startswith(("oversight ", "transformers serve", "--judge ")) for line in LINES if line)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_carried_out(command, data, a_run, tmp_path):
    words, solutions = shlex.split(command)[1:], data / "grade-school-math/example_model_solutions.jsonl"
    replaced = []
    for place, word in enumerate(words):
        before = words[place - 1]
        if re.match(r"(openai|hf|vllm)/", word):
            word = "scripted/quoter" if before in ("--debater", "--debaters") else "scripted/longest"
        if before == "--agents":
            word = "scripted/quoter,scripted/longest"
        word = {"nyu-debate-2023/pub": str(data / "nyu-debate-2023/pub"), "LOGDIR": str(a_run)}.get(word, word)
        word = {"example_model_solutions.jsonl": str(solutions), "logs/nyu": str(tmp_path / "nyu")}.get(word, word)
        replaced.append(str(tmp_path / "prompts") if word == "my_prompts" else word)
    if "--prompts" in replaced:
        oversight("prompts", "debate", str(tmp_path / "prompts"))
    if replaced[0] in ("run", "tournament", "rejudge"):
        replaced = [*replaced, "--limit", "2", "--log-dir", str(tmp_path / "logs")]
    assert oversight(*replaced, cwd=ROOT)
