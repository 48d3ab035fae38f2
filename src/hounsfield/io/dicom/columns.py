"""The columns of the header table: what a scan keeps of every DICOM object, one row a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

__all__ = [
    "COLUMNS",
    "FILE_COLUMNS",
    "FLAGS",
    "PIXEL_COLUMNS",
    "SCHEMA",
    "Column",
]

Kind = Literal["text", "whole", "number", "numbers"]


@dataclass(frozen=True, slots=True)
class Column:
    """One element of the header: its name here, its tag, and what its value becomes.

    "text" is the value as written without padding, several values parted by a backslash; "whole" a
    64-bit integer; "number" a double; "numbers" a list of `count` doubles (0: as many as there are).
    An absent or empty element is null.
    """

    name: str
    tag: int
    kind: Kind
    count: int = 1

    @property
    def type(self) -> pa.DataType:
        if self.kind == "text":
            return pa.string()
        if self.kind == "whole":
            return pa.int64()
        return pa.float64() if self.kind == "number" else pa.list_(pa.float64())


COLUMNS = (
    Column("transfer_syntax_uid", 0x00020010, "text"),
    Column("specific_character_set", 0x00080005, "text"),
    Column("image_type", 0x00080008, "text"),
    Column("sop_class_uid", 0x00080016, "text"),
    Column("sop_instance_uid", 0x00080018, "text"),
    Column("study_date", 0x00080020, "text"),
    Column("acquisition_date", 0x00080022, "text"),
    Column("acquisition_time", 0x00080032, "text"),
    Column("modality", 0x00080060, "text"),
    Column("manufacturer", 0x00080070, "text"),
    Column("institution_name", 0x00080080, "text"),
    Column("series_description", 0x0008103E, "text"),
    Column("manufacturer_model_name", 0x00081090, "text"),
    Column("patient_id", 0x00100020, "text"),
    Column("issuer_of_patient_id", 0x00100021, "text"),
    Column("patient_birth_date", 0x00100030, "text"),
    Column("patient_sex", 0x00100040, "text"),
    Column("patient_age", 0x00101010, "text"),
    Column("contrast_bolus_agent", 0x00180010, "text"),
    Column("body_part_examined", 0x00180015, "text"),
    Column("slice_thickness", 0x00180050, "number"),
    Column("repetition_time", 0x00180080, "number"),
    Column("echo_time", 0x00180081, "number"),
    Column("inversion_time", 0x00180082, "number"),
    Column("echo_numbers", 0x00180086, "text"),
    Column("spacing_between_slices", 0x00180088, "number"),
    Column("trigger_time", 0x00181060, "number"),
    Column("gantry_detector_tilt", 0x00181120, "number"),
    Column("imager_pixel_spacing", 0x00181164, "numbers", 2),
    Column("nominal_scanned_pixel_spacing", 0x00182010, "numbers", 2),
    Column("view_position", 0x00185101, "text"),
    Column("diffusion_b_value", 0x00189087, "number"),
    Column("study_instance_uid", 0x0020000D, "text"),
    Column("series_instance_uid", 0x0020000E, "text"),
    Column("series_number", 0x00200011, "whole"),
    Column("acquisition_number", 0x00200012, "whole"),
    Column("instance_number", 0x00200013, "whole"),
    Column("image_position_patient", 0x00200032, "numbers", 3),
    Column("image_orientation_patient", 0x00200037, "numbers", 6),
    Column("frame_of_reference_uid", 0x00200052, "text"),
    Column("laterality", 0x00200060, "text"),
    Column("image_laterality", 0x00200062, "text"),
    Column("temporal_position_identifier", 0x00200100, "whole"),
    Column("samples_per_pixel", 0x00280002, "whole"),
    Column("photometric_interpretation", 0x00280004, "text"),
    Column("planar_configuration", 0x00280006, "whole"),
    Column("number_of_frames", 0x00280008, "whole"),
    Column("rows", 0x00280010, "whole"),
    Column("columns", 0x00280011, "whole"),
    Column("pixel_spacing", 0x00280030, "numbers", 2),
    Column("bits_allocated", 0x00280100, "whole"),
    Column("bits_stored", 0x00280101, "whole"),
    Column("high_bit", 0x00280102, "whole"),
    Column("pixel_representation", 0x00280103, "whole"),
    Column("window_center", 0x00281050, "numbers", 0),
    Column("window_width", 0x00281051, "numbers", 0),
    Column("rescale_intercept", 0x00281052, "number"),
    Column("rescale_slope", 0x00281053, "number"),
    Column("rescale_type", 0x00281054, "text"),
    Column("voi_lut_function", 0x00281056, "text"),
)

# What the header holds besides values; bits of the column "flags".
FLAGS = {
    "functional_groups": 1,  # (5200,9229) or (5200,9230): enhanced multi-frame
    "modality_lut": 2,  # (0028,3000)
    "voi_lut": 4,  # (0028,3010)
    "palette": 8,  # (0028,1101)
    "csa_header": 16,  # (0029,1010) or (0029,1020): Siemens, where a mosaic says how many slices it holds
    "encapsulated": 32,  # pixel data of undefined length: fragments (PS3.5 A.4)
    "big_endian": 64,  # the dataset, and so native pixels, are big endian
    "deflated": 128,  # offsets are those of the inflated dataset, and cannot be used to read the file
}

# Where the pixels lie: `pixel_tag` is 0x7FE00010, 0x7FE00008 or 0x7FE00009 (null: none); `pixel_offset`
# is where the value begins in the file and `pixel_length` its declared length in bytes, -1 if undefined.
PIXEL_COLUMNS = (
    pa.field("pixel_tag", pa.int64()),
    pa.field("pixel_offset", pa.int64()),
    pa.field("pixel_length", pa.int64()),
    pa.field("flags", pa.int64()),
)

# The file: its member name, size and modification time (0 inside a zip that stores none), which reader
# took it, and why it was refused ("" if it was not).
FILE_COLUMNS = (
    pa.field("file", pa.string()),
    pa.field("size", pa.int64()),
    pa.field("mtime_ns", pa.int64()),
    pa.field("reason", pa.string()),
)

SCHEMA = pa.schema([*FILE_COLUMNS, *(pa.field(c.name, c.type) for c in COLUMNS), *PIXEL_COLUMNS])
