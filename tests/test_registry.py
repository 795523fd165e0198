"""Where names come from: entry points and users' files, with the nearest match for a typo."""

from __future__ import annotations

import re

import pytest

from oversight.agents import Agent, AnswerKey, LanguageModelAgent, ScriptedAgent
from oversight.errors import ConfigurationError, MissingKey, UnknownName
from oversight.models.openai_compatible import ModelOptions
from oversight.protocols.debate import Debate
from oversight.questions import Arena
from oversight.registry import agent_names, find_agent, find_arena, find_protocol, load_class, names

FILE = '''
from oversight.agents import ScriptedAgent
from oversight.protocol import Graph, Judge, Protocol
from oversight.questions import Arena, Question

class Mine(Protocol):
    """Mine."""
    name = "mine"
    rounds: int = 1
    judge = Judge()
    def graph(self, answers: int) -> Graph:
        return self.judge.decides()

class Yard(Arena):
    """A yard."""
    name = "yard"
    def questions(self, limit, seed):
        return [Question("q", "?", ("a", "b"), 0, "s")]

def sure():
    return ScriptedAgent("sure", choices={"A": 1.0})

ready = ScriptedAgent("ready", choices={"A": 1.0})
number = 7

def broken():
    return 7

def crashing():
    raise RuntimeError("no weights\\nfound")
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_the_built_ins_are_registered():
    """Through the entry points that a third party uses."""
    assert {"blind", "consultancy", "debate", "direct", "propaganda"} <= set(names("protocols"))
    assert {"connect_four", "passage"} <= set(names("arenas"))
    assert {"ollama", "openai", "scripted", "vllm"} <= set(names("models"))


def test_protocols_by_name_with_options():
    """Options in parentheses and as keywords, typed and defaulted."""
    assert find_protocol("debate") == Debate()
    assert find_protocol("debate(rounds=2,style=sequential)") == Debate(rounds=2, style="sequential")
    assert find_protocol("debate(rounds=2)", rounds="5").rounds == 5  # a command line's own option wins


@pytest.mark.parametrize(
    ("find", "text", "said"),
    [
        (find_protocol, "debte", "unknown protocol 'debte': did you mean 'debate'?"),
        (find_protocol, "Debate", "unknown protocol 'Debate': did you mean 'debate'?"),
        (find_protocol, "debate(round=2)", "unknown option of debate 'round': did you mean 'rounds'?"),
        (find_protocol, "debate(style=simultanous)", "option 'style'"),
        (find_protocol, "debate(rounds=zero)", "option 'rounds' = 'zero'"),
        (find_protocol, "debate(rounds=0)", "option 'rounds' = 0"),
        (find_protocol, "debate(rounds=none)", "option 'rounds' = None"),
        (find_protocol, "debate(rounds=", "not closed|cannot read"),
        (
            find_protocol,
            "zzzzzz",
            "known: .*blind, consultancy, critique, cross_examination, debate, decomposition, direct",
        ),
        (find_protocol, "connect_four", "unknown protocol"),
        (find_arena, "conect_four", "unknown arena 'conect_four': did you mean 'connect_four'?"),
        (find_arena, "passage", "passage needs the option 'data': folder of the NYU"),
        (find_arena, "passage(dat=x)", "did you mean 'data'?|needs the option 'data'"),
        (find_agent, "opena/gpt", "unknown model 'opena/gpt': did you mean 'openai/...'?"),
        (find_agent, "openai", "unknown model 'openai': did you mean 'openai/...'?"),
        (find_agent, "openai/", "unknown model 'openai/'"),
        (find_agent, "scripted/frist", "unknown script 'frist': did you mean 'first'?"),
        (find_agent, "", "unknown model ''"),
        (find_agent, "openai/m(reasning=true)", "unknown option of openai/... 'reasning': did you mean 'reasoning'?"),
        (find_agent, "vllm/m(elicitation=vote)", "option 'elicitation' = 'vote': Input should be 'automatic', 'texts'"),
        (find_agent, "openai/m(votes=0)", "option 'votes' = 0: Input should be greater than or equal to 1"),
        (find_agent, "openai/m(temperature=-1)", "option 'temperature' = -1"),
        (find_agent, "openai/m(max_tokens=many)", "option 'max_tokens' = 'many'"),
        (find_agent, "openai/m(orders=two)", "option 'orders' = 'two': Input should be 'both' or 'one'"),
        (find_agent, "openai/m(reasoning=true", "cannot read 'openai/m(reasoning=true': write a name"),
        (find_agent, "openai/m(reasoning)", "cannot read 'reasoning' in 'openai/m(reasoning)': write option=value"),
        (find_agent, "openai/m(votes=1,votes=2)", "option 'votes' is given twice"),
        (find_agent, "opena/gpt(votes=3)", "unknown model 'opena/gpt': did you mean 'openai/...'?"),
        (find_agent, "humn", "unknown model 'humn': did you mean 'human'?"),
        (find_agent, "human(name=x)", "human(name=x): a person takes no options: write human"),
        (find_agent, "proxy/nosy(0.2)", "unknown proxy 'proxy/nosy': did you mean 'proxy/noisy'?"),
        (find_agent, "proxy", "unknown proxy 'proxy'"),
        (find_agent, "proxy/noisy(0.1,0.2)", "a stand-in takes one rate: write proxy/noisy(0.2, judge=NAME)"),
        (find_agent, "proxy/noisy(0.1,rate=0.2)", "a stand-in takes one rate"),
        (find_agent, "proxy/noisy(1.2)", "option 'rate' = 1.2: Input should be less than or equal to 1"),
        (find_agent, "proxy/noisy(much)", "option 'rate' = 'much'"),
        (find_agent, "proxy/noisy(rat=0.2)", "unknown option of proxy/noisy 'rat': did you mean 'rate'?"),
        (find_agent, "proxy/noisy(judge=scripted/frist)", "unknown script 'frist': did you mean 'first'?"),
        (find_agent, "cascade", "a cascade needs a judge before the person"),
        (find_agent, "cascade(human)", "a cascade needs a judge before the person"),
        (find_agent, "cascade(scripted/first,humn)", "unknown model 'humn': did you mean 'human'?"),
        (find_agent, "cascade(scripted/first,rsk=0.1)", "unknown option of cascade 'rsk': did you mean 'risk'?"),
        (find_agent, "cascade(scripted/first,name=x)", "unknown option of cascade 'name'"),
        (find_agent, "cascade(scripted/first,risk=2)", "option 'risk' = 2"),
        (find_agent, "cascade/x(scripted/first)", "unknown agent 'cascade/x'"),
        (find_protocol, "debate(2)", "cannot read '2' in 'debate(2)': write option=value"),
        (find_arena, "passage(stories)", "cannot read 'stories' in 'passage(stories)': write option=value"),
        (find_agent, "scripted/first(votes=3)", "options are for language models, and this agent is none"),
    ],
)
def test_a_name_that_is_not_there_is_one_line_with_the_nearest(find, text, said):
    """Unknown names and options that cannot be."""
    with pytest.raises(ConfigurationError, match=re.sub(r"([?()])", r"\\\1", said)) as caught:
        find(text)
    assert "\n" not in str(caught.value)


def test_an_agent_of_the_arena_is_in_the_nearest_match():
    """An arena's own agents are known by the name they are written with."""
    pytest.importorskip("pyspiel")
    arena = find_arena("connect_four")
    assert find_agent("mcts/8", arena).name == "mcts/8"
    with pytest.raises(UnknownName, match=r"did you mean 'mcts/N'\?"):
        find_agent("mtcs/8", arena)
    with pytest.raises(ConfigurationError, match="write mcts/N"):
        find_agent("mcts/none", arena)


def test_models_by_provider(monkeypatch):
    """A provider's model becomes an agent; a key that is missing is named."""
    agent = find_agent("ollama/llama3", options=ModelOptions(base_url="http://localhost:9/v1"))
    assert isinstance(agent, LanguageModelAgent)
    assert agent.model.describe()["base_url"] == "http://localhost:9/v1"
    assert isinstance(find_agent("scripted/first"), ScriptedAgent)
    with pytest.raises(MissingKey, match="OPENAI_API_KEY"):
        find_agent("openai/gpt-4o-mini").require()


def test_people_and_who_stands_in_for_them():
    """By name, with a rate that needs no key and a judge of its own."""
    assert find_agent("human").asks_people
    noisy = find_agent(" proxy/noisy(0.3) ")
    assert (noisy.name, noisy.options.rate, type(noisy.judge)) == ("proxy/noisy(0.3)", 0.3, AnswerKey)
    assert find_agent("proxy/noisy").options.rate == 0.2
    lazy = find_agent("proxy/negligent(0.4, judge=scripted/longest, confidence=0.8)")
    assert (lazy.options.rate, lazy.judge.name, lazy.options.confidence) == (0.4, "scripted/longest", 0.8)
    assert find_agent("proxy/position-biased(rate=1)").options.rate == 1
    assert find_agent("proxy/length-biased(judge=cascade(scripted/first,scripted/longest))").judge.judges


def test_a_cascade_finds_its_members(file):
    """Models, the arena's own and the user's, each with the options that go by its name."""
    options = {
        "ollama/m": ModelOptions(base_url="http://localhost:1/v1"),
        "ollama/m(votes=3)": ModelOptions(base_url="http://localhost:2/v1"),
    }
    name = f"cascade(ollama/m, {file}:sure, ollama/m(votes=3), human, risk=0.2, calibration=items.csv)"
    cascade = find_agent(name, options=options)
    assert cascade.name == name
    assert [type(one) for one in cascade.judges] == [LanguageModelAgent, ScriptedAgent, LanguageModelAgent]
    urls = [one.model.describe()["base_url"] for one in cascade.judges if isinstance(one, LanguageModelAgent)]
    assert urls == ["http://localhost:1/v1", "http://localhost:2/v1"]
    assert (cascade.options.risk, cascade.options.calibration) == (0.2, "items.csv")
    assert cascade.person.name == "human"
    assert cascade.asks_people
    one_for_all = find_agent("cascade(ollama/a,ollama/b)", options=ModelOptions(base_url="http://localhost:3/v1"))
    assert {one.model.describe()["base_url"] for one in one_for_all.judges} == {"http://localhost:3/v1"}
    assert find_agent("ollama/m", options=options).model.describe()["base_url"] == "http://localhost:1/v1"


def test_a_cascade_of_the_arenas_agents():
    """Members are found in the arena of the cascade."""
    pytest.importorskip("pyspiel")
    cascade = find_agent("cascade(mcts/8,mcts/32,proxy/negligent(judge=mcts/64))", find_arena("connect_four"))
    assert [one.name for one in cascade.judges] == ["mcts/8", "mcts/32"]
    assert cascade.person.judge.name == "mcts/64"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("mcts/8", ["mcts/8"]),
        ("human", ["human"]),
        ("proxy/noisy(0.2)", ["proxy/noisy(0.2)"]),
        ("proxy/noisy(0.2,judge=openai/b(votes=3))", ["openai/b(votes=3)"]),
        ("cascade(a, openai/b(votes=3), human, risk=0.1)", ["a", "openai/b(votes=3)", "human"]),
        ("cascade(a,b,proxy/noisy(judge=a))", ["a", "b"]),
        ("cascade", ["cascade"]),
        ("mine.py:Judge", ["mine.py:Judge"]),
        ("human/mine.py:Judge", ["human/mine.py:Judge"]),
    ],
)
def test_the_agents_that_a_name_asks(name, found):
    """Those that options of models go by."""
    assert agent_names(name) == found


def test_a_file_in_a_folder_of_that_name(tmp_path, monkeypatch):
    """A folder may be called human."""
    (tmp_path / "human").mkdir()
    (tmp_path / "human" / "mine.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    assert find_agent("human/mine.py:ready").name == "ready"
    assert find_agent("cascade(human/mine.py:ready)").judges[0].name == "ready"


def test_classes_of_a_users_file(file):
    """file.py:Name for protocols, arenas and agents, with options."""
    assert find_protocol(f"{file}:Mine(rounds=3)").rounds == 3
    assert isinstance(find_arena(f"{file}:Yard"), Arena)
    assert isinstance(find_agent(f"{file}:sure"), Agent)
    assert find_agent(f"{file}:ready").name == "ready"
    assert load_class("protocols", f"{file}:Mine") is load_class("protocols", f"{file}:Mine")


def test_an_edited_file_is_read_again(file):
    """A session that edits its protocol gets the edited one."""
    assert find_protocol(f"{file}:Mine").rounds == 1
    file.write_text(FILE.replace("rounds: int = 1", "rounds: int = 9"))
    assert find_protocol(f"{file}:Mine").rounds == 9


@pytest.mark.parametrize(
    ("find", "name", "said"),
    [
        (find_protocol, "Min", "unknown name in .*mine.py 'Min': did you mean 'Mine'"),
        (find_protocol, "Yard", "is not a subclass of Protocol"),
        (find_arena, "Mine", "is not a subclass of Arena"),
        (find_protocol, "number", "is not a subclass of Protocol"),
        (find_protocol, "", "unknown name|write a name"),
        (find_agent, "number", "gave a int, not an Agent or a Model"),
        (find_agent, "broken", "gave a int, not an Agent or a Model"),
        (find_agent, "crashing", "cannot be made: RuntimeError: no weights"),
        (find_agent, "Yar", "did you mean 'Yard'"),
    ],
)
def test_a_users_file_without_what_is_named(file, find, name, said):
    """What the file has instead is said in one line."""
    with pytest.raises(ConfigurationError, match=said):
        find(f"{file}:{name}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def (", "cannot be imported: SyntaxError"),
        ("import nothing_of_that_name", "cannot be imported: ModuleNotFoundError"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit"),
        ("\x00", "cannot be imported"),
    ],
)
def test_a_file_that_cannot_be_imported(tmp_path, text, said):
    """The reason is given with the file's name, and the next try imports again."""
    path = tmp_path / "bad.py"
    path.write_text(text)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=said) as caught:
            find_protocol(f"{path}:Mine")
        assert str(path) in str(caught.value)
    path.write_text(FILE)
    assert find_protocol(f"{path}:Mine").name == "mine"


@pytest.mark.parametrize(("find", "kind"), [(find_protocol, "protocol"), (find_arena, "arena")])
def test_a_file_of_which_no_class_is_named(file, find, kind):
    """How one is named is said; and what is offered is the file's own."""
    with pytest.raises(ConfigurationError, match=rf"mine\.py: say which {kind} of the file: .*mine\.py:Name"):
        find(str(file))
    with pytest.raises(ConfigurationError, match=r"known: .*Mine.*Yard") as caught:
        find(f"{file}:Qqqqqqqqq")
    assert "Graph" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    """The missing file is named."""
    for find in (find_protocol, find_arena, find_agent):
        with pytest.raises(ConfigurationError, match=r"nowhere\.py: no such file"):
            find(f"{tmp_path}/nowhere.py:Name")
