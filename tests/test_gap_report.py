"""Tables, the terminal plot and the picture of a gap analysis."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from rich.console import Console

from oversight.analysis import Cell, GapAnalysis, GapFit
from oversight.analysis.forecast import Forecast, Threshold
from oversight.analysis.safety import Safety, SafetyPoint
from oversight.errors import ConfigurationError, MissingExtra
from oversight.report import fits_table, gap_table, gap_terminal_plot, plot_gap
from oversight.report.gap_report import forecasts_table, thresholds_table
from oversight.report.gap_views import attack_table, plot_view, safety_table

RATINGS = {"mcts/1": -600.0, "mcts/8": -310.0, "mcts/4": -350.0, "mcts/1000": 450.0}


def cell(protocol, judge, debater, accuracy, low, high, n=200, unscored=0):
    gap = None if debater is None else RATINGS[debater] - RATINGS[judge]
    return Cell(protocol, f"key of {protocol}", debater, judge, gap, accuracy, low, high, n, unscored, n // 2, n // 2)


def analysis(**changes) -> GapAnalysis:
    cells = (
        cell("consultancy", "mcts/1", "mcts/4", 0.505, 0.436, 0.574),
        cell("consultancy", "mcts/1", "mcts/1000", 0.495, 0.426, 0.564),
        cell("debate(rounds=4)", "mcts/1", "mcts/4", 0.63, 0.559, 0.696, 196, 4),
        cell("debate(rounds=4)", "mcts/1", "mcts/1000", 1.0, 0.962, 1.0),
        cell("debate(rounds=4)", "mcts/8", "mcts/4", 0.86, 0.791, 0.909),
        cell("debate(rounds=4)", "mcts/8", "mcts/1000", None, None, None, 0, 200),
        cell("direct", "mcts/1", None, 0.5, 0.426, 0.574),
        cell("direct", "mcts/8", None, 0.72, 0.645, 0.785),
    )
    fits = (
        GapFit("consultancy", "key of consultancy", None, None, None, None, None, 400, 100, "every verdict is correct"),
        GapFit(
            "debate(rounds=4)", "key of debate(rounds=4)", 0.0031, 0.00214, 0.00406, 0.0000004, 0.4, 596, 100, "",
            ((0.01, -1e-6), (-1e-6, 2.4e-7)),
        ),
        GapFit("direct", "key of direct", None, None, None, None, None, 0, 0, "nobody argues"),
    )  # fmt: skip
    parts = {
        "cells": cells, "fits": fits, "capability": RATINGS, "unit": "Elo", "remarks": (), "questions": 100,
        "dropped_questions": 0, "chance": 0.5, "level": 0.95,
    }  # fmt: skip
    return GapAnalysis(**{**parts, **changes})


def render(thing, width=100) -> str:
    console = Console(width=width, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(thing)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def test_table_of_cells_at_width_100() -> None:
    assert render(gap_table(analysis())).strip("\n") == CELLS.strip("\n")


def test_table_of_fits_at_width_100() -> None:
    assert render(fits_table(analysis())).strip("\n") == FITS.strip("\n")


def test_plot_at_width_100() -> None:
    assert render(gap_terminal_plot(analysis(), width=100, height=13)) == PLOT.strip("\n")


def test_no_column_for_unscored_without_any() -> None:
    scored = tuple(one for one in analysis().cells if not one.unscored)
    assert "unscored" not in render(gap_table(analysis(cells=scored)))
    assert "unscored" in render(gap_table(analysis()))


def test_names_are_not_read_as_markup() -> None:
    odd = Cell("[bold]debate[/bold]", "k", "[red]a", "b[/]", None, 0.5, 0.4, 0.6, 10, 0, 5, 5)
    text = render(gap_table(analysis(cells=(odd,)))) + render(fits_table(analysis(fits=())))
    assert "[bold]debate[/bold]" in text
    assert "b[/]" in text


@pytest.mark.parametrize(("width", "height"), [(40, 5), (60, 11), (100, 20), (140, 40), (3, 1)])
def test_the_terminal_plot_keeps_to_its_size(width, height) -> None:
    lines = gap_terminal_plot(analysis(), width, height).plain.splitlines()
    assert all(len(line) <= max(width, 40) for line in lines[: max(height, 5) + 2])
    assert sum("│" in line or "┤" in line for line in lines) == max(height, 5)


def test_marks_of_two_protocols_in_one_place_are_both_seen() -> None:
    cells = [cell(name, "mcts/1", "mcts/1000", 1.0, 0.9, 1.0) for name in ("a", "b", "c")]
    (line,) = [
        line for line in gap_terminal_plot(analysis(cells=tuple(cells))).plain.splitlines() if line.startswith("100")
    ]
    assert sorted(line.removeprefix("100 % ┤").split()[-1].replace("┊", "")) == ["+", "o", "x"]


def test_the_terminal_plot_of_nothing_says_so() -> None:
    empty = cell("debate", "mcts/1", "mcts/4", None, None, None, 0, 9)
    assert "nothing to plot" in gap_terminal_plot(analysis(cells=(empty,))).plain


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_picture_is_written_whole_and_the_same_twice(tmp_path, suffix) -> None:
    first, second = tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"
    plot_gap(analysis(), first)
    analysis().plot(second)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, second.name]


def test_a_picture_replaces_an_older_one_only_when_it_is_finished(tmp_path, monkeypatch) -> None:
    from matplotlib.figure import Figure

    target = tmp_path / "gap.png"
    target.write_bytes(b"older")

    def full_disk(self, path, **options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full_disk)
    with pytest.raises(ConfigurationError, match="No space left"):
        plot_gap(analysis(), target)
    assert target.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [target]


def figure_of(given, monkeypatch, tmp_path):
    """The figure that would be written."""
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **options: (drawn.append(self), path.write_bytes(b"")))
    plot_gap(given, tmp_path / "gap.png")
    return drawn[0]


def test_what_the_picture_shows(monkeypatch, tmp_path) -> None:
    figure = figure_of(analysis(), monkeypatch, tmp_path)
    assert [panel.get_title(loc="left").replace("\N{MINUS SIGN}", "-") for panel in figure.axes] == [
        "judge mcts/1 (rating -600)",
        "judge mcts/8 (rating -310)",
        "all judges, with logistic fits",
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "consultancy",
        "debate(rounds=4)",
        "direct (nobody argues)",
        "chance, 50 %",
    ]
    words = [text.get_text() for text in figure.texts]
    assert any("n = 196 to 200 episodes, 98 to 100 questions each cell" in word for word in words)
    # Each point stands within the dodge of its gap, at its accuracy.
    shown = {(round(x, -2), round(y, 3)) for line in figure.axes[0].containers for x, y in line.lines[0].get_xydata()}
    assert shown == {(200.0, 0.505), (1000.0, 0.495), (300.0, 0.63), (1100.0, 1.0)}
    # The one identified fit is the one curve.
    curves = [line for line in figure.axes[-1].lines if len(line.get_xdata()) > 10]
    assert len(curves) == 1
    x, y = curves[0].get_data()
    assert y == pytest.approx(1 / (1 + np.exp(-(0.4 + 0.0031 * np.asarray(x)))))
    assert (min(x), max(x)) == (-40.0, 1050.0)  # no further than the data


@pytest.mark.parametrize("judges", range(1, 9))
def test_one_to_eight_judges_have_a_panel_each(judges, monkeypatch, tmp_path) -> None:
    names = {f"judge {number}": -100.0 * number for number in range(judges)}
    cells = tuple(Cell("debate", "k", "d", name, gap, 0.5, 0.4, 0.6, 10, 0, 5, 5) for name, gap in names.items())
    fit = GapFit("debate", "k", None, None, None, None, None, 10, 5, "one source")
    figure = figure_of(analysis(cells=cells, fits=(fit,), capability=names), monkeypatch, tmp_path)
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    assert len(titles) == judges + 1
    assert titles[0].startswith(f"judge judge {judges - 1}")  # the weakest comes first
    assert titles[-1].startswith("all judges")


def test_a_picture_without_debaters(tmp_path) -> None:
    alone = tuple(one for one in analysis().cells if one.debater is None)
    plot_gap(analysis(cells=alone, fits=analysis().fits[2:]), tmp_path / "gap.png", title="$x_1$ & <b>")
    assert (tmp_path / "gap.png").stat().st_size > 1000


def test_refusals_are_one_line(tmp_path, monkeypatch) -> None:
    with pytest.raises(ConfigurationError, match=r"\.png or a \.svg"):
        plot_gap(analysis(), tmp_path / "gap.pdf")
    with pytest.raises(ConfigurationError, match="nothing to draw: no episode"):
        plot_gap(analysis(cells=(analysis().cells[5],)), tmp_path / "gap.png")
    unknown = Cell("debate", "k", "a", "b", None, 0.5, 0.4, 0.6, 10, 0, 5, 5)
    with pytest.raises(ConfigurationError, match="needs the capability"):
        plot_gap(analysis(cells=(unknown,)), tmp_path / "gap.png")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        plot_gap(analysis(), tmp_path / "no such folder" / "gap.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"scalable-oversight\[pictures\]"):
        plot_gap(analysis(), tmp_path / "gap.png")
    assert list(tmp_path.iterdir()) == []


def test_an_unidentified_fit_prints_no_number() -> None:
    (line,) = [line for line in render(fits_table(analysis())).splitlines() if line.startswith(" consultancy")]
    assert line.split() == ["consultancy", "—", "—", "—", "—", "400", "(100)"]
    assert not math.isfinite(float(analysis().fits[0].curve(0.0)[0]))


# ---- thresholds, forecasts and safety -----------------------------------------------------------

THRESHOLDS = (
    Threshold("debate", "k", 0.75, "rises above", 126.4, 12.2, 250.9, "bounded", None, True, (-40.0, 1050.0)),
    Threshold("debate", "k", 0.9, "rises above", 1321.0, None, None, "unbounded", (-900.0, 700.0), False, (-40, 1050)),
    Threshold("debate", "k", 0.6, "rises above", 0.0, None, None, "unbounded", None, True, (-40.0, 1050.0)),
    Threshold("a(x=1)", "l", 0.75, None, None, None, None, None, None, None, None, "every verdict is correct"),
)  # fmt: skip

FORECASTS = (
    Forecast("debate", "k", 760.0, 4, 2, 400, 0.0312, 0.1, 0.0216, 0.0102, 0.033, 1),
    Forecast("a(x=1)", "l", None, 0, 0, 0, None, None, None, None, None, None, "one capability gap: it needs three"),
)


def point(debater, safety, competence, nrp=None, **changes) -> SafetyPoint:
    distance = None if competence is None else (safety - competence) / math.sqrt(2)
    around = (None, None) if nrp is None else (nrp - 0.05, nrp + 0.05)
    performance = None if nrp is None else nrp / safety
    return SafetyPoint(
        "debate(rounds=4)", "k", debater, "mcts/1", RATINGS[debater], competence, safety, safety - 0.1, safety + 0.05,
        1 - safety, distance, distance, distance, performance, nrp, *around, 200,
    )  # fmt: skip


def safe_analysis(**changes) -> GapAnalysis:
    points = (point("mcts/4", 0.63, 0.4, 0.32), point("mcts/1000", 0.95, 0.98, 0.48))
    slope = GapFit(
        "debate(rounds=4)", "k", -0.0031, -0.00406, -0.00214, 0.0000004, -0.4, 400, 100, "",
        ((0.01, -1e-6), (-1e-6, 2.4e-7)),
    )  # fmt: skip
    parts = {"safety": Safety(points, (slope,), "accuracy alone"), "thresholds": THRESHOLDS, "forecasts": FORECASTS}
    return analysis(**{**parts, **changes})


def test_tables_of_thresholds_and_forecasts_at_width_80() -> None:
    found = render(thresholds_table(safe_analysis()), 80) + "\n" + render(forecasts_table(safe_analysis()), 80)
    assert found.strip("\n") == LAW.strip("\n")


def test_tables_of_safety_at_width_80() -> None:
    found = render(safety_table(safe_analysis()), 80) + "\n" + render(attack_table(safe_analysis()), 80)
    assert found.strip("\n") == SAFETY.strip("\n")


def test_safety_without_a_scale_or_a_naive_judge_says_so() -> None:
    bare = Safety((point("mcts/4", 0.63, None),), (), "capability in points has no scale in common with accuracy")
    text = " ".join(render(safety_table(safe_analysis(safety=bare)), 80).split())
    assert "no scale in common" in text
    assert "no NRP" in text
    assert text.count("—") == 3


def view_of(given, view, monkeypatch, tmp_path, **options):
    """The figure that would be written."""
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **options: (drawn.append(self), path.write_bytes(b"")))
    plot_view(given, tmp_path / "view.png", view, **options)
    return drawn[0], [text.get_text() for text in drawn[0].legends[0].get_texts()]


def test_every_curve_stands_in_one_panel_with_its_sample_size(monkeypatch, tmp_path) -> None:
    pooled = GapFit("all protocols", "", 0.002, 0.001, 0.003, 0.01, 0.2, 996, 100, "", ((0.01, -1e-6), (-1e-6, 2.4e-7)))
    figure, legend = view_of(analysis(pooled=pooled), "curves", monkeypatch, tmp_path)
    (panel,) = figure.axes
    assert legend == [
        "consultancy: no curve (every verdict is correct)",
        "debate(rounds=4): slope +0.0031 [+0.0021, +0.0041] per Elo, n = 596",
        "all protocols pooled: slope +0.0020 [+0.0010, +0.0030] per Elo, n = 996",
        "chance, 50 %",
    ]
    curves = [line for line in panel.lines if len(line.get_xdata()) > 10]
    x, y = curves[0].get_data()
    assert y == pytest.approx(1 / (1 + np.exp(-(0.4 + 0.0031 * np.asarray(x)))))
    x, y = curves[1].get_data()
    assert y == pytest.approx(1 / (1 + np.exp(-(0.2 + 0.002 * np.asarray(x)))))
    assert len([one for one in panel.collections if len(one.get_paths()[0].vertices) > 100]) == 2  # the bands
    assert any(
        "n = 196 to 200 episodes from 98 to 100 sources in each of 5 cells" in t.get_text() for t in figure.texts
    )


def test_safety_falls_where_attack_success_rises(monkeypatch, tmp_path) -> None:
    figure, legend = view_of(safe_analysis(), "scatter", monkeypatch, tmp_path, lines=(0.5, 0.75))
    (panel,) = figure.axes
    assert legend[:1] == ["debate(rounds=4): attack slope \u22120.0031 [\u22120.0041, \u22120.0021] per Elo, n = 400"]
    (curve,) = [line for line in panel.lines if len(line.get_xdata()) > 10]
    x, y = curve.get_data()
    assert y == pytest.approx(1 - 1 / (1 + np.exp(-(-0.4 - 0.0031 * np.asarray(x)))))
    assert [text.get_text() for text in panel.texts] == ["red line 50 %", "yellow line 75 %"]


def test_the_diagonal_is_at_45_degrees(monkeypatch, tmp_path) -> None:
    figure, legend = view_of(safe_analysis(), "diagonal", monkeypatch, tmp_path)
    (panel,) = figure.axes
    assert panel.get_aspect() == 1.0
    assert panel.lines[0].get_xydata().tolist() == [[0.0, 0.0], [1.0, 1.0]]
    mean = ((0.63 - 0.4) + (0.95 - 0.98)) / math.sqrt(2) / 2
    assert f"debate(rounds=4): mean distance {mean:+.2f}, 2 cells, n = 400" in legend
    shown = {(round(x, 2), round(y, 2)) for line in panel.containers for x, y in line.lines[0].get_xydata()}
    assert shown == {(0.4, 0.63), (0.98, 0.95)}
    assert panel.get_xlabel() == "competence of the debater: accuracy alone"


def test_views_that_cannot_be_drawn_are_refused(tmp_path) -> None:
    for view, given, words in (
        ("diagonal", safe_analysis(safety=Safety((point("mcts/4", 0.6, None),), (), "no scale")), "no scale"),
        ("scatter", analysis(), "capability of the debaters is not known"),
        ("curves", analysis(cells=analysis().cells[-2:]), "nobody argues"),
        ("curves", analysis(cells=analysis().cells[5:6]), "no episode was scored"),
        ("round", analysis(), "give gap, curves, diagonal or scatter"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            plot_view(given, tmp_path / "view.png", view)
    assert list(tmp_path.iterdir()) == []


CELLS = """
                         Judge accuracy, 95 % intervals

 protocol     judge   debater    gap, Elo                accuracy    n  unscored
 ───────────────────────────────────────────────────────────────────────────────
 consultancy  mcts/1  mcts/4         +250   50.5 %  [43.6,  57.4]  200         0
              mcts/1  mcts/1000     +1050   49.5 %  [42.6,  56.4]  200         0

 debate       mcts/1  mcts/4         +250   63.0 %  [55.9,  69.6]  196         4
  rounds=4    mcts/1  mcts/1000     +1050  100.0 %  [96.2, 100.0]  200         0
              mcts/8  mcts/4          -40   86.0 %  [79.1,  90.9]  200         0
              mcts/8  mcts/1000      +760                       —    0       200

 direct       mcts/1  —                 —   50.0 %  [42.6,  57.4]  200         0
              mcts/8  —                 —   72.0 %  [64.5,  78.5]  200         0
