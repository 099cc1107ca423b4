"""Reads today's orders from a text, as the tutorial does."""

import json

from report import report

ORDERS = '{"1001": 301.27, "1002": 433.21, "1003": 502.22}'

orders = json.loads(ORDERS)
report(output={"orders": orders}, metrics={"records_out": len(orders)})
