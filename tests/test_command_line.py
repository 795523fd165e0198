"""The command line, as a person meets it: what it prints, what it refuses, how it stops."""

from __future__ import annotations

import ast
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from oversight import run
from oversight.cli import COMMANDS, main
from oversight.report import terminal as reports
from oversight.report.terminal import print_episodes, print_plan, print_run
from oversight.runs.api import carry_out, plan_tournament
from oversight.runs.directory import read_episodes

HERE = Path(__file__).parent
TINY = HERE / "tiny.py"
_specification = importlib.util.spec_from_file_location("oversight_test_tiny", TINY)
tiny = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(tiny)
SUMS, THINKER, SECOND, THIRD = (f"{TINY}:{name}" for name in ("Sums", "Thinker", "Second", "Third"))
CAST = ("--arena", SUMS, "--debater", THINKER, "--judge", SECOND)


def oversight(*words, timeout=60, **environment):
    """The command in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return subprocess.run(
        [sys.executable, "-m", "oversight.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**clean, **environment},
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The run directory of a small debate, made by the command itself."""
    path = tmp_path_factory.mktemp("logs") / "debate"
    ended = oversight("run", "debate(rounds=1)", *CAST, "--limit", 3, "--seed", 1, "--log-dir", path)
    assert ended.returncode == 0, ended.stderr
    return path


@pytest.fixture(scope="module")
def tournament(tmp_path_factory):
    """The run directory and the output of a small tournament."""
    path = tmp_path_factory.mktemp("logs") / "tournament"
    ended = oversight(
        "tournament",
        SUMS,
        "--agents",
        f"{THINKER},{SECOND}",
        "--protocols",
        "direct,debate(rounds=1)",
        "--limit",
        3,
        "--log-dir",
        path,
    )
    assert ended.returncode == 0, ended.stderr
    return path, ended


# ---- help ---------------------------------------------------------------------------------------


def test_help_lists_every_command():
    """The overview names each command and shows an example; asking for nothing gives it too."""
    ended, bare = oversight("--help"), oversight()
    assert ended.returncode == bare.returncode == 0
    assert ended.stdout == bare.stdout
    listed = re.findall(r"^  (\w+)  ", ended.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)
    assert "example:" in ended.stdout
    assert ended.stderr == ""


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(command, capsys):
    """An example that begins with the command itself, and no option without an explanation."""
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert re.search(rf"example:\n  oversight {command} \S", text)
    assert not re.search(r"^  --[\w-]+( [A-Z]+)?\n  -", text, re.MULTILINE)


def test_help_of_a_protocol_and_an_arena_shows_their_options(capsys):
    """Roles and options become options of the command, also where one of them must be given."""
    with pytest.raises(SystemExit):
        main(["run", "debate", "--arena", SUMS, "--help"])
    text = capsys.readouterr().out
    for option in ("--debater", "--judge", "--rounds", "--style simultaneous|sequential", "--count", "--cost-limit"):
        assert option in text
    with pytest.raises(SystemExit) as ended:
        main(["run", f"{TINY}:Talk", "--help"])
    assert ended.value.code == 0
    assert "--times" in capsys.readouterr().out


HEAVY = ("torch", "transformers", "matplotlib", "pyspiel", "langgraph", "openai", "scipy", "numpy", "pydantic", "rich")
HEAVY += ("networkx", "aiohttp", "httpx", "sklearn", "pandas", "filelock")

HELPS = """
from oversight.cli import COMMANDS, main
from oversight.cli.train import TRAININGS
for words in [[name] for name in COMMANDS] + [["train", name] for name in TRAININGS]:
    if words[1:] not in (["agent"], ["reward_model"]):  # whose options stand with what they are options of
        try:
            main([*words, "--help"])
        except SystemExit:
            pass
"""


