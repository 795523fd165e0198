"""Runs whose journal is in PostgreSQL: as good as a file, through kills and a server that is gone for a while."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import pickle
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import oversight
from oversight.cli import main
from oversight.errors import ConfigurationError, RunDirectoryError
from oversight.models.openai_compatible import ModelOptions
from oversight.runs import journal_postgresql
from oversight.runs.directory import journal_of, read_lines
from oversight.runs.journal import Journal, JournalAddress, read_spending
from oversight.runs.journal_address import without_passwords

HERE = Path(__file__).parent


def _load(name):
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}_for_journals", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


postgresql, endpoints, crashes, tiny = map(_load, ("postgresql", "endpoint", "test_crashes", "tiny"))
postgresql_server, database, CANARY = postgresql.postgresql_server, postgresql.database, postgresql.PASSWORD
TINY = HERE / "tiny.py"
DEBATES = [*("run", "debate(rounds=1)"), *("--arena", f"{TINY}:Sums", "--debater", f"{TINY}:Thinker", "--limit", "3")]
COMMAND = [*DEBATES, "--judge", f"{TINY}:Second"]

KILLS = 10


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    """Whose tests these are may have servers and passwords of their own."""
    for name in list(os.environ):
        if name.startswith("PG"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def endpoint():
    with endpoints.running() as served:
        yield served


def calls(server, url):
    """What the calls of a database are, for a reader and by value."""
    return server.execute("SELECT run, key, what, value, dollars FROM oversight_calls ORDER BY key", url)


def stored(server, url, folder):
    """The replies in a run's journal, each of which names the prompt that it is a reply to."""
    there = server.execute("SELECT to_regclass('oversight_calls')", url)
    if there == [(None,)] or not (folder / "journal.json").exists():  # killed before either was made
        return set()
    run = json.loads((folder / "journal.json").read_text())["run"]
    values = [json.loads(value) for of, _, _, value, _ in calls(server, url) if of == run]
    return {value["completion"]["text"].split()[0] for value in values}


