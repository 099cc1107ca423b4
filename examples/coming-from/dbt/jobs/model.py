"""`dbt run --select MODEL`: its query becomes a view, or with --table a table."""

import sys
from pathlib import Path

from database import connect
from report import report

model, kind = sys.argv[1], "table" if "--table" in sys.argv else "view"
query = Path(f"../models/{model}.sql").read_text()
with connect() as database:
    database.execute(f"drop {kind} if exists {model}")
    database.execute(f"create {kind} {model} as {query}")
    (rows,) = database.execute(f"select count(*) from {model}").fetchone()
report(metrics={"records_out": rows})
