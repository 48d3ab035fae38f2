"""The sections of a plan that speak of places in an image: the grid of patches, segmentation, detection."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hounsfield.core.plan_sections import Amount, Chance, Positive, Section

__all__ = ["Detection", "Grid", "Segmentation"]

Three = tuple[Positive, Positive, Positive]
_SAME_AXIS = str.maketrans("RAI", "LPS")
Scale = Literal["zscore", "percentile", "fixed", "unit"]


class Grid(Section):
    """The voxels that a network of places sees, and the patches and windows that are cut from them.

    Every volume is turned so that its columns, rows and slices run to `orientation` ("LPS": left, back, top;
    empty leaves its axes as its file has them), then resampled to `spacing_mm` (k, j, i); empty keeps its
    voxels (pictures without a spacing).
    `channels` are the names of the images of a case in order. `normalise` holds one word a channel: "zscore"
    (mean and spread of the image's own foreground), "percentile" (the image's 0.5th to 99.5th percentile to
    [0, 1]), "fixed" (clipped to `fixed`' first two numbers, less its third, over its fourth: measured once
    on the development images, for units that mean the same in every image, as Hounsfield units do) or "unit"
    (the stored range to [0, 1]); a picture of three colours is three channels of one image.

    A step learns from `fit.batch_size` patches of `patch` voxels (k, j, i), an epoch has `steps` of them, and
    at least the share `foreground` of a batch is centred on something marked. Prediction slides windows of
    `window` voxels that overlap by `overlap`, weighed by a Gaussian, and averages images mirrored along the
    axes `mirror` (0 slices, 1 rows, 2 columns).
    """

    channels: tuple[str, ...] = ("image",)
    orientation: str = ""
    spacing_mm: tuple[float, ...] = ()
    normalise: tuple[Scale, ...] = ("zscore",)
    fixed: tuple[tuple[float, float, float, float], ...] = ()
    patch: Three = (1, 64, 64)
    window: Three = (1, 64, 64)
    overlap: float = Field(0.5, ge=0, lt=1)
    steps: Positive = 50
    foreground: Chance = 0.34
    mirror: tuple[Annotated[int, Field(ge=0, le=2)], ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.orientation and sorted(self.orientation.translate(_SAME_AXIS)) != ["L", "P", "S"]:
            raise ValueError(
                f'grid.orientation is "{self.orientation}"; expected one of L or R, one of P or A and one of '
                "S or I, in the order of columns, rows and slices; correct it"
            )
        if len(self.spacing_mm) not in (0, 3) or any(s <= 0 for s in self.spacing_mm):
            raise ValueError("grid.spacing_mm is not three lengths above 0 (k, j, i), nor empty; correct it")
        if len(self.normalise) != len(self.channels):
            raise ValueError(
                f"grid.normalise holds {len(self.normalise)} words for {len(self.channels)} channels; give "
                "one for each"
            )
        if "fixed" in self.normalise and len(self.fixed) != len(self.channels):
            raise ValueError(
                "grid.normalise says fixed, and grid.fixed does not hold low, high, mean and spread of every "
                "channel; give them, or leave grid.fixed to the design"
            )
        if any(w < p for w, p in zip(self.window, self.patch, strict=True)):
            raise ValueError("grid.window is smaller than grid.patch; expected at least as large; correct it")
        return self


class Segmentation(Section):
    """What is outlined, and by what loss it is learned.

    `structures` names the labels 1, 2, … of the masks. `regions` are sets of labels that are learned as one
    output each and may overlap ([[1, 2, 3], [2]]: the whole tumour and its core), and measured by the names
    `region_names`; empty learns every label as one of several that exclude each other. A voxel of label
    `ignore` (below 0: none) is not learned from, nor measured; a case of which only some structures were
    outlined teaches only those.

    The loss is soft Dice plus cross-entropy, in the shares `dice` and 1 - `dice`, at every resolution of the
    decoder where `deep_supervision` is on. `tolerance_mm` is that of the normalised surface distance; 0 takes
    the largest spacing of the grid.

    `clean` lets the validation cases choose, structure by structure, whether only the largest component is
    kept, whether pieces below a size go, and whether holes are filled; what does not gain is left out.
    """

    structures: tuple[str, ...] = ()
    regions: tuple[tuple[Positive, ...], ...] = ()
    region_names: tuple[str, ...] = ()
    ignore: int = -1
    dice: Chance = 0.5
    deep_supervision: bool = True
    tolerance_mm: Amount = 0.0
    clean: bool = True

    @model_validator(mode="after")
    def _named(self) -> Self:
        if len(self.region_names) != len(self.regions):
            raise ValueError(
                f"segmentation.region_names holds {len(self.region_names)} names for {len(self.regions)} "
                "regions; name each"
            )
        if any(label > len(self.structures) for region in self.regions for label in region):
            raise ValueError(
                f"segmentation.regions names a label above {len(self.structures)}, the number of structures; "
                "correct it"
            )
        return self

    @property
    def outputs(self) -> int:
        """Channels of the network's answer: one a region, or background and one a structure."""
        return len(self.regions) or len(self.structures) + 1


class Detection(Section):
    """What is found, as boxes or spheres, and how.

    `classes` names what is marked. `shape` is "sphere" (centre and diameter) or "box". The head stands on
    the feature map whose cell is `stride` voxels (k, j, i) of the grid wide. `negatives` hard negatives are
    learned from for each positive cell. After the shares `searched` of all epochs `search_images` of the
    training images are searched, and from then on `hard` of a batch's patches show what was taken for an
    object.

    Candidates of a score below `least_score` are dropped, at most `most` an image are kept, and those that
    overlap by `fuse` are fused (weighted box fusion, Solovyev 2021). `match` says which candidate counts as
    a hit: "centre" (inside the lesion's radius, LUNA16's rule) or "overlap" (an intersection over union of
    at least `match_iou`).
    """

    classes: tuple[str, ...] = ()
    shape: Literal["sphere", "box"] = "sphere"
    stride: Three = (1, 4, 4)
    negatives: Positive = 100
    searched: tuple[Chance, ...] = ()
    search_images: Positive = 24
    hard: Chance = 0.35
    least_score: float = Field(0.01, ge=0, lt=1)
    most: Positive = 100
    fuse: float = Field(0.2, gt=0, lt=1)
    match: Literal["centre", "overlap"] = "centre"
    match_iou: float = Field(0.1, gt=0, le=1)
