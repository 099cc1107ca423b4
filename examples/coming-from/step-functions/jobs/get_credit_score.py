"""Asks one bureau. One of them never answers."""

import sys
from pathlib import Path

SCORES = {"Bureau A": 700, "Bureau B": 660}

bureau = sys.argv[1]
if bureau not in SCORES:
    sys.exit(f"{bureau} does not answer")
Path(f"../work/{bureau}.score").write_text(str(SCORES[bureau]))
