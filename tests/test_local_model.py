"""Local models: batches, kept prefixes, scores of given texts, and what goes wrong; on tiny and small real models."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from oversight.errors import ConfigurationError, ContextTooLong, MissingExtra, ModelError, UnknownName  # noqa: E402
from oversight.models import ModelCall, ScoreCall  # noqa: E402
from oversight.models.local import LocalModel, source  # noqa: E402
from oversight.models.local import engine as engines  # noqa: E402
from oversight.models.local.attention import KeyValueCache, Piece, Segment, Step  # noqa: E402
from oversight.models.local.prefixes import PrefixStore  # noqa: E402
from oversight.models.local.text import Texts  # noqa: E402
from oversight.models.openai_compatible import ModelOptions, OpenAICompatible  # noqa: E402
from oversight.registry import find_agent  # noqa: E402

_specification = importlib.util.spec_from_file_location("small_models", Path(__file__).with_name("small_models.py"))
small_models = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(small_models)
smollm2, tiny_model = small_models.smollm2, small_models.tiny_model

TOLERANCE = 1e-4  # of log-probabilities in float32, whatever runs beside a call

WORDS = "the answer is correct since the harbour was safe and another debate about it is there".split(" ")  # noqa: SIM905


def asked(*texts: str, **options) -> ModelCall:
    names = ("user", "assistant")
    said = tuple({"role": names[n % 2], "content": text} for n, text in enumerate(texts))
    return ModelCall(said, **{"temperature": 0.0, "max_tokens": 12, **options})


def ragged(count: int, **options) -> list[ModelCall]:
    """Calls with prompts of 1 to many words."""
    return [asked(" ".join(WORDS[n % 5 :] * (1 + n % 3) + WORDS[: n + 1]), **options) for n in range(count)]


def together(model: LocalModel, calls, *, close: bool = True):
    """The replies to calls that are all in flight at once."""

    async def main():
        try:
            return await asyncio.gather(
                *(model.score(call) if isinstance(call, ScoreCall) else model.complete(call) for call in calls),
                return_exceptions=True,
            )
        finally:
            if close:
                await model.close()

    return asyncio.run(main())


def alone(model: LocalModel, calls):
    """The replies to calls made one after the other, nothing kept between them."""

    async def main():
        replies = []
        for call in calls:
            replies.append(await (model.score(call) if isinstance(call, ScoreCall) else model.complete(call)))
            model._shared.engine._store.clear()
        await model.close()
        return replies

    return asyncio.run(main())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def sliding(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("sliding"), "gemma")


@pytest.fixture
def reference(request, folder, sliding):
    """A folder with a tiny model, and the same model as transformers runs it."""
    path = {"full": folder, "sliding": sliding}[request.param]
    model = transformers.AutoModelForCausalLM.from_pretrained(path).eval()
    return path, model, transformers.AutoTokenizer.from_pretrained(path)


def slow_scores(model, tokenizer, prompt: str, call: ScoreCall, *, form: str) -> list[float]:
    """By a pass for each option over the whole text."""
    before = f"{prompt}{call.start}" if form == "chat" or not call.start else f"{prompt} {call.start}"
    alone = tokenizer(before, add_special_tokens=False).input_ids
    whole = [tokenizer(f"{before} {option}", add_special_tokens=False).input_ids for option in call.options]
    seam = min(next((n for n, (a, b) in enumerate(zip(alone, ids)) if a != b), len(alone)) for ids in whole)  # noqa: B905
    found = []
    for ids in whole:
        with torch.no_grad():
            logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        found.append(sum(float(logprobs[n - 1, ids[n]]) for n in range(seam, len(ids))))
    return found


# ---- batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["full", "sliding"], indirect=True)
@pytest.mark.parametrize("options", [{}, {"max_step_tokens": 7}, {"max_batch": 3}])
def test_a_ragged_batch_says_what_generate_says(reference, options):
    path, model, tokenizer = reference
    calls = ragged(8, top_logprobs=3)
    found = together(LocalModel(str(path), **options), calls)
    for call, completion in zip(calls, found, strict=True):
        text = tokenizer.apply_chat_template(list(call.messages), tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        with torch.no_grad():
            expected = model.generate(**ids, max_new_tokens=12, do_sample=False, pad_token_id=0)
            logprobs = model(expected).logits[0].log_softmax(-1)
        start = ids.input_ids.shape[1]
        new = expected[0, start:].tolist()
        ended = new[-1] == tokenizer.eos_token_id
        assert completion.text == tokenizer.decode(new, skip_special_tokens=True)
        assert completion.finish == ("stop" if ended else "length")
        assert (completion.usage.input_tokens, completion.usage.output_tokens) == (start, len(new))
        assert completion.usage.dollars == 0.0
        assert len(completion.tokens) == len(new) - ended
        for n, token in enumerate(completion.tokens):
            if any("\ufffd" in text for text in token.alternatives):  # parts of characters are all written alike
                continue
            likeliest = max(token.alternatives.values())
            assert likeliest == pytest.approx(float(logprobs[start + n - 1].max()), abs=TOLERANCE)
            assert token.alternatives[token.token] == likeliest


def test_draws_depend_on_the_call_and_not_on_the_batch(folder):
    calls = ragged(8, temperature=None, seed=3)
    calls[1] = replace(calls[0], sample=1)
    calls[2] = replace(calls[0], seed=4)
    calls[3] = replace(calls[0], draw=(1,))
    first = alone(LocalModel(str(folder)), calls)
    batch = together(LocalModel(str(folder)), calls)
    assert [one.text for one in batch] == [one.text for one in first]
    assert len({one.text for one in batch[:4]}) == 4
    reversed_batch = together(LocalModel(str(folder), max_batch=5, max_step_tokens=11), calls[::-1])
    assert [one.text for one in reversed_batch[::-1]] == [one.text for one in first]


def test_a_temperature_sharpens_draws():
    logits = torch.tensor([[0.0, 1.0, 2.0]]).repeat(2000, 1)
    uniform = torch.rand(2000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plain = engines._Sampling(1.0, 0, 1.0)
    drawn = np.bincount(engines._drawn(logits, uniform, plain), minlength=3) / 2000
    assert drawn == pytest.approx(logits[0].softmax(-1).numpy(), abs=0.03)
    assert set(engines._drawn(logits, uniform, replace(plain, top_k=2)).tolist()) == {1, 2}
    assert set(engines._drawn(logits, uniform, replace(plain, top_p=0.6)).tolist()) == {2}
    last = torch.tensor([[1.0 - 1e-16]], dtype=torch.float64)
    assert engines._drawn(torch.tensor([[5.0, -torch.inf]]), last, plain).tolist() == [0]


def test_requests_join_a_running_batch(folder):
    model = LocalModel(str(folder))
    long, short = asked("the answer", max_tokens=200, temperature=None, seed=1), asked("another", max_tokens=2)

    async def main():
        await model.complete(short)
        engine = model._shared.engine
        engine._ends.clear()  # the long reply runs to its limit
        before, order = engine.steps, []

        async def say(name, call):
            await model.complete(call)
            order.append(name)

        first = asyncio.create_task(say("long", long))
        while engine.steps < before + 5:
            await asyncio.sleep(0.001)
        await say("short", replace(short, sample=1))
        await first
        steps = engine.steps - before
        await model.close()
        return order, steps, engine.largest

    order, steps, largest = asyncio.run(main())
    assert order == ["short", "long"]
    assert steps <= 202
    assert largest == 2


def test_single_tokens_attend_together_as_they_do_one_by_one():
    """The way of GPUs and that of processors, for several layers' windows."""
    generator = torch.Generator().manual_seed(0)
    pieces = [Piece(2, 9, [1]), Piece(0, 3, [1]), Piece(3, 0, [1]), Piece(1, 5, [1, 2, 3], [[4, 5], [6]])]
    for window in (None, 4):
        found = []
        for at_once in (False, True):
            cache = KeyValueCache(torch.device("cpu"))
            cache.reserve(4, 16, {})
            old = torch.randn(4, 16, 2, 8, generator=generator.manual_seed(1))
            slots, columns = torch.arange(4).repeat_interleave(16), torch.arange(16).repeat(4)
            past = old.reshape(1, 64, 2, 8).transpose(1, 2)
            cache.write(0, past, past + 1, slots, columns)
            new = torch.randn(1, 8, 9, 8, generator=generator.manual_seed(2))
            step = Step(cache, pieces, together=at_once)
            found.append(step.attend(0, new[:, :4], new[:, 4:6], new[:, 6:], None, window)[..., :8])
        assert torch.allclose(*found, atol=1e-6)