def helps(*words):
    """Code that asks for the help of a command."""
    return f"from oversight.cli import main\ntry:\n    main({[*words, '--help']})\nexcept SystemExit:\n    pass"


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("import oversight", ()),
        ("from oversight.cli import main\nmain(['--help'])\nmain(['--version'])", ()),
        (HELPS, ()),
        (helps("run", "debate"), ("pydantic",)),
        (helps("tournament", "connect_four"), ("pydantic",)),
        (helps("check", "debate"), ("pydantic",)),
        (helps("train", "agent"), ("numpy", "pydantic", "rich")),
        (helps("train", "reward_model"), ("numpy", "pydantic", "rich")),
        ("from oversight.cli import main\nmain(['list', 'protocols'])", ("numpy", "pydantic", "rich")),
    ],
    ids=["import", "help", "every help", "run", "tournament", "check", "agent", "reward model", "list"],
)
def test_nothing_heavy_is_loaded_before_it_is_used(code, needed):
    """Whoever asks what there is and how it is written waits for none of the large packages."""
    script = f"{code}\nimport sys\nprint('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    loaded = ended.stdout.splitlines()[-1]
    assert loaded.startswith("LOADED [")
    assert set(ast.literal_eval(loaded.removeprefix("LOADED "))) <= set(needed)


def test_help_on_a_protocol_of_ones_own_that_never_ends_is_one_line(tmp_path, capsys):
    """Its graph is looked at before its roles are asked for, as it is not for those that come with the library."""
    path = tmp_path / "mine.py"
    path.write_text(
        "from oversight.protocol import Judge, Protocol\n\n\n"
        "class Mine(Protocol):\n    name = 'mine'\n    judge = Judge()\n\n"
        "    def graph(self, answers):\n        return self.judge.decides() >> self.graph(answers)\n"
    )
    with pytest.raises(SystemExit) as ended:
        main(["run", f"{path}:Mine", "--help"])
    assert ended.value.code == 0
    assert "--arena" in capsys.readouterr().out


# ---- what is refused ----------------------------------------------------------------------------

