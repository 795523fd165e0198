"""Training language models on preferences: what is read, learned, resumed and played."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oversight.cli import main
from oversight.errors import ConfigurationError, DataError, MissingExtra, RunDirectoryError
from oversight.training import language
from oversight.training.language import LanguageAgent, LanguageRewardModel
from oversight.training.preference_files import read_preferences, split_by_source
from oversight.training.progress import TrainingProgress
from oversight.training.reward_models import Comparison, Prompt, Reply

for package in ("torch", "transformers", "trl", "peft", "datasets"):
    pytest.importorskip(package)

HERE = Path(__file__).parent
QUIET = TrainingProgress()
NUMBERS = 16


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


small_models = _load("small_models")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A Llama of about a million weights, untrained, whose tokens are a few words and numbers."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny"
    words = ["<begin>", "<end>", "<unknown>", "larger", "or", *map(str, range(NUMBERS))]
    bare = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unknown>"))
    bare.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare, bos_token="<begin>", eos_token="<end>", unk_token="<unknown>"
    )
    tokenizer.chat_template = "<begin>{% for message in messages %} {{ message['content'] }} {% endfor %}"
    tokenizer.save_pretrained(folder)
    shape = {"vocab_size": len(words), "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 5}
    shape |= {"num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 512}
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**shape, bos_token_id=0, eos_token_id=1))
    torch.random.set_rng_state(state)
    assert 0.9e6 < sum(weights.numel() for weights in model.parameters()) < 1.2e6
    model.save_pretrained(folder)
    return folder


def larger(first, second):
    low, high = sorted((first, second))
    return Comparison(Prompt(f"larger {first} or {second}", source=f"{low} {high}"), Reply(str(high)), Reply(str(low)))


EVERY = [larger(a, b) for a in range(NUMBERS) for b in range(NUMBERS) if a != b]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Which of two numbers is larger, as our export writes pairs."""
    path = tmp_path_factory.mktemp("data") / "preferences.jsonl"
    with path.open("w") as file:
        for one in EVERY:
            row = {"prompt": one.prompt.text, "chosen": one.chosen.text, "rejected": one.rejected.text}
            margin = int(one.chosen.text) - int(one.rejected.text)
            file.write(json.dumps({**row, "margin": margin, "source": one.prompt.source}) + "\n")
    return path


def weights_of(folder):
    from safetensors.numpy import load_file

    (file,) = Path(folder).glob("*.safetensors")
    return load_file(file)


def same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


# ---- what is learned ----------------------------------------------------------------------------


def test_a_reward_model_learns_what_is_preferred(tiny, pairs, tmp_path, capsys):
    """From a million random weights, on pairs of numbers that it has not seen together; and resumes to the same."""
    options = ["--rank", "0", "--steps", "150", "--batch", "32", "--learning-rate", "0.001", "--json"]
    command = ["train", "reward_model", "--data", str(pairs), "--model", str(tiny), *options, "--log-dir"]
    assert main([*command, str(tmp_path / "a")]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    longer, untrained, trained = result["rows"]
    assert trained["mean"] > 0.9
    assert trained["mean"] > max(longer["mean"], untrained["mean"]) + 0.1
    assert trained["loss"] < 0.5
    assert trained["low"] < trained["mean"] < trained["high"]
    assert (result["train"] + result["test"], result["test"]) == (len(EVERY), trained["n"])
    assert trained["clusters"] == result["test_sources"] == result["test"] / 2  # both orders of two numbers together
    assert [part["n"] for part in result["by_margin"]] != [0, 0]
    assert sum(part["n"] for part in result["by_margin"]) == trained["n"]
    assert "150 training steps" in printed.err
    assert "loss " in printed.err
    assert sorted(path.name for path in (tmp_path / "a" / "learner").iterdir()) == ["model", "training.json"]
    before = (tmp_path / "a" / "results.jsonl").read_bytes()
    assert main([*command, str(tmp_path / "a")]) == 0
    again = capsys.readouterr()
    assert json.loads(again.out) == result
    assert "training steps" not in again.err
    assert (tmp_path / "a" / "results.jsonl").read_bytes() == before


def test_an_agent_is_tuned_and_played(tiny, pairs, tmp_path, capsys):
    """By DPO with LoRA; its adapter takes part in a run under the name that is printed."""
    options = ["--steps", "60", "--batch", "16", "--learning-rate", "0.003", "--log-dir", str(tmp_path / "a")]
    assert main(["train", "agent", "--data", str(pairs), "--model", str(tiny), *options]) == 0
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if line.startswith("tuned agent, implicit reward"))
    assert float(row.split()[4]) > 80.0
    name = next(line for line in printed.splitlines() if line.startswith("in a run: ")).removeprefix("in a run: ")
    assert name == f"hf/{tiny}(adapter={tmp_path / 'a' / 'learner' / 'adapter'})"
    agents = ["--judge", name, "--log-dir", str(tmp_path / "run"), "--limit", "1"]
    assert main(["run", "direct", "--arena", "arithmetic", *agents]) == 0
    assert "adapter" in (tmp_path / "run" / "run.json").read_text()


