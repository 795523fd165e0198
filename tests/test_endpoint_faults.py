"""Runs against an endpoint that fails: what passes is asked for again, what lasts is unscored and owed again."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections import Counter
from email.utils import formatdate
from pathlib import Path

import pytest

import oversight
from oversight.errors import BudgetExceeded, ConfigurationError
from oversight.models import openai_compatible
from oversight.models.openai_compatible import ModelOptions
from oversight.questions import Arena, Question
from oversight.report.terminal import print_spending
from oversight.runs.directory import read_episodes
from oversight.transcript import Usage

HERE = Path(__file__).parent


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


endpoints, tiny = _load("endpoint"), _load("tiny")

ANSWER = {"text": "Answer: A\nConfidence: 80%", "usage": (100, 50)}
PRICE = (1000.0, 1000.0)  # dollars per million: a reply of 150 tokens costs 0.15
COST = 0.15


class Many(Arena):
    """So many questions that differ in their number."""

    name = "many"

    def questions(self, limit, seed):
        return [Question(f"q{n}", f"Is {n} the one?", ("yes", "no"), n % 2, f"s{n}") for n in range(limit or 8)]


@pytest.fixture(scope="module")
def endpoint():
    with endpoints.running() as running:
        yield running


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch):
    monkeypatch.setattr(openai_compatible, "_FIRST_DELAY", 0.001)


def judge(endpoint, folder, limit=2, *, retry_failed=False, connections=None, cost_limit=None, **options):
    """Verdicts of one call each, by a judge at the endpoint."""
    given = {"vllm/m": ModelOptions(base_url=endpoint.base_url, **{"max_retries": 2, **options})}
    return oversight.run(
        "direct",
        Many(),
        judge="vllm/m(orders=one)",
        limit=limit,
        swap=False,
        options={"vllm/m(orders=one)": given["vllm/m"]},
        log_dir=folder,
        retry_failed=retry_failed,
        connections=connections,
        cost_limit=cost_limit,
    )


DATE = formatdate(time.time() - 5, usegmt=True)  # over, so that nothing waits for it
FAULTS = {
    "429": ({"status": 429, "json": {"error": {"message": "slow"}}}, "too many calls or no quota left (429)", "429"),
    "429 for a time": (
        {"status": 429, "json": {}, "headers": {"Retry-After": "0.01"}},
        "too many calls or no quota left (429)",
        "429",
    ),
    "429 until a date": (
        {"status": 429, "json": {}, "headers": {"Retry-After": DATE}},
        "too many calls or no quota left (429)",
        "429",
    ),
    "500": ({"status": 500, "raw": "oops"}, "the endpoint failed (500)", "500"),
    "error inside": ({"json": {"error": {"message": "overloaded", "code": 503}}}, "overloaded", "error in reply"),
    "cut": ({**ANSWER, "cut": 60}, "the connection broke", "connection broke"),
    "reset": ({**ANSWER, "reset": 60}, "the connection broke", "connection broke"),
    "hung up": ({"hang_up": True}, "the connection broke", "connection broke"),
    "no body": ({"raw": "", "type": "application/json"}, "the reply is not JSON", "unusable reply"),
    "no JSON": ({"raw": "<html>"}, "the reply is not JSON", "unusable reply"),
    "nothing said": ({"text": "", "usage": None}, "the reply is empty", "empty reply"),
    "hung": ({"hang": True}, "no reply within 0.5 s", "no reply"),
    "drip": ({**ANSWER, "drip": 0.05}, "no whole reply within 1 s", "no reply"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_passes_costs_a_try(endpoint, tmp_path, name):
    """The episodes are scored, and the records and the run's account say how often it was tried."""
    fault, _, reason = FAULTS[name]
    endpoint.answer(fault, fault, then=ANSWER)
    result = judge(endpoint, tmp_path / "run", timeout=0.5, call_timeout=1.0)
    records = list(result.episodes())
    assert [record["status"] for record in records] == ["scored"] * 2
    assert sum(record["turns"][0]["usage"].get("retries", 0) for record in records) == 2
    assert sum(record["usage"]["calls"] for record in records) == 2
    ((line,),) = result.spending()
    assert (line.role, line.model, line.calls, line.failed) == ("judge", "vllm/m", 2, 0)
    assert line.repeated == {reason: 2}
    assert len(endpoint.requests()) == 4


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_lasts_is_unscored_and_owed_again(endpoint, tmp_path, name):
    """One line says why; the same command asks nothing more, and with --retry-failed only for what failed."""
    fault, words, _ = FAULTS[name]
    options = {"timeout": 0.5, "call_timeout": 1.0, "max_retries": 1}
    well = {"by_words": [["Is 0 the one?", ANSWER]], **fault}
    endpoint.answer(then=well)
    if fault.keys() & {"hang", "hang_up", "cut", "reset", "drip"}:  # of the connection, whatever is asked
        endpoint.answer(ANSWER, then=fault)
    result = judge(endpoint, tmp_path / "run", limit=3, connections=1, **options)
    status = Counter(record["status"] for record in result.episodes())
    assert status == {"scored": 1, "unscored": 2}
    for record in result.episodes():
        if record["status"] == "unscored":
            assert words in record["reason"]
            assert "after 1 retry" in record["reason"]
            assert "\n" not in record["reason"]
    assert len(endpoint.requests()) == 1 + 2 * 2
    endpoint.answer(then=ANSWER)
    judge(endpoint, tmp_path / "run", limit=3, **options)
    assert endpoint.requests() == []
    judge(endpoint, tmp_path / "run", limit=3, retry_failed=True, **options)
    assert len(endpoint.requests()) == 2
    assert {record["status"] for record in result.episodes()} == {"scored"}
    first, second = result.spending()
    assert [sum(getattr(line, name) for line in first) for name in ("calls", "failed", "retries")] == [1, 2, 2]
    assert [sum(getattr(line, name) for line in second) for name in ("calls", "failed", "retries")] == [2, 0, 0]


