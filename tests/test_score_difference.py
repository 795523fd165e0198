"""Agent score differences: values by hand, laws, files from outside and what is wrong with them."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oversight.analysis.accuracy import clustered_mean
from oversight.analysis.score_difference import (
    CLIP,
    LARGEST_DIFFERENCE,
    SCORES,
    Arm,
    answer_score_difference,
    brier_score,
    clustered_covariance,
    clustered_score,
    log_odds_score,
    log_score,
    read_arms,
    score_differences,
)
from oversight.cli import main
from oversight.errors import ConfigurationError, DataError

HEADER = "run,question,argued,correct,p_correct,p_other"
probability = st.floats(0, 1)


def both_arms(question, true_argued, false_argued, run="r"):
    """The two arms of a question, from the judge's belief in the correct answer in each."""
    return [
        Arm(run, question, "correct", true_argued, 1 - true_argued),
        Arm(run, question, "incorrect", false_argued, 1 - false_argued),
    ]


# ---- scores -------------------------------------------------------------------------------------


def test_scores_by_hand():
    assert brier_score((0.7, 0.2, 0.1), 0) == pytest.approx(-(0.09 + 0.04 + 0.01))
    assert brier_score((0.7, 0.2, 0.1), 2) == pytest.approx(-(0.49 + 0.04 + 0.81))
    assert log_score((0.7, 0.3), 1) == pytest.approx(math.log(0.3))
    assert log_odds_score((0.8, 0.2), 0) == pytest.approx(math.log(4))
    assert SCORES["accuracy"]((0.4, 0.4, 0.2), 1) == 0.5


def test_logarithms_are_clipped():
    assert log_score((1.0, 0.0), 1) == math.log(CLIP)
    assert log_score((1.0, 0.0), 0) == 0.0
    assert log_odds_score((1.0, 0.0), 0) == pytest.approx(math.log((1 - CLIP) / CLIP))
    assert log_odds_score((1.0, 0.0), 1) == pytest.approx(-math.log((1 - CLIP) / CLIP))


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=5), st.data())
def test_brier_and_log_are_proper(weights, data):
    """No report is better in expectation than what is believed."""
    belief = [weight / sum(weights) for weight in weights]
    other = data.draw(st.lists(st.floats(0.01, 1), min_size=len(belief), max_size=len(belief)))
    report = [weight / sum(other) for weight in other]
    for score in (brier_score, log_score):
        expected = [sum(p * score(stated, k) for k, p in enumerate(belief)) for stated in (belief, report)]
        assert expected[0] >= expected[1] - 1e-9


def test_three_answers_weigh_the_wrong_ones_alike():
    scores = {0: [-0.2], 1: [-1.0, -0.6], 2: [-0.4]}
    assert answer_score_difference(scores, 0, 3) == pytest.approx(-0.2 - (-0.8 - 0.4) / 2)
    assert answer_score_difference(scores, 1, 3) == pytest.approx(-0.8 - (-0.2 - 0.4) / 2)


def test_an_answer_without_its_arm_has_no_difference():
    assert answer_score_difference({0: [-0.2]}, 0, 2) is None
    assert answer_score_difference({0: [-0.2], 1: []}, 0, 2) is None
    assert answer_score_difference({}, 0, 0) is None


# ---- means with intervals -----------------------------------------------------------------------


def by_definition(values, clusters):
    """SE² as METRICS.md writes it, sum by sum."""
    n, mean = len(values), sum(values) / len(values)
    square = sum((value - mean) ** 2 for value in values) / (n - 1) / n
    for i in range(n):
        for j in range(n):
            if i != j and clusters[i] == clusters[j]:
                square += (values[i] - mean) * (values[j] - mean) / n**2
    return square


@given(st.lists(st.tuples(st.floats(-2, 2), st.integers(0, 4)), min_size=2, max_size=25))
def test_the_squared_error_is_the_double_sum(pairs):
    values, clusters = zip(*pairs, strict=True)
    assert clustered_covariance(values, values, clusters) == pytest.approx(by_definition(values, clusters), abs=1e-12)


