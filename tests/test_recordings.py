"""Recordings: read from runs of ours and from the NYU corpus, and the corpus as a run."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest

import oversight
from oversight.cli import main
from oversight.errors import ConfigurationError, DataError, RunDirectoryError
from oversight.quotes import find_quotes
from oversight.runs.corpus_protocols import NyuConsultancy, NyuDebate
from oversight.runs.directory import read_episodes
from oversight.runs.human_corpus import PUBLISHED, conditions, import_corpus, read_corpus
from oversight.runs.recordings import read_recordings
from oversight.transcript import Quote

HERE = Path(__file__).parent


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


corpus, helpers, tiny = _load("corpus"), _load("helpers"), _load("tiny")


def said(recording):
    """The public rounds as (simultaneous, by the judge, [(seat, text)])."""
    return [
        (one.simultaneous, one.by_judge, [(turn.seat, turn.text) for turn in one.turns]) for one in recording.rounds
    ]


# ---- runs of ours -------------------------------------------------------------------------------


def run(folder, protocol="debate(rounds=2)", **changes):
    settings = {"limit": 2, "log_dir": folder, "debater": tiny.Thinker(), "judge": tiny.Second(), **changes}
    return oversight.run(protocol, tiny.Sums(), **settings)


def test_a_run_is_read_into_rounds_and_what_its_judge_thought_is_kept_apart(tmp_path):
    """Public turns with checked quotes, in order, without private reasoning; the verdict only in ``judged``."""
    run(tmp_path / "run")
    found = read_recordings(tmp_path / "run", arena=tiny.Sums())
    records = {record["id"]: record for record in read_episodes(tmp_path / "run")}
    assert len(found.recordings) == len(records) == 4
    assert found.skipped == ()
    for one in found.recordings:
        record = records[one.origin.id]
        assert [len(each.turns) for each in one.rounds] == [2, 2]
        assert all(each.simultaneous and not each.by_judge for each in one.rounds)
        assert [turn.text for turn in one.turns] == [turn["text"] for turn in record["turns"][:-1]]
        assert all([quote.verified for quote in turn.quotes] == [True, False] for turn in one.turns)
        assert all(turn.reasoning == "" and turn.usage.calls == 0 and turn.kind != "verdict" for turn in one.turns)
        assert one.judged.verdict == tuple(record["probabilities"])
        assert [credence.after for credence in one.judged.credences] == [4]
        assert one.seating.to_dict() == record["seating"]
        assert one.cast == {"debater": ("tiny/thinker",), "judge": ("tiny/second",)}


def test_speeches_in_turn_are_not_simultaneous(tmp_path):
    """The grouping follows the graph, not the order in the file."""
    run(tmp_path / "run", "debate(rounds=2,style=sequential)", swap=False)
    found = read_recordings(tmp_path / "run", arena=tiny.Sums())
    assert [[each.simultaneous for each in one.rounds] for one in found.recordings] == [[False, False]] * 2


def test_one_debate_before_several_judges_is_one_transcript(tmp_path):
    """What stands in several episodes is read once, and counted."""
    oversight.tournament(
        tiny.Sums(),
        debaters=[tiny.Thinker()],
        judges=[tiny.Second(), tiny.Third()],
        protocols=["direct", "debate(rounds=1)"],
        limit=2,
        log_dir=tmp_path / "run",
    )
    found = read_recordings(tmp_path / "run", arena=tiny.Sums())
    assert len(found.recordings) == 4
    assert found.repeated == 4
    assert {one.partition(": ")[2] for one in found.skipped} == {"nobody speaks in it"}
    assert found.capability["unit"] == "log-odds"


def test_what_cannot_be_judged_anew_is_skipped_with_the_reason(tmp_path):
    """Half a debate is no transcript; an episode whose verdict alone failed is one."""
    run(tmp_path / "silent", debater=tiny.Silent())
    skipped = read_recordings(tmp_path / "silent", arena=tiny.Sums()).skipped
    assert len(skipped) == 4
    assert all("nobody spoke: tiny/silent said nothing" in one for one in skipped)
    run(tmp_path / "mute judge", judge=helpers.ScriptedAgent("mute", speeches=["no choice"]))
    found = read_recordings(tmp_path / "mute judge", arena=tiny.Sums())
    assert (len(found.recordings), found.skipped) == (4, ())
    assert {one.judged.verdict for one in found.recordings} == {None}


def test_arena_and_protocol_of_a_file_are_found_by_the_runs_command(tmp_path, capsys):
    """A run made by a command says where its classes are; one made in Python must be helped."""
    words = ["run", f"{HERE / 'tiny.py'}:Talk", "--times", "2", "--arena", f"{HERE / 'tiny.py'}:Sums", "--limit", "1"]
    cast = ["--speaker", f"{HERE / 'tiny.py'}:Thinker", "--judge", f"{HERE / 'tiny.py'}:Second"]
    assert main([*words, *cast, "--log-dir", str(tmp_path / "run")]) == 0
    assert len(read_recordings(tmp_path / "run").recordings) == 2
    run(tmp_path / "python")
    with pytest.raises(ConfigurationError, match=r"its arena 'sums' is not registered here: give --arena file.py:Name"):
        read_recordings(tmp_path / "python")
    capsys.readouterr()


def test_a_malformed_record_is_one_line(tmp_path):
    """The file and the episode are named."""
    run(tmp_path / "run", limit=1, swap=False)
    path = tmp_path / "run" / "episodes.jsonl"
    record = json.loads(path.read_text())
    for change in ({"turns": [{"nonsense": 1}]}, {"turns": 5}, {"question": "nowhere"}, {"seating": {}}):
        path.write_text(json.dumps({**record, **change}) + "\n")
        with pytest.raises(DataError) as caught:
            read_recordings(tmp_path / "run", arena=tiny.Sums())
        assert str(path) in str(caught.value)
        assert record["id"][:8] in str(caught.value)
        assert "\n" not in str(caught.value)
    path.write_text('{"id": "torn\n' + json.dumps(record) + "\n")
    found = read_recordings(tmp_path / "run", arena=tiny.Sums())
    assert (len(found.recordings), found.skipped) == (1, ("line 1: it is no whole record",))


# ---- the corpus ---------------------------------------------------------------------------------


def test_a_debate_of_the_corpus_is_read_as_it_was_held(tmp_path):
    """Rounds with the judge's messages, quotations as words of the story, credences where they were given."""
    found = read_recordings(corpus.write(tmp_path))
    debate, consultancy = found.recordings
    assert said(debate) == [
        (False, True, [("judge", "prior leaning")]),
        (
            True,
            False,
            [
                ("debater 1", "He went: <quote>captain</quote> is gone."),
                ("debater 2", "See <quote>The captain hadn't left.</quote> <quote>Go on</quote> so he stayed."),
            ],
        ),
        (False, True, [("judge", "A, why? I lean to B")]),
        (False, False, [("debater 1", "Because."), ("debater 2", "No. <quote>he said.</quote>")]),
    ]
    assert debate.turns[2].quotes == (
        Quote(4, 43, "The captain hadn't left.", True),
        Quote(44, 64, "Go on", True),
    )
    assert [(one.after, one.probabilities) for one in debate.judged.credences] == [
        (0, (0.4321, 0.5679)),
        (3, (0.2468, 0.7532)),
        (6, (0.1357, 0.8643)),
    ]
    assert debate.judged.verdict == (0.1357, 0.8643)
    assert debate.judged.reasons == "final reasons"
    assert debate.question.hidden == {"passage": corpus.PASSAGE}
    assert debate.cast == {"debater": ("human",), "judge": ("human",)}
    assert debate.origin.agents == {
        f"debater {n}": f"human/{who}" for n, who in ((1, corpus.FIRST), (2, corpus.SECOND))
    }

    assert said(consultancy) == [(False, False, [("consultant 1", "He left, <quote>he said</quote>")])]
    assert consultancy.seating.speaking == (1, 0)
    assert consultancy.cast == {"consultant": ("GPT-4",), "judge": ("human",)}
    # It had the answers the other way round, and its speakers call them by their letters.
    assert consultancy.question.id == f"{debate.question.id}/swapped"
    assert consultancy.question.answers == ("He stayed.", "He left.")
    assert consultancy.question.correct == 0
    everything = read_recordings(tmp_path, everything=True)
    assert len(everything.recordings) == 2
    assert everything.skipped == ("captain-2: it was never finished",)


