"""A run directory: what was asked for, what was asked, what came out.

``run.json``        the resolved configuration, versions and seeds: enough to run it again;
``questions.jsonl`` the questions as they were asked, one a line;
``episodes.jsonl``  finished episodes, one a line, appended;
``journal.sqlite``  every paid call;
``journal.json``    where they are instead, if the journal is in PostgreSQL;
``capability.json`` capability of each agent alone, where it was measured;
``people.sqlite``   who judges what, and everything that people have stated, where people take part;
``checkpoints.sqlite`` episodes that wait for a person.

Nothing that is there is overwritten.  A torn last line is owed again.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError, RunDirectoryError
from ..identity import digest
from ..questions import Question
from .durable import GroupCommit
from .journal import Journal
from .journal_address import JournalAddress, without_passwords
from .journal_stores import require_journal

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = [
    "RunDirectory",
    "differences",
    "holds",
    "journal_of",
    "no_run",
    "read_episodes",
    "read_json",
    "versions_of",
]


FORMAT = 1
"""Of what a folder holds: it changes where an earlier version's folder can no longer be gone on with."""

_EPISODE = {"id", "purpose", "status"}
"""What a line must hold to be an episode's record."""


def versions_of(*packages: str) -> dict[str, str]:
    """Versions of Python and of those packages that are installed, for the record."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def read_json(path: Path) -> Any:
    """The JSON value in a file; raises RunDirectoryError where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if path.name == "run.json":
            raise no_run(path.parent) from None
        raise RunDirectoryError(f"{path}: not there; is {path.parent} a run directory?") from None
    except (OSError, ValueError, RecursionError) as error:  # the last: nested too deeply
        raise RunDirectoryError(f"{path}: cannot be read: {error}") from None


def no_run(folder: Path) -> RunDirectoryError:
    """What there is to say of a folder that is no run directory: of a training's, which command goes on with it."""
    try:
        command = json.loads((folder / "train.json").read_text(encoding="utf-8")).get("command")
    except (OSError, ValueError, AttributeError, RecursionError):
        return RunDirectoryError(f"{folder}: not a run directory (it has no run.json)")
    if not command:
        return RunDirectoryError(
            f"{folder}: holds a training, not a run, and was made by a Python program, which goes on with it"
        )
    given = any(word == "--log-dir" or word.startswith("--log-dir=") for word in command)
    words = [*map(str, command), *([] if given else ["--log-dir", str(folder)])]
    return RunDirectoryError(f"{folder}: holds a training, not a run; it is gone on with by oversight {join(words)}")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file of lines.  A line that a crash tore is passed over: it is owed again."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                yield value


def read_episodes(directory: Path | str) -> Iterator[dict[str, Any]]:
    """Finished episodes of a run directory, each once: where one was run again, its last record counts.

    Raises
    ------
    RunDirectoryError
        if the folder is not a run directory.
    """
    directory = Path(directory)
    if not (directory / "run.json").is_file():
        raise no_run(directory)
    path = directory / "episodes.jsonl"
    last: dict[str, int] = {}
    for number, record in enumerate(read_lines(path)):
        if record.keys() >= _EPISODE:
            last[record["id"]] = number
    for number, record in enumerate(read_lines(path)):
        if record.keys() >= _EPISODE and last[record["id"]] == number:
            yield record


def journal_of(folder: Path, url: str | None = None) -> JournalAddress:
    """Where the journal of a run directory is.

    Parameters
    ----------
    folder : the run directory.
    url : how its database is reached, where that takes more than the directory remembers: a password.

    Raises
    ------
    RunDirectoryError
        if what is remembered cannot be read.
    """
    kept = folder / "journal.json"
    if not kept.exists():
        return JournalAddress(folder / "journal.sqlite")
    found = read_json(kept)
    try:
        address = JournalAddress(url=found["address"], run=found["run"])
    except (KeyError, TypeError, AttributeError, ValueError, ConfigurationError):
        raise RunDirectoryError(f"{kept}: does not say where the journal is; choose another --log-dir") from None
    return address if url is None else replace(address, url=url)


