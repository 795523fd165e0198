"""The program as a person meets it: real commands in a real pseudo-terminal."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from oversight.runs.directory import read_episodes

TESTS = Path(__file__).parent
ROOT = TESTS.parent
OVERSIGHT = (sys.executable, "-m", "oversight.cli")
TINY = TESTS / "tiny.py"


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", TESTS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


pseudo_terminal = _load("pseudo_terminal")


def terminal(*words, **settings):
    return pseudo_terminal.Terminal(*OVERSIGHT, *words, **settings)


def words(folder, *more, protocol="debate", debater="Thinker", rounds=1):
    """A run of the tiny arena with a person as its judge."""
    options = ["--rounds", str(rounds)] if protocol == "debate" else []
    return [
        *("run", protocol, "--arena", f"{TINY}:Sums", "--debater", f"{TINY}:{debater}", "--judge", "human"),
        *("--limit", "6", "--log-dir", str(folder), *options, *more),
    ]


def read_through(screen, answer="70"):
    """Read what there is to the end and give the first answer that much, unless the item ends before."""
    for _ in range(80):
        text = screen.settle()
        if "Kept." in text:
            return
        if "Verdict" in text and f"{answer} %" not in text:
            screen.change(answer)
        else:
            screen.change("\r")
    raise AssertionError(f"the item did not end:\n{screen.text}")


# ---- a session, from its beginning to its end --------------------------------------------------------


def test_a_session_from_the_first_item_to_the_last_and_back_again(tmp_path):
    folder = tmp_path / "run"
    with terminal(*words(folder, "--as", "ada")) as screen:
        text = screen.until("Turn 1 of 2")
        assert "Item 1" in text
        assert "Debater" in text
        assert "✓" in text  # the page is quoted as it stands
        assert "✗" in text  # the clock is not
        read_through(screen)
        screen.until("1 done")
        screen.press("\r", "Item 2")
        screen.child.send("q")
        sent = screen.end()
    assert pseudo_terminal.given_back(sent)
    left = sent[sent.rindex("\x1b[?1049l") :]
    assert "ada: 1 done, 1 begun" in left
    assert f"oversight judge {folder} --as ada goes on" in left
    with terminal("judge", str(folder), "--as", "ada", "--feedback") as screen:
        screen.until("Item 2")
        read_through(screen)
        text = screen.until("bits")
        assert "by how sure you were" in text
        screen.press("\r", "Item 3")
        read_through(screen)
        screen.child.send("\r")
        screen.end()
    records = list(read_episodes(folder))
    assert len(records) == 3  # six questions on three pages
    for record in records:
        assert record["turns"][-1]["agent"] == "human/ada"
        assert max(record["probabilities"]) == pytest.approx(0.7)


def test_what_may_not_be_seen_is_not_sent_before_the_verdict(tmp_path):
    with terminal(*words(tmp_path / "run")) as screen:
        screen.until("Turn 1 of 2")
        screen.press("?", "any other key goes back")
        screen.press("\x1b", "Turn 1 of 2")
        screen.press("i", "any other key goes back")
        screen.press("\x1b", "Turn 1 of 2")
        read_through(screen)
        sent = screen.sent.decode()
        screen.child.send("q")
        sent += screen.end()
    for secret in ("tiny", "thinker", "secret thought", "correct answer is", "honest", "right answer"):
        assert secret not in sent.lower()


def test_killed_in_the_middle_the_same_command_goes_on_at_the_same_turn(tmp_path):
    folder, calls = tmp_path / "run", tmp_path / "calls"
    command = words(folder, rounds=2)
    with terminal(*command, OVERSIGHT_TEST_CALLS=str(calls)) as screen:
        screen.until("Turn 1 of 4")
        screen.press("64", "64 %")
        while "Turn 2 of 4" not in screen.text:
            screen.change("\r")
        screen.child.kill(signal.SIGKILL)
        screen.end()
    spoken = calls.read_text()
    with terminal(*command, OVERSIGHT_TEST_CALLS=str(calls)) as screen:
        screen.until("Turn 2 of 4")
        assert "64 %" in screen.text
        read_through(screen, "80")
        screen.child.send("q")
        screen.end()
    (record,) = read_episodes(folder)
    beliefs = record["turns"][-1]["beliefs"]
    assert [one["after"] for one in beliefs] == [1, 2, 3]
    assert max(beliefs[0]["probabilities"]) == pytest.approx(0.64)
    # What had been spoken was not spoken again.
    begun = spoken.splitlines()
    assert calls.read_text().splitlines()[: len(begun)] == begun
    assert len(calls.read_text().splitlines()) <= 6 * 4


def test_two_judges_in_two_terminals_at_once(tmp_path):
    folder = tmp_path / "run"
    with (
        terminal(*words(folder, "--as", "ada", "--judges-per-item", "2")) as ada,
        terminal(*words(folder, "--as", "bob", "--judges-per-item", "2")) as bob,
    ):
        for screen in (ada, bob):
            screen.until("Turn 1 of 2")
        for _ in range(3):
            for screen in (ada, bob):
                read_through(screen)
                screen.child.send("\r")
                screen.read(0.5)
        ends = [screen.end() for screen in (ada, bob)]
    assert all("3 done" in end for end in ends)
    records = list(read_episodes(folder))
    assert len(records) == len({record["id"] for record in records}) == 6
    assert set(Counter((record["turns"][-1]["agent"], record["source"]) for record in records).values()) == {1}
    done = subprocess.run(
        [*OVERSIGHT, "judge", str(folder), "--status"], capture_output=True, text=True, check=True, timeout=60
    )
    assert re.search(r"human/ada +3 +0 +0", done.stdout)
    assert re.search(r"human/bob +3 +0 +0", done.stdout)


def test_the_same_name_twice_is_one_line(tmp_path):
    folder = tmp_path / "run"
    with terminal(*words(folder, "--as", "ada")) as screen:
        screen.until("Turn 1 of 2")
        second = subprocess.run([*OVERSIGHT, *words(folder, "--as", "ada")], capture_output=True, text=True, timeout=60)
        screen.child.send("q")
        screen.end()
    assert second.returncode == 2
    assert "another session is open as ada" in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1


def test_a_new_size_is_drawn_at_once(tmp_path):
    with terminal(*words(tmp_path / "run")) as screen:
        screen.until("Turn 1 of 2")
        for height, width in [(40, 120), (16, 60), (24, 80)]:
            screen.screen.resize(height, width)
            screen.screen.reset()
            screen.child.setwinsize(height, width)
            screen.until("Item 1")
            screen.until("Turn 1 of 2")
            assert all(len(line) <= width for line in screen.text.splitlines())
        screen.child.send("q")
        screen.end()


def test_what_is_pasted_decides_nothing(tmp_path):
    with terminal(*words(tmp_path / "run")) as screen:
        screen.until("Turn 1 of 2")
        screen.child.send("\x1b[200~99\rq\x1b]0;t\x07" + "x" * 5000 + "\x1b[201~")
        screen.until("Pasted")
        screen.child.send("\x00\x01\xff\xfe" + "9\r" * 40)
        screen.read(0.5)
        assert "Turn 1 of 2" in screen.text
        screen.child.send("q")
        screen.end()
    assert list(read_episodes(tmp_path / "run")) == []


def test_two_hundred_turns_are_read_without_delay(tmp_path):
    command = words(tmp_path / "run", "--times", "200", "--reading", "whole", protocol=f"{TINY}:Talk")
    command[command.index("--debater")] = "--speaker"
    with terminal(*command) as screen:
        screen.until("Verdict", seconds=60)
        screen.child.send("\x1b[F")
        screen.until("199 turns heard")
        started = time.monotonic()
        for _ in range(20):
            screen.change("\x1b[5~")
        assert "above" in screen.text
        elapsed = time.monotonic() - started
        screen.child.send("q")
        screen.end()
    assert elapsed < 10  # twenty pages; a bound for what hangs, not a measurement


@pytest.mark.parametrize("debater", ["Foreign", "Forger", "Colourful"])
def test_nothing_that_a_speaker_writes_acts_on_the_terminal(tmp_path, debater):
    with terminal(*words(tmp_path / "run", debater=debater)) as screen:
        text = screen.until("Turn 1 of 2")
        for _ in range(10):
            screen.child.send("\x1b[B")
            screen.read(0.1)
        text += "\n" + screen.text
        sent = screen.sent
        screen.child.send("q")
        screen.end()
    own = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
    assert b"\x1b]" not in sent
    assert b"\x1b" not in own.sub(b"", sent)
    assert "\u202e".encode() not in sent
    gutters = [line for line in text.splitlines() if "I give up" in line]
    assert all(line.lstrip().startswith("│") for line in gutters)
    if debater == "Forger":
        assert gutters
        assert "✓" not in "".join(line for line in text.splitlines() if "proven" in line)
        assert any("no such words" in line and "✗" in line for line in text.splitlines())
        assert not re.search(r"^ ?Debater B · argues for B$", text, re.MULTILINE) or "Debater A" in text
    if debater == "Foreign":
        assert "船" in text
        assert "שלוש" in text
    if debater == "Colourful":
        assert "[bold]loud[/bold]" in text


# ---- other seats -------------------------------------------------------------------------------------


def test_a_judge_who_asks_and_ends_the_debate(tmp_path):
    folder = tmp_path / "run"
    command = words(folder, "--interactive", "--stop", "sure", "--penalty", "0.05", rounds=4)
    with terminal(*command) as screen:
        screen.until("Turn 1 of 2")
        for _ in range(30):
            if "You give" in screen.text or "e ends" in screen.text or "e  " in screen.text:
                break
            screen.child.send("\r")
            screen.read(0.3)
        screen.until("bits")
        screen.child.send("\r")  # go on
        screen.until("Enter begins to write", seconds=20)
        screen.press("\r", "Esc read")
        screen.child.send("Debater A, what does the page say?")
        screen.until("what does the page say")
        screen.press("\x04", "Is this what you want to say?")
        screen.child.send("\r")
        for _ in range(60):
            if "Kept." in screen.text:
                break
            screen.child.send("e" if "bits" in screen.text else "\r")
            screen.read(0.3)
        screen.until("Kept.")
        screen.child.send("q")
        screen.end()
    (record,) = read_episodes(folder)
    assert record["status"] == "scored"
    verdicts = [turn for turn in record["turns"] if turn["kind"] == "verdict"]
    assert [turn["stops"] for turn in verdicts] == [False, True]
    questions = [turn["text"] for turn in record["turns"] if turn["role"] == "judge" and turn["kind"] == "speech"]
    assert questions == ["Debater A, what does the page say?"]
    assert record["judge_score"] is not None


def test_a_person_debates(tmp_path):
    folder = tmp_path / "run"
    command = [
        *("run", "consultancy", "--arena", f"{TINY}:Sums", "--consultant", "human", "--judge", f"{TINY}:Thinker"),
        *("--limit", "1", "--rounds", "1", "--log-dir", str(folder), "--limits", "(most_words=8)"),
    ]
    with terminal(*command) as screen:
        screen.until("Enter begins to write")
        screen.press("m", "old clock struck")  # the hidden page, which a consultant may read
        screen.child.send("m")
        screen.until("Enter begins to write")
        screen.press("\r", "Esc read")
        screen.child.send("one two three four five six seven eight nine ten")
        screen.until("nine ten")
        screen.child.send("\x04")
        screen.read(0.5)
        assert "Is this what you want to say?" not in screen.text  # ten words are more than eight
        screen.child.send("\x7f" * 9)
        screen.read(0.3)
        screen.press("\x04", "Is this what you want to say?")
        screen.child.send("\r")
        screen.until("Kept.")
        screen.child.send("q")
        screen.end()
    (record,) = read_episodes(folder)
    assert record["turns"][0]["text"] == "one two three four five six seven eight"
    assert record["turns"][0]["agent"] == "human"
    assert record["status"] == "scored"


# ---- lines instead of a screen -----------------------------------------------------------------------


def _lines(folder, typed, *more):
    return subprocess.run(
        [*OVERSIGHT, *words(folder, "--plain", *more)],
        input=typed,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )


def test_a_session_in_lines_through_a_pipe(tmp_path):
    folder = tmp_path / "run"
    done = _lines(folder, "60\n75\n\n\n\nq\n")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "verified" in done.stdout
    records = list(read_episodes(folder))
    assert len(records) == 1, done.stdout
    assert max(records[0]["probabilities"]) == pytest.approx(0.75)
    again = _lines(folder, "")  # the end of what is typed is a stop
    assert again.returncode == 0
    assert len(list(read_episodes(folder))) == 1


# ---- recorded transcripts ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus():
    folder = os.environ.get("OVERSIGHT_TEST_DATA")
    if not folder:
        pytest.skip("OVERSIGHT_TEST_DATA does not name a folder with the corpora")
    return Path(folder) / "nyu-debate-2023" / "pub"


def test_human_debates_are_judged_out_of_the_box(corpus, tmp_path):
    command = ["judge", "--corpus", str(corpus), "--as", "ada", "--limit", "8", "--log-dir", str(tmp_path / "run")]
    with terminal(*command, width=100, height=40) as screen:
        screen.until("Turn 1 of", seconds=60)
        seen = screen.text
        assert "95 more" not in seen
        read_through(screen)
        sent = screen.sent.decode()
        screen.child.send("\r")
        screen.until("Item 2")
        screen.child.send("q")
        screen.end()
    (record,) = read_episodes(tmp_path / "run")
    assert record["turns"][-1]["agent"] == "human/ada"
    assert record["recording"]["origin"]
    debate = json.loads((corpus / "debates" / "official" / f"{record['recording']['origin']}.json").read_text())
    people = [one["name"] for one in debate["setup"]["roles"].values() if isinstance(one, dict) and "name" in one]
    people += [name for name in debate["setup"]["roles"].values() if isinstance(name, str)]
    assert people
    assert not [name for name in people if name in sent]


def test_the_transcripts_of_a_run_of_machines_are_judged_by_a_person(tmp_path):
    machines = tmp_path / "machines"
    command = words(machines, "--swap")
    command[command.index("human")] = f"{TINY}:Thinker"
    subprocess.run([*OVERSIGHT, *command], check=True, capture_output=True, timeout=120)
    with terminal("judge", str(machines), "--log-dir", str(tmp_path / "judged")) as screen:
        screen.until("Turn 1 of 2")
        read_through(screen)
        screen.child.send("q")
        screen.end()
    (record,) = read_episodes(tmp_path / "judged")
    assert record["turns"][-1]["agent"] == "human"
    assert record["recording"]["origin"] in {one["id"] for one in read_episodes(machines)}


def test_what_is_begun_can_be_freed_for_others(tmp_path):
    folder = tmp_path / "run"
    with terminal(*words(folder, "--as", "ada")) as screen:
        screen.until("Turn 1 of 2")
        screen.child.send("q")
        screen.end()
    done = subprocess.run(
        [*OVERSIGHT, "judge", str(folder), "--release", "ada"], capture_output=True, text=True, check=True, timeout=60
    )
    assert "1 item of ada is free again" in done.stdout


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["judge"], "say what is judged"),
        (["judge", "nowhere"], "nowhere"),
        (["judge", "--corpus", "nowhere"], "no such folder"),
        (["judge", "--corpus", ".", "--status"], "--status"),
        (["run", "debate", "--arena", f"{TINY}:Sums", "--debater", "human(1)", "--judge", "human"], "write human"),
        (["run", "debate", "--arena", f"{TINY}:Sums", "--debater", "x", "--judge", "humn"], "humn"),
    ],
)
def test_what_cannot_be_done_is_one_line(command, message, tmp_path):
    done = subprocess.run([*OVERSIGHT, *command], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert message in done.stderr or message == "humn"