def test_a_cancelled_call_leaves_the_batch(folder):
    model = LocalModel(str(folder))

    async def main():
        await model.complete(asked("warm"))
        engine = model._shared.engine
        engine._ends.clear()
        task = asyncio.create_task(model.complete(asked("long", max_tokens=400)))
        while not engine._running:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await model.complete(asked("next"))
        largest = engine.largest
        await model.close()
        return task.cancelled(), largest

    assert asyncio.run(main()) == (True, 1)


# ---- prefixes -----------------------------------------------------------------------------------


def segment(tokens) -> Segment:
    """Keys that say which tokens they are of."""
    keys = torch.tensor(tokens, dtype=torch.float32)[None, :, None]
    return Segment({0: keys}, {0: keys + 0.5})


def test_the_store_finds_the_longest_beginning_and_forgets_what_was_not_used():
    texts = [np.array(text) for text in ([1, 2, 3, 4, 5], [1, 2, 3, 9], [7, 8], [1, 2, 3, 4, 5, 6])]
    store = PrefixStore(limit=10**6)

    def insert(text):
        store.insert(text, lambda start, end: segment(text[start:end]))

    for text in texts:
        insert(text)
    for text in texts:
        read = [part.keys[0][0, :length, 0] for part, length in store.find(text)]
        assert torch.cat(read).tolist() == text.tolist()
    assert store.length(np.array([1, 2, 8])) == 2
    assert store.length(np.array([5])) == 0
    assert store.size == 9 * 8  # nine different tokens after different beginnings, 8 bytes each
    store.find(texts[1])
    store.limit = 4 * 8
    insert(np.array([1]))
    insert(np.array([1, 2, 3, 9, 9]))
    assert store.size <= store.limit
    assert store.length(texts[2]) == 0
    store.clear()
    assert (store.size, store.length(texts[0])) == (0, 0)
    none = PrefixStore(limit=0)
    none.insert(texts[0], lambda start, end: segment(texts[0][start:end]))
    assert (none.size, none.length(texts[0])) == (0, 0)


