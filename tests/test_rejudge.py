"""A new judge before recorded transcripts: what it sees, what it never sees, and the run that it is."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import oversight
from oversight.agents import ScriptedAgent
from oversight.cli import main
from oversight.errors import BudgetExceeded, ConfigurationError
from oversight.models.openai_compatible import ModelOptions
from oversight.protocol import Debater, Judge, Protocol, in_turn, repeat
from oversight.runs.directory import read_episodes
from oversight.runs.recordings import read_recordings
from oversight.runs.rejudge import plan_rejudge, rejudge

HERE = Path(__file__).parent
TINY = HERE / "tiny.py"
REPLY = {"text": "Answer: A\nConfidence: 80%", "usage": (100, 50)}


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


corpus, endpoints, helpers, tiny = _load("corpus"), _load("endpoint"), _load("helpers"), _load("tiny")


@pytest.fixture(scope="module")
def endpoint():
    with endpoints.running() as running:
        yield running


def run(folder, protocol="debate(rounds=2)", **changes):
    settings = {"limit": 2, "log_dir": folder, "debater": tiny.Thinker(), "judge": tiny.Second(), **changes}
    return oversight.run(protocol, tiny.Sums(), **settings)


def again(source, folder, judge, **changes):
    """The recordings of a run of sums before a new judge."""
    return rejudge(source, judge, arena=tiny.Sums(), log_dir=folder, **changes)


def timeless(record):
    return {name: value for name, value in record.items() if name not in ("seconds", "finished")}


def records(folder):
    return {record["id"]: timeless(record) for record in read_episodes(folder)}


def by_origin(folder):
    """Records of a rejudged run by the episode that they are from."""
    return {record["recording"]["origin"]: record for record in read_episodes(folder)}


# ---- what it sees -------------------------------------------------------------------------------

TALKING = [one for one in helpers.VARIANTS if any(step.kind == "speech" for step in one.graph(2).steps())]


@pytest.mark.parametrize("protocol", TALKING, ids=lambda one: one.title)
def test_a_new_judge_sees_exactly_what_the_recorded_one_saw(tmp_path, protocol):
    """View for view, in every variant of every protocol: panels, claims, labels and options included."""
    cast = {role: tiny.Thinker() for role in protocol.roles() if role != "judge"}
    first, second = helpers.Watching("first judge"), helpers.Watching("second judge")
    original = oversight.run(protocol, tiny.Sums(), limit=2, seed=3, log_dir=tmp_path / "run", judge=first, **cast)
    again(tmp_path / "run", tmp_path / "new", second)
    assert first.views
    assert Counter(view.digest for view in second.views) == Counter(view.digest for view in first.views)
    made = by_origin(tmp_path / "new")
    for record in original.episodes():
        new = made[record["id"]]
        for name in ("protocol", "protocol_key", "question", "source", "seating", "correct", "arguing", "deciding"):
            assert new[name] == record[name]
        assert new["cast"] == {**record["cast"], "judge": ["second judge"]}
        assert new["probabilities"] == record["probabilities"]
        assert [turn.get("text") for turn in new["turns"]] == [turn.get("text") for turn in record["turns"]]
        assert "reasoning" not in json.dumps([turn for turn in new["turns"] if turn["kind"] != "verdict"])


EXACT = """\
What did the captain do?
A: He left.
B: He stayed.
Debater A for A, Debater B for B
Debater A (A): He went: <quote>captain</quote> is gone. [verified: captain]
Debater B (B): See <quote>The captain hadn't left.</quote> <quote>Go on</quote> so he stayed. \
[verified: The captain hadn't left., Go on]
Debater A (A): Because.
Debater B (B): No. <quote>he said.</quote> [verified: he said.]
"""


def drawn(view):
    """A view as text."""
    lines = [view.question, *(f"{answer.label}: {answer.text}" for answer in view.answers)]
    lines.append(", ".join(f"{one.speaker} for {one.label}" for one in view.positions))
    for turn in view.turns:
        marks = [quote.text for quote in turn.quotes if quote.verified]
        label = f" ({turn.label})" if turn.label else ""
        lines.append(f"{turn.speaker}{label}: {turn.text}" + (f" [verified: {', '.join(marks)}]" if marks else ""))
    return "".join(line + "\n" for line in lines)


def test_the_view_of_a_human_debate(tmp_path):
    """Question, answers, positions and speeches with their quotations; nothing of the judge, of names or the story."""
    judge = helpers.Watching()
    rejudge(corpus.write(tmp_path), judge, log_dir=tmp_path / "new")
    (view,) = [view for view in judge.views if len(view.turns) > 1]
    assert drawn(view) == EXACT
    assert view.material == {}
    assert not any(turn.own or turn.reasoning for turn in view.turns)
    (consultancy,) = [view for view in judge.views if len(view.turns) == 1]
    assert [(one.speaker, one.label) for one in consultancy.positions] == [("Consultant B", "B")]
    assert consultancy.options == ("A", "B")


def test_the_judges_messages_are_shown_when_asked_for(tmp_path):
    """Between the speeches, as another judge's words; those with the verdict never."""
    judge = helpers.Watching()
    rejudge(corpus.write(tmp_path), judge, messages=True, log_dir=tmp_path / "new")
    (view,) = [view for view in judge.views if len(view.turns) > 1]
    assert [(turn.speaker, turn.own) for turn in view.turns if turn.label is None] == [("First judge", False)] * 2
    assert [turn.text for turn in view.turns if turn.label is None] == ["prior leaning", "A, why? I lean to B"]
    assert "final reasons" not in drawn(view)


