"""The multiple_choice arena: every layout, every error, made wrong answers, recorded solutions, and the real files."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import subprocess
import sys
import types
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oversight
from oversight.agents import ScriptedAgent
from oversight.analysis.accuracy import clustered_mean
from oversight.arenas.multiple_choice import MultipleChoice
from oversight.distractors import BLIND_RULES, filled_options, shared_options
from oversight.errors import ConfigurationError, DataError, MissingExtra, TurnFailed, UnknownName
from oversight.questions import take_answers
from oversight.requests import Choose, Speak
from oversight.views import Answer, View, VisibleTurn

MMLU = {"question": "Why?", "subject": "law", "choices": ["a", "b", "c", "d"], "answer": 2}
GPQA = {
    "Record ID": "rec1",
    "Question": "Why?",
    "Correct Answer": "yes\n",
    "Incorrect Answer 1": "no",
    "Incorrect Answer 2": "maybe",
    "Incorrect Answer 3": "never",
    "Explanation": "Because.",
    "Subdomain": "Optics",
}
TRUTHFUL = {"question": "Why?", "mc1_targets": {"choices": ["yes", "no", "maybe"], "labels": [1, 0, 0]}}
BOOLQ = {"question": "is it so", "passage": "It is so.", "answer": True}
ARC = {
    "id": "Mercury_1",
    "question": "Why?",
    "choices": {"text": ["a", "b", "c"], "label": ["1", "2", "3"]},
    "answerKey": "3",
}
BENCH = {"input": "Which?\nOptions:\n(A) one thing\n(B) another", "target": "(B)"}


def write(path: Path, *entries) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return path


def write_table(path: Path, *rows, delimiter=",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def ask(path, **options):
    return list(MultipleChoice(data=str(path), **options).questions(None, 1))


def one(path, **options):
    (question,) = ask(path, **options)
    return question


def right(question) -> str:
    return question.answers[question.correct]


def failure(path, **options) -> str:
    with pytest.raises((DataError, ConfigurationError)) as caught:
        ask(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---- the field's layouts, in small ------------------------------------------------------------------------------


def test_mmlu_as_the_dataset_and_as_the_authors_files_have_it(tmp_path):
    question = one(write(tmp_path / "x.jsonl", MMLU))
    assert (question.text, question.answers, right(question), question.hidden) == (
        "Why?",
        ("a", "b", "c", "d"),
        "c",
        {},
    )
    assert question.id.startswith("mmlu/law/")
    folder = tmp_path / "test"
    folder.mkdir()
    write_table(folder / "law_test.csv", ["Why, then?", "a", "b", "c", "d", "B"], ["Who?", "e", "f", "g", "h", "A"])
    write_table(folder / "art_test.csv", ["When?", "a", "b", "c", "d", "D"])
    questions = ask(folder)
    assert {(q.text, right(q), q.source) for q in questions} == {
        ("Why, then?", "b", "law"),
        ("Who?", "e", "law"),
        ("When?", "d", "art"),
    }
    flat = write_table(
        tmp_path / "flat.csv", ["input", "A", "B", "C", "D", "target"], ["Why?", "a", "b", "c", "d", "C"]
    )
    assert right(one(flat)) == "c"
    cells = write_table(tmp_path / "c.csv", ["question", "choices", "answer"], ["Why?", '["a", "b"]', "1"])
    assert right(one(cells)) == "b"


def test_gpqa(tmp_path):
    path = write_table(tmp_path / "gpqa_main.csv", list(GPQA), list(GPQA.values()))
    question = one(path)
    assert (question.id, right(question)) == ("gpqa/Optics/rec1", "yes")
    assert sorted(question.answers) == ["maybe", "never", "no", "yes"]
    assert "Because" not in json.dumps(question.to_dict())


def test_truthfulqa_in_its_three_forms(tmp_path):
    for number, targets in enumerate((TRUTHFUL["mc1_targets"], {"yes": 1, "no": 0, "maybe": 0})):
        question = one(write(tmp_path / f"{number}.jsonl", TRUTHFUL | {"mc1_targets": targets}))
        assert (right(question), sorted(question.answers)) == ("yes", ["maybe", "no", "yes"])
    table = write_table(
        tmp_path / "TruthfulQA.csv",
        ["Type", "Category", "Question", "Best Answer", "Correct Answers", "Incorrect Answers", "Source"],
        ["x", "Law", "Why?", "yes", "yes; indeed", "no; maybe", "http"],
        ["x", "Art", "Who?", "me", "me", "you", "http"],
    )
    assert {(q.text, right(q), len(q.answers), q.source) for q in ask(table)} == {
        ("Why?", "yes", 3, "Law"),
        ("Who?", "me", 2, "Art"),
    }


def test_the_order_does_not_tell_where_the_layout_has_the_right_answer_first(tmp_path):
    entries = [TRUTHFUL | {"question": f"Question {number}?"} for number in range(300)]
    places = Counter(question.correct for question in ask(write(tmp_path / "x.jsonl", *entries)))
    assert all(75 < places[place] < 125 for place in range(3))


def test_boolq_hides_its_passage(tmp_path):
    question = one(write(tmp_path / "dev.jsonl", BOOLQ | {"title": "T"}))
    assert (question.answers, right(question), question.hidden) == (("Yes", "No"), "Yes", {"passage": "It is so."})
    other = one(write(tmp_path / "glue.jsonl", {"question": "is it", "passage": "No.", "idx": 3, "label": 0}))
    assert right(other) == "No"
    arena = MultipleChoice(data=str(tmp_path / "dev.jsonl"))
    assert arena.verifies_quotes()
    assert "<quote>" in arena.speech_rules()
    shared = write(tmp_path / "s.jsonl", BOOLQ, BOOLQ | {"question": "was it"}, BOOLQ | {"passage": "Other."})
    assert sorted(Counter(q.source for q in ask(shared)).values()) == [1, 2]


def test_arc_as_the_dataset_and_as_the_authors_files_have_it(tmp_path):
    flat = one(write(tmp_path / "flat.jsonl", ARC))
    pairs = [{"text": text, "label": label} for text, label in zip("abc", "ABC", strict=True)]
    nested = {"id": "Mercury_1", "question": {"stem": "Why?", "choices": pairs}, "answerKey": "C"}
    assert one(write(tmp_path / "nested.jsonl", nested)) == flat
    assert (flat.id, flat.answers, right(flat), flat.source) == ("arc/Mercury_1", ("a", "b", "c"), "c", flat.id)


def test_gsm8k_has_right_numbers_of_other_questions_as_wrong_ones(tmp_path):
    numbers = ["1", "2", "3,000", "4", "5", "6", "7", "8"]
    entries = [{"question": f"How many {n}?", "answer": f"So <<2*2=4>>4.\n#### {n}"} for n in numbers]
    questions = ask(write(tmp_path / "test.jsonl", *entries))
    assert {(q.text, right(q)) for q in questions} == {(f"How many {n}?", n.replace(",", "")) for n in numbers}
    groups = Counter(q.answers for q in questions)
    assert sorted(groups.values()) == [4, 4]
    assert all(list(q.answers) == sorted(q.answers, key=int) for q in questions)
    assert {len(q.answers) for q in ask(tmp_path / "test.jsonl", choices=2)} == {2}
    assert "too few for 9 choices" in failure(tmp_path / "test.jsonl", choices=9)


def test_big_bench_hard_in_all_its_forms(tmp_path):
    examples = [
        BENCH,
        {"input": "Well?\nOptions:\n- Yes\n- No ", "target": "No"},
        {"input": "not True is", "target": "False"},
        {"input": "Count.", "target": "7"},
        {"input": "Which?\nOptions:\n(A) x\n(B) y", "target": "(C)"},
        {"input": "Same?\nOptions:\n(A) x\n(B) x", "target": "(A)"},
        {"input": "Broken?\nOptions:\n(A) x\n y", "target": "(A)"},
        {"input": "Film?\nOptions:\n(A) Monsters\n(B) Inc", "target": "Monsters, Inc"},
        {"input": "Alone?\nOptions:\n(A) x", "target": "(A)"},
        {"input": "Open?", "target": ""},
    ]
    path = tmp_path / "a_task.json"
    path.write_text(json.dumps({"canary": "do not train", "examples": examples}), encoding="utf-8")
    arena = MultipleChoice(data=str(path))
    assert {(q.text, q.answers, right(q)) for q in arena.questions(None, 1)} == {
        ("Which?", ("one thing", "another"), "another"),
        ("Well?", ("Yes", "No"), "No"),
        ("not True is", ("True", "False"), "False"),
    }
    assert arena.skipped == (
        "a_task.json, entry 4: free-form: no options in its text, and '7' is not yes or no",
        "a_task.json, entry 5: the correct answer '(C)' is not among its options",
        "a_task.json, entry 7: its options are not one a line, as (A) or -",
        "a_task.json, entry 8: the correct answer 'Monsters, Inc' is not among its answers",
        "a_task.json, entry 10: target is empty",
        "a_task.json, entry 6: two of its answers are the same",
        "a_task.json, entry 9: fewer than two answers",
    )
    assert len({q.source for q in arena.questions(None, 1)}) == 3  # one task alone: each question is a source
    write(tmp_path / "other.jsonl", BENCH)
    assert {q.source for q in ask(tmp_path)} == {"a_task", "other"}


# ---- own columns ------------------------------------------------------------------------------------------------

OWN = {"question_column": "q", "options_column": "o", "correct_column": "c"}


@pytest.mark.parametrize(
    ("correct", "options", "expected"),
    [
        ("B", {}, "y"),
        ("y", {}, "y"),
        (1, {"correct_as": "index"}, "y"),
        (1, {"correct_as": "number"}, "x"),
        ("C", {"correct_as": "letter"}, "z"),
    ],
)
def test_own_columns(tmp_path, correct, options, expected):
    entry = {"q": "Why?", "o": ["x", "y", "z"], "c": correct}
    assert right(one(write(tmp_path / "x.jsonl", entry), **OWN, **options)) == expected


def test_own_columns_of_one_answer_each_with_material_source_and_identifier(tmp_path):
    table = write_table(
        tmp_path / "x.tsv",
        ["id", "q", "x", "y", "c", "story", "of"],
        ["7", "Why?", "no", "yes", "B", "Once.", "s1"],
        ["8", "Who?", "me", "you", "A", "Twice.", "s2"],
        delimiter="\t",
    )
    named = {"material_column": "story", "source_column": "of", "identifier_column": "id"}
    questions = ask(table, question_column="q", options_column="x, y", correct_column="c", **named)
    assert {(q.id, right(q), q.source, q.hidden["story"]) for q in questions} == {
        ("own/s1/7", "yes", "s1", "Once."),
        ("own/s2/8", "me", "s2", "Twice."),
    }


def test_own_columns_of_wrong_answers(tmp_path):
    path = write(tmp_path / "x.json", {"q": "Why?", "c": 4, "w": [5, 6], "v": 7.5})
    question = one(path, question_column="q", correct_column="c", wrong_column="w,v")
    assert (right(question), sorted(question.answers)) == ("4", ["4", "5", "6", "7.5"])


def test_what_can_be_read_in_two_ways_is_asked_about(tmp_path):
    path = write(tmp_path / "x.jsonl", {"q": "Why?", "o": ["2", "0", "1"], "c": "2"})
    assert "which can be index or number or text: give correct_as=" in failure(path, **OWN)
    assert right(one(path, **OWN, correct_as="text")) == "2"
    letters = write(tmp_path / "y.jsonl", {"q": "Why?", "o": ["B", "A"], "c": "A"})
    assert "can be letter or text" in failure(letters, **OWN)
    counted = write(
        tmp_path / "z.jsonl", {"q": "Why?", "o": ["x", "y"], "c": 1}, {"q": "Who?", "o": ["x", "y"], "c": 2}
    )
    assert "can be index or number: give correct_as=" in failure(counted, **OWN)


# ---- what cannot be used ----------------------------------------------------------------------------------------


def test_what_cannot_be_used_is_left_out_and_remembered(tmp_path):
    entries = [
        MMLU,
        MMLU | {"question": "Twice?", "choices": ["a", "a", "b", "c"]},
        MMLU | {"question": "Out?", "answer": 4},
        MMLU | {"question": "None?", "answer": None},
        MMLU | {"question": "Letter?", "answer": "E"},
        MMLU | {"question": "Blank?", "choices": ["a", " ", "b", "c"]},
        MMLU | {"question": " "},
        MMLU,
        MMLU | {"question": "Contradicted?", "answer": 0},
        MMLU | {"question": "Contradicted?", "answer": 1},
    ]
    arena = MultipleChoice(data=str(write(tmp_path / "x.jsonl", *entries)))
    assert [question.text for question in arena.questions(None, 1)] == ["Why?"]
    assert arena.skipped == (
        "x.jsonl, line 3: the correct answer '4' is not among its answers",
        "x.jsonl, line 4: no correct answer is given in answer",
        "x.jsonl, line 5: the correct answer 'E' is not among its answers",
        "x.jsonl, line 6: an answer in choices is empty",
        "x.jsonl, line 7: question is empty",
        "x.jsonl, line 2: two of its answers are the same",
        "x.jsonl, line 10: its correct answer is not that of the same question before",
    )
    nothing = write(tmp_path / "y.jsonl", entries[2])
    assert failure(nothing) == (
        f"{nothing}: no usable question: 1 left out, the first y.jsonl, line 1: the correct answer '4' is not among "
        "its answers"
    )


def test_columns_that_are_not_known_are_named(tmp_path):
    path = write(tmp_path / "x.jsonl", {"prompt": "Why?", "label": 1})
    message = failure(path)
    assert message.startswith(f"{path}, line 1: columns found: prompt, label; expected those of a known layout (mmlu: ")
    assert "question_column=" in message
    assert failure(path, mapping="gpqa") == (
        f"{path}, line 1: columns found: prompt, label; "
        "mapping=gpqa expects Question, Correct Answer, Incorrect Answer 1"
    )
    assert "column o is missing; columns found: q" in failure(write(tmp_path / "y.jsonl", {"q": "Why?"}), **OWN)
    mixed = write(tmp_path / "z.jsonl", MMLU, {"prompt": "Why?"})
    assert "line 2: columns found: prompt; mmlu expects question, choices, answer" in failure(mixed)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (MMLU | {"choices": "abcd"}, "column choices is not a list of answers"),
        (MMLU | {"choices": ["a", {}]}, "column choices holds an answer that is neither text nor a number"),
        (MMLU | {"question": 3}, "column question is not text"),
        (MMLU | {"answer": [1]}, "column answer is [1], expected an index, a letter or a text"),
        (BOOLQ | {"answer": "perhaps"}, "column answer is 'perhaps', expected true or false"),
        (TRUTHFUL | {"mc1_targets": [1]}, "column mc1_targets is neither choices with labels nor answers with 0 or 1"),
        (ARC | {"choices": {"text": ["a"]}}, "column choices does not hold text and label"),
    ],
)
def test_an_error_names_the_line(tmp_path, entry, message):
    path = write(tmp_path / "x.jsonl", entry)
    assert failure(path) == f"{path}, line 1: {message}"


def test_files_that_cannot_be_read(tmp_path):
    assert "no such file or folder; a dataset of the Hugging Face hub is given as dataset=ID" in failure(
        tmp_path / "no"
    )
    assert "the folder has no file that ends in .jsonl" in failure(tmp_path)
    path = tmp_path / "x.json"
    for text, message in (
        ("{", "not JSON: Expecting property name"),
        ("3", "neither a list of entries nor an object"),
        ("[1]", "entry 1: not an object"),
        ("[]", "no usable question: the data holds none"),
        ('{"a": 1}\n{', "line 2: not JSON"),
    ):
        path.write_text(text, encoding="utf-8")
        assert message in failure(path)
    path.write_bytes(b"\xff\xfe")
    assert failure(path) == f"{path}: not UTF-8 text, at byte 0"
    table = write_table(tmp_path / "t.csv", ["question", "A"], ["Why?"])
    assert failure(table) == f"{table}, line 2: 1 cells under 2 columns"
    assert "two columns have the same name" in failure(write_table(tmp_path / "u.csv", ["q", "q"], ["1", "2"]))
    folder = tmp_path / "two"
    write(folder / "a.jsonl", MMLU)
    write(folder / "b.jsonl", BOOLQ)
    assert "files in two layouts, a.jsonl (mmlu) and b.jsonl (boolq): give one of them" in failure(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give data="),
        ({"data": "x", "dataset": "y"}, "give data="),
        ({"data": "x", "split": "test"}, "subset and split are those of a dataset=ID"),
        ({"data": "x", "mapping": "arc", "question_column": "q"}, "mapping=arc names its own"),
        ({"data": "x", "question_column": "q"}, "an own layout needs question_column, correct_column"),
        ({"data": "x", "question_column": "q", "correct_column": "c"}, "one of options_column and wrong_column"),
        (
            {"data": "x", "question_column": "q", "correct_column": "c", "wrong_column": "w", "correct_as": "letter"},
            "beside wrong_column the correct answer is a text",
        ),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        MultipleChoice(**options).questions(None, 1)


def test_choices_are_for_answers_that_are_made(tmp_path):
    assert "choices=3: wrong answers are given in layout mmlu" in failure(write(tmp_path / "x.jsonl", MMLU), choices=3)


def test_an_identifier_of_two_questions(tmp_path):
    path = write(tmp_path / "x.jsonl", ARC, ARC | {"question": "Who?"})
    assert failure(path) == f"{path}, line 2: identifier 'Mercury_1' is that of another question"


@given(count=st.integers(1, 12), seed=st.integers(0, 9), limit=st.integers(0, 14))
def test_the_order_of_rows_decides_nothing_and_a_limit_is_a_prefix(tmp_path_factory, count, seed, limit):
    folder = tmp_path_factory.mktemp("order")
    entries = [MMLU | {"question": f"Question {n}?", "subject": f"s{n % 3}"} for n in range(count)]
    forward = MultipleChoice(data=str(write(folder / "f.jsonl", *entries)))
    backward = MultipleChoice(data=str(write(folder / "b.jsonl", *reversed(entries))))
    assert list(forward.questions(None, seed)) == list(backward.questions(None, seed))
    assert list(forward.questions(limit, seed)) == list(forward.questions(None, seed))[:limit]
    if count >= 3:
        assert len({question.source for question in forward.questions(3, seed)}) == 3


# ---- datasets ---------------------------------------------------------------------------------------------------


def fake_datasets(monkeypatch, load):
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load))


def test_a_dataset_by_its_id(monkeypatch):
    asked = []

    def load(name, subset, split):
        asked.append((name, subset, split))
        rows = [MMLU, MMLU | {"question": "Who?", "subject": "art"}]
        return rows if split else {"train": [], "test": rows}

    fake_datasets(monkeypatch, load)
    for split in (None, "dev"):
        questions = MultipleChoice(dataset="cais/mmlu", subset="all", split=split).questions(None, 1)
        assert {(q.text, q.source) for q in questions} == {("Why?", "law"), ("Who?", "art")}
    assert asked == [("cais/mmlu", "all", None), ("cais/mmlu", "all", "dev")]


def test_a_dataset_that_cannot_be_had(monkeypatch):
    def load(name, subset, split):
        raise ConnectionError(f"Couldn't reach {name!r}\non the Hub")

    fake_datasets(monkeypatch, load)
    with pytest.raises(DataError) as caught:
        MultipleChoice(dataset="cais/mmlu").questions(None, 1)
    assert str(caught.value) == (
        "cais/mmlu: cannot be loaded: ConnectionError: Couldn't reach 'cais/mmlu' on the Hub; check id, subset, split "
        "and connection, or download the file and give data=FILE"
    )
    fake_datasets(monkeypatch, lambda name, subset, split: {"first": [], "second": []})
    with pytest.raises(DataError, match="give split=, one of first, second"):
        MultipleChoice(dataset="x").questions(None, 1)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"pip install 'scalable-oversight\[datasets\]'"):
        MultipleChoice(dataset="x").questions(None, 1)


def test_the_real_loader_on_a_folder_and_without_the_hub(tmp_path):
    pytest.importorskip("datasets")
    write(tmp_path / "set" / "test.jsonl", ARC, ARC | {"id": "2", "question": "Who?"})
    words = ["run", "direct", "--arena", "multiple_choice", "--judge", "scripted/first", "--dataset"]
    environment = {**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}

    def run(*more):
        return subprocess.run(
            [sys.executable, "-m", "oversight.cli", *words, *more],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    done = run(str(tmp_path / "set"))
    assert done.returncode == 0, done.stderr
    assert "direct" in done.stdout
    done = run("nobody/nothing")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("oversight: error: nobody/nothing: cannot be loaded: ")


# ---- made wrong numbers -----------------------------------------------------------------------------------------

numbers = st.lists(st.integers(-5, 400).map(Decimal), min_size=1, max_size=60)


@given(right_ones=numbers, count=st.integers(2, 5))
def test_options_hold_the_right_number_once_and_no_number_twice(right_ones, count):
    if len(set(right_ones)) < count:
        with pytest.raises(ValueError, match="different numbers"):
            shared_options(right_ones, count)
        return
    for number, options in zip(right_ones, shared_options(right_ones, count), strict=True):
        assert number in options
        assert len(options) == len(set(options)) == count
        assert list(options) == sorted(options)


@given(numbers, st.lists(st.sets(st.integers(-9, 500).map(Decimal), max_size=4), min_size=60, max_size=60))
def test_given_wrong_numbers_are_kept_and_filled_up(right_ones, given_ones):
    wrong = [sorted(one - {number}) for one, number in zip(given_ones, right_ones, strict=False)]
    for number, others, options in zip(right_ones, wrong, filled_options(right_ones, wrong, 5, tries=2), strict=True):
        assert {number, *others} <= {*options}
        assert len(options) == len(set(options)) <= 5
        assert list(options) == sorted(options)


@given(st.integers(1, 40), st.integers(2, 5))
def test_in_a_group_each_option_is_right_once(groups, count):
    right_ones = [Decimal(number) for number in range(groups * count)]
    found = Counter(shared_options(right_ones, count))
    assert set(found.values()) == {count}


# ---- recorded solutions -----------------------------------------------------------------------------------------


def recorded_row(question="How many?", truth="1,018", **solutions):
    given = {
        name: {"is_correct": correct, "solution": f"So 2*9=<<2*9=18>>18\nA: {answer}" if answer else "Then 2*"}
        for name, (answer, correct) in solutions.items()
    }
    return {"question": question, "ground_truth": f"It is.\nA: {truth}", **given}


ROWS = [
    recorded_row(strong=("1018", True), weak=("26", False)),
    recorded_row("How old?", "7", strong=("7", True), weak=("7", True)),
    recorded_row("How far?", "40", strong=("12.5", False), weak=(None, False)),
    recorded_row("How big?", "300", strong=("300", True), weak=("1/3", False)),
    recorded_row("How few?", "2", strong=("2", True), weak=("40", False)),
]


def view(question, position=None, turns=()):
    answers = tuple(Answer(label, text) for label, text in zip("ABCDE", question.answers, strict=False))
    label = None if position is None else answers[question.answers.index(position)].label
    labels = tuple(answer.label for answer in answers)
    return View("consultant", "Consultant", "", "", question.text, answers, labels, label, (), turns=turns)


def speech(agent, *arguments, **more):
    return asyncio.run(agent.speak(Speak(view(*arguments, **more)))).text


def choice(agent, question):
    probabilities = asyncio.run(agent.choose(Choose(view(question)))).probabilities
    (label,) = [label for label, probability in probabilities.items() if probability == 1.0]
    assert sum(probabilities.values()) == 1.0
    return question.answers["ABCDE".index(label)]


def failed(make, *arguments):
    with pytest.raises(TurnFailed) as caught:
        make(*arguments)
    return str(caught.value)


@pytest.fixture
def recorded(tmp_path):
    arena = MultipleChoice(data=str(write(tmp_path / "solutions.jsonl", *ROWS)), shapes="alike")
    return arena, {question.text: question for question in arena.questions(None, 1)}


def test_wrong_answers_are_those_that_were_reached(recorded):
    _, questions = recorded
    assert {text: right(question) for text, question in questions.items()} == {
        "How many?": "1018", "How old?": "7", "How far?": "40", "How big?": "300", "How few?": "2"
    }  # fmt: skip
    assert "26" in questions["How many?"].answers
    assert "40" in questions["How few?"].answers
    assert "12.5" not in questions["How far?"].answers  # no right answer has that shape
    assert all(len(question.answers) == 3 for question in questions.values())


def test_all_shapes_are_kept_unless_only_those_like_right_ones_are_asked_for(tmp_path):
    """What a solver reached is offered, so that it is wrong where it is wrong, and not without an answer."""
    questions = ask(write(tmp_path / "solutions.jsonl", *ROWS))
    assert "12.5" in next(question for question in questions if question.text == "How far?").answers


def test_a_recorded_solution_is_said_once_without_annotations_or_what_looks_like_a_label(recorded):
    arena, questions = recorded
    weak = arena.agent("recorded/weak")
    said = speech(weak, questions["How many?"], "26")
    assert said == "So 2*9=18\nAnswer: 26"
    own = VisibleTurn("Consultant", "A", said, own=True)
    again = speech(weak, questions["How many?"], "26", turns=(own,))
    assert again == "I have nothing to add to my solution."
    assert speech(weak, questions["How many?"]) == said  # where no answer is to be defended


def test_a_recorded_solver_answers_by_its_solution_and_defends_no_other(recorded):
    arena, questions = recorded
    strong, weak = arena.agent("recorded/strong"), arena.agent("recorded/weak")
    assert choice(strong, questions["How many?"]) == "1018"
    assert choice(weak, questions["How many?"]) == "26"
    assert failed(speech, weak, questions["How many?"], "1018") == (
        "recorded/weak cannot defend 1018: its recorded solution reached 26"
    )
    assert failed(choice, weak, questions["How far?"]) == (
        "recorded/weak has no answer: its solution breaks off before an answer"
    )
    assert failed(choice, weak, questions["How big?"]) == (
        "recorded/weak has no answer: its answer '1/3' is no plain number"
    )
    assert failed(choice, strong, questions["How far?"]) == (
        "recorded/strong has no answer: its solution reached 12.5, which is not offered"
    )
    changed = take_answers(questions["How many?"], 2, 1)
    assert failed(choice, weak, type(changed)(**{**vars(changed), "text": "Other?"})).startswith(
        "recorded/weak recorded no solution of this question"
    )


def test_names_of_recorded_solvers(recorded, tmp_path):
    arena, _ = recorded
    assert arena.agent("scripted/first") is None
    with pytest.raises(UnknownName, match="did you mean 'recorded/strong'"):
        arena.agent("recorded/stron")
    with pytest.raises(ConfigurationError, match="holds no recorded solutions"):
        MultipleChoice(data=str(write(tmp_path / "x.jsonl", MMLU))).agent("recorded/strong")
    first, other = arena.agent("recorded/strong").describe(), arena.agent("recorded/weak").describe()
    assert first == arena.agent("recorded/strong").describe()
    assert first["solutions"] != other["solutions"]


def test_a_row_whose_parts_contradict_each_other(tmp_path):
    path = tmp_path / "solutions.jsonl"
    write(
        path, *ROWS, recorded_row("Who?", "5", strong=("6", True)), recorded_row("How many?", "9", strong=("9", True))
    )
    arena = MultipleChoice(data=str(path))
    assert len(arena.questions(None, 1)) == 5
    assert arena.skipped == (
        "solutions.jsonl, line 6: strong reaches 6, which is_correct contradicts",
        "solutions.jsonl, line 7: the question stands in the data before",
    )


# ---- runs -------------------------------------------------------------------------------------------------------


def test_a_consultant_of_recorded_solutions_before_a_judge_who_believes_it(recorded, tmp_path):
    arena, _ = recorded
    believer = ScriptedAgent("believer", choices=lambda view: {view.positions[0].label: 1.0})
    result = oversight.run(
        "consultancy(rounds=2)",
        arena,
        consultant="recorded/strong",
        judge=believer,
        log_dir=tmp_path / "log",
        seed=1,
    )
    records = list(result.episodes())
    assert len(records) == 5 * 3
    scored = [record for record in records if record["status"] == "scored"]
    assert len(scored) == 4  # one arm of each question but the one it reaches no offered answer of
    assert all(record["credit"] == 1.0 for record in scored)
    texts = {turn["text"] for record in scored for turn in record["turns"] if turn["kind"] == "speech"}
    assert "I have nothing to add to my solution." in texts
    assert not any("<<" in text or "A: " in text for text in texts)
    reasons = {record["reason"] for record in records if record["status"] != "scored"}
    assert all(reason.startswith("recorded/strong cannot defend ") for reason in reasons)


def test_a_tournament_measures_recorded_solvers_alone(recorded, tmp_path):
    arena, _ = recorded
    result = oversight.tournament(
        arena, ["recorded/strong", "recorded/weak"], ["direct"], log_dir=tmp_path / "log", seed=1
    )
    credits = {}
    for record in result.episodes():
        if record["status"] == "scored":
            credits.setdefault(record["cast"]["judge"][0], {})[record["question"]] = record["credit"]
    assert {name: sorted(found.values()) for name, found in credits.items()} == {
        "recorded/strong": [1.0] * 4,
        "recorded/weak": [0.0, 0.0, 1.0],
    }
    capability = result.capability["agents"]
    assert capability["recorded/strong"]["value"] > capability["recorded/weak"]["value"]


def test_a_recorded_solver_judges_nobody(recorded, tmp_path):
    """It hears nothing, so its verdict on speeches would be no oversight."""
    arena, _ = recorded
    cast = {"consultant": "recorded/strong", "judge": "recorded/weak"}
    result = oversight.run("consultancy(rounds=1,positions=open)", arena, log_dir=tmp_path / "log", **cast)
    records = list(result.episodes())
    assert records
    assert {record["status"] for record in records} == {"unscored"}
    heard = [record["reason"] for record in records if any(turn["kind"] == "speech" for turn in record["turns"])]
    assert heard
    assert set(heard) == {"recorded/weak answers alone and hears nobody: let a model judge (--judges MODEL)"}


# ---- the real files ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data() -> Path:
    folder = os.environ.get("OVERSIGHT_TEST_DATA")
    if not folder:
        pytest.skip("OVERSIGHT_TEST_DATA is not set: it names the folder with big-bench-hard and grade-school-math")
    return Path(folder)


@pytest.fixture(scope="module")
def solutions(data):
    """The arena of recorded solutions and the file's own rows."""
    path = data / "grade-school-math" / "example_model_solutions.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return MultipleChoice(data=str(path)), rows


