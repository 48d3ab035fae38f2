"""The images of an index as DICOM objects refer to them: by series, by instance, by frame of reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hounsfield.core.index import Index, Series
from hounsfield.steps.detection.drawn import Grids

__all__ = ["Pictured", "Slice", "plain_class"]


@dataclass(frozen=True, slots=True)
class Slice:
    """Where one object with pixels lies: in which image, and as which of its slices."""

    series: Series
    k: int


class Pictured:
    """The images of an index as DICOM objects refer to them: by series UID, by instance and frame."""

    def __init__(self, index: Index, grids: Grids) -> None:
        self.grids = grids
        self._by_uid: dict[str, list[Series]] = {}
        for series in index.series:
            if series.reader == "dicom" and series.series:
                self._by_uid.setdefault(series.series, []).append(series)
        self._slices: dict[str, dict[tuple[str, int], Slice]] = {}
        self._frames_of_reference: dict[str, str] = {}

    def of(self, series_uids: Sequence[str]) -> list[Series]:
        """The images of these series, each once."""
        found = {s.id: s for uid in series_uids for s in self._by_uid.get(uid, ())}
        return list(found.values())

    def slice_of(self, images: Sequence[Series], instance: str, frame: int = 0) -> Slice | None:
        """The slice that an instance (and its frame from 1; 0 for all) is, among these images."""
        for series in images:
            known = self._known(series)
            if found := known.get((instance, frame)) or known.get((instance, 1)):
                return found
        return None

    def in_frame_of_reference(self, images: Sequence[Series], uid: str) -> list[Series]:
        """Those of the images that share a frame of reference; all of them where that tells nothing."""
        same = [s for s in images if self._known(s) is not None and self._frames_of_reference[s.id] == uid]
        return same or list(images)

    def _known(self, series: Series) -> dict[tuple[str, int], Slice]:
        if series.id not in self._slices:
            from hounsfield.io.dicom.header_table import header_table  # compiles: imported when used

            table = header_table(self.grids.source, series.files)
            uids = table["sop_instance_uid"].to_pylist()
            self._frames_of_reference[series.id] = table["frame_of_reference_uid"][0].as_py() or ""
            if len(uids) > 1 or series.is_flat:
                known = {(str(uid), f): Slice(series, k) for k, uid in enumerate(uids) for f in (0, 1)}
                if series.frames:
                    known[(str(uids[0]), series.frames[0] + 1)] = Slice(series, 0)
            else:
                order = series.frames or tuple(range(series.shape[0]))
                known = {(str(uids[0]), f + 1): Slice(series, k) for k, f in enumerate(order)}
            self._slices[series.id] = known
        return self._slices[series.id]


def plain_class(name: str) -> str:
    """The class in the name of a structure: without the number that tells it from others of its kind.

    >>> plain_class("Nodule_02"), plain_class(" GTV-1 "), plain_class("7")
    ('Nodule', 'GTV', '7')
    """
    bare = name.strip().rstrip("0123456789").rstrip(" _-#.")
    return bare or name.strip()
