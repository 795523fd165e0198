"""Who takes a turn: language models, engines, scripts, people."""

from .base import Agent
from .language_model import AgentOptions, LanguageModelAgent
from .scripted import ScriptedAgent

__all__ = ["Agent", "AgentOptions", "LanguageModelAgent", "ScriptedAgent"]
