"""Cascades in runs: held-out calibration, thresholds by cell, and what goes to people under a budget."""

import importlib.util
import io
import json
import math
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

import oversight
from oversight.agents import ScriptedAgent
from oversight.agents.cascade import CascadeAgent
from oversight.agents.human import Human
from oversight.agents.proxies import Noisy
from oversight.analysis.escalation import escalations
from oversight.errors import ConfigurationError
from oversight.report.escalation_report import print_escalation
from oversight.runs.api import plan_run
from oversight.runs.cascades import kept_calibrations
from oversight.runs.directory import read_episodes
from oversight.runs.session import SessionOptions

TESTS = Path(__file__).parent


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", TESTS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


people, tiny = _load("people"), _load("tiny")


class Pages(tiny.Sums):
    """Sums with a page each, so that every question is a source of its own."""

    name = "pages"

    def questions(self, limit, seed):
        from dataclasses import replace

        return [replace(one, source=one.id) for one in super().questions(limit, seed)]


def _number(view):
    return int(re.search(r"is (\d+) \+", view.question)[1])


def guesser(name, step, at_least=0.5):
    """A judge whose confidence follows from the question, and who is right about as often as it is sure."""

    def choices(view):
        number = _number(view)
        confidence = max(0.5 + (number * step % 50) / 100, at_least)
        right = next(answer.label for answer in view.answers if answer.text == str(number))
        wrong = next(answer.label for answer in view.answers if answer.label != right)
        is_right = (number * 61 % 100) / 100 < confidence
        first = right if is_right else wrong
        return {first: confidence, (wrong if is_right else right): 1 - confidence}

    return ScriptedAgent(name, choices=choices)


def fair(name="fair"):
    """A judge that is never sure."""
    return ScriptedAgent(name, choices={"A": 0.5, "B": 0.5})


def play(folder, cascade, *, count=160, front=None, protocol="debate(rounds=1)", **session):
    oversight.run(
        protocol,
        Pages(count=count),
        debater=tiny.Thinker(),
        judge=cascade,
        log_dir=folder,
        swap=False,
        session=SessionOptions(front=front, **{k: v for k, v in session.items() if k != "retry_failed"}),
        retry_failed=session.get("retry_failed", False),
    )
    return list(read_episodes(folder))


def compared(records):
    return [record for record in records if record["purpose"] == "comparison"]


def consulted(record):
    return record["turns"][-1].get("consulted", [])


def printed(folder):
    out = Console(width=80, record=True, file=io.StringIO())
    print_escalation(kept_calibrations(folder), escalations(read_episodes(folder)), out)
    return out.export_text()


def test_a_cascade_is_calibrated_on_questions_that_are_no_part_of_what_it_is_judged_by(tmp_path):
    cascade = CascadeAgent("c", [guesser("g", 7), Noisy(rate=0.0)], risk=0.2, held_out=0.5)
    records = play(tmp_path / "run", cascade)
    calibrating = [record for record in records if record["purpose"] == "calibration"]
    assert len(calibrating) == 80
    assert len(compared(records)) == 80
    assert not {record["source"] for record in calibrating} & {record["source"] for record in compared(records)}
    (calibration,) = kept_calibrations(tmp_path / "run").values()
    assert calibration.holds
    (judge,) = calibration.judges
    threshold = judge.threshold
    # The bound is of the held-out verdicts from the threshold on, counted here anew.
    above = [record for record in calibrating if max(consulted(record)[0]["probabilities"]) >= threshold]
    wrong = sum(record["credit"] < 1 for record in above)
    assert (judge.n, judge.errors) == (len(above), wrong)
    assert judge.bound <= 0.2
    for record in compared(records):
        first, *rest = consulted(record)
        assert first["decided"] is (max(first["probabilities"]) >= threshold)
        assert bool(rest) is not first["decided"]
        assert record["turns"][-1]["elicitation"] == ("script" if first["decided"] else "proxy")
    (found,) = escalations(records)
    assert found.accuracy.n == 80
    assert found.escalated.mean == 1.0  # a stand-in that never errs
    assert found.by_judges.mean > 0.7
    text = " ".join(printed(tmp_path / "run").split())
    assert "with probability 0.90" in text.lower()
    assert "at most 20 %" in text


