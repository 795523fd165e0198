"""Verdicts as probabilities: both orders, texts, labels, confidence and votes, and what does not fit the window."""

from __future__ import annotations

import asyncio
import importlib.util
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oversight.agents import LanguageModelAgent
from oversight.cli import main
from oversight.errors import ConfigurationError, ContextTooLong, ModelError, TurnFailed, Unparsable
from oversight.models import Completion, Model, Scores, TokenProbabilities
from oversight.models.openai_compatible import ModelOptions, vllm
from oversight.protocols.debate import Debate
from oversight.protocols.direct import Direct
from oversight.requests import Choose, Speak
from oversight.transcript import Reading, Turn, Usage
from oversight.views import Answer, Position, View, VisibleTurn


def _load(name):
    file = Path(__file__).with_name(f"{name}.py")
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", file)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


endpoints, helpers = _load("endpoint"), _load("helpers")

PAID = Usage(1, 10, 5, 0.25)
NO_TOKENS = "no log-probabilities came back"


class Replying(Model):
    """Answers each call by a function, keeps calls and refusals, and takes prompts of so many characters."""

    def __init__(self, reply, window=None):
        super().__init__("test/replying")
        self.reply, self.window = reply, window
        self.calls, self.refused = [], []

    def fits(self, call):
        length = sum(len(message["content"]) for message in call.messages)
        if self.window is not None and length > self.window:
            raise ContextTooLong(self.name, length, self.window)

    async def complete(self, call):
        self.fits(call)
        self.calls.append(call)
        made = self.reply(call)
        return made if isinstance(made, Completion) else Completion(made, usage=PAID)

    async def refuse(self, call):
        self.refused.append(call)


class Scoring(Replying):
    """Scores given texts, too: by a function of the text and its place among the options."""

    scores_options = True

    def __init__(self, score, reply=None, window=None):
        super().__init__(reply, window)
        self.score_of, self.scored = score, []

    async def score(self, call):
        self.fits(call)
        self.scored.append(call)
        given = [self.score_of(text, place) for place, text in enumerate(call.options)]
        logprobs, tokens = zip(*given, strict=True)
        return Scores(logprobs, tokens, usage=PAID)


def offered(call):
    """The labels of a prompt in the order in which it offers them, in its second try as in its first."""
    prompt = next(message["content"] for message in call.messages if message["role"] == "user")
    options = prompt.partition("in an order that means nothing:\n")[2].partition("\n\n")[0]
    return "".join(re.findall(r"^(\w): ", options, re.MULTILINE))


def again(call):
    """Whether a reply is asked for once more."""
    return any(message["role"] == "assistant" for message in call.messages)


def by_tokens(label, shares, confidence="50%"):
    """A reply whose label has these probabilities."""
    alternatives = {f" {one}": math.log(share) for one, share in shares.items()}
    tokens = (("Answer:", {"Answer:": 0.0}), (f" {label}", alternatives), (f"\nConfidence: {confidence}", {}))
    made = tuple(TokenProbabilities(text, given) for text, given in tokens)
    return Completion("".join(text for text, _ in tokens), tokens=made, usage=PAID)


def view(labels="AB", **changes):
    answers = tuple(Answer(label, f"text of {label}") for label in labels)
    made = View("judge", "Judge", "You judge.", "", "Who?", answers, tuple(labels), None, ())
    return replace(made, **changes)


def choose(model, *, request=None, **options):
    agent = LanguageModelAgent(model, **options)
    return asyncio.run(agent.choose(request or Choose(view())))


# ---- both orders ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shares", "mean"),
    [
        ((0.9, 0.1), {"A": 0.5, "B": 0.5}),
        ((0.6, 0.4), {"A": 0.5, "B": 0.5}),
        ((0.6, 0.3, 0.1), {"A": 0.35, "B": 0.3, "C": 0.35}),
        ((0.7, 0.1, 0.1, 0.1), {"A": 0.4, "B": 0.1, "C": 0.1, "D": 0.4}),
    ],
)
def test_a_preference_for_a_place_cancels_and_both_readings_are_kept(shares, mean):
    """A model that likes the first option whatever it is: the mean of both orders does not."""
    labels = "".join(mean)

    def reply(call):
        order = offered(call)
        return by_tokens(order[0], dict(zip(order, shares, strict=True)))

    model = Replying(reply)
    choice = choose(model, request=Choose(view(labels)))
    assert choice.probabilities == pytest.approx(mean)
    assert (choice.elicitation, choice.usage, choice.notes) == ("log-probabilities", Usage(2, 20, 10, 0.5), ())
    assert [offered(call) for call in model.calls] == [labels, labels[::-1]]
    assert [(one.options, one.elicitation) for one in choice.readings] == [
        (tuple(labels), "log-probabilities"),
        (tuple(labels[::-1]), "log-probabilities"),
    ]
    for one in choice.readings:
        assert one.probabilities == pytest.approx(shares)


def test_a_belief_does_not_cancel():
    """What a model holds in either order is the mean."""
    choice = choose(Replying(lambda call: by_tokens("B", {"A": 0.2, "B": 0.8})))
    assert choice.probabilities == pytest.approx({"A": 0.2, "B": 0.8})


