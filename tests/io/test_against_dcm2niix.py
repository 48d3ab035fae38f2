"""Our NIfTI beside dcm2niix's: the same voxels in the same order on the disk at the same RAS positions.

dcm2niix keeps a rescale as scl_slope and scl_inter where we store the meant values, so values are compared
as a reader of the file sees them.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest

from ct_mr_series import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    oblique,
    pattern,
    positions_of,
    write_enhanced,
    write_series,
)
from hounsfield.io import Source, index_of, read_volume
from hounsfield.io.nifti_write import nifti_of

DCM2NIIX = Path(sys.executable).with_name("dcm2niix")
pytestmark = pytest.mark.skipif(
    not DCM2NIIX.exists(), reason='no dcm2niix beside this Python; pip install "hounsfield[dev]"'
)

CUBE = pattern((5, 6, 8))
PLANES = {
    "axial": AXIAL,
    "axial feet first": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "axial prone": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    "sagittal": SAGITTAL,
    "sagittal from the right": (0.0, -1.0, 0.0, 0.0, 0.0, -1.0),
    "coronal": CORONAL,
    "coronal upside down": (1.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    "oblique": oblique(25, 0),
    "double oblique": oblique(25, -20),
    "double oblique sagittal": oblique(25, -20, SAGITTAL),
    "double oblique coronal": oblique(-31, 17, CORONAL),
}


def _theirs(folder: Path, out: Path) -> list[Any]:
    """All images that dcm2niix makes of a folder, by name, tilt-corrected ones left out."""
    out.mkdir()
    words = [DCM2NIIX, "-z", "n", "-b", "n", "-f", "%s_%e_%d", "-o", out, folder]
    ended = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=60)
    found = sorted(p for p in out.glob("*.nii") if "_Tilt" not in p.name)
    assert found, ended.stdout + ended.stderr
    return [nibabel.load(p) for p in found]


def _ours(folder: Path) -> list[Any]:
    index = index_of(folder)
    assert not index.refused, index.refused
    with Source(folder) as source:
        return [nifti_of(read_volume(source, s)) for s in index.series]


def _assert_alike(one: Any, other: Any, *, place_mm: float = 1e-3) -> None:
    """Values, their order, all voxel positions (at the corners), codes and units."""
    assert one.shape == other.shape
    if other.get_data_dtype().names:
        assert one.get_data_dtype() == other.get_data_dtype()
        np.testing.assert_array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
    else:
        np.testing.assert_allclose(np.asarray(one.dataobj), np.asarray(other.dataobj), rtol=1e-6)
    corners = np.array(np.meshgrid(*((0, n - 1) for n in one.shape[:3]), [1])).reshape(4, -1)
    np.testing.assert_allclose(one.affine @ corners, other.affine @ corners, atol=place_mm)
    for code in ("qform_code", "sform_code"):
        assert int(one.header[code]) == int(other.header[code])
    assert one.header.get_xyzt_units()[0] == other.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(one.header["pixdim"][:4], other.header["pixdim"][:4], rtol=1e-5)
    np.testing.assert_allclose(one.get_qform(), other.get_qform(), atol=place_mm)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("plane", PLANES)
def test_every_plane_in_either_order(tmp_path: Path, plane: str, modality: str, descending: bool) -> None:
    given = {"orientation": PLANES[plane], "modality": modality, "descending": descending}
    write_series(tmp_path / "in", CUBE, **given)
    (ours,), (theirs,) = _ours(tmp_path / "in"), _theirs(tmp_path / "in", tmp_path / "out")
    _assert_alike(ours, theirs)


SERIES: dict[str, Callable[[Path], object]] = {
    "pixels that are not square": lambda p: write_series(p, CUBE, spacing_mm=(3.3, 0.7, 0.9), modality="MR"),
    "unsigned CT": lambda p: write_series(p, pattern((5, 6, 8), np.uint16)),
    "16 full bits": lambda p: write_series(
        p, pattern((5, 6, 8), np.uint16) + np.uint16(35000), modality="MR"
    ),
    "8 bits": lambda p: write_series(p, pattern((5, 6, 8), np.uint8), modality="MR"),
    "a slope that is not whole": lambda p: write_series(
        p, pattern((5, 6, 8), np.uint16), modality="MR", RescaleSlope="2.5", RescaleIntercept="3"
    ),
    "colour": lambda p: write_series(p, pattern((5, 6, 8, 3), np.uint8), modality="MR"),
    "one slice": lambda p: write_series(p, CUBE[:1]),
    "two slices": lambda p: write_series(p, CUBE[:2], modality="MR", orientation=SAGITTAL),
    "far from the origin": lambda p: write_series(p, CUBE, origin_mm=(-250.5, 310.25, -1402.125)),
    "more rows than columns": lambda p: write_series(p, pattern((7, 31, 10)), orientation=CORONAL),
}


@pytest.mark.parametrize("name", SERIES)
def test_every_kind_of_pixel_and_grid(tmp_path: Path, name: str) -> None:
    SERIES[name](tmp_path / "in")
    (ours,), (theirs,) = _ours(tmp_path / "in"), _theirs(tmp_path / "in", tmp_path / "out")
    _assert_alike(ours, theirs)


def test_two_echoes_are_two_volumes_of_one_grid(tmp_path: Path) -> None:
    for echo in (1, 2):
        write_series(
            tmp_path / "in",
            CUBE + echo,
            modality="MR",
            start=5 * echo,
            EchoNumbers=echo,
            EchoTime=str(10 * echo),
        )
    ours, theirs = _ours(tmp_path / "in"), _theirs(tmp_path / "in", tmp_path / "out")
    assert len(ours) == len(theirs) == 2
    for one, other in zip(ours, theirs, strict=True):
        _assert_alike(one, other)


@pytest.mark.parametrize("what", ["time", "b-value"])
def test_repeated_volumes_are_the_steps_of_the_fourth_axis(tmp_path: Path, what: str) -> None:
    for n in range(3):
        given: dict[str, Any] = {"TemporalPositionIdentifier": n + 1, "NumberOfTemporalPositions": 3}
        if what == "b-value":
            given = {"DiffusionBValue": 500.0 * n, "DiffusionGradientOrientation": [1, 0, 0]}
        write_series(tmp_path / "in", CUBE + n, modality="MR", start=5 * n, AcquisitionNumber=n + 1, **given)
    ours, (theirs,) = _ours(tmp_path / "in"), _theirs(tmp_path / "in", tmp_path / "out")
    assert theirs.shape == (8, 6, 5, 3) and len(ours) == 3
    for n, image in enumerate(ours):
        np.testing.assert_array_equal(np.asarray(image.dataobj), np.asarray(theirs.dataobj)[..., n])
        np.testing.assert_allclose(image.affine, theirs.affine, atol=1e-5)


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("backwards", [False, True])
def test_enhanced_multi_frame(tmp_path: Path, modality: str, backwards: bool) -> None:
    plane = oblique(20, 10)
    positions = positions_of(5, plane, step_mm=2.0, origin_mm=(-3, -4, 5))
    order = slice(None, None, -1 if backwards else 1)
    write_enhanced(
        tmp_path / "in" / "a.dcm", CUBE[order], positions[order], modality=modality, orientation=plane
    )
    (ours,), (theirs,) = _ours(tmp_path / "in"), _theirs(tmp_path / "in", tmp_path / "out")
    _assert_alike(ours, theirs)


def test_a_tilted_gantry_keeps_its_shear_where_dcm2niix_drops_it(tmp_path: Path) -> None:
    """dcm2niix's uncorrected file has the right values and the right first slice, but no shear."""
    positions = write_series(tmp_path / "in", CUBE, tilt_deg=15)
    (ours,), (theirs,) = _ours(tmp_path / "in"), _theirs(tmp_path / "in", tmp_path / "out")
    np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
    first = [[0, 7, 0, 7], [0, 0, 5, 5], [0] * 4, [1] * 4]
    np.testing.assert_allclose(ours.affine @ first, theirs.affine @ first, atol=1e-4)
    assert int(ours.header["sform_code"]) == 1 and int(ours.header["qform_code"]) == 0
    step = (positions[1] - positions[0]) * (-1, -1, 1)
    np.testing.assert_allclose(ours.affine[:3, 2], step, atol=1e-5)
    assert abs(theirs.affine[1, 2]) < 1e-6 < abs(step[1])