def _chosen_journal(folder: Path, url: str | None) -> JournalAddress:
    """Where a run that starts or goes on in a directory is to keep its journal; nothing is changed by asking."""
    there = journal_of(folder)
    if url is None:
        if there.path is None:
            raise RunDirectoryError(
                f"{folder}: the journal of this run is in PostgreSQL: repeat the command with --journal '{there}' (the "
                "password in PGPASSWORD or ~/.pgpass)"
            )
        return there
    if there.path is not None:
        if there.path.exists():
            raise RunDirectoryError(
                f"{folder}: this run has begun with its journal in {there.path.name}: repeat the command without "
                "--journal, or choose another --log-dir"
            )
        return JournalAddress(url=url, run=secrets.token_hex(8))
    asked = replace(there, url=url)
    if asked.place != there.place:
        raise RunDirectoryError(
            f"{folder}: the journal of this run is in {there}, not in {asked}: repeat the command with --journal "
            f"'{there}', or choose another --log-dir"
        )
    return asked


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Where two configurations differ, one line each: ``agents.0: 'mcts/4' there, 'mcts/8' here``."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for name in sorted({*old, *new}):
            place = f"{where}.{name}" if where else name
            if name not in old or name not in new:
                found.append(f"{place}: {_short(old.get(name))} there, {_short(new.get(name))} here")
            else:
                found += differences(old[name], new[name], place)
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line
            for index, pair in enumerate(zip(old, new, strict=True))
            for line in differences(*pair, f"{where}.{index}")
        ]
    return [] if old == new else [f"{where}: {_short(old)} there, {_short(new)} here"]


def seat_lock(person: str) -> str:
    """Name of the file that keeps a second session of one name out of a directory."""
    return f".lock-{digest(person, 12)}"


def _as(person: str) -> str:
    _, _, name = person.partition("/")
    return f"as {name}" if name else "without a name"


def holds(file: Path, configuration: Any, what: str) -> bool:
    """Whether a folder holds this run or training already; False where it holds nothing.

    Parameters
    ----------
    file : where the folder keeps what it holds.
    configuration : what it is to hold, as JSON values.
    what : ``run`` or ``training``, for the message.

    Raises
    ------
    RunDirectoryError
        if it holds something else.
    """
    folder = file.parent
    if not file.exists():
        # What a start leaves that was ended before it wrote the file.
        if any(not one.name.startswith((".lock", f".{file.name}.")) for one in folder.iterdir()):
            raise RunDirectoryError(f"{folder} is not empty and has no {file.name}; choose another --log-dir")
        return False
    there = read_json(file)
    if not isinstance(there, dict) or "configuration" not in there:
        raise RunDirectoryError(f"{file}: is not a {what}'s configuration; choose another --log-dir")
    if there.get("format") != FORMAT:
        raise RunDirectoryError(
            f"{file}: was written in format {there.get('format')!r}, and this version of oversight writes {FORMAT}: go "
            "on with the version that wrote it, or choose another --log-dir"
        )
    found = differences(there["configuration"], configuration)
    if found:
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise RunDirectoryError(
            f"{folder} holds another {what} ({'; '.join(found[:3])}{more}); choose another --log-dir"
        )
    return True


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


