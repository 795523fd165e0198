"""A key is nowhere but in the request: not in what is printed, not in a run directory, not in what is made of one."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oversight.cli import main
from oversight.models import openai_compatible

TESTS = Path(__file__).parent
_specification = importlib.util.spec_from_file_location("oversight_test_endpoint", TESTS / "endpoint.py")
endpoints = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(endpoints)

KEY = "sk-canary-0123456789abcdef"
NOW = {"retry-after-ms": "1"}
REPLY = {"text": "Answer: A\nConfidence: 80%"}
WORDS = ["--arena", f"{TESTS / 'tiny.py'}:Sums", "--limit", "1"]

CRASHING = """
import os
from oversight.agents import Agent

class Crashing(Agent):
    def __init__(self):
        super().__init__("crashing")

    def describe(self):
        return {"agent": "crashing"}

    async def speak(self, request):
        key = os.environ["OPENAI_API_KEY"]
        headers = {"authorization": "Bearer " + key}
        raise RuntimeError("an injected bug")
"""


@pytest.fixture(scope="module")
def endpoint():
    with endpoints.running() as running:
        yield running


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setattr(openai_compatible, "_FIRST_DELAY", 0.001)
    for name in ("OPENAI", "VLLM", "OLLAMA"):
        monkeypatch.setenv(f"{name}_API_KEY", KEY)


def nowhere(folder, *printed):
    """The key is in no text, and in no file of a folder, whatever its kind."""
    for text in printed:
        assert KEY not in text
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path
        assert KEY not in str(path)
    return files


ECHO = f"Bearer {KEY} is not valid: {{'authorization': 'Bearer {KEY}'}}"
SCENARIOS = {
    "success": REPLY,
    "said by the reply": {"text": f"Your key is {KEY}.\nAnswer: A\nConfidence: 80%"},
    "unreadable and said": {"text": f"{KEY}"},
    "401": {"status": 401, "json": {"error": {"message": ECHO}}},
    "403": {"status": 403, "json": {"error": {"message": ECHO}}},
    "404 as text": {"status": 404, "raw": ECHO},
    "500": {"status": 500, "json": {"error": ECHO}, "headers": {**NOW, "x-key": KEY}},
    "error with 200": {"json": {"error": {"message": ECHO}}},
    "refusal": {"message": {"content": None, "refusal": ECHO}},
    "model": {**REPLY, "json": {"model": KEY, "choices": [{"message": {"content": "Answer: A\nConfidence: 80%"}}]}},
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_whatever_an_endpoint_does(endpoint, name, tmp_path, capsys, monkeypatch):
    """The run, its transcript and its export, whatever the endpoint says to it."""
    endpoint.answer(then=SCENARIOS[name])
    folder, model = tmp_path / "run", "openai/gpt-test"
    words = ["run", "direct", *WORDS, "--judge", model, "--base-url", endpoint.base_url, "--log-dir", str(folder)]
    main(words)
    assert endpoint.requests()[0]["headers"]["authorization"] == f"Bearer {KEY}"
    main(["show", str(folder), "--unscored"])
    main(["export", str(folder), "--format", "jsonl"])
    printed = capsys.readouterr()
    files = nowhere(tmp_path, printed.out, printed.err)
    assert {"run.json", "journal.sqlite", "episodes.jsonl"} <= {path.name for path in files}


@pytest.mark.parametrize(
    "address",
    [
        f"https://user:{KEY}@127.0.0.1:9/v1",
        f"https://{KEY}@127.0.0.1:9/v1",
        f"http://127.0.0.1:9/v1?key={KEY}",
        f"http://127.0.0.1:9/v1#{KEY}",
        f"http://[{KEY}/v1",
        f"{KEY}",
    ],
)
@pytest.mark.parametrize("how", ["option", "environment"])
def test_an_address_that_holds_the_key_is_refused_without_saying_it(address, how, tmp_path, capsys, monkeypatch):
    words = ["run", "direct", *WORDS, "--judge", "openai/gpt-test", "--log-dir", str(tmp_path / "run")]
    if how == "option":
        words += ["--base-url", address]
    else:
        monkeypatch.setenv("OPENAI_BASE_URL", address)
    assert main(words) == 2
    printed = capsys.readouterr()
    assert "base url" in printed.err.replace("-", " ").casefold()
    nowhere(tmp_path, printed.out, printed.err)


@pytest.mark.parametrize("key", [f"{KEY}\nx", f"{KEY} x", f"{KEY}é"])
def test_a_key_that_cannot_be_one_is_refused_without_saying_it(key, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    words = ["run", "direct", *WORDS, "--judge", "openai/gpt-test", "--log-dir", str(tmp_path / "run")]
    assert main(words) == 2
    printed = capsys.readouterr()
    nowhere(tmp_path, printed.out, printed.err)


def process(folder, *words, **environment):
    """The command in a process of its own, with everything that it printed."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "-m", "oversight.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        cwd=folder,
        env={**known, **environment},
    )
    nowhere(folder, done.stdout, done.stderr)
    return done


def test_a_crash_with_the_key_at_hand(tmp_path):
    """A bug in an agent of the user's own: its traceback is printed, without the values around it."""
    (tmp_path / "crashing.py").write_text(CRASHING, encoding="utf-8")
    done = process(tmp_path, "run", "debate", *WORDS, "--debater", "crashing.py:Crashing", "--judge", "openai/gpt-test")
    assert done.returncode not in (0, 2)
    assert "RuntimeError: an injected bug" in done.stderr


def test_nobody_listens_and_the_client_is_told_to_log_everything(tmp_path):
    """A refused connection, with the loggers of everything underneath at their most talkative."""
    listen = ["--base-url", "http://127.0.0.1:9/v1", "--log-dir", "run"]
    done = process(tmp_path, "run", "direct", *WORDS, "--judge", "openai/gpt-test", *listen, OPENAI_LOG="debug")
    assert "cannot connect" in done.stdout + done.stderr
    assert (tmp_path / "run" / "run.json").exists()