def kept(folder):
    """Everything that a folder holds."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def no_canary(*texts):
    """Nothing holds the password; a folder is read."""
    for text in texts:
        held = b"".join(kept(text).values()) if isinstance(text, Path) else str(text).encode()
        assert CANARY.encode() not in held


# ---- whole runs ------------------------------------------------------------------------------------------


def test_a_run_comes_out_as_with_a_file(tmp_path, endpoint, postgresql_server, database):
    """The same episodes, the same calls, the same account; and the directory says where the journal is."""
    results = {}
    for name, journal in (("file", None), ("database", database)):
        endpoint.answer(then={"digest": True})
        options = {"vllm/fake": ModelOptions(base_url=endpoint.base_url, price=(1.0, 2.0))}
        result = oversight.run(
            "debate(rounds=2)",
            tiny.Sums(count=6),
            debater="vllm/fake",
            judge="vllm/fake",
            options=options,
            log_dir=tmp_path / name,
            journal=journal,
        )
        asked = [request["digest"] for request in endpoint.requests()]
        assert len(asked) == len(set(asked))
        ((*lines,),) = result.spending()
        results[name] = crashes.plain(tmp_path / name), sorted(asked), lines
    assert results["file"] == results["database"]
    assert not (tmp_path / "database" / "journal.sqlite").exists()
    remembered = json.loads((tmp_path / "database" / "journal.json").read_text())
    assert remembered["address"] == database.replace(f":{CANARY}", "")
    rows = calls(postgresql_server, database)
    assert {run for run, *_ in rows} == {remembered["run"]}
    assert len(rows) == len(asked)
    assert sum(dollars for *_, dollars in rows) == pytest.approx(sum(line.dollars for line in lines))
    no_canary(tmp_path, result)
    # The same command goes on, and pays for nothing.
    endpoint.answer(then={"status": 500})
    (tmp_path / "database" / "episodes.jsonl").write_bytes(b"")
    oversight.run(
        "debate(rounds=2)",
        tiny.Sums(count=6),
        debater="vllm/fake",
        judge="vllm/fake",
        options=options,
        log_dir=tmp_path / "database",
        journal=database,
    )
    assert endpoint.requests() == []
    assert crashes.plain(tmp_path / "database") == results["file"][0]


def test_a_tournament_and_new_judges_keep_theirs_there_too(tmp_path, postgresql_server, database):
    """One database holds the journals of several runs, apart from one another."""
    agents = [tiny.Thinker(), tiny.Second()]
    oversight.tournament(tiny.Sums(count=2), agents, ["direct"], log_dir=tmp_path / "one", journal=database)
    oversight.run(
        "debate", tiny.Sums(count=2), debater=agents[0], judge=agents[1], log_dir=tmp_path / "two", journal=database
    )
    rejudged = oversight.rejudge(
        tmp_path / "two", tiny.Third(), arena=tiny.Sums(count=2), log_dir=tmp_path / "new", journal=database
    )
    assert len(list(rejudged.episodes())) == 4
    runs = {json.loads((tmp_path / name / "journal.json").read_text())["run"] for name in ("one", "two", "new")}
    assert len(runs) == 3
    assert {run for run, *_ in calls(postgresql_server, database)} == runs


def test_runs_killed_at_random_moments_lose_nothing_and_pay_once(tmp_path, endpoint, postgresql_server, database):
    def stored_in(folder):
        return stored(postgresql_server, database, folder)

    for folder in crashes.play_and_kill(tmp_path, endpoint, KILLS, 1.0, 1.3, 0.7, stored_in, database):
        no_canary(folder)


def test_the_server_goes_and_comes_back_in_mid_run(tmp_path, endpoint, postgresql_server, database):
    """The plug is pulled twice while a run is under way: it goes on, and no call was made twice."""
    endpoint.answer(then=crashes.SLOW)
    with crashes.forks(endpoint.base_url, tmp_path / "whole") as play:
        assert play(300) == 0
    endpoint.answer(then={**crashes.SLOW, "delay": 0.05})
    outcome = []
    with crashes.forks(endpoint.base_url, tmp_path / "run", journal=database) as play:
        running = threading.Thread(target=lambda: outcome.append(play(300)))
        running.start()
        for least in (10, 40):
            while running.is_alive() and len(endpoint.requests()) < least:
                running.join(0.02)
            postgresql_server.stop()
            postgresql_server.start()
        running.join()
    assert outcome == [0]
    asked = [request["digest"] for request in endpoint.requests()]
    assert len(asked) == len(set(asked))
    assert {
        json.loads(value)["completion"]["text"].split()[0] for *_, value, _ in calls(postgresql_server, database)
    } == set(asked)
    assert crashes.plain(tmp_path / "run") == crashes.plain(tmp_path / "whole")


SPENDS = """
import sys
sys.path.insert(0, {tests!r})
import tiny, people, oversight
from oversight.runs.session import SessionOptions
session = SessionOptions(name={name!r}, front=people.Ruled(people.sure_of("0"), patience=20))
oversight.run("debate(rounds=1)", tiny.Sums(count=6), debater=tiny.Thinker(), judge="human", log_dir={folder!r},
              session=session, journal={journal!r})