@given(st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.integers(0, 4)), min_size=2, max_size=25))
def test_a_difference_has_the_variances_less_twice_the_covariance(triples):
    """SE² = SE_A² + SE_B² - 2ρ SE_A SE_B."""
    first, second, clusters = zip(*triples, strict=True)
    paired = [x - y for x, y in zip(first, second, strict=True)]
    parts = clustered_covariance(first, first, clusters) + clustered_covariance(second, second, clusters)
    parts -= 2 * clustered_covariance(first, second, clusters)
    assert clustered_covariance(paired, paired, clusters) == pytest.approx(parts, abs=1e-9)


def test_the_error_is_that_of_the_accuracy():
    credits, clusters = [1, 0, 1, 1, 0, 0.5, 1], list("aabbccd")
    mine = clustered_score(credits, clusters, 0, 1)
    theirs = clustered_mean(credits, clusters)
    assert (mine.mean, mine.n, mine.clusters) == (theirs.mean, theirs.n, theirs.clusters)
    assert mine.standard_error == pytest.approx(theirs.standard_error)


def test_against_a_regression_on_a_constant_with_clustered_errors():
    """statsmodels' CR1 error; equal where every cluster has one item, and else by the known factors."""
    api = pytest.importorskip("statsmodels.api")
    chance = np.random.default_rng(3)
    for sizes in ([1] * 40, [1, 2, 3, 4, 5] * 6):
        groups = np.repeat(np.arange(len(sizes)), sizes)
        values = chance.normal(size=len(groups)) * 0.3 + np.repeat(chance.normal(size=len(sizes)) * 0.1, sizes)
        fit = api.OLS(values, np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
        mine = clustered_score(values.tolist(), groups.tolist(), -2, 2)
        n, count = len(values), len(sizes)
        squares = ((values - values.mean()) ** 2).sum()
        theirs = fit.bse[0] ** 2 * (count - 1) / count + squares * (1 / (n * (n - 1)) - 1 / n**2)
        assert mine.mean == pytest.approx(fit.params[0])
        assert mine.standard_error == pytest.approx(math.sqrt(theirs), rel=1e-9)
        if count == n:
            assert (mine.low, mine.high) == pytest.approx(tuple(fit.conf_int()[0]), rel=1e-9)


@given(st.lists(st.tuples(st.floats(-2, 2), st.integers(0, 9)), min_size=1, max_size=30), st.randoms())
def test_an_interval_holds_its_mean_and_keeps_to_the_range(pairs, chance):
    values, clusters = zip(*pairs, strict=True)
    found = clustered_score(values, clusters, -2, 2)
    assert -2 <= found.low <= found.mean <= found.high <= 2
    mixed = list(pairs)
    chance.shuffle(mixed)
    again = clustered_score(*zip(*mixed, strict=True), -2, 2)
    assert (again.mean, again.low, again.high) == pytest.approx((found.mean, found.low, found.high), abs=1e-9)


def test_equal_values_are_no_certainty():
    found = clustered_score([1.0] * 100, range(100), -1, 1)
    assert found.standard_error == 0.0
    assert found.high == 1.0
    assert found.low == pytest.approx(1 - 2 * (1 - 0.05 ** (1 / 100)))


def test_one_question_that_differs_does_not_make_an_interval_narrow():
    """Ninety-nine zeros and a hundredth value: the error alone would say more than a hundred zeros do."""
    same = clustered_score([0.0] * 100, range(100), -2, 2)
    one = clustered_score([0.0] * 99 + [0.01], range(100), -2, 2)
    assert one.high - one.low >= 0.99 * (same.high - same.low)


def test_one_cluster_says_nothing_of_others():
    found = clustered_score([0.2, 0.4], ["a", "a"], -2, 2)
    assert (found.low, found.high, found.clusters) == (-2, 2, 1)
    assert math.isnan(found.standard_error)


@pytest.mark.parametrize(
    ("values", "clusters", "level"),
    [([0.1], [], 0.95), ([3.0], ["a"], 0.95), ([math.nan], ["a"], 0.95), ([0], ["a"], 1)],
)
def test_what_a_mean_refuses(values, clusters, level):
    with pytest.raises(ConfigurationError):
        clustered_score(values, clusters, -2, 2, level)


def test_intervals_cover_the_truth():
    """95 % intervals over 20 sources of one to three items hold the true mean about that often."""
    chance, held = random.Random(5), 0
    for _ in range(400):
        values, clusters = [], []
        for source in range(20):
            common = chance.gauss(0, 0.2)
            for _ in range(chance.randint(1, 3)):
                values.append(min(2.0, max(-2.0, 0.1 + common + chance.gauss(0, 0.3))))
                clusters.append(source)
        found = clustered_score(values, clusters, -2, 2)
        held += found.low <= 0.1 <= found.high
    assert 0.91 <= held / 400 <= 0.985


# ---- runs ---------------------------------------------------------------------------------------


def test_a_run_by_hand():
    arms = [*both_arms("q1", 0.9, 0.6), *both_arms("q2", 0.7, 0.2)]
    (run,) = score_differences(arms).runs
    first = (-0.02) - (-0.72)
    second = (-0.18) - (-0.08)
    assert run.n == 2
    assert run.brier.mean == pytest.approx((first + second) / 2)
    logs = (math.log(0.9) - math.log(0.4) + math.log(0.7) - math.log(0.8)) / 2
    assert run.log.mean == pytest.approx(logs)


def test_the_interval_is_a_t_interval_over_questions():
    stats = pytest.importorskip("scipy.stats")
    chance = random.Random(2)
    arms = [one for k in range(30) for one in both_arms(f"q{k}", chance.random(), chance.random())]
    (run,) = score_differences(arms).runs
    values = [
        brier_score((true.p_correct, true.p_other), 0) - brier_score((false.p_correct, false.p_other), 1)
        for true, false in zip(arms[::2], arms[1::2], strict=True)
    ]
    low, high = stats.t.interval(0.95, 29, loc=np.mean(values), scale=stats.sem(values))
    assert (run.brier.low, run.brier.high) == pytest.approx((low, high))


@given(st.lists(probability, min_size=1, max_size=30))
def test_arms_that_share_a_transcript_have_four_times_the_belief_less_two(beliefs):
    """Brier-ASD = 4 E[p_true] - 2 (PROTOCOLS.md), and twice the log-odds."""
    arms = [one for k, p in enumerate(beliefs) for one in both_arms(f"q{k}", p, p)]
    (run,) = score_differences(arms).runs
    assert run.brier.mean == pytest.approx(4 * sum(beliefs) / len(beliefs) - 2, abs=1e-9)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("123"), st.booleans(), probability, probability)),
    st.randoms(),
)
@settings(max_examples=60)
def test_the_order_of_rows_does_not_matter_and_bounds_hold(rows, chance):
    assume(rows)
    arms = [
        Arm(run, question, "correct" if true else "incorrect", p, (1 - p) * share)
        for run, question, true, p, share in rows
    ]
    found = {run.run: run for run in score_differences(arms).runs}
    mixed = list(arms)
    chance.shuffle(mixed)
    for run in score_differences(mixed).runs:
        assert run == found[run.run] or (run.n == 0 and found[run.run].n == 0)
        if run.n:
            assert -2 <= run.brier.low <= run.brier.mean <= run.brier.high <= 2
            assert abs(run.log.mean) <= LARGEST_DIFFERENCE["log"]