def test_figures_of_a_corpus_that_can_be_reckoned_by_hand(tmp_path):
    """A tie counts as wrong by the paper's rule, and as a half by ours."""
    found = conditions(read_recordings(corpus.write(tmp_path)).recordings)
    assert list(found) == ["human debate", "AI consultancy"]
    debate, consultancy = found.values()
    assert (debate.n, debate.accuracy, debate.honest, debate.rounds) == (1, 1.0, None, 2.0)
    assert debate.judge_score == pytest.approx(-0.2104 - 0.1, abs=1e-4)  # log2 0.8643
    assert (consultancy.accuracy, consultancy.by_our_rule, consultancy.dishonest) == (0.0, 0.5, 0.0)
    assert consultancy.honest is None
    assert consultancy.judge_score == pytest.approx(-1.05)


MALFORMED = [
    (lambda one: one.pop("rounds"), "field rounds is missing"),
    (lambda one: one["rounds"].append(7), "rounds[5] is not an object with one kind of round"),
    (lambda one: one["rounds"].append({"Interlude": {}}), "rounds[5].Interlude is no known kind of round"),
    (lambda one: one["rounds"][0]["JudgeFeedback"].update(distribution=[0.5]), "not a distribution over the answers"),
    (lambda one: one["rounds"][0]["JudgeFeedback"].update(distribution=[0.9, 0.9]), "not a distribution"),
    (lambda one: one["rounds"][0]["JudgeFeedback"].update(endDebate="no"), "endDebate is not true or false"),
    (
        lambda one: one["rounds"][1]["SimultaneousSpeeches"]["speeches"]["0"]["content"].append({"Song": 1}),
        "content[3] is neither a Text nor a Quote",
    ),
    (
        lambda one: one["rounds"][1]["SimultaneousSpeeches"]["speeches"]["1"]["content"].append(corpus.quote(3, 99)),
        None,  # cut off at the end of the story, as one quotation of the corpus is
    ),
    (
        lambda one: one["rounds"][1]["SimultaneousSpeeches"]["speeches"]["1"]["content"].append(corpus.quote(99, 100)),
        "[99, 100], not two places in the text",
    ),
    (lambda one: one["setup"].pop("roles"), "setup.roles is missing"),
]


