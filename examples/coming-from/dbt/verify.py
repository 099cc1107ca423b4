"""Compares the marts with the seeds."""

import sqlite3
from pathlib import Path

database = sqlite3.connect(Path(__file__).parent / "work/jaffle_shop.db")
customers = database.execute("select customer_id, number_of_orders, customer_lifetime_value from customers order by 1").fetchall()
assert customers == [(1, 2, 27.0), (2, 1, 7.0), (3, 2, 25.0), (4, 0, 0)], customers
orders = database.execute("select order_id, amount, coupon_amount from orders order by 1").fetchall()
assert orders == [(1, 10.0, 0), (2, 20.0, 0), (3, 17.0, 1.0), (4, 7.0, 0), (5, 5.0, 0)], orders
print("dbt: well")
