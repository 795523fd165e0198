"""The commands of docs/past_one_process.md about the journal are carried out, on a server of the tests' own."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "past_one_process.md").read_text(encoding="utf-8")
(SECTION,) = re.findall(r"^## The journal in PostgreSQL\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL) for line in block.splitlines()]

_specification = importlib.util.spec_from_file_location(
    "oversight_test_postgresql_document", Path(__file__).with_name("postgresql.py")
)
postgresql = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(postgresql)
postgresql_server = postgresql.postgresql_server


def test_the_commands_make_a_database_and_keep_a_journal_in_it(tmp_path, postgresql_server):
    install, prepare, password, run = COMMANDS
    assert install == "sudo apt-get install -y postgresql"
    *psql, one, first, two, second = shlex.split(prepare)
    assert (psql, one, two) == (["sudo", "-u", "postgres", "psql"], "-c", "-c")
    for statement in (first, second):
        postgresql_server.execute(statement)
    name, _, value = password.removeprefix("export ").partition("=")
    assert f"'{value}'" in first
    words = shlex.split(run.replace("localhost:5432", f"127.0.0.1:{postgresql_server.port}"))
    assert words[0] == "oversight"
    words[words.index("--limit") + 1] = "1"
    done = subprocess.run(
        [sys.executable, "-m", "oversight.cli", *words[1:]],
        cwd=tmp_path,
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    kept = json.loads((tmp_path / "logs" / "mine" / "journal.json").read_text())
    assert not (tmp_path / "logs" / "mine" / "journal.sqlite").exists()
    url = postgresql_server.url("oversight", value).replace("tester", "oversight")
    ((count,),) = postgresql_server.execute(f"SELECT COUNT(*) FROM oversight_calls WHERE run = '{kept['run']}'", url)
    assert count > 0
    (code,) = re.findall(r"```sql\n(.*?)```", SECTION, re.DOTALL)
    postgresql_server.execute(code.replace("ID", kept["run"]), url)
    for table in ("calls", "starts", "promises"):
        assert postgresql_server.execute(f"SELECT COUNT(*) FROM oversight_{table}", url) == [(0,)]