def test_where_no_threshold_is_feasible_everything_goes_on_and_nothing_is_guaranteed(tmp_path):
    cascade = CascadeAgent("c", [fair(), Noisy(rate=0.0)], risk=0.1)
    records = play(tmp_path / "run", cascade)
    assert all(record["turns"][-1]["elicitation"] == "proxy" for record in compared(records))
    (calibration,) = kept_calibrations(tmp_path / "run").values()
    assert not calibration.holds
    text = printed(tmp_path / "run")
    assert "with probability" not in text.lower()
    assert "guarantee" in text.lower()


def test_where_nobody_is_sure_enough_and_there_is_no_person_the_cascade_abstains(tmp_path):
    records = play(tmp_path / "run", CascadeAgent("c", [fair("f"), fair("g")], risk=0.1))
    for record in compared(records):
        assert record["status"] == "unscored"
        assert record["reason"].startswith("abstained: f gave 0.50")
    (found,) = escalations(records)
    assert (found.abstained, found.answered, found.coverage) == (80, 0, 0.0)


def test_too_few_questions_give_no_guarantee(tmp_path):
    play(tmp_path / "run", CascadeAgent("c", [guesser("g", 7, at_least=0.99), Noisy(rate=0.0)]), count=40)
    (calibration,) = kept_calibrations(tmp_path / "run").values()
    assert not calibration.holds
    assert calibration.judges[0].threshold is None


@pytest.mark.parametrize("stand_in", [False, True])
def test_a_budget_goes_to_what_the_judges_are_least_sure_of(tmp_path, stand_in):
    front = people.Ruled(people.sure_of("0"))
    person = Noisy(rate=0.0) if stand_in else Human()
    cascade = CascadeAgent("c", [guesser("g", 7), person], risk=0.1)
    without = play(tmp_path / "without", CascadeAgent("c", [guesser("g", 7), Noisy(rate=0.0)], risk=0.1))
    escalated = [record for record in compared(without) if len(consulted(record)) == 2]
    assert len(escalated) > 12
    sure = sorted((max(consulted(record)[0]["probabilities"]), record["question"]) for record in escalated)
    records = compared(play(tmp_path / "run", cascade, front=front, budget=5))
    asked = [record for record in records if len(consulted(record)) == 2]
    assert len(asked) == 5
    assert len(front.asked) == (0 if stand_in else 5)
    limit = sure[4][0]
    assert all(max(consulted(record)[0]["probabilities"]) <= limit for record in asked)
    beyond = [record for record in records if record["status"] == "unscored"]
    assert len(beyond) == len(escalated) - 5
    assert all(record["reason"].endswith("beyond the human budget") for record in beyond)
    (found,) = escalations(read_episodes(tmp_path / "run"))
    assert (found.beyond_budget, len(found.handed_on)) == (len(beyond), 5)
    assert set(found.handed_on) == {record["id"] for record in asked}

    # The same command does nothing more; a larger budget goes on from there.
    play(tmp_path / "run", cascade, front=front, budget=5)
    assert len(front.asked) == (0 if stand_in else 5)
    more = compared(play(tmp_path / "run", cascade, front=front, budget=8, retry_failed=True))
    assert sum(len(consulted(record)) == 2 for record in more) == 8
    assert len(front.asked) == (0 if stand_in else 8)
    kept = {record["id"]: record["probabilities"] for record in more if record["id"] in found.handed_on}
    assert kept == {record["id"]: record["probabilities"] for record in asked}


