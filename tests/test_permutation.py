"""The arena permutation: its truth, what its answers tell, its agents and their steps."""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oversight
from oversight.arenas.permutation import Permutation, PowerWorking
from oversight.errors import ConfigurationError
from oversight.registry import find_agent, find_arena
from oversight.requests import Choose, Speak
from oversight.views import Answer, View, VisibleTurn

SHIFT = [*range(2, 12), 1]  # sends 1 to 2, ..., 11 to 1


@st.composite
def cycles(draw):
    """A permutation with one cycle, a power below its length, and a start."""
    points = draw(st.permutations(range(1, draw(st.integers(3, 30)) + 1)))
    following = {one: points[(place + 1) % len(points)] for place, one in enumerate(points)}
    images = [following[point] for point in range(1, len(points) + 1)]
    return images, draw(st.integers(1, len(points) - 1)), draw(st.sampled_from(points))


def composed(images, power):
    """The images of a power of a permutation, by squaring: another way than the arena's."""
    result = list(range(1, len(images) + 1))
    square = list(images)
    while power:
        if power % 2:
            result = [square[point - 1] for point in result]
        square = [square[point - 1] for point in square]
        power //= 2
    return result


def view(power=6, values=(7, 8), turns=(), position=None, role="judge"):
    labels = "AB"
    return View(
        role=role,
        speaker="",
        instructions="",
        rules="",
        question="",
        answers=tuple(Answer(label, str(value)) for label, value in zip(labels, values, strict=True)),
        options=tuple(labels),
        position=position,
        positions=(),
        structure={"permutation": SHIFT, "power": power, "start": 1},
        by_answer={"value": list(values)},
        turns=tuple(VisibleTurn(f"Debater {label}", label, text, opposed=True) for label, text in turns),
    )


def respond(budget, request):
    return asyncio.run(Permutation().agent(f"bounded/{budget}").respond(request))


def decide(budget, seed=1, **settings):
    return respond(budget, Choose(view(**settings), seed=seed)).probabilities


def say(budget, seed=1, **settings):
    return respond(budget, Speak(view(role="debater", **settings), seed=seed)).text


def accuracy(result):
    found = []
    for record in result.episodes():
        assert record["status"] == "scored"
        given_ = record["probabilities"]
        best = [number for number, one in enumerate(given_) if math.isclose(one, max(given_), abs_tol=1e-9)]
        found.append((record["correct"] in best) / len(best))
    return sum(found) / len(found), len(found)


# ---- truth and tells ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"points": 100, "power": 99, "choices": 4}, {"points": 4, "power": 3}])
def test_the_answer_is_the_power_by_another_way(options):
    for question in Permutation(**options).questions(20, seed=1):
        structure = question.structure
        images = composed(structure["permutation"], structure["power"])
        value = images[structure["start"] - 1]
        assert question.by_answer["value"][question.correct] == value
        assert question.answers[question.correct] == str(value)
        assert len(set(question.answers)) == options.get("choices", 2)
        stated = [int(image) for image in re.findall(r"\d+ to (\d+)[,.]", question.text.partition("sends")[2])]
        assert stated == structure["permutation"]
        assert f"sigma^{structure['power']}({structure['start']})" in question.text


def test_sigma_is_one_cycle_and_powers_are_of_the_upper_half():
    powers = Counter()
    for question in Permutation().questions(400, seed=1):
        images, point, length = question.structure["permutation"], 1, 0
        while length == 0 or point != 1:
            point, length = images[point - 1], length + 1
        assert length == 24
        powers[question.structure["power"]] += 1
    assert set(powers) == set(range(9, 17))
    assert max(powers.values()) < 50 + 4 * math.sqrt(50)


def test_questions_follow_from_the_seed_and_grow_by_the_limit():
    arena = Permutation()
    questions = arena.questions(20, seed=3)
    assert list(arena.questions(5, seed=3)) == list(questions[:5])
    assert {one.id for one in questions}.isdisjoint(one.id for one in arena.questions(20, seed=4))
    assert questions[0].id == "2030a03d81d2"


