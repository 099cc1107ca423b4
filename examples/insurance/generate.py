"""Writes the sample data: `python3 generate.py [--out DIR]`. The same files every time.

Good rows refer to good rows only. Among them stand rows that are bad on purpose; bad_rows.csv lists each of these
with the reason for which it must be rejected. They are fewer than one in a hundred of what any task reads, so a
normal run raises no alert about errors.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import itertools
import random
from pathlib import Path
from typing import Callable

Fields = list[str]
Spoil = Callable[[Fields], Fields]

REGIONS = ["Auvergne-Rhône-Alpes", "Bretagne", "Grand Est", "Île-de-France", "Occitanie"]
PRODUCTS = {"auto": (300, 1500), "health": (400, 2500), "home": (120, 700), "travel": (25, 200)}  # yearly premium
STATUSES = ["open", "paid", "paid", "paid", "refused"]
FIRST_NAMES = ["Aïcha", "Bruno", "Chloé", "Denis", "Élodie", "Farid", "Gaëlle", "Hugo", "Inès", "Jules", "Léa", "Zoë"]
LAST_NAMES = ["Bernard", "Da Silva", "Dubois", "Fontaine", "Garcia", "Le Goff", "L'Hermite", "Moreau", "Nguyen", "Roux"]
COMPANIES = ["Boulangerie {}", "Garage {}", "{}, Père et Fils", '{} "Le Bon Coin"']  # the last two need quotes in CSV

HEADERS = {
    "customers": ["customer_id", "name", "region", "birth_date"],
    "policies": ["policy_id", "customer_id", "product", "start_date", "premium"],
    "claims": ["claim_id", "policy_id", "claim_date", "amount", "status"],
}


class Source:
    """The rows of one CSV file; bad ones go in at random places among the good ones."""

    def __init__(self, name: str, rng: random.Random, good: list[Fields]) -> None:
        self.name = name
        self.rng = rng
        self.good = good
        self.spare = itertools.count(len(good) + 1)  # numbers of ids that no good row has
        self.bad: dict[int, list[tuple[Fields, str]]] = {}

    def spoil(self, count: int, reason: str, how: Spoil) -> list[str]:
        """Adds `count` rows of their own ids that `how` makes bad; returns these ids."""
        ids = []
        for _ in range(count):
            row = list(self.rng.choice(self.good))
            row[0] = f"{row[0][0]}{next(self.spare):06}"
            ids.append(row[0])
            self._insert(self.rng.randrange(len(self.good)), how(row), reason)
        return ids

    def repeat(self, count: int) -> None:
        """Adds `count` rows with the id of an earlier row and other values."""
        for _ in range(count):
            after = self.rng.randrange(100, len(self.good))
            first, other = self.good[self.rng.randrange(after)], self.rng.choice(self.good)
            self._insert(after, [first[0], *other[1:]], "duplicate_id")

    def _insert(self, after: int, row: Fields, reason: str) -> None:
        self.bad.setdefault(after, []).append((row, reason))

    def write(self, folder: Path) -> list[tuple[str, int, str]]:
        """Writes the file; returns source, line and reason of every bad row."""
        rows = [HEADERS[self.name]]
        truth = []
        for index, row in enumerate(self.good):
            rows.append(row)
            for bad, reason in self.bad.get(index, []):
                rows.append(bad)
                truth.append((self.name, len(rows), reason))
        write_csv(folder / f"{self.name}.csv", rows)
        return truth


def put(column: int, *values: str) -> Spoil:
    """Makes a row bad by one of these values, in turn."""
    turn = itertools.cycle(values)

    def spoil(row: Fields) -> Fields:
        row[column] = next(turn)
        return row

    return spoil


def wrong_width(row: Fields) -> Fields:
    """One field too few or too many."""
    return row[:-1] if int(row[0][1:]) % 2 else [*row, "?"]


def negate(column: int) -> Spoil:
    """A minus before the amount."""

    def spoil(row: Fields) -> Fields:
        row[column] = f"-{row[column]}"
        return row

    return spoil


def write_csv(path: Path, rows: list[Fields]) -> None:
    """Writes UTF-8 with plain line feeds, on every system."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def day(rng: random.Random, first: str, last: str) -> str:
    """A day between two days, both included."""
    start, end = datetime.date.fromisoformat(first), datetime.date.fromisoformat(last)
    return (start + datetime.timedelta(days=rng.randrange((end - start).days + 1))).isoformat()


