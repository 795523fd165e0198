"""Protocols side by side, for people: several narrow tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from ..analysis.accuracy import Estimate
from ..specification import split_list
from .terminal import safe

if TYPE_CHECKING:
    from rich.console import Console

    from ..analysis.comparison import Comparison, Difference, ProtocolRow
    from ..analysis.score_difference import ScoreDifferences

__all__ = [
    "comparison_tables",
    "print_comparison",
    "print_score_differences",
    "score_difference_remarks",
    "score_difference_table",
]


_WHOLE_NAME = 10
"""Columns in which the name of an agent is not folded."""


def print_comparison(comparison: Comparison, out: Console) -> None:
    """The tables of a comparison, and what must be known of them."""
    for table in comparison_tables(comparison):
        out.print(table)
        out.print()
    for remark in comparison.remarks:
        out.print(safe(remark), soft_wrap=True)


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Narrow tables: accuracy and scores, confidence, agent score difference, gap recovered, cost, differences.

    A table that would be empty is left out.
    """
    rows = comparison.rows
    interval = f"{100 * comparison.level:g} % intervals"
    tables = [
        _table(
            f"Accuracy and scores on {_count(comparison.questions, 'question')}, {interval}",
            rows,
            {
                "accuracy, %": lambda row: _estimate(row.accuracy, 100, 1),
                "log": lambda row: _mean(row.log),
                "Brier": lambda row: _mean(row.brier),
                "n": lambda row: str(row.questions),
                **({"unscored": _unscored} if any(row.unscored for row in rows) else {}),
            },
            "0 is the best log and Brier score; log scores are in nats.",
        ),
        _table(
            f"Calibration error, and accuracy where the top probability is {comparison.confidence:g} or more",
            rows,
            {
                "ECE": lambda row: _number(row.calibration_error, 3),
                "sure of": lambda row: "—" if row.coverage is None else f"{100 * row.coverage:.1f} %",
                "accuracy then, %": lambda row: _estimate(row.selective, 100, 1),
                "verdicts": lambda row: str(row.verdicts),
            },
        ),
    ]
    argued = [row for row in rows if row.asd]
    if argued:
        blind = any(row.asd_minus_blind for row in argued)
        columns: dict[str, Callable[[ProtocolRow], str]] = {
            "Brier": lambda row: _estimate(row.asd["brier"], 1, 2),
            **({"less blind": lambda row: _estimate(row.asd_minus_blind.get("brier"), 1, 2)} if blind else {}),
            "log": lambda row: _mean(row.asd["log"], "+.2f"),
            "log-odds": lambda row: _mean(row.asd["log_odds"], "+.2f"),
            "questions": lambda row: str(row.asd["brier"].n),
        }
        caption = "Score of the belief in the argued answer when it is true, less that when it is false; log in nats."
        if not blind:
            caption += f" Not less a blind judge's: {comparison.blind} was not run with these judges."
        tables.append(_table(f"Agent score difference, {interval}", argued, columns, caption))
    tables += _recovered_table(comparison)
    if any(row.cost.total.calls for row in rows):
        tables.append(
            _table(
                "Mean cost of an episode, turns that it shares with others included",
                rows,
                {
                    "judge tokens": lambda row: _tokens(row, "judge"),
                    "judge $": lambda row: _dollars(row, "judge"),
                    "tokens": lambda row: _tokens(row, "total"),
                    "$": lambda row: _dollars(row, "total"),
                    "all of them, $": lambda row: (
                        "unknown" if row.cost.total.dollars is None else f"{row.cost.total.dollars:,.2f}"
                    ),
                },
            )
        )
    if comparison.differences:
        tables += [_differences(comparison, *one) for one in _MEASURES]
    return tables