PARTS = ("decomposer", "solver", "combiner", "judge")
REFUSED = [
    (["rnu"], "unknown command 'rnu': did you mean 'run'?"),
    (["run", "debte", *CAST], "unknown protocol 'debte': did you mean 'debate'?"),
    (["run", "debate", "--arena", "pasage"], "unknown arena 'pasage': did you mean 'passage'?"),
    (["run", "debate", "--arena", SUMS, "--debater", "opanai/x", "--judge", SECOND], "did you mean 'openai/...'?"),
    (["run", "debate", *CAST, "--round", "2"], "unknown option '--round': did you mean '--rounds'?"),
    (
        ["run", "factored_verification", *CAST, "--critic", SECOND],
        "--critic: protocol factored_verification has no critic; it has one with --candidates 2 or --refine",
    ),
    (
        ["run", "decomposition", *CAST[:2], *(f"--{role}=x" for role in (*PARTS, "checker"))],
        "--checker: protocol decomposition has no checker; it has one with --validated",
    ),
    (["run", "debate", *CAST, "--critic", SECOND], "unknown option '--critic'"),
    (["run", "debate", *CAST, "--log-dri", "x"], "unknown option '--log-dri': did you mean '--log-dir'?"),
    (["run", "direct", "--arena", SUMS, "--judge", "openai/gpt-4o"], "OPENAI_API_KEY"),
    (["run", "direct", "--arena", "passage", "--judge", "scripted/first"], "passage needs the option 'data'"),
    (["run", "direct", "--arena", "passage", "--data", "/no/such", "--judge", SECOND], "/no/such: no such file"),
    (["run", "debate", *CAST, "--rounds", "zero"], "option 'rounds' = 'zero'"),
    (["run", "debate", *CAST, "--rounds", "0"], "option 'rounds' = '0'"),
    (["run", "debate", *CAST, "--style", "loud"], "option 'style' = 'loud'"),
    (["run", "debate(rounds=", *CAST], "cannot read 'debate(rounds=': write a name, or name(option=value, ...)"),
    (["run", "debate(rounds)", *CAST], "write option=value"),
    (["run", f"{TINY}:Leak", "--arena", SUMS, "--judge", SECOND], "'leak' does not pass its check"),
    (["run", f"{TINY}:Endless", "--arena", SUMS, "--speaker", SECOND], "this path has no verdict"),
    (["run", f"{TINY}:Tolk", "--arena", SUMS], "did you mean 'Talk'?"),
    (["run", f"{TINY}:Talk", "--arena", SUMS, "--speaker", SECOND, "--judge", SECOND], "needs the option 'times'"),
    (["run", "nowhere.py:Mine", *CAST], "nowhere.py: no such file"),
    (["run", "debate", "--arena", SUMS, "--debater", THINKER], "required: --judge"),
    (["run", "--arena", SUMS, "debate"], "write the protocol first: oversight run PROTOCOL"),
    (["run"], "write the protocol first"),
    (["run", "debate", *CAST, "--limit", "0"], "--limit"),
    (["run", "debate", *CAST, "--limit", "many"], "--limit"),
    (["run", "debate", *CAST, "--answers", "1"], "--answers 1"),
    (["run", "debate", *CAST, "--cost-limit", "nan"], "--cost-limit nan"),
    (["run", "debate", *CAST, "--price", "cheap"], "write MODEL=IN,OUT"),
    (["run", "debate", *CAST, "--price", "tiny=1,2"], "unknown model in --price 'tiny'"),
    (["run", "debate", *CAST, "--base-url", "localhost:80"], "an address starts with http:// or https://"),
    (["run", "debate", *CAST, "more"], "unexpected 'more'"),
    (["tournament", SUMS], "give --agents A,B,..."),
    (["tournament", SUMS, "--agents", THINKER, "--protocols", "direct,debat"], "did you mean 'debate'?"),
    (["tournament", SUMS, "--agents", f"{THINKER},'x"], "a parenthesis or quote is not closed"),
    (["tournament", SUMS, "--agents", THINKER, "--pairs", "some"], "--pairs"),
    (["tournament"], "write the arena first"),
    (["gap", "/nowhere"], "/nowhere: not a run directory"),
    (["gap", "/nowhere", "--json"], "/nowhere: not a run directory"),
    (["gap"], "LOGDIR"),
    (["show", "/nowhere"], "/nowhere: not a run directory"),
    (["show", "/nowhere", "abc"], "/nowhere: not a run directory"),
    (["check", "debte"], "did you mean 'debate'?"),
    (["check", "debate", "--picture", "debate.gif"], ".png or a .svg"),
    (["list", "protocol"], "did you mean 'protocols'?"),
]


@pytest.mark.parametrize(("words", "said"), REFUSED, ids=[" ".join(words)[:60] for words, _ in REFUSED])
def test_what_cannot_be_done_is_one_line(words, said, capsys, monkeypatch, tmp_path):
    """One line on standard error that says what to do; status 2; no file is made."""
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("oversight: error: ")
    assert printed.err.count("\n") == 1
    assert said in printed.err
    if words[0] != "check":
        assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["run", "debte"], ["shwo"], ["gap", "/nowhere"]])
def test_refusals_of_the_real_command(words):
    """As a process: the same line, status 2, and no traceback."""
    ended = oversight(*words)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert re.fullmatch(r"oversight: error: [^\n]+\n", ended.stderr)


def test_a_message_is_one_line_whatever_it_quotes(tmp_path, capsys):
    """Line ends and terminal control in what a message quotes do not reach the terminal."""
    assert main(["run", "debate", "--arena", "a\x1b[31m\nb", "--debater", "x"]) == 2
    printed = capsys.readouterr().err
    assert "\x1b" not in printed
    assert printed.count("\n") == 1


def test_a_file_that_is_malformed_is_named_with_its_line(tmp_path, capsys):
    """The line and what was expected there."""
    path = tmp_path / "quality.jsonl"
    path.write_text('{"article_id": "1"\n')
    assert main(["run", "direct", "--arena", "passage", "--data", str(path), "--judge", "scripted/first"]) == 2
    assert f"{path}, line 1" in capsys.readouterr().err


