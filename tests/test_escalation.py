"""The escalation guarantee: exact bounds, thresholds that keep their word, and reports that claim nothing more."""

from __future__ import annotations

import io
import json
import math
import random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import binom

from oversight.analysis.accuracy import clustered_mean
from oversight.analysis.escalation import (
    Calibration,
    CalibrationItem,
    calibrate,
    calibration_items,
    escalation,
    escalations,
    fewest_items,
    one_per_source,
    read_calibration,
    risk_bound,
    threshold,
)
from oversight.errors import ConfigurationError, DataError
from oversight.report.escalation_report import escalation_json, print_escalation

levels = st.floats(0.01, 0.5)
counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


# ---- the bound ------------------------------------------------------------------------------------------


@given(counts, levels)
def test_the_bound_is_where_so_few_errors_are_just_likely_enough(count, delta):
    """At the bound the binomial's chance of no more errors is delta: sup {r : cdf(errors; n, r) >= delta}."""
    errors, n = count
    bound = risk_bound(errors, n, delta)
    if errors == n:
        assert bound == 1.0
        return
    assert binom.cdf(errors, n, bound) == pytest.approx(delta, rel=1e-7)
    assert binom.cdf(errors, n, bound * (1 - 1e-6)) >= delta
    assert binom.cdf(errors, n, min(1.0, bound * (1 + 1e-6))) <= delta
    assert bound > errors / n or math.isclose(bound, errors / n) or delta > 0.4


@given(counts, levels, levels)
def test_the_bound_grows_with_errors_and_confidence_and_shrinks_with_items(count, delta, other):
    errors, n = count
    bound = risk_bound(errors, n, delta)
    assert risk_bound(errors, n + 1, delta) <= bound
    assert risk_bound(errors + 1, n + 1, delta) >= bound
    if errors < n:
        assert risk_bound(errors + 1, n, delta) > bound
    low, high = sorted([delta, other])
    assert risk_bound(errors, n, low) >= risk_bound(errors, n, high)


def test_nothing_bounds_nothing():
    assert risk_bound(0, 0, 0.1) == 1.0
    for errors, n, delta in [(-1, 5, 0.1), (6, 5, 0.1), (0, 5, 0.0), (0, 5, 1.0), (0, 5, math.nan)]:
        with pytest.raises(ConfigurationError):
            risk_bound(errors, n, delta)


@given(levels, levels, st.integers(1, 60))
def test_the_fewest_items_are_as_many_as_could_do_without_an_error(risk, delta, least):
    needed = fewest_items(risk, delta, least)
    assert needed >= least
    assert risk_bound(0, needed, delta) <= risk
    if needed > least:
        assert risk_bound(0, needed - 1, delta) > risk


# ---- the threshold ----------------------------------------------------------------------------------------


def test_a_threshold_by_hand():
    """40 right from 0.9 on, then wrong ones until the bound is passed."""
    confidences = [0.9] * 40 + [0.8] * 10 + [0.7] * 10 + [0.6] * 200
    wrong = [False] * 40 + [True, *[False] * 9] + [True] * 10 + [False] * 200
    found = threshold(confidences, wrong, 0.1, 0.1)
    assert (found.value, found.n, found.errors) == (0.8, 50, 1)
    assert found.bound == risk_bound(1, 50, 0.1)
    assert threshold(confidences, wrong, 0.07, 0.1).value == 0.9
    # 60 items of which 11 are wrong fail; that all from 0.6 on would pass does not count any more.
    assert risk_bound(11, 260, 0.1) <= 0.1 < risk_bound(11, 60, 0.1)


def test_equal_confidences_stand_or_fall_together():
    """Whoever decides from 0.9 on decides all that have 0.9."""
    confidences, right_first = [0.95] * 35 + [0.9] * 20, [False] * 35 + [False] * 10 + [True] * 10
    assert threshold(confidences, right_first, 0.1, 0.1).value == 0.95


@pytest.mark.parametrize(
    ("confidences", "wrong"),
    [
        ([], []),
        ([1.0] * 29, [False] * 29),
        ([0.9] * 30, [True] + [False] * 29),
        ([0.9] * 500, [True] * 100 + [False] * 400),
    ],
)
def test_without_a_feasible_threshold_there_is_none(confidences, wrong):
    """And not the highest one, which keeps nothing of what is promised."""
    assert threshold(confidences, wrong, 0.1, 0.1) is None


