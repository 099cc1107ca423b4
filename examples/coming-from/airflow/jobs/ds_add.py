"""A day, and so many days after it."""

import datetime
import sys

print(datetime.date.fromisoformat(sys.argv[1]) + datetime.timedelta(days=int(sys.argv[2])))
