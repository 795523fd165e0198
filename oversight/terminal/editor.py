"""Text that is being typed: a cursor in it, and where it stands when the text is wrapped."""

from __future__ import annotations

from collections.abc import Callable

from rich.cells import cell_len

from ..agents.prompts import clean
from .cells import boundary, wrap
from .keys import Event, Key, Paste

__all__ = ["Editor"]

LONGEST = 20_000
"""Characters that are taken; more would make every key slow."""


class Editor:
    """A text, a cursor, and the keys that change them.

    Parameters
    ----------
    text : what is there at first; the cursor stands after it.
    lines : whether there may be more lines than one.

    Notes
    -----
    The cursor stands before a character or after the last one, never between a letter and its marks.
    """

    def __init__(self, text: str = "", *, lines: bool = False) -> None:
        self.lines = lines
        self.text = ""
        self.cursor = 0
        self.full = False
        self._goal: int | None = None
        self.insert(text)
        self.full = False

    def insert(self, text: str) -> None:
        """Put text where the cursor stands, without control characters and within the room that is left."""
        text = clean(text).expandtabs(4)
        if not self.lines:
            text = text.replace("\n", " ")
        room = LONGEST - len(self.text)
        self.full = len(text) > room
        text = text[:room]
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)
        self._settle()

    def press(self, event: Event, width: int) -> bool:
        """Take a key or a paste; whether it was one for this editor.  ``width`` is that of the last drawing."""
        goal, self._goal, self.full = self._goal, None, False
        if isinstance(event, Paste):
            self.insert(event.text)
            return True
        if not isinstance(event, Key):
            self._goal = goal
            return False
        if event.name in ("up", "down"):
            self._up_or_down(-1 if event.name == "up" else 1, width, goal)
            return self.lines
        simple = {
            "left": self.left,
            "right": self.right,
            "ctrl-left": self.word_left,
            "ctrl-right": self.word_right,
            "backspace": self.backspace,
            "delete": self.delete,
            "ctrl-w": self.delete_word,
            "ctrl-u": self.delete_to_start,
            "ctrl-k": self.delete_to_end,
        }
        if event.name == "text":
            self.insert(event.text)
        elif event.name == "enter" and self.lines:
            self.insert("\n")
        elif event.name in simple:
            simple[event.name]()
        elif event.name in ("home", "end"):
            begin, end = self._row(width)
            self.cursor = begin if event.name == "home" else end
        else:
            return False
        return True

    # ---- moving -----------------------------------------------------------------------------------

    def left(self) -> None:
        """One character back."""
        self.cursor = max(0, self.cursor - 1)
        while not boundary(self.text, self.cursor):
            self.cursor -= 1

    def right(self) -> None:
        """One character on."""
        self.cursor = min(len(self.text), self.cursor + 1)
        self._settle()

    def word_left(self) -> None:
        """To the start of the word before the cursor."""
        for space in (True, False):
            while self.cursor > 0 and self.text[self.cursor - 1].isspace() is space:
                self.left()

    def word_right(self) -> None:
        """To the end of the word after the cursor."""
        for space in (True, False):
            while self.cursor < len(self.text) and self.text[self.cursor].isspace() is space:
                self.right()

    # ---- deleting ---------------------------------------------------------------------------------

    def backspace(self) -> None:
        """Delete the character before the cursor, with its marks."""
        self._delete_from(self.left)

    def delete(self) -> None:
        """Delete the character after the cursor, with its marks."""
        begin = self.cursor
        self.right()
        self.text, self.cursor = self.text[:begin] + self.text[self.cursor :], begin
        self._settle()

    def delete_word(self) -> None:
        """Delete back to the start of the word."""
        self._delete_from(self.word_left)

    def delete_to_start(self) -> None:
        """Delete back to the start of the line."""
        end = self.cursor
        self.cursor = self.text.rfind("\n", 0, end) + 1
        self.text = self.text[: self.cursor] + self.text[end:]
        self._settle()

    def delete_to_end(self) -> None:
        """Delete to the end of the line."""
        end = self.text.find("\n", self.cursor)
        self.text = self.text[: self.cursor] + ("" if end < 0 else self.text[end:])

    # ---- where it stands --------------------------------------------------------------------------

    def rows(self, width: int) -> list[tuple[int, int]]:
        """The span of each row when lines are wrapped to ``width`` columns; newlines belong to no row."""
        spans: list[tuple[int, int]] = []
        start = 0
        for line in self.text.split("\n"):
            spans += [(start + begin, start + end) for begin, end in wrap(line, max(width, 1))]
            start += len(line) + 1
        return spans

    def where(self, width: int) -> tuple[int, int]:
        """Row and column of the cursor; at the end of a wrapped row it stands at the start of the next."""
        rows = self.rows(width)
        row = max(number for number, (begin, _) in enumerate(rows) if begin <= self.cursor)
        return row, min(cell_len(self.text[rows[row][0] : self.cursor]), max(width, 1))

    def _row(self, width: int) -> tuple[int, int]:
        rows = self.rows(width)
        row, _ = self.where(width)
        begin, end = rows[row]
        if row + 1 < len(rows) and rows[row + 1][0] == end:  # the place after it is the next row's first
            end = max(begin, end - 1)
            while not boundary(self.text, end):
                end -= 1
        return begin, end

    def _up_or_down(self, by: int, width: int, goal: int | None) -> None:
        row, column = self.where(width)
        self._goal = column if goal is None else goal
        rows = self.rows(width)
        if not 0 <= row + by < len(rows):
            self.cursor = 0 if by < 0 else len(self.text)
            return
        self.cursor = rows[row + by][0]
        _, end = self._row(width)
        begin = self.cursor
        while self.cursor < end:
            here = self.cursor
            self.right()
            if self.cursor > end or cell_len(self.text[begin : self.cursor]) > self._goal:
                self.cursor = here
                return

    def _settle(self) -> None:
        while not boundary(self.text, self.cursor):
            self.cursor += 1

    def _delete_from(self, move: Callable[[], None]) -> None:
        end = self.cursor
        move()
        self.text = self.text[: self.cursor] + self.text[end:]
        self._settle()