def blind():
    def value(choose):
        return lambda question: choose(question.by_answer["value"])

    def image(question):
        """The answer that sigma sends to the other one, if it does."""
        images, values = question.structure["permutation"], question.by_answer["value"]
        found = [one for one in values if images[one - 1] in values]
        return found[0] if len(found) == 1 else None

    def near(question):
        images = question.structure["permutation"]
        return min(question.by_answer["value"], key=lambda one: (abs(images[one - 1] - one), one))

    def by_start(question):
        return min(question.by_answer["value"], key=lambda one: (abs(one - question.structure["start"]), one))

    def plus_power(question):
        wanted = (question.structure["start"] + question.structure["power"]) % 24
        return min(question.by_answer["value"], key=lambda one: (abs(one - wanted), one))

    return {
        "first": value(lambda values: values[0]),
        "largest": value(max),
        "smallest": value(min),
        "middle": value(lambda values: sorted(values)[len(values) // 2]),
        "sent to another": image,
        "sent near": near,
        "near the start": by_start,
        "start plus power": plus_power,
    }


@pytest.mark.parametrize("choices", [2, 3])
def test_whoever_does_not_count_is_at_chance(choices):
    questions = Permutation(choices=choices).questions(2000, seed=11)
    for name, strategy in blind().items():
        said = [(strategy(question), question) for question in questions]
        hits = [value == question.by_answer["value"][question.correct] for value, question in said if value is not None]
        error = math.sqrt((choices - 1) / choices**2 / len(hits))
        assert abs(sum(hits) / len(hits) - 1 / choices) < 4 * error, name


@pytest.mark.parametrize(
    ("options", "limit", "message"),
    [({}, None, "--limit"), ({"points": 16}, 1, "points=16 must be more"), ({"choices": 9}, 1, "raise power=16")],
)
def test_questions_that_cannot_be_made_are_refused_in_one_line(options, limit, message):
    with pytest.raises(ConfigurationError, match=message):
        Permutation(**options).questions(limit, seed=1)
    with pytest.raises(ConfigurationError, match="permutation: option 'power' = 1"):
        find_arena("permutation", power=1)
    with pytest.raises(ConfigurationError, match="bounded/K"):
        find_agent("bounded/none", Permutation())


# ---- steps --------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(cycles(), st.integers(0, 2**31))
def test_an_argument_has_one_false_step_or_none(made, seed):
    images, power, start = made
    working = PowerWorking(images, power, start)
    true = composed(images, power)[start - 1]
    for value in {true, 1 + seed % len(images)}:
        steps = dict(working.leading_to(value, random.Random(seed)))
        assert steps[working.goal] == value
        chain = working.chain(steps)
        assert set(chain) <= set(steps)
        false = [about for about in chain if working.carry_out(working.task(about, steps)) != steps[about]]
        assert len(false) == (value != true)


@given(cycles(), st.integers(1, 40))
def test_what_is_worked_out_is_true_and_within_the_budget(made, budget):
    images, power, start = made
    working = PowerWorking(images, power, start)
    steps = working.worked_out(budget)
    assert (working.goal in dict(steps)) == (budget >= power)
    for about, value in steps:
        exponent, point = working.rank(about)
        assert composed(images, exponent)[point - 1] == value
    assert working.read("\n".join(f"Step: {about} = {value}" for about, value in steps)) == dict(steps)


def test_steps_are_halves_and_a_parity():
    assert say(9, power=5, values=(6, 8), position="A").splitlines() == [
        "Step 1: sigma^1(1) = 2",
        "Step 2: sigma^1(2) = 3",
        "Step 3: sigma^2(1) = 3",
        "Step 4: sigma^1(3) = 4",
        "Step 5: sigma^1(4) = 5",
        "Step 6: sigma^2(3) = 5",
        "Step 7: sigma^5(1) = 6",
    ]
    assert say(3, power=5, position="A").count("\n") == 3  # three applications and the half that follows


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Step: sigma(3) = 4\nstep 2: σ^2 (1) = 3.", {"sigma^1(3)": 4, "sigma^2(1)": 3}),
        ("Step: sigma^7(3) = 4\nStep: sigma^0(1) = 1\nStep: sigma^1(12) = 1\nsigma(3) = 4\nStep: 3 = 4", {}),
        ("Step: sigma^2(1) = 999", {"sigma^2(1)": 999}),
    ],
)
def test_steps_are_read(text, found):
    assert PowerWorking(SHIFT, 6, 1).read(text) == found


def test_points_that_are_none_are_found_false_or_missing():
    working = PowerWorking(SHIFT, 3, 1)
    stated = {"sigma^1(1)": 999, "sigma^3(1)": 4}
    assert working.chain(stated) is None
    assert working.task("sigma^3(1)", stated) is None
    odd = {"sigma^1(1)": 2, "sigma^1(2)": 999, "sigma^3(1)": 4}
    assert working.carry_out(working.task("sigma^3(1)", odd)) != 4


@given(st.text(max_size=300))
def test_no_text_breaks_a_judge(text):
    given_ = decide(2, turns=[("A", text), ("B", "Step 1: sigma^2(1) = " + text)])
    assert math.isclose(sum(given_.values()), 1)


def test_one_check_decides_between_complete_arguments():
    for seed in range(40):
        turns = [(label, say(100, seed=seed + number, position=label)) for number, label in enumerate("AB")]
        assert decide(1, seed=seed, turns=turns)["A"] > 0.999
    assert decide(5) == {"A": 0.5, "B": 0.5}
    assert decide(6, turns=[("B", say(100, position="B"))]) == {"A": 1.0, "B": 0.0}


# ---- whole runs ---------------------------------------------------------------------------------------------


def test_alone_accuracy_falls_with_the_power_and_debate_lifts_it(tmp_path):
    arena = Permutation()
    questions = arena.questions(60, seed=0)
    for budget in (8, 12, 16):
        result = oversight.run("direct", arena, judge=f"bounded/{budget}", limit=60, log_dir=tmp_path / str(budget))
        share = sum(question.structure["power"] <= budget for question in questions) / 60
        assert accuracy(result)[0] == pytest.approx(share + (1 - share) / 2)
        assert {8: share == 0, 12: 0 < share < 1, 16: share == 1}[budget]
    debate = oversight.run(
        "debate", arena, debater="bounded/1000", judge="bounded/2", limit=30, log_dir=tmp_path / "debate"
    )
    assert accuracy(debate) == (1.0, 60)
    advice = oversight.run(
        "consultancy", arena, consultant="bounded/1000", judge="bounded/2", limit=30, log_dir=tmp_path / "advice"
    )
    assert 0.5 <= accuracy(advice)[0] < 0.75  # half, and what two checks of about thirty steps catch
