"""Data and run directories are read and never carried out: no pickles, no code, whatever a file says it holds."""

import ast
import asyncio
import contextlib
import gc
import importlib.util
import json
import pickle
import sqlite3
import sys
from pathlib import Path

import ormsgpack
import pytest

import oversight
from oversight.cli import main
from oversight.errors import ConfigurationError, OversightError
from oversight.report.preferences import export_preferences
from oversight.runs.people import People
from oversight.runs.recordings import arena_of_run
from oversight.runs.session import SessionOptions, checkpointer

TESTS = Path(__file__).parent
ROOT = TESTS.parent


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", TESTS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


people, tiny = _load("people"), _load("tiny")

# ---- the code ---------------------------------------------------------------------------------------

MODULES = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "jsonpickle"}
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "exec_module",
    "literal_eval",
    "run_path",
    "run_module",
    "read_pickle",
}
ALLOWED = {
    ("oversight/registry.py", "exec_module"),
    ("oversight/runs/job.py", "cloudpickle"),
    ("oversight/runs/job.py", "pickle"),
}
"""Where a name may stand nevertheless: a file that the user names as path/to/file.py:Name is theirs to run, and workers
are given their job, and say what came of it, through a pipe that the process itself has opened to them.

A program under test runs in a process of its own, under limits: its code is a text in oversight/sandbox.py.
"""


def suspicious(tree):
    """Names of what a module uses that could carry out data."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield node.module
        elif isinstance(node, ast.Call):
            function = node.func
            bare = isinstance(function, ast.Name)
            name = function.id if bare else function.attr if isinstance(function, ast.Attribute) else ""
            owner = getattr(getattr(function, "value", None), "id", "")
            options = {one.arg: getattr(one.value, "value", None) for one in node.keywords}
            on_models = name in ("eval", "compile") and not bare  # model.eval(), re.compile(), builder.compile()
            if name in CALLS and not on_models:
                yield name
            if name == "load" and owner == "torch" and options.get("weights_only") is not True:
                yield "torch.load"
            if name == "load" and owner in ("np", "numpy") and options.get("allow_pickle") is not False:
                yield "numpy.load"
            if options.get("allow_pickle") or options.get("trust_remote_code") or options.get("pickle_fallback"):
                yield "allow_pickle, trust_remote_code or pickle_fallback"
            if options.get("shell"):
                yield "shell"


def sources():
    """Every module of the package, by its path."""
    found = [path for folder in ("oversight", "arenas", "protocols") for path in (ROOT / folder).rglob("*.py")]
    return {path.resolve().relative_to(ROOT).as_posix(): path for path in found}


def test_no_module_carries_out_data():
    files = sources()
    assert len(files) > 100
    gc.disable()  # CPython 3.11 loses count of its depth where something is collected while it builds a tree
    try:
        trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in files.items()}
    finally:
        gc.enable()
    assert {(name, use) for name, tree in trees.items() for use in suspicious(tree)} == ALLOWED


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from yaml import load",
        "eval('1')",
        "exec('1')",
        "compile('1', '', 'eval')",
        "ast.literal_eval(x)",
        "torch.load(x)",
        "torch.load(x, weights_only=False)",
        "np.load(x)",
        "numpy.load(x, allow_pickle=True)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "JsonPlusSerializer(pickle_fallback=True)",
        "subprocess.run(x, shell=True)",
        "pandas.read_pickle(x)",
    ],
)
def test_the_search_finds_what_it_is_for(code):
    assert list(suspicious(ast.parse(code)))


# ---- a run directory of somebody else's -------------------------------------------------------------


class Payload:
    """Makes a file as soon as it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def extension(code, *values):
    return ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(values)))


def payloads(made):
    """By name: the type and bytes of a stored value that would make a file."""
    touch = f"import pathlib; pathlib.Path({str(made)!r}).touch()"
    return {
        "pickle": ("pickle", pickle.dumps(Payload(made))),
        "one argument": ("msgpack", extension(0, "builtins", "exec", touch)),
        "arguments": ("msgpack", extension(1, "builtins", "exec", [touch])),
        "by name": ("msgpack", extension(2, "subprocess", "run", {"args": ["touch", str(made)]})),
        "method": ("msgpack", extension(3, "pathlib", "Path", str(made), "touch")),
        "model": ("msgpack", extension(5, "subprocess", "Popen", {"args": ["touch", str(made)]}, "x")),
        "json": (
            "json",
            json.dumps({"lc": 2, "type": "constructor", "id": ["builtins", "exec"], "args": [touch]}).encode(),
        ),
        "json of langchain": (
            "json",
            json.dumps(
                {"lc": 1, "type": "constructor", "id": ["subprocess", "Popen"], "kwargs": {"args": touch}}
            ).encode(),
        ),
    }


