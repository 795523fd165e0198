"""Line by line: for screen readers, for pipes, and for terminals that cannot be drawn on.

Everything is announced in a sentence, nothing is drawn, and answers are typed as lines.  Each line that a speaker
says begins with the speaker's name, so that none can pass for an announcement.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable
from typing import TextIO

from ..agents.prompts import clean
from ..requests import Choose, Speak
from ..transcript import Belief
from ..views import VisibleTurn
from .credence import Credence
from .front import Asked, Decided, Feedback, Front, Keep, Place, Said, Skipped, Stopped
from .pages import reading_points, stated_last
from .transcript_text import ASCII, inert, one_line, positions_text, speech_text
from .wording import (
    clock_time,
    feedback_lines,
    item_line,
    kept_line,
    likely_words,
    limits_line,
    number_of,
    paragraphs,
    part_lines,
    stakes_lines,
    verdict_words,
    what_is_written,
    written_line,
)

__all__ = ["Plain"]

STILL_WAITING = 30.0
"""Seconds after which it is said again that something is waited for."""


class _Ended(Exception):
    """The person stops, or there is no more input."""


class _Skips(Exception):
    """The person gives the item up."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Plain(Front):
    """A person who reads and types lines.

    Parameters
    ----------
    source : descriptor that lines are read from; None for standard input.
    out : where sentences go; None for standard output.
    """

    def __init__(self, source: int | None = None, out: TextIO | None = None) -> None:
        self._source = source
        self._out = sys.stdout if out is None else out
        self._lines: deque[str | None] = deque()
        self._arrived = asyncio.Event()
        self._wake: tuple[int, int] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._interrupt: object = None
        self._handled = False
        self._thread: threading.Thread | None = None

    # ---- lines --------------------------------------------------------------------------------------

    async def __aenter__(self) -> Plain:
        self._loop = asyncio.get_running_loop()
        source = sys.stdin.fileno() if self._source is None else self._source
        if os.name == "posix":
            self._wake = os.pipe()
        # A daemon: where nothing can wake it, it must not keep the process alive.
        self._thread = threading.Thread(target=self._read, args=(source, self._wake), daemon=True)
        self._thread.start()
        before = signal.getsignal(signal.SIGINT)
        with contextlib.suppress(RuntimeError, ValueError, NotImplementedError):
            self._loop.add_signal_handler(signal.SIGINT, self._interrupted)
            self._interrupt, self._handled = before, True
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._handled:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, self._interrupt)  # type: ignore[arg-type]  # as getsignal gave it
            self._handled = False
        if self._wake is not None and self._thread is not None:
            os.write(self._wake[1], b".")
            self._thread.join()
            for end in self._wake:
                os.close(end)
            self._wake = None

    def _read(self, source: int, wake: tuple[int, int] | None) -> None:
        """Hand lines to the loop until there are no more; runs in a thread of its own."""
        pending = b""
        while True:
            if wake is not None:
                ready, _, _ = select.select([source, wake[0]], [], [])
                if wake[0] in ready:
                    return
            try:
                data = os.read(source, 65536)
            except OSError:
                data = b""
            *lines, pending = (pending + data).split(b"\n")
            if not data and pending:
                lines.append(pending)
            for line in lines:
                self._from_thread(line.decode("utf-8", "replace").rstrip("\r"))
            if not data:
                self._from_thread(None)
                return

    def _from_thread(self, line: str | None) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for it
            self._loop.call_soon_threadsafe(self._arrive, line)

    def _arrive(self, line: str | None) -> None:
        self._lines.append(line)
        self._arrived.set()

    def _interrupted(self) -> None:
        self._lines.clear()  # an interrupt does not wait for what was typed ahead
        self._arrive(None)

    async def _line(self) -> str:
        """The next line; raises _Ended at the end of input."""
        while not self._lines:
            self._arrived.clear()
            await self._arrived.wait()
        line = self._lines[0]
        if line is None:  # it stays, so that whoever asks next is told as well
            raise _Ended
        self._lines.popleft()
        return clean(line).replace("\t", " ")

    def _say(self, *lines: str) -> None:
        for line in lines:
            try:
                print(line, file=self._out, flush=True)
            except UnicodeEncodeError:
                encoding = self._out.encoding or "ascii"
                print(line.encode(encoding, "replace").decode(encoding), file=self._out, flush=True)

    # ---- what a session asks ------------------------------------------------------------------------

    async def choose(self, asked: Asked, place: Place, keep: Keep) -> Decided | Skipped | Stopped:
        try:
            return await _Choosing(self, asked, place, keep).run()
        except _Skips as given_up:
            return Skipped(given_up.reason)
        except _Ended:
            return self._stopped()

    async def speak(self, asked: Asked, place: Place, keep: Keep) -> Said | Skipped | Stopped:
        try:
            return await _Speaking(self, asked, place, keep).run()
        except _Skips as given_up:
            return Skipped(given_up.reason)
        except _Ended:
            return self._stopped()

    def _stopped(self) -> Stopped:
        self._say("Stopped. Everything that you stated is kept.")
        return Stopped()

    async def wait(self, for_what: str, ready: Awaitable[object], place: Place) -> bool:
        task = asyncio.ensure_future(ready)
        began, said = time.monotonic(), False
        try:
            while not task.done():
                if self._lines and (self._lines[0] is None or self._lines[0].strip().lower() in _STOP):
                    self._stopped()
                    return False
                if not said:
                    self._say(f"{one_line(for_what, ASCII).rstrip('. ')}. Please wait. Type q to stop.")
                    said = True
                # A line that says anything else is for whatever is asked next.
                self._arrived.clear()
                arrived = asyncio.ensure_future(self._arrived.wait())
                try:
                    await asyncio.wait({task, arrived}, timeout=STILL_WAITING, return_when=asyncio.FIRST_COMPLETED)
                    if not task.done() and not arrived.done():
                        self._say(f"Still waiting, {number_of(int(time.monotonic() - began), 'second')} so far.")
                finally:
                    arrived.cancel()
            task.result()
            return True
        finally:
            if task is not ready and not task.done():
                task.cancel()

    async def rest(self, place: Place, feedback: Feedback | None) -> bool:
        self._say("", kept_line(place))
        if feedback is not None:
            lines, bands = feedback_lines(feedback, ASCII)
            self._say(*lines)
            if bands:
                self._say("How often you were right, by how sure you were.")
                self._say(*(f"{band}: {count}, {right}." for band, count, right in bands))
        try:
            while True:
                self._say("Press Enter for the next item, or type q to stop.")
                line = (await self._line()).strip().lower()
                if line in _STOP:
                    return False
                if not line:
                    return True
        except _Ended:
            return False


