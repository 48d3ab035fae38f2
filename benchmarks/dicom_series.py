"""A 100-slice uncompressed CT series to float32: SimpleITK's series reader and ours, in turn.

    python benchmarks/dicom_series.py [SLICES] [ROUNDS]

The series is made here: 512 x 512 x 16 bits, about 130 elements a header, as scanners write them. Ours reads
and checks the header of every slice, then the pixels; SimpleITK is given the files in order, as its own
search for them would cost it more. Both are measured on one core and on all of them. The last lines say
whether voxels are bit-equal and the corners of the volume lie at the same places in the patient.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset

from hounsfield.core.index import Series
from hounsfield.core.volume import Volume
from hounsfield.io import Source, index_of, read_volume


def _header(number: int) -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = (
        "1.2.840.10008.5.1.4.1.1.2",
        f"1.2.826.0.1.3680043.2.1125.{number}",
    )
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.826.0.1.3680043.2.1", "1.2.826.0.1.3680043.2.2"
    made.FrameOfReferenceUID, made.Modality, made.PatientID = "1.2.826.0.1.3680043.2.3", "CT", "P1"
    made.ImageType, made.Manufacturer = ["ORIGINAL", "PRIMARY", "AXIAL"], "MAKER"
    made.StudyDate = made.SeriesDate = made.AcquisitionDate = made.ContentDate = "20200102"
    made.StudyTime = made.SeriesTime = made.AcquisitionTime = made.ContentTime = "101112.000"
    made.InstanceNumber, made.AcquisitionNumber, made.SeriesNumber = number + 1, 1, 3
    made.Rows = made.Columns = 512
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 1
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.RescaleSlope, made.RescaleIntercept, made.RescaleType = 1, -1024, "HU"
    made.WindowCenter, made.WindowWidth = [40, -600], [400, 1500]
    made.PixelSpacing, made.SliceThickness = [0.703125, 0.703125], 2.5
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.ImagePositionPatient = [-180.2, -170.7, -310.5 + 2.5 * number]
    made.KVP, made.XRayTubeCurrent, made.ExposureTime, made.Exposure = 120, 250, 500, 125
    block = made.private_block(0x0009, "MAKER 1", create=True)
    for n in range(88):
        block.add_new(n, "LO", f"setting {n} of the scanner")
    return made


def write_series(folder: Path, slices: int) -> list[str]:
    """Write the series; the paths in order."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:512, :512]
    body = np.where((x - 256) ** 2 + (y - 256) ** 2 < 200**2, 1064 + 40 * np.sin(x / 30) * np.cos(y / 20), 24)
    paths = []
    for n in range(slices):
        made = _header(n)
        made.PixelData = (body + rng.normal(0, 12, body.shape)).astype("<i2").tobytes()
        made["PixelData"].VR = "OW"
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        paths.append(str(folder / f"{n:04}.dcm"))
        made.save_as(paths[-1], enforce_file_format=True)
    return paths


def peer(paths: list[str]) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(paths)
    reader.SetOutputPixelType(sitk.sitkFloat32)
    return reader.Execute()


def ours(source: Source, series: Series) -> Volume:
    """`read_volume`: headers read and checked again, pixels to float32, affine."""
    return read_volume(source, series, dtype=np.float32)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main(slices: int = 100, rounds: int = 15) -> None:
    """Measure in turn and print medians and their ratio."""
    default = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as name, Source(name) as source:
        paths = write_series(Path(name), slices)
        (series,) = index_of(name).series
        for label, some in (("one core", {min(cores)}), (f"{len(cores)} cores", cores)):
            os.sched_setaffinity(0, some)
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1 if len(some) == 1 else default)
            for _ in range(2):
                peer(paths), ours(source, series)
            times = [
                (_seconds(lambda: peer(paths)), _seconds(lambda: ours(source, series))) for _ in range(rounds)
            ]
            theirs, mine = (median(column) for column in zip(*times, strict=True))
            print(f"{label}: SimpleITK {theirs * 1e3:.1f} ms, ours {mine * 1e3:.1f} ms: {theirs / mine:.1f}x")
        image, volume = peer(paths), ours(source, series)
        print("bit-equal:", np.array_equal(sitk.GetArrayViewFromImage(image), volume.data[0]))
        ends = [(i, j, k) for i in (0, 511) for j in (0, 511) for k in (0, slices - 1)]
        places = [image.TransformIndexToPhysicalPoint(end) for end in ends]
        same = [np.allclose(p, (volume.affine @ (*e, 1))[:3]) for p, e in zip(places, ends, strict=True)]
        print("same places:", all(same))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3]))
