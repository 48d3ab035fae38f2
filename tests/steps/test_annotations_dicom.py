"""Marks from DICOM results: reports, segmentations and structure sets, written by others where possible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ct_mr_series import oblique, pattern, write_series
from dicom_objects import item, plain, saved
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.core.marked import Marked
from hounsfield.io import Source, index_of
from hounsfield.io.dicom.seg_write import write_segmentation
from hounsfield.io.dicom.sr_write import Measured, write_measurements
from hounsfield.steps.detection.annotations import read_marks

hd = pytest.importorskip("highdicom", reason="highdicom is not installed (hounsfield[dicom-results])")

SHAPE = (8, 20, 24)
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Two oblique series in one frame of reference that lie apart, 2 x 0.75 x 0.75 mm."""
    folder = tmp_path_factory.mktemp("images")
    turned = oblique(15, -25)
    write_series(folder / "a", pattern(SHAPE), orientation=turned)
    write_series(
        folder / "b", pattern(SHAPE, salt=1), orientation=turned, origin_mm=(60, 60, 60), series=2,
    )  # fmt: skip
    return index_of(folder)


def at_mm(series: Series, *voxels: tuple[float, float, float]) -> NDArray[np.float64]:
    """Voxels (k, j, i) as points in the patient."""
    affine = np.reshape(series.affine, (4, 4))
    return np.array([(affine @ [i, j, k, 1])[:3] for k, j, i in voxels])


def only(images: Index, folder: Path, **options: Any) -> Marked:
    """The one object, which must lie on the first series."""
    marks = read_marks(folder, images, **options)
    found = marks.by_series[images.series[0].id]
    assert len(found) == 1 == marks.count
    return found[0]


def report(images: Index, path: Path, groups: list[Any]) -> Path:
    """A Comprehensive 3D SR of highdicom over the first series."""
    from pydicom import dcmread

    series = images.series[0]
    evidence = [dcmread(Path(images.source) / f) for f in series.files]
    device = hd.sr.DeviceObserverIdentifyingAttributes(uid=hd.UID())
    observer = hd.sr.ObserverContext(
        observer_type=hd.sr.CodedConcept("121007", "DCM", "Device"), observer_identifying_attributes=device
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=hd.sr.CodedConcept("25045-6", "LN", "CT"),
        imaging_measurements=groups,
        title=hd.sr.CodedConcept("126000", "DCM", "Imaging Measurement Report"),
    )
    made = hd.sr.Comprehensive3DSR(
        evidence=evidence, content=content, series_instance_uid=hd.UID(), series_number=9,
        sop_instance_uid=hd.UID(), instance_number=1, manufacturer="x", is_complete=True,
    )  # fmt: skip
    path.parent.mkdir(exist_ok=True)
    made.save_as(path)
    return path


def planar(region: Any, *, diameter_mm: float | None = None) -> Any:
    measured = []
    if diameter_mm:
        name = hd.sr.CodedConcept("81827009", "SCT", "Diameter")
        measured = [hd.sr.Measurement(name, diameter_mm, hd.sr.CodedConcept("mm", "UCUM", "mm"))]
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(hd.UID(), "T1"),
        referenced_region=region,
        finding_type=hd.sr.CodedConcept("27925004", "SCT", "Nodule"),
        measurements=measured,
    )


def in_patient(images: Index, kind: str, *voxels: tuple[float, float, float]) -> Any:
    points = at_mm(images.series[0], *voxels)
    return hd.sr.ImageRegion3D(kind, points, "1.2.826.0.1.3680043.8.498.8")


def test_a_point_in_the_patient_has_its_measured_diameter(images: Index, tmp_path: Path) -> None:
    report(
        images, tmp_path / "r" / "sr.dcm", [planar(in_patient(images, "POINT", (3, 8, 10)), diameter_mm=6)]
    )
    one = only(images, tmp_path / "r")
    assert one.centre == pytest.approx((3, 8, 10), abs=1e-3) and one.size == pytest.approx(
        (3, 8, 8), abs=1e-3
    )
    assert (one.shape, one.diameter_mm) == ("sphere", 6)
    assert read_marks(tmp_path / "r", images).classes == ("Nodule",)
    assert images.series[1].id not in read_marks(tmp_path / "r", images).by_series


def test_a_report_with_a_finding_that_cannot_be_placed_marks_nothing(images: Index, tmp_path: Path) -> None:
    point = in_patient(images, "POINT", (3, 8, 10))
    report(images, tmp_path / "r" / "sr.dcm", [planar(point), planar(point, diameter_mm=6)])
    with pytest.raises(BadInput, match="points without a diameter"):
        read_marks(tmp_path / "r", images)
    segmented(images, tmp_path / "r", {1: "nodule"}, which=1)
    marks = read_marks(tmp_path / "r", images)
    assert set(marks.by_series) == {images.series[1].id} and "points without a diameter" in marks.notes[0]


