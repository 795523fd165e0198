"""What a worker is told: the run once, at its start, and then which of its episodes to play.

The job holds the agents, and with them the keys of their endpoints; it goes to a worker through the pipe or the
connection that its coordinator opened, and we write it down nowhere; Ray keeps it in the memory of its machines, which
it may spill to their disks.  What is unpickled comes from there alone: never from a user, an endpoint or a run
directory.  Classes of the user's own (of a file, a script or a notebook) travel inside it by value, since a worker
could not import them.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import ConfigurationError
from ..identity import carry_sources, module_digest
from .journal_address import JournalAddress
from .plan import Episode, Plan

__all__ = ["Job", "Numbering", "from_bytes", "pack", "to_bytes", "unpack"]

Reference = tuple[Any, ...]
"""An episode without what the job holds already."""

_CARRIED = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "PGPASSWORD", "PGUSER")
"""What libraries read from the environment when they connect, which another machine does not have."""


@dataclass(frozen=True)
class Job:
    """What every worker of a run is given.

    Parameters
    ----------
    plan : what is run.
    journal : where its journal is.
    start : the start of the run that the workers belong to.
    locks : where a worker of this machine holds a lock as long as it lives; None elsewhere.
    retry_refused : whether calls whose result was of no use are made again.
    cost_limit : dollars, over all workers and all starts of the run; None for no limit.
    episode_timeout : seconds after which an episode is given up as unscored; None for no limit.
    """

    plan: Plan
    journal: JournalAddress
    start: str
    locks: Path | None = None
    retry_refused: bool = False
    cost_limit: float | None = None
    episode_timeout: float | None = None


class Numbering:
    """Episodes by the numbers of what they are made of, in a plan that both sides have.

    Parameters
    ----------
    plan : the plan, or its copy in a worker.
    """

    def __init__(self, plan: Plan) -> None:
        self._protocols = [protocol for protocol, _ in (*plan.entries, *plan.capability)]
        self._questions = list(plan.questions)
        self._recordings = list(getattr(plan, "recordings", ()))
        self._numbers = {
            id(one): number
            for several in (self._protocols, self._questions, self._recordings)
            for number, one in enumerate(several)
        }

    def reference(self, episode: Episode) -> Reference:
        """What stands for an episode of the plan."""
        made_of = (
            (self._numbers[id(episode.recording)],)
            if episode.recording is not None
            else (self._numbers[id(episode.protocol)], self._numbers[id(episode.question)])
        )
        cast = {role: list(names) for role, names in episode.cast.items()}
        return (episode.id, made_of, cast, episode.seating, episode.sample, episode.purpose)

    def episode(self, reference: Reference) -> Episode:
        """The episode that a reference stands for."""
        known, made_of, cast, seating, sample, purpose = reference
        if len(made_of) == 1:
            recording = self._recordings[made_of[0]]
            protocol, question = recording.protocol, recording.question
        else:
            recording = None
            protocol, question = self._protocols[made_of[0]], self._questions[made_of[1]]
        named = {role: tuple(names) for role, names in cast.items()}
        return Episode(known, protocol, question, named, seating, sample, purpose, recording)


def to_bytes(message: tuple[Any, ...]) -> bytes:
    """A message between a coordinator and its worker."""
    return pickle.dumps(message)


def from_bytes(data: bytes) -> tuple[Any, ...]:
    """The message that :func:`to_bytes` wrote; never of anything but our own pipe."""
    message: tuple[Any, ...] = pickle.loads(data)
    return message


def pack(job: Job) -> bytes:
    """The job as bytes for other processes of ours; raises ConfigurationError where it cannot be copied."""
    import cloudpickle

    own = _own_modules()
    with _by_value(own):
        try:
            copied = cloudpickle.dumps(job)
        except Exception as error:  # whatever a user's object raises when it is looked into
            raise ConfigurationError(
                f"--workers: an agent, arena or protocol cannot be copied to another process: {type(error).__name__}: "
                f"{error}; let it open files, locks and connections when it is first asked, or play in one process"
            ) from None
    sources = {name: module_digest(name) for name in ("__main__", *(module.__name__ for module in own))}
    environment = {name: os.environ[name] for name in _CARRIED if name in os.environ}
    return to_bytes((_version(), sources, [path or os.getcwd() for path in sys.path], environment, copied))


def unpack(packed: bytes) -> Job:
    """The job that :func:`pack` gave, with what a class's digest and its imports depend on there.

    Raises
    ------
    ConfigurationError
        if this machine lacks what the job was made with.
    """
    version, sources, path, environment, copied = from_bytes(packed)
    if version != _version():
        raise ConfigurationError(
            f"a worker has scalable-oversight {_version()}, and the run is of {version}: install one version everywhere"
        )
    carry_sources(sources)
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    sys.path += [folder for folder in path if folder not in sys.path]
    try:
        job: Job = pickle.loads(copied)
    except ImportError as missing:
        raise ConfigurationError(
            f"a worker cannot import what an agent, arena or protocol needs: {missing}; install it on every machine, "
            "or write it into the same file"
        ) from None
    return job


def _version() -> str:
    from importlib.metadata import version

    return version("scalable-oversight")


def _own_modules() -> list[ModuleType]:
    """Modules that were made of users' files, which nobody can import by their names."""
    return [module for name, module in sys.modules.items() if name.startswith("oversight_user_")]


@contextmanager
def _by_value(modules: list[ModuleType]) -> Iterator[None]:
    import cloudpickle

    before = cloudpickle.list_registry_pickle_by_value()
    new = [module for module in modules if module.__name__ not in before]
    for module in new:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in new:
            cloudpickle.unregister_pickle_by_value(module)
