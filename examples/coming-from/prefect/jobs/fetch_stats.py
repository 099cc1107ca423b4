"""Fetches what is known of one repository."""

import os
import shutil
import sys
from pathlib import Path

repository = sys.argv[1]
name = repository.replace("/", ".") + ".json"
if repository.startswith("pydantic/") and os.environ["PENSTOCK_ATTEMPT"] == "1":
    sys.exit(f"{repository}: 503 Service Unavailable")
work = Path("../work")
work.mkdir(exist_ok=True)
shutil.copy(Path("../data") / name, work / name)
