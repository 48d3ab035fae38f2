"""What model cards say of a model of places: what it outlines or finds, on which grid, from which score."""

from __future__ import annotations

from hounsfield.core.model import Model

__all__ = ["called_text", "cleaning_text", "learned_from_text", "places_output", "places_task"]

_AT_HALF = "a voxel belongs to a region from a probability of 0.5; no threshold was chosen"
_LARGEST = "a voxel belongs to the structure of the largest probability; no threshold"


def places_task(model: Model) -> str:
    """What a model of segmentation or detection is asked, in a sentence without its full stop."""
    plan = model.plan
    if plan.task == "detection":
        what = "spheres" if plan.detection.shape == "sphere" else "boxes"
        classes = ", ".join(plan.detection.classes)
        return f"Object detection: where are objects of the classes {classes} ({what})?"
    names = plan.segmentation.structures
    told = f"Image segmentation: which voxels belong to {', '.join(names)}?"
    regions = [
        f"{name} = {' + '.join(names[label - 1] for label in labels)}"
        for name, labels in zip(plan.segmentation.region_names, plan.segmentation.regions, strict=True)
    ]
    return f"{told} (learned as regions that may overlap: {'; '.join(regions)})" if regions else told


def places_output(model: Model) -> str:
    """Channels, voxels, patches and windows that go in, and what comes out.

    >>> from pathlib import Path
    >>> from hounsfield.core.case import LabelEncoding
    >>> from hounsfield.core.model import OperatingPoint
    >>> from hounsfield.core.plan import Plan, Segmentation
    >>> plan = Plan(task="segmentation", segmentation=Segmentation(structures=("tumour",)))
    >>> known = LabelEncoding("multilabel", ("tumour",)), (), OperatingPoint((), "", "")
    >>> print(places_output(Model(Path("."), plan, *known)))
    Input: an image of 1 channel(s) (image) with its own voxels, learned from patches and seen in windows of
    1×64×64 voxels (k, j, i). Output: a mask of 1 structure(s) on the grid of the image.
    """
    grid = model.plan.grid
    voxels = "with its own voxels"
    if grid.spacing_mm:
        voxels = f"brought to voxels of {'×'.join(f'{s:g}' for s in grid.spacing_mm)} mm (k, j, i)"
    if grid.orientation:
        voxels = f"turned to {grid.orientation} (i, j, k) and {voxels}"
    patch, window = ("×".join(map(str, shape)) for shape in (grid.patch, grid.window))
    seen = f"learned from patches of {patch} and seen in windows of {window} voxels (k, j, i)"
    if patch == window:
        seen = f"learned from patches and seen in windows of {patch} voxels (k, j, i)"
    return (
        f"Input: an image of {len(grid.channels)} channel(s) ({', '.join(grid.channels)}) {voxels}, {seen}. "
        f"Output: {_found(model)}."
    )


def called_text(model: Model) -> str:
    """From which score something is called."""
    if model.plan.task == "segmentation":
        return _AT_HALF if model.plan.segmentation.regions else _LARGEST
    point = model.operating_point
    scores = ", ".join(f"{value:.4f}" for value in point.values)
    if not scores:
        return "no score from which a candidate is called was chosen"
    return (
        f"a candidate is called from a score of {scores}, by the rule {point.rule}, chosen on "
        f"{point.chosen_on}, n = {point.n}"
    )


def cleaning_text(model: Model) -> str:
    """What is tidied in predicted masks; empty where the model finds objects."""
    if model.plan.task != "segmentation":
        return ""
    if model.cleaning is None:
        return "none was chosen"
    return model.cleaning.text(model.plan.segmentation.structures)


def learned_from_text(model: Model) -> str:
    """How patches were drawn, and what the loss was."""
    share = f"At least {model.plan.grid.foreground:.0%} of the patches were centred on something marked."
    if model.plan.task == "detection":
        return f"{share} {model.plan.detection.negatives} hard negatives stood beside each positive cell."
    dice = model.plan.segmentation.dice
    return f"{share} The loss was {dice:.0%} soft Dice and {1 - dice:.0%} cross-entropy."


def _found(model: Model) -> str:
    if model.plan.task == "segmentation":
        where = "the image" if len(model.plan.grid.channels) == 1 else "the first image"
        where = "the image" if model.plan.grid.channels[0] == "red" else where
        return f"a mask of {len(model.plan.segmentation.structures)} structure(s) on the grid of {where}"
    detection = model.plan.detection
    return (
        f"at most {detection.most} {'spheres' if detection.shape == 'sphere' else 'boxes'} with a class, "
        f"diameters and a score from {detection.least_score:g} to 1, which is no probability"
    )