"""


def test_people_share_a_journal_there(tmp_path, database, postgresql_server):
    """Two sessions at once in one directory: every item judged once, no speech made twice."""
    texts = [
        SPENDS.format(tests=str(HERE), name=name, folder=str(tmp_path / "run"), journal=database)
        for name in ("ada", "bob")
    ]
    words = [sys.executable, "-c"]
    made = tmp_path / "calls"
    running = [
        subprocess.Popen(
            [*words, text],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OVERSIGHT_TEST_CALLS": str(made)},
        )
        for text in texts
    ]
    outcomes = [one.communicate(timeout=180) for one in running]
    assert [one.returncode for one in running] == [0, 0], outcomes
    records = list(read_lines(tmp_path / "run" / "episodes.jsonl"))
    assert len({record["id"] for record in records}) == len(records) == 6
    assert len(made.read_text().splitlines()) == len(calls(postgresql_server, database)) == 12


# ---- where the journal is, and what is refused -----------------------------------------------------------


def refused(capsys, *words):
    """What the command says, in one line, when it refuses."""
    assert main([str(word) for word in words]) != 0
    out, said = capsys.readouterr()
    assert said.count("\n") == 1, said
    no_canary(out, said)
    return said


def test_a_directory_remembers_where_its_journal_is(tmp_path, capsys, monkeypatch, postgresql_server, database):
    """The password is nowhere in it; another journal, or none, is refused in one line that changes nothing."""
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    run, public = tmp_path / "run", database.replace(f":{CANARY}", "")
    command = [*COMMAND, "--log-dir", run]
    assert main([*map(str, command), f"--journal={database}"]) == 0
    no_canary(capsys.readouterr(), run)
    assert f"--journal={public}" in json.loads((run / "run.json").read_text())["command"]
    before = kept(run)
    assert f"in PostgreSQL: repeat the command with --journal '{public}'" in refused(capsys, *command)
    other = database.replace("/postgres", "/other")
    assert f"is in {public}, not in {other.replace(f':{CANARY}', '')}" in refused(capsys, *command, "--journal", other)
    # Nothing is known of the password any more, whether it is not given or a wrong one is.
    assert "password" in refused(capsys, *command, "--journal", public)
    wrong = database.replace(CANARY, "wrong-secret")
    assert "wrong-secret" not in refused(capsys, *command, "--journal", wrong)
    with pytest.raises(RunDirectoryError, match="PGPASSWORD"):
        oversight.RunResult(run, public).spending()
    assert kept(run) == before
    # Given by the environment, it need not stand on the command line.
    monkeypatch.setenv("PGPASSWORD", CANARY)
    assert main([*map(str, command), "--journal", public]) == 0
    assert oversight.RunResult(run, public).spending() == []
    assert main(["rerun", str(run), "--log-dir", str(tmp_path / "again")]) == 0
    ours, again = (json.loads((folder / "journal.json").read_text()) for folder in (run, tmp_path / "again"))
    assert ours["address"] == again["address"]
    assert ours["run"] != again["run"]
    # A run that began with a file goes on with it.
    assert main([*map(str, COMMAND), "--log-dir", str(tmp_path / "file")]) == 0
    capsys.readouterr()
    before = kept(tmp_path / "file")
    assert "has begun with its journal in journal.sqlite" in refused(
        capsys, *COMMAND, "--log-dir", tmp_path / "file", "--journal", public
    )
    assert kept(tmp_path / "file") == before
    no_canary(run, tmp_path / "again", tmp_path / "file")


def test_a_directory_does_not_decide_which_server_is_given_a_password(tmp_path, capsys, monkeypatch, database):
    """It may come from anybody: what its calls cost is read from a database that the command names, and no other."""
    monkeypatch.setenv("COLUMNS", "500")
    run = tmp_path / "run"
    assert main([*map(str, COMMAND), "--log-dir", str(run), f"--journal={database}"]) == 0
    monkeypatch.setenv("PGPASSWORD", "a-reader's-own")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        journal = json.loads((run / "journal.json").read_text())
        port = listener.getsockname()[1]
        (run / "journal.json").write_text(json.dumps({**journal, "address": f"postgresql://me@127.0.0.1:{port}/x"}))
        capsys.readouterr()
        assert main(["show", str(run)]) == 0
        assert (
            f"are kept in postgresql://me@127.0.0.1:{port}/x: give that address as --journal" in capsys.readouterr().out
        )
        assert main(["show", str(run), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["spending"], found["episodes"]["unscored"]) == (None, 0)
        assert "give that address as --journal" in found["reason"]
        with pytest.raises(TimeoutError):
            listener.accept()
    assert main(["show", str(run), "--json", "--journal", database]) == 0
    assert json.loads(capsys.readouterr().out)["spending"]["starts"] == []


def test_a_server_that_is_down_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "500")
    url = f"postgresql://tester:{CANARY}@127.0.0.1:1/none"
    said = refused(capsys, *COMMAND, "--log-dir", tmp_path / "run", "--journal", url)
    assert "postgresql://tester@127.0.0.1:1/none: cannot be used as the journal" in said
    assert "see that the server runs" in said
    # The address was a mistake, so the directory does not remember it.
    assert main([*map(str, COMMAND), "--log-dir", str(tmp_path / "run")]) == 0
    no_canary(capsys.readouterr(), tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://tester:{CANARY}@127.0.0.1/runs",
        f"postgresql:tester:{CANARY}@127.0.0.1/runs",
        f"postgresql://tester:{CANARY}/@127.0.0.1/runs",
        f"postgresql://tester:a/{CANARY}@127.0.0.1/runs",
        f"postgresql://tester:a@{CANARY}@127.0.0.1/runs",
        f"postgresql://tester:1?{CANARY}@127.0.0.1/runs",
        f"postgresql://tester:1#{CANARY}@127.0.0.1/runs",
        f"postgresql://tester:1/{CANARY}#x@127.0.0.1/runs",
        f"postgresql://tester:%zz{CANARY}@127.0.0.1/runs",
        f"postgresql://tester:{CANARY} @127.0.0.1/runs",
        f"postgresql://127.0.0.1:{CANARY}/runs",
        f"postgresql://127.0.0.1/runs?{CANARY}=1",
        f"postgresql://127.0.0.1:1/runs?password={CANARY}&connect_timeout=1",
    ],
)
def test_an_address_that_is_none_is_one_line_without_the_password(tmp_path, capsys, monkeypatch, url):
    monkeypatch.setenv("COLUMNS", "500")
    assert "journal" in refused(capsys, *COMMAND, "--log-dir", tmp_path / "run", f"--journal={url}")
    no_canary(tmp_path)


def test_the_extra_is_named_where_it_is_missing(tmp_path):
    program = "import sys; sys.modules['psycopg'] = None; from oversight.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [*COMMAND, "--log-dir", str(tmp_path / "run"), "--journal", "postgresql://127.0.0.1/runs"]
    ended = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    assert "pip install 'scalable-oversight[postgresql]'" in ended.stderr.replace("\n", " ")
    assert not (tmp_path / "run").exists()


WORDS = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1)


@given(user=WORDS, password=WORDS, database_name=WORDS)
@example("a", "%", "b")
def test_an_address_says_all_but_the_password(user, password, database_name):
    """Whatever they consist of: the password is left out, the rest is kept, and command lines are cleaned."""
    from urllib.parse import quote

    login, name = quote(user, safe=""), quote(database_name, safe="")
    url = f"postgresql://{login}:{quote(password, safe='')}@host:5/{name}"
    address = JournalAddress(url=url, run="r")
    assert address.public == f"postgresql://{login}@host:5/{name}"
    assert repr(address) == f"JournalAddress({address.public!r}, run='r')"
    assert pickle.loads(pickle.dumps(address)) == address
    assert address.place == JournalAddress(url=f"postgres://other@host:5/{name}?sslmode=require", run="r").place
    assert password in address.secrets
    assert without_passwords(["a", f"--journal={url}", url]) == ["a", f"--journal={address.public}", address.public]


def test_a_database_that_cannot_hold_a_journal_is_one_line(postgresql_server):
    """Another program's table, an encoding without every letter, a user without rights; and one that makes tables."""
    execute = postgresql_server.execute
    foreign = postgresql_server.make_place()
    execute("CREATE TABLE oversight_calls (run TEXT)", foreign)
    latin = postgresql_server.make_database("ENCODING 'LATIN1' TEMPLATE template0")
    execute(f"CREATE ROLE stranger LOGIN PASSWORD '{CANARY}'")
    stranger = postgresql_server.url().replace("tester", "stranger")
    for url, reason in (
        (foreign, 'column "key" does not exist'),
        (postgresql_server.url(latin), "encoded in LATIN1"),
        (stranger, "permission denied for schema public"),
        (postgresql_server.url("nowhere"), 'database "nowhere" does not exist'),
    ):
        with pytest.raises(RunDirectoryError, match=reason) as caught:
            Journal(JournalAddress(url=url, run="r"))
        assert "\n" not in str(caught.value)
        no_canary(caught.value)
        if reason != 'column "key" does not exist' and "nowhere" not in url:
            assert read_spending(JournalAddress(url=url, run="r")) == []


