"""Decides on what the bureaus said."""

import json
from pathlib import Path

scores = {file.stem: file.read_text() for file in sorted(Path("../work").glob("*.score"))}
known = [int(score) for score in scores.values() if score != "none"]
decision = {"scores": scores, "mean": sum(known) / len(known), "approved": sum(known) / len(known) >= 650}
print(decision)
Path("../work/decision.json").write_text(json.dumps(decision))
