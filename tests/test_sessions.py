"""Sessions behind the screen: who is given what, what is kept, and where an interrupted one goes on."""

import importlib.util
import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oversight
from oversight.agents import ScriptedAgent
from oversight.agents.cascade import CascadeAgent
from oversight.agents.human import Human, request_from_json, request_to_json
from oversight.errors import ConfigurationError, RunDirectoryError
from oversight.protocol import Judge, Protocol
from oversight.protocols.consultancy import Consultancy
from oversight.protocols.debate import Debate
from oversight.requests import Choose, Speak, Stakes
from oversight.runs.api import plan_run, plan_tournament
from oversight.runs.attention import _ITEMS, attention_episode
from oversight.runs.directory import RunDirectory, read_episodes
from oversight.runs.people import People
from oversight.runs.plan import PeopleOptions
from oversight.runs.session import SessionOptions
from oversight.terminal.front import Decided, Skipped, Stopped
from oversight.transcript import Belief

TESTS = Path(__file__).parent


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", TESTS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


helpers, people, tiny = _load("helpers"), _load("people"), _load("tiny")


def hold(front, log_dir, protocol="debate(rounds=1)", *, arena=None, name="", options=None, session=None, **cast):
    """A run with a person at the table; gives its records, checks of attention included."""
    cast = cast or {"debater": tiny.Thinker(), "judge": "human"}
    oversight.run(
        protocol,
        arena or tiny.Sums(count=4),
        log_dir=log_dir,
        people=options,
        session=SessionOptions(name=name, front=front, **(session or {})),
        **cast,
    )
    return list(read_episodes(log_dir))


def judge(text="nothing", **settings):
    """A person who gives the answer of that text 0.9."""
    return people.Ruled(people.sure_of(text), **settings)


# ---- what a person may see ---------------------------------------------------------------------------

SECRETS = ("canary passage", "canary/agent", "canary thought")


def _first(view):
    return {view.answers[0].label: 1.0}


class Canary(ScriptedAgent):
    """A speaker whose name and thoughts nobody else may see."""

    def __init__(self):
        super().__init__("canary/agent", speeches=lambda view: f"{view.speaker} speaks.", choices=_first)

    async def speak(self, request):
        return replace(await super().speak(request), reasoning="canary thought", notes=("canary thought",))


class Secretive(tiny.Sums):
    """Sums whose page is a canary."""

    name = "secretive"

    def questions(self, limit, seed):
        return [replace(one, hidden={"page": "canary passage"}) for one in super().questions(limit, seed)]


@pytest.mark.parametrize("protocol", [*helpers.VARIANTS, *helpers.FAMILY], ids=lambda one: one.title)
def test_nothing_that_a_judge_is_shown_holds_truth_names_or_hidden_material(protocol, tmp_path):
    roles = protocol.roles()
    judging = [name for name, role in roles.items() if not role.is_supervised]
    ranked = [step for step in protocol.graph(2).steps() if step.candidates > 1 and step.preferred_by is not None]
    if any(step.preferred_by.role.name in judging for step in ranked):
        pytest.skip("people are not asked to rank candidates")
    if not judging:
        pytest.skip("nobody judges but those who are overseen")
    cast = {name: "human" if name in judging else Canary() for name in roles}
    asked_of_all = []
    for name in ("ada", "bob", "cyd", "dan") * 4:  # as many people as there are seats, who come back for their turns
        front = judge(patience=0.05)
        records = hold(front, tmp_path / "run", protocol, arena=Secretive(count=1), name=name, **cast)
        asked_of_all += front.asked
        if records:
            break
    assert asked_of_all
    assert [record["status"] for record in records] == ["scored"]
    for asked in asked_of_all:
        view = asked.request.view
        if view.material:
            assert roles[view.role].expert or roles[view.role].sees_material
            continue
        shown = repr(asked) + json.dumps(request_to_json(asked.request))
        for secret in SECRETS:
            assert secret not in shown
        assert "correct" not in request_to_json(asked.request)
        assert "correct" not in request_to_json(asked.request)["view"]
        assert all(turn.reasoning == "" for turn in view.turns if not turn.own)


def test_the_interrupt_that_holds_an_episode_says_what_the_screen_says_and_no_more(tmp_path):
    hold(judge(), tmp_path / "run", session={"prepare_only": True})
    stored = (tmp_path / "run" / "checkpoints.sqlite").read_bytes()
    stored += (
        (tmp_path / "run" / "checkpoints.sqlite-wal").read_bytes()
        if (tmp_path / "run" / "checkpoints.sqlite-wal").exists()
        else b""
    )
    assert b"Debater A" in stored
    assert b"\xa8question" in stored  # names of fields as msgpack writes them: their length, then their letters
    assert b"\xa7correct" not in stored
    assert b"\xa6hidden" not in stored


# ---- requests as JSON --------------------------------------------------------------------------------

_texts = st.text(max_size=30)


