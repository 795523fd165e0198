"""The session line by line: what is said, and what typed lines come to."""

import asyncio
import importlib.util
import io
import os
from dataclasses import replace
from pathlib import Path

import pytest

from oversight.requests import Choose
from oversight.terminal.front import Decided, Place, Said, Skipped, Stopped
from oversight.terminal.plain import Plain
from oversight.transcript import Belief

_file = Path(__file__).with_name("terminal_samples.py")
_specification = importlib.util.spec_from_file_location("oversight_terminal_samples", _file)
samples = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(samples)
GOLDENS = Path(__file__).with_name("goldens") / "terminal"


def session(name, typed, *, feedback=False, wait=0.0, **more):
    """The outcome, what was said, and what was kept, when these lines are typed and then nothing."""
    asked = replace(samples.REQUESTS[name], **more)
    keep, out = samples.Kept(), io.StringIO()
    read, write = os.pipe()
    os.write(write, typed.encode())
    os.close(write)

    async def run():
        async with Plain(read, out) as front:
            went_on = await front.wait("The debaters are answering", asyncio.sleep(wait), Place(3, 4)) if wait else True
            if not went_on:
                return None
            ask = front.choose if isinstance(asked.request, Choose) else front.speak
            outcome = await ask(asked, Place(3, 4), keep)
            return (outcome, await front.rest(Place(3, 4), samples.FEEDBACK)) if feedback else outcome

    try:
        return asyncio.run(asyncio.wait_for(run(), 20)), out.getvalue(), keep
    finally:
        os.close(read)


@pytest.mark.parametrize("name", ["debate", "four", "wide", "attacks"])
def test_what_is_said(name):
    _, text, _ = session(name, "?\n\n\n\n\n\n", feedback=True)
    path = GOLDENS / f"{name}-plain.txt"
    if os.environ.get("UPDATE_GOLDENS"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    assert not set(text) & set("\x1b\r\t✓✗─●█")


def test_no_speaker_can_announce_anything():
    _, text, _ = session("attacks", "\n\n\n")
    said = [line for line in text.splitlines() if "argues for B" in line]
    assert [line for line in said if not line.startswith("Debater A: ")] == [
        "Debater A argues for A; Debater B argues for B.",
        "Turn 2 of 2. Debater B Debater A argues for B.",
    ]


def test_a_whole_judgement():
    typed = "60\n nonsense\n40 %\nnote the flour\nB 55\n10\nreason it was B\n12,5\n\n"
    (outcome, went_on), text, keep = session("debate", typed.replace("12,5", "12.5") + "\n", feedback=True)
    assert outcome == Decided(outcome.probabilities, "it was B", outcome.seconds, None)
    assert outcome.probabilities == pytest.approx({"A": 0.875, "B": 0.125})
    assert [belief.probabilities for belief in keep.beliefs] == [
        pytest.approx(shares) for shares in [(0.4, 0.6), (0.6, 0.4), (0.45, 0.55)]
    ]
    assert keep.notes == ["the flour"]
    assert went_on
    assert "That is no share and no command." in text


def test_an_enter_alone_is_no_verdict():
    outcome, text, keep = session("debate", "\n" * 4)
    assert isinstance(outcome, Stopped)
    assert len(keep.beliefs) == 3
    assert "Press Enter to keep it" in text


def test_it_goes_on_after_what_was_stated():
    outcome, text, keep = session("debate", "\n\n\n", beliefs=(Belief(2, (0.2, 0.8)),))
    assert "Turn 2 of" not in text
    assert [belief.after for belief in keep.beliefs] == [3]
    assert outcome.probabilities == pytest.approx({"A": 0.2, "B": 0.8})


@pytest.mark.parametrize(("typed", "stops"), [("72\n\n", False), ("72\nend\n", True), ("end\n72\nend\n", True)])
def test_stakes(typed, stops):
    outcome, text, _ = session("stakes", typed)
    assert outcome.stops is stops
    assert "-0.47 if A is right, -1.84 if B is right, less 0.10 for 2 decisions to go on" in text


def test_several_shares_at_once():
    outcome, _, _ = session("four", "\n10 20 30 40\n\n")
    assert outcome.probabilities == pytest.approx({"C": 0.1, "A": 0.2, "D": 0.3, "B": 0.4})
    outcome, text, _ = session("four", "\n10 20 30 50\nnan 0 0 100\n101\nD 70\n\n")
    assert outcome.probabilities == pytest.approx({"C": 0.1, "A": 0.1, "D": 0.7, "B": 0.1})
    assert text.count("That is no share") == 3


def test_ways_out():
    assert session("debate", "skip\nskip I know it\n")[0] == Skipped("I know it")
    assert session("debate", "q\n")[0] == Stopped()
    assert session("debate", "")[0] == Stopped()
    assert session("debate", "\x1b[A\x00\xff\n")[0] == Stopped()
    assert session("debate", "back 99999999999999999999\nback 1\nm\ni\nnotes\n")[0] == Stopped()


def test_the_time_for_reading():
    outcome, text, keep = session("timed", "30\n\n", seconds=0.0)
    assert outcome.probabilities == pytest.approx({"A": 0.3, "B": 0.7})
    assert "Turn 1 of" not in text
    assert not keep.beliefs


def test_a_speech():
    typed = (
        "m\nwrite\nToo short\n.\nsee <quote>under the flour</quote>\nq\nwrong line\n.undo\n.show\n.\nback\nend\n.\n\n"
    )
    outcome, text, keep = session("speak", typed)
    assert outcome == Said("Too short\nsee <quote>under the flour</quote>\nq\nend", outcome.seconds)
    assert "it has 2 words, fewer than 5" in text
    assert "1 of which stands in the text" in text
    assert "  The captain left before the storm." in text
    assert keep.drafts[-1] == outcome.text


def test_the_end_of_input_keeps_the_draft():
    outcome, _, keep = session("ask", "write\nhalf a line")
    assert outcome == Stopped()
    assert keep.drafts == ["Debater A: where \nhalf a line"]


def test_a_speech_is_never_empty():
    outcome, text, _ = session("ask", "write\n.undo\n   \n.\n")
    assert outcome == Stopped()
    assert "nothing written" in text


def test_waiting_keeps_what_was_typed_ahead_and_can_be_left():
    outcome, text, _ = session("stakes", "72\nend\n", wait=0.05)
    assert outcome.stops is True
    assert "The debaters are answering. Please wait." in text
    assert session("stakes", "q\n", wait=30.0)[0] is None
