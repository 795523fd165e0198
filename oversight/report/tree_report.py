"""A question's tree in the terminal: what was split, answered and checked, and where it went wrong."""

from __future__ import annotations

from rich.text import Text
from rich.tree import Tree

from ..tree import Node, first_failing
from .terminal import safe

__all__ = ["drawn", "failing_lines"]


def drawn(root: Node) -> Tree:
    """The tree as it is drawn: each question with its answer, each step with what its check came to."""

    def label(path: str, node: Node) -> Text:
        text = Text(f"{path}  ", "dim") if path else Text()
        text.append_text(safe(" ".join(node.question.split())))
        style = "red" if node.fails or node.failed or node.unchecked else "green" if node.holds is not None else ""
        if node.is_step:
            return text.append("   ").append_text(safe(node.said(), style))
        said = safe(" ".join(node.said().split()), style if node.failed else "bold")
        text.append("\n")
        if node.again:
            text.append("as before, ", "dim")
        text.append(node.checked(), style).append_text(said)
        if node.unchecked:
            text.append("\n").append_text(safe(" ".join(f"not checked: {node.unchecked}".split()), style))
        return text

    def grow(tree: Tree, path: str, node: Node) -> Tree:
        for number, part in enumerate(node.parts, start=1):
            place = f"{path}.{number}" if path else str(number)
            grow(tree.add(label(place, part)), place, part)
        return tree

    return grow(Tree(label("", root), guide_style="dim"), "", root)


def failing_lines(root: Node) -> list[str]:
    """Where a checker found that something does not follow."""
    lines = []
    for path, node in first_failing(root):
        what = " ".join(node.question.split())
        if node.is_step:
            lines.append(f"the first step that does not hold is {path}: {what}")
        else:
            lines.append(f"the answer to {f'part {path}' if path else 'the question'} does not follow: {node.answer}")
    return lines