def test_a_report_without_findings_says_that_there_are_none(images: Index, tmp_path: Path) -> None:
    made = plain("1.2.840.10008.5.1.4.1.1.88.34", 81, Modality="SR", SeriesInstanceUID="1.2.826.0.1.777.81")
    uids = [item(SeriesInstanceUID=images.series[0].series)]
    made.CurrentRequestedProcedureEvidenceSequence = [item(ReferencedSeriesSequence=uids)]
    saved(made, tmp_path / "sr.dcm")
    assert read_marks(tmp_path, images).by_series == {images.series[0].id: ()}


def test_a_polygon_in_the_patient_is_as_deep_as_it_is_wide(images: Index, tmp_path: Path) -> None:
    corners = ((3, 5, 6), (3, 5, 14), (3, 13, 14), (3, 13, 6), (3, 5, 6))
    report(images, tmp_path / "r" / "sr.dcm", [planar(in_patient(images, "POLYGON", *corners))])
    one = only(images, tmp_path / "r")
    assert one.centre == pytest.approx((3, 9, 10), abs=1e-3) and one.size == pytest.approx(
        (3, 8, 8), abs=1e-3
    )
    assert one.shape == "box"


def test_an_ellipsoid_reaches_to_the_ends_of_its_axes(images: Index, tmp_path: Path) -> None:
    ends = ((3, 8, 6), (3, 8, 14), (3, 5, 10), (3, 11, 10), (1, 8, 10), (5, 8, 10))
    region = hd.sr.VolumeSurface(
        "ELLIPSOID", at_mm(images.series[0], *ends), frame_of_reference_uid="1.2.826.0.1.3680043.8.498.8",
        source_series=hd.sr.SourceSeriesForSegmentation(images.series[0].series),
    )  # fmt: skip
    group = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(hd.UID(), "T1"), referenced_volume_surface=region,
        finding_type=hd.sr.CodedConcept("27925004", "SCT", "Nodule"),
    )  # fmt: skip
    report(images, tmp_path / "r" / "sr.dcm", [group])
    one = only(images, tmp_path / "r")
    assert one.centre == pytest.approx((3, 8, 10), abs=1e-3) and one.size == pytest.approx(
        (4, 6, 8), abs=1e-3
    )


def test_a_circle_on_a_slice_lies_in_that_slice(images: Index, tmp_path: Path) -> None:
    from pydicom import dcmread

    drawn_on = dcmread(Path(images.source) / images.series[0].files[5])
    region = hd.sr.ImageRegion(
        "CIRCLE", np.array([[10.5, 8.5], [14.5, 8.5]]),
        hd.sr.SourceImageForRegion(drawn_on.SOPClassUID, drawn_on.SOPInstanceUID),
    )  # fmt: skip
    report(images, tmp_path / "r" / "sr.dcm", [planar(region)])
    one = only(images, tmp_path / "r")
    assert one.centre == (5, 8, 10) and one.size == pytest.approx((3, 8, 8), abs=1e-4)
    assert one.shape == "sphere"


