"""Stored pixels become the values they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from hounsfield.core.errors import BadInput
from hounsfield.io import Source, index_of, read_volume

GREY = np.arange(12, dtype=np.uint16).reshape(3, 4) * 300
COLOUR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7


def _data(folder: Path) -> NDArray[Any]:
    (series,) = index_of(folder).series
    with Source(folder) as source:
        return read_volume(source, series).data


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32])
def test_stored_values_and_type_are_kept(tmp_path: Path, write_dicom: Any, kind: type) -> None:
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    stored = np.array([[low, 0, 1], [2, high - 1, high]], kind)
    write_dicom(tmp_path / "a.dcm", stored, Modality="DX")
    data = _data(tmp_path)
    assert data.dtype == kind
    np.testing.assert_array_equal(data[0, 0], stored)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings_give_the_same_pixels(tmp_path: Path, write_dicom: Any, syntax: str) -> None:
    write_dicom(tmp_path / "a.dcm", GREY, syntax=syntax)
    np.testing.assert_array_equal(_data(tmp_path)[0, 0], GREY)


def test_big_endian_pixels_arrive_in_native_order(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path / "a.dcm", GREY.astype(">u2"), syntax=ExplicitVRBigEndian)
    data = _data(tmp_path)
    assert data.dtype.isnative
    np.testing.assert_array_equal(data[0, 0], GREY)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", ImplicitVRLittleEndian])
def test_a_dataset_without_preamble_gives_the_same_pixels(
    tmp_path: Path, write_dicom: Any, syntax: str
) -> None:
    write_dicom(tmp_path / "IM1", GREY, preamble=False, syntax=syntax)
    np.testing.assert_array_equal(_data(tmp_path)[0, 0], GREY)


@pytest.mark.parametrize("pixels", [GREY, COLOUR])
def test_run_length_coding_gives_the_same_pixels(tmp_path: Path, write_dicom: Any, pixels: Any) -> None:
    made = write_dicom(tmp_path / "a.dcm", pixels, Modality="DX")
    made.compress(RLELossless)
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    expected = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    np.testing.assert_array_equal(_data(tmp_path)[:, 0], expected)


def test_monochrome1_is_turned_over_within_the_stored_bits(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(
        tmp_path / "a.dcm",
        GREY,
        Modality="MG",
        PhotometricInterpretation="MONOCHROME1",
        BitsStored=12,
        HighBit=11,
    )
    np.testing.assert_array_equal(_data(tmp_path)[0, 0], 4095 - GREY)


def test_signed_monochrome1_is_turned_over_about_minus_one_half(tmp_path: Path, write_dicom: Any) -> None:
    stored = np.array([[-128, -1, 0, 127]], np.int8)
    write_dicom(tmp_path / "a.dcm", stored, Modality="DX", PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(_data(tmp_path)[0, 0], [[127, 0, -1, -128]])


def test_hounsfield_units_are_not_turned_over(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(
        tmp_path / "a.dcm",
        GREY,
        PhotometricInterpretation="MONOCHROME1",
        RescaleSlope=1,
        RescaleIntercept=-1024,
    )
    np.testing.assert_array_equal(_data(tmp_path)[0, 0], GREY.astype(int) - 1024)


@pytest.mark.parametrize(
    ("slope", "intercept", "kind"),
    [(1, -1024, np.int16), (100, -1024, np.int32), (0.5, 0, np.float32), (1, 0.5, np.float32)],
)
def test_rescale_keeps_whole_numbers_whole(
    tmp_path: Path, write_dicom: Any, slope: float, intercept: float, kind: type
) -> None:
    write_dicom(tmp_path / "a.dcm", GREY, RescaleSlope=slope, RescaleIntercept=intercept)
    data = _data(tmp_path)
    assert data.dtype == kind
    np.testing.assert_allclose(data[0, 0], GREY.astype(float) * slope + intercept)


def test_every_slice_of_a_pet_has_its_own_rescale(tmp_path: Path, write_stack: Any) -> None:
    write_stack(
        tmp_path,
        [(0, 0, 4.0 * n) for n in range(3)],
        Modality="PT",
        RescaleSlope=lambda n: 0.5 * (n + 1),
        RescaleIntercept=0,
    )
    data = _data(tmp_path)
    assert data.dtype == np.float32
    assert data[0, :, 0, 0].tolist() == [0, 1, 3]


def test_slices_of_different_types_meet_in_one_that_holds_both(tmp_path: Path, write_stack: Any) -> None:
    write_stack(
        tmp_path,
        [(0, 0, 4.0 * n) for n in range(3)],
        RescaleSlope=1,
        RescaleIntercept=lambda n: [0, 100_000, 0.5][n],
    )
    data = _data(tmp_path)
    assert data.dtype == np.float32 and data[0, :, 0, 0].tolist() == [0, 100_001, 2.5]


def test_a_slope_of_zero_is_bad_input(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path / "a.dcm", GREY, RescaleSlope=0, RescaleIntercept=0)
    with pytest.raises(BadInput, match="rescale slope"):
        _data(tmp_path)


def test_overlays_in_unused_bits_are_masked(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path / "a.dcm", GREY | np.uint16(0xF000), BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(_data(tmp_path)[0, 0], GREY)


def test_the_sign_of_short_signed_values_is_extended(tmp_path: Path, write_dicom: Any) -> None:
    stored = np.array([[-2048, -1, 0, 2047]], np.int16)
    write_dicom(tmp_path / "a.dcm", stored & np.int16(0x0FFF), BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(_data(tmp_path)[0, 0], stored)


def test_bits_that_are_not_stored_lowest_are_bad_input(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path / "a.dcm", GREY << 4, BitsStored=12, HighBit=15)
    with pytest.raises(BadInput, match="stores 12 bits below bit 15 where bit 11 was expected"):
        _data(tmp_path)


def test_a_modality_lookup_table_is_applied(tmp_path: Path, write_dicom: Any) -> None:
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [12, 0, 16], "US"
    table.LUTData = [65_000 - 1000 * n for n in range(12)]
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    stored = np.arange(12, dtype=np.uint8).reshape(3, 4)
    write_dicom(tmp_path / "a.dcm", stored, Modality="XA", ModalityLUTSequence=Items([table]))
    assert index_of(tmp_path).series[0].bits == 16
    np.testing.assert_array_equal(_data(tmp_path)[0, 0], 65_000 - 1000 * stored.astype(int))


@pytest.mark.parametrize("planar", [0, 1])
def test_colour_by_pixel_and_by_plane_is_the_same(tmp_path: Path, write_dicom: Any, planar: int) -> None:
    made = write_dicom(tmp_path / "a.dcm", COLOUR, Modality="OP")
    if planar:
        made.PlanarConfiguration, made.PixelData = 1, np.moveaxis(COLOUR, -1, 0).tobytes()
        made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(_data(tmp_path)[:, 0], np.moveaxis(COLOUR, -1, 0))


def test_luminance_and_chroma_become_red_green_blue(tmp_path: Path, write_dicom: Any) -> None:
    ybr = np.array([[[76, 85, 255], [150, 44, 21], [29, 255, 107], [255, 128, 128]]], np.uint8)
    write_dicom(tmp_path / "a.dcm", ybr, Modality="US", PhotometricInterpretation="YBR_FULL")
    pure = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]])
    assert np.abs(_data(tmp_path)[:, 0, 0].T.astype(int) - pure).max() <= 2


@pytest.mark.parametrize("big_endian", [False, True])
def test_a_palette_becomes_red_green_blue(tmp_path: Path, write_dicom: Any, big_endian: bool) -> None:
    stored = np.array([[0, 1, 2, 3]], np.uint8)
    tables = {
        c: np.array([n, 1000 * n, 256 * n, 65_535 - n], np.uint16) for n, c in enumerate("RGB", start=1)
    }
    names = {"R": "Red", "G": "Green", "B": "Blue"}
    palette: dict[str, Any] = {}
    for colour, table in tables.items():
        palette[f"{names[colour]}PaletteColorLookupTableDescriptor"] = [4, 0, 16]
        palette[f"{names[colour]}PaletteColorLookupTableData"] = table.astype(
            ">u2" if big_endian else "<u2"
        ).tobytes()
    syntax = ExplicitVRBigEndian if big_endian else "1.2.840.10008.1.2.1"
    write_dicom(
        tmp_path / "a.dcm",
        stored,
        Modality="US",
        PhotometricInterpretation="PALETTE COLOR",
        syntax=syntax,
        **palette,
    )
    (series,) = index_of(tmp_path).series
    assert (series.channels, series.bits) == (3, 16)
    np.testing.assert_array_equal(_data(tmp_path)[:, 0, 0], np.stack([tables[c] for c in "RGB"]))


def test_damaged_compressed_pixels_are_bad_input(tmp_path: Path, write_dicom: Any) -> None:
    made = write_dicom(tmp_path / "a.dcm", COLOUR, Modality="OP")
    made.PixelData = encapsulate([b"\xff\xd8\xff\xe0 not a picture"])
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(BadInput, match="without its frame header"):
        _data(tmp_path)


def test_pixels_cut_since_the_scan_are_bad_input(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path / "a.dcm", GREY, Modality="DX")
    (series,) = index_of(tmp_path).series
    content = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content[:-4])
    with Source(tmp_path) as source, pytest.raises(BadInput, match="holds 20 bytes of pixel data where 24"):
        read_volume(source, series)


def test_a_message_never_holds_the_patient(tmp_path: Path, write_dicom: Any, capfd: Any) -> None:
    write_dicom(tmp_path / "a.dcm", GREY, PatientID="SECRETID", RescaleSlope=0, RescaleIntercept=0)
    with pytest.raises(BadInput) as caught:
        _data(tmp_path)
    shown = str(caught.value) + "".join(capfd.readouterr())
    assert "SECRET" not in shown and "a.dcm" not in shown
