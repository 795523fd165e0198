"""Arguments whose steps are checked alone: what is asked, what follows from it, and what cannot be checked."""

import importlib.util
import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oversight
from oversight.agents import LanguageModelAgent, ScriptedAgent
from oversight.agents.human import request_to_json
from oversight.arenas.arithmetic import Arithmetic
from oversight.errors import ConfigurationError, TurnFailed
from oversight.graph import check
from oversight.models import Completion, Model
from oversight.numbered import ArgumentStep, read_steps
from oversight.protocol import Debater, Graph, Judge, Protocol, verifies
from oversight.protocols.decomposition import Decomposition
from oversight.protocols.factored_verification import FactoredVerification
from oversight.requests import Choice, Choose, Speak, Speech
from oversight.runs.api import plan_run
from oversight.runs.directory import read_episodes
from oversight.runs.session import SessionOptions
from oversight.terminal.front import Decided, Said, Stopped
from oversight.transcript import Usage
from oversight.tree import Node, first_failing, read_outline
from oversight.verification import log_soundness, weighed

TESTS = Path(__file__).parent


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", TESTS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


people, tiny, pseudo_terminal = _load("people"), _load("tiny"), _load("pseudo_terminal")


def play(folder, judge, *, debater=None, arena=None, protocol=None, limit=1, session=None, **cast):
    oversight.run(
        protocol or FactoredVerification(),
        arena or Arithmetic(depth=2),
        debater=debater or "bounded/1000",
        judge=judge,
        limit=limit,
        swap=False,
        log_dir=folder,
        session=session,
        **cast,
    )
    return list(read_episodes(folder))


class Checker(ScriptedAgent):
    """Finds each step to hold with a probability of its own, by what the step says, and notes what it was asked."""

    def __init__(self, holds=None, otherwise=0.9, name="checker"):
        super().__init__(name)
        self.holds, self.otherwise, self.seen = holds or {}, otherwise, []

    def describe(self):
        return {"agent": self.name, "holds": self.holds, "otherwise": self.otherwise}

    async def choose(self, request):
        self.seen.append(request)
        holds = self.holds.get(request.view.turns[-1].text, self.otherwise)
        if isinstance(holds, str):
            raise TurnFailed(holds)
        return Choice({"holds": holds, "fails": 1 - holds}, "script")


def arguer(view):
    """Two steps for the answer, of which the second rests on the first."""
    return f"1. One is a number. []\n2. So it is {view.answer_text(view.position)}. [1]"


def verdict_of(record):
    return next(turn for turn in record["turns"] if turn["kind"] == "verdict")


def tree_of(record):
    return Node.from_dict(verdict_of(record)["tree"])


# ---- reading steps -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "steps", "fault"),
    [
        ("1. a\n2. b", [("a", ()), ("b", (1,))], ""),
        ("Step 1: a\nStep 2: b\nStep 3: c", [("a", ()), ("b", (1,)), ("c", (1, 2))], ""),
        ("1. a []\n2. b []\n3. c [2]", [("a", ()), ("b", ()), ("c", (2,))], ""),
        ("1. a [ ].\n2) b [1,1]", [("a", ()), ("b", (1,))], ""),
        ("1. a\n   goes on\n2. b", [("a goes on", ()), ("b", (1,))], ""),
        ("Here it is:\n1. a", [], "begins with 'Here it is:'"),
        ("1. a\n3. b", [], "step 2 has the number 3"),
        ("1. a [1]", [], "step 1 rests on step 1"),
        ("1. a\n2. b [3]", [], "step 2 rests on step 3"),
        ("", [], "it is empty"),
        ("\n".join(f"{n}. s" for n in range(1, 6)), [], "5 steps, more than 4"),
    ],
)
def test_steps_are_read_with_what_they_rest_on(text, steps, fault):
    found, why = read_steps(text, 4)
    assert found == [ArgumentStep(*one) for one in steps]
    assert fault in why
    assert bool(why) is bool(fault)


