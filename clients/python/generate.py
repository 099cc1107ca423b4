"""Writes the messages of the contract, `src/penstock/v1/*_pb2.py` and their stubs, from `proto/` at the top of the repository.

What it writes is committed, so that a user needs no compiler; a test compares. Only messages are generated: the methods are a
table in `src/penstock/_calls.py`, from the descriptors.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto" / "proto"
FILES = ("penstock/v1/control.proto", "penstock/v1/types.proto")


def generate(into: Path) -> list[Path]:
    """Generates below `into`, and returns what was written, relative to it."""
    from grpc_tools import protoc  # type: ignore[import-untyped,unused-ignore]

    arguments = ["protoc", f"-I{PROTO}", f"--python_out={into}", f"--pyi_out={into}", *FILES]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc failed; what it said is above")
    written = [Path(file.removesuffix(".proto") + end) for file in FILES for end in ("_pb2.py", "_pb2.pyi")]
    for path in written:
        if path.suffix == ".pyi":
            # A field with the name of a keyword, as `from`, is left without a type, which strict checkers refuse.
            stub = (into / path).read_text(encoding="utf-8")
            (into / path).write_text(stub.replace("**kwargs)", "**kwargs: object)"), encoding="utf-8")
    return written


if __name__ == "__main__":
    for path in generate(HERE / "src"):
        sys.stdout.write(f"{path}\n")
