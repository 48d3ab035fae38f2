"""Images that are learned from together are of one kind: pictures or volumes, with as many channels."""

from __future__ import annotations

from collections.abc import Sequence

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series

__all__ = ["require_alike"]


def require_alike(cases: Sequence[Sequence[Series]]) -> None:
    """Raise BadInput where cases, each with its images, mix pictures and volumes, or grey and colours.

    >>> of = lambda depth: Series(id=str(depth), files=("a",), reader="nifti", shape=(depth, 8, 8))
    >>> require_alike([[of(1)], [of(5)], [of(9)]])
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: 1 of 3 images are 2D and the others volumes; expected one kind; bring \
them separately
    """
    flat = [images[0].is_flat for images in cases]
    if any(flat) and not all(flat):
        raise BadInput(
            f"{sum(flat)} of {len(flat)} images are 2D and the others volumes; expected one kind; bring them "
            "separately"
        )
    counts = sorted({sum(series.channels for series in images) for images in cases})
    if len(counts) > 1:
        raise BadInput(
            f"the images have {' and '.join(map(str, counts))} channels; expected as many in each; bring "
            "grey and colour pictures separately"
        )
