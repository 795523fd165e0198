"""What calls cost as they are made, by role and model, and how much of the prompts had been sent before."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from typing import Any

from ..models.base import Message
from ..transcript import Usage

__all__ = ["Prefixes", "Spend", "Spending", "acting_as", "in_all", "summed"]

_role: ContextVar[str] = ContextVar("role whose turn is taken", default="")


@contextmanager
def acting_as(role: str) -> Iterator[None]:
    """Calls made inside are those of a role."""
    token = _role.set(role)
    try:
        yield
    finally:
        _role.reset(token)


@dataclass
class Spend:
    """What the calls of one role to one model cost; calls found in the journal cost nothing and are not counted.

    Parameters
    ----------
    role : the role's name; empty for a call outside a turn.
    model : the model's name.
    calls : calls that were answered.
    failed : calls that failed for good.
    input_tokens, output_tokens : tokens, as the endpoint counted them.
    dollars : the sum of all known prices.
    unknown : calls whose price is unknown.
    repeated : by reason, tries that failed and were made again.
    characters : length of the prompts, each counted once however often it was tried.
    seen_before : how much of it is what an earlier prompt to the same model began with, in whole blocks.
    """

    role: str
    model: str
    calls: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float = 0.0
    unknown: int = 0
    repeated: dict[str, int] = field(default_factory=dict)
    characters: int = 0
    seen_before: int = 0

    @property
    def retries(self) -> int:
        """Tries that were made again."""
        return sum(self.repeated.values())

    @property
    def cacheable(self) -> float | None:
        """The share of the prompts that a provider's cache of prefixes can serve, in [0, 1]; None without prompts."""
        return self.seen_before / self.characters if self.characters else None

    def add(self, other: Spend) -> None:
        """Count what another cost as well."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for reason, count in list(other.repeated.items()):  # another thread may be adding to it
            self.repeated[reason] = self.repeated.get(reason, 0) + count

    def to_dict(self) -> dict[str, Any]:
        """The spend as JSON values."""
        return {**vars(self), "repeated": dict(self.repeated)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Spend:
        """The spend that :meth:`to_dict` wrote, entries of later versions left out."""
        return cls(**{one.name: values[one.name] for one in fields(cls) if one.name in values})


_COUNTS = tuple(one.name for one in fields(Spend) if one.name not in ("role", "model", "repeated"))


def in_all(lines: Iterable[Spend]) -> Spend:
    """What several cost together, without role and model."""
    found = Spend("", "")
    for line in lines:
        found.add(line)
    return found


def summed(starts: Iterable[Iterable[Spend]]) -> list[Spend]:
    """What all starts of a run cost together, by role and model, in the order of their first calls."""
    found: dict[tuple[str, str], Spend] = {}
    for line in (line for start in starts for line in start):
        found.setdefault((line.role, line.model), Spend(line.role, line.model)).add(line)
    return list(found.values())


class Spending:
    """The spend of one start of a run, as it happens."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], Spend] = {}
        self._prefixes: dict[str, Prefixes] = {}

    @property
    def lines(self) -> list[Spend]:
        """By role and model, in the order of their first calls."""
        return list(self._lines.values())

    @property
    def retries(self) -> int:
        """Tries that were made again, of all roles and models."""
        return sum(line.retries for line in self.lines)

    def asked(self, model: str, messages: Iterable[Message]) -> None:
        """A prompt is sent."""
        line = self._line(model)
        prompt = "\0".join(part for message in messages for part in (message["role"], message["content"]))
        line.characters += len(prompt)
        line.seen_before += self._prefixes.setdefault(model, Prefixes()).known(prompt)

    def repeated(self, model: str, reason: str) -> None:
        """A try failed and is made again."""
        line = self._line(model)
        line.repeated[reason] = line.repeated.get(reason, 0) + 1

    def paid(self, model: str, usage: Usage | None, *, failed: bool = False) -> None:
        """A call was answered, or failed for good; ``usage`` is None where nothing was paid."""
        line = self._line(model)
        line.calls += not failed
        line.failed += failed
        if usage is None:
            return
        line.input_tokens += usage.input_tokens
        line.output_tokens += usage.output_tokens
        line.dollars += usage.dollars or 0.0
        line.unknown += usage.dollars is None

    def to_json(self) -> str:
        """All lines, as the journal keeps them; may be called by another thread."""
        return json.dumps([line.to_dict() for line in self.lines])

    def _line(self, model: str) -> Spend:
        key = (_role.get(), model)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Spend(*key)
        return line


class Prefixes:
    """What texts began with, by blocks.

    Parameters
    ----------
    block : characters in a block; what is left at the end of a text is not looked at.
    most : blocks that are remembered; the one that was longest not met again is forgotten.
    """

    def __init__(self, block: int = 256, most: int = 1 << 16) -> None:
        self.block, self.most = block, most
        self._known: OrderedDict[int, None] = OrderedDict()

    def known(self, text: str) -> int:
        """How many characters the text has in common with the beginning of an earlier one; it is remembered then."""
        blocks, before = [], 0
        for start in range(0, len(text) - self.block + 1, self.block):
            before = hash((before, text[start : start + self.block]))
            blocks.append(before)
        found = next((place for place, one in enumerate(blocks) if one not in self._known), len(blocks))
        for one in reversed(blocks):  # what a text begins with is forgotten last
            self._known[one] = None
            self._known.move_to_end(one)
        while len(self._known) > self.most:
            self._known.popitem(last=False)
        return found * self.block