def _recovered_table(comparison: Comparison) -> list[Table]:
    """The gap that is recovered, or in one line why there is none to recover."""
    rows = [row for row in comparison.rows if row.recovered.gap is not None]
    title = f"Performance gap recovered, from {comparison.floor} (0) to {comparison.ceiling} (1)"
    if not rows:
        reasons = dict.fromkeys(
            row.recovered.reason for row in comparison.rows if not row.recovered.reason.startswith("is the ")
        )
        table = Table(box=None, title=safe(title), title_justify="left", show_header=False, pad_edge=False)
        for reason in reasons:
            table.add_row(safe(f"undefined: {reason}"))
        return [table] if reasons else []
    reasons = dict.fromkeys(
        f"undefined{'' if row.judge is None else f' with judge {row.judge}'}: {row.recovered.reason}"
        for row in rows
        if row.recovered.reason
    )
    return [
        _table(
            title,
            rows,
            {
                "recovered": lambda row: (
                    "undefined"
                    if row.recovered.share is None
                    else _range(row.recovered.share, row.recovered.low, row.recovered.high, 1, 2)
                ),
                "gap, points": lambda row: _estimate(row.recovered.gap, 100, 1),
                "questions": lambda row: str(row.recovered.questions),
            },
            "\n".join(reasons),
        )
    ]


_MEASURES = (
    ("accuracy", "accuracy", "points", 100.0, 1),
    ("log", "log score (nats)", "log score", 1.0, 2),
    ("brier", "Brier score", "Brier score", 1.0, 3),
)
"""By measure: what it is called in the title and over its column, what it is multiplied by, and its decimals."""


def _differences(comparison: Comparison, measure: str, name: str, unit: str, scale: float, digits: int) -> Table:
    """Paired differences in one measure."""
    count = _count(len(comparison.differences), "difference")
    return _difference_table(
        f"Paired differences in {name}, {100 * comparison.level:g} % intervals",
        comparison,
        {
            unit: lambda one: _estimate(one.measures[measure].estimate, scale, digits, "+"),
            "p": lambda one: _p_value(one.measures[measure].p_value),
            "Holm": lambda one: _p_value(one.measures[measure].p_corrected),
            "questions": lambda one: str(one.measures[measure].estimate.n),
        },
        f"More is better; clustered by source. Holm: p corrected for {count}.",
    )


def score_difference_table(found: ScoreDifferences) -> Table:
    """Agent score difference of each run of outside results."""
    table = _new(f"Agent score difference, {100 * found.level:g} % intervals", "log in nats")
    table.add_column("run", overflow="fold")
    for name in ("Brier", "log", "questions"):
        table.add_column(name, justify="right", no_wrap=True)
    briers = _aligned([_estimate(run.brier, 1, 3, "+") for run in found.runs])
    logs = _aligned([_estimate(run.log, 1, 3, "+") for run in found.runs])
    for run, brier, log in zip(found.runs, briers, logs, strict=True):
        table.add_row(safe(run.run), brier, log, str(run.n))
    return table


def print_score_differences(found: ScoreDifferences, out: Console) -> None:
    """The table of outside results, and what must be known of it."""
    out.print(score_difference_table(found))
    score_difference_remarks(found, out)


def score_difference_remarks(found: ScoreDifferences, out: Console) -> None:
    """What was left out or averaged, a line each."""
    for remark in found.remarks:
        out.print(safe(remark), soft_wrap=True)


# ---- tables -------------------------------------------------------------------------------------


def _new(title: str, caption: str) -> Table:
    return Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        title=safe(title),
        title_justify="left",
        caption=safe(caption) if caption else None,
        caption_justify="left",
    )


def _table(
    title: str,
    rows: Sequence[ProtocolRow],
    columns: dict[str, Callable[[ProtocolRow], str]],
    caption: str = "",
) -> Table:
    """Rows by protocol; its options stand under its name, beside the rows that follow."""
    table = _new(title, caption)
    casts = _add_name_columns(table, "protocol", rows)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    cells = [_aligned([column(row) for row in rows]) for column in columns.values()]
    lines = list(zip(rows, zip(*cells, strict=True), strict=True))
    for _, group in groupby(lines, key=lambda line: (line[0].protocol_key, line[0].run)):
        members = list(group)
        titles = _title_lines(members[0][0].protocol, members[0][0].run)
        table.add_section()
        for place, (row, cell) in enumerate(members):
            last = place == len(members) - 1
            head = "\n".join(titles[place:] if last else titles[place : place + 1])
            cast = [safe(getattr(row, name) or "—") for name in casts]
            table.add_row(Text("\n").join(map(safe, head.split("\n"))), *cast, *map(Text, cell))
    return table


