"""Preference pairs out of runs: which there are, what they were asked, that a trainer can load them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from oversight import run
from oversight.agents.prompts import speak_messages
from oversight.cli import main
from oversight.errors import ConfigurationError, DataError, RunDirectoryError
from oversight.protocol import Debater, Graph, Judge, Protocol, together
from oversight.report.preferences import PREFERENCE_COLUMNS, export_preferences, preference_pairs
from oversight.requests import Speech
from oversight.runs.directory import read_episodes

HERE = Path(__file__).parent
TINY = HERE / "tiny.py"
_specification = importlib.util.spec_from_file_location("oversight_test_tiny", TINY)
tiny = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(tiny)
SUMS, THINKER, SECOND = (f"{TINY}:{name}" for name in ("Sums", "Thinker", "Second"))
SECRET = "The old clock struck"


class Blindfolded(Protocol):
    """Two debaters who do not see the material speak at the same time."""

    name = "blindfolded"

    debater = Debater(sees_material=False, instructions="You are {speaker}. Argue for {answer}.")
    judge = Judge()

    def graph(self, answers: int) -> Graph:
        return together(*(self.debater.seat(number).argues() for number in range(answers))) >> self.judge.decides()


class Noting(tiny.Thinker):
    """Notes what it would be asked, were it a language model; says something else each time."""

    kind = "noting"
    asked: dict[str, str] = {}  # noqa: RUF012 - shared on purpose: the run makes agents of its own

    async def speak(self, request):
        text = f"{request.view.speaker} says number {len(self.asked)}."
        messages = speak_messages(request.view, limits=request.limits)
        self.asked[text] = "\n\n".join(message["content"] for message in messages)
        return Speech(text, reasoning="a secret thought")


def played(folder, protocol, *, limit=2, swap=None):
    """A run of the protocol as the command line would have kept it: the arena is found by its file."""
    Noting.asked = {}
    arguing = "consultant" if str(protocol).startswith("consultancy") else "debater"
    cast = {arguing: Noting(), "judge": tiny.Second()}
    run(protocol, tiny.Sums(), limit=limit, swap=swap, log_dir=folder, **cast)
    named(folder, SUMS)
    return folder


def named(folder, *words):
    kept = json.loads((folder / "run.json").read_text())
    kept["command"] = ["run", *words]
    (folder / "run.json").write_text(json.dumps(kept))


def rewritten(folder, change):
    """The run with its records changed."""
    records = list(read_episodes(folder))
    for record in records:
        change(record)
    (folder / "episodes.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return records


def speeches(record):
    return [turn for turn in record["turns"] if turn["kind"] == "speech"]


def exported(folder, **options):
    done = export_preferences(folder, **options)
    return done, [json.loads(line) for line in done.path.read_text().splitlines()]


# ---- which pairs there are ----------------------------------------------------------------------


def test_the_chosen_candidate_stands_against_each_other_one(tmp_path):
    folder = played(tmp_path / "run", "debate(rounds=1,candidates=3)", limit=1, swap=False)

    def scored(record):
        record["probabilities"] = [0.5, 0.5]  # no pair of opposed speeches
        for turn in speeches(record):
            for candidate, score in zip(turn["candidates"], (0.9, 0.4, 0.9), strict=True):
                candidate.update(score=score, chosen=candidate is turn["candidates"][0])
            turn["text"] = turn["candidates"][0]["text"]

    (record,) = rewritten(folder, scored)
    done, rows = exported(folder)
    assert [list(row) for row in rows] == [list(PREFERENCE_COLUMNS)] * 2
    assert done.by_how == {"candidates by judge": 2}
    assert done.left_out == {"ties": 3}  # the third candidate of each of two turns, and the verdict
    for row, turn in zip(rows, speeches(record), strict=True):
        best, other, _ = (one["text"] for one in turn["candidates"])
        assert (row["chosen"], row["rejected"]) == (best, other)
        assert row["margin"] == pytest.approx(0.5)
        assert (row["episode"], row["question"], row["source"]) == (record["id"], "sum-0", "page 0")
        assert row["prompt"] == Noting.asked[best] == Noting.asked[other]


def test_the_speakers_own_pick_is_called_so(tmp_path):
    folder = played(tmp_path / "run", "debate(rounds=1,candidates=2,preference=own)", limit=1)
    hows = {row["how"] for row in preference_pairs(folder)}
    assert "candidates by speaker" in hows
    assert "candidates by judge" not in hows


def test_prompts_of_a_later_round_are_what_was_asked(tmp_path):
    """The transcript so far, the seat's own reasoning and its instructions are in it, word for word."""
    folder = played(tmp_path / "run", "debate(rounds=3,candidates=2,style=sequential)", limit=1)
    rows = [row for row in preference_pairs(folder) if row["how"].startswith("candidates")]
    assert len(rows) >= 6
    for row in rows:
        assert row["prompt"] == Noting.asked[row["chosen"]]
    assert any("What has been said, oldest first" in row["prompt"] for row in rows)


