"""The full screen in a real pseudo-terminal: keys are sent to a process, and pyte reads what it draws."""

import importlib.util
import json
import signal
import sys
import time
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("terminal_samples.py")


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", DRIVER.with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


pseudo_terminal = _load("pseudo_terminal")
given_back = pseudo_terminal.given_back


def Terminal(folder, sample, *options, **settings):
    """A sample in a pseudo-terminal."""
    return pseudo_terminal.Terminal(sys.executable, DRIVER, folder, sample, *options, **settings)


def test_a_whole_judgement(tmp_path):
    with Terminal(tmp_path, "debate", "--wait", "--rest") as terminal:
        terminal.until("Turn 1 of 4")
        terminal.press("\x1b[D", "B   51 %")
        terminal.press("\x1b[1;2D", "B   61 %")
        terminal.press("\r", "Turn 2 of 4")
        terminal.press("72", "B   72 %")
        terminal.press("\r", "Turn 3 of 4")
        terminal.press("?", "any other key goes back")
        terminal.press("\x1b", "Turn 3 of 4")
        terminal.press("\r", "Verdict")
        terminal.press("\r", "You give B 72 %, A 28 %.")
        terminal.press("r", "Your reason")
        terminal.press("of the fl\x7f\x7fflour — 船", "of the flour — 船")
        terminal.press("\r", "Your reason: of the flour — 船")
        terminal.press("\r", "The debaters are answering … 1 s")
        terminal.until("Kept. 3 done, 4 wait.")
        terminal.press("x", "Enter goes on, q stops.")
        terminal.press("\r", "restored")
        sent = terminal.end()
    assert "reason='of the flour — 船'" in sent
    assert "waited True rested True beats True" in sent
    assert "restored True" in sent
    assert given_back(sent)
    assert "Verdict" not in sent[sent.rindex("\x1b[?1049l") :]
    kept = [json.loads(line) for line in (tmp_path / "beliefs.jsonl").read_text().splitlines()]
    assert [(after, [round(share, 2) for share in shares]) for after, shares, _ in kept] == [
        (1, [0.39, 0.61]),
        (2, [0.28, 0.72]),
        (3, [0.28, 0.72]),
    ]


def test_it_is_drawn_anew_when_the_size_changes(tmp_path):
    with Terminal(tmp_path, "debate") as terminal:
        terminal.until("Turn 1 of 4")
        for height, width in [(40, 120), (12, 40), (5, 20), (24, 80)]:
            terminal.screen.resize(height, width)
            terminal.screen.reset()
            terminal.child.setwinsize(height, width)
            terminal.until("Item 3")
            terminal.read(0.3)
            rows = terminal.text.splitlines()
            assert any(row.strip().startswith("─") and len(row.strip()) == min(width, 92) - 2 for row in rows[1:])
        terminal.until("Turn 1 of 4")
        terminal.child.send("q")
        assert "outcome Stopped()" in terminal.end()


def test_garbage_and_pastes_change_nothing(tmp_path):
    with Terminal(tmp_path, "debate") as terminal:
        before = terminal.until("Turn 1 of 4")
        terminal.press("\x1b[200~q\r\r99\r\x03\x1b[31m\x1b[201~", "Pasted text is ignored here")
        terminal.press("qqqqqqqqqqqqqqqqqqqqqq\r\r", "Pasted text is ignored here")
        for garbage in (
            b"\xff\xfe\xc3",
            b"\x1b[<0;3;4M\x1b[M !!",
            b"\x1b]0;title\x07",
            b"\x1b[99;99;99~",
            b"\x1bOZ\x1bz",
        ):
            terminal.child.send(garbage)
            terminal.read(0.3)
        terminal.child.send(b"\x1b")  # alone, it is the key
        terminal.read(0.4)
        terminal.press("5", "B    5 %")
        terminal.press("0", "B   50 %")
        assert "Turn 1 of 4" in terminal.text
        assert before.splitlines()[2] in terminal.text
        terminal.child.send("q")
        assert "outcome Stopped()" in terminal.end()
    assert not (tmp_path / "beliefs.jsonl").exists()


