"""What an MR series is weighted by, and whether a contrast agent was given, as its header tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dicom_objects import ct_stack
from hounsfield.io import index_of

PLAIN: dict[str, Any] = {"Modality": "MR"}


@pytest.mark.parametrize(
    ("elements", "weighting"),
    [
        ({"SeriesDescription": "Ax T2 FLAIR", "RepetitionTime": 600, "EchoTime": 5}, "FLAIR"),
        ({"SeriesDescription": "t1_mprage_sag"}, "T1"),
        ({"RepetitionTime": 2300, "EchoTime": 2.98, "InversionTime": 900}, "T1"),
        ({"RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500}, "FLAIR"),
        ({"RepetitionTime": 4000, "EchoTime": 95}, "T2"),
        ({"RepetitionTime": 3000, "EchoTime": 14}, "PD"),
        ({}, ""),
        ({"Modality": "CT", "SeriesDescription": "T1 vertebra"}, ""),
    ],
)
def test_a_series_is_weighted_as_its_description_or_its_times_say(
    tmp_path: Path, elements: dict[str, Any], weighting: str
) -> None:
    (series,) = index_of(ct_stack(tmp_path, [0.0, 5.0, 10.0], **(PLAIN | elements))).series
    assert series.weighting == weighting


@pytest.mark.parametrize(
    ("told", "given"), [("Gadobutrol", True), ("", False), ("NONE", False), (None, False)]
)
def test_a_contrast_agent_is_known_by_its_name(tmp_path: Path, told: str | None, given: bool) -> None:
    elements = {} if told is None else {"ContrastBolusAgent": told}
    (series,) = index_of(ct_stack(tmp_path, [0.0, 5.0, 10.0], **PLAIN, **elements)).series
    assert series.contrast_agent is given