def test_one_order_is_one_reading():
    """With orders=one the options are offered as the seating has them, and there is nothing to keep beside the mean."""
    model = Replying(lambda call: by_tokens("A", {"A": 0.9, "B": 0.1}))
    choice = choose(model, request=Choose(view(options=("B", "A"))), orders="one")
    assert choice.probabilities == pytest.approx({"A": 0.9, "B": 0.1})
    assert (choice.readings, [offered(call) for call in model.calls]) == ((), ["BA"])


def test_both_readings_are_in_the_record():
    """A record holds each order with its probabilities, and reads back as it was."""
    beliefs = {"AB": "75%", "BA": "25%"}

    def reply(call):
        return f"I see {offered(call)} & more.\nAnswer: A\nConfidence: {beliefs[offered(call)]}"

    record = helpers.play(Direct(), LanguageModelAgent(Replying(reply), top_logprobs=None))
    (turn,) = record["turns"]
    assert turn["readings"] == [
        {
            "options": list(order),
            "probabilities": [0.75, 0.25],
            "elicitation": "stated confidence",
            "reasoning": f"I see {order} & more.",
        }
        for order in beliefs
    ]
    assert record["probabilities"] == pytest.approx([0.5, 0.5])
    assert Turn.from_dict(turn).to_dict() == turn
    assert Turn.from_dict(turn).readings[1] == Reading(
        ("B", "A"), (0.75, 0.25), "stated confidence", "I see BA & more."
    )


@pytest.mark.parametrize(
    ("elicitations", "recorded"),
    [
        (("log-probabilities", "log-probabilities"), "log-probabilities"),
        (("log-probabilities", "stated confidence"), "stated confidence"),
        (("stated confidence", "log-probabilities"), "stated confidence"),
        (("stated confidence", "stated confidence"), "stated confidence"),
    ],
)
def test_the_elicitation_that_tells_less_is_recorded(elicitations, recorded):
    """A mean is no better than the worse of its two readings, and each reading keeps its own."""
    wanted = dict(zip(("AB", "BA"), elicitations, strict=True))

    def reply(call):
        if wanted[offered(call)] == "log-probabilities":
            return by_tokens("A", {"A": 0.6, "B": 0.4})
        return "Answer: A\nConfidence: 80%"

    choice = choose(Replying(reply))
    assert choice.elicitation == recorded
    assert tuple(one.elicitation for one in choice.readings) == elicitations
    shares = [0.6 if one == "log-probabilities" else 0.8 for one in elicitations]
    assert choice.probabilities["A"] == pytest.approx(sum(shares) / 2)
    assert choice.notes == ((NO_TOKENS,) if "stated confidence" in elicitations else ())


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.floats(0.05, 1), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_the_options_changes_no_mean(weights, random):
    """Whatever a model makes of the order, offering the options the other way round gives the same probabilities."""
    labels = "ABCDE"[: len(weights)]

    def reply(call):
        order = offered(call)
        weighed = {label: weights[labels.index(label)] * (1 + place) for place, label in enumerate(order)}
        return by_tokens(order[0], {label: one / sum(weighed.values()) for label, one in weighed.items()})

    order = list(labels)
    random.shuffle(order)
    forth, back = (
        choose(Replying(reply), request=Choose(view(labels, options=tuple(options))))
        for options in (order, order[::-1])
    )
    assert forth.probabilities == pytest.approx(back.probabilities)
    assert sum(forth.probabilities.values()) == pytest.approx(1)
    assert forth.readings == back.readings[::-1]


# ---- votes ----------------------------------------------------------------------------------------


def voting(answers):
    """A model that votes as written, by the number of the vote."""
    return Replying(lambda call: f"Because.\nAnswer: {answers[call.draw[-1]]}")


@pytest.mark.parametrize(
    ("answers", "shares"),
    [("ABBAB", {"A": 0.4, "B": 0.6}), ("BB", {"A": 0.0, "B": 1.0}), ("A", {"A": 1.0, "B": 0.0})],
)
def test_votes_are_shares_of_separate_draws_half_of_them_in_each_order(answers, shares):
    """Every vote is a call of its own, at the voting temperature, without a confidence."""
    model = voting(answers)
    choice = choose(model, elicitation="votes", votes=len(answers))
    assert choice.probabilities == pytest.approx(shares)
    assert (choice.elicitation, choice.notes, choice.usage.calls) == ("votes", (), len(answers))
    assert [call.draw for call in model.calls] == [(number,) for number in range(len(answers))]
    assert len({call.key({}) for call in model.calls}) == len(answers)
    assert [offered(call) for call in model.calls] == ["AB", "BA", "AB", "BA", "AB"][: len(answers)]
    assert {(call.temperature, call.top_logprobs) for call in model.calls} == {(0.7, None)}
    assert all("exactly one line" in call.messages[-1]["content"] for call in model.calls)
    assert not any("Confidence" in call.messages[-1]["content"] for call in model.calls)
    forth, back = ("A", "B"), ("B", "A")
    given = [Reading(back if n % 2 else forth, (1.0, 0.0), "votes", "Because.") for n in range(len(answers))]
    given = [
        one if one.options[0] == vote else replace(one, probabilities=(0.0, 1.0))
        for one, vote in zip(given, answers, strict=True)
    ]
    assert list(choice.readings) == (given if len(answers) > 1 else [])