# ---- runs ---------------------------------------------------------------------------------------


def test_a_run_prints_accuracy_and_where_the_transcripts_are(folder, capsys):
    """Repeated, the finished run is only read again."""
    before = (folder / "episodes.jsonl").read_bytes()
    assert main(["run", "debate(rounds=1)", *CAST, "--limit", "3", "--seed", "1", "--log-dir", str(folder)]) == 0
    printed = capsys.readouterr()
    assert "accuracy" in printed.out
    assert f"oversight show {folder}" in printed.out
    assert "0 episodes to play, 6 finished before" in printed.err
    assert (folder / "episodes.jsonl").read_bytes() == before


def test_options_and_parentheses_are_the_same_protocol(folder, capsys):
    """``--rounds 1`` and ``debate(rounds=1)`` find the same run."""
    words = ["run", "debate", "--rounds", "1", *CAST, "--limit", "3", "--seed", "1", "--log-dir", str(folder)]
    assert main(words) == 0
    assert "0 episodes to play, 6 finished before" in capsys.readouterr().err


def test_a_users_protocol_runs(tmp_path, capsys):
    """A protocol from a file, with an option that must be given."""
    words = ["run", f"{TINY}:Talk", "--times", "2", "--arena", SUMS, "--count", "2", "--speaker", THINKER]
    assert main([*words, "--judge", THIRD, "--log-dir", str(tmp_path / "run")]) == 0
    assert "talk(times=2)" in capsys.readouterr().out.replace("\n", "")
    assert len(list(read_episodes(tmp_path / "run"))) == 4


def test_another_run_in_the_directory_is_one_line(folder, capsys):
    """The difference is shown, status 2."""
    assert main(["run", "debate(rounds=1)", *CAST, "--limit", "3", "--seed", "2", "--log-dir", str(folder)]) == 2
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 1
    assert "seed: 1 there, 2 here" in printed[0]


def test_a_dry_run_makes_nothing(tmp_path, monkeypatch, capsys):
    """The plan is printed; no directory is made and no turn is taken."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OVERSIGHT_TEST_CALLS", str(tmp_path / "calls"))
    assert main(["run", "debate", *CAST, "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "8 questions from 4 sources" in printed.out
    assert re.search(r"debater .*\b96\b", printed.out)
    assert re.search(r"judge .*\b16\b", printed.out)
    assert "In all at most $0.00." in printed.out
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_directory_finds_its_own_again(tmp_path, monkeypatch, capsys):
    """The default directory follows from the configuration, so the same command resumes."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["run", "direct", "--arena", SUMS, "--judge", SECOND, "--limit", "2"]) == 0
    assert len(list((tmp_path / "logs").iterdir())) == 1
    assert main(["run", "direct", "--arena", SUMS, "--judge", SECOND, "--limit", "2", "--seed", "4"]) == 0
    assert len(list((tmp_path / "logs").iterdir())) == 2
    capsys.readouterr()


def test_control_c_keeps_what_is_finished(tmp_path):
    """SIGINT ends the run with status 130 and one line; the same command finishes it."""
    path = tmp_path / "run"
    words = ["run", "debate", *CAST, "--max-connections", "2", "--log-dir", str(path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "oversight.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OVERSIGHT_TEST_DELAY": "0.04"},
    )
    try:
        deadline = time.monotonic() + 40
        while not (path / "episodes.jsonl").exists() or (path / "episodes.jsonl").read_bytes().count(b"\n") < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == "oversight: stopped; what is finished is kept, repeat the command to go on"
    assert output == ""
    before = (path / "episodes.jsonl").read_bytes()
    assert 3 <= before.count(b"\n") < 16
    assert before.endswith(b"\n")
    ended = oversight(*words)
    assert ended.returncode == 0
    assert (path / "episodes.jsonl").read_bytes().startswith(before)
    assert len(list(read_episodes(path))) == 16


