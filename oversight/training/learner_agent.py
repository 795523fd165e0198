"""A trained learner at the table: X of iterated amplification as an agent of the arena ``permutation``."""

from __future__ import annotations

from typing import Any

from ..agents import Agent
from ..errors import TurnFailed
from ..requests import Choice, Choose, Speak, Speech
from ..views import View
from .amplification_experiment import load_learner

__all__ = ["LearnerAgent"]


class LearnerAgent(Agent):
    """Answers at once what sigma^m(x) is, by its weights; it shows no working and checks nobody's.

    Parameters
    ----------
    folder : of a training; see :func:`~oversight.training.amplification_experiment.load_learner`.

    Raises
    ------
    ConfigurationError
        if there is no learner in it; MissingExtra without torch.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(f"learner/{folder}")
        self.learner, self.settings, self.weights = load_learner(folder)

    def describe(self) -> dict[str, Any]:
        """Its weights, not the folder, are what it is."""
        return {"agent": "learner", "weights": self.weights, "version": 1}

    async def speak(self, request: Speak) -> Speech:
        """The likeliest point; no parts of a question."""
        if request.form == "parts":
            return Speech("NONE")
        found = self._likely(request.view)
        point = max(range(len(found)), key=found.__getitem__) + 1
        if request.form == "answer":
            return Speech(str(point))
        structure = request.view.structure
        return Speech(f"Step 1: sigma^{structure['power']}({structure['start']}) = {point}")

    async def choose(self, request: Choose) -> Choice:
        """How likely it holds each answer, beside the others."""
        view = request.view
        labels = [answer.label for answer in view.answers]
        if request.of_speeches or "value" not in view.by_answer:  # it is no judge of style
            return Choice(dict.fromkeys(labels, 1 / len(labels)), "engine")
        likely = self._likely(view)
        shares = [likely[value - 1] for value in view.by_answer["value"]]
        return Choice({label: one / sum(shares) for label, one in zip(labels, shares, strict=True)}, "engine")

    def _likely(self, view: View) -> list[float]:
        """Probability of each point, from 1."""
        import torch

        from .amplification_networks import Questions

        structure, settings = view.structure, self.settings
        if not structure:
            raise TurnFailed(f"{self.name} cannot read the question {view.question!r}")
        if len(structure["permutation"]) != settings.points or structure["power"] > settings.power:
            raise TurnFailed(
                f"{self.name} knows {settings.points} points and powers up to {settings.power}: "
                f"give --points {settings.points} --power {settings.power}"
            )
        images = torch.tensor([[image - 1 for image in structure["permutation"]]])
        asked = Questions(images, torch.tensor([[structure["power"]]]), torch.tensor([[structure["start"] - 1]]))
        with torch.no_grad():
            likely = torch.softmax(self.learner(asked)[0, 0].double(), dim=-1)
        return [max(one, 1e-9) for one in likely.tolist()]  # a sum of shares is never 0