@given(
    st.data(),
    st.booleans(),
    st.one_of(st.none(), st.builds(Stakes, st.floats(0, 1), st.integers(0, 9), st.integers(0, 9))),
)
@settings(max_examples=60, deadline=None)
def test_a_request_is_the_same_after_its_way_through_json(data, speaks, stakes):
    protocol = data.draw(st.sampled_from([Debate(rounds=2), Debate(interactive=True, rounds=2), Consultancy(rounds=2)]))
    words = data.draw(st.lists(_texts.filter(str.strip), min_size=8, max_size=8))
    seen = []

    class Watching(ScriptedAgent):
        async def respond(self, request):
            seen.append(request)
            return await super().respond(request)

    agent = Watching("w", speeches=lambda view: words[len(view.turns) % 8], choices=lambda view: {"A": 0.7, "B": 0.3})
    helpers.play(protocol, agent)
    kind = Speak if speaks else Choose
    for request in (one for one in seen if isinstance(one, kind)):
        changed = request if speaks else replace(request, stakes=stakes)
        again = request_from_json(json.loads(json.dumps(request_to_json(changed))))
        assert again.key == changed.key
        assert again.view == changed.view
        assert again == changed


# ---- the record --------------------------------------------------------------------------------------


def test_a_persons_verdict_is_recorded_with_its_way(tmp_path):
    def credence(asked, after):
        return (0.5 + after / 10, 0.5 - after / 10)

    front = judge("1", credence=credence)
    first = hold(front, tmp_path / "run", "debate(rounds=2)", arena=tiny.Sums(count=1), name="ada")[0]
    verdict = first["turns"][-1]
    asked = front.asked[0]
    assert verdict["agent"] == "human/ada"
    assert first["cast"]["judge"] == ["human"]
    assert (verdict["elicitation"], verdict["reasoning"], verdict["seconds"]) == ("person", "I think so", 3.0)
    labels = [answer.text for answer in asked.request.view.answers]
    given_to = dict(zip(("0", "1"), verdict["probabilities"], strict=True))  # in the question's order
    assert given_to == {"0": pytest.approx(0.1), "1": pytest.approx(0.9)}
    assert [one["after"] for one in verdict["beliefs"]] == [1, 2, 3]
    for one in verdict["beliefs"]:
        by_text = dict(zip(("0", "1"), one["probabilities"], strict=True))
        assert by_text[labels[0]] == pytest.approx(0.5 + one["after"] / 10)
    assert verdict["readings"][0]["options"] == list(asked.order)
    assert verdict["readings"][0]["elicitation"] == "person"


def test_people_are_given_one_seating_of_a_question_unless_swaps_are_asked_for():
    plan = plan_run("debate", tiny.Sums(count=4), {"debater": tiny.Thinker(), "judge": "human"})
    assert plan.swap is False
    assert len(list(plan.episodes())) == 4
    both = plan_run("debate", tiny.Sums(count=4), {"debater": tiny.Thinker(), "judge": "human"}, swap=True)
    assert len(list(both.episodes())) == 8
    machine = plan_run("debate", tiny.Sums(count=4), {"debater": tiny.Thinker(), "judge": tiny.Thinker()})
    assert machine.swap is True


def test_runs_without_people_are_the_configuration_that_they_were():
    plan = plan_run("debate", tiny.Sums(count=4), {"debater": tiny.Thinker(), "judge": tiny.Thinker()})
    assert not {"people", "held_out"} & set(plan.configuration())


# ---- who is given what -------------------------------------------------------------------------------


def test_nobody_is_given_two_questions_of_a_story_and_every_item_gets_its_judges(tmp_path):
    options = PeopleOptions(judges=2)  # eight questions on four pages
    taken = []
    for name in ("ada", "bob", "cyd", "dan"):
        front = judge()
        hold(front, tmp_path / "run", arena=tiny.Sums(count=8), name=name, options=options)
        pages = [asked.request.view.question for asked in front.asked]
        taken.append(pages)
    records = list(read_episodes(tmp_path / "run"))
    assert [len(one) for one in taken] == [4, 4, 4, 4]
    by_question = Counter(record["question"] for record in records)
    assert set(by_question.values()) == {2}
    seats = {(record["turns"][-1]["agent"], record["source"]) for record in records}
    assert len(seats) == len(records) == 16
    # What the two judges of an item are shown is the same, said once.
    for question in by_question:
        both = [record for record in records if record["question"] == question]
        assert [turn["text"] for turn in both[0]["turns"][:-1]] == [turn["text"] for turn in both[1]["turns"][:-1]]


def test_a_question_at_a_time_lets_a_person_have_every_question(tmp_path):
    front = judge()
    hold(front, tmp_path / "run", arena=tiny.Sums(count=8), options=PeopleOptions(once="question"))
    assert len({asked.request.view.question for asked in front.asked}) == 8


def test_what_is_given_up_goes_to_somebody_else_and_never_comes_back(tmp_path):
    gives_up = people.Ruled(lambda asked: Skipped("I know the story"))
    assert hold(gives_up, tmp_path / "run", name="ada") == []
    assert len(gives_up.asked) == 2  # four questions on two pages
    again = judge()
    hold(again, tmp_path / "run", name="ada")
    assert again.asked == []
    other = judge()
    assert len(hold(other, tmp_path / "run", name="bob")) == 2
    store = People(tmp_path / "run" / "people.sqlite", "human/ada")
    assert [(one.person, one.done, one.open, one.skipped) for one in store.standings()] == [
        ("human/ada", 0, 0, 2),
        ("human/bob", 2, 0, 0),
    ]
    store.close()


