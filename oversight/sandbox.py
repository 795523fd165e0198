"""Runs a function that nobody vouches for, and gives back what it returned as plain values.

The function runs in a process of its own, which never learns what is expected of it: values are compared here, in the
parent.  So whatever the function does to its own process, to printing or to equality, it can say nothing that it could
not have returned.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import ConfigurationError

__all__ = ["Outcome", "run_function"]

NOT_STARTED = "no process with limits could be started for a program"
LONGEST_START = 60.0  # seconds until the interpreter has started, on however busy a machine
LONGEST_REPLY = 1_000_000  # bytes that all values of one run may take, junk included

# Reads what is to run, gives away what rights it has, and only then loads the source.  The file descriptor of the
# replies is kept by number: the source is in the same process and can find it, see run_function.
_CHILD = r"""
import sys, os, json, resource
import bisect, collections, copy, dataclasses, datetime, decimal, enum, fractions, functools, heapq, itertools
import math, operator, random, re, statistics, string, typing
work = json.loads(sys.stdin.buffer.read())
replies = os.dup(1)
nothing = os.open(os.devnull, os.O_RDWR)
for number in (0, 1, 2):
    os.dup2(nothing, number)
os.close(nothing)
if os.getuid() == 0:  # limits do not bind root; an own user's do, and they count nobody else's processes
    for user in (work["user"], 65534):
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            break
        except OSError:  # a container may know few users
            pass
    if os.getuid() == 0:
        os._exit(1)
megabytes, seconds = work["megabytes"] * 2**20, int(work["seconds"]) + 1
for limit, most in (
    ("AS", megabytes), ("DATA", megabytes), ("CPU", seconds), ("FSIZE", 0), ("CORE", 0), ("NPROC", 0),
    ("NOFILE", replies + 1),  # no file and no socket can be opened from here on
):
    if hasattr(resource, "RLIMIT_" + limit):
        try:
            resource.setrlimit(getattr(resource, "RLIMIT_" + limit), (most, most))
        except (OSError, ValueError):
            if limit not in ("AS", "DATA"):  # these macOS does not have, though it names them
                raise
dumps, write = json.dumps, os.write

def reply(number, kind, value):
    text = dumps([number, kind, value], allow_nan=False, sort_keys=True)
    rest = ("\n" + work["nonce"] + " " + text + "\n").encode()
    while rest:
        rest = rest[write(replies, rest):]

def name_of(error):
    return type.__dict__["__name__"].__get__(type(error))

write(replies, ("\n" + work["nonce"] + " ready\n").encode())
namespace = {"__name__": "program", "__builtins__": __builtins__}
try:
    exec(compile(work["source"], "program", "exec"), namespace)
    function = namespace[work["name"]]
except BaseException as error:
    reply(-1, "raised", name_of(error))
    os._exit(0)
for number, arguments in enumerate(work["inputs"]):
    try:
        value = function(*arguments)
    except BaseException as error:
        reply(number, "raised", name_of(error))
        continue
    try:
        reply(number, "returned", value)
    except BaseException as error:
        reply(number, "unwritable", name_of(error))
