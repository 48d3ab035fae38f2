"""How fast a folder of CT slices becomes a Parquet file of header columns, beside pydicom and dicomsdl.

    python benchmarks/dicom_index.py [--files 3000] [--side 512] [--turns 5] [--cold] [--folder DIR]

Makes the slices (about 130 elements each, `--side` squared 16-bit pixels), then lets the readers take
turns in one process: ours, pydicom (`dcmread(stop_before_pixels=True)`) and dicomsdl (in both ways that
it offers), each from files to Parquet with the same columns, and the floor: opening every file and reading
its first 16 KB. pydicom reads
a tenth of the files and dicomsdl a third, spread evenly; times are per file. Every cell of ours is compared
with pydicom's for all files. `--cold` drops the files from the page cache before each turn of ours and of
the floor.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from hounsfield.io.dicom.columns import COLUMNS, Column
from hounsfield.io.dicom.header_table import header_batches
from hounsfield.io.index_file import IndexWriter
from hounsfield.io.source import Source


def _slice(n: int, side: int) -> Dataset:
    """One slice with the elements that a scanner writes, and as many private ones."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 100"
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"]
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, f"1.3.12.2.1107.5.1.4.49611.3000000{n:08d}"
    for name in ("Study", "Series", "Acquisition", "Content", "InstanceCreation"):
        setattr(made, f"{name}Date", "20200102")
        setattr(made, f"{name}Time", f"1012{n % 60:02d}.123000")
    made.AccessionNumber, made.Modality, made.Manufacturer = "A1234567", "CT", "SIEMENS"
    made.InstitutionName, made.InstitutionAddress = "General Hospital", "1 Long Street, A Town, 12345"
    made.ReferringPhysicianName, made.StationName = "DOE^JOHN", "CT49611"
    made.StudyDescription, made.SeriesDescription = "Thorax^Thorax_Routine (Adult)", "Lung  1.0  B60f"
    made.ManufacturerModelName, made.PatientName = "Sensation 64", "SMITH^ANNA"
    made.PatientID, made.PatientBirthDate, made.PatientSex = "PAT0001", "19600615", "F"
    made.PatientAge, made.PatientWeight, made.PatientSize = "059Y", "72.5", "1.68"
    made.BodyPartExamined, made.SliceThickness, made.KVP = "CHEST", "1", "120"
    made.DataCollectionDiameter, made.ProtocolName = "500", "Thorax_Routine"
    made.ReconstructionDiameter, made.DistanceSourceToDetector = "347", "1040"
    made.DistanceSourceToPatient, made.GantryDetectorTilt, made.TableHeight = "570", "0", "138"
    made.RotationDirection, made.ExposureTime, made.XRayTubeCurrent = "CW", "500", "174"
    made.Exposure, made.FilterType, made.GeneratorPower, made.FocalSpots = "87", "0", "21", "1.2"
    made.DateOfLastCalibration, made.TimeOfLastCalibration = "20200101", "073113.000000"
    made.ConvolutionKernel, made.PatientPosition, made.DeviceSerialNumber = "B60f", "HFS", "49611"
    made.SoftwareVersions, made.ContrastBolusAgent = "syngo CT 2007A", "APPLIED"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.3.12.2.1107.5.1.4.4961", "1.3.12.2.1107.5.1.4.4962"
    made.StudyID, made.SeriesNumber, made.AcquisitionNumber, made.InstanceNumber = "1", 4, 3, n + 1
    made.ImagePositionPatient = ["-173.662109375", "-318.162109375", f"{-40.5 - n * 0.7:.1f}"]
    made.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    made.FrameOfReferenceUID, made.PositionReferenceIndicator = "1.3.12.2.1107.5.1.4.4963", ""
    made.SliceLocation, made.ImageComments = f"{-40.5 - n * 0.7:.1f}", "no comment"
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = side, side
    made.PixelSpacing = ["0.677734375", "0.677734375"]
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.SmallestImagePixelValue, made.LargestImagePixelValue = 0, 3012
    made.WindowCenter, made.WindowWidth = ["-600", "50"], ["1200", "350"]
    made.RescaleIntercept, made.RescaleSlope = "-1024", "1"
    made.WindowCenterWidthExplanation = ["WINDOW1", "WINDOW2"]
    for group in (0x0019, 0x0021, 0x0029, 0x0051):
        block = made.private_block(group, f"SCANNER CT VA{group % 10} DUMMY", create=True)
        for k in range(11):
            block.add_new(k, *(("DS", "12.5") if k % 2 else ("LO", f"value {k} of {n}")))
    for sequence in ("ReferencedStudySequence", "ReferencedImageSequence", "ProcedureCodeSequence"):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, f"1.2.3.{n}"
        setattr(made, sequence, [item])
    return made


