"""Structure sets of radiotherapy as masks to learn from: contours drawn in the slices of a turned series."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ct_mr_series import oblique, pattern, write_patients
from dicom_objects import item, plain, saved
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index
from hounsfield.core.volume import Volume
from hounsfield.io import read_volume
from hounsfield.io.dicom.contour_volume import contour_mask
from hounsfield.io.source import Source
from hounsfield.steps.gather import Question
from hounsfield.steps.regions.gather import gather_outlined
from hounsfield.steps.regions.to_grid import native_case
from hounsfield.steps.scan import scan

SHAPE = (8, 20, 24)
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
Points = NDArray[np.float64]
LUMP = np.array([[4.2, 3.1], [11.7, 4.6], [13.4, 9.8], [8.8, 13.3], [3.6, 9.9]])  # (i, j)
HOLE = np.array([[7.3, 6.4], [9.6, 6.4], [9.6, 8.7], [7.3, 8.7]])


def inside(*outlines: Points) -> NDArray[np.bool_]:
    """Voxels (J, I) whose centres an odd number of outlines encloses, by another library."""
    found = np.zeros(SHAPE[1:], bool)
    for outline in outlines:
        polygon = outline.astype(np.float32)[:, None]
        for j, i in np.ndindex(found.shape):
            found[j, i] ^= cv2.pointPolygonTest(polygon, (float(i), float(j)), measureDist=False) > 0
    return found


def write_structures(image: Volume, uid: str, rois: dict[str, dict[int, list[Points]]], path: Path) -> None:
    made = plain(RTSTRUCT, 70, Modality="RTSTRUCT", SeriesInstanceUID=f"{uid}.70", SOPInstanceUID=f"{uid}.71")
    study = item(RTReferencedSeriesSequence=[item(SeriesInstanceUID=uid)], ReferencedSOPInstanceUID="1")
    made.ReferencedFrameOfReferenceSequence = [item(RTReferencedStudySequence=[study])]
    made.StructureSetROISequence = [item(ROINumber=n, ROIName=name) for n, name in enumerate(rois, 5)]
    contours = []
    for n, slices in enumerate(rois.values(), 5):
        drawn = []
        for k, outlines in slices.items():
            for outline in outlines:
                voxels = np.column_stack([outline, np.full(len(outline), k)])
                points = voxels @ image.affine[:3, :3].T + image.affine[:3, 3]
                told = [f"{v:.5f}" for v in points.ravel()]
                drawn.append(item(ContourGeometricType="CLOSED_PLANAR", ContourData=told))
        drawn.append(item(ContourGeometricType="POINT", ContourData=["0", "0", "0"]))
        contours.append(item(ReferencedROINumber=n, ContourSequence=drawn))
    made.ROIContourSequence = contours
    saved(made, path)


@pytest.fixture
def images(tmp_path: Path) -> Index:
    write_patients(tmp_path, 4, pattern(SHAPE), lambda n: oblique(12 * n, -6))
    return scan(tmp_path)


def test_contours_are_masks_of_the_series_that_they_were_drawn_on(images: Index, tmp_path: Path) -> None:
    with Source(tmp_path) as source:
        for series in images.series:
            rois = {"GTV": {3: [LUMP, HOLE], 4: [LUMP]}, "empty": {}}
            if series.patient != "P3":  # nobody drew the heart there
                rois["heart"] = {6: [HOLE]}
            path = tmp_path / f"drawn_{series.patient}.dcm"
            write_structures(read_volume(source, series), series.series, rois, path)
    found = gather_outlined(scan(tmp_path), Question(test_fraction=0.25))
    assert found.structures == ("GTV", "heart")
    assert {c.patient: c.annotated for c in found.cohort.cases}["P0"] == (1, 2)
    wanted = np.zeros(SHAPE, bool)
    wanted[3], wanted[4] = inside(LUMP, HOLE), inside(LUMP)
    assert 0 < wanted[3].sum() < wanted[4].sum()
    with Source(tmp_path) as source:
        for case in found.cohort.cases:
            labels = native_case(source, case, found.structures).labels
            assert labels is not None and np.array_equal(labels == 1, wanted)
            assert (labels == 2).any() == (case.patient != "P3")


def test_contours_that_are_not_drawn_in_slices_are_refused() -> None:
    image = Volume(np.zeros((1, *SHAPE), np.int16), np.eye(4), (), True)
    upright = np.array([[4.0, 4, 1], [4, 9, 1], [4, 9, 6], [4, 4, 6]])
    with pytest.raises(BadInput, match=r"runs through 5\.0 slices"):
        contour_mask([upright], image)
    beyond = np.column_stack([LUMP, np.full(len(LUMP), 30.0)])
    assert not contour_mask([beyond], image).any()
