"""The arena program: its truth, what its programs tell; and the sandbox, with programs that try to cheat it."""

from __future__ import annotations

import ast
import math
import random
import re
import time
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oversight
from oversight import sandbox
from oversight.agents import ScriptedAgent
from oversight.arenas.program import FAMILIES, Program, draw_draft, verify
from oversight.errors import ConfigurationError, UnknownName
from oversight.registry import find_agent, find_arena
from oversight.sandbox import Outcome, run_function


def outcome(source, argument=1, **limits):
    (found,) = run_function(source, "f", [[argument]], **limits)
    return found


# ---- the sandbox --------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def test_values_come_back_in_order():
    source = "import math\ndef f(a, b=2):\n    return [a, math.gcd(a, b)]"
    assert run_function(source, "f", [[4], [6, 3], []]) == [
        Outcome([4, 2]),
        Outcome([6, 3]),
        Outcome(error="raised TypeError"),
    ]
    assert run_function(source, "f", []) == []


def test_every_json_value_survives():
    values = [None, True, 1, 1.0, -0.0, 10**30, "é\n\0", [[]], {"a": {}}]
    for value, found in zip(values, run_function("def f(x): return x", "f", [[one] for one in values]), strict=True):
        assert found.equals(value), value


@given(JSON, JSON)
def test_values_are_equal_by_type_too(one, other):
    assert Outcome(one).equals(one)
    if type(one) is not type(other):
        assert not Outcome(one).equals(other)
    assert not Outcome(one, error="raised").equals(one)


def test_one_true_and_one_point_nothing_are_three_values():
    assert not outcome("def f(x): return True").equals(1)
    assert not outcome("def f(x): return 1.0").equals(1)
    assert outcome("def f(x): return (1, 2)").equals([1, 2])  # JSON has no tuples


