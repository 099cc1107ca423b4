"""Compares what both pipelines left with what Airflow's tutorials print, run for 2024-01-31."""

from pathlib import Path

work = Path(__file__).parent / "work"
total = (work / "total.txt").read_text()
assert total == "1236.70\n", total
lines = (work / "templated.txt").read_text().split()
assert lines == ["2024-01-31", "2024-02-07"] * 5, lines
print("airflow: well")