def test_a_turn_can_ask_for_votes_and_keeps_its_own_draw():
    """The votes that a turn asks for stand in place of the agent's own way, and count on from the turn's draw."""
    model = voting("AAB")
    choice = choose(model, request=Choose(view(), draw=(1,), votes=3), elicitation="confidence", votes=9)
    assert choice.probabilities == pytest.approx({"A": 2 / 3, "B": 1 / 3})
    assert [call.draw for call in model.calls] == [(1, 0), (1, 1), (1, 2)]


def test_votes_in_one_order():
    """With orders=one every vote is offered the same order, and is a draw of its own all the same."""
    model = voting("ABB")
    choose(model, elicitation="votes", votes=3, orders="one")
    assert [offered(call) for call in model.calls] == ["AB"] * 3
    assert len({call.key({}) for call in model.calls}) == 3


def test_a_vote_that_cannot_be_read_is_no_vote_for_anybody():
    """A vote is asked for once more; where that does not help, the choice is unparsable and not a share of the rest."""
    model = Replying(lambda call: "Hm." if call.draw == (1,) and not again(call) else "Answer: B")
    choice = choose(model, elicitation="votes", votes=3)
    assert (choice.probabilities, choice.notes) == ({"A": 0.0, "B": 1.0}, ("asked once more",))
    with pytest.raises(Unparsable, match=r"no line 'Answer: ...', after one more try: 'Hm.'"):
        choose(Replying(lambda call: "Hm." if call.draw == (1,) else "Answer: B"), elicitation="votes", votes=3)


@pytest.mark.parametrize("silent", ["AB", "BA"])
def test_no_confidence_in_one_order_falls_to_votes_and_all_calls_are_counted(silent):
    """Where one reading has no confidence, votes decide; what the readings cost stays in the account."""

    def reply(call):
        if call.draw:
            return "Answer: B"
        return "Answer: A" if offered(call) == silent else "Answer: A\nConfidence: 90%"

    model = Replying(reply)
    choice = choose(model, votes=4)
    assert choice.probabilities == {"A": 0.0, "B": 1.0}
    assert (choice.elicitation, len(choice.readings)) == ("votes", 4)
    assert sorted(choice.notes) == sorted(("asked once more", NO_TOKENS, "no confidence stated: votes"))
    assert choice.usage == Usage(7, 70, 35, 1.75)
    assert len(model.calls) == 7
    assert model.refused == []


# ---- log-probabilities of given texts ---------------------------------------------------------------


def softmax(*values):
    weights = [math.exp(value) for value in values]
    return [weight / sum(weights) for weight in weights]


def test_a_model_that_scores_texts_is_asked_for_theirs():
    """The answers' whole texts, in both orders, in the place of the reply; nothing is sampled."""
    scores = {"text of A": (-4.0, 4), "text of B": (-3.0, 1)}
    model = Scoring(lambda text, place: scores[text])
    choice = choose(model)
    a, b = softmax(-4.0, -3.0)
    assert choice.probabilities == pytest.approx({"A": a, "B": b})
    assert (choice.elicitation, choice.usage) == ("text log-probabilities", Usage(2, 20, 10, 0.5))
    assert model.calls == []
    assert [call.options for call in model.scored] == [("text of A", "text of B"), ("text of B", "text of A")]
    assert {call.start for call in model.scored} == {"Question: Who?\nAnswer:"}
    for call, listed in zip(model.scored, ("A: text of A\nB: text of B", "B: text of B\nA: text of A"), strict=True):
        prompt = call.messages[-1]["content"]
        assert f"Answers:\n{listed}\n\n" in prompt
        assert prompt.endswith("\n\nDecide now which answer is correct. Answer the question: Who?")


def test_a_preference_for_the_first_text_cancels():
    """Scores that favour a place and not a text average to even."""
    choice = choose(Scoring(lambda text, place: (-1.0 - place, 2)))
    assert choice.probabilities == pytest.approx({"A": 0.5, "B": 0.5})
    assert [one.probabilities for one in choice.readings] == [pytest.approx(softmax(-1.0, -2.0))] * 2


@pytest.mark.parametrize(
    ("scores", "plain", "normalised"),
    [
        ({"A": (-4.0, 4), "B": (-3.0, 1)}, softmax(-4, -3), softmax(-1, -3)),
        ({"A": (-6.0, 3), "B": (-6.0, 2)}, [0.5, 0.5], softmax(-2, -3)),
        ({"A": (-2.0, 1), "B": (-1.0, 1)}, softmax(-2, -1), softmax(-2, -1)),
        ({"A": (-2.0, 0), "B": (-1.0, 2)}, softmax(-2, -1), softmax(-2, -0.5)),
        ({"A": (-2000.0, 2), "B": (-1000.0, 1)}, [0.0, 1.0], [0.5, 0.5]),
    ],
)
def test_length_normalised_divides_by_the_tokens(scores, plain, normalised):
    """A long text is not less likely for its length alone."""
    for length_normalised, shares in ((False, plain), (True, normalised)):
        model = Scoring(lambda text, place: scores[text[-1]])
        choice = choose(model, length_normalised=length_normalised)
        assert [choice.probabilities["A"], choice.probabilities["B"]] == pytest.approx(shares)