def test_big_bench_hard_gives_each_task_that_has_choices(data):
    folder = data / "big-bench-hard" / "bbh"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    arena = MultipleChoice(data=str(folder))
    questions = arena.questions(None, 1)
    free = {"dyck_languages", "multistep_arithmetic_two", "object_counting", "word_sorting"}
    tasks = {path.stem for path in folder.glob("*.json")}
    assert len(tasks) == 27
    assert {question.source for question in questions} == tasks - free
    assert len({question.source for question in arena.questions(23, 1)}) == 23
    reasons = Counter(reason.split(": ")[1] for reason in arena.skipped)
    assert reasons["free-form"] == 1000
    assert len(arena.skipped) == 1008
    truth = {}
    for task in tasks - free:
        for example in json.loads((folder / f"{task}.json").read_text(encoding="utf-8"))["examples"]:
            truth.setdefault((task, example["input"].partition("\nOptions:")[0].strip()), []).append(example)
    for question in questions:
        assert "Options:" not in question.text
        targets = set()
        for example in truth[question.source, question.text]:
            target = example["target"]
            if re.fullmatch(r"\([A-Z]\)", target):  # then the answer is the rest of the line that begins with it
                (target,) = re.findall(rf"^{re.escape(target)} *(.*)$", example["input"], re.MULTILINE)
            targets.add(target.strip())
        assert right(question) in targets
    assert len(questions) == 5498