words = st.text(st.characters(categories=("L",)), min_size=1, max_size=8)


@given(st.lists(words, min_size=1, max_size=9), st.data())
def test_what_is_written_as_steps_is_read_as_them(texts, data):
    rests = [data.draw(st.lists(st.integers(1, n), unique=True).map(tuple)) if n else () for n in range(len(texts))]
    lines = [
        f"{number}. {text} [{', '.join(map(str, on))}]"
        for number, (text, on) in enumerate(zip(texts, rests, strict=True), 1)
    ]
    steps = [ArgumentStep(*one) for one in zip(texts, rests, strict=True)]
    assert read_steps("\n".join(lines), 9) == (steps, "")


# ---- the rule ----------------------------------------------------------------------------------------

probability = st.floats(0, 1)


@given(st.lists(st.lists(probability, min_size=1, max_size=5), min_size=2, max_size=4))
def test_a_verdict_is_a_distribution_and_no_order_of_answers_changes_it(holds):
    for rule in ("product", "minimum"):
        sound = {answer: log_soundness(one, rule) for answer, one in enumerate(holds)}
        found = weighed(sound, len(holds))
        assert math.isclose(sum(found), 1, abs_tol=1e-9)
        assert all(0 <= one <= 1 for one in found)
        turned = weighed({len(holds) - 1 - answer: log for answer, log in sound.items()}, len(holds))
        assert turned[::-1] == pytest.approx(found)


@given(st.lists(probability, min_size=1, max_size=6), st.lists(probability, min_size=1, max_size=6), st.data())
def test_a_step_that_holds_less_never_helps_its_answer(own, other, data):
    place = data.draw(st.integers(0, len(own) - 1))
    less = [*own]
    less[place] = data.draw(st.floats(0, own[place]))
    for rule in ("product", "minimum"):
        rest = log_soundness(other, rule)
        before = weighed({0: log_soundness(own, rule), 1: rest}, 2)[0]
        after = weighed({0: log_soundness(less, rule), 1: rest}, 2)[0]
        # Where neither argument can be sound, nothing is said for either.
        assert after <= before + 1e-9 or rest == -math.inf


def test_hundreds_of_doubtful_steps_can_still_be_told_apart():
    many = log_soundness([1e-3] * 400, "product")
    assert weighed({0: many, 1: many + math.log(3)}, 2) == pytest.approx((0.25, 0.75))


def test_an_answer_alone_is_as_likely_as_its_argument_is_sound():
    assert weighed({1: math.log(0.7)}, 3) == pytest.approx((0.15, 0.7, 0.15))


# ---- what is asked, and what is in the record --------------------------------------------------------


def test_the_checks_and_the_verdict_are_exactly_these(tmp_path):
    judge = Checker({"So it is 27.": 0.3})
    (record,) = play(tmp_path / "run", judge, debater=ScriptedAgent("arguer", speeches=arguer))
    # The first step is the same in both arguments, and is asked about once.
    asked = [
        (one.view.question, [(turn.speaker, turn.text) for turn in one.view.turns], one.of_a_step) for one in judge.seen
    ]
    question = ("Question", "What is (5 * 7) - (1 + 1)?")
    first = ("Step 1", "One is a number.")
    expected = [("Does step 1 hold?", [question, first], True)]
    for value in ("27", "33"):
        second = ("Step 2", f"So it is {value}.")
        expected += [
            ("Does step 2 hold?", [question, first, second], True),
            (
                "Does the answer follow from the steps?",
                [question, first, second, ("Conclusion", f"Answer: {value}")],
                True,
            ),
        ]
    assert sorted(asked) == sorted(expected)
    verdict = verdict_of(record)
    right = 0.9**3 / (0.9**3 + 0.9 * 0.3 * 0.9)
    by_text = dict(zip(("27", "33"), verdict["probabilities"], strict=True))
    assert by_text == {"27": pytest.approx(1 - right), "33": pytest.approx(right)}
    assert verdict["elicitation"] == "script"
    tree = tree_of(record)
    assert tree.answer == "33"
    nodes = {node.question: node.holds for _, node in tree.walk() if node.is_step}
    assert nodes == {"One is a number.": 0.9, "So it is 27.": 0.3, "So it is 33.": 0.9}
    assert [node.question for _, node in first_failing(tree)] == ["So it is 27."]


