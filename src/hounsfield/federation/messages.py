"""The messages of a federation: what is asked of a site, what it answers, and how large that is.

They are Flower's `Message`s. Weights travel as one vector of float32 (`federation.layout` gives it names and
shapes on both sides), so that what is sent is hardly larger than the weights.

```
ask        message_type      sent                               answered
facts      query.facts       config: smallest-n                 config: facts (JSON, counts above smallest-n)
propose    query.propose     config: proposal (JSON)            config: accepted = plan-hash
train      train             arrays: weights [, control]        arrays: weights [, control]; metrics
layers     train             config: own-layers; arrays: those  arrays: weights (the site's own layers)
                             that the plan's seed draws
evaluate   evaluate          arrays: weights                    counts: arrays of counts; metrics
```
Every `config` bears the plan's hash (but for facts) and the package's version. A site that refuses answers
with an error whose code names why. Secure aggregation adds messages of its own between train and its answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.federation.flower import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    MetricRecord,
    RecordDict,
    need,
)
from hounsfield.federation.proposal import Proposal, package_version

__all__ = [
    "ARRAYS",
    "CONFIG",
    "CONTROL",
    "EVALUATE",
    "FACTS",
    "METRICS",
    "OWN_LAYERS",
    "PROPOSE",
    "TRAIN",
    "WEIGHTS",
    "Answer",
    "Item",
    "Reason",
    "Refusal",
    "accepted",
    "answered_counts",
    "answered_facts",
    "answered_weights",
    "ask_evaluate",
    "ask_facts",
    "ask_layers",
    "ask_propose",
    "ask_train",
    "bytes_of",
    "config_of",
    "counts_of",
    "items_of",
    "metrics_of",
    "refusal_of",
    "refused",
    "vector_of",
]

FACTS, PROPOSE, TRAIN, EVALUATE = "query.facts", "query.propose", "train", "evaluate"
ARRAYS, CONFIG, METRICS, COUNTS = "arrays", "config", "metrics", "counts"
WEIGHTS, CONTROL = "weights", "control"
OWN_LAYERS = "own-layers"

_identity = need("flwr.supercore.task_identity").TaskIdentity
if _identity._run_id is None:  # a message of Flower's asks whose it is; the link state numbers it again
    _identity.task_id = _identity.run_id = _identity.node_id = 1

Vector = NDArray[np.float32]
Answer = Callable[[Message], Message]
"""A site: what it says to an ask."""

Scalar = int | float | str | bytes | bool


class Reason(IntEnum):
    """Why a site, or the coordinator, does not go on with a message; the code of a Flower `Error`."""

    FAILED = 1000
    PLAN = 1001
    HASH = 1002
    VERSION = 1003
    COLUMN = 1004
    CLASSES = 1005
    ONE_CLASS = 1006
    NO_CASES = 1007
    TOO_FEW = 1008
    BUDGET = 1009
    NOT_FINITE = 1010
    REVOKED = 1011
    BUSY = 1012
    UNKNOWN = 1013


@dataclass(frozen=True)
class Refusal:
    """Why there is no answer, in one sentence that names no patient."""

    reason: Reason
    sentence: str


@dataclass(frozen=True)
class Item:
    """One thing that a message carries: its name, kind, shape, bytes and SHA-256 in hexadecimal."""

    name: str
    kind: str
    shape: tuple[int, ...]
    bytes: int
    sha256: str


def ask_facts(node: int, *, smallest_n: int) -> Message:
    """Ask for the aggregated facts of a site's cases; counts below `smallest_n` patients are left out."""
    return _asked(node, FACTS, {"smallest-n": smallest_n})


def ask_propose(node: int, proposal: Proposal) -> Message:
    """Ask a site to take part in exactly this plan."""
    return _asked(node, PROPOSE, {"proposal": proposal.to_json(), "plan-hash": proposal.hash})


def ask_train(
    node: int, weights: Vector, *, plan_hash: str, number: int, extra: Mapping[str, Scalar] | None = None,
    control: Vector | None = None,
) -> Message:  # fmt: skip
    """Ask for a round, counted from 1, of local training from `weights` (P,); `control` is SCAFFOLD's."""
    config = {"plan-hash": plan_hash, "server-round": number, **(extra or {})}
    return _asked(node, TRAIN, config, _weights(weights, control))


def ask_layers(node: int, start: Vector, *, plan_hash: str, number: int) -> Message:
    """Ask for the normalisation layers (K,) that a site kept for itself up to round `number`.

    `start` (K,) are those that the plan's seed draws, so that a secure sum hides what differs from them.
    """
    config: dict[str, Scalar] = {"plan-hash": plan_hash, "server-round": number, OWN_LAYERS: True}
    return _asked(node, TRAIN, config, _weights(start, None))


def ask_evaluate(node: int, weights: Vector, *, plan_hash: str, number: int) -> Message:
    """Ask what `weights` (P,) reach on the site's held-back cases, in counts."""
    return _asked(node, EVALUATE, {"plan-hash": plan_hash, "server-round": number}, _weights(weights, None))


def answered_facts(ask: Message, facts: str) -> Message:
    """The answer to `ask_facts`: JSON of aggregated facts."""
    return _answer(ask, {CONFIG: ConfigRecord({"facts": facts, "version": package_version()})})


