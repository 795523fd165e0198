"""Iterated amplification: the four processes, that truth is out of their reach, that it learns, resumes and refuses."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import oversight
from oversight.arenas.permutation import Permutation, reached
from oversight.cli import main
from oversight.errors import ConfigurationError, DataError, MissingExtra, RunDirectoryError
from oversight.report.amplification_report import plot_amplification, print_amplification
from oversight.training import amplification_experiment
from oversight.training import students as students_module
from oversight.training.amplification_experiment import (
    CHECKPOINT,
    Amplification,
    AmplificationSettings,
    amplification,
    load_learner,
    sizes,
    true_answers,
)

torch = pytest.importorskip("torch")

from oversight.training.amplification import (  # noqa: E402 - torch first
    Demonstrator,
    Forgetful,
    Slipping,
    amplify,
    drawn_permutations,
    drawn_questions,
    imitate,
)
from oversight.training.amplification_networks import Imitator, Questions  # noqa: E402

TINY = {"points": 7, "power": 4, "steps": 300, "demonstrations": 320, "every": 50, "test": 40}
BRIEF = {**TINY, "steps": 24, "every": 8, "demonstrations": 64, "permutations": 4}


class Exact:
    """Answers sub-questions as they are to be answered."""

    def answers(self, questions, generator=None):
        return true_answers(questions._replace(powers=questions.powers.clamp(min=1)))


def some(count=200, points=11, power=9, seed=0):
    return drawn_questions(torch.Generator().manual_seed(seed), count, 3, points, power)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("amplification") / "tiny"
    return amplification(log_dir=folder, **TINY)


# ---- the overseer ---------------------------------------------------------------------------------


@given(points=st.integers(4, 12), data=st.data())
@settings(max_examples=40, deadline=None)
def test_the_overseer_with_true_answers_to_its_sub_questions_is_right(points, data):
    """For every permutation, power and start; and what is true here is what the arena says."""
    order = data.draw(st.permutations(range(points)))
    power = data.draw(st.integers(1, 40))
    images = torch.empty(1, points, dtype=torch.long)
    images[0, order] = torch.tensor([*order[1:], order[0]])
    questions = Questions(images, torch.full((1, points), power), torch.arange(points).unsqueeze(0))
    arena = [reached([one + 1 for one in images[0].tolist()], start + 1, power)[-1] - 1 for start in range(points)]
    assert true_answers(questions)[0].tolist() == arena
    assert amplify(Demonstrator(), Exact(), questions).concluded[0].tolist() == arena


def test_the_second_sub_question_starts_where_the_first_answer_is():
    questions = some()
    consulted = amplify(Demonstrator(), Exact(), questions)
    asked = questions.powers > 1
    assert (consulted.points[..., 1][asked] == consulted.answers[..., 0][asked]).all()
    assert (consulted.powers[..., :2] == (questions.powers // 2).unsqueeze(-1)).all()
    none = questions.images.shape[1]
    assert (consulted.answers[~asked] == none).all()
    assert not (consulted.answers[asked] == none).any()


def test_slips_are_in_a_share_of_the_demonstrations_and_one_in_each():
    questions = some(2000)
    slipping = Slipping(Demonstrator(), 0.2, torch.Generator().manual_seed(1))
    consulted = amplify(slipping, Exact(), questions)
    slips = torch.stack(
        [
            Demonstrator().act(questions, consulted.answers, stage).points != consulted.points[..., stage]
            for stage in range(3)
        ],
        dim=-1,
    ).sum(-1)
    assert slips.max() == 1
    assert slips.double().mean() == pytest.approx(0.2, abs=0.02)


def test_a_forgetful_overseer_errs_more_the_larger_the_power():
    questions = some(2000)
    images = torch.where(torch.arange(11) < 2, torch.arange(11), questions.images)

    class Same:
        def answers(self, asked, generator=None):
            return true_answers(asked._replace(images=images, powers=asked.powers.clamp(min=1)))

    wrong = amplify(Forgetful(2), Same(), questions).concluded != true_answers(questions)
    shares = [wrong[questions.powers == power].double().mean().item() for power in (1, 4, 9)]
    # Right where none of the points passed is one of the two: hypergeometric, as a cycle passes each point once.
    assert shares[0] == pytest.approx(2 / 11, abs=0.05)
    assert shares[1] == pytest.approx(1 - (7 * 6) / (11 * 10), abs=0.06)
    assert shares[2] == pytest.approx(1 - (2 * 1) / (11 * 10), abs=0.04)


def test_training_and_test_share_no_permutation():
    generator = torch.Generator().manual_seed(0)
    parts = [drawn_permutations(generator, 3000, 6, held_out=held_out) for held_out in (False, True)]
    train, test = ({tuple(one) for one in part.tolist()} for part in parts)
    assert not train & test
    assert len(train) + len(test) == 120  # all cycles of 6 points are in one of them


def test_the_imitator_learns_the_overseer_exactly():
    torch.manual_seed(0)
    imitator = Imitator(6, 5, 32)
    optimiser = torch.optim.Adam(imitator.parameters(), lr=1e-2)
    shown = amplify(Demonstrator(), Exact(), some(64, 6, 5))
    for _ in range(120):
        imitate(imitator, optimiser, shown)
    images = drawn_permutations(torch.Generator().manual_seed(5), 20, 6, held_out=True)
    everything = Questions(images, torch.arange(1, 6).repeat(20, 6), torch.arange(6).repeat_interleave(5).repeat(20, 1))
    with_h, with_imitator = (amplify(one, Exact(), everything) for one in (Demonstrator(), imitator))
    assert (with_h.concluded == with_imitator.concluded).all()
    assert (with_h.powers == with_imitator.powers).all()


# ---- the whole ------------------------------------------------------------------------------------


def test_it_learns_what_no_demonstration_shows_and_nobody_checks(trained):
    largest = (4, 4)
    means = {
        name: trained.accuracy(arm, player, largest).mean for name, arm, player in amplification_experiment.PLAYERS
    }
    assert means["learner"] > 0.8
    assert means["supervised"] > 0.8
    assert means["alone"] < 0.45
    assert trained.accuracy("alone", "learner", (1, 1)).mean > 0.9  # what it was shown it knows
    assert trained.last("amplification")[0]["demonstrations"] == 320


def test_easy_questions_are_right_first(trained):
    rows = [row for row in trained.curves if row["arm"] == "amplification"]

    def first(power):
        return next(row["step"] for row in rows if row["learner"][power - 1] > 0.7)

    assert first(1) <= first(2) <= first(4)
    assert first(1) < rows[-1]["step"]


def test_no_true_answer_reaches_amplification(tmp_path, monkeypatch):
    """With another truth, nothing of X, H' or the demonstrations is different; the ceiling is."""

    def weights(folder, arm):
        tensors, _ = amplification_experiment._read_checkpoint(folder / "seed-0" / arm / CHECKPOINT)
        return {name: value.tolist() for name, value in tensors.items()}

    amplification(log_dir=tmp_path / "true", **BRIEF)
    monkeypatch.setattr(amplification_experiment, "true_answers", lambda questions: questions.starts)
    amplification(log_dir=tmp_path / "false", **BRIEF)
    for arm, same in (("amplification", True), ("alone", True), ("supervised", False)):
        assert (weights(tmp_path / "true", arm) == weights(tmp_path / "false", arm)) is same


