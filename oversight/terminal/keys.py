"""From the bytes that a terminal sends to keys and pasted text.

Whatever arrives is harmless: what is no key this module knows comes out as ``unknown``, and the text of keys and
pastes holds no control character.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from ..agents.prompts import clean

__all__ = ["Decoder", "Event", "Key", "Paste", "Tick"]

BURST = 16
"""So many printable bytes in one read are a paste: nobody types that fast."""

LONGEST_PASTE = 1_000_000
"""Bytes of a paste that are kept; the rest of it is dropped."""

LONGEST_SEQUENCE = 256
"""Bytes after which an escape sequence without an end is given up."""

PASTE_START, PASTE_END = b"\x1b[200~", b"\x1b[201~"


@dataclass(frozen=True)
class Key:
    """A key.

    Parameters
    ----------
    name : ``text`` for a character; ``enter``, ``escape``, ``left``, ``shift-left``, ``ctrl-c``, ...; ``unknown``.
    text : the character of ``text``; empty for every other key.
    """

    name: str
    text: str = ""


@dataclass(frozen=True)
class Paste:
    """Text that was pasted, its lines parted by newlines."""

    text: str


@dataclass(frozen=True)
class Tick:
    """Time has gone by, and no key was pressed."""


Event = Key | Paste | Tick

_CONTROL = {
    0x09: "tab",
    0x0A: "enter",
    0x0D: "enter",
    0x08: "backspace",
    0x7F: "backspace",
    0x01: "home",
    0x05: "end",
    0x02: "left",
    0x06: "right",
    0x10: "up",
    0x0E: "down",
    **{code: f"ctrl-{chr(code + 96)}" for code in (0x03, 0x04, 0x0B, 0x0C, 0x15, 0x17, 0x18)},
}
_FINAL = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end", "Z": "shift-tab", "M": "enter"}
_TILDE = {"1": "home", "7": "home", "4": "end", "8": "end", "3": "delete", "5": "page-up", "6": "page-down"}
_OLD_SHIFT = {"a": "shift-up", "b": "shift-down", "c": "shift-right", "d": "shift-left"}  # as rxvt sends them
_MODIFIER = {"2": "shift-", "3": "alt-", "5": "ctrl-", "6": "ctrl-"}

_CSI = re.compile(rb"\x1b\[([\x30-\x3f]*)([\x20-\x2f]*)([\x40-\x7e])")
_CSI_BEGINNING = re.compile(rb"\x1b\[[\x30-\x3f]*[\x20-\x2f]*")
_STRING = re.compile(rb"\x1b[\]PX^_].*?(?:\x07|\x1b\\)", re.DOTALL)


class Decoder:
    """Takes bytes as they come, in whatever pieces, and gives keys and pastes.

    Examples
    --------
    >>> Decoder().feed(b"a\\x1b[1;2C\\r")
    [Key(name='text', text='a'), Key(name='shift-right', text=''), Key(name='enter', text='')]
    """

    def __init__(self) -> None:
        self._pending = b""
        self._pasted: bytearray | None = None
        self._after_return = False
        self._characters = codecs.getincrementaldecoder("utf-8")("ignore")

    @property
    def waiting(self) -> bool:
        """Whether something has begun that only more bytes, or :meth:`flush`, can end."""
        return bool(self._pending) or self.pasting or self._characters.getstate()[0] != b""

    @property
    def pasting(self) -> bool:
        """Whether a paste has begun and not ended."""
        return self._pasted is not None

    def feed(self, data: bytes, *, typing: bool = False) -> list[Event]:
        """The keys and pastes that ``data`` completes.

        ``typing`` says that a text field is open, where many characters at once are text like few.
        """
        self._pending += data
        events: list[Event] = []
        while self._pending:
            event = self._next()
            if event is None:
                break
            events += event
        letters = [event.text for event in events if isinstance(event, Key) and event.name == "text"]
        if not typing and sum(len(letter.encode()) for letter in letters) >= BURST:
            stop = [event for event in events if event == Key("ctrl-c")]
            return [Paste("".join(letters)), *stop]
        return events

    def flush(self) -> list[Event]:
        """What began and got no further: a lone escape is the key; a paste without an end is what came of it."""
        pending, self._pending = self._pending, b""
        self._characters.reset()
        if self._pasted is not None:
            pasted = bytes(self._pasted) + pending
            self._pasted = None
            return [Paste(_text(pasted))]
        if pending == b"\x1b":
            return [Key("escape")]
        return [Key("unknown")] if pending else []

    def _next(self) -> list[Event] | None:
        """The events of the first thing pending, which is taken off; None while it is not complete."""
        if self._pasted is not None:
            return self._rest_of_paste()
        if self._pending[0] == 0x1B:
            return self._sequence()
        first, self._pending = self._pending[0], self._pending[1:]
        follows_return, self._after_return = self._after_return, first == 0x0D
        if first < 0x20 or first == 0x7F:
            self._characters.reset()
            if first == 0x0A and follows_return:  # one key, sent as two bytes
                return []
            return [Key(_CONTROL.get(first, "unknown"))]
        text = clean(self._characters.decode(bytes([first])))
        return [Key("text", text)] if text else []

    def _rest_of_paste(self) -> list[Event] | None:
        assert self._pasted is not None
        before, end, after = self._pending.partition(PASTE_END)
        if end:
            pasted = bytes(self._pasted) + before
            self._pasted, self._pending = None, after
            return [Paste(_text(pasted))]
        keep = len(PASTE_END) - 1  # what may be the beginning of the end
        taken, self._pending = self._pending[:-keep], self._pending[-keep:]
        self._pasted += taken[: max(0, LONGEST_PASTE - len(self._pasted))]
        return None

    def _sequence(self) -> list[Event] | None:
        pending = self._pending
        self._characters.reset()
        self._after_return = False
        if len(pending) == 1:
            return None
        if pending.startswith(PASTE_START):
            self._pending, self._pasted = pending[len(PASTE_START) :], bytearray()
            return []
        if pending[1:2] == b"[":
            if pending[2:3] == b"M":  # an old report of the mouse: three bytes follow, of any value
                return self._take(6) if len(pending) >= 6 else None
            if pending[2:3] == b"[":  # function keys of the Linux console
                return self._take(4) if len(pending) >= 4 else None
            found = _CSI.match(pending)
            if found:
                parameters, between, final = (part.decode("ascii") for part in found.groups())
                return self._take(found.end(), "unknown" if between else _named(parameters, final))
            beginning = _CSI_BEGINNING.match(pending)
            length = beginning.end() if beginning else 2
            return self._more_or_drop(length) if length == len(pending) else self._take(length)
        if pending[1:2] == b"O":
            if len(pending) < 3:
                return None
            return self._take(3, _FINAL.get(chr(pending[2]), "unknown"))
        if pending[1:2] in (b"]", b"P", b"X", b"^", b"_"):
            string = _STRING.match(pending)
            return self._take(string.end()) if string else self._more_or_drop(len(pending))
        if pending[1] == 0x1B:  # escape pressed twice, or before another sequence
            return self._take(1, "escape")
        if pending[1] < 0x20:
            return self._take(1, "escape")
        return self._take(2)  # a key together with alt

    def _more_or_drop(self, length: int) -> list[Event] | None:
        return self._take(length) if len(self._pending) > LONGEST_SEQUENCE else None

    def _take(self, length: int, name: str = "unknown") -> list[Event]:
        self._pending = self._pending[length:]
        return [Key(name)]


def _named(parameters: str, final: str) -> str:
    number, _, modifier = parameters.partition(";")
    if not re.fullmatch(r"[0-9;]*", parameters):
        return "unknown"
    if final in _OLD_SHIFT and not parameters:
        return _OLD_SHIFT[final]
    name = _TILDE.get(number) if final == "~" else _FINAL.get(final)
    if name is None or (final == "M" and parameters):
        return "unknown"
    return (_MODIFIER.get(modifier, "") if modifier != "1" else "") + name


def _text(data: bytes) -> str:
    return clean(data.decode("utf-8", "ignore"))
