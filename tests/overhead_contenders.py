"""One way of playing debates against an endpoint, measured in a process of its own; see benchmark_overhead.py.

    python tests/overhead_contenders.py NAME BASE_URL DEBATES CONNECTIONS [WORKERS]

Every contender plays the same: debates of seven calls, each of which waits for the one before, so many debates at a
time.  It first plays four debates that do not count, for imports and first connections, and prints one line of JSON:
``processor`` and ``wall`` seconds, ``calls`` made, and ``memory``, the most that the process ever held, in MB.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

CALLS = 7
PROMPT = "x" * 2600  # about what the debate's prompts hold on average
MESSAGES = [{"role": "user", "content": PROMPT}]
Play = Callable[[str, int, int], None]


def ours(base_url: str, debates: int, connections: int, **more: Any) -> None:
    """This library, everything on: views, the journal, records, progress, resume."""
    import oversight
    from oversight.models.openai_compatible import ModelOptions
    from oversight.questions import Arena, Question

    class Plain(Arena):
        """Questions that need nothing."""

        name = "plain"

        def questions(self, limit: int | None, seed: int) -> list[Question]:
            return [Question(str(n), f"Question {n}?", ("yes", "no"), 0, str(n)) for n in range(limit or 0)]

    judge = "vllm/fake(orders=one)"  # one verdict is one call, as everywhere here
    with tempfile.TemporaryDirectory() as folder:
        result = oversight.run(
            "debate(style=sequential)",
            Plain(),
            debater="vllm/fake",
            judge=judge,
            limit=debates,
            swap=False,
            options=dict.fromkeys(("vllm/fake", judge), ModelOptions(base_url=base_url)),
            connections=connections,
            log_dir=Path(folder) / "run",
            **more,
        )
        assert sum(record["status"] == "scored" for record in result.episodes()) == debates


def _loop(debates: int, connections: int, call: Callable[[], Awaitable[None]]) -> Awaitable[None]:
    """So many debates at a time, each call after the one before."""
    waiting = iter(range(debates))

    async def worker() -> None:
        for _ in waiting:
            for _ in range(CALLS):
                await call()

    async def all_of_them() -> None:
        await asyncio.gather(*(worker() for _ in range(connections)))

    return all_of_them()


def sdk(base_url: str, debates: int, connections: int) -> None:
    """A bare loop around the openai package, as one would write it by hand."""
    import openai

    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=base_url, api_key="none") as client:

            async def call() -> None:
                reply = await client.chat.completions.create(model="fake", messages=MESSAGES)  # type: ignore[arg-type]
                assert reply.choices[0].message.content

            await _loop(debates, connections, call)

    asyncio.run(main())


def sdk_raw(base_url: str, debates: int, connections: int) -> None:
    """A bare loop around the openai package's raw request, on aiohttp."""
    import openai

    async def main() -> None:
        http = openai.DefaultAioHttpClient()
        async with openai.AsyncOpenAI(base_url=base_url, api_key="none", http_client=http) as client:

            async def call() -> None:
                body = {"model": "fake", "messages": MESSAGES}
                reply: Any = await client.post("/chat/completions", cast_to=object, body=body)
                assert reply["choices"][0]["message"]["content"]

            await _loop(debates, connections, call)

    asyncio.run(main())


def aiohttp(base_url: str, debates: int, connections: int) -> None:
    """A bare loop around aiohttp: about the least that a call can take in Python."""
    import aiohttp as http

    async def main() -> None:
        async with http.ClientSession(connector=http.TCPConnector(limit=0)) as session:

            async def call() -> None:
                body = {"model": "fake", "messages": MESSAGES}
                async with session.post(f"{base_url}/chat/completions", json=body) as response:
                    reply = json.loads(await response.read())
                assert reply["choices"][0]["message"]["content"]

            await _loop(debates, connections, call)

    asyncio.run(main())