def test_grade_school_math_is_asked_whole(data):
    path = data / "grade-school-math" / "test.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    arena = MultipleChoice(data=str(path))
    questions = arena.questions(None, 1)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    truth = {row["question"].strip(): row["answer"].split("#### ")[1].replace(",", "") for row in rows}
    assert {question.text: right(question) for question in questions} == truth
    assert len(questions) == len(truth) == 1319
    assert arena.skipped == ()
    assert_blind_rules_are_at_chance(questions, 4)


def assert_blind_rules_are_at_chance(questions, count):
    """No rule that reads the options alone gains clearly over chance.

    Clearly: the interval of what it gains begins above one point.  Measured with 4 choices of test.jsonl: the best
    rule gains 0.1 points; with the 5 of the recorded solutions, 1.2 ± 0.8 (not the one of one figure), the place of
    the right number 0.0 ± 2.2.
    """
    rules = {
        **BLIND_RULES,
        "divisible by three": lambda value, options: value % 3 == 0,
        "divisible by four": lambda value, options: value % 4 == 0,
        "whole": lambda value, options: value % 1 == 0,
        "median": lambda value, options: -abs(sorted(options).index(value) - (len(options) - 1) / 2),
    }
    for place in range(count):
        rules[f"place {place}"] = lambda value, options, place=place: sorted(options).index(value) == place
    for name, rule in rules.items():
        for sign in (1, -1):
            credits = []
            for question in questions:
                options = [Decimal(answer) for answer in question.answers]
                values = [sign * rule(option, options) for option in options]
                best = max(values)
                credits.append((values[question.correct] == best) / values.count(best))
            found = clustered_mean(credits, [question.id for question in questions])
            assert found.low < 1 / count + 0.01, (name, sign, found)


