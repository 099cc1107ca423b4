#!/usr/bin/env python3
"""Runs every example in the documentation, follows every relative link, and looks whether the reference names every key.

    tests/docs/run.py target/debug/penstock                      all pages
    tests/docs/run.py target/debug/penstock --only mapped        pages whose path contains this

A page has a directory of its own, empty at first; its blocks are run in their order.

| block | what is done |
| --- | --- |
| ```yaml with a `pipeline` | `penstock check`, then `penstock run` |
| ```sh | its lines, by `sh -eu`; variables are kept for the page's later blocks |
| ```python with `import penstock` | run with the client on PYTHONPATH, if grpcio is installed; other Python is run as it is |
| ```text after one of these | each line must be in its output, in this order; `…` is anything; lines match by their first words |
| any other | nothing |

HTML comments on the lines above a block, which readers do not see, say more:

| comment | what it says |
| --- | --- |
| `file: NAME` | the block is written to this file of the page's directory; a pipeline, or a program that imports `penstock`, is run as well |
| `check only: REASON` | it is checked, and not run |
| `run: ARGS` | further arguments of `penstock run`; `$HTTP` is a server that answers, on loopback |
| `fails: check` | `penstock check` must refuse it |
| `fails: TEXT` | it must end with status 1 and say this, as FAILED(template) |
| `skip: REASON` | neither; it is listed |
| `goes on: SECONDS` | a shell block that may take so long |

And anywhere on a page:

| comment | what it says |
| --- | --- |
| `cluster` | its shell blocks have a coordinator, whose HTTP address is `$COORDINATOR`, and a worker; `cluster: ARGS` are further arguments of the worker |
| `copy: PATH` | this file or folder of the repository is at the same path in the page's directory |

Python 3.9, standard library only. Ends only processes that it started.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "docs/**/*.md", "examples/**/*.md"]
CLIENT = ROOT / "clients/python/src"
REFERENCE = ROOT / "docs/pipelines.md"
LINKED = [*PAGES, "*.md", "tests/**/*.md", "clients/**/*.md"]
NOT_PAGES = {".git", "target", "node_modules", ".penstock", ".venv"}
# What nobody reads as part of a language that can be run.
QUIET = {"", "text", "json", "toml", "mermaid", "ini", "console", "diff", "sql", "proto", "csv", "dockerfile"}
BLOCK_KEYS = {"file", "check only", "run", "fails", "skip", "goes on"}
PAGE_KEYS = {"cluster", "copy"}
SECONDS = 60


@dataclass
class Block:
    language: str
    line: int
    text: str
    says: dict[str, str]
    expected: str | None = None

    @property
    def is_pipeline(self) -> bool:
        lines = (line for line in self.text.splitlines() if line.strip() and not line.startswith("#"))
        return self.language == "yaml" and next(lines, "").startswith("pipeline:")


    @property
    def imports_client(self) -> bool:
        return self.language == "python" and bool(re.search(r"^\s*(import|from) penstock", self.text, re.MULTILINE))


@dataclass
class Page:
    path: Path
    blocks: list[Block]
    says: dict[str, list[str]]


@dataclass
class Result:
    where: str
    what: str
    state: str  # ok, skip, fail
    why: str = ""


@dataclass
class Output:
    status: int
    text: str


class Wrong(Exception):
    """An example does not do what the page says."""


# Reading


def read(path: Path) -> Page:
    """The blocks of a page, with what the comments above them say."""
    page = Page(path, [], {})
    says: dict[str, str] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        fence = re.match(r"^(\s*)(`{3,}|~{3,})\s*([\w+-]*)", line)
        if fence:
            indent, ticks, language = fence.groups()
            start = at
            while at < len(lines) and not re.match(rf"^\s*{re.escape(ticks)}\s*$", lines[at]):
                at += 1
            text = "".join(body[len(indent) :] + "\n" if body.startswith(indent) else body + "\n" for body in lines[start:at])
            at += 1
            block = Block(language.lower(), start, text, says)
            if block.language == "text" and page.blocks and not says and page.blocks[-1].language not in QUIET:
                if page.blocks[-1].expected is None:
                    page.blocks[-1].expected = block.text
            else:
                page.blocks.append(block)
            says = {}
            continue
        comment = re.match(r"^\s*<!--\s*(.*?)\s*-->\s*$", line)
        if comment:
            key, _, value = comment.group(1).partition(":")
            key = key.strip()
            if key in PAGE_KEYS:
                page.says.setdefault(key, []).append(value.strip())
            elif key in BLOCK_KEYS:
                says[key] = value.strip()
            else:
                raise SystemExit(f"{path}:{at}: `{key}` is none of {', '.join(sorted(BLOCK_KEYS | PAGE_KEYS))}")
        elif line.strip() and says:
            raise SystemExit(f"{path}:{at}: a comment `{next(iter(says))}` stands above no block")
    return page


# Running


class Answers(http.server.BaseHTTPRequestHandler):
    """What examples send requests to: says back what it got."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0) or 0))
        status = int(self.path.rpartition("/status/")[2]) if "/status/" in self.path else 200
        said = {"path": self.path, "method": self.command, "rows": 42}
        if body:
            said["body"] = body.decode()
        data = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Runner:
    penstock: Path
    python: str
    http: str
    results: list[Result] = field(default_factory=list)

    def page(self, page: Page) -> list[Result]:
        name = str(page.path.relative_to(ROOT))
        if not page.blocks:
            return []
        with tempfile.TemporaryDirectory(prefix="penstock-docs-") as folder:
            work = Work(self, page, Path(folder) / "page", Path(folder) / "apart")
            try:
                work.prepare()
                return [self.block(work, name, block) for block in page.blocks if block.language not in QUIET or block.says]
            except Wrong as why:
                return [Result(name, "page", "fail", str(why))]
            finally:
                work.close()

    def block(self, work: Work, name: str, block: Block) -> Result:
        where = f"{name}:{block.line}"
        what = block.language or "block"
        if "skip" in block.says:
            return reasoned(where, what, block.says["skip"])
        try:
            if "file" in block.says:
                work.write(block.says["file"], block.text)
                if not block.is_pipeline and not block.imports_client:
                    return Result(where, f"file {block.says['file']}", "ok")
            if block.is_pipeline:
                return work.pipeline(where, block)
            if block.language in ("sh", "bash", "shell"):
                return work.shell(where, block)
            if block.language == "python":
                return work.program(where, block)
            raise Wrong(f"a block of {what} that nothing is done with: give it a `file:` or a `skip:` with the reason")
        except Wrong as why:
            return Result(where, what, "fail", str(why))
        except subprocess.TimeoutExpired as late:
            return Result(where, what, "fail", f"took longer than {late.timeout} s; it had said:\n{text_of(late.output)}")


