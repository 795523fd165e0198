"""How well can a weak overseer supervise a stronger agent, and how does that fail as the gap grows?

Define protocols (debate, consultancy, ...), run them over questions whose answers the judge may not see, and
read off judge accuracy against the capability gap.  Everything is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agents import Agent, ScriptedAgent
    from .graph import check, compile_protocol
    from .models import Model
    from .protocol import Protocol
    from .questions import Arena, Question
    from .registry import find_agent, find_arena, find_protocol
    from .runs import RunResult, run, tournament
    from .runs.plan import PeopleOptions
    from .runs.rejudge import rejudge
    from .runs.session import SessionOptions
    from .transcript import Turn, Verdict
    from .views import View

_HOME = {
    "Agent": "agents",
    "Arena": "questions",
    "Model": "models",
    "PeopleOptions": "runs.plan",
    "Protocol": "protocol",
    "Question": "questions",
    "RunResult": "runs",
    "ScriptedAgent": "agents",
    "SessionOptions": "runs.session",
    "Turn": "transcript",
    "Verdict": "transcript",
    "View": "views",
    "check": "graph",
    "compile_protocol": "graph",
    "find_agent": "registry",
    "find_arena": "registry",
    "find_protocol": "registry",
    "rejudge": "runs.rejudge",
    "run": "runs",
    "tournament": "runs",
}

__all__ = [
    "Agent",
    "Arena",
    "Model",
    "PeopleOptions",
    "Protocol",
    "Question",
    "RunResult",
    "ScriptedAgent",
    "SessionOptions",
    "Turn",
    "Verdict",
    "View",
    "check",
    "compile_protocol",
    "find_agent",
    "find_arena",
    "find_protocol",
    "rejudge",
    "run",
    "tournament",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
