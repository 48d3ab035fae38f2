"""Which masks belong to which images: from the names of files, as the field's data sets are laid out.

Masks stand in a folder beside the images (Decathlon, nnU-Net, DRIVE), beside their image with a word more
(BraTS, "CT_mask"), one a structure (TotalSegmentator), or are named by the series they were drawn on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.core.registry import nearest
from hounsfield.steps.regions.names import Named, named

__all__ = ["Pair", "Pairing", "pairing_of"]

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A case: its channels, and its masks as pairs of a structure's name ("" for a map of labels) and image.

    Several maps of labels are candidates of which the caller chooses by what they hold (`names` say where each
    comes from). `patient` is the folder that a patient's images lie in, "" where the folders do not say.
    """

    key: Key
    images: tuple[Series, ...]
    masks: tuple[tuple[str, Series], ...]
    candidates: tuple[tuple[str, Series], ...] = ()
    patient: str = ""


@dataclass(frozen=True, slots=True)
class Pairing:
    """All cases, the names of their channels, and in words what was left out."""

    channels: tuple[str, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]


def pairing_of(
    index: Index, *, channels: Sequence[str] = (), masks: str = "", channel_names: Sequence[str] = ()
) -> Pairing:
    """Cases with their channels and masks; images without a mask are kept, with none.

    `channels` chooses and orders channels by name; `masks` is a folder (or a word of a name) that holds the
    masks, where the names do not say. `channel_names` are those of nnU-Net's numbers. Raises BadInput where no
    image is left, a case lacks a channel, or no mask fits an image.

    >>> of = lambda *files: [Series(id=f, files=(f,), reader="nifti", shape=(1, 2, 2)) for f in files]
    >>> found = pairing_of(Index("d", tuple(of("images/7.nii", "labels/7.nii"))))
    >>> found.channels, [s.id for _, s in found.pairs[0].masks]
    (('image',), ['labels/7.nii'])
    """
    everything = named(index.series)
    drawn = [n for n in everything if (_chosen(n, masks) if masks else n.is_mask)]
    if masks and not drawn:
        raise BadInput(
            f'--masks "{masks}" fits no file of the source; expected a folder or a word in the names of the '
            f"masks; {nearest(masks, sorted({n.folder for n in everything}))}"
        )
    ids = {n.series.id for n in drawn}
    shown = [n for n in everything if n.series.id not in ids]
    if not shown:
        raise BadInput(
            "every image of the source is named like a mask; expected images too; name the folder of the masks "
            "with --masks"
        )
    table, names = _by_channel(shown)
    names = tuple(channel_names) if len(channel_names) == len(names) else names
    by_case = {key: dict(zip(names, held, strict=True)) for key, held in table.items()}
    wanted = _wanted(names, channels)
    notes = [f"channels: {', '.join(wanted)}"] if len(wanted) > 1 else []
    belong, left = _belonging(drawn, shown, by_case)
    if left:
        notes.append(f"{left} mask(s) fit no image and were left out")
    pairs = [_pair(key, held, wanted, belong.get(key, []), notes) for key, held in sorted(by_case.items())]
    if drawn and not any(p.masks or p.candidates for p in pairs):
        raise BadInput(
            f"{len(drawn)} masks and {len(shown)} images were found, but no mask is named like an image; "
            "expected the same name in a folder labels or masks, or the image's name and the word mask"
        )
    return Pairing(wanted, tuple(pairs), tuple(dict.fromkeys(notes)))


def _chosen(name: Named, masks: str) -> bool:
    wanted = masks.strip("/").casefold()
    parts = [p.casefold() for p in name.folder.split("/")]
    return wanted in parts or wanted in name.folder.casefold() or wanted in name.stem


def _by_channel(shown: Sequence[Named]) -> tuple[dict[Key, list[Named]], tuple[str, ...]]:
    """The images of each case in the order of the channels' names."""
    if all(n.channel for n in shown):
        return _even(shown, [n.channel for n in shown], [n.key for n in shown])
    folders = Counter(n.folders for n in shown)
    stems = Counter(_own_words(n) for n in shown)
    alike = [s for s, count in stems.items() if 2 * count > len(folders)]
    if 1 < len(folders) < len(shown) and len(alike) > 1 and sum(stems[s] for s in alike) == len(shown):
        return _even(shown, [_own_words(n) for n in shown], [n.folders for n in shown])
    return {n.key: [n] for n in shown}, ("image",)


