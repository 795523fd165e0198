"""Protocol to LangGraph.

One compiled graph serves every episode of a protocol: what an episode is about travels in LangGraph's
context, the turns travel in its state as plain dictionaries.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, TypeAlias
from typing import Protocol as Interface

import networkx as nx
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END as LANGGRAPH_END
from langgraph.graph import START as LANGGRAPH_START
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, StateSnapshot
from typing_extensions import TypedDict

from ..agents.human import SEVERAL
from ..protocol import Condition, Protocol, Role, Seat
from ..transcript import Turn, Verdict
from .check import require_sound
from .network import END, START, Instance, Unrolled, unroll

__all__ = [
    "CompiledProtocol",
    "EpisodeContext",
    "EpisodeState",
    "Moderator",
    "Open",
    "Thread",
    "Waiting",
    "compile_protocol",
]


class EpisodeState(TypedDict):
    """The state that LangGraph carries: turns as dictionaries, in the order in which they were finished."""

    turns: Annotated[list[dict[str, Any]], operator.add]


StateCompiled: TypeAlias = CompiledStateGraph[EpisodeState, "EpisodeContext", EpisodeState, EpisodeState]


class Moderator(Interface):
    """Whatever takes the turns of one episode."""

    async def take(self, instance: Instance, heard: list[Turn], claims: list[Turn]) -> Turn:
        """Ask the agent in the instance's seat for its turn.

        ``heard`` are the turns that the instance hears; ``claims`` every position stated before it, which
        decides who is left with which answer.
        """
        ...

    def recall(self, turns: Sequence[Turn]) -> None:
        """Take in the turns that were taken before the episode was interrupted."""
        ...


@dataclass(frozen=True)
class Thread:
    """Where LangGraph holds an episode while somebody is asked.

    Parameters
    ----------
    saver : the checkpointer.
    id : names the episode in it; used again, it goes on where it was.
    """

    saver: BaseCheckpointSaver[Any]
    id: str


@dataclass(frozen=True)
class Open:
    """A question that an episode waits for.

    Parameters
    ----------
    id : LangGraph's name of the interrupt, by which it is answered.
    turn : the turn that cannot go on.
    value : what is asked, as JSON values.
    key : of a turn that asks several questions, which of them it is; empty for the only one.
    seat : of such a question, who is asked; empty for the seat of the turn.
    """

    id: str
    turn: str
    value: Mapping[str, Any]
    key: str = ""
    seat: str = ""

    @property
    def step(self) -> str:
        """The name under which what is said to it is kept."""
        return f"{self.turn}: {self.key}" if self.key else self.turn

    def reply(self, value: Any) -> Any:
        """The answer in the form in which the turn takes it."""
        return {self.key: value} if self.key else value


class Waiting(Exception):
    """The episode cannot go on before somebody answers; it is held by its thread's checkpointer."""

    def __init__(self, open_questions: Sequence[Open]) -> None:
        super().__init__(f"{len(open_questions)} questions are open")
        self.open = tuple(open_questions)


@dataclass(frozen=True)
class EpisodeContext:
    """LangGraph's context: what an episode is about, which is no part of its state."""

    moderator: Moderator
    _known: dict[str, tuple[dict[str, Any], Turn]] = field(default_factory=dict)

    def write(self, turn: Turn) -> dict[str, Any]:
        """The turn as the state carries it."""
        values = turn.to_dict()
        self._known[turn.step] = values, turn
        return values

    def read(self, values: dict[str, Any]) -> Turn:
        """The turn that a dictionary of the state stands for; every later turn asks, so it is made once at most."""
        known = self._known.get(values["step"])
        if known is None or known[0] is not values:
            known = self._known[values["step"]] = values, Turn.from_dict(values)
        return known[1]


