"""Preference pairs in a file: what ``oversight export --format preferences`` writes, and TRL's own columns."""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, DataError
from ..identity import digest, seed_from
from .reward_models import Comparison, Prompt, Reply

__all__ = ["Preference", "digest_of", "read_preferences", "split_by_source"]

FEWEST_PAIRS, FEWEST_SOURCES = 10, 4
"""Below these nothing is trained: there is nothing that could be measured on the rest."""


@dataclass(frozen=True)
class Preference:
    """A row of the file.

    Parameters
    ----------
    comparison : prompt, chosen and rejected reply.
    line : its line in the file, from 1.
    margin : by how much the chosen reply was preferred, greater than 0; None where it is not said.
    """

    comparison: Comparison
    line: int
    margin: float | None = None

    @property
    def source(self) -> str:
        """What its prompt was made from."""
        return self.comparison.prompt.source


def read_preferences(path: str | Path) -> list[Preference]:
    """The pairs of a file of JSON lines.

    Parameters
    ----------
    path : rows with ``prompt``, ``chosen`` and ``rejected``, each text or TRL's list of messages; perhaps ``source``
        (default: ``question``, else the prompt itself) and ``margin``.

    Raises
    ------
    DataError
        if it cannot be read, or a row is no pair; with the line.
    """
    path = Path(path)
    found = []
    try:
        with path.open(encoding="utf-8") as file:
            for line, text in enumerate(file, start=1):
                if text.strip():
                    found.append(_preference(path, line, text))
    except UnicodeDecodeError as error:
        raise DataError(path, f"is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror}") from None
    if not found:
        raise DataError(path, "holds no pair: give rows with prompt, chosen and rejected")
    return found


def _preference(path: Path, line: int, text: str) -> Preference:
    try:
        row = json.loads(text)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise DataError(path, "is no JSON object", line)
    for name in ("prompt", "chosen", "rejected"):
        if row.get(name) is None:
            have = ", ".join(map(str, row)) or "nothing"
            raise DataError(path, f"has no {name!r}: a row has prompt, chosen and rejected; here {have}", line)
    messages = _messages(row["prompt"])
    if messages is None:
        raise DataError(path, "prompt is neither text nor a list of messages with role and content", line)
    replies = []
    for name in ("chosen", "rejected"):
        said = _messages(row[name], role="assistant")
        if said is None or [one["role"] for one in said] != ["assistant"]:
            raise DataError(path, f"{name} is neither text nor a list with one message of the assistant", line)
        replies.append(Reply(said[0]["content"]))
    if replies[0] == replies[1]:
        raise DataError(path, "chosen and rejected are the same: there is nothing to prefer", line)
    written = isinstance(row["prompt"], str)
    shown = row["prompt"] if written else "\n\n".join(one["content"] for one in messages)
    source = row.get("source") or row.get("question") or shown
    structure: dict[str, Any] = {} if written else {"messages": messages}
    comparison = Comparison(Prompt(shown, structure, str(source)), *replies)
    return Preference(comparison, line, _margin(path, line, row.get("margin")))


def _messages(value: Any, role: str = "user") -> list[dict[str, str]] | None:
    """Messages as they are, text as one of a role; None for anything else."""
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if not isinstance(value, list) or not value:
        return None
    for one in value:
        if not isinstance(one, dict) or not all(isinstance(one.get(name), str) for name in ("role", "content")):
            return None
    return [{"role": one["role"], "content": one["content"]} for one in value]


def _margin(path: Path, line: int, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise DataError(path, f"margin {json.dumps(value)}: by how much chosen is preferred, a number above 0", line)
    return float(value)


def digest_of(preferences: Sequence[Preference]) -> str:
    """Digest of the content of the pairs."""
    return digest([[_content(one.comparison), one.source, one.margin] for one in preferences])


def _content(comparison: Comparison) -> list[str | Mapping[str, Any]]:
    prompt = comparison.prompt
    return [prompt.text, dict(prompt.structure), comparison.chosen.text, comparison.rejected.text]


def split_by_source(
    preferences: Sequence[Preference], test: float, seed: int
) -> tuple[list[Preference], list[Preference]]:
    """Training and test: whole sources, in a random order, go to the test until it has its share of the pairs.

    Parameters
    ----------
    preferences : what is split.
    test : share of the pairs for the test, in (0, 1).
    seed : of the order.

    Raises
    ------
    ConfigurationError
        if there are too few pairs or sources, or ``test`` is no share.
    """
    if not 0.0 < test < 1.0:
        raise ConfigurationError(f"--test {test:g}: the share of pairs that is kept for the test lies in (0, 1)")
    by_source: dict[str, list[Preference]] = defaultdict(list)
    for one in preferences:
        by_source[one.source].append(one)
    if len(preferences) < FEWEST_PAIRS or len(by_source) < FEWEST_SOURCES:
        raise ConfigurationError(
            f"{len(preferences)} pairs of {len(by_source)} sources are too few to train on some and measure on others: "
            f"{FEWEST_PAIRS} pairs of {FEWEST_SOURCES} sources are the fewest"
        )
    order = sorted(by_source)
    random.Random(seed_from(seed, "split")).shuffle(order)
    kept: set[str] = set()
    count = 0
    for source in order[:-2]:  # at least two sources on each side: one alone gives no interval
        if len(kept) >= 2 and count >= test * len(preferences):
            break
        kept.add(source)
        count += len(by_source[source])
    sides: tuple[list[Preference], list[Preference]] = ([], [])
    for one in preferences:
        sides[one.source in kept].append(one)
    return sides
