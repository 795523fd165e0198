"""A question that is split into parts which are answered in the same way: a LangGraph graph that calls itself.

A node of the tree is one run of the graph: split, the parts at the same time (each by the same graph, one level
deeper), combine.  Depth and budget are known beforehand, so it ends; the budget is shared out from the top, so that
what is answered does not depend on which part was ready first.
"""

from __future__ import annotations

import asyncio
import contextvars
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from typing import Protocol as Interface

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send
from typing_extensions import TypedDict

from ..errors import TurnFailed
from ..tree import Node, normal

__all__ = ["Solver", "solve_recursively"]


class Solver(Interface):
    """Who does the work at the nodes; each method raises TurnFailed where it cannot be done."""

    async def split(self, question: str, most: int) -> list[str]:
        """At most so many simpler questions; none where it is to be answered as it is."""
        ...

    async def answer(self, question: str) -> str:
        """The answer to a question as it is."""
        ...

    async def combine(self, question: str, parts: Sequence[tuple[str, str]]) -> str:
        """The answer that follows from the parts and their answers."""
        ...


class _State(TypedDict, total=False):
    question: str
    depth: int
    budget: int
    above: list[str]
    place: int
    parts: list[str]
    solved: Annotated[list[dict[str, Any]], operator.add]
    node: dict[str, Any]


@dataclass(frozen=True)
class _Context:
    solver: Solver
    most: int
    graph: CompiledStateGraph[_State, _Context, _State, _State]


def _failed(question: str, reason: str, parts: Sequence[Node] = ()) -> dict[str, Any]:
    return {"node": Node(question, parts=tuple(parts), failed=reason).to_dict()}


async def _split(state: _State, runtime: Runtime[_Context]) -> dict[str, Any]:
    question, left = state["question"], state["budget"]
    # Two requests for the split and what puts the parts together, and one for each part at least.
    most = min(runtime.context.most, left - 2)
    if state["depth"] == 0 or most < 2:
        return {"parts": []}
    try:
        parts = await runtime.context.solver.split(question, most)
    except TurnFailed as failure:
        return _failed(question, str(failure))
    above = [*state["above"], normal(question)]
    for number, part in enumerate(parts, start=1):
        if normal(part) in above:
            return _failed(question, f"part {number} asks what it is a part of: {part}")
    return {"parts": parts}


def _onward(state: _State) -> str | list[Send]:
    if "node" in state:
        return END
    parts = state["parts"]
    if not parts:
        return "answer"
    share = (state["budget"] - 2) // len(parts)
    above = [*state["above"], normal(state["question"])]
    return [
        Send("part", {"question": part, "depth": state["depth"] - 1, "budget": share, "above": above, "place": place})
        for place, part in enumerate(parts)
    ]


async def _part(state: _State, runtime: Runtime[_Context]) -> dict[str, Any]:
    below: _State = {
        "question": state["question"],
        "depth": state["depth"],
        "budget": state["budget"],
        "above": state["above"],
    }
    done = await runtime.context.graph.ainvoke(below, _LIMIT, context=runtime.context)
    return {"solved": [{"place": state["place"], "node": done["node"]}]}


async def _answer(state: _State, runtime: Runtime[_Context]) -> dict[str, Any]:
    try:
        answer = await runtime.context.solver.answer(state["question"])
    except TurnFailed as failure:
        return _failed(state["question"], str(failure))
    return {"node": Node(state["question"], answer).to_dict()}


async def _combine(state: _State, runtime: Runtime[_Context]) -> dict[str, Any]:
    ordered = sorted(state["solved"], key=lambda one: one["place"])
    parts = [Node.from_dict(one["node"]) for one in ordered]
    for number, part in enumerate(parts, start=1):
        if part.failed:
            return _failed(state["question"], f"part {number} has no answer", parts)
    try:
        answer = await runtime.context.solver.combine(
            state["question"], [(part.question, part.answer) for part in parts]
        )
    except TurnFailed as failure:
        return _failed(state["question"], str(failure), parts)
    return {"node": Node(state["question"], answer, tuple(parts)).to_dict()}


_LIMIT: RunnableConfig = {"recursion_limit": 8}


def _compiled() -> CompiledStateGraph[_State, _Context, _State, _State]:
    builder: StateGraph[_State, _Context, _State, _State] = StateGraph(_State, context_schema=_Context)
    # LangGraph finds the runtime by its parameter's name, which Callable cannot say.
    nodes: dict[str, Any] = {"split": _split, "part": _part, "answer": _answer, "combine": _combine}
    for name, node in nodes.items():
        builder.add_node(name, node)
    builder.add_edge(START, "split")
    builder.add_conditional_edges("split", _onward, ["part", "answer", END])
    builder.add_edge("part", "combine")
    builder.add_edge("answer", END)
    builder.add_edge("combine", END)
    # Its turns are held by the journal, not by the checkpointer of whoever calls it.
    return builder.compile(name="recursion", checkpointer=False)


def _without_langgraph() -> contextvars.Context:
    context = contextvars.copy_context()
    context.run(var_child_runnable_config.set, None)
    return context


async def solve_recursively(solver: Solver, question: str, *, depth: int, most: int, budget: int) -> Node:
    """The tree of a question: split down to ``depth`` levels, answered at the leaves, combined upwards.

    Parameters
    ----------
    solver : does the work.
    question : the question at the root.
    depth : levels below the root at most; 0 answers it as it is.
    most : parts of one question at most, 2 or more.
    budget : requests at most, those of the root included: a split, an answer and a combination count one each.

    Returns
    -------
    Node
        the root; it has ``failed`` where no answer could be had.
    """
    graph = _compiled()
    start: _State = {"question": question, "depth": depth, "budget": budget, "above": []}
    # LangGraph's own variable is left out: the caller's would have it hold its steps as durably as that holds its own,
    # and it has nothing to hold them in.
    working = graph.ainvoke(start, _LIMIT, context=_Context(solver, most, graph))
    done = await asyncio.get_running_loop().create_task(working, context=_without_langgraph())
    return Node.from_dict(done["node"]).marked()
