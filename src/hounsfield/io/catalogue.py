"""All images of a source, found by asking every reader; and one image read by the reader that found it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import hounsfield.io.arrays
import hounsfield.io.dicom.reader
import hounsfield.io.nifti
import hounsfield.io.raster  # noqa: F401 - each of these registers its reader
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Refused, Series
from hounsfield.core.volume import Volume
from hounsfield.io.reader import HEAD_BYTES, READERS, Progress
from hounsfield.io.source import INSIDE, Source

__all__ = ["index_of", "read_volume"]


def index_of(path: Path | str, *, progress: Progress | None = None) -> Index:
    """Scan a folder, a file or a zip: every file becomes (part of) a Series or is refused with a reason.

    `progress` is told how many files are done and how many there are. Raises BadInput where the
    source does not exist, is empty or holds no image. Ids are numbers in the order of the scan, because
    even the hash of a file name would tell whoever guesses the name whose image it is.
    """
    with Source(path) as source:
        members = source.members
        refused = [Refused(member, reason) for member, reason in source.faults.items()]
        claimed = _claimed(source, members, refused)
        series: list[Series] = []
        done, total = len(members) - sum(map(len, claimed.values())), len(members)
        for name, names in claimed.items():
            so_far = done

            def tell(n: int, _of: int, so_far: int = so_far) -> None:
                if progress:
                    progress(so_far + n, total)

            found, faults = READERS[name].scan(source, names, tell)
            series += found
            refused += faults
            done += len(names)
    if not series:
        raise BadInput(_nothing_found(Path(path), refused))
    return Index(source=str(Path(path).absolute()), series=_numbered(series), refused=tuple(refused))


def read_volume(source: Source, series: Series) -> Volume:
    """Decode one image. Raises BadInput, naming the image by its opaque id, where that is not possible.

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
        volume = READERS[series.reader].read(source, series)
    except BadInput as error:
        raise BadInput(f"image {series.id}: {error}") from error
    if volume.data.shape != (series.channels, *series.shape):
        raise BadInput(
            f"image {series.id}: is of shape {volume.data.shape} where the scan found "
            f"{(series.channels, *series.shape)}; scan again"
        )
    return volume


def _numbered(series: Sequence[Series]) -> tuple[Series, ...]:
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
    return tuple(named)


def _claimed(source: Source, members: tuple[str, ...], refused: list[Refused]) -> dict[str, list[str]]:
    """Members by the first reader that claims them; the others are refused."""
    claimed: dict[str, list[str]] = defaultdict(list)
    for member in members:
        try:
            head = source.head(member, HEAD_BYTES)
        except BadInput as error:
            refused.append(Refused(member, str(error)))
            continue
        reader = next((name for name in READERS if READERS[name].claims(member, head)), None)
        if not head:
            refused.append(Refused(member, "an empty file"))
        elif reader is None:
            refused.append(Refused(member, f"not an image that can be read ({_ending(member)})"))
        else:
            claimed[reader].append(member)
    return claimed


def _ending(member: str) -> str:
    ending = PurePosixPath(member.rsplit(INSIDE, 1)[-1]).suffix.casefold()
    # A name like "scan.mrn99881" has no ending that may be printed.
    plain = not ending or (ending[1:].isalpha() and len(ending) <= 8)
    return (ending or "no ending") if plain else "another ending"


def _nothing_found(path: Path, refused: list[Refused]) -> str:
    """What there was instead of an image."""
    endings = Counter(_ending(r.file) for r in refused).most_common(6)
    listed = ", ".join(f"{ending}: {count}" for ending, count in endings)
    files = f"{len(refused)} file{'s' * (len(refused) != 1)}"
    what = "folder" if path.is_dir() else "file"
    holds = f"the {what} {path} holds {files}, none a readable image ({listed})"
    reasons = Counter(r.reason for r in refused if not r.reason.startswith("not an image")).most_common(1)
    return f"{holds}; most often: {reasons[0][0]}" if reasons else f"{holds}; choose a folder with images"