@dataclass
class Work:
    """The directory of a page, and its cluster."""

    runner: Runner
    page: Page
    folder: Path
    apart: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    runs: int = 0

    def prepare(self) -> None:
        self.folder.mkdir()
        (self.apart / "bin").mkdir(parents=True)
        (self.apart / "bin" / "penstock").symlink_to(self.runner.penstock)
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "OTEL_"))},
            "PATH": f"{self.apart / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HTTP": self.runner.http,
        }
        if CLIENT.is_dir() and any(block.imports_client for block in self.page.blocks):
            # For functions that the worker is to call, too.
            self.env["PYTHONPATH"] = str(CLIENT)
        for path in self.page.says.get("copy", []):
            source, target = ROOT / path, self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("work", ".penstock", "__pycache__"))
            elif source.is_file():
                shutil.copy2(source, target)
            else:
                raise Wrong(f"copy: there is no {path}")
        if "cluster" in self.page.says:
            self.cluster(shlex.split(self.page.says["cluster"][0]))

    def cluster(self, worker_args: list[str]) -> None:
        grpc, web = free_port(), free_port()
        logs = self.apart / "logs"
        endpoint = f"127.0.0.1:{grpc}"
        self.env["PENSTOCK_ENDPOINT"] = endpoint
        self.env["COORDINATOR"] = f"http://127.0.0.1:{web}"
        store = f"embedded:{self.apart / 'store.redb'}"
        self.start("server", "--store", store, "--grpc", endpoint, "--http", f"127.0.0.1:{web}", "--name", "c1", "--logs", str(logs))
        places = ["--code-root", str(self.folder), "--logs", str(logs), "--scratch", str(self.apart / "scratch")]
        self.start("worker", "--name", "w1", "--slots", "4", *places, *worker_args)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            workers = self.call(["penstock", "workers"], 20)
            if workers.status == 0 and "w1" in workers.text:
                return
            gone = [process for process in self.processes if process.poll() is not None]
            if gone:
                break
            time.sleep(0.1)
        raise Wrong(f"the cluster did not come up:\n{self.said()}")

    def start(self, *argv: str) -> None:
        with open(self.apart / f"{argv[0]}.log", "wb") as log:
            command = [str(self.runner.penstock), *argv]
            self.processes.append(
                subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.env, cwd=self.folder)
            )

    def said(self) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in sorted(self.apart.glob("*.log")))

    def close(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def call(self, argv: list[str], seconds: float) -> Output:
        """Runs a program in a process group of its own, so that what it leaves behind ends with it."""
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.env,
            cwd=self.folder,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=seconds)
            return Output(process.returncode, text_of(said))
        except subprocess.TimeoutExpired as late:
            stop_group(process)
            said, _ = process.communicate()
            raise subprocess.TimeoutExpired(argv, seconds, output=said) from late
        finally:
            stop_group(process)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        if self.folder.resolve() not in path.resolve().parents:
            raise Wrong(f"file: {name} is outside the page's directory")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if text.startswith("#!"):
            path.chmod(0o755)
        return path

    def pipeline(self, where: str, block: Block) -> Result:
        self.runs += 1
        file = self.write(block.says.get("file", "pipeline.yaml"), block.text)
        fails = block.says.get("fails")
        checked = self.call(["penstock", "check", file.name if file.parent == self.folder else str(file)], SECONDS)
        if fails == "check":
            if checked.status == 0:
                raise Wrong(f"check accepts it, and should not:\n{checked.text}")
            compare(block.expected, checked.text)
            return Result(where, "check refuses", "ok")
        if checked.status != 0:
            raise Wrong(f"penstock check ended with {checked.status}:\n{checked.text}")
        if "check only" in block.says:
            skipped = reasoned(where, "checked, not run", block.says["check only"])
            if block.expected is not None:
                compare(block.expected, checked.text)
            return skipped
        args = [part.replace("$HTTP", self.runner.http) for part in shlex.split(block.says.get("run", ""))]
        state = str(self.apart / f"state{self.runs}")
        ran = self.call(["penstock", "run", str(file), "--state", state, *args], SECONDS)
        logs = "".join(
            f"--- {log.relative_to(state)}\n{log.read_text(errors='replace')[-1500:]}" for log in sorted(Path(state).rglob("*.log"))[:8]
        )
        if fails is None and ran.status != 0:
            raise Wrong(f"penstock run ended with {ran.status}:\n{ran.text}\n{logs}")
        if fails is not None and (ran.status != 1 or fails not in ran.text):
            raise Wrong(f"penstock run should end with 1 and {fails}, and ended with {ran.status}:\n{ran.text}\n{logs}")
        compare(block.expected, ran.text)
        return Result(where, "run" if fails is None else f"run: {fails}", "ok")

    def shell(self, where: str, block: Block) -> Result:
        kept = self.apart / "variables"
        load = f". {shlex.quote(str(kept))}\n" if kept.exists() else ""
        keep = f"export -p > {shlex.quote(str(kept))}"
        script = f"{load}set -a\ntrap {shlex.quote(keep)} EXIT\n{block.text}"
        seconds = float(block.says.get("goes on", SECONDS))
        ran = self.call(["sh", "-euc", script], seconds)
        fails = block.says.get("fails")
        if fails is None and ran.status != 0:
            raise Wrong(f"ended with {ran.status}:\n{ran.text}\n{self.said()}")
        if fails is not None and (ran.status == 0 or fails not in ran.text):
            raise Wrong(f"should fail and say {fails}, and ended with {ran.status}:\n{ran.text}")
        compare(block.expected, ran.text)
        return Result(where, "shell", "ok")

    def program(self, where: str, block: Block) -> Result:
        if block.imports_client:
            if not CLIENT.is_dir():
                return Result(where, "python", "skip", "there is no Python client in this tree")
            if self.call([self.runner.python, "-c", "import grpc, google.protobuf"], SECONDS).status != 0:
                return Result(where, "python", "skip", f"grpcio and protobuf are not installed for {self.runner.python}")
        self.runs += 1
        # A file, because functions of a program are found by its name.
        program = self.write(block.says.get("file", f"example{self.runs}.py"), block.text)
        ran = self.call([self.runner.python, program.name], SECONDS)
        if ran.status != 0:
            raise Wrong(f"python ended with {ran.status}:\n{ran.text}\n{self.said()}")
        compare(block.expected, ran.text)
        return Result(where, "python", "ok")