def _make(folder: Path, files: int, side: int) -> int:
    """Write the slices; return how many elements each has."""
    pixels = np.random.default_rng(0).integers(0, 3000, (side, side), np.uint16).tobytes()
    for n in range(files):
        path = folder / f"IM{n:05d}.dcm"
        made = _slice(n, side)
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.PixelData = pixels
        made["PixelData"].VR = "OW"
        if not path.exists():
            made.save_as(path, enforce_file_format=True)
        elements = len(made) + len(made.file_meta)
    return elements


def _cell(column: Column, value: Any) -> Any:
    """What pydicom's value is in a table: text, whole number, double or doubles."""
    if value is None or value == "":
        return None
    several = list(value) if isinstance(value, MultiValue | list) else [value]
    if column.kind == "text":
        return "\\".join(map(str, several))
    if column.kind == "numbers":
        return [float(v) for v in several]
    return int(value) if column.kind == "whole" else float(value)


def _by_pydicom(paths: Sequence[Path]) -> pa.Table:
    rows = []
    for path in paths:
        dataset = dcmread(path, stop_before_pixels=True)
        row = {c.name: _cell(c, dataset[c.tag].value) for c in COLUMNS if c.tag in dataset}
        row["transfer_syntax_uid"] = str(dataset.file_meta.TransferSyntaxUID)
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=pa.schema([(c.name, c.type) for c in COLUMNS]))


def _by_dicomsdl(paths: Sequence[Path]) -> pa.Table:
    import dicomsdl

    tags = [f"{c.tag:08X}" for c in COLUMNS]
    rows = []
    for path in paths:
        values = dicomsdl.open(str(path), load_until=0x7FDFFFFF).getValues(tags)
        rows.append({c.name: _sdl_cell(c, v) for c, v in zip(COLUMNS, values, strict=True) if v is not None})
    return pa.Table.from_pylist(rows, schema=pa.schema([(c.name, c.type) for c in COLUMNS]))


def _by_element(paths: Sequence[Path]) -> pa.Table:
    import dicomsdl

    rows = []
    for path in paths:
        dataset = dicomsdl.open(str(path), load_until=0x7FDFFFFF)
        values = ((c, dataset.getDataElement(c.tag).value()) for c in COLUMNS)
        rows.append({c.name: _sdl_cell(c, v) for c, v in values if v not in (None, b"")})  # b"": absent
    return pa.Table.from_pylist(rows, schema=pa.schema([(c.name, c.type) for c in COLUMNS]))


def _sdl_cell(column: Column, value: Any) -> Any:
    several = value if isinstance(value, list) else [value]
    if column.kind == "text":
        return "\\".join(map(str, several))
    if column.kind == "numbers":
        return [float(v) for v in several]
    return int(several[0]) if column.kind == "whole" else float(several[0])


def _ours(folder: Path, out: Path, threads: int) -> None:
    with Source(folder) as source, IndexWriter(out) as writer:
        names = [f"IM{n:05d}.dcm" for n in range(len(list(os.scandir(folder))))]
        for batch in header_batches(source, names, threads=threads):
            writer.write(batch)


def _floor(folder: Path) -> None:
    for entry in sorted(e.path for e in os.scandir(folder)):
        file = os.open(entry, os.O_RDONLY)
        os.pread(file, 16_384, 0)
        os.close(file)


