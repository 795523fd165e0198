"""What is compiled: turns written out, who hears whom by structure alone, and exactly the steps LangGraph needs."""

import asyncio
import importlib.util
from itertools import pairwise
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.errors import GraphRecursionError

from oversight.graph import EpisodeContext, compile_protocol, network, unroll
from oversight.protocol import Debater, Judge, Protocol, branch, in_turn, repeat, together
from oversight.protocols.consultancy import Consultancy
from oversight.protocols.debate import Debate
from oversight.transcript import Turn, Verdict

_file = Path(__file__).with_name("helpers.py")
_specification = importlib.util.spec_from_file_location("oversight_test_helpers", _file)
helpers = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(helpers)


class Roles(Protocol):
    """Roles to compose graphs of."""

    name = "roles"
    debater = Debater()
    judge = Judge()

    def graph(self, answers):
        return self.judge.decides()


SEATS = [Roles().debater.seat(number) for number in range(4)]
JUDGE = Roles().judge


def protocol_of(graph):
    """A protocol with this graph."""

    class Made(Protocol):
        name = "made"

        def graph(self, answers):
            return graph

    return Made()


class Recorder:
    """A moderator that notes, for each turn, which turns it was handed."""

    def __init__(self):
        self.heard, self.claims = {}, {}

    async def take(self, instance, heard, claims):
        self.heard[instance.name] = [turn.step for turn in heard]
        self.claims[instance.name] = [turn.step for turn in claims]
        given = (0.5, 0.5) if instance.step.kind != "speech" else None
        return Turn(
            instance.name,
            instance.step.seat.name,
            instance.step.seat.role.name,
            instance.step.kind,
            probabilities=given,
        )


def run(compiled, limit=None):
    """Turns and recorder of one episode, under a limit on LangGraph's steps."""
    recorder = Recorder()
    if limit is None:
        return asyncio.run(compiled.play(recorder)), recorder
    state = asyncio.run(  # the form with one node a turn
        compiled.graph.ainvoke({"turns": []}, {"recursion_limit": limit}, context=EpisodeContext(recorder))
    )
    return compiled.ordered(map(Turn.from_dict, state["turns"])), recorder


# ---- the step limit -------------------------------------------------------------------------------


@pytest.mark.parametrize("answers", [2, 3])
@pytest.mark.parametrize("protocol", helpers.VARIANTS, ids=lambda protocol: protocol.title)
def test_the_step_limit_is_exactly_what_langgraph_needs(protocol, answers):
    """With the computed limit every built-in runs to its verdict; with one step less LangGraph gives up."""
    compiled = helpers.compiled(protocol, answers)
    limit = compiled.unrolled.step_limit
    turns, _ = run(compiled, limit)
    assert [turn.step for turn in turns] == list(compiled.unrolled.instances)
    assert compiled.verdict(turns).scored
    with pytest.raises(GraphRecursionError):
        run(compiled, limit - 1)


def loop(ends_after):
    """Up to four rounds of two debaters, ended by a condition."""
    return (
        repeat(together(SEATS[0].argues(), SEATS[1].argues()), 4, until=lambda turns: len(turns) >= 2 * ends_after)
        >> JUDGE.decides()
    )


@pytest.mark.parametrize("ends_after", [1, 2, 3, 4])
def test_the_step_limit_holds_for_conditional_loops(ends_after):
    """The limit is that of the longest path; a loop that ends early needs no more, one that does not all of it."""
    compiled = compile_protocol(protocol_of(loop(ends_after)))
    limit = compiled.unrolled.step_limit
    turns, _ = run(compiled, limit)
    assert len(turns) == 2 * ends_after + 1
    if ends_after == 4:
        with pytest.raises(GraphRecursionError):
            run(compiled, limit - 1)