def test_a_check_shows_neither_who_argues_nor_material_nor_other_checks(tmp_path):
    judge = Checker()

    class Sums(tiny.Sums):
        name = "sums"

    play(tmp_path / "run", judge, debater=ScriptedAgent("arguer", speeches=arguer), arena=Sums(count=1), limit=None)
    for request in judge.seen:
        view = request.view
        assert view.material == {}
        assert view.position is None
        assert view.positions == ()
        assert [answer.label for answer in view.answers] == ["holds", "fails"]
        assert "argue" not in " ".join(turn.text for turn in view.turns)
        assert "Debater" not in repr(view.turns)


def test_the_least_step_decides_where_that_is_the_rule(tmp_path):
    judge = Checker({"So it is 27.": 0.3})
    protocol = FactoredVerification(rule="minimum")
    (record,) = play(tmp_path / "run", judge, debater=ScriptedAgent("arguer", speeches=arguer), protocol=protocol)
    assert sorted(record["probabilities"]) == pytest.approx([0.25, 0.75])


def test_if_no_argument_can_be_sound_the_verdict_is_even_and_says_why(tmp_path):
    (record,) = play(tmp_path / "run", Checker(otherwise=0.0))
    assert record["probabilities"] == [0.5, 0.5]
    assert record["credit"] == 0.5
    assert verdict_of(record)["notes"] == ["no argument survives the checks: nothing is said for any answer"]


def test_a_step_that_cannot_be_checked_leaves_the_episode_unscored_with_the_checks_in_the_record(tmp_path):
    judge = Checker({"So it is 27.": "the checker broke"})
    (record,) = play(tmp_path / "run", judge, debater=ScriptedAgent("arguer", speeches=arguer))
    assert record["status"] == "unscored"
    assert record["probabilities"] is None
    assert re.fullmatch(r"part [12]\.2 could not be checked: the checker broke", record["reason"])
    unchecked = [node.question for _, node in tree_of(record).walk() if node.unchecked]
    assert unchecked == ["So it is 27."]
    assert sum(node.holds is not None for _, node in tree_of(record).walk()) == 5


def test_what_is_no_distribution_is_no_check(tmp_path):
    class Odd(Checker):
        async def choose(self, request):
            return Choice({"holds": 0.9, "fails": 0.9}, "script")

    (record,) = play(tmp_path / "run", Odd())
    assert record["status"] == "unscored"
    assert "no distribution over holds, fails" in record["reason"]


def test_steps_that_cannot_be_read_are_asked_for_once_more_and_then_fail(tmp_path):
    faults = []

    class Chatty(ScriptedAgent):
        async def speak(self, request):
            faults.append(request.fault)
            return Speech("Sure!" if not request.rejected or self.name == "stubborn" else arguer(request.view))

    (record,) = play(tmp_path / "run", Checker(), debater=Chatty("chatty", speeches=["unused"]))
    assert record["status"] == "scored"
    assert sum(map(bool, faults)) == 2
    (record,) = play(tmp_path / "no", Checker(), debater=Chatty("stubborn", speeches=["unused"]))
    assert record["status"] == "unscored"
    assert "no steps that can be read in 2 tries: it begins with 'Sure!'" in record["reason"]


