"""Episodes played by the actors of a Ray cluster: two nodes of a cluster on this machine, killed in part."""

from __future__ import annotations

import importlib.util
import os
import random
import re
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from oversight.errors import ConfigurationError
from oversight.runs import ray_cluster
from oversight.runs.directory import read_episodes

ray = pytest.importorskip("ray", reason="the extra ray is not installed")

HERE = Path(__file__).parent
TINY = HERE / "tiny.py"
KEY = "canary-of-the-api-key-4d1f"
MARK = "OVERSIGHT_TEST_CLUSTER"


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


endpoints, postgresql = _load("endpoint"), _load("postgresql")
postgresql_server = postgresql.postgresql_server
database = postgresql.database


@pytest.fixture(scope="module")
def endpoint():
    with endpoints.running() as running:
        yield running


def until(condition, seconds=90.0):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


class Cluster:
    """A head and a second node, each with one processor, small stores and a mark in its processes' environment."""

    def __init__(self, folder):
        self.folder, self.mark = folder, secrets.token_hex(8)
        self.nodes = []
        self.start("--head", "--port=0", "--include-dashboard=false", f"--temp-dir={folder}")
        found = folder / "ray_current_cluster"
        until(found.exists)
        self.address = found.read_text().strip()
        self.start(f"--address={self.address}")
        until(lambda: len(self.processes("raylet/raylet")) == 2)

    def start(self, *words):
        """Start a node, in a group of its own so that it can be ended alone."""
        words = [*words, "--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats", "--block"]
        self.nodes.append(
            subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", "start", *words],
                env={**os.environ, MARK: self.mark, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"},
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def processes(self, words):
        """Processes of the cluster whose command has these words, by their ids."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if (
                    entry.name.isdigit()
                    and words.encode() in (entry / "cmdline").read_bytes()
                    and f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes()
                ):
                    found.append(int(entry.name))
            except OSError:  # it has just ended
                continue
        return found

    def kill(self, node):
        """A node goes all at once: its power fails."""
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()

    def end(self):
        """End what is left of it."""
        for node in self.nodes:
            if node.poll() is None:
                self.kill(node)
        until(lambda: not [os.kill(one, signal.SIGKILL) for one in self.processes("")])


@pytest.fixture(scope="module")
def cluster():
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:  # paths of sockets are short
        cluster = Cluster(Path(folder))
        try:
            yield cluster
        finally:
            cluster.end()


def started(endpoint, folder, database, *words, address=""):
    """The debates, by the command and with an arena of a file."""
    command = [sys.executable, "-m", "oversight.cli", "run", "debate(rounds=2)", "--arena", f"{TINY}:Sums"]
    command += ["--limit", "8", "--debater", "vllm/fake", "--judge", "vllm/fake", "--base-url", endpoint.base_url]
    command += ["--log-dir", str(folder), "--journal", database, *words]
    environment = {**os.environ, "RAY_ADDRESS": address, "VLLM_API_KEY": KEY, "COLUMNS": "200"}
    return subprocess.Popen(
        command, cwd=folder.parent, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finished(process):
    said = process.stderr.read()
    assert process.wait() == 0, said
    return said


def records(folder):
    """Finished episodes by id, without what the clock says."""
    return {
        record["id"]: {name: value for name, value in record.items() if name not in ("seconds", "finished")}
        for record in read_episodes(folder)
    }


def asked(endpoint):
    return Counter(request["digest"] for request in endpoint.requests())


@pytest.fixture(scope="module")
def whole(endpoint, postgresql_server, tmp_path_factory):
    """The debates as one process plays them: their records, and what was asked."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    endpoint.answer(then={"digest": True})
    with started(endpoint, folder, postgresql_server.make_place()) as process:
        finished(process)
    return records(folder), asked(endpoint)


def canaries(folder, words):
    """Files under a folder that hold one of the words."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            text = path.read_bytes()
            found += [str(path) for word in words if word.encode() in text]
    return found


def test_without_a_cluster_it_is_said_how_to_start_one(endpoint, database, tmp_path):
    """The first test here: a cluster of this machine is found without an address."""
    with started(endpoint, tmp_path / "run", database, "--executor", "ray") as process:
        said = process.stderr.read()
    assert process.returncode == 2
    assert said.splitlines()[-1].startswith("oversight: error: --executor ray: no Ray cluster is found: start one with")
    assert "Traceback" not in said


def test_an_address_where_nobody_listens_is_said_at_once(monkeypatch):
    """Ray itself would try for two minutes, and end the process."""
    with socket.socket() as taken:  # bound, and listening to nobody
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigurationError, match=r"no Ray cluster answers at RAY_ADDRESS=127\.0\.0\.1:"):
            ray_cluster.Cluster()


def test_actors_play_what_one_process_plays(cluster, endpoint, whole, database, tmp_path):
    """Keys are in none of the cluster's files."""
    endpoint.answer(then={"digest": True, "delay": 0.05})
    seen = set()
    with started(endpoint, tmp_path / "run", database, "--executor", "ray", address=cluster.address) as process:
        while process.poll() is None:
            seen.update(cluster.processes("ray::_OversightWorker"))
            time.sleep(0.2)
        said = finished(process)
    assert 1 <= len(seen) <= 2, said  # the second may have come when there was nothing left
    assert records(tmp_path / "run") == whole[0]
    assert asked(endpoint) == whole[1]
    assert any(f"Bearer {KEY}" == request["headers"].get("authorization") for request in endpoint.requests())
    assert list((cluster.folder / "session_latest" / "logs").rglob("*.log"))
    words = [KEY, postgresql.PASSWORD]
    assert not canaries(cluster.folder, words)
    assert not canaries(tmp_path / "run", words)
    assert not any(word in said for word in words)


def test_the_documented_commands(cluster, postgresql_server, tmp_path):
    """The cluster is started by them, with a port, a size and a folder of its own; the run is carried out."""
    text = (HERE.parent / "docs" / "past_one_process.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## A Ray cluster\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    start, run = (block.splitlines() for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL))
    for command, node in zip(start, cluster.nodes, strict=True):
        given = [word.partition("=")[0] for word in node.args]
        assert command.split()[0] == "ray"
        assert {word.partition("=")[0] for word in command.split()[1:]} <= set(given)
    name, _, value = run[0].removeprefix("export ").partition("=")
    assert (name, value) == ("PGPASSWORD", "choose-one")
    database = postgresql_server.make_place().replace(f":{postgresql.PASSWORD}@", "@")
    words = shlex.split(run[1])
    words[words.index("--limit") + 1] = "2"
    words[words.index("--journal") + 1] = database
    done = subprocess.run(
        [sys.executable, "-m", "oversight.cli", *words[1:]],
        cwd=tmp_path,
        env={**os.environ, "RAY_ADDRESS": cluster.address, name: postgresql.PASSWORD},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert len(records(tmp_path / "logs" / "cluster")) == 4
    assert not canaries(cluster.folder, [postgresql.PASSWORD])


def test_a_run_that_is_killed_or_interrupted_goes_on(cluster, endpoint, whole, database, tmp_path):
    """Killed, its actors end with it; interrupted, it waits for them; and one process finishes what they began."""
    endpoint.answer(then={"digest": True, "delay": 0.3})
    run = ["--executor", "ray", "--workers", "1", "--max-connections", "4"]
    with started(endpoint, tmp_path / "run", database, *run, address=cluster.address) as process:
        until(lambda: len(endpoint.requests()) >= 6 or process.poll() is not None)
        process.kill()
    until(lambda: not cluster.processes("ray::_OversightWorker"))
    assert len(endpoint.requests()) < sum(whole[1].values())
    killed = len(endpoint.requests())
    with started(endpoint, tmp_path / "run", database, *run, address=cluster.address) as process:
        until(lambda: len(endpoint.requests()) >= killed + 6 or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130, said
    assert "waiting for the calls under way" in said
    assert "Traceback" not in said
    with started(endpoint, tmp_path / "run", database) as process:
        finished(process)
    assert records(tmp_path / "run") == whole[0]
    times = asked(endpoint)
    assert set(times) == set(whole[1])
    assert sum(times.values()) - sum(whole[1].values()) <= 4 + 4  # what was in flight, or not stored, at the kill


def test_a_killed_actor_and_then_a_lost_node_lose_nothing(cluster, endpoint, whole, database, tmp_path):
    """What is left of the cluster plays the rest."""
    endpoint.answer(then={"digest": True, "delay": 0.3})
    run = ["--executor", "ray", "--workers", "2", "--max-connections", "4"]
    with started(endpoint, tmp_path / "run", database, *run, address=cluster.address) as process:
        until(lambda: len(endpoint.requests()) >= 6 or process.poll() is not None)
        os.kill(random.Random(1).choice(cluster.processes("ray::_OversightWorker")), signal.SIGKILL)
        before = len(endpoint.requests())
        until(lambda: len(endpoint.requests()) >= before + 12 or process.poll() is not None)
        assert process.poll() is None
        cluster.kill(cluster.nodes[1])
        said = finished(process)
    assert "a Ray actor died" in said
    assert records(tmp_path / "run") == whole[0]
    times = asked(endpoint)
    assert set(times) == set(whole[1])
    # What was in flight at a kill, two calls a worker, and as many that were not stored yet.
    assert sum(times.values()) - sum(whole[1].values()) <= 2 * (2 + 2)
