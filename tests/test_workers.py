"""Episodes played by worker processes: the results of one process, whatever happens to the workers or to the run."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import random
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import cloudpickle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import oversight
from oversight.errors import ConfigurationError, UnknownName, WorkersLost
from oversight.models.openai_compatible import ModelOptions
from oversight.registry import find_agent, find_protocol
from oversight.runs import plan_run, plan_tournament
from oversight.runs.allowance import Allowance
from oversight.runs.calls import Budget
from oversight.runs.directory import read_episodes
from oversight.runs.executor import Gone, Link, Pool, WorkerOptions
from oversight.runs.job import Job, Numbering, from_bytes, pack, to_bytes, unpack
from oversight.runs.journal_address import JournalAddress
from oversight.runs.progress import Progress

HERE = Path(__file__).parent
TINY = HERE / "tiny.py"


def _load(name):
    # Under a name that no other test gives: what a class's source is depends on it.
    specification = importlib.util.spec_from_file_location(f"oversight_test_workers_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


endpoints, tiny = _load("endpoint"), _load("tiny")
# A worker cannot import this file, whose name depends on how the tests are run.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def endpoint():
    with endpoints.running() as running:
        yield running


def timeless(record):
    """A record without what the clock says."""
    return {name: value for name, value in record.items() if name not in ("seconds", "finished")}


def records(folder):
    """Finished episodes by id, without what the clock says."""
    return {record["id"]: timeless(record) for record in read_episodes(folder)}


def debates(endpoint, folder, count=12, **changes):
    """Debates of a model at the endpoint with itself, two seatings a question."""
    options = {"vllm/fake": ModelOptions(base_url=endpoint.base_url)}
    given = {"debater": "vllm/fake", "judge": "vllm/fake", "options": options, "log_dir": folder, **changes}
    return oversight.run("debate(rounds=2)", tiny.Sums(count=count), **given)


def asked(endpoint):
    """How often each prompt was sent."""
    return Counter(request["digest"] for request in endpoint.requests())


def keys(folder):
    """What the stored calls are found by."""
    with closing(sqlite3.connect(folder / "journal.sqlite")) as connection:
        return sorted(key for (key,) in connection.execute("SELECT key FROM calls"))


@pytest.fixture(scope="module")
def whole(endpoint, tmp_path_factory):
    """The debates as one process plays them: their records, and what was asked."""
    folder = tmp_path_factory.mktemp("whole")
    endpoint.answer(then={"digest": True})
    result = debates(endpoint, folder / "run")
    return records(folder / "run"), asked(endpoint), result.spending()


# ---- the same results -------------------------------------------------------------------------------


class Watching(Progress):
    """Keeps what it was told."""

    def __init__(self):
        self.notes, self.told = [], []

    def note(self, message):
        self.notes.append(message)

    def finished(self, record, spent, usage, unknown):
        self.told.append((spent, usage.input_tokens, usage.output_tokens, unknown))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_plays_what_one_process_plays(endpoint, whole, tmp_path, workers):
    """The same records, each prompt sent once, and one account of what it cost."""
    endpoint.answer(then={"digest": True})
    progress = Watching()
    result = debates(endpoint, tmp_path / "run", workers=workers, progress=progress)
    assert records(tmp_path / "run") == whole[0]
    assert asked(endpoint) == whole[1]
    ((*lines,),), ((*expected,),) = result.spending(), whole[2]
    counts = ("calls", "failed", "input_tokens", "output_tokens", "dollars", "unknown", "characters")
    for line, one in zip(
        sorted(lines, key=lambda one: one.role), sorted(expected, key=lambda one: one.role), strict=True
    ):
        assert [getattr(line, name) for name in counts] == [getattr(one, name) for name in counts]
    calls = sum(line.calls for line in lines)
    assert progress.told[-1] == (0.0, 10 * calls, 5 * calls, 0)
    assert len(progress.told) == len(whole[0])
    assert {line.role: line.calls for line in progress.spending.lines} == {line.role: line.calls for line in lines}


@pytest.mark.parametrize(
    ("arena", "agents", "capability"),
    [("arithmetic(depth=2)", ["bounded/1", "bounded/3"], "episodes"), ("connect_four", ["mcts/1", "mcts/2"], "games")],
)
def test_engines_are_measured_and_play_as_in_one_process(tmp_path, arena, agents, capability):
    """Those that compute in the worker, and those that have processes of their own."""
    for workers in (None, 2):
        oversight.tournament(
            arena,
            agents=agents,
            protocols=["direct", "debate(rounds=1)"],
            limit=2,
            log_dir=tmp_path / str(workers),
            workers=workers,
        )
    assert records(tmp_path / "2") == records(tmp_path / "None")
    purposes = {record["purpose"] for record in read_episodes(tmp_path / "2")}
    assert purposes == {"comparison", *(["capability"] if capability == "episodes" else [])}
    one, two = ((tmp_path / name / "capability.json").read_bytes() for name in ("None", "2"))
    assert one == two


def test_inside_a_running_loop(endpoint, whole, tmp_path):
    """As in a notebook."""
    endpoint.answer(then={"digest": True})

    async def notebook():
        debates(endpoint, tmp_path / "run", workers=1)

    asyncio.run(notebook())
    assert records(tmp_path / "run") == whole[0]


def test_an_adaptive_schedule_decides_the_same(tmp_path):
    given = {
        "debaters": [tiny.Thinker(), tiny.Second()],
        "judges": [tiny.Third()],
        "protocols": ["consultancy(rounds=1)", "debate(rounds=1)"],
        "schedule": "adaptive",
        "batch": 16,
        "limit": 8,
    }
    for workers in (None, 2):
        oversight.tournament(tiny.Sums(), **given, log_dir=tmp_path / str(workers), workers=workers)
    assert records(tmp_path / "2") == records(tmp_path / "None")
    one, two = ((tmp_path / name / "schedule.json").read_bytes() for name in ("None", "2"))
    assert one == two
    assert len(json.loads(one)["looks"]) > 1


def test_recordings_are_judged_as_in_one_process(tmp_path):
    oversight.run(
        "debate(rounds=2)",
        tiny.Sums(),
        limit=4,
        debater=tiny.Thinker(),
        judge=tiny.Second(),
        log_dir=tmp_path / "debates",
    )
    for workers in (None, 2):
        oversight.rejudge(
            tmp_path / "debates",
            tiny.Third(),
            arena=f"{TINY}:Sums",
            stepped=True,
            both_orders=True,
            log_dir=tmp_path / str(workers),
            workers=workers,
        )
    assert records(tmp_path / "2") == records(tmp_path / "None")
    assert len(records(tmp_path / "2")) == 16


OWN = """
import sys
from oversight.agents import Agent
from oversight.protocol import Debater, Graph, Judge, Protocol
from oversight.questions import Arena, Question
from oversight.requests import Choice, Speech
import helping, oversight

