"""From headers to images: slices of one series become a volume, everything else stays by itself.

A stack with a fault is refused whole, with the fault named: a gap is never averaged away.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from hounsfield.core.index import Refused, Series
from hounsfield.io.dicom.geometry import Plane, Stacked, stacked
from hounsfield.io.dicom.headers import Header

__all__ = ["images_of", "multi_frame_order"]

Found = tuple[list[Series], list[Refused]]


def images_of(headers: Sequence[Header]) -> Found:
    """All images that the headers describe, and the files refused with their reasons."""
    images: list[Series] = []
    refused: list[Refused] = []
    slices: dict[tuple[object, ...], list[Header]] = defaultdict(list)
    for header in headers:
        if header.may_stack and header.image.series and (header.spoils or not header.fault):
            slices[_stack_key(header)].append(header)
        elif header.fault:
            refused.append(Refused(header.image.files[0], header.fault))
        else:
            _add_alone(header, images, refused)
    for stack in slices.values():
        found = _images_of_stack(stack)
        images += found[0]
        refused += found[1]
    return images, refused


def multi_frame_order(header: Header) -> Stacked | None:
    """How the frames of one file stack up; None if they have no place in the patient."""
    if len(header.planes) < 2 or not header.pixel_spacing_mm:
        return None
    return stacked(header.planes, noun="frames")


def _add_alone(header: Header, images: list[Series], refused: list[Refused]) -> None:
    """A file that is an image of its own: flat, cine, or a multi-frame volume."""
    order = multi_frame_order(header)
    if order and order.fault:
        refused.append(Refused(header.image.files[0], order.fault))
    elif order:
        images.append(replace(header.image, spacing_mm=_spacing(header, order)))
    else:
        images.append(header.image)


def _stack_key(header: Header) -> tuple[object, ...]:
    image = header.image
    return image.series, image.shape, header.pixel_spacing_mm, image.channels, image.photometric


def _images_of_stack(stack: list[Header]) -> Found:
    """One volume, or several where echo, time or b-value tell duplicates apart, or the fault of all."""
    if broken := [h for h in stack if h.fault]:
        return [], _refuse_for_broken(stack, broken)
    placed = [h for h in stack if h.planes and h.pixel_spacing_mm]
    if len(stack) == 1 or not placed:
        return [h.image for h in stack], []
    if fault := _fault_of_identity(stack, placed):
        return [], [Refused(h.image.files[0], fault) for h in stack]
    order = stacked(_planes(stack))
    parts = [stack] if not order.by_duplicates else _separated(stack)
    if not parts:
        fault = _named_copy(stack, order) or order.fault
        return [], [Refused(h.image.files[0], fault) for h in stack]
    images: list[Series] = []
    refused: list[Refused] = []
    for part in parts:
        order = stacked(_planes(part))
        if order.fault:
            refused += [Refused(h.image.files[0], order.fault) for h in part]
        else:
            images.append(_volume(part, order))
    return images, refused


def _refuse_for_broken(stack: list[Header], broken: list[Header]) -> list[Refused]:
    faults = {h.image.files[0]: h.fault for h in broken}
    others = f"a stack of {len(stack)} slices of which {len(broken)} cannot be used: {broken[0].fault}"
    return [Refused(h.image.files[0], faults.get(h.image.files[0], others)) for h in stack]


def _fault_of_identity(stack: list[Header], placed: list[Header]) -> str:
    if len({(h.image.patient, h.image.study) for h in stack}) > 1:
        return "slices of one series name different patients or studies; correct their identity"
    missing = len(stack) - len(placed)
    if missing:
        return f"{missing} of the {len(stack)} slices of the series have no usable position; send them again"
    return ""


def _named_copy(stack: list[Header], order: Stacked) -> str:
    """Say so where two slices at one position are one and the same object."""
    ordered = [stack[n] for n in order.order]
    for n, (one, other) in enumerate(pairwise(ordered), start=1):
        if one.image.sop and one.image.sop == other.image.sop:
            return f"slices {n} and {n + 1} share one position: they are copies of one object; remove one"
    return ""


def _separated(stack: list[Header]) -> list[list[Header]]:
    """Parts without duplicate positions, by the first element that tells them apart; [] if none does."""
    for n in range(len(stack[0].separators)):
        parts: dict[str, list[Header]] = defaultdict(list)
        for header in stack:
            parts[header.separators[n]].append(header)
        groups = list(parts.values())
        if len(groups) > 1 and all(len(g) > 1 and not stacked(_planes(g)).by_duplicates for g in groups):
            return groups
    return []


def _volume(part: list[Header], order: Stacked) -> Series:
    ordered = [part[n] for n in order.order]
    first = ordered[0].image
    return replace(
        first,
        id=first.files[0],
        files=tuple(h.image.files[0] for h in ordered),
        shape=(len(ordered), *first.shape[1:]),
        spacing_mm=_spacing(ordered[0], order),
    )


def _spacing(header: Header, order: Stacked) -> tuple[float, ...]:
    step = sum(s * s for s in order.step_mm) ** 0.5
    return (round(step, 6), *(round(s, 6) for s in header.pixel_spacing_mm))


def _planes(stack: list[Header]) -> list[Plane]:
    return [h.planes[0] for h in stack]
