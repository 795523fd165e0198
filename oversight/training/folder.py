"""The folder of a training: what was asked for, and each result as it is finished.

``train.json``     the resolved configuration and versions; a folder that holds another training is refused;
``results.jsonl``  finished pieces of work, one a line, appended and on the disk before the next begins.

Resume is the same command again: what is finished is not done again, a torn last line is owed again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..errors import RunDirectoryError
from ..runs.directory import FORMAT, holds, read_lines, write_json

__all__ = ["TrainingFolder"]


class TrainingFolder:
    """An open folder of a training, held by this process alone; a context.

    Parameters
    ----------
    path : the folder; made if missing.
    configuration : what the training is, as JSON values.
    versions : of what its results depend on, for the record.
    command : the words of the command line; empty where it was asked for in Python.

    Raises
    ------
    RunDirectoryError
        if another process holds it, it cannot be written, or it holds something else; nothing in it is changed then.
    """

    def __init__(
        self,
        path: str | Path,
        configuration: Mapping[str, Any],
        versions: Mapping[str, str],
        command: Sequence[str] = (),
    ) -> None:
        from filelock import FileLock, Timeout

        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(
                f"{self.path}: cannot be made: {error.strerror}; choose another --log-dir"
            ) from None
        here = json.loads(json.dumps(configuration, allow_nan=False))
        held = holds(self.path / "train.json", here, "training")
        self._lock = FileLock(self.path / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunDirectoryError(
                f"{self.path}: another process is training in it; wait for it or choose another --log-dir"
            ) from None
        try:
            if not held:
                kept = {"format": FORMAT, "configuration": here, "versions": dict(versions), "command": list(command)}
                write_json(self.path / "train.json", kept)
            path = self.path / "results.jsonl"
            self.results: list[dict[str, Any]] = list(read_lines(path))
            """What is finished, in the order in which it was."""
            torn = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
            self._file = path.open("ab")
            if torn:  # the line that a crash tore stays, and counts for nothing
                self._file.write(b"\n")
        except OSError as error:
            self._lock.release()
            raise RunDirectoryError(f"{self.path}: cannot be used: {error.strerror}: {error.filename}") from None

    def add(self, result: Mapping[str, Any]) -> None:
        """Append a finished piece of work; it is on the disk when this returns."""
        line = json.dumps(result, allow_nan=False, separators=(",", ":"))
        try:
            self._file.write(line.encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise RunDirectoryError(
                f"{self._file.name}: cannot be written: {error.strerror}; what was stored before is kept, repeat the "
                "command to go on"
            ) from None
        self.results.append(dict(result))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self._lock.release()
