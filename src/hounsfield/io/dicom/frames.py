"""Multi-frame objects: where each frame lies, and which frames make which volume.

Enhanced objects say it in shared and per-frame functional groups (PS3.3 C.7.6.16), reconstructed nuclear
medicine in vectors (C.8.4.8). The frames' order in the file says nothing about their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.io.dicom.datasets import read_header
from hounsfield.io.dicom.elements import Elements, HeaderFault
from hounsfield.io.dicom.geometry import affine_of, flat_affine, parallel_groups, usable
from hounsfield.io.dicom.placed import Placed
from hounsfield.io.dicom.separators import by_number, by_text, by_time
from hounsfield.io.dicom.volumes import Separator, laid_out
from hounsfield.io.source import Source

__all__ = ["FrameTable", "read_frames", "volumes_of_frames"]

Array = NDArray[np.float64]
_SHARED, _EACH = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_ENHANCED = (_SHARED, _EACH, "DimensionIndexSequence", "NumberOfFrames")
_VECTORS = {
    "EnergyWindowVector": "energy window",
    "PhaseVector": "phase",
    "RRIntervalVector": "R-R interval",
    "TimeSlotVector": "time slot",
}
_CLASSIC = (
    "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "SpacingBetweenSlices", "DetectorInformationSequence", "GridFrameOffsetVector", "SliceVector",
    "ImageType", *_VECTORS,
)  # fmt: skip
_MOST_FRAMES = 1 << 17  # whatever a damaged number of frames says, no larger table is made
_IN_STACK = {0x00209057, 0x00200032, 0x00209056, 0x00209301}  # dimensions that run along the stack


@dataclass(frozen=True, slots=True)
class FrameTable:
    """A row a frame: position (3), directions (6), spacing between rows and columns (2), thickness.

    NaN where unknown. `separators` tell apart frames that share a place.
    """

    positions_mm: Array
    orientations: Array
    spacing_mm: Array
    thickness_mm: Array
    separators: tuple[Separator, ...] = ()
    laterality: str = ""

    @property
    def placed(self) -> bool:
        """True if every frame has a place in the patient."""
        known = np.isfinite(self.positions_mm).all() and np.isfinite(self.spacing_mm).all()
        return bool(known and usable(self.orientations).all())


def read_frames(source: Source, member: str, *, enhanced: bool) -> FrameTable:
    """Where the frames of a file lie. Raises HeaderFault, BadInput or one of `faults()`."""
    if enhanced:
        return _enhanced(read_header(source, member, keywords=_ENHANCED))
    return _classic(read_header(source, member, keywords=_CLASSIC))


def volumes_of_frames(table: FrameTable, *, row: int, shape: tuple[int, int, int]) -> list[Placed]:
    """The volumes in one file of several frames; frames without depth stay one image in file order.

    Raises HeaderFault, with the fault of geometry, where one of the volumes is no regular stack.
    """
    whole = Placed((row,), shape, affine=_flat(table.spacing_mm), laterality=table.laterality)
    if not table.placed or (np.ptp(table.positions_mm, axis=0) < 1e-4).all():
        return [whole]
    spacings, spacing = np.unique(np.round(table.spacing_mm, 4), axis=0, return_inverse=True)
    spacing = spacing.reshape(-1)
    found: list[Placed] = []
    for n, between in enumerate(spacings.tolist()):
        alike = np.flatnonzero(spacing == n)
        groups = parallel_groups(table.orientations[alike])
        for group in range(int(groups.max()) + 1):
            words = f"spacing {between[0]:g} x {between[1]:g} mm" if len(spacings) > 1 else ""
            if groups.any():
                words += f"{', ' * bool(words)}orientation {group + 1}"
            found += _parallel(table, alike[groups == group], words, whole)
    return found


def _parallel(table: FrameTable, frames: NDArray[np.int64], words: str, whole: Placed) -> list[Placed]:
    orientation = table.orientations[frames[0]]
    chosen = [s.of(frames) for s in table.separators]
    found = []
    for laid in laid_out(table.positions_mm[frames], orientation, lambda: chosen, noun="frames"):
        if laid.stack.fault:
            raise HeaderFault(laid.stack.fault)
        order = frames[laid.slices]
        spacing = table.spacing_mm[order[0]]
        depth = float(np.linalg.norm(laid.stack.step_mm))
        step = np.array(laid.stack.step_mm)
        if order.size == 1:
            thickness = float(table.thickness_mm[order[0]])
            depth = thickness if thickness > 0 else 1.0
            step = step * depth
        in_file_order = order.size == whole.shape[0] and (np.diff(order) == 1).all()
        found.append(
            Placed(
                rows=whole.rows,
                shape=(int(order.size), *whole.shape[1:]),
                spacing_mm=(depth, *spacing.tolist()),
                affine=affine_of(table.positions_mm[order[0]], orientation, spacing, step),
                frames=() if in_file_order else tuple(order.tolist()),
                volume=", ".join(w for w in (words, laid.words) if w),
                stack=laid.stack.kind,
                laterality=whole.laterality,
            )
        )
    return found


def _flat(spacing_mm: Array) -> Array | None:
    """In-plane spacing without a place; the step from frame to frame is no length."""
    known = np.isfinite(spacing_mm).all() and np.ptp(spacing_mm, axis=0).max() < 1e-4
    return flat_affine((1.0, *spacing_mm[0].tolist())) if known else None


def _enhanced(found: Elements) -> FrameTable:
    """From the functional groups: those of a frame go before the shared ones, which alone make one row."""
    frames = max(1, found.whole("NumberOfFrames", 1))
    shared, each = found.group(_SHARED), found.items(_EACH)
    if each and len(each) != frames:
        raise HeaderFault(f"describes {len(each)} frames where {frames} were expected; send it again")

    def groups(keyword: str) -> list[Elements | None]:
        common = shared.group(keyword) if shared else None
        own = [frame.group(keyword) for frame in each]
        if any(own) and not all(own) and common is None:
            held = sum(group is not None for group in own)
            raise HeaderFault(f"only {held} of {frames} frames have a {keyword}; send it again")
        return [group or common for group in own] if each else [common]

    measures = groups("PixelMeasuresSequence")
    anatomy = groups("FrameAnatomySequence")[0]
    return FrameTable(
        positions_mm=_numbers(groups("PlanePositionSequence"), "ImagePositionPatient", 3),
        orientations=_numbers(groups("PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        spacing_mm=_positive(_numbers(measures, "PixelSpacing", 2)),
        thickness_mm=_numbers(measures, "SliceThickness", 1)[:, 0],
        separators=_separators(groups, _dimensions(found)),
        laterality=anatomy.text("FrameLaterality") if anatomy else "",
    )


def _separators(
    groups: Callable[[str], list[Elements | None]], dimensions: Sequence[int]
) -> tuple[Separator, ...]:
    content, diffusion = groups("FrameContentSequence"), groups("MRDiffusionSequence")
    directions = [d.group("DiffusionGradientDirectionSequence") if d else None for d in diffusion]
    kinds = _texts(groups("MRImageFrameTypeSequence"), "FrameType", "ComplexImageComponent")
    if not any(kinds):
        kinds = _texts(groups("CTImageFrameTypeSequence"), "FrameType")
    heart = groups("CardiacSynchronizationSequence")
    delays = _numbers(heart, "NominalCardiacTriggerDelayTime", 1)[:, 0]
    found = [
        by_text("stack", _texts(content, "StackID")),
        by_number("echo time", _numbers(groups("MREchoSequence"), "EffectiveEchoTime", 1)[:, 0], unit=" ms"),
        by_number("b-value", _numbers(diffusion, "DiffusionBValue", 1)[:, 0]),
        by_text("gradient direction", _texts(directions, "DiffusionGradientOrientation"), counted=True),
        by_number("temporal position", _numbers(content, "TemporalPositionIndex", 1)[:, 0]),
        by_time("trigger time", delays, unit=" ms"),
        by_text("image type", kinds),
        by_number("acquisition", _numbers(content, "FrameAcquisitionNumber", 1)[:, 0]),
    ]
    indices = [c.dataset.get("DimensionIndexValues") if c else None for c in content]
    for n, pointer in enumerate(dimensions):
        if pointer not in _IN_STACK and all(i is not None and len(_many(i)) > n for i in indices):
            found.append(
                by_number(f"dimension {n + 1} value", np.array([_many(i)[n] for i in indices], float))
            )
    return tuple(s for s in found if s.varies)


def _dimensions(found: Elements) -> list[int]:
    return [int(d.dataset.get("DimensionIndexPointer") or 0) for d in found.items("DimensionIndexSequence")]


def _many(value: Any) -> list[Any]:
    return list(value) if hasattr(value, "__len__") else [value]


def _numbers(groups: Sequence[Elements | None], keyword: str, count: int) -> Array:
    """(frames, count), NaN where the element is absent. The groups that frames share are asked once."""
    known: dict[int, tuple[float, ...]] = {}
    for group in groups:
        if group is not None and id(group) not in known:
            known[id(group)] = group.numbers(keyword, count)
    nothing = (np.nan,) * count
    return np.array([known.get(id(g)) or nothing for g in groups], np.float64)


def _texts(groups: Sequence[Elements | None], *keywords: str) -> list[str]:
    return ["\\".join(p for k in keywords for p in g.texts(k)) if g else "" for g in groups]


def _positive(spacing: Array) -> Array:
    return np.where((spacing > 0).all(axis=1, keepdims=True), spacing, np.nan)


def _classic(found: Elements) -> FrameTable:
    """Frames whose place a vector tells: reconstructed nuclear medicine, or offsets from the first frame."""
    frames = min(max(1, found.whole("NumberOfFrames", 1)), _MOST_FRAMES)
    plane = found if found.has("ImagePositionPatient") else found.group("DetectorInformationSequence")
    position = plane.numbers("ImagePositionPatient", 3) if plane else ()
    directions = plane.numbers("ImageOrientationPatient", 6) if plane else ()
    spacing = found.numbers("PixelSpacing", 2)
    offsets = _offsets(found, frames) if position and directions else None
    frames = 1 if offsets is None else frames  # without places one row tells all
    positions = np.full((frames, 3), np.nan)
    if offsets is not None:
        normal = np.cross(directions[:3], directions[3:])
        positions = np.array(position) + offsets[:, None] * normal
    separators = [
        by_number(words, np.array(_many(found.dataset.get(keyword)), float))
        for keyword, words in _VECTORS.items()
        if len(_many(found.dataset.get(keyword))) == frames and found.has(keyword)
    ]
    return FrameTable(
        positions_mm=positions,
        orientations=np.tile(directions or (np.nan,) * 6, (frames, 1)),
        spacing_mm=_positive(np.tile(spacing or (np.nan,) * 2, (frames, 1))),
        thickness_mm=np.full(frames, np.nan),
        separators=tuple(s for s in separators if s.varies),
    )


def _offsets(found: Elements, frames: int) -> Array | None:
    """How far each frame lies from the first along the normal, in mm; None if nothing says it."""
    grid = _many(found.dataset.get("GridFrameOffsetVector"))
    if len(grid) == frames and frames > 1 and found.has("GridFrameOffsetVector"):
        return np.array(grid, np.float64) - float(grid[0])
    step = found.numbers("SpacingBetweenSlices", 1)
    if not step or not step[0] or "TOMO" not in " ".join(found.texts("ImageType")[2:]):
        return None
    if "RECON" not in " ".join(found.texts("ImageType")[2:]):
        return None  # projections around the patient, which no stack holds
    slices = _many(found.dataset.get("SliceVector"))
    known = len(slices) == frames and found.has("SliceVector")
    # a negative spacing stacks the frames against the normal (C.8.4.9.1)
    return step[0] * (np.array(slices, np.float64) - 1 if known else np.arange(frames, dtype=np.float64))
