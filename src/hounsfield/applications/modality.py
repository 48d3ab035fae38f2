"""Which images an application takes: those of its modality; files that name none are taken at their word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index
from hounsfield.steps.clinical import Accepts

__all__ = ["accepts_only"]


def accepts_only(
    application: str, expected: str, *, modalities: Collection[str], flat: bool, parts: Collection[str] = ()
) -> Accepts:
    """A check that raises BadInput for images of another modality, body part or number of dimensions.

    `expected` says in words what the application reads. `modalities` are DICOM's; `parts`, where given, are
    words of which Body Part Examined must hold one where it is filled in. Images without a DICOM header
    (photographs, NIfTI) are not refused for what they do not say.

    >>> from hounsfield.core.index import Index, Series
    >>> ankle = Series("a", ("a.dcm",), "dicom", (40, 8, 8), modality="CT", body_part="ANKLE")
    >>> accepts_only("nodule", "chest CT", modalities=("CT",), flat=False, parts=("CHEST", "LUNG"))(
    ...     Index("study", (ankle,), ()))
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: 1 of 1 images are of ANKLE; the application nodule expects chest CT; ...
    """

    def accepts(index: Index) -> None:
        total = len(index.series)
        named = [s.modality for s in index.series if s.modality]
        wrong = Counter(f"modality {m}" for m in named if m not in modalities)
        if not wrong and parts:
            wrong = Counter(
                s.body_part
                for s in index.series
                if s.body_part and not any(word in s.body_part.upper() for word in parts)
            )
        if not wrong:
            shape = "volumes of slices" if flat else "single pictures"
            n = sum(s.is_flat != flat for s in index.series)
            wrong = Counter({shape: n} if n else {})
        if wrong:
            told = ", ".join(name for name, _ in wrong.most_common(3))
            raise BadInput(
                f"{sum(wrong.values())} of {total} images are of {told}; the application {application} "
                f"expects {expected}; give a folder that holds only these, or leave --application out"
            )

    return accepts
