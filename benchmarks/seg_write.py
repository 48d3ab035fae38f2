"""How long a segmentation of 300 slices 512×512 takes to be written, by us and by highdicom, same content.

    python benchmarks/seg_write.py [--slices 300] [--structures 3] [--turns 2]

Both begin with the folder of the source series and end with the file on the disk. Ours reads the headers
through our own table; highdicom's are read by pydicom without pixels. "built" is highdicom's share without
reading the headers. The two take turns; the times are of the processor (user and system), since the machine
may be shared, and the least of the turns. Both files are read back by highdicom, which must find the same
voxels in the same places.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from hounsfield.io import Source, index_of
from hounsfield.io.dicom.seg_write import write_segmentation

_SIDE = 512


def _series(folder: Path, slices: int) -> None:
    """A CT series of noise-free slices, enough for headers."""
    study, series, frame = (generate_uid() for _ in range(3))
    pixels = np.zeros((_SIDE, _SIDE), np.int16).tobytes()
    for n in range(slices):
        made = Dataset()
        made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", generate_uid()
        made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = study, series, frame
        made.PatientName, made.PatientID, made.PatientBirthDate, made.PatientSex = "A^B", "1", "19500101", "O"
        made.StudyDate, made.StudyTime, made.StudyID, made.AccessionNumber = "20200102", "101112", "1", "1"
        made.ReferringPhysicianName, made.PositionReferenceIndicator = "", ""
        made.Modality, made.SeriesNumber, made.InstanceNumber = "CT", 1, n + 1
        made.ImageType, made.Manufacturer = ["ORIGINAL", "PRIMARY", "AXIAL"], "Maker"
        made.ImagePositionPatient = [-180.5, -170.25, -300.0 + 1.25 * n]
        made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        made.PixelSpacing, made.SliceThickness = [0.703125, 0.703125], 1.25
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.Rows = made.Columns = _SIDE
        made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 1
        made.RescaleSlope, made.RescaleIntercept, made.PixelData = 1, 0, pixels
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.save_as(folder / f"{n:04}.dcm", enforce_file_format=True)


def _mask(slices: int, structures: int) -> np.ndarray:
    """Ellipsoids side by side, each through nine tenths of the slices."""
    k, j, i = np.ogrid[:slices, :_SIDE, :_SIDE]
    mask = np.zeros((slices, _SIDE, _SIDE), np.uint8)
    width = _SIDE / structures / 2
    for n in range(structures):
        away = ((k - slices / 2) / (0.45 * slices)) ** 2 + ((j - _SIDE / 2) / 160) ** 2
        mask[away + ((i - width * (2 * n + 1)) / (0.9 * width)) ** 2 < 1] = n + 1
    return mask


def _by_highdicom(folder: Path, mask: np.ndarray, structures: int, form: str, out: Path) -> float:
    """Write through highdicom; how long building and saving took, without reading the headers."""
    images = [pydicom.dcmread(f, stop_before_pixels=True) for f in sorted(folder.iterdir())]
    began = time.process_time()
    algorithm = hd.AlgorithmIdentificationSequence(
        name="hounsfield", version="1", family=codes.cid7162.ArtificialIntelligence
    )
    segments = [
        hd.seg.SegmentDescription(
            n, f"structure {n}", codes.SCT.Tissue, codes.SCT.Tissue, "AUTOMATIC", algorithm,
            tracking_id=f"structure {n}", tracking_uid=generate_uid(),
        )
        for n in range(1, structures + 1)
    ]  # fmt: skip
    made = hd.seg.Segmentation(
        images, mask, form.upper(), segments, generate_uid(), 900, generate_uid(), 1, "Hounsfield",
        "hounsfield", "1", "0", omit_empty_frames=form == "binary",
    )  # fmt: skip
    made.save_as(out)
    return time.process_time() - began


def _by_us(folder: Path, mask: np.ndarray, structures: int, form: Any, out: Path, series: Any) -> None:
    names: dict[int, Any] = {n: f"structure {n}" for n in range(1, structures + 1)}
    with Source(folder) as source:
        write_segmentation(mask, names, source, series, out=out, form=form)


def _least(turns: int, *functions: Callable[[], Any]) -> list[float]:
    """The least processor time of each function, the functions taking turns."""
    spent = [[float("inf")] for _ in functions]
    for _ in range(turns):
        for times, function in zip(spent, functions, strict=True):
            began = time.process_time()
            function()
            times.append(time.process_time() - began)
    return [min(t) for t in spent]


def _same(first: Path, second: Path) -> bool:
    """True if highdicom reads the same voxels in the same places of both."""
    one, two = (hd.seg.segread(p).get_volume(combine_segments=True) for p in (first, second))
    return bool(np.array_equal(one.array, two.array) and np.allclose(one.affine, two.affine, atol=1e-6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--structures", type=int, default=3)
    parser.add_argument("--turns", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "series"
        folder.mkdir()
        _series(folder, asked.slices)
        mask = _mask(asked.slices, asked.structures)
        series = index_of(folder).series[0]
        for form in ("binary", "labelmap"):
            ours, theirs = Path(place) / f"ours-{form}.dcm", Path(place) / f"theirs-{form}.dcm"
            built: list[float] = []

            def peer(form: str = form, theirs: Path = theirs, built: list[float] = built) -> None:
                built.append(_by_highdicom(folder, mask, asked.structures, form, theirs))

            def us(form: str = form, ours: Path = ours) -> None:
                _by_us(folder, mask, asked.structures, form, ours, series)

            us_s, peer_s = _least(asked.turns, us, peer)
            found = {
                "form": form, "slices": asked.slices, "structures": asked.structures,
                "ours_s": round(us_s, 3),
                "highdicom_s": round(peer_s, 3), "highdicom_built_s": round(min(built), 3),
                "times": round(peer_s / us_s, 1), "times_built": round(min(built) / us_s, 1),
                "ours_mb": round(ours.stat().st_size / 1e6, 1),
                "highdicom_mb": round(theirs.stat().st_size / 1e6, 1), "same_voxels": _same(ours, theirs),
            }  # fmt: skip
            print(json.dumps(found))
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB (both)")


if __name__ == "__main__":
    main()
