"""Volumes written as NIfTI-1: from LPS to RAS+ millimetres, stored as dcm2niix stores them.

dcm2niix writes DICOM rows from the bottom up, so its voxel-to-RAS affines are left-handed. A volume
whose affine is right-handed, as every DICOM stack's is, is therefore turned over along its rows; the
position of every voxel stays. A volume that is left-handed already is kept as it is.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io.files import whole_file

if TYPE_CHECKING:
    from nibabel import Nifti1Image

__all__ = ["has_place", "joined_nifti", "nifti_of", "same_grid", "write_nifti"]

_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SCANNER, _UNKNOWN = 1, 0  # NIFTI_XFORM_SCANNER_ANAT, NIFTI_XFORM_UNKNOWN
_RGB24 = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
_MOST = 32767  # a side is a 16-bit number in NIfTI-1
_SQUARE = 1e-4  # largest cosine between two axes that a quaternion may still describe
_SAME_MM = 1e-3
_FAST_GZIP = 3


def nifti_of(volume: Volume, *, turned: bool = True) -> Nifti1Image:
    """The volume as a NIfTI-1 image (I, J, K), values and their type unchanged, slope 1 and intercept 0.

    sform and qform hold the affine to RAS+ mm with code 1 (scanner); an affine with shear, as of a tilted
    gantry, stands in the sform alone. Where the place in the patient is unknown both codes are 0 and only
    known lengths are written (0 for unknown). Three channels of 8 bits become RGB24, other channels a
    fourth axis. Unless it is `turned`, voxels stay in the order that they have. Raises BadInput where a side
    is too long for NIfTI-1.

    >>> import numpy as np
    >>> v = Volume(np.zeros((1, 2, 4, 5), np.int16), np.diag([.5, .5, 2., 1.]), ("1.2.3",), True)
    >>> nifti_of(v).affine.tolist()[1]
    [0.0, 0.5, 0.0, -1.5]
    """
    turned = turned and _is_right_handed(volume.affine)
    return _image(volume, _stored(volume.data, turned=turned), turned=turned)


def joined_nifti(volumes: Sequence[Volume], *, step_seconds: float = 0.0) -> Nifti1Image:
    """Volumes of one grid as a NIfTI-1 image (I, J, K, T); a time step of 0 says that it is unknown.

    Raises BadInput where their grids differ or they have several channels.
    """
    first = volumes[0]
    if any(v.channels != 1 or not same_grid(first, v) for v in volumes):
        raise BadInput("volumes of different grids or in colour were to be joined; write a file for each")
    kind = np.result_type(*(v.data.dtype for v in volumes))
    count, sides = len(volumes), first.data.shape[1:]
    values = np.empty((count, *sides), kind)
    for place, volume in zip(values, volumes, strict=True):
        place[...] = volume.data[0]
    turned = _is_right_handed(first.affine)
    image = _image(first, _stored(values, turned=turned), turned=turned)
    image.header["pixdim"][4] = step_seconds
    return image


def write_nifti(path: Path | str, image: Volume | Nifti1Image) -> None:
    """Write a volume, or an image made by `nifti_of`, as a whole file, compressed if its name ends in .gz.

    Equal volumes give equal files. Raises BadInput as `nifti_of` and `whole_file` do.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_nifti(Path(folder) / "a.nii", Volume(np.zeros((1, 2, 4, 5), np.uint8), np.eye(4)))
    ...     (Path(folder) / "a.nii").stat().st_size
    392
    """
    made = nifti_of(image) if isinstance(image, Volume) else image
    final = Path(path)
    with whole_file(final) as unfinished, unfinished.open("wb") as file:
        if final.suffix.casefold() != ".gz":
            made.to_stream(file)
            return
        # neither name nor time in the gzip header: the file depends on the volume alone
        with gzip.GzipFile("", "wb", compresslevel=_FAST_GZIP, fileobj=file, mtime=0) as packed:
            made.to_stream(packed)


def has_place(volume: Volume) -> bool:
    """True if the affine says where in the patient the volume lies, not only how large its voxels are.

    Readers give a flat image of unknown place an affine of lengths alone, without origin or direction.
    """
    lengths = np.diag(np.append(np.linalg.norm(volume.affine[:3, :3], axis=0), 1.0))
    return volume.spacing_known and not (volume.is_flat and np.allclose(volume.affine, lengths))


def same_grid(one: Volume, other: Volume) -> bool:
    """True if both have their voxels at the same places (within a thousandth of a millimetre)."""
    if one.data.shape != other.data.shape or one.spacing_known != other.spacing_known:
        return False
    corner = np.array([*np.array(one.data.shape[:0:-1]) - 1, 1.0])
    apart = [
        np.abs(one.affine[:3, 3] - other.affine[:3, 3]),
        np.abs((one.affine - other.affine) @ corner)[:3],
    ]
    return bool(np.max(apart) < _SAME_MM and np.allclose(one.affine, other.affine, atol=_SAME_MM))


def _image(volume: Volume, stored: NDArray[Any], *, turned: bool) -> Nifti1Image:
    from nibabel import Nifti1Image

    if max(stored.shape) > _MOST:
        raise BadInput(
            f"a volume of {volume.data.shape} voxels; NIfTI-1 holds at most {_MOST} along a side, so cut it"
        )
    placed, affine = has_place(volume), _ras_affine(volume, turned=turned)
    # an image that is given an affine writes it under a code of its own choice, so it is given none
    image = Nifti1Image(stored, affine if placed else None, dtype=stored.dtype)
    header = image.header
    header.set_slope_inter(1, 0)
    header["pixdim"][1:] = (*_known_lengths(volume), 0.0, 0.0, 0.0, 0.0)
    if header["pixdim"][1] > 0:
        header.set_xyzt_units("mm", "sec")
    if placed:
        image.set_sform(affine, _SCANNER)
        image.set_qform(affine, _SCANNER if _is_square(affine) else _UNKNOWN, update_affine=False)
    return image


def _stored(data: NDArray[Any], *, turned: bool) -> NDArray[Any]:
    """(C, K, J, I) as (I, J, K[, C]), rows from the bottom up where they are to be turned."""
    if turned:
        data = data[:, :, ::-1]
    if data.dtype in (np.bool_, np.float16):  # types that NIfTI-1 has no code for
        data = data.astype(np.uint8 if data.dtype == np.bool_ else np.float32)
    if data.shape[0] == 3 and data.dtype == np.uint8:
        return np.ascontiguousarray(np.moveaxis(data, 0, -1)).view(_RGB24)[..., 0].transpose(2, 1, 0)
    turned = data.transpose(3, 2, 1, 0)
    return turned[..., 0] if turned.shape[-1] == 1 else turned


def _ras_affine(volume: Volume, *, turned: bool) -> NDArray[np.float64]:
    """The affine to RAS+ mm of the voxels as `_stored` lays them."""
    affine = volume.affine.copy()
    if turned:
        affine[:3, 3] += affine[:3, 1] * (volume.data.shape[2] - 1)
        affine[:3, 1] *= -1
    return np.asarray(_RAS_FROM_LPS @ affine + 0.0)


def _is_right_handed(affine: NDArray[np.float64]) -> bool:
    """As x, y, z of the patient are; LPS and RAS agree on that."""
    return bool(np.linalg.det(affine[:3, :3]) > 0)


def _is_square(affine: NDArray[np.float64]) -> bool:
    """True if the three axes stand perpendicular on each other."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() < _SQUARE)


def _known_lengths(volume: Volume) -> tuple[float, float, float]:
    """(i, j, k) in mm, 0 for unknown: of frames in time only the lengths within the frame are known."""
    i, j, k = np.linalg.norm(volume.affine[:3, :3], axis=0).tolist()
    if volume.spacing_known:
        return i, j, k
    return (0.0, 0.0, 0.0) if np.array_equal(volume.affine, np.eye(4)) else (i, j, 0.0)