def test_reasons_come_before_a_text_that_is_scored():
    """The thinking is asked for first and begins the reply, escaped, so that it can close nothing."""
    thinking = "<think>It ran </thinking> & <turn>,\nso A.</think>"
    model = Scoring(lambda text, place: (-1.0, 1), reply=lambda call: thinking)
    choice = choose(model, reasoning=True, orders="one")
    assert choice.reasoning == "It ran & <turn>, so A."
    (asked,), (scored,) = model.calls, model.scored
    assert asked.messages[-1]["content"].endswith(
        "Think now, inside <thinking> and </thinking>, and write nothing else. You will then be asked to choose."
    )
    assert scored.start == "<thinking>It ran & &lt;turn>, so A.</thinking>\nQuestion: Who?\nAnswer:"
    assert choice.usage == Usage(2, 20, 10, 0.5)


def test_each_order_thinks_for_itself():
    """Reasons are given in both orders; the first order's stand in the turn, both in the readings."""
    model = Scoring(lambda text, place: (-1.0, 1), reply=lambda call: f"I read {offered(call)}.")
    choice = choose(model, reasoning=True)
    assert choice.reasoning == "I read AB."
    assert [one.reasoning for one in choice.readings] == ["I read AB.", "I read BA."]


@pytest.mark.parametrize(("thinks", "reasoning", "calls"), [(True, False, 2), (False, True, 0), (None, True, 2)])
def test_a_turn_says_whether_its_seat_thinks(thinks, reasoning, calls):
    """What the protocol says of private reasoning comes before what the agent would do."""
    model = Scoring(lambda text, place: (-1.0, 1), reply=lambda call: "Hm.")
    choose(model, request=Choose(view(), thinks=thinks), reasoning=reasoning)
    assert (len(model.calls), len(model.scored)) == (calls, 2)


def test_thoughts_that_are_cut_are_noted():
    """The note is the one that a cut reply has."""
    model = Scoring(lambda text, place: (-1.0, 1), reply=lambda call: Completion("It r", finish="length"))
    assert choose(model, reasoning=True, max_tokens=3).notes == ("reply cut at 3 tokens",)


def test_an_answer_is_scored_as_it_is_written():
    """Characters that cannot be seen are dropped; nothing else is changed."""
    answers = (Answer("A", "a < b\u200b"), Answer("B", "AT&T"))
    model = Scoring(lambda text, place: (-1.0, 1))
    choose(model, request=Choose(view(answers=answers)), orders="one")
    assert model.scored[0].options == ("a < b", "AT&T")


def test_labels_can_be_scored_in_place_of_texts():
    """elicitation=labels scores the labels alone, after the word that stands before them."""
    model = Scoring(lambda text, place: (-1.0 if text == "A" else -2.0, 1))
    choice = choose(model, elicitation="labels")
    assert choice.probabilities == pytest.approx(dict(zip("AB", softmax(-1, -2), strict=True)))
    assert choice.elicitation == "log-probabilities"
    assert [(call.start, call.options) for call in model.scored] == [("Answer:", ("A", "B")), ("Answer:", ("B", "A"))]
    assert model.scored[0].messages[-1]["content"].endswith("\nAnswer: <label>\nThe label is A or B.")


@pytest.mark.parametrize("elicitation", ["confidence", "votes"])
def test_a_model_that_scores_texts_can_be_asked_for_words(elicitation):
    """What is named is used, though the model has better."""
    model = Scoring(lambda text, place: (-1.0, 1), reply=lambda call: "Answer: A\nConfidence: 70%")
    choice = choose(model, elicitation=elicitation)
    assert choice.elicitation == {"confidence": "stated confidence", "votes": "votes"}[elicitation]
    assert model.scored == []


# ---- what is asked for and not to be had -------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        ("Answer: A\nConfidence: 90%", "has no log-probabilities"),
        ("Answer: A", "has no log-probabilities"),
        (by_tokens("A", {"A": 0.2, "The": 0.7}), "does not give its label by itself"),
    ],
)
def test_labels_that_were_asked_for_are_not_replaced_by_anything_else(reply, what):
    """An endpoint without log-probabilities fails the turn, once, with the reason; a retry asks it again."""
    model = Replying(lambda call: reply)
    with pytest.raises(TurnFailed) as caught:
        choose(model, elicitation="labels", orders="one")
    assert str(caught.value) == f"test/replying: the reply {what}, so elicitation=labels has none: take another"
    assert len(model.calls) == 1
    assert model.refused == model.calls


def test_labels_need_no_confidence():
    """A reply whose label has log-probabilities is read though it states no confidence."""
    made = by_tokens("B", {"A": 0.25, "B": 0.75})
    bare = Completion("Answer: B", tokens=made.tokens[:2], usage=PAID)
    model = Replying(lambda call: bare)
    choice = choose(model, elicitation="labels")
    assert (choice.probabilities, choice.elicitation) == (pytest.approx({"A": 0.25, "B": 0.75}), "log-probabilities")
    assert len(model.calls) == 2