class Riddles(Arena):
    name = "riddles"
    def questions(self, limit, seed):
        return [Question(f"r{n}", f"Riddle {n}?", ("yes", "no"), n % 2, f"r{n}") for n in range(4)]

class Talk(Protocol):
    name = "own_talk"
    rounds: int = 2
    speaker = Debater()
    judge = Judge()
    def graph(self, answers):
        speech = self.speaker.argues()
        for _ in range(self.rounds - 1):
            speech = speech >> self.speaker.argues()
        return speech >> self.judge.decides()

class Talker(Agent):
    def __init__(self):
        super().__init__("talker")
    async def speak(self, request):
        return Speech(helping.said(request.view.question))
    async def choose(self, request):
        return Choice({"A": 0.7, "B": 0.3}, "script")

for workers in (None, 2):
    oversight.run(Talk(rounds=3), Riddles(), speaker=Talker(), judge=Talker(), log_dir=f"{workers}", workers=workers)
"""


def test_classes_of_a_script_without_a_guard_and_of_files(tmp_path):
    """A script is not run again by its workers, and what it and files define arrives with the name that it has."""
    (tmp_path / "script.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "helping.py").write_text("def said(question):\n    return f'It is {question}'\n", encoding="utf-8")
    subprocess.run([sys.executable, tmp_path / "script.py"], cwd=tmp_path, check=True, timeout=120)
    assert records(tmp_path / "2") == records(tmp_path / "None")
    assert len(records(tmp_path / "2")) == 8
    assert keys(tmp_path / "2") == keys(tmp_path / "None")
    protocol = find_protocol(f"{TINY}:Talk", times=2)
    speaker = find_agent(f"{TINY}:Thinker")
    for workers in (None, 2):
        oversight.run(
            protocol,
            f"{TINY}:Sums",
            limit=3,
            speaker=speaker,
            judge=f"{TINY}:Second",
            log_dir=tmp_path / f"files {workers}",
            workers=workers,
        )
    assert records(tmp_path / "files 2") == records(tmp_path / "files None")


# ---- what goes wrong --------------------------------------------------------------------------------


class Broken(tiny.Thinker):
    """Raises what it is told at its third speech."""

    def __init__(self, *error):
        super().__init__()
        self.error, self.left = error, 2

    async def speak(self, request):
        self.left -= 1
        if self.left < 0:
            kind, *values = self.error
            raise kind(*values)
        return await super().speak(request)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        ((ConfigurationError, "the settings are wrong"), ConfigurationError, "the settings are wrong"),
        ((UnknownName, "voice", "basz", ["bass"]), UnknownName, "did you mean 'bass'"),
        ((KeyError, "lost"), RuntimeError, "KeyError in a worker: 'lost'"),
    ],
)
def test_an_error_in_a_worker_is_the_runs(tmp_path, error, kind, said):
    with pytest.raises(kind, match=said) as caught:
        oversight.run(
            "debate(rounds=1)",
            tiny.Sums(),
            limit=4,
            debater=Broken(*error),
            judge=tiny.Second(),
            log_dir=tmp_path / "run",
            workers=1,
        )
    assert "\n" not in str(caught.value)
    if kind is RuntimeError:
        assert "in speak" in "".join(caught.value.__notes__)


def test_turns_that_fail_are_unscored_and_retried(tmp_path, monkeypatch):
    given = {"limit": 3, "debater": tiny.Failing(), "judge": tiny.Second(), "log_dir": tmp_path / "run", "workers": 2}
    oversight.run("debate(rounds=1)", tiny.Sums(), **given)
    assert {record["status"] for record in read_episodes(tmp_path / "run")} == {"unscored"}
    monkeypatch.setenv("OVERSIGHT_TEST_MENDED", "1")
    oversight.run("debate(rounds=1)", tiny.Sums(), **given, retry_failed=True)
    assert {record["status"] for record in read_episodes(tmp_path / "run")} == {"scored"}


def test_an_episode_that_takes_too_long_is_unscored(tmp_path, monkeypatch):
    given = {"limit": 2, "debater": tiny.Thinker(), "judge": tiny.Second(), "log_dir": tmp_path / "run"}
    monkeypatch.setenv("OVERSIGHT_TEST_DELAY", "1")
    oversight.run("debate(rounds=1)", tiny.Sums(), **given, workers=1, episode_timeout=0.2)
    assert {record["status"] for record in read_episodes(tmp_path / "run")} == {"unscored"}
    assert all("not finished within 0.2 s" in record["reason"] for record in read_episodes(tmp_path / "run"))


class Deadly(tiny.Thinker):
    """Takes its process with it where a question ends in 5."""

    async def speak(self, request):
        if " 5 " in request.view.question:
            await asyncio.sleep(0.5)  # until the others are done
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().speak(request)


def test_workers_that_die_again_and_again_stop_the_run(tmp_path):
    """One line, and everything else is kept."""
    progress = Watching()
    with pytest.raises(
        WorkersLost, match=r"3 worker processes died with no episode finished between .*SIGKILL"
    ) as caught:
        oversight.run(
            "debate(rounds=1)",
            tiny.Sums(),
            limit=6,
            debater=Deadly(),
            judge=tiny.Second(),
            log_dir=tmp_path / "run",
            workers=1,
            progress=progress,
        )
    assert "\n" not in str(caught.value)
    assert len(records(tmp_path / "run")) == 10
    assert next(note for note in progress.notes if "died" in note).startswith("a worker process died (by SIGKILL)")


@pytest.mark.parametrize(
    ("cast", "changes", "said"),
    [
        ({"judge": "human"}, {"workers": 2}, "--workers 2: human is asked at this terminal"),
        ({"judge": "scripted/first"}, {"workers": 0}, "--workers 0: give 1 or more"),
        ({"judge": "scripted/first"}, {"executor": "dask"}, "unknown executor 'dask'"),
        ({"judge": "scripted/first"}, {"executor": "ray"}, "--executor ray: .* give --journal postgresql://"),
        ({"judge": "cascade(scripted/first,scripted/echo)"}, {"workers": 2}, "is calibrated on what has come out"),
    ],
)
def test_what_workers_cannot_play_is_refused(tmp_path, cast, changes, said):
    with pytest.raises(ConfigurationError, match=said):
        oversight.run("direct", tiny.Sums(), **cast, log_dir=tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_local_models_are_refused(tmp_path):
    """Each worker would load them."""
    local = find_agent("vllm/any")
    local.model.computes_here = True
    plan = plan_run("direct", tiny.Sums(), {"judge": local}, limit=1)
    with pytest.raises(ConfigurationError, match="would be loaded by every worker"):
        WorkerOptions(2).require(plan, None)
    from oversight.models.local import LocalModel

    assert LocalModel.computes_here


def test_what_cannot_be_copied_is_said(tmp_path):
    """A lock, say, that an agent makes at once."""
    agent = tiny.Thinker()
    agent.lock = threading.Lock()
    with pytest.raises(ConfigurationError, match=r"cannot be copied to another process: .*lock"):
        oversight.run("direct", tiny.Sums(), judge=agent, log_dir=tmp_path / "run", workers=2)


def test_what_a_worker_cannot_import_is_said(tmp_path):
    """As on another machine, where a module that a user's file imports is not there, or another version is."""
    (tmp_path / "only_here.py").write_text("class Value:\n    pass\n", encoding="utf-8")
    sys.path.append(str(tmp_path))
    try:
        agent = tiny.Thinker()
        agent.value = importlib.import_module("only_here").Value()
        plan = plan_run("direct", tiny.Sums(), {"judge": agent}, limit=1)
        version, *_, copied = from_bytes(pack(Job(plan, JournalAddress(tmp_path / "journal.sqlite"), "")))
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("only_here", None)
    with pytest.raises(ConfigurationError, match=r"cannot import what an agent, .* No module named 'only_here'"):
        unpack(to_bytes((version, {}, [], {}, copied)))
    with pytest.raises(ConfigurationError, match=r"a worker has scalable-oversight .*, and the run is of 0\.0"):
        unpack(to_bytes(("0.0", {}, [], {}, copied)))


