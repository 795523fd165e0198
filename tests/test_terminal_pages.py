"""What the screens of a session show and do, without a terminal: keys are pressed and rows are read.

Golden renders are in ``tests/goldens/terminal``; UPDATE_GOLDENS=1 writes them anew.
"""

import importlib.util
import os
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from oversight.quotes import find_quotes
from oversight.requests import Choose, Speak, Stakes
from oversight.terminal.front import Asked, Decided, Place, Said, Skipped, Stopped
from oversight.terminal.keys import Key, Paste, Tick
from oversight.terminal.pages import Choosing, Resting, Speaking, Waiting, reading_points
from oversight.terminal.transcript_text import ASCII, UNICODE, answer_rows, inert, turn_rows
from oversight.terminal.wording import verdict_words
from oversight.transcript import Belief, Quote
from oversight.views import VisibleTurn

_file = Path(__file__).with_name("terminal_samples.py")
_specification = importlib.util.spec_from_file_location("oversight_terminal_samples", _file)
samples = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(samples)
GOLDENS = Path(__file__).with_name("goldens") / "terminal"
PLACE = Place(3, 4)


class Clock:
    """Seconds that go by when they are told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def opened(asked, signs=UNICODE, size=(80, 40), **more):
    """A page on a request, with what it keeps and its clock."""
    asked = replace(samples.REQUESTS[asked] if isinstance(asked, str) else asked, **more)
    keep, clock = samples.Kept(), Clock()
    kind = Choosing if isinstance(asked.request, Choose) else Speaking
    page = kind(asked, PLACE, keep, signs, clock)
    page.frame(*size)
    return page, keep, clock


def press(page, *names, size=(80, 40)):
    """Press keys, a frame drawn after each."""
    for name in names:
        page.press(Key("text", name) if len(name) == 1 else Key(name))
        page.frame(*size)


def typed(page, text):
    press(page, *text)


def shown(page, width=80, height=40):
    return "\n".join(row.plain.rstrip() for row in page.frame(width, height).rows)


def golden(name, text):
    path = GOLDENS / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDENS"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text + "\n"


# ---- golden renders -----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["debate", "four", "wide", "attacks"])
@pytest.mark.parametrize("signs", [UNICODE, ASCII], ids=["unicode", "ascii"])
def test_a_whole_transcript(name, width, signs):
    page, _, _ = opened(name, signs, reading="whole")
    golden(f"{name}-{width}-{'ascii' if signs.plain else 'unicode'}", shown(page, width, 44))


@pytest.mark.parametrize("width", [80, 120])
def test_a_transcript_of_two_hundred_turns(width):
    page, _, _ = opened("long")
    first = shown(page, width, 24)
    press(page, "end", size=(width, 24))
    golden(f"long-{width}", f"{first}\n{'=' * width}\n{shown(page, width, 24)}")
    assert "Speech number 1." in first
    assert "Speech number 200." in shown(page, width, 24)


@pytest.mark.parametrize("width", [80, 120])
def test_steps_the_verdict_and_what_it_costs(width):
    page, _, _ = opened("stakes", seen=3)
    frames = [shown(page, width, 24)]
    for key in ("7", "2", "enter"):
        press(page, key, size=(width, 24))
        frames.append(shown(page, width, 24))
    golden(f"stakes-{width}", f"\n{'=' * width}\n".join(frames))


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["speak", "ask"])
def test_a_speech_being_written(name, width):
    page, _, _ = opened(name)
    frames = [shown(page, width, 30)]
    press(page, "enter", *"Look: <quote>the flour</quote>", size=(width, 30))
    frames.append(shown(page, width, 30))
    golden(f"{name}-{width}", f"\n{'=' * width}\n".join(frames))


def test_help_part_material_and_rest():
    pages = []
    for key in "?im":
        page, _, _ = opened("speak", notes=("Ask about the flour.",))
        press(page, key)
        pages.append(shown(page, 80, 30))
    for feedback in (None, samples.FEEDBACK):
        pages.append(shown(Resting(PLACE, feedback, UNICODE, Clock()), 80, 16))
    clock = Clock()
    waiting = Waiting("The debaters are answering", PLACE, UNICODE, clock)
    clock.now += 12.4
    pages.append(shown(waiting, 80, 8))
    golden("overlays", f"\n{'=' * 80}\n".join(pages))


def test_every_size_and_every_sample_is_drawn_within_the_screen():
    keys = ["", "enter", "?", "m", "m", "b", "f", "escape", "n", "x", "escape", "enter", "r", "left", "down", "enter"]
    for name in samples.REQUESTS:
        for signs in (UNICODE, ASCII):
            for width, height in [(1, 1), (2, 2), (7, 3), (20, 5), (40, 12), (80, 8), (33, 24), (80, 24), (200, 60)]:
                page, _, _ = opened(name, signs)
                for key in keys:
                    if key:
                        press(page, key, size=(width, height))
                    frame = page.frame(width, height)
                    assert len(frame.rows) <= height
                    assert all(row.cell_len <= width for row in frame.rows)
                    if frame.cursor is not None:
                        assert 0 <= frame.cursor[0] < height
                        assert 0 <= frame.cursor[1] < width


# ---- text from elsewhere ------------------------------------------------------------------------------

HOSTILE = st.lists(
    st.one_of(
        st.characters(),
        st.sampled_from("✓✔✅☑✗✘❌☒“”[]【】│|\n\x1b\x9b\u202e\u2066\u0301\u0338\u200d\ue000船 "),
        st.sampled_from(["<quote>", "</quote>", "[verified]", "\nDebater B · argues for B\n", "\x1b[2J"]),
    ),
    max_size=40,
).map("".join)


@given(HOSTILE)
def test_text_is_inert(text):
    for signs in (UNICODE, ASCII):
        made = inert(text, signs)
        assert not set(made) & set("✓✗✔✘☑☒✅❌“”\x1b\x07\x9b\r\t")
        assert not any(
            unicodedata.category(character) in ("Cc", "Cs", "Co") and character != "\n" for character in made
        )
        assert not any(
            unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
            for c in made
        )
        assert not signs.plain or not set(made) & set("[]【】")
        assert not made or not unicodedata.combining(made[0])


@given(HOSTILE, st.integers(4, 60), st.booleans())
def test_every_line_of_a_speech_stands_behind_the_gutter(text, width, plain):
    signs = ASCII if plain else UNICODE
    turn = VisibleTurn("Debater A", "A", text, find_quotes(text, samples.STORY))
    rows = [row.plain for row in turn_rows(turn, width, signs)]
    named = len(turn_rows(replace(turn, text="x"), width, signs)) - 1
    assert all(row.startswith(signs.gutter) for row in rows[named:]) or rows[named:] == ["  says nothing"]
    marks = sum("".join(rows[named:]).count(mark) for mark in ("✓", "✗")) if not plain else 0
    assert marks <= len(turn.quotes)


@given(st.lists(st.tuples(st.integers(-5, 60), st.integers(-5, 60), st.text(max_size=5)), max_size=4), HOSTILE)
def test_a_span_that_is_no_quotation_of_this_text_marks_nothing(spans, text):
    quotes = tuple(Quote(start, end, words + "!", True) for start, end, words in spans)
    rows = turn_rows(VisibleTurn("A", None, text.replace("!", ""), quotes), 30, UNICODE)
    assert not any("✓" in row.plain for row in rows)


def test_a_verified_quotation_marks_its_own_words_alone():
    text = '“He did it <quote>the captain left</quote>” and <quote>[verified: "x"] ✓ he did</quote>'
    (row,) = turn_rows(VisibleTurn("A", None, text, find_quotes(text, samples.STORY)), 200, UNICODE)[1:]
    assert row.plain == '│ "He did it “the captain left”\xa0✓" and “[verified: "x"] (tick) he did”\xa0✗'
    (row,) = turn_rows(VisibleTurn("A", None, text, find_quotes(text, samples.STORY)), 200, ASCII)[1:]
    assert row.plain == (
        '| "He did it [verified: "the captain left"]" and [not in the text: "(verified: "x") (tick) he did"]'
    )


def test_markup_is_no_markup():
    rows = turn_rows(VisibleTurn("[red]A[/red]", None, "[bold]x[/bold] :smile:"), 60, UNICODE)
    assert [row.plain for row in rows] == ["[red]A[/red]", "│ [bold]x[/bold] :smile:"]


def test_an_answer_from_right_to_left_has_its_own_rows():
    assert [row.plain for row in answer_rows("B", "הקברניט", 40, UNICODE)] == ["  B", "     הקברניט"]
    assert [row.plain for row in answer_rows("A", "two\nlines", 40, UNICODE)] == ["  A  two", "     lines"]


def test_no_more_marks_on_a_letter_than_it_can_carry():
    assert inert("\u0301\u0301a" + "\u0301" * 9 + " \u0338b", UNICODE) == "a\u0301\u0301\u0301 b"


# ---- choosing -----------------------------------------------------------------------------------------


def test_a_credence_after_each_turn_and_the_verdict_after_the_last():
    page, keep, clock = opened("debate")  # listed as B, A
    assert "argues for B · new" not in shown(page)
    for number, keys in enumerate(["left", "[", "right"], start=1):
        clock.now += number
        assert f"Turn {number} of 4" in shown(page)
        press(page, keys, "enter")
    assert [belief.after for belief in keep.beliefs] == [1, 2, 3]
    assert [belief.probabilities for belief in keep.beliefs] == [
        pytest.approx(shares) for shares in [(0.49, 0.51), (0.39, 0.61), (0.40, 0.60)]
    ]
    assert [belief.seconds for belief in keep.beliefs] == [1, 2, 3]
    assert "Verdict" in shown(page)
    press(page, "enter")
    assert not page.over
    assert "You give B 60 %, A 40 %." in shown(page)
    press(page, "r", *"of the flour", "enter")
    assert "Your reason: of the flour" in shown(page)
    press(page, "enter")
    outcome = page.outcome()
    assert outcome == Decided(outcome.probabilities, "of the flour", 6.0, None)
    assert outcome.probabilities == pytest.approx({"A": 0.4, "B": 0.6})
    assert len(keep.beliefs) == 3


def test_a_belief_is_kept_before_the_next_turn_is_drawn():
    page, keep, _ = opened("debate")
    press(page, "5", "5")
    page.press(Key("enter"))
    assert keep.beliefs
    assert "My opponent quotes" in shown(page)


def test_later_turns_are_not_on_the_page():
    page, _, _ = opened(samples.REQUESTS["debate"])
    for width in (40, 80, 120):
        assert "My opponent" not in shown(page, width, 200)
    press(page, "b")
    press(page, "f", "f", "f")
    assert "My opponent" not in shown(page, 80, 200)


def test_what_comes_of_all_turns_is_shown_with_the_last_alone():
    asked = Asked(Choose(replace(samples.DEBATE, exhibit="board after every move")), ("A", "B"))
    page, _, _ = opened(asked)
    for _ in range(3):
        assert "board after" not in shown(page, 80, 200)
        press(page, "enter")
    assert "board after" in shown(page, 80, 200)


def test_a_session_that_was_cut_off_goes_on_after_what_was_stated():
    beliefs = (Belief(1, (0.2, 0.8)), Belief(2, (0.3, 0.7)))
    page, keep, _ = opened("debate", beliefs=beliefs)
    assert "Turn 3 of 4" in shown(page)
    assert "B   70 %" in shown(page)
    press(page, "enter", "enter", "enter")
    assert [belief.after for belief in keep.beliefs] == [3]
    assert page.outcome().probabilities == pytest.approx({"A": 0.3, "B": 0.7})


@pytest.mark.parametrize(
    ("more", "points"),
    [
        ({}, [1, 2, 3, 4]),
        ({"seen": 2}, [3, 4]),
        ({"seen": 4}, [4]),
        ({"seen": 9}, [4]),
        ({"reading": "whole"}, [4]),
        ({"beliefs": (Belief(3, (0.5, 0.5)),)}, [4]),
        ({"seen": 2, "beliefs": (Belief(3, (0.5, 0.5)),)}, [4]),
    ],
)
def test_where_a_credence_is_asked_for(more, points):
    assert reading_points(replace(samples.REQUESTS["debate"], **more)) == points


def test_own_turns_are_not_asked_about():
    turns = tuple(replace(turn, own=number in (0, 3)) for number, turn in enumerate(samples.DEBATE.turns))
    asked = Asked(Choose(replace(samples.DEBATE, turns=turns)), ("A", "B"))
    assert reading_points(asked) == [2, 4]
    assert reading_points(replace(asked, seen=3)) == [4]


def test_enter_reads_on_before_it_keeps_what_nobody_looked_at():
    page, keep, _ = opened("attacks", size=(80, 18))
    assert "Enter reads on" in shown(page, 80, 18)
    for _ in range(20):
        press(page, "enter", size=(80, 18))
        if keep.beliefs:
            break
        assert not page.credence.typed
    assert len(keep.beliefs) == 1
    page, keep, _ = opened("attacks", size=(80, 18))
    press(page, "6", "enter", size=(80, 18))  # who gives a share has made up their mind
    assert len(keep.beliefs) == 1


def test_a_key_before_the_first_drawing_keeps_nothing():
    page, keep, _ = opened("debate")
    for _ in range(9):
        page.press(Key("enter"))
    assert len(keep.beliefs) == 1


def test_a_second_enter_before_the_question_is_drawn_keeps_no_verdict():
    page, _, _ = opened("stakes")
    for _ in range(4):
        page.press(Key("enter"))
    assert not page.over
    assert "You give" in shown(page)
    page.press(Key("enter"))
    assert page.over


def test_four_answers():
    page, keep, _ = opened("four", reading="whole")  # listed as C, A, D, B
    press(page, "7", "0", "down", "h", "down", "right", "enter", "enter")
    outcome = page.outcome()
    assert sum(outcome.probabilities.values()) == pytest.approx(1)
    assert outcome.probabilities["A"] == pytest.approx(0.1)
    assert outcome.probabilities["D"] == pytest.approx(0.11)
    assert list(outcome.probabilities) == ["C", "A", "D", "B"]
    assert not keep.beliefs


def test_stakes():
    for key, stops in (("enter", False), ("e", True)):
        page, _, _ = opened("stakes")
        assert "Verdict" in shown(page)
        press(page, "e")
        assert not page.over  # nothing is given yet
        press(page, "7", "2", "enter")
        text = shown(page)
        assert "−0.47 if A is right, −1.84 if B is right, less 0.10 for 2 decisions to go on" in " ".join(text.split())
        assert "the others will read" in text
        press(page, key)
        assert page.outcome().stops is stops
    last = Asked(Choose(samples.DEBATE, stakes=replace(samples.STAKES, left=0)), ("A", "B"), seen=4)
    page, _, _ = opened(last)
    press(page, "enter", "e")
    assert not page.over
    assert "last decision" in shown(page)
    press(page, "enter")
    assert page.outcome().stops is None


def test_the_time_for_reading():
    page, keep, clock = opened("timed")
    assert "0:03 left to read" in shown(page)
    clock.now += 3
    page.press(Tick())
    text = shown(page)
    assert "time for reading is over" in text
    assert "captain left" not in text
    press(page, "b", "m")
    assert "captain left" not in shown(page)
    press(page, "3", "0", "enter", "enter")
    assert page.outcome().probabilities == pytest.approx({"A": 0.3, "B": 0.7})
    assert not keep.beliefs


def test_an_enter_that_comes_when_the_time_is_over_keeps_no_credence():
    page, keep, clock = opened("timed")
    clock.now += 5
    page.press(Key("enter"))
    assert not keep.beliefs
    assert not page.over


def test_notes_skipping_and_stopping():
    page, keep, _ = opened("debate")
    press(page, "n", *"q is a letter", "enter")
    assert keep.notes == ["q is a letter"]
    press(page, "?")
    assert "q is a letter" in shown(page)
    press(page, "escape", "s", "enter")
    assert "A reason is needed" in shown(page)
    press(page, "escape")
    assert not page.over
    press(page, "s", *"I know the story", "enter")
    assert page.outcome() == Skipped("I know the story")
    for keys in (["q"], ["ctrl-c"], ["n", "ctrl-c"], ["?", "q"], ["b", "q"]):
        page, _, _ = opened("debate")
        press(page, *keys)
        assert page.outcome() == Stopped()


def test_pasted_text_is_text_in_a_field_and_nothing_elsewhere():
    page, keep, _ = opened("debate")
    page.press(Paste("q\n\n\x1b[A"))
    assert "Pasted text is ignored" in shown(page)
    assert not page.over
    assert not keep.beliefs
    press(page, "n")
    page.press(Paste("two\nlines\x1b"))
    press(page, "enter")
    assert keep.notes == ["two lines"]


def test_reading_again_changes_nothing():
    page, keep, _ = opened("debate")
    press(page, "7", "0", "enter", "enter")
    before = page.credence.shares, page.step, shown(page)
    press(page, "b", "b")
    assert "After it you gave B 70 %, A 30 %." in shown(page)
    press(page, "f", "down", "x")
    assert (page.credence.shares, page.step, shown(page)) == before
    assert len(keep.beliefs) == 2


def test_the_place_of_reading_survives_a_change_of_size():
    page, _, _ = opened("long")
    for _ in range(30):
        press(page, "page-down", size=(80, 24))
    wide = shown(page, 120, 24)
    narrow = shown(page, 60, 24)
    number = page.scroll.block
    assert f"Speech number {number + 1}." in wide
    assert f"Speech number {number + 1}." in narrow


def test_nothing_of_the_material_is_shown_to_a_judge():
    page, _, _ = opened("debate")
    press(page, "m")
    assert "There is no text that you may see" in shown(page)


# ---- speaking -----------------------------------------------------------------------------------------


def test_a_speech_within_its_limits():
    page, keep, clock = opened("speak")
    press(page, "enter", *"Too short", "ctrl-d")
    assert "it has 2 words, fewer than 5" in " ".join(shown(page).split())
    clock.now += 2
    page.press(Paste(": see <quote>under the flour</quote> q\nand the rest"))
    assert keep.drafts[-1] == page.editor.text
    assert "1 quotation (at least 1), 1 of which stands in the text" in " ".join(shown(page).split())
    press(page, "ctrl-x")
    assert "Is this what you want to say?" in shown(page)
    press(page, "escape", "!", "ctrl-d", "enter")
    assert page.outcome() == Said("Too short: see <quote>under the flour</quote> q\nand the rest!", 2.0)


def test_a_speech_is_never_empty():
    page, keep, _ = opened("ask", draft="")
    press(page, "enter", " ", "enter", "ctrl-d")
    assert "nothing written" in shown(page)
    assert not page.over
    assert keep.drafts[-1] == " \n"


def test_drafts_are_kept_once_a_second_on_new_lines_and_on_leaving():
    page, keep, clock = opened("ask")
    press(page, "enter", "a", "b")
    assert keep.drafts == []
    clock.now += 1
    page.press(Tick())
    assert keep.drafts == ["Debater A: where ab"]
    press(page, "c", "enter")
    assert keep.drafts[-1] == "Debater A: where abc\n"
    press(page, "d", "escape")
    assert keep.drafts[-1].endswith("d")
    press(page, "enter", "e", "ctrl-c")
    page.close()
    assert keep.drafts[-1].endswith("de")
    assert page.outcome() == Stopped()


def test_a_speech_that_was_not_accepted_is_there_to_be_mended():
    asked = Asked(Speak(samples.SPOKEN, rejected="Half a speech", fault="it has 3 words, fewer than 5"), ("A", "B"))
    page, _, _ = opened(asked)
    assert "not accepted: it has 3 words, fewer than 5" in shown(page)
    assert page.editor.text == "Half a speech"


def test_the_material_is_there_for_who_may_see_it():
    page, _, _ = opened("speak")
    press(page, "m")
    assert "The captain left before the storm. The mate" in shown(page)
    press(page, "end", "m")
    assert "The captain left before the storm. The mate" not in shown(page)


def test_rows_are_plain_text_for_rich():
    page, _, _ = opened("attacks")
    assert all(isinstance(row, Text) for row in page.frame(80, 24).rows)


def test_a_preference_is_asked_for_in_its_own_words():
    """Neither reply need be correct: what is asked is which is better, at every place."""
    view = samples.view([samples.said("A", "One."), samples.said("B", "Two.")])
    for options in ({}, {"leads_on": True}, {"leads_on": True, "stakes": Stakes(0.05, 1, 3)}):
        words = verdict_words(Choose(view, prefers=True, **options))
        assert "ow likely is each answer to be the better one" in words
        assert "correct" not in words
    page, _, _ = opened(Asked(Choose(view, prefers=True), ("A", "B"), before=(0.7, 0.3)))
    press(page, "enter")
    assert "Verdict: how likely is each answer to be the better one?" in " ".join(shown(page).split())


@pytest.mark.parametrize(
    ("turns", "stakes", "leads_on", "words"),
    [
        (2, None, False, "Verdict: how likely is each answer to be correct? Turn 2 of 2, the last."),
        (
            2,
            Stakes(0.05, 1, 3),
            True,
            "Your decision: how likely is each answer to be correct now? Turn 2 of 2, the last",
        ),
        (0, None, True, "Before anything is said: how likely is each answer to be correct?"),
        (0, None, False, "Verdict: how likely is each answer to be correct?"),
        (2, None, True, "The others speak again after this."),
    ],
)
def test_what_is_asked_last_says_whether_it_ends_the_episode(turns, stakes, leads_on, words):
    view = samples.view([samples.said("A", "One."), samples.said("B", "Two.")][:turns])
    asked = Asked(Choose(view, stakes=stakes, leads_on=leads_on), ("A", "B"), before=(0.7, 0.3))
    page, _, _ = opened(asked)
    press(page, *["enter"] * max(turns - 1, 0))
    text = " ".join(shown(page).split())
    assert words in text
    assert "A 70 %" in text
