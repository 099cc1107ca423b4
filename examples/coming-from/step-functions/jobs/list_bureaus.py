"""What was a scan of a table: the bureaus, one a line."""

import json
import os
from pathlib import Path

work = Path("../work")
work.mkdir(exist_ok=True)
for old in work.glob("*.score"):
    old.unlink()
with open(os.environ["PENSTOCK_ITEMS"], "w") as items:
    for bureau in ("Bureau A", "Bureau B", "Bureau C"):
        items.write(json.dumps(bureau) + "\n")
