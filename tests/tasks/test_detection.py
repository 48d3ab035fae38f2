"""Targets, loss and candidates of detection, against plain loops and against each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.marked import Marked
from hounsfield.core.plan import Detection, Network
from hounsfield.networks.detector import build_detector
from hounsfield.tasks.detection import decoded, detection_loss, targets_of, unmirrored

PLAN = Detection(classes=("nodule",), negatives=3)


def as_map(target: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a network would answer that knew the target."""
    heat, rest = target[:-2], target[-2:]
    axes = target.ndim - 1
    classes = len(heat) - 2 * axes
    logits = np.log(np.clip(heat[:classes], 1e-6, 1 - 1e-6) / (1 - np.clip(heat[:classes], 1e-6, 1 - 1e-6)))
    assert rest.shape[0] == 2
    return np.concatenate([logits, heat[classes:]]).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "stride"), [((24, 32, 40), (2, 4, 4)), ((1, 32, 40), (1, 4, 4)), ((9, 33, 31), (1, 2, 2))]
)
def test_targets_decode_to_the_objects_they_were_made_of(
    shape: tuple[int, int, int], stride: tuple[int, int, int]
) -> None:
    rng = np.random.default_rng(5)
    for _ in range(10):
        centre = rng.uniform(0.2, 0.8, 3) * np.array(shape) - 0.5
        size = rng.uniform(2, 8, 3)
        if shape[0] == 1:
            centre[0], size[0] = 0, 1
        one = Marked(1, tuple(centre.tolist()), tuple(size.tolist()))
        target = targets_of([one], shape=shape, stride=stride, classes=2)
        found = decoded(as_map(target), stride=stride, classes=2, least_score=0.9)
        assert found.label.tolist() == [1]
        np.testing.assert_allclose(found.centre[0], centre, atol=1e-4)
        np.testing.assert_allclose(found.size[0], size, rtol=1e-4)


def test_heat_is_a_gaussian_of_a_sixth_of_the_size() -> None:
    one = Marked(0, (0, 15.5, 13.5), (1, 24, 12))
    target = targets_of([one], shape=(1, 32, 32), stride=(1, 1, 1), classes=1)
    j, i = np.mgrid[:32, :32]
    expected = np.exp(-0.5 * (((j - 15.5) / 4) ** 2 + ((i - 13.5) / 2) ** 2))
    expected[16, 14] = 1
    np.testing.assert_allclose(target[0], expected, atol=1e-5)


def test_what_is_excluded_or_mostly_outside_is_not_learned_from() -> None:
    excluded = Marked(0, (0, 6, 6), (1, 4, 4), excluded=True)
    cut = Marked(0, (0, 0, 30), (1, 8, 8))  # its centre on the corner: little more than a quarter of it
    outside = Marked(0, (0, 20, -2), (1, 8, 8))
    far = Marked(0, (0, 90, 90), (1, 8, 8))
    target = targets_of([excluded, cut, outside, far], shape=(1, 32, 32), stride=(1, 4, 4), classes=1)
    assert not target[0].any() and not target[-1].any()
    assert np.argwhere(target[-2] == 0).tolist() == [
        [0, 6], [0, 7], [1, 1], [1, 2], [1, 6], [1, 7], [2, 1], [2, 2], [4, 0], [5, 0], [6, 0],
    ]  # fmt: skip


def test_a_lesion_on_an_excluded_finding_is_still_learned() -> None:
    both = [Marked(0, (0, 9.5, 9.5), (1, 4, 4)), Marked(0, (0, 10, 10), (1, 12, 12), excluded=True)]
    target = targets_of(both, shape=(1, 32, 32), stride=(1, 4, 4), classes=1)
    assert target[0, 2, 2] == 1 and target[-2, 2, 2] == 1 and target[-2, 1, 1] == 0


def test_an_object_deeper_than_the_patch_is_asked_for() -> None:
    target = targets_of([Marked(0, (2, 16, 16), (40, 8, 8))], shape=(5, 32, 32), stride=(1, 4, 4), classes=1)
    assert (target[0] == 1).sum() == 1


