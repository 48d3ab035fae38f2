"""The plan of a segmentation from what the images are, the machine, and the time that is given."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from hounsfield.core.plan import Augment, Fit, Grid, Network, Plan, Segmentation, Validation
from hounsfield.core.plan_regions import Scale
from hounsfield.steps.regions.fingerprint import RegionFacts
from hounsfield.steps.regions.shape_of_net import fitted_grid

__all__ = ["augment_of", "design_segmentation", "scales_of", "why_turned", "within_minutes"]

_VOXELS = {
    ("cpu", True): 160 * 160,
    ("cpu", False): 64**3,
    ("cuda", True): 512 * 512,
    ("cuda", False): 128**3,
}
_WIDTH = {("cpu", True): 16, ("cpu", False): 24, ("cuda", True): 32, ("cuda", False): 32}
_BATCH = {("cpu", True): 4, ("cpu", False): 2, ("cuda", True): 12, ("cuda", False): 2}
_SHARE = 0.85
"""Of the time for training: validation, prediction of the folds and the start take the rest."""

_LEAST_PATCHES = {"segmentation": 2000, "detection": 9600}
"""A member should learn from so many, small ones in a detection; in less time there are fewer members."""

_LARGE = 120_000
"""A patch of more voxels makes the network narrower on a CPU, or it would see too few of them."""

_WINDOW = 1.5


def design_segmentation(
    facts: RegionFacts,
    structures: Sequence[str],
    *,
    ignore: int = -1,
    regions: Sequence[tuple[str, Sequence[int]]] = (),
    device: str = "cpu",
    seed: int = 0,
    budget_minutes: float = 50.0,
    folds: int = 5,
) -> Plan:
    """A U-Net, its grid, patches, scales, augmentation and loss; `within_minutes` sets epochs and members."""
    where = (device, facts.flat)
    most = _VOXELS[where]
    made = fitted_grid(facts, most_voxels=most)
    batch = max(_BATCH[where], min(8, _BATCH[where] * most // max(1, _voxels(made.patch)) // 2))
    scales, why_scales = scales_of(facts)
    mirror, why_mirror = _mirror(facts, structures)
    window = tuple(
        max(p, min(round(_WINDOW * p / 8) * 8 if p > 8 else p, _rounded(n, p)))
        for p, n in zip(made.patch, made.shape, strict=True)
    )
    width = 16 if device == "cpu" and not facts.flat and _voxels(made.patch) > _LARGE else _WIDTH[where]
    reasons = {
        **made.reasons,
        **why_turned(facts),
        "task": f"outline {', '.join(structures)}",
        "grid.normalise": why_scales,
        "grid.mirror": why_mirror,
        "grid.foreground": "a third of the patches is centred on something marked (Isensee 2021)",
        "fit.batch_size": f"patches of {_voxels(made.patch):,} voxels on this machine",
        "network.name": "U-Net with residual encoder (Isensee 2024)",
        "network.width": "what this machine learns in the time given" if device == "cpu" else "as nnU-Net",
        "fit.loss": "soft Dice and cross-entropy, at every resolution of the decoder",
        "augment": "as nnU-Net's, without what needs more time than it brings",
    }
    return Plan(
        name="designed",
        task="segmentation",
        grid=Grid(
            channels=facts.channels, orientation=facts.orientation, spacing_mm=made.spacing_mm,
            normalise=scales,
            fixed=facts.fixed if "fixed" in scales else (), patch=made.patch,
            window=(window[0], window[1], window[2]), mirror=mirror,
        ),
        segmentation=Segmentation(
            structures=tuple(structures), ignore=ignore,
            regions=tuple(tuple(held) for _, held in regions), region_names=tuple(n for n, _ in regions),
        ),
        augment=augment_of(facts, made.spacing_mm, mirror),
        network=Network(
            name="unet", width=width, depth=len(made.strides), strides=made.strides, kernels=made.kernels,
            widest=320 if not facts.flat else 512,
        ),
        fit=Fit(
            optimiser="adamw", learning_rate=2e-3, weight_decay=1e-2, schedule="onecycle", warmup=0.1,
            batch_size=batch, weight_average=0.99, choose="last", gradient_clip=12.0, cache_frozen=False,
        ),
        validation=Validation(folds=folds, members=folds),
        seed=seed,
        budget_minutes=budget_minutes,
        reasons=reasons,
    )  # fmt: skip


def scales_of(facts: RegionFacts) -> tuple[tuple[Scale, ...], str]:
    """How each channel is normalised, and why."""
    named: dict[str, Scale] = {"ct": "fixed", "picture": "zscore", "other": "zscore"}
    scales = tuple(named[kind] for kind in facts.kinds)
    said = []
    if "ct" in facts.kinds:
        said.append("Hounsfield units mean the same in every image: clipped to percentiles of what is marked")
    if set(facts.kinds) - {"ct"}:
        said.append(
            "other numbers have no fixed meaning: mean 0 and spread 1 in each image, within percentiles"
        )
    return scales, "; ".join(said)


def why_turned(facts: RegionFacts) -> dict[str, str]:
    """The reason of `grid.orientation`, where volumes have one."""
    if not facts.orientation:
        return {}
    others = (
        f"{facts.turned} that run elsewhere are turned" if facts.turned else "so do all that were measured"
    )
    return {"grid.orientation": f"columns, rows and slices of most volumes run so; {others}"}


def augment_of(facts: RegionFacts, spacing_mm: Sequence[float], mirror: Collection[int]) -> Augment:
    """Random changes that fit the images; a volume of thick slices is not tilted out of them."""
    thick = bool(spacing_mm) and not facts.flat and max(spacing_mm) >= 2.5 * min(spacing_mm)
    return Augment(
        rotation_deg=30.0 if facts.flat or thick else 15.0,
        tilt_deg=0.0 if facts.flat or thick else 15.0,
        zoom=0.25,
        flip_slices=0 in mirror,
        flip_up_down=1 in mirror,
        flip_left_right=2 in mirror,
        brightness=0.2,
        contrast=0.3,
        gamma=0.35,
        noise=0.15,
        blur=1.0,
        elastic=0.05,
        elastic_points=6,
        intensity_chance=0.2,
        low_resolution=2.0,
        artefact_chance=0.15,
    )


def within_minutes(
    plan: Plan,
    seconds: float,
    *,
    minutes: float,
    beside: int,
    besides: float = 0.0,
    fixed: Collection[str] = (),
) -> Plan:
    """Members, epochs and steps that take the time given, where one patch takes `seconds` of one core.

    `besides` is what else a member does, in patches. What the user fixed stays. A member has at least two
    epochs, whatever the time.
    """
    patches = _SHARE * minutes * 60 * beside / max(seconds, 1e-6)
    most = plan.validation.folds
    members = int(min(most, max(1, patches // (_LEAST_PATCHES[plan.task] + besides))))
    if "validation.members" in fixed:
        members = plan.validation.members
    steps = max(2, int((patches / members - besides) / plan.fit.batch_size))
    epochs = plan.fit.epochs if "fit.epochs" in fixed else max(2, min(100, steps // 20))
    each = plan.grid.steps if "grid.steps" in fixed else max(1, steps // epochs)
    why = (
        f"{minutes:g} minutes at {seconds:.2g} s a patch and core: "
        f"{members} member(s) of {epochs * each} steps"
    )
    return plan.model_copy(
        update={
            "validation": plan.validation.model_copy(update={"members": members}),
            "fit": plan.fit.model_copy(update={"epochs": epochs}),
            "grid": plan.grid.model_copy(update={"steps": each}),
            "reasons": {**plan.reasons, "fit.epochs": why, "validation.members": why},
        }
    )


def _mirror(facts: RegionFacts, structures: Sequence[str]) -> tuple[tuple[int, ...], str]:
    if not facts.flat:
        return (
            (),
            "volumes are turned to one orientation: mirrored anatomy would take time to learn and to predict",
        )
    if any(re.search(r"(^|[_\W])(left|right|l|r)($|[_\W])", s.casefold()) for s in structures):
        return (1,), "structures are named by their side: left and right are kept"
    return (1, 2), "pictures, and no structure is named by its side"


def _voxels(shape: Sequence[int]) -> int:
    k, j, i = shape
    return k * j * i


def _rounded(n: int, patch: int) -> int:
    """An image's side up to a multiple of the patch's own divisor."""
    step = 16 if patch % 16 == 0 else 8 if patch % 8 == 0 else 4 if patch % 4 == 0 else 1
    return -(-n // step) * step
