"""What was a Web activity that sends a mail: a file of what would be sent."""

import sys
from pathlib import Path

told = Path("../work/told")
told.mkdir(parents=True, exist_ok=True)
(told / sys.argv[1]).write_text(" ".join(sys.argv[2:]) + "\n")
