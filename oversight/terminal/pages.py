"""The screens of a session as machines: keys go in, frames and a result come out.

Nothing here knows a terminal, so every screen can be tested by pressing keys and reading rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from ..requests import HOLDS, Choose, Speak
from ..transcript import Belief
from .cells import fit, fit_text, right_to_left, wrap_text
from .credence import Credence, percent
from .editor import Editor
from .front import Asked, Decided, Feedback, Keep, Place, Said, Skipped, Stopped
from .keys import Event, Key, Paste, Tick
from .transcript_text import Signs, answer_rows, inert, one_line, positions_text, turn_rows
from .wording import (
    clock_time,
    feedback_lines,
    item_line,
    kept_line,
    limits_line,
    part_lines,
    stakes_lines,
    verdict_words,
    what_is_written,
    written_line,
)

__all__ = ["Choosing", "Frame", "Page", "Resting", "Speaking", "Waiting", "reading_points"]

WIDEST = 92
"""Columns that are used at most: longer lines are hard to read."""

DRAFT_EVERY = 1.0
"""Seconds between two drafts that are kept while somebody types."""

PASTE_IGNORED = "Pasted text is ignored here; n opens a note."

Clock = Callable[[], float]


@dataclass(frozen=True)
class Frame:
    """What the terminal is to show.

    Parameters
    ----------
    rows : from the top; no more than the screen has, and none wider.
    cursor : row and column of the cursor; None hides it.
    """

    rows: tuple[Text, ...]
    cursor: tuple[int, int] | None = None


@dataclass
class Field:
    """A line that is being typed: what it is for, and what becomes of it."""

    prompt: str
    needed: bool
    done: Callable[[str], None]
    editor: Editor


class Scroll:
    """Blocks of rows, and which of them stands at the top of a window.

    The place is kept as a block and rows into it, so that it stays where it was when the width changes.
    """

    def __init__(self) -> None:
        self.block, self.offset = 0, 0
        self._starts: list[int] = [0]
        self._total, self._height = 0, 1
        self.at_end = self._drawn = False

    def to(self, block: int) -> None:
        """Let a block begin at the top, as far as what follows fills the window."""
        self.block, self.offset = block, 0
        self.at_end = self._drawn = False

    @property
    def top(self) -> int:
        """The row at the top of the window."""
        block = min(self.block, len(self._starts) - 1)
        return max(0, min(self._starts[block] + self.offset, self._total - self._height))

    def show(self, blocks: Sequence[Sequence[Text]], height: int) -> list[Text]:
        """The rows in the window, filled up with blank ones."""
        self._starts, rows = [], list[Text]()
        for block in blocks:
            self._starts.append(len(rows))
            rows += block
        self._starts = self._starts or [0]
        self._total, self._height, self._drawn = len(rows), max(height, 0), True
        top = self.top
        shown = rows[top : top + self._height]
        if top + self._height >= self._total:
            self.at_end = True
        return shown + [Text()] * (self._height - len(shown))

    @property
    def above(self) -> int:
        """Rows above the window."""
        return self.top

    @property
    def below(self) -> int:
        """Rows below it."""
        return max(0, self._total - self.top - self._height)

    def press(self, name: str) -> bool:
        """Take a key that scrolls; whether it was one."""
        page = max(1, self._height - 1)
        by = {"up": -1, "down": 1, "page-up": -page, "page-down": page, "home": -self._total, "end": self._total}
        if name not in by:
            return False
        if not self._drawn:  # nobody has seen where it would start from
            return True
        row = max(0, min(self.top + by[name], self._total - self._height))
        self.block = max((number for number, start in enumerate(self._starts) if start <= row), default=0)
        self.offset = row - self._starts[self.block]
        return True


@dataclass
class Overlay:
    """A page in front of the page: help, material, an earlier point."""

    name: str
    title: str
    rows: Callable[[int], list[Text]]
    scroll: Scroll


class Page(ABC):
    """A screen: keys change it, a frame shows it, and it is over when there is a result.

    Parameters
    ----------
    place : where in the session the person is.
    signs : what the screen is drawn with.
    clock : seconds that only grow.
    """

    ticks = False
    """Whether the page changes by itself, every second."""

    def __init__(self, place: Place, signs: Signs, clock: Clock) -> None:
        self.place, self.signs, self.clock = place, signs, clock
        self.began = clock()
        self.hint = ""
        self.field: Field | None = None
        self.overlay: Overlay | None = None
        self.stopped = False
        self.sure = False
        """Whether the person is asked once more whether to keep what they gave."""
        self.sure_seen = False
        """Whether that question has been drawn: before it has, no key answers it."""
        self.width = 78

    @property
    def over(self) -> bool:
        """Whether the page has its result."""
        return self.stopped

    @property
    def typing(self) -> bool:
        """Whether keys go into a text."""
        return self.field is not None

    @property
    def elapsed(self) -> float:
        """Seconds since the page was opened."""
        return self.clock() - self.began

    def close(self) -> None:
        """Keep what is not kept yet; called once, whatever happens."""

    def stop(self) -> None:
        """End the session."""
        self.stopped = True

    def press(self, event: Event) -> None:
        """Take a key, a paste, or that time has gone by."""
        if self.over:
            return
        self.tick()
        if isinstance(event, Tick):
            return
        if event == Key("ctrl-c"):
            self.stop()
            return
        self.hint = ""
        if self.field is not None:
            self._into_field(self.field, event)
        elif self.typing:
            self.typed(event)
        elif isinstance(event, Paste):
            self.hint = PASTE_IGNORED
        elif event == Key("text", "q"):
            self.stop()
        elif self.overlay is not None:
            self._into_overlay(self.overlay, event)
        else:
            self.pressed(event)

    def tick(self) -> None:
        """Time has gone by."""

    def typed(self, event: Key | Paste) -> None:
        """A key while the page's own text is typed."""

    @abstractmethod
    def pressed(self, key: Key) -> None:
        """A key that is a command."""

    # ---- fields and overlays ------------------------------------------------------------------------

    def ask(self, prompt: str, done: Callable[[str], None], text: str = "", *, needed: bool = False) -> None:
        """Open a line to type in."""
        self.field = Field(prompt, needed, done, Editor(text))

    def _into_field(self, field: Field, event: Key | Paste) -> None:
        if event == Key("escape"):
            self.field = None
        elif event == Key("enter"):
            text = field.editor.text.strip()
            if field.needed and not text:
                self.hint = "A reason is needed; Esc goes back."
                return
            self.field = None
            field.done(text)
        else:
            field.editor.press(event, 10**6)

    def _into_overlay(self, overlay: Overlay, key: Key) -> None:
        name = _scrolling(key)
        if not overlay.scroll.press(name):
            self.overlay = None

    # ---- drawing ------------------------------------------------------------------------------------

    def frame(self, width: int, height: int) -> Frame:
        """The rows of a screen of this size."""
        width, height = max(width, 1), max(height, 1)
        self.width = max(1, min(width, WIDEST) - 2)
        cursor: tuple[int, int] | None = None
        if self.overlay is not None:
            rows = self._overlay_rows(self.overlay, height)
        else:
            rows, cursor = self.draw(self.width, height)
        margin = " " if width > 2 else ""
        self.sure_seen = self.sure and self.overlay is None and self.field is None
        drawn = tuple(fit(Text(margin).append_text(row) if row.plain else row, width) for row in rows[:height])
        if cursor is not None:
            cursor = (min(cursor[0], height - 1), min(cursor[1] + len(margin), width - 1))
        return Frame(drawn, cursor)

    @abstractmethod
    def draw(self, width: int, height: int) -> tuple[list[Text], tuple[int, int] | None]:
        """Rows of at most ``width`` columns, and the cursor."""

    def header(self, width: int, more: Sequence[str] = (), keys: str = "? help   q stop") -> Text:
        """The first row: where the person is at the left, keys at the right."""
        left = self.signs.dot.join([*item_line(self.place), *more])
        room = width - cell_len(left) - len(keys)
        if room < 2:
            return Text(fit_text(left, width, self.signs.ellipsis), "bold")
        return Text.assemble((left, "bold"), " " * room, (keys, "dim"))

    def rule(self, width: int, words: str = "") -> Text:
        """A line across, with a few words at its right end."""
        tail = f" {words} " if words else ""
        return Text(self.signs.rule * max(0, width - cell_len(tail) - 2) + tail + self.signs.rule * 2, "dim")

    def keys_rows(self, keys: Sequence[str], width: int) -> list[Text]:
        """What keys do, as many to a row as fit."""
        rows: list[str] = []
        for one in keys:
            if rows and cell_len(rows[-1]) + 3 + cell_len(one) <= width:
                rows[-1] += "   " + one
            else:
                rows.append(one)
        return [Text(fit_text(row, width, self.signs.ellipsis), "dim") for row in rows]

    def paragraph(self, text: str, width: int, style: str = "") -> list[Text]:
        """Our own words, wrapped."""
        return wrap_text(Text(text, style), width)

    def field_rows(self, field: Field, width: int) -> tuple[list[Text], tuple[int, int]]:
        """A line to type in, and the cursor counted from its first row."""
        rows = self.paragraph(field.prompt, width)
        editor, room = field.editor, max(width - 3, 1)
        begin = 0
        while begin < editor.cursor and cell_len(editor.text[begin : editor.cursor]) > room:
            begin += 1
        line = fit(Text(editor.text[begin:]), room)
        rows.append(Text.assemble((f"{self.signs.pointer} ", "bold"), line))
        cursor = (len(rows) - 1, 2 + cell_len(editor.text[begin : editor.cursor]))
        if editor.full:
            rows.append(Text("There is no room for more.", "italic"))
        rows += self.keys_rows(["Enter keeps it", "Esc goes back", "Ctrl-C stops"], width)
        return rows, cursor

    def hint_rows(self, width: int) -> list[Text]:
        """What the last key came to, where that needs saying."""
        return self.paragraph(self.hint, width, "italic") if self.hint else []

    def _overlay_rows(self, overlay: Overlay, height: int) -> list[Text]:
        width = self.width
        head = [self.header(width), Text(), Text(fit_text(overlay.title, width, self.signs.ellipsis), "bold"), Text()]
        if height < 16:
            head = [Text(fit_text(overlay.title, width, self.signs.ellipsis), "bold")]
        keys = ["b earlier", "f later"] if overlay.name == "turn" else []
        foot = self.keys_rows([f"{self.signs.up_down} PgUp PgDn scroll", *keys, "any other key goes back"], width)
        room = max(0, height - len(head) - len(foot) - 1)
        body = overlay.scroll.show([overlay.rows(width)], room)
        return [*head, *body, self.rule(width, _more(overlay.scroll, self.signs)), *foot]


