"""Runs: many episodes, recorded as they finish, resumed by the same command."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import RunResult, plan_run, plan_tournament, run, tournament

__all__ = ["RunResult", "plan_run", "plan_tournament", "run", "tournament"]


def __getattr__(name: str) -> Any:  # what only reads a run's folder does not wait for what plays one
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".api", __name__), name)