def amount(rng: random.Random, low: int, high: int) -> str:
    """An amount with two decimals."""
    cents = rng.randrange(low * 100, high * 100)
    return f"{cents // 100}.{cents % 100:02}"


def customer(rng: random.Random, number: int) -> Fields:
    """A good row: a person, or now and then a company."""
    last = rng.choice(LAST_NAMES)
    name = rng.choice(COMPANIES).format(last) if number % 20 == 0 else f"{rng.choice(FIRST_NAMES)} {last}"
    return [f"C{number:06}", name, rng.choice(REGIONS), day(rng, "1935-01-01", "2004-12-31")]


def policy(rng: random.Random, number: int, customers: list[Fields]) -> Fields:
    """A good row, of one of these customers."""
    product = rng.choice(list(PRODUCTS))
    start = day(rng, "2018-01-01", "2023-12-31")
    return [f"P{number:06}", rng.choice(customers)[0], product, start, amount(rng, *PRODUCTS[product])]


def claim(rng: random.Random, number: int, policies: list[Fields]) -> Fields:
    """A good row, on one of these policies."""
    on = rng.choice(policies)[0]
    return [f"K{number:06}", on, day(rng, "2023-02-01", "2024-01-31"), amount(rng, 20, 900), rng.choice(STATUSES)]


def generate(folder: Path) -> None:
    """Writes the three sources and the list of their bad rows."""
    rng = random.Random(20240131)
    bad_dates = ("2023-02-30", "31/01/2023", "", "20230131", "soon")
    bad_amounts = ("n/a", "12,50", "", "1.005", "1e3")

    customers = Source("customers", rng, [customer(rng, n) for n in range(1, 1985)])
    customers.spoil(4, "missing_key", put(0, ""))
    customers.spoil(5, "bad_date", put(3, *bad_dates))
    customers.spoil(3, "column_count", wrong_width)
    customers.repeat(4)

    policies = Source("policies", rng, [policy(rng, n, customers.good) for n in range(1, 3467)])
    policies.spoil(4, "missing_key", put(1, ""))
    policies.spoil(5, "bad_date", put(3, *bad_dates))
    negative = policies.spoil(5, "negative_premium", negate(4))
    policies.spoil(5, "bad_premium", put(4, *bad_amounts))
    policies.spoil(4, "column_count", wrong_width)
    policies.repeat(5)
    homeless = policies.spoil(6, "unknown_customer", put(1, "C900001", "C900002", "C900003"))

    claims = Source("claims", rng, [claim(rng, n, policies.good) for n in range(1, 4927)])
    claims.spoil(4, "missing_key", put(0, ""))
    claims.spoil(4, "missing_key", put(1, ""))
    claims.spoil(10, "bad_date", put(2, *bad_dates))
    claims.spoil(6, "negative_amount", negate(3))
    claims.spoil(5, "bad_amount", put(3, *bad_amounts))
    claims.spoil(7, "column_count", wrong_width)
    claims.repeat(8)
    # A policy that never was, one that the extract rejects, one that the transform rejects.
    claims.spoil(30, "unknown_policy", put(1, "P900001", negative[0], homeless[0], "P900002", negative[1], homeless[1]))

    folder.mkdir(parents=True, exist_ok=True)
    truth = [entry for source in (customers, policies, claims) for entry in source.write(folder)]
    write_csv(folder / "bad_rows.csv", [["source", "line", "reason"], *([s, str(line), r] for s, line, r in truth)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes the sample data of the insurance pipeline.")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).resolve().parent / "data", help="folder (default: data)"
    )
    generate(parser.parse_args().out)