def _drop(paths: Sequence[Path]) -> None:
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def _timed(what: Callable[[], object], files: int) -> tuple[float, float]:
    """Microseconds a file: by the clock, and of the processor, which other programs disturb less."""
    start, used = time.perf_counter(), time.process_time()
    what()
    return (time.perf_counter() - start) / files * 1e6, (time.process_time() - used) / files * 1e6


def _compare(ours: Path, paths: Sequence[Path]) -> int:
    """How many cells differ from pydicom's."""
    made, truth = pq.read_table(ours), _by_pydicom(paths)
    pairs = ((c.name, made[c.name].to_pylist(), truth[c.name].to_pylist()) for c in COLUMNS)
    different = 0
    for name, mine, theirs in pairs:
        wrong = sum(a != b for a, b in zip(mine, theirs, strict=True))
        different += wrong
        if wrong:
            print(f"  {name}: {wrong} cells differ")
    return different


def _report(times: dict[str, list[tuple[float, float]]], of: str) -> None:
    """Medians in microseconds a file, and how many times that of one reader, by clock and processor."""
    medians = {
        name: tuple(statistics.median(t[k] for t in turns) for k in (0, 1)) for name, turns in times.items()
    }
    print(f"  {'':28} {'clock':>9} {'':8} {'processor':>9}")
    for name, (clock, used) in medians.items():
        ratios = clock / medians[of][0], used / medians[of][1]
        print(f"  {name:28} {clock:9.1f} {ratios[0]:7.2f}x {used:9.1f} {ratios[1]:7.2f}x")


def main() -> None:
    """Run the comparison and print medians, ratios and whether every cell is equal."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--files", type=int, default=3000)
    asked.add_argument("--side", type=int, default=512)
    asked.add_argument("--turns", type=int, default=5)
    asked.add_argument("--cold", action="store_true")
    asked.add_argument("--folder", type=Path)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary) / "slices"
        folder.mkdir(parents=True, exist_ok=True)
        out = Path(temporary) / "ours.parquet"
        elements = _make(folder, given.files, given.side)
        paths = sorted(folder.iterdir())
        tenth, third = paths[::10], paths[::3]
        print(f"{len(paths)} files of {elements} elements, {given.side}^2 pixels, {len(COLUMNS)} columns")
        _ours(folder, out, 1)  # compiles on a new machine
        print(f"cells that differ from pydicom's: {_compare(out, paths)}")

        def sink(read: Callable[[Sequence[Path]], pa.Table], some: Sequence[Path]) -> None:
            pq.write_table(read(some), Path(temporary) / "theirs.parquet")

        turns: dict[str, tuple[Callable[[], object], int]] = {
            "ours, 1 thread": (lambda: _ours(folder, out, 1), len(paths)),
            "ours, 2 threads": (lambda: _ours(folder, out, 2), len(paths)),
            "pydicom": (lambda: sink(_by_pydicom, tenth), len(tenth)),
            "dicomsdl, getValues": (lambda: sink(_by_dicomsdl, third), len(third)),
            "dicomsdl, element by element": (lambda: sink(_by_element, third), len(third)),
            "floor": (lambda: _floor(folder), len(paths)),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in turns}
        for _ in range(given.turns):
            for name, (what, count) in turns.items():
                times[name].append(_timed(what, count))
        print("warm:")
        _report(times, "ours, 1 thread")
        if given.cold:
            _cold(turns, paths, given.turns)


def _cold(turns: dict[str, tuple[Callable[[], object], int]], paths: Sequence[Path], count: int) -> None:
    """Ours and the floor with the files dropped from the page cache before each turn."""
    times: dict[str, list[tuple[float, float]]] = {
        name: [] for name in turns if name.startswith(("ours", "floor"))
    }
    for _ in range(count):
        for name in times:
            _drop(paths)
            times[name].append(_timed(turns[name][0], len(paths)))
    print("cold:")
    _report(times, "floor")


if __name__ == "__main__":
    main()
