"""The loss of a segmentation against formulas written again in numpy, and labels from a network's answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hounsfield.core.plan import Segmentation
from hounsfield.tasks.segmentation import IGNORED, labels_of, loss_of, probabilities_of, soft_dice

Real = NDArray[np.float64]
TWO = ("a", "b")


def _softmax(logits: Real) -> Real:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def _written(
    logits: Real, labels: NDArray[np.uint8], *, dice: float = 0.5, known: NDArray[np.bool_] | None = None
) -> float:
    """Cross-entropy and soft Dice at one resolution, patch by patch, voxel by voxel."""
    n, outputs = logits.shape[:2]
    known = np.ones((n, outputs - 1), bool) if known is None else known
    entropy, count, overlaps = 0.0, 0, []
    for x in range(n):
        p = _softmax(logits[x : x + 1])[0].reshape(outputs, -1)
        told = labels[x].ravel()
        kept = told != IGNORED
        lost = [c for c in range(1, outputs) if not known[x, c - 1]]
        background = p[0] + sum((p[c] for c in lost), np.zeros_like(p[0]))
        for v in np.flatnonzero(kept):
            own = background[v] if told[v] == 0 or told[v] in lost else p[told[v], v]
            entropy -= np.log(own)
            count += 1
        for c in range(1, outputs):
            here = told == c
            if c not in lost and (here & kept).any():
                shared = (p[c] * here)[kept].sum()
                overlaps.append((2 * shared + 1) / (p[c][kept].sum() + here[kept].sum() + 1))
    ce = entropy / max(1, count)
    return dice * (1 - float(np.mean(overlaps)) if overlaps else 0.0) + (1 - dice) * ce


def _case(shape: tuple[int, ...], *, n: int = 2, ignored: float = 0.2) -> tuple[Real, NDArray[np.uint8]]:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, (n, *shape)).astype(np.uint8)
    labels[rng.random(labels.shape) < ignored] = IGNORED
    return rng.normal(0, 2, (n, 3, *shape)), labels


def _loss(
    plan: Segmentation, answers: object, labels: NDArray[np.uint8], known: object = None
) -> torch.Tensor:
    told = torch.ones(len(labels), len(plan.structures), dtype=torch.bool) if known is None else known
    return loss_of(plan)(answers, (torch.from_numpy(labels), told))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(6, 5), (3, 4, 5)])
@pytest.mark.parametrize("dice", [0.0, 0.5, 1.0])
def test_loss_is_cross_entropy_and_soft_dice_over_voxels_that_count(
    shape: tuple[int, ...], dice: float
) -> None:
    logits, labels = _case(shape)
    found = _loss(Segmentation(structures=TWO, dice=dice), torch.from_numpy(logits), labels)
    assert float(found) == pytest.approx(_written(logits, labels, dice=dice), rel=1e-5)


def test_structures_that_a_patch_lacks_do_not_enter_its_dice() -> None:
    logits, labels = _case((6, 5))
    labels[0][labels[0] == 2] = 0
    found = _loss(Segmentation(structures=TWO, dice=1.0), torch.from_numpy(logits), labels)
    assert float(found) == pytest.approx(_written(logits, labels, dice=1.0), rel=1e-5)
    labels[labels != IGNORED] = 0
    nothing = _loss(Segmentation(structures=TWO, dice=1.0), torch.from_numpy(logits), labels)
    assert float(nothing) == 0.0


def test_nothing_is_learned_where_labels_are_ignored() -> None:
    logits, labels = _case((6, 5))
    answers = torch.from_numpy(logits).requires_grad_()
    _loss(Segmentation(structures=TWO), answers, labels).backward()
    assert answers.grad is not None
    taught = answers.grad.abs().sum(1).numpy() > 0
    assert (taught == (labels != IGNORED)).all()
    whole = np.full_like(labels, IGNORED)
    assert float(_loss(Segmentation(structures=TWO), torch.from_numpy(logits), whole)) == 0.0


def test_coarser_answers_count_half_as_much_each() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (2, 8, 8)).astype(np.uint8)
    answers = [rng.normal(0, 1, (2, 3, 8 // s, 8 // s)) for s in (1, 2, 4)]
    parts = [
        _written(a, np.ascontiguousarray(labels[:, s // 2 :: s, s // 2 :: s]))
        for a, s in zip(answers, (1, 2, 4), strict=True)
    ]
    expected = (parts[0] + parts[1] / 2 + parts[2] / 4) / 1.75
    found = _loss(Segmentation(structures=TWO), tuple(map(torch.from_numpy, answers)), labels)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_coarser_answers_never_see_labels_that_are_not_there() -> None:
    """Labels are picked, not mixed: halfway between 0 and 2 lies no 1."""
    labels = np.zeros((1, 8, 8), np.uint8)
    labels[:, 4:] = 2
    logits = np.zeros((1, 3, 4, 4))
    logits[:, 1] = -50.0
    found = _loss(Segmentation(structures=TWO, dice=0.0), torch.from_numpy(logits), labels)
    assert float(found) == pytest.approx(np.log(2), rel=1e-4)


def test_what_nobody_outlined_is_taken_with_the_background() -> None:
    logits, labels = _case((6, 5))
    known = np.array([[True, False], [True, True]])
    plan = Segmentation(structures=TWO)
    found = _loss(plan, torch.from_numpy(logits), labels, torch.from_numpy(known))
    assert float(found) == pytest.approx(_written(logits, labels, known=known), rel=1e-5)


def test_between_the_background_and_an_unknown_structure_nothing_is_taught() -> None:
    """Moving probability from the background to what nobody outlined changes no loss."""
    logits, labels = _case((6, 5), n=1)
    known = torch.tensor([[True, False]])
    plan = Segmentation(structures=TWO)
    swapped = logits[:, [2, 1, 0]]
    first, second = (float(_loss(plan, torch.from_numpy(x), labels, known)) for x in (logits, swapped))
    assert first == pytest.approx(second, rel=1e-6)
    answers = torch.from_numpy(logits).requires_grad_()
    _loss(plan, answers, labels, known).backward()
    assert answers.grad is not None
    gradient = answers.grad.numpy()[0]
    shares = _softmax(logits)[0]
    voxels = labels[0] != IGNORED
    for c in (0, 2):  # both share the gradient of their sum
        own = gradient[c][voxels] * (shares[0] + shares[2])[voxels]
        assert np.allclose(own, (gradient[0] + gradient[2])[voxels] * shares[c][voxels], atol=1e-7)


REGIONS = Segmentation(
    structures=("oedema", "core", "enhancing"), regions=((1, 2, 3), (2, 3), (3,)),
    region_names=("whole", "tumour core", "enhancing"),
)  # fmt: skip


def test_loss_of_regions_is_that_of_each_yes_or_no() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (2, 3, 6, 5))
    labels = rng.integers(0, 4, (2, 6, 5)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.2] = IGNORED
    kept = labels != IGNORED
    p = 1 / (1 + np.exp(-logits))
    terms, overlaps = [], []
    for n, region in enumerate(REGIONS.regions):
        told = np.isin(labels, region)
        terms.append(-(np.log(np.where(told, p[:, n], 1 - p[:, n])) * kept).sum())
        for x in range(2):
            shared = (p[x, n] * told[x])[kept[x]].sum()
            overlaps.append((2 * shared + 1) / (p[x, n][kept[x]].sum() + told[x][kept[x]].sum() + 1))
    expected = 0.5 * (1 - np.mean(overlaps)) + 0.5 * sum(terms) / (3 * kept.sum())
    assert float(_loss(REGIONS, torch.from_numpy(logits), labels)) == pytest.approx(float(expected), rel=1e-5)


def test_a_region_of_which_a_part_was_not_outlined_is_not_taught() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, (1, 6, 5)).astype(np.uint8)
    answers = torch.from_numpy(rng.normal(0, 2, (1, 3, 6, 5))).requires_grad_()
    _loss(REGIONS, answers, labels, torch.tensor([[True, True, False]])).backward()
    assert answers.grad is not None and float(answers.grad.abs().sum()) == 0.0
    answers.grad = None
    _loss(REGIONS, answers, labels, torch.tensor([[False, False, True]])).backward()
    assert [float(answers.grad[:, n].abs().sum()) > 0 for n in range(3)] == [False, False, True]


def test_labels_of_regions_are_nested() -> None:
    p = torch.tensor([[0.9, 0.9, 0.9, 0.2, 0.2], [0.1, 0.9, 0.9, 0.9, 0.1], [0.1, 0.1, 0.9, 0.1, 0.4]])
    assert labels_of(p.reshape(1, 3, 1, 5), REGIONS).tolist() == [[[1, 2, 3, 2, 0]]]


def test_probabilities_of_labels_exclude_each_other_and_those_of_regions_do_not() -> None:
    logits = torch.randn(1, 3, 4, 4)
    shares = probabilities_of(logits, Segmentation(structures=TWO))
    assert torch.allclose(shares.sum(1), torch.ones(1, 4, 4), atol=1e-6)
    assert torch.equal(labels_of(shares, Segmentation(structures=TWO)), logits.argmax(1).to(torch.uint8))
    assert torch.equal(probabilities_of(logits, REGIONS), logits.sigmoid())


def test_soft_dice_of_whole_masks_is_dice() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.random((1, 1, 30, 30)) < s for s in (0.4, 0.5))
    found = soft_dice(*(torch.from_numpy(x.astype(np.float32)) for x in (a, b)), torch.ones(1, 1, 30, 30))
    assert float(found) == pytest.approx((2 * (a & b).sum() + 1) / (a.sum() + b.sum() + 1), rel=1e-6)
