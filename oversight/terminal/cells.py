"""Text in the columns of a terminal: some characters take two of them, some none.

Widths are those that rich knows, so that what is measured here and what rich draws agree.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from rich.cells import cell_len, get_character_cell_size
from rich.text import Text

__all__ = ["boundary", "fit", "fit_text", "right_to_left", "wrap", "wrap_text"]

_TOKEN = re.compile(r"[^\S\u00a0]+|[\S\u00a0]+")  # a no-break space holds words together


def boundary(text: str, place: int) -> bool:
    """Whether a cursor may stand before ``text[place]``: not between a letter and the marks that it carries."""
    if place <= 0 or place >= len(text):
        return 0 <= place <= len(text)
    return text[place - 1] == "\n" or text[place] == "\n" or get_character_cell_size(text[place]) > 0


def clusters(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The span of each character with its marks."""
    while start < end:
        stop = start + 1
        while stop < end and not boundary(text, stop):
            stop += 1
        yield start, stop
        start = stop


def wrap(text: str, width: int) -> list[tuple[int, int]]:
    """Rows of one paragraph: spans that cover it in order, broken before words, or in a word that is wider than a row.

    Spaces at the end of a row belong to it and may stand out at the right.
    """
    rows: list[tuple[int, int]] = []
    start = used = 0
    for begin, end in _pieces(text):
        size = cell_len(text[begin:end])
        hangs = size == 0 or (text[begin].isspace() and text[begin] != "\u00a0")
        if hangs or used + size <= width:
            used += size
            continue
        if begin > start:
            rows.append((start, begin))
            start, used = begin, 0
        if size <= width:
            used = size
            continue
        for first, last in clusters(text, begin, end):
            size = cell_len(text[first:last])
            if used + size > width and first > start:
                rows.append((start, first))
                start, used = first, 0
            used += size
    return [*rows, (start, len(text))]


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Spans that are not broken: words, runs of spaces, and each character of a script without spaces."""
    for token in _TOKEN.finditer(text):
        begin, end = token.span()
        if token[0].isascii():
            yield begin, end
            continue
        while begin < end and get_character_cell_size(text[begin]) == 0:  # marks on the space before
            begin += 1
        yield token.start(), begin
        word = begin
        for first, last in clusters(text, begin, end):
            if get_character_cell_size(text[first]) == 2:
                if word < first:
                    yield word, first
                yield first, last
                word = last
        if word < end:
            yield word, end


def wrap_text(text: Text, width: int) -> list[Text]:
    """The rows of a styled text, each of its lines wrapped; no blanks at the ends of rows."""
    rows: list[Text] = []
    for line in text.split("\n", allow_blank=True):
        for begin, end in wrap(line.plain, max(width, 1)):
            row = line[begin:end]
            row.rstrip()
            rows.append(row)
    return rows


def fit(row: Text, width: int) -> Text:
    """The row, cut where it is wider than the screen."""
    if row.cell_len <= width:
        return row
    cut = row.copy()
    cut.truncate(max(width, 0), overflow="crop")
    return cut


def fit_text(text: str, width: int, ellipsis: str) -> str:
    """The first line of a text in at most ``width`` columns, with the ellipsis where something is left out."""
    first, _, more = text.strip().partition("\n")
    if not more and cell_len(first) <= width:
        return first
    room, kept = width - cell_len(ellipsis), ""
    for begin, end in clusters(first, 0, len(first)):
        room -= cell_len(first[begin:end])
        if room < 0:
            break
        kept += first[begin:end]
    return kept.rstrip() + ellipsis


def right_to_left(text: str) -> bool:
    """Whether any of the text runs from right to left; a terminal may then set its whole row in that direction."""
    return any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in text)