def test_the_payloads_would_do_it_where_types_are_not_limited(tmp_path):
    """So that a payload that does nothing is the reader's merit."""
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    made = tmp_path / "made"
    pickle.loads(pickle.dumps(Payload(made)))
    assert made.exists()
    for name in ("one argument", "arguments"):
        made.unlink()
        JsonPlusSerializer(allowed_msgpack_modules=True).loads_typed(payloads(made)[name])
        assert made.exists(), name


@pytest.mark.parametrize(
    "name", ["pickle", "one argument", "arguments", "by name", "method", "model", "json", "json of langchain"]
)
def test_a_checkpoint_cannot_call_anything(name, tmp_path):
    made = tmp_path / "made"

    async def main():
        async with checkpointer(tmp_path) as saver:
            try:
                return saver.serde.loads_typed(payloads(made)[name])
            except (NotImplementedError, ValueError):  # refused
                return None

    asyncio.run(main())
    assert not made.exists()


def test_a_session_on_a_hostile_directory_carries_out_nothing(tmp_path):
    """Every stored value of a waiting episode, and every statement, replaced by what would make a file."""
    folder, made = tmp_path / "run", tmp_path / "made"

    def session(**options):
        front = people.Ruled(people.sure_of("nothing"), patience=1.0, most=1)
        oversight.run(
            "debate(rounds=1)",
            tiny.Sums(count=1),
            log_dir=folder,
            debater=tiny.Thinker(),
            judge="human",
            session=SessionOptions(front=front, **options),
        )

    session(prepare_only=True)
    People(folder / "people.sqlite", "human").close()
    pickled = pickle.dumps(Payload(made))
    for kind, value in payloads(made).values():
        with sqlite3.connect(folder / "checkpoints.sqlite") as database:
            database.execute("UPDATE writes SET type = ?, value = ?", (kind, value))
            changed = database.execute("UPDATE checkpoints SET type = ?, checkpoint = ?", (kind, value)).rowcount
        database.close()
        assert changed
        with contextlib.suppress(Exception):  # whatever it makes of it; the directory is broken
            session()
        assert not made.exists()
    with sqlite3.connect(folder / "journal.sqlite") as database:
        assert database.execute("UPDATE calls SET value = ?", (pickled,)).rowcount
    database.close()
    with contextlib.suppress(Exception):
        session()
    assert not made.exists()


EVIL = """
from pathlib import Path
Path({made!r}).touch()
from oversight.questions import Arena
class Evil(Arena):
    name = "evil"
    def questions(self, limit, seed):
        return []
"""


def test_to_look_at_a_run_is_not_to_run_what_it_names(tmp_path, monkeypatch):
    """A directory that brings a file along and names it as its arena and protocol."""
    folder, made = tmp_path / "run", tmp_path / "made"
    oversight.run("debate(rounds=1)", tiny.Sums(count=1), log_dir=folder, debater=tiny.Thinker(), judge=tiny.Second())
    (folder / "evil.py").write_text(EVIL.format(made=str(made)), encoding="utf-8")
    kept = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    kept["configuration"]["arena"]["arena"] = kept["configuration"]["protocols"][0]["protocol"] = "evil"
    kept["command"] = ["run", "debate", "--arena", f"{folder / 'evil.py'}:Evil"]
    (folder / "run.json").write_text(json.dumps(kept), encoding="utf-8")
    (record,) = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()][:1]
    record["turns"][0].update(kind="solution", tree={"question": "Q?", "answer": "1"})
    (folder / "episodes.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    for place in (folder, Path()):
        assert main(["show", str(place), record["id"][:8], "--reasoning"]) == 0
        with pytest.raises(OversightError):
            arena_of_run(place)
        with contextlib.suppress(ConfigurationError):  # one episode may give no pair
            export_preferences(place, tmp_path / "preferences.jsonl")
        assert not made.exists()
    with pytest.raises(ConfigurationError):
        arena_of_run(folder, registered=True)


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a":' * 50_000, "{" * 1000, "NaN", "1" * 10_000, "\x80\x03."])
def test_a_line_that_is_no_record_is_passed_over(line, tmp_path):
    oversight.run("direct", tiny.Sums(count=1), log_dir=tmp_path, judge=tiny.Second())
    with (tmp_path / "episodes.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    assert main(["show", str(tmp_path)]) == 0
    oversight.run("direct", tiny.Sums(count=1), log_dir=tmp_path, judge=tiny.Second())
    (tmp_path / "run.json").write_text(line, encoding="utf-8")
    assert main(["export", str(tmp_path)]) == 2
