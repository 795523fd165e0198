"""A pseudo-terminal with a program in it: keys are sent, and pyte reads what stands on the screen."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pexpect
import pyte

ROOT = Path(__file__).resolve().parent.parent


class Terminal:
    """A program in a pseudo-terminal of some size, and what stands on its screen."""

    def __init__(self, *words, width=80, height=24, **environment):
        self.screen = pyte.Screen(width, height)
        self.stream = pyte.ByteStream(self.screen)
        self.sent = b""
        known = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLORTERM", "LANG")}
        self.child = pexpect.spawn(
            words[0],
            [str(word) for word in words[1:]],
            dimensions=(height, width),
            timeout=20,
            env={**known, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT), **environment},
        )
        self.child.delaybeforesend = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.close(force=True)

    @property
    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display)

    def read(self, seconds=0.05):
        """Take in what has been drawn; False at the end."""
        try:
            data = self.child.read_nonblocking(65536, timeout=seconds)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.sent += data
        self.stream.feed(data)
        return True

    def until(self, words, seconds=20):
        """Wait for words to stand on the screen."""
        end = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < end, f"{words!r} did not come:\n{self.text}"
            if not self.read() and words not in self.text:
                raise AssertionError(f"{words!r} did not come before the end:\n{self.text}")
        return self.text

    def settle(self, seconds=0.15):
        """Take in what is drawn until nothing has come for so long."""
        before = None
        while before != len(self.sent):
            before = len(self.sent)
            if not self.read(seconds):
                break
        return self.text

    def change(self, keys, seconds=20):
        """Send keys, and wait until the screen is another and rests."""
        before, end = self.text, time.monotonic() + seconds
        self.child.send(keys)
        while self.text == before:
            assert time.monotonic() < end, f"{keys!r} changed nothing:\n{self.text}"
            if not self.read():
                break
        return self.settle()

    def press(self, keys, words):
        """Send keys and wait for words."""
        self.child.send(keys)
        return self.until(words)

    def end(self, seconds=20):
        """Wait for the process to end; all that it sent."""
        end = time.monotonic() + seconds
        while self.read():
            assert time.monotonic() < end, f"no end:\n{self.text}"
        return self.sent.decode()


def given_back(sent):
    """Whether all that was switched on was switched off, in the end."""
    return all(
        sent.rindex(off) > sent.rindex(on)
        for on, off in [
            ("\x1b[?1049h", "\x1b[?1049l"),
            ("\x1b[?2004h", "\x1b[?2004l"),
            ("\x1b[?25l", "\x1b[?25h"),
            ("\x1b[?7l", "\x1b[?7h"),
        ]
    )
