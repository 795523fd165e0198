"""Who takes a turn: language models, engines, scripts, people, stand-ins for them, and cascades of all these."""

from .base import Agent
from .cascade import CascadeAgent, CascadeOptions
from .composite import CompositeAgent
from .language_model import AgentOptions, LanguageModelAgent
from .proxies import PROXIES, AnswerKey, Proxy, ProxyOptions
from .scripted import ScriptedAgent

__all__ = [
    "PROXIES",
    "Agent",
    "AgentOptions",
    "AnswerKey",
    "CascadeAgent",
    "CascadeOptions",
    "CompositeAgent",
    "LanguageModelAgent",
    "Proxy",
    "ProxyOptions",
    "ScriptedAgent",
]
