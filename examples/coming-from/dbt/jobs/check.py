"""`dbt test --select MODEL`: each query finds rows that should not be."""

import sys

from database import connect
from report import report


def unique(column):
    return f"select {column} from {{model}} group by {column} having count(*) > 1"


def not_null(column):
    return f"select 1 from {{model}} where {column} is null"


def accepted(column, *values):
    return f"select {column} from {{model}} where {column} not in ({', '.join(repr(value) for value in values)})"


def relationship(column, to, field):
    return f"select {column} from {{model}} where {column} not in (select {field} from {to})"


STATUS = accepted("status", "placed", "shipped", "completed", "return_pending", "returned")
TESTS = {
    "stg_customers": [unique("customer_id"), not_null("customer_id")],
    "stg_orders": [unique("order_id"), not_null("order_id"), STATUS],
    "stg_payments": [
        unique("payment_id"),
        not_null("payment_id"),
        accepted("payment_method", "credit_card", "coupon", "bank_transfer", "gift_card"),
    ],
    "customers": [unique("customer_id"), not_null("customer_id")],
    "orders": [
        unique("order_id"),
        not_null("order_id"),
        not_null("customer_id"),
        relationship("customer_id", "customers", "customer_id"),
        STATUS,
        *(not_null(f"{kind}amount") for kind in ("", "credit_card_", "coupon_", "bank_transfer_", "gift_card_")),
    ],
}

model = sys.argv[1]
failed = 0
with connect() as database:
    for test in TESTS[model]:
        wrong = database.execute(test.format(model=model)).fetchall()
        failed += bool(wrong)
        print("FAIL" if wrong else "PASS", test.format(model=model), wrong[:5] or "")
report(metrics={"records_in": len(TESTS[model]), "records_rejected": failed})
if failed:
    # Trying again would find the same.
    report(fail=f"{failed} of {len(TESTS[model])} tests of {model} failed")