# ---- gap ----------------------------------------------------------------------------------------


def test_gap_as_json(tournament):
    """Valid JSON with the documented keys, whatever could not be estimated is null."""
    path, _ = tournament
    ended = oversight("gap", path, "--json")
    assert ended.returncode == 0
    assert ended.stderr == ""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    found = json.loads(ended.stdout, parse_constant=refuse)
    assert {"cells", "fits"} <= set(found)
    keys = {"protocol", "debater", "judge", "capability_gap", "accuracy", "low", "high", "n", "unscored"}
    assert all(set(cell) == keys for cell in found["cells"])
    assert all({"protocol", "slope", "slope_low", "slope_high", "p_value"} <= set(fit) for fit in found["fits"])
    cells = {(cell["protocol"], cell["debater"], cell["judge"]) for cell in found["cells"]}
    assert cells == {
        *(("direct", None, judge) for judge in (THINKER, SECOND)),
        *(("debate(rounds=1)", debater, judge) for debater in (THINKER, SECOND) for judge in (THINKER, SECOND)),
    }
    debates = [cell for cell in found["cells"] if cell["debater"] is not None]
    assert all(isinstance(cell["capability_gap"], float) and cell["n"] == 6 for cell in debates)
    assert {fit["protocol"] for fit in found["fits"]} == {"direct", "debate(rounds=1)"}


def test_a_tournament_ends_in_its_table_and_pictures(tournament):
    """The table, the fits and the plot are printed, and pictures lie in the run directory."""
    path, ended = tournament
    for word in ("debate(rounds=1)", "direct", "log-odds"):
        assert word in ended.stdout
    assert (path / "capability.json").is_file()
    if importlib.util.find_spec("matplotlib"):
        assert (path / "gap.png").stat().st_size > 1000
        assert (path / "gap.svg").read_text().lstrip().startswith("<?xml")


def test_a_run_in_which_everything_failed_is_still_reported(tmp_path, capsys):
    """Unscored episodes are counted with their reason, and a script can tell by the exit status; no picture is fine."""
    words = ["tournament", SUMS, "--debaters", f"{TINY}:Silent", "--judges", SECOND, "--protocols", "debate(rounds=1)"]
    assert main([*words, "--limit", "2", "--log-dir", str(tmp_path / "run")]) == 1
    printed = capsys.readouterr()
    assert "4 unscored: tiny/silent said nothing" in printed.out
    assert "no picture: nothing to draw" in printed.err
    assert main(["show", str(tmp_path / "run"), "--unscored"]) == 0
    assert "4 episodes" in capsys.readouterr().out


# ---- show ---------------------------------------------------------------------------------------

GOLDEN = """\
debate(rounds=1) · IDENTITY ────────────────────────────────────────────────────────────────────────
debater tiny/thinker, judge tiny/second · sample 0 · question sum-0

What is 0 + 1?

  A  2
  B  1  correct

Debater A  tiny/thinker
    Debater A, 0 turns heard, draws 1647531126 0. “The old clock struck 1 times.” ✓ and “there is no
    clock” ✗

Debater B  tiny/thinker
    Debater B, 0 turns heard, draws 753933967 0. “The old clock struck 1 times.” ✓ and “there is no
    clock” ✗

Judge  tiny/second
  decides: A 0.27, B 0.73 (from script)

verdict: A 0.27, B 0.73: correct
private reasoning of 3 turns is not shown: --reasoning shows it
"""


