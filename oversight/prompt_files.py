"""The texts of a protocol's roles as files, to read and to replace.

One text, one file: ``debater.txt`` holds the instructions of the role ``debater``, ``debater.claim.txt`` what it is
asked when it states which answer it holds, and ``debater.NAME.txt`` its task NAME.  A file that is not there leaves
the built-in text.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .errors import ConfigurationError, DataError, UnknownName

__all__ = ["file_name", "read_prompts", "write_prompts"]


def file_name(role: str, text: str) -> str:
    """The file that holds a text of a role."""
    return f"{role}.txt" if text == "instructions" else f"{role}.{text}.txt"


def read_prompts(folder: str | Path, texts: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The texts that a folder replaces, by role and name.

    Parameters
    ----------
    folder : where the files are.
    texts : the texts that there are, by role and name.

    Raises
    ------
    ConfigurationError
        if the folder is missing or holds none of the files.
    UnknownName
        if a ``.txt`` file in it stands for no text of the protocol; with the nearest match.
    DataError
        if a file cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigurationError(f"{folder}: no such folder of prompts; oversight prompts PROTOCOL {folder} writes one")
    known = {file_name(role, name): (role, name) for role, named in texts.items() for name in named}
    found: dict[str, dict[str, str]] = {}
    for path in sorted(folder.glob("*.txt")):
        if path.name not in known:
            raise UnknownName(f"prompt file in {folder}", path.name, known)
        role, name = known[path.name]
        try:
            found.setdefault(role, {})[name] = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(path, f"cannot be read as UTF-8 text: {error}") from None
    if not found:
        raise ConfigurationError(f"{folder}: holds no prompt file; expected one of {', '.join(known)}")
    return found


def write_prompts(folder: str | Path, texts: Mapping[str, Mapping[str, str]]) -> list[Path]:
    """Write every text to its file and give the files.

    Raises
    ------
    ConfigurationError
        if one of them is there already, or they cannot be written.
    """
    folder = Path(folder)
    wanted = {folder / file_name(role, name): text for role, named in texts.items() for name, text in named.items()}
    for path in wanted:
        if path.exists():
            raise ConfigurationError(f"{path} is there already: name another folder, or delete it first")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in wanted.items():
            path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{folder}: prompts cannot be written there: {error.strerror or error}") from None
    return list(wanted)