@pytest.mark.parametrize("taken", [True, False])
def test_the_step_limit_holds_for_branches(taken):
    """The longer side of a branch sets the limit."""
    long = SEATS[0].argues() >> together(SEATS[0].argues(), SEATS[1].argues()) >> SEATS[1].argues()
    compiled = compile_protocol(protocol_of(branch(lambda turns: taken, long, SEATS[0].argues()) >> JUDGE.decides()))
    limit = compiled.unrolled.step_limit
    assert len(run(compiled, limit)[0]) == (5 if taken else 2)
    if taken:
        with pytest.raises(GraphRecursionError):
            run(compiled, limit - 1)


# ---- what leads to what ---------------------------------------------------------------------------


def test_names_orders_and_what_is_heard_are_fixed_before_anything_runs():
    """The unrolled debate: one node a turn; a turn hears the rounds before its own."""
    unrolled = unroll(Debate(rounds=2).graph(2))
    assert {name: instance.hears for name, instance in unrolled.instances.items()} == {
        "debater 1 speech 1": (),
        "debater 2 speech 1": (),
        "debater 1 speech 2": ("debater 1 speech 1", "debater 2 speech 1"),
        "debater 2 speech 2": ("debater 1 speech 1", "debater 2 speech 1"),
        "judge verdict 1": ("debater 1 speech 1", "debater 2 speech 1", "debater 1 speech 2", "debater 2 speech 2"),
    }
    assert [instance.ordinal for instance in unrolled.instances.values()] == [0, 0, 1, 1, 0]
    assert len(unrolled.instances) == 5
    assert unrolled.instances["debater 1 speech 2"].private_of == {"debater 1 speech 1"}
    assert unrolled.instances["judge verdict 1"].private_of == frozenset()


def test_what_leads_to_a_turn_and_what_it_hears_differ():
    """A consultant of the ensembled form, its judge, and the other pair: no path from one pair to the other."""
    unrolled = unroll(Consultancy(rounds=1, form="ensembled").graph(2))
    assert unrolled.before("judge verdict 1") == ["consultant 1 speech 1"]
    assert unrolled.before("judge 2 verdict 1") == ["consultant 2 speech 1"]
    assert unrolled.before("end") == list(unrolled.instances)


@st.composite
def graphs(draw, depth=3):
    """Random graphs of speeches over four seats, each simultaneous part with seats of its own."""

    def part(seats, depth):
        shapes = ["step", "sequence", "together", "repeat", "until", "between", "first", "branch"]
        shape = draw(st.sampled_from(shapes)) if depth else "step"
        if shape == "together" and len(seats) < 2:
            shape = "step"
        match shape:
            case "step":
                return draw(st.sampled_from(seats)).argues()
            case "sequence":
                return in_turn(*(part(seats, depth - 1) for _ in range(draw(st.integers(2, 3)))))
            case "together":
                cut = draw(st.integers(1, len(seats) - 1))
                return together(part(seats[:cut], depth - 1), part(seats[cut:], depth - 1))
            case "repeat":
                return repeat(part(seats, depth - 1), draw(st.integers(1, 3)))
            case "until":
                modulus = draw(st.integers(2, 3))
                return repeat(part(seats, depth - 1), 3, until=lambda turns: len(turns) % modulus == 0)
            case "between":
                stops = draw(st.sampled_from([None, lambda turns: len(turns) % 2 == 0]))
                rounds = draw(st.integers(1, 3))
                return repeat(part(seats, depth - 1), rounds, until=stops, between=part(seats, depth - 1))
            case "first":
                stops = draw(st.sampled_from([None, lambda turns: len(turns) % 2 == 0]))
                between = draw(st.sampled_from([None, seats[0].argues()]))
                opening = part(seats, depth - 1)
                rounds = draw(st.integers(1, 3))
                return repeat(part(seats, depth - 1), rounds, until=stops, between=between, first=opening)
            case _:
                remainder = draw(st.integers(0, 1))
                return branch(lambda turns: len(turns) % 2 == remainder, part(seats, depth - 1), part(seats, depth - 1))

    return part(SEATS, depth) >> JUDGE.decides()


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_any_composition_runs_within_its_limit_and_by_its_edges(graph):
    """Whatever is composed: it compiles, ends in one verdict within the limit, and each turn is handed exactly
    the turns taken that lead to it, in order; two turns of which neither leads to the other never see each other."""
    compiled = compile_protocol(protocol_of(graph), answers=len(SEATS))
    assert nx.is_directed_acyclic_graph(compiled.unrolled.graph)
    turns, recorder = run(compiled, compiled.unrolled.step_limit)
    taken = [turn.step for turn in turns]
    assert taken.count("judge verdict 1") == 1
    assert len(set(taken)) == len(taken)
    for step in taken:
        before = nx.ancestors(compiled.unrolled.graph, step).intersection(taken)
        assert recorder.heard[step] == [name for name in compiled.unrolled.instances if name in before]
    again, chained = run(compiled)  # with one node for each chain of turns
    assert [turn.step for turn in again] == taken
    assert (chained.heard, chained.claims) == (recorder.heard, recorder.claims)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_chains_part_the_turns_and_hold_what_nothing_comes_between(graph):
    """Each turn stands in one chain; inside one, a turn leads to the next alone, and nothing else leads there."""
    unrolled = unroll(graph)
    assert sorted(turn for chain in unrolled.chains.values() for turn in chain) == sorted(unrolled.instances)
    for first, chain in unrolled.chains.items():
        assert chain[0] == first
        for one, following in pairwise(chain):
            assert list(unrolled.graph.successors(one)) == [following]
            assert list(unrolled.graph.predecessors(following)) == [one]


