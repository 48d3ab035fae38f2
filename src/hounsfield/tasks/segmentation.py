"""Segmentation: what a network is asked for in every voxel, its loss, and labels from its answers.

Labels of a mask are 0 (background), 1, 2, …; a network answers with background and one channel a structure
(softmax), or with one channel a region where regions are learned (sigmoid).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from hounsfield.core.plan import Segmentation

__all__ = ["IGNORED", "labels_of", "loss_of", "probabilities_of", "soft_dice"]

IGNORED = 255
"""The label, in a batch, of a voxel that is neither learned from nor measured."""

Wanted = tuple[Tensor, Tensor]
_SMOOTH = 1.0


def loss_of(plan: Segmentation) -> Callable[[Tensor | Sequence[Tensor], Wanted], Tensor]:
    """The plan's loss of answers at every resolution and (labels (N, …) uint8, annotated (N, structures)).

    Half soft Dice, half cross-entropy unless `plan.dice` says otherwise; an answer of half the resolution
    counts half as much (Isensee 2021). Where not all structures were annotated, what is not is taken together
    with the background (marginal loss, Shi 2021).

    >>> answers, labels = torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8)
    >>> loss = loss_of(Segmentation(structures=("a",), dice=0.0))
    >>> round(float(loss(answers, (labels, torch.ones(1, 1, dtype=torch.bool)))), 3)
    0.693
    """
    at_one = _of_regions(plan) if plan.regions else _of_labels(plan)

    def loss(answers: Tensor | Sequence[Tensor], wanted: Wanted) -> Tensor:
        labels, annotated = wanted
        several = [answers] if isinstance(answers, Tensor) else list(answers)
        total, weight = torch.zeros((), device=labels.device), 0.0
        for n, answer in enumerate(several):
            share = 0.5**n
            total = total + share * at_one(answer.float(), _shrunk(labels, answer), annotated)
            weight += share
        return total / weight

    return loss


def probabilities_of(answers: Tensor, plan: Segmentation) -> Tensor:
    """Probabilities of the same shape: softmax over labels, or sigmoid of every region."""
    return answers.float().sigmoid() if plan.regions else answers.float().softmax(1)


def labels_of(probabilities: Tensor, plan: Segmentation) -> Tensor:
    """Labels (N, …) uint8 of probabilities (N, outputs, …).

    Of regions a voxel takes the label of the last region, in the plan's order, that holds it; the label that
    a region gives is the first of its own that no later region holds.

    >>> plan = Segmentation(structures=("oedema", "core"), regions=((1, 2), (2,)),
    ...                     region_names=("whole", "core"))
    >>> labels_of(torch.tensor([[[.9, .9, .1]], [[.2, .8, .2]]]).reshape(1, 2, 1, 3), plan).tolist()
    [[[1, 2, 0]]]
    """
    if not plan.regions:
        return probabilities.argmax(1).to(torch.uint8)
    made = torch.zeros_like(probabilities[:, 0], dtype=torch.uint8)
    for n, region in enumerate(plan.regions):
        later = {label for other in plan.regions[n + 1 :] for label in other}
        own = [label for label in region if label not in later] or list(region)
        made[probabilities[:, n] > 0.5] = own[0]
    return made


def soft_dice(probabilities: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
    """Soft Dice (N, C) of probabilities and zeros and ones (N, C, …), over voxels `counted` (N, 1, …)."""
    axes = tuple(range(2, probabilities.ndim))
    p, w = probabilities * counted, wanted * counted
    shared = (p * w).sum(axes)
    found: Tensor = (2 * shared + _SMOOTH) / (p.sum(axes) + w.sum(axes) + _SMOOTH)
    return found


def _of_labels(plan: Segmentation) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    def loss(answer: Tensor, labels: Tensor, annotated: Tensor) -> Tensor:
        counted = labels != IGNORED
        kept = torch.where(counted, labels, 0).long()
        if not bool(annotated.all()):
            answer, kept = _merged(answer, kept, annotated)
        weight = counted.float()
        terms = functional.cross_entropy(answer, kept, reduction="none") * weight
        entropy = terms.sum() / weight.sum().clamp(min=1.0)
        if plan.dice == 0:
            return entropy
        probabilities = answer.softmax(1)[:, 1:]
        told = torch.stack([kept == n + 1 for n in range(probabilities.shape[1])], 1).to(answer.dtype)
        return plan.dice * _dice_loss(probabilities, told, counted, annotated) + (1 - plan.dice) * entropy

    return loss


def _of_regions(plan: Segmentation) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    def loss(answer: Tensor, labels: Tensor, annotated: Tensor) -> Tensor:
        counted = labels != IGNORED
        told = torch.stack(
            [torch.stack([labels == label for label in region]).any(0) for region in plan.regions], 1
        ).to(answer.dtype)
        known = torch.stack(
            [annotated[:, [label - 1 for label in region]].all(1) for region in plan.regions], 1
        )
        shape = (*known.shape, *[1] * (answer.ndim - 2))
        weight = counted[:, None] * known.reshape(shape).to(answer.dtype)
        terms = functional.binary_cross_entropy_with_logits(answer, told, reduction="none") * weight
        entropy = terms.sum() / weight.sum().clamp(min=1.0)
        if plan.dice == 0:
            return entropy
        found = _dice_loss(answer.sigmoid(), told, counted, known)
        return plan.dice * found + (1 - plan.dice) * entropy

    return loss


def _dice_loss(probabilities: Tensor, told: Tensor, counted: Tensor, annotated: Tensor) -> Tensor:
    """One less the mean soft Dice of structures that a patch holds; one without any teaches by entropy."""
    held = told.flatten(2).any(2) & annotated
    dice = soft_dice(probabilities, told, counted[:, None])
    found: Tensor = ((1 - dice) * held).sum() / held.sum().clamp(min=1)
    return found


def _merged(answer: Tensor, labels: Tensor, annotated: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities and labels where the structures that nobody annotated belong to the background."""
    logs = answer.log_softmax(1)
    shape = (*annotated.shape, *[1] * (answer.ndim - 2))
    known = annotated.reshape(shape)
    rest = torch.where(known, torch.full_like(logs[:, 1:], -1e4), logs[:, 1:])
    background = torch.logsumexp(torch.cat([logs[:, :1], rest], 1), 1, keepdim=True)
    own = torch.where(known, logs[:, 1:], torch.full_like(logs[:, 1:], -1e4))
    taught = torch.cat([torch.ones_like(annotated[:, :1]), annotated], 1)
    place = taught.gather(1, labels.flatten(1)).reshape(labels.shape)
    return torch.cat([background, own], 1), torch.where(place, labels, 0)


def _shrunk(labels: Tensor, answer: Tensor) -> Tensor:
    """Labels at the resolution of an answer: every second voxel, and so on."""
    wanted = answer.shape[2:]
    if labels.shape[1:] == wanted:
        return labels
    return functional.interpolate(labels[:, None].float(), size=wanted, mode="nearest-exact")[:, 0].to(
        labels.dtype
    )
