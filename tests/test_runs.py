"""Runs: resumed equals uninterrupted, nothing is paid twice, and the plan says what will be paid."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import oversight
from oversight.agents import ScriptedAgent
from oversight.errors import BudgetExceeded, ConfigurationError, RunDirectoryError
from oversight.models.openai_compatible import ModelOptions
from oversight.runs import plan_run, plan_tournament
from oversight.runs.directory import read_episodes

HERE = Path(__file__).parent
TINY = HERE / "tiny.py"
REPLY = {"text": "Answer: A\nConfidence: 80%", "usage": (100, 50)}


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


endpoints, tiny = _load("endpoint"), _load("tiny")


@pytest.fixture(scope="module")
def endpoint():
    with endpoints.running() as running:
        yield running


def play(folder, protocol="debate(rounds=2)", **changes):
    """A small debate in a folder."""
    settings = {"limit": 6, "log_dir": folder, "debater": tiny.Thinker(), "judge": tiny.Second(), **changes}
    return oversight.run(protocol, tiny.Sums(), **settings)


def timeless(record):
    """A record without what the clock says."""
    return {name: value for name, value in record.items() if name not in ("seconds", "finished")}


def records(folder):
    """Finished episodes by id, without what the clock says."""
    return {record["id"]: timeless(record) for record in read_episodes(folder)}


def options(endpoint, *names, **changes):
    """How the named models reach the endpoint."""
    return {name: ModelOptions(base_url=endpoint.base_url, max_retries=0, **changes) for name in names}


def calls_planned(plan):
    """Calls of the plan that are paid, by its own account."""
    return sum(cost.calls for cost in plan.costs())


# ---- the same run, whatever happens to it -------------------------------------------------------


class Interrupted(Exception):
    """Stands for a bug, a kill or a full disk."""


class Fragile(tiny.Thinker):
    """Stops the run at its n-th turn."""

    def __init__(self, turns):
        super().__init__()
        self.left = turns

    async def think(self, what):
        await super().think(what)
        self.left -= 1
        if self.left < 0:
            raise Interrupted


def test_resumed_equals_uninterrupted(tmp_path):
    """Interrupted at any turn, even repeatedly, and resumed, a run has the uninterrupted run's records."""
    play(tmp_path / "whole")
    interruptions = 0
    for turns in (0, 3, 11, 3):
        try:
            play(tmp_path / "resumed", debater=Fragile(turns), connections=3)
        except Interrupted:
            interruptions += 1
    play(tmp_path / "resumed")
    assert interruptions >= 3
    assert records(tmp_path / "resumed") == records(tmp_path / "whole")


def test_resuming_pays_only_for_what_is_missing(tmp_path, monkeypatch):
    """The turns of a half-finished episode are replayed from the journal: in all, each is made once."""
    monkeypatch.setenv("OVERSIGHT_TEST_CALLS", str(tmp_path / "whole calls"))
    play(tmp_path / "whole")
    monkeypatch.setenv("OVERSIGHT_TEST_CALLS", str(tmp_path / "calls"))
    with pytest.raises(Interrupted):
        play(tmp_path / "run", debater=Fragile(9), connections=4)
    assert 0 < len(records(tmp_path / "run")) < 12 or (tmp_path / "calls").exists()
    play(tmp_path / "run")
    made = Counter((tmp_path / "calls").read_text().splitlines())
    whole = Counter((tmp_path / "whole calls").read_text().splitlines())
    # The turns at which the run was stopped had no result to keep: these alone are made again.
    assert made["second chooses"] == whole["second chooses"]
    assert whole["thinker speaks"] <= made["thinker speaks"] <= whole["thinker speaks"] + 2 * 4


def command(folder, *words):
    return [
        sys.executable,
        "-m",
        "oversight.cli",
        "run",
        "debate(rounds=2)",
        "--arena",
        f"{TINY}:Sums",
        "--debater",
        f"{TINY}:Thinker",
        "--judge",
        f"{TINY}:Second",
        "--log-dir",
        str(folder),
        *words,
    ]


