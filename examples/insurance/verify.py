"""Counts again, straight from the CSV files, what the pipeline must have loaded, and compares.

    python3 verify.py [--work DIR] [--data DIR] [--date YYYY-MM-DD]

It shares no code with the jobs: it is a second reading of the rules in README.md. It compares every loaded row, every
reject with the list of rows that are bad on purpose, and prints a checksum of each table, which depends on the
contents alone. Exit code 1 on any difference.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
import sqlite3
import sys
import time
from collections import Counter, defaultdict
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Iterable

HERE = Path(__file__).resolve().parent

Loaded = dict[str, list[tuple[Any, ...]]]  # by "database.table": its rows, sorted
Reject = tuple[str, int, str]  # source, line, reason

# By database: its tables, and the columns that are compared, in this order.
DATABASES = {
    "warehouse": {
        "dim_customer": "customer_id, name, region, birth_date",
        "dim_policy": "policy_id, customer_id, region, product, start_date, premium_cents",
        "fact_claims": "claim_id, policy_id, customer_id, region, product, month, claim_date, amount_cents, status",
    },
    "datamart": {
        "premiums_by_product": "region, product, policies, premium_cents",
        "claims_by_month": "region, product, month, claims, amount_cents",
    },
    "reporting": {"loss_ratio": "region, policies, premium_cents, claims, amount_cents, ratio_permille"},
}
SHORT = {"warehouse": "dwh"}


def real_day(text: str) -> bool:
    """Whether this is a day, as YYYY-MM-DD."""
    try:
        return time.strftime("%Y-%m-%d", time.strptime(text, "%Y-%m-%d")) == text
    except ValueError:
        return False


def expect(data: Path) -> tuple[Loaded, list[Reject]]:
    """What must be loaded and what must be rejected, by the rules of README.md."""
    rejects: list[Reject] = []

    def rows(source: str, width: int, keys: int, date: int, money: int | None) -> Iterable[tuple[int, list[Any]]]:
        """The line and fields of the rows that are good in themselves, amounts in cents."""
        ids = set()
        with open(data / f"{source}.csv", encoding="utf-8", newline="") as file:
            for line, row in enumerate(csv.reader(file), start=1):
                if line == 1:
                    continue
                value = row[money] if money is not None and len(row) == width else "0"
                if len(row) != width:
                    reason = "column_count"
                elif "" in row[:keys]:
                    reason = "missing_key"
                elif not real_day(row[date]):
                    reason = "bad_date"
                elif not re.fullmatch(r"-?\d+(\.\d\d?)?", value, re.ASCII):
                    reason = "bad_premium" if source == "policies" else "bad_amount"
                elif Decimal(value) < 0:
                    reason = "negative_premium" if source == "policies" else "negative_amount"
                elif row[0] in ids:
                    reason = "duplicate_id"
                else:
                    ids.add(row[0])
                    good: list[Any] = list(row)
                    if money is not None:
                        good[money] = int(Decimal(value) * 100)
                    yield line, good
                    continue
                rejects.append((source, line, reason))

    regions, policies = {}, {}
    tables: Loaded = defaultdict(list)
    premiums: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    claimed: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    ratios: dict[str, Counter[str]] = defaultdict(Counter)

    for _, (customer, name, region, born) in rows("customers", 4, 1, 3, None):
        regions[customer] = region
        tables["dwh.dim_customer"].append((customer, name, region, born))
    for line, (policy, customer, product, start, premium) in rows("policies", 5, 2, 3, 4):
        if customer not in regions:
            rejects.append(("policies", line, "unknown_customer"))
            continue
        region = regions[customer]
        policies[policy] = (customer, region, product)
        tables["dwh.dim_policy"].append((policy, customer, region, product, start, premium))
        premiums[region, product].update(policies=1, cents=premium)
        ratios[region].update(policies=1, premium=premium)
    for line, (claim, policy, date, amount, status) in rows("claims", 5, 2, 2, 3):
        if policy not in policies:
            rejects.append(("claims", line, "unknown_policy"))
            continue
        customer, region, product = policies[policy]
        month = date.rpartition("-")[0]
        tables["dwh.fact_claims"].append((claim, policy, customer, region, product, month, date, amount, status))
        claimed[region, product, month].update(claims=1, cents=amount)
        ratios[region].update(claims=1, claimed=amount)

    tables["datamart.premiums_by_product"] = [(*key, n["policies"], n["cents"]) for key, n in premiums.items()]
    tables["datamart.claims_by_month"] = [(*key, n["claims"], n["cents"]) for key, n in claimed.items()]
    for region, n in ratios.items():
        permille = int(Decimal(1000) * n["claimed"] / n["premium"]) if n["premium"] else 0
        tables["reporting.loss_ratio"].append(
            (region, n["policies"], n["premium"], n["claims"], n["claimed"], permille)
        )
    return {name: sorted(found) for name, found in tables.items()}, rejects


def expected_report(ratios: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The cells of report.md, as people read them."""
    return [
        (
            region,
            str(policies),
            f"{Decimal(premium) / 100:.2f}",
            str(claims),
            f"{Decimal(claimed) / 100:.2f}",
            f"{Decimal(permille) / 10:.1f} %",
        )
        for region, policies, premium, claims, claimed, permille in ratios
    ]


