"""What the package promises as a whole: light imports, a whole wheel, examples and README that run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = (
    *("torch", "transformers", "trl", "peft", "datasets", "accelerate", "matplotlib", "pyspiel", "langgraph", "openai"),
    *("scipy", "pandas"),
)
README = (ROOT / "README.md").read_text(encoding="utf-8")


def python(*words, cwd=ROOT, **settings):
    done = subprocess.run([sys.executable, *words], cwd=cwd, capture_output=True, text=True, timeout=300, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("code", ["import oversight", "from oversight.cli import main; main(['--help'])"])
def test_what_is_heavy_is_imported_where_it_is_used(code):
    loaded = python("-c", f"import sys\n{code}\nprint('loaded:', [name for name in {HEAVY!r} if name in sys.modules])")
    assert loaded.splitlines()[-1] == "loaded: []"


def test_the_public_names_are_sorted_and_there():
    import oversight

    assert oversight.__all__ == sorted(oversight.__all__)
    for name in oversight.__all__:
        assert getattr(oversight, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = oversight.nothing


def test_every_folder_with_code_is_packaged():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {path.parent for path in (ROOT / "oversight").rglob("__init__.py") if not path.parent.is_symlink()}
    found = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert listed == found | {"oversight.protocols", "oversight.arenas"}


def test_the_wheel_holds_oversight_and_nothing_else(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(
        ROOT,
        source,
        symlinks=True,
        ignore=shutil.ignore_patterns(".venv", ".git", "*.egg-info", "build", "logs", ".*_cache"),
    )
    python("-c", f"import setuptools.build_meta as b; b.build_wheel({str(tmp_path)!r})", cwd=source)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"oversight"}
    for module in ("arenas/connect_four", "arenas/passage", "protocols/debate", "runs/journal", "cli/commands"):
        assert f"oversight/{module}.py" in names
    assert "oversight/py.typed" in names


def test_every_dependency_says_why():
    inside = False
    for line in (ROOT / "pyproject.toml").read_text().splitlines():
        if re.match(r"^(dependencies|\w+) = \[$", line) and "packages" not in line:
            inside = True
        elif line.startswith("]"):
            inside = False
        elif inside and re.match(r'^  "[a-z_]+(\[|>=)', line) and "scalable-oversight" not in line:
            if re.search(r'"(pytest|mypy|ruff)>=', line):
                continue  # what they are for is in their name
            assert "#" in line, line


def commands(marker: str) -> list[str]:
    """The commands of the README's block behind a marker."""
    found = re.search(rf"<!-- {marker} -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert found, marker
    return [line.partition("  #")[0].strip() for line in found[1].splitlines() if line.strip()]


def oversight_command(command: str, cwd: Path, **replacements: str) -> str:
    words = [replacements.get(word, word) for word in shlex.split(command)]
    assert words[0] == "oversight"
    return python("-m", "oversight.cli", *words[1:], cwd=cwd)


def test_the_readmes_main_command_and_what_comes_after(tmp_path):
    """The main job, on few positions here; what follows it in the README, on its folder."""
    pytest.importorskip("pyspiel")
    (main,) = commands("main job")
    words = main.split(" && ")[-1].replace(".venv/bin/", "")
    printed = oversight_command(f"{words} --limit 6", tmp_path)
    assert "Judge accuracy" in printed
    (folder,) = (tmp_path / "logs").iterdir()
    assert {"gap.png", "gap.svg", "run.json", "episodes.jsonl", "capability.json"} <= {p.name for p in folder.iterdir()}
    for command in commands("statistics of the main job, on its folder"):
        assert oversight_command(command, tmp_path, LOGDIR=str(folder))
    for command in commands("training, on the folder of a run"):
        assert oversight_command(command, tmp_path, LOGDIR=str(folder))
    assert {"gap-curves.png", "gap-scatter.svg", "export"} <= {path.name for path in folder.iterdir()}
    for command in commands("after the main job, on its folder"):
        episode = oversight_command("oversight show LOGDIR", tmp_path, LOGDIR=str(folder)).split("\n")[1].split()[0]
        assert oversight_command(command, tmp_path, LOGDIR=str(folder), EPISODE=episode)


def test_the_readmes_statistics_of_files_run(tmp_path):
    """Each command on a file of the form that the README states."""
    names = [f"model-{number}" for number in range(6)]
    matches = [f"{a},{b},{5 + i - j},10" for i, a in enumerate(names) for j, b in enumerate(names) if a != b]
    (tmp_path / "matches.csv").write_text("\n".join(["player_a,player_b,wins_a,games", *matches, ""]))
    general = [f"{name},{1000 + 50 * number + number % 2}" for number, name in enumerate(names)]
    (tmp_path / "general.csv").write_text("\n".join(["player,rating", *general, ""]))
    arms = [
        f"r,q{n},{arm},yes,{p},{1 - p}" for n, p in enumerate((0.75, 0.5, 0.25)) for arm in ("correct", "incorrect")
    ]
    (tmp_path / "results.csv").write_text("\n".join(["run,question,argued,correct,p_correct,p_other", *arms, ""]))
    for command in (*commands("statistics of files"), *commands("planning")):
        assert oversight_command(command, tmp_path)
    assert (tmp_path / "law.svg").stat().st_size > 1000


def test_the_readmes_protocol_is_the_examples():
    block = re.search(r"```python\nclass DebateUntilSure.*?```", README, re.DOTALL)
    assert block
    example = (ROOT / "examples" / "debate_until_sure.py").read_text()
    without_docstring = re.sub(r'\n    """.*?"""\n\n', "\n", example.partition("\n\n\n")[2], flags=re.DOTALL)
    assert block[0].removeprefix("```python\n").removesuffix("```").strip() == without_docstring.strip()


def test_the_readmes_own_protocol_runs(tmp_path):
    pytest.importorskip("pyspiel")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for command in commands("run by the tests"):
        assert oversight_command(command.replace("--limit 20", "--limit 3"), tmp_path)
    assert (tmp_path / "protocol.svg").stat().st_size > 1000


def test_the_readmes_endpoint_commands_are_read():
    """The dry run is made; the other needs a key, and is refused for that alone: every word before it is understood."""
    for command in commands("needs a key, but for the dry run, and the corpus"):
        folder = os.environ.get("OVERSIGHT_TEST_DATA")
        if not folder:
            pytest.skip("OVERSIGHT_TEST_DATA does not name a folder with the corpora")
        words = [f"{folder}/{word}" if word.startswith("nyu-") else word for word in command.split()[1:]]
        done = subprocess.run(
            [sys.executable, "-m", "oversight.cli", *words], cwd=ROOT, capture_output=True, text=True, timeout=120
        )
        if "--dry-run" in words:
            assert "in all" in done.stdout
            assert (done.returncode, done.stderr) == (0, "")
        else:
            assert done.returncode == 2
            assert "OPENAI_API_KEY" in done.stderr
            assert len(done.stderr.splitlines()) == 1


def test_the_readmes_decomposition_is_right_at_every_depth(tmp_path):
    """And alone at chance, as the README says."""
    command, checked = commands("decomposition")
    split = oversight_command(command, tmp_path)
    assert re.findall(r"depth [0-9] +([0-9.]+) %", split) == ["100.0"] * 4
    nobody_splits = re.sub(r"--(decomposer|combiner) \S+ ", "", command.replace("--depth 3", "--depth 0"))
    alone = oversight_command(nobody_splits, tmp_path)
    assert re.findall(r"depth [0-9] +([0-9.]+) %", alone) == ["100.0", "50.0", "50.0", "50.0"]
    # A judge of one operation, told one step at a time.
    assert re.findall(r"depth [0-9] +([0-9.]+) %", oversight_command(checked, tmp_path)) == ["100.0"] * 4


def test_the_readmes_sessions_are_held(tmp_path):
    """With the end of input in the place of a person: each is prepared, begun and stopped, and nothing is lost."""
    pytest.importorskip("pyspiel")
    folder = os.environ.get("OVERSIGHT_TEST_DATA")
    for command in commands("at the terminal; the first two need the corpus"):
        if "nyu-" in command and not folder:
            continue
        words = [f"{folder}/{word}" if word.startswith("nyu-") else word for word in shlex.split(command)[1:]]
        limit = "100" if "cascade" in command else "2"
        done = subprocess.run(
            [sys.executable, "-m", "oversight.cli", *words, "--limit", limit, "--log-dir", str(tmp_path / words[0])],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert "0 done" in done.stdout
        assert "wait" in done.stdout
        shutil.rmtree(tmp_path / words[0])


def test_the_readmes_python_runs(tmp_path):
    pytest.importorskip("pyspiel")
    code = re.search(r"## In Python\n\n```python\n(.*?)```", README, re.DOTALL)
    assert code
    python("-c", code[1].replace("limit=20", "limit=3"), cwd=tmp_path)
    assert (tmp_path / "gap.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_examples_run(name, tmp_path):
    """Programs run as they are; files that define a class are played as their docstrings say."""
    text = (ROOT / "examples" / name).read_text()
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    said = re.findall(r"^    (oversight (?:.*\\\\\n)*.*)$", text.split('"""')[1], re.MULTILINE)
    for command in said:
        joined = " ".join(command.replace("\\\\\n", " ").split())
        assert oversight_command(joined, tmp_path)
    if not said:
        python(str(tmp_path / "examples" / name), cwd=tmp_path)
