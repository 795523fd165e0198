"""Episodes a second by number of workers, and the rates that end the scaling: the coordinator's and the journal's.

    python tests/benchmark_workers.py --workers 0,1,2,4
    python tests/benchmark_workers.py --workers 0,1,2 --base-url http://127.0.0.1:8099/lat/50/v1
    python tests/benchmark_workers.py --what engines --workers 0,1,2
    python tests/benchmark_workers.py --what journal --workers 1,2,4

0 workers is one process that plays by itself.  Debates are of eight calls, seven of them one after the other; without
--base-url their endpoint is that of the tests, in a process of its own and with 50 ms for a reply.  Engines are those
of the arithmetic arena, which compute in the process that plays.  The journal is written by so many processes at once,
64 calls of 1 kB in flight in each.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from endpoint import running

import oversight
from oversight.models.openai_compatible import ModelOptions
from oversight.questions import Arena, Question
from oversight.runs.progress import Progress
from oversight.transcript import Usage

REPLY = "I maintain that this answer is supported by the first premise and by the second. " * 6

WRITE = """
import asyncio, sys, time
from pathlib import Path
from oversight.runs.journal import Journal, JournalAddress

async def main(place, name, count):
    address = JournalAddress(url=place, run="benchmark") if "://" in place else JournalAddress(Path(place))
    journal = Journal(address)
    async def produce():
        return {"completion": {"text": "x" * 1000}, "dollars": 0.001}
    left = iter(range(count))
    async def caller():
        for number in left:
            await journal.once(f"{name} {number}", "benchmark", produce)
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(64)))
    print(time.perf_counter() - start, flush=True)
    await journal.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


class Plain(Arena):
    """Questions that need nothing."""

    name = "plain"

    def questions(self, limit: int | None, seed: int) -> Sequence[Question]:
        return [Question(str(n), f"Question {n}?", ("yes", "no"), 0, str(n)) for n in range(limit or 0)]


class Clock(Progress):
    """Notes when play began, and when the last record came."""

    def start(self, owed: int, finished: int) -> None:
        self.count, self.begun = owed, time.perf_counter()

    def finished(self, record: Mapping[str, Any], spent: float, usage: Usage, unknown: int) -> None:
        self.last = time.perf_counter()

    def rate(self) -> float:
        """Episodes a second, the start of the workers included."""
        return self.count / (self.last - self.begun)


def processor_seconds(whose: int) -> float:
    usage = resource.getrusage(whose)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def endpoint(base_url: str | None) -> Iterator[str]:
    """The address of an endpoint."""
    if base_url is not None:
        yield base_url
        return
    with running() as server:
        server.answer(then={"text": f"{REPLY}\nAnswer: A\nConfidence: 70%", "delay": 0.05})
        yield server.base_url


def play(what: str, workers: int, episodes: int, base_url: str, connections: int | None, journal: str | None) -> None:
    """Play, and print what it took."""
    clock, number = Clock(), workers or None
    with tempfile.TemporaryDirectory() as folder:
        given: dict[str, Any] = {"log_dir": Path(folder) / "run", "workers": number, "progress": clock}
        given |= {"swap": False, "limit": episodes, "journal": journal}
        start = time.perf_counter()
        before = [processor_seconds(one) for one in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        if what == "debates":
            options = {"vllm/fake-1": ModelOptions(base_url=base_url)}
            cast = {"debater": "vllm/fake-1", "judge": "vllm/fake-1", "options": options, "connections": connections}
            oversight.run("debate(style=sequential)", Plain(), **cast, **given)
        else:
            agent = "bounded/1000000"
            oversight.run("debate(style=sequential)", "arithmetic(depth=9)", debater=agent, judge=agent, **given)
        wall = time.perf_counter() - start
        after = [processor_seconds(one) for one in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own, others = ((end - begin) / episodes * 1000 for begin, end in zip(before, after, strict=True))
    by = f"{own:5.2f} ms here" + (f", {others:5.2f} ms in workers with their start" if workers else "")
    print(f"{workers} workers  {clock.rate():7.1f} episodes/s  {wall:6.1f} s in all  CPU an episode: {by}", flush=True)


def write(processes: int, calls: int, place: str) -> None:
    """Let so many processes write to one journal, and print how many calls a second it takes."""
    with tempfile.TemporaryDirectory() as folder:
        where = place or str(Path(folder) / "journal.sqlite")
        started = [
            subprocess.Popen(
                [sys.executable, "-c", WRITE, where, f"{os.urandom(4).hex()}", str(calls // processes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(processes)
        ]
        for one in started:
            assert one.stdout is not None
            one.stdout.readline()
        for one in started:
            assert one.stdin is not None
            one.stdin.write("\n")
            one.stdin.flush()
        slowest = max(float(one.communicate()[0]) for one in started)
    print(f"{processes} processes  {calls // processes * processes / slowest:8.0f} calls/s stored", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="episodes a second by number of workers")
    parser.add_argument("--what", choices=("debates", "engines", "journal"), default="debates")
    parser.add_argument("--workers", default="0,1,2", help="numbers of workers, each measured once")
    parser.add_argument("--episodes", type=int, default=1000, help="of the journal: calls, times ten")
    parser.add_argument("--base-url", help="an endpoint that runs")
    parser.add_argument("--connections", type=int, help="calls in flight (default: found)")
    parser.add_argument("--journal", help="URL of a PostgreSQL database")
    arguments = parser.parse_args()
    numbers = [int(one) for one in arguments.workers.split(",")]
    print(f"{arguments.what}, {arguments.episodes} episodes, {os.cpu_count()} processors")
    if arguments.what == "journal":
        for number in numbers:
            write(number, 10 * arguments.episodes, arguments.journal or "")
        return
    with endpoint(arguments.base_url) as base_url:
        if arguments.what == "debates":  # imports and first connections are not what is measured
            play("debates", 0, 20, base_url, None, arguments.journal)
        for number in numbers:
            play(arguments.what, number, arguments.episodes, base_url, arguments.connections, arguments.journal)


if __name__ == "__main__":
    main()