@given(st.lists(st.tuples(probability, probability), min_size=1, max_size=20))
def test_calling_the_false_answer_true_turns_the_sign(beliefs):
    arms = [one for k, (p, q) in enumerate(beliefs) for one in both_arms(f"q{k}", p, q)]
    turned = [
        Arm(one.run, one.question, "incorrect" if one.argued == "correct" else "correct", one.p_other, one.p_correct)
        for one in arms
    ]
    (run,), (other,) = score_differences(arms).runs, score_differences(turned).runs
    assert run.brier.mean == pytest.approx(-other.brier.mean, abs=1e-9)
    assert run.log.mean == pytest.approx(-other.log.mean, abs=1e-9)


def test_rows_of_one_arm_are_averaged_by_their_scores():
    arms = [*both_arms("q1", 1.0, 0.5), Arm("r", "q1", "correct", 0.0, 1.0), *both_arms("q2", 0.5, 0.5)]
    found = score_differences(arms)
    assert found.runs[0].brier.mean == pytest.approx(((0 - 2) / 2 + 0.5) / 2)
    assert found.remarks == ("r: 1 arm stands in several rows; their scores are averaged",)


def test_a_question_with_one_arm_is_left_out_and_counted():
    arms = [*both_arms("q1", 0.9, 0.6), *both_arms("q2", 0.8, 0.6), Arm("r", "q3", "correct", 0.1, 0.9)]
    found = score_differences(arms)
    assert found.runs[0].n == 2
    assert found.remarks == ("r: 1 question is left out, of which only one arm is there",)


