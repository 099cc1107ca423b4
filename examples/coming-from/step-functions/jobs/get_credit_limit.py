"""The limit that is applied for."""

import sys

from report import report

report(output={"credit_limit": int(sys.argv[1])})