def test_questions_of_our_own_judges_belong_to_what_was_said(tmp_path):
    """In interactive protocols they are shown, as another judge's, unless they are asked to be hidden."""
    first, shown, hidden = (helpers.Watching(name) for name in ("first", "shown", "hidden"))
    cast = {"debater": tiny.Thinker(), "judge": first}
    result = oversight.run(
        "debate(rounds=2,interactive=True)", tiny.Sums(), limit=1, swap=False, log_dir=tmp_path / "run", **cast
    )
    again(tmp_path / "run", tmp_path / "shown", shown)
    again(tmp_path / "run", tmp_path / "hidden", hidden, messages=False)
    said = [(turn["role"], turn["text"]) for record in result.episodes() for turn in record["turns"] if "text" in turn]
    assert [role for role, _ in said].count("judge") == 1
    (view,), (without,) = shown.views, hidden.views
    assert [turn.text for turn in view.turns] == [text for _, text in said]
    assert [(turn.speaker, turn.own) for turn in view.turns if turn.label is None] == [("First judge", False)]
    assert [turn.text for turn in without.turns] == [text for role, text in said if role != "judge"]


def test_a_label_stays_with_its_protocol(tmp_path):
    """It stands in the title, by which records are grouped."""
    run(tmp_path / "run", "debate(rounds=1,label=short)", limit=1)
    again(tmp_path / "run", tmp_path / "new", tiny.Third())
    assert {record["protocol"] for record in read_episodes(tmp_path / "new")} == {"debate(short)"}


def canary(one):
    """Everything that must not reach a judge, made conspicuous."""
    one["setup"]["sourceMaterial"]["QuALITYSourceMaterial"]["contents"] = [*corpus.STORY, "HIDDENSTORY"]
    one["setup"]["sourceMaterial"]["QuALITYSourceMaterial"]["title"] = "HIDDENTITLE"
    one["rounds"][0]["JudgeFeedback"]["feedback"]["content"] = [corpus.text("HIDDENMESSAGE")]
    one["rounds"][4]["JudgeFeedback"]["feedback"]["content"] = [corpus.text("HIDDENREASONS")]
    one["feedback"] = {corpus.JUDGE: {"Judge": {"answers": {"reason for outcome": "HIDDENFEEDBACK"}}}}
    one["scratchpads"] = {"Debater A": [[corpus.text("HIDDENPAD")]]}


@pytest.mark.parametrize("through_import", [False, True])
def test_nothing_hidden_reaches_the_prompt(tmp_path, endpoint, through_import):
    """Story, names, credences, reasons and the truth stay out of every prompt that a real endpoint gets."""
    pub = corpus.write(tmp_path, debate=corpus.changed(canary))
    source = pub
    if through_import:
        source = tmp_path / "nyu"
        assert main(["import", str(pub), str(source), "--people"]) == 0
    endpoint.answer(then=REPLY)
    options = {"openai/new": ModelOptions(base_url=endpoint.base_url)}
    for stepped in (False, True):
        rejudge(source, "openai/new", stepped=stepped, options=options, log_dir=tmp_path / f"new {stepped}")
    sent = [json.dumps(body) for body in endpoint.bodies()]
    assert sent
    secrets = ["HIDDEN", corpus.JUDGE, corpus.FIRST, corpus.SECOND, "GPT-4", "human", "swapped", "nyu", "captain-"]
    secrets += ["0.4321", "43%", "0.2468", "25%", "0.1357", "0.8643", "86%", "I lean to B", 'orrect\\": ']
    for secret in secrets:
        assert not any(secret in text for text in sent), secret
    assert any("He went" in text for text in sent)


