"""How text and probabilities are made: OpenAI-compatible endpoints, local models and scripts."""

from .base import Completion, FailedTry, Model, ModelCall, ScoreCall, Scores, TokenProbabilities

__all__ = ["Completion", "FailedTry", "Model", "ModelCall", "ScoreCall", "Scores", "TokenProbabilities"]