def test_what_is_given_up_after_an_answer_is_begun_anew_by_somebody_else(tmp_path):
    protocol = "debate(rounds=3,stop=settled,settled=0)"
    answers = iter([Decided({"A": 0.8, "B": 0.2}, stops=False), Skipped("enough")])
    arena = tiny.Sums(count=2)  # of one page
    assert hold(people.Ruled(lambda asked: next(answers)), tmp_path / "run", protocol, arena=arena, name="bob") == []
    ada = people.Ruled(lambda asked: Decided({"A": 0.3, "B": 0.7}, stops=True))
    (record,) = hold(ada, tmp_path / "run", protocol, arena=arena, name="ada")
    assert [turn["agent"] for turn in record["turns"] if turn["kind"] == "verdict"] == ["human/ada"]
    assert not any(turn.own for turn in ada.asked[0].request.view.turns)
    assert ada.asked[0].seen == 0


def test_given_up_after_others_have_gone_on_an_episode_fails(tmp_path):
    """The judge has answered what a debater said who then gives it up: nobody can take that back."""
    cast = {"debater": "human", "judge": "human"}
    protocol = "debate(rounds=2,style=sequential,interactive=true)"
    for name in ("ada", "bob", "cyd"):
        hold(judge(patience=0.1), tmp_path / "run", protocol, arena=tiny.Sums(count=1), name=name, **cast)
    gives_up = people.Ruled(lambda asked: Skipped("no more"), patience=0.1)
    (record,) = hold(gives_up, tmp_path / "run", protocol, arena=tiny.Sums(count=1), name="ada", **cast)
    assert record["status"] == "unscored"
    assert "gave it up after others had gone on: no more" in record["reason"]


def test_a_budget_is_the_most_that_people_are_given(tmp_path):
    front = judge()
    hold(front, tmp_path / "run", arena=tiny.Sums(count=8), session={"budget": 3})
    assert len(front.asked) == 3
    same = judge()
    hold(same, tmp_path / "run", arena=tiny.Sums(count=8))  # what was said last holds
    assert same.asked == []
    more = judge()
    hold(more, tmp_path / "run", arena=tiny.Sums(count=8), session={"budget": 4})
    assert len(more.asked) == 1


def test_checks_take_nothing_of_a_budget(tmp_path):
    front = judge()
    options = PeopleOptions(attention_every=2)
    records = hold(front, tmp_path / "run", arena=tiny.Sums(count=16), options=options, session={"budget": 4})
    assert Counter(record["purpose"] for record in records)["comparison"] == 4


def test_a_budget_is_refused_where_nobody_is_a_person():
    with pytest.raises(ConfigurationError, match="nobody in this run is a person"):
        oversight.run(
            "debate", tiny.Sums(count=1), debater=tiny.Thinker(), judge=tiny.Thinker(),
            log_dir=tempfile.mkdtemp(), session=SessionOptions(budget=3),
        )  # fmt: skip


def test_answers_are_listed_in_an_order_of_each_persons_own(tmp_path):
    orders = {}
    for name in ("ada", "bob", "cyd", "dan"):
        front = judge()
        options = PeopleOptions(judges=4, once="question")
        hold(front, tmp_path / "run", arena=tiny.Sums(count=6), name=name, options=options)
        orders[name] = {asked.request.view.question: asked.order for asked in front.asked}
    for question in orders["ada"]:
        assert all(set(orders[name][question]) == {"A", "B"} for name in orders)
    listed = [tuple(orders[name].values()) for name in orders]
    assert len(set(listed)) == 4  # a chance of 1 in 2**6 that two people are alike, and the seed is fixed
    firsts = Counter(order[0] for one in listed for order in one)
    assert set(firsts) == {"A", "B"}


def test_seats_are_taken_once(tmp_path):
    ada, bob = (People(tmp_path / "people.sqlite", name) for name in ("human/ada", "human/bob"))
    assert ada.claim("e1", "judge", "story")
    assert ada.claim("e1", "judge", "story")
    assert not bob.claim("e1", "judge", "story")
    assert bob.claim("e1", "debater 1", "story")
    assert not bob.claim("e2", "judge", "story")
    assert ada.begun() == [("e1", "judge")]
    assert bob.abandoned("human/ada") == [("e1", "judge")]
    bob.release("human/ada", [("e1", "judge")])
    assert not ada.claim("e1", "judge", "story")
    assert People(tmp_path / "people.sqlite", "human/cyd").claim("e1", "judge", "story")


def test_the_first_reply_counts_and_beliefs_are_replaced(tmp_path):
    store = People(tmp_path / "people.sqlite", "human")
    store.keep_reply("e", "s", {"text": "first", "shown": 0})
    store.keep_reply("e", "s", {"text": "second", "shown": 0})
    assert store.reply("e", "s")["text"] == "first"
    store.keep_belief("e", "s", Belief(1, (0.5, 0.5)))
    store.keep_belief("e", "s", Belief(1, (0.7, 0.3), 2.0))
    assert store.beliefs("e", "s") == (Belief(1, (0.7, 0.3), 2.0),)
    store.keep_draft("e", "s", "half a sent")
    assert store.draft("e", "s") == "half a sent"
    store.keep_note("e", "n1")
    store.keep_note("e", "n2")
    assert store.notes("e") == ("n1", "n2")
    store.close()


def test_one_person_has_one_session(tmp_path):
    front = judge()
    plan = plan_run("debate(rounds=1)", tiny.Sums(count=4), {"debater": tiny.Thinker(), "judge": "human"})

    async def again(asked, place, keep):
        with pytest.raises(RunDirectoryError, match="another session is open as ada"):
            RunDirectory(tmp_path / "run", plan.configuration(), {}, person="human/ada")
        return Stopped()

    front.choose = again
    hold(front, tmp_path / "run", name="ada")


