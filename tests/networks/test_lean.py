"""The lean way through a U-Net gives the numbers of the plain one."""

from __future__ import annotations

import pytest
import torch

from hounsfield.networks import lean
from hounsfield.networks.lean import lean_answer
from hounsfield.networks.unet import UNet

SHAPES = {
    "even": (((1, 1, 1), (2, 2, 2), (2, 2, 2)), ()),
    "flat first": (((1, 1, 1), (1, 2, 2), (2, 2, 2)), ((1, 3, 3), (3, 3, 3), (3, 3, 3))),
    "striding at once": (((1, 1, 1), (4, 2, 2)), ((3, 3, 3), (3, 3, 3))),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slab", [1, 700, 1 << 22])
def test_the_answer_is_that_of_the_plain_way(shape: str, slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "_SLAB", slab)
    strides, kernels = SHAPES[shape]
    net = UNet(channels=2, outputs=3, width=4, strides=strides, kernels=kernels, blocks=[2] * len(strides))
    net = net.double().eval()
    x = torch.randn(2, 2, 16, 16, 8, dtype=torch.float64)
    with torch.inference_mode():
        assert torch.allclose(lean_answer(net, x), net(x), atol=1e-12)


def test_what_learns_and_what_is_flat_go_the_plain_way() -> None:
    net = UNet(channels=1, outputs=2, width=4, strides=((1, 1, 1), *[(2, 2, 2)] * 3))
    x = torch.randn(1, 1, 8, 8, 8)
    assert isinstance(lean_answer(net, x), tuple)  # every depth answers in training
    assert lean_answer(net.eval(), x).requires_grad
    flat = UNet(channels=1, outputs=2, width=4, strides=((1, 1), (2, 2))).eval()
    picture = torch.randn(1, 1, 8, 8)
    with torch.inference_mode():
        assert torch.equal(lean_answer(flat, picture), flat(picture))