def test_an_episode_as_it_is_shown(tmp_path, capsys, monkeypatch):
    """A transcript at width 100: orderings, quotes with their check, the verdict, and no private reasoning."""
    monkeypatch.setenv("COLUMNS", "100")
    settings = {"limit": 1, "seed": 1, "log_dir": tmp_path, "debater": tiny.Thinker(), "judge": tiny.Second()}
    run("debate(rounds=1)", tiny.Sums(), **settings)
    identity = next(record["id"] for record in read_episodes(tmp_path) if record["seating"]["labels"] == [1, 0])
    assert main(["show", str(tmp_path), identity[:8]]) == 0
    shown = capsys.readouterr().out
    assert shown.replace(identity[:8], "IDENTITY") == GOLDEN

    assert main(["show", str(tmp_path), identity, "--reasoning"]) == 0
    private = capsys.readouterr().out
    assert private.count("  private:\n    a secret thought ") == 2
    assert private.count("  private:\n    a hunch\n") == 1
    assert "is not shown" not in private


def test_show_lists_the_episodes(folder, capsys):
    """A line an episode, with its id to be named by."""
    assert main(["show", str(folder)]) == 0
    printed = capsys.readouterr().out
    for record in read_episodes(folder):
        assert record["id"][:8] in printed
    assert "6 episodes" in printed


def test_an_id_that_is_no_episode_gets_the_nearest(folder, capsys):
    """Near one of them it is named; otherwise the list is pointed at; too short an id is said to be."""
    known = [record["id"] for record in read_episodes(folder)]
    wrong = known[3][:7] + ("0" if known[3][7] != "0" else "1")
    assert main(["show", str(folder), wrong]) == 2
    assert f"did you mean '{known[3][:8]}'?" in capsys.readouterr().err
    assert main(["show", str(folder), "zzzz"]) == 2
    assert f"oversight show {folder} lists them" in capsys.readouterr().err
    assert main(["show", str(folder), ""]) == 2
    assert f"6 episodes of {folder} begin with ''" in capsys.readouterr().err


def test_what_an_agent_says_is_inert(tmp_path):
    """Markup is shown as it is written, and terminal control is taken out, also in private reasoning."""
    path = tmp_path / "run"
    words = ["run", "debate(rounds=1)", "--arena", SUMS, "--remark", " [red]x[/red] [/] \x1b[2J", "--debater"]
    assert oversight(*words, f"{TINY}:Colourful", "--judge", SECOND, "--limit", 1, "--log-dir", path).returncode == 0
    identity = next(read_episodes(path))["id"]
    for listing in ([], [identity], [identity, "--reasoning"]):
        ended = oversight("show", path, *listing, COLUMNS="100")
        assert ended.returncode == 0
        assert "\x1b" not in ended.stdout
        assert "\x07" not in ended.stdout
    assert "plain [bold]loud[/bold] [31mred[0m ]0;title end" in ended.stdout
    assert "[red]x[/red] [/] [2J" in ended.stdout
    assert "  private:\n    [red]hm[2J" in ended.stdout


def test_colour_only_where_it_is_wanted(folder):
    """Plain when piped; colour on a terminal; none of it with NO_COLOR."""
    identity = next(read_episodes(folder))["id"]
    colour = re.compile(r"\x1b\[[0-9;]*3[0-7]")
    assert "\x1b" not in oversight("show", folder, identity).stdout
    assert colour.search(oversight("show", folder, identity, FORCE_COLOR="1", TERM="xterm").stdout)
    assert not colour.search(oversight("show", folder, identity, FORCE_COLOR="1", NO_COLOR="1", TERM="xterm").stdout)