@dataclass(frozen=True)
class CompiledProtocol:
    """A protocol ready to run.

    Parameters
    ----------
    protocol : the protocol.
    answers : the number of answers it is compiled for.
    unrolled : one node a turn.
    """

    protocol: Protocol
    answers: int
    unrolled: Unrolled

    @cached_property
    def graph(self) -> StateCompiled:
        """LangGraph's graph, one node a turn: context an :class:`EpisodeContext`, state an :class:`EpisodeState`."""
        return _langgraph(self.unrolled, {name: [name] for name in self.unrolled.instances}, self.protocol.name)

    @cached_property
    def chained(self) -> StateCompiled:
        """The same with one node for turns that follow each other in any case: LangGraph's work is by the node.

        An episode that is interrupted goes on at the beginning of a node, so this is for those that never are.
        """
        return _langgraph(self.unrolled, self.unrolled.chains, self.protocol.name)

    @cached_property
    def arguing(self) -> tuple[tuple[Seat, ...], ...]:
        """The seats that argue for an answer, or would, role by role, in the order of their numbers."""
        instances = self.unrolled.instances.values()
        seats = {seat: None for one in instances for seat in (one.step.seat, *one.step.told)}
        roles = dict.fromkeys(seat.role for seat in seats if seat.role.argues_for_an_answer)
        return tuple(
            tuple(sorted((seat for seat in seats if seat.role == role), key=lambda seat: seat.index)) for role in roles
        )

    @cached_property
    def opposed(self) -> frozenset[Seat]:
        """The seats that argue for an answer and hear others who argue: debaters, whatever their role is called."""
        steps = [one.step for one in self.unrolled.instances.values()]
        arguing = {step.seat for step in steps if step.seat.role.argues_for_an_answer}
        return frozenset(
            step.seat
            for step in steps
            if step.seat in arguing and (arguing if step.hears is None else arguing & set(step.hears)) - {step.seat}
        )

    @cached_property
    def claims(self) -> bool:
        """Whether positions are stated by those who hold them."""
        return any(one.step.kind == "claim" for one in self.unrolled.instances.values())

    @cached_property
    def numbered(self) -> frozenset[str]:
        """Names of the roles without an answer that have several seats, at least one of which others hear."""
        steps = [one.step for one in self.unrolled.instances.values() if not one.step.seat.role.argues_for_an_answer]
        several = {step.seat.role.name for step in steps if step.seat.index}
        heard = {
            step.seat.role.name for step in steps if step.heard_by or (step.kind != "verdict" and not step.private)
        }
        return frozenset(several & heard)

    def after(self, step: str) -> frozenset[str]:
        """Names of the turns that a turn leads to."""
        return self._after[step]

    @cached_property
    def _after(self) -> dict[str, frozenset[str]]:
        graph = self.unrolled.graph
        return {name: frozenset(nx.descendants(graph, name)) for name in self.unrolled.instances}

    async def play(
        self, moderator: Moderator, thread: Thread | None = None, replies: Mapping[str, Any] | None = None
    ) -> list[Turn]:
        """Run one episode and give its turns in the protocol's order; errors of a turn are raised.

        Parameters
        ----------
        moderator : takes the turns.
        thread : where the episode is held when it is interrupted, and goes on from; None for one that never is.
        replies : by the id of an open question, its answer.

        Raises
        ------
        Waiting
            when somebody is to be asked; called again with the replies, the episode goes on.
        """
        context = EpisodeContext(moderator)
        config: RunnableConfig = {"recursion_limit": self.unrolled.step_limit}
        if thread is None:
            state = await self.chained.ainvoke({"turns": []}, config, context=context)
            return self.ordered(map(context.read, state["turns"]))
        graph = self.graph.copy({"checkpointer": thread.saver})
        config["configurable"] = {"thread_id": thread.id}
        held = await graph.aget_state(config)
        moderator.recall(self.ordered(map(context.read, held.values.get("turns", []))))
        # A task that has written its turn is no longer next, though the step that it stands in is not over.
        begin: Any = None if held.tasks else {"turns": []}
        if held.values and not held.tasks:  # ended, and the process with it before there was a record
            return self.ordered(map(context.read, held.values["turns"]))
        if replies:
            begin = Command(resume=dict(replies))
        elif held.interrupts:
            raise Waiting(_open(held))
        # Durable before the next node begins: what a person has said is never said to a process alone.
        state = await graph.ainvoke(begin, config, context=context, durability="sync")
        if "__interrupt__" in state:
            raise Waiting(_open(await graph.aget_state(config)))
        return self.ordered(map(context.read, state["turns"]))

    def ordered(self, turns: Iterable[Turn]) -> list[Turn]:
        """Turns in the protocol's order, whichever finished first."""
        return sorted(turns, key=lambda turn: self.rank[turn.step])

    @cached_property
    def rank(self) -> dict[str, int]:
        """By the name of a turn, its place in the protocol's order."""
        return {name: place for place, name in enumerate(self.unrolled.instances)}

    @cached_property
    def roles(self) -> dict[str, Role]:
        """The protocol's roles by name."""
        return dict(self.protocol.roles(self.answers))

    def verdict(self, turns: list[Turn]) -> Verdict:
        """The verdict of a finished episode: the mean of the verdicts that no later verdict follows."""
        final = set(self.unrolled.final_verdicts(turn.step for turn in turns))
        given = [turn for turn in turns if turn.step in final and turn.probabilities is not None]
        if not given:
            return Verdict(None, reason="no verdict was given")
        each = [turn.probabilities or () for turn in given]
        if self.protocol.combines == "majority":
            each = [_vote(probabilities) for probabilities in each]
        columns = zip(*each, strict=True)
        return Verdict(tuple(sum(column) / len(given) for column in columns), given[0].elicitation)


