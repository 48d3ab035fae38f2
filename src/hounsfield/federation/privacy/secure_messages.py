"""The messages of a secure sum, and how their numbers, keys and shares lie in one record of bytes.

```
train          weights                        answered  cases, two public keys; the site keeps its weights
query.shares   all public keys                answered  shares of its secrets, sealed for each other site
query.masked   the shares sealed for a site   answered  its change, masked: uniform numbers modulo 2**32
query.unmask   who answered, who is gone      answered  shares: of the own mask of each who answered,
                                                        of the mask key of each who is gone
```
Every record bears the sum's session; the messages bear the plan's hash, as all do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hounsfield.core.errors import BadInput
from hounsfield.federation.flower import ConfigRecord, Message, RecordDict
from hounsfield.federation.messages import CONFIG, config_of

__all__ = [
    "FEWEST",
    "MASKED",
    "SECURE",
    "SHARES",
    "UNMASK",
    "asked",
    "blob",
    "number",
    "packed",
    "parts",
    "said",
    "secure_of",
    "sites_in",
    "threshold_of",
]

SECURE = "secagg"
SHARES, MASKED, UNMASK = "query.shares", "query.masked", "query.unmask"
FEWEST = 3
"""With two sites each would know the other's weights from the mean."""

Value = int | float | bytes | Sequence[int] | Sequence[bytes]


def threshold_of(sites: int) -> int:
    """How many of `sites` must answer to the end: more than half.

    >>> [threshold_of(n) for n in (3, 4, 10)]
    [2, 3, 6]
    """
    return sites // 2 + 1


def packed(values: Mapping[str, Value]) -> ConfigRecord:
    """A record of numbers and bytes; sites by their numbers, and byte strings of one length, in one piece.

    >>> record = packed({"alive": [7, 9], "shares": [b"ab", b"cd"]})
    >>> sites_in(record, "alive"), parts(record, "shares", 2)
    ([7, 9], [b'ab', b'cd'])
    """
    found: dict[str, int | float | bytes] = {}
    for name, value in values.items():
        if isinstance(value, int | float | bytes):
            found[name] = value
        elif value and isinstance(value[0], bytes):
            found[name] = b"".join(bytes(part) for part in value)
        else:
            found[name] = np.array(value, "<u8").tobytes()
    return ConfigRecord(dict(found))


def asked(ask: Message, kind: str, values: Mapping[str, Value]) -> Message:
    """A message of the sum to the site of an ask to train, with what that says of the plan."""
    content = RecordDict({CONFIG: ConfigRecord(dict(config_of(ask))), SECURE: packed(values)})
    meta = ask.metadata
    return Message(content, dst_node_id=meta.dst_node_id, message_type=kind, group_id=meta.group_id)


def said(ask: Message, values: Mapping[str, Value]) -> Message:
    """A site's answer."""
    return Message(RecordDict({SECURE: packed(values)}), reply_to=ask)


def secure_of(message: Message) -> ConfigRecord:
    """The record of the sum. BadInput where there is none."""
    record = message.content.config_records.get(SECURE)
    if record is None:
        raise BadInput("a message of a secure sum is incomplete; compare the versions on both sides")
    return record


def number(record: ConfigRecord, name: str) -> float:
    """A number of a record. BadInput where it is missing."""
    value = record.get(name)
    if not isinstance(value, int | float):
        raise BadInput(f'"{name}" of a secure sum is no number; compare the versions on both sides')
    return value


def blob(record: ConfigRecord, name: str) -> bytes:
    """Bytes of a record. BadInput where they are missing."""
    value = record.get(name)
    if not isinstance(value, bytes):
        raise BadInput(f'"{name}" of a secure sum is missing; compare the versions on both sides')
    return value


def sites_in(record: ConfigRecord, name: str) -> list[int]:
    """Numbers of sites."""
    found = blob(record, name)
    if len(found) % 8:
        raise BadInput(f'"{name}" of a secure sum names no sites; compare the versions on both sides')
    return [int(n) for n in np.frombuffer(found, "<u8")]


def parts(record: ConfigRecord, name: str, count: int) -> list[bytes]:
    """`count` byte strings of one length. BadInput where they do not divide so."""
    whole = blob(record, name)
    if (count == 0 and whole) or (count and len(whole) % count):
        raise BadInput(f'"{name}" of a secure sum has no {count} parts; compare the versions on both sides')
    size = len(whole) // count if count else 0
    return [whole[n * size : (n + 1) * size] for n in range(count)]
