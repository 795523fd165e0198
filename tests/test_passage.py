"""The passage arena: both layouts, every error, the order of questions, and the real corpus."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oversight.arenas.passage import Passage, _readable
from oversight.errors import ConfigurationError, DataError
from oversight.identity import canonical
from oversight.quotes import find_quotes

TOKENS = ["``", "I", "do", "n't", "know", ",", "''", "he", "said", ".", "\n", "\n", "``", "No", "."]


def debate(story="100", question="Why?", answers=("no", "yes"), correct=1, tokens=TOKENS, kind="QuALITYSourceMaterial"):
    material = {"articleId": story, "title": "A Title", "contents": list(tokens)}
    if kind != "QuALITYSourceMaterial":
        del material["articleId"]
    setup = {"sourceMaterial": {kind: material}, "question": question, "answers": list(answers)}
    if correct is not None:
        setup["correctAnswerIndex"] = correct
    return {"setup": setup, "rounds": []}


def write_corpus(folder: Path, debates: dict, outside_the_paper=()) -> Path:
    official = folder / "debates" / "official"
    official.mkdir(parents=True)
    for name, content in debates.items():
        (official / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    lines = [json.dumps({"name": name, "includedInPaper": name not in outside_the_paper}) for name in debates]
    (folder / "debates-metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def item(question="Why?", gold=2, difficult=0, unique=None, options=("a", "b", "c", "d")):
    entry = {"question": question, "options": list(options), "difficult": difficult}
    if gold is not None:
        entry["gold_label"] = gold
    return entry | ({"question_unique_id": unique} if unique else {})


def article(*questions, story="100", text="A short story."):
    return {"article_id": story, "title": "A Title", "article": text, "questions": list(questions)}


def write_quality(path: Path, *articles) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in articles), encoding="utf-8")
    return path


def ids(questions):
    return [question.id for question in questions]


# ---- the NYU corpus, in small ---------------------------------------------------------------------------------


def test_debates_on_one_question_are_one_question(tmp_path):
    debates = {
        "b": debate(answers=("yes", "no"), correct=0),
        "a": debate(),
        "c": debate(answers=("no", "maybe")),
        "d": debate(story="200"),
    }
    arena = Passage(data=str(write_corpus(tmp_path, debates)))
    questions = {question.id: question for question in arena.questions(None, 1)}
    assert len(questions) == 3
    both = next(question for question in questions.values() if set(question.answers) == {"no", "yes"})
    assert both.answers == ("no", "yes")  # as in the first debate by name
    assert both.answers[both.correct] == "yes"
    assert {question.source for question in questions.values()} == {"100", "200"}
    assert all(re.fullmatch(r"nyu/\d+/[0-9a-f]{8}", name) for name in questions)
    assert arena.skipped == ()


def test_nothing_but_the_hidden_material_holds_the_story_or_the_title(tmp_path):
    (question,) = Passage(data=str(write_corpus(tmp_path, {"a": debate()}))).questions(None, 1)
    assert question.hidden == {"passage": '"I don\'t know," he said.\n\n"No.'}
    assert question.structure == {}
    assert "Title" not in canonical([question.id, question.text, question.answers, question.source])


def test_the_folder_above_is_found_and_the_subset_kept(tmp_path):
    write_corpus(tmp_path / "pub", {"a": debate(), "b": debate(story="200")}, outside_the_paper={"b"})
    assert len(Passage(data=str(tmp_path)).questions(None, 1)) == 1
    assert len(Passage(data=str(tmp_path / "pub"), subset="all").questions(None, 1)) == 2


def test_debates_outside_the_subset_are_not_opened(tmp_path):
    write_corpus(tmp_path, {"a": debate(), "b": debate(story="200")}, outside_the_paper={"b"})
    (tmp_path / "debates" / "official" / "b.json").write_text("{", encoding="utf-8")
    assert len(Passage(data=str(tmp_path)).questions(None, 1)) == 1


def test_what_cannot_be_used_is_left_out_and_remembered(tmp_path):
    debates = {
        "good": debate(),
        "open": debate(question="Unknown?", correct=None),
        "single": debate(question="One?", answers=("yes",), correct=0),
        "twins": debate(question="Twice?", answers=("yes", "yes")),
        "this": debate(question="Which?", correct=0),
        "that": debate(question="Which?", correct=1),
    }
    arena = Passage(data=str(write_corpus(tmp_path, debates)))
    assert [question.text for question in arena.questions(None, 1)] == ["Why?"]
    assert arena.skipped == (
        "open: no correct answer is given",
        "single: fewer than two answers",
        "this: its correct answer is not that of another debate on the same question",
        "twins: two of its answers are the same",
    )


def test_a_text_of_the_debaters_own(tmp_path):
    debates = {
        "a": debate(kind="CustomSourceMaterial"),
        "b": debate(kind="CustomSourceMaterial", question="Who?"),
        "c": debate(kind="CustomSourceMaterial", tokens=["Another", "text", "."]),
    }
    questions = Passage(data=str(write_corpus(tmp_path, debates))).questions(None, 1)
    assert len(questions) == 3
    assert len({question.source for question in questions}) == 2
    assert all(question.source.startswith("custom-") for question in questions)


def test_one_story_is_one_passage_however_it_was_cut(tmp_path):
    coarse = ['"I don\'t know," he said.', "\n", "\n", ' "No.']
    debates = {"a": debate(tokens=coarse), "b": debate(question="Who?")}
    questions = Passage(data=str(write_corpus(tmp_path, debates))).questions(None, 1)
    assert {question.hidden["passage"] for question in questions} == {'"I don\'t know," he said.\n\n"No.'}


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("`` Who 's there ? '' he said .", '"Who\'s there?" he said.'),
        ("He said , '' Come in ! ''", 'He said, "Come in!"'),  # as marked in the corpus, the first one wrongly
        ("the `` Leo '' \n \n '' No , '' she said", 'the "Leo"\n\n"No," she said'),
        ("`` It goes on . \n \n `` And on . ''", '"It goes on.\n\n"And on."'),
        ("a uranium ` pile . ' It ca n't , I 'll see .", "a uranium 'pile.' It can't, I'll see."),
        ("-LRB- see Vol. 9 -RRB- -LSB- a -RSB- -LCB- b -RCB-", "(see Vol. 9) [a] {b}"),
        ("magazines -- Sis and the U.S. . Then ... gone ... .", "magazines--Sis and the U.S. Then... gone...."),
        ("gnau - hide , a six - or eight-inch one", "gnau-hide, a six- or eight-inch one"),
        ("I can not and am gon na get 51 % of $ 5.00 , y' know", "I cannot and am gonna get 51% of $5.00, y'know"),
        ("knock 'em out", "knock 'em out"),
        ("\n one \n two \n \n three \n", "one\ntwo\n\nthree"),
    ],
)
def test_the_story_is_put_together_from_its_tokens(tokens, text):
    assert _readable(tokens.split(" ")) == text


def test_tokens_of_whole_lines_are_put_together_too():
    tokens = ["AMBITION", "\n", "By WILLIAM L.", "BADE", "\n", "\n", " [Note: this", "\n", " etext]", "", "Where\u2014"]
    assert _readable(tokens) == "AMBITION\nBy WILLIAM L. BADE\n\n[Note: this\netext] Where\u2014"


# ---- QuALITY, in small ----------------------------------------------------------------------------------------


def test_all_options_of_a_quality_question_are_answers(tmp_path):
    path = write_quality(tmp_path / "dev", article(item(unique="100_A_1"), item("Who?", gold=4)))
    questions = {question.text: question for question in Passage(data=str(path)).questions(None, 1)}
    why, who = questions["Why?"], questions["Who?"]
    assert (why.id, why.answers, why.correct, why.source) == ("quality/100_A_1", ("a", "b", "c", "d"), 1, "100")
    assert why.hidden == {"passage": "A short story."}
    assert why.structure == {}
    assert who.answers[who.correct] == "d"
    assert re.fullmatch(r"quality/100/[0-9a-f]{8}", who.id)


def test_only_hard_questions(tmp_path):
    path = write_quality(tmp_path / "dev", article(item(), item("Who?", difficult=1)))
    assert [question.text for question in Passage(data=str(path), hard_only=True).questions(None, 1)] == ["Who?"]


def test_a_question_that_stands_twice_is_read_once(tmp_path):
    entry = article(item(unique="1"))
    assert len(Passage(data=str(write_quality(tmp_path / "dev", entry, entry))).questions(None, 1)) == 1


def test_questions_without_a_label_are_left_out_and_remembered(tmp_path):
    path = write_quality(
        tmp_path / "dev",
        article(item(), item("Who?", gold=None, unique="2"), item("When?", unique="3", options=("a", "b", "b", "c"))),
    )
    arena = Passage(data=str(path))
    assert len(arena.questions(None, 1)) == 1
    assert arena.skipped == ("quality/2: no gold_label", "quality/3: two of its options are the same")


def test_markup_is_taken_out_of_an_article(tmp_path):
    page = (
        "<html><head><title>T</title><style>p {color: red}</style></head><body><h2>A &amp; B</h2>"
        "<p>One\nline, <i>and</i> more.<br/>Next.</p>\n\n<p>a &lt; b</p><script>x()</script></body></html>"
    )
    (question,) = Passage(data=str(write_quality(tmp_path / "dev", article(item(), text=page)))).questions(None, 1)
    assert question.hidden["passage"] == "A & B\n\nOne line, and more.\nNext.\n\na < b"


def test_a_plain_article_is_left_alone(tmp_path):
    text = "If a < b &amp; c > d,\n  then <3."
    (question,) = Passage(data=str(write_quality(tmp_path / "dev", article(item(), text=text)))).questions(None, 1)
    assert question.hidden["passage"] == text


# ---- errors ---------------------------------------------------------------------------------------------------


def failure(path, **options) -> str:
    with pytest.raises(DataError) as caught:
        Passage(data=str(path), **options).questions(None, 1)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_path_that_holds_nothing_known(tmp_path):
    assert failure(tmp_path / "absent").startswith(f"{tmp_path / 'absent'}: no such file or folder: expected a folder")
    message = failure(tmp_path)
    assert message.startswith(f"{tmp_path}: a folder in neither known layout: expected")
    assert "debates-metadata.jsonl" in message
    assert "QuALITY" in message


GOOD = article(item())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON: Expecting property name enclosed in double quotes at column 2"),
        ("[1]", "not a JSON object"),
        ("[" * 200_000, "not usable JSON: nested too deeply"),
        ({"article": "x", "questions": []}, "field article_id is missing"),
        ({"article_id": "1", "questions": []}, "field article is missing"),
        (GOOD | {"article": ["x"]}, "field article is not text"),
        (GOOD | {"article": " "}, "field article is empty"),
        ({"article_id": "1", "article": "x"}, "field questions is missing"),
        (GOOD | {"questions": {}}, "field questions is not a list"),
        (article("Why?"), "questions[0] is not an object"),
        (article(item(), {"options": ["a", "b"]}), "field questions[1].question is missing"),
        (article({"question": "Why?"}), "field questions[0].options is missing"),
        (article(item() | {"options": "abcd"}), "field questions[0].options is not a list"),
        (article(item() | {"options": ["a", 2]}), "field questions[0].options is not a list of texts"),
        (article(item() | {"options": ["a"]}), "questions[0].options has 1 entries, expected two or more"),
        (article(item(gold=5)), "questions[0].gold_label is 5, expected 1 to 4"),
        (article(item(gold=0)), "questions[0].gold_label is 0, expected 1 to 4"),
        (article(item(gold="2")), "questions[0].gold_label is '2', expected 1 to 4"),
        (article(item(gold=True)), "questions[0].gold_label is True, expected 1 to 4"),
        (article(item("Other?", unique="1")), "questions[0].question_unique_id '1' is that of another question"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 99 else "line",
)
def test_an_error_in_a_quality_file_names_the_line(tmp_path, line, message):
    path = tmp_path / "dev"
    text = line if isinstance(line, str) else json.dumps(line)
    path.write_text(f"{json.dumps(article(item(unique='1')))}\n\n{text}\n", encoding="utf-8")
    assert failure(path) == f"{path}, line 3: {message}"


def test_a_missing_mark_of_difficulty_matters_only_where_it_is_asked_for(tmp_path):
    entry = item()
    del entry["difficult"]
    path = write_quality(tmp_path / "dev", article(entry))
    assert len(Passage(data=str(path)).questions(None, 1)) == 1
    assert failure(path, hard_only=True) == f"{path}, line 1: field questions[0].difficult is missing"


def test_a_file_without_a_usable_question(tmp_path):
    path = tmp_path / "file"
    test_split = write_quality(path, article(item(gold=None)))
    assert "none has a gold_label, as in the test split; use the train or dev file" in failure(test_split)
    assert "none is marked difficult; leave out hard_only" in failure(write_quality(path, GOOD), hard_only=True)
    assert "the file holds none" in failure(write_quality(path))
    twins = write_quality(path, article(item(unique="1", options=("a", "a"))))
    assert "1 left out, the first quality/1: two of its options are the same" in failure(twins)
    path.write_bytes(b"\xff\xfe{")
    assert failure(path) == f"{path}: not UTF-8 text, at byte 0"


def without(content, *names):
    inner = content
    for name in names[:-1]:
        inner = inner[name]
    del inner[names[-1]]
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "field setup is missing"),
        ({"setup": []}, "field setup is not an object"),
        (without(debate(), "setup", "question"), "field setup.question is missing"),
        (without(debate(), "setup", "answers"), "field setup.answers is missing"),
        (debate(answers=(1, 2)), "field setup.answers is not a list of texts"),
        (debate(correct=2), "setup.correctAnswerIndex is 2, expected 0 to 1"),
        (debate(correct="1"), "setup.correctAnswerIndex is '1', expected 0 to 1"),
        (without(debate(), "setup", "sourceMaterial"), "field setup.sourceMaterial is missing"),
        (
            without(debate(), "setup", "sourceMaterial", "QuALITYSourceMaterial"),
            "setup.sourceMaterial has no object that describes the text",
        ),
        (
            without(debate(), "setup", "sourceMaterial", "QuALITYSourceMaterial", "articleId"),
            "field setup.sourceMaterial.QuALITYSourceMaterial.articleId is missing",
        ),
        (
            without(debate(), "setup", "sourceMaterial", "QuALITYSourceMaterial", "contents"),
            "field setup.sourceMaterial.QuALITYSourceMaterial.contents is missing",
        ),
        (debate(tokens=[1]), "setup.sourceMaterial.QuALITYSourceMaterial.contents is not a list of words"),
    ],
    ids=lambda value: value if isinstance(value, str) else "debate",
)
def test_an_error_in_a_debate_names_its_file(tmp_path, content, message):
    write_corpus(tmp_path, {"a": debate(), "b": content})
    assert failure(tmp_path) == f"{tmp_path / 'debates' / 'official' / 'b.json'}: {message}"


def test_errors_of_the_corpus_as_a_whole(tmp_path):
    write_corpus(tmp_path, {"a": debate(correct=None)})
    metadata, file = tmp_path / "debates-metadata.jsonl", tmp_path / "debates" / "official" / "a.json"
    assert failure(tmp_path) == f"{metadata}: no usable question: 1 left out, the first a: no correct answer is given"
    file.write_text('{"setup":\n}', encoding="utf-8")
    assert failure(tmp_path) == f"{file}, line 2: not JSON: Expecting value at column 1"
    file.unlink()
    assert failure(tmp_path) == f"{file}: cannot be read: No such file or directory"
    metadata.write_text('{"name": "a", "includedInPaper": false}\n', encoding="utf-8")
    assert failure(tmp_path) == f"{metadata}: no usable question: no debate is in subset=paper"
    metadata.write_text('\n{"name": "a"}\n', encoding="utf-8")
    assert failure(tmp_path) == f"{metadata}, line 2: field includedInPaper is missing"
    metadata.write_text('{"name": "../a", "includedInPaper": true}\n', encoding="utf-8")
    assert "line 1: name '../a' is not the name of a file in debates/official" in failure(tmp_path)
    metadata.write_text("{]\n", encoding="utf-8")
    assert failure(tmp_path).startswith(f"{metadata}, line 1: not JSON")


def test_an_option_that_does_not_apply(tmp_path):
    write_corpus(tmp_path, {"a": debate()})
    with pytest.raises(ConfigurationError, match="hard_only"):
        Passage(data=str(tmp_path), hard_only=True).questions(None, 1)


# ---- the order of questions -------------------------------------------------------------------------------------


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8), seed=st.integers(0, 99), limit=st.integers(0, 45))
def test_questions_are_spread_over_stories_and_a_limit_is_a_prefix(tmp_path_factory, sizes, seed, limit):
    entries = [
        article(*(item(f"Question {number}?") for number in range(size)), story=str(story))
        for story, size in enumerate(sizes)
    ]
    folder = tmp_path_factory.mktemp("order")
    forward = Passage(data=str(write_quality(folder / "forward", *entries)))
    backward = Passage(data=str(write_quality(folder / "backward", *reversed(entries))))
    questions = forward.questions(None, seed)
    assert len(questions) == sum(sizes)
    assert list(backward.questions(None, seed)) == list(questions)
    assert list(forward.questions(limit, seed)) == list(questions)[:limit]
    first = [question.source for question in questions[:limit]]
    asked = {str(story): first.count(str(story)) for story in range(len(sizes))}
    for story, size in enumerate(sizes):  # no story is asked about again while another has questions and fewer asked
        assert asked[str(story)] == size or asked[str(story)] >= max(asked.values()) - 1


def test_the_order_depends_on_the_seed_and_not_on_the_place(tmp_path):
    debates = {f"d{number}": debate(story=str(number % 5), question=f"Number {number}?") for number in range(20)}
    one = Passage(data=str(write_corpus(tmp_path / "one", debates)))
    shutil.copytree(tmp_path / "one", tmp_path / "two" / "pub")
    two = Passage(data=str(tmp_path / "two"))
    assert one.questions(None, 3) == two.questions(None, 3)
    assert ids(one.questions(None, 3)) != ids(one.questions(None, 4))
    assert sorted(ids(one.questions(None, 3))) == sorted(ids(one.questions(None, 4)))


def test_reading_leaves_the_arena_as_it_was_described(tmp_path):
    arena = Passage(data=str(write_corpus(tmp_path, {"a": debate()})))
    before = arena.describe()
    kept = {"arena": "passage", "data": str(tmp_path), "subset": "paper", "hard_only": False, "most_words": None}
    assert before == {**kept, "source": before["source"]}
    arena.questions(None, 1)
    assert arena.describe() == before


def test_what_speakers_are_told(tmp_path):
    arena = Passage(data=str(tmp_path))  # told before the data is read
    assert "text" in arena.rules()
    assert "<quote>" in arena.speech_rules()
    assert "</quote>" in arena.speech_rules()
    assert arena.verifies_quotes()


# ---- the real corpus --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus() -> Path:
    folder = os.environ.get("OVERSIGHT_TEST_DATA")
    if not folder:
        pytest.skip("OVERSIGHT_TEST_DATA is not set: it names the folder that holds nyu-debate-2023/pub")
    path = Path(folder) / "nyu-debate-2023" / "pub"
    if not path.is_dir():
        pytest.skip(f"{path} is not there")
    return path


@pytest.fixture(scope="module")
def raw(corpus):
    """Name of a debate to its content, and the names of those in the paper."""
    lines = (corpus / "debates-metadata.jsonl").read_text(encoding="utf-8").splitlines()
    in_paper = {entry["name"] for entry in map(json.loads, lines) if entry["includedInPaper"]}
    paths = (corpus / "debates" / "official").glob("*.json")
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}, in_paper


@pytest.mark.parametrize(("subset", "questions", "stories"), [("paper", 247, 96), ("all", 342, 96)])
def test_the_corpus_gives_each_question_once_with_its_answer(corpus, raw, subset, questions, stories):
    debates, in_paper = raw
    truth = {}
    for name in in_paper if subset == "paper" else debates:
        setup = debates[name]["setup"]
        story = setup["sourceMaterial"]["QuALITYSourceMaterial"]["articleId"]
        key = (story, setup["question"], frozenset(setup["answers"]))
        truth.setdefault(key, set()).add(setup["answers"][setup["correctAnswerIndex"]])
    arena = Passage(data=str(corpus), subset=subset)
    found = {
        (question.source, question.text, frozenset(question.answers)): {question.answers[question.correct]}
        for question in arena.questions(None, 1)
    }
    assert found == truth
    assert len(found) == len(arena.questions(None, 1)) == len(set(ids(arena.questions(None, 1)))) == questions
    assert len({source for source, _, _ in found}) == stories
    assert len({question.source for question in arena.questions(stories, 7)}) == stories
    assert arena.skipped == ()


def quoted_spans(value):
    if isinstance(value, dict):
        if "span" in value.get("Quote", ()):
            yield value["Quote"]["span"]
        for inner in value.values():
            yield from quoted_spans(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from quoted_spans(inner)


def joined(tokens) -> str:
    """The tokens in a row; only words that the corpus cuts in two where no space was are put together."""
    text = re.sub(r"-[LR][SR]B-", " ", " ".join(tokens))
    cut = r" (?=n't\b)|(?<=\bcan) (?=not\b)|(?<=\bgon) (?=na\b)|(?<=\bgot) (?=ta\b)|(?<=\blem) (?=me\b)"
    return re.sub(cut, "", text, flags=re.IGNORECASE)


def test_every_quotation_of_the_corpus_is_verified_in_its_story_and_in_no_other(corpus, raw):
    passages = {
        question.source: question.hidden for question in Passage(data=str(corpus), subset="all").questions(None, 1)
    }
    others = dict(zip(passages, [*list(passages)[1:], next(iter(passages))], strict=True))
    checked, unverified, elsewhere = 0, [], []
    for name, content in raw[0].items():
        material = content["setup"]["sourceMaterial"]["QuALITYSourceMaterial"]
        for start, end in quoted_spans(content["rounds"]):
            words = joined(material["contents"][start:end])
            if not re.search(r"\w", words):
                continue  # a punctuation mark alone
            checked += 1
            speech = f"<quote>{words}</quote>"
            if not find_quotes(speech, passages[material["articleId"]])[0].verified:
                unverified.append((name, words))
            if re.search("etext|Extensive research", words):
                continue  # the note that opens every story
            if len(words.split()) > 6 and find_quotes(speech, passages[others[material["articleId"]]])[0].verified:
                elsewhere.append((name, words))
    assert checked == 8211
    assert unverified == []
    assert elsewhere == []


def test_stories_are_readable_text(corpus):
    for question in Passage(data=str(corpus), subset="all").questions(None, 1):
        passage = question.hidden["passage"]
        assert len(passage) > 5_000
        for left_over in ("``", "-LRB-", "-RSB-", " n't", " 's ", " ,", " . ", " ?", "( ", ' " '):
            assert left_over not in passage, (question.id, left_over)
        assert not re.search(r'\w"\w', passage)  # each quotation mark is on its side


def test_only_passages_that_a_short_window_holds(tmp_path):
    short, long = debate(story="1"), debate(story="2", question="How?", tokens=[*TOKENS, *["word"] * 50])
    path = write_corpus(tmp_path, {"a": short, "b": long})
    everything = Passage(data=str(path)).questions(None, 0)
    lengths = {question.source: len(question.hidden["passage"].split()) for question in everything}
    assert lengths["1"] < lengths["2"] - 40
    kept = Passage(data=str(path), most_words=lengths["1"]).questions(None, 0)
    assert [question.source for question in kept] == ["1"]
    with pytest.raises(ConfigurationError, match=rf"most_words=1: the shortest passage has {lengths['1']} words"):
        Passage(data=str(path), most_words=1).questions(None, 0)