def test_confidence_that_was_asked_for_looks_at_no_token():
    """elicitation=confidence asks for no log-probabilities and uses none."""
    model = Replying(lambda call: by_tokens("A", {"A": 0.9, "B": 0.1}, confidence="60%"))
    choice = choose(model, elicitation="confidence", orders="one")
    assert {call.top_logprobs for call in model.calls} == {None}
    assert (choice.elicitation, choice.notes) == ("stated confidence", ())
    assert choice.probabilities == pytest.approx({"A": 0.6, "B": 0.4})


def test_confidence_that_was_asked_for_and_is_not_stated_is_no_verdict():
    """Twice without a confidence is unparsable where nothing else may take its place; both calls are refused."""
    model = Replying(lambda call: "Answer: A")
    with pytest.raises(
        Unparsable, match=r"^test/replying: no line 'Confidence: ...', after one more try: 'Answer: A'$"
    ):
        choose(model, elicitation="confidence", orders="one")
    assert len(model.calls) == 2
    assert model.refused == model.calls


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (Replying(None), {"elicitation": "texts"}, "elicitation=texts needs a local model"),
        (Replying(None), {"elicitation": "labels", "top_logprobs": None}, "top_logprobs=none asks for none"),
        (Scoring(None), {"elicitation": "texts"}, ""),
        (Scoring(None), {"elicitation": "labels", "top_logprobs": None}, ""),
        (Replying(None), {"elicitation": "labels"}, ""),
        (Replying(None), {"elicitation": "confidence", "top_logprobs": None}, ""),
    ],
)
def test_an_elicitation_that_a_model_cannot_have_is_refused_before_the_run(model, options, said):
    """What cannot work on any reply is said in one line before anything is paid."""
    agent = LanguageModelAgent(model, **options)
    if not said:
        agent.require()
        return
    with pytest.raises(ConfigurationError, match=said) as caught:
        agent.require()
    assert "\n" not in str(caught.value)


def test_texts_of_an_endpoint_fail_with_a_reason():
    """Where nobody asked beforehand, the turn fails and says why."""
    with pytest.raises(ModelError, match="cannot score given texts: choose another elicitation"):
        choose(Replying(None), elicitation="texts")


# ---- unscored, and never a default ---------------------------------------------------------------------


@pytest.mark.parametrize("unreadable", [("AB", "BA"), ("AB",), ("BA",)])
def test_a_verdict_that_cannot_be_read_twice_is_unscored(unreadable):
    """One order that cannot be read is enough; the other is no verdict by itself."""

    def reply(call):
        order = offered(call)
        return "I cannot tell." if order in unreadable else "Answer: A\nConfidence: 99%"

    model = Replying(reply)
    record = helpers.play(Direct(), LanguageModelAgent(model))
    assert (record["status"], record["probabilities"], record["credit"]) == ("unscored", None, None)
    assert record["reason"] == "test/replying: no line 'Answer: ...', after one more try: 'I cannot tell.'"
    assert record["turns"] == []
    assert len(model.calls) == 2 + len(unreadable)
    assert len(model.refused) == 2 * len(unreadable)


def test_an_order_that_is_asked_again_keeps_its_order():
    """The second try stands in the conversation of its own order."""
    model = Replying(lambda call: "Hm." if not again(call) else "Answer: A\nConfidence: 75%")
    choice = choose(model)
    assert choice.notes == ("asked once more", NO_TOKENS)
    asked = [(offered(call), again(call)) for call in model.calls]
    assert sorted(asked) == [("AB", False), ("AB", True), ("BA", False), ("BA", True)]
    assert {call.messages[-2]["content"] for call in model.calls if again(call)} == {"Hm."}


# ---- a real endpoint -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def endpoint():
    with endpoints.running() as running:
        yield running


def ask(endpoint, act, **options):
    """What ``act`` gives with an agent over the endpoint."""

    async def main():
        agent = LanguageModelAgent(vllm("m", ModelOptions(base_url=endpoint.base_url, max_retries=0)), **options)
        try:
            return await act(agent)
        finally:
            await agent.close()

    return asyncio.run(main())


def test_an_endpoint_that_ignores_logprobs_is_detected(endpoint):
    """It answers 200 without them: noted, and the stated confidence is taken in both orders."""
    endpoint.answer(then={"text": "Answer: A\nConfidence: 80%"})
    choice = ask(endpoint, lambda agent: agent.choose(Choose(view())))
    assert (choice.elicitation, choice.notes) == ("stated confidence", (NO_TOKENS,))
    assert choice.probabilities == pytest.approx({"A": 0.8, "B": 0.2})
    bodies = endpoint.bodies()
    assert [(body["logprobs"], body["top_logprobs"]) for body in bodies] == [(True, 20)] * 2
    prompts = [body["messages"][-1]["content"] for body in bodies]
    assert sorted("A: text of A\nB: text of B\n\nReply" in prompt for prompt in prompts) == [False, True]


