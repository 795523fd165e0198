"""The picture of a session in the documents: a real one, in a pseudo-terminal, as its screen stands.

``python tests/screenshot.py CORPUS docs/judging.png`` judges a debate of the NYU corpus up to its second turn.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

WIDTH, HEIGHT = 88, 36
COLOURS = {"default": "#d8d8d2", "green": "#8fbf6f", "red": "#e07a6a", "cyan": "#7fb8c9", "brown": "#d9b36c"}
DIM, GROUND = "#8a8a84", "#20211f"


def _terminal(*words, **settings):
    path = Path(__file__).with_name("pseudo_terminal.py")
    specification = importlib.util.spec_from_file_location("oversight_test_pseudo_terminal", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.Terminal(*words, **settings)


def draw(screen, path):
    """The screen as a picture, a character a cell."""
    matplotlib.rcParams["font.family"] = "DejaVu Sans Mono"
    figure = Figure(figsize=(WIDTH * 0.088, HEIGHT * 0.185), facecolor=GROUND, dpi=160)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-1, WIDTH + 1)
    axes.set_ylim(HEIGHT + 0.5, -0.5)
    axes.axis("off")
    for row in range(HEIGHT):
        for column in range(WIDTH):
            cell = screen.buffer[row][column]
            if cell.data.strip():
                axes.text(
                    column,
                    row + 0.5,
                    cell.data,
                    color=COLOURS.get(cell.fg, f"#{cell.fg}" if len(cell.fg) == 6 else COLOURS["default"]),
                    weight="bold" if cell.bold else "normal",
                    fontsize=9.6,
                    ha="left",
                    va="center",
                )
    figure.savefig(path, facecolor=GROUND)


def main(corpus, path):
    """Judge up to the second turn, and draw what stands there."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["judge", "--corpus", corpus, "--as", "ada", "--log-dir", f"{folder}/run"]
        with _terminal(sys.executable, "-m", "oversight.cli", *command, width=WIDTH, height=HEIGHT) as terminal:
            terminal.until("Turn 1 of", seconds=60)
            terminal.change("6")
            terminal.change("2")
            while "Turn 2 of" not in terminal.text:
                terminal.change("\r")
            terminal.change("4")
            terminal.change("8")
            print(terminal.text)
            draw(terminal.screen, path)
            terminal.child.send("q")
            terminal.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
