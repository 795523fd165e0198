"""Presets: the papers' settings as they are known, options in their place, and a tournament from the command line."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

from oversight.arenas.passage import Passage
from oversight.cli import main
from oversight.errors import ConfigurationError, UnknownName
from oversight.limits import Limits
from oversight.models.openai_compatible import ModelOptions
from oversight.presets import PRESETS, find_preset
from oversight.protocols.consultancy import Consultancy
from oversight.protocols.debate import Debate
from oversight.protocols.direct import Direct
from oversight.registry import find_protocol
from oversight.runs.api import plan_tournament, preset_protocols, tournament
from oversight.runs.directory import read_episodes, read_json

TINY = Path(__file__).with_name("tiny.py")
_specification = importlib.util.spec_from_file_location("oversight_test_tiny", TINY)
tiny = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(tiny)
_specification = importlib.util.spec_from_file_location("oversight_test_endpoint", TINY.with_name("endpoint.py"))
endpoints = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(endpoints)

SUMS = f"{TINY}:Sums"
CAST = ("--debaters", "scripted/quoter", "--judges", "scripted/longest", "--limit", "2")

# Khan et al. 2024: 100 words asked for, 70 to 150 taken, of a consultant 200 and 140 to 300; at least one quotation;
# three rounds at the same time; a debater reads its own argument first; private thoughts; the judge reasons.
KHAN_SPEECH = Limits(words=100, least_words=70, most_words=150, least_quotes=1)
KHAN_ADVICE = Limits(words=200, least_words=140, most_words=300, least_quotes=1)
KHAN = {"rounds": 3, "private_reasoning": True, "judge_reasoning": True}
# Kenton et al. 2024: three rounds at the same time, the best of four, 150 words, a judge without reasoning.
KENTON = {"rounds": 3, "judge_reasoning": False, "limits": Limits(words=150), "candidates": 4, "preference": "judge"}
# Michael et al. 2023: a prior, openings at the same time, then question, first and second speaker until the judge
# stops, which is paid for; 750 characters a turn, 250 of them quoted, twice that for a consultant.
MICHAEL = {"interactive": True, "prior": True, "stop": "sure", "sure": 0.95, "penalty": 0.05, "rounds": 8}

EXACT = {
    "khan2024": [
        Direct(judge_reasoning=True),
        Direct(judge_reasoning=True, expert=True),
        Consultancy(**KHAN, limits=KHAN_ADVICE),
        Consultancy(**KHAN, limits=KHAN_ADVICE, interactive=True),
        Debate(**KHAN, limits=KHAN_SPEECH, egocentric=True, style="simultaneous"),
        Debate(**KHAN, limits=KHAN_SPEECH, egocentric=True, style="simultaneous", interactive=True),
    ],
    "kenton2024": [
        Direct(judge_reasoning=False),
        Direct(judge_reasoning=False, expert=True),
        Consultancy(**KENTON),
        Consultancy(**KENTON, positions="open"),
        Debate(**KENTON, style="simultaneous"),
        Debate(**KENTON, style="simultaneous", positions="open"),
    ],
    "michael2023": [
        Debate(**MICHAEL, style="opening", limits=Limits(most_characters=750, most_quoted_characters=250)),
        Consultancy(**MICHAEL, limits=Limits(most_characters=1500, most_quoted_characters=500)),
    ],
}
TITLES = {
    "khan2024": [
        "direct(khan2024, naive)",
        "direct(khan2024, expert)",
        "consultancy(khan2024, static)",
        "consultancy(khan2024, interactive)",
        "debate(khan2024, static)",
        "debate(khan2024, interactive)",
    ],
    "kenton2024": [
        "direct(kenton2024, naive)",
        "direct(kenton2024, expert)",
        "consultancy(kenton2024, assigned)",
        "consultancy(kenton2024, open)",
        "debate(kenton2024, assigned)",
        "debate(kenton2024, open)",
    ],
    "michael2023": ["debate(michael2023)", "consultancy(michael2023)"],
}


def bare(protocol):
    """The protocol without its label."""
    return protocol.model_copy(update={"label": ""})


@pytest.mark.parametrize("name", PRESETS)
def test_exactly_the_papers_settings(name):
    """Every option of every protocol of a preset, and two answers a question."""
    assert [bare(protocol) for protocol in preset_protocols(name, {})] == EXACT[name]
    assert find_preset(name).answers == 2


def test_there_are_no_other_presets():
    """What is listed is what is tested here."""
    assert set(PRESETS) == set(EXACT)


def test_a_consultant_has_the_length_of_two_debaters():
    """Khan's and Michael's consultants have twice the words and characters; Kenton's have the same."""
    for name, times in [("khan2024", 2), ("michael2023", 2), ("kenton2024", 1)]:
        limits = {
            protocol.name: protocol.limits for protocol in preset_protocols(name, {}) if protocol.name != "direct"
        }
        assert limits["consultancy"] == limits["debate"].times(times), name