def test_private_reasoning_and_the_page_stay_hidden(tmp_path, endpoint):
    """Of our own runs: neither the hidden page beyond its quotations nor what anybody thought."""
    run(tmp_path / "run", debater=tiny.Thinker(), judge=tiny.Second())
    endpoint.answer(then=REPLY)
    again(
        tmp_path / "run",
        tmp_path / "new",
        "openai/new",
        options={"openai/new": ModelOptions(base_url=endpoint.base_url)},
    )
    sent = [json.dumps(body) for body in endpoint.bodies()]
    for secret in ("a secret thought", "a hunch", "tiny/", "thinker", "<material"):
        assert not any(secret in text for text in sent), secret


# ---- verdicts, one or several -------------------------------------------------------------------


def grown(view):
    """Sure of A by the number of turns that are seen."""
    share = 0.5 + sum(not turn.own for turn in view.turns) / 100
    return {"A": share, "B": 1 - share}


@pytest.mark.parametrize(
    ("protocol", "seen"),
    [
        ("debate(rounds=3)", [2, 4, 6]),
        ("debate(rounds=1)", [2]),
        ("debate(rounds=2,style=sequential,positions=open)", [2, 4]),  # the claim is not the judge's to hear
        ("debate(rounds=3,style=opening)", [2, 4, 6]),
        ("consultancy(rounds=2)", [1, 2]),
    ],
)
def test_stepped_gives_a_verdict_after_every_round(tmp_path, protocol, seen):
    """Each from the turns up to then; the last is the episode's."""
    role = "consultant" if protocol.startswith("c") else "debater"
    oversight.run(
        protocol, tiny.Sums(), limit=1, log_dir=tmp_path / "run", judge=tiny.Second(), **{role: tiny.Thinker()}
    )
    judge = helpers.Watching("new", choices=grown)
    again(tmp_path / "run", tmp_path / "new", judge, stepped=True)
    made = list(by_origin(tmp_path / "new").values())
    assert len(made) == 2
    for record in made:
        given = [turn["probabilities"] for turn in record["turns"] if turn["kind"] == "verdict"]
        assert [max(shares) for shares in given] == pytest.approx([0.5 + count / 100 for count in seen])
        assert record["probabilities"] == given[-1]
        original = {one["id"]: one for one in read_episodes(tmp_path / "run")}[record["recording"]["origin"]]
        assert record["protocol"] == original["protocol"]
        if len(seen) > 1:
            assert record["protocol_key"] != original["protocol_key"]
    for view in judge.views:  # the judge remembers what it said, and sees nothing of what is still to come
        assert [turn.own for turn in view.turns].count(True) < len(seen)


def test_stepped_through_a_human_debate(tmp_path):
    """As in the corpus's offline mode, but without a prior: a verdict after each round."""
    rejudge(corpus.write(tmp_path), ScriptedAgent("new", choices=grown), stepped=True, log_dir=tmp_path / "new")
    debate = by_origin(tmp_path / "new")["captain-0"]
    steps = [turn["step"] for turn in debate["turns"]]
    assert steps == [
        "judge speech 1",
        "debater 1 speech 1",
        "debater 2 speech 1",
        "judge verdict 2",
        "judge speech 3",
        "debater 1 speech 2",
        "debater 2 speech 2",
        "judge verdict 4",
    ]
    assert debate["probabilities"] == pytest.approx([0.54, 0.46])


def test_a_protocol_without_rounds_cannot_be_stepped_through(tmp_path):
    """The reason is stated; one with verdicts inside its loop is stepped already."""
    oversight.run(
        "consultancy(rounds=2,form=double)",
        tiny.Sums(),
        limit=1,
        log_dir=tmp_path / "run",
        judge=tiny.Second(),
        consultant=tiny.Thinker(),
    )
    with pytest.raises(ConfigurationError, match="no verdict right after its rounds"):
        again(tmp_path / "run", tmp_path / "new", tiny.Third(), stepped=True)
    assert not (tmp_path / "new").exists()