@pytest.mark.parametrize("one", [Marked(1, (0, 5, 5), (1, 4, 4)), Marked(0, (0, 5, 5), (1, 0, 4))])
def test_a_class_or_size_that_cannot_be_is_refused(one: Marked) -> None:
    with pytest.raises(BadInput, match="class from 0 to 0 and sizes above 0"):
        targets_of([one], shape=(1, 32, 32), stride=(1, 4, 4), classes=1)


def example() -> tuple[torch.Tensor, torch.Tensor]:
    marks = [[Marked(0, (0, 9.5, 9.5), (1, 8, 8)), Marked(0, (0, 22, 25), (1, 4, 6))], []]
    targets = np.stack([targets_of(m, shape=(1, 32, 32), stride=(1, 4, 4), classes=1) for m in marks])
    outputs = torch.randn(2, 5, 8, 8, generator=torch.Generator().manual_seed(1))
    return outputs, torch.from_numpy(targets)


def test_loss_is_that_of_a_plain_loop() -> None:
    outputs, targets = example()
    total = 0.0
    for out, want in zip(outputs.double().numpy(), targets.double().numpy(), strict=True):
        found, wrong, place, cells = 0.0, [], 0.0, 0
        for at in np.ndindex(8, 8):
            p, y = 1 / (1 + np.exp(-out[0][at])), want[0][at]
            if y == 1:
                found -= (1 - p) ** 2 * np.log(p)
            else:
                wrong.append(-((1 - y) ** 4) * p**2 * np.log(1 - p) * want[-2][at])
            if want[-1][at]:
                cells += 1
                for channel in range(1, 5):
                    far = abs(out[channel][at] - want[channel][at])
                    place += 0.5 * far**2 / 0.1 if far < 0.1 else far - 0.05
        centres = max(1, int((want[0] == 1).sum()))
        total += (found + sum(sorted(wrong)[-3 * centres :])) / centres + 0.2 * place / max(1, cells)
    assert float(detection_loss(outputs, targets, PLAN)) == pytest.approx(total / 2, rel=1e-5)


def test_loss_of_a_batch_is_the_mean_of_its_parts() -> None:
    outputs, targets = example()
    parts = [detection_loss(outputs[n : n + 1], targets[n : n + 1], PLAN) for n in range(2)]
    assert float(detection_loss(outputs, targets, PLAN)) == pytest.approx(float(sum(parts)) / 2, rel=1e-6)


def test_only_the_worst_negatives_are_learned_from() -> None:
    outputs, targets = example()
    outputs.requires_grad_()
    detection_loss(outputs, targets, PLAN).backward()
    assert outputs.grad is not None
    pulled = outputs.grad[:, 0] != 0
    assert pulled.flatten(1).sum(1).tolist() == [2 + 2 * 3, 3]
    assert outputs[1, 0][pulled[1]].min() >= outputs[1, 0][~pulled[1]].max()


def test_cells_that_are_not_learned_have_no_gradient() -> None:
    outputs, targets = example()
    targets[:, -2] = 0
    outputs.requires_grad_()
    detection_loss(outputs, targets, PLAN).backward()
    assert outputs.grad is not None
    assert (outputs.grad[:, 0] != 0).sum() == 2  # the centres


def test_maps_and_targets_of_other_plans_are_refused() -> None:
    outputs, targets = example()
    with pytest.raises(BadInput, match="same cells and two more channels"):
        detection_loss(outputs[..., :4], targets, PLAN)


