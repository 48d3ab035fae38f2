"""The members of a model of places, ready to predict; and images that they cannot take are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hounsfield.core.errors import BadInput
from hounsfield.core.model import Model
from hounsfield.steps.compute import pick_device
from hounsfield.steps.regions.to_grid import Native

if TYPE_CHECKING:
    from torch import nn

__all__ = ["networks_of", "require_channels"]


def networks_of(model: Model) -> list[nn.Module]:
    """Every member's network with its weights, on the plan's device, ready to predict."""
    import torch

    from hounsfield.networks.weights import load_weights
    from hounsfield.steps.learner import network_of_plan, network_shape

    device = pick_device(model.plan.device)
    form = torch.channels_last if len(network_shape(model.plan)) == 2 else torch.channels_last_3d
    made: list[nn.Module] = []
    for member in model.members:
        network = network_of_plan(model.plan, model.encoding.outputs)
        load_weights(network, model.directory / member)
        made.append(network.to(device).to(memory_format=form).eval())  # type: ignore[call-overload]
    return made


def require_channels(native: Native, model: Model, what: str) -> None:
    """Raise BadInput where an image has other channels than the model learned from."""
    channels = model.plan.grid.channels
    if len(native.data) != len(channels):
        raise BadInput(
            f"{what} has {len(native.data)} channel(s), but the model learned from {len(channels)} "
            f"({', '.join(channels)}); give images of that kind"
        )