def test_a_budget_holds_in_every_session_until_another_is_given(tmp_path):
    """Also where the person is asked in a session that names none: the interrupts of a node are always the same."""
    front = people.Ruled(people.sure_of("0"), most=2)
    cascade = CascadeAgent("c", [guesser("g", 7), Human()], risk=0.1)
    play(tmp_path / "run", cascade, front=front, budget=4)
    again = people.Ruled(people.sure_of("0"))
    records = compared(play(tmp_path / "run", cascade, front=again))
    assert len(front.asked) + len(again.asked) == 4
    assert sum(len(consulted(record)) == 2 for record in records) == 4
    # And what is handed on before there is a budget is counted in one that is given later.
    first = people.Ruled(people.sure_of("0"), most=2)
    play(tmp_path / "later", cascade, front=first)
    second = people.Ruled(people.sure_of("0"))
    play(tmp_path / "later", cascade, front=second, budget=5)
    handed_on = len(first.asked) + len(second.asked)
    assert handed_on == 5  # two that were asked and three that were prepared


def test_what_calibrates_is_kept_and_is_no_result(tmp_path):
    cascade = CascadeAgent("c", [guesser("g", 7), Noisy(rate=0.0)], risk=0.2)
    records = play(tmp_path / "run", cascade)
    assert {record["purpose"] for record in records} == {"calibration", "comparison"}
    result = oversight.RunResult(tmp_path / "run")
    assert [one["id"] for one in result.episodes()] == [one["id"] for one in records if one["purpose"] == "comparison"]
    assert result.capability is None


def test_a_calibration_stays_what_it_was_once_verdicts_rest_on_it(tmp_path):
    cascade = CascadeAgent("c", [guesser("g", 7), Noisy(rate=0.0)], risk=0.2)
    play(tmp_path / "run", cascade)
    path = tmp_path / "run" / "calibration.json"
    before = path.read_text()
    lines = (tmp_path / "run" / "episodes.jsonl").read_text().splitlines(keepends=True)
    # Half of the calibration is lost, and one verdict is owed again.
    kept = [line for number, line in enumerate(lines) if number % 2 or '"calibration"' not in line][:-1]
    (tmp_path / "run" / "episodes.jsonl").write_text("".join(kept))
    play(tmp_path / "run", cascade)
    assert json.loads(path.read_text()) == json.loads(before)


def test_questions_of_a_calibration_file_are_not_asked(tmp_path):
    file = tmp_path / "items.csv"
    file.write_text("judge,question,confidence,right\n" + "".join(f"g,sum-{n},0.9,1\n" for n in range(40)))
    cascade = CascadeAgent("c", [guesser("g", 7), Noisy(rate=0.0)], calibration=str(file))
    with pytest.raises(ConfigurationError, match="which this run asks"):
        play(tmp_path / "run", cascade)


def test_what_a_cascade_decides_is_not_counted_for_several_people():
    from oversight.runs.plan import PeopleOptions

    cast = {"debater": tiny.Thinker(), "judge": CascadeAgent("c", [guesser("g", 7), Human()])}
    with pytest.raises(ConfigurationError, match="--judges-per-item 2"):
        plan_run("debate", Pages(count=80), cast, people=PeopleOptions(judges=2))


def test_without_a_budget_a_person_is_given_all_that_judges_leave(tmp_path):
    front = people.Ruled(people.sure_of("0"))
    records = play(tmp_path / "run", CascadeAgent("c", [guesser("g", 7), Human()], risk=0.2), front=front)
    handed_on = [record for record in compared(records) if len(consulted(record)) == 2]
    assert len(front.asked) == len(handed_on) > 0
    assert all(record["turns"][-1]["agent"] == "human" for record in handed_on)
    assert all(record["status"] == "scored" for record in compared(records))
    # A person is shown what any judge is shown, and nothing of what the judges gave.
    assert all("consulted" not in json.dumps(vars(asked.request.view), default=str) for asked in front.asked)


