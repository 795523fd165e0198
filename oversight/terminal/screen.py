"""The full-screen way of showing a session, in the terminal's alternate screen.

Keys, a changed size of the window and the passing of time all come through the event loop, so that what machines
prepare meanwhile goes on in the same loop while a person reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable

from rich.console import Console
from rich.text import Text

from .front import Asked, Decided, Feedback, Front, Keep, Place, Said, Skipped, Stopped
from .keys import Decoder, Event, Key, Tick
from .pages import Choosing, Frame, Page, Resting, Speaking, Waiting
from .transcript_text import ASCII, UNICODE, Signs

__all__ = ["Screen", "signs_for"]

ESCAPE_SECONDS = 0.1
"""How long the rest of an escape sequence may take; over a slow line its bytes come apart."""

PASTE_SECONDS = 2.0
"""How long a paste may pause; a terminal that never ends it must not swallow keys for ever."""

# Alternate screen, bracketed paste, no wrapping at the right edge (what a terminal holds for wider than we do is
# cut off then, and does not push the next row down), cursor hidden.
_ENTER = "\x1b[?1049h\x1b[?2004h\x1b[?7l\x1b[?25l\x1b[2J\x1b[H"
_LEAVE = "\x1b[0m\x1b[?25h\x1b[?7h\x1b[?2004l\x1b[?1049l"


def signs_for(encoding: str | None, terminal: str) -> Signs:
    """Signs that the terminal can show: those of Unicode, unless its encoding or its font holds no others than ASCII's.

    ``terminal`` is the value of TERM; the fonts of the Linux console lack the signs of quotations.
    """
    unicode = (encoding or "").lower().replace("-", "").replace("_", "") in ("utf8", "utf16", "utf32", "cp65001")
    return UNICODE if unicode and terminal != "linux" else ASCII


class Screen(Front):
    """A person at a terminal that can be drawn on; needs POSIX."""

    def __init__(self) -> None:
        self._input, self._output = sys.stdin.fileno(), sys.stdout.fileno()
        self._encoding = sys.stdout.encoding or "ascii"
        self._signs = signs_for(self._encoding, os.environ.get("TERM", ""))
        self._console = Console(file=sys.stdout, force_terminal=True, highlight=False, legacy_windows=False)
        self._decoder = Decoder()
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._page: Page | None = None
        self._drawn: list[str] = []
        self._size = (0, 0)
        self._before: list[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._handlers: dict[int, object] = {}

    # ---- the terminal -------------------------------------------------------------------------------

    async def __aenter__(self) -> Screen:
        import termios
        import tty

        loop = asyncio.get_running_loop()
        self._before = termios.tcgetattr(self._input)
        try:
            tty.setraw(self._input, termios.TCSADRAIN)
            self._write(_ENTER)
            loop.add_reader(self._input, self._read)
            for number, action in (
                (signal.SIGWINCH, self._resized),
                (signal.SIGCONT, self._continued),
                (signal.SIGINT, self._interrupted),
                (signal.SIGTERM, self._interrupted),
                (signal.SIGHUP, self._interrupted),
            ):
                self._handle(loop, number, action)
        except BaseException:
            self._restore()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._restore()

    def _handle(self, loop: asyncio.AbstractEventLoop, number: int, action: Callable[[], None]) -> None:
        before = signal.getsignal(number)
        try:
            loop.add_signal_handler(number, action)
        except (RuntimeError, ValueError):  # not the main thread: a resize is then seen at the next key
            return
        self._handlers[number] = before

    def _restore(self) -> None:
        import termios

        if self._before is None:
            return
        before, self._before = self._before, None
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        loop.remove_reader(self._input)
        for number, handler in self._handlers.items():
            loop.remove_signal_handler(number)
            if handler is not None:
                signal.signal(number, handler)  # type: ignore[arg-type]  # as getsignal gave it
        self._handlers.clear()
        # A terminal that is gone cannot be restored, and needs not be.
        with contextlib.suppress(OSError):
            self._write(_LEAVE)
        with contextlib.suppress(OSError, termios.error):
            # What was typed and not read must not reach the shell as a command.
            termios.tcsetattr(self._input, termios.TCSAFLUSH, before)  # type: ignore[arg-type]  # as tcgetattr gave it
        self._drawn = []

    def _write(self, text: str) -> None:
        data = text.encode(self._encoding, "replace")
        while data:
            try:
                data = data[os.write(self._output, data) :]
            except BlockingIOError:
                select.select([], [self._output], [], 1.0)

    def _read(self) -> None:
        """Take what the terminal sent; called by the loop."""
        try:
            data = os.read(self._input, 65536)
        except BlockingIOError:
            return
        except OSError:  # the terminal is gone
            data = b""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        if not data:
            loop.remove_reader(self._input)
            self._events.put_nowait(Key("ctrl-c"))
            return
        for event in self._decoder.feed(data, typing=self._page is not None and self._page.typing):
            self._events.put_nowait(event)
        if self._decoder.waiting:
            self._timer = loop.call_later(PASTE_SECONDS if self._decoder.pasting else ESCAPE_SECONDS, self._flush)

    def _flush(self) -> None:
        self._timer = None
        for event in self._decoder.flush():
            self._events.put_nowait(event)

    def _resized(self) -> None:
        self._events.put_nowait(None)

    def _continued(self) -> None:
        """Take the terminal again after the process was stopped from outside."""
        import termios
        import tty

        with contextlib.suppress(OSError, termios.error):
            tty.setraw(self._input, termios.TCSADRAIN)
            self._write(_ENTER)
        self._drawn = []
        self._events.put_nowait(None)

    def _interrupted(self) -> None:
        self._events.put_nowait(Key("ctrl-c"))

    # ---- drawing ------------------------------------------------------------------------------------

    def _draw(self, page: Page) -> None:
        try:
            width, height = os.get_terminal_size(self._output)
        except OSError:
            width, height = shutil.get_terminal_size()
        width, height = width or 80, height or 24
        out: list[str] = ["\x1b[?25l"]
        if (width, height) != self._size or not self._drawn:
            self._size, self._drawn = (width, height), []
            out.append("\x1b[0m\x1b[2J")
        frame = page.frame(width, height)
        rows = self._rendered(frame)
        rows += [""] * (height - len(rows))
        for number, row in enumerate(rows):
            if number >= len(self._drawn) or self._drawn[number] != row:
                out.append(f"\x1b[{number + 1};1H\x1b[0m\x1b[K{row}")
        self._drawn = rows
        if frame.cursor is not None:
            out.append(f"\x1b[{frame.cursor[0] + 1};{frame.cursor[1] + 1}H\x1b[?25h")
        self._write("".join(out))

    def _rendered(self, frame: Frame) -> list[str]:
        """The rows with the terminal's codes for their styles."""
        with self._console.capture() as captured:
            self._console.print(Text("\n").join(frame.rows), soft_wrap=True, end="")
        return captured.get().split("\n")

    # ---- pages --------------------------------------------------------------------------------------

    async def _next(self, seconds: float | None) -> Event | None:
        """The next thing that happens; a tick when nothing does for so long; None for a changed size."""
        try:
            return await asyncio.wait_for(self._events.get(), seconds)
        except TimeoutError:
            return Tick()

    def _open(self, page: Page) -> None:
        """Begin a page with what was typed before it forgotten: nobody answers what is not yet shown."""
        kept = []
        while not self._events.empty():
            event = self._events.get_nowait()
            if event == Key("ctrl-c"):
                kept.append(event)
        for event in kept:
            self._events.put_nowait(event)
        self._page = page

    def _close(self, page: Page) -> None:
        self._page = None
        page.close()

    async def _run(self, page: Page) -> None:
        self._open(page)
        try:
            while not page.over:
                self._draw(page)
                event = await self._next(1.0 if page.ticks else None)
                if event is not None:
                    page.press(event)
                while not page.over and not self._events.empty():  # drawn once for keys that came together
                    if (event := self._events.get_nowait()) is not None:
                        page.press(event)
        finally:
            self._close(page)

    async def choose(self, asked: Asked, place: Place, keep: Keep) -> Decided | Skipped | Stopped:
        page = Choosing(asked, place, keep, self._signs, time.monotonic)
        await self._run(page)
        return page.outcome()

    async def speak(self, asked: Asked, place: Place, keep: Keep) -> Said | Skipped | Stopped:
        page = Speaking(asked, place, keep, self._signs, time.monotonic)
        await self._run(page)
        return page.outcome()

    async def wait(self, for_what: str, ready: Awaitable[object], place: Place) -> bool:
        task = asyncio.ensure_future(ready)
        page = Waiting(for_what, place, self._signs, time.monotonic)
        self._open(page)
        try:
            while not task.done() and not page.over:
                self._draw(page)
                event = asyncio.ensure_future(self._events.get())
                try:
                    await asyncio.wait({task, event}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
                    if event.done() and (pressed := event.result()) is not None:
                        page.press(pressed)
                finally:
                    event.cancel()
        finally:
            self._close(page)
            if task is not ready and not task.done():
                task.cancel()
        if page.over:
            return False
        task.result()
        return True

    async def rest(self, place: Place, feedback: Feedback | None) -> bool:
        page = Resting(place, feedback, self._signs, time.monotonic)
        await self._run(page)
        return page.goes_on
