"""What the commands print.

Text that came from an agent or a data file is printed as text: no markup is read in it, and control
characters are taken out before it reaches the terminal.  In a transcript the first column is the reader's, the third
begins a remark of ours, and what was said stands further in: no line of it can pass for either.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ..errors import ConfigurationError, OversightError, nearest
from ..questions import NEITHER, Question
from ..runs.directory import read_episodes, read_json, read_lines
from ..runs.spending import Spend, in_all, summed
from ..transcript import Quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..analysis.accuracy import Estimate
    from ..analysis.gap import GapAnalysis
    from ..analysis.open_roles import OpenRow
    from ..runs import RunResult
    from ..runs.human_corpus import Condition
    from ..runs.plan import Plan
    from ..runs.recordings import Recordings

__all__ = [
    "console",
    "episode_record",
    "error_console",
    "print_account",
    "print_episode",
    "print_episodes",
    "print_gap",
    "print_imported",
    "print_names",
    "print_open_roles",
    "print_plan",
    "print_presets",
    "print_run",
    "print_skipped",
    "print_spending",
    "run_as_json",
    "safe",
]


_COMMAND = re.compile(r"\boversight [a-z]+ \S")


class _Words(Console):
    """What is one line in a pipe is wrapped between words on a terminal, which would cut inside them.

    A line with a command of ours stays whole: it is there to be copied.
    """

    def print(self, *objects: Any, soft_wrap: bool | None = None, **options: Any) -> None:
        whole = not self.is_terminal or any(_COMMAND.search(str(one)) for one in objects)
        super().print(*objects, soft_wrap=soft_wrap and whole, **options)


def console() -> Console:
    """Where results go."""
    return _Words(highlight=False, markup=False)


def error_console() -> Console:
    """Where progress goes, so that results can be piped."""
    return _Words(stderr=True, highlight=False, markup=False)


def safe(text: str, style: str = "") -> Text:
    """Text from elsewhere, made inert: neither markup nor terminal control."""
    from ..agents.prompts import clean

    return Text(clean(text), style=style)


def _line(out: Console, text: str = "") -> None:
    out.print(safe(text), soft_wrap=True)


def _indented(out: Console, text: Text, by: int = 4) -> None:
    """The text set in by some columns, without blanks at the ends of its lines."""
    for line in text.wrap(out, max(out.width - by, 20)):
        line.rstrip()
        out.print(Text(" " * by if line.plain else "").append_text(line), soft_wrap=True)


def _hanging(out: Console, head: Text, text: Text) -> None:
    """The text after its head, with what follows on further lines set in, where only the head's begin."""
    first, *rest = text.wrap(out, max(out.width - 5, 20))
    out.print(Text.assemble(head, first), soft_wrap=True)
    for line in rest:
        line.rstrip()
        out.print(Text("     " if line.plain else "").append_text(line), soft_wrap=True)


def print_plan(plan: Plan, folder: Path, out: Console) -> None:
    """The plan of ``--dry-run``: episodes, calls by role, worst-case tokens and dollars."""
    episodes = Counter(
        ("alone: " if episode.purpose == "capability" else "") + episode.protocol.title for episode in plan.episodes()
    )
    sources = len({question.source for question in plan.questions})
    _line(out, f"arena {plan.arena.name}: {len(plan.questions)} questions from {sources} sources, seed {plan.seed}")
    _line(out, f"run directory {folder}")
    table = Table(box=None)
    table.add_column("protocol", overflow="fold")
    table.add_column("episodes", justify="right")
    for title, count in episodes.items():
        table.add_row(safe(title), f"{count:,}")
    table.add_row("in all", f"{sum(episodes.values()):,}", style="bold")
    out.print(table)
    costs = Table(box=None)
    for name in ("role", "agent"):
        costs.add_column(name, overflow="fold")
    for name in ("calls", "input tokens, at most", "output tokens, at most", "dollars, at most"):
        costs.add_column(name, justify="right")
    total: float | None = 0.0
    for cost in plan.costs():
        tokens = ["—" if number is None else f"{number:,}" for number in (cost.input_tokens, cost.output_tokens)]
        price = "unknown" if cost.dollars is None else f"{cost.dollars:,.2f}"
        total = None if total is None or cost.dollars is None else total + cost.dollars
        costs.add_row(cost.role, safe(cost.agent), f"{cost.calls:,}", *tokens, price)
    out.print(costs)
    _line(
        out, "A turn that several episodes share is made once and counted once; tokens allow for a second try of each."
    )
    if plan.measures_by_play:
        games = sum(pairing.games for pairing in plan.arena.pairings(sorted(plan.agents), plan.seed) or ())
        _line(out, f"Capability is measured by {games:,} games between the agents.")
    known = f"In all at most ${total:,.2f}." if total is not None else "In all: unknown, as a price is; give --price."
    _line(out, known)