def _scrolling(key: Key) -> str:
    """The key by the name under which it scrolls."""
    return {"j": "down", "k": "up", " ": "page-down"}.get(key.text, key.name) if key.name == "text" else key.name


def _more(scroll: Scroll, signs: Signs) -> str:
    parts = []
    if scroll.above:
        parts.append(f"{scroll.above} above")
    if scroll.below:
        parts.append(f"{scroll.below} more below")
    return ", ".join(parts)


def reading_points(asked: Asked) -> list[int]:
    """After how many turns a credence is asked for; the last of them is the verdict.

    The reader's own turns are shown along with those that follow them, and asked about by themselves never.
    """
    turns = asked.request.view.turns
    total = len(turns)
    if asked.reading == "whole":
        return [total]
    after = max((belief.after for belief in asked.beliefs), default=0)
    points = [number + 1 for number in range(min(asked.seen, total), total) if not turns[number].own]
    if points:
        points[-1] = total
    return [point for point in points if point > after] or [total]


def stated_last(asked: Asked) -> tuple[float, ...]:
    """What the person stated last, on this request or before it; empty where nothing was asked yet."""
    return asked.beliefs[-1].probabilities if asked.beliefs else asked.before


class Reading(Page):
    """A page on one request: question, answers, transcript, and what else its view holds."""

    def __init__(self, asked: Asked, place: Place, keep: Keep, signs: Signs, clock: Clock) -> None:
        super().__init__(place, signs, clock)
        self.asked, self.view, self.keep = asked, asked.request.view, keep
        self.notes = list(asked.notes)
        self.skipped: Skipped | None = None
        self.scroll = Scroll()
        labels = [answer.label for answer in self.view.answers]
        self.order = [*(label for label in asked.order if label in labels)]
        self.order += [label for label in labels if label not in self.order]
        self._made: dict[tuple[int, int, bool], list[Text]] = {}

    @property
    def over(self) -> bool:
        return self.stopped or self.skipped is not None

    @property
    def shown(self) -> int:
        """How many of the view's turns are on the page."""
        return len(self.view.turns)

    @property
    def hidden(self) -> bool:
        """Whether the time for reading is over."""
        return False

    def is_new(self, number: int) -> bool:
        """Whether the turn with this index is shown for the first time."""
        return number >= self.asked.seen and not self.view.turns[number].own

    # ---- keys ---------------------------------------------------------------------------------------

    def common(self, key: Key) -> bool:
        """Take a key that means the same on every page on a request; whether it was one."""
        if key.name == "text" and key.text in "?imnbs":
            {
                "?": self._help,
                "i": self._part,
                "m": self._material,
                "n": self._note,
                "b": self._back,
                "s": self._skip,
            }[key.text]()
            return True
        return self.scroll.press(_scrolling(key))

    def _note(self) -> None:
        self.ask("A note for yourself, which is kept with the item:", self._noted)

    def _noted(self, text: str) -> None:
        if text:
            self.keep.note(text)
            self.notes.append(text)
            self.hint = "The note is kept; ? shows your notes."

    def _skip(self) -> None:
        self.ask("You give this item up. Why? (needed)", self._skipping, needed=True)

    def _skipping(self, text: str) -> None:
        self.skipped = Skipped(text)

    def _help(self) -> None:
        self.overlay = Overlay("help", "Keys", self._help_rows, Scroll())

    def _help_rows(self, width: int) -> list[Text]:
        rows: list[Text] = []
        for names, what in self.help_lines():
            lines = wrap_text(Text(what), max(width - 18, 10))
            rows.append(Text.assemble((f"{names:<16}  ", "bold"), lines[0]))
            rows += [Text(" " * 18).append_text(line) for line in lines[1:]]
        rows.append(Text())
        found, missing = (before + "words" + after for before, after in (self.signs.verified, self.signs.unverified))
        rows += self.paragraph(
            f"Quotations are checked: {found} stand in the hidden text, {missing} do not. Nothing else that a speaker "
            "says has been checked, and speakers cannot write these signs themselves.",
            width,
        )
        if self.notes:
            rows += [Text(), Text("Your notes on this item", "bold")]
            for note in self.notes:
                lines = wrap_text(Text(inert(note, self.signs, marks=False)), width - 2)
                rows += [Text("  ").append_text(line) for line in lines]
        return rows

    def help_lines(self) -> list[tuple[str, str]]:
        """Keys, and what they do."""
        arrows = self.signs.up_down
        return [
            (f"{arrows} PgUp PgDn", "scroll; Home and End go to the top and the end, Space a page on"),
            ("b", "read earlier turns again, one by one; nothing that you stated changes"),
            ("i", "your part: what you are asked to do, and the rules"),
            *([("m", "the text that the question is about")] if self.view.material and not self.hidden else []),
            ("n", "keep a note for yourself"),
            ("s", "skip the item, with a reason"),
            ("q or Ctrl-C", "stop; everything that you stated is kept, and the session goes on from there"),
        ]

    def _part(self) -> None:
        self.overlay = Overlay("part", "Your part", self._part_rows, Scroll())

    def _part_rows(self, width: int) -> list[Text]:
        rows: list[Text] = []
        for line in [*part_lines(self.view, self.signs), positions_text(self.view, self.signs)]:
            if line:
                rows += [*self.paragraph(line, width), Text()]
        return rows or [Text("Nothing more is said about it.")]

    def _material(self) -> None:
        if not self.view.material:
            self.hint = "There is no text that you may see."
        elif self.hidden:
            self.hint = "The time for reading is over."
        else:
            self.overlay = Overlay("material", "The text", self._material_rows, Scroll())

    def _material_rows(self, width: int) -> list[Text]:
        key = (-1, width, False)
        if key not in self._made:
            rows: list[Text] = []
            for name, text in self.view.material.items():
                rows += [Text(one_line(name, self.signs), "bold")] if len(self.view.material) > 1 else []
                rows += [*wrap_text(Text(inert(text, self.signs, marks=False).strip("\n")), width), Text()]
            self._made[key] = rows
        return self._made[key]

    def _back(self) -> None:
        last = self.shown - 1
        if last < 0 or self.hidden:
            self.hint = "The time for reading is over." if self.hidden else "There is no turn to go back to."
            return
        self._show_turn(max(0, last - 1) if last else 0)

    def _show_turn(self, number: int) -> None:
        def rows(width: int) -> list[Text]:
            stated = self.stated_after(number + 1)
            after = [Text(), *self.paragraph(stated, width, "italic")] if stated else []
            return [*self.turn(number, width), *after]

        self._turn = number
        title = f"Reading again: turn {number + 1} of {self.shown}"
        self.overlay = Overlay("turn", title, rows, Scroll())

    def stated_after(self, after: int) -> str:
        """What was stated after so many turns; empty for nothing."""
        return ""

    def _into_overlay(self, overlay: Overlay, key: Key) -> None:
        if overlay.name == "turn" and key.text in ("b", "f") and key.name == "text":
            self._show_turn(min(max(self._turn + (1 if key.text == "f" else -1), 0), self.shown - 1))
            return
        # The key that opened a page closes it; those that open another do so at once.
        self.overlay = overlay
        super()._into_overlay(overlay, key)
        opens = {"help": "?", "part": "i", "material": "m"}
        if self.overlay is None and key.name == "text" and key.text in "?im" and opens.get(overlay.name) != key.text:
            self.common(key)

    # ---- rows ---------------------------------------------------------------------------------------

    def head(self, width: int) -> list[Text]:
        """The question and the answers, whole."""
        rows = wrap_text(Text(inert(self.view.question, self.signs).strip(), "bold"), width)
        rows += [Text()] if self.listed else []
        for label in self.listed:
            rows += answer_rows(label, self.view.answer_text(label), width, self.signs)
        positions = self.positions(width)
        return [*rows, *([Text(), *positions] if positions else [])]

    @property
    def listed(self) -> Sequence[str]:
        """The labels of the answers that are listed: what a check can come to is on the bar."""
        return () if isinstance(self.asked.request, Choose) and self.asked.request.of_a_step else self.order

    def positions(self, width: int) -> list[Text]:
        """Who argues for what."""
        words = positions_text(self.view, self.signs)
        return self.paragraph(words, width, "italic") if words else []

    def short_head(self, width: int) -> list[Text]:
        """The same in a row each."""
        signs = self.signs
        rows = [Text(fit_text(inert(self.view.question, signs), width, signs.ellipsis), "bold")]
        for label in self.listed:
            name, text = one_line(label, signs), inert(self.view.answer_text(label), signs)
            if right_to_left(text):
                rows.append(Text(f"  {name}", "bold"))
                rows.append(Text("     " + fit_text(text, width - 5, signs.ellipsis)))
            else:
                shown = fit_text(text, width - 4 - cell_len(name), signs.ellipsis)
                rows.append(Text.assemble((f"  {name}  ", "bold"), shown))
        return rows

    def turn(self, number: int, width: int) -> list[Text]:
        """The rows of a turn; made once for every width."""
        new = self.is_new(number)
        key = (number, width, new)
        if key not in self._made:
            self._made[key] = turn_rows(self.view.turns[number], width - 2, self.signs, new=new)
        return self._made[key]

    def transcript(self, width: int, before: Sequence[Text] = ()) -> list[list[Text]]:
        """A block of rows for what stands before the turns, one for each turn, and one for what follows from them."""
        blocks = [[*before, Text()] if before else []]
        if self.view.omitted:
            left_out = "oldest turn is" if self.view.omitted == 1 else f"{self.view.omitted} oldest turns are"
            blocks[0] += [*self.paragraph(f"The {left_out} left out here.", width, "italic"), Text()]
        if self.hidden:
            return [[*self.paragraph("The time for reading is over, and the transcript is hidden.", width, "italic")]]
        blocks += [[*self.turn(number, width), Text()] for number in range(self.shown)]
        if self.view.exhibit and self.shown == len(self.view.turns):  # it tells what comes of every turn
            exhibit = inert(self.view.exhibit, self.signs, marks=False).strip("\n")
            blocks.append([Text("What has come of it", "bold"), *wrap_text(Text(exhibit), width), Text()])
        if not self.view.turns and not self.view.exhibit:
            blocks.append(self.paragraph("Nothing has been said yet.", width, "italic"))
        while blocks and blocks[-1] and not blocks[-1][-1].plain:
            blocks[-1] = blocks[-1][:-1]
        return blocks

    def arrange(self, width: int, height: int, foot: list[Text], more: Sequence[str] = ()) -> tuple[list[Text], int]:
        """The whole screen around a foot, and the row at which the foot begins."""
        foot = foot[: max(1, height - 3)]
        roomy = height >= 20
        rows = [self.header(width, more), *([Text()] if roomy else [])]
        before: list[Text] = []
        room = height - len(rows) - len(foot)
        whole, short = self.head(width), self.short_head(width)
        if len(whole) <= max(4, height // 2 - 3) and len(whole) + 7 <= room:
            rows += [*whole, *([Text()] if roomy else [])]
        else:
            before = whole
            if len(short) + 6 <= room:
                rows += [*short, *([Text()] if roomy else [])]
                cut = any(row.plain.endswith(self.signs.ellipsis) for row in short)
                before = whole if cut else self.positions(width)
        body_height = height - len(rows) - len(foot) - 2
        body = self.scroll.show(self.transcript(width, before), max(0, body_height))
        rows.append(self.rule(width, f"{self.scroll.above} above" if self.scroll.above else ""))
        rows += body
        rows.append(self.rule(width, f"{self.scroll.below} more below" if self.scroll.below else ""))
        rows = rows[: height - len(foot)]
        return rows + foot, len(rows)


class Choosing(Reading):
    """A credence after each turn that is new, and the verdict after the last."""

    def __init__(self, asked: Asked, place: Place, keep: Keep, signs: Signs, clock: Clock) -> None:
        super().__init__(asked, place, keep, signs, clock)
        assert isinstance(asked.request, Choose)
        self.request = asked.request
        self.points = reading_points(asked)
        self.step = 0
        self.reason = ""
        self.result: Decided | None = None
        self.stated = {belief.after: belief.probabilities for belief in asked.beliefs}
        labels = [answer.label for answer in self.view.answers]
        last = stated_last(asked)
        self.credence = Credence(self.order, dict(zip(labels, last, strict=True)) if last else None)
        self.touched = False
        self.since = self.began
        self.ticks = asked.seconds is not None
        self._out_of_time = False
        self._to_what_is_new()

    @property
    def over(self) -> bool:
        return super().over or self.result is not None

    @property
    def last(self) -> bool:
        """Whether what is asked for now is the verdict."""
        return self.step == len(self.points) - 1

    @property
    def shown(self) -> int:
        return 0 if self.hidden else self.points[self.step]

    @property
    def hidden(self) -> bool:
        return self._out_of_time

    @property
    def decides_to_stop(self) -> bool:
        """Whether the person says if the episode goes on."""
        return self.request.stakes is not None and self.request.stakes.left > 0

    def outcome(self) -> Decided | Skipped | Stopped:
        """What the page came to."""
        return self.result or self.skipped or Stopped()

    def is_new(self, number: int) -> bool:
        first = self._first_new()
        return first is not None and number >= first and not self.view.turns[number].own

    def _first_new(self) -> int | None:
        """Index of the first turn that the last key brought onto the page; None for none."""
        if self.step:
            begin = self.points[self.step - 1]
        else:
            begin = max([min(self.asked.seen, self.points[0]), *(after for after in self.stated)], default=0)
        return begin if begin < self.points[self.step] else None

    def _to_what_is_new(self) -> None:
        if self.step == 0 and not self.asked.seen and not self.asked.beliefs:
            return  # an item begins with its question
        first_new = self._first_new()
        self.scroll.to(len(self.view.turns) + 1 if first_new is None else first_new + 1)

    def stated_after(self, after: int) -> str:
        if after not in self.stated:
            return ""
        labels = [answer.label for answer in self.view.answers]
        stated = Credence(self.order, dict(zip(labels, self.stated[after], strict=True)))
        return f"After it you gave {stated.words()}."

    # ---- keys ---------------------------------------------------------------------------------------

    def tick(self) -> None:
        if self.asked.seconds is not None and not self._out_of_time and self.elapsed >= self.asked.seconds:
            self._out_of_time = True
            self.step = len(self.points) - 1
            self.sure = False
            self.overlay = self.overlay if self.overlay and self.overlay.name in ("help", "part") else None
            self.scroll.to(0)

    def pressed(self, key: Key) -> None:
        if self._on_the_bar(key):
            self.touched, self.sure = True, False
        elif self.sure:
            self._when_sure(key)
        elif key.name == "enter":
            self._enter()
        elif not self.common(key):
            self.hint = "? lists the keys."

    def _on_the_bar(self, key: Key) -> bool:
        """Take a key that changes the credence; whether it was one."""
        credence, several = self.credence, len(self.order) > 2
        towards_first = -1 if several else 1  # between two answers, left is towards the first
        steps = {"left": 1, "right": -1, "shift-left": 10, "shift-right": -10, "[": 10, "]": -10}
        name = key.text if key.name == "text" else key.name
        if name in steps:
            credence.move(towards_first * steps[name])
        elif len(name) == 1 and name in "0123456789":
            if not credence.type(name):
                self.hint = "A share is at most 100; Backspace takes a digit back."
        elif name in ("h", "f") and self.request.of_a_step:
            credence.typed = ""
            credence.set(100.0 if (name == "h") == (self.order[0] == HOLDS) else 0.0)
        elif name == "backspace" and credence.typed:
            credence.erase()
        elif several and name in ("up", "down") and not self.sure:
            credence.choose(credence.chosen + (1 if name == "down" else -1))
        elif several and name == "h":
            credence.hold()
        else:
            return False
        return True

    def _enter(self) -> None:
        if not self.scroll.at_end and not self.touched and not self.hidden:
            self.scroll.press("page-down")
            return
        self.credence.typed = ""
        if self.last:
            self.sure, self.sure_seen = True, False
            return
        now = self.clock()
        probabilities = self.credence.in_order([answer.label for answer in self.view.answers])
        belief = Belief(self.points[self.step], probabilities, round(now - self.since, 3))
        self.keep.belief(belief)
        self.stated[belief.after] = belief.probabilities
        self.step += 1
        self.touched, self.since = False, now
        self._to_what_is_new()

    def _when_sure(self, key: Key) -> None:
        if not self.sure_seen:
            return  # nobody keeps what they were not asked about yet
        if key.name == "enter":
            self._decide(False if self.decides_to_stop else None)
        elif key == Key("text", "e") and self.decides_to_stop:
            self._decide(True)
        elif key.name == "escape":
            self.sure = False
        elif key == Key("text", "r"):
            others = "The others will read it. " if self.request.explains else ""
            self.ask(f"{others}Your reason, in a line:", self._reasoned, self.reason)
        elif not self.common(key):
            self.hint = "Enter keeps the verdict, Esc goes back."

    def _reasoned(self, text: str) -> None:
        self.reason = text

    def _decide(self, stops: bool | None) -> None:
        self.result = Decided(self.credence.probabilities, self.reason, round(self.elapsed, 3), stops)

    def help_lines(self) -> list[tuple[str, str]]:
        left, right = self.signs.left, self.signs.right
        if len(self.order) == 2:
            first, second = self.order
            bar = [
                (f"{left} {right}", f"1 % towards {first} or towards {second}"),
                ("[ ]", "10 %; so do the arrows with Shift"),
                ("0 to 100", f"typed, the share of {first}; Backspace takes a digit back"),
                *([("h f", "it holds, it fails: 100 % or 0 %")] if self.request.of_a_step else []),
            ]
        else:
            bar = [
                (self.signs.up_down, "choose an answer"),
                (f"{left} {right}", "give it 1 % less or more; the others change in proportion"),
                ("[ ]", "10 %; so do the arrows with Shift"),
                ("0 to 100", "typed, its share; Backspace takes a digit back"),
                ("h", "hold its share while others change, or no longer"),
            ]
        enter = [("Enter", "keeps what you give; before the end of what is new it reads on, if you changed nothing")]
        return [*bar, *enter, *super().help_lines()]

    # ---- rows ---------------------------------------------------------------------------------------

    def draw(self, width: int, height: int) -> tuple[list[Text], tuple[int, int] | None]:
        more = []
        if self.asked.seconds is not None and not self.hidden:
            more.append(f"{clock_time(self.asked.seconds - self.elapsed)} left to read")
        cursor: tuple[int, int] | None = None
        if self.field is not None:
            foot, cursor = self.field_rows(self.field, width)
            foot += self.hint_rows(width)
        else:
            foot = self._foot(width, height)
        read = self.scroll.at_end
        rows, begin = self.arrange(width, height, foot, more)
        if self.scroll.at_end and not read and self.field is None:  # what Enter does depends on it
            rows, begin = self.arrange(width, height, self._foot(width, height), more)
        return rows, None if cursor is None else (begin + cursor[0], cursor[1])

    def _foot(self, width: int, height: int) -> list[Text]:
        roomy = [Text()] if height >= 20 else []
        rows = [*self._question(width), *roomy, *self._bars(width, height), *roomy]
        if self.sure:
            rows += self._sure_rows(width)
        else:
            rows += self.keys_rows(self._bar_keys(), width)
        return rows + self.hint_rows(width)

    def _question(self, width: int) -> list[Text]:
        spoken = [number for number, turn in enumerate(self.view.turns) if not turn.own]
        total, here = len(spoken), sum(number < self.points[self.step] for number in spoken)
        if self.hidden:
            words = verdict_words(self.request)
        elif self.last:
            read = f" Turn {total} of {total}, the last{' so far' if self.request.leads_on else ''}."
            words = verdict_words(self.request) + (read if total and len(self.points) > 1 else "")
        else:
            words = f"Turn {here} of {total}. How likely is each answer now?"
        return self.paragraph(words, width, "bold")

    def _bar_keys(self) -> list[str]:
        left, right, several = self.signs.left, self.signs.right, len(self.order) > 2
        ends = self.last and not self.request.leads_on and not self.request.of_a_step
        enter = "Enter " + ("gives the verdict" if ends else "keeps it")
        if not self.scroll.at_end and not self.touched and not self.hidden:
            enter = "Enter reads on"
        if several:
            return [f"{self.signs.up_down} choose", f"{left} {right} 1 %", "[ ] 10 %", "or type 0 to 100", enter]
        first, second = self.order[0], self.order[-1]
        if self.request.of_a_step:
            return ["h holds", "f fails", f"{left} {right} 1 %", "[ ] 10 %", f"or type 0 to 100 for {first}", enter]
        return [f"{left} {first}   {second} {right}   1 %", "[ ] 10 %", f"or type 0 to 100 for {first}", enter]

    def _bars(self, width: int, height: int) -> list[Text]:
        if len(self.order) == 2:
            return [self._scale(width)]
        most = max(1, height // 3)
        begin = max(0, min(self.credence.chosen - most // 2, len(self.order) - most))
        shares = list(enumerate(zip(self.order, self.credence.shares, strict=True)))
        name_width = max(cell_len(label) for label in self.order)
        rows = []
        for place, (label, share) in shares[begin : begin + most]:
            chosen = place == self.credence.chosen
            held = "  held" if place in self.credence.held else ""
            room = max(0, min(50, width - name_width - 12 - len(held)))
            filled = round(room * share / 100)
            bar = self.signs.filled * filled + self.signs.empty * (room - filled)
            pointer = self.signs.pointer if chosen else " "
            name = label + " " * (name_width - cell_len(label))
            rows.append(
                Text.assemble((f"{pointer} {name} {percent(share):>4} %  ", "bold" if chosen else ""), bar, held)
            )
        return rows

    def _scale(self, width: int) -> Text:
        """The bar between two answers: the knob stands nearer to the likelier one."""
        (first, second), (share, other) = self.order, self.credence.shares
        left, right = f"  {first} {percent(share):>4} %  ", f"  {percent(other)} % {second}"
        room = max(3, min(61, width - cell_len(left) - cell_len(second) - 8))
        room -= 1 - room % 2  # so that one column is the middle
        line = [self.signs.rule] * room
        line[room // 2] = self.signs.middle
        line[round((room - 1) * other / 100)] = self.signs.knob
        return Text.assemble((left, "bold"), "".join(line), (right, "bold"))

    def _sure_rows(self, width: int) -> list[Text]:
        seen = " The others will see it." if self.request.public else ""
        rows = self.paragraph(f"You give {self.credence.words()}.{seen}", width, "bold")
        stakes = self.request.stakes
        if stakes is not None:
            for line in stakes_lines(stakes, self.credence, self.signs):
                rows += self.paragraph(line, width)
        if self.reason:
            text = f"Your reason: {one_line(self.reason, self.signs)}"
            rows.append(Text(fit_text(text, width, self.signs.ellipsis)))
        reason = "r changes the reason" if self.reason else "r adds a reason"
        if self.request.explains:
            reason += ", which the others will read"
        if self.decides_to_stop:
            keys = ["Enter goes on", "e ends with this verdict", reason, "Esc goes back"]
        else:
            keys = ["Enter keeps it", reason, "Esc goes back"]
        return rows + self.keys_rows(keys, width)


class Speaking(Reading):
    """A speech: the transcript to read, and a text to write."""

    ticks = True

    def __init__(self, asked: Asked, place: Place, keep: Keep, signs: Signs, clock: Clock) -> None:
        super().__init__(asked, place, keep, signs, clock)
        assert isinstance(asked.request, Speak)
        self.request = asked.request
        self.editor = Editor(asked.draft or self.request.rejected, lines=True)
        self.writing = False
        self.result: Said | None = None
        self._kept, self._kept_at = asked.draft, self.began
        first_new = next((n for n in range(len(self.view.turns)) if self.is_new(n)), None)
        self.scroll.to(len(self.view.turns) if first_new is None else first_new + 1)

    @property
    def over(self) -> bool:
        return super().over or self.result is not None

    @property
    def typing(self) -> bool:
        return self.field is not None or (self.writing and not self.sure)

    def outcome(self) -> Said | Skipped | Stopped:
        """What the page came to."""
        return self.result or self.skipped or Stopped()

    def close(self) -> None:
        self._keep_draft()

    def _keep_draft(self) -> None:
        if self.editor.text != self._kept:
            self.keep.draft(self.editor.text)
            self._kept, self._kept_at = self.editor.text, self.clock()

    # ---- keys ---------------------------------------------------------------------------------------

    def tick(self) -> None:
        if self.clock() - self._kept_at >= DRAFT_EVERY:
            self._keep_draft()

    def typed(self, event: Key | Paste) -> None:
        if event == Key("escape"):
            self.writing = False
            self._keep_draft()
        elif event in (Key("ctrl-d"), Key("ctrl-x")):
            self._keep_draft()
            self._finish()
        elif isinstance(event, Key) and event.name in ("page-up", "page-down"):
            self.scroll.press(event.name)
        elif self.editor.press(event, self.width):
            self.hint = "There is no room for more." if self.editor.full else ""
            if event == Key("enter") or self.clock() - self._kept_at >= DRAFT_EVERY:
                self._keep_draft()

    def _finish(self) -> None:
        fault = self.request.fault_of(self.editor.text.strip())
        if not inert(self.editor.text, self.signs).strip():
            self.hint = "There is nothing written yet."
        elif fault:
            self.hint = f"It cannot be given like this: {fault}."
        else:
            self.sure, self.sure_seen = True, False

    def pressed(self, key: Key) -> None:
        if self.sure:
            if key.name == "enter" and self.sure_seen:
                self.result = Said(self.editor.text.strip(), round(self.elapsed, 3))
            elif key.name == "escape":
                self.sure, self.writing = False, True
            else:
                self.hint = f"Enter gives the {what_is_written(self.request)}, Esc goes back to it."
        elif key.name == "enter" or key == Key("text", "w"):
            self.writing = True
        elif key.name in ("ctrl-d", "ctrl-x"):
            self._finish()
        elif not self.common(key):
            self.hint = "Enter begins to write; ? lists the keys."

    def help_lines(self) -> list[tuple[str, str]]:
        return [
            ("Enter or w", "write; there Enter begins a new line"),
            ("Esc", "leaves the text, to read and to use the other keys"),
            ("Ctrl-D or Ctrl-X", f"the {what_is_written(self.request)} is done; you are asked once more"),
            ("<quote>", "words between <quote> and </quote> are a quotation, which is checked"),
            *super().help_lines(),
        ]

    # ---- rows ---------------------------------------------------------------------------------------

    def draw(self, width: int, height: int) -> tuple[list[Text], tuple[int, int] | None]:
        cursor: tuple[int, int] | None = None
        if self.field is not None:
            foot, cursor = self.field_rows(self.field, width)
            foot += self.hint_rows(width)
        else:
            foot, cursor = self._foot(width, height)
        rows, begin = self.arrange(width, height, foot)
        return rows, None if cursor is None else (begin + cursor[0], cursor[1])

    def _foot(self, width: int, height: int) -> tuple[list[Text], tuple[int, int] | None]:
        rows: list[Text] = []
        if not self.writing or height >= 20:
            rows += self._task(width)
        below = self.paragraph(written_line(self.request, self.editor.text, self.view.material), width, "italic")
        if self.sure:
            below = [*self.paragraph("Is this what you want to say?", width, "bold"), *below]
            below += self.keys_rows(["Enter gives it", "Esc goes back to it"], width)
        elif self.writing:
            below += self.keys_rows(["Ctrl-D done", "Esc read", "PgUp PgDn scroll", "Ctrl-C stop"], width)
        else:
            begin = "Enter goes on writing" if self.editor.text else "Enter begins to write"
            material = ["m the text"] if self.view.material else []
            below += self.keys_rows([begin, "Ctrl-D done", *material, "b earlier turns", "s skip"], width)
        below += self.hint_rows(width)
        spans = self.editor.rows(width)
        row, column = self.editor.where(width)
        most = min(height // 2 - len(rows) - 1, height - len(rows) - len(below) - 6)
        room = max(1, min(max(len(spans), 4 if self.writing else 1), most))
        top = max(0, min(row - room // 2, len(spans) - room))
        text = [Text(self.editor.text[begin:end]) for begin, end in spans[top : top + room]]
        text += [Text()] * (room - len(text) if self.writing else 0)
        cursor = (len(rows) + row - top, column) if self.writing and not self.sure else None
        if not self.editor.text and not self.writing:
            text = []
        divider = [self.rule(width)] if text else []
        return [*rows, *text, *divider, *below], cursor

    def _task(self, width: int) -> list[Text]:
        signs = self.signs
        rows: list[Text] = []
        if self.request.rejected and self.request.fault:
            rows += self.paragraph(
                f"Your last {what_is_written(self.request)} was not accepted: {one_line(self.request.fault, signs)}.",
                width,
                "bold",
            )
        task = one_line(self.view.task, signs) or f"Speak now, as {one_line(self.view.speaker, signs)}."
        rows += self.paragraph(" ".join(part for part in (task, limits_line(self.request.limits)) if part), width)
        return [*rows[:5], Text()]


class Waiting(Page):
    """Something is waited for."""

    ticks = True

    def __init__(self, for_what: str, place: Place, signs: Signs, clock: Clock) -> None:
        super().__init__(place, signs, clock)
        self.for_what = one_line(for_what, signs).rstrip(". ")

    def pressed(self, key: Key) -> None:
        """Nothing to do but wait."""

    def draw(self, width: int, height: int) -> tuple[list[Text], tuple[int, int] | None]:
        words = f"{self.for_what} {self.signs.ellipsis} {int(self.elapsed)} s"
        above = max(0, min(height // 3, height - 4) - 1)
        rows = [self.header(width, keys="q stop"), *[Text()] * above, *self.paragraph(words, width)]
        return [*rows, *self.hint_rows(width)], None


class Resting(Page):
    """Between two items."""

    def __init__(self, place: Place, feedback: Feedback | None, signs: Signs, clock: Clock) -> None:
        super().__init__(place, signs, clock)
        self.feedback = feedback
        self.goes_on = False
        self.scroll = Scroll()

    @property
    def over(self) -> bool:
        return self.stopped or self.goes_on

    def pressed(self, key: Key) -> None:
        if key.name == "enter":
            self.goes_on = True
        elif not self.scroll.press(_scrolling(key)):
            self.hint = "Enter goes on, q stops."

    def draw(self, width: int, height: int) -> tuple[list[Text], tuple[int, int] | None]:
        rows: list[Text] = []
        if self.feedback is not None:
            lines, bands = feedback_lines(self.feedback, self.signs)
            for line in lines:
                rows += [*self.paragraph(line, width), Text()]
            if bands:
                rows.append(Text("How often you were right, by how sure you were", "bold"))
                rows += [Text(f"  {band:>12}   {count:>12}   {right:>11}") for band, count, right in bands]
        keys = ["Enter: end"] if self.place.waiting == 0 else ["Enter: next", "q: stop"]
        foot = [*self.keys_rows(keys, width), *self.hint_rows(width)]
        head = [Text(kept_line(self.place), "bold"), Text()]
        body = self.scroll.show([rows], max(0, min(len(rows) + 1, height - len(head) - len(foot))))
        return [*head, *body, *foot], None