def _even(
    shown: Sequence[Named], channel: Sequence[str], case: Sequence[Key]
) -> tuple[dict[Key, list[Named]], tuple[str, ...]]:
    """Cases that hold every channel; a case that lacks one is refused, with the channel named."""
    names = tuple(sorted(set(channel)))
    table: dict[Key, dict[str, Named]] = defaultdict(dict)
    for n, c, k in zip(shown, channel, case, strict=True):
        table[k][c] = n
    lacking = {c: sum(c not in held for held in table.values()) for c in names}
    if any(lacking.values()):
        worst = max(lacking, key=lambda c: lacking[c])
        raise BadInput(
            f"{lacking[worst]} of {len(table)} cases have no {worst}; expected every channel "
            f"({', '.join(names)}) in every case; choose channels that all have with --channels"
        )
    return {k: [held[c] for c in names] for k, held in table.items()}, names


def _own_words(name: Named) -> str:
    """What a file's name says beyond its folder's: "t1" in case_7/case_7_t1.nii."""
    shared = set(name.folders)
    return "_".join(w for w in name.stem if w not in shared) or "image"


def _wanted(names: tuple[str, ...], channels: Sequence[str]) -> tuple[str, ...]:
    if not channels:
        return names
    folded = {n.casefold(): n for n in names}
    for c in channels:
        if c.casefold() not in folded:
            raise BadInput(f'--channels names "{c}", which is not here; {nearest(c, names)}')
    return tuple(folded[c.casefold()] for c in channels)


def _belonging(
    drawn: Sequence[Named], shown: Sequence[Named], cases: Mapping[Key, Mapping[str, Named]]
) -> tuple[dict[Key, list[Named]], int]:
    """The masks of each case, and how many fit none."""
    owner = {n.series.id: key for key, held in cases.items() for n in held.values()}
    exact: dict[Key, list[Key]] = defaultdict(list)
    by_stem: dict[Key, set[Key]] = defaultdict(set)
    for n in shown:
        if n.series.id in owner:
            exact[n.key].append(owner[n.series.id])
            by_stem[n.stem].add(owner[n.series.id])
    found: dict[Key, list[Named]] = defaultdict(list)
    left = 0
    for mask in drawn:
        key = _owner(mask, exact, by_stem, cases)
        if key is None:
            left += 1
        else:
            found[key].append(mask)
    return found, left


def _owner(
    mask: Named, exact: Mapping[Key, list[Key]], by_stem: Mapping[Key, set[Key]], cases: Mapping[Key, object]
) -> Key | None:
    """The case of a mask: the same words, the same name, the folder of a case, or a name within the other."""
    if mask.key in cases:
        return mask.key
    if len(found := set(exact.get(mask.key, ()))) == 1:
        return next(iter(found))
    if len(found := by_stem.get(mask.stem, set())) == 1:
        return next(iter(found))
    for key in (mask.folders, mask.folders[:-1]):
        if key and key in cases:
            return key
    mine = set(mask.stem)
    near = {
        key
        for stem, keys in by_stem.items()
        if mine and stem and (mine <= set(stem) or set(stem) <= mine)
        for key in keys
    }
    return next(iter(near)) if len(near) == 1 else None


def _pair(
    key: Key, held: Mapping[str, Named], wanted: Sequence[str], masks: Sequence[Named], notes: list[str]
) -> Pair:
    images = tuple(held[c].series for c in wanted)
    first = [m for m in masks if not m.second] or list(masks)
    if len(first) < len(masks):
        notes.append("where a second reader outlined an image too, the first reader's mask is learned from")
    by_channel = {_own_words(n): c for c, n in held.items()}
    of_channel = [m for m in first if by_channel.get(_own_words(m)) == wanted[0]]
    if len(held) > 1 and of_channel and len(first) > 1:
        if len(first) > len(of_channel):
            notes.append(f"masks drawn on {wanted[0]} are learned from; those of other channels are left out")
        first = of_channel
    patient = "/".join(held[wanted[0]].folders)
    own = set(held[wanted[0]].stem)
    if len(first) <= 1:
        return Pair(key, images, tuple(("", m.series) for m in first), patient=patient)
    told = ["_".join(w for w in m.stem if w not in own and w not in set(key)) for m in first]
    if all(told) and len(set(told)) == len(told):
        return Pair(
            key, images, tuple((t, m.series) for t, m in zip(told, first, strict=True)), patient=patient
        )
    several = tuple((m.folder.split("/")[-1] or "_".join(m.stem), m.series) for m in first)
    return Pair(key, images, (), several, patient)
