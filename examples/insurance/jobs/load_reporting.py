"""Writes the loss ratio of every region: to reporting.sqlite, and to <work>/<date>/report.md for people."""

from __future__ import annotations

from pathlib import Path

import etl
from load_datamart import totals
from sink import Table, replace_day

LOSS_RATIO = Table(
    "loss_ratio",
    {"region": "TEXT"},
    {
        "policies": "INTEGER",
        "premium_cents": "INTEGER",
        "claims": "INTEGER",
        "amount_cents": "INTEGER",
        "ratio_permille": "INTEGER",
    },
)


def loss_ratios(policies: list[etl.Row], claims: list[etl.Row]) -> list[etl.Row]:
    """Claims paid and reserved over premiums, in thousandths rounded down, of every region that has a policy."""
    no_claims = {"claims": 0, "amount_cents": 0}
    claimed = {row["region"]: row for row in totals(claims, ["region"], "claims", "amount_cents")}
    ratios = []
    for row in totals(policies, ["region"], "policies", "premium_cents"):
        merged = {**row, **claimed.get(row["region"], no_claims)}
        merged["ratio_permille"] = (
            merged["amount_cents"] * 1000 // merged["premium_cents"] if merged["premium_cents"] else 0
        )
        ratios.append(merged)
    return ratios


def write_report(path: Path, date: str, ratios: list[etl.Row]) -> None:
    """Writes the report, whole or not at all."""
    lines = [
        f"# Loss ratio by region, {date}",
        "",
        "| region | policies | premiums | claims | claimed | loss ratio |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r in ratios:
        cells = [
            r["region"],
            r["policies"],
            money(r["premium_cents"]),
            r["claims"],
            money(r["amount_cents"]),
            f"{r['ratio_permille'] // 10}.{r['ratio_permille'] % 10} %",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    with etl.atomic_file(path) as file:
        file.write("\n".join(lines) + "\n")


def money(cents: int) -> str:
    """An amount that is not negative, with two decimals."""
    return f"{cents // 100}.{cents % 100:02}"


def load_reporting() -> None:
    """Replaces the business date's report.

    The file is renamed into place inside the transaction, after the fence was checked and while no other load can
    write: so an attempt that was replaced cannot bring an old report back.
    """
    date = etl.business_date()
    work = etl.work_dir()
    ratios = loss_ratios(
        etl.read_jsonl(work / date / "dim_policy.jsonl"), etl.read_jsonl(work / date / "fact_claims.jsonl")
    )
    replace_day(
        work / "reporting.sqlite",
        date,
        [(LOSS_RATIO, ratios)],
        before_commit=lambda: write_report(work / date / "report.md", date, ratios),
    )


if __name__ == "__main__":
    etl.main(load_reporting)
