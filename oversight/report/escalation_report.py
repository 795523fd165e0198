"""Cascades for people: what is guaranteed, who decided what, and what the person's time bought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from ..analysis.accuracy import Estimate
from ..analysis.escalation import Calibration, Escalation
from .terminal import safe

__all__ = ["calibration_table", "escalation_json", "members_table", "print_escalation"]


_LISTED = 8
"""Episodes that are named at most; the JSON values have them all."""


def print_escalation(calibrations: Mapping[str, Calibration], found: Sequence[Escalation], out: Console) -> None:
    """The thresholds and guarantees of cascades, and what came of their episodes.

    Parameters
    ----------
    calibrations : by what they are of (the protocol and cast), as it is to be printed.
    found : what came of the episodes; may be empty, where a cascade is only calibrated.
    """
    for what, calibration in calibrations.items():
        out.print(safe(f"{what}: calibration", "bold"), soft_wrap=True)
        out.print(calibration_table(calibration))
        for line in (calibration.guarantee, *calibration.remarks, _items(calibration)):
            out.print(safe(line), soft_wrap=True)
        out.print()
    for one in found:
        speakers = f"{one.speakers} before " if one.speakers else ""
        out.print(safe(f"{one.protocol}: {speakers}{one.cascade}", "bold"), soft_wrap=True)
        out.print(members_table(one))
        for line in _lines(one):
            out.print(safe(line), soft_wrap=True)
        out.print()
    if found:
        out.print(safe("95 % intervals, clustered by source; a tie counts 1/k as everywhere"), soft_wrap=True)


def calibration_table(calibration: Calibration) -> Table:
    """The threshold of each judge, and the errors that it rests on."""
    table = _table()
    table.add_column("judge", overflow="fold")
    for name in ("reached it", "decides from", "items", "wrong", "bound"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in calibration.judges:
        # The bound of what was tested in vain is no bound on anything that is decided: the sentence below says it.
        rest = ("never", "—", "—", "—")
        if one.threshold is not None:
            rest = (f"{one.threshold:.3f}", str(one.n), str(one.errors), f"{100 * one.bound:.1f} %")
        table.add_row(safe(one.judge), str(one.seen), *rest)
    return table


def members_table(found: Escalation) -> Table:
    """What each member decided, and how often it was right."""
    table = _table()
    table.add_column("decided by", overflow="fold")
    for name in ("from", "asked", "decided", "accuracy", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found.members:
        start = "whatever is left" if one.is_person else "never" if one.threshold is None else f"{one.threshold:.3f}"
        table.add_row(safe(one.agent), start, str(one.asked), str(one.decided), *_share(one.accuracy))
    table.add_section()
    if found.by_judges.n and found.escalated.n:
        table.add_row("judges together", "", "", str(found.by_judges.n), *_share(found.by_judges))
    table.add_row("all", "", "", str(found.answered), *_share(found.accuracy), style="bold")
    return table


def escalation_json(calibrations: Mapping[str, Calibration], found: Sequence[Escalation]) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "calibrations": {what: one.to_json() for what, one in calibrations.items()},
        "cascades": [one.to_json() for one in found],
    }


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)


def _items(calibration: Calibration) -> str:
    """Where the calibration items come from."""
    items = f"{calibration.items} calibration {'item' if calibration.items == 1 else 'items'}"
    drawn = f", one drawn of each source from {calibration.given}" if calibration.given > calibration.items else ""
    return f"{items}{drawn}{f': {calibration.source}' if calibration.source else ''}"


def _lines(found: Escalation) -> list[str]:
    """What the person's time bought, and what nobody decided."""
    lines = []
    person = next((one.agent for one in found.members if one.is_person), "")
    judges = [one.agent for one in found.members if not one.is_person]
    if found.escalated.n:
        right = f"{100 * found.escalated.mean:.1f} % right"
        share = f"{found.escalated.n} of {found.answered} verdicts went to {person}: {right}"
        if found.machine.n:
            bought = found.bought
            share += (
                f", where those of {judges[-1]} would have been {100 * found.machine.mean:.1f} % right: a difference "
                f"of {100 * bought.mean:+.1f} points [{100 * bought.low:+.1f}, {100 * bought.high:+.1f}]"
            )
        lines.append(share)
        some = ", ".join(one[:8] for one in found.handed_on[:_LISTED])
        more = f" and {len(found.handed_on) - _LISTED} more" if len(found.handed_on) > _LISTED else ""
        lines.append(f"episodes that went there: {some}{more}")
    if found.abstained:
        beyond = f", {found.beyond_budget} of them for want of human budget" if found.beyond_budget else ""
        lines.append(
            f"{found.abstained} abstained{beyond}: a verdict in {100 * found.coverage:.1f} % of "
            f"{found.answered + found.abstained} episodes"
        )
    if found.failed:
        lines.append(f"{found.failed} failed otherwise and count for nothing here")
    return lines


def _share(one: Estimate) -> tuple[str, str]:
    if not one.n:
        return "—", "—"
    return f"{100 * one.mean:.1f} %", f"[{100 * one.low:.1f}, {100 * one.high:.1f}]"
