"""The check that runs before anything else.

Rules, each a finding when it is broken:

``verdict``         every path from the start ends in a verdict;
``bound``           every loop has a bound, so the number of steps is known;
``declared``        each role says whether it sees hidden material;
``leak``            no judge can reach hidden material, or another seat's private reasoning, through any edge;
``simultaneous``    turns at the same time do not lead to each other, and no seat speaks twice at once;
``recursion``       building the graph comes to an end, and so does splitting a question: depth and budget are known;
``seats``           no more seats argue than there are answers;
``instructions``    what is filled into a role's instructions and tasks is known;
``tasks``           a turn's task is one of its role's;
``candidates``      several candidates have somebody to rank them, who is in the graph, and is no expert judge;
``checks``          a verdict from checks of steps knows how many there can be, and comes after arguments in steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import networkx as nx

from ..errors import CheckFailed, ConfigurationError
from ..protocol import Step
from .network import END, START, network, unroll

if TYPE_CHECKING:
    from ..protocol import Graph, Protocol

__all__ = ["Finding", "check", "check_network", "require_sound"]


@dataclass(frozen=True)
class Finding:
    """A broken rule: its name, where, and what to do."""

    rule: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.where}: {self.message}"


def _steps(graph: nx.DiGraph) -> dict[str, Step]:
    return {node: data["step"] for node, data in graph.nodes(data=True) if "step" in data}


def _verdict_findings(graph: nx.DiGraph, steps: dict[str, Step]) -> list[Finding]:
    without = graph.subgraph([node for node in graph if node not in steps or steps[node].kind != "verdict"])
    if nx.has_path(without, START, END):
        path = nx.shortest_path(without, START, END)
        return [Finding("verdict", " > ".join(path), "this path has no verdict: end it with a role that decides()")]
    return []


def _bound_findings(graph: nx.DiGraph) -> list[Finding]:
    bounded = [(a, b) for a, b, data in graph.edges(data=True) if data.get("at_most") is not None]
    rest = nx.DiGraph(graph)
    rest.remove_edges_from(bounded)
    return [
        Finding("bound", " > ".join(sorted(cycle)), "this loop has no bound: give repeat(...) a number of rounds")
        for cycle in nx.strongly_connected_components(rest)
        if len(cycle) > 1 or any(rest.has_edge(node, node) for node in cycle)
    ]


def _visibility_findings(graph: nx.DiGraph, steps: dict[str, Step]) -> list[Finding]:
    findings = []
    for role in {step.seat.role.name: step.seat.role for step in steps.values()}.values():
        if role.sees_material is None:
            findings.append(
                Finding("declared", role.name, "say whether the role sees hidden material: sees_material=True or False")
            )

    # What flows where: material and private reasoning into the steps that read them, and on from a step that
    # repeats what it sees to every step that hears it.
    flow = nx.DiGraph()
    flow.add_nodes_from(steps)
    closure = {node: nx.descendants(graph, node) for node in steps}
    for node, step in steps.items():
        if step.seat.role.sees_material:
            flow.add_edge("hidden material", node)
        for other in steps.values():
            if other.seat in step.reads_reasoning_of and other.seat != step.seat:
                flow.add_edge(f"private reasoning of {other.seat.name}", node)
        if step.forwards:
            flow.add_edges_from(
                (node, later) for later in closure[node] if later in steps and step.reaches(steps[later])
            )
    sources = [node for node in flow if node not in steps]
    judges = {step.seat for step in steps.values() if step.kind == "verdict"}
    for node, step in steps.items():
        if step.seat not in judges:  # what a judge saw in an earlier turn, it still knows when it decides
            continue
        for source in sources:
            if source == "hidden material" and step.seat.role.expert:
                continue
            if nx.has_path(flow, source, node):
                path = " > ".join(nx.shortest_path(flow, source, node))
                advice = (
                    "a judge must not see hidden material (an expert judge is declared with expert=True)"
                    if source == "hidden material"
                    else "private reasoning stays with the seat that reasoned"
                )
                findings.append(Finding("leak", path, advice))
    return findings


def _simultaneous_findings(graph: nx.DiGraph, steps: dict[str, Step]) -> list[Finding]:
    findings = []
    forward = nx.DiGraph(graph)
    forward.remove_edges_from([(a, b) for a, b, data in graph.edges(data=True) if data.get("back")])
    for (first, a), (second, b) in combinations(((n, graph.nodes[n]["simultaneous"]) for n in steps), 2):
        parts = dict(a)
        if not any(group in parts and parts[group] != part for group, part in b):
            continue
        if nx.has_path(forward, first, second) or nx.has_path(forward, second, first):
            findings.append(
                Finding("simultaneous", f"{first}, {second}", "one leads to the other, so they are not simultaneous")
            )
        if steps[first].seat == steps[second].seat:
            message = "one seat cannot take two turns at once: use seat(0), seat(1)"
            findings.append(Finding("simultaneous", f"{first}, {second}", message))
    return findings


def _seat_findings(graph: Graph, answers: int) -> list[Finding]:
    seats = {seat for step in graph.steps() for seat in (step.seat, *step.told) if seat.role.argues_for_an_answer}
    return [
        Finding("seats", seat.name, f"there are {answers} answers: nothing is left for it to argue for")
        for seat in sorted(seats, key=lambda seat: (seat.role.name, seat.index))
        if seat.index >= answers
    ]


def _template_findings(graph: Graph) -> list[Finding]:
    findings = []
    for role in {step.seat.role.name: step.seat.role for step in graph.steps()}.values():
        for template in role.texts().values():
            try:
                template.format(speaker="", answer="", positions="")
            except (KeyError, IndexError, ValueError, AttributeError) as error:
                known = "{speaker}, {answer} and {positions} are filled in"
                message = f"{error} in its instructions: {known}, and any other brace is written twice"
                findings.append(Finding("instructions", role.name, message))
    for step in graph.steps():
        if step.task and step.task not in step.seat.role.tasks:
            known = ", ".join(step.seat.role.tasks) or "none"
            message = f"it has no task {step.task!r} (known: {known}): write it into the role's tasks"
            findings.append(Finding("tasks", step.seat.name, message))
    return list(dict.fromkeys(findings))


def _candidate_findings(graph: Graph) -> list[Finding]:
    findings = []
    seats = {step.seat for step in graph.steps()}
    for step in graph.steps():
        if step.candidates < 1 or (step.candidates > 1 and step.kind != "speech"):
            message = "only speeches have candidates, at least one each"
        elif step.candidates > 1 and step.preferred_by is None:
            message = "nobody ranks its candidates: say preferred_by=, a judge's seat or its own"
        elif step.preferred_by is not None and step.preferred_by not in seats:
            message = f"{step.preferred_by.name} ranks its candidates and takes no turn in this protocol"
        elif step.preferred_by not in (None, step.seat) and step.preferred_by.role.sees_material:
            # Its ranking would tell the speaker's hearers what the material says.
            message = f"{step.preferred_by.name} ranks its candidates and sees hidden material: let another judge do it"
        elif step.preferred_by not in (None, step.seat) and step.private:
            message = f"{step.preferred_by.name} would read its drafts to rank them: let it pick its own"
        elif (
            step.preferred_by not in (None, step.seat)
            and not step.seat.role.argues_for_an_answer
            and not step.most_steps
        ):
            message = "it has no answer whose probability could rank its candidates: let it pick its own"
        else:
            continue
        findings.append(Finding("candidates", step.seat.name, message))
    return list(dict.fromkeys(findings))


def _checks_findings(graph: nx.DiGraph, steps: dict[str, Step]) -> list[Finding]:
    findings = []
    for node, step in steps.items():
        how = step.checks
        if how is None:
            if step.critic is not None and not step.most_steps:
                message = "it is no argument in steps, which a critic could criticise: say most_steps="
                findings.append(Finding("checks", node, message))
            continue
        if step.kind != "verdict" or how.most_steps < 1 or not how.of:
            message = "a verdict is put together from checks of the steps of one seat or more: say most_steps="
            findings.append(Finding("checks", node, message))
        before = [steps[other] for other in nx.ancestors(graph, node) if other in steps]
        for seat in how.of:
            made = [one for one in before if one.seat == seat and one.kind == "speech"]
            if not made or any(not 1 <= one.most_steps <= how.most_steps for one in made):
                message = f"{seat.name} makes no argument before it of at most {how.most_steps} steps: say most_steps="
                findings.append(Finding("checks", node, message))
    return findings


DEEPEST = 16
"""Levels below a question at most: a tree of two parts each is then wider than any budget."""


def _recursion_findings(graph: Graph) -> list[Finding]:
    findings = []
    for step in graph.steps():
        how = step.recursion
        if how is None:
            continue
        if how.depth is None or not 0 <= how.depth <= DEEPEST:
            message = f"it has no bound on its depth that is at most {DEEPEST}: say depth="
        elif how.budget is None or how.budget < 1:
            message = "it has no bound on its requests: say budget="
        elif how.most_parts < 2:
            message = "a question that has one part is asked again: say most_parts=2 or more"
        else:
            continue
        findings.append(Finding("recursion", step.seat.name, message))
    return findings


def check_network(graph: nx.DiGraph) -> list[Finding]:
    """Findings on a protocol's networkx form, in the attributes that :func:`~oversight.graph.network` documents."""
    steps = _steps(graph)
    return [
        *_checks_findings(graph, steps),
        *_verdict_findings(graph, steps),
        *_bound_findings(graph),
        *_visibility_findings(graph, steps),
        *_simultaneous_findings(graph, steps),
    ]


def check(protocol: Protocol, answers: int = 2) -> list[Finding]:
    """Findings on a protocol for questions with this many answers; an empty list means that it may run."""
    if not isinstance(getattr(protocol, "name", None), str):
        return [Finding("name", type(protocol).__name__, 'give the class a name: name = "my_protocol"')]
    try:
        graph = protocol.graph(answers)
        findings = [
            *check_network(network(graph)),
            *_seat_findings(graph, answers),
            *_template_findings(graph),
            *_candidate_findings(graph),
            *_recursion_findings(graph),
        ]
        if not findings:
            unroll(graph)
    except RecursionError:
        return [Finding("recursion", protocol.name, "the graph contains itself without end: bound its depth")]
    except ConfigurationError as error:
        return [Finding("graph", protocol.name, str(error))]
    return findings


def require_sound(protocol: Protocol, answers: int = 2) -> None:
    """Raise :class:`~oversight.errors.CheckFailed` with the first finding, if there is any."""
    findings = check(protocol, answers)
    if findings:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        raise CheckFailed(
            f"protocol {protocol.name!r} does not pass its check: {findings[0]}{more}; oversight check shows it all"
        )