def test_speeches_of_one_round_for_opposed_answers(tmp_path):
    folder = played(tmp_path / "run", "debate(rounds=2)", limit=2)
    records = {record["id"]: record for record in read_episodes(folder)}
    rows = list(preference_pairs(folder))
    assert len(rows) == 2 * len(records)  # one a round
    for row in rows:
        record = records[row["episode"]]
        said = {turn["text"]: turn for turn in speeches(record)}
        chosen, rejected = said[row["chosen"]], said[row["rejected"]]
        p = record["probabilities"]
        assert p[chosen["answer"]] > p[rejected["answer"]]
        assert row["margin"] == pytest.approx(p[chosen["answer"]] - p[rejected["answer"]])
        assert row["how"] == "opposed"
        # Neither is told in the prompt which answer to speak for.
        assert row["prompt"].endswith("Speak now, as Debater.")
        assert "You are Debater" not in row["prompt"]
        assert "(you)" not in row["prompt"]
    later = [row for row in rows if "What has been said" in row["prompt"]]
    assert len(later) == len(records)


def test_a_speech_that_answers_another_is_no_pair_with_it(tmp_path):
    folder = played(tmp_path / "run", "debate(rounds=2,style=sequential)", limit=1)
    with pytest.raises(ConfigurationError, match="no preference pair in it"):
        export_preferences(folder)


def test_consultants_who_never_hear_each_other(tmp_path):
    """The first round is a pair; later each has heard itself alone."""
    folder = played(tmp_path / "run", "consultancy(form=double,rounds=2)", limit=1, swap=False)
    assert [row["how"] for row in preference_pairs(folder)] == ["opposed"]


def test_the_two_arms_of_a_consultancy(tmp_path):
    folder = played(tmp_path / "run", "consultancy(rounds=2)", limit=1)

    def arm(record):
        (first, *_) = speeches(record)
        first["text"] = f"It is number {first['answer']}."
        record["probabilities"] = [0.3, 0.7] if first["answer"] == 0 else [0.1, 0.9]

    records = rewritten(folder, arm)
    assert len(records) == 2
    (row,) = preference_pairs(folder)
    # Believed more where it was argued for: 0.9 against 0.3.
    assert (row["chosen"], row["rejected"]) == ("It is number 1.", "It is number 0.")
    assert (row["how"], row["margin"]) == ("paired", pytest.approx(0.6))
    assert set(row["episode"].split()) == {record["id"] for record in records}
    # By the key it is the other way round.
    (row,) = preference_pairs(folder, by="truth")
    assert (row["chosen"], row["margin"]) == ("It is number 0.", 1.0)


def test_arms_whose_labels_mean_different_things_are_no_pair(tmp_path):
    folder = played(tmp_path / "run", "consultancy", limit=1)

    def lettered(record):
        for turn in speeches(record):
            turn["text"] = f"Answer A is right, I say for {turn['answer']}."

    rewritten(folder, lettered)
    with pytest.raises(ConfigurationError, match="1 arms whose speeches name labels that stand for different answers"):
        export_preferences(folder)


# ---- what must not be in them -------------------------------------------------------------------


def test_truth_has_no_part_in_it_unless_it_is_asked_for(tmp_path):
    """The same pairs whichever answer is correct; by truth they follow the key, and margins are 1."""
    folder = played(tmp_path / "run", "debate(rounds=1,candidates=2)", limit=2)
    before = list(preference_pairs(folder))
    by_truth = list(preference_pairs(folder, by="truth"))
    questions = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    (folder / "questions.jsonl").write_text(
        "".join(json.dumps({**question, "correct": 1 - question["correct"]}) + "\n" for question in questions)
    )
    rewritten(folder, lambda record: record.update(correct=1 - record["correct"]))
    assert list(preference_pairs(folder)) == before
    turned = list(preference_pairs(folder, by="truth"))
    assert {row["how"] for row in by_truth} == {"opposed"}
    assert {row["margin"] for row in by_truth} == {1.0}
    assert [row["chosen"] for row in turned] == [row["rejected"] for row in by_truth]


def test_an_unscored_episode_gives_no_pair(tmp_path):
    folder = played(tmp_path / "run", "debate(rounds=1,candidates=2)", limit=1)
    records = list(read_episodes(folder))

    def failed(record):
        if record["id"] == records[0]["id"]:
            record.update(status="unscored", reason="it rained", probabilities=None, credit=None)

    rewritten(folder, failed)
    done, rows = exported(folder)
    assert done.left_out["episodes unscored"] == 1
    assert rows
    assert all(records[0]["id"] not in row["episode"] for row in rows)