class UntilSure(Protocol):
    """A debate that ends when the judge is sure."""

    name = "until_sure"

    debater = Debater(instructions="Argue for {answer}.")
    judge = Judge(instructions="Decide.")

    def graph(self, answers):
        speeches = [self.debater.seat(number).argues() for number in range(answers)]
        one_round = in_turn(*speeches) >> self.judge.decides()
        return repeat(one_round, 4, until=lambda turns: max(turns[-1].probabilities) > 0.9)


@pytest.mark.parametrize(
    ("sure", "rounds", "probabilities"),
    [(0.95, 1, [0.95, 0.05]), (0.6, 2, [0.6, 0.4])],
    ids=["sure at once", "never sure"],
)
def test_a_judge_of_other_patience_judges_what_there_is(tmp_path, sure, rounds, probabilities):
    """Sure earlier, it stops earlier; not sure when the recording ends, its last verdict counts."""

    def second_round(view):
        return {"A": 1.0} if sum(not turn.own for turn in view.turns) >= 4 else {"A": 0.5, "B": 0.5}

    settings = {"limit": 1, "swap": False, "log_dir": tmp_path / "run", "debater": tiny.Thinker()}
    oversight.run(UntilSure(), tiny.Sums(), judge=ScriptedAgent("patient", choices=second_round), **settings)
    new = ScriptedAgent("new", choices={"A": sure, "B": 1 - sure})
    again(tmp_path / "run", tmp_path / "new", new, protocols=[UntilSure()])
    (record,) = read_episodes(tmp_path / "new")
    shown = dict(zip("AB", record["seating"]["labels"], strict=True))
    assert record["status"] == "scored"
    assert [record["probabilities"][shown[label]] for label in "AB"] == pytest.approx(probabilities)
    assert sum(turn["kind"] == "verdict" for turn in record["turns"]) == rounds


def test_options_may_be_reversed_and_labels_stay(tmp_path):
    """Speeches may name labels, so only the order of the options is swapped."""
    judge = helpers.Watching()
    rejudge(corpus.write(tmp_path), judge, both_orders=True, log_dir=tmp_path / "new")
    assert len(list(read_episodes(tmp_path / "new"))) == 4
    assert Counter(view.options for view in judge.views) == {("A", "B"): 2, ("B", "A"): 2}
    assert {tuple(answer.text for answer in view.answers) for view in judge.views if len(view.turns) > 1} == {
        ("He left.", "He stayed.")
    }


# ---- a run like any other -----------------------------------------------------------------------


def test_verdicts_of_a_scripted_judge_exactly(tmp_path):
    """Credit by the label of the correct answer, debaters' names in the cast, speeches free, the origin named."""
    run(tmp_path / "run", "debate(rounds=1)", limit=3)
    again(tmp_path / "run", tmp_path / "new", ScriptedAgent("always A", choices={"A": 0.7, "B": 0.3}))
    made = by_origin(tmp_path / "new")
    assert len(made) == 6
    for record in made.values():
        is_a = record["seating"]["labels"][0] == record["correct"]
        assert record["credit"] == float(is_a)
        assert record["probabilities"][record["correct"]] == pytest.approx(0.7 if is_a else 0.3)
        assert record["cast"] == {"debater": ["tiny/thinker"], "judge": ["always A"]}
        assert record["recording"]["source"] == "run"
        assert record["usage"] == {"calls": 0, "input_tokens": 0, "output_tokens": 0, "dollars": 0.0}
        assert [turn["agent"] for turn in record["turns"]] == ["tiny/thinker", "tiny/thinker", "always A"]


def test_nobody_speaks_anew_and_nothing_is_asked_twice(tmp_path, endpoint, monkeypatch):
    """One call for each reading of each verdict at the endpoint; the same command asks for nothing."""
    run(tmp_path / "run", limit=3)
    monkeypatch.setenv("OVERSIGHT_TEST_CALLS", str(tmp_path / "calls"))
    endpoint.answer(then=REPLY)
    settings = {"options": {"openai/new(orders=one)": ModelOptions(base_url=endpoint.base_url)}}
    again(tmp_path / "run", tmp_path / "new", "openai/new(orders=one)", **settings)
    assert len(endpoint.requests()) == 6
    assert not (tmp_path / "calls").exists()  # where the speakers would have left a line
    before = records(tmp_path / "new")
    again(tmp_path / "run", tmp_path / "new", "openai/new(orders=one)", **settings)
    assert len(endpoint.requests()) == 6
    assert records(tmp_path / "new") == before


