"""Both engines score alike in every view, and a case scores the same whatever else is scored."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hounsfield.core.errors import MissingDependency
from hounsfield.core.plan import Augment, Input, Network, Plan, Validation
from hounsfield.networks import build
from hounsfield.networks.onnx_form import to_onnx
from hounsfield.steps.engine import OnnxEngine, TorchEngine, images_at_once, logits_of, views_of
from hounsfield.steps.prepare import Prepared
from hounsfield.transforms.normalise import levels_of

FLAT, DEEP = (1, 16, 12), (4, 8, 8)
MOVES = Augment(rotation_deg=20, shift_width=0.1, noise=0.2, brightness=0.2, flip_left_right=True)


def plan(test_time: str = "none", size: tuple[int, int, int] = FLAT, **more: Any) -> Plan:
    return Plan(
        input=Input(size=size),
        augment=MOVES,
        network=Network(width=4, depth=2),
        validation=Validation(test_time=test_time, test_time_views=3),  # type: ignore[arg-type]
        threads=1,
        **more,
    )


def images(size: tuple[int, int, int] = FLAT, n: int = 9) -> Prepared:
    values = np.random.default_rng(0).integers(0, 255, (n, 1, *size)).astype(np.uint8)
    levels = np.array([levels_of(x, Input(size=size), bits=8) for x in values], np.float32)
    return Prepared(tuple(f"case {k}" for k in range(n)), values, levels)


def network(size: tuple[int, int, int] = FLAT) -> torch.nn.Module:
    made = build(Network(width=4, depth=2), channels=1, outputs=2, size=size, seed=1)
    with torch.no_grad():  # not the nearly constant scores of the first weights
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())
            )
    return made.eval()


def rows(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, np.int64)


@pytest.mark.parametrize("test_time", ["none", "flip", "augment"])
@pytest.mark.parametrize("size", [FLAT, DEEP])
def test_both_engines_give_the_same_logits(size: tuple[int, int, int], test_time: str) -> None:
    net, prepared, wanted = network(size), images(size), plan(test_time, size)
    shape = (1, *(size[1:] if size[0] == 1 else size))
    engine = OnnxEngine(to_onnx(net, shape, facts={}))
    some = rows(3, 1, 8, 0)
    by_torch, by_onnx = (logits_of(e, prepared, some, wanted) for e in (net, engine))
    assert by_torch.shape == (4, 2) and by_torch.dtype == np.float32 and by_torch.std() > 1e-3
    assert np.abs(by_onnx - by_torch).max() < 1e-5


def test_the_views_are_those_that_the_plan_names() -> None:
    net, prepared, some = network(), images(), rows(0, 5)
    batch = torch.from_numpy(prepared.batch(some))
    with torch.inference_mode():
        plain, mirrored = net(batch).numpy(), net(batch.flip(-1)).numpy()
    assert logits_of(net, prepared, some, plan()) == pytest.approx(plain, abs=1e-6)
    assert logits_of(net, prepared, some, plan("flip")) == pytest.approx((plain + mirrored) / 2, abs=1e-6)
    views = list(views_of(prepared, some, plan("augment")))
    assert len(views) == 4 and (views[0] == prepared.batch(some)).all()
    with torch.inference_mode():
        each = [net(torch.from_numpy(v)).numpy() for v in views]
    assert logits_of(net, prepared, some, plan("augment")) == pytest.approx(np.mean(each, 0), abs=1e-5)
    assert all(np.abs(v - views[0]).max() > 0.1 for v in views[1:])
    assert np.abs(views[1][0] - views[2][0]).max() > 0.1


def test_a_case_is_seen_the_same_whatever_else_is_scored() -> None:
    prepared, wanted = images(), plan("augment")
    alone = list(views_of(prepared, rows(7), wanted))
    beside = list(views_of(prepared, rows(2, 7, 0), wanted))
    assert all((a[0] == b[1]).all() for a, b in zip(alone, beside, strict=True))
    turned = Prepared(prepared.ids[::-1], prepared.images[::-1].copy(), prepared.levels[::-1].copy())
    elsewhere = list(views_of(turned, rows(1), wanted))
    assert all((a == b).all() for a, b in zip(alone, elsewhere, strict=True))
    net = network()
    some = logits_of(net, prepared, rows(7, 1), wanted)
    every = logits_of(net, prepared, np.arange(9), wanted)
    assert some == pytest.approx(every[[7, 1]], abs=1e-5)


def test_another_case_and_another_seed_are_drawn_otherwise() -> None:
    prepared = images()
    same = Prepared(prepared.ids, np.repeat(prepared.images[:1], 9, 0), np.repeat(prepared.levels[:1], 9, 0))
    first = list(views_of(same, rows(0, 1), plan("augment")))[1]
    assert np.abs(first[0] - first[1]).max() > 0.1
    other = list(views_of(same, rows(0), plan("augment", seed=1)))[1]
    assert np.abs(other[0] - first[0]).max() > 0.1


def test_progress_hears_of_every_case() -> None:
    heard: list[tuple[int, int]] = []
    logits_of(network(), images(), np.arange(9), plan(), progress=lambda *done: heard.append(done))
    assert heard[-1] == (9, 9)
    assert logits_of(network(), images(), rows(), plan()).shape[0] == 0


@pytest.mark.parametrize(
    "size, on_cpu, count",
    [((1, 16, 16), True, 32), ((1, 224, 224), True, 10), ((96, 96, 96), True, 1), ((1, 16, 16), False, 64)],
)
def test_as_many_images_pass_as_the_cache_holds(size: tuple[int, int, int], on_cpu: bool, count: int) -> None:
    prepared = Prepared(("a",), np.zeros((1, 1, *size), np.uint8), np.zeros((1, 4), np.float32))
    assert images_at_once(prepared, on_cpu=on_cpu) == count


def test_scoring_leaves_the_arithmetic_of_this_thread_as_it_was() -> None:
    tiny = np.full(4, 1e-40, np.float32)
    engine = OnnxEngine(to_onnx(network(), (1, 16, 12), facts={}))
    engine.logits(np.zeros((1, 1, 16, 12), np.float32))
    TorchEngine(network()).logits(np.zeros((1, 1, 16, 12), np.float32))
    assert (tiny * np.float32(1) > 0).all()


def test_without_the_runtime_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    content = to_onnx(network(), (1, 16, 12), facts={})
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependency, match="pip install onnxruntime"):
        OnnxEngine(content)