def test_peaks_are_taken_class_by_class_best_first() -> None:
    outputs = np.full((6, 8, 8), -9.0, np.float32)
    outputs[2:] = 0
    outputs[0, 2, 2], outputs[0, 2, 3], outputs[1, 2, 3], outputs[0, 6, 6] = 1.0, 0.5, 2.0, -1.0
    found = decoded(outputs, stride=(1, 2, 2), classes=2)
    assert found.label.tolist() == [1, 0, 0]
    assert found.centre.tolist() == [[0, 4.5, 6.5], [0, 4.5, 4.5], [0, 12.5, 12.5]]
    assert found.score == pytest.approx(1 / (1 + np.exp([-2.0, -1.0, 1.0])))
    assert len(decoded(outputs, stride=(1, 2, 2), classes=2, most=1)) == 1
    assert len(decoded(outputs, stride=(1, 2, 2), classes=2, least_score=0.5)) == 2
    assert len(decoded(np.full_like(outputs, -9), stride=(1, 2, 2), classes=2, least_score=0.5)) == 0
    with pytest.raises(BadInput, match="expected 3"):
        decoded(outputs, stride=(1, 2, 2), classes=3)


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2)])
def test_the_map_of_a_mirrored_image_is_turned_back(axes: tuple[int, ...]) -> None:
    shape = (16, 24, 32)
    centre, size = np.array([5.2, 9.9, 21.3]), (4.0, 5.0, 6.0)
    there = centre.copy()
    for a in axes:
        there[a] = shape[a] - 1 - there[a]
    maps = [
        as_map(targets_of([Marked(0, tuple(c), size)], shape=shape, stride=(2, 4, 4), classes=1))  # type: ignore[arg-type]
        for c in (centre.tolist(), there.tolist())
    ]
    back = np.flip(maps[1], [1 + a for a in axes]).copy()
    np.testing.assert_allclose(unmirrored(back, axes, classes=1), maps[0], atol=1e-5)
    np.testing.assert_allclose(unmirrored(torch.from_numpy(back), axes, classes=1), maps[0], atol=1e-5)


def test_the_map_of_a_picture_may_have_an_axis_of_slices() -> None:
    target = targets_of(
        [Marked(0, (0, 9.9, 21.3), (1, 5, 6))], shape=(1, 24, 32), stride=(1, 4, 4), classes=1
    )
    mirrored = targets_of(
        [Marked(0, (0, 9.9, 9.7), (1, 5, 6))], shape=(1, 24, 32), stride=(1, 4, 4), classes=1
    )
    back = unmirrored(np.flip(as_map(mirrored), 2)[:, None], (2,), classes=1)
    np.testing.assert_allclose(back[:, 0], as_map(target), atol=1e-5)
    assert decoded(back, stride=(1, 4, 4), classes=1).centre[0] == pytest.approx([0, 9.9, 21.3], abs=1e-4)


def test_a_network_learns_to_place_bright_spots() -> None:
    rng = np.random.default_rng(0)
    grid = np.stack(np.mgrid[:48, :48])

    def spots(n: int) -> tuple[torch.Tensor, list[Marked]]:
        found = [(rng.uniform(8, 40, 2), float(rng.uniform(2, 4))) for _ in range(n)]
        images = [np.exp(-0.5 * ((grid - c[:, None, None]) ** 2).sum(0) / w**2) for c, w in found]
        marks = [Marked(0, (0, *c.tolist()), (1, 4 * w, 4 * w)) for c, w in found]
        return torch.tensor(np.array(images), dtype=torch.float32)[:, None], marks

    plan = Detection(classes=("spot",))
    net = build_detector(
        Network(width=8, depth=3), channels=1, classes=1, patch=(1, 48, 48), stride=(1, 4, 4), seed=0
    )
    steps = torch.optim.AdamW(net.parameters(), lr=5e-3)
    for _ in range(60):
        images, marks = spots(8)
        targets = [targets_of([m], shape=(1, 48, 48), stride=(1, 4, 4), classes=1) for m in marks]
        steps.zero_grad()
        detection_loss(net(images), torch.from_numpy(np.array(targets)), plan).backward()
        steps.step()
    images, marks = spots(8)
    with torch.no_grad():
        maps = net.eval()(images).numpy()
    for one, outputs in zip(marks, maps, strict=True):
        found = decoded(outputs, stride=(1, 4, 4), classes=1)
        assert np.abs(found.centre[0] - one.centre).max() < 1.5
        assert np.abs(np.log(found.size[0, 1:] / one.size[1:])).max() < 0.5
