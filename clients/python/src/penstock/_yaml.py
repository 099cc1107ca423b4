"""Writes plain data as YAML that people like to read.

Of strings, only those go without quotes that no YAML, 1.1 or 1.2, takes for something else; other strings are JSON's, which are
YAML's too, or literal blocks. Short lists and mappings of scalars stand on one line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Union

Plain = Union[None, bool, int, float, str, Sequence["Plain"], Mapping[str, "Plain"]]
"""JSON, as Python has it."""

_WIDTH = 100
# A letter or / first, no ": ", " #" or flow indicator, no trailing space.
_BARE = re.compile(r"[A-Za-z/_][A-Za-z0-9_./@*+-]*( [A-Za-z0-9_./@*+-]+)*", re.ASCII)
_WORDS = frozenset(["true", "false", "yes", "no", "on", "off", "y", "n", "null", "none", "nan", "inf"])
_BLOCK = re.compile(r"[^\s\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff\ud800-\udfff][^\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]*")


def dump(document: Mapping[str, Plain]) -> str:
    """The document, ending with a newline."""
    return "\n".join(_mapping(document, 0)) + "\n"


def _mapping(mapping: Mapping[str, Plain], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for key, value in mapping.items():
        head = f"{indent}{_scalar(key)}:"
        flow = _flow(value)
        if isinstance(value, str) and _is_block(value):
            yield f"{head} |" + ("" if value.endswith("\n") else "-")
            for line in value.removesuffix("\n").split("\n"):
                yield f"{indent}  {line}" if line else ""
        elif flow is not None and len(head) + len(flow) < _WIDTH:
            yield f"{head} {flow}"
        elif isinstance(value, Mapping):
            yield head
            yield from _mapping(value, depth + 1)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield head
            for item in value:
                yield from _item(item, depth + 1)
        else:
            yield f"{head} {_scalar(value)}"


def _item(item: Plain, depth: int) -> Iterator[str]:
    indent = "  " * depth
    if isinstance(item, Mapping) and item:
        lines = list(_mapping(item, depth + 1))
        yield f"{indent}- {lines[0].lstrip()}"
        yield from lines[1:]
    elif isinstance(item, Sequence) and not isinstance(item, str) and item:
        yield f"{indent}- {_inline(item)}"
    else:
        yield f"{indent}- {_flow(item)}"


def _flow(value: Plain) -> str | None:
    """On one line; `None` where that does not read well: of lists and mappings within others only a list in a mapping does."""
    if isinstance(value, Mapping):
        simple = all(not isinstance(v, Mapping) and _flow(v) is not None for v in value.values())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        simple = all(isinstance(v, str) or not isinstance(v, (Mapping, Sequence)) for v in value)
    else:
        simple = True
    return _inline(value) if simple else None


def _inline(value: Plain) -> str:
    """On one line, however it reads."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(k)}: {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return _scalar(value)


def _is_block(text: str) -> bool:
    """Whether it is a text of lines that a literal block holds as it is."""
    body = text.removesuffix("\n")
    return "\n" in body and not body.endswith("\n") and bool(_BLOCK.fullmatch(body))


def _scalar(value: Plain) -> str:
    if isinstance(value, str):
        if _BARE.fullmatch(value) and value.lower() not in _WORDS:
            return value
        return _quoted(value)
    if isinstance(value, float):
        text = json.dumps(value, allow_nan=False)
        mantissa, e, exponent = text.partition("e")
        # YAML 1.1 wants a point in every float.
        return f"{mantissa}.0e{exponent}" if e and "." not in mantissa else text
    return json.dumps(value)


def _quoted(text: str) -> str:
    # What YAML takes for no printable character, JSON leaves as it is.
    quoted = json.dumps(text, ensure_ascii=False)
    return re.sub("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]", lambda c: f"\\u{ord(c[0]):04x}", quoted)