@pytest.mark.parametrize("name", PRESETS)
def test_labels_are_in_the_title_and_not_in_the_key(name):
    """Reports tell the forms apart by name; the configuration is that of the options, whatever it is called."""
    protocols = preset_protocols(name, {})
    assert [protocol.title for protocol in protocols] == TITLES[name]
    assert [protocol.key for protocol in protocols] == [protocol.key for protocol in EXACT[name]]
    assert len({protocol.key for protocol in protocols}) == len(protocols)
    assert all("label" not in protocol.describe() for protocol in protocols)


def test_two_labels_have_one_key():
    """One configuration under two names is one."""
    one, other = Debate(rounds=2, label="one"), Debate(rounds=2, label="other")
    assert (one.title, other.title) == ("debate(one)", "debate(other)")
    assert one.key == other.key == Debate(rounds=2).key != Debate(rounds=3, label="one").key


def test_two_labels_of_one_configuration_are_not_played_side_by_side():
    """Their episodes would be each other's, under the name of one of them."""
    with pytest.raises(
        ConfigurationError, match=r"debate\(one\) and debate\(other\) differ in nothing but their labels"
    ):
        plan_tournament(tiny.Sums(), [tiny.Thinker()], [Debate(label="one"), Debate(label="other")])
    assert plan_tournament(tiny.Sums(), [tiny.Thinker()], ["direct", "direct"], limit=1)


# ---- options of a preset ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "having"),
    [
        ("khan2024", {"candidates": 4}, ["consultancy", "debate"]),
        ("khan2024", {"refinements": 1}, ["consultancy", "debate"]),
        ("kenton2024", {"candidates": 1, "rounds": 1}, ["consultancy", "debate"]),
        ("kenton2024", {"judge_reasoning": True}, ["consultancy", "debate", "direct"]),
        ("kenton2024", {"style": "sequential"}, ["debate"]),
        ("michael2023", {"sure": 0.8, "penalty": 0.0}, ["consultancy", "debate"]),
        ("michael2023", {"limits": "(words=20,least_words=5)"}, ["consultancy", "debate"]),
    ],
)
def test_an_option_is_given_to_each_protocol_that_has_it(name, changes, having):
    """It takes the place of the paper's own, is said in the title, and nothing else is changed."""
    for before, after in zip(EXACT[name], preset_protocols(name, changes), strict=True):
        if after.name in having:
            assert bare(after) == find_protocol(before.name, **{**before.model_dump(exclude={"label"}), **changes})
            assert all(f"{option}={value}" in after.title for option, value in changes.items())
        else:
            assert bare(after) == before
    assert {protocol.name for protocol in EXACT[name]} >= set(having)