def test_one_debater_may_argue_for_the_answer_that_it_holds(tmp_path):
    debater = ScriptedAgent("arguer", speeches=arguer, choices=lambda view: {view.answers[0].label: 1.0})
    protocol = FactoredVerification(positions="open")
    (record,) = play(tmp_path / "run", Checker(otherwise=0.8), debater=debater, protocol=protocol)
    claimed = next(turn["answer"] for turn in record["turns"] if turn["kind"] == "claim")
    assert record["probabilities"][claimed] == pytest.approx(0.8**3)


# ---- agents that do a bounded amount of work ---------------------------------------------------------


def accuracy_by_group(folder, protocol, arena, judge):
    result = oversight.run(protocol, arena, debater="bounded/1000", judge=judge, limit=32, swap=False, log_dir=folder)
    found = {}
    for record in result.episodes():
        assert record["status"] == "scored", record["reason"]
        found.setdefault(record.get("group", ""), []).append(record["credit"])
    return {group: sum(credits) / len(credits) for group, credits in sorted(found.items())}


def test_a_judge_of_one_operation_is_right_at_every_depth_where_it_checks_steps_alone(tmp_path):
    arena = "arithmetic(depth=4,least_depth=1)"
    by_depth = accuracy_by_group(tmp_path / "factored", "factored_verification", arena, "bounded/1")
    assert by_depth == {"depth 1": 1.0, "depth 2": 1.0, "depth 3": 1.0, "depth 4": 1.0}
    alone = oversight.run("direct", arena, judge="bounded/1", limit=32, swap=False, log_dir=tmp_path / "direct")
    assert {record["credit"] for record in alone.episodes() if record["group"] != "depth 1"} == {0.5}


def test_the_same_holds_of_powers_of_permutations(tmp_path):
    assert accuracy_by_group(tmp_path / "run", "factored_verification", "permutation", "bounded/1") == {"": 1.0}


def test_the_step_that_is_false_is_the_first_that_fails(tmp_path):
    for record in play(tmp_path / "run", "bounded/1", arena=Arithmetic(depth=3), limit=8):
        tree = tree_of(record)
        ((place, node),) = first_failing(tree)
        about, _, value = node.question.partition(" = ")
        assert Arithmetic().part(f"What is {tree.question[8:-1]}?") is not None
        wrong = dict(tree.walk())[place.partition(".")[0]]
        assert wrong.answer != tree.answer
        earlier = dict(one.question.split(" = ") for one in wrong.parts[: int(place.partition(".")[2]) - 1])
        for part, stated in earlier.items():
            about = about.replace(f"({part})", stated)
        sides = re.fullmatch(r"(-?\d+) ([-+*]) (-?\d+)", about)
        if sides is not None:
            left, sign, right = int(sides[1]), sides[2], int(sides[3])
            assert int(value) != {"+": left + right, "-": left - right, "*": left * right}[sign]


# ---- candidates, critique and ranking ----------------------------------------------------------------


class Helper(ScriptedAgent):
    """Criticises, and finds the argument the easiest to check that has the most steps."""

    def __init__(self):
        super().__init__("helper")
        self.seen = []

    async def speak(self, request):
        self.seen.append(request)
        return Speech(f"Split it: {request.view.turns[-1].text[:10]}")

    async def choose(self, request):
        self.seen.append(request)
        view = request.view
        steps = {one.label: one.text.count("\n") for one in view.answers}
        most = max(steps, key=lambda label: steps[label])
        return Choice({label: float(label == most) for label in steps}, "script")


class Drafter(ScriptedAgent):
    """Writes as many steps as its draw says, and one more where it was criticised."""

    async def speak(self, request):
        view = request.view
        assert request.form == "steps"
        count = 1 + (request.draw[-1] if request.draw else 0) + bool(view.turns)
        if view.turns:
            draft, critique = view.turns
            assert draft.own
            assert critique.text.startswith("Split it: 1. Because")
            assert "A critic has said" in view.task
        last = f"{count + 1}. It is {view.answer_text(view.position)}."
        return Speech("\n".join([*(f"{n}. Because {n}." for n in range(1, count + 1)), last]))


