"""Every command of docs/proof_protocols.md is carried out, on two questions."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from oversight.runs.directory import read_episodes

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "proof_protocols.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines() if line]


def test_there_are_commands():
    assert len(COMMANDS) >= 4
    assert all(line.startswith("oversight run ") for line in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_runs(command, tmp_path):
    words = shlex.split(re.sub(r"--limit [0-9]+", "--limit 2", command))[1:]
    done = subprocess.run(
        [sys.executable, "-m", "oversight.cli", *words, "--log-dir", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert {record["status"] for record in read_episodes(tmp_path / "run")} == {"scored"}