class RunDirectory:
    """An open run directory, held by this process alone or, where people take part, by one process a person.

    Parameters
    ----------
    path : the folder; made if missing.
    configuration : what the run is; a folder that holds another run is refused.
    versions : versions of the packages involved, for the record.
    retry_refused : whether calls whose result was of no use are made again.
    command : the words of the command line that asked for the run; empty where it was asked for in Python.
    person : who sits at the terminal; others may be in the same directory then.  None holds it alone.
    journal : the URL of the PostgreSQL database that the run keeps its journal in; None for a file in the folder.

    Raises
    ------
    ConfigurationError
        if ``journal`` is no such URL.
    RunDirectoryError
        if another process holds it, it cannot be written, or it holds another run; nothing in it is changed then.
    """

    def __init__(
        self,
        path: Path | str,
        configuration: Mapping[str, Any],
        versions: Mapping[str, str],
        *,
        retry_refused: bool = False,
        command: Sequence[str] = (),
        person: str | None = None,
        journal: str | None = None,
    ) -> None:
        from filelock import FileLock, Timeout

        if journal is not None:
            require_journal(journal)
        self.path = Path(path)
        self.person = person
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            in_its_way = isinstance(error, FileExistsError | NotADirectoryError)
            reason = "a file stands in its way" if in_its_way else error.strerror
            raise RunDirectoryError(f"{self.path}: cannot be made: {reason}; choose another --log-dir") from None
        here = json.loads(json.dumps(configuration, allow_nan=False))
        holds(
            self.path / "run.json", here, "run"
        )  # before the lock is taken, which leaves a file: a folder of something else stays as it is
        # Sessions hold it while they open the directory, and while they append to it.
        self._lock = FileLock(self.path / ".lock")
        self._seat = None if person is None else FileLock(self.path / seat_lock(person))
        try:
            self._lock.acquire(timeout=0 if person is None else 30)
            if self._seat is not None:
                try:
                    self._seat.acquire(timeout=0)
                except Timeout:
                    self._lock.release()
                    raise RunDirectoryError(
                        f"{self.path}: another session is open {_as(person or '')}: end it, or give another name "
                        "with --as"
                    ) from None
        except Timeout:
            raise RunDirectoryError(
                f"{self.path}: another process is running in it; wait for it or choose another --log-dir"
            ) from None
        except OSError as error:
            raise RunDirectoryError(f"{self.path}: cannot be written: {error.strerror}") from None
        self.finished: dict[str, str] = {}
        """Id of each finished episode, and its status."""
        try:
            address = _chosen_journal(self.path, journal)
            if not holds(self.path / "run.json", here, "run"):
                words = without_passwords(command)
                kept = {"format": FORMAT, "configuration": here, "versions": dict(versions), "command": words}
                write_json(self.path / "run.json", kept)
            self._read_to = 0
            self._file = (self.path / "episodes.jsonl").open("ab", buffering=0)
            try:
                if self._file.tell() and not self._ends_a_line():
                    self._file.write(b"\n")
                self.refresh()
                self.journal = Journal(address, retry_refused=retry_refused)
                if address.path is None:
                    # After it was opened: an address where there is none is not remembered.
                    write_json(self.path / "journal.json", {"address": address.public, "run": address.run})
            except BaseException:
                self._file.close()
                raise
        except OSError as error:
            self._let_go()
            raise RunDirectoryError(f"{self.path}: cannot be used: {error.strerror}: {error.filename}") from None
        except BaseException:
            self._let_go()
            raise
        if self._seat is not None:
            self._lock.release()
        self._writer: GroupCommit[str, None] = GroupCommit(self._append, "episodes")

    def _let_go(self) -> None:
        self._lock.release()
        if self._seat is not None:
            self._seat.release()

    def refresh(self) -> None:
        """Take in the episodes that were finished since the last look, by whichever process."""
        with (self.path / "episodes.jsonl").open("rb") as file:
            file.seek(self._read_to)
            for line in file:
                if not line.endswith(b"\n"):  # another process is writing it
                    break
                self._read_to += len(line)
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(record, dict) and record.keys() >= _EPISODE:
                    self.finished[record["id"]] = record["status"]

    def working_on(self, what: str) -> FileLock:
        """A lock that keeps other processes from the same work, such as the turns on one question."""
        from filelock import FileLock

        folder = self.path / ".working"
        folder.mkdir(exist_ok=True)
        return FileLock(folder / digest(what, 12))

    def _ends_a_line(self) -> bool:
        with (self.path / "episodes.jsonl").open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _append(self, lines: Sequence[str]) -> list[None]:
        text = "".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass")
        try:
            with self._lock if self.person is not None else nullcontext():
                before = self._file.seek(0, os.SEEK_END)
                # Another session may have died in the middle of a line.
                torn = b"\n" if before and not self._ends_a_line() else b""
                try:
                    left = memoryview(torn + text)
                    while left:
                        left = left[self._file.write(left) :]
                    os.fsync(self._file.fileno())
                except OSError:
                    with suppress(OSError):
                        os.truncate(self._file.fileno(), before)
                    raise
        except OSError as error:
            raise RunDirectoryError(
                f"{self._file.name}: cannot be written: {error.strerror}; what was stored before is kept, "
                "repeat the command to go on"
            ) from None
        return [None] * len(lines)

    async def add(self, record: Mapping[str, Any]) -> None:
        """Append a finished episode; returns when it is durable."""
        line = json.dumps(record, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        await self._writer.put(line)
        self.finished[record["id"]] = record["status"]

    def questions(self) -> list[Question] | None:
        """The questions of an earlier start of the same run, or None."""
        path = self.path / "questions.jsonl"
        return [Question.from_dict(line) for line in read_lines(path)] if path.exists() else None

    def keep_questions(self, questions: Sequence[Question]) -> None:
        """Store the questions as they are asked."""
        part = self.path / f".questions.jsonl.{os.getpid()}.part"
        with part.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(question.to_dict(), allow_nan=False) + "\n" for question in questions)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self.path / "questions.jsonl")

    def capability(self) -> dict[str, Any] | None:
        """The capabilities measured by an earlier start of the same run, or None."""
        path = self.path / "capability.json"
        return read_json(path) if path.exists() else None

    def keep_capability(self, value: Mapping[str, Any]) -> None:
        """Store measured capabilities."""
        write_json(self.path / "capability.json", value)

    async def close(self) -> None:
        """Finish what is being written and let the folder go."""
        try:
            await self.journal.close()
        finally:
            self._writer.close()
            self._file.close()
            self._let_go()