def test_each_candidate_is_criticised_and_written_again_and_the_easiest_to_check_is_checked(tmp_path):
    helper, judge = Helper(), Checker()
    protocol = FactoredVerification(candidates=3, refine=True)
    (record,) = play(tmp_path / "run", judge, debater=Drafter("drafter", ["unused"]), critic=helper, protocol=protocol)
    speeches = [turn for turn in record["turns"] if turn["kind"] == "speech"]
    for speech in speeches:
        assert speech["text"].count("\n") == 4  # the third draft has three reasons, and is given one more
        assert [one["chosen"] for one in speech["candidates"]] == [False, False, True]
        assert [one["text"].count("\n") for one in speech["candidates"]] == [2, 3, 4]
        assert [one["draft"].count("\n") for one in speech["candidates"]] == [1, 2, 3]
        assert {one["critique"] for one in speech["candidates"]} == {"Split it: 1. Because"}
        assert "best of 3, the easiest to check by critic" in speech["notes"]
    ranked = [one for one in helper.seen if isinstance(one, Choose)]
    assert len(ranked) == 2
    for one in helper.seen:
        assert "correct" not in json.dumps(request_to_json(one)["view"]["structure"])
        assert one.view.material == {}
    assert all(one.of_speeches and "the easiest to check" in one.view.question for one in ranked)
    # Four reasons that both give, one conclusion of each, and whether the answer follows.
    assert len(judge.seen) == 4 + 2 + 2


def test_a_critic_takes_part_only_where_it_is_asked():
    assert set(FactoredVerification().roles()) == {"debater", "judge"}
    assert set(FactoredVerification(refine=True).roles()) == {"debater", "critic", "judge"}
    assert set(FactoredVerification(candidates=2).roles()) == {"debater", "critic", "judge"}
    for protocol in (FactoredVerification(candidates=2, refine=True), FactoredVerification(positions="open")):
        assert check(protocol) == []
        assert check(protocol, 4) == []


# ---- bounds ------------------------------------------------------------------------------------------


class _Loose(Protocol):
    name = "loose"

    checked: int = 8
    stated: int = 8
    argues: bool = True

    debater = Debater(tasks={"steps": "Argue."})
    judge = Judge(tasks={"check": "Check."})

    def graph(self, answers: int) -> Graph:
        seat = self.debater.seat(0)
        verdict = verifies(self.judge.seat(0), (seat,), most_steps=self.checked)
        return seat.argues(task="steps").but(most_steps=self.stated) >> verdict if self.argues else verdict


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checked": 0, "stated": 0}, "checks of the steps of one seat or more"),
        ({"stated": 0}, "makes no argument before it"),
        ({"stated": 9}, "makes no argument before it of at most 8 steps"),
        ({"argues": False}, "makes no argument before it"),
    ],
)
def test_checks_without_a_bound_or_an_argument_are_refused_before_anything_runs(options, message):
    assert check(_Loose()) == []
    found = [finding for finding in check(_Loose(**options)) if finding.rule == "checks"]
    assert any(message in finding.message for finding in found)


def test_turns_and_requests_are_counted_before_anything_runs(tmp_path):
    protocol = FactoredVerification(most_steps=5, candidates=3, refine=True)
    assert protocol.most_turns(2, draws=False) == 2 * 3 + 2 * 6
    assert protocol.most_turns(3) == 3 * 9 + 3 * 6
    assert Decomposition(budget=40, depth=3).most_turns() == 40 + 1
    assert Decomposition(budget=1000, depth=1, most_parts=3).most_turns() == 2 + 3 + 1
    assert Decomposition(budget=1000, depth=1, most_parts=3, validated=True).most_turns() == 2 + 3 + 1 + 1
    agents = {"debater": Checker(name="d"), "critic": Checker(name="c"), "judge": Checker(name="j")}
    plan = plan_run(protocol, Arithmetic(), agents, swap=False, limit=1)
    assert {cost.role: cost.calls for cost in plan.costs()} == {"debater": 12, "critic": 6 + 2, "judge": 12}


