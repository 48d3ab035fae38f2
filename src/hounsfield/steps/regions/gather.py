"""Cases of a question about places: images with their masks, groups from a table, split by patient."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.cohort import TEST, Cohort
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.core.redact import listed
from hounsfield.core.registry import nearest
from hounsfield.io.catalogue import read_volume
from hounsfield.io.source import Source
from hounsfield.steps.gather import Question, TableFacts, case_of, table_facts
from hounsfield.steps.regions.alike import require_alike
from hounsfield.steps.regions.dataset_file import described
from hounsfield.steps.regions.pairing import Pair, pairing_of
from hounsfield.steps.regions.same_grid import labels_of_mask
from hounsfield.steps.regions.segmentations import CONTOURS, drawn_by_series, mask_volume
from hounsfield.steps.regions.split import resplit_places

__all__ = ["Outlined", "gather_outlined"]

_COVERS = 0.995
_MOST_LABELS = 255


@dataclass(frozen=True, slots=True)
class Outlined:
    """The cohort, the names of channels and structures, the label to ignore, and regions by name."""

    cohort: Cohort
    channels: tuple[str, ...]
    structures: tuple[str, ...]
    ignore: int = -1
    regions: tuple[tuple[str, tuple[int, ...]], ...] = ()


def gather_outlined(
    index: Index,
    question: Question,
    *,
    structures: Sequence[str] = (),
    channels: Sequence[str] = (),
    split: bool = True,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Outlined:
    """Images with masks as cases whose answer says which structures their mask holds.

    `structures` and `channels` are those of a model, or given by the user (`question.classes`,
    `question.channels`). Without `split` every case is put in the test part. Raises BadInput where no image
    has a mask, labels are not whole numbers or not in the list, or two names mean one structure.
    """
    with Source(index.source) as source:
        told = described(source)
        paired = pairing_of(
            index,
            channels=channels or question.channels,
            masks=question.masks,
            channel_names=told.channels or tuple(channels),
        )
        pairs, within, notes = _with_region(source, paired.pairs, threads)
        if not any(p.masks for p in pairs):
            pairs = _with_segmentations(source, pairs)
        pairs, left = _asked_for(pairs, structures or question.classes, must_be=not structures)
        notes += left
        drawn = [p for p in pairs if p.masks]
        if not drawn:
            raise BadInput(
                f"none of {len(pairs)} images has a mask; expected a folder labels or masks beside the "
                "images, names that say mask, DICOM segmentations or structure sets; name the folder of "
                "masks with --masks"
            )
        require_alike([p.images for p in drawn])
        if len(drawn) < len(pairs):
            notes.append(f"{len(pairs) - len(drawn)} image(s) without a mask were left out")
        names = tuple(structures or question.classes or told.structures)
        names = _named_by_files(drawn, names)
        held = _labels_held(source, drawn, names, progress=progress, threads=threads)
    ignore = told.ignore
    if not names:
        highest = max((v for h in held for v in h if v != ignore), default=0)
        names = tuple(f"label {n}" for n in range(1, highest + 1))
    if not any(set(h) - {ignore} for h in held):
        raise BadInput(
            f"the masks of all {len(drawn)} images are empty; expected structures above 0 in some; check the "
            "masks"
        )
    _refuse_unlisted(held, names, ignore)
    if empty := sum(not set(h) - {ignore} for h in held):
        notes.append(f"{empty} of {len(drawn)} masks are empty: images on which there is nothing to outline")
    encoding = LabelEncoding("multilabel", names, ("structure",))
    facts = table_facts(index, question, tuple(p.images[0] for p in drawn))
    cases = tuple(
        _case(pair, labels, within.get(pair.images[0].id), names, facts, question, ignore)
        for pair, labels in zip(drawn, held, strict=True)
    )
    notes = [*paired.notes, *notes, *facts.notes, f"structures: {', '.join(names)}"]
    whole = Cohort(cases, encoding, {c.id: TEST for c in cases}, {}, tuple(notes))
    cohort = resplit_places(whole, question) if split else whole
    return Outlined(cohort, paired.channels, names, ignore, told.regions)


def _with_segmentations(source: Source, pairs: Sequence[Pair]) -> list[Pair]:
    """The same with the segments of DICOM segmentations or structure sets that refer to these series."""
    if not any(p.images[0].series for p in pairs):
        return list(pairs)
    drawn = drawn_by_series(source)
    return [replace(p, masks=drawn.get(p.images[0].series, ())) for p in pairs]


def _with_region(
    source: Source, pairs: Sequence[Pair], threads: int
) -> tuple[list[Pair], dict[str, Series], list[str]]:
    """Of several masks an image, the one that encloses the others is its field of view, not a structure.

    It must do so, and be one value only, in every image. Raises BadInput where several masks are left.
    """
    several = [p for p in pairs if p.candidates]
    if not several:
        return list(pairs), {}, []

    def enclosing(pair: Pair) -> int | None:
        marked = [read_volume(source, s).data[0] > 0 for _, s in pair.candidates]
        if len({m.shape for m in marked}) > 1:
            return None
        largest = int(np.argmax([m.sum() for m in marked]))
        rest = np.any([m for n, m in enumerate(marked) if n != largest], axis=0)
        covered = (rest & marked[largest]).sum() >= _COVERS * max(1, rest.sum())
        return largest if covered and marked[largest].sum() > 2 * rest.sum() else None

    with ThreadPoolExecutor(max(1, threads)) as pool:
        found = list(pool.map(enclosing, several))
    names = {p.candidates[n][0] for p, n in zip(several, found, strict=True) if n is not None}
    if None in found or len(names) != 1 or any(len(p.candidates) != 2 for p in several):
        places = listed(sorted({c for p in several for c, _ in p.candidates}), ids=False)
        raise BadInput(
            f"{len(several)} image(s) have several masks ({places}) "
            "and nothing says which is meant; expected one mask an image; name its folder with --masks"
        )
    within, made = {}, []
    where = dict(zip((p.key for p in several), found, strict=True))
    for pair in pairs:
        n = where.get(pair.key)
        if n is None:
            made.append(pair)
            continue
        within[pair.images[0].id] = pair.candidates[n][1]
        made.append(replace(pair, masks=(("", pair.candidates[1 - n][1]),), candidates=()))
    note = (
        f'the masks in "{names.pop()}" enclose all others: they are taken for the field of view, outside '
        "of which nothing is learned or measured"
    )
    return made, within, [note]


def _asked_for(pairs: Sequence[Pair], asked: Sequence[str], *, must_be: bool) -> tuple[list[Pair], list[str]]:
    """Where every mask is of one structure, those that are asked for, and in words what was left out.

    With `must_be` a structure of which there is no mask at all is refused.
    """
    held = {name for p in pairs for name, _ in p.masks if name}
    if not asked or not held:
        return list(pairs), []
    missing = [name for name in asked if name not in held]
    _refuse_two_names(held if missing else asked, among=held)
    if missing and (must_be or len(missing) == len(asked)):
        raise BadInput(
            f'--classes asks for "{missing[0]}", of which there is no mask; expected names of masks '
            f"({nearest(missing[0], sorted(held))}); correct --classes, or leave it out to learn all"
        )
    others = sorted(held - set(asked))
    kept = [replace(p, masks=tuple(m for m in p.masks if not m[0] or m[0] in asked)) for p in pairs]
    said = f"masks of {len(others)} other structure(s) were left out: {listed(others, ids=False)}"
    return kept, [said] if others else []


def _refuse_two_names(meant: Iterable[str], *, among: Iterable[str]) -> None:
    """Raises BadInput where a structure that is meant bears two names that differ in writing only."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(among):
        alike.setdefault(tuple(sorted(re.split(r"[_\- ]+", name.casefold()))), []).append(name)
    wanted = set(meant)
    double = next((held for held in alike.values() if len(held) > 1 and wanted & set(held)), None)
    if double:
        raise BadInput(
            f'"{double[0]}" and "{double[1]}" are two names for one structure; expected one name each; '
            "rename one"
        )