def _open(held: StateSnapshot) -> list[Open]:
    found = []
    for task in held.tasks:
        for one in task.interrupts:
            if one.value["kind"] != SEVERAL:
                found.append(Open(one.id, task.name, one.value))
                continue
            for key, asked in one.value["requests"].items():
                found.append(Open(one.id, task.name, asked["request"], key, asked["seat"]))
    return found


def _vote(probabilities: Sequence[float]) -> tuple[float, ...]:
    """One vote for the likeliest answer, in equal parts where several are."""
    top = max(probabilities)
    winners = [math.isclose(one, top, abs_tol=1e-9) for one in probabilities]
    return tuple(won / sum(winners) for won in winners)


def _turns(turns: Sequence[dict[str, Any]], steps: Sequence[str], read: Callable[[dict[str, Any]], Turn]) -> list[Turn]:
    """The turns of these steps that were taken, in the order of the steps."""
    taken = {turn["step"]: turn for turn in turns}
    return [read(taken[step]) for step in steps if step in taken]


# LangGraph finds the runtime by its parameter's name, which Callable cannot say: hence Any.
def _turn_node(instances: Sequence[Instance], unrolled: Unrolled) -> Any:
    leading = [(instance, unrolled.before(instance.name)) for instance in instances]

    async def node(state: EpisodeState, runtime: Runtime[EpisodeContext]) -> dict[str, Any]:
        context, taken = runtime.context, list[dict[str, Any]]()
        for instance, before in leading:
            said = [*state["turns"], *taken]
            heard = _turns(said, instance.hears, context.read)
            claims = [turn for turn in _turns(said, before, context.read) if turn.kind == "claim"]
            taken.append(context.write(await context.moderator.take(instance, heard, claims)))
        return {"turns": taken}

    return node


async def _pass(state: EpisodeState) -> dict[str, Any]:
    return {}


def _route(condition: Condition, before: list[str], yes: str, no: str) -> Callable[[EpisodeState], str]:
    def route(state: EpisodeState) -> str:
        # A condition decides what everybody sees next, so it must not turn on what one seat keeps to itself.
        public = [
            replace(turn, reasoning="", candidates=(), readings=())
            for turn in _turns(state["turns"], before, Turn.from_dict)
            if not turn.private
        ]
        return yes if condition(public) else no

    return route


def compile_protocol(protocol: Protocol, answers: int = 2) -> CompiledProtocol:
    """The protocol as a LangGraph graph for questions with this many answers.

    Raises
    ------
    CheckFailed
        if the protocol does not pass its check.
    """
    require_sound(protocol, answers)
    return CompiledProtocol(protocol, answers, unroll(protocol.graph(answers)))


def _langgraph(unrolled: Unrolled, chains: Mapping[str, Sequence[str]], name: str) -> StateCompiled:
    """LangGraph's graph with a node for each chain of turns, named by its first."""
    builder: StateGraph[EpisodeState, EpisodeContext, EpisodeState, EpisodeState] = StateGraph(
        EpisodeState, context_schema=EpisodeContext
    )
    chain_of = {turn: first for first, turns in chains.items() for turn in turns}
    nodes = {START: LANGGRAPH_START, END: LANGGRAPH_END, **chain_of}
    for node in unrolled.graph:
        if node in chains:
            builder.add_node(node, _turn_node([unrolled.instances[turn] for turn in chains[node]], unrolled))
        elif node not in nodes:
            builder.add_node(node, _pass)
    for node, sources in unrolled.joins.items():
        before = [nodes.get(source, source) for source in sources]
        if node == END:  # whoever is last ends the episode
            for source in before:
                builder.add_edge(source, LANGGRAPH_END)
        elif chain_of.get(node, node) != node:  # inside a chain
            continue
        elif len(before) == 1:
            builder.add_edge(before[0], node)
        else:
            builder.add_edge(before, node)
    for node, sources in unrolled.either.items():
        for source in sources:
            builder.add_edge(nodes.get(source, source), node)
    for node, (condition, yes, no) in unrolled.conditions.items():
        builder.add_conditional_edges(node, _route(condition, unrolled.before(node), yes, no), [yes, no])
    return builder.compile(name=name)