def test_a_growing_transcript_and_a_shared_one_are_read_once(folder):
    model = LocalModel(str(folder))
    said = " ".join(WORDS * 4)

    async def main():
        await model.complete(asked(said, max_tokens=2))
        engine = model._shared.engine
        read, found = engine.tokens_read, engine.tokens_found
        grown = await model.complete(asked(f"{said} {' '.join(WORDS[:3])}", max_tokens=2))
        growth = engine.tokens_read - read
        engine._store.clear()
        read, steps = engine.tokens_read, engine.steps
        scores = await asyncio.gather(
            *(model.score(ScoreCall(asked(f"{said} {word}").messages, "so", ("yes", "no"))) for word in WORDS)
        )
        shared = engine.tokens_read - read
        steps = engine.steps - steps
        found = engine.tokens_found - found
        await model.close()
        return grown, growth, found, scores, shared, steps

    grown, growth, found, scores, shared, steps = asyncio.run(main())
    assert growth < grown.usage.input_tokens / 3
    assert found > grown.usage.input_tokens
    assert shared < sum(one.usage.input_tokens for one in scores) / 3
    assert steps == 2  # one reads what is shared, the other all the rest


def test_prefixes_do_not_change_what_is_said(folder):
    calls = ragged(6, max_tokens=30)
    calls += [asked(call.messages[0]["content"], "so", "and then?") for call in calls]
    kept = together(LocalModel(str(folder)), calls)
    without = together(LocalModel(str(folder), prefix_memory=0), calls)
    assert [one.text for one in kept] == [one.text for one in without]