def langgraph(base_url: str, debates: int, connections: int) -> None:
    """A chain of LangGraph nodes around the openai package, checkpointed in SQLite."""
    import operator
    from typing import Annotated, TypedDict

    import openai
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
    from langgraph.graph import END, START, StateGraph

    # As a class its annotation would be a text, which LangGraph does not find inside a function.
    State = TypedDict("State", {"turns": Annotated[list[str], operator.add]})  # noqa: UP013

    async def main() -> None:
        async with (
            openai.AsyncOpenAI(base_url=base_url, api_key="none") as client,
            contextlib.AsyncExitStack() as stack,
        ):
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            saver = await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(f"{folder}/checkpoints.sqlite"))

            async def turn(state: State) -> dict[str, list[str]]:
                reply = await client.chat.completions.create(model="fake", messages=MESSAGES)  # type: ignore[arg-type]
                return {"turns": [reply.choices[0].message.content or ""]}

            builder = StateGraph(State)
            names = [f"turn {number}" for number in range(CALLS)]
            for name in names:
                builder.add_node(name, turn)
            for one, following in zip([START, *names], [*names, END], strict=True):
                builder.add_edge(one, following)
            graph = builder.compile(checkpointer=saver)
            waiting = iter(range(debates))

            async def worker() -> None:
                for number in waiting:
                    config: Any = {"configurable": {"thread_id": str(number)}}
                    state = await graph.ainvoke({"turns": []}, config)
                    assert len(state["turns"]) == CALLS

            await asyncio.gather(*(worker() for _ in range(connections)))

    asyncio.run(main())


def inspect(base_url: str, debates: int, connections: int) -> None:
    """Inspect: a task of so many samples, each a chain of seven generate calls, with its logs."""
    from inspect_ai import Task, eval, task
    from inspect_ai.dataset import Sample
    from inspect_ai.model import get_model
    from inspect_ai.solver import Generate, Solver, TaskState, solver

    @solver
    def debate() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            for _ in range(CALLS):
                reply = await get_model().generate(PROMPT)
                assert reply.completion
            return state

        return solve

    @task
    def debates_of_seven_calls() -> Task:
        return Task(dataset=[Sample(input=f"Question {n}?") for n in range(debates)], solver=debate())

    model = get_model("openai-api/fake/fake", base_url=base_url, api_key="none")
    with tempfile.TemporaryDirectory() as folder:
        (log,) = eval(
            debates_of_seven_calls(),
            model=model,
            log_dir=folder,
            display="none",
            max_samples=connections,
            max_connections=connections,
        )
        assert log.status == "success", log.error


def autogen(base_url: str, debates: int, connections: int) -> None:
    """AutoGen: two agents that speak in turn, seven messages."""
    from autogen_agentchat.agents import AssistantAgent
    from autogen_agentchat.conditions import MaxMessageTermination
    from autogen_agentchat.teams import RoundRobinGroupChat
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    async def main() -> None:
        information: Any = {
            "vision": False,
            "function_calling": False,
            "json_output": False,
            "family": "unknown",
            "structured_output": False,
        }
        client = OpenAIChatCompletionClient(model="fake", base_url=base_url, api_key="none", model_info=information)
        waiting = iter(range(debates))

        async def worker() -> None:
            for _ in waiting:
                agents: list[Any] = [
                    AssistantAgent(f"debater_{n}", client, system_message="x" * 2000) for n in range(2)
                ]
                team = RoundRobinGroupChat(agents, termination_condition=MaxMessageTermination(CALLS + 1))
                result = await team.run(task="A question?")
                assert len(result.messages) == CALLS + 1

        await asyncio.gather(*(worker() for _ in range(connections)))
        await client.close()

    asyncio.run(main())


CONTENDERS: dict[str, Play] = {
    play.__name__: play for play in (ours, sdk, sdk_raw, aiohttp, langgraph, inspect, autogen)
}


def processor_seconds() -> float:
    """Processor seconds of this process and of the children that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    name, base_url, debates, connections = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    play = CONTENDERS[name]
    if len(sys.argv) > 5:  # of this library alone
        play = partial(ours, workers=int(sys.argv[5]))
    with contextlib.redirect_stdout(sys.stderr):
        play(base_url, 4, connections)
        processor, wall = processor_seconds(), time.perf_counter()
        play(base_url, debates, connections)
        processor, wall = processor_seconds() - processor, time.perf_counter() - wall
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"processor": processor, "wall": wall, "calls": debates * CALLS, "memory": memory}))


if __name__ == "__main__":
    main()
