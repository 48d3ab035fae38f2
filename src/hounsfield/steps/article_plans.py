"""The three networks and preprocessings of the source article, as plans by name."""

from __future__ import annotations

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Augment, Fit, Input, Network, Plan, Validation
from hounsfield.core.registry import nearest

__all__ = ["NAMED_PLANS", "named_plan"]

_WHY = {"network.name": "named by the article's plan", "input.size": "named by the article's plan"}
_ONE = Validation(folds=5, members=1, test_time="none", threshold_rule="youden", calibrate="temperature")

NAMED_PLANS: dict[str, Plan] = {
    "article-a": Plan(
        name="article-a",
        input=Input(size=(1, 224, 224), channels=1, interpolation="cubic", normalise="unit"),
        network=Network(name="article-a"),
        fit=Fit(
            optimiser="adam", learning_rate=1e-3, weight_decay=0.0, schedule="constant", epochs=20,
            patience=5, batch_size=32, loss="binary_cross_entropy", class_weights=False,
        ),
        validation=_ONE,
        reasons=_WHY,
    ),
    "article-b": Plan(
        name="article-b",
        input=Input(size=(1, 150, 150), channels=3, interpolation="linear", normalise="unit"),
        augment=Augment(
            rotation_deg=20, shift_width=0.2, shift_height=0.2, shear_deg=11.31, zoom=0.2,
            flip_left_right=True, fill="nearest",
        ),
        network=Network(name="article-b", dropout=0.5),
        fit=Fit(
            optimiser="rmsprop", learning_rate=1e-3, weight_decay=0.0, schedule="constant", epochs=30,
            patience=8, batch_size=32, loss="binary_cross_entropy", class_weights=False,
        ),
        validation=_ONE,
        reasons={**_WHY, "augment.shear_deg": "shear .2 is a slope of .2, an angle of 11.31 degrees"},
    ),
    "article-c": Plan(
        name="article-c",
        input=Input(size=(1, 150, 150), channels=3, interpolation="linear", normalise="unit"),
        network=Network(name="article-c", dropout=0.5, weights="pretrained", trainable_layers=4),
        fit=Fit(
            optimiser="sgd", learning_rate=1e-4, momentum=0.9, weight_decay=0.0, schedule="constant",
            epochs=30, patience=8, batch_size=32, loss="binary_cross_entropy", class_weights=False,
        ),
        validation=_ONE,
        reasons={**_WHY, "network.weights": "ImageNet weights of VGG16; a local file may be named instead"},
    ),
}  # fmt: skip


def named_plan(name: str) -> Plan:
    """A plan by its name; BadInput suggests the nearest.

    >>> named_plan("article-a").input.size
    (1, 224, 224)
    """
    if name not in NAMED_PLANS:
        raise BadInput(f'no plan is named "{name}"; {nearest(name, list(NAMED_PLANS))}, or give a plan.json')
    return NAMED_PLANS[name]
