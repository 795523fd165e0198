"""How text and probabilities are made: OpenAI-compatible endpoints, local models and scripts."""

from .base import Completion, Model, ModelCall, ScoreCall, Scores, TokenProbabilities

__all__ = ["Completion", "Model", "ModelCall", "ScoreCall", "Scores", "TokenProbabilities"]
