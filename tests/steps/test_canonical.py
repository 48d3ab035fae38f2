"""Canonical JSON is one sequence of bytes for one value, and reads back as that value."""

from __future__ import annotations

import json
import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hounsfield.steps.canonical import canonical

# IEEE 754 bits and their text, from the test vectors of RFC 8785, appendix B.
VECTORS = {
    0x0000000000000000: "0", 0x8000000000000000: "0", 0x0000000000000001: "5e-324",
    0x8000000000000001: "-5e-324", 0x7FEFFFFFFFFFFFFF: "1.7976931348623157e+308",
    0x4340000000000000: "9007199254740992", 0xC340000000000000: "-9007199254740992",
    0x4430000000000000: "295147905179352830000", 0x44B52D02C7E14AF5: "9.999999999999997e+22",
    0x44B52D02C7E14AF6: "1e+23", 0x44B52D02C7E14AF7: "1.0000000000000001e+23",
    0x444B1AE4D6E2EF4E: "999999999999999700000", 0x444B1AE4D6E2EF4F: "999999999999999900000",
    0x444B1AE4D6E2EF50: "1e+21", 0x3EB0C6F7A0B5ED8C: "9.999999999999997e-7",
    0x3EB0C6F7A0B5ED8D: "0.000001", 0x41B3DE4355555553: "333333333.3333332",
    0x41B3DE4355555557: "333333333.33333343", 0xBECBF647612F3696: "-0.0000033333333333333333",
    0x43143FF3C1CB0959: "1424953923781206.2",
}  # fmt: skip


def test_numbers_are_written_as_the_standard_says() -> None:
    for bits, text in VECTORS.items():
        value = struct.unpack(">d", bits.to_bytes(8, "big"))[0]
        assert canonical(value).decode() == text


def test_the_standards_own_example() -> None:
    given = '{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],'
    given += '"string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/",'
    given += ' "literals": [null, true, false]}'
    wanted = '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
    wanted += '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    assert canonical(json.loads(given)) == wanted.encode()


def test_keys_are_sorted_by_utf16_units() -> None:
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\x80", "\u00f6"]
    found = list(json.loads(canonical(dict.fromkeys(names, 0))))
    assert found == ["\r", "1", "\x80", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_reads_back_as_itself(value: float) -> None:
    assert float(json.loads(canonical(value))) == value


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none()))
def test_order_does_not_matter(value: dict[str, object]) -> None:
    assert canonical(value) == canonical(dict(reversed(list(value.items()))))


def test_nothing_that_json_does_not_know_is_written() -> None:
    odd = {"a": np.array([np.nan, 1.0]), "b": float("-inf"), "c": 2**60, "d": np.float32(0.5), "e": "\ud800"}
    assert canonical(odd) == b'{"a":[null,1],"b":null,"c":"1152921504606846976","d":0.5,"e":"?"}'