def test_a_risk_that_thirty_items_cannot_show_takes_more_of_them():
    """29 items without an error would fail whatever they were, so that the scan begins where it can pass."""
    assert fewest_items(0.05, 0.1) == 45
    assert threshold(np.linspace(1, 0.5, 44), np.zeros(44), 0.05, 0.1) is None
    assert threshold(np.linspace(1, 0.5, 45), np.zeros(45), 0.05, 0.1).value == 0.5


@pytest.mark.parametrize(
    ("confidences", "wrong", "risk", "delta"),
    [
        ([0.5], [], 0.1, 0.1),
        ([1.5], [0], 0.1, 0.1),
        ([math.nan], [0], 0.1, 0.1),
        ([0.5], [0], 0, 0.1),
        ([0.5], [0], 0.1, 1),
    ],
)
def test_what_cannot_be_calibrated(confidences, wrong, risk, delta):
    with pytest.raises(ConfigurationError):
        threshold(confidences, wrong, risk, delta)


samples = st.lists(st.tuples(st.integers(50, 60).map(lambda c: c / 60), st.booleans()), min_size=0, max_size=120)


@given(samples, st.randoms(use_true_random=False), st.floats(0.05, 0.5), st.floats(0.05, 0.5))
def test_the_order_of_items_does_not_matter(items, chance, risk, delta):
    shuffled = chance.sample(items, len(items))
    first, second = (threshold([c for c, _ in one], [w for _, w in one], risk, delta, 5) for one in (items, shuffled))
    assert first == second


@given(samples, st.floats(0.05, 0.5), st.floats(0.05, 0.5), st.integers(0, 119))
def test_one_more_error_never_lowers_a_threshold(items, risk, delta, place):
    """And what is kept has a bound within the risk, on items enough."""
    assume(items)
    confidences, wrong = [c for c, _ in items], [w for _, w in items]
    found = threshold(confidences, wrong, risk, delta, 5)
    worse = threshold(
        confidences, [*wrong[: place % len(items)], True, *wrong[place % len(items) + 1 :]], risk, delta, 5
    )
    if worse is not None:
        assert found is not None
        assert worse.value >= found.value
    if found is not None:
        kept = [w for c, w in items if c >= found.value]
        assert (len(kept), sum(kept)) == (found.n, found.errors)
        assert len(kept) >= fewest_items(risk, delta, 5)
        assert risk_bound(found.errors, found.n, delta) == found.bound <= risk


@given(samples, st.floats(0.05, 0.4), st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_a_smaller_delta_never_lowers_a_threshold(items, risk, delta, other):
    """From the same first confidence on: that is what splitting delta over the judges costs."""
    low, high = sorted([delta, other])
    least = fewest_items(risk, low, 5)
    strict, loose = (threshold([c for c, _ in items], [w for _, w in items], risk, one, least) for one in (low, high))
    if strict is not None:
        assert loose is not None
        assert strict.value >= loose.value


# ---- the guarantee holds --------------------------------------------------------------------------------------

RISKS = {
    "calibrated": lambda c: 1 - c,
    "just too bad everywhere": lambda c: np.full_like(c, 0.1001),
    "good at the top alone": lambda c: np.where(c > 0.8, 0.02, 0.5),
    "surest where it is wrong": lambda c: np.where(c > 0.95, 0.3, 0.02),
    "up and down": lambda c: np.where((c * 50).astype(int) % 2, 0.19, 0.03),
    "a bad stretch between": lambda c: np.where((c > 0.85) & (c < 0.93), 0.25, 0.01),
}


@pytest.mark.parametrize("kind", RISKS)
@pytest.mark.parametrize(("n", "least"), [(100, 30), (400, 30), (400, 65)])
def test_the_risk_is_exceeded_no_more_often_than_promised(kind, n, least):
    """Of 1000 calibrations of a judge whose true risk is known, at most delta keep too much (and five sigma)."""
    risk, delta, runs = 0.1, 0.1, 1000
    chance = np.random.default_rng(sum(map(ord, kind)) + n + least)
    grid = np.linspace(0.5, 1, 5001)
    tail = np.cumsum(RISKS[kind](grid)[::-1])[::-1] / np.arange(len(grid), 0, -1)
    broken = 0
    for _ in range(runs):
        confidences = chance.uniform(0.5, 1, n)
        found = threshold(confidences, chance.random(n) < RISKS[kind](confidences), risk, delta, least)
        broken += found is not None and np.interp(found.value, grid, tail) > risk
    assert broken <= runs * delta + 5 * math.sqrt(runs * delta * (1 - delta))


def test_two_judges_keep_the_promise_together():
    """With delta split, and the second calibrated on what the first leaves."""
    risk, delta, runs, n = 0.15, 0.2, 300, 300
    chance = np.random.default_rng(5)
    broken = feasible = 0
    for _ in range(runs):
        c = {name: chance.uniform(0.5, 1, n) for name in ("a", "b")}
        wrong = {"a": chance.random(n) < 1 - c["a"], "b": chance.random(n) < (1 - c["b"]) / 2}
        items = [
            CalibrationItem(str(i), str(i), {j: float(c[j][i]) for j in c}, {j: not wrong[j][i] for j in c})
            for i in range(n)
        ]
        first, second = calibrate(items, ["a", "b"], risk, delta).thresholds
        # Uniform confidences that are independent of each other: the means are known exactly.
        too_much = first is not None and (1 - first) / 2 > risk
        broken += too_much or (second is not None and (1 - second) / 4 > risk)
        feasible += first is not None or second is not None
    assert feasible > runs / 2
    assert broken <= runs * delta + 5 * math.sqrt(runs * delta * (1 - delta))


# ---- items -----------------------------------------------------------------------------------------------------


def item(number, source=None, **judges):
    """An item at which each judge has a confidence, negative where it is wrong."""
    return CalibrationItem(
        f"q{number}",
        source or f"s{number}",
        {name: abs(value) for name, value in judges.items()},
        {name: value > 0 for name, value in judges.items()},
    )


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3)), max_size=40),
    st.randoms(use_true_random=False),
    st.integers(),
)
def test_one_item_of_each_source(drawn, chance, seed):
    """Whatever the order of the items; another seed may draw others."""
    items = [item(number, f"s{source}", a=0.5 + number / 20) for number, source in drawn]
    kept = one_per_source(items, seed)
    assert [one.source for one in kept] == sorted({one.source for one in items})
    assert all(one in items for one in kept)
    assert kept == one_per_source(chance.sample(items, len(items)), seed)