@pytest.mark.parametrize("how", ["key", "interrupt", "terminate", "in a field"])
def test_stopping_gives_the_terminal_back(tmp_path, how):
    with Terminal(tmp_path, "debate") as terminal:
        terminal.until("Turn 1 of 4")
        if how == "in a field":
            terminal.press("n", "A note for yourself")
            terminal.press("q is a letter", "q is a letter")
        if how in ("key", "in a field"):
            terminal.child.send("\x03")
        else:
            terminal.child.kill(signal.SIGINT if how == "interrupt" else signal.SIGTERM)
        sent = terminal.end()
    assert "outcome Stopped()" in sent
    assert "restored True" in sent
    assert given_back(sent)


def test_an_error_gives_the_terminal_back(tmp_path):
    with Terminal(tmp_path, "debate", "--fail") as terminal:
        sent = terminal.end()
    assert "RuntimeError: on purpose" in sent[sent.rindex("\x1b[?1049l") :]
    assert "restored True" in sent
    assert given_back(sent)


def test_a_killed_session_goes_on_where_it_was(tmp_path):
    with Terminal(tmp_path, "debate") as terminal:
        terminal.until("Turn 1 of 4")
        terminal.press("64", "B   64 %")
        terminal.press("\r", "Turn 2 of 4")
        terminal.child.kill(signal.SIGKILL)
        terminal.end()
    with Terminal(tmp_path, "debate") as terminal:
        terminal.until("Turn 2 of 4")
        assert "B   64 %" in terminal.text
        terminal.press("\r", "Turn 3 of 4")
        terminal.child.send("q")
        assert "outcome Stopped()" in terminal.end()
    kept = [json.loads(line) for line in (tmp_path / "beliefs.jsonl").read_text().splitlines()]
    assert [after for after, _, _ in kept] == [1, 2]


def test_a_killed_speech_goes_on_from_its_draft(tmp_path):
    with Terminal(tmp_path, "speak") as terminal:
        terminal.until("Enter begins to write")
        terminal.press("\r", "Ctrl-D done")
        terminal.press("Look at\r", "2 words")
        terminal.press("the <quote>flour</quote>", "1 quotation")
        end = time.monotonic() + 10
        while "flour" not in (tmp_path / "drafts.jsonl").read_text() and time.monotonic() < end:
            terminal.read(0.2)
        terminal.child.kill(signal.SIGKILL)
        terminal.end()
    with Terminal(tmp_path, "speak") as terminal:
        terminal.until("Enter goes on writing")
        terminal.press("\r", "Ctrl-D done")
        terminal.press("\x1b[200~, in\nthe galley\x1b[201~", "the galley")
        terminal.press("\x04", "Is this what you want to say?")
        terminal.press("\r", "restored")
        sent = terminal.end()
    assert "Said(text='Look at\\nthe <quote>flour</quote>, in\\nthe galley'" in sent


def test_time_for_reading_passes_without_a_key(tmp_path):
    with Terminal(tmp_path, "timed") as terminal:
        terminal.until("left to read")
        text = terminal.until("time for reading is over")
        assert "captain left" not in text
        terminal.press("\r", "You give")
        terminal.press("\r", "restored")
        assert "Decided" in terminal.end()


def test_no_colour_is_used_where_none_is_wanted(tmp_path):
    with Terminal(tmp_path, "debate", NO_COLOR="1") as terminal:
        terminal.until("Turn 1 of 4")
        assert "✓" in terminal.text
        assert b"\x1b[32m" not in terminal.sent
        assert b";32m" not in terminal.sent
        terminal.child.send("q")
        terminal.end()


def test_an_encoding_without_signs(tmp_path):
    with Terminal(tmp_path, "wide", LC_ALL="C.UTF-8", PYTHONIOENCODING="ascii") as terminal:
        text = terminal.until("Turn 1 of 2")
        assert "| ???" in text
        assert text.isascii()
        terminal.child.send("q")
        terminal.end()


@pytest.mark.parametrize("how", ["dumb", "--plain"])
def test_a_terminal_that_is_not_drawn_on(tmp_path, how):
    options = ["--plain"] if how == "--plain" else []
    with Terminal(tmp_path, "debate", *options, TERM="dumb" if how == "dumb" else "xterm") as terminal:
        terminal.press("60\r", "You give B 60 %, A 40 %.")
        terminal.child.send("\x03")
        sent = terminal.end()
    assert "outcome Stopped()" in sent
    assert "restored True" in sent
    assert "\x1b" not in sent
    assert len((tmp_path / "beliefs.jsonl").read_text().splitlines()) == 1
