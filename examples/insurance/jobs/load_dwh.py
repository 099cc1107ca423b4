"""Loads the joined rows of the day into warehouse.sqlite: two dimensions and a fact table."""

from __future__ import annotations

import etl
from sink import Table, replace_day

TABLES = [
    Table("dim_customer", {"customer_id": "TEXT"}, {"name": "TEXT", "region": "TEXT", "birth_date": "TEXT"}),
    Table(
        "dim_policy",
        {"policy_id": "TEXT"},
        {"customer_id": "TEXT", "region": "TEXT", "product": "TEXT", "start_date": "TEXT", "premium_cents": "INTEGER"},
    ),
    Table(
        "fact_claims",
        {"claim_id": "TEXT"},
        {
            "policy_id": "TEXT",
            "customer_id": "TEXT",
            "region": "TEXT",
            "product": "TEXT",
            "month": "TEXT",
            "claim_date": "TEXT",
            "amount_cents": "INTEGER",
            "status": "TEXT",
        },
    ),
]


def load_dwh() -> None:
    """Replaces the business date's rows of the warehouse."""
    date = etl.business_date()
    work = etl.work_dir()
    replace_day(work / "warehouse.sqlite", date, [(t, etl.read_jsonl(work / date / f"{t.name}.jsonl")) for t in TABLES])


if __name__ == "__main__":
    etl.main(load_dwh)
