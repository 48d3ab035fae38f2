"""Real images from many makers: each is read, or refused with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.io import Source, index_of, read_volume

pytestmark = pytest.mark.realdata


def _by_name(folder: Path) -> dict[str, Series]:
    return {s.files[0].rsplit("/", 1)[-1]: s for s in index_of(folder).series if len(s.files) == 1}


def test_every_dicom_object_is_an_image_or_refused_and_every_image_reads(real_data: Path) -> None:
    index = index_of(real_data / "dicom")
    with Source(real_data / "dicom") as source:
        taken = [f for s in index.series for f in s.files] + [r.file for r in index.refused]
        assert sorted(taken) == sorted(source.members)
        assert all(r.reason for r in index.refused)
        for series in index.series:
            try:
                volume = read_volume(source, series)
            except BadInput:
                continue
            if series.spacing_mm:
                assert volume.spacing_known
                np.testing.assert_allclose(volume.spacing_mm, series.spacing_mm, atol=2e-6)
    assert len(index.series) > 55


def test_one_picture_in_ten_encodings_is_one_picture(real_data: Path) -> None:
    folder = real_data / "dicom" / "dicom_pydicom_data"
    found = _by_name(folder)
    with Source(folder) as source:
        truth = read_volume(source, found["SC_rgb.dcm"]).data.astype(int)
        for name, most in {
            "SC_rgb_expb.dcm": 0,
            "SC_rgb_gdcm2k_uncompressed.dcm": 0,
            "SC_ybr_full_uncompressed.dcm": 3,
            "SC_rgb_dcmtk_ebcr_dcmd.dcm": 3,
            "SC_rgb_dcmtk_ebcyn1_dcmd.dcm": 3,
            "SC_rgb_dcmtk_ebcynp_dcmd.dcm": 3,
        }.items():
            error = np.abs(read_volume(source, found[name]).data.astype(int) - truth)
            assert np.median(error) <= most, name


@pytest.mark.parametrize(
    "names",
    [
        ("OBXXXX1A.dcm", "OBXXXX1A_expb.dcm", "OBXXXX1A_rle.dcm"),
        ("gdcm-US-ALOKA-16.dcm", "gdcm-US-ALOKA-16_big.dcm"),
        (
            "emri_small.dcm",
            "emri_small_big_endian.dcm",
            "emri_small_RLE.dcm",
            "emri_small_jpeg_2k_lossless.dcm",
        ),
        ("US1_UNCR.dcm", "US1_J2KR.dcm"),
    ],
)
def test_lossless_encodings_of_one_image_give_the_same_values(
    real_data: Path, names: tuple[str, ...]
) -> None:
    folder = real_data / "dicom" / "dicom_pydicom_data"
    found = _by_name(folder)
    with Source(folder) as source:
        first, *others = [read_volume(source, found[name]).data for name in names]
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_the_rows_of_medmnist_are_the_official_counts(real_data: Path) -> None:
    index = index_of(real_data / "medmnist" / "pneumoniamnist_train_val.npz")
    parts = [s.part for s in index.series]
    assert (parts.count("train"), parts.count("val")) == (4708, 524)
    assert {s.label for s in index.series} == {"0", "1"} and index.series[17].id == "train_17"


@pytest.mark.parametrize(
    ("folder", "images"), [("msd_hippocampus", 360), ("cxr_covid", 209), ("drive", 60), ("sts_petctmr", 42)]
)
def test_real_folders_are_read(real_data: Path, folder: str, images: int) -> None:
    index = index_of(real_data / folder)
    assert len(index.series) == images and {s.label for s in index.series} == {""}
    with Source(real_data / folder) as source:
        for series in index.series[:: max(1, images // 8)]:
            assert np.ptp(read_volume(source, series).data) > 0