def test_a_killed_run_is_resumed_by_the_same_command(tmp_path):
    """Killed with -9 between its turns, the run loses only what was not finished then."""
    folder, calls, whole = tmp_path / "killed", tmp_path / "calls", tmp_path / "whole"
    connections = 2
    process = subprocess.Popen(
        command(folder, "--max-connections", str(connections)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OVERSIGHT_TEST_DELAY": "0.03", "OVERSIGHT_TEST_CALLS": str(calls)},
    )
    try:
        _wait_for_lines(folder / "episodes.jsonl", 4)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    before = (folder / "episodes.jsonl").read_bytes()
    done = len(records(folder))
    assert 4 <= done < 16

    environment = {**os.environ, "OVERSIGHT_TEST_CALLS": str(calls)}
    subprocess.run(
        command(folder, "--max-connections", str(connections)),
        check=True,
        capture_output=True,
        env=environment,
        timeout=60,
    )
    assert (folder / "episodes.jsonl").read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    made = len(calls.read_text().splitlines())

    reference = oversight.run(
        "debate(rounds=2)", f"{TINY}:Sums", log_dir=whole, debater=f"{TINY}:Thinker", judge=f"{TINY}:Second"
    )
    assert records(folder) == records(whole)
    needed = sum(len(record["turns"]) for record in reference.episodes())
    assert needed <= made <= needed + 2 * connections  # what was in the air when it was killed


def _wait_for_lines(path, count):
    deadline = time.monotonic() + 40
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline, "the run did not get going"
        time.sleep(0.01)


def test_the_same_seed_gives_the_same_records(tmp_path):
    """Two runs differ in nothing but the clock."""
    play(tmp_path / "one", seed=5)
    play(tmp_path / "two", seed=5)
    assert records(tmp_path / "one") == records(tmp_path / "two")


def test_another_seed_gives_other_episodes(tmp_path):
    """Questions, orderings and draws follow from the seed."""
    play(tmp_path / "one", seed=5)
    play(tmp_path / "two", seed=6)
    one, two = records(tmp_path / "one"), records(tmp_path / "two")
    assert len(one) == len(two)
    assert not set(one) & set(two)
    drawn = [[record["probabilities"] for record in run.values()] for run in (one, two)]
    assert sorted(drawn[0]) != sorted(drawn[1])


def test_concurrency_changes_nothing(tmp_path):
    """One episode at a time and 64 at once come out the same."""
    play(tmp_path / "one", connections=1, epochs=2)
    play(tmp_path / "many", connections=64, epochs=2)
    assert records(tmp_path / "one") == records(tmp_path / "many")


def test_connections_limit_the_calls_in_flight(tmp_path, endpoint):
    """The endpoint never sees more calls at once than were allowed, over all roles and episodes."""
    endpoint.answer(then={**REPLY, "delay": 0.02})
    play(
        tmp_path / "run",
        debater="openai/a",
        judge="openai/b",
        connections=3,
        options=options(endpoint, "openai/a", "openai/b"),
    )
    assert endpoint.most_in_flight() == 3


def test_epochs_are_separate_samples(tmp_path):
    """Each epoch is an episode and a draw of its own; the first is the same as without the others."""
    play(tmp_path / "one")
    play(tmp_path / "three", epochs=3)
    one, three = records(tmp_path / "one"), records(tmp_path / "three")
    assert len(three) == 3 * len(one)
    assert set(one) <= set(three)
    assert Counter(record["sample"] for record in three.values()) == {0: 12, 1: 12, 2: 12}
    speeches = {record["turns"][0]["text"] for record in three.values()}
    by_question = {(record["question"], record["turns"][0]["answer"]) for record in three.values()}
    assert len(speeches) == 3 * len(by_question)


# ---- tournaments --------------------------------------------------------------------------------


def casts(result):
    """How often each protocol was played with each cast."""
    return Counter(
        (record["protocol"], *(tuple(names) for names in record["cast"].values())) for record in result.episodes()
    )


def test_every_debater_meets_every_judge(tmp_path):
    """Debaters × judges under each protocol; protocols without a debater are played once a judge."""
    result = oversight.tournament(
        tiny.Sums(),
        debaters=[tiny.Thinker(), tiny.Second()],
        judges=[tiny.Second(), tiny.Third()],
        protocols=["direct", "consultancy(rounds=1)", "debate(rounds=1)"],
        limit=2,
        log_dir=tmp_path / "run",
    )
    first, second, third = ("tiny/thinker",), ("tiny/second",), ("tiny/third",)
    assert casts(result) == {
        **{("direct", judge): 4 for judge in (second, third)},
        **{
            (protocol, debater, judge): 4
            for protocol in ("consultancy(rounds=1)", "debate(rounds=1)")
            for debater in (first, second)
            for judge in (second, third)
        },
    }


def test_all_pairs_adds_every_two_different_debaters(tmp_path):
    """--pairs all: each two debaters meet once, in both seats over the orderings."""
    result = oversight.tournament(
        tiny.Sums(),
        debaters=[tiny.Thinker(), tiny.Second(), tiny.Third()],
        judges=[tiny.Third()],
        protocols=["debate(rounds=1)", "consultancy(rounds=1)"],
        pairs="all",
        limit=2,
        log_dir=tmp_path / "run",
    )
    found = casts(result)
    debates = {key[1]: count for key, count in found.items() if key[0].startswith("debate")}
    names = ("tiny/thinker", "tiny/second", "tiny/third")
    same = [(name,) for name in names]
    pairs = [pair for pair in debates if len(set(pair)) == 2]
    assert len(pairs) == 3
    assert {frozenset(pair) for pair in pairs} == {frozenset((a, b)) for a in names for b in names if a < b}
    assert set(debates.values()) == {4}
    assert set(debates) >= {one if one in debates else one * 2 for one in same}
    assert sum(key[0].startswith("consultancy") for key in found) == 3  # nobody to pair with
    for record in result.episodes():
        if len(set(record["cast"].get("debater", ()))) == 2:
            speakers = {turn["answer"]: turn["agent"] for turn in record["turns"] if turn["kind"] == "speech"}
            defends = record["seating"]["defends"]
            assert [speakers[answer] for answer in defends] == record["cast"]["debater"]


def expected_calls(questions, debaters, judges, rounds, alone):
    """Speeches once for every judge, verdicts for each, and what measures the agents alone; two seatings each.

    A choice is two calls, one with the options in each order.
    """
    debates = 2 * questions * debaters
    return debates * 2 * rounds + 2 * debates * judges + 2 * 2 * questions * alone


def test_debates_are_made_once_and_put_before_every_judge(tmp_path, endpoint):
    """The endpoint serves exactly the calls that the plan counts, and speeches do not grow with the judges."""
    # No two speeches are alike: the same speeches of two debaters would be the same question to a judge.
    endpoint.answer(*({**REPLY, "text": f"Point {number}.\n{REPLY['text']}"} for number in range(200)))
    debaters, judges = ["openai/d1", "openai/d2"], ["openai/j1", "openai/j2", "openai/j3"]
    settings = {
        "debaters": debaters,
        "judges": judges,
        "protocols": ["debate(rounds=2)"],
        "limit": 2,
        "options": options(endpoint, *debaters, *judges),
    }
    plan = plan_tournament(tiny.Sums(), **settings)
    assert endpoint.requests() == []
    result = oversight.tournament(tiny.Sums(), **settings, log_dir=tmp_path / "run")
    served = endpoint.bodies()
    expected = expected_calls(questions=2, debaters=2, judges=3, rounds=2, alone=5)
    assert len(served) == calls_planned(plan) == expected
    by_model = Counter(body["model"] for body in served)
    assert by_model == {"d1": 16 + 8, "d2": 16 + 8, "j1": 16 + 8, "j2": 16 + 8, "j3": 16 + 8}
    assert len(list(result.episodes())) == 24


def test_capability_alone_is_measured_once_and_kept(tmp_path, endpoint):
    """Each agent answers each question with the hidden material; repeating the command asks nothing more."""
    endpoint.answer(then=REPLY)
    names = ["openai/weak", "openai/strong"]
    settings = {
        "agents": names,
        "protocols": ["debate(rounds=1)"],
        "limit": 3,
        "options": options(endpoint, *names),
        "log_dir": tmp_path / "run",
    }
    result = oversight.tournament(tiny.Sums(), **settings)
    kept = (tmp_path / "run" / "capability.json").read_bytes()
    capability = json.loads(kept)
    assert capability["unit"] == "log-odds"
    assert set(capability["agents"]) == set(names)
    assert all(one["answers"] == 6 for one in capability["agents"].values())
    assert all(cell.capability_gap is not None for cell in result.gap().cells)
    alone = [body for body in endpoint.bodies() if "debate" not in json.dumps(body["messages"]).casefold()]
    assert len(alone) == 2 * 6 * 2  # agents, questions in two seatings, options in two orders
    assert all("The old clock struck" in json.dumps(body["messages"]) for body in alone)
    served = len(endpoint.requests())
    oversight.tournament(tiny.Sums(), **settings)
    assert len(endpoint.requests()) == served
    assert (tmp_path / "run" / "capability.json").read_bytes() == kept


def test_capability_follows_when_failed_episodes_are_retried(tmp_path, endpoint):
    """A run against an endpoint that was down has no capability, and gets it when it is retried."""
    endpoint.answer(then={"status": 400, "json": {"error": {"message": "no"}}})
    settings = {
        "agents": ["openai/m"],
        "protocols": ["debate(rounds=1)"],
        "limit": 2,
        "options": options(endpoint, "openai/m"),
        "log_dir": tmp_path / "run",
    }
    before = oversight.tournament(tiny.Sums(), **settings).capability["agents"]["openai/m"]
    assert before["value"] is None
    assert before["reason"]
    endpoint.answer(then=REPLY)
    after = oversight.tournament(tiny.Sums(), **settings, retry_failed=True)
    assert after.capability["agents"]["openai/m"]["answers"] == 4
    assert after.gap().cells[0].n == 4


# ---- money --------------------------------------------------------------------------------------

PRICE = (1000.0, 1000.0)  # dollars per million: a reply of 150 tokens costs 0.15
COST = 0.15


@pytest.mark.parametrize("connections", [1, 16])
def test_the_cost_limit_is_not_crossed_and_nothing_is_paid_twice(tmp_path, endpoint, connections):
    """Calls in flight count; stopped and resumed with more money, the run pays what an unstopped one pays."""
    endpoint.answer(then={**REPLY, "delay": 0.01})
    names = ("openai/d", "openai/j")
    settings = {
        "debater": names[0],
        "judge": names[1],
        "options": options(endpoint, *names, price=PRICE),
        "connections": connections,
    }
    plan = plan_run(
        "debate(rounds=2)",
        tiny.Sums(),
        {"debater": names[0], "judge": names[1]},
        limit=6,
        options=settings["options"],
    )
    limit = 8.0
    with pytest.raises(BudgetExceeded) as caught:
        play(tmp_path / "run", **settings, cost_limit=limit)
    assert "\n" not in str(caught.value)
    assert "--cost-limit" in str(caught.value)
    first = len(endpoint.requests())
    assert 0 < first * COST <= limit
    assert first < calls_planned(plan)

    with pytest.raises(BudgetExceeded):  # the same limit again: what was spent is remembered
        play(tmp_path / "run", **settings, cost_limit=limit)
    assert len(endpoint.requests()) * COST <= limit

    play(tmp_path / "run", **settings, cost_limit=1000.0)
    assert len(endpoint.requests()) == calls_planned(plan) == 6 * 2 * (4 + 2)
    dollars = sum(record["usage"]["dollars"] for record in read_episodes(tmp_path / "run"))
    assert dollars == pytest.approx(72 * COST)


@pytest.mark.parametrize("failing", [0, 2])
@pytest.mark.parametrize("workers", [None, 2])
def test_what_is_begun_under_a_limit_is_finished(tmp_path, endpoint, workers, failing):
    """Whatever is in flight at once, the money goes into episodes that come to their end, but for one at most.

    Nothing is concluded from an episode that cost little because it failed at once.
    """
    refusal = {"status": 400, "json": {"error": {"message": "no"}}}
    endpoint.answer(*[refusal] * failing, then={**REPLY, "delay": 0.02})
    names = ("openai/d", "openai/j")
    settings = {
        "debater": names[0],
        "judge": names[1],
        "options": options(endpoint, *names, price=PRICE),
        "connections": 32,
        "workers": workers,
        "swap": False,
    }
    whole = 6 * COST  # two rounds of two debaters, and two calls for the verdict
    limit = 10.5 * whole
    with pytest.raises(BudgetExceeded):
        oversight.run("debate(rounds=2)", tiny.Sums(count=40), log_dir=tmp_path / "run", cost_limit=limit, **settings)
    scored = sum(record["status"] == "scored" for record in read_episodes(tmp_path / "run"))
    spent = (len(endpoint.requests()) - failing) * COST
    assert spent <= limit
    assert spent - scored * whole <= whole + 1e-9
    assert scored >= 6


def test_of_an_agent_that_asks_models_each_of_them_is_counted(tmp_path, endpoint, monkeypatch):
    """What a cascade may cost is what its members may cost, and their prices have to be known."""
    names = ("openai/j", "openai/k")
    cast = {"debater": tiny.Thinker(), "judge": "cascade(openai/j,openai/k)"}
    several = plan_run("debate(rounds=1)", tiny.Sums(), cast, limit=3, options=options(endpoint, *names, price=PRICE))
    counted = {cost.agent: cost for cost in several.costs() if cost.role == "judge"}
    for name in names:
        alone = plan_run(
            "debate(rounds=1)",
            tiny.Sums(),
            {**cast, "judge": name},
            limit=3,
            options=options(endpoint, name, price=PRICE),
        )
        (one,) = [cost for cost in alone.costs() if cost.role == "judge"]
        assert counted[name].dollars == pytest.approx(one.dollars)
        assert one.dollars > 0
    assert set(counted) == set(names)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    elsewhere = dict.fromkeys(names, ModelOptions(base_url="http://models.example/v1"))
    with pytest.raises(ConfigurationError, match="the price of openai/j is unknown"):
        oversight.run(
            "debate(rounds=1)", tiny.Sums(), **cast, options=elsewhere, cost_limit=9.0, log_dir=tmp_path / "run"
        )


def test_calls_in_flight_are_kept_when_the_limit_stops_the_run(tmp_path, endpoint):
    """A call that is paid when another one is refused finishes, and its reply is stored."""
    endpoint.answer(then={**REPLY, "delay": 0.4})
    settings = {
        "judge": "openai/j",
        "options": options(endpoint, "openai/j", price=PRICE),
        "limit": 4,
        "connections": 4,
    }
    with pytest.raises(BudgetExceeded):
        oversight.run("direct", tiny.Sums(), log_dir=tmp_path / "run", cost_limit=3.2, **settings)
    served = len(endpoint.requests())
    assert served >= 2
    oversight.run("direct", tiny.Sums(), log_dir=tmp_path / "run", **settings)
    assert len(endpoint.requests()) == 8 * 2  # each verdict once, in both orders


def test_an_interrupted_run_keeps_the_calls_in_flight(tmp_path, endpoint):
    """Calls are paid when they are sent: their replies are waited for, stored, and not asked for again."""
    endpoint.answer(then={**REPLY, "delay": 0.3})
    settings = {"judge": "openai/j", "options": options(endpoint, "openai/j"), "limit": 8, "connections": 4}

    async def stopped():
        from oversight.runs.execute import execute

        plan = plan_run("direct", tiny.Sums(), {"judge": "openai/j"}, limit=8, options=settings["options"])
        work = asyncio.ensure_future(execute(plan, tmp_path / "run", connections=4))
        while not endpoint.requests():
            await asyncio.sleep(0.02)
        work.cancel()
        await asyncio.wait([work])
        return work.cancelled()

    assert asyncio.run(stopped())
    served = len(endpoint.requests())
    assert 0 < served <= 4  # those that waited for a place were given up
    oversight.run("direct", tiny.Sums(), log_dir=tmp_path / "run", **settings)
    assert len(endpoint.requests()) == 16 * 2  # eight questions in two seatings, options in two orders


def test_a_limit_needs_a_known_price(tmp_path, endpoint, monkeypatch):
    """With --cost-limit an unknown price is an error that names --price, before anything is made or asked."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    endpoint.answer(then=REPLY)
    with pytest.raises(ConfigurationError, match=r"--price openai/nobody-knows=IN,OUT"):
        oversight.run(
            "direct",
            tiny.Sums(),
            judge="openai/nobody-knows",
            log_dir=tmp_path / "run",
            cost_limit=1.0,
            options={"openai/nobody-knows": ModelOptions(base_url="http://models.example/v1")},
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("limit", [float("nan"), float("inf"), -1.0])
def test_a_limit_that_cannot_hold_is_refused(tmp_path, limit):
    """NaN compares false with everything, so it would never stop a run."""
    with pytest.raises(ConfigurationError, match="--cost-limit"):
        play(tmp_path / "run", cost_limit=limit)
    assert not (tmp_path / "run").exists()


def test_free_agents_run_under_a_limit_of_nothing(tmp_path):
    """Agents that cost nothing are not stopped by a limit of 0."""
    assert len(list(play(tmp_path / "run", cost_limit=0.0).episodes())) == 12


# ---- plans and their account --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "roles"),
    [
        ("direct", ("judge",)),
        ("consultancy(rounds=2)", ("consultant", "judge")),
        ("consultancy(rounds=1,form=ensembled)", ("consultant", "judge")),
        ("consultancy(rounds=1,form=double)", ("consultant", "judge")),
        ("debate(rounds=2,style=sequential)", ("debater", "judge")),
        ("debate(rounds=1,positions=open)", ("debater", "judge")),
        ("propaganda", ("persuader", "judge")),
    ],
)
def test_the_plan_counts_the_calls_that_are_made(tmp_path, endpoint, protocol, roles):
    """For every protocol the planned number of calls is the number that the endpoint serves."""
    endpoint.answer(then=REPLY)
    cast = {role: f"openai/{role}" for role in roles}
    settings = {"limit": 2, "epochs": 2, "options": options(endpoint, *cast.values())}
    plan = plan_run(protocol, tiny.Sums(), cast, **settings)
    assert endpoint.requests() == []
    result = oversight.run(protocol, tiny.Sums(), **settings, **cast, log_dir=tmp_path / "run")
    assert len(endpoint.requests()) == calls_planned(plan)
    assert {record["status"] for record in result.episodes()} == {"scored"}
    used = Counter(body["model"] for body in endpoint.bodies())
    assert used == {cost.agent.removeprefix("openai/"): cost.calls for cost in plan.costs()}


@pytest.mark.parametrize("start", ["", "Answer: A\n"], ids=["unreadable", "without confidence"])
def test_worst_case_tokens_are_not_crossed(endpoint, tmp_path, start):
    """Longest replies everywhere, a token for each byte, verdicts asked for again or by votes: the bounds hold."""
    cast = {"debater": "ollama/a", "judge": "ollama/b"}
    options = {name: ModelOptions(base_url=endpoint.base_url) for name in cast.values()}
    plan = plan_run("debate(rounds=2)", tiny.Sums(), cast, limit=2, options=options)
    costs = {cost.role: cost for cost in plan.costs()}
    speeches, verdicts = 4 * 4, 4
    assert (costs["debater"].calls, costs["debater"].output_tokens) == (speeches, 2 * speeches * 1024)
    # Each order once, and five votes where no confidence is stated; each asked for once more.
    assert (costs["judge"].calls, costs["judge"].output_tokens) == (2 * verdicts, 2 * verdicts * (2 + 5) * 1024)
    assert {cost.dollars for cost in costs.values()} == {0.0}
    endpoint.answer(then={"text": f"{start}{'x' * (1024 - len(start))}"})
    oversight.run("debate(rounds=2)", tiny.Sums(), **cast, limit=2, options=options, log_dir=tmp_path / "run")
    asked = endpoint.bodies()
    for role, name in (("debater", "a"), ("judge", "b")):
        bodies = [body for body in asked if body["model"] == name]
        prompts = sum(len(m["content"].encode()) for body in bodies for m in body["messages"])
        assert 0 < prompts <= costs[role].input_tokens
        assert len(bodies) * 1024 <= costs[role].output_tokens
    judged = [body for body in asked if body["model"] == "b"]
    assert len(judged) == verdicts * (4 + 5 if start else 4)


# ---- from Python --------------------------------------------------------------------------------


def test_a_run_inside_a_running_loop(tmp_path):
    """In a notebook a loop is running already: the run gives its result all the same."""

    async def notebook():
        return play(tmp_path / "run")

    result = asyncio.run(notebook())
    assert len(list(result.episodes())) == 12
    play(tmp_path / "script")
    assert records(tmp_path / "run") == records(tmp_path / "script")


def test_errors_of_a_run_inside_a_running_loop_reach_the_caller(tmp_path):
    """The exception is the one that was raised, not a wrapper."""

    async def notebook():
        return play(tmp_path / "run", debater=Fragile(0))

    with pytest.raises(Interrupted):
        asyncio.run(notebook())


def test_classes_of_a_users_file_make_the_same_run_as_objects(tmp_path):
    """file.py:Name for the arena and the agents, from Python."""
    result = oversight.run(
        f"{TINY}:Talk(times=2)",
        f"{TINY}:Sums(count=3)",
        log_dir=tmp_path / "run",
        speaker=f"{TINY}:Thinker",
        judge=f"{TINY}:Third",
    )
    found = list(result.episodes())
    assert len(found) == 6
    assert {record["protocol"] for record in found} == {"talk(times=2)"}
    assert all([turn["kind"] for turn in record["turns"]] == ["speech", "speech", "verdict"] for record in found)


def test_one_name_cannot_be_two_agents(tmp_path):
    """Records name agents, so two different ones of a name are refused, in one role or in two."""
    yes, no = (ScriptedAgent("judge", choices={label: 1.0}) for label in "AB")
    message = "two different agents are called 'judge'"
    with pytest.raises(ConfigurationError, match=message):
        oversight.run("direct", tiny.Sums(), judge=[yes, no], log_dir=tmp_path / "run")
    talker = ScriptedAgent("judge", ["hello"])
    with pytest.raises(ConfigurationError, match=message):
        play(tmp_path / "run", "debate(rounds=1)", debater=talker, judge=yes)
    with pytest.raises(ConfigurationError, match=message):
        oversight.tournament(tiny.Sums(), debaters=[talker], judges=[yes], log_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limit": 0}, "--limit 0"),
        ({"epochs": 0}, "--epochs 0"),
        ({"answers": 1}, "--answers 1"),
        ({"connections": 0}, "--max-connections 0"),
        ({"judge": []}, "needs a judge"),
        ({"referee": "scripted/first"}, "no role 'referee'"),
    ],
)
def test_a_request_that_cannot_be_carried_out_makes_no_directory(tmp_path, changes, message):
    """Every such request is refused in one line before anything is written."""
    with pytest.raises(ConfigurationError) as caught:
        play(tmp_path / "run", **changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_run_json_runs_again(tmp_path):
    """The resolved configuration is complete: seeds, casts, prompts, agents and versions are in it."""
    play(tmp_path / "run", seed=3)
    kept = json.loads((tmp_path / "run" / "run.json").read_text())
    configuration = kept["configuration"]
    assert configuration["seed"] == 3
    assert configuration["limit"] == 6
    assert configuration["arena"].pop("source")
    assert configuration["arena"] == {"arena": "sums", "count": 8, "remark": ""}
    assert configuration["protocols"][0]["casts"] == [{"debater": ["tiny/thinker"], "judge": ["tiny/second"]}]
    assert configuration["protocols"][0]["instructions"]["judge"]
    assert configuration["agents"] == {"tiny/second": {"agent": "second"}, "tiny/thinker": {"agent": "thinker"}}
    assert {"python", "scalable-oversight", "langgraph"} <= set(kept["versions"])


def test_a_reply_that_could_not_be_read_is_asked_for_again_on_retry(endpoint, tmp_path):
    """--retry-failed makes the refused calls again, keeps the others, and adds up what both cost."""
    options = {"vllm/fake": ModelOptions(base_url=endpoint.base_url, price=(1.0, 1.0))}
    settings = {"debater": "vllm/fake", "judge": "vllm/fake", "limit": 2, "swap": False, "options": options}
    endpoint.answer(then={"text": "I cannot say."})
    first = oversight.run("debate(rounds=1)", tiny.Sums(), log_dir=tmp_path / "run", **settings)
    assert [record["status"] for record in first.episodes()] == ["unscored"] * 2
    assert len(endpoint.requests()) == 2 * (2 + 4)  # two speeches, the judge asked twice in each order
    endpoint.answer(then={"text": "Answer: A\nConfidence: 75%"})
    oversight.run("debate(rounds=1)", tiny.Sums(), log_dir=tmp_path / "run", **settings)
    assert endpoint.requests() == []  # without the option nothing is owed
    again = oversight.run("debate(rounds=1)", tiny.Sums(), log_dir=tmp_path / "run", retry_failed=True, **settings)
    assert [(record["status"], record["reason"]) for record in again.episodes()] == [("scored", "")] * 2
    assert len(endpoint.requests()) == 2 * 2  # the speeches were kept


def test_an_edited_graph_is_another_configuration(tmp_path):
    """The code of a protocol is part of what it is: nothing played under the old graph passes for the new one."""
    file = tmp_path / "mine.py"
    text = (
        "from oversight.protocol import Debater, Judge, Protocol, repeat\n\n\n"
        "class Mine(Protocol):\n    'Words.'\n    name = 'mine'\n    debater = Debater()\n    judge = Judge()\n\n"
        "    def graph(self, answers):\n        return repeat(self.debater.argues(), 2) >> self.judge.decides()\n"
    )
    settings = {"debater": tiny.Thinker(), "judge": tiny.Second(), "limit": 2, "log_dir": tmp_path / "run"}
    file.write_text(text)
    oversight.run(f"{file}:Mine", tiny.Sums(), **settings)
    file.write_text(text.replace("Words.", "Other words.") + "# a remark\n")
    oversight.run(f"{file}:Mine", tiny.Sums(), **settings)  # comments and docstrings change nothing
    file.write_text(text.replace(", 2)", ", 3)"))
    with pytest.raises(RunDirectoryError, match=r"holds another run \(protocols\.0\.source"):
        oversight.run(f"{file}:Mine", tiny.Sums(), **settings)


def test_a_call_that_fails_is_made_once_and_counts(endpoint, tmp_path):
    """Replies that cannot be used are paid for: they count against the limit, and no judge asks for them again."""
    cut = {"text": "", "finish": "length", "usage": [300, 1000]}
    options = {"openai/d": ModelOptions(base_url=endpoint.base_url, price=(100.0, 100.0), max_retries=1)}
    settings = {"debaters": ["openai/d"], "judges": [tiny.Second(), tiny.Third()], "limit": 4, "options": options}
    endpoint.answer(then=cut)
    result = oversight.tournament(tiny.Sums(), protocols=["propaganda"], **settings, log_dir=tmp_path / "all")
    served = len(endpoint.requests())
    speeches = len({(r["question"], str(r["seating"])) for r in result.episodes()})
    assert {record["status"] for record in result.episodes()} == {"unscored"}
    alone = 4 * 2 * 2  # each question in both seatings and orders, by the debater itself, for its capability
    assert served in (speeches + alone, 2 * (speeches + alone))  # with or without the retry, but once for all judges
    endpoint.answer(then=cut)
    with pytest.raises(BudgetExceeded):
        oversight.tournament(
            tiny.Sums(), protocols=["propaganda"], **settings, cost_limit=1.0, log_dir=tmp_path / "limited"
        )
    assert 0.2 < len(endpoint.requests()) * 0.13 <= 1.0
