"""Questions that are split into parts: the tree, its bounds, its failures, and what the judge sees of it."""

import asyncio
import importlib.util
import json
import math
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oversight
from oversight.agents import LanguageModelAgent, ScriptedAgent
from oversight.errors import CheckFailed, TurnFailed
from oversight.graph import check, to_terminal
from oversight.graph.recursion import solve_recursively
from oversight.models import Completion, Model
from oversight.numbered import read_parts
from oversight.protocol import Graph, Judge, Protocol, Role, solves
from oversight.protocols.decomposition import Decomposition
from oversight.questions import Arena, Part, Question
from oversight.requests import Speech
from oversight.runs.api import plan_run
from oversight.runs.directory import read_episodes
from oversight.transcript import Usage
from oversight.tree import Node, first_wrong

TESTS = Path(__file__).parent


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", TESTS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


# ---- an arena of sums of many numbers, whose agents add two at a time ----------------------------------


def numbers(text):
    return [int(one) for one in re.findall(r"-?\d+", text.partition("\n")[0])]


def asked(values):
    return f"What is {' + '.join(map(str, values))}?"


class LongSums(Arena):
    """Sums of 2, 4, 8, ... numbers."""

    name = "long_sums"

    length: int = 8
    count: int = 4
    same: bool = False

    def questions(self, limit, seed):
        found = []
        for number in range(limit or self.count):
            values = [1] * self.length if self.same else [(7 * number + 3 * k + seed) % 10 for k in range(self.length)]
            right = sum(values)
            answers = (str(right), str(right + 1)) if number % 2 else (str(right - 1), str(right))
            found.append(
                Question(
                    id=f"sum {number}",
                    text=asked(values),
                    answers=answers,
                    correct=answers.index(str(right)),
                    source=f"sum {number}",
                    hidden={"note": "the hidden note"},
                    group=f"{self.length} numbers" if number % 3 else "others",
                )
            )
        return found

    def part(self, text):
        if not re.fullmatch(r"What is [-0-9 +]+\?", text):
            return None
        return Part({"numbers": numbers(text)}, str(sum(numbers(text))))


class Adder(ScriptedAgent):
    """Adds two numbers at a time; splits longer sums in halves; decides by the answer at the end of what it sees."""

    def __init__(self, name="adder", wrong="", seen=None):
        super().__init__(name, speeches=["unused"], choices=self._choices)
        self.wrong = wrong
        self.seen = [] if seen is None else seen

    def describe(self):
        return {"agent": self.name, "wrong": self.wrong}

    async def speak(self, request):
        view = request.view
        self.seen.append((request.form, view))
        values = numbers(view.question)
        if request.form == "parts":
            if len(values) <= 2:
                return Speech("NONE")
            half = len(values) // 2
            return Speech(f"1. {asked(values[:half])}\n2. {asked(values[half:])}")
        if view.question == self.wrong:
            return Speech("99")
        if view.turns:
            return Speech(str(sum(int(turn.text.rpartition("Answer: ")[2]) for turn in view.turns)))
        if len(values) > 2:
            raise TurnFailed(f"{self.name} cannot add {len(values)} numbers at once")
        return Speech(str(sum(values)))

    def _choices(self, view):
        if not view.turns:
            return dict.fromkeys((answer.label for answer in view.answers), 0.5)
        said = re.findall(r"answer: (-?\d+)", view.turns[-1].text)[0]
        found = [answer.label for answer in view.answers if answer.text == said]
        return {found[0]: 1.0} if found else dict.fromkeys((answer.label for answer in view.answers), 0.5)


def play(folder, agent=None, *, arena=None, judge=None, **options):
    agent = agent or Adder()
    protocol = Decomposition(**options)
    cast = {role: (judge or Adder("judge")) if role == "judge" else agent for role in protocol.roles()}
    oversight.run(protocol, arena or LongSums(), **cast, log_dir=folder, swap=False)
    return list(read_episodes(folder))


