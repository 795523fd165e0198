"""What a person is told about their verdicts, once they are kept, and only where they ask for it."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..analysis.score_difference import brier_score
from ..persuasion import LEAST_PROBABILITY
from ..terminal.front import Band, Feedback
from .directory import read_episodes
from .plan import Episode, label_names

__all__ = ["feedback_for"]

BANDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Limits of the bands of confidence in the likelier answer; with two answers the first is never used."""


def _verdicts_of(records: Path, person: str) -> list[dict[str, Any]]:
    """Records of the scored episodes whose deciding verdict is this person's, in the order of their ends."""
    return [
        record
        for record in read_episodes(records)
        if record["status"] == "scored"
        and record["purpose"] == "comparison"
        and any(turn["kind"] == "verdict" and turn["agent"] == person for turn in record["turns"])
    ]


def feedback_for(folder: Path, person: str, episode: Episode) -> Feedback | None:
    """How the verdict on this episode turned out, and this person's verdicts so far; None where it is not scored."""
    records = _verdicts_of(folder, person)
    of_this = [record for record in records if record["id"] == episode.id]
    if not of_this:
        return None
    correct = episode.question.correct
    labels = label_names(len(episode.question.answers))
    probability, score = of_this[0]["probabilities"][correct], of_this[0]["judge_score"]
    scores = [_bits(record["probabilities"][record["correct"]]) for record in records]
    credits = [record["credit"] for record in records]
    bands = []
    for low, high in pairwise(BANDS):
        inside = [
            credit
            for record, credit in zip(records, credits, strict=True)
            if low <= max(record["probabilities"]) < high or (high == 1.0 == max(record["probabilities"]))
        ]
        if inside:
            bands.append(Band(low, high, len(inside), sum(inside)))
    return Feedback(
        label=labels[episode.seating.labels.index(correct)],
        answer=episode.question.answers[correct],
        probability=probability,
        score=_bits(probability),
        paid=0.0 if score is None or episode.recording is not None else max(_bits(probability) - score, 0.0),
        count=len(records),
        accuracy=sum(credits) / len(records),
        mean_score=math.fsum(scores) / len(records),
        brier=sum(brier_score(record["probabilities"], record["correct"]) for record in records) / len(records),
        bands=tuple(bands),
    )


def _bits(probability: float) -> float:
    return math.log2(max(probability, LEAST_PROBABILITY))