# ---- language models ---------------------------------------------------------------------------------


class Reasons(Model):
    """A model that writes one step and checks it by the arithmetic that stands there."""

    def __init__(self):
        super().__init__("test/reasons")
        self.prompts = []

    def describe(self):
        return {"model": self.name}

    def price(self, usage):
        return 0.0

    async def complete(self, call):
        whole = "\n".join(message["content"] for message in call.messages)
        self.prompts.append(whole)
        if "single steps" in whole:
            told = re.findall(r"(\d+) \+ (\d+) = (\d+)", whole)[-1:]
            holds = all(int(a) + int(b) == int(c) for a, b, c in told)
            text = f"Answer: {'holds' if holds else 'fails'}\nConfidence: 90%"
        else:
            a, b = re.search(r"What is (\d+) \+ (\d+)", whole).groups()
            mine = re.search(r"You argue for answer \w \((\d+)\)", " ".join(whole.split()))[1]
            text = f"1. {a} + {b} = {mine} []"
        return Completion(text, "stop", usage=Usage(1, 10, 10, 0.0))


def test_language_models_argue_in_steps_and_check_them(tmp_path):
    model = Reasons()
    agent = LanguageModelAgent(model)
    arena = Arithmetic(depth=1, operators="+")
    records = play(tmp_path / "run", agent, debater=agent, arena=arena, limit=4)
    assert [record["credit"] for record in records] == [1.0] * 4, records[0]["reason"]
    checks = [prompt for prompt in model.prompts if "single steps" in prompt]
    assert all("Question:\nDoes " in prompt and '<turn speaker="Question">' in prompt for prompt in checks)
    assert all("holds: Yes, it follows." in prompt for prompt in checks)
    arguing = [prompt for prompt in model.prompts if "Argue in small steps" in prompt]
    assert all("Write 32 steps at most." in prompt and "Speak now" not in prompt for prompt in arguing)


# ---- checks of the answers of a tree -----------------------------------------------------------------


class Careless(ScriptedAgent):
    """Combines by one too much, wherever it multiplies."""

    async def speak(self, request):
        said = await Arithmetic().agent("bounded/1").speak(request)
        wrong = request.form == "answer" and request.view.turns and " * " in _outermost(request.view.question)
        return Speech(str(int(said.text) + 1)) if wrong else said


def _outermost(question):
    text = question.removeprefix("What is ").removesuffix("?")
    while "(" in text:
        text = re.sub(r"\([^()]*\)", "0", text)
    return text


def test_every_answer_of_a_tree_is_checked_against_its_parts(tmp_path):
    folder = tmp_path / "run"
    result = oversight.run(
        Decomposition(depth=3, validated=True), Arithmetic(depth=3, operators="+*"), decomposer="bounded/1",
        solver="bounded/1", combiner=Careless("careless", ["unused"]), checker="bounded/1", judge="bounded/1",
        limit=6, swap=False, log_dir=folder,
    )  # fmt: skip
    found = 0
    for record in result.episodes():
        tree = Node.from_dict(record["turns"][0]["tree"])
        for _, node in tree.walk():
            assert (node.holds is not None) is bool(node.parts)
            assert node.fails is (bool(node.parts) and " * " in _outermost(node.question))
        failing = [path for path, _ in first_failing(tree)]
        command = [sys.executable, "-m", "oversight.cli", "show", str(folder), record["id"][:10]]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for path in failing:
            where = f"part {path}" if path else "the question"
            assert f"the answer to {where} does not follow" in " ".join(shown.split())
        assert ("does not follow" in shown) is bool(failing)
        found += bool(failing)
        # What the judge is shown is read as the same questions and answers.
        assert [node.answer for _, node in read_outline(record["turns"][0]["text"]).walk()] == [
            node.answer for _, node in tree.walk()
        ]
    assert found > 2


