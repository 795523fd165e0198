"""Doubly-efficient debate: its constants, the arena's truth, what it guarantees, and that runs play the same game."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import oversight
from oversight.agents import ScriptedAgent
from oversight.arenas.oracle_computation import (
    BIT,
    CHALLENGERS,
    PROVERS,
    Computation,
    OracleComputation,
    estimate,
    play,
    queried,
)
from oversight.errors import ConfigurationError, UnknownName
from oversight.identity import seed_from
from oversight.protocols.doubly_efficient import CLAIM, DoublyEfficient, Parameters, samples
from oversight.runs.directory import read_episodes

GUARANTEED = 3 / 5
CONFIDENCE = 1e-5  # of a wrong alarm in one cell; there are a few hundred
FAMILIES = ("chain", "count", "decisive")
LIPSCHITZ = (1.0, 2.0, 5.0)


def falls_short(right, games):
    """Whether so many right verdicts are too few to come of a success probability of 3/5."""
    return stats.binom.cdf(right, games, GUARANTEED) < CONFIDENCE


def computations(steps, k, family):
    """One computation whose answer is yes and one whose answer is no, as hard as the promise allows."""
    found = {}
    for question in OracleComputation(steps=steps, lipschitz=k, family=family, most=0.675).questions(20, seed=3):
        found.setdefault(question.correct, Computation(**question.structure))
    return {"yes": found[0], "no": found[1]}


def played(computation, prover, challenger, games, seed=1):
    draw = np.random.default_rng(seed)
    return play(computation, PROVERS[prover], CHALLENGERS[challenger], lambda role, step: draw, games)


# ---- constants ----------------------------------------------------------------------------------------------------


def test_the_constants_are_those_of_the_proof():
    """Debate/Correct.lean: c, s, b, q, v; the accuracy and thresholds of Debate/Protocol.lean."""
    by = Parameters(5.0, 10)
    assert (by.c, by.s, by.b, by.q, by.v) == pytest.approx((1 / 500, 2 / 500, 5 / 500, 1 / 1100, 1 / 100))
    assert by.challenger_objects == pytest.approx(3.5 / 500)
    assert by.verifier_rejects == pytest.approx(1.5 / 500)
    assert by.prover_samples == samples(1 / 500, 1 / 1100)
    assert by.challenger_samples == samples(1.5 / 500, 1 / 1100)
    assert by.verifier_samples == samples(0.5 / 500, 1 / 100)
    assert samples(0.1, 0.02) == math.ceil(math.log(100) / 0.02) == 231


@given(st.floats(0.01, 100), st.integers(0, 10**6))
def test_queries_are_within_the_bounds_of_the_proof(k, t):
    """alice_fast, bob_fast and vera_fast of Debate/Cost.lean, for a step of the first two."""
    by = Parameters(k, t)
    assert by.verifier_samples <= by.most_queries == 106000 * k**2 + 1
    assert by.prover_samples <= 5000 * k**2 * math.log(200 * (t + 1)) + 1 + 1e-6 * k**2
    assert by.challenger_samples <= 20000 / 9 * k**2 * math.log(200 * (t + 1)) + 1 + 1e-6 * k**2
    assert Parameters(k, 0).verifier_samples == by.verifier_samples


def test_an_estimate_fails_no_more_often_than_it_may():
    computation = computations(11, 2.0, "chain")["yes"]
    found = estimate(computation, computation.begin(20000), samples(0.02, 0.05), np.random.default_rng(1))
    off = np.abs(found - computation.probability(computation.begin())) >= 0.02
    assert 0 < off.mean() <= 0.05


# ---- truth --------------------------------------------------------------------------------------------------------


def exact(computation, probability):
    """The probability of yes by the sum over all histories; ``probability`` of a state and its bits."""
    total = 0.0
    for bits in itertools.product((False, True), repeat=computation.steps):
        state, chance = computation.begin(), 1.0
        for place, bit in enumerate(bits):
            one = probability(state, bits[:place])
            chance *= one if bit else 1 - one
            state = computation.then(state, np.array([bit]))
        total += chance * bits[-1]
    return total


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("k", LIPSCHITZ)
def test_the_truth_is_the_sum_over_all_histories(family, k):
    for question in OracleComputation(steps=6, lipschitz=k, family=family).questions(4, seed=2):
        computation = Computation(**question.structure)
        yes = exact(computation, lambda state, bits, of=computation: of.probability(state)[0])
        assert computation.probability_of_yes() == pytest.approx(yes, abs=1e-12)
        assert question.answers[question.correct] == ("yes" if yes >= 2 / 3 else "no")
        assert yes >= 2 / 3 or yes <= 1 / 3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("k", LIPSCHITZ)
def test_computations_are_as_lipschitz_as_they_say(family, k):
    """Against oracles that differ by d at most: drawn at random for each history, and all of them to one side."""
    apart = 0.02
    for question in OracleComputation(steps=6, lipschitz=k, family=family).questions(3, seed=4):
        computation = Computation(**question.structure)
        assert computation.least_k() <= k + 1e-9
        for number in range(4):

            def other(state, bits, of=computation, number=number):
                draw = np.random.default_rng(seed_from(number, list(bits)))
                off = apart if number == 0 else draw.choice([-apart, apart])
                return float(np.clip(of.probability(state)[0] + off, 0, 1))

            moved = abs(exact(computation, other) - computation.probability_of_yes())
            assert moved <= k * apart + 1e-12
            assert number or moved > apart / 2


@pytest.mark.parametrize("steps", [2, 11, 1001])
def test_long_computations_keep_the_promise(steps):
    for question in OracleComputation(steps=steps, lipschitz=5).questions(9, seed=1):
        yes = Computation(**question.structure).probability_of_yes()
        assert 2 / 3 <= (yes if question.correct == 0 else 1 - yes) <= 0.8


def test_questions_follow_from_the_seed_and_say_nothing_by_their_form():
    arena = OracleComputation()
    questions = arena.questions(300, seed=1)
    assert list(arena.questions(10, seed=1)) == list(questions[:10])
    assert len({one.id for one in questions}) == 300
    for family in FAMILIES:
        yes = [one.correct == 0 for one in questions if one.structure["family"] == family]
        assert stats.binomtest(sum(yes), len(yes)).pvalue > 0.001
    with pytest.raises(ConfigurationError, match="--limit"):
        arena.questions(None, seed=1)


# ---- the guarantee ------------------------------------------------------------------------------------------------

CELLS = [
    *(("yes", "honest", challenger) for challenger in CHALLENGERS),
    *(("no", prover, "honest") for prover in PROVERS),
]


@pytest.mark.parametrize(("steps", "k", "games"), [(11, 1.0, 2000), (11, 2.0, 2000), (11, 5.0, 2000), (1001, 5.0, 600)])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_honest_side_wins_three_games_in_five_against_anybody(family, steps, k, games):
    """And the verifier's queries are within its bound in every game, and as many at t = 1000 as at t = 10."""
    by_answer = computations(steps, k, family)
    for number, (answer, prover, challenger) in enumerate(CELLS):
        result = played(by_answer[answer], prover, challenger, games, seed=number)
        right = int((result.yes == (answer == "yes")).sum())
        assert not falls_short(right, games), (answer, prover, challenger, right / games)
        assert set(np.unique(result.verifier_queries)) <= {0, samples(1 / (200 * k), 1 / 100)}
        assert result.verifier_queries.max() <= 106000 * k**2 + 1