def test_recorded_options_are_not_told_without_the_question(solutions):
    arena, _ = solutions
    questions = arena.questions(None, 1)
    assert {len(question.answers) for question in questions} == {5}
    places = Counter(question.correct for question in questions)
    assert max(places.values()) - min(places.values()) <= 1
    assert_blind_rules_are_at_chance(questions, 5)
    for seed in (1, 2):
        assert_blind_rules_are_at_chance([take_answers(question, 2, seed) for question in questions], 2)


def test_every_recorded_wrong_number_of_the_usual_shape_is_an_answer(solutions):
    arena, rows = solutions
    questions = {question.text: question for question in arena.questions(None, 1)}
    assert len(questions) == len(rows) == 1319
    assert arena.skipped == ()
    left_out = 0
    for row in rows:
        question = questions[row["question"].strip()]
        assert right(question) == row["ground_truth"].rsplit("A: ", 1)[1].replace(",", "")
        for name in arena.collection.recorded:
            _, marker, said = row[name]["solution"].rpartition("A: ")
            if row[name]["is_correct"] or (marker and re.fullmatch(r"[\d,]+(\.0+)?", said)):
                assert said.replace(",", "").partition(".")[0] in question.answers
            else:
                left_out += 1
    assert left_out == 305  # no whole number, or none at all


