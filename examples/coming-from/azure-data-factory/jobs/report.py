"""What a task tells Penstock: a line of JSON in the file $PENSTOCK_OUTPUT."""

import json
import os


def report(**line):
    with open(os.environ["PENSTOCK_OUTPUT"], "a") as out:
        out.write(json.dumps(line) + "\n")
