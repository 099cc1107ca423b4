"""Functions that the tests run as tasks. The worker imports this module too."""

from __future__ import annotations

import time
from typing import Any

import penstock
from penstock import Context, Interval, Pipeline, Task, current, python, task


@task(retries=1)
def extract(region: str, interval: Interval, when: Context) -> dict[str, Any]:
    """Reads the source.

    More of it.
    """
    print(f"extracting {region}")
    current.records(in_=10, out=9, rejected=1)
    return {"path": f"/data/{region}/{interval.date}", "task": when.task_id, "hard": 'it\'s "<é>"\n{{ }}'}


@task(depends_on=[extract], args={"factor": "{{ params.n * 2 }}", "label": "n={{ params.n }}!", "constant": {"a": [1, None]}})
async def transform(extract: dict[str, Any], factor: int, label: str, constant: Any, n: int = 0, missing: str = "default") -> dict[str, Any]:
    return {"extract": extract, "factor": factor, "label": label, "constant": constant, "n": n, "missing": missing}


@task(depends_on=["load"], trigger_rule="all_done")
def report(outputs: dict[str, Any]) -> dict[str, Any]:
    return {"seen": outputs}


def load(transform: dict[str, Any], params: dict[str, Any], context: Context) -> None:
    context.outputs(n=params["n"], factor=transform["factor"], attempt=context.attempt)


@task
def square(item: int) -> dict[str, int]:
    return {"value": item * item}


def skips() -> None:
    raise penstock.Skip("nothing came today")


def fails() -> None:
    raise penstock.Fail("the file has no header")


def raises() -> None:
    raise ValueError("no such column")


def exits() -> None:
    raise SystemExit(3)


def returns_a_list() -> Any:
    return [1]


def wants(unknown: int) -> None: ...


def sleeps(region: str) -> None:
    try:
        print("sleeping")
        time.sleep(60)
    finally:
        print("tidied up")


def makes_items() -> None:
    assert current.items([1, {"a": 2}, "x"]) == 3


def calls_the_cluster_when_imported() -> None: ...


pipeline = Pipeline(
    "functions",
    params={"region": "eu", "n": 3},
    tasks=[extract, transform, Task("load", run=python("jobs_under_test:load"), depends_on=transform), report],
)

if __name__ == "__main__":
    print(pipeline.to_yaml())