def test_an_agent_replies_by_its_seed_and_otherwise_once_tuned(tiny, tmp_path):
    agent = LanguageAgent(tiny, steps=30, batch=16, learning_rate=0.003, reply=4)
    prompt = EVERY[0].prompt
    few, many = (agent.replies(prompt, count, 1) for count in (2, 6))
    assert many[:2] == few
    assert agent.replies(prompt, 6, 2) != many
    pairs = [(one.prompt, reply) for one in EVERY[:5] for reply in (one.chosen, one.rejected)]
    assert agent.implicit_rewards(pairs).tolist() == [0.0] * 10
    agent.tune(EVERY[:120], tmp_path / "a", 0, QUIET)
    rewards = agent.implicit_rewards(pairs)
    assert (rewards[0::2] > rewards[1::2]).mean() >= 0.8
    assert agent.replies(prompt, 6, 1) != many
    agent.close()


def test_a_reply_is_rated_alike_alone_and_among_others(tiny, tmp_path):
    model = LanguageRewardModel(tiny, rank=4, steps=2, batch=4)
    with pytest.raises(ConfigurationError, match="is not trained: call fit first"):
        model.rewards(EVERY[0].prompt, [EVERY[0].chosen])
    model.fit(EVERY[:8], tmp_path / "a", 0, QUIET)
    replies = [Reply("3"), Reply("3 or 4 or 5"), Reply("1 2")]
    together = model.rewards(EVERY[0].prompt, replies)
    alone = [float(model.rewards(EVERY[0].prompt, [one])[0]) for one in replies]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert 0 < model.parameters < 300_000


# ---- going on after a kill ----------------------------------------------------------------------


