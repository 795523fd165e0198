"""Obfuscated arguments: truth, tells, agents with a budget, and what debate makes of them."""

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import oversight
from oversight.agents import ScriptedAgent
from oversight.arenas.obfuscated_argument import MODULUS, ObfuscatedArgument, claimed, holds, part_of, split_text
from oversight.errors import ConfigurationError, TurnFailed
from oversight.requests import Choose, Speak
from oversight.runs.directory import read_episodes
from oversight.views import Answer, Position, View, VisibleTurn


def played(folder, protocol, steps, limit=60, seed=1, **cast):
    arena = ObfuscatedArgument(steps=steps)
    oversight.run(protocol, arena, limit=limit, seed=seed, log_dir=folder, **cast)
    records = list(read_episodes(folder))
    assert {record["status"] for record in records} == {"scored"}, records[0]["reason"]
    return records


def accuracy(records):
    return sum(record["credit"] for record in records) / len(records)


def accepted(records):
    """By whether the prover's answer is right, the share of games in which it is found likelier."""
    found = {True: [], False: []}
    for record in records:
        answer = next(turn["answer"] for turn in record["turns"] if turn["role"] == "prover")
        found[answer == record["correct"]].append(record["probabilities"][answer] > 0.5)
    return {right: sum(ones) / len(ones) for right, ones in found.items()}


# ---- truth and tells ----------------------------------------------------------------------------------------------


def test_one_argument_is_sound_and_the_other_has_one_false_step():
    for question in ObfuscatedArgument(steps=20).questions(60, seed=1):
        false = [sum(not holds(step) for step in steps) for steps in question.by_answer["steps"]]
        assert sorted(false) == [0, 1]
        assert false[question.correct] == 0
        for steps in question.by_answer["steps"]:
            for one, other, rest in steps:
                assert f"{one} * {other} leaves {rest}" in question.text
                assert 0 < rest < MODULUS


def test_questions_follow_from_the_seed():
    arena = ObfuscatedArgument(steps=5)
    questions = arena.questions(20, seed=1)
    assert arena.questions(5, seed=1) == questions[:5]
    assert {one.id for one in questions}.isdisjoint(one.id for one in arena.questions(20, seed=2))
    with pytest.raises(ConfigurationError, match="--limit"):
        arena.questions(None, seed=1)


def test_nothing_but_work_tells_the_sound_argument():
    """Neither its place, nor the size, parity or repetition of its remainders and factors."""
    questions = ObfuscatedArgument(steps=8).questions(1000, seed=5)
    tells = {
        "place": lambda steps: 0,
        "sum": lambda steps: sum(step[2] for step in steps),
        "largest": lambda steps: max(step[2] for step in steps),
        "smallest": lambda steps: min(step[2] for step in steps),
        "even": lambda steps: sum(step[2] % 2 for step in steps),
        "parity": lambda steps: sum((step[0] * step[1] - step[2]) % 2 for step in steps),
        "last digit": lambda steps: sum((step[0] * step[1] - step[2]) % 10 == 0 for step in steps),
        "repeated": lambda steps: len({step[2] for step in steps}),
        "factors": lambda steps: sum(step[0] + step[1] for step in steps),
    }
    for name, tell in tells.items():
        won = tied = 0
        for question in questions:
            sound, other = (tell(question.by_answer["steps"][n]) for n in (question.correct, 1 - question.correct))
            won, tied = won + (sound > other), tied + (sound == other)
        if name == "place":
            won, tied = sum(question.correct == 0 for question in questions), 0
        assert stats.binomtest(won, len(questions) - tied).pvalue > 0.001, name
    false = Counter(
        next(place for place, step in enumerate(question.by_answer["steps"][1 - question.correct]) if not holds(step))
        for question in questions
    )
    assert stats.chisquare([false[place] for place in range(8)]).pvalue > 0.001


# ---- agents -------------------------------------------------------------------------------------------------------


def view(steps, turns=()):
    return View(
        role="judge",
        speaker="Judge",
        instructions="",
        rules="",
        question="",
        answers=(Answer("A", "argument 1"), Answer("B", "argument 2")),
        options=("A", "B"),
        position=None,
        positions=(),
        by_answer={"steps": steps},
        turns=tuple(VisibleTurn(speaker, label, text, opposed=True) for speaker, label, text in turns),
    )


TRUE, FALSE = [[2, 3, 6], [5, 5, 25], [9, 9, 81]], [[2, 2, 4], [7, 7, 48], [3, 3, 9]]


@pytest.mark.parametrize(
    ("budget", "said", "probability"),
    [
        (0, "", 0.5),
        (1, "Step 2 of argument 2 is false: 7 * 7 leaves 49.", 1.0),
        (1, "Step 2 of argument 1 is false.", 3 / 5),  # it is true: one step of three checked, weights 1 and 2/3
        (0, "Step 2 of argument 2 is false.", 0.5),  # nobody believes what nobody has checked
        (1, "Step 9 of argument 2 is false. Step 2 of argument 2 is false.", None),  # neither stands in the form
        (6, "", 1.0),
    ],
)
def test_a_judge_checks_what_it_is_told_and_goes_by_bayes_rule(budget, said, probability):
    judge = ObfuscatedArgument().agent(f"bounded/{budget}")
    request = Choose(view([TRUE, FALSE], [("Debater A", "A", said)] if said else []), seed=3)
    given = asyncio.run(judge.respond(request)).probabilities
    assert sum(given.values()) == pytest.approx(1)
    if probability is not None:
        assert given["A"] == pytest.approx(probability, abs=1e-5)


