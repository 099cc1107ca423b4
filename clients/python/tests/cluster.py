"""A real coordinator and worker, on loopback and free ports, for the tests. Ends only the processes it has started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from penstock import Client, NoAnswer

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent
ROOT = PACKAGE.parent.parent
LATE = 60.0
"""Seconds after which something that was to happen has not."""

T = TypeVar("T")


def binary() -> Path:
    """`PENSTOCK_BIN`, else the newer of those in `target`."""
    given = os.environ.get("PENSTOCK_BIN")
    if given:
        return Path(given).absolute()
    built = [path for path in (ROOT / "target" / kind / "penstock" for kind in ("release", "debug")) if path.exists()]
    if not built:
        raise RuntimeError("the program `penstock` was not built: `cargo build -p penstock`, or set PENSTOCK_BIN")
    return max(built, key=lambda path: path.stat().st_mtime)


def free_ports() -> Iterator[int]:
    """Ports that were free a moment ago, below those that the kernel gives to outgoing connections."""
    for n in range(20_000):
        port = 12_000 + (os.getpid() * 61 + n) % 20_000
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port


_ports = free_ports()


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This one's, but for what is Penstock's; `python3` is the Python of the tests, and knows the package under test."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "OTEL_"))}
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    kept["PYTHONPATH"] = str(PACKAGE / "src")
    kept["PYTHONDONTWRITEBYTECODE"] = "1"
    return kept | dict(more or {})


def eventually(what: str, ask: Callable[[], T | None], limit: float = LATE) -> T:
    """Asks until there is something."""
    until = time.monotonic() + limit
    while True:
        found = ask()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within {limit:g} s")
        time.sleep(0.05)


class Process:
    """A child with a log, killed when it is closed, and also if this program dies before it can."""

    def __init__(self, name: str, argv: list[str], folder: Path) -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(argv, cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        script = f"trap '' HUP INT TERM; read -r nothing; kill -KILL {self.child.pid}"
        self.guard = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        # The guard first: it must not meet another process under this pid.
        self.guard.kill()
        self.guard.wait()
        if self.guard.stdin is not None:
            self.guard.stdin.close()
        self.child.kill()
        self.child.wait()


class Cluster:
    """One coordinator with an embedded store, and one worker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = folder / "code"
        self.code.mkdir()
        grpc, http = next(_ports), next(_ports)
        self.endpoint = f"127.0.0.1:{grpc}"
        self.http = f"http://127.0.0.1:{http}"
        self._listen = ["--grpc", self.endpoint, "--http", f"127.0.0.1:{http}"]
        self.server = self.start_server()
        self.worker = Process(
            "worker",
            [
                *[str(binary()), "worker", "--coordinators", self.endpoint, "--name", "w", "--slots", "4"],
                *["--code-root", str(self.code), "--logs", str(folder / "logs"), "--scratch", str(folder / "scratch")],
            ],
            folder,
        )
        eventually("the worker is attached", self._is_ready)

    def start_server(self) -> Process:
        store = f"embedded:{self.folder / 'store.redb'}"
        argv = [str(binary()), "server", "--store", store, "--logs", str(self.folder / "logs"), "--name", "c", *self._listen]
        self.server = Process("server", argv, self.folder)
        return self.server

    def _is_ready(self) -> bool:
        assert self.server.child.poll() is None, self.server.log.read_text()
        try:
            with Client(self.endpoint, deadline=2) as client:
                return any(worker.attached for worker in client.workers())
        except NoAnswer:
            return False

    def close(self) -> None:
        self.worker.kill()
        self.server.kill()
