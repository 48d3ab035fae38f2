"""Messages say what they carry, hardly more bytes than the weights, and refuse with a named reason."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Federation, Plan
from hounsfield.federation import messages as m
from hounsfield.federation.flower import need
from hounsfield.federation.proposal import Proposal

ENCODING = LabelEncoding("binary", ("benign", "malignant"), ("finding",))
PLAN = Plan(federation=Federation(strategy="fedavg"))
WEIGHTS = np.linspace(-1, 1, 2500, dtype=np.float32)


def test_what_is_sent_over_the_wire_is_at_most_a_tenth_more_than_the_weights() -> None:
    ask = m.ask_train(7, WEIGHTS, plan_hash="0" * 64, number=3)
    reply = m.answered_weights(ask, WEIGHTS, {"loss": 0.5}, n=40)
    to_proto = need("flwr.common.serde").message_to_proto
    for message in (ask, reply):
        assert WEIGHTS.nbytes < m.bytes_of(message) <= to_proto(message).ByteSize() < 1.1 * WEIGHTS.nbytes


def test_an_answer_gives_back_what_was_put_in() -> None:
    ask = m.ask_train(7, WEIGHTS, plan_hash="ab", number=3, control=2 * WEIGHTS, extra={"mu": 0.5})
    assert m.config_of(ask)["server-round"] == 3 and m.config_of(ask)["mu"] == 0.5
    assert np.array_equal(m.vector_of(ask, "control"), 2 * WEIGHTS)
    reply = m.answered_weights(ask, -WEIGHTS, {"loss": 0.5}, n=40)
    assert np.array_equal(m.vector_of(reply), -WEIGHTS)
    assert m.metrics_of(reply) == {"num-examples": 40.0, "loss": 0.5}
    counts = {"histogram": np.arange(6).reshape(2, 3)}
    found = m.counts_of(m.answered_counts(m.ask_evaluate(1, WEIGHTS, plan_hash="ab", number=1), counts, n=9))
    assert list(found) == ["histogram"] and np.array_equal(found["histogram"], counts["histogram"])


def test_a_vector_that_is_missing_or_of_another_shape_is_refused() -> None:
    ask = m.ask_train(7, WEIGHTS, plan_hash="ab", number=3)
    with pytest.raises(BadInput, match='without "control"'):
        m.vector_of(ask, "control")
    with pytest.raises(BadInput, match="no vector"):
        m.vector_of(m.ask_train(7, WEIGHTS.reshape(50, 50), plan_hash="ab", number=3))


def test_a_refusal_names_its_reason() -> None:
    ask = m.ask_facts(7, smallest_n=10)
    refusal = m.refusal_of(m.refused(ask, m.Reason.TOO_FEW, "4 patients; expected 10"))
    assert refusal == m.Refusal(m.Reason.TOO_FEW, "4 patients; expected 10")
    assert m.refusal_of(m.answered_facts(ask, "{}")) is None


def test_the_list_of_what_leaves_holds_every_byte() -> None:
    ask = m.ask_train(7, WEIGHTS, plan_hash="ab", number=3)
    reply = m.answered_weights(ask, WEIGHTS, {"loss": 0.5}, n=40)
    items = {item.name: item for item in m.items_of(reply)}
    assert set(items) == {"arrays/weights", "metrics/loss", "metrics/num-examples"}
    weights, data = items["arrays/weights"], reply.content["arrays"]["weights"].data
    assert weights.shape == (2500,) and weights.bytes == len(data)
    assert weights.sha256 == hashlib.sha256(data).hexdigest()
    assert [item.kind for item in m.items_of(m.refused(ask, m.Reason.BUSY, "later"))] == ["error"]


def test_the_hash_of_a_proposal_follows_every_choice_and_no_reason() -> None:
    one = Proposal(PLAN, ENCODING)
    noted = PLAN.model_copy(update={"reasons": {"seed": "because"}, "device": "cpu", "threads": 2})
    assert Proposal(noted, ENCODING).hash == one.hash
    assert Proposal.from_json(one.to_json()) == one
    others = [
        Proposal(PLAN.changed({"federation.rounds": 3}), ENCODING),
        Proposal(PLAN.changed({"seed": 1}), ENCODING),
        Proposal(PLAN, LabelEncoding("binary", ("malignant", "benign"), ("finding",))),
        Proposal(PLAN, ENCODING, "0.0.1"),
    ]
    assert len({one.hash, *(o.hash for o in others)}) == 5


def test_a_plan_for_one_site_alone_cannot_be_proposed() -> None:
    with pytest.raises(BadInput, match=r"federation\.strategy"):
        Proposal(Plan(), ENCODING)
