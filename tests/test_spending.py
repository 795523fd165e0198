"""What is counted as calls are made: the share of prompts that was sent before, by role and model."""

from __future__ import annotations

import asyncio
import importlib.util
from itertools import pairwise
from pathlib import Path

import oversight
from oversight.agents import LanguageModelAgent
from oversight.models import Completion, Model
from oversight.report.terminal import console, print_spending
from oversight.runs.api import RunResult
from oversight.runs.journal import Journal
from oversight.runs.spending import Prefixes, Spend, Spending, acting_as
from oversight.transcript import Usage

_file = Path(__file__).with_name("helpers.py")
_specification = importlib.util.spec_from_file_location("oversight_test_helpers_spending", _file)
helpers = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(helpers)


def test_what_a_text_has_in_common_with_the_beginning_of_an_earlier_one():
    """In whole blocks, from the start on, whichever earlier text it is."""
    known = Prefixes(block=4).known
    assert known("aaaabbbbcc") == 0
    assert known("aaaabbbbcc") == 8  # the rest is no whole block
    assert known("aaaabbbbccccdddd") == 8
    assert known("aaaabbbbccccdddd") == 16
    assert known("aaaaxxxxcccc") == 4
    assert known("bbbbaaaa") == 0  # the same blocks in another place are no beginning
    assert known("aaa") == known("") == 0


def test_the_memory_of_beginnings_is_bounded():
    """What was met longest ago is forgotten, the end of a text before its beginning."""
    prefixes = Prefixes(block=1, most=3)
    prefixes.known("abc")
    assert prefixes.known("abx") == 2
    assert prefixes.known("abc") == 2  # c was forgotten
    prefixes.known("0123456789")
    assert len(prefixes._known) == 3
    assert prefixes.known("abc") == 0
    assert prefixes.known("abc") == 3


def test_each_model_has_read_its_own_prompts():
    """The second reader of a prompt has not read it before."""
    spending = Spending()
    prompt = [{"role": "user", "content": "x" * 1000}]
    with acting_as("debater"):
        spending.asked("one", prompt)
        spending.asked("two", prompt)
    with acting_as("judge"):
        spending.asked("one", prompt)
    length = len("user\0") + 1000
    seen = {(line.role, line.model): (line.characters, line.seen_before, line.cacheable) for line in spending.lines}
    assert seen == {
        ("debater", "one"): (length, 0, 0.0),
        ("debater", "two"): (length, 0, 0.0),
        ("judge", "one"): (length, 768, 768 / length),
    }


def test_sums():
    """Tokens, dollars and tries add up; unknown prices are counted and not guessed; what is written is read again."""
    spending = Spending()
    with acting_as("judge"):
        spending.paid("m", Usage(1, 10, 5, 0.5))
        spending.paid("m", Usage(1, 1, 1, None))
        spending.paid("m", None, failed=True)
        for reason in ("429", "500", "429"):
            spending.repeated("m", reason)
    (line,) = spending.lines
    assert line == Spend("judge", "m", 2, 1, 11, 6, 0.5, 1, {"429": 2, "500": 1})
    assert spending.retries == line.retries == 3
    assert line.cacheable is None
    line.add(Spend.from_dict({**line.to_dict(), "of a later version": 1}))
    assert line == Spend("judge", "m", 4, 2, 22, 12, 1.0, 2, {"429": 4, "500": 2})


class Noted(Model):
    """Keeps the prompts it is given, and answers with a speech or a verdict of some length."""

    def __init__(self):
        super().__init__("noted")
        self.prompts = []

    async def complete(self, call):
        self.prompts.append(call.messages)
        said = "Nothing could be clearer than this. " * 20 + f"Point {len(self.prompts)}."
        return Completion(f"{said}\nAnswer: A\nConfidence: 80%", usage=Usage(1, 1, 1, 0.0))


class Story(helpers.Plain):
    """Questions on one long story."""

    def questions(self, limit, seed):
        return [
            helpers.question(id=f"q{n}", text=f"Which one is {n}?", hidden="Once upon a time there was a king. " * 200)
            for n in range(limit)
        ]


def test_prompts_begin_with_what_stays_the_same(tmp_path):
    """Of a debate on a long story, a turn adds to what its seat has read what was said since: little else is new."""
    model = Noted()
    result = oversight.run(
        "debate(rounds=3,style=sequential)",
        Story(),
        debater=LanguageModelAgent(model, name="noted"),
        judge=LanguageModelAgent(model, name="noted"),
        limit=2,
        swap=False,
        connections=1,
        log_dir=tmp_path / "run",
    )
    shares = {line.role: line.cacheable for line in result.spending()[0]}
    assert shares["debater"] > 0.75  # the story is new once, for both questions on it
    assert shares["judge"] > 0.4  # who reads the transcript in both orders of the options
    assert len(model.prompts) == 2 * (6 + 2)
    texts = ["\0".join(message["content"] for message in prompt) for prompt in model.prompts]
    for seat in ("Speak now, as Debater A", "Speak now, as Debater B"):
        for number in range(2):
            asked = [text for text in texts if seat in text and f"Which one is {number}?" in text]
            assert len(asked) == 3
            for earlier, later in pairwise(asked):
                said = max(earlier.rfind("</turn>"), earlier.find("Your part:"))
                assert earlier[:said] == later[:said]


def test_what_a_killed_process_had_not_yet_counted_is_a_line_of_its_own(tmp_path, capsys):
    """Stored calls of which no account knows: their dollars are told, and nothing where all are counted."""

    async def play():
        journal = Journal(tmp_path / "journal.sqlite")

        async def produce():
            return {"value": "a reply", "dollars": 0.25}

        await journal.once("key", "a model", produce)
        await journal.close()

    asyncio.run(play())
    result = RunResult(tmp_path)
    assert result.uncounted() == 0.25
    print_spending(result, console())
    assert "and $0.2500 for calls that a killed process had stored and not yet counted" in capsys.readouterr().out
    assert RunResult(tmp_path / "nothing").uncounted() == 0.0