def test_turns_one_after_another_are_one_chain():
    """A sequential debate is a single node; simultaneous turns are nodes of their own."""
    assert list(map(len, unroll(Debate(rounds=3, style="sequential").graph(2)).chains.values())) == [7]
    assert list(map(len, unroll(Debate(rounds=2).graph(2)).chains.values())) == [1, 1, 1, 1, 1]


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_the_network_that_is_checked_has_every_way_of_the_graph_that_runs(graph):
    """Whatever leads to a turn as it runs leads to it in the form that the check reads, too."""
    form = network(graph)
    steps = {node: id(data["step"]) for node, data in form.nodes(data=True) if "step" in data}
    leads = {(steps[one], steps[later]) for one in steps for later in nx.descendants(form, one) if later in steps}
    # A step in a cycle leads to itself, which descendants leave out.
    leads |= {
        (steps[one], steps[one])
        for part in nx.strongly_connected_components(form)
        for one in part & set(steps)
        if len(part) > 1 or form.has_edge(one, one)
    }
    unrolled = unroll(graph)
    for name, instance in unrolled.instances.items():
        for before in unrolled.before(name):
            assert (id(unrolled.instances[before].step), id(instance.step)) in leads


ROUND, OPENING, BETWEEN = SEATS[0].argues(), SEATS[1].argues(), SEATS[2].argues()
NEVER = {"until": lambda turns: False}


@pytest.mark.parametrize(
    ("rounds", "parts", "turns"),
    [
        (1, {"between": BETWEEN}, ["1"]),
        (3, {"between": BETWEEN}, ["1", "3", "1", "3", "1"]),
        (1, {"first": OPENING}, ["2"]),
        (2, {"first": OPENING}, ["2", "1"]),
        (3, {"first": OPENING, "between": BETWEEN}, ["2", "3", "1", "3", "1"]),
        (3, {"first": OPENING, "between": BETWEEN, **NEVER}, ["2", "3", "1", "3", "1"]),
        (3, {"first": OPENING, "between": BETWEEN, "until": lambda turns: len(turns) >= 3}, ["2", "3", "1"]),
        (3, {"first": OPENING, "between": BETWEEN, "until": lambda turns: True}, ["2"]),
        (3, {"between": BETWEEN, "until": lambda turns: True}, ["1"]),
    ],
)
def test_what_comes_between_rounds_and_in_place_of_the_first(rounds, parts, turns):
    """Nothing comes before the first round or after the last; a loop that ends early asks nothing more."""
    compiled = compile_protocol(protocol_of(repeat(ROUND, rounds, **parts) >> JUDGE.decides()), answers=len(SEATS))
    taken, recorder = run(compiled, compiled.unrolled.step_limit)
    assert [turn.seat.removeprefix("debater ") for turn in taken] == [*turns, "judge"]
    steps = [turn.step for turn in taken]
    assert [recorder.heard[step] for step in steps] == [steps[:place] for place in range(len(steps))]


