"""Tasks without actions, joined by `depends_on`, are a pipeline as they stand."""

from __future__ import annotations

from typing import Any

import pytest
from penstock import Client, Pipeline, State, UndefinedActionWarning

DEFINITION = """
pipeline = Pipeline("daily_etl")

extract_customers = Task("extract_customers")
extract_policies = Task("extract_policies")
transform = Task("transform_data")
load = Task("load_dwh")

# Dependencies
transform.depends_on(extract_customers)
transform.depends_on(extract_policies)
load.depends_on(transform)

pipeline.add_tasks([
    extract_customers,
    extract_policies,
    transform,
    load
])
"""


def written() -> Pipeline:
    names: dict[str, Any] = {}
    exec("from penstock import *\n" + DEFINITION, names)
    pipeline = names["pipeline"]
    assert isinstance(pipeline, Pipeline)
    return pipeline


def test_it_is_the_document_one_would_write() -> None:
    with pytest.warns(UndefinedActionWarning, match="extract_customers, extract_policies, transform_data, load_dwh") as warned:
        text = written().to_yaml()
    assert text == (
        "pipeline: daily_etl\n"
        "tasks:\n"
        "  extract_customers: {noop: true}\n"
        "  extract_policies: {noop: true}\n"
        "  transform_data: {depends_on: [extract_customers, extract_policies], noop: true}\n"
        "  load_dwh: {depends_on: [transform_data], noop: true}\n"
    )
    assert warned[0].filename == __file__


def test_it_runs(client: Client) -> None:
    with pytest.warns(UndefinedActionWarning):
        info = written().submit(client=client).result(60)
    assert {id: task.state for id, task in info.tasks.items()} == dict.fromkeys(
        ["extract_customers", "extract_policies", "transform_data", "load_dwh"], State.SUCCESS
    )
    started = {id: task.attempts[0].started_at for id, task in info.tasks.items()}
    transform, load = started["transform_data"], started["load_dwh"]
    assert transform is not None and load is not None and transform <= load