@pytest.mark.parametrize("name", ["a/b", " a", "x" * 41, "a\x1b[31m"])
def test_names_that_cannot_stand_in_a_record_are_refused(name):
    with pytest.raises(ConfigurationError, match="--as"):
        SessionOptions(name=name)


# ---- stakes and stopping -----------------------------------------------------------------------------


def test_a_person_ends_a_debate_or_goes_on_and_pays_for_it(tmp_path):
    stops = iter([False, False, True])

    def rule(asked):
        return Decided({"A": 0.97, "B": 0.03}, stops=next(stops))

    front = people.Ruled(rule)
    record = hold(front, tmp_path / "run", "debate(rounds=8,stop=sure,sure=0.9)", arena=tiny.Sums(count=1))[0]
    assert [asked.request.stakes.gone_on for asked in front.asked] == [0, 1, 2]
    assert [asked.request.stakes.left for asked in front.asked] == [7, 6, 5]
    assert all(asked.request.public for asked in front.asked)  # the debaters see what a judge gives before its last
    verdicts = [turn for turn in record["turns"] if turn["kind"] == "verdict"]
    assert [turn["stops"] for turn in verdicts] == [False, False, True]  # sure enough at once, and it went on
    p = record["probabilities"][0]
    assert record["judge_score"] == pytest.approx(math.log2(p) - 0.05 * 2)
    # Nothing that was shown before is asked about again.
    assert [asked.seen for asked in front.asked] == [0, 2, 5]  # one's own verdicts are turns too
    assert [[one["after"] for one in turn.get("beliefs", ())] for turn in verdicts] == [[1], [3, 4], [6, 7]]


def test_the_last_decision_and_the_prior_are_no_choice_to_go_on(tmp_path):
    front = people.Ruled(lambda asked: Decided({"A": 0.6, "B": 0.4}))
    hold(front, tmp_path / "run", "debate(rounds=2,stop=sure,prior=true)", arena=tiny.Sums(count=1))
    assert front.asked[0].request.stakes is None
    assert [asked.request.leads_on for asked in front.asked] == [True, True, False]
    # Each begins where the one before it ended, whatever the labels are listed in.
    stated = [dict(zip([one.label for one in a.request.view.answers], a.before, strict=True)) for a in front.asked[1:]]
    assert front.asked[0].before == ()
    assert stated == [{"A": 0.6, "B": 0.4}] * 2
    assert [asked.request.stakes.left for asked in front.asked[1:]] == [1, 0]


def test_questions_of_a_person_are_put_to_the_speakers(tmp_path):
    front = judge()
    record = hold(front, tmp_path / "run", "debate(rounds=2,interactive=true)", arena=tiny.Sums(count=1))[0]
    asked = [turn for turn in record["turns"] if turn["kind"] == "speech" and turn["role"] == "judge"]
    assert [turn["text"] for turn in asked] == ["Judge speaks: None"]
    assert asked[0]["agent"] == "human"
    assert asked[0]["seconds"] == 2.0


# ---- people who debate -------------------------------------------------------------------------------


def test_two_people_debate_before_a_machine(tmp_path):
    cast = {"debater": "human", "judge": tiny.Thinker()}
    shown = {}
    for name in ("ada", "bob", "ada", "bob"):
        front = judge(patience=0.1)  # nobody else is there
        hold(front, tmp_path / "run", "debate(rounds=2)", arena=tiny.Sums(count=1), name=name, **cast)
        shown.setdefault(name, []).extend(front.asked)
    (record,) = read_episodes(tmp_path / "run")
    speeches = [(turn["step"], turn["agent"]) for turn in record["turns"] if turn["kind"] == "speech"]
    assert {agent for _, agent in speeches} == {"human/ada", "human/bob"}
    by_seat = {step.partition(" speech")[0]: agent for step, agent in speeches}
    assert len(set(by_seat.values())) == 2
    assert all(asked.request.view.material for asked in shown["ada"] + shown["bob"])
    assert record["status"] == "scored"


THREE = """
import sys
sys.path.insert(0, {tests!r})
import oversight, people, tiny
from oversight.runs.session import SessionOptions

front = people.Ruled(people.sure_of("0"), patience=60)
oversight.run("debate(rounds=2,style=sequential,interactive=true)", tiny.Sums(count=1), debater="human",
              judge="human", log_dir={folder!r}, session=SessionOptions(name={name!r}, front=front))
print(len(front.asked))
"""


def test_three_people_at_three_terminals_hold_a_debate(tmp_path):
    running = []
    for name in ("ada", "bob", "cyd"):
        program = THREE.format(tests=str(TESTS), folder=str(tmp_path / "run"), name=name)
        command = [sys.executable, "-c", program]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    outcomes = [one.communicate(timeout=180) for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], outcomes
    (record,) = read_episodes(tmp_path / "run")
    assert record["status"] == "scored"
    assert len({turn["agent"] for turn in record["turns"]}) == 3
    assert len({(turn["seat"], turn["agent"]) for turn in record["turns"]}) == 3
    assert sorted(int(out) for out, _ in outcomes) == [2, 2, 2]


# ---- checks of attention -----------------------------------------------------------------------------


