"""An image found among the rows of a header table: its rows, its frames, its place, and its Series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.io.dicom.columns import FLAGS, SCHEMA
from hounsfield.io.dicom.datasets import read_header
from hounsfield.io.dicom.elements import Elements, HeaderFault, age_in_years, faults
from hounsfield.io.dicom.headers import Headers
from hounsfield.io.source import Source
from hounsfield.io.weighting import weighting_of_times, weighting_of_words

__all__ = ["Placed", "digest_of", "series_of"]

_NAMES = """file patient_id issuer_of_patient_id study_instance_uid series_instance_uid sop_instance_uid
    modality body_part_examined laterality image_laterality view_position patient_sex patient_age
    patient_birth_date study_date institution_name manufacturer manufacturer_model_name
    photometric_interpretation samples_per_pixel bits_stored bits_allocated flags series_description
    contrast_bolus_agent repetition_time echo_time inversion_time""".split()  # noqa: SIM905
_AT_ONCE = 8192
_WORTH_A_DIGEST = 8  # files: of fewer the place is soon found again
_OF_THE_FILE = {"file", "size", "mtime_ns", "pixel_offset"}


@dataclass(frozen=True, slots=True)
class Placed:
    """`rows` of the table in order along the normal, or one row whose `frames` are (() for all).

    `affine` maps a voxel (i, j, k) to LPS mm; None where no spacing is known. `spacing_mm` is (k, j, i),
    () where the step from frame to frame is no length. `tiles` is how many slices a mosaic holds.
    """

    rows: tuple[int, ...]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, ...] = ()
    affine: NDArray[np.float64] | None = None
    frames: tuple[int, ...] = ()
    volume: str = ""
    stack: str = ""
    laterality: str = ""
    tiles: int = 0


def series_of(source: Source, headers: Headers, found: Sequence[Placed]) -> list[Series]:
    """The Series of every image, with what the header of its first file tells."""
    images: list[Series] = []
    lookups = headers.flag("palette") | headers.flag("modality_lut")
    for start in range(0, len(found), _AT_ONCE):
        part = found[start : start + _AT_ONCE]
        records = headers.records([p.rows[0] for p in part], _NAMES)
        for placed, record in zip(part, records, strict=True):
            bits = _bits_of_lookup(source, record) if lookups[placed.rows[0]] else 0
            files = [record["file"]] if len(placed.rows) == 1 else headers.members(placed.rows)
            image = _series(placed, record, tuple(files), bits)
            images.append(_known_again(image, headers, placed) if len(files) >= _WORTH_A_DIGEST else image)
    return images


def digest_of(rows: pa.Table) -> str:
    """A hash of all that headers say, but for the files' names, sizes, times and where their pixels begin."""
    names = [name for name in SCHEMA.names if name not in _OF_THE_FILE]
    written = pa.BufferOutputStream()
    for batch in rows.select(names).combine_chunks().to_batches():
        written.write(batch.serialize())
    return blake2b(written.getvalue(), digest_size=20).hexdigest()


def _known_again(image: Series, headers: Headers, placed: Placed) -> Series:
    """The image with its affine and its headers' digest, by which a reading knows that both still hold."""
    if placed.affine is None or placed.frames or placed.tiles:
        return image
    rows = headers.table.take(pa.array(placed.rows))
    return replace(image, affine=tuple(placed.affine.ravel().tolist()), digest=digest_of(rows))


def _series(placed: Placed, record: dict[str, Any], files: tuple[str, ...], bits: int) -> Series:
    def text(name: str) -> str:
        return " ".join(str(record[name] or "").split())

    manufacturer, model = text("manufacturer"), text("manufacturer_model_name")
    patient, issuer = text("patient_id"), text("issuer_of_patient_id")
    palette = text("photometric_interpretation") == "PALETTE COLOR"
    side = (placed.laterality or text("image_laterality") or text("laterality")).upper()
    samples, allocated = record["samples_per_pixel"], record["bits_allocated"]
    return Series(
        id=files[0],
        files=files,
        reader="dicom",
        shape=placed.shape,
        channels=3 if palette else 1 if samples is None else samples,
        bits=bits or record["bits_stored"] or (8 if allocated is None else allocated),
        spacing_mm=tuple(round(s, 6) for s in placed.spacing_mm),
        patient=f"{patient}^^^{issuer}" if patient and issuer else patient,
        study=text("study_instance_uid"),
        series=text("series_instance_uid"),
        sop=text("sop_instance_uid"),
        modality=text("modality"),
        body_part=text("body_part_examined").upper(),
        laterality=side if side in ("L", "R", "B", "U") else "",
        view=text("view_position").upper(),
        sex=s if (s := text("patient_sex").upper()) in ("F", "M", "O") else "",
        age_years=age_in_years(text("patient_age"), text("patient_birth_date"), text("study_date")),
        site=text("institution_name"),
        scanner=model if model.casefold().startswith(manufacturer.casefold()) else f"{manufacturer} {model}",
        study_date=text("study_date"),
        photometric=text("photometric_interpretation"),
        frames=placed.frames,
        volume=placed.volume,
        stack=placed.stack,
        compressed=bool((record["flags"] or 0) & FLAGS["encapsulated"]),
        weighting=_weighting(record) if text("modality") == "MR" else "",
        contrast_agent=_names_an_agent(text("contrast_bolus_agent")),
    )


def _weighting(record: dict[str, Any]) -> str:
    def number(name: str) -> float:
        return float(record[name] or 0.0)

    return weighting_of_words(str(record["series_description"] or "")) or weighting_of_times(
        repetition_ms=number("repetition_time"), echo_ms=number("echo_time"),
        inversion_ms=number("inversion_time"),
    )  # fmt: skip


def _names_an_agent(told: str) -> bool:
    """False where the element is absent, empty, or says that there was none."""
    return told.casefold() not in ("", "no", "none", "n", "0", "without", "native")


def _bits_of_lookup(source: Source, record: dict[str, Any]) -> int:
    """Bits of the values that a palette or a modality LUT gives (C.7.6.3.1.5, C.11.1.1.1); 0 if unknown."""
    palette = record["photometric_interpretation"] == "PALETTE COLOR"
    keyword = "RedPaletteColorLookupTableDescriptor" if palette else "ModalityLUTSequence"
    try:
        found: Elements | None = read_header(source, record["file"], keywords=(keyword,))
        if palette and found:
            return int((found.numbers(keyword, 3) or (0, 0, 0))[2])
        found = found.group(keyword) if found else None
        return int((found.numbers("LUTDescriptor", 3) or (0, 0, 0))[2]) if found else 0
    except (BadInput, HeaderFault):
        return 0
    except faults():
        return 0
