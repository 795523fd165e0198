"""Names with options, as they are written on a command line: ``debate(rounds=4,style=sequential)``.

A name is a word, a path such as ``mcts/64`` or ``file.py:Name``; options are ``key=value`` pairs.  Values are
numbers, ``true``, ``false``, ``none``, quoted text or plain words.  Nothing is evaluated.  Some names also take
items without a key, which may be names with options of their own: ``cascade(mcts/8,openai/b(votes=3),human)``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from .errors import ConfigurationError

__all__ = ["Specification", "parse_specification", "split_list"]

_WORDS = {"true": True, "false": False, "none": None}


@dataclass(frozen=True)
class Specification:
    """A name and what stands in its parentheses.

    Parameters
    ----------
    name : the name.
    options : values by key.
    positional : the items without a key, as they are written.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    positional: tuple[str, ...] = ()


def split_list(text: str) -> list[str]:
    """Split at commas that stand outside parentheses and quotes; empty items are dropped."""
    items, depth, quote, current = [], 0, "", ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth < 0:
                break
        elif character == "," and depth == 0:
            items.append(current)
            current = ""
            continue
        current += character
    if depth != 0 or quote:
        raise ConfigurationError(f"{text!r}: a parenthesis or quote is not closed")
    return [item.strip() for item in [*items, current] if item.strip()]


def parse_value(text: str) -> Any:
    """A number, ``true``, ``false``, ``none``, quoted text, or the word itself."""
    text = text.strip()
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    if re.fullmatch(r"[+-]?[0-9]+", text):
        return int(text)
    if re.fullmatch(r"[+-]?([0-9]+\.[0-9]*|\.?[0-9]+)([eE][+-]?[0-9]+)?", text):
        return float(text)
    return text


def parse_specification(text: str, *, positional: bool = False) -> Specification:
    """Read ``name`` or ``name(key=value, ...)``.

    Parameters
    ----------
    positional : whether items without a key are taken; otherwise they are refused.

    Raises
    ------
    ConfigurationError
        if it has another form.
    """
    text = text.strip()
    match = re.fullmatch(r"([^()]+?)\s*(?:\((.*)\))?", text, re.DOTALL)
    if match is None:
        raise ConfigurationError(f"cannot read {text!r}: write a name, or name(option=value, ...)")
    options: dict[str, Any] = {}
    without_key: list[str] = []
    try:
        items = split_list(match[2] or "")
    except ConfigurationError:
        raise ConfigurationError(f"cannot read {text!r}: a parenthesis or quote is not closed") from None
    for item in items:
        key, separator, value = item.partition("=")
        if separator and key.strip().isidentifier():
            if key.strip() in options:
                raise ConfigurationError(f"option {key.strip()!r} is given twice in {text!r}: keep one of them")
            options[key.strip()] = parse_value(value)
        elif positional:
            without_key.append(item)
        else:
            raise ConfigurationError(f"cannot read {item!r} in {text!r}: write option=value")
    return Specification(match[1].strip(), options, tuple(without_key))