def test_an_endpoint_that_ignores_logprobs_fails_those_who_ask_for_labels(endpoint):
    """elicitation=labels does not fall back."""
    endpoint.answer(then={"text": "Answer: A\nConfidence: 80%"})
    with pytest.raises(TurnFailed, match="the reply has no log-probabilities, so elicitation=labels has none"):
        ask(endpoint, lambda agent: agent.choose(Choose(view())), elicitation="labels")
    assert len(endpoint.requests()) == 2


TOO_LONG = {
    "error": {
        "message": "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens "
        "(7976 in the messages, 1024 in the completion). Please reduce the length of the messages or completion.",
        "type": "invalid_request_error",
        "code": "context_length_exceeded",
    }
}


def test_an_endpoint_whose_window_is_full_is_sent_less(endpoint):
    """A refusal that says the prompt is too long is answered by one without the oldest round."""
    said = tuple(VisibleTurn(f"Debater {label}", label, f"point {label}{n}") for n in (1, 2) for label in "AB")
    endpoint.answer({"status": 400, "json": TOO_LONG}, then={"text": "Answer: A\nConfidence: 80%"})
    choice = ask(endpoint, lambda agent: agent.choose(Choose(view(turns=said))), orders="one")
    assert choice.notes == (NO_TOKENS, "the 2 oldest turns left out of the prompt")
    first, second = (body["messages"][-1]["content"] for body in endpoint.bodies())
    assert [f"point {label}{n}" in first for n in (1, 2) for label in "AB"] == [True] * 4
    assert [f"point {label}{n}" in second for n in (1, 2) for label in "AB"] == [False, False, True, True]
    assert "(The 2 oldest turns are left out here.)" in second


def test_an_endpoint_whose_window_is_too_small_for_the_question_fails_the_turn(endpoint):
    """With nothing left to leave out, the error says what would help."""
    endpoint.answer(then={"status": 400, "json": TOO_LONG})
    with pytest.raises(ContextTooLong, match="9,000 tokens with the longest reply, more than its window of 8,192"):
        ask(endpoint, lambda agent: agent.choose(Choose(view())), orders="one")
    assert len(endpoint.requests()) == 1


# ---- what does not fit the window ----------------------------------------------------------------------

MATERIAL = "The hidden passage, which is never left out."


def long_view(rounds, speakers="AB", **changes):
    """A debate of so many rounds, in speeches of the same length."""
    turns = tuple(
        VisibleTurn(f"Debater {label}", label, f"speech {label}{number} {'x' * 200}", own=label == "A")
        for number in range(1, rounds + 1)
        for label in speakers
    )
    positions = tuple(Position(f"Debater {label}", label) for label in speakers)
    made = view(turns=turns, positions=positions, material={"passage": MATERIAL}, question="Who on earth?")
    return replace(made, speaker="Debater A", position="A", **changes)


def said_in(prompt):
    return re.findall(r"speech (\w\d) ", prompt)


def length_of(request):
    """Characters of the prompt that a request becomes, nothing left out."""
    model = Replying(lambda call: "Answer: A\nConfidence: 80%")
    act(model, request)
    return max(sum(len(message["content"]) for message in call.messages) for call in model.calls)


def act(model, request, **options):
    agent = LanguageModelAgent(model, **options)
    return asyncio.run(agent.respond(request))


REQUESTS = {
    "speak": lambda view: Speak(view),
    "choose": lambda view: Choose(view),
    "votes": lambda view: Choose(view, votes=2),
}


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("left_out", [0, 1, 2, 3])
def test_oldest_rounds_go_first_and_nothing_else_goes(kind, left_out):
    """As many rounds as do not fit are left out from the oldest on; question, answers and material stand."""
    request = REQUESTS[kind](long_view(3))
    window = length_of(replace(request, view=long_view(3 - left_out))) + (
        len("(The 2 oldest turns are left out here.)\n\n") if left_out else 0
    )
    model = Replying(lambda call: "Answer: A\nConfidence: 80%", window=window)
    reply = act(model, request)
    rounds = ["A1", "B1", "A2", "B2", "A3", "B3"]
    note = f"the {2 * left_out} oldest turns left out of the prompt"
    assert [one for one in reply.notes if "left out" in one] == ([note] if left_out else [])
    for call in model.calls:
        prompt = call.messages[-1]["content"]
        assert said_in(prompt) == rounds[2 * left_out :]
        assert prompt.count("are left out here.)") == (1 if left_out else 0)
        if left_out:
            assert f"(The {2 * left_out} oldest turns are left out here.)\n" in prompt
        for kept in ("Question:\nWho on earth?", "A: text of A\nB: text of B", MATERIAL, "Debater A argues for A; "):
            assert kept in prompt


@pytest.mark.parametrize(
    ("left_out", "turns"), [(1, "oldest turn is"), (2, "2 oldest turns are"), (3, "3 oldest turns are")]
)
def test_a_single_speaker_loses_its_turns_one_by_one(left_out, turns):
    """A round of one speaker is one turn, the last of them goes too, and one is not called several."""
    request = Speak(long_view(3, "A"))
    model = Replying(lambda call: "Fine.", window=length_of(Speak(long_view(3 - left_out, "A"))) + 50)
    speech = act(model, request)
    noted = turns.removesuffix(" is").removesuffix(" are")
    assert speech.notes == (f"the {noted} left out of the prompt",)
    prompt = model.calls[0].messages[-1]["content"]
    assert f"(The {turns} left out here.)" in prompt
    assert said_in(prompt) == ["A1", "A2", "A3"][left_out:]


