"""Reading files of questions: JSON with errors that say where, and the order in which questions are asked."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from .errors import DataError
from .identity import seed_from
from .questions import Question

__all__ = ["Collection", "is_whole", "json_lines", "parse_object", "read_text", "required", "required_texts", "spread"]


@dataclass(frozen=True)
class Collection:
    """Questions as read.

    Parameters
    ----------
    questions : the questions, each once.
    skipped : what could not be used, with the reason.
    """

    questions: tuple[Question, ...]
    skipped: tuple[str, ...]


def spread(questions: Sequence[Question], seed: int) -> list[Question]:
    """The questions in rounds over their sources; the order depends on their content and the seed alone."""
    stories: dict[str, list[Question]] = defaultdict(list)
    for question in sorted(questions, key=lambda question: (seed_from(seed, "question", question.id), question.id)):
        stories[question.source].append(question)
    order = sorted(stories, key=lambda story: (seed_from(seed, "story", story), story))
    rounds = zip_longest(*(stories[story] for story in order))
    return [question for each in rounds for question in each if question is not None]


def read_text(path: Path) -> str:
    """The text of a file; raises DataError where it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(path, f"not UTF-8 text, at byte {error.start}") from error
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror}") from error


def parse_object(path: Path, text: str, line: int | None = None) -> dict[str, Any]:
    """The JSON object that ``text`` holds; ``line`` is its place in the file, where it is a line of one."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(path, f"not JSON: {error.msg} at column {error.colno}", line or error.lineno) from error
    except RecursionError as error:
        raise DataError(path, "not usable JSON: nested too deeply", line) from error
    if not isinstance(value, dict):
        raise DataError(path, "not a JSON object", line)
    return value


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each object with the number of its line, from 1; empty lines count and are passed over."""
    for line, text in enumerate(read_text(path).split("\n"), start=1):  # splitlines cuts at U+2028 in a string too
        if text.strip():
            yield line, parse_object(path, text, line)


def required(
    entry: Mapping[str, Any],
    name: str,
    kind: type | tuple[type, ...],
    path: Path,
    line: int | None = None,
    prefix: str = "",
) -> Any:
    """``entry[name]``, which must be of the kind and, where it is text, not blank; raises DataError."""
    if name not in entry:
        raise DataError(path, f"field {prefix}{name} is missing", line)
    value = entry[name]
    if not isinstance(value, kind):
        kinds = " or ".join(JSON_NAMES[each] for each in (kind if isinstance(kind, tuple) else (kind,)))
        raise DataError(path, f"field {prefix}{name} is not {kinds}", line)
    if isinstance(value, str) and not value.strip():
        raise DataError(path, f"field {prefix}{name} is empty", line)
    return value


JSON_NAMES = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "an object"}


def required_texts(entry: Mapping[str, Any], name: str, path: Path, prefix: str, line: int | None = None) -> list[str]:
    """``entry[name]``, which must be a list of texts; raises DataError."""
    texts: list[Any] = required(entry, name, list, path, line, prefix)
    if not all(isinstance(text, str) for text in texts):
        raise DataError(path, f"field {prefix}{name} is not a list of texts", line)
    return texts


def is_whole(value: Any) -> bool:
    """Whether the value is a whole number, and not true or false."""
    return isinstance(value, int) and not isinstance(value, bool)
