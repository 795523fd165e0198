"""What batching and kept prefixes bring to local models, beside a loop of ``model.generate`` for every turn.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python tests/benchmark_local.py

The work is debates of two debaters and three rounds with a judge's verdict by log-probabilities, then many verdicts
on one transcript.  All ways do the same work in one run, so that their ratios hold on a noisy machine; replies are
greedy, so that transcripts can be compared.  The loop reads every prompt as a whole, as one would write it by hand;
its verdict is one pass, the options being one token each.  Where there is a GPU, the continuous batching of
transformers plays the same debates too.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from small_models import smollm2_file

from oversight.models import ModelCall, ScoreCall
from oversight.models.local import LocalModel

PASSAGE = """The harbour of Ostra was dredged in the spring of 1904, against the advice of the town's own engineer,
who held that the sandbar sheltered the boats from the winter storms. For eleven years nothing happened. In the storm
of 1915 the outer mole broke, and nineteen boats were lost in one night. The inquiry that followed heard forty
witnesses and blamed nobody. The harbour master, a careful man, wrote in his diary that the bar would have made no
difference, since the wind had come from the south for the first time in living memory. The bar was never put back,
but the new mole was built a metre higher, and the town paid for it with a tax on herring."""
QUESTIONS = [
    f"{one} {other}?"
    for one in ("Was the town", "Was the engineer", "Was the inquiry", "Was the diary")
    for other in ("right", "careless", "to blame", "honest", "too slow", "well advised", "fair", "of any use")
]
START, OPTIONS = "The answer is", ("yes", "no")

Messages = tuple[dict[str, str], ...]
Debate = tuple[list[str], tuple[float, ...]]
"""The speeches, and the log-probabilities of yes and no."""


class Way(Protocol):
    """A way to get replies and verdicts."""

    async def reply(self, messages: Messages) -> str: ...

    async def verdict(self, messages: Messages) -> tuple[float, ...]: ...


def prompt(who: str, task: str, question: str, said: Sequence[str], layout: str) -> Messages:
    """A seat's prompt: the text and the question, the growing transcript, and what is asked for now.

    Layout ``shared`` begins with what all seats share and ends with the seat's own instructions; ``seats`` begins
    with these, so that no two seats of a debate share anything.
    """
    turns = "".join(f"\n{'Ann' if n % 2 == 0 else 'Bob'}: {text}" for n, text in enumerate(said))
    user = f"{PASSAGE}\n\n{question} Ann says yes, Bob says no.{turns}\n"
    if layout == "shared":
        system, user = "This is a debate.", f"{user}{task} {who}:"
    else:
        system, user = f"This is a debate. {task}", f"{user}{who}:"
    return ({"role": "system", "content": system}, {"role": "user", "content": user})


async def debate(way: Way, question: str, rounds: int, layout: str) -> Debate:
    said: list[str] = []
    for _ in range(rounds):
        prompts = [
            prompt(
                who,
                f"You are {who}. Argue in two or three sentences that the answer is {side}.",
                question,
                said,
                layout,
            )
            for who, side in (("Ann", "yes"), ("Bob", "no"))
        ]
        said += await asyncio.gather(*map(way.reply, prompts))
    return said, await way.verdict(prompt("Judge", "You are the judge: yes or no?", question, said, layout))


class Loop:
    """``model.generate`` for every turn, one after the other."""

    def __init__(self, model: Any, tokenizer: Any, tokens: int) -> None:
        self.model, self.tokenizer, self.tokens = model, tokenizer, tokens
        self.written = 0
        self.turn = asyncio.Lock()

    def read(self, messages: Messages, start: str = "") -> Any:
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) + start
        return self.tokenizer(text, add_special_tokens=False, return_tensors="pt").to(self.model.device)

    async def reply(self, messages: Messages) -> str:
        async with self.turn:
            read = self.read(messages)
            with torch.inference_mode():
                ids = self.model.generate(**read, max_new_tokens=self.tokens, do_sample=False)
        ids = ids[0, read.input_ids.shape[1] :]
        self.written += len(ids)
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    async def verdict(self, messages: Messages) -> tuple[float, ...]:
        async with self.turn:
            read = self.read(messages, START)
            with torch.inference_mode():
                logits = self.model(**read, logits_to_keep=1).logits[0, -1]
        ids = [self.tokenizer(f" {option}", add_special_tokens=False).input_ids for option in OPTIONS]
        assert all(len(one) == 1 for one in ids), "an option is not one token"
        return tuple(logits.float().log_softmax(-1)[[one for (one,) in ids]].tolist())


class Ours:
    """The library's local model."""

    def __init__(self, model: LocalModel, tokens: int) -> None:
        self.model, self.tokens, self.written = model, tokens, 0

    async def reply(self, messages: Messages) -> str:
        completion = await self.model.complete(ModelCall(messages, temperature=0.0, max_tokens=self.tokens))
        self.written += completion.usage.output_tokens
        return completion.text

    async def verdict(self, messages: Messages) -> tuple[float, ...]:
        return (await self.model.score(ScoreCall(messages, START, OPTIONS))).logprobs


