"""Puts one day's rows into SQLite tables: all of them or none, and never over a newer attempt's.

The day's old rows are deleted and the new ones inserted in one transaction, so a load that is killed leaves nothing
behind and a load that is repeated changes nothing. The transaction also holds the fence: Penstock numbers its leases
upwards, so an attempt that was replaced and does not know it (its machine was cut off, or asleep) has a lower
number than the one recorded by its successor, and is refused here.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Callable, NamedTuple

import etl

BUSY_TIMEOUT_S = 60  # how long to wait for another load that holds the database

FENCES = """CREATE TABLE IF NOT EXISTS load_fences (
    table_name TEXT NOT NULL, business_date TEXT NOT NULL, fence INTEGER NOT NULL,
    PRIMARY KEY (table_name, business_date))"""


class Table(NamedTuple):
    """A table that holds one set of rows per business date."""

    name: str
    key: dict[str, str]  # column: type; unique within a day
    values: dict[str, str]  # the other columns

    def create(self) -> str:
        columns = {"business_date": "TEXT", **self.key, **self.values}
        definitions = [f"{name} {kind} NOT NULL" for name, kind in columns.items()]
        definitions.append(f"PRIMARY KEY ({', '.join(['business_date', *self.key])})")
        return f"CREATE TABLE IF NOT EXISTS {self.name} ({', '.join(definitions)})"

    def insert(self) -> str:
        columns = ["business_date", *self.key, *self.values]
        return f"INSERT INTO {self.name} ({', '.join(columns)}) VALUES ({', '.join(f':{name}' for name in columns)})"


def replace_day(
    database: Path,
    date: str,
    loads: list[tuple[Table, list[etl.Row]]],
    before_commit: Callable[[], None] = lambda: None,
) -> None:
    """Makes `loads` the rows of that date. `before_commit` runs last, while no other load can write."""
    inserts = [(table.insert(), row) for table, rows in loads for row in rows]
    half = len(inserts) // 2
    etl.report(metrics={"records_in": len(inserts)})
    database.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(database, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise etl.EtlError(f"{database}: {error} (another load is waited for, up to {BUSY_TIMEOUT_S} s)") from error
        try:
            db.execute(FENCES)
            for table, _ in loads:
                db.execute(table.create())
                _pass_fence(db, table.name, date)
                db.execute(f"DELETE FROM {table.name} WHERE business_date = ?", (date,))
            _insert(db, inserts[:half], date)
            etl.pause()
            _insert(db, inserts[half:], date)
            before_commit()
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
    etl.report(metrics={"records_out": len(inserts), "records_rejected": 0}, output={"path": str(database.resolve())})
    print(f"{database.name}: {len(inserts)} rows of {date} in " + ", ".join(table.name for table, _ in loads))


def _insert(db: sqlite3.Connection, inserts: list[tuple[str, etl.Row]], date: str) -> None:
    for statement, row in inserts:
        db.execute(statement, {**row, "business_date": date})


def _pass_fence(db: sqlite3.Connection, table: str, date: str) -> None:
    """Records this attempt's fence for the table and date; refuses if a newer attempt already did."""
    mine = etl.fence()
    if mine is None:
        return
    found = db.execute(
        "SELECT fence FROM load_fences WHERE table_name = ? AND business_date = ?", (table, date)
    ).fetchone()
    if found is not None and mine < found[0]:
        raise etl.PermanentError(
            f"{table} of {date} was loaded under fence {found[0]}; this attempt has {mine}, so it was replaced and "
            "must not write. If the coordinator's store was deleted, its fences began again: delete the work folder too"
        )
    db.execute("INSERT OR REPLACE INTO load_fences VALUES (?, ?, ?)", (table, date, mine))
