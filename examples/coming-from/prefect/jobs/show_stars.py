"""Shows the stars of all."""

import json
import os
from pathlib import Path

lines = [
    f"{repository}: {stars} stars"
    for repository, stars in zip(json.loads(os.environ["REPOSITORIES"]), json.loads(os.environ["STARS"]), strict=True)
]
print("\n".join(lines))
Path("../work/stars.txt").write_text("\n".join(lines) + "\n")
