"""Language models as agents: what a reply is taken for, and what it is not."""

from __future__ import annotations

import asyncio
import importlib.util
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oversight.agents import LanguageModelAgent
from oversight.errors import ModelError, Unparsable
from oversight.models import Completion, Model, TokenProbabilities
from oversight.models.openai_compatible import ModelOptions, vllm
from oversight.requests import Choose, Speak
from oversight.transcript import Usage
from oversight.views import Answer, View

_file = Path(__file__).with_name("endpoint.py")
_specification = importlib.util.spec_from_file_location("oversight_test_endpoint", _file)
endpoints = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(endpoints)


class Replies(Model):
    """Gives completions in order, and keeps the calls."""

    def __init__(self, *completions):
        super().__init__("test/replies")
        self.completions, self.calls = list(completions), []

    async def complete(self, call):
        self.calls.append(call)
        completion = self.completions[len(self.calls) - 1]
        return completion if isinstance(completion, Completion) else Completion(completion, usage=Usage(1, 10, 5, 0.25))


NO_TOKENS = "no log-probabilities came back"


def view(labels="AB"):
    answers = tuple(Answer(label, f"Answer {label}") for label in labels)
    return View("judge", "Judge", "You judge.", "", "Who?", answers, tuple(labels), None, ())


def choose(*completions, labels="AB", sample=0, orders="one", **settings):
    model = Replies(*completions)
    agent = LanguageModelAgent(model, orders=orders, **settings)
    choice = asyncio.run(agent.choose(Choose(view(labels), sample=sample)))
    assert set(choice.probabilities) == set(labels)
    assert math.isclose(sum(choice.probabilities.values()), 1.0)
    return choice, model


def speak(*completions, **settings):
    model = Replies(*completions)
    return asyncio.run(LanguageModelAgent(model, **settings).speak(Speak(view()))), model


# ---- stated confidence --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Answer: A\nConfidence: 85%", {"A": 0.85, "B": 0.15}),
        ("Answer: B\nConfidence: 85%", {"A": 0.15, "B": 0.85}),
        ("answer: A\nCONFIDENCE: 0%", {"A": 0.0, "B": 1.0}),
        ("  **Answer:** B.\n**Confidence: 100%**", {"A": 0.0, "B": 1.0}),
        ("Answer: (B)\n\nConfidence: 62.5 %", {"A": 0.375, "B": 0.625}),
        ("Final answer: A\nAnswer: A\nConfidence: 30%\nConfidence: 30%", {"A": 0.3, "B": 0.7}),
        ("Answer: A\r\nConfidence: 7%", {"A": 0.07, "B": 0.93}),
        ("The passage says so. Answer: B\nConfidence: 70%", {"A": 0.3, "B": 0.7}),  # run on, but said once
    ],
)
def test_stated_confidence(reply, expected):
    choice, model = choose(reply)
    assert choice.probabilities == pytest.approx(expected)
    assert (choice.elicitation, choice.usage, choice.notes) == (
        "stated confidence",
        Usage(1, 10, 5, 0.25),
        (NO_TOKENS,),
    )
    (call,) = model.calls
    assert (call.temperature, call.top_logprobs) == (0.0, 20)


def test_the_rest_is_spread_evenly_and_a_low_confidence_stays_as_stated():
    choice, _ = choose("Answer: C\nConfidence: 10%", labels="ABCD")
    assert choice.probabilities == pytest.approx({"A": 0.3, "B": 0.3, "C": 0.1, "D": 0.3})