def test_texts_that_are_scored_are_fitted_too():
    """The window counts for prompts that are scored as for others, in each order."""
    window = length_of(Choose(long_view(1)))
    model = Scoring(lambda text, place: (-1.0, 1), window=window)
    choice = act(model, Choose(long_view(3)))
    assert choice.notes == ("the 4 oldest turns left out of the prompt",)
    assert [said_in(call.messages[-1]["content"]) for call in model.scored] == [["A3", "B3"]] * 2


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_window_that_the_question_does_not_fit_is_an_error(kind):
    """Question, answers and material are never cut: with no turn left the error is raised."""
    model = Replying(lambda call: "Answer: A\nConfidence: 80%", window=100)
    with pytest.raises(ContextTooLong, match="more than its window of 100: take shorter material, fewer rounds"):
        act(model, REQUESTS[kind](long_view(3)))
    assert model.calls == []


def test_an_episode_whose_prompt_never_fits_is_unscored_and_one_that_loses_rounds_says_so():
    """The record has the note at the turn, or the reason of the episode."""
    speech = "word " * 100

    def reply(call):
        return "Answer: A\nConfidence: 80%" if "Decide now" in call.messages[-1]["content"] else speech

    record = helpers.play(Debate(rounds=3), LanguageModelAgent(Replying(reply, window=2600), top_logprobs=None))
    assert record["status"] == "scored"
    assert [turn.get("notes", []) for turn in record["turns"]] == [
        *[[]] * 4,
        *[["the 2 oldest turns left out of the prompt"]] * 2,
        ["the 4 oldest turns left out of the prompt"],
    ]
    record = helpers.play(Debate(rounds=3), LanguageModelAgent(Replying(reply, window=100)))
    assert (record["status"], record["turns"]) == ("unscored", [])
    assert "more than its window of 100" in record["reason"]