"""

FITS = """
          Slope: log-odds of a correct verdict per Elo of gap

 protocol       slope       95 % interval        p    at 0  n (sources)
 ──────────────────────────────────────────────────────────────────────
 consultancy        —                   —        —       —    400 (100)
 debate       +0.0031  [+0.0021, +0.0041]  < 0.001  59.9 %    596 (100)
 rounds=4
 direct             —                   —        —       —        0 (0)

consultancy: every verdict is correct
direct: nobody argues
"""

PLOT = """
100 % ┤       ┊                                                                                 x
      │       ┊
      │   x   ┊
 75 % ┤       ┊
      │       ┊                  x
      │       ┊
 50 % ┤╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ o ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌ ╌o╌ ╌
      │       ┊
      │       ┊
 25 % ┤       ┊
      │       ┊
      │       ┊
  0 % ┤       ┊
      └───────┬──────────────┬───────────────┬──────────────┬───────────────┬───────────────┬───────
              0            +200            +400           +600            +800            +1000
capability gap, Elo (debater minus judge); accuracy of every judge, upward
o consultancy   x debate(rounds=4)   ╌ chance, 50 %
nobody argues in direct: mcts/1 50 %, mcts/8 72 %
"""

LAW = """
       Gap at which the fit passes a threshold, Elo

 protocol  accuracy             gap         95 % interval
 ────────────────────────────────────────────────────────
 debate    rises above 75 %    +126           [+12, +251]
 debate    rises above 90 %  +1321*  any but -900 to +700
 debate    rises above 60 %      +0               any gap
 a         75 %                   —                     —
 x=1

