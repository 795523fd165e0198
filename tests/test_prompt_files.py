"""Prompts as files: written, read back, replaced, and part of a run's configuration by their words alone."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from oversight.agents.prompts import choose_messages, speak_messages
from oversight.errors import ConfigurationError, DataError, OversightError, UnknownName
from oversight.graph import check
from oversight.prompt_files import file_name, read_prompts, write_prompts
from oversight.protocol import Debater, Judge, Protocol
from oversight.protocols.debate import Debate
from oversight.registry import find_protocol, load_class, names
from oversight.requests import Speak

_file = Path(__file__).with_name("helpers.py")
_specification = importlib.util.spec_from_file_location("oversight_test_helpers", _file)
helpers = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(helpers)


class Asked(Protocol):
    """A speaker with a task of its own, a claim, and a judge with two tasks."""

    name = "asked"
    length: int = 1
    debater = Debater(instructions="Defend {answer}.", claim_instructions="Claim.", tasks={"open": "Open it."})
    judge = Judge(instructions="Judge.", tasks={"ask": "Ask {speaker}.", "sum_up": "Sum up."})

    def graph(self, answers):
        return (
            self.judge.speaks(task="ask")
            >> self.debater.argues(task="open")
            >> self.debater.argues()
            >> self.judge.speaks(task="sum_up")
            >> self.judge.decides()
        )


TEXTS = {
    "debater.txt": "Defend {answer}.",
    "debater.claim.txt": "Claim.",
    "debater.open.txt": "Open it.",
    "judge.txt": "Judge.",
    "judge.ask.txt": "Ask {speaker}.",
    "judge.sum_up.txt": "Sum up.",
}


def write(folder, **texts):
    """A folder with these texts, by role and name of the text."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name.replace('__', '.')}.txt").write_text(text, encoding="utf-8")
    return str(folder)


def said_to(protocol, **settings):
    """What each role was told in each turn: its name, its instructions and its task."""
    agent = helpers.Watching()
    helpers.play(protocol, agent, **settings)
    return [(view.role, view.instructions, view.task) for view in agent.views]


# ---- files ---------------------------------------------------------------------------------------------


def test_one_text_one_file():
    assert {file_name(role, name) for role, texts in Asked().texts.items() for name in texts} == set(TEXTS)


def test_texts_are_written_as_they_are(tmp_path):
    written = write_prompts(tmp_path / "prompts", Asked().texts)
    assert {path.name: path.read_text(encoding="utf-8") for path in written} == {
        name: f"{text}\n" for name, text in TEXTS.items()
    }
    assert sorted((tmp_path / "prompts").iterdir()) == sorted(written)


@pytest.mark.parametrize("name", sorted(names("protocols")))
def test_what_is_written_reads_back_as_the_same_protocol(tmp_path, name):
    """Copies that nobody edited change nothing: not the texts, not the configuration, not what is played."""
    texts = {role: one.texts() for role, one in load_class("protocols", name)._roles_of_class().items()}
    assert texts
    folder = tmp_path / "prompts"
    write_prompts(folder, texts)
    assert read_prompts(folder, texts) == texts
    plain, own = find_protocol(name), find_protocol(name, prompts=str(folder))
    assert own.texts == plain.texts
    assert own.describe() == plain.describe()
    assert own.key == plain.key
    assert check(own) == check(plain) == []


@pytest.mark.parametrize("name", sorted(names("protocols")))
def test_every_text_of_every_protocol_can_be_replaced(tmp_path, name):
    """Each in turn, alone: it is the text of its role, and the configuration is another."""
    plain = find_protocol(name)
    keys = {plain.key}
    for role, texts in plain.texts.items():
        for number, text in enumerate(texts):
            folder = tmp_path / f"{role} {number}"
            folder.mkdir()
            (folder / file_name(role, text)).write_text("Other words.")
            own = find_protocol(name, prompts=str(folder))
            changed = {**plain.texts, role: {**texts, text: "Other words."}}
            assert own.texts == changed
            if role in plain.roles():
                assert own.roles()[role].texts() == changed[role]
                keys.add(own.key)
    assert len(keys) == 1 + sum(len(texts) for role, texts in plain.texts.items() if role in plain.roles())


@pytest.mark.parametrize("there", ["judge.txt", "debater.open.txt"])
def test_no_file_is_written_over(tmp_path, there):
    """A text of the user's own stays, and nothing else is written beside it."""
    (tmp_path / there).write_text("Mine.")
    with pytest.raises(ConfigurationError, match=rf"{there} is there already: name another folder") as caught:
        write_prompts(tmp_path, Asked().texts)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "Mine."


# ---- what a role is told ---------------------------------------------------------------------------------


def test_replaced_texts_reach_their_turns_and_no_others(tmp_path):
    """Instructions in every turn of the role, a task in its turn; what is not replaced stays."""
    prompts = write(tmp_path, debater="Argue well for {answer},\n  {speaker}.\n", judge__ask="Ask away.")
    argue = "Argue well for A (answer 0), Debater A."
    assert said_to(Asked(prompts=prompts)) == [
        ("judge", "Judge.", "Ask away."),
        ("debater", argue, "Open it."),
        ("debater", argue, ""),
        ("judge", "Judge.", "Sum up."),
        ("judge", "Judge.", ""),
    ]


def test_a_replaced_claim_is_what_the_claimant_is_asked(tmp_path):
    prompts = write(tmp_path, debater__claim="Which one, then?")
    told = said_to(Debate(rounds=1, positions="open", prompts=prompts))
    assert told[0] == ("debater", "Which one, then?", "")
    assert sum(instructions == "Which one, then?" for _, instructions, _ in told) == 1


