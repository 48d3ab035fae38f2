"""Images find their masks in the layouts that the field's data sets come in."""

from __future__ import annotations

import pytest

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.steps.regions.names import named
from hounsfield.steps.regions.pairing import Pair, Pairing, pairing_of


def _paired(*files: str, reader: str = "nifti", **asked: object) -> Pairing:
    series = tuple(Series(id=f, files=(f,), reader=reader, shape=(1, 2, 2)) for f in files)
    return pairing_of(Index("d", series), **asked)  # type: ignore[arg-type]


def _told(pair: Pair) -> tuple[list[str], list[tuple[str, str]]]:
    return [s.id for s in pair.images], [(name, s.id) for name, s in pair.masks]


def test_decathlon() -> None:
    found = _paired(
        "t/imagesTr/h_1.nii.gz", "t/imagesTr/h_12.nii.gz", "t/labelsTr/h_1.nii.gz", "t/labelsTr/h_12.nii.gz"
    )
    assert found.channels == ("image",) and found.notes == ()
    assert [_told(p) for p in found.pairs] == [
        (["t/imagesTr/h_1.nii.gz"], [("", "t/labelsTr/h_1.nii.gz")]),
        (["t/imagesTr/h_12.nii.gz"], [("", "t/labelsTr/h_12.nii.gz")]),
    ]


def test_decathlons_test_images_have_no_mask() -> None:
    found = _paired("t/imagesTr/h_1.nii.gz", "t/labelsTr/h_1.nii.gz", "t/imagesTs/h_2.nii.gz")
    assert [len(p.masks) for p in found.pairs] == [1, 0]


def test_nnunets_channels_by_number_and_by_name() -> None:
    files = [f"imagesTr/case_{n:03}_000{c}.nii.gz" for n in (1, 2) for c in (0, 1)]
    files += [f"labelsTr/case_{n:03}.nii.gz" for n in (1, 2)]
    found = _paired(*files)
    assert found.channels == ("0000", "0001")
    assert _told(found.pairs[1]) == (
        ["imagesTr/case_002_0000.nii.gz", "imagesTr/case_002_0001.nii.gz"], [("", "labelsTr/case_002.nii.gz")]
    )  # fmt: skip
    told = _paired(*files, channel_names=("T2", "ADC"))
    assert told.channels == ("T2", "ADC") and told.notes == ("channels: T2, ADC",)
    chosen = _paired(*files, channel_names=("T2", "ADC"), channels=("adc",))
    assert chosen.channels == ("ADC",) and _told(chosen.pairs[0])[0] == ["imagesTr/case_001_0001.nii.gz"]


def test_nnunets_one_channel() -> None:
    found = _paired(
        "imagesTr/a_0000.nii.gz", "imagesTr/b_0000.nii.gz", "labelsTr/a.nii.gz", "labelsTr/b.nii.gz"
    )
    assert [_told(p)[1] for p in found.pairs] == [[("", "labelsTr/a.nii.gz")], [("", "labelsTr/b.nii.gz")]]


def test_drives_two_masks_are_candidates() -> None:
    found = _paired(
        *[f"training/images/{n}_training.tif" for n in (21, 22)],
        *[f"training/1st_manual/{n}_manual1.gif" for n in (21, 22)],
        *[f"training/mask/{n}_training_mask.gif" for n in (21, 22)],
    )
    assert [[name for name, _ in p.candidates] for p in found.pairs] == [["1st_manual", "mask"]] * 2
    assert not any(p.masks for p in found.pairs)


def test_a_second_readers_mask_is_left_out_and_said() -> None:
    found = _paired("images/1.tif", "1st_manual/1_manual1.gif", "2nd_manual/1_manual2.gif")
    assert _told(found.pairs[0])[1] == [("", "1st_manual/1_manual1.gif")]
    assert any("second reader" in n for n in found.notes)


def test_chase_names_the_observer_in_the_file() -> None:
    found = _paired(
        "Image_01L.jpg", "Image_01L_1stHO.png", "Image_01L_2ndHO.png", "Image_02L.jpg", "Image_02L_1stHO.png"
    )
    assert [_told(p)[1] for p in found.pairs] == [
        [("", "Image_01L_1stHO.png")],
        [("", "Image_02L_1stHO.png")],
    ]


