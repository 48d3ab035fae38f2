"""A header for people: grouped, complete, and silent about who the patient is unless asked."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_objects import SECRET, SECRETS, item, plain, report
from hounsfield.io.dicom.confidential import legible
from hounsfield.io.dicom.describe import Description, describe, kind_of
from hounsfield.io.dicom.structured import Node, content_tree, sequence_tree, tree_of


def text_of(found: Description) -> str:
    return repr(found.groups)


def value(found: Description, keyword: str) -> Any:
    return next(line.value for lines in found.groups.values() for line in lines if line.keyword == keyword)


def all_text(nodes: tuple[Node, ...]) -> str:
    return repr(nodes)


def test_nothing_that_identifies_is_shown() -> None:
    found = describe(plain())
    assert not [s for s in SECRETS if s in text_of(found)]
    assert {"Patient's Name", "Patient ID", "Patient's Birth Date", "Study Date"} <= set(found.hidden)
    assert {"Institution Name", "Study Description", "Image Comments", "Accession Number"} <= set(
        found.hidden
    )


def test_sex_and_age_stay_and_uids_are_shortened() -> None:
    found = describe(plain())
    assert [line.value for line in found.groups["Patient"]] == ["F", "061Y"]
    assert value(found, "StudyInstanceUID") == "…4242"
    assert value(found, "SOPClassUID") == "CT Image Storage"


def test_identity_is_shown_when_asked_for() -> None:
    found = describe(plain(), identity=True)
    assert found.hidden == () and value(found, "PatientName") == f"{SECRET}^ANNA"
    assert value(found, "StudyInstanceUID") == "1.2.826.0.1.777.424242"


@pytest.mark.parametrize(
    "keyword, wrong",
    [
        ("BodyPartExamined", f"chest of {SECRET}"),
        ("PatientAge", SECRET),
        ("Modality", f"CT {SECRET} 1943 xx"),
    ],
)
def test_a_code_that_holds_free_text_is_not_repeated(keyword: str, wrong: str) -> None:
    made = plain()
    setattr(made, keyword, wrong)
    assert SECRET not in text_of(describe(made))


def test_a_name_in_a_number_is_not_repeated() -> None:
    made = Dataset()
    made.add_new(0x00180060, "LO", SECRET)  # KVP, whose type should be DS
    made.add_new(0x00101030, "DS", "61.5")
    found = describe(made)
    assert SECRET not in text_of(found) and "Patient's Weight" in found.hidden


def test_private_elements_are_only_counted() -> None:
    made = plain()
    made.add_new(0x00091001, "LO", SECRET)
    made.add_new(0x00090010, "LO", "VENDOR")
    found = describe(made)
    assert found.private == 2 and "VENDOR" not in text_of(found)


def test_elements_stand_in_their_groups() -> None:
    made = plain(KVP=120, PixelSpacing=[0.5, 0.5], WindowCenter=40, Rows=4, Manufacturer="ACME")
    where = {line.keyword: group for group, lines in describe(made).groups.items() for line in lines}
    asked = ("KVP", "PixelSpacing", "WindowCenter", "Rows", "Manufacturer", "StudyInstanceUID", "SOPClassUID")
    expected = ["Acquisition", "Geometry", "Display", "Pixels", "Series", "Study", "Image"]
    assert [where[k] for k in asked] == expected


def test_what_the_frames_share_is_told() -> None:
    made = plain()
    measures = item(PixelSpacing=[0.5, 0.25], SliceThickness=3)
    made.SharedFunctionalGroupsSequence = Sequence([item(PixelMeasuresSequence=[measures])])
    made.PerFrameFunctionalGroupsSequence = Sequence(
        [item(PlanePositionSequence=[item(ImagePositionPatient=[1, 2, 3])]) for _ in range(2)]
    )
    lines = {line.keyword: line for line in describe(made).groups["Geometry"]}
    assert lines["PixelSpacing"].value == (0.5, 0.25) and lines["PixelSpacing"].where == "all frames"
    assert (
        lines["ImagePositionPatient"].value == (1, 2, 3) and lines["ImagePositionPatient"].where == "frame 1"
    )


def test_long_lists_are_cut_and_bytes_counted() -> None:
    made = plain(LossyImageCompressionRatio=[float(n) for n in range(40)], PixelData=b"\0" * 2048)
    made["PixelData"].VR = "OW"
    found = describe(made)
    assert value(found, "LossyImageCompressionRatio")[-1] == "… 40 values"
    assert value(found, "PixelData") == "2 048 bytes"


def test_text_of_a_file_cannot_steer_the_terminal() -> None:
    made = plain(Manufacturer="ACME\x1b]0;owned\x07")
    assert "\x1b" not in value(describe(made), "Manufacturer") and legible("a\x9bb\x00") == "ab"


def test_a_new_kind_of_object_has_a_name_and_an_unknown_one_too() -> None:
    assert kind_of(plain("1.2.840.10008.5.1.4.1.1.66.7")) == "Label Map Segmentation"
    assert kind_of(plain("1.2.3.4")) == kind_of(Dataset()) == "DICOM object"


def test_a_report_is_a_tree_of_names_and_values() -> None:
    tree = content_tree(report())
    group = tree.below[-1]
    assert tree.name == "Imaging Measurement Report" and group.name == "Measurement Group"
    assert [(n.name, n.value) for n in group.below] == [
        ("Finding", "Nodule"),
        ("Diameter", "12.5 mm"),
        ("Volume", "no value"),
        ("Region", "POLYLINE, 3 points"),
    ]


def test_a_report_hides_who_and_when_and_free_text() -> None:
    tree = tree_of(report())
    assert not [s for s in SECRETS if s in all_text(tree)]
    told = {n.name: n.value for n in tree[0].below if n.hidden}
    assert told == {
        "Observer": "(hidden: name of a person)",
        "Comment": "(hidden: text, 19 characters)",
        "Study Date": "(hidden: date)",
        "Tracking": "(hidden: UID …4242)",
    }
    assert SECRET in all_text(tree_of(report(), identity=True))


def test_sequences_of_other_objects_are_a_tree_under_the_same_rule() -> None:
    roi = item(ROINumber=1, ROIName=f"tumour of {SECRET}", ROIGenerationAlgorithm="MANUAL")
    made = plain("1.2.840.10008.5.1.4.1.1.481.3", Modality="RTSTRUCT")
    made.StructureSetROISequence = Sequence([roi, roi])
    made.ReferencedPatientSequence = Sequence([item(ReferencedSOPInstanceUID="1.2.826.0.1.777.424242")])
    (node,) = sequence_tree(made)
    assert node.value == "2 items" and SECRET not in all_text((node,))
    assert ("ROI Number", "1") in [(n.name, n.value) for n in node.below[0].below]


def test_many_references_become_one_line() -> None:
    made = plain("1.2.840.10008.5.1.4.1.1.67", Modality="RWV")
    one = {"ReferencedSOPClassUID": "1.2.840.10008.5.1.4.1.1.128"}
    made.ReferencedImageSequence = Sequence(
        [item(**one, ReferencedSOPInstanceUID=f"1.2.{n}") for n in range(50)]
    )
    (node,) = sequence_tree(made)
    assert node.value == "50 × Positron Emission Tomography Image Storage" and not node.below


def test_a_tree_that_never_ends_is_cut() -> None:
    deepest = item(ValueType="CONTAINER")
    for _ in range(100):
        deepest = item(ValueType="CONTAINER", ContentSequence=[deepest])
    depth, node = 0, content_tree(deepest)
    while node.below:
        depth, node = depth + 1, node.below[0]
    assert depth == 24
