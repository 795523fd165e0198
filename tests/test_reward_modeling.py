"""Recursive reward modelling: cells, preferences, the recursion, kills, the induction test, Goodhart, refusals."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import oversight
from oversight.agents import Agent
from oversight.arenas.arithmetic import Arithmetic
from oversight.cli import main as command
from oversight.errors import ConfigurationError, RunDirectoryError, UnknownName
from oversight.requests import Speech
from oversight.runs.directory import read_episodes
from oversight.training.preferences import (
    FEWEST_WORDS,
    PreferenceArena,
    WrittenReplies,
    draw_pairs,
    prompt_of,
    reply_of,
)
from oversight.training.progress import TrainingProgress
from oversight.training.reward_modeling import find_reward_model, reward_modeling, truth_of_best
from oversight.training.reward_models import Comparison
from oversight.training.structured import StructuredAgent, StructuredRewardModel

TASKS = Arithmetic(modulus=3, operators="+*").composed()
SMALL = {"arena": "arithmetic(modulus=3,operators=+*)", "test": 40, "best_of": 16, "samples": 150, "seeds": 1}
EXACT = "bounded/1"


def every_task(depth):
    if depth == 0:
        return list(range(TASKS.values))
    halves = every_task(depth - 1)
    return [[sign, *pair] for sign in TASKS.operators for pair in itertools.product(halves, halves)]


def comparisons(depth, times=1, words=(8, 8), seed=0):
    """Every task's right value against each wrong one."""
    chance = random.Random(seed)
    found = []
    for task in every_task(depth) if depth == 1 else [TASKS.draw(depth, chance) for _ in range(200)]:
        right = TASKS.value(task)
        for wrong in {0, 1, 2} - {right}:
            replies = reply_of(right, words[0]), reply_of(wrong, words[1])
            found += [Comparison(prompt_of(TASKS, task), *replies)] * times
    return found


def tree(folder):
    """Digests of everything that is trained or measured in a folder."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")}
    found["results"] = (folder / "results.jsonl").read_bytes()
    return {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


def start(folder, *more):
    words = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    return [sys.executable, "-m", "oversight.cli", "train", "reward_modeling", *words, "--log-dir", str(folder), *more]


# ---- replies and preferences ------------------------------------------------------------------------------------


def test_a_reply_says_its_value_in_so_many_words():
    for words in (FEWEST_WORDS, 5, 40):
        reply = reply_of(2, words)
        assert len(reply.text.split()) == reply.structure["words"] == words
        assert reply.text.startswith("The value is 2.")


def test_pairs_know_nothing_of_the_truth():
    """A pair holds the right value as often as two of five values do, and neither place nor length tells which."""
    tasks = Arithmetic(modulus=5).composed()
    pairs = draw_pairs(tasks, 2, 2000, seed=4)
    holding = [one for one in pairs if tasks.value(one.task) in one.values]
    assert abs(len(holding) / 2000 - 2 / 5) < 4 * math.sqrt(0.4 * 0.6 / 2000)
    first = [one.values[0] == tasks.value(one.task) for one in holding]
    longer = [(one.words[0] > one.words[1]) == right for one, right in zip(holding, first, strict=True)]
    for found in (first, longer):
        assert abs(sum(found) / len(found) - 0.5) < 4 * math.sqrt(0.25 / len(found))


class Stating(Agent):
    """States the halves' values, off by so much."""

    def __init__(self, off):
        super().__init__(f"off by {off}")
        self.off = off

    async def speak(self, request):
        _, *halves = request.view.structure["expression"]
        lines = [f"Step 1: {TASKS.statement(half, (TASKS.value(half) + self.off) % 3)}" for half in halves]
        return Speech("\n".join(lines))


