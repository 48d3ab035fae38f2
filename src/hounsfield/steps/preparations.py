"""One image through the preparations of a plan, in the plan's order; and what no order can do is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Input
from hounsfield.io.pixel_store import PixelStore
from hounsfield.transforms.field_of_view import crop_to_field, field_of_view
from hounsfield.transforms.foreground import crop_foreground
from hounsfield.transforms.fundus_light import even_light
from hounsfield.transforms.normalise import Levels, normalised
from hounsfield.transforms.resize import pad_to_aspect, resize

__all__ = ["before_normalise", "prepare_one", "refuse_unfit"]

_MOST_VOXELS = 1 << 29
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True, slots=True, eq=False)
class _Image:
    """An image on its way: stored values (C, K, J, I), and spacing (k, j, i) in mm, empty if unknown."""

    data: NDArray[Any]
    spacing_mm: tuple[float, ...]


def prepare_one(
    data: NDArray[Any], spacing_mm: tuple[float, ...], plan: Input, *, bits: int
) -> tuple[NDArray[Any], Levels]:
    """One decoded image (C, K, J, I) at the plan's size and channels, and its levels.

    The preparations follow `plan.order`; the levels are measured where "normalise" stands in it, and what
    comes after acts on the stored integers. Raises BadInput for channels that cannot be brought to the
    plan's, for an unknown spacing that the plan needs, and for histogram normalisation without landmarks.

    >>> image = np.arange(64, dtype=np.uint16).reshape(1, 1, 8, 8)
    >>> prepare_one(image, (), Input(size=(1, 4, 4)), bits=16)[0].dtype
    dtype('uint16')
    """
    place = plan.order.index("normalise")
    image = _executed(_Image(data, spacing_mm), plan.order[:place], plan)
    stored, levels = normalised(image.data, plan, bits=bits)
    return _executed(replace(image, data=stored), plan.order[place + 1 :], plan).data, levels


def before_normalise(data: NDArray[Any], spacing_mm: tuple[float, ...], plan: Input) -> NDArray[Any]:
    """One decoded image as it is where its values are measured: after what stands before "normalise"."""
    return _executed(_Image(data, spacing_mm), plan.order[: plan.order.index("normalise")], plan).data


def refuse_unfit(cases: Sequence[Case], plan: Input, store: PixelStore) -> None:
    """Raise BadInput, counting the images, where the plan asks for what they cannot give."""
    flat = sum(c.images[0].is_flat for c in cases)
    if plan.size[0] == 1 and flat < len(cases):
        raise BadInput(
            f"{len(cases) - flat} of {len(cases)} images are volumes, but the plan's input.size has one "
            "slice; give 2D images and volumes separately, or set input.size to three numbers"
        )
    if plan.size[0] > 1 and flat:
        raise BadInput(
            f"{flat} of {len(cases)} images are 2D, but the plan's input.size has {plan.size[0]} slices; "
            "expected volumes; give 2D images and volumes separately"
        )
    if plan.fundus != "off" and flat < len(cases):
        raise BadInput(
            f"input.fundus is {plan.fundus}, but {len(cases) - flat} of {len(cases)} images are volumes; it "
            'is for photographs of the fundus; set input.fundus="off"'
        )
    _refuse_order(plan)
    rows = [store.rows[c.images[0].id] for c in cases]
    unknown = sum(len(r.spacing_mm) != 3 for r in rows)
    if plan.spacing_mm and unknown:
        raise BadInput(
            f"input.spacing_mm asks for {_by(plan.spacing_mm)} mm, but {unknown} of {len(cases)} images do "
            "not say their spacing; leave it empty, or bring images with a spacing"
        )
    others = [r.shape[0] for r in rows if not _reaches(r.shape[0], plan.channels)]
    if others:
        raise BadInput(
            f"{len(others)} of {len(cases)} images have {_listed(others)} channels, which cannot be "
            f"brought to input.channels={plan.channels}; expected 1 (repeated), {plan.channels}"
            f"{', or 3 (made grey)' if plan.channels == 1 else ''}; set input.channels to what they have"
        )


def _refuse_order(plan: Input) -> None:
    used = {"crop": plan.crop_foreground or plan.fundus != "off", "resample": bool(plan.spacing_mm)}
    resized = plan.order.index("resize")
    late = [name for name, is_on in used.items() if is_on and plan.order.index(name) > resized]
    if late:
        raise BadInput(
            f"input.order puts {' and '.join(late)} after resize, so that images would not end at "
            f"input.size; put {' and '.join(late)} before it"
        )


def _executed(image: _Image, order: Sequence[str], plan: Input) -> _Image:
    for name in order:
        image = _STEPS[name](image, plan)
    return image


def _crop(image: _Image, plan: Input) -> _Image:
    data = crop_foreground(image.data) if plan.crop_foreground else image.data
    if plan.fundus != "off":
        data = crop_to_field(data, field_of_view(data))
    if plan.fundus == "evened":
        data = even_light(data)
    return replace(image, data=data)


def _resample(image: _Image, plan: Input) -> _Image:
    """To the plan's spacing along each axis; a 2D image has no spacing between slices."""
    if not plan.spacing_mm:
        return image
    if len(image.spacing_mm) != 3:
        raise BadInput(
            f"input.spacing_mm asks for {_by(plan.spacing_mm)} mm, but the image does not say its spacing; "
            "leave it empty, or bring an image with a spacing"
        )
    wanted = [
        max(1, round(n * have / want))
        for n, have, want in zip(image.data.shape[1:], image.spacing_mm, plan.spacing_mm, strict=True)
    ]
    size = (1 if image.data.shape[1] == 1 else wanted[0], wanted[1], wanted[2])
    if math.prod(size) > _MOST_VOXELS:
        raise BadInput(
            f"input.spacing_mm asks for {_by(plan.spacing_mm)} mm, which makes an image of {_by(size)} "
            f"voxels from one of {_by(image.data.shape[1:])}; expected at most {_MOST_VOXELS:,} voxels; ask "
            "for a coarser spacing"
        )
    return _resized(image, size, plan)


