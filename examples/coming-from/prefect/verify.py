"""Compares what the pipeline left with its data."""

from pathlib import Path

found = (Path(__file__).parent / "work/stars.txt").read_text().splitlines()
expected = ["PrefectHQ/prefect: 100 stars", "pydantic/pydantic: 200 stars", "huggingface/transformers: 300 stars"]
assert found == expected, found
print("prefect: well")
