"""Names with options: what is written is what is read, and nothing is evaluated."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oversight.errors import ConfigurationError
from oversight.specification import parse_specification, parse_value, split_list


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("debate", "debate", {}),
        ("  debate  ", "debate", {}),
        ("debate()", "debate", {}),
        ("debate( )", "debate", {}),
        ("debate(rounds=4)", "debate", {"rounds": 4}),
        ("debate (rounds = 4 , style = sequential)", "debate", {"rounds": 4, "style": "sequential"}),
        ("mcts/64", "mcts/64", {}),
        ("path/to/file.py:Name(x=-1.5e3)", "path/to/file.py:Name", {"x": -1500.0}),
        ("openai/gpt-4o:free", "openai/gpt-4o:free", {}),
        ("p(a=true,b=False,c=none)", "p", {"a": True, "b": False, "c": None}),
        ("p(a='1, (2)',b=\"x=y\")", "p", {"a": "1, (2)", "b": "x=y"}),
        ("p(url=http://x/y?a=b)", "p", {"url": "http://x/y?a=b"}),
        ("p(a=f(1,2),b=3)", "p", {"a": "f(1,2)", "b": 3}),
        ("p(a=)", "p", {"a": ""}),
        ("p(a=__import__('os'))", "p", {"a": "__import__('os')"}),
    ],
)
def test_reading(text, name, options):
    """A name and its options, of the types that they are written as."""
    found = parse_specification(text)
    assert (found.name, found.options) == (name, options)
    assert [type(value) for value in found.options.values()] == [type(value) for value in options.values()]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "(",
        ")",
        "()",
        "debate(",
        "debate)",
        "debate(rounds=",
        "debate(rounds=2))",
        "debate(rounds)",
        "debate(2)",
        "debate(=2)",
        "debate(rounds=2)x",
        "debate(a b=1)",
        "debate(a='x)",
        "debate('a'=1)",
        "a(b=1)(c=2)",
    ],
)
def test_what_cannot_be_read_is_one_line(text):
    """Every malformed specification is an error that quotes it."""
    with pytest.raises(ConfigurationError) as caught:
        parse_specification(text)
    assert "\n" not in str(caught.value)
    assert text.strip() in str(caught.value)


@pytest.mark.parametrize(
    ("text", "name", "positional", "options"),
    [
        ("noisy(0.2)", "noisy", ("0.2",), {}),
        ("human", "human", (), {}),
        (
            "cascade(a, openai/b(reasoning=true), human, risk=0.1)",
            "cascade",
            ("a", "openai/b(reasoning=true)", "human"),
            {"risk": 0.1},
        ),
        ("c(risk=0.1, a)", "c", ("a",), {"risk": 0.1}),
        ("c(x.py:Name, 'a, b', \"c=d\")", "c", ("x.py:Name", "'a, b'", '"c=d"'), {}),
        ("c(proxy/noisy(0.1, judge=cascade(a,b)))", "c", ("proxy/noisy(0.1, judge=cascade(a,b))",), {}),
        ("c(judge=proxy/noisy(0.1))", "c", (), {"judge": "proxy/noisy(0.1)"}),
    ],
)
def test_items_without_a_key(text, name, positional, options):
    """Where they are taken they stay as they are written, with parentheses of their own; elsewhere they are refused."""
    found = parse_specification(text, positional=True)
    assert (found.name, found.positional, found.options) == (name, positional, options)
    if positional:
        with pytest.raises(ConfigurationError, match="write option=value"):
            parse_specification(text)


@pytest.mark.parametrize("text", ["c(a", "c(a))", "c('a)", "c(a=1,a=2)", "(a)", "c(a)(b)"])
def test_what_cannot_be_read_with_items_without_a_key(text):
    """The same that cannot be read without."""
    with pytest.raises(ConfigurationError) as caught:
        parse_specification(text, positional=True)
    assert "\n" not in str(caught.value)


def test_an_option_given_twice_is_refused():
    """The second value would silently win."""
    with pytest.raises(ConfigurationError, match="'rounds' is given twice"):
        parse_specification("debate(rounds=1, rounds=2)")


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", []),
        (",", []),
        ("a,b", ["a", "b"]),
        (" a , b ,", ["a", "b"]),
        ("direct,debate(rounds=2,style=sequential),blind", ["direct", "debate(rounds=2,style=sequential)", "blind"]),
        ("a('x,y'),b", ["a('x,y')", "b"]),
        ("a(')'),b", ["a(')')", "b"]),
    ],
)
def test_lists_are_split_outside_parentheses(text, items):
    """Commas inside parentheses and quotes belong to an item."""
    assert split_list(text) == items


@pytest.mark.parametrize("text", ["a(b", "a'b", "a)b(", "a(b))", ")(", "a),(b"])
def test_lists_that_do_not_close(text):
    """An open parenthesis or quote, or one closed before it opens, is said."""
    with pytest.raises(ConfigurationError, match="parenthesis or quote"):
        split_list(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-1", -1),
        ("+1", 1),
        ("007", 7),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("TRUE", True),
        ("None", None),
        ("'true'", "true"),
        ('"1"', "1"),
        ("''", ""),
        ("'", "'"),
        ("a'b'", "a'b'"),
        ("٣", "٣"),
        ("²", "²"),
    ],
)
def test_values(text, value):
    """Numbers are plain decimal ones; everything else is text."""
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    """Never another exception than ours, and never an endless one."""
    for read in (parse_specification, partial(parse_specification, positional=True), split_list):
        with suppress(ConfigurationError):
            read(text)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True),
        st.integers()
        | st.booleans()
        | st.none()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(alphabet="abc ,()=.:/-", max_size=12),
        max_size=4,
    )
)
def test_what_is_written_is_read_back(options):
    """Any options written with their text in quotes come back as they were."""
    written = ",".join(f"{name}={value!r}" for name, value in options.items())
    assert parse_specification(f"name({written})").options == options