def test_the_option_of_the_command_line_is_that_of_the_preset(capsys, tmp_path):
    """``--candidates 4`` reaches debates and consultancies, and run.json says so."""
    words = ["tournament", SUMS, "--preset", "khan2024", "--candidates", "2", "--rounds", "1", *CAST]
    assert main([*words, "--log-dir", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    configured = read_json(tmp_path / "run" / "run.json")["configuration"]["protocols"]
    assert [(one["protocol"], one.get("candidates"), one.get("rounds")) for one in configured] == [
        ("direct", None, None),
        ("direct", None, None),
        *[("consultancy", 2, 1)] * 2,
        *[("debate", 2, 1)] * 2,
    ]


REFUSED = [
    (["--preset", "khan2042"], "unknown preset 'khan2042': did you mean 'khan2024'?"),
    (["--preset", "khan2024", "--candidate", "4"], "unknown option '--candidate': did you mean '--candidates'?"),
    (
        ["--preset", "khan2024", "--protocols", "debate"],
        "--preset khan2024 brings its protocols: leave out --protocols",
    ),
    (["--preset", "khan2024", "--candidates", "none"], "option 'candidates' = 'none'"),
    (["--preset", "khan2024", "--limits", "(words=10,least_words=20)"], "10 words are asked for"),
    (["--preset", "khan2024", "--label", "mine"], "unknown option '--label'"),
    (["--preset", "khan2024", "--prompts", "mine"], "unknown option '--prompts'"),
    (["--candidates", "4"], "unknown option '--candidates'"),
    (
        ["--preset", "khan2024", "--interactive", "true"],
        "consultancy(khan2024, static, interactive=true) and consultancy(khan2024, interactive, interactive=true) "
        "differ in nothing but their labels: leave one of them out",
    ),
]


@pytest.mark.parametrize(("words", "said"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_what_a_preset_cannot_do_is_one_line(words, said, capsys, monkeypatch, tmp_path):
    """One line with the nearest match, status 2, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    assert main(["tournament", SUMS, *CAST, *words]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"preset": "kenton2023"}, UnknownName, "did you mean 'kenton2024'?"),
        ({"preset": "khan2024", "changes": {"candidats": 2}}, UnknownName, "did you mean 'candidates'?"),
        ({"preset": "khan2024", "changes": {"label": "x"}}, UnknownName, "unknown option of --preset khan2024 'label'"),
        ({"preset": "khan2024", "changes": {"prompts": "x"}}, UnknownName, "unknown option of --preset khan2024"),
        ({"preset": "khan2024", "protocols": ["debate"]}, ConfigurationError, "leave out --protocols"),
        ({"changes": {"rounds": 2}}, ConfigurationError, "need a preset"),
    ],
)
def test_the_same_in_python(arguments, error, said):
    """plan_tournament refuses what the command refuses."""
    with pytest.raises(error, match=re.escape(said)):
        plan_tournament(tiny.Sums(), [tiny.Thinker()], **arguments)


def test_a_preset_keeps_two_answers_unless_told_otherwise():
    """The paper's number of answers holds where none is given."""

    class Wide(tiny.Sums):
        def questions(self, limit, seed):
            return [
                type(question)(**{**question.to_dict(), "answers": (*question.answers, "7", "9")})
                for question in super().questions(limit, seed)
            ]

    def kept(**options):
        plan = plan_tournament(Wide(), [tiny.Thinker()], limit=2, **options)
        return {len(question.answers) for question in plan.questions}

    assert kept(preset="kenton2024") == {2}
    assert kept(preset="kenton2024", answers=3) == {3}
    assert kept(protocols=["direct"]) == {4}


# ---- played -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("judge", ["scripted/longest", "scripted/first", "scripted/uniform"])
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_played_to_its_end_from_the_command_line(name, judge, capsys, tmp_path, monkeypatch):
    """Every episode of every form is scored, judges that ask included, and reports name the forms."""
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / "run"
    words = ["--debaters", "scripted/quoter", "--judges", judge, "--limit", "2"]
    assert main(["tournament", SUMS, "--preset", name, *words, "--log-dir", str(folder)]) == 0
    printed = capsys.readouterr()
    records = [record for record in read_episodes(folder) if record["purpose"] == "comparison"]
    assert {record["protocol"] for record in records} == set(TITLES[name])
    assert [record["reason"] for record in records if record["status"] != "scored"] == []
    assert len(records) == 2 * 2 * len(TITLES[name])
    assert all(title in printed.out for title in TITLES[name])
    asked = {
        turn["text"] for record in records for turn in record["turns"] if turn["role"] == "judge" and "text" in turn
    }
    assert asked == (set() if name == "kenton2024" else {"What is the best evidence for your answer?"})
    for record in records:
        stops = name == "michael2023"
        assert (record["judge_score"] is not None) == stops
        assert all(turn["text"] for turn in record["turns"] if turn["kind"] == "speech")


@pytest.fixture(scope="module")
def endpoint():
    with endpoints.running() as running:
        yield running


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_played_to_its_end_by_an_endpoint(name, endpoint, tmp_path):
    """On the passage arena, with a real endpoint process: every verdict scored, quotations checked, words in bounds."""
    story = tmp_path / "quality.jsonl"
    item = {"question": "Who left?", "options": ["the captain", "the cook", "the maid"], "gold_label": 1}
    text = "The captain wasn't there. He had left long ago."
    story.write_text(json.dumps({"article_id": "1", "article": text, "questions": [item]}), encoding="utf-8")
    argument = f"Look at <quote>He had left long ago</quote>. {'It says so. ' * 30}"
    longer = f"Look at <quote>He had left long ago</quote>. {'It says so. ' * 60}"
    verdict = "Answer: A\nConfidence: 97%"
    endpoint.answer(
        then={
            "by_words": [
                ["Confidence: <0-100>%", {"text": f"<thinking>Hm.</thinking>\n{verdict}"}],
                ["the questions whose answers would help you", {"text": "Where is it written?"}],
                ["about 200 words", {"text": f"<thinking>Now.</thinking><argument>{longer}</argument>"}],
                ["<argument> and </argument>", {"text": f"<thinking>Now.</thinking><argument>{argument}</argument>"}],
            ],
            "text": argument,
        }
    )
    options = {name: ModelOptions(base_url=endpoint.base_url) for name in ("openai/strong", "openai/weak")}
    result = tournament(
        Passage(data=str(story)),
        debaters=["openai/strong"],
        judges=["openai/weak"],
        preset=name,
        options=options,
        log_dir=tmp_path / "run",
    )
    records = [record for record in result.episodes() if record["purpose"] == "comparison"]
    assert {record["protocol"] for record in records} == set(TITLES[name])
    assert [record["reason"] for record in records if record["status"] != "scored"] == []
    for record in records:
        for turn in record["turns"]:
            if turn["kind"] == "speech" and turn["role"] != "judge":
                assert [quote["verified"] for quote in turn["quotes"]] == [True]
                assert not any(note.startswith("outside") for note in turn.get("notes", ()))
                assert turn.get("reasoning", "") == ("Now." if name == "khan2024" else "")
            elif turn["kind"] == "verdict":
                assert len(turn["readings"]) == 2
                assert max(turn["probabilities"]) == pytest.approx(0.97)
    judged = [body for body in endpoint.bodies() if body["model"] == "weak"]
    naive = [body for body in judged if "<material" not in json.dumps(body)]
    assert naive
    assert not any("wasn't there" in json.dumps(body) for body in naive)
    assert all(body["messages"][-1]["content"].count("Now.") == 0 for body in judged)


def test_khans_debates_are_debated_as_they_are_in_the_paper(tmp_path):
    """Three rounds, each speech asked for again outside its words; questions before the second and third."""
    folder = tmp_path / "run"
    tournament(
        tiny.Sums(),
        debaters=["scripted/quoter"],
        judges=["scripted/uniform"],
        preset="khan2024",
        limit=1,
        log_dir=folder,
    )
    by_title = {record["protocol"]: record for record in read_episodes(folder)}
    steps = [turn["step"] for turn in by_title["debate(khan2024, interactive)"]["turns"]]
    assert steps == [
        "debater 1 speech 1",
        "debater 2 speech 1",
        "judge speech 1",
        "debater 1 speech 2",
        "debater 2 speech 2",
        "judge speech 2",
        "debater 1 speech 3",
        "debater 2 speech 3",
        "judge verdict 3",
    ]
    for turn in by_title["debate(khan2024, static)"]["turns"][:-1]:
        assert "asked 3 times for a speech within the limits" in turn["notes"]
        assert any(note.startswith("outside the limits: it has ") for note in turn["notes"])


def test_michaels_judge_is_shown_to_the_speakers_and_stops(tmp_path):
    """Prior, openings, and then question, first and second speaker until 0.95; each going on costs 0.05 bits."""

    class Growing(tiny.Thinker):
        kind = "growing"

        async def choose(self, request):
            from oversight.requests import Choice

            rounds = sum(turn.label == "A" for turn in request.view.turns)
            share = (0.5, 0.7, 0.8, 0.96)[rounds]
            return Choice({"A": share, "B": 1 - share}, "script")

        async def speak(self, request):
            from oversight.requests import Speech

            return Speech("Why?") if request.view.position is None else await super().speak(request)

    result = tournament(
        tiny.Sums(),
        debaters=[tiny.Thinker()],
        judges=[Growing()],
        preset="michael2023",
        limit=1,
        log_dir=tmp_path / "run",
    )
    records = [record for record in result.episodes() if record["protocol"] == "debate(michael2023)"]
    assert len(records) == 2
    for record in records:
        assert [turn["step"] for turn in record["turns"]] == [
            "judge verdict 1",
            "debater 1 speech 1",
            "debater 2 speech 1",
            "judge verdict 2",
            "judge speech 3",
            "debater 1 speech 2",
            "debater 2 speech 2",
            "judge verdict 4",
            "judge speech 5",
            "debater 1 speech 3",
            "debater 2 speech 3",
            "judge verdict 6",
        ]
        right = record["seating"]["labels"][0] == record["correct"]
        assert record["judge_score"] == pytest.approx((-0.0588937 if right else -4.6438562) - 0.15)


# ---- listed -------------------------------------------------------------------------------------------


def test_presets_as_they_are_listed(capsys, monkeypatch):
    """Name and paper, each protocol in a line that can be copied, and what is not as in the paper."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["list", "presets"]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    for name, preset in PRESETS.items():
        assert f"{name}  {preset.source}" in lines
        for protocol in EXACT[name]:
            assert f"    {protocol.title}" in lines
            assert find_protocol(protocol.title) == protocol
        flat = " ".join(text.split())
        for difference in preset.differs:
            assert f"not as in the paper: {difference}" in flat
    assert lines.count("    2 answers a question") == len(PRESETS)
    assert all(line == line.rstrip() for line in lines)


# ---- prompts --------------------------------------------------------------------------------------------


def written(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_prompts_are_written_to_be_edited(tmp_path, capsys):
    """One file a text, named in the output with how to play with them; nothing is written over."""
    folder = tmp_path / "mine"
    assert main(["prompts", "debate", str(folder)]) == 0
    printed = capsys.readouterr().out.splitlines()
    names = ["debater.txt", "debater.claim.txt", "debater.draft.txt", "debater.criticise.txt", "debater.rewrite.txt"]
    names += ["judge.txt", "judge.ask.txt", "judge.open.txt"]
    assert printed[: len(names)] == [str(folder / name) for name in names]
    assert f"oversight run debate --prompts {folder}" in printed[-1]
    assert set(written(folder)) == set(names)
    texts = Debate().texts
    for name, text in written(folder).items():
        role, _, task = name.removesuffix(".txt").partition(".")
        assert " ".join(text.split()) == " ".join(texts[role][task or "instructions"].split())
    (folder / "judge.txt").write_text("Mine.")
    assert main(["prompts", "debate", str(folder)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (folder / "judge.txt").read_text() == "Mine."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["debte", "x"], "did you mean 'debate'?"),
        (["debate"], "FOLDER"),
        ([], "write the protocol first: oversight prompts PROTOCOL"),
        (["debate", "x", "--round", "2"], "did you mean '--rounds'?"),
        (["debate", "file/inside"], "prompts cannot be written there"),
        (["debate", "file"], "prompts cannot be written there"),
    ],
)
def test_prompts_that_cannot_be_written_are_one_line(words, said, tmp_path, monkeypatch, capsys):
    """Status 2 and what to do."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("not a folder")
    assert main(["prompts", *words]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_prompts_of_a_role_that_is_not_heard_are_not_written(tmp_path, capsys):
    """What nobody is told is not there to be edited."""
    assert main(["prompts", "critique(author=silent)", str(tmp_path / "one")]) == 0
    assert main(["prompts", "critique", "--author", "silent", str(tmp_path / "two")]) == 0
    assert set(written(tmp_path / "one")) == set(written(tmp_path / "two")) == {"critic.txt", "judge.txt"}
    assert main(["prompts", "blind", str(tmp_path / "blind")]) == 0
    assert set(written(tmp_path / "blind")) == {"judge.txt"}
    capsys.readouterr()


@pytest.mark.parametrize("name", ["debate", "consultancy", "critique", "cross_examination", "multi_agent_debate"])
def test_prompts_as_they_were_written_change_nothing(name, tmp_path, capsys):
    """Files nobody has edited are the built-in texts: the same configuration."""
    assert main(["prompts", name, str(tmp_path / "mine")]) == 0
    capsys.readouterr()
    own = find_protocol(name, prompts=str(tmp_path / "mine"))
    assert own.key == find_protocol(name).key
    assert own.texts.keys() == find_protocol(name).texts.keys()


LISTENER = """
import json
from pathlib import Path

from oversight.agents import ScriptedAgent
from oversight.agents.prompts import choose_messages

HEARD = Path(__file__).with_name("heard.jsonl")


def choose(view):
    with HEARD.open("a") as file:
        file.write(json.dumps([message["content"] for message in choose_messages(view)]) + "\\n")
    return {"A": 1.0}


Listener = ScriptedAgent("listener", None, choose)
"""


def test_an_edited_prompt_reaches_the_judge_and_changes_the_configuration(tmp_path, capsys):
    """What is in the file is what the judge is told, and a run with it is another run."""
    (tmp_path / "listener.py").write_text(LISTENER)
    folder, heard = tmp_path / "mine", tmp_path / "heard.jsonl"
    assert main(["prompts", "debate", str(folder)]) == 0
    (folder / "judge.txt").write_text("You are the arbiter.\n{positions}\nDecide.\n")
    for path in folder.iterdir():
        if path.name not in ("judge.txt", "debater.txt"):
            path.unlink()
    words = ["run", "debate", "--rounds", "1", "--arena", SUMS, "--debater", "scripted/quoter", "--limit", "1"]
    words += ["--judge", f"{tmp_path}/listener.py:Listener"]
    keys, configurations = set(), []
    for more, log in [([], "plain"), (["--prompts", str(folder)], "edited")]:
        heard.unlink(missing_ok=True)
        assert main([*words, *more, "--log-dir", str(tmp_path / log)]) == 0
        prompts = heard.read_text()
        arbiter = re.search(
            r"You are the arbiter\. Debater . argues for answer .\. Debater . argues .*Decide\.", prompts
        )
        assert bool(arbiter) == (log == "edited")
        assert ("You are the judge of a debate." in prompts) == (log == "plain")
        keys |= {record["protocol_key"] for record in read_episodes(tmp_path / log)}
        configurations.append(read_json(tmp_path / log / "run.json")["configuration"]["protocols"][0]["instructions"])
    assert len(keys) == 2
    assert configurations[0]["debater"] == configurations[1]["debater"]
    assert configurations[1]["judge"]["instructions"] == "You are the arbiter. {positions} Decide."
    capsys.readouterr()
    # The run of the built-in texts is not taken for that of the edited ones.
    assert main([*words, "--prompts", str(folder), "--log-dir", str(tmp_path / "plain")]) == 2
    assert "instructions" in capsys.readouterr().err


def test_inherited_code_is_in_the_key(tmp_path, monkeypatch):
    """A protocol is made of its own file and of those whose protocols it extends: to edit one is another protocol."""
    (tmp_path / "mine.py").write_text("""
from oversight_test_base import Base

class Mine(Base):
    name = "mine"
""")
    monkeypatch.syspath_prepend(tmp_path)
    keys = set()
    for more in ("", "self.debater.argues() >> "):
        (tmp_path / "oversight_test_base.py").write_text(f"""
from oversight.protocol import Debater, Judge, Protocol

class Base(Protocol):
    debater, judge = Debater(), Judge()

    def graph(self, answers):
        return {more}self.debater.argues() >> self.judge.decides()
""")
        for name in [name for name in sys.modules if name.startswith(("oversight_test_base", "oversight_user_mine"))]:
            monkeypatch.delitem(sys.modules, name)
        importlib.invalidate_caches()
        keys.add(find_protocol(f"{tmp_path}/mine.py:Mine").describe()["source"])
    assert len(keys) == 2