# ---- scores -------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["full", "sliding"], indirect=True)
def test_options_are_scored_as_by_a_pass_for_each(reference):
    path, model, tokenizer = reference
    options = ("correct", "the answer", "a", "another harbour there", "é…", "the answer is")
    calls = [
        ScoreCall(asked(" ".join(WORDS[: 3 * n + 1])).messages, start, options[n % 3 :])
        for n, start in enumerate(["the answer is", "the ans", "so", "there is", "it is a deb"])
    ]
    found = together(LocalModel(str(path)), calls)
    small_steps = together(LocalModel(str(path), max_step_tokens=3), calls)
    for call, scores, again in zip(calls, found, small_steps, strict=True):
        prompt = tokenizer.apply_chat_template(list(call.messages), tokenize=False, add_generation_prompt=True)
        expected = slow_scores(model, tokenizer, prompt, call, form="chat")
        assert scores.logprobs == pytest.approx(expected, abs=TOLERANCE)
        assert again.logprobs == pytest.approx(expected, abs=TOLERANCE)
        assert all(count >= 1 for count in scores.tokens)
        assert scores.usage.calls == 1


def test_options_whose_tokens_reach_over_the_seam(folder):
    """A start that ends inside a token that the text with an option has."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    class Greedy:
        """Writes a start's last letter and the space after it as one token, as some tokenizers do."""

        chat_template, bos_token_id = tokenizer.chat_template, tokenizer.bos_token_id
        all_special_ids = tokenizer.all_special_ids
        all_special_tokens, added_tokens_decoder = tokenizer.all_special_tokens, tokenizer.added_tokens_decoder
        apply_chat_template = staticmethod(tokenizer.apply_chat_template)

        def __call__(self, text, add_special_tokens=True):
            ids = [999 if pair == "s " else ord(pair[0]) for pair in _pairs(text)]
            return type("Ids", (), {"input_ids": ids})

    call = ScoreCall(asked("x").messages, "is", ("a", "bb"))
    prompt, options = Texts("tiny", Greedy(), "chat").options(call)
    assert prompt.tolist()[-1] == ord("i")
    assert options == [[999, ord("a")], [999, ord("b"), ord("b")]]


def _pairs(text: str) -> list[str]:
    pairs, at = [], 0
    while at < len(text):
        step = 2 if text[at : at + 2] == "s " else 1
        pairs.append(text[at : at + step])
        at += step
    return pairs


# ---- forms --------------------------------------------------------------------------------------


def test_the_plain_form_and_where_its_replies_end(folder):
    texts = Texts("tiny", transformers.AutoTokenizer.from_pretrained(folder), "plain")
    call = ModelCall(
        (
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "the answer?"},
            {"role": "assistant", "content": "yes"},
            {"role": "user", "content": "why?"},
        )
    )
    text = texts.tokenizer.decode(texts.prompt(call).tolist())
    assert text == "Be short.\n\nUser: the answer?\n\nAssistant: yes\n\nUser: why?\n\nAssistant:"
    ids = texts.tokenizer(" it is so\n\nUser: and").input_ids
    assert texts.reply(ids) == ("it is so", True)
    assert texts.reply(ids[:-8]) == ("it is so", False)
    prompt, options = texts.options(ScoreCall(call.messages, "", ("a", "b")))
    assert texts.tokenizer.decode(prompt.tolist()).endswith("Assistant:")
    assert [texts.tokenizer.decode(option) for option in options] == [" a", " b"]


