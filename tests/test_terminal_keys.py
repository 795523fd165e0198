"""Bytes to keys, and the laws of the text that is typed and of the shares that are given."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rich.cells import cell_len

from oversight.agents.prompts import clean
from oversight.terminal.cells import boundary, wrap
from oversight.terminal.credence import Credence, percent
from oversight.terminal.editor import Editor
from oversight.terminal.keys import Decoder, Key, Paste

KEYS = {
    b"a": ("text", "a"),
    "é".encode(): ("text", "é"),
    "船".encode(): ("text", "船"),
    b"\r": "enter",
    b"\n": "enter",
    b"\r\n": "enter",
    b"\x7f": "backspace",
    b"\x03": "ctrl-c",
    b"\x04": "ctrl-d",
    b"\x18": "ctrl-x",
    b"\x1b[A": "up",
    b"\x1b[C": "right",
    b"\x1bOD": "left",
    b"\x1b[1;2C": "shift-right",
    b"\x1b[1;2D": "shift-left",
    b"\x1b[1;5D": "ctrl-left",
    b"\x1b[c": "shift-right",
    b"\x1b[5~": "page-up",
    b"\x1b[6~": "page-down",
    b"\x1b[3~": "delete",
    b"\x1b[H": "home",
    b"\x1b[4~": "end",
    b"\x1b[Z": "shift-tab",
    b"\x1b[24~": "unknown",
    b"\x1b[<0;10;10M": "unknown",
    b"\x1b[M !!": "unknown",
    b"\x1bx": "unknown",
    b"\x1b]11;rgb:0000/0000/0000\x07": "unknown",
    b"\x1bP1$r0m\x1b\\": "unknown",
    b"\x1b[?62;c": "unknown",
}


@pytest.mark.parametrize("sent", KEYS)
def test_keys_in_one_piece_and_byte_by_byte(sent):
    expected = KEYS[sent] if isinstance(KEYS[sent], tuple) else (KEYS[sent], "")
    assert Decoder().feed(sent) == [Key(*expected)]
    decoder = Decoder()
    assert [key for byte in sent for key in decoder.feed(bytes([byte]))] == [Key(*expected)]
    assert not decoder.waiting


def test_a_lone_escape_is_known_only_when_nothing_follows():
    decoder = Decoder()
    assert decoder.feed(b"\x1b") == []
    assert decoder.waiting
    assert decoder.flush() == [Key("escape")]
    assert decoder.feed(b"[A") == [Key("text", "["), Key("text", "A")]


@pytest.mark.parametrize(
    "sent", [b"\xff", b"\xc3(", b"\x80", b"\xf0\x9f", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\xc2\x9b"]
)
def test_what_is_no_text_is_no_key(sent):
    assert all(key == Key("text", "(") for key in Decoder().feed(sent))


def test_a_broken_sequence_leaves_no_digits_behind():
    assert Decoder().feed(b"\x1b[12\xffx") == [Key("unknown"), Key("text", "x")]


def test_bracketed_paste_comes_as_one_piece_of_text():
    decoder = Decoder()
    sent = b"a\x1b[200~q\r\x1b[31mtwo\x03\xe2\x80\xae\r\nthree\x1b[201~b"
    events = [event for byte in sent for event in decoder.feed(bytes([byte]))]
    assert events == [Key("text", "a"), Paste("q\n[31mtwo\nthree"), Key("text", "b")]


def test_a_paste_without_an_end_does_not_swallow_keys_for_ever():
    decoder = Decoder()
    assert decoder.feed(b"\x1b[200~text") == []
    assert decoder.pasting
    assert decoder.flush() == [Paste("text")]
    assert decoder.feed(b"q") == [Key("text", "q")]


def test_a_burst_is_a_paste_unless_a_field_is_open():
    sent = b"yes, quite so\rq\r\x03and more"
    assert Decoder().feed(sent) == [Paste("yes, quite soqand more"), Key("ctrl-c")]
    assert Decoder().feed(sent, typing=True)[:2] == [Key("text", "y"), Key("text", "e")]
    assert Decoder().feed(b"\x1b[C" * 40) == [Key("right")] * 40


@given(st.lists(st.binary(max_size=40), max_size=8), st.booleans())
def test_whatever_comes_is_harmless(pieces, typing):
    decoder = Decoder()
    events = [event for piece in pieces for event in decoder.feed(piece, typing=typing)] + decoder.flush()
    assert not decoder.waiting
    for event in events:
        if isinstance(event, Key):
            assert (event.name == "text") == bool(event.text)
        text = event.text.replace("\n", "").replace("\t", "") if isinstance(event, Paste) else event.text
        assert clean(text) == text
        assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


SEQUENCES = st.sampled_from([*KEYS, b"\x1b", b"\x1b[", b"\x1b[200~", b"\x1b[201~", b"\xff", b"\x1b[1;"])


@given(st.lists(SEQUENCES, max_size=12).map(b"".join), st.data())
def test_how_the_bytes_are_cut_does_not_matter(sent, data):
    at_once, in_pieces = Decoder(), Decoder()
    whole = at_once.feed(sent, typing=True) + at_once.flush()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    pieces = [sent[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    parts = [event for piece in pieces for event in in_pieces.feed(piece, typing=True)] + in_pieces.flush()
    assert parts == whole


# ---- wrapping and editing -----------------------------------------------------------------------------

TEXT = st.text(st.sampled_from("ab  .\u00a0é船ا👍\u0301\u20dd"), max_size=60)


@given(TEXT, st.integers(1, 20))
def test_wrapped_rows_cover_the_text_and_fit(text, width):
    rows = wrap(text, width)
    assert "".join(text[begin:end] for begin, end in rows) == text
    for begin, end in rows:
        shown = text[begin:end].rstrip(" \u00a0\u0301\u20dd")
        assert cell_len(shown) <= width or sum(boundary(shown, place) for place in range(len(shown))) == 1
        assert boundary(text, begin)


EDITING = [
    *("left", "right", "up", "down", "home", "end", "ctrl-left", "ctrl-right"),
    *("backspace", "delete", "enter", "ctrl-w", "ctrl-u", "ctrl-k"),
]
OPERATIONS = st.lists(
    st.one_of(
        TEXT.map(lambda text: Paste(text)),
        st.sampled_from("abc \u0301船").map(lambda character: Key("text", character)),
        st.sampled_from(EDITING).map(Key),
    ),
    max_size=30,
)


@given(TEXT, OPERATIONS, st.integers(1, 20), st.booleans())
def test_the_cursor_always_stands_at_a_character(text, operations, width, lines):
    editor = Editor(text, lines=lines)
    for operation in operations:
        editor.press(operation, width)
        assert 0 <= editor.cursor <= len(editor.text)
        assert boundary(editor.text, editor.cursor)
        assert lines or "\n" not in editor.text
        rows = editor.rows(width)
        row, column = editor.where(width)
        assert 0 <= row < len(rows)
        assert 0 <= column <= width
        assert rows[row][0] <= editor.cursor


@given(TEXT, st.text("abc", min_size=1, max_size=5), st.integers(0, 60))
def test_what_is_typed_stands_before_the_cursor_and_can_be_taken_back(text, typed, place):
    editor = Editor(text, lines=True)
    editor.cursor = min(place, len(editor.text))
    while not boundary(editor.text, editor.cursor):
        editor.cursor -= 1
    before, at = editor.text, editor.cursor
    assume(not before[at:] or cell_len(before[at]) > 0 or before[at] == "\n")  # a mark would join what is typed
    for character in typed:
        editor.press(Key("text", character), 10)
    assert editor.text == before[:at] + typed + before[at:]
    assert editor.cursor == at + len(typed)
    for _ in typed:
        editor.press(Key("backspace"), 10)
    assert (editor.text, editor.cursor) == (before, at)


@given(TEXT, st.integers(1, 12))
def test_left_undoes_right_and_deleting_is_backspacing(text, width):
    editor = Editor(text, lines=True)
    editor.cursor = 0
    while editor.cursor < len(editor.text):
        at = editor.cursor
        editor.right()
        beyond = editor.cursor
        editor.left()
        assert editor.cursor == at
        one, other = Editor(text, lines=True), Editor(text, lines=True)
        one.cursor, other.cursor = at, beyond
        one.delete()
        other.backspace()
        assert one.text == other.text
        editor.cursor = beyond


@given(TEXT, st.integers(2, 12))
def test_down_and_up_visit_every_row(text, width):
    editor = Editor(text, lines=True)
    editor.cursor = 0
    seen = [editor.where(width)[0]]
    for _ in range(len(editor.rows(width)) - 1):
        editor.press(Key("down"), width)
        seen.append(editor.where(width)[0])
    assert seen == list(range(len(seen)))


def test_an_editor_takes_no_more_than_there_is_room_for():
    editor = Editor(lines=True)
    editor.press(Paste("word " * 10_000), 40)
    assert len(editor.text) == 20_000
    assert editor.full


# ---- shares -------------------------------------------------------------------------------------------


@given(
    st.integers(2, 6),
    st.lists(
        st.one_of(
            st.integers(-20, 20),
            st.sampled_from("0123456789"),
            st.sampled_from(["hold", "erase"]),
            st.tuples(st.integers(0, 5)),
        ),
        max_size=40,
    ),
)
def test_shares_are_always_a_distribution(count, operations):
    credence = Credence("ABCDEF"[:count])
    for operation in operations:
        before = list(credence.shares)
        if isinstance(operation, int):
            credence.move(operation)
        elif isinstance(operation, tuple):
            credence.choose(operation[0])
        elif operation == "hold":
            credence.hold()
        elif operation == "erase":
            credence.erase()
        else:
            credence.type(operation)
        assert sum(credence.shares) == pytest.approx(100)
        assert all(-1e-9 <= share <= 100 + 1e-9 for share in credence.shares)
        assert sum(credence.probabilities.values()) == pytest.approx(1, abs=1e-12)
        for place in credence.held - {credence.chosen}:
            assert credence.shares[place] == pytest.approx(before[place])


def test_equal_shares_of_three_are_exactly_equal():
    assert len(set(Credence("ABC").probabilities.values())) == 1


def test_typed_numbers():
    credence = Credence("BA")
    assert [credence.type(digit) for digit in "72"] == [True, True]
    assert credence.words() == "B 72 %, A 28 %"
    assert not credence.type("0")
    credence.erase()
    assert credence.words() == "B 7 %, A 93 %"
    assert credence.in_order("AB") == pytest.approx((0.93, 0.07))


def test_a_gain_is_taken_from_the_others_in_proportion():
    credence = Credence("ABC", {"A": 0.2, "B": 0.6, "C": 0.2})
    credence.set(60)
    assert credence.shares == pytest.approx([60, 30, 10])
    credence.choose(1)
    credence.hold()
    credence.choose(0)
    credence.set(99)
    assert credence.shares == pytest.approx([70, 30, 0])


def test_a_share_is_nought_or_all_only_where_it_is():
    assert [percent(share) for share in (0, 0.01, 50, 99.99, 100)] == ["0", "<1", "50", ">99", "100"]