UNREADABLE = [
    "I would not say Answer: A, as the passage is silent.\nConfidence: 70%",
    "One could say Answer: A. I say Answer: B\nConfidence: 70%",
    "It may be answer: B\nbut I cannot tell.\nConfidence: 70%",
    "A",
    "I think that a good answer is A.\nConfidence: 80%",
    "Answer: a\nConfidence: 80%",
    "Answer: A (or B)\nConfidence: 80%",
    "Answer: A or B\nConfidence: 80%",
    "Answer: A, B\nConfidence: 80%",
    "Answer: AB\nConfidence: 80%",
    "Answer: not A\nConfidence: 80%",
    "Answer: ~A\nConfidence: 80%",
    "Answer: A?\nConfidence: 80%",
    "Answer: C\nConfidence: 80%",
    "Answer:\nA\nConfidence: 80%",
    "Answer: A\nAnswer: B\nConfidence: 80%",
    "Answer: A\nFinal answer: B\nConfidence: 80%",
    "Answer: A\nAnswer: it depends\nConfidence: 80%",
    "Answer: \uff21\nConfidence: 80%",
    "Answer: A\nConfidence: 0.85",
    "Answer: A\nConfidence: 85",
    "Answer: A\nConfidence: 7",
    "Answer: A\nConfidence: 7/10",
    "Answer: A\nConfidence: high",
    "Answer: A\nConfidence: 101%",
    "Answer: A\nConfidence: -5%",
    "Answer: A\nConfidence: 80-90%",
    "Answer: A\nConfidence: 8,5%",
    "Answer: A\nConfidence: \u0668\u0665%",
    "Answer: A\nConfidence: 80%\nConfidence: 90%",
    "Answer: A Confidence: 80%",
    "<think>Answer: A\nConfidence: 80%",
    "<think>Answer: A\nConfidence: 80%</think>",
]


@pytest.mark.parametrize("reply", UNREADABLE)
def test_what_cannot_be_read_is_asked_once_more(reply):
    choice, model = choose(reply, "Answer: B\nConfidence: 60%", sample=3)
    assert choice.probabilities == pytest.approx({"A": 0.4, "B": 0.6})
    assert (choice.usage, choice.notes) == (Usage(2, 20, 10, 0.5), ("asked once more", NO_TOKENS))
    first, second = model.calls
    assert second.messages[:-2] == first.messages
    assert second.messages[-2] == {"role": "assistant", "content": reply}
    assert second.messages[-1]["role"] == "user"
    assert "exactly two lines" in second.messages[-1]["content"]
    assert (second.sample, second.temperature, second.top_logprobs) == (3, 0.0, 20)


@pytest.mark.parametrize("reply", UNREADABLE)
def test_what_cannot_be_read_twice_is_unparsable(reply):
    with pytest.raises(Unparsable, match=r"^test/replies: .*, after one more try: ") as caught:
        choose(reply, reply)
    assert "\n" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_long_reply_is_shortened_in_the_message():
    with pytest.raises(Unparsable) as caught:
        choose("x" * 999, Completion("x" * 999, finish="length"))
    assert len(str(caught.value)) < 300
    assert "(cut at 1024 tokens: raise the limit)" in str(caught.value)


@settings(deadline=None)  # the machine may be busy
@given(st.text(alphabet="AB \n:*()%,.Answer:Confidence0123456789", max_size=60))
def test_no_reply_is_an_error_of_ours(reply):
    try:
        choice, _ = choose(*[reply] * 12)  # twice for a confidence, and at most twice for each of five votes
    except Unparsable:
        return
    assert choice.elicitation in ("stated confidence", "votes")


# ---- votes --------------------------------------------------------------------------------------


def test_an_answer_without_confidence_falls_to_votes_in_the_end():
    choice, model = choose("Answer: B", "Answer: B", "Answer: B", "Answer: A", *["Answer: B"] * 3)
    assert choice.probabilities == pytest.approx({"A": 0.2, "B": 0.8})
    assert (choice.elicitation, choice.usage, len(model.calls)) == ("votes", Usage(7, 70, 35, 1.75), 7)
    assert choice.notes == ("asked once more", NO_TOKENS, "no confidence stated: votes")
    assert choose("Answer: B", "Answer: B\nConfidence: 70%")[0].elicitation == "stated confidence"


# ---- log-probabilities --------------------------------------------------------------------------


def tokens(*given):
    """Tokens of a reply: text, or (text, {alternative: probability})."""
    pairs = [(one, {one: 1.0}) if isinstance(one, str) else one for one in given]
    return tuple(TokenProbabilities(text, {a: math.log(p) for a, p in others.items()}) for text, others in pairs)


def reply(*given):
    made = tokens(*given)
    return Completion("".join(token.token for token in made), tokens=made, usage=Usage(1, 10, 5, 0.25))


def test_log_probabilities_come_first():
    choice, _ = choose(
        reply(
            "Answer", ":", (" A", {" A": 0.5, "A": 0.1, " B": 0.15, " b": 0.1, " The": 0.05}), "\n", "Confidence: 99%"
        )
    )
    assert choice.probabilities == pytest.approx({"A": 0.8, "B": 0.2})
    assert choice.elicitation == "log-probabilities"