def test_show_points_at_the_first_step_that_fails(tmp_path):
    (record,) = play(tmp_path / "run", "bounded/1")
    command = [sys.executable, "-m", "oversight.cli", "show", str(tmp_path / "run"), record["id"][:10]]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ((place, node),) = first_failing(tree_of(record))
    assert f"the first step that does not hold is {place}: {node.question}" in shown
    assert f"{place}  {node.question}   holds: 0.00" in shown


def test_a_check_that_fails_in_a_tree_leaves_the_episode_unscored(tmp_path):
    oversight.run(
        Decomposition(depth=1, validated=True), Arithmetic(depth=2), decomposer="bounded/1", solver="bounded/1",
        combiner="bounded/1", checker=Checker(otherwise="broke"), judge="bounded/1", limit=1, swap=False,
        log_dir=tmp_path / "run",
    )  # fmt: skip
    (record,) = read_episodes(tmp_path / "run")
    assert record["reason"] == "the answer could not be checked: broke"
    assert record["turns"][0]["tree"]["unchecked"] == "broke"


# ---- people ------------------------------------------------------------------------------------------


def arithmetic_person(asked):
    """A person who can do one operation, in whatever seat."""
    agent, request = Arithmetic().agent("bounded/1"), asked.request
    if isinstance(request, Speak):
        return Said(_now(agent.speak(request)).text, 2.0)
    return Decided(dict(_now(agent.choose(request)).probabilities), "", 2.0)


def _now(coroutine):
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


@pytest.mark.parametrize("seat", ["decomposer", "solver", "combiner", "checker"])
def test_a_person_in_a_seat_of_a_tree_does_as_a_machine_would(tmp_path, seat):
    cast = dict.fromkeys(("decomposer", "solver", "combiner", "checker", "judge"), "bounded/1")
    options = {"limit": 2, "swap": False}
    protocol, arena = Decomposition(depth=3, validated=True), Arithmetic(depth=3)
    oversight.run(protocol, arena, **cast, **options, log_dir=tmp_path / "machine")
    front = people.Ruled(arithmetic_person)
    session = SessionOptions(front=front, name="ada")
    oversight.run(protocol, arena, **{**cast, seat: "human"}, **options, log_dir=tmp_path / "person", session=session)
    trees = []
    for folder in ("machine", "person"):
        records = sorted(read_episodes(tmp_path / folder), key=lambda one: one["question"])
        assert {record["status"] for record in records} == {"scored"}
        trees.append([record["turns"][0]["tree"] for record in records])
    assert trees[0] == trees[1]
    assert {asked.request.view.role for asked in front.asked} == {seat}
    asked = [request_to_json(one.request) for one in front.asked]
    assert len(asked) == len({json.dumps(one, sort_keys=True) for one in asked})  # nothing twice
    assert all(one.seen == 0 and not one.before for one in front.asked)


def test_a_person_judges_step_by_step_and_is_asked_nothing_twice_after_stopping(tmp_path):
    asked = []
    for _ in range(40):
        replies = iter([arithmetic_person])  # to one request; then the person stops
        front = people.Ruled(lambda one, left=replies: next(left, lambda _: Stopped())(one))
        session = SessionOptions(front=front, name="ada")
        records = play(tmp_path / "run", "human", arena=Arithmetic(depth=2), session=session)
        asked += [request_to_json(one.request)["view"] for one in front.asked[:1]]
        if records:
            break
    assert len(asked) == 7
    assert len({json.dumps(one, sort_keys=True) for one in asked}) == 7
    assert records[0]["credit"] == 1.0
    assert (verdict_of(records[0])["agent"], verdict_of(records[0])["elicitation"]) == ("human/ada", "person")
    assert verdict_of(records[0])["seconds"] == 14.0