def test_an_image_without_a_place_has_no_affine(tmp_path: Path) -> None:
    flat = pattern((1, 6, 8), np.uint16)
    write_series(
        tmp_path / "in", flat, modality="CR", ImagePositionPatient=None, ImageOrientationPatient=None
    )
    (ours,), (theirs,) = _ours(tmp_path / "in"), _theirs(tmp_path / "in", tmp_path / "out")
    np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
    for image in (ours, theirs):
        assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 0
    np.testing.assert_allclose(ours.header["pixdim"][1:3], theirs.header["pixdim"][1:3])


TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "dicomdirtests/98892001/CT5N"])
def test_real_files_of_pydicom(tmp_path: Path, name: str) -> None:
    found = TEST_FILES / name
    if found.is_dir():
        shutil.copytree(found, tmp_path / "in")
    else:
        (tmp_path / "in").mkdir()
        shutil.copy(found, tmp_path / "in" / "a.dcm")
    (ours,), (theirs,) = _ours(tmp_path / "in"), _theirs(tmp_path / "in", tmp_path / "out")
    _assert_alike(ours, theirs)


def _from_nibabel(name: str, folder: Path) -> None:
    """Lay a test file that comes with nibabel into the folder; skips where it is not installed with it."""
    found = Path(nibabel.__file__).parent / "nicom" / "tests" / "data" / name
    if not found.exists():
        pytest.skip("this nibabel ships without its test files")
    folder.mkdir()
    content = found.read_bytes()
    (folder / "a.dcm").write_bytes(gzip.decompress(content) if found.suffix == ".gz" else content)


