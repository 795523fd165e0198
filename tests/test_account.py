"""What calls cost by role and model: while a run runs, however it ends, and afterwards."""

from __future__ import annotations

import importlib.util
import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from oversight.cli import main
from oversight.runs.progress import MOST_LINES, Lines, Live, _shortened
from oversight.runs.spending import Spending, acting_as, in_all, summed
from oversight.transcript import Usage

HERE = Path(__file__).parent


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


endpoints, terminals = _load("endpoint"), _load("pseudo_terminal")

REPLY = {"decided": True, "usage": (100, 50), "delay": 0.05}
MODELS = "vllm/a-model-with-a-long-name-7b-instruct", "vllm/a-model-with-a-long-name-70b-instruct"


@pytest.fixture(scope="module")
def endpoint():
    with endpoints.running() as running:
        yield running


def words(endpoint, folder, *more):
    """A run of 60 debates of one round: 120 speeches at 0.2 dollars, and as many verdicts at 0.1."""
    command = [sys.executable, "-m", "oversight.cli", "run", "debate(rounds=1)", "--arena", f"{HERE / 'tiny.py'}:Sums"]
    command += ["--debater", f"{MODELS[0]}(orders=one)", "--judge", f"{MODELS[1]}(orders=one)", "--limit", "60"]
    command += ["--no-swap", "--max-connections", "4", "--base-url", endpoint.base_url, "--log-dir", folder]
    for model, price in zip(MODELS, ("1000,2000", "500,1000"), strict=True):
        command += ["--price", f"{model}(orders=one)={price}"]
    return [*map(str, command), *map(str, more)]