# ---- lists and checks ---------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["protocols", "arenas", "models"])
def test_lists_name_everything_registered(what, capsys):
    """Each name with what it is, its options set in, and no blanks at the ends of lines."""
    from oversight.registry import names

    assert main(["list", what]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in names(what):
        assert any(re.match(rf"{name}(/[A-Z_]+)?  \S", line) for line in lines)
    assert all(line == line.rstrip() for line in lines)
    assert "``" not in "".join(lines)


def test_check_draws_a_sound_protocol_and_finds_what_is_not(capsys):
    """Status 0 and the word ``sound``, or 1 and the finding."""
    assert main(["check", "debate", "--rounds", "2"]) == 0
    printed = capsys.readouterr().out
    assert "repeat 2 times" in printed
    assert "sound:" in printed
    assert main(["check", f"{TINY}:Leak"]) == 1
    printed = capsys.readouterr().out
    assert "finding:" in printed
    assert "sound:" not in printed


def test_a_run_is_run_again_from_its_own_directory(tmp_path, capsys):
    """run.json holds the command: the same episodes come out of it, in another directory."""
    words = ["run", "direct", "--arena", f"{TINY}:Sums", "--judge", "scripted/first", "--limit", "2"]
    assert main([*words, "--log-dir", str(tmp_path / "one")]) == 0
    assert main(["rerun", str(tmp_path / "one"), "--log-dir", str(tmp_path / "two")]) == 0
    one, two = (sorted(record["id"] for record in read_episodes(tmp_path / name)) for name in ("one", "two"))
    assert one == two
    assert len(one) == 4
    assert main(["rerun", str(tmp_path), "--log-dir", str(tmp_path / "three")]) == 2


# ---- names that are long ------------------------------------------------------------------------


def test_on_a_terminal_words_stay_whole_and_so_do_lines_with_a_command():
    """What a terminal would cut inside a word is wrapped before it; in a pipe, and to be copied, a line is a line."""
    prose = "the accuracy of the judges may depend on the stories"
    command = "transcripts: oversight show a/folder/with/a/long/name"
    for terminal, lines in ((True, ["the accuracy of the", "judges may depend on", "the stories"]), (False, [prose])):
        out = reports._Words(file=io.StringIO(), force_terminal=terminal, width=20, color_system=None)
        out.print(prose, soft_wrap=True)
        assert [line.rstrip() for line in out.file.getvalue().splitlines()] == lines
        out = reports._Words(file=io.StringIO(), force_terminal=terminal, width=20, color_system=None)
        out.print(command, soft_wrap=True)
        assert out.file.getvalue().splitlines() == [command]


def test_an_error_is_one_line_in_a_pipe_and_wrapped_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["show", "no/such/folder", "an-episode"]) == 2
    piped = capsys.readouterr().err
    assert piped.count("\n") == 1
    assert len(piped) > 40
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["show", "no/such/folder", "an-episode"]) == 2
    wrapped = capsys.readouterr().err
    assert max(map(len, wrapped.splitlines())) <= 40
    assert wrapped.split() == piped.split()


def test_a_gap_before_capability_is_measured_says_so(tournament, tmp_path, capsys):
    """A tournament that was stopped is told from a run that measures none."""
    folder = tmp_path / "stopped"
    shutil.copytree(tournament[0], folder)
    (folder / "capability.json").unlink()
    assert main(["gap", str(folder)]) == 0
    assert "Capability is not measured yet" in " ".join(capsys.readouterr().out.split())


def test_long_names_are_folded_and_never_cut(tmp_path):
    """At 80 columns agents that differ in their last letter stay two, in the plan and in every table of the result."""
    agents = [tiny.Thinker(), tiny.Thinker()]
    for agent, last in zip(agents, "xy", strict=True):
        agent.name = f"a/model-with-a-very-long-name-indeed-7b-instruct-of-the-year-{last}"
        agent.describe = lambda name=agent.name: {"agent": name}
    plan = plan_tournament(tiny.Sums(), agents, ["debate(rounds=1)"], limit=2, seed=1)
    out = Console(width=80, highlight=False)
    printed = []
    with out.capture() as captured:
        print_plan(plan, tmp_path / "run", out)
    printed.append(captured.get())
    result = carry_out(plan, tmp_path / "run")
    for show in (lambda: print_run(result, out), lambda: print_episodes(tmp_path / "run", out)):
        with out.capture() as captured:
            show()
        printed.append(captured.get())
    for text in printed:
        assert "…" not in text
        # What is left of either name on its last line ends in its own letter.
        assert any(re.search(r"(^|\s|-|[a-z])x(\s|,|$)", line) for line in text.splitlines())
        assert any(re.search(r"(^|\s|-|[a-z])y(\s|,|$)", line) for line in text.splitlines())