_STOP = ("q", "quit", "stop")


class _Reading:
    """What reading to judge and reading to speak have in common."""

    def __init__(self, front: Plain, asked: Asked, place: Place, keep: Keep) -> None:
        self.front, self.asked, self.place, self.keep = front, asked, place, keep
        self.view = asked.request.view
        self.notes = list(asked.notes)
        self.began = time.monotonic()
        self.shown = 0
        self.reread = 0
        labels = [answer.label for answer in self.view.answers]
        self.order = [label for label in asked.order if label in labels]
        self.order += [label for label in labels if label not in self.order]
        self.say = front._say

    @property
    def elapsed(self) -> float:
        """Seconds since the request was put."""
        return time.monotonic() - self.began

    @property
    def hidden(self) -> bool:
        """Whether the time for reading is over."""
        return self.asked.seconds is not None and self.elapsed >= self.asked.seconds

    def open(self) -> None:
        """Say what the request is about."""
        self.say("", ". ".join(item_line(self.place)) + ". Type ? for help, q to stop.")
        self.question()
        if self.view.material:
            self.say("There is a text that the question is about; type m to read it.")
        if self.view.omitted:
            self.say(f"The {number_of(self.view.omitted, 'oldest turn')} of the transcript cannot be shown.")
        if self.asked.seconds is not None:
            self.say(f"You may read for {clock_time(self.asked.seconds)} minutes.")

    def question(self) -> None:
        """Say the question, the answers, and who argues for what."""
        self._named("Question", self.view.question)
        for label in self.order:
            self._named(f"Answer {one_line(label, ASCII)}", self.view.answer_text(label))
        positions = positions_text(self.view, ASCII)
        if positions:
            self.say(positions)

    def _named(self, name: str, text: str) -> None:
        """Each line of a text behind a name, by which it is known for no announcement of ours."""
        for line in paragraphs(text, ASCII) or ["(nothing)"]:
            self.say(f"{name}: {line.strip()}")

    def turn(self, number: int) -> None:
        """Say a turn."""
        turn = self.view.turns[number]
        self.say("", f"Turn {number + 1} of {len(self.view.turns)}. {_who(turn)}.")
        name = "You" if turn.own else one_line(turn.speaker, ASCII)
        lines = [line.strip() for line in speech_text(turn.text, turn.quotes, ASCII).plain.split("\n")]
        spoken = [line for line in lines if line]
        self.say(*(f"{name}: {line}" for line in spoken or ["(says nothing)"]))
        if turn.own and turn.reasoning.strip():
            self._named("Your reasons, which nobody else sees", turn.reasoning)

    def exhibit(self) -> None:
        """Say what has come of the turns."""
        if self.view.exhibit:
            self.say("", "What has come of it:", *paragraphs(self.view.exhibit, ASCII))

    def command(self, line: str) -> bool:
        """Take a line that is a command everywhere; whether it was one."""
        name, _, rest = line.strip().partition(" ")
        name, rest = name.lower(), rest.strip()
        if name in _STOP and not rest:
            raise _Ended
        if name in ("?", "help"):
            self.say(*self.help())
        elif name == "note":
            if rest:
                self.keep.note(rest)
                self.notes.append(rest)
            self.say("The note is kept." if rest else "Type note and then your note on the same line.")
        elif name == "notes":
            notes = [f"Note {number}: {one_line(note, ASCII)}" for number, note in enumerate(self.notes, 1)]
            self.say(*(notes or ["You have no notes on this item."]))
        elif name == "skip":
            if rest:
                raise _Skips(rest)
            self.say("Type skip and then your reason on the same line.")
        elif name in ("m", "material", "text"):
            self._material()
        elif name in ("i", "info"):
            self.say(*(part_lines(self.view, ASCII) or ["Nothing more is said about your part."]))
        elif name == "question":
            self.question()
        elif name in ("b", "back"):
            self._back(rest)
        else:
            return False
        return True

    def _material(self) -> None:
        if not self.view.material:
            self.say("There is no text that you may see.")
        elif self.hidden:
            self.say("The time for reading is over.")
        else:
            for name, text in self.view.material.items():
                self.say(f"The text named {one_line(name, ASCII)} begins.")
                self.say(*(f"  {line}" for line in paragraphs(text, ASCII)))
                self.say("The text ends.")

    def _back(self, rest: str) -> None:
        if self.hidden:
            self.say("The time for reading is over.")
        elif not self.shown:
            self.say("There is no turn to go back to.")
        else:
            wanted = int(rest) if rest.isdecimal() and len(rest) < 9 else self.reread - 1
            self.reread = min(max(wanted, 1), self.shown)
            self.turn(self.reread - 1)
            self.say(f"That was turn {self.reread} again. Type back for the one before it, or back and a number.")

    def help(self) -> list[str]:
        """What can be typed."""
        return [
            "Type question to hear the question and the answers again.",
            "Type back to read the turn before again, or back and a number for that turn.",
            "Type i for your part and the rules.",
            *(["Type m for the text that the question is about."] if self.view.material and not self.hidden else []),
            "Type note and some words to keep a note for yourself, notes to read your notes.",
            "Type skip and a reason to give the item up.",
            "Type q to stop. Everything that you stated is kept.",
            "Quotations are checked: [verified: ...] stands in the hidden text, [not in the text: ...] does not. "
            "Nothing else that a speaker says has been checked, and no speaker can write square brackets.",
        ]