def test_checks_stand_among_the_items_and_are_not_counted_with_them(tmp_path):
    front = judge("blue")
    options = PeopleOptions(attention_every=3)
    records = hold(front, tmp_path / "run", arena=tiny.Sums(count=16), options=options, name="ada")
    checks = [record for record in records if record["purpose"] == "attention"]
    compared = [record for record in records if record["purpose"] == "comparison"]
    assert len(compared) == 8
    assert len(checks) in (3, 4)
    order = [record["purpose"] == "attention" for record in records]
    for block in range(len(order) // 3):
        assert sum(order[3 * block : 3 * block + 3]) == 1
    assert not any(one["question"].startswith("attention") for one in oversight.RunResult(tmp_path / "run").episodes())
    for record in checks:
        assert record["cast"]["judge"] == ["human"]
        assert all("checks that transcripts are read" in turn["text"] for turn in record["turns"][:2])


def test_whoever_is_checked_may_sit_at_the_end_of_a_cascade(tmp_path):
    cascade = CascadeAgent("c", [tiny.Second(), Human()]).with_thresholds([None])
    options = PeopleOptions(attention_every=2)
    records = hold(judge(), tmp_path / "run", options=options, debater=tiny.Thinker(), judge=cascade)
    assert {record["purpose"] for record in records} == {"attention", "comparison"}


def test_checks_of_a_person_are_drawn_and_the_same_again():
    ten = [attention_episode("human/ada", number, 0) for number in range(10)]
    assert len({one.question.text for one in ten}) == len(_ITEMS)
    assert ten[3].id == attention_episode("human/ada", 3, 0).id
    assert [one.question.id for one in ten] != [attention_episode("human/bob", n, 0).question.id for n in range(10)]
    assert len({one.seating.labels for one in ten}) == 2


# ---- feedback ----------------------------------------------------------------------------------------


def test_feedback_is_told_only_where_it_is_asked_for_and_is_right(tmp_path):
    silent = judge("1")
    hold(silent, tmp_path / "silent")
    assert silent.feedback == [None, None]
    front = judge("0")  # right in the first question, whose answer is 0
    hold(front, tmp_path / "run", session={"feedback": True})
    one, two = front.feedback
    assert (one.count, one.accuracy, one.answer) == (1, 1.0, "0")
    assert one.score == pytest.approx(-0.152, abs=1e-3)
    assert one.brier == pytest.approx(-0.02)
    assert [(band.low, band.high, band.count, band.right) for band in one.bands] == [(0.9, 1.0, 1, 1.0)]
    assert two.count == 2
    scores = [record["probabilities"][record["correct"]] for record in read_episodes(tmp_path / "run")]
    assert two.mean_score == pytest.approx(sum(math.log2(p) for p in scores) / 2)


# ---- what people are not asked -----------------------------------------------------------------------


def test_people_rank_no_candidates():
    with pytest.raises(ConfigurationError, match="ranks candidates"):
        plan_run("debate(candidates=2)", tiny.Sums(count=2), {"debater": tiny.Thinker(), "judge": "human"})


def test_no_schedule_waits_for_people():
    with pytest.raises(ConfigurationError, match="cannot wait for people"):
        plan_tournament(
            tiny.Sums(count=2), debaters=[tiny.Thinker()], judges=["human"], schedule="adaptive", protocols=["debate"]
        )


def test_people_are_not_measured_alone():
    plan = plan_tournament(
        tiny.Sums(count=2), debaters=[tiny.Thinker()], judges=["human", "proxy/noisy(0.2)"], protocols=["debate"]
    )
    alone = [episode for episode in plan.episodes() if episode.purpose == "capability"]
    assert {episode.cast["judge"] for episode in alone} == {("tiny/thinker",)}


@pytest.mark.parametrize(
    ("values", "option"),
    [({"judges": 0}, "--judges-per-item"), ({"minutes": 0.0}, "--minutes"), ({"attention_every": 1}, "--attention")],
)
def test_options_out_of_range_name_themselves(values, option):
    with pytest.raises(ConfigurationError, match=option):
        PeopleOptions(**values)


# ---- preparing, killing, coming back -----------------------------------------------------------------


def test_what_is_prepared_is_not_played_again(tmp_path, monkeypatch):
    calls = tmp_path / "calls"
    monkeypatch.setenv("OVERSIGHT_TEST_CALLS", str(calls))
    hold(judge(), tmp_path / "run", arena=tiny.Sums(count=8), session={"prepare_only": True})
    before = calls.read_text()
    assert len(before.splitlines()) == 16
    front = judge()
    hold(front, tmp_path / "run", arena=tiny.Sums(count=8))
    assert calls.read_text() == before
    assert len(front.asked) == 4


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import oversight, people, tiny
from oversight.runs.people import People
from oversight.runs.session import SessionOptions
from oversight.terminal.front import Decided
from oversight.transcript import Belief

log, when = open({log!r}, "a", buffering=1), {when!r}

def die(where):
    if where == when:
        os.kill(os.getpid(), signal.SIGKILL)

class Front(people.Ruled):
    async def choose(self, asked, place, keep):
        real = keep.belief
        class Keep:
            def belief(self, belief):
                print("belief", asked.request.view.question, belief.after, file=log)
                real(belief)
                die(f"belief {{belief.after}}")
            note = keep.note
            draft = keep.draft
        return await super().choose(asked, place, Keep())

kept = People.keep_reply
def keep_reply(self, episode, step, value):
    print("reply", episode, step, file=log)
    stored = kept(self, episode, step, value)
    die("reply " + step)
    return stored
People.keep_reply = keep_reply
finish = People.finish
def finished(self, episode):
    die("before finish")
    finish(self, episode)
People.finish = finished

rule = lambda asked: Decided({{"A": 0.6, "B": 0.4}}, "why", 1.0)
front = Front(rule, credence=lambda asked, after: (0.5 + after / 50, 0.5 - after / 50))
front.rule = lambda asked: rule(asked) if type(asked.request).__name__ == "Choose" else people.Said("Which?", 1.0)
oversight.run({protocol!r}, tiny.Sums(count=4), debater=tiny.Thinker(), judge="human", log_dir={folder!r},
              session=SessionOptions(front=front))
print("ended")
"""
PROTOCOL = "debate(rounds=3,interactive=true,stop=settled,settled=0,prior=true)"


def _killed(tmp_path, when, folder="run"):
    script = KILLED.format(
        tests=str(TESTS), log=str(tmp_path / "log"), when=when, folder=str(tmp_path / folder), protocol=PROTOCOL
    )
    environment = {**os.environ, "OVERSIGHT_TEST_CALLS": str(tmp_path / "calls")}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)


def _content(folder):
    records = {}
    for record in read_episodes(folder):
        record = {name: value for name, value in record.items() if name not in ("seconds", "finished")}
        for turn in record["turns"]:
            turn.pop("seconds", None)
            for belief in turn.get("beliefs", ()):
                belief.pop("seconds")
        records[record["id"]] = record
    return records


@pytest.mark.parametrize(
    "when",
    ["belief 1", "belief 4", "reply judge verdict 1", "reply judge speech 1", "reply judge verdict 2", "before finish"],
)
def test_killed_at_any_moment_a_session_goes_on_and_asks_nothing_twice(tmp_path, when):
    whole = _killed(tmp_path, "never", "whole")
    assert whole.stdout == "ended\n", whole.stderr
    wanted = _content(tmp_path / "whole")
    assert len(wanted) == 2
    (tmp_path / "log").unlink()
    (tmp_path / "calls").unlink()
    for attempt in range(20):
        ended = _killed(tmp_path, when)
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        when = f"{when}" if attempt < 1 else "never"  # killed twice at the same place, then let go
    assert ended.returncode == 0
    assert _content(tmp_path / "run") == wanted
    said = Counter((tmp_path / "log").read_text().splitlines())
    assert set(said.values()) == {1}, "asked twice"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == sum(turn["agent"] == "tiny/thinker" for one in wanted.values() for turn in one["turns"])


CHECKPOINTS = """
import os, random, signal, sys
sys.path.insert(0, {tests!r})
import oversight, people, tiny
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from oversight.runs.session import SessionOptions
from oversight.terminal.front import Decided

number, when, made = int(sys.argv[1]), sys.argv[2], 0

def counted(method):
    async def call(self, *arguments, **named):
        global made
        made += 1
        mine = made
        if mine == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = await method(self, *arguments, **named)
        if mine == number and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

for name in ("aput", "aput_writes", "adelete_thread"):
    setattr(AsyncSqliteSaver, name, counted(getattr(AsyncSqliteSaver, name)))

def rule(asked):
    share = random.Random(len(asked.request.view.turns)).random()
    return Decided({{"A": share, "B": 1 - share}}, "why", 1.0)

oversight.run("debate(rounds=1,prior=true)", tiny.Sums(count=1), debater=tiny.Thinker(), judge="human",
              log_dir=sys.argv[3], session=SessionOptions(front=people.Ruled(rule), ahead=1))
print(made)
"""


def test_killed_at_any_call_into_the_checkpointer_the_record_is_the_same(tmp_path):
    program = CHECKPOINTS.format(tests=str(TESTS))

    def held(number, when, folder):
        command = [sys.executable, "-c", program, str(number), when, str(folder)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def outcome(folder):
        store = People(folder / "people.sqlite", "human")
        standings = store.standings()
        store.close()
        return _content(folder), standings

    whole = held(0, "never", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    wanted, calls = outcome(tmp_path / "whole"), int(whole.stdout)
    assert calls > 8

    def killed(point):
        number, when = point
        folder = tmp_path / f"{when} {number}"
        assert held(number, when, folder).returncode == -signal.SIGKILL
        again = held(0, "never", folder)
        assert again.returncode == 0, again.stderr
        return outcome(folder) == wanted

    points = [(number, when) for number in range(1, calls + 1) for when in ("before", "after")]
    with ThreadPoolExecutor(2) as pool:
        same = list(pool.map(killed, points))
    assert [point for point, is_same in zip(points, same, strict=True) if not is_same] == []


# ---- two sessions at once ----------------------------------------------------------------------------

TOGETHER = """
import asyncio, sys
sys.path.insert(0, {tests!r})
import oversight, people, tiny
from oversight.runs.plan import PeopleOptions
from oversight.runs.session import SessionOptions

class Slow(people.Ruled):
    async def choose(self, asked, place, keep):
        await asyncio.sleep(0.02)
        return await super().choose(asked, place, keep)

front = Slow(people.sure_of("nothing"))
oversight.run("debate(rounds=1)", tiny.Sums(count=24), debater=tiny.Thinker(), judge="human", log_dir={folder!r},
              people=PeopleOptions(judges=2), session=SessionOptions(name={name!r}, front=front))
print(len(front.asked))
"""


def test_sessions_at_once_on_one_directory_share_the_work_and_lose_nothing(tmp_path):
    environment = {**os.environ, "OVERSIGHT_TEST_CALLS": str(tmp_path / "calls"), "OVERSIGHT_TEST_DELAY": "0.01"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER.format(tests=str(TESTS), folder=str(tmp_path / "run"), name=name)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("ada", "bob", "cyd")
    ]
    outcomes = [one.communicate(timeout=180) for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], outcomes
    asked = [int(out) for out, _ in outcomes]
    records = list(read_episodes(tmp_path / "run"))
    assert asked == [12, 12, 12]  # each of them every page once
    assert len(records) == len({record["id"] for record in records}) == 36
    assert all(record["status"] == "scored" for record in records)
    pages = Counter((record["turns"][-1]["agent"], record["source"]) for record in records)
    assert set(pages.values()) == {1}
    # No machine's turn was made twice, whoever needed it.
    calls = (tmp_path / "calls").read_text().splitlines()
    speeches = {(record["question"], turn["step"]) for record in records for turn in record["turns"][:-1]}
    assert len(calls) == len(speeches)


SPENDS = """
import asyncio, sys
sys.path.insert(0, {tests!r})
import oversight, people, tiny
from oversight.agents import LanguageModelAgent
from oversight.errors import BudgetExceeded
from oversight.models import Completion, Model
from oversight.runs.session import SessionOptions
from oversight.transcript import Usage

class Dear(Model):
    def describe(self):
        return {{"model": "dear"}}
    def price(self, usage):
        return 0.01 * usage.calls
    async def complete(self, call):
        await asyncio.sleep(0.05)
        return Completion("I say so.", "stop", usage=Usage(1, 1, 1, 0.01))

try:
    oversight.run("debate(rounds=1)", tiny.Sums(count=60), debater=LanguageModelAgent(Dear("dear")), judge="human",
                  log_dir={folder!r}, cost_limit=0.20, session=SessionOptions(name={name!r}, front=people.Ruled(
                  people.sure_of("0"), patience=20)))
except BudgetExceeded as error:
    print("short", error)
"""


def test_sessions_at_once_keep_to_one_cost_limit(tmp_path):
    running = []
    for name in ("ada", "bob", "cyd"):
        program = SPENDS.format(tests=str(TESTS), folder=str(tmp_path / "run"), name=name)
        running.append(
            subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    outcomes = [one.communicate(timeout=180) for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], outcomes
    assert all("short" in out for out, _ in outcomes)
    journal = sqlite3.connect(tmp_path / "run" / "journal.sqlite")
    (spent,) = journal.execute("SELECT SUM(dollars) FROM calls").fetchone()
    assert journal.execute("SELECT COUNT(*) FROM promises").fetchone() == (0,)
    journal.close()
    assert 0.15 < spent <= 0.20 + 1e-9
    # What was prepared before the money was gone was judged all the same.
    assert sum(record["status"] == "scored" for record in read_episodes(tmp_path / "run")) >= 8


@pytest.mark.parametrize("name", ["people.sqlite", "checkpoints.sqlite"])
def test_a_broken_file_is_one_line(tmp_path, name):
    hold(judge(most=1), tmp_path / "run", "debate(rounds=2)", arena=tiny.Sums(count=8))
    for extra in tmp_path.glob(f"run/{name}-*"):
        extra.unlink()
    (tmp_path / "run" / name).write_bytes(b"no database at all" * 500)
    with pytest.raises(RunDirectoryError, match=name) as caught:
        hold(judge(), tmp_path / "run", "debate(rounds=2)", arena=tiny.Sums(count=8))
    assert "\n" not in str(caught.value)


def test_what_fails_ends_the_preparing_of_everything_else(tmp_path, monkeypatch):
    calls = tmp_path / "calls"
    monkeypatch.setenv("OVERSIGHT_TEST_CALLS", str(calls))

    class Broken(tiny.Thinker):
        async def speak(self, request):
            if "0 +" in request.view.question:
                raise RuntimeError("a bug")
            return await super().speak(request)

    with pytest.raises(RuntimeError, match="a bug"):
        oversight.run(
            "debate(rounds=1)", tiny.Sums(count=60), debater=Broken(), judge="human", connections=4,
            log_dir=tmp_path / "run", session=SessionOptions(prepare_only=True),
        )  # fmt: skip
    assert not calls.exists() or len(calls.read_text().splitlines()) < 40


def test_time_at_an_item_adds_up_over_sessions(tmp_path):
    stops = judge(credence=lambda asked, after: None)
    hold(stops, tmp_path / "run", arena=tiny.Sums(count=1), options=PeopleOptions(minutes=1))
    store = People(tmp_path / "run" / "people.sqlite", "human")
    ((episode, _),) = store.begun()
    store.keep_time(episode, "judge verdict 1", 45.0)
    store.close()
    front = judge()
    (record,) = hold(front, tmp_path / "run", arena=tiny.Sums(count=1), options=PeopleOptions(minutes=1))
    assert stops.asked[0].seconds == pytest.approx(60, abs=1)
    assert front.asked[0].seconds == pytest.approx(15, abs=0.1)
    assert record["turns"][-1]["seconds"] == pytest.approx(48, abs=0.5)


def test_the_file_of_statements_is_durable_at_once(tmp_path):
    store = People(tmp_path / "people.sqlite", "human")
    assert store._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: flushed at every commit
    store.keep_belief("e", "s", Belief(1, (0.5, 0.5)))
    other = sqlite3.connect(tmp_path / "people.sqlite")
    assert other.execute("SELECT COUNT(*) FROM beliefs").fetchone() == (1,)
    other.close()
    store.close()


def test_stopping_keeps_what_was_stated_and_the_same_command_goes_on(tmp_path):
    said = []

    def stops_after_two(asked, after):
        if len(said) == 2:
            return None
        said.append(after)
        return (0.6, 0.4)

    first = judge("nothing", credence=stops_after_two)
    assert hold(first, tmp_path / "run", "debate(rounds=3)") == []
    second = judge()
    hold(second, tmp_path / "run", "debate(rounds=3)")
    assert [one.after for one in second.asked[0].beliefs] == [1, 2]
    assert second.asked[0].order == first.asked[0].order
    assert second.asked[0].request == first.asked[0].request


def test_an_episode_whose_machine_fails_is_unscored_and_shown_to_nobody(tmp_path):
    front = judge()
    records = hold(front, tmp_path / "run", debater=tiny.Silent(), judge="human")
    assert front.asked == []
    assert {record["status"] for record in records} == {"unscored"}


def test_what_failed_is_played_again_where_that_is_asked_for(tmp_path, monkeypatch):
    arguments = {"debater": tiny.Failing(), "judge": "human", "log_dir": tmp_path / "run"}
    oversight.run("debate(rounds=1)", tiny.Sums(count=2), session=SessionOptions(front=judge()), **arguments)
    assert {record["status"] for record in read_episodes(tmp_path / "run")} == {"unscored"}
    monkeypatch.setenv("OVERSIGHT_TEST_MENDED", "1")
    same, again = judge(), judge()
    oversight.run("debate(rounds=1)", tiny.Sums(count=2), session=SessionOptions(front=same), **arguments)
    assert same.asked == []
    oversight.run(
        "debate(rounds=1)", tiny.Sums(count=2), session=SessionOptions(front=again), retry_failed=True, **arguments
    )
    assert len(again.asked) == 1  # two questions on one page
    assert sum(record["status"] == "scored" for record in read_episodes(tmp_path / "run")) == 1


def test_machines_play_their_own_episodes_of_a_tournament_behind_a_session(tmp_path):
    front = judge()
    result = oversight.tournament(
        tiny.Sums(count=6),
        debaters=[tiny.Thinker()],
        judges=["human", tiny.Second()],
        protocols=["debate(rounds=1)"],
        log_dir=tmp_path / "run",
        session=SessionOptions(front=front),
    )
    judged = Counter(record["cast"]["judge"][0] for record in result.episodes())
    assert judged == {"human": 3, "tiny/second": 6}
    assert len(front.asked) == 3
    # One seating a question for everybody, so that they are compared on the same ones.
    by_judge = {}
    for record in result.episodes():
        by_judge.setdefault(record["cast"]["judge"][0], {})[record["question"]] = record["seating"]
    assert all(by_judge["tiny/second"][question] == seating for question, seating in by_judge["human"].items())


class Two(Protocol):
    """Two judges decide one after another."""

    name = "two"

    first = Judge(instructions="You judge first.")
    second = Judge(instructions="You judge second.")

    def graph(self, answers):
        return self.first.decides() >> self.second.decides()


def test_two_seats_of_an_episode_are_two_peoples(tmp_path):
    for name in ("ada", "bob"):
        hold(
            judge(patience=0.1),
            tmp_path / "run",
            Two(),
            arena=tiny.Sums(count=1),
            name=name,
            first="human",
            second="human",
        )
    (record,) = read_episodes(tmp_path / "run")
    assert sorted(turn["agent"] for turn in record["turns"]) == ["human/ada", "human/bob"]


# ---- looking at what came out ------------------------------------------------------------------------


def _oversight(*words):
    done = subprocess.run([sys.executable, "-m", "oversight.cli", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_way_to_a_verdict_is_shown_and_exported(tmp_path):
    def rule(asked):
        return Decided({"A": 0.9, "B": 0.1}, "It is so", 61.0)

    front = people.Ruled(rule, credence=lambda asked, after: (0.6, 0.4))
    (record,) = hold(front, tmp_path / "run", arena=tiny.Sums(count=1), name="ada")
    shown = _oversight("show", tmp_path / "run", record["id"][:8])
    assert "human/ada" in shown
    assert "after 1 turn: A 0.60, B 0.40" in shown
    assert "took 61 s" in shown
    assert "It is so" not in shown  # private, as any reasoning
    assert "It is so" in _oversight("show", tmp_path / "run", record["id"][:8], "--reasoning")
    _oversight("export", tmp_path / "run", "--format", "jsonl")
    rows = [json.loads(line) for line in (tmp_path / "run" / "export" / "turns.jsonl").read_text().splitlines()]
    verdict = rows[-1]
    assert verdict["seconds"] == 61.0
    assert [one["after"] for one in json.loads(verdict["beliefs"])] == [1]
    assert rows[0]["seconds"] is None
    assert rows[0]["beliefs"] is None


def test_reasons_and_notes_are_told_on_request(tmp_path):
    async def choose(asked, place, keep):
        keep.note("The names are Scottish")
        return Skipped("I know this story")

    front = judge()
    front.choose = choose
    hold(front, tmp_path / "run", arena=tiny.Sums(count=1), name="ada")
    status = _oversight("judge", tmp_path / "run", "--status")
    assert "I know this story" in status
    assert "The names are Scottish" in status
