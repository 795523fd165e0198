"""Everything that can go wrong on purpose, as one tree.

::

    OversightError
    ├── ConfigurationError        the request cannot be carried out as it stands
    │   ├── UnknownName           no such protocol, arena, model, agent or option
    │   ├── MissingKey            an API key is not in the environment
    │   ├── MissingExtra          an optional package is not installed
    │   └── CheckFailed           a protocol breaks a rule of the pre-run check
    ├── DataError                 a data file is missing or malformed
    ├── RunDirectoryError         a run directory is in use, or holds another run
    ├── BudgetExceeded            the next call could cross the cost limit
    ├── WorkersLost               worker after worker dies
    └── TurnFailed                an agent could not take its turn
        ├── ModelError            a model call failed, was refused, empty or cut off
        │   └── ContextTooLong    the prompt does not fit the model's window
        ├── CannotSpeak           the agent only decides
        ├── Abstained             a cascade is not sure enough, and has nobody left to ask
        └── Unparsable            a reply could not be read, after one more try

Each message is one line: what happened, to what, what to do.  A ``TurnFailed`` never
stops a run: the episode is recorded as unscored, with the message as its reason.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .models import FailedTry
    from .transcript import Usage

__all__ = [
    "Abstained",
    "BudgetExceeded",
    "CannotSpeak",
    "CheckFailed",
    "ConfigurationError",
    "ContextTooLong",
    "DataError",
    "MissingExtra",
    "MissingKey",
    "ModelError",
    "OversightError",
    "RunDirectoryError",
    "TurnFailed",
    "UnknownName",
    "Unparsable",
    "WorkersLost",
    "nearest",
]


class OversightError(Exception):
    """Base of every error raised on purpose; its text is one line for the user."""


class ConfigurationError(OversightError):
    """The request cannot be carried out as it stands."""


class UnknownName(ConfigurationError):
    """A name that is not registered; the message offers the nearest match."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        close = nearest(name, self.known)
        if close:
            hint = f"did you mean {close!r}?"
        elif self.known:
            hint = f"known: {', '.join(self.known)}"
        else:
            hint = "none is available here"
        super().__init__(f"unknown {kind} {name!r}: {hint}")


class MissingKey(ConfigurationError):
    """An API key is needed and its environment variable is not set."""


class MissingExtra(ConfigurationError):
    """An optional package is not installed; the message gives the command that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{what} needs the extra {extra!r}: pip install 'scalable-oversight[{extra}]'")


class CheckFailed(ConfigurationError):
    """A protocol breaks a rule of the check that runs before anything else."""


class DataError(OversightError):
    """A data file is missing or malformed.

    Parameters
    ----------
    path : the file.
    message : what was found, and what was expected.
    line : line number in the file, from 1, where there is one.
    """

    def __init__(self, path: Path | str, message: str, line: int | None = None) -> None:
        self.path, self.line = Path(path), line
        where = f"{path}, line {line}" if line is not None else f"{path}"
        super().__init__(f"{where}: {message}")


class RunDirectoryError(OversightError):
    """A run directory is in use by another process, unreadable, or holds another run."""


class BudgetExceeded(OversightError):
    """The next call could cross the cost limit, so it was not made."""


class WorkersLost(OversightError):
    """Workers that play a run's episodes die one after the other, and nothing gets done."""


class TurnFailed(OversightError):
    """An agent could not take its turn; the episode becomes unscored with this reason."""


class CannotSpeak(TurnFailed):
    """The agent only decides: it cannot speak, whatever it is asked."""


class Abstained(TurnFailed):
    """No judge of a cascade is sure enough, and there is no person to ask; the message says what each gave."""


class ModelError(TurnFailed):
    """A model call failed after its retries, or its reply was refused, empty or cut off.

    Parameters
    ----------
    message : what happened, to what, what to do.
    usage : what replies that could not be used have cost; None where nothing was paid.
    failed : the last try, where one was made and another might have ended better.
    """

    def __init__(self, message: str, usage: Usage | None = None, failed: FailedTry | None = None) -> None:
        super().__init__(message)
        self.usage, self.failed = usage, failed


class ContextTooLong(ModelError):
    """A prompt and the longest reply to it do not fit the model's window; nothing was paid.

    Parameters
    ----------
    model : the model's name.
    tokens : tokens of the prompt and the longest reply together; None where the endpoint does not say.
    window : tokens that the model can take; None where the endpoint does not say.
    """

    def __init__(self, model: str, tokens: int | None = None, window: int | None = None) -> None:
        self.tokens, self.window = tokens, window
        size = f"{tokens:,} tokens with the longest reply" if tokens is not None else "the prompt"
        limit = f"its window of {window:,}" if window is not None else "its window"
        super().__init__(
            f"{model}: {size}, more than {limit}: take shorter material, fewer rounds, a lower limit of tokens, "
            "or a model with a longer window"
        )


class Unparsable(TurnFailed):
    """A reply could not be read as what was asked for, after one more try."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like ``name``, or None when nothing is close."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    return by_folded[close[0]] if close else None