# ---- the account -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "options", "votes", "calls"),
    [
        (False, {}, 0, (2, 7)),
        (False, {"votes": 3}, 0, (2, 5)),
        (False, {"orders": "one"}, 0, (1, 6)),
        (False, {"elicitation": "labels"}, 0, (2, 2)),
        (False, {"elicitation": "confidence"}, 0, (2, 2)),
        (False, {"elicitation": "votes"}, 0, (5, 5)),
        (False, {"elicitation": "votes"}, 3, (3, 3)),
        (False, {}, 4, (4, 4)),
        (False, {"reasoning": True}, 0, (2, 7)),
        (True, {}, 0, (2, 2)),
        (True, {"orders": "one"}, 0, (1, 1)),
        (True, {"reasoning": True}, 0, (4, 4)),
        (True, {"elicitation": "labels", "reasoning": True, "orders": "one"}, 0, (2, 2)),
        (True, {"elicitation": "confidence", "reasoning": True}, 0, (2, 2)),
        (True, {}, 4, (4, 4)),
    ],
)
def test_the_calls_of_a_choice_are_those_that_are_counted_beforehand(scores, options, votes, calls):
    """The least is what a model with a good reply takes; the most, one that states no confidence."""

    def made(reply):
        score = (lambda text, place: (-1.0, 1)) if scores else None
        model = Scoring(score, reply) if scores else Replying(reply)
        agent = LanguageModelAgent(model, **options)
        assert agent.calls_of_a_choice(votes) == calls
        choice = asyncio.run(agent.choose(Choose(view(), votes=votes)))
        asked_again = sum(map(again, model.calls))
        count = len(model.calls) + len(getattr(model, "scored", ()))
        assert choice.usage.calls == count
        return count - asked_again

    assert made(lambda call: by_tokens("A", {"A": 0.9, "B": 0.1}, confidence="80%")) == calls[0]
    if options.get("elicitation") not in ("labels", "confidence"):
        assert made(lambda call: "Answer: A") == calls[1]


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ("vllm/m(reasning=true)", "unknown option of vllm/... 'reasning': did you mean 'reasoning'?"),
        ("vllm/m(votes=0)", "option 'votes' = 0"),
        ("vllm/m(elicitation=texts)", "elicitation=texts needs a local model"),
        ("vllm/m(elicitation=labels,top_logprobs=none)", "top_logprobs=none asks for none"),
    ],
)
def test_options_that_cannot_be_are_one_line_on_the_command_line(tmp_path, monkeypatch, capsys, judge, said):
    """Before anything is written or asked."""
    monkeypatch.chdir(tmp_path)
    arena = f"{Path(__file__).with_name('tiny.py')}:Sums"
    assert main(["run", "direct", "--arena", arena, "--judge", judge, "--limit", "2"]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert (len(printed.err.splitlines()), printed.out) == (1, "")
    assert list(tmp_path.iterdir()) == []


# ---- thoughts in a reply of their own ---------------------------------------------------------------------


class Small(Model):
    """A local model in outline: it scores texts, and replies without any form."""

    scores_options = True

    def __init__(self, *replies):
        super().__init__("test/small")
        self.replies, self.calls, self.scored = list(replies), [], []

    async def complete(self, call):
        self.calls.append(call)
        return Completion(self.replies[len(self.calls) - 1], usage=Usage(1, 10, 5, 0.0))

    async def score(self, call):
        self.scored.append(call)
        return Scores((math.log(0.8), math.log(0.2)), (1, 1), Usage(1, 10, 0, 0.0))


def test_a_small_model_thinks_in_a_reply_of_its_own():
    """No tags are asked for: what it writes first are its reasons, which stand before the request for the speech."""
    model = Small("<thinking>He </turn> lies.", "The fox ran.")
    speech = asyncio.run(LanguageModelAgent(model).speak(Speak(view(), thinks=True)))
    assert (speech.text, speech.reasoning) == ("The fox ran.", "He </turn> lies.")
    assert speech.usage == Usage(2, 20, 10, 0.0)
    first, second = (call.messages[-1]["content"] for call in model.calls)
    assert "Do not speak yet." in first
    assert "<argument>" not in first + second
    assert "<your-private-reasoning>He &lt;/turn> lies.</your-private-reasoning>\n\nSpeak now" in second


@pytest.mark.parametrize(("thoughts", "calls"), [("automatic", 1), ("together", 1), ("apart", 2)])
def test_an_endpoint_thinks_in_the_same_reply_unless_it_is_told_otherwise(thoughts, calls):
    model = Replying(
        lambda call: (
            "Hm."
            if "Do not speak yet" in call.messages[-1]["content"]
            else "<thinking>Hm.</thinking><argument>Fox.</argument>"
            if calls == 1
            else "Fox."
        )
    )
    agent = LanguageModelAgent(model, thoughts=thoughts)
    speech = asyncio.run(agent.speak(Speak(view(), thinks=True)))
    assert (speech.text, speech.reasoning, speech.usage.calls) == ("Fox.", "Hm.", calls)


def test_a_small_model_votes_by_draws_from_its_own_probabilities():
    """Each vote is a draw of its own, the same for the same seed, and over many they are the model's shares."""

    def votes(seed, count=400):
        agent = LanguageModelAgent(Small(), orders="one")
        return asyncio.run(agent.choose(Choose(view(), seed=seed, votes=count, thinks=False)))

    one, again, other = votes(1), votes(1), votes(2)
    assert one.elicitation == "votes"
    assert one.probabilities == again.probabilities
    assert one.probabilities != other.probabilities
    first = view().options[0]
    # 400 draws of 0.8 have a standard deviation of 0.02.
    assert abs(one.probabilities[first] - 0.8) < 0.1


def test_the_drafts_of_the_turn_that_is_asked_for_are_left_out_last():
    """The task is about them; the rounds before go first, the oldest of them first."""

    def said(speaker, text, **changes):
        return VisibleTurn(speaker, speaker[-1], text, own=speaker == "Debater A", **changes)

    turns = (said("Debater A", "A1"), said("Debater B", "B1"), said("Debater A", "A2"), said("Debater B", "B2"))
    drafts = (said("Debater A", "DRAFT", private=True), said("Debater A", "CRITIQUE", private=True))
    seen = []

    class Narrow(Model):
        async def complete(self, call):
            content = call.messages[-1]["content"]
            seen.append([word for word in ("A1", "B1", "A2", "B2", "DRAFT", "CRITIQUE") if f"\n{word}\n" in content])
            if len(seen[-1]) > 2:
                raise ContextTooLong("test/narrow", 100, 50)
            return Completion("Yes.", usage=Usage(1, 1, 1, 0.0))

    speech = asyncio.run(LanguageModelAgent(Narrow("test/narrow")).speak(Speak(view(turns=(*turns, *drafts)))))
    assert seen == [
        ["A1", "B1", "A2", "B2", "DRAFT", "CRITIQUE"],
        ["A2", "B2", "DRAFT", "CRITIQUE"],
        ["DRAFT", "CRITIQUE"],
    ]
    assert speech.text == "Yes."
    assert any("4 oldest turns" in note for note in speech.notes)


@pytest.mark.parametrize(("thinks", "speech", "choice"), [(None, 1, (2, 2)), (False, 1, (2, 2)), (True, 2, (4, 4))])
def test_calls_are_counted_by_what_the_turn_asks_for(thinks, speech, choice):
    """A step that wants reasons of a small model takes a call more for each reading, and for the speech."""
    agent = LanguageModelAgent(Small())
    assert agent.calls_of_a_speech(thinks) == speech
    assert agent.calls_of_a_choice(0, thinks) == choice
    assert agent.calls_of_a_choice(5, thinks) == ((10, 10) if thinks else (5, 5))


def test_speeches_are_picked_by_their_labels_and_not_by_how_likely_their_words_are():
    model = Small()
    choice = asyncio.run(LanguageModelAgent(model).choose(Choose(view(), of_speeches=True)))
    assert choice.elicitation == "log-probabilities"
    assert [(call.start, call.options) for call in model.scored] == [("Answer:", ("A", "B")), ("Answer:", ("B", "A"))]
