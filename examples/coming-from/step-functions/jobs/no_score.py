"""The Catch of one item: it goes on without this bureau."""

import sys
from pathlib import Path

Path(f"../work/{sys.argv[1]}.score").write_text("none")