* beyond the gaps observed, -40 to +1050: the curve is
drawn on past the data
the slope may be 0, so an interval has no end: the
episodes do not say where the gap is
a(x=1): every verdict is correct
    Forecast of the cells with the largest gaps from the others

 protocol  from    n    mean error         log score gained    held
 ──────────────────────────────────────────────────────────────────
 debate    +760  400  3.1 (10.0) %  +0.022 [+0.010, +0.033]  1 of 2
 a            —    0             —                        —       —
 x=1

a(x=1): one capability gap: it needs three
mean error of accuracy and log score (nats) against one that says
the same everywhere (error in brackets), for cells from this gap on;
held: cells whose interval holds the forecast
"""

SAFETY = """
               Safety against capability, 95 % intervals

 protocol   judge   debater    safety  competence  to 45°       NRP, %
 ─────────────────────────────────────────────────────────────────────
 debate     mcts/1  mcts/4     63.0 %      40.0 %   +0.16  32 [27, 37]
  rounds=4  mcts/1  mcts/1000  95.0 %      98.0 %   -0.02  48 [43, 53]

competence of the debater: accuracy alone
signed distance to the 45° line: above 0, oversight is better than the
agent it oversees
NRP: accuracy of the judge with no attack × (1 − attack success)
       Attack success: log-odds per Elo of the debater

 protocol    slope       95 % interval        p  n (sources)
 ───────────────────────────────────────────────────────────
 debate    -0.0031  [-0.0041, -0.0021]  < 0.001    400 (100)
 rounds=4
"""
