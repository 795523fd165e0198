"""``oversight plan``: what it prints, what it refuses, and that it leaves nothing behind."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from pathlib import Path

import pytest

from oversight.analysis.power import Arm, Prior, detectable_difference, questions_needed
from oversight.cli import main
from oversight.cli.planning import _arms, _gaps
from oversight.runs.api import plan_run, plan_tournament

HERE = Path(__file__).parent
TINY = HERE / "tiny.py"
_specification = importlib.util.spec_from_file_location("oversight_test_tiny", TINY)
tiny = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(tiny)
SUMS, THINKER, SECOND, THIRD = (f"{TINY}:{name}" for name in ("Sums", "Thinker", "Second", "Third"))
RUN = ("run", "debate(rounds=1)", "--arena", SUMS, "--debater", THINKER, "--judge", SECOND, "--limit", "100")
PRICED = (
    *("run", "debate(rounds=1)", "--arena", SUMS, "--debater", "vllm/big", "--judge", "vllm/small", "--limit", "50"),
    *("--price", "vllm/big=2,8", "--price", "vllm/small=1,1"),
)
TOURNAMENT = (
    *("tournament", SUMS, "--agents", f"{THINKER},{SECOND},{THIRD}"),
    *("--protocols", "direct,debate(rounds=1),consultancy(rounds=1)", "--limit", "60"),
)
QUICK = ("--simulations", "200")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """In an empty folder, which is empty afterwards; agents that note their turns have none to note."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("OVERSIGHT_TEST_CALLS", str(tmp_path / "calls"))
    yield
    assert list(tmp_path.iterdir()) == []


def said(capsys, *words):
    assert main(["plan", *words]) == 0
    found = capsys.readouterr()
    assert found.err == ""
    return found.out


def asked(capsys, *words):
    return json.loads(said(capsys, *words, "--json"))


# ---- what it says ---------------------------------------------------------------------------------


def test_a_run_is_planned_as_its_dry_run_is_with_power_below(capsys):
    planned = said(capsys, *RUN, *QUICK)
    assert main([*RUN, "--dry-run"]) == 0
    assert planned.startswith(capsys.readouterr().out)
    assert "baseline accuracy 0.7" in planned
    assert re.search(r"debate and another of the\s.*1 and 1 +1\d\.\d %", planned)
    assert "to detect" not in planned
    assert "200 simulated runs" in planned


def test_the_word_run_and_the_word_tournament_may_be_left_out(capsys):
    assert said(capsys, *RUN[1:], *QUICK) == said(capsys, *RUN, *QUICK)
    pytest.importorskip("pyspiel")
    words = ("connect_four", "--agents", "mcts/4,mcts/8", "--protocols", "direct", "--limit", "1", *QUICK)
    assert said(capsys, *words) == said(capsys, "tournament", *words)


def test_the_answers_are_those_of_the_library(capsys):
    """Questions, sources, seatings and samples of the plan are what is simulated."""
    found = asked(capsys, *RUN, "--epochs", "3", "--detect", "0.06", "--baseline", "0.6", *QUICK)
    sources = [f"page {number // 2}" for number in range(100)]
    arm = Arm((2,) * 100, 1, 3)
    settings = {"prior": Prior(baseline=0.6), "simulations": 200}
    (row,) = found["differences"]
    assert row["smallest"] == detectable_difference(sources, arm, arm, **settings).to_json()
    needed = questions_needed(0.06, sources, arm, arm, **settings)
    assert {name: row["needed"][name] for name in needed.to_json()} == needed.to_json()
    assert found["prior"]["baseline"] == 0.6
    assert (found["questions"], found["sources"], found["slopes"]) == (100, 50, [])


def test_costs_are_those_of_the_plan_and_scale_with_the_questions_needed(capsys):
    found = asked(capsys, *PRICED, "--detect", "0.1", *QUICK)
    assert found["episodes"] == [{"purpose": "comparison", "protocol": "debate(rounds=1)", "episodes": 100}]
    assert found["dollars"] == pytest.approx(sum(cost["dollars"] for cost in found["costs"]))
    by_role = {cost["role"]: cost for cost in found["costs"]}
    assert by_role["judge"]["calls"] == 2 * 100  # the options in both orders
    needed = found["differences"][0]["needed"]
    times = needed["questions"] / 50
    assert needed["dollars"] == pytest.approx(found["dollars"] * times)
    for cost in needed["costs"]:
        assert cost["calls"] == math.ceil(by_role[cost["role"]]["calls"] * times - 1e-9)
        assert cost["input_tokens"] >= by_role[cost["role"]]["input_tokens"] * times - 1e-6
    text = said(capsys, *PRICED, "--detect", "0.1", *QUICK)
    assert f"{needed['questions']:,}" in text
    assert f"{needed['dollars']:,.2f}" in text


def test_an_unknown_price_is_unknown_and_no_key_is_needed(capsys):
    words = [
        *RUN[:-4],
        "--judge",
        "openai/nobody-has-heard-of-it",
        "--base-url",
        "https://example.invalid/v1",
        "--limit",
        "50",
    ]
    found = asked(capsys, *words, "--detect", "0.1", *QUICK)
    assert found["dollars"] is None
    assert found["differences"][0]["needed"]["dollars"] is None
    assert "unknown" in said(capsys, *words, "--detect", "0.1", *QUICK).partition("to detect 10 %")[2]


