"""Segmentations, slides and dose grids: counted, put together, drawn where they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dicom_objects import ct_stack, image, item, saved, segmentation
from hounsfield.steps.show import View, show


def test_a_segmentation_is_counted_and_drawn_over_its_images(tmp_path: Path) -> None:
    heights = [0.0, 5, 10, 15, 20]
    ct_stack(tmp_path / "ct", heights, WindowCenter=0, WindowWidth=1)
    masks = np.zeros((2, 8, 12), np.uint8)
    masks[0, 2:5, 3:7] = 1
    masks[1, 0, 0] = 1
    saved(segmentation(masks, ["1.2.826.0.1.777.1", "1.2.826.0.1.777.2"]), tmp_path / "seg.dcm")
    shown = show(tmp_path, image="seg.dcm")
    (segment,) = shown.segments
    assert (segment.label, segment.frames, segment.voxels) == ("Liver", 2, 13)
    assert segment.volume_ml == pytest.approx(13 * 2 * 1 * 5 / 1000)
    assert shown.seen is not None and shown.seen.notes == ("over the images they were drawn on",)
    first = shown.seen.panels[0].pixels
    assert first[7, 11].tolist() == [255, 255, 255]  # slice 1 of value 0 is above the window -0.5
    assert first[2, 3].tolist() == list(segment.colour)  # outline
    assert first[3, 4].tolist() not in ([255, 255, 255], list(segment.colour))  # inside, seen through
    alone = show(tmp_path / "seg.dcm")
    assert alone.seen is not None and "not here" in alone.seen.notes[0]


def test_a_fractional_segmentation_counts_from_one_half(tmp_path: Path) -> None:
    made = segmentation(np.zeros((1, 2, 4), np.uint8), ["1.2.3"])
    made.SegmentationType, made.MaximumFractionalValue = "FRACTIONAL", 200
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit = 7
    made.PixelData = bytes([0, 50, 99, 100, 101, 200, 0, 0])
    assert show(saved(made, tmp_path / "one.dcm")).segments[0].voxels == 3


def test_a_label_map_counts_each_number(tmp_path: Path) -> None:
    made = segmentation(np.zeros((1, 2, 4), np.uint8), ["1.2.3"])
    made.SegmentationType, made.SOPClassUID = "LABELMAP", "1.2.840.10008.5.1.4.1.1.66.7"
    made.SegmentSequence.append(item(SegmentNumber=7, SegmentLabel="Spleen"))
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit = 7
    made.PixelData = bytes([0, 1, 1, 7, 7, 7, 0, 0])
    assert [(s.label, s.voxels) for s in show(saved(made, tmp_path / "one.dcm")).segments] == [
        ("Liver", 2),
        ("Spleen", 3),
    ]


def test_the_tiles_of_a_slide_are_put_together(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).integers(0, 256, (7, 10, 3)).astype(np.uint8)
    padded = np.zeros((8, 12, 3), np.uint8)
    padded[:7, :10] = whole
    tiles = [padded[r : r + 4, c : c + 4] for r in (0, 4) for c in (0, 4, 8)]
    made = image(tiles[0], "1.2.840.10008.5.1.4.1.1.77.1.6", Modality="SM")
    made.NumberOfFrames, made.PixelData = 6, b"".join(t.tobytes() for t in tiles)
    made.TotalPixelMatrixRows, made.TotalPixelMatrixColumns = 7, 10
    made.DimensionOrganizationType = "TILED_FULL"
    shown = show(saved(made, tmp_path / "one.dcm"))
    assert shown.seen is not None and np.array_equal(shown.seen.panels[0].pixels, whole)


def test_a_dose_grid_is_shown_in_gray_and_in_three_planes(tmp_path: Path) -> None:
    frames = np.arange(6 * 4 * 5, dtype=np.uint16).reshape(6, 4, 5)
    made = image(
        frames, "1.2.840.10008.5.1.4.1.1.481.2", Modality="RTDOSE", DoseGridScaling=0.5, DoseUnits="GY"
    )
    made.PixelSpacing, made.ImagePositionPatient = [2, 2], [0, 0, 0]
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.GridFrameOffsetVector = [3.0 * n for n in range(6)]
    shown = show(saved(made, tmp_path / "one.dcm"), view=View(window="full"))
    assert shown.seen is not None and len(shown.seen.panels) == 3
    assert shown.seen.shade is not None and shown.seen.shade.window is not None
    assert shown.seen.shade.window.width == pytest.approx(119 * 0.5)
    assert shown.seen.panels[1].pixel_size == (3, 2)