def segmented(images: Index, folder: Path, names: dict[int, str], *, which: int = 0) -> None:
    """A segmentation of a block, and of a piece of other size that two voxels join by a corner."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:4, 3:9, 5:8], mask[5, 12:14, 15:18], mask[6, 13, 18] = 1, max(names), max(names)
    with Source(images.source) as source:
        write_segmentation(mask, names, source, images.series[which], out=folder / "seg.dcm")


def test_segments_of_one_name_are_an_object_each(images: Index, tmp_path: Path) -> None:
    segmented(images, tmp_path, {1: "nodule 1", 2: "nodule 2"})
    marks = read_marks(tmp_path, images)
    first, second = marks.by_series[images.series[0].id]
    assert marks.classes == ("nodule",)
    assert (first.centre, first.size) == ((2, 5.5, 6), (3, 6, 3))
    assert (second.centre, second.size) == ((5.5, 12.5, 16.5), (2, 2, 4))


def test_components_of_a_lone_segment_are_an_object_each(images: Index, tmp_path: Path) -> None:
    segmented(images, tmp_path, {1: "nodule"}, which=1)
    marks = read_marks(tmp_path / "seg.dcm", images)
    assert [m.size for m in marks.by_series[images.series[1].id]] == [(3, 6, 3), (2, 2, 4)]
    assert images.series[0].id not in marks.by_series


def test_frames_without_references_are_placed_by_their_position(images: Index, tmp_path: Path) -> None:
    from pydicom import dcmread

    segmented(images, tmp_path, {1: "nodule"})
    made = dcmread(tmp_path / "seg.dcm")
    for group in made.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence
    made.save_as(tmp_path / "seg.dcm")
    sizes = [(m.centre, m.size) for m in read_marks(tmp_path, images).by_series[images.series[0].id]]
    assert sizes == [((2, 5.5, 6), (3, 6, 3)), ((5.5, 12.5, 16.5), (2, 2, 4))]


def test_a_report_on_segments_names_and_measures_them_once(images: Index, tmp_path: Path) -> None:
    segmented(images, tmp_path, {1: "nodule 1", 2: "nodule 2"})
    with Source(images.source) as source:
        write_measurements(
            [Measured("nodule 2", 20.0, 7.5)], tmp_path / "seg.dcm", source, images.series[0],
            out=tmp_path / "sr.dcm",
        )  # fmt: skip
    one = only(images, tmp_path)
    assert (one.centre, one.size, one.diameter_mm) == ((5.5, 12.5, 16.5), (2, 2, 4), 7.5)
    (tmp_path / "seg.dcm").unlink()
    with pytest.raises(BadInput, match="segmentation that they refer to is not here"):
        read_marks(tmp_path, images)


def structures(images: Index, path: Path, rois: dict[str, list[NDArray[np.float64]]]) -> Path:
    """A structure set of closed planar contours in the patient."""
    series = images.series[0]
    made = plain(RTSTRUCT, 70, Modality="RTSTRUCT", SeriesInstanceUID="1.2.826.0.1.777.70")
    refers = item(
        FrameOfReferenceUID="1.2.826.0.1.3680043.8.498.8",
        RTReferencedStudySequence=[
            item(
                RTReferencedSeriesSequence=[item(SeriesInstanceUID=series.series)],
                ReferencedSOPInstanceUID="1",
            )
        ],
    )
    made.ReferencedFrameOfReferenceSequence = [refers]
    made.StructureSetROISequence = [
        item(ROINumber=n, ROIName=name, ReferencedFrameOfReferenceUID="1.2.826.0.1.3680043.8.498.8")
        for n, name in enumerate(rois, start=1)
    ]
    contours: list[Dataset] = []
    for n, points in enumerate(rois.values(), start=1):
        drawn = [
            item(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=len(p),
                 ContourData=[f"{v:.5f}" for v in p.ravel()])
            for p in points
        ]  # fmt: skip
        contours.append(item(ReferencedROINumber=n, **({"ContourSequence": drawn} if drawn else {})))
    made.ROIContourSequence = contours
    return saved(made, path)


def square(series: Series, k: int) -> NDArray[np.float64]:
    return at_mm(series, (k, 4, 6), (k, 4, 12), (k, 10, 12), (k, 10, 6))


def test_contours_of_a_structure_are_one_box(images: Index, tmp_path: Path) -> None:
    series = images.series[0]
    path = structures(
        images, tmp_path / "rt.dcm",
        {"GTV_1": [square(series, 2), square(series, 3)], "Heart": [square(series, 5)], "empty": []},
    )  # fmt: skip
    one = only(images, path, classes=("GTV",))
    assert one.centre == pytest.approx((2.5, 7, 9), abs=1e-3) and one.size == pytest.approx(
        (2, 6, 6), abs=1e-3
    )
    assert one.diameter_mm == pytest.approx(6 * 0.75 * 2**0.5, abs=1e-3)
    marks = read_marks(path, images)
    assert marks.classes == ("GTV", "Heart") and "1 structure(s) without a contour" in marks.notes[0]
    asked = read_marks(path, images, classes=("GTV",))
    assert "1 object(s) of other names" in " ".join(asked.notes)


def test_results_of_other_images_are_refused(images: Index, tmp_path: Path) -> None:
    from dataclasses import replace

    segmented(images, tmp_path, {1: "nodule"})
    others = replace(images, series=images.series[1:])
    with pytest.raises(BadInput, match=r"1 report\(s\), segmentation\(s\).*none was drawn on one of the 1"):
        read_marks(tmp_path, others)


def test_damaged_results_are_counted(images: Index, tmp_path: Path) -> None:
    segmented(images, tmp_path, {1: "nodule"})
    structures(images, tmp_path / "rt.dcm", {"a": [np.array([1.0, 2.0, 3.0, 4.0])]})  # no points of three
    marks = read_marks(tmp_path, images)
    assert marks.count == 2 and "1 DICOM result(s) could not be read" in " ".join(marks.notes)
