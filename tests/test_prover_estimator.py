"""Prover-estimator debate: the form of each turn, the verdict of a game, and who sees what."""

import importlib.util
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oversight.agents import ScriptedAgent
from oversight.graph import check
from oversight.limits import Form
from oversight.protocols.prover_estimator import (
    TOLERANCE,
    Level,
    ProverEstimator,
    estimates,
    pick,
    probability_of_claim,
    read_game,
    sub_claims,
)

_file = Path(__file__).with_name("helpers.py")
_specification = importlib.util.spec_from_file_location("oversight_test_helpers", _file)
helpers = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(helpers)

GAME = [
    "0.30",
    "1. The sky is blue.\n2. Grass is green.",
    "1. 0.90\n2. 0.40",
    "2 too low",
    "1. Leaves are green.\n2. Grass has leaves.",
    "1. 0.70\n2. 0.70",
    "1 too low",
]


# ---- forms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "text", "fault"),
    [
        (sub_claims(2), "1. One.\n\n2) Two.", ""),
        (sub_claims(2), "1. One.\n3. Two.", "does not begin with '2.'"),
        (sub_claims(2), "1. One.", "it has 1 line, not 2"),
        (sub_claims(2), "Here they are:\n1. One.\n2. Two.", "it has 3 lines, not 2"),
        (estimates(2), "1. 0.5\n2. 1", ""),
        (estimates(2), "1. 0.5\n2. likely", "the line 'likely' is not a probability"),
        (estimates(1), "1. 50%", "the line '50%' is not a probability"),
        (pick(3), "2 too low", ""),
        (pick(3), "2 Too High.", ""),
        (pick(3), "4 too low", "is not a number from 1 to 3"),
        (pick(3), "the second, it is too low", "is not a number from 1 to 3"),
        (pick(3), "", "it has 0 lines, not 1"),
    ],
)
def test_a_turn_has_its_form_or_a_fault(form, text, fault):
    assert fault in form.fault(text)
    assert bool(form.fault(text)) == bool(fault)
    assert (form.distance(text) > 0) == bool(fault)


def test_a_form_says_what_is_to_be_written():
    assert pick(3).asked() == "Write a number from 1 to 3 and too low or too high and nothing else."
    assert estimates(2).asked() == (
        "Write 2 lines, numbered 1. to 2., each a probability such as 0.75, and nothing else."
    )
    assert (Form(pattern="a", says="a").tries, Form(pattern="a", says="a").outside) == (2, "fail")


# ---- the verdict --------------------------------------------------------------------------------------------------


def test_a_game_is_read():
    first, levels = read_game(GAME)
    assert first == 0.3
    assert levels == [Level((0.9, 0.4), 1, True), Level((0.7, 0.7), 0, True)]


@pytest.mark.parametrize(
    ("first", "levels", "leaf", "claim"),
    [
        (0.3, [Level((0.9, 0.4), 1, True)], None, 0.3),  # 1 - 0.1 - 0.6: as it was said
        (0.1, [Level((0.9, 0.4), 1, True)], None, 1.0),  # the estimator contradicts itself
        (0.3, [Level((0.9, 0.4), 1, True)], 1.0, 1.0),  # the leaf is true, and its estimate was 0.4
        (0.3, [Level((0.9, 0.4), 1, True)], 0.0, 0.3),
        (0.3, [Level((0.95, 0.35), 0, True)], 1.0, 0.3),  # too low, but not clearly
        (0.3, [Level((0.9, 0.4), 1, False)], 0.0, 0.3),  # too high: the prover is right, and its answer no likelier
        (0.3, [Level((0.9, 0.4), 1, True), Level((0.7, 0.7), 0, True)], None, 0.3),
        (0.3, [Level((0.9, 0.4), 1, True), Level((0.8, 0.8), 0, True)], None, 1.0),
        (0.3, [Level((0.9, 0.4), 1, False), Level((0.8, 0.8), 0, True)], 1.0, 0.3),
    ],
)
def test_the_verdict_of_a_game(first, levels, leaf, claim):
    assert probability_of_claim(first, levels, leaf) == claim