def shown(folder, capsys):
    """What ``oversight show --json`` prints of a run."""
    assert main(["show", str(folder), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_that_the_cost_limit_ends_has_its_account(endpoint, tmp_path, capsys):
    """On standard error, above the one line that says why; what the endpoint has billed is what is printed."""
    endpoint.answer({"status": 500, "json": {}, "headers": {"retry-after-ms": "1"}}, then=REPLY)
    command = words(endpoint, tmp_path / "run", "--cost-limit", "6")
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    said = ended.stderr.splitlines()
    assert said[-1].startswith("oversight: error: the next call to")
    assert sum(line.startswith("oversight: error") for line in said) == 1
    table = "\n".join(said[:-1])
    assert "cacheable" in table
    assert "1 try repeated: 1 × 500" in said[-2]
    assert len(max(said[:-1], key=len)) <= 80
    found = shown(tmp_path / "run", capsys)["spending"]
    served = [request["body"]["model"] for request in endpoint.requests() if request["served"]]
    by_role = {line["role"]: line for line in found["lines"]}
    assert by_role["debater"]["calls"] == served.count("a-model-with-a-long-name-7b-instruct")
    assert by_role["judge"]["calls"] == served.count("a-model-with-a-long-name-70b-instruct")
    assert found["total"]["dollars"] == pytest.approx(
        0.2 * by_role["debater"]["calls"] + 0.1 * by_role["judge"]["calls"]
    )
    assert found["total"]["calls"] == len(served)
    assert f"{found['total']['dollars']:,.4f}" in table
    # A start that asks nothing prints no account: what there is belongs to the earlier one.
    none_left = words(endpoint, tmp_path / "run", "--cost-limit", "0.01")
    again = subprocess.run(none_left, capture_output=True, text=True, timeout=120, check=False)
    assert again.stderr.splitlines()[-1].startswith("oversight: error: the next call to")
    assert "cacheable" not in again.stderr
    assert len(shown(tmp_path / "run", capsys)["spending"]["starts"]) == 1


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "a batch system"])
def test_a_run_that_is_interrupted_has_its_account_and_show_adds_up_all_starts(endpoint, tmp_path, capsys, stop):
    """After Ctrl-C as after the end; ``oversight show`` prints the sum, and with --json every start."""
    endpoint.answer(then=REPLY)
    command = words(endpoint, tmp_path / "run")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 60
        file = tmp_path / "run" / "episodes.jsonl"
        while not file.exists() or file.read_bytes().count(b"\n") < 3:
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(stop)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    assert "cacheable" in errors
    assert errors.splitlines()[-1] == "oversight: stopped; what is finished is kept, repeat the command to go on"
    first = shown(tmp_path / "run", capsys)["spending"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "in 2 starts that called models" in ended.stdout
    found = shown(tmp_path / "run", capsys)
    assert found["episodes"] == {"scored": 60, "unscored": 0}
    assert found["spending"]["starts"][0] == first["starts"][0]
    assert found["spending"]["total"]["calls"] == 180  # none was made twice
    assert len(endpoint.requests()) == 180
    assert main(["show", str(tmp_path / "run"), "--limit", "1"]) == 0
    assert "in 2 starts that called models" in capsys.readouterr().out


def test_a_run_that_an_error_ends_has_its_account(endpoint, tmp_path):
    """Here the journal is broken while it runs."""
    endpoint.answer(then={**REPLY, "delay": 0.2})
    command = words(endpoint, tmp_path / "run")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 60
        while not (tmp_path / "run" / "episodes.jsonl").exists() or not (
            tmp_path / "run" / "episodes.jsonl"
        ).read_bytes().count(b"\n"):
            assert time.monotonic() < end
            time.sleep(0.02)
        time.sleep(1.5)  # the account is written once a second
        with sqlite3.connect(tmp_path / "run" / "journal.sqlite", timeout=30) as journal:
            journal.execute("ALTER TABLE calls RENAME TO others")
        journal.close()
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert output == ""
    assert "cacheable" in errors
    assert errors.splitlines()[-1].startswith("oversight: error: ")


def test_show_lists_episodes_where_the_account_cannot_be_read(tmp_path, capsys):
    """A journal that is none hides no episode, which is in another file."""
    import oversight

    oversight.run("direct", "arithmetic", judge="scripted/first", limit=2, log_dir=tmp_path / "run")
    assert shown(tmp_path / "run", capsys)["spending"]["starts"] == []
    for left in (tmp_path / "run").glob("journal.sqlite*"):
        left.write_bytes(b"no journal at all" * 100)
    assert main(["show", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    assert "4 episodes" in printed
    assert "what its calls cost cannot be told" in printed


def test_an_episode_as_json_is_its_record(tmp_path, capsys):
    """The whole of it, found by the beginning of its id."""
    import oversight

    result = oversight.run("direct", "arithmetic", judge="scripted/first", limit=1, log_dir=tmp_path / "run")
    record = next(result.episodes())
    assert main(["show", str(tmp_path / "run"), record["id"][:12], "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == record


# ---- while it runs --------------------------------------------------------------------------------


def test_a_terminal_shows_the_account_as_it_grows(endpoint, tmp_path):
    """Below the bar, a line a role and model and their sum; in place, and not line after line."""
    endpoint.answer(then={**REPLY, "delay": 0.2})
    with terminals.Terminal(*words(endpoint, tmp_path / "run")) as terminal:
        terminal.until("in all", seconds=60)
        first = terminal.text
        terminal.until("60/60", seconds=90)
        assert "debater  vllm/" in first
        assert first.count("in all") == 1
        rows = [line for line in terminal.text.splitlines() if line.startswith(("debater", "judge", "in all"))]
        assert len(rows) >= 3
        # Both names are shortened, and are still two.
        assert rows[0].split()[1] != rows[1].split()[1]
        assert "120 calls" in rows[0]
        assert "60 calls" in rows[1]


def filled(lines):
    """An account of so many roles of one model, each dearer than the one before."""
    spending = Spending()
    for number in range(lines):
        with acting_as(f"role {number}"):
            spending.paid("m", Usage(1, 10, 5, 0.5 * (number + 1)))
    return spending


def test_many_roles_are_summed_up():
    """The dearest keep a line of their own, in the order of their first calls; the others are one line."""
    out = Console(width=80, force_terminal=True, color_system=None)
    live = Live(out)
    spending = filled(2 * MOST_LINES)
    live.account(spending)
    with out.capture() as captured:
        for renderable in live._bar.get_renderables():
            out.print(renderable)
    rows = [line.rstrip() for line in captured.get().splitlines() if line.strip()]
    listed = [row.split("  ")[0] for row in rows]
    first = 2 * MOST_LINES - (MOST_LINES - 1)
    expected = [f"role {number}" for number in range(first, 2 * MOST_LINES)]
    assert listed == [*expected, f"{first} others", "in all"]
    assert f"${in_all(spending.lines).dollars:,.4f}" in rows[-1]
    assert max(map(len, rows)) <= 80


def test_a_log_has_a_line_now_and_then():
    """Where nobody watches, what each role has cost stands in the line of the progress."""
    out = Console(width=200, color_system=None)
    lines = Lines(out)
    with out.capture() as captured:
        lines.account(filled(2))
        lines.start(3, 0)
        lines.finished({"status": "scored"}, 0.0, Usage(), 0)
        lines.stop()
    assert "30 tokens, $1.5000 (role 0 $0.5000, role 1 $1.0000)" in captured.get()
    assert len(captured.get().splitlines()) == 2
    assert "1/3 episodes, " in captured.get()
    assert "s left" in captured.get()
    with out.capture() as captured:  # with nothing finished there is nothing to go by
        lines.start(3, 0)
        lines.stop()
    assert "0/3 episodes, " in captured.get()
    assert "s left" not in captured.get()


@given(st.sets(st.text(st.sampled_from("ab/-"), max_size=60), max_size=8), st.integers(4, 40))
def test_shortened_names_stay_apart(names, most):
    """However long and alike names are, no two become one, and one that is short enough stays as it is."""
    short = _shortened(names, most)
    assert short.keys() == names
    assert len(set(short.values())) == len(names)
    assert all(short[name] == name for name in names if len(name) <= most)


def test_starts_add_up_by_role_and_model():
    """Each line once, whatever the order of the starts' first calls."""
    first, second = filled(2).lines, filled(3).lines
    found = summed([first, second])
    assert [(line.role, line.calls, line.dollars) for line in found] == [
        ("role 0", 2, 1.0),
        ("role 1", 2, 2.0),
        ("role 2", 1, 1.5),
    ]
    assert [line.calls for line in first] == [1, 1]  # what was added up stays as it was
    assert in_all(found).calls == 5