@pytest.mark.parametrize("off", [None, 0, 1])
def test_a_bounded_human_is_as_good_as_its_assistant(tmp_path, off):
    """Unaided it cannot judge three operations; it takes what an assistant states as given, right or wrong."""
    pairs = draw_pairs(TASKS, 2, 60, seed=1)
    arena = PreferenceArena.made(Arithmetic(modulus=3), TASKS, 2, pairs)
    cast = {"reply": WrittenReplies(), "judge": EXACT} | ({} if off is None else {"assistant": Stating(off)})
    protocol = f"preference(assisted={str(off is not None).lower()})"
    result = oversight.run(protocol, arena, limit=60, swap=False, log_dir=tmp_path / "run", **cast)
    records = {one["question"]: one for one in result.episodes()}
    for pair in pairs:
        operator, left, right = pair.task
        expected = (0.5, 0.5)
        if off is not None:
            value = TASKS.value([operator, *((TASKS.value(half) + off) % 3 for half in (left, right))])
            if value in pair.values:
                expected = tuple(float(one == value) for one in pair.values)
        assert tuple(records[pair.id]["probabilities"]) == expected
        said = [turn["text"] for turn in records[pair.id]["turns"] if turn["seat"].startswith("reply")]
        assert sorted(said) == sorted(reply.text for reply in pair.replies())


# ---- what learns ------------------------------------------------------------------------------------------------


def test_cells_learn_an_operation_and_carry_it_to_deeper_tasks(tmp_path):
    below = StructuredRewardModel(TASKS, None)
    below.fit(comparisons(1, times=8), tmp_path / "0", 1, TrainingProgress())
    above = StructuredRewardModel(TASKS, below)
    training = comparisons(2)
    above.fit(training, tmp_path / "1", 1, TrainingProgress())
    judged = {one.prompt.text for one in training}
    unseen = [task for task in every_task(2) if TASKS.text(task) not in judged]
    assert len(unseen) > 300
    for model, tasks in ((below, every_task(1)), (above, unseen)):
        assert list(np.argmax(model.log_values(tasks), axis=1)) == [TASKS.value(task) for task in tasks]
    again = StructuredRewardModel(TASKS, None)
    again.fit(comparisons(1, times=8), tmp_path / "0", 1, TrainingProgress())
    assert again.describe() == below.describe()
    with pytest.raises(RunDirectoryError, match="another training"):
        StructuredRewardModel(TASKS, None).fit(comparisons(1), tmp_path / "0", 1, TrainingProgress())


def test_words_are_liked_where_they_were_preferred(tmp_path):
    for number, words in enumerate([(8, 8), (30, 8), (8, 30)]):
        model = StructuredRewardModel(TASKS, None)
        model.fit(comparisons(1, words=words), tmp_path / str(number), 1, TrainingProgress())
        prompt = prompt_of(TASKS, ["+", 1, 1])
        short, long = model.rewards(prompt, [reply_of(2, 8), reply_of(2, 30)])
        assert np.sign(long - short) == (0, 1, -1)[number]


def test_the_policy_becomes_what_was_chosen(tmp_path):
    agent = StructuredAgent(TASKS, None)
    prompt = prompt_of(TASKS, ["+", 1, 1])
    base = agent.replies(prompt, 3000, 5)
    assert base[:7] == agent.replies(prompt, 7, 5)
    shares = [sum(one.structure["value"] == value for one in base) / 3000 for value in range(3)]
    assert all(abs(share - 1 / 3) < 4 * math.sqrt(2 / 9 / 3000) for share in shares)
    agent.tune(comparisons(1, times=20, words=(40, 8)), tmp_path, 1, TrainingProgress())
    assert agent.answers(every_task(1)) == [TASKS.value(task) for task in every_task(1)]
    assert agent.times_longer == pytest.approx(36 / 12, rel=0.01)
    tuned = agent.replies(prompt, 3000, 5)
    assert np.mean([one.structure["words"] for one in tuned]) > 2 * np.mean([one.structure["words"] for one in base])