def _cast(record: dict[str, Any]) -> str:
    return ", ".join(f"{role} {' and '.join(names)}" for role, names in record["cast"].items())


def print_run(result: RunResult, out: Console) -> None:
    """Accuracy of a run by protocol and cast."""
    analysis = result.gap()
    table = Table(box=None)
    short = all(len(cell.protocol) <= 30 for cell in analysis.cells)
    table.add_column("protocol", no_wrap=short, overflow="fold")
    table.add_column("judge", overflow="fold")
    table.add_column("argues", overflow="fold")
    for name in ("accuracy", "95 % interval", "n", "unscored"):
        table.add_column(name, justify="right", no_wrap=True)
    for cell in analysis.cells:
        interval = "—" if cell.low is None or cell.high is None else f"[{100 * cell.low:.1f}, {100 * cell.high:.1f}]"
        table.add_row(
            safe(cell.protocol),
            safe(cell.judge),
            safe(cell.debater or "—"),
            "—" if cell.accuracy is None else f"{100 * cell.accuracy:.1f} %",
            interval,
            str(cell.n),
            str(cell.unscored),
        )
    out.print(table)
    _groups(result, out)
    _reasons(result, out)
    _line(out, f"transcripts: oversight show {result.log_dir}")


def _groups(result: RunResult, out: Console) -> None:
    """Accuracy by the group of the question, a column a group; nothing where questions are of one group."""
    from ..analysis.accuracy import clustered_mean
    from ..analysis.records import outcome

    found: dict[tuple[str, str, str], dict[str, list[tuple[float, str]]]] = {}
    for record in result.episodes():
        if record.get("group") and record["status"] == "scored":
            one = outcome(record)
            cell = found.setdefault((one.protocol, one.judge, one.debater or "—"), {})
            cell.setdefault(record["group"], []).append((one.credit, one.source))
    groups = sorted({group for cell in found.values() for group in cell}, key=_natural)
    if len(groups) < 2:
        return
    out.print()
    for (protocol, judge, debater), cell in found.items():
        out.print(safe(f"{protocol}: {debater + ' before ' if debater != '—' else ''}{judge}", "bold"), soft_wrap=True)
        table = Table(box=None, padding=(0, 2, 0, 1))
        for name in ("questions", "accuracy", "95 % interval", "n"):
            table.add_column(name, justify="left" if name == "questions" else "right", no_wrap=True)
        for group in groups:
            rows = cell.get(group, [])
            estimate = clustered_mean([credit for credit, _ in rows], [source for _, source in rows])
            if rows:
                interval = f"[{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
                table.add_row(safe(group), f"{100 * estimate.mean:.1f} %", interval, str(estimate.n))
            else:
                table.add_row(safe(group), "—", "—", "0")
        out.print(table)


def _natural(text: str) -> list[tuple[int, int, str]]:
    """A key by which ``depth 10`` comes after ``depth 9``."""
    return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in re.split(r"([0-9]+)", text) if piece]