@pytest.mark.parametrize(("games", "chance"), [(2000, 0.5), (600, 0.43)])
def test_the_test_of_the_guarantee_would_notice(games, chance):
    """A protocol that falls short by so much is found out in nearly every test."""
    worst = max(right for right in range(games) if falls_short(right, games))
    assert stats.binom.cdf(worst, games, chance) > 0.999


@pytest.mark.parametrize("family", FAMILIES)
def test_it_fails_without_an_honest_challenger(family):
    result = played(computations(11, 2.0, family)["no"], "always", "silent", 2000)
    assert falls_short(int((~result.yes).sum()), 2000)


@pytest.mark.parametrize(
    ("constant", "times", "cell"),
    [
        ("b", 1000, ("no", "always", "honest")),  # a challenger that lets everything pass
        ("verifier_rejects", 1e-6, ("yes", "honest", "always")),  # a verifier that believes nothing
        ("verifier_rejects", 1000, ("no", "always", "honest")),  # one that believes everything
        ("prover_samples", 1e-4, ("yes", "honest", "pedantic")),  # a prover that hardly asks
    ],
)
def test_it_fails_with_broken_constants(constant, times, cell, monkeypatch):
    answer, prover, challenger = cell
    right = getattr(Parameters, constant).fget
    kind = int if constant.endswith("samples") else float
    monkeypatch.setattr(Parameters, constant, property(lambda self: kind(right(self) * times) or 1))
    found = []
    for family in FAMILIES:
        result = played(computations(11, 5.0, family)[answer], prover, challenger, 2000)
        found.append(falls_short(int((result.yes == (answer == "yes")).sum()), 2000))
    assert any(found)


# ---- the protocol -------------------------------------------------------------------------------------------------


