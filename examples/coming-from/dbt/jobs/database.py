"""The warehouse: a SQLite file."""

import sqlite3
from pathlib import Path


def connect():
    work = Path("../work")
    work.mkdir(exist_ok=True)
    # Tasks write at the same time, and wait for one another here.
    return sqlite3.connect(work / "jaffle_shop.db", timeout=30)