def test_a_folder_whose_note_is_broken_is_one_line(tmp_path):
    for text in ("[]", "{}", '{"address": "http://x", "run": "r"}', '{"address": "postgresql://x", "run": ""}', "x"):
        (tmp_path / "journal.json").write_text(text)
        with pytest.raises(RunDirectoryError, match=r"journal\.json"):
            journal_of(tmp_path)


# ---- the store -------------------------------------------------------------------------------------------


def with_journal(address, work):
    async def main():
        journal = Journal(address)
        try:
            return await work(journal)
        finally:
            await journal.close()

    return asyncio.run(main())


def paid(value):
    async def produce():
        return {"value": value, "dollars": 0.25}

    return produce


@pytest.mark.parametrize("options", ["", "ENCODING 'SQL_ASCII' TEMPLATE template0"])
def test_texts_that_databases_refuse_are_kept_apart(postgresql_server, options):
    """Zeros, halves of characters and what stands for them, in keys, names and holders."""
    url = postgresql_server.url(postgresql_server.make_database(options)) if options else postgresql_server.make_place()
    address = JournalAddress(url=url, run="象")
    texts = ["\0", "\\u0000", '"\\u0000"', "\ud83d", "\\ud83d", "😀 象 ü", "\\", "\\\\", "", "%s {} '", "a\nb"]

    async def work(journal):
        for text in texts:
            assert await journal.once(text, f"what {text}", paid(text)) == {"value": text, "dollars": 0.25}
            assert journal.promise(text, 0.0, 1000.0) is not None
        for text in texts:
            assert journal.get(text) == {"value": text, "dollars": 0.25}
            journal.take_back(holder=text)
        return journal.spent()

    assert with_journal(address, work) == 0.25 * len(texts)