_ABSTAINED = "abstained"
"""How the reason begins of an episode that a cascade leaves undecided."""


def _reasons(result: RunResult, out: Console) -> None:
    """Why episodes are unscored, who argued for the other side, and how verdicts were read where not all alike."""
    reasons: Counter[str] = Counter()
    elicitations: Counter[tuple[str, str]] = Counter()
    switched = episodes = 0
    for record in result.episodes():
        episodes += 1
        if record["status"] != "scored":
            # Each abstention has figures of its own.
            reasons[_ABSTAINED if record["reason"].startswith(f"{_ABSTAINED}:") else record["reason"]] += 1
        elif record.get("elicitation"):
            judge = ", ".join(dict.fromkeys(name for role in record["deciding"] for name in record["cast"][role]))
            elicitations[judge, record["elicitation"]] += 1
        switched += bool(record.get("switched"))
    for judge in dict.fromkeys(judge for judge, _ in elicitations):
        ways = {how: count for (name, how), count in elicitations.items() if name == judge}
        if len(ways) > 1:  # each is a measured capability of its own
            listed = ", ".join(f"{how} {count}" for how, count in ways.items())
            out.print(safe(f"verdicts of {judge} were read in different ways: {listed}"), soft_wrap=True)
    if switched:
        _line(
            out, f"in {switched} of {episodes} episodes a speaker argued for another answer than its own (by its words)"
        )
    for reason, count in reasons.most_common(3):
        out.print(Text.assemble(f"{count} unscored: ", safe(reason)), soft_wrap=True)
    if set(reasons) - {_ABSTAINED}:
        _line(out, "the same command with --retry-failed plays unscored episodes again")
    if len(reasons) > 3:
        _line(out, f"and {len(reasons) - 3} other reasons: oversight show {result.log_dir} --unscored")


def print_spending(result: RunResult, out: Console) -> None:
    """What the calls of a run cost, by role and model; nothing where no model was called."""
    print_account(result.spending(), out)
    if uncounted := result.uncounted():
        _line(
            out,
            f"and ${uncounted:,.4f} for calls that a killed process had stored and not yet counted: their replies are "
            "kept, and the cost limit counts them",
        )