# ---- processes that are killed ----------------------------------------------------------------------

COMMAND = """
import importlib.util, sys
import oversight
from oversight.errors import OversightError
from oversight.models.openai_compatible import ModelOptions
from oversight.runs.progress import Progress

specification = importlib.util.spec_from_file_location("oversight_test_workers_tiny", {tiny!r})
tiny = importlib.util.module_from_spec(specification)
specification.loader.exec_module(tiny)

class Says(Progress):
    def note(self, message):
        print(message, file=sys.stderr, flush=True)

options = {{"vllm/fake": ModelOptions(base_url={base_url!r}, price={price})}}
try:
    oversight.run("debate(rounds=2)", tiny.Sums(count={count}), debater="vllm/fake", judge="vllm/fake", options=options,
                  log_dir={folder!r}, workers={workers}, connections={connections}, progress=Says(),
                  cost_limit={cost_limit})
except OversightError as error:
    print(type(error).__name__, error, file=sys.stderr, flush=True)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)
"""


def started(endpoint, folder, *, workers=2, count=12, connections=None, price=None, cost_limit=None):
    """The debates in a process of their own, whose standard error is kept."""
    code = COMMAND.format(
        tiny=str(TINY),
        base_url=endpoint.base_url,
        count=count,
        folder=str(folder),
        workers=workers,
        connections=connections,
        price=price,
        cost_limit=cost_limit,
    )
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, start_new_session=True)