def test_best_of_n_is_the_mean_over_all_ways_to_draw_n():
    generator = np.random.default_rng(1)
    rewards, values = generator.normal(size=7), generator.integers(0, 2, 7)
    for n in range(1, 8):
        drawn = [values[max(ways, key=lambda one: rewards[one])] for ways in itertools.combinations(range(7), n)]
        assert truth_of_best(rewards, values, n) == pytest.approx(np.mean(drawn))


# ---- the recursion ----------------------------------------------------------------------------------------------


def test_without_error_the_recursion_holds(tmp_path):
    """An exact human and enough judgements: every level is right, on tasks that it could not have judged alone."""
    result = reward_modeling(log_dir=tmp_path, human=EXACT, levels=2, judgements=400, **SMALL)
    for level, row in enumerate(result.rows):
        assert (row.level, row.judgements, row.unscored, row.human) == (level, 400, 0, 1.0)
        records = list(read_episodes(tmp_path / "seed-0" / f"level-{level}" / "preferences"))
        assert row.even == sum(one["probabilities"][0] == 0.5 for one in records)
        assert row.answers.mean == 1.0
        assert row.reward_model.mean > 0.99
        best = [one.truth.mean for one in row.best_of]
        assert best == sorted(best)
        assert best[0] == pytest.approx(1 / 3, abs=0.05)
        assert best[-1] > 0.97
        assert [one.divergence for one in row.best_of][:2] == [0.0, math.log(2) - 1 / 2]
    json.dumps(result.to_json(), allow_nan=False)


def test_an_injected_error_grows(tmp_path):
    """Where each answer rests on two, about twice as many are wrong; the recursion without it has none."""
    result = reward_modeling(
        log_dir=tmp_path, human=EXACT, levels=2, judgements=400, inject=0.12, **{**SMALL, "seeds": 2, "test": 80}
    )
    low, high = result.growth
    assert (low.level, high.level) == (0, 1)
    assert low.plain == high.plain == 0.0
    assert 0.04 < low.injected < 0.3
    assert high.injected > 1.2 * low.injected
    assert high.ratio == pytest.approx(high.injected / low.injected) or high.ratio is None
    shared = [tmp_path / f"seed-{number}" / "injected" / "level-0" / "preferences" for number in (0, 1)]
    assert not any(folder.exists() for folder in shared)  # nobody was asked twice
    assert not (tmp_path / "seed-0" / "injected" / "level-0" / "preferences").exists()


def test_goodhart_with_a_human_who_likes_length_and_not_with_a_noisy_one(tmp_path):
    """Truth of the best of 128 against that of the best of 8, paired by task; intervals decide."""
    settings = {**SMALL, "levels": 1, "judgements": 500, "best_of": 128, "test": 80}
    biased = reward_modeling(log_dir=tmp_path / "b", human="proxy/length-biased(0.25,judge=bounded/1)", **settings)
    noisy = reward_modeling(log_dir=tmp_path / "n", human="proxy/noisy(0.1,judge=bounded/1)", **settings)
    (row,), (other,) = biased.rows, noisy.rows
    curve = [one.truth.mean for one in row.best_of]
    assert max(curve) > curve[0] + 0.1
    assert row.fall.high < 0.0
    assert [one.reward.mean for one in row.best_of] == sorted(one.reward.mean for one in row.best_of)
    assert row.times_longer > 1.2 > other.times_longer
    assert other.fall.mean > row.fall.high
    assert other.best_of[-1].truth.mean > row.best_of[-1].truth.high


# ---- stops ------------------------------------------------------------------------------------------------------


