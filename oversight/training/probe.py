"""A logistic probe on frozen features, trained on labels that may be wrong.

Trained by accelerated gradient descent on all examples at once (Nesterov 1983, restarted as O'Donoghue and Candès
2015), with the step that the curvature allows: there is no learning rate to choose and nothing is drawn, so the same
labels give the same probe.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["RAMP", "Probe", "confidence_weight", "fit_probe"]

RAMP = 0.1
"""Share of the steps in which the confidence loss comes to its full weight."""

_TOLD_EVERY = 20
"""Steps between two reports of the loss."""

Array = NDArray[np.float64]


def confidence_weight(step: int, steps: int, maximum: float) -> float:
    """Weight of the student's own predictions in its targets, at one step.

    Parameters
    ----------
    step : from 0 to ``steps - 1``.
    steps : of the whole training.
    maximum : the weight after the first tenth of the steps, in [0, 1].

    Examples
    --------
    >>> [round(confidence_weight(step, 100, 0.5), 2) for step in (0, 5, 10, 99)]
    [0.0, 0.25, 0.5, 0.5]

    Notes
    -----
    It rises in a straight line from 0 and stays.  Published code ramps the share of the steps that are done, and
    jumps from a tenth to the maximum at the end of the ramp.

    References
    ----------
    Burns et al. 2023, Weak-to-strong generalization (arXiv:2312.09390), appendix A.4.
    """
    return maximum * min(1.0, step / (RAMP * steps))


@dataclass(frozen=True)
class Probe:
    """A trained probe.

    Parameters
    ----------
    weights : one for each feature.
    intercept : log-odds of label 1 where all features are 0.
    loss : mean loss on the training examples at the last step, in nats, penalty included.
    """

    weights: Array
    intercept: float
    loss: float

    def probabilities(self, features: Any) -> Array:
        """Probability of label 1 for each row; ``features`` is an array or a sparse matrix, examples × features."""
        return _sigmoid(np.asarray(features @ self.weights, dtype=np.float64) + self.intercept)


def fit_probe(
    features: Any,
    labels: Any,
    *,
    strength: float = 1.0,
    steps: int = 300,
    confidence: float = 0.0,
    balanced: bool = True,
    told: Callable[[float], None] | None = None,
) -> Probe:
    """Train a logistic probe.

    Parameters
    ----------
    features : examples × features, an array or a sparse matrix.
    labels : probability of label 1 for each example, in [0, 1]; 0 and 1 for hard labels.
    strength : of the penalty on the squared weights, in examples: ``strength / 2 · |w|²`` is added to the summed
        loss, 1/C of scikit-learn.  Weak labels need a strong one: a probe that is free to fit them fits their errors.
    steps : of gradient descent.
    confidence : largest weight of the student's own predictions in its targets, in [0, 1]; 0 trains on the labels.
    balanced : whether both labels weigh the same in all, however often each is given.
    told : called with the loss now and then.

    Notes
    -----
    The confidence loss has the target (1 - c) · label + c · 1[p ≥ t], with c of :func:`confidence_weight` and t the
    quantile of the student's predictions that calls as many examples positive as the labels do (Burns et al. 2023).
    """
    target: Array = np.asarray(labels, dtype=np.float64)
    examples = len(target)
    positive = float(target.mean())
    up = down = 1.0
    if balanced and 0.0 < positive < 1.0:
        up, down = 0.5 / positive, 0.5 / (1.0 - positive)
    penalty = strength / examples
    step_size = 1.0 / (0.25 * max(up, down) * _largest_curvature(features, examples) + penalty)

    width = int(features.shape[1])
    now: Array = np.zeros(width + 1)  # the last is the intercept, which is not penalised
    ahead, momentum, loss = now.copy(), 1.0, math.nan
    for step in range(steps):
        logits = np.asarray(features @ ahead[:-1], dtype=np.float64) + ahead[-1]
        p = _sigmoid(logits)
        wanted = target
        weight = confidence_weight(step, steps, confidence)
        if weight > 0.0:
            wanted = (1.0 - weight) * target + weight * (p >= np.quantile(p, 1.0 - positive))
        # log(1 + e^z) - z is -log p, and log(1 + e^z) is -log(1 - p), without overflow.
        soft = np.logaddexp(0.0, logits)
        if step % _TOLD_EVERY == 0 or step == steps - 1:
            each = up * wanted * (soft - logits) + down * (1.0 - wanted) * soft
            loss = float(each.mean() + 0.5 * penalty * float(ahead[:-1] @ ahead[:-1]))
            if told is not None:
                told(loss)
        slope = (down * (1.0 - wanted) * p - up * wanted * (1.0 - p)) / examples
        gradient = np.append(np.asarray(features.T @ slope, dtype=np.float64) + penalty * ahead[:-1], slope.sum())
        following = ahead - step_size * gradient
        if float(gradient @ (following - now)) > 0.0:  # it has run past the valley
            momentum = 1.0
        grown = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * momentum**2))
        ahead = following + (momentum - 1.0) / grown * (following - now)
        now, momentum = following, grown
    return Probe(now[:-1], float(now[-1]), loss)


def _largest_curvature(features: Any, examples: int) -> float:
    """A bound on the largest eigenvalue of the mean outer product of the rows, their constant 1 included."""
    vector: Array = np.ones(int(features.shape[1]) + 1)
    size = 1.0
    for _ in range(30):
        vector /= np.linalg.norm(vector)
        image = np.asarray(features @ vector[:-1], dtype=np.float64) + vector[-1]
        vector = np.append(np.asarray(features.T @ image, dtype=np.float64), image.sum()) / examples
        size = float(np.linalg.norm(vector))
    return 1.05 * size  # power iteration comes from below


def _sigmoid(logits: Array) -> Array:
    return np.exp(-np.logaddexp(0.0, -logits))