def test_tables_are_made_once_however_many_begin(postgresql_server):
    address = JournalAddress(url=postgresql_server.make_place(), run="r")
    barrier, failed = threading.Barrier(12), []

    def begin(number):
        async def work(journal):
            await journal.once(f"key {number}", "m", paid(number))

        barrier.wait()
        try:
            with_journal(address, work)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not failed

    async def spent(journal):
        return journal.spent()

    assert with_journal(address, spent) == 0.25 * 12


def test_what_is_stored_is_durable_whatever_the_default_is(postgresql_server, database):
    user = psycopg.conninfo.conninfo_to_dict(database)["user"]
    postgresql_server.execute(f"ALTER ROLE {user} SET synchronous_commit = off")

    async def work(journal):
        await journal.once("key", "m", paid("v"))
        return journal._store._writing._connection.execute("SHOW synchronous_commit").fetchone()

    assert with_journal(JournalAddress(url=database, run="r"), work) == ("on",)


def test_connections_that_are_cut_all_the_time_store_everything_once(postgresql_server, database):
    """Backends are ended at random while two processes' worth of journals store, look, promise and refuse."""
    address, stop, cuts = JournalAddress(url=database, run="r"), threading.Event(), []
    user = psycopg.conninfo.conninfo_to_dict(database)["user"]

    def cut():
        with psycopg.connect(postgresql_server.url(), autocommit=True) as connection:
            while not stop.wait(0.3):
                ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"
                cuts.append(connection.execute(ends, (user,)).fetchall())

    async def work():
        journals = [Journal(address), Journal(address)]
        cutting = threading.Thread(target=cut)
        cutting.start()
        try:
            number = 0
            while len(cuts) < 12:
                number += 1
                keys = [f"{number} {place}" for place in range(6)]
                asked = [journal.once(key, "m", paid(place)) for place, journal in enumerate(journals) for key in keys]
                values = await asyncio.gather(*asked)
                assert values[:6] == values[6:]
                await journals[0].refuse(keys[0])
                assert await asyncio.gather(*(journals[1].once(key, "m", paid("again")) for key in keys)) == values[:6]
        finally:
            stop.set()
            cutting.join()
            made, spent = sum(journal.made for journal in journals), journals[0].spent()
            for journal in journals:
                await journal.close()
        return made, spent

    made, spent = asyncio.run(work())
    assert sum(map(len, cuts)) >= 8
    assert spent == 0.25 * made  # once each, though the answer to many a commit was lost