EDGES = {
    "between": (
        repeat(ROUND, 3, between=BETWEEN),
        {("start", "1"): None, ("1", "3"): None, ("3", "1"): (3, False), ("1", "judge"): None},
    ),
    "between, ended by a condition": (
        repeat(ROUND, 3, between=BETWEEN, **NEVER),
        {("start", "1"): None, ("1", "3"): None, ("3", "1"): (3, True), ("1", "judge"): None},
    ),
    "another first": (
        repeat(ROUND, 3, first=OPENING),
        {("start", "2"): None, ("2", "1"): None, ("1", "1"): (2, False), ("1", "judge"): None},
    ),
    "another first of two: the part comes once": (
        repeat(ROUND, 2, first=OPENING),
        {("start", "2"): None, ("2", "1"): None, ("1", "judge"): None},
    ),
    "another first, which a condition may leave alone": (
        repeat(ROUND, 3, first=OPENING, **NEVER),
        {("start", "2"): None, ("2", "1"): None, ("1", "1"): (2, True), ("1", "judge"): None, ("2", "judge"): None},
    ),
    "another first, and between": (
        repeat(ROUND, 3, first=OPENING, between=BETWEEN),
        {("start", "2"): None, ("2", "3"): None, ("3", "1"): None, ("1", "3"): (2, False), ("1", "judge"): None},
    ),
}


@pytest.mark.parametrize("case", EDGES)
def test_the_network_of_a_loop_with_more_parts(case):
    """Every step once; the edge back goes to what begins the next round, with how often the rounds come."""
    graph, edges = EDGES[case]

    def short(node):
        return node.removeprefix("debater ").split()[0]

    found = {
        (short(one), short(other)): (data["at_most"], data["conditional"]) if data.get("back") else None
        for one, other, data in network(graph >> JUDGE.decides()).edges(data=True)
        if other != "end"
    }
    assert found == edges


# ---- verdicts -------------------------------------------------------------------------------------


def verdict_turn(step, *probabilities):
    return Turn(step, "judge", "judge", "verdict", probabilities=probabilities, elicitation="votes")


def test_the_mean_of_verdicts_that_no_verdict_follows():
    """Side by side they are averaged; a later one replaces those that lead to it; none at all is unscored."""
    side_by_side = compile_protocol(protocol_of(together(JUDGE.seat(0).decides(), JUDGE.seat(1).decides())))
    both = [verdict_turn("judge verdict 1", 0.2, 0.8), verdict_turn("judge 2 verdict 1", 0.6, 0.4)]
    assert side_by_side.verdict(both) == Verdict((0.4, 0.6000000000000001), "votes")
    in_a_row = compile_protocol(protocol_of(JUDGE.decides() >> JUDGE.decides()))
    both = [verdict_turn("judge verdict 1", 0.2, 0.8), verdict_turn("judge verdict 2", 0.6, 0.4)]
    assert in_a_row.verdict(both) == Verdict((0.6, 0.4), "votes")
    assert in_a_row.verdict(both[:1]) == Verdict((0.2, 0.8), "votes")
    assert not in_a_row.verdict([]).scored


def test_turns_that_finish_in_another_order_are_put_in_the_protocols_order():
    """Transcripts follow the graph, whoever finished first."""
    compiled = helpers.compiled(Debate(rounds=2), 2)
    turns, _ = run(compiled)
    assert compiled.ordered(reversed(turns)) == turns