def tree_of(record):
    return Node.from_dict(next(turn["tree"] for turn in record["turns"] if turn["kind"] == "solution"))


def test_an_agent_that_adds_two_numbers_solves_sums_of_eight_by_splitting_them(tmp_path):
    records = play(tmp_path / "run", depth=2)
    assert [record["credit"] for record in records] == [1.0] * 4
    tree = tree_of(records[0])
    assert [path for path, _ in tree.walk()] == ["", "1", "1.1", "1.2", "2", "2.1", "2.2"]
    assert all(str(sum(numbers(node.question))) == node.answer for _, node in tree.walk())
    alone = play(tmp_path / "alone", depth=0)
    assert {record["status"] for record in alone} == {"unscored"}
    assert "cannot add 8 numbers at once" in alone[0]["reason"]


@pytest.mark.parametrize("validated", [False, True])
def test_where_nothing_is_split_nobody_is_cast_for_it(tmp_path, capsys, validated):
    """With depth 0 solver and judge are all there are, in the cast, the plan of costs, the drawing and the run."""
    from oversight.cli import main

    protocol = Decomposition(depth=0, validated=validated)
    assert list(protocol.roles()) == ["solver", "judge"]
    records = play(tmp_path / "run", arena=LongSums(length=2), depth=0, validated=validated)
    assert {record["credit"] for record in records} == {1.0}
    words = ["run", "decomposition", "--depth", "0", *(["--validated"] if validated else []), "--arena", "arithmetic"]
    words += ["--solver", "bounded/1", "--judge", "bounded/1", "--limit", "1"]
    assert main([*words, "--dry-run"]) == 0
    assert main(["check", "decomposition", "--depth", "0"]) == 0
    printed = capsys.readouterr().out
    assert "solver" in printed
    assert not any(role in printed for role in ("decomposer", "combiner", "checker"))
    assert main([*words, "--combiner", "bounded/1"]) == 2
    assert "has no combiner; it has one with --depth 1" in capsys.readouterr().err


def test_the_transcript_is_exactly_this(tmp_path):
    record = play(tmp_path / "run", arena=LongSums(length=4, count=1), depth=3)[0]
    turn = record["turns"][0]
    assert (turn["step"], turn["role"], turn["kind"]) == ("solver solution 1", "solver", "solution")
    assert (
        turn["text"]
        == """What is 0 + 3 + 6 + 9?
answer: 18
   1  What is 0 + 3?
      answer: 3
   2  What is 6 + 9?
      answer: 15"""
    )


def test_who_works_on_a_part_sees_that_part_alone_and_the_judge_the_tree(tmp_path):
    seen, judged = [], []

    class Watching(Adder):
        async def choose(self, request):
            judged.append(request.view)
            return await super().choose(request)

    play(tmp_path / "run", Adder(seen=seen), arena=LongSums(count=1), judge=Watching("judge"), depth=2)
    for form, view in seen:
        assert not view.material
        if view.question != judged[0].question:
            assert view.answers == view.options == view.positions == ()
            assert view.structure == {"numbers": numbers(view.question)}
            assert judged[0].question not in repr(view)
        assert view.task.startswith({"parts": "Split", "answer": "Answer"}[form])
    (tree,) = judged[0].turns
    assert "1.2  What is" in tree.text
    assert "hidden note" not in repr(judged) + repr(seen)


def test_an_expert_solver_sees_the_material_and_nobody_else_does(tmp_path):
    seen = []
    play(tmp_path / "run", Adder(seen=seen), arena=LongSums(count=1, length=2), depth=1, expert=True)
    by_form = {form: bool(view.material) for form, view in seen}
    assert by_form == {"parts": False, "answer": True}


def test_the_same_question_is_asked_once(tmp_path):
    seen = []
    records = play(tmp_path / "run", Adder(seen=seen), arena=LongSums(count=1, same=True), depth=2)
    tree = tree_of(records[0])
    assert tree.answer == "8"
    assert [node.again for _, node in tree.walk()] == [False, False, False, True, True, True, True]
    questions = [(form, view.question, view.turns) for form, view in seen]
    assert len(questions) == len({repr(one) for one in questions})
    # One split of eight and one of four, one sum of two, one putting together of each: five, not thirteen.
    assert len(questions) == 5