def test_seeds_draw_different_items():
    items = [item(number, "one source", a=0.9) for number in range(50)]
    assert len({one_per_source(items, seed)[0].question for seed in range(30)}) > 10


def test_later_judges_are_calibrated_on_what_is_left():
    """With half of delta each."""
    items = [item(n, a=0.95, b=0.9) for n in range(60)] + [item(60 + n, a=-0.6, b=0.8) for n in range(70)]
    found = calibrate(items, ["a", "b"], 0.1, 0.1, source="held out")
    a, b = found.judges
    assert (a.threshold, a.n, a.errors, a.seen) == (0.95, 60, 0, 130)
    assert (b.threshold, b.n, b.errors, b.seen) == (0.8, 70, 0, 70)
    assert a.bound == risk_bound(0, 60, 0.05)
    assert found.thresholds == (0.95, 0.8)
    assert found.guarantee == (
        "with probability 0.90 over the calibration items, at most 10 % of the verdicts that a and b decide are wrong, "
        "on questions drawn like those they were calibrated on"
    )
    assert Calibration.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_guarantee_is_of_those_that_decide():
    items = [item(n, a=0.95 * (1 if n % 2 else -1), b=0.9) for n in range(60)]
    found = calibrate(items, ["a", "b"], 0.1, 0.1)
    assert found.thresholds == (None, 0.9)
    assert "the verdicts that b decides are wrong" in found.guarantee
    assert found.remarks == (
        "a decides nothing: 30 of the 60 verdicts it is surest of are wrong, so that its risk may be 61.3 %",
    )


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([item(n, a=0.9) for n in range(12)], "a decides nothing: 12 calibration items reached it, and 30 are needed"),
        ([item(n, a=0.9 if n else -1.0) for n in range(30)], "1 of the 30 verdicts it is surest of are wrong"),
        ([], "a decides nothing: 0 calibration items reached it, and 30 are needed"),
        ([item(n, "one story", a=0.9) for n in range(99)], "a decides nothing: 1 calibration item reached it"),
    ],
)
def test_where_nobody_is_feasible_nothing_is_guaranteed(items, said):
    """The reason is said, and no sentence promises anything."""
    found = calibrate(items, ["a"], 0.1, 0.1)
    assert found.thresholds == (None,)
    assert not found.holds
    assert found.guarantee.startswith("no guarantee, as no judge can be trusted to decide at a risk of 10 %: ")
    assert said in found.guarantee
    assert "with probability" not in found.guarantee


