"""The two networkx forms of a protocol.

:func:`network` is the form that is drawn and checked: every step once, loops as edges back that carry
``at_most`` (None: no bound).  :func:`unroll` is the form that runs: a directed acyclic graph with one node
a turn, in which **a turn sees the turns that lead to it and no others**.  Two simultaneous turns do not lead
to each other, so neither can see the other, whatever happens to finish first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import networkx as nx

from ..errors import ConfigurationError
from ..protocol import Branch, Condition, Graph, Repeat, Seat, Sequence, Step, Together

__all__ = ["END", "START", "Instance", "Unrolled", "network", "unroll"]

START, END = "start", "end"


def network(graph: Graph) -> nx.DiGraph:
    """The protocol as networkx, every step once.

    Nodes are ``start``, ``end`` and one a step; a step's node has the attributes ``step`` (the
    :class:`~oversight.protocol.Step`) and ``simultaneous`` (the path of simultaneous groups and the part of
    each that it stands in).  Edges back carry ``at_most``; edges out of a condition carry ``condition``.
    """
    result = nx.DiGraph()
    result.add_node(START)
    seen: Counter[str] = Counter()
    groups = iter(range(1_000_000))

    def connect(sources: list[str], targets: list[str]) -> None:
        result.add_edges_from((source, target) for source in sources for target in targets)

    def connect_back(sources: list[str], targets: list[str], at_most: int | None, conditional: bool) -> None:
        for source in sources:
            for target in targets:
                known = result.get_edge_data(source, target, {})
                if known.get("back"):  # a loop around a loop over the same turns: bounded only if both are
                    inner = known["at_most"]
                    at_most = None if at_most is None or inner is None else at_most * inner
                    conditional = conditional or known["conditional"]
                result.add_edge(source, target, back=True, at_most=at_most, conditional=conditional)

    def place(part: Graph, before: list[str], path: tuple[tuple[int, int], ...]) -> tuple[list[str], list[str]]:
        """Add the part after ``before``; give the nodes it starts with and the nodes it ends with."""
        match part:
            case Step():
                seen[part.seat.name] += 1
                node = f"{part.seat.name} {part.kind} {seen[part.seat.name]}"
                result.add_node(node, step=part, simultaneous=path)
                connect(before, [node])
                return [node], [node]
            case Sequence(parts):
                first, last = place(parts[0], before, path)
                for following in parts[1:]:
                    _, last = place(following, last, path)
                return first, last
            case Together(parts):
                group = next(groups)
                ends = [place(one, before, (*path, (group, index))) for index, one in enumerate(parts)]
                return [node for first, _ in ends for node in first], [node for _, last in ends for node in last]
            case Repeat(inner, at_most, until, between, None):
                first, last = place(inner, before, path)
                back = last if between is None else place(between, last, path)[1]
                connect_back(back, first, at_most, until is not None)
                return first, last
            case Repeat(inner, at_most, until, between, Graph() as opening):
                first, opened = place(opening, before, path)
                again, between_ends = (None, opened) if between is None else place(between, opened, path)
                starts, last = place(inner, between_ends, path)
                rest = None if at_most is None else at_most - 1
                if rest != 1:  # two rounds, of which the first is another: nothing is said twice
                    connect_back(last, starts if again is None else again, rest, until is not None)
                return first, [*last, *opened] if until is not None else last
            case Branch(_, then, otherwise):
                first_then, last_then = place(then, before, path)
                first_else, last_else = place(otherwise, before, path)
                for source in before:
                    for target in first_then:
                        result.edges[source, target]["condition"] = "then"
                    for target in first_else:
                        result.edges[source, target]["condition"] = "otherwise"
                return first_then + first_else, last_then + last_else
            case _:
                raise ConfigurationError(f"{type(part).__name__} is not a part of a protocol")

    _, last = place(graph, [START], ())
    result.add_node(END)
    connect(last, [END])
    return result


@dataclass(frozen=True)
class Instance:
    """One turn of the unrolled graph.

    Parameters
    ----------
    name : unique; the turn's ``step`` in a transcript.
    step : what is asked of whom.
    ordinal : how many turns of the same seat come before it in the graph.
    hears : names of the turns it sees, in order.
    private_of : names of the turns whose private reasoning it sees: its own seat's, and those it declares.
    told : seats whose answers it knows.
    """

    name: str
    step: Step
    ordinal: int
    hears: tuple[str, ...]
    private_of: frozenset[str]
    told: tuple[Seat, ...]


@dataclass
class Unrolled:
    """The form that runs.

    Parameters
    ----------
    instances : every turn by name, in order.
    graph : networkx graph over turns, ``start``, ``end`` and the nodes of conditions.
    joins : for each node, the nodes it waits for (all of them).
    either : for each node, the nodes any one of which starts it.
    conditions : for each node with a choice, the condition and the two nodes it chooses from.
    """

    instances: dict[str, Instance] = field(default_factory=dict)
    graph: nx.DiGraph = field(default_factory=nx.DiGraph)
    joins: dict[str, list[str]] = field(default_factory=dict)
    either: dict[str, list[str]] = field(default_factory=dict)
    conditions: dict[str, tuple[Condition, str, str]] = field(default_factory=dict)
    _before: dict[str, list[str]] = field(default_factory=dict)

    @cached_property
    def step_limit(self) -> int:
        """How many rounds of LangGraph the longest path takes: one a node, and one to start."""
        return int(nx.dag_longest_path_length(self.graph))

    def before(self, node: str) -> list[str]:
        """The turns that lead to a node, in order."""
        if node not in self._before:
            leading = nx.ancestors(self.graph, node)
            self._before[node] = [name for name in self.instances if name in leading]
        return list(self._before[node])

    @cached_property
    def chains(self) -> dict[str, list[str]]:
        """The turns in chains, by the first of each: one follows another alone, and is followed by nothing else."""
        chain_of: dict[str, list[str]] = {}
        for name in self.instances:
            (*_, last) = sources = self.joins[name]
            follows = len(sources) == 1 and last in self.instances and self.graph.out_degree(last) == 1
            chain_of[name] = chain_of[last] if follows else []
            chain_of[name].append(name)
        return {chain[0]: chain for chain in chain_of.values()}

    def final_verdicts(self, given: Iterable[str]) -> list[str]:
        """Of the turns that were taken, the verdicts that no other of them follows.

        A loop that ends early, or a condition, leaves verdicts that were never given: those follow nothing.
        """
        verdicts = [name for name in given if self.instances[name].step.kind == "verdict"]
        followed = {earlier for name in verdicts for earlier in self.before(name)}
        return [name for name in verdicts if name not in followed]


def unroll(graph: Graph) -> Unrolled:
    """The form that runs: loops written out, one node a turn.

    Raises
    ------
    ConfigurationError
        if a loop has no bound.
    """
    result = Unrolled()
    result.graph.add_node(START)
    seats = list({step.seat: None for step in graph.steps()})
    seen: Counter[Seat] = Counter()
    names: Counter[str] = Counter()
    passes = iter(range(1, 1_000_000))

    def add(name: str, before: list[str]) -> list[str]:
        result.joins[name] = before
        result.graph.add_node(name)
        for source in before:
            result.graph.add_edge(source, name)
        return [name]

    def merge(before: list[str]) -> list[str]:
        name = f"merge {next(passes)}"
        result.either[name] = before
        for source in before:
            result.graph.add_edge(source, name)
        return [name]

    def choose(condition: Condition, before: list[str]) -> tuple[list[str], list[str]]:
        number = next(passes)
        gate = add(f"condition {number}", before)[0]
        yes, no = f"condition {number} holds", f"condition {number} does not hold"
        result.graph.add_edge(gate, yes)
        result.graph.add_edge(gate, no)
        result.conditions[gate] = (condition, yes, no)
        return [yes], [no]

    def turn(step: Step, before: list[str]) -> list[str]:
        seen[step.seat] += 1
        names[step.seat.name] += 1  # counted by name: a role and its expert form share one
        ordinal = seen[step.seat] - 1
        name = f"{step.seat.name} {step.kind} {names[step.seat.name]}"
        add(name, before)
        ancestors = nx.ancestors(result.graph, name)
        heard, private = [], set()
        for other in result.instances.values():
            if other.name not in ancestors:
                continue
            if other.step.reaches(step):
                heard.append(other.name)
            if other.step.seat == step.seat or other.step.seat in step.reads_reasoning_of:
                private.add(other.name)
        arguing = [seat for seat in seats if seat.role.argues_for_an_answer]
        told = [seat for seat in arguing if seat == step.seat or step.hears is None or seat in step.hears]
        result.instances[name] = Instance(name, step, ordinal, tuple(heard), frozenset(private), (*told, *step.told))
        return [name]

    def place(part: Graph, before: list[str]) -> list[str]:
        match part:
            case Step():
                return turn(part, before)
            case Sequence(parts):
                for following in parts:
                    before = place(following, before)
                return before
            case Together(parts):
                return [node for one in parts for node in place(one, before)]
            case Repeat(inner, at_most, until, between, opening):
                if at_most is None:
                    raise ConfigurationError("a loop has no bound: give repeat(...) a number of rounds")
                leaving: list[str] = []
                for round_number in range(1, at_most + 1):
                    if between is not None and round_number > 1:
                        before = place(between, before)
                    before = place(inner if opening is None or round_number > 1 else opening, before)
                    if until is not None and round_number < at_most:
                        stop, before = choose(until, before)
                        leaving += stop
                return merge(leaving + all_of(before)) if leaving else before
            case Branch(condition, then, otherwise):
                yes, no = choose(condition, before)
                return merge(all_of(place(then, yes)) + all_of(place(otherwise, no)))
            case _:
                raise ConfigurationError(f"{type(part).__name__} is not a part of a protocol")

    def all_of(nodes: list[str]) -> list[str]:
        """One node that waits for all of ``nodes``, so that a merge has one arrow from each side."""
        return nodes if len(nodes) == 1 else add(f"join {next(passes)}", nodes)

    add(END, place(graph, [START]))
    return result
