"""Content-derived names: canonical JSON, digests and seeds.

Two things with the same content have the same digest on every machine and in every process,
which is what lets a run resume, a call be paid once, and a draw be repeated.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["canonical", "carry_sources", "digest", "module_digest", "seed_from", "source_digest"]

_carried: dict[str, str | None] = {}
"""By module, the digest of the code of classes that came here from another process, where its file is."""


def canonical(value: Any) -> str:
    """``value`` as JSON with sorted keys, no spaces and no NaN; raises TypeError or ValueError otherwise."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any, length: int = 32) -> str:
    """First ``length`` hexadecimal digits of the SHA-256 of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()[:length]


def seed_from(*parts: Any) -> int:
    """A seed in [0, 2**31) drawn from the content of ``parts``."""
    return int(digest(list(parts), 16), 16) % 2**31


def carry_sources(digests: Mapping[str, str | None]) -> None:
    """Take over what :func:`module_digest` gave for modules in the process that sends classes of them here."""
    _carried.update(digests)


def module_digest(name: str) -> str | None:
    """Digest of the code in a module's file; comments, docstrings and layout do not count.  None without a file."""
    if name in _carried:
        return _carried[name]
    path = getattr(sys.modules.get(name), "__file__", None)
    try:
        tree = ast.parse(Path(path or "").read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return digest(ast.dump(tree), 12)


@cache
def source_digest(kind: type) -> str:
    """Digest of the code in the file that defines a class; comments, docstrings and layout do not count.

    A class typed into a session has no file: then its name is all there is.
    """
    return module_digest(kind.__module__) or digest(["no source", kind.__qualname__], 12)