@given(
    st.lists(st.tuples(st.floats(0.5, 1), st.booleans(), st.floats(0.5, 1), st.booleans()), max_size=80), levels, levels
)
@settings(max_examples=60)
def test_a_guarantee_is_never_printed_where_a_bound_failed(drawn, risk, delta):
    items = [
        CalibrationItem(str(n), str(n), {"a": a, "b": b}, {"a": ra, "b": rb}) for n, (a, ra, b, rb) in enumerate(drawn)
    ]
    found = calibrate(items, ["a", "b"], risk, delta, least=5)
    if "with probability" in found.guarantee:
        deciding = [one for one in found.judges if one.threshold is not None]
        assert deciding
        for one in deciding:
            assert risk_bound(one.errors, one.n, delta / 2) == one.bound <= risk
            assert f" {one.judge} " in found.guarantee
    else:
        assert found.thresholds == (None, None)


def test_items_that_lack_a_judge():
    with pytest.raises(ConfigurationError, match="judge 'b' was not asked question 'q0'"):
        calibrate([item(0, a=0.9)], ["a", "b"], 0.1, 0.1)
    with pytest.raises(ConfigurationError, match="no judge to calibrate"):
        calibrate([], [], 0.1, 0.1)


# ---- the file -----------------------------------------------------------------------------------------------------


def written(tmp_path, text):
    path = tmp_path / "items.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_file_of_items(tmp_path):
    """In any order of columns and lines, with others among them, and a mark that a spreadsheet set."""
    path = written(
        tmp_path,
        "\ufeffquestion, right,judge,confidence,source,more\nq1,1,mcts/8,0.9,s,x\nq2,0, mcts/8 ,1,s,x\n\n"
        'q2,1,"openai/b(votes=3,orders=one)",0.5,s,x\nq1,0,"openai/b(votes=3,orders=one)",1e0,s,x\nq9,1,other,0.5,s,x\n',
    )
    other = "openai/b(votes=3,orders=one)"
    assert read_calibration(path, ["mcts/8", other]) == [
        CalibrationItem("q1", "s", {"mcts/8": 0.9, other: 1.0}, {"mcts/8": True, other: False}),
        CalibrationItem("q2", "s", {"mcts/8": 1.0, other: 0.5}, {"mcts/8": False, other: True}),
    ]
    alone = written(tmp_path, "judge,question,confidence,right\na,q,0.5,1\n")
    assert read_calibration(alone, ["a"])[0].source == "q"