def test_the_accuracies_are_those_of_the_last_measurement(trained):
    row = trained.last("amplification")[0]
    for power in range(1, 5):
        estimate = trained.accuracy("amplification", "learner", (power, power))
        assert estimate.mean == pytest.approx(row["learner"][power - 1])
        assert estimate.low <= estimate.mean <= estimate.high
    pooled = trained.accuracy("amplification", "learner", (2, 3))
    drawn = {tuple(images) for images in amplification_experiment.test_questions(trained.settings).images.tolist()}
    assert (pooled.n, pooled.clusters) == (80, len(drawn))
    assert len(drawn) < 40  # of few points: some permutations were drawn again


def test_sizes_are_powers_that_take_as_many_halvings():
    assert sizes(16) == [(1, 1), (2, 3), (4, 7), (8, 15), (16, 16)]
    assert sizes(5) == [(1, 1), (2, 3), (4, 5)]


# ---- resuming -------------------------------------------------------------------------------------


def _words(folder):
    options = [word for name, value in {**BRIEF, "steps": 120}.items() for word in (f"--{name}", str(value))]
    return ["train", "amplification", *options, "--log-dir", str(folder)]


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path):
    """Killed twice, at places that nobody chose; results and checkpoints are those of a training left alone."""
    code = "import sys; from oversight.cli import main; sys.exit(main(sys.argv[1:]))"
    killed = tmp_path / "killed"
    results = killed / "results.jsonl"
    for wanted in (5, 19):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *_words(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and (not results.exists() or results.read_bytes().count(b"\n") < wanted):
            time.sleep(0.005)
        time.sleep(random.Random(wanted).random() / 20)
        assert process.poll() is None, "it ended before it was killed"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert main(_words(killed)) == 0
    assert main(_words(tmp_path / "whole")) == 0
    assert results.read_bytes() == (tmp_path / "whole" / "results.jsonl").read_bytes()
    for arm in amplification_experiment.ARMS:
        one, other = (folder / "seed-0" / arm / CHECKPOINT for folder in (killed, tmp_path / "whole"))
        assert one.read_bytes() == other.read_bytes()


def test_a_finished_training_is_not_done_again(trained, monkeypatch):
    monkeypatch.setattr(amplification_experiment._Arm, "_take_step", None)
    again = amplification(log_dir=trained.folder, **TINY)
    assert again.curves == trained.curves


def test_a_measurement_that_a_crash_lost_is_made_again(tmp_path):
    whole = amplification(log_dir=tmp_path, **BRIEF)
    path = tmp_path / "results.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) + lines[-1][:20])
    assert amplification(log_dir=tmp_path, **BRIEF).curves == whole.curves


# ---- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"points": 8, "power": 8}, "--points 8: give more than the largest power, 8"),
        ({"human_error": 1.5}, "--human-error 1.5: Input should be less than or equal to 1"),
        ({"mistakes": "other"}, "--mistakes other: Input should be 'slips' or 'forgets'"),
        ({"steps": 0}, "--steps 0: "),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(tmp_path, given, message):
    with pytest.raises(ConfigurationError, match=message):
        amplification(log_dir=tmp_path / "new", **given)
    assert not (tmp_path / "new").exists()


def test_a_folder_of_another_training_is_refused(trained):
    with pytest.raises(RunDirectoryError, match=r"settings\.seed: 0 there, 1 here"):
        amplification(log_dir=trained.folder, **TINY, seed=1)


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(students_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'scalable-oversight\[training\]'"):
        amplification(log_dir=tmp_path / "new")


def test_a_damaged_checkpoint_is_refused(tmp_path):
    amplification(log_dir=tmp_path, **BRIEF)
    path = tmp_path / "seed-0" / "supervised" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="is no checkpoint of this training"):
        amplification(log_dir=tmp_path, **BRIEF)


# ---- at the table ---------------------------------------------------------------------------------


def test_the_learner_takes_a_seat_in_its_arena(trained, tmp_path):
    """As a judge of questions that it was trained for it is as right as it was measured; of others it is unscored."""
    name = f"learner/{trained.folder}"
    result = oversight.run("direct", Permutation(points=7, power=4), judge=name, limit=40, log_dir=tmp_path / "fit")
    rows = list(result.episodes())
    right = [row["probabilities"][row["correct"]] for row in rows]
    assert len(rows) >= 40
    assert sum(one > 0.5 for one in right) / len(right) > 0.8
    other = oversight.run("direct", Permutation(points=9, power=4), judge=name, limit=2, log_dir=tmp_path / "unfit")
    assert {row["status"] for row in other.episodes()} == {"unscored"}


def test_its_identity_is_its_weights_and_not_its_folder(trained, tmp_path):
    arena = Permutation()
    agent = arena.agent(f"learner/{trained.folder}")
    moved = tmp_path / "moved"
    shutil.copytree(trained.folder / "seed-0" / "amplification", moved)
    assert arena.agent(f"learner/{moved}").describe() == agent.describe()
    ceiling = arena.agent(f"learner/{trained.folder}/seed-0/supervised")
    assert ceiling.describe() != agent.describe()
    assert load_learner(trained.folder)[2] == agent.describe()["weights"]
    with pytest.raises(ConfigurationError, match="no learner in it"):
        arena.agent(f"learner/{tmp_path}")


# ---- report ---------------------------------------------------------------------------------------


def _made_up(**settings):
    chosen = AmplificationSettings(points=5, power=4, steps=10, test=2, demonstrations=1234, **settings)
    curves = []
    for arm in amplification_experiment.ARMS:
        right = {"learner": [[1, 1, 0, 1], [1, 0, 0, 1]]}
        row = {"seed": 0, "arm": arm, "step": 10, "learner": [1.0, 0.5, 0.0, 1.0]}
        if arm == "amplification":
            right["amplified"] = [[1, 1, 1, 1], [1, 1, 1, 1]]
            row |= {"amplified": [1.0] * 4, "agreement": 0.975, "demonstrations": 1234}
        curves.append({**row, "right": right})
    return Amplification(chosen, amplification_experiment.Path("logs/x"), tuple(curves))


def test_the_report_says_what_was_measured_within_80_columns():
    out = Console(width=80, record=True, file=io.StringIO(), color_system=None)
    print_amplification(_made_up(human_error=0.2, mistakes="forgets"), out)
    text = out.export_text()
    assert all(len(line) <= 80 for line in text.splitlines())
    table = text[: text.index("H gave")].splitlines()
    assert [line.split()[:2] for line in table if line.strip()[:1].isdigit()] == [
        ["1", "100.0"],
        ["2–3", "100.0"],
        ["4", "100.0"],
    ]
    assert "25.0 (" in text  # X on powers 2 and 3
    assert "H gave 1,234 demonstrations; it always forgets to apply sigma to 1 of 5 points" in text
    assert "H' does all that H would in 97.5 % of the test's questions" in text
    assert "chance is 20.0 %" in text


def test_the_command_prints_json_and_draws(trained, tmp_path, capsys):
    picture = tmp_path / "amplification.png"
    options = [word for name, value in TINY.items() for word in (f"--{name}", str(value))]
    words = ["train", "amplification", *options, "--log-dir", str(trained.folder), "--json", "--plot", str(picture)]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"][2]["powers"] == [4, 4]
    assert found["accuracy"][2]["learner"]["mean"] == trained.accuracy("amplification", "learner", (4, 4)).mean
    assert len(found["curves"]) == 3 * 6
    assert picture.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigurationError, match=r"a picture is a \.png or a \.svg file"):
        plot_amplification(trained, tmp_path / "a.gif")
