"""A Lookup: each row becomes an item."""

import csv
import json
import os
import sys

with open(sys.argv[1], newline="") as file, open(os.environ["PENSTOCK_ITEMS"], "w") as items:
    for row in csv.DictReader(file):
        items.write(json.dumps(row) + "\n")