def _pad(image: _Image, plan: Input) -> _Image:
    return replace(image, data=pad_to_aspect(image.data, plan.size)) if plan.fit == "pad" else image


def _resize(image: _Image, plan: Input) -> _Image:
    return _resized(image, plan.size, plan)


def _resized(image: _Image, size: tuple[int, int, int], plan: Input) -> _Image:
    spacing = tuple(
        s * before / after
        for s, before, after in zip(image.spacing_mm, image.data.shape[1:], size, strict=False)
    )
    return _Image(resize(image.data, size, interpolation=plan.interpolation), spacing)


def _channels(image: _Image, plan: Input) -> _Image:
    """One channel repeated, or three made grey by luma."""
    data, wanted = image.data, plan.channels
    if not _reaches(data.shape[0], wanted):
        raise BadInput(
            f"an image of {data.shape[0]} channels cannot be brought to {wanted}; expected an image of 1, of "
            f"{wanted}{', or of 3' if wanted == 1 else ''}; set input.channels to what it has"
        )
    if data.shape[0] == wanted:
        return image
    if data.shape[0] == 1:
        return replace(image, data=np.repeat(data, wanted, 0))
    grey = np.tensordot(np.array(_LUMA, np.float32), data.astype(np.float32), 1)[None]
    whole = data.dtype.kind in "iu"
    return replace(image, data=(np.rint(grey) if whole else grey).astype(data.dtype))


def _reaches(channels: int, wanted: int) -> bool:
    return channels in (1, wanted) or (channels == 3 and wanted == 1)


_STEPS: dict[str, Callable[[_Image, Input], _Image]] = {
    "crop": _crop,
    "resample": _resample,
    "pad": _pad,
    "resize": _resize,
    "channels": _channels,
}


def _by(numbers: Sequence[float]) -> str:
    return "×".join(f"{n:g}" for n in numbers)


def _listed(numbers: Sequence[int]) -> str:
    return " and ".join(str(n) for n in sorted(set(numbers)))
