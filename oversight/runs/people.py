"""Who judges what, and everything that a person has stated, each durable before the next screen.

One SQLite file in the run directory, ``people.sqlite``, that several sessions may have open at once.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import RunDirectoryError
from ..transcript import Belief
from .durable import refused_because

__all__ = ["People", "Standing"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS seats (      -- who sits where
    episode TEXT NOT NULL, seat TEXT NOT NULL, person TEXT NOT NULL,
    source TEXT NOT NULL,               -- the story: nobody is given another seat on it; of a check, the episode
    state TEXT NOT NULL,                -- open, done or skipped
    reason TEXT NOT NULL DEFAULT '', at TEXT NOT NULL,
    PRIMARY KEY (episode, seat, person)
);
CREATE TABLE IF NOT EXISTS beliefs (    -- credences on the way to a verdict
    episode TEXT NOT NULL, step TEXT NOT NULL, after INTEGER NOT NULL,
    person TEXT NOT NULL, probabilities TEXT NOT NULL, seconds REAL NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (episode, step, after)
);
CREATE TABLE IF NOT EXISTS replies (    -- what the episode goes on with
    episode TEXT NOT NULL, step TEXT NOT NULL, person TEXT NOT NULL, value TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (episode, step)
);
CREATE TABLE IF NOT EXISTS times (      -- seconds at a request that is not answered yet
    episode TEXT NOT NULL, step TEXT NOT NULL, person TEXT NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (episode, step, person)
);
CREATE TABLE IF NOT EXISTS escalations (    -- what a cascade hands on, where people have a budget
    episode TEXT PRIMARY KEY, confidence REAL NOT NULL, allowed INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);   -- of the run, the latest ones
CREATE TABLE IF NOT EXISTS notes (episode TEXT NOT NULL, person TEXT NOT NULL, text TEXT NOT NULL, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS drafts (
    episode TEXT NOT NULL, step TEXT NOT NULL, person TEXT NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (episode, step, person)
);
"""

_GIVEN = "SELECT COUNT(DISTINCT episode) FROM seats WHERE state != 'skipped' AND source != episode"
"""How many items people have been given, checks not counted."""