def test_a_part_that_fails_is_seen_in_the_tree_and_leaves_the_episode_unscored(tmp_path):
    class Breaking(Adder):
        async def speak(self, request):
            if request.view.question == "What is 0 + 3?" and request.form == "answer":
                raise TurnFailed("adder broke")
            return await super().speak(request)

    records = play(tmp_path / "run", Breaking(), arena=LongSums(count=1), depth=2)
    for record in records:
        assert record["status"] == "unscored"
        assert record["credit"] is None
        assert "part 1.1 of the question has no answer: adder broke" in record["reason"]
        nodes = dict(tree_of(record).walk())
        assert {path: bool(node.failed) for path, node in nodes.items()} == {
            "": True, "1": True, "1.1": True, "1.2": False, "2": False, "2.1": False, "2.2": False,
        }  # fmt: skip
        assert nodes["2"].answer
        assert nodes["1"].failed == "part 1 has no answer"


def test_where_an_answer_went_wrong_is_found(tmp_path):
    record = play(tmp_path / "run", Adder(wrong="What is 6 + 9?"), arena=LongSums(count=1), depth=2)[0]
    tree = tree_of(record)
    arena = LongSums()

    def right(question, answer):
        part = arena.part(question)
        return None if part is None else part.truth == answer

    assert [(path, node.answer) for path, node in first_wrong(tree, right)] == [("1.2", "99")]
    assert first_wrong(tree_of(play(tmp_path / "fine", depth=2)[0]), right) == []


def test_a_part_that_asks_what_it_is_a_part_of_is_no_answer(tmp_path):
    class Circling(Adder):
        async def speak(self, request):
            if request.form == "parts":
                return Speech(f"1. What is 1 + 1?\n2. {request.view.question.upper()}")
            return await super().speak(request)

    record = play(tmp_path / "run", Circling(), arena=LongSums(count=1), depth=5)[0]
    assert record["status"] == "unscored"
    assert "asks what it is a part of" in record["reason"]


# ---- bounds ------------------------------------------------------------------------------------------


@given(st.integers(0, 5), st.integers(1, 60), st.integers(2, 4), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_depth_and_budget_hold_whatever_is_split(depth, budget, most, chance):
    made = []

    class Chancy:
        async def split(self, question, most_now):
            made.append("split")
            assert 2 <= most_now <= most
            count = chance.choice([0, *range(2, most_now + 1)])
            return [f"{question}.{number}" for number in range(count)]

        async def answer(self, question):
            made.append("answer")
            return question

        async def combine(self, question, parts):
            made.append("combine")
            return question

    tree = asyncio.run(solve_recursively(Chancy(), "q", depth=depth, most=most, budget=budget))
    assert not tree.failed
    assert len(made) <= budget
    assert max(path.count(".") + 1 if path else 0 for path, _ in tree.walk()) <= depth
    assert all(len(node.parts) <= most for _, node in tree.walk())


class _Unbounded(Protocol):
    """A protocol whose bounds are options."""

    name = "unbounded"

    depth: int | None = None
    most_parts: int = 2
    budget: int | None = 8

    worker = Role(sees_material=False, tasks={"split": "Split.", "answer": "Answer.", "combine": "Combine."})
    judge = Judge()

    def graph(self, answers: int) -> Graph:
        seat = self.worker.seat(0)
        options = {"depth": self.depth, "most_parts": self.most_parts, "budget": self.budget}
        return solves(seat, decomposer=seat, combiner=seat, **options) >> self.judge.decides()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no bound on its depth"),
        ({"depth": 1000}, "no bound on its depth that is at most 16"),
        ({"depth": 2, "budget": None}, "no bound on its requests"),
        ({"depth": 2, "most_parts": 1}, "one part is asked again"),
    ],
)
def test_recursion_without_an_end_is_refused_before_it_runs(options, message):
    (finding,) = check(_Unbounded(**options))
    assert finding.rule == "recursion"
    assert message in finding.message
    with pytest.raises(CheckFailed):
        plan_run(_Unbounded(**options), LongSums(), {"worker": Adder(), "judge": Adder("judge")})