CHEATS = {
    "print a value": ("def f(x):\n    print(3, flush=True)\n    return 2", Outcome(2)),
    "exit": ("import sys\ndef f(x): sys.exit(0)", "raised SystemExit"),
    "exit on loading": ("raise SystemExit", "raised SystemExit"),
    "leave at once": ("import os\ndef f(x): os._exit(0)", "the process ended before it returned"),
    "kill itself": ("import os\ndef f(x): os.kill(os.getpid(), 9)", "the process ended before it returned"),
    "raise what is no Exception": ("class B(BaseException): pass\ndef f(x): raise B", "raised B"),
    "raise with a name of its own": ("def f(x): raise type('a\\nb: ' + 'c' * 999, (BaseException,), {})", "raised abc"),
    "no such function": ("def g(x): return 1", "raised KeyError"),
    "no Python": ("def f(x) return", "raised SyntaxError"),
    "fork": ("import os\ndef f(x):\n    while True: os.fork()", "raised BlockingIOError"),
    "start threads": (
        "import threading\ndef f(x):\n    while True: threading.Thread(target=print).start()",
        ("raised ImportError", "raised OSError", "raised RuntimeError"),
    ),
    "start threads by hand": (
        "import _thread\ndef f(x):\n    while True: _thread.start_new_thread(print, ())",
        "raised RuntimeError",
    ),
    "fill memory": ("def f(x): return len('a' * 10 ** 9)", "raised MemoryError"),
    "fill memory slowly": ("def f(x):\n    a = []\n    while True: a.append('a' * 10 ** 6)", "raised MemoryError"),
    "read a file": ("def f(x): return open('/etc/hostname').read()", "raised OSError"),
    "write a file": ("def f(x): return open('result', 'w').write('3')", ("raised OSError", "raised PermissionError")),
    "use the network": (
        "import _socket\ndef f(x): return _socket.socket().fileno()",
        ("raised OSError", "raised ImportError"),
    ),
    "run a program": (
        "import os\ndef f(x): return os.posix_spawn('/bin/true', ['true'], {})",
        "raised BlockingIOError",
    ),
    "become a program": (
        "import os\ndef f(x): os.execv('/bin/echo', ['echo', '3'])",
        "the process ended before it returned",
    ),
    "recurse": ("def f(x): return f(x)", "raised RecursionError"),
    "nest deeply": (
        "def f(x):\n    for _ in range(10 ** 5): x = [x]\n    return x",
        "returned what is no JSON value (RecursionError)",
    ),
    "equal everything": (
        "class E:\n    def __eq__(self, other): return True\ndef f(x): return E()",
        "returned what is no JSON value (TypeError)",
    ),
    "equal everything, as a number": (
        "class E(int):\n    def __eq__(self, other): return True\n    def __repr__(self): return '3'\n"
        "def f(x): return E(2)",
        Outcome(2),
    ),
    "not a number": ("def f(x): return float('nan')", "returned what is no JSON value (ValueError)"),
    "a huge number": ("def f(x): return 10 ** 5000", "returned what is no JSON value (ValueError)"),
    "much text": ("def f(x): return 'a' * 10 ** 7", "stopped: more than 1,000,000 bytes of values"),
    "print much": ("def f(x):\n    print('a' * 10 ** 7)\n    return 2", Outcome(2)),
    "write everywhere": (
        "import os\ndef f(x):\n    for number in range(64):\n"
        "        try: os.write(number, b'\\n0 [0, \"returned\", 3]\\n')\n"
        "        except OSError: pass\n    return 2",
        Outcome(2),
    ),
    "write without end": (
        "import os\ndef f(x):\n    while True:\n        for number in range(9):\n"
        "            try: os.write(number, b'3' * 999)\n"
        "            except OSError: pass",
        "stopped: more than 1,000,000 bytes of values",
    ),
    "close everything": (
        "import os\ndef f(x):\n    os.closerange(0, 64)\n    return 2",
        "the process ended before it returned",
    ),
    "patch what is built in": (
        "import builtins, json, os\nfor name in ('len', 'type', 'isinstance', 'enumerate', 'str'):\n"
        "    setattr(builtins, name, lambda *given: 3)\njson.dumps = os.write = lambda *given: 3\ndef f(x): return 2",
        "the process ended before it returned",
    ),
    "raise the limits": (
        "import resource\ndef f(x): resource.setrlimit(resource.RLIMIT_NPROC, (99, 99))",
        ("raised ValueError", "raised OSError"),
    ),
    "see the environment": ("import os\ndef f(x): return 'PATH' in os.environ or 'HOME' in os.environ", Outcome(False)),
    "see the arguments": ("import sys\ndef f(x): return sys.argv", Outcome(["-c"])),
    "be root": ("import os\ndef f(x): return os.getuid() == 0 or os.geteuid() == 0", Outcome(False)),
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_program_says_only_what_it_could_return(name):
    source, wanted = CHEATS[name]
    started = time.monotonic()
    found = outcome(source, seconds=10)
    assert time.monotonic() - started < 9
    if isinstance(wanted, Outcome):
        assert found == wanted
    else:
        assert found.error.startswith(wanted)
        assert found.value is None
        assert "\n" not in found.error
        assert len(found.error) < 100


@pytest.mark.parametrize(
    "source",
    [
        "def f(x):\n    while True: pass",
        "import time\ndef f(x): time.sleep(60)",
        "import _signal\nfor number in range(1, 32):\n    try: _signal.signal(number, _signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\ndef f(x):\n    while True: pass",
        "def f(x):\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
        "import os\ndef f(x):\n    os.closerange(0, 64)\n    while True: pass",
        "while True: pass",
    ],
)
def test_a_program_that_does_not_end_is_ended(source):
    started = time.monotonic()
    found = outcome(source, seconds=0.3)
    assert found.error in ("stopped: more than 0.3 s", "the process ended before it returned")
    assert time.monotonic() - started < 10


def test_inputs_before_the_end_keep_their_values():
    source = "import os\ndef f(x):\n    if x == 2: os._exit(0)\n    return x"
    ended = Outcome(error="the process ended before it returned")
    assert run_function(source, "f", [[0], [1], [2], [3]]) == [Outcome(0), Outcome(1), ended, ended]


def test_a_program_that_finds_the_channel_gains_nothing():
    """It can say 3 in a forged frame, as it could have returned 3; what is expected is not in its process."""
    finds = "import os, sys\nharness = sys._getframe(1).f_globals\ndef f(x):\n"
    forges = "    os.write(harness['replies'], ('\\n' + harness['work']['nonce'] + ' ' + {!r} + '\\n').encode())\n"
    assert outcome(finds + forges.format('[0, "returned", 3]') + "    return 2") == Outcome(3)
    for malformed in (
        '[0, "returned", NaN]',
        "[0, " + "[" * 100_000,
        "[[0], 1, 2]",
        "3",
        '{"0": 3}',
        '[7, "returned", 3]',
    ):
        assert outcome(finds + forges.format(malformed) + "    return 2") == Outcome(2)
    known = outcome(finds + "    return sorted(harness['work'])").value
    assert known == ["inputs", "megabytes", "name", "nonce", "seconds", "source", "user"]


def test_nothing_beside_the_interpreter_is_run_or_imported(tmp_path, monkeypatch):
    mark = tmp_path / "mark"
    for name in ("sitecustomize", "usercustomize", "json", "math", "program"):
        (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "program.py"))
    monkeypatch.chdir(tmp_path)
    assert outcome("import sys\ndef f(x): return 'sitecustomize' in sys.modules").equals(False)
    assert outcome("import sitecustomize\ndef f(x): return 1").error
    assert not mark.exists()