BRATS = [
    f"BraTS_{n}/BraTS_{n}_{what}.nii.gz"
    for n in ("001", "002", "003")
    for what in ("flair", "t1", "t1ce", "seg")
]


def test_brats_folders() -> None:
    found = _paired(*BRATS)
    assert found.channels == ("flair", "t1", "t1ce")
    images, masks = _told(found.pairs[2])
    assert images == [f"BraTS_003/BraTS_003_{c}.nii.gz" for c in found.channels]
    assert masks == [("", "BraTS_003/BraTS_003_seg.nii.gz")]
    assert len({p.patient for p in found.pairs}) == 3


def test_channels_are_chosen_and_ordered() -> None:
    found = _paired(*BRATS, channels=("T1ce", "FLAIR"))
    assert found.channels == ("t1ce", "flair")
    assert _told(found.pairs[0])[0] == ["BraTS_001/BraTS_001_t1ce.nii.gz", "BraTS_001/BraTS_001_flair.nii.gz"]
    with pytest.raises(BadInput, match=r'--channels names "t1c", which is not here; .*t1ce'):
        _paired(*BRATS, channels=("t1c",))


def test_a_case_that_lacks_a_channel_is_refused_unless_that_channel_is_not_asked_for() -> None:
    lacking = [f for f in BRATS if f != "BraTS_002/BraTS_002_t1.nii.gz"]
    with pytest.raises(BadInput, match=r"1 of 3 cases have no t1; .*\(flair, t1, t1ce\).*--channels"):
        _paired(*lacking)
    found = _paired(*lacking, channels=("flair", "t1ce"))
    assert found.channels == ("flair", "t1ce") and len(found.pairs) == 3


def test_masks_drawn_on_each_channel() -> None:
    files = [
        f"STS_{n}/{c}_{w}.nii.gz"
        for n in ("003", "008")
        for c in ("CT", "MR_T1", "PET")
        for w in ("image", "mask")
    ]
    found = _paired(*files, channels=("PET", "CT"))
    assert found.channels == ("pet", "ct")
    assert _told(found.pairs[0]) == (
        ["STS_003/PET_image.nii.gz", "STS_003/CT_image.nii.gz"], [("", "STS_003/PET_mask.nii.gz")]
    )  # fmt: skip
    assert any("masks drawn on pet are learned from" in n for n in found.notes)


def test_totalsegmentator_has_a_file_a_structure() -> None:
    found = _paired(
        *[f"s{n}/ct.nii.gz" for n in (1, 2)],
        *[f"s{n}/segmentations/{o}.nii.gz" for n in (1, 2) for o in ("liver", "kidney_left", "kidney_right")],
    )
    assert found.channels == ("image",)
    assert sorted(name for name, _ in found.pairs[0].masks) == ["kidney_left", "kidney_right", "liver"]
    assert found.pairs[0].images[0].id == "s1/ct.nii.gz" and not found.pairs[0].candidates


def test_masks_named_by_the_series_that_they_were_drawn_on() -> None:
    def stack(uid: str) -> Series:
        return Series(id=uid, files=(f"case/{uid[-1]}/0.dcm",), reader="dicom", shape=(4, 2, 2), series=uid)

    series = [stack("1.2.826.0.1.3680043.8.498.1"), stack("1.2.826.0.1.3680043.8.498.2")]
    masks = [
        Series(id=f"m{s.series}", files=(f"masks/{s.series}.nii.gz",), reader="nifti", shape=(4, 2, 2))
        for s in series
    ]
    found = pairing_of(Index("d", (*series, *masks)))
    assert {p.images[0].series: p.masks[0][1].id for p in found.pairs} == {
        s.series: f"m{s.series}" for s in series
    }


def test_a_word_in_the_name() -> None:
    found = _paired(
        "a/07.png", "a/07_mask.png", "a/08.png", "a/08_segmentation.png", "a/09-label.png", "a/09.png"
    )
    assert [_told(p)[1][0][1] for p in found.pairs] == [
        "a/07_mask.png",
        "a/08_segmentation.png",
        "a/09-label.png",
    ]


def test_the_folder_of_the_masks_can_be_named() -> None:
    files = ("d/scans/1.nii.gz", "d/scans/2.nii.gz", "d/tumour/1.nii.gz", "d/tumour/2.nii.gz")
    found = _paired(*files, masks="tumour")
    assert [_told(p)[1] for p in found.pairs] == [[("", "d/tumour/1.nii.gz")], [("", "d/tumour/2.nii.gz")]]
    with pytest.raises(BadInput, match='--masks "tumor" fits no file'):
        _paired(*files, masks="tumor")