@pytest.mark.parametrize(
    "written", [["Answer:", " (", "A", ")"], ["**", "Answer", ":**", " A"], ["Answer", ": ", "A\n"]]
)
def test_the_place_of_the_answer(written):
    parts = [(part, {part: 0.75, part.replace("A", "B"): 0.25}) if part.strip() == "A" else part for part in written]
    choice, _ = choose(reply(*parts))
    assert choice.probabilities == pytest.approx({"A": 0.75, "B": 0.25})


def test_the_last_answer_counts_and_a_label_that_is_not_listed_has_none():
    choice, _ = choose(
        reply("Answer:", (" A", {" A": 0.9, " B": 0.1}), "\n", "Answer:", (" A", {" A": 0.6, " C": 0.3}), "\n"),
        labels="ABC",
    )
    assert choice.probabilities == pytest.approx({"A": 2 / 3, "B": 0.0, "C": 1 / 3})


@pytest.mark.parametrize(
    "answer",
    [
        (" A", {" A": 0.3, " B": 0.1, " The": 0.5}),  # little mass on labels
        (" A", {" B": 0.9}),  # the chosen label is not among them
        " A\nConf",  # in one token with other words
    ],
)
def test_tokens_that_do_not_tell_give_way_to_the_stated_confidence(answer):
    given = reply("Answer:", answer, *(["idence: 70%"] if isinstance(answer, str) else ["\nConfidence: 70%"]))
    choice, _ = choose(given)
    assert (choice.elicitation, choice.probabilities["A"]) == ("stated confidence", 0.7)


def test_log_probabilities_do_not_save_two_answers():
    twice = reply("Answer:", (" A", {" A": 1.0}), "\nAnswer:", (" B", {" B": 1.0}))
    with pytest.raises(Unparsable):
        choose(twice, twice)


def test_reasons_are_kept_and_private():
    choice, model = choose("<think>Hm.</think>The cook ran.\nAnswer: A\nConfidence: 80%\nSo be it.", reasoning=True)
    assert choice.reasoning == "Hm.\n\nThe cook ran.\nSo be it."
    assert "First think" in model.calls[0].messages[-1]["content"]


# ---- speeches -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "text", "reasoning"),
    [
        ("  It was him. \n", "It was him.", ""),
        ("<thinking>Secret.</thinking>\nIt was him.", "It was him.", "Secret."),
        ("<think>\nSecret.\n</think>It was him.", "It was him.", "Secret."),
        ("Secret.</think>It was him.", "It was him.", "Secret."),
        ("It was <thinking>Secret.</thinking>him. <THINK>More.</THINK>", "It was him.", "Secret.\n\nMore."),
        ("If a &lt; b, then AT&T &amp;amp; so on.", "If a < b, then AT&T &amp; so on.", ""),
        ("I argue. <argument>Yes</argument>", "I argue. <argument>Yes</argument>", ""),
    ],
)
def test_speeches(reply, text, reasoning):
    speech, model = speak(reply)
    assert (speech.text, speech.reasoning, speech.usage, speech.notes) == (text, reasoning, Usage(1, 10, 5, 0.25), ())
    (call,) = model.calls
    assert (call.temperature, call.max_tokens, call.top_logprobs) == (None, 1024, None)


@pytest.mark.parametrize(
    "reply",
    [
        "<thinking>Secret. It was him.",
        "It was him. <think>Secret.",
        "<think>Secret. <think>More.</think> It was him.",
        "It was him. </think> Really.</think>",
        "<thinking>Secret.</thinking>",
    ],
)
def test_reasoning_that_is_not_closed_never_becomes_public(reply):
    speech, _ = speak(reply, "It was him.")
    assert (speech.text, speech.notes) == ("It was him.", ("asked once more",))
    with pytest.raises(Unparsable):
        speak(reply, reply)


@pytest.mark.parametrize(
    ("reply", "reasoning"),
    [
        ("<thinking>Secret.</thinking><argument>It was him.</argument>", "Secret."),
        ("\n<thinking>\nSecret.\n</thinking>\n\n<argument>\nIt was him.\n</argument>\n", "Secret."),
        ("<think>Own.</think><thinking>Secret.</thinking><argument>It was him.</argument>", "Own.\n\nSecret."),
    ],
)
def test_reasoning_that_was_asked_for(reply, reasoning):
    speech, _ = speak(reply, reasoning=True)
    assert (speech.text, speech.reasoning) == ("It was him.", reasoning)