os._exit(0)
"""


@dataclass(frozen=True)
class Outcome:
    """What a function did with one input.

    Parameters
    ----------
    value : what it returned, as JSON values (a tuple has become a list); None if it returned nothing that can be read.
    error : why there is no value, in a few words; empty where there is one.
    """

    value: Any = None
    error: str = ""

    def equals(self, expected: Any) -> bool:
        """Whether it returned this JSON value, of the same type: ``1``, ``1.0`` and ``True`` are three values."""
        return not self.error and _canonical(self.value) == _canonical(expected)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def run_function(
    source: str, name: str, inputs: Sequence[Sequence[Any]], *, seconds: float = 2.0, megabytes: int = 256
) -> list[Outcome]:
    """Load a Python source in a process of its own and call one of its functions on each input, in order.

    The process runs ``python -I -S`` without environment, in a fresh temporary folder, with its output thrown away.
    It cannot open files or connections, write to files, start processes or threads, or use more memory or time than it
    is given; some modules of the standard library are loaded before, and no others can be imported.  Started by root,
    it goes on as a user without rights or other processes.  What it returns comes back as JSON on a channel of its own,
    in frames with a number that is new in every run.  The source is in the same process, and could find that number;
    but it is told no expected value, so a forged frame is worth no more than a return value.

    Limits are those of POSIX.  On Linux all of them hold; macOS does not limit memory or threads.  This keeps careless
    and cheating programs from harming the run or its truth.  **It is no security boundary**: system calls are not
    filtered, so it does not hold against someone with an exploit of the kernel or of the interpreter.  Calls that need
    no open file remain: unless root starts it, the program can signal processes and remove files of the user who does.
    And a program can look at all inputs of its run.

    Parameters
    ----------
    source : the program's text.
    name : the function in it.
    inputs : for each call its positional arguments, as JSON values.
    seconds : wall-clock time for loading the source and all calls together, from when the process is ready.
    megabytes : address space of the process, of which the interpreter itself takes about 30.

    Returns
    -------
    list of Outcome
        One an input, in order.  After the process has ended or was stopped, the inputs left have errors.

    Raises
    ------
    ConfigurationError
        where the operating system has no such limits, or the process could not be brought under them.

    Examples
    --------
    >>> [outcome.value for outcome in run_function("def double(x): return 2 * x", "double", [[1], ["ab"]])]
    [2, 'abab']
    """
    if os.name != "posix":
        raise ConfigurationError("programs are run under limits that only Linux and macOS have: use one of them")
    nonce = secrets.token_hex(16)
    work = {
        "source": source,
        "name": name,
        "inputs": [list(arguments) for arguments in inputs],
        "nonce": nonce,
        "seconds": seconds,
        "megabytes": megabytes,
        "user": 100_000 + secrets.randbelow(1_000_000_000),
    }
    with tempfile.TemporaryDirectory(prefix="oversight-") as folder, tempfile.TemporaryFile() as handed:
        handed.write(json.dumps(work).encode("utf-8", "surrogatepass"))
        handed.seek(0)
        try:
            started = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _CHILD],
                stdin=handed,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env={},
                start_new_session=True,
            )
        except OSError as error:
            raise ConfigurationError(f"{NOT_STARTED}: {error}") from None
        with started as process:
            try:
                received, ended = _received(process, nonce, seconds)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    return _outcomes(received, nonce, len(inputs), ended)


def _received(process: subprocess.Popen[bytes], nonce: str, seconds: float) -> tuple[bytes, str]:
    """What came on the channel, and how it ended; raises ConfigurationError where the source was never loaded."""
    assert process.stdout is not None
    ready = f"\n{nonce} ready\n".encode()
    received, started = b"", False
    deadline = time.monotonic() + LONGEST_START
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                continue
            part = os.read(process.stdout.fileno(), 65536)
            received += part
            if not started and ready in received:
                started, deadline = True, time.monotonic() + seconds
            if not part:
                break
            if len(received) > LONGEST_REPLY:
                return received, f"stopped: more than {LONGEST_REPLY:,} bytes of values"
        else:
            if started:
                return received, f"stopped: more than {seconds:g} s"
    if not started:  # the fault is not the program's, so there is nothing to say of it
        raise ConfigurationError(f"{NOT_STARTED}: see what oversight.sandbox needs")
    return received, "the process ended before it returned"


def _outcomes(received: bytes, nonce: str, count: int, ended: str) -> list[Outcome]:
    """The outcomes in what came, the first one an input; what is no frame is passed over."""
    found: dict[int, Outcome] = {}
    for line in received.split(b"\n")[:-1]:  # the last is empty, or cut off
        if not line.startswith(nonce.encode() + b" "):
            continue
        try:
            number, kind, value = json.loads(line[len(nonce) + 1 :])
            outcome = _outcome(kind, value)
        except (ValueError, TypeError, RecursionError):
            continue
        if isinstance(number, int):
            found.setdefault(number, outcome)
    everywhere = found.get(-1)
    return [found.get(number) or everywhere or Outcome(error=ended) for number in range(count)]


def _outcome(kind: str, value: Any) -> Outcome:
    if kind == "returned":
        _canonical(value)  # what cannot be compared (a NaN, forged) is no value
        return Outcome(value)
    name = re.sub(r"\W", "", str(value))[:60]
    return Outcome(error=f"raised {name}" if kind == "raised" else f"returned what is no JSON value ({name})")