@pytest.mark.parametrize("asked", ["7200", "inf"])
def test_an_endpoint_that_asks_for_hours_is_not_waited_for(endpoint, tmp_path, asked):
    """The reason says so, and one try is all that is made."""
    endpoint.answer(then={"status": 429, "json": {}, "headers": {"Retry-After": asked}})
    (record,) = judge(endpoint, tmp_path / "run", limit=1).episodes()
    said = "7200 s" if asked == "7200" else "without end"
    assert f"the endpoint asks to wait {said}, more than the 120 s waited at most" in record["reason"]
    assert len(endpoint.requests()) == 1


@pytest.mark.parametrize(
    ("error", "headers"),
    [({"message": "You exceeded your quota", "code": "insufficient_quota"}, {}), ({}, {"x-should-retry": "false"})],
)
def test_what_the_endpoint_says_will_not_pass_is_not_repeated(endpoint, tmp_path, error, headers):
    """A quota that is used up is no crowd."""
    endpoint.answer(then={"status": 429, "json": {"error": error}, "headers": headers})
    (record,) = judge(endpoint, tmp_path / "run", limit=1).episodes()
    assert "no quota left (429)" in record["reason"]
    assert len(endpoint.requests()) == 1


def test_an_endpoint_of_limited_capacity_is_kept_full(endpoint, tmp_path):
    """It refuses what is beyond it: every episode is scored all the same, and about its capacity is in flight."""
    full = {"status": 429, "json": {}, "headers": {"retry-after-ms": "20"}}
    endpoint.answer(then={**ANSWER, "delay": 0.05}, capacity=20, full=full)
    result = judge(endpoint, tmp_path / "run", limit=400, max_retries=4)
    assert Counter(record["status"] for record in result.episodes()) == {"scored": 400}
    assert 16 <= endpoint.most_in_flight() <= 45  # doubled until the first refusal
    ((line,),) = result.spending()
    assert line.calls == 400
    assert 0 < line.retries == line.repeated["429"] < 0.25 * 400
    assert len(endpoint.requests()) == 400 + line.retries