LEVELS = st.lists(
    st.builds(
        lambda given, place, low: Level(tuple(given), place % len(given), low),
        st.lists(st.floats(0, 1), min_size=2, max_size=5),
        st.integers(0, 4),
        st.booleans(),
    ),
    max_size=4,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # slow only on a busy machine
@given(st.floats(0, 1), LEVELS)
def test_a_true_leaf_never_harms_the_prover_and_an_unknown_one_decides_nothing(first, levels):
    low, unknown, high = (probability_of_claim(first, levels, leaf) for leaf in (0.0, None, 1.0))
    assert low == unknown <= high
    assert unknown in (first, 1.0)


@given(st.integers(1, 6), st.integers(2, 6), st.integers(0, 40))
def test_an_estimator_that_shares_its_doubt_out_evenly_is_never_refuted_by_true_steps(depth, width, off):
    """Whatever the prover picks, if the doubt of a step is below the tolerance: soundness needs no knowledge of the
    flaw."""
    doubt = min(off / 400, TOLERANCE - 0.001)

    def said(level):  # of a part with width ** (depth - level) steps
        return max(0.0, 1 - doubt * width ** (depth - level))

    levels = [Level((said(level),) * width, 0, True) for level in range(1, depth + 1)]
    assert probability_of_claim(said(0), levels, 1.0) == said(0)


# ---- the protocol -------------------------------------------------------------------------------------------------


class Cast(ScriptedAgent):
    """Says the lines of a game in order, whoever it is; keeps what it was shown."""

    def __init__(self, lines):
        super().__init__("cast", speeches=lambda view: self.lines[len(view.turns)], choices={"A": 0.75, "B": 0.25})
        self.lines, self.views = lines, []

    def describe(self):
        return {"agent": self.name, "lines": self.lines}

    async def respond(self, request):
        self.views.append(request.view)
        return await super().respond(request)


def test_the_turns_are_these():
    agent = Cast(GAME)
    record = helpers.play(ProverEstimator(depth=2, width=2), agent)
    assert record["status"] == "scored", record["reason"]
    assert [(turn["role"], turn.get("text", "")) for turn in record["turns"]] == [
        *zip(["estimator", *["prover", "estimator", "prover"] * 2], GAME, strict=True),
        ("judge", ""),
    ]
    assert record["probabilities"] == [0.75, 0.25]
    for view in agent.views:
        assert bool(view.material) == (view.role != "judge")
        assert view.position == ("A" if view.role == "prover" else None)
        assert [(one.speaker, one.label) for one in view.positions] == [("Prover A", "A")]
    assert [len(view.turns) for view in agent.views] == list(range(8))


@pytest.mark.parametrize(
    ("place", "text"), [(0, "quite likely"), (1, "1. One."), (2, "1. 0.5"), (3, "3 too low"), (6, "neither")]
)
def test_a_turn_that_cannot_be_read_leaves_the_episode_unscored(place, text):
    lines = [*GAME[:place], text, *GAME[place + 1 :]]
    record = helpers.play(ProverEstimator(depth=2, width=2), Cast(lines))
    assert record["status"] == "unscored"
    assert record["probabilities"] is None
    assert "in 2 tries" in record["reason"]
    assert len(record["turns"]) == place


def test_every_answer_is_proved_in_its_turn_and_the_graph_is_sound():
    for depth, width, answers in ((1, 2, 2), (3, 4, 3), (16, 64, 2)):
        protocol = ProverEstimator(depth=depth, width=width)
        assert check(protocol, answers) == []
        assert protocol.most_turns(answers) == 3 * depth + 2
    assert [role.is_supervised for role in ProverEstimator().roles().values()] == [True, True, False]
