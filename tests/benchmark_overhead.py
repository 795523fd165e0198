"""What the runtime adds to a model call: processor time a call, and how full an endpoint is kept.

    python tests/benchmark_overhead.py --debates 512

Debates of seven dependent calls, with everything on (views, LangGraph, journal, records, progress), beside bare loops
that make the same calls, in turn in one run, so that their ratios hold on a noisy machine: see overhead_contenders.py
for what is played.  Each measurement is a process of its own.  ``--peers inspect=PYTHON autogen=PYTHON`` adds other
frameworks, each by the interpreter of an environment of its own (``pip install inspect-ai openai``;
``pip install autogen-agentchat 'autogen-ext[openai]'``).

The endpoint is by default the tests' own; ``--base-url`` names another, in which ``{latency}`` stands for its
milliseconds.  The wall time is given as a ratio to the ideal, the larger of calls x latency / connections and
7 x latency.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from endpoint import running
from overhead_contenders import CALLS

OURS, YARDSTICK = "ours", "sdk"
HERE = ["ours", "sdk", "sdk_raw", "aiohttp", "langgraph"]
REPLY = "I maintain that this answer is supported by the first premise and by the second. " * 6


@contextlib.contextmanager
def endpoint(base_url: str | None, latency: float) -> Iterator[str]:
    """An endpoint with this latency, in milliseconds."""
    if base_url is not None:
        yield base_url.format(latency=f"{latency:g}")
        return
    with running() as own:
        own.answer(then={"text": f"{REPLY}\nAnswer: A\nConfidence: 70%", "delay": latency / 1000})
        yield own.base_url


def measured(python: str, name: str, base_url: str, debates: int, connections: int) -> dict[str, float]:
    """One contender, in a process of its own; ``ours/2`` is this library with two worker processes."""
    name, _, workers = name.partition("/")
    script = Path(__file__).with_name("overhead_contenders.py")
    command = [python, str(script), name, base_url, str(debates), str(connections), *filter(None, [workers])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="processor time a call, and wall time against the ideal")
    parser.add_argument("--debates", type=int, default=512)
    parser.add_argument("--connections", type=int, nargs="+", default=[64])
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds in which the endpoint answers")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; medians are printed")
    parser.add_argument("--base-url", help="another endpoint, as http://127.0.0.1:8099/lat/{latency}/v1")
    parser.add_argument(
        "--peers", nargs="+", default=[], metavar="NAME=PYTHON", help="inspect and autogen, where they are"
    )
    parser.add_argument("--workers", type=int, help="measure this library with so many worker processes as well")
    parser.add_argument("--only", nargs="+", help="names of contenders")
    arguments = parser.parse_args()
    contenders = [(sys.executable, name) for name in HERE]
    contenders += [tuple(reversed(peer.split("=", 1))) for peer in arguments.peers]
    if arguments.workers:
        contenders.append((sys.executable, f"{OURS}/{arguments.workers}"))
    if arguments.only:
        contenders = [one for one in contenders if one[1] in arguments.only]
    for connections in arguments.connections:
        found: dict[str, list[dict[str, Any]]] = {}
        for _ in range(arguments.rounds):
            for python, name in contenders:
                with endpoint(arguments.base_url, arguments.latency) as base_url:
                    one = measured(python, name, base_url, arguments.debates, connections)
                found.setdefault(name, []).append(one)
        report(found, arguments.debates, connections, arguments.latency)


def report(found: dict[str, list[dict[str, Any]]], debates: int, connections: int, latency: float) -> None:
    calls = debates * CALLS
    ideal = max(calls * latency / connections, CALLS * latency) / 1000
    print(f"{debates} debates of {CALLS} calls, {connections} at a time, {latency:g} ms; medians of {len(found[OURS])}")
    print(f"{'':10} {'ms CPU a call':>14} {'of the SDK loop':>16} {'wall / ideal':>13} {'MB':>5}")
    for name, runs in found.items():
        processor = median(one["processor"] for one in runs) / calls * 1000
        # Paired by round: what else the machine did then weighs on both.
        pairs = zip(runs, found.get(YARDSTICK, []), strict=False)
        ratio = [one["processor"] / other["processor"] for one, other in pairs]
        wall = median(one["wall"] for one in runs)
        of_sdk = f"{median(ratio):.2f}" if ratio else "-"
        of_ideal = f"{wall / ideal:.2f}" if ideal else f"({wall:.1f} s)"
        print(f"{name:10} {processor:14.2f} {of_sdk:>16} {of_ideal:>13} {median(one['memory'] for one in runs):5.0f}")
    print(flush=True)


if __name__ == "__main__":
    main()