@pytest.mark.parametrize(
    ("shapes", "abstained"),
    [
        ("alike", {"6b_finetuning": 162, "6b_verification": 1, "175b_finetuning": 141, "175b_verification": 1}),
        ("all", {"6b_finetuning": 6, "6b_verification": 1, "175b_finetuning": 7, "175b_verification": 1}),
    ],
)
def test_shares_of_correct_solutions_are_those_of_the_file(solutions, shapes, abstained):
    arena, rows = solutions
    arena = MultipleChoice(data=arena.data, shapes=shapes)
    counted = {"6b_finetuning": 286, "6b_verification": 515, "175b_finetuning": 458, "175b_verification": 742}
    assert {name: sum(row[name]["is_correct"] for row in rows) for name in counted} == counted
    assert list(arena.collection.recorded) == list(counted)
    silent = {}
    for name, number in counted.items():
        agent = arena.agent(f"recorded/{name}")
        assert len(agent.solutions) == 1319
        assert sum(solution.correct for solution in agent.solutions.values()) == number
        alone = []
        for question in arena.questions(None, 1):
            try:
                alone.append(choice(agent, question) == right(question))
            except TurnFailed:
                assert not agent.solutions[question.text].correct  # only wrong ones are not offered
        assert sum(alone) == number
        silent[name] = 1319 - len(alone)
    assert silent == abstained


