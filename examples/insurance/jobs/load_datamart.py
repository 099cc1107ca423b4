"""Loads sums by region, product and month into datamart.sqlite."""

from __future__ import annotations

import etl
from sink import Table, replace_day

PREMIUMS = Table(
    "premiums_by_product",
    {"region": "TEXT", "product": "TEXT"},
    {"policies": "INTEGER", "premium_cents": "INTEGER"},
)
CLAIMS = Table(
    "claims_by_month",
    {"region": "TEXT", "product": "TEXT", "month": "TEXT"},
    {"claims": "INTEGER", "amount_cents": "INTEGER"},
)


def totals(rows: list[etl.Row], keys: list[str], count: str, amount: str) -> list[etl.Row]:
    """One row per combination of the keys: how many rows it has, named `count`, and the sum of `amount`."""
    groups: dict[tuple[str, ...], etl.Row] = {}
    for row in rows:
        group = tuple(row[key] for key in keys)
        total = groups.setdefault(group, {**dict(zip(keys, group)), count: 0, amount: 0})
        total[count] += 1
        total[amount] += row[amount]
    return [groups[group] for group in sorted(groups)]


def load_datamart() -> None:
    """Replaces the business date's rows of the data mart."""
    date = etl.business_date()
    work = etl.work_dir()
    premiums = totals(etl.read_jsonl(work / date / "dim_policy.jsonl"), list(PREMIUMS.key), "policies", "premium_cents")
    claims = totals(etl.read_jsonl(work / date / "fact_claims.jsonl"), list(CLAIMS.key), "claims", "amount_cents")
    replace_day(work / "datamart.sqlite", date, [(PREMIUMS, premiums), (CLAIMS, claims)])


if __name__ == "__main__":
    etl.main(load_datamart)