def _who(turn: VisibleTurn) -> str:
    label = "" if turn.label is None else one_line(turn.label, ASCII)
    if turn.own:
        argues = f" and argue for {label}" if label else ""
        return f"You say this{argues}" + (", which nobody else sees" if turn.private else "")
    argues = f" argues for {label}" if label else " speaks"
    return one_line(turn.speaker, ASCII) + argues + (", in private" if turn.private else "")


class _Choosing(_Reading):
    """A credence after each turn, and a verdict."""

    def __init__(self, front: Plain, asked: Asked, place: Place, keep: Keep) -> None:
        super().__init__(front, asked, place, keep)
        assert isinstance(asked.request, Choose)
        self.request = asked.request
        self.labels = [answer.label for answer in self.view.answers]
        last = stated_last(asked)
        self.credence = Credence(self.order, dict(zip(self.labels, last, strict=True)) if last else None)

    async def run(self) -> Decided:
        """Put the request."""
        self.open()
        points = reading_points(self.asked)
        known = max([min(self.asked.seen, points[0]), *(one.after for one in self.asked.beliefs)], default=0)
        self.shown = min(known, points[0])
        if self.shown:
            self.say(f"You have read the first {number_of(self.shown, 'turn')}; type back to read them again.")
        for point in points:
            if self.hidden:
                break
            since = time.monotonic()
            for number in range(self.shown, point):
                self.turn(number)
            self.shown = point
            self.reread = point + 1
            if point == points[-1]:
                self.exhibit()
                break
            await self._credence()
            if self.hidden:
                break
            self.keep.belief(Belief(point, self.credence.in_order(self.labels), round(time.monotonic() - since, 3)))
        if self.hidden:
            self.say("The time for reading is over. Only your verdict is asked for now.")
        return await self._verdict()

    def _how(self) -> str:
        now = f"Now it is {self.credence.words()}."
        if len(self.order) == 2:
            first, second = self.order
            return f"Type the per cent for {first}; {second} gets the rest. {now} Press Enter to keep that."
        return (
            f"Type the per cent for each, in the order {', '.join(self.order)}; or a label and its per cent, and the "
            f"others change in proportion. {now} Press Enter to keep that."
        )

    async def _credence(self) -> None:
        self.say("", f"{likely_words(self.request).capitalize()} now? {self._how()}")
        while True:
            line = await self.front._line()
            if not line.strip():
                self.say(f"You give {self.credence.words()}.")
                return
            if self._number(line):
                self.say(f"You give {self.credence.words()}.")
                return
            if not self.command(line):
                self.say("That is no share and no command. " + self._how())
            elif self.hidden:
                return

    def _number(self, line: str) -> bool:
        """Take shares that were typed; whether they were any."""
        words = line.replace("%", " ").replace(",", " ").split()
        try:
            if len(words) == 2 and words[0].upper() in self.order and len(self.order) > 1:
                share, place = float(words[1]), self.order.index(words[0].upper())
                if not 0 <= share <= 100:
                    return False
                self.credence.choose(place)
                self.credence.set(share)
                self.credence.choose(0)
                return True
            shares = [float(word) for word in words]
        except ValueError:
            return False
        if not all(0 <= share <= 100 for share in shares):
            return False
        if len(shares) == 1 and len(self.order) == 2:
            shares = [shares[0], 100 - shares[0]]
        if len(shares) != len(self.order) or abs(sum(shares) - 100) > 0.5:
            return False
        whole = sum(shares)
        self.credence.shares = [100 * share / whole for share in shares]
        return True

    async def _verdict(self) -> Decided:
        self.say("", f"{verdict_words(self.request)} {self._how()}")
        stakes, reason, sure = self.request.stakes, "", False
        decides = stakes is not None and stakes.left > 0
        while True:
            line = (await self.front._line()).strip()
            name, _, rest = line.partition(" ")
            stops: bool | None = False if decides else None
            if sure and (not line or (name.lower() == "end" and not rest and decides)):
                return Decided(self.credence.probabilities, reason, round(self.elapsed, 3), True if line else stops)
            if sure and name.lower() == "reason":
                reason = rest
            elif line and not self._number(line):
                if not self.command(line):
                    self.say("That is no share and no command. " + self._how())
                continue
            sure = True
            self.say(f"You give {self.credence.words()}.")
            if stakes is not None:
                self.say(*stakes_lines(stakes, self.credence, ASCII))
            if reason:
                self.say(f"Your reason: {one_line(reason, ASCII)}")
            others = " The others will read it." if self.request.explains else ""
            keeps = "to keep it and go on, type end to end with this verdict" if decides else "to keep it"
            self.say(
                f"Press Enter {keeps}, type another share to change it, or reason and some words to give a reason."
                + others
            )

    def help(self) -> list[str]:
        return ["Type shares from 0 to 100 when you are asked how likely the answers are.", *super().help()]


