"""The journal: a call is stored before its result is used, made once, and found again."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from oversight.errors import RunDirectoryError, TurnFailed
from oversight.runs.durable import GroupCommit
from oversight.runs.journal import Journal


def with_journal(path, work):
    """What ``work`` gives, with a journal that is closed after it."""

    async def main():
        journal = Journal(path)
        try:
            return await work(journal)
        finally:
            await journal.close()

    return asyncio.run(main())


def producing(value, made, delay=0.0):
    """A call that gives ``value`` and notes in ``made`` that it was made."""

    async def produce():
        made.append(value)
        await asyncio.sleep(delay)
        return {"value": value, "dollars": 0.25}

    return produce


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from oversight.runs.journal import Journal

async def main():
    journal = Journal(Path(sys.argv[1]))

    async def produce():
        return {"value": "paid"}

    await asyncio.gather(*(journal.once(f"key {number}", "model", produce) for number in range(20)))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_a_result_is_on_disk_before_it_is_used(tmp_path):
    """Killed right after the results were given, a process has lost none of them."""
    path = tmp_path / "journal.sqlite"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL

    async def work(journal):
        return [journal.get(f"key {number}") for number in range(20)]

    assert with_journal(path, work) == [{"value": "paid"}] * 20


def test_a_result_is_not_given_before_it_is_stored(tmp_path):
    """While another connection holds the file, the call is made but nobody gets its result."""
    path = tmp_path / "journal.sqlite"

    async def work(journal):
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        made: list[str] = []
        waiter = asyncio.ensure_future(journal.once("key", "model", producing("v", made)))
        await asyncio.sleep(0.2)
        before = (list(made), waiter.done(), journal.get("key"))
        blocker.execute("ROLLBACK")
        blocker.close()
        return before, await waiter

    before, after = with_journal(path, work)
    assert before == (["v"], False, None)
    assert after["value"] == "v"


def test_calls_under_way_are_shared(tmp_path):
    """Many who ask for the same call at the same time, and later, get one call's result."""
    made: list[str] = []

    async def work(journal):
        first = await asyncio.gather(*(journal.once("same", "model", producing("v", made, 0.05)) for _ in range(50)))
        later = await journal.once("same", "model", producing("other", made))
        await journal.once("different", "model", producing("w", made))
        return [*first, later], journal.made, journal.served

    values, calls, served = with_journal(tmp_path / "j", work)
    assert {value["value"] for value in values} == {"v"}
    assert made == ["v", "w"]
    assert (calls, served) == (2, 50)


def test_a_failed_call_is_everybodys_error_and_is_not_stored(tmp_path):
    """Every waiter gets the error; the next to ask makes the call again."""
    tries: list[str] = []

    async def failing():
        tries.append("failed")
        await asyncio.sleep(0.02)
        raise TurnFailed("no reply")

    async def work(journal):
        results = await asyncio.gather(
            *(journal.once("key", "model", failing) for _ in range(5)), return_exceptions=True
        )
        stored = journal.get("key")
        again = await journal.once("key", "model", producing("v", tries))
        return results, stored, again

    results, stored, again = with_journal(tmp_path / "j", work)
    assert [str(result) for result in results] == ["no reply"] * 5
    assert all(isinstance(result, TurnFailed) for result in results)
    assert stored is None
    assert again["value"] == "v"
    assert tries == ["failed", "v"]


def test_a_cancelled_waiter_leaves_the_call_to_the_others(tmp_path):
    """The one who asked first goes away; the call is finished, once, for the one who stays."""
    made: list[str] = []

    async def work(journal):
        leaving = asyncio.ensure_future(journal.once("key", "model", producing("v", made, 0.1)))
        staying = asyncio.ensure_future(journal.once("key", "model", producing("v", made, 0.1)))
        await asyncio.sleep(0.02)
        leaving.cancel()
        await asyncio.wait([leaving])
        return leaving.cancelled(), await staying

    gone, value = with_journal(tmp_path / "j", work)
    assert gone
    assert value["value"] == "v"
    assert made == ["v"]


def test_a_call_that_nobody_waits_for_any_more_is_kept(tmp_path):
    """Closing waits for calls under way, since they are paid for, and stores them."""
    path, made = tmp_path / "j", []

    async def work(journal):
        leaving = asyncio.ensure_future(journal.once("key", "model", producing("v", made, 0.1)))
        await asyncio.sleep(0.02)
        leaving.cancel()

    with_journal(path, work)

    async def look(journal):
        return journal.get("key"), journal.spent()

    assert with_journal(path, look) == ({"value": "v", "dollars": 0.25}, 0.25)


def test_values_come_back_as_they_were(tmp_path):
    """Reopened, the file gives the same JSON values, text of any script included."""
    path = tmp_path / "j"
    value = {"text": "naïve 象 \x1b[31m '); DROP TABLE calls;--", "list": [1, 2.5, None, True], "dollars": None}

    async def store(journal):
        async def produce():
            return value

        await journal.once("key", "a'b\"c", produce)
        return journal.get("none")

    assert with_journal(path, store) is None

    async def read(journal):
        async def forbidden():
            raise AssertionError("the call was made again")

        return await journal.once("key", "model", forbidden)

    assert with_journal(path, read) == value


def test_money_spent_is_the_sum_of_what_is_stored(tmp_path):
    """Served calls cost nothing more, unknown prices count as nothing, and the sum outlives the process."""
    path = tmp_path / "j"

    async def unknown():
        return {"value": "u", "dollars": None}

    async def work(journal):
        assert journal.spent() == 0.0
        for key in ("a", "b", "a", "b"):
            await journal.once(key, "model", producing("v", []))
        await journal.once("c", "model", unknown)
        return journal.spent()

    assert with_journal(path, work) == 0.5

    async def look(journal):
        return journal.spent()

    assert with_journal(path, look) == 0.5