@pytest.mark.parametrize(
    "template",
    [
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}",
        "{% for m in messages if m.role != 'system' %}{{ m.role }}:{{ m.content }};{% endfor %}",
    ],
)
def test_a_system_message_that_the_template_does_not_take(tmp_path, template):
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model(tmp_path, template=template))
    texts = Texts("tiny", tokenizer, "chat")
    call = ModelCall(({"role": "system", "content": "Rules."}, {"role": "user", "content": "Go."}))
    assert tokenizer.decode(texts.prompt(call).tolist()) == "user:Rules.\n\nGo.;"


def test_the_template_tells_what_ends_a_turn(folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert Texts("tiny", tokenizer, "chat").end_of_turn() == [tokenizer.convert_tokens_to_ids("<|end|>")]


# ---- what goes wrong ----------------------------------------------------------------------------


def test_what_does_not_fit_the_window(folder):
    model = LocalModel(str(folder))
    long = asked(" ".join(WORDS * 40))
    found = together(model, [long, asked("x"), ScoreCall(long.messages, "so", ("a", "b"))])
    for error in (found[0], found[2]):
        assert isinstance(error, ContextTooLong)
        assert error.window == 512
        assert error.tokens > 512
    assert found[1].text


def test_memory_that_runs_out(folder, monkeypatch):
    calls = ragged(8)
    expected = [one.text for one in together(LocalModel(str(folder)), calls)]
    forward, sizes = engines.Engine._forward, []

    def scarce(self, pieces, wanted):
        sizes.append(len(pieces))
        if len(pieces) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, pieces, wanted)

    monkeypatch.setattr(engines.Engine, "_forward", scarce)
    assert [one.text for one in together(LocalModel(str(folder)), calls)] == expected
    assert sizes[-1] <= 2

    def none(self, pieces, wanted):
        if self.steps:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return forward(self, pieces, wanted)

    monkeypatch.setattr(engines.Engine, "_forward", none)
    for error in together(LocalModel(str(folder)), calls[:3]):
        assert isinstance(error, ModelError)
        assert "do not fit the memory of cpu" in str(error)
        assert "\n" not in str(error)


def test_a_fault_of_the_model_costs_the_calls_that_run_and_no_more(folder, monkeypatch):
    forward = engines.Engine._forward
    model, broken = LocalModel(str(folder)), []

    def faulty(self, pieces, wanted):
        if broken:
            broken.pop()
            raise ZeroDivisionError("odd")
        return forward(self, pieces, wanted)

    monkeypatch.setattr(engines.Engine, "_forward", faulty)
    together(model, [asked("x")], close=False)
    broken.append(1)
    (error,) = together(model, [asked("y")], close=False)
    assert isinstance(error, ModelError)
    assert "ZeroDivisionError" in str(error)
    assert together(model, [asked("y")])[0].text is not None


def test_models_that_are_not_there(tmp_path):
    for named, words in (
        (str(tmp_path / "none"), "no such folder"),
        ("nobody/nothing-of-that-name", "hub"),
        (str(tmp_path), "neither config.json nor a .gguf file"),
    ):
        with pytest.raises(ConfigurationError, match=words) as caught:
            LocalModel(named).require()
        assert "\n" not in str(caught.value)
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"2 \.gguf files: give the path of one"):
        LocalModel(str(tmp_path)).describe()
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ConfigurationError, match="is no model"):
        LocalModel(str(tmp_path / "notes.txt")).require()


def test_a_broken_folder_is_one_line(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"nothing")
    model = LocalModel(str(tmp_path / "broken"))
    model.require()
    for error in together(model, [asked("x"), asked("y")]):
        assert isinstance(error, ConfigurationError)
        assert "cannot be loaded" in str(error)
        assert "\n" not in str(error)