@pytest.mark.parametrize(
    "reply",
    [
        "It was him.",
        "<thinking>Secret.</thinking> It was him.",
        "<argument>It was him.</argument>",
        "<thinking>Secret.<argument>It was him.</argument>",
        "<thinking>Secret.</thinking><argument>It was him.",
        "<thinking>Secret.</thinking> So: <argument>It was him.</argument>",
        "<thinking>Secret.</thinking><argument>It was him.</argument> Done.",
        "<thinking>Se</thinking>cret.</thinking><argument>It was him.</argument>",
        "<thinking>Se</thinking><argument>x</argument><thinking>cret</thinking><argument>It was him.</argument>",
        "<thinking>Secret.</thinking><argument> </argument>",
    ],
)
def test_reasoning_that_was_asked_for_is_read_strictly(reply):
    good = "<thinking>Secret.</thinking><argument>It was him.</argument>"
    speech, model = speak(reply, good, reasoning=True)
    assert (speech.text, speech.reasoning, speech.usage.calls) == ("It was him.", "Secret.", 2)
    assert "<argument>" in model.calls[1].messages[-1]["content"]
    with pytest.raises(Unparsable, match="after one more try"):
        speak(reply, reply, reasoning=True)


def test_a_cut_speech_is_noted():
    speech, _ = speak(Completion("It was", finish="length"), max_tokens=2)
    assert speech.notes == ("reply cut at 2 tokens",)


# ---- the agent ----------------------------------------------------------------------------------


def test_description_and_change_of_model():
    agent = LanguageModelAgent(Replies("Yes."), temperature=0.7, name="mine")
    assert agent.journals_calls
    assert agent.describe() == {
        "agent": "mine",
        "model": {"model": "test/replies"},
        "temperature": 0.7,
        "choosing_temperature": 0.0,
        "voting_temperature": 0.7,
        "max_tokens": 1024,
        "top_logprobs": 20,
        "thoughts": "automatic",
        "reasoning": False,
        "elicitation": "automatic",
        "length_normalised": False,
        "votes": 5,
        "orders": "both",
    }
    other = Replies("No.")
    changed = agent.with_model(other)
    assert (changed.model, changed.describe()) == (other, agent.describe())
    assert agent.model is not other
    assert LanguageModelAgent(other).name == "test/replies"


def test_against_a_real_endpoint():
    with endpoints.running() as endpoint:
        probabilities = [{"token": " A", "logprob": math.log(0.9)}, {"token": " B", "logprob": math.log(0.1)}]
        answer = [{"token": "Answer:"}, {"token": " A", "top_logprobs": probabilities}, {"token": "\nConfidence: 50%"}]
        answer = [{"top_logprobs": [{"token": token["token"], "logprob": 0.0}], **token} for token in answer]
        asked = {"text": "Answer: A\nConfidence: 50%", "logprobs": answer}

        async def main():
            model = vllm("m", ModelOptions(base_url=endpoint.base_url, max_retries=0))
            agent = LanguageModelAgent(model, orders="one")
            try:
                endpoint.answer({"text": "It was him."}, asked, {**asked, "logprobs": None}, {"text": ""})
                speech = await agent.speak(Speak(view()))
                by_tokens, stated = await agent.choose(Choose(view())), await agent.choose(Choose(view()))
                with pytest.raises(ModelError, match="the reply is empty"):
                    await agent.speak(Speak(view()))
                return speech, by_tokens, stated
            finally:
                await agent.close()

        speech, by_tokens, stated = asyncio.run(main())
    assert (speech.text, speech.usage) == ("It was him.", Usage(1, 10, 5, 0.0))
    assert (by_tokens.elicitation, by_tokens.probabilities) == (
        "log-probabilities",
        pytest.approx({"A": 0.9, "B": 0.1}),
    )
    assert (stated.elicitation, stated.probabilities) == ("stated confidence", {"A": 0.5, "B": 0.5})
    assert (by_tokens.notes, stated.notes) == ((), (NO_TOKENS,))