@pytest.mark.parametrize("row", [False, True])
def test_a_commit_whose_answer_is_lost_is_not_made_again(monkeypatch, database, row):
    """The server has stored the group, the connection ends before it says so: dollars count once."""
    address, lost = JournalAddress(url=database, run="r"), []

    async def work(journal):
        if row:
            await journal.once("before", "m", paid("v"))
        store = journal._store
        stored = store._store

        def unheard(connection, *rest):
            found = stored(connection, *rest)
            if not lost:
                lost.append(True)
                connection.close()
                raise psycopg.OperationalError("the connection is lost")
            return found

        store._store = unheard
        values = await asyncio.gather(*(journal.once(f"key {number}", "m", paid(number)) for number in range(5)))
        assert [value["value"] for value in values] == list(range(5))
        return journal.spent()

    assert with_journal(address, work) == 0.25 * (5 + row)
    assert lost


def test_a_promise_whose_answer_is_lost_is_not_made_again(database):
    """The server has it, the connection ends before it says so; and where there was no room, there is none again."""

    async def work(journal):
        reading = journal._store._reading
        do, lost = reading.do, []

        def unheard(give):
            def heard_once(connection, again):
                found = give(connection, again)
                if not lost:
                    lost.append(found)
                    connection.close()
                    raise psycopg.OperationalError("the connection is lost")
                return found

            return do(heard_once)

        reading.do = unheard
        first = journal.promise("one", 3.0, 4.0)
        assert first is not None
        assert lost == [first]
        lost.clear()
        assert journal.promise("two", 3.0, 4.0) is None
        assert lost == [None]
        reading.do = do
        assert journal.promise("three", 1.5, 4.0) is None
        other = journal.promise("three", 1.0, 4.0)
        journal.take_back([other])
        assert journal.promise("four", 1.0, 4.0) not in (None, other)

    with_journal(JournalAddress(url=database, run="r"), work)


def test_a_server_that_stays_away_is_one_line(monkeypatch, postgresql_server, database):
    """It is tried for a while, then said; what was stored before is there when it is back."""
    monkeypatch.setattr(journal_postgresql, "_WAITS", (0.01, 0.02))
    address = JournalAddress(url=database, run="r")

    async def work():
        journal = Journal(address)
        await journal.once("before", "m", paid("kept"))
        postgresql_server.stop()
        try:
            for asking in (
                lambda: journal.once("key", "m", paid("v")),
                lambda: journal.refuse("before"),
                lambda: asyncio.to_thread(journal.spent),
            ):
                with pytest.raises(RunDirectoryError, match="the journal cannot be used any more") as caught:
                    await asking()
                assert "\n" not in str(caught.value)
                assert "repeat the command to go on" in str(caught.value)
                no_canary(caught.value)
        finally:
            postgresql_server.start()
        assert (await journal.once("before", "m", paid("new")))["value"] == "kept"
        assert (await journal.once("after", "m", paid("goes on")))["value"] == "goes on"
        await journal.close()

    asyncio.run(work())


def test_an_address_is_a_file_or_a_database():
    with pytest.raises(ConfigurationError, match="postgresql://USER@HOST"):
        JournalAddress(url="http://host/x", run="r")
    for wrong in ({}, {"path": Path("x"), "url": "postgresql://host/x", "run": "r"}, {"url": "postgresql://host/x"}):
        with pytest.raises(ValueError, match="journal"):
            JournalAddress(**wrong)