def test_a_process_that_cannot_start_is_no_fault_of_the_program(monkeypatch):
    monkeypatch.setattr(sandbox, "_CHILD", "import no_such_module")
    with pytest.raises(ConfigurationError, match="no process with limits"):
        outcome("def f(x): return x")
    monkeypatch.setattr(sandbox.sys, "executable", "/no/such/python")
    with pytest.raises(ConfigurationError, match=r"could be started for a program: .*No such"):
        outcome("def f(x): return x")
    monkeypatch.setattr(sandbox.os, "name", "nt")
    with pytest.raises(ConfigurationError, match="only Linux and macOS"):
        outcome("def f(x): return x")


# ---- questions ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drafts():
    return list(Program().drafts(2000, seed=5).values())


def called(line):
    """The arguments and the value in a line such as ``double(2) = 4``."""
    text, _, value = line.rpartition(" = ")
    return [ast.literal_eval(one) for one in ast.parse(text).body[0].value.args], ast.literal_eval(value)


def in_this_process(source, name, arguments):
    namespace = {}
    exec(source, namespace)
    return namespace[name](*arguments)


def test_the_right_program_passes_and_the_wrong_one_does_not(drafts):
    """Truth against the programs themselves, run in this process, for every function and open place."""
    for draft in drafts[:400]:
        right, wrong = draft.programs[draft.correct], draft.programs[1 - draft.correct]
        results = [
            [in_this_process(source, draft.function, arguments) == value for arguments, value in draft.tests]
            for source in (right, wrong)
        ]
        assert all(results[0])
        assert not all(results[1])
        for source in (right, wrong):
            assert in_this_process(source, draft.function, draft.example[0]) == draft.example[1]
    assert {draft.source for draft in drafts} == {f"{one.name}/{place}" for one in FAMILIES for place in one.places}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_way_does_what_is_expected_of_it(family):
    draw = random.Random(1)
    for _ in range(60):
        ways = {place: draw.randrange(len(known)) for place, known in family.places.items()}
        parameter = draw.choice(family.parameter)
        source = family.program(ways, parameter)
        for _ in range(20):
            arguments = family.arguments(draw)
            assert in_this_process(source, family.name, arguments) == family.expected(ways, parameter, arguments)
        assert "$" not in source + family.specified(ways, parameter)


def test_questions_show_what_is_public_and_hide_the_tests():
    for question in Program(tests=5).questions(10, seed=1):
        lines = question.hidden["tests"].splitlines()
        assert len(lines) <= 5
        for line in lines:
            arguments, value = called(line)
            source = question.by_answer["source"][question.correct]
            assert in_this_process(source, question.structure["function"], arguments) == value
        for source in question.by_answer["source"]:
            assert source in question.text
        assert question.structure["specification"] in question.text
        assert set(question.structure) == {"function", "specification", "example"}
        example = question.structure["example"]
        shown = re.search(r"For example, (.*)\.\n", question.text)[1]
        assert called(shown) == (example["arguments"], example["value"])
        assert not set(lines) & {shown}


def test_questions_follow_from_the_seed_and_grow_by_the_limit():
    arena = Program()
    questions = arena.questions(6, seed=3)
    assert list(arena.questions(3, seed=3)) == list(questions[:3])
    assert list(arena.drafts(6, seed=4)) != [one.id for one in questions]
    assert questions[0].id == "c569750801b4"