def _add_name_columns(table: Table, first: str, rows: Sequence[ProtocolRow | Difference]) -> list[str]:
    """Columns for the protocol and for who took part; gives the names of the latter that are there.

    Where a terminal is narrow the protocol is folded rather than the agents, unless their names are long.
    """
    table.add_column(first, overflow="fold")
    casts = [name for name in ("judge", "debater") if any(getattr(row, name) is not None for row in rows)]
    for name in casts:
        longest = max(len(getattr(row, name) or "") for row in rows)
        table.add_column(name, overflow="fold", min_width=min(longest, _WHOLE_NAME))
    return casts


def _unscored(row: ProtocolRow) -> str:
    return f"{100 * row.unscored_rate:.1f} %" if row.unscored else "0"


def _difference_table(
    title: str, comparison: Comparison, columns: dict[str, Callable[[Difference], str]], caption: str = ""
) -> Table:
    table = _new(title, caption)
    found = comparison.differences
    casts = _add_name_columns(table, "protocol, less the other", found)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    cells = [_aligned([column(one) for one in found]) for column in columns.values()]
    lines = list(zip(found, zip(*cells, strict=True), strict=True))

    def pair(line: tuple[Difference, tuple[str, ...]]) -> tuple[str | None, ...]:
        one = line[0]
        return one.protocol, one.run, one.against, one.against_run

    for _, group in groupby(lines, key=pair):
        members = list(group)
        first = members[0][0]
        other = _title_lines(first.against, first.against_run)
        titles = [*_title_lines(first.protocol, first.run), f"less {other[0]}", *other[1:]]
        table.add_section()
        for place, (one, cell) in enumerate(members):
            last = place == len(members) - 1
            head = titles[place:] if last else titles[place : place + 1]
            debater = one.debater if one.debater is not None else one.against_debater
            cast = [safe((one.judge if name == "judge" else debater) or "—") for name in casts]
            table.add_row(Text("\n").join(map(safe, head)), *cast, *map(Text, cell))
    return table


def _title_lines(title: str, run: str | None) -> list[str]:
    """A protocol's name, each of its options on a line of its own, and the run where that tells rows apart."""
    name, opening, rest = title.partition("(")
    where = [] if run is None else [f" in {run}"]
    if not opening:
        return [title, *where]
    options, _, mark = rest.rpartition(")")
    return [name + mark, *(f" {option}" for option in split_list(options)), *where]


# ---- numbers as text ----------------------------------------------------------------------------


def _aligned(texts: Sequence[str]) -> list[str]:
    """Texts such as ``1.0 [0.5, 1.5]`` with their parts under one another."""
    split = [text.replace("[", "").replace("]", "").replace(",", "").split() if "[" in text else None for text in texts]
    widths = [max((len(parts[place]) for parts in split if parts), default=0) for place in range(3)]
    result = []
    for text, parts in zip(texts, split, strict=True):
        if parts is None:
            result.append(text)
        else:
            mean, low, high = (part.rjust(width) for part, width in zip(parts, widths, strict=True))
            result.append(f"{mean} [{low}, {high}]")
    return result


def _estimate(estimate: Estimate | None, scale: float, digits: int, sign: str = "") -> str:
    if estimate is None or math.isnan(estimate.mean):
        return "—"
    return _range(estimate.mean, estimate.low, estimate.high, scale, digits, sign)


def _range(mean: float, low: float | None, high: float | None, scale: float, digits: int, sign: str = "") -> str:
    def written(value: float) -> str:
        return f"{round(scale * value, digits) + 0.0:{sign}.{digits}f}"

    return written(mean) if low is None or high is None else f"{written(mean)} [{written(low)}, {written(high)}]"


def _mean(estimate: Estimate, form: str = ".3f") -> str:
    return "—" if math.isnan(estimate.mean) else f"{round(estimate.mean, 3) + 0.0:{form}}"


def _number(value: float | None, digits: int) -> str:
    return "—" if value is None else f"{value:.{digits}f}"


def _tokens(row: ProtocolRow, who: str) -> str:
    usage = getattr(row.cost, who)
    return f"{(usage.input_tokens + usage.output_tokens) / row.cost.episodes:,.0f}"


def _dollars(row: ProtocolRow, who: str) -> str:
    dollars = getattr(row.cost, who).dollars
    return "unknown" if dollars is None else f"{dollars / row.cost.episodes:.4f}"


def _p_value(value: float | None) -> str:
    if value is None:
        return "—"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