class _Speaking(_Reading):
    """A speech, typed in lines."""

    def __init__(self, front: Plain, asked: Asked, place: Place, keep: Keep) -> None:
        super().__init__(front, asked, place, keep)
        assert isinstance(asked.request, Speak)
        self.request = asked.request
        start = asked.draft or asked.request.rejected
        self.lines = clean(start).split("\n") if start else []

    async def run(self) -> Said:
        """Put the request."""
        self.open()
        seen = min(self.asked.seen, len(self.view.turns))
        if seen:
            self.say(f"You have read the first {number_of(seen, 'turn')}; type back to read them again.")
        for number in range(seen, len(self.view.turns)):
            self.turn(number)
        self.shown = len(self.view.turns)
        self.reread = self.shown + 1
        self.exhibit()
        self.say("")
        if self.request.rejected and self.request.fault:
            self.say(
                f"Your last {what_is_written(self.request)} was not accepted: {one_line(self.request.fault, ASCII)}."
            )
        task = one_line(self.view.task, ASCII) or f"Speak now, as {one_line(self.view.speaker, ASCII)}."
        self.say(" ".join(part for part in (task, limits_line(self.request.limits)) if part))
        self.say("Type write to begin, or ? for help.")
        if self.lines:
            self.say("There is a draft; type show to read it.")
        while True:
            line = await self.front._line()
            word = line.strip().lower()
            if word == "write":
                speech = await self._write()
                if speech is not None:
                    return speech
            elif word == "show":
                self._show()
            elif not self.command(line):
                self.say(f"Type write to begin with your {what_is_written(self.request)}, or ? for help.")

    @property
    def text(self) -> str:
        """What is written so far."""
        return "\n".join(self.lines)

    def _show(self) -> None:
        self.say(*(f"Line {number}: {one_line(line, ASCII)}" for number, line in enumerate(self.lines, 1)))
        self.say(f"So far: {written_line(self.request, self.text, self.view.material)}.")

    async def _write(self) -> Said | None:
        """Take lines until a full stop by itself; None where the person goes back to reading."""
        self.say(
            f"Write your {what_is_written(self.request)}, line by line. A full stop alone on a line ends it. "
            ".show reads it back, .undo takes the last line off, .read goes back to reading, .q stops. "
            "Words between <quote> and </quote> are a quotation, which is checked."
        )
        while True:
            line = await self.front._line()
            word = line.strip().lower()
            if word == ".":
                said = await self._finish()
                if said is not None:
                    return said
            elif word == ".q":
                raise _Ended
            elif word == ".show":
                self._show()
            elif word == ".undo":
                self.lines = self.lines[:-1]
                self.keep.draft(self.text)
                self.say("The last line is taken off.")
            elif word == ".read":
                self.say("You are reading again. Type write to go on writing.")
                return None
            else:
                self.lines.append(line)
                self.keep.draft(self.text)

    async def _finish(self) -> Said | None:
        fault = self.request.fault_of(self.text.strip())
        if not inert(self.text, ASCII).strip():
            self.say("There is nothing written yet.")
            return None
        if fault:
            self.say(f"It cannot be given like this: {fault}. Go on writing, or take lines off with .undo.")
            return None
        self._show()
        self.say("Is this what you want to say? Press Enter to give it, or type back to go on writing.")
        line = await self.front._line()
        if not line.strip():
            return Said(self.text.strip(), round(self.elapsed, 3))
        if line.strip().lower() in (".q", *_STOP):
            raise _Ended
        self.say("Go on writing.")
        return None

    def help(self) -> list[str]:
        return ["Type write to write your speech, show to read back what you wrote.", *super().help()]
