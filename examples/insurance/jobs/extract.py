"""Reads one CSV source, checks every row, and stages the good ones: `python3 extract.py customers`.

Good rows go to <work>/<date>/<source>.jsonl, the others with their reason to <work>/<date>/rejects/<source>.jsonl.
"""

from __future__ import annotations

import csv
import re
import sys
from typing import Callable, NamedTuple

import etl


class Source(NamedTuple):
    """The columns of a CSV file, and which of them the rules are about."""

    columns: list[str]  # the first is the row's own id
    required: list[str]
    date: str
    money: str | None = None


SOURCES = {
    "customers": Source(
        columns=["customer_id", "name", "region", "birth_date"],
        required=["customer_id"],
        date="birth_date",
    ),
    "policies": Source(
        columns=["policy_id", "customer_id", "product", "start_date", "premium"],
        required=["policy_id", "customer_id"],
        date="start_date",
        money="premium",
    ),
    "claims": Source(
        columns=["claim_id", "policy_id", "claim_date", "amount", "status"],
        required=["claim_id", "policy_id"],
        date="claim_date",
        money="amount",
    ),
}


def cents(text: str) -> int | None:
    """An amount such as "-12.5" in cents, exactly; None if it is not a number with at most two decimals."""
    match = re.fullmatch(r"(-?)([0-9]+)(?:\.([0-9]{1,2}))?", text)
    if match is None:
        return None
    sign, whole, decimals = match.groups()
    value = int(whole) * 100 + int((decimals or "").ljust(2, "0"))
    return -value if sign else value


def checker(source: Source) -> Callable[[list[str]], etl.Row | str]:
    """A function from the fields of a row to the clean row, or to the reason why it is rejected.

    It remembers the ids that it let through: of two good rows with one id, the first counts.
    """
    seen: set[str] = set()

    def check(fields: list[str]) -> etl.Row | str:
        if len(fields) != len(source.columns):
            return "column_count"
        row: etl.Row = dict(zip(source.columns, fields))
        if not all(row[column] for column in source.required):
            return "missing_key"
        if not etl.is_date(row[source.date]):
            return "bad_date"
        if source.money is not None:
            amount = cents(row.pop(source.money))
            if amount is None:
                return f"bad_{source.money}"
            if amount < 0:
                return f"negative_{source.money}"
            row[f"{source.money}_cents"] = amount
        if fields[0] in seen:
            return "duplicate_id"
        seen.add(fields[0])
        return row

    return check


def extract(name: str) -> None:
    """Stages one source for the business date."""
    source = SOURCES[name]
    path = etl.data_dir() / f"{name}.csv"
    day = etl.work_dir() / etl.business_date()
    check = checker(source)
    good: list[etl.Row] = []
    rejects: list[etl.Row] = []

    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if header != source.columns:
            raise etl.PermanentError(f"{path}: the header must be {source.columns}, found {header}")
        for fields in reader:
            line = reader.line_num
            checked = check(fields)
            if isinstance(checked, str):
                rejects.append({"source": name, "line": line, "reason": checked, "row": fields})
            else:
                good.append({"line": line, **checked})
    etl.report(metrics={"records_in": len(good) + len(rejects)})

    etl.pause()

    staged = day / f"{name}.jsonl"
    etl.write_jsonl(day / "rejects" / f"{name}.jsonl", rejects)
    etl.write_jsonl(staged, good)
    etl.report(
        metrics={"records_out": len(good), "records_rejected": len(rejects)}, output={"path": str(staged.resolve())}
    )
    print(f"{name}: {len(good)} rows staged, {len(rejects)} rejected")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in SOURCES:
        sys.exit(f"usage: python3 extract.py {'|'.join(SOURCES)}")
    etl.main(lambda: extract(sys.argv[1]))