def test_hidden_material_stands_only_in_prompts_of_those_who_saw_it(tmp_path):
    seeing = list(preference_pairs(played(tmp_path / "seeing", "debate(rounds=1)", limit=1)))
    assert seeing
    assert all(SECRET in row["prompt"] for row in seeing)
    blind = played(tmp_path / "blind", Blindfolded(), limit=1)
    named(blind, SUMS, f"{Path(__file__)}:Blindfolded")
    rows = list(preference_pairs(blind))
    assert {row["how"] for row in rows} == {"opposed"}
    assert SECRET not in json.dumps(rows)


def test_without_the_arena_prompts_hold_question_and_answers_alone(tmp_path):
    folder = played(tmp_path / "run", "debate(rounds=1,candidates=2)", limit=1, swap=False)
    named(folder)
    done, rows = exported(folder)
    assert done.not_rebuilt
    assert "is not registered here" in done.not_rebuilt[0]
    assert all(row["how"].endswith(", bare prompt") for row in rows)
    assert SECRET not in json.dumps([row["prompt"] for row in rows])
    candidates = next(row for row in rows if row["how"].startswith("candidates"))
    assert candidates["prompt"].startswith("Question:\nWhat is 0 + 0?\n\nAnswers:\nA: ")
    assert "Speak now for answer " in candidates["prompt"]


# ---- the file -----------------------------------------------------------------------------------


def test_datasets_loads_it_in_one_line(tmp_path, capsys):
    datasets = pytest.importorskip("datasets")
    folder = played(tmp_path / "run", "debate(rounds=2,candidates=2)", limit=2)
    path = tmp_path / "pairs.jsonl"
    assert main(["export", str(folder), "--format", "preferences", "--output", str(path)]) == 0
    printed = capsys.readouterr().out
    loaded = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert loaded.column_names == list(PREFERENCE_COLUMNS)
    assert loaded.to_list() == rows
    assert f"{len(rows)} pairs, by the judge" in printed


def test_it_is_written_whole_or_not_at_all(tmp_path):
    folder = played(tmp_path / "run", "debate(rounds=1)", limit=2)
    done, _ = exported(folder)
    before = done.path.read_bytes()
    export_preferences(folder)  # an earlier export is replaced
    assert done.path.read_bytes() == before
    with (folder / "episodes.jsonl").open("a") as file:
        broken = {**next(read_episodes(folder)), "id": "broken", "probabilities": [1.0]}
        file.write(json.dumps(broken) + "\n")
    with pytest.raises(DataError, match=r"episode 'broken' cannot be read"):
        export_preferences(folder)
    assert done.path.read_bytes() == before
    assert [path.name for path in done.path.parent.iterdir()] == ["preferences.jsonl"]


def test_what_is_refused(tmp_path, capsys):
    folder = played(tmp_path / "run", "debate(rounds=1)", limit=1)
    mine = tmp_path / "mine.jsonl"
    mine.write_text('{"a": 1}\n')
    with pytest.raises(ConfigurationError, match="is no export of preferences: --force replaces it"):
        export_preferences(folder, mine)
    assert export_preferences(folder, mine, force=True).pairs
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        export_preferences(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(ConfigurationError, match="is a folder"):
        export_preferences(folder, tmp_path)
    assert main(["export", str(folder), "--by", "truth"]) == 2
    assert "--by truth is for --format preferences" in capsys.readouterr().err


def test_a_run_of_preferences_is_analysed_as_what_it_is(tmp_path, capsys):
    """Its gap is not known, its accuracy is that of preferring; its pairs are exported, or one line says why not."""
    folder = tmp_path / "run"
    cast = {"reply": "bounded/1", "judge": "bounded/4"}
    run("preference(assisted=false)", "arithmetic(depth=1)", limit=4, swap=False, log_dir=folder, **cast)
    assert main(["gap", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "Verdicts are preferences between replies: accuracy is how often the better one was preferred." in printed
    assert "Slope" not in printed
    scored = [record for record in read_episodes(folder) if record["status"] == "scored"]
    assert len(scored) == 4
    for by in ("judge", "truth"):
        status = main(["export", str(folder), "--format", "preferences", "--by", by, "--force"])
        captured = capsys.readouterr()
        if status == 0:
            pairs = (folder / "export" / "preferences.jsonl").read_text().splitlines()
            assert f"{len(pairs)} pairs" in captured.out
        else:
            assert status == 2
            assert "no preference pair in it" in captured.err
            assert captured.err.count("\n") == 1
    debate = tmp_path / "debate"
    run("debate(rounds=1)", tiny.Sums(), debater=tiny.Thinker(), judge=tiny.Second(), limit=1, log_dir=debate)
    assert main(["gap", str(debate)]) == 0
    assert "preferences" not in capsys.readouterr().out
