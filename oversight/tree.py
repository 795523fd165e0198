"""What a question was split into, and how its answer was put together.

A tree is what a recursion leaves: each node is a question with its answer, its parts below it.  Nothing of it is
guessed: where an answer could not be had, the node says why, and so does every node that depended on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import networkx as nx

__all__ = ["Node", "first_wrong", "normal", "read_outline"]


@dataclass(frozen=True)
class Node:
    """A question and how it was answered.

    Parameters
    ----------
    question : its text.
    answer : what was answered; empty where it failed.
    parts : the questions that it was split into, in order; none where it was answered as it is.
    failed : why there is no answer; empty where there is one.
    again : whether the same question stands elsewhere before it in the tree, and was answered there.
    """

    question: str
    answer: str = ""
    parts: tuple[Node, ...] = ()
    failed: str = ""
    again: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The tree as JSON values, what is empty left out; :meth:`from_dict` gives it back."""
        values = {name: value for name, value in vars(self).items() if value}
        if self.parts:
            values["parts"] = [part.to_dict() for part in self.parts]
        return {"question": self.question, **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Node:
        """The tree that :meth:`to_dict` wrote."""
        return cls(**{**values, "parts": tuple(map(cls.from_dict, values.get("parts", ())))})

    def walk(self, path: str = "") -> Iterator[tuple[str, Node]]:
        """Every node with its place (empty for the root, then ``1``, ``1.1``, ...), parents first."""
        yield path, self
        for number, part in enumerate(self.parts, start=1):
            yield from part.walk(f"{path}.{number}" if path else str(number))

    def marked(self) -> Node:
        """The same tree, with the nodes marked that repeat a question before them."""
        seen: set[str] = set()

        def mark(node: Node) -> Node:
            again = normal(node.question) in seen
            seen.add(normal(node.question))
            return Node(node.question, node.answer, tuple(map(mark, node.parts)), node.failed, again)

        return mark(self)

    def outline(self) -> str:
        """The tree as indented lines: what was asked, and what was answered."""
        lines = []
        for path, node in self.walk():
            indent = "   " * (path.count(".") + bool(path))
            number = f"{path}  " if path else ""
            # In one line each: nothing that is answered can look like a node of its own.
            lines.append(f"{indent}{number}{' '.join(node.question.split())}")
            said = " ".join((f"no answer: {node.failed}" if node.failed else f"answer: {node.answer}").split())
            mark = "as before, " if node.again else ""  # before the answer, which could end in anything
            lines.append(f"{indent}{' ' * len(number)}{mark}{said}")
        return "\n".join(lines)

    def network(self) -> nx.DiGraph:
        """The tree as networkx: nodes are places, with the attributes ``question``, ``answer`` and ``failed``."""
        graph = nx.DiGraph()
        for path, node in self.walk():
            graph.add_node(path, question=node.question, answer=node.answer, failed=node.failed)
            if path:
                graph.add_edge(path.rpartition(".")[0], path)
        return graph


def read_outline(text: str) -> Node | None:
    """The tree that :meth:`Node.outline` wrote, as far as questions and answers go; None where it is no such text.

    Examples
    --------
    >>> tree = Node("Q?", "6", (Node("A?", "2"), Node("B?", "3", (Node("C?", "3"),))))
    >>> read_outline(tree.outline()) == tree
    True
    """
    lines = text.split("\n")
    found: list[tuple[str, str, str]] = []
    for asked, said in zip(lines[::2], lines[1::2], strict=False):
        match = re.fullmatch(r" *(?:([0-9]+(?:\.[0-9]+)*)  )?(.+)", asked)
        answer = re.fullmatch(r" *(?:as before, )?answer: (.*)", said)
        if match is None:
            return None
        found.append((match[1] or "", match[2], "" if answer is None else answer[1]))
    if len(lines) % 2 or not found or found[0][0]:
        return None

    def below(path: str) -> tuple[Node, ...]:
        depth = path.count(".") + 2 if path else 1
        mine = [
            one for one in found if one[0].count(".") + 1 == depth and one[0].startswith(f"{path}." if path else "")
        ]
        return tuple(Node(question, answer, below(place)) for place, question, answer in mine if place)

    return Node(found[0][1], found[0][2], below(""))


def normal(question: str) -> str:
    """A question as it is compared with others: case and blanks do not count."""
    return " ".join(question.split()).casefold()


def first_wrong(root: Node, right: Callable[[str, str], bool | None]) -> list[tuple[str, Node]]:
    """The nodes at which an answer went wrong: wrong themselves, while no part of theirs is.

    Parameters
    ----------
    root : the tree.
    right : whether an answer to a question is right; None where that is not known, which counts as right.

    Returns
    -------
    list of (place, node)
        deepest errors only: a node that is wrong because a part of it was is not among them.
    """
    found = []
    for path, node in root.walk():
        if node.failed or right(node.question, node.answer) is not False:
            continue
        if not any(not part.failed and right(part.question, part.answer) is False for part in node.parts):
            found.append((path, node))
    return found
