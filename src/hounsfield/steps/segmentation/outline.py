"""An image outlined by networks: on the plan's grid, and back on the image's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hounsfield.core.plan import Plan
from hounsfield.networks.unet import UNet
from hounsfield.steps.regions.grid_store import GridStore, Placed
from hounsfield.steps.regions.to_grid import Gridded
from hounsfield.steps.regions.windows import answer_of, tensor_of
from hounsfield.tasks.segmentation import labels_of, probabilities_of
from hounsfield.transforms.resize import resize

__all__ = ["divisor_of", "on_native_grid", "outlined", "outlined_grid", "to_native_labels"]


def outlined(
    networks: Sequence[nn.Module], store: GridStore, case: str, plan: Plan, device: torch.device
) -> NDArray[np.uint8]:
    """Labels (K, J, I) of a case of the store, on the image's own grid."""
    row = store.rows[case]
    image = tensor_of(store.image(case), row.levels, device)
    return to_native_labels(_probabilities(networks, image, plan), row.place, plan)


def outlined_grid(
    networks: Sequence[nn.Module], made: Gridded, plan: Plan, device: torch.device
) -> NDArray[np.uint8]:
    """Labels (K, J, I) on the image's own grid of a case that was brought to the plan's."""
    image = tensor_of(made.data, made.levels, device)
    return to_native_labels(_probabilities(networks, image, plan), made.place, plan)


def divisor_of(network: nn.Module) -> tuple[int, int, int]:
    """What windows (k, j, i) of a U-Net must be divisible by."""
    assert isinstance(network, UNet)
    *k, j, i = network.divisor
    return (k[0] if k else 1), j, i


def _probabilities(networks: Sequence[nn.Module], image: Tensor, plan: Plan) -> Tensor:
    return answer_of(
        networks, image, plan,
        divisor=divisor_of(networks[0]), finish=lambda a: probabilities_of(a, plan.segmentation),
    )  # fmt: skip


def on_native_grid(numbers: NDArray[np.float32], place: Placed) -> NDArray[np.float32]:
    """Numbers (k, j, i) of the plan's grid on the image's own (K, J, I); 0 outside of what was cut out."""
    stored = np.zeros(place.native, np.float32)
    same = numbers.shape == place.box
    fine = numbers if same else resize(numbers[None], place.box, interpolation="linear")[0]
    place.turn.of(stored)[place.cut] = fine
    return stored


def to_native_labels(probabilities: Tensor, place: Placed, plan: Plan) -> NDArray[np.uint8]:
    """Labels (K, J, I) on the native grid of probabilities (outputs, k, j, i) on the plan's.

    Probabilities are resampled, not labels, one output at a time, so that a fine image needs little memory.
    """
    stored = np.zeros(place.native, np.uint8)
    made = place.turn.of(stored)  # a view: what is written there lies in the image's own order
    cut, size = place.cut, place.box
    if tuple(probabilities.shape[1:]) == size:
        made[cut] = labels_of(probabilities[None], plan.segmentation)[0].cpu().numpy()
        return stored
    held = probabilities.float().cpu().numpy()
    if plan.segmentation.regions:
        fine = np.stack([resize(p[None], size, interpolation="linear")[0] for p in held])
        made[cut] = labels_of(torch.from_numpy(fine)[None], plan.segmentation)[0].numpy()
        return stored
    best = resize(held[:1], size, interpolation="linear")[0]
    labels = np.zeros(size, np.uint8)
    for n in range(1, len(held)):
        share = resize(held[n : n + 1], size, interpolation="linear")[0]
        over = share > best
        labels[over], best[over] = n, share[over]
    made[cut] = labels
    return stored