def test_stopped_by_the_cost_limit_it_goes_on_where_it_was(tmp_path, endpoint):
    """What was paid is kept, and paid once."""
    run(tmp_path / "run", limit=4)
    endpoint.answer(then=REPLY)
    name = "openai/new(orders=one)"
    options = {name: ModelOptions(base_url=endpoint.base_url, price=(1000.0, 1000.0), max_retries=0)}
    plan = plan_rejudge(tmp_path / "run", name, arena=tiny.Sums(), options=options)
    calls = sum(cost.calls for cost in plan.costs())
    # A call could cost 2.73 and costs 0.15: those that have to wait for others are made as long as one more fits.
    with pytest.raises(BudgetExceeded):
        again(tmp_path / "run", tmp_path / "new", name, options=options, cost_limit=3.2)
    assert 0 < len(endpoint.requests()) < calls
    again(tmp_path / "run", tmp_path / "new", name, options=options, cost_limit=1000.0)
    assert len(endpoint.requests()) == calls == 8


def test_worst_case_tokens_are_not_crossed(tmp_path, endpoint):
    """Verdicts that cannot be read, on transcripts full of quotations and brackets: the plan's bounds hold."""

    def brackets(one):
        one["rounds"][3]["SequentialSpeeches"]["speeches"]["0"]["content"] = [corpus.text("<<<&amp; " * 200)]

    pub = corpus.write(tmp_path, debate=corpus.changed(brackets))
    options = {"ollama/new": ModelOptions(base_url=endpoint.base_url)}
    for stepped in (False, True):
        plan = plan_rejudge(pub, "ollama/new", stepped=stepped, options=options)
        (cost,) = plan.costs()
        endpoint.answer(then={"text": "x" * 1024})
        rejudge(pub, "ollama/new", stepped=stepped, options=options, log_dir=tmp_path / f"new {stepped}")
        prompts = sum(len(m["content"].encode()) for body in endpoint.bodies() for m in body["messages"])
        assert 0 < prompts <= cost.input_tokens
        assert len(endpoint.bodies()) * 1024 <= cost.output_tokens
        assert {record["status"] for record in read_episodes(tmp_path / f"new {stepped}")} == {"unscored"}


def command(source, folder, *words):
    return [sys.executable, "-m", "oversight.cli", "rejudge", str(source), "--log-dir", str(folder), *words]