HEADER = "judge,question,source,confidence,right\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: empty: give a header with judge, question, confidence, right"),
        ("judge,question,confidnce,right\n", "line 1: no column 'confidence': is 'confidnce' meant?"),
        ("judge,question\n", "line 1: no column 'confidence': it has 'judge', 'question'"),
        ("judge,judge,question,confidence,right\n", "line 1: column 'judge' is named twice"),
        (HEADER, "no line of judge 'a'"),
        (HEADER + "A,q,s,0.5,1\n", "no line of judge 'a': is 'A' meant?"),
        (HEADER + "a,q,s,0.5\n", "line 2: 4 values under 5 columns"),
        (HEADER + "a,q,s,1.5,1\n", "line 2: confidence '1.5' is not a number from 0 to 1"),
        (HEADER + "a,q,s,nan,1\n", "line 2: confidence 'nan' is not a number from 0 to 1"),
        (HEADER + "a,q,s,high,1\n", "line 2: confidence 'high' is not"),
        (HEADER + "a,q,s,0.5,yes\n", "line 2: right 'yes': write 1 for a right verdict, 0 for a wrong one or a tie"),
        (HEADER + "a,,s,0.5,1\n", "line 2: question is empty"),
        (HEADER + "a,q,s,0.5,1\n\na,q,s,0.6,1\n", "line 4: judge 'a' has question 'q' on line 2 too: keep one"),
        (HEADER + "a,q,s,0.5,1\nb,q,t,0.6,1\n", "line 3: question 'q' has source 's' before: give it one"),
        (HEADER + "a,q,s,0.5,1\nb,r,t,0.6,1\n", "judge 'a' has no line for question 'r'"),
        (HEADER + 'a,"q,s,0.5,1\n', "not CSV"),
        (HEADER.encode() + b"a,\xff,s,0.5,1\n", "line 2: not UTF-8 text"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, text, said):
    """Each in one line, with the file and the line."""
    path = written(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_calibration(path, ["a", "b"] if "b," in str(text) else ["a"])
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_calibration(tmp_path / "none.csv", ["a"])


# ---- what came of it -------------------------------------------------------------------------------------------------


def record(number, consulted, correct=0, **changes):
    """An episode whose verdict names who was consulted: (agent, share of answer 0, threshold, decided)."""
    turns = []
    if consulted:
        asked = [
            {"agent": agent, "probabilities": [share, 1 - share], "threshold": limit, "decided": decided}
            for agent, share, limit, decided in consulted
        ]
        turns = [{"kind": "verdict", "consulted": asked, "probabilities": asked[-1]["probabilities"]}]
    values = {
        "id": f"e{number}",
        "purpose": "comparison",
        "protocol": "direct",
        "protocol_key": "k",
        "question": f"q{number}",
        "source": f"s{number // 2}",
        "answers": 2,
        "correct": correct,
        "cast": {"judge": ["cascade(a,b,human)"]},
        "arguing": [],
        "deciding": ["judge"],
        "sample": 0,
        "status": "scored" if consulted else "unscored",
        "reason": "" if consulted else "abstained: a gave 0.61 (needs 0.88)",
        "probabilities": turns[0]["probabilities"] if turns else None,
        "credit": 1.0 if consulted else None,
        "turns": turns,
    }
    return {**values, **changes}


def a_run():
    """20 episodes by a, one in ten wrong; 10 by the person, all right where b is so in half; 3 abstained, 1 failed."""
    by_a = [record(n, [("a", 0.9 if n % 10 else 0.1, 0.8, True)]) for n in range(20)]
    left = [("a", 0.6, 0.8, False)]
    by_person = [
        record(20 + n, [*left, ("b", 0.7 if n % 2 else 0.3, None, False), ("human", 1.0, None, True)])
        for n in range(10)
    ]
    nobody = [record(30 + n, []) for n in range(3)]
    nobody[0]["reason"] += ": beyond the human budget"
    return [*by_a, *by_person, *nobody, record(33, [], reason="the endpoint is gone")]


def test_what_came_of_it():
    found = escalation(a_run())
    assert (found.cascade, found.protocol, found.speakers) == ("cascade(a,b,human)", "direct", None)
    assert [(one.agent, one.is_person, one.threshold, one.asked, one.decided) for one in found.members] == [
        ("a", False, 0.8, 30, 20), ("b", False, None, 10, 0), ("human", True, None, 10, 10)
    ]  # fmt: skip
    assert found.members[0].accuracy == clustered_mean(
        [float(n % 10 != 0) for n in range(20)], [n // 2 for n in range(20)]
    )
    assert found.by_judges.mean == pytest.approx(0.9)
    assert (found.escalated.mean, found.machine.mean, found.bought.mean) == (1.0, 0.5, 0.5)
    assert found.accuracy.mean == pytest.approx(28 / 30)
    assert (found.abstained, found.beyond_budget, found.failed) == (3, 1, 1)
    assert found.coverage == pytest.approx(30 / 33)


def test_it_does_not_depend_on_the_order_of_the_records():
    """Members come in the order of the cascade, the person last."""
    records = a_run()
    random.Random(3).shuffle(records)
    assert escalation(records) == escalation(a_run())
    last_first = [*a_run()[20:30], *a_run()[:20]]
    assert [one.agent for one in escalation(last_first).members] == ["a", "b", "human"]


def test_each_protocol_and_cast_has_its_own():
    """Others, and episodes that calibrate or measure, are passed over."""
    plain = record(0, [("a", 0.9, 0.8, True)], cast={"judge": ["mcts/8"]}, protocol_key="p")
    plain["turns"][0].pop("consulted")
    for_calibration = record(1, [("a", 0.9, None, False)], purpose="calibration")
    other = record(2, [("a", 0.9, 0.8, True)], protocol="debate", protocol_key="d")
    found = escalations([plain, for_calibration, other, *a_run()])
    assert [(one.protocol, one.answered) for one in found] == [("debate", 1), ("direct", 30)]
    with pytest.raises(ConfigurationError, match="no episode of a cascade here"):
        escalation([plain])


def test_items_of_the_episodes_that_were_played_for_calibration():
    """A tie is not right; episodes without a verdict are passed over."""
    records = [
        record(0, [("a", 0.9, None, False), ("b", 0.5, None, False)]),
        record(1, [("a", 0.2, None, False), ("b", 0.7, None, False)], correct=1),
        record(2, []),
    ]
    assert calibration_items(records) == [
        CalibrationItem("q0", "s0", {"a": 0.9, "b": 0.5}, {"a": True, "b": False}),
        CalibrationItem("q1", "s0", {"a": 0.8, "b": 0.7}, {"a": True, "b": False}),
    ]


@pytest.mark.parametrize(
    "broken",
    [
        {"turns": None},
        {"turns": [{"kind": "verdict", "consulted": [{"agent": "a", "probabilities": [0.5, 0.5]}]}]},
        {"turns": [{"kind": "verdict", "consulted": [{"agent": "a", "probabilities": ["x"], "decided": True}]}]},
    ],
)
def test_records_that_cannot_be_read(broken):
    with pytest.raises(DataError, match="episode 'e0'") as caught:
        escalation([{**record(0, [("a", 0.9, 0.8, True)]), **broken}])
    assert "\n" not in str(caught.value)


# ---- in print ------------------------------------------------------------------------------------------


def printed(calibrations, found, width=80):
    out = io.StringIO()
    print_escalation(calibrations, found, Console(file=out, width=width, highlight=False))
    return out.getvalue()


def test_in_print():
    """Every number with what it is of; sentences are left to the terminal to fold."""
    items = [item(n, a=0.95, b=-0.7) for n in range(60)] + [item(60 + n, a=-0.6, b=-0.7) for n in range(70)]
    calibration = calibrate(items, ["a", "b"], 0.1, 0.1, source="questions held out")
    text = printed({"direct": calibration}, [escalation(a_run())])
    assert [line.rstrip() for line in text.splitlines() if line.strip()] == IN_PRINT.splitlines()


IN_PRINT = """\
direct: calibration
 judge  reached it  decides from  items  wrong  bound
 ────────────────────────────────────────────────────
 a             130         0.950     60      0  4.9 %
 b              70         never      —      —      —
with probability 0.90 over the calibration items, at most 10 % of the verdicts that a decides are wrong, on questions \
drawn like those they were calibrated on
b decides nothing: 70 of the 70 verdicts it is surest of are wrong, so that its risk may be 100 %
130 calibration items: questions held out
direct: cascade(a,b,human)
 decided by                   from  asked  decided  accuracy  95 % interval
 ──────────────────────────────────────────────────────────────────────────
 a                           0.800     30       20    90.0 %   [66.0, 97.7]
 b                           never     10        0         —              —
 human            whatever is left     10       10   100.0 %  [39.3, 100.0]
 judges together                                20    90.0 %   [66.0, 97.7]
 all                                            30    93.3 %   [76.8, 98.3]
10 of 30 verdicts went to human: 100.0 % right, where those of b would have been 50.0 % right: a difference of \
+50.0 points [+35.4, +64.6]
episodes that went there: e20, e21, e22, e23, e24, e25, e26, e27 and 2 more
3 abstained, 1 of them for want of human budget: a verdict in 90.9 % of 33 episodes
1 failed otherwise and count for nothing here
95 % intervals, clustered by source; a tie counts 1/k as everywhere
"""


def test_tables_fit_80_columns():
    """However long the names of members are."""
    long = "openai/a-model-with-a-long-name-2026-01-01(reasoning=true,votes=9,temperature=0.7)"
    records = [record(n, [(long, 0.6, 0.8123, False), ("human", 1.0, None, True)]) for n in range(12)]
    calibration = calibrate([item(n, **{long: 0.9}) for n in range(400)], [long], 0.1, 0.1)
    table = [line for line in printed({"direct": calibration}, [escalation(records)]).splitlines() if line[:1] == " "]
    assert len(table) > 8
    assert max(map(len, table)) <= 80


def test_a_guarantee_that_is_none_is_printed_as_none():
    text = printed({"direct": calibrate([item(0, a=0.9)], ["a"], 0.1, 0.1)}, [])
    assert "no guarantee, as no judge can be trusted" in text
    assert "with probability" not in text


def test_as_json():
    """JSON values throughout, null for what there is not."""
    calibration = calibrate([item(0, a=0.9)], ["a"], 0.1, 0.1)
    values = escalation_json({"direct": calibration}, [escalation(a_run()), escalation([record(0, [])])])
    again = json.loads(json.dumps(values, allow_nan=False))
    assert again == values
    assert values["cascades"][0]["members"][2]["decided"] == 10
    assert values["cascades"][1]["accuracy"]["mean"] is None
    assert values["cascades"][1]["coverage"] == 0.0
    assert values["calibrations"]["direct"]["guarantee"].startswith("no guarantee")
