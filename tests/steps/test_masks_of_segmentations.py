"""DICOM segmentations as masks to learn from: found by the series that they refer to, laid on its grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ct_mr_series import oblique, pattern, write_patients
from hounsfield.io.dicom.seg_write import write_segmentation
from hounsfield.io.source import Source
from hounsfield.steps.gather import Question
from hounsfield.steps.regions.gather import gather_outlined
from hounsfield.steps.regions.to_grid import native_case
from hounsfield.steps.scan import scan

SHAPE = (8, 20, 24)
NAMES = {1: "nodule", 2: "heart"}


def test_segments_are_masks_of_the_series_that_they_refer_to(tmp_path: Path) -> None:
    write_patients(tmp_path, 4, pattern(SHAPE), lambda n: oblique(10 * n, -5))
    index = scan(tmp_path)
    wanted = {}
    with Source(tmp_path) as source:
        for n, series in enumerate(index.series):
            mask = np.zeros(SHAPE, np.uint8)
            mask[2:5, 4:9, 6 + n : 12 + n] = 1
            if n != 3:  # nobody looked for the heart there
                mask[5, 12:15, 3:7] = 2
            wanted[series.patient] = mask
            write_segmentation(mask, NAMES, source, series, out=tmp_path / f"drawn_{n}.dcm")
    found = gather_outlined(scan(tmp_path), Question(test_fraction=0.25))
    assert found.structures == ("heart", "nodule")
    annotated = {c.patient: c.annotated for c in found.cohort.cases}
    assert annotated["P0"] == (1, 2) and set(annotated) == {"P0", "P1", "P2", "P3"}
    with Source(tmp_path) as source:
        for case in found.cohort.cases:
            labels = native_case(source, case, found.structures).labels
            mask = wanted[case.patient]
            assert labels is not None
            assert np.array_equal(labels == 2, mask == 1) and np.array_equal(labels == 1, mask == 2)