def reasoned(where: str, what: str, reason: str) -> Result:
    if not reason:
        return Result(where, what, "fail", "it is passed over without a reason")
    return Result(where, what, "skip", reason)


def compare(expected: str | None, found: str) -> None:
    """Each line expected is a line found, or the first words of one, in this order."""
    if expected is None:
        return
    lines = [" ".join(line.split()) for line in found.splitlines()]
    at = 0
    for line in filter(None, (" ".join(line.split()) for line in expected.splitlines())):
        if line == "…":
            continue
        pattern = re.compile(".*?".join(re.escape(part) for part in line.split("…")) + r"(?:\s.*)?$")
        while at < len(lines) and not pattern.match(lines[at]):
            at += 1
        if at == len(lines):
            raise Wrong(f"the page says\n    {line}\nand the output, from there on, does not:\n{found}")
        at += 1


def text_of(data: bytes | str | None) -> str:
    return data.decode(errors="replace") if isinstance(data, bytes) else data or ""


def stop_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


# Links


def files(patterns: list[str]) -> list[Path]:
    found = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(path for path in found if not NOT_PAGES & set(path.relative_to(ROOT).parts))


def without_code(text: str) -> str:
    text = re.sub(r"^(\s*)(`{3,}|~{3,}).*?^\s*\2\s*$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path: Path) -> set[str]:
    """Of headings, as GitHub makes them."""
    found: dict[str, int] = {}
    slugs = set()
    text = re.sub(r"^(\s*)(`{3,}|~{3,}).*?^\s*\2\s*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#{1,6}\s+(.*?)\s*#*$", text, flags=re.MULTILINE):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        kept = (c for c in heading.lower() if c in " -_" or unicodedata.category(c)[0] in "LN")
        slug = "".join(kept).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        slugs.add(slug if count == 0 else f"{slug}-{count}")
    return slugs


def links() -> list[Result]:
    results = []
    for page in files(LINKED):
        name = str(page.relative_to(ROOT))
        broken = []
        targets = re.findall(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)", without_code(page.read_text(encoding="utf-8")))
        for target in targets:
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            path, _, anchor = target.partition("#")
            there = (page.parent / unquote(path)).resolve() if path else page
            if not there.exists():
                broken.append(f"{target}: there is no such file")
            elif anchor and there.suffix == ".md" and unquote(anchor) not in anchors(there):
                broken.append(f"{target}: {there.name} has no such heading")
        if broken:
            results.append(Result(name, "links", "fail", "\n".join(broken)))
        elif targets:
            results.append(Result(name, "links", "ok"))
    return results


# Keys


def properties(schema: object) -> set[str]:
    """Every key that a JSON Schema knows."""
    if isinstance(schema, list):
        return set().union(*map(properties, schema))
    if not isinstance(schema, dict):
        return set()
    own = schema.get("properties")
    return set(own if isinstance(own, dict) else ()).union(*map(properties, schema.values()))


def keys(penstock: Path) -> Result:
    """The reference names every key of the language."""
    said = subprocess.run([penstock, "schema"], capture_output=True, text=True, check=True, timeout=SECONDS)
    words = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`[^`\n]+`", REFERENCE.read_text(encoding="utf-8")))))
    missing = sorted(properties(json.loads(said.stdout)) - words)
    where = str(REFERENCE.relative_to(ROOT))
    return Result(where, "every key", "fail", f"it does not name {', '.join(missing)}") if missing else Result(where, "every key", "ok")


def main() -> int:
    reader = argparse.ArgumentParser(description="Runs every example in the documentation, and follows every relative link.")
    reader.add_argument("penstock", type=Path, help="the binary")
    reader.add_argument("--only", default="", help="pages whose path contains this")
    reader.add_argument("--jobs", type=int, default=2, help="pages at once")
    reader.add_argument("--python", default=sys.executable, help="what runs Python examples")
    reader.add_argument("--quiet", action="store_true", help="shows only what is passed over or fails")
    said = reader.parse_args()
    penstock = said.penstock.resolve()
    if not os.access(penstock, os.X_OK):
        print(f"{penstock} is not a program that can be run: build it first", file=sys.stderr)
        return 2
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    runner = Runner(penstock, said.python, f"http://127.0.0.1:{server.server_port}")

    pages = [read(path) for path in files(PAGES) if said.only in str(path.relative_to(ROOT))]
    results: list[Result] = []
    with ThreadPoolExecutor(said.jobs) as pool:
        for found in pool.map(runner.page, pages):
            for result in found:
                show(result, said.quiet)
            results += found
    if not said.only:
        for result in [keys(penstock), *links()]:
            show(result, said.quiet)
            results.append(result)
    server.shutdown()

    count = {state: sum(result.state == state for result in results) for state in ("ok", "skip", "fail")}
    print(f"{len(pages)} pages: {count['ok']} ok, {count['skip']} passed over, {count['fail']} failed")
    return 1 if count["fail"] or not results else 0


def show(result: Result, quiet: bool) -> None:
    if result.state == "ok" and quiet:
        return
    word = {"ok": "ok  ", "skip": "skip", "fail": "FAIL"}[result.state]
    print(f"{word} {result.where}  {result.what}" + (f": {result.why}" if result.state == "skip" else ""), flush=True)
    if result.state == "fail":
        print("".join(f"     | {line}\n" for line in result.why.splitlines()), end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