def test_a_model_without_a_template(tmp_path):
    path = tiny_model(tmp_path, template=None)
    with pytest.raises(ConfigurationError, match=r"no chat template.*\(template=plain\)"):
        LocalModel(str(path)).require()
    (error,) = together(LocalModel(str(path)), [asked("x")])
    assert isinstance(error, ConfigurationError)
    plain = LocalModel(str(path), template="plain")
    plain.require()
    assert together(plain, [asked("x")])[0].finish in ("stop", "length")


def test_a_model_that_reads_by_more_than_attention(tmp_path):
    (error,) = together(LocalModel(str(tiny_model(tmp_path, "mamba"))), [asked("x")])
    assert isinstance(error, ConfigurationError)
    assert "MambaForCausalLM" in str(error)
    assert "vllm/" in str(error)


def test_missing_packages(folder, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "torch" else find(name, *more))
    with pytest.raises(MissingExtra, match=r"scalable-oversight\[local\]"):
        LocalModel(str(folder)).require()


def test_options(folder):
    with pytest.raises(UnknownName, match="did you mean 'plain'"):
        LocalModel(str(folder), template="plane")
    with pytest.raises(ConfigurationError, match="at least 1"):
        LocalModel(str(folder), max_batch=0)
    with pytest.raises(ConfigurationError, match="gigabytes"):
        LocalModel(str(folder), prefix_memory=-1)
    with pytest.raises(ConfigurationError, match="device"):
        LocalModel(str(folder), device="nowhere").require()
    with pytest.raises(UnknownName, match="did you mean 'dtype'"):
        find_agent(f"hf/{folder}(dtyp=float32)")
    agent = find_agent(f"hf/{folder}(template=plain,dtype=bfloat16)")
    assert agent.name == f"hf/{folder}(template=plain,dtype=bfloat16)"
    assert (agent.model.template, agent.model.dtype) == ("plain", "bfloat16")


# ---- identity and sharing -----------------------------------------------------------------------


