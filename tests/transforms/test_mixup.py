"""Images and targets are blended alike, with partners of their own batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hounsfield.transforms.mixup import blended, draw_mixup


def test_every_partner_is_of_the_same_batch_and_asked_once() -> None:
    partner, share = draw_mixup(0.4, 5, 8, 0)
    batches = partner.reshape(5, 8)
    np.testing.assert_array_equal(np.sort(batches, 1), np.arange(40).reshape(5, 8))
    assert not np.array_equal(batches[0], batches[1] - 8)
    assert share.dtype == np.float32 and (share >= 0.5).all() and (share <= 1).all()


def test_the_seed_decides() -> None:
    for one, other in zip(
        draw_mixup(0.4, 3, 8, 1), draw_mixup(0.4, 3, 8, np.random.default_rng(1)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(draw_mixup(0.4, 3, 8, 1)[1], draw_mixup(0.4, 3, 8, 2)[1])


def test_the_share_follows_the_beta_distribution() -> None:
    share = draw_mixup(0.4, 1, 20000, 0)[1].astype(float)
    # about one half it is symmetric: folding keeps the square of the distance, 1 / (4 (2 a + 1))
    assert np.mean((share - 0.5) ** 2) == pytest.approx(0.25 / 1.8, abs=0.003)


def test_image_and_target_are_blended_alike() -> None:
    targets = np.eye(3, dtype=np.float32)[np.arange(30) % 3]
    images = np.broadcast_to(targets[:, :, None, None], (30, 3, 4, 4)).copy()
    partner, share = draw_mixup(0.4, 1, 30, 0)
    wanted = blended(targets, targets[partner], share)
    np.testing.assert_allclose(blended(images, images[partner], share).mean((2, 3)), wanted, atol=1e-6)
    np.testing.assert_allclose(wanted.sum(1), 1, atol=1e-6)
    assert (wanted.max(1) >= 0.5 - 1e-6).all() and (wanted.max(1) < 0.999).any()


def test_tensors_are_blended_as_arrays_are() -> None:
    one, other, share = np.random.default_rng(0).random((3, 4, 1), np.float32)
    mixed = blended(torch.from_numpy(one), torch.from_numpy(other), torch.from_numpy(share[:, 0]))
    np.testing.assert_allclose(mixed.numpy(), blended(one, other, share[:, 0]), rtol=1e-6)