@pytest.mark.parametrize("name", ["siemens_dwi_0.dcm.gz", "siemens_dwi_1000.dcm.gz"])
def test_a_mosaic_is_the_volume_it_holds(tmp_path: Path, name: str) -> None:
    _from_nibabel(name, tmp_path / "in")
    (ours,), (theirs,) = _ours(tmp_path / "in"), _theirs(tmp_path / "in", tmp_path / "out")
    _assert_alike(ours, theirs, place_mm=5e-3)


def test_a_real_enhanced_volume_has_the_same_values_at_the_same_places(tmp_path: Path) -> None:
    """dcm2niix turns volumes of a 3D acquisition until their axes are nearest to RAS; ours stay as stored."""
    _from_nibabel("philips_mprage.dcm.gz", tmp_path / "in")
    (ours,), (theirs,) = _ours(tmp_path / "in"), _theirs(tmp_path / "in", tmp_path / "out")
    one, other = nibabel.as_closest_canonical(ours), nibabel.as_closest_canonical(theirs)
    np.testing.assert_allclose(one.affine, other.affine, atol=2e-3)
    np.testing.assert_allclose(np.asarray(one.dataobj), np.asarray(other.dataobj), rtol=1e-5)


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name", ["eCT_Supplemental.dcm", "JPEG2000_UNC.dcm", "explicit_VR-UN.dcm", "vlut_04.dcm", "SC_rgb.dcm"]
)
def test_real_objects(real_data: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(real_data / "dicom" / "dicom_pydicom_data" / name, tmp_path / "in" / "a.dcm")
    (ours,), (theirs,) = _ours(tmp_path / "in"), _theirs(tmp_path / "in", tmp_path / "out")
    np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
    assert int(ours.header["sform_code"]) == int(theirs.header["sform_code"])
    if int(ours.header["sform_code"]):
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-3)