def test_a_run_without_any_whole_question_has_no_numbers():
    found = score_differences([Arm("r", "q", "correct", 0.5, 0.5)])
    expected = {"run": "r", "n": 0, "asd_brier": None, "asd_log": None, "asd_brier_low": None, "asd_brier_high": None}
    assert found.to_json() == {"runs": [expected]}


def test_what_is_missing_from_the_sum_is_belief_in_neither():
    arms = [Arm("r", "q", "correct", 0.5, 0.2), Arm("r", "q", "incorrect", 0.4, 0.3)]
    found = score_differences(arms)
    assert found.runs[0].brier.mean == pytest.approx(-(0.25 + 0.04) + (0.49 + 0.16))
    assert "2 rows sum to less than 1" in found.remarks[0]


# ---- files --------------------------------------------------------------------------------------


def write(tmp_path, *rows, name="results.csv", header=HEADER):
    path = tmp_path / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


WHOLE = ("debate,q1,correct,A,0.9,0.1", "debate,q1,incorrect,A,0.9,0.1", "debate,q2,correct,B,0.6,0.4",
         "debate,q2,incorrect,B,0.6,0.4")  # fmt: skip


def test_csv_and_jsonl_say_the_same(tmp_path, capsys):
    table = write(tmp_path, *WHOLE)
    lines = tmp_path / "results.jsonl"
    names = HEADER.split(",")
    rows = [dict(zip(names, row.split(","), strict=True)) for row in WHOLE]
    lines.write_text("\n".join(json.dumps({**r, "p_correct": float(r["p_correct"])}) for r in rows), encoding="utf-8")
    assert read_arms(table) == read_arms(lines)
    printed = []
    for path in (table, lines):
        assert main(["asd", str(path), "--json"]) == 0
        printed.append(json.loads(capsys.readouterr().out))
    assert printed[0] == printed[1]
    (run,) = printed[0]["runs"]
    assert list(run) == ["run", "n", "asd_brier", "asd_log", "asd_brier_low", "asd_brier_high"]
    assert run["asd_brier"] == pytest.approx(4 * 0.75 - 2)
    assert run["n"] == 2


def test_columns_may_be_in_any_order_with_others_between(tmp_path):
    path = tmp_path / "odd.csv"
    path.write_bytes("\ufeffp_other;x,p_correct,p_other,argued,question,run\r\n1,0.25,0.75,incorrect,q,7\r\n".encode())
    assert read_arms(path) == [Arm("7", "q", "incorrect", 0.25, 0.75)]