@dataclass(frozen=True)
class Standing:
    """What one person has done in a run.

    Parameters
    ----------
    person : the name.
    done, open, skipped : items finished, begun, and given up; checks of attention are not counted.
    checks : checks of attention that were finished.
    """

    person: str
    done: int = 0
    open: int = 0
    skipped: int = 0
    checks: int = 0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class People:
    """The seats and statements of one person in a run, beside those of the others.

    Parameters
    ----------
    path : the file; made if missing.
    person : the name under which this session sits.

    Raises
    ------
    RunDirectoryError
        if the file cannot be opened, read or written.
    """

    def __init__(self, path: Path, person: str) -> None:
        self.path, self.person = path, person
        try:
            self._database = sqlite3.connect(path, isolation_level=None, timeout=30)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise RunDirectoryError(
                f"{path}: cannot be used for what people state: {refused_because(error, path)}"
            ) from None

    def _read(self, statement: str, *values: Any) -> list[Any]:
        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise RunDirectoryError(f"{self.path}: cannot be read: {error}; put back a copy of it") from None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, durable at its end, in which no other session writes."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise RunDirectoryError(
                f"{self.path}: cannot be written: {refused_because(error, self.path)}; what was stated before is kept, "
                "repeat the command to go on"
            ) from None

    # ---- settings -----------------------------------------------------------------------------------

    def setting(self, name: str) -> Any:
        """A setting of the run that the sessions share; None where nobody has made it."""
        rows = self._read("SELECT value FROM settings WHERE name = ?", name)
        return json.loads(rows[0][0]) if rows else None

    def keep_setting(self, name: str, value: Any) -> None:
        """Store a setting; the latest counts."""
        with self._writing() as database:
            database.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))

    # ---- seats --------------------------------------------------------------------------------------

    def claim(self, episode: str, seat: str, source: str, budget: int | None = None) -> bool:
        """Take a seat, or keep the one that this person has; False where it is another's, or not for this person.

        Nobody is given a second seat in an episode, or a seat in another episode on the same source; a seat that
        was given up is not offered to the same person again.  ``budget``: most items that people are given in all,
        those begun included.
        """
        if self.mine(episode, seat):  # nothing is written for what is known
            return True
        with self._writing() as database:
            if not self.free(episode, seat, source) or not self._within(budget, episode, source):
                return False
            database.execute(
                "INSERT INTO seats (episode, seat, person, source, state, at) VALUES (?, ?, ?, ?, 'open', ?)",
                (episode, seat, self.person, source, _now()),
            )
        return True

    def _within(self, budget: int | None, episode: str, source: str) -> bool:
        if budget is None or source == episode:
            return True
        begun = self._read("SELECT 1 FROM seats WHERE episode = ? AND state != 'skipped'", episode)
        return bool(begun) or self._read(_GIVEN)[0][0] < budget

    def given(self) -> int:
        """How many items people have been given in all, checks not counted."""
        return int(self._read(_GIVEN)[0][0])

    def mine(self, episode: str, seat: str) -> bool:
        """Whether this person has the seat and has not given it up."""
        statement = "SELECT 1 FROM seats WHERE episode = ? AND seat = ? AND person = ? AND state != 'skipped'"
        return bool(self._read(statement, episode, seat, self.person))

    def free(self, episode: str, seat: str, source: str) -> bool:
        """Whether this person could take the seat."""
        statement = (
            "SELECT 1 FROM seats WHERE (episode = ? AND seat = ? AND state != 'skipped') OR (person = ? AND source = ?)"
        )
        return not self._read(statement, episode, seat, self.person, source)

    def finish(self, episodes: Collection[str]) -> None:
        """This person's part in these episodes is done."""
        with self._writing() as database:
            database.executemany(
                "UPDATE seats SET state = 'done' WHERE episode = ? AND person = ? AND state = 'open'",
                [(episode, self.person) for episode in episodes],
            )

    def skip(self, episode: str, seat: str, reason: str) -> None:
        """Give a seat up, with all that was stated in it, so that somebody else may take it and begin anew."""
        with self._writing() as database:
            self._give_up(database, episode, self.person, reason, seat)

    def abandoned(self, person: str) -> list[tuple[str, str]]:
        """Episode and seat of what somebody has begun and nobody else has gone on from."""
        statement = (
            "SELECT episode, seat FROM seats WHERE person = ? AND state = 'open' AND NOT EXISTS "
            "(SELECT 1 FROM replies WHERE replies.episode = seats.episode AND replies.person != seats.person)"
        )
        return self._read(statement, person)

    def release(self, person: str, seats: Collection[tuple[str, str]]) -> None:
        """Free seats that somebody has begun and will not finish, with all that was stated in them."""
        with self._writing() as database:
            for episode, seat in seats:
                self._give_up(database, episode, person, "released", seat)

    @staticmethod
    def _give_up(database: sqlite3.Connection, episode: str, person: str, reason: str, seat: str) -> None:
        database.execute(
            "UPDATE seats SET state = 'skipped', reason = ? WHERE episode = ? AND seat = ? AND person = ?",
            (reason, episode, seat, person),
        )
        for table in ("beliefs", "replies", "times", "drafts"):
            database.execute(f"DELETE FROM {table} WHERE episode = ? AND person = ?", (episode, person))

    def answered(self, episode: str) -> set[str]:
        """Who has answered anything in an episode."""
        return {row[0] for row in self._read("SELECT DISTINCT person FROM replies WHERE episode = ?", episode)}

    def standings(self) -> list[Standing]:
        """What everybody has done, by name."""
        counts: dict[str, dict[str, int]] = {}
        for person, state, check, count in self._read(
            "SELECT person, state, source = episode, COUNT(*) FROM seats GROUP BY person, state, source = episode "
            "ORDER BY person"
        ):
            what = state if not check else "checks" if state == "done" else ""
            counts.setdefault(person, {})[what] = count
        return [
            Standing(person, of.get("done", 0), of.get("open", 0), of.get("skipped", 0), of.get("checks", 0))
            for person, of in counts.items()
        ]

    def standing(self) -> Standing:
        """What this person has done."""
        found = [one for one in self.standings() if one.person == self.person]
        return found[0] if found else Standing(self.person)

    def begun(self) -> list[tuple[str, str]]:
        """Episode and seat of everything that this person has begun and not finished, the oldest first."""
        statement = "SELECT episode, seat FROM seats WHERE person = ? AND state = 'open' ORDER BY at, rowid"
        return self._read(statement, self.person)

    def taken(self) -> dict[tuple[str, str], str]:
        """Who has each seat that is not given up, by episode and seat."""
        rows = self._read("SELECT episode, seat, person FROM seats WHERE state != 'skipped'")
        return {(episode, seat): person for episode, seat, person in rows}

    def sources(self) -> set[str]:
        """The sources on which this person has, or has had, a seat."""
        return {row[0] for row in self._read("SELECT source FROM seats WHERE person = ?", self.person)}

    # ---- what a cascade hands on --------------------------------------------------------------------

    def escalate(self, confidences: Mapping[str, float], budget: int) -> dict[str, bool]:
        """Decide which episodes go to a person: those that the judges are least sure of, so many in all.

        What was allowed once stays allowed.

        Parameters
        ----------
        confidences : by episode, the confidence of the last judge that was asked.
        budget : episodes in the whole run.
        """
        with self._writing() as database:
            allowed = {row[0] for row in database.execute("SELECT episode FROM escalations WHERE allowed = 1")}
            left = max(budget - len(allowed), 0)
            new = sorted(set(confidences) - allowed, key=lambda episode: (confidences[episode], episode))
            decided = {episode: episode in allowed or episode in new[:left] for episode in confidences}
            database.executemany(
                "INSERT OR REPLACE INTO escalations VALUES (?, ?, ?)",
                [(episode, confidences[episode], int(may)) for episode, may in decided.items()],
            )
        return decided

    def may_escalate(self, episode: str) -> bool:
        """Whether it was decided that an episode goes to a person."""
        rows = self._read("SELECT allowed FROM escalations WHERE episode = ?", episode)
        return bool(rows and rows[0][0])

    # ---- statements ---------------------------------------------------------------------------------

    def keep_belief(self, episode: str, step: str, belief: Belief) -> None:
        """Store a credence; a later one on the same turns takes its place."""
        shares = json.dumps(list(belief.probabilities))
        with self._writing() as database:
            database.execute(
                "INSERT OR REPLACE INTO beliefs VALUES (?, ?, ?, ?, ?, ?, ?)",
                (episode, step, belief.after, self.person, shares, belief.seconds, _now()),
            )

    def beliefs(self, episode: str, step: str) -> tuple[Belief, ...]:
        """The credences stated for a step, in order."""
        rows = self._read(
            "SELECT after, probabilities, seconds FROM beliefs WHERE episode = ? AND step = ? AND person = ? "
            "ORDER BY after",
            *(episode, step, self.person),
        )
        return tuple(Belief(after, tuple(json.loads(shares)), seconds) for after, shares, seconds in rows)

    def shown(self, episode: str) -> int:
        """How many turns this person had been shown when it last answered in an episode."""
        rows = self._read("SELECT value FROM replies WHERE episode = ? AND person = ?", episode, self.person)
        return max((json.loads(row[0])["shown"] for row in rows), default=0)

    def keep_reply(self, episode: str, step: str, value: Mapping[str, Any]) -> bool:
        """Store what the episode goes on with; False where there is such a reply already, which then counts."""
        with self._writing() as database:
            stored = database.execute(
                "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?)",
                (episode, step, self.person, json.dumps(value, ensure_ascii=True), _now()),
            ).rowcount
            for table in ("drafts", "times"):
                database.execute(
                    f"DELETE FROM {table} WHERE episode = ? AND step = ? AND person = ?", (episode, step, self.person)
                )
        return bool(stored)

    def reply(self, episode: str, step: str) -> dict[str, Any] | None:
        """What somebody has answered at a step of an episode; None where nobody has."""
        rows = self._read("SELECT value FROM replies WHERE episode = ? AND step = ?", episode, step)
        return json.loads(rows[0][0]) if rows else None

    def stated(self, episode: str) -> dict[str, float]:
        """The probabilities, by label, that this person gave last in an episode; empty where it gave none.

        Those that were asked for beside others in one turn, of a step of an argument say, are of something else.
        """
        rows = self._read(
            "SELECT value FROM replies WHERE episode = ? AND person = ? AND step NOT LIKE '%: %' ORDER BY rowid DESC",
            episode,
            self.person,
        )
        return next((given for row in rows if (given := json.loads(row[0]).get("probabilities"))), {})

    def keep_time(self, episode: str, step: str, seconds: float) -> None:
        """Store for how long this person has been at a request, over all sessions."""
        with self._writing() as database:
            database.execute("INSERT OR REPLACE INTO times VALUES (?, ?, ?, ?)", (episode, step, self.person, seconds))

    def time(self, episode: str, step: str) -> float:
        """For how long this person has been at a request in earlier sessions, in seconds."""
        rows = self._read(
            "SELECT seconds FROM times WHERE episode = ? AND step = ? AND person = ?", episode, step, self.person
        )
        return float(rows[0][0]) if rows else 0.0

    def keep_note(self, episode: str, text: str) -> None:
        """Store a note on an episode."""
        with self._writing() as database:
            database.execute("INSERT INTO notes VALUES (?, ?, ?, ?)", (episode, self.person, text, _now()))

    def notes(self, episode: str) -> tuple[str, ...]:
        """This person's notes on an episode, in order."""
        statement = "SELECT text FROM notes WHERE episode = ? AND person = ? ORDER BY rowid"
        return tuple(row[0] for row in self._read(statement, episode, self.person))

    def keep_draft(self, episode: str, step: str, text: str) -> None:
        """Store what is being written."""
        with self._writing() as database:
            database.execute("INSERT OR REPLACE INTO drafts VALUES (?, ?, ?, ?)", (episode, step, self.person, text))

    def draft(self, episode: str, step: str) -> str:
        """What was being written at a step."""
        rows = self._read(
            "SELECT text FROM drafts WHERE episode = ? AND step = ? AND person = ?", episode, step, self.person
        )
        return rows[0][0] if rows else ""

    # ---- for whoever looks at it --------------------------------------------------------------------

    def given_up(self) -> list[tuple[str, str, str]]:
        """Person, episode and reason of everything that was given up, in order of time."""
        return self._read("SELECT person, episode, reason FROM seats WHERE state = 'skipped' ORDER BY at, rowid")

    def all_notes(self) -> list[tuple[str, str, str]]:
        """Person, episode and text of everybody's notes, in order of time."""
        return self._read("SELECT person, episode, text FROM notes ORDER BY rowid")

    def close(self) -> None:
        """Close the file."""
        self._database.close()
