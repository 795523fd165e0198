"""The journal: a call is stored before its result is used, made once, and found again."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import itertools
import json
import pickle
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
from oversight.runs.journal import Journal, JournalAddress, read_spending
from oversight.runs.spending import Spend

_specification = importlib.util.spec_from_file_location(
    "oversight_test_postgresql_journal", Path(__file__).with_name("postgresql.py")
)
postgresql = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(postgresql)

postgresql_server = postgresql.postgresql_server
numbers = itertools.count()


@pytest.fixture(scope="module")
def shared_database(postgresql_server):
    """One database, in which every test has journals of its own."""
    return postgresql_server.make_place()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Where a journal is to be kept: a file, then a database."""
    if request.param == "sqlite":
        return tmp_path / "journal.sqlite"
    return JournalAddress(url=request.getfixturevalue("shared_database"), run=f"run {next(numbers)}")


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
import asyncio, os, pickle, signal, sys
from oversight.runs.journal import Journal

async def main():
    journal = Journal(pickle.loads(bytes.fromhex(sys.argv[1])))

    async def produce():
        return {"value": "paid"}

    await asyncio.gather(*(journal.once(f"key {number}", "model", produce) for number in range(20)))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_a_result_is_on_disk_before_it_is_used(place):
    """Killed right after the results were given, a process has lost none of them."""
    ended = subprocess.run([sys.executable, "-c", KILLED, pickle.dumps(place).hex()], timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL

    async def work(journal):
        return [journal.get(f"key {number}") for number in range(20)]

    assert with_journal(place, work) == [{"value": "paid"}] * 20


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


def test_calls_under_way_are_shared(place):
    """Many who ask for the same call at the same time, and later, get one call's result."""
    made: list[str] = []

    async def work(journal):
        first = await asyncio.gather(*(journal.once("same", "model", producing("v", made, 0.05)) for _ in range(50)))
        later = await journal.once("same", "model", producing("other", made))
        await journal.once("different", "model", producing("w", made))
        return [*first, later], journal.made, journal.served

    values, calls, served = with_journal(place, work)
    assert {value["value"] for value in values} == {"v"}
    assert made == ["v", "w"]
    assert (calls, served) == (2, 50)


def test_a_failed_call_is_everybodys_error_and_is_not_stored(place):
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

    results, stored, again = with_journal(place, work)
    assert [str(result) for result in results] == ["no reply"] * 5
    assert all(isinstance(result, TurnFailed) for result in results)
    assert stored is None
    assert again["value"] == "v"
    assert tries == ["failed", "v"]


def test_a_cancelled_waiter_leaves_the_call_to_the_others(place):
    """The one who asked first goes away; the call is finished, once, for the one who stays."""
    made: list[str] = []

    async def work(journal):
        leaving = asyncio.ensure_future(journal.once("key", "model", producing("v", made, 0.1)))
        staying = asyncio.ensure_future(journal.once("key", "model", producing("v", made, 0.1)))
        await asyncio.sleep(0.02)
        leaving.cancel()
        await asyncio.wait([leaving])
        return leaving.cancelled(), await staying

    gone, value = with_journal(place, work)
    assert gone
    assert value["value"] == "v"
    assert made == ["v"]


def test_a_call_that_nobody_waits_for_any_more_is_kept(place):
    """Closing waits for calls under way, since they are paid for, and stores them."""
    made = []

    async def work(journal):
        leaving = asyncio.ensure_future(journal.once("key", "model", producing("v", made, 0.1)))
        await asyncio.sleep(0.02)
        leaving.cancel()

    with_journal(place, work)

    async def look(journal):
        return journal.get("key"), journal.spent()

    assert with_journal(place, look) == ({"value": "v", "dollars": 0.25}, 0.25)


def test_values_come_back_as_they_were(place):
    """Reopened, the file gives the same JSON values, text of any script included."""
    hostile = "naïve 象 \x1b[31m '); DROP TABLE calls;-- \\u0000 \\ \0 half \ud83d {} \x7f"
    value = {"text": hostile, hostile: [1, 2.5, None, True, hostile], "dollars": None}

    async def store(journal):
        async def produce():
            return value

        await journal.once("key", f"a'b\"c {hostile}", produce)
        return journal.get("none")

    assert with_journal(place, store) is None

    async def read(journal):
        async def forbidden():
            raise AssertionError("the call was made again")

        return await journal.once("key", "model", forbidden)

    assert with_journal(place, read) == value


def test_money_spent_is_the_sum_of_what_is_stored(place):
    """Served calls cost nothing more, unknown prices count as nothing, and the sum outlives the process."""

    async def unknown():
        return {"value": "u", "dollars": None}

    async def work(journal):
        assert journal.spent() == 0.0
        for key in ("a", "b", "a", "b"):
            await journal.once(key, "model", producing("v", []))
        await journal.once("c", "model", unknown)
        return journal.spent()

    assert with_journal(place, work) == 0.5

    async def look(journal):
        return journal.spent()

    assert with_journal(place, look) == 0.5


def test_nan_is_refused_and_not_stored(place):
    """A value that is no JSON is the caller's error."""

    async def work(journal):
        async def produce():
            return {"value": float("nan")}

        with pytest.raises(ValueError, match="JSON compliant"):
            await journal.once("key", "model", produce)
        return journal.get("key")

    assert with_journal(place, work) is None


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


def test_a_call_that_fails_when_nobody_waits_for_it_any_more_says_nothing(tmp_path):
    """It was paid for, so it goes on; that it could not be stored is told by others, in one line and no traceback."""
    said = []

    async def work(journal):
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
        waiting = asyncio.create_task(journal.once("key", "model", producing("v", [], delay=0.05)))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert journal.under_way == 1
        journal._writer._write = refuse
        while journal.under_way:
            await asyncio.sleep(0.01)
        del waiting  # its traceback holds the call
        gc.collect()

    def refuse(rows):
        raise RunDirectoryError("the disk is full")

    with_journal(tmp_path / "j", work)
    assert said == []


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


# ---- several processes -----------------------------------------------------------------------------------

WORKER = """
import asyncio, json, pickle, sys, time
from pathlib import Path
from oversight.runs.journal import Journal
from oversight.transcript import Usage

place, name, folder = pickle.loads(bytes.fromhex(sys.argv[1])), sys.argv[2], Path(sys.argv[3])

def met(what):
    (folder / f"{what} {name}").touch()
    while len(list(folder.glob(f"{what} *"))) < 2:
        time.sleep(0.005)

async def main():
    journal = Journal(place, start="one start")

    async def produce():
        met("making")  # both make the call, as neither finds it stored
        journal.spending.paid("m", Usage(1, 1, 1, 0.25))
        return {"by": name, "dollars": 0.25}

    keys = [f"shared {number}" for number in range(20)] + [f"{name} {number}" for number in range(5)]
    values = await asyncio.gather(*(journal.once(key, "m", produce) for key in keys))
    promises = [journal.promise(name, 1.0, 70.0) for _ in range(40)]
    met("promised")
    await journal.close()
    print(json.dumps([dict(zip(keys, values)), sum(one is not None for one in promises)]))

asyncio.run(main())
"""


def test_processes_share_a_journal(place, tmp_path):
    """What one stored first is what both use; both have paid; one limit holds for both; they have one account."""
    words = [sys.executable, "-c", WORKER, pickle.dumps(place).hex()]
    workers = [
        subprocess.Popen([*words, name, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name in ("ada", "bob")
    ]
    ended = [one.communicate(timeout=120) for one in workers]
    assert [one.returncode for one in workers] == [0, 0], ended
    (ada, promised), (bob, also_promised) = (json.loads(out) for out, _ in ended)
    shared = [f"shared {number}" for number in range(20)]
    assert [ada[key] for key in shared] == [bob[key] for key in shared]
    assert all(value["by"] == key.split()[0] for key, value in [*ada.items(), *bob.items()] if key not in shared)

    async def look(journal):
        found = {key: journal.get(key) for key in {**ada, **bob}}
        refused = journal.promise("cyd", 1.0, 70.0), journal.promise("cyd", 1.0, 71.0)
        journal.take_back(holder="ada")
        journal.take_back([one for one in refused if one is not None], "bob")
        return found, journal.spent(), refused[0], refused[1] is None, journal.promise("cyd", 57.5, 70.0)

    found, spent, refused, refused_more, after = with_journal(place, look)
    assert found == {**ada, **bob}
    assert spent == 0.25 * 50
    # Twelve dollars and a half are spent, so 57 of them may be promised.
    assert promised + also_promised == 57
    assert refused is None
    assert not refused_more
    assert after is not None
    assert read_spending(place) == [[Spend("", "m", 50, 0, 50, 50, 12.5)]]


def test_starts_are_told_apart_and_stay_in_order(place):
    """Each start is an account of its own, whatever its name; one that called nothing is none."""
    for start, calls in (("z", 1), ("a", 2), ("nothing", 0), ("z", 3)):

        async def work(journal, calls=calls):
            for _ in range(calls):
                journal.spending.paid("m", None)
            await journal.once(f"{journal.start} {calls}", "m", producing("v", []))

        with_started(place, start, work)
    assert [[line.calls for line in lines] for lines in read_spending(place)] == [[4], [2]]


def with_started(place, start, work):
    async def main():
        journal = Journal(place, start=start)
        try:
            await work(journal)
        finally:
            await journal.close()

    asyncio.run(main())


def test_a_result_of_no_use_gives_way_in_whichever_process(place):
    """Of calls made at the same time the first useful result stays; all that were paid add up."""

    values = [
        {"failure": "no reply", "dollars": 1.0},
        {"value": "useful", "dollars": None},
        {"failure": "no reply either", "dollars": 2.0},
    ]

    async def main():
        journals = [Journal(place) for _ in values]
        begun, given = [], []

        async def ask(journal, value, ready):
            async def produce():
                begun.append(value)
                await ready.wait()
                return value

            return await journal.once("key", "m", produce)

        try:
            ready = [asyncio.Event() for _ in values]
            asking = [asyncio.ensure_future(ask(*one)) for one in zip(journals, values, ready, strict=True)]
            while len(begun) < len(values):
                await asyncio.sleep(0.001)
            for one, its in zip(asking, ready, strict=True):
                its.set()
                given.append(await one)
            return given, journals[0].get("key"), journals[0].spent()
        finally:
            for journal in journals:
                await journal.close()

    given, stored, spent = asyncio.run(main())
    assert given == [values[0], values[1], values[1]]
    assert stored == values[1]
    assert spent == 3.0


def test_a_file_of_an_earlier_version_goes_on(tmp_path):
    """Its starts have no names, and nothing says what all calls have cost."""
    path = tmp_path / "journal.sqlite"
    account = json.dumps([Spend("judge", "m", 1, dollars=0.5).to_dict()])
    with sqlite3.connect(path) as old:
        old.execute(
            "CREATE TABLE calls (key TEXT PRIMARY KEY, what TEXT NOT NULL, value TEXT NOT NULL, dollars REAL, "
            "refused INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
        )
        old.execute("CREATE TABLE starts (id INTEGER PRIMARY KEY, spending TEXT NOT NULL)")
        old.executemany("INSERT INTO starts (spending) VALUES (?)", [(account,)] * 2)
        old.execute("""INSERT INTO calls VALUES ('old', 'm', '{"value": "old"}', 0.5, 0)""")
        old.execute("""INSERT INTO calls VALUES ('free', 'm', '{"value": "free"}', NULL, 0)""")
    old.close()
    assert read_spending(path) == [[Spend("judge", "m", 1, dollars=0.5)]] * 2

    async def work(journal):
        assert journal.spent() == 0.5
        journal.spending.paid("m", None)
        assert (await journal.once("old", "m", producing("v", [])))["value"] == "old"
        await journal.once("new", "m", producing("v", []))
        return journal.spent()

    assert with_journal(path, work) == 0.75
    assert [len(lines) for lines in read_spending(path)] == [1, 1, 1]


# ---- any order of calls, failures and crashes -----------------------------------------------------------

KEYS = st.sampled_from("abcde")


class JournalMachine(RuleBasedStateMachine):
    """The journal beside a dictionary that does what it promises."""

    database = None
    """URL of the database that the journal is kept in; None for a file."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.place = Path(self.folder.name) / "journal.sqlite"
        if self.database is not None:
            self.place = JournalAddress(url=self.database, run=f"run {next(numbers)}")
        self.loop = asyncio.new_event_loop()
        self.stored, self.refused, self.made = {}, set(), Counter()
        self.retry = False
        self.abandoned = []
        self.open()

    def open(self):
        self.journal = Journal(self.place, retry_refused=self.retry)

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


class PostgreSQLJournalMachine(JournalMachine):
    """The same in a database."""


@pytest.fixture(scope="module")
def machine_database(shared_database):
    PostgreSQLJournalMachine.database = shared_database


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
TestPostgreSQLJournalMachine = pytest.mark.usefixtures("machine_database")(PostgreSQLJournalMachine.TestCase)
TestPostgreSQLJournalMachine.settings = settings(max_examples=6, stateful_step_count=12, deadline=None)