def _named_by_files(pairs: Sequence[Pair], names: tuple[str, ...]) -> tuple[str, ...]:
    """The structures where every mask file is of one; two names that differ in writing only are refused."""
    files = sorted({name for p in pairs for name, _ in p.masks if name})
    _refuse_two_names(files or names, among=files or names)
    if not files:
        return names
    unknown = sorted(set(files) - set(names)) if names else []
    if unknown:  # a description beside the images lists fewer
        raise BadInput(
            f"masks of {listed(unknown, ids=False)} were found, which are not among the structures "
            f"{listed(names, ids=False)} of dataset.json; correct it, or choose some with --classes"
        )
    return names or tuple(files)


def _labels_held(
    source: Source,
    pairs: Sequence[Pair],
    names: tuple[str, ...],
    *,
    progress: Callable[[int, int], None] | None,
    threads: int,
) -> list[tuple[int, ...]]:
    """The labels that the masks of each case hold."""

    def one(pair: Pair) -> tuple[int, ...]:
        found: set[int] = set()
        for name, series in pair.masks:
            if series.reader == CONTOURS:  # only structures that have contours were taken
                values = [1]
            else:
                labels = labels_of_mask(mask_volume(source, series), names=())
                values = [int(v) for v in np.unique(labels) if v > 0]
            found |= {names.index(name) + 1} if name and values else set() if name else set(values)
        return tuple(sorted(found))

    done, held = 0, []
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for labels in pool.map(one, pairs):
            held.append(labels)
            done += 1
            if progress and (done % 16 == 0 or done == len(pairs)):
                progress(done, len(pairs))
    return held


def _refuse_unlisted(held: Sequence[tuple[int, ...]], names: Sequence[str], ignore: int) -> None:
    unknown = sorted({v for h in held for v in h if v > len(names) and v != ignore})
    if len(names) > _MOST_LABELS - 1:
        raise BadInput(
            f"the masks hold labels up to {len(names)}; expected at most {_MOST_LABELS - 1} structures, "
            "numbered from 1; number them anew (255 says that something is there only where it stands alone)"
        )
    if unknown:
        bad = sum(bool(set(h) & set(unknown)) for h in held)
        raise BadInput(
            f"{bad} mask(s) hold the label(s) {', '.join(map(str, unknown[:8]))}, which are not in the list "
            f"of {len(names)} structures (1 to {len(names)}: {listed(names, ids=False)}); correct the masks, "
            "or name every structure with --classes"
        )


def _case(
    pair: Pair, labels: tuple[int, ...], within: Series | None, names: tuple[str, ...], facts: TableFacts,
    question: Question, ignore: int,
) -> Case:  # fmt: skip
    """A case whose answer is which structures its mask holds."""
    series = pair.images[0]
    known = series if series.patient or not pair.patient else replace(series, patient=pair.patient)
    alone = [names.index(name) + 1 for name, _ in pair.masks if name]
    return replace(
        case_of(known, facts, question),
        images=pair.images,
        answer=Label(tuple(v - 1 for v in labels if v != ignore)),
        masks=pair.masks,
        annotated=tuple(sorted(alone)) if alone else None,
        within=within,
    )