# What is played by chance: each waits for nothing, and all but the first two are what is tried one by one above.
MIXED = [
    ({"status": 429, "json": {}, "headers": {"retry-after-ms": "1"}}, "429"),
    ({"status": 503, "json": {}}, "503"),
    *((FAULTS[name][0], FAULTS[name][2]) for name in ("429", "500", "no JSON", "hung up", "hung")),
    ({"json": {"error": {"message": "busy", "code": 429}}}, "error in reply"),
    ({"json": {"choices": [{"message": {"content": ""}}]}}, "empty reply"),
    ({"raw": '{"object": "chat.completion", "choices": [{"ind', "type": "application/json"}, "unusable reply"),
    ({"decided": True, "cut": 80}, "connection broke"),
    ({"decided": True, "reset": 80}, "connection broke"),
    ({"decided": True, "drip": 0.4}, "no reply"),
]


def test_a_thousand_episodes_through_faults(endpoint, tmp_path):
    """Nearly a third of all tries fail in every way there is: nothing is lost, changed or served twice."""
    reply = {"decided": True, "usage": (100, 50)}
    endpoint.answer(then=reply)
    smooth = {r["id"]: r for r in judge(endpoint, tmp_path / "smooth", limit=1000, connections=32).episodes()}
    assert len(smooth) == 1000
    endpoint.answer(then=reply, faults=[fault for fault, _ in MIXED], share=0.3)
    options = {"limit": 1000, "connections": 32, "max_retries": 2, "timeout": 2.0, "call_timeout": 3.0}
    result = judge(endpoint, tmp_path / "rough", **options)
    rough = list(result.episodes())
    assert len(rough) == len({record["id"] for record in rough}) == 1000
    assert Counter(record["status"] for record in rough).keys() == {"scored", "unscored"}
    failed = {record["id"] for record in rough if record["status"] != "scored"}
    assert 5 <= len(failed) <= 70  # 0.3 ** 3 of them
    requests = endpoint.requests()
    served = Counter(request["body"]["messages"][-1]["content"] for request in requests if request["served"])
    assert set(served.values()) == {1}
    assert len(served) == 1000 - len(failed)
    for record in rough:
        if record["id"] in failed:
            assert "after 2 retries" in record["reason"]
        else:
            assert record["probabilities"] == smooth[record["id"]]["probabilities"]
    # The account: every request the endpoint has seen is a call that was answered, one that failed for good, or a try
    # that was made again, and every fault it has played is the reason of one of these.
    ((line,),) = result.spending()
    assert (line.calls, line.failed) == (1000 - len(failed), len(failed))
    assert len(requests) == line.calls + line.failed + line.retries
    repeated = [one["turns"][0]["usage"].get("retries", 0) for one in rough if one["id"] not in failed]
    assert sum(repeated) + 2 * len(failed) == line.retries
    played = Counter(request["fault"] for request in requests if request["fault"] is not None)
    assert played.keys() == set(range(len(MIXED)))
    by_reason = Counter()
    for place, count in played.items():
        by_reason[MIXED[place][1]] += count
    last = by_reason - Counter(line.repeated)
    assert last.total() == len(failed)
    assert by_reason == Counter(line.repeated) + last
    endpoint.answer(then=reply)
    judge(endpoint, tmp_path / "rough", **options)
    assert endpoint.requests() == []
    again = judge(endpoint, tmp_path / "rough", retry_failed=True, **options)
    assert len(endpoint.requests()) == len(failed)
    found = {record["id"]: record["probabilities"] for record in again.episodes()}
    assert found == {name: record["probabilities"] for name, record in smooth.items()}


