"""What the runtime adds to a model call, against a zero-latency endpoint on the loopback address.

    python tests/benchmark_overhead.py --episodes 200

Plays sequential debates of seven dependent calls with everything on (views, LangGraph, journal, records) beside two
bare loops that make the same number of dependent calls with prompts of the same size through the same SDK: once by
its typed method, as one would write it by hand, and once by the raw request that this library makes.  All three in
one run, in turn, so that their ratios hold on a noisy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median

import openai
from endpoint import running

import oversight
from oversight.models.openai_compatible import ModelOptions
from oversight.questions import Arena, Question

CALLS = 7
PROMPT = "x" * 2600  # about what the debate's prompts hold on average
REPLY = "I maintain that this answer is supported by the first premise and by the second. " * 6


class Plain(Arena):
    """Questions that need nothing."""

    name = "plain"

    def questions(self, limit: int | None, seed: int) -> Sequence[Question]:
        return [Question(str(n), f"Question {n}?", ("yes", "no"), 0, str(n)) for n in range(limit or 0)]


def processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def ours(base_url: str, episodes: int, connections: int) -> None:
    judge = "vllm/fake(orders=one)"  # one verdict is one call, as in the bare loops
    options = dict.fromkeys(("vllm/fake", judge), ModelOptions(base_url=base_url))
    with tempfile.TemporaryDirectory() as folder:
        result = oversight.run(
            "debate(style=sequential)",
            Plain(),
            debater="vllm/fake",
            judge=judge,
            limit=episodes,
            swap=False,
            options=options,
            connections=connections,
            log_dir=Path(folder) / "run",
        )
        assert sum(record["status"] == "scored" for record in result.episodes()) == episodes


def bare(base_url: str, episodes: int, connections: int, *, typed: bool) -> None:
    async def main() -> None:
        http = openai.DefaultAioHttpClient() if not typed else None
        client = openai.AsyncOpenAI(base_url=base_url, api_key="none", http_client=http)
        waiting = iter(range(episodes))
        messages = [{"role": "user", "content": PROMPT}]

        async def call() -> None:
            if typed:
                reply = await client.chat.completions.create(model="fake", messages=messages)  # type: ignore[arg-type]
                assert reply.choices[0].message.content
            else:
                body = {"model": "fake", "messages": messages}
                raw: dict = await client.post("/chat/completions", cast_to=object, body=body)  # type: ignore[assignment]
                assert raw["choices"][0]["message"]["content"]

        async def worker() -> None:
            for _ in waiting:
                for _ in range(CALLS):
                    await call()

        await asyncio.gather(*(worker() for _ in range(connections)))
        await client.close()

    asyncio.run(main())


def measure(work: Callable[[], Awaitable[None] | None], episodes: int) -> tuple[float, float]:
    """CPU milliseconds a call, and episodes a second."""
    processor, wall = processor_seconds(), time.perf_counter()
    work()
    return (processor_seconds() - processor) / (episodes * CALLS) * 1000, episodes / (time.perf_counter() - wall)


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU a call and episodes a second, beside bare loops")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; medians are printed")
    arguments = parser.parse_args()
    count, connections = arguments.episodes, arguments.connections
    with running() as endpoint:
        endpoint.answer(then={"text": f"{REPLY}\nAnswer: A\nConfidence: 70%"})
        loops: dict[str, Callable[[], None]] = {
            "this library, everything on": lambda: ours(endpoint.base_url, count, connections),
            "bare loop, the SDK's typed method": lambda: bare(endpoint.base_url, count, connections, typed=True),
            "bare loop, raw request on aiohttp": lambda: bare(endpoint.base_url, count, connections, typed=False),
        }
        ours(endpoint.base_url, 4, connections)  # imports and first connections are not what is measured
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
        for _ in range(arguments.rounds):
            for name, work in loops.items():
                found[name].append(measure(work, count))
                endpoint.answer(then={"text": f"{REPLY}\nAnswer: A\nConfidence: 70%"})
    medians = {name: [median(column) for column in zip(*runs, strict=True)] for name, runs in found.items()}
    first = medians["this library, everything on"]
    print(f"{count} debates of {CALLS} calls, {connections} at a time, medians of {arguments.rounds}")
    for name, (processor, rate) in medians.items():
        ratio = f"ours / this: CPU {first[0] / processor:.2f}, episodes/s {first[1] / rate:.2f}"
        print(f"{name:36} {processor:6.2f} ms CPU a call  {rate:7.1f} episodes/s   {ratio}")


if __name__ == "__main__":
    main()
