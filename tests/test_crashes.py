"""Runs that are killed at random moments, with a real endpoint that tells what it served."""

import importlib.util
import json
import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

from oversight.runs.directory import read_episodes, read_lines

HERE = Path(__file__).parent


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


running = _load("endpoint").running

KILLS = 100
DEBATES = 24
SLOW = {"digest": True, "delay": 0.01}

# A process that has imported everything, and forks one that plays: a start costs milliseconds, so many fit in a test.
FORKS = """
import os, signal, sys, time
import openai, aiohttp, langgraph.graph
import oversight
from oversight.models.openai_compatible import ModelOptions
sys.path.insert(0, {tests!r})
import tiny

def play():
    options = {{"vllm/fake": ModelOptions(base_url={base_url!r})}}
    oversight.run("debate(rounds=2)", tiny.Sums(count={debates}), debater="vllm/fake", judge="vllm/fake", swap=False,
                  options=options, connections={connections}, log_dir={folder!r}, journal={journal!r})

print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            play()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    end = time.monotonic() + float(line)
    status = 0
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.0005)
    else:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@contextmanager
def forks(base_url, folder, connections=4, journal=None):
    """A function that plays for so many seconds at most; its result is the exit code, -9 where it was killed."""
    words = {
        "tests": str(HERE),
        "base_url": base_url,
        "folder": str(folder),
        "debates": DEBATES,
        "connections": connections,
        "journal": journal,
    }
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FORKS.format(**words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"

            def play(seconds):
                process.stdin.write(f"{seconds}\n")
                process.stdin.flush()
                return int(process.stdout.readline())

            yield play
        finally:
            process.kill()


def stored(folder):
    """The replies in the journal, each of which names the prompt that it is a reply to."""
    if not (folder / "journal.sqlite").exists():
        return set()
    with closing(sqlite3.connect(folder / "journal.sqlite")) as journal:
        try:
            values = [json.loads(value) for (value,) in journal.execute("SELECT value FROM calls")]
        except sqlite3.OperationalError:  # killed before its table was made
            return set()
    return {value["completion"]["text"].split()[0] for value in values}


def plain(folder):
    """Everything in the records but times."""
    records = {record["id"]: record for record in read_episodes(folder)}
    for record in records.values():
        del record["seconds"], record["finished"]
    return records


def play_and_kill(tmp_path, endpoint, most, longest, longer, shorter, stored_in=stored, journal=None):
    """Play as many runs as so many kills at random moments fit into, each to its end, and look what each kill cost.

    A start lives ``longest`` seconds at most, which grows where it stored nothing, and shrinks where it did: so some
    starts come far, and most are killed.  Gives the run directories.
    """
    draw, kills, folders = random.Random(5), 0, []
    endpoint.answer(then=SLOW)
    with forks(endpoint.base_url, tmp_path / "whole") as play:
        assert play(300) == 0
    whole, expected = plain(tmp_path / "whole"), stored(tmp_path / "whole")
    assert len(whole) == DEBATES
    while kills < most:  # how many runs that takes is the machine's
        folder, known, heard, ended = tmp_path / f"killed-{len(folders)}", set(), 0, -9
        folders.append(folder)
        endpoint.answer(then=SLOW)
        with forks(endpoint.base_url, folder, journal=journal) as play:
            while ended != 0:
                ended = play(draw.uniform(0, longest) if kills < most else 300)
                assert ended in (0, -9)
                kills += ended == -9
                asked = [request["digest"] for request in endpoint.requests()]
                this_time, heard = asked[heard:], len(asked)
                # What was stored is not asked for again; what was in flight at the kill is, once in a start.
                assert not known & set(this_time)
                assert len(this_time) == len(set(this_time))
                before, known = known, stored_in(folder)
                assert before <= known
                longest = min(longest * longer, 20.0) if known == before else longest * shorter
        assert set(asked) == known == expected
        lines = [line["id"] for line in read_lines(folder / "episodes.jsonl")]
        assert len(lines) == len(set(lines))
        assert plain(folder) == whole
    return folders


def test_runs_killed_at_a_hundred_random_moments_lose_nothing_and_pay_once(tmp_path):
    with running() as endpoint:
        assert play_and_kill(tmp_path, endpoint, KILLS, longest=0.1, longer=1.1, shorter=0.8)
