"""What a question was split into, and how its answer was put together.

A tree is what a recursion leaves: each node is a question with its answer, its parts below it.  Nothing of it is
guessed: where an answer could not be had, the node says why, and so does every node that depended on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import networkx as nx

__all__ = ["Node", "first_failing", "first_wrong", "normal", "read_outline"]


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
    holds : how likely a checker found it that it follows from what it rests on, in [0, 1]: of a question that was
        split, its answer from those of its parts; of a step, the step from earlier ones; of an argument, all its steps.
        None where nobody was asked.
    unchecked : why nobody could say whether it follows; empty where somebody did, or nobody was asked.
    """

    question: str
    answer: str = ""
    parts: tuple[Node, ...] = ()
    failed: str = ""
    again: bool = False
    holds: float | None = None
    unchecked: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The tree as JSON values, what is empty left out; :meth:`from_dict` gives it back."""
        values = {name: value for name, value in vars(self).items() if value or (name == "holds" and value is not None)}
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
            return replace(node, parts=tuple(map(mark, node.parts)), again=again)

        return mark(self)

    def outline(self) -> str:
        """The tree as indented lines: what was asked, and what was answered."""
        lines = []
        for path, node in self.walk():
            indent = "   " * (path.count(".") + bool(path))
            number = f"{path}  " if path else ""
            # In one line each: nothing that is answered can look like a node of its own.
            lines.append(f"{indent}{number}{' '.join(node.question.split())}")
            said = " ".join(node.said().split())
            mark = "as before, " if node.again else ""  # before the answer, which could end in anything
            lines.append(f"{indent}{' ' * len(number)}{mark}{node.checked()}{said}")
        return "\n".join(lines)

    @property
    def is_step(self) -> bool:
        """Whether it is a step of an argument: it was to be checked, and it is no question."""
        return (self.holds is not None or bool(self.unchecked)) and not self.answer and not self.parts

    @property
    def fails(self) -> bool:
        """Whether a checker found that it fails rather than holds."""
        return self.holds is not None and self.holds < 0.5

    def said(self) -> str:
        """What was answered, or why nothing was; of a step, how likely it holds."""
        if self.failed:
            return f"no answer: {self.failed}"
        if self.is_step:
            return f"not checked: {self.unchecked}" if self.holds is None else f"holds: {self.holds:.2f}"
        return f"answer: {self.answer}"

    def checked(self) -> str:
        """What a checker found of an answer, to stand before it; empty where nobody was asked."""
        if self.is_step or (self.holds is None and not self.unchecked):
            return ""
        return "not checked, " if self.holds is None else f"follows from its parts: {self.holds:.2f}, "

    def network(self) -> nx.DiGraph:
        """The tree as networkx: nodes are places, with the attributes ``question``, ``answer``, ``failed``, ``holds``.

        What was not checked has no ``holds``.
        """
        graph = nx.DiGraph()
        for path, node in self.walk():
            holds = {} if node.holds is None else {"holds": node.holds}
            graph.add_node(path, question=node.question, answer=node.answer, failed=node.failed, **holds)
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
        answer = re.fullmatch(
            r" *(?:as before, )?(?:follows from its parts: [01]\.[0-9]{2}, |not checked, )?answer: (.*)", said
        )
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


def first_failing(root: Node) -> list[tuple[str, Node]]:
    """Where a checker found that something does not follow: below a half.

    Parameters
    ----------
    root : the tree.

    Returns
    -------
    list of (place, node)
        of the steps of an argument the first alone, as a later one may rest on it; a question that was split where no
        step below it is among them.
    """
    found = []
    for path, node in root.walk():
        places = ((f"{path}.{number}" if path else str(number), part) for number, part in enumerate(node.parts, 1))
        failing = [(place, part) for place, part in places if part.is_step and part.fails]
        found += failing[:1] or [(path, node)] * (node.fails and not node.is_step)
    return found


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