def test_parts_and_folders_that_all_share_say_nothing() -> None:
    found = _paired(
        "set/train/images/1.png", "set/train/masks/1.png", "set/test/images/2.png", "set/test/masks/2.png"
    )
    assert [p.key for p in found.pairs] == [("1",), ("2",)] and all(p.masks for p in found.pairs)


def test_the_same_name_in_two_folders_is_two_cases() -> None:
    found = _paired(
        *[f"{site}/{w}/{n}.png" for site in ("a", "b") for w in ("images", "masks") for n in (1, 2)]
    )
    assert [_told(p) for p in found.pairs] == [
        ([f"{site}/images/{n}.png"], [("", f"{site}/masks/{n}.png")]) for site in ("a", "b") for n in (1, 2)
    ]


def test_a_mask_of_no_image_is_counted() -> None:
    found = _paired("images/1.png", "masks/1.png", "masks/77.png")
    assert "1 mask(s) fit no image and were left out" in found.notes


def test_nothing_but_masks_and_masks_of_other_names_are_refused() -> None:
    with pytest.raises(BadInput, match="named like a mask"):
        _paired("masks/1.png", "labels/2.png")
    with pytest.raises(BadInput, match="no mask is named like an image"):
        _paired("images/a.png", "images/b.png", "masks/c.png", "masks/d.png")


def test_words_that_only_look_like_a_mask_are_images() -> None:
    series = [
        Series(id=f, files=(f,), reader="raster", shape=(1, 2, 2))
        for f in ("x/masked_ball.png", "y/segmentum.png")
    ]
    assert [n.is_mask for n in named(series)] == [False, False]


def test_channels_of_one_folder_are_told_apart_by_the_words_that_are_asked_for() -> None:
    files = [f"images/{p}_{c}.nii.gz" for p in ("p1", "p2") for c in ("T1", "T1_ce")] + [
        "masks/p1.nii.gz",
        "masks/p2.nii.gz",
    ]
    found = _paired(*files, channels=("t1 ce", "T1"))
    assert [_told(p) for p in found.pairs] == [
        ([f"images/{p}_T1_ce.nii.gz", f"images/{p}_T1.nii.gz"], [("", f"masks/{p}.nii.gz")])
        for p in ("p1", "p2")
    ]


def test_one_patients_folder_alone_holds_the_channels_of_a_model() -> None:
    """As when a model of several channels predicts one patient."""
    found = _paired(*[f for f in BRATS if "002" in f], channels=("flair", "t1", "t1ce"))
    ((images, masks),) = (_told(p) for p in found.pairs)
    assert images == [f"BraTS_002/BraTS_002_{c}.nii.gz" for c in ("flair", "t1", "t1ce")]
    assert masks == [("", "BraTS_002/BraTS_002_seg.nii.gz")]


def test_one_case_of_totalsegmentator() -> None:
    found = _paired("s1/ct.nii.gz", "s1/segmentations/liver.nii.gz", "s1/segmentations/spleen.nii.gz")
    assert [name for name, _ in found.pairs[0].masks] == ["liver", "spleen"]


@pytest.mark.parametrize(
    ("files", "patients"),
    [
        ([f"P{p}/images/{n}.png" for p in range(4) for n in range(3)], 4),
        ([f"P{p}/visit{v}/images/a{p}{v}.png" for p in range(6) for v in (1, 2)], 6),  # visits of one patient
        ([f"site{s}/images/{s}{n}.png" for s in "ab" for n in range(20)], 0),  # two sites, not two patients
        ([f"site{s}/P{s}{p}/images/{n}.png" for s in "ab" for p in range(6) for n in range(3)], 12),
        ([f"images/{n}.png" for n in range(9)], 0),
    ],
)
def test_folders_are_patients_where_there_are_enough_of_them(files: list[str], patients: int) -> None:
    found = _paired(*files, *[f.replace("images", "masks") for f in files])
    assert len(found.pairs) == len(files) and all(p.masks for p in found.pairs)
    assert len({p.patient for p in found.pairs if p.patient}) == patients
