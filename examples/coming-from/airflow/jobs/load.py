"""Shows the total, and keeps it."""

import sys
from pathlib import Path

total = float(sys.argv[1])
print(f"the total order value is {total:.2f}")
work = Path("../work")
work.mkdir(exist_ok=True)
(work / "total.txt").write_text(f"{total:.2f}\n")
