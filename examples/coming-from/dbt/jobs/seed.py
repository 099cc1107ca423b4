"""`dbt seed`: a CSV file becomes a table."""

import csv
import sys

from database import connect
from report import report

table = sys.argv[1]
with open(f"../seeds/{table}.csv", newline="") as file:
    header, *rows = csv.reader(file)
with connect() as database:
    database.execute(f"drop table if exists {table}")
    # Without a type a column keeps numbers as they are written; dates stay texts.
    columns = ", ".join(f"{name} {'integer' if name.endswith('id') or name == 'amount' else 'text'}" for name in header)
    database.execute(f"create table {table} ({columns})")
    database.executemany(f"insert into {table} values ({', '.join('?' * len(header))})", rows)
report(metrics={"records_out": len(rows)})
