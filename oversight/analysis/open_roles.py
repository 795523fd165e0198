"""Open debate and open consultancy: the speaker argues for the answer that it holds itself.

They can be had in two ways, and both are reported.  *Really run* (``positions=open``), the first speaker states the
answer it holds.  *Kept from assigned runs*, as Kenton et al. (2024) do, an episode counts if the answer that the first
speaker was assigned is the one that it gives alone, seeing the hidden material.  What matters is how often the judge
follows a speaker that is wrong: consultants convince about as well when they are, debaters much less.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import ConfigurationError
from .accuracy import Estimate, clustered_mean
from .records import outcome

__all__ = ["OpenRow", "open_roles"]


@dataclass(frozen=True)
class OpenRow:
    """How a judge fares with a speaker that argues for the answer it holds.

    Parameters
    ----------
    protocol : title of the protocol.
    debater, judge : the agents.
    how : ``run`` with open positions, or ``kept`` from assigned ones.
    accuracy : of the judge over these episodes.
    when_right, when_wrong : the same where the speaker's own answer is correct, and where it is not.
    left_out : episodes without a known answer of the speaker's own, or with another than the assigned one.
    """

    protocol: str
    debater: str
    judge: str
    how: Literal["run", "kept"]
    accuracy: Estimate
    when_right: Estimate
    when_wrong: Estimate
    left_out: int


def open_roles(records: Iterable[Mapping[str, Any]]) -> list[OpenRow]:
    """A row for each protocol and pair of agents in which somebody argues for what it holds.

    Parameters
    ----------
    records : episodes of a run; those in which an agent answers alone with the hidden material tell what it holds.

    Raises
    ------
    ConfigurationError
        if nobody argues in any episode.
    """
    records = list(records)
    held = _held(records)
    kept: dict[tuple[str, str, str, str, Literal["run", "kept"]], list[tuple[float, bool, str]]] = defaultdict(list)
    left_out: dict[tuple[str, str, str, str, Literal["run", "kept"]], int] = defaultdict(int)
    for record in records:
        if record["purpose"] != "comparison" or not record["arguing"]:
            continue
        one = outcome(record)
        claim = next((turn for turn in record["turns"] if turn["kind"] == "claim"), None)
        speech = next((turn for turn in record["turns"] if turn.get("answer") is not None), None)
        if speech is None or one.debater is None:
            continue
        how: Literal["run", "kept"] = "run" if claim is not None else "kept"
        key = (one.protocol, one.protocol_key, one.debater, one.judge, how)
        own = speech["answer"] if claim is not None else held.get((speech["agent"], record["question"]))
        if own is None or own != speech["answer"]:
            left_out[key] += 1
            continue
        kept[key].append((one.credit, own == one.correct, one.source))
    if not kept and not left_out:
        raise ConfigurationError(
            "nobody argues in these episodes: run a tournament, which asks every agent alone, or positions=open"
        )
    return [
        OpenRow(
            key[0],
            key[2],
            key[3],
            key[4],
            _estimate(rows),
            _estimate([row for row in rows if row[1]]),
            _estimate([row for row in rows if not row[1]]),
            left_out[key],
        )
        for key, rows in ((key, kept.get(key, [])) for key in dict.fromkeys([*kept, *left_out]))
    ]


def _held(records: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], int | None]:
    """The answer that each agent gives alone to each question: the likeliest over its episodes; None where they tie."""
    totals: dict[tuple[str, str], list[float]] = {}
    for record in records:
        if record["purpose"] != "capability" or record["probabilities"] is None:
            continue
        (agent,) = record["cast"]["judge"]
        total = totals.setdefault((agent, record["question"]), [0.0] * record["answers"])
        for answer, probability in enumerate(record["probabilities"]):
            total[answer] += probability
    return {key: _likeliest(total) for key, total in totals.items()}


def _likeliest(probabilities: list[float]) -> int | None:
    top = max(probabilities)
    winners = [answer for answer, value in enumerate(probabilities) if math.isclose(value, top, abs_tol=1e-9)]
    return winners[0] if len(winners) == 1 else None


def _estimate(rows: list[tuple[float, bool, str]]) -> Estimate:
    return clustered_mean([credit for credit, _, _ in rows], [source for _, _, source in rows])