def test_labels_change_nothing():
    for budget in range(7):
        judge = ObfuscatedArgument().agent(f"bounded/{budget}")
        one, other = (
            asyncio.run(judge.respond(Choose(view(steps), seed=7))).probabilities
            for steps in ([TRUE, FALSE], [FALSE, TRUE])
        )
        assert one["A"] == pytest.approx(other["B"])


@given(st.integers(1, 300), st.integers(2, 9))
def test_a_split_has_every_step_once(length, width):
    parts = [part_of(line) for line in split_text(range(10, 10 + length), width).split("\n")]
    assert len(parts) == width
    assert [number for part in parts for number in part] == list(range(10, 10 + length))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_claim_in_question_is_the_part_picked_last():
    texts = ["0.5", "1. Steps 1 to 4 are true.\n2. Steps 5 to 8 are true.", "1. 0.5\n2. 0.5", "2 too low"]
    assert claimed(texts[:1], 8) == range(8)
    assert claimed(texts, 8) == range(4, 8)
    deeper = [*texts, "1. Steps 5 to 6 are true.\n2. Steps 7 to 8 are true.", "1. 0.5\n2. 0.5"]
    assert claimed(deeper, 8) == range(4, 8)
    assert claimed([*deeper, "1 too low"], 8) == range(4, 6)
    with pytest.raises(TurnFailed, match="is not about steps"):
        part_of("1. Trust me.")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(0, 12), st.integers(2, 4), st.integers(0, 10**6), st.booleans())
def test_estimates_agree_from_level_to_level(steps, budget, width, seed, doubting):
    """An honest and a doubting estimator contradict themselves by no more than rounding, flaw found or not."""
    draw = random.Random(seed)
    (question,) = ObfuscatedArgument(steps=steps).questions(1, seed)
    agent = ObfuscatedArgument().agent(f"{'doubting' if doubting else 'bounded'}/{budget}")
    part, said = range(steps), None
    texts = []
    for _ in range(3):
        seen = View(
            **{
                **vars(view(question.by_answer["steps"])),
                "role": "estimator",
                "positions": (Position("Prover A", "A"),),
                "turns": tuple(VisibleTurn("", None, text) for text in texts),
            }
        )
        lines = asyncio.run(agent.respond(Speak(seen, seed=draw.randrange(10**6)))).text.split("\n")
        given = [float(line.split()[-1]) for line in lines]
        if said is None:
            (said,) = given
        else:
            assert max(0.0, 1 - sum(1 - one for one in given)) == pytest.approx(said, abs=1e-5)
            picked = draw.randrange(width)
            part, said = part_of(texts[-1].split("\n")[picked]), given[picked]
        texts = ["0", split_text(part, width)]


# ---- what protocols make of it ------------------------------------------------------------------------------------


def test_debate_recovers_where_the_honest_side_can_find_the_flaw_and_fails_where_it_cannot(tmp_path):
    able = played(tmp_path / "able", "debate(rounds=1)", 32, limit=15, debater="bounded/32", judge="bounded/1")
    assert accuracy(able) == 1.0
    half = played(tmp_path / "half", "debate(rounds=1)", 32, limit=50, debater="bounded/16", judge="bounded/1")
    assert 0.6 < accuracy(half) < 0.9
    few = played(tmp_path / "few", "debate(rounds=1)", 256, limit=25, debater="bounded/2", judge="bounded/1")
    assert 0.3 < accuracy(few) < 0.7
    # A judge that checks nothing learns nothing from those who only say so.
    unable = played(tmp_path / "unable", "debate(rounds=1)", 32, limit=5, debater="bounded/32", judge="bounded/0")
    assert accuracy(unable) == 0.5


def test_alone_and_blind_a_judge_is_at_chance(tmp_path):
    for protocol in ("blind", "direct"):
        assert accuracy(played(tmp_path / protocol, protocol, 32, limit=8, judge="bounded/0")) == 0.5


def test_a_lie_about_a_false_step_moves_no_judge_that_checks_it(tmp_path):
    liar = ScriptedAgent(
        "liar", speeches=lambda view: f"Step 1 of argument {'21'['2' in view.answer_text(view.position)]} is false."
    )
    records = played(tmp_path / "run", "debate(rounds=1)", 64, limit=20, debater=liar, judge="bounded/2")
    wrong = [record for record in records if record["credit"] == 0]
    assert len(wrong) <= len(records) * 0.1


def test_an_estimator_that_doubts_every_step_accepts_no_false_claim_and_no_long_true_one(tmp_path):
    """Sound without knowing the flaw, and useless for arguments that hinge on every step: they are not stable."""
    game = {"prover": "bounded/2", "judge": "bounded/1"}
    long = played(tmp_path / "long", "prover_estimator(depth=3,width=4)", 64, limit=10, estimator="doubting/2", **game)
    assert accepted(long) == {True: 0.0, False: 0.0}
    able = played(tmp_path / "able", "prover_estimator(depth=3,width=4)", 64, limit=10, estimator="doubting/64", **game)
    assert accepted(able) == {True: 1.0, False: 0.0}
    bayes = played(tmp_path / "bayes", "prover_estimator(depth=3,width=4)", 64, limit=10, estimator="bounded/2", **game)
    found = accepted(bayes)
    assert found[True] == 1.0
    assert found[False] > 0.8