def test_two_people_work_on_one_tree_each_in_their_seat(tmp_path):
    cast = {**dict.fromkeys(("decomposer", "combiner"), "human"), "solver": "bounded/1", "judge": "bounded/1"}
    roles = {}
    for name in ("ada", "bob") * 12:
        front = people.Ruled(arithmetic_person, patience=0.05)
        oversight.run(
            Decomposition(depth=3), Arithmetic(depth=2), **cast, limit=1, swap=False, log_dir=tmp_path / "run",
            session=SessionOptions(front=front, name=name),
        )  # fmt: skip
        roles.setdefault(name, set()).update(asked.request.view.role for asked in front.asked)
        if records := list(read_episodes(tmp_path / "run")):
            break
    assert [record["credit"] for record in records] == [1.0]
    assert sorted(map(sorted, roles.values())) == [["combiner"], ["decomposer"]]


def test_cascades_with_people_are_not_asked_small_questions():
    cast = {"debater": "bounded/1000", "judge": "cascade(bounded/1, human, risk=0.2)"}
    with pytest.raises(ConfigurationError, match="many small questions"):
        plan_run(FactoredVerification(), Arithmetic(), cast, limit=4)


OVERSIGHT = (sys.executable, "-m", "oversight.cli")


def test_a_killed_session_goes_on_at_the_step_that_it_had_come_to(tmp_path):
    words = [
        *("run", "factored_verification", "--arena", "arithmetic(depth=2)", "--debater", "bounded/1000"),
        *("--judge", "human", "--as", "ada", "--limit", "1", "--no-swap", "--log-dir", str(tmp_path / "run")),
    ]
    with pseudo_terminal.Terminal(*OVERSIGHT, *words) as screen:
        screen.until("Does step 1 hold?")
        screen.press("h", "100 %")
        screen.press("\r", "You give holds 100 %")
        screen.press("\r", "Does step 2 hold?")
        os.kill(screen.child.pid, signal.SIGKILL)
    seen = []
    with pseudo_terminal.Terminal(*OVERSIGHT, *words) as screen:
        text = screen.until("Does ")
        while "Kept." not in text:
            assert len(seen) < 30, screen.text
            seen += re.findall(r"Does (?:step \d|the answer)[^?]*\?", text)
            if "Enter reads on" not in text:
                screen.press("h", "100 %")
                screen.press("\r", "You give")
            text = screen.change("\r")
            text = text if "Does " in text or "Kept." in text else screen.until("? help")
    assert "Does step 1 hold?" not in seen
    assert set(seen) == {"Does step 2 hold?", "Does step 3 hold?", "Does the answer follow from the steps?"}
    (record,) = read_episodes(tmp_path / "run")
    assert record["probabilities"] == [0.5, 0.5]  # everything held, of both


def test_a_person_is_told_why_parts_cannot_be_read(tmp_path):
    words = [
        *("run", "decomposition", "--depth", "1", "--arena", "arithmetic(depth=2)", "--decomposer", "human"),
        *("--solver", "bounded/1", "--combiner", "bounded/1", "--judge", "bounded/1", "--as", "ada", "--limit", "1"),
        *("--no-swap", "--log-dir", str(tmp_path / "run")),
    ]
    with pseudo_terminal.Terminal(*OVERSIGHT, *words) as screen:
        screen.until("Enter begins to write")
        screen.press("\r", "Ctrl-D done")
        screen.press("What is 5 * 7?", "What is 5 * 7?")
        screen.press("\x04", "It cannot be given like this: the line 'What is 5 * 7?'")
        screen.child.send("\x1b[H")
        screen.press("1. ", "1. What is 5 * 7?")
        screen.press("\x1b[F\r2. What is 1 + 1?", "it can be read as parts")
        screen.press("\x04", "Is this what you want to say?")
        screen.press("\r", "Kept.")
    (record,) = read_episodes(tmp_path / "run")
    assert [part["question"] for part in record["turns"][0]["tree"]["parts"]] == ["What is 5 * 7?", "What is 1 + 1?"]
    assert record["credit"] == 1.0