def loaded(work: Path, date: str) -> Loaded:
    """What stands in the databases and in the report for that date; a table that is missing has no rows."""
    found: Loaded = {}
    for database, tables in DATABASES.items():
        path = work / f"{database}.sqlite"
        if not path.exists():
            print(f"missing: {path}")
        for table, columns in tables.items():
            name = f"{SHORT.get(database, database)}.{table}"
            found[name] = read_table(path, table, columns, date) if path.exists() else []
    report = work / date / "report.md"
    lines = report.read_text(encoding="utf-8").splitlines() if report.exists() else []
    found["report.md"] = [
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines if line.startswith("|")
    ][2:]
    return found


def read_table(path: Path, table: str, columns: str, date: str) -> list[tuple[Any, ...]]:
    """The rows of that date, ordered by their contents."""
    # Not read-only: after a load was killed, the first to open the database rolls its half transaction back.
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=60)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone():
            print(f"missing: table {table} of {path}")
            return []
        return sorted(db.execute(f"SELECT {columns} FROM {table} WHERE business_date = ?", (date,)).fetchall())


def rejected(day: Path) -> list[Reject]:
    """What the jobs rejected."""
    found = []
    for job in ("customers", "policies", "claims", "transform"):
        path = day / "rejects" / f"{job}.jsonl"
        if not path.exists():
            print(f"missing: {path}")
            continue
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            entry = json.loads(line)
            found.append((entry["source"], entry["line"], entry["reason"]))
    return found


def bad_on_purpose(data: Path) -> list[Reject]:
    """What generate.py says that must be rejected."""
    with open(data / "bad_rows.csv", encoding="utf-8", newline="") as file:
        return [(row["source"], int(row["line"]), row["reason"]) for row in csv.DictReader(file)]


def checksum(rows: list[tuple[Any, ...]]) -> str:
    """A digest of the ordered rows."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def print_counts(name: str, expected: int, found: int, equal: bool) -> None:
    """One line of the comparison; equal numbers of rows may still be different rows."""
    print(f"{name:<30}{expected:>10}{found:>10}  {'ok' if equal else 'DIFFERENT'}")


def verify(work: Path, data: Path, date: str) -> bool:
    """Prints the comparison; returns whether everything is as it must be."""
    tables, counted = expect(data)
    tables["report.md"] = expected_report(tables.get("reporting.loss_ratio", []))
    found = loaded(work, date)
    same = True

    print(f"{'table':<30}{'expected':>10}{'loaded':>10}")
    for name, rows in found.items():
        expected = tables.get(name, [])
        equal = rows == expected
        same &= equal
        print_counts(name, len(expected), len(rows), equal)

    purpose, rejects = Counter(bad_on_purpose(data)), Counter(rejected(work / date))
    print(f"\n{'rejects':<30}{'expected':>10}{'found':>10}")
    for source, reason in sorted({(source, reason) for source, _, reason in [*purpose, *rejects]}):
        wanted, got = (
            Counter({line: n for (s, line, r), n in of.items() if (s, r) == (source, reason)})
            for of in (purpose, rejects)
        )
        equal = wanted == got
        same &= equal
        print_counts(f"{source} {reason}", sum(wanted.values()), sum(got.values()), equal)
        for line in sorted((wanted - got) | (got - wanted))[:5]:
            print(f"    {source}.csv line {line}: expected {wanted[line]}, found {got[line]}")
    if Counter(counted) != purpose:
        same = False
        wrong = sorted((Counter(counted) - purpose) + (purpose - Counter(counted)))[:5]
        print(f"bad_rows.csv and the rules disagree, first at {wrong}: run generate.py if the data was edited by hand")

    print()
    for name, rows in found.items():
        print(f"checksum {name} {checksum(rows)}")
    return same


def main() -> None:
    """Reads the command line and exits with 0 if all is as expected."""
    parser = argparse.ArgumentParser(description="Compares what the insurance pipeline loaded with its CSV files.")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="the pipeline's work_dir (default: work)")
    parser.add_argument("--data", type=Path, default=HERE / "data", help="the pipeline's data_dir (default: data)")
    parser.add_argument("--date", default="2024-01-31", help="the business date that was loaded (default: 2024-01-31)")
    options = parser.parse_args()
    if not (options.work / options.date).is_dir():
        days = ", ".join(sorted(path.name for path in options.work.glob("????-??-??"))) or "none"
        sys.exit(f"error: nothing was staged for {options.date} in {options.work}; days found: {days}")
    try:
        same = verify(options.work, options.data, options.date)
    except OSError as error:
        sys.exit(f"error: {error}")
    print("\nall as expected" if same else "\nNOT as expected")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