def test_thresholds_are_of_one_protocol_and_cast(tmp_path):
    surer = ScriptedAgent(
        "mixed",
        choices=lambda view: {"A": 0.5, "B": 0.5} if view.turns else guesser("x", 7, at_least=0.9).choices(view),
    )
    cascade = CascadeAgent("c", [surer, Noisy(rate=0.0)], risk=0.3)
    oversight.tournament(
        Pages(count=160),
        protocols=["direct", "debate(rounds=1)"],
        debaters=[tiny.Thinker()],
        judges=[cascade],
        log_dir=tmp_path / "run",
    )
    found = {cell.partition(",")[0]: one for cell, one in kept_calibrations(tmp_path / "run").items()}
    assert found["direct"].holds
    assert not found["debate(rounds=1)"].holds


def test_a_calibration_file_takes_the_place_of_held_out_questions(tmp_path):
    rows = [f"g,q{number},{0.6 + 0.4 * (number % 10) / 10:.2f},{int(number % 50 != 0)}" for number in range(200)]
    file = tmp_path / "items.csv"
    file.write_text("judge,question,confidence,right\n" + "\n".join(rows) + "\n")
    cascade = CascadeAgent("c", [guesser("g", 7), Noisy(rate=0.0)], risk=0.1, calibration=str(file))
    records = play(tmp_path / "run", cascade)
    assert {record["purpose"] for record in records} == {"comparison"}
    assert len(records) == 160
    (calibration,) = kept_calibrations(tmp_path / "run").values()
    assert calibration.holds
    assert "items.csv" in calibration.source


def test_thresholds_that_were_set_are_taken_as_they_are(tmp_path):
    cascade = CascadeAgent("c", [guesser("g", 7), Noisy(rate=0.0)]).with_thresholds([0.8])
    records = play(tmp_path / "run", cascade)
    assert {record["purpose"] for record in records} == {"comparison"}
    assert {consulted(record)[0]["threshold"] for record in records} == {0.8}


def test_resumed_a_cascade_is_calibrated_and_asked_nothing_again(tmp_path, monkeypatch):
    calls = tmp_path / "calls"
    monkeypatch.setenv("OVERSIGHT_TEST_CALLS", str(calls))
    make = lambda: CascadeAgent("c", [guesser("g", 7), Noisy(rate=0.1)], risk=0.2)  # noqa: E731
    first = play(tmp_path / "run", make())
    before = calls.read_text()
    assert play(tmp_path / "run", make()) == first
    assert calls.read_text() == before


@pytest.mark.parametrize("protocol", ["debate(stop=sure)", "debate(prior=true)"])
def test_a_cascade_gives_the_one_verdict_that_its_guarantee_is_about(protocol):
    cast = {"debater": tiny.Thinker(), "judge": CascadeAgent("c", [guesser("g", 7), Noisy(rate=0.0)])}
    with pytest.raises(ConfigurationError, match="guarantee"):
        plan_run(protocol, Pages(count=80), cast)


def test_one_source_cannot_be_split():
    with pytest.raises(ConfigurationError, match="too few to hold some out"):
        plan_run(
            "debate", Pages(count=1), {"debater": tiny.Thinker(), "judge": CascadeAgent("c", [fair(), Noisy(rate=0.0)])}
        )


def test_a_stand_in_errs_as_often_as_it_is_told(tmp_path):
    oversight.run(
        "debate(rounds=1)", Pages(count=400), debater=tiny.Thinker(), judge="proxy/noisy(0.2)", log_dir=tmp_path / "run"
    )
    credits = [record["credit"] for record in read_episodes(tmp_path / "run")]
    assert len(credits) == 800
    # Both seatings of a question share the chance, so the count is of 400 draws: five standard errors.
    assert abs(sum(credits) / 800 - 0.8) < 5 * math.sqrt(0.2 * 0.8 / 400)
    stored = (tmp_path / "run" / "journal.sqlite").read_bytes()
    assert b"answer key" not in stored
