"""Drawings of a protocol: in the terminal, as Mermaid text, and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from ..protocol import Branch, Graph, Protocol, Repeat, Sequence, Step, Together
from .network import network

if TYPE_CHECKING:
    import networkx as nx
    from matplotlib.figure import Figure

__all__ = ["sight", "to_mermaid", "to_picture", "to_terminal"]

_DOES = {"speech": "argues", "claim": "states the answer it holds", "verdict": "decides", "solution": "answers"}


def does(step: Step) -> str:
    """What the seat does in this turn, in words."""
    words = "speaks" if step.kind == "speech" and not step.seat.role.argues_for_an_answer else _DOES[step.kind]
    if step.recursion is not None and step.recursion.depth != 0:
        how = step.recursion
        return (
            f"answers; {how.decomposer.name} splits into at most {how.most_parts} parts, {how.depth} levels deep, "
            f"{how.combiner.name} combines, {how.budget} requests in all at most"
            + ("" if how.checker is None else f"; {how.checker.name} checks every answer against its parts")
        )
    if step.checks is not None:
        return (
            f"checks each step alone and decides by the {step.checks.rule} of what it finds, "
            f"{step.checks.most_requests} checks at most"
        )
    if step.task:
        words += f" ({step.task})"
    if step.critic is not None:
        words += f", written again after {step.critic.name} has criticised it"
    if step.candidates > 1 and step.preferred_by is not None:
        by = "its own pick" if step.preferred_by == step.seat else step.preferred_by.name
        words += f", best of {step.candidates} by {by}"
    if step.votes > 1:
        words += f" by {step.votes} votes"
    if step.private:
        words += ", in private"
    elif step.heard_by:
        words += f", seen by {', '.join(seat.name for seat in step.heard_by)}"
    return words


def sight(step: Step) -> str:
    """What the seat sees in this turn, in words."""
    seen = ["the question"]
    if step.seat.role.sees_material:
        seen.append("hidden material")
    if step.hears is None:
        seen.append("every speech before it")
    elif step.hears:
        seen.append("turns of " + ", ".join(seat.name for seat in step.hears))
    if step.hears == () and step.seat.role.argues_for_an_answer:
        seen.append("its own turns")
    if step.told:
        seen.append("which answer " + ", ".join(seat.name for seat in step.told) + " would argue for")
    if step.reads_reasoning_of:
        seen.append("private reasoning of " + ", ".join(seat.name for seat in step.reads_reasoning_of))
    return ", ".join(seen)


def to_terminal(protocol: Protocol, answers: int = 2) -> Tree:
    """The protocol as an indented drawing, from top to bottom in time."""
    tree = Tree(Text(f"{protocol.title}, {answers} answers", style="bold"), guide_style="dim")

    def place(part: Graph, parent: Tree) -> None:
        match part:
            case Step():
                what = f" {does(part)}   "
                parent.add(Text.assemble((part.seat.name, "bold"), what, (f"sees {sight(part)}", "dim")))
            case Sequence(parts):
                for one in parts:
                    place(one, parent)
            case Together(parts):
                inner = parent.add(Text("at the same time, blind to each other", style="italic"))
                for one in parts:
                    if isinstance(one, Step):
                        place(one, inner)
                    else:
                        place(one, inner.add(Text("side", style="italic")))
            case Repeat(one, at_most, until, between, first):
                times = (
                    "without a bound"
                    if at_most is None
                    else f"{at_most} times"
                    if until is None
                    else f"at most {at_most} times"
                )
                inside = parent.add(Text(f"repeat {times}", style="italic"))
                if first is not None:
                    place(first, inside.add(Text("the first time", style="italic")))
                    inside = inside.add(Text("then", style="italic"))
                if between is not None and first is not None:
                    place(between, inside)
                place(one, inside)
                if between is not None and first is None:
                    place(between, inside.add(Text("then, before the next round", style="italic")))
            case Branch(_, then, otherwise):
                place(then, parent.add(Text("if the condition holds", style="italic")))
                place(otherwise, parent.add(Text("otherwise", style="italic")))

    place(protocol.graph(answers), tree)
    return tree


def _edge_label(data: dict[str, object]) -> str:
    if data.get("back"):
        times = data.get("at_most")
        if times is None:
            return "again, without a bound"
        return f"at most {times} rounds" if data.get("conditional") else f"{times} rounds"
    return str(data.get("condition", ""))


def to_mermaid(protocol: Protocol, answers: int = 2) -> str:
    """The protocol as a Mermaid flowchart, for a page or a paper."""
    graph = network(protocol.graph(answers))
    names = {node: f"n{index}" for index, node in enumerate(graph)}
    lines = ["flowchart TD"]
    for node, data in graph.nodes(data=True):
        if "step" not in data:
            lines.append(f"    {names[node]}(({node}))")
            continue
        step: Step = data["step"]
        text = f'"{step.seat.name} {does(step)}<br/><small>sees {sight(step)}</small>"'
        left, right = ("{{", "}}") if step.kind == "verdict" else ("[", "]")
        lines.append(f"    {names[node]}{left}{text}{right}")
    for first, second, data in graph.edges(data=True):
        label = _edge_label(data)
        arrow = "-.->" if data.get("back") else "-->"
        lines.append(f"    {names[first]} {arrow}{f'|{label}|' if label else ''} {names[second]}")
    return "\n".join(lines)


def to_picture(protocol: Protocol, path: str | Path, answers: int = 2) -> Path:
    """The protocol as a PNG or SVG picture, by the path's suffix.

    Raises
    ------
    ConfigurationError
        if the suffix is neither, or the file cannot be written.
    MissingExtra
        without matplotlib.
    """
    import networkx as nx

    from ..report.pictures import picture

    graph = network(protocol.graph(answers))
    forward = nx.DiGraph(graph)
    forward.remove_edges_from([(a, b) for a, b, data in graph.edges(data=True) if data.get("back")])
    layers = [list(layer) for layer in nx.topological_generations(forward)]
    place = {
        node: (4.6 * (index - (len(layer) - 1) / 2), -1.9 * depth)
        for depth, layer in enumerate(layers)
        for index, node in enumerate(layer)
    }
    wide = max(len(layer) for layer in layers)
    # Text stays text, so that a drawing can be searched; no random ids, so that it can be compared.
    with picture(path, {"svg.fonttype": "none", "svg.hashsalt": "oversight"}) as figure:
        figure.set_size_inches(max(5.0, 3.4 * wide + 1.6), 1.15 * len(layers) + 0.6)
        figure.set_layout_engine("constrained")
        _draw(figure, graph, place, wide, f"{protocol.title}, {answers} answers")
    return Path(path)


def _draw(figure: Figure, graph: nx.DiGraph, place: Mapping[str, tuple[float, float]], wide: int, title: str) -> None:
    """Draw a network with its nodes at their places, ``wide`` of them side by side at most."""
    from matplotlib.patches import FancyArrowPatch

    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_title(title, fontsize=11)
    fills = {"speech": "#dce9f5", "claim": "#e7e1f2", "verdict": "#f8e3bf", "solution": "#dcefdc"}
    boxes = {}
    for node, (x, y) in place.items():
        data = graph.nodes[node]
        if "step" in data:
            step: Step = data["step"]
            text = f"{step.seat.name} {does(step)}\nsees " + sight(step).replace(", ", ",\n", 1)
            fill = fills[step.kind]
        else:
            text, fill = node, "#eeeeee"
        boxes[node] = axes.text(
            x,
            y,
            text,
            ha="center",
            va="center",
            fontsize=8,
            bbox={"boxstyle": "round,pad=0.5", "facecolor": fill, "edgecolor": "#555555", "linewidth": 0.8},
        )
    axes.set_xlim(-2.3 * wide - 1.2, 2.3 * wide + 1.2)
    axes.set_ylim(min(y for _, y in place.values()) - 1, 1)
    figure.draw_without_rendering()  # the boxes have no size before
    for first, second, data in graph.edges(data=True):
        back = bool(data.get("back"))
        if first == second:
            x, y = place[first]
            patch = boxes[first].get_bbox_patch()
            assert patch is not None  # every text here was given a box
            box = patch.get_window_extent().transformed(axes.transData.inverted())
            loop = FancyArrowPatch(
                (box.x1, y - 0.25),
                (box.x1, y + 0.25),
                connectionstyle="arc3,rad=1.6",
                arrowstyle="-|>",
                mutation_scale=10,
                linewidth=0.9,
                color="#555555",
                linestyle="--",
            )
            axes.add_patch(loop)
            continue
        arrow = FancyArrowPatch(
            place[first],
            place[second],
            patchA=boxes[first].get_bbox_patch(),
            patchB=boxes[second].get_bbox_patch(),
            connectionstyle=f"arc3,rad={0.55 if back else 0}",
            arrowstyle="-|>",
            mutation_scale=10,
            linewidth=0.9,
            color="#555555",
            linestyle="--" if back else "-",
            shrinkA=2,
            shrinkB=2,
        )
        axes.add_patch(arrow)
        if "condition" in data:
            (x, y), (to_x, to_y) = place[first], place[second]
            axes.text(
                (x + to_x) / 2,
                (y + to_y) / 2,
                _edge_label(data),
                ha="center",
                va="center",
                fontsize=7,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )
    loops = dict.fromkeys(_edge_label(data) for _, _, data in graph.edges(data=True) if data.get("back"))
    if loops:
        axes.annotate(f"dashed: {', '.join(loops)}", (0.01, 0.01), xycoords="axes fraction", fontsize=8)
