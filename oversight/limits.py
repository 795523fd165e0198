"""Limits on a speech: what is asked for, and the band that is accepted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .quotes import TAG, find_quotes
from .specification import parse_specification

__all__ = ["Limits", "Measured"]


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


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