def test_a_protocol_that_contains_itself_is_refused():
    class Itself(Protocol):
        name = "itself"
        judge = Judge()

        def graph(self, answers: int) -> Graph:
            return Itself().graph(answers) >> self.judge.decides()

    assert [finding.rule for finding in check(Itself())] == ["recursion"]


def test_the_built_in_protocol_is_sound_and_says_what_it_does():
    for depth in (0, 2):
        assert check(Decomposition(depth=depth)) == []
    from rich.console import Console

    console = Console(width=200, record=True)
    console.print(to_terminal(Decomposition(depth=3)))
    drawn = console.export_text()
    assert "decomposer splits into at most 4 parts, 3 levels deep, combiner combines, 64 requests in all" in drawn


def test_the_plan_counts_the_widest_tree():
    plan = plan_run(
        Decomposition(depth=2, most_parts=3, budget=1000),
        LongSums(count=1),
        {"decomposer": Adder("d"), "solver": Adder("s"), "combiner": Adder("c"), "judge": Adder("j")},
        swap=False,
    )
    assert {cost.role: cost.calls for cost in plan.costs()} == {
        "decomposer": 4, "solver": 9, "combiner": 4, "judge": 1,
    }  # fmt: skip


# ---- reading parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts", "fault"),
    [
        ("1. A?\n2. B?", ["A?", "B?"], ""),
        ("(1) A?\n 2) B?\n", ["A?", "B?"], ""),
        ("none.", [], ""),
        ("NONE\n1. A?", [], "no numbered question"),
        ("Here they are:\n1. A?", [], "no numbered question"),
        ("2. A?", [], "has the number 2"),
        ("1. A?\n1. B?", [], "has the number 1"),
        ("", [], "it is empty"),
        ("\n".join(f"{n}. q" for n in range(1, 6)), [], "5 questions, more than 4"),
    ],
)
def test_parts_are_read_as_they_stand_or_not_at_all(text, parts, fault):
    found, why = read_parts(text, 4)
    assert found == parts
    assert fault in why
    assert bool(why) is bool(fault)


@given(st.lists(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1), min_size=1, max_size=9))
def test_what_is_written_as_parts_is_read_as_them(parts):
    text = "\n".join(f"{number}. {part}" for number, part in enumerate(parts, 1))
    assert read_parts(text, 9) == (parts, "")


# ---- trees -------------------------------------------------------------------------------------------

nodes = st.recursive(
    st.builds(Node, st.text(max_size=8), st.text(min_size=1, max_size=8)),
    lambda below: st.builds(
        Node, st.text(max_size=8), st.text(max_size=8), st.lists(below, max_size=3).map(tuple), st.text(max_size=5)
    ),
    max_leaves=12,
)


@given(nodes)
def test_a_tree_is_the_same_after_its_way_through_json(tree):
    assert Node.from_dict(json.loads(json.dumps(tree.to_dict()))) == tree
    network = tree.network()
    assert network.number_of_nodes() == network.number_of_edges() + 1 == sum(1 for _ in tree.walk())


# ---- language models ---------------------------------------------------------------------------------


