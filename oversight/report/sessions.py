"""What is printed after a session, and who has done what in a run in which people take part.

Nothing of it tells how a verdict turned out, unless feedback was asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from ..runs.directory import read_episodes
from ..runs.people import People, Standing
from .terminal import print_run, safe

if TYPE_CHECKING:
    from ..runs.plan import Plan
    from ..runs.session import SessionOptions

__all__ = ["print_session", "print_standings"]


def _line(out: Console, text: str) -> None:
    out.print(safe(text), soft_wrap=True)


def print_session(plan: Plan, folder: Path, session: SessionOptions, out: Console) -> int:
    """What is kept and what waits after a session has ended; gives how many items wait."""
    from ..runs.api import RunResult

    people = People(folder / "people.sqlite", session.person)
    mine = people.standing()
    people.close()
    finished = {record["id"] for record in read_episodes(folder) if record["purpose"] == "comparison"}
    with_people = [episode for episode in plan.episodes() if plan.people_in(episode)]
    waiting = sum(episode.id not in finished for episode in with_people)
    parts = [f"{mine.done} done"]
    if mine.checks:
        parts.append(f"{mine.checks} check{'s' * (mine.checks > 1)} of attention")
    if mine.open:
        parts.append(f"{mine.open} begun")
    if mine.skipped:
        parts.append(f"{mine.skipped} given up")
    who = session.name or "you"
    _line(out, f"{who}: {', '.join(parts)}; {waiting} of {len(with_people)} items wait, for you or for others")
    if session.feedback and not waiting:  # while something waits, it would tell how others did on it
        print_run(RunResult(folder), out)
    _line(out, f"Everything stated is kept in {folder}.")
    if waiting:
        mine_again = f" --as {session.name}" if session.name else ""
        _line(
            out, f"oversight judge {folder}{mine_again} goes on at the same turn; with another --as NAME somebody else"
        )
    else:
        _line(out, f"oversight show {folder} tells the answers; oversight compare {folder} how the verdicts turned out")
    return waiting


def print_standings(folder: Path, people: People, out: Console) -> None:
    """A line a person: items done, begun and given up, checks passed, minutes; then why, and their notes."""
    minutes: dict[str, float] = defaultdict(float)
    checks: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    for record in read_episodes(folder):
        for turn in record["turns"]:
            minutes[turn["agent"]] += turn.get("seconds", 0.0) / 60
        if record["purpose"] == "attention" and record["status"] == "scored":
            person = record["turns"][-1]["agent"]
            checks[person] += 1
            passed[person] += record["credit"] == 1
    table = Table(box=None)
    table.add_column("person", overflow="fold")
    for name in ("done", "begun", "given up", "checks passed", "minutes"):
        table.add_column(name, justify="right")
    finished = sum(
        record["purpose"] == "comparison" and any(turn.get("seconds") for turn in record["turns"])
        for record in read_episodes(folder)
    )
    items = people.setting("items")
    if items is not None:
        _line(out, f"{items} items for people; in {finished} of them everybody has had their say")
    standings: list[Standing] = people.standings()
    for one in standings:
        told = f"{passed[one.person]} of {checks[one.person]}" if checks[one.person] else "—"
        table.add_row(
            safe(one.person), str(one.done), str(one.open), str(one.skipped), told, f"{minutes[one.person]:.1f}"
        )
    if standings:
        out.print(table)
        for what, rows in (("gave up", people.given_up()), ("noted on", people.all_notes())):
            for person, episode, text in rows:
                _line(out, f"{person} {what} {episode[:8]}: {text}")
    else:
        _line(out, f"nobody has begun anything in {folder}")