def children(parent):
    """The worker processes of a process, by their ids."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                status = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            if int(status[1]) == parent and b"worker_processes" in command and status[0] != "Z":
                found.append(int(entry.name))
    return found


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition, seconds=60.0):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


def lines(folder):
    path = folder / "episodes.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def test_killed_workers_lose_nothing(endpoint, whole, tmp_path):
    """Killed at random, several times: the records of one process, and nothing that was stored is asked for again."""
    endpoint.answer(then={"digest": True, "delay": 0.1})
    draw, killed = random.Random(5), 0
    with started(endpoint, tmp_path / "run", workers=2, connections=6) as process:
        while process.poll() is None:
            before = len(endpoint.requests())
            until(
                lambda before=before: (
                    len(endpoint.requests()) > before + draw.randint(2, 12) or process.poll() is not None
                )
            )
            running = children(process.pid)
            if killed < 4 and running:
                os.kill(draw.choice(running), signal.SIGKILL)
                killed += 1
        said = process.stderr.read()
    assert process.returncode == 0, said
    assert killed >= 3
    assert records(tmp_path / "run") == whole[0]
    times = asked(endpoint)
    assert set(times) == set(whole[1])
    # Only what was in flight at a kill is asked for again, three calls a worker, and as many that were not stored yet.
    assert sum(times.values()) - sum(whole[1].values()) <= (3 + 3) * killed
    assert said.count("a worker process died (by SIGKILL)") == 1
    assert f"{killed} worker processes died in all" in said


def test_a_killed_coordinator_is_resumed_while_its_workers_end(endpoint, whole, tmp_path):
    """They store what they are paid for; the same command goes on meanwhile, with the same results."""
    quick, slow = {"digest": True, "delay": 0.02}, {"digest": True, "delay": 8.0}
    endpoint.answer(*[quick] * 12, *[slow] * 6, then=quick)
    with started(endpoint, tmp_path / "run", workers=2, connections=6) as process:
        until(lambda: len(endpoint.requests()) >= 18)
        workers = children(process.pid)
        assert len(workers) == 2
        process.kill()
    with started(endpoint, tmp_path / "run", workers=2, connections=6) as process:
        said = process.stderr.read()
    assert process.returncode == 0, said
    until(lambda: not any(map(alive, workers)))
    assert records(tmp_path / "run") == whole[0]
    assert "waiting for 2 workers of an earlier start to store what they have paid for" in said
    assert asked(endpoint) == whole[1]  # so nothing was asked for twice


def test_workers_of_a_killed_coordinator_store_and_stop(endpoint, tmp_path):
    """Nothing is begun after it, and every call that was begun is in the journal."""
    endpoint.answer(then={"digest": True, "delay": 0.5})
    with started(endpoint, tmp_path / "run", workers=2, connections=6) as process:
        until(lambda: len(endpoint.requests()) >= 7)
        workers = children(process.pid)
        process.kill()
        process.stderr.read()  # they have the other end
        process.wait()
    until(lambda: not any(map(alive, workers)))  # they have closed their files, and end
    sent = len(endpoint.requests())
    assert len(keys(tmp_path / "run")) == sent
    time.sleep(0.3)
    assert len(endpoint.requests()) == sent


def test_ctrl_c_waits_for_the_calls_under_way(endpoint, whole, tmp_path):
    """The terminal's signal goes to the whole group; workers let their calls finish, and nothing is asked for twice."""
    endpoint.answer(then={"digest": True, "delay": 0.4})
    with started(endpoint, tmp_path / "run", workers=2, connections=6) as process:
        until(lambda: len(endpoint.requests()) >= 7)
        os.killpg(process.pid, signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130, said
    assert "waiting for the calls under way" in said
    assert "Traceback" not in said
    sent = len(endpoint.requests())
    assert len(keys(tmp_path / "run")) == sent
    endpoint.answer(then={"digest": True})
    debates(endpoint, tmp_path / "run", workers=2)
    assert sent + len(endpoint.requests()) == sum(whole[1].values())
    assert records(tmp_path / "run") == whole[0]


PRICE = (100_000.0, 20_000.0)
COST = 10 * 0.1 + 5 * 0.02
"""Dollars of a call of 10 tokens in and 5 out."""


def test_the_cost_limit_holds_over_all_workers(endpoint, whole, tmp_path):
    """Not crossed though one of them is killed; a worker that is gone holds nothing back, and more money goes on."""
    endpoint.answer(then={"digest": True, "delay": 0.02})
    options = {"vllm/fake": ModelOptions(base_url=endpoint.base_url, price=PRICE)}
    limit = 0.95 * sum(whole[1].values()) * COST
    with started(endpoint, tmp_path / "run", workers=2, price=PRICE, cost_limit=limit) as process:
        until(lambda: len(endpoint.requests()) >= 8 or process.poll() is not None)
        if running := children(process.pid):
            os.kill(running[0], signal.SIGKILL)
        said = process.stderr.read()
    assert process.returncode == 2, said
    assert "BudgetExceeded the next call to vllm/fake could cost" in said
    spent = len(endpoint.requests()) * COST
    assert 0 < spent <= limit
    with closing(sqlite3.connect(tmp_path / "run" / "journal.sqlite")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM promises").fetchone() == (0,)
    result = debates(endpoint, tmp_path / "run", options=options, workers=2, cost_limit=1e9)
    # What the killed worker had stored and not yet counted is told apart.
    counted = sum(line.dollars for start in result.spending() for line in start)
    assert counted + result.uncounted() == pytest.approx(len(keys(tmp_path / "run")) * COST)
    assert {one["id"] for one in read_episodes(tmp_path / "run")} == set(whole[0])


def test_what_a_killed_worker_had_asked_for_counts_against_the_limit(endpoint, tmp_path):
    """It may be billed though its reply never came, so its worst price stays promised until the command ends."""
    endpoint.answer(then={"digest": True, "delay": 3.0})
    with started(endpoint, tmp_path / "first", workers=1, price=PRICE, cost_limit=1e9) as process:
        until(lambda: len(endpoint.requests()) >= 3)
        with closing(sqlite3.connect(tmp_path / "first" / "journal.sqlite", timeout=30)) as connection:
            (most,) = connection.execute("SELECT MAX(dollars) FROM promises").fetchone()
        process.kill()
        process.stderr.read()  # until its worker has ended
    endpoint.answer(then={"digest": True, "delay": 3.0})
    # One debate begins, whose first turns are two calls at once.
    with started(endpoint, tmp_path / "run", workers=1, price=PRICE, cost_limit=2.5 * most) as process:
        until(lambda: len(endpoint.requests()) >= 2)
        time.sleep(0.5)  # whatever else there is room for
        sent = len(endpoint.requests())
        (worker,) = children(process.pid)
        os.kill(worker, signal.SIGKILL)
        said = process.stderr.read()
    assert process.returncode == 2, said
    assert "BudgetExceeded the next call to vllm/fake could cost" in said
    assert "repeat the command, as what lost tries may have cost counts only until it ends" in said
    assert len(endpoint.requests()) == sent == 2
    with closing(sqlite3.connect(tmp_path / "run" / "journal.sqlite")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM promises").fetchone() == (0,)


def test_what_is_printed_while_an_interpreter_starts_is_no_message(endpoint, whole, tmp_path, monkeypatch):
    """Hooks of a site may print before anything of ours runs."""
    (tmp_path / "sitecustomize.py").write_text("print('A site says hello', flush=True)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    endpoint.answer(then={"digest": True})
    debates(endpoint, tmp_path / "run", workers=1)
    assert records(tmp_path / "run") == whole[0]


def test_the_limit_is_used_up_though_each_worker_alone_sees_no_room(endpoint, tmp_path, monkeypatch):
    """What one worker has promised for its calls in flight is room for the other once they have landed."""
    endpoint.answer(then={"digest": True, "delay": 0.05})
    promised, reserve, heard, take = [0.0], Budget.reserve, Counter(), Pool._take

    def noted(self, dollars, *rest):
        promised.append(dollars)
        return reserve(self, dollars, *rest)

    async def counted(self, worker, message):
        heard[message[0]] += 1
        return await take(self, worker, message)

    monkeypatch.setattr(Budget, "reserve", noted)
    monkeypatch.setattr(Pool, "_take", counted)
    monkeypatch.setattr(Allowance, "begins", lambda self, episode: True)  # which keeps them from coming to this
    options = {"vllm/fake": ModelOptions(base_url=endpoint.base_url, price=PRICE)}
    plan = plan_run(
        "debate(rounds=2)", tiny.Sums(count=6), {"debater": "vllm/fake", "judge": "vllm/fake"}, options=options
    )
    debates(endpoint, tmp_path / "whole", count=6, options=options, cost_limit=1e9)
    calls = sum(cost.calls for cost in plan.costs())
    # Room for one call at a time in the worst case, and for all of them by what they really cost.
    limit = max(promised) + calls * COST
    debates(endpoint, tmp_path / "run", count=6, options=options, workers=2, cost_limit=limit)
    assert heard["no room"]
    assert {one["status"] for one in read_episodes(tmp_path / "run")} == {"scored"}


def test_no_worker_is_started_that_would_have_nothing_to_do(endpoint, tmp_path):
    """Both orders of one question share calls, so they are one worker's."""
    endpoint.answer(then={"digest": True, "delay": 0.5})
    with started(endpoint, tmp_path / "run", workers=4, count=2) as process:
        until(lambda: endpoint.requests() or process.poll() is not None)
        assert len(children(process.pid)) == 2
        said = process.stderr.read()
    assert process.returncode == 0, said
    assert len(list(read_episodes(tmp_path / "run"))) == 4


# ---- dealing ----------------------------------------------------------------------------------------


class InMemory(Link):
    """A worker that finishes, fails to score, or dies, as it is told; episodes that share calls must be its alone."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.messages = asyncio.Queue()
        self.messages.put_nowait(("ready",))
        self.playing, self.dead = [], False

    async def send(self, message):
        if message[0] == "play" and not self.dead:
            for reference in message[1]:
                episode = self.world.numbering.episode(reference)
                key = (episode.question.id, episode.sample)
                holder = self.world.at.setdefault(key, self)
                assert holder is self or not any(one[1] == key for one in holder.playing), "at two workers at once"
                self.world.at[key] = self
                self.playing.append((episode, key))
                self.world.most = max(self.world.most, len(self.playing))
            self.messages.put_nowait(("moved",))

    async def receive(self):
        while True:
            if self.messages.empty() and self.playing:
                await asyncio.sleep(0)
                if self.world.draw.random() < self.world.deaths:
                    self.dead, self.playing = True, []
                    self.world.died += 1
                    raise Gone("as told")
                episode, _ = self.playing.pop(self.world.draw.randrange(len(self.playing)))
                status = "scored" if self.world.draw.random() < 0.8 else "unscored"
                record = {"id": episode.id, "status": status, "usage": {"dollars": self.world.draw.random()}}
                return ("finished", record, [])
            message = await self.messages.get()
            if message == ("ready",):
                return message

    async def end(self, *, kill):
        self.dead = True


class World:
    """Workers in memory, and what they were dealt."""

    def __init__(self, plan, seed, deaths):
        self.numbering, self.draw, self.deaths = Numbering(plan), random.Random(seed), deaths
        self.at, self.most, self.died = {}, 0, 0
        self.kept = []
        self.path = Path(".")
        self.journal = self
        self.start = "test"

    def spent(self):
        return 0.0

    def take_back(self, *, holder):
        pass

    async def add(self, record):
        await asyncio.sleep(0)
        self.kept.append(record["id"])


PLAN = plan_tournament(
    tiny.Sums(),
    debaters=[tiny.Thinker(), tiny.Second()],
    judges=[tiny.Third()],
    protocols=["consultancy(rounds=1)", "debate(rounds=1)", "debate(rounds=2)"],
    limit=5,
    epochs=2,
)
EPISODES = list(PLAN.episodes())


@given(
    seed=st.integers(0, 10**6),
    workers=st.integers(1, 5),
    at_once=st.integers(1, 40),
    deaths=st.sampled_from([0.0, 0.02, 0.1]),
    cuts=st.lists(st.integers(0, len(EPISODES)), max_size=2),
    cost_limit=st.sampled_from([None, 0.0, 2.5]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_episode_is_kept_once_whoever_dies(seed, workers, at_once, deaths, cuts, cost_limit):
    """In several batches, with workers that die: each episode once, no two workers with calls to share."""

    async def run():
        world = World(PLAN, seed, deaths)

        async def start(holder, connections):
            return InMemory(world, holder)

        pool = Pool(
            PLAN,
            world,
            start,
            workers=workers,
            connections=None,
            at_once=at_once,
            cost_limit=cost_limit,
            what="worker",
            left=lambda: None,
            progress=Progress(),
        )
        try:
            edges = [0, *sorted(cuts), len(EPISODES)]
            for first, last in pairwise(edges):
                await pool.play(EPISODES[first:last])
                assert sorted(world.kept) == sorted(one.id for one in EPISODES[:last])
        except WorkersLost:
            assert world.died > 2 * pool._started
        else:
            assert world.most <= at_once
        finally:
            for worker in pool._workers:
                worker.ready = False  # they are not processes that answer
            await pool.close()

    asyncio.run(run())


def test_calls_in_flight_are_shared_out(endpoint, tmp_path):
    """With --max-connections there are no more calls in flight than that, whatever the number of workers."""
    endpoint.answer(then={"digest": True, "delay": 0.05})
    debates(endpoint, tmp_path / "run", count=6, workers=2, connections=5)
    assert 2 <= endpoint.most_in_flight() <= 5


# ---- the document -----------------------------------------------------------------------------------


def test_the_documented_command(tmp_path):
    """With workers and without: the same episodes."""
    text = (HERE.parent / "docs" / "past_one_process.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Worker processes\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    ((command,),) = (block.splitlines() for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL))
    words = shlex.split(command)
    assert words[0] == "oversight"
    assert words[-2:] == ["--workers", "2"]
    words[words.index("--limit") + 1] = "4"
    for folder, one in (("logs/workers", words), ("alone", [*words[:-2], "--log-dir", "alone"])):
        subprocess.run(
            [sys.executable, "-m", "oversight.cli", *one[1:]],
            cwd=tmp_path,
            check=True,
            timeout=120,
            stdout=subprocess.DEVNULL,
        )
        assert len(records(tmp_path / folder)) == 8
    assert records(tmp_path / "logs" / "workers") == records(tmp_path / "alone")