class Stopped(TrainingProgress):
    """Stops a training after so many steps, as Ctrl-C does."""

    def __init__(self, steps):
        self.left = steps

    def done(self, count=1):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_a_killed_training_goes_on_to_the_same_weights(tiny, pairs, tmp_path):
    """SIGKILL in the middle, and a checkpoint that a kill left half-written: the end is that of an unbroken one."""
    code = (
        "import sys\n"
        "from oversight.training import language\n"
        "language.CHECKPOINT_SECONDS = 0.0\n"
        "from oversight.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    options = ["--steps", "60", "--batch", "8", "--rank", "4", "--log-dir"]
    words = ["train", "reward_model", "--data", str(pairs), "--model", str(tiny), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        [sys.executable, "-c", code, *words, str(tmp_path / "killed")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    checkpoints = tmp_path / "killed" / "learner" / "checkpoints"
    deadline = time.monotonic() + 300
    while not any(checkpoints.glob("checkpoint-*/complete")):
        assert started.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    started.send_signal(signal.SIGKILL)
    started.wait()
    newest = max(checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    torn = checkpoints / "checkpoint-59"
    if newest != torn:
        shutil.copytree(newest, torn, ignore=shutil.ignore_patterns("complete"))
    (torn / "complete").unlink(missing_ok=True)
    (torn / "optimizer.pt").write_bytes(b"half of it")
    assert main([*words, str(tmp_path / "killed")]) == 0
    assert main([*words, str(tmp_path / "whole")]) == 0
    same(*(weights_of(tmp_path / name / "learner" / "adapter") for name in ("killed", "whole")))
    assert not checkpoints.exists()


@pytest.mark.parametrize("rank", [4, 0])
def test_an_interrupted_tuning_goes_on_to_the_same_weights(tiny, tmp_path, monkeypatch, rank):
    monkeypatch.setattr(language, "CHECKPOINT_SECONDS", 0.0)
    agent = LanguageAgent(tiny, steps=8, batch=4, rank=rank)
    with pytest.raises(KeyboardInterrupt):
        agent.tune(EVERY[:12], tmp_path / "stopped", 3, Stopped(5))
    assert [path.name for path in (tmp_path / "stopped" / "checkpoints").glob("*-*")] == ["checkpoint-4"]
    steps = []

    class Counted(TrainingProgress):
        def start(self, what, owed, finished=0):
            steps.append((owed, finished))

    agent.tune(EVERY[:12], tmp_path / "stopped", 3, Counted())
    assert steps == [(4, 4)]
    agent.tune(EVERY[:12], tmp_path / "whole", 3, Counted())
    kept = "adapter" if rank else "model"
    same(*(weights_of(tmp_path / name / kept) for name in ("stopped", "whole")))
    with pytest.raises(RunDirectoryError, match="holds another training"):
        agent.tune(EVERY[:11], tmp_path / "whole", 3, QUIET)


def test_training_draws_from_no_state_but_its_own(tiny, tmp_path):
    import torch

    states = random.getstate(), torch.random.get_rng_state()
    one, other = (LanguageRewardModel(tiny, rank=2, steps=2, batch=4) for _ in range(2))
    one.fit(EVERY[:8], tmp_path / "a", 0, QUIET)
    assert (random.getstate(), torch.random.get_rng_state().tolist()) == (states[0], states[1].tolist())
    torch.rand(3)
    random.random()
    other.fit(EVERY[:8], tmp_path / "b", 0, QUIET)
    same(*(weights_of(tmp_path / name / "adapter") for name in "ab"))
    other.fit(EVERY[:8], tmp_path / "c", 1, QUIET)
    with pytest.raises(AssertionError):
        same(*(weights_of(tmp_path / name / "adapter") for name in "bc"))


def test_a_loss_that_is_no_number_ends_the_training(tiny, tmp_path):
    model = LanguageRewardModel(tiny, rank=0, steps=30, batch=4, learning_rate=1e30)
    with pytest.raises(language.ModelError, match=r"the loss of step [0-9]+ is no number: lower --learning-rate"):
        model.fit(EVERY[:8], tmp_path / "a", 0, QUIET)


# ---- adapters -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    LanguageAgent(tiny, rank=4, steps=5, batch=8, learning_rate=0.01).tune(EVERY[:16], folder, 0, QUIET)
    return folder / "adapter"


def test_an_adapter_is_merged_and_part_of_the_identity(tiny, adapter, tmp_path):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from oversight.models.local import LocalModel
    from oversight.models.local.source import adapters_quiet, find_source

    tokens = torch.tensor([[0, 3, 7, 4, 9]])
    with adapters_quiet(), torch.inference_mode():
        base = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
        before = base(tokens).logits
        expected = PeftModel.from_pretrained(base, str(adapter))(tokens).logits
        merged = find_source(str(tiny), adapter).weights(torch.float32)(tokens).logits
    torch.testing.assert_close(merged, expected, atol=1e-4, rtol=1e-4)
    assert (merged - before).abs().max() > 1e-2
    plain, tuned = LocalModel(str(tiny)).describe(), LocalModel(str(tiny), adapter=str(adapter)).describe()
    assert {name: value for name, value in tuned.items() if name != "adapter"} == plain
    moved = shutil.copytree(adapter, tmp_path / "elsewhere")
    assert LocalModel(str(tiny), adapter=str(moved)).describe() == tuned
    weights = bytearray((moved / "adapter_model.safetensors").read_bytes())
    weights[-1] ^= 1
    (moved / "adapter_model.safetensors").write_bytes(weights)
    assert LocalModel(str(tiny), adapter=str(moved)).describe() != tuned


def test_what_is_no_adapter_is_refused(tiny, adapter, tmp_path):
    import torch

    from oversight.models.local.source import find_source

    with pytest.raises(
        ConfigurationError, match=r"give a folder with adapter_config\.json and adapter_model\.safetens"
    ):
        find_source(str(tiny), tmp_path)
    LanguageRewardModel(tiny, rank=2, steps=1, batch=2).fit(EVERY[:4], tmp_path / "rated", 0, QUIET)
    with pytest.raises(ConfigurationError, match="was trained for SEQ_CLS, not for a model that writes"):
        find_source(str(tiny), tmp_path / "rated" / "adapter")
    other = small_models.tiny_model(tmp_path / "other")
    unfit = find_source(str(other), adapter)
    with pytest.raises(ConfigurationError, match=r"adapter .* does not fit .*other"):
        unfit.weights(torch.float32)


# ---- what is read -------------------------------------------------------------------------------

PAIR = {"prompt": "p", "chosen": "a", "rejected": "b"}
BAD = [
    ("{", "line 2: is no JSON object"),
    (json.dumps({"prompt": "p", "chosen": "a"}), "line 2: has no 'rejected': .* here prompt, chosen"),
    (json.dumps({**PAIR, "prompt": 3}), "line 2: prompt is neither text nor a list of messages"),
    (json.dumps({**PAIR, "chosen": [{"role": "user", "content": "a"}]}), "line 2: chosen is neither text nor a list"),
    (json.dumps({**PAIR, "rejected": "a"}), "line 2: chosen and rejected are the same"),
    (json.dumps({**PAIR, "margin": 0}), "line 2: margin 0: "),
    (json.dumps({**PAIR, "margin": "much"}), 'line 2: margin "much": '),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_a_bad_row_is_named_by_its_line(tmp_path, row, message):
    path = tmp_path / "pairs.jsonl"
    path.write_text(f"{json.dumps(PAIR)}\n{row}\n")
    with pytest.raises(DataError, match=message):
        read_preferences(path)


def test_messages_and_text_are_read_alike(tmp_path, tiny):
    said = {name: [{"role": "assistant", "content": PAIR[name]}] for name in ("chosen", "rejected")}
    path = tmp_path / "pairs.jsonl"
    rows = [PAIR, {"prompt": [{"role": "user", "content": "p"}], **said}, {**PAIR, "question": "q"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {**PAIR, "question": "q", "source": "s"}]))
    found = read_preferences(path)
    assert [one.source for one in found] == ["p", "p", "q", "s"]
    assert [one.line for one in found] == [1, 2, 3, 4]
    files = LanguageRewardModel(tiny)._files
    one, other = files.rows([one.comparison for one in found[:2]], QUIET)
    assert one == other


def test_a_long_prompt_loses_its_beginning_for_both_replies(tiny):
    noted = []

    class Noted(TrainingProgress):
        def note(self, message):
            noted.append(message)

    files = LanguageRewardModel(tiny, longest=6)._files
    (row,) = files.rows([Comparison(Prompt("1 2 3 4 5"), Reply("6"), Reply("7 8"))], Noted())
    decoded = {name: files.tokenizer.decode(ids) for name, ids in row.items()}
    assert decoded == {"prompt": "3 4 5", "chosen": "6 <end>", "rejected": "7 8 <end>"}
    assert noted == ["1 of 1 prompts lose their beginning: --longest 6 tokens"]
    with pytest.raises(ConfigurationError, match="a reply of 7 tokens does not fit --longest 6"):
        files.rows([Comparison(Prompt("1"), Reply("1"), Reply("1 2 3 4 5 6"))], QUIET)


@given(sizes=st.lists(st.integers(1, 6), min_size=4, max_size=40), test=st.floats(0.05, 0.9), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_no_source_is_on_both_sides(sizes, test, seed):
    from oversight.training.preference_files import Preference

    rows = [
        Preference(Comparison(Prompt("p", source=f"s{source}"), Reply("a"), Reply("b")), line)
        for line, source in enumerate(source for source, size in enumerate(sizes) for _ in range(size))
    ]
    if len(rows) < 10:
        with pytest.raises(ConfigurationError, match="are too few"):
            split_by_source(rows, test, seed)
        return
    train, held = split_by_source(rows, test, seed)
    assert sorted(one.line for one in [*train, *held]) == [one.line for one in rows]
    sources = [{one.source for one in side} for side in (train, held)]
    assert not sources[0] & sources[1]
    assert all(len(side) >= 2 for side in sources)
    assert split_by_source(rows, test, seed) == (train, held)


# ---- what is refused ----------------------------------------------------------------------------


def test_what_is_refused_before_anything_is_made(tiny, pairs, tmp_path, capsys):
    def refused(*words):
        command = ["train", "reward_model", "--log-dir", str(tmp_path / "none"), *words]
        assert main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert not (tmp_path / "none").exists()
        return line

    few = tmp_path / "few.jsonl"
    few.write_text("".join(pairs.read_text().splitlines(keepends=True)[:6]))
    model = ["--model", str(tiny)]
    assert "6 pairs of 6 sources are too few" in refused("--data", str(few), *model)
    assert "cannot be read" in refused("--data", str(tmp_path / "nowhere.jsonl"), *model)
    assert "--test 1: the share" in refused("--data", str(pairs), *model, "--test", "1")
    assert "--rank -1: Input should be greater than or equal to 0" in refused(
        "--data", str(pairs), *model, "--rank", "-1"
    )
    assert "no such folder" in refused("--data", str(pairs), "--model", str(tmp_path / "nowhere"))
    assert "did you mean '--rank'" in refused("--data", str(pairs), *model, "--rang", "3")


@pytest.mark.parametrize("package", ["trl", "peft", "datasets", "accelerate"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(package, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == package else there(name, *rest)
    )
    with pytest.raises(MissingExtra, match=rf"\({package}\).*pip install 'scalable-oversight\[training\]'"):
        LanguageRewardModel("anywhere")


@pytest.mark.parametrize("training", ["reward_model", "agent"])
def test_what_is_heavy_waits_until_it_is_used(training):
    heavy = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")
    code = (
        "import sys\n"
        "import oversight\n"
        "from oversight.cli import main\n"
        "try:\n"
        f"    main(['train', {training!r}, '--help'])\n"
        "finally:\n"
        f"    print([name for name in {heavy!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "--rank N" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


# ---- a real model -------------------------------------------------------------------------------


def test_a_real_model_learns_which_word_is_pleasant(tmp_path, monkeypatch, capsys):
    """SmolLM2-135M with LoRA on words of the VADER lexicon: better than 80 % on families that it has not seen."""
    pytest.importorskip("vaderSentiment")
    model = small_models.smollm2()
    path = tmp_path / "preferences.jsonl"
    example = HERE.parent / "examples" / "pleasant_preferences.py"
    subprocess.run([sys.executable, str(example), str(path), "--limit", "400"], check=True, capture_output=True)
    options = ["--dtype", "bfloat16", "--learning-rate", "0.0005", "--steps", "16", "--json"]
    command = ["train", "reward_model", "--data", str(path), "--model", model, *options]
    assert main([*command, "--log-dir", str(tmp_path / "a")]) == 0
    longer, untrained, trained = json.loads(capsys.readouterr().out)["rows"]
    assert trained["mean"] > 0.8
    assert trained["low"] > max(longer["mean"], untrained["mean"])
