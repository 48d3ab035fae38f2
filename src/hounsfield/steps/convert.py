"""Every image of a source written as NIfTI under names that hide identity, and a table of what is what."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.core.registry import nearest
from hounsfield.core.volume import Volume
from hounsfield.io.catalogue import index_of, read_volume
from hounsfield.io.files import require_writable_folder, write_text
from hounsfield.io.nifti_write import has_place, joined_nifti, nifti_of, same_grid, write_nifti
from hounsfield.io.source import Source, in_natural_order

__all__ = ["TABLE", "Conversion", "Converted", "convert"]

TABLE = "index.csv"
_COLUMNS = ("file", "id", "modality", "shape", "spacing_mm", "stack", "volume", "geometry", "files", "reason")
_PLACED, _UNPLACED = "patient", "unknown"


@dataclass(frozen=True, slots=True)
class Converted:
    """One row of the table: an image and the file it stands in, or why it was not written.

    `shape` is (K, J, I) and `spacing_mm` (k, j, i), as in the index. `geometry` is "patient" where the
    file holds an affine to the patient, "unknown" where it holds none. `files` counts the source's files.
    """

    file: str
    id: str
    modality: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    stack: str
    volume: str
    geometry: str
    files: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written, what could not be, and how many files the scan refused for which reason."""

    written: tuple[Converted, ...]
    failed: tuple[Converted, ...]
    refused: dict[str, int]

    def summary(self) -> str:
        """One line: how many files were written, and what was not.

        >>> Conversion((), (), {"an empty file": 2}).summary()
        '0 images written; 2 files refused (an empty file: 2)'
        """
        n = len({c.file for c in self.written})
        text = f"{n} image{'s' * (n != 1)} written"
        for what, counts in (
            ("image", Counter(c.reason for c in self.failed)),
            ("file", Counter(self.refused)),
        ):
            if count := counts.total():
                listed = "; ".join(f"{reason}: {c}" for reason, c in counts.most_common(3))
                text += f"; {count} {what}{'s' * (count != 1)} refused ({listed})"
        return text


def convert(
    source: Path | str,
    out: Path | str,
    *,
    image: str = "",
    compress: bool = True,
    join: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Write the images of a source (or the one with the id `image`) into a new or empty folder.

    An image that cannot be read is reported and the others are written. With `join`, the volumes of one
    series that lie on one grid become one file with a fourth axis. Raises BadInput where nothing could be
    written, where `out` holds images already, or where there is no such image.
    """
    folder = Path(out)
    _require_no_images(folder)
    index = index_of(source)
    series = _chosen(index, image)
    existed = folder.exists()
    require_writable_folder(folder)
    rows: list[Converted] = []
    with Source(index.source) as opened:
        for group in _groups(series) if join else [[s] for s in series]:
            rows += _write(opened, group, folder, ".nii.gz" if compress else ".nii")
            if progress:
                progress(len(rows), len(series))
    found = Conversion(
        written=tuple(r for r in rows if r.file),
        failed=tuple(r for r in rows if not r.file),
        refused={} if image else dict(Counter(r.reason for r in index.refused)),
    )
    if not found.written:
        if not existed:
            with suppress(OSError):
                folder.rmdir()
        raise BadInput(_nothing_written(found))
    write_text(folder / TABLE, _table(found))
    return found


def _require_no_images(folder: Path) -> None:
    """Files of an earlier conversion bear the same names and would mix with the new ones."""
    if folder.is_dir() and any(
        p.name == TABLE or p.name.endswith((".nii", ".nii.gz")) for p in folder.iterdir()
    ):
        raise BadInput(f"{folder} holds converted images already; choose another --out, or empty it")


def _chosen(index: Index, image: str) -> list[Series]:
    chosen = [s for s in index.series if image in ("", s.id)]
    if not chosen:
        hint = nearest(image, [s.id for s in index.series])
        raise BadInput(f'there is no image "{image}" among the {len(index.series)} of the source; {hint}')
    return chosen


def _groups(series: Sequence[Series]) -> list[list[Series]]:
    """Volumes of one series and shape together, in the natural order of the words that tell them apart."""
    groups: dict[tuple[Any, ...], list[Series]] = defaultdict(list)
    for s in series:
        alone = s.id if not s.volume or s.channels != 1 else ""
        groups[(s.study, s.series, s.shape, alone)].append(s)
    ordered = []
    for group in groups.values():
        words = in_natural_order(list(dict.fromkeys(s.volume for s in group)))
        ordered.append(sorted(group, key=lambda s: words.index(s.volume)))
    return ordered


def _write(source: Source, group: Sequence[Series], folder: Path, ending: str) -> Iterator[Converted]:
    """Write the group as one file if it can be joined, otherwise a file an image."""
    if len(group) > 1:
        volumes = [_read(source, s)[0] for s in group]
        whole = [v for v in volumes if v is not None]
        if len(whole) == len(group) and all(same_grid(whole[0], v) for v in whole):
            name = f"{_stem(group[0], joined=True)}{ending}"
            write_nifti(folder / name, joined_nifti(whole))
            yield from (_row(s, name, v) for s, v in zip(group, whole, strict=True))
            return
    for s in group:
        volume, reason = _read(source, s)
        if volume is None:
            yield _row(s, "", None, reason)
            continue
        try:
            made = nifti_of(volume)
        except BadInput as error:
            yield _row(s, "", None, str(error))
            continue
        name = f"{_stem(s)}{ending}"
        write_nifti(folder / name, made)
        yield _row(s, name, volume)


def _read(source: Source, series: Series) -> tuple[Volume | None, str]:
    try:
        return read_volume(source, series), ""
    except BadInput as error:
        return None, str(error).removeprefix(f"image {series.id}: ")


def _row(series: Series, name: str, volume: Volume | None, reason: str = "") -> Converted:
    geometry = "" if volume is None else _PLACED if has_place(volume) else _UNPLACED
    return Converted(
        file=name,
        id=series.id,
        modality=_word(series.modality),
        shape=series.shape,
        spacing_mm=series.spacing_mm if volume is None or not volume.spacing_known else volume.spacing_mm,
        stack=series.stack,
        volume=series.volume,
        geometry=geometry,
        files=len(series.files),
        reason=reason,
    )


def _stem(series: Series, *, joined: bool = False) -> str:
    """image-00003_MR_echo-2: the opaque id, the modality, and what tells the volume from its siblings."""
    volume = "joined" if joined else re.sub(r"[^a-z0-9.]+", "-", series.volume.casefold()).strip("-.")[:60]
    return "_".join(part for part in (series.id, _word(series.modality), volume) if part)


def _word(modality: str) -> str:
    """The modality if it looks like a code (PS3.3 C.7.3.1.1.1): other text may name someone."""
    return modality if re.fullmatch(r"[A-Z0-9]{2,8}", modality) else ""


def _table(found: Conversion) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for c in (*found.written, *found.failed):
        shape, spacing = "x".join(map(str, c.shape)), "x".join(f"{s:g}" for s in c.spacing_mm)
        writer.writerow(
            (c.file, c.id, c.modality, shape, spacing, c.stack, c.volume, c.geometry, c.files, c.reason)
        )
    for reason, count in sorted(found.refused.items()):
        writer.writerow(("",) * 8 + (count, reason))
    return text.getvalue()


def _nothing_written(found: Conversion) -> str:
    reason, count = Counter(c.reason for c in found.failed).most_common(1)[0]
    n = len(found.failed)
    return f"none of the {n} image{'s' * (n != 1)} could be written; most often ({count}): {reason}"