def run(folder, prover="alice/honest", challenger="bob/honest", *, limit=6, steps=11, seed=5, **options):
    arena = OracleComputation(steps=steps, lipschitz=2)
    oversight.run(
        DoublyEfficient(**options),
        arena,
        prover=prover,
        challenger=challenger,
        referee="verifier",
        judge="verifier",
        limit=limit,
        seed=seed,
        swap=False,
        log_dir=folder,
    )
    questions = {one.id: one for one in arena.questions(limit, seed)}
    return [(record, questions[record["question"]]) for record in read_episodes(folder)]


def spoken(record, role):
    return [turn["text"] for turn in record["turns"] if turn["role"] == role]


@pytest.mark.parametrize(
    ("prover", "challenger"),
    [("honest", "honest"), ("honest", "random"), ("edge", "honest"), ("once", "honest"), ("always", "silent")],
)
def test_a_run_plays_the_same_game_turn_by_turn(tmp_path, prover, challenger):
    """The same claims, objections, bits, queries and verdicts as the game without anything around it."""
    for record, question in run(tmp_path / "run", f"alice/{prover}", f"bob/{challenger}"):
        computation = Computation(**question.structure)

        def draws(role, step, question=question):
            return np.random.default_rng(seed_from(5, question.id, role, None, step, 0))

        game = play(computation, PROVERS[prover], CHALLENGERS[challenger], draws)
        length = int(game.length[0])
        claims = [float(CLAIM.read(text)[0][1]) for text in spoken(record, "prover")]
        assert claims == pytest.approx(list(game.claims[:length, 0]), abs=1e-9)
        assert [text == "object" for text in spoken(record, "challenger")] == list(game.objected[:length, 0])
        bits = [found[1] == "1" for text in spoken(record, "referee") if (found := BIT.search(text))]
        assert bits == list(game.bits[: len(bits), 0])
        assert len(bits) == length - game.objected[length - 1, 0]
        assert record["probabilities"] == ([1, 0] if game.yes[0] else [0, 1])
        for role, queries in (
            ("prover", game.prover_queries),
            ("challenger", game.challenger_queries),
            ("judge", game.verifier_queries),
        ):
            assert queried(record, role) == queries[0]
        assert queried(record, "judge") <= 106000 * 4 + 1


def test_a_game_of_forty_steps_is_played_and_one_too_long_is_not_decided(tmp_path):
    ((record, _),) = run(tmp_path / "long", challenger="bob/silent", steps=41, limit=1, most_steps=41)
    assert record["status"] == "scored"
    assert len(record["turns"]) == 3 * 41 + 1
    ((record, _),) = run(tmp_path / "short", challenger="bob/silent", limit=1, most_steps=5)
    assert record["status"] == "unscored"
    assert "give --most-steps 11 or more" in record["reason"]


@pytest.mark.parametrize("said", ["p = 1.5", "I think it is 0.4", "p = 0.4\np = 0.6"])
def test_a_claim_that_cannot_be_read_leaves_the_game_unscored(tmp_path, said):
    agent = ScriptedAgent("vague", speeches=lambda view: said)
    ((record, _),) = run(tmp_path / "run", prover=agent, limit=1)
    assert record["status"] == "unscored"
    assert "in 2 tries" in record["reason"]


def test_bits_are_drawn_by_question_and_step_whatever_was_said(tmp_path):
    """The same draw decides on a claim of 0.3 and of 0.7: a bit that is 1 under the lower one is 1 under the higher."""
    bits = {}
    for claim in ("0.3", "0.7"):
        agent = ScriptedAgent(f"always {claim}", speeches=lambda view, claim=claim: f"p = {claim}")
        records = run(tmp_path / claim, prover=agent, challenger="bob/silent", limit=3)
        bits[claim] = [BIT.search(text)[1] for record, _ in records for text in spoken(record, "referee")]
    assert len(bits["0.3"]) == 33
    assert all(low <= high for low, high in zip(bits["0.3"], bits["0.7"], strict=True))
    assert bits["0.3"] != bits["0.7"]


def test_alone_a_player_runs_the_computation_and_the_verifier_cannot(tmp_path):
    for judge, credit in (("honest", 1.0), ("verifier", 0.5)):
        oversight.run("direct", OracleComputation(), judge=judge, limit=9, log_dir=tmp_path / judge)
        assert {record["credit"] for record in read_episodes(tmp_path / judge)} == {credit}


def test_agents_are_known_by_name():
    arena = OracleComputation()
    with pytest.raises(UnknownName, match="did you mean 'alice/honest'"):
        arena.agent("alice/honst")
    with pytest.raises(UnknownName, match="did you mean 'bob/silent'"):
        arena.agent("bob/silence")
    assert arena.agent("openai/gpt") is None
