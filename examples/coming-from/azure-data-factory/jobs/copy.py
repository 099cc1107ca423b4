"""A Copy: one table of the source into the sink."""

import csv
import sys
from pathlib import Path

from report import report

name = ".".join(sys.argv[1:3]) + ".csv"
source, sink = Path("../data") / name, Path("../work/sink") / name
if not source.exists():
    sys.exit(f"{source} is not there")
with source.open(newline="") as file:
    header, *rows = csv.reader(file)
good = [row for row in rows if len(row) == len(header)]
sink.parent.mkdir(parents=True, exist_ok=True)
with sink.open("w", newline="") as file:
    csv.writer(file).writerows([header, *good])
report(
    output={"rows": len(good)},
    metrics={"records_in": len(rows), "records_out": len(good), "records_rejected": len(rows) - len(good), "bytes": sink.stat().st_size},
)