# ---- money ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("connections", [1, 24])
def test_the_cost_limit_holds_through_retries(endpoint, tmp_path, connections):
    """Each try is promised before it is made: what is billed, replies of no use included, stays below the limit."""
    paid_for_nothing = {"text": "", "usage": (100, 50)}
    faults = [paid_for_nothing, paid_for_nothing, {"status": 429, "json": {}, "headers": {"retry-after-ms": "1"}}]
    endpoint.answer(then={**ANSWER, "delay": 0.01}, faults=faults, share=0.5)
    settings = {"limit": 120, "connections": connections, "price": PRICE, "max_retries": 8}
    for limit in (6.0, 6.0, 9.0):
        with pytest.raises(BudgetExceeded):
            judge(endpoint, tmp_path / "run", cost_limit=limit, **settings)
        billed = sum(request["served"] for request in endpoint.requests()) * COST
        assert limit / 2 < billed <= limit  # what is in flight is waited for before the run stops
    result = judge(endpoint, tmp_path / "run", **settings)
    assert {record["status"] for record in result.episodes()} == {"scored"}
    spent = sum(line.dollars for start in result.spending() for line in start)
    billed = sum(request["served"] for request in endpoint.requests()) * COST
    assert spent == pytest.approx(billed)


def test_a_try_whose_reply_was_lost_counts_against_the_limit(endpoint, tmp_path):
    """It may be billed: what it could cost stays promised, so the run stops before the limit could be crossed."""
    endpoint.answer(then={**ANSWER, "cut": 60})
    with pytest.raises(BudgetExceeded, match="tries whose reply was lost"):
        judge(endpoint, tmp_path / "run", limit=50, price=PRICE, cost_limit=20.0, connections=1, max_retries=1)
    assert 1 <= len(endpoint.requests()) <= 20 / (1.024 + 0.1)  # the least that one try could cost


# ---- time -----------------------------------------------------------------------------------------


def timed(folder, **changes):
    """Two debates of one round."""
    settings = {"debater": "vllm/d", "judge": "vllm/j", "limit": 2, "swap": False, **changes}
    return oversight.run("debate(rounds=1)", Many(), log_dir=folder, **settings)


def test_an_episode_that_takes_too_long_is_unscored_and_goes_on_later(endpoint, tmp_path):
    """What was said is kept in its record and in the journal; --retry-failed pays for the missing calls alone."""
    slow = {**ANSWER, "delay": 30}
    endpoint.answer(*[ANSWER] * 4, then=slow)
    began = time.monotonic()
    reached = ModelOptions(base_url=endpoint.base_url, timeout=4.0, max_retries=0)
    options = {"vllm/d": reached, "vllm/j": reached}
    result = timed(tmp_path / "run", episode_timeout=2.0, options=options)
    assert time.monotonic() - began < 25  # the calls under way are waited for, as they may be paid
    for record in result.episodes():
        assert record["status"] == "unscored"
        assert record["reason"] == "not finished within 2 s: raise --episode-timeout, or leave it out"
        assert [turn["kind"] for turn in record["turns"]] == ["speech", "speech"]
    endpoint.answer(then=ANSWER)
    timed(tmp_path / "run", options=options)
    assert endpoint.requests() == []
    again = timed(tmp_path / "run", retry_failed=True, options=options)
    assert {record["status"] for record in again.episodes()} == {"scored"}
    assert Counter(body["model"] for body in endpoint.bodies()) == {"j": 4}  # both orders of both episodes