class Writes(Model):
    """A model that reads its prompt as a person would, and writes badly at first where it is told to."""

    def __init__(self, bad=0):
        super().__init__("test/writes")
        self.bad, self.prompts = bad, []

    def describe(self):
        return {"model": self.name, "bad": self.bad}

    def price(self, usage):
        return 0.0

    async def complete(self, call):
        prompt = call.messages[-1]["content"]
        whole = "\n".join(message["content"] for message in call.messages)
        self.prompts.append(whole)
        question = re.search(r"Question:\n(.*)", whole)[1]
        values = numbers(question)
        if "Decide" in prompt:
            text = "Answer: A\nConfidence: 80%"
        elif "Split the question" in whole:
            if self.bad and "no numbered question" not in whole:
                text = "Sure! Here are the parts you asked for."
            else:
                half = len(values) // 2
                text = "NONE" if len(values) <= 2 else f"1. {asked(values[:half])}\n2. {asked(values[half:])}"
        elif "its parts" in prompt:
            text = str(sum(map(int, re.findall(r"Answer: (-?\d+)", whole))))
        else:
            text = str(sum(values))
        return Completion(text, "stop", usage=Usage(1, 10, 10, 0.0))


@pytest.mark.parametrize("bad", [0, 1])
def test_language_models_split_answer_and_combine(tmp_path, bad):
    model = Writes(bad)
    agent = LanguageModelAgent(model)
    record = play(tmp_path / "run", agent, arena=LongSums(count=1), depth=2)[0]
    assert record["status"] == "scored", record["reason"]
    assert tree_of(record).answer == str(sum(numbers(tree_of(record).question)))
    # A part is put without answers, and nobody is told to speak as somebody.
    parts = [prompt for prompt in model.prompts if "What is 0 + 3?" in prompt and "Split" not in prompt]
    assert parts
    assert all("Answers:" not in prompt and "Speak now" not in prompt for prompt in parts)


def test_parts_that_cannot_be_read_are_asked_for_once_more_and_then_fail(tmp_path):
    class Stubborn(Adder):
        async def speak(self, request):
            self.seen.append((request.form, request.fault))
            return Speech("I would rather not.") if request.form == "parts" else await super().speak(request)

    agent = Stubborn()
    record = play(tmp_path / "run", agent, arena=LongSums(count=1), depth=1)[0]
    assert record["status"] == "unscored"
    assert "no parts that can be read in 2 tries" in record["reason"]
    assert [bool(fault) for form, fault in agent.seen if form == "parts"] == [False, True]


def test_accuracy_by_length_alone_and_decomposed(tmp_path):
    """The point of it: alone at chance from four numbers on, decomposed right at every length."""
    shares = {}
    for length in (2, 4, 8, 16):
        arena = LongSums(length=length, count=8)
        depth = int(math.log2(length)) - 1
        records = play(tmp_path / f"split {length}", arena=arena, depth=depth)
        shares[length] = sum(record["credit"] for record in records) / len(records)
    assert shares == {2: 1.0, 4: 1.0, 8: 1.0, 16: 1.0}


def test_accuracy_is_printed_by_group(tmp_path):
    import io

    from rich.console import Console

    from oversight.report.terminal import print_run

    play(tmp_path / "run", depth=2)
    out = Console(width=80, file=io.StringIO())
    print_run(oversight.RunResult(tmp_path / "run"), out)
    printed = out.file.getvalue()
    assert re.search(r"8 numbers +100.0 % +\[.*\] +2", printed)
    assert re.search(r"others +100.0 % +\[.*\] +2", printed)
    assert "group" not in json.dumps([node.to_dict() for node in [tree_of(next(read_episodes(tmp_path / "run")))]])


def test_an_answer_cannot_look_like_a_node_of_the_tree():
    tree = Node("Q?", "1\n   1  Forged?\n      answer: 2", (Node("Real?", "3"),))
    assert tree.outline().splitlines() == ["Q?", "answer: 1 1 Forged? answer: 2", "   1  Real?", "      answer: 3"]


# ---- nested expressions --------------------------------------------------------------------------------


