"""Which masks belong to which images: from the names of files, as the field's data sets are laid out.

Masks stand in a folder beside the images (Decathlon, nnU-Net, DRIVE), beside their image with a word more
(BraTS, "CT_mask"), one a structure (TotalSegmentator), or are named by the series they were drawn on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.core.registry import nearest
from hounsfield.steps.regions.names import Named, named, words_of

__all__ = ["Pair", "Pairing", "pairing_of"]

_PATIENTS, _IMAGES = 5, 10
"""So many folders are taken for patients, or fewer (three at least) that hold so many images each at most."""

Key = tuple[str, ...]
Table = Mapping[Key, Mapping[str, Named]]


@dataclass(frozen=True, slots=True)
class Pair:
    """A case: its channels, and its masks as pairs of a structure's name ("" for a map of labels) and image.

    Several maps of labels are candidates of which the caller chooses by what they hold (`names` say where
    each comes from). `patient` is the folder that a patient's images lie in, "" where the folders do not say.
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
    masks, where the names do not say. `channel_names` are those of nnU-Net's numbers. Raises BadInput where
    no image is left, a case lacks a channel, or no mask fits an image.

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
    notes = list[str]()
    if masks and (plain := [n for n in shown if not n.is_mask]) and len(plain) < len(shown):
        notes.append(f"{len(shown) - len(plain)} other file(s) named like masks were left out")
        shown = plain
    if not shown:
        raise BadInput(
            "every image of the source is named like a mask; expected images too; name the folder of the "
            "masks with --masks"
        )
    by_case, names = _by_channel(shown, channel_names, channels)
    wanted = _wanted(names, channels)
    notes += [f"channels: {', '.join(wanted)}"] if len(wanted) > 1 else []
    belong, left = _belonging(drawn, shown, by_case)
    if left:
        notes.append(f"{left} mask(s) fit no image and were left out")
    pairs = [_pair(key, held, wanted, belong.get(key, []), notes) for key, held in sorted(by_case.items())]
    known = {name for p in pairs for name, _ in p.masks}
    pairs = [_named_alone(p, by_case[p.key][wanted[0]], belong.get(p.key, []), known) for p in pairs]
    pairs = _with_patients(pairs, {p.key: by_case[p.key][wanted[0]].folders for p in pairs})
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


def _by_channel(
    shown: Sequence[Named], names: Sequence[str], asked: Sequence[str]
) -> tuple[Table, tuple[str, ...]]:
    """The images of each case by channel, and the channels' names in order."""
    if all(n.channel for n in shown):
        numbers = sorted({n.channel for n in shown})
        called = dict(zip(numbers, names if len(names) == len(numbers) else numbers, strict=True))
        table, _ = _even(shown, [called[n.channel] for n in shown], [n.key for n in shown], asked)
        return table, tuple(called.values())
    folders = Counter(n.folders for n in shown)
    stems = Counter(_own_words(n) for n in shown)
    alike = [s for s, count in stems.items() if 2 * count > len(folders) and not _numbered(s)]
    if 1 < len(folders) < len(shown) and len(alike) > 1 and sum(stems[s] for s in alike) == len(shown):
        return _even(shown, [_own_words(n) for n in shown], [n.folders for n in shown], asked)
    if asked and (told := [(n, *held) for n in shown if (held := _word_of(n, asked))]):
        return _even([n for n, *_ in told], [c for _, c, _ in told], [key for *_, key in told], asked)
    return {n.key: {"image": n} for n in shown}, ("image",)


def _even(
    shown: Sequence[Named], channel: Sequence[str], case: Sequence[Key], asked: Sequence[str]
) -> tuple[Table, tuple[str, ...]]:
    """Cases that hold every channel that is asked for; where one lacks it, BadInput names the channel."""
    names = tuple(sorted(set(channel)))
    table: dict[Key, dict[str, Named]] = defaultdict(dict)
    for n, c, k in zip(shown, channel, case, strict=True):
        table[k][c] = n
    lacking = {c: sum(c not in held for held in table.values()) for c in _wanted(names, asked)}
    if any(lacking.values()):
        worst = max(lacking, key=lambda c: lacking[c])
        raise BadInput(
            f"{lacking[worst]} of {len(table)} cases have no {worst}; expected every channel "
            f"({', '.join(lacking)}) in every case; choose channels that all have with --channels"
        )
    return table, names