def test_a_model_is_known_by_its_content(folder, tmp_path):
    copied = tmp_path / folder.name
    shutil.copytree(folder, copied)
    described = LocalModel(str(folder), dtype="float32").describe()
    assert LocalModel(str(copied), dtype="float32").describe() == described
    assert str(folder.parent) not in str(described)
    assert LocalModel(str(folder), dtype="bfloat16").describe() != described
    assert LocalModel(str(folder), dtype="float32", template="plain").describe() != described
    (copied / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert LocalModel(str(copied), dtype="float32").describe() != described


def test_nothing_heavy_is_imported_or_loaded_before_it_is_used(folder):
    code = f"""import sys
from oversight.registry import find_agent
agent = find_agent("hf/{folder}(dtype=float32)")
assert agent.model.scores_options
print([name for name in ("torch", "transformers") if name in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_models_with_the_same_files_share_what_is_loaded(folder):
    one, other, plain = (LocalModel(str(folder), template=form) for form in ("chat", "chat", "plain"))

    async def main():
        await asyncio.gather(*(model.complete(asked("x")) for model in (one, other, plain)))
        first = one._shared.engine
        shared = {id(model._shared.engine) for model in (one, other, plain)}
        await one.close()
        await one.close()
        await other.close()
        alive = first._thread.is_alive()
        await plain.complete(asked("y"))
        await plain.close()
        ended = not first._thread.is_alive()
        await one.complete(asked("x"))  # opens it again
        new = one._shared.engine
        await one.close()
        return len(shared), alive, ended, new is first, first._model

    assert asyncio.run(main()) == (1, True, True, False, None)


def test_a_closed_model_leaves_nobody_waiting(folder):
    model = LocalModel(str(folder))

    async def main():
        await model.complete(asked("x"))
        model._shared.engine._ends.clear()
        waiting = [asyncio.create_task(model.complete(asked("y", max_tokens=400, sample=n))) for n in range(3)]
        await asyncio.sleep(0.05)
        await model.close()
        return await asyncio.gather(*waiting, return_exceptions=True)

    for error in asyncio.run(main()):
        assert isinstance(error, ModelError)
        assert "closed before it replied" in str(error)


# ---- a real model -------------------------------------------------------------------------------


def test_a_gguf_file_is_read_once(monkeypatch):
    file = smollm2()
    model = LocalModel(file)
    model.require()
    together(model, [asked("Hello", max_tokens=1)])
    monkeypatch.setattr(source, "_convert_gguf", lambda *words: pytest.fail("read again"))
    again = LocalModel(file)
    (completion,) = together(again, [asked("What is the capital of France? Answer in one word.")])
    assert "Paris" in completion.text
    assert again.describe()["model"] == "SmolLM2-135M-Instruct.Q4_1"


def test_a_real_model_says_the_same_alone_and_in_a_batch():
    model = LocalModel(smollm2(), dtype="float32")
    topics = ("rivers", "chess", "bread", "the moon, and what people have said of it since they first looked up")
    calls = [
        asked(f"Say something about {topic}.", temperature=heat, seed=5, top_logprobs=4, max_tokens=10)
        for topic in topics
        for heat in (0.0, 0.8)
    ]
    scored = ScoreCall(asked("What is the capital of Italy?").messages, "The capital is", ("Rome", "Paris, France"))
    *batch, scores = together(model, [*calls, scored])
    first = alone(model, calls[-2:])
    for one, other in zip(first, batch[-2:], strict=True):
        assert one.text == other.text
        for a, b in zip(one.tokens, other.tokens, strict=True):
            assert a.token == b.token
            assert dict(a.alternatives) == pytest.approx(dict(b.alternatives), abs=TOLERANCE)
    assert "".join(token.token for token in batch[-1].tokens) == batch[-1].text
    assert scores.logprobs[0] > scores.logprobs[1] + 3
    assert scores.tokens == (1, 3)


def test_a_real_models_scores_against_a_pass_for_each():
    model = LocalModel(smollm2(), dtype="float32")
    call = ScoreCall(
        asked("Which animal barks?").messages, "The animal that barks is the", ("dog", "hippopotamus", "cat, of course")
    )
    together(model, [asked("Hello", max_tokens=1)], close=False)
    loaded = model._shared.engine.source
    tokenizer, plain = loaded.tokenizer(), loaded.weights(torch.float32)
    prompt = tokenizer.apply_chat_template(list(call.messages), tokenize=False, add_generation_prompt=True)
    (scores,) = together(model, [call])
    assert scores.logprobs == pytest.approx(slow_scores(plain, tokenizer, prompt, call, form="chat"), abs=TOLERANCE)
    assert scores.logprobs[0] == max(scores.logprobs)


# ---- a server of local models, as an endpoint ---------------------------------------------------


def test_transformers_serve_is_an_endpoint_that_ignores_logprobs(tmp_path):
    """Replies come, log-probabilities that were asked for do not: completions have tokens None, and say so."""
    for package in ("fastapi", "uvicorn"):
        pytest.importorskip(package, reason="no server: pip install 'transformers[serving]'")
    command = shutil.which("transformers", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("the command transformers is not beside this Python")
    folder = LocalModel(smollm2())._source()._convert()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", str(folder), "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    log = (tmp_path / "server.log").open("w")
    settings = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen([command, *words], stdout=log, stderr=subprocess.STDOUT, env=settings)
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            assert server.poll() is None, (tmp_path / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline, (tmp_path / "server.log").read_text()[-2000:]
            time.sleep(0.2)
        options = ModelOptions(base_url=f"http://127.0.0.1:{port}/v1", timeout=60)
        agent = find_agent(f"openai/{folder}", options=options)
        assert isinstance(agent.model, OpenAICompatible)

        async def main():
            call = asked("What is the capital of France?", top_logprobs=5, max_tokens=10)
            try:
                return await agent.model.complete(call)
            finally:
                await agent.close()

        completion = asyncio.run(main())
    finally:
        server.terminate()
        server.wait(20)
        log.close()
    assert "Paris" in completion.text
    assert completion.tokens is None
    assert completion.usage.output_tokens > 0


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
            return reply.status == 200
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