def killed(arguments, ready, seconds=120):
    """Run a command in a process of its own, and kill it as soon as something is so."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_anywhere_it_ends_the_same(tmp_path):
    settings = {"levels": 2, "judgements": 120, "inject": 0.2}
    words = [f"--{name}={value}" for name, value in settings.items()]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    reward_modeling(log_dir=whole, **settings, **SMALL)
    levels = stopped / "seed-0"

    def lines(path):
        return path.read_bytes().count(b"\n") if path.exists() else 0

    moments = [
        lambda: lines(levels / "level-0" / "preferences" / "episodes.jsonl") > 20,
        (levels / "level-0" / "reward_model" / "checkpoint.safetensors").exists,
        lambda: lines(stopped / "results.jsonl") == 1,  # between two levels
        lambda: lines(levels / "level-1" / "preferences" / "episodes.jsonl") > 5,
        (levels / "injected" / "level-1" / "agent" / "checkpoint.safetensors").exists,
    ]
    for moment in moments:
        killed(start(stopped, *words), moment)
        assert lines(stopped / "results.jsonl") < 4
    subprocess.run(start(stopped, *words, "--json"), check=True, capture_output=True)
    assert tree(stopped) == tree(whole)


# ---- people, refusals, what is printed --------------------------------------------------------------------------


def test_a_person_prefers_at_the_terminal(tmp_path):
    """Two sittings of a real process: what is judged is kept between them, and then it trains by itself."""
    words = start(tmp_path, "--levels=1", "--judgements=3", "--human=human", "--as=ada", "--plain")

    def sits(typed):
        return subprocess.run(words, input=typed, capture_output=True, text=True, check=True, timeout=300).stdout

    first = sits("A 90\n\n")
    assert "Item 1. 2 more wait." in first
    assert "The value is" in first
    assert "level 0: 1 of 3 judgements are given; the same command goes on" in first
    assert not (tmp_path / "results.jsonl").read_bytes()
    second = sits("A 80\n\n\nA 70\n\n\n")
    assert "Item 2" in second
    assert "reward model" in second
    stated = [sorted(one["probabilities"]) for one in read_episodes(tmp_path / "seed-0" / "level-0" / "preferences")]
    assert sorted(round(max(one), 6) for one in stated) == [0.7, 0.8, 0.9]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": 0}, "--levels 0: Input should be greater than or equal to 1"),
        ({"levels": 99}, "--levels 99: Input should be less than or equal to 8"),
        ({"arena": "arithmetic"}, "arithmetic: its tasks are not made of two halves each"),
        ({"arena": "permutation"}, "permutation: its tasks are not made of two halves each"),
        ({"inject_level": 3}, "--inject-level 3: there are 2 levels"),
        ({"inject": 1.5}, "--inject 1.5"),
        ({"human": "bounded/0"}, "bounded/K"),
        ({"human": "proxy/nosy(0.1)"}, "did you mean 'proxy/noisy'"),
        ({"reward_model": "structed"}, "did you mean 'structured'"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(tmp_path, changes, message):
    with pytest.raises(ConfigurationError) as raised:
        reward_modeling(log_dir=tmp_path / "none", **{"levels": 2, **SMALL, **changes})
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "none").exists()


def test_reward_models_are_found_by_name():
    makes, described = find_reward_model("structured")
    assert described == {"kind": "structured"}
    assert isinstance(makes(TASKS, None), StructuredRewardModel)
    with pytest.raises(UnknownName, match="hf/FOLDER"):
        find_reward_model("hf")


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("oversight.training.students.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'scalable-oversight\[training\]'"):
        reward_modeling(log_dir=tmp_path / "none", levels=1, **SMALL)
    assert not (tmp_path / "none").exists()


def test_the_table_fits_and_the_folder_is_its_own(tmp_path, capsys):
    words = start(tmp_path / "mine", "--levels=2", "--judgements=60", "--inject=0.2")[3:]
    assert command([*words, "--plot", str(tmp_path / "curves.png")]) == 0
    printed = capsys.readouterr().out
    assert "1 injected" in printed
    assert "growth" in printed
    assert "…" not in printed
    tables = [line for line in printed.splitlines() if line.startswith(("level ", "0", "1", "──"))]
    assert len(tables) >= 8
    assert all(len(line) <= 80 for line in tables if not line.startswith("1 recursion"))
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert command([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["level"] for one in found["levels"]] == [0, 1, 0, 1]
    with pytest.raises(RunDirectoryError):
        reward_modeling(log_dir=tmp_path / "mine", levels=1, **SMALL)
