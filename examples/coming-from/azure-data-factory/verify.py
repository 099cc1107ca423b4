"""Compares the sink and what was told with the source."""

from pathlib import Path

here = Path(__file__).parent
source = {file.name: file.read_text().split() for file in (here / "data").glob("*.*.csv")}
sink = {file.name: file.read_text().split() for file in (here / "work/sink").glob("*")}
assert sink == source, sink
told = {file.name: file.read_text().strip() for file in (here / "work/told").glob("*")}
assert set(told) == {"published", "success", "rates"}, told
assert told["published"] == "6 rows of 3 tables", told
print("azure-data-factory: well")