def accepted(ask: Message, plan_hash: str, *, n: int) -> Message:
    """The answer to `ask_propose` of a site that takes part with `n` patients."""
    return _answer(
        ask, {CONFIG: ConfigRecord({"accepted": plan_hash}), METRICS: MetricRecord({"patients": n})}
    )


def answered_weights(
    ask: Message, weights: Vector, metrics: Mapping[str, float], *, n: int, control: Vector | None = None
) -> Message:
    """The answer to `ask_train`: the site's weights (P,) after its round, how many cases `n` they learned
    from, and numbers such as its loss.
    """
    content = {ARRAYS: _weights(weights, control), METRICS: MetricRecord({"num-examples": n, **metrics})}
    return _answer(ask, content)


def answered_counts(ask: Message, counts: Mapping[str, NDArray[Any]], *, n: int) -> Message:
    """The answer to `ask_evaluate`: arrays of counts by name, nothing of a single case."""
    arrays = ArrayRecord({name: Array(np.asarray(value)) for name, value in counts.items()})
    return _answer(ask, {COUNTS: arrays, METRICS: MetricRecord({"num-examples": n})})


def refused(ask: Message, reason: Reason, sentence: str) -> Message:
    """The answer of a site that does not do what was asked."""
    return Message(Error(int(reason), sentence), reply_to=ask)


def refusal_of(message: Message) -> Refusal | None:
    """Why a message holds no answer; None where it holds one. A code of Flower's own becomes FAILED."""
    if not message.has_error():
        return None
    code = message.error.code
    reason = Reason(code) if code in set(Reason) else Reason.FAILED
    return Refusal(reason, message.error.reason or "the site gave no reason")


def config_of(message: Message) -> ConfigRecord:
    """The scalars that were sent along. BadInput where there are none."""
    record = message.content.config_records.get(CONFIG)
    return ConfigRecord() if record is None else record


def metrics_of(message: Message) -> dict[str, float]:
    """The numbers of an answer by name."""
    record = message.content.metric_records.get(METRICS)
    return {} if record is None else {k: float(v) for k, v in record.items() if isinstance(v, int | float)}


def vector_of(message: Message, name: str = WEIGHTS) -> Vector:
    """A vector of float32 by its name, "weights" or "control". BadInput where it is missing or no vector."""
    record = message.content.array_records.get(ARRAYS)
    if record is None or name not in record:
        raise BadInput(f'a message without "{name}" came; expected a vector of weights; compare the versions')
    found = record[name].numpy()
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.floating):
        raise BadInput(f'"{name}" of a message is no vector of numbers; compare the versions on both sides')
    return found.astype(np.float32, copy=False)


def counts_of(message: Message) -> dict[str, NDArray[Any]]:
    """The arrays of counts of an answer to `ask_evaluate`."""
    record = message.content.array_records.get(COUNTS)
    return {} if record is None else {name: array.numpy() for name, array in record.items()}


def items_of(message: Message) -> tuple[Item, ...]:
    """What a message carries, thing by thing, as its bytes are: for the log of what leaves a site."""
    if not message.has_content():
        text = (message.error.reason or "").encode()
        return (Item(f"error {message.error.code}", "error", (), len(text), _sha(text)),)
    content, found = message.content, []
    for record, arrays in content.array_records.items():
        for name, array in arrays.items():
            found.append(_item(f"{record}/{name}", array.dtype, tuple(array.shape), array.data))
    for kind, records in (("metric", content.metric_records), ("config", content.config_records)):
        for record, values in records.items():
            for name, value in values.items():
                data = value if isinstance(value, bytes) else str(value).encode()
                found.append(_item(f"{record}/{name}", kind, (), data))
    return tuple(found)


def bytes_of(message: Message) -> int:
    """The bytes that a message carries: of its arrays as they are serialised, and of its scalars' values.

    >>> bytes_of(ask_train(1, np.zeros(1000, np.float32), plan_hash="0" * 64, number=1)) < 1.1 * 4000
    True
    """
    return sum(item.bytes for item in items_of(message))


def _asked(node: int, kind: str, config: Mapping[str, Scalar], arrays: ArrayRecord | None = None) -> Message:
    content = RecordDict({CONFIG: ConfigRecord({**config, "version": package_version()})})
    if arrays is not None:
        content[ARRAYS] = arrays
    group = OWN_LAYERS if OWN_LAYERS in config else str(config.get("server-round", ""))
    return Message(content, dst_node_id=node, message_type=kind, group_id=group)


def _answer(ask: Message, content: Mapping[str, Any]) -> Message:
    return Message(RecordDict(dict(content)), reply_to=ask)


def _weights(weights: Vector, control: Vector | None) -> ArrayRecord:
    arrays = {WEIGHTS: Array(np.ascontiguousarray(weights, np.float32))}
    if control is not None:
        arrays[CONTROL] = Array(np.ascontiguousarray(control, np.float32))
    return ArrayRecord(arrays)


def _item(name: str, kind: str, shape: tuple[int, ...], data: bytes) -> Item:
    return Item(name, kind, shape, len(data), _sha(data))


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