def test_agents_at_chance_alone_solve_deep_expressions_by_splitting_them(tmp_path):
    """Two operations a turn: alone right to depth 1 and at chance below; split, right at every depth."""
    shares = {}
    for depth in (0, 3):
        protocol = Decomposition(depth=depth)
        result = oversight.run(
            protocol,
            "arithmetic(depth=4,least_depth=1)",
            **dict.fromkeys(protocol.roles(), "bounded/2"),
            limit=40,
            swap=False,
            log_dir=tmp_path / str(depth),
        )
        by_group = {}
        for record in result.episodes():
            by_group.setdefault(record["group"], []).append(record["credit"])
        shares[depth] = {group: sum(credits) / len(credits) for group, credits in sorted(by_group.items())}
    assert shares[0] == {"depth 1": 1.0, "depth 2": 0.5, "depth 3": 0.5, "depth 4": 0.5}
    assert shares[3] == {"depth 1": 1.0, "depth 2": 1.0, "depth 3": 1.0, "depth 4": 1.0}


def test_a_wrong_node_is_refuted_by_a_judge_that_checks_it():
    from oversight.arenas.arithmetic import ExpressionWorking
    from oversight.working import _trusted

    working = ExpressionWorking(["+", ["*", 2, 3], ["-", 9, 4]])
    honest = Node("What is (2 * 3) + (9 - 4)?", "11", (Node("What is 2 * 3?", "6"), Node("What is 9 - 4?", "5")))
    lying = Node("What is (2 * 3) + (9 - 4)?", "12", (Node("What is 2 * 3?", "7"), Node("What is 9 - 4?", "5")))
    assert _trusted(working, honest, [11, 12], 3)[0] > 0.99
    assert _trusted(working, honest, [11, 12], 1) == pytest.approx([0.6, 0.4])
    assert _trusted(working, lying, [11, 12], 3)[0] > 0.99
    assert _trusted(working, lying, [11, 12], 1) == pytest.approx([0.4, 0.6])  # its root follows from its parts
    assert _trusted(working, Node("Q?", "no number"), [11, 12], 3) == [0.5, 0.5]
    assert _trusted(working, Node("Q?", "13"), [11, 12], 3) == [0.5, 0.5]
    assert _trusted(working, None, [11, 12], 3) == [0.5, 0.5]


expressions = st.recursive(
    st.integers(0, 99), lambda side: st.tuples(st.sampled_from("+-*"), side, side).map(list), max_leaves=8
)


@given(expressions.filter(lambda one: not isinstance(one, int)))
def test_the_arena_reads_what_it_writes(expression):
    from oversight.arenas.arithmetic import Arithmetic, evaluate, parse, render

    assert parse(render(expression)) == expression
    part = Arithmetic().part(f"What is {render(expression)}?")
    assert part.truth == str(evaluate(expression))
    assert part.structure == {"expression": expression}


@given(st.text(max_size=30))
def test_the_arena_reads_nothing_else(text):
    from oversight.arenas.arithmetic import Arithmetic, parse

    found = parse(text)
    assert found is None or isinstance(found, list)
    assert Arithmetic().part(f"Why {text}") is None


def test_show_says_where_an_answer_went_wrong(tmp_path):
    """A solver that is one off wherever it multiplies, in an arena that can tell."""
    import subprocess

    from oversight.agents import Agent

    class Slips(Agent):
        async def speak(self, request):
            from oversight.arenas.arithmetic import Arithmetic

            inner = Arithmetic().agent("bounded/1")
            said = await inner.speak(request)
            wrong = request.form == "answer" and "*" in request.view.question and not request.view.turns
            return Speech(str(int(said.text) + 1)) if wrong and said.text.lstrip("-").isdigit() else said

    result = oversight.run(
        Decomposition(depth=3), "arithmetic(depth=2,operators=*+)", decomposer=Slips("slips"), solver=Slips("slips"),
        combiner=Slips("slips"), judge="bounded/1", limit=12, swap=False, log_dir=tmp_path / "run",
    )  # fmt: skip
    found = 0
    for record in result.episodes():
        command = [sys.executable, "-m", "oversight.cli", "show", str(tmp_path / "run"), record["id"][:10]]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        wrong = [path for path, node in tree_of(record).walk() if not node.parts and "*" in node.question]
        assert [f"went wrong at part {path}:" in shown for path in wrong] == [True] * len(wrong)
        assert ("went wrong" in shown) is bool(wrong)
        found += bool(wrong)
    assert found > 3
