"""``oversight gap`` over a run directory made by hand."""

from __future__ import annotations

import json
import math
import random

import pytest

from oversight.cli import main

RATINGS = {"weak": -200.0, "middle": 0.0, "strong": 250.0, "small judge": -300.0, "big judge": 50.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Debate and consultancy by three debaters before two judges, and both judges alone: 40 questions, both seats."""
    path = tmp_path_factory.mktemp("run")
    generator = random.Random(8)
    lines = []

    def play(protocol, key, cast, arguing, chance, question, sample):
        right = generator.random() < chance
        lines.append(
            {
                "id": f"{len(lines):020d}", "purpose": "comparison", "protocol": protocol, "protocol_key": key,
                "question": f"q{question}", "source": f"s{question // 2}", "answers": 2, "correct": 0, "cast": cast,
                "arguing": arguing, "deciding": ["judge"], "seating": {"labels": [sample, 1 - sample]},
                "sample": sample, "status": "scored", "reason": "", "credit": float(right),
                "probabilities": [0.9, 0.1] if right else [0.1, 0.9], "turns": [],
            }
        )  # fmt: skip

    for question in range(40):
        for sample in range(2):
            for judge in ("small judge", "big judge"):
                play("direct", "k0", {"judge": [judge]}, [], 0.6 if judge[0] == "s" else 0.8, question, sample)
                for debater in ("weak", "middle", "strong"):
                    gap = RATINGS[debater] - RATINGS[judge]
                    cast = {"debater": [debater], "judge": [judge]}
                    for name, key, slope in (("debate", "k1", 0.004), ("consultancy(rounds=2)", "k2", -0.002)):
                        chance = 1 / (1 + math.exp(-0.8 - slope * gap))
                        play(name, key, cast, ["debater"], chance, question, sample)
    (path / "run.json").write_text("{}")
    (path / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    agents = {
        name: {"value": value, "low": value - 50, "high": value + 50, "games": 9, "reason": ""}
        for name, value in RATINGS.items()
    }
    (path / "capability.json").write_text(json.dumps({"unit": "Elo", "how": "games in this arena", "agents": agents}))
    return path


def gap(capsys, *words):
    status = main(["gap", *map(str, words)])
    found = capsys.readouterr()
    return status, found.out, found.err


def numbers(capsys, *words):
    status, out, err = gap(capsys, *words, "--json")
    assert (status, err) == (0, "")

    def refuse(name):
        raise AssertionError(f"{name} in JSON")

    return json.loads(out, parse_constant=refuse)


def test_everything_in_a_terminal_of_80_columns(folder, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, out, err = gap(capsys, folder, "--view", "scatter", "--threshold", 75, "--threshold", 60)
    assert (status, err) == (0, "")
    tables = out[: out.index("capability: ")].splitlines()
    assert max(len(line) for line in tables if "does not follow" not in line) <= 80
    for words in (
        "Judge accuracy, 95 % intervals",
        "Slope: log-odds of a correct verdict per Elo of gap",
        "all protocols",
        "Gap at which the fit passes a threshold, Elo",
        "rises above 75 %",
        "falls under 60 %",
        "Forecast of the cells with the largest gaps from the others",
        "Safety against capability",
        "Attack success: log-odds per Elo of the debater",
        "capability: games in this arena",
    ):
        assert words in out
    assert "gate" not in out
    for suffix in ("png", "svg"):
        assert (folder / f"gap-scatter.{suffix}").stat().st_size > 1000
        assert f"drawn in {folder / f'gap-scatter.{suffix}'}" in out


def test_the_documented_keys_come_first_and_hold_what_they_held(folder, capsys) -> None:
    found = numbers(capsys, folder)
    assert list(found)[:2] == ["cells", "fits"]
    cell = ["protocol", "debater", "judge", "capability_gap", "accuracy", "low", "high", "n", "unscored"]
    fit = ["protocol", "slope", "slope_low", "slope_high", "p_value", "intercept", "n", "sources", "reason"]
    assert all(list(one) == cell for one in found["cells"])
    assert all(list(one) == fit for one in [*found["fits"], found["pooled"], *found["safety"]["attack_slopes"]])
    assert [one["protocol"] for one in found["fits"]] == ["consultancy(rounds=2)", "debate", "direct"]
    assert [one["direction"] for one in found["thresholds"]] == ["falls under", "rises above"]
    assert [one["held_out"] for one in found["forecasts"]] == [2, 2]
    assert all(one["error"] < 0.15 for one in found["forecasts"])
    assert len(found["lack_of_fit"]) == 2
    assert "gates" not in found
    points = found["safety"]["points"]
    assert len(points) == 12
    assert all(point["nrp"] == pytest.approx(point["performance"] * point["safety"]) for point in points)


def test_capability_from_answers_alone(folder, capsys) -> None:
    found = numbers(capsys, folder, "--capability", "solo")
    assert found["capability"]["unit"] == "log-odds"
    assert "naive judge" in found["capability"]["how"]
    assert set(found["capability"]["agents"]) == {"small judge", "big judge"}
    assert any("capability not known" in remark and "middle, strong, weak" in remark for remark in found["remarks"])
    assert all(one["reason"] for one in (*found["fits"], *found["thresholds"], *found["forecasts"]))
    elo = numbers(capsys, folder, "--capability", "answers")["capability"]
    assert elo["unit"] == "Elo"
    assert elo["agents"]["big judge"] > elo["agents"]["small judge"]


def test_capability_from_a_file_names_who_is_missing(folder, capsys, tmp_path) -> None:
    path = tmp_path / "index.csv"
    path.write_text("player,rating\n" + "".join(f"{name},{value}\n" for name, value in RATINGS.items()))
    found = numbers(capsys, folder, "--capability", path, "--unit", "Elo")
    measured = numbers(capsys, folder)
    assert found["fits"] == measured["fits"]
    assert found["safety"]["points"] == measured["safety"]["points"]
    points = numbers(capsys, folder, "--capability", path)
    assert points["fits"] == measured["fits"]
    assert {point["distance"] for point in points["safety"]["points"]} == {None}
    path.write_text("player,rating\nweak,1\nsmall judge,0\nbig judge,2\n")
    found = numbers(capsys, folder, "--capability", path)
    assert any(remark.endswith("no gap and no part in the fits: middle, strong") for remark in found["remarks"])


@pytest.mark.parametrize("view", ["gap", "curves", "diagonal", "scatter"])
def test_views_are_drawn_whole_and_the_same_twice(folder, capsys, tmp_path, view) -> None:
    for suffix in ("png", "svg"):
        paths = [tmp_path / f"{name}.{suffix}" for name in ("one", "two")]
        for path in paths:
            numbers(capsys, folder, "--view", view, "--plot", path)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        assert paths[0].stat().st_size > 1000


def test_gates(folder, capsys) -> None:
    status, out, _ = gap(capsys, folder, "--red", "0.3", "--yellow", "0.9", "--view", "diagonal")
    assert status == 0
    assert "yellow (30 % to 90 %)" in out
    assert "green (90 % and above)" in out
    status, out, _ = gap(capsys, folder, "--red", "0.6", "--gate")
    assert status == 1
    assert "red (under 60 %)" in out
    assert "consultancy(rounds=2), judge small judge, debater strong" in out
    status, out, _ = gap(capsys, folder, "--red", "0.6", "--gate", "--json")
    found = json.loads(out)["gates"]
    assert status == 1
    assert (found["red"], found["yellow"]) == (0.6, 0.75)
    assert {cell["zone"] for cell in found["cells"] if cell["safety"] < 0.6} == {"red"}
    assert gap(capsys, folder, "--red", "0", "--gate")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--threshold", "0"], "--threshold 0: a threshold lies between 0 and 100 %"),
        (["--threshold", "nan"], "between 0 and 100 %"),
        (["--hold-out", "1"], "--hold-out 1"),
        (["--red", "0.9", "--yellow", "0.2"], "red no higher than yellow"),
        (["--red", "nan"], "red no higher than yellow"),
        (["--capability", "no such file.csv"], "there is no such file"),
        (["--capability", "slo"], "did you mean 'solo'?"),
        (["--unit", "Elo"], "only a file's ratings need a unit"),
        (["--view", "diagnal"], "--view"),
        (["--thresold", "75"], "--threshold"),
    ],
)
def test_bad_options_are_one_line_and_status_2(folder, capsys, words, message) -> None:
    before = sorted(path.name for path in folder.iterdir())
    status, out, err = gap(capsys, folder, *words)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_bad_file_of_ratings_is_status_2(folder, capsys, tmp_path) -> None:
    path = tmp_path / "index.csv"
    path.write_text("player,rating\nweak,1\nweak,2\n")
    status, out, err = gap(capsys, folder, "--capability", path, "--json")
    assert (status, out) == (2, "")
    assert f"{path}, line 3: player 'weak' is on line 2 too" in err


def test_a_run_without_capability_says_so(folder, capsys, tmp_path) -> None:
    for name in ("run.json", "episodes.jsonl"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    status, out, err = gap(capsys, tmp_path, "--view", "curves")
    assert status == 0
    assert "no picture: nothing to draw: the capability of the debaters is not known" in err
    assert "Capability was not measured in this run" in out
    assert "Slope" not in out  # and no other table of what depends on a gap
    assert "nothing to plot" not in out
    assert gap(capsys, tmp_path, "--plot", tmp_path / "x.png", "--view", "diagonal")[0] == 2
    assert not (tmp_path / "x.png").exists()