def test_replaced_texts_reach_the_prompt_of_a_language_model(tmp_path):
    """Instructions stand in it once, a task just before what is asked for."""
    prompts = write(tmp_path, debater="Defend it <well>.", debater__open="Begin.", judge="Decide & explain.")
    agent = helpers.Watching()
    helpers.play(Asked(prompts=prompts), agent)
    opening = next(request for request in agent.requests if isinstance(request, Speak) and request.view.position)
    messages = speak_messages(opening.view)
    assert "".join(message["content"] for message in messages).count("Defend it <well>.\n\n") == 1
    assert messages[-1]["content"].endswith("\n\nBegin.\nSpeak now, as Debater A, for answer A.")
    verdict = "".join(message["content"] for message in choose_messages(agent.views[-1]))
    assert verdict.count("Decide & explain.\n\n") == 1
    assert "Judge." not in verdict


def test_a_task_of_a_verdict_leads_its_question():
    """What is asked in a turn stands in place of the usual words."""

    class Weighing(Protocol):
        name = "weighing"
        judge = Judge(tasks={"weigh": "Weigh it once more."})

        def graph(self, answers):
            return self.judge.decides().but(task="weigh")

    agent = helpers.Watching()
    helpers.play(Weighing(), agent)
    assert (
        "\n\nWeigh it once more. The options, in an order that means nothing:\nA: "
        in (choose_messages(agent.views[0])[-1]["content"])
    )


# ---- the configuration -------------------------------------------------------------------------------------


def test_the_configuration_is_that_of_the_words_and_not_of_their_place(tmp_path):
    """The same words in two folders are one configuration; other words in one folder are another."""
    here = Asked(prompts=write(tmp_path / "here", judge="Judge well."))
    there = Asked(prompts=write(tmp_path / "there", judge="Judge well.\n"))
    assert here.key == there.key != Asked().key
    assert here.describe() == there.describe()
    assert "prompts" not in here.describe()
    assert str(tmp_path) not in str(here.describe())
    assert here.describe()["instructions"]["judge"] == {
        "instructions": "Judge well.",
        "ask": "Ask {speaker}.",
        "sum_up": "Sum up.",
    }
    write(tmp_path / "here", judge="Judge better.")
    assert Asked(prompts=str(tmp_path / "here")).key != here.key


def test_words_are_read_once(tmp_path):
    """What is edited while a run goes on is another run's."""
    protocol = Asked(prompts=write(tmp_path, judge="Judge well."))
    key = protocol.key
    write(tmp_path, judge="Judge better.")
    assert said_to(protocol)[-1] == ("judge", "Judge well.", "")
    assert (protocol.key, Asked(prompts=str(tmp_path)).key == key) == (key, False)


def test_one_protocol_does_not_change_another(tmp_path):
    """The class keeps its own texts."""
    Asked(prompts=write(tmp_path, judge="Judge well.", debater="Speak."))
    assert said_to(Asked())[-1] == ("judge", "Judge.", "")
    assert Asked.judge.instructions == "Judge."


# ---- what cannot be -----------------------------------------------------------------------------------------


def _no_folder(folder):
    return f"{folder}/none", ConfigurationError, "none: no such folder of prompts; oversight prompts PROTOCOL"


def _a_file(folder):
    (folder / "judge.txt").write_text("x")
    return f"{folder}/judge.txt", ConfigurationError, "judge.txt: no such folder of prompts"


def _nothing_in_it(folder):
    (folder / "readme.md").write_text("x")
    return folder, ConfigurationError, r"holds no prompt file; expected one of debater.txt, debater.claim.txt, "


def _unknown_role(folder):
    (folder / "juge.txt").write_text("x")
    return folder, UnknownName, r"unknown prompt file in .* 'juge.txt': did you mean 'judge.txt'\?"


def _unknown_text(folder):
    (folder / "judge.txt").write_text("x")
    (folder / "judge.sumup.txt").write_text("x")
    return folder, UnknownName, r"unknown prompt file in .* 'judge.sumup.txt': did you mean 'judge.sum_up.txt'\?"


def _a_claim_of_one_without_an_answer(folder):
    (folder / "judge.claim.txt").write_text("x")
    return folder, UnknownName, r"unknown prompt file in .* 'judge.claim.txt': did you mean"


def _no_text(folder):
    (folder / "judge.txt").write_bytes(b"\xff\xfe\x00")
    return folder, DataError, "judge.txt: cannot be read as UTF-8 text"


@pytest.mark.parametrize(
    "case",
    [
        _no_folder,
        _a_file,
        _nothing_in_it,
        _unknown_role,
        _unknown_text,
        _a_claim_of_one_without_an_answer,
        _no_text,
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, case):
    """Before anything is played: what is missing or strange, where, and what would do."""
    folder, error, said = case(tmp_path)
    with pytest.raises(error, match=said) as caught:
        Asked(prompts=str(folder))
    assert isinstance(caught.value, OversightError)
    assert "\n" not in str(caught.value)


def test_other_files_are_left_alone(tmp_path):
    """Notes and copies that do not end in .txt are nobody's business."""
    prompts = write(tmp_path, judge="Judge well.")
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "judge.txt~").write_text("x")
    assert Asked(prompts=prompts).texts["judge"]["instructions"] == "Judge well."


def test_a_brace_of_the_users_own_is_found_by_the_check(tmp_path):
    """What nothing fills in is a finding, as in the protocol's own texts."""
    prompts = write(tmp_path, judge__ask="Ask {them}.")
    (found,) = check(Asked(prompts=prompts))
    assert (found.rule, found.where) == ("instructions", "judge")