def test_a_truth_that_the_programs_do_not_bear_out_is_found():
    draft = next(made for number in range(99) if (made := draw_draft(random.Random(number), 8)) is not None)
    verify(draft)
    for false in (
        replace(draft, correct=1 - draft.correct),
        replace(draft, programs=(draft.programs[draft.correct],) * 2),
        replace(draft, tests=((draft.example[0], "something else"), *draft.tests)),
    ):
        with pytest.raises(AssertionError, match="do not bear out"):
            verify(false)


def pick(key):
    """The program with more of something; no pick where both have as much."""

    def choose(draft):
        values = [key(program) for program in draft.programs]
        return None if values[0] == values[1] else max((0, 1), key=lambda index: values[index])

    return choose


def part(program, other):
    """What a program has where it differs from the other one."""
    start = next(place for place, (a, b) in enumerate(zip(program + "\0", other + "\1", strict=False)) if a != b)
    return program[start : start + 3]


def difference(key):
    def choose(draft):
        values = [key(part(*draft.programs)), key(part(*reversed(draft.programs)))]
        return None if values[0] == values[1] else max((0, 1), key=lambda index: values[index])

    return choose


BLIND = {
    "first": lambda draft: 0,
    "longer": pick(len),
    "later in the alphabet": pick(lambda program: program),
    "more numbers": pick(lambda program: sum(map(int, re.findall(r"\d+", program)))),
    "more comparisons with =": pick(lambda program: len(re.findall("[<>=]=", program))),
    "more < and >": pick(lambda program: len(re.findall("[<>]", program))),
    "more minus signs": pick(lambda program: program.count("-")),
    "more plus signs": pick(lambda program: program.count("+")),
    "more zeros": pick(lambda program: program.count("0")),
    "larger digit where they differ": difference(lambda text: max(map(int, re.findall(r"\d", text)), default=-1)),
    "= where they differ": difference(lambda text: "=" in text),
    "minus where they differ": difference(lambda text: "-" in text),
    "shorter line where they differ": difference(lambda text: -len(text.split("\n")[0])),
    "with the example's value": pick(lambda program: program.count("-1")),
}


@pytest.mark.parametrize("name", BLIND)
def test_whoever_does_not_read_the_specification_is_at_chance(drafts, name):
    said = [(BLIND[name](draft), draft) for draft in drafts]
    hits = [choice == draft.correct for choice, draft in said if choice is not None]
    assert len(hits) > 50
    assert abs(sum(hits) / len(hits) - 0.5) < 4 * math.sqrt(0.25 / len(hits))


def test_neither_difference_tells_in_its_own_place(drafts):
    """Not only on the whole: in every open place each of the two pieces of code is right as often."""
    right, seen = Counter(), Counter()
    for draft in drafts:
        for index, parts in enumerate((part(*draft.programs), part(*reversed(draft.programs)))):
            seen[draft.source, parts] += 1
            right[draft.source, parts] += index == draft.correct
    for code, count in seen.items():
        assert abs(right[code] / count - 0.5) < 4 * math.sqrt(0.25 / count), code


# ---- errors and whole runs ----------------------------------------------------------------------------------


def test_options_are_refused_in_one_line():
    with pytest.raises(ConfigurationError, match="--limit"):
        Program().questions(None, seed=1)
    with pytest.raises(ConfigurationError, match="program: option 'tests' = 0"):
        find_arena("program", tests=0)
    with pytest.raises(UnknownName, match="unknown model"):
        find_agent("tester/3", Program())


def test_debaters_see_the_tests_and_the_judge_does_not(tmp_path):
    seen = {}

    def speech(view):
        seen["debater"] = dict(view.material)
        return f"The tests are {view.material['tests']}"

    def choice(view):
        seen["judge"] = dict(view.material)
        return {"A": 0.5, "B": 0.5}

    debater, judge = ScriptedAgent("debater", speeches=speech), ScriptedAgent("judge", choices=choice)
    result = oversight.run("debate", Program(), debater=debater, judge=judge, limit=2, log_dir=tmp_path / "run")
    assert [record["status"] for record in result.episodes()] == ["scored"] * 4
    assert set(seen["debater"]) == {"tests"}
    assert seen["judge"] == {}