def test_nan_is_refused_and_not_stored(tmp_path):
    """A value that is no JSON is the caller's error."""

    async def work(journal):
        async def produce():
            return {"value": float("nan")}

        with pytest.raises(ValueError, match="JSON compliant"):
            await journal.once("key", "model", produce)
        return journal.get("key")

    assert with_journal(tmp_path / "j", work) is None


@pytest.mark.parametrize("what", ["text", "other", "folder"])
def test_a_file_that_is_no_journal_is_one_line(tmp_path, what):
    """A text file, another database and a folder are refused by name and left as they are."""
    path = tmp_path / "journal.sqlite"
    if what == "text":
        path.write_bytes(b"this is not a database, whatever its name says\n" * 30)
    elif what == "other":
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE calls (something TEXT)")
        connection.commit()
        connection.close()
    else:
        path.mkdir()
    with pytest.raises(RunDirectoryError) as caught:
        Journal(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    if what == "text":
        assert path.read_bytes().startswith(b"this is not a database")


def test_a_disk_that_refuses_is_one_line(tmp_path):
    """A write that fails reaches the caller as an error of the run directory, and nothing hangs."""
    path = tmp_path / "j"

    async def work(journal):
        await journal.once("before", "model", producing("v", []))
        journal._store._writing.execute("PRAGMA query_only=ON")
        with pytest.raises(RunDirectoryError, match="cannot be written") as caught:
            await journal.once("key", "model", producing("v", []))
        return str(caught.value), journal.get("key")

    message, stored = with_journal(path, work)
    assert "\n" not in message
    assert stored is None


def test_writes_that_wait_are_grouped_and_kept_in_order():
    """While one commit is under way the next items wait together, and every one is written."""
    batches: list[list[int]] = []

    def write(items):
        batches.append(list(items))
        time.sleep(0.02)
        return items

    async def main():
        writer = GroupCommit(write, "test")
        assert await asyncio.gather(*(writer.put(number) for number in range(200))) == list(range(200))
        writer.close()

    asyncio.run(main())
    assert [number for batch in batches for number in batch] == list(range(200))
    assert len(batches) < 50


def test_a_failed_write_is_the_error_of_its_waiters_alone():
    """The writer goes on after a write that failed."""

    def write(items):
        if "bad" in items:
            raise OSError("disk full")
        return items

    async def main():
        writer = GroupCommit(write, "test")
        with pytest.raises(OSError, match="disk full"):
            await writer.put("bad")
        await writer.put("good")
        writer.close()

    asyncio.run(main())


# ---- any order of calls, failures and crashes -----------------------------------------------------------

KEYS = st.sampled_from("abcde")


class JournalMachine(RuleBasedStateMachine):
    """The journal beside a dictionary that does what it promises."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.stored, self.refused, self.made = {}, set(), Counter()
        self.retry = False
        self.abandoned = []
        self.open()

    def open(self):
        self.journal = Journal(Path(self.folder.name) / "journal.sqlite", retry_refused=self.retry)

    def produce(self, key, failure):
        async def made():
            self.made[key] += 1
            await asyncio.sleep(0)
            value = {"number": self.made[key], "dollars": 0.25}
            return {**value, "failure": "no reply"} if failure else value

        return made

    def owed(self, key):
        return key not in self.stored or (self.retry and key in self.refused)

    @rule(key=KEYS, failure=st.booleans(), askers=st.integers(1, 3))
    def call(self, key, failure, askers):
        before, owed = self.made[key], self.owed(key)

        async def ask():
            return await asyncio.gather(
                *(self.journal.once(key, "m", self.produce(key, failure)) for _ in range(askers))
            )

        found = self.loop.run_until_complete(ask())
        assert self.made[key] == before + owed
        if owed:
            self.stored[key] = {
                "number": self.made[key],
                "dollars": 0.25,
                **({"failure": "no reply"} if failure else {}),
            }
            self.refused.discard(key)
            if failure:
                self.refused.add(key)
        assert found == [self.stored[key]] * askers

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def refuse(self, data):
        key = data.draw(st.sampled_from(sorted(self.stored)))
        self.loop.run_until_complete(self.journal.refuse(key))
        self.refused.add(key)

    @rule(key=KEYS)
    def crash_in_a_call(self, key):
        """The process ends while a call is in flight: what was not stored is owed again, and nothing else."""

        async def for_ever():
            await asyncio.Event().wait()
            raise AssertionError

        async def begin():
            asking = asyncio.ensure_future(self.journal.once(key, "m", for_ever))
            await asyncio.sleep(0.001)
            return asking

        self.abandoned.append((self.loop.run_until_complete(begin()), self.journal))
        self.open()

    @rule(retry=st.booleans())
    def start_again(self, retry):
        self.loop.run_until_complete(self.journal.close())
        self.retry = retry
        self.open()

    @invariant()
    def what_is_stored_is_found(self):
        for key, value in self.stored.items():
            assert self.journal.get(key) == (None if self.owed(key) else value)
        assert self.journal.spent() == 0.25 * sum(self.made.values())

    def teardown(self):
        async def end():
            for asking, _ in self.abandoned:
                asking.cancel()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            for journal in [self.journal, *(one for _, one in self.abandoned)]:
                await journal.close()

        self.loop.run_until_complete(end())
        self.loop.close()
        self.folder.cleanup()


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