def test_a_call_that_others_wait_for_outlives_the_episode(endpoint, tmp_path):
    """Four judges wait for the same speeches; all their episodes end, and yet every speech is asked for once."""
    endpoint.answer(then={**ANSWER, "delay": 3.0})
    judges = [f"vllm/j{number}" for number in range(4)]
    options = {name: ModelOptions(base_url=endpoint.base_url) for name in ("vllm/d", *judges)}
    settings = {
        "debaters": ["vllm/d"],
        "judges": judges,
        "protocols": ["propaganda"],
        "limit": 1,
        "swap": False,
        "options": options,
        "log_dir": tmp_path / "run",
    }
    result = oversight.tournament(Many(), episode_timeout=1.0, **settings)
    assert {record["status"] for record in result.episodes()} == {"unscored"}
    assert [body["model"] for body in endpoint.bodies()].count("d") >= 1
    endpoint.answer(then=ANSWER)
    again = oversight.tournament(Many(), retry_failed=True, **settings)
    assert {record["status"] for record in again.episodes()} == {"scored"}
    assert all("Speak now" not in body["messages"][-1]["content"] for body in endpoint.bodies())


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_an_episode_timeout_that_is_none(tmp_path, seconds):
    """Refused before anything is made."""
    with pytest.raises(ConfigurationError, match="--episode-timeout"):
        oversight.run("direct", Many(), judge="scripted/first", episode_timeout=seconds, log_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# ---- the account ----------------------------------------------------------------------------------


def test_the_account_by_role_and_model(endpoint, tmp_path, capsys):
    """Roles that one model plays are counted apart; a second start adds its own; the table fits 80 columns."""
    from rich.console import Console

    endpoint.answer({"status": 500, "json": {}}, then=ANSWER)
    options = {"vllm/both": ModelOptions(base_url=endpoint.base_url, price=PRICE)}
    settings = {"debater": "vllm/both", "judge": "vllm/both", "limit": 3, "swap": False, "options": options}
    result = oversight.run("debate(rounds=2)", Many(), log_dir=tmp_path / "run", **settings)
    (first,) = result.spending()
    counted = {line.role: (line.calls, line.input_tokens, line.output_tokens) for line in first}
    assert counted == {"debater": (12, 1200, 600), "judge": (6, 600, 300)}
    assert {line.role: line.dollars for line in first} == pytest.approx({"debater": 12 * COST, "judge": 6 * COST})
    assert sum(line.retries for line in first) == 1
    oversight.run("debate(rounds=2)", Many(), log_dir=tmp_path / "run", **settings)
    assert len(result.spending()) == 1  # nothing was asked
    oversight.run("debate(rounds=2)", Many(), log_dir=tmp_path / "run", **{**settings, "limit": 3}, retry_failed=True)
    out = Console(width=80, file=None, highlight=False)
    with out.capture() as captured:
        print_spending(result, out)
    printed = captured.get()
    assert all(len(line) <= 80 for line in printed.splitlines())
    assert "18 calls, 1 try repeated: 1 × 500" in printed
    assert "in all" in printed


def test_runs_of_earlier_versions_have_no_account(tmp_path):
    """Records without retries load, and a journal without the table has nothing to say."""
    assert Usage(**{"calls": 1, "input_tokens": 2, "output_tokens": 3, "dollars": 0.5}).retries == 0
    result = oversight.run("direct", Many(), judge="scripted/first", log_dir=tmp_path / "run")
    assert result.spending() == []
    import sqlite3

    with sqlite3.connect(tmp_path / "run" / "journal.sqlite") as journal:
        journal.execute("DROP TABLE starts")
    journal.close()
    assert result.spending() == []
    assert {record["usage"].get("retries", 0) for record in read_episodes(tmp_path / "run")} == {0}


def test_the_command_prints_the_account_and_takes_the_options(endpoint, tmp_path):
    """From the command line: retries, time-outs and the table at the end."""
    endpoint.answer({"status": 503, "json": {}, "headers": {"retry-after-ms": "1"}}, then=ANSWER)
    words = [sys.executable, "-m", "oversight.cli", "run", "direct", "--arena", f"{HERE / 'tiny.py'}:Sums"]
    words += ["--judge", "vllm/m", "--base-url", endpoint.base_url, "--limit", "2", "--log-dir", str(tmp_path / "run")]
    words += ["--max-retries", "3", "--timeout", "20", "--call-timeout", "30", "--episode-timeout", "60"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    assert "8 calls, 1 try repeated: 1 × 503" in done.stdout
    assert "cacheable" in done.stdout
    configuration = json.loads((tmp_path / "run" / "run.json").read_text())["configuration"]
    assert "timeout" not in json.dumps(configuration)  # no part of what the run is
