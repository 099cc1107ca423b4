"""Compares the decision with the bureaus' scores."""

import json
from pathlib import Path

decision = json.loads((Path(__file__).parent / "work/decision.json").read_text())
expected = {"scores": {"Bureau A": "700", "Bureau B": "660", "Bureau C": "none"}, "mean": 680.0, "approved": True}
assert decision == expected, decision
print("step-functions: well")