def print_account(starts: Sequence[Sequence[Spend]], out: Console) -> None:
    """What the starts of a run have spent together, by role and model; nothing where there was none."""
    if not starts:
        return
    lines = summed(starts)
    every = in_all(lines)
    table = Table(box=None)
    table.add_column("role", overflow="fold")
    table.add_column("model", overflow="fold")
    for name in ("calls", "repeated", "tokens in", "out", "dollars", "cacheable"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in [*lines, *([every] if len(lines) > 1 else [])]:
        table.add_row(
            safe(line.role) if line is not every else "in all",
            safe(line.model),
            f"{line.calls:,}",
            f"{line.retries:,}",
            f"{line.input_tokens:,}",
            f"{line.output_tokens:,}",
            f"{line.dollars:,.4f}" + (" + ?" if line.unknown else ""),
            "—" if line.cacheable is None else f"{100 * line.cacheable:.0f} %",
            style="bold" if line is every else "",
        )
    out.print()
    out.print(table)
    _line(out, _counted(every))
    if len(starts) > 1:
        last = in_all(starts[-1])
        _line(
            out, f"in {len(starts)} starts that called models; the last of them: {_counted(last)}, ${last.dollars:,.4f}"
        )


def _counted(spend: Spend) -> str:
    """``412 calls, 9 tries repeated: 7 × 429, 2 × no reply``"""
    parts = ["1 call" if spend.calls == 1 else f"{spend.calls:,} calls"]
    if spend.failed:
        parts.append(f"{spend.failed:,} failed for good")
    if spend.unknown:
        parts.append(f"{spend.unknown:,} of unknown price")
    if spend.repeated:
        by_count = sorted(spend.repeated.items(), key=lambda item: (-item[1], item[0]))
        reasons = ", ".join(f"{count:,} × {reason}" for reason, count in by_count)
        parts.append(f"{'1 try' if spend.retries == 1 else f'{spend.retries:,} tries'} repeated: {reasons}")
    return ", ".join(parts)


def print_skipped(found: Recordings, out: Console) -> None:
    """How many transcripts cannot be put before a judge, and why."""
    if found.repeated:
        _line(out, f"{found.repeated} episodes have the transcript of another: each transcript is judged once")
    if found.skipped:
        reasons = Counter(one.partition(": ")[2] for one in found.skipped)
        listed = "; ".join(f"{count} because {reason}" for reason, count in reasons.most_common(3))
        more = f"; and {len(reasons) - 3} other reasons" if len(reasons) > 3 else ""
        _line(out, f"{len(found.skipped)} skipped: {listed}{more}")


def print_imported(conditions: Mapping[str, Condition], count: int, folder: Path, out: Console) -> None:
    """What comes out of the NYU corpus beside what its paper prints."""
    from ..runs.human_corpus import BINS, PUBLISHED

    table = Table(box=None)
    table.add_column("", no_wrap=True)
    for name in ("n", "accuracy", "honest/not", "rounds", "score", "ECE", "ties 1/2"):
        table.add_column(name, justify="right", no_wrap=True)

    def percent(share: float | None, digits: int = 0) -> str:
        return "—" if share is None else f"{100 * share:.{digits}f}"

    for name, one in conditions.items():
        for title, row in ((name, one), ("  as published", PUBLISHED[name])):
            table.add_row(
                title,
                str(row.n),
                percent(row.accuracy, 1),
                "—" if row.honest is None else f"{percent(row.honest)} / {percent(row.dishonest)}",
                f"{row.rounds:.1f}",
                f"{row.judge_score:.2f}",
                f"{row.calibration_error:.2f}",
                percent(row.by_our_rule, 1),
                style="" if row is one else "dim",
            )
    out.print(table)
    _line(out, "accuracy: per cent with a final p(correct) above 1/2, a tie is wrong; ties 1/2: by our own rule")
    _line(out, "honest/not: the same where the consultant argued for the correct answer, and for the wrong one")
    _line(out, "score: mean log2 p(correct) - 0.05 for each round")
    _line(out, f"ECE: {BINS} bins of the likelier answer's probability, from 0 to 1; the paper's bins may be others")
    _line(out, f"{count} debates in {folder}: oversight show {folder}")


def _measures_capability(folder: Path) -> bool:
    """Whether the run of a folder measures capability, when it comes to that."""
    kept = read_json(folder / "run.json") if (folder / "run.json").exists() else {}
    return isinstance(kept, dict) and bool((kept.get("configuration") or {}).get("capability"))


def _prefers(folder: Path) -> bool:
    """Whether the verdicts of a run are preferences between replies, as far as its protocols are known here."""
    from ..registry import load_class

    try:
        configured = read_json(folder / "run.json")["configuration"]["protocols"]
        return any(load_class("protocols", one["protocol"]).prefers for one in configured)
    except (OversightError, KeyError, TypeError, AttributeError):
        return False


def print_gap(
    result: RunResult, analysis: GapAnalysis, out: Console, pictures: Sequence[Path] = (), *, safety: bool = False
) -> None:
    """Cells, fits and plot of judge accuracy against the capability gap, with what there is to say about them.

    ``safety`` adds the tables of accuracy beside the agents' own competence.
    """
    from .gap_report import fits_table, forecasts_table, gap_table, gap_terminal_plot, thresholds_table
    from .gap_views import attack_table, safety_table

    tables = [gap_table(analysis)]
    if analysis.capability:  # else there is no gap, and nothing that depends on one
        tables.append(fits_table(analysis))
        if analysis.thresholds:
            tables += [thresholds_table(analysis), forecasts_table(analysis)]
        if safety:
            tables += [safety_table(analysis), attack_table(analysis)]
    for table in tables:
        out.print(table)
    if analysis.capability:
        out.print(gap_terminal_plot(analysis, width=min(out.width, 120)))
    lines = list(analysis.remarks)
    if analysis.how:
        lines.append(f"capability: {analysis.how}")
        ranked = sorted(analysis.capability.items(), key=lambda item: item[1])
        lines.append(", ".join(f"{name} {round(value, 4) + 0.0:+.4g} {analysis.unit}" for name, value in ranked))
    else:
        lines.append(
            "Capability is not measured yet, so there is no gap: repeat the command of the run, which has not ended."
            if _measures_capability(result.log_dir)
            else "Capability was not measured in this run, so there is no gap: oversight tournament measures it."
        )
    if _prefers(result.log_dir):
        lines.append("Verdicts are preferences between replies: accuracy is how often the better one was preferred.")
    lines += [f"{name} has no capability: {reason}" for name, reason in analysis.unmeasured.items()]
    for line in lines:
        out.print(safe(line), soft_wrap=True)
    _reasons(result, out)
    for path in pictures:
        out.print(safe(f"drawn in {path}"), soft_wrap=True)


def print_open_roles(rows: Sequence[OpenRow], out: Console) -> None:
    """Judge accuracy with speakers who argue for what they hold, by whether they are right."""

    def share(estimate: Estimate) -> str:
        if not estimate.n:
            return "—"
        return f"{100 * estimate.mean:.1f} % [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}], n={estimate.n}"

    for row in rows:
        how = "open positions" if row.how == "run" else "kept from assigned positions"
        out.print(safe(f"{row.protocol}: {row.debater} before {row.judge}, {how}", "bold"), soft_wrap=True)
        _indented(out, Text(f"judge right                    {share(row.accuracy)}"))
        _indented(out, Text(f"  where the speaker is right   {share(row.when_right)}"))
        _indented(out, Text(f"  where the speaker is wrong   {share(row.when_wrong)}"))
        if row.left_out:
            _indented(out, Text(f"{row.left_out} episodes left out: another answer than its own, or none known"))
    _line(out, "95 % intervals, clustered by source; the speaker is the first to speak")
    _line(out, "open: it says which answer it holds; kept: it was assigned the one that it gives alone")


def print_episodes(folder: Path, out: Console, *, unscored: bool = False, limit: int | None = None) -> None:
    """A line for each episode of a run directory, the first ``limit`` of them."""
    table = Table(box=None)
    for name in ("episode", "protocol", "cast", "question"):
        table.add_column(name, overflow="fold")
    table.add_column("p(correct)", justify="right")
    count = 0
    for record in read_episodes(folder):
        if unscored and record["status"] == "scored":
            continue
        count += 1
        if limit is not None and count > limit:
            continue
        verdict = "unscored"
        if record["probabilities"] is not None:
            verdict = f"{record['probabilities'][record['correct']]:.2f}"
        table.add_row(
            safe(record["id"][:8]), safe(record["protocol"]), safe(_cast(record)), safe(record["question"]), verdict
        )
        if unscored:
            table.add_row("", "", "", safe(record["reason"], "italic"), "")
    out.print(table)
    shown = (
        f"the first {limit} of {count} episodes (--limit {count} lists them all)" if limit and count > limit else None
    )
    _line(out, f"{shown or f'{count} episodes'}; oversight show {folder} EPISODE shows one")


def run_as_json(result: RunResult) -> dict[str, Any]:
    """A run as JSON values: how many episodes there are by status, and what its starts have spent.

    ``spending`` has ``starts``, oldest first, each a list by role and model, their sum as ``lines``, and the sum of
    all of it as ``total``; see :class:`oversight.runs.spending.Spend` for the entries.  ``uncounted`` are dollars of
    stored calls that are in none of them.  It is None, with the ``reason``, where it cannot be read.
    """
    statuses = Counter(record["status"] for record in read_episodes(result.log_dir))
    counts = {"run": str(result.log_dir), "episodes": {"scored": 0, "unscored": 0, **statuses}}
    try:
        starts, uncounted = result.spending(), result.uncounted()
    except OversightError as error:
        return {**counts, "spending": None, "reason": str(error)}
    lines = summed(starts)
    every = in_all(lines).to_dict()
    return {
        **counts,
        "spending": {
            "total": {name: every[name] for name in every if name not in ("role", "model")},
            "lines": [line.to_dict() for line in lines],
            "starts": [[line.to_dict() for line in start] for start in starts],
            "uncounted": uncounted,
        },
    }


def episode_record(folder: Path, start: str) -> dict[str, Any]:
    """The record of the episode whose id begins so; raises ConfigurationError unless there is exactly one."""
    matches, known = [], []
    for record in read_episodes(folder):
        known.append(record["id"][: max(8, len(start))])
        if record["id"].startswith(start):
            matches.append(record)
    if not matches:
        close = nearest(start, known)
        listed = f"oversight show {folder} lists them" if known else "it has none yet"
        hint = f"did you mean {close!r}?" if close else listed
        raise ConfigurationError(f"no episode of {folder} begins with {start!r}: {hint}")
    if len(matches) > 1:
        ids = [record["id"][: len(start) + 8] for record in matches]
        more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
        raise ConfigurationError(
            f"{len(matches)} episodes of {folder} begin with {start!r} ({', '.join(ids[:3])}{more}): give a longer one"
        )
    return matches[0]


def _speech(turn: dict[str, Any]) -> Text:
    """A speech as a judge at the terminal reads it: quotations that were checked are marked, and nothing else is."""
    from ..terminal.transcript_text import UNICODE, speech_text

    return speech_text(turn.get("text", ""), [Quote(**quote) for quote in turn.get("quotes", ())], UNICODE)


def _unchecked(text: str) -> Text:
    """What was written and nobody heard: in it no quotation is checked, so none is marked."""
    shown = _speech({"text": text})
    shown.stylize("dim")
    return shown


def _remark(out: Console, text: str) -> None:
    """A line of ours on a turn, which may quote."""
    from ..terminal.transcript_text import UNICODE, one_line

    _indented(out, Text(one_line(text, UNICODE), "dim"), by=2)


def print_episode(folder: Path, start: str, out: Console, *, reasoning: bool = False) -> None:
    """The transcript of one episode."""
    from ..runs.plan import label_names  # which brings what plays

    record = episode_record(folder, start)
    questions = {line["id"]: Question.from_dict(line) for line in read_lines(folder / "questions.jsonl")}
    question = questions.get(record["question"])
    labels = label_names(record["answers"])
    label_of = {answer: labels[place] for place, answer in enumerate(record["seating"]["labels"])}
    out.print(Rule(safe(f"{record['protocol']} · {record['id'][:8]}", "bold"), align="left"))
    _line(out, f"{_cast(record)} · sample {record['sample']} · question {record['question']}")
    if question is not None:
        out.print()
        _hanging(out, Text(), safe(question.text))
        out.print()
        for answer in record["seating"]["labels"]:
            mark = "  correct" if answer == record["correct"] and record.get("group") != NEITHER else ""
            text = Text.assemble(safe(question.answers[answer]), (mark, "green"))
            _hanging(out, Text(f"  {label_of[answer]}  ", "bold"), text)
    out.print()
    for turn in record["turns"]:
        seat = turn["role"].replace("_", " ").capitalize()
        if turn.get("answer") is not None:
            seat += f" {label_of[turn['answer']]}"
        if turn.get("private"):
            if not reasoning:
                continue
            seat += ", in private"
        out.print(Text.assemble(safe(seat, "bold"), "  ", safe(turn["agent"], "dim")), soft_wrap=True)
        if reasoning and turn.get("reasoning"):
            _remark(out, "private:")
            _indented(out, _unchecked(turn["reasoning"]))
        if "tree" in turn:
            from ..tree import Node
            from .tree_report import drawn, failing_lines

            tree = Node.from_dict(turn["tree"])
            for segments in out.render_lines(drawn(tree), out.options.update_width(max(out.width - 4, 20)), pad=False):
                _indented(out, Text.assemble(*((one.text, one.style or "") for one in segments)))
            # Of arguments that oppose each other one is wrong by design.
            wrong = _gone_wrong(folder, turn) if turn["kind"] == "solution" else []
            for line in (*failing_lines(tree), *wrong):
                _indented(out, safe(line, "red"), by=2)
        elif turn["kind"] == "speech":
            _indented(out, _speech(turn))
        if turn.get("probabilities") is not None:
            verb = "holds" if turn["kind"] == "claim" else "decides"
            shares = _shares(turn["probabilities"], label_of)
            _indented(out, safe(f"{verb}: {shares} (from {turn['elicitation']})"), by=2)
            for one in turn.get("beliefs", ()):
                shown = f"after {one['after']} turn{'s' * (one['after'] != 1)}"
                _remark(out, f"{shown}: {_shares(one['probabilities'], label_of)}")
            for one in turn.get("consulted", ()):
                took = ", taken" if one.get("decided") else ""
                _remark(out, f"asked: {one['agent']} gave {_shares(one['probabilities'], label_of)}{took}")
            for one in turn.get("readings", ()):
                offered = zip(one["options"], one["probabilities"], strict=True)
                _remark(out, f"offered in this order: {', '.join(f'{label} {share:.2f}' for label, share in offered)}")
            if turn.get("text"):
                _indented(out, _speech(turn))
        for one in turn.get("candidates", ()) if reasoning else ():
            score = "" if one["score"] is None else f" {one['score']:.2f}"
            _remark(out, f"candidate, {'given' if one['chosen'] else 'not given'}{score}:")
            _indented(out, _unchecked(one["text"]))
            for name in ("draft", "critique"):
                if one.get(name):
                    _remark(out, f"its {name}:")
                    _indented(out, _unchecked(one[name]))
        if turn.get("seconds"):
            _remark(out, f"took {turn['seconds']:.0f} s")
        for note in turn.get("notes", ()):
            _remark(out, f"note: {note}")
        out.print()
    if record["probabilities"] is None:
        out.print(Text.assemble(("unscored: ", "bold"), safe(record["reason"])))
    else:
        credit = record["credit"]
        word = "correct" if credit == 1 else "wrong" if credit == 0 else "a tie"
        if record.get("group") == NEITHER:
            word = NEITHER
        out.print(Text.assemble(("verdict: ", "bold"), f"{_shares(record['probabilities'], label_of)}: {word}"))
    if record.get("judge_score") is not None:
        _line(out, f"judge's score: {record['judge_score']:+.2f} bits")
    for seat in record.get("switched", ()):
        _line(out, f"{seat} argued for another answer than its own; its notes say where")
    private = sum(bool(turn.get("reasoning")) for turn in record["turns"])
    if private and not reasoning:
        _line(out, f"private reasoning of {private} turns is not shown: --reasoning shows it")
    drafts = sum(bool(turn.get("private")) + len(turn.get("candidates", ())) for turn in record["turns"])
    if drafts and not reasoning:
        _line(out, f"{drafts} drafts and candidates are not shown: --reasoning shows them")


def _gone_wrong(folder: Path, turn: dict[str, Any]) -> list[str]:
    """Where in a tree an answer went wrong, as far as the run's arena can tell."""
    if "tree" not in turn:
        return []
    from ..runs.recordings import arena_of_run
    from ..tree import Node, first_wrong

    try:
        arena = arena_of_run(folder, registered=True)  # to look at a run is not to run what it names
    except (ConfigurationError, KeyError):  # it was an object in Python, say
        return []

    def right(question: str, answer: str) -> bool | None:
        part = arena.part(question)
        return None if part is None else part.truth == answer

    lines = []
    for path, node in first_wrong(Node.from_dict(turn["tree"]), right):
        truth = arena.part(node.question)
        place = f"part {path}" if path else "the question itself"
        lines.append(f"went wrong at {place}: {truth.truth if truth is not None else 'another answer'} is right")
    return lines


def _shares(probabilities: Sequence[float], label_of: dict[int, str]) -> str:
    return ", ".join(
        f"{label} {probabilities[answer]:.2f}" for answer, label in sorted(label_of.items(), key=lambda item: item[1])
    )


def print_presets(out: Console) -> None:
    """The presets: where they come from, their protocols, and what is not as in the paper."""
    from ..presets import PRESETS
    from ..runs.api import preset_protocols

    for preset in PRESETS.values():
        out.print(Text.assemble((preset.name, "bold"), "  ", preset.source), soft_wrap=True)
        for protocol in preset_protocols(preset.name, {}):
            plain = protocol.model_copy(update={"label": ""})
            out.print(Text(f"    {plain.title}"), soft_wrap=True)  # in one line, to be copied
        if preset.answers is not None:
            _indented(out, Text(f"{preset.answers} answers a question"))
        for one in preset.differs:
            _indented(out, Text(f"not as in the paper: {one}"))


def _print_overseers(out: Console) -> None:
    """What can be named wherever a model can and is none: people, what stands for them, and cascades."""
    from ..agents.cascade import CascadeOptions
    from ..agents.proxies import PROXIES, ProxyOptions

    out.print(Text.assemble(("human", "bold"), "  a person at the terminal"), soft_wrap=True)
    out.print(Text.assemble(("proxy/NAME", "bold"), "  a stand-in for a person, with a stated error"), soft_wrap=True)
    for name, proxy in PROXIES.items():
        summary = (proxy.__doc__ or "").strip().splitlines()[0].replace("``", "")
        _indented(out, Text(f"proxy/{name}: {summary[:1].lower()}{summary[1:]}"))
    for option, field in ProxyOptions.model_fields.items():
        _indented(out, Text(f"{option}: {field.description or ''}"))
    written = "cascade(JUDGE,...,human)"
    about = "  judges in order, each deciding what it is sure enough of; the rest goes on"
    out.print(Text.assemble((written, "bold"), about), soft_wrap=True)
    for option, field in CascadeOptions.model_fields.items():
        _indented(out, Text(f"{option}: {field.description or ''} (default {field.default})"))


def print_names(what: str, out: Console) -> None:
    """What can be named: protocols and arenas with their options, models with what they need."""
    from ..registry import registered

    for name, entry in registered(what).items():
        found = entry.load()
        summary = (found.__doc__ or "").strip().splitlines()
        title = summary[0].replace("``", "") if summary else ""
        if title.startswith(f"{name}/"):  # a model's summary begins with the way it is written
            written, _, title = title.partition(": ")
            name = written
        out.print(Text.assemble((name, "bold"), "  ", title), soft_wrap=True)
        for option, field in getattr(found, "model_fields", {}).items():
            default = "required" if field.is_required() else f"default {field.default}" if field.default != "" else ""
            choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
            notes = "; ".join(filter(None, [", ".join(map(str, choices)), default]))
            _indented(out, Text(f"{option}: {field.description or ''}" + (f" ({notes})" if notes else "")))
        if getattr(found, "agents_help", ""):
            _indented(out, Text(f"agents: {found.agents_help}"))
    if what == "models":
        _print_overseers(out)
    _line(out, f"Your own: path/to/file.py:Name, or an entry point in the group oversight.{what}.")
