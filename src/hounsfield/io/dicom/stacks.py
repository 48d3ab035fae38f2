"""From a header table to images: parallel slices of one series become volumes, the rest stays by itself.

A stack with a fault is refused whole, with the fault named: a gap is never averaged away. Everything is
done on arrays, a series at a time; a file by itself is only looked at where it holds more than one slice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Refused, Series
from hounsfield.io.dicom.elements import HeaderFault, faults
from hounsfield.io.dicom.frames import read_frames, volumes_of_frames
from hounsfield.io.dicom.geometry import affine_of, flat_affine, normal_of, parallel_groups, usable
from hounsfield.io.dicom.headers import Headers, distinct, faults_of
from hounsfield.io.dicom.mosaic import faults_of_grids, is_mosaic, mosaic_of
from hounsfield.io.dicom.objects import FLAT_MODALITIES
from hounsfield.io.dicom.placed import Placed, series_of
from hounsfield.io.dicom.separators import by_number, private_separators, separators_of
from hounsfield.io.dicom.volumes import laid_out
from hounsfield.io.source import Source

__all__ = ["images_of", "placed_images"]

Whole = NDArray[np.int64]
_SAME_SPACING_MM = 1e-4


def images_of(source: Source, table: pa.Table) -> tuple[list[Series], list[Refused]]:
    """All images that a header table describes, and the files refused with their reasons.

    Files are opened only where the table does not tell: several frames, a mosaic, a palette, fragments,
    copies, private b-values. The ids are the names of the first files.
    """
    headers, found, refused = placed_images(source, table)
    members = headers.members(sorted(refused))
    reasons = [refused[row] for row in sorted(refused)]
    return series_of(source, headers, found), [Refused(m, r) for m, r in zip(members, reasons, strict=True)]


def placed_images(source: Source, table: pa.Table) -> tuple[Headers, list[Placed], dict[int, str]]:
    """The same as rows of the table, with the affine of every image; refusals by row."""
    headers = Headers(table.combine_chunks())
    if not len(headers):
        return headers, [], {}
    search = _Search(source, headers)
    search.look()
    found = sorted(search.found, key=lambda p: min(p.rows))
    return headers, found, search.refused


@dataclass
class _Search:
    """The images of one table, as they are found."""

    source: Source
    headers: Headers
    found: list[Placed] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    spoiling: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.refused, self.spoiling = faults_of(self.source, self.headers)
        # copies, because a single frame of an enhanced object fills them in
        self.positions = self.headers.vectors("image_position_patient").copy()
        self.orientations = self.headers.vectors("image_orientation_patient").copy()
        self.spacing = self.headers.spacing().copy()
        self.thickness = self.headers.numbers("slice_thickness").copy()
        self.sides: dict[int, str] = {}

    def look(self) -> None:
        enhanced = self.headers.flag("functional_groups")
        several = self.headers.whole("number_of_frames", 1) > 1
        whole = is_mosaic(self.headers) & ~several & ~enhanced
        for row, fault in faults_of_grids(self.source, self.headers).items():
            self.refused.setdefault(row, fault)
        by_file: dict[int, list[Placed]] = {}
        for row in np.flatnonzero(enhanced | several | whole).tolist():
            if row not in self.refused and (
                found := self._of_file(row, bool(enhanced[row]), bool(whole[row]))
            ):
                by_file[row] = found
        self._leave_out_copies(by_file)
        self.found += _numbered(self.headers, by_file)
        slices = self._slices() & ~several & ~whole
        for row in np.flatnonzero(~slices).tolist():
            if row not in self.refused and row not in by_file:
                self._add_single(row)
        series, _ = self.headers.codes("series_instance_uid")
        rows = np.flatnonzero(slices)
        rows = rows[np.argsort(series[rows], kind="stable")]
        cuts = np.flatnonzero(np.diff(series[rows])) + 1
        for part in np.split(rows, cuts) if rows.size else []:
            self._add_series(part)

    def _slices(self) -> NDArray[np.bool_]:
        """Rows that are, or should be, a slice of a series; projections are not."""
        modality, modalities = self.headers.codes("modality")
        kind, kinds = self.headers.codes("image_type")
        series, uids = self.headers.codes("series_instance_uid")
        flat = np.isin(modality, [n for n, m in enumerate(modalities) if m.strip() in FLAT_MODALITIES])
        scout = np.isin(kind, [n for n, k in enumerate(kinds) if "LOCALIZER" in k.split("\\")])
        # the localizer of a CT is a projection, that of an MR is three small stacks
        scout &= ~np.isin(modality, [n for n, m in enumerate(modalities) if m.strip() == "MR"])
        named = np.isin(series, [n for n, uid in enumerate(uids) if uid.strip()])
        useless = np.zeros(len(self.headers), bool)
        useless[[row for row in self.refused if row not in self.spoiling]] = True
        return np.asarray(named & ~flat & ~scout & ~useless)

    def _of_file(self, row: int, enhanced: bool, mosaic: bool) -> list[Placed]:
        """The volumes in one file; [] where it is a single slice, or was refused."""
        shape = (
            max(1, int(self.headers.whole("number_of_frames", 1)[row])),
            int(self.headers.whole("rows", 0)[row]),
            int(self.headers.whole("columns", 0)[row]),
        )
        if not enhanced and not mosaic and not self._may_be_deep(row):
            return [self._without_depth(row, shape)]
        try:
            if mosaic:
                return [mosaic_of(self.source, self.headers, row)]
            member = self.headers.members([row])[0]
            frames = read_frames(self.source, member, enhanced=enhanced)
            if shape[0] > 1 and not enhanced and not frames.placed:
                return [self._without_depth(row, shape)]
            if shape[0] > 1:
                return volumes_of_frames(frames, row=row, shape=shape)
            self.sides[row] = frames.laterality
            if frames.placed:
                self.positions[row], self.orientations[row] = frames.positions_mm[0], frames.orientations[0]
                self.thickness[row] = frames.thickness_mm[0]
            if np.isfinite(frames.spacing_mm[0]).all():
                self.spacing[row] = frames.spacing_mm[0]
        except (BadInput, HeaderFault) as error:
            self.refused[row] = str(error)
        except faults() as error:
            self.refused[row] = f"a DICOM header that does not follow the standard ({type(error).__name__})"
        if row in self.refused and shape[0] == 1:
            self.spoiling.add(row)
        return []

    def _may_be_deep(self, row: int) -> bool:
        """True where frames without functional groups may have a place: nuclear medicine, grid offsets."""
        modality = self.headers.texts("modality", np.array([row]))[0]
        return modality in ("NM", "PT") or bool(np.isfinite(self.positions[row]).all())

    def _without_depth(self, row: int, shape: tuple[int, int, int]) -> Placed:
        """A cine: its spacing in the plane is known, but the step from frame to frame is no length."""
        spacing = self.spacing[row]
        affine = flat_affine((1.0, *spacing.tolist())) if np.isfinite(spacing).all() else None
        return Placed((row,), shape, affine=affine)

    def _add_single(self, row: int, volume: str = "") -> None:
        """A slice or a picture by itself; its depth is the thickness that the header gives."""
        shape = (1, int(self.headers.whole("rows", 0)[row]), int(self.headers.whole("columns", 0)[row]))
        spacing: tuple[float, ...] = ()
        affine = None
        if np.isfinite(self.spacing[row]).all():
            depth = float(self.thickness[row])
            depth = depth if np.isfinite(depth) and depth > 0 else 1.0
            spacing = (depth, *self.spacing[row].tolist())
            affine = flat_affine(spacing)
            if self._has_place(np.array([row]))[0]:
                step = normal_of(self.orientations[row]) * depth
                affine = affine_of(self.positions[row], self.orientations[row], self.spacing[row], step)
        side = self.sides.get(row, "")
        self.found.append(Placed((row,), shape, spacing, affine, volume=volume, laterality=side))

    def _has_place(self, rows: Whole) -> NDArray[np.bool_]:
        known = np.isfinite(self.positions[rows]).all(axis=1) & np.isfinite(self.spacing[rows]).all(axis=1)
        return np.asarray(known & usable(self.orientations[rows]))

    def _add_series(self, rows: Whole) -> None:
        """The slices of one series, by size, spacing and colour, then by orientation."""
        broken = np.array([row in self.refused for row in rows.tolist()])
        sized = (self.headers.whole("rows", 0)[rows] > 0) & (self.headers.whole("columns", 0)[rows] > 0)
        lost = rows[broken & ~sized].tolist()  # where in the series they belong nobody knows
        sheets, words = self._sheets(rows[sized | ~broken])
        for sheet, said in zip(sheets, words, strict=True):
            wrong, whole = self._missed(sheet, lost)
            if wrong and whole.size:
                self._refuse_for(whole, wrong)
            elif whole.size:
                self._add_sheet(whole, said)

    def _missed(self, rows: Whole, lost: list[int]) -> tuple[list[int], Whole]:
        """The rows that cannot be used and are not there whole in another file, and the usable ones."""
        broken = np.array([row in self.refused for row in rows.tolist()])
        objects = self.headers.codes("sop_instance_uid")[0]
        again = np.isin(objects[rows], objects[rows[~broken]]) & (objects[rows] >= 0)
        return rows[broken & ~again].tolist() + lost, rows[~broken]

    def _sheets(self, rows: Whole) -> tuple[list[Whole], list[str]]:
        """Rows of one size, spacing and colour model, and words for what differs."""
        if not rows.size:
            return [], []
        named = {
            "matrix": [self.headers.whole(n, 0)[rows] for n in ("rows", "columns")],
            "spacing": [_clustered(self.spacing[rows, axis]) for axis in (0, 1)],
            "colour": [
                self.headers.codes("photometric_interpretation")[0][rows],
                self.headers.whole("samples_per_pixel", 1)[rows],
            ],
        }
        sheet, _ = distinct(*(code for codes in named.values() for code in codes))
        if not sheet.any():
            return [rows], [""]
        order = sorted(range(int(sheet.max()) + 1), key=lambda n: int(np.argmax(sheet == n)))
        differs = [name for name, codes in named.items() if any((c != c[0]).any() for c in codes)]
        parts = [rows[sheet == n] for n in order]
        return parts, [", ".join(self._words(name, int(part[0])) for name in differs) for part in parts]

    def _words(self, name: str, row: int) -> str:
        if name == "matrix":
            sizes = [int(self.headers.whole(n, 0)[row]) for n in ("rows", "columns")]
            return f"matrix {sizes[0]} x {sizes[1]}"
        if name == "colour":
            return f"colour {self.headers.texts('photometric_interpretation', np.array([row]))[0]}"
        between = self.spacing[row]
        return f"spacing {between[0]:g} x {between[1]:g} mm" if np.isfinite(between).all() else "no spacing"

    def _add_sheet(self, rows: Whole, words: str) -> None:
        placed = self._has_place(rows)
        if not placed.any() or rows.size == 1:
            for row, known in zip(rows.tolist(), placed.tolist(), strict=True):
                self._add_single(row, words if known else "")
            return
        if fault := self._fault_of_identity(rows, int((~placed).sum())):
            self.refused.update(dict.fromkeys(rows.tolist(), fault))
            return
        groups = parallel_groups(self.orientations[rows])
        for group in range(int(groups.max()) + 1):
            said = f"{words}{', ' * bool(words)}orientation {group + 1}" if groups.any() else words
            self._add_parallel(rows[groups == group], said)

    def _fault_of_identity(self, rows: Whole, missing: int) -> str:
        for name in ("patient_id", "issuer_of_patient_id", "study_instance_uid"):
            if np.unique(self.headers.codes(name)[0][rows]).size > 1:
                return "slices of one series name different patients or studies; correct their identity"
        if missing:
            return (
                f"{missing} of the {rows.size} slices of the series have no usable position; send them again"
            )
        return ""

    def _add_parallel(self, rows: Whole, words: str) -> None:
        rows = self._without_copies(rows)
        if rows.size == 1:
            self._add_single(int(rows[0]), words)
            return
        orientation = self.orientations[rows[0]]
        normal = normal_of(orientation)
        positions = self.positions[rows]
        instances = self.headers.numbers("instance_number")[rows]
        for laid in laid_out(
            positions,
            orientation,
            lambda: separators_of(self.headers, rows, positions - np.outer(positions @ normal, normal)),
            more=lambda: private_separators(self.source, self.headers.members(rows)),
            instances=instances.astype(np.int64) if np.isfinite(instances).all() else None,
        ):
            part = rows[laid.slices]
            said = ", ".join(w for w in (words, laid.words) if w)
            if laid.stack.fault:
                self.refused.update(dict.fromkeys(part.tolist(), laid.stack.fault))
            elif part.size == 1:
                self._add_single(int(part[0]), said)
            else:
                self._add_stack(part, laid.stack.step_mm, laid.stack.kind, said)

    def _add_stack(self, rows: Whole, step_mm: Sequence[float], kind: str, words: str) -> None:
        first = int(rows[0])
        spacing = self.spacing[first]
        shape = (
            rows.size,
            int(self.headers.whole("rows", 0)[first]),
            int(self.headers.whole("columns", 0)[first]),
        )
        affine = affine_of(self.positions[first], self.orientations[first], spacing, step_mm)
        depth = float(np.linalg.norm(step_mm))
        self.found.append(
            Placed(
                tuple(rows.tolist()),
                shape,
                (depth, *spacing.tolist()),
                affine,
                volume=words,
                stack=kind,
                laterality=self.sides.get(first, ""),
            )
        )

    def _without_copies(self, rows: Whole) -> Whole:
        """The rows without files that are, byte for byte, another file of the same object."""
        objects = self.headers.codes("sop_instance_uid")[0][rows]
        counts = np.unique(objects, return_counts=True)[1]
        if (counts == 1).all():
            return rows
        alike: dict[int, list[int]] = defaultdict(list)
        for row, number in zip(rows.tolist(), objects.tolist(), strict=True):
            if number >= 0:
                alike[number].append(row)
        for same in alike.values():
            for copy in same[1:]:
                if self._same_bytes(same[0], copy):
                    self.refused[copy] = "duplicate: a copy of another file of this series"
        return rows[[row not in self.refused for row in rows.tolist()]]

    def _leave_out_copies(self, by_file: dict[int, list[Placed]]) -> None:
        """Files of several slices that are, byte for byte, another one."""
        deep = [row for row, found in by_file.items() if any(p.stack for p in found)]
        kept = set(self._without_copies(np.array(deep, np.int64)).tolist())
        for row in set(deep) - kept:
            del by_file[row]

    def _same_bytes(self, one: int, other: int) -> bool:
        sizes = self.headers.whole("size", 0)
        if sizes[one] != sizes[other]:
            return False
        first, second = self.headers.members([one, other])
        try:
            return self.source.read_bytes(first) == self.source.read_bytes(second)
        except BadInput:
            return False

    def _refuse_for(self, rows: Whole, wrong: Sequence[int]) -> None:
        """Refuse the slices of a stack that would miss others."""
        reason = self.refused[wrong[0]]
        total = rows.size + len(wrong)
        fault = f"a stack of {total} slices of which {len(wrong)} cannot be used: {reason}"
        for row in rows.tolist():
            self.refused.setdefault(row, fault)


def _clustered(values: NDArray[np.float64]) -> Whole:
    """Number values that are equal but for rounding alike; NaN is -1."""
    found = np.full(values.size, -1, np.int64)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    found[order[:1]] = 0
    found[order[1:]] = np.cumsum(np.diff(values[order]) > _SAME_SPACING_MM)
    return found


def _numbered(headers: Headers, by_file: dict[int, list[Placed]]) -> list[Placed]:
    """The volumes of all files; where one series has several files, each says which."""
    series, _ = headers.codes("series_instance_uid")
    files: dict[int, list[int]] = defaultdict(list)
    for row in by_file:
        files[int(series[row]) if series[row] >= 0 else -1 - row].append(row)
    found: list[Placed] = []
    for rows in files.values():
        if len(rows) == 1:
            found += [replace(p, volume="") if p.tiles else p for p in by_file[rows[0]]]
            continue
        for row, words in zip(rows, _telling(headers, np.array(rows)), strict=True):
            for placed in by_file[row]:
                said = ", ".join(w for w in (words, placed.volume) if w)
                found.append(replace(placed, volume=said if placed.stack else ""))
    return found


def _telling(headers: Headers, rows: Whole) -> list[str]:
    """Words for each of several files, by the first element in which all differ, else by their order."""
    known = separators_of(headers, rows, np.zeros((rows.size, 3)))
    instance = by_number("instance", headers.numbers("instance_number")[rows])
    for separator in [*known, instance]:
        if (separator.codes >= 0).all() and np.unique(separator.codes).size == rows.size:
            return [separator.words[code] for code in separator.codes.tolist()]
    return [f"file {n + 1} of {rows.size}" for n in range(rows.size)]
