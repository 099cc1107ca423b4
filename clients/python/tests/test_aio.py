"""The async client has the verbs of the sync one, and they do the same."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import penstock.aio
import penstock.client
import pytest
from cluster import LATE, Cluster
from penstock import BadInput, NoAnswer, NotFound, Pipeline, RunFailed, State, Task, Update


@pytest.mark.parametrize("name", ["Backfill", "Client", "Run"])
def test_both_have_the_same_verbs(name: str) -> None:
    def verbs(kind: type) -> dict[str, Any]:
        return {key: list(inspect.signature(value).parameters) for key, value in vars(kind).items() if inspect.isfunction(value) and key[0] != "_"}

    sync, other = getattr(penstock.client, name), getattr(penstock.aio, name)
    assert verbs(other) == verbs(sync) | {"Run": {"state": ["self"]}, "Backfill": {"state": ["self"], "progress": ["self"]}}.get(name, {})
    assert {key: value.__doc__ for key, value in vars(other).items()}.keys() >= verbs(sync).keys()


def test_a_run_is_submitted_watched_and_waited_for(cluster: Cluster) -> None:
    async def main() -> None:
        async with penstock.aio.Client(cluster.endpoint) as client:
            tasks = [Task("a", shell="echo hello"), Task("b", noop=True, depends_on="a")]
            registered = await client.register(Pipeline("aio", params={"n": 1}, tasks=tasks))
            assert registered.version == 1
            run = await client.submit("aio", {"n": 2}, run_id="aio-1")
            assert run.created and not (await client.submit("aio", {"n": 2}, run_id="aio-1")).created
            updates = [update async for update in run.watch(timeout=LATE)]
            assert updates[-1].run.state is State.SUCCESS
            info = await run.result()
            assert info.params == {"n": 2} and await run.state() is State.SUCCESS
            assert [line.text async for line in run.logs("a", follow=True)] == ["hello"]
            assert [found.id async for found in client.runs("aio", limit=5)] == ["aio-1"]
            assert (await client.workers())[0].name == "w"
            assert "aio" in {found.name.rpartition("/")[2] for found in await client.pipelines()}
            with pytest.raises(NotFound):
                await client.get("no-such")
            with pytest.raises(NotFound):
                await run.outputs("no_such")
            with pytest.raises(BadInput):
                await client.register("pipeline: x")

    asyncio.run(main())


def test_a_failure_is_an_error_and_a_cancelled_run_ends(cluster: Cluster) -> None:
    async def main() -> None:
        async with penstock.aio.Client(cluster.endpoint) as client:
            await client.register(Pipeline("aio_fails", tasks=[Task("a", shell="exit 1")]))
            run = await client.submit("aio_fails")
            with pytest.raises(RunFailed, match="exit_code"):
                await run.result(LATE)
            assert await run.rerun() == 2
            await run.wait(LATE)
            await client.register(Pipeline("aio_sleeps", tasks=[Task("a", run=["sleep", "300"])]))
            run = await client.submit("aio_sleeps")
            with pytest.raises(TimeoutError):
                await run.wait(0.3)
            await run.cancel("enough")
            assert (await run.wait(LATE)).state is State.CANCELLED

    asyncio.run(main())


def test_a_watch_goes_on_over_a_coordinators_death(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)

    async def main() -> None:
        async with penstock.aio.Client(cluster.endpoint) as client:
            go = cluster.code / "go"
            await client.register(Pipeline("aio_survivor", tasks=[Task("slow", shell=f"until test -e {go}; do sleep 0.1; done")]))
            run = await client.submit("aio_survivor")
            seen: list[Update] = []
            running = asyncio.Event()

            async def watch() -> None:
                async for update in run.watch(timeout=LATE):
                    seen.append(update)
                    if any(change.state is State.RUNNING and change.task for change in update.changes):
                        running.set()

            watching = asyncio.create_task(watch())
            await asyncio.wait_for(running.wait(), LATE)
            cluster.server.kill()
            cluster.start_server()
            assert (await client.cluster()).node == "c"
            go.touch()
            await watching
            assert seen[-1].run.state is State.SUCCESS

    try:
        asyncio.run(main())
    finally:
        cluster.close()


def test_nobody_there_is_no_answer() -> None:
    async def main() -> None:
        async with penstock.aio.Client("127.0.0.1:1", deadline=0.5) as client:
            with pytest.raises(NoAnswer):
                await client.workers()
            with pytest.raises(NoAnswer):
                await client.run("x").wait()
            with pytest.raises(NoAnswer):
                [line async for line in client.logs("x", "t")]

    asyncio.run(main())
