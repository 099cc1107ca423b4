"""What is written as YAML reads back as it was, also by readers of YAML 1.1."""

from __future__ import annotations

import random
from typing import Any

import pytest
import yaml
from penstock._yaml import dump

STRINGS = [
    *["", " ", "a", "a b", "a: b", "a #b", "# a", "- a", "-", "?", "a:", ":a", "[a", "{a", "{{ params.x }}", "*a", "&a", "!a", "|", ">", "%a", "@a", "`a"],
    *["true", "True", "yes", "No", "on", "OFF", "y", "n", "null", "~", "NULL", "1", "1.5", "1e5", "0x1f", "0o17", "1_000", "1:30", ".5", "nan", ".inf"],
    *["2024-01-31", "2024-01-31T00:00:00Z", "0 2 * * *", "*/5 * * * *", "30s", "a,b", "'", '"', "a'b", "\\", "a\\nb", "\t", "a\tb", "é", "日本", "🙂"],
    *["\n", "a\n", "a\nb", "a\nb\n", "a\n\nb\n", "a\nb\n\n", " a\nb", "a\n b\n", "a\r\nb", "a\x00b", "a\x7fb", "a\x85b", "a\u2028b\nc", "\ufeffa", "a \nb \n"],
    *["set -eu\npsql <<SQL\n  select 1;\nSQL\n", "---", "...", "a\n---\nb\n", "=", "<<", "a" * 300, "!!str a", "None", "a-", "a.b/c_d+e@f*g"],
]


def reads_back(document: dict[str, Any]) -> None:
    text = dump(document)
    assert yaml.safe_load(text) == document, text
    text.encode()


@pytest.mark.parametrize("string", STRINGS)
def test_a_string_reads_back(string: str) -> None:
    key = string if string and "\n" not in string else "key"
    reads_back({"value": string, "list": [string, string], "mapping": {key: string}, "deep": {"a": {"b": [{"c": string, "d": [string]}]}}})


def test_scalars_read_back() -> None:
    reads_back({"values": [None, True, False, 0, -1, 2**63, 1.0, 0.1, 1e-7, 1e300, -1.5e-9], "none": None, "empty": {}, "no_items": []})
    with pytest.raises(ValueError, match="JSON"):
        dump({"a": float("nan")})


def test_whatever_json_holds_reads_back() -> None:
    chance = random.Random(7)

    def value(depth: int) -> Any:
        kind = chance.randrange(7 if depth else 4)
        if kind == 0:
            return chance.choice(STRINGS)
        if kind == 1:
            return "".join(chance.choice(" \n\t:#-,[]{}'\"&*!|>%@`ab1.\\é\x85") for _ in range(chance.randrange(8)))
        if kind == 2:
            return chance.choice([None, True, 3, 0.25])
        if kind == 3:
            return chance.randrange(-1000, 1000)
        if kind in (4, 5):
            return {f"k{n}": value(depth - 1) for n in range(chance.randrange(4))}
        return [value(depth - 1) for _ in range(chance.randrange(4))]

    for _ in range(500):
        reads_back({"document": value(4)})


def test_it_reads_as_people_write_it() -> None:
    document: dict[str, Any] = {
        "pipeline": "daily_etl",
        "schedule": {"cron": "0 2 * * *", "catchup": "latest"},
        "env": {"A": {"secret": "S"}},
        "tasks": {
            "extract": {"run": ["python3", "extract.py", "{{ item }}"], "for_each": ["customers", "claims"], "description": "x" * 90},
            "load": {"shell": "set -x\npsql -f load.sql\n", "retries": {"max": 2, "on": ["timeout"]}},
        },
    }
    assert dump(document) == (
        "pipeline: daily_etl\n"
        'schedule: {cron: "0 2 * * *", catchup: latest}\n'
        "env:\n"
        "  A: {secret: S}\n"
        "tasks:\n"
        "  extract:\n"
        '    run: [python3, extract.py, "{{ item }}"]\n'
        "    for_each: [customers, claims]\n"
        f"    description: {'x' * 90}\n"
        "  load:\n"
        "    shell: |\n"
        "      set -x\n"
        "      psql -f load.sql\n"
        "    retries: {max: 2, \"on\": [timeout]}\n"
    )
