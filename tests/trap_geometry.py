"""Traps of place and order: pitfalls 1 to 9 and 22."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from pydicom.sequence import Sequence as Items

from trap_objects import (
    AXIAL,
    Image,
    Trap,
    Truth,
    affine,
    enhanced,
    image,
    item,
    mosaic,
    ramp,
    save,
    stack,
)

__all__ = ["TRAPS"]

EVEN = [(0.0, 0.0, 5.0 * n) for n in range(6)]
REGULAR = affine((0, 0, 0), (0, 0, 5))
CORONAL, SAGITTAL = (1.0, 0, 0, 0, 0, -1.0), (0, 1.0, 0, 0, 0, -1.0)


def _volume(slices: np.ndarray, where: np.ndarray = REGULAR, **more: object) -> Image:
    return Image(slices[None], where, **more)  # type: ignore[arg-type]


def _copied_file(folder: Path) -> Truth:
    slices = stack(folder, EVEN)
    shutil.copy(folder / "002.dcm", folder / "002 (1).dcm")
    return Truth([_volume(slices)], {"duplicate: a copy of another file": 1})


def _whole_series_copied(folder: Path) -> Truth:
    slices = stack(folder / "a", EVEN)
    shutil.copytree(folder / "a", folder / "b")
    return Truth([_volume(slices)], {"duplicate: a copy of another file": 6})


def _one_slice_sent_twice(folder: Path) -> Truth:
    stack(folder, [*EVEN, EVEN[2]])
    return Truth([], {"duplicate: slices 3 and 4 share one position": 7})


def _all_slices_sent_twice(folder: Path) -> Truth:
    stack(folder, [*EVEN, *EVEN], InstanceNumber=lambda n: n % 6)
    return Truth([], {"duplicate: slices 1 and 2 share one position": 12})


def _missing_slice(folder: Path) -> Truth:
    stack(folder, [p for n, p in enumerate(EVEN) if n != 3])
    return Truth([], {"gap between slices 3 and 4: 10.0 mm where 5.0 mm": 5})


def _missing_next_to_the_end(folder: Path) -> Truth:
    stack(folder, [(0, 0, 0.6 * n) for n in range(60) if n != 58])
    return Truth([], {"gap between slices 58 and 59: 1.2 mm where 0.6 mm": 59})


def _rounded_positions(folder: Path) -> Truth:
    slices = stack(folder, [(0, 0, round(0.625 * n, 2)) for n in range(20)])
    return Truth([_volume(slices, affine((0, 0, 0), (0, 0, 0.625)), place_off_by_mm=0.01, stack="regular")])


def _one_decimal(folder: Path) -> Truth:
    slices = stack(folder, [(0, 0, round(-301.25 + 1.25 * n, 1)) for n in range(20)])
    truth = affine((0, 0, -301.25), (0, 0, 1.25))
    return Truth([_volume(slices, truth, place_off_by_mm=0.1, stack="regular")])


def _noise_of_a_hundredth(folder: Path) -> Truth:
    noise = np.random.default_rng(3).uniform(-0.005, 0.005, 20)
    slices = stack(folder, [(0, 0, 1.0 * n + noise[n]) for n in range(20)])
    return Truth([_volume(slices, affine((0, 0, 0), (0, 0, 1)), place_off_by_mm=0.02, stack="regular")])


def _tilted_gantry(folder: Path) -> Truth:
    turn = np.radians(15)  # the planes are turned about x, the table still moves along z
    orientation = (1, 0, 0, 0, float(np.cos(turn)), float(np.sin(turn)))
    slices = stack(folder, EVEN, orientation=orientation, GantryDetectorTilt=15)
    return Truth([_volume(slices, affine((0, 0, 0), (0, 0, 5), orientation=orientation), stack="tilt")])


def _tilt_in_name_only(folder: Path) -> Truth:
    return Truth([_volume(stack(folder, EVEN, GantryDetectorTilt=15), stack="regular")])


def _two_spacings(folder: Path) -> Truth:
    heights = [0, 2, 4, 6, 8, 11, 14, 17]
    stack(folder, [(0, 0, z) for z in heights])
    return Truth([], {"irregular: ": 8})


def _growing_spacing(folder: Path) -> Truth:
    stack(folder, [(0, 0, 2.0 * n + 0.02 * n * n) for n in range(12)])
    return Truth([], {"irregular: ": 12})


def _shifted_slice(folder: Path) -> Truth:
    stack(folder, [(3.0 * (n == 2), 0, 5.0 * n) for n in range(6)])
    return Truth([], {"irregular: slices 2 and 3 are shifted sideways by 3.0 mm": 6})


def _echoes(folder: Path) -> Truth:
    slices = stack(
        folder, [EVEN[n // 2] for n in range(12)], Modality="MR", EchoTime=lambda n: 5.0 + n % 2 * 10
    )
    names = ("echo time 5 ms", "echo time 15 ms")
    return Truth([_volume(slices[n::2], volume=names[n]) for n in range(2)])


def _time_points(folder: Path) -> Truth:
    slices = stack(folder, [*EVEN] * 3, TemporalPositionIdentifier=lambda n: 1 + n // 6)
    names = [f"temporal position {n}" for n in (1, 2, 3)]
    return Truth([_volume(slices[6 * n : 6 * n + 6], volume=names[n]) for n in range(3)])


def _b_values(folder: Path) -> Truth:
    """A b = 0 image once and b = 1000 three times, told apart by acquisition only together."""
    slices = stack(
        folder,
        [*EVEN] * 4,
        Modality="MR",
        DiffusionBValue=lambda n: 0.0 if n < 6 else 1000.0,
        AcquisitionNumber=lambda n: max(1, n // 6),
    )
    return Truth([_volume(slices[6 * n : 6 * n + 6]) for n in range(4)])


def _heart_phases(folder: Path) -> Truth:
    """Trigger times differ from slice to slice, so only their rank tells the phase."""
    slices = stack(
        folder, [EVEN[n // 3] for n in range(18)], Modality="MR", TriggerTime=lambda n: 33.0 * (n % 3) + n / 9
    )
    names = [f"trigger time {n} of 3" for n in (1, 2, 3)]
    return Truth([_volume(slices[n::3], volume=names[n]) for n in range(3)])


def _dixon_and_echo(folder: Path) -> Truth:
    slices = stack(
        folder,
        [EVEN[n // 4] for n in range(24)],
        Modality="MR",
        EchoNumbers=lambda n: 1 + n % 2,
        ImageType=lambda n: ["DERIVED", "PRIMARY", "WF"[n // 2 % 2]],
    )
    return Truth([_volume(slices[n::4]) for n in range(4)])


def _scout_in_the_series(folder: Path) -> Truth:
    slices = stack(folder, EVEN)
    where = {"ImagePositionPatient": [0, -50, 90], "ImageOrientationPatient": list(CORONAL)}
    scout = image(ramp((7, 5)), PixelSpacing=[1, 1], SliceThickness=3, InstanceNumber=99, **where)
    save(scout, folder / "scout.dcm")
    alone = affine((0, -50, 90), (0, 3, 0), orientation=CORONAL, spacing_mm=(1, 1))
    return Truth([_volume(slices), Image(ramp((7, 5))[None, None], alone)])


def _three_planes(folder: Path) -> Truth:
    images = []
    for orientation, step in ((AXIAL, (0, 0, 9)), (CORONAL, (0, 9, 0)), (SAGITTAL, (-9, 0, 0))):
        positions = [tuple(n * s for s in step) for n in range(3)]
        name = "acs"[len(images)]
        slices = stack(folder, positions, orientation=orientation, prefix=name, Modality="MR")
        where = affine((0, 0, 0), step, orientation=orientation)
        images.append(_volume(slices + 0, where, volume=f"orientation {len(images) + 1}"))
    return Truth(images)


def _two_slabs(folder: Path) -> Truth:
    slices = stack(
        folder, [*EVEN, *((0, 0, 200 + 5.0 * n) for n in range(6))], AcquisitionNumber=lambda n: 1 + n // 6
    )
    upper = affine((0, 0, 200), (0, 0, 5))
    return Truth([_volume(slices[:6], volume="acquisition 1"), _volume(slices[6:], upper)])


def _names_tell_another_order(folder: Path) -> Truth:
    """Head-to-foot acquisition, so neither names nor instance numbers run along the normal."""
    slices = stack(folder, [(-100, -90, 300 - 5.0 * n) for n in range(6)], SliceThickness=2)
    return Truth([_volume(slices[::-1], affine((-100, -90, 275), (0, 0, 5)))])


def _header_denies_its_positions(folder: Path) -> Truth:
    return Truth([_volume(stack(folder, EVEN, SliceThickness=7, SpacingBetweenSlices=1.5))])


def _frames_without_place(folder: Path) -> Truth:
    pixels = ramp((4, 3, 5))
    save(enhanced(pixels, None), folder / "a.dcm")
    return Truth([Image(pixels[None])])


def _frames_at_one_place(folder: Path) -> Truth:
    pixels = ramp((4, 3, 5))
    save(enhanced(pixels, [(1, 2, 3)] * 4), folder / "a.dcm")
    return Truth([Image(pixels[None])])


def _film_of_frames(folder: Path) -> Truth:
    pixels = ramp((4, 3, 5), np.uint8)
    save(image(pixels, Modality="US", PixelSpacing=[0.5, 0.25], SliceThickness=3), folder / "a.dcm")
    return Truth([Image(pixels[None])])


def _mosaic(folder: Path) -> Truth:
    slices = ramp((5, 4, 6))
    save(mosaic(slices, first_mm=(-20, 30, 40)), folder / "a.dcm")
    return Truth([_volume(slices, affine((-20, 30, 40), (0, 0, 3), spacing_mm=(2, 1.5)))])


def _mosaic_without_its_private_header(folder: Path) -> Truth:
    save(mosaic(ramp((5, 4, 6)), private=b""), folder / "a.dcm")
    return Truth([], {"a Siemens mosaic whose private header is gone": 1})


def _united_imaging_grid(folder: Path) -> Truth:
    made = image(ramp((8, 8)), Modality="MR", Manufacturer="UIH", PixelSpacing=[1, 1])
    made.add_new(0x00650010, "LO", "Image Private Header")
    made.add_new(0x00651050, "DS", "4")
    save(made, folder / "a.dcm")
    return Truth([], {"a grid of slices in United Imaging's private way": 1})


def _multi_frame_file_copied(folder: Path) -> Truth:
    pixels = ramp((3, 3, 4))
    path = save(enhanced(pixels, [(0, 0, 5 * n) for n in range(3)]), folder / "a.dcm")
    shutil.copy(path, folder / "b.dcm")
    return Truth([_volume(pixels)], {"duplicate: a copy of another file": 1})


def _plane(name: str, orientation: tuple[float, ...]) -> Trap:
    def build(folder: Path) -> Truth:
        normal = np.cross(orientation[:3], orientation[3:])
        positions = [tuple(np.array((7.0, -8.0, 9.0)) + 4 * n * normal) for n in (2, 0, 3, 1)]
        slices = stack(folder, positions, orientation=orientation)
        where = affine((7, -8, 9), 4 * normal, orientation=orientation)
        return Truth([_volume(slices[[1, 3, 0, 2]], where, stack="regular")])

    return Trap(9, f"a {name} stack", build)


def _interleaved_frames(folder: Path) -> Truth:
    """As Philips stores them: echo by echo within a slice, the slices from the top down."""
    pixels = ramp((6, 3, 4))
    positions = [(1, 2, 10 - 5.0 * (n // 2)) for n in range(6)]
    pointers = (0x00209057, 0x00189114)
    index = Items([item(DimensionIndexPointer=p)[0] for p in pointers])
    made = enhanced(
        pixels,
        positions,
        each=lambda n: {
            "MREchoSequence": item(EffectiveEchoTime=5.0 + 5 * (n % 2)),
            "FrameContentSequence": item(DimensionIndexValues=[1 + n // 2, 1 + n % 2], StackID="1"),
        },
        DimensionIndexSequence=index,
    )
    save(made, folder / "a.dcm")
    where = affine((1, 2, 0), (0, 0, 5))
    echoes = [(4, 2, 0), (5, 3, 1)]
    return Truth(
        [_volume(pixels[list(e)], where, volume=f"echo time {5 + 5 * n} ms") for n, e in enumerate(echoes)]
    )


def _frames_with_a_gap(folder: Path) -> Truth:
    save(enhanced(ramp((4, 3, 4)), [(0, 0, z) for z in (0, 5, 15, 20)]), folder / "a.dcm")
    return Truth([], {"gap between frames 2 and 3": 1})


OBLIQUE = (0.8, 0.6, 0.0, 0.36, -0.48, -0.8)
TRAPS = (
    Trap(1, "a file copied", _copied_file),
    Trap(1, "a whole series copied", _whole_series_copied),
    Trap(1, "a file of many frames copied", _multi_frame_file_copied),
    Trap(1, "one slice sent twice", _one_slice_sent_twice),
    Trap(1, "all slices sent twice", _all_slices_sent_twice),
    Trap(2, "a missing slice", _missing_slice),
    Trap(2, "a thin slice missing next to the end", _missing_next_to_the_end),
    Trap(3, "rounded positions", _rounded_positions),
    Trap(3, "positions with one decimal", _one_decimal),
    Trap(3, "positions off by a hundredth of the spacing", _noise_of_a_hundredth),
    Trap(4, "a tilted gantry", _tilted_gantry),
    Trap(4, "a tilt that the positions do not show", _tilt_in_name_only),
    Trap(5, "two spacings", _two_spacings),
    Trap(5, "a spacing that grows", _growing_spacing),
    Trap(5, "one slice shifted sideways", _shifted_slice),
    Trap(6, "echoes", _echoes),
    Trap(6, "time points", _time_points),
    Trap(6, "b-values in several directions", _b_values),
    Trap(6, "phases of the heart", _heart_phases),
    Trap(6, "water and fat of two echoes", _dixon_and_echo),
    Trap(6, "a scout in the series", _scout_in_the_series),
    Trap(6, "a localizer of three planes", _three_planes),
    Trap(6, "two slabs with a gap between", _two_slabs),
    Trap(7, "names and numbers against the normal", _names_tell_another_order),
    Trap(7, "thickness and distance that deny the positions", _header_denies_its_positions),
    Trap(8, "enhanced frames without place", _frames_without_place),
    Trap(8, "enhanced frames at one place", _frames_at_one_place),
    Trap(8, "a film of frames", _film_of_frames),
    Trap(8, "a mosaic", _mosaic),
    Trap(8, "a mosaic without its private header", _mosaic_without_its_private_header),
    Trap(8, "a grid of slices", _united_imaging_grid),
    _plane("coronal", CORONAL),
    _plane("sagittal", SAGITTAL),
    _plane("oblique", OBLIQUE),
    Trap(22, "frames stored echo by echo from the top down", _interleaved_frames),
    Trap(22, "frames with a gap", _frames_with_a_gap),
)