@pytest.mark.parametrize(("change", "message"), MALFORMED)
def test_a_malformed_debate_is_one_line_that_names_its_file(tmp_path, change, message):
    """Nothing of a corpus with a malformed file is imported."""
    pub = corpus.write(tmp_path, debate=corpus.changed(change))
    if message is None:
        assert read_recordings(pub).recordings[0].turns[2].quotes[-1].text.endswith("he said.")
        return
    with pytest.raises(DataError) as caught:
        import_corpus(pub, tmp_path / "run")
    assert "captain-0.json" in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_neither_a_run_nor_the_corpus(tmp_path):
    """What was found and what is expected."""
    with pytest.raises(DataError, match="neither a run directory"):
        read_recordings(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read_recordings(tmp_path / "nowhere")


# ---- the corpus as a run ------------------------------------------------------------------------


def test_an_imported_debate_is_an_episode_like_any_other(tmp_path, capsys):
    """The same keys as a played episode; credences stand between the rounds; every command reads it."""
    folder = tmp_path / "nyu"
    assert main(["import", str(corpus.write(tmp_path)), str(folder)]) == 0
    assert "2 debates in" in capsys.readouterr().out
    debate, consultancy = read_episodes(folder)
    played = helpers.play(helpers.Debate(rounds=1), helpers.Watching())
    assert set(debate) == {*played, "recording"}
    assert [(turn["step"], turn.get("probabilities"), turn["agent"]) for turn in debate["turns"]] == [
        ("judge verdict 1", [0.4321, 0.5679], f"human/{corpus.JUDGE}"),
        ("judge speech 1", None, f"human/{corpus.JUDGE}"),
        ("debater 1 speech 1", None, f"human/{corpus.FIRST}"),
        ("debater 2 speech 1", None, f"human/{corpus.SECOND}"),
        ("judge verdict 2", [0.2468, 0.7532], f"human/{corpus.JUDGE}"),
        ("judge speech 2", None, f"human/{corpus.JUDGE}"),
        ("debater 1 speech 2", None, f"human/{corpus.FIRST}"),
        ("debater 2 speech 2", None, f"human/{corpus.SECOND}"),
        ("judge verdict 3", [0.1357, 0.8643], f"human/{corpus.JUDGE}"),
    ]
    assert (debate["credit"], consultancy["credit"]) == (1.0, 0.5)
    assert debate["judge_score"] == pytest.approx(-0.3104, abs=1e-4)
    assert debate["cast"] == {"debater": ["human"], "judge": ["human"]}
    before = (folder / "episodes.jsonl").read_bytes()
    for words in (
        ["import", str(tmp_path / "pub"), str(folder)],
        ["show", str(folder)],
        ["show", str(folder), debate["id"][:8]],
        ["gap", str(folder)],
        ["gap", str(folder), "--json"],
        ["compare", str(folder)],
        ["export", str(folder)],
    ):
        assert main(words) == 0
    capsys.readouterr()
    assert (folder / "episodes.jsonl").read_bytes() == before


def test_a_recording_of_an_import_is_that_of_the_corpus(tmp_path):
    """Read back, the transcript is the same, so the same verdicts are asked for."""
    import_corpus(corpus.write(tmp_path), tmp_path / "nyu")
    straight, back = read_recordings(tmp_path / "pub"), read_recordings(tmp_path / "nyu")
    assert [one.digest for one in back.recordings] == [one.digest for one in straight.recordings]
    assert [said(one) for one in back.recordings] == [said(one) for one in straight.recordings]
    assert [one.judged for one in back.recordings] == [one.judged for one in straight.recordings]
    assert back.corpus == straight.corpus


def test_people_by_name_and_another_folder(tmp_path):
    """--people names everybody in the cast; a folder that holds the other import is refused."""
    pub = corpus.write(tmp_path)
    import_corpus(pub, tmp_path / "nyu", people=True)
    debate, _ = read_episodes(tmp_path / "nyu")
    assert debate["cast"]["debater"] == [f"human/{corpus.FIRST}", f"human/{corpus.SECOND}"]
    with pytest.raises(RunDirectoryError, match="holds another run"):
        import_corpus(pub, tmp_path / "nyu")


# ---- the real corpus ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nyu():
    folder = os.environ.get("OVERSIGHT_TEST_DATA")
    if not folder:
        pytest.skip("OVERSIGHT_TEST_DATA does not name a folder with the corpora")
    return read_corpus(Path(folder) / "nyu-debate-2023" / "pub")


def test_the_published_figures_come_out(nyu):
    """Michael et al. 2023: every accuracy, number, length and score, to the digits that are printed."""
    found = conditions(nyu.recordings)
    assert list(found) == list(PUBLISHED)
    for name, printed in PUBLISHED.items():
        one = found[name]
        assert one.n == printed.n
        assert round(one.accuracy, 3) == printed.accuracy
        assert (one.honest is None) == (printed.honest is None)
        if printed.honest is not None:
            assert one.honest == pytest.approx(printed.honest, abs=0.005 + 1e-9)
            assert one.dishonest == pytest.approx(printed.dishonest, abs=0.005)
        assert round(one.rounds, 1) == printed.rounds
        assert round(one.judge_score, 2) == printed.judge_score
        assert one.calibration_error == pytest.approx(printed.calibration_error, abs=0.04)  # bins not stated
    assert {name: round(one.by_our_rule - one.accuracy, 4) for name, one in found.items() if name in PUBLISHED} == {
        "human debate": 0.0,
        "human consultancy": round(0.5 / 96, 4),  # the one tie
        "AI debate": 0.0,
        "AI consultancy": 0.0,
    }


def test_every_quotation_of_the_corpus_stands_in_its_story(nyu):
    """Spans of tokens come out as words that the check of quotations finds, but for bare punctuation."""
    assert len(nyu.recordings) == 413
    assert nyu.skipped == ()
    marked = found = bare = 0
    for one in nyu.recordings:
        assert isinstance(one.protocol, NyuDebate | NyuConsultancy)
        for turn in one.turns:
            checked = {
                (quote.start, quote.end): quote.verified for quote in find_quotes(turn.text, one.question.hidden)
            }
            for quote in turn.quotes:
                assert turn.text[quote.start : quote.end] == f"<quote>{quote.text}</quote>"
                assert quote.verified
                marked += 1
                if not any(character.isalnum() for character in quote.text):
                    bare += 1
                elif checked[quote.start, quote.end]:
                    found += 1
    assert marked == 5852
    assert found + bare == marked


def test_the_import_prints_the_published_accuracies(nyu, tmp_path, capsys):
    """As a command, with the four numbers beside the paper's."""
    folder = Path(os.environ["OVERSIGHT_TEST_DATA"]) / "nyu-debate-2023"
    assert main(["import", str(folder), str(tmp_path / "nyu")]) == 0
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines()[1:9]]
    assert [row[2:4] for row in rows[::2]] == [["154", "84.4"], ["96", "74.0"], ["87", "78.2"], ["76", "80.3"]]
    assert [row[2:4] for row in rows[1::2]] == [["154", "84.4"], ["96", "74.0"], ["87", "78.2"], ["76", "80.3"]]
    analysis = oversight.RunResult(tmp_path / "nyu").gap()
    cells = {(cell.protocol, cell.debater): (cell.n, cell.accuracy) for cell in analysis.cells}
    assert cells["nyu_debate", "human"] == (154, pytest.approx(130 / 154))
    assert cells["nyu_consultancy", "human"] == (96, pytest.approx(71.5 / 96))
    assert cells["nyu_debate", "GPT-4"] == (87, pytest.approx(68 / 87))
    assert cells["nyu_consultancy", "GPT-4"] == (76, pytest.approx(61 / 76))
