"""Files of matches: what they may hold, what is refused and where, and matches of a run."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oversight.analysis.match_files import (
    MEASURING,
    debates_between_agents,
    read_general_ratings,
    read_matches,
    read_run_matches,
)
from oversight.analysis.ratings import PairResult
from oversight.errors import ConfigurationError, DataError, OversightError, RunDirectoryError

COUNTS = "player_a,player_b,wins_a,games\n"
MATCH = "player_a,player_b,winner\n"


@pytest.fixture
def file(tmp_path):
    def write(text, name="matches.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def json_lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


# ---- what is read


@pytest.mark.parametrize(
    "text",
    [
        COUNTS + "x,y,3,5\ny,x,1,1\n",
        COUNTS + "x,y,1,2\ny,x,1,1\nx,y,2,3\n",
        COUNTS + "x,y,3.0,5.0\r\n\r\n y , x ,1,1",
        "\ufeff\n" + COUNTS + "x,y,3,5\ny,x,1,1\n",
        'games,note,player_b,wins_a,player_a\n5,"two\nlines",y,3,x\n1,,x,1,y\n',
        COUNTS + '"x","y",3,5\n"y",x,"1",1\n',
        MATCH + "x,y,player_a\nx,y,x\nx,y,x\nx,y,player_b\nx,y,y\ny,x,y\n",
        json_lines(
            {"player_a": "x", "player_b": "y", "wins_a": 3, "games": 5},
            {"games": 1.0, "player_a": "y", "player_b": "x", "wins_a": 1},
        ),
        json_lines(
            {"player_a": "x", "player_b": "y", "wins_a": 3, "games": 5, "note": [1]},
            {"player_a": "y", "player_b": "x", "winner": "player_a"},
        ),
    ],
)
def test_the_same_matches_in_many_ways(file, text):
    assert read_matches(file(text)) == (PairResult("x", "y", 3, 0, 2), PairResult("y", "x", 1, 0, 0))


def test_ties_are_neither_sides_wins(file):
    expected = (PairResult("x", "y", 3, 4, 2),)
    assert read_matches(file("player_a,player_b,wins_a,ties,games\nx,y,3,4,9\n")) == expected
    assert read_matches(file(MATCH + "x,y,x\n" * 3 + "x,y,tie\n" * 4 + "x,y,y\n" * 2)) == expected
    lines = json_lines(
        {"player_a": "x", "player_b": "y", "wins_a": 3, "games": 8, "ties": 3},
        {"player_a": "x", "player_b": "y", "wins_a": 0, "games": 1, "ties": 1},
    )
    assert read_matches(file(lines, "matches.jsonl")) == expected


def test_a_model_may_oversee_itself(file):
    path = file(COUNTS + "x,x,3,5\n")
    assert read_matches(path, two_role=True) == (PairResult("x", "x", 3, 0, 2),)
    with pytest.raises(DataError, match="line 2: 'x' plays against itself"):
        read_matches(path)
    with pytest.raises(DataError, match="line 2: winner 'x' can mean two things"):
        read_matches(file(MATCH + "x,x,x\n"), two_role=True)


def test_names_that_are_words_of_the_format(file):
    path = file(MATCH + "tie,y,player_a\nplayer_a,y,player_a\n")
    assert {r.player_a: r.wins_a for r in read_matches(path)} == {"tie": 1, "player_a": 1}
    with pytest.raises(DataError, match="line 2: winner 'tie' can mean two things"):
        read_matches(file(MATCH + "tie,y,tie\n"))
    with pytest.raises(DataError, match="line 2: winner 'player_b' can mean two things"):
        read_matches(file(MATCH + "player_b,y,player_b\n"))


names = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=4).filter(
    lambda name: name == name.strip() and name not in ("tie", "player_a", "player_b")
)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(names, names, st.integers(0, 3), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=8),
    st.sampled_from(["csv", "jsonl"]),
    st.randoms(use_true_random=False),
)
def test_counts_equal_one_row_a_match(tmp_path_factory, games, form, generator):
    games = [(a, b, w, t, n) for a, b, w, t, n in games if a != b and w + t + n]
    if not games:
        return
    counted = [{"player_a": a, "player_b": b, "wins_a": w, "ties": t, "games": w + t + n} for a, b, w, t, n in games]
    single = [
        {"player_a": a, "player_b": b, "winner": winner}
        for a, b, w, t, n in games
        for winner in [a] * w + ["tie"] * t + ["player_b"] * n
    ]
    generator.shuffle(single)
    folder = tmp_path_factory.mktemp("matches")

    def read(rows, name):
        path = folder / name
        if form == "jsonl":
            path.write_text(json_lines(*rows), encoding="utf-8")
        else:
            text = io.StringIO()
            writer = csv.DictWriter(text, rows[0])
            writer.writeheader()
            writer.writerows(rows)
            path.write_text(text.getvalue(), encoding="utf-8", newline="")
        return read_matches(path)

    assert read(counted, "counted") == read(single, "single")


def test_reading_all_at_once_equals_reading_one_by_one(file, monkeypatch):
    from oversight.analysis import match_files

    rows = [f"p{i % 7},q{i % 11},{i % 5},{i % 3},{9 + i % 4}\n" for i in range(3000)]
    path = file("player_a,player_b,wins_a,ties,games\n" + "".join(rows))
    quick = read_matches(path)
    used = match_files._quick_tally(path, two_role=False)
    assert len(used) == len(quick) == 77

    def irregular(path, *, two_role):
        raise match_files._Irregular

    monkeypatch.setattr(match_files, "_quick_tally", irregular)
    assert read_matches(path) == quick


def test_general_ratings_are_all_rows(file):
    path = file("rating,player\n1000,x\n1200.5,y\n1000,x\n")
    assert read_general_ratings(path) == (("x", 1000.0), ("y", 1200.5), ("x", 1000.0))
    path = file(json_lines({"player": "x", "rating": 3}, {"player": "y", "rating": -1.5, "low": None}))
    assert read_general_ratings(path) == (("x", 3.0), ("y", -1.5))


# ---- what is refused


BAD = [
    (COUNTS + "x,y,1,2\nx,y,3,2\n", "line 3: wins_a 3 of 2 games"),
    ("player_a,player_b,wins_a,ties,games\nx,y,1,2,2\n", "line 2: wins_a 1 and ties 2 of 2 games"),
    (COUNTS + "x,y,-1,2\n", "line 2: wins_a '-1' is negative"),
    (COUNTS + "x,y,1,-2\n", "line 2: games '-2' is negative"),
    (COUNTS + "x,y,1.5,2\n", "line 2: wins_a '1.5' is not a whole number"),
    (COUNTS + "x,y,nan,2\n", "line 2: wins_a 'nan' is not a finite number"),
    (COUNTS + "x,y,NaN,2\n", "line 2: wins_a 'NaN' is not a finite number"),
    (COUNTS + "x,y,1,inf\n", "line 2: games 'inf' is not a finite number"),
    (COUNTS + "x,y,1,1e30\n", "line 2: games '1e30' is above 1e"),
    (COUNTS + f"x,y,1,{'9' * 5000}\n", r"line 2: games '9+\.\.\. is not a finite number"),
    (COUNTS + "x,y,,2\n", "line 2: wins_a '' is not a number"),
    (COUNTS + "x,y,1_0,20\n", "line 2: wins_a '1_0' is not a number"),
    (COUNTS + "x,y,two,2\n", "line 2: wins_a 'two' is not a number"),
    (COUNTS + "x,,1,2\n", "line 2: player_b is empty"),
    (COUNTS + "x,y,1,2\ny,y,1,2\n", "line 3: 'y' plays against itself"),
    (COUNTS + "x,y,1,2,3\n", "line 2: has 5 fields; the header has 4"),
    (COUNTS + "x,y,1,2\nx,y,1\n", "line 3: has 3 fields; the header has 4"),
    (COUNTS + "x,y,1,2\n\n\nx,y,1\n", "line 5: has 3 fields; the header has 4"),
    (COUNTS + 'x,y,1,2\nx,"y,1,2\nx,y,1,2\n', "line 3: is not CSV: unexpected end of data"),
    (COUNTS + 'x,"y"z,1,2\n', "line 2: is not CSV: ',' expected after '\"'"),
    (COUNTS, "holds no matches, only names of columns"),
    ("", "is empty"),
    ("\n \n", "is empty"),
    ("player_a,player_b,wins_a,games,wins_a\nx,y,1,2,1\n", "line 1: has the column 'wins_a' twice"),
    ("player_a,playr_b,wins_a,games\nx,y,1,2\n", r"line 1: has no column 'player_b' \(nearest: 'playr_b'\)"),
    ("player_a,player_b,wins_a,game\nx,y,1,2\n", r"line 1: has no column 'games' \(nearest: 'game'\)"),
    ("player_a,player_b,wins,n\nx,y,1,2\n", r"line 1: has no column 'winner' \(nearest: 'wins'\)"),
    ("player_a,player_b,winer\nx,y,x\n", r"line 1: has no column 'winner' \(nearest: 'winer'\)"),
    ("player_a,player_b\nx,y\n", "line 1: has neither the column 'winner' nor 'wins_a' and 'games'"),
    ("player_a,player_b,winner,games\nx,y,x,2\n", "line 1: has the columns 'winner' and 'games'"),
    (MATCH + "x,y,x\nx,y,z\n", "line 3: unknown winner 'z': write player_a, player_b, tie, 'x' or 'y'"),
    (MATCH + "x,y,Tie\n", r"line 2: unknown winner 'Tie': did you mean 'tie'\?"),
    (MATCH + "x,y,\n", "line 2: unknown winner ''"),
    (MATCH + "x,x,x\n", "line 2: 'x' plays against itself"),
    ((COUNTS + "x,y,1,2\n").encode() + b"x,\xff,1,2\n", r"line 3: is not UTF-8 \(byte 3 of the line\)"),
    ((COUNTS + "x,y,1,2\n").encode("utf-16"), "line 1: is not UTF-8"),
    ('{"player_a": "x", "player_b": "y", "wins_a": 1, "games": 2}\n{"player_a": \n', "line 2: is not JSON"),
    ('{"player_a": "x", "player_b": "y", "wins_a": NaN, "games": 2}\n', "line 1: holds NaN, which is no number"),
    ('{"player_a": "x", "player_b": "y", "wins_a": 1e999, "games": 2}\n', "line 1: wins_a inf is not a finite number"),
    ('{"player_a": "x", "player_b": "y", "wins_a": true, "games": 2}\n', "line 1: wins_a True is not a number"),
    ('{"player_a": "x", "player_b": "y", "wins_a": null, "games": 2}\n', "line 1: wins_a None is not a number"),
    ('{"player_a": "x", "player_b": "y", "wins_a": 3, "games": 2}\n', "line 1: wins_a 3 of 2 games"),
    ('{"player_a": "x", "player_b": 3, "wins_a": 1, "games": 2}\n', "line 1: player_b 3 is not a text"),
    ('{"player_a": "x", "player_b": "\\ud800", "winner": "tie"}\n', "line 1: player_b '.*' is not valid text"),
    ('{"player_a": "x", "player_b": "y", "winner": ["x"]}\n', r"line 1: unknown winner \['x'\]"),
    ('{"player_a": "x", "player_a": "y", "winner": "x"}\n', "line 1: has the column 'player_a' twice"),
    ('{"player_a": "x", "winner": "x"}\n', "line 1: has no column 'player_b'"),
    ('{"player_a": "x", "player_b": "y", "winner": "x"}\n[1]\n', "line 2: is not a JSON object"),
    ('[{"player_a": "x"}]\n', "line 1: is not a JSON object"),
    ('{"player_a": ' + "[" * 100000 + "\n", "line 1: is not JSON: a number or nesting without end"),
]


@pytest.mark.parametrize(("text", "rule"), BAD)
def test_bad_input_names_file_line_and_rule(file, text, rule):
    path = file(text)
    with pytest.raises(DataError, match=rule) as caught:
        read_matches(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("player,rating\nx,nan\n", "line 2: rating 'nan' is not a finite number"),
        ("player,rating\nx,high\n", "line 2: rating 'high' is not a number"),
        ("player,elo\nx,1\n", "line 1: has no column 'rating'"),
        ("player,rating\n", "holds no ratings"),
        ("", "is empty"),
        ('{"player": "x", "rating": null}\n', "line 1: rating None is not a number"),
    ],
)
def test_bad_general_ratings(file, text, rule):
    with pytest.raises(DataError, match=rule):
        read_general_ratings(file(text))


def test_what_is_no_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_matches(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_matches(tmp_path)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60) | st.text(alphabet='player_ab,winsgame\n"{}:[]0129-.', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(COUNTS.encode() + data if len(data) % 2 else data)
    try:
        results = read_matches(path)
    except DataError:
        return
    assert all(math.isfinite(result.wins_a + result.ties + result.wins_b) for result in results)


# ---- runs


def record(id, shares, turns, cast=("x", "y"), **changes):
    return {
        "id": id,
        "purpose": "comparison",
        "status": "scored" if shares else "unscored",
        "probabilities": shares,
        "arguing": ["debater"],
        "cast": {"debater": list(cast), "judge": ["j"]},
        "turns": [{"role": "debater", "agent": agent, "answer": answer} for agent, answer in turns]
        + [{"role": "judge", "agent": "j", "probabilities": shares}],
        "source": "s" + id,
        **changes,
    }


RECORDS = [
    record("1", [0.8, 0.2], [("x", 0), ("y", 1), ("x", 0)]),
    record("2", [0.8, 0.2], [("x", 1), ("y", 0)]),
    record("3", [0.5, 0.5], [("x", 1), ("y", 0)]),
    record("4", None, [("x", 1), ("y", 0)]),
    record("5", [0.9, 0.1], [("x", 0), ("x", 1)], cast=("x", "x")),
    record("6", [0.9, 0.1], [("x", 0), ("y", 0)]),
    record("7", [0.9, 0.1], [], cast=(), arguing=[]),
    *(record(purpose, [0.9, 0.1], [("x", 0), ("y", 1)], purpose=purpose) for purpose in MEASURING),
]


@pytest.fixture
def run(tmp_path):
    def make(records=(), capability=None):
        (tmp_path / "run.json").write_text("{}")
        (tmp_path / "episodes.jsonl").write_text(json_lines(*records))
        if capability is not None:
            (tmp_path / "capability.json").write_text(json.dumps(capability))
        return tmp_path

    return make


def test_debates_between_two_agents():
    found = debates_between_agents(RECORDS)
    assert found.results == (
        PairResult("x", "y", 1, 0, 0),
        PairResult("x", "y", 0, 0, 1),
        PairResult("x", "y", 0, 1, 0),
    )
    assert found.clusters == ("s1", "s2", "s3")
    with pytest.raises(DataError, match="episode '1' lacks 'turns'"):
        debates_between_agents([{name: value for name, value in RECORDS[0].items() if name != "turns"}])
    with pytest.raises(DataError, match="episode '1' cannot be read"):
        debates_between_agents([{**RECORDS[0], "probabilities": [1.0]}])


def test_matches_of_a_run(run):
    game = {"player_a": "x", "player_b": "y", "wins_a": 3, "ties": 1, "wins_b": 2}
    folder = run(RECORDS, {"games": [game]})
    found = read_run_matches(folder)
    assert (found.results, found.clusters, found.source) == ((PairResult("x", "y", 3, 1, 2),), None, "games")
    assert read_run_matches(folder, "games") == found
    assert read_run_matches(folder, "debates").source == "debates"
    folder = run(RECORDS, {"unit": "log-odds"})
    assert read_run_matches(folder).source == "debates"
    with pytest.raises(ConfigurationError, match="keeps no games"):
        read_run_matches(folder, "games")
    with pytest.raises(ConfigurationError, match="choose games or debates"):
        read_run_matches(folder, "chess")
    with pytest.raises(ConfigurationError, match="holds no matches"):
        read_run_matches(run(RECORDS[3:]))


@pytest.mark.parametrize(
    ("games", "rule"),
    [
        ("none", "its games are not a list"),
        ([3], "game 1 is not an object"),
        ([{"player_a": "x", "player_b": "y", "wins_a": 1, "ties": 0}], "game 1 lacks 'wins_b'"),
        ([{"player_a": "x", "player_b": "x", "wins_a": 1, "ties": 0, "wins_b": 0}], "game 1 'x' plays against itself"),
        ([{"player_a": "x", "player_b": "y", "wins_a": -1, "ties": 0, "wins_b": 0}], "game 1 wins_a -1 is negative"),
    ],
)
def test_bad_games_of_a_run(run, games, rule):
    with pytest.raises(DataError, match=rule):
        read_run_matches(run([], {"games": games}))


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(RunDirectoryError, match="not a run directory") as caught:
        read_run_matches(tmp_path)
    assert isinstance(caught.value, OversightError)
