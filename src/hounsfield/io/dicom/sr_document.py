"""A report of measurements around its groups: who measured, what was imaged, which objects it speaks of.

highdicom makes the content, because a tree of templates is long to write and short to run; it is an optional
dependency and imported here alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hounsfield.core.errors import MissingDependency
from hounsfield.io.dicom.seg_write import Algorithm
from hounsfield.io.dicom.source_grid import SourceGrid
from hounsfield.io.dicom.structures import Code
from hounsfield.io.files import whole_file

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["coded", "evidence_of", "highdicom", "identified", "measurement", "write_report"]

_PROCEDURES = {
    "CT": ("25045-6", "CT unspecified body region"), "MR": ("25056-3", "MRI unspecified body region"),
    "PT": ("44136-0", "PET unspecified body region"), "NM": ("49118-3", "NM unspecified body region"),
}  # fmt: skip
_ANY_PROCEDURE = ("43468-8", "XR unspecified body region")


def highdicom() -> Any:
    """The package; MissingDependency where it is not installed."""
    try:
        import highdicom as hd
    except ImportError as error:
        raise MissingDependency(
            'a structured report needs highdicom; pip install "hounsfield[dicom-results]"'
        ) from error
    return hd


def coded(code: Code) -> Any:
    """A code as highdicom's content wants it."""
    return highdicom().sr.CodedConcept(code.value, code.scheme, code.meaning)


def measurement(name: Code, value: float, unit: Code, *, method: Code | None = None) -> Any:
    """A number with its unit (TID 300), of nine figures at most."""
    return highdicom().sr.Measurement(
        name=coded(name),
        value=float(f"{value:.9g}"),
        unit=coded(unit),
        method=coded(method) if method else None,
    )


def identified(algorithm: Algorithm) -> Any:
    """The algorithm by name and version (TID 4019)."""
    return highdicom().sr.AlgorithmIdentification(
        name=algorithm.name, version=algorithm.version or version("hounsfield")
    )


def evidence_of(grid: SourceGrid, others: Mapping[tuple[str, str], str] | None = None) -> list[Dataset]:
    """The images behind a report, and `others` by (class, instance): series, as references need them."""
    from pydicom.dataset import Dataset

    rows = dict(others or {}) | {(r.class_uid, r.instance_uid): grid.series_uid for r in grid.references}
    made = []
    for (class_uid, instance_uid), series_uid in rows.items():
        item = Dataset()
        item.update(grid.taken)
        item.SOPClassUID, item.SOPInstanceUID, item.SeriesInstanceUID = class_uid, instance_uid, series_uid
        made.append(item)
    return made


def write_report(
    groups: Sequence[Any],
    grid: SourceGrid,
    evidence: Sequence[Dataset],
    *,
    out: Path | str,
    algorithm: Algorithm,
    series_number: int,
) -> Path:
    """Write measurement groups as a Comprehensive 3D SR (TID 1500), whole or not at all; gives `out` back.

    No person is named as an observer, only the device; the report is complete and unverified.
    """
    hd = highdicom()
    observer = hd.sr.ObserverContext(
        observer_type=coded(Code("121007", "Device", "DCM")),
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=hd.UID(), name=algorithm.name, manufacturer_name="Hounsfield", model_name=algorithm.name,
            serial_number=algorithm.serial,
        ),
    )  # fmt: skip
    procedure = _PROCEDURES.get(grid.modality, _ANY_PROCEDURE)
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=hd.sr.CodedConcept(procedure[0], "LN", procedure[1]),
        imaging_measurements=groups,
        title=coded(Code("126000", "Imaging Measurement Report", "DCM")),
    )
    made = hd.sr.Comprehensive3DSR(
        evidence=evidence, content=report, series_instance_uid=hd.UID(), series_number=series_number,
        sop_instance_uid=hd.UID(), instance_number=1, manufacturer="Hounsfield",
        manufacturer_model_name=algorithm.name, software_versions=algorithm.version or version("hounsfield"),
        device_serial_number=algorithm.serial, is_complete=True, is_final=False, is_verified=False,
        series_description=f"Measurements by {algorithm.name}"[:64],
    )  # fmt: skip
    with whole_file(out) as unfinished:
        made.save_as(unfinished, enforce_file_format=True)
    return Path(out)
