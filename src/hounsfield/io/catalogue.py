"""All images of a source, found by asking every reader; and one image read by the reader that found it."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import hounsfield.io.arrays
import hounsfield.io.dicom.reader
import hounsfield.io.nifti
import hounsfield.io.raster  # noqa: F401 - each of these registers its reader
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Refused, Series
from hounsfield.core.volume import Volume
from hounsfield.io.folders import Place, places
from hounsfield.io.index_file import IndexWriter, Previous, rescanned
from hounsfield.io.index_rows import INDEX_SCHEMA, ROW_SCHEMA, judged, widened
from hounsfield.io.reader import HEAD_BYTES, READERS, Found, Progress
from hounsfield.io.row_spool import RowSpool
from hounsfield.io.source import INSIDE, Source
from hounsfield.io.volume_cache import VolumeCache

__all__ = ["everything_in", "index_of", "nothing_found", "read_volume"]

_REFUSED = pa.schema([("file", pa.string()), ("reason", pa.string())])


def index_of(path: Path | str, *, out: Path | str | None = None, progress: Progress | None = None) -> Index:
    """Scan a folder, a file or a zip: every file becomes (part of) a Series or is refused with a reason.

    As `everything_in`, but raises BadInput where there is no image, saying what there is instead.
    """
    index = everything_in(path, out=out, progress=progress)
    if not index.series:
        raise BadInput(nothing_found(Path(path), index.refused))
    return index


def everything_in(
    path: Path | str, *, out: Path | str | None = None, progress: Progress | None = None
) -> Index:
    """The images and the refused files of a folder, a file or a zip; there may be no image among them.

    With `out`, a row for every object is written there as Parquet (`io.index_rows`), patients' ids among
    them; where an earlier scan of the same source stands there, only files are read whose size or time of
    change is another. `progress` is told how many files are done and how many there are. Raises BadInput
    where the source does not exist or is empty. Ids are numbers in the order of the scan, because
    even the hash of a file name would tell whoever guesses the name whose image it is.
    """
    with Source(path) as source, RowSpool(ROW_SCHEMA) as spool:
        began_ns = time.time_ns()
        previous = _previous(out, source) if out is not None else None
        reused = _read_headers(source, _claimed(source, spool), previous, spool, progress)
        series, refused = _images(source, spool)
        numbered = _numbered(_by_folder(series))
        index = Index(str(Path(path).absolute()), tuple(numbered), tuple(refused), reused)
        if out is not None:
            _write(out, index, spool, began_ns)
    return index


def read_volume(
    source: Source,
    series: Series,
    *,
    dtype: type[np.float32] | None = None,
    cache: VolumeCache | None = None,
) -> Volume:
    """Decode one image: integers where the file means integers, or all as float32 if `dtype` says so.

    With a `cache`, compressed DICOM is decoded once and then taken from there. Raises BadInput, naming the
    image by its opaque id, where the image cannot be read, changed since the scan or changes meanwhile.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a.pgm").write_bytes(b"P5 3 2 255 " + bytes(range(6)))
    ...     index = index_of(folder)
    ...     with Source(folder) as source:
    ...         volume = read_volume(source, index.series[0])
    >>> volume.data.shape, int(volume.data.max())
    ((1, 1, 2, 3), 5)
    """
    try:
        key = cache.key(source, series.files, series.frames, series.position, dtype) if cache else ""
        kept = cache.get(key) if cache else None
        if kept is not None:
            return kept
        volume = _read_whole(source, series, dtype)
    except BadInput as error:
        raise BadInput(f"image {series.id}: {error}") from error
    if volume.data.shape != (series.channels, *series.shape):
        raise BadInput(
            f"image {series.id}: is of shape {volume.data.shape} where the scan found "
            f"{(series.channels, *series.shape)}; scan again"
        )
    if cache and series.compressed:
        cache.put(key, volume)
    return volume


def _read_whole(source: Source, series: Series, dtype: type[np.float32] | None) -> Volume:
    """The volume of files that are after it as they were before it."""
    before = source.states(series.files)
    volume = READERS[series.reader].read(source, series, dtype=dtype)
    if source.states(series.files) != before:
        raise BadInput("changed while it was read; read it again when nothing writes to it")
    return volume if dtype is None else replace(volume, data=volume.data.astype(dtype, copy=False))


def _read_headers(
    source: Source,
    claimed: Mapping[str, Sequence[str]],
    previous: Previous | None,
    spool: RowSpool,
    progress: Progress | None,
) -> int:
    """Rows of all claimed members into the spool, read or known from before; how many were known."""
    total, reused = len(source.members), 0
    done = total - sum(map(len, claimed.values()))

    def tell(n: int) -> None:
        if progress:
            progress(done + n, total)

    for name, members in claimed.items():
        fresh = 0

        def read(source: Source, some: Sequence[str], name: str = name) -> Iterator[pa.RecordBatch]:
            nonlocal fresh
            for batch in READERS[name].headers(source, some, lambda n, _: tell(fresh + n)):
                yield widened(batch, name)
            fresh += len(some)

        rows = rescanned(source, members, previous, read=read, schema=ROW_SCHEMA)
        for batch in rows:
            spool.add(batch)
        reused += rows.reused
        done += len(members)
        tell(0)
    return reused


def _images(source: Source, spool: RowSpool) -> Found:
    """All images in the order of their first file, and all that was refused."""
    series: list[Series] = []
    refused: list[Refused] = []
    for table in spool.by_series():
        for name in pc.unique(table["reader"]).to_pylist():
            if name:
                found = READERS[name].images(source, table.filter(pc.field("reader") == name))
            else:
                rows = table.filter(pc.field("reader").is_null())
                pairs = zip(rows["file"].to_pylist(), rows["reason"].to_pylist(), strict=True)
                found = [], [Refused(file, reason) for file, reason in pairs]
            series += found[0]
            refused += found[1]
    place = {member: n for n, member in enumerate(source.members)}
    series.sort(key=lambda s: min(place[f] for f in s.files))  # stable: volumes of one file keep their order
    refused.sort(key=lambda r: place.get(r.file, -1))
    return series, refused


def _by_folder(series: Sequence[Series]) -> list[Series]:
    """Class and part as the folders say, for the formats that hold neither themselves."""
    where: dict[str, dict[str, Place]] = {}
    for name in READERS.names:
        if READERS[name].by_folder:
            where[name] = places([s.files[0] for s in series if s.reader == name])
    placed: list[Series] = []
    for s in series:
        label, part = where.get(s.reader, {}).get(s.files[0], (s.label, s.part))
        placed.append(replace(s, label=label, part=part))
    return placed


def _origin(source: Path) -> dict[bytes, bytes]:
    """What an index must share with a scan to be brought up to date by it."""
    return {b"hounsfield.source": bytes(source.absolute())}


def _previous(out: Path | str, source: Source) -> Previous | None:
    """The index that stands at `out`, if it is of the same source."""
    previous = Previous.open(out)
    if previous is None:
        return None
    said = previous.schema.metadata or {}
    if all(said.get(key) == value for key, value in _origin(source.path).items()):
        return previous
    previous.close()
    return None


def _write(out: Path | str, index: Index, spool: RowSpool, began_ns: int) -> None:
    """The rows with their outcome as Parquet, under its name only when whole."""
    images: dict[tuple[str, int], str] = {}
    for s in index.series:
        for file in s.files:
            key = (file, s.position)
            images[key] = f"{images[key]} {s.id}" if key in images else s.id
    refused = {r.file: r.reason for r in index.refused}
    schema = INDEX_SCHEMA.with_metadata(_origin(Path(index.source)))
    with IndexWriter(out, schema, began_ns=began_ns) as file:
        for batch in spool.batches():
            file.write(judged(batch, images, refused))


def _numbered(series: Sequence[Series]) -> list[Series]:
    """The images under ids without identity: image-00001, or part and row of an array (train_17)."""
    archives = list(dict.fromkeys(s.files[0] for s in series if s.position >= 0))
    named: list[Series] = []
    files = 0
    for s in series:
        if s.position >= 0:
            prefix = f"archive-{archives.index(s.files[0]) + 1}_" if len(archives) > 1 else ""
            named.append(replace(s, id=f"{prefix}{s.part or 'row'}_{s.position}"))
        else:
            files += 1
            named.append(replace(s, id=f"image-{files:05d}"))
    return named


def _claimed(source: Source, spool: RowSpool) -> dict[str, list[str]]:
    """Members by the first reader that claims them; the others are refused."""
    claimed: dict[str, list[str]] = defaultdict(list)
    refused = [(member, reason) for member, reason in source.faults.items()]
    for member in source.members:
        reader = next((name for name in READERS if READERS[name].claims(member, b"")), None)
        head = b""
        if reader is None:
            try:
                head = source.head(member, HEAD_BYTES)
            except BadInput as error:
                refused.append((member, str(error)))
                continue
            reader = next((name for name in READERS if READERS[name].claims(member, head)), None)
        if reader is not None:
            claimed[reader].append(member)
        else:
            reason = f"not an image that can be read ({_ending(member)})" if head else "an empty file"
            refused.append((member, reason))
    columns = {"file": [f for f, _ in refused], "reason": [r for _, r in refused]}
    spool.add(widened(pa.RecordBatch.from_pydict(columns, schema=_REFUSED), None))
    return claimed


def _ending(member: str) -> str:
    ending = PurePosixPath(member.rsplit(INSIDE, 1)[-1]).suffix.casefold()
    # A name like "scan.mrn99881" has no ending that may be printed.
    plain = not ending or (ending[1:].isalpha() and len(ending) <= 8)
    return (ending or "no ending") if plain else "another ending"


def nothing_found(path: Path, refused: Sequence[Refused]) -> str:
    """What there was instead of an image."""
    endings = Counter(_ending(r.file) for r in refused).most_common(6)
    listed = ", ".join(f"{ending}: {count}" for ending, count in endings)
    files = f"{len(refused)} file{'s' * (len(refused) != 1)}"
    what = "folder" if path.is_dir() else "file"
    holds = f"the {what} {path} holds {files}, none a readable image ({listed})"
    reasons = Counter(r.reason for r in refused if not r.reason.startswith("not an image")).most_common(1)
    return f"{holds}; most often: {reasons[0][0]}" if reasons else f"{holds}; choose a folder with images"
