"""Limits on a speech: what is asked for, and the band that is accepted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .quotes import TAG, find_quotes
from .specification import parse_specification

__all__ = ["Form", "Limits", "Measured"]


@dataclass(frozen=True)
class Measured:
    """What limits look at in a speech.

    Parameters
    ----------
    words : words, those of quotations included.
    characters : characters, without the marks of quotations.
    quotes : quotations.
    quoted_characters : characters inside quotations.
    """

    words: int
    characters: int
    quotes: int
    quoted_characters: int

    @classmethod
    def of(cls, text: str) -> Measured:
        """The measure of a speech with quotations between ``<quote>`` and ``</quote>``."""
        quoted = [quote.text for quote in find_quotes(text, {})]
        plain = TAG.sub("", text)
        return cls(len(plain.split()), len(plain), len(quoted), sum(map(len, quoted)))


class Limits(BaseModel):
    """How long a speech is to be, and how much of it is to be quotation; on a command line ``(words=100,...)``.

    What is asked for and what is accepted are two things: Khan et al. (2024) ask for 100 words and accept 70
    to 150.  A speech outside the band is asked for again, with what is wrong with it.

    Examples
    --------
    >>> Limits(words=100, least_words=70, most_words=150, least_quotes=1).fault("Too short.")
    'it has 2 words, fewer than 70; it has 0 quotations, fewer than 1'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: int | None = Field(default=None, ge=1, description="words asked for")
    least_words: int = Field(default=0, ge=0, description="fewest words accepted")
    most_words: int | None = Field(default=None, ge=1, description="most words accepted")
    most_characters: int | None = Field(default=None, ge=1, description="most characters accepted")
    least_quotes: int = Field(default=0, ge=0, description="fewest quotations accepted")
    most_quoted_characters: int | None = Field(
        default=None, ge=0, description="most characters inside quotations accepted"
    )
    tries: int = Field(default=3, ge=1, description="how often a speech is asked for before the nearest is taken")
    outside: Literal["keep", "fail"] = Field(
        default="keep", description="what becomes of a turn without an acceptable try: the nearest is kept, or it fails"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_words(cls, value: Any) -> Any:
        if isinstance(value, str):  # as it is written on a command line
            return parse_specification(f"limits{value if value.startswith('(') else f'({value})'}").options
        return value

    @model_validator(mode="after")
    def _in_order(self) -> Limits:
        if self.most_words is not None and self.least_words > self.most_words:
            raise ValueError(f"fewest words {self.least_words} above most words {self.most_words}")
        if self.words is not None and not self.least_words <= self.words <= (self.most_words or self.words):
            raise ValueError(f"{self.words} words are asked for, which would not be accepted")
        return self

    def times(self, factor: int) -> Limits:
        """The same limits for a speaker who has the time of several: every length times ``factor``."""
        lengths = ("words", "least_words", "most_words", "most_characters", "most_quoted_characters")
        scaled = {name: None if (value := getattr(self, name)) is None else value * factor for name in lengths}
        return self.model_copy(update=scaled)

    def asked(self) -> str:
        """What a speaker is told."""
        wanted = []
        if self.words is not None:
            wanted.append(f"about {self.words} words")
        if self.most_words is not None:
            wanted.append(f"at most {self.most_words} words")
        if self.least_words:
            wanted.append(f"at least {self.least_words} words")
        if self.most_characters is not None:
            wanted.append(f"at most {self.most_characters} characters")
        if self.least_quotes:
            wanted.append(f"at least {_count(self.least_quotes, 'quotation')}")
        if self.most_quoted_characters is not None:
            wanted.append(f"at most {self.most_quoted_characters} characters of quotation")
        return f"Your speech is to have {', '.join(wanted)}." if wanted else ""

    def faults(self, text: str) -> list[tuple[str, float]]:
        """What is wrong with a speech, each with how far it is off, as a share of the limit."""
        found = Measured.of(text)
        bands: list[tuple[int, str, int, int | None]] = [
            (found.words, "word", self.least_words, self.most_words),
            (found.characters, "character", 0, self.most_characters),
            (found.quotes, "quotation", self.least_quotes, None),
            (found.quoted_characters, "quoted character", 0, self.most_quoted_characters),
        ]
        faults = []
        for value, name, least, most in bands:
            if value < least:
                faults.append((f"it has {_count(value, name)}, fewer than {least}", (least - value) / least))
            elif most is not None and value > most:
                faults.append((f"it has {_count(value, name)}, more than {most}", (value - most) / max(most, 1)))
        return faults

    def fault(self, text: str) -> str:
        """What is wrong with a speech, in words; empty where it is within the limits."""
        return "; ".join(words for words, _ in self.faults(text))

    def distance(self, text: str) -> float:
        """How far a speech is outside the limits: the sum of its excesses as shares of the limits; 0 inside."""
        return sum(off for _, off in self.faults(text))


class Form(Limits):
    """What a speech must look like where a protocol goes by it: so many lines, each of one form.

    A speech of another form is asked for once more, with what is wrong with it; then the turn fails.  Nobody guesses
    what it may have meant.

    Examples
    --------
    >>> Form(pattern=r"0\\.[0-9]+", says="a probability").fault("perhaps 0.3")
    "the line 'perhaps 0.3' is not a probability"
    >>> Form(pattern=r".+", says="a claim", lines=2, numbered=True).fault("1. It rains.")
    'it has 1 line, not 2'
    """

    pattern: str = Field(description="regular expression that each whole line matches, after its number")
    says: str = Field(description="what a line is, in words")
    lines: int = Field(default=1, ge=1, description="how many lines")
    numbered: bool = Field(default=False, description="whether lines begin with 1., 2. and so on")
    tries: int = Field(default=2, ge=1, description="how often it is asked for before the turn fails")
    outside: Literal["keep", "fail"] = Field(default="fail", description="what becomes of a turn without the form")

    def asked(self) -> str:
        if self.numbered:
            number = "1." if self.lines == 1 else f"1. to {self.lines}."
            return f"Write {_count(self.lines, 'line')}, numbered {number}, each {self.says}, and nothing else."
        return f"Write {self.says} and nothing else."

    def read(self, text: str) -> list[re.Match[str]]:
        """The match of each line, for a text without a fault.

        Raises
        ------
        ValueError
            if the text has a fault.
        """
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if len(lines) != self.lines:
            raise ValueError(f"it has {_count(len(lines), 'line')}, not {self.lines}")
        found = []
        for number, line in enumerate(lines, start=1):
            rest = line
            if self.numbered:
                begins = re.match(r"([0-9]{1,3})[.):]\s+", line)
                if begins is None or int(begins[1]) != number:
                    raise ValueError(f"the line {line[:60]!r} does not begin with '{number}.'")
                rest = line[begins.end() :]
            match = re.fullmatch(self.pattern, rest, re.IGNORECASE)
            if match is None:
                raise ValueError(f"the line {rest[:60]!r} is not {self.says}")
            found.append(match)
        return found

    def faults(self, text: str) -> list[tuple[str, float]]:
        try:
            self.read(text)
        except ValueError as fault:
            return [(str(fault), 1.0)]
        return []


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
