"""Every command of docs/decomposition.md is carried out; people's items are prepared, and nobody is asked."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from oversight.runs.directory import read_episodes

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "decomposition.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("oversight run")
]

CRITIC = """
from oversight.agents import ScriptedAgent


class Critic(ScriptedAgent):
    def __init__(self):
        equal = lambda view: {one.label: 1 / len(view.answers) for one in view.answers}
        super().__init__("critic", lambda view: "Smaller steps.", equal)
"""


def oversight(words, folder):
    command = [sys.executable, "-m", "oversight.cli", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{shlex.join(words)}: {done.stderr}"
    return done.stdout


def test_there_are_commands():
    assert len(COMMANDS) == 5


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_carried_out(command, tmp_path):
    (tmp_path / "mine.py").write_text(CRITIC, encoding="utf-8")
    given = command.replace("--critic MODEL", "--critic mine.py:Critic").replace("MODEL", "bounded/1000")
    words = re.sub(r"--limit [0-9]+", "", given)
    people = ["--prepare-only"] if "human" in words else []
    oversight([*shlex.split(words)[1:], "--limit", "2", "--log-dir", "run", *people], tmp_path)
    records = list(read_episodes(tmp_path / "run"))
    assert not records if people else all(record["status"] == "scored" for record in records)
    if not people:
        assert "├──" in oversight(["show", "run", records[-1]["id"]], tmp_path)


def test_the_python_runs():
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == "Q?\n", done.stderr


def test_the_measured_accuracies_are_those_of_the_exact_agents(tmp_path):
    """The rows that follow without chance: alone, even odds beyond one operation; checked step by step, right."""
    found = {}
    for protocol, more in (("direct", []), ("factored_verification", ["--debater", "bounded/1000"])):
        words = ["run", protocol, "--arena", "arithmetic(depth=4,least_depth=1)", "--judge", "bounded/1", *more]
        oversight([*words, "--limit", "8", "--log-dir", protocol], tmp_path)
        credits = {}
        for record in read_episodes(tmp_path / protocol):
            credits.setdefault(record["group"], []).append(record["credit"])
        found[protocol] = [f"{sum(one) / len(one):.0%}".replace("%", " %") for _, one in sorted(credits.items())]
    for row, shares in (
        ("`direct` (alone)", found["direct"]),
        ("`factored_verification`", found["factored_verification"]),
    ):
        assert f"| {row} | {' | '.join(shares)} |" in TEXT