def test_a_tournament_over_the_four_models(solutions, tmp_path):
    arena, rows = solutions
    names = [f"recorded/{name}" for name in arena.collection.recorded]
    result = oversight.tournament(
        arena,
        debaters=names,
        judges=[names[0], names[3]],
        protocols=["direct", "blind", "consultancy(rounds=1,positions=open)"],
        limit=12,
        seed=3,
        log_dir=tmp_path / "log",
    )
    truth = {row["question"].strip(): row for row in rows}
    asked = {question.id: truth[question.text] for question in arena.questions(12, 3)}
    for record in result.episodes():
        if record["protocol"] == "direct" and record["status"] == "scored":
            name = record["cast"]["judge"][0].removeprefix("recorded/")
            assert record["credit"] == asked[record["question"]][name]["is_correct"]
    for name in names:
        assert result.capability["agents"][name]["value"] is not None
    assert {cell.debater for cell in result.gap().cells if cell.debater} == set(names)


@pytest.mark.parametrize("protocol", ["blind", "direct"])
def test_a_judge_who_takes_the_first_option_is_at_chance(solutions, tmp_path, protocol):
    arena, _ = solutions
    result = oversight.run(protocol, arena, judge="scripted/first", limit=60, log_dir=tmp_path / "log", seed=2)
    records = list(result.episodes())
    found = clustered_mean([record["credit"] for record in records], [record["question"] for record in records])
    assert found.low <= 0.2 <= found.high