class Continuous(Loop):
    """The continuous batching of transformers; its verdicts are those of the loop."""

    def __init__(self, model: Any, tokenizer: Any, tokens: int) -> None:
        super().__init__(model, tokenizer, tokens)
        from transformers import GenerationConfig

        configuration = GenerationConfig(
            max_new_tokens=tokens, do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=0
        )
        self.manager = model.init_continuous_batching(generation_config=configuration)
        self.manager.start()

    async def reply(self, messages: Messages) -> str:
        ids = self.read(messages).input_ids[0].tolist()
        name = self.manager.add_request(ids, max_new_tokens=self.tokens)
        while (result := self.manager.get_result(request_id=name, timeout=0.001)) is None or not result.is_finished():
            await asyncio.sleep(0.002)
        self.written += len(result.generated_tokens)
        return str(self.tokenizer.decode(result.generated_tokens, skip_special_tokens=True))


async def play(way: Way, questions: Sequence[str], rounds: int, layout: str, concurrency: int) -> list[Debate]:
    places = asyncio.Semaphore(concurrency)

    async def one(question: str) -> Debate:
        async with places:
            return await debate(way, question, rounds, layout)

    return list(await asyncio.gather(*map(one, questions)))


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock, and of the processor (which other programs disturb less), for a number of debates."""

    wall: float
    processor: float
    work: int = 1

    def beside(self, other: Spent) -> str:
        """How many times longer the other took for the same work."""
        share = self.work / other.work
        wall, processor = other.wall / self.wall * share, other.processor / self.processor * share
        return f"{wall:5.2f} x by the clock, {processor:5.2f} x processor"


async def timed(work: Callable[[], Awaitable[list[Any]]]) -> tuple[Any, Spent]:
    start = time.perf_counter(), time.process_time()
    found = await work()
    return found, Spent(time.perf_counter() - start[0], time.process_time() - start[1], len(found))


def line(name: str, spent: Spent, written: int | None = None) -> str:
    rate = f"  {written / spent.wall:6.1f} tokens/s" if written is not None else ""
    return f"  {name:32} {spent.wall:7.1f} s  {spent.processor:7.1f} s processor{rate}"


def alike(found: Sequence[Debate], expected: Sequence[Debate]) -> str:
    pairs = list(zip(found, expected, strict=False))  # the slow ways may have played the first of them alone
    same = [(one[1], other[1]) for one, other in pairs if one[0] == other[0]]
    furthest = max((abs(a - b) for x, y in same for a, b in zip(x, y, strict=True)), default=math.nan)
    return f"{len(same)}/{len(pairs)} transcripts identical, their verdicts' log-probabilities within {furthest:.0e}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="tokens a second and wall time, beside a loop of model.generate")
    parser.add_argument("--model", default=str(smollm2_file() or ""), help="folder, GGUF file or hub name")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--debates", type=int, default=32)
    parser.add_argument("--alone", type=int, help="how many of them one at a time, by the loop and by us; all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=32, help="most new tokens of a turn")
    parser.add_argument("--layout", default="shared", choices=("shared", "seats"), help="what a prompt begins with")
    parser.add_argument("--concurrency", default="1,8,32", help="debates at a time")
    parser.add_argument("--questions", type=int, default=16, help="verdicts on one transcript")
    parser.add_argument("--transcript", type=int, default=700, help="tokens of that transcript, about")
    return parser.parse_args()


async def main() -> None:
    given = arguments()
    chosen = [QUESTIONS[n % len(QUESTIONS)] for n in range(given.debates)]
    alone = chosen[: given.alone]
    levels = [int(level) for level in given.concurrency.split(",")]
    local = LocalModel(given.model, dtype=given.dtype, device=given.device)
    await local.complete(ModelCall(({"role": "user", "content": "Hello"},), max_tokens=1))  # loads it
    assert local._shared is not None
    engine = local._shared.engine
    ours = Ours(local, given.tokens)
    # The loop has a copy of its own, with the attention that transformers gives it.
    tokenizer, model = engine.source.tokenizer(), engine.source.weights(getattr(torch, given.dtype)).to(given.device)
    loop = Loop(model, tokenizer, given.tokens)

    async def played(way: Way, most: int) -> list[Debate]:
        return await play(way, chosen if most > 1 else alone, given.rounds, given.layout, most)

    print(f"{engine.source.name}, {given.dtype}, {given.device}, {torch.get_num_threads()} threads")
    print(f"{len(chosen)} debates of 2 x {given.rounds} turns of up to {given.tokens} tokens, and a verdict each")
    print(f"layout {given.layout}; one at a time {len(alone)} of them", flush=True)
    expected, slow = await timed(lambda: played(loop, 1))
    print(line("loop of model.generate", slow, loop.written), flush=True)
    for level in levels:
        engine._store.clear()
        ours.written, before = 0, (engine.steps, engine.tokens_read, engine.tokens_found)
        found, fast = await timed(lambda level=level: played(ours, level))
        after = engine.steps, engine.tokens_read, engine.tokens_found
        steps, read, kept = (now - then for now, then in zip(after, before, strict=True))
        print(line(f"ours, {level} debates at a time", fast, ours.written), "", fast.beside(slow))
        print(f"    {alike(found, expected)}; {steps} steps, {read} tokens read, {kept} found in store", flush=True)
    if given.device.startswith("cuda"):
        batching = Continuous(model, tokenizer, given.tokens)
        found, fast = await timed(lambda: played(batching, max(levels)))
        batching.manager.stop(block=True)
        print(line(f"continuous batching, {max(levels)} at a time", fast, batching.written), "", fast.beside(slow))
        print(f"    {alike(found, expected)}", flush=True)

    transcript: list[str] = []
    for speeches, _ in expected:
        if len(tokenizer(PASSAGE + " ".join(transcript)).input_ids) < given.transcript:
            transcript += speeches
    asked = [
        prompt("Judge", f"You are the judge. {QUESTIONS[n % len(QUESTIONS)]}", chosen[0], transcript, "shared")
        for n in range(given.questions)
    ]
    count = len(tokenizer(PASSAGE + " ".join(transcript)).input_ids)
    print(f"{len(asked)} verdicts on one transcript of {count} tokens, the passage included")

    async def verdicts(way: Way) -> list[tuple[float, ...]]:
        return list(await asyncio.gather(*map(way.verdict, asked)))

    wanted, slow = await timed(lambda: verdicts(loop))
    print(line("a pass for each", slow), flush=True)
    engine._store.clear()
    got, fast = await timed(lambda: verdicts(ours))
    furthest = max(abs(a - b) for x, y in zip(got, wanted, strict=True) for a, b in zip(x, y, strict=True))
    print(line("ours", fast), "", fast.beside(slow))
    print(f"    log-probabilities within {furthest:.0e}")
    await local.close()


if __name__ == "__main__":
    asyncio.run(main())
