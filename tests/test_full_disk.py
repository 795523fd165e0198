"""Whole runs on a disk that fills up, at whatever file it happens: a small file system in memory of their own.

It is mounted in a name space of users and mounts, which takes no rights; where a system forbids that, nothing is tried.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


endpoints = _load("endpoint")

DEBATES = 16
ALONE = ("unshare", "--user", "--map-root-user", "--mount")

# For each size a disk of its own: the run as far as it goes, then room is made, and the same command is given again.
STARTS = """
import json, os, sqlite3, subprocess, sys
sys.path.insert(0, {tests!r})
import aiohttp, langgraph.graph, openai
from oversight.cli import main
from endpoint import Endpoint

command, disk, sizes, port = json.loads(sys.argv[1])
folder, endpoint = os.path.join(disk, "run"), Endpoint(port)

def start():
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 1), os.dup2(writing, 2)
        status = 99
        try:
            status = main(command + ["--log-dir", folder])
        finally:
            sys.stdout.flush(), sys.stderr.flush(), os._exit(status)
    os.close(writing)
    with open(reading) as file:
        said = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said

def lines():
    try:
        with open(os.path.join(folder, "episodes.jsonl")) as file:
            return [line for line in file if line.endswith("\\n")]
    except FileNotFoundError:
        return []

def stored():
    journal = sqlite3.connect(os.path.join(folder, "journal.sqlite"))
    try:
        return [json.loads(value)["completion"]["text"].split()[0] for (value,) in journal.execute(
            "SELECT value FROM calls")]
    except sqlite3.OperationalError:  # full before its table was made
        return []
    finally:
        journal.close()

for size in sizes:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={{size}}k", "tmpfs", disk], check=True)
    endpoint.answer(then={{"digest": True}})
    found = {{"size": size, "first": start(), "free": os.statvfs(disk).f_bavail}}
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    found["stored"], found["lines"] = stored(), lines()
    endpoint.answer(then={{"digest": True}})
    found["second"] = start()
    found["asked"] = [request["digest"] for request in endpoint.requests()]
    found["all stored"], found["all lines"] = stored(), lines()
    print(json.dumps(found), flush=True)
    subprocess.run(["umount", disk], check=True)
"""


@pytest.fixture(scope="module")
def endpoint():
    with endpoints.running() as running:
        yield running


def played(endpoint, tmp_path, judge, sizes):
    """What came of a run of debates on a disk of each size, in kilobytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if shutil.which("unshare") is None:
        pytest.skip("this system has no unshare")
    tried = subprocess.run([*ALONE, "mount", "-t", "tmpfs", "tmpfs", disk], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"this system mounts nothing for us: {tried.stderr.strip()}")
    command = ["run", "debate(rounds=2)", "--arena", f"{HERE / 'tiny.py'}:Sums", "--debater", "vllm/fake"]
    command += ["--judge", judge, "--limit", str(DEBATES), "--no-swap", "--max-connections", "4"]
    command += ["--base-url", endpoint.base_url, *(["--prepare-only"] if judge == "human" else [])]
    asked = json.dumps([command, str(disk), sizes, int(endpoint.address.rpartition(":")[2])])
    words = [*ALONE, sys.executable, "-W", "ignore", "-c", STARTS.format(tests=str(HERE)), asked]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["size"] for one in found] == sizes
    return found


def check(found, file):
    """What must hold wherever the disk was full; ``file`` is what could not be written."""
    status, said = found["first"]
    assert found["free"] == 0
    assert status == 2, said
    assert "Traceback" not in said
    *_, last = said.splitlines()
    assert re.match(rf"oversight: error: \S*{file}: cannot be (written|used)", last), last
    assert "full" in last or "No space left" in last
    assert said.count("oversight: error") == 1
    status, said = found["second"]
    assert status == 0, said
    # What the first start has stored is there, as it was, and is not asked for again.
    assert set(found["stored"]) <= set(found["all stored"])
    assert not set(found["stored"]) & set(found["asked"])
    assert len(found["asked"]) == len(set(found["asked"]))
    assert set(found["stored"]) | set(found["asked"]) == set(found["all stored"])
    assert found["all lines"][: len(found["lines"])] == found["lines"]


def test_a_run_on_a_disk_that_fills_up_loses_nothing(endpoint, tmp_path):
    """One line says so; with room again, the same command plays what is missing and asks for nothing twice."""
    sizes = [4, 16, 76, 160, 220, 300]
    records, half = [], 0
    for found in played(endpoint, tmp_path, "vllm/fake", sizes):
        check(found, r"(run|journal\.sqlite|episodes\.jsonl|questions\.jsonl)")
        ids = [json.loads(line)["id"] for line in found["all lines"]]
        assert len(ids) == len(set(ids)) == DEBATES
        records.append(
            sorted((record["id"], record["probabilities"]) for record in map(json.loads, found["all lines"]))
        )
        half += 0 < len(found["stored"]) < len(found["all stored"]) and len(found["lines"]) > 0
    assert all(one == records[0] for one in records)
    assert half  # it was full in the middle: some calls were stored, and some episodes were finished


def test_checkpoints_on_a_disk_that_fills_up_lose_nothing(endpoint, tmp_path):
    """The same where episodes wait for a person, who is asked nothing here: all come to wait in the second start."""
    several = set()
    for found in played(endpoint, tmp_path, "human", [180, 240, 600]):
        check(found, r"(journal|people|checkpoints)\.sqlite")
        several.add(re.search(r"(\w+)\.sqlite: cannot", found["first"][1])[1])
        assert f"{DEBATES} of {DEBATES} items wait" in found["second"][1]
    assert {"people", "checkpoints"} <= several
