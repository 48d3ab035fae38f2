"""One value, one sequence of bytes: JSON after RFC 8785, so that a signature of it means something.

Keys are sorted by their UTF-16 units, there is no white space, a number is the shortest that reads back as
the same double, and text is UTF-8. What is not a finite number becomes null.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

__all__ = ["canonical", "plain"]

EXACT = 2**53 - 1
"""The largest whole number that every reader of JSON keeps exactly (RFC 7493, section 2.2)."""


def plain(value: Any) -> Any:
    """The value in JSON's own types: dataclasses and arrays opened, a path by its name, NaN as None.

    >>> plain({1: (float("nan"), 2.5), "at": Path("/home/alice/run")})
    {'1': [None, 2.5], 'at': 'run'}
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return [plain(inner) for inner in sorted(value, key=str)]
    if isinstance(value, Path):
        return value.name
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)


def canonical(value: Any) -> bytes:
    """The canonical JSON of a value as UTF-8; equal values give equal bytes, whatever their order.

    A whole number beyond 2^53 is written as text, since a double cannot hold it.

    >>> canonical({"b": 1e21, "a": [1.0, 1e-7, -0.0], "n": float("inf")})
    b'{"a":[1,1e-7,0],"b":1e+21,"n":null}'
    """
    return _written(plain(value)).encode("utf-8")


def _written(value: Any) -> str:
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_text(key)}:{_written(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) <= EXACT else _text(str(value))
    if isinstance(value, float):
        return _number(value)
    return json.dumps(value)


def _text(value: str) -> str:
    """Text in quotes; half of a surrogate pair, which UTF-8 cannot hold, becomes a question mark."""
    return json.dumps(value.encode("utf-8", "replace").decode("utf-8"), ensure_ascii=False)


def _number(value: float) -> str:
    """A double as ECMAScript writes it (RFC 8785, section 3.2.2.3)."""
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, part = mantissa.partition(".")
    part = "" if part == "0" else part
    digits = (whole + part).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + part) - len(digits))
    digits = digits.rstrip("0")
    return ("-" if value < 0 else "") + _placed(digits, point)


def _placed(digits: str, point: int) -> str:
    """Digits whose decimal point stands after the first `point` of them."""
    count = len(digits)
    if count <= point <= 21:
        return digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    power = f"e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return digits[0] + (f".{digits[1:]}" if count > 1 else "") + power