def test_remarks_go_to_standard_error_beside_json(tmp_path, capsys):
    path = write(tmp_path, *WHOLE, "debate,q3,correct,A,0.9,0.1")
    assert main(["asd", str(path), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["runs"][0]["n"] == 2
    assert "1 question is left out" in printed.err


GOLDEN = """\
Agent score difference, 95 % intervals
 run                       Brier                      log  questions
 ───────────────────────────────────────────────────────────────────
 blind   +0.000 [-1.553, +1.553]  +0.000 [-7.151, +7.151]          2
 debate  +1.000 [-2.000, +2.000]  +1.301 [-9.210, +9.210]          2
log in nats
blind: 1 question is left out, of which only one arm is there"""


def test_the_table_at_width_100(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    blind = ("blind,q1,correct,A,0.5,0.5", "blind,q1,incorrect,A,0.5,0.5", "blind,q2,correct,A,0.5,0.5",
             "blind,q2,incorrect,A,0.5,0.5", "blind,q3,correct,A,0.5,0.5")  # fmt: skip
    assert main(["asd", str(write(tmp_path, *blind, *WHOLE))]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert "\n".join(lines) == GOLDEN


BAD = {
    "nan": (("r,q,correct,A,nan,0.5",), "line 2", "p_correct is nan"),
    "infinite": (("r,q,correct,A,inf,0.5",), "line 2", "p_correct is inf"),
    "empty number": (("r,q,correct,A,,0.5",), "line 2", "p_correct is ''"),
    "above one": (("r,q,correct,A,1.2,0.5",), "line 2", "from 0 to 1"),
    "negative": ((WHOLE[0], "r,q,correct,A,-0.1,0.5"), "line 3", "from 0 to 1"),
    "sum": (("r,q,correct,A,0.7,0.5",), "line 2", "sum to 1.2"),
    "unknown arm": (("r,q,incorect,A,0.7,0.3",), "line 2", "did you mean 'incorrect'"),
    "no run": ((",q,correct,A,0.7,0.3",), "line 2", "run is ''"),
    "short row": (("r,q,correct",), "line 2", "3 fields under a header of 6"),
    "open quote": (('r,q,correct,"A,0.7,0.3',), "line 2", "not CSV"),
    "underscore": (("r,q,correct,A,0_1,0.3",), "line 2", "p_correct is '0_1'"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_one_line_with_file_and_line(tmp_path, capsys, case):
    rows, line, rule = BAD[case]
    path = write(tmp_path, *rows)
    assert main(["asd", str(path), "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert f"{path}, {line}: " in printed.err
    assert rule in printed.err


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (HEADER.encode() + b"\n", "no row below it"),
        (b"run,run,question,argued,p_correct,p_other\n", "column 'run' stands twice"),
        (b"run,question,argued,p_corect,p_other\nr,q,correct,1,0\n", "no column 'p_correct'; is it 'p_corect'?"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b'{"run": 1', "not JSON"),
        (b'{"run": 1, "run": 2}', "'run' stands twice"),
        (b'{"run": "r", "question": "q", "argued": "correct", "p_correct": NaN, "p_other": 0}', "p_correct is nan"),
        (b'{"run": "r", "question": "q", "argued": "correct", "p_correct": true, "p_other": 0}', "p_correct is True"),
        (b'{"run": "r", "question": null, "argued": "correct", "p_correct": 1, "p_other": 0}', "question is None"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, capsys, content, rule):
    path = tmp_path / "results.txt"
    path.write_bytes(content)
    assert main(["asd", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert rule in printed.err


def test_a_list_of_jsonl_is_no_row(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("[1]\n")
    with pytest.raises(DataError, match="line 1: not a JSON object"):
        read_arms(path)


def test_a_file_that_is_not_there_and_a_folder(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_arms(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_arms(tmp_path)


def test_a_row_is_named_by_the_line_it_begins_on(tmp_path):
    path = write(tmp_path, '"two\nlines",q,correct,A,0.5,0.5', '"two\nmore",q,correct,A,2,0')
    with pytest.raises(DataError, match="line 4: p_correct is 2"):
        read_arms(path)


def test_no_arm_at_all_is_refused():
    with pytest.raises(ConfigurationError, match="no verdict to score"):
        score_differences([])
    with pytest.raises(ConfigurationError, match="level 2"):
        score_differences(both_arms("q", 0.5, 0.5), level=2)
