"""Fixtures: a cluster for all tests, a client of it, and what the server under test can do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster import Cluster
from penstock import BadInput, Client, Http, NotSupported, Pipeline, Task


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    with Client(cluster.endpoint, by="tests") as client:
        yield client


@pytest.fixture
def endpoint(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> str:
    """The cluster is that of the environment."""
    monkeypatch.setenv("PENSTOCK_ENDPOINT", cluster.endpoint)
    return cluster.endpoint


@pytest.fixture
def code(cluster: Cluster) -> Path:
    """The worker's code root."""
    return cluster.code


def _json_in_templates(client: Client) -> bool:
    task = Task("t", shell="exit 0", env={"V": "{{ [1] | tojson }}"})
    client.register(Pipeline("probe_tojson", tasks=[task]))
    return client.submit("probe_tojson").wait(60).state == "SUCCESS"


def _whole_language(client: Client) -> bool:
    try:
        client.check(Pipeline("probe_language", tasks=[Task("t", http=Http("http://127.0.0.1:1/"), if_="true", trigger_rule="always")]))
    except BadInput as error:
        if "not supported by this version" in str(error):
            return False
        raise
    return True


def _all_verbs(client: Client) -> bool:
    client.register(Pipeline("probe_verbs", tasks=[Task("t", noop=True)]))
    try:
        client.pipeline("probe_verbs")
    except NotSupported:
        return False
    return True


PROBES: dict[str, tuple[Callable[[Client], bool], str]] = {
    "tojson": (_json_in_templates, "templates have no filter `tojson`"),
    "language": (_whole_language, "the whole pipeline language is not read"),
    "verbs": (_all_verbs, "the newer verbs are not served"),
}


@pytest.fixture(scope="session")
def needs(cluster: Cluster) -> Callable[[str], None]:
    """Passes a test over where the server is too old for it; with PENSTOCK_TEST_ALL=1 that is a failure."""
    known: dict[str, bool] = {}

    def needs(feature: str) -> None:
        probe, reason = PROBES[feature]
        if feature not in known:
            with Client(cluster.endpoint) as client:
                known[feature] = probe(client)
        if not known[feature]:
            if os.environ.get("PENSTOCK_TEST_ALL"):
                pytest.fail(f"this server is too old: {reason}")
            pytest.skip(f"this server is too old: {reason}")

    return needs