def test_a_tournament_has_differences_by_cast_and_pooled_and_slopes(capsys):
    found = asked(capsys, *TOURNAMENT, *QUICK)
    assert {(one["purpose"], one["episodes"]) for one in found["episodes"]} >= {("comparison", 60 * 2 * 3)}
    pooled = {tuple(row["protocols"]): row["casts"] for row in found["differences"][3:]}
    assert [row["casts"] for row in found["differences"][:3]] == [[1, 1]] * 3
    assert pooled == {
        ("direct", "consultancy(rounds=1)"): [3, 9],
        ("direct", "debate(rounds=1)"): [3, 9],
        ("debate(rounds=1)", "consultancy(rounds=1)"): [9, 9],
    }
    smallest = [row["smallest"]["effect"] for row in found["differences"]]
    assert smallest[0] == smallest[1] == smallest[2] > smallest[3] == smallest[4] > smallest[5] > 0
    assert [row["protocol"] for row in found["slopes"]] == ["debate(rounds=1)", "consultancy(rounds=1)"]
    for row in found["slopes"]:
        assert (row["gap_low"], row["gap_high"]) == (-800, 800)
        assert row["per_100_elo"] == pytest.approx(row["smallest"]["effect"] / 16)
    wider = asked(capsys, *TOURNAMENT, "--spread", "400", *QUICK)["slopes"]
    assert wider[0]["smallest"] == found["slopes"][0]["smallest"]
    assert wider[0]["per_100_elo"] == pytest.approx(2 * found["slopes"][0]["per_100_elo"])
    text = said(capsys, *TOURNAMENT, *QUICK)
    assert "any two protocols" in text
    assert "evenly spread over 800 Elo" in text
    assert re.search(r"debate +\d\.\d\d log-odds +\d\d % to \d\d %", text)


def test_power_is_that_of_all_that_a_schedule_could_play(capsys):
    assert "could play" in said(capsys, *TOURNAMENT, "--schedule", "adaptive", *QUICK)
    assert "could play" not in said(capsys, *TOURNAMENT, *QUICK)


def test_a_tournament_of_one_cast_has_no_slope(capsys):
    words = ("tournament", SUMS, "--agents", THINKER, "--protocols", "direct,debate(rounds=1)", "--limit", "40")
    found = asked(capsys, *words, *QUICK)
    assert found["slopes"] == []
    assert [row["casts"] for row in found["differences"]] == [[1, 1]]


def test_one_source_says_why_nothing_can_be_detected(capsys):
    words = (*RUN[:-1], "2", *QUICK)
    (row,) = asked(capsys, *words)["differences"]
    assert row["smallest"]["effect"] is None
    assert "no difference: one source" in said(capsys, *words)
    assert asked(capsys, *words, "--detect", "0.1")["differences"][0]["needed"]["questions"] > 50


def test_arms_count_seatings_samples_and_casts():
    run = plan_run("debate", tiny.Sums(), {"debater": tiny.Thinker(), "judge": tiny.Second()}, limit=5, epochs=4)
    assert _arms(run)[0][2] == Arm((2,) * 5, 1, 4)
    once = plan_tournament(tiny.Sums(), [tiny.Thinker(), tiny.Second()], ["debate"], limit=5, swap=False, pairs="all")
    protocol, casts, arm = _arms(once)[0]
    assert arm == Arm((1,) * 5, 6, 1)
    # Sides that differ have the mean of both.
    assert sorted(set(_gaps(protocol, casts, 800.0))) == [-800.0, -400.0, 0.0, 400.0, 800.0]
    assert _gaps(*_arms(plan_tournament(tiny.Sums(), [tiny.Thinker()], ["direct"], limit=2))[0][:2], 800.0) is None


# ---- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "write what is planned"),
        (("--detect", "0.1"), "unknown option '--detect'"),
        (("run",), "write the protocol first: oversight plan run PROTOCOL"),
        (("tournament", "--limit", "3"), "write the arena first: oversight plan tournament ARENA"),
        (("run", "debte", *RUN[2:]), "did you mean 'debate'?"),
        ((*RUN, "--detekt", "0.1"), "did you mean '--detect'?"),
        ((*RUN, "--detect", "0.3"), "--detect 0.3: from a baseline of 0.7"),
        ((*RUN, "--detect", "-0.1"), "--detect -0.1"),
        ((*RUN, "--detect", "much"), "invalid float value: 'much'"),
        ((*RUN, "--power", "1"), "--power 1"),
        ((*RUN, "--alpha", "2"), "--alpha 2"),
        ((*RUN, "--simulations", "3"), "--simulations 3"),
        ((*RUN, "--question-sd", "-1"), "--question-sd -1"),
        ((*TOURNAMENT, "--spread", "nan"), "--spread nan"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(capsys, words, message):
    assert main(["plan", *words]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    (line,) = found.err.splitlines()
    assert message in line


@pytest.mark.parametrize("words", [(), ("run",), ("tournament",), ("run", "debate")])
def test_help_names_the_prior(capsys, words):
    with pytest.raises(SystemExit) as ended:
        main(["plan", *words, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "example:\n  oversight plan" in text
    if words:
        for option in ("--detect", "--power", "--alpha", "--baseline", "--question-sd", "--spread", "--limit"):
            assert option in text