def _numbered(stem: str) -> bool:
    """True for a name with a number of its own: of a case, not of a channel."""
    return any(word.isdigit() for word in stem.split("_"))


def _word_of(name: Named, asked: Sequence[str]) -> tuple[str, Key] | None:
    """The channel that a file's name holds, and the words that are left to name its case."""
    for c in sorted(asked, key=lambda c: -len(words_of(c))):
        words = words_of(c)
        for at in range(len(name.stem) - len(words) + 1):
            if name.stem[at : at + len(words)] == words:
                return c, (*name.folders, *name.stem[:at], *name.stem[at + len(words) :])
    return None


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
    drawn: Sequence[Named], shown: Sequence[Named], cases: Table
) -> tuple[dict[Key, list[Named]], int]:
    """The masks of each case, and how many fit none."""
    owner = {n.series.id: key for key, held in cases.items() for n in held.values()}
    exact: dict[Key, list[Key]] = defaultdict(list)
    by_stem: dict[Key, set[Key]] = defaultdict(set)
    for n in shown:
        if n.series.id in owner:
            exact[n.key].append(owner[n.series.id])
            by_stem[n.stem].add(owner[n.series.id])
    inside: dict[Key, set[Key]] = defaultdict(set)
    for key in cases:
        for cut in range(len(key) + 1):
            inside[key[:cut]].add(key)
    found: dict[Key, list[Named]] = defaultdict(list)
    left = 0
    for mask in drawn:
        owned = _owner(mask, exact, by_stem, inside)
        if owned is None:
            left += 1
        else:
            found[owned].append(mask)
    return found, left


def _owner(
    mask: Named,
    exact: Mapping[Key, list[Key]],
    by_stem: Mapping[Key, set[Key]],
    inside: Mapping[Key, set[Key]],
) -> Key | None:
    """The case of a mask: of the same words or name, a name within the other, or alone in its folder."""
    if mask.key in inside.get(mask.key, ()):
        return mask.key
    if len(found := set(exact.get(mask.key, ()))) == 1:
        return next(iter(found))
    if len(found := by_stem.get(mask.stem, set())) == 1:
        return next(iter(found))
    for key in (mask.folders, mask.folders[:-1]):
        if key and key in inside.get(key, ()):
            return key
    mine = set(mask.stem)
    near = {
        key
        for stem, keys in by_stem.items()
        if mine and stem and (mine <= set(stem) or set(stem) <= mine)
        for key in keys
    }
    if not near and not all(w.isdigit() for w in mask.stem):
        near = inside.get(mask.folders, near)
    return next(iter(near)) if len(near) == 1 else None


def _with_patients(pairs: Sequence[Pair], folders: Mapping[Key, Key]) -> list[Pair]:
    """Each case with its patient: the outermost folder of which there are enough to be patients, no sites."""
    for depth in range(1, max(map(len, folders.values()), default=0) + 1):
        groups = {held[:depth] for held in folders.values()}
        if len(groups) >= _PATIENTS or (len(groups) > 2 and len(pairs) <= _IMAGES * len(groups)):
            return [replace(p, patient="/".join(folders[p.key][:depth])) for p in pairs]
    return list(pairs)


def _structure(mask: Named, image: Named, key: Key) -> str:
    """What a mask's name says beyond its image's and its case's: the structure that it is of."""
    return "_".join(w for w in mask.stem if w not in image.stem and w not in key)


def _named_alone(pair: Pair, image: Named, masks: Sequence[Named], known: Collection[str]) -> Pair:
    """A case of a single mask: of a structure where other cases have a file of that name among several."""
    if len(pair.masks) != 1:
        return pair
    series = pair.masks[0][1]
    told = next(_structure(m, image, pair.key) for m in masks if m.series.id == series.id)
    return replace(pair, masks=((told, series),)) if told in known else pair


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
    if len(first) <= 1:
        return Pair(key, images, tuple(("", m.series) for m in first))
    told = [_structure(m, held[wanted[0]], key) for m in first]
    if all(told) and len(set(told)) == len(told):
        return Pair(key, images, tuple((t, m.series) for t, m in zip(told, first, strict=True)))
    several = tuple((m.folder.split("/")[-1] or "_".join(m.stem), m.series) for m in first)
    return Pair(key, images, (), several)
