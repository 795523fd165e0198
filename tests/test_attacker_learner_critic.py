"""Attacker, learner and critic: the loop exactly, what each role sees, resuming, collapse, and that it shows."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oversight.agents import ScriptedAgent
from oversight.analysis.attack import arm_reports, difference
from oversight.cli import main
from oversight.errors import ConfigurationError, TurnFailed, UnknownName
from oversight.models.openai_compatible import ModelOptions
from oversight.registry import find_agent, find_arena
from oversight.report.preferences import PREFERENCE_COLUMNS
from oversight.requests import Speak
from oversight.training.attacker_learner_critic import attacker_learner_critic
from oversight.training.queries import diversity, normal_form, read_queries, understood
from oversight.views import View, VisibleTurn

pytest.importorskip("torch")

HERE = Path(__file__).parent
SMALL = "arithmetic(depth=2, shape=ragged)"


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


endpoint = _load("endpoint")


def lines(folder):
    return [json.loads(line) for line in (Path(folder) / "results.jsonl").read_text().splitlines() if line]


class Role(ScriptedAgent):
    """Says what a function of the view gives, and keeps the views."""

    def __init__(self, name, says):
        super().__init__(name, says)
        self.views = []

    async def speak(self, request):
        self.views.append(request.view)
        return await super().speak(request)


# ---- what is asked and read ---------------------------------------------------------------------


def test_queries_are_numbered_lines_and_the_arena_sets_their_bounds():
    read = read_queries("Sure!\n1. What is 2 + 3? (from 12)\n (2) What is 5 * 4?\n3: no question\n4. more", 3)
    assert [(one.text, one.parent) for one in read] == [
        ("What is 2 + 3?", 12),
        ("What is 5 * 4?", None),
        ("no question", None),
    ]
    arena = find_arena("arithmetic(depth=2, operators='+-', largest=9)")
    reasons = {
        "What is 2 + 3?": "",
        "What is ((2 + 3) - 4)?": "unreadable",
        "What is (2 + 3) - (1 + 9)?": "",
        "What is (2 + 3) - ((1 + 9) + 1)?": "out of bounds",
        "What is 2 + 10?": "out of bounds",
        "What is 2 + 0?": "out of bounds",
        "What is 2 * 3?": "out of bounds",
        "What is 2?": "unreadable",
        "__import__('os')": "unreadable",
    }
    assert {text: understood(arena, text)[1] for text in reasons} == reasons
    spellings = [understood(arena, text)[0] for text in ("What is 2 + 3?", "What is  02+3 ?", " What is 2  +3?")]
    assert len({normal_form(part) for part in spellings}) == 1


def test_diversity_is_that_of_the_formulas():
    one = diversity(["What is 1 + 2?", "What is 1 + 2?", "What is 3 * 2?", "What is (3 * 2) - 4?"])
    assert one.distinct_1 == 12 / 28  # What is ( 1 2 3 4 + * - ) ? in three times six words and once ten
    assert one.forms == 3
    assert one.entropy == pytest.approx(-(0.5 * math.log2(0.5) + 2 * 0.25 * math.log2(0.25)))
    assert diversity([]).distinct_2 is None


CRITIQUES = [
    # what the learner says, what bounded/K then writes
    (1000, "Step 1: 3 + 4 = 8\nStep 2: (3 + 4) * 2 = 16\nAnswer: 16", "wrong", "14"),
    (1000, "Answer: 14", "right", None),
    (2, "Answer: 15", "wrong", "14"),
    (1, "Step 1: 3 + 4 = 7\nStep 2: (3 + 4) * 2 = 14\nAnswer: 14", "right", None),
]


@pytest.mark.parametrize(("budget", "said", "verdict", "answer"), CRITIQUES)
def test_a_bounded_critic_checks_what_it_can(budget, said, verdict, answer):
    from oversight.training.loop_roles import read_verdict

    assert read_verdict(_criticism(budget, said)) == (verdict, answer)


def _criticism(budget, said, seed=0):
    arena = find_arena(SMALL)
    part = arena.part("What is (3 + 4) * 2?")
    turns = (VisibleTurn("Learner", None, said),)
    view = View(
        "critic", "Critic", "", "", "What is (3 + 4) * 2?", (), (), None, (), structure=part.structure, turns=turns
    )
    request = Speak(view, seed=seed, form="critique")
    return asyncio.run(arena.agent(f"bounded/{budget}").speak(request)).text


def test_a_critic_of_one_check_finds_one_of_two_steps():
    """The mistake is in the first step, which carries through: the second follows, so it depends on what is checked."""
    said = "Step 1: 3 + 4 = 8\nStep 2: (3 + 4) * 2 = 16\nAnswer: 16"
    found = {_criticism(1, said, seed) for seed in range(30)}
    assert found == {
        "This does not follow. It should be:\nStep 1: 3 + 4 = 7\nVerdict: wrong",
        "I have checked 1 of 2 steps and found no mistake.\nVerdict: right",
    }


def test_names_of_the_arenas_agents_are_read_strictly():
    arena = find_arena(SMALL)
    with pytest.raises(UnknownName, match="did you mean 'exploration'"):
        find_agent("attacker/search(explorations=1)", arena)
    with pytest.raises(UnknownName, match="attacker/search"):
        find_agent("attacker/serch", arena)
    with pytest.raises(ConfigurationError, match="exploration: Input should be less than or equal to 1"):
        find_agent("attacker/search(exploration=2)", arena)


# ---- the loop, exactly --------------------------------------------------------------------------

WRITTEN = {
    1: "1. What is 8 * 9? (from 1)\n2. What is 9 * 7?\n3. What is 99 * 7?\n4. What is love?",
    2: "1. What is 8*9 ?\n2. What is 8 - 9?\n3. What is 6 * 9? (from 4)",
}


def scripted(**changes):
    """A learner that adds where it should multiply until it is told better, and a critic that knows products."""

    def attacks(view):
        number = 2 if any("8 * 9" in turn.text for turn in view.turns) else 1
        return WRITTEN[number]

    def learns(view):
        left, operator, right = re.fullmatch(r"What is (\d+) (.) (\d+)\?", view.question).groups()
        told = [turn.text for turn in view.turns if turn.speaker == "Critic" and not turn.own]
        if any("Of another question" not in text and "multiply" in text for text in told):
            return f"I see.\nAnswer: {int(left) * int(right)}"
        return f"Answer: {int(left) + int(right) if operator != '-' else int(left) - int(right)}"

    def criticises(view):
        if "*" not in view.question:
            return "Fine.\nVerdict: right"
        right = find_arena(SMALL).part(view.question).truth
        return "Good.\nVerdict: right" if right in view.turns[-1].text else "You must multiply.\nVerdict: wrong"

    roles = {"attacker": attacks, "learner": learns, "critic": criticises, **changes}
    return {name: Role(f"scripted {name}", says) for name, says in roles.items()}


def play(folder, roles, **options):
    chosen = {"rounds": 2, "queries": 4, "reserved": 0, "held_out": 5, "seed_questions": 3, **options}
    return attacker_learner_critic(
        "arithmetic(depth=1)",
        attacker=roles["attacker"],
        learner=roles["learner"],
        critics=[roles["critic"]],
        log_dir=folder,
        **chosen,
    )


def test_the_loop_exactly(tmp_path):
    roles = scripted()
    result = play(tmp_path / "a", roles)
    (arm,) = result.arms
    zero, one, two = arm.rounds
    assert (one.queries, dict(one.invalid)) == (4, {"out of bounds": 1, "unreadable": 1})
    assert (one.success.mean, one.fixed.mean, one.verdicts.mean, one.pairs, one.pairs_right) == (1, 1, 1, 2, 2)
    assert dict(two.invalid) == {"not written": 1, "asked before": 1}
    assert (two.success.mean, two.fresh) == (0.5, 2 / 3)
    assert zero.success.n == 0
    assert not result.trained
    items = {item["text"]: item for line in lines(tmp_path / "a") for item in line["items"]}
    assert {text: item["lineage"] for text, item in items.items()} == {
        "What is 8 * 9?": "seed 1",
        "What is 9 * 7?": "What is # * #?",
        "What is 8 - 9?": "What is # - #?",
        "What is 6 * 9?": "seed 1",
    }
    rows = [json.loads(row) for path in result.pairs for row in path.read_text().splitlines()]
    assert [(row["chosen"], row["rejected"]) for row in rows] == [
        ("I see.\nAnswer: 72", "Answer: 17"),
        ("I see.\nAnswer: 63", "Answer: 16"),
        ("I see.\nAnswer: 54", "Answer: 15"),
    ]
    assert all(tuple(row) == PREFERENCE_COLUMNS for row in rows)
    assert "What is 8 * 9?" in rows[0]["prompt"]
    assert "Of another question" in rows[2]["prompt"]  # as the learner read it, lessons included
    # Finished: nobody is asked again.
    again = scripted(learner=None, critic=None, attacker=None)
    for name, role in again.items():
        role.describe = roles[name].describe
    assert play(tmp_path / "a", again).arms == result.arms


def test_nobody_sees_the_truth(tmp_path):
    """Products, sums and differences of what is asked are in no view before somebody in the loop has said them."""
    roles = scripted(critic=lambda view: "Something is off.\nVerdict: wrong")
    play(tmp_path / "a", roles)
    items = [item for line in lines(tmp_path / "a") for item in line["items"]]
    truths = {item["text"]: item["truth"] for item in items if "*" in item["text"]}
    assert truths == {"What is 8 * 9?": "72", "What is 9 * 7?": "63", "What is 6 * 9?": "54"}
    for role in roles.values():
        assert role.views
        for view in role.views:
            shown = json.dumps([view.rules, view.instructions, view.task, view.question, dict(view.structure)])
            shown += " ".join(turn.text for turn in view.turns)
            assert not view.material
            for truth in truths.values():
                assert not re.search(rf"\b{truth}\b", shown), (role.name, truth, shown)
    records = [turn.text for view in roles["attacker"].views for turn in view.turns]
    assert "What is 8 * 9? - answered wrong" in records[-1]
    assert "did not count, out of bounds: What is 99 * 7?" in records[-1]
    held_out = {one.text for one in find_arena("arithmetic(depth=1)").questions(5, 0)}
    assert not any(text in record for record in records for text in held_out)


def test_pairs_by_truth_prefer_the_right_answer_whatever_the_critic_says(tmp_path):
    roles = scripted(critic=lambda view: "You must multiply, perhaps.\nVerdict: right")
    result = play(tmp_path / "a", roles, labels="truth")
    rows = [json.loads(row) for path in result.pairs for row in path.read_text().splitlines()]
    assert [row["chosen"].split()[-1] for row in rows] == ["72", "63", "-1", "54"]
    assert {row["how"] for row in rows} == {"refined by truth"}
    by_critic = play(tmp_path / "b", scripted(critic=lambda view: "You must multiply, perhaps.\nVerdict: right"))
    assert not by_critic.pairs


def test_what_cannot_be_read_is_unscored_and_counts_for_nothing(tmp_path):
    roles = scripted(
        learner=lambda view: "I would\nrather not." if "8 * 9" in view.question else "Answer: 63",
        critic=lambda view: "Hm.",
    )
    (arm,) = play(tmp_path / "a", roles, rounds=1).arms
    one = arm.rounds[1]
    assert (one.success.n, one.success.unscored, one.success.mean) == (1, 1, 0.0)
    assert (one.verdicts.n, one.verdicts.unscored, one.balanced) == (0, 1, None)
    silent = scripted(attacker=lambda view: "I have no idea.")
    (arm,) = play(tmp_path / "b", silent, rounds=1).arms
    assert dict(arm.rounds[1].invalid) == {"not written": 4}
    assert arm.rounds[1].success.n == 0
    assert arm.rounds[1].fresh is None


def test_what_is_refused(tmp_path):
    roles = scripted()
    with pytest.raises(ConfigurationError, match="permutation reads no questions that somebody makes up"):
        attacker_learner_critic("permutation", learner="bounded/3", attacker=roles["attacker"], log_dir=tmp_path / "a")
    with pytest.raises(ConfigurationError, match="neither people nor cascades"):
        attacker_learner_critic(critics=["human"], log_dir=tmp_path / "b")
    with pytest.raises(ConfigurationError, match="--reserved 1"):
        attacker_learner_critic(reserved=1, log_dir=tmp_path / "c")


# ---- language models in every role --------------------------------------------------------------


def test_language_models_in_every_role(tmp_path, capsys):
    """A real endpoint: prompts, the journal, a failed call that is owed, and nothing paid twice."""
    replies = {
        "by_words": [
            ["Write 2 questions", {"text": "1. What is 8 * 9? (from 1)\n2. What is 80 * 9?"}],
            ["check the learner's answer", {"text": "Eight nines.\nAnswer: 72\nVerdict: wrong"}],
            ["A critic has read your answer", {"text": "Answer: 72"}],
            ["Answer the question now", {"text": "Answer: 71"}],
        ]
    }
    broken = {
        "by_words": [
            *replies["by_words"][:1],
            ["check the learner's answer", {"status": 400, "json": {"error": {"message": "no"}}}],
            *replies["by_words"][2:],
        ]
    }
    with endpoint.running() as served:
        options = {"vllm/m": ModelOptions(base_url=served.base_url, max_retries=0)}

        def go(**more):
            return attacker_learner_critic(
                "arithmetic(depth=1)",
                attacker="vllm/m",
                learner="vllm/m",
                critics=["vllm/m"],
                options=options,
                log_dir=tmp_path / "a",
                **{"rounds": 1, "queries": 2, "reserved": 0, "held_out": 4, "seed_questions": 3, **more},
            )

        served.answer(then=broken)
        with pytest.raises(TurnFailed, match=r"round 1 with vllm/m: 1 calls failed .*repeat the command"):
            go()
        asked = served.bodies()
        assert [line["round"] for line in lines(tmp_path / "a")] == [0]
        served.answer(then=replies)
        result = go()
        again = served.bodies()
        answered = [one for one in asked if "check the learner" not in one["messages"][-1]["content"]]
        paid = {json.dumps(body["messages"]) for body in answered}
        assert not {json.dumps(body["messages"]) for body in again} & paid
        served.answer(then=replies)
        assert go().arms == result.arms
        assert served.bodies() == []
    (arm,) = result.arms
    one = arm.rounds[1]
    assert (one.success.mean, one.fixed.mean, dict(one.invalid)) == (1.0, 1.0, {"out of bounds": 1})
    prompts = {body["messages"][-1]["content"] for body in (*asked, *again)}
    attack = next(text for text in prompts if "Write 2 questions" in text)
    assert "1. What is" in attack
    assert "to begin with" in attack
    learnt = [text for text in prompts if "Of another question" in text]
    assert learnt  # held-out questions are answered with the lesson in context
    assert all("Answer: 72\nVerdict: wrong" in text for text in learnt)
    # The truth stands in no prompt but in the words of those who said it.
    assert all("72" not in re.sub(r"<turn.*?</turn>", "", text, flags=re.DOTALL) for text in prompts)


def test_failed_items_are_left_where_that_is_asked_for(tmp_path):
    def criticises(view):
        raise TurnFailed("the line is dead")

    with pytest.raises(TurnFailed, match="the line is dead"):
        play(tmp_path / "a", scripted(critic=criticises))
    (arm,) = play(tmp_path / "a", scripted(critic=criticises), leave_failed=True).arms
    assert [one.failed for one in arm.rounds] == [0, 2, 2]
    assert [one.verdicts.n for one in arm.rounds] == [0, 0, 0]
    assert arm.rounds[1].success.mean == 1.0


# ---- the structured instance --------------------------------------------------------------------


@pytest.fixture(scope="module")
def structured(tmp_path_factory):
    """Weak and strong critic before the small network."""
    folder = tmp_path_factory.mktemp("loops")
    return attacker_learner_critic(critics=["bounded/1", "bounded/3"], rounds=5, log_dir=folder / "a", held_out=80)


def test_attacks_fail_more_and_accuracy_rises(structured):
    weak, strong = structured.arms
    first, last = strong.rounds[0], strong.rounds[-1]
    assert first.held_out.high < 0.3
    assert last.held_out.low > first.held_out.high + 0.2
    assert last.success.high < strong.rounds[3].success.low
    assert all(one.balanced is None or one.balanced == 1.0 for one in strong.rounds)  # it can do all three operations
    assert max(one.balanced for one in weak.rounds if one.balanced is not None) < 1.0
    assert weak.rounds[-1].held_out.mean < last.held_out.mean
    # Nothing differs before a critic has spoken.
    assert weak.rounds[0] == strong.rounds[0]
    assert weak.rounds[1].success == strong.rounds[1].success
    assert not strong.warnings


def test_right_criticism_predicts_that_an_answer_is_put_right(structured):
    found = {one.what: one for one in structured.predictions}
    fixed = found["wrong put right: verdict right - wrong"]
    assert fixed.low > 0
    assert "3 are needed" in found["held-out gain per accuracy of verdicts"].reason


def test_without_exploration_the_attacker_collapses(tmp_path):
    result = attacker_learner_critic(
        attacker="attacker/search(exploration=0)", critics=["bounded/3"], rounds=1, log_dir=tmp_path, held_out=40
    )
    (arm,) = result.arms
    assert len(arm.warnings) == 1
    assert arm.warnings[0].startswith("collapse in round 1: its forms are as diverse as")
    assert arm.rounds[1].diversity.forms <= 2  # those of the seeds


def test_a_killed_loop_goes_on_to_the_same_end(tmp_path, capsys, monkeypatch):
    options = ["--rounds", "10", "--queries", "20", "--held-out", "20", "--learner", "learner/network(steps=60)"]
    command = [sys.executable, "-m", "oversight.cli", "train", "attacker_learner_critic", *options, "--log-dir"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        [*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    kept = tmp_path / "killed" / "results.jsonl"
    deadline = time.monotonic() + 120
    while not (kept.exists() and kept.read_bytes().count(b"\n") >= 2):
        assert started.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.3)  # into the next round
    started.send_signal(signal.SIGKILL)
    started.wait()
    assert kept.read_bytes().count(b"\n") < 11
    with kept.open("ab") as file:
        file.write(b'{"critic": "bounded/2", "se')
    monkeypatch.setenv("COLUMNS", "80")
    outputs = []
    for name in ("killed", "whole"):
        assert main([*command[3:], str(tmp_path / name)]) == 0
        outputs.append(capsys.readouterr().out.replace(f"/{name}/", "/NAME/"))
    assert outputs[0] == outputs[1]
    resumed = [json.loads(line) for line in kept.read_text().splitlines() if line.endswith("}")]
    assert resumed == lines(tmp_path / "whole")
    assert all(len(line) <= 80 for line in outputs[0].splitlines() if "│" in line or re.match(r"^\d+ +\d", line))


def test_the_report_and_the_picture(tmp_path, capsys, structured):
    from rich.console import Console

    from oversight.report.attacker_learner_critic_report import plot_loops, predictions_table, rounds_table

    out = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    for arm in structured.arms:
        out.print(rounds_table(arm))
    out.print(predictions_table(structured.predictions))
    out.file.close()
    text = out.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    plot_loops(structured, tmp_path / "loop.png")
    plot_loops(structured, tmp_path / "again.png")
    assert (tmp_path / "loop.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    json.dumps(structured.to_json(), allow_nan=False)


# ---- what is stated -----------------------------------------------------------------------------


def test_no_difference_is_stated_without_data_or_variance():
    some = [(1.0, number) for number in range(12)]
    assert "needed on either side" in difference("x", some, some[:9]).reason
    assert "needed on either side" in difference("x", some, [(0.0, 1)] * 20).reason
    assert difference("x", some, some).reason == "all items came out the same"
    found = difference("x", some, [(0.0, number) for number in range(12)])
    assert (found.effect, found.reason) == (1.0, "")
    assert 0.3 < found.low < 0.9  # shares of 1 and 0 keep an interval


def test_the_gain_over_loops_is_the_mean_of_the_seeds_slopes():
    from oversight.analysis.attack import predictions

    def loop(seed, critic, right, gain):
        items = [
            {"critique": "", "right": False, "verdict": "wrong" if place < right else "right", "lineage": str(place)}
            for place in range(10)
        ]
        ends = [[1] * 10 + [0] * 90, [1] * (10 + gain) + [0] * (90 - gain)]
        return [
            {"critic": critic, "seed": seed, "round": number, "items": items if number else [], "held_out": end}
            for number, end in enumerate(ends)
        ]

    made = [(0, "a", 5, 10), (0, "b", 10, 35), (1, "a", 6, 20), (1, "b", 10, 44), (2, "a", 5, 30), (2, "b", 9, 46)]
    results = [line for one in made for line in loop(*one)]
    found = predictions(results, trained=True)[-1]
    slopes = [0.25 / 0.5, 0.24 / 0.4, 0.16 / 0.4]
    assert found.effect == pytest.approx(sum(slopes) / 3)
    spread = math.sqrt(sum((one - 0.5) ** 2 for one in slopes) / 2 / 3)
    assert found.high - found.effect == pytest.approx(4.302653 * spread, rel=1e-5)
    assert predictions(results, trained=False)[-1].what != found.what
    assert arm_reports([], {}) == ()
