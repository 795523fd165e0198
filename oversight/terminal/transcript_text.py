"""A transcript as a person reads it: who speaks, and the speech behind a gutter, its quotations marked.

Nothing in a speech can pass for ours.  Characters that cannot be seen are taken out; the signs that mark a
checked quotation, and those that look like them, are put into words; and every line of a speech stands behind a
gutter, so that none can begin where a speaker's name does.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import get_character_cell_size
from rich.text import Text

from ..agents.prompts import clean
from ..quotes import TAG
from ..transcript import Quote
from ..views import View, VisibleTurn
from .cells import right_to_left, wrap_text

__all__ = [
    "ASCII",
    "UNICODE",
    "Signs",
    "answer_rows",
    "inert",
    "one_line",
    "positions_text",
    "speaker_line",
    "speech_text",
    "turn_rows",
]


@dataclass(frozen=True)
class Signs:
    """What the screen is drawn with.

    Parameters
    ----------
    verified, unverified : what stands before and after the words of a quotation that was found, or was not.
    gutter : what stands before each line of a speech, in two columns.
    rule, knob, middle, filled, empty : of which lines and bars are made, in one column each.
    pointer : before the line that keys change.
    dot : between the parts of a line.
    dash, minus, ellipsis : in text.
    left, right, up_down : arrow keys, as help names them.
    plain : whether square brackets mark quotations, so that none may stand in a speech.
    """

    verified: tuple[str, str] = ("“", "”\u00a0✓")
    unverified: tuple[str, str] = ("“", "”\u00a0✗")
    gutter: str = "│ "
    rule: str = "─"
    knob: str = "●"
    middle: str = "┼"
    filled: str = "█"
    empty: str = "·"
    pointer: str = "›"
    dot: str = " · "
    dash: str = "–"
    minus: str = "−"
    ellipsis: str = "…"
    left: str = "←"
    right: str = "→"
    up_down: str = "↑↓"
    plain: bool = False


UNICODE = Signs()
ASCII = Signs(
    verified=('[verified: "', '"]'),
    unverified=('[not in the text: "', '"]'),
    gutter="| ",
    rule="-",
    knob="O",
    middle="+",
    filled="#",
    empty=".",
    pointer=">",
    dot=" - ",
    dash="-",
    minus="-",
    ellipsis="...",
    left="left",
    right="right",
    up_down="up/down",
    plain=True,
)

_LOOK_ALIKES = str.maketrans(
    {
        # What looks like the mark of a quotation that was found: check marks, ballot boxes, one Tai Viet letter.
        **dict.fromkeys("\u2713\u2714\u2705\u2611\u237b\U0001f5f8\U0001f5f9\uaa9c\U00010102", "(tick)"),
        **dict.fromkeys("\u221a\u23b7", "sqrt"),
        # Of one that was not: crosses, ballots, crossed boxes; signs of multiplication become the letter.
        **dict.fromkeys(
            "\u2612\u2613\u2715\u2716\u2717\u2718\u274c\u274e\u26cc\u2bbd\u2bbe\u2bbf\u2327"
            "\U0001f5d9\U0001f5f4\U0001f5f5\U0001f5f6\U0001f5f7\U0001fbc0\U0001f7aa\U0001f7ab\U0001f7ac",
            "(cross)",
        ),
        **dict.fromkeys("\u00d7\u2a09\u2a2f\u292b\u292c\u2573", "x"),
        # Curly quotation marks enclose the words that were checked, and nothing else.
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u275d\u275e\u301d\u301e\u301f\uff02\U0001f676\U0001f677", '"'),
    }
)
_BRACKETS = str.maketrans(
    dict.fromkeys("[\uff3b\u3010\u3014\u3016\u3018\u301a\u27e6\u27ec\u2045\u2772\u298b\u298d\u298f\ufe47\u23a1", "(")
    | dict.fromkeys("]\uff3d\u3011\u3015\u3017\u3019\u301b\u27e7\u27ed\u2046\u2773\u298c\u298e\u2990\ufe48\u23a6", ")")
)
_BLANK_LINES = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+")
MOST_MARKS = 3
"""Marks that one letter may carry; heaped up they would reach into the rows above and below."""


def inert(text: str, signs: Signs, *, marks: bool = True) -> str:
    """Text from elsewhere that does nothing but stand there.

    ``marks`` says whether the signs of checked quotations are put into words; not in material, which nobody checks.
    """
    kept: list[str] = []
    carried = MOST_MARKS  # none has a letter to stand on yet
    for character in clean(text).expandtabs(4):
        if character == "\n" or character.isspace():
            kept.append(character if character == "\n" else " ")
            carried = MOST_MARKS
        elif unicodedata.category(character) in ("Co", "Cn"):  # a font may draw anything there
            kept.append("?" if signs.plain else "\ufffd")
            carried = 0
        elif get_character_cell_size(character) == 0 or unicodedata.category(character) in ("Mn", "Me"):
            if carried < MOST_MARKS:
                kept.append(character)
            carried += 1
        else:
            kept.append(character)
            carried = 0
    plain = "".join(kept)
    if marks:
        plain = plain.translate(_LOOK_ALIKES)
        if signs.plain:
            plain = plain.translate(_BRACKETS)
    return plain


def one_line(text: str, signs: Signs) -> str:
    """The text on one line, inert."""
    return " ".join(inert(text, signs).split())


def _quotes(text: str, quotes: Sequence[Quote]) -> list[Quote]:
    """Those quotations that do stand where they say, in order, none inside another."""
    kept: list[Quote] = []
    place = 0
    for quote in sorted(quotes, key=lambda one: one.start):
        if not place <= quote.start < quote.end <= len(text):
            continue
        span = text[quote.start : quote.end]
        opening, closings = TAG.match(span), [tag for tag in TAG.finditer(span) if tag["closing"]]
        if opening is None or opening["closing"] or not closings or closings[-1].end() != len(span):
            continue  # not a span of this text: nothing was checked that could be marked
        if span[opening.end() : closings[-1].start()] == quote.text:
            kept.append(quote)
            place = quote.end
    return kept


def speech_text(text: str, quotes: Sequence[Quote], signs: Signs) -> Text:
    """A speech with its quotations marked, in lines as the speaker parted them, but no more than one of them blank."""
    result, place = Text(), 0
    for quote in _quotes(text, quotes):
        result.append(inert(text[place : quote.start], signs))
        before, after = signs.verified if quote.verified else signs.unverified
        words = " ".join(inert(quote.text, signs).split())
        style = "green" if quote.verified else "red"
        result.append(before, style)
        result.append(words, f"{style} underline")
        result.append(after, f"bold {style}")
        place = quote.end
    result.append(inert(text[place:], signs))
    return _without_blank_lines(result)


def _without_blank_lines(text: Text) -> Text:
    pieces, place = Text(), 0
    for blank in _BLANK_LINES.finditer(text.plain):
        pieces.append_text(text[place : blank.start()]).append("\n\n")
        place = blank.end()
    pieces.append_text(text[place:])
    plain = pieces.plain
    begin = len(plain) - len(plain.lstrip("\n"))
    return pieces[begin : max(begin, len(plain.rstrip()))]


def speaker_line(turn: VisibleTurn, signs: Signs, *, new: bool = False) -> Text:
    """Who speaks, for what, and whether it is the reader."""
    parts = []
    if turn.label is not None:
        parts.append(f"argues for {one_line(turn.label, signs)}")
    if turn.own:
        parts.append("you, seen by nobody else" if turn.private else "you")
    elif turn.private:
        parts.append("in private")
    if new:
        parts.append("new")
    line = Text(one_line(turn.speaker, signs), style="bold")
    line.append("".join(signs.dot + part for part in parts), "not bold")
    return line


def turn_rows(turn: VisibleTurn, measure: int, signs: Signs, *, new: bool = False) -> list[Text]:
    """A turn in rows of at most ``measure`` columns of speech, behind the gutter."""
    rows = wrap_text(speaker_line(turn, signs, new=new), measure + len(signs.gutter))
    speech = speech_text(turn.text, turn.quotes, signs)
    rows += _behind_gutter(speech, measure, signs) if speech.plain.strip() else [Text("  says nothing", "italic")]
    if turn.own and turn.reasoning.strip():
        rows.append(Text("Your reasons, seen by nobody else", "italic"))
        rows += _behind_gutter(speech_text(turn.reasoning, (), signs), measure, signs)
    return rows


def _behind_gutter(text: Text, measure: int, signs: Signs) -> list[Text]:
    return [Text.assemble((signs.gutter, "dim"), row) for row in wrap_text(text, measure)]


def positions_text(view: View, signs: Signs) -> str:
    """Who argues for what, as far as the reader may know it; the reader first."""
    parts = []
    if view.position is not None:
        parts.append(f"You are {one_line(view.speaker, signs)} and argue for {one_line(view.position, signs)}.")
    others = [one for one in view.positions if view.position is None or one.speaker != view.speaker]
    named = [f"{one_line(one.speaker, signs)} argues for {one_line(one.label, signs)}" for one in others]
    if named:
        parts.append("; ".join(named) + ".")
    return " ".join(parts)


def answer_rows(label: str, text: str, width: int, signs: Signs) -> list[Text]:
    """An answer under its label, set in by five columns.

    An answer that runs from right to left has rows of its own, where it cannot take the label along.
    """
    shown = Text(inert(text, signs).strip())
    rows = [Text("     ").append_text(row) for row in wrap_text(shown, width - 5)]
    name = one_line(label, signs)
    if right_to_left(text) or len(name) > 1:
        return [Text(f"  {name}", "bold"), *rows]
    return [Text.assemble((f"  {name}  ", "bold"), rows[0][5:]), *rows[1:]]
