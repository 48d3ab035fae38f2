"""A secure sum is the weighted mean of whoever came to the end, and shows the coordinator nothing else."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, product

import numpy as np
import pytest

from federation.privacy.secure_sites import STEPS, Dropping, asks, site
from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import HounsfieldError
from hounsfield.core.plan import Plan
from hounsfield.federation.flower import Message, need
from hounsfield.federation.messages import (
    ARRAYS,
    TRAIN,
    WEIGHTS,
    accepted,
    answered_weights,
    ask_propose,
    bytes_of,
    metrics_of,
    refusal_of,
    vector_of,
)
from hounsfield.federation.privacy.masks import agreed, stream
from hounsfield.federation.privacy.secure_messages import (
    MASKED,
    SECURE,
    SHARES,
    UNMASK,
    packed,
    secure_of,
    sites_in,
    threshold_of,
)
from hounsfield.federation.privacy.secure_sum import masked, secure_mean
from hounsfield.federation.proposal import Proposal

CASES = {11: 40, 2**62 + 5: 700, 13: 90, 14: 3, 15: 210}


def weights_of(sites: list[int], size: int = 300) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    rng = np.random.default_rng(len(sites))
    before = rng.normal(0, 3, size).astype(np.float32)
    return before, {s: before + rng.normal(0, 0.4, size).astype(np.float32) for s in sites}


def check(sites: list[int], drops: dict[int, str]) -> None:
    """The mean is that of the sites that sent weights, whoever dropped out where."""
    before, after = weights_of(sites)
    grid = Dropping({s: site(after[s], CASES[s]) for s in sites}, drops)
    one, replies = secure_mean(grid, asks(sites, before), 1.0)
    there = [s for s in sites if drops.get(s) in (None, UNMASK)]
    n = sum(CASES[s] for s in there)
    mean = sum(CASES[s] * after[s].astype(np.float64) for s in there) / n
    assert np.abs(vector_of(one) - mean).max() < 2e-5
    assert metrics_of(one)["num-examples"] == n
    assert sorted(int(r.metadata.src_node_id) for r in replies) == sorted(there)
    assert all(metrics_of(r)["loss"] == 0.5 for r in replies)


def patterns(sites: list[int], most: int) -> list[dict[int, str]]:
    found: list[dict[int, str]] = [{}]
    for many in range(1, most + 1):
        for who in combinations(sites, many):
            found += [dict(zip(who, steps, strict=True)) for steps in product(STEPS, repeat=many)]
    return found


@pytest.mark.parametrize("number", [3, 4])
def test_every_drop_out_above_the_threshold_leaves_the_mean_of_the_others(number: int) -> None:
    sites = list(CASES)[:number]
    for drops in patterns(sites, number - threshold_of(number)):
        check(sites, drops)


@pytest.mark.slow
def test_every_pair_of_drop_outs_of_five_leaves_the_mean_of_the_others() -> None:
    for drops in patterns(list(CASES), 2):
        check(list(CASES), drops)


@pytest.mark.parametrize("step", STEPS)
def test_below_the_threshold_nothing_is_opened_and_the_sentence_says_so(step: str) -> None:
    sites = list(CASES)[:4]
    before, after = weights_of(sites)
    grid = Dropping({s: site(after[s], 5) for s in sites}, {sites[0]: step, sites[3]: step})
    with pytest.raises(HounsfieldError, match=r"2 of 4 sites .* at least 3"):
        secure_mean(grid, asks(sites, before), 1.0)
    with pytest.raises(HounsfieldError, match="each knows the other"):
        secure_mean(grid, asks(sites[:2], before), 1.0)


def test_a_site_whose_weights_are_not_finite_is_named_and_left_out() -> None:
    sites = list(CASES)[:4]
    before, after = weights_of(sites)
    after[13][7] = np.nan
    one, replies = secure_mean(Dropping({s: site(after[s], 5) for s in sites}, {}), asks(sites, before), 1.0)
    fault = {int(r.metadata.src_node_id): refusal_of(r) for r in replies if r.has_error()}
    assert list(fault) == [13] and "not finite" in fault[13].sentence
    mean = np.mean([after[s] for s in sites if s != 13], axis=0)
    assert np.abs(vector_of(one) - mean).max() < 2e-5


def test_changes_of_any_size_are_added_as_exactly() -> None:
    for size in (1e-6, 1e4):
        sites = list(CASES)[:3]
        before = np.zeros(50, np.float32)
        after = {s: (size * np.random.default_rng(s % 97).normal(size=50)).astype(np.float32) for s in sites}
        one, _ = secure_mean(Dropping({s: site(after[s], 9) for s in sites}, {}), asks(sites, before), 1.0)
        assert np.abs(vector_of(one) - np.mean(list(after.values()), axis=0)).max() < 1e-6 * size


def test_what_is_sent_is_hardly_larger_than_the_weights() -> None:
    sites = list(CASES)[:4]
    before, after = weights_of(sites, 20_000)
    grid = Dropping({s: site(after[s], 5) for s in sites}, {})
    sent = asks(sites, before)
    secure_mean(grid, sent, 1.0)
    up = sum(bytes_of(m) for m in grid.seen if int(m.metadata.src_node_id) == 13)
    assert up < 1.1 * before.nbytes and bytes_of(sent[0]) < 1.1 * before.nbytes


def one_masked(seen: list[Message], number: int) -> np.ndarray:
    return next(
        m.content.array_records[ARRAYS][WEIGHTS].numpy()
        for m in seen
        if ARRAYS in m.content.array_records and int(m.metadata.src_node_id) == number
    )


def test_what_the_coordinator_sees_of_a_site_is_noise_that_differs_each_time() -> None:
    sites = list(CASES)[:4]
    before, after = weights_of(sites, 30_000)
    seen = []
    for _ in range(2):
        grid = Dropping({s: site(after[s], 5) for s in sites}, {})
        secure_mean(grid, asks(sites, before), 1.0)
        seen.append(one_masked(grid.seen, 13))
    change = (after[13] - before).astype(np.float64)
    for vector in (*seen, seen[0] - seen[1]):
        assert abs(np.corrcoef(vector.astype(np.float64), change)[0, 1]) < 0.03
        counts = np.bincount(vector >> 24, minlength=256)
        assert ((counts - len(vector) / 256) ** 2 / (len(vector) / 256)).sum() < 360  # chi-square, 255 df


def test_one_secret_of_a_site_alone_does_not_take_its_masks_off() -> None:
    sites = list(CASES)[:4]
    before, after = weights_of(sites, 30_000)
    closures = {s: site(after[s], 5) for s in sites}
    kept: dict[str, object] = {}

    def peek(message: Message) -> Message:
        if message.metadata.message_type == UNMASK and not kept:
            kept.update(seed=closures[13].now.seed, secret=closures[13].now.mask.secret)  # type: ignore[attr-defined]
            kept.update(public=dict(closures[13].now.public), session=closures[13].now.session)  # type: ignore[attr-defined]
        return message

    grid = Dropping(closures, {}, peek)
    secure_mean(grid, asks(sites, before), 1.0)
    vector, change = one_masked(grid.seen, 13), (after[13] - before).astype(np.float64)
    without_own = vector - stream(kept["seed"], len(vector))  # type: ignore[arg-type]
    pairs = np.zeros(len(vector), np.uint32)
    for other in sites:
        if other != 13:
            shared = agreed(kept["secret"], kept["public"][other][0], b"mask" + kept["session"])  # type: ignore[index,operator,arg-type]
            mask = stream(shared, len(vector))
            pairs = pairs + mask if other > 13 else pairs - mask
    for left in (without_own, vector - pairs):
        assert abs(np.corrcoef(left.view(np.int32).astype(np.float64), change)[0, 1]) < 0.03
    both = (without_own - pairs).view(np.int32).astype(np.float64)
    assert np.corrcoef(both, change)[0, 1] > 0.999  # with both it is open: the test can see


def lie(kind: str, **values: object) -> Callable[[Message], Message]:
    """A coordinator that changes a message of one kind to site 13."""

    def change(message: Message) -> Message:
        if message.metadata.message_type == kind and int(message.metadata.dst_node_id) == 13:
            record = dict(secure_of(message))
            for name, value in values.items():
                old = record[name]
                record[name] = value(old) if callable(value) else dict(packed({name: value}))[name]  # type: ignore[dict-item]
            message.content[SECURE] = type(secure_of(message))(record)
        return message

    return change


LIES = {
    "a threshold of half": lie(SHARES, threshold=2),
    "a site heavier than all": lie(SHARES, heaviest=1),
    "keys of another": lie(SHARES, **{"mask-keys": lambda old: bytes(32) + old[32:]}),
    "one key for two sites": lie(SHARES, **{"share-keys": lambda old: old[32:64] + old[32:]}),
    "no room": lie(SHARES, scale=1e12),
    "a changed share": lie(MASKED, sealed=lambda old: bytes([old[0] ^ 1]) + old[1:]),
    "few others": lie(MASKED, **{"from": lambda old: old[:8], "sealed": lambda old: old[: len(old) // 3]}),
    "a sum of one": lie(UNMASK, alive=[13], gone=[11, 14, 2**62 + 5]),
    "itself gone": lie(UNMASK, alive=[11, 14, 2**62 + 5], gone=[13]),
    "both secrets of one": lie(UNMASK, alive=[11, 13, 14, 2**62 + 5], gone=[11]),
    "a foreign session": lie(UNMASK, session=lambda old: bytes(16)),
}


@pytest.mark.parametrize("name", LIES)
def test_a_site_gives_nothing_to_a_sum_that_would_show_it(name: str) -> None:
    sites = [*sorted(CASES)[:3], 2**62 + 5]
    before, after = weights_of(sites)
    grid = Dropping({s: site(after[s], 5) for s in sites}, {}, LIES[name])
    one, _ = secure_mean(grid, asks(sites, before), 1.0)
    told = [m.error.reason for m in grid.seen if m.has_error()]
    assert len(told) >= 1 and all("secure sum" in t or "nothing was sent" in t for t in told)
    assert np.isfinite(vector_of(one)).all()


def test_a_step_is_not_answered_twice() -> None:
    sites = list(CASES)[:3]
    before, after = weights_of(sites)
    answers = {s: site(after[s], 5) for s in sites}
    asked_before: list[Message] = []

    def record(message: Message) -> Message:
        asked_before.append(message)
        return message

    secure_mean(Dropping(answers, {}, record), asks(sites, before), 1.0)
    again = [m for m in asked_before if m.metadata.message_type != TRAIN]
    assert len(again) == 9 and all(answers[int(m.metadata.dst_node_id)](m).has_error() for m in again)


def test_weights_are_not_given_in_the_open_under_a_plan_that_sums_in_secret() -> None:
    before = np.zeros(4, np.float32)

    def inner(ask: Message) -> Message:
        if ask.metadata.message_type == TRAIN:
            return answered_weights(ask, before + 1, {}, n=5)
        return accepted(ask, "0" * 64, n=5)

    for secret in (True, False):
        plan = Plan.checked({"federation": {"strategy": "fedavg", "secure_aggregation": secret}})
        answer = masked(inner)
        answer(ask_propose(1, Proposal(plan, LabelEncoding("binary", ("no", "yes")))))
        assert answer(asks([1], before)[0]).has_error() is secret


def test_every_bit_of_a_seed_counts_in_a_mask() -> None:
    seed = bytes(range(32))
    swapped = seed[4:8] + seed[:4] + seed[8:]
    theirs = need("flwr.common.secure_aggregation.secaggplus_utils").pseudo_rand_gen
    assert np.array_equal(
        theirs(seed, 1 << 20, [(9,)])[0], theirs(swapped, 1 << 20, [(9,)])[0]
    )  # why ours is
    assert not (stream(seed, 9) == stream(swapped, 9)).any()
    assert sites_in(packed({"of": [2**63 + 1]}), "of") == [2**63 + 1]