def test_a_killed_run_is_resumed_by_the_same_command(tmp_path, endpoint):
    """Killed with -9 in the middle, it loses only what was in the air."""
    made = ["run", "debate(rounds=1)", "--arena", f"{TINY}:Sums", "--debater", f"{TINY}:Thinker"]
    assert main([*made, "--judge", f"{TINY}:Second", "--log-dir", str(tmp_path / "run")]) == 0
    words = ["--judge", "openai/new(orders=one)", "--base-url", endpoint.base_url, "--max-connections", "2"]
    endpoint.answer(then={**REPLY, "delay": 0.15})
    process = subprocess.Popen(
        command(tmp_path / "run", tmp_path / "new", *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 40
        path = tmp_path / "new" / "episodes.jsonl"
        while not path.exists() or path.read_bytes().count(b"\n") < 4:
            assert time.monotonic() < deadline, "the run did not get going"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    done = len(records(tmp_path / "new"))
    assert 4 <= done < 16
    ended = subprocess.run(
        command(tmp_path / "run", tmp_path / "new", *words), capture_output=True, text=True, timeout=120, check=True
    )
    assert f"{16 - done} episodes to play, {done} finished before" in ended.stderr
    assert len(records(tmp_path / "new")) == 16
    assert 16 <= len(endpoint.requests()) <= 16 + 2


def test_several_judges_and_the_first_few_of_every_sort(tmp_path):
    """Each judge judges each transcript; a limit takes transcripts of every protocol."""
    oversight.tournament(
        tiny.Sums(),
        debaters=[tiny.Thinker(), tiny.Third()],
        judges=[tiny.Second()],
        protocols=["consultancy(rounds=1)", "debate(rounds=1)"],
        limit=3,
        log_dir=tmp_path / "run",
    )
    judges = [ScriptedAgent("one", choices={"A": 1.0}), ScriptedAgent("two", choices={"B": 1.0})]
    result = again(tmp_path / "run", tmp_path / "new", judges, limit=4)
    found = Counter(
        (record["protocol"], next(iter(record["cast"].values()))[0], record["cast"]["judge"][0])
        for record in result.episodes()
    )
    assert found == {
        (protocol, debater, judge): 1
        for protocol in ("consultancy(rounds=1)", "debate(rounds=1)")
        for debater in ("tiny/thinker", "tiny/third")
        for judge in ("one", "two")
    }
    # What the tournament measured of its agents is known of them here too.
    assert result.capability == oversight.RunResult(tmp_path / "run").capability
    assert {cell.debater for cell in result.gap().cells} == {"tiny/thinker", "tiny/third"}


def test_the_original_and_the_new_judge_side_by_side(tmp_path, capsys):
    """One protocol in both directories, a row for each judge, on the same questions."""
    run(tmp_path / "run", limit=4)
    again(tmp_path / "run", tmp_path / "new", ScriptedAgent("new", choices={"A": 0.7, "B": 0.3}))
    assert main(["compare", str(tmp_path / "run"), str(tmp_path / "new"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {(row["protocol"], row["debater"], row["judge"]): row for row in found["rows"]}
    assert set(rows) == {("debate(rounds=2)", "tiny/thinker", judge) for judge in ("tiny/second", "new")}
    assert {row["questions"] for row in rows.values()} == {4}
    for words in (["gap"], ["show"], ["export"]):
        assert main([*words, str(tmp_path / "new")]) == 0
    capsys.readouterr()


def test_a_rejudged_run_can_be_rejudged(tmp_path):
    """Its transcripts are those of the first run."""
    import_folder = corpus.write(tmp_path)
    rejudge(import_folder, ScriptedAgent("one", choices={"A": 1.0}), stepped=True, log_dir=tmp_path / "one")
    rejudge(tmp_path / "one", ScriptedAgent("two", choices={"A": 1.0}), log_dir=tmp_path / "two")
    straight, back = read_recordings(import_folder), read_recordings(tmp_path / "one")
    assert sorted(one.digest for one in back.recordings) == sorted(one.digest for one in straight.recordings)
    keys = [{record["protocol_key"] for record in read_episodes(tmp_path / name)} for name in ("one", "two")]
    assert not keys[0] & keys[1]
    assert keys[1] == {one.protocol.key[:12] for one in straight.recordings}
    run(tmp_path / "run")
    for source, new, stepped in (("run", "three", True), ("three", "four", False)):
        again(tmp_path / source, tmp_path / new, ScriptedAgent("new", choices={"A": 1.0}), stepped=stepped)
    first, last = (read_recordings(tmp_path / name, arena=tiny.Sums()).recordings for name in ("run", "four"))
    assert {one.digest for one in first} == {one.digest for one in last}


def test_prompts_that_the_recorded_judge_had(tmp_path):
    """Instructions are those of the recorded run, whatever has become of them since."""
    run(tmp_path / "run", limit=1, swap=False)
    kept = json.loads((tmp_path / "run" / "run.json").read_text())
    entry = kept["configuration"]["protocols"][0]
    entry["instructions"]["judge"]["instructions"] = "Be a stern judge."
    from oversight.identity import digest

    key = digest({name: value for name, value in entry.items() if name != "casts"})[:12]
    (tmp_path / "run" / "run.json").write_text(json.dumps(kept))
    path = tmp_path / "run" / "episodes.jsonl"
    path.write_text(
        "".join(json.dumps({**json.loads(line), "protocol_key": key}) + "\n" for line in path.read_text().splitlines())
    )
    judge = helpers.Watching()
    again(tmp_path / "run", tmp_path / "new", judge)
    assert {view.instructions for view in judge.views} == {"Be a stern judge."}
    assert {record["protocol_key"] for record in read_episodes(tmp_path / "new")} == {key}


# ---- on the command line ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("logs") / "run"
    words = ["run", "debate(rounds=1)", "--arena", f"{TINY}:Sums", "--debater", f"{TINY}:Thinker"]
    assert main([*words, "--judge", f"{TINY}:Second", "--limit", "3", "--log-dir", str(path)]) == 0
    return path


def test_the_command_judges_and_prints_accuracy(folder, tmp_path, monkeypatch, capsys):
    """Without a directory it finds its own again; a dry run makes nothing."""
    monkeypatch.chdir(tmp_path)
    words = ["rejudge", str(folder), "--judge", "scripted/first"]
    assert main([*words, "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert "6 of 6 transcripts" in printed.out
    assert "In all at most $0.00." in printed.out
    assert list(tmp_path.iterdir()) == []
    for _ in range(2):
        assert main(words) == 0
        assert "accuracy" in capsys.readouterr().out
    assert len(list((tmp_path / "logs").iterdir())) == 1
    assert main([*words, "--stepped", "--judges", "scripted/uniform", "--limit", "2"]) == 0
    assert len(list((tmp_path / "logs").iterdir())) == 2
    capsys.readouterr()


REFUSED = [
    (["rejudge"], "TRANSCRIPTS"),
    (["rejudge", "FOLDER"], "nobody is to judge: give --judge AGENT"),
    (["rejudge", "FOLDER", "--judge", "scriptd/first"], "did you mean 'scripted/...'?"),
    (["rejudge", "FOLDER", "--judge", "openai/gpt-4o"], "OPENAI_API_KEY"),
    (["rejudge", "FOLDER", "--judge", "scripted/first", "--answers", "2"], "--answers: a recorded transcript"),
    (["rejudge", "FOLDER", "--judge", "scripted/first", "--no-swap"], "--no-swap: a recorded transcript"),
    (["rejudge", "FOLDER", "--judge", "scripted/first", "--all"], "--all is for the NYU corpus"),
    (["rejudge", "FOLDER", "--judge", "scripted/first", "--steped"], "did you mean '--stepped'?"),
    (["rejudge", "/nowhere", "--judge", "scripted/first"], "/nowhere: no such folder"),
    (["import", "/nowhere", "somewhere"], "/nowhere: not the NYU human debate corpus"),
    (["import", "/nowhere"], "LOGDIR"),
]


@pytest.mark.parametrize(("words", "said"), REFUSED, ids=[" ".join(words)[:60] for words, _ in REFUSED])
def test_what_cannot_be_done_is_one_line(words, said, folder, capsys, monkeypatch, tmp_path):
    """One line on standard error that says what to do; status 2; no file is made."""
    monkeypatch.chdir(tmp_path)
    assert main([str(folder) if word == "FOLDER" else word for word in words]) == 2
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1].startswith("oversight: error: ")
    assert said in printed.err
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_transcripts_is_refused(tmp_path, capsys):
    """Nobody spoke in it: why is said."""
    words = ["run", "direct", "--arena", f"{TINY}:Sums", "--judge", f"{TINY}:Second", "--limit", "1"]
    assert main([*words, "--log-dir", str(tmp_path / "run")]) == 0
    assert main(["rejudge", str(tmp_path / "run"), "--judge", "scripted/first"]) == 2
    assert "no transcript to put before a judge: 2 skipped" in capsys.readouterr().err


# ---- the real corpus ----------------------------------------------------------------------------


def test_human_debates_before_a_model(corpora, tmp_path, endpoint):
    """A few of each condition at a real endpoint: every verdict scored, no name of a judge or debater sent."""
    pub = corpora / "nyu-debate-2023" / "pub"
    found = read_recordings(pub)
    endpoint.answer(then=REPLY)
    options = {"openai/new": ModelOptions(base_url=endpoint.base_url)}
    result = rejudge(found, "openai/new", limit=8, stepped=True, options=options, log_dir=tmp_path / "new")
    made = list(result.episodes())
    assert Counter(next(iter(record["cast"].items()))[0] for record in made) == {"consultant": 4, "debater": 4}
    assert Counter(next(iter(record["cast"].values()))[0] for record in made) == {"human": 4, "GPT-4": 4}
    assert {record["status"] for record in made} == {"scored"}
    people = {turn.agent.removeprefix("human/") for one in found.recordings for turn in one.turns} - {"GPT-4"}
    sent = "\n".join(json.dumps(body) for body in endpoint.bodies())
    assert people
    assert not [name for name in people if name in sent]
    by_name = {one.origin.id: one for one in found.recordings}
    for record in made:
        one = by_name[record["recording"]["origin"]]
        assert one.question.hidden["passage"][:200] not in sent
        given = [turn for turn in record["turns"] if turn["kind"] == "verdict"]
        assert len(given) == len([each for each in one.rounds if not each.by_judge])
