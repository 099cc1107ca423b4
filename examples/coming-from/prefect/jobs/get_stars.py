"""The number of stars of one repository."""

import json
import sys
from pathlib import Path

from report import report

repository = sys.argv[1]
stats = json.loads((Path("../work") / (repository.replace("/", ".") + ".json")).read_text())
report(output={"repository": repository, "stars": stats["stargazers_count"]})
